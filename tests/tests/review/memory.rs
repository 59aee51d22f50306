//! What an executor keeps in memory.

use acceptance::{Cluster, Http, Platform, fixtures, server};
use serde_json::{Value, json};

#[track_caller]
fn own_memory(pid: i64) -> i64 {
    server::own_memory(pid).expect("the executor to be there")
}

/// Calls so many functions that are not there, on one connection.
#[track_caller]
fn unknown(http: &Http, platform: &str, from: usize, count: usize) {
    let mut wire = http.wire();
    for number in from..from + count {
        let name = format!("unknown_{number:0>192}");
        wire.send(&http.call_bytes(platform, &name, &json!([]))).expect("the connection stays");
        wire.read_answer("POST").expect("the connection stays").error(404, "function_not_found");
    }
}

#[test]
fn an_executor_does_not_remember_names_that_are_no_functions() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers_per_database", "1").start();
    let platform = Platform::register(&cluster, "names", &fixtures::tiny());
    let pid: Value = platform.call("pid", json!([])).value();
    let pid = pid.as_i64().expect("a process id");
    let http = cluster.http();
    // What the first calls take is not the question.
    unknown(&http, &platform.name, 0, 500);
    let long = |number: usize| platform.call(&format!("l{}{number}", "0".repeat(100_000)), json!([]));
    for number in 0..5 {
        long(number).error(400, "invalid_request");
    }

    let before = own_memory(pid);
    unknown(&http, &platform.name, 1_000, 300);
    let grown = own_memory(pid) - before;
    assert!(grown < 3_000, "{grown} kB more after 300 unknown names");

    let before = own_memory(pid);
    unknown(&http, &platform.name, 10_000, 10_000);
    let grown = own_memory(pid) - before;
    assert!(grown < 1_000, "{grown} kB more after 10000 unknown names");

    let before = own_memory(pid);
    for number in 1_000..1_100 {
        long(number).error(400, "invalid_request");
    }
    let grown = own_memory(pid) - before;
    assert!(grown < 3_000, "{grown} kB more after 100 names of 100 kB");

    assert_eq!(platform.call("f", json!([])).value(), 1);
    assert_eq!(platform.call("pid", json!([])).value(), pid, "another executor: the numbers show nothing");
}
