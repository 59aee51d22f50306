//! Databases that are dropped or renamed while executors are attached to them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use acceptance::{Cluster, Platform, fixtures, shared, sql};
use serde_json::json;

use crate::executors;

/// Runs a statement that must not wait for executors.
#[track_caller]
fn at_once(cluster: &Cluster, statement: &str) {
    let start = Instant::now();
    let mut control = cluster.control();
    sql::done(control.batch_execute("SET statement_timeout = '15s'"));
    sql::done(control.batch_execute(statement));
    assert!(start.elapsed() < Duration::from_secs(10), "{statement} took {:?}", start.elapsed());
}

#[test]
fn a_tenants_database_is_dropped_at_once_while_executors_are_attached() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "drop", &fixtures::tiny());
    platform.register_tenant("acme", &fixtures::tiny()).ok();
    let database = platform.database_of("acme");
    for _ in 0..3 {
        platform.call_tenant("acme", "f", json!([])).ok();
        assert!(!executors(&cluster, &database).is_empty(), "no executor is attached: the test would show nothing");
        at_once(&cluster, &format!("DROP DATABASE {database}"));
        platform.call_tenant("acme", "f", json!([])).error(404, "database_not_found");
        let mut control = cluster.control();
        let call = sql::call(&mut control, &platform.name, Some("acme"), "f", &json!([]));
        acceptance::refused(call).meant().says("database_not_found");
        assert_eq!(platform.call("f", json!([])).value(), 1, "the platform's other databases serve");
        platform.register_tenant("acme", &fixtures::tiny()).ok().field("database", database.clone());
    }
    at_once(&cluster, &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"));
    platform.call_tenant("acme", "f", json!([])).error(404, "database_not_found");
}

#[test]
fn a_database_is_dropped_while_calls_keep_coming() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "busydrop", &fixtures::tiny());
    platform.register_tenant("acme", &fixtures::tiny()).ok();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let answer = platform.call_tenant("acme", "nap", json!([0.01]));
                    let right = answer.status == 200
                        || (answer.status, answer.code()) == (404, "database_not_found")
                        || answer.status == 503
                        || answer.code() == "query_failed";
                    assert!(right, "{answer}");
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        let dropped =
            std::panic::catch_unwind(|| at_once(&cluster, &format!("DROP DATABASE {}", platform.database_of("acme"))));
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = dropped {
            std::panic::resume_unwind(panic);
        }
    });
    platform.call_tenant("acme", "f", json!([])).error(404, "database_not_found");
    assert_eq!(platform.call("f", json!([])).value(), 1);
}

#[test]
fn a_database_is_renamed_while_executors_are_attached() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "rename", &fixtures::tiny());
    platform.register_tenant("acme", &fixtures::tiny()).ok();
    platform.call_tenant("acme", "f", json!([])).ok();
    let (old, new) = (platform.database_of("acme"), platform.database_of("elsewhere"));
    at_once(&cluster, &format!("ALTER DATABASE {old} RENAME TO {new}"));
    // Followed to its new name or not found: in no case does a call hang or reach another database.
    let answer = platform.call_tenant("acme", "f", json!([]));
    assert!(answer.status == 200 || (answer.status, answer.code()) == (404, "database_not_found"), "{answer}");
    at_once(&cluster, &format!("ALTER DATABASE {new} RENAME TO {old}"));
    acceptance::eventually("the old name to serve", || {
        let answer = platform.call_tenant("acme", "f", json!([]));
        acceptance::wait::check(answer.status == 200, &answer)
    });
}

#[test]
fn drop_tenant_works_while_executors_are_attached() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "dropfn", &fixtures::tiny());
    platform.register_tenant("acme", &fixtures::tiny()).ok();
    platform.call_tenant("acme", "f", json!([])).ok();
    let database = platform.database_of("acme");
    at_once(&cluster, &format!("SELECT stonescriptdb.drop_tenant('{}', 'acme', '{database}')", platform.name));
    assert!(!sql::database_exists(&mut cluster.control(), &database));
    platform.call_tenant("acme", "f", json!([])).error(404, "database_not_found");
}

#[test]
fn other_databases_come_and_go_undisturbed() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "bystander", &fixtures::tiny());
    platform.call("f", json!([])).ok();
    // Both wait for every process of the server to answer (ProcSignalBarrier).
    at_once(&cluster, "CREATE DATABASE bystander_scratch");
    at_once(&cluster, "DROP DATABASE bystander_scratch");
}
