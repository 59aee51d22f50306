//! The committed corpus through the functions that fuzzing runs, and a short run of fuzzing without cargo-fuzz: its files damaged and
//! put together anew, 3,000 times for each target (`SSDB_FUZZ_ROUNDS`), by chance but the same every time (`SSDB_FUZZ_SEED`).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use stonescriptdb_fuzzed as fuzzed;

/// The files of a target's corpus.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{} has {} files", folder.display(), files.len());
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Each file as it is, cut off at some places, and with some of its bits turned; then by chance.
fn run(target: &str, check: fn(&[u8])) {
    let corpus = corpus(target);
    for (path, bytes) in &corpus {
        println!("{}", path.display());
        check(bytes);
        let step = (bytes.len() / 64).max(1);
        for at in (0..bytes.len()).step_by(step) {
            check(&bytes[..at]);
            for bit in [0, 3, 7] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                check(&damaged);
            }
        }
    }
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (rounds, seed) = (number("SSDB_FUZZ_ROUNDS", 3_000), number("SSDB_FUZZ_SEED", 1));
    let files: Vec<&[u8]> = corpus.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    for round in 0..rounds {
        // Each round by itself, so that one that fails can be had without those before it.
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003) ^ round);
        let bytes = mutated(&mut random, &files);
        let outcome = std::panic::catch_unwind(|| check(&bytes));
        assert!(outcome.is_ok(), "{target}: round {round} of the seed {seed}: b\"{}\"", bytes.escape_ascii());
    }
}

/// Short ones more often.
fn length(random: &mut fastrand::Rng) -> usize {
    let bound = 1 << random.usize(..10);
    random.usize(..bound)
}

/// One of the files, changed in one to eight places.
fn mutated(random: &mut fastrand::Rng, files: &[&[u8]]) -> Vec<u8> {
    let mut bytes = files[random.usize(..files.len())].to_vec();
    for _ in 0..=random.usize(..8) {
        let at = random.usize(..bytes.len() + 1);
        let end = bytes.len().min(at + 1 + length(random));
        match random.usize(..8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let part = bytes[at..end].to_vec();
                let to = random.usize(..bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            // A part of another file, in the place of one of this.
            3 => {
                let other = files[random.usize(..files.len())];
                let from = random.usize(..other.len().max(1));
                let length = length(random);
                bytes.splice(at..end, other[from..].iter().take(length).copied());
            }
            4 => bytes.insert(at, random.u8(..)),
            5 => bytes.insert(at, [0, b'\n', b'\r', b'"', b',', b';', b' ', 0xff][random.usize(..8)]),
            _ if at == bytes.len() => {}
            6 => bytes[at] ^= 1 << random.usize(..8),
            // Numbers are near each other: lengths, counts.
            _ => bytes[at] = bytes[at].wrapping_add([1, 0xff, 0x80, 10][random.usize(..4)]),
        }
    }
    bytes
}

#[test]
fn heads_of_requests() {
    run("http", fuzzed::http);
}

#[test]
fn forms() {
    run("form", fuzzed::form);
}

#[test]
fn accept_headers() {
    run("accept", fuzzed::accept);
}

#[test]
fn archives() {
    run("archive", fuzzed::archive);
}

#[test]
fn manifests() {
    run("manifest", fuzzed::manifest);
}

#[test]
fn frames() {
    run("frame", fuzzed::frame);
}
