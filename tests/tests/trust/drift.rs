//! What somebody changed by hand is listed object by object, and the next deployment repairs it, leaving alone what is not the bundle's.

use acceptance::{Files, Platform, shared, sql};
use serde_json::json;

use crate::{Line, assert_exact, by_hand, check, line, migrate, warnings};

fn bundle() -> Files {
    Files::new()
        .file("types/mood.pssql", "CREATE TYPE mood AS ENUM ('sad', 'happy');\n")
        .file("types/short.pssql", "CREATE DOMAIN short AS text CHECK (length(VALUE) < 20);\n")
        .file("tables/numbers.pssql", "CREATE SEQUENCE numbers START 100 INCREMENT 10;\n")
        .file("tables/plain.pssql", "CREATE TABLE plain (a int, b text);\n")
        .file("tables/makers.pssql", "CREATE TABLE makers (id int PRIMARY KEY, name text NOT NULL);\n")
        .file(
            "tables/items.pssql",
            "CREATE TABLE items (\n    id bigserial PRIMARY KEY,\n    name short NOT NULL,\n    qty int NOT NULL DEFAULT 1 CONSTRAINT qty_positive CHECK (qty > 0),\n    \
             maker int CONSTRAINT items_maker REFERENCES makers (id),\n    mood mood,\n    note text,\n    touched boolean\n);\n\
             CREATE INDEX items_by_name ON items (lower(name));\nCREATE UNIQUE INDEX items_note ON items (note) WHERE note IS NOT NULL;\n\
             COMMENT ON TABLE items IS 'what is sold';\nCOMMENT ON COLUMN items.qty IS 'how many';\n\
             CREATE TRIGGER touch BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION touch();\n\
             ALTER TABLE makers ENABLE ROW LEVEL SECURITY;\nCREATE POLICY all_makers ON makers USING (true);\n",
        )
        .file(
            "functions/touch.pssql",
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := true; RETURN NEW; END $$;\n",
        )
        .file("functions/total.pssql", "CREATE FUNCTION total() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT sum(qty) FROM items $$;\n")
        .file("functions/twice.pssql", "CREATE FUNCTION twice(i int DEFAULT 2) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT i * 2 $$;\n")
        .file("functions/twice_text.pssql", "CREATE FUNCTION twice(t text) RETURNS text LANGUAGE sql AS $$ SELECT t || t $$;\n")
        .file("views/stock.pssql", "CREATE VIEW stock AS SELECT id, name, qty FROM items WHERE qty > 0;\n")
}

