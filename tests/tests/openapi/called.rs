//! `POST /call/{platform}/{function}`.

use acceptance::{Platform, shared};
use serde_json::json;

use super::files;

#[test]
fn the_body_is_the_parameters() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "path", &files());
    platform.register_tenant("acme", &files()).ok();
    let http = cluster.http();
    let path = |rest: &str| format!("/call/{}/{rest}", platform.name);
    let answer = http.post_json(&path("add_item"), &json!({"p_name": "Pen", "p_price": 2})).ok();
    assert_eq!(answer.row()["name"], "Pen");
    assert!(answer.json["execution_time_ms"].is_u64(), "{answer}");
    assert_eq!(http.post_json(&path("unnamed"), &json!([1, "x"])).value(), "1x");
    // No body at all is no parameters.
    assert_eq!(http.request("POST", &path("total"), &[], b"").raw_value(), "2.00");
    assert_eq!(http.post_text(&path("total"), "null").raw_value(), "2.00");
    assert_eq!(http.post_json(&path("total?tenant_id=acme"), &json!({})).value(), 0);
    assert_eq!(http.post_json(&path("app.hidden"), &json!({"p_id": 7})).value(), 7);
    assert_eq!(http.post_json(&path("%22Any%20Thing%22"), &json!([true])).value(), true);
    let answer = http.post_json(&path("say?retry=true"), &json!({"a": 1})).ok();
    assert_eq!(answer.json["retries"], 0, "{answer}");
    let lines =
        http.header("Accept", "application/x-ndjson").post_json(&path("listed"), &json!({"p_many": [1, 2]})).ok();
    assert_eq!(lines.text.lines().count(), 2, "{lines}");
}

#[test]
fn what_is_refused() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "refused", &files());
    let http = cluster.http();
    let path = |rest: &str| format!("/call/{}/{rest}", platform.name);
    for body in ["nope", "{", "{} {}", "1", "\"x\"", "{\"a\": 1, \"a\": 2}"] {
        http.post_text(&path("say"), body).error(400, "invalid_request");
    }
    http.post_json(&path("say?a=1"), &json!({})).error(400, "invalid_request").says("in the body");
    http.post_json(&path("say?retry=perhaps"), &json!({"a": 1})).error(400, "invalid_request");
    http.post_json(&path("say?tenant_id=a&uuid=b"), &json!({"a": 1})).error(400, "invalid_request");
    let lines = http.header("Accept", "application/x-ndjson");
    lines.post_json(&path("say?retry=true"), &json!({"a": 1})).error(400, "invalid_request");
    http.request("POST", &path("say"), &[("Content-Type", "text/plain")], b"{}").error(415, "unsupported_media_type");
    http.post_json(&path("none"), &json!({})).error(404, "function_not_found");
    http.post_json("/call/nowhere/say", &json!({})).error(404, "platform_not_found");
    http.request("PUT", &path("say"), &[], b"").error(405, "method_not_allowed");
    http.post_json(&path("fail"), &json!({})).error(418, "query_failed");
    let big = format!("[\"{}\"]", "x".repeat(3_000_000));
    http.post_text(&path("unnamed"), &big).error(413, "payload_too_large");
    // As for every other route that names it.
    let issued = http.admin().post_json("/admin/platform-token", &json!({"platform": platform.name})).json;
    let token = issued["token"].as_str().expect("a token");
    http.post_json(&path("say"), &json!({"a": 1})).error(401, "unauthorized");
    http.bearer(token).post_json(&path("say"), &json!({"a": 1})).ok();
}

#[test]
fn executors_serve_its_connections_too() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "along", &files());
    platform.register_tenant("acme", &files()).ok();
    let http = cluster.http();
    let mut wire = http.wire();
    let mut call = |rest: &str, body: &str| {
        let path = format!("/call/{}/{rest}", platform.name);
        wire.send(&http.request_bytes("POST", &path, &[("Content-Type", "application/json")], body.as_bytes()))
            .expect("sent");
        wire.read_answer("POST").expect("an answer")
    };
    // Whoever answers gives the request its id, which begins with the process's own.
    let worker = |answer: &acceptance::Answer| answer.header("x-request-id").map(|id| id[..16].to_owned());
    let server = worker(&http.get("/live"));
    acceptance::eventually("an executor serves the connection", || {
        (0..40).for_each(|_| drop(call("say", "{\"a\": 1}").ok()));
        acceptance::wait::check(worker(&call("say", "{\"a\": 1}")) != server, "the server worker does")
    });
    assert_eq!(call("unnamed", "[1, \"x\"]").value(), "1x");
    assert_eq!(call("say?retry=true", "{\"a\": 2}").json["retries"], 0);
    call("fail", "").error(418, "query_failed");
    call("none", "{}").error(404, "function_not_found");
    // What it does not answer itself.
    call("%22Any%20Thing%22", "[1]").ok();
    call("say", "{").error(400, "invalid_request");
    call("say?a=1", "{}").error(400, "invalid_request");
    assert_eq!(call("total?tenant_id=acme", "").value(), 0);
    assert_eq!(call("say", "{\"a\": 3}").value(), "number 3");
}
