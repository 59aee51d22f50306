//! Objects are made in the order that their dependencies need, whatever their files' names and folders.

use acceptance::{Files, Platform, shared, sql};
use serde_json::json;

#[test]
fn tables_in_the_order_of_their_foreign_keys() {
    let cluster = shared();
    let files = Files::new()
        .file("tables/a_items.pssql", "CREATE TABLE a_items (id int PRIMARY KEY, list int NOT NULL REFERENCES z_lists ON DELETE CASCADE);\n")
        .file("tables/b_self.pssql", "CREATE TABLE b_self (id int PRIMARY KEY, parent int REFERENCES b_self (id), twin int UNIQUE REFERENCES b_self);\n")
        .file("tables/c_chicken.pssql", "CREATE TABLE c_chicken (id int PRIMARY KEY, egg int REFERENCES d_egg (id));\n")
        .file("tables/d_egg.pssql", "CREATE TABLE d_egg (id int PRIMARY KEY, chicken int REFERENCES c_chicken (id) DEFERRABLE);\n")
        .file(
            "tables/e_seat.pssql",
            "CREATE TABLE e_seat (hall int, row_no int, CONSTRAINT seat_row FOREIGN KEY (hall, row_no) REFERENCES y_row (hall, no) MATCH FULL);\n",
        )
        .file("tables/y_row.pssql", "CREATE TABLE y_row (hall int, no int, PRIMARY KEY (hall, no));\n")
        .file("tables/z_lists.pssql", "CREATE TABLE z_lists (id int PRIMARY KEY);\n")
        .file(
            "tables/later/f_altered.pssql",
            "CREATE TABLE f_altered (id int PRIMARY KEY, list int);\n\
             ALTER TABLE f_altered ADD CONSTRAINT f_list FOREIGN KEY (list) REFERENCES z_lists (id) NOT VALID;\n",
        )
        // A ring of three.
        .file("tables/r1.pssql", "CREATE TABLE r1 (id int PRIMARY KEY, next int REFERENCES r2);\n")
        .file("tables/r2.pssql", "CREATE TABLE r2 (id int PRIMARY KEY, next int REFERENCES r3);\n")
        .file("tables/r3.pssql", "CREATE TABLE r3 (id int PRIMARY KEY, next int REFERENCES r1);\n");
    let platform = Platform::unregistered(&cluster, "fk");
    platform.register_again(&files).ok().field("tables_created", 11);
    let keys = "SELECT conrelid::regclass::text || ' ' || confrelid::regclass::text FROM pg_constraint WHERE contype = 'f' ORDER BY 1";
    assert_eq!(
        sql::texts(&mut platform.connect(), keys),
        [
            "a_items z_lists",
            "b_self b_self",
            "b_self b_self",
            "c_chicken d_egg",
            "d_egg c_chicken",
            "e_seat y_row",
            "f_altered z_lists",
            "r1 r2",
            "r2 r3",
            "r3 r1",
        ]
    );
    let details = "SELECT confdeltype::text || condeferrable || convalidated FROM pg_constraint WHERE contype = 'f'
                   AND conrelid::regclass::text IN ('a_items', 'd_egg', 'f_altered') ORDER BY conrelid::regclass::text";
    assert_eq!(
        sql::texts(&mut platform.connect(), details),
        ["cfalsetrue", "atruetrue", "afalsefalse"],
        "as they were written"
    );
}

#[test]
fn tables_that_are_made_of_other_tables() {
    let cluster = shared();
    let files = Files::new()
        .file("tables/a_part.pssql", "CREATE TABLE a_part PARTITION OF z_log FOR VALUES FROM (1) TO (100);\n")
        .file("tables/b_part.pssql", "CREATE TABLE b_part PARTITION OF z_log DEFAULT;\n")
        .file("tables/c_child.pssql", "CREATE TABLE c_child (more text) INHERITS (y_base);\n")
        .file("tables/d_like.pssql", "CREATE TABLE d_like (LIKE y_base INCLUDING ALL);\n")
        .file("tables/y_base.pssql", "CREATE TABLE y_base (id int PRIMARY KEY, at date DEFAULT '2024-01-01');\n")
        .file("tables/z_log.pssql", "CREATE TABLE z_log (id int PRIMARY KEY) PARTITION BY RANGE (id);\n");
    let platform = Platform::register(&cluster, "part", &files);
    let inherits = "SELECT inhrelid::regclass::text || ' ' || inhparent::regclass::text FROM pg_inherits i
                    JOIN pg_class c ON c.oid = inhrelid WHERE c.relkind = 'r' ORDER BY 1";
    assert_eq!(sql::texts(&mut platform.connect(), inherits), ["a_part z_log", "b_part z_log", "c_child y_base"]);
}

