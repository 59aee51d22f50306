//! Web pages: none is let in but those of allowed origins, and no client that is none is kept out.

use acceptance::{Answer, Cluster, Files, Platform, fixtures, shared};
use serde_json::json;

use crate::line::Line;

/// A request with these header lines and no others.
#[track_caller]
fn send(cluster: &Cluster, method: &str, path: &str, lines: &[&str], body: &str) -> Answer {
    let mut wire = cluster.http().wire();
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    lines.iter().for_each(|line| head.push_str(&format!("{line}\r\n")));
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    wire.send(format!("{head}\r\n{body}").as_bytes()).expect("sent");
    wire.read_answer(method).expect("an answer")
}

/// The console's own requests: a browser sends an origin with its scripts and with everything that is posted.
#[test]
fn a_page_of_this_servers_own_is_let_in() {
    let cluster = shared();
    for host in ["127.0.0.1:9000", "localhost:9000", "[::1]:9000", "gateway:9000", "db.lan"] {
        for scheme in ["http", "https"] {
            let lines = [
                &format!("Host: {host}")[..],
                &format!("Origin: {scheme}://{host}"),
                "Sec-Fetch-Site: same-origin",
                CHROME,
            ];
            let answer = send(&cluster, "GET", "/health", &lines, "").ok();
            assert!(answer.header("access-control-allow-origin").is_none(), "{host}: {answer}");
        }
    }
    // A name that leads here is another's page; so is another port, and one that two hosts are named for.
    for (host, origin) in [
        ("evil.example:9000", "http://evil.example:9000"),
        ("127.0.0.1.evil.example", "http://127.0.0.1.evil.example"),
        ("127.0.0.1:9000", "http://127.0.0.1:9001"),
        ("127.0.0.1:9000", "http://127.0.0.1"),
        ("127.0.0.1:9000\r\nHost: 127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("127.0.0.1:9000", "127.0.0.1:9000"),
    ] {
        let answer =
            send(&cluster, "GET", "/health", &[&format!("Host: {host}"), &format!("Origin: {origin}"), CHROME], "");
        assert!(answer.status == 403 || answer.status == 400, "{host} {origin}: {answer}");
    }
}

/// One with a function that a GET may call.
fn bundle() -> Files {
    fixtures::tiny().file("functions/g.pssql", "CREATE FUNCTION g() RETURNS integer LANGUAGE sql STABLE AS 'SELECT 2';")
}

const CHROME: &str =
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

#[test]
fn web_pages_are_not_let_in() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "page", &bundle());
    let call = json!({"platform": platform.name, "function": "f"}).to_string();
    let read = format!("/call/{}/g", platform.name);
    let foreign = |answer: Answer| {
        let answer = answer.error(403, "origin_not_allowed").says("stonescriptdb.allowed_origins");
        assert!(answer.header("access-control-allow-origin").is_none(), "{answer}");
    };
    // A page's POST without leave of ours: it needs no preflight, and has an origin.
    for origin in ["https://evil.example", "null", "http://127.0.0.1:8080", "http://localhost:3000", "*", ""] {
        let origin = format!("Origin: {origin}");
        for path in ["/call", "/register", "/migrate", "/platform/register", "/health"] {
            foreign(send(&cluster, "POST", path, &["Host: 127.0.0.1", "Content-Type: text/plain", &origin], &call));
        }
    }
    // Whoever has a token is no exception: a page may have got hold of one.
    let bearer = format!("Authorization: Bearer {}", acceptance::ADMIN_TOKEN);
    foreign(send(
        &cluster,
        "GET",
        "/admin/platforms",
        &["Host: localhost", "Origin: https://evil.example", &bearer],
        "",
    ));
    let asks = ["Host: localhost", "Origin: https://evil.example", "Access-Control-Request-Method: POST"];
    foreign(send(&cluster, "OPTIONS", "/call", &asks, ""));
    // Images, scripts and links of another site have none.
    for site in ["cross-site", "same-site"] {
        let site = format!("Sec-Fetch-Site: {site}");
        foreign(send(&cluster, "GET", &read, &["Host: 127.0.0.1:9000", &site, "Sec-Fetch-Mode: no-cors"], ""));
    }
    // Whoever types the address into a browser is no page.
    let typed =
        ["Host: 127.0.0.1:9000", "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", CHROME, "Accept-Language: de"];
    send(&cluster, "GET", &read, &typed, "").ok();

    // A page of a name that leads here now, to the host that it came from itself: no origin, and over plain HTTP no Sec-Fetch either.
    let disguised = "User-Agent: curl/8.5.0";
    for host in ["evil.example:9000", "127.0.0.1.evil.example", "rebind.it", "localhost.evil.com", "EVIL.example."] {
        let host = format!("Host: {host}");
        for more in [&[CHROME][..], &[disguised, "Accept-Language: en-US,en;q=0.5"], &["Sec-Fetch-Site: same-origin"]] {
            let lines = [&[host.as_str()], more].concat();
            for path in [read.as_str(), "/platforms", "/health"] {
                send(&cluster, "GET", path, &lines, "").error(403, "host_not_allowed").says("allowed_hosts");
            }
        }
    }
    send(&cluster, "GET", "http://evil.example/platforms", &["Host: 127.0.0.1", CHROME], "")
        .error(403, "host_not_allowed");
}

