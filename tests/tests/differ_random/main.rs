//! The differ against a real server, without the extension: for random pairs of schemas, the steps from the one lead to the other.
//!
//! `SSDB_RANDOM_PAIRS` says how many pairs, `SSDB_RANDOM_SEED` the first seed, `SSDB_RANDOM_BUGS` a file that each new kind of failure
//! is appended to as soon as its pair is small.

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use acceptance::generator::{Pair, Schema, shrink};
use acceptance::{Cluster, Failure, read_model, sql};
use postgres::Client;
use stonescriptdb_schema::{Model, Safety, Stage, Wanted, differences, steps};

/// How many failures of one kind are made small.
const SHRUNK: usize = 1;
/// How many smaller pairs are tried for it.
const TRIES: usize = 250;

/// Two databases that one thread uses for all its pairs.
struct Bench {
    present: Client,
    wanted: Client,
}

/// What came of a pair that did not fail.
#[derive(Clone, Copy, PartialEq)]
enum Fine {
    /// The old schema became the new one.
    Reached,
    /// The rows do not fit the new schema.
    Refused,
}

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
            let quote = *c == '"';
            quoted ^= quote;
            !quoted && !quote && !c.is_ascii_digit()
        });
        Broken { kind: format!("{what}: {}", kind.collect::<String>()), text }
    }
}

impl Bench {
    fn new(cluster: &Cluster, number: usize) -> Bench {
        let open = |name: String| {
            sql::done(cluster.control().batch_execute(&format!("CREATE DATABASE {name}")));
            cluster.connect(&name)
        };
        Bench { present: open(format!("present{number}")), wanted: open(format!("wanted{number}")) }
    }

    fn try_pair(&mut self, pair: &Pair) -> Result<Fine, Broken> {
        build(&mut self.present, &pair.old);
        build(&mut self.wanted, &pair.new);
        for row in &pair.rows {
            let _ = self.present.batch_execute(row);
        }
        let (present, wanted) = (read(&mut self.present)?, read(&mut self.wanted)?);
        let plan = plan(&present, &wanted, &present)?;
        let mut open = false;
        for step in &plan {
            let within = step.stage == Stage::Within;
            if within != open {
                let change = if within {
                    "BEGIN; SET LOCAL search_path = ''; SET LOCAL check_function_bodies = off"
                } else {
                    "COMMIT"
                };
                sql::done(self.present.batch_execute(change));
                open = within;
            }
            if !open {
                sql::done(self.present.batch_execute("SET search_path = ''"));
            }
            if let Err(error) = self.present.batch_execute(&step.sql) {
                sql::done(self.present.batch_execute("ROLLBACK; RESET search_path"));
                let Some(failure) = error.as_db_error().map(Failure::from) else { panic!("{error:?}") };
                // No cast between two types: that is what makes a change an incompatible one.
                let no_cast = failure.sqlstate == "42846" && step.safety == Safety::Incompatible;
                if no_cast || failure.sqlstate.starts_with("22") || failure.sqlstate.starts_with("23") {
                    return Ok(Fine::Refused);
                }
                let all: String = plan.iter().map(|step| format!("  {:?}: {};\n", step.stage, step.sql)).collect();
                let text = format!("{failure:#?}\nat: {}\nthe plan:\n{all}", step.sql);
                return Err(Broken::new(&failure.sqlstate, &failure.message, text));
            }
        }
        let committed = if open { self.present.batch_execute("COMMIT") } else { Ok(()) };
        if let Err(error) = committed {
            let Some(failure) = error.as_db_error().map(Failure::from) else { panic!("{error:?}") };
            return match failure.sqlstate.starts_with("23") {
                true => Ok(Fine::Refused),
                false => Err(Broken::new("COMMIT", &failure.message, format!("{failure:#?}"))),
            };
        }
        sql::done(self.present.batch_execute("RESET search_path"));

        let reached = read(&mut self.present)?;
        let all: String = plan.iter().map(|step| format!("  {:?}: {};\n", step.stage, step.sql)).collect();
        let left = differences(&reached, &wanted);
        if let Some(first) = left.first() {
            let said = format!(
                "{:?} {:?} {}",
                first.deviation,
                first.object.kind,
                first.detail.split(':').next().unwrap_or("")
            );
            return Err(Broken::new("left", &said, format!("{left:#?}\nthe plan:\n{all}")));
        }
        let again = self::plan(&reached, &wanted, &present)?;
        if let Some(step) = again.first() {
            let text = format!("a second plan:\n{again:#?}\nthe first:\n{all}");
            return Err(Broken::new("second plan", &format!("{:?}", step.object.kind), text));
        }
        Ok(Fine::Reached)
    }
}

