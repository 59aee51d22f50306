//! `/metrics` and the views `stats…`.

use acceptance::wait::check;
use acceptance::{Cluster, Files, Platform, eventually, fixtures, refused, shared, sql};
use serde_json::json;

use super::{Line, page, prometheus};

fn files() -> Files {
    fixtures::tiny()
        .file("functions/look.pssql", "CREATE FUNCTION look() RETURNS int STABLE LANGUAGE sql AS 'SELECT 5';\n")
        .file(
            "functions/fail.pssql",
            "CREATE FUNCTION fail(code text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = code; END $$;\n",
        )
        .file("functions/many.pssql", "CREATE FUNCTION many() RETURNS SETOF int LANGUAGE sql AS 'SELECT generate_series(1, 100000)';\n")
}

/// Calls of a platform by outcome.
fn outcomes(cluster: &Cluster, platform: &str) -> [(&'static str, f64); 7] {
    let page = page(cluster);
    ["ok", "refused", "failed", "error", "timeout", "unavailable", "cancelled"].map(|outcome| {
        (outcome, page.sum("stonescriptdb_calls_total", &[("platform", platform), ("outcome", outcome)]))
    })
}

fn expected(counts: [u32; 7]) -> [(&'static str, f64); 7] {
    let names = ["ok", "refused", "failed", "error", "timeout", "unavailable", "cancelled"];
    std::array::from_fn(|place| (names[place], f64::from(counts[place])))
}

#[test]
fn calls_that_the_server_worker_answers_are_counted() {
    let cluster = Cluster::builder().setting("stonescriptdb.direct_connections", "off").start();
    let platform = Platform::register(&cluster, "Counted", &files());
    let http = cluster.http();
    platform.call("f", json!([])).ok();
    http.get(&format!("/call/{}/look", platform.name)).ok();
    let batch = json!({"platform": platform.name, "calls": [{"function": "f"}, {"function": "f"}]});
    http.post_json("/call/batch", &batch).ok();
    let lines = http.header("Accept", "application/x-ndjson").call(&platform.name, None, "many", json!([])).ok();
    assert_eq!(lines.text.lines().count(), 100_000);
    sql::call(&mut cluster.control(), &platform.name, None, "f", &json!([])).expect("a call over SQL");
    assert_eq!(outcomes(&cluster, &platform.name), expected([5, 0, 0, 0, 0, 0, 0]));

    platform.call("nothing", json!([])).error(404, "function_not_found");
    platform.call("fail", json!(["P0001"])).expect(400);
    platform.call("fail", json!(["PT429"])).expect(429);
    platform.call("fail", json!(["XX000"])).expect(500);
    http.header("X-Timeout-Ms", "50").call(&platform.name, None, "nap", json!([60])).expect(504);
    http.call(&platform.name, Some("nobody"), "f", json!([])).error(404, "database_not_found");
    cluster.control().execute("SELECT stonescriptdb.suspend_tenant($1, 'main')", &[&platform.name]).expect("suspended");
    platform.call("f", json!([])).expect(503);
    cluster.control().execute("SELECT stonescriptdb.resume_tenant($1, 'main')", &[&platform.name]).expect("resumed");
    // Of a platform that is not there nothing is counted: anybody could think of names.
    http.call("nowhere", None, "f", json!([])).error(404, "platform_not_found");
    let leaves = http.timeout(std::time::Duration::from_millis(100)).try_call(&platform.name, None, "nap", json!([60]));
    assert!(leaves.is_err());
    eventually("the caller who left is counted", || {
        let seen = outcomes(&cluster, &platform.name);
        check(seen == expected([5, 2, 2, 1, 1, 1, 1]), format!("{seen:?}"))
    });

    let page = page(&cluster);
    let of = [("platform", platform.name.as_str())];
    assert_eq!(page.sum("stonescriptdb_call_duration_seconds_count", &of), 13.0);
    let quick = page.sum("stonescriptdb_call_duration_seconds_bucket", &[of[0], ("le", "0.05")]);
    assert!(quick <= 11.0, "{quick} calls of 13 took less than the two that took 50 ms and more");
    assert!(page.sum("stonescriptdb_call_duration_seconds_sum", &of) > 0.15, "naps of 50 and 100 ms are in it");
    assert!(page.sum("stonescriptdb_call_result_bytes_total", &of) > 500_000.0, "100,000 lines are in it");
    assert!(page.sum("stonescriptdb_call_parameter_bytes_total", &of) > 20.0);
    for (error, count) in [("function_not_found", 1.0), ("platform_not_found", 1.0), ("query_failed", 4.0)] {
        assert_eq!(page.sum("stonescriptdb_http_errors_total", &[("error", error)]), count, "{error}");
    }
}

#[test]
fn calls_that_executors_answer_are_counted_too() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "direct", &files());
    let mut line = Line::direct(&cluster, &platform);
    let before = outcomes(&cluster, &platform.name);
    let sent = page(&cluster).sum("stonescriptdb_http_sent_bytes_total", &[]);
    for _ in 0..100 {
        line.call("f", json!([]), &[]).ok();
    }
    line.call("fail", json!(["P0001"]), &[]).expect(400);
    line.call("fail", json!(["XX000"]), &[]).expect(500);
    line.call("nothing", json!([]), &[]).error(404, "function_not_found");
    line.call("nap", json!([60]), &[("X-Timeout-Ms", "20")]).expect(504);
    let after = outcomes(&cluster, &platform.name);
    let more: Vec<f64> = before.iter().zip(after).map(|((_, before), (_, after))| after - before).collect();
    assert_eq!(more, [100.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0], "{before:?} {after:?}");
    let page = page(&cluster);
    assert_eq!(
        page.sum("stonescriptdb_call_duration_seconds_count", &[("platform", &platform.name)]),
        after.iter().map(|(_, count)| count).sum::<f64>()
    );
    assert!(page.sum("stonescriptdb_http_sent_bytes_total", &[]) > sent + 100.0 * 150.0, "100 answers are in it");
    assert_eq!(page.sum("stonescriptdb_http_errors_total", &[("error", "function_not_found")]), 1.0);
    assert!(page.sum("stonescriptdb_http_connections_direct", &[]) <= 1.0);

    // A client that leaves in the middle of its call.
    let mut line = Line::direct(&cluster, &platform);
    let body = json!({"platform": platform.name, "function": "nap", "params": [600]}).to_string();
    let request = line.http.request_bytes("POST", "/call", &[("Content-Type", "application/json")], body.as_bytes());
    line.wire.send(&request).expect("sent");
    eventually("it naps", || {
        let seen = sql::texts(
            &mut cluster.control(),
            "SELECT query FROM pg_stat_activity WHERE query = 'nap' AND state = 'active'",
        );
        check(seen.len() == 1, format!("{seen:?}"))
    });
    drop(line);
    eventually("it is counted", || {
        let (_, count) = outcomes(&cluster, &platform.name)[6];
        check(count == 1.0, count)
    });

    // An executor that ends in the middle of a call.
    let mut line = Line::direct(&cluster, &platform);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| line.call("nap", json!([600]), &[]));
        eventually("it is ended", || {
            let end = "SELECT count(pg_terminate_backend(pid))::int FROM pg_stat_activity WHERE query = 'nap' AND state = 'active'";
            let ended: i32 = cluster.control().query_one(end, &[]).expect("a count").get(0);
            check(ended > 0, ended)
        });
        call.join().expect("a caller").error(503, "connection_failed");
    });
    assert_eq!(outcomes(&cluster, &platform.name)[5], ("unavailable", 1.0));
}

