//! What no client should send: the service goes on for the others, and no process of the server ends by it.

use std::time::Duration;

use acceptance::hostile::noise;
use acceptance::server::raise_open_files;
use acceptance::wait::check;
use acceptance::{Cluster, Files, Platform, Wire, eventually, fixtures, sql};
use serde_json::json;

/// A cluster, a platform on it, and the process ids that must stay the same.
struct Victim {
    cluster: Cluster,
    server: String,
}

impl Victim {
    fn new() -> Victim {
        let cluster = Cluster::start();
        let server = server_pid(&cluster);
        Victim { cluster, server }
    }

    /// Asserts that the service answers and that nothing was restarted for it.
    #[track_caller]
    fn check(&self, platform: &Platform) {
        assert_eq!(platform.call("f", json!([])).value(), 1);
        self.cluster.http().get("/health").ok().field("status", "healthy");
        assert_eq!(server_pid(&self.cluster), self.server, "the server worker was restarted");
        let log = self.cluster.log();
        for trouble in
            ["PANIC", "panicked", "was terminated by signal", "terminating any other active server processes"]
        {
            assert!(!log.contains(trouble), "{trouble:?} in the log");
        }
    }
}

fn server_pid(cluster: &Cluster) -> String {
    cluster.server_worker()
}

#[test]
fn random_bytes() {
    let victim = Victim::new();
    let platform = Platform::register(&victim.cluster, "random", &fixtures::tiny());
    let http = victim.cluster.http();
    let bytes = noise(200_000);
    let good = http.call_bytes(&platform.name, "f", &json!([]));
    for i in 0..300 {
        let mut wire = http.wire();
        let start = i * 601 % 190_000;
        let random = &bytes[start..start + 1 + i * 31 % 9_000];
        let request = match i % 4 {
            0 => random.to_vec(),
            1 => [b"POST /call HTTP/1.1\r\n", random].concat(),
            // A good request with some bytes changed.
            2 => {
                let mut request = good.clone();
                for (k, byte) in random.iter().take(5).enumerate() {
                    let at = (usize::from(*byte) + k * 37) % request.len();
                    request[at] ^= 1 << (k % 8);
                }
                request
            }
            _ => [&good[..], random].concat(),
        };
        let _ = wire.send(&request);
        wire.finish_sending();
        if i % 10 == 0 {
            wire.set_timeout(Duration::from_secs(2));
            wire.read_rest();
        }
    }
    victim.check(&platform);
}

#[test]
fn other_protocols() {
    let victim = Victim::new();
    let platform = Platform::register(&victim.cluster, "proto", &fixtures::tiny());
    let http = victim.cluster.http();
    let startup = b"\x00\x00\x00\x08\x04\xd2\x16\x2f".as_slice();
    let tls = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &noise(500)].concat();
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00".as_slice();
    let upgrade =
        b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
            .as_slice();
    let connect = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n".as_slice();
    for request in [
        startup,
        &tls,
        http2,
        upgrade,
        connect,
        b"\r\n\r\n\r\n",
        b"\0\0\0\0",
        b"GET\n\n",
        b"GET /health HTTP/9.9\r\n\r\n",
    ] {
        let mut wire = http.wire();
        let _ = wire.send(request);
        wire.finish_sending();
        wire.set_timeout(Duration::from_secs(2));
        wire.read_rest();
    }
    victim.check(&platform);
}

#[test]
fn large_heads() {
    let victim = Victim::new();
    let platform = Platform::register(&victim.cluster, "heads", &fixtures::tiny());
    let http = victim.cluster.http();
    let many: String = (0..10_000).map(|i| format!("X-{i}: y\r\n")).collect();
    for request in [
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1 << 20)),
        format!("GET /health HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "y".repeat(4 << 20)),
        format!("GET /health HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
    ] {
        let mut wire = http.wire();
        let _ = wire.send(request.as_bytes());
        if let Ok(answer) = wire.read_answer("GET") {
            assert!((400..500).contains(&answer.status), "{answer}");
        }
    }
    victim.check(&platform);
}

#[test]
fn half_requests() {
    let victim = Victim::new();
    let platform = Platform::register(&victim.cluster, "half", &fixtures::tiny());
    let http = victim.cluster.http();
    let call = http.call_bytes(&platform.name, "f", &json!([]));
    let form =
        acceptance::http::multipart_body(&[("platform", "halfform")], Some(("schema", &fixtures::tiny().tar_gz())));
    let register =
        http.request_bytes("POST", "/register", &[("Content-Type", &acceptance::http::multipart_type())], &form);
    for request in [&call, &register] {
        for cut in (1..request.len()).step_by(request.len() / 40 + 1) {
            let mut wire = http.wire();
            wire.send(&request[..cut]).expect("sent");
            match cut % 3 {
                0 => drop(wire),
                1 => {
                    wire.finish_sending();
                    wire.set_timeout(Duration::from_millis(100));
                    wire.read_rest();
                }
                _ => wire.set_timeout(Duration::from_millis(1)),
            }
        }
    }
    victim.check(&platform);
    http.call("halfform", None, "f", json!([])).error(404, "platform_not_found");
}

