//! The life of tokens: made, listed, expired, revoked, and never shown but once.

use std::time::Duration;

use acceptance::wait::check;
use acceptance::{Answer, Cluster, Platform, eventually, eventually_within, refused, server, shared, sql};
use serde_json::{Value, json};

use crate::kit::{bundle, json_rows};
use crate::token_routes::create_token;

/// A call with a token.
#[track_caller]
fn call(cluster: &Cluster, platform: &Platform<'_>, token: &str) -> Answer {
    cluster.http().bearer(token).call(&platform.name, None, "edition", json!([]))
}

/// The rows of the view `tokens` of a platform.
#[track_caller]
fn listed(cluster: &Cluster, platform: &Platform<'_>) -> Vec<Value> {
    let query = format!("SELECT * FROM stonescriptdb.tokens WHERE platform = '{}' ORDER BY created_at", platform.name);
    json_rows(&mut cluster.control(), &query)
}

#[test]
fn tokens_are_made_listed_and_revoked_over_sql() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "tok", &bundle(1));
    let mut control = cluster.control();
    let query = "SELECT stonescriptdb.create_token($1, 'the web containers')";
    let first: String = sql::done(control.query_one(query, &[&platform.name])).get(0);
    let second = create_token(&cluster, &platform.name);
    assert!(first != second && first.len() >= 32, "unguessable: {first} {second}");
    let rows = listed(&cluster, &platform);
    assert_eq!(rows.len(), 2, "{rows:#?}");
    assert_eq!((&rows[0]["description"], &rows[1]["description"]), (&json!("the web containers"), &json!(null)));
    for row in &rows {
        assert_eq!(
            (&row["created_by"], &row["expires_at"], &row["revoked_at"]),
            (&json!("postgres"), &json!(null), &json!(null)),
            "{row:#}"
        );
        assert!(row["created_at"].is_string() && row["id"].is_string(), "{row:#}");
    }
    for token in [&first, &second] {
        assert_eq!(call(&cluster, &platform, token).value(), 1);
    }

    let revoke = format!("SELECT stonescriptdb.revoke_token('{}')", rows[0]["id"].as_str().unwrap_or("?"));
    let revoked: bool = sql::done(control.query_one(&revoke, &[])).get(0);
    assert!(revoked);
    eventually("the token to be refused", || {
        let answer = call(&cluster, &platform, &first);
        check(answer.status == 401, &answer)
    });
    call(&cluster, &platform, &first).error(401, "unauthorized");
    assert_eq!(call(&cluster, &platform, &second).value(), 1, "the other stays");
    let row = &listed(&cluster, &platform)[0];
    assert!(row["revoked_at"].is_string(), "it is kept, as revoked: {row:#}");
    let unknown = "SELECT stonescriptdb.revoke_token('00000000-0000-0000-0000-000000000000')";
    assert!(!sql::done(control.query_one(unknown, &[])).get::<_, bool>(0));

    // The last one goes: the platform has no valid token any more, and is open as before.
    let revoke = format!(
        "SELECT stonescriptdb.revoke_token('{}')",
        listed(&cluster, &platform)[1]["id"].as_str().unwrap_or("?")
    );
    sql::done(control.query_one(&revoke, &[]));
    eventually("the platform to be open", || {
        let answer = platform.call("edition", json!([]));
        check(answer.status == 200, &answer)
    });
    refused(control.query_one("SELECT stonescriptdb.create_token('nobody at all')", &[])).sqlstate("42704");
}

#[test]
fn tokens_are_made_listed_and_revoked_over_http() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "tokh", &bundle(1));
    let (http, admin) = (cluster.http(), cluster.http().admin());
    let body = json!({"platform": platform.name, "description": "ci", "expires_at": "2099-12-31T23:59:59Z"});
    http.post_json("/admin/platform-token", &body).error(401, "unauthorized");
    let made = admin.post_json("/admin/platform-token", &body);
    assert!(made.status == 200 || made.status == 201, "{made}");
    let made = made.field("platform", platform.name.as_str());
    let (token, id) = (made.str("token").to_owned(), made.str("id").to_owned());
    let plain = admin.post_json("/admin/platform-token", &json!({"platform": platform.name}));
    let plain = plain.str("token").to_owned();
    assert_eq!(call(&cluster, &platform, &token).value(), 1);
    assert_eq!(call(&cluster, &platform, &plain).value(), 1, "one more each time, the older ones stay");

    let path = format!("/admin/tokens?platform={}", platform.name);
    http.get(&path).error(401, "unauthorized");
    let answer = http.bearer(&token).get(&path);
    assert!(answer.status == 401 || answer.status == 403, "tokens are the administrator's business: {answer}");
    let answer = admin.get(&path).ok().says(&id).says("\"ci\"");
    let rows = answer.array("tokens");
    assert_eq!(rows.len(), 2, "{answer}");
    let row = rows.iter().find(|row| row["id"] == id.as_str()).unwrap_or_else(|| panic!("{id} expected in {answer}"));
    assert!(row["expires_at"].as_str().is_some_and(|text| text.starts_with("2099-12-31")), "{answer}");
    assert_eq!(listed(&cluster, &platform).iter().filter(|row| row["id"] == id.as_str()).count(), 1);

    http.bearer(&token).post_json("/admin/revoke-token", &json!({"id": id})).client_error();
    admin.post_json("/admin/revoke-token", &json!({"id": id})).ok();
    eventually("the token to be refused", || {
        let answer = call(&cluster, &platform, &token);
        check(answer.status == 401, &answer)
    });
    assert_eq!(call(&cluster, &platform, &plain).value(), 1);
    admin.post_json("/admin/revoke-token", &json!({"id": "no id"})).error(400, "invalid_request");
    admin.post_json("/admin/revoke-token", &json!({})).error(400, "invalid_request");
    admin
        .post_json("/admin/platform-token", &json!({"platform": acceptance::unique("nobody")}))
        .error(404, "platform_not_found");
    admin.post_json("/admin/platform-token", &json!({})).error(400, "invalid_request");
    let bad = json!({"platform": platform.name, "expires_at": "some day"});
    admin.post_json("/admin/platform-token", &bad).error(400, "invalid_request");
}

