//! A failing statement in any file: 4xx with file, line, SQLSTATE and PostgreSQL's own words, and no trace of the deployment.

use acceptance::{Answer, Files, Platform, fixtures, shared, sql};
use serde_json::json;

/// What an error of a bundle's own SQL may be called.
const FAILED: [&str; 4] = ["migration_failed", "function_deploy_failed", "seeder_failed", "verification_failed"];

struct Bad {
    path: &'static str,
    /// The statement at fault is on line 3, all of it.
    text: &'static str,
    sqlstate: &'static str,
    says: &'static str,
    code: Option<&'static str>,
}

/// A statement that PostgreSQL parses and then refuses, in a file of each kind.
const BAD: &[Bad] = &[
    Bad {
        path: "types/bad.pssql",
        text: "-- 1\n\nCREATE TYPE bad AS (a no_such_type);\n",
        sqlstate: "42704",
        says: "no_such_type",
        code: None,
    },
    Bad {
        path: "types/bad_domain.pssql",
        text: "-- 1\nCREATE TYPE fine AS ENUM ('a');\nCREATE DOMAIN bad AS fine CHECK (VALUE = 'no_such');\n",
        sqlstate: "22P02",
        says: "no_such",
        code: None,
    },
    Bad {
        path: "tables/bad.pssql",
        text: "-- 1\nCREATE TABLE fine (id int);\nCREATE TABLE bad (id int CHECK (nope > 0));\n",
        sqlstate: "42703",
        says: "nope",
        code: None,
    },
    Bad {
        path: "tables/bad_type.pssql",
        text: "/* 1\n2 */\nCREATE TABLE bad (id no_such_type);\n",
        sqlstate: "42704",
        says: "no_such_type",
        code: None,
    },
    Bad {
        path: "tables/bad_index.pssql",
        text: "CREATE TABLE bad (id int);\n\nCREATE INDEX ON bad (nope);\n",
        sqlstate: "42703",
        says: "nope",
        code: None,
    },
    Bad {
        path: "migrations/900_bad.pssql",
        text: "CREATE TABLE IF NOT EXISTS m (id int);\n\nINSERT INTO m VALUES (1 / 0);\n",
        sqlstate: "22012",
        says: "division by zero",
        code: Some("migration_failed"),
    },
    Bad {
        path: "migrations/901_bad.pssql",
        text: "\n\nALTER TABLE no_such_table ADD COLUMN a int;\n",
        sqlstate: "42P01",
        says: "no_such_table",
        code: Some("migration_failed"),
    },
    Bad {
        path: "functions/bad.pssql",
        text: "-- 1\n-- 2\nCREATE FUNCTION bad(a no_such_type) RETURNS int LANGUAGE sql AS 'SELECT 1';\n",
        sqlstate: "42704",
        says: "no_such_type",
        code: Some("function_deploy_failed"),
    },
    Bad {
        path: "functions/bad_body.pssql",
        text: "-- 1\n-- 2\nCREATE FUNCTION bad() RETURNS int LANGUAGE sql AS 'SELECT a FROM no_such_table';\n",
        sqlstate: "42P01",
        says: "no_such_table",
        code: Some("function_deploy_failed"),
    },
    Bad {
        path: "functions/bad_result.pssql",
        text: "-- 1\n-- 2\nCREATE FUNCTION bad() RETURNS int LANGUAGE sql AS $$ SELECT 'text'::text $$;\n",
        sqlstate: "42P13",
        says: "return type",
        code: Some("function_deploy_failed"),
    },
    Bad {
        path: "functions/bad_language.pssql",
        text: "-- 1\n-- 2\nCREATE FUNCTION bad() RETURNS int LANGUAGE plnothing AS 'x';\n",
        sqlstate: "42704",
        says: "plnothing",
        code: Some("function_deploy_failed"),
    },
    Bad {
        path: "views/bad.pssql",
        text: "CREATE VIEW fine AS SELECT 1 AS a;\n\nCREATE VIEW bad AS SELECT nope FROM fine;\n",
        sqlstate: "42703",
        says: "nope",
        code: None,
    },
    Bad {
        path: "seeders/customers.pssql",
        text: "INSERT INTO customers (name) VALUES ('x');\n\nINSERT INTO customers (name) VALUES ('x');\n",
        sqlstate: "23505",
        says: "customers_name_key",
        code: Some("seeder_failed"),
    },
    Bad {
        path: "seeders/bookings.pssql",
        text: "-- 1\n-- 2\nINSERT INTO bookings (customer_id) VALUES (4711);\n",
        sqlstate: "23503",
        says: "bookings",
        code: Some("seeder_failed"),
    },
];

