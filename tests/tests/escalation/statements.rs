//! What the author of a bundle tries: statements that no bundle may contain, refused with file and line before anything of it runs, and
//! what is found out only when it runs.

use std::fmt::Write;

use acceptance::{Cluster, Files, Platform, fixtures, shared, sql};
use serde_json::json;

use crate::world::World;

/// A statement, and what the refusal says.
const REFUSED: &[(&str, &str)] = &[
    ("ALTER SYSTEM SET work_mem = '1GB'", "ALTER SYSTEM"),
    ("COPY products FROM '/etc/passwd'", "COPY"),
    ("COPY products FROM PROGRAM 'id'", "programs"),
    ("COPY (SELECT 1) TO '{dir}/evil'", "files"),
    ("COPY (SELECT 1) TO PROGRAM 'touch {dir}/evil'", "programs"),
    ("COPY products FROM STDIN", "use INSERT"),
    ("CREATE DATABASE evil TEMPLATE {victim}", "DATABASE"),
    ("DROP DATABASE {victim}", "DATABASE"),
    ("ALTER DATABASE {sibling} CONNECTION LIMIT 0", "DATABASE"),
    ("ALTER DATABASE {sibling} SET search_path = evil", "DATABASE"),
    ("ALTER DATABASE {sibling} RENAME TO evil", "DATABASE"),
    ("ALTER DATABASE {sibling} OWNER TO {call}", "DATABASE"),
    ("ALTER DATABASE {sibling} REFRESH COLLATION VERSION", "DATABASE"),
    ("COMMENT ON DATABASE {sibling} IS 'evil'", "DATABASE"),
    ("GRANT CONNECT ON DATABASE {sibling} TO PUBLIC", "GRANT and REVOKE ON DATABASE"),
    ("REVOKE ALL ON DATABASE {sibling} FROM {call}", "GRANT and REVOKE ON DATABASE"),
    ("CREATE SCHEMA evil\n    GRANT CONNECT ON DATABASE {sibling} TO PUBLIC", "GRANT and REVOKE ON DATABASE"),
    ("CREATE ROLE evil SUPERUSER", "ROLE"),
    ("CREATE USER evil", "ROLE"),
    ("ALTER ROLE {call} SUPERUSER", "ROLE"),
    ("ALTER USER {call} PASSWORD 'x'", "ROLE"),
    ("ALTER ROLE {call} SET search_path = evil", "ROLE"),
    ("ALTER ROLE {call} RENAME TO evil", "ROLE"),
    ("DROP ROLE {victim_call}", "ROLE"),
    ("GRANT {call} TO {victim_call}", "ROLE"),
    ("REVOKE {call} FROM {owner}", "ROLE"),
    ("GRANT pg_read_server_files TO {owner}", "ROLE"),
    ("COMMENT ON ROLE {call} IS 'evil'", "ROLE"),
    ("DROP OWNED BY {call}", "DROP OWNED"),
    ("REASSIGN OWNED BY {owner} TO {call}", "REASSIGN OWNED"),
    ("SET ROLE {victim_owner}", "SET ROLE"),
    ("SET LOCAL ROLE {victim_owner}", "SET ROLE"),
    ("SET \"Role\" = '{victim_owner}'", "SET ROLE"),
    ("SET SESSION AUTHORIZATION postgres", "SET SESSION AUTHORIZATION"),
    ("CREATE FUNCTION evil() RETURNS int LANGUAGE sql SET role = postgres AS 'SELECT 1'", "SET ROLE"),
    ("ALTER FUNCTION f() SET role = postgres", "SET ROLE"),
    ("CREATE TABLESPACE evil LOCATION '{dir}'", "TABLESPACE"),
    ("DROP TABLESPACE pg_default", "TABLESPACE"),
    ("ALTER TABLESPACE pg_default RENAME TO evil", "TABLESPACE"),
    ("GRANT CREATE ON TABLESPACE pg_default TO PUBLIC", "TABLESPACE"),
    ("GRANT SET ON PARAMETER log_statement TO {owner}", "PARAMETER"),
    ("LOAD '{dir}/evil.so'", "LOAD"),
    ("CHECKPOINT", "CHECKPOINT"),
    ("LISTEN stonescriptdb_deployment", "LISTEN"),
    ("CREATE FUNCTION evil(text) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'", "language c"),
    ("CREATE OR REPLACE FUNCTION evil() RETURNS int LANGUAGE internal AS 'pg_backend_pid'", "language internal"),
    ("CREATE PROCEDURE evil() LANGUAGE plpython3u AS 'pass'", "language plpython3u"),
    ("DO LANGUAGE plperlu $$ system('id') $$", "language plperlu"),
    ("CREATE LANGUAGE evil HANDLER plpgsql_call_handler", "extensions/"),
    ("CREATE EVENT TRIGGER evil ON ddl_command_end EXECUTE FUNCTION f()", "EVENT TRIGGER"),
    ("ALTER EVENT TRIGGER evil DISABLE", "EVENT TRIGGER"),
    ("DROP EVENT TRIGGER evil", "EVENT TRIGGER"),
    ("CREATE SUBSCRIPTION evil CONNECTION 'dbname={victim}' PUBLICATION x", "SUBSCRIPTION"),
    ("ALTER SUBSCRIPTION evil ENABLE", "SUBSCRIPTION"),
    ("DROP SUBSCRIPTION evil", "SUBSCRIPTION"),
    ("CREATE EXTENSION pgcrypto", "extensions/pgcrypto.sql"),
    ("CREATE EXTENSION IF NOT EXISTS dblink", "extensions/dblink.sql"),
    ("BEGIN", "transaction control"),
    ("COMMIT AND CHAIN", "transaction control"),
    ("SAVEPOINT evil", "transaction control"),
    ("PREPARE TRANSACTION 'evil'", "transaction control"),
];

