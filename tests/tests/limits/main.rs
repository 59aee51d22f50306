//! Limits of what clients may send and hold, each as a setting that is reached.

mod amounts;
mod connections;
mod times;

use acceptance::{Answer, Http, Wire};
use serde_json::json;

/// A call that is good but for what its headers or its length say.
fn call(http: &Http, platform: &str, headers: &[(&str, &str)], body_bytes: usize) -> Vec<u8> {
    let body = json!({"platform": platform, "function": "f", "params": [], "filler": "x".repeat(body_bytes)});
    let mut all = vec![("Content-Type", "application/json")];
    all.extend_from_slice(headers);
    http.request_bytes("POST", "/call", &all, body.to_string().as_bytes())
}

/// Has a connection passed on to an executor, by calls in a row.
fn pass_on(wire: &mut Wire, http: &Http, platform: &str) {
    let request = call(http, platform, &[], 0);
    for _ in 0..50 {
        ask(wire, &request).ok();
    }
}

#[track_caller]
fn ask(wire: &mut Wire, request: &[u8]) -> Answer {
    // Of a request that is refused, not all may be taken.
    let _ = wire.send(request);
    wire.read_answer("POST").expect("an answer")
}
