//! Platforms, tenants and schemas whose names are prefixes of each other, contain wildcards, or come out the same.

use acceptance::{Answer, Cluster, refused, shared, sql, unique};
use serde_json::{Value, json};

use crate::kit::{self, LONG, bundle, migrate_all};

fn register(cluster: &Cluster, platform: &str, tenant: Option<&str>) -> Answer {
    cluster.http().timeout(LONG).register(platform, tenant, &bundle(1).tar_gz())
}

/// The part of a path: what is no letter, digit or `_` percent-encoded.
fn encoded(name: &str) -> String {
    name.bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b == b'_' { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// The names of the databases that a listing of one platform has, sorted.
fn names(answer: &Answer, field: &str) -> Vec<String> {
    let mut names: Vec<String> =
        answer.array("databases").iter().map(|row| row[field].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(answer.number("count") as usize, names.len(), "{answer}");
    names.sort();
    names
}

/// The databases of a platform by each way of listing them.
#[track_caller]
fn check_listed(cluster: &Cluster, platform: &str, expected: &[String]) {
    let http = cluster.http().admin();
    let answer = http.get(&format!("/admin/databases?platform={}", encoded(platform))).ok().field("platform", platform);
    assert_eq!(names(&answer, "name"), expected, "{answer}");
    let answer = http.get(&format!("/platform/{}/databases", encoded(platform))).ok().field("platform", platform);
    assert_eq!(names(&answer, "database_name"), expected, "{answer}");
    let query = "SELECT coalesce(array_agg(database::text ORDER BY database::text COLLATE \"C\"), '{}') \
                 FROM stonescriptdb.databases WHERE platform = $1";
    let seen: Vec<String> = sql::done(cluster.control().query_one(query, &[&platform])).get(0);
    assert_eq!(seen, expected, "{platform}");
    let answer = http.get("/admin/platforms").ok();
    let row = answer.array("platforms").iter().find(|row| row["name"] == platform).cloned().unwrap_or_default();
    assert_eq!(row["databases"], expected.len(), "{platform}: {answer}");
}

#[test]
fn listings_migrations_and_drops_stay_within_a_platform() {
    let cluster = shared();
    // Of the first the others are a prefix, a name with it as a prefix, what LIKE would take for it, and one with a wildcard.
    let base = unique("pre");
    let (own, prefix) = (format!("{base}_a"), base.clone());
    let others = [
        prefix.clone(),
        format!("{own}_b"),
        format!("{own}b"),
        format!("{base}xa"),
        format!("{base}%z"),
        format!("{base}x"),
    ];
    for platform in others.iter().chain([&own]) {
        register(&cluster, platform, None).ok();
        register(&cluster, platform, Some("t")).ok();
    }
    let key = |platform: &str| platform.replace('%', "_");
    let databases = |platform: &str| vec![format!("{}_main", key(platform)), format!("{}_t", key(platform))];
    for platform in others.iter().chain([&own]) {
        check_listed(&cluster, platform, &databases(platform));
    }
    let edition = |platform: &str, tenant: &str| cluster.http().call(platform, Some(tenant), "edition", json!([]));

    let answer = sql::done(migrate_all(&mut cluster.control(), &own, None, Some(&bundle(2)), ""));
    let mut updated: Vec<&str> =
        answer["databases_updated"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    updated.sort();
    assert_eq!(updated, databases(&own), "{answer:#}");
    for platform in &others {
        for tenant in ["main", "t"] {
            assert_eq!(edition(platform, tenant).value(), 1, "{platform} {tenant}");
        }
    }
    // The other way round: of the prefix.
    cluster.http().migrate(&prefix, None, &bundle(3).tar_gz(), &[]).ok().field("total", 2);
    assert_eq!(edition(&own, "t").value(), 2);
    assert_eq!(edition(&prefix, "t").value(), 3);
    // With a wildcard.
    cluster.http().migrate(&format!("{base}%z"), None, &bundle(4).tar_gz(), &[]).ok().field("total", 2);
    assert_eq!((edition(&own, "t").value(), edition(&prefix, "t").value()), (json!(2), json!(3)));

    let body = json!({"platform": prefix, "tenant_id": "t", "confirm": format!("{prefix}_t")});
    cluster.http().admin().post_json("/admin/drop-tenant", &body).ok();
    check_listed(&cluster, &prefix, &databases(&prefix)[..1]);
    for platform in others.iter().skip(1).chain([&own]) {
        check_listed(&cluster, platform, &databases(platform));
        edition(platform, "t").ok();
    }
}

#[test]
fn platforms_that_come_out_the_same_are_refused() {
    let cluster = shared();
    let base = unique("alike");
    let platform = format!("{base}-x");
    register(&cluster, &platform, None).ok();
    let http = cluster.http();
    for other in [format!("{base}_x"), format!("{base}.x"), format!("{}-X", base.to_uppercase())] {
        if other != format!("{base}_x") {
            register(&cluster, &other, None).error(409, "name_collision");
            register(&cluster, &other, Some("t")).error(409, "name_collision");
        }
        let answer = http.post_json("/platform/register", &json!({"platform": other}));
        assert!(answer.status == 409, "{other}: {answer}");
        answer.shaped();
        let result = cluster.control().query_one("SELECT stonescriptdb.register_platform($1)", &[&other]);
        refused(result.map(|row| row.get::<_, Value>(0))).sqlstate("42710");
    }
    http.post_json("/platform/register", &json!({"platform": platform})).error(409, "platform_already_registered");
    let query = format!("SELECT platform FROM stonescriptdb.platforms WHERE platform ILIKE '{base}%'");
    assert_eq!(sql::texts(&mut cluster.control(), &query), [platform]);
}

/// A platform and a tenant whose database would be another's.
#[test]
fn a_tenant_is_never_another_platforms() {
    let cluster = shared();
    let a = unique("mix");
    let ab = format!("{a}_b");
    register(&cluster, &a, None).ok();
    register(&cluster, &ab, None).ok();
    register(&cluster, &ab, Some("c")).ok().field("database", format!("{a}_b_c"));
    register(&cluster, &a, Some("b_c")).error(409, "name_collision");
    register(&cluster, &a, Some("b_main")).error(409, "name_collision");
    let admin = cluster.http().admin();
    admin.post_json("/admin/create-tenant", &json!({"platform": a, "tenant_id": "b_c"})).error(409, "name_collision");
    // Neither found nor dropped, renamed or copied to by the other's name.
    cluster.http().call(&a, Some("b_c"), "edition", json!([])).error(404, "database_not_found");
    let answer = cluster.http().migrate(&a, Some("b_c"), &bundle(2).tar_gz(), &[]).client_error();
    assert!([403, 404, 409].contains(&answer.status), "{answer}");
    let database = format!("{a}_b_c");
    let drop = json!({"platform": a, "tenant_id": "b_c", "confirm": database});
    admin.post_json("/admin/drop-tenant", &drop).error(404, "database_not_found");
    register(&cluster, &a, Some("own")).ok();
    for path in ["/admin/rename-tenant", "/admin/copy-tenant"] {
        let body = json!({"platform": a, "tenant_id": "own", "new_tenant_id": "b_c"});
        admin.post_json(path, &body).error(409, "name_collision");
    }
    assert_eq!(cluster.http().call(&ab, Some("c"), "edition", json!([])).value(), 1);
    check_listed(&cluster, &a, &[format!("{a}_main"), format!("{a}_own")]);
    check_listed(&cluster, &ab, &[database, format!("{a}_b_main")]);
}

/// A tenant of the platform's own schema and a database of a stored one, both `<platform>_x_y`.
#[test]
fn a_tenant_and_a_database_of_a_stored_schema_are_never_the_same() {
    let cluster = shared();
    let platform = unique("dialects");
    register(&cluster, &platform, None).ok();
    for schema in ["x", "x_y", "main"] {
        upload(&cluster, &platform, schema).expect(201);
    }
    register(&cluster, &platform, Some("x_y")).ok().field("database", format!("{platform}_x_y"));
    let create = |schema: &str, id: Option<&str>| {
        let body = json!({"platform": platform, "schema_name": schema, "database_id": id});
        cluster.http().post_json("/database/create", &body)
    };
    create("x", Some("y")).error(409, "name_collision");
    create("x_y", None).error(409, "name_collision");
    create("x_y", Some("main")).error(409, "name_collision");
    create("main", None).error(409, "name_collision");
    // And the other way round, and among stored schemas.
    create("x", Some("z")).expect(201).field("database_name", format!("{platform}_x_z"));
    register(&cluster, &platform, Some("x_z")).error(409, "name_collision");
    create("x", Some("y_z")).expect(201).field("database_name", format!("{platform}_x_y_z"));
    create("x_y", Some("z")).error(409, "name_collision");

    // Each is migrated and dropped as what it is. (Clients of the first dialect may call the other's by what follows the platform in
    // its database's name, as they could with the gateway.)
    let own = bundle(7).tar_gz();
    cluster.http().migrate(&platform, Some("x_z"), &own, &[]).client_error();
    let drop = json!({"platform": platform, "tenant_id": "x_z", "confirm": format!("{platform}_x_z")});
    cluster.http().admin().post_json("/admin/drop-tenant", &drop).error(404, "database_not_found");
    let rename = json!({"platform": platform, "tenant_id": "x_z", "new_tenant_id": "mine"});
    cluster.http().admin().post_json("/admin/rename-tenant", &rename).error(404, "database_not_found");
    let body = |schema: &str, id: &str| json!({"platform": platform, "schema_name": schema, "uuid": id, "function": "edition", "params": []});
    cluster.http().post_json("/call", &body("x", "y")).error(404, "database_not_found");
    cluster.http().post_json("/call", &body("x_y", "z")).error(404, "database_not_found");
    assert_eq!(cluster.http().post_json("/call", &body("x", "y_z")).value(), 1);
    cluster.http().migrate(&platform, None, &bundle(2).tar_gz(), &[]).ok().field("total", 2);
    assert_eq!(
        cluster.http().post_json("/call", &body("x", "z")).value(),
        1,
        "of the stored schema, not the platform's own"
    );
    let answer = sql::done(migrate_all(&mut cluster.control(), &platform, Some("x"), Some(&bundle(5)), ""));
    assert_eq!(kit::number(&answer, "total"), 2, "{answer:#}");
    assert_eq!(cluster.http().call(&platform, Some("x_y"), "edition", json!([])).value(), 2, "of the platform's own");
    assert_eq!(cluster.http().post_json("/call", &body("x", "y_z")).value(), 5);
}

/// Schemas and identifiers that come out the same.
#[test]
fn stored_schemas_and_identifiers_that_come_out_the_same() {
    let cluster = shared();
    let platform = unique("spelling");
    cluster.http().post_json("/platform/register", &json!({"platform": platform})).expect(201);
    upload(&cluster, &platform, "v1.0").expect(201);
    let create = |schema: &str, id: &str| {
        let body = json!({"platform": platform, "schema_name": schema, "database_id": id});
        cluster.http().post_json("/database/create", &body)
    };
    create("v1.0", "A-1").expect(201).field("database_name", format!("{platform}_v1_0_a_1"));
    create("v1.0", "A.1").error(409, "name_collision");
    create("v1.0", "A-1").error(409, "database_already_exists");
    // The other spelling of the schema is refused when it is uploaded or when it would create the database.
    let answer = upload(&cluster, &platform, "v1-0");
    if answer.status == 201 {
        create("v1-0", "A-1").error(409, "name_collision");
    } else {
        answer.error(409, "name_collision");
    }
    let listed = cluster.http().get(&format!("/platform/{platform}/databases?schema=v1.0")).ok();
    assert_eq!(names(&listed, "database_name"), [format!("{platform}_v1_0_a_1")]);
}

fn upload(cluster: &Cluster, platform: &str, schema: &str) -> Answer {
    let path = format!("/platform/{}/schema", encoded(platform));
    cluster.http().multipart(&path, &[("schema_name", schema)], Some(("schema", &bundle(1).tar_gz())))
}
