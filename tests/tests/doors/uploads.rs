//! Archives of those who are not let in: the form says which platform it is for before the archive comes.

use acceptance::http::{multipart_body, multipart_type};
use acceptance::{Cluster, Http, Platform, fixtures, shared, sql, unique};
use serde_json::json;

const ROUTES: [&str; 2] = ["/register", "/migrate"];

/// A token of a platform with a scope.
#[track_caller]
fn token(cluster: &Cluster, platform: &str, scope: &str) -> String {
    let body = json!({"platform": platform, "scopes": [scope]});
    cluster.http().admin().post_json("/admin/platform-token", &body).ok().str("token").to_owned()
}

/// A request with a form: its beginning, up to some bytes of the archive, and the rest.
fn halves(http: &Http, path: &str, fields: &[(&str, &str)], archive: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let body = multipart_body(fields, Some(("schema", archive)));
    let mut whole = http.request_bytes("POST", path, &[("Content-Type", &multipart_type())], &body);
    let rest = whole.split_off(whole.len() - archive.len() / 2 - 50);
    (whole, rest)
}

#[test]
fn an_archive_of_who_is_not_let_in_is_not_waited_for() {
    let cluster = shared();
    let bundle = fixtures::tiny().tar_gz();
    let platform = Platform::register(&cluster, "upload", &fixtures::tiny());
    let other = Platform::register(&cluster, "upload", &fixtures::tiny());
    let name = platform.name.as_str();
    let (deploys, calls) = (token(&cluster, name, "deploy"), token(&cluster, name, "call"));
    let others = token(&cluster, &other.name, "deploy");
    let fields = [("tenant_id", "main"), ("platform", name)];
    // What is sent ends before the archive does: the answer comes all the same, or the test waits for `body_timeout` and gets another one.
    let knock = |http: &Http, path: &str| {
        let mut wire = http.wire();
        wire.send(&halves(http, path, &fields, &bundle).0).expect("sent");
        wire.read_answer("POST").expect("an answer")
    };
    let http = cluster.http();
    for path in ROUTES {
        knock(&http, path).error(401, "unauthorized").says(name);
        knock(&http.bearer("ssdb_wrong"), path).error(401, "unauthorized");
        knock(&http.bearer(&others), path).error(403, "platform_isolation_violation");
        knock(&http.bearer(&calls), path).error(403, "insufficient_scope");
    }
    // Who may is asked for the rest.
    for path in ROUTES {
        let http = http.bearer(&deploys);
        let (start, rest) = halves(&http, path, &fields, &bundle);
        let mut wire = http.wire();
        wire.send(&start).expect("sent");
        wire.send(&rest).expect("sent");
        wire.read_answer("POST").expect("an answer").ok();
    }
    // Its networks count as well.
    let elsewhere = "SELECT stonescriptdb.set_networks($1, '{192.0.2.0/24}'::cidr[])";
    sql::done(cluster.control().execute(elsewhere, &[&name]));
    acceptance::eventually("its networks to count", || {
        let answer = http.bearer(&deploys).call(name, None, "f", json!([]));
        acceptance::wait::check(answer.status == 403, answer)
    });
    for path in ROUTES {
        knock(&http.bearer(&deploys), path).error(403, "unauthorized").says("this address");
    }
}

#[test]
fn the_answer_arrives_though_the_client_sends_on() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "upload", &fixtures::tiny());
    token(&cluster, &platform.name, "deploy");
    let http = cluster.http();
    let fields = [("platform", platform.name.as_str())];
    let (start, rest) = halves(&http, "/register", &fields, &vec![b'x'; 3_000_000]);
    for _ in 0..20 {
        let mut wire = http.wire();
        wire.send(&start).expect("sent");
        wire.send(&rest).expect("the server listens until all is sent");
        wire.read_answer("POST").expect("an answer").error(401, "unauthorized");
        assert!(wire.is_closed());
    }
}

#[test]
fn the_order_of_the_fields_lets_nobody_in() {
    let cluster = shared();
    let bundle = fixtures::tiny().tar_gz();
    let closed = Platform::register(&cluster, "upload", &fixtures::tiny());
    let open = unique("upload");
    token(&cluster, &closed.name, "deploy");
    let http = cluster.http();
    let post = |path: &str, body: &[u8]| http.request("POST", path, &[("Content-Type", &multipart_type())], body);
    let field = |name: &str| multipart_body(&[("platform", name)], None);
    let fields = |body: Vec<u8>| {
        let end = body.windows(4).rposition(|bytes| bytes == b"--\r\n").unwrap_or(body.len());
        let start = body[..end].windows(2).rposition(|bytes| bytes == b"\r\n").map_or(0, |at| at + 2);
        body[..start].to_vec()
    };
    for path in ROUTES {
        // Behind the archive; byte by byte before it, as it were; with something else in front that fills the first bytes.
        let archive = fields(multipart_body(&[], Some(("schema", &bundle))));
        post(path, &[archive, field(&closed.name)].concat()).error(401, "unauthorized");
        let long = "x".repeat(60_000);
        let (a, b) = (("a", long.as_str()), ("b", long.as_str()));
        let late = multipart_body(&[a, b, ("platform", &closed.name)], Some(("schema", &bundle)));
        post(path, &late).error(401, "unauthorized");
        // Two of them: the first counts, both times.
        let two = |names: [&str; 2]| multipart_body(&names.map(|name| ("platform", name)), Some(("schema", &bundle)));
        post(path, &two([&closed.name, &open])).error(401, "unauthorized");
    }
    // A platform of no name is none, whatever comes behind it.
    let empty = multipart_body(&[("platform", ""), ("platform", &closed.name)], Some(("schema", &bundle)));
    post("/register", &empty).error(400, "invalid_request");
}

#[test]
fn an_upload_takes_one_of_the_rate() {
    let cluster = shared();
    let bundle = fixtures::tiny().tar_gz();
    let platform = Platform::register(&cluster, "upload", &fixtures::tiny());
    let name = platform.name.as_str();
    let http = cluster.http().bearer(&token(&cluster, name, "deploy"));
    sql::done(cluster.control().execute("SELECT stonescriptdb.set_rate($1, 1, 1)", &[&name]));
    acceptance::eventually("the rate to count", || {
        let answer = http.get(&format!("/platform/{name}/schemas"));
        acceptance::wait::check(answer.status == 429, answer)
    });
    // There is one at a time: were it asked for at the first field and at the end, no upload would ever pass.
    acceptance::eventually("an upload to pass", || {
        let answer = http.register(name, None, &bundle);
        acceptance::wait::check(answer.status == 200, answer)
    });
}
