//! Errors: of the function, by SQLSTATE; of the request; and what is not to be called at all.

use std::fmt::Write;

use acceptance::{Cluster, Files, Platform, fixtures, shared, sql, unique};
use serde_json::json;

/// Name of a function, its body, the status, the SQLSTATE.
const RAISES: &[(&str, &str, u16, &str)] = &[
    ("plain", "RAISE EXCEPTION 'no'", 400, "P0001"),
    ("teapot", "RAISE EXCEPTION 'short and stout' USING ERRCODE = 'PT418'", 418, "PT418"),
    ("gone", "RAISE EXCEPTION 'gone' USING ERRCODE = 'PT410'", 410, "PT410"),
    ("busy", "RAISE EXCEPTION 'busy' USING ERRCODE = 'PT503'", 503, "PT503"),
    ("twice", "INSERT INTO parents VALUES (1), (1)", 409, "23505"),
    ("orphan", "INSERT INTO children VALUES (1, 99)", 409, "23503"),
    ("missing", "INSERT INTO parents VALUES (NULL)", 422, "23502"),
    ("negative", "INSERT INTO parents VALUES (-1)", 422, "23514"),
    ("by_zero", "PERFORM 1 / zero FROM (SELECT 0 AS zero) z", 422, "22012"),
    ("no_number", "PERFORM 'x'::text::int", 422, "22P02"),
    ("too_large", "PERFORM 300000::int::text::smallint", 422, "22003"),
    ("forbidden", "RAISE EXCEPTION 'not yours' USING ERRCODE = '42501'", 403, "42501"),
    ("serial", "RAISE EXCEPTION 'again' USING ERRCODE = '40001'", 409, "40001"),
    ("dead", "RAISE EXCEPTION 'again' USING ERRCODE = '40P01'", 409, "40P01"),
    ("cancelled", "RAISE EXCEPTION 'too long' USING ERRCODE = '57014'", 504, "57014"),
    ("full", "RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'", 503, "53100"),
    ("stopping", "RAISE EXCEPTION 'stopping' USING ERRCODE = '57P01'", 503, "57P01"),
    ("undefined", "EXECUTE 'SELECT * FROM no_such_table'", 500, "42P01"),
    ("syntax", "EXECUTE 'SELEC 1'", 500, "42601"),
    ("internal", "RAISE EXCEPTION 'odd' USING ERRCODE = 'XX001'", 500, "XX001"),
    ("asserted", "ASSERT false, 'never'", 500, "P0004"),
    ("strictly", "DECLARE x int; BEGIN SELECT id INTO STRICT x FROM parents WHERE id = 77; END", 500, "P0002"),
    ("deep", "PERFORM deep()", 500, "54001"),
];

fn raising() -> Files {
    let mut functions = String::new();
    for (name, body, _, _) in RAISES {
        writeln!(functions, "CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {body}; END $$;")
            .expect("memory");
    }
    Files::new()
        .file("tables/parents.pssql", "CREATE TABLE parents (id int PRIMARY KEY CHECK (id > 0));\n")
        .file("tables/children.pssql", "CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents);\n")
        .file("functions/raising.pssql", functions)
        .file(
            "functions/detailed.pssql",
            "CREATE FUNCTION detailed() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n    RAISE EXCEPTION 'the message' USING DETAIL = 'the detail', HINT = 'the hint';\nEND $$;\n",
        )
        .file(
            "functions/add_then_fail.pssql",
            "CREATE FUNCTION add_then_fail(p_id int) RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n    INSERT INTO parents VALUES (p_id);\n    RAISE EXCEPTION 'no';\nEND $$;\n",
        )
        .file("functions/count_parents.pssql", "CREATE FUNCTION count_parents() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM parents';\n")
        .file("functions/pid.pssql", "CREATE FUNCTION pid() RETURNS int LANGUAGE sql AS 'SELECT pg_backend_pid()';\n")
        .file("tables/late.pssql", "CREATE TABLE late (id int PRIMARY KEY, parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED);\n")
        .file("functions/deferred.pssql", "CREATE FUNCTION deferred() RETURNS int LANGUAGE sql AS 'INSERT INTO late VALUES (1, 4711) RETURNING id';\n")
}

#[test]
fn an_error_of_the_function_has_the_status_of_its_sqlstate() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "raise", &raising());
    let mut wrong = String::new();
    for (name, _, status, sqlstate) in RAISES {
        let answer = platform.call(name, json!([]));
        if answer.status != *status || answer.code() != "query_failed" || answer.json["sqlstate"] != *sqlstate {
            writeln!(wrong, "{name}: {status} query_failed {sqlstate} expected, but: {answer}\n").expect("memory");
        } else {
            answer.shaped();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert_eq!(platform.call("count_parents", json!([])).value(), 0, "nothing of the failed calls is left");
}

#[test]
fn an_error_comes_whole() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "whole", &raising());
    let answer = platform.call("detailed", json!([])).error(400, "query_failed");
    let answer = answer.field("detail", "the detail").field("hint", "the hint").says("the message");
    assert!(answer.str("context").contains("detailed()"), "PL/pgSQL's own context expected: {answer}");
    platform.call("twice", json!([])).error(409, "query_failed").says("parents_pkey");
    // One that only the commit finds out is no success.
    platform.call("deferred", json!([])).error(409, "query_failed").field("sqlstate", "23503");
    assert_eq!(sql::text(&mut platform.connect(), "SELECT count(*) FROM late"), "0");
}

