//! Which of the two forms of rows a client wants, by its Accept header (RFC 9110, 12.5.1).

use http::HeaderMap;
use http::header::ACCEPT;

/// The media type of rows as lines.
pub const LINES: &str = "application/x-ndjson";

/// Whether rows are wanted as lines: their type is named, and JSON is not preferred to it. A wildcard names nothing. Of two that weigh the
/// same the lines are meant: errors are JSON, so who wants lines has reason to name both.
pub fn wants_lines(headers: &HeaderMap) -> bool {
    let mut lines = 0;
    // The weight of JSON by the range that says the most of it.
    let (mut json, mut exactness) = (0, 0);
    for value in headers.get_all(ACCEPT) {
        for range in split(value.as_bytes(), b',') {
            let Some((name, weight)) = weighed(range) else { continue };
            let about_json = match name.as_str() {
                LINES => {
                    lines = weight;
                    continue;
                }
                "application/json" => 3,
                "application/*" => 2,
                "*/*" => 1,
                _ => continue,
            };
            if about_json > exactness {
                (json, exactness) = (weight, about_json);
            }
        }
    }
    // A wildcard beside the name says that anything else does too.
    lines > 0 && lines >= json
}

/// A media range's name in lower case, and its weight in thousandths. `None` for what is none.
fn weighed(range: &[u8]) -> Option<(String, u16)> {
    let mut parts = split(range, b';').into_iter().map(<[u8]>::trim_ascii);
    let name = String::from_utf8(parts.next()?.to_ascii_lowercase()).ok()?;
    let mut weight = 1000;
    for part in parts {
        if let [b'q' | b'Q', b'=', digits @ ..] = part {
            weight = thousandths(digits)?;
        }
    }
    (!name.is_empty()).then_some((name, weight))
}

/// `0.5` as 500: up to three digits behind the point, at most 1.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, rest) = text.split_first()?;
    let digits = match rest {
        [] => &[],
        [b'.', digits @ ..] => digits,
        _ => return None,
    };
    if digits.len() > 3 || !digits.iter().chain([whole]).all(u8::is_ascii_digit) || !matches!(whole, b'0' | b'1') {
        return None;
    }
    let value = [whole].into_iter().chain(digits).chain(std::iter::repeat_n(&b'0', 3 - digits.len()));
    let value = value.fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    (value <= 1000).then_some(value)
}

/// The parts between separators that do not stand in a quoted string.
fn split(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let is_separator = |byte: &u8| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte => return *byte == separator && !quoted,
        }
        false
    };
    text.split(is_separator).collect()
}
