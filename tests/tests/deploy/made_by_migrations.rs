//! Declared objects that need what only a migration makes.

use acceptance::{Files, Platform, shared};
use serde_json::json;

fn bundle() -> Files {
    Files::new().file("tables/things.pssql", "CREATE TABLE things (id int PRIMARY KEY, name text);\n").file(
        "functions/first.pssql",
        "CREATE FUNCTION first() RETURNS text LANGUAGE sql STABLE AS 'SELECT min(name) FROM things';\n",
    )
}

/// The types `grade` and `pair` and the table `log` are nowhere but in the migration.
fn grown() -> Files {
    bundle()
        .file(
            "migrations/001_types.pssql",
            "CREATE TYPE grade AS ENUM ('good', 'bad');\nCREATE TYPE pair AS (a int, b int);\n\
             CREATE TABLE log (id int PRIMARY KEY, grade grade);\nINSERT INTO log VALUES (1, 'bad');\n",
        )
        .file(
            "functions/worse.pssql",
            "CREATE FUNCTION worse(p grade) RETURNS grade[] LANGUAGE sql IMMUTABLE AS $$ SELECT ARRAY[p, 'bad'::grade] $$;\n",
        )
        .file(
            "functions/sum_of.pssql",
            "CREATE FUNCTION sum_of(p pair) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT p.a + p.b';\n",
        )
        .file("functions/logged.pssql", "CREATE FUNCTION logged() RETURNS SETOF log LANGUAGE sql AS 'SELECT * FROM log';\n")
        .file("views/bad.pssql", "CREATE VIEW bad AS SELECT id, sum_of(ROW(id, 1)::pair) AS s FROM log WHERE grade = 'bad';\n")
}

#[track_caller]
fn assert_served(platform: &Platform<'_>, tenant: &str) {
    assert_eq!(platform.call_tenant(tenant, "worse", json!(["good"])).ok().value(), json!(["good", "bad"]));
    assert_eq!(platform.call_tenant(tenant, "logged", json!([])).ok().row(), json!({"id": 1, "grade": "bad"}));
}

#[test]
fn functions_and_views_may_need_what_a_migration_makes() {
    let cluster = shared();
    // From nothing, and grown.
    let fresh = Platform::register(&cluster, "made", &grown());
    assert_served(&fresh, "main");
    fresh.register_tenant("b", &grown()).ok();
    assert_served(&fresh, "b");
    let older = Platform::register(&cluster, "madeold", &bundle());
    older.migrate(&grown()).ok();
    assert_served(&older, "main");
}
