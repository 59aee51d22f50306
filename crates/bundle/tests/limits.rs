//! That limits hold, early and at little cost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::io::Write;
use std::time::Duration;

use common::{Tar, full, gzip, read};
use flate2::Compression;
use flate2::write::GzEncoder;
use stonescriptdb_bundle::{Bundle, BundleError as E, Limits};

const MIB: u64 = 1024 * 1024;

/// The processor time of this thread so far. Tests judge it, which other work on the machine changes little, and not the clock.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[track_caller]
fn took_less(start: Duration, seconds: u64) {
    let took = processor_time() - start;
    assert!(took < Duration::from_secs(seconds), "{took:?}");
}

/// A gzip of a file of `size` zero bytes, made without having them in memory.
fn bomb(path: &str, size: u64) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&Tar::new().header(b'0', path.as_bytes(), size).0).unwrap();
    let zeros = vec![0; 65536];
    for _ in 0..size.div_ceil(65536) {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.write_all(&[0; 1024]).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn defaults() {
    let limits = Limits::default();
    assert_eq!((limits.max_archive_bytes, limits.max_unpacked_bytes), (64 * MIB, 256 * MIB));
    assert_eq!((limits.max_entries, limits.max_ratio), (20_000, 200));
}

#[test]
fn archive_bytes() {
    let archive = full("").gz();
    let size = archive.len() as u64;
    let limits = |max_archive_bytes| Limits { max_archive_bytes, ..Limits::default() };
    assert!(Bundle::read(&archive, &limits(size)).is_ok());
    assert_eq!(Bundle::read(&archive, &limits(size - 1)).unwrap_err(), E::ArchiveTooLarge { size, limit: size - 1 });
}

#[test]
fn unpacked_bytes_count_headers_and_padding() {
    let tar = full("").end();
    let size = tar.len() as u64;
    for archive in [tar.clone(), gzip(&tar)] {
        let with = |limit| Bundle::read(&archive, &Limits { max_unpacked_bytes: limit, ..Limits::default() });
        assert!(with(size).is_ok());
        for limit in [0, 1, 511, 512, 1000, size - 1] {
            assert!(matches!(with(limit), Err(E::UnpackedTooLarge { .. })), "{limit}");
        }
    }
}

#[test]
fn entries_count_folders_and_whatever_is_ignored() {
    let tar = full("").folder("tables").file("x.md", "").pax(b'g', &["comment=x"]).end();
    let with = |limit| Bundle::read(&tar, &Limits { max_entries: limit, ..Limits::default() });
    assert!(with(11).is_ok());
    assert_eq!(with(10).unwrap_err(), E::TooManyEntries { limit: 10 });
    // A member with a pax header and a long name is one member.
    let tar = Tar::new().pax(b'x', &["a=b"]).member(b'L', b"l", b"tables/a.sql").file("x", "").end();
    assert!(Bundle::read(&tar, &Limits { max_entries: 1, ..Limits::default() }).is_ok());
}

/// What comes behind the first entry too many may be anything: it is not looked at.
#[test]
fn entries_beyond_the_limit_are_not_read() {
    let entries = |count: u32| (0..count).fold(Tar::new(), |tar, n| tar.file(&format!("tables/{n}.sql"), ""));
    let few = |archive: &[u8]| Bundle::read(archive, &Limits { max_entries: 15, ..Limits::default() }).unwrap_err();
    let tar = [entries(16).0, vec![0xff; 512]].concat();
    assert!(matches!(read(&tar).unwrap_err(), E::DamagedTar { .. }));
    assert_eq!(few(&tar), E::TooManyEntries { limit: 15 });
    // Compressed, what is unpacked at a time is looked at as a whole.
    let mut gz = entries(5_000).gz();
    gz.truncate(gz.len() / 2);
    assert!(matches!(read(&gz).unwrap_err(), E::Truncated { .. }));
    assert_eq!(few(&gz), E::TooManyEntries { limit: 15 });
}

#[test]
fn a_million_entries_are_refused_quickly() {
    let one = Tar::new().file("tables/a.sql", "").0;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for i in 0..1_000_000_u32 {
        let header = if i < 30_000 { &Tar::new().file(&format!("tables/{i}.sql"), "").0 } else { &one };
        encoder.write_all(header).unwrap();
    }
    let archive = encoder.finish().unwrap();
    let start = processor_time();
    assert_eq!(read(&archive).unwrap_err(), E::TooManyEntries { limit: 20_000 });
    took_less(start, 5);
}

#[test]
fn a_bomb_is_refused_by_its_ratio() {
    for path in ["tables/a.sql", "README.md", "stonescript.json"] {
        assert_eq!(read(&bomb(path, 64 * MIB)).unwrap_err(), E::RatioTooHigh { limit: 200 });
    }
    // The claim alone is enough to know that it goes beyond the limit.
    let refused = Tar::new().header(b'0', b"tables/a.sql", 300 * MIB).read().unwrap_err();
    assert_eq!(refused, E::UnpackedTooLarge { path: Some("tables/a.sql".to_owned()), limit: 256 * MIB });
}

#[test]
fn a_bomb_behind_the_end_marker_is_one_too() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&full("").end()).unwrap();
    for _ in 0..1024 {
        encoder.write_all(&[0; 65536]).unwrap();
    }
    assert_eq!(read(&encoder.finish().unwrap()).unwrap_err(), E::RatioTooHigh { limit: 200 });
}

