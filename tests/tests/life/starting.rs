//! Starting, reloading, stopping; the limits on workers; many who want the same at once.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use acceptance::wait::check;
use acceptance::{Cluster, Platform, Shutdown, eventually, eventually_within, fixtures, ports, shared, sql};
use serde_json::json;

use crate::{check_undisturbed, executors, wait_asleep, wait_back};

#[test]
fn all_is_there_again_after_a_restart() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "again", &fixtures::shop());
    platform.call("add_customer", json!(["Ada"])).ok();
    let before = platform.snapshot();
    for how in [Shutdown::Fast, Shutdown::Smart, Shutdown::Immediate] {
        cluster.stop(how);
        cluster.start_again();
        assert_eq!(platform.call("count_customers", json!([])).value(), 1, "after {how:?}");
        platform.register_again(&fixtures::shop()).ok();
        platform.assert_unchanged(&before, &format!("after {how:?}"));
    }
}

#[test]
fn a_fast_shutdown_does_not_wait_for_calls() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.call_timeout", "300s")
        .setting("stonescriptdb.max_workers_per_database", "4")
        .start();
    let platform = Platform::register(&cluster, "fast", &fixtures::tiny());
    std::thread::scope(|scope| {
        // Both kinds of callers, and a connection that says nothing.
        let idle = cluster.http().wire();
        let callers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| cluster.http().try_call(&platform.name, None, "nap", json!([200])).map(|a| a.status))
            })
            .collect();
        let sql_caller =
            scope.spawn(|| sql::call(&mut cluster.control(), &platform.name, None, "nap", &json!([200])).is_err());
        wait_asleep(&cluster, 3);
        let start = Instant::now();
        let status = cluster.stop(Shutdown::Fast);
        assert!(status.success() && start.elapsed() < Duration::from_secs(20), "{status} after {:?}", start.elapsed());
        for caller in callers {
            let seen = caller.join().expect("the caller");
            assert!(!matches!(seen, Ok(200)), "a call that did not end was answered by 200");
        }
        assert!(sql_caller.join().expect("the caller"));
        drop(idle);
    });
    let log = cluster.log();
    assert!(
        log.contains("database system is shut down") && !log.contains("PANIC") && !log.contains("panicked"),
        "{log}"
    );
    cluster.start_again();
    assert_eq!(platform.call("f", json!([])).value(), 1);
}

#[test]
fn a_reload_changes_settings() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "reload", &fixtures::tiny());
    let mut session = cluster.control();
    for (networks, status) in [("10.0.0.0/8", 403), ("127.0.0.0/8, ::1/128", 200)] {
        cluster.configure("stonescriptdb.allowed_networks", networks);
        cluster.reload();
        eventually("the new allowed_networks", || {
            let answer = cluster.http().try_request("GET", "/health", &[], b"").map_err(|e| e.to_string())?;
            check(answer.status == status, &answer)
        });
    }
    cluster.configure("stonescriptdb.call_timeout", "300ms");
    cluster.reload();
    eventually("the new call_timeout", || {
        let answer = platform.call("nap", json!([2]));
        check(answer.status == 504, &answer)
    });
    cluster.configure("stonescriptdb.admin_token", "another-token-0815");
    cluster.reload();
    eventually("the new admin token", || {
        let answer =
            cluster.http().bearer("another-token-0815").get(&format!("/admin/databases?platform={}", platform.name));
        check(answer.status == 200, &answer)
    });
    cluster.http().admin().get(&format!("/admin/databases?platform={}", platform.name)).error(401, "unauthorized");
    check_undisturbed(&mut session, &cluster);
}

#[test]
fn a_bad_value_at_a_reload_is_reported_and_the_old_one_stays() {
    let cluster = Cluster::start();
    cluster.configure("stonescriptdb.allowed_networks", "not a network");
    cluster.reload();
    eventually("a line in the log", || {
        let log = cluster.log();
        check(log.lines().any(|line| line.contains("stonescriptdb.allowed_networks")), "nothing of it in the log")
    });
    cluster.http().get("/health").ok();
}

