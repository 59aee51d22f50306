//! Databases that are there already are not connected to; what somebody changes by hand is known, and repaired; `verify` looks at all.

use acceptance::wait::check;
use acceptance::{Cluster, eventually, sql};
use serde_json::json;

use crate::kit::{self, Fleet, bundle, by_hand, gated, in_state, registered};

/// Databases that nobody can connect to, until this is dropped: who is said to be there already was not asked.
struct Closed<'f, 'c> {
    fleet: &'f Fleet<'c>,
}

impl<'f, 'c> Closed<'f, 'c> {
    /// Closes all databases of a platform but those named. No hook sees it.
    #[track_caller]
    fn all_but(fleet: &'f Fleet<'c>, open: &[&str]) -> Closed<'f, 'c> {
        let open: Vec<String> = open.iter().map(|tenant| fleet.database(tenant)).collect();
        let close = "UPDATE pg_database SET datallowconn = false WHERE datname = ANY($1) AND NOT datname = ANY($2)";
        sql::done(fleet.cluster.control().execute(close, &[&fleet.databases(), &open]));
        let closed = Closed { fleet };
        eventually("their executors to be gone", || {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY($1) AND NOT datname = ANY($2)";
            let left = sql::done(fleet.cluster.control().query(end, &[&fleet.databases(), &open])).len();
            check(left == 0, left)
        });
        closed
    }
}

impl Drop for Closed<'_, '_> {
    fn drop(&mut self) {
        if let Ok(mut control) = self.fleet.cluster.try_connect_as("postgres", "postgres") {
            let _ = control.execute(
                "UPDATE pg_database SET datallowconn = true WHERE datname = ANY($1)",
                &[&self.fleet.databases()],
            );
        }
    }
}

/// The platform's databases that the registry knows as touched.
#[track_caller]
fn touched(fleet: &Fleet<'_>) -> Vec<String> {
    let query = format!(
        "SELECT database FROM stonescriptdb.databases WHERE platform = '{}' AND touched ORDER BY database",
        fleet.platform.name
    );
    sql::texts(&mut fleet.cluster.control(), &query)
}

#[test]
fn databases_at_the_target_are_not_connected_to() {
    let cluster = Cluster::start();
    let fleet = Fleet::new(&cluster, "still", &bundle(1), 6);
    sql::done(fleet.run(&bundle(2), ""));
    {
        let _closed = Closed::all_but(&fleet, &[]);
        for (what, sent) in [("the archive is sent", true), ("the newest is meant", false)] {
            let (files, platform) = (bundle(2), &fleet.platform.name);
            let files = sent.then_some(&files);
            let answer = sql::done(kit::migrate_all(&mut cluster.control(), platform, None, files, "parallel => 4"));
            kit::check_answer(&cluster, &answer);
            let numbers = ["total", "succeeded", "unchanged", "failed"].map(|name| kit::number(&answer, name));
            assert_eq!(numbers, [7, 0, 7, 0], "{what}: {answer:#}");
            assert_eq!(
                (&answer["status"], &answer["migrations_applied"]),
                (&json!("completed"), &json!(0)),
                "{answer:#}"
            );
        }
        cluster.http().migrate(&fleet.platform.name, None, &bundle(2).tar_gz(), &[]).ok().field("unchanged", 7);
    }
    // One tenant is another bundle's: it alone is connected to.
    sql::done(fleet.run(&bundle(3), "tenants => '{t004}'"));
    {
        let _closed = Closed::all_but(&fleet, &["t004"]);
        let answer = sql::done(fleet.run(&bundle(2), ""));
        assert_eq!((&answer["succeeded"], &answer["unchanged"]), (&json!(1), &json!(6)), "{answer:#}");
    }
    assert_eq!(fleet.edition("t004"), 2);
}

#[test]
fn a_database_that_somebody_changed_is_known_and_repaired_alone() {
    let cluster = Cluster::start();
    let fleet = Fleet::new(&cluster, "touch", &bundle(1), 5);
    sql::done(fleet.run(&bundle(2), ""));
    assert_eq!(touched(&fleet), Vec::<String>::new(), "a deployment's own DDL is not by other means");
    let repaired = [
        ("t002", "DROP FUNCTION edition()"),
        ("t003", "CREATE OR REPLACE FUNCTION edition() RETURNS int LANGUAGE sql AS 'SELECT 99'"),
        ("t004", "DO $$ BEGIN EXECUTE 'ALTER TABLE accounts DROP COLUMN email'; END $$"),
        ("main", "ALTER TABLE accounts ALTER COLUMN email SET DEFAULT 'nobody'"),
    ];
    for (tenant, statement) in repaired {
        let database = fleet.database(tenant);
        by_hand(&cluster, &database, statement);
        eventually("the registry to know", || {
            let touched = touched(&fleet);
            check(touched == [database.clone()], format!("{statement}: {touched:?}"))
        });
        let closed = Closed::all_but(&fleet, &[tenant]);
        let answer = sql::done(fleet.run(&bundle(2), "on_error => 'continue'"));
        drop(closed);
        kit::check_answer(&cluster, &answer);
        assert_eq!((&answer["succeeded"], &answer["unchanged"]), (&json!(1), &json!(5)), "{statement}: {answer:#}");
        let id = answer["deployment_id"].as_str().expect("an id");
        assert_eq!(in_state(&cluster, id, "completed"), [database.as_str()], "{statement}: exactly that one");
        assert_eq!(touched(&fleet), Vec::<String>::new(), "{statement}");
        assert_eq!(fleet.edition(tenant), 2, "{statement}");
        let email = "SELECT count(*) FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                     WHERE a.attrelid = 'accounts'::regclass AND a.attname = 'email' AND d.oid IS NULL";
        assert_eq!(sql::text(&mut cluster.connect(&database), email), "1", "{statement}");
    }
    // Rows and what is no catalog of the bundle's do not touch.
    let database = fleet.database("t001");
    by_hand(
        &cluster,
        &database,
        "INSERT INTO accounts (email) VALUES ('x'); CREATE TEMP TABLE mine (id int); ANALYZE accounts",
    );
    fleet.platform.call_tenant("t001", "add_account", json!(["y"])).ok();
    let answer = sql::done(fleet.run(&bundle(2), ""));
    assert_eq!(answer["failed"], 0, "{answer:#}");
}

