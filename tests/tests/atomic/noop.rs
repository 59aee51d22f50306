//! What is there is what is wanted, in whatever spelling PostgreSQL takes it: nothing to do, for databases that are copies of a template
//! and for those that a plan made.

mod defaults;
mod expressions;
mod types;

use acceptance::{Cluster, Files, Platform, shared, sql};
use serde_json::json;

use crate::world::assert_nothing_to_do;

/// What the columns need: types, a sequence, a function.
fn ground() -> Files {
    Files::new()
        .file("types/mood.pssql", "CREATE TYPE mood AS ENUM ('ok', 'sad', 'So So');\n")
        .file("types/pair.pssql", "CREATE TYPE pair AS (a int, b text);\n")
        .file("types/even.pssql", "CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0);\n")
        .file(
            "types/code.pssql",
            "CREATE DOMAIN code AS varchar(10) COLLATE \"C\" DEFAULT 'x' CHECK (VALUE IN ('x', 'y'));\n",
        )
        .file("types/span.pssql", "CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi);\n")
        .file("types/odd.pssql", "CREATE TYPE \"Odd Type\" AS ENUM ('a');\n")
        .file(
            "tables/counters.pssql",
            "CREATE SEQUENCE counter;\nCREATE SEQUENCE \"Odd Counter\" AS smallint INCREMENT 2;\n",
        )
        .file(
            "functions/twice.pssql",
            "CREATE FUNCTION twice(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * a * b';\n",
        )
}

/// Registers a bundle as two tenants, and brings a third to it by a plan; gives the platforms, of which the second is that of the third.
#[track_caller]
fn both_ways<'a>(cluster: &'a Cluster, prefix: &str, files: &Files) -> [Platform<'a>; 2] {
    let copied = Platform::register(cluster, prefix, files);
    copied.register_tenant("second", files).ok();
    let planned = Platform::register(cluster, prefix, &ground());
    planned.migrate(files).ok().field("status", "completed");
    [copied, planned]
}

/// Asserts that a bundle is nothing to do for anybody who has it.
#[track_caller]
fn assert_noop(cluster: &Cluster, prefix: &str, files: &Files) {
    for platform in both_ways(cluster, prefix, files) {
        assert_nothing_to_do(cluster, &platform.name, files, prefix);
        let drift = format!("SELECT to_jsonb(d)::text FROM stonescriptdb.\"check\"('{}') d", platform.name);
        assert_eq!(sql::texts(&mut cluster.control(), &drift), Vec::<String>::new(), "{prefix}");
        platform.register_again(files).ok();
        assert_nothing_to_do(cluster, &platform.name, files, prefix);
    }
}

/// A bundle with every type in one of its spellings.
fn in_spelling(round: usize) -> Files {
    types::TYPES.chunks(40).enumerate().fold(ground(), |files, (table, types)| {
        let columns: Vec<String> = types
            .iter()
            .enumerate()
            .map(|(column, spellings)| format!("    c{column} {}", spellings[round % spellings.len()]))
            .collect();
        files.file(&format!("tables/t{table}.pssql"), format!("CREATE TABLE t{table} (\n{}\n);\n", columns.join(",\n")))
    })
}

#[test]
fn every_type() {
    assert_noop(&shared(), "type", &in_spelling(0));
}

#[test]
fn every_type_in_every_spelling() {
    let cluster = shared();
    let rounds = types::TYPES.iter().map(|spellings| spellings.len()).max().unwrap_or(0);
    let platforms = both_ways(&cluster, "spelling", &in_spelling(0));
    for round in 1..rounds {
        let files = in_spelling(round);
        for platform in &platforms {
            let answer = cluster.http().migrate(
                &platform.name,
                None,
                &files.tar_gz(),
                &[("dry_run", "true"), ("verify", "full")],
            );
            assert_eq!(answer.ok().json["plan"], json!([]), "round {round}");
            platform.migrate(&files).ok().field("status", "completed");
        }
    }
    // A tenant that begins with any of them has nothing to do for any other.
    let platform = Platform::register(&cluster, "spelling", &in_spelling(1));
    assert_nothing_to_do(&cluster, &platform.name, &in_spelling(2), "the second and third spelling");
}

/// Dimensions are remarks: PostgreSQL does not hold anybody to them.
#[test]
fn dimensions_of_arrays_are_no_difference() {
    let cluster = shared();
    let files = |spelling: &str| ground().file("tables/a.pssql", format!("CREATE TABLE a (x {spelling});\n"));
    let platform = Platform::register(&cluster, "dims", &files("int[]"));
    for spelling in ["int[][]", "int[3]", "integer[2][3]", "int ARRAY", "int4 ARRAY[7]", "_int4"] {
        assert_nothing_to_do(&cluster, &platform.name, &files(spelling), spelling);
    }
}

/// Without parentheses the grammar takes simple expressions only.
fn simple(default: &str) -> String {
    if default.contains(' ') { format!("({default})") } else { default.to_owned() }
}

