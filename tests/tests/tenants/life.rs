//! Tenants renamed, copied, suspended, dropped, taken over.

use acceptance::{Platform, shared, sql, unique};
use serde_json::{Value, json};

use crate::{database_row, notes};

#[track_caller]
fn ask(platform: &Platform, function: &str, arguments: &str) -> Value {
    let query = format!("SELECT stonescriptdb.{function}('{}', {arguments})", platform.name);
    sql::done(platform.cluster.control().query_one(&query, &[])).get(0)
}

#[track_caller]
fn refused(platform: &Platform, function: &str, arguments: &str) -> sql::Failure {
    let query = format!("SELECT stonescriptdb.{function}('{}', {arguments})", platform.name);
    sql::refused(platform.cluster.control().query_one(&query, &[]))
}

#[test]
fn a_tenant_is_renamed_with_its_database_and_its_history() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "ren", &notes());
    platform.register_tenant("old", &notes()).ok();
    platform.register_tenant("taken", &notes()).ok();
    platform.call_tenant("old", "add_note", json!(["kept"])).ok();
    let (from, to) = (platform.database_of("old"), platform.database_of("new"));
    let renamed = ask(&platform, "rename_tenant", "'old', 'New'");
    assert_eq!(renamed, json!({"status": "renamed", "database": to, "from_database": from}));
    assert_eq!(platform.call_tenant("new", "read_notes", json!([])).ok().value(), "kept");
    platform.call_tenant("old", "read_notes", json!([])).error(404, "database_not_found");
    let history = format!("SELECT count(*) FROM stonescriptdb.changelog('{}', 'New')", platform.name);
    assert_ne!(sql::text(&mut cluster.control(), &history), "0");
    // Its old name is free again, and its new one is not.
    platform.register_tenant("old", &notes()).ok();
    refused(&platform, "rename_tenant", "'old', 'taken'").sqlstate("42P04");
    refused(&platform, "rename_tenant", "'old', 'Taken!'").sqlstate("42710");
    refused(&platform, "rename_tenant", "'old', 'new!'").sqlstate("42710");
    refused(&platform, "rename_tenant", "'nobody', 'x'").sqlstate("3D000");
    refused(&platform, "rename_tenant", "'old', ''").sqlstate("22023");
    sql::done(cluster.control().batch_execute(&format!("CREATE DATABASE {}", platform.database_of("foreign"))));
    refused(&platform, "rename_tenant", "'old', 'foreign'").sqlstate("42P04");
    assert_eq!(database_row(&cluster, &from, "tenant_id, state"), "old ready");
    // Somebody is connected: named, and everything stays.
    let client = cluster.connect(&from);
    refused(&platform, "rename_tenant", "'old', 'later'").sqlstate("55006").says("Connected to it");
    drop(client);
    assert_eq!(platform.call_tenant("old", "read_notes", json!([])).ok().array("rows").len(), 0);
    platform.migrate(&notes()).ok();
}

#[test]
fn a_copy_has_everything_and_a_life_of_its_own() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "cop", &notes());
    platform.call("add_note", json!(["first"])).ok();
    let body = json!({"platform": platform.name, "tenant_id": "main", "new_tenant_id": "Twin"});
    cluster.http().post_json("/admin/copy-tenant", &body).error(401, "unauthorized");
    let copied = cluster.http().admin().post_json("/admin/copy-tenant", &body).ok();
    let copied = copied.field("status", "copied").field("database", platform.database_of("twin"));
    drop(copied.field("from_database", platform.database()));
    platform.call_tenant("Twin", "add_note", json!(["second"])).ok();
    assert_eq!(platform.call_tenant("Twin", "read_notes", json!([])).ok().array("rows").len(), 2);
    assert_eq!(platform.call("read_notes", json!([])).ok().array("rows").len(), 1);
    let both = format!(
        "SELECT count(DISTINCT bundle_sha256) FROM stonescriptdb.databases WHERE platform = '{}'",
        platform.name
    );
    assert_eq!(sql::text(&mut cluster.control(), &both), "1");
    assert_eq!(platform.migrate(&notes()).ok().json["migrations_applied"], 0);
    cluster.http().admin().post_json("/admin/copy-tenant", &body).error(409, "database_already_exists");
    // PUBLIC may connect to neither.
    let open = format!("SELECT has_database_privilege('pg_monitor', '{}', 'CONNECT')", platform.database_of("twin"));
    assert_eq!(sql::text(&mut cluster.control(), &open), "f");
    let client = cluster.connect(&platform.database());
    refused(&platform, "copy_tenant", "'main', 'third'").sqlstate("55006");
    drop(client);
    assert_eq!(database_row(&cluster, &platform.database_of("third"), "state"), "");
    ask(&platform, "copy_tenant", "'main', 'third'");
}

