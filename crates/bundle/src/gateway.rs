//! The checksums of the standalone gateway, by which a database that it deployed is adopted.
//!
//! They are reproduced bit for bit, weaknesses included, to recognise what the gateway recorded. For anything new they will not do:
//! they see no change of case, space or `--` inside a literal.

use crate::hash::sha256_hex;

/// The gateway's checksum of a function, table or type file with this text: SHA-256, in hex, of the text without comments, with
/// each run of white space made one space, trimmed and in lower case.
///
/// Comments are taken out in two passes, as the gateway does it: first everything from `--` to the end of its line, inside literals
/// and block comments too, then everything from `/*` to the next `*/` (not nested; without a `*/` it stays). Nothing takes their place, so
/// `a/**/b` becomes `ab`. White space and lower case are Unicode's.
pub fn checksum(text: &str) -> String {
    let text = without_block_comments(&without_line_comments(text));
    let words: Vec<&str> = text.split_whitespace().collect();
    sha256_hex(words.join(" ").to_lowercase().as_bytes())
}

/// The gateway's checksum of a migration: SHA-256, in hex, of the file as it is.
///
/// That is [`SourceFile::sha256`](crate::SourceFile::sha256) as well, which is to be preferred: a byte order mark counts, and
/// [`SourceFile::text`](crate::SourceFile::text) has lost it.
pub fn migration_checksum(raw: &str) -> String {
    sha256_hex(raw.as_bytes())
}

/// `text` without anything from `--` to the end of its line; the line feed stays.
fn without_line_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("--") {
        kept.push_str(before);
        rest = comment.find('\n').and_then(|end| comment.get(end..)).unwrap_or_default();
    }
    kept + rest
}

/// `text` without anything from `/*` to the next `*/`. What is never closed stays.
fn without_block_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, (_, behind))) =
        rest.split_once("/*").and_then(|(before, comment)| Some((before, comment.split_once("*/")?)))
    {
        kept.push_str(before);
        rest = behind;
    }
    kept + rest
}
