//! HTTP/1.1 itself: keep-alive, pipelining, HEAD, chunks, Expect.

use acceptance::{Platform, fixtures, shared};
use serde_json::json;

#[test]
fn one_connection_serves_many_requests() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "alive", &fixtures::tiny());
    let http = cluster.http();
    let mut wire = http.wire();
    for turn in 0..100 {
        let (request, status) = match turn % 4 {
            0 => (http.request_bytes("GET", "/health", &[], b""), 200),
            1 => (http.call_bytes(&platform.name, "nap", &json!([0])), 200),
            2 => (http.request_bytes("GET", "/nothing", &[], b""), 404),
            // An error in the request's content is no reason to lose the connection.
            _ => (http.request_bytes("POST", "/call", &[("Content-Type", "application/json")], b"{"), 400),
        };
        wire.send(&request).expect("the connection is kept");
        wire.read_answer("GET").expect("an answer").expect(status);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "pipe", &fixtures::tiny());
    let http = cluster.http();
    // The first takes longest.
    let naps = [0.3, 0.0, 0.1, 0.05, 0.0];
    let requests: Vec<u8> = naps.iter().flat_map(|nap| http.call_bytes(&platform.name, "nap", &json!([nap]))).collect();
    let mut wire = http.wire();
    wire.send(&requests).expect("sent");
    for nap in naps {
        let answer = wire.read_answer("POST").expect("an answer");
        assert_eq!(answer.value().as_f64(), Some(nap), "{answer}");
    }
}

#[test]
fn head_is_get_without_a_body() {
    let cluster = shared();
    let http = cluster.http();
    let mut wire = http.wire();
    for path in ["/health", "/nothing"] {
        wire.send(&http.request_bytes("HEAD", path, &[], b"")).expect("sent");
        let answer = wire.read_answer("HEAD").expect("an answer");
        assert_eq!(answer.status, if path == "/health" { 200 } else { 404 }, "{answer}");
        // If there were a body, it would be taken for the next answer.
        wire.send(&http.request_bytes("GET", "/health", &[], b"")).expect("sent");
        wire.read_answer("GET").expect("an answer").ok();
    }
}

#[test]
fn the_connection_is_closed_when_the_client_asks_for_it() {
    let cluster = shared();
    let http = cluster.http();
    for request in [
        http.request_bytes("GET", "/health", &[("Connection", "close")], b""),
        b"GET /health HTTP/1.0\r\n\r\n".to_vec(),
    ] {
        let mut wire = http.wire();
        wire.send(&request).expect("sent");
        wire.read_answer("GET").expect("an answer").ok();
        assert!(wire.is_closed());
    }
}

#[test]
fn a_client_may_ask_before_it_sends_the_body() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "ask", &fixtures::tiny());
    let http = cluster.http();
    let body = json!({"platform": platform.name, "function": "f"}).to_string();
    let whole = http.request_bytes(
        "POST",
        "/call",
        &[("Content-Type", "application/json"), ("Expect", "100-continue")],
        body.as_bytes(),
    );
    let (head, body) = whole.split_at(whole.len() - body.len());
    let mut wire = http.wire();
    wire.send(head).expect("sent");
    wire.read_answer("POST").expect("an interim answer").expect(100);
    wire.send(body).expect("sent");
    assert_eq!(wire.read_answer("POST").expect("an answer").value(), 1);

    // One whose body would be refused need not send it.
    let mut wire = http.wire();
    let head = "POST /call HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n";
    wire.send(head.as_bytes()).expect("sent");
    wire.read_answer("POST").expect("an answer").expect(413);
}

#[test]
fn a_body_may_come_in_chunks_and_in_single_bytes() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "chunk", &fixtures::tiny());
    let http = cluster.http();
    let body = json!({"platform": platform.name, "function": "nap", "params": [0]}).to_string();
    let mut request =
        b"POST /call HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for part in body.as_bytes().chunks(7) {
        request.extend_from_slice(format!("{:x};ext=1\r\n", part.len()).as_bytes());
        request.extend_from_slice(part);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
    let mut wire = http.wire();
    wire.send(&request).expect("sent");
    assert_eq!(wire.read_answer("POST").expect("an answer").value().as_f64(), Some(0.0));
    for byte in request.chunks(1) {
        wire.send(byte).expect("sent");
    }
    assert_eq!(wire.read_answer("POST").expect("an answer").value().as_f64(), Some(0.0));
}

#[test]
fn ambiguous_lengths_are_refused() {
    let cluster = shared();
    let http = cluster.http();
    for headers in [
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2, 3",
        "Content-Length: -1",
        "Content-Length: 18446744073709551617",
        "Content-Length: two",
        "Transfer-Encoding: gzip, identity",
    ] {
        let mut wire = http.wire();
        let request =
            format!("POST /call HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n\r\n{{}}");
        wire.send(request.as_bytes()).expect("sent");
        // An answer that this is no good, or the end of the connection.
        if let Ok(answer) = wire.read_answer("POST") {
            assert!((400..=501).contains(&answer.status), "{headers}: {answer}");
        }
    }
    http.get("/health").ok();
}
