//! Networks of single listeners.

use std::net::TcpListener;

use acceptance::wait::check;
use acceptance::{Builder, Cluster, Http, Platform, eventually, fixtures};
use serde_json::json;

use crate::line::Line;

/// A cluster whose clients say what their address is.
fn cluster(listen: &str, networks: &str) -> Builder {
    Cluster::builder()
        .setting("stonescriptdb.trusted_proxies", "127.0.0.0/8, ::1")
        .setting("stonescriptdb.allowed_networks", "127.0.0.0/8, 203.0.113.0/24")
        .setting("stonescriptdb.listen_addresses", listen)
        .setting("stonescriptdb.listener_networks", networks)
}

/// A client of a listener, from some address.
fn client(cluster: &Cluster, listener: &str, from: &str) -> Http {
    cluster.http().to(listener).header("X-Forwarded-For", from)
}

/// Asserts which of these addresses a listener lets in.
#[track_caller]
fn expect(cluster: &Cluster, listener: &str, let_in: &[&str], refused: &[&str]) {
    for from in let_in {
        client(cluster, listener, from).get("/live").ok();
    }
    for from in refused {
        let http = client(cluster, listener, from);
        http.get("/live").error(403, "unauthorized");
        http.admin().get("/admin/platforms").error(403, "unauthorized");
        http.call("nobody", None, "f", json!([])).error(403, "unauthorized");
    }
}

/// Waits for a line of the log since `before`.
#[track_caller]
fn logged(cluster: &Cluster, before: usize, what: &str) {
    eventually(what, || {
        let log = cluster.log();
        check(log.get(before..).unwrap_or_default().contains(what), "not in the log")
    });
}

#[test]
fn each_listener_has_its_own_networks() {
    let networks = "127.0.0.2 = 192.0.2.0/24 2001:db8::/32, 127.0.0.3=::ffff:198.51.100.0/120";
    let cluster = cluster("127.0.0.1, 127.0.0.2, 127.0.0.3", networks).start();
    let all = ["127.0.0.1", "203.0.113.9", "192.0.2.7", "[2001:db8::7]", "198.51.100.1"];
    expect(&cluster, "127.0.0.1", &all[..2], &all[2..]);
    expect(&cluster, "127.0.0.2", &all[2..4], &[all[0], all[1], all[4]]);
    expect(&cluster, "127.0.0.3", &all[4..], &all[..4]);
}

#[test]
fn where_all_addresses_are_listened_on_the_one_that_was_named_counts() {
    let cluster = cluster("*", "127.0.0.2 = 192.0.2.0/24, 127.0.0.77 = 198.51.100.0/24, ::1 = 2001:db8::/32").start();
    expect(&cluster, "127.0.0.1", &["203.0.113.9"], &["192.0.2.7", "198.51.100.1"]);
    expect(&cluster, "127.0.0.2", &["192.0.2.7"], &["203.0.113.9", "198.51.100.1"]);
    expect(&cluster, "127.0.0.77", &["198.51.100.1"], &["203.0.113.9", "192.0.2.7"]);
    // Some machines have no IPv6.
    if TcpListener::bind("[::1]:0").is_ok() {
        expect(&cluster, "::1", &["2001:db8::7"], &["203.0.113.9", "192.0.2.7"]);
    }
}

#[test]
fn a_listener_may_be_named_as_its_host() {
    let cluster = cluster("LOCALHOST, 127.0.0.2", "localhost = 127.0.0.0/8 192.0.2.0/24").start();
    expect(&cluster, "127.0.0.1", &["192.0.2.7"], &["203.0.113.9"]);
    expect(&cluster, "127.0.0.2", &["203.0.113.9"], &["192.0.2.7"]);
}

#[test]
fn a_connection_that_an_executor_serves_has_its_listeners_networks() {
    let cluster = cluster("127.0.0.1, 127.0.0.2", "127.0.0.2 = 192.0.2.0/24").start();
    let platform = Platform::register(&cluster, "behind", &fixtures::tiny());
    let request = |http: &Http| http.call_bytes(&platform.name, "f", &json!([]));
    let (near, far) = (client(&cluster, "127.0.0.2", "192.0.2.7"), client(&cluster, "127.0.0.2", "203.0.113.9"));
    let mut line = Line::settled(&near, &platform.name);
    // One connection has the requests of many clients, some of whom the other listener would let in.
    for _ in 0..3 {
        line.exchange(&request(&far)).error(403, "unauthorized");
        line.exchange(&request(&near)).ok();
    }
    let other = client(&cluster, "127.0.0.1", "203.0.113.9");
    let mut outer = Line::settled(&other, &platform.name);
    let mut line = Line::settled(&near, &platform.name);
    // Whom a listener lets in changes with a reload, on connections that are open too; that of the others does not.
    cluster.configure("stonescriptdb.listener_networks", "127.0.0.2 = 198.51.100.0/24");
    cluster.reload();
    eventually("the new list", || {
        let answer = client(&cluster, "127.0.0.2", "198.51.100.1").get("/live");
        check(answer.status == 200, &answer)
    });
    line.exchange(&request(&near)).error(403, "unauthorized");
    outer.exchange(&request(&other)).ok();
    cluster.configure("stonescriptdb.listener_networks", "");
    cluster.reload();
    eventually("the list of all", || {
        let answer = line.exchange(&request(&far));
        check(answer.status == 200, &answer)
    });
    line.exchange(&request(&near)).error(403, "unauthorized");
}

