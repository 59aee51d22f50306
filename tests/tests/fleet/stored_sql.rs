//! Stored schemas over SQL: the same verbs, with the same answers.

use acceptance::{refused, shared, sql, unique};
use postgres::Client;
use serde_json::{Value, json};

use crate::kit::{self, bundle, json_row, json_rows, migrate_all, sha256};

fn ask(client: &mut Client, call: &str) -> Result<Value, postgres::Error> {
    client.query_one(&format!("SELECT stonescriptdb.{call}"), &[]).map(|row| row.get(0))
}

fn upload(
    client: &mut Client,
    platform: &str,
    schema: &str,
    files: &acceptance::Files,
) -> Result<Value, postgres::Error> {
    let query = "SELECT stonescriptdb.upload_schema($1, $2, $3)";
    client.query_one(query, &[&platform, &schema, &files.tar_gz()]).map(|row| row.get(0))
}

/// The names of an object's members, without those that only HTTP has.
fn keys(value: &Value) -> Vec<String> {
    let object = value.as_object().unwrap_or_else(|| panic!("an object expected: {value:#}"));
    object.keys().filter(|name| *name != "request_id").cloned().collect()
}

#[test]
fn a_schema_from_the_platform_to_the_call_over_sql() {
    let cluster = shared();
    let mut control = cluster.control();
    let (platform, over_http) = (unique("sqlv"), unique("sqlv"));
    let http = cluster.http();

    let answer = sql::done(ask(&mut control, &format!("register_platform('{platform}')")));
    assert_eq!((&answer["status"], &answer["platform"]), (&json!("registered"), &json!(platform)), "{answer:#}");
    let there = http.post_json("/platform/register", &json!({"platform": over_http})).expect(201);
    assert_eq!(keys(&answer), keys(&there.json), "{answer:#}\n{there}");
    let again = refused(ask(&mut control, &format!("register_platform('{platform}')")));
    again.sqlstate("42710").says("platform_already_registered");

    let answer = sql::done(upload(&mut control, &platform, "web", &bundle(1)));
    let fields = [
        ("status", json!("registered")),
        ("schema_name", json!("web")),
        ("has_tables", json!(true)),
        ("has_migrations", json!(false)),
    ];
    for (name, value) in fields.into_iter().chain([("has_functions", json!(true)), ("has_seeders", json!(true))]) {
        assert_eq!(answer[name], value, "{name}: {answer:#}");
    }
    let there = http.multipart(
        &format!("/platform/{over_http}/schema"),
        &[("schema_name", "web")],
        Some(("schema", &bundle(1).tar_gz())),
    );
    assert_eq!(keys(&answer), keys(&there.expect(201).json), "{answer:#}");
    assert_eq!(
        answer["checksum"].as_str().map(|text| text.contains(&sha256(&cluster, &bundle(1)))),
        Some(true),
        "{answer:#}"
    );
    let broken = bundle(2).file("tables/broken.pssql", "CREATE TABLE broken (id nope);\n");
    refused(upload(&mut control, &platform, "web", &broken)).meant().says("nope");
    refused(upload(&mut control, &unique("nobody"), "web", &bundle(1))).sqlstate("42704");
    sql::done(upload(&mut control, &platform, "web", &bundle(2)));

    let answer = sql::done(ask(&mut control, &format!("create_database('{platform}', 'web', 'Acme-1')")));
    assert_eq!(answer["status"], "created", "{answer:#}");
    assert_eq!(
        (&answer["database_name"], &answer["database_id"]),
        (&json!(format!("{platform}_web_acme_1")), &json!("Acme-1")),
        "{answer:#}"
    );
    let body = json!({"platform": over_http, "schema_name": "web", "database_id": "Acme-1"});
    assert_eq!(keys(&answer), keys(&http.post_json("/database/create", &body).expect(201).json), "{answer:#}");
    refused(ask(&mut control, &format!("create_database('{platform}', 'web', 'Acme-1')")))
        .sqlstate("42P04")
        .says("database_already_exists");
    refused(ask(&mut control, &format!("create_database('{platform}', 'nothing', 'x')"))).meant();
    let main = sql::done(ask(&mut control, &format!("create_database('{platform}', 'web')")));
    assert_eq!(main["database_name"], format!("{platform}_web"), "{main:#}");

    let row = json_row(&mut control, &format!("SELECT * FROM stonescriptdb.schemas WHERE platform = '{platform}'"));
    assert_eq!((&row["versions"], &row["databases"]), (&json!(2), &json!(2)), "{row:#}");
    assert_eq!(
        (&row["has_tables"], &row["has_seeders"], &row["has_migrations"]),
        (&json!(true), &json!(true), &json!(false)),
        "{row:#}"
    );
    let listed = format!(
        "SELECT schema_name, tenant_id, database, state, is_current FROM stonescriptdb.databases WHERE platform = '{platform}' ORDER BY tenant_id"
    );
    let expected = [("Acme-1", "web_acme_1"), ("main", "web")].map(|(id, database)| {
        json!({"schema_name": "web", "tenant_id": id, "database": format!("{platform}_{database}"), "state": "ready", "is_current": true})
    });
    assert_eq!(json_rows(&mut control, &listed), expected);

    sql::done(upload(&mut control, &platform, "web", &bundle(3)));
    let current = format!("SELECT count(*) FROM stonescriptdb.databases WHERE platform = '{platform}' AND is_current");
    assert_eq!(sql::text(&mut control, &current), "0", "a newer version is there");
    let answer = sql::done(migrate_all(&mut control, &platform, Some("web"), None, ""));
    kit::check_answer(&cluster, &answer);
    assert_eq!((&answer["schema_name"], &answer["succeeded"]), (&json!("web"), &json!(2)), "{answer:#}");
    assert_eq!(sql::text(&mut control, &current), "2");
    // An archive may be sent with the request, for some of them.
    let answer =
        sql::done(migrate_all(&mut control, &platform, Some("web"), Some(&bundle(4)), "tenants => '{Acme-1}'"));
    assert_eq!(answer["succeeded"], 1, "{answer:#}");
    assert_eq!(sql::text(&mut control, &current), "1", "the two are not in the same state");
}

