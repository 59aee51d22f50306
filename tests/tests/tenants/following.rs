//! What is done to tenants' databases by plain SQL and pg_restore, and the registry that follows.

use acceptance::{Cluster, Platform, eventually, shared, sql, wait::check};
use serde_json::{Value, json};

use crate::{database_row, notes};

#[track_caller]
pub fn run(cluster: &Cluster, program: &str, arguments: &[&str]) {
    let done = cluster.client_program(program).args(arguments).output().expect("the program runs");
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A tenant with a row, dropped and restored from a dump.
#[track_caller]
fn dropped_and_restored(cluster: &Cluster, how: &[&str]) -> String {
    let platform = Platform::register(cluster, "rst", &notes());
    platform.register_tenant("acme", &notes()).ok();
    platform.call_tenant("acme", "add_note", json!(["kept"])).ok();
    let database = platform.database_of("acme");
    let dump = cluster.dir().join(format!("{database}.dump")).display().to_string();
    run(cluster, "pg_dump", &["-Fc", "-f", &dump, &database]);
    sql::done(cluster.control().batch_execute(&format!("DROP DATABASE {database}")));
    platform.call_tenant("acme", "read_notes", json!([])).error(404, "database_not_found");
    run(cluster, "createdb", &[&database]);
    run(cluster, "pg_restore", &[how, &["-d", &database, &dump]].concat());
    eventually("the restored tenant to answer", || {
        let answer = platform.call_tenant("acme", "read_notes", json!([]));
        check(answer.status == 200, format!("{answer:?}"))
    });
    assert_eq!(platform.call_tenant("acme", "read_notes", json!([])).ok().value(), "kept");
    assert_eq!(database_row(cluster, &database, "tenant_id, state, is_current, touched"), "acme ready t t");
    let owner = format!("SELECT datdba::regrole FROM pg_database WHERE datname = '{database}'");
    assert_eq!(sql::text(&mut cluster.control(), &owner), platform.owner_role());
    let open = format!("SELECT has_database_privilege('pg_monitor', '{database}', 'CONNECT')");
    assert_eq!(sql::text(&mut cluster.control(), &open), "f");
    platform.call_tenant("acme", "add_note", json!(["more"])).ok();
    platform.migrate(&notes()).ok();
    assert_eq!(database_row(cluster, &database, "touched"), "f");
    database
}

#[test]
fn a_dropped_and_restored_tenant_is_called_again() {
    dropped_and_restored(&shared(), &[]);
}

#[test]
fn a_tenant_restored_without_owners_and_rights_is_called_again() {
    dropped_and_restored(&shared(), &["--no-owner", "--no-acl"]);
}

#[test]
fn another_database_of_the_same_name_is_left_alone() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "imp", &notes());
    platform.register_tenant("acme", &notes()).ok();
    let database = platform.database_of("acme");
    sql::done(cluster.control().batch_execute("CREATE ROLE mallory LOGIN CREATEDB"));
    sql::done(cluster.control().batch_execute(&format!("DROP DATABASE {database}")));
    sql::done(cluster.connect_as("mallory", "postgres").batch_execute(&format!("CREATE DATABASE {database}")));
    // It looks the part, but is not what the platform's role or a superuser made.
    sql::done(cluster.connect_as("mallory", &database).batch_execute(
        "CREATE SCHEMA mine;
         CREATE TABLE public._stonescriptdb_state AS SELECT repeat('0', 64) AS bundle_sha256;
         CREATE TABLE public._stonescriptdb_gateway_functions AS SELECT 'read_notes'::text AS function_name",
    ));
    let said = format!("the database \"{database}\" has the name of a tenant's, but is none");
    eventually("the log to say so", || check(cluster.log().contains(&said), "the log does not"));
    platform.call_tenant("acme", "read_notes", json!([])).error(404, "database_not_found");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(cluster.log().matches(&said).count(), 1, "said more than once");
    let owner = format!("SELECT datdba::regrole FROM pg_database WHERE datname = '{database}'");
    assert_eq!(sql::text(&mut cluster.control(), &owner), "mallory");
}

#[test]
fn a_rename_by_plain_sql_is_entered() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "rnm", &notes());
    let (from, to) = (platform.database(), platform.database_of("moved"));
    sql::done(cluster.control().batch_execute(&format!("ALTER DATABASE {from} RENAME TO {to}")));
    platform.call("read_notes", json!([])).ok();
    let row = format!("SELECT name FROM stonescriptdb.database WHERE platform = '{}'", platform.name);
    eventually("the row to have the new name", || {
        let name = sql::text(&mut cluster.control(), &row);
        check(name == to, name)
    });
    let history = format!("SELECT count(*) FROM stonescriptdb.changelog('{}')", platform.name);
    assert_ne!(sql::text(&mut cluster.control(), &history), "0");
    platform.migrate(&notes()).ok();
}

#[track_caller]
fn migrate_all(platform: &Platform) -> Value {
    let query = format!("SELECT stonescriptdb.migrate_all('{}')", platform.name);
    sql::done(platform.cluster.control().query_one(&query, &[])).get(0)
}

