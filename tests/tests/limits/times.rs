//! Heads, bodies and idle connections that take too long.

use std::time::{Duration, Instant};

use acceptance::http::{multipart_body, multipart_type};
use acceptance::{Cluster, Platform, Wire, fixtures};

use crate::{ask, call, pass_on};

/// Asserts that the connection is closed by the server when a limit of 500 ms has passed, not before.
#[track_caller]
fn cut_off(wire: &mut Wire, since: Instant) {
    assert!(wire.is_closed(), "the connection is open after {:?}", since.elapsed());
    let took = since.elapsed();
    // Far below the 30 s of the other limit.
    assert!((Duration::from_millis(400)..Duration::from_secs(20)).contains(&took), "{took:?}");
}

#[test]
fn heads_that_come_too_slowly() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.header_timeout", "500ms")
        .setting("stonescriptdb.keepalive_timeout", "5min")
        .start();
    let platform = Platform::register(&cluster, "heads", &fixtures::tiny());
    let http = cluster.http();
    let request = call(&http, &platform.name, &[], 0);
    // Of a new connection: nothing, and half of it.
    for half in [&b""[..], &request[..40]] {
        let mut wire = http.wire();
        let start = Instant::now();
        wire.send(half).expect("sent");
        cut_off(&mut wire, start);
    }
    // A byte now and then does not count as progress.
    let mut wire = http.wire();
    let start = Instant::now();
    let mut sent = 0;
    while sent < 60 && wire.send(&request[sent..=sent]).is_ok() {
        sent += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(sent < 60 || wire.is_closed(), "60 bytes of a head in {:?}", start.elapsed());

    // Of one that was served: it may be idle for longer, but once a head begins it has to come.
    for passed_on in [false, true] {
        let mut wire = http.wire();
        ask(&mut wire, &request).ok();
        if passed_on {
            pass_on(&mut wire, &http, &platform.name);
        }
        std::thread::sleep(Duration::from_millis(1200));
        ask(&mut wire, &request).ok();
        let start = Instant::now();
        wire.send(&request[..40]).expect("sent");
        cut_off(&mut wire, start);
        // And the half of the next head that comes with a whole request.
        let mut wire = http.wire();
        let start = Instant::now();
        ask(&mut wire, &[&request, &request[..40]].concat()).ok();
        wire.send(&request[40..50]).expect("sent");
        cut_off(&mut wire, start);
    }
}

#[test]
fn idle_connections() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.header_timeout", "30s")
        .setting("stonescriptdb.keepalive_timeout", "500ms")
        .start();
    let platform = Platform::register(&cluster, "idle", &fixtures::tiny());
    let http = cluster.http();
    let request = call(&http, &platform.name, &[], 0);
    let mut wire = http.wire();
    let start = Instant::now();
    ask(&mut wire, &request).ok();
    cut_off(&mut wire, start);
    // Where no request was yet, the limit of heads counts.
    let mut wire = http.wire();
    std::thread::sleep(Duration::from_millis(1500));
    ask(&mut wire, &request).ok();
    // One that an executor served is idle when it is back.
    pass_on(&mut wire, &http, &platform.name);
    let start = Instant::now();
    assert!(wire.is_closed());
    assert!(start.elapsed() < Duration::from_secs(20));
    // A call that takes longer than either is not idle.
    let mut wire = http.wire();
    let nap = http.call_bytes(&platform.name, "nap", &serde_json::json!([1.5]));
    wire.send(&nap).expect("sent");
    wire.read_answer("POST").expect("an answer").ok();
}

#[test]
fn bodies_that_come_too_slowly() {
    let cluster = Cluster::builder().setting("stonescriptdb.body_timeout", "500ms").start();
    let platform = Platform::register(&cluster, "bodies", &fixtures::tiny());
    let http = cluster.http();
    let form = multipart_body(&[("platform", "slowform")], Some(("schema", &fixtures::tiny().tar_gz())));
    let register = http.request_bytes("POST", "/register", &[("Content-Type", &multipart_type())], &form);
    for request in [call(&http, &platform.name, &[], 1000), register] {
        let mut wire = http.wire();
        let start = Instant::now();
        let answer = ask(&mut wire, &request[..request.len() - 100]);
        answer.error(400, "invalid_request").says("did not arrive in time");
        let took = start.elapsed();
        assert!((Duration::from_millis(400)..Duration::from_secs(20)).contains(&took), "{took:?}");
        assert!(wire.is_closed());
    }
}
