//! A tenant's database is restored from a dump, by a superuser with PostgreSQL's own tools: it serves again without any step.

use std::path::{Path, PathBuf};

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, server, shared, sql, unique};
use serde_json::json;

use crate::kit::{self, adding, bundle, by_hand, json_rows, sha256};
use crate::outside::{registry, wait_served};

/// `pg_dump -Fc`; the file.
#[track_caller]
fn dump(cluster: &Cluster, database: &str) -> PathBuf {
    let file = cluster.dir().join(format!("{database}.dump"));
    let mut pg_dump = cluster.client_program("pg_dump");
    pg_dump.arg("-Fc").arg("-f").arg(&file).arg(database);
    server::run(pg_dump);
    file
}

/// `pg_restore` into a database that is there.
#[track_caller]
fn restore(cluster: &Cluster, file: &PathBuf, database: &str) {
    let mut pg_restore = cluster.client_program("pg_restore");
    pg_restore.args(["--exit-on-error", "-d", database]).arg(file);
    server::run(pg_restore);
}

/// dropdb, createdb, pg_restore.
#[track_caller]
fn drop_and_restore(cluster: &Cluster, file: &PathBuf, database: &str) {
    by_hand(cluster, "postgres", &format!("DROP DATABASE {database}"));
    by_hand(cluster, "postgres", &format!("CREATE DATABASE {database}"));
    restore(cluster, file, database);
}

#[test]
fn a_restored_tenant_serves_without_any_step() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "rest", &bundle(1));
    platform.register_tenant("acme", &bundle(1)).ok();
    platform.call_tenant("acme", "add_account", json!(["kept"])).ok();
    let database = platform.database_of("acme");
    let file = dump(&cluster, &database);
    platform.call_tenant("acme", "add_account", json!(["lost"])).ok();
    drop_and_restore(&cluster, &file, &database);
    assert_eq!(wait_served(&platform, "acme").value(), 1, "what the dump has");
    assert_eq!(platform.call_tenant("acme", "edition", json!([])).value(), 1);
    platform.call_tenant("acme", "add_account", json!(["new"])).ok();
    eventually("the registry to follow", || {
        let row = registry(&cluster, &platform.name, "acme").ok_or_else(|| "no row".to_owned())?;
        let right = row["state"] == "ready"
            && row["bundle_sha256"] == sha256(&cluster, &bundle(1))
            && row["is_current"] == true;
        check(right, format!("{row:#}"))
    });
    // It is deployed to like the others, and is as closed as they are.
    platform.migrate(&bundle(2)).ok().field("total", 2).field("failed", 0);
    assert_eq!(platform.call_tenant("acme", "edition", json!([])).value(), 2);
    assert_eq!(platform.call_tenant("acme", "count_accounts", json!([])).value(), 2);
    let owner = format!(
        "SELECT datdba::regrole || ' ' || has_database_privilege('public', oid, 'CONNECT') FROM pg_database WHERE datname = '{database}'"
    );
    assert_eq!(sql::text(&mut cluster.control(), &owner), format!("{} false", platform.owner_role()));
}

#[test]
fn an_older_dump_is_not_current_and_the_next_deployment_brings_it_up() {
    let cluster = shared();
    let fleet = kit::Fleet::new(&cluster, "restold", &bundle(1), 3);
    let database = fleet.database("t002");
    fleet.platform.call_tenant("t002", "add_account", json!(["kept"])).ok();
    let file = dump(&cluster, &database);
    let newer = adding(bundle(2));
    sql::done(fleet.run(&newer, ""));
    assert_eq!(fleet.counters(), [1; 4]);

    drop_and_restore(&cluster, &file, &database);
    assert_eq!(wait_served(&fleet.platform, "t002").value(), 1);
    assert_eq!(fleet.edition("t002"), 1, "the dump's functions");
    eventually("the registry to show the bundle of the dump", || {
        let row = registry(&cluster, &fleet.platform.name, "t002").ok_or_else(|| "no row".to_owned())?;
        let right = row["bundle_sha256"] == sha256(&cluster, &bundle(1))
            && row["is_current"] == false
            && row["state"] == "ready";
        check(right, format!("{row:#}"))
    });
    let answer = sql::done(fleet.run(&newer, ""));
    assert_eq!((&answer["succeeded"], &answer["unchanged"]), (&json!(1), &json!(3)), "{answer:#}");
    assert_eq!(fleet.edition("t002"), 2);
    assert_eq!(fleet.counters(), [1; 4], "the dump had not seen the migration: it ran once more, there alone");
    assert_eq!(registry(&cluster, &fleet.platform.name, "t002").expect("a row")["is_current"], true);
}

/// Without a call in between: the deployment itself must not take the registry's word for it.
#[test]
fn a_deployment_right_after_a_restore_is_not_fooled() {
    let cluster = shared();
    let fleet = kit::Fleet::new(&cluster, "restnow", &bundle(1), 2);
    let database = fleet.database("t001");
    let file = dump(&cluster, &database);
    let newer = adding(bundle(2));
    sql::done(fleet.run(&newer, ""));
    drop_and_restore(&cluster, &file, &database);
    let answer = sql::done(fleet.run(&newer, ""));
    assert_eq!(
        (&answer["succeeded"], &answer["unchanged"], &answer["failed"]),
        (&json!(1), &json!(2), &json!(0)),
        "{answer:#}"
    );
    assert_eq!(fleet.edition("t001"), 2);
    assert_eq!(fleet.counters(), [1; 3]);
}

