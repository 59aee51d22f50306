//! Clients that leave, and clients that do not read.

use std::time::{Duration, Instant};

use acceptance::wait::check;
use acceptance::{Platform, Wire, eventually, sql};
use serde_json::json;

use crate::{LINES, check_log, files, one_executor, pid};

/// A connection on which an endless stream has begun.
fn begun(platform: &Platform, function: &str) -> Wire {
    let http = platform.cluster.http().header("Accept", LINES);
    let mut wire = http.wire();
    wire.send(&http.call_bytes(&platform.name, function, &json!([1_000_000_000]))).expect("sent");
    eventually("the function to run", || check(is_busy(platform), "idle"));
    wire
}

fn is_busy(platform: &Platform) -> bool {
    let state = format!(
        "SELECT state FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor' AND datname = '{}' AND usename LIKE '%call'",
        platform.database()
    );
    sql::texts(&mut platform.cluster.control(), &state) == ["active"]
}

#[test]
fn a_client_that_leaves_takes_its_stream_along() {
    let cluster = one_executor().setting("stonescriptdb.call_timeout", "300s").start();
    let platform = Platform::register(&cluster, "leaves", &files());
    let before = pid(&platform);
    // While rows are sent, while they wait for the client, and while none are there yet.
    for (function, pause) in [("numbers", 0), ("numbers", 500), ("stored", 100)] {
        let wire = begun(&platform, function);
        std::thread::sleep(Duration::from_millis(pause));
        let left = Instant::now();
        drop(wire);
        while is_busy(&platform) {
            // 100 ms is what is promised; the machine may be busy with other tests.
            assert!(left.elapsed() < Duration::from_secs(10), "{function}: it still runs");
        }
        assert_eq!(pid(&platform), before, "the executor goes on");
    }
    check_log(&cluster);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let cluster = one_executor()
        .setting("stonescriptdb.call_timeout", "300s")
        .setting("stonescriptdb.stall_timeout", "1s")
        .start();
    let platform = Platform::register(&cluster, "stalls", &files());
    let before = pid(&platform);
    let mut wire = begun(&platform, "numbers");
    let since = Instant::now();
    eventually("the executor to be free", || check(!is_busy(&platform), "it still runs"));
    let gone = since.elapsed();
    assert!(gone > Duration::from_millis(700), "{gone:?}");
    let rest = wire.read_rest();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it must not look complete");
    assert_eq!(pid(&platform), before);
    check_log(&cluster);
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let cluster = one_executor().setting("stonescriptdb.stall_timeout", "2s").start();
    let platform = Platform::register(&cluster, "slowly", &files());
    let http = cluster.http().header("Accept", LINES);
    let mut wire = http.wire();
    wire.send(&http.call_bytes(&platform.name, "numbers", &json!([200_000]))).expect("sent");
    // Longer in all than the limit, never as long at a time.
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(500));
        wire.read_ahead(1 << 20).expect("more to come");
    }
    assert_eq!(wire.read_answer("POST").expect("an answer").ok().text.lines().count(), 200_000);
}
