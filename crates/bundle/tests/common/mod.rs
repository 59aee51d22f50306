//! Archives for the tests, down to single headers.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use stonescriptdb_bundle::{Bundle, BundleError, Limits};

/// A tar in the making.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn file(self, path: &str, data: impl AsRef<[u8]>) -> Self {
        self.member(b'0', path.as_bytes(), data.as_ref())
    }

    pub(crate) fn folder(self, path: &str) -> Self {
        self.member(b'5', path.as_bytes(), b"")
    }

    /// A ustar header of any type with any name of up to 100 bytes, its data and the padding.
    pub(crate) fn member(self, kind: u8, name: &[u8], data: &[u8]) -> Self {
        self.header(kind, name, data.len() as u64).data(data)
    }

    pub(crate) fn header(self, kind: u8, name: &[u8], size: u64) -> Self {
        self.header_with(kind, name, size, |_| {})
    }

    pub(crate) fn header_with(mut self, kind: u8, name: &[u8], size: u64, edit: impl Fn(&mut [u8; 512])) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name.get_mut(..name.len()).unwrap().copy_from_slice(name);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o644);
        header.set_size(size);
        edit(header.as_mut_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    /// Bytes, filled up to a whole block.
    pub(crate) fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A pax header for the next member; each record is `key=value`.
    pub(crate) fn pax(self, kind: u8, records: &[&str]) -> Self {
        let data: String = records.iter().map(|record| pax_record(record)).collect();
        self.member(kind, b"PaxHeader/x", data.as_bytes())
    }

    /// With the end marker.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    pub(crate) fn gz(self) -> Vec<u8> {
        gzip(&self.end())
    }

    /// What comes of reading it, plain and compressed: both ways must agree but for the checksum of the archive.
    pub(crate) fn read(self) -> Result<Bundle, BundleError> {
        let plain = self.end();
        let packed = read(&gzip(&plain));
        match (&packed, read(&plain)) {
            (Ok(packed), Ok(mut bundle)) => {
                bundle.sha256.clone_from(&packed.sha256);
                assert_eq!(*packed, bundle);
            }
            (packed, bundle) => assert_eq!(packed.as_ref().err(), bundle.as_ref().err()),
        }
        packed
    }
}

fn pax_record(record: &str) -> String {
    let rest = format!(" {record}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length += 1;
    }
    format!("{length}{rest}")
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn read(archive: &[u8]) -> Result<Bundle, BundleError> {
    Bundle::read(archive, &Limits::default())
}

/// One file of each kind below `root` (with its slash).
pub(crate) fn full(root: &str) -> Tar {
    let mut tar = Tar::new();
    for (path, text) in [
        ("views/v.sql", "CREATE VIEW v AS SELECT 1;\n"),
        ("tables/a.pssql", "CREATE TABLE a (id int PRIMARY KEY);\n"),
        ("tables/sub/b.pgsql", "CREATE TABLE b (id int PRIMARY KEY);\n"),
        ("functions/f.sql", "CREATE FUNCTION f() RETURNS int AS 'SELECT 1' LANGUAGE sql;\n"),
        ("migrations/001_m.pssql", "CREATE INDEX i ON a (id);\n"),
        ("seeders/a.pssql", "INSERT INTO a VALUES (1);\n"),
        ("types/t.pssql", "CREATE TYPE t AS ENUM ('ä');\n"),
        ("extensions/citext.txt", "-- version: 1.6\n"),
    ] {
        tar = tar.file(&format!("{root}{path}"), text);
    }
    tar
}

/// The paths of a bundle's files, in order.
pub(crate) fn paths(bundle: &Bundle) -> Vec<&str> {
    bundle.files.iter().map(|file| file.path.as_str()).collect()
}
