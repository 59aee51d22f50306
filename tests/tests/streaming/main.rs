//! Rows as lines, sent while the function runs; and procedures that end their transactions.

mod asking;
mod failing;
mod leaving;
mod procedures;
mod sending;

use std::time::Duration;

use acceptance::{Cluster, Files, Http, Platform};
use serde_json::{Value, json};

/// The media type of rows as lines.
const LINES: &str = "application/x-ndjson";

/// Functions that give any number of rows.
fn files() -> Files {
    let functions = [
        // Inlined, and without a FROM that would be stored: its rows come one by one.
        (
            "numbers",
            "(n int) RETURNS TABLE (i int, filler text) LANGUAGE sql STABLE AS\n$$ SELECT i, repeat('x', 90) FROM (SELECT generate_series(1, n) AS i) AS s $$",
        ),
        // Its rows are all there before the first is sent.
        (
            "stored",
            "(n int) RETURNS TABLE (i int, filler text) LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY SELECT * FROM numbers(n); END $$",
        ),
        (
            "wide",
            "(n int, width int) RETURNS TABLE (filler text) LANGUAGE sql STABLE AS\n$$ SELECT repeat('y', width) FROM generate_series(1, n) $$",
        ),
        (
            "broken_at",
            "(n int) RETURNS TABLE (i int, quotient int) LANGUAGE sql STABLE AS\n$$ SELECT i, 1000 / (n - i) FROM (SELECT generate_series(1, 1000000000) AS i) AS s $$",
        ),
        (
            "slow_at",
            "(n int) RETURNS TABLE (i int, filler text, slept text) LANGUAGE sql STABLE AS\n\
          $$ SELECT i, repeat('x', 90), CASE WHEN i = n THEN pg_sleep(200)::text END FROM (SELECT generate_series(1, 1000000000) AS i) AS s $$",
        ),
        (
            "kinds",
            "() RETURNS TABLE (t text, j json, n numeric, d timestamptz) LANGUAGE sql STABLE AS\n\
          $$ VALUES (E'a\\nb \"c\" \\\\', '{\"x\": [1]}'::json, 1.10, '2026-01-02 03:04:05+00'::timestamptz), (NULL, NULL, NULL, NULL) $$",
        ),
        ("f", "() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    ];
    functions.iter().fold(Files::new(), |files, (name, rest)| {
        files.file(&format!("functions/{name}.pssql"), format!("CREATE FUNCTION {name}{rest};\n"))
    })
}

/// What came of a request whose answer may break off.
struct Streamed {
    head: String,
    /// Without the marks of chunks.
    body: String,
    /// The last chunk came.
    complete: bool,
}

impl Streamed {
    /// Sends a call, asking for lines, and reads to the end of the connection.
    #[track_caller]
    fn of(platform: &Platform, function: &str, params: Value) -> Streamed {
        Streamed::by(&platform.cluster.http(), platform, function, params)
    }

    #[track_caller]
    fn by(http: &Http, platform: &Platform, function: &str, params: Value) -> Streamed {
        let http = http.header("Accept", LINES).header("Connection", "close").timeout(Duration::from_secs(60));
        let mut wire = http.wire();
        wire.send(&http.call_bytes(&platform.name, function, &params)).expect("the request to be sent");
        Streamed::read(&wire.read_rest())
    }

    fn read(bytes: &[u8]) -> Streamed {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        assert!(head.contains("transfer-encoding: chunked"), "{head}\n{}", String::from_utf8_lossy(&bytes[end..]));
        let (mut body, mut rest, mut complete) = (Vec::new(), &bytes[end + 4..], false);
        while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).expect("a size"), 16).expect("a size");
            if size == 0 {
                complete = true;
                break;
            }
            let chunk = &rest[line + 2..];
            body.extend_from_slice(&chunk[..size.min(chunk.len())]);
            rest = chunk.get(size + 2..).unwrap_or_default();
        }
        Streamed { head, body: String::from_utf8(body).expect("UTF-8"), complete }
    }

    /// Every line as JSON.
    #[track_caller]
    fn lines(&self) -> Vec<Value> {
        assert!(
            self.body.is_empty() || self.body.ends_with('\n'),
            "{:?}",
            &self.body[self.body.len().saturating_sub(200)..]
        );
        self.body.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// The rows of a stream that is complete.
    #[track_caller]
    fn rows(&self) -> Vec<Value> {
        let lines = self.lines();
        assert!(self.complete, "it broke off: {:?}", lines.last());
        assert!(
            self.head.starts_with("http/1.1 200") && self.head.contains(&format!("content-type: {LINES}")),
            "{}",
            self.head
        );
        lines
    }

    /// The rows of one that broke off, and the error of its last line.
    #[track_caller]
    fn broken(&self) -> (Vec<Value>, Value) {
        let mut lines = self.lines();
        assert!(!self.complete, "it is complete: {:?}", lines.last());
        let error = lines.pop().unwrap_or_default()["error"].take();
        assert!(error["error"].is_string() && error["message"].is_string(), "an error expected: {error}");
        let id = self.head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("an id");
        assert_eq!(error["request_id"], id.trim(), "{error}");
        (lines, error)
    }
}

/// A cluster with one executor for all calls of a database.
fn one_executor() -> acceptance::Builder {
    Cluster::builder().setting("stonescriptdb.max_workers_per_database", "1").setting("log_min_messages", "warning")
}

/// Asserts that nothing leaked: PostgreSQL warns of references that a transaction leaves behind.
#[track_caller]
fn check_log(cluster: &Cluster) {
    let log = cluster.log();
    for trouble in ["WARNING", "PANIC", "panicked", "was terminated by signal"] {
        assert!(!log.contains(trouble), "{trouble:?} in the log:\n{log}");
    }
}

/// Asserts that the one executor is free, and the same that it was.
#[track_caller]
fn pid(platform: &Platform) -> String {
    platform.call("f", json!([])).ok();
    let query = format!(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor' AND datname = '{}' AND usename LIKE '%call'",
        platform.database()
    );
    acceptance::sql::text(&mut platform.cluster.control(), &query)
}
