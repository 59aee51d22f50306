//! Clocks that jump: the wall clock of a whole cluster is set back and forward while it runs, by `clock.c`, which is loaded into the server.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use acceptance::wait::check;
use acceptance::{Builder, Cluster, Files, Platform, Shutdown, eventually, fixtures, server, sql};
use serde_json::json;

const HOUR: i64 = 3600;

/// The clock of a cluster.
struct Clock {
    path: PathBuf,
    file: File,
}

impl Clock {
    /// A clock that is right.
    fn new() -> Clock {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let path = server::base_dir().join(format!("clock{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).expect("the clock's file");
        let clock = Clock { path, file };
        clock.set(0);
        clock
    }

    fn cluster(&self) -> Builder {
        static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
            let library = server::base_dir().join("clock.so");
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clocks/clock.c");
            let mut compiler = Command::new("cc");
            compiler.args(["-shared", "-fPIC", "-O", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
            server::run(compiler);
            library
        });
        let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
        Cluster::builder().environment("LD_PRELOAD", &text(&LIBRARY)).environment("CLOCK_FILE", &text(&self.path))
    }

    /// From now on it is wrong by so many seconds.
    fn set(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).expect("the clock's file");
    }
}

/// Seconds by which the clock of a cluster is ahead of ours.
fn ahead(cluster: &Cluster) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let there = sql::text(&mut cluster.control(), "SELECT extract(epoch FROM clock_timestamp())::bigint");
    there.parse::<i64>().expect("a number") - now as i64
}

fn bundle(edition: u32) -> Files {
    Files::new().file("tables/notes.pssql", "CREATE TABLE notes (id int PRIMARY KEY, body text);\n").file(
        "functions/edition.pssql",
        format!("CREATE FUNCTION edition() RETURNS int LANGUAGE sql AS 'SELECT {edition}';\n"),
    )
}

/// It waits in a tenant while somebody holds the advisory lock there.
fn gated(edition: u32) -> Files {
    bundle(edition).file("migrations/001_gate.pssql", "SELECT pg_advisory_xact_lock(4711);\n")
}

#[track_caller]
fn wait_at_gate(cluster: &Cluster) {
    eventually("the deployment to wait", || {
        let waiting = "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        let count = sql::text(&mut cluster.control(), waiting);
        check(count == "1", count)
    });
}

/// What the registry says of a platform's main database.
fn registered(platform: &Platform, column: &str) -> String {
    let query = format!("SELECT {column}::text FROM stonescriptdb.databases WHERE platform = '{}'", platform.name);
    sql::text(&mut platform.cluster.control(), &query)
}

/// Without this, all that follows would show nothing.
#[test]
fn the_clock_jumps() {
    let clock = Clock::new();
    let cluster = clock.cluster().start();
    for seconds in [0, -HOUR, HOUR] {
        clock.set(seconds);
        let ahead = ahead(&cluster);
        assert!((ahead - seconds).abs() < 60, "{ahead} s, {seconds} expected");
    }
    let started = Instant::now();
    sql::text(&mut cluster.control(), "SELECT pg_sleep(0.2)::text");
    assert!(started.elapsed() < Duration::from_secs(30), "the monotonic clock jumps too");
}

#[test]
fn a_mark_that_a_tenant_was_touched_survives_a_clock_that_is_set_back() {
    let clock = Clock::new();
    let cluster = clock.cluster().start();
    let platform = Platform::register(&cluster, "touched", &bundle(1));
    let mut gate = platform.connect();
    sql::done(gate.batch_execute("SELECT pg_advisory_lock(4711)"));
    std::thread::scope(|scope| {
        let deployment = scope.spawn(|| platform.migrate(&gated(2)));
        wait_at_gate(&cluster);
        clock.set(-HOUR);
        let mut client = platform.connect();
        eventually("a mark that seems to be older than the deployment", || {
            sql::done(client.batch_execute("DROP TABLE IF EXISTS by_hand; CREATE TABLE by_hand (id int)"));
            let older = "SELECT (d.touched AND d.touched_at < r.started_at)::text FROM stonescriptdb.database d, stonescriptdb.deployment r
                         WHERE r.state = 'running'";
            let older = sql::texts(&mut cluster.control(), older);
            check(older == ["true"], format!("{older:?}"))
        });
        sql::done(gate.batch_execute("SELECT pg_advisory_unlock(4711)"));
        deployment.join().expect("the deployment").ok();
    });
    assert_eq!(registered(&platform, "touched"), "true", "it may have been touched after the deployment had looked");
    platform.migrate(&gated(2)).ok();
    assert_eq!(registered(&platform, "touched"), "false");
    // A jump forward makes nothing touched.
    clock.set(HOUR);
    platform.migrate(&gated(3)).ok();
    assert_eq!(registered(&platform, "touched"), "false");
}