#[test]
fn clients_that_are_no_pages_are_let_in_by_any_name() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "plain", &fixtures::tiny());
    let call = json!({"platform": platform.name, "function": "f"}).to_string();
    let hosts = [
        "gateway",
        "gateway:9000",
        "host.docker.internal:9000",
        "db.example.com",
        "10.1.2.3:9000",
        "[::1]:9000",
        "a b",
        "",
    ];
    let clients: [&[&str]; 6] = [
        &[],
        &["User-Agent: curl/8.5.0", "Accept: */*"],
        &["User-Agent: GuzzleHttp/7", "Content-Type: application/json"],
        &["User-Agent: python-requests/2.32", "Accept-Encoding: gzip, deflate", "Accept: */*"],
        // Node.js: of what browsers send it has these two.
        &["User-Agent: node", "Accept-Language: *", "Sec-Fetch-Mode: cors", "Accept-Encoding: gzip, deflate"],
        // One that hands its user's headers on, with the token that no page has.
        &["Authorization: Bearer x", CHROME, "Accept-Language: de"],
    ];
    for host in hosts.map(|host| format!("Host: {host}")) {
        for client in clients {
            let lines = [&[host.as_str()], client].concat();
            let answer = send(&cluster, "POST", "/call", &lines, &call);
            assert_eq!(answer.status, 200, "{lines:?}: {answer}");
        }
    }
    // Without a token too, where nobody but oneself can give the name.
    for host in [
        "localhost:9000",
        "app.localhost",
        "127.0.0.1",
        "[::1]",
        "gateway:9000",
        "host.docker.internal",
        "db.lan",
        "db.ns.svc.cluster.local",
    ] {
        let host = format!("Host: {host}");
        send(&cluster, "POST", "/call", &[&host, CHROME, "Accept-Language: de"], &call).ok();
    }
    // HTTP/1.0 has no host.
    let mut wire = cluster.http().wire();
    wire.send(b"GET /health HTTP/1.0\r\n\r\n").expect("sent");
    wire.read_answer("GET").expect("an answer").ok();
}

