//! Databases that are dropped, copied and renamed by others, and a server worker that ends meanwhile.

use std::time::{Duration, Instant};

use acceptance::server::signal;
use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures, refused, shared, sql};
use postgres::Client;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{executors, wait_asleep};

#[test]
fn a_refused_drop_or_copy_of_a_database_does_not_end_its_executors() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "bystand", &fixtures::tiny());
    platform.register_tenant("acme", &fixtures::tiny()).ok();
    let database = platform.database_of("acme");
    sql::done(
        cluster.control().batch_execute("CREATE ROLE review_nobody LOGIN; CREATE ROLE review_maker LOGIN CREATEDB"),
    );
    platform.call_tenant("acme", "f", json!([])).ok();
    let before = executors(&cluster, &database);
    let pid = platform.call_tenant("acme", "pid", json!([])).value();
    assert!(!before.is_empty(), "no executor: the test would show nothing");
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| platform.call_tenant("acme", "nap", json!([1])));
        wait_asleep(&cluster);
        for role in ["review_nobody", "review_maker"] {
            let mut client = cluster.connect_as(role, "postgres");
            for statement in [
                format!("DROP DATABASE {database}"),
                format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
                format!("ALTER DATABASE {database} RENAME TO taken"),
                format!("CREATE DATABASE taken TEMPLATE {database}"),
            ] {
                refused(client.batch_execute(&statement)).sqlstate("42501");
            }
        }
        caller.join().expect("the caller").ok();
    });
    assert_eq!(platform.call_tenant("acme", "pid", json!([])).value(), pid, "another executor serves");
    let after = executors(&cluster, &database);
    assert!(before.iter().all(|pid| after.contains(pid)), "executors ended: {before:?}, now {after:?}");
}

fn drop_tenant(control: &mut Client, platform: &Platform, confirm: &str) -> Result<Value, String> {
    let drop = "SELECT stonescriptdb.drop_tenant($1, $2, $3)";
    let row = control.query_one(drop, &[&platform.name, &"acme", &confirm]);
    row.map(|row| row.get(0)).map_err(|e| sql::describe(&e))
}

#[test]
fn drop_tenant_after_a_rename_leaves_no_row() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "renamed", &fixtures::tiny());
    platform.register_tenant("acme", &fixtures::tiny()).ok();
    let (old, new) = (platform.database_of("acme"), platform.database_of("elsewhere"));
    let mut control = cluster.control();
    sql::done(control.batch_execute(&format!("ALTER DATABASE {old} RENAME TO {new}")));
    // The new name is known a moment later; that it is known at once is another test's question.
    eventually("the tenant to be dropped by its new name", || drop_tenant(&mut control, &platform, &new));
    assert!(!sql::database_exists(&mut control, &new) && !sql::database_exists(&mut control, &old));
    let rows =
        format!("SELECT tenant_id || ' ' || state FROM stonescriptdb.databases WHERE platform = '{}'", platform.name);
    assert_eq!(sql::texts(&mut control, &rows), ["main ready"]);
    // Its name is free again.
    platform.register_tenant("acme", &fixtures::tiny()).ok().field("database", old);
    assert_eq!(platform.call_tenant("acme", "f", json!([])).value(), 1);
}

#[test]
fn drop_tenant_right_after_a_rename_knows_the_new_name() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "atonce", &fixtures::tiny());
    let mut control = cluster.control();
    for round in 0..5 {
        platform.register_tenant("acme", &fixtures::tiny()).ok();
        let (old, new) = (platform.database_of("acme"), platform.database_of(&format!("elsewhere{round}")));
        sql::done(control.batch_execute(&format!("ALTER DATABASE {old} RENAME TO {new}")));
        let dropped = drop_tenant(&mut control, &platform, &new);
        assert!(dropped.is_ok(), "round {round}: {dropped:?}");
        assert!(!sql::database_exists(&mut control, &new));
    }
}

#[test]
fn a_server_worker_that_drains_answers_its_calls_and_holds_up_nobody() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "drain", &fixtures::tiny());
    platform.register_tenant("acme", &fixtures::tiny()).ok();
    platform.call_tenant("acme", "f", json!([])).ok();
    let server = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'stonescriptdb server'";
    let before = sql::text(&mut cluster.control(), server);
    std::thread::scope(|scope| {
        let mut control = cluster.control();
        let caller = scope.spawn(|| cluster.http().try_call(&platform.name, None, "nap", json!([1.5])));
        wait_asleep(&cluster);
        let start = Instant::now();
        signal(before.parse().expect("a process id"), Signal::TERM);
        sql::done(control.batch_execute("SET statement_timeout = '15s'"));
        sql::done(control.batch_execute(&format!("DROP DATABASE {}", platform.database_of("acme"))));
        let took = start.elapsed();
        let answer = caller.join().expect("the caller").expect("an answer, for requests under way are drained").ok();
        assert_eq!(answer.value(), 1.5);
        assert!(took < Duration::from_secs(4), "DROP DATABASE took {took:?} while the server worker drained");
    });
    eventually("another server worker", || {
        let now = sql::texts(&mut cluster.control(), server);
        check(now.len() == 1 && now[0] != before, format!("{now:?}"))
    });
    cluster.wait_ready();
    assert_eq!(platform.call("f", json!([])).value(), 1);
    platform.call_tenant("acme", "f", json!([])).error(404, "database_not_found");
}

#[test]
fn a_register_right_after_a_crash_in_the_middle_of_one_succeeds() {
    let cluster = Cluster::start();
    for round in 0..3 {
        let platform = Platform::unregistered(&cluster, "rise");
        let slow = fixtures::tiny().file("migrations/001_slow.pssql", "SELECT pg_sleep(200);\n").tar_gz();
        std::thread::scope(|scope| {
            let fields = [("platform", platform.name.as_str())];
            let (http, slow) = (cluster.http(), &slow);
            let caller = scope.spawn(move || http.multipart_status("/register", &fields, slow));
            wait_asleep(&cluster);
            cluster.kill_postmaster_immediate();
            assert_ne!(caller.join().expect("the caller"), Some(200));
        });
        std::thread::scope(|scope| {
            scope.spawn(|| cluster.start_again());
            let at_once = eventually("the port to answer", || cluster.http().try_wire().map_err(|e| e.to_string()));
            drop(at_once);
            let answer = platform.register_again(&fixtures::tiny());
            assert_eq!(answer.status, 200, "round {round}: {answer}");
        });
        assert_eq!(platform.call("f", json!([])).value(), 1);
    }
}
