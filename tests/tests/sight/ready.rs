//! `/live` and `/ready`.

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures, shared, sql};
use serde_json::json;

#[test]
fn a_server_that_does_its_work_lives_and_is_ready() {
    let cluster = shared();
    let http = cluster.http();
    http.get("/live").ok().field("status", "alive").number("uptime_seconds");
    let answer = http.get("/ready").ok().field("status", "ready");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer}");
    http.request("HEAD", "/ready", &[], b"").ok();
    http.post_json("/ready", &json!({})).error(405, "method_not_allowed");
}

#[test]
fn without_the_extension_it_lives_and_is_not_ready() {
    let cluster = Cluster::builder().without_extension().start();
    let http = cluster.http();
    eventually("it lives", || {
        let answer = http.try_request("GET", "/live", &[], b"");
        check(
            answer.as_ref().is_ok_and(|answer| answer.status == 200),
            format!("{:?}", answer.map(|answer| answer.status)),
        )
    });
    let answer = http.get("/ready").error(503, "not_ready").field("status", "not_ready");
    assert_eq!(answer.json["reasons"][0]["check"], "extension", "{answer}");
    cluster.create_extension();
    eventually("it is ready", || {
        let answer = http.get("/ready");
        check(answer.status == 200, answer)
    });
}

#[test]
fn a_control_database_that_does_not_answer_is_noticed() {
    let cluster = Cluster::start();
    // Whoever reads the registry waits for this lock: so does the server worker's main thread.
    let mut control = cluster.control();
    let mut locked = control.transaction().expect("a transaction");
    locked.batch_execute("LOCK TABLE stonescriptdb.platform IN ACCESS EXCLUSIVE MODE").expect("locked");
    eventually("it is not ready", || {
        let answer = cluster.http().get("/ready");
        check(answer.status == 503, answer)
    });
    let answer = cluster.http().get("/ready").error(503, "not_ready").says("does not answer");
    assert_eq!(answer.json["reasons"][0]["check"], "control_database", "{answer}");
    cluster.http().get("/live").ok();
    locked.rollback().expect("rolled back");
    eventually("it is ready", || {
        let answer = cluster.http().get("/ready");
        check(answer.status == 200, answer)
    });
}

#[test]
fn executors_that_are_all_at_work_while_calls_wait_are_a_reason() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_workers", "2")
        .setting("stonescriptdb.queue_timeout", "60s")
        .start();
    let platform = Platform::register(&cluster, "full", &fixtures::tiny());
    platform.register_tenant("second", &fixtures::tiny()).ok();
    std::thread::scope(|scope| {
        let tenants = ["main", "second", "main", "second"];
        let calls = tenants.map(|tenant| {
            let platform = &platform;
            scope.spawn(move || platform.call_tenant(tenant, "nap", json!([600])).status)
        });
        eventually("it is not ready", || {
            let answer = cluster.http().get("/ready");
            check(answer.status == 503, answer)
        });
        let answer = cluster.http().get("/ready").error(503, "not_ready").says("all 2 executors are at work");
        assert_eq!(answer.json["reasons"][0]["check"], "executors", "{answer}");
        eventually("two work and two wait", || {
            let page = super::page(&cluster);
            let waiting = page.sum("stonescriptdb_queue_length", &[("kind", "calls")]);
            let busy = page.sum("stonescriptdb_executors", &[("state", "busy"), ("kind", "calls")]);
            check((waiting, busy) == (2.0, 2.0), format!("{waiting} wait, {busy} work"))
        });
        let waiting =
            "SELECT kind || ' ' || waiting || ' ' || (longest_ms > 0) FROM stonescriptdb.stats_queues ORDER BY 1";
        assert_eq!(sql::texts(&mut cluster.control(), waiting), ["calls 2 true", "work 0 false"]);
        eventually("all have ended", || {
            let end = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'nap' AND state = 'active'";
            cluster.control().execute(end, &[]).expect("cancelled");
            check(calls.iter().all(|call| call.is_finished()), "some sleep")
        });
    });
    eventually("it is ready", || {
        let answer = cluster.http().get("/ready");
        check(answer.status == 200, answer)
    });
}

#[test]
fn only_allowed_networks_may_ask() {
    let cluster = Cluster::builder().setting("stonescriptdb.allowed_networks", "192.0.2.0/24").without_wait().start();
    eventually("it listens", || {
        let answer = cluster.http().try_request("GET", "/live", &[], b"");
        check(answer.is_ok(), format!("{:?}", answer.map(|answer| answer.status)))
    });
    for path in ["/live", "/ready", "/metrics"] {
        cluster.http().admin().get(path).error(403, "unauthorized");
    }
}
