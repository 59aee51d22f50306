//! Seeders of any SQL: every new tenant gets its own rows.

use acceptance::{Files, Platform, shared, sql};
use serde_json::json;

use crate::{assert_exact, by_hand, migrate};

/// A seeder of every way to make rows.
pub fn bundle() -> Files {
    Files::new()
        .file("tables/currencies.pssql", "CREATE TABLE currencies (code char(3) PRIMARY KEY, name text NOT NULL, rate numeric(10,4) NOT NULL DEFAULT 1);\n")
        .file(
            "tables/settings.pssql",
            "CREATE TABLE settings (\n    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),\n    name text NOT NULL UNIQUE,\n    value jsonb,\n    \
             made_at timestamptz NOT NULL DEFAULT clock_timestamp(),\n    made_on date NOT NULL DEFAULT current_date\n);\n",
        )
        .file("tables/slots.pssql", "CREATE TABLE slots (id serial PRIMARY KEY, name text NOT NULL);\n")
        .file("tables/log.pssql", "CREATE TABLE log (what text, n int);\n")
        .file("tables/parents.pssql", "CREATE TABLE parents (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE);\n")
        .file("tables/children.pssql", "CREATE TABLE children (parent bigint NOT NULL REFERENCES parents, no int NOT NULL, tags text[], PRIMARY KEY (parent, no));\n")
        .file(
            "functions/add_setting.pssql",
            "CREATE FUNCTION add_setting(n text, v jsonb) RETURNS void LANGUAGE sql AS $$ INSERT INTO settings (name, value) VALUES (n, v) $$;\n",
        )
        .file("functions/take_slot.pssql", "CREATE FUNCTION take_slot(n text) RETURNS int LANGUAGE sql AS $$ INSERT INTO slots (name) VALUES (n) RETURNING id $$;\n")
        .file("functions/add_parent.pssql", "CREATE FUNCTION add_parent(n text) RETURNS bigint LANGUAGE sql AS $$ INSERT INTO parents (name) VALUES (n) RETURNING id $$;\n")
        .file(
            "seeders/currencies.pssql",
            "-- INSERT … SELECT, and what it finds there.\nINSERT INTO currencies (code, name)\nSELECT upper(c), 'currency ' || c FROM unnest(ARRAY['eur', 'usd', 'inr']) c;\n\
             UPDATE currencies SET rate = 1.25 WHERE code = 'USD';\nDELETE FROM currencies WHERE code = 'INR';\n",
        )
        .file("seeders/settings.pssql", "SELECT add_setting('theme', '{\"dark\": true}');\nSELECT add_setting('language', '\"en; or de\"');\n")
        .file(
            "seeders/slots.pssql",
            "DO $body$\nBEGIN\n    FOR i IN 1..3 LOOP\n        INSERT INTO slots (name) VALUES ('slot ' || i);\n    END LOOP;\nEND $body$;\n",
        )
        .file("seeders/log.pssql", "INSERT INTO log VALUES ('twin', 1), ('twin', 1), ('none', NULL);\n")
        .file(
            "seeders/family.pssql",
            "WITH made AS (INSERT INTO parents (name) VALUES ('Ada'), ('Bob') RETURNING id, name)\n\
             INSERT INTO children (parent, no, tags) SELECT id, no, ARRAY[name, NULL, 'a,\"b'] FROM made, generate_series(1, 2) no;\n",
        )
}

#[track_caller]
fn assert_seeded(client: &mut postgres::Client, why: &str) {
    let rows = |client: &mut postgres::Client, query: &str| sql::texts(client, query);
    assert_eq!(
        rows(client, "SELECT concat_ws(' ', code, name, rate) FROM currencies ORDER BY code"),
        ["EUR currency eur 1.0000", "USD currency usd 1.2500"],
        "{why}"
    );
    assert_eq!(
        rows(client, "SELECT name || value FROM settings ORDER BY name"),
        ["language\"en; or de\"", "theme{\"dark\": true}"],
        "{why}"
    );
    assert_eq!(rows(client, "SELECT id || name FROM slots ORDER BY id"), ["1slot 1", "2slot 2", "3slot 3"], "{why}");
    assert_eq!(rows(client, "SELECT what || coalesce(n, 0) FROM log ORDER BY 1"), ["none0", "twin1", "twin1"], "{why}");
    assert_eq!(rows(client, "SELECT id || name FROM parents ORDER BY id"), ["1Ada", "2Bob"], "{why}");
    let children = "SELECT parent || ' ' || no || ' ' || tags::text FROM children ORDER BY 1";
    let expected = [
        "1 1 {Ada,NULL,\"a,\\\"b\"}",
        "1 2 {Ada,NULL,\"a,\\\"b\"}",
        "2 1 {Bob,NULL,\"a,\\\"b\"}",
        "2 2 {Bob,NULL,\"a,\\\"b\"}",
    ];
    assert_eq!(rows(client, children), expected, "{why}");
}

