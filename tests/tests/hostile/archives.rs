//! Archives with damage, to `/register`.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use acceptance::generator::Rng;
use acceptance::{Cluster, Files};
use stonescriptdb_bundle::{Bundle, Limits, SourceFile};

use crate::mutator::damage;
use crate::number;
use crate::victim::Victim;

/// A bundle with something of every kind.
fn bundle() -> Files {
    Files::new()
        .file("types/mood.pssql", "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');\n")
        .file(
            "tables/people.pssql",
            "CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, mood mood DEFAULT 'ok');\n",
        )
        .file(
            "functions/f.pssql",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT count(*)::int FROM people $$;\n",
        )
        .file("views/happy.pssql", "CREATE VIEW happy AS SELECT * FROM people WHERE mood = 'happy';\n")
        .file("seeders/people.pssql", "INSERT INTO people (id, name) VALUES (1, 'Ada'), (2, 'Grace');\n")
}

/// Makes the check sum of every block that looks like a header right again, so that damage gets past it.
fn repair(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

/// Damage to the compressed bytes, to the tar, to its headers, and rarely to the SQL alone, for that is a deployment.
fn damaged(random: &mut Rng, tar: &[u8], archive: &[u8]) -> Vec<u8> {
    match random.below(10) {
        0..4 => {
            let mut bytes = archive.to_vec();
            damage(random, &mut bytes);
            bytes
        }
        4..6 => {
            let mut bytes = tar.to_vec();
            damage(random, &mut bytes);
            bytes
        }
        _ => {
            let mut bytes = tar.to_vec();
            let blocks: Vec<usize> =
                (0..bytes.len() / 512).filter(|at| &bytes[at * 512 + 257..at * 512 + 262] == b"ustar").collect();
            for _ in 0..=random.below(3) {
                let block = *random.pick(&blocks) * 512;
                let field = random.pick(&[0..100, 100..124, 124..136, 156..157, 157..257, 257..265, 345..500]).clone();
                let at = block + field.start + random.below(field.len());
                bytes[at] = *random.pick(&[random.clone().bits() as u8, *random.clone().pick(b"0125LKxgS/."), 0]);
            }
            repair(&mut bytes);
            if random.below(2) == 0 { bytes } else { acceptance::bundle::gzip(&bytes) }
        }
    }
}

/// What damage has made of an archive.
#[derive(Clone, Copy, PartialEq)]
enum Damage {
    /// It is no bundle.
    Fatal,
    /// It is a bundle of the same files: an owner, a time or a mode is another one.
    Harmless,
    /// It is another bundle.
    Other,
}

fn outcome(archive: &[u8], files: &[SourceFile]) -> Damage {
    match Bundle::read(archive, &Limits::default()) {
        Err(_) => Damage::Fatal,
        Ok(bundle) if bundle.files == files => Damage::Harmless,
        Ok(_) => Damage::Other,
    }
}

/// Damage to be sent. Each bundle is proved and deployed, databases are created and dropped, and that takes nearly all the time. So of
/// those of the same files one in 20 is sent, of others every second one.
fn chosen(random: &mut Rng, tar: &[u8], archive: &[u8], files: &[SourceFile]) -> (Vec<u8>, Damage) {
    loop {
        let bytes = damaged(random, tar, archive);
        let outcome = outcome(&bytes, files);
        let one_in = match outcome {
            Damage::Fatal => 1,
            Damage::Other => 2,
            Damage::Harmless => 20,
        };
        if random.below(one_in) == 0 {
            return (bytes, outcome);
        }
    }
}

#[test]
fn archives_with_damage() {
    let count = number("SSDB_MUTATED_ARCHIVES", 300, 20_000);
    let victim = Victim::new(Cluster::builder());
    let tar = bundle().tar();
    let archive = bundle().tar_gz();
    let files = Bundle::read(&archive, &Limits::default()).expect("the bundle without damage").files;
    victim.http().register("target", None, &archive).ok();
    let mut memory = Vec::new();
    let sent = [const { AtomicUsize::new(0) }; 3];
    let (accepted, refused, busy) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    for part in 0..4 {
        let done = AtomicUsize::new(0);
        let seen = victim.attack(&format!("{} archives with damage", count / 4), || {
            std::thread::scope(|scope| {
                for n in 0..4 {
                    let (victim, tar, archive, files, done, sent) = (&victim, &tar, &archive, &files, &done, &sent);
                    let (accepted, refused, busy) = (&accepted, &refused, &busy);
                    scope.spawn(move || {
                        let mut random = Rng::new(1 + (part * 4 + n) as u64 * 104_729);
                        let http = victim.http().timeout(Duration::from_secs(120));
                        while done.fetch_add(1, Relaxed) < count / 4 {
                            let (bytes, damage) = chosen(&mut random, tar, archive, files);
                            sent[damage as usize].fetch_add(1, Relaxed);
                            let answer = http.register("target", None, &bytes);
                            match answer.status {
                                200 => accepted.fetch_add(1, Relaxed),
                                400..500 => refused.fetch_add(1, Relaxed),
                                503 if answer.code() != "internal_error" => busy.fetch_add(1, Relaxed),
                                _ => panic!("{answer} after {}", bytes.escape_ascii()),
                            };
                        }
                    });
                }
            });
        });
        memory.push(seen.worker_kb[2]);
    }
    let figures = [accepted, refused, busy].map(AtomicUsize::into_inner);
    let sent = sent.map(AtomicUsize::into_inner);
    eprintln!("sent: {sent:?} that are no bundle, the same, another");
    eprintln!("accepted, refused, 503: {figures:?}; kB of the server worker after each part: {memory:?}");
    assert!(figures[1] > count / 2, "{figures:?}");
    // Nothing of what the reader refuses here gets through there.
    assert!(figures[0] <= sent[1] + sent[2], "{figures:?}, {sent:?}");
    assert!(memory[3] < memory[0] + 16_000, "{memory:?}");
    victim.http().register("target", None, &archive).ok();
}
