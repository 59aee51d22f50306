//! Random pairs of schemas against the extension: a tenant that has the one and its rows is migrated to the other, and then its catalog is
//! that of a tenant made from the other alone; or the rows do not fit, and nothing has changed.
//!
//! `SSDB_RANDOM_PAIRS` says how many pairs, `SSDB_RANDOM_SEED` the first seed. The differ alone, without the extension, is tried by
//! `differ_random`, which is ten times as fast: look there first.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use acceptance::generator::{Pair, Schema, shrink};
use acceptance::{Answer, Cluster, Files, Platform, read_model, shared, sql};
use stonescriptdb_schema::differences;

const THREADS: usize = 3;
/// How many smaller pairs are tried for the first failure of a kind.
const TRIES: usize = 60;

/// Why a pair failed.
struct Broken {
    /// The same for failures with one reason: names and numbers left out.
    kind: String,
    text: String,
}

impl Broken {
    fn new(what: &str, said: &str, text: String) -> Broken {
        let mut quoted = false;
        let kind = said.chars().filter(|c| {
            quoted ^= *c == '"';
            !quoted && *c != '"' && !c.is_ascii_digit()
        });
        Broken { kind: format!("{what}: {}", kind.take(80).collect::<String>()), text }
    }

    fn of(what: &str, answer: &Answer) -> Broken {
        let said = format!(
            "{} {}",
            answer.json["sqlstate"].as_str().unwrap_or("-"),
            answer.json["message"].as_str().unwrap_or("-")
        );
        Broken::new(what, &said, answer.to_string())
    }
}

/// A schema's files and one more of each kind, which never changes: a bundle without any file of a kind says nothing about that kind, so
/// that a last view or function that goes would not be dropped.
fn bundle(schema: &Schema) -> Vec<u8> {
    let always = Files::new()
        .file("types/always.sql", "CREATE TYPE always AS ENUM ('x');\n")
        .file("tables/always.sql", "CREATE TABLE always_there (a int);\n")
        .file("views/always.sql", "CREATE VIEW always_seen AS SELECT 1 AS a;\n")
        .file("functions/always.sql", "CREATE FUNCTION always_called() RETURNS int LANGUAGE sql AS 'SELECT 1';\n");
    schema.files().iter().fold(always, |files, (path, text)| files.file(path, text)).tar_gz()
}

/// Whether what a failed migration left behind is nothing but labels of enums, which PostgreSQL cannot take back.
fn is_labels(difference: &str) -> bool {
    difference.lines().all(|line| {
        let text = line.get(1..).unwrap_or_default().trim();
        text.starts_with('\'') && text.trim_end_matches(',').ends_with('\'')
    })
}

/// Whether the rows, not the extension, are why a migration failed: PostgreSQL's data errors, or no cast between two types.
fn is_of_the_rows(answer: &Answer) -> bool {
    let sqlstate = answer.json["sqlstate"].as_str().unwrap_or_default();
    answer.status == 422 && (sqlstate.starts_with("22") || sqlstate.starts_with("23") || sqlstate == "42846")
}

/// Tries a pair in two tenants of a platform, which are gone afterwards.
fn try_pair(cluster: &Cluster, platform: &Platform<'_>, pair: &Pair) -> Result<(), Broken> {
    let result = try_in(cluster, platform, pair);
    let mut control = cluster.control();
    for tenant in ["present", "wanted"] {
        let database = platform.database_of(tenant);
        if sql::database_exists(&mut control, &database) {
            let drop = "SELECT stonescriptdb.drop_tenant($1, $2, $3)";
            sql::done(control.query(drop, &[&platform.name, &tenant, &database]));
        }
    }
    result
}

fn try_in(cluster: &Cluster, platform: &Platform<'_>, pair: &Pair) -> Result<(), Broken> {
    let http = cluster.http();
    let (old, new) = (bundle(&pair.old), bundle(&pair.new));
    let migrate = |more: &[(&str, &str)]| {
        let options: Vec<(&str, &str)> = [("force", "true")].iter().chain(more).copied().collect();
        http.migrate(&platform.name, Some("present"), &new, &options)
    };
    let answer = http.register(&platform.name, Some("present"), &old);
    if answer.status != 200 {
        return Err(Broken::of("register of the old schema", &answer));
    }
    let database = platform.database_of("present");
    if !pair.rows.is_empty() {
        let mut client = cluster.connect(&database);
        for row in &pair.rows {
            // Keys, checks and rules may refuse it.
            let _ = client.batch_execute(row);
        }
    }
    let before = acceptance::Snapshot::of(cluster, &database);
    let answer = migrate(&[]);
    if is_of_the_rows(&answer) {
        let now = acceptance::Snapshot::of(cluster, &database);
        let difference = before.difference(&now);
        if before != now && !is_labels(&difference) {
            return Err(Broken::new("a failed migration", "changed something", difference));
        }
        return Ok(());
    }
    if answer.status != 200 {
        return Err(Broken::of("migrate", &answer));
    }
    let fresh = http.register(&platform.name, Some("wanted"), &new);
    if fresh.status != 200 {
        return Err(Broken::of("register of the new schema", &fresh));
    }
    let present = read_model(&mut cluster.connect(&database));
    let wanted = read_model(&mut cluster.connect(&platform.database_of("wanted")));
    let left = differences(&present, &wanted);
    if let Some(first) = left.first() {
        let said = format!("{:?} {:?}", first.deviation, first.object.kind);
        return Err(Broken::new("left", &said, format!("{left:#?}")));
    }
    let again = migrate(&[("dry_run", "true")]);
    if again.status != 200 || again.json["plan"].as_array().is_none_or(|plan| !plan.is_empty()) {
        return Err(Broken::new("a second plan", "is not empty", again.to_string()));
    }
    Ok(())
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn any_schema_migrates_to_any_other() {
    let cluster = shared();
    let (first, count) = (number("SSDB_RANDOM_SEED", 1), number("SSDB_RANDOM_PAIRS", 500));
    let next = AtomicU64::new(first);
    // By kind: the seeds, and the first one in full.
    let failures: Mutex<BTreeMap<String, (Vec<u64>, String)>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let (cluster, next, failures) = (&cluster, &next, &failures);
            scope.spawn(move || {
                let platform = Platform::unregistered(cluster, "random");
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let pair = Pair::of(seed);
                    let Err(broken) = try_pair(cluster, &platform, &pair) else { continue };
                    let is_new = {
                        let mut failures = failures.lock().unwrap();
                        let entry = failures.entry(broken.kind.clone()).or_default();
                        entry.0.push(seed);
                        entry.0.len() == 1
                    };
                    if is_new {
                        let fails = |pair: &Pair| {
                            try_pair(cluster, &platform, pair).is_err_and(|other| other.kind == broken.kind)
                        };
                        let small = shrink(&pair, TRIES, fails);
                        let why = try_pair(cluster, &platform, &small).err().map_or(broken.text, |broken| broken.text);
                        let text = format!("\n=== seed {seed}: {}\n{}\n{why}\n", broken.kind, small.text());
                        failures.lock().unwrap().entry(broken.kind).or_default().1 = text;
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let texts: String = failures.values().map(|(_, text)| text.as_str()).collect();
    let kinds: String = failures.iter().map(|(kind, (seeds, _))| format!("{kind}: seeds {seeds:?}\n")).collect();
    assert!(failures.is_empty(), "{texts}\n{kinds}");
}