#[test]
fn the_platforms_own_schema_is_listed_without_a_name() {
    let cluster = shared();
    let platform = acceptance::Platform::register(&cluster, "own", &bundle(1));
    let mut control = cluster.control();
    let row =
        json_row(&mut control, &format!("SELECT * FROM stonescriptdb.databases WHERE platform = '{}'", platform.name));
    assert_eq!((&row["schema_name"], &row["tenant_id"]), (&json!(null), &json!("main")), "{row:#}");
    assert_eq!(
        (&row["state"], &row["is_current"], &row["touched"], &row["unfinished"]),
        (&json!("ready"), &json!(true), &json!(false), &json!(false)),
        "{row:#}"
    );
    assert_eq!(row["bundle_sha256"], sha256(&cluster, &bundle(1)), "{row:#}");
    for field in ["deployment_id", "deployed_at", "created_at"] {
        assert!(row[field].is_string(), "{field}: {row:#}");
    }
    for field in ["suspended_because", "drift", "checked_at", "size_bytes", "measured_at", "connections"] {
        assert!(row.as_object().is_some_and(|row| row.contains_key(field)), "{field}: {row:#}");
    }
    platform.migrate(&bundle(2)).ok();
    let row =
        json_row(&mut control, &format!("SELECT * FROM stonescriptdb.databases WHERE platform = '{}'", platform.name));
    assert_eq!(row["bundle_sha256"], sha256(&cluster, &bundle(2)), "{row:#}");
}

/// Only members of stonescriptdb_admin may.
#[test]
fn nobody_else_may() {
    let cluster = shared();
    let mut control = cluster.control();
    let platform = unique("rights");
    sql::done(ask(&mut control, &format!("register_platform('{platform}')")));
    let (nobody, dba) = (unique("fleet_nobody"), unique("fleet_dba"));
    kit::by_hand(
        &cluster,
        "postgres",
        &format!("CREATE ROLE {nobody} LOGIN; CREATE ROLE {dba} LOGIN IN ROLE stonescriptdb_admin"),
    );
    let mut nobody = cluster.connect_as(&nobody, "postgres");
    let zero = "00000000-0000-0000-0000-000000000000";
    for call in [
        "register_platform('x')".to_owned(),
        "upload_schema('x', 'y', '')".into(),
        "create_database('x', 'y')".into(),
        "migrate_all('x')".into(),
        format!("cancel_deployment('{zero}')"),
        format!("resume_deployment('{zero}')"),
        format!("retry_deployment('{zero}')"),
        format!("watch('{zero}')"),
        "rename_tenant('x', 'a', 'b')".into(),
        "copy_tenant('x', 'a', 'b')".into(),
        "suspend_tenant('x', 'a')".into(),
        "resume_tenant('x', 'a')".into(),
        "drop_tenant('x', 'a', 'b')".into(),
        "adopt('x', 'a', 'b')".into(),
        "create_token('x')".into(),
        format!("revoke_token('{zero}')"),
    ] {
        let result = nobody.simple_query(&format!("SELECT stonescriptdb.{call}"));
        refused(result.map(|_| call.clone())).sqlstate("42501");
    }
    for view in ["schemas", "tokens", "databases", "deployments", "deployment_databases", "platforms"] {
        refused(nobody.simple_query(&format!("SELECT * FROM stonescriptdb.{view}")).map(|_| view)).sqlstate("42501");
    }
    // A member may, without being a superuser.
    let mut dba = cluster.connect_as(&dba, "postgres");
    sql::done(upload(&mut dba, &platform, "web", &bundle(1)));
    sql::done(ask(&mut dba, &format!("create_database('{platform}', 'web', 'one')")));
    let answer = sql::done(migrate_all(&mut dba, &platform, Some("web"), Some(&bundle(2)), ""));
    assert_eq!(answer["succeeded"], 1, "{answer:#}");
    for view in ["schemas", "tokens", "databases", "deployments", "deployment_databases", "platforms"] {
        sql::texts(&mut dba, &format!("SELECT count(*) FROM stonescriptdb.{view}"));
    }
    let row = json_row(
        &mut dba,
        &format!(
            "SELECT requested_by FROM stonescriptdb.deployments WHERE id = '{}'",
            answer["deployment_id"].as_str().unwrap_or("?")
        ),
    );
    assert!(row["requested_by"].as_str().is_some_and(|name| name.starts_with("fleet_dba")), "{row:#}");
}
