//! The differ on a real server. Each case of the `.sql` files here is two states: a database in the old one, with rows, must become like a
//! new database in the new one, and then need nothing more. See [`Case`] for how they are written.

use std::collections::BTreeSet;

use acceptance::{Cluster, read_model, server, sql};
use postgres::Client;
use stonescriptdb_schema::{
    Deviation, Key, Kind, Model, Rename, Safety, Stage, Step, Wanted, classify, differences, drops_of_others, renames,
    steps,
};

/// One case: a block of a file that begins with `--- name`. Up to the line `-- new` stands the old state, then the new one. In between there
/// can be `-- rows` (rows in the old state) and `-- by hand` (objects beside those that the bundle declared; they must be there in the end). A
/// line `-- check SELECT … = text` at the end must give that text after the change. A line `-- from 17` at the beginning leaves the case to
/// that version of PostgreSQL and newer ones.
struct Case {
    name: String,
    from: u32,
    old: String,
    rows: String,
    by_hand: String,
    new: String,
    checks: Vec<(String, String)>,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for block in text.split("--- ").skip(1) {
        let (name, body) = block.split_once('\n').unwrap();
        let mut parts = [String::new(), String::new(), String::new(), String::new()];
        let (mut part, mut checks, mut from) = (0, Vec::new(), 0);
        for line in body.lines() {
            match line {
                "-- rows" => part = 1,
                "-- by hand" => part = 2,
                "-- new" => part = 3,
                _ if line.starts_with("-- from ") => from = line.trim_start_matches("-- from ").parse().unwrap(),
                _ if line.starts_with("-- check ") => {
                    let (query, value) = line.trim_start_matches("-- check ").rsplit_once(" = ").unwrap();
                    checks.push((query.to_owned(), value.to_owned()));
                }
                _ => parts[part].push_str(&format!("{line}\n")),
            }
        }
        let [old, rows, by_hand, new] = parts;
        cases.push(Case { name: name.to_owned(), from, old, rows, by_hand, new, checks });
    }
    cases
}

/// A database of an owner who is no superuser, in some state.
fn database(cluster: &Cluster, name: &str, state: &str) -> Result<Client, String> {
    cluster.control().batch_execute(&format!("CREATE DATABASE {name} OWNER shop_owner")).unwrap();
    let mut client = cluster.connect_as("shop_owner", name);
    run(&mut client, state)?;
    Ok(client)
}

fn run(client: &mut Client, text: &str) -> Result<(), String> {
    client.batch_execute(text).map_err(|e| format!("{}\n    in: {text}", sql::describe(&e)))
}

/// As a deployment does: each of the first ones on its own, the transaction, each of the last ones on its own.
fn apply(client: &mut Client, plan: &[Step]) -> Result<(), String> {
    run(client, "SET search_path = ''; SET check_function_bodies = off; SET client_min_messages = warning")?;
    let of = |stage: Stage| plan.iter().filter(move |step| step.stage == stage);
    of(Stage::Before).try_for_each(|step| run(client, &step.sql))?;
    run(client, "BEGIN")?;
    of(Stage::Within).try_for_each(|step| run(client, &step.sql))?;
    run(client, "COMMIT")?;
    of(Stage::After).try_for_each(|step| run(client, &step.sql))
}

