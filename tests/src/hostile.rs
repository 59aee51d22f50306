//! Archives that nobody should send. Each but [`empty`] and the damaged ones also has a good table in it, so that a server that merely
//! skips what is bad is found out.

use std::process::{Command, Stdio};

use tar::{EntryType, Header};

use crate::bundle::gzip;

/// An entry with a name, type and link target of any kind, past all checks of the tar library.
fn entry(name: &str, kind: EntryType, link: &str, data: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    let fields = header.as_old_mut();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn good() -> Vec<u8> {
    entry("postgresql/tables/good.pssql", EntryType::Regular, "", b"CREATE TABLE good (id int PRIMARY KEY);\n")
}

fn finished(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = parts.concat();
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn archive(bad: Vec<u8>) -> Vec<u8> {
    gzip(&finished(&[good(), bad]))
}

/// A symbolic link to a file of the server.
pub fn symlink() -> Vec<u8> {
    archive(entry("postgresql/tables/evil.pssql", EntryType::Symlink, "/etc/passwd", b""))
}

/// A hard link to another entry.
pub fn hard_link() -> Vec<u8> {
    archive(entry("postgresql/tables/evil.pssql", EntryType::Link, "postgresql/tables/good.pssql", b""))
}

/// A path with `..` in it.
pub fn dot_dot() -> Vec<u8> {
    archive(entry("postgresql/tables/../../../evil.pssql", EntryType::Regular, "", b"SELECT 1;\n"))
}

/// A path with `..` in it, in a GNU long-name record.
pub fn long_dot_dot() -> Vec<u8> {
    let path = format!("postgresql/tables/{}/../../../../../evil.pssql\0", "d".repeat(120));
    let name = entry("././@LongLink", EntryType::GNULongName, "", path.as_bytes());
    archive([name, entry("short.pssql", EntryType::Regular, "", b"SELECT 1;\n")].concat())
}

/// A path with `..` in it, in a pax record.
pub fn pax_dot_dot() -> Vec<u8> {
    let record = " path=postgresql/tables/../../evil.pssql\n";
    // The length of a record counts its own two digits.
    let record = format!("{}{record}", record.len() + 2);
    let pax = entry("PaxHeader/evil", EntryType::XHeader, "", record.as_bytes());
    archive([pax, entry("short.pssql", EntryType::Regular, "", b"SELECT 1;\n")].concat())
}

/// An absolute path.
pub fn absolute() -> Vec<u8> {
    archive(entry("/postgresql/tables/evil.pssql", EntryType::Regular, "", b"SELECT 1;\n"))
}

/// A character device.
pub fn device() -> Vec<u8> {
    archive(entry("postgresql/tables/evil.pssql", EntryType::Char, "", b""))
}

/// A named pipe.
pub fn fifo() -> Vec<u8> {
    archive(entry("postgresql/tables/evil.pssql", EntryType::Fifo, "", b""))
}

/// A good archive without its last third.
pub fn cut_off() -> Vec<u8> {
    let mut bytes = archive(entry("postgresql/tables/more.pssql", EntryType::Regular, "", &noise(20_000)));
    bytes.truncate(bytes.len() * 2 / 3);
    bytes
}

/// A plain tar that ends in the middle of an entry.
pub fn cut_off_tar() -> Vec<u8> {
    let mut bytes = [good(), entry("postgresql/tables/more.pssql", EntryType::Regular, "", &noise(20_000))].concat();
    bytes.truncate(10_000);
    bytes
}

/// A good archive in which one byte of gzip's check sum is another.
pub fn bad_checksum() -> Vec<u8> {
    let mut bytes = gzip(&finished(&[good()]));
    let at = bytes.len() - 8;
    bytes[at] ^= 0xff;
    bytes
}

/// A tar whose header's check sum is wrong.
pub fn bad_header() -> Vec<u8> {
    let mut tar = finished(&[good()]);
    tar[148] ^= 0x01;
    gzip(&tar)
}

/// An entry that says it is of 8 GiB.
pub fn lying_size() -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(8 << 30);
    header.set_mode(0o644);
    header.as_old_mut().name[..28].copy_from_slice(b"postgresql/tables/huge.pssql");
    header.set_cksum();
    archive(header.as_bytes().to_vec())
}

/// A tar without an entry, compressed.
pub fn empty() -> Vec<u8> {
    gzip(&finished(&[]))
}

/// Folders only.
pub fn folders_only() -> Vec<u8> {
    let folders = ["postgresql/", "postgresql/tables/"].map(|name| entry(name, EntryType::Directory, "", b""));
    gzip(&finished(&folders))
}

/// Many tiny files.
pub fn many_entries(count: usize) -> Vec<u8> {
    let entries: Vec<_> =
        (0..count).map(|i| entry(&format!("postgresql/tables/t{i}.pssql"), EntryType::Regular, "", b"")).collect();
    gzip(&finished(&[good(), entries.concat()]))
}

/// As [`many_entries`], for a number of which this crate's gzip would take minutes.
pub fn very_many_entries(count: usize) -> Vec<u8> {
    let mut entry = entry("postgresql/tables/t0000000.pssql", EntryType::Regular, "", b"");
    let base: u32 = entry.iter().map(|byte| u32::from(*byte)).sum();
    let of_sum: u32 = entry[148..156].iter().map(|byte| u32::from(*byte)).sum();
    let of_zeros: u32 = 7 * u32::from(b'0');
    let mut tar = good();
    tar.reserve(count * entry.len());
    for number in 0..count {
        let digits = format!("{number:07}");
        entry[19..26].copy_from_slice(digits.as_bytes());
        // The check sum counts its own field as blanks.
        let of_digits: u32 = digits.bytes().map(u32::from).sum();
        let sum = base - of_sum + 8 * u32::from(b' ') - of_zeros + of_digits;
        entry[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&entry);
    }
    by_gzip(&finished(&[tar]), 0)
}

/// An SQL file of zeros that unpacks to `megabytes`, a thousandth of that as sent.
pub fn bomb(megabytes: u64) -> Vec<u8> {
    let size = megabytes << 20;
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.as_old_mut().name[..28].copy_from_slice(b"postgresql/tables/bomb.pssql");
    header.set_cksum();
    let mut head = good();
    head.extend_from_slice(header.as_bytes());
    by_gzip(&head, size + 1024)
}

/// Bytes and zeros behind them, compressed by the gzip program: this crate's own, built without optimisation, would take a minute.
fn by_gzip(head: &[u8], zeros: u64) -> Vec<u8> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{{ cat; head -c {zeros} /dev/zero; }} | gzip -c"));
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh, head and gzip");
    let mut input = shell.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut input, head).expect("the shell reads"));
        shell.wait_with_output().expect("gzip ends").stdout
    })
}

/// Bytes without a pattern, always the same: no compression makes them smaller.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(length)
    .collect()
}

/// An archive as the tar program makes it of a directory: entries for folders, `./` before every path, a global pax header as of
/// `git archive`. Odd, and right.
pub fn odd_but_right(table: &str) -> Vec<u8> {
    let pax = entry("pax_global_header", EntryType::XGlobalHeader, "", b"19 comment=0a1b2c3\n");
    let folders =
        ["./", "./postgresql/", "./postgresql/tables/"].map(|name| entry(name, EntryType::Directory, "", b""));
    let sql = format!("CREATE TABLE {table} (id int PRIMARY KEY);\n");
    let file = entry(&format!("./postgresql/tables/{table}.pssql"), EntryType::Regular, "", sql.as_bytes());
    gzip(&finished(&[pax, folders.concat(), file]))
}
