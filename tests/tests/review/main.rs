//! What a review found broken, each thing once: these failed before it was mended.

mod answers;
mod deploying;
mod disturbing;
mod many;
mod memory;
mod seeding;

use acceptance::wait::check;
use acceptance::{Answer, Cluster, eventually, sql};

/// The executors in a database, sorted.
#[track_caller]
fn executors(cluster: &Cluster, database: &str) -> Vec<String> {
    let query = format!("SELECT pid FROM stonescriptdb.workers WHERE database = '{database}' ORDER BY pid");
    sql::texts(&mut cluster.control(), &query)
}

/// Waits until an executor sleeps in pg_sleep.
#[track_caller]
fn wait_asleep(cluster: &Cluster) {
    let query =
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor' AND wait_event = 'PgSleep'";
    eventually("an executor to sleep", || {
        let asleep = sql::texts(&mut cluster.control(), query);
        check(!asleep.is_empty(), format!("{asleep:?}"))
    });
}

/// Asserts that a warning names the file and speaks of something.
#[track_caller]
fn warns(answer: &Answer, path: &str, of: &str) {
    let found = answer.array("warnings").iter().filter_map(|warning| warning.as_str());
    let found = found.filter(|warning| warning.contains(path) && warning.to_lowercase().contains(of)).count();
    assert!(found > 0, "a warning of {path} that says {of:?} expected in: {answer}");
}
