//! Values at the edge: every digit of a number, JSON byte for byte, zero bytes, lone surrogates, large strings, deep JSON.

use acceptance::{Answer, Cluster, Files, Platform, shared};
use serde_json::json;

fn echoes() -> Files {
    let mut functions = String::new();
    for (name, kind) in [
        ("int_", "int"),
        ("bigint_", "bigint"),
        ("numeric_", "numeric"),
        ("money2", "numeric(10,2)"),
        ("float8_", "float8"),
        ("real_", "real"),
        ("text_", "text"),
        ("json_", "json"),
        ("jsonb_", "jsonb"),
        ("texts", "text[]"),
        ("pair_", "pair"),
        ("jsons", "json[]"),
        ("bytea_", "bytea"),
        ("bool_", "boolean"),
    ] {
        functions += &format!("CREATE FUNCTION {name}(v {kind}) RETURNS {kind} LANGUAGE sql AS 'SELECT v';\n");
    }
    functions += "CREATE FUNCTION length_of(v text) RETURNS int LANGUAGE sql AS 'SELECT length(v)';
                  CREATE FUNCTION bytes_of(v json) RETURNS int LANGUAGE sql AS 'SELECT octet_length(v::text)';\n";
    Files::new()
        .file("types/pair.pssql", "CREATE TYPE pair AS (t text, j json);\n")
        .file("functions/f.pssql", functions)
}

#[test]
fn numbers_keep_every_digit_or_are_refused() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "digits", &echoes());
    let huge = format!("1{}", "0".repeat(400));
    for (function, param, wanted) in [
        ("numeric_", "1e400", huge.as_str()),
        ("numeric_", "1.000E-7", "0.0000001000"),
        ("numeric_", "0.10e1", "1.0"),
        ("numeric_", "-0", "0"),
        ("numeric_", "\" 7.10 \"", "7.10"),
        ("money2", "1.005", "1.005"),
        ("bigint_", "9223372036854775807", "9223372036854775807"),
        ("bigint_", "9223372036854775807.0", "9223372036854775807"),
        ("float8_", "0.1", "0.1"),
        ("float8_", "-0", "-0"),
        ("float8_", "-0.0", "-0"),
        ("float8_", "9007199254740993", "9.007199254740992e+15"),
        ("float8_", "12345678901234567890", "1.2345678901234567e+19"),
        ("float8_", "5e-324", "5e-324"),
        ("real_", "16777217", "1.6777216e+07"),
        ("text_", "1e400", "\"1e400\""),
        ("text_", "-0.00", "\"-0.00\""),
        ("json_", "1e400", "1e400"),
        ("json_", "-0.00e-5", "-0.00e-5"),
        ("jsonb_", "1e-3", "0.001"),
    ] {
        let answer = platform.call_text(function, &format!("[{param}]"));
        let rows = format!("{{\"rows\":[{{\"{function}\":{wanted}}}],");
        assert!(answer.status == 200 && answer.text.starts_with(&rows), "{function}({param}): {wanted}, but {answer}");
    }
    for (function, param, sqlstate) in [
        ("int_", "2147483648", "22003"),
        ("int_", "1e10", "22003"),
        ("bigint_", "12345678901234567890", "22003"),
        ("bigint_", "9223372036854775808", "22003"),
        ("bigint_", "1e19", "22P02"),
        ("int_", "1.5", "22P02"),
        ("int_", "1e-1", "22P02"),
        ("int_", "1e999999999", "22P02"),
        ("int_", "true", "22P02"),
        ("float8_", "1e400", "22003"),
        ("real_", "1e39", "22003"),
        ("numeric_", "1e200000", "22003"),
        ("jsonb_", "1e200000", "22003"),
    ] {
        let answer = platform.call_text(function, &format!("[{param}]"));
        answer.error(422, "query_failed").field("sqlstate", sqlstate);
    }
    // What is no JSON is no call.
    for param in ["01", "+1", "1.", ".5", "NaN", "Infinity", "0x10", "1_000", "--1"] {
        platform.call_text("numeric_", &format!("[{param}]")).error(400, "invalid_request");
    }
}

