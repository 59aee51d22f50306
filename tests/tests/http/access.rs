//! Who is let in: the allowed networks and the admin token.

use acceptance::wait::check;
use acceptance::{ADMIN_TOKEN, Cluster, Platform, eventually, fixtures, shared};
use serde_json::json;

#[test]
fn an_address_that_is_not_allowed_is_403_on_every_route() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.allowed_networks", "10.0.0.0/8, 2001:db8::/32")
        .without_wait()
        .start();
    let answer =
        eventually("any answer", || cluster.http().try_request("GET", "/health", &[], b"").map_err(|e| e.to_string()));
    answer.error(403, "unauthorized");
    let (http, bundle) = (cluster.http().admin(), fixtures::tiny().tar_gz());
    for answer in [
        http.get("/health"),
        http.get("/nothing"),
        http.get("/admin/databases?platform=x"),
        http.call("x", None, "f", json!([])),
        http.register("x", None, &bundle),
        http.migrate("x", None, &bundle, &[]),
        http.post_text("/call", "{"),
        http.header("X-Forwarded-For", "10.1.2.3").get("/health"),
        http.header("X-Real-IP", "10.1.2.3").get("/health"),
    ] {
        answer.error(403, "unauthorized");
    }
}

#[test]
fn forwarded_for_counts_only_from_a_trusted_proxy() {
    let cluster = shared();
    // No proxy is trusted: what the header says does not matter.
    cluster.http().header("X-Forwarded-For", "203.0.113.9").get("/health").ok();

    let behind = Cluster::builder()
        .setting("stonescriptdb.trusted_proxies", "127.0.0.1/32")
        .setting("stonescriptdb.allowed_networks", "127.0.0.0/8, 192.0.2.0/24")
        .start();
    for (forwarded, status) in [
        ("203.0.113.9", 403),
        ("192.0.2.7", 200),
        // The nearest that is no proxy of ours counts; what stands before it the client may have written.
        ("192.0.2.7, 203.0.113.9", 403),
        ("203.0.113.9, 192.0.2.7", 200),
        ("203.0.113.9, 127.0.0.1", 403),
    ] {
        let answer = behind.http().header("X-Forwarded-For", forwarded).get("/health");
        assert_eq!(answer.status, status, "{forwarded}: {answer}");
    }
    // A proxy that appends makes one line of what the client wrote and what it adds.
    let mut wire = behind.http().wire();
    wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: \xff, 203.0.113.9\r\n\r\n").expect("sent");
    wire.read_answer("GET").expect("an answer").error(403, "unauthorized");
    behind.http().get("/health").ok();
}

#[test]
fn admin_routes_need_the_admin_token() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "token", &fixtures::tiny());
    let http = cluster.http();
    let path = format!("/admin/databases?platform={}", platform.name);
    let body = json!({"platform": platform.name, "tenant_id": "x"});
    let almost = &ADMIN_TOKEN[..ADMIN_TOKEN.len() - 1];
    for refused in [
        http.clone(),
        http.bearer(""),
        http.bearer("wrong"),
        http.bearer(almost),
        http.bearer(&format!("{ADMIN_TOKEN}x")),
        http.bearer(&ADMIN_TOKEN.to_uppercase()),
        http.header("Authorization", ADMIN_TOKEN),
        http.header("Authorization", &format!("Basic {ADMIN_TOKEN}")),
    ] {
        refused.get(&path).error(401, "unauthorized");
        refused.post_json("/admin/create-tenant", &body).error(401, "unauthorized");
    }
    http.admin().get(&path).ok().field("count", 1);
    http.header("Authorization", &format!("bearer {ADMIN_TOKEN}")).get(&path).ok();
    http.admin().post_json("/admin/create-tenant", &body).expect(201);
}

#[test]
fn without_an_admin_token_admin_routes_are_off() {
    let cluster = Cluster::builder().admin_token(None).start();
    let platform = Platform::register(&cluster, "off", &fixtures::tiny());
    let body = json!({"platform": platform.name, "tenant_id": "x"});
    for http in [cluster.http(), cluster.http().bearer(""), cluster.http().bearer("any")] {
        for answer in [
            http.get(&format!("/admin/databases?platform={}", platform.name)),
            http.post_json("/admin/create-tenant", &body),
        ] {
            let answer = answer.error(503, "admin_disabled");
            assert!(answer.str("hint").contains("stonescriptdb.admin_token"), "{answer}");
        }
    }
    assert_eq!(platform.call("f", json!([])).value(), 1, "the other routes are on");
}

#[test]
fn several_listen_addresses() {
    let cluster = Cluster::builder().setting("stonescriptdb.listen_addresses", "127.0.0.1, 127.0.0.2").start();
    eventually("an answer on the second address", || {
        let stream = std::net::TcpStream::connect(("127.0.0.2", cluster.port()));
        check(stream.is_ok(), format!("{stream:?}"))
    });
    cluster.http().get("/health").ok();
}
