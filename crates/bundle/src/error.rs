//! Why an archive is refused.

/// Why an archive is not a bundle. The message says what to change; paths are those of the archive, without a leading `./`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// No bytes, or a tar without one member.
    #[error("the archive is empty")]
    EmptyArchive,
    /// Neither gzip nor tar.
    #[error("not a tar.gz: this is {found}; send a tar, plain or compressed with gzip")]
    NotAnArchive {
        /// What it looks like instead.
        found: &'static str,
    },
    /// The gzip stream breaks its own format or checksum.
    #[error("the gzip stream is damaged: {reason}")]
    DamagedGzip {
        /// What the decoder says.
        reason: String,
    },
    /// A tar header that makes no sense.
    #[error("the tar is damaged {}: {reason}", after(path))]
    DamagedTar {
        /// The last member before the damage.
        path: Option<String>,
        /// What is wrong.
        reason: &'static str,
    },
    /// The archive stops before its end marker.
    #[error("the archive is cut off {}; was the upload complete?", after(path))]
    Truncated {
        /// The member it stops in or after.
        path: Option<String>,
    },
    /// Something follows the end of the archive.
    #[error("the archive has other data after its end ({place})")]
    TrailingData {
        /// Which of the two ends.
        place: &'static str,
    },

    /// More bytes than [`Limits::max_archive_bytes`](crate::Limits::max_archive_bytes).
    #[error("the archive has {size} bytes, more than the {limit} allowed")]
    ArchiveTooLarge {
        /// Bytes received.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// More bytes than [`Limits::max_unpacked_bytes`](crate::Limits::max_unpacked_bytes).
    #[error("the archive unpacks to more than the {limit} bytes allowed{}", at(path))]
    UnpackedTooLarge {
        /// The member that goes beyond the limit, where it is known.
        path: Option<String>,
        /// Bytes allowed.
        limit: u64,
    },
    /// More than [`Limits::max_ratio`](crate::Limits::max_ratio).
    #[error("the archive unpacks to more than {limit} times its size, as a decompression bomb does")]
    RatioTooHigh {
        /// Ratio allowed.
        limit: u32,
    },
    /// More members than [`Limits::max_entries`](crate::Limits::max_entries).
    #[error("the archive has more than the {limit} entries allowed")]
    TooManyEntries {
        /// Members allowed.
        limit: usize,
    },
    /// A gzip file of absurdly many parts, each of which costs time and may hold nothing.
    #[error("the gzip file has more than the {limit} members allowed")]
    TooManyGzipMembers {
        /// Gzip members allowed.
        limit: usize,
    },

    /// A name that could reach outside the archive, or that cannot be shown or recorded.
    #[error("the name {path:?} in the archive is refused: {reason}")]
    UnsafePath {
        /// The name, shortened and with U+FFFD where it is not UTF-8.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A link, a device and so on.
    #[error("{path:?} is {what}; a bundle has only plain files and folders")]
    UnsupportedEntry {
        /// The member.
        path: String,
        /// What it is, with its article.
        what: &'static str,
    },
    /// Two members of one name.
    #[error("{path:?} is in the archive twice")]
    DuplicatePath {
        /// The name.
        path: String,
    },

    /// Files of a bundle in several roots.
    #[error(
        "the archive holds more than one bundle: {first:?} and {path:?} have different roots; send one root \
         (postgresql/, or the folders tables/, functions/ … at the top)"
    )]
    SeveralRoots {
        /// The first file of the first root.
        first: String,
        /// The first file of another root.
        path: String,
    },
    /// Nothing of a bundle in it.
    #[error(
        "the archive has no file of a bundle: the folders {} belong at its top, in postgresql/, or in postgresql/ one \
         folder down, with .pssql, .pgsql or .sql files in them (extensions: .sql or .txt){}",
        folders(),
        misplaced(path)
    )]
    NoFiles {
        /// A file that would be one if it were in the right place.
        path: Option<String>,
    },
    /// Two migrations of one file name, which is what a migration is recorded by.
    #[error("two migrations have one file name, by which they are recorded: {first:?} and {path:?}; rename one")]
    DuplicateMigration {
        /// The first of them.
        first: String,
        /// The second.
        path: String,
    },
    /// Two files that ask for one extension.
    #[error("two files ask for the extension {name:?}: {first:?} and {path:?}; keep one")]
    DuplicateExtension {
        /// The extension's name.
        name: String,
        /// The first of them.
        first: String,
        /// The second.
        path: String,
    },

    /// A file that is not UTF-8.
    #[error("{path:?} is not UTF-8 in line {line}; save it as UTF-8")]
    NotUtf8 {
        /// The file.
        path: String,
        /// The line of the first wrong byte, from 1.
        line: u32,
    },
    /// A file with a zero byte, which PostgreSQL cannot read.
    #[error("{path:?} has a zero byte in line {line}; is it text, saved as UTF-8?")]
    ZeroByte {
        /// The file.
        path: String,
        /// Its line, from 1.
        line: u32,
    },
    /// A stonescript.json that is malformed or has a value of the wrong type.
    #[error("{path:?} is not a valid manifest: {reason}")]
    BadManifest {
        /// The manifest.
        path: String,
        /// The line where it is malformed, from 1.
        line: Option<u32>,
        /// What is wrong with it.
        reason: String,
    },
    /// Two manifests that both could apply.
    #[error("the archive has two manifests: {first:?} and {path:?}; keep one")]
    DuplicateManifest {
        /// The first of them.
        first: String,
        /// The second.
        path: String,
    },
}

impl BundleError {
    /// The archive path of the file concerned, if there is one. Of two, the second.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::EmptyArchive
            | Self::NotAnArchive { .. }
            | Self::DamagedGzip { .. }
            | Self::TrailingData { .. }
            | Self::ArchiveTooLarge { .. }
            | Self::RatioTooHigh { .. }
            | Self::TooManyEntries { .. }
            | Self::TooManyGzipMembers { .. } => None,
            Self::DamagedTar { path, .. }
            | Self::Truncated { path }
            | Self::UnpackedTooLarge { path, .. }
            | Self::NoFiles { path } => path.as_deref(),
            Self::UnsafePath { path, .. }
            | Self::UnsupportedEntry { path, .. }
            | Self::DuplicatePath { path }
            | Self::SeveralRoots { path, .. }
            | Self::DuplicateMigration { path, .. }
            | Self::DuplicateExtension { path, .. }
            | Self::NotUtf8 { path, .. }
            | Self::ZeroByte { path, .. }
            | Self::BadManifest { path, .. }
            | Self::DuplicateManifest { path, .. } => Some(path),
        }
    }

    /// The line in that file, from 1, where it is known.
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::NotUtf8 { line, .. } | Self::ZeroByte { line, .. } => Some(*line),
            Self::BadManifest { line, .. } => *line,
            _ => None,
        }
    }
}

fn after(path: &Option<String>) -> String {
    path.as_ref().map_or_else(|| "at its start".to_owned(), |path| format!("in or after {path:?}"))
}

fn at(path: &Option<String>) -> String {
    path.as_ref().map_or_else(String::new, |path| format!(", at {path:?}"))
}

fn misplaced(path: &Option<String>) -> String {
    path.as_ref().map_or_else(String::new, |path| format!("; {path:?} is in none of these places"))
}

fn folders() -> String {
    crate::Kind::ALL.map(crate::Kind::folder).join(", ")
}
