//! Names of members: what is refused, and the one spelling in which all others are compared.

use crate::BundleError;

/// Bytes a name may have. macOS allows no longer path, Linux 4,096; names come back in messages, so they had better be short.
const MAX_BYTES: usize = 1024;

/// Characters of a refused name that are shown.
const SHOWN_CHARS: usize = 200;

/// The name of a member without `.` components, doubled and trailing slashes; empty for the archive's top itself.
///
/// Nothing is ever unpacked, so a hostile name could not overwrite a file even if it came through. But a name is recorded and shown,
/// and an archive that holds such a one was not made by honest means.
pub(crate) fn normalise(raw: &[u8]) -> Result<String, BundleError> {
    let refused = |reason| BundleError::UnsafePath { path: shown(raw), reason };
    let Ok(name) = std::str::from_utf8(raw) else { return Err(refused("it is not UTF-8")) };
    if name.len() > MAX_BYTES {
        return Err(refused("it is longer than 1024 bytes"));
    }
    if name.contains('\0') {
        return Err(refused("it contains a zero byte"));
    }
    if name.contains('\\') {
        return Err(refused("it contains a backslash"));
    }
    if name.starts_with('/') || is_drive(name) {
        return Err(refused("it is an absolute path"));
    }
    let components: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if components.contains(&"..") {
        return Err(refused("it contains `..`"));
    }
    Ok(components.join("/"))
}

/// A name for messages: shortened, with U+FFFD where it is not UTF-8.
pub(crate) fn shown(raw: &[u8]) -> String {
    // Four bytes are the most that one character takes; what is cut here is cut below as well.
    let head = raw.get(..SHOWN_CHARS * 4 + 4).unwrap_or(raw);
    let text = String::from_utf8_lossy(head);
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}

/// Whether the name starts with a Windows drive, as in `C:/a`.
fn is_drive(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic()) && bytes.next() == Some(b':')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_spelling() {
        for name in ["a/b.sql", "./a/b.sql", "././a//b.sql", "a/./b.sql", "a/b.sql/"] {
            assert_eq!(normalise(name.as_bytes()).unwrap(), "a/b.sql", "{name}");
        }
        for name in ["", ".", "./", ".//."] {
            assert_eq!(normalise(name.as_bytes()).unwrap(), "", "{name}");
        }
        assert_eq!(normalise("tables/größe…sql".as_bytes()).unwrap(), "tables/größe…sql");
        assert_eq!(normalise(b"tables/..a..sql").unwrap(), "tables/..a..sql");
    }

    #[test]
    fn refused() {
        let long = vec![b'a'; MAX_BYTES + 1];
        let names: [&[u8]; 10] =
            [b"/etc/passwd", b"../a", b"a/../b", b"a/..", b"a\\b", b"a\0b", b"a\xff", b"C:/a", b"//a", &long];
        for name in names {
            assert!(matches!(normalise(name), Err(BundleError::UnsafePath { .. })), "{name:?}");
        }
        assert!(normalise("a".repeat(MAX_BYTES).as_bytes()).is_ok());
    }

    #[test]
    fn shown_is_short_and_whole() {
        assert_eq!(shown(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(shown(&"é".repeat(200).into_bytes()), "é".repeat(200));
        assert_eq!(shown(&"𝄞".repeat(1_000_000).into_bytes()), format!("{}…", "𝄞".repeat(200)));
    }
}