/// Leads a database to a state and says what is wrong then. `by_hand` are the objects that no bundle declared.
fn migrate(
    client: &mut Client,
    model: &Model,
    declared_before: &BTreeSet<Key>,
    by_hand: &BTreeSet<Key>,
    online_bytes: u64,
) -> Result<(), String> {
    let wanted = Wanted { model, declared_before, online_bytes };
    let before = read_model(client);
    let plan = steps(&before, &wanted);
    let text = || plan.iter().map(|step| format!("    {:?} {}\n", step.stage, step.sql)).collect::<String>();
    apply(client, &plan).map_err(|e| format!("{e}\n{}", text()))?;

    let after = read_model(client);
    let differing: Vec<String> = differences(&after, model)
        .into_iter()
        .filter(|found| found.deviation != Deviation::Extra || declared_before.contains(&found.object))
        // A schema stays as long as something made by hand is in it.
        .filter(|found| found.object.kind != Kind::Schema || by_hand.is_empty())
        .map(|found| format!("    {} {}: {}\n", found.deviation.word(), found.object, found.detail))
        .collect();
    let again: Vec<String> = steps(&after, &wanted).into_iter().map(|step| format!("    {}\n", step.sql)).collect();
    let mut wrong = String::new();
    if !differing.is_empty() || !again.is_empty() {
        wrong = format!("differs:\n{}then:\n{}", differing.concat(), again.concat());
    }
    for key in by_hand {
        // The types of a view's columns may have followed those of a table's.
        let same = match (before.get(key), after.get(key)) {
            (Some(before), Some(after)) => after.comment == before.comment && after.grants == before.grants,
            _ => false,
        };
        if !same {
            wrong.push_str(&format!("    {key} is not what it was\n"));
        }
    }
    if plan != steps(&before, &wanted) {
        wrong.push_str("    the second plan is another\n");
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong}plan:\n{}", text())) }
}

/// A case: at once, with everything put off that can be, and back without rows. What failed.
fn check(cluster: &Cluster, case: &Case, number: usize) -> Vec<String> {
    let mut failures = Vec::new();
    let mut failed = |how: &str, why: String| failures.push(format!("{}, {how}: {why}", case.name));
    let mut new = match database(cluster, &format!("new{number}"), &case.new) {
        Ok(client) => client,
        Err(why) => return vec![format!("{}: {why}", case.name)],
    };
    let new_model = read_model(&mut new);
    let mut old_model = Model::default();
    for (how, online_bytes) in [("at once", u64::MAX), ("online", 1)] {
        let outcome = database(cluster, &format!("old{number}"), &case.old).and_then(|mut client| {
            old_model = read_model(&mut client);
            run(&mut client, &case.by_hand)?;
            run(&mut client, &case.rows)?;
            let declared_before: BTreeSet<Key> = old_model.keys().cloned().collect();
            let by_hand = read_model(&mut client).keys().filter(|key| !old_model.has(key)).cloned().collect();
            migrate(&mut client, &new_model, &declared_before, &by_hand, online_bytes)?;
            run(&mut client, "RESET search_path")?;
            for (query, expected) in &case.checks {
                let found = sql::texts(&mut client, &format!("SELECT ({query})::text")).concat();
                if found != *expected {
                    return Err(format!("{query} gives {found}, not {expected}"));
                }
            }
            Ok(())
        });
        outcome.unwrap_or_else(|why| failed(how, why));
        cluster.control().batch_execute(&format!("DROP DATABASE old{number} WITH (FORCE)")).unwrap();
    }
    let declared_before = new_model.keys().cloned().collect();
    let back = migrate(&mut new, &old_model, &declared_before, &BTreeSet::new(), u64::MAX);
    back.unwrap_or_else(|why| failed("back", why));
    cluster.control().batch_execute(&format!("DROP DATABASE new{number} WITH (FORCE)")).unwrap();
    failures
}

fn cluster() -> Cluster {
    let cluster = Cluster::builder().without_preload().setting("fsync", "off").start();
    cluster.control().batch_execute("CREATE ROLE shop_owner LOGIN; CREATE ROLE api; CREATE ROLE reader").unwrap();
    cluster
}

/// Runs the cases of a file; `SSDB_CASE` is a part of the name of those that are wanted.
#[track_caller]
fn all(text: &str) {
    let cluster = cluster();
    let only = std::env::var("SSDB_CASE").unwrap_or_default();
    let version = server::major();
    let chosen = cases(text).into_iter().filter(|case| case.name.contains(&only) && case.from <= version);
    let failures: Vec<String> = chosen.enumerate().flat_map(|(number, case)| check(&cluster, &case, number)).collect();
    assert!(failures.is_empty(), "{} failed\n== {}", failures.len(), failures.join("\n== "));
}