#[test]
fn what_is_counted_outlives_the_server_worker() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "again", &files());
    for _ in 0..5 {
        platform.call("f", json!([])).ok();
    }
    cluster.end_server_worker();
    cluster.wait_ready();
    platform.call("f", json!([])).ok();
    assert_eq!(outcomes(&cluster, &platform.name)[0], ("ok", 6.0));
}

#[test]
fn the_number_of_labels_has_an_end() {
    let cluster = Cluster::builder().setting("stonescriptdb.metrics_platforms", "2").start();
    let platforms = ["one", "two", "three", "four"].map(|name| Platform::register(&cluster, name, &files()));
    for platform in &platforms {
        platform.register_tenant("a_tenant_s_name", &files()).ok();
        platform.call_tenant("a_tenant_s_name", "f", json!([])).ok();
        platform.call("f", json!([])).ok();
    }
    let page = page(&cluster);
    let shown = page.values_of("platform");
    let [one, two, ..] = &platforms;
    assert_eq!(
        shown.iter().collect::<Vec<_>>(),
        [&one.name, &"other".to_owned(), &two.name]
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(page.sum("stonescriptdb_calls_total", &[("platform", "other"), ("outcome", "ok")]), 4.0);
    let text = cluster.http().admin().get("/metrics").text;
    assert!(!text.contains("a_tenant_s_name"), "a tenant's name in the figures:\n{text}");
}

#[test]
fn names_that_need_escaping_and_the_word_other() {
    let cluster = shared();
    let odd = Platform::register(&cluster, "q\"u\\o\u{e4} ", &files());
    odd.call("f", json!([])).ok();
    let other = Platform { name: "other".to_owned(), ..Platform::unregistered(&cluster, "other") };
    other.register_again(&files()).ok();
    other.call("f", json!([])).ok();
    let page = page(&cluster);
    assert_eq!(page.sum("stonescriptdb_calls_total", &[("platform", &odd.name), ("outcome", "ok")]), 1.0);
    assert!(page.sum("stonescriptdb_calls_total", &[("platform", "other"), ("outcome", "ok")]) >= 1.0);
}

#[test]
fn deployments_databases_refusals_and_connections() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_workers_per_database", "1")
        .setting("stonescriptdb.max_http_connections", "3")
        .start();
    let platform = Platform::register(&cluster, "much", &files());
    platform.register_tenant("acme", &files()).ok();
    let broken =
        files().file("functions/broken.pssql", "CREATE FUNCTION broken() RETURNS int LANGUAGE sql AS 'SELECT nope';\n");
    platform.migrate(&broken).expect(422);
    cluster.http().get("/call/nowhere/f").expect(404);
    // The executor that naps is there before nobody waits for long: on a busy machine a start takes more than that.
    platform.call("f", json!([])).ok();
    cluster.configure("stonescriptdb.queue_timeout", "100ms");
    cluster.reload();
    std::thread::scope(|scope| {
        let nap = scope.spawn(|| platform.call("nap", json!([600])));
        eventually("no executor is free", || {
            let answer = platform.call("f", json!([]));
            check(answer.status == 503, answer)
        });
        eventually("the nap has ended", || {
            let end = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'nap' AND state = 'active'";
            cluster.control().execute(end, &[]).expect("cancelled");
            check(nap.is_finished(), "it naps")
        });
    });
    let wires: Vec<_> = (0..3).map(|_| cluster.http().wire()).collect();
    eventually("connections are refused", || {
        let answer = cluster.http().try_request("GET", "/live", &[], b"");
        check(
            answer.as_ref().is_ok_and(|answer| answer.status == 503),
            format!("{answer:?}", answer = answer.map(|answer| answer.status)),
        )
    });
    drop(wires);
    eventually("there is room again", || {
        let answer = cluster.http().try_request("GET", "/live", &[], b"");
        check(
            answer.as_ref().is_ok_and(|answer| answer.status == 200),
            format!("{answer:?}", answer = answer.map(|answer| answer.status)),
        )
    });
    let page = page(&cluster);
    for (name, labels, least) in [
        ("stonescriptdb_deployments_total", vec![("outcome", "completed")], 2.0),
        ("stonescriptdb_deployments_total", vec![("outcome", "failed")], 1.0),
        ("stonescriptdb_deployment_databases_total", vec![("outcome", "completed")], 2.0),
        ("stonescriptdb_databases", vec![("state", "ready")], 2.0),
        ("stonescriptdb_platforms", vec![], 1.0),
        ("stonescriptdb_refusals_total", vec![("reason", "queue_timeout")], 1.0),
        ("stonescriptdb_refusals_total", vec![("reason", "too_many_connections")], 1.0),
        ("stonescriptdb_http_connections_total", vec![], 5.0),
        ("stonescriptdb_http_received_bytes_total", vec![], 5000.0),
        ("stonescriptdb_executors_max", vec![], 16.0),
        ("stonescriptdb_start_time_seconds", vec![], 1.7e9),
    ] {
        assert!(page.sum(name, &labels) >= least, "{name} {labels:?} is {}, not {least}", page.sum(name, &labels));
    }
    assert_eq!(page.sum("stonescriptdb_deployments_running", &[]), 0.0);
    let mut control = cluster.control();
    let rows =
        "SELECT outcome || ' ' || deployments FROM stonescriptdb.stats_deployments WHERE deployments > 0 ORDER BY 1";
    assert_eq!(sql::texts(&mut control, rows), ["completed 2", "failed 1"]);
    let rows = "SELECT reason FROM stonescriptdb.stats_refusals WHERE refused > 0 ORDER BY 1";
    assert_eq!(sql::texts(&mut control, rows), ["queue_timeout", "too_many_connections"]);
}

