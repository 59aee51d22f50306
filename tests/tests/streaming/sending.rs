//! Rows go out as they come, and little is in memory.

use std::time::Duration;

use acceptance::{Cluster, Platform, server, shared};
use serde_json::json;

use crate::{LINES, Streamed, check_log, files, one_executor};

#[test]
fn many_rows_arrive_in_order() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "many", &files());
    for function in ["numbers", "stored"] {
        let rows = Streamed::of(&platform, function, json!([50_000])).rows();
        assert_eq!(rows.len(), 50_000);
        assert!(rows.iter().zip(1..).all(|(row, i)| row["i"] == i), "{function}");
    }
    // Sizes around those of chunks and buffers.
    for width in [65_400, 65_515, 65_536, 131_072, 300_000] {
        let rows = Streamed::of(&platform, "wide", json!([5, width])).rows();
        assert!(
            rows.len() == 5 && rows.iter().all(|row| row["filler"].as_str().map(str::len) == Some(width)),
            "{width}"
        );
    }
    check_log(&cluster);
}

#[test]
fn a_connection_goes_on_after_a_stream() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "goeson", &files());
    let http = cluster.http();
    let mut wire = http.wire();
    for _ in 0..3 {
        let lines = http.header("Accept", LINES);
        wire.send(&lines.call_bytes(&platform.name, "numbers", &json!([5_000]))).expect("sent");
        assert_eq!(wire.read_answer("POST").expect("an answer").ok().text.lines().count(), 5_000);
        wire.send(&http.call_bytes(&platform.name, "f", &json!([]))).expect("sent");
        assert_eq!(wire.read_answer("POST").expect("an answer").value(), 1);
    }
    // Both at once.
    let mut two = http.header("Accept", LINES).call_bytes(&platform.name, "numbers", &json!([50_000]));
    two.extend(http.call_bytes(&platform.name, "f", &json!([])));
    wire.send(&two).expect("sent");
    assert_eq!(wire.read_answer("POST").expect("an answer").ok().text.lines().count(), 50_000);
    assert_eq!(wire.read_answer("POST").expect("an answer").value(), 1);
}

#[test]
fn the_limit_of_results_is_for_a_row() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_result_size", "100kB").start();
    let platform = Platform::register(&cluster, "limit", &files());
    platform.call("wide", json!([10, 90_000])).error(500, "query_failed").field("sqlstate", "54000");
    assert_eq!(Streamed::of(&platform, "wide", json!([10, 90_000])).rows().len(), 10);
    let http = cluster.http().header("Accept", LINES);
    let answer = http.call(&platform.name, None, "wide", json!([10, 110_000])).error(500, "query_failed");
    answer.field("sqlstate", "54000").says("max_result_size");
}

#[test]
fn the_first_rows_come_while_the_function_runs() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "early", &files());
    let http = cluster.http().header("Accept", LINES);
    let mut wire = http.wire();
    wire.set_timeout(Duration::from_secs(2));
    // It sleeps for longer than anybody waits.
    wire.send(&http.call_bytes(&platform.name, "slow_at", &json!([20_000]))).expect("sent");
    let came = String::from_utf8_lossy(&wire.read_rest()).into_owned();
    assert!(came.contains(r#"{"i":1,"#) && came.contains(r#"{"i":15000,"#), "{} bytes", came.len());
}

#[test]
fn a_reader_that_waits_costs_no_memory() {
    let cluster = one_executor().setting("stonescriptdb.stall_timeout", "60s").start();
    let platform = Platform::register(&cluster, "waits", &files());
    let worker = cluster.server_worker();
    let memory = || server::own_memory(&worker).expect("the server worker to be there");
    let http = cluster.http().header("Accept", LINES);
    let mut wire = http.wire();
    let before = memory();
    // The second request is there already: nothing may wait for that either.
    let mut two = http.call_bytes(&platform.name, "numbers", &json!([10_000_000]));
    two.extend(http.call_bytes(&platform.name, "f", &json!([])));
    wire.send(&two).expect("sent");
    std::thread::sleep(Duration::from_millis(1500));
    let grown = memory() - before;
    assert!(grown < 8 * 1024, "the server worker grew by {grown} kB for one reader that waits");
}