impl Bad {
    #[track_caller]
    fn check(&self, answer: Answer, how: &str) {
        let answer = answer.client_error();
        assert_eq!(answer.status, 422, "{how} {}: {answer}", self.path);
        match self.code {
            Some(code) => assert_eq!(answer.code(), code, "{how} {}: {answer}", self.path),
            None => assert!(FAILED.contains(&answer.code()), "{how} {}: {answer}", self.path),
        }
        assert!(answer.str("file").ends_with(self.path), "{how} {}: {answer}", self.path);
        assert_eq!(answer.number("line"), 3, "{how} {}: {answer}", self.path);
        assert_eq!(answer.str("sqlstate"), self.sqlstate, "{how} {}: {answer}", self.path);
        answer.says(self.says);
    }
}

#[test]
fn a_failing_statement_in_any_file_leaves_no_database() {
    let cluster = shared();
    for bad in BAD {
        let platform = Platform::unregistered(&cluster, "fail");
        let answer = platform.register_again(&fixtures::shop().file(bad.path, bad.text));
        bad.check(answer, "register");
        platform.assert_absent(bad.path);
    }
}

#[test]
fn a_failing_statement_in_any_file_leaves_a_database_as_it_was() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "keep", &fixtures::shop());
    platform.call("add_customer", json!(["Ada"])).ok();
    let before = platform.snapshot();
    for bad in BAD.iter().filter(|bad| !bad.path.starts_with("seeders/")) {
        // Beside what fails there is something that would work.
        let files = fixtures::shop()
            .and(fixtures::tiny())
            .file("tables/new_table.pssql", "CREATE TABLE new_table (id int PRIMARY KEY);\n")
            .file("migrations/001_fine.pssql", "CREATE TABLE IF NOT EXISTS by_migration (id int PRIMARY KEY);\n")
            .edit("functions/count_customers.pssql", "count(*)", "count(*) + 100")
            .file(bad.path, bad.text);
        bad.check(platform.migrate(&files), "migrate");
        platform.assert_unchanged(&before, &format!("migrate: {}", bad.path));
        bad.check(platform.register_again(&files), "register");
        platform.assert_unchanged(&before, &format!("register: {}", bad.path));
    }
    assert_eq!(platform.call("count_customers", json!([])).value(), 1);
    platform.call("f", json!([])).error(404, "function_not_found");
    // And it is not stuck: a good bundle still goes in.
    platform.migrate(&fixtures::shop().and(fixtures::tiny())).ok();
    assert_eq!(platform.call("f", json!([])).value(), 1);
}

#[test]
fn a_failing_tenant_does_not_touch_the_others() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "others", &fixtures::shop());
    platform.register_tenant("good", &fixtures::shop()).ok();
    let (main, good) = (platform.snapshot(), acceptance::Snapshot::of(&cluster, &platform.database_of("good")));
    let bad = fixtures::shop()
        .file("functions/bad.pssql", "CREATE FUNCTION bad(a no_such_type) RETURNS int LANGUAGE sql AS 'SELECT 1';\n");
    platform.register_tenant("new", &bad).error(422, "function_deploy_failed");
    let mut control = cluster.control();
    assert!(!sql::database_exists(&mut control, &platform.database_of("new")));
    platform.call_tenant("new", "f", json!([])).error(404, "database_not_found");
    platform.assert_unchanged(&main, "another tenant failed");
    good.assert_unchanged(&cluster, &platform.database_of("good"), "another tenant failed");
    // A good bundle makes the tenant after all.
    platform.register_tenant("new", &fixtures::shop()).ok();
}

#[test]
fn a_syntax_error_in_any_file_is_refused_with_its_place() {
    let cluster = shared();
    let existing = Platform::register(&cluster, "syntax", &fixtures::shop());
    let before = existing.snapshot();
    for kind in ["types", "tables", "migrations", "functions", "views", "seeders"] {
        let path = format!("{kind}/broken.pssql");
        for (text, line) in [
            ("SELECT 1;\nCREATE TABEL x (id int);\n", 2),
            ("-- a comment\n\n\nCREATE TABLE x (id int,,);\n", 4),
            ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1;\n", 1),
            ("\\d customers\n", 1),
        ] {
            let files = fixtures::shop().file(&path, text);
            let platform = Platform::unregistered(&cluster, "synt");
            let answer = platform.register_again(&files).error(400, "schema_extraction_failed");
            assert!(answer.str("file").ends_with(&path), "{answer}");
            assert_eq!(answer.number("line"), line, "{text}: {answer}");
            assert_eq!(answer.str("sqlstate"), "42601", "{answer}");
            platform.assert_absent(&format!("{path}: {text}"));
            existing.migrate(&files).error(400, "schema_extraction_failed");
            existing.assert_unchanged(&before, text);
        }
    }
}

