//! Addresses: what proxies say, and the networks of a platform.

use acceptance::Cluster;

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
