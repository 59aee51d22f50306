//! Tokens: what each is good for, how one takes the place of another.

use acceptance::wait::check;
use acceptance::{Cluster, Http, Platform, eventually, fixtures, refused, shared, sql, unique};
use serde_json::{Value, json};

/// A token with these scopes, made by the administrator; its id too.
#[track_caller]
fn issue(cluster: &Cluster, platform: &str, more: Value) -> (String, String) {
    let mut body = json!({"platform": platform});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let made = cluster.http().admin().post_json("/admin/platform-token", &body).ok();
    (made.str("token").to_owned(), made.str("id").to_owned())
}

#[track_caller]
fn call(http: &Http, platform: &str, tenant: Option<&str>) -> acceptance::Answer {
    http.call(platform, tenant, "f", json!([]))
}

/// The row of a token in the view `tokens`.
#[track_caller]
fn row(cluster: &Cluster, id: &str) -> Value {
    let query = format!("SELECT to_jsonb(t)::text FROM stonescriptdb.tokens t WHERE id = '{id}'");
    serde_json::from_str(&sql::text(&mut cluster.control(), &query)).expect("a row")
}

#[test]
fn a_token_is_good_for_its_scopes_only() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "scope", &fixtures::tiny());
    let name = platform.name.as_str();
    let bundle = fixtures::tiny().tar_gz();
    let database = json!({"platform": name, "schema_name": "s", "database_id": "1"});
    let of = |scopes: &[&str]| cluster.http().bearer(&issue(&cluster, name, json!({"scopes": scopes})).0);
    let (calls, deploys, administers) = (of(&["call"]), of(&["deploy"]), of(&["admin"]));
    let lacks = |answer: acceptance::Answer, scope: &str| {
        let answer = answer.error(403, "insufficient_scope").says(&format!("\\\"{scope}\\\""));
        assert!(answer.header("www-authenticate").is_some_and(|text| text.contains("insufficient_scope")), "{answer}");
    };
    let batch = json!({"platform": name, "calls": [{"function": "f"}]});
    let listing = format!("/platform/{name}/schemas");

    call(&calls, name, None).ok();
    calls.post_json("/call/batch", &batch).ok();
    for http in [&deploys, &administers] {
        lacks(call(http, name, None), "call");
        lacks(http.post_json("/call/batch", &batch), "call");
        lacks(http.get(&format!("/call/{name}/f")), "call");
    }
    deploys.register(name, None, &bundle).ok();
    deploys.migrate(name, None, &bundle, &[]).ok();
    let upload = format!("/platform/{name}/schema");
    deploys.multipart(&upload, &[("name", "s")], Some(("file", &bundle))).expect(201);
    deploys.post_json("/database/create", &database).expect(201);
    deploys.get(&listing).ok();
    let deployment = deploys.register(name, None, &bundle).ok();
    let deployment = format!("/deployments/{}", deployment.str("deployment_id"));
    deploys.get(&deployment).ok();
    for http in [&calls, &administers] {
        lacks(http.register(name, None, &bundle), "deploy");
        lacks(http.migrate(name, None, &bundle, &[]), "deploy");
        lacks(http.multipart(&upload, &[("name", "s")], Some(("file", &bundle))), "deploy");
        lacks(http.post_json("/database/create", &database), "deploy");
        lacks(http.post_json("/admin/database/create", &database), "deploy");
        lacks(http.post_json("/v2/migrate", &json!({"platform": name, "schema_name": "s"})), "deploy");
        lacks(http.get(&deployment), "deploy");
    }
    lacks(calls.get(&listing), "admin");
    administers.get(&listing).ok();
    let tenant = json!({"platform": name, "tenant_id": "acme"});
    administers.post_json("/admin/create-tenant", &tenant).expect(201);
    administers.post_json("/admin/suspend-tenant", &tenant).ok();
    administers.post_json("/admin/resume-tenant", &tenant).ok();
    let to = json!({"platform": name, "tenant_id": "acme", "new_tenant_id": "acme2"});
    administers.post_json("/admin/rename-tenant", &to).ok();
    let gone = json!({"platform": name, "tenant_id": "acme2", "confirm": format!("{name}_acme2")});
    administers.post_json("/admin/drop-tenant", &gone).ok();
    administers.get(&format!("/admin/databases?platform={name}")).ok();
    for http in [&calls, &deploys] {
        lacks(http.post_json("/admin/create-tenant", &tenant), "admin");
        lacks(http.post_json("/admin/suspend-tenant", &tenant), "admin");
        lacks(http.post_json("/admin/drop-tenant", &gone), "admin");
        lacks(http.get(&format!("/admin/databases?platform={name}")), "admin");
        lacks(http.get("/admin/tokens"), "admin");
        lacks(http.post_json("/admin/platform-token", &json!({"platform": name})), "admin");
    }
    // What concerns more than one platform is the administrator's.
    administers.get("/admin/platforms").error(401, "unauthorized");
    let adopt = json!({"platform": name, "database": "postgres", "tenant_id": "x"});
    administers.post_json("/admin/adopt", &adopt).error(401, "unauthorized");

    // Without scopes a token may what tokens always could.
    let (plain, id) = issue(&cluster, name, json!({}));
    let plain = cluster.http().bearer(&plain);
    call(&plain, name, None).ok();
    plain.register(name, None, &bundle).ok();
    lacks(plain.get("/admin/tokens"), "admin");
    assert_eq!(row(&cluster, &id)["scopes"], json!(["call", "deploy"]));
    let admin = cluster.http().admin();
    for bad in [json!([]), json!(["root"]), json!(["call", null]), json!("call")] {
        let body = json!({"platform": name, "scopes": bad});
        admin.post_json("/admin/platform-token", &body).error(400, "invalid_request");
    }
    let query = format!("SELECT stonescriptdb.create_token('{name}', scopes => '{{call,everything}}')");
    refused(cluster.control().query_one(&query, &[])).sqlstate("22023").says("everything");
}

