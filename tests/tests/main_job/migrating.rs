//! Migrate: every database or one, migrations once and in order, what a bundle says nothing about.

use acceptance::{Files, Platform, fixtures, refused, shared, sql, unique};
use serde_json::{Value, json};

use crate::{keys, shop_v2, without_request_id};

#[test]
fn migrate_brings_every_database_of_the_platform_up_to_date() {
    let cluster = shared();
    let v1 = fixtures::shop();
    let platform = Platform::register(&cluster, "grow", &v1);
    platform.register_tenant("one", &v1).ok();
    platform.register_tenant("two", &v1).ok();
    platform.call_tenant("two", "add_customer", json!(["Ada"])).ok();
    platform.call("stock_of", json!([1])).error(404, "function_not_found");

    let answer = platform.migrate(&shop_v2()).ok().field("status", "completed");
    let mut updated: Vec<&str> = answer.array("databases_updated").iter().filter_map(Value::as_str).collect();
    updated.sort();
    assert_eq!(updated, [platform.database(), platform.database_of("one"), platform.database_of("two")], "{answer}");
    assert!(answer.number("migrations_applied") >= 1 && answer.number("functions_updated") >= 1, "{answer}");
    assert!(!answer.json["deployment_id"].is_null() && answer.json["warnings"].is_array(), "{answer}");
    assert!(answer.json["schema_validation"].is_object() && answer.json["verification"].is_object(), "{answer}");

    for tenant in ["main", "one", "two"] {
        assert_eq!(platform.call_tenant(tenant, "stock_of", json!([1])).value(), 5, "{tenant}");
        assert_eq!(platform.call_tenant(tenant, "get_product", json!([1])).row()["name"], "Pen", "{tenant}");
        let mut client = cluster.connect(&platform.database_of(tenant));
        assert_eq!(sql::text(&mut client, "SELECT count(*) FROM coupons"), "0", "{tenant}");
        let migrations = "SELECT migration_file FROM _stonescriptdb_gateway_migrations";
        assert!(sql::text(&mut client, migrations).contains("001_stock"), "{tenant}");
    }
    assert_eq!(
        platform.call_tenant("two", "count_customers", json!([])).value(),
        101,
        "the data stays, the body is new"
    );

    // Again: nothing to do, nothing changes.
    let before = platform.snapshot();
    let answer = platform.migrate(&shop_v2()).ok().field("status", "completed").field("migrations_applied", 0);
    platform.assert_unchanged(&before, &format!("a second migrate: {answer}"));
}

#[test]
fn migrate_of_one_tenant_leaves_the_others_alone() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "single", &fixtures::shop());
    platform.register_tenant("pilot", &fixtures::shop()).ok();
    let main = platform.snapshot();

    let answer = cluster.http().migrate(&platform.name, Some("pilot"), &shop_v2().tar_gz(), &[]).ok();
    assert_eq!(answer.array("databases_updated"), [json!(platform.database_of("pilot"))], "{answer}");
    assert_eq!(platform.call_tenant("pilot", "stock_of", json!([2])).value(), 5);
    platform.assert_unchanged(&main, "another tenant was migrated");

    // And over SQL, where the answer has the same fields.
    let over_sql =
        sql::done(sql::migrate(&mut cluster.control(), &shop_v2().tar_gz(), Some(&platform.name), Some("main")));
    assert_eq!(
        (&over_sql["status"], &over_sql["databases_updated"]),
        (&json!("completed"), &json!([platform.database()]))
    );
    assert_eq!(keys(&over_sql), keys(&without_request_id(&answer.json)), "{over_sql} against {answer}");
}

#[test]
fn register_of_a_newer_bundle_at_a_container_start_does_what_migrate_would() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "restart", &fixtures::shop());
    platform.call("add_customer", json!(["Ada"])).ok();
    platform.register_again(&shop_v2()).ok().field("status", "ready");
    assert_eq!(platform.call("stock_of", json!([1])).value(), 5);
    assert_eq!(platform.call("count_customers", json!([])).value(), 101);
}

#[test]
fn a_function_that_left_the_bundle_is_dropped() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "orphan", &fixtures::shop());
    platform.migrate(&fixtures::shop().without("functions/count_customers.pssql")).ok();
    platform.call("count_customers", json!([])).error(404, "function_not_found");
    let mut client = platform.connect();
    assert_eq!(sql::text(&mut client, "SELECT to_regproc('count_customers') IS NULL"), "t");
    let tracked = "SELECT count(*) FROM _stonescriptdb_gateway_functions WHERE function_name = 'count_customers'";
    assert_eq!(sql::text(&mut client, tracked), "0");
}

