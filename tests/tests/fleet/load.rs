//! Calls while a fleet is deployed to: they are served, and keep at least half of the executors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures, sql};
use serde_json::{Value, json};

use crate::kit::{Fleet, adding, bundle, json_rows, wait_over};

/// Runs `work` while clients call another platform without end, and looks at the workers all the time; how many calls were answered
/// and all that the view `workers` showed.
fn under_calls(cluster: &Cluster, bystander: &Platform<'_>, work: impl FnOnce()) -> (usize, Vec<Vec<Value>>) {
    let (over, answered, seen) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (over, answered) = (&over, &answered);
            scope.spawn(move || {
                let tenant = if client % 2 == 0 { "main" } else { "other" };
                while !over.load(Ordering::Relaxed) {
                    let answer = bystander.call_tenant(tenant, "nap", json!([0.01]));
                    assert_eq!(answer.status, 200, "a call of another tenant, while a fleet is deployed to: {answer}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            let mut control = cluster.control();
            while !over.load(Ordering::Relaxed) {
                let workers = json_rows(&mut control, "SELECT * FROM stonescriptdb.workers");
                seen.lock().expect("one thread").push(workers);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = worked {
            std::panic::resume_unwind(panic);
        }
    });
    (answered.into_inner(), seen.into_inner().expect("one thread"))
}

#[test]
fn calls_go_on_and_keep_half_of_the_executors() {
    const WORKERS: usize = 8;
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers", &WORKERS.to_string()).start();
    let bystander = Platform::register(&cluster, "bystander", &fixtures::tiny());
    bystander.register_tenant("other", &fixtures::tiny()).ok();
    let fleet = Fleet::new(&cluster, "load", &bundle(1), 30);
    let call_roles = sql::texts(&mut cluster.control(), "SELECT call_role FROM stonescriptdb.platforms");
    // Far more at once than there are executors.
    let (answered, seen) = under_calls(&cluster, &bystander, || {
        let id = fleet.start(&adding(bundle(2)), "parallel => 20, on_error => 'continue'");
        let row = wait_over(&cluster, &id);
        assert_eq!((&row["state"], &row["succeeded"]), (&json!("completed"), &json!(31)), "{row:#}");
    });
    assert!(answered > 0, "not one call was answered meanwhile");
    assert!(!seen.is_empty(), "nobody looked");
    let mut most = 0;
    for workers in &seen {
        assert!(workers.len() <= WORKERS, "more than max_workers: {workers:#?}");
        let is_call = |worker: &&Value| call_roles.iter().any(|role| worker["role"] == role.as_str());
        let deploying = workers.len() - workers.iter().filter(is_call).count();
        assert!(deploying <= WORKERS / 2, "deployments have {deploying} of {WORKERS} executors: {workers:#?}");
        most = most.max(deploying);
    }
    assert!(most >= 2, "it was never seen at work, so this shows nothing: {most}");
    assert_eq!(fleet.counters(), [1; 31]);
    assert_eq!(fleet.edition("t030"), 2);
}

/// The tenants that are deployed to are called too: before, after, and in the middle they answer by the one bundle or the other.
#[test]
fn the_fleets_own_tenants_are_served_while_it_is_deployed_to() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers", "8").start();
    let fleet = Fleet::new(&cluster, "own", &bundle(1), 12);
    let (over, editions) = (AtomicBool::new(false), Mutex::new(std::collections::BTreeSet::new()));
    std::thread::scope(|scope| {
        for client in 0..3 {
            let (fleet, over, editions) = (&fleet, &over, &editions);
            scope.spawn(move || {
                let mut turn = client;
                while !over.load(Ordering::Relaxed) {
                    turn += 1;
                    let tenant = &fleet.tenants[turn % fleet.tenants.len()];
                    let answer = fleet.platform.call_tenant(tenant, "edition", json!([]));
                    assert_eq!(answer.status, 200, "{tenant}, while it is deployed to: {answer}");
                    editions.lock().expect("no panic with it").insert(answer.value().to_string());
                }
            });
        }
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("calls before it", || check(!editions.lock().expect("no panic with it").is_empty(), "none"));
            let answer = sql::done(fleet.run(&adding(bundle(2)), "parallel => 4"));
            assert_eq!((&answer["status"], &answer["succeeded"]), (&json!("completed"), &json!(13)), "{answer:#}");
            eventually("calls after it", || {
                let editions = editions.lock().expect("no panic with it");
                check(editions.contains("2"), format!("{editions:?}"))
            });
        }));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = worked {
            std::panic::resume_unwind(panic);
        }
    });
    let editions = editions.into_inner().expect("no panic with it");
    assert_eq!(editions.into_iter().collect::<Vec<_>>(), ["1", "2"]);
    for tenant in &fleet.tenants {
        assert_eq!(fleet.edition(tenant), 2, "{tenant}");
    }
}
