//! The whole server dies in the middle of a deployment: after the restart nothing is half-built.

use acceptance::wait::check;
use acceptance::{Cluster, Platform, Shutdown, eventually, fixtures, sql};
use serde_json::json;

use crate::wait_asleep;

/// A bundle whose deployment takes longer than any test.
fn slow(kind: &str) -> acceptance::Files {
    let files = fixtures::shop();
    match kind {
        "migration" => files
            .file("migrations/001_slow.pssql", "CREATE TABLE IF NOT EXISTS half (id int);\nSELECT pg_sleep(200);\n"),
        _ => files
            .file("seeders/customers.pssql", "INSERT INTO customers (id, name) SELECT 1, 'x' FROM pg_sleep(200);\n"),
    }
}

fn crash(cluster: &Cluster, how: Option<Shutdown>) {
    match how {
        Some(how) => drop(cluster.stop(how)),
        None => cluster.kill_postmaster_immediate(),
    }
    cluster.start_again();
}

#[test]
fn a_crash_during_register_leaves_no_half_built_database() {
    let cluster = Cluster::start();
    for (kind, how) in [
        ("migration", None),
        ("seeder", None),
        ("migration", Some(Shutdown::Immediate)),
        ("migration", Some(Shutdown::Fast)),
    ] {
        let platform = Platform::unregistered(&cluster, "crash");
        let bundle = slow(kind).tar_gz();
        std::thread::scope(|scope| {
            let caller =
                scope.spawn(|| cluster.http().multipart_status("/register", &[("platform", &platform.name)], &bundle));
            wait_asleep(&cluster, 1);
            crash(&cluster, how);
            assert_ne!(caller.join().expect("the caller"), Some(200));
        });
        // It is not served, whatever state it is in,
        let answer = platform.call("count_customers", json!([])).client_error();
        assert_eq!(answer.status, 404, "{kind}, {how:?}: {answer}");
        // and it goes without anybody's help.
        let known = format!("SELECT count(*) FROM stonescriptdb.databases WHERE platform = '{}'", platform.name);
        eventually("the half-built database to be gone", || {
            let rows = sql::text(&mut cluster.control(), &known);
            check(!platform.exists() && rows == "0", format!("it is there, and {rows} rows"))
        });
        platform.assert_absent(&format!("{kind}, {how:?}"));
        platform.register_again(&fixtures::shop()).ok().field("status", "ready");
        assert_eq!(platform.call("count_customers", json!([])).value(), 0);
    }
}

#[test]
fn a_crash_during_migrate_leaves_the_database_as_it_was() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "crashmig", &fixtures::shop());
    platform.call("add_customer", json!(["Ada"])).ok();
    let before = platform.snapshot();
    for how in [None, Some(Shutdown::Immediate), Some(Shutdown::Fast)] {
        let bundle = slow("migration").tar_gz();
        std::thread::scope(|scope| {
            let caller =
                scope.spawn(|| cluster.http().multipart_status("/migrate", &[("platform", &platform.name)], &bundle));
            wait_asleep(&cluster, 1);
            crash(&cluster, how);
            assert_ne!(caller.join().expect("the caller"), Some(200));
        });
        platform.assert_unchanged(&before, &format!("{how:?} in the middle of a migrate"));
        assert_eq!(platform.call("count_customers", json!([])).value(), 1, "{how:?}");
        // Nothing remembers a deployment that runs no more.
        platform.migrate(&fixtures::shop()).ok();
    }
}
