//! Errors have one shape, whatever was wrong with the request.

use acceptance::http::{multipart_body, multipart_type};
use acceptance::{Platform, fixtures, shared};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn malformed_json_is_400() {
    let cluster = shared();
    let http = cluster.http();
    for body in [
        "",
        " ",
        "{",
        "}",
        "nonsense",
        "{\"platform\": }",
        "{\"platform\": \"x\"",
        "{'platform': 'x'}",
        "[1, 2",
        "\u{feff}",
        "{} {}",
    ] {
        http.post_text("/call", body).error(400, "invalid_request");
    }
    let not_utf8 = http.request("POST", "/call", &[JSON], b"{\"platform\": \"\xff\xfe\", \"function\": \"f\"}");
    not_utf8.error(400, "invalid_request");
    for deep in [
        "[".repeat(200_000),
        "{\"a\":".repeat(200_000),
        format!("{{\"platform\":\"x\",\"function\":\"f\",\"params\":{}", "[".repeat(200_000)),
    ] {
        http.post_text("/call", &deep).error(400, "invalid_request");
    }
    http.admin().post_text("/admin/create-tenant", "{").error(400, "invalid_request");
    http.get("/health").ok();
}

#[test]
fn missing_and_mistyped_fields_are_400() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "fields", &fixtures::tiny());
    let http = cluster.http();
    let name = &platform.name;
    for body in [
        json!({}),
        json!([]),
        json!("text"),
        json!(null),
        json!(7),
        json!({"platform": name}),
        json!({"function": "f"}),
        json!({"platform": null, "function": "f"}),
        json!({"platform": name, "function": null}),
        json!({"platform": 7, "function": "f"}),
        json!({"platform": name, "function": ["f"]}),
        json!({"platform": name, "function": "f", "params": 7}),
        json!({"platform": name, "function": "f", "params": "text"}),
        json!({"platform": name, "function": "f", "params": true}),
        json!({"platform": name, "function": "f", "tenant_id": 7}),
        json!({"platform": name, "function": "f", "tenant_id": {"a": 1}}),
        json!({"platform": "", "function": "f"}),
    ] {
        let answer = http.post_json("/call", &body);
        assert_eq!((answer.status, answer.code()), (400, "invalid_request"), "{body}: {answer}");
        answer.shaped();
    }
    // What is more than is asked for does no harm.
    let more = json!({"platform": name, "function": "f", "params": [], "tenant_id": null, "trace": {"x": 1}});
    assert_eq!(http.post_json("/call", &more).value(), 1);
}

#[test]
fn forms_without_their_fields_are_400() {
    let cluster = shared();
    let http = cluster.http();
    let bundle = fixtures::tiny().tar_gz();
    for route in ["/register", "/migrate"] {
        http.multipart(route, &[("platform", "x")], None).error(400, "invalid_request");
        http.multipart(route, &[("platform", "x")], Some(("other", &bundle))).error(400, "invalid_request");
        http.multipart(route, &[], Some(("schema", &bundle))).error(400, "invalid_request");
        http.multipart(route, &[("platform", "")], Some(("schema", &bundle))).error(400, "invalid_request");
        http.multipart(route, &[], None).error(400, "invalid_request");
        let content_type = multipart_type();
        let whole = multipart_body(&[("platform", "cutform")], Some(("schema", &bundle)));
        for cut in [0, 10, 100, whole.len() / 2, whole.len() - 10] {
            let answer = http.request("POST", route, &[("Content-Type", &content_type)], &whole[..cut]);
            answer.error(400, "invalid_request");
        }
        let without_boundary =
            http.request("POST", route, &[("Content-Type", "multipart/form-data")], &whole).client_error();
        assert!([400, 415].contains(&without_boundary.status), "{without_boundary}");
    }
    http.call("cutform", None, "f", json!([])).error(404, "platform_not_found");
}

#[test]
fn unknown_routes_are_404() {
    let cluster = shared();
    let http = cluster.http();
    for path in [
        "/",
        "/nothing",
        "/call/",
        "/call/x",
        "//call",
        "/CALL",
        "/../etc/passwd",
        "/%2e%2e/x",
        "/admin",
        "/admin/nothing",
        "/%00",
        "/health?x=1/../y/z",
    ] {
        let answer = http.get(path);
        if path.starts_with("/health") {
            answer.ok();
        } else {
            answer.error(404, "not_found");
        }
    }
    http.post_json("/nothing", &json!({})).error(404, "not_found");
    http.request("DELETE", "/nothing", &[], b"").error(404, "not_found");
}

