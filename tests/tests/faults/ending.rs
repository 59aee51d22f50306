//! The server ends, or the extension is dropped, while calls, idle connections and half requests are there.

use std::time::{Duration, Instant};

use acceptance::wait::check;
use acceptance::{Cluster, Platform, Shutdown, eventually, fixtures, sql};
use serde_json::json;

/// Waits until so many calls sleep.
fn wait_asleep(cluster: &Cluster) {
    let query = "SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor' AND wait_event = 'PgSleep'";
    eventually("a call to run", || {
        let count = sql::text(&mut cluster.control(), query);
        check(count != "0", count)
    });
}

#[test]
fn a_fast_shutdown_is_answered_and_bounded() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "fast", &fixtures::tiny());
    let mut idle = cluster.http().wire();
    let mut half = cluster.http().wire();
    half.send(b"POST /call HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").expect("it is open");
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| cluster.http().try_call(&platform.name, None, "nap", json!([60])));
        wait_asleep(&cluster);
        let started = Instant::now();
        cluster.stop(Shutdown::Fast);
        assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
        // As a session's statement: cancelled, and told so; at worst the connection ends.
        if let Ok(answer) = caller.join().expect("the caller") {
            assert!(answer.status >= 500, "{answer}");
        }
    });
    assert!(idle.is_closed());
    cluster.start_again();
    platform.call("f", json!([])).ok();
}

#[test]
fn a_smart_shutdown_waits_for_no_http_client() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "smart", &fixtures::tiny());
    let _idle = cluster.http().wire();
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| cluster.http().try_call(&platform.name, None, "nap", json!([60])));
        wait_asleep(&cluster);
        let started = Instant::now();
        cluster.stop(Shutdown::Smart);
        assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
        let _ = caller.join().expect("the caller");
    });
    cluster.start_again();
    platform.call("f", json!([])).ok();
}

/// The server worker alone is told to go: what runs has time to end, what is new waits for the next one.
#[test]
fn a_server_worker_that_is_to_end_lets_calls_end() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "drain", &fixtures::tiny());
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| platform.call("nap", json!([1.5])));
        wait_asleep(&cluster);
        cluster.end_server_worker();
        assert_eq!(caller.join().expect("the caller").value(), 1.5);
    });
    cluster.wait_ready();
    platform.call("f", json!([])).ok();
}

#[test]
fn calls_that_run_end_well_while_the_extension_is_dropped() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "dropped", &fixtures::tiny());
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| platform.call("nap", json!([1.5])));
        wait_asleep(&cluster);
        let started = Instant::now();
        sql::done(cluster.control().batch_execute("DROP EXTENSION stonescriptdb"));
        assert!(started.elapsed() < Duration::from_secs(10), "it took {:?}", started.elapsed());
        assert_eq!(caller.join().expect("the caller").value(), 1.5);
    });
    eventually("calls to be refused", || {
        let answer = platform.call("f", json!([]));
        check(answer.status == 404, answer)
    });
    platform.call("f", json!([])).error(404, "platform_not_found").says("CREATE EXTENSION");
    cluster.http().get("/health").field("status", "degraded").says("CREATE EXTENSION");
    let answer = platform.register_again(&fixtures::tiny());
    assert!(answer.status >= 400, "{answer}");
}
