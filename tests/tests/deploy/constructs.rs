//! SQL that PostgreSQL's own parser reads and regular expressions do not.

use acceptance::{Files, Platform, shared, sql};
use serde_json::json;

fn hard() -> Files {
    Files::new()
        .file(
            "types/tricky.pssql",
            "/* a /* nested */ comment; with a semicolon */\nCREATE TYPE tricky AS ENUM ('new', 'isn''t -- a comment', '/* nor this', 'a;b');\n\
             COMMENT ON TYPE tricky IS 'two statements; one file';\n",
        )
        .file(
            "tables/awkward.pssql",
            "CREATE TABLE awkward (\n    id bigserial PRIMARY KEY,\n    parent_id bigint REFERENCES awkward(id),\n    check_in date,\n    unique_code text,\n    \
             primary_mail text, foreign_name text, constraint_no int,\n    tags text[] DEFAULT ARRAY['a,b', ')'],\n    st tricky DEFAULT 'isn''t -- a comment',\n    \
             at timestamp with time zone, d double precision, big numeric(10, 2) CHECK (big >= 0 AND (big < 100 OR unique_code <> ');')),\n    \
             odd text DEFAULT 'x);-- y', esc text DEFAULT E'it\\'s;\\n', uni text DEFAULT U&'\\0041;', bits bit varying(5),\n    \
             \"Order\" int, \"a\"\"b;\" int, \"select\" text\n); -- CREATE TABLE not_this (id int);\n",
        )
        .file("tables/quoted.pssql", "CREATE TABLE IF NOT EXISTS public.\"Quoted; Name\" (id int primary key, amount NUMERIC(10,2));\n")
        .file("tables/zz_points.pssql", "CREATE TABLE zz_points (id int primary key, s bigint REFERENCES awkward, q int REFERENCES \"Quoted; Name\");\n")
        .file(
            "tables/ruled.pssql",
            "CREATE TABLE ruled (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, EXCLUDE USING gist (int4range(a, a, '[]') WITH &&));\n\
             CREATE RULE no_update AS ON UPDATE TO ruled DO INSTEAD (DELETE FROM ruled WHERE id = OLD.id; INSERT INTO ruled (a) VALUES (NEW.a););\n",
        )
        .file(
            "functions/bodies.pssql",
            "CREATE OR REPLACE FUNCTION body_tags(p_amount NUMERIC(10,2), p_s tricky = 'new') RETURNS NUMERIC(10,2) AS $body$ SELECT p_amount * 2 -- $$ ;\n$body$ LANGUAGE sql;\n\
             create function body_quoted() returns text language sql as 'select ''it''''s; $$ here''';\n\
             CREATE FUNCTION body_nested() RETURNS text LANGUAGE plpgsql AS $a$\nDECLARE r text;\nBEGIN\n    EXECUTE $b$ SELECT 'x;y' || $c$ -- z$c$ $b$ INTO r;\n    RETURN r; END;\n$a$;\n\
             CREATE FUNCTION body_atomic(a int, b int DEFAULT 2) RETURNS int LANGUAGE sql\nBEGIN ATOMIC\n    SELECT 1;\n    SELECT CASE WHEN a > 0 THEN a + b ELSE 0 END;\nEND;\n\
             CREATE FUNCTION body_return(a int) RETURNS int RETURN a + 1;\n\
             CREATE FUNCTION varied(IN a int, OUT b int, VARIADIC c text[]) AS $$ SELECT a + cardinality(c) $$ LANGUAGE sql;\n\
             CREATE FUNCTION \"Quoted; Function\"(\"P\" int) RETURNS int LANGUAGE sql AS 'SELECT \"P\"';\n\
             CREATE FUNCTION typed(a double precision, b timestamp(3) without time zone, c character varying(255), d bit(3), e interval day to second) RETURNS text\n    \
             LANGUAGE sql COST 10 PARALLEL SAFE SET search_path = public, pg_temp AS $$ SELECT a || c $$;\n\
             CREATE OR REPLACE PROCEDURE proc(x int) LANGUAGE plpgsql AS $$ BEGIN PERFORM x; END $$;\n",
        )
        .file(
            "functions/others.pssql",
            "CREATE FUNCTION plus(a tricky, b int) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT a::text || b $$;\n\
             COMMENT ON FUNCTION plus(tricky, int) IS 'it''s; commented';\n\
             CREATE FUNCTION windowed() RETURNS TABLE (n bigint) LANGUAGE sql AS $$ SELECT row_number() OVER (ORDER BY g) FROM generate_series(1, 2) g $$;\n",
        )
        .file("views/\"odd\".sql", "CREATE VIEW hard_view (\"x;y\") AS SELECT 'a;b' UNION SELECT $$c;d$$;\n")
        .file(
            "seeders/awkward.pgsql",
            "INSERT INTO awkward (id, unique_code, at) VALUES (1, 'Euro (EUR); a--b', '2024-01-01'), (2, 'it''s', NULL);\n\
             INSERT INTO awkward (id, unique_code)\n    SELECT 3, $$third; /* not a comment $$;\n",
        )
}

