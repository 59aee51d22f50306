//! `max_worker_processes` is too small.

use acceptance::{Cluster, Platform, fixtures, sql};
use serde_json::json;

/// Three slots: the server worker and two executors. Five platforms are called in turns, at once, and deployed to.
#[test]
fn few_slots_are_told_of_and_worked_with() {
    let cluster =
        Cluster::builder().setting("max_worker_processes", "3").setting("max_logical_replication_workers", "0").start();
    let platforms: Vec<Platform> = (0..3).map(|_| Platform::register(&cluster, "slots", &fixtures::tiny())).collect();
    for _ in 0..2 {
        for platform in &platforms {
            assert_eq!(platform.call("f", json!([])).value(), 1);
        }
    }
    std::thread::scope(|scope| {
        for platform in &platforms {
            scope.spawn(|| {
                for _ in 0..5 {
                    let answer = platform.call("nap", json!([0.02]));
                    assert!(answer.status == 200 || answer.status == 503, "{answer}");
                }
            });
        }
    });
    let advice = "raise max_worker_processes";
    assert!(cluster.log().contains(advice), "{}", cluster.log());
    let health = cluster.http().get("/health").ok().field("status", "healthy");
    assert!(health.str("message").contains(advice), "{health}");
    // A new tenant needs two at once, and has them.
    platforms[0].register_tenant("acme", &fixtures::tiny()).ok();
    assert_eq!(platforms[0].call_tenant("acme", "f", json!([])).value(), 1);
    let workers = "SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor'";
    assert!(sql::text(&mut cluster.control(), workers).parse::<u32>().expect("a number") <= 2);
}
