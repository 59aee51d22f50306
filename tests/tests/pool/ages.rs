//! Aged executors are replaced, and no call notices.

use std::collections::BTreeSet;

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures};
use serde_json::json;

use crate::executors;

#[test]
fn executors_are_replaced_after_so_many_calls() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_workers_per_database", "1")
        .setting("stonescriptdb.worker_max_calls", "20")
        .start();
    let platform = Platform::register(&cluster, "worn", &fixtures::tiny());
    let mut pids = BTreeSet::new();
    for _ in 0..400 {
        pids.insert(platform.call("pid", json!([])).value().as_i64().expect("a process id"));
    }
    assert!((4..=21).contains(&pids.len()), "{pids:?}");
}

#[test]
fn and_at_an_age_when_they_are_idle() {
    let cluster = Cluster::builder().setting("stonescriptdb.worker_max_age", "1s").start();
    let platform = Platform::register(&cluster, "aged", &fixtures::tiny());
    let first = platform.call("pid", json!([])).value().to_string();
    let mut control = cluster.control();
    eventually("another executor", || {
        let idle = executors(&mut control, &platform, &platform.database(), "idle");
        check(idle.len() == 1 && idle[0] != first, format!("{idle:?}"))
    });
}

#[test]
fn never_in_the_middle_of_a_call() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_workers_per_database", "2")
        .setting("stonescriptdb.worker_max_age", "1s")
        .start();
    let platform = Platform::register(&cluster, "busy", &fixtures::tiny());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..4 {
                    assert_eq!(platform.call("nap", json!([0.5])).value().as_f64(), Some(0.5));
                }
            });
        }
    });
}
