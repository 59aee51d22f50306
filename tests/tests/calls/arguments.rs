//! Arguments and results: positions and names, defaults, VARIADIC, overloads; scalar, SETOF, TABLE, OUT, composite, void.

use acceptance::{Files, Platform, shared};
use serde_json::{Value, json};

fn shapes() -> Files {
    Files::new()
        .file("types/pair.pssql", "CREATE TYPE pair AS (a int, b text);\n")
        .file("tables/things.pssql", "CREATE TABLE things (id int PRIMARY KEY, label text NOT NULL, at date);\n")
        .file("seeders/things.pssql", "INSERT INTO things (id, label) VALUES (1, 'one'), (2, 'two');\n")
        .file(
            "functions/arguments.pssql",
            "CREATE FUNCTION no_args() RETURNS text LANGUAGE sql AS $$ SELECT 'none' $$;
             CREATE FUNCTION three(a int, b text DEFAULT 'b', c boolean DEFAULT true) RETURNS text LANGUAGE sql
                 AS $$ SELECT concat_ws(' ', a, b, c) $$;
             CREATE FUNCTION spread(a int, VARIADIC rest text[]) RETURNS text LANGUAGE sql AS $$ SELECT a || ':' || array_to_string(rest, '+') $$;
             CREATE FUNCTION spread_only(VARIADIC n int[] DEFAULT '{}') RETURNS bigint LANGUAGE sql AS $$ SELECT coalesce(sum(x), 0) FROM unnest(n) x $$;
             CREATE FUNCTION pick(a int) RETURNS text LANGUAGE sql AS $$ SELECT 'int' $$;
             CREATE FUNCTION pick(a text) RETURNS text LANGUAGE sql AS $$ SELECT 'text' $$;
             CREATE FUNCTION pick(a boolean) RETURNS text LANGUAGE sql AS $$ SELECT 'boolean' $$;
             CREATE FUNCTION pick(a int, b int) RETURNS text LANGUAGE sql AS $$ SELECT 'int int' $$;
             CREATE FUNCTION pick(x int, y text) RETURNS text LANGUAGE sql AS $$ SELECT 'int text' $$;
             CREATE FUNCTION unnamed(int, text) RETURNS text LANGUAGE sql AS $$ SELECT $1 || $2 $$;
             CREATE FUNCTION \"Mixed Case\"(\"Odd Name\" int) RETURNS int LANGUAGE sql AS $$ SELECT $1 $$;
             CREATE FUNCTION strict_one(a int) RETURNS int STRICT LANGUAGE sql AS $$ SELECT a + 1 $$;
            ",
        )
        .file(
            "functions/results.pssql",
            "CREATE FUNCTION nothing(a int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM a; END $$;
             CREATE FUNCTION numbers(n int) RETURNS SETOF int LANGUAGE sql AS $$ SELECT generate_series(1, n) $$;
             CREATE FUNCTION pairs(n int) RETURNS SETOF pair LANGUAGE sql AS $$ SELECT g, 'p' || g FROM generate_series(1, n) g $$;
             CREATE FUNCTION all_things() RETURNS SETOF things LANGUAGE sql AS $$ SELECT * FROM things ORDER BY id $$;
             CREATE FUNCTION one_thing(p_id int) RETURNS things LANGUAGE sql AS $$ SELECT * FROM things WHERE id = p_id $$;
             CREATE FUNCTION as_table(n int) RETURNS TABLE (i int, half numeric) LANGUAGE sql AS $$ SELECT g, g / 2.0 FROM generate_series(1, n) g $$;
             CREATE FUNCTION one_out(a int, OUT b int) LANGUAGE sql AS $$ SELECT a + 1 $$;
             CREATE FUNCTION two_out(IN a int, OUT b int, OUT c text) LANGUAGE sql AS $$ SELECT a + 1, 'c' $$;
             CREATE FUNCTION in_out(INOUT a int, INOUT b text DEFAULT 'b') LANGUAGE sql AS $$ SELECT a * 2, b || b $$;
             CREATE FUNCTION out_first(OUT total int, a int, b int) LANGUAGE sql AS $$ SELECT a + b $$;
             CREATE FUNCTION set_out(OUT i int, OUT j int) RETURNS SETOF record LANGUAGE sql AS $$ SELECT g, g * g FROM generate_series(1, 3) g $$;
             CREATE FUNCTION as_json(a int) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('a', a) $$;
             CREATE FUNCTION as_array() RETURNS int[] LANGUAGE sql AS $$ SELECT ARRAY[3, 2, 1] $$;
             CREATE FUNCTION same_name() RETURNS TABLE (id int, \"Total Sum\" int) LANGUAGE sql AS $$ SELECT 1, 2 $$;
            ",
        )
}

#[test]
fn arguments_by_position_and_by_name() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "args", &shapes());
    for (function, params, wanted) in [
        ("no_args", json!([]), "none"),
        ("no_args", json!({}), "none"),
        ("three", json!([1]), "1 b t"),
        ("three", json!([1, "x"]), "1 x t"),
        ("three", json!([1, "x", false]), "1 x f"),
        ("three", json!({"a": 1}), "1 b t"),
        ("three", json!({"c": false, "a": 1}), "1 b f"),
        ("three", json!({"b": "y", "a": 2, "c": true}), "2 y t"),
        ("three", json!([1, null]), "1 t"),
        ("unnamed", json!([1, "x"]), "1x"),
    ] {
        let answer = platform.call(function, params.clone());
        assert_eq!(answer.row(), json!({function: wanted}), "{function}({params}): {answer}");
    }
    // `params` left out is no parameters.
    let answer = cluster.http().post_json("/call", &json!({"platform": platform.name, "function": "no_args"}));
    assert_eq!(answer.value(), "none", "{answer}");
    assert_eq!(platform.call("strict_one", json!([null])).value(), Value::Null);
}

