//! Who may name a platform over HTTP.

use acceptance::{Cluster, Http, Platform, eventually, shared, sql, wait::check};
use serde_json::{Value, json};

use crate::notes;

#[track_caller]
fn call(http: &Http, platform: &str) -> acceptance::Answer {
    http.post_json("/call", &json!({"platform": platform, "function": "read_notes"}))
}

#[track_caller]
fn token(cluster: &Cluster, platform: &str) -> String {
    let answer = cluster.http().admin().post_json("/admin/platform-token", &json!({"platform": platform})).ok();
    answer.field("platform", platform).str("token").to_owned()
}

#[test]
fn a_platform_with_a_token_needs_it() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "tok", &notes());
    let other = Platform::register(&cluster, "tok", &notes());
    let (name, http) = (platform.name.as_str(), cluster.http());
    call(&http, name).ok();
    let first = token(&cluster, name);
    let second = token(&cluster, name);
    assert!(first.starts_with("ssdb_") && first.len() >= 48 && first != second, "{first} {second}");
    let foreign = token(&cluster, &other.name);
    call(&http, name).error(401, "unauthorized");
    call(&http.bearer("ssdb_guess"), name).error(401, "unauthorized");
    call(&http.bearer(&foreign), name).error(403, "platform_isolation_violation");
    for right in [&first, &second, acceptance::ADMIN_TOKEN] {
        call(&http.bearer(right), name).ok();
    }
    let bundle = notes().tar_gz();
    http.register(name, None, &bundle).error(401, "unauthorized");
    http.bearer(&first).register(name, None, &bundle).ok();
    http.migrate(name, None, &bundle, &[]).error(401, "unauthorized");
    http.bearer(&foreign).migrate(name, None, &bundle, &[]).error(403, "platform_isolation_violation");
    http.post_json("/platform/register", &json!({"platform": name})).error(401, "unauthorized");
    http.get(&format!("/platform/{name}/schemas")).error(401, "unauthorized");
    http.bearer(&second).get(&format!("/platform/{name}/databases")).ok();
    let upload = format!("/platform/{name}/schema");
    http.multipart(&upload, &[("name", "s")], Some(("file", &bundle))).error(401, "unauthorized");
    let database = json!({"platform": name, "schema_name": "s", "uuid": "1"});
    for path in ["/database/create", "/admin/database/create"] {
        http.post_json(path, &database).error(401, "unauthorized");
        http.bearer(&first).post_json(path, &database).error(404, "schema_not_found");
    }
    // Its manifest's platform counts too.
    let manifest = notes().file("stonescript.json", json!({"platform": name}).to_string()).tar_gz();
    http.multipart("/register", &[], Some(("schema", &manifest))).error(401, "unauthorized");
    http.bearer(&first).multipart("/register", &[], Some(("schema", &manifest))).ok();

    let listed = http.admin().get(&format!("/admin/tokens?platform={name}")).ok().field("count", 2);
    assert!(!listed.text.contains(&first) && !listed.text.contains(&second), "{listed:?}");
    for (given, id) in [&first, &second].into_iter().zip(listed.array("tokens").to_owned()) {
        let revoke = json!({"id": id["id"]});
        http.admin().post_json("/admin/revoke-token", &revoke).ok().field("revoked", true);
        http.admin().post_json("/admin/revoke-token", &revoke).ok().field("revoked", false);
        let _ = given;
    }
    call(&http, name).ok();
}

