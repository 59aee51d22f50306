//! What the server's log says of who was refused.

use acceptance::wait::check;
use acceptance::{Cluster, Http, Platform, eventually, fixtures};
use serde_json::json;

/// The log's lines about refusals so far.
fn lines(cluster: &Cluster) -> Vec<String> {
    cluster.log().lines().filter(|line| line.contains("stonescriptdb: refused")).map(str::to_owned).collect()
}

/// Waits for a line with all of these.
#[track_caller]
fn expect(cluster: &Cluster, parts: &[&str]) {
    eventually(&format!("a line with {parts:?}"), || {
        let lines = lines(cluster);
        check(lines.iter().any(|line| parts.iter().all(|part| line.contains(part))), format!("{lines:#?}"))
    });
}

fn behind_a_proxy() -> acceptance::Builder {
    Cluster::builder()
        .setting("stonescriptdb.trusted_proxies", "127.0.0.1/32")
        .setting("stonescriptdb.allowed_networks", "127.0.0.0/8, 192.0.2.0/24, 2001:db8::/32")
}

fn from(cluster: &Cluster, address: &str) -> Http {
    cluster.http().header("X-Forwarded-For", address)
}

#[test]
fn every_refusal_is_written_once_with_address_route_platform_and_reason() {
    let cluster = behind_a_proxy().start();
    let platform = Platform::register(&cluster, "quiet", &fixtures::tiny());
    let other = Platform::register(&cluster, "quiet", &fixtures::tiny());
    let name = platform.name.as_str();
    let issue = |platform: &str, scopes: &[&str]| {
        let body = json!({"platform": platform, "scopes": scopes});
        cluster.http().admin().post_json("/admin/platform-token", &body).ok().str("token").to_owned()
    };
    let (deploys, foreign) = (issue(name, &["deploy"]), issue(&other.name, &["call"]));
    let call = |http: &Http| http.call(name, None, "f", json!([]));
    let of = format!("for the platform \"{name}\"");

    from(&cluster, "203.0.113.9").get("/platforms").error(403, "unauthorized");
    expect(&cluster, &["GET /platforms from 203.0.113.9: 403 unauthorized: requests from this address"]);
    let wrong = from(&cluster, "192.0.2.1").bearer("ssdb_never_written");
    for _ in 0..7 {
        call(&wrong).error(401, "unauthorized");
    }
    expect(&cluster, &["POST /call from 192.0.2.1", &of, "401 unauthorized"]);
    call(&from(&cluster, "2001:db8::1").bearer(&foreign)).error(403, "platform_isolation_violation");
    expect(&cluster, &["POST /call from 2001:db8::1", &of, "403 platform_isolation_violation"]);
    call(&from(&cluster, "192.0.2.3").bearer(&deploys)).error(403, "insufficient_scope");
    expect(&cluster, &["POST /call from 192.0.2.3", &of, "403 insufficient_scope"]);
    from(&cluster, "192.0.2.4").get("/admin/platforms?token=ssdb_in_the_query").error(401, "unauthorized");
    expect(&cluster, &["GET /admin/platforms from 192.0.2.4: 401 unauthorized"]);
    // Names are others' texts: none of them begins a line.
    let odd = format!("{}\nx LOG:  forged", acceptance::unique("odd"));
    let known = cluster.http().post_json("/platform/register", &json!({"platform": odd})).expect(201);
    let body = json!({"platform": known.str("platform")});
    cluster.http().admin().post_json("/admin/platform-token", &body).ok();
    from(&cluster, "192.0.2.6").call(&odd, None, "f", json!([])).error(401, "unauthorized");
    expect(&cluster, &["POST /call from 192.0.2.6", "?x LOG:  forged"]);
    // A platform that is not there is not named, and what is behind the door is none of this.
    from(&cluster, "192.0.2.5").call("nobody_at_all", None, "f", json!([])).error(404, "platform_not_found");
    cluster.http().admin().call(name, None, "no_such_function", json!([])).client_error();

    // Settings that are read again end the minute.
    cluster.reload();
    expect(&cluster, &["refused 6 more requests", "6 from 192.0.2.1 (unauthorized)"]);
    let log = cluster.log();
    assert_eq!(lines(&cluster).len(), 7, "{:#?}", lines(&cluster));
    for secret in ["ssdb_never", "ssdb_in_the", deploys.as_str(), foreign.as_str(), "nobody_at_all", "no_such_function"]
    {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    call(&wrong).error(401, "unauthorized");
    eventually("the next minute's line", || {
        let found = lines(&cluster).iter().filter(|line| line.contains("POST /call from 192.0.2.1")).count();
        check(found == 2, found)
    });
}

#[test]
fn there_are_no_more_lines_than_are_set() {
    let cluster =
        behind_a_proxy().setting("stonescriptdb.log_rate", "1").setting("stonescriptdb.log_burst", "3").start();
    let started = std::time::Instant::now();
    for number in 1..=200 {
        from(&cluster, &format!("203.0.113.{number}")).get("/health").error(403, "unauthorized");
    }
    from(&cluster, "203.0.113.1").get("/health").error(403, "unauthorized");
    // Each of the 201 is written, or counted in a sum; on a slow machine a minute may end on the way.
    eventually("the sums to be told", || {
        cluster.reload();
        let (sums, named): (Vec<String>, Vec<String>) =
            lines(&cluster).into_iter().partition(|line| line.contains(" more requests in "));
        let count = |line: &String| line.split("refused ").nth(1)?.split(' ').next()?.parse::<usize>().ok();
        let counted: usize = sums.iter().filter_map(count).sum();
        let most = 4 + started.elapsed().as_secs() as usize;
        assert!(named.len() <= most, "{} lines, {most} at most", named.len());
        check(named.len() + counted == 201, format!("{} and {counted}", named.len()))
    });
    let log = lines(&cluster);
    assert!(log.iter().any(|line| line.contains("1 from 203.0.113.1 (unauthorized)")), "{log:#?}");
    assert!(log.iter().any(|line| line.contains(" others")), "{log:#?}");
}

#[test]
fn none_are_written_where_that_is_off() {
    let cluster = behind_a_proxy().setting("stonescriptdb.log_refusals", "off").start();
    from(&cluster, "203.0.113.1").get("/health").error(403, "unauthorized");
    cluster.configure("stonescriptdb.log_refusals", "on");
    cluster.reload();
    eventually("a line", || {
        from(&cluster, "203.0.113.2").get("/health").error(403, "unauthorized");
        check(!lines(&cluster).is_empty(), "none")
    });
    assert!(lines(&cluster).iter().all(|line| !line.contains("203.0.113.1:")), "{:#?}", lines(&cluster));
}
