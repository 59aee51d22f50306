//! Comments `-- @renamed from=old`.
//!
//! The lexer passes over comments; where they are follows from where its tokens begin and end. All of it is one walk through the text: a
//! stranger's file may consist of nothing but such comments.

use super::lexer::{self, Token};
use super::lines::Lines;

const MARK: &str = "@renamed";

/// A comment `-- @renamed from=old`.
pub(crate) struct Renamed {
    /// The old name, folded as PostgreSQL folds it.
    pub(crate) from: String,
    /// Line of what stands behind it.
    pub(crate) line: u32,
    /// What stands behind it is a statement of its own, not a part of one.
    pub(crate) begins_statement: bool,
    /// The name that stands behind it: a column's.
    pub(crate) identifier: Option<String>,
}

/// Those of a file, in order; none of a file that does not lex.
pub(super) fn renames(text: &str) -> Vec<Renamed> {
    let mut found = Vec::new();
    // As in nearly all files.
    if !text.contains(MARK) {
        return found;
    }
    let tokens = lexer::tokens(text).unwrap_or_default();
    let mut lines = Lines::new(text);
    let mut end = 0;
    for next in &tokens {
        for comment in line_comments(text.get(end..next.at).unwrap_or_default()) {
            let asked = comment.match_indices(MARK).filter_map(|(at, mark)| {
                let name = comment.get(at + mark.len()..)?.trim_start().strip_prefix("from")?.trim_start();
                Some(name.strip_prefix('=')?.trim())
            });
            found.extend(asked.map(|old| Renamed {
                from: folded(old),
                line: lines.of(next.at),
                begins_statement: matches!(&next.token, Token::Keyword(word) if word == "create"),
                identifier: match &next.token {
                    Token::Identifier(name) | Token::Keyword(name) => Some(name.clone()),
                    _ => None,
                },
            }));
        }
        end = next.end;
    }
    found
}

/// The comments of what is between two tokens that end with their line. The others nest (scan.l).
fn line_comments(between: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = between;
    let mut depth = 0_usize;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        if depth == 0 && rest.starts_with("--") {
            length = rest.find(['\n', '\r']).unwrap_or(rest.len());
            found.extend(rest.get(..length));
        } else if rest.starts_with("/*") {
            depth += 1;
            length = 2;
        } else if depth > 0 && rest.starts_with("*/") {
            depth -= 1;
            length = 2;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    found
}

/// A name as SQL writes it: in lower case unless it is quoted.
fn folded(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.split_whitespace().next().unwrap_or_default().to_ascii_lowercase(),
    }
}
