//! Several calls in one transaction: all or none.

use acceptance::{Answer, Cluster, Files, Platform, refused, shared, sql};
use postgres::types::Json;
use serde_json::{Value, json};

fn files() -> Files {
    Files::new()
        .file(
            "tables/item.pssql",
            "CREATE TABLE parent (id int PRIMARY KEY);\n\
             CREATE TABLE item (id int PRIMARY KEY, parent int REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);\n",
        )
        .file("functions/add.pssql", "CREATE FUNCTION add(id int, parent int DEFAULT NULL) RETURNS int LANGUAGE sql AS 'INSERT INTO item VALUES (id, parent) RETURNING id';\n")
        .file("functions/count_items.pssql", "CREATE FUNCTION count_items() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM item';\n")
        .file("functions/items.pssql", "CREATE FUNCTION items() RETURNS SETOF int LANGUAGE sql AS 'SELECT id FROM item ORDER BY id';\n")
        .file("functions/pad.pssql", "CREATE FUNCTION pad(length int) RETURNS text LANGUAGE sql AS $$ SELECT repeat('x', length) $$;\n")
        .file("functions/xid.pssql", "CREATE FUNCTION xid() RETURNS text LANGUAGE sql AS 'SELECT pg_current_xact_id()::text';\n")
        .file(
            "functions/leave.pssql",
            "CREATE FUNCTION leave() RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET work_mem = '66MB'; CREATE TEMP TABLE left_behind (); END $$;\n",
        )
        .file(
            "functions/look.pssql",
            "CREATE FUNCTION look() RETURNS text LANGUAGE sql AS\n\
             $$ SELECT current_setting('work_mem') || ' ' || (to_regclass('left_behind') IS NOT NULL) $$;\n",
        )
}

fn batch(platform: &Platform, calls: Value) -> Answer {
    platform.cluster.http().post_json("/call/batch", &json!({"platform": platform.name, "calls": calls}))
}

fn call(function: &str, params: Value) -> Value {
    json!({"function": function, "params": params})
}

#[test]
fn results_come_in_order_of_one_transaction() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "batch", &files());
    let answer = batch(
        &platform,
        json!([
            call("count_items", json!([])),
            call("add", json!([1])),
            call("add", json!({"id": 2})),
            call("items", Value::Null),
            {"function": "count_items"},
        ]),
    )
    .ok();
    let results = json!([
        {"rows": [{"count_items": 0}], "row_count": 1},
        {"rows": [{"add": 1}], "row_count": 1},
        {"rows": [{"add": 2}], "row_count": 1},
        {"rows": [{"items": 1}, {"items": 2}], "row_count": 2},
        {"rows": [{"count_items": 2}], "row_count": 1},
    ]);
    assert_eq!(answer.json["results"], results, "{answer}");
    assert!(answer.number("execution_time_ms") >= 0, "{answer}");
    assert!(answer.json["retries"].is_null(), "{answer}");
    let answer = batch(&platform, json!([call("xid", json!([])), call("xid", json!([]))])).ok();
    assert_eq!(answer.json["results"][0], answer.json["results"][1], "one transaction");
    assert_eq!(batch(&platform, json!([])).ok().json["results"], json!([]));
}

#[test]
fn a_failure_undoes_all_and_says_which_it_was() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "batchfail", &files());
    let fails = [
        (call("add", json!([1])), 409, "query_failed"),
        (call("add", json!(["one"])), 422, "query_failed"),
        (call("add", json!([])), 404, "function_not_found"),
        (call("nothing", json!([])), 404, "function_not_found"),
        (call("add", json!(7)), 400, "invalid_request"),
        (call("a b", json!([])), 400, "invalid_request"),
        (call("version", json!([])), 403, "unauthorized_function"),
    ];
    for (last, status, code) in fails {
        let answer = batch(&platform, json!([call("add", json!([1])), call("items", json!([])), last]));
        answer.error(status, code).field("failed_call", 2).field("database", platform.database());
        assert_eq!(platform.call("count_items", json!([])).value(), 0);
    }
    // Of the commit it is no call's.
    let answer = batch(&platform, json!([call("add", json!([1, 7])), call("add", json!([2]))]));
    let answer = answer.error(409, "query_failed").field("sqlstate", "23503");
    assert!(answer.json["failed_call"].is_null(), "{answer}");
    assert_eq!(platform.call("count_items", json!([])).value(), 0);
}

#[test]
fn what_is_no_batch_is_refused() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "nobatch", &files());
    let http = cluster.http();
    let name = &platform.name;
    for body in [
        json!({}),
        json!([]),
        json!({"platform": name}),
        json!({"calls": []}),
        json!({"platform": name, "calls": null}),
        json!({"platform": name, "calls": {}}),
        json!({"platform": name, "calls": [1]}),
        json!({"platform": name, "calls": [{}]}),
        json!({"platform": name, "calls": [{"params": []}]}),
        json!({"platform": name, "calls": [], "retry": "yes"}),
    ] {
        let answer = http.post_json("/call/batch", &body);
        assert_eq!((answer.status, answer.code()), (400, "invalid_request"), "{body}: {answer}");
    }
    http.get("/call/batch").error(405, "method_not_allowed");
    let other = json!({"platform": name, "tenant_id": "nobody", "calls": []});
    http.post_json("/call/batch", &other).error(404, "database_not_found");
}

#[test]
fn a_batch_has_its_limits() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_batch", "5")
        .setting("stonescriptdb.max_result_size", "100kB")
        .setting("stonescriptdb.max_workers_per_database", "1")
        .start();
    let platform = Platform::register(&cluster, "batchlimits", &files());
    batch(&platform, json!(vec![call("count_items", json!([])); 5])).ok();
    let answer = batch(&platform, json!(vec![call("count_items", json!([])); 6]));
    answer.error(400, "invalid_request").says("max_batch");
    // 40 kB fit twice, not three times.
    batch(&platform, json!(vec![call("pad", json!([40_000])); 2])).ok();
    let answer = batch(&platform, json!(vec![call("pad", json!([40_000])); 3]));
    answer.error(500, "query_failed").field("sqlstate", "54000").field("failed_call", 2);
    // What one batch leaves in its session is not for the next.
    let clean = platform.call("look", json!([])).value();
    batch(&platform, json!([call("leave", json!([])), call("look", json!([]))])).ok().says("66MB true");
    assert_eq!(platform.call("look", json!([])).value(), clean);
}

#[test]
fn batches_over_sql() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "sqlbatch", &files());
    platform.register_tenant("acme", &files()).ok();
    let mut control = cluster.control();
    let mut batch = |calls: Value, tenant: Option<&str>| {
        let sql = "SELECT stonescriptdb.call_batch($1, $2, $3)";
        control.query_one(sql, &[&platform.name, &Json(calls), &tenant]).map(|row| row.get::<_, Json<Value>>(0).0)
    };
    let answer = sql::done(batch(json!([call("add", json!([1])), call("count_items", json!([]))]), Some("acme")));
    assert_eq!(answer["results"][1], json!({"rows": [{"count_items": 1}], "row_count": 1}), "{answer}");
    let twice = json!([call("add", json!([2])), call("add", json!([2]))]);
    refused(batch(twice, None)).sqlstate("23505").says("call 1 of the batch");
    refused(batch(json!({"no": "array"}), None)).sqlstate("22023");
    assert_eq!(platform.call("count_items", json!([])).value(), 0);
    assert_eq!(platform.call_tenant("acme", "count_items", json!([])).value(), 1);
}