/// The database becomes that schema and nothing else.
fn build(client: &mut Client, schema: &Schema) {
    const EMPTY: &str = "DO $$ DECLARE s text; BEGIN
        FOR s IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
            EXECUTE format('DROP SCHEMA %I CASCADE', s);
        END LOOP; END $$;
        CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO PUBLIC;";
    sql::done(
        client.batch_execute(&format!("SET client_min_messages = error; BEGIN;{EMPTY}{}COMMIT", schema.script())),
    );
}

fn read(client: &mut Client) -> Result<Model, Broken> {
    guarded("reading the catalog", || read_model(client))
}

fn plan(present: &Model, wanted: &Model, declared: &Model) -> Result<Vec<stonescriptdb_schema::Step>, Broken> {
    let declared = declared.declared();
    guarded("the differ", || {
        steps(present, &Wanted { model: wanted, declared_before: &declared, online_bytes: u64::MAX })
    })
}

/// A panic as a failure.
fn guarded<T>(what: &str, run: impl FnOnce() -> T) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        Broken::new(&format!("{what} panics"), &said.chars().take(300).collect::<String>(), said)
    })
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn steps_lead_from_any_schema_to_any_other() {
    let cluster = Cluster::builder().without_preload().start();
    let (first, count) = (number("SSDB_RANDOM_SEED", 1), number("SSDB_RANDOM_PAIRS", 150));
    let next = AtomicU64::new(first);
    let (reached, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    // By kind: how often, and the first ones in full.
    let failures: Mutex<BTreeMap<String, (usize, Vec<String>)>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (cluster, next, failures, reached, refused) = (&cluster, &next, &failures, &reached, &refused);
            scope.spawn(move || {
                let mut bench = Bench::new(cluster, thread);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let pair = Pair::of(seed);
                    match bench.try_pair(&pair) {
                        Ok(Fine::Reached) => {
                            reached.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(Fine::Refused) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(broken) => {
                            let seen = {
                                let mut failures = failures.lock().unwrap();
                                let entry = failures.entry(broken.kind.clone()).or_default();
                                entry.0 += 1;
                                entry.0
                            };
                            if seen <= SHRUNK {
                                let text = report(&mut bench, seed, &pair, broken.kind.clone());
                                failures.lock().unwrap().entry(broken.kind).or_default().1.push(text);
                            }
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    eprintln!("{count} pairs: {reached:?} reached, {refused:?} refused because of their rows");
    let kinds: String = failures.iter().map(|(kind, (count, _))| format!("{count:5} {kind}\n")).collect();
    let texts: String = failures.values().flat_map(|(_, texts)| texts.clone()).collect();
    assert!(failures.is_empty(), "{texts}\n{kinds}");
}

/// The failure of a pair as small as it gets, which is also written where `SSDB_RANDOM_BUGS` says.
fn report(bench: &mut Bench, seed: u64, pair: &Pair, kind: String) -> String {
    let small = shrink(pair, TRIES, |pair| bench.try_pair(pair).is_err_and(|broken| broken.kind == kind));
    let why = bench.try_pair(&small).err().map(|broken| broken.text).unwrap_or_default();
    let text = format!("\n## seed {seed}: {kind}\n\n```sql\n{}```\n\n```\n{why}\n```\n", small.text());
    if let Some(path) = std::env::var_os("SSDB_RANDOM_BUGS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(text.as_bytes()));
    }
    text
}
