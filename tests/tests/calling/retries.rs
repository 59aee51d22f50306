//! Serialization failures and deadlocks are tried again where the caller allows it.

use acceptance::{Answer, Cluster, Files, Platform, shared};
use serde_json::{Value, json};

fn files() -> Files {
    Files::new()
        .file(
            "tables/account.pssql",
            "CREATE SEQUENCE tries;\nCREATE TABLE account (id int PRIMARY KEY, amount int NOT NULL);\n",
        )
        .file("seeders/account.pssql", "INSERT INTO account (id, amount) VALUES (1, 100), (2, 100);\n")
        .file(
            "functions/flaky.pssql",
            "-- Fails so many times; what a sequence gave is not rolled back.\n\
             CREATE FUNCTION flaky(times int, code text) RETURNS bigint LANGUAGE plpgsql AS $$\nDECLARE try bigint := nextval('tries');\nBEGIN\n\
             PERFORM pg_advisory_lock(4711);\nIF try <= times THEN RAISE EXCEPTION 'not yet' USING ERRCODE = code; END IF;\nRETURN try;\nEND $$;\n",
        )
        .file(
            "functions/locks.pssql",
            "CREATE FUNCTION locks() RETURNS bigint LANGUAGE sql AS\n\
             $$ SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND pid = pg_backend_pid() $$;\n",
        )
        .file(
            "functions/start_over.pssql",
            "CREATE FUNCTION start_over() RETURNS bigint LANGUAGE sql AS $$ SELECT setval('tries', 1, false) $$;\n",
        )
        .file(
            "functions/transfer.pssql",
            "CREATE FUNCTION transfer(from_id int, to_id int) RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n\
             UPDATE account SET amount = amount - 1 WHERE id = from_id;\nPERFORM pg_sleep(0.2);\n\
             UPDATE account SET amount = amount + 1 WHERE id = to_id;\nEND $$;\n",
        )
}

fn flaky(platform: &Platform, times: u32, code: &str, retry: Option<bool>) -> Answer {
    platform.call("start_over", json!([])).ok();
    let mut body = json!({"platform": platform.name, "function": "flaky", "params": [times, code]});
    if let Some(retry) = retry {
        body["retry"] = retry.into();
    }
    platform.cluster.http().post_json("/call", &body)
}

#[test]
fn a_call_is_tried_again_if_it_asks_for_that() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers_per_database", "1").start();
    let platform = Platform::register(&cluster, "flaky", &files());
    for code in ["40001", "40P01"] {
        for times in 0..=3 {
            let answer = flaky(&platform, times, code, Some(true)).ok();
            assert_eq!((answer.value(), answer.number("retries")), (json!(times + 1), i64::from(times)), "{answer}");
        }
        let answer = flaky(&platform, 4, code, Some(true)).error(409, "query_failed");
        answer.field("sqlstate", code);
        for retry in [None, Some(false)] {
            flaky(&platform, 1, code, retry).error(409, "query_failed");
            let answer = flaky(&platform, 0, code, retry).ok();
            assert!(answer.json["retries"].is_null(), "{answer}");
        }
    }
    // Other errors are no use trying again.
    let answer = flaky(&platform, 1, "23505", Some(true)).error(409, "query_failed");
    answer.field("sqlstate", "23505");
    assert_eq!(platform.call("locks", json!([])).value(), 0, "no attempt leaves a lock");
}

#[test]
fn a_batch_is_tried_again_as_a_whole() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "flakybatch", &files());
    let batch = |retry: Value| {
        platform.call("start_over", json!([])).ok();
        let calls = json!([{"function": "transfer", "params": [1, 2]}, {"function": "flaky", "params": [2, "40001"]}]);
        cluster.http().post_json("/call/batch", &json!({"platform": platform.name, "calls": calls, "retry": retry}))
    };
    let answer = batch(json!(true)).ok().field("retries", 2);
    assert_eq!(answer.json["results"][1]["rows"][0]["flaky"], 3, "{answer}");
    batch(json!(false)).error(409, "query_failed").field("failed_call", 1);
}

#[test]
fn how_often_is_a_setting() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_call_retries", "0").start();
    let platform = Platform::register(&cluster, "noretry", &files());
    flaky(&platform, 1, "40001", Some(true)).error(409, "query_failed");
    flaky(&platform, 0, "40001", Some(true)).ok().field("retries", 0);
}

#[test]
fn the_time_limit_is_for_all_attempts() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_call_retries", "100").start();
    let platform = Platform::register(&cluster, "retrytime", &files());
    let body = json!({"platform": platform.name, "function": "flaky", "params": [1000, "40001"], "retry": true});
    let answer = cluster.http().header("X-Timeout-Ms", "500").post_json("/call", &body);
    answer.error(504, "query_failed").field("sqlstate", "57014");
}

#[test]
fn real_deadlocks_are_survived() {
    let cluster = Cluster::builder().setting("deadlock_timeout", "50ms").start();
    let platform = Platform::register(&cluster, "deadlock", &files());
    let transfer = |from: i32, to: i32| {
        let body = json!({"platform": platform.name, "function": "transfer", "params": [from, to], "retry": true});
        cluster.http().post_json("/call", &body).ok().number("retries")
    };
    let retries: i64 = std::thread::scope(|scope| {
        let one = scope.spawn(|| (0..3).map(|_| transfer(1, 2)).sum::<i64>());
        let other = scope.spawn(|| (0..3).map(|_| transfer(2, 1)).sum::<i64>());
        one.join().expect("one") + other.join().expect("the other")
    });
    assert!(retries > 0, "they never met");
    let mut database = platform.connect();
    let amounts = acceptance::sql::texts(&mut database, "SELECT amount FROM account ORDER BY id");
    assert_eq!(amounts, ["100", "100"]);
}