#[test]
fn columns() {
    all(include_str!("columns.sql"));
}

#[test]
fn types() {
    all(include_str!("types.sql"));
}

#[test]
fn tables() {
    all(include_str!("tables.sql"));
}

#[test]
fn parts_of_tables() {
    all(include_str!("parts.sql"));
}

#[test]
fn routines_and_views() {
    all(include_str!("routines.sql"));
}

#[test]
fn rights_comments_and_schemas() {
    all(include_str!("rights.sql"));
}

#[test]
fn hard_cases() {
    all(include_str!("hard.sql"));
}

#[test]
fn newer_versions() {
    all(include_str!("versions.sql"));
}

#[test]
fn what_the_regression_suite_found() {
    all(include_str!("suite.sql"));
}

#[test]
fn what_random_pairs_found() {
    all(include_str!("found.sql"));
}

#[test]
fn a_renamed_table_keeps_rows_keys_and_counters() {
    let cluster = cluster();
    let old = "CREATE TABLE customer (id serial PRIMARY KEY, name text UNIQUE, mail text);
        CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customer);
        CREATE VIEW v AS SELECT name FROM customer;
        INSERT INTO customer (name) VALUES ('a'), ('b'); INSERT INTO orders VALUES (1, 2);";
    let new = "CREATE TABLE client (id serial PRIMARY KEY, title text UNIQUE, mail text);
        CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES client);
        CREATE VIEW v AS SELECT title AS name FROM client;";
    let mut client = database(&cluster, "renamed", old).unwrap();
    let before = read_model(&mut client);
    let model = read_model(&mut database(&cluster, "wanted", new).unwrap());
    let part = |table: &str, name: &str| Key::part(Kind::Column, "public", table, name);
    let table = |name: &str| Key::new(Kind::Table, "public", name);
    let asked = [
        Rename { from: table("customer"), to: table("client") },
        Rename { from: part("client", "name"), to: part("client", "title") },
    ];
    let first = renames(&before, &asked);
    assert_eq!(first.len(), 2);
    apply(&mut client, &first).unwrap();
    assert_eq!(renames(&read_model(&mut client), &asked), []);

    // What a pending migration would have done is judged by identity.
    let now = read_model(&mut client);
    let declared_before: BTreeSet<Key> = before.keys().cloned().collect();
    let wanted = Wanted { model: &model, declared_before: &declared_before, online_bytes: u64::MAX };
    let classes = classify(&before, &now, &wanted);
    assert!(classes.iter().all(|class| class.safety == Safety::Safe), "{classes:#?}");

    let plan = steps(&now, &wanted);
    assert!(plan.iter().all(|step| step.hazards.is_empty() && !step.sql.contains("DROP")), "{plan:#?}");
    migrate(&mut client, &model, &declared_before, &BTreeSet::new(), u64::MAX).unwrap();
    run(&mut client, "RESET search_path; INSERT INTO client (title) VALUES ('c')").unwrap();
    assert_eq!(sql::texts(&mut client, "SELECT id || title FROM client ORDER BY id"), ["1a", "2b", "3c"]);
}

#[test]
fn an_unfinished_index_is_built_again() {
    let cluster = cluster();
    let mut client = database(&cluster, "unfinished", "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)").unwrap();
    client.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)").unwrap_err();
    run(&mut client, "DELETE FROM t").unwrap();
    run(&mut client, "INSERT INTO t VALUES (1)").unwrap();
    let model = "CREATE TABLE t (a int); CREATE UNIQUE INDEX i ON t (a)";
    let model = read_model(&mut database(&cluster, "finished", model).unwrap());
    let before = read_model(&mut client);
    let wanted = Wanted { model: &model, declared_before: &BTreeSet::new(), online_bytes: 1 };
    let plan: Vec<String> = steps(&before, &wanted).into_iter().map(|step| step.sql).collect();
    assert_eq!(
        plan,
        ["DROP INDEX CONCURRENTLY public.i", "CREATE UNIQUE INDEX CONCURRENTLY i ON public.t USING btree (a)"]
    );
    migrate(&mut client, &model, &BTreeSet::new(), &BTreeSet::new(), 1).unwrap();
}

