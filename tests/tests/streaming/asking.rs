//! Who gets lines, and what is as for other calls.

use acceptance::{Platform, shared};
use serde_json::json;

use crate::{LINES, Streamed, files};

#[test]
fn lines_are_for_who_names_them() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "accept", &files());
    let asked = |accept: &str| {
        let http = cluster.http().header("Accept", accept);
        let posted = http.call(&platform.name, None, "numbers", json!([2])).ok();
        let got = http.get(&format!("/call/{}/numbers?n=2", platform.name)).ok();
        assert_eq!(posted.header("content-type"), got.header("content-type"), "{accept}");
        assert_eq!(got.header("vary"), Some("Accept"));
        posted.header("content-type").expect("a type").to_owned()
    };
    let lines = [
        "application/x-ndjson",
        "Application/X-NDJSON",
        "application/x-ndjson;q=0.1",
        "text/html, application/x-ndjson",
        "application/x-ndjson, application/json",
        "application/json;q=0.9, application/x-ndjson",
        "application/json ; q=0.5 , application/x-ndjson ; charset=utf-8 ; q=0.50",
        "application/x-ndjson, */*",
        "application/x-ndjson, */*;q=0.1",
        "application/x-ndjson;q=0.2, */*, application/json;q=0.1",
        "text/x;p=\"a,b;q=0\", application/x-ndjson",
    ];
    for accept in lines {
        assert_eq!(asked(accept), LINES, "{accept}");
    }
    let json = [
        "*/*",
        "application/*",
        "application/json",
        "text/html",
        "application/x-ndjson;q=0",
        "application/x-ndjson;q=0.000, */*",
        "application/x-ndjson;q=0.5, application/json",
        "application/x-ndjson;q=0.5, */*",
        "application/x-ndjson;q=0.5, application/*;q=0.6",
        "application/x-ndjson;q=nonsense",
        "application/x-ndjson;q=2",
        "text/x;p=\"a, application/x-ndjson\"",
        "application/x-ndjsonx",
        "",
    ];
    for accept in json {
        assert_eq!(asked(accept), "application/json", "{accept}");
    }
    assert_eq!(platform.call("numbers", json!([2])).header("content-type"), Some("application/json"));
}

#[test]
fn lines_are_the_rows_of_other_calls() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "same", &files());
    for (function, params) in
        [("kinds", json!([])), ("numbers", json!([3])), ("f", json!([])), ("stored", json!({"n": 2}))]
    {
        let rows = platform.call(function, params.clone()).rows();
        assert_eq!(Streamed::of(&platform, function, params).rows(), rows, "{function}");
    }
    let none = Streamed::of(&platform, "numbers", json!([0]));
    assert_eq!((none.rows().len(), none.body.as_str()), (0, ""));
    let raw = Streamed::of(&platform, "kinds", json!([])).body;
    assert!(raw.contains(r#""n":1.10,"#), "every digit: {raw}");
    let got = cluster.http().header("Accept", LINES).get(&format!("/call/{}/numbers?n=1", platform.name)).ok();
    assert_eq!(got.header("etag"), None, "{got}");
    assert_eq!(got.header("cache-control"), Some("private, no-cache"), "{got}");
    let head = cluster.http().header("Accept", LINES).request(
        "HEAD",
        &format!("/call/{}/numbers?n=9", platform.name),
        &[],
        b"",
    );
    assert_eq!((head.status, head.text.as_str()), (200, ""), "{head}");
}

#[test]
fn what_fails_at_once_is_an_error_as_any() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "atonce", &files());
    let http = cluster.http().header("Accept", LINES);
    let call = |function: &str, params| http.call(&platform.name, None, function, params);
    call("nothing", json!([])).error(404, "function_not_found");
    call("numbers", json!(["x"])).error(422, "query_failed").field("sqlstate", "22P02");
    call("broken_at", json!([1])).error(422, "query_failed").field("sqlstate", "22012");
    http.get(&format!("/call/{}/stored?n=1", platform.name)).error(405, "method_not_allowed");
    http.call("nobody", None, "f", json!([])).error(404, "platform_not_found");
    // Rows that have left cannot be taken back.
    let body = json!({"platform": platform.name, "function": "f", "retry": true});
    http.post_json("/call", &body).error(400, "invalid_request").says("retry");
    // A batch has one answer for all.
    let batch = json!({"platform": platform.name, "calls": [{"function": "f"}]});
    assert_eq!(http.post_json("/call/batch", &batch).ok().json["results"][0]["row_count"], 1);
}