#[test]
fn variadic_arguments() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "variadic", &shapes());
    assert_eq!(platform.call("spread", json!([1, "a"])).value(), "1:a");
    assert_eq!(platform.call("spread", json!([1, "a", "b", "c"])).value(), "1:a+b+c");
    assert_eq!(platform.call("spread_only", json!([1, 2, 3])).value(), 6);
    assert_eq!(platform.call("spread_only", json!([])).value(), 0);
    assert_eq!(platform.call("spread", json!({"a": 1, "rest": ["x", "y"]})).value(), "1:x+y");
}

#[test]
fn overloads_are_told_apart() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "pick", &shapes());
    for (params, wanted) in [
        (json!([1]), "int"),
        (json!(["x"]), "text"),
        (json!([true]), "boolean"),
        (json!([1, 2]), "int int"),
        (json!([1, "x"]), "int text"),
        (json!({"a": 1, "b": 2}), "int int"),
        (json!({"x": 1, "y": "2"}), "int text"),
    ] {
        let answer = platform.call("pick", params.clone());
        assert_eq!(answer.value(), wanted, "pick({params}): {answer}");
    }
    let answer = platform.call("pick", json!([1, 2, 3])).error(404, "function_not_found");
    let candidates = answer.str("detail").matches("pick(").count();
    assert!(candidates >= 5 || answer.str("detail").contains("integer, text"), "the candidates expected: {answer}");
}

#[test]
fn arguments_that_fit_nothing_are_404_with_the_candidates() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "unfit", &shapes());
    for (function, params) in [
        ("three", json!([])),
        ("three", json!([1, "x", true, 4])),
        ("three", json!({"b": "x"})),
        ("three", json!({"a": 1, "nobody": 2})),
        ("no_args", json!([1])),
        ("spread", json!([])),
    ] {
        let answer = platform.call(function, params.clone()).error(404, "function_not_found");
        assert!(answer.str("detail").contains(function), "{function}({params}): the candidates expected: {answer}");
    }
    platform.call("no_such_function", json!([1])).error(404, "function_not_found").says("no_such_function");
}