#[test]
fn views_say_what_the_page_says() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "viewed", &files());
    for _ in 0..20 {
        platform.call("f", json!([])).ok();
    }
    platform.call("fail", json!(["P0001"])).expect(400);
    platform.call("nap", json!([0.3])).ok();
    let mut control = cluster.control();
    let row = control
        .query_one("SELECT * FROM stonescriptdb.stats_calls WHERE platform = $1", &[&platform.name])
        .expect("a row");
    let count = |name: &str| row.get::<_, i64>(name);
    assert_eq!((count("calls"), count("ok"), count("failed"), count("error")), (22, 21, 1, 0), "{row:?}");
    let ms = |name: &str| row.get::<_, f64>(name);
    assert!(ms("p50_ms") <= ms("p99_ms") && ms("p99_ms") >= 500.0 && ms("mean_ms") > 10.0, "{row:?}");
    let latency = "SELECT max(calls)::text || ' ' || (array_agg(calls ORDER BY le_ms))[19] || ' ' || max(le_ms) FROM stonescriptdb.stats_latency WHERE platform = $1";
    let row = control.query_one(latency, &[&platform.name]).expect("a row");
    assert_eq!(row.get::<_, String>(0), "22 22 Infinity");
    let page = page(&cluster);
    // Every figure that stands still is the same.
    let rows = control.query("SELECT metric, labels, value FROM stonescriptdb.stats", &[]).expect("rows");
    let mut compared = 0;
    for row in &rows {
        let (metric, labels, value): (String, serde_json::Value, f64) = (row.get(0), row.get(1), row.get(2));
        if metric.starts_with("stonescriptdb_call") || metric.starts_with("stonescriptdb_deployment") {
            let labels: Vec<(&str, &str)> = labels
                .as_object()
                .expect("labels")
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str().expect("a text")))
                .collect();
            assert_eq!(page.sum(&metric, &labels), value, "{metric} {labels:?}");
            compared += 1;
        }
    }
    assert!(compared > 30 && rows.len() == page.samples.len(), "{compared} of {}", rows.len());
    for view in ["stats_executors", "stats_queues", "stats_errors", "stats_http"] {
        let rows: i64 =
            control.query_one(&format!("SELECT count(*) FROM stonescriptdb.{view}"), &[]).expect("rows").get(0);
        assert!(rows > 0, "{view}");
    }
}

