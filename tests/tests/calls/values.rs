//! Values: JSON to the declared type of a parameter and back, without a digit lost.

use std::fmt::Write;

use acceptance::json::{compact, raw_rows};
use acceptance::{Cluster, Files, Platform, fixtures, shared};
use serde_json::{Value, json};

/// Type of the parameter and of the result, the parameter as JSON text, the result as JSON text, to the digit.
const ECHOES: &[(&str, &str, &str)] = &[
    // Whole numbers.
    ("smallint", "-32768", "-32768"),
    ("int", "2147483647", "2147483647"),
    ("int", "\"42\"", "42"),
    ("bigint", "9223372036854775807", "9223372036854775807"),
    ("bigint", "-9223372036854775808", "-9223372036854775808"),
    ("bigint", "9007199254740993", "9007199254740993"),
    ("bigint", "\"9007199254740993\"", "9007199254740993"),
    ("oid", "4294967295", "\"4294967295\""),
    // Numbers with a fraction.
    ("numeric", "12345678901234567890.123456789012345678901", "12345678901234567890.123456789012345678901"),
    ("numeric", "0.10", "0.10"),
    ("numeric", "1.50", "1.50"),
    ("numeric(10,2)", "1.50", "1.50"),
    ("numeric", "-0.000000000000000000000000000001", "-0.000000000000000000000000000001"),
    ("numeric", "\"100000000000000000000000000000000000000000\"", "100000000000000000000000000000000000000000"),
    ("numeric", "1e30", "1000000000000000000000000000000"),
    ("numeric", "\"NaN\"", "\"NaN\""),
    ("real", "1.5", "1.5"),
    ("float8", "0.1", "0.1"),
    ("float8", "1e300", "1e+300"),
    ("float8", "17", "17"),
    ("float8", "\"Infinity\"", "\"Infinity\""),
    ("float8", "\"-Infinity\"", "\"-Infinity\""),
    ("real", "\"NaN\"", "\"NaN\""),
    ("money", "\"12.34\"", "\"$12.34\""),
    // Text.
    ("text", "\"\"", "\"\""),
    ("text", r#""It's \"quoted\" \\ back\nline\ttab""#, r#""It's \"quoted\" \\ back\nline\ttab""#),
    ("text", r#""é ü 漢字 🙂""#, r#""é ü 漢字 🙂""#),
    ("text", r#""\u00e9\ud83d\ude42""#, r#""é🙂""#),
    ("text", r#""'); DROP TABLE x; --""#, r#""'); DROP TABLE x; --""#),
    ("text", r#""$1 {} [] null""#, r#""$1 {} [] null""#),
    ("text", "5", "\"5\""),
    ("text", "1.50", "\"1.50\""),
    ("text", "12345678901234567890123", "\"12345678901234567890123\""),
    ("text", "true", "\"true\""),
    ("varchar(255)", "\"abc\"", "\"abc\""),
    ("char(3)", "\"abc\"", "\"abc\""),
    ("name", "\"pg_class\"", "\"pg_class\""),
    ("\"char\"", "\"x\"", "\"x\""),
    ("xml", "\"<a>b</a>\"", "\"<a>b</a>\""),
    // Truth.
    ("boolean", "true", "true"),
    ("boolean", "false", "false"),
    ("boolean", "\"t\"", "true"),
    // Time.
    ("date", "\"2024-02-29\"", "\"2024-02-29\""),
    ("time", "\"23:59:59.5\"", "\"23:59:59.5\""),
    ("timestamp", "\"2024-01-02T03:04:05.678\"", "\"2024-01-02T03:04:05.678\""),
    ("timestamptz", "\"2024-01-02T03:04:05+02:00\"", "\"2024-01-02T01:04:05+00:00\""),
    ("timestamptz", "\"infinity\"", "\"infinity\""),
    ("interval", "\"1 day 02:00:00\"", "\"1 day 02:00:00\""),
    // Everything else with an input function.
    ("uuid", "\"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\"", "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\""),
    ("inet", "\"192.168.0.1/24\"", "\"192.168.0.1/24\""),
    ("cidr", "\"10.0.0.0/8\"", "\"10.0.0.0/8\""),
    ("macaddr", "\"08:00:2b:01:02:03\"", "\"08:00:2b:01:02:03\""),
    ("bytea", r#""\\x00ff10""#, r#""\\x00ff10""#),
    ("bit varying", "\"10110\"", "\"10110\""),
    ("int4range", "\"[1,5)\"", "\"[1,5)\""),
    ("tstzrange", "\"empty\"", "\"empty\""),
    ("int4multirange", "\"{[1,3),[5,7)}\"", "\"{[1,3),[5,7)}\""),
    ("point", "\"(1,2)\"", "\"(1,2)\""),
    ("tsvector", "\"'cat' 'dog'\"", "\"'cat' 'dog'\""),
    ("regclass", "\"pg_class\"", "\"pg_class\""),
    ("mood", "\"so so\"", "\"so so\""),
    ("positive", "7", "7"),
    ("email", "\"a@b\"", "\"a@b\""),
    // JSON itself: from a value, and from a text that is JSON.
    ("jsonb", r#"{"a":[1,2.50,null,true,"x"]}"#, r#"{"a":[1,2.50,null,true,"x"]}"#),
    ("jsonb", r#""{\"a\": 1}""#, r#"{"a":1}"#),
    ("jsonb", r#""\"text\"""#, r#""text""#),
    ("jsonb", "[]", "[]"),
    ("jsonb", "12345678901234567890.10", "12345678901234567890.10"),
    ("jsonb", "false", "false"),
    ("json", r#"{"b":1,"a":{"b":2,"a":1.00}}"#, r#"{"b":1,"a":{"b":2,"a":1.00}}"#),
    ("json", r#""[1, 2]""#, "[1,2]"),
    // Arrays.
    ("int[]", "[1,null,3]", "[1,null,3]"),
    ("int[]", "[]", "[]"),
    ("int[]", "\"{1,2}\"", "[1,2]"),
    ("int[]", "[[1,2],[3,4]]", "[[1,2],[3,4]]"),
    ("bigint[]", "[9223372036854775807]", "[9223372036854775807]"),
    ("numeric[]", "[1.10,12345678901234567890.5]", "[1.10,12345678901234567890.5]"),
    ("text[]", r#"["a,b","{c}","d\"e","","NULL",null,"\\"]"#, r#"["a,b","{c}","d\"e","","NULL",null,"\\"]"#),
    ("text[]", "[1,true,\"x\"]", r#"["1","true","x"]"#),
    ("mood[]", r#"["sad","so so"]"#, r#"["sad","so so"]"#),
    ("jsonb[]", r#"[{"a":1},[2],null]"#, r#"[{"a":1},[2],null]"#),
    ("uuid[]", r#"["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]"#, r#"["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]"#),
    ("pair[]", r#"[{"a":1,"b":"x"},{"a":null,"b":"y, (z)"}]"#, r#"[{"a":1,"b":"x"},{"a":null,"b":"y, (z)"}]"#),
];

fn echo_name(i: usize) -> String {
    format!("echo{i:03}")
}

/// One echoing function for each line of [`ECHOES`], all in one file, on types of our own.
fn echoes() -> Files {
    let mut functions = String::new();
    for (i, (type_name, _, _)) in ECHOES.iter().enumerate() {
        let name = echo_name(i);
        writeln!(
            functions,
            "CREATE FUNCTION {name}(v {type_name}) RETURNS {type_name} LANGUAGE sql AS $$ SELECT v $$;"
        )
        .expect("memory");
    }
    Files::new()
        .file(
            "types/all.pssql",
            "CREATE TYPE mood AS ENUM ('sad', 'so so', 'happy');\nCREATE TYPE pair AS (a int, b text);\n\
             CREATE TYPE nest AS (p pair, many pair[], n numeric);\nCREATE DOMAIN positive AS int CHECK (VALUE > 0);\n\
             CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');\n",
        )
        .file("functions/echoes.pssql", functions)
        .file(
            "functions/composites.pssql",
            "CREATE FUNCTION echo_pair(v pair) RETURNS pair LANGUAGE sql AS $$ SELECT v $$;\n\
             CREATE FUNCTION wrap_pair(v pair) RETURNS TABLE (n int, wrapped pair) LANGUAGE sql AS $$ SELECT 1, v $$;\n\
             CREATE FUNCTION wrap_nest(v nest) RETURNS TABLE (wrapped nest, n int) LANGUAGE sql AS $$ SELECT v, 1 $$;\n",
        )
        .file(
            "functions/types_seen.pssql",
            "CREATE FUNCTION is_sql_null(v jsonb) RETURNS boolean LANGUAGE sql AS $$ SELECT v IS NULL $$;\n\
             CREATE FUNCTION length_of(v text) RETURNS int LANGUAGE sql AS $$ SELECT length(v) $$;\n",
        )
}

#[test]
fn values_go_in_and_come_back_to_the_digit() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "echo", &echoes());
    let mut wrong = String::new();
    for (i, (type_name, param, wanted)) in ECHOES.iter().enumerate() {
        let name = echo_name(i);
        let answer = platform.call_text(&name, &format!("[{param}]"));
        let got = if answer.status == 200 { raw_rows(&answer.text)[0][&name].clone() } else { answer.text.clone() };
        if !same(&got, wanted) {
            writeln!(wrong, "{type_name} from {param}: {wanted} expected, but: {got}").expect("memory");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The same JSON: the same digits in numbers, the same characters in strings, however they are escaped.
fn same(got: &str, wanted: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    let digits = |text: &str| {
        let mut in_string = false;
        let outside = |c: &char| {
            in_string ^= *c == '"';
            !in_string && c.is_ascii_digit()
        };
        // Escaped quotes would fool this: then the values alone are compared.
        if text.contains('\\') { String::new() } else { text.chars().filter(outside).collect() }
    };
    compact(got) == compact(wanted)
        || parse(got).is_some() && parse(got) == parse(wanted) && digits(got) == digits(wanted)
}

#[test]
fn null_is_null_in_every_type() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "nulls", &echoes());
    let mut seen = std::collections::BTreeSet::new();
    for (i, (type_name, _, _)) in ECHOES.iter().enumerate() {
        if seen.insert(type_name) {
            let answer = platform.call(&echo_name(i), json!([null]));
            assert_eq!(answer.value(), Value::Null, "{type_name}: {answer}");
        }
    }
}

#[test]
fn composites_are_objects_and_a_composite_result_is_its_columns() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "comp", &echoes());
    let pair = json!({"a": 7, "b": "x, \"y\" (z)"});
    assert_eq!(platform.call("echo_pair", json!([pair])).row(), pair);
    assert_eq!(platform.call("echo_pair", json!({"v": pair})).row(), pair);
    assert_eq!(platform.call("wrap_pair", json!([pair])).row(), json!({"n": 1, "wrapped": pair}));
    // A field that is missing is null; one that the type does not have is the caller's mistake.
    assert_eq!(
        platform.call("wrap_pair", json!([{"b": "only"}])).row(),
        json!({"n": 1, "wrapped": {"a": null, "b": "only"}})
    );
    let nest = r#"{"p":{"a":1,"b":"x"},"many":[{"a":2,"b":"y"},null],"n":12345678901234567890.50}"#;
    let answer = platform.call_text("wrap_nest", &format!("[{nest}]"));
    assert_eq!(raw_rows(&answer.ok().text)[0]["wrapped"], nest);
}

#[test]
fn whole_numbers_in_any_spelling_go_into_integers() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "spell", &echoes());
    let (int, bigint) = (echo_of("int"), echo_of("bigint"));
    for (spelling, wanted) in [("2.0", "2"), ("1e2", "100"), ("-0", "0")] {
        for function in [&int, &bigint] {
            let answer = platform.call_text(function, &format!("[{spelling}]"));
            assert_eq!(answer.raw_value(), wanted, "{function}({spelling}): {answer}");
        }
    }
}

fn echo_of(type_name: &str) -> String {
    echo_name(ECHOES.iter().position(|(name, _, _)| *name == type_name).expect("it is in the list"))
}

#[test]
fn what_does_not_fit_is_the_callers_mistake() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "misfit", &echoes());
    for (type_name, param) in [
        ("int", json!("twelve")),
        ("int", json!(2_147_483_648_i64)),
        ("smallint", json!(40_000)),
        ("boolean", json!("perhaps")),
        ("date", json!("2024-02-30")),
        ("timestamptz", json!("yesterday noonish")),
        ("uuid", json!("not-a-uuid")),
        ("mood", json!("angry")),
        ("positive", json!(-1)),
        ("email", json!("nobody")),
        ("jsonb", json!("not json")),
        ("inet", json!("1.2.3.4.5")),
        ("text", json!("nul \u{0} inside")),
    ] {
        let answer = platform.call(&echo_of(type_name), json!([param]));
        let answer = answer.error(422, "query_failed");
        let sqlstate = answer.str("sqlstate");
        assert!(sqlstate.starts_with("22") || sqlstate == "23514", "{type_name} from {param}: {answer}");
    }
    // A list or an object where neither belongs is never taken silently.
    for (type_name, param) in
        [("int", json!([1])), ("int", json!({"a": 1})), ("boolean", json!([])), ("date", json!(true))]
    {
        platform.call(&echo_of(type_name), json!([param])).client_error();
    }
}

#[test]
fn an_argument_may_be_large() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "large", &echoes());
    let text = "äöü ".repeat(150_000);
    assert_eq!(platform.call("length_of", json!([text])).value(), 600_000);
    assert_eq!(platform.call(&echo_of("text"), json!([text])).value(), json!(text));
}

#[test]
fn answers_do_not_depend_on_the_servers_settings() {
    let cluster = Cluster::builder()
        .setting("timezone", "Asia/Kolkata")
        .setting("datestyle", "SQL, DMY")
        .setting("intervalstyle", "sql_standard")
        .setting("bytea_output", "escape")
        .setting("extra_float_digits", "-10")
        .setting("standard_conforming_strings", "off")
        .start();
    let platform = Platform::register(&cluster, "odd", &echoes());
    for (type_name, param, wanted) in [
        ("timestamptz", r#""2024-01-02T03:04:05+02:00""#, r#""2024-01-02T01:04:05+00:00""#),
        ("date", r#""2024-02-03""#, r#""2024-02-03""#),
        ("interval", r#""1 day 02:00:00""#, r#""1 day 02:00:00""#),
        ("bytea", r#""\\x00ff10""#, r#""\\x00ff10""#),
        ("float8", "0.30000000000000004", "0.30000000000000004"),
    ] {
        let answer = platform.call_text(&echo_of(type_name), &format!("[{param}]"));
        assert_eq!(answer.raw_value(), wanted, "{type_name}: {answer}");
    }
}

#[test]
fn many_rows_come_whole() {
    let cluster = shared();
    let files = fixtures::tiny().file(
        "functions/series.pssql",
        "CREATE FUNCTION series(n int) RETURNS TABLE (i int, label text) LANGUAGE sql AS $$ SELECT g, 'row ' || g FROM generate_series(1, n) g $$;\n",
    );
    let platform = Platform::register(&cluster, "rows", &files);
    let rows = platform.call("series", json!([50_000])).rows();
    assert_eq!(rows.len(), 50_000);
    assert_eq!(rows[49_999], json!({"i": 50_000, "label": "row 50000"}));
    assert_eq!(platform.call("series", json!([0])).rows(), Vec::<Value>::new());
}
