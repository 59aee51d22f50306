//! What those are told for whom there is no executor.

use acceptance::{Answer, Cluster, Platform, fixtures};
use serde_json::json;

use crate::{wait_for, wake_all};

/// A tenant whose one executor sleeps while `meanwhile` runs.
fn while_asleep(cluster: &Cluster, platform: &Platform, meanwhile: impl FnOnce()) {
    let mut control = cluster.control();
    std::thread::scope(|scope| {
        scope.spawn(|| platform.call("nap", json!([600])));
        wait_for(&mut control, platform, &platform.database(), "busy", 1);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        wake_all(&mut control);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn who_waited_for_too_long_is_told_what_was_in_the_way() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_workers_per_database", "1")
        .setting("stonescriptdb.queue_timeout", "1200ms")
        .start();
    let platform = Platform::register(&cluster, "late", &fixtures::tiny());
    while_asleep(&cluster, &platform, || {
        let answer = platform.call("f", json!([])).error(503, "pool_exhausted").field("database", platform.database());
        assert_eq!(answer.header("retry-after"), Some("2"), "{answer}");
        answer.says("none came free in 1200 ms").says("max_workers_per_database").says("queue_timeout");
    });
    platform.call("f", json!([])).ok();
}

/// Two call while the only executor sleeps, and there is room for one of them to wait: gives the answer of the other.
fn refused_with(setting: &str) -> Answer {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_workers_per_database", "1")
        .setting(setting, "1")
        .setting("stonescriptdb.queue_timeout", "60s")
        .start();
    let platform = Platform::register(&cluster, "full", &fixtures::tiny());
    let mut refused = None;
    std::thread::scope(|scope| {
        while_asleep(&cluster, &platform, || {
            // One of the two has the place in the queue, and waits until the sleeper is woken.
            let calls = [scope.spawn(|| platform.call("f", json!([]))), scope.spawn(|| platform.call("f", json!([])))];
            acceptance::eventually("the refusal", || {
                let done = calls.iter().filter(|call| call.is_finished()).count();
                acceptance::wait::check(done == 1, done)
            });
            wake_all(&mut cluster.control());
            let mut answers = calls.map(|call| call.join().expect("a caller"));
            answers.sort_by_key(|answer| answer.status);
            let [answered, other] = answers;
            answered.ok();
            refused = Some(other);
        });
    });
    refused.expect("a refusal").error(503, "pool_exhausted").says(setting)
}

#[test]
fn who_finds_the_queue_full_is_told_so_at_once() {
    let refused = refused_with("stonescriptdb.max_queue");
    let seconds = refused.header("retry-after").and_then(|seconds| seconds.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| seconds >= 1), "{refused}");
}

#[test]
fn the_queues_of_all_have_an_end_too() {
    refused_with("stonescriptdb.max_queue_total");
}

#[test]
fn without_a_free_slot_for_a_process_the_server_lives_on() {
    // Of the four, one is the server worker's and one PostgreSQL's own.
    let cluster = Cluster::builder().setting("max_worker_processes", "4").start();
    let platform = Platform::register(&cluster, "slots", &fixtures::tiny());
    let mut session = cluster.control();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| platform.call("nap", json!([0.2])).ok());
        }
    });
    assert_eq!(acceptance::sql::text(&mut session, "SELECT 1"), "1", "an ordinary session was ended");
}
