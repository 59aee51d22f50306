//! Every example of docs/cli.md, run: its output is as it is written there.

use std::fs;
use std::path::Path;

use acceptance::Cluster;

use super::tool::{Ran, Shell};

/// A command, and what it is to write.
struct Example {
    line: usize,
    command: String,
    expected: Vec<String>,
}

/// What stands in blocks marked `console`: lines with `$ ` are commands, the lines behind them their output.
fn examples(text: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match line.strip_prefix("$ ") {
                Some(command) => found.push(Example { line: number, command: command.into(), expected: Vec::new() }),
                None => found.last_mut().expect("a command first").expected.push(line.into()),
            },
        }
    }
    found
}

/// Whether a line is as it is written: blanks are alike however many they are, `…` is anything.
fn is_line(pattern: &str, line: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (pattern, line) = (words(pattern), words(line));
    let parts: Vec<&str> = pattern.split('…').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return pattern == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether an output is as it is written; a line `…` is any number of lines.
fn is_output(pattern: &[String], lines: &[&str]) -> bool {
    match (pattern, lines) {
        ([], []) => true,
        ([any, rest @ ..], _) if any == "…" => (0..=lines.len()).any(|skip| is_output(rest, &lines[skip..])),
        ([first, rest @ ..], [line, others @ ..]) => is_line(first, line) && is_output(rest, others),
        _ => false,
    }
}

#[test]
fn examples_of_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let examples = examples(&fs::read_to_string(path).expect("docs/cli.md is there"));
    assert!(examples.len() > 20, "only {} examples were found", examples.len());
    // The names in it are fixed: it takes a server of its own.
    let cluster = Cluster::start();
    let shell = Shell::new(&cluster);
    for example in &examples {
        let ran = Ran::of(shell.command("sh").arg("-c").arg(format!("({}) 2>&1", example.command)));
        let lines: Vec<&str> = ran.out.lines().collect();
        let (line, command) = (example.line, &example.command);
        let wanted = example.expected.join("\n");
        assert!(
            is_output(&example.expected, &lines),
            "docs/cli.md:{line}: {command}\n--- wanted\n{wanted}\n--- but {ran}"
        );
        if example.expected.is_empty() {
            assert_eq!(ran.code, 0, "docs/cli.md:{line}: {command}\n{ran}");
        }
    }
}

#[test]
fn patterns() {
    assert!(is_line("a … c", "a  b  c") && is_line("a…", "a") && is_line("x", "x"));
    assert!(!is_line("a … c", "a b d") && !is_line("x", "xy") && !is_line("a…a", "a"));
    let pattern = ["a", "…", "b"].map(str::to_owned);
    assert!(is_output(&pattern, &["a", "b"]) && is_output(&pattern, &["a", "1", "2", "b"]));
    assert!(!is_output(&pattern, &["a", "b", "c"]) && !is_output(&pattern, &["b"]));
}
