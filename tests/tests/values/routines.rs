//! Which routine a call means, and what of its parameters comes back: defaults in the middle, VARIADIC, overloads, INOUT, procedures.

use acceptance::{Files, Platform, shared};
use serde_json::{Value, json};

fn check(platform: &Platform, cases: &[(&str, Value, Value)]) {
    let mut wrong = Vec::new();
    for (function, params, rows) in cases {
        let answer = platform.call(function, params.clone());
        if answer.status != 200 || answer.json["rows"] != *rows {
            wrong.push(format!("{function}({params}): {rows} expected, but: {}", answer.text));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn defaults_may_be_skipped_by_name() {
    let cluster = shared();
    let files = Files::new().file(
        "functions/defaults.pssql",
        "CREATE FUNCTION four(a int, b int DEFAULT 2, c int DEFAULT 3, d int DEFAULT 4) RETURNS int LANGUAGE sql
             AS 'SELECT a * 1000 + b * 100 + c * 10 + d';
         CREATE FUNCTION all_default(a int DEFAULT 1, b text DEFAULT 'b') RETURNS text LANGUAGE sql AS $$ SELECT a || b $$;
         CREATE SEQUENCE IF NOT EXISTS ticks;
         CREATE FUNCTION volatile_default(a bigint DEFAULT nextval('ticks'), b int DEFAULT 0) RETURNS bigint LANGUAGE sql AS 'SELECT a + b';
         CREATE FUNCTION out_between(a int, OUT s int, b int DEFAULT 10, OUT p int) LANGUAGE sql AS 'SELECT a + b, a * b';
         CREATE FUNCTION with_list(a int, VARIADIC rest int[] DEFAULT '{5}') RETURNS bigint LANGUAGE sql
             AS 'SELECT a + coalesce(sum(x), 0) FROM unnest(rest) x';
         CREATE FUNCTION no_list(a int, VARIADIC rest int[]) RETURNS int LANGUAGE sql AS 'SELECT a';
         CREATE FUNCTION partly_named(int, b int DEFAULT 7) RETURNS int LANGUAGE sql AS 'SELECT $1 * 10 + $2';
        ",
    );
    let platform = Platform::register(&cluster, "defaults", &files);
    check(
        &platform,
        &[
            ("four", json!({"a": 1}), json!([{"four": 1234}])),
            ("four", json!({"a": 1, "d": 9}), json!([{"four": 1239}])),
            ("four", json!({"d": 9, "a": 1, "c": 8}), json!([{"four": 1289}])),
            ("four", json!({"a": 1, "b": null}), json!([{"four": null}])),
            ("four", json!([1, 5]), json!([{"four": 1534}])),
            ("all_default", json!({}), json!([{"all_default": "1b"}])),
            ("all_default", json!([]), json!([{"all_default": "1b"}])),
            ("all_default", json!({"b": "x"}), json!([{"all_default": "1x"}])),
            ("volatile_default", json!({"b": 100}), json!([{"volatile_default": 101}])),
            ("volatile_default", json!([]), json!([{"volatile_default": 2}])),
            ("out_between", json!([2]), json!([{"s": 12, "p": 20}])),
            ("out_between", json!({"b": 3, "a": 2}), json!([{"s": 5, "p": 6}])),
            ("with_list", json!([1]), json!([{"with_list": 6}])),
            ("with_list", json!({"a": 1}), json!([{"with_list": 6}])),
            ("with_list", json!({"rest": [], "a": 1}), json!([{"with_list": 1}])),
            ("with_list", json!([1, []]), json!([{"with_list": 1}])),
            ("with_list", json!([1, 2, 3]), json!([{"with_list": 6}])),
            ("with_list", json!([1, [2, 3]]), json!([{"with_list": 6}])),
            ("partly_named", json!([1]), json!([{"partly_named": 17}])),
        ],
    );
    // As PostgreSQL: without a default a VARIADIC parameter takes at least one value.
    platform.call("no_list", json!([1])).error(404, "function_not_found");
    platform.call("no_list", json!({"a": 1})).error(404, "function_not_found");
    // Names that are no parameters, OUT parameters, and names sent twice are not guessed at.
    platform.call("out_between", json!({"a": 2, "s": 1})).error(404, "function_not_found");
    platform.call("partly_named", json!({"b": 1})).error(404, "function_not_found");
    platform.call_text("four", r#"{"a": 1, "a": 2}"#).error(400, "invalid_request").says("twice");
}

#[test]
fn overloads_are_resolved_or_refused_with_the_candidates() {
    let cluster = shared();
    let files = Files::new()
        .file("types/pair.pssql", "CREATE TYPE pair AS (a int, b text);\nCREATE TYPE mood AS ENUM ('sad');\n")
        .file(
            "functions/overloads.pssql",
            "CREATE FUNCTION num(a smallint) RETURNS text LANGUAGE sql AS $$ SELECT 'smallint' $$;
         CREATE FUNCTION num(a int) RETURNS text LANGUAGE sql AS $$ SELECT 'int' $$;
         CREATE FUNCTION num(a bigint) RETURNS text LANGUAGE sql AS $$ SELECT 'bigint' $$;
         CREATE FUNCTION num(a numeric) RETURNS text LANGUAGE sql AS $$ SELECT 'numeric' $$;
         CREATE FUNCTION num(a float8) RETURNS text LANGUAGE sql AS $$ SELECT 'float8' $$;
         CREATE FUNCTION doc(a jsonb) RETURNS text LANGUAGE sql AS $$ SELECT 'jsonb' $$;
         CREATE FUNCTION doc(a text) RETURNS text LANGUAGE sql AS $$ SELECT 'text' $$;
         CREATE FUNCTION doc(a int[]) RETURNS text LANGUAGE sql AS $$ SELECT 'array' $$;
         CREATE FUNCTION doc(a pair) RETURNS text LANGUAGE sql AS $$ SELECT 'pair' $$;
         CREATE FUNCTION twins(a date) RETURNS text LANGUAGE sql AS $$ SELECT 'date' $$;
         CREATE FUNCTION twins(a uuid) RETURNS text LANGUAGE sql AS $$ SELECT 'uuid' $$;
         CREATE FUNCTION named(first int) RETURNS text LANGUAGE sql AS $$ SELECT 'first' $$;
         CREATE FUNCTION named(second text) RETURNS text LANGUAGE sql AS $$ SELECT 'second' $$;
         CREATE FUNCTION fewer(a int) RETURNS text LANGUAGE sql AS $$ SELECT 'one' $$;
         CREATE FUNCTION fewer(a int, b int DEFAULT 0) RETURNS text LANGUAGE sql AS $$ SELECT 'two' $$;
         CREATE FUNCTION fewer(a int, VARIADIC b int[]) RETURNS text LANGUAGE sql AS $$ SELECT 'many' $$;
         CREATE FUNCTION any_or(a anyelement) RETURNS text LANGUAGE sql AS $$ SELECT 'any' $$;
         CREATE FUNCTION any_or(a int) RETURNS text LANGUAGE sql AS $$ SELECT 'int' $$;
         CREATE PROCEDURE proc(a int, OUT b int) LANGUAGE plpgsql AS $$ BEGIN b := a + 1; END $$;
         CREATE PROCEDURE proc(a int, b text) LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the one with text'; END $$;
        ",
        );
    let platform = Platform::register(&cluster, "over", &files);
    check(
        &platform,
        &[
            ("num", json!([1]), json!([{"num": "int"}])),
            ("num", json!([3_000_000_000_i64]), json!([{"num": "bigint"}])),
            ("num", json!([1.5]), json!([{"num": "numeric"}])),
            ("doc", json!(["x"]), json!([{"doc": "text"}])),
            ("doc", json!([[1, 2]]), json!([{"doc": "array"}])),
            ("doc", json!([{"a": 1, "b": "x"}]), json!([{"doc": "pair"}])),
            ("named", json!({"first": 1}), json!([{"named": "first"}])),
            ("named", json!({"second": "1"}), json!([{"named": "second"}])),
            ("fewer", json!([1, 2]), json!([{"fewer": "two"}])),
            ("fewer", json!([1, 2, 3]), json!([{"fewer": "many"}])),
            ("fewer", json!([1, [2]]), json!([{"fewer": "many"}])),
            ("any_or", json!([1]), json!([{"any_or": "int"}])),
            ("any_or", json!([true]), json!([{"any_or": "any"}])),
            ("any_or", json!([[1]]), json!([{"any_or": "any"}])),
            ("proc", json!([1]), json!([{"b": 2}])),
            ("proc", json!({"a": 1}), json!([{"b": 2}])),
        ],
    );
    assert_eq!(platform.call_text("num", "[12345678901234567890]").value(), "numeric");
    // PostgreSQL cannot tell these apart either.
    let answer = platform.call("fewer", json!([1])).error(404, "function_not_found");
    assert!(answer.str("detail").contains("fewer(a integer); fewer(a integer, b integer DEFAULT 0)"), "{answer}");
    let answer = platform.call("twins", json!(["2024-01-01"])).error(404, "function_not_found").says("more than one");
    assert!(answer.str("detail").contains("a date") && answer.str("detail").contains("a uuid"), "{answer}");
    platform.call("proc", json!([1, "x"])).error(400, "query_failed").says("the one with text");
}

#[test]
fn procedures_give_their_out_parameters() {
    let cluster = shared();
    let files = Files::new().file("types/pair.pssql", "CREATE TYPE pair AS (a int, b text);\n").file(
        "functions/procedures.pssql",
        "CREATE PROCEDURE quiet(a int) LANGUAGE plpgsql AS $$ BEGIN PERFORM a; END $$;
         CREATE PROCEDURE one_out(a int, OUT b int) LANGUAGE plpgsql AS $$ BEGIN b := a + 1; END $$;
         CREATE PROCEDURE out_first(OUT s text, a int, b int DEFAULT 5) LANGUAGE plpgsql AS $$ BEGIN s := a || '-' || b; END $$;
         CREATE PROCEDURE in_out(INOUT a int, INOUT b text DEFAULT 'b') LANGUAGE plpgsql AS $$ BEGIN a := a * 2; b := b || b; END $$;
         CREATE PROCEDURE many(a int, OUT n numeric, OUT j jsonb, OUT l int[], OUT p pair, INOUT t timestamptz DEFAULT '2024-01-01 00:00+00')
             LANGUAGE plpgsql AS $$ BEGIN n := 1.50; j := '{\"x\": 1.0}'; l := ARRAY[a, NULL]; p := (a, 'y'); END $$;
         CREATE PROCEDURE listed(OUT n int, VARIADIC v int[]) LANGUAGE plpgsql AS $$ BEGIN n := cardinality(v); END $$;
         CREATE PROCEDURE unnamed(int, OUT int) LANGUAGE sql AS 'SELECT $1 + 1';
         CREATE PROCEDURE in_sql(a int, OUT b int, OUT c int) LANGUAGE sql AS 'SELECT a, a * 2';
        ",
    );
    let platform = Platform::register(&cluster, "proc", &files);
    check(
        &platform,
        &[
            ("quiet", json!([1]), json!([])),
            ("one_out", json!([1]), json!([{"b": 2}])),
            ("one_out", json!({"a": 1}), json!([{"b": 2}])),
            ("out_first", json!([1]), json!([{"s": "1-5"}])),
            ("out_first", json!([1, 2]), json!([{"s": "1-2"}])),
            ("out_first", json!({"b": 2, "a": 1}), json!([{"s": "1-2"}])),
            ("in_out", json!([4]), json!([{"a": 8, "b": "bb"}])),
            ("in_out", json!({"b": "x", "a": 1}), json!([{"a": 2, "b": "xx"}])),
            (
                "many",
                json!([7]),
                json!([{"n": 1.5, "j": {"x": 1.0}, "l": [7, null], "p": {"a": 7, "b": "y"}, "t": "2024-01-01T00:00:00+00:00"}]),
            ),
            ("listed", json!([1, 2, 3]), json!([{"n": 3}])),
            ("listed", json!([[1, 2]]), json!([{"n": 2}])),
            ("listed", json!({"v": [1]}), json!([{"n": 1}])),
            ("unnamed", json!([1]), json!([{"column1": 2}])),
            ("in_sql", json!([3]), json!([{"b": 3, "c": 6}])),
        ],
    );
}