#[test]
fn a_list_that_does_not_parse_is_refused_with_what_is_wrong_and_the_old_one_stays() {
    let cluster = cluster("127.0.0.1, 127.0.0.2", "127.0.0.2 = 192.0.2.0/24").start();
    for (value, wrong) in [
        ("127.0.0.2", "\"127.0.0.2\" has no \"=\""),
        ("127.0.0.2 = 10.0.0.0/8, 192.0.2.0/24", "\"192.0.2.0/24\" has no \"=\""),
        ("127.0.0.2 = 10.0.0.0/99", "\"10.0.0.0/99\" is no network"),
        ("127.0.0.2 =", "\"127.0.0.2\" has no networks"),
        ("= 10.0.0.0/8", "has no address before"),
        ("127.0.0.1 = 10.0.0.0/8, 127.0.0.1 = 10.0.0.0/8", "\"127.0.0.1\" stands there twice"),
        ("* = 10.0.0.0/8", "stonescriptdb.allowed_networks"),
        (":: = 10.0.0.0/8", "stonescriptdb.allowed_networks"),
    ] {
        let before = cluster.log().len();
        cluster.configure("stonescriptdb.listener_networks", value);
        cluster.reload();
        logged(&cluster, before, "invalid value for parameter \"stonescriptdb.listener_networks\"");
        logged(&cluster, before, wrong);
    }
    expect(&cluster, "127.0.0.2", &["192.0.2.7"], &["127.0.0.1", "10.0.0.1"]);
}

#[test]
fn a_list_of_no_listener_is_refused_at_a_reload_and_all_stays_as_it_was() {
    let cluster = cluster("127.0.0.1, 127.0.0.2", "127.0.0.2 = 192.0.2.0/24").start();
    for (value, wrong) in [
        ("127.0.0.2 = 10.0.0.0/8, 127.0.0.4 = 10.0.0.0/8", "\"127.0.0.4\" is none of stonescriptdb.listen_addresses"),
        ("127.0.0.2 = 10.0.0.0/8, nowhere.invalid = 10.0.0.0/8", "\"nowhere.invalid\" is no address"),
        ("127.0.0.1 = 10.0.0.0/8, localhost = 192.0.2.0/24", "127.0.0.1 has two lists of networks"),
    ] {
        let before = cluster.log().len();
        cluster.configure("stonescriptdb.listener_networks", value);
        cluster.reload();
        logged(&cluster, before, wrong);
        logged(&cluster, before, "stay as they were");
        expect(&cluster, "127.0.0.2", &["192.0.2.7"], &["127.0.0.1", "10.0.0.1"]);
    }
    // A listener that would be left without the list that was meant for it.
    let before = cluster.log().len();
    cluster.configure("stonescriptdb.listener_networks", "127.0.0.2 = 192.0.2.0/24");
    cluster.configure("stonescriptdb.listen_addresses", "127.0.0.1, 127.0.0.3");
    cluster.reload();
    logged(&cluster, before, "\"127.0.0.2\" is none of stonescriptdb.listen_addresses");
    expect(&cluster, "127.0.0.2", &["192.0.2.7"], &["127.0.0.1"]);
    assert!(cluster.http().to("127.0.0.3").try_wire().is_err(), "it is listened on");
    cluster.configure("stonescriptdb.listener_networks", "127.0.0.3 = 192.0.2.0/24");
    cluster.reload();
    eventually("the new listener", || cluster.http().to("127.0.0.3").try_wire().map(drop).map_err(|e| e.to_string()));
    expect(&cluster, "127.0.0.3", &["192.0.2.7"], &["127.0.0.1"]);
    assert!(cluster.http().to("127.0.0.2").try_wire().is_err(), "it is listened on still");
}

#[test]
fn with_a_list_of_no_listener_nothing_is_served_from_the_start() {
    let cluster = cluster("*", "198.51.100.77 = 192.0.2.0/24").without_wait().start();
    logged(&cluster, 0, "198.51.100.77 is no address of this machine");
    logged(&cluster, 0, "HTTP is not served until that is mended");
    assert!(cluster.http().try_wire().is_err(), "it is served");
    cluster.configure("stonescriptdb.listener_networks", "127.0.0.2 = 192.0.2.0/24");
    cluster.reload();
    cluster.wait_ready();
    expect(&cluster, "127.0.0.2", &["192.0.2.7"], &["203.0.113.9"]);
}
