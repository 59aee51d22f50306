//! Sizes and numbers.

use acceptance::http::{multipart_body, multipart_type};
use acceptance::{Cluster, Files, Platform, Wire, eventually, fixtures, wait};
use serde_json::json;

use crate::{ask, call, pass_on};

#[test]
fn heads() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_header_size", "8kB")
        .setting("stonescriptdb.max_headers", "20")
        .start();
    let platform = Platform::register(&cluster, "heads", &fixtures::tiny());
    let http = cluster.http();
    let long = "y".repeat(9_000);
    let many: Vec<(String, String)> = (0..30).map(|n| (format!("X-{n}"), "y".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let modest = "y".repeat(5_000);
    for passed_on in [false, true] {
        for (headers, status) in [
            (&[("X-Long", long.as_str())][..], 431),
            (&many, 431),
            (&many[..10], 200),
            (&[("X-Long", modest.as_str())], 200),
        ] {
            let mut wire = http.wire();
            if passed_on {
                pass_on(&mut wire, &http, &platform.name);
            }
            ask(&mut wire, &call(&http, &platform.name, headers, 0)).expect(status);
        }
    }
    // As many as hyper has room for are the default; more are allowed where a setting says so.
    let hundreds: Vec<(String, String)> = (0..300).map(|n| (format!("X-{n}"), "y".to_owned())).collect();
    let hundreds: Vec<(&str, &str)> = hundreds.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    cluster.configure("stonescriptdb.max_headers", "400");
    cluster.reload();
    eventually("300 headers", || {
        let mut wire = http.wire();
        for _ in 0..10 {
            let answer = ask(&mut wire, &call(&http, &platform.name, &hundreds, 0));
            wait::check(answer.status == 200, answer)?;
        }
        Ok(())
    });
}

#[test]
fn the_depth_of_json() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_json_depth", "50").start();
    let files =
        fixtures::tiny().and(Files::new().file(
            "functions/same.pssql",
            "CREATE FUNCTION same(v jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT v $$;\n",
        ));
    let platform = Platform::register(&cluster, "depth", &files);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    // The body's object and the array of the parameters are two levels.
    platform.call_text("same", &format!("[{}]", nested(48))).ok();
    platform.call_text("same", &format!("[{}]", nested(49))).error(400, "invalid_request").says("nested deeper");
    // Brackets in a text are a text, whatever is escaped in it.
    platform.call_text("same", &format!(r#"[{{"a": "\\\"{}"}}]"#, "[".repeat(500))).ok();
    let objects = format!("{}1{}", r#"{"a":"#.repeat(60), "}".repeat(60));
    platform.call_text("same", &format!("[{objects}]")).error(400, "invalid_request");
    // The same on the other routes, and on a connection that an executor serves.
    let http = cluster.http();
    let batch =
        format!(r#"{{"platform":"{}","calls":[{{"function":"same","params":[{}]}}]}}"#, platform.name, nested(60));
    http.post_text("/call/batch", &batch).error(400, "invalid_request").says("nested deeper");
    http.admin().post_text("/admin/create-tenant", &nested(60)).error(400, "invalid_request").says("nested deeper");
    let mut wire = http.wire();
    pass_on(&mut wire, &http, &platform.name);
    let deep = format!(r#"{{"platform":"{}","function":"same","params":[{}]}}"#, platform.name, nested(60));
    let request = http.request_bytes("POST", "/call", &[("Content-Type", "application/json")], deep.as_bytes());
    ask(&mut wire, &request).error(400, "invalid_request").says("nested deeper");
}

#[test]
fn parameters_of_a_call() {
    let cluster = acceptance::shared();
    let platform = Platform::register(&cluster, "many", &fixtures::tiny());
    let positional = json!(vec![1; 100_000]);
    platform.call("f", positional).error(400, "invalid_request").says("at most 100");
    let named: serde_json::Map<String, serde_json::Value> = (0..100_000).map(|n| (format!("p{n}"), json!(n))).collect();
    platform.call("f", named.into()).error(400, "invalid_request").says("at most 100");
    let query: String = (0..5_000).map(|n| format!("p{n}={n}&")).collect();
    let path = format!("/call/{}/f?{query}", platform.name);
    cluster.http().get(&path).client_error();
}

/// Connections that have sent so much of a body of `whole` bytes, and wait.
fn halves(cluster: &Cluster, request: &[u8], sent: usize, count: usize) -> Vec<Wire> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut wire = cluster.http().wire();
        wire.send(&request[..sent]).expect("sent");
        held.push(wire);
    }
    held
}

#[test]
fn memory_for_bodies() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_request_body", "1MB")
        .setting("stonescriptdb.max_archive_size", "256kB")
        .setting("stonescriptdb.max_body_memory", "2MB")
        .start();
    let platform = Platform::register(&cluster, "memory", &fixtures::tiny());
    let http = cluster.http();
    let large = call(&http, &platform.name, &[], 900_000);
    platform.register_again(&fixtures::tiny()).ok();
    // Two of them leave no room for archives, but for another small call; a third one is refused.
    let held = halves(&cluster, &large, 890_000, 2);
    let archive = multipart_body(&[("platform", &platform.name)], Some(("schema", &vec![0; 200_000])));
    eventually("no room for an archive", || {
        let answer = http.request("POST", "/register", &[("Content-Type", &multipart_type())], &archive);
        wait::check(answer.status == 503, &answer)?;
        assert!(answer.header("retry-after").is_some(), "{answer}");
        answer.error(503, "pool_exhausted").says("stonescriptdb.max_body_memory");
        Ok(())
    });
    ask(&mut http.wire(), &large).error(503, "pool_exhausted").says("stonescriptdb.max_body_memory");
    for _ in 0..20 {
        assert_eq!(platform.call("f", json!([])).value(), 1);
    }
    // What is given up is given back.
    drop(held);
    eventually("room", || {
        let answer = ask(&mut http.wire(), &large);
        wait::check(answer.status == 200, answer)
    });
    for _ in 0..30 {
        ask(&mut http.wire(), &large).ok();
    }
    for _ in 0..30 {
        http.request("POST", "/register", &[("Content-Type", &multipart_type())], &archive).client_error();
    }
}

#[test]
fn uploads_at_once() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_uploads", "2").start();
    let platform = Platform::register(&cluster, "uploads", &fixtures::tiny());
    let http = cluster.http();
    let archive = fixtures::tiny().tar_gz();
    let form = multipart_body(&[("platform", &platform.name)], Some(("schema", &archive)));
    let register = http.request_bytes("POST", "/register", &[("Content-Type", &multipart_type())], &form);
    let held = halves(&cluster, &register, register.len() - 10, 2);
    eventually("the refusal of a third one", || {
        let answer = http.register(&platform.name, None, &archive);
        wait::check(answer.status == 503, &answer)?;
        assert!(answer.header("retry-after").is_some(), "{answer}");
        answer.error(503, "pool_exhausted").says("stonescriptdb.max_uploads");
        Ok(())
    });
    assert_eq!(platform.call("f", json!([])).value(), 1);
    drop(held);
    eventually("an upload", || {
        let answer = http.register(&platform.name, None, &archive);
        wait::check(answer.status == 200, answer)
    });
}

#[test]
fn deployments_at_once() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_deployments", "1").start();
    let platform = Platform::register(&cluster, "deploys", &fixtures::tiny());
    let http = cluster.http();
    let slow = Files::new().file("migrations/001.pssql", "SELECT pg_sleep(600);\n");
    let body = multipart_body(&[("platform", &platform.name), ("wait", "false")], Some(("schema", &slow.tar_gz())));
    let mut first = http.wire();
    first.send(&http.request_bytes("POST", "/register", &[("Content-Type", &multipart_type())], &body)).expect("sent");
    let other = acceptance::unique("other");
    eventually("the refusal of a second one", || {
        let answer = http.register(&other, None, &fixtures::tiny().tar_gz());
        wait::check(answer.status == 503, &answer)?;
        answer.error(503, "pool_exhausted").says("stonescriptdb.max_deployments");
        Ok(())
    });
    let over_sql = format!("SELECT stonescriptdb.create_tenant('{}', 'acme')", platform.name);
    acceptance::refused(cluster.control().batch_execute(&over_sql)).sqlstate("53300");
    assert_eq!(platform.call("f", json!([])).value(), 1);
    let running = "SELECT id::text FROM stonescriptdb.deployments WHERE state = 'running'";
    let id = acceptance::sql::text(&mut cluster.control(), running);
    acceptance::sql::done(cluster.control().batch_execute(&format!("SELECT stonescriptdb.cancel_deployment('{id}')")));
    eventually("a deployment", || {
        let answer = http.register(&other, None, &fixtures::tiny().tar_gz());
        wait::check(answer.status == 200, answer)
    });
}