#[test]
fn tokens_over_sql_that_expire() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "tok", &notes());
    let mut control = cluster.control();
    let create = |more: &str| format!("SELECT stonescriptdb.create_token('{}'{more})", platform.name);
    let given = sql::text(&mut control, &create(", 'the app'"));
    let expired = sql::text(&mut control, &create(", expires_at => now() - interval '1 second'"));
    eventually("the tokens to count", || {
        let answer = call(&cluster.http(), &platform.name);
        check(answer.status == 401, format!("{answer:?}"))
    });
    call(&cluster.http().bearer(&given), &platform.name).ok();
    call(&cluster.http().bearer(&expired), &platform.name).error(401, "unauthorized");
    let tokens = format!(
        "SELECT concat(id, ' ', description) FROM stonescriptdb.tokens WHERE platform = '{}' AND description IS NOT NULL",
        platform.name
    );
    let id = sql::text(&mut control, &tokens).split(' ').next().unwrap_or_default().to_owned();
    assert_eq!(sql::text(&mut control, &format!("SELECT stonescriptdb.revoke_token('{id}')")), "t");
    assert_eq!(sql::text(&mut control, &format!("SELECT stonescriptdb.revoke_token('{id}')")), "f");
    // What has expired opens nothing.
    eventually("the revocation to count", || {
        let answer = call(&cluster.http().bearer(&given), &platform.name);
        check(answer.status == 401, format!("{answer:?}"))
    });
    sql::refused(control.query_one("SELECT stonescriptdb.create_token('nobody')", &[])).sqlstate("42704");
    let bad = json!({"platform": platform.name, "expires_at": "soon"});
    cluster.http().admin().post_json("/admin/platform-token", &bad).error(400, "invalid_request");
    // SQL needs none.
    let by_sql = format!("SELECT stonescriptdb.call('{}', 'read_notes')", platform.name);
    assert_eq!(sql::done(control.query_one(&by_sql, &[])).get::<_, Value>(0)["row_count"], 0);
}

#[test]
fn tokens_can_be_required_of_all() {
    let cluster = Cluster::builder().setting("stonescriptdb.require_platform_token", "on").start();
    let (http, bundle) = (cluster.http(), notes().tar_gz());
    http.register("shop", None, &bundle).error(401, "unauthorized");
    http.bearer("ssdb_x").register("shop", None, &bundle).error(401, "unauthorized");
    http.post_json("/platform/register", &json!({"platform": "shop"})).error(401, "unauthorized");
    http.admin().register("shop", None, &bundle).ok();
    call(&http, "shop").error(401, "unauthorized");
    // Without any token the body is not read, and so it is not known which platform is meant.
    call(&http, "nobody").error(401, "unauthorized");
    call(&http.admin(), "nobody").error(404, "platform_not_found");
    let given = token(&cluster, "shop");
    call(&http.bearer(&given), "shop").ok();
    http.bearer(&given).register("shop2", None, &bundle).error(403, "platform_isolation_violation");
    http.bearer(&given).get("/platforms").error(401, "unauthorized");
    http.admin().get("/platforms").ok();
    assert!(!cluster.log().contains(&given), "a token is in the log");
}

#[test]
fn where_tokens_are_required_nobody_learns_which_platforms_there_are() {
    let cluster = Cluster::builder().setting("stonescriptdb.require_platform_token", "on").start();
    let (http, bundle) = (cluster.http(), notes().tar_gz());
    for platform in ["there", "own"] {
        http.admin().register(platform, None, &bundle).ok();
    }
    let given = token(&cluster, "own");
    let whom = |platform: &str| json!({"platform": platform, "schema_name": "s", "database_id": "1"});
    let ask = |http: &acceptance::Http, platform: &str| {
        [
            call(http, platform),
            http.get(&format!("/call/{platform}/f")),
            http.post_json(&format!("/call/{platform}/f"), &json!({})),
            http.get(&format!("/openapi.json?platform={platform}")),
            http.register(platform, None, &bundle),
            http.migrate(platform, None, &bundle, &[]),
            http.get(&format!("/platform/{platform}/schemas")),
            http.get(&format!("/platform/{platform}/databases")),
            http.multipart(&format!("/platform/{platform}/schema"), &[("name", "s")], Some(("file", &bundle))),
            http.post_json("/database/create", &whom(platform)),
            http.post_json("/v2/migrate", &whom(platform)),
        ]
        .map(|answer| {
            let mut said = answer.json.clone();
            if let Some(said) = said.as_object_mut() {
                said.remove("request_id");
            }
            (answer.status, said.to_string().replace(platform, "it"))
        })
    };
    for (what, http) in [
        ("without a token", http.clone()),
        ("with another's", http.bearer(&given)),
        ("a wrong one", http.bearer("ssdb_x")),
    ] {
        let (there, absent) = (ask(&http, "there"), ask(&http, "nobody"));
        for (there, absent) in there.iter().zip(&absent) {
            assert_eq!(there, absent, "{what}");
            assert!([401, 403].contains(&there.0), "{what}: {there:?}");
        }
    }
    call(&http.admin(), "nobody").error(404, "platform_not_found");
}
