//! What one archive may cost.

const MIB: u64 = 1024 * 1024;

/// How much one archive may cost to read. Memory stays below about `max_unpacked_bytes`, whatever the archive claims or holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the archive as received.
    pub max_archive_bytes: u64,
    /// Bytes after decompression, tar headers and padding included. Holds for a plain tar as well.
    pub max_unpacked_bytes: u64,
    /// Members of the tar: files, folders and global headers, whether or not a bundle has a use for them.
    pub max_entries: usize,
    /// Bytes after decompression for each byte before. Looked at only beyond [`Limits::RATIO_FLOOR`].
    pub max_ratio: u32,
}

impl Limits {
    /// Unpacked bytes up to which any ratio will do.
    ///
    /// Ten thousand generated functions that differ in a name compress 300 times and are honest; up to 16 MiB they cost nothing
    /// worth a refusal. Deflate cannot do better than about 1:1030, so beyond the floor a ratio still tells a bomb from a bundle.
    pub const RATIO_FLOOR: u64 = 16 * MIB;
}

impl Default for Limits {
    /// 64 MiB packed, 256 MiB unpacked, 20,000 members, ratio 200.
    fn default() -> Self {
        Self { max_archive_bytes: 64 * MIB, max_unpacked_bytes: 256 * MIB, max_entries: 20_000, max_ratio: 200 }
    }
}
