//! The executors: how many there are, who gets one, and who has to wait.

mod ages;
mod fair;
mod priority;
mod queues;

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures, sql};
use postgres::Client;

/// A platform with these tenants beside `main`.
#[track_caller]
fn with_tenants<'a>(cluster: &'a Cluster, tenants: &[&str]) -> Platform<'a> {
    let platform = Platform::register(cluster, "pool", &fixtures::tiny());
    for tenant in tenants {
        platform.register_tenant(tenant, &fixtures::tiny()).ok();
    }
    platform
}

/// The executors of calls in a database now, by process, as the view says.
fn executors(control: &mut Client, platform: &Platform, database: &str, state: &str) -> Vec<String> {
    let role = platform.call_role();
    let query = format!(
        "SELECT coalesce(pid, 0) FROM stonescriptdb.workers WHERE database = '{database}' AND role = '{role}' AND state ~ '{state}'"
    );
    sql::texts(control, &query)
}

/// Waits until so many executors of calls are in that state in a database.
#[track_caller]
fn wait_for(control: &mut Client, platform: &Platform, database: &str, state: &str, count: usize) {
    eventually("the executors", || {
        let found = executors(control, platform, database, state);
        check(found.len() == count, format!("{found:?}"))
    });
}

/// Ends calls that sleep.
fn wake_all(control: &mut Client) {
    let query = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
                 WHERE backend_type = 'stonescriptdb executor' AND wait_event = 'PgSleep'";
    sql::done(control.simple_query(query));
}
