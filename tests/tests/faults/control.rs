//! The control database is not there, is renamed, cannot be written to.

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures, refused, sql};
use serde_json::json;

#[test]
fn a_control_database_that_is_missing_is_waited_for() {
    let cluster = Cluster::builder().control_database("registry").start();
    let waiting = "waiting for the control database \"registry\"";
    eventually("the log to say it", || check(cluster.log().contains(waiting), cluster.log_tail()));
    // Once, not every second; nor does it try in vain again and again.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let log = cluster.log();
    assert_eq!(log.matches(waiting).count(), 1, "{log}");
    assert_eq!(log.matches("database \"registry\" does not exist").count(), 1, "{log}");
    sql::done(cluster.connect("postgres").batch_execute("CREATE DATABASE registry"));
    sql::done(cluster.connect("registry").batch_execute("CREATE EXTENSION stonescriptdb"));
    cluster.wait_ready();
    Platform::register(&cluster, "waited", &fixtures::tiny()).call("f", json!([])).ok();
}

/// While the service runs nobody can take the control database away from it.
#[test]
fn a_control_database_in_use_is_neither_renamed_nor_dropped() {
    let cluster = Cluster::builder().control_database("registry").start();
    sql::done(cluster.connect("postgres").batch_execute("CREATE DATABASE registry"));
    cluster.create_extension();
    let platform = Platform::register(&cluster, "inuse", &fixtures::tiny());
    let mut postgres = cluster.connect("postgres");
    refused(postgres.batch_execute("ALTER DATABASE registry RENAME TO other")).sqlstate("55006");
    refused(postgres.batch_execute("DROP DATABASE registry")).sqlstate("55006");
    platform.call("f", json!([])).ok();
    platform.register_tenant("acme", &fixtures::tiny()).ok();
    // By force it goes, and the server worker says what it waits for.
    sql::done(postgres.batch_execute("DROP DATABASE registry WITH (FORCE)"));
    eventually("the log to say it", || {
        check(cluster.log().contains("waiting for the control database \"registry\""), cluster.log_tail())
    });
    sql::done(postgres.batch_execute("CREATE DATABASE registry"));
    cluster.create_extension();
    let found =
        sql::texts(&mut cluster.control(), "SELECT tenant_id FROM stonescriptdb.recover(open => true) ORDER BY 1");
    assert_eq!(found, ["acme", "main"], "the tenants are still there");
    eventually("the tenant to be served", || {
        let answer = platform.call_tenant("acme", "f", json!([]));
        check(answer.status == 200, answer)
    });
}

#[test]
fn a_control_database_that_only_reads_keeps_calls_and_refuses_deployments() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "readonly", &fixtures::shop());
    let archive = fixtures::shop().file("views/more.pssql", "CREATE VIEW more AS SELECT 1 AS one;\n").tar_gz();
    sql::done(cluster.control().batch_execute("ALTER DATABASE postgres SET default_transaction_read_only = on"));
    // Those that are connected have not heard of it.
    let ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type LIKE 'stonescriptdb%' AND backend_type <> 'stonescriptdb server'";
    sql::done(cluster.control().query(ours, &[]));
    cluster.end_server_worker();
    cluster.wait_ready();
    platform.call("add_customer", json!(["Ada"])).ok();
    let answer = cluster.http().migrate(&platform.name, None, &archive, &[]);
    assert!(answer.status >= 400 && answer.status != 500, "{answer}");
    let answer = answer.shaped().field("sqlstate", "25006").says("read-only");
    assert_eq!(answer.code(), "query_failed");
    let mut control = cluster.control();
    sql::done(control.batch_execute("SET default_transaction_read_only = off"));
    sql::done(control.batch_execute("ALTER DATABASE postgres RESET default_transaction_read_only"));
    sql::done(control.query(ours, &[]));
    eventually("the deployment to go through", || {
        let answer = cluster.http().try_request("GET", "/health", &[], b"").map_err(|e| e.to_string())?;
        check(answer.status == 200, answer)?;
        let answer = cluster.http().migrate(&platform.name, None, &archive, &[]);
        check(answer.status == 200, answer)
    });
    assert_eq!(platform.call("count_customers", json!([])).value(), 1);
}