#[test]
fn a_platforms_own_administrator_looks_after_its_tokens_and_no_others() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "own", &fixtures::tiny());
    let other = Platform::register(&cluster, "own", &fixtures::tiny());
    let (token, _) = issue(&cluster, &platform.name, json!({"scopes": ["admin"], "name": "the owner"}));
    let (foreign, foreign_id) = issue(&cluster, &other.name, json!({}));
    let own = cluster.http().bearer(&token);

    let body = json!({"platform": platform.name, "name": "ci", "description": "builds", "scopes": ["deploy", "call"],
                      "expires_in": 3600});
    let made = own.post_json("/admin/platform-token", &body).ok();
    let made = made.field("platform", platform.name.as_str()).field("name", "ci");
    assert_eq!(made.json["scopes"], json!(["call", "deploy"]), "{made}");
    assert!(made.json["expires_at"].is_string(), "{made}");
    let (made, id) = (made.str("token").to_owned(), made.str("id").to_owned());
    call(&cluster.http().bearer(&made), &platform.name, None).ok();
    let recorded = row(&cluster, &id);
    assert_eq!((&recorded["name"], &recorded["description"]), (&json!("ci"), &json!("builds")), "{recorded:#}");
    assert!(recorded["created_by"].as_str().is_some_and(|by| by.contains("127.0.0.1 with the token ")), "{recorded:#}");

    // The list without a platform is of its own.
    let listed = own.get("/admin/tokens").ok().field("count", 2);
    assert!(!listed.text.contains(&other.name) && listed.text.contains("the owner"), "{listed}");
    own.get(&format!("/admin/tokens?platform={}", platform.name)).ok().field("count", 2);
    for path in ["/admin/tokens", "/admin/databases"] {
        let path = format!("{path}?platform={}", other.name);
        own.get(&path).error(403, "platform_isolation_violation");
    }
    // Nor does it learn which other platforms there are.
    own.get(&format!("/admin/tokens?platform={}", unique("nobody"))).error(403, "platform_isolation_violation");
    let body = json!({"platform": other.name, "tenant_id": "x", "confirm": "x", "reason": "x"});
    for path in ["platform-token", "create-tenant", "suspend-tenant", "drop-tenant"] {
        own.post_json(&format!("/admin/{path}"), &body).error(403, "platform_isolation_violation");
    }
    own.post_json("/admin/revoke-token", &json!({"id": foreign_id})).ok().field("revoked", false);
    own.post_json("/admin/rotate-token", &json!({"id": foreign_id})).error(404, "token_not_found");
    call(&cluster.http().bearer(&foreign), &other.name, None).ok();
    own.post_json("/admin/revoke-token", &json!({"id": id})).ok().field("revoked", true);
    call(&cluster.http().bearer(&made), &platform.name, None).error(401, "unauthorized");
}

#[test]
fn an_administrators_token_of_a_platform_counts_where_there_is_no_admin_token() {
    let cluster = Cluster::builder().admin_token(None).start();
    let platform = Platform::register(&cluster, "self", &fixtures::tiny());
    let query = format!("SELECT stonescriptdb.create_token('{}', scopes => '{{admin}}')", platform.name);
    let own = cluster.http().bearer(&sql::text(&mut cluster.control(), &query));
    eventually("the token to count", || {
        let answer = own.get("/admin/tokens");
        check(answer.status == 200, &answer)
    });
    cluster.http().get("/admin/tokens").error(503, "admin_disabled");
    own.get("/admin/platforms").error(503, "admin_disabled");
    let database = json!({"platform": platform.name, "schema_name": "s", "database_id": "1"});
    cluster.http().post_json("/admin/database/create", &database).error(401, "unauthorized");
}

