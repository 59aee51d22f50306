//! A change inside a literal, however small, is deployed.

use acceptance::{Files, shared, sql};
use serde_json::json;

use crate::world::{World, grown};

/// Literals of everything.
fn bundle() -> Files {
    grown()
        .file("types/mood.pssql", "CREATE TYPE mood AS ENUM ('so so', 'well');\nCOMMENT ON TYPE mood IS 'how it is';\n")
        .file("types/word.pssql", "CREATE DOMAIN word AS text DEFAULT 'a word' CHECK (VALUE <> 'no word');\n")
        .file(
            "tables/l.pssql",
            "CREATE TABLE l (\n    id int PRIMARY KEY,\n    a text DEFAULT 'a default',\n    b text CHECK (b <> 'a check'),\n    c text,\n    \
             d text GENERATED ALWAYS AS (c || 'a suffix') STORED\n);\n\
             CREATE INDEX l_partial ON l (c) WHERE c <> 'a partial';\nCREATE INDEX l_expression ON l ((c || 'an expression'));\n\
             COMMENT ON TABLE l IS 'a comment';\nCOMMENT ON COLUMN l.a IS 'a column';\n\
             ALTER TABLE l ENABLE ROW LEVEL SECURITY;\nCREATE POLICY p ON l USING (c <> 'a policy');\n\
             CREATE RULE r AS ON DELETE TO l DO ALSO UPDATE l SET b = 'a rule';\n",
        )
        .file("functions/sql_body.pssql", "CREATE FUNCTION sql_body() RETURNS text LANGUAGE sql AS $$ SELECT 'a body' $$;\n")
        .file("functions/plain_body.pssql", "CREATE FUNCTION plain_body() RETURNS text LANGUAGE sql AS 'SELECT ''a quoted body''';\n")
        .file(
            "functions/plpgsql_body.pssql",
            "CREATE FUNCTION plpgsql_body() RETURNS text LANGUAGE plpgsql AS $$\nBEGIN\n    RETURN 'a plpgsql body' || $q$ -- in dollars$q$;\nEND $$;\n",
        )
        .file(
            "functions/nested.pssql",
            "CREATE FUNCTION nested() RETURNS text LANGUAGE plpgsql AS $x$\nDECLARE r text;\nBEGIN\n    \
             EXECUTE 'SELECT ''a nested /* body */''' INTO r;\n    RETURN r;\nEND $x$;\n",
        )
        .file(
            "functions/parameter.pssql",
            "CREATE FUNCTION parameter(a text DEFAULT 'a parameter') RETURNS text LANGUAGE sql\n    SET search_path = public, \"a path\" AS 'SELECT $1';\n",
        )
        .file("functions/atomic.pssql", "CREATE FUNCTION atomically() RETURNS text LANGUAGE sql RETURN 'an atom';\n")
        .file(
            "functions/watch.pssql",
            "CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';\n\
             CREATE TRIGGER watch BEFORE INSERT ON l FOR EACH ROW WHEN (NEW.c = 'a condition') EXECUTE FUNCTION watch('an argument');\n\
             COMMENT ON FUNCTION watch() IS 'a watcher';\n",
        )
        .file("views/v.pssql", "CREATE VIEW v AS SELECT id, 'a view'::text AS x FROM l;\nCOMMENT ON VIEW v IS 'of a view';\n")
        .file("views/mv.pssql", "CREATE MATERIALIZED VIEW mv AS SELECT 'a stored view'::text AS x;\n")
}

/// Literals: the file, the text, and one that differs as little as can be.
const CHANGES: &[(&str, &str, &str)] = &[
    ("types/mood.pssql", "'how it is'", "'How it is'"),
    ("types/word.pssql", "'a word'", "'a  word'"),
    ("types/word.pssql", "'no word'", "'no word '"),
    ("tables/l.pssql", "'a default'", "'A default'"),
    ("tables/l.pssql", "'a check'", "'a check '"),
    ("tables/l.pssql", "'a suffix'", "' a suffix'"),
    ("tables/l.pssql", "'a partial'", "'a\tpartial'"),
    ("tables/l.pssql", "'an expression'", "'an  expression'"),
    ("tables/l.pssql", "'a comment'", "'a comment '"),
    ("tables/l.pssql", "'a column'", "'a Column'"),
    ("tables/l.pssql", "'a policy'", "'a policY'"),
    ("tables/l.pssql", "'a rule'", "'a  rule'"),
    ("functions/sql_body.pssql", "'a body'", "'a  body'"),
    ("functions/sql_body.pssql", "'a body'", "'A body'"),
    ("functions/plain_body.pssql", "''a quoted body''", "''a quoted  body''"),
    ("functions/plpgsql_body.pssql", "'a plpgsql body'", "'a plpgsql body '"),
    ("functions/plpgsql_body.pssql", "$q$ -- in dollars$q$", "$q$ -- In dollars$q$"),
    ("functions/nested.pssql", "''a nested /* body */''", "''a nested /*body */''"),
    ("functions/nested.pssql", "SELECT ''a", "select ''a"),
    ("functions/parameter.pssql", "'a parameter'", "'a parameter '"),
    ("functions/parameter.pssql", "\"a path\"", "\"a  path\""),
    ("functions/atomic.pssql", "'an atom'", "'an Atom'"),
    ("functions/watch.pssql", "'a condition'", "'a  condition'"),
    ("functions/watch.pssql", "'an argument'", "'an argument '"),
    ("functions/watch.pssql", "'a watcher'", "'a watchers'"),
    ("views/v.pssql", "'a view'", "'a vieW'"),
    ("views/v.pssql", "'of a view'", "'of  a view'"),
    ("views/mv.pssql", "'a stored view'", "'a stored view '"),
];