#[test]
fn every_new_tenant_gets_the_rows_with_its_own_ids_and_times() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "sown");
    let begun = sql::text(&mut cluster.control(), "SELECT clock_timestamp()");
    platform.register_again(&bundle()).ok();
    platform.register_tenant("a", &bundle()).ok();
    platform.register_tenant("b", &bundle()).ok();
    let (mut ids, mut times) = (Vec::new(), Vec::new());
    for tenant in ["main", "a", "b"] {
        let mut client = cluster.connect(&platform.database_of(tenant));
        assert_seeded(&mut client, tenant);
        ids.extend(sql::texts(&mut client, "SELECT id FROM settings"));
        times.push(sql::text(&mut client, "SELECT min(made_at) FROM settings"));
        let fresh = format!("SELECT min(made_at) > '{begun}' AND max(made_at) <= clock_timestamp() FROM settings");
        assert_eq!(sql::text(&mut client, &fresh), "t", "{tenant}: the times are of its own making");
        assert_exact(&cluster, &platform, tenant, "it is new");
    }
    for list in [&mut ids, &mut times] {
        let all = list.len();
        list.sort();
        list.dedup();
        assert_eq!(list.len(), all, "no two tenants have the same: {list:?}");
    }
}

#[test]
fn sequences_start_where_the_seeder_left_them() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "sseq", &bundle());
    // However often it was deployed, planned and compared.
    for _ in 0..2 {
        platform.register_again(&bundle()).ok();
        migrate(&cluster, &platform, "main", &bundle(), &[("verify", "full")]).ok();
        migrate(&cluster, &platform, "main", &bundle(), &[("dry_run", "true")]).ok();
    }
    platform.register_tenant("a", &bundle()).ok();
    // A bundle whose migrations make rows is not copied: there as well.
    let rows = bundle().file("migrations/001_x.pssql", "CREATE TABLE IF NOT EXISTS by_migration (id serial PRIMARY KEY, a text);\nINSERT INTO by_migration (a) VALUES ('x');\n");
    let other = Platform::register(&cluster, "sseqmig", &rows);
    other.register_tenant("a", &rows).ok();
    for platform in [&platform, &other] {
        for tenant in ["main", "a"] {
            assert_eq!(platform.call_tenant(tenant, "take_slot", json!(["x"])).value(), 4, "{tenant}");
            assert_eq!(platform.call_tenant(tenant, "add_parent", json!(["x"])).value(), 3, "{tenant}");
        }
    }
    let mut client = cluster.connect(&other.database_of("a"));
    by_hand(&mut client, "INSERT INTO by_migration (a) VALUES ('y')");
    assert_eq!(sql::texts(&mut client, "SELECT id || a FROM by_migration ORDER BY id"), ["1x", "2y"]);
}

#[test]
fn a_new_table_of_a_newer_bundle_is_seeded_and_the_others_are_left_alone() {
    let cluster = shared();
    let old =
        bundle().without("seeders/slots.pssql").without("tables/slots.pssql").without("functions/take_slot.pssql");
    let platform = Platform::register(&cluster, "snew", &old);
    platform.register_tenant("a", &old).ok();
    by_hand(
        &mut cluster.connect(&platform.database_of("a")),
        "INSERT INTO currencies VALUES ('XXX', 'theirs', 9); UPDATE settings SET value = '1' WHERE name = 'theme'",
    );
    let answer = platform.migrate(&bundle()).ok();
    for tenant in ["main", "a"] {
        let mut client = cluster.connect(&platform.database_of(tenant));
        assert_eq!(
            sql::texts(&mut client, "SELECT id || name FROM slots ORDER BY id"),
            ["1slot 1", "2slot 2", "3slot 3"],
            "{tenant}: {answer}"
        );
        assert_eq!(platform.call_tenant(tenant, "take_slot", json!(["x"])).value(), 4, "{tenant}");
    }
    let mut client = cluster.connect(&platform.database_of("a"));
    assert_eq!(
        sql::texts(&mut client, "SELECT code || rate FROM currencies ORDER BY 1"),
        ["EUR1.0000", "USD1.2500", "XXX9.0000"]
    );
    assert_eq!(
        sql::text(&mut client, "SELECT value FROM settings WHERE name = 'theme'"),
        "1",
        "what users changed stays"
    );
}