/// Each alone: what somebody does, and the one line that tells it.
const CHANGES: &[(&str, (&str, &str, &str))] = &[
    (
        "CREATE OR REPLACE FUNCTION total() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT sum(qty) + 1 FROM items $$",
        ("routine", "total()", "changed"),
    ),
    ("ALTER FUNCTION total() VOLATILE", ("routine", "total()", "changed")),
    ("ALTER FUNCTION total() SECURITY DEFINER", ("routine", "total()", "changed")),
    ("ALTER FUNCTION total() SET search_path = pg_catalog", ("routine", "total()", "changed")),
    ("DROP FUNCTION twice(text)", ("routine", "twice(text)", "missing")),
    ("REVOKE EXECUTE ON FUNCTION total() FROM {call}", ("routine", "total()", "changed")),
    ("GRANT EXECUTE ON FUNCTION total() TO stonescriptdb_admin", ("routine", "total()", "changed")),
    ("REVOKE SELECT ON items FROM {call}", ("table", "items", "changed")),
    ("DROP INDEX items_by_name", ("index", "items_by_name", "missing")),
    ("DROP INDEX items_note; CREATE UNIQUE INDEX items_note ON items (note)", ("index", "items_note", "changed")),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'items_by_name'::regclass",
        ("index", "items_by_name", "changed"),
    ),
    ("ALTER TABLE items ALTER qty SET DEFAULT 5", ("column", "items.qty", "changed")),
    ("ALTER TABLE items DROP COLUMN touched", ("column", "items.touched", "missing")),
    ("COMMENT ON TABLE items IS 'what is not sold'", ("table", "items", "changed")),
    ("COMMENT ON COLUMN items.qty IS NULL", ("column", "items.qty", "changed")),
    ("COMMENT ON FUNCTION total() IS 'by hand'", ("routine", "total()", "changed")),
    ("ALTER TABLE items DISABLE TRIGGER touch", ("trigger", "items.touch", "changed")),
    ("DROP TRIGGER touch ON items", ("trigger", "items.touch", "missing")),
    ("ALTER TABLE items DROP CONSTRAINT qty_positive", ("constraint", "items.qty_positive", "missing")),
    (
        "ALTER TABLE items DROP CONSTRAINT items_maker; ALTER TABLE items ADD CONSTRAINT items_maker FOREIGN KEY (maker) REFERENCES makers ON DELETE CASCADE",
        ("constraint", "items.items_maker", "changed"),
    ),
    (
        "ALTER TABLE items DROP CONSTRAINT items_maker; ALTER TABLE items ADD CONSTRAINT items_maker FOREIGN KEY (maker) REFERENCES makers NOT VALID",
        ("constraint", "items.items_maker", "changed"),
    ),
    ("DROP POLICY all_makers ON makers", ("policy", "makers.all_makers", "missing")),
    ("ALTER POLICY all_makers ON makers USING (id > 0)", ("policy", "makers.all_makers", "changed")),
    ("ALTER TABLE makers DISABLE ROW LEVEL SECURITY", ("table", "makers", "changed")),
    ("ALTER TABLE items SET (fillfactor = 50)", ("table", "items", "changed")),
    ("ALTER TABLE plain SET UNLOGGED", ("table", "plain", "changed")),
    ("CREATE OR REPLACE VIEW stock AS SELECT id, name, qty FROM items", ("view", "stock", "changed")),
    ("DROP VIEW stock", ("view", "stock", "missing")),
    ("ALTER SEQUENCE numbers INCREMENT 1", ("sequence", "numbers", "changed")),
    ("ALTER DOMAIN short DROP CONSTRAINT short_check", ("domain", "short", "changed")),
    ("ALTER TABLE items REPLICA IDENTITY FULL", ("table", "items", "changed")),
    ("ALTER TABLE items ALTER note SET STATISTICS 500", ("column", "items.note", "changed")),
    ("ALTER TABLE items ALTER note SET STORAGE EXTERNAL", ("column", "items.note", "changed")),
];

#[test]
fn a_fresh_tenant_has_no_drift() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "nodrift", &bundle());
    platform.register_tenant("a", &bundle()).ok();
    for tenant in ["main", "a"] {
        assert_exact(&cluster, &platform, tenant, "it is new");
    }
    let view = format!("SELECT object FROM stonescriptdb.drift WHERE platform = '{}'", platform.name);
    assert_eq!(sql::texts(&mut cluster.control(), &view), Vec::<String>::new());
    // By the default it is the platform's own.
    let default = format!("SELECT object FROM stonescriptdb.check('{}')", platform.name);
    assert_eq!(sql::texts(&mut cluster.control(), &default), Vec::<String>::new());
    // Rows are no drift, nor is the use of sequences.
    let mut client = platform.connect();
    by_hand(&mut client, "INSERT INTO items (name) VALUES ('a'); SELECT nextval('numbers'); ANALYZE");
    assert_exact(&cluster, &platform, "main", "there are rows");
    let refused =
        acceptance::refused(cluster.control().query("SELECT * FROM stonescriptdb.check('nosuchplatform')", &[]));
    refused.meant().says("nosuchplatform");
}

