//! Requests of all kinds, and their answers.

use acceptance::{Answer, Files, Platform, fixtures, shared};
use serde_json::json;

use super::{Line, settled};

fn files() -> Files {
    fixtures::tiny()
        .file("functions/echo.pssql", "CREATE FUNCTION echo(t text) RETURNS text LANGUAGE sql AS 'SELECT t';\n")
        .file(
            "functions/refuse.pssql",
            "CREATE FUNCTION refuse() RETURNS int LANGUAGE plpgsql AS\n\
             $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'PT429', DETAIL = 'd', HINT = 'h'; END $$;\n",
        )
        .file(
            "functions/asked.pssql",
            "CREATE FUNCTION asked() RETURNS text LANGUAGE sql AS $$ SELECT concat_ws('|', current_setting('request.id'),\n\
             current_setting('request.platform'), current_setting('request.tenant'), current_setting('request.method'),\n\
             current_setting('request.client_address'), current_setting('request.headers')::json ->> 'x-colour') $$;\n",
        )
}

/// What does not differ from one answer to the next.
fn lasting(answer: &Answer) -> (u16, Vec<String>, serde_json::Value) {
    let mut body: serde_json::Value = answer.json.clone();
    for changing in ["execution_time_ms", "request_id"] {
        body.as_object_mut().expect("an object").remove(changing);
    }
    let mut names: Vec<String> = answer.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    (answer.status, names, body)
}

#[test]
fn answers_are_those_of_other_connections() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "same", &files());
    let mut line = settled(&cluster, &platform);
    for (function, params) in [
        ("f", json!([])),
        ("echo", json!(["ä\u{1F600}\"\\"])),
        ("echo", json!({"t": null})),
        ("refuse", json!([])),
        ("nothing", json!([])),
        ("f", json!([1, 2])),
        ("echo", json!({"nothing": 1})),
        ("f", json!("text")),
    ] {
        let fresh = Line::new(cluster.http(), &platform.name, None).call(function, params.clone());
        let here = line.call(function, params);
        assert_eq!(lasting(&here), lasting(&fresh), "{function}");
    }
}

#[test]
fn a_function_knows_of_its_request() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "known", &files());
    let mut line = settled(&cluster, &platform);
    for (id, colour) in [("one", "red"), ("two", "red"), ("two", "blue")] {
        let request = line.request("asked", &json!([]), &[("X-Request-Id", id), ("X-Colour", colour)]);
        line.wire.send(&request).expect("sent");
        let answer = line.read().ok();
        assert_eq!(answer.value(), json!(format!("{id}|{}|main|POST|127.0.0.1|{colour}", platform.name)));
        assert_eq!(answer.header("x-request-id"), Some(id));
    }
    let ids: Vec<String> =
        (0..3).map(|_| line.call("f", json!([])).ok().header("x-request-id").expect("an id").to_owned()).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
}

#[test]
fn requests_in_pieces_and_many_at_once() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "pieces", &files());
    let mut line = settled(&cluster, &platform);
    let request = line.request("echo", &json!(["x".repeat(300)]), &[]);
    for size in [1, 7, request.len() - 1] {
        for piece in request.chunks(size) {
            line.wire.send(piece).expect("sent");
            if size > 1 {
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
        }
        assert_eq!(line.read().ok().value(), json!("x".repeat(300)));
        line = line.settle();
    }
    let many: Vec<u8> = (0..200).flat_map(|number| line.request("echo", &json!([number.to_string()]), &[])).collect();
    line.wire.send(&many).expect("sent");
    for number in 0..200 {
        assert_eq!(line.read().ok().value(), json!(number.to_string()));
    }
}

#[test]
fn what_is_no_plain_call_is_answered_too() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "other", &files());
    platform.register_tenant("second", &files()).ok();
    let mut line = settled(&cluster, &platform);
    let body = json!({"platform": platform.name, "function": "f"}).to_string();
    let chunked = format!(
        "POST /call HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let json_type = ("Content-Type", "application/json");
    let elsewhere = json!({"platform": platform.name, "tenant_id": "second", "function": "f"}).to_string();
    let nowhere = json!({"platform": platform.name, "tenant_id": "third", "function": "f"}).to_string();
    let large = json!({"platform": platform.name, "function": "echo", "params": ["x".repeat(1_000_000)]}).to_string();
    for (request, status) in [
        (line.http.request_bytes("GET", "/health", &[], b""), 200),
        (chunked.into_bytes(), 200),
        (line.http.request_bytes("POST", "/call", &[json_type], elsewhere.as_bytes()), 200),
        (line.http.request_bytes("POST", "/call", &[json_type], nowhere.as_bytes()), 404),
        (line.http.request_bytes("POST", "/call", &[json_type], b"{"), 400),
        (line.http.request_bytes("POST", "/call", &[json_type], b"{}"), 400),
        (line.http.request_bytes("POST", "/call", &[("Content-Type", "text/plain")], body.as_bytes()), 415),
        (line.http.request_bytes("PUT", "/call", &[json_type], body.as_bytes()), 405),
        (line.http.request_bytes("POST", "/call", &[json_type, ("X-Timeout-Ms", "soon")], body.as_bytes()), 400),
        (line.http.request_bytes("POST", "/call", &[json_type], large.as_bytes()), 200),
    ] {
        line = line.settle();
        line.wire.send(&request).ok();
        line.wire.read_answer("POST").expect("an answer").expect(status);
    }
}

#[test]
fn a_large_answer_waits_for_a_slow_reader_and_holds_up_nobody() {
    let cluster = shared();
    let files = files().file(
        "functions/big.pssql",
        "CREATE FUNCTION big(n int) RETURNS text LANGUAGE sql AS $$ SELECT repeat('x', n) $$;\n",
    );
    let platform = Platform::register(&cluster, "slow", &files);
    let mut slow = settled(&cluster, &platform);
    slow.send("big", &json!([20_000_000]));
    // Not read yet.
    let mut other = settled(&cluster, &platform);
    for _ in 0..50 {
        other.call("f", json!([])).ok();
    }
    assert_eq!(slow.read().ok().value().as_str().map(str::len), Some(20_000_000));
    slow.call("f", json!([])).ok();
}