#[test]
fn a_suspended_tenant_is_not_called_but_deployed() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "sus", &notes());
    let suspended = ask(&platform, "suspend_tenant", "'main', 'unpaid bills'");
    assert_eq!(suspended, json!({"status": "suspended", "database": platform.database()}));
    let answer = platform.call("read_notes", json!([])).error(503, "connection_failed");
    drop(answer.says("unpaid bills"));
    let by_sql = format!("SELECT stonescriptdb.call('{}', 'read_notes')", platform.name);
    sql::refused(cluster.control().query_one(&by_sql, &[])).sqlstate("57P03").says("unpaid bills");
    assert_eq!(database_row(&cluster, &platform.database(), "state, suspended_because"), "suspended unpaid bills");
    platform.migrate(&notes()).ok();
    let body = json!({"platform": platform.name, "tenant_id": "main"});
    cluster.http().admin().post_json("/admin/resume-tenant", &body).ok().field("status", "resumed");
    platform.call("read_notes", json!([])).ok();
    cluster.http().admin().post_json("/admin/suspend-tenant", &body).ok();
    platform.call("read_notes", json!([])).error(503, "connection_failed");
}

#[test]
fn a_tenant_is_dropped_over_http_and_a_missing_one_is_forgotten() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "drp", &notes());
    platform.register_tenant("a", &notes()).ok();
    platform.register_tenant("b", &notes()).ok();
    let drop_it = |tenant: &str, confirm: &str| {
        let body = json!({"platform": platform.name, "tenant_id": tenant, "confirm": confirm});
        cluster.http().admin().post_json("/admin/drop-tenant", &body)
    };
    drop_it("a", "other").error(400, "invalid_request");
    drop_it("a", &platform.database_of("a")).ok().field("status", "dropped");
    let gone = platform.database_of("b");
    sql::done(cluster.control().batch_execute(&format!("DROP DATABASE {gone}")));
    assert_eq!(database_row(&cluster, &gone, "state"), "missing");
    drop_it("b", "other").error(404, "database_not_found");
    drop_it("b", &gone).ok().field("status", "dropped");
    assert_eq!(database_row(&cluster, &gone, "state"), "");
    drop_it("b", &gone).error(404, "database_not_found");
}

#[test]
fn a_database_that_exists_is_adopted() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "ado", &notes());
    let database = unique("legacy");
    sql::done(cluster.control().batch_execute(&format!("CREATE DATABASE {database}")));
    let mut inside = cluster.connect(&database);
    sql::done(inside.batch_execute(
        "CREATE TABLE notes (id bigserial PRIMARY KEY, body text NOT NULL); INSERT INTO notes (body) VALUES ('from before');",
    ));
    drop(inside);
    let adopt = |tenant: &str, database: &str| {
        let body = json!({"platform": platform.name, "database": database, "tenant_id": tenant});
        cluster.http().admin().post_json("/admin/adopt", &body)
    };
    adopt("old", "nowhere").error(404, "database_not_found");
    adopt("old", "template1").error(400, "invalid_request");
    adopt("old", "postgres").error(400, "invalid_request");
    adopt("main", &database).error(409, "database_already_exists");
    adopt("old", &platform.database()).error(409, "name_collision");
    let adopted = ask(&platform, "adopt", &format!("'{database}', 'old'"));
    assert_eq!(adopted, json!({"status": "adopted", "database": database}));
    assert_eq!(database_row(&cluster, &database, "tenant_id, state, is_current, touched"), "old ready f t");
    platform.call_tenant("old", "read_notes", json!([])).client_error();
    platform.migrate(&notes()).ok();
    assert_eq!(platform.call_tenant("old", "read_notes", json!([])).ok().value(), "from before");
    assert_eq!(database_row(&cluster, &database, "is_current, touched"), "t f");
    let open = format!("SELECT has_database_privilege('pg_monitor', '{database}', 'CONNECT')");
    assert_eq!(sql::text(&mut cluster.control(), &open), "f");
}

#[test]
fn only_its_owner_gives_a_database_away() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "own", &notes());
    let (database, role) = (unique("hers"), unique("alice"));
    sql::done(cluster.control().batch_execute(&format!("CREATE DATABASE {database}")));
    sql::done(cluster.control().batch_execute(&format!("CREATE ROLE {role} LOGIN IN ROLE stonescriptdb_admin")));
    let adopt = format!("SELECT stonescriptdb.adopt('{}', '{database}', 'hers')", platform.name);
    let mut alice = cluster.connect_as(&role, "postgres");
    sql::refused(alice.query_one(&adopt, &[])).sqlstate("42501").says("must be owner of database");
    sql::done(cluster.connect(&database).batch_execute("CREATE TABLE secrets (id int)"));
    sql::done(cluster.control().batch_execute(&format!("ALTER DATABASE {database} OWNER TO {role}")));
    sql::refused(alice.query_one(&adopt, &[])).sqlstate("42501").says("secrets");
    assert_eq!(database_row(&cluster, &database, "state"), "");
    sql::done(cluster.connect(&database).batch_execute(&format!("ALTER TABLE secrets OWNER TO {role}")));
    sql::done(alice.query_one(&adopt, &[]));
    assert_eq!(database_row(&cluster, &database, "state"), "ready");
}