/// Commands of psql in a file, and the line that they are on.
const META: &[(&str, &str, u32)] = &[
    ("\\i other.sql\n", "\\i", 1),
    ("SELECT 1;\n\n  \\ir other.sql\n", "\\ir", 3),
    ("SELECT 1;\n\\copy products FROM 'it''s.csv' CSV\n", "\\copy", 2),
    ("\\c postgres\n", "\\c", 1),
    ("\\connect - postgres\nSELECT 1;\n", "\\connect", 1),
    ("\\set ON_ERROR_STOP on\nSELECT 1;\n", "\\set", 1),
    ("SELECT 1\n\\gexec\n", "\\gexec", 2),
    ("SELECT 1 \\gset\n", "\\gset", 1),
    ("SELECT 1;\n\\echo it's done\nSELECT 2;\n", "\\echo", 2),
    ("\\! rm -rf /\n", "\\!", 1),
    ("\\d products\n", "\\d", 1),
    ("\\restrict 3kq9\nSELECT 1;\n", "\\restrict", 1),
];

/// What is text until it runs, and so is refused when it does: in a DO block, or by a function that a SELECT calls.
const WHEN_RUN: &[(&str, &str)] = &[
    ("GRANT CONNECT ON DATABASE {sibling} TO PUBLIC", "42501"),
    ("ALTER DATABASE {sibling} ALLOW_CONNECTIONS false", "42501"),
    ("ALTER DATABASE {sibling} SET search_path = evil", "42501"),
    ("GRANT {owner} TO {victim_owner}", "42501"),
    ("DROP OWNED BY {owner}", "42501"),
    ("ALTER ROLE {owner} PASSWORD 'known'", "42501"),
    ("SET ROLE {victim_owner}", "42501"),
    ("COPY (SELECT 1) TO PROGRAM 'touch {dir}/evil'", "42501"),
    ("CREATE EXTENSION dblink", "42501"),
    ("CREATE FUNCTION evil(text) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'", "42501"),
    ("PERFORM pg_terminate_backend({server})", "42501"),
    ("PERFORM pg_read_file('PG_VERSION')", "42501"),
];

/// Whether anything of a platform's was made: it has no row, no role and no database, not a template either.
#[track_caller]
fn traces(platform: &Platform) -> Vec<String> {
    let query = format!(
        "SELECT datname::text FROM pg_database WHERE datname ~ '{name}_' UNION ALL SELECT rolname FROM pg_roles WHERE rolname ~ '{name}_'
         UNION ALL SELECT name FROM stonescriptdb.platform WHERE name = '{name}'",
        name = platform.name
    );
    sql::texts(&mut platform.cluster.control(), &query)
}

