//! Migrations that say in their first line that they run outside the transaction: statement by statement, each once.

use acceptance::{Files, Platform, Snapshot, shared, sql};
use serde_json::json;

use crate::{applied, assert_exact, by_hand, migrate, warnings};

fn base() -> Files {
    Files::new()
        .file("tables/items.pssql", "CREATE TABLE items (id bigserial PRIMARY KEY, name text NOT NULL);\n")
        .file("tables/runs.pssql", "CREATE TABLE runs (id serial PRIMARY KEY, what text NOT NULL);\n")
        .file(
            "functions/add_item.pssql",
            "CREATE FUNCTION add_item(n text) RETURNS bigint LANGUAGE sql AS $$ INSERT INTO items (name) VALUES (n) RETURNING id $$;\n",
        )
}

/// Two that cannot run in a transaction, and one that shows how often it ran.
const OUTSIDE: &str = "-- stonescriptdb: no-transaction\n-- An index without a lock.\nCREATE INDEX CONCURRENTLY items_by_name ON items (name);\n\n\
    VACUUM (ANALYZE) items;\nINSERT INTO runs (what) VALUES ('outside');\n";

fn with_outside() -> Files {
    base()
        .edit("tables/items.pssql", "NULL);", "NULL);\nCREATE INDEX items_by_name ON items (name);")
        .file("migrations/001_outside.pssql", OUTSIDE)
}

/// Without the index in tables/: the migration alone makes it.
fn migration_only() -> Files {
    base().file("migrations/001_outside.pssql", OUTSIDE)
}

const VALID: &str = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'items_by_name'::regclass";

#[test]
fn it_runs_once_on_a_database_that_has_grown() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "outgrown", &base());
    platform.register_tenant("a", &base()).ok();
    for tenant in ["main", "a"] {
        platform.call_tenant(tenant, "add_item", json!(["x"])).ok();
    }
    let answer = platform.migrate(&migration_only()).ok().field("status", "completed");
    assert_eq!(answer.number("migrations_applied"), 2, "one in each database: {answer}");
    for tenant in ["main", "a"] {
        let mut client = cluster.connect(&platform.database_of(tenant));
        assert_eq!(sql::texts(&mut client, VALID), ["t"], "{tenant}");
        assert_eq!(sql::texts(&mut client, "SELECT what FROM runs"), ["outside"], "{tenant}");
        assert_eq!(applied(&mut client), ["001_outside.pssql"], "{tenant}");
        assert_exact(&cluster, &platform, tenant, "the migration ran");
    }
    let before = platform.snapshot();
    let answer = platform.migrate(&migration_only()).ok().field("status", "completed").field("migrations_applied", 0);
    platform.assert_unchanged(&before, &format!("it ran already: {answer}"));
    let edited = migration_only().edit("migrations/001_outside.pssql", "'outside'", "'again'");
    platform.migrate(&edited).error(409, "migration_changed").says("001_outside.pssql");
}

#[test]
fn it_runs_once_on_every_new_database() {
    let cluster = shared();
    for (name, files) in [("outnew", migration_only()), ("outboth", with_outside())] {
        let platform = Platform::unregistered(&cluster, name);
        platform.register_again(&files).ok().field("status", "ready").field("migrations_applied", 1);
        platform.register_tenant("a", &files).ok().field("migrations_applied", 1);
        for tenant in ["main", "a"] {
            let mut client = cluster.connect(&platform.database_of(tenant));
            assert_eq!(sql::texts(&mut client, VALID), ["t"], "{name} {tenant}");
            assert_eq!(sql::texts(&mut client, "SELECT id || what FROM runs"), ["1outside"], "{name} {tenant}");
            assert_eq!(applied(&mut client), ["001_outside.pssql"], "{name} {tenant}");
            assert_exact(&cluster, &platform, tenant, "it is new");
        }
        let before = platform.snapshot();
        platform.register_again(&files).ok().field("migrations_applied", 0);
        platform.assert_unchanged(&before, "the container started again");
    }
}

