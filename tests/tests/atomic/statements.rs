//! A statement that fails whatever the database has in it: the first, the middle and the last of a file of every kind. The proof finds it
//! before any tenant is touched.

use acceptance::{Files, refused, shared, sql};

use crate::world::{World, grown};

struct Bad {
    folder: &'static str,
    good: [&'static str; 2],
    bad: &'static str,
    sqlstate: &'static str,
    code: &'static str,
}

const BAD: &[Bad] = &[
    Bad {
        folder: "types",
        good: ["CREATE TYPE good_a AS ENUM ('x');", "CREATE DOMAIN good_b AS int CHECK (VALUE > 0);"],
        bad: "CREATE TYPE bad AS (a no_such_type);",
        sqlstate: "42704",
        code: "migration_failed",
    },
    Bad {
        folder: "tables",
        good: ["CREATE TABLE good_a (id int PRIMARY KEY);", "CREATE INDEX good_i ON items (qty);"],
        bad: "CREATE TABLE bad (id int CHECK (nope > 0));",
        sqlstate: "42703",
        code: "migration_failed",
    },
    Bad {
        folder: "migrations",
        good: ["UPDATE items SET qty = qty + 1;", "CREATE TABLE IF NOT EXISTS by_migration (id int);"],
        bad: "INSERT INTO kinds (id, name) VALUES (1 / 0, 'zero');",
        sqlstate: "22012",
        code: "migration_failed",
    },
    Bad {
        folder: "functions",
        good: [
            "CREATE FUNCTION good_a() RETURNS int LANGUAGE sql AS 'SELECT 1';",
            "CREATE FUNCTION good_b() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM items';",
        ],
        bad: "CREATE FUNCTION bad() RETURNS int LANGUAGE sql AS 'SELECT nope FROM items';",
        sqlstate: "42703",
        code: "function_deploy_failed",
    },
    Bad {
        folder: "views",
        good: ["CREATE VIEW good_a AS SELECT 1 AS a;", "CREATE VIEW good_b AS SELECT name FROM items;"],
        bad: "CREATE VIEW bad AS SELECT nope FROM items;",
        sqlstate: "42703",
        code: "function_deploy_failed",
    },
    Bad {
        folder: "seeders",
        good: [
            "INSERT INTO kinds (id, name) VALUES (11, 'eleven');",
            "INSERT INTO kinds (id, name) VALUES (12, 'twelve');",
        ],
        bad: "INSERT INTO kinds (id, name) VALUES (11, NULL);",
        sqlstate: "23502",
        code: "seeder_failed",
    },
];

impl Bad {
    fn path(&self) -> String {
        // After the bundle's own.
        format!("{}/zz_bad.pssql", self.folder)
    }

    /// A newer bundle with changes of every kind and this file, its bad statement as number `place` of three.
    fn files(&self, place: usize) -> Files {
        let mut statements = self.good.to_vec();
        statements.insert(place, self.bad);
        newer().file(&self.path(), statements.join("\n") + "\n")
    }
}

/// Changes of every kind that would all work.
fn newer() -> Files {
    grown()
        .edit("types/status.pssql", "'done'", "'done', 'gone'")
        .edit("tables/items.pssql", "qty int", "qty bigint")
        .file("tables/fresh.pssql", "CREATE TABLE fresh (id int PRIMARY KEY);\n")
        .file("migrations/003_third.pssql", "DELETE FROM notes;\n")
        .edit("functions/f.pssql", "SELECT 2", "SELECT 3")
        .without("functions/total.pssql")
        .edit("views/open_items.pssql", "id, name", "id, name, qty")
        .file("seeders/fresh.pssql", "INSERT INTO fresh VALUES (1);\n")
}

#[test]
fn the_first_middle_and_last_statement_of_every_kind_over_http() {
    let cluster = shared();
    let world = World::new(&cluster, "stmt");
    let before = world.now();
    for bad in BAD {
        for place in 0..3 {
            let why = format!("{}: statement {}", bad.path(), place + 1);
            for answer in [world.platform.migrate(&bad.files(place)), world.platform.register_again(&bad.files(place))]
            {
                let answer = answer.error(422, bad.code).field("sqlstate", bad.sqlstate);
                assert!(answer.str("file").ends_with(&bad.path()), "{why}: {answer}");
                assert_eq!(answer.number("line"), place as i64 + 1, "{why}: {answer}");
                assert_eq!(world.last_state(), "failed", "{why}");
            }
            world.assert_unchanged(&before, &why);
        }
    }
    world.assert_goes_in(&newer(), "after all these failures");
}

#[test]
fn the_first_middle_and_last_statement_of_every_kind_over_sql() {
    let cluster = shared();
    let world = World::new(&cluster, "stmtsql");
    let before = world.now();
    for bad in BAD {
        for place in 0..3 {
            let bundle = bad.files(place).tar_gz();
            let failure = refused(sql::migrate(&mut cluster.control(), &bundle, Some(&world.platform.name), None));
            let failure = failure.sqlstate(bad.sqlstate).says(bad.code).says(&bad.path());
            failure.says(&format!("line {}", place + 1));
        }
        world.assert_unchanged(&before, bad.folder);
    }
}

/// A file of extensions/ is one statement: so here it is the first, middle and last file.
#[test]
fn the_first_middle_and_last_extension() {
    let cluster = shared();
    let world = World::new(&cluster, "stmtext");
    let before = world.now();
    let good = newer().file("extensions/hstore.sql", "").file("extensions/pg_trgm.sql", "");
    for (name, text) in
        [("aa_none", ""), ("ltree", "-- version: 99.9\n"), ("lo_none", ""), ("zz_none", ""), ("dblink", "")]
    {
        let path = format!("extensions/{name}.sql");
        let answer = world.platform.migrate(&good.clone().file(&path, text)).error(400, "extension_not_available");
        assert!(answer.str("file").ends_with(&path), "{name}: {answer}");
        world.assert_unchanged(&before, name);
    }
    world.assert_goes_in(&good, "after all these failures");
}

/// An extension is installed and a later stage fails: it is gone again.
#[test]
fn an_extension_goes_with_the_deployment_that_brought_it() {
    let cluster = shared();
    let world = World::new(&cluster, "stmtback");
    let before = world.now();
    let files = newer().file("extensions/hstore.sql", "").file(
        "migrations/004_rows.pssql",
        "CREATE TABLE IF NOT EXISTS h (a hstore);\nALTER TABLE items ADD CONSTRAINT never CHECK (id < 0);\n",
    );
    let answer = world.platform.migrate(&files).error(422, "migration_failed").field("sqlstate", "23514");
    assert_eq!(answer.number("line"), 2, "{answer}");
    // The new value of the enum cannot be taken back; the answer says so, and nothing else stays.
    let answer = answer.says("gone");
    let values = "SELECT string_agg(enumlabel, ' ' ORDER BY enumsortorder) FROM pg_enum";
    assert_eq!(sql::text(&mut world.platform.connect(), values), "new done gone", "{answer}");
    let now = world.now();
    let difference = before.main.difference(&now.main);
    let lines: Vec<&str> = difference.lines().filter(|line| line.trim().len() > 1).collect();
    let only_the_value = lines.iter().all(|line| line.contains("'done'") || line.contains("'gone'"));
    assert!(only_the_value, "only the enum's value may stay: {difference}");
}