#[test]
fn a_deployment_that_was_overtaken_stays_so_when_the_clock_is_set_back() {
    let clock = Clock::new();
    let cluster = clock.cluster().start();
    let platform = Platform::register(&cluster, "overtaken", &bundle(1));
    let mut gate = platform.connect();
    sql::done(gate.batch_execute("SELECT pg_advisory_lock(4711)"));
    let http = cluster.http();
    let answer = http.migrate(&platform.name, None, &gated(2).tar_gz(), &[("wait", "false")]).expect(202);
    let first = answer.str("deployment_id").to_owned();
    wait_at_gate(&cluster);
    http.post_json(&format!("/deployments/{first}/cancel"), &json!({})).ok();
    eventually("the deployment to be cancelled", || {
        let answer = http.get(&format!("/deployments/{first}"));
        check(answer.json["status"] != "running" && answer.json["state"] != "running", &answer)
    });
    drop(gate);
    // The server worker that comes next knows nothing of the time before.
    cluster.stop(Shutdown::Fast);
    clock.set(-HOUR);
    cluster.start_again();
    let second = platform.migrate(&bundle(3)).ok().str("deployment_id").to_owned();
    assert!(second < first, "ids are in the order of time: {second} {first}");
    let resumed = http.post_json(&format!("/deployments/{first}/resume"), &json!({}));
    assert_eq!(platform.call("edition", json!([])).value(), 3, "the older bundle came again: {resumed}");
    let state = format!("SELECT state FROM stonescriptdb.deployment_databases WHERE deployment_id = '{first}'");
    assert_eq!(sql::text(&mut cluster.control(), &state), "superseded");
}

#[test]
fn one_that_nobody_overtook_is_resumed_whatever_the_clock_says() {
    let clock = Clock::new();
    let cluster = clock.cluster().start();
    let platform = Platform::register(&cluster, "resumed", &bundle(1));
    // It has a smaller id than the one that brought the tenant where it is.
    cluster.stop(Shutdown::Fast);
    clock.set(-HOUR);
    cluster.start_again();
    let mut gate = platform.connect();
    sql::done(gate.batch_execute("SELECT pg_advisory_lock(4711)"));
    let answer = cluster.http().migrate(&platform.name, None, &gated(2).tar_gz(), &[("wait", "false")]).expect(202);
    let id = answer.str("deployment_id").to_owned();
    wait_at_gate(&cluster);
    cluster.stop(Shutdown::Fast);
    cluster.start_again();
    eventually("it to be interrupted", || {
        let state = format!("SELECT state FROM stonescriptdb.deployments WHERE id = '{id}'");
        let state = sql::text(&mut cluster.control(), &state);
        check(state != "running", state)
    });
    cluster.http().post_json(&format!("/deployments/{id}/resume"), &json!({})).ok();
    assert_eq!(platform.call("edition", json!([])).value(), 2);
}

#[test]
fn tokens_end_by_the_clock_and_those_that_were_ended_stay_so() {
    let clock = Clock::new();
    let cluster = clock.cluster().start();
    let platform = Platform::register(&cluster, "tokens", &fixtures::tiny());
    let admin = cluster.http().admin();
    let issue = |body: serde_json::Value| {
        let made = admin.post_json("/admin/platform-token", &body).ok();
        (made.str("token").to_owned(), made.str("id").to_owned())
    };
    let (expires, _) = issue(json!({"platform": platform.name, "expires_in": 600}));
    let (turned, id) = issue(json!({"platform": platform.name}));
    let (revoked, revoked_id) = issue(json!({"platform": platform.name}));
    let status = |token: &str| cluster.http().bearer(token).call(&platform.name, None, "f", json!([])).status;
    assert_eq!([status(&expires), status(&turned), status(&revoked)], [200; 3]);
    admin.post_json("/admin/rotate-token", &json!({"id": id, "grace": 0})).ok();
    admin.post_json("/admin/revoke-token", &json!({"id": revoked_id})).ok();
    // An end in time is one of the calendar, as PostgreSQL's VALID UNTIL; what somebody has ended is over at any time.
    for (seconds, of_expires) in [(0, 200), (HOUR, 401), (-HOUR, 200), (0, 200)] {
        clock.set(seconds);
        assert_eq!([status(&expires), status(&turned), status(&revoked)], [of_expires, 401, 401], "{seconds} s ahead");
    }
}

