//! A database that exists becomes a tenant: `stonescriptdb.adopt`.

use acceptance::{Cluster, Platform, refused, shared, sql, unique};
use serde_json::{Value, json};

use crate::kit::{self, bundle, by_hand, registered};
use crate::stored::Stored;

fn adopt(cluster: &Cluster, arguments: &str) -> Result<Value, postgres::Error> {
    cluster.control().query_one(&format!("SELECT stonescriptdb.adopt({arguments})"), &[]).map(|row| row.get(0))
}

/// A database that somebody made by hand, with a table of the bundle and rows in it, and things that no bundle knows.
#[track_caller]
fn legacy(cluster: &Cluster) -> (String, String) {
    let (database, owner) = (unique("legacy"), unique("legacy_owner"));
    let mut control = cluster.control();
    sql::done(control.batch_execute(&format!("CREATE ROLE {owner} LOGIN")));
    sql::done(control.batch_execute(&format!("CREATE DATABASE {database} OWNER {owner}")));
    let mut client = cluster.connect(&database);
    sql::done(client.batch_execute(&format!(
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
         GRANT USAGE ON FOREIGN SERVER nowhere TO {owner};
         SET ROLE {owner};
         CREATE SCHEMA reports;
         CREATE FOREIGN TABLE reports.far (n int) SERVER nowhere;
         CREATE TYPE reports.mood AS ENUM ('good'); REVOKE USAGE ON TYPE reports.mood FROM PUBLIC;
         CREATE TABLE public.accounts (id bigserial PRIMARY KEY, email text);
         INSERT INTO accounts (email) VALUES ('Ada'), ('Edsger'), ('Grace');
         CREATE TABLE reports.monthly (n int); INSERT INTO reports.monthly VALUES (7);
         CREATE VIEW dba_view AS SELECT count(*) AS n FROM accounts;
         CREATE FUNCTION dba_tool() RETURNS int LANGUAGE sql AS 'SELECT 1';"
    )));
    (database, owner)
}

#[test]
fn an_existing_database_is_adopted_and_then_migrated() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "adopts", &bundle(1));
    let (database, owner) = legacy(&cluster);
    let answer = sql::done(adopt(&cluster, &format!("'{}', '{database}', 'Acme'", platform.name)));
    assert_eq!(answer, json!({"status": "adopted", "database": database}));
    let row = registered(&cluster, &database);
    assert_eq!(
        (&row["platform"], &row["tenant_id"], &row["schema_name"]),
        (&json!(platform.name), &json!("Acme"), &json!(null)),
        "{row:#}"
    );
    assert_eq!((&row["bundle_sha256"], &row["is_current"]), (&json!(null), &json!(false)), "no bundle yet: {row:#}");
    check_owned(&cluster, &platform, &database, &owner);
    let rights = format!(
        "SELECT has_table_privilege(r, 'reports.far', 'SELECT') AND has_table_privilege(r, 'reports.far', 'UPDATE')
             AND has_type_privilege(r, 'reports.mood', 'USAGE')
         FROM (VALUES ('{}')) AS call(r)",
        platform.call_role()
    );
    assert_eq!(
        sql::text(&mut cluster.connect(&database), &rights),
        "t",
        "the call role may use what it may use elsewhere"
    );
    // The name that it has stays, and nothing of it is to be called yet.
    let answer = platform.call_tenant("Acme", "dba_tool", json!([]));
    assert!(answer.status == 403 || answer.status == 404, "{answer}");

    let answer = platform.migrate(&bundle(2)).ok().field("total", 2).field("failed", 0);
    assert!(answer.array("databases_updated").contains(&json!(database)), "{answer}");
    assert_eq!(platform.call_tenant("Acme", "count_accounts", json!([])).value(), 3, "the rows are there");
    assert_eq!(platform.call_tenant("Acme", "add_account", json!(["Barbara"])).value(), 4, "the sequence goes on");
    assert_eq!(platform.call_tenant("Acme", "edition", json!([])).value(), 2);
    let mut client = cluster.connect(&database);
    assert_eq!(sql::text(&mut client, "SELECT n FROM reports.monthly"), "7", "what nobody declared stays");
    assert_eq!(sql::text(&mut client, "SELECT n FROM dba_view"), "4");
    assert_eq!(sql::text(&mut client, "SELECT dba_tool()"), "1");
    platform.call_tenant("Acme", "dba_tool", json!([])).error(403, "unauthorized_function");
    drop(client);
    let row = registered(&cluster, &database);
    assert_eq!((&row["state"], &row["is_current"]), (&json!("ready"), &json!(true)), "{row:#}");

    // From here on it is a tenant like every other.
    let again = sql::done(kit::migrate_all(&mut cluster.control(), &platform.name, None, Some(&bundle(2)), ""));
    assert_eq!(again["unchanged"], 2, "{again:#}");
    sql::done(cluster.control().query_one("SELECT stonescriptdb.copy_tenant($1, 'Acme', 'twin')", &[&platform.name]));
    assert_eq!(platform.call_tenant("twin", "count_accounts", json!([])).value(), 4);
    sql::done(
        cluster.control().query_one("SELECT stonescriptdb.drop_tenant($1, 'Acme', $2)", &[&platform.name, &database]),
    );
    assert!(!sql::database_exists(&mut cluster.control(), &database));
}