#[test]
fn a_port_that_is_taken_is_logged_with_advice_and_the_service_comes_once_it_is_free() {
    let port = ports::free();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("it was free");
    let cluster = Cluster::builder().port(port).without_wait().start();
    eventually_within(Duration::from_secs(60), "a line in the log that says what to do", || {
        let log = cluster.log();
        let said = log.contains(&port.to_string()) && log.contains("stonescriptdb.port");
        check(said, log)
    });
    let mut session = cluster.control();
    assert_eq!(sql::text(&mut session, "SELECT 1"), "1", "the rest of the server does not mind");
    drop(taken);
    eventually_within(Duration::from_secs(90), "the service on the port that is free now", || {
        let answer = cluster.http().try_request("GET", "/health", &[], b"").map_err(|e| e.to_string())?;
        check(answer.status == 200 && answer.json["status"] == "healthy", &answer)
    });
    let platform = Platform::register(&cluster, "port", &fixtures::tiny());
    assert_eq!(platform.call("f", json!([])).value(), 1);
    check_undisturbed(&mut session, &cluster);
}

#[test]
fn ten_containers_register_the_same_platform_at_once() {
    let cluster = shared();
    for round in 0..2 {
        let platform = Platform::unregistered(&cluster, "ten");
        let bundle = fixtures::shop().tar_gz();
        let answers: Vec<_> = std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..10).map(|_| scope.spawn(|| cluster.http().register(&platform.name, None, &bundle))).collect();
            clients.into_iter().map(|client| client.join().expect("the client")).collect()
        });
        for answer in answers {
            answer.ok().field("status", "ready").field("database", platform.database());
        }
        assert_eq!(platform.call("list_products", json!([])).rows().len(), 3, "round {round}: seeded once");
        let rows = format!("SELECT count(*) FROM stonescriptdb.databases WHERE platform = '{}'", platform.name);
        assert_eq!(sql::text(&mut cluster.control(), &rows), "1", "round {round}");
    }
}

#[test]
fn many_platforms_and_tenants_register_at_once() {
    let cluster = shared();
    let bundle = fixtures::shop().tar_gz();
    let platforms: Vec<_> = (0..3).map(|_| Platform::unregistered(&cluster, "manyreg")).collect();
    std::thread::scope(|scope| {
        for platform in &platforms {
            for tenant in ["main", "one", "two"] {
                let (cluster, bundle) = (&cluster, &bundle);
                scope.spawn(move || cluster.http().register(&platform.name, Some(tenant), bundle).ok());
            }
        }
    });
    for platform in &platforms {
        for tenant in ["main", "one", "two"] {
            assert_eq!(platform.call_tenant(tenant, "count_customers", json!([])).value(), 0);
        }
    }
}

#[test]
fn calls_wait_for_one_of_few_workers() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_workers", "3")
        .setting("stonescriptdb.max_workers_per_database", "2")
        .start();
    let platform = Platform::register(&cluster, "few", &fixtures::tiny());
    let tenants = ["main", "t1", "t2", "t3", "t4"];
    for tenant in &tenants[1..] {
        platform.register_tenant(tenant, &fixtures::tiny()).ok();
    }
    // Five databases, three workers, four callers for each.
    std::thread::scope(|scope| {
        for caller in 0..20 {
            let (platform, tenant) = (&platform, tenants[caller % tenants.len()]);
            scope.spawn(move || {
                for _ in 0..5 {
                    let answer = platform.call_tenant(tenant, "nap", json!([0.02]));
                    assert_eq!(answer.value().as_f64(), Some(0.02), "{tenant}: {answer}");
                }
            });
        }
    });
    let count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor'";
    let count: usize = sql::text(&mut cluster.control(), count).parse().expect("a number");
    assert!(count <= 3, "{count} executors, 3 at most");
}

#[test]
fn idle_executors_end() {
    let cluster = Cluster::builder().setting("stonescriptdb.worker_idle_timeout", "1s").start();
    let platform = Platform::register(&cluster, "idle", &fixtures::tiny());
    platform.call("f", json!([])).ok();
    eventually("the executors to end", || {
        let left = executors(&cluster, &platform.database());
        check(left.is_empty(), format!("{left:?}"))
    });
    wait_back(&cluster, &platform);
    assert_eq!(platform.call("f", json!([])).value(), 1);
}

#[test]
fn drop_extension_while_serving_and_create_it_again() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "dropext", &fixtures::tiny());
    platform.call("f", json!([])).ok();
    let mut control = cluster.control();
    sql::done(control.batch_execute("SET statement_timeout = '20s'; DROP EXTENSION stonescriptdb"));
    let answer = cluster.http().try_call(&platform.name, None, "f", json!([]));
    if let Ok(answer) = answer {
        assert!(answer.status != 500, "{answer}");
    }
    sql::done(control.batch_execute("CREATE EXTENSION stonescriptdb"));
    cluster.wait_ready();
    check_undisturbed(&mut control, &cluster);
}
