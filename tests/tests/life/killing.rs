//! Workers that are told to end in the middle of calls: the cluster stays up, callers get an error or an answer, service comes back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use acceptance::server::signal;
use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures, sql};
use rustix::process::Signal;
use serde_json::json;

use crate::{check_undisturbed, executors, wait_asleep, wait_back};

fn pid(text: &str) -> i32 {
    text.parse().expect("a process id")
}

#[track_caller]
fn server_pid(cluster: &Cluster) -> String {
    let query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'stonescriptdb server'";
    eventually("one server worker", || {
        let mut pids = sql::texts(&mut cluster.control(), query);
        if pids.len() == 1 { Ok(pids.remove(0)) } else { Err(format!("{pids:?}")) }
    })
}

/// Calls from several clients at once while `disturb` runs; every one ends with an answer, or with its connection at the latest.
fn under_calls(cluster: &Cluster, platform: &Platform, disturb: impl FnOnce()) {
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(answer) = cluster.http().try_call(&platform.name, None, "nap", json!([0.05])) {
                        assert!(answer.status == 200 || answer.status >= 500 || answer.status == 409, "{answer}");
                        answered.fetch_add(usize::from(answer.status == 200), Ordering::Relaxed);
                    } else {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        disturb();
        std::thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
    });
    assert!(answered.into_inner() > 0, "not one call was answered");
}

#[test]
fn an_executor_is_terminated_in_the_middle_of_a_call() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "killex", &fixtures::tiny());
    let mut session = cluster.control();
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| platform.call("nap", json!([30])));
        let sleeping = wait_asleep(&cluster, 1);
        signal(pid(&sleeping[0]), Signal::TERM);
        let answer = caller.join().expect("the caller");
        assert!(answer.status >= 500, "an error expected: {answer}");
        answer.shaped();
    });
    wait_back(&cluster, &platform);
    check_undisturbed(&mut session, &cluster);
}

#[test]
fn executors_are_terminated_again_and_again_under_calls() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "killmany", &fixtures::tiny());
    let mut session = cluster.control();
    under_calls(&cluster, &platform, || {
        for _ in 0..10 {
            for executor in executors(&cluster, &platform.database()) {
                signal(pid(&executor), Signal::TERM);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    wait_back(&cluster, &platform);
    check_undisturbed(&mut session, &cluster);
}

#[test]
fn an_administrator_cancels_or_terminates_a_call_by_sql() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "pgcancel", &fixtures::tiny());
    let mut session = cluster.control();
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| platform.call("nap", json!([30])));
        let sleeping = wait_asleep(&cluster, 1);
        sql::text(&mut session, &format!("SELECT pg_cancel_backend({})", sleeping[0]));
        let answer = caller.join().expect("the caller");
        answer.error(504, "query_failed").field("sqlstate", "57014");

        let caller = scope.spawn(|| platform.call("nap", json!([30])));
        let sleeping = wait_asleep(&cluster, 1);
        sql::text(&mut session, &format!("SELECT pg_terminate_backend({})", sleeping[0]));
        let answer = caller.join().expect("the caller");
        assert!(answer.status >= 500, "an error expected: {answer}");
    });
    wait_back(&cluster, &platform);
    check_undisturbed(&mut session, &cluster);
}

#[test]
fn the_server_worker_is_terminated_under_calls() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "killsrv", &fixtures::tiny());
    let mut session = cluster.control();
    for _ in 0..3 {
        let before = server_pid(&cluster);
        under_calls(&cluster, &platform, || {
            signal(pid(&before), Signal::TERM);
            eventually("another server worker", || {
                let now = server_pid(&cluster);
                check(now != before, now)
            });
        });
        cluster.wait_ready();
        wait_back(&cluster, &platform);
        check_undisturbed(&mut session, &cluster);
    }
    // Executors of the server workers that went are gone too, or have been taken over: they do not pile up.
    eventually("no more executors than there may be", || {
        let count = executors(&cluster, &platform.database()).len();
        let limit: usize =
            sql::text(&mut session, "SHOW stonescriptdb.max_workers_per_database").parse().unwrap_or(usize::MAX);
        // Two roles may be at work in a database, the call role and, while it deploys, the owner.
        check(count <= limit + 1, format!("{count} executors, {limit} at most"))
    });
}

#[test]
fn a_sql_caller_gets_an_error_when_the_server_worker_ends() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "sqlsrv", &fixtures::tiny());
    let mut session = cluster.control();
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut control = cluster.control();
            let result = sql::call(&mut control, &platform.name, None, "nap", &json!([5]));
            (result, sql::text(&mut control, "SELECT 1"))
        });
        wait_asleep(&cluster, 1);
        signal(pid(&server_pid(&cluster)), Signal::TERM);
        let (result, alive) = caller.join().expect("the caller");
        // It drains, so the answer may still come; but the session is never lost.
        if let Err(error) = result {
            assert!(error.as_db_error().is_some(), "{error:?}");
        }
        assert_eq!(alive, "1");
    });
    cluster.wait_ready();
    wait_back(&cluster, &platform);
    check_undisturbed(&mut session, &cluster);
}

#[test]
fn an_executor_ends_during_a_deployment() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "killdep", &fixtures::tiny());
    let before = platform.snapshot();
    let mut session = cluster.control();
    let slow = fixtures::tiny()
        .file("migrations/001_slow.pssql", "CREATE TABLE IF NOT EXISTS half (id int);\nSELECT pg_sleep(30);\n");
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| platform.migrate(&slow));
        let sleeping = wait_asleep(&cluster, 1);
        signal(pid(&sleeping[0]), Signal::TERM);
        let answer = caller.join().expect("the caller");
        assert!(answer.status >= 400, "an error expected: {answer}");
        answer.shaped();
    });
    platform.assert_unchanged(&before, "the deployment was ended");
    check_undisturbed(&mut session, &cluster);
    // Nothing of it stands in the way of the next.
    platform.migrate(&fixtures::tiny()).ok();
    assert_eq!(platform.call("f", json!([])).value(), 1);
}
