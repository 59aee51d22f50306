//! Executors that serve connections are still there for others.

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures};
use serde_json::json;

use super::{Line, settled};

#[test]
fn a_slow_call_holds_up_no_other_connection() {
    // One executor serves connections, the other one is for what else comes.
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers_per_database", "2").start();
    let platform = Platform::register(&cluster, "pair", &fixtures::tiny());
    let mut slow = settled(&cluster, &platform);
    let mut quick = Line::new(cluster.http(), &platform.name, None);
    for _ in 0..200 {
        quick.call("f", json!([])).ok();
        slow.call("f", json!([])).ok();
    }
    slow.send("nap", &json!([600]));
    for _ in 0..20 {
        quick.call("f", json!([])).ok();
    }
}

#[test]
fn requests_that_go_along_to_a_busy_executor_are_not_lost() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers_per_database", "2").start();
    let platform = Platform::register(&cluster, "along", &fixtures::tiny());
    let mut slow = settled(&cluster, &platform);
    slow.send("nap", &json!([600]));
    for _ in 0..10 {
        // After the first of them the connection is passed on, with the others, to the executor that naps.
        let mut quick = Line::new(cluster.http(), &platform.name, None);
        let requests = quick.request("f", &json!([]), &[]).repeat(12);
        quick.wire.send(&requests).expect("sent");
        for _ in 0..12 {
            quick.read().ok();
        }
    }
}

#[test]
fn who_has_no_executor_gets_the_slot_of_one_that_serves_connections() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers", "4").start();
    let platform = Platform::register(&cluster, "many", &fixtures::tiny());
    let tenants: Vec<String> = (0..6).map(|number| format!("t{number}")).collect();
    tenants.iter().for_each(|tenant| drop(platform.register_tenant(tenant, &fixtures::tiny()).ok()));
    let mut lines: Vec<Line> =
        tenants.iter().map(|tenant| Line::new(cluster.http(), &platform.name, Some(tenant))).collect();
    // Each tenant calls again and again, with more tenants than executors.
    for _ in 0..20 {
        for line in &mut lines {
            for _ in 0..10 {
                line.call("f", json!([])).ok();
            }
        }
    }
}

#[test]
fn reading_calls_and_batches_beside_served_connections() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers_per_database", "1").start();
    let files = fixtures::tiny()
        .file("functions/look.pssql", "CREATE FUNCTION look() RETURNS int STABLE LANGUAGE sql AS 'SELECT 5';\n");
    let platform = Platform::register(&cluster, "beside", &files);
    let mut line = settled(&cluster, &platform);
    for _ in 0..5 {
        // The one executor serves a connection: it is asked back.
        cluster.http().get(&format!("/call/{}/look", platform.name)).ok();
        let batch = json!({"platform": platform.name, "calls": [{"function": "f"}, {"function": "look"}]});
        cluster.http().post_json("/call/batch", &batch).ok();
        line = line.settle();
    }
}

#[test]
fn connections_are_spread_when_they_have_much_to_do() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "spread", &fixtures::tiny());
    let database = platform.database();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (over, name, cluster) = (&over, &platform.name, &cluster);
        for _ in 0..6 {
            scope.spawn(move || {
                let mut line = Line::new(cluster.http(), name, None);
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    line.call("f", json!([])).ok();
                }
            });
        }
        let seen = std::panic::catch_unwind(|| {
            eventually("several executors serve", || {
                let states = super::states(cluster, &database);
                check(states.iter().filter(|state| *state == "serving").count() > 1, format!("{states:?}"))
            });
        });
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(seen.is_ok());
    });
}
