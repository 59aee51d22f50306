//! Lines of the log about calls that failed.

use acceptance::wait::check;
use acceptance::{Cluster, Files, Platform, eventually, fixtures};
use serde_json::json;

use super::Line;

fn files() -> Files {
    fixtures::tiny().file(
        "functions/fail.pssql",
        "CREATE FUNCTION fail(code text, secret text) RETURNS int LANGUAGE plpgsql AS\n\
         $$ BEGIN RAISE '%', secret USING ERRCODE = code, DETAIL = secret, HINT = secret; END $$;\n",
    )
}

/// The lines about failed calls.
fn lines(cluster: &Cluster) -> Vec<String> {
    let log = cluster.log();
    let of_calls = |line: &str| line.find("event=call_failed").map(|start| line[start..].to_owned());
    log.lines().filter_map(of_calls).collect()
}

/// Waits for so many lines, and gives them.
fn wait_for(cluster: &Cluster, count: usize) -> Vec<String> {
    eventually("the lines are there", || {
        let seen = lines(cluster);
        check(seen.len() >= count, format!("{seen:#?}"))
    });
    lines(cluster)
}

/// Splits a line into fields; a value is a word, or quoted.
fn fields(line: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = line;
    while let Some((name, value)) = rest.split_once('=') {
        let (value, after) = if value.starts_with('"') {
            let mut stream = serde_json::Deserializer::from_str(value).into_iter::<String>();
            let text = stream.next().expect("a value").expect("a quoted value is JSON");
            (text, &value[stream.byte_offset()..])
        } else {
            let end = value.find(' ').unwrap_or(value.len());
            (value[..end].to_owned(), &value[end..])
        };
        fields.push((name.trim_start().to_owned(), value));
        rest = after;
    }
    assert_eq!(rest, "", "{line}");
    fields
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_failed_call_is_a_line_without_what_was_sent() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "failing", &files());
    let http = cluster.http().header("X-Request-Id", "id-1").header("traceparent", TRACE).bearer("a-token");
    http.call(&platform.name, None, "fail", json!(["XX000", "a-secret"])).expect(500);
    // What a client or a function is to blame for is not logged.
    http.call(&platform.name, None, "fail", json!(["P0001", "a-secret"])).expect(400);
    http.call(&platform.name, None, "nothing", json!(["a-secret"])).expect(404);
    let mut line = Line::direct(&cluster, &platform);
    let headers = [("X-Request-Id", "id-2"), ("traceparent", TRACE), ("Authorization", "Bearer a-token")];
    line.call("fail", json!(["XX000", "a-secret"]), &headers[..2]).expect(500);
    http.header("Accept", "application/x-ndjson")
        .call(&platform.name, None, "fail", json!(["XX000", "a-secret"]))
        .expect(500);
    let seen = wait_for(&cluster, 3);
    assert_eq!(seen.len(), 3, "{seen:#?}");
    for (line, id) in seen.iter().zip(["id-1", "id-2", "id-1"]) {
        let fields = fields(line);
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            ("event", "call_failed"),
            ("status", "500"),
            ("error", "query_failed"),
            ("sqlstate", "XX000"),
            ("platform", &platform.name),
            ("function", "fail"),
            ("database", &platform.database()),
            ("request_id", id),
            ("traceparent", TRACE),
        ];
        for (name, value) in expected {
            let found = fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            assert_eq!(found, Some(value), "{name} of {line}");
        }
        assert!(names.contains(&"duration_ms"), "{line}");
    }
    let log = cluster.log();
    assert!(!log.contains("a-secret") && !log.contains("a-token"), "{log}");
}

#[test]
fn names_cannot_forge_lines() {
    let cluster = Cluster::builder().setting("stonescriptdb.log_min_status", "400").start();
    let platform = Platform::register(&cluster, "forged", &files());
    let odd = "x\nLOG:  stonescriptdb: event=forged status=200 \"\u{85}\u{1b}[31m";
    platform.call(odd, json!([])).client_error();
    platform.call(&"long".repeat(1000), json!([])).client_error();
    let seen = wait_for(&cluster, 2);
    let function = |line: &str| fields(line).into_iter().find(|(name, _)| name == "function").map(|(_, value)| value);
    assert_eq!(seen.len(), 2, "{seen:#?}");
    assert_eq!(
        function(&seen[0]).map(|name| name.replace(['\n', '\u{1b}'], " ")),
        Some(odd.replace(['\n', '\u{85}', '\u{1b}'], " "))
    );
    assert_eq!(function(&seen[1]), Some("long".repeat(32)));
    let log = cluster.log();
    assert!(!log.contains('\u{1b}') && !log.contains('\u{85}'), "control characters in the log");
}

#[test]
fn lines_are_limited_in_number_and_those_left_out_are_told() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.log_min_status", "400")
        .setting("stonescriptdb.log_rate", "1")
        .setting("stonescriptdb.log_burst", "1")
        .start();
    let platform = Platform::register(&cluster, "flood", &files());
    let mut line = Line::direct(&cluster, &platform);
    let start = std::time::Instant::now();
    let mut sent = 0;
    // In all of them, whoever answers.
    while sent < 600 {
        line.call("nothing", json!([]), &[]).expect(404);
        platform.call("nothing", json!([])).expect(404);
        sent += 2;
    }
    let seconds = start.elapsed().as_secs() as usize + 2;
    eventually("somebody tells of those left out", || {
        platform.call("nothing", json!([])).expect(404);
        sent += 1;
        let seen = lines(&cluster);
        let left_out = |line: &String| {
            fields(line).iter().find(|(name, _)| name == "left_out").and_then(|(_, value)| value.parse::<usize>().ok())
        };
        // The sum of a minute that was over has the others.
        let log = cluster.log();
        let summed = log
            .lines()
            .filter_map(|line| line.split_once("stonescriptdb.log_rate: ")?.1.split(' ').next()?.parse::<usize>().ok());
        let told: usize = seen.iter().filter_map(left_out).sum::<usize>() + summed.sum::<usize>();
        check(told > 400 && told + seen.len() <= sent, format!("{told} and {} of {sent}", seen.len()))
    });
    assert!(
        lines(&cluster).len() <= 2 * (seconds + start.elapsed().as_secs() as usize),
        "{} lines",
        lines(&cluster).len()
    );
    cluster.configure("stonescriptdb.log_min_status", "600");
    cluster.reload();
    let before = lines(&cluster).len();
    eventually("nothing is logged any more", || {
        let before = lines(&cluster).len();
        for _ in 0..5 {
            platform.call("fail", json!(["XX000", ""])).expect(500);
        }
        let after = lines(&cluster).len();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        check(before == after, "some is")
    });
    assert!(lines(&cluster).len() >= before);
}
