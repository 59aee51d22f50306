//! Requests that are too large in one way or another.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use acceptance::http::multipart_type;
use acceptance::{Cluster, hostile};
use serde_json::json;

use crate::number;
use crate::victim::Victim;

fn victim() -> &'static Victim {
    static VICTIM: LazyLock<Victim> = LazyLock::new(|| Victim::new(Cluster::builder()));
    &VICTIM
}

/// What is refused takes no longer than this, on a machine that does much else.
const SOON: Duration = Duration::from_secs(60);

/// Streams a body that has no end; the answer's status, and how much was sent before it came.
fn stream(head: &str, chunked: bool, total: u64) -> (String, u64) {
    let mut stream = TcpStream::connect(("127.0.0.1", victim().cluster.port())).expect("connected");
    let mut answers = stream.try_clone().expect("cloned");
    answers.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.set_write_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(head.as_bytes()).expect("the head is sent");
    let sent = AtomicU64::new(0);
    let answer = std::thread::scope(|scope| {
        let answer = scope.spawn(move || {
            let mut first = [0; 12];
            answers.read_exact(&mut first).map(|()| String::from_utf8_lossy(&first).into_owned())
        });
        let piece = vec![b'x'; 1 << 20];
        let framed = if chunked { [b"100000\r\n", &piece[..], b"\r\n"].concat() } else { piece };
        while sent.load(Relaxed) < total && !answer.is_finished() {
            match stream.write(&framed) {
                // A chunk is sent as a whole, or not at all.
                Ok(part) if part < framed.len() && stream.write_all(&framed[part..]).is_err() => break,
                Ok(_) => sent.fetch_add(1 << 20, Relaxed),
                Err(error) if error.kind() == ErrorKind::Interrupted => 0,
                Err(_) => break,
            };
        }
        answer.join().expect("the reader").unwrap_or_else(|error| format!("no answer: {error}"))
    });
    (answer, sent.into_inner())
}

#[test]
fn a_body_of_ten_gigabytes() {
    const SIZE: u64 = 10 << 30;
    let json = "Content-Type: application/json";
    let form = format!("Content-Type: {}", multipart_type());
    let mut took = Vec::new();
    let seen = victim().attack("bodies of 10 GB", || {
        for (path, kind) in [("/call", json), ("/call/batch", json), ("/register", &form), ("/migrate", &form)] {
            for chunked in [false, true] {
                let length =
                    if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {SIZE}") };
                let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{kind}\r\n{length}\r\n\r\n");
                let start = Instant::now();
                let (answer, sent) = stream(&head, chunked, SIZE);
                took.push((path, chunked, sent >> 20, start.elapsed()));
                assert!(answer.starts_with("HTTP/1.1 4"), "{path}, {chunked}, {sent} sent: {answer}");
                // An archive's limit, and what the kernel holds of it.
                assert!(sent < 200 << 20, "{path}, {chunked}: {sent} bytes before the answer");
                assert!(start.elapsed() < SOON, "{path}, {chunked}: {:?}", start.elapsed());
            }
        }
    });
    eprintln!("{took:?}");
    assert!(seen.worker_kb[1] < seen.worker_kb[0] + 250_000, "{seen:?}");
    assert!(seen.worker_kb[2] < seen.worker_kb[0] + 50_000, "{seen:?}");
}

#[test]
fn a_zip_bomb() {
    let bomb = hostile::bomb(number("SSDB_BOMB_MB", 1_000, 2_000) as u64);
    let seen = victim().attack(&format!("a bomb of {} kB, eight at once", bomb.len() >> 10), || {
        std::thread::scope(|scope| {
            for n in 0..8 {
                let bomb = &bomb;
                scope.spawn(move || {
                    let start = Instant::now();
                    victim().http().register(&format!("bomb{n}"), None, bomb).error(400, "schema_extraction_failed");
                    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
                });
            }
        });
    });
    assert!(seen.worker_kb[1] < seen.worker_kb[0] + 100_000 + 8 * 4 * (bomb.len() as u64 >> 10), "{seen:?}");
    assert!(seen.executor_kb < 400_000, "{seen:?}");
}

#[test]
fn an_archive_of_a_million_files() {
    let archive = hostile::very_many_entries(number("SSDB_ARCHIVE_FILES", 200_000, 1_000_000));
    let seen =
        victim().attack(&format!("an archive of very many files, {} kB, four at once", archive.len() >> 10), || {
            std::thread::scope(|scope| {
                for n in 0..4 {
                    let archive = &archive;
                    scope.spawn(move || {
                        let start = Instant::now();
                        victim()
                            .http()
                            .register(&format!("files{n}"), None, archive)
                            .error(400, "schema_extraction_failed");
                        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
                    });
                }
            });
        });
    assert!(seen.worker_kb[1] < seen.worker_kb[0] + 100_000 + 4 * 4 * (archive.len() as u64 >> 10), "{seen:?}");
    assert!(seen.executor_kb < 400_000, "{seen:?}");
}

#[test]
fn json_nested_a_million_deep() {
    const DEPTH: usize = 1_000_000;
    let call = |params: &str| format!(r#"{{"platform":"victim","function":"same","params":{params}}}"#);
    let batch = |params: &str| format!(r#"{{"platform":"victim","calls":[{{"function":"same","params":{params}}}]}}"#);
    let objects = r#"{"a":"#.repeat(200_000);
    let mut bodies = vec![("/admin/create-tenant", "[".repeat(DEPTH)), ("/call", call(&format!("[{objects}")))];
    for half in ["[".repeat(DEPTH), format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH - 100))] {
        bodies.push(("/call", half.clone()));
        bodies.push(("/call", call(&half)));
        bodies.push(("/call", call(&format!("[\"{half}\"]"))));
        bodies.push(("/call/batch", batch(&half)));
        bodies.push(("/v2/migrate", half));
    }
    let seen = victim().attack("JSON nested a million deep", || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        for (path, body) in &bodies {
                            let start = Instant::now();
                            victim().http().admin().post_text(path, body).client_error();
                            assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
                        }
                    }
                });
            }
        });
    });
    assert!(seen.worker_kb[1] < seen.worker_kb[0] + 100_000, "{seen:?}");
    assert!(seen.executor_kb < 200_000, "{seen:?}");
}

#[test]
fn calls_with_a_hundred_thousand_parameters() {
    const COUNT: usize = 100_000;
    let list = json!(vec![1; COUNT]);
    let names: serde_json::Map<String, serde_json::Value> = (0..COUNT).map(|n| (format!("p{n}"), json!(n))).collect();
    let same = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(COUNT));
    let batch = json!({"platform": "victim", "calls": vec![json!({"function": "f"}); COUNT / 4]}).to_string();
    let seen = victim().attack("calls with 100,000 parameters", || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let start = Instant::now();
                        let call = |params| victim().http().call("victim", None, "add", params);
                        call(list.clone()).error(400, "invalid_request");
                        call(names.clone().into()).error(400, "invalid_request");
                        let body = format!(r#"{{"platform":"victim","function":"add","params":{same}}}"#);
                        victim().http().post_text("/call", &body).error(400, "invalid_request");
                        victim().http().post_text("/call/batch", &batch).error(400, "invalid_request");
                        assert!(start.elapsed() < 4 * SOON, "{:?}", start.elapsed());
                    }
                });
            }
        });
    });
    assert!(seen.worker_kb[1] < seen.worker_kb[0] + 100_000, "{seen:?}");
    assert!(seen.executor_kb < 200_000, "{seen:?}");
}
