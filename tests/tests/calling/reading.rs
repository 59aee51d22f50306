//! Calls by GET: only what reads, with a tag for what has not changed.

use acceptance::wait::check;
use acceptance::{Answer, Cluster, Files, Http, Platform, eventually, shared};
use serde_json::{Value, json};

fn files() -> Files {
    let function =
        |name: &str, rest: &str| (format!("functions/{name}.pssql"), format!("CREATE FUNCTION {name}{rest};\n"));
    let functions = [
        (
            "item",
            "(p_id int) RETURNS TABLE (id int, name text) LANGUAGE sql STABLE AS 'SELECT i.id, i.name FROM item i WHERE i.id = p_id'",
        ),
        ("items", "() RETURNS SETOF item LANGUAGE sql STABLE AS 'SELECT * FROM item ORDER BY id'"),
        ("add", "(id int, name text) RETURNS int LANGUAGE sql AS 'INSERT INTO item VALUES (id, name) RETURNING id'"),
        ("add_slyly", "(id int) RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN add(id, 'sly'); END $$"),
        (
            "open_up",
            "() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM set_config('transaction_read_only', 'off', true); RETURN add(99, 'open'); END $$",
        ),
        ("twice", "(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i * 2'"),
        ("tenants", "(tenant_id text) RETURNS text LANGUAGE sql STABLE AS 'SELECT tenant_id'"),
        (
            "kinds",
            "(t text DEFAULT 'none', a int[] DEFAULT '{}', j jsonb DEFAULT '{}', d date DEFAULT NULL, b bool DEFAULT NULL)\n\
             RETURNS TABLE (t text, a int[], j jsonb, d date, b bool) LANGUAGE sql STABLE AS 'SELECT $1, $2, $3, $4, $5'",
        ),
        (
            "nap",
            "(seconds float8) RETURNS float8 LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM pg_sleep(seconds); RETURN seconds; END $$",
        ),
    ];
    let files = Files::new()
        .file("tables/item.pssql", "CREATE TABLE item (id int PRIMARY KEY, name text);\n")
        .file("functions/procedure.pssql", "CREATE PROCEDURE procedure() LANGUAGE sql AS 'SELECT 1';\n");
    functions.iter().fold(files, |files, (name, rest)| {
        let (path, text) = function(name, rest);
        files.file(&path, text)
    })
}

#[track_caller]
fn get(platform: &Platform, path: &str) -> Answer {
    platform.cluster.http().get(&format!("/call/{}/{path}", platform.name))
}

#[test]
fn parameters_come_by_name_as_text() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "getkinds", &files());
    platform.call("add", json!([1, "one"])).ok();
    assert_eq!(get(&platform, "item?p_id=1").row(), json!({"id": 1, "name": "one"}));
    assert_eq!(get(&platform, "items").rows().len(), 1);
    assert_eq!(get(&platform, "public.twice?i=21").value(), 42);
    let none = json!({"t": "none", "a": [], "j": {}, "d": null, "b": null});
    assert_eq!(get(&platform, "kinds").row(), none);
    let all = get(&platform, "kinds?t=a+b%26c%22%5C%C3%A4&a=%7B1,2%7D&j=%7B%22x%22:[1]%7D&d=2024-02-29&b=yes").row();
    assert_eq!(all, json!({"t": "a b&c\"\\ä", "a": [1, 2], "j": {"x": [1]}, "d": "2024-02-29", "b": true}));
    assert_eq!(get(&platform, "kinds?t=").row()["t"], "");
    get(&platform, "item?p_id=one").error(422, "query_failed").field("sqlstate", "22P02");
    get(&platform, "kinds?t=%00").error(422, "query_failed");
    get(&platform, "item").error(404, "function_not_found");
    get(&platform, "item?id=1").error(404, "function_not_found");
    get(&platform, "item?p_id=1&p_id=2").error(400, "invalid_request").says("p_id");
    get(&platform, "nothing").error(404, "function_not_found");
    get(&platform, "%FF").client_error();
    cluster.http().get("/call/nobody/item?p_id=1").error(404, "platform_not_found");
}

