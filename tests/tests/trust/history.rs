//! Who deployed what and when, from where, each statement with its duration, and what failed with its error.

use acceptance::{Answer, Cluster, Files, Platform, fixtures, shared, sql};
use postgres::Client;
use serde_json::{Value, json};

use crate::{by_hand, migrate};

/// A row of `stonescriptdb.changelog(platform, tenant)` as JSON.
#[track_caller]
pub fn changelog(cluster: &Cluster, platform: &str, tenant: &str) -> Vec<Value> {
    changelog_as(&mut cluster.control(), platform, tenant)
}

#[track_caller]
fn changelog_as(client: &mut Client, platform: &str, tenant: &str) -> Vec<Value> {
    let query = "SELECT to_jsonb(c) FROM stonescriptdb.changelog($1, $2) WITH ORDINALITY AS c ORDER BY ordinality";
    sql::done(client.query(query, &[&platform, &tenant])).iter().map(|row| row.get(0)).collect()
}

/// The rows of one deployment.
#[track_caller]
pub fn of_deployment(rows: &[Value], answer: &Answer) -> Vec<Value> {
    let id = answer.str("deployment_id");
    rows.iter().filter(|row| row["deployment_id"] == id).cloned().collect()
}

fn sha256(cluster: &Cluster, bytes: &[u8]) -> String {
    sql::done(cluster.control().query_one("SELECT encode(sha256($1), 'hex')", &[&bytes])).get(0)
}

fn grown() -> Files {
    fixtures::shop()
        .edit("tables/products.pssql", "name text NOT NULL,", "name text,")
        .edit("functions/count_customers.pssql", "count(*)", "count(*) + 1")
        .file(
            "migrations/001_pens.pssql",
            "UPDATE products SET name = 'Pencil' WHERE id = 1;\n\nUPDATE products SET price = price + 1;\n",
        )
}

#[test]
fn the_changelog_says_who_when_whence_what_and_how_long() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "hist", &fixtures::shop());
    platform.register_tenant("a", &fixtures::shop()).ok();
    let begun = sql::text(&mut cluster.control(), "SELECT clock_timestamp()");
    let answer = migrate(&cluster, &platform, "a", &grown(), &[("allow", "drop_column,set_not_null")]).ok();
    let rows = of_deployment(&changelog(&cluster, &platform.name, "a"), &answer);
    assert!(rows.len() >= 4, "two statements of a migration, a column, a function: {rows:#?}");
    for row in &rows {
        assert_eq!(row["database"], platform.database_of("a"), "{row}");
        assert_eq!(row["platform"], platform.name, "{row}");
        assert_eq!(row["kind"], "migrate", "{row}");
        assert_eq!(row["state"], "completed", "{row}");
        assert_eq!(row["client_address"], "127.0.0.1", "{row}");
        assert!(row["requested_by"].as_str().is_some_and(|by| !by.is_empty()), "{row}");
        assert_eq!(row["request_id"].as_str(), answer.header("x-request-id"), "{row}");
        assert_eq!(row["bundle_sha256"], sha256(&cluster, &grown().tar_gz()), "{row}");
        assert_eq!(row["force"], false, "{row}");
        assert_eq!(row["allow"], json!(["drop_column", "set_not_null"]), "{row}");
        assert!(row["duration_ms"].as_f64().is_some_and(|ms| ms >= 0.0), "each statement has its duration: {row}");
        assert!(row["deployment_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{row}");
        assert!(row["error"].is_null(), "{row}");
        let started = format!(
            "SELECT '{}' BETWEEN '{begun}'::timestamptz AND clock_timestamp()",
            row["started_at"].as_str().unwrap_or("?")
        );
        assert_eq!(sql::text(&mut cluster.control(), &started), "t", "{row}");
    }
    let statements: Vec<&str> = rows.iter().filter_map(|row| row["sql"].as_str()).collect();
    for wanted in ["SET name = 'Pencil'", "price + 1", "DROP NOT NULL", "count_customers"] {
        assert!(statements.iter().any(|sql| sql.contains(wanted)), "{wanted} in {statements:#?}");
    }
    let of_migration: Vec<&Value> = rows.iter().filter(|row| row["migration"] == "001_pens.pssql").collect();
    assert_eq!(of_migration.len(), 2, "{rows:#?}");
    let order: Vec<i64> = rows.iter().filter_map(|row| row["seq"].as_i64()).collect();
    assert_eq!(order, (1..=rows.len() as i64).collect::<Vec<_>>(), "in the order they ran");
    // The other database was not touched by it.
    assert!(of_deployment(&changelog(&cluster, &platform.name, "main"), &answer).is_empty());
    // In the tenant itself there is the same, for who has only that.
    let mut client = cluster.connect(&platform.database_of("a"));
    let own = format!(
        "SELECT change_detail ->> 'sql' FROM _stonescriptdb_gateway_changelog WHERE deployment_id = '{}' ORDER BY id",
        answer.str("deployment_id")
    );
    assert_eq!(sql::texts(&mut client, &own), statements);
}

