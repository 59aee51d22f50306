//! Migrations on databases that have grown use what the same bundle declares, whatever comes first.

use acceptance::{Files, Platform, shared, sql};
use serde_json::json;

use crate::{assert_exact, by_hand, migrate};

pub fn base() -> Files {
    Files::new()
        .file("types/status.pssql", "CREATE TYPE status AS ENUM ('new', 'done');\n")
        .file("tables/items.pssql", "CREATE TABLE items (\n    id bigserial PRIMARY KEY,\n    name text NOT NULL,\n    status status NOT NULL DEFAULT 'new',\n    note text\n);\n")
        .file(
            "functions/add_item.pssql",
            "CREATE FUNCTION add_item(n text) RETURNS bigint LANGUAGE sql AS $$ INSERT INTO items (name) VALUES (n) RETURNING id $$;\n",
        )
}

/// A platform whose main database has two rows.
#[track_caller]
pub fn grown<'a>(cluster: &'a acceptance::Cluster, prefix: &str) -> Platform<'a> {
    let platform = Platform::register(cluster, prefix, &base());
    for name in ["Ada Lovelace", "Bob"] {
        platform.call("add_item", json!([name])).ok();
    }
    platform
}

/// What is declared beside a migration that uses it: name, files, a query, its rows on the grown database.
type Case = (&'static str, fn() -> Files, &'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "a new type",
        || {
            base()
                .file("types/color.pssql", "CREATE TYPE color AS ENUM ('red', 'blue');\n")
                .edit("tables/items.pssql", "note text", "note text,\n    color color")
                .file(
                    "migrations/001_x.pssql",
                    "ALTER TABLE items ADD COLUMN color color;\nUPDATE items SET color = 'red'::color;\n",
                )
        },
        "SELECT name || ' ' || color FROM items ORDER BY id",
        &["Ada Lovelace red", "Bob red"],
    ),
    (
        "a new domain on a new type",
        || {
            base()
                .file("types/b_short.pssql", "CREATE DOMAIN b_short AS text CHECK (length(VALUE) < 5);\n")
                .file("types/a_pair.pssql", "CREATE TYPE a_pair AS (x b_short, y int);\n")
                .file("migrations/001_x.pssql", "UPDATE items SET note = (ROW('ab', 1)::a_pair).x;\n")
        },
        "SELECT note FROM items",
        &["ab", "ab"],
    ),
    (
        "a new table",
        || {
            base()
                .file("tables/tags.pssql", "CREATE TABLE tags (id serial PRIMARY KEY, item bigint NOT NULL REFERENCES items, tag text UNIQUE);\n")
                .file("migrations/001_x.pssql", "INSERT INTO tags (item, tag) SELECT id, lower(name) FROM items ORDER BY id;\n")
        },
        "SELECT item || tag FROM tags ORDER BY id",
        &["1ada lovelace", "2bob"],
    ),
    (
        "a new column",
        || {
            base()
                .edit("tables/items.pssql", "note text", "note text,\n    upper_name text")
                .file("migrations/001_x.pssql", "UPDATE items SET upper_name = upper(name);\n")
        },
        "SELECT upper_name FROM items ORDER BY id",
        &["ADA LOVELACE", "BOB"],
    ),
    (
        "a new column that must not be null",
        || {
            base()
                .edit("tables/items.pssql", "note text", "note text,\n    upper_name text NOT NULL")
                .file(
                    "migrations/001_x.pssql",
                    "ALTER TABLE items ADD COLUMN upper_name text;\nUPDATE items SET upper_name = upper(name);\nALTER TABLE items ALTER upper_name SET NOT NULL;\n",
                )
        },
        "SELECT upper_name FROM items ORDER BY id",
        &["ADA LOVELACE", "BOB"],
    ),
    (
        "a new column that must not be null, which the migration only fills",
        || {
            base()
                .edit("tables/items.pssql", "note text", "note text,\n    upper_name text NOT NULL DEFAULT ''")
                .file("migrations/001_x.pssql", "UPDATE items SET upper_name = upper(name);\n")
        },
        "SELECT upper_name FROM items ORDER BY id",
        &["ADA LOVELACE", "BOB"],
    ),
    (
        "a new function",
        || {
            base()
                .file("functions/slug.pssql", "CREATE FUNCTION slug(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(replace(t, ' ', '-')) $$;\n")
                .file("migrations/001_x.pssql", "UPDATE items SET note = slug(name);\n")
        },
        "SELECT note FROM items ORDER BY id",
        &["ada-lovelace", "bob"],
    ),
    (
        "a new view",
        || {
            base()
                .file("views/names.pssql", "CREATE VIEW names AS SELECT id, upper(name) AS loud FROM items;\n")
                .file("migrations/001_x.pssql", "UPDATE items SET note = loud FROM names WHERE names.id = items.id;\n")
        },
        "SELECT note FROM items ORDER BY id",
        &["ADA LOVELACE", "BOB"],
    ),
    (
        "a function on a new table with a new type",
        || {
            base()
                .file("types/color.pssql", "CREATE TYPE color AS ENUM ('red', 'blue');\n")
                .file("tables/paints.pssql", "CREATE TABLE paints (id int PRIMARY KEY, color color NOT NULL DEFAULT 'blue');\n")
                .file("functions/paint.pssql", "CREATE FUNCTION paint(i int) RETURNS color LANGUAGE sql AS $$ INSERT INTO paints VALUES (i) RETURNING color $$;\n")
                .file("migrations/001_x.pssql", "SELECT paint(id::int) FROM items;\nUPDATE items SET note = (SELECT color FROM paints WHERE paints.id = items.id);\n")
        },
        "SELECT note FROM items ORDER BY id",
        &["blue", "blue"],
    ),
    (
        "a new enum value as a default",
        || {
            base().edit("types/status.pssql", "'done'", "'done', 'archived'").edit(
                "tables/items.pssql",
                "DEFAULT 'new'",
                "DEFAULT 'archived'",
            )
        },
        "SELECT status::text FROM items UNION ALL (SELECT column_default::text FROM information_schema.columns WHERE column_name = 'status' AND table_name = 'items')",
        &["new", "new", "'archived'::status"],
    ),
    (
        "a new enum value in a migration",
        || {
            base()
                .edit("types/status.pssql", "'done'", "'half', 'done'")
                .file("migrations/001_x.pssql", "UPDATE items SET status = 'half' WHERE name = 'Bob';\n")
        },
        "SELECT status FROM items ORDER BY status",
        &["new", "half"],
    ),
    (
        "an enum value that the migration itself adds",
        || {
            base()
                .edit("types/status.pssql", "'done'", "'done', 'lost'")
                .file("migrations/001_x.pssql", "ALTER TYPE status ADD VALUE 'lost';\n")
                .file("migrations/002_x.pssql", "UPDATE items SET status = 'lost';\n")
        },
        "SELECT status FROM items",
        &["lost", "lost"],
    ),
    (
        "a renamed column",
        || {
            base()
                .edit("tables/items.pssql", "name text NOT NULL", "title text NOT NULL")
                .edit("functions/add_item.pssql", "(name)", "(title)")
                .file("migrations/001_x.pssql", "ALTER TABLE items RENAME COLUMN name TO title;\n")
        },
        "SELECT title FROM items ORDER BY id",
        &["Ada Lovelace", "Bob"],
    ),
    (
        "a column that becomes NOT NULL after its rows were filled",
        || {
            base()
                .edit("tables/items.pssql", "note text", "note text NOT NULL")
                .edit("functions/add_item.pssql", "items (name) VALUES (n)", "items (name, note) VALUES (n, '')")
                .file(
                    "migrations/001_x.pssql",
                    "UPDATE items SET note = '' WHERE note IS NULL;\nALTER TABLE items ALTER note SET NOT NULL;\n",
                )
        },
        "SELECT name || note FROM items ORDER BY id",
        &["Ada Lovelace", "Bob"],
    ),
    (
        "a column whose type a migration converts",
        || {
            base()
                .edit("tables/items.pssql", "note text", "note int")
                .file("migrations/001_x.pssql", "ALTER TABLE items ALTER note TYPE int USING length(name);\n")
        },
        "SELECT note FROM items ORDER BY id",
        &["12", "3"],
    ),
];