#[test]
fn an_expired_token_is_refused() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "tokexp", &bundle(1));
    let lasting = create_token(&cluster, &platform.name);
    let query = "SELECT stonescriptdb.create_token($1, 'short', now() + interval '6 s')";
    let short: String = sql::done(cluster.control().query_one(query, &[&platform.name])).get(0);
    assert_eq!(call(&cluster, &platform, &short).value(), 1);
    eventually_within(Duration::from_secs(60), "the token to expire", || {
        let answer = call(&cluster, &platform, &short);
        check(answer.status == 401, &answer)
    });
    let over =
        "SELECT bool_and(expires_at <= now()) FROM stonescriptdb.tokens WHERE platform = $1 AND description = 'short'";
    assert!(
        sql::done(cluster.control().query_one(over, &[&platform.name])).get::<_, bool>(0),
        "refused before its time"
    );
    call(&cluster, &platform, &short).error(401, "unauthorized");
    assert_eq!(call(&cluster, &platform, &lasting).value(), 1);
}

/// Tokens are found in no answer, view, table, dump or log but where they were made.
#[test]
fn tokens_are_shown_once() {
    let cluster = Cluster::builder().setting("log_min_messages", "debug1").setting("log_statement", "all").start();
    let platform = Platform::register(&cluster, "secret", &bundle(1));
    let admin = cluster.http().admin();
    let made = admin.post_json("/admin/platform-token", &json!({"platform": platform.name}));
    let tokens = [made.str("token").to_owned(), create_token(&cluster, &platform.name)];
    let mut answers: Vec<String> = Vec::new();
    for token in &tokens {
        let http = cluster.http().bearer(token);
        answers.push(http.call(&platform.name, None, "edition", json!([])).to_string());
        answers.push(http.call(&platform.name, None, "no_such_function", json!([])).to_string());
        answers.push(http.register(&platform.name, None, &bundle(2).tar_gz()).to_string());
        answers.push(http.migrate(&platform.name, None, b"no archive", &[]).to_string());
        answers.push(http.get("/admin/tokens").to_string());
        answers.push(
            cluster.http().bearer(&format!("{token}0")).call(&platform.name, None, "edition", json!([])).to_string(),
        );
        answers.push(http.get(&format!("/platform/{}/databases", platform.name)).to_string());
    }
    for path in ["/admin/platforms", "/platforms", "/health", &format!("/admin/tokens?platform={}", platform.name)] {
        answers.push(admin.get(path).to_string());
    }
    let mut control = cluster.control();
    for relation in
        ["tokens", "platforms", "deployments", "databases", "workers", "changelog", "token", "platform", "deployment"]
    {
        answers.extend(sql::texts(&mut control, &format!("SELECT to_jsonb(t)::text FROM stonescriptdb.{relation} t")));
    }
    let mut pg_dump = cluster.client_program("pg_dump");
    pg_dump.arg("postgres");
    answers.push(String::from_utf8_lossy(&server::run(pg_dump).stdout).into_owned());
    answers.push(sql::texts(&mut control, "SELECT query FROM pg_stat_activity").join("\n"));
    answers.push(cluster.log());
    for token in &tokens {
        for answer in &answers {
            let at = answer.find(token.as_str());
            assert!(
                at.is_none(),
                "a token is shown: …{}…",
                answer[at.unwrap_or(0).saturating_sub(200)..].chars().take(400).collect::<String>()
            );
        }
        // What is kept is its SHA-256.
        let hash: String =
            sql::done(control.query_one("SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex')", &[token])).get(0);
        let kept = sql::texts(&mut control, "SELECT to_jsonb(t)::text FROM stonescriptdb.token t");
        assert!(kept.iter().any(|row| row.contains(&hash)), "{hash} expected in {kept:#?}");
    }
    // They go on counting after a restart.
    cluster.stop(acceptance::Shutdown::Fast);
    cluster.start_again();
    assert_eq!(call(&cluster, &platform, &tokens[1]).value(), 2);
    platform.call("edition", json!([])).error(401, "unauthorized");
}
