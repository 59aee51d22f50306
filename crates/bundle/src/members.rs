//! The members of a tar: files and folders with safe names. Everything else is refused here.
//!
//! The headers are walked by hand (with the tar crate reading their fields) because its own iterator takes a missing end marker for
//! a proper end, never looks behind the marker, and reads extension headers of any size into memory.
//! Format: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Basic Tar Format".

use tar::{EntryType, Header};

use crate::stream::Stream;
use crate::{BundleError, Limits, path};

const BLOCK: u64 = 512;

/// Bytes of one extension header (long name or pax). They hold names and attributes; Go's reader draws the line at 1 MiB too.
const MAX_EXTENSION_BYTES: u64 = 1024 * 1024;

/// One member of the archive. The path is normalised, see [`path::normalise`], and empty for the top folder.
pub(crate) enum Member {
    Folder(String),
    File(String),
}

/// A forward-only reader of the members.
pub(crate) struct Members<'a> {
    stream: Stream<'a>,
    limits: &'a Limits,
    /// Whether the first header was read.
    started: bool,
    /// Members so far.
    count: usize,
    /// Bytes of the present member's data, then of its padding, that nobody has read.
    unread: u64,
    padding: u64,
    /// Name of the last member, for messages.
    last: Option<String>,
}

/// What a pax header says that matters here.
#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    links: bool,
    sparse: bool,
}

impl<'a> Members<'a> {
    pub(crate) fn open(archive: &'a [u8], limits: &'a Limits) -> Result<Self, BundleError> {
        let mut members = Self {
            stream: Stream::open(archive, limits),
            limits,
            started: false,
            count: 0,
            unread: 0,
            padding: 0,
            last: None,
        };
        members.check_start(archive)?;
        Ok(members)
    }