#[test]
fn a_token_takes_the_place_of_another() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "turn", &fixtures::tiny());
    let name = platform.name.as_str();
    let admin = cluster.http().admin();
    let more = json!({"name": "web", "description": "containers", "scopes": ["call"], "expires_in": 1000});
    let (first, first_id) = issue(&cluster, name, more);
    let turned = admin.post_json("/admin/rotate-token", &json!({"id": first_id, "grace": 600})).ok();
    let turned = turned.field("platform", name).field("replaces", first_id.as_str());
    let (second, second_id) = (turned.str("token").to_owned(), turned.str("id").to_owned());
    // Both count, and the new one is what the old one was.
    for token in [&first, &second] {
        let http = cluster.http().bearer(token);
        call(&http, name, None).ok();
        http.register(name, None, &fixtures::tiny().tar_gz()).error(403, "insufficient_scope");
    }
    let (old, new) = (row(&cluster, &first_id), row(&cluster, &second_id));
    assert_eq!(old["replaced_by"], second_id.as_str(), "{old:#}");
    for field in ["platform", "name", "description", "scopes"] {
        assert_eq!(old[field], new[field], "{field}");
    }
    let lasts = |id: &str, less: i32, more: i32| {
        let query = format!(
            "SELECT expires_at - now() BETWEEN interval '{less} s' AND interval '{more} s' FROM stonescriptdb.tokens WHERE id = '{id}'"
        );
        assert_eq!(sql::text(&mut cluster.control(), &query), "t", "{id}: {:#}", row(&cluster, id));
    };
    lasts(&first_id, 400, 600);
    lasts(&second_id, 800, 1000);
    // It is replaced once.
    admin.post_json("/admin/rotate-token", &json!({"id": first_id})).error(400, "invalid_request").says("replaced");

    // At once, over SQL.
    let query = format!("SELECT stonescriptdb.rotate_token('{second_id}', '0', now() + interval '1 year')");
    let third = sql::text(&mut cluster.control(), &query);
    eventually("the old one to be refused", || {
        let answer = call(&cluster.http().bearer(&second), name, None);
        check(answer.status == 401, &answer)
    });
    call(&cluster.http().bearer(&third), name, None).ok();
    call(&cluster.http().bearer(&first), name, None).ok();

    // What is no good does not become good.
    let (_, revoked) = issue(&cluster, name, json!({}));
    admin.post_json("/admin/revoke-token", &json!({"id": revoked})).ok();
    admin.post_json("/admin/rotate-token", &json!({"id": revoked})).error(400, "invalid_request").says("revoked");
    admin.post_json("/admin/rotate-token", &json!({"id": second_id})).error(400, "invalid_request");
    let unknown = json!({"id": "00000000-0000-0000-0000-000000000000"});
    admin.post_json("/admin/rotate-token", &unknown).error(404, "token_not_found");
    for bad in
        [json!({"id": "x"}), json!({}), json!({"id": revoked, "grace": -1}), json!({"id": revoked, "grace": 1e300})]
    {
        admin.post_json("/admin/rotate-token", &bad).error(400, "invalid_request");
    }
    let both = json!({"platform": name, "expires_in": 5, "expires_at": "2099-01-01"});
    admin.post_json("/admin/platform-token", &both).error(400, "invalid_request");
    let query = "SELECT stonescriptdb.rotate_token('00000000-0000-0000-0000-000000000000')";
    refused(cluster.control().query_one(query, &[])).sqlstate("42704");
    let query = format!("SELECT stonescriptdb.rotate_token('{revoked}')");
    refused(cluster.control().query_one(&query, &[])).sqlstate("55000");
}

