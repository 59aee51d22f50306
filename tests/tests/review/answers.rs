//! What calls answer: statuses, ranges of dates; and settings.

use std::fmt::Write;

use acceptance::{Cluster, Files, Platform, refused, shared, sql};
use serde_json::json;

#[test]
fn a_sqlstate_pt_below_400_is_an_error_of_the_server() {
    const RAISED: [(&str, u16); 8] = [
        ("PT200", 500),
        ("PT204", 500),
        ("PT304", 500),
        ("PT101", 500),
        ("PT100", 500),
        ("PT399", 500),
        ("PT418", 418),
        ("PT599", 599),
    ];
    let cluster = shared();
    let mut functions = String::new();
    for (sqlstate, _) in RAISED {
        let name = sqlstate.to_lowercase();
        writeln!(
            functions,
            "CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as {name}' USING ERRCODE = '{sqlstate}'; END $$;"
        )
        .expect("memory");
    }
    let platform = Platform::register(&cluster, "below", &Files::new().file("functions/raise.pssql", functions));
    for (sqlstate, status) in RAISED {
        let name = sqlstate.to_lowercase();
        let answer = platform.call(&name, json!([])).error(status, "query_failed").field("sqlstate", sqlstate);
        answer.says(&format!("as {name}"));
    }
}

#[test]
fn a_range_of_dates_does_not_depend_on_the_servers_datestyle() {
    let cluster = Cluster::builder().setting("DateStyle", "German").start();
    assert!(sql::text(&mut cluster.control(), "SHOW DateStyle").starts_with("German"), "the test would show nothing");
    let files = Files::new().file(
        "functions/spans.pssql",
        "CREATE FUNCTION spans(OUT day date, OUT days daterange, OUT times tsrange, OUT zoned tstzrange, OUT several datemultirange)
             LANGUAGE sql SET timezone = 'UTC' AS
         $$ SELECT '2024-02-03'::date, daterange('2024-02-03', '2024-05-06'), tsrange('2024-02-03 04:05:06', '2024-05-06 07:08:09'),
                   tstzrange('2024-02-03 04:05:06+00', NULL), datemultirange(daterange('2024-02-03', '2024-05-06')) $$;\n",
    );
    let platform = Platform::register(&cluster, "german", &files);
    let row = platform.call("spans", json!([])).row();
    assert_eq!(row["day"], "2024-02-03", "{row}");
    assert_eq!(row["days"], "[2024-02-03,2024-05-06)", "{row}");
    assert_eq!(row["times"], r#"["2024-02-03 04:05:06","2024-05-06 07:08:09")"#, "{row}");
    let zoned = row["zoned"].as_str().unwrap_or_default();
    assert!(zoned.starts_with(r#"["2024-02-03 "#), "{row}");
    assert_eq!(row["several"], "{[2024-02-03,2024-05-06)}", "{row}");
}

#[test]
fn max_queue_is_at_least_one() {
    let cluster = shared();
    let mut control = cluster.control();
    refused(control.batch_execute("ALTER SYSTEM SET stonescriptdb.max_queue = 0")).sqlstate("22023");
    sql::done(control.batch_execute("ALTER SYSTEM SET stonescriptdb.max_queue = 1"));
    sql::done(control.batch_execute("ALTER SYSTEM RESET stonescriptdb.max_queue"));
}

#[test]
fn functions_of_one_name_in_two_schemas_are_both_callable() {
    let cluster = shared();
    let files = Files::new()
        .file("tables/schema_s.pssql", "CREATE SCHEMA s;\n")
        .file("functions/z.pssql", "CREATE FUNCTION z() RETURNS int LANGUAGE sql AS 'SELECT 1';\n")
        .file("functions/s_z.pssql", "CREATE FUNCTION s.z() RETURNS int LANGUAGE sql AS 'SELECT 2';\n");
    let platform = Platform::register(&cluster, "both", &files);
    let results = || ["z", "s.z"].map(|name| platform.call(name, json!([])).value());
    assert_eq!(results(), [1, 2]);
    platform.register_again(&files).ok();
    assert_eq!(results(), [1, 2], "after a second register");
    let files = files.edit("functions/s_z.pssql", "SELECT 2", "SELECT 22");
    platform.migrate(&files).ok();
    assert_eq!(results(), [1, 22], "after the other schema's changed");
    let files = files.edit("functions/z.pssql", "SELECT 1", "SELECT 11");
    platform.migrate(&files).ok();
    assert_eq!(results(), [11, 22], "after public's changed");
    // And one that leaves the bundle does not take the other with it.
    platform.migrate(&files.clone().without("functions/z.pssql")).ok();
    platform.call("z", json!([])).error(404, "function_not_found");
    assert_eq!(platform.call("s.z", json!([])).value(), 22);
    platform.migrate(&files.without("functions/s_z.pssql")).ok();
    platform.call("s.z", json!([])).error(404, "function_not_found");
    assert_eq!(platform.call("z", json!([])).value(), 11);
}
