//! The bytes of the tar, out of gzip or as they are, with the limits on size and ratio checked for every chunk.

use std::io::{ErrorKind, Read, Write};
use std::ops::Range;

use flate2::bufread::GzDecoder;

use crate::{BundleError, Limits};

/// Unpacked bytes held at a time. The limits are checked after each chunk, so this is also by how much they can be overrun.
const CHUNK: usize = 64 * 1024;

/// Gzip members that one file may have. bgzip makes one per 64 KiB, 4,096 for the largest bundle allowed. Without a bound, 64 MiB
/// of empty members would cost three million resets of the decoder for no output that a limit could see.
const MAX_GZIP_MEMBERS: usize = 16_384;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

enum Source<'a> {
    Gzip { decoder: Box<GzDecoder<&'a [u8]>>, members: usize },
    Plain(&'a [u8]),
}

/// A forward-only reader of the unpacked bytes.
pub(crate) struct Stream<'a> {
    source: Source<'a>,
    limits: &'a Limits,
    /// Size of the archive in bytes, for the ratio.
    packed: u64,
    /// Bytes that left the source so far.
    unpacked: u64,
    /// The last chunk, and what of it nobody has read yet.
    chunk: Vec<u8>,
    unread: Range<usize>,
}

impl<'a> Stream<'a> {
    /// A stream over an archive, which is taken for gzip if it starts with gzip's magic number and for a tar otherwise.
    pub(crate) fn open(archive: &'a [u8], limits: &'a Limits) -> Self {
        let source = if archive.starts_with(GZIP_MAGIC) {
            Source::Gzip { decoder: Box::new(GzDecoder::new(archive)), members: 1 }
        } else {
            Source::Plain(archive)
        };
        let packed = archive.len() as u64;
        Self { source, limits, packed, unpacked: 0, chunk: vec![0; CHUNK], unread: 0..0 }
    }

    /// Whether the archive is compressed.
    pub(crate) fn is_gzip(&self) -> bool {
        matches!(self.source, Source::Gzip { .. })
    }

    /// How many bytes can still come before the limit on unpacked bytes is passed.
    pub(crate) fn allowance(&self) -> u64 {
        let unread = self.unread.len() as u64;
        self.limits.max_unpacked_bytes.saturating_sub(self.unpacked).saturating_add(unread)
    }

    /// The next bytes, at most `most` of them; none at the end of the archive.
    pub(crate) fn next(&mut self, most: usize) -> Result<&[u8], BundleError> {
        if self.unread.is_empty() {
            let filled = self.source.read(&mut self.chunk)?;
            self.unpacked = self.unpacked.saturating_add(filled as u64);
            self.check_limits()?;
            self.unread = 0..filled;
        }
        let start = self.unread.start;
        let end = self.unread.end.min(start.saturating_add(most));
        self.unread.start = end;
        Ok(self.chunk.get(start..end).unwrap_or_default())
    }

    /// Fills `buffer`; gives how many bytes there were, fewer than it holds only at the end of the archive.
    pub(crate) fn fill(&mut self, mut buffer: &mut [u8]) -> Result<usize, BundleError> {
        let wanted = buffer.len();
        while !buffer.is_empty() {
            let bytes = self.next(buffer.len())?;
            if bytes.is_empty() {
                break;
            }
            // Writing to a slice copies what fits and moves the slice on; it cannot fail, and all of `bytes` fits.
            let _ = buffer.write(bytes);
        }
        Ok(wanted - buffer.len())
    }

    /// The next `size` bytes, or fewer at the end of the archive. Memory grows with what is really there, never with `size`.
    pub(crate) fn take(&mut self, size: u64) -> Result<Vec<u8>, BundleError> {
        let mut taken = Vec::new();
        while (taken.len() as u64) < size {
            let missing = usize::try_from(size - taken.len() as u64).unwrap_or(usize::MAX);
            let bytes = self.next(missing)?;
            if bytes.is_empty() {
                break;
            }
            if taken.capacity() - taken.len() < bytes.len() {
                // Doubles, but not beyond the size: a plain extend would leave up to half of each big file's memory unused.
                taken.reserve_exact(missing.min(taken.len().max(CHUNK)));
            }
            taken.extend_from_slice(bytes);
        }
        Ok(taken)
    }

    /// Passes over `size` bytes, or fewer at the end of the archive.
    pub(crate) fn skip(&mut self, size: u64) -> Result<(), BundleError> {
        let mut missing = size;
        while missing > 0 {
            let skipped = self.next(usize::try_from(missing).unwrap_or(usize::MAX))?.len();
            if skipped == 0 {
                break;
            }
            missing -= skipped as u64;
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), BundleError> {
        if self.unpacked > self.limits.max_unpacked_bytes {
            return Err(BundleError::UnpackedTooLarge { path: None, limit: self.limits.max_unpacked_bytes });
        }
        let ratio_bound = self.packed.saturating_mul(u64::from(self.limits.max_ratio));
        if self.is_gzip() && self.unpacked > Limits::RATIO_FLOOR && self.unpacked > ratio_bound {
            return Err(BundleError::RatioTooHigh { limit: self.limits.max_ratio });
        }
        Ok(())
    }
}

impl Source<'_> {
    /// As [`Read::read`], with no bytes only at the end of the archive.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BundleError> {
        match self {
            Source::Plain(rest) => rest.read(buffer).map_err(|error| damaged(&error)),
            Source::Gzip { decoder, members } => loop {
                let filled = decoder.read(buffer).map_err(|error| damaged(&error))?;
                if filled > 0 {
                    return Ok(filled);
                }
                // The end of one gzip member, its checksum verified. flate2's own decoder for several members is not used: it
                // has no bound on them, and calls whatever follows the last one a bad header.
                let rest: &[u8] = decoder.get_ref();
                if rest.is_empty() {
                    return Ok(0);
                }
                if !rest.starts_with(GZIP_MAGIC) {
                    return Err(BundleError::TrailingData { place: "behind the gzip stream" });
                }
                *members += 1;
                if *members > MAX_GZIP_MEMBERS {
                    return Err(BundleError::TooManyGzipMembers { limit: MAX_GZIP_MEMBERS });
                }
                decoder.reset(rest);
            },
        }
    }
}

fn damaged(error: &std::io::Error) -> BundleError {
    match error.kind() {
        ErrorKind::UnexpectedEof => BundleError::Truncated { path: None },
        _ => BundleError::DamagedGzip { reason: error.to_string() },
    }
}