#[test]
fn a_bundle_without_a_kind_says_nothing_about_that_kind() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "partial", &fixtures::shop());
    platform.call("add_customer", json!(["Ada"])).ok();
    platform.migrate(&fixtures::tiny()).ok();
    let mut client = platform.connect();
    assert_eq!(sql::text(&mut client, "SELECT count(*) FROM customers"), "1", "functions only: no table is dropped");
    assert_eq!(platform.call("f", json!([])).value(), 1);
    let tables_only =
        fixtures::shop().only("tables").file("tables/notes.pssql", "CREATE TABLE notes (id int PRIMARY KEY);\n");
    platform.migrate(&tables_only).ok();
    assert_eq!(platform.call("f", json!([])).value(), 1, "tables only: no function is dropped");
}

#[test]
fn a_dry_run_changes_nothing() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "dry", &fixtures::shop());
    let before = platform.snapshot();
    let answer = cluster.http().migrate(&platform.name, None, &shop_v2().tar_gz(), &[("dry_run", "true")]);
    answer.ok().field("status", "planned");
    platform.assert_unchanged(&before, "it was a dry run");
    let sql = "SELECT stonescriptdb.migrate($1::bytea, $2, dry_run => true)";
    let answer: Value = sql::done(cluster.control().query_one(sql, &[&shop_v2().tar_gz(), &platform.name])).get(0);
    assert_eq!(answer["status"], "planned", "{answer}");
    platform.assert_unchanged(&before, "it was a dry run over SQL");
    platform.call("stock_of", json!([1])).error(404, "function_not_found");
}

#[test]
fn an_applied_migration_must_not_change() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "edited", &shop_v2());
    let before = platform.snapshot();
    let edited = shop_v2().edit("migrations/001_stock.pssql", "DEFAULT 5", "DEFAULT 6");
    platform.migrate(&edited).error(409, "migration_changed").says("001_stock");
    platform.assert_unchanged(&before, "the migration was edited");
    platform.register_again(&edited).error(409, "migration_changed").says("001_stock");
    platform.assert_unchanged(&before, "the migration was edited");
}

#[test]
fn migrations_run_once_and_in_the_order_of_their_names() {
    let cluster = shared();
    let files = Files::new()
        .file("migrations/010_last.pssql", "INSERT INTO steps (name) VALUES ('010');\n")
        .file("migrations/002_second.pssql", "INSERT INTO steps (name) VALUES ('002'); INSERT INTO steps (name) VALUES ('002b');\n")
        .file("migrations/001_first.pssql", "CREATE TABLE steps (id serial PRIMARY KEY, name text NOT NULL);\n")
        .file(
            "functions/steps_done.pssql",
            "CREATE FUNCTION steps_done() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(name, ' ' ORDER BY id) FROM steps $$;\n",
        );
    let platform = Platform::register(&cluster, "steps", &files);
    assert_eq!(platform.call("steps_done", json!([])).value(), "002 002b 010");
    let more = files.file("migrations/011_more.pssql", "INSERT INTO steps (name) VALUES ('011');\n");
    platform.migrate(&more).ok().field("migrations_applied", 1);
    assert_eq!(platform.call("steps_done", json!([])).value(), "002 002b 010 011");
    platform.register_again(&more).ok();
    assert_eq!(platform.call("steps_done", json!([])).value(), "002 002b 010 011");
}

#[test]
fn migrate_of_what_is_not_there_is_404() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "there", &fixtures::tiny());
    let bundle = fixtures::tiny().tar_gz();
    cluster.http().migrate(&unique("nobody"), None, &bundle, &[]).error(404, "platform_not_found");
    cluster.http().migrate(&platform.name, Some("nobody"), &bundle, &[]).error(404, "database_not_found");
    let mut control = cluster.control();
    refused(sql::migrate(&mut control, &bundle, Some(&unique("nobody")), None)).meant().says("platform_not_found");
    refused(sql::migrate(&mut control, &bundle, Some(&platform.name), Some("nobody")))
        .meant()
        .says("database_not_found");
}
