//! Addresses: what proxies say, and the networks of a platform.

use acceptance::wait::check;
use acceptance::{Cluster, Http, Platform, eventually, fixtures, refused, sql};
use serde_json::json;

use crate::line::Line;

/// A request with these header lines; the status of its answer.
fn status(cluster: &Cluster, lines: &[&str]) -> u16 {
    let mut wire = cluster.http().wire();
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    wire.send(format!("GET /health HTTP/1.1\r\nHost: x\r\n{lines}\r\n").as_bytes()).expect("sent");
    wire.read_answer("GET").expect("an answer").status
}

#[test]
fn the_forwarded_chain_as_proxies_write_it() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.trusted_proxies", "127.0.0.1/32, 198.51.100.0/24, 2001:db8:ffff::/48")
        .setting("stonescriptdb.allowed_networks", "127.0.0.1/32, ::ffff:192.0.2.0/120, 2001:db8:1::/48")
        .start();
    let cases: &[(&[&str], u16)] = &[
        (&[], 200),
        // IPv6, in brackets, with ports.
        (&["X-Forwarded-For: 2001:db8:1::7"], 200),
        (&["X-Forwarded-For: [2001:db8:1::7]"], 200),
        (&["X-Forwarded-For: [2001:db8:1::7]:4711"], 200),
        (&["X-Forwarded-For: [2001:db8:2::7]:4711"], 403),
        (&["X-Forwarded-For: 192.0.2.7:4711"], 200),
        (&["X-Forwarded-For: 203.0.113.7:4711"], 403),
        // IPv4 in IPv6 is IPv4, in the header and in the setting.
        (&["X-Forwarded-For: ::ffff:192.0.2.7"], 200),
        (&["X-Forwarded-For: [::ffff:192.0.2.7]:80"], 200),
        (&["X-Forwarded-For: ::ffff:203.0.113.7"], 403),
        (&["X-Forwarded-For: 203.0.113.7, ::ffff:198.51.100.4"], 403),
        // Proxies before proxies, of both families.
        (&["X-Forwarded-For: 203.0.113.9, 192.0.2.7, 198.51.100.4, 2001:db8:ffff::1"], 200),
        (&["X-Forwarded-For: 192.0.2.7, 203.0.113.9, 198.51.100.4, [2001:db8:ffff::1]:99"], 403),
        // Several lines are one list, and what stands last was added last.
        (&["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 192.0.2.7"], 200),
        (&["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 203.0.113.9"], 403),
        (&["X-Forwarded-For: 192.0.2.7", "Accept: */*", "x-forwarded-for: 198.51.100.4, 198.51.100.5"], 200),
        (&["X-Forwarded-For: 203.0.113.9, 192.0.2.7", "X-Forwarded-For: 198.51.100.4"], 200),
        // Empty elements mean nothing; they do not hide what stands before them.
        (&["X-Forwarded-For:", "X-Forwarded-For: 192.0.2.7, ,"], 200),
        (&["X-Forwarded-For: 203.0.113.9, ,", "X-Forwarded-For:"], 403),
        // What is no address is refused, unless it stands before what is believed.
        (&["X-Forwarded-For: unknown"], 403),
        (&["X-Forwarded-For: 192.0.2.7, _hidden"], 403),
        (&["X-Forwarded-For: 192.0.2.7, [2001:db8:1::7"], 403),
        (&["X-Forwarded-For: 192.0.2.7, 2001:db8:1::7%eth0"], 403),
        (&["X-Forwarded-For: 192.0.2.7, [192.0.2.7]"], 403),
        (&["X-Forwarded-For: \"192.0.2.7\""], 403),
        (&["X-Forwarded-For: unknown, 192.0.2.7"], 200),
        // Forwarded is not read: a proxy that writes the other one hands a client's own on.
        (&["Forwarded: for=203.0.113.9"], 200),
        (&["X-Forwarded-For: 203.0.113.9", "Forwarded: for=192.0.2.7;proto=https"], 403),
        (&["Forwarded: for=\"[2001:db8:2::7]:4711\"", "X-Forwarded-For: 192.0.2.7"], 200),
    ];
    for (lines, expected) in cases {
        assert_eq!(status(&cluster, lines), *expected, "{lines:?}");
    }
}

/// `stonescriptdb.set_networks`.
fn set_networks(cluster: &Cluster, platform: &str, networks: &str) {
    sql::done(
        cluster.control().execute("SELECT stonescriptdb.set_networks($1, $2::text::cidr[])", &[&platform, &networks]),
    );
}

/// Waits until a client gets this status for a call.
fn until(cluster: &Cluster, http: &Http, platform: &str, status: u16) {
    eventually(&format!("status {status}, {}", cluster.port()), || {
        let answer = http.call(platform, None, "f", json!([]));
        check(answer.status == status, &answer)
    });
}

