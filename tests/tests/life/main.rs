//! The life of the service and its processes: databases that go away, workers that are killed, cancelled calls, reloads, restarts
//! and crashes.

mod cancelling;
mod crashing;
mod dropping;
mod killing;
mod starting;

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, sql};
use serde_json::json;

/// How many executors there are in a database now.
fn executors(cluster: &Cluster, database: &str) -> Vec<String> {
    let query = format!(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor' AND datname = '{database}'"
    );
    sql::texts(&mut cluster.control(), &query)
}

/// The executors that sleep in pg_sleep: with a function that does nothing else, calls that run.
fn asleep(cluster: &Cluster) -> Vec<String> {
    let query =
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor' AND wait_event = 'PgSleep'";
    sql::texts(&mut cluster.control(), query)
}

/// Waits until so many calls sleep.
#[track_caller]
fn wait_asleep(cluster: &Cluster, count: usize) -> Vec<String> {
    eventually("the call to run", || {
        let asleep = asleep(cluster);
        check(asleep.len() == count, format!("{asleep:?}")).map(|()| asleep)
    })
}

/// Waits until calls are answered.
#[track_caller]
fn wait_back(cluster: &Cluster, platform: &Platform) {
    eventually("the service to be back", || {
        let answer = cluster.http().try_call(&platform.name, None, "f", json!([])).map_err(|e| e.to_string())?;
        check(answer.status == 200, &answer)
    });
}

/// Asserts that the postmaster did not restart everything: a session that was there before still is.
#[track_caller]
fn check_undisturbed(session: &mut postgres::Client, cluster: &Cluster) {
    assert_eq!(sql::text(session, "SELECT 1"), "1", "an ordinary session was ended");
    let log = cluster.log();
    for trouble in ["terminating any other active server processes", "was terminated by signal", "PANIC", "panicked"] {
        assert!(!log.contains(trouble), "{trouble:?} in the log");
    }
}