#[test]
fn a_change_inside_a_literal_is_deployed() {
    let cluster = shared();
    let world = World::new(&cluster, "literal");
    world.assert_goes_in(&bundle(), "as it is first");
    let first = world.now();
    let dry_run = |files: &Files| {
        cluster.http().migrate(&world.platform.name, Some("main"), &files.tar_gz(), &[("dry_run", "true")]).ok()
    };
    let mut failures = Vec::new();
    // Each by itself in a plan, then all together in the database, and all back.
    for (path, from, to) in CHANGES {
        let answer = dry_run(&bundle().edit(path, from, to));
        let steps = answer.array("plan");
        let shown = to.trim_matches(['\'', '"']).replace("$q$", "");
        if steps.is_empty() || !steps.iter().any(|step| step["sql"].as_str().is_some_and(|sql| sql.contains(&shown))) {
            failures.push(format!("{path}: {from} → {to}: {answer}"));
        }
        if path.starts_with("functions/") && !path.ends_with("watch.pssql") && answer.json["functions_updated"] != 1 {
            failures.push(format!("{path}: {from} → {to} is no updated function: {answer}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let all = CHANGES.iter().fold(bundle(), |files, (path, from, to)| {
        // Of two changes of one literal the first.
        if to.contains("A body") { files } else { files.edit(path, from, to) }
    });
    world.assert_goes_in(&all, "all changes");
    assert!(world.now().main != first.main, "nothing has changed");
    let mut main = world.platform.connect();
    for (query, wanted) in [
        ("SELECT sql_body()", "a  body"),
        ("SELECT plain_body()", "a quoted  body"),
        ("SELECT plpgsql_body()", "a plpgsql body  -- In dollars"),
        ("SELECT nested()", "a nested /*body */"),
        ("SELECT parameter()", "a parameter "),
        ("SELECT atomically()", "an Atom"),
        ("SELECT x FROM mv", "a stored view "),
        ("SELECT obj_description('l'::regclass)", "a comment "),
        ("SELECT encode(tgargs, 'escape') FROM pg_trigger WHERE tgname = 'watch'", "an argument \\000"),
    ] {
        assert_eq!(sql::text(&mut main, query), wanted, "{query}");
    }
    world.assert_goes_in(&bundle(), "all changes back");
}

/// A label of an enum is an identity: another spelling of it is another value, and the old one is lost.
#[test]
fn a_label_of_an_enum_is_never_the_same_in_another_spelling() {
    let cluster = shared();
    let world = World::new(&cluster, "label");
    world.assert_goes_in(&bundle(), "as it is first");
    for label in ["'So so'", "'so  so'", "'so so '", "'so\tso'"] {
        let files = bundle().edit("types/mood.pssql", "'so so'", label);
        let before = world.now();
        world.platform.migrate(&files).error(409, "schema_validation_failed").says("mood");
        world.assert_unchanged_but_for_a_template(&before, label);
        cluster.http().migrate(&world.platform.name, None, &files.tar_gz(), &[("allow", "drop_enum_value")]).ok();
        world.assert_settled(&files, label);
        let labels =
            "SELECT string_agg(enumlabel, '|' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = 'mood'::regtype";
        assert_eq!(sql::text(&mut world.platform.connect(), labels), format!("{}|well", label.trim_matches('\'')));
        cluster.http().migrate(&world.platform.name, None, &bundle().tar_gz(), &[("force", "true")]).ok();
    }
}

/// A seeder's literal is a row that must be there.
#[test]
fn a_literal_of_a_seeder_is_looked_for() {
    let cluster = shared();
    let world = World::new(&cluster, "literalseed");
    for to in ["'One'", "'one '", "'o ne'"] {
        let files = grown().edit("seeders/kinds.pssql", "'one'", to);
        let answer = world.platform.migrate(&files);
        // Known by its key, the row is there with another value; without the value it is missing. Either way it is not silently passed over.
        let told = answer.status == 422 || answer.json["warnings"] != json!([]);
        assert!(told || answer.json["seeder_validations"][0]["found"] == 2, "{to}: {answer}");
    }
}