#[test]
fn calls_their_limits_and_rates_go_on() {
    let clock = Clock::new();
    let cluster = clock
        .cluster()
        .setting("stonescriptdb.call_timeout", "2s")
        .setting("stonescriptdb.log_min_status", "400")
        .start();
    let files = fixtures::tiny().file(
        "functions/ahead.pssql",
        "CREATE FUNCTION ahead(now float8) RETURNS float8 LANGUAGE sql AS 'SELECT extract(epoch FROM clock_timestamp()) - now';\n",
    );
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let platform = Platform::register(&cluster, "limits", &files);
    for seconds in [-HOUR, HOUR, 0] {
        let started = Instant::now();
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| platform.call("nap", json!([120])));
            eventually("the call to run", || {
                let query = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
                let count = sql::text(&mut cluster.control(), query);
                check(count == "1", count)
            });
            clock.set(seconds);
            for _ in 0..20 {
                let ahead = platform.call("ahead", json!([now()])).value().as_f64().expect("a number");
                assert!((ahead - seconds as f64).abs() < 60.0, "{ahead} s, {seconds} expected");
            }
            let answer = slow.join().expect("the slow call").error(504, "query_failed").field("sqlstate", "57014");
            answer.field("message", "canceling statement due to statement timeout");
        });
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}, {seconds} s ahead", started.elapsed());
    }
    // The bucket fills again, and does not run over.
    let limited = format!("SELECT stonescriptdb.set_rate('{}', 1, 2)", platform.name);
    sql::done(cluster.control().batch_execute(&limited));
    for seconds in [-HOUR, HOUR, 0] {
        clock.set(seconds);
        eventually("a request to be let in", || {
            let answer = platform.call("f", json!([]));
            check(answer.status == 200, &answer)
        });
        let started = Instant::now();
        let passed = (0..20).filter(|_| platform.call("f", json!([])).status == 200).count();
        let most = 3 + started.elapsed().as_secs() as usize;
        assert!(passed <= most, "{passed} of 20 passed, {most} at most, {seconds} s ahead");
    }
}

#[test]
fn what_was_looked_at_before_the_clock_was_set_back_is_looked_at_again() {
    let clock = Clock::new();
    let cluster = clock.cluster().start();
    let platform = Platform::register(&cluster, "looked", &bundle(1));
    let mut control = cluster.control();
    clock.set(-HOUR);
    sql::done(platform.connect().batch_execute("CREATE TABLE by_hand (id int)"));
    let checked = format!("SELECT count(*)::text FROM stonescriptdb.check('{}')", platform.name);
    eventually("a check that seems to be older than the deployment to be noted", || {
        assert_ne!(sql::text(&mut control, &checked), "0");
        let noted = registered(&platform, "(checked_at < deployed_at AND drift > 0)");
        check(noted == "true", noted)
    });
    // Sizes that were measured in what is the future now.
    clock.set(HOUR);
    let list = format!("/admin/databases?platform={}", platform.name);
    eventually("a size of the future", || {
        cluster.http().admin().get(&list).ok();
        let future = registered(&platform, "(measured_at > deployed_at + interval '30 min')");
        check(future == "true", future)
    });
    clock.set(0);
    eventually("it to be measured again", || {
        cluster.http().admin().get(&list).ok();
        let measured = registered(&platform, "(measured_at <= clock_timestamp())");
        check(measured == "true", measured)
    });
    // A deployment that runs by a dump runs no more where that is restored, whatever the time is there.
    for at in ["now() - interval '1 h'", "now() + interval '1 h'"] {
        let insert = format!(
            "INSERT INTO stonescriptdb.deployment (id, kind, platform, state, requested_by, force, allow, dry_run, started_at)
             VALUES (gen_random_uuid(), 'migrate', '{}', 'running', 'dump', false, '{{}}', false, {at})",
            platform.name
        );
        sql::done(control.batch_execute(&insert));
    }
    let running = "SELECT state FROM stonescriptdb.deployments WHERE requested_by = 'dump'";
    assert_eq!(sql::texts(&mut control, running), ["interrupted", "interrupted"]);
}
