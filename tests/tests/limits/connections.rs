//! How many connections there may be, in all and of one address.

use std::process::Command;

use acceptance::{Cluster, Http, Wire, eventually, wait};

/// Opens so many connections that are served.
fn hold(http: &Http, count: usize) -> Vec<Wire> {
    let request = http.request_bytes("GET", "/health", &[], b"");
    (0..count)
        .map(|n| {
            let mut wire = http.wire();
            wire.send(&request).expect("sent");
            let answer = wire.read_answer("GET").unwrap_or_else(|error| panic!("connection {n}: {error}"));
            answer.ok();
            wire
        })
        .collect()
}

/// One connection more is told why there is no room, and closed.
#[track_caller]
fn refused(http: &Http, setting: &str) {
    let mut wire = http.wire();
    let answer = wire.read_answer("GET").expect("an answer before anything is asked");
    assert!(answer.header("retry-after").is_some(), "{answer}");
    answer.error(503, "pool_exhausted").says("too many connections").says(setting);
    assert!(wire.is_closed());
    // Who has sent something reads it too.
    http.post_text("/call", &"x".repeat(100_000)).error(503, "pool_exhausted");
}

fn eventually_served(http: &Http) {
    eventually("a free place", || {
        let answer = http.get("/health");
        wait::check(answer.status == 200, answer)
    });
}

#[test]
fn in_all() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_http_connections", "20").start();
    let http = cluster.http();
    // The one that saw the cluster ready may not be gone yet.
    let mut held = hold(&http, 19);
    held.push(http.wire());
    eventually("no more room", || {
        let mut wire = http.wire();
        let request = http.request_bytes("GET", "/health", &[], b"");
        let _ = wire.send(&request);
        wait::check(wire.read_answer("GET").is_ok_and(|answer| answer.status == 503), "it is served")
    });
    refused(&http, "stonescriptdb.max_http_connections");
    held.truncate(10);
    eventually_served(&http);
    drop(held);
    // Those that were refused are not counted.
    drop(hold(&http, 18));
}

#[test]
fn of_one_address() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_http_connections_per_address", "10").start();
    let http = cluster.http();
    eventually_served(&http);
    let held = eventually("ten connections", || {
        let held: Vec<Wire> = (0..10).filter_map(|_| http.try_wire().ok()).collect();
        wait::check(held.len() == 10, held.len()).map(|()| held)
    });
    eventually("no more room", || {
        let mut wire = http.wire();
        wait::check(wire.read_answer("GET").is_ok_and(|answer| answer.status == 503), "it is served")
    });
    refused(&http, "stonescriptdb.max_http_connections_per_address");
    // Another one is served meanwhile.
    let elsewhere = |from: &str| {
        let url = format!("http://127.0.0.1:{}/health", cluster.port());
        let output = Command::new("curl").args(["-sS", "--interface", from, &url]).output().expect("curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let answer = elsewhere("127.0.0.2");
    assert!(answer.contains("healthy"), "{answer}");
    drop(held);
    eventually_served(&http);

    // Of a proxy there may be as many as in all.
    cluster.configure("stonescriptdb.trusted_proxies", "127.0.0.1");
    cluster.reload();
    eventually("fifty connections", || {
        let request = http.request_bytes("GET", "/health", &[("X-Forwarded-For", "127.0.0.9")], b"");
        let mut held = Vec::new();
        for _ in 0..50 {
            let mut wire = http.try_wire().map_err(|error| error.to_string())?;
            wire.send(&request).map_err(|error| error.to_string())?;
            let answer = wire.read_answer("GET").map_err(|error| error.to_string())?;
            wait::check(answer.status == 200, &answer)?;
            held.push(wire);
        }
        Ok(())
    });
}
