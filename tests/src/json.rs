//! JSON as it was sent: numbers with all their digits, which [`serde_json::Value`] would squeeze into a double.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A JSON object, each value as the bytes it came as.
pub type RawObject = BTreeMap<String, Box<RawValue>>;

/// The rows of a call's answer, every value the text it was sent as, without white space outside of strings.
///
/// # Panics
/// When it is not an object with an array `rows` of objects.
#[track_caller]
pub fn raw_rows(answer: &str) -> Vec<BTreeMap<String, String>> {
    let object: RawObject = serde_json::from_str(answer).unwrap_or_else(|e| panic!("{e}: {answer}"));
    let rows = object.get("rows").unwrap_or_else(|| panic!("no rows: {answer}"));
    let rows: Vec<RawObject> = serde_json::from_str(rows.get()).unwrap_or_else(|e| panic!("{e}: {answer}"));
    rows.into_iter().map(|row| row.into_iter().map(|(name, value)| (name, compact(value.get()))).collect()).collect()
}

/// JSON text without the white space outside of strings.
pub fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    json.chars()
        .filter(|c| {
            let keep = in_string || !c.is_ascii_whitespace();
            match c {
                _ if escaped => escaped = false,
                '\\' if in_string => escaped = true,
                '"' => in_string = !in_string,
                _ => {}
            }
            keep
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_blanks_in_strings_stay() {
        let rows = raw_rows(r#"{"rows": [ {"a": 1.50, "b": [1, 2], "c": "x \" y"} ], "row_count": 1}"#);
        assert_eq!(rows[0]["a"], "1.50");
        assert_eq!(rows[0]["b"], "[1,2]");
        assert_eq!(rows[0]["c"], r#""x \" y""#);
    }
}