#[test]
fn members_of_the_admin_group_see_the_views_and_nobody_else() {
    let cluster = shared();
    let mut control = cluster.control();
    control
        .batch_execute("CREATE ROLE watcher LOGIN; GRANT stonescriptdb_admin TO watcher; CREATE ROLE stranger LOGIN")
        .expect("roles");
    let views = "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'stonescriptdb'::regnamespace AND c.relname LIKE 'stats%' ORDER BY 1";
    let views = sql::texts(&mut control, views);
    assert_eq!(views.len(), 9, "{views:?}");
    let mut watcher = cluster.connect_as("watcher", "postgres");
    let mut stranger = cluster.connect_as("stranger", "postgres");
    for view in views {
        let query = format!("SELECT * FROM stonescriptdb.{view}");
        watcher.query(&query, &[]).unwrap_or_else(|error| panic!("{view}: {error:?}"));
        refused(stranger.query(&query, &[])).sqlstate("42501");
    }
}

#[test]
fn who_may_see_the_page() {
    let cluster = Cluster::start();
    let http = cluster.http();
    http.get("/metrics").error(401, "unauthorized");
    http.bearer("wrong").get("/metrics").error(401, "unauthorized");
    let answer = http.admin().get("/metrics").ok();
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    cluster.configure("stonescriptdb.metrics_token", "for-prometheus");
    cluster.reload();
    eventually("the token for it is good", || {
        let answer = http.bearer("for-prometheus").get("/metrics");
        check(answer.status == 200, answer)
    });
    // It opens nothing else.
    http.bearer("for-prometheus").get("/admin/databases?platform=x").error(401, "unauthorized");
    let shown: String = cluster.control().query_one("SHOW stonescriptdb.metrics_token", &[]).expect("a setting").get(0);
    assert!(!shown.contains("prometheus"), "{shown}");
    cluster.configure("stonescriptdb.metrics_public", "on");
    cluster.reload();
    eventually("it is public", || {
        let answer = http.get("/metrics");
        check(answer.status == 200, answer)
    });
    let closed = Cluster::builder().admin_token(None).start();
    closed.http().get("/metrics").error(503, "admin_disabled").says("metrics_token");
}

#[test]
fn the_page_is_well_formed_while_much_goes_on() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "busy", &files());
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (over, platform, cluster) = (&over, &platform, &cluster);
        for _ in 0..3 {
            scope.spawn(move || {
                let mut line = Line::direct(cluster, platform);
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    line.call("f", json!([]), &[]).ok();
                }
            });
        }
        let seen = std::panic::catch_unwind(|| {
            let mut last = 0.0;
            for _ in 0..50 {
                let answer = cluster.http().admin().get("/metrics").ok();
                let page = prometheus::read(&answer.text).unwrap_or_else(|why| panic!("{why}"));
                let now = page.sum("stonescriptdb_calls_total", &[("platform", &platform.name)]);
                assert!(now >= last, "counters only grow: {last}, {now}");
                last = now;
            }
        });
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(seen.is_ok());
    });
}
