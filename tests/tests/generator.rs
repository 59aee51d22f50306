//! The generator of random schemas, on a plain cluster: whatever it makes, a server builds from nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use acceptance::generator::{Pair, Schema};
use acceptance::{Cluster, sql};

/// How many seeds, by `SSDB_RANDOM_SCHEMAS`.
fn count() -> u64 {
    std::env::var("SSDB_RANDOM_SCHEMAS").ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

/// The statement that the server refuses, and why.
fn build(client: &mut postgres::Client, schema: &Schema) -> Result<(), String> {
    let mut outcome = client.batch_execute(&format!("BEGIN;\n{}", schema.script())).map_err(|e| sql::describe(&e));
    sql::done(client.batch_execute("ROLLBACK"));
    if outcome.is_err() {
        sql::done(client.batch_execute("BEGIN"));
        for piece in schema.pieces() {
            if let Err(e) = client.batch_execute(&piece.sql) {
                outcome = Err(format!("{}: {};\n{}", piece.path, piece.sql, sql::describe(&e)));
                break;
            }
        }
        sql::done(client.batch_execute("ROLLBACK"));
    }
    outcome
}

#[test]
fn every_schema_builds_from_nothing() {
    let cluster = Cluster::builder().without_preload().start();
    let (next, failures) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let first: u64 = std::env::var("SSDB_RANDOM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    std::thread::scope(|scope| {
        // Each in a database of its own: in one they would wait for each other's names.
        for database in ["one", "two"] {
            sql::done(cluster.control().batch_execute(&format!("CREATE DATABASE {database}")));
            let (next, failures, cluster) = (&next, &failures, &cluster);
            scope.spawn(move || {
                let mut client = cluster.connect(database);
                loop {
                    let seed = first + next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count() {
                        return;
                    }
                    let pair = Pair::of(seed);
                    for (which, schema) in [("old", &pair.old), ("new", &pair.new)] {
                        if let Err(why) = build(&mut client, schema) {
                            failures.lock().unwrap().push(format!("seed {seed}, {which}: {why}"));
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let shown: String = failures.iter().take(20).map(|failure| format!("{failure}\n")).collect();
    assert!(failures.is_empty(), "{} of {} pairs:\n{shown}", failures.len(), count());
}

#[test]
fn a_seed_always_gives_the_same_pair() {
    for seed in 1..30 {
        assert_eq!(Pair::of(seed).text(), Pair::of(seed).text());
    }
    assert_ne!(Pair::of(1).text(), Pair::of(2).text());
}

#[test]
fn what_is_valid_is_not_repaired() {
    for seed in 1..200 {
        let pair = Pair::of(seed);
        for schema in [pair.old, pair.new] {
            let mut again = schema.clone();
            again.repair();
            assert_eq!(again.script(), schema.script(), "seed {seed}");
        }
    }
}

#[test]
fn a_failing_pair_is_made_small() {
    // Which pairs fail: those whose new schema has an index.
    let fails = |pair: &Pair| pair.new.script().contains("INDEX");
    let pair = (1..).map(Pair::of).find(fails).unwrap();
    let small = acceptance::generator::shrink(&pair, 2_000, fails);
    assert!(fails(&small), "{}", small.text());
    assert!(small.new.pieces().len() <= 3, "{}", small.text());
    assert_eq!(small.rows, Vec::<String>::new());
}
