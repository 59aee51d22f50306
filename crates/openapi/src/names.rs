//! Names of components and operations, and parts of paths.

use std::collections::HashSet;

/// Names that are taken.
#[derive(Default)]
pub(crate) struct Names(HashSet<String>);

impl Names {
    /// A name like this one that nobody has: letters, digits, `.`, `-` and `_` are all that a component's name may have.
    pub(crate) fn take(&mut self, wanted: &str) -> String {
        let fit: String = wanted
            .chars()
            .map(|one| if one.is_ascii_alphanumeric() || matches!(one, '.' | '-' | '_') { one } else { '_' })
            .collect();
        let mut name = fit.clone();
        let mut number = 2;
        while !self.0.insert(name.clone()) {
            name = format!("{fit}_{number}");
            number += 1;
        }
        name
    }
}

/// A segment of a path: everything but unreserved characters is escaped (RFC 3986, section 2.3).
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