#[test]
fn a_deployment_over_sql_has_the_role_that_asked() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "histsql", &fixtures::shop());
    by_hand(&mut cluster.control(), "CREATE ROLE hist_dba LOGIN IN ROLE stonescriptdb_admin");
    let mut dba = cluster.connect_as("hist_dba", "postgres");
    let query = "SELECT stonescriptdb.migrate($1, $2, force => true)";
    let answer: Value = sql::done(dba.query_one(query, &[&grown().tar_gz(), &platform.name])).get(0);
    let rows: Vec<Value> = changelog_as(&mut dba, &platform.name, "main")
        .into_iter()
        .filter(|row| row["deployment_id"] == answer["deployment_id"])
        .collect();
    assert!(!rows.is_empty(), "{answer}");
    assert!(rows.iter().all(|row| row["requested_by"] == "hist_dba" && row["force"] == true), "{rows:#?}");
    assert!(rows.iter().all(|row| row["client_address"] != "127.0.0.1"), "it came over the Unix socket: {rows:#?}");
    // Nobody else looks into it.
    by_hand(&mut cluster.control(), "CREATE ROLE hist_nobody LOGIN");
    let mut nobody = cluster.connect_as("hist_nobody", "postgres");
    acceptance::refused(nobody.query("SELECT * FROM stonescriptdb.changelog", &[])).sqlstate("42501");
    acceptance::refused(nobody.query("SELECT * FROM stonescriptdb.changelog('x')", &[])).sqlstate("42501");
}

#[test]
fn the_registration_is_the_first_entry_and_a_dry_run_is_none() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "histfirst", &fixtures::shop());
    let first = changelog(&cluster, &platform.name, "main");
    assert!(
        !first.is_empty() && first.iter().all(|row| row["kind"] == "register" && row["state"] == "completed"),
        "{first:#?}"
    );
    migrate(&cluster, &platform, "main", &grown(), &[("dry_run", "true")]).ok();
    assert_eq!(changelog(&cluster, &platform.name, "main").len(), first.len(), "a dry run did nothing");
    let answer = migrate(&cluster, &platform, "main", &fixtures::shop(), &[]).ok();
    let rows = of_deployment(&changelog(&cluster, &platform.name, "main"), &answer);
    assert_eq!(rows.len(), 1, "one that had nothing to do is told all the same: {rows:#?}");
    assert!(rows[0]["sql"].is_null() && rows[0]["state"] == "completed", "{rows:#?}");
}

/// The one row of a deployment that failed.
#[track_caller]
fn failed(cluster: &Cluster, platform: &Platform<'_>, tenant: &str, answer: &Answer) -> Value {
    let rows = of_deployment(&changelog(cluster, &platform.name, tenant), answer);
    assert_eq!(rows.len(), 1, "one row for what failed expected: {rows:#?}, after {answer}");
    let row = rows[0].clone();
    assert_eq!(row["state"], "failed", "{row}");
    assert_eq!(row["error"]["error"], answer.code(), "{row}");
    assert_eq!(row["error"]["message"], answer.str("message"), "{row}");
    for field in ["sqlstate", "detail", "file", "line"] {
        assert_eq!(row["error"][field], answer.json[field], "{field}: {row}");
    }
    assert_eq!(row["client_address"], "127.0.0.1", "{row}");
    let view = format!(
        "SELECT state || ' ' || (first_error ->> 'error') FROM stonescriptdb.deployments WHERE id = '{}'",
        answer.str("deployment_id")
    );
    assert_eq!(sql::text(&mut cluster.control(), &view), format!("failed {}", answer.code()));
    row
}