#[test]
fn ddl_by_other_means_is_noticed_before_the_next_deployment() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "tch", &notes());
    let database = platform.database();
    assert_eq!(migrate_all(&platform)["unchanged"], 1);
    let mut inside = cluster.connect(&database);
    sql::done(
        inside
            .batch_execute("INSERT INTO notes (body) VALUES ('x'); CREATE TEMP TABLE t (i int); CREATE INDEX ON t (i)"),
    );
    sql::done(inside.batch_execute("ALTER TABLE t ADD j int; DROP TABLE t; BEGIN; DROP TABLE notes; ROLLBACK"));
    sql::done(inside.batch_execute("VACUUM notes"));
    assert_eq!(migrate_all(&platform)["unchanged"], 1, "nothing has changed");
    // Each time the deployment follows at once.
    for change in [
        "CREATE TABLE by_hand (i int)",
        "DO $$ BEGIN DROP FUNCTION read_notes(); END $$",
        "BEGIN; CREATE INDEX ON notes (body); SAVEPOINT s; DROP TABLE notes; ROLLBACK TO s; COMMIT",
        "REVOKE EXECUTE ON FUNCTION add_note FROM PUBLIC",
    ] {
        sql::done(inside.batch_execute(change));
        assert_eq!(migrate_all(&platform)["succeeded"], 1, "after {change}");
        assert_eq!(migrate_all(&platform)["unchanged"], 1, "again after {change}");
    }
    sql::done(inside.batch_execute("DROP FUNCTION read_notes()"));
    eventually("the view to say so", || {
        let row = database_row(&cluster, &database, "touched");
        check(row == "t", row)
    });
}

#[test]
fn ddl_of_a_called_function_counts_too() {
    let cluster = shared();
    let function = "CREATE FUNCTION split() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS\n\
                    $$ BEGIN CREATE TEMP TABLE t (i int) ON COMMIT DROP; CREATE TABLE IF NOT EXISTS part (i int); END $$;\n";
    let platform = Platform::register(&cluster, "tcc", &notes().file("functions/split.pssql", function));
    assert_eq!(migrate_all(&platform)["unchanged"], 1);
    platform.call("split", json!([])).ok();
    assert_eq!(migrate_all(&platform)["succeeded"], 1);
}

#[test]
fn ddl_while_the_server_worker_is_away_is_found_when_it_is_back() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "away", &notes());
    let mut inside = cluster.connect(&platform.database());
    cluster.end_server_worker();
    sql::done(inside.batch_execute("ALTER TABLE notes ADD extra int"));
    cluster.wait_ready();
    eventually("the change to be noted", || {
        let row = database_row(&cluster, &platform.database(), "touched");
        check(row == "t", row)
    });
}

#[test]
fn a_check_is_noted_in_the_registry() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "chk", &notes());
    for tenant in ["a", "b", "c", "d", "e", "f"] {
        platform.register_tenant(tenant, &notes()).ok();
    }
    let by_hand = "DROP FUNCTION read_notes(); CREATE TABLE by_hand (i int)";
    sql::done(cluster.connect(&platform.database_of("d")).batch_execute(by_hand));
    let drift = format!(
        "SELECT count(*), count(DISTINCT database) FROM stonescriptdb.drift WHERE platform = '{}'",
        platform.name
    );
    let row = sql::done(cluster.control().query_one(&drift, &[]));
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (3, 1));
    assert_eq!(database_row(&cluster, &platform.database_of("d"), "drift, checked_at > deployed_at"), "3 t");
    assert_eq!(database_row(&cluster, &platform.database_of("e"), "drift, checked_at > deployed_at"), "0 t");
}

#[test]
fn a_restore_that_goes_on_is_waited_for() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "slw", &notes());
    platform.register_tenant("acme", &notes()).ok();
    let database = platform.database_of("acme");
    let dump = cluster.dir().join("slow.dump").display().to_string();
    run(&cluster, "pg_dump", &["-Fc", "-f", &dump, &database]);
    sql::done(cluster.control().batch_execute(&format!("DROP DATABASE {database}")));
    run(&cluster, "createdb", &[&database]);
    // Somebody who restores has more to do.
    let mut busy = cluster.connect(&database);
    let restoring = std::thread::spawn(move || {
        let begun = std::time::Instant::now();
        sql::done(busy.batch_execute("SELECT pg_sleep(4)"));
        begun
    });
    run(&cluster, "pg_restore", &["-d", &database, &dump]);
    eventually("the tenant to answer", || {
        let answer = platform.call_tenant("acme", "read_notes", json!([]));
        check(answer.status == 200, format!("{answer:?}"))
    });
    assert!(restoring.is_finished(), "it was taken while somebody worked in it");
    restoring.join().expect("the thread ends well");
}

/// What nobody can see yet is no deployment's to find, however long its commit takes.
#[test]
fn a_change_whose_commit_waits_is_not_missed() {
    let cluster = Cluster::builder()
        .setting("synchronous_standby_names", "absent")
        .setting("synchronous_commit", "local")
        .start();
    let platform = Platform::register(&cluster, "slowly", &notes());
    let touched = || {
        let query = format!("SELECT touched::text FROM stonescriptdb.databases WHERE platform = '{}'", platform.name);
        sql::text(&mut cluster.control(), &query)
    };
    std::thread::scope(|scope| {
        let change = scope.spawn(|| {
            let mut client = platform.connect();
            sql::done(client.batch_execute("SET synchronous_commit = on"));
            sql::done(client.batch_execute("CREATE TABLE by_hand (id int)"));
        });
        eventually("the commit to wait", || {
            let query = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            let count = sql::text(&mut cluster.control(), query);
            check(count == "1", count)
        });
        // It sees the mark, and not what was changed.
        eventually("the mark", || check(touched() == "true", "none"));
        platform.migrate(&notes()).ok();
        assert_eq!(touched(), "false", "the deployment has looked");
        cluster.configure("synchronous_standby_names", "");
        cluster.reload();
        change.join().expect("the change");
    });
    eventually("it to be known that something has changed", || check(touched() == "true", "it is not"));
}