/// Database and objects belong to the platform's owner role, and nobody else gets in.
#[track_caller]
fn check_owned(cluster: &Cluster, platform: &Platform<'_>, database: &str, before: &str) {
    let role = platform.owner_role();
    let mut client = cluster.connect(database);
    let of_database = format!("SELECT datdba::regrole FROM pg_database WHERE datname = '{database}'");
    assert_eq!(sql::text(&mut client, &of_database), role);
    let others = format!(
        "SELECT relname FROM pg_class WHERE relowner <> '{role}'::regrole AND relnamespace IN ('public'::regnamespace, 'reports'::regnamespace)
         UNION ALL SELECT proname FROM pg_proc WHERE proowner <> '{role}'::regrole AND pronamespace = 'public'::regnamespace
         UNION ALL SELECT nspname FROM pg_namespace WHERE nspowner <> '{role}'::regrole AND nspname = 'reports'"
    );
    assert_eq!(sql::texts(&mut client, &others), Vec::<String>::new(), "all belongs to {role}");
    let open = format!(
        "SELECT has_database_privilege('public', '{database}', 'CONNECT') OR has_database_privilege('{before}', '{database}', 'CONNECT')"
    );
    assert_eq!(sql::text(&mut client, &open), "f");
}

#[test]
fn over_http_and_into_a_stored_schema() {
    let cluster = shared();
    let stored = Stored::new(&cluster, "adopth");
    stored.upload("web", &bundle(1)).expect(201);
    let admin = cluster.http().admin();
    let (database, _) = legacy(&cluster);
    let body = json!({"platform": stored.name, "database": database, "tenant_id": "acme", "schema_name": "web"});
    cluster.http().post_json("/admin/adopt", &body).error(401, "unauthorized");
    admin.post_json("/admin/adopt", &body).ok().field("status", "adopted").field("database", database.as_str());
    stored.migrate("web", None).ok().field("databases_updated", json!([database]));
    assert_eq!(stored.call("web", Some("acme"), "count_accounts").value(), 3);
    let (own, _) = legacy(&cluster);
    let body = json!({"platform": stored.name, "database": own, "tenant_id": "main"});
    admin.post_json("/admin/adopt", &body).ok().field("database", own.as_str());
    cluster.http().migrate(&stored.name, None, &bundle(3).tar_gz(), &[]).ok().field("databases_updated", json!([own]));
    assert_eq!(cluster.http().call(&stored.name, None, "edition", json!([])).value(), 3);
    assert_eq!(stored.call("web", Some("acme"), "edition").value(), 1);
}

#[test]
fn what_cannot_be_adopted() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "adoptno", &bundle(1));
    let other = Platform::register(&cluster, "adoptno", &bundle(1));
    let (database, owner) = legacy(&cluster);
    let name = &platform.name;
    refused(adopt(&cluster, &format!("'nobody', '{database}', 'a'"))).sqlstate("42704").says("platform_not_found");
    refused(adopt(&cluster, &format!("'{name}', 'not_there', 'a'"))).sqlstate("3D000").says("database_not_found");
    for system in ["postgres", "template0", "template1"] {
        refused(adopt(&cluster, &format!("'{name}', '{system}', 'a'"))).meant();
    }
    // Another tenant's, and an identifier that is taken.
    refused(adopt(&cluster, &format!("'{name}', '{}', 'a'", other.database()))).meant();
    refused(adopt(&cluster, &format!("'{name}', '{}', 'again'", platform.database()))).meant();
    refused(adopt(&cluster, &format!("'{name}', '{database}', 'main'"))).sqlstate("42P04");
    let body = |platform: &str, database: &str, tenant: &str| json!({"platform": platform, "database": database, "tenant_id": tenant});
    let admin = cluster.http().admin();
    admin.post_json("/admin/adopt", &body("nobody", &database, "a")).error(404, "platform_not_found");
    admin.post_json("/admin/adopt", &body(name, "not_there", "a")).error(404, "database_not_found");
    admin.post_json("/admin/adopt", &body(name, &other.database(), "a")).client_error();
    admin.post_json("/admin/adopt", &json!({"platform": name, "database": database})).error(400, "invalid_request");

    // Nothing of it was touched.
    let mine = format!("SELECT datdba::regrole FROM pg_database WHERE datname = '{database}'");
    assert_eq!(sql::text(&mut cluster.control(), &mine), owner);
    let listed = format!("SELECT database FROM stonescriptdb.databases WHERE platform = '{name}'");
    assert_eq!(sql::texts(&mut cluster.control(), &listed), [platform.database()]);
    assert_eq!(
        (platform.call("edition", json!([])).value(), other.call("edition", json!([])).value()),
        (json!(1), json!(1))
    );
    by_hand(&cluster, &database, "SELECT 1 FROM accounts");
}

/// A bundle that its rows cannot follow: it stays as it was, adopted, and can be mended.
#[test]
fn an_adopted_database_that_cannot_follow_is_told() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "adoptbad", &bundle(1));
    let (database, _) = legacy(&cluster);
    by_hand(&cluster, &database, "INSERT INTO accounts (email) VALUES (NULL)");
    sql::done(adopt(&cluster, &format!("'{}', '{database}', 'acme'", platform.name)));
    let answer = cluster.http().migrate(&platform.name, None, &kit::strict().tar_gz(), &[("on_error", "continue")]);
    let answer = answer.error(422, "deployment_partial");
    let told = answer.array("databases").iter().find(|told| told["database"] == database.as_str());
    assert_eq!(told.map(|told| &told["error"]["sqlstate"]), Some(&json!("23502")), "{answer}");
    assert_eq!(sql::text(&mut cluster.connect(&database), "SELECT count(*) FROM accounts"), "4");
    by_hand(&cluster, &database, "DELETE FROM accounts WHERE email IS NULL");
    let answer = sql::done(kit::verb(&cluster, "retry", answer.str("deployment_id")));
    assert_eq!(answer["status"], "completed", "{answer:#}");
    assert_eq!(platform.call_tenant("acme", "count_accounts", json!([])).value(), 3);
}
