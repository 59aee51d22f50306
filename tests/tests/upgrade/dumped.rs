//! pg_dump, pg_dumpall and what they leave out.

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, refused, server, sql};
use serde_json::json;

use crate::{TENANTS, dump, platform, there, wait_kept, works};

/// Runs a script of pg_dumpall on a cluster in which nothing is but what initdb made. Of the statements only those may fail that make the
/// role and the database which are there.
#[track_caller]
pub fn restore_all(cluster: &Cluster, script: &std::path::Path) {
    let mut psql = cluster.client_program("psql");
    psql.args(["-X", "-q", "-d", "postgres", "-f"]).arg(script);
    let output = server::run(psql);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let left: Vec<&str> =
        errors.lines().filter(|line| line.contains("ERROR") && !line.contains("role \"postgres\" already")).collect();
    assert_eq!(left, Vec::<&str>::new(), "{errors}");
}

pub fn restored_into() -> Cluster {
    Cluster::builder().without_extension().start()
}

#[test]
fn a_dump_of_all_is_restored_into_a_new_cluster() {
    let (from, to) = (Cluster::start(), restored_into());
    let platform = platform(&from, "moved");
    let mut control = from.control();
    let token = sql::text(&mut control, &format!("SELECT stonescriptdb.create_token('{}', 'kept')", platform.name));
    sql::done(
        control.batch_execute(&format!("SELECT stonescriptdb.suspend_tenant('{}', 'globex', 'unpaid')", platform.name)),
    );
    drop(control);
    restore_all(&to, &dump(&from, "pg_dumpall", &[]));
    to.wait_ready();

    let moved = there(&platform, &to);
    // What was closed stays closed.
    let mut control = to.control();
    eventually("the token to be asked for", || {
        let answer = moved.call("kept", json!([]));
        check(answer.status == 401, answer)
    });
    let http = to.http().bearer(&token);
    eventually("the tenant to be served", || {
        let answer = http.call(&moved.name, Some("acme"), "kept", json!([]));
        check(answer.status == 200, answer)
    });
    eventually("the tenant to be found and suspended", || {
        let state = sql::text(
            &mut to.control(),
            &format!(
                "SELECT state FROM stonescriptdb.databases WHERE platform = '{}' AND tenant_id = 'globex'",
                moved.name
            ),
        );
        check(state == "suspended", state)
    });
    refused(control.query_one("SELECT stonescriptdb.call($1, 'kept', tenant_id => 'globex')", &[&moved.name]))
        .sqlstate("57P03")
        .says("unpaid");
    sql::done(control.batch_execute(&format!(
        "SELECT stonescriptdb.resume_tenant('{0}', 'globex'); SELECT stonescriptdb.revoke_token(id) FROM stonescriptdb.tokens",
        moved.name
    )));
    works(&moved);
    // The record came along.
    let kinds = format!("SELECT count(*)::text FROM stonescriptdb.changelog('{}', 'acme')", moved.name);
    assert_ne!(sql::text(&mut control, &kinds), "0");
}

/// The OIDs of the dump are those of other tenants there: nobody may get another's data, not for a moment.
#[test]
fn an_oid_that_is_anothers_there_is_not_believed() {
    let (from, to) = (Cluster::start(), restored_into());
    let platform = platform(&from, "swapped");
    let oid = |tenant: &str| {
        let query = format!("SELECT oid::text FROM pg_database WHERE datname = '{}'", platform.database_of(tenant));
        sql::text(&mut from.control(), &query)
    };
    let oids = TENANTS.map(oid);
    let globals = dump(&from, "pg_dumpall", &["--globals-only"]);
    restore_all(&to, &globals);
    // The databases first, each under the OID of the next.
    for (place, tenant) in TENANTS.iter().enumerate() {
        let (name, oid) = (platform.database_of(tenant), &oids[(place + 1) % TENANTS.len()]);
        let owner = platform.owner_role();
        sql::done(
            to.control().batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0 OWNER {owner} OID = {oid}")),
        );
        let file = dump(&from, "pg_dump", &["-Fc", &name]);
        let mut pg_restore = to.client_program("pg_restore");
        pg_restore.args(["--exit-on-error", "-d", &name]).arg(file);
        server::run(pg_restore);
    }
    let file = dump(&from, "pg_dump", &["-Fc", "postgres"]);
    let mut pg_restore = to.client_program("pg_restore");
    pg_restore.args(["--exit-on-error", "-d", "postgres"]).arg(file);
    let moved = there(&platform, &to);
    std::thread::scope(|scope| {
        let restoring = scope.spawn(|| server::run(pg_restore));
        while !restoring.is_finished() {
            for tenant in TENANTS {
                let answer = moved.call_tenant(tenant, "kept", json!([]));
                assert!(answer.status != 200 || answer.value() == *tenant, "{tenant} got another's: {answer}");
            }
        }
        restoring.join().expect("pg_restore ends well");
    });
    works(&moved);
}

