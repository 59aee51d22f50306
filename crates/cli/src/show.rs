//! Answers for people: tables, and plans in colour.

use std::io::IsTerminal;

use serde_json::Value;

use crate::failure::text;

/// The hazards that a person should read twice.
const GRAVE: [&str; 2] = ["deletes_data", "rewrites_table"];

/// Rows under headings, columns as wide as they need be.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|heading| width(heading)).collect();
    for row in rows {
        for (most, cell) in widths.iter_mut().zip(row) {
            *most = width(cell).max(*most);
        }
    }
    let mut out = String::new();
    let heading = headings.iter().map(|heading| (*heading).to_owned()).collect::<Vec<_>>();
    for row in std::iter::once(&heading).chain(rows) {
        let mut line = String::new();
        for (cell, most) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(most.saturating_sub(width(cell)) + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A value in a cell: a text as it is, nothing for null, anything else as JSON. One line, whatever is in it.
pub(crate) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.replace(['\n', '\r', '\t'], " "),
        Some(other) => other.to_string(),
    }
}

/// As [`cell`], of a value as it was sent: a number keeps its digits.
pub(crate) fn raw_cell(text: &str) -> String {
    match serde_json::from_str(text) {
        Ok(value @ (Value::String(_) | Value::Null)) => cell(Some(&value)),
        _ => text.replace(['\n', '\r', '\t'], " "),
    }
}

/// Of objects, some members each, as rows.
pub(crate) fn rows_of(list: &Value, members: &[&str]) -> Vec<Vec<String>> {
    let one = |row: &Value| members.iter().map(|member| cell(row.get(*member))).collect();
    list.as_array().map(|rows| rows.iter().map(one).collect()).unwrap_or_default()
}

/// Bytes as people read them.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).unwrap_or(&"B");
    if unit == 0 { format!("{bytes} {name}") } else { format!("{amount:.1} {name}") }
}

/// The first characters of a checksum.
pub(crate) fn short(sum: &str) -> String {
    sum.chars().take(12).collect()
}

/// A time without fractions of seconds, as it was sent otherwise.
pub(crate) fn time(value: Option<&Value>) -> String {
    let time = cell(value);
    match time.split_once('.') {
        Some((head, rest)) => {
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{head}{zone}").replace('T', " ")
        }
        None => time.replace('T', " "),
    }
}

/// Whether to write in colour.
pub(crate) fn in_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The statements of a plan, each with its class and hazards.
pub(crate) fn plan(steps: &Value, colour: bool) -> String {
    let paint = |text: &str, code: &str| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let mut out = String::new();
    for step in steps.as_array().into_iter().flatten() {
        let class = text(step, "class").unwrap_or_default();
        let hazards: Vec<&str> =
            step.get("hazards").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let code = match class {
            "safe" => "32",
            "dataloss" => "31;1",
            _ => "31",
        };
        let mut head = format!("-- {:>3} {}", cell(step.get("seq")), cell(step.get("object")));
        head.push_str(": ");
        head.push_str(&paint(class, code));
        for hazard in hazards {
            let code = if GRAVE.contains(&hazard) { "31;1" } else { "33" };
            head.push_str(&format!(" [{}]", paint(hazard, code)));
        }
        if step.get("transactional") == Some(&Value::Bool(false)) {
            head.push_str(" (outside of the transaction)");
        }
        out.push_str(&head);
        out.push('\n');
        out.push_str(text(step, "sql").unwrap_or_default().trim_end_matches(';'));
        out.push_str(";\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = vec![vec!["é".to_owned(), "1".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(table(&["a", "b"], &rows), "a     b\né     1\nlong\n");
    }

    #[test]
    fn amounts_and_times() {
        assert_eq!((bytes(1023), bytes(9_027_000)), ("1023 B".to_owned(), "8.6 MB".to_owned()));
        assert_eq!(time(Some(&json!("2026-01-02T03:04:05.678+00:00"))), "2026-01-02 03:04:05+00:00");
        assert_eq!(time(Some(&json!("2026-01-02T03:04:05Z"))), "2026-01-02 03:04:05Z");
    }

    #[test]
    fn a_plan_shows_its_hazards() {
        let steps = json!([{"seq": 1, "object": "table a", "class": "dataloss", "hazards": ["deletes_data"], "sql": "DROP TABLE a",
            "transactional": true}]);
        assert_eq!(plan(&steps, false), "--   1 table a: dataloss [deletes_data]\nDROP TABLE a;\n");
        assert!(plan(&steps, true).contains("\x1b[31;1mdeletes_data\x1b[0m"));
    }
}
