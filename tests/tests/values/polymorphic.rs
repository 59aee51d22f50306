//! Polymorphic parameters: JSON says which type is meant, and parameters that must agree do.

use acceptance::{Files, Platform, shared};
use serde_json::json;

fn functions() -> Files {
    Files::new().file(
        "functions/polymorphic.pssql",
        "CREATE FUNCTION seen(v anyelement) RETURNS text LANGUAGE sql AS $$ SELECT pg_typeof(v) || ' ' || v $$;
         CREATE FUNCTION same(v anyelement) RETURNS anyelement LANGUAGE sql AS 'SELECT v';
         CREATE FUNCTION no_array(v anynonarray) RETURNS text LANGUAGE sql AS $$ SELECT pg_typeof(v) || ' ' || v $$;
         CREATE FUNCTION two(a anyelement, b anyelement) RETURNS text LANGUAGE sql
             AS $$ SELECT concat_ws(' ', pg_typeof(a), a, pg_typeof(b), b) $$;
         CREATE FUNCTION list(v anyarray) RETURNS text LANGUAGE sql AS $$ SELECT pg_typeof(v) || ' ' || v::text $$;
         CREATE FUNCTION same_list(v anyarray) RETURNS anyarray LANGUAGE sql AS 'SELECT v';
         CREATE FUNCTION first_of(v anyarray) RETURNS anyelement LANGUAGE sql AS 'SELECT v[1]';
         CREATE FUNCTION add_to(v anyarray, x anyelement) RETURNS anyarray LANGUAGE sql AS 'SELECT array_append(v, x)';
         CREATE FUNCTION alike(a anycompatible, b anycompatiblearray) RETURNS text LANGUAGE sql
             AS $$ SELECT pg_typeof(a) || ' ' || a || ' ' || b::text $$;
         CREATE FUNCTION greatest_of(VARIADIC v anyarray) RETURNS anyelement LANGUAGE sql AS 'SELECT max(x) FROM unnest(v) x';
         CREATE FUNCTION twin(IN v anyelement, OUT a anyelement, OUT b anyarray) LANGUAGE sql AS 'SELECT v, ARRAY[v]';
         CREATE FUNCTION in_plpgsql(v anyelement) RETURNS anyarray LANGUAGE plpgsql AS $$ BEGIN RETURN ARRAY[v, v]; END $$;
        ",
    )
}

#[test]
fn json_says_which_type_a_polymorphic_parameter_takes() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "poly", &functions());
    let mut wrong = Vec::new();
    for (function, params, wanted) in [
        ("seen", "[1]", r#""integer 1""#),
        ("seen", "[2147483648]", r#""bigint 2147483648""#),
        ("seen", "[12345678901234567890]", r#""numeric 12345678901234567890""#),
        ("seen", "[1.50]", r#""numeric 1.50""#),
        ("seen", "[true]", r#""boolean true""#),
        ("seen", r#"["x"]"#, r#""text x""#),
        ("seen", r#"[{"a": 1}]"#, r#""jsonb {\"a\": 1}""#),
        ("seen", "[[1, 2]]", r#""jsonb [1, 2]""#),
        ("same", "[null]", "null"),
        ("same", "[1.50]", "1.50"),
        ("same", r#"{"v": {"a": [1.0]}}"#, r#"{"a":[1.0]}"#),
        ("no_array", "[1]", r#""integer 1""#),
        ("two", "[1, 2]", r#""integer 1 integer 2""#),
        ("two", "[1, 2.5]", r#""numeric 1 numeric 2.5""#),
        ("two", "[1, 3000000000]", r#""bigint 1 bigint 3000000000""#),
        ("two", r#"[1, "x"]"#, r#""text 1 text x""#),
        ("two", "[1, true]", r#""text 1 text true""#),
        ("two", r#"{"b": 2.5, "a": null}"#, r#""numeric numeric 2.5""#),
        ("list", "[[1, 2]]", r#""integer[] {1,2}""#),
        ("list", "[[1, 3000000000]]", r#""bigint[] {1,3000000000}""#),
        ("list", "[[1.50, 2]]", r#""numeric[] {1.50,2}""#),
        ("list", "[[true, null, false]]", r#""boolean[] {t,NULL,f}""#),
        ("list", r#"[["1.5", "x"]]"#, r#""text[] {1.5,x}""#),
        ("list", "[[[1, 2], [3, null]]]", r#""integer[] {{1,2},{3,NULL}}""#),
        ("list", r#"[[{"a": 1.50}]]"#, r#""jsonb[] {\"{\\\"a\\\": 1.50}\"}""#),
        ("list", "[[]]", r#""text[] {}""#),
        ("same_list", "[[1.10, null]]", "[1.10,null]"),
        ("first_of", "[[7, 8]]", "7"),
        ("first_of", r#"[["a"]]"#, r#""a""#),
        ("add_to", "[[1, 2], 3]", "[1,2,3]"),
        ("add_to", "[[1, 2], 3.5]", "[1,2,3.5]"),
        ("add_to", "[[], 3]", "[3]"),
        ("add_to", r#"[["a"], "b"]"#, r#"["a","b"]"#),
        ("alike", "[1, [2.5]]", r#""numeric 1 {2.5}""#),
        ("greatest_of", "[3, 1, 2]", "3"),
        ("greatest_of", "[3, 1, 3.5]", "3.5"),
        ("greatest_of", "[[3, 9]]", "9"),
        ("greatest_of", r#"["a", "c", "b"]"#, r#""c""#),
        ("in_plpgsql", "[1]", "[1,1]"),
        ("in_plpgsql", r#"["x"]"#, r#"["x","x"]"#),
    ] {
        let answer = platform.call_text(function, params);
        let got = if answer.status == 200 { answer.raw_value() } else { answer.text.clone() };
        if got != wanted {
            wrong.push(format!("{function}({params}): {wanted} expected, but: {got}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(platform.call("twin", json!([1])).row(), json!({"a": 1, "b": [1]}));
    assert_eq!(platform.call("twin", json!(["x"])).row(), json!({"a": "x", "b": ["x"]}));
}