#[test]
fn constructs_that_only_a_real_parser_reads() {
    let cluster = shared();
    let files = hard();
    let platform = Platform::unregistered(&cluster, "hard");
    let answer = platform.register_again(&files).ok().field("tables_created", 4).field("types_deployed", 1);
    // Ten, and eleven with the procedure.
    assert!((10..=11).contains(&answer.number("functions_deployed")), "{answer}");

    for (function, params, wanted) in [
        ("body_tags", json!([1.25]), json!(2.5)),
        ("body_quoted", json!([]), json!("it's; $$ here")),
        ("body_nested", json!([]), json!("x;y -- z")),
        ("body_atomic", json!([3]), json!(5)),
        ("body_return", json!([1]), json!(2)),
        ("varied", json!([1, "x", "y"]), json!(3)),
        ("\"Quoted; Function\"", json!([9]), json!(9)),
        ("typed", json!([1.5, "2024-01-01", "x", "101", "1 day"]), json!("1.5x")),
        ("plus", json!(["a;b", 1]), json!("a;b1")),
    ] {
        let answer = platform.call(function, params);
        assert_eq!(answer.value(), wanted, "{function}: {answer}");
    }
    assert_eq!(platform.call("windowed", json!([])).rows().len(), 2);

    let mut client = platform.connect();
    assert_eq!(
        sql::texts(&mut client, "SELECT unique_code FROM awkward ORDER BY id"),
        ["Euro (EUR); a--b", "it's", "third; /* not a comment "]
    );
    let defaults = "SELECT concat_ws('|', odd, esc, uni, st, tags::text) FROM awkward WHERE id = 1";
    assert_eq!(sql::text(&mut client, defaults), "x);-- y|it's;\n|A;|isn't -- a comment|{\"a,b\",)}");
    assert_eq!(sql::text(&mut client, "SELECT count(*) FROM hard_view WHERE \"x;y\" IN ('a;b', 'c;d')"), "2");
    assert_eq!(sql::text(&mut client, "SELECT to_regclass('not_this') IS NULL"), "t");
    assert_eq!(sql::text(&mut client, "SELECT obj_description('plus(tricky,int)'::regprocedure)"), "it's; commented");

    let before = platform.snapshot();
    platform.register_again(&files).ok();
    platform.assert_unchanged(&before, "nothing is new");
}

#[test]
fn line_endings_and_spelling_do_not_matter() {
    let cluster = shared();
    let files = Files::new()
        .file("tables/t.sql", "CREATE TABLE t (\n    id int PRIMARY KEY,\n    n integer DEFAULT 3\n);\n")
        .file("functions/g.sql", "CREATE FUNCTION g(a int) RETURNS int LANGUAGE sql AS $$\n    SELECT a + 1;\n$$;\n");
    let platform = Platform::register(&cluster, "crlf", &files);
    let objects = "SELECT 't'::regclass::oid::text || ' ' || 'g(int)'::regprocedure::oid::text";
    let before = sql::text(&mut platform.connect(), objects);
    let respelled = files
        .replace("tables/t.sql", "create table t (\r\n\tid INT PRIMARY KEY, -- the key\r\n\tn INTEGER DEFAULT 3\r\n);")
        .replace(
            "functions/g.sql",
            "create  function g(a INT) returns INT language SQL as $$\r\n    SELECT a + 1;\r\n$$;",
        );
    platform.migrate(&respelled).ok().field("functions_updated", 0);
    assert_eq!(platform.call("g", json!([1])).value(), 2);
    assert_eq!(sql::text(&mut platform.connect(), objects), before, "they were made anew");
}

#[test]
fn files_without_a_last_semicolon_empty_ones_and_comments_only_are_fine() {
    let cluster = shared();
    let files = Files::new()
        .file("tables/t.pssql", "CREATE TABLE t (id int PRIMARY KEY)")
        .file("tables/empty.pssql", "")
        .file("tables/blank.pssql", " \n\t\n;;\n")
        .file("functions/comment.pssql", "-- nothing yet\n/* really */")
        .file("functions/f.pssql", "\n\nCREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1' -- the end");
    let platform = Platform::register(&cluster, "sparse", &files);
    assert_eq!(platform.call("f", json!([])).value(), 1);
}

#[test]
fn a_changed_signature_or_result_replaces_the_function() {
    let cluster = shared();
    let with = |g: &str| {
        Files::new().file("functions/g.pssql", g).file(
            "functions/h.pssql",
            "CREATE FUNCTION h() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN g(1); END $$;\n",
        )
    };
    let platform = Platform::register(
        &cluster,
        "resig",
        &with("CREATE FUNCTION g(a int) RETURNS int LANGUAGE sql AS 'SELECT a';\n"),
    );
    for (changed, wanted) in [
        ("CREATE FUNCTION g(a int) RETURNS text LANGUAGE sql AS $$ SELECT 'text' || a $$;\n", "text1"),
        (
            "CREATE FUNCTION g(renamed int) RETURNS text LANGUAGE sql AS $$ SELECT 'renamed' || renamed $$;\n",
            "renamed1",
        ),
        ("CREATE FUNCTION g(a bigint, b text DEFAULT 'd') RETURNS text LANGUAGE sql AS $$ SELECT a || b $$;\n", "1d"),
        (
            "CREATE OR REPLACE FUNCTION g(a bigint, b text) RETURNS text LANGUAGE sql AS $$ SELECT a || b $$;\nCREATE FUNCTION g(a int) RETURNS text LANGUAGE sql AS $$ SELECT 'two' $$;\n",
            "two",
        ),
    ] {
        platform.migrate(&with(changed)).ok();
        assert_eq!(platform.call("h", json!([])).value(), wanted, "{changed}");
    }
}
