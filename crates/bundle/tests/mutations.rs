//! Archives with random damage: never a panic, and never a bundle that breaks its own promises.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{Tar, full, gzip};
use fastrand::Rng;
use stonescriptdb_bundle::{Bundle, Kind, Limits};

/// An archive with something of everything that the reader knows.
fn rich() -> Vec<u8> {
    let long = format!("postgresql/tables/{}/t.sql", "d".repeat(120));
    full("postgresql/")
        .pax(b'g', &["comment=c0ffee"])
        .folder("postgresql/")
        .member(b'L', b"././@LongLink", format!("{long}\0").as_bytes())
        .file("short", "CREATE TABLE t ();")
        .pax(b'x', &["path=postgresql/views/ä.sql", "mtime=1.25", "size=9"])
        .file("short", "SELECT 1;")
        .file("postgresql/stonescript.json", r#"{"platform": "shop", "requires": {}, "other": 1}"#)
        .file("README.md", "readme".repeat(200))
        .file("postgresql/migrations/x/002.sql", "SELECT 'ö';\n".repeat(300))
        .end()
}

fn mutate(random: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=random.usize(..4) {
        let at = random.usize(..bytes.len());
        match random.usize(..8) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << random.usize(..8),
            2 => bytes[at] = random.u8(..),
            3 => bytes.insert(at, random.u8(..)),
            4 => drop(bytes.remove(at)),
            5 => {
                let end = bytes.len().min(at + random.usize(..600));
                bytes.drain(at..end);
            }
            6 => {
                let end = bytes.len().min(at + random.usize(..600));
                let part = bytes[at..end].to_vec();
                let to = random.usize(..bytes.len());
                bytes.splice(to..to, part);
            }
            _ => {
                let end = bytes.len().min(at + random.usize(..20));
                bytes[at..end].fill([0, 0xff, b'7', b' ', b'/', b'.'][random.usize(..6)]);
            }
        }
        if bytes.is_empty() {
            return;
        }
    }
}

/// Makes the checksum of every block that looks like a header right again, so that damage gets past it.
fn repair_checksums(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

fn check(archive: &[u8], limits: &Limits) -> bool {
    let bundle = match Bundle::read(archive, limits) {
        Ok(bundle) => bundle,
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && message.len() < 5000, "{message}");
            assert!(!message.contains(|c: char| c.is_control() && c != '\u{fffd}'), "{message:?}");
            let _ = (error.path(), error.line());
            return false;
        }
    };
    assert!(!bundle.files.is_empty() && bundle.files.len() <= limits.max_entries);
    assert!(bundle.files.iter().map(|file| file.text.len() as u64).sum::<u64>() <= limits.max_unpacked_bytes);
    assert!(bundle.warnings.len() <= 101);
    for file in &bundle.files {
        let (folder, rest) = file.path.split_once('/').unwrap();
        assert_eq!(Kind::of_folder(folder), Some(file.kind));
        assert!(rest.split('/').all(|part| !part.is_empty() && !part.starts_with('.')), "{}", file.path);
        assert!(!file.path.contains(['\\', '\0', '\n']) && !file.text.contains('\0'));
        assert_eq!(file.extension_request().is_some(), file.kind == Kind::Extension);
    }
    assert!(bundle.files.is_sorted_by_key(|file| file.kind));
    true
}

fn rounds(seed: u64, count: usize, make: impl Fn(&mut Rng) -> Vec<u8>) -> usize {
    let mut random = Rng::with_seed(seed);
    let limits = [
        Limits::default(),
        Limits { max_archive_bytes: 100_000, max_unpacked_bytes: 40_000, max_entries: 12, max_ratio: 1 },
        Limits { max_unpacked_bytes: u64::MAX, max_entries: usize::MAX, ..Limits::default() },
    ];
    (0..count).filter(|_| check(&make(&mut random), &limits[random.usize(..3)])).count()
}

#[test]
fn damaged_tar() {
    let tar = rich();
    assert!(check(&tar, &Limits::default()));
    let survivors = rounds(1, 8000, |random| {
        let mut bytes = tar.clone();
        mutate(random, &mut bytes);
        bytes
    });
    // Damage to contents goes unseen in a plain tar, so some must survive; else the test tests nothing.
    assert!(survivors > 50, "{survivors}");
}

#[test]
fn damaged_tar_with_valid_checksums() {
    let tar = rich();
    let survivors = rounds(2, 12_000, |random| {
        let mut bytes = tar.clone();
        // Half of the damage goes to headers, which are a small part of the bytes.
        if random.usize(..2) == 0 {
            let blocks: Vec<usize> =
                (0..bytes.len() / 512).filter(|i| &bytes[i * 512 + 257..i * 512 + 262] == b"ustar").collect();
            for _ in 0..=random.usize(..3) {
                let block = blocks[random.usize(..blocks.len())];
                let field =
                    [0..100, 100..124, 124..136, 156..157, 157..257, 257..265, 345..500][random.usize(..7)].clone();
                bytes[block * 512 + field.start + random.usize(..field.len())] =
                    [random.u8(..), b"0125LKxgS/."[random.usize(..11)], 0][random.usize(..3)];
            }
        } else {
            mutate(random, &mut bytes);
        }
        repair_checksums(&mut bytes);
        bytes
    });
    assert!(survivors > 500, "{survivors}");
}

#[test]
fn damaged_gzip() {
    let archive = gzip(&rich());
    rounds(3, 8000, |random| {
        let mut bytes = archive.clone();
        mutate(random, &mut bytes);
        bytes
    });
}

#[test]
fn damaged_tar_in_gzip() {
    let tar = rich();
    rounds(4, 1500, |random| {
        let mut bytes = tar.clone();
        mutate(random, &mut bytes);
        repair_checksums(&mut bytes);
        gzip(&bytes)
    });
}

#[test]
fn noise() {
    rounds(5, 5000, |random| {
        let mut bytes: Vec<u8> = (0..random.usize(..3000)).map(|_| random.u8(..)).collect();
        if random.usize(..2) == 0 {
            bytes.splice(0..0, [0x1f, 0x8b, 8, random.u8(..) & 31, 0, 0, 0, 0, 0, 3]);
        }
        bytes
    });
    rounds(6, 3000, |random| {
        let mut tar = Tar::new();
        for _ in 0..random.usize(..6) {
            let name: Vec<u8> = (0..random.usize(..40)).map(|_| b"tables/.a\\:\xff\n1ql"[random.usize(..16)]).collect();
            let data: Vec<u8> = (0..random.usize(..700)).map(|_| b"1 path=a\n\0"[random.usize(..10)]).collect();
            tar = tar.member(b"\x0001234567xgLKSV"[random.usize(..15)], &name, &data);
        }
        tar.end()
    });
}
