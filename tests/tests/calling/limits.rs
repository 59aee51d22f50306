//! How long a call may take: by default, by the request, by the function, by the platform.

use acceptance::wait::check;
use acceptance::{Answer, Cluster, Files, Platform, eventually, fixtures, sql};
use serde_json::{Value, json};

/// Longer than any test runs.
const FOR_EVER: f64 = 200.0;

/// `nap`, and functions like it with limits of their own.
fn naps() -> Files {
    let nap = |name: &str, limit: &str| {
        format!(
            "CREATE FUNCTION {name}(seconds float8) RETURNS float8 LANGUAGE plpgsql SET statement_timeout = '{limit}' AS\n\
             $$ BEGIN PERFORM pg_sleep(seconds); RETURN seconds; END $$;\n"
        )
    };
    fixtures::tiny()
        .file("functions/short_nap.pssql", nap("short_nap", "300ms"))
        .file("functions/long_nap.pssql", nap("long_nap", "1min"))
        .file("functions/endless_nap.pssql", nap("endless_nap", "0"))
}

fn call(platform: &Platform, limit: &str, function: &str, seconds: f64) -> Answer {
    let http = platform.cluster.http().header("X-Timeout-Ms", limit);
    http.call(&platform.name, None, function, json!([seconds]))
}

#[track_caller]
fn timed_out(answer: Answer) {
    answer.error(504, "query_failed").field("sqlstate", "57014");
}

#[test]
fn a_request_says_how_long_its_call_may_take() {
    let cluster = Cluster::builder().setting("stonescriptdb.call_timeout", "300s").start();
    let platform = Platform::register(&cluster, "asked", &naps());
    timed_out(call(&platform, "200", "nap", FOR_EVER));
    call(&platform, "20000", "nap", 0.0).ok();
    // It was for that call only.
    assert_eq!(platform.call("nap", json!([0.4])).value(), 0.4);
    for nonsense in ["0", "-1", "1.5", "abc", "", "1s", "+5", "000", "0x10"] {
        call(&platform, nonsense, "nap", 0.0).error(400, "invalid_request").says("X-Timeout-Ms");
    }
    let batch = json!({"platform": platform.name, "calls": [
        {"function": "nap", "params": [0]}, {"function": "nap", "params": [FOR_EVER]}]});
    timed_out(cluster.http().header("X-Timeout-Ms", "300").post_json("/call/batch", &batch).field("failed_call", 1));
}

#[test]
fn a_request_may_ask_for_more_than_the_default_and_no_more_than_the_greatest() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.call_timeout", "300ms")
        .setting("stonescriptdb.max_call_timeout", "3s")
        .start();
    let platform = Platform::register(&cluster, "more", &naps());
    timed_out(platform.call("nap", json!([FOR_EVER])));
    assert_eq!(call(&platform, "2500", "nap", 0.7).value(), 0.7);
    for greater in ["3001", "99999999999999999999999"] {
        timed_out(call(&platform, greater, "nap", FOR_EVER));
    }
}

#[test]
fn a_functions_own_limit_counts() {
    let cluster = Cluster::builder().setting("stonescriptdb.call_timeout", "2s").start();
    let platform = Platform::register(&cluster, "own", &naps());
    timed_out(platform.call("short_nap", json!([FOR_EVER])));
    // More than the default, for this function only.
    assert_eq!(platform.call("long_nap", json!([2.5])).value(), 2.5);
    assert_eq!(platform.call("endless_nap", json!([2.5])).value(), 2.5);
    timed_out(platform.call("nap", json!([FOR_EVER])));
    // A request may only lower it.
    timed_out(call(&platform, "200", "long_nap", FOR_EVER));
    timed_out(call(&platform, "200", "endless_nap", FOR_EVER));
    timed_out(call(&platform, "60000", "short_nap", FOR_EVER));
    // Over SQL too.
    let mut control = cluster.control();
    acceptance::refused(sql::call(&mut control, &platform.name, None, "short_nap", &json!([FOR_EVER])))
        .sqlstate("57014");
}