#[test]
fn each_change_by_hand_is_listed_and_repaired() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "drift", &bundle());
    let mut client = platform.connect();
    by_hand(
        &mut client,
        "INSERT INTO makers VALUES (1, 'm'); INSERT INTO items (name, qty, maker, note) SELECT 'i' || g, g, 1, 'n' || g FROM generate_series(1, 20) g",
    );
    let rows = "SELECT md5(string_agg(concat_ws(' ', id, name, qty, maker, mood, note), ',' ORDER BY id)) FROM items";
    let before = sql::text(&mut client, rows);
    let mut wrong = Vec::new();
    for (change, (kind, object, deviation)) in CHANGES {
        by_hand(&mut client, &change.replace("{call}", &platform.call_role()));
        let listed = check(&cluster, &platform.name, "main");
        if listed != [line(kind, object, deviation)] {
            wrong.push(format!("{change}: listed as {listed:?}"));
        }
        let answer = migrate(&cluster, &platform, "main", &bundle(), &[]);
        if answer.status != 200 {
            wrong.push(format!("{change}: not repaired: {answer}"));
        }
        let left = check(&cluster, &platform.name, "main");
        if !left.is_empty() {
            wrong.push(format!("{change}: after the repair there is {left:?}"));
            migrate(&cluster, &platform, "main", &bundle(), &[("verify", "full"), ("force", "true")]);
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CHANGES.len(), wrong.join("\n"));
    assert_eq!(sql::text(&mut client, rows), before, "the rows");
    assert_eq!(platform.call("total", json!([])).value(), 210);
}

/// Rows that came since may have no value: what repairs it is what would be refused of a new bundle.
#[test]
fn a_lost_not_null_is_listed_and_repaired_where_that_is_allowed() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "notnull", &bundle());
    let mut client = platform.connect();
    by_hand(&mut client, "ALTER TABLE items ALTER qty DROP NOT NULL; INSERT INTO items (name, qty) VALUES ('a', NULL)");
    assert_eq!(check(&cluster, &platform.name, "main"), [line("column", "items.qty", "changed")]);
    migrate(&cluster, &platform, "main", &bundle(), &[]).error(409, "schema_validation_failed").says("set_not_null");
    let answer = migrate(&cluster, &platform, "main", &bundle(), &[("allow", "set_not_null")]).client_error();
    assert_eq!(answer.str("sqlstate"), "23502", "PostgreSQL says why the rows cannot: {answer}");
    by_hand(&mut client, "UPDATE items SET qty = 1");
    migrate(&cluster, &platform, "main", &bundle(), &[("allow", "set_not_null")]).ok();
    assert_exact(&cluster, &platform, "main", "it was repaired");
}