#[test]
fn failures_are_in_the_changelog_with_their_error() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "histfail", &fixtures::shop());
    platform.register_tenant("a", &fixtures::shop()).ok();
    let mut client = cluster.connect(&platform.database_of("a"));
    by_hand(&mut client, "INSERT INTO products (id, name, price) VALUES (7, 'Pen', 1)");

    // In the tenant, because of its rows.
    let unique = fixtures::shop().edit("tables/products.pssql", "name text NOT NULL", "name text NOT NULL UNIQUE");
    let answer = migrate(&cluster, &platform, "a", &unique, &[]).client_error();
    assert_eq!(answer.str("sqlstate"), "23505", "{answer}");
    let row = failed(&cluster, &platform, "a", &answer);
    assert_eq!(row["database"], platform.database_of("a"), "{row}");
    assert_eq!(row["bundle_sha256"], sha256(&cluster, &unique.tar_gz()), "{row}");

    // In a migration, because of its rows.
    let migration = fixtures::shop().file("migrations/001_x.pssql", "-- 1\nUPDATE products SET id = 1 / (id - 7);\n");
    let answer = migrate(&cluster, &platform, "a", &migration, &[]).error(422, "migration_failed");
    failed(&cluster, &platform, "a", &answer);

    // Blocked by classification.
    let dropped = fixtures::shop().edit("tables/customers.pssql", ", joined timestamptz NOT NULL DEFAULT now()", "");
    let answer = migrate(&cluster, &platform, "a", &dropped, &[]).error(409, "schema_validation_failed");
    failed(&cluster, &platform, "a", &answer);

    // Refused while it is being prepared, and in the proof.
    let syntax = fixtures::shop().file("functions/broken.pssql", "SELEKT 1;\n");
    let answer = migrate(&cluster, &platform, "a", &syntax, &[]).error(400, "schema_extraction_failed");
    failed(&cluster, &platform, "a", &answer);
    let proof = fixtures::shop()
        .file("functions/broken.pssql", "CREATE FUNCTION b() RETURNS int LANGUAGE sql AS 'SELECT nope';\n");
    let answer = migrate(&cluster, &platform, "a", &proof, &[]).error(422, "function_deploy_failed");
    failed(&cluster, &platform, "a", &answer);

    // None of it was in the other tenant's history.
    let of_main = changelog(&cluster, &platform.name, "main");
    assert!(of_main.iter().all(|row| row["state"] == "completed"), "{of_main:#?}");
    // A deployment of all: what failed in one is that one's.
    let answer =
        cluster.http().migrate(&platform.name, None, &unique.tar_gz(), &[("on_error", "continue")]).expect(422);
    let in_main = of_deployment(&changelog(&cluster, &platform.name, "main"), &answer);
    assert!(
        !in_main.is_empty() && in_main.iter().all(|row| row["state"] == "completed" && row["error"].is_null()),
        "{in_main:#?}"
    );
    let in_a = of_deployment(&changelog(&cluster, &platform.name, "a"), &answer);
    assert!(in_a.iter().all(|row| row["state"] == "failed" && row["error"]["sqlstate"] == "23505"), "{in_a:#?}");
}

#[test]
fn a_first_registration_that_fails_is_told_too() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "histnone");
    let bad = fixtures::shop()
        .file("functions/broken.pssql", "CREATE FUNCTION b() RETURNS int LANGUAGE sql AS 'SELECT nope';\n");
    let answer = platform.register_again(&bad).error(422, "function_deploy_failed");
    let query = format!(
        "SELECT concat_ws(' ', platform, state, client_address, error ->> 'error') FROM stonescriptdb.changelog WHERE deployment_id = '{}'",
        answer.str("deployment_id")
    );
    let expected = format!("{} failed 127.0.0.1 function_deploy_failed", platform.name);
    assert_eq!(sql::texts(&mut cluster.control(), &query), [expected]);
}

/// The history outlives what it tells of, and is what a dump of the control database keeps.
#[test]
fn the_history_of_a_dropped_tenant_stays() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "histdrop", &fixtures::shop());
    platform.register_tenant("gone", &fixtures::shop()).ok();
    let answer = migrate(&cluster, &platform, "gone", &grown(), &[]).ok();
    let drop = "SELECT stonescriptdb.drop_tenant($1, 'gone', $2)";
    sql::done(cluster.control().query_one(drop, &[&platform.name, &platform.database_of("gone")]));
    let count = format!(
        "SELECT count(*) > 0 FROM stonescriptdb.changelog WHERE deployment_id = '{}'",
        answer.str("deployment_id")
    );
    assert_eq!(sql::text(&mut cluster.control(), &count), "t");
}