#[test]
fn types_on_types_whatever_their_names() {
    let cluster = shared();
    let files = Files::new()
        .file("types/a_person.pssql", "CREATE TYPE a_person AS (name text, mail m_mail, moods z_mood[]);\n")
        .file("types/m_mail.pssql", "CREATE DOMAIN m_mail AS y_text CHECK (VALUE LIKE '%@%');\n")
        .file("types/y_text.pssql", "CREATE DOMAIN y_text AS text CHECK (length(VALUE) < 100);\n")
        .file("types/z_mood.pssql", "CREATE TYPE z_mood AS ENUM ('sad', 'happy');\n")
        .file("types/b_range.pssql", "CREATE TYPE b_range AS RANGE (subtype = timestamptz);\n")
        .file("tables/people.pssql", "CREATE TABLE people (id int PRIMARY KEY, who a_person, stay b_range, mood z_mood DEFAULT 'happy');\n")
        .file(
            "functions/person.pssql",
            "CREATE FUNCTION person() RETURNS a_person LANGUAGE sql AS $$ SELECT ROW('Ada', 'a@b', '{happy}')::a_person $$;\n",
        );
    let platform = Platform::unregistered(&cluster, "types");
    platform.register_again(&files).ok().field("types_deployed", 5);
    assert_eq!(platform.call("person", json!([])).row(), json!({"name": "Ada", "mail": "a@b", "moods": ["happy"]}));
}

#[test]
fn functions_on_functions_whatever_their_names() {
    let cluster = shared();
    let files = Files::new()
        .file("functions/a_calls.pssql", "CREATE FUNCTION a_calls() RETURNS int LANGUAGE sql AS $$ SELECT m_middle() + 1 $$;\n")
        .file("functions/m_middle.pssql", "CREATE FUNCTION m_middle() RETURNS int LANGUAGE sql RETURN z_base() * 10;\n")
        .file("functions/z_base.pssql", "CREATE FUNCTION z_base() RETURNS int LANGUAGE sql AS $$ SELECT 4 $$;\n")
        .file("functions/b_default.pssql", "CREATE FUNCTION b_default(a int DEFAULT z_base()) RETURNS int LANGUAGE sql AS $$ SELECT a $$;\n")
        .file(
            "functions/c_atomic.pssql",
            "CREATE FUNCTION c_atomic() RETURNS TABLE (n int) LANGUAGE sql BEGIN ATOMIC SELECT a_calls(); SELECT b_default() + a_calls(); END;\n",
        )
        // Two that need each other: PL/pgSQL looks at bodies only when they run.
        .file(
            "functions/even.pssql",
            "CREATE FUNCTION even(n int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN n = 0 OR odd(n - 1); END $$;\n",
        )
        .file(
            "functions/odd.pssql",
            "CREATE FUNCTION odd(n int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN n > 0 AND even(n - 1); END $$;\n",
        )
        .file("functions/a_agg.pssql", "CREATE AGGREGATE a_agg(int) (SFUNC = y_step, STYPE = int, INITCOND = '0');\n")
        .file("functions/y_step.pssql", "CREATE FUNCTION y_step(s int, v int) RETURNS int LANGUAGE sql AS $$ SELECT s + v * 2 $$;\n")
        .file("functions/b_uses_agg.pssql", "CREATE FUNCTION b_uses_agg() RETURNS int LANGUAGE sql AS $$ SELECT a_agg(g) FROM generate_series(1, 3) g $$;\n");
    let platform = Platform::register(&cluster, "funcs", &files);
    assert_eq!(platform.call("a_calls", json!([])).value(), 41);
    assert_eq!(platform.call("b_default", json!([])).value(), 4);
    assert_eq!(platform.call("c_atomic", json!([])).row(), json!({"n": 45}));
    assert_eq!(platform.call("even", json!([10])).value(), true);
    assert_eq!(platform.call("b_uses_agg", json!([])).value(), 12);
}

#[test]
fn views_on_views_and_functions_between_them() {
    let cluster = shared();
    let files = Files::new()
        .file("tables/t.pssql", "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL);\n")
        .file("seeders/t.pssql", "INSERT INTO t (id, v) VALUES (1, 10), (2, 20);\n")
        .file("views/a_top.pssql", "CREATE VIEW a_top AS SELECT sum(doubled) AS total FROM m_mid;\n")
        .file("views/m_mid.pssql", "CREATE VIEW m_mid AS SELECT id, twice(v) AS doubled FROM z_bottom;\n")
        .file("views/z_bottom.pssql", "CREATE OR REPLACE VIEW z_bottom AS SELECT * FROM t WHERE v > 0;\n")
        .file("views/b_stored.pssql", "CREATE MATERIALIZED VIEW b_stored AS SELECT count(*) AS n FROM m_mid;\nCREATE UNIQUE INDEX ON b_stored (n);\n")
        .file("functions/twice.pssql", "CREATE FUNCTION twice(i int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT i * 2 $$;\n")
        .file("functions/tops.pssql", "CREATE FUNCTION tops() RETURNS SETOF a_top LANGUAGE sql AS $$ SELECT * FROM a_top $$;\n")
        .file("functions/mids.pssql", "CREATE FUNCTION mids(m m_mid) RETURNS int LANGUAGE sql AS $$ SELECT m.doubled $$;\n");
    let platform = Platform::register(&cluster, "views", &files);
    assert_eq!(platform.call("tops", json!([])).row(), json!({"total": 60}));
    // The same again, and a view with a column more.
    platform.register_again(&files).ok();
    platform.migrate(&files.edit("views/a_top.pssql", "AS total", "AS total, count(*) AS n")).ok();
    assert_eq!(platform.call("tops", json!([])).row(), json!({"total": 60, "n": 2}));
}

