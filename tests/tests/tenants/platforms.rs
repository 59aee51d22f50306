//! The gateway's second API: platforms, stored schemas, databases made of them.

use acceptance::{Answer, Cluster, shared, sql, unique};
use serde_json::json;

use crate::notes;

#[track_caller]
fn upload(cluster: &Cluster, platform: &str, fields: &[(&str, &str)], bundle: &[u8]) -> Answer {
    cluster.http().multipart(&format!("/platform/{platform}/schema"), fields, Some(("schema", bundle)))
}

#[test]
fn a_platform_its_schemas_and_their_databases() {
    let cluster = shared();
    let http = cluster.http();
    let platform = unique("v2");
    let registered = http.post_json("/platform/register", &json!({"platform": platform, "db_user": "x"})).expect(201);
    let registered = registered.field("status", "registered").field("platform", platform.as_str());
    assert!(registered.json["has_dedicated_credentials"].is_boolean() && registered.json["message"].is_string());
    http.post_json("/platform/register", &json!({"platform": platform})).error(409, "platform_already_registered");
    http.post_json("/platform/register", &json!({})).error(400, "invalid_request");

    let stored = upload(&cluster, &platform, &[("schema_name", "Store")], &notes().tar_gz()).expect(201);
    let stored = stored.field("status", "registered").field("schema_name", "Store").field("has_functions", true);
    assert_eq!(stored.str("checksum").len(), 64, "{stored:?}");
    upload(&cluster, &platform, &[("name", "Store")], &notes().tar_gz()).expect(201);
    upload(&cluster, &platform, &[], &notes().tar_gz()).error(400, "invalid_request");
    upload(&cluster, "nobody", &[("name", "s")], &notes().tar_gz()).error(404, "platform_not_found");
    let schemas = http.get(&format!("/platform/{platform}/schemas")).ok();
    assert_eq!((&schemas.json["count"], &schemas.json["schemas"][0]["name"]), (&json!(1), &json!("Store")));
    assert_eq!(schemas.json["schemas"][0]["has_tables"], true, "{schemas:?}");

    let body = json!({"platform": platform, "schema_name": "Store", "database_id": "North"});
    let made = http.post_json("/database/create", &body).expect(201).field("status", "created");
    let made = made.field("database_name", format!("{platform}_store_north")).field("schema_name", "Store");
    assert_eq!(made.json["functions_deployed"], 2, "{made:?}");
    http.post_json("/database/create", &body).error(409, "database_already_exists");
    http.post_json("/database/create", &json!({"platform": platform})).error(400, "invalid_request");
    let unknown = json!({"platform": platform, "schema_name": "nope", "uuid": "x"});
    http.post_json("/database/create", &unknown).error(404, "schema_not_found");
    let call =
        json!({"platform": platform, "schema_name": "Store", "uuid": "North", "function": "add_note", "params": ["a"]});
    http.post_json("/call", &call).ok();

    let databases = http.get(&format!("/platform/{platform}/databases?schema=Store")).ok().field("count", 1);
    let one = &databases.json["databases"][0];
    assert_eq!(one["id"], "North", "{databases:?}");
    assert_eq!(one["schema_name"], "Store", "{databases:?}");
    assert!(one["created_at"].is_string(), "{databases:?}");
    http.get(&format!("/platform/{platform}/databases?schema=x")).ok().field("count", 0);
    http.get("/platform/nobody/databases").error(404, "platform_not_found");

    for path in ["/platforms", "/admin/platforms"] {
        let listed = http.admin().get(path).ok();
        let found = listed.array("platforms").iter().find(|one| one["name"] == platform.as_str()).cloned();
        assert_eq!(found, Some(json!({"name": platform, "schemas": 1, "databases": 1})), "{listed:?}");
    }
    http.get("/admin/platforms").error(401, "unauthorized");
}

#[test]
fn a_platform_is_registered_over_sql() {
    let cluster = shared();
    let mut control = cluster.control();
    let platform = unique("sqlp");
    let register = format!("SELECT stonescriptdb.register_platform('{platform}')");
    assert_eq!(sql::done(control.query_one(&register, &[])).get::<_, serde_json::Value>(0)["status"], "registered");
    sql::refused(control.query_one(&register, &[])).sqlstate("42710").says("registered already");
    let rows = format!("SELECT databases FROM stonescriptdb.platforms WHERE platform = '{platform}'");
    assert_eq!(sql::text(&mut control, &rows), "0");
}

#[test]
fn sizes_are_listed_and_measured() {
    let cluster = shared();
    let platform = acceptance::Platform::register(&cluster, "sizes", &notes());
    let listed = cluster.http().admin().get(&format!("/admin/databases?platform={}", platform.name)).ok();
    let one = &listed.json["databases"][0];
    assert_eq!((&one["name"], &one["type"]), (&json!(platform.database()), &json!("main")), "{listed:?}");
    assert!(one["size_mb"].as_f64().is_some_and(|size| size > 1.0), "{listed:?}");
    let mut control = cluster.control();
    assert_eq!(sql::text(&mut control, &format!("SELECT stonescriptdb.measure('{}')", platform.name)), "1");
    sql::refused(control.query_one("SELECT stonescriptdb.measure('nobody')", &[])).sqlstate("42704");
}