#[test]
fn statements_that_no_bundle_may_contain_are_refused_before_anything_runs() {
    let cluster = Cluster::start();
    let world = World::new(&cluster, |_| fixtures::tiny());
    let mut wrong = String::new();
    let places = [
        ("functions/evil.pssql", "\n"),
        ("tables/evil.pssql", "\n"),
        ("seeders/evil.pssql", "\n"),
        ("migrations/001_evil.pssql", "-- An ordinary one.\n"),
        ("types/evil.pssql", "\n"),
    ];
    for ((attempt, says), place) in REFUSED.iter().zip(places.iter().cycle()) {
        for (path, head) in [*place, ("migrations/001_evil.pssql", "-- stonescriptdb: no-transaction\n")] {
            let text = format!("{head}CREATE TABLE made (id int);\n\n{};\n", world.fill(attempt));
            let platform = Platform::unregistered(&cluster, "stm");
            let answer = platform.register_again(&fixtures::tiny().file(path, text));
            let right = answer.status == 400
                && answer.code() == "schema_extraction_failed"
                && answer.json["line"] == json!(4)
                && answer.json["file"].as_str().is_some_and(|file| file.ends_with(path))
                && answer.text.contains(says);
            let left = traces(&platform);
            if !right || !left.is_empty() {
                writeln!(wrong, "{attempt} in {path}: {left:?} {answer}\n").expect("memory");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    // An existing tenant's bundle neither.
    for (attempt, _) in REFUSED.iter().step_by(7) {
        let text = format!("CREATE TABLE made (id int);\n{};\n", world.fill(attempt));
        let files = fixtures::tiny().file("migrations/001_evil.pssql", text);
        world.spy.migrate(&files).error(400, "schema_extraction_failed");
    }
    world.assert_untouched();
}

#[test]
fn commands_of_psql_are_named_as_such() {
    let cluster = shared();
    for (text, command, line) in META {
        for kind in ["migrations", "functions"] {
            let platform = Platform::unregistered(&cluster, "met");
            let path = format!("{kind}/001_psql.sql");
            let answer =
                platform.register_again(&fixtures::tiny().file(&path, text)).error(400, "schema_extraction_failed");
            let answer = answer.field("line", *line).field("sqlstate", "42601");
            assert!(answer.str("file").ends_with(&path), "{answer}");
            assert_eq!(answer.str("message"), format!("{command} is a command of psql and not SQL"), "{text}");
            assert_eq!(traces(&platform), Vec::<String>::new());
        }
    }
    // What only looks like one.
    for (text, message) in [("SELECT '\\i x' FROM;\n", "syntax error"), ("SELECT 1 \\ 2;\n", "syntax error")] {
        let platform = Platform::unregistered(&cluster, "met");
        let answer = platform.register_again(&fixtures::tiny().file("migrations/001_sql.sql", text));
        answer.error(400, "schema_extraction_failed").says(message);
    }
    let platform = Platform::unregistered(&cluster, "met");
    let text = "CREATE TABLE paths AS SELECT E'\\\\i x' AS a, '\n\\i' AS b;\n";
    platform.register_again(&fixtures::tiny().file("migrations/001_sql.sql", text)).ok();
}

#[test]
fn what_a_bundle_may_contain_is_not_refused() {
    let cluster = shared();
    let files = Files::new()
        .file("extensions/pgcrypto.sql", "")
        .file(
            "migrations/001_all.pssql",
            "CREATE EXTENSION IF NOT EXISTS pgcrypto;\nCREATE EXTENSION pgcrypto SCHEMA public;\nRESET ROLE;\nRESET SESSION AUTHORIZATION;\nUNLISTEN *;\nNOTIFY done;\n\
             CREATE TABLE t (id int PRIMARY KEY);\nGRANT SELECT ON t TO PUBLIC;\nALTER TABLE t OWNER TO CURRENT_USER;\nCOMMENT ON TABLE t IS 'x';\n\
             CREATE SCHEMA more CREATE TABLE t (id int);\nDO LANGUAGE plpgsql $$ BEGIN END $$;\nSET search_path = public;\n",
        )
        .file("functions/f.pssql", "CREATE FUNCTION f() RETURNS int LANGUAGE 'sql' SET work_mem = '8MB' AS 'SELECT 1';\n");
    let platform = Platform::register(&cluster, "may", &files);
    assert_eq!(platform.call("f", json!([])).value(), 1);
}

#[test]
fn what_is_found_out_when_it_runs_is_refused_then() {
    let cluster = Cluster::start();
    let world = World::new(&cluster, |_| fixtures::tiny());
    for (number, (attempt, state)) in WHEN_RUN.iter().enumerate() {
        let attempt = world.fill(attempt);
        let (path, text) = match number % 3 {
            0 => ("migrations/001_evil.pssql", format!("\nDO $$ BEGIN {attempt}; END $$;\n")),
            1 => (
                "seeders/evil.pssql",
                format!("\nDO $$ BEGIN EXECUTE $e$ DO $d$ BEGIN {attempt}; END $d$ $e$; END $$;\n"),
            ),
            _ => (
                "migrations/001_evil.pssql",
                format!(
                    "-- stonescriptdb: no-transaction\nCREATE FUNCTION pg_temp.evil() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {attempt}; END $$; SELECT pg_temp.evil();\n"
                ),
            ),
        };
        let files = fixtures::tiny().file("tables/evil.pssql", "CREATE TABLE evil (id int);\n").file(path, text);
        let answer = world.spy.migrate(&files).client_error();
        assert_eq!(
            (answer.status, answer.str("sqlstate"), answer.number("line")),
            (422, *state, 2),
            "{attempt}: {answer}"
        );
        assert!(answer.str("file").ends_with(path), "{attempt}: {answer}");
    }
    world.assert_untouched();
}

#[test]
fn an_extensions_name_version_and_schema_are_names_whatever_they_say() {
    let cluster = Cluster::start();
    let world = World::new(&cluster, |_| fixtures::tiny());
    let hostile = [
        "1.3\" CASCADE; GRANT ALL ON DATABASE {sibling} TO PUBLIC; --",
        "1.3'; DROP TABLE notes; --",
        "\"; ALTER ROLE {owner} SUPERUSER; --",
        "../../../../tmp/evil",
        "public; CREATE ROLE evil",
        "$$; CREATE ROLE evil; $$",
        "{victim}",
        "pg_catalog",
    ];
    for value in hostile {
        let value = world.fill(value);
        for comment in ["version", "schema"] {
            let platform = Platform::unregistered(&cluster, "hst");
            let files = fixtures::tiny().file("extensions/pgcrypto.sql", format!("-- {comment}: {value}\n"));
            let answer = platform.register_again(&files);
            if answer.status == 200 {
                // A schema may have any name.
                assert_eq!(comment, "schema", "{answer}");
                let place = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pgcrypto'";
                let quoted = sql::text(&mut platform.connect(), &format!("SELECT quote_ident($q${value}$q$)"));
                assert_eq!(sql::text(&mut platform.connect(), place), quoted);
                assert_eq!(platform.call("f", json!([])).value(), 1);
                let drop =
                    format!("SELECT stonescriptdb.drop_tenant('{}', 'main', '{}')", platform.name, platform.database());
                sql::texts(&mut cluster.control(), &drop);
            } else {
                answer.client_error();
            }
        }
        let platform = Platform::unregistered(&cluster, "hst");
        // A name that begins with a dot is no file of a bundle.
        let name = value.replace('/', "_").trim_start_matches('.').to_owned();
        let files = fixtures::tiny().file(&format!("extensions/{name}.sql"), "-- it needs no version\n");
        platform.register_again(&files).client_error();
        assert_eq!(traces(&platform), Vec::<String>::new(), "{name}");
    }
    let evil = "SELECT count(*) FROM pg_roles WHERE rolname = 'evil'";
    assert_eq!(sql::text(&mut cluster.control(), evil), "0");
    let owner = format!("SELECT rolsuper FROM pg_roles WHERE rolname = '{}'", world.spy.owner_role());
    assert_eq!(sql::text(&mut cluster.control(), &owner), "f");
    let open = format!("SELECT has_database_privilege('public', '{}', 'CONNECT')", world.spy.database_of("acme"));
    assert_eq!(sql::text(&mut cluster.control(), &open), "f");
}

/// An extension that brings a wrapper gives nobody a right to it.
#[test]
fn a_server_of_foreign_data_needs_a_right() {
    let cluster = shared();
    let victim = Platform::register(&cluster, "fdv", &fixtures::shop());
    let server = format!(
        "CREATE FUNCTION link() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN\n\
         CREATE SERVER evil FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname '{}'); END $$;\n",
        victim.database()
    );
    let files = fixtures::tiny().file("functions/link.pssql", server);
    let platform = Platform::register(&cluster, "fds", &files);
    sql::done(platform.connect().batch_execute("CREATE EXTENSION postgres_fdw"));
    platform.call("link", json!([])).error(403, "query_failed").field("sqlstate", "42501");
    let statement =
        format!("CREATE SERVER evil FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname '{}');\n", victim.database());
    let files = files.file("migrations/001_link.pssql", statement);
    // In the template there is no such wrapper.
    platform.migrate(&files).error(422, "migration_failed").field("sqlstate", "42704");
    assert_eq!(sql::text(&mut platform.connect(), "SELECT count(*) FROM pg_foreign_server"), "0");
}
