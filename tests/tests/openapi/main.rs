//! `/openapi.json`, and the calls that it describes: `POST /call/{platform}/{function}`.

mod called;
mod clients;
mod described;

use acceptance::Files;

/// Functions and types of all sorts.
fn files() -> Files {
    let functions = [
        (
            "add_item",
            "CREATE FUNCTION add_item(p_name text, p_price numeric, p_colour colour DEFAULT 'red', p_tags text[] DEFAULT '{}', p_details jsonb DEFAULT NULL)\n\
          RETURNS item LANGUAGE sql AS $$ INSERT INTO item (name, price, colour, tags, details) VALUES (p_name, p_price, p_colour, p_tags, p_details) RETURNING * $$;\n\
          COMMENT ON FUNCTION add_item IS 'Adds an item.';",
        ),
        (
            "find_items",
            "CREATE FUNCTION find_items(p_colour colour DEFAULT NULL, p_limit int DEFAULT 10) RETURNS SETOF item STABLE LANGUAGE sql\n\
          AS $$ SELECT * FROM item WHERE p_colour IS NULL OR colour = p_colour ORDER BY id LIMIT p_limit $$;",
        ),
        (
            "total",
            "CREATE FUNCTION total() RETURNS numeric STABLE LANGUAGE sql AS 'SELECT coalesce(sum(price), 0) FROM item';",
        ),
        (
            "say",
            "CREATE FUNCTION say(a int) RETURNS text STABLE LANGUAGE sql AS $$ SELECT 'number ' || a $$;\n\
          CREATE FUNCTION say(a text, b boolean) RETURNS text STABLE LANGUAGE sql AS $$ SELECT concat_ws(' ', 'text', a, b) $$;",
        ),
        ("put", "CREATE FUNCTION put(p_part part) RETURNS part LANGUAGE sql AS 'SELECT p_part';"),
        ("unnamed", "CREATE FUNCTION unnamed(int, text DEFAULT 'y') RETURNS text LANGUAGE sql AS 'SELECT $1 || $2';"),
        ("outs", "CREATE FUNCTION outs(a int, OUT b text, OUT c int) LANGUAGE sql AS 'SELECT a::text, a';"),
        (
            "listed",
            "CREATE FUNCTION listed(VARIADIC p_many int[]) RETURNS TABLE (n int, at timestamptz) LANGUAGE sql STRICT AS\n\
          $$ SELECT x, now() FROM unnest(p_many) x $$;",
        ),
        ("nothing", "CREATE FUNCTION nothing() RETURNS void LANGUAGE sql AS '';"),
        ("go", "CREATE PROCEDURE go(a int, INOUT b int DEFAULT 1) LANGUAGE plpgsql AS $$ BEGIN b := a + b; END $$;"),
        ("quiet", "CREATE PROCEDURE quiet() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;"),
        ("coded", "CREATE FUNCTION coded(p_code code) RETURNS code LANGUAGE sql AS 'SELECT p_code';"),
        ("labelled", "CREATE FUNCTION labelled(p_labels labels) RETURNS labels LANGUAGE sql AS 'SELECT p_labels';"),
        ("any", "CREATE FUNCTION \"Any Thing\"(a anyelement) RETURNS anyelement LANGUAGE sql AS 'SELECT a';"),
        (
            "sorts",
            "CREATE FUNCTION sorts() RETURNS TABLE (a smallint, b bigint, c real, d double precision, e uuid, f date, g timestamp, h time, i interval,\n\
          j bytea, k inet, l int4range, m int4multirange, n json, o char(3), p bit(3), q point, r money, s oid, t int[], u colour[], v xml, w tsvector,\n\
          x \"char\", y name, z timetz) STABLE LANGUAGE sql AS $$ SELECT 1::smallint, 9007199254740991, 1.5::real, 1e300::float8,\n\
          '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid, '2026-01-02'::date, '2026-01-02 03:04:05'::timestamp, '03:04:05'::time, '1 day'::interval,\n\
          '\\x00ff'::bytea, '10.0.0.1'::inet, '[1,2)'::int4range, '{[1,2)}'::int4multirange, '{\"a\": 1}'::json, 'ab'::char(3), '101'::bit(3), '(1,2)'::point,\n\
          '12'::money, 42::oid, '{1,NULL}'::int[], '{red}'::colour[], '<a/>'::xml, 'a b'::tsvector, 'x'::\"char\", 'n'::name, '03:04:05+01'::timetz $$;",
        ),
        ("absent", "CREATE FUNCTION absent() RETURNS item STABLE LANGUAGE sql AS 'SELECT * FROM item WHERE false';"),
        (
            "fail",
            "CREATE FUNCTION fail() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'teapot' USING ERRCODE = 'PT418'; END $$;",
        ),
        ("trigger", "CREATE FUNCTION on_item() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;"),
        ("cursor", "CREATE FUNCTION a_cursor() RETURNS refcursor LANGUAGE sql AS $$ SELECT 'x'::refcursor $$;"),
        (
            "elsewhere",
            "CREATE SCHEMA app;\nCREATE FUNCTION app.hidden(p_id bigint) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT p_id';",
        ),
    ];
    let files = Files::new()
        .file("types/colour.pssql", "CREATE TYPE colour AS ENUM ('red', 'green');\nCOMMENT ON TYPE colour IS 'What it looks like';\n")
        .file("types/code.pssql", "CREATE DOMAIN code AS varchar(8) NOT NULL CHECK (VALUE ~ '^[a-z]+$');\n")
        .file("types/part.pssql", "CREATE TYPE inner_part AS (label text, size int4range);\nCREATE TYPE part AS (label text, inner inner_part[]);\n".replace("inner inner_part", "\"inner\" inner_part"))
        .file("types/labels.pssql", "CREATE DOMAIN labels AS text[] CHECK (cardinality(VALUE) < 3);\n")
        .file(
            "tables/item.pssql",
            "CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(40) NOT NULL, price numeric(12,2) NOT NULL,\n\
             colour colour, tags text[], details jsonb);\nCOMMENT ON TABLE item IS 'What is sold';\nCOMMENT ON COLUMN item.price IS 'In euros';\n",
        );
    functions
        .into_iter()
        .fold(files, |files, (name, sql)| files.file(&format!("functions/{name}.pssql"), format!("{sql}\n")))
}
