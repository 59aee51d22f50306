//! Bundles that are right by themselves and fail on a tenant's rows.

use acceptance::{Files, shared, sql};

use crate::world::{World, grown};

/// What a newer bundle changes.
type Change = fn(Files) -> Files;

struct Case {
    name: &'static str,
    files: Change,
    more: &'static [(&'static str, &'static str)],
    code: &'static str,
    sqlstate: &'static str,
    /// The file at fault, and its line.
    place: (&'static str, i64),
    says: &'static str,
}

const PLAIN: &[(&str, &str)] = &[];
const FORCE: &[(&str, &str)] = &[("force", "true")];

const CASES: &[Case] = &[
    Case {
        name: "a migration sets NOT NULL",
        files: |files| {
            files.edit("tables/notes.pssql", "body citext", "body citext NOT NULL").file(
                "migrations/003_x.pssql",
                "-- 1\nDELETE FROM notes WHERE id = 1;\nALTER TABLE notes ALTER COLUMN body SET NOT NULL;\n",
            )
        },
        more: PLAIN,
        code: "migration_failed",
        sqlstate: "23502",
        place: ("migrations/003_x.pssql", 3),
        says: "body",
    },
    Case {
        name: "a table sets NOT NULL by force",
        files: |files| files.edit("tables/notes.pssql", "body citext", "body citext NOT NULL"),
        more: FORCE,
        code: "migration_failed",
        sqlstate: "23502",
        place: ("tables/notes.pssql", 1),
        says: "body",
    },
    Case {
        name: "a new column without a default by force",
        files: |files| files.edit("tables/items.pssql", "name text NOT NULL", "name text NOT NULL, more int NOT NULL"),
        more: &[("allow", "add_not_null_column")],
        code: "migration_failed",
        sqlstate: "23502",
        place: ("tables/items.pssql", 1),
        says: "more",
    },
    Case {
        name: "CHECK",
        files: |files| files.edit("tables/items.pssql", "qty int", "qty int CONSTRAINT enough CHECK (qty >= 0)"),
        more: PLAIN,
        code: "migration_failed",
        sqlstate: "23514",
        place: ("tables/items.pssql", 1),
        says: "enough",
    },
    Case {
        name: "UNIQUE",
        files: |files| files.edit("tables/items.pssql", "code text", "code text UNIQUE"),
        more: PLAIN,
        code: "migration_failed",
        sqlstate: "23505",
        place: ("tables/items.pssql", 1),
        says: "(code)=(x)",
    },
    Case {
        name: "a unique index",
        files: |files| {
            files.edit(
                "tables/notes.pssql",
                "CREATE INDEX",
                "CREATE UNIQUE INDEX notes_body ON notes (lower(body));\nCREATE INDEX",
            )
        },
        more: PLAIN,
        code: "migration_failed",
        sqlstate: "23505",
        place: ("tables/notes.pssql", 6),
        says: "twice",
    },
    Case {
        name: "EXCLUDE",
        files: |files| files.edit("tables/items.pssql", "code text", "code text, EXCLUDE USING btree (code WITH =)"),
        more: PLAIN,
        code: "migration_failed",
        sqlstate: "23P01",
        place: ("tables/items.pssql", 1),
        says: "(code)=(x)",
    },
    Case {
        name: "FOREIGN KEY",
        files: |files| files.edit("tables/items.pssql", "qty int", "qty int REFERENCES kinds (id)"),
        more: PLAIN,
        code: "migration_failed",
        sqlstate: "23503",
        place: ("tables/items.pssql", 1),
        says: "kinds",
    },
    Case {
        name: "a cast by force",
        files: |files| files.edit("tables/items.pssql", "name text", "name int"),
        more: FORCE,
        code: "migration_failed",
        sqlstate: "22P02",
        place: ("tables/items.pssql", 1),
        says: "\\\"pen\\\"",
    },
    Case {
        name: "a number that has no room",
        files: |files| files.edit("types/amount.pssql", "numeric(12,2)", "numeric(12,2) CHECK (VALUE < 1000)"),
        more: FORCE,
        code: "migration_failed",
        sqlstate: "23514",
        place: ("types/amount.pssql", 1),
        says: "price",
    },
    Case {
        name: "an enum value that is in use",
        files: |files| files.edit("types/status.pssql", ", 'done'", ""),
        more: FORCE,
        code: "migration_failed",
        sqlstate: "22P02",
        // It is the column's values that have no place in the new type.
        place: ("tables/items.pssql", 1),
        says: "done",
    },
    Case {
        name: "a migration that raises",
        files: |files| {
            files.file(
                "migrations/003_x.pssql",
                "CREATE TABLE IF NOT EXISTS half (id int);\n\nDO $$\nBEGIN\n    IF EXISTS (SELECT FROM notes) THEN\n        \
                 RAISE EXCEPTION 'there are notes' USING ERRCODE = 'ZX001', HINT = 'remove them';\n    END IF;\nEND $$;\n",
            )
        },
        more: PLAIN,
        code: "migration_failed",
        sqlstate: "ZX001",
        place: ("migrations/003_x.pssql", 3),
        says: "remove them",
    },
    Case {
        name: "the second of two migrations",
        files: |files| {
            files
                .file("migrations/003_x.pssql", "UPDATE items SET name = upper(name);\n")
                .file("migrations/004_y.pssql", "UPDATE items SET price = price / qty;\n")
        },
        more: PLAIN,
        code: "migration_failed",
        sqlstate: "22012",
        place: ("migrations/004_y.pssql", 1),
        says: "division by zero",
    },
    Case {
        name: "a materialized view",
        files: |files| {
            files.file(
                "views/shares.pssql",
                "-- 1\nCREATE MATERIALIZED VIEW shares AS SELECT price / qty AS share FROM items;\n",
            )
        },
        more: PLAIN,
        code: "function_deploy_failed",
        sqlstate: "22012",
        place: ("views/shares.pssql", 2),
        says: "division by zero",
    },
    Case {
        name: "an expression of an index",
        files: |files| {
            files.edit("tables/notes.pssql", "CREATE INDEX", "CREATE INDEX halves ON items ((1 / qty));\nCREATE INDEX")
        },
        more: PLAIN,
        code: "migration_failed",
        sqlstate: "22012",
        place: ("tables/notes.pssql", 6),
        says: "division by zero",
    },
    Case {
        name: "a generated column",
        files: |files| {
            files.edit("tables/items.pssql", "qty int", "qty int, share int GENERATED ALWAYS AS (1 / qty) STORED")
        },
        more: PLAIN,
        code: "migration_failed",
        sqlstate: "22012",
        place: ("tables/items.pssql", 1),
        says: "division by zero",
    },
    Case {
        name: "a seeder that runs",
        files: |files| {
            files
                .file("tables/tags.pssql", "CREATE TABLE tags (id bigint PRIMARY KEY);\n")
                .file("seeders/tags.pssql", "INSERT INTO tags VALUES (7);\n\nINSERT INTO tags SELECT 7 FROM notes;\n")
        },
        more: PLAIN,
        code: "seeder_failed",
        sqlstate: "23505",
        place: ("seeders/tags.pssql", 3),
        says: "tags_pkey",
    },
];

#[test]
fn a_bundle_that_a_tenants_rows_refuse_changes_nothing() {
    let cluster = shared();
    let world = World::new(&cluster, "rows");
    let before = world.now();
    let mut failures = Vec::new();
    for case in CASES {
        // Beside what fails there is something that would work, before it and after it.
        let files = (case.files)(grown())
            .edit("functions/f.pssql", "SELECT 2", "SELECT 3")
            .file("tables/aa_new.pssql", "CREATE TABLE aa_new (id int PRIMARY KEY);\n")
            .file("seeders/aa_new.pssql", "INSERT INTO aa_new VALUES (1);\n");
        let answer = cluster.http().migrate(&world.platform.name, None, &files.tar_gz(), case.more);
        let file = answer.json["file"].as_str().unwrap_or_default().to_owned();
        let right = answer.status == 422
            && answer.code() == case.code
            && answer.json["sqlstate"] == case.sqlstate
            && file.ends_with(case.place.0)
            && answer.json["line"] == case.place.1
            && answer.text.contains(case.says);
        if !right {
            failures
                .push(format!("{}: {} {} {:?} expected: {answer}", case.name, case.code, case.sqlstate, case.place));
        }
        if answer.status != 200 {
            assert_eq!(world.last_state(), "failed", "{}", case.name);
        }
        world.assert_unchanged_but_for_a_template(&before, case.name);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    world.assert_goes_in(&grown().edit("functions/f.pssql", "SELECT 2", "SELECT 3"), "after all these failures");
}

#[test]
fn a_seeders_rows_that_are_missing_are_listed_and_nothing_changes() {
    let cluster = shared();
    let world = World::new(&cluster, "rowsseed");
    sql::done(world.platform.connect().batch_execute("DELETE FROM kinds WHERE id = 2"));
    let before = world.now();
    let files = grown().edit("functions/f.pssql", "SELECT 2", "SELECT 3");
    let answer = world.platform.migrate(&files).error(422, "verification_failed").says("two");
    assert!(answer.str("file").ends_with("seeders/kinds.pssql"), "{answer}");
    world.assert_unchanged_but_for_a_template(&before, "a seeder's row is missing");
    // The same on a database that has nothing to do otherwise. Of all of them, those that are in the bundle's state are not looked into.
    let http = cluster.http();
    let one = http.migrate(&world.platform.name, Some("main"), &grown().tar_gz(), &[]);
    one.error(422, "verification_failed").says("two");
    world.assert_unchanged_but_for_a_template(&before, "a seeder's row is missing, again");
    http.migrate(&world.platform.name, None, &files.tar_gz(), &[("seeders", "insert_missing")]).ok();
    world.assert_settled(&files, "the row was inserted");
}

#[test]
fn data_loss_that_nobody_allowed_changes_nothing() {
    let cluster = shared();
    let world = World::new(&cluster, "rowsloss");
    let before = world.now();
    let changes: [(&str, Change); 4] = [
        ("a column", |files| files.edit("tables/items.pssql", "    code text,\n", "")),
        ("a table", |files| {
            files
                .without("tables/kinds.pssql")
                .without("seeders/kinds.pssql")
                .file("seeders/items.pssql", "SELECT 1;\n")
        }),
        ("an enum value", |files| files.edit("types/status.pssql", ", 'done'", "")),
        ("a migration's column", |files| {
            files.edit("tables/items.pssql", "    code text,\n", "").file(
                "migrations/003_x.pssql",
                "UPDATE items SET name = 'gone';\nALTER TABLE items DROP COLUMN code;\n",
            )
        }),
    ];
    for (what, change) in changes {
        let files = change(grown());
        let answer = world.platform.migrate(&files).error(409, "schema_validation_failed");
        let lost = answer.json["schema_validation"]["dataloss_changes"].as_array().map_or(0, Vec::len);
        assert!(lost > 0, "{what}: {answer}");
        world.assert_unchanged_but_for_a_template(&before, what);
    }
}

/// A bundle without seeders says nothing about seeders: those of the bundle before stay, but not against its own tables.
#[test]
fn the_table_of_the_last_seeder_is_dropped() {
    let cluster = shared();
    let world = World::new(&cluster, "rowslast");
    let before = world.now();
    let files = grown().without("tables/kinds.pssql").without("seeders/kinds.pssql");
    world.platform.migrate(&files).error(409, "schema_validation_failed").says("kinds");
    world.assert_unchanged_but_for_a_template(&before, "a table would be dropped");
    cluster.http().migrate(&world.platform.name, None, &files.tar_gz(), &[("allow", "drop_table")]).ok();
    world.assert_settled(&files, "the table is gone");
}
