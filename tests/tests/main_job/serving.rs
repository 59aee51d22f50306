//! Register once or again, call over SQL and HTTP, look at what the extension says of itself.

use std::os::unix::fs::PermissionsExt;

use acceptance::wait::check;
use acceptance::{Files, Platform, Snapshot, eventually, fixtures, refused, shared, sql, unique};
use serde_json::{Value, json};

use crate::{keys, shop_v2, without_request_id};

#[test]
fn a_bundle_registered_over_sql_answers_over_sql_and_http_alike() {
    let cluster = shared();
    let mut control = cluster.control();
    let platform = Platform::unregistered(&cluster, "shop");

    // As the README's psql lines do it: the archive is a file that the server reads.
    let file = cluster.dir().join(format!("{}.tar.gz", platform.name));
    std::fs::write(&file, fixtures::shop().tar_gz()).expect("it can be written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let register = "SELECT stonescriptdb.register(pg_read_binary_file($1::text), $2)";
    let answer = sql::done(control.query_one(register, &[&file.display().to_string(), &platform.name]));
    let answer: Value = answer.get(0);
    assert_eq!((&answer["status"], &answer["database"]), (&json!("ready"), &json!(platform.database())), "{answer}");

    for (function, params) in [
        ("get_product", json!([1])),
        ("get_product", json!({"p_id": 2})),
        ("get_product", json!([99])),
        ("list_products", json!([])),
        ("list_products", json!([2])),
        ("count_customers", json!([])),
    ] {
        let over_http = platform.call(function, params.clone());
        let over_sql = sql::done(sql::call(&mut control, &platform.name, None, function, &params));
        assert_eq!(over_sql["rows"], json!(over_http.rows()), "{function}({params}): {over_sql} against {over_http}");
        assert_eq!(over_sql["row_count"], over_http.json["row_count"], "{function}({params}): {over_sql}");
        assert_eq!(keys(&over_sql), keys(&over_http.json), "{function}: {over_sql} against {over_http}");
        let rows = sql::done(sql::call_rows(&mut control, &platform.name, None, function, &params));
        assert_eq!(rows, over_http.rows(), "call_rows of {function}({params})");
    }
    assert_eq!(platform.call("get_product", json!([1])).row(), json!({"id": 1, "name": "Pen", "price": 1.5}));
    assert_eq!(platform.call("list_products", json!([])).rows().len(), 3);
    assert!(platform.call("f", json!([])).error(404, "function_not_found").says("f").json["sqlstate"].is_null());
}

#[test]
fn register_over_http_says_what_it_did() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "shop");
    let files = fixtures::shop();
    let answer = platform.register_again(&files).ok();
    let answer = answer.field("status", "ready").field("database", platform.database());
    let answer = answer.field("functions_deployed", files.count("functions")).field("tables_created", 3);
    let answer = answer.field("types_deployed", 1).field("migrations_applied", 0).field("extensions_installed", 0);
    assert_eq!(answer.array("warnings"), &[] as &[Value], "{answer}");
    assert!(answer.number("execution_time_ms") >= 0);
    assert!(!answer.json["deployment_id"].is_null(), "{answer}");
    let seeders = answer.array("seeders");
    assert_eq!(seeders.len(), 1, "{answer}");
    assert!(seeders[0]["table"].as_str().is_some_and(|table| table.ends_with("products")), "{answer}");
    assert_eq!(seeders[0]["inserted"], 3, "{answer}");

    // The same over SQL has the same fields.
    let other = unique("shop");
    let over_sql = sql::done(sql::register(&mut cluster.control(), &files.tar_gz(), Some(&other), None));
    assert_eq!(keys(&over_sql), keys(&without_request_id(&answer.json)), "{over_sql} against {answer}");
}