#[test]
fn register_again_seeds_a_table_that_is_empty_and_no_other() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "sagain", &bundle());
    let mut client = platform.connect();
    by_hand(&mut client, "TRUNCATE slots RESTART IDENTITY; DELETE FROM currencies WHERE code = 'EUR'; DELETE FROM log");
    let answer = platform.register_again(&bundle()).ok();
    assert_eq!(sql::texts(&mut client, "SELECT id || name FROM slots ORDER BY id"), ["1slot 1", "2slot 2", "3slot 3"]);
    assert_eq!(sql::text(&mut client, "SELECT count(*) FROM log"), "3");
    assert_eq!(sql::texts(&mut client, "SELECT code FROM currencies"), ["USD"], "a table with rows is left alone");
    let told = |table: &str| {
        let row = answer.array("seeders").iter().find(|row| row["table"] == table).cloned();
        row.map(|row| (row["inserted"].as_i64(), row["skipped"].as_i64()))
    };
    assert_eq!(told("slots"), Some((Some(3), Some(0))), "{answer}");
    assert_eq!(told("currencies"), Some((Some(0), Some(1))), "{answer}");
    // And a third time there is nothing to do.
    let before = platform.snapshot();
    platform.register_again(&bundle()).ok();
    platform.assert_unchanged(&before, "nothing is empty");
}

#[test]
fn what_depends_on_the_database_is_each_tenants_own() {
    let cluster = shared();
    let files = Files::new()
        .file("tables/info.pssql", "CREATE TABLE info (name text PRIMARY KEY, value text NOT NULL);\n")
        .file(
            "seeders/info.pssql",
            "INSERT INTO info VALUES ('database', current_database()), ('rows', (SELECT count(*) FROM info)::text);\n",
        );
    let platform = Platform::register(&cluster, "sown_name", &files);
    platform.register_tenant("a", &files).ok();
    for tenant in ["main", "a"] {
        let mut client = cluster.connect(&platform.database_of(tenant));
        assert_eq!(
            sql::texts(&mut client, "SELECT value FROM info ORDER BY name"),
            [platform.database_of(tenant), "0".into()]
        );
        // The row is known by its key, whatever value another database would have.
        migrate(&cluster, &platform, tenant, &files, &[("verify", "full")]).ok();
    }
    // A row that is inserted again is what the seeder makes here, not what it made in the template.
    let mut client = cluster.connect(&platform.database_of("a"));
    by_hand(&mut client, "DELETE FROM info WHERE name = 'database'");
    let answer = migrate(&cluster, &platform, "a", &files, &[("seeders", "insert_missing")]);
    let value = sql::texts(&mut client, "SELECT value FROM info WHERE name = 'database'");
    let own = value == [platform.database_of("a")];
    assert!(own || answer.status == 422, "{value:?} was inserted: {answer}");
}

#[test]
fn a_seeder_that_fails_only_in_a_tenant_leaves_it_as_it_was() {
    let cluster = shared();
    let platform = Platform::register(
        &cluster,
        "sfail",
        &Files::new().file("tables/log.pssql", "CREATE TABLE log (what text);\n"),
    );
    by_hand(&mut platform.connect(), "INSERT INTO log VALUES ('a row')");
    let files = Files::new()
        .file("tables/log.pssql", "CREATE TABLE log (what text);\n")
        .file("tables/fresh.pssql", "CREATE TABLE fresh (id int PRIMARY KEY);\n")
        .file(
            "seeders/fresh.pssql",
            "-- 1\nINSERT INTO fresh VALUES (1);\nINSERT INTO fresh SELECT 1 / (1 - count(*)) FROM log;\n",
        );
    let before = platform.snapshot();
    let answer = platform.migrate(&files).client_error();
    // In the template it makes two rows: 1 and, of an empty log, 1 again.
    assert!(answer.code() == "seeder_failed", "{answer}");
    platform.assert_unchanged(&before, "its seeder failed");
}