/// A restore begins while the process that is to look into the database starts: it must see that, for what it would take over, the restore
/// is still changing. New sessions are held by a lock on a catalog that each reads.
#[test]
fn a_restore_that_begins_while_it_is_looked_into_is_left_alone() {
    let cluster = Cluster::builder().setting("autovacuum", "off").start();
    let platform = Platform::register(&cluster, "restlook", &bundle(1));
    platform.register_tenant("acme", &bundle(1)).ok();
    let database = platform.database_of("acme");
    let grant = format!("BEGIN; GRANT SELECT ON SEQUENCE public.accounts_id_seq TO {}", platform.call_role());
    let mut pg_dump = cluster.client_program("pg_dump");
    pg_dump.args(["--no-owner", "--no-acl", "--inserts", &database]);
    let dump = String::from_utf8(server::run(pg_dump).stdout).expect("a dump in UTF-8");
    let dump: Vec<&str> = dump.lines().filter(|line| !line.starts_with('\\')).collect();
    let (mut control, mut gate) = (cluster.control(), cluster.connect("postgres"));
    by_hand(&cluster, "postgres", &format!("DROP DATABASE {database}"));
    by_hand(&cluster, "postgres", &format!("CREATE DATABASE {database}"));
    let mut restorer = cluster.connect(&database);
    sql::done(gate.batch_execute("BEGIN; LOCK TABLE pg_db_role_setting"));
    let looks = eventually("a process to be on its way", || {
        let waiting = "SELECT pid FROM pg_locks WHERE relation = 'pg_db_role_setting'::regclass AND NOT granted";
        sql::texts(&mut control, waiting).pop().ok_or("nobody waits".to_owned())
    });
    sql::done(restorer.batch_execute(&dump.join("\n")));
    sql::done(restorer.batch_execute(&grant));
    sql::done(gate.batch_execute("ROLLBACK"));
    eventually("the look to be over", || {
        // What started may have been another executor of the control database, which stays.
        let elsewhere = format!("SELECT pid FROM pg_stat_activity WHERE pid = {looks} AND datname = 'postgres'");
        let is_over =
            !Path::new(&format!("/proc/{looks}")).exists() || !sql::texts(&mut control, &elsewhere).is_empty();
        check(is_over, format!("process {looks} is still there"))
    });
    let owner = "SELECT relowner::regrole FROM pg_class WHERE relname = 'accounts'";
    assert_eq!(sql::text(&mut restorer, owner), "postgres", "it is not taken while it is being restored");
    sql::done(restorer.batch_execute("COMMIT"));
    assert_eq!(wait_served(&platform, "acme").value(), 0);
    assert_eq!(sql::text(&mut restorer, owner), platform.owner_role());
}

/// A platform that calls over libpq has sessions in its tenants' databases all the time.
#[test]
fn sessions_that_can_only_call_do_not_keep_a_restored_tenant_away() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "restapp", &bundle(1));
    platform.register_tenant("acme", &bundle(1)).ok();
    let (database, application) = (platform.database_of("acme"), unique("application"));
    let role = format!("CREATE ROLE {application} LOGIN; GRANT {} TO {application}", platform.call_role());
    by_hand(&cluster, "postgres", &role);
    let file = dump(&cluster, &database);
    by_hand(&cluster, "postgres", &format!("DROP DATABASE {database}"));
    by_hand(&cluster, "postgres", &format!("CREATE DATABASE {database}"));
    let mut session = cluster.connect_as(&application, &database);
    sql::done(session.batch_execute("BEGIN; SELECT 1"));
    restore(&cluster, &file, &database);
    assert_eq!(wait_served(&platform, "acme").value(), 0);
    sql::done(session.batch_execute("SELECT count_accounts(); COMMIT"));
}

/// `pg_restore --clean` into the database as it is, which is never dropped.
#[test]
fn a_restore_in_place_is_noticed_too() {
    let cluster = shared();
    let fleet = kit::Fleet::new(&cluster, "restclean", &bundle(1), 2);
    let database = fleet.database("t001");
    let file = dump(&cluster, &database);
    sql::done(fleet.run(&bundle(2), ""));
    let mut pg_restore = cluster.client_program("pg_restore");
    pg_restore.args(["--clean", "--if-exists", "--exit-on-error", "-d", &database]).arg(&file);
    server::run(pg_restore);
    assert_eq!(fleet.edition("t001"), 1, "the dump's functions serve");
    eventually("the registry to know", || {
        let row = registry(&cluster, &fleet.platform.name, "t001").ok_or_else(|| "no row".to_owned())?;
        check(row["touched"] == true || row["is_current"] == false, format!("{row:#}"))
    });
    let answer = sql::done(fleet.run(&bundle(2), ""));
    assert_eq!((&answer["succeeded"], &answer["unchanged"]), (&json!(1), &json!(2)), "{answer:#}");
    assert_eq!(fleet.edition("t001"), 2);
    let drift = format!("SELECT * FROM stonescriptdb.drift WHERE platform = '{}'", fleet.platform.name);
    let drift = json_rows(&mut cluster.control(), &drift);
    assert!(drift.is_empty(), "{drift:#?}");
}