#[test]
fn it_runs_in_its_place_among_the_others() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "outorder", &base());
    platform.call("add_item", json!(["x"])).ok();
    let files = base().file("migrations/001_within.pssql", "INSERT INTO runs (what) VALUES ('1 within');\n").file(
        "migrations/002_outside.pssql",
        OUTSIDE.replace("'outside'", "'2 outside ' || (SELECT count(*) FROM runs)"),
    );
    platform.migrate(&files).ok().field("migrations_applied", 2);
    let mut client = platform.connect();
    assert_eq!(sql::texts(&mut client, "SELECT what FROM runs ORDER BY id"), ["1 within", "2 outside 1"]);
    assert_eq!(applied(&mut client), ["001_within.pssql", "002_outside.pssql"]);
    // Its statements are in the plan and the record, and are known as what they are.
    let record = "SELECT change_detail ->> 'transactional' FROM _stonescriptdb_gateway_changelog
                  WHERE change_detail ->> 'migration' = '002_outside.pssql' ORDER BY id";
    assert_eq!(sql::texts(&mut client, record), ["false", "false", "false"]);
}

#[test]
fn a_migration_behind_it_sees_what_it_did() {
    let cluster = shared();
    let files = base()
        .file("migrations/001_outside.pssql", OUTSIDE)
        .file("migrations/002_within.pssql", "INSERT INTO runs (what) SELECT 'after ' || what FROM runs;\n");
    let fresh = Platform::unregistered(&cluster, "outafter");
    let grown = Platform::register(&cluster, "outbefore", &base());
    for (platform, answer) in [(&fresh, fresh.register_again(&files)), (&grown, grown.migrate(&files))] {
        if answer.status != 200 {
            // It may say that it cannot; it must not do it in another order.
            answer.client_error().says("001_outside.pssql");
            continue;
        }
        let ran = sql::texts(&mut platform.connect(), "SELECT what FROM runs ORDER BY id");
        assert_eq!(ran, ["outside", "after outside"], "not in the order of the file names: {answer}");
    }
}

fn failing() -> Files {
    base().file(
        "migrations/001_unique.pssql",
        "-- stonescriptdb: no-transaction\nINSERT INTO runs (what) VALUES ('first');\n\
         CREATE UNIQUE INDEX CONCURRENTLY items_by_name ON items (name);\nINSERT INTO runs (what) VALUES ('third');\n",
    )
}

#[test]
fn what_fails_stays_pending_and_the_next_deployment_finishes_it() {
    let cluster = shared();
    for next in ["the same bundle", "a newer bundle", "a container that starts"] {
        let platform = Platform::register(&cluster, "outfail", &base());
        for name in ["x", "y", "x"] {
            platform.call("add_item", json!([name])).ok();
        }
        let answer = platform.migrate(&failing()).ok().field("status", "completed_with_warnings");
        assert!(warnings(&answer).contains("items_by_name"), "the statement is named: {answer}");
        assert!(warnings(&answer).contains("23505"), "with PostgreSQL's own error: {answer}");
        assert_eq!(answer.array("databases")[0]["status"], "completed_with_warnings", "{answer}");
        let mut client = platform.connect();
        assert_eq!(sql::texts(&mut client, "SELECT what FROM runs ORDER BY id"), ["first"], "{next}");
        assert_eq!(applied(&mut client), Vec::<String>::new(), "it is not done");
        // The service goes on meanwhile.
        platform.call("add_item", json!(["z"])).ok();
        let state = format!("SELECT state FROM stonescriptdb.deployments WHERE id = '{}'", answer.str("deployment_id"));
        assert_eq!(sql::texts(&mut cluster.control(), &state), ["completed_with_warnings"]);

        // Nothing is mended: it fails again, and the first statement does not run again.
        let answer = platform.migrate(&failing());
        assert!(
            answer.status != 200 || answer.json["status"] == "completed_with_warnings",
            "nothing is mended: {answer}"
        );
        assert_eq!(sql::texts(&mut client, "SELECT what FROM runs ORDER BY id"), ["first"], "{next}");

        by_hand(&mut client, "DELETE FROM items WHERE id = 3");
        match next {
            "the same bundle" => drop(platform.migrate(&failing()).ok().field("status", "completed")),
            "a newer bundle" => {
                let newer = failing().file("migrations/002_next.pssql", "INSERT INTO runs (what) VALUES ('next');\n");
                platform.migrate(&newer).ok().field("status", "completed");
            }
            _ => drop(platform.register_again(&failing()).ok().field("status", "ready")),
        }
        let mut expected = vec!["first", "third"];
        expected.extend((next == "a newer bundle").then_some("next"));
        assert_eq!(sql::texts(&mut client, "SELECT what FROM runs ORDER BY id"), expected, "{next}");
        assert_eq!(sql::texts(&mut client, VALID), ["t"], "{next}");
        assert_eq!(applied(&mut client)[0], "001_unique.pssql", "{next}");
        let invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid";
        assert_eq!(sql::texts(&mut client, invalid), Vec::<String>::new(), "{next}");
        drop(client);
        assert_exact(&cluster, &platform, "main", next);
        let before = platform.snapshot();
        platform
            .migrate(&if next == "a newer bundle" {
                failing().file("migrations/002_next.pssql", "INSERT INTO runs (what) VALUES ('next');\n")
            } else {
                failing()
            })
            .ok();
        platform.assert_unchanged(&before, "all is done");
    }
}

