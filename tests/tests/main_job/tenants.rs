//! Tenants: databases of their own, their names, and databases that are nobody's.

use acceptance::{Platform, fixtures, refused, shared, sql, unique};
use serde_json::{Value, json};

#[test]
fn every_tenant_has_a_database_of_its_own() {
    let cluster = shared();
    let files = fixtures::shop();
    let platform = Platform::register(&cluster, "saas", &files);
    for tenant in ["acme", "globex"] {
        platform.register_tenant(tenant, &files).ok().field("database", platform.database_of(tenant));
    }
    platform.call_tenant("acme", "add_customer", json!(["Ada"])).ok();
    platform.call_tenant("acme", "add_customer", json!(["Bob"])).ok();
    platform.call_tenant("globex", "add_customer", json!(["Cleo"])).ok();
    let mut control = cluster.control();
    for (tenant, count) in
        [(Some("acme"), 2), (Some("globex"), 1), (None, 0), (Some("main"), 0), (Some(""), 0), (Some("null"), 0)]
    {
        let answer = cluster.http().call(&platform.name, tenant, "count_customers", json!([]));
        assert_eq!(answer.value(), count, "{tenant:?}");
        let answer = sql::done(sql::call(&mut control, &platform.name, tenant, "count_customers", &json!([])));
        assert_eq!(answer["rows"][0]["count_customers"], count, "{tenant:?} over SQL: {answer}");
    }
    // What a container without a tenant sends.
    for nobody in ["", "null", "main"] {
        platform.register_tenant(nobody, &files).ok().field("database", platform.database());
    }

    let rows = sql::done(control.query(
        "SELECT coalesce(tenant_id::text, 'main') || ' ' || database::text FROM stonescriptdb.databases WHERE platform = $1",
        &[&platform.name],
    ));
    let mut seen: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    seen.sort();
    let wanted = ["acme", "globex", "main"].map(|tenant| format!("{tenant} {}", platform.database_of(tenant)));
    assert_eq!(seen, wanted);
}

#[test]
fn names_are_sanitised_and_never_mixed() {
    let cluster = shared();
    let http = cluster.http();
    let (base, bundle) = (unique("mixed"), fixtures::tiny().tar_gz());
    let platform = format!("{}-Case.App", base.to_uppercase());
    let database = format!("{base}_case_app_a_b");
    http.register(&platform, Some("A-b"), &bundle).ok().field("database", database.clone());
    // Found as written and by its sanitised id.
    http.call(&platform, Some("A-b"), "f", json!([])).ok();
    http.call(&platform, Some("a_b"), "f", json!([])).ok();
    http.register(&platform, Some("A-b"), &bundle).ok().field("database", database.clone());
    // Another tenant or platform that would have to be the same database.
    http.register(&platform, Some("A.b"), &bundle).error(409, "name_collision");
    http.register(&format!("{base}-case"), Some("app_a_b"), &bundle).error(409, "name_collision");
    http.call(&platform, Some("a_c"), "f", json!([])).error(404, "database_not_found");

    for (platform, tenant) in [("", None), ("---", None), ("x".repeat(70).as_str(), None), (base.as_str(), Some("!!"))]
    {
        http.register(platform, tenant, &bundle).error(400, "invalid_request");
    }
    // Not SQL, only a strange name: taken as one or refused, never run.
    let evil = format!("{base}\"; DROP DATABASE {database}; --");
    let answer = http.register(&evil, None, &bundle);
    assert!(answer.status == 200 || answer.status == 400, "{answer}");
    http.call(&platform, Some("A-b"), "f", json!([])).ok();
}

#[test]
fn a_tenant_is_created_and_dropped_over_sql() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "life", &fixtures::tiny());
    let mut control = cluster.control();
    let create = "SELECT stonescriptdb.create_tenant($1, $2)";
    let answer: Value = sql::done(control.query_one(create, &[&platform.name, &"acme"])).get(0);
    let database = platform.database_of("acme");
    assert_eq!(answer["database"], database, "{answer}");
    assert!(sql::database_exists(&mut control, &database));
    refused(control.query_one(create, &[&platform.name, &"acme"])).meant().says("database_already_exists");
    refused(control.query_one(create, &[&unique("nobody"), &"acme"])).meant().says("platform_not_found");
    // Whether it has the platform's bundle at once or only from the next deployment on, a register makes it serve.
    platform.register_tenant("acme", &fixtures::tiny()).ok().field("database", database.clone());
    assert_eq!(platform.call_tenant("acme", "f", json!([])).value(), 1);

    let drop = "SELECT stonescriptdb.drop_tenant($1, $2, $3)";
    refused(control.query_one(drop, &[&platform.name, &"acme", &"acme"])).meant();
    refused(control.query_one(drop, &[&platform.name, &"nobody", &platform.database_of("nobody")]))
        .says("database_not_found");
    assert_eq!(platform.call_tenant("acme", "f", json!([])).value(), 1, "a wrong confirmation drops nothing");
    let _: Value = sql::done(control.query_one(drop, &[&platform.name, &"acme", &database])).get(0);
    assert!(!sql::database_exists(&mut control, &database));
    platform.call_tenant("acme", "f", json!([])).error(404, "database_not_found");
    let left = "SELECT count(*) FROM stonescriptdb.databases WHERE database::text = $1";
    assert_eq!(sql::done(control.query_one(left, &[&database])).get::<_, i64>(0), 0);
    assert_eq!(platform.call("f", json!([])).value(), 1, "the others stay");
}

#[test]
fn a_tenant_is_created_over_http() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "admin", &fixtures::tiny());
    let admin = cluster.http().admin();
    let body = json!({"platform": platform.name, "tenant_id": "acme"});
    let answer = admin.post_json("/admin/create-tenant", &body).expect(201);
    answer.field("status", "created").field("database", platform.database_of("acme")).str("message");
    admin.post_json("/admin/create-tenant", &body).error(409, "database_already_exists");
    let unknown = json!({"platform": unique("nobody"), "tenant_id": "acme"});
    admin.post_json("/admin/create-tenant", &unknown).error(404, "platform_not_found");
    admin.post_json("/admin/create-tenant", &json!({"platform": platform.name})).error(400, "invalid_request");

    let answer = admin.get(&format!("/admin/databases?platform={}", platform.name)).ok();
    let answer = answer.field("platform", platform.name.clone()).field("count", 2);
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for database in answer.array("databases") {
        assert!(database["size_mb"].is_number(), "{answer}");
        seen.push((database["name"].as_str().unwrap_or("?"), database["type"].as_str().unwrap_or("?")));
    }
    seen.sort();
    let (main, tenant) = (platform.database(), platform.database_of("acme"));
    assert_eq!(seen, [(tenant.as_str(), "tenant"), (main.as_str(), "main")], "{answer}");
    admin.get(&format!("/admin/databases?platform={}", unique("nobody"))).error(404, "platform_not_found");
    admin.get("/admin/databases").error(400, "invalid_request");
}

#[test]
fn a_database_that_is_not_ours_is_not_taken() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "foreign");
    let mut control = cluster.control();
    sql::done(control.batch_execute(&format!("CREATE DATABASE {}", platform.database())));
    sql::done(platform.connect().batch_execute("CREATE TABLE precious (id int); INSERT INTO precious VALUES (1)"));
    let before = platform.snapshot();
    let answer = platform.register_again(&fixtures::tiny()).error(409, "database_already_exists");
    answer.str("hint");
    platform.assert_unchanged(&before, "it is not in the registry");
    assert!(sql::database_exists(&mut control, &platform.database()), "somebody else's database was dropped");
    platform.call("f", json!([])).client_error();
}
