//! What a review found broken, each thing once: these failed before it was mended.

mod answers;
mod deploying;
mod disturbing;
mod many;
mod memory;
mod seeding;

use acceptance::wait::check;
use acceptance::{Cluster, eventually, sql};

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
