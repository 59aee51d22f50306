//! The committed corpus through the functions that fuzzing runs, and some damage to each of its files.
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

/// Each file as it is, cut off at some places, and with some of its bits turned.
fn run(target: &str, check: fn(&[u8])) {
    for (path, bytes) in corpus(target) {
        println!("{}", path.display());
        check(&bytes);
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
}

#[test]
fn heads_of_requests() {
    run("http", fuzzed::http);
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