#[test]
fn wrong_methods_are_405() {
    let cluster = shared();
    let http = cluster.http();
    for (method, path) in [
        ("GET", "/call"),
        ("PUT", "/call"),
        ("DELETE", "/register"),
        ("GET", "/register"),
        ("PATCH", "/migrate"),
        ("POST", "/health"),
        ("DELETE", "/health"),
        ("QUERY", "/call"),
    ] {
        let answer = http.request(method, path, &[JSON], b"{}").error(405, "method_not_allowed");
        assert!(answer.header("allow").is_some(), "RFC 9110 asks for Allow: {answer}");
    }
    for (method, path) in [("GET", "/admin/create-tenant"), ("POST", "/admin/databases")] {
        http.admin().request(method, path, &[JSON], b"{}").error(405, "method_not_allowed");
    }
}

#[test]
fn unsupported_media_types_are_415() {
    let cluster = shared();
    let http = cluster.http();
    let body = json!({"platform": "x", "function": "f"}).to_string();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "multipart/form-data; boundary=x",
        "nonsense",
    ] {
        let answer = http.request("POST", "/call", &[("Content-Type", content_type)], body.as_bytes());
        answer.error(415, "unsupported_media_type");
    }
    for route in ["/register", "/migrate"] {
        http.post_text(route, &body).error(415, "unsupported_media_type");
        http.request("POST", route, &[("Content-Type", "application/gzip")], b"x").error(415, "unsupported_media_type");
    }
    // With parameters it is JSON all the same.
    let answer = http.request("POST", "/call", &[("Content-Type", "application/json; charset=utf-8")], body.as_bytes());
    answer.error(404, "platform_not_found");
}

#[test]
fn too_large_bodies_are_413() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "large", &fixtures::tiny());
    let http = cluster.http();
    // The length alone is enough, before any body is there.
    let mut wire = http.wire();
    let head = "POST /call HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 3000000000\r\n\r\n";
    wire.send(head.as_bytes()).expect("sent");
    wire.read_answer("POST").expect("an answer before the body").error(413, "payload_too_large");

    // Without a length, by counting.
    let mut wire = http.wire();
    let head = "POST /call HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.send(head.as_bytes()).expect("sent");
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    for _ in 0..64 {
        if wire.send(&chunk).is_err() {
            break; // It has heard enough.
        }
    }
    wire.read_answer("POST").expect("an answer before the end of the body").error(413, "payload_too_large");

    // Just below the limit of 2 MB all is well, just above it not.
    let body = |spaces: usize| format!("{}{}", " ".repeat(spaces), json!({"platform": platform.name, "function": "f"}));
    assert_eq!(http.post_text("/call", &body((2 << 20) - 200)).value(), 1);
    http.post_text("/call", &body((2 << 20) + 200)).error(413, "payload_too_large");
}

#[test]
fn every_answer_has_the_requests_id() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "ids", &fixtures::tiny());
    let with = cluster.http().header("X-Request-Id", "my-id-4711");
    for answer in [with.get("/health"), with.call(&platform.name, None, "f", json!([]))] {
        assert_eq!(answer.header("x-request-id"), Some("my-id-4711"), "{answer}");
    }
    let answer = with.get("/nothing").error(404, "not_found");
    assert_eq!(answer.str("request_id"), "my-id-4711", "{answer}");

    let ids: Vec<String> = (0..3)
        .map(|_| {
            let answer =
                cluster.http().call(&platform.name, None, "nothing", json!([])).error(404, "function_not_found");
            answer.str("request_id").to_owned()
        })
        .collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");

    // An id that would not do as one is replaced or taken, never split into headers, and never the end of the service.
    for id in ["", &"x".repeat(5_000), "a b\"c\\d", "{\"error\":1}"] {
        let answer = cluster.http().header("X-Request-Id", id).get("/nothing").error(404, "not_found");
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty() && id.len() <= 5_000), "{answer}");
    }
}

#[test]
fn answers_are_json_and_hide_the_servers_inside() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "inside", &fixtures::tiny());
    let http = cluster.http();
    let answers = [
        http.get("/health"),
        http.call(&platform.name, None, "f", json!([])),
        http.call(&platform.name, None, "nothing", json!([])),
        http.register(&platform.name, None, b"nonsense"),
        http.post_text("/call", "{"),
    ];
    for answer in answers {
        assert_eq!(answer.header("content-type").map(|t| t.starts_with("application/json")), Some(true), "{answer}");
        assert!(answer.json.is_object(), "{answer}");
        for inside in ["/usr/lib", ".rs:", "panicked", cluster.dir().to_str().unwrap_or("?")] {
            assert!(!answer.text.contains(inside), "{inside}: {answer}");
        }
    }
    let answer = http.call(&platform.name, None, "f", json!([]));
    assert!(answer.number("execution_time_ms") >= 0 || answer.json["execution_time_ms"].is_f64(), "{answer}");
    assert_eq!(answer.json["row_count"], Value::from(1), "{answer}");
}