#[test]
fn a_platform_is_named_from_its_networks_only() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.trusted_proxies", "127.0.0.1/32")
        .setting("stonescriptdb.allowed_networks", "0.0.0.0/0, ::/0")
        .start();
    let platform = Platform::register(&cluster, "fenced", &fixtures::tiny());
    let other = Platform::register(&cluster, "open", &fixtures::tiny());
    let name = platform.name.as_str();
    let bundle = fixtures::tiny().tar_gz();
    let from = |address: &str| cluster.http().header("X-Forwarded-For", address);
    let (near, near6, far) = (from("192.0.2.7"), from("[2001:db8:1::7]:99"), from("203.0.113.9"));
    set_networks(&cluster, name, "{192.0.2.0/24,2001:db8:1::/48}");
    until(&cluster, &far, name, 403);
    for http in [&near, &near6] {
        http.call(name, None, "f", json!([])).ok();
        http.register(name, None, &bundle).ok();
    }
    far.call(&other.name, None, "f", json!([])).ok();
    let deployment = near.register(name, None, &bundle).ok();
    let deployment = format!("/deployments/{}", deployment.str("deployment_id"));
    let whom = json!({"platform": name, "schema_name": "s", "database_id": "1", "calls": []});
    // The administrator's token is no way around it where the platform itself is used, but looks after it from anywhere.
    for http in [&far, &far.admin(), &from("2001:db8:2::7"), &cluster.http()] {
        for answer in [
            http.call(name, None, "f", json!([])),
            http.post_json("/call/batch", &whom),
            http.get(&format!("/call/{name}/f")),
            http.register(name, None, &bundle),
            http.migrate(name, None, &bundle, &[]),
            http.get(&format!("/platform/{name}/schemas")),
            http.multipart(&format!("/platform/{name}/schema"), &[("name", "s")], Some(("file", &bundle))),
            http.post_json("/database/create", &whom),
            http.post_json("/v2/migrate", &whom),
            http.get(&deployment),
        ] {
            answer.error(403, "unauthorized");
        }
    }
    far.admin().get(&format!("/admin/databases?platform={name}")).ok();
    let issue = json!({"platform": name, "scopes": ["admin"]});
    let token = far.admin().post_json("/admin/platform-token", &issue).ok().str("token").to_owned();
    far.bearer(&token).get("/admin/tokens").error(403, "unauthorized");
    near.bearer(&token).get("/admin/tokens").ok();

    let shown = format!("SELECT networks::text FROM stonescriptdb.platforms WHERE platform = '{name}'");
    assert_eq!(sql::text(&mut cluster.control(), &shown), "{192.0.2.0/24,2001:db8:1::/48}");
    // IPv4 in IPv6 is IPv4 here too. None is all, and a list that is none is refused.
    set_networks(&cluster, name, "{::ffff:203.0.113.0/120}");
    until(&cluster, &far.admin(), name, 200);
    near.admin().call(name, None, "f", json!([])).error(403, "unauthorized");
    set_networks(&cluster, name, "{}");
    until(&cluster, &near.admin(), name, 200);
    let mut control = cluster.control();
    for (bad, sqlstate) in [("'shop', '{10.0.0.1/8}'", "22P02"), ("'nobody', '{10.0.0.0/8}'", "42704")] {
        let query = format!("SELECT stonescriptdb.set_networks({bad})");
        refused(control.execute(&query, &[])).sqlstate(sqlstate);
    }
}

/// An executor that serves a connection by itself sees whom it answers: behind a proxy, one connection has the requests of many.
#[test]
fn a_connection_that_an_executor_serves_has_the_platforms_networks() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.trusted_proxies", "127.0.0.1/32")
        .setting("stonescriptdb.allowed_networks", "0.0.0.0/0")
        .start();
    let platform = Platform::register(&cluster, "fenced", &fixtures::tiny());
    let near = cluster.http().header("X-Forwarded-For", "192.0.2.7");
    set_networks(&cluster, &platform.name, "{192.0.2.0/24}");
    until(&cluster, &cluster.http(), &platform.name, 403);
    let mut line = Line::settled(&near, &platform.name);
    let far = cluster.http().header("X-Forwarded-For", "203.0.113.9").call_bytes(&platform.name, "f", &json!([]));
    let allowed = near.call_bytes(&platform.name, "f", &json!([]));
    for _ in 0..5 {
        line.exchange(&far).error(403, "unauthorized");
        line.exchange(&allowed).ok();
    }
    // And learns that they have changed.
    let mut line = Line::settled(&near, &platform.name);
    set_networks(&cluster, &platform.name, "{198.51.100.0/24}");
    until(&cluster, &near, &platform.name, 403);
    line.exchange(&allowed).error(403, "unauthorized");
}