#[test]
fn a_limit_that_is_changed_counts_from_then_on() {
    let cluster = Cluster::builder().setting("stonescriptdb.call_timeout", "300s").start();
    let platform = Platform::register(&cluster, "altered", &naps());
    platform.call("nap", json!([0])).ok();
    let mut database = platform.connect();
    sql::done(database.batch_execute("ALTER FUNCTION nap SET statement_timeout = 250"));
    timed_out(platform.call("nap", json!([FOR_EVER])));
    sql::done(database.batch_execute("ALTER FUNCTION nap RESET statement_timeout"));
    assert_eq!(platform.call("nap", json!([0.5])).value(), 0.5);
}

#[test]
fn within_a_batch_a_functions_limit_is_for_its_call() {
    let cluster = Cluster::builder().setting("stonescriptdb.call_timeout", "300s").start();
    let platform = Platform::register(&cluster, "batchlimit", &naps());
    let batch =
        |calls: Value| cluster.http().post_json("/call/batch", &json!({"platform": platform.name, "calls": calls}));
    let nap = |function: &str, seconds: f64| json!({"function": function, "params": [seconds]});
    batch(json!([nap("short_nap", 0.0), nap("nap", 0.5), nap("short_nap", 0.0)])).ok();
    timed_out(batch(json!([nap("nap", 0.0), nap("short_nap", FOR_EVER)])).field("failed_call", 1));
}

#[test]
fn a_platforms_own_limit_is_that_of_its_call_role() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.call_timeout", "300s")
        .setting("stonescriptdb.worker_idle_timeout", "1s")
        .start();
    let platform = Platform::register(&cluster, "ofrole", &naps());
    platform.call("nap", json!([0])).ok();
    let mut control = cluster.control();
    let alter = format!("ALTER ROLE {} SET statement_timeout = '300ms'", platform.call_role());
    sql::done(control.batch_execute(&alter));
    // As all settings of a role it counts in sessions, here executors, that start after it.
    eventually("the executors to be gone", || {
        let left = sql::text(&mut control, "SELECT count(*) FROM stonescriptdb.workers WHERE database LIKE 'ofrole%'");
        check(left == "0", left)
    });
    timed_out(platform.call("nap", json!([FOR_EVER])));
    assert_eq!(platform.call("long_nap", json!([0.6])).value(), 0.6);
}

#[test]
fn the_limit_of_ordinary_sessions_is_not_that_of_calls() {
    let cluster = Cluster::builder().setting("statement_timeout", "10s").start();
    let platform = Platform::register(&cluster, "ofall", &naps());
    assert_eq!(platform.call("nap", json!([0.0])).value(), 0.0);
    let mut control = cluster.control();
    sql::done(control.batch_execute("ALTER SYSTEM SET statement_timeout = '200ms'"));
    sql::text(&mut control, "SELECT pg_reload_conf()");
    eventually("the reload to be known", || {
        let now = sql::text(&mut cluster.control(), "SHOW statement_timeout");
        check(now == "200ms", now)
    });
    assert_eq!(platform.call("nap", json!([0.5])).value(), 0.5);
    assert_eq!(platform.call("nap", json!([0.5])).value(), 0.5);
}

#[test]
fn a_call_whose_function_is_not_found_in_time_shows_no_statement_of_ours() {
    let cluster = Cluster::builder().start();
    let platform = Platform::register(&cluster, "looked_up", &naps());
    let mut superuser = platform.connect();
    let mut held = sql::done(superuser.transaction());
    sql::done(held.batch_execute("LOCK TABLE public._stonescriptdb_gateway_functions"));
    let answer = call(&platform, "300", "nap", 0.0).error(504, "query_failed").field("sqlstate", "57014");
    assert!(answer.json["context"].is_null() && !answer.text.contains("pg_catalog"), "{answer}");
    sql::done(held.rollback());
    call(&platform, "20000", "nap", 0.0).ok();
}