#[test]
fn a_function_is_found_as_postgresql_folds_its_name() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "folded", &shapes());
    for name in ["no_args", "NO_ARGS", "No_Args", "public.no_args", "PUBLIC.No_Args", "\"no_args\""] {
        assert_eq!(platform.call(name, json!([])).row(), json!({"no_args": "none"}), "{name}");
    }
    assert_eq!(platform.call("\"Mixed Case\"", json!([5])).row(), json!({"Mixed Case": 5}));
    assert_eq!(platform.call("\"Mixed Case\"", json!({"Odd Name": 5})).row(), json!({"Mixed Case": 5}));
    for name in [
        "\"NO_ARGS\"",
        "nowhere.no_args",
        "no_args()",
        "no_args; SELECT 1",
        "",
        "a.b.c.d",
        "\"unclosed",
        "no_args\u{0}",
        "n'one",
    ] {
        let answer = platform.call(name, json!([])).client_error();
        assert!(["function_not_found", "invalid_request"].contains(&answer.code()), "{name:?}: {answer}");
    }
}

#[test]
fn results_of_every_shape() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "shapes", &shapes());
    for (function, params, rows) in [
        ("nothing", json!([1]), json!([{"nothing": null}])),
        ("numbers", json!([3]), json!([{"numbers": 1}, {"numbers": 2}, {"numbers": 3}])),
        ("numbers", json!([0]), json!([])),
        ("pairs", json!([2]), json!([{"a": 1, "b": "p1"}, {"a": 2, "b": "p2"}])),
        (
            "all_things",
            json!([]),
            json!([{"id": 1, "label": "one", "at": null}, {"id": 2, "label": "two", "at": null}]),
        ),
        ("one_thing", json!([2]), json!([{"id": 2, "label": "two", "at": null}])),
        ("as_table", json!([1]), json!([{"i": 1, "half": 0.5}])),
        ("one_out", json!([1]), json!([{"b": 2}])),
        ("two_out", json!([1]), json!([{"b": 2, "c": "c"}])),
        ("two_out", json!({"a": 1}), json!([{"b": 2, "c": "c"}])),
        ("in_out", json!([4]), json!([{"a": 8, "b": "bb"}])),
        ("in_out", json!({"b": "x", "a": 1}), json!([{"a": 2, "b": "xx"}])),
        ("out_first", json!([1, 2]), json!([{"total": 3}])),
        ("set_out", json!([]), json!([{"i": 1, "j": 1}, {"i": 2, "j": 4}, {"i": 3, "j": 9}])),
        ("as_json", json!([1]), json!([{"as_json": {"a": 1}}])),
        ("as_array", json!([]), json!([{"as_array": [3, 2, 1]}])),
        ("same_name", json!([]), json!([{"id": 1, "Total Sum": 2}])),
    ] {
        let answer = platform.call(function, params.clone());
        assert_eq!(json!(answer.rows()), rows, "{function}({params}): {answer}");
    }
}

#[test]
fn a_changed_signature_is_seen_at_once() {
    let cluster = shared();
    let with = |sql: &str| Files::new().file("functions/g.pssql", sql);
    let platform = Platform::register(
        &cluster,
        "resign",
        &with("CREATE FUNCTION g(a int) RETURNS int LANGUAGE sql AS 'SELECT a';\n"),
    );
    // Several times, so that whatever executors remember of the function, they remember it.
    for _ in 0..5 {
        assert_eq!(platform.call("g", json!([1])).row(), json!({"g": 1}));
    }
    let changed =
        with("CREATE FUNCTION g(a int, b text DEFAULT 'x') RETURNS TABLE (s text) LANGUAGE sql AS 'SELECT a || b';\n");
    platform.migrate(&changed).ok();
    for _ in 0..5 {
        assert_eq!(platform.call("g", json!([1])).row(), json!({"s": "1x"}));
    }
}