    /// The next member; none behind the last, when the end marker was seen and nothing but zeros behind it.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, BundleError> {
        let mut long_name = None;
        let mut pax: Option<Pax> = None;
        loop {
            self.pass_over_data()?;
            let Some(header) = self.header()? else {
                if long_name.is_some() || pax.is_some() {
                    return Err(self.damaged("an extension header without the member it describes"));
                }
                self.check_end()?;
                return Ok(None);
            };
            let size = header.entry_size().map_err(|_| self.damaged("a size that is not a number"))?;
            match header.entry_type() {
                EntryType::GNULongName => {
                    if long_name.replace(self.extension(size)?).is_some() {
                        return Err(self.damaged("two long names for one member"));
                    }
                }
                // The target of a link, which is refused when it comes.
                EntryType::GNULongLink => drop(self.extension(size)?),
                EntryType::XHeader => {
                    let data = self.extension(size)?;
                    let parsed = Pax::parse(&data).ok_or_else(|| self.damaged("a malformed pax header"))?;
                    if pax.replace(parsed).is_some() {
                        return Err(self.damaged("two pax headers for one member"));
                    }
                }
                EntryType::XGlobalHeader => {
                    // git archive puts the commit's name into one; nothing in it concerns a bundle, unless it redefines members.
                    self.count_member()?;
                    let data = self.extension(size)?;
                    let global = Pax::parse(&data).ok_or_else(|| self.damaged("a malformed pax header"))?;
                    if global.path.is_some() || global.size.is_some() || global.links || global.sparse {
                        return Err(self.damaged("a global pax header that names or resizes members"));
                    }
                }
                kind => {
                    self.count_member()?;
                    return self.member(&header, kind, size, long_name, pax.unwrap_or_default()).map(Some);
                }
            }
        }
    }

    /// The bytes of the file that [`Members::next`] gave last.
    pub(crate) fn contents(&mut self) -> Result<Vec<u8>, BundleError> {
        let size = std::mem::take(&mut self.unread);
        let data = self.stream.take(size).map_err(|error| self.in_member(error))?;
        if (data.len() as u64) < size {
            return Err(self.truncated());
        }
        Ok(data)
    }

    fn member(
        &mut self,
        header: &Header,
        kind: EntryType,
        size: u64,
        long_name: Option<Vec<u8>>,
        pax: Pax,
    ) -> Result<Member, BundleError> {
        let raw = match (pax.path, long_name) {
            (Some(name), _) => name,
            (None, Some(mut name)) => {
                // GNU tar counts the zero byte that ends the name into its size.
                name.truncate(name.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
                name
            }
            (None, None) => header.path_bytes().into_owned(),
        };
        let unsupported = |what| Err(BundleError::UnsupportedEntry { path: path::shown(&raw), what });
        // The original tar of 1979 knew no folders: a name that ends in a slash made one.
        let is_folder = match kind {
            EntryType::Directory => true,
            EntryType::Regular => raw.ends_with(b"/"),
            EntryType::Continuous => false,
            EntryType::Symlink => return unsupported("a symbolic link"),
            EntryType::Link => return unsupported("a hard link"),
            EntryType::Char | EntryType::Block => return unsupported("a device"),
            EntryType::Fifo => return unsupported("a named pipe"),
            EntryType::GNUSparse => return unsupported("a sparse file"),
            _ => return unsupported("of a type unknown here"),
        };
        if pax.sparse {
            return unsupported("a sparse file");
        }
        let name = path::normalise(&raw)?;
        if name.is_empty() && !is_folder {
            return Err(BundleError::UnsafePath { path: path::shown(&raw), reason: "it is empty" });
        }
        self.last = Some(name.clone());
        // Only a file of 8 GiB needs its size in pax. Two sizes that differ would make two readers see two archives.
        if pax.size.is_some_and(|pax_size| pax_size != size) {
            return Err(self.damaged("two sizes for one member"));
        }
        if is_folder && size > 0 {
            return Err(self.damaged("a folder with contents of its own"));
        }
        self.expect_data(size)?;
        Ok(if is_folder { Member::Folder(name) } else { Member::File(name) })
    }

    /// The next header; none at the end marker.
    fn header(&mut self) -> Result<Option<Header>, BundleError> {
        let mut header = Header::new_old();
        let filled = self.stream.fill(header.as_mut_bytes()).map_err(|error| self.in_member(error))?;
        let is_first = !std::mem::replace(&mut self.started, true);
        let is_tar = header.as_bytes().iter().all(|byte| *byte == 0) || checksum_matches(&header);
        match filled as u64 {
            // A plain archive was looked at in check_start.
            0 if is_first => return Err(BundleError::EmptyArchive),
            BLOCK if is_tar => {}
            _ if is_first => {
                return Err(BundleError::NotAnArchive { found: "gzip with something other than a tar in it" });
            }
            BLOCK => return Err(self.damaged("a header whose checksum is wrong")),
            _ => return Err(self.truncated()),
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        Ok(Some(header))
    }

    /// The data of an extension header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, BundleError> {
        if size > MAX_EXTENSION_BYTES {
            return Err(self.damaged("an extension header of more than 1 MiB"));
        }
        self.expect_data(size)?;
        self.contents()
    }

    /// Notes that `size` bytes of data and their padding follow.
    fn expect_data(&mut self, size: u64) -> Result<(), BundleError> {
        // Refused before the bytes come: no need to unpack up to the limit for what is sure to go beyond it.
        if size > self.stream.allowance() {
            let limit = self.limits.max_unpacked_bytes;
            return Err(BundleError::UnpackedTooLarge { path: self.last.clone(), limit });
        }
        self.unread = size;
        self.padding = size.wrapping_neg() % BLOCK;
        Ok(())
    }

    /// Passes over what is left of the present member. That there is too little of it shows when the next header is read.
    fn pass_over_data(&mut self) -> Result<(), BundleError> {
        let bytes = std::mem::take(&mut self.unread).saturating_add(std::mem::take(&mut self.padding));
        self.stream.skip(bytes).map_err(|error| self.in_member(error))
    }

    fn count_member(&mut self) -> Result<(), BundleError> {
        self.count += 1;
        if self.count > self.limits.max_entries {
            return Err(BundleError::TooManyEntries { limit: self.limits.max_entries });
        }
        Ok(())
    }

    /// Tells what is no archive at all from one that is damaged.
    fn check_start(&mut self, archive: &[u8]) -> Result<(), BundleError> {
        if archive.is_empty() {
            return Err(BundleError::EmptyArchive);
        }
        if self.stream.is_gzip() {
            return Ok(());
        }
        let mut header = Header::new_old();
        let is_tar = match archive.first_chunk() {
            Some(block) => {
                *header.as_mut_bytes() = *block;
                block.iter().all(|byte| *byte == 0) || checksum_matches(&header)
            }
            None => false,
        };
        if is_tar { Ok(()) } else { Err(BundleError::NotAnArchive { found: what_else(archive) }) }
    }

    /// Behind the end marker only zeros may come, and whole blocks of them: tar fills up its last record, of 10 KiB by default.
    /// POSIX ends an archive with two zero blocks; one will do, as it does for GNU tar. None at all is a tar cut off between members.
    fn check_end(&mut self) -> Result<(), BundleError> {
        let mut length: u64 = 0;
        loop {
            let bytes = self.stream.next(usize::MAX).map_err(|error| in_member(error, self.last.as_ref()))?;
            if bytes.is_empty() {
                break;
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Err(BundleError::TrailingData { place: "behind the tar's end marker" });
            }
            length += bytes.len() as u64;
        }
        if !length.is_multiple_of(BLOCK) { Err(self.truncated()) } else { Ok(()) }
    }

    fn damaged(&self, reason: &'static str) -> BundleError {
        BundleError::DamagedTar { path: self.last.clone(), reason }
    }

    fn truncated(&self) -> BundleError {
        BundleError::Truncated { path: self.last.clone() }
    }

    fn in_member(&self, error: BundleError) -> BundleError {
        in_member(error, self.last.as_ref())
    }
}