/// The control database alone is restored, to a state before: tenants that were renamed, dropped and made since.
#[test]
fn the_control_database_is_restored_from_an_older_dump() {
    let cluster = Cluster::start();
    let platform = platform(&cluster, "older");
    let file = dump(&cluster, "pg_dump", &["-Fc", "postgres"]);
    platform.register_tenant("newer", &crate::bundle(1)).ok();
    platform.call_tenant("newer", "keep", json!(["newer"])).ok();
    let (acme, globex) = (platform.database_of("acme"), platform.database_of("globex"));
    sql::done(cluster.control().batch_execute(&format!("ALTER DATABASE {acme} RENAME TO elsewhere")));
    sql::done(cluster.control().batch_execute(&format!("DROP DATABASE {globex}")));
    sql::done(cluster.control().batch_execute("DROP EXTENSION stonescriptdb"));
    sql::done(cluster.control().batch_execute("DROP SCHEMA IF EXISTS stonescriptdb"));
    let mut pg_restore = cluster.client_program("pg_restore");
    pg_restore.args(["--exit-on-error", "-d", "postgres"]).arg(file);
    server::run(pg_restore);
    cluster.wait_ready();

    assert_eq!(wait_kept(&platform, "main").value(), "main");
    assert_eq!(wait_kept(&platform, "acme").value(), "acme", "its comment says whose it is");
    platform.call_tenant("globex", "kept", json!([])).error(404, "database_not_found");
    platform.call_tenant("newer", "kept", json!([])).error(404, "database_not_found");
    let found = sql::texts(&mut cluster.control(), "SELECT tenant_id FROM stonescriptdb.recover()");
    assert_eq!(found, ["newer"]);
    assert_eq!(wait_kept(&platform, "newer").value(), "newer");
    platform.migrate(&crate::next()).ok().field("failed", 0);
    for tenant in ["main", "acme", "newer"] {
        assert_eq!(platform.call_tenant(tenant, "edition", json!([])).value(), 2);
    }
}

#[test]
fn a_deployment_that_was_running_when_it_was_dumped_runs_no_more() {
    let (from, to) = (Cluster::start(), restored_into());
    let platform = Platform::register(&from, "dumping", &crate::bundle(1));
    let waiting = crate::bundle(3).file("migrations/900_wait.pssql", "SELECT pg_sleep(600);\n");
    let (archive, mut control) = (waiting.tar_gz(), from.control());
    let begun: serde_json::Value =
        sql::done(control.query_one(
            "SELECT stonescriptdb.migrate_all($1, schema => $2, wait => false)",
            &[&platform.name, &archive],
        ))
        .get(0);
    let id = begun["deployment_id"].as_str().unwrap_or_else(|| panic!("{begun}")).to_owned();
    restore_all(&to, &dump(&from, "pg_dumpall", &[]));
    to.wait_ready();
    let state = format!("SELECT state FROM stonescriptdb.deployments WHERE id = '{id}'");
    assert_eq!(sql::text(&mut to.control(), &state), "interrupted");
    sql::done(control.query_one(&format!("SELECT stonescriptdb.cancel_deployment('{id}')"), &[]));
}
