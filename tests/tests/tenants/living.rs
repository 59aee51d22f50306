//! A dump restored into a tenant's database as it stands: the registry knows of which bundle it is then.

use acceptance::{Cluster, Files, Platform, eventually, shared, sql, wait::check};
use serde_json::json;

use crate::following::run;
use crate::{database_row, notes};

fn later() -> Files {
    notes()
        .edit("functions/read_notes.pssql", "SELECT body FROM", "SELECT upper(body) FROM")
        .file("tables/marks.pssql", "CREATE TABLE marks (id int PRIMARY KEY);\n")
}

/// A tenant of the later bundle into which a dump of the first one is restored; the database's name.
#[track_caller]
fn restored<'c>(cluster: &'c Cluster, how: &[&str]) -> (Platform<'c>, String) {
    let platform = Platform::register(cluster, "live", &notes());
    platform.register_tenant("acme", &notes()).ok();
    platform.call_tenant("acme", "add_note", json!(["kept"])).ok();
    let database = platform.database_of("acme");
    let dump = cluster.dir().join(format!("{database}.dump")).display().to_string();
    run(cluster, "pg_dump", &["-Fc", "-f", &dump, &database]);
    platform.migrate(&later()).ok();
    assert_eq!(database_row(cluster, &database, "is_current, touched"), "t f");
    let recorded = format!("SELECT bundle_sha256 FROM stonescriptdb.database WHERE name = '{database}'");
    let newest = sql::text(&mut cluster.control(), &recorded);
    run(cluster, "pg_restore", &[&["--clean", "--if-exists"], how, &["-d", &database, &dump]].concat());
    eventually("the registry to know the bundle", || {
        let row = database_row(cluster, &database, "state, is_current, touched");
        check(row == "ready f t", row)
    });
    let now = sql::text(&mut cluster.control(), &recorded);
    assert_ne!(now, newest);
    assert_eq!(now, sql::text(&mut cluster.connect(&database), "SELECT bundle_sha256 FROM _stonescriptdb_state"));
    (platform, database)
}

#[test]
fn a_dump_of_an_older_bundle_in_a_living_tenant_is_known_as_one() {
    let cluster = shared();
    let (platform, database) = restored(&cluster, &[]);
    assert_eq!(platform.call_tenant("acme", "read_notes", json!([])).ok().value(), "kept");
    platform.migrate(&later()).ok();
    assert_eq!(database_row(&cluster, &database, "is_current, touched"), "t f");
    assert_eq!(platform.call_tenant("acme", "read_notes", json!([])).ok().value(), "KEPT");
}

#[test]
fn in_one_transaction_it_is_known_too() {
    restored(&shared(), &["--single-transaction"]);
}

/// Other DDL does not have anybody look into the database.
#[test]
fn a_table_made_by_hand_is_no_restore() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "hand", &notes());
    let mut client = platform.connect();
    sql::done(
        client.batch_execute("UPDATE _stonescriptdb_state SET bundle_sha256 = 'other'; CREATE TABLE by_hand (id int)"),
    );
    let database = platform.database();
    eventually("it to be touched", || {
        let row = database_row(&cluster, &database, "is_current, touched");
        check(row == "t t", row)
    });
}