#[test]
fn pages_of_allowed_origins_are_let_in_and_may_read() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.allowed_origins", "https://App.example.com/, http://localhost:3000")
        .start();
    let platform = Platform::register(&cluster, "cors", &bundle());
    let call = json!({"platform": platform.name, "function": "f"}).to_string();
    let page = ["Host: api.example.com", "Origin: https://app.example.com", CHROME, "Sec-Fetch-Site: same-site"];
    let may_read = |answer: Answer| {
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"), "{answer}");
        assert!(answer.headers.iter().any(|(name, value)| name == "vary" && value == "Origin"), "{answer}");
        assert!(answer.header("access-control-expose-headers").is_some_and(|names| names.contains("X-Request-Id")));
        assert!(answer.header("access-control-allow-credentials").is_none(), "{answer}");
        answer
    };
    may_read(send(&cluster, "POST", "/call", &page, &call)).ok();
    may_read(send(&cluster, "GET", &format!("/call/{}/g", platform.name), &page, "")).ok();
    // Errors too.
    may_read(send(&cluster, "POST", "/call", &page, "{")).error(400, "invalid_request");
    may_read(send(&cluster, "GET", "/admin/platforms", &page, "")).error(401, "unauthorized");
    may_read(send(&cluster, "GET", "/nowhere", &page, "")).error(404, "not_found");
    // The browser asks first; whether there is a token it does not ask.
    let asks = [
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,content-type,x-timeout-ms",
    ];
    let answer = may_read(send(&cluster, "OPTIONS", "/call", &[&page[..], &asks].concat(), "")).expect(204);
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("authorization,content-type,x-timeout-ms"),
        "{answer}"
    );
    assert!(answer.header("access-control-allow-methods").is_some_and(|text| text.contains("POST")), "{answer}");
    assert!(answer.header("access-control-max-age").is_some(), "{answer}");
    // Without an origin it is no such question.
    send(&cluster, "OPTIONS", "/call", &["Host: localhost"], "").error(405, "method_not_allowed");
    for origin in ["http://app.example.com", "https://app.example.com:8443", "https://app.example.com.evil.com", "null"]
    {
        let origin = format!("Origin: {origin}");
        send(&cluster, "POST", "/call", &["Host: localhost", &origin], &call).error(403, "origin_not_allowed");
        let two = ["Host: localhost", "Origin: https://app.example.com", &origin];
        send(&cluster, "POST", "/call", &two, &call).error(403, "origin_not_allowed");
    }
    // Under its own name an allowed page needs no origin.
    send(&cluster, "GET", "/health", &["Host: app.example.com", CHROME], "").ok();
    send(&cluster, "GET", "/health", &["Host: other.example.com", CHROME], "").error(403, "host_not_allowed");

    let open = Cluster::builder().setting("stonescriptdb.allowed_origins", "*").start();
    let answer =
        send(&open, "GET", "/health", &["Host: any.example.com", "Origin: https://x.example", CHROME], "").ok();
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{answer}");
    send(&open, "GET", "/health", &["Host: any.example.com", "Sec-Fetch-Site: cross-site"], "").ok();
}

#[test]
fn with_a_list_of_hosts_others_are_refused_to_all() {
    let cluster = Cluster::builder().setting("stonescriptdb.allowed_hosts", "Gateway, db.example.com.").start();
    let health = |lines: &[&str]| send(&cluster, "GET", "/health", lines, "");
    for host in [
        "gateway:9000",
        "GATEWAY",
        "db.example.com",
        "db.example.com.:9000",
        "127.0.0.1:9000",
        "[::1]:9000",
        "localhost",
    ] {
        health(&[&format!("Host: {host}")]).ok();
        health(&[&format!("Host: {host}"), CHROME, "Accept-Language: de"]).ok();
    }
    let bearer = format!("Authorization: Bearer {}", acceptance::ADMIN_TOKEN);
    for host in ["other", "host.docker.internal", "x.db.example.com", "[::1", "a b"] {
        health(&[&format!("Host: {host}"), &bearer]).error(403, "host_not_allowed");
    }
    health(&["Host: gateway", "Host: other"]).client_error();
}

/// An executor that serves a connection by itself leaves pages to the server worker.
#[test]
fn a_connection_that_an_executor_serves_is_no_way_in_for_pages() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "lent", &fixtures::tiny());
    let mut line = Line::settled(&cluster.http(), &platform.name);
    let request =
        |name: &str, value: &str| cluster.http().header(name, value).call_bytes(&platform.name, "f", &json!([]));
    line.exchange(&request("Origin", "https://evil.example")).error(403, "origin_not_allowed");
    let mut line = Line::settled(&cluster.http(), &platform.name);
    line.exchange(&request("Sec-Fetch-Site", "cross-site")).error(403, "origin_not_allowed");
    let mut line = Line::settled(&cluster.http(), &platform.name);
    let rebound = String::from_utf8(request("Accept-Language", "de")).expect("text");
    line.exchange(rebound.replacen("Host: 127.0.0.1", "Host: evil.example", 1).as_bytes())
        .error(403, "host_not_allowed");
}