#[test]
fn a_syntax_error_inside_a_plpgsql_body_is_refused() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "plpgsql");
    let files = fixtures::tiny().file(
        "functions/broken.pssql",
        "-- 1\nCREATE FUNCTION broken() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n    RETRUN 1;\nEND $$;\n",
    );
    let answer = platform.register_again(&files).client_error();
    let answer = answer.field("sqlstate", "42601").says("RETRUN");
    assert!(answer.str("file").ends_with("functions/broken.pssql"), "{answer}");
    assert!((2..=5).contains(&answer.number("line")), "{answer}");
    platform.assert_absent("the body is broken");
}

#[test]
fn transaction_control_is_refused() {
    let cluster = shared();
    let existing = Platform::register(&cluster, "txn", &fixtures::shop());
    let before = existing.snapshot();
    for statement in [
        "COMMIT;",
        "ROLLBACK;",
        "BEGIN;",
        "START TRANSACTION;",
        "COMMIT AND CHAIN;",
        "END;",
        "ABORT;",
        "PREPARE TRANSACTION 'x';",
        "DO $$ BEGIN COMMIT; END $$;",
        "DO $$ BEGIN ROLLBACK; END $$;",
    ] {
        for kind in ["migrations", "seeders", "tables", "functions"] {
            let path = format!("{kind}/customers2.pssql");
            // What was done before it must not be kept by it.
            let text = format!("CREATE TABLE kept_by_commit (id int);\n{statement}\n");
            let files = fixtures::shop().file(&path, text);
            let platform = Platform::unregistered(&cluster, "trans");
            let answer = platform.register_again(&files).client_error();
            assert!(answer.str("file").ends_with(&path), "{kind}, {statement}: {answer}");
            assert_eq!(answer.number("line"), 2, "{kind}, {statement}: {answer}");
            platform.assert_absent(&format!("{kind}: {statement}"));
            existing.migrate(&files).client_error();
            existing.assert_unchanged(&before, &format!("{kind}: {statement}"));
        }
    }
}

#[test]
fn statements_that_no_bundle_may_run_are_refused_and_do_not_hang() {
    let cluster = shared();
    for statement in [
        "COPY products FROM STDIN;",
        "COPY products TO STDOUT;",
        "VACUUM products;",
        "CREATE DATABASE other;",
        "LISTEN x;",
    ] {
        let platform = Platform::unregistered(&cluster, "nohang");
        let files = fixtures::shop().file("migrations/001_x.pssql", format!("{statement}\n"));
        let answer = platform.register_again(&files).client_error();
        assert!(answer.str("file").ends_with("migrations/001_x.pssql"), "{statement}: {answer}");
        platform.assert_absent(statement);
    }
}

#[test]
fn settings_of_one_file_do_not_reach_the_next() {
    let cluster = shared();
    let files = Files::new()
        .file("migrations/001_sets.pssql", "SET search_path = pg_catalog;\nSELECT set_config('search_path', '', false);\nSET check_function_bodies = off;\n")
        .file("migrations/002_makes.pssql", "CREATE TABLE IF NOT EXISTS made (id int PRIMARY KEY);\n")
        .file("functions/count_made.pssql", "CREATE FUNCTION count_made() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM made';\n");
    let platform = Platform::register(&cluster, "sets", &files);
    assert_eq!(platform.call("count_made", json!([])).value(), 0);
    assert_eq!(sql::text(&mut platform.connect(), "SELECT to_regclass('public.made') IS NOT NULL"), "t");
}

#[test]
fn a_cycle_of_definitions_is_refused() {
    let cluster = shared();
    for files in [
        Files::new()
            .file("views/a.pssql", "CREATE VIEW a AS SELECT * FROM b;\n")
            .file("views/b.pssql", "CREATE VIEW b AS SELECT * FROM a;\n"),
        Files::new()
            .file("types/a.pssql", "CREATE TYPE a AS (x b);\n")
            .file("types/b.pssql", "CREATE TYPE b AS (x a);\n"),
    ] {
        let platform = Platform::unregistered(&cluster, "cycle");
        platform.register_again(&files).client_error();
        platform.assert_absent("a cycle");
    }
}

#[test]
fn two_files_that_define_the_same_object_are_refused() {
    let cluster = shared();
    for (one, two) in [
        ("CREATE TABLE twin (id int);\n", "CREATE TABLE twin (id int, b int);\n"),
        ("CREATE TABLE twin (id int);\n", "CREATE TABLE public.\"twin\" (id int);\n"),
    ] {
        let platform = Platform::unregistered(&cluster, "twin");
        let files = Files::new().file("tables/one.pssql", one).file("tables/two.pssql", two);
        platform.register_again(&files).client_error().says("twin");
        platform.assert_absent("two files say different things");
    }
}
