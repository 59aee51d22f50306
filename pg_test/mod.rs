//! In-server tests: what needs PostgreSQL and is not seen from outside. Built with the feature `pg_test`; every function of the schema
//! `stonescriptdb_test` is a test that fails by raising an error, and tests/tests/in_server.rs runs them all.

#![allow(unsafe_code, reason = "pgrx's macros make the functions callable")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod apart;
mod checksums;

#[pgrx::pg_schema]
mod stonescriptdb_test {
    use pgrx::prelude::*;
    use stonescriptdb_schema::{Class, Graph, ObjectName};

    use crate::postgres::lexer::{self, Token};
    use crate::postgres::{Kind, PgError, Script, ScriptError, catch, subtransaction};

    fn same(one: &str, other: &str) {
        assert_eq!(lexer::checksum(one).unwrap(), lexer::checksum(other).unwrap(), "{one} | {other}");
    }

    fn different(one: &str, other: &str) {
        assert_ne!(lexer::checksum(one).unwrap(), lexer::checksum(other).unwrap(), "{one} | {other}");
    }

    fn parse(text: &str) -> Script {
        Script::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    fn relation(name: &str) -> ObjectName {
        ObjectName::new(Class::Relation, None, name.to_owned())
    }

    #[pg_extern]
    fn checksums_are_blind_to_spelling() {
        same("SELECT 1", "select\r\n  1 -- one\n");
        same("CREATE TABLE t (a INT)", "create table T ( a int /* c /* nested */ */ )");
        same("SELECT 'a'", "SELECT   $$a$$");
        same(
            "CREATE FUNCTION f() RETURNS int AS $$ SELECT 1 $$ LANGUAGE sql",
            "create function f()\nreturns int as $x$\n  select 1 -- same\n$x$ language sql",
        );
    }

    #[pg_extern]
    fn checksums_see_every_literal() {
        different("SELECT 'a'", "SELECT 'A'");
        different("SELECT 'a  b'", "SELECT 'a b'");
        different("SELECT \"a\"", "SELECT 'a'");
        different("SELECT \"Select\"", "SELECT select");
        let function = |body: &str| format!("CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $$ {body} $$");
        same(&function("BEGIN RETURN 'x'; END"), &function("begin\n  return 'x'; -- done\nend"));
        different(&function("BEGIN RETURN 'x'; END"), &function("BEGIN RETURN 'X'; END"));
        different(&function("BEGIN RETURN 'a -- b'; END"), &function("BEGIN RETURN 'a'; END"));
        different(&function("BEGIN RETURN $q$a  b$q$; END"), &function("BEGIN RETURN $q$a b$q$; END"));
    }

    #[pg_extern]
    fn checksums_of_other_languages_keep_every_byte() {
        let function = |body: &str| format!("CREATE FUNCTION f() RETURNS text LANGUAGE plpython3u AS $${body}$$");
        different(&function("if x:\n  return 1"), &function("if x:\n    return 1"));
    }

    #[pg_extern]
    fn tokens_are_placed() {
        let tokens = lexer::tokens("SELECT  'x' /* c */ + \"Y\"").unwrap();
        let places: Vec<usize> = tokens.iter().map(|placed| placed.at).collect();
        assert_eq!(places, [0, 8, 20, 22]);
        assert_eq!(tokens[0].token, Token::Keyword("select".to_owned()));
        assert_eq!(tokens[1].token, Token::Text("x".to_owned()));
        assert_eq!(tokens[3].token, Token::Identifier("Y".to_owned()));
        assert_eq!(lexer::tokens("SELECT 'open").unwrap_err().sqlstate, "42601");
    }

    #[pg_extern]
    fn statements_know_their_lines() {
        let script = parse("-- first\n\nSELECT 1;\n/* two\nlines */ SELECT\n2;\nDO $$ BEGIN\nEND $$");
        let lines: Vec<u32> = script.statements.iter().map(|statement| statement.line).collect();
        assert_eq!(lines, [3, 5, 7]);
        let error = Script::parse("SELECT 1;\nSELECT 'é';\nSELEC 2;").err().unwrap();
        assert_eq!((error.line, error.error.sqlstate.as_str()), (3, "42601"));
    }

    #[pg_extern]
    fn statements_know_their_kinds() {
        let kind = |text: &str| parse(text).statements.remove(0).kind;
        assert_eq!(kind("CREATE TABLE t ()"), Kind::Table(relation("t")));
        assert_eq!(
            kind("CREATE VIEW s.v AS SELECT 1"),
            Kind::View(ObjectName::new(Class::Relation, Some("s".into()), "v".into()))
        );
        assert_eq!(kind("INSERT INTO t VALUES (1)"), Kind::Insert(relation("t")));
        assert_eq!(kind("ALTER TABLE t DROP COLUMN a, DROP CONSTRAINT c"), Kind::Removal);
        assert_eq!(kind("ALTER TABLE t DROP COLUMN a, ADD COLUMN b int"), Kind::Ddl);
        assert_eq!(kind("SET search_path = x"), Kind::Set);
        for refused in
            ["COMMIT", "CREATE DATABASE d", "ALTER SYSTEM SET work_mem = 1", "COPY t FROM STDIN", "CREATE ROLE r"]
        {
            assert!(matches!(kind(refused), Kind::Refused(_)), "{refused}");
        }
        for at_top_level in ["VACUUM t", "CREATE INDEX CONCURRENTLY i ON t (a)", "DROP INDEX CONCURRENTLY i"] {
            assert!(matches!(kind(at_top_level), Kind::TopLevel(_)), "{at_top_level}");
        }
        assert!(!matches!(kind("ANALYZE t"), Kind::Refused(_) | Kind::TopLevel(_)));
    }

    #[pg_extern]
    fn facts_name_what_is_made_and_needed() {
        let facts = |text: &str| parse(text).statements.remove(0).facts;
        let needs = |text: &str| {
            let mut names: Vec<String> =
                facts(text).needs.iter().filter(|need| need.class != Class::Schema).map(ObjectName::display).collect();
            names.sort();
            names.dedup();
            names
        };
        assert_eq!(
            needs("CREATE VIEW v AS SELECT f(a::mood) FROM s.t WHERE EXISTS (SELECT FROM u)"),
            ["f", "mood", "s.t", "u"]
        );
        let table = facts(
            "CREATE TABLE t (a kind, b int DEFAULT n() REFERENCES u, FOREIGN KEY (a) REFERENCES w, CHECK (c(a)))",
        );
        let foreign: Vec<String> = table.foreign.iter().map(ObjectName::display).collect();
        assert_eq!(foreign, ["u", "w"]);
        assert!(
            needs("CREATE FUNCTION f(a t) RETURNS SETOF u LANGUAGE sql BEGIN ATOMIC RETURN (SELECT g(1) FROM w); END")
                .len()
                >= 4
        );
        assert!(needs("CREATE TRIGGER x BEFORE INSERT ON t EXECUTE FUNCTION f()").contains(&"f".to_owned()));
        assert!(needs("CREATE POLICY p ON t USING (owner = who())").contains(&"who".to_owned()));
        assert!(needs("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u").contains(&"u".to_owned()));
        assert_eq!(facts("CREATE INDEX i ON t (f(a))").touches, Some(relation("t")));
    }

    #[pg_extern]
    fn an_order_is_found_across_files() {
        let files = [
            "CREATE VIEW a AS SELECT * FROM b",
            "CREATE VIEW b AS SELECT z() AS x",
            "CREATE FUNCTION z() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        ];
        let scripts: Vec<Script> = files.iter().map(|text| parse(text)).collect();
        let facts: Vec<_> =
            scripts.iter().enumerate().map(|(file, script)| (file, &script.statements[0].facts)).collect();
        assert_eq!(Graph::new(&facts).unwrap().order().unwrap(), [2, 1, 0]);
    }

    #[pg_extern]
    fn foreign_keys_can_be_added_later() {
        let text = "CREATE TABLE fk_a (id int PRIMARY KEY, b int REFERENCES fk_b (id) DEFERRABLE INITIALLY DEFERRED, self int REFERENCES fk_a);
                    CREATE TABLE fk_b (id int PRIMARY KEY, a int, CONSTRAINT named FOREIGN KEY (a) REFERENCES fk_a (id))";
        let script = parse(text);
        let missing = std::collections::HashSet::from([relation("fk_b")]);
        let (bare, keys) = script.without_foreign_keys(&script.statements[0], &missing).unwrap();
        assert_eq!(keys.len(), 1);
        subtransaction(|| -> Result<(), ScriptError> {
            script.run(&bare)?;
            script.run(&script.statements[1])?;
            script.run(&keys[0])?;
            let deferred = Spi::get_one::<i64>(
                "SELECT count(*) FROM pg_constraint WHERE conrelid = 'fk_a'::regclass AND contype = 'f' AND condeferred",
            );
            let all = Spi::get_one::<i64>("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid IN ('fk_a'::regclass, 'fk_b'::regclass)");
            assert_eq!((deferred, all), (Ok(Some(1)), Ok(Some(3))));
            Ok(())
        })
        .unwrap();
    }

    #[pg_extern]
    fn errors_are_caught_whole() {
        let raise = "DO $$ BEGIN RAISE EXCEPTION 'broken' USING ERRCODE = 'PT418', DETAIL = 'the detail', HINT = 'the hint'; END $$";
        let error = subtransaction(|| -> Result<(), PgError> { catch(|| Spi::run(raise).unwrap()) }).unwrap_err();
        assert_eq!((error.sqlstate.as_str(), error.message.as_str()), ("PT418", "broken"));
        assert_eq!((error.detail.as_deref(), error.hint.as_deref()), (Some("the detail"), Some("the hint")));
        assert!(error.context.unwrap().contains("PL/pgSQL function inline_code_block line 1"));
    }

    #[pg_extern]
    fn errors_know_their_line() {
        let script = parse("SELECT 1;\n\nSELECT 1,\n  nowhere\nFROM pg_class;");
        let error = subtransaction(|| script.run(&script.statements[1]).map(drop)).unwrap_err();
        assert_eq!((error.line, error.error.sqlstate.as_str()), (4, "42703"));
        let script = parse("CREATE TABLE once ();\n\n-- again\nCREATE TABLE once ();");
        let error = subtransaction(|| {
            script.run(&script.statements[0])?;
            script.run(&script.statements[1]).map(drop)
        })
        .unwrap_err();
        assert_eq!((error.line, error.error.sqlstate.as_str()), (4, "42P07"));
    }

    #[pg_extern]
    fn a_panic_is_an_error_and_not_the_end() {
        let error = catch(|| -> () { panic!("a bug") }).unwrap_err();
        assert_eq!((error.sqlstate.as_str(), error.message.as_str()), ("XX000", "a bug"));
    }

    #[pg_extern]
    fn a_failed_subtransaction_leaves_nothing() {
        let result = subtransaction(|| -> Result<(), PgError> {
            Spi::run("CREATE TABLE left_over ()").unwrap();
            Err(PgError::new("P0001", "stop"))
        });
        assert!(result.is_err());
        assert_eq!(Spi::get_one::<bool>("SELECT to_regclass('left_over') IS NULL"), Ok(Some(true)));
    }

    #[pg_extern]
    fn renames_are_comments_and_nothing_else() {
        let script = parse(
            "-- @renamed from=\"Old\"\nCREATE TABLE t (\n  /* -- @renamed from=no */\n  a int, -- @renamed from=B it was\n  b int DEFAULT \
             length('\n-- @renamed from=no\n'), /* /* */ -- @renamed from=no\n */ --@renamed from = c\r  \"D\" int);\n-- @renamed from=no\n",
        );
        let found: Vec<_> =
            script.renames().into_iter().map(|r| (r.from, r.line, r.begins_statement, r.identifier)).collect();
        let renamed = |from: &str, line, begins, name: &str| (from.to_owned(), line, begins, Some(name.to_owned()));
        assert_eq!(
            found,
            [renamed("Old", 2, true, "create"), renamed("b", 5, false, "b"), renamed("c", 8, false, "D")]
        );
    }

    /// What takes the square of a file's length takes days for these.
    #[pg_extern]
    fn long_files_are_read_in_one_pass() {
        let comments = "-- @renamed from=x\n".repeat(200_000);
        let script = parse(&format!("CREATE TABLE t (a int DEFAULT length('{comments}'),\n{comments} b int)"));
        assert_eq!(script.renames().len(), 200_000);
        let script = parse(&"INSERT INTO t VALUES (1);\n".repeat(200_000));
        assert_eq!(script.statements.last().map(|statement| statement.line), Some(200_000));
    }

    #[pg_extern]
    fn a_tree_too_deep_is_an_error() {
        let text = format!("CREATE VIEW deep AS SELECT {}1{}", "(".repeat(200_000), ")".repeat(200_000));
        let error = Script::parse(&text).err().unwrap();
        assert!(matches!(error.error.sqlstate.as_str(), "54001" | "53200" | "42601"), "{:?}", error.error);
    }
}
