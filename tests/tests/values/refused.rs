//! What no call can give or take: it is said so, and said before anything runs.

use acceptance::{Files, Platform, shared};
use serde_json::json;

#[test]
fn a_cursor_ends_with_its_call_so_it_is_refused() {
    let cluster = shared();
    let files = Files::new().file("tables/ran.pssql", "CREATE TABLE ran (i int);\n").file(
        "functions/cursors.pssql",
        "CREATE FUNCTION opened() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE c refcursor;
             BEGIN INSERT INTO ran VALUES (1); OPEN c FOR SELECT 1; RETURN c; END $$;
         CREATE FUNCTION several() RETURNS SETOF refcursor LANGUAGE plpgsql AS $$ DECLARE c refcursor;
             BEGIN OPEN c FOR SELECT 1; RETURN NEXT c; END $$;
         CREATE FUNCTION out_cursor(OUT c refcursor, OUT n int) LANGUAGE plpgsql AS $$ BEGIN OPEN c FOR SELECT 1; n := 1; END $$;
         CREATE PROCEDURE in_out_cursor(INOUT c refcursor) LANGUAGE plpgsql AS $$ BEGIN OPEN c FOR SELECT 1; END $$;
         CREATE FUNCTION as_table() RETURNS TABLE (c refcursor) LANGUAGE plpgsql AS $$ BEGIN OPEN c FOR SELECT 1; RETURN NEXT; END $$;
         CREATE FUNCTION takes_one(c refcursor) RETURNS text LANGUAGE sql AS 'SELECT c::text';
         CREATE FUNCTION rows_ran() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM ran';
        ",
    );
    let platform = Platform::register(&cluster, "cursor", &files);
    for (function, params) in [
        ("opened", json!([])),
        ("several", json!([])),
        ("out_cursor", json!([])),
        ("in_out_cursor", json!(["c"])),
        ("as_table", json!([])),
    ] {
        platform.call(function, params).error(400, "invalid_request").says("cursor").says(function);
    }
    assert_eq!(platform.call("rows_ran", json!([])).value(), 0);
    // As a parameter it is the name of one.
    assert_eq!(platform.call("takes_one", json!(["x"])).value(), "x");
}

#[test]
fn a_record_without_columns_is_refused_and_one_with_columns_is_not() {
    let cluster = shared();
    let files = Files::new().file(
        "functions/records.pssql",
        "CREATE FUNCTION bare() RETURNS record LANGUAGE sql AS 'SELECT 1, 2';
         CREATE FUNCTION bare_set() RETURNS SETOF record LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY SELECT 1, 2; END $$;
         CREATE FUNCTION with_out(OUT a int, OUT b text) RETURNS record LANGUAGE sql AS $$ SELECT 1, 'x' $$;
         CREATE FUNCTION with_out_set(OUT a int, OUT b text) RETURNS SETOF record LANGUAGE sql AS $$ VALUES (1, 'x'), (2, NULL) $$;
         CREATE FUNCTION in_json() RETURNS json LANGUAGE sql AS $$ SELECT to_json(r) FROM (SELECT 1 AS a, 2 AS b) r $$;
        ",
    );
    let platform = Platform::register(&cluster, "record", &files);
    for function in ["bare", "bare_set"] {
        let answer = platform.call(function, json!([])).error(400, "invalid_request");
        assert!(answer.str("message").contains("columns") && answer.str("hint").contains("RETURNS TABLE"), "{answer}");
    }
    assert_eq!(platform.call("with_out", json!([])).row(), json!({"a": 1, "b": "x"}));
    assert_eq!(
        platform.call("with_out_set", json!([])).rows(),
        [json!({"a": 1, "b": "x"}), json!({"a": 2, "b": null})]
    );
    assert_eq!(platform.call("in_json", json!([])).value(), json!({"a": 1, "b": 2}));
}

#[test]
fn pseudo_types_that_json_cannot_tell_are_refused() {
    let cluster = shared();
    let files = Files::new().file("types/mood.pssql", "CREATE TYPE mood AS ENUM ('sad', 'happy');\n").file(
        "functions/pseudo.pssql",
        "CREATE FUNCTION of_enum(v anyenum) RETURNS text LANGUAGE sql AS 'SELECT v::text';
         CREATE FUNCTION of_range(v anyrange) RETURNS text LANGUAGE sql AS 'SELECT v::text';
         CREATE FUNCTION of_multirange(v anymultirange) RETURNS text LANGUAGE sql AS 'SELECT v::text';
         CREATE FUNCTION of_compatible(v anycompatiblerange) RETURNS text LANGUAGE sql AS 'SELECT v::text';
         CREATE FUNCTION of_record(v record) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN v::text; END $$;
         CREATE FUNCTION either(v anyenum) RETURNS text LANGUAGE sql AS $$ SELECT 'enum' $$;
         CREATE FUNCTION either(v mood) RETURNS text LANGUAGE sql AS $$ SELECT 'mood' $$;
        ",
    );
    let platform = Platform::register(&cluster, "pseudo", &files);
    for function in ["of_enum", "of_range", "of_multirange", "of_compatible", "of_record"] {
        for params in [json!(["x"]), json!([null]), json!([{"a": 1}]), json!([[1]]), json!({"v": 1})] {
            let answer = platform.call(function, params).error(404, "function_not_found");
            assert!(answer.str("hint").contains("pseudo-type") && answer.str("detail").contains(function), "{answer}");
        }
    }
    // Another function of the name is found all the same.
    assert_eq!(platform.call("either", json!(["sad"])).value(), "mood");
}

#[test]
fn what_returns_nothing_gives_null() {
    let cluster = shared();
    let files = Files::new().file(
        "functions/nothing.pssql",
        "CREATE FUNCTION in_sql() RETURNS void LANGUAGE sql AS 'SELECT 1';
         CREATE FUNCTION in_plpgsql() RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
         CREATE FUNCTION set_of() RETURNS SETOF void LANGUAGE sql AS 'SELECT 1';
         CREATE PROCEDURE done() LANGUAGE sql AS 'SELECT 1';
        ",
    );
    let platform = Platform::register(&cluster, "void", &files);
    for function in ["in_sql", "in_plpgsql"] {
        assert_eq!(platform.call(function, json!([])).row(), json!({function: null}));
    }
    let answer = platform.call("set_of", json!([]));
    assert!(answer.rows().iter().all(|row| *row == json!({"set_of": null})), "{answer}");
    assert_eq!(platform.call("done", json!([])).rows(), [] as [serde_json::Value; 0]);
}