#[test]
fn every_default() {
    let files = defaults::DEFAULTS.iter().enumerate().fold(ground(), |files, (number, (data_type, defaults))| {
        let columns: Vec<String> = defaults
            .iter()
            .enumerate()
            .map(|(column, default)| format!("    c{column} {data_type} DEFAULT {}", simple(default)))
            .collect();
        files.file(
            &format!("tables/d{number:02}.pssql"),
            format!("CREATE TABLE d{number:02} (\n{}\n);\n", columns.join(",\n")),
        )
    });
    assert_noop(&shared(), "default", &files);
}

/// The same defaults, set by ALTER TABLE and added to a table that is there.
#[test]
fn every_default_on_columns_that_are_there() {
    let cluster = shared();
    let files = |with: bool| {
        defaults::DEFAULTS.iter().enumerate().fold(ground(), |files, (number, (data_type, defaults))| {
            let columns: Vec<String> = (0..defaults.len()).map(|column| format!("    c{column} {data_type}")).collect();
            let mut text = format!("CREATE TABLE d{number:02} (\n{}\n);\n", columns.join(",\n"));
            for (column, default) in defaults.iter().enumerate().filter(|_| with) {
                text += &format!("ALTER TABLE d{number:02} ALTER COLUMN c{column} SET DEFAULT {default};\n");
            }
            files.file(&format!("tables/d{number:02}.pssql"), text)
        })
    };
    let platform = Platform::register(&cluster, "setdef", &files(false));
    platform.migrate(&files(true)).ok().field("status", "completed");
    assert_nothing_to_do(&cluster, &platform.name, &files(true), "defaults that were set");
    platform.migrate(&files(false)).ok().field("status", "completed");
    assert_nothing_to_do(&cluster, &platform.name, &files(false), "defaults that were dropped");
}

#[test]
fn every_check() {
    let table = |checks: &[&str]| {
        let checks: Vec<String> = checks.iter().map(|check| format!("    CHECK ({check})")).collect();
        format!("CREATE TABLE c ({},\n{}\n);\n", expressions::COLUMNS, checks.join(",\n"))
    };
    let files = ground().file("tables/c.pssql", table(expressions::CONDITIONS));
    assert_noop(&shared(), "check", &files);
}

/// Conditions as the predicates of indexes, policies, views, triggers and rules, and as results.
#[test]
fn every_condition_elsewhere() {
    let mut text = format!("CREATE TABLE c ({});\n", expressions::COLUMNS);
    let mut views = String::new();
    let mut functions =
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';\n".to_owned();
    for (number, condition) in expressions::CONDITIONS.iter().enumerate() {
        text += &format!("CREATE POLICY p{number} ON c USING ({condition}) WITH CHECK ({condition});\n");
        views += &format!("CREATE VIEW v{number} AS SELECT a, {condition} AS x FROM c WHERE {condition};\n");
        let new = expressions::of_new(condition);
        functions += &format!(
            "CREATE TRIGGER t{number} BEFORE UPDATE ON c FOR EACH ROW WHEN ({new}) EXECUTE FUNCTION look();\n"
        );
        text += &format!("CREATE RULE r{number} AS ON UPDATE TO c WHERE {new} DO ALSO NOTHING;\n");
    }
    for (number, condition) in expressions::CONDITIONS.iter().filter(|c| expressions::is_immutable(c)).enumerate() {
        text += &format!("CREATE INDEX i{number} ON c (a) WHERE {condition};\n");
    }
    let files =
        ground().file("tables/c.pssql", text).file("views/v.pssql", views).file("functions/look.pssql", functions);
    assert_noop(&shared(), "condition", &files);
}

#[test]
fn every_generated_column() {
    let columns: Vec<String> = expressions::GENERATED
        .iter()
        .enumerate()
        .map(|(number, (data_type, expression))| {
            format!("    g{number} {data_type} GENERATED ALWAYS AS ({expression}) STORED")
        })
        .collect();
    let text = format!("CREATE TABLE g ({},\n{}\n);\n", expressions::COLUMNS, columns.join(",\n"));
    assert_noop(&shared(), "generated", &ground().file("tables/g.pssql", text));
}

#[test]
fn every_index() {
    let mut text = format!("CREATE TABLE i ({});\n", expressions::COLUMNS);
    for (number, index) in expressions::INDEXES.iter().enumerate() {
        let unique = if index.contains("NULLS NOT DISTINCT") { "UNIQUE " } else { "" };
        text += &format!("CREATE {unique}INDEX i{number} ON i {index};\n");
    }
    assert_noop(&shared(), "index", &ground().file("tables/i.pssql", text));
}

#[test]
fn every_parameter() {
    let mut text = String::new();
    for (number, (data_type, defaults)) in
        defaults::DEFAULTS.iter().enumerate().filter(|(_, (t, _))| !t.contains("serial"))
    {
        for (place, default) in defaults.iter().enumerate() {
            text += &format!(
                "CREATE FUNCTION f{number}_{place}(a {data_type} DEFAULT {default}) RETURNS {data_type} LANGUAGE sql AS 'SELECT $1';\n"
            );
        }
    }
    assert_noop(&shared(), "parameter", &ground().file("functions/all.pssql", text));
}