#[test]
fn messages_in_the_log() {
    let cluster =
        Cluster::builder().setting("stonescriptdb.log_rate", "1").setting("stonescriptdb.log_burst", "5").start();
    let started = std::time::Instant::now();
    // Each reload with a certificate that is not there is a message.
    cluster.configure("stonescriptdb.tls", "on");
    let health = "SELECT stonescriptdb.health()";
    for _ in 0..60 {
        cluster.reload();
        // So that it is read, not put together with the next one.
        std::thread::sleep(std::time::Duration::from_millis(20));
        acceptance::sql::done(cluster.control().batch_execute(health));
    }
    let count = cluster.log().matches("TLS cannot be served").count();
    let most = 6 + started.elapsed().as_secs() as usize;
    assert!((1..=most).contains(&count), "{count} messages, {most} at most: {}", cluster.log_tail());
    eventually("those left out to be told", || {
        cluster.reload();
        wait::check(cluster.log().contains("left out of the log, by stonescriptdb.log_rate: "), "nothing of them")
    });
}

#[test]
fn a_flood_of_refusals_hides_no_failed_call() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.log_rate", "1")
        .setting("stonescriptdb.log_burst", "2")
        .setting("stonescriptdb.log_min_status", "404")
        .setting("stonescriptdb.trusted_proxies", "127.0.0.1")
        .start();
    let platform = Platform::register(&cluster, "flooded", &fixtures::tiny());
    let refused = |number: u32| {
        let http = cluster.http().header("X-Forwarded-For", &format!("203.0.113.{number}"));
        http.get("/live").error(403, "unauthorized");
    };
    (0..100).for_each(refused);
    platform.call("none_of_that_name", json!([])).client_error();
    eventually("the call in the log", || {
        let log = cluster.log();
        wait::check(log.contains("event=call_failed") && log.contains("none_of_that_name"), "not there")
    });
}

#[test]
fn the_answer_to_a_body_that_is_refused_arrives() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_request_body", "64kB").start();
    let http = cluster.http();
    // Refused by its length, and while it comes; the client reads nothing before it has sent all.
    let body = vec![b'x'; 3_000_000];
    let whole = http.request_bytes("POST", "/call", &[("Content-Type", "application/json")], &body);
    let mut chunked =
        b"POST /call HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for part in body.chunks(100_000) {
        chunked.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(part);
        chunked.extend_from_slice(b"\r\n");
    }
    for _ in 0..20 {
        for request in [&whole, &chunked] {
            let mut wire = http.wire();
            wire.send(request).expect("the server listens until all is sent");
            wire.read_answer("POST").expect("an answer").error(413, "payload_too_large");
            assert!(wire.is_closed());
        }
    }
}