#[test]
fn what_is_known_by_name_only_is_dropped_after_what_needs_it() {
    let cluster = cluster();
    let state = "CREATE TEXT SEARCH DICTIONARY d (template = simple);
        CREATE TEXT SEARCH DICTIONARY kept (template = simple);
        CREATE TEXT SEARCH CONFIGURATION z (copy = simple);
        ALTER TEXT SEARCH CONFIGURATION z ALTER MAPPING FOR word WITH d, kept;
        CREATE TEXT SEARCH CONFIGURATION y (copy = z)";
    let mut client = database(&cluster, "named", state).unwrap();
    let before = read_model(&mut client);
    let wanted = "CREATE TEXT SEARCH DICTIONARY kept (template = simple)";
    let model = read_model(&mut database(&cluster, "fewer", wanted).unwrap());
    let declared_before: BTreeSet<Key> = before.keys().cloned().collect();
    let wanted = Wanted { model: &model, declared_before: &declared_before, online_bytes: u64::MAX };
    let plan = drops_of_others(&before, &wanted);
    assert_eq!(plan.len(), 3, "{plan:#?}");
    apply(&mut client, &plan).unwrap();
    assert_eq!(differences(&read_model(&mut client), &model), []);
}

#[test]
fn hazards_name_what_happens_to_rows() {
    let cluster = cluster();
    let old = "CREATE TABLE full_one (a int, b text, gone int); CREATE TABLE empty_one (a int);
        INSERT INTO full_one VALUES (1, 'x', 1)";
    let new = "CREATE TABLE full_one (a bigint, b varchar, c text, d int DEFAULT 1, u uuid DEFAULT gen_random_uuid(), g int GENERATED ALWAYS AS (1) STORED);
        CREATE INDEX i ON full_one (b); ALTER TABLE full_one ADD CONSTRAINT c CHECK (d > 0);
        CREATE TABLE empty_one (a bigint); CREATE INDEX j ON empty_one (a)";
    let mut client = database(&cluster, "rows", old).unwrap();
    let model = read_model(&mut database(&cluster, "target", new).unwrap());
    let before = read_model(&mut client);
    let declared_before: BTreeSet<Key> = before.keys().cloned().collect();
    let plan = steps(&before, &Wanted { model: &model, declared_before: &declared_before, online_bytes: u64::MAX });
    let found: Vec<(String, Vec<&str>)> = plan
        .iter()
        .map(|step| (step.object.name_for_people(), step.hazards.iter().map(|hazard| hazard.word()).collect()))
        .collect();
    let hazards = |name: &str| found.iter().find(|(object, _)| object == name).unwrap().1.clone();
    let none: [&str; 0] = [];
    assert_eq!(hazards("full_one.a"), ["rewrites_table", "strong_lock"]);
    assert_eq!(hazards("full_one.gone"), ["strong_lock", "deletes_data"]);
    assert_eq!(hazards("full_one.u"), ["rewrites_table", "strong_lock"]);
    assert_eq!(hazards("full_one.g"), ["rewrites_table", "strong_lock"]);
    assert_eq!(hazards("i"), ["builds_index", "strong_lock"]);
    assert_eq!(hazards("full_one.c"), none, "the column, a quick one");
    for quick in ["full_one.b", "full_one.d", "empty_one.a", "j"] {
        assert_eq!(hazards(quick), none, "{quick}");
    }
    migrate(&mut client, &model, &declared_before, &BTreeSet::new(), u64::MAX).unwrap();
}

#[test]
fn a_model_survives_its_json() {
    let cluster = cluster();
    let mut client = database(&cluster, "json", "CREATE TABLE t (id serial PRIMARY KEY)").unwrap();
    let model = read_model(&mut client);
    let again: Model = serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
    assert_eq!(differences(&model, &again), []);
}
