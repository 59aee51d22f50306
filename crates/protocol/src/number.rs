//! JSON numbers as PostgreSQL's integers read them.

use std::borrow::Cow;

/// A whole number written with a fraction or an exponent (2.0, 1e2) as plain digits; `None` if it is not whole, or is too long for any
/// integer type.
pub fn whole_number(text: &str) -> Option<Cow<'_, str>> {
    const LONGEST: i64 = 19;
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{before}{after}");
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Some("0".into());
    }
    let trimmed = significant.trim_end_matches('0');
    // The value is `trimmed` followed by so many zeros.
    let zeros = exponent.checked_sub(after.len() as i64)?.checked_add((significant.len() - trimmed.len()) as i64)?;
    let length = zeros.checked_add(trimmed.len() as i64)?;
    if zeros < 0 || length > LONGEST {
        return None;
    }
    Some(format!("{sign}{trimmed}{}", "0".repeat(usize::try_from(zeros).ok()?)).into())
}

#[cfg(test)]
mod tests {
    use super::whole_number;

    #[test]
    fn whole_numbers_in_any_spelling() {
        for (text, digits) in [
            ("2.0", "2"),
            ("-2.000", "-2"),
            ("1e2", "100"),
            ("1.5E1", "15"),
            ("1200e-2", "12"),
            ("0.0", "0"),
            ("-0e5", "0"),
            ("0.05e2", "5"),
            ("9223372036854775807.0", "9223372036854775807"),
        ] {
            assert_eq!(whole_number(text).as_deref(), Some(digits), "{text}");
        }
    }

    #[test]
    fn others_are_left_to_the_type() {
        for text in ["2.5", "1e-1", "1e19", "1e999999999", "1e99999999999999999999", "12345678901234567890"] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }
}