#[test]
fn tables_may_use_functions_and_functions_tables() {
    let cluster = shared();
    let files = Files::new()
        .file(
            "tables/accounts.pssql",
            "CREATE TABLE accounts (\n    id int PRIMARY KEY,\n    code text NOT NULL DEFAULT make_code(),\n    \
             name text NOT NULL CHECK (good_name(name)),\n    low text GENERATED ALWAYS AS (fold(name)) STORED,\n    touched boolean NOT NULL DEFAULT false\n);\n\
             CREATE UNIQUE INDEX accounts_folded ON accounts (fold(name));\n\
             CREATE TRIGGER accounts_touch BEFORE INSERT OR UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION touch();\n\
             ALTER TABLE accounts ENABLE ROW LEVEL SECURITY;\n\
             CREATE POLICY accounts_all ON accounts USING (good_name(name)) WITH CHECK (good_name(name));\n",
        )
        .file("functions/make_code.pssql", "CREATE FUNCTION make_code() RETURNS text LANGUAGE sql AS $$ SELECT 'c' || 42 $$;\n")
        .file("functions/good_name.pssql", "CREATE FUNCTION good_name(n text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT n <> 'bad' $$;\n")
        .file("functions/fold.pssql", "CREATE FUNCTION fold(n text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(n) $$;\n")
        .file(
            "functions/touch.pssql",
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := true; RETURN NEW; END $$;\n",
        )
        .file(
            "functions/add_account.pssql",
            "CREATE FUNCTION add_account(p_name text) RETURNS SETOF accounts LANGUAGE sql AS\n\
             $$ INSERT INTO accounts (id, name) VALUES ((SELECT count(*) FROM accounts), p_name) RETURNING * $$;\n",
        );
    let platform = Platform::register(&cluster, "uses", &files);
    let row = platform.call("add_account", json!(["Ada"])).row();
    assert_eq!(row, json!({"id": 0, "code": "c42", "name": "Ada", "low": "ada", "touched": true}));
    platform.call("add_account", json!(["ADA"])).error(409, "query_failed");
    platform.call("add_account", json!(["bad"])).client_error();
    let before = platform.snapshot();
    platform.register_again(&files).ok();
    platform.assert_unchanged(&before, "nothing is new");
}

#[test]
fn seeders_in_the_order_of_the_foreign_keys() {
    let cluster = shared();
    let files = Files::new()
        .file("tables/a_child.pssql", "CREATE TABLE a_child (id int PRIMARY KEY, parent int NOT NULL REFERENCES z_parent);\n")
        .file("tables/z_parent.pssql", "CREATE TABLE z_parent (id int PRIMARY KEY, name text);\n")
        .file("seeders/a_child.pssql", "INSERT INTO a_child (id, parent) VALUES (1, 7), (2, 8);\n")
        .file("seeders/z_parent.pssql", "INSERT INTO z_parent (id, name) VALUES (7, 'seven');\nINSERT INTO z_parent (id, name) SELECT 8, 'eight';\n");
    let platform = Platform::unregistered(&cluster, "seed");
    let answer = platform.register_again(&files).ok();
    let mut seeders: Vec<(String, i64)> = answer
        .array("seeders")
        .iter()
        .map(|s| {
            (
                s["table"].as_str().unwrap_or("?").trim_start_matches("public.").to_owned(),
                s["inserted"].as_i64().unwrap_or(-1),
            )
        })
        .collect();
    seeders.sort();
    assert_eq!(seeders, [("a_child".to_owned(), 2), ("z_parent".to_owned(), 2)], "{answer}");
    // A table with rows is left alone; an empty one is seeded again.
    let mut client = platform.connect();
    sql::done(client.batch_execute(
        "DELETE FROM a_child; DELETE FROM z_parent WHERE id = 8; INSERT INTO z_parent VALUES (8, 'mine')",
    ));
    platform.register_again(&files).ok();
    assert_eq!(sql::texts(&mut client, "SELECT name FROM z_parent ORDER BY id"), ["seven", "mine"]);
    assert_eq!(sql::text(&mut client, "SELECT count(*) FROM a_child"), "2");
}

#[test]
fn a_function_in_a_table_file_is_a_function_of_the_bundle() {
    let cluster = shared();
    let files = Files::new().file(
        "tables/notes.pssql",
        "CREATE TABLE notes (id int PRIMARY KEY);\nCREATE FUNCTION count_notes() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM notes';\n",
    );
    let platform = Platform::register(&cluster, "infile", &files);
    assert_eq!(platform.call("count_notes", json!([])).value(), 0);
}
