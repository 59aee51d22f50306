//! Two thousand tenants: what lists them answers quickly, and each costs the server worker little memory.

use std::time::{Duration, Instant};

use acceptance::{Cluster, Platform, eventually, server, sql, wait::check};

use crate::notes;

const TENANTS: usize = 2_000;
/// Ten times the target, for a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(1);

/// Bytes that a tenant may cost the server worker.
const BYTES: i64 = 700;

/// Bytes that the server worker has for itself once what was freed is given back, which it does every 5 s.
fn memory(cluster: &Cluster) -> i64 {
    let seen = (0..14).map(|_| {
        std::thread::sleep(Duration::from_millis(500));
        memory_now(cluster)
    });
    seen.min().unwrap_or_default()
}

fn memory_now(cluster: &Cluster) -> i64 {
    server::own_memory(cluster.server_worker()).expect("the worker is there") * 1024
}

/// Rows of pg_database and of the registry without files: two thousand real ones would be 15 GB.
fn enter(cluster: &Cluster, platform: &Platform) {
    let mut control = cluster.control();
    sql::done(control.batch_execute(&format!(
        "SET allow_system_table_mods = on;
         INSERT INTO pg_database
         SELECT (jsonb_populate_record(d, jsonb_build_object('oid', 1000000 + i, 'datname', '{0}_t' || i))).*
         FROM pg_database d, generate_series(1, {TENANTS}) i WHERE d.datname = '{0}_main';
         INSERT INTO stonescriptdb.database (name, platform, tenant_id, tenant_key, datid, state, bundle_sha256, deployed_at, size_bytes, measured_at)
         SELECT '{0}_t' || i, '{0}', 'T' || i, 't' || i, 1000000 + i, 'ready', d.bundle_sha256, now(), 8000000, now()
         FROM stonescriptdb.database d, generate_series(1, {TENANTS}) i WHERE d.platform = '{0}'",
        platform.name
    )));
}

#[test]
fn two_thousand_tenants_are_listed_quickly_and_cost_little_memory() {
    let cluster = Cluster::builder().setting("autovacuum", "off").start();
    let platform = Platform::register(&cluster, "big", &notes());
    let http = cluster.http().admin();
    let listing = format!("/admin/databases?platform={}", platform.name);
    http.get(&listing).ok();
    let before = memory(&cluster);
    enter(&cluster, &platform);
    eventually("the server to know them", || {
        let answer = platform.call_tenant(&format!("T{TENANTS}"), "read_notes", serde_json::json!([]));
        check(answer.code() != "database_not_found", format!("{answer:?}"))
    });
    let mut seen = Vec::new();
    let mut timed = |what: &str, work: &mut dyn FnMut()| {
        let quickest = (0..3).map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        });
        seen.push((what.to_owned(), quickest.min().unwrap_or_default()));
    };
    timed("/health", &mut || drop(http.get("/health").ok()));
    timed("/platforms", &mut || drop(http.get("/platforms").ok()));
    timed("/admin/databases", &mut || {
        let answer = http.get(&listing).ok();
        assert_eq!(answer.number("count"), TENANTS as i64 + 1, "all of them");
    });
    let by_platform = format!("/platform/{}/databases", platform.name);
    timed("/platform/…/databases", &mut || drop(http.get(&by_platform).ok()));
    let mut control = cluster.control();
    for view in ["databases", "platforms", "schemas", "deployments", "deployment_databases", "tokens"] {
        let query = format!("SELECT * FROM stonescriptdb.{view}");
        timed(view, &mut || drop(sql::done(control.query(&query, &[]))));
    }
    let stale = "UPDATE stonescriptdb.database SET measured_at = now() - interval '1 day'";
    sql::done(control.batch_execute(stale));
    timed("/admin/databases, stale", &mut || drop(http.get(&listing).ok()));
    // Each change has the registry read again; what that costs beside the answers must not stay.
    for _ in 0..10 {
        sql::done(control.batch_execute("UPDATE stonescriptdb.platform SET name = name"));
        http.get("/health").ok();
    }
    let grown = memory(&cluster) - before;
    println!("{seen:?}, {} bytes of memory per tenant", grown / TENANTS as i64);
    for (what, took) in &seen {
        assert!(*took < LIMIT, "{what} took {took:?}: {seen:?}");
    }
    assert!(grown < BYTES * TENANTS as i64, "{grown} bytes for {TENANTS} tenants");
}

#[test]
fn the_list_of_thousands_of_deployments_is_not_worth_compiling() {
    let cluster = Cluster::builder().setting("autovacuum", "off").start();
    Platform::register(&cluster, "often", &notes());
    let mut control = cluster.control();
    sql::done(control.batch_execute(
        "INSERT INTO stonescriptdb.deployment
         SELECT (jsonb_populate_record(d, jsonb_build_object('id', gen_random_uuid()))).*
         FROM stonescriptdb.deployment d, generate_series(1, 4000)",
    ));
    let plan = sql::texts(&mut control, "EXPLAIN (FORMAT JSON) SELECT * FROM stonescriptdb.deployments").concat();
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    let cost = plan[0]["Plan"]["Total Cost"].as_f64().expect("a cost");
    // PostgreSQL's own: above it JIT begins, which takes up to a second.
    let limit: f64 = sql::texts(&mut control, "SHOW jit_above_cost").concat().parse().expect("a number");
    assert!(cost < limit, "{cost}");
}