#[test]
fn a_failed_call_is_rolled_back_and_its_worker_lives_on() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers_per_database", "1").start();
    let platform = Platform::register(&cluster, "rollback", &raising());
    let pid = platform.call("pid", json!([])).value();
    for i in 1..=20 {
        platform.call("add_then_fail", json!([i])).error(400, "query_failed");
        platform.call("undefined", json!([])).error(500, "query_failed");
    }
    assert_eq!(platform.call("count_parents", json!([])).value(), 0);
    assert_eq!(platform.call("pid", json!([])).value(), pid, "another executor took over");
}

#[test]
fn a_call_that_takes_too_long_is_stopped() {
    let files = fixtures::tiny()
        .file("functions/spin.pssql", "CREATE FUNCTION spin() RETURNS void LANGUAGE plpgsql AS $$ BEGIN LOOP END LOOP; END $$;\n")
        .file(
            "functions/stubborn.pssql",
            "CREATE FUNCTION stubborn() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n    PERFORM set_config('statement_timeout', '0', false);\n    \
             PERFORM pg_sleep(60);\nEND $$;\n",
        )
        .file(
            "functions/swallowing.pssql",
            "CREATE FUNCTION swallowing() RETURNS text LANGUAGE plpgsql AS $$\nBEGIN\n    PERFORM pg_sleep(60);\n    RETURN 'slept';\n\
             EXCEPTION WHEN OTHERS THEN RETURN 'swallowed';\nEND $$;\n",
        );
    let cluster = Cluster::builder().setting("stonescriptdb.call_timeout", "500ms").start();
    let platform = Platform::register(&cluster, "slow", &files);
    for (function, params) in
        [("nap", json!([60])), ("spin", json!([])), ("stubborn", json!([])), ("swallowing", json!([]))]
    {
        platform.call(function, params).error(504, "query_failed").field("sqlstate", "57014");
        // And the next one has all of its time again.
        assert_eq!(platform.call("nap", json!([0.1])).value(), 0.1, "after {function}");
    }
    assert_eq!(platform.call("f", json!([])).value(), 1);
}

#[test]
fn only_what_a_bundle_deployed_is_called() {
    let cluster = shared();
    let files = fixtures::shop().file("extensions/pgcrypto.sql", "-- from the bundle\n");
    let platform = Platform::register(&cluster, "locked", &files);
    sql::done(platform.connect().batch_execute(
        "CREATE FUNCTION by_hand(a int) RETURNS int LANGUAGE sql AS 'SELECT a'; GRANT EXECUTE ON FUNCTION by_hand TO PUBLIC;
         CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO PUBLIC;
         CREATE FUNCTION other.get_product(a bigint) RETURNS int LANGUAGE sql AS 'SELECT 666'",
    ));
    let by_hand = platform.call("by_hand", json!([1]));
    by_hand.error(403, "unauthorized_function");
    platform.call("public.by_hand", json!([1])).error(403, "unauthorized_function");

    for (function, params) in [
        ("pg_sleep", json!([0])),
        ("pg_catalog.pg_sleep", json!([0])),
        ("pg_read_file", json!(["/etc/passwd"])),
        ("set_config", json!(["work_mem", "1GB", false])),
        ("lo_import", json!(["/etc/passwd"])),
        ("pg_terminate_backend", json!([1])),
        ("now", json!([])),
        ("digest", json!(["x", "sha256"])),
        ("gen_random_bytes", json!([8])),
        ("other.get_product", json!([1])),
        ("information_schema._pg_truetypid", json!([])),
    ] {
        let answer = platform.call(function, params).client_error();
        let right = (answer.status, answer.code()) == (403, "unauthorized_function")
            || (answer.status, answer.code()) == (404, "function_not_found");
        assert!(right, "{function}: {answer}");
    }
    // Nor does a schema put before public by hand change which function is meant.
    let role = platform.call_role();
    sql::done(platform.connect().batch_execute(&format!(
        "ALTER DATABASE {} SET search_path = other, public; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA other TO \"{role}\"",
        platform.database()
    )));
    assert_eq!(platform.call("get_product", json!([1])).row()["name"], "Pen");
}

#[test]
fn an_unknown_platform_tenant_or_database_is_404() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "known", &fixtures::tiny());
    cluster.http().call(&unique("nobody"), None, "f", json!([])).error(404, "platform_not_found");
    cluster.http().call(&unique("nobody"), Some("acme"), "f", json!([])).error(404, "platform_not_found");
    platform.call_tenant("nobody", "f", json!([])).error(404, "database_not_found");
    // Databases that are there but are nobody's.
    cluster.http().call("postgres", None, "f", json!([])).error(404, "platform_not_found");
    cluster.http().call("template1", None, "f", json!([])).error(404, "platform_not_found");
    cluster.http().call("template1", Some("x\u{0}y"), "f", json!([])).client_error();
}

#[test]
fn the_tenants_name_does_not_reach_another_platforms_database() {
    let cluster = shared();
    let (first, second) = (unique("shopa"), unique("shopb"));
    let http = cluster.http();
    http.register(&first, None, &fixtures::tiny().tar_gz()).ok();
    http.register(&format!("{first}_x"), Some("y"), &fixtures::tiny().tar_gz()).ok();
    http.register(&second, None, &fixtures::tiny().tar_gz()).ok();
    // first + x_y would be the database of first_x + y.
    let answer = http.call(&first, Some("x_y"), "f", json!([])).client_error();
    let right = (answer.status, answer.code()) == (404, "database_not_found")
        || (answer.status, answer.code()) == (403, "platform_isolation_violation");
    assert!(right, "{answer}");
    for tenant in [format!("../{second}"), format!("{second}_main"), format!("'; \\c {second}_main")] {
        http.call(&first, Some(&tenant), "f", json!([])).client_error();
    }
}
