//! One tenant's burst or slow function does not keep others out. Nothing here depends on how fast anything is: the slow calls sleep
//! until the test ends them, so whoever had to wait for one would wait until his time is over.

use std::sync::atomic::{AtomicBool, Ordering};

use acceptance::{Cluster, Platform, fixtures};
use serde_json::json;

use crate::{executors, wait_for, wake_all, with_tenants};

/// Runs `meanwhile` while one tenant's calls sleep in all executors that it may have, and fifty more of them wait.
fn while_slow(platform: &Platform, tenant: &str, has: usize, meanwhile: impl FnOnce()) {
    let mut control = platform.cluster.control();
    std::thread::scope(|scope| {
        for _ in 0..has + 50 {
            scope.spawn(|| {
                // Those that waited are cancelled in their turn: what they answer is not of interest here.
                let _ = platform.cluster.http().try_call(&platform.name, Some(tenant), "nap", json!([600]));
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(&mut control, platform, &platform.database_of(tenant), "busy", has);
            meanwhile();
        }));
        scope.spawn(|| {
            // Those that come out of the queue begin to sleep.
            let mut control = platform.cluster.control();
            let database = platform.database_of(tenant);
            for _ in 0..1000 {
                wake_all(&mut control);
                std::thread::sleep(std::time::Duration::from_millis(5));
                if executors(&mut control, platform, &database, "busy").is_empty() {
                    break;
                }
            }
        });
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn slow_calls_of_one_tenant_leave_the_others_alone() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_workers", "8")
        .setting("stonescriptdb.max_workers_per_database", "8")
        .setting("stonescriptdb.queue_timeout", "30s")
        .start();
    let platform = with_tenants(&cluster, &["slow", "second", "third"]);
    platform.call_tenant("second", "f", json!([])).ok();
    // Four, as many as are left to all others; executors that are idle are no hindrance.
    while_slow(&platform, "slow", 4, || {
        for _ in 0..50 {
            platform.call_tenant("second", "f", json!([])).ok();
        }
        // Never called before.
        platform.call_tenant("third", "f", json!([])).ok();
        // A deployment too.
        platform.register_tenant("fourth", &fixtures::tiny()).ok();
        platform.call_tenant("fourth", "f", json!([])).ok();
    });
}

#[test]
fn more_tenants_than_executors_all_have_their_turn() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_workers", "4")
        .setting("stonescriptdb.max_workers_per_database", "4")
        .setting("stonescriptdb.queue_timeout", "60s")
        .start();
    let names: Vec<String> = (0..10).map(|number| format!("t{number}")).collect();
    let platform = with_tenants(&cluster, &names.iter().map(String::as_str).collect::<Vec<_>>());
    // Two tenants never stop calling, on more connections than there are executors; all others are answered in between.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..12 {
            let (platform, stop, tenant) = (&platform, &stop, &names[number % 2]);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    platform.call_tenant(tenant, "nap", json!([0.01])).ok();
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                for tenant in &names[2..] {
                    platform.call_tenant(tenant, "f", json!([])).ok();
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn an_idle_executor_of_another_tenant_makes_room() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers", "2").start();
    let platform = with_tenants(&cluster, &["one", "two", "three"]);
    let mut control = cluster.control();
    for tenant in ["one", "two", "three", "one"] {
        platform.call_tenant(tenant, "f", json!([])).ok();
    }
    assert_eq!(executors(&mut control, &platform, &platform.database_of("one"), "idle").len(), 1);
    assert_eq!(executors(&mut control, &platform, &platform.database_of("two"), "idle").len(), 0);
}

#[test]
fn what_a_deployment_left_idle_does_not_count_against_calls() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers_per_database", "2").start();
    let platform = with_tenants(&cluster, &["one"]);
    // The owner's executor, idle since the registration, would be the second one.
    while_slow(&platform, "one", 2, || ());
}