#[test]
fn slow_clients() {
    let victim = Victim::new();
    let platform = Platform::register(&victim.cluster, "slow", &fixtures::tiny());
    let http = victim.cluster.http();
    let request = http.call_bytes(&platform.name, "f", &json!([]));
    let mut slow: Vec<Wire> = (0..200).map(|_| http.wire()).collect();
    // Each sends a byte in turn, never the last one; meanwhile others are served.
    for turn in 0..40 {
        for wire in &mut slow {
            let _ = wire.send(&request[turn..turn + 1]);
        }
        assert_eq!(platform.call("f", json!([])).value(), 1, "turn {turn}");
    }
    drop(slow);
    victim.check(&platform);
}

#[test]
fn clients_that_do_not_read() {
    let victim = Victim::new();
    let files = fixtures::tiny().and(Files::new().file(
        "functions/big.pssql",
        "CREATE FUNCTION big() RETURNS text LANGUAGE sql AS $$ SELECT repeat('x', 2000000) $$;\n",
    ));
    let platform = Platform::register(&victim.cluster, "deaf", &files);
    let http = victim.cluster.http();
    let requests: Vec<u8> = (0..20).flat_map(|_| http.call_bytes(&platform.name, "big", &json!([]))).collect();
    let mut deaf: Vec<Wire> = (0..10).map(|_| http.wire()).collect();
    for wire in &mut deaf {
        wire.send(&requests).expect("sent");
    }
    for _ in 0..50 {
        assert_eq!(platform.call("f", json!([])).value(), 1);
    }
    assert_eq!(platform.call("big", json!([])).value().as_str().map(str::len), Some(2_000_000));
    drop(deaf);
    victim.check(&platform);
}

#[test]
fn deeply_nested_values() {
    let victim = Victim::new();
    let files =
        fixtures::tiny().and(Files::new().file(
            "functions/same.pssql",
            "CREATE FUNCTION same(v jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT v $$;\n",
        ));
    let platform = Platform::register(&victim.cluster, "nested", &files);
    for depth in [100_000, 300_000] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        // As JSON, and as a text that holds it.
        platform.call_text("same", &format!("[{nested}]")).shaped();
        platform.call_text("same", &format!("[\"{nested}\"]")).shaped();
    }
    let modest = format!("{}1{}", "[".repeat(50), "]".repeat(50));
    assert_eq!(platform.call_text("same", &format!("[{modest}]")).raw_value(), modest);
    victim.check(&platform);
}

#[test]
fn thousands_of_idle_connections() {
    let limit = raise_open_files();
    let victim = Victim::new();
    let platform = Platform::register(&victim.cluster, "idle", &fixtures::tiny());
    let http = victim.cluster.http();

    // So many must be held, or refused in a way that leaves room for those who have something to say.
    let few = 2_000.min(limit as usize / 2);
    let held: Vec<Wire> = (0..few).filter_map(|_| http.try_wire().ok()).collect();
    for _ in 0..50 {
        assert_eq!(platform.call("f", json!([])).value(), 1, "beside {} idle connections", held.len());
    }
    // Some of them say something after all.
    let request = http.request_bytes("GET", "/health", &[], b"");
    let mut spoken = 0;
    for mut wire in held {
        let answered = wire.send(&request).is_ok() && wire.read_answer("GET").is_ok_and(|answer| answer.status == 200);
        spoken += usize::from(answered);
        if spoken >= 100 {
            break;
        }
    }
    assert!(spoken > 0, "none of the idle connections was served");

    // More than the server may have to hold: while they last, it may refuse; afterwards all is well.
    let many = 10_000.min((limit as usize).saturating_sub(500));
    let flood: Vec<Wire> = (0..many).map_while(|_| http.try_wire().ok()).collect();
    let hurried = http.timeout(Duration::from_secs(2));
    for _ in 0..5 {
        let _ = hurried.try_call(&platform.name, None, "f", json!([]));
    }
    let undisturbed = sql::text(&mut victim.cluster.control(), "SELECT 'libpq'");
    assert_eq!(undisturbed, "libpq", "beside {} connections", flood.len());
    drop(flood);
    eventually("the service after the flood", || {
        let answer = http.try_call(&platform.name, None, "f", json!([])).map_err(|e| e.to_string())?;
        check(answer.status == 200, &answer)
    });
    victim.check(&platform);
}
