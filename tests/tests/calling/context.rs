//! What a function can know of the request it is called for.

use acceptance::{Cluster, Files, Platform, refused, shared, sql};
use serde_json::{Value, json};

const KNOWN: &str = "id text, platform text, tenant text, role text, method text, client text, headers text";

fn files() -> Files {
    let settings = ["id", "platform", "tenant", "role", "method", "client_address", "headers"]
        .map(|name| format!("current_setting('request.{name}', true)"))
        .join(", ");
    Files::new()
        .file("tables/item.pssql", "CREATE TABLE item (id int PRIMARY KEY);\n")
        .file(
            "functions/known.pssql",
            format!("CREATE FUNCTION known() RETURNS TABLE ({KNOWN}) LANGUAGE sql STABLE AS $$ SELECT {settings} $$;\n"),
        )
        .file(
            "functions/header.pssql",
            "CREATE FUNCTION header(name text) RETURNS text LANGUAGE sql AS\n\
             $$ SELECT current_setting('request.headers', true)::json ->> name $$;\n",
        )
        .file(
            "functions/pretend.pssql",
            "CREATE FUNCTION pretend(name text, is_local bool) RETURNS text LANGUAGE sql AS $$ SELECT set_config(name, 'x', is_local) $$;\n",
        )
        .file(
            "functions/fill.pssql",
            "CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS 'INSERT INTO item SELECT generate_series(1, 1000)';\n",
        )
        .file(
            "functions/in_parallel.pssql",
            "CREATE FUNCTION in_parallel() RETURNS TABLE (line text) LANGUAGE plpgsql AS $$\nBEGIN\n\
             PERFORM set_config(CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'debug_parallel_query'\n\
                 ELSE 'force_parallel_mode' END, 'on', true);\n\
             RETURN QUERY SELECT count(*)::text || ' rows' FROM item WHERE current_setting('request.tenant', true) = 'main'\n\
                 AND current_setting('request.headers', true) LIKE '%parallel%';\n\
             RETURN QUERY EXECUTE 'EXPLAIN ANALYZE SELECT count(*) FROM item WHERE current_setting(''request.tenant'', true) = ''main''';\n\
             END $$;\n",
        )
}

fn one_executor() -> Cluster {
    Cluster::builder().setting("stonescriptdb.max_workers_per_database", "1").start()
}

#[test]
fn a_function_knows_its_request() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "Knows", &files());
    platform.register_tenant("acme", &files()).ok();
    let http = cluster.http().header("X-Request-Id", "my-4711").header("X-Custom", "äöü \"quoted\\");
    let row = http.call(&platform.name, None, "known", json!([])).row();
    let expected = [
        ("id", "my-4711"),
        ("platform", &platform.name),
        ("tenant", "main"),
        ("role", ""),
        ("method", "POST"),
        ("client", "127.0.0.1"),
    ];
    for (name, value) in expected {
        assert_eq!(row[name], value, "{name} of {row}");
    }
    let headers: Value = serde_json::from_str(row["headers"].as_str().unwrap_or_default()).expect("JSON");
    assert_eq!(headers["x-custom"], "äöü \"quoted\\", "{headers}");
    assert_eq!(headers["content-type"], "application/json", "{headers}");
    let row = http.call(&platform.name, Some("acme"), "known", json!([])).row();
    assert_eq!(row["tenant"], "acme", "{row}");
    // Whatever the caller wrote, it is the name that was registered.
    platform.register_tenant("Globex-1", &files()).ok();
    for written in ["Globex-1", "globex_1"] {
        let row = http.call(&platform.name.to_lowercase(), Some(written), "known", json!([])).row();
        assert_eq!((&row["tenant"], &row["platform"]), (&json!("Globex-1"), &json!(platform.name)), "{row}");
    }
    let row = http.get(&format!("/call/{}/known?tenant_id=acme", platform.name)).row();
    assert_eq!(
        (&row["tenant"], &row["method"], &row["id"]),
        (&json!("acme"), &json!("GET"), &json!("my-4711")),
        "{row}"
    );
    let batch = json!({"platform": platform.name, "calls": [{"function": "known"}]});
    let row = http.post_json("/call/batch", &batch).ok().json["results"][0]["rows"][0].clone();
    assert_eq!((&row["tenant"], &row["id"]), (&json!("main"), &json!("my-4711")), "{row}");
}

