//! Stored schemas over HTTP: platforms, uploads and their versions, databases made from them, their migrations, every list.

use acceptance::{Answer, Cluster, Files, Http, shared, sql, unique};
use serde_json::{Value, json};

use crate::kit::{self, bundle, json_row, json_rows, sha256};

/// A platform of the later dialect.
pub struct Stored<'c> {
    pub cluster: &'c Cluster,
    pub name: String,
}

impl<'c> Stored<'c> {
    /// Registers a new platform without anything.
    #[track_caller]
    pub fn new(cluster: &'c Cluster, prefix: &str) -> Stored<'c> {
        let name = unique(prefix);
        cluster.http().post_json("/platform/register", &json!({"platform": name})).expect(201);
        Stored { cluster, name }
    }

    pub fn http(&self) -> Http {
        self.cluster.http()
    }

    /// `POST /platform/{platform}/schema`.
    #[track_caller]
    pub fn upload(&self, schema: &str, files: &Files) -> Answer {
        let path = format!("/platform/{}/schema", self.name);
        self.http().multipart(&path, &[("schema_name", schema)], Some(("schema", &files.tar_gz())))
    }

    /// `POST /database/create`.
    #[track_caller]
    pub fn create(&self, schema: &str, id: &str) -> Answer {
        let body = json!({"platform": self.name, "schema_name": schema, "database_id": id});
        self.http().post_json("/database/create", &body)
    }

    /// `POST /v2/migrate`, of all or one.
    #[track_caller]
    pub fn migrate(&self, schema: &str, id: Option<&str>) -> Answer {
        let mut body = json!({"platform": self.name, "schema_name": schema});
        if let Some(id) = id {
            body["database_id"] = id.into();
        }
        self.http().post_json("/v2/migrate", &body)
    }

    /// `POST /call` of a function without parameters.
    #[track_caller]
    pub fn call(&self, schema: &str, id: Option<&str>, function: &str) -> Answer {
        let mut body = json!({"platform": self.name, "schema_name": schema, "function": function, "params": []});
        if let Some(id) = id {
            body["uuid"] = id.into();
        }
        self.http().post_json("/call", &body)
    }

    /// The row of the view `schemas`.
    #[track_caller]
    pub fn schema(&self, schema: &str) -> Value {
        let query = format!(
            "SELECT * FROM stonescriptdb.schemas WHERE platform = '{}' AND schema_name = '{schema}'",
            self.name
        );
        json_row(&mut self.cluster.control(), &query)
    }

    /// The names of the databases of the server that belong to the platform's owner, templates aside.
    #[track_caller]
    pub fn databases(&self) -> Vec<String> {
        let query = format!(
            "SELECT datname FROM pg_database d JOIN stonescriptdb.platforms p ON d.datdba::regrole::text = p.owner_role::text
             WHERE p.platform = '{}' AND NOT datistemplate ORDER BY datname COLLATE \"C\"",
            self.name
        );
        sql::texts(&mut self.cluster.control(), &query)
    }
}

#[test]
fn a_platform_is_registered_once() {
    let cluster = shared();
    let (http, name) = (cluster.http(), unique("plat"));
    let answer = http.post_json("/platform/register", &json!({"platform": name})).expect(201);
    let answer = answer.field("status", "registered").field("platform", name.as_str());
    assert!(answer.json["has_dedicated_credentials"].is_boolean() && !answer.str("message").is_empty(), "{answer}");
    http.post_json("/platform/register", &json!({"platform": name})).error(409, "platform_already_registered");
    // One that registered by the first dialect is there too.
    let old = unique("plat");
    http.register(&old, None, &bundle(1).tar_gz()).ok();
    http.post_json("/platform/register", &json!({"platform": old})).error(409, "platform_already_registered");
    for bad in [json!({}), json!({"platform": ""}), json!({"platform": 7}), json!({"platform": "---"}), json!([])] {
        http.post_json("/platform/register", &bad).error(400, "invalid_request");
    }
    http.post_text("/platform/register", "{").error(400, "invalid_request");
    http.get("/platform/register").error(405, "method_not_allowed");
    // It has its roles and nothing else.
    let row =
        json_row(&mut cluster.control(), &format!("SELECT * FROM stonescriptdb.platforms WHERE platform = '{name}'"));
    assert_eq!(row["databases"], 0, "{row:#}");
    http.call(&name, None, "f", json!([])).error(404, "database_not_found");
}

#[test]
fn schemas_are_proved_at_the_upload_and_their_versions_kept() {
    let cluster = shared();
    let stored = Stored::new(&cluster, "up");
    let answer = stored.upload("web", &bundle(1)).expect(201).field("status", "registered");
    let answer = answer.field("platform", stored.name.as_str()).field("schema_name", "web");
    let answer = answer.field("has_tables", true).field("has_functions", true).field("has_migrations", false);
    assert!(answer.str("checksum").contains(&sha256(&cluster, &bundle(1))), "{answer}");
    assert!(answer.array("warnings").is_empty(), "{answer}");
    assert!(answer.json["has_seeders"] == true && answer.json["deployment_id"].is_string(), "{answer}");
    // The other names of the fields.
    let path = format!("/platform/{}/schema", stored.name);
    let archive = bundle(1).tar_gz();
    stored
        .http()
        .multipart(&path, &[("name", "app")], Some(("file", &archive)))
        .expect(201)
        .field("schema_name", "app");

    let row = stored.schema("web");
    assert_eq!((&row["versions"], &row["databases"]), (&json!(1), &json!(0)), "{row:#}");
    assert_eq!(row["bundle_sha256"], sha256(&cluster, &bundle(1)), "{row:#}");
    stored.upload("web", &bundle(1)).expect(201);
    assert_eq!(stored.schema("web")["versions"], 1, "the same archive is the same version");
    stored.upload("web", &bundle(2)).expect(201);
    let row = stored.schema("web");
    assert_eq!((&row["versions"], &row["bundle_sha256"]), (&json!(2), &json!(sha256(&cluster, &bundle(2)))), "{row:#}");
    assert_eq!(stored.schema("app")["bundle_sha256"], sha256(&cluster, &bundle(1)), "each schema has its own");

    // A bad one is refused with its place, and the stored one stays.
    let syntax = bundle(3).file("functions/broken.pssql", "-- 1\nSELEKT 1;\n");
    let proof =
        bundle(3).file("functions/broken.pssql", "CREATE FUNCTION b() RETURNS int LANGUAGE sql AS 'SELECT nope';\n");
    stored
        .upload("web", &syntax)
        .error(400, "schema_extraction_failed")
        .field("file", "functions/broken.pssql")
        .field("line", 2);
    stored.upload("web", &proof).error(422, "function_deploy_failed").field("file", "functions/broken.pssql");
    stored
        .http()
        .multipart(&path, &[("schema_name", "web")], Some(("schema", b"nothing")))
        .error(400, "schema_extraction_failed");
    stored.upload("never", &proof).error(422, "function_deploy_failed");
    assert_eq!(stored.schema("web"), row, "the stored one stays");
    stored.create("web", "one").expect(201);
    assert_eq!(stored.call("web", Some("one"), "edition").value(), 2);

    stored.http().multipart(&path, &[], Some(("schema", &archive))).error(400, "invalid_request").says("schema_name");
    stored.http().multipart(&path, &[("schema_name", "web")], None).error(400, "invalid_request");
    stored.http().multipart(&path, &[("schema_name", "")], Some(("schema", &archive))).error(400, "invalid_request");
    stored.http().post_json(&path, &json!({"schema_name": "web"})).error(415, "unsupported_media_type");
    let unknown = format!("/platform/{}/schema", unique("nobody"));
    stored
        .http()
        .multipart(&unknown, &[("schema_name", "web")], Some(("schema", &archive)))
        .error(404, "platform_not_found");
    let names = json_rows(
        &mut cluster.control(),
        &format!("SELECT schema_name FROM stonescriptdb.schemas WHERE platform = '{}'", stored.name),
    );
    assert_eq!(names.len(), 2, "what was never good is not stored: {names:#?}");
}

#[test]
fn databases_are_created_once_from_the_newest_version() {
    let cluster = shared();
    let stored = Stored::new(&cluster, "create");
    stored.upload("web", &bundle(1)).expect(201);
    stored.upload("web", &bundle(2)).expect(201);
    let database = format!("{}_web_one", stored.name);
    let answer =
        stored.create("web", "one").expect(201).field("status", "created").field("database_name", database.as_str());
    let answer = answer.field("platform", stored.name.as_str()).field("schema_name", "web");
    let answer = answer.field("tables_created", 2).field("functions_deployed", 3).field("types_deployed", 0);
    let answer = answer.field("extensions_installed", 0);
    assert_eq!(answer.array("seeders")[0]["inserted"], 1, "{answer}");
    assert!(answer.number("execution_time_ms") >= 0 && answer.json["deployment_id"].is_string(), "{answer}");
    assert_eq!(stored.call("web", Some("one"), "edition").value(), 2);
    stored.create("web", "one").error(409, "database_already_exists");
    // The other names of the field, and the main database by both ways of saying it.
    for (field, id) in [("uuid", "two"), ("tenant_id", "three")] {
        let body = json!({"platform": stored.name, "schema_name": "web", field: id});
        let answer = stored.http().post_json("/database/create", &body).expect(201);
        answer.field("database_name", format!("{}_web_{id}", stored.name));
    }
    let main = json!({"platform": stored.name, "schema_name": "web"});
    let answer = stored.http().post_json("/database/create", &main).expect(201);
    answer.field("database_name", format!("{}_web", stored.name));
    stored.http().post_json("/database/create", &main).error(409, "database_already_exists");
    stored.create("web", "main").error(409, "database_already_exists");
    assert_eq!(stored.call("web", None, "edition").value(), 2);
    assert_eq!(stored.call("web", Some("main"), "edition").value(), 2);

    // The administrator's route is the same.
    let admin = stored.http().admin();
    let body = json!({"platform": stored.name, "schema_name": "web", "database_id": "four"});
    stored.http().post_json("/admin/database/create", &body).error(401, "unauthorized");
    admin.post_json("/admin/database/create", &body).expect(201).field("status", "created");
    admin.post_json("/admin/database/create", &body).error(409, "database_already_exists");

    for bad in [
        json!({"platform": stored.name}),
        json!({"schema_name": "web", "database_id": "x"}),
        json!({"platform": stored.name, "schema_name": "web", "database_id": 7}),
        json!({"platform": stored.name, "schema_name": "web", "database_id": "!!"}),
        json!({"platform": stored.name, "schema_name": "web", "database_id": "x".repeat(64)}),
    ] {
        stored.http().post_json("/database/create", &bad).error(400, "invalid_request");
    }
    let nobody = json!({"platform": unique("nobody"), "schema_name": "web", "database_id": "x"});
    stored.http().post_json("/database/create", &nobody).error(404, "platform_not_found");
    assert_eq!(stored.create("nothing", "x").shaped().status, 404);
    let expected = ["web", "web_four", "web_one", "web_three", "web_two"].map(|name| format!("{}_{name}", stored.name));
    assert_eq!(stored.databases(), expected);
}

#[test]
fn a_creation_that_fails_leaves_nothing() {
    let cluster = shared();
    let stored = Stored::new(&cluster, "leaves");
    // Its seeder works where the bundle is proved, and in no tenant.
    let seeder = "INSERT INTO counter (id, n) SELECT 1, 1 / (CASE WHEN current_database() LIKE 'stonescriptdb%' THEN 1 ELSE 0 END);\n";
    stored.upload("web", &bundle(1).replace("seeders/counter.pssql", seeder)).expect(201);
    for _ in 0..2 {
        stored.create("web", "one").error(422, "seeder_failed").field("sqlstate", "22012");
        assert_eq!(stored.databases(), Vec::<String>::new());
        assert_eq!(stored.schema("web")["databases"], 0);
        let listed = stored.http().get(&format!("/platform/{}/databases", stored.name)).ok().field("count", 0);
        assert!(listed.array("databases").is_empty(), "{listed}");
        stored.call("web", Some("one"), "edition").error(404, "database_not_found");
    }
    stored.upload("web", &bundle(2)).expect(201);
    stored.create("web", "one").expect(201);
    assert_eq!(stored.call("web", Some("one"), "edition").value(), 2);
}

#[test]
fn a_schemas_databases_are_migrated_one_or_all() {
    let cluster = shared();
    let stored = Stored::new(&cluster, "mig");
    for schema in ["web", "app"] {
        stored.upload(schema, &bundle(1)).expect(201);
    }
    for (schema, id) in [("web", "main"), ("web", "one"), ("web", "two"), ("app", "one")] {
        stored.create(schema, id).expect(201);
    }
    stored.upload("web", &bundle(2)).expect(201);
    assert_eq!(stored.call("web", Some("one"), "edition").value(), 1, "an upload deploys nothing");
    let answer =
        stored.migrate("web", Some("one")).ok().field("status", "completed").field("platform", stored.name.as_str());
    let answer =
        answer.field("schema_name", "web").field("databases_updated", json!([format!("{}_web_one", stored.name)]));
    for field in ["schema_validation", "verification", "databases", "seeder_validations", "warnings"] {
        assert!(!answer.json[field].is_null(), "{field}: {answer}");
    }
    assert_eq!((answer.number("migrations_applied"), answer.number("functions_updated")), (0, 1), "{answer}");
    assert_eq!(stored.call("web", Some("two"), "edition").value(), 1);

    let answer = stored.migrate("web", None).ok().field("status", "completed").field("total", 3);
    answer.field("succeeded", 2).field("unchanged", 1).field("failed", 0);
    let seen = [("web", None), ("web", Some("one")), ("web", Some("two")), ("app", Some("one"))];
    let seen = seen.map(|(schema, id)| stored.call(schema, id, "edition").value());
    assert_eq!(seen, [json!(2), json!(2), json!(2), json!(1)]);
    // `main` is the main database alone.
    stored.upload("web", &bundle(3)).expect(201);
    stored.migrate("web", Some("main")).ok().field("databases_updated", json!([format!("{}_web", stored.name)]));
    assert_eq!(stored.call("web", Some("one"), "edition").value(), 2);

    // Data would be lost: as the first dialect's migrate.
    let without = bundle(4).without("seeders/counter.pssql").without("tables/counter.pssql");
    stored.upload("web", &without).expect(201);
    let blocked = stored.migrate("web", None).error(409, "schema_validation_failed");
    assert!(blocked.json["schema_validation"].is_object(), "{blocked}");
    let mut body =
        json!({"platform": stored.name, "schema_name": "web", "allow": ["drop_table"], "skip_verification": false});
    stored.http().post_json("/v2/migrate", &body).ok().field("succeeded", 3);
    stored.upload("web", &bundle(5).edit("tables/accounts.pssql", "email text", "email text, extra text")).expect(201);
    stored.migrate("web", None).ok();
    stored.upload("web", &bundle(6)).expect(201);
    body = json!({"platform": stored.name, "schema_name": "web", "force": true});
    stored.http().post_json("/v2/migrate", &body).ok().field("succeeded", 3);
    assert_eq!(stored.call("web", Some("two"), "edition").value(), 6);

    stored.migrate("web", Some("nobody")).error(404, "database_not_found");
    assert_eq!(stored.migrate("nothing", None).shaped().status, 404);
    stored.http().post_json("/v2/migrate", &json!({"platform": stored.name})).error(400, "invalid_request");
    let nobody = json!({"platform": unique("nobody"), "schema_name": "web"});
    stored.http().post_json("/v2/migrate", &nobody).error(404, "platform_not_found");
    stored.http().post_json("/v2/migrate-all", &nobody).error(404, "platform_not_found");
}

#[test]
fn the_lists_say_what_there_is() {
    let cluster = shared();
    let stored = Stored::new(&cluster, "lists");
    let (http, name) = (stored.http(), &stored.name);
    http.get(&format!("/platform/{name}/schemas"))
        .ok()
        .field("platform", name.as_str())
        .field("schemas", json!([]))
        .field("count", 0);
    http.get(&format!("/platform/{name}/databases")).ok().field("databases", json!([])).field("count", 0);
    stored.upload("web", &kit::adding(bundle(1))).expect(201);
    stored
        .upload(
            "bare",
            &bundle(1)
                .only("functions")
                .without("functions/add_account.pssql")
                .without("functions/count_accounts.pssql"),
        )
        .expect(201);
    for id in ["main", "B-1", "a"] {
        stored.create("web", id).expect(201);
    }
    stored.create("bare", "x").expect(201);
    http.register(name, Some("old"), &bundle(1).tar_gz()).ok();

    let schemas = http.get(&format!("/platform/{name}/schemas")).ok().field("count", 2);
    let mut rows = schemas.array("schemas").to_vec();
    rows.sort_by_key(|row| row["name"].to_string());
    for (row, (name, has)) in rows.iter().zip([("bare", false), ("web", true)]) {
        assert_eq!((&row["name"], &row["has_functions"]), (&json!(name), &json!(true)), "{schemas}");
        for field in ["has_tables", "has_migrations", "has_seeders"] {
            assert_eq!(row[field], has, "{field} of {name}: {schemas}");
        }
    }
    assert_eq!(rows.len(), 2, "{schemas}");

    let databases = http
        .get(&format!("/platform/{name}/databases?schema=web"))
        .ok()
        .field("platform", name.as_str())
        .field("count", 3);
    let mut seen: Vec<_> =
        databases.array("databases").iter().map(|row| (row["id"].clone(), row["database_name"].clone())).collect();
    seen.sort_by_key(|(id, _)| id.to_string());
    let expected = [("B-1", "web_b_1"), ("a", "web_a"), ("main", "web")];
    assert_eq!(seen, expected.map(|(id, database)| (json!(id), json!(format!("{name}_{database}")))), "{databases}");
    for row in databases.array("databases") {
        assert_eq!(row["schema_name"], "web", "{databases}");
        let moment = format!("SELECT '{}'::timestamptz <= now()", row["created_at"].as_str().unwrap_or("?"));
        assert_eq!(sql::text(&mut cluster.control(), &moment), "t", "{databases}");
    }
    http.get(&format!("/platform/{name}/databases")).ok().field("count", 5);
    http.get(&format!("/platform/{name}/databases?schema=nothing")).ok().field("count", 0);
    for path in ["/platforms", "/admin/platforms"] {
        let answer = http.admin().get(path).ok();
        let row = answer.array("platforms").iter().find(|row| row["name"] == name.as_str());
        let row = row.unwrap_or_else(|| panic!("{name} expected in {answer}"));
        assert_eq!((&row["schemas"], &row["databases"]), (&json!(2), &json!(5)), "{answer}");
        assert_eq!(answer.json["count"], answer.array("platforms").len(), "{answer}");
    }
    http.get("/platforms").ok();
    http.get("/admin/platforms").error(401, "unauthorized");
    for path in ["schemas", "databases"] {
        http.get(&format!("/platform/{}/{path}", unique("nobody"))).error(404, "platform_not_found");
    }
    assert_eq!(stored.schema("web")["databases"], 3);
}
