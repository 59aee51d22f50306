//! Requests a second of a platform.

use acceptance::wait::check;
use acceptance::{Answer, Cluster, Http, Platform, eventually, fixtures, refused, shared, sql};
use serde_json::json;

use crate::line::Line;

/// `stonescriptdb.set_rate`, with its arguments behind the platform as SQL.
fn set_rate(cluster: &Cluster, platform: &str, arguments: &str) {
    let query = format!("SELECT stonescriptdb.set_rate($1, {arguments})");
    sql::done(cluster.control().execute(&query, &[&platform]));
}

/// Calls so often; how many were answered. The others are 429.
#[track_caller]
fn answered(http: &Http, platform: &str, times: usize) -> usize {
    let one = || {
        let answer = http.call(platform, None, "f", json!([]));
        match answer.status {
            200 => true,
            _ => {
                let answer = answer.error(429, "too_many_requests").says(platform);
                let wait: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(0);
                assert!((1..=3600).contains(&wait), "{answer}");
                false
            }
        }
    };
    (0..times).filter(|_| one()).count()
}

/// The least that there is.
const LEAST: &str = "1, 1";

#[test]
fn a_platform_has_its_burst_and_no_more() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "often", &fixtures::tiny());
    let other = Platform::register(&cluster, "often", &fixtures::tiny());
    let (name, http) = (platform.name.as_str(), cluster.http());
    assert_eq!(answered(&http, name, 50), 50, "there is no limit by default");
    set_rate(&cluster, name, "1, 10");
    eventually("the rate to count", || {
        let count = answered(&http, name, 30);
        check(count < 30, count)
    });
    // What passes from now on is one a second.
    let start = std::time::Instant::now();
    let count = answered(&http, name, 30);
    let seconds = start.elapsed().as_secs_f64();
    assert!(count as f64 <= seconds + 1.0, "{count} in {seconds} s");
    // Other platforms, the administrator and SQL are not held up.
    assert_eq!(answered(&http, &other.name, 30), 30);
    assert_eq!(answered(&http.admin(), name, 30), 30);
    for _ in 0..30 {
        sql::done(sql::call(&mut cluster.control(), name, None, "f", &json!([])));
    }
    // It holds on every route that names it.
    let batch = json!({"platform": name, "calls": [{"function": "f"}]});
    let bundle = fixtures::tiny().tar_gz();
    let routes: [(&str, &dyn Fn() -> Answer); 4] = [
        ("a list", &|| http.get(&format!("/platform/{name}/schemas"))),
        ("a call that reads", &|| http.get(&format!("/call/{name}/f"))),
        ("a batch", &|| http.post_json("/call/batch", &batch)),
        ("register", &|| http.register(name, None, &bundle)),
    ];
    for (what, send) in routes {
        eventually(&format!("{what} to be refused"), || {
            // They take what there is.
            answered(&http, name, 12);
            let answer = send();
            check(answer.status == 429 && answer.code() == "too_many_requests", &answer)
        });
    }
    // 0 is no limit, NULL what is set for all.
    set_rate(&cluster, name, "0");
    eventually("no limit", || {
        let count = answered(&http, name, 20);
        check(count == 20, count)
    });
    let shown = format!("SELECT concat(rate, '/', burst) FROM stonescriptdb.platforms WHERE platform = '{name}'");
    assert_eq!(sql::text(&mut cluster.control(), &shown), "0/");
    cluster.configure("stonescriptdb.platform_rate", "1");
    cluster.configure("stonescriptdb.platform_burst", "5");
    cluster.reload();
    eventually("the setting to count for the other", || {
        let count = answered(&http, &other.name, 30);
        check(count < 30, count)
    });
    assert_eq!(answered(&http, name, 30), 30, "its own says that there is none");
    set_rate(&cluster, name, "NULL");
    eventually("the setting to count", || {
        let count = answered(&http, name, 30);
        check(count < 30, count)
    });
    let mut control = cluster.control();
    for bad in ["-1", "1, 0", "NULL, 5", "10000000"] {
        let query = format!("SELECT stonescriptdb.set_rate('{name}', {bad})");
        refused(control.execute(&query, &[])).sqlstate("22023");
    }
    refused(control.execute("SELECT stonescriptdb.set_rate('nobody', 1)", &[])).sqlstate("42704");
}

#[test]
fn who_is_not_let_in_takes_nothing_of_the_rate() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "guarded", &fixtures::tiny());
    let body = json!({"platform": platform.name});
    let token = cluster.http().admin().post_json("/admin/platform-token", &body).ok().str("token").to_owned();
    set_rate(&cluster, &platform.name, LEAST);
    let http = cluster.http().bearer(&token);
    eventually("the rate to count", || {
        let count = answered(&http, &platform.name, 3);
        check(count < 3, count)
    });
    // While others try, one a second passes.
    let start = std::time::Instant::now();
    let mut passed = 0;
    while passed < 3 {
        for _ in 0..10 {
            cluster.http().bearer("wrong").call(&platform.name, None, "f", json!([])).error(401, "unauthorized");
        }
        passed += answered(&http, &platform.name, 1);
        assert!(start.elapsed().as_secs() < 60, "{passed} have passed");
    }
}

/// Executors that serve connections by themselves take from the same bucket.
#[test]
fn connections_that_executors_serve_have_the_rate_too() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "direct", &fixtures::tiny());
    let name = platform.name.as_str();
    // High enough for a connection to be passed on, with an end that can be reached.
    set_rate(&cluster, name, "20, 3000");
    let shown = || {
        let query = format!("SELECT rate::text FROM stonescriptdb.platforms WHERE platform = '{name}'");
        sql::text(&mut cluster.control(), &query)
    };
    assert_eq!(shown(), "20");
    let call = cluster.http().call_bytes(name, "f", &json!([]));
    let start = std::time::Instant::now();
    let mut line = Line::settled(&cluster.http(), name);
    let mut passed = 0;
    let refused = loop {
        let answer = line.exchange(&call);
        if answer.status != 200 {
            break answer;
        }
        passed += 1;
        assert!(start.elapsed().as_secs() < 60, "{passed} have passed");
    };
    refused.error(429, "too_many_requests");
    let most = 3000.0 + 20.0 * start.elapsed().as_secs_f64() + 1.0;
    assert!(f64::from(passed) <= most, "{passed} have passed, {most} may");
    // Another connection does not have another bucket.
    assert!(answered(&cluster.http(), name, 100) < 100);
    // A new rate reaches connections that executors have.
    set_rate(&cluster, name, "0");
    eventually("no limit", || {
        let count = answered(&cluster.http(), name, 20);
        check(count == 20, count)
    });
    let mut line = Line::settled(&cluster.http(), name);
    set_rate(&cluster, name, LEAST);
    eventually("the new rate to count", || {
        let count = (0..3).filter(|_| line.exchange(&call).status == 200).count();
        check(count < 3, count)
    });
}
