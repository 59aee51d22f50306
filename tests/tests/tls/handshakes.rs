//! Who comes to an understanding with the server, and who does not.

use std::time::{Duration, Instant};

use acceptance::{eventually, wait};
use serde_json::{Value, json};

use crate::certificates::{Folder, Session, cluster, curl, s_client, wait_served};

#[test]
fn clients_that_trust_the_certificate_are_served() {
    let folder = Folder::new("trust");
    let cluster = cluster(&folder, &[]);
    wait_served(&cluster);
    let (text, code) = curl(&cluster, "/health", &["--cacert", &folder.path("server.crt")]);
    assert_eq!(code, 0, "{text}");
    let health: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(health["status"], "healthy", "{text}");
    let (text, code) = curl(&cluster, "/health", &[]);
    assert_eq!(code, 60, "curl trusts a certificate that nobody signed: {text}");
    assert!(cluster.log().contains("serving HTTPS on 127.0.0.1"), "{}", cluster.log_tail());
    // A body that takes many records, both ways.
    let (text, code) = curl(&cluster, "/call", &["-k", "--json", &json!({"x": "y".repeat(100_000)}).to_string()]);
    assert!(code == 0 && text.contains("the field platform is missing"), "{code} {text}");
}

#[test]
fn old_versions_are_refused() {
    let folder = Folder::new("versions");
    let cluster = cluster(&folder, &[]);
    wait_served(&cluster);
    for (version, is_served) in [("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false), ("-tls1", false)] {
        // OpenSSL itself does not offer the old ones above level 0.
        let (text, content) = s_client(&cluster, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
        assert_eq!(content, is_served, "{version}: {text}");
        assert_eq!(text.contains("BEGIN CERTIFICATE"), is_served, "{version}: {text}");
    }
    cluster.configure("stonescriptdb.tls_min_protocol_version", "TLSv1.3");
    cluster.reload();
    eventually("the refusal of TLS 1.2", || wait::check(!s_client(&cluster, &["-tls1_2"]).1, "it is served"));
    assert!(s_client(&cluster, &["-tls1_3"]).1);
}

#[test]
fn who_speaks_plain_http_is_told_so() {
    let folder = Folder::new("plain");
    let cluster = cluster(&folder, &[]);
    wait_served(&cluster);
    let answer = cluster.http().get("/health");
    answer.error(400, "invalid_request").says("TLS").says("https://");
    // With a body that is not read, too.
    cluster.http().post_text("/call", &"x".repeat(1_000_000)).error(400, "invalid_request").says("TLS");
    // What is neither is closed.
    let mut wire = cluster.http().wire();
    wire.send(b"\x00\x00\x00\x08\x04\xd2\x16\x2f").expect("sent");
    assert_eq!(wire.read_rest(), b"");
}

#[test]
fn a_handshake_that_takes_too_long_is_cut_off() {
    let folder = Folder::new("slow");
    let cluster = cluster(&folder, &[("header_timeout", "500ms")]);
    wait_served(&cluster);
    // Nothing, the first byte, the beginning of a hello.
    for said in [b"".as_slice(), b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut wire = cluster.http().wire();
        let start = Instant::now();
        wire.send(said).expect("sent");
        assert!(wire.is_closed(), "after {said:?}");
        let took = start.elapsed();
        assert!((Duration::from_millis(400)..Duration::from_secs(15)).contains(&took), "after {said:?}: {took:?}");
    }
    wait_served(&cluster);
}

#[test]
fn a_head_that_takes_too_long_within_tls_is_cut_off() {
    let folder = Folder::new("slowhead");
    let cluster = cluster(&folder, &[("header_timeout", "500ms")]);
    wait_served(&cluster);
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!(
            "{{ printf 'GET /health HTTP/1.1\\r\\nHost: x'; sleep 20; }} | timeout 15 openssl s_client -quiet -verify_quiet -connect 127.0.0.1:{}",
            cluster.port()
        ))
        .output()
        .expect("sh");
    // It ended before `timeout` ended it: the server closed.
    assert_ne!(output.status.code(), Some(124), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn clients_need_a_certificate_where_authorities_are_named() {
    let folder = Folder::new("clients");
    folder.make("authority", "authority");
    folder.make("stranger", "stranger");
    folder.make_client("alice", "authority");
    folder.make_client("mallory", "stranger");
    let authority = folder.path("authority.crt");
    let cluster = cluster(&folder, &[("tls_ca_file", &authority)]);
    let of = |name: &str| [folder.path(&format!("{name}.crt")), folder.path(&format!("{name}.key"))];
    let ask = |name: &str| {
        let [certificate, key] = of(name);
        curl(&cluster, "/health", &["-k", "--cert", &certificate, "--key", &key])
    };
    eventually("HTTPS for a client with a certificate", || {
        let (text, code) = ask("alice");
        wait::check(code == 0 && text.contains("healthy"), text)
    });
    for (text, code) in [ask("mallory"), curl(&cluster, "/health", &["-k"])] {
        assert!(code != 0 && !text.contains("healthy"), "{code} {text}");
    }
    // A DBA can see why.
    eventually("a message in the log", || {
        wait::check(cluster.log().contains("no TLS connection with 127.0.0.1 came about"), cluster.log_tail())
    });
}

#[test]
fn calls_in_a_row_stay_with_the_server_worker() {
    let folder = Folder::new("calls");
    let cluster = cluster(&folder, &[]);
    wait_served(&cluster);
    let archive = folder.path("bundle.tar.gz");
    std::fs::write(&archive, acceptance::fixtures::tiny().tar_gz()).expect("written");
    let form = format!("schema=@{archive}");
    let (text, code) = curl(&cluster, "/register", &["-k", "-F", "platform=secret", "-F", &form]);
    assert!(code == 0 && text.contains("\"ready\""), "{text}");
    let mut session = Session::open(&cluster);
    let call = cluster.http().call_bytes("secret", "f", &json!([]));
    for turn in 0..200 {
        let (status, body) = session.ask(&call);
        assert!(status == 200 && body.contains("\"row_count\":1"), "{turn}: {status} {body}");
    }
    // An executor that had served them would count one request for them all.
    let calls = "SELECT coalesce(max(served), 0) FROM stonescriptdb.workers WHERE database = 'secret_main'";
    let calls: i64 = acceptance::sql::text(&mut cluster.control(), calls).parse().expect("a number");
    assert!(calls >= 200, "{calls}");
}
