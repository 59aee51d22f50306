//! `-- @renamed from=old` above a column or a table: the rows stay.

use acceptance::{Files, Platform, shared, sql};
use serde_json::json;

use crate::{assert_exact, by_hand, migrate};

fn base() -> Files {
    Files::new()
        .file("tables/owners.pssql", "CREATE TABLE owners (id serial PRIMARY KEY, name text NOT NULL UNIQUE);\n")
        .file(
            "tables/items.pssql",
            "CREATE TABLE items (\n    id bigserial PRIMARY KEY,\n    name text NOT NULL CHECK (name <> ''),\n    owner int REFERENCES owners (id)\n);\n\
             CREATE INDEX items_by_name ON items (lower(name));\nCOMMENT ON COLUMN items.name IS 'what it is called';\n",
        )
        .file("views/names.pssql", "CREATE VIEW names AS SELECT id, name FROM items;\n")
        .file("functions/add_item.pssql", "CREATE FUNCTION add_item(n text) RETURNS bigint LANGUAGE sql AS $$ INSERT INTO items (name, owner) VALUES (n, 1) RETURNING id $$;\n")
}

fn column_renamed(annotation: &str) -> Files {
    base()
        .edit(
            "tables/items.pssql",
            "    name text NOT NULL CHECK (name <> '')",
            &format!("{annotation}    title text NOT NULL CHECK (title <> '')"),
        )
        .edit("tables/items.pssql", "lower(name)", "lower(title)")
        .edit("tables/items.pssql", "items.name", "items.title")
        .edit("views/names.pssql", "id, name", "id, title AS name")
        .edit("functions/add_item.pssql", "(name, owner)", "(title, owner)")
}

fn table_renamed(annotation: &str) -> Files {
    base()
        .without("tables/items.pssql")
        .file(
            "tables/things.pssql",
            format!(
                "{annotation}CREATE TABLE things (\n    id bigserial PRIMARY KEY,\n    name text NOT NULL CHECK (name <> ''),\n    owner int REFERENCES owners (id)\n);\n\
                 CREATE INDEX things_by_name ON things (lower(name));\nCOMMENT ON COLUMN things.name IS 'what it is called';\n"
            ),
        )
        .edit("views/names.pssql", "items", "things")
        .edit("functions/add_item.pssql", "items", "things")
}

#[track_caller]
fn grown<'a>(cluster: &'a acceptance::Cluster, prefix: &str) -> Platform<'a> {
    let platform = Platform::register(cluster, prefix, &base());
    by_hand(&mut platform.connect(), "INSERT INTO owners (name) VALUES ('o')");
    for name in ["a", "b"] {
        platform.call("add_item", json!([name])).ok();
    }
    platform
}

const ROWS: &str = "SELECT id || name FROM names ORDER BY id";

#[test]
fn a_renamed_column_keeps_its_rows() {
    let cluster = shared();
    let files = column_renamed("    -- @renamed from=name\n");
    let platform = grown(&cluster, "rencol");
    let dry = migrate(&cluster, &platform, "main", &files, &[("dry_run", "true")]).ok();
    let renames =
        dry.array("plan").iter().any(|step| step["sql"].as_str().is_some_and(|sql| sql.contains("RENAME COLUMN")));
    assert!(renames, "{dry}");
    let answer = platform.migrate(&files).ok();
    assert_eq!(answer.json["schema_validation"]["dataloss_changes"], json!([]), "{answer}");
    assert_eq!(sql::texts(&mut platform.connect(), ROWS), ["1a", "2b"]);
    assert_eq!(platform.call("add_item", json!(["c"])).value(), 3);
    assert_exact(&cluster, &platform, "main", "a column was renamed");
    // The line stays in the file: nothing more to do, and a new tenant has it from the first.
    let before = platform.snapshot();
    platform.migrate(&files).ok();
    platform.assert_unchanged(&before, "it was renamed already");
    platform.migrate(&files.clone().file("views/more.pssql", "CREATE VIEW more AS SELECT 1 AS a;\n")).ok();
    assert_eq!(sql::texts(&mut platform.connect(), ROWS), ["1a", "2b", "3c"]);
    platform.register_tenant("fresh", &files).ok();
    assert_exact(&cluster, &platform, "fresh", "it is new");
}

