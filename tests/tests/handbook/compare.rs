//! What is shown, beside what is printed.
//!
//! `…` stands for anything, and `$name` for anything that later requests and commands name so. White space does not count, nor do the
//! ruler lines and row counts of psql's tables, nor how long something took; of JSON, nor does the order of members.

use super::json;

/// What is written for a value that lasts as long as it lasts.
const DURATIONS: &[&str] = &["\"execution_time_ms\":", "\"duration_ms\":", "\"uptime_seconds\":"];

/// A piece of a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Any,
    Named(&'a str),
}

/// The values that the names in `shown` have in `printed`, or what is not there in its place.
pub fn compare(shown: &str, printed: &str) -> Result<Vec<(String, String)>, String> {
    let values: Result<Vec<_>, _> = serde_json::Deserializer::from_str(printed).into_iter().collect();
    if let (Some(patterns), Ok(values)) = (json::patterns(shown), values) {
        return json::compare(&patterns, &values);
    }
    text(&essence(shown), &essence(printed))
}

/// The same of texts in which all counts.
pub fn text(shown: &str, printed: &str) -> Result<Vec<(String, String)>, String> {
    let pieces = pieces(shown);
    let mut names = Vec::new();
    let mut rest = printed;
    let mut open: Option<Option<&str>> = None;
    for (number, piece) in pieces.iter().enumerate() {
        let text = match piece {
            Piece::Any => {
                open = open.or(Some(None));
                continue;
            }
            Piece::Named(name) => {
                open = Some(Some(name));
                continue;
            }
            Piece::Text(text) => text,
        };
        let is_last = number + 1 == pieces.len();
        let place = match open {
            None => rest.starts_with(text).then_some(0),
            Some(None) if is_last => rest.ends_with(text).then(|| rest.len() - text.len()),
            Some(_) => rest.find(text),
        };
        let place = place.ok_or_else(|| (*text).to_owned())?;
        if let Some(Some(name)) = open.take() {
            names.push((name.to_owned(), rest[..place].to_owned()));
        }
        rest = &rest[place + text.len()..];
    }
    match open {
        Some(Some(name)) => names.push((name.to_owned(), rest.to_owned())),
        Some(None) => {}
        None if rest.is_empty() => {}
        None => return Err(format!("(the end, where is printed) {rest}")),
    }
    Ok(names)
}

fn pieces(shown: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = shown;
    while let Some(place) = rest.find(['…', '$']) {
        let (before, from) = rest.split_at(place);
        let (piece, length) = if let Some(after) = from.strip_prefix('$') {
            let end = after.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(after.len());
            (Piece::Named(&after[..end]), 1 + end)
        } else {
            (Piece::Any, '…'.len_utf8())
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        pieces.push(if piece == Piece::Named("") { Piece::Text("$") } else { piece });
        rest = &from[length..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// A text without what does not count.
fn essence(text: &str) -> String {
    let is_ruler = |line: &str| line.contains("--") && line.chars().all(|letter| "-+| ".contains(letter));
    let is_count = |line: &str| {
        let count =
            line.trim().strip_prefix('(').and_then(|line| line.strip_suffix(" rows)").or(line.strip_suffix(" row)")));
        count.is_some_and(|count| count.chars().all(|letter| letter.is_ascii_digit()))
    };
    let squeezed: String = text
        .lines()
        .filter(|line| !is_ruler(line) && !is_count(line))
        .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
        .collect();
    DURATIONS.iter().fold(squeezed, |text, field| without_number(&text, field))
}

fn without_number(text: &str, field: &str) -> String {
    let mut pieces = text.split(field);
    let mut without = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        without.push_str(field);
        without.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'));
    }
    without
}

#[test]
fn what_differs_is_noticed() {
    assert_eq!(compare("{\"a\": …}", "{\"a\":1}"), Ok(vec![]));
    assert_eq!(compare("{\"a\": 2}", "{\"a\":1}"), Err("[]: a: 1 is printed".into()));
    assert_eq!(compare("x … y", "y x"), Err("x".into()));
    assert_eq!(compare("x … y", "x y z"), Err("y".into()));
    assert!(compare("x", "x y").is_err() && compare("y", "x y").is_err());
    assert_eq!(compare("\"execution_time_ms\": 3}", "\"execution_time_ms\":17}"), Ok(vec![]));
    assert_eq!(compare(" a\n---\n 1\n", " a \n----\n  1\n(1 row)\n\n"), Ok(vec![]));
}

#[test]
fn names_are_values_of_what_is_printed() {
    let names = compare("{\"id\":\"$id\",…,\"b\":\"$b\"}", "{\"id\":\"01-a\",\"c\":1,\"b\":\"x\"}");
    assert_eq!(names, Ok(vec![("id".into(), "01-a".into()), ("b".into(), "x".into())]));
}