#[test]
fn a_token_for_one_tenant() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "lone", &fixtures::tiny());
    let name = platform.name.as_str();
    for tenant in ["Acme-1", "other"] {
        platform.register_tenant(tenant, &fixtures::tiny()).ok();
    }
    let (token, id) = issue(&cluster, name, json!({"tenant_id": "Acme-1"}));
    let http = cluster.http().bearer(&token);
    call(&http, name, Some("Acme-1")).ok();
    call(&http, name, Some("acme_1")).ok();
    let isolated = |tenant: Option<&str>| {
        call(&http, name, tenant).error(403, "platform_isolation_violation");
    };
    for tenant in [None, Some("main"), Some("other"), Some("nobody"), Some("acme")] {
        isolated(tenant);
    }
    let batch = json!({"platform": name, "tenant_id": "other", "calls": [{"function": "f"}]});
    http.post_json("/call/batch", &batch).error(403, "platform_isolation_violation");
    http.get(&format!("/call/{name}/f?tenant_id=other")).error(403, "platform_isolation_violation");
    http.register(name, Some("Acme-1"), &fixtures::tiny().tar_gz()).error(403, "insufficient_scope");
    let listed = row(&cluster, &id);
    assert_eq!((&listed["tenant_id"], &listed["scopes"]), (&json!("Acme-1"), &json!(["call"])), "{listed:#}");

    // It goes with its tenant, and not with the name.
    let admin = cluster.http().admin();
    let rename = json!({"platform": name, "tenant_id": "Acme-1", "new_tenant_id": "acme-2"});
    admin.post_json("/admin/rename-tenant", &rename).ok();
    call(&http, name, Some("acme-2")).ok();
    admin.register(name, Some("Acme-1"), &fixtures::tiny().tar_gz()).ok();
    isolated(Some("Acme-1"));
    let turned = admin.post_json("/admin/rotate-token", &json!({"id": id})).ok();
    let turned = cluster.http().bearer(turned.str("token"));
    call(&turned, name, Some("acme-2")).ok();
    call(&turned, name, Some("other")).error(403, "platform_isolation_violation");
    let drop = json!({"platform": name, "tenant_id": "acme-2", "confirm": format!("{name}_acme_2")});
    admin.post_json("/admin/drop-tenant", &drop).ok();
    admin.register(name, Some("acme-2"), &fixtures::tiny().tar_gz()).ok();
    isolated(Some("acme-2"));
    assert_eq!(row(&cluster, &id)["tenant_id"], "");

    for (more, status, code) in [
        (json!({"tenant_id": "nobody"}), 404, "database_not_found"),
        (json!({"tenant_id": "other", "scopes": ["call", "deploy"]}), 400, "invalid_request"),
        (json!({"tenant_id": "other", "schema_name": "none"}), 404, "database_not_found"),
    ] {
        let mut body = json!({"platform": name});
        more.as_object().expect("an object").iter().for_each(|(key, value)| body[key] = value.clone());
        admin.post_json("/admin/platform-token", &body).error(status, code);
    }
}

#[test]
fn when_a_token_was_used_last_is_known_roughly() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "seen", &fixtures::tiny());
    let (used, id) = issue(&cluster, &platform.name, json!({}));
    let (_, unused) = issue(&cluster, &platform.name, json!({}));
    call(&cluster.http().bearer(&used), &platform.name, None).ok();
    eventually("the use to be written down", || {
        let row = row(&cluster, &id);
        check(row["last_used_at"].is_string(), format!("{row:#}"))
    });
    assert_eq!(row(&cluster, &unused)["last_used_at"], Value::Null);
    // And is not again for every call.
    let before = row(&cluster, &id);
    for _ in 0..50 {
        call(&cluster.http().bearer(&used), &platform.name, None).ok();
    }
    let listed = cluster.http().admin().get(&format!("/admin/tokens?platform={}", platform.name)).ok();
    assert!(listed.array("tokens").iter().any(|row| row["last_used_at"].is_string()), "{listed}");
    assert_eq!(row(&cluster, &id), before);
}

#[test]
fn without_a_token_no_body_is_read() {
    let cluster = Cluster::builder().setting("stonescriptdb.require_platform_token", "on").start();
    let http = cluster.http();
    http.admin().register("shop", None, &fixtures::tiny().tar_gz()).ok();
    let (calls, _) = issue(&cluster, "shop", json!({"scopes": ["call"]}));
    // The head of a large request, and nothing of its body: the answer comes all the same.
    let knock = |http: &Http, path: &str, kind: &str| {
        let mut head = http.request_bytes("POST", path, &[("Content-Type", kind)], b"");
        let text = String::from_utf8_lossy(&head).replace("Content-Length: 0", "Content-Length: 1000000");
        head = text.into_bytes();
        let mut wire = http.wire();
        wire.send(&head).expect("sent");
        wire.read_answer("POST").expect("an answer")
    };
    let json = "application/json";
    let form = "multipart/form-data; boundary=x";
    for (path, kind) in [
        ("/call", json),
        ("/call/batch", json),
        ("/register", form),
        ("/migrate", form),
        ("/v2/migrate", json),
        ("/v2/migrate-all", json),
        ("/database/create", json),
        ("/admin/database/create", json),
        ("/platform/register", json),
        ("/platform/shop/schema", form),
        ("/admin/platform-token", json),
        ("/admin/rotate-token", json),
        ("/admin/drop-tenant", json),
    ] {
        knock(&http, path, kind).error(401, "unauthorized");
        knock(&http.bearer("ssdb_wrong"), path, kind).error(401, "unauthorized");
        if !path.starts_with("/call") {
            knock(&http.bearer(&calls), path, kind).error(403, "insufficient_scope");
        }
    }
    http.get("/deployments/00000000-0000-0000-0000-000000000000").error(401, "unauthorized");
}