#[test]
fn json_passes_through_untouched() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "bytes", &echoes());
    for text in [
        r#"{"b": 1,"a" : [ 2.0 , {"b":null} ], "b":2}"#,
        "{\n\t\"x\" :\r\n1e400 }",
        r#"{"\u0061":"\u00e9\/\ud83d\ude42","é":"🙂"}"#,
        r#""text""#,
        r#"[ ]"#,
        "-0.0",
        r#"{"":{"":[]}}"#,
        // Only in jsonb and in text these are wrong.
        r#"{"a":"\u0000"}"#,
        r#"{"a":"\ud83d"}"#,
    ] {
        let starts = |answer: &Answer, value: &str| {
            assert!(answer.status == 200 && answer.text.starts_with(&format!("{{\"rows\":[{{{value}}}],")), "{answer}");
        };
        // A text is JSON in a text, so a JSON text goes in with its quotes.
        let param = if text.starts_with('"') { json!(text).to_string() } else { text.to_owned() };
        starts(&platform.call_text("json_", &format!("[ {param} ]")), &format!("\"json_\":{text}"));
        starts(&platform.call_text("json_", &format!("[{}]", json!(text))), &format!("\"json_\":{text}"));
        // Inside an array and a composite it is JSON as it stands.
        starts(&platform.call_text("jsons", &format!("[[{text},null]]")), &format!("\"jsons\":[{text},null]"));
        let answer = platform.call_text("pair_", &format!("[{{\"j\":{text}}}]"));
        if text.contains("\\u0000") || text.contains("\\ud83d\"") {
            // PostgreSQL reads a composite's JSON for its fields, and cannot read past these.
            answer.error(422, "query_failed");
        } else {
            starts(&answer, &format!("\"t\":null,\"j\":{text}"));
        }
    }
}

#[test]
fn zero_bytes_and_lone_surrogates_are_refused_where_postgresql_cannot_keep_them() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "nul", &echoes());
    let refused = |function: &str, param: &str| {
        let answer = platform.call_text(function, &format!("[{param}]")).error(422, "query_failed");
        let sqlstate = answer.str("sqlstate");
        assert!(["22021", "22P05", "22P02"].contains(&sqlstate), "{function}({param}): {answer}");
        assert!(!answer.str("message").is_empty());
    };
    for function in ["text_", "bytea_", "int_", "bool_"] {
        refused(function, r#""a\u0000b""#);
        refused(function, r#""\ud83d""#);
        refused(function, r#""\ude42\ud83d""#);
    }
    for text in [r#"a\u0000b"#, r#"\ud83d"#, r#"\ude42"#, r#"\ud83dx"#, r#"\ud83d\ud83d"#] {
        refused("jsonb_", &format!("{{\"k\":\"{text}\"}}"));
        refused("jsonb_", &format!("{{\"{text}\":1}}"));
        refused("texts", &format!("[\"{text}\"]"));
        refused("pair_", &format!("{{\"t\":\"{text}\"}}"));
        platform.call_text("text_", &format!("{{\"{text}\": 1}}")).client_error();
    }
    // A zero byte itself, or bytes that are not UTF-8, are no JSON at all.
    let http = cluster.http();
    for bytes in [&b"\0"[..], b"\xff", b"\xc0\x80", b"\xed\xa0\x80"] {
        let mut body = format!(r#"{{"platform":"{}","function":"text_","params":["a"#, platform.name).into_bytes();
        body.extend_from_slice(bytes);
        body.extend_from_slice(br#""]}"#);
        let answer = http.request("POST", "/call", &[("Content-Type", "application/json")], &body);
        answer.error(400, "invalid_request");
    }
}

#[test]
fn strings_of_many_megabytes_and_deep_json() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_request_body", "64MB")
        .setting("stonescriptdb.max_json_depth", "1000000")
        .start();
    let platform = Platform::register(&cluster, "big", &echoes());
    let text = "ä🙂\n".repeat(10 * 1024 * 1024 / 7);
    assert_eq!(platform.call("length_of", json!([text])).value(), text.chars().count());
    let answer = platform.call("text_", json!([text]));
    assert!(answer.value() == json!(text), "{} bytes", answer.text.len());
    let object = format!("{{\"k\": {}}}", json!(text));
    assert_eq!(platform.call_text("bytes_of", &format!("[{object}]")).value(), object.len());
    let list: Vec<u32> = (0..1_000_000).collect();
    let answer = platform.call("texts", json!([list]));
    assert_eq!(answer.value().as_array().map(Vec::len), Some(1_000_000));

    // So deep that PostgreSQL's own parser gives up, and deeper than is let through to it: neither must be the end of anything.
    for depth in [100, 1_000, 500_000, 2_000_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for function in ["json_", "jsonb_", "text_"] {
            let answer = platform.call_text(function, &format!("[{deep}]"));
            match answer.status {
                200 => assert!(depth <= 1_000 || function == "text_", "{depth}: {}", answer.status),
                _ => {
                    assert!(depth > 1_000, "{depth}: {answer}");
                    answer.client_error();
                }
            }
        }
    }
    assert_eq!(platform.call("int_", json!([1])).value(), 1);
}
