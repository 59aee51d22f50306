//! What can be seen in a bundle's files without a server. What needs PostgreSQL's parser or catalog (syntax, cycles, what a body names)
//! a dry run finds.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stonescriptdb_bundle::{Bundle, Kind, SourceFile};

use crate::failure::Level;

/// Something to be said of a file.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    pub(crate) body: Value,
}

impl Finding {
    fn new(level: Level, message: impl Into<String>) -> Finding {
        Finding { level, body: json!({"message": message.into()}) }
    }

    fn at(mut self, file: &SourceFile, line: Option<usize>) -> Finding {
        if let Some(body) = self.body.as_object_mut() {
            body.insert("file".to_owned(), json!(file.path));
            if let Some(line) = line {
                body.insert("line".to_owned(), json!(line));
            }
        }
        self
    }

    fn hint(mut self, hint: &str) -> Finding {
        if let Some(body) = self.body.as_object_mut() {
            body.insert("hint".to_owned(), json!(hint));
        }
        self
    }

    /// As `--json` gives it.
    pub(crate) fn to_json(&self) -> Value {
        let mut body = self.body.clone();
        if let Some(body) = body.as_object_mut() {
            body.insert("level".to_owned(), json!(if self.level == Level::Error { "error" } else { "warning" }));
        }
        body
    }
}

/// All findings, file by file.
pub(crate) fn lint(bundle: &Bundle) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        bundle.warnings.iter().map(|warning| Finding::new(Level::Warning, warning.as_str())).collect();
    for file in &bundle.files {
        found.extend(of_file(file));
    }
    found.extend(names(bundle));
    found.extend(order(bundle));
    found
}

/// What a merge or an editor leaves, and what only psql understands.
fn of_file(file: &SourceFile) -> Vec<Finding> {
    let mut found = Vec::new();
    if file.kind != Kind::Extension && is_blank(&file.text) {
        found.push(Finding::new(Level::Warning, "the file has no statement").at(file, None));
    }
    let mut psql = true;
    for (number, line) in (1..).zip(file.text.lines()) {
        let at = |finding: Finding| finding.at(file, Some(number));
        if ["<<<<<<< ", ">>>>>>> "].iter().any(|marker| line.starts_with(marker)) {
            found.push(at(Finding::new(Level::Error, "the mark of a merge that was not finished")));
        }
        // One is enough: where there is one, there are more.
        if psql && is_psql_command(line) {
            psql = false;
            let what = "a command of psql, which PostgreSQL itself does not know";
            found.push(at(Finding::new(Level::Warning, what).hint("A bundle's files hold plain SQL.")));
        }
    }
    found
}

/// Nothing but white space and comments that fill their lines.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with("--"))
}

fn is_psql_command(line: &str) -> bool {
    const COMMANDS: [&str; 10] =
        ["\\i", "\\ir", "\\include", "\\set", "\\echo", "\\c", "\\connect", "\\if", "\\gexec", "\\copy"];
    let word = line.split_whitespace().next().unwrap_or_default();
    line.starts_with('\\') && COMMANDS.contains(&word)
}

/// Files that are one on systems that take upper and lower case for the same.
fn names(bundle: &Bundle) -> Vec<Finding> {
    let mut seen: BTreeMap<String, &SourceFile> = BTreeMap::new();
    let mut found = Vec::new();
    for file in &bundle.files {
        if let Some(other) = seen.insert(file.path.to_lowercase(), file) {
            let message = format!("its name differs from that of {} in upper and lower case only", other.path);
            found.push(Finding::new(Level::Warning, message).at(file, None));
        }
    }
    found
}

/// Migrations run in the bytewise order of their file names, which is not that of the numbers in front if these differ in length.
fn order(bundle: &Bundle) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut before: Option<(u128, &SourceFile)> = None;
    let mut with_number = 0_usize;
    let migrations: Vec<&SourceFile> = bundle.of_kind(Kind::Migration).collect();
    for file in &migrations {
        let Some(number) = number(file.file_name()) else { continue };
        with_number += 1;
        match before {
            Some((other, first)) if number < other => {
                let message = format!("runs after {}, although its number is smaller", first.path);
                let hint =
                    "Migrations run in the order of their file names, byte by byte: write numbers with leading zeros.";
                found.push(Finding::new(Level::Warning, message).at(file, None).hint(hint));
            }
            Some((other, first)) if number == other => {
                let message = format!("has the same number as {}", first.path);
                found.push(Finding::new(Level::Warning, message).at(file, None));
            }
            _ => {}
        }
        before = Some((number, file));
    }
    if with_number > 0 && with_number < migrations.len() {
        for file in migrations.iter().filter(|file| number(file.file_name()).is_none()) {
            let message = "its name has no number in front, as those of other migrations have: is its place right?";
            found.push(Finding::new(Level::Warning, message).at(file, None));
        }
    }
    found
}

fn number(name: &str) -> Option<u128> {
    let digits: String = name.chars().skip_while(|c| *c == 'V' || *c == 'v').take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use stonescriptdb_bundle::Limits;

    use super::*;

    fn lint_of(files: &[(&str, &str)]) -> Vec<String> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        let bundle = Bundle::read(&tar.into_inner().unwrap(), &Limits::default()).unwrap();
        let say = |finding: &Finding| {
            let text = |name: &str| finding.body[name].as_str().unwrap_or_default().to_owned();
            format!(
                "{:?} {}:{} {}",
                finding.level,
                text("file"),
                finding.body["line"].as_u64().unwrap_or(0),
                text("message")
            )
        };
        lint(&bundle).iter().map(say).collect()
    }

    #[test]
    fn nothing_to_say() {
        let files = [
            ("tables/a.sql", "CREATE TABLE a ();\n"),
            ("functions/f.sql", "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$\nSELECT '\\x'\n$$;"),
            ("migrations/001_a.sql", "SELECT 1;"),
            ("migrations/002_b.sql", "SELECT 1;"),
        ];
        assert_eq!(lint_of(&files), Vec::<String>::new());
    }

    #[test]
    fn the_order_of_migrations() {
        let found = lint_of(&[("migrations/10_a.sql", "x"), ("migrations/9_b.sql", "x"), ("migrations/c.sql", "x")]);
        assert_eq!(
            found,
            [
                "Warning migrations/9_b.sql:0 runs after migrations/10_a.sql, although its number is smaller",
                "Warning migrations/c.sql:0 its name has no number in front, as those of other migrations have: is its place right?",
            ]
        );
        let found = lint_of(&[("migrations/1_a.sql", "x"), ("migrations/1_b.sql", "x")]);
        assert_eq!(found, ["Warning migrations/1_b.sql:0 has the same number as migrations/1_a.sql"]);
    }

    #[test]
    fn what_is_in_files() {
        let found = lint_of(&[
            ("tables/a.sql", "-- nothing\n\n"),
            ("tables/b.sql", "<<<<<<< mine\n\\i c.sql\n\\i d.sql\n"),
            ("tables/B.sql", "SELECT 1;"),
            ("tabels/c.sql", "SELECT 1;"),
        ]);
        assert_eq!(
            found,
            [
                "Warning :0 \"tabels/\" is ignored: a bundle has no folder of this name",
                "Warning tables/a.sql:0 the file has no statement",
                "Error tables/b.sql:1 the mark of a merge that was not finished",
                "Warning tables/b.sql:2 a command of psql, which PostgreSQL itself does not know",
                "Warning tables/b.sql:0 its name differs from that of tables/B.sql in upper and lower case only",
            ]
        );
    }
}