#[test]
fn everything_at_once_in_one_tenant_of_several() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "many", &bundle());
    platform.register_tenant("a", &bundle()).ok();
    platform.register_tenant("b", &bundle()).ok();
    let mut client = cluster.connect(&platform.database_of("a"));
    by_hand(&mut client, "INSERT INTO items (name, qty) VALUES ('one', 1), ('two', 2)");
    by_hand(
        &mut client,
        &"CREATE OR REPLACE FUNCTION total() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 0::bigint';
          DROP FUNCTION twice(text); DROP INDEX items_by_name; ALTER TABLE items ALTER qty SET DEFAULT 5;
          CREATE TABLE stray (id int PRIMARY KEY, a text); INSERT INTO stray VALUES (1, 'keep me');
          CREATE INDEX stray_index ON items (qty); ALTER TABLE items ADD COLUMN extra text DEFAULT 'mine';
          COMMENT ON TABLE items IS 'other'; REVOKE EXECUTE ON FUNCTION twice(int) FROM {call}, PUBLIC;
          ALTER TABLE items DISABLE TRIGGER touch; CREATE FUNCTION stray_function() RETURNS int LANGUAGE sql AS 'SELECT 1'"
            .replace("{call}", &platform.call_role()),
    );
    let expected = [
        line("column", "items.extra", "extra"),
        line("column", "items.qty", "changed"),
        line("index", "items_by_name", "missing"),
        line("index", "stray_index", "extra"),
        line("routine", "stray_function()", "extra"),
        line("routine", "total()", "changed"),
        line("routine", "twice(integer)", "changed"),
        line("routine", "twice(text)", "missing"),
        line("table", "items", "changed"),
        line("table", "stray", "extra"),
        line("trigger", "items.touch", "changed"),
    ];
    // Of an extra table its parts may be listed too.
    let without_parts = |lines: Vec<Line>| -> Vec<Line> {
        lines.into_iter().filter(|(_, object, _)| !object.starts_with("stray.") && object != "stray_pkey").collect()
    };
    assert_eq!(without_parts(check(&cluster, &platform.name, "a")), expected);
    let view = "SELECT tenant_id, database::text, kind, object, deviation FROM stonescriptdb.drift WHERE platform = $1 ORDER BY 3, 4, 5";
    let rows = sql::done(cluster.control().query(view, &[&platform.name]));
    for row in &rows {
        assert_eq!((row.get::<_, &str>(0), row.get::<_, String>(1)), ("a", platform.database_of("a")), "{rows:?}");
    }
    let listed: Vec<Line> = rows.iter().map(|row| (row.get(2), row.get(3), row.get(4))).collect();
    assert_eq!(without_parts(listed), expected, "the view drift");
    // The detail of a change says what it is.
    let detail = format!("SELECT detail FROM stonescriptdb.check('{}', 'a') WHERE object = 'items.qty'", platform.name);
    let detail = sql::text(&mut cluster.control(), &detail);
    assert!(detail.contains('5') && detail.contains('1') && detail.contains("default"), "{detail}");

    let answer = platform.migrate(&bundle()).ok();
    let said = warnings(&answer);
    assert!(said.contains("stray"), "the undeclared table is named: {answer}");
    let extras = [
        line("column", "items.extra", "extra"),
        line("index", "stray_index", "extra"),
        line("routine", "stray_function()", "extra"),
        line("table", "stray", "extra"),
    ];
    assert_eq!(without_parts(check(&cluster, &platform.name, "a")), extras, "{answer}");
    assert_eq!(sql::texts(&mut client, "SELECT a FROM stray"), ["keep me"]);
    assert_eq!(sql::texts(&mut client, "SELECT name || extra FROM items ORDER BY id"), ["onemine", "twomine"]);
    assert_eq!(platform.call_tenant("a", "total", json!([])).value(), 3);
    assert_eq!(platform.call_tenant("a", "twice", json!(["x"])).value(), "xx");
    assert_eq!(platform.call_tenant("a", "twice", json!([4])).value(), 8);
    platform.call_tenant("a", "stray_function", json!([])).error(403, "unauthorized_function");
    // And again there is nothing to do, though the extras are still there.
    let before = acceptance::Snapshot::of(&cluster, &platform.database_of("a"));
    let answer = migrate(&cluster, &platform, "a", &bundle(), &[("verify", "full")]).ok();
    assert!(warnings(&answer).contains("stray"), "it is still undeclared: {answer}");
    before.assert_unchanged(&cluster, &platform.database_of("a"), "there was nothing to repair");
}

#[test]
fn a_register_at_a_container_start_repairs_too() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "regrep", &bundle());
    by_hand(&mut platform.connect(), "DROP FUNCTION total(); DROP INDEX items_by_name");
    platform.call("total", json!([])).client_error();
    platform.register_again(&bundle()).ok();
    assert_exact(&cluster, &platform, "main", "it was registered again");
    platform.call("total", json!([])).ok();
}

#[test]
fn looking_for_drift_changes_nothing_and_needs_the_right() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "lookdrift", &bundle());
    by_hand(&mut platform.connect(), "DROP INDEX items_by_name");
    let before = platform.snapshot();
    assert_eq!(check(&cluster, &platform.name, "main"), [line("index", "items_by_name", "missing")]);
    sql::texts(&mut cluster.control(), "SELECT object FROM stonescriptdb.drift");
    platform.assert_unchanged(&before, "somebody looked");
    let mut control = cluster.control();
    by_hand(&mut control, "CREATE ROLE drift_nobody LOGIN; CREATE ROLE drift_admin LOGIN IN ROLE stonescriptdb_admin");
    let query = format!("SELECT object FROM stonescriptdb.check('{}')", platform.name);
    acceptance::refused(cluster.connect_as("drift_nobody", "postgres").query(&query, &[])).sqlstate("42501");
    let mut admin = cluster.connect_as("drift_admin", "postgres");
    assert_eq!(sql::texts(&mut admin, &query), ["items_by_name"]);
    let view = format!("SELECT object FROM stonescriptdb.drift WHERE platform = '{}'", platform.name);
    assert_eq!(sql::texts(&mut admin, &view), ["items_by_name"]);
}
