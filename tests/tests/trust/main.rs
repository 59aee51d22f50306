//! Deployments that can be trusted: databases of the standalone gateway taken over, drift found and repaired, a history that tells
//! everything, statements outside the transaction, seeders of any SQL, templates, migrations on databases that have grown.

mod adoption;
mod ahead;
mod contradictions;
mod drift;
mod gateway;
mod history;
mod online;
mod outside;
mod owners;
mod plans;
mod proving;
mod renaming;
mod returning;
mod seeding;
mod seeds_checked;
mod templates;

use acceptance::{Answer, Cluster, Files, Platform, sql};
use postgres::Client;

/// `POST /migrate` of one tenant, with more fields.
#[track_caller]
fn migrate(cluster: &Cluster, platform: &Platform<'_>, tenant: &str, files: &Files, more: &[(&str, &str)]) -> Answer {
    cluster.http().migrate(&platform.name, Some(tenant), &files.tar_gz(), more)
}

/// A line of `stonescriptdb.check`: kind, object, deviation.
type Line = (String, String, String);

/// A line as a test writes it.
fn line(kind: &str, object: &str, deviation: &str) -> Line {
    (kind.into(), object.into(), deviation.into())
}

/// What `stonescriptdb.check(platform, tenant)` says, sorted.
#[track_caller]
fn check(cluster: &Cluster, platform: &str, tenant: &str) -> Vec<Line> {
    let query = "SELECT kind, object, deviation FROM stonescriptdb.check($1, $2) ORDER BY kind, object, deviation";
    let rows = sql::done(cluster.control().query(query, &[&platform, &tenant]));
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// Asserts that a tenant is exactly as its bundle says.
#[track_caller]
fn assert_exact(cluster: &Cluster, platform: &Platform<'_>, tenant: &str, why: &str) {
    let query = "SELECT concat_ws(' | ', kind, object, deviation, detail) FROM stonescriptdb.check($1, $2) ORDER BY 1";
    let rows = sql::done(cluster.control().query(query, &[&platform.name, &tenant]));
    let drift: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(drift.is_empty(), "{tenant} is not as its bundle says, {why}: {drift:#?}");
}

/// Runs statements as superuser.
#[track_caller]
fn by_hand(client: &mut Client, statements: &str) {
    client.batch_execute(statements).unwrap_or_else(|e| panic!("{statements}: {}", sql::describe(&e)));
}

/// The warnings of an answer in one text.
#[track_caller]
fn warnings(answer: &Answer) -> String {
    let texts: Vec<&str> = answer.array("warnings").iter().filter_map(|warning| warning.as_str()).collect();
    texts.join("\n")
}

/// The applied migrations' files, sorted.
#[track_caller]
fn applied(client: &mut Client) -> Vec<String> {
    sql::texts(client, "SELECT migration_file FROM public._stonescriptdb_gateway_migrations ORDER BY migration_file")
}

/// The databases that are templates of a platform, and those that are being built.
#[track_caller]
fn templates(cluster: &Cluster, platform: &str) -> Vec<String> {
    let query = format!(
        "SELECT datname FROM pg_database WHERE datname LIKE 'stonescriptdb\\_template\\_{}\\_%' ORDER BY 1",
        platform.replace('_', "\\_")
    );
    sql::texts(&mut cluster.control(), &query)
}