#[test]
fn a_statement_that_can_never_run_is_found_in_the_proof() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "outproof", &base());
    let before = platform.snapshot();
    let files = base().file(
        "migrations/001_bad.pssql",
        "-- stonescriptdb: no-transaction\nVACUUM items;\n\nCREATE INDEX CONCURRENTLY ON items (nope);\n",
    );
    let answer = platform.migrate(&files).error(422, "migration_failed").field("line", 4).field("sqlstate", "42703");
    assert!(answer.str("file").ends_with("migrations/001_bad.pssql"), "{answer}");
    platform.assert_unchanged(&before, "it failed in the proof");
    let fresh = Platform::unregistered(&cluster, "outproofnew");
    fresh.register_again(&files).error(422, "migration_failed");
    fresh.assert_absent("it failed in the proof");
}

#[test]
fn what_needs_no_transaction_is_refused_elsewhere_with_the_way_to_say_it() {
    let cluster = shared();
    let existing = Platform::register(&cluster, "outhint", &base());
    let before = existing.snapshot();
    for statement in [
        "CREATE INDEX CONCURRENTLY i ON items (name);",
        "DROP INDEX CONCURRENTLY i;",
        "REINDEX INDEX CONCURRENTLY items_pkey;",
        "VACUUM items;",
    ] {
        let files = base().file("migrations/001_x.pssql", format!("SELECT 1;\n{statement}\n"));
        let fresh = Platform::unregistered(&cluster, "outhintnew");
        for answer in [fresh.register_again(&files), existing.migrate(&files)] {
            let answer = answer.client_error();
            assert!(answer.str("file").ends_with("migrations/001_x.pssql"), "{statement}: {answer}");
            assert_eq!(answer.number("line"), 2, "{statement}: {answer}");
            let hint = answer.json["hint"].as_str().unwrap_or_default().to_owned();
            assert!(hint.contains("-- stonescriptdb: no-transaction"), "{statement}: the hint says how: {answer}");
        }
        fresh.assert_absent(statement);
        existing.assert_unchanged(&before, statement);
    }
    // The line counts at the top only, not in the middle or in a literal.
    let files = base().file("migrations/001_x.pssql", "SELECT 1;\n-- stonescriptdb: no-transaction\nVACUUM items;\n");
    existing.migrate(&files).client_error();
    existing.assert_unchanged(&before, "the line is not the first");
}

#[test]
fn a_dry_run_shows_it_and_runs_nothing() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "outdry", &base());
    let before = Snapshot::of(&cluster, &platform.database());
    let answer =
        migrate(&cluster, &platform, "main", &migration_only(), &[("dry_run", "true")]).ok().field("status", "planned");
    let outside: Vec<bool> = answer
        .array("plan")
        .iter()
        .filter(|step| step["migration"] == "001_outside.pssql")
        .map(|step| step["transactional"] == json!(false))
        .collect();
    assert_eq!(outside, [true, true, true], "{answer}");
    before.assert_unchanged(&cluster, &platform.database(), "it was a dry run");
    let done = platform.migrate(&migration_only()).ok();
    assert_eq!(done.json["plan_fingerprint"], answer.json["plan_fingerprint"]);
}