impl Pax {
    /// Reads records of the form `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record. None if they are malformed.
    fn parse(mut data: &[u8]) -> Option<Pax> {
        let mut pax = Pax::default();
        while !data.is_empty() {
            let digits = data.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(data.get(..digits)?).ok()?.parse().ok()?;
            let record = data.get(digits + 1..length)?.strip_suffix(b"\n")?;
            data = data.get(length..)?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (record.get(..equals)?, record.get(equals + 1..)?);
            match key {
                // An empty value takes back what a global header said, and there a path is refused.
                b"path" => pax.path = (!value.is_empty()).then(|| value.to_vec()),
                b"size" => pax.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
                b"linkpath" => pax.links = true,
                _ if key.starts_with(b"GNU.sparse.") => pax.sparse = true,
                _ => {}
            }
        }
        Some(pax)
    }
}

/// The sum of all bytes of the header, with the checksum's own field taken for spaces.
fn checksum_matches(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let own = 148..156;
    let sum: u32 = bytes.iter().enumerate().map(|(i, b)| u32::from(if own.contains(&i) { b' ' } else { *b })).sum();
    header.cksum().is_ok_and(|stated: u32| stated == sum)
}

/// Names the member an error of the stream was met in.
fn in_member(error: BundleError, last: Option<&String>) -> BundleError {
    match error {
        BundleError::Truncated { path: None } => BundleError::Truncated { path: last.cloned() },
        BundleError::UnpackedTooLarge { path: None, limit } => {
            BundleError::UnpackedTooLarge { path: last.cloned(), limit }
        }
        other => other,
    }
}

/// What somebody may have sent instead of a tar, by its magic number.
fn what_else(archive: &[u8]) -> &'static str {
    const MAGIC: [(&[u8], &str); 6] = [
        (b"PK\x03\x04", "a zip file"),
        (b"PK\x05\x06", "a zip file"),
        (b"BZh", "a bzip2 file"),
        (b"\xfd7zXZ\0", "an xz file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z file"),
    ];
    MAGIC.iter().find(|(magic, _)| archive.starts_with(magic)).map_or("neither gzip nor tar", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pax_records() {
        let pax = Pax::parse(b"12 path=a/b\n9 size=5\n20 SCHILY.xattr=a=b\n").unwrap();
        assert_eq!((pax.path.as_deref(), pax.size, pax.sparse), (Some(b"a/b".as_slice()), Some(5), false));
        assert!(Pax::parse(b"22 GNU.sparse.major=1\n").unwrap().sparse);
        assert!(Pax::parse(b"").is_some());
        // A value may hold the line feed that ends records.
        assert_eq!(Pax::parse(b"12 path=a\nb\n").unwrap().path.unwrap(), b"a\nb");
        let malformed: [&[u8]; 10] = [
            b"x",
            b"12 path=a/b",
            b"13 path=a/b\n",
            b"0 path=a/b\n",
            b"2 path=a/b\n",
            b"-1 path=a\n",
            b"9 pathab\n",
            b"99999999999999999999999 a=b\n",
            b"9 size=x\n",
            b"12 path=a/b\n\0\0",
        ];
        for data in malformed {
            assert!(Pax::parse(data).is_none(), "{data:?}");
        }
    }
}