#[test]
fn some_names_say_which_database_is_meant() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "gettenant", &files());
    platform.register_tenant("acme", &files()).ok();
    platform.call_tenant("acme", "add", json!([7, "acme's"])).ok();
    assert_eq!(get(&platform, "items").rows(), Vec::<Value>::new());
    for name in ["tenant_id", "uuid"] {
        assert_eq!(get(&platform, &format!("item?p_id=7&{name}=acme")).row()["name"], "acme's");
    }
    get(&platform, "items?tenant_id=nobody").error(404, "database_not_found");
    get(&platform, "items?schema_name=nothing").error(404, "schema_not_found");
    get(&platform, "items?tenant_id=acme&uuid=acme").error(400, "invalid_request");
    // A parameter of such a name is reached by POST.
    get(&platform, "tenants?tenant_id=acme").error(404, "function_not_found");
    assert_eq!(platform.call("tenants", json!({"tenant_id": "acme"})).value(), "acme");
}

#[test]
fn only_what_reads_is_called() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "getreads", &files());
    for path in ["add?id=1&name=x", "procedure"] {
        let answer = get(&platform, path).error(405, "method_not_allowed").says("POST");
        assert_eq!(answer.header("allow"), Some("POST"), "{answer}");
    }
    let answer = get(&platform, "add_slyly?id=1").error(405, "query_failed").field("sqlstate", "25006");
    assert_eq!(answer.header("allow"), Some("POST"), "{answer}");
    get(&platform, "open_up").error(500, "query_failed").field("sqlstate", "25001");
    assert_eq!(get(&platform, "items").rows(), Vec::<Value>::new(), "nothing was written");
    // By POST the same function writes, and the executor is none the worse for having read only.
    assert_eq!(platform.call("add_slyly", json!([1])).value(), 1);
    assert_eq!(get(&platform, "items").rows().len(), 1);
    let head = cluster.http().request("HEAD", &format!("/call/{}/items", platform.name), &[], b"").ok();
    assert_eq!(head.text, "");
    let wrong = cluster.http().request("PUT", &format!("/call/{}/items", platform.name), &[], b"");
    wrong.error(405, "method_not_allowed");
}

#[test]
fn a_tag_saves_sending_it_again() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "gettag", &files());
    platform.call("add", json!([1, "one"])).ok();
    let path = format!("/call/{}/items", platform.name);
    let tag = |http: &Http| http.get(&path).ok().header("etag").expect("a tag").to_owned();
    let first = tag(&cluster.http());
    assert!(first.starts_with('"') && first.ends_with('"') && first.len() > 10, "{first}");
    assert_eq!(tag(&cluster.http()), first, "the time it took is not part of it");
    let asked = |known: &str| cluster.http().header("If-None-Match", known).get(&path);
    for known in [first.clone(), format!("W/{first}"), format!("\"other\", {first}"), "*".to_owned()] {
        let answer = asked(&known).expect(304);
        assert_eq!((answer.text.as_str(), answer.header("etag")), ("", Some(first.as_str())), "{answer}");
        assert!(answer.header("x-request-id").is_some(), "{answer}");
    }
    asked("\"other\"").ok();
    platform.call("add", json!([2, "two"])).ok();
    let answer = asked(&first).ok();
    assert_eq!(answer.rows().len(), 2);
    assert!(answer.header("etag").is_some_and(|tag| tag != first), "{answer}");
    let failed = cluster.http().header("If-None-Match", "*").get(&format!("/call/{}/item?p_id=x", platform.name));
    failed.error(422, "query_failed");
}

#[test]
fn access_is_as_for_other_calls() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "gettoken", &files());
    let body = json!({"platform": platform.name});
    let token = cluster.http().admin().post_json("/admin/platform-token", &body).ok().str("token").to_owned();
    get(&platform, "items").error(401, "unauthorized");
    let path = format!("/call/{}/items", platform.name);
    cluster.http().bearer(&token).get(&path).ok();
    let batch = json!({"platform": platform.name, "calls": []});
    cluster.http().post_json("/call/batch", &batch).error(401, "unauthorized");
    cluster.http().bearer(&token).post_json("/call/batch", &batch).ok();
    let closed = Cluster::builder().setting("stonescriptdb.allowed_networks", "10.0.0.0/8").without_wait().start();
    eventually("the service to refuse", || {
        let answer = closed.http().try_request("GET", &path, &[], b"").map_err(|error| error.to_string())?;
        check(answer.status == 403 && answer.code() == "unauthorized", &answer)
    });
}

#[test]
fn its_time_is_limited_too() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "gettime", &files());
    let path = format!("/call/{}/nap?seconds=200", platform.name);
    let http = cluster.http();
    http.header("X-Timeout-Ms", "200").get(&path).error(504, "query_failed").field("sqlstate", "57014");
    http.header("X-Timeout-Ms", "soon").get(&path).error(400, "invalid_request");
}
