//! What fails when rows have left already: the last line says it, and the stream is cut off.

use acceptance::{Platform, shared, sql};
use serde_json::json;

use crate::{Streamed, check_log, files, pid};

#[test]
fn an_error_on_the_way_is_the_last_line() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "midway", &files());
    let before = pid(&platform);
    let (rows, error) = Streamed::of(&platform, "broken_at", json!([30_000])).broken();
    assert!(rows.len() > 1_000 && rows.len() < 30_000, "{} rows", rows.len());
    assert!(rows.iter().zip(1..).all(|(row, i)| row["i"] == i));
    assert_eq!((&error["error"], &error["sqlstate"]), (&json!("query_failed"), &json!("22012")), "{error}");
    assert_eq!(error["database"], platform.database());
    assert_eq!(pid(&platform), before, "the executor goes on");
    check_log(&cluster);
}

#[test]
fn a_limit_of_time_on_the_way() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "midtime", &files());
    let before = pid(&platform);
    let http = cluster.http().header("X-Timeout-Ms", "3000");
    for params in [json!([20_000]), json!([2_000_000_000])] {
        let (rows, error) = Streamed::by(&http, &platform, "slow_at", params).broken();
        assert!(!rows.is_empty());
        assert_eq!(error["sqlstate"], "57014", "{error}");
    }
    assert_eq!(pid(&platform), before);
    check_log(&cluster);
}

#[test]
fn a_complete_stream_is_a_committed_one() {
    let cluster = shared();
    let files =
        files().file("tables/kept.pssql", "CREATE TABLE kept (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);\n").file(
            "functions/keep.pssql",
            "CREATE FUNCTION keep(p_id int, n int) RETURNS TABLE (i int, filler text) LANGUAGE plpgsql AS $$\nBEGIN\n\
             INSERT INTO kept VALUES (p_id);\nRETURN QUERY SELECT * FROM numbers(n);\nEND $$;\n",
        );
    let platform = Platform::register(&cluster, "kept", &files);
    let kept = || sql::texts(&mut platform.connect(), "SELECT id FROM kept ORDER BY id");
    for (id, n) in [(1, 10), (2, 10_000)] {
        assert_eq!(Streamed::of(&platform, "keep", json!([id, n])).rows().len(), n);
    }
    assert_eq!(kept(), ["1", "2"]);
    // The commit fails: few rows have not left by then, of many the last have not.
    let http = cluster.http().header("Accept", crate::LINES);
    http.call(&platform.name, None, "keep", json!([1, 10])).error(409, "query_failed").field("sqlstate", "23505");
    let (rows, error) = Streamed::of(&platform, "keep", json!([1, 10_000])).broken();
    assert!(rows.len() > 1_000 && rows.len() < 10_000, "{} rows", rows.len());
    assert_eq!(error["sqlstate"], "23505", "{error}");
    assert_eq!(kept(), ["1", "2"]);
    check_log(&cluster);
}

#[test]
fn an_executor_that_ends_on_the_way() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "ended", &files());
    // Other tests of this server sleep too.
    let asleep = format!("FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = '{}'", platform.database());
    let streamed = std::thread::scope(|scope| {
        let call = scope.spawn(|| Streamed::of(&platform, "slow_at", json!([20_000])));
        acceptance::eventually("the function to sleep", || {
            let pids = sql::texts(&mut cluster.control(), &format!("SELECT pid::text {asleep}"));
            acceptance::wait::check(!pids.is_empty(), "not yet")
        });
        sql::text(&mut cluster.control(), &format!("SELECT pg_terminate_backend(pid)::text {asleep}"));
        call.join().expect("the call")
    });
    let (rows, error) = streamed.broken();
    assert!(!rows.is_empty());
    assert_eq!((&error["error"], &error["sqlstate"]), (&json!("connection_failed"), &json!("57P01")), "{error}");
    platform.call("f", json!([])).ok();
}