#[test]
fn a_migration_uses_what_the_bundle_declares_on_a_grown_database_and_on_a_new_one() {
    let cluster = shared();
    let mut wrong = Vec::new();
    for (what, files, query, expected) in CASES {
        let files = files();
        let platform = grown(&cluster, "ahead");
        // A dry run says the same as the deed: it goes.
        let dry = migrate(&cluster, &platform, "main", &files, &[("dry_run", "true")]);
        if dry.status != 200 {
            wrong.push(format!("{what}: a dry run fails: {dry}"));
        }
        let answer = platform.migrate(&files);
        if answer.status != 200 {
            wrong.push(format!("{what}: {answer}"));
            continue;
        }
        let rows = sql::texts(&mut platform.connect(), query);
        if rows != *expected {
            wrong.push(format!("{what}: {rows:?} instead of {expected:?}: {answer}"));
        }
        // A new enum value can be used when it is committed, which a dry run does not: then it says so and approves nothing.
        let tried = dry.status == 200 && (dry.json["plan_fingerprint"] != "" || crate::warnings(&dry).is_empty());
        if tried && dry.json["plan_fingerprint"] != answer.json["plan_fingerprint"] {
            wrong.push(format!("{what}: another plan ran than was shown: {dry}\n{answer}"));
        }
        let drift = crate::check(&cluster, &platform.name, "main");
        if !drift.is_empty() {
            wrong.push(format!("{what}: the grown one differs: {drift:?}"));
        }
        let fresh = platform.register_tenant("fresh", &files);
        let drift = if fresh.status == 200 { crate::check(&cluster, &platform.name, "fresh") } else { Vec::new() };
        if fresh.status != 200 || !drift.is_empty() {
            wrong.push(format!("{what}: a new one: {drift:?} {fresh}"));
        }
        let again = platform.migrate(&files);
        if again.json["migrations_applied"] != 0 || again.json["functions_updated"] != 0 {
            wrong.push(format!("{what}: a second time there is something to do: {again}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

#[test]
fn rows_that_a_plan_would_hurt_need_to_be_allowed_unless_a_migration_takes_care() {
    let cluster = shared();
    // Dropped by a migration: the rows are lost whoever does it.
    let platform = grown(&cluster, "mdrop");
    let files = base()
        .edit("tables/items.pssql", ",\n    note text", "")
        .file("migrations/001_x.pssql", "ALTER TABLE items DROP COLUMN note;\n");
    let before = platform.snapshot();
    let answer = platform.migrate(&files).error(409, "schema_validation_failed");
    let lost = &answer.json["schema_validation"]["dataloss_changes"];
    assert_eq!((&lost[0]["change_type"], &lost[0]["column"]), (&json!("DropColumn"), &json!("note")), "{answer}");
    assert!(answer.str("hint").contains("drop_column"), "{answer}");
    platform.assert_unchanged(&before, "a column would have been lost");
    migrate(&cluster, &platform, "main", &files, &[("allow", "set_not_null,drop_table")])
        .error(409, "schema_validation_failed");
    platform.assert_unchanged(&before, "another kind was allowed");
    migrate(&cluster, &platform, "main", &files, &[("allow", "drop_column")]).ok().field("migrations_applied", 1);
    assert_exact(&cluster, &platform, "main", "the column was dropped");

    // SET NOT NULL without a migration, and with one that forgets the rows.
    let platform = grown(&cluster, "mnull");
    let files = base().edit("tables/items.pssql", "note text", "note text NOT NULL");
    let before = platform.snapshot();
    platform.migrate(&files).error(409, "schema_validation_failed").says("set_not_null");
    let answer =
        migrate(&cluster, &platform, "main", &files, &[("allow", "set_not_null")]).error(422, "migration_failed");
    assert_eq!(answer.str("sqlstate"), "23502", "{answer}");
    platform.assert_unchanged(&before, "rows have no value");
    // With one that takes care it is safe, and says so.
    let careful = files
        .file("migrations/001_x.pssql", "UPDATE items SET note = '';\nALTER TABLE items ALTER note SET NOT NULL;\n");
    let answer = platform.migrate(&careful).ok();
    assert_eq!(answer.json["schema_validation"]["dataloss_changes"], json!([]), "{answer}");
}

#[test]
fn a_failure_after_a_new_enum_value_names_the_value_that_stays() {
    let cluster = shared();
    let platform = grown(&cluster, "enumfail");
    platform.call("add_item", json!(["Bob"])).ok();
    let good = base().edit("types/status.pssql", "'done'", "'done', 'archived'");
    let files = good.clone().edit("tables/items.pssql", "name text NOT NULL", "name text NOT NULL UNIQUE");
    let answer = platform.migrate(&files).client_error();
    assert_eq!(answer.str("sqlstate"), "23505", "{answer}");
    assert!(answer.str("detail").contains("archived") && answer.str("detail").contains("status"), "{answer}");
    let labels = "SELECT enum_range(NULL::status)::text";
    assert_eq!(sql::text(&mut platform.connect(), labels), "{new,done,archived}", "it stays, as was said");
    let drift = crate::check(&cluster, &platform.name, "main");
    assert_eq!(drift, [crate::line("enum", "status", "changed")], "and nothing else");
    // The next one, mended, finds it there.
    by_hand(&mut platform.connect(), "DELETE FROM items WHERE id = 3");
    platform.migrate(&files).ok();
    assert_exact(&cluster, &platform, "main", "the next one went through");
}