#[test]
fn registering_again_changes_nothing() {
    let cluster = shared();
    let mut control = cluster.control();
    let files = fixtures::shop();
    let platform = Platform::register(&cluster, "again", &files);
    let id = platform.call("add_customer", json!(["Ada"])).value();
    let registry =
        format!("SELECT to_jsonb(p)::text FROM stonescriptdb.platforms p WHERE platform = '{}'", platform.name);
    let (before, registered) = (platform.snapshot(), sql::texts(&mut control, &registry));

    for turn in ["over HTTP", "over HTTP again"] {
        let answer = platform.register_again(&files).ok().field("status", "ready");
        let answer =
            answer.field("database", platform.database()).field("functions_deployed", files.count("functions"));
        let inserted: i64 = answer.array("seeders").iter().filter_map(|s| s["inserted"].as_i64()).sum();
        assert_eq!(inserted, 0, "{answer}");
        platform.assert_unchanged(&before, turn);
    }
    sql::done(sql::register(&mut control, &files.tar_gz(), Some(&platform.name), None));
    platform.assert_unchanged(&before, "over SQL");
    // The same files in another archive are the same bundle.
    let answer = cluster.http().register(&platform.name, None, &files.clone().root("").tar());
    answer.ok();
    platform.assert_unchanged(&before, "as a plain tar");

    assert_eq!(sql::texts(&mut control, &registry).len(), registered.len());
    assert_eq!(platform.call("count_customers", json!([])).value(), 1);
    assert_eq!(platform.call("add_customer", json!(["Bob"])).value(), json!(id.as_i64().unwrap_or(0) + 1));
}

#[test]
fn a_seeded_row_that_was_deleted_does_not_stop_a_containers_start() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "deleted", &fixtures::shop());
    sql::done(platform.connect().batch_execute("DELETE FROM products WHERE id = 2"));
    platform.register_again(&fixtures::shop()).ok().field("status", "ready");
    assert_eq!(platform.call("list_products", json!([])).rows().len(), 2, "register seeds empty tables only");
}

#[test]
fn the_manifest_says_the_platform_if_the_caller_does_not() {
    let cluster = shared();
    let mut control = cluster.control();
    let name = unique("manifest");
    let files = fixtures::tiny().root("").file("stonescript.json", json!({"platform": name}).to_string());
    let answer = sql::done(sql::register(&mut control, &files.tar_gz(), None, None));
    assert_eq!(answer["database"], format!("{name}_main"), "{answer}");
    assert_eq!(cluster.http().call(&name, None, "f", json!([])).value(), 1);
    let answer = sql::done(sql::migrate(&mut control, &files.tar_gz(), None, None));
    assert_eq!(answer["databases_updated"], json!([format!("{name}_main")]), "{answer}");
    refused(sql::register(&mut control, &fixtures::tiny().tar_gz(), None, None)).meant().says("platform");
    // Words of the caller come before those of the manifest or conflict with them; they are never ignored.
    let other = unique("manifest");
    let answer = cluster.http().register(&other, None, &files.tar_gz());
    let fine = answer.status == 200 && answer.json["database"] == format!("{other}_main") || answer.status == 400;
    assert!(fine, "{answer}");
}

#[test]
fn archives_may_be_plain_or_compressed_and_rooted_anywhere() {
    let cluster = shared();
    for root in ["postgresql", "", "my-app/postgresql"] {
        for plain in [false, true] {
            let files = fixtures::shop().root(root);
            let bundle = if plain { files.tar() } else { files.tar_gz() };
            let name = unique("root");
            let answer = cluster.http().register(&name, None, &bundle).ok();
            answer.field("functions_deployed", files.count("functions")).field("tables_created", 3);
            assert_eq!(
                cluster.http().call(&name, None, "count_customers", json!([])).value(),
                0,
                "{root:?}, plain {plain}"
            );
        }
    }
}

#[test]
fn what_a_call_did_stays_whatever_the_callers_transaction_does() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "own", &fixtures::shop());
    let mut control = cluster.control();
    let mut transaction = sql::done(control.transaction());
    let call = "SELECT stonescriptdb.call($1, 'add_customer', '[\"Ada\"]')";
    sql::done(transaction.query_one(call, &[&platform.name]));
    sql::done(transaction.rollback());
    assert_eq!(platform.call("count_customers", json!([])).value(), 1);
}

#[test]
fn errors_over_sql_have_postgresqls_own_words() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "sqlerr", &fixtures::shop());
    let mut control = cluster.control();
    platform.call("add_customer", json!(["Ada"])).ok();
    let name = Some(platform.name.as_str());
    refused(sql::call(&mut control, &platform.name, None, "add_customer", &json!(["Ada"])))
        .sqlstate("23505")
        .says("customers_name_key");
    refused(sql::call_rows(&mut control, &platform.name, None, "add_customer", &json!(["Ada"]))).sqlstate("23505");
    refused(sql::call(&mut control, &platform.name, None, "get_product", &json!(["x"]))).sqlstate("22P02");
    refused(sql::call(&mut control, &platform.name, None, "nothing", &json!([]))).meant().says("function_not_found");
    refused(sql::call(&mut control, &platform.name, Some("nobody"), "get_product", &json!([1])))
        .meant()
        .says("database_not_found");
    refused(sql::call(&mut control, &unique("nobody"), None, "get_product", &json!([1])))
        .meant()
        .says("platform_not_found");
    let bad = fixtures::shop().file("tables/zz.pssql", "CREATE TABLE zz (id no_such_type);\n").tar_gz();
    refused(sql::migrate(&mut control, &bad, name, None))
        .sqlstate("42704")
        .says("no_such_type")
        .says("tables/zz.pssql");
    refused(sql::register(&mut control, b"not an archive", name, None)).meant().says("schema_extraction_failed");
    assert_eq!(sql::text(&mut control, "SELECT 1"), "1", "the session lives on");
}

