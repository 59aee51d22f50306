//! traceparent and tracestate: what a function knows of them.

use acceptance::{Cluster, Files, Platform, refused, shared};
use serde_json::{Value, json};

use super::Line;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn files() -> Files {
    acceptance::fixtures::tiny()
        .file(
            "functions/trace.pssql",
            "CREATE FUNCTION trace() RETURNS TABLE (parent text, state text) STABLE LANGUAGE sql AS\n\
             $$ SELECT current_setting('request.traceparent', true), current_setting('request.tracestate', true) $$;\n",
        )
        .file("tables/item.pssql", "CREATE TABLE item (id int);\n")
        .file(
            "functions/in_parallel.pssql",
            "CREATE FUNCTION in_parallel() RETURNS bigint LANGUAGE plpgsql AS $$\nBEGIN\n\
             PERFORM set_config(CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'debug_parallel_query'\n\
                 ELSE 'force_parallel_mode' END, 'on', true);\n\
             RETURN (SELECT count(*) FROM pg_class WHERE current_setting('request.traceparent', true) LIKE '00-4bf%'); END $$;\n",
        )
}

/// Headers, and what is known of the trace.
type Case<'a> = (&'a [(&'a str, &'a str)], (&'a str, &'a str));

fn known(row: &Value) -> (&str, &str) {
    (row["parent"].as_str().expect("a text"), row["state"].as_str().expect("a text"))
}

#[test]
fn a_function_knows_the_trace_if_it_is_one() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "traced", &files());
    let mut line = Line::direct(&cluster, &platform);
    let cases: [Case; 7] = [
        (&[], ("", "")),
        (&[("traceparent", PARENT)], (PARENT, "")),
        (
            &[("TraceParent", PARENT), ("tracestate", "congo=t61"), ("tracestate", "rojo=1")],
            (PARENT, "congo=t61,rojo=1"),
        ),
        (&[("traceparent", PARENT), ("tracestate", "no state")], (PARENT, "")),
        (&[("tracestate", "congo=t61")], ("", "")),
        (&[("traceparent", "00-0-0-01"), ("tracestate", "congo=t61")], ("", "")),
        (&[("traceparent", PARENT), ("traceparent", PARENT)], ("", "")),
    ];
    for (headers, expected) in cases {
        // By an executor, and by the server worker.
        assert_eq!(known(&line.call("trace", json!([]), headers).row()), expected, "{headers:?}");
        let http = headers.iter().fold(cluster.http(), |http, (name, value)| http.header(name, value));
        assert_eq!(known(&http.call(&platform.name, None, "trace", json!([])).row()), expected, "{headers:?}");
        assert_eq!(known(&http.get(&format!("/call/{}/trace", platform.name)).row()), expected, "{headers:?}");
    }
    let http = cluster.http().header("traceparent", PARENT);
    assert!(http.call(&platform.name, None, "in_parallel", json!([])).value().as_i64() > Some(0));
}

#[test]
fn over_sql_there_is_none_and_it_cannot_be_set() {
    let cluster = Cluster::start();
    let files = files().file(
        "functions/pretend.pssql",
        "CREATE FUNCTION pretend() RETURNS text LANGUAGE sql AS $$ SELECT set_config('request.traceparent', 'x', false) $$;\n",
    );
    let platform = Platform::register(&cluster, "untraced", &files);
    let mut control = cluster.control();
    let answer = acceptance::sql::call(&mut control, &platform.name, None, "trace", &json!([])).expect("an answer");
    assert_eq!(known(&answer["rows"][0]), ("", ""));
    platform.call("pretend", json!([])).field("sqlstate", "55P02");
    let pretend = "SELECT stonescriptdb.call($1, 'pretend')";
    refused(control.query(pretend, &[&platform.name])).sqlstate("55P02");
}
