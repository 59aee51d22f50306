//! The server dies in the middle of a proof: after the restart nothing is left of it.

use acceptance::wait::check;
use acceptance::{Cluster, Files, Platform, Shutdown, eventually, fixtures, sql};
use rustix::process::Signal;
use serde_json::json;

use crate::templates;

/// Takes longer than any test, in the proof: no tenant is there yet, or none is reached.
fn slow() -> Files {
    fixtures::shop()
        .file("migrations/001_slow.pssql", "CREATE TABLE IF NOT EXISTS half (id int);\nSELECT pg_sleep(200);\n")
}

/// Waits until somebody sleeps in a template; gives the process.
#[track_caller]
fn wait_proving(cluster: &Cluster) -> i32 {
    let query =
        "SELECT pid FROM pg_stat_activity WHERE datname LIKE 'stonescriptdb\\_template%' AND wait_event = 'PgSleep'";
    let pid = eventually("the proof to run", || {
        let mut pids = sql::texts(&mut cluster.control(), query);
        if pids.len() == 1 { Ok(pids.remove(0)) } else { Err(format!("{pids:?}")) }
    });
    pid.parse().expect("a process id")
}

fn wait_clean(cluster: &Cluster, platform: &Platform<'_>, kept: &[String]) {
    eventually("the unfinished template to be gone", || {
        let left = templates(cluster, &platform.name);
        check(left == kept, format!("{left:?} instead of {kept:?}"))
    });
    let building = "SELECT database FROM stonescriptdb.template WHERE state <> 'ready'";
    assert_eq!(sql::texts(&mut cluster.control(), building), Vec::<String>::new());
}

#[test]
fn after_a_crash_in_a_proof_nothing_of_it_is_left() {
    let cluster = Cluster::start();
    for how in ["kill -9 of the postmaster", "kill -9 of the executor", "immediate shutdown", "fast shutdown"] {
        let platform = Platform::unregistered(&cluster, "pcrash");
        let bundle = slow().tar_gz();
        std::thread::scope(|scope| {
            let caller =
                scope.spawn(|| cluster.http().multipart_status("/register", &[("platform", &platform.name)], &bundle));
            let pid = wait_proving(&cluster);
            match how {
                "kill -9 of the postmaster" => {
                    cluster.kill_postmaster_immediate();
                    cluster.start_again();
                }
                "kill -9 of the executor" => acceptance::server::signal(pid, Signal::KILL),
                "immediate shutdown" => {
                    cluster.stop(Shutdown::Immediate);
                    cluster.start_again();
                }
                _ => {
                    cluster.stop(Shutdown::Fast);
                    cluster.start_again();
                }
            }
            assert_ne!(caller.join().expect("the caller"), Some(200), "{how}");
        });
        eventually("the server to be back", || {
            cluster.try_connect_as("postgres", "postgres").map(drop).map_err(|e| e.to_string())
        });
        cluster.wait_ready();
        wait_clean(&cluster, &platform, &[]);
        eventually("the platform to be gone", || check(!platform.exists(), "its database is there"));
        platform.assert_absent(how);
        platform.register_again(&fixtures::shop()).ok().field("status", "ready");
        assert_eq!(platform.call("count_customers", json!([])).value(), 0, "{how}");
        assert_eq!(templates(&cluster, &platform.name).len(), 1, "{how}");
    }
}

#[test]
fn a_crash_in_the_proof_of_a_newer_bundle_keeps_tenants_and_template() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "pnewer", &fixtures::shop());
    platform.call("add_customer", json!(["Ada"])).ok();
    let before = platform.snapshot();
    let kept = templates(&cluster, &platform.name);
    assert_eq!(kept.len(), 1);
    let bundle = slow().tar_gz();
    std::thread::scope(|scope| {
        let caller =
            scope.spawn(|| cluster.http().multipart_status("/migrate", &[("platform", &platform.name)], &bundle));
        wait_proving(&cluster);
        cluster.kill_postmaster_immediate();
        cluster.start_again();
        assert_ne!(caller.join().expect("the caller"), Some(200));
    });
    wait_clean(&cluster, &platform, &kept);
    platform.assert_unchanged(&before, "another bundle was being proved");
    // The old bundle still makes tenants, and the new one, mended, goes in.
    platform.register_tenant("a", &fixtures::shop()).ok();
    platform.migrate(&slow().edit("migrations/001_slow.pssql", "200", "0")).ok();
    assert_eq!(platform.call("count_customers", json!([])).value(), 1);
}

#[test]
fn a_proof_that_its_caller_leaves_is_cancelled_and_cleaned_up() {
    let cluster = Cluster::start();
    let platform = Platform::unregistered(&cluster, "pleft");
    let bundle = slow().tar_gz();
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut control = cluster.control();
            sql::done(control.batch_execute("SET statement_timeout = '5s'"));
            acceptance::refused(sql::register(&mut control, &bundle, Some(&platform.name), None)).sqlstate("57014");
        });
        wait_proving(&cluster);
        caller.join().expect("the caller");
    });
    wait_clean(&cluster, &platform, &[]);
    eventually("the proof to be over", || {
        let asleep =
            sql::text(&mut cluster.control(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
        check(asleep == "0", asleep)
    });
    platform.register_again(&fixtures::shop()).ok();
}