/// A change that no hook sees: only looking finds it.
#[test]
fn verify_looks_at_every_database() {
    let cluster = Cluster::start();
    let fleet = Fleet::new(&cluster, "verify", &bundle(1), 4);
    sql::done(fleet.run(&bundle(2), ""));
    let answer = sql::done(fleet.run(&bundle(2), "verify => true"));
    assert_eq!((&answer["status"], &answer["failed"]), (&json!("completed"), &json!(0)), "{answer:#}");
    assert_eq!(answer["verification"]["passed"], true, "{answer:#}");
    assert_eq!(kit::number(&answer, "succeeded") + kit::number(&answer, "unchanged"), 5, "{answer:#}");
    // Who cannot be looked at is not said to be well.
    let closed = Closed::all_but(&fleet, &["main", "t001", "t002", "t004"]);
    let answer = sql::done(fleet.run(&bundle(2), "verify => true, on_error => 'continue', retries => 0"));
    drop(closed);
    assert_eq!((&answer["status"], &answer["failed"]), (&json!("partial"), &json!(1)), "{answer:#}");
    assert_eq!(in_state(&cluster, &fleet.last(), "failed"), [fleet.database("t003")]);

    let silent =
        "UPDATE pg_proc SET prosrc = 'SELECT 77' WHERE proname = 'edition' AND pronamespace = 'public'::regnamespace";
    by_hand(&cluster, &fleet.database("t003"), silent);
    let answer = sql::done(fleet.run(&bundle(2), ""));
    assert_eq!(answer["unchanged"], 5, "nobody could know: {answer:#}");
    let answer = sql::done(fleet.run(&bundle(2), "verify => true"));
    assert_eq!((&answer["status"], &answer["failed"]), (&json!("completed"), &json!(0)), "{answer:#}");
    assert_eq!(fleet.edition("t003"), 2, "found and repaired: {answer:#}");
}

/// Versions of rows are believed by `verify`, and by `full_verify` not even those.
#[test]
fn full_verify_compares_what_has_the_recorded_stamp() {
    const STAMP: &str = include_str!("../../../crates/schema/src/catalog/stamp.sql");
    let cluster = Cluster::start();
    let fleet = Fleet::new(&cluster, "fullverify", &bundle(1), 2);
    let silent =
        "UPDATE pg_proc SET prosrc = 'SELECT 77' WHERE proname = 'edition' AND pronamespace = 'public'::regnamespace";
    let forge = format!(
        "{silent}; UPDATE _stonescriptdb_state SET stamp = encode(sha256(convert_to(({STAMP}), 'UTF8')), 'hex')"
    );
    by_hand(&cluster, &fleet.database("t001"), &forge);
    let answer = sql::done(fleet.run(&bundle(1), "verify => true"));
    assert_eq!((&answer["failed"], fleet.edition("t001")), (&json!(0), json!(77)), "the stamp is believed: {answer:#}");
    let answer = sql::done(fleet.run(&bundle(1), "full_verify => true"));
    assert_eq!((&answer["failed"], fleet.edition("t001")), (&json!(0), json!(1)), "found and repaired: {answer:#}");
}

/// What an earlier deployment did not finish is not there already.
#[test]
fn an_unfinished_database_is_not_unchanged() {
    let cluster = acceptance::shared();
    let fleet = Fleet::new(&cluster, "unfin", &bundle(1), 2);
    let files = gated(bundle(2), "900_gate").file(
        "migrations/901_outside.pssql",
        "-- stonescriptdb: no-transaction\n\
         SELECT 1 / CASE WHEN current_database() LIKE 'stonescriptdb%' THEN 1 ELSE (SELECT count(*) FROM accounts) END;\n",
    );
    // In t001 the statement after the transaction works, in the others there is no account to divide by.
    fleet.platform.call_tenant("t001", "add_account", json!(["one"])).ok();
    let answer = sql::done(fleet.run(&files, "on_error => 'continue'"));
    let broken = ["main", "t002"].map(|tenant| fleet.database(tenant));
    for database in &broken {
        let row = registered(&cluster, database);
        assert_eq!(row["unfinished"], true, "{row:#}\n{answer:#}");
    }
    assert_eq!(answer["status"], "completed_with_warnings", "{answer:#}");
    assert_eq!(in_state(&cluster, answer["deployment_id"].as_str().expect("an id"), "completed_with_warnings"), broken);
    for database in &broken {
        by_hand(&cluster, database, "INSERT INTO accounts (email) VALUES ('one')");
    }
    let answer = sql::done(fleet.run(&files, ""));
    let numbers = ["succeeded", "unchanged", "failed"].map(|name| kit::number(&answer, name));
    assert_eq!((numbers, &answer["status"]), ([2, 1, 0], &json!("completed")), "{answer:#}");
    for database in fleet.databases() {
        assert_eq!(registered(&cluster, &database)["unfinished"], false, "{database}");
    }
}
