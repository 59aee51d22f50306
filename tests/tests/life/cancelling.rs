//! A caller that goes away takes its work with it.

use std::time::{Duration, Instant};

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures, refused, sql};
use postgres::NoTls;
use serde_json::json;

use crate::{asleep, check_undisturbed, executors, wait_asleep, wait_back};

#[track_caller]
fn wait_nobody_asleep(cluster: &Cluster) {
    eventually("the executor's query to be cancelled", || {
        let asleep = asleep(cluster);
        check(asleep.is_empty(), format!("{asleep:?}"))
    });
}

#[test]
fn cancelling_a_sql_call_cancels_the_work_in_the_executor() {
    let cluster = Cluster::builder().setting("stonescriptdb.call_timeout", "300s").start();
    let platform = Platform::register(&cluster, "ctrlc", &fixtures::tiny());
    let mut session = cluster.control();
    for function in ["call", "call_rows"] {
        let mut control = cluster.control();
        let cancel = control.cancel_token();
        let start = Instant::now();
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| {
                let sql = format!("SELECT * FROM stonescriptdb.{function}($1, 'nap', '[200]')");
                let failure = refused(control.query(&sql, &[&platform.name]));
                (failure, sql::text(&mut control, "SELECT 1"))
            });
            wait_asleep(&cluster, 1);
            cancel.cancel_query(NoTls).expect("the cancel request");
            let (failure, alive) = caller.join().expect("the caller");
            failure.sqlstate("57014");
            assert_eq!(alive, "1");
        });
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        wait_nobody_asleep(&cluster);
    }
    wait_back(&cluster, &platform);
    check_undisturbed(&mut session, &cluster);
}

#[test]
fn a_sql_callers_statement_timeout_counts() {
    let cluster = Cluster::builder().setting("stonescriptdb.call_timeout", "300s").start();
    let platform = Platform::register(&cluster, "sqltime", &fixtures::tiny());
    let mut control = cluster.control();
    sql::done(control.batch_execute("SET statement_timeout = '500ms'"));
    refused(sql::call(&mut control, &platform.name, None, "nap", &json!([200]))).sqlstate("57014");
    wait_nobody_asleep(&cluster);
}

#[test]
fn a_sql_caller_that_is_terminated_takes_its_call_along() {
    let cluster = Cluster::builder().setting("stonescriptdb.call_timeout", "300s").start();
    let platform = Platform::register(&cluster, "sqlgone", &fixtures::tiny());
    let mut session = cluster.control();
    std::thread::scope(|scope| {
        let mut control = cluster.control();
        let pid = sql::text(&mut control, "SELECT pg_backend_pid()");
        let platform = &platform;
        let caller = scope.spawn(move || sql::call(&mut control, &platform.name, None, "nap", &json!([200])).is_err());
        wait_asleep(&cluster, 1);
        sql::text(&mut session, &format!("SELECT pg_terminate_backend({pid})"));
        assert!(caller.join().expect("the caller"));
    });
    wait_nobody_asleep(&cluster);
    wait_back(&cluster, &platform);
    check_undisturbed(&mut session, &cluster);
}

#[test]
fn an_http_client_that_disconnects_takes_its_call_along() {
    let cluster = Cluster::builder().setting("stonescriptdb.call_timeout", "300s").start();
    let platform = Platform::register(&cluster, "gone", &fixtures::tiny());
    let mut session = cluster.control();
    let http = cluster.http();
    for _ in 0..3 {
        let mut wires: Vec<_> = (0..3).map(|_| http.wire()).collect();
        for wire in &mut wires {
            wire.send(&http.call_bytes(&platform.name, "nap", &json!([200]))).expect("sent");
        }
        eventually("a call to run", || {
            let asleep = asleep(&cluster);
            check(!asleep.is_empty(), "none")
        });
        let at_work = asleep(&cluster);
        drop(wires);
        wait_nobody_asleep(&cluster);
        // Their queries were cancelled at once. An executor that does not answer to that within seconds would have been ended.
        let left = executors(&cluster, &platform.database());
        assert!(at_work.iter().all(|pid| left.contains(pid)), "of {at_work:?} {left:?} are left");
    }
    wait_back(&cluster, &platform);
    check_undisturbed(&mut session, &cluster);
}

#[test]
fn cancelling_a_deployment_over_sql_leaves_nothing() {
    let cluster = Cluster::start();
    let platform = Platform::unregistered(&cluster, "canceldep");
    let slow = fixtures::tiny().file("migrations/001_slow.pssql", "SELECT pg_sleep(200);\n").tar_gz();
    let mut control = cluster.control();
    let cancel = control.cancel_token();
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| refused(sql::register(&mut control, &slow, Some(&platform.name), None)));
        wait_asleep(&cluster, 1);
        cancel.cancel_query(NoTls).expect("the cancel request");
        caller.join().expect("the caller").sqlstate("57014");
    });
    wait_nobody_asleep(&cluster);
    eventually("the half-built database to be gone", || check(!platform.exists(), "it is there"));
    platform.assert_absent("the register was cancelled");
    platform.register_again(&fixtures::tiny()).ok();
    assert_eq!(platform.call("f", json!([])).value(), 1);
}
