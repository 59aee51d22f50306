//! One file of a bundle.

use crate::hash::sha256_hex;
use crate::{BundleError, Kind};

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its kind, which the folder says.
    pub kind: Kind,
    /// Its path below the root, such as `tables/a/users.pssql`. Never with control characters, `..` or a leading slash.
    pub path: String,
    /// Its text without a byte order mark; line ends as they are. Never with a zero byte.
    pub text: String,
    /// SHA-256 of its bytes as they are in the archive, a byte order mark included, in hex.
    pub sha256: String,
}

/// A PostgreSQL extension that a platform asks for. Values as written: to be checked and quoted by whoever uses them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionRequest {
    /// The extension's name, from the file's.
    pub name: String,
    /// The version, if the file says one; otherwise the server's default one.
    pub version: Option<String>,
    /// The schema to create it in, if the file says one.
    pub schema: Option<String>,
}

impl SourceFile {
    /// The file's name without folders, such as `users.pssql`.
    pub fn file_name(&self) -> &str {
        self.path.rsplit_once('/').map_or(self.path.as_str(), |(_, name)| name)
    }

    /// The file's name without its (last) extension, such as `users`.
    pub fn stem(&self) -> &str {
        let name = self.file_name();
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    /// What a file of [`Kind::Extension`] asks for; none for a file of another kind.
    ///
    /// The name is the file's stem. Comment lines `-- version: V` and `-- schema: S` say the rest; of several the last counts, one
    /// without a value says nothing. Nothing else in the file counts, a `CREATE EXTENSION` neither. All as the standalone gateway
    /// does it.
    pub fn extension_request(&self) -> Option<ExtensionRequest> {
        if self.kind != Kind::Extension {
            return None;
        }
        let mut request = ExtensionRequest { name: self.stem().to_owned(), version: None, schema: None };
        for line in self.text.lines() {
            let Some(comment) = line.trim().strip_prefix("--") else { continue };
            let Some((key, value)) = comment.trim_start_matches('-').split_once(':') else { continue };
            let slot = match key.trim() {
                "version" => &mut request.version,
                "schema" => &mut request.schema,
                _ => continue,
            };
            let value = value.trim();
            if !value.is_empty() {
                *slot = Some(value.to_owned());
            }
        }
        Some(request)
    }
}

/// The text of a file: UTF-8 without a zero byte, which PostgreSQL's `text` cannot hold. A byte order mark is dropped, as psql
/// does: some editors write one, and to the parser it would be a syntax error that nobody can see.
pub(crate) fn decode(path: &str, bytes: Vec<u8>) -> Result<String, BundleError> {
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let line = line_at(error.as_bytes(), error.utf8_error().valid_up_to());
        BundleError::NotUtf8 { path: path.to_owned(), line }
    })?;
    if let Some(offset) = text.bytes().position(|byte| byte == 0) {
        return Err(BundleError::ZeroByte { path: path.to_owned(), line: line_at(text.as_bytes(), offset) });
    }
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

/// A file of a bundle, from its bytes. `archive_path` is for messages.
pub(crate) fn source_file(
    kind: Kind,
    below_root: &str,
    archive_path: &str,
    bytes: Vec<u8>,
) -> Result<SourceFile, BundleError> {
    let sha256 = sha256_hex(&bytes);
    let text = decode(archive_path, bytes)?;
    Ok(SourceFile { kind, path: below_root.to_owned(), text, sha256 })
}

/// The line, from 1, of the byte at `offset`.
fn line_at(bytes: &[u8], offset: usize) -> u32 {
    let line_feeds = bytes.iter().take(offset).filter(|byte| **byte == b'\n').count();
    u32::try_from(line_feeds).unwrap_or(u32::MAX).saturating_add(1)
}
