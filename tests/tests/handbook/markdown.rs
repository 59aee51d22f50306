//! The blocks of a Markdown text, and what they are: commands, requests, statements, or what these answer.

/// What commands begin with.
const PROGRAMS: &[&str] =
    &["cat", "cp", "curl", "echo", "mkdir", "printf", "psql", "rm", "sed", "stonescriptdb", "tar"];

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For a shell.
    Commands,
    /// The same, in a comment that readers do not see: what an example needs and a reader has.
    Hidden,
    /// For psql.
    Statements,
    /// HTTP requests with their answers.
    Requests,
    /// Lines of postgresql.conf.
    Settings,
    /// The content of a file, by its path.
    File(String),
    /// The name of what is there when a document begins (`start/*.sh`).
    Start(String),
    /// What the block before it prints.
    Answer,
    /// A diagram, or a drawing of letters.
    Picture,
    /// Not run, and why.
    NotRun(String),
}

/// A block of code.
#[derive(Debug)]
pub struct Block {
    /// Of its first line, from 1 on.
    pub line: usize,
    pub kind: Kind,
    pub text: String,
}

/// What a comment says of the next block.
enum Note {
    NotRun(String),
    File(String),
}

/// The blocks of a text: fenced ones, those that are indented by four spaces, and comments that are for the tests.
///
/// # Panics
/// With a word of the line, where a comment or a block's language is not known.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut note = None;
    let mut lines = (1..).zip(text.lines()).peekable();
    while let Some((number, line)) = lines.next() {
        if let Some(comment) = line.trim_start().strip_prefix("<!--") {
            let comment = comment.trim_end_matches("-->").trim();
            if comment == "run" {
                let text = take_until(&mut lines, "-->");
                found.push(Block { line: number + 1, kind: Kind::Hidden, text });
            } else if let Some(name) = comment.strip_prefix("start: ") {
                found.push(Block { line: number, kind: Kind::Start(name.into()), text: String::new() });
            } else {
                note = Some(note_of(comment, number));
            }
        } else if let Some(language) = line.strip_prefix("```") {
            let text = take_until(&mut lines, "```");
            match note.take() {
                Some(note) => found.push(Block { line: number + 1, kind: of_note(note), text }),
                None if language.is_empty() => found.extend(in_turns(&text, number + 1)),
                None => {
                    let kind = kind_of(language, number);
                    found.push(Block { line: number + 1, kind, text });
                }
            }
        } else if line.starts_with("    ") && !line.trim().is_empty() {
            let mut text = String::new();
            let mut next = Some(line);
            while let Some(line) = next {
                text.push_str(line.strip_prefix("    ").unwrap_or_default());
                text.push('\n');
                next =
                    lines.next_if(|(_, line)| line.starts_with("    ") || line.trim().is_empty()).map(|(_, line)| line);
            }
            match note.take() {
                Some(note) => found.push(Block { line: number, kind: of_note(note), text }),
                None => found.extend(in_turns(&text, number)),
            }
        } else if !line.trim().is_empty() {
            // A list's item that goes on is indented too.
            if line.starts_with("- ") || line.starts_with(|letter: char| letter.is_ascii_digit()) {
                while lines.next_if(|(_, line)| line.starts_with("  ") && !line.starts_with("       ")).is_some() {}
            }
            assert!(note.is_none(), "line {number}: the comment before it is about no block");
        }
    }
    found
}

fn take_until<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>, end: &str) -> String {
    lines.map(|(_, line)| line).take_while(|line| *line != end).map(|line| format!("{line}\n")).collect()
}

fn note_of(comment: &str, line: usize) -> Note {
    match comment.split_once(": ") {
        Some(("not run", reason)) if !reason.is_empty() => Note::NotRun(reason.into()),
        Some(("file", path)) => Note::File(path.into()),
        _ => panic!("line {line}: a comment that is none of: not run: why; file: path; start: name; run"),
    }
}

fn of_note(note: Note) -> Kind {
    match note {
        Note::NotRun(reason) => Kind::NotRun(reason),
        Note::File(path) => Kind::File(path),
    }
}

fn kind_of(language: &str, line: usize) -> Kind {
    match language {
        "sh" => Kind::Commands,
        "sql" => Kind::Statements,
        "http" => Kind::Requests,
        "conf" => Kind::Settings,
        "mermaid" | "text" => Kind::Picture,
        "json" => Kind::Answer,
        _ => panic!("line {line}: blocks of {language:?} are not known: mark it <!-- not run: why -->"),
    }
}

fn begins_with_a_program(text: &str) -> bool {
    let is_assignment =
        |word: &str| word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains(['"', '{', ' ']));
    text.split_whitespace().next().is_some_and(|word| PROGRAMS.contains(&word) || is_assignment(word))
}

/// A text apart at its empty lines where commands and answers take turns.
fn in_turns(text: &str, start: usize) -> Vec<Block> {
    let mut parts: Vec<Block> = Vec::new();
    let mut here_document: Option<String> = None;
    let mut after_empty = true;
    for (line, content) in (start..).zip(text.lines()) {
        let kind = if begins_with_a_program(content) { Kind::Commands } else { Kind::Answer };
        let turns = here_document.is_none() && after_empty && !content.is_empty();
        if parts.is_empty() || turns && parts.last().is_some_and(|part| part.kind != kind) {
            parts.push(Block { line, kind, text: String::new() });
        }
        if let Some(part) = parts.last_mut() {
            part.text.push_str(content);
            part.text.push('\n');
        }
        match &here_document {
            Some(end) if content == end => here_document = None,
            None => here_document = content.split_once("<<'").map(|(_, rest)| rest.trim_end_matches('\'').to_owned()),
            Some(_) => {}
        }
        after_empty = content.is_empty();
    }
    parts
}

#[test]
fn blocks_are_found() {
    let kinds = |text: &str| blocks(text).into_iter().map(|block| (block.line, block.kind)).collect::<Vec<_>>();
    assert_eq!(kinds("Text\n\n    curl x\n\n    {\"a\": 1}\n\nText\n"), [(3, Kind::Commands), (5, Kind::Answer)]);
    assert_eq!(kinds("```sql\nSELECT\n```\n\n```\n 1\n```\n"), [(2, Kind::Statements), (6, Kind::Answer)]);
    assert_eq!(kinds("<!-- not run: no Docker -->\n\n    docker run\n"), [(3, Kind::NotRun("no Docker".into()))]);
    assert_eq!(kinds("<!-- file: a/b.sql -->\n```sql\n-- x\n```\n"), [(3, Kind::File("a/b.sql".into()))]);
    assert_eq!(
        kinds("<!-- start: hello -->\n<!-- run\nmkdir x\n-->\n"),
        [(1, Kind::Start("hello".into())), (3, Kind::Hidden)]
    );
    assert_eq!(kinds("- a\n  b\n    c\n\nText\n"), []);
}