#[test]
fn a_renamed_table_keeps_its_rows() {
    let cluster = shared();
    let files = table_renamed("-- @renamed from=items\n");
    let platform = grown(&cluster, "rentab");
    let oid = sql::text(&mut platform.connect(), "SELECT 'items'::regclass::oid");
    let answer = platform.migrate(&files).ok();
    assert_eq!(answer.json["schema_validation"]["dataloss_changes"], json!([]), "{answer}");
    let mut client = platform.connect();
    assert_eq!(sql::text(&mut client, "SELECT 'things'::regclass::oid"), oid, "it is the same table");
    assert_eq!(sql::text(&mut client, "SELECT to_regclass('items') IS NULL"), "t");
    assert_eq!(sql::texts(&mut client, ROWS), ["1a", "2b"]);
    assert_eq!(platform.call("add_item", json!(["c"])).value(), 3, "its sequence goes on");
    assert_exact(&cluster, &platform, "main", "a table was renamed");
    let before = platform.snapshot();
    platform.migrate(&files).ok();
    platform.assert_unchanged(&before, "it was renamed already");
    platform.register_tenant("fresh", &files).ok();
    assert_exact(&cluster, &platform, "fresh", "it is new");
}

#[test]
fn both_at_once() {
    let cluster = shared();
    let files = table_renamed("-- @renamed from=items\n")
        .edit(
            "tables/things.pssql",
            "    name text NOT NULL CHECK (name <> '')",
            "    -- @renamed from=name\n    title text NOT NULL CHECK (title <> '')",
        )
        .edit("tables/things.pssql", "lower(name)", "lower(title)")
        .edit("tables/things.pssql", "things.name", "things.title")
        .edit("views/names.pssql", "id, name", "id, title AS name")
        .edit("functions/add_item.pssql", "(name, owner)", "(title, owner)");
    let platform = grown(&cluster, "renboth");
    platform.migrate(&files).ok();
    assert_eq!(sql::texts(&mut platform.connect(), ROWS), ["1a", "2b"]);
    assert_exact(&cluster, &platform, "main", "a table and a column of it were renamed");
}

#[test]
fn without_the_line_it_is_a_drop_and_an_add() {
    let cluster = shared();
    for (files, allow, kind) in
        [(column_renamed(""), "drop_column", "DropColumn"), (table_renamed(""), "drop_table", "DropTable")]
    {
        let platform = grown(&cluster, "rennot");
        let before = platform.snapshot();
        let answer = platform.migrate(&files).error(409, "schema_validation_failed");
        let lost = &answer.json["schema_validation"]["dataloss_changes"];
        assert!(lost.as_array().is_some_and(|all| all.iter().any(|change| change["change_type"] == kind)), "{answer}");
        assert!(answer.str("hint").contains(allow), "{answer}");
        platform.assert_unchanged(&before, kind);
    }
}

#[test]
fn names_that_need_quotes_are_renamed_too() {
    let cluster = shared();
    let old =
        Files::new().file("tables/t.pssql", "CREATE TABLE \"My Table\" (id int PRIMARY KEY, \"Old Name\" text);\n");
    let platform = Platform::register(&cluster, "renquote", &old);
    by_hand(&mut platform.connect(), "INSERT INTO \"My Table\" VALUES (1, 'x')");
    let new = Files::new().file("tables/t.pssql", "CREATE TABLE \"My Table\" (\n    id int PRIMARY KEY,\n    -- @renamed from=\"Old Name\"\n    \"New Name\" text\n);\n");
    platform.migrate(&new).ok();
    assert_eq!(sql::texts(&mut platform.connect(), "SELECT \"New Name\" FROM \"My Table\""), ["x"]);
    assert_exact(&cluster, &platform, "main", "a quoted column was renamed");
}