#[test]
fn the_tracking_tables_are_the_gateways() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "tracked", &shop_v2());
    let mut client = platform.connect();
    for (table, columns, count) in [
        ("migrations", "id, migration_file, checksum, applied_at", 1),
        ("types", "id, type_name, type_kind, checksum, source_file, deployed_at", 1),
        ("tables", "id, table_name, checksum, source_file, deployed_at", 4),
        (
            "functions",
            "id, function_name, signature, param_types, return_type, body_checksum, source_file, deployed_at",
            5,
        ),
    ] {
        let query = format!("SELECT count(*) FROM (SELECT {columns} FROM public._stonescriptdb_gateway_{table}) t");
        assert_eq!(sql::text(&mut client, &query), count.to_string(), "rows of {table}");
    }
    let changes = "SELECT count(*) > 0 FROM (SELECT id, change_type, object_name, change_detail, forced, executed_at
                   FROM public._stonescriptdb_gateway_changelog) t";
    assert_eq!(sql::text(&mut client, changes), "t");
    let types = "SELECT pg_typeof(param_types)::text FROM public._stonescriptdb_gateway_functions LIMIT 1";
    assert_eq!(sql::text(&mut client, types), "text[]");
    let names = "SELECT function_name FROM public._stonescriptdb_gateway_functions ORDER BY 1";
    assert_eq!(
        sql::texts(&mut client, names),
        ["add_customer", "count_customers", "get_product", "list_products", "stock_of"]
    );
}

#[test]
fn health_and_workers_say_what_runs() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "healthy", &fixtures::tiny());
    platform.call("f", json!([])).ok();
    let over_http = cluster.http().get("/health").ok().field("status", "healthy").field("postgres_connected", true);
    for number in ["active_pools", "total_connections", "uptime_seconds"] {
        assert!(over_http.json[number].is_number(), "{number}: {over_http}");
    }
    over_http.str("version");
    let mut control = cluster.control();
    let over_sql: Value = sql::done(control.query_one("SELECT stonescriptdb.health()", &[])).get(0);
    assert_eq!(
        (&over_sql["status"], &over_sql["version"]),
        (&json!("healthy"), &over_http.json["version"]),
        "{over_sql}"
    );

    eventually("an executor of the database in the view workers", || {
        platform.call("f", json!([])).ok();
        let workers = sql::texts(&mut control, "SELECT to_jsonb(w)::text FROM stonescriptdb.workers w");
        check(workers.iter().any(|worker| worker.contains(&platform.database())), format!("{workers:?}"))
    });
    let executors = format!(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor' AND datname = '{}'",
        platform.database()
    );
    assert_eq!(sql::text(&mut control, &executors), "t");
}

#[test]
fn a_real_sized_bundle_is_deployed() {
    let cluster = shared();
    let mut files = Files::new();
    for i in 0..30 {
        // Each refers to the next, so that the order of names is the reverse of the right one.
        let next = if i < 29 { format!(", next_id int REFERENCES t{:02} (id)", i + 1) } else { String::new() };
        files = files.file(
            &format!("tables/t{i:02}.pssql"),
            format!("CREATE TABLE t{i:02} (id int PRIMARY KEY, name text{next});\n"),
        );
        for verb in ["get", "list", "count"] {
            let body = format!(
                "CREATE FUNCTION {verb}_t{i:02}(p_id int DEFAULT 0) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM t{i:02}); END $$;\n"
            );
            files = files.file(&format!("functions/{verb}_t{i:02}.pssql"), body);
        }
    }
    let platform = Platform::unregistered(&cluster, "big");
    platform.register_again(&files).ok().field("tables_created", 30).field("functions_deployed", 90);
    assert_eq!(platform.call("count_t29", json!([])).value(), 0);
    let before = Snapshot::of(&cluster, &platform.database());
    platform.register_again(&files).ok();
    platform.assert_unchanged(&before, "nothing is new");
}