#[test]
fn repetitive_small_bundles_are_welcome() {
    let text = "-- the same line again and again\n".repeat(1000);
    let tar = (0..400).fold(Tar::new(), |tar, i| tar.file(&format!("functions/f_{i}.sql"), &text)).end();
    let archive = gzip(&tar);
    assert!(tar.len() / archive.len() > 200, "{}", tar.len() / archive.len());
    assert!((tar.len() as u64) < Limits::RATIO_FLOOR);
    assert_eq!(read(&archive).unwrap().files.len(), 400);
}

#[test]
fn a_claimed_size_allocates_nothing() {
    // Octal up to 8 GiB, binary beyond; the file is not there. Within the limit, what is missing is noticed at once.
    let huge = [8 * 1024 * MIB - 1, 1 << 40, u64::MAX / 2, u64::MAX];
    for size in huge {
        let refused = Tar::new().header(b'0', b"tables/a.sql", size).read().unwrap_err();
        assert!(matches!(refused, E::UnpackedTooLarge { .. }), "{refused:?}");
        let archive = Tar::new().header(b'0', b"tables/a.sql", size).end();
        let unlimited = Limits { max_unpacked_bytes: u64::MAX, ..Limits::default() };
        let refused = Bundle::read(&archive, &unlimited).unwrap_err();
        assert!(matches!(refused, E::Truncated { .. } | E::UnpackedTooLarge { .. }), "{refused:?}");
        for path in ["x", "tables/a.sql"] {
            assert!(Bundle::read(&Tar::new().header(b'0', path.as_bytes(), size).0, &unlimited).is_err());
        }
    }
    let start = processor_time();
    for _ in 0..1000 {
        let refused = Tar::new().header(b'0', b"tables/a.sql", 255 * MIB).read().unwrap_err();
        assert_eq!(refused, E::Truncated { path: Some("tables/a.sql".to_owned()) });
    }
    took_less(start, 10);
}

#[test]
fn empty_gzip_members_are_bounded() {
    let empty = gzip(b"");
    let archive = empty.repeat(1_000_000);
    let start = processor_time();
    assert!(matches!(read(&archive), Err(E::TooManyGzipMembers { .. })));
    took_less(start, 10);
}

#[test]
fn deep_and_many_paths_are_read_quickly() {
    // The longest names with the most components, nothing of it of a bundle: the worst case for warnings and hints.
    let deep = "tables/".repeat(140);
    let mut tar = Tar::new();
    for i in 0..19_000 {
        tar = tar.member(b'L', b"l", format!("x/{deep}{i}.md").as_bytes()).file("l", "");
    }
    let start = processor_time();
    assert_eq!(read(&tar.clone().end()).unwrap_err(), E::NoFiles { path: None });
    assert_eq!(read(&tar.file("tables/a.sql", "").end()).unwrap().warnings.len(), 1);
    took_less(start, 20);
}

#[test]
fn zero_limits() {
    let none = Limits { max_archive_bytes: 0, max_unpacked_bytes: 0, max_entries: 0, max_ratio: 0 };
    assert!(Bundle::read(b"", &none).is_err());
    assert!(Bundle::read(&full("").gz(), &none).is_err());
    let lavish = Limits {
        max_archive_bytes: u64::MAX,
        max_unpacked_bytes: u64::MAX,
        max_entries: usize::MAX,
        max_ratio: u32::MAX,
    };
    assert!(Bundle::read(&full("").gz(), &lavish).is_ok());
}