#[test]
fn the_id_is_that_of_the_answer() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "sameid", &files());
    let answer = platform.call("known", json!([]));
    assert_eq!(answer.row()["id"].as_str(), answer.header("x-request-id"), "{answer}");
}

#[test]
fn headers_are_whole_but_for_what_proves_who_calls() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "headers", &files());
    let http = cluster.http().header("X-Twice", "one").header("x-twice", "two").header("Accept-Language", "de, en");
    let http = http.header("Cookie", "session=secret").header("Proxy-Authorization", "Basic secret").bearer("secret");
    let header = |name: &str| http.call(&platform.name, None, "header", json!([name])).value();
    assert_eq!(header("x-twice"), "one, two");
    assert_eq!(header("accept-language"), "de, en");
    for absent in ["authorization", "cookie", "proxy-authorization", "X-Twice", "nothing"] {
        assert_eq!(header(absent), Value::Null, "{absent}");
    }
    let all = http.call(&platform.name, None, "known", json!([])).row();
    assert!(!all["headers"].as_str().unwrap_or_default().contains("secret"), "{all}");
}

#[test]
fn over_sql_there_is_the_role() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "sqlknows", &files());
    let mut control = cluster.control();
    let row = sql::done(sql::call(&mut control, &platform.name, None, "known", &json!([])))["rows"][0].clone();
    let me = sql::text(&mut control, "SELECT session_user");
    let expected = json!({"id": "", "platform": platform.name, "tenant": "main", "role": me, "method": "", "client": "", "headers": ""});
    assert_eq!(row, expected);
}

#[test]
fn nothing_of_a_request_reaches_the_next_one() {
    let cluster = one_executor();
    let platform = Platform::register(&cluster, "noleak", &files());
    let http = cluster.http().header("X-Request-Id", "first").header("X-Secret", "s3cret");
    platform.call("fill", json!([])).ok();
    for function in ["known", "in_parallel"] {
        http.call(&platform.name, None, function, json!([])).ok();
        let mut control = cluster.control();
        let row = sql::done(sql::call(&mut control, &platform.name, None, "known", &json!([])))["rows"][0].clone();
        assert_eq!((&row["id"], &row["headers"], &row["method"]), (&json!(""), &json!(""), &json!("")), "{row}");
        let row = platform.call("known", json!([])).row();
        assert!(row["id"] != "first" && !row["headers"].as_str().unwrap_or_default().contains("s3cret"), "{row}");
    }
}

#[test]
fn a_function_cannot_pretend_another_request() {
    let cluster = one_executor();
    let platform = Platform::register(&cluster, "pretend", &files());
    for name in ["request.id", "request.tenant", "request.headers", "request.role"] {
        for is_local in [true, false] {
            let answer = platform.call("pretend", json!([name, is_local])).error(500, "query_failed");
            answer.field("sqlstate", "55P02");
        }
    }
    // Other names are as free as ever.
    assert_eq!(platform.call("pretend", json!(["request.jwt.claims", true])).value(), "x");
    assert_eq!(platform.call("known", json!([])).row()["tenant"], "main");
}

#[test]
fn parallel_workers_know_it_too() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "parallel", &files());
    platform.call("fill", json!([])).ok();
    let http = cluster.http().header("X-Custom", "parallel");
    let answer = http.call(&platform.name, None, "in_parallel", json!([])).ok();
    answer.clone().says("1000 rows").says("Workers Launched: 1").says("Gather");
}

#[test]
fn ordinary_sessions_use_the_names_as_they_like() {
    let cluster = shared();
    let mut session = cluster.control();
    assert_eq!(sql::text(&mut session, "SELECT current_setting('request.id', true)"), "");
    sql::done(session.batch_execute("SET request.headers = '{\"a\": 1}'"));
    assert_eq!(sql::text(&mut session, "SELECT current_setting('request.headers')"), "{\"a\": 1}");
    assert_eq!(sql::text(&mut session, "SELECT set_config('request.method', 'GET', false)"), "GET");
    refused(session.batch_execute("SET stonescriptdb.request = 1")).sqlstate("42602");
}
