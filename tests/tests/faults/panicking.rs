//! Faults of the extension itself, made by routes that builds for tests have (feature `pg_test`).

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures};
use serde_json::json;

/// Whether the installed build is one for tests: with another there is nothing to see.
fn has_faults(cluster: &Cluster) -> bool {
    let there = cluster.http().post_json("/test/panic", &json!({})).status != 404;
    if !there {
        println!("the installed extension has no faults to offer: install it with --features pg_test");
    }
    there
}

#[test]
fn a_panic_in_a_request_ends_that_request_only() {
    let cluster = Cluster::start();
    if !has_faults(&cluster) {
        return;
    }
    let platform = Platform::register(&cluster, "panic", &fixtures::tiny());
    let before = cluster.http().get("/health").number("uptime_seconds");
    std::thread::scope(|scope| {
        let nap = scope.spawn(|| platform.call("nap", json!([1.0])));
        for _ in 0..20 {
            let answer = cluster.http().post_json("/test/panic", &json!({})).error(500, "internal_error").shaped();
            assert!(!answer.to_string().contains("a test panics"), "what panicked is nobody's business: {answer}");
        }
        assert_eq!(nap.join().expect("the caller").value(), 1.0, "another request goes on");
    });
    assert!(cluster.http().get("/health").number("uptime_seconds") >= before, "the server worker is the same");
    assert!(cluster.log().contains("a test panics in a handler"), "the log has it: {}", cluster.log());
}

#[test]
fn a_task_that_panics_has_the_server_worker_start_anew() {
    let cluster = Cluster::start();
    if !has_faults(&cluster) {
        return;
    }
    let platform = Platform::register(&cluster, "panictask", &fixtures::tiny());
    let mut session = cluster.control();
    let pid = |session: &mut postgres::Client| {
        let query = "SELECT pid::text FROM pg_stat_activity WHERE backend_type = 'stonescriptdb server'";
        acceptance::sql::texts(session, query)
    };
    let before = pid(&mut session);
    cluster.http().post_json("/test/panic-in-task", &json!({}));
    eventually("another server worker", || {
        let now = pid(&mut session);
        check(now.len() == 1 && now != before, format!("{now:?}"))
    });
    eventually("service", || {
        let answer = cluster.http().try_call(&platform.name, None, "f", json!([])).map_err(|e| e.to_string())?;
        check(answer.status == 200, answer)
    });
    // PostgreSQL has not noticed: the session is the same.
    assert_eq!(acceptance::sql::text(&mut session, "SELECT 1::text"), "1");
}
