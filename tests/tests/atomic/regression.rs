//! A schema in the manner of PostgreSQL's own regression suite, one object of every sort: registered, compared with itself, made by a plan.

mod suite;

use acceptance::{Cluster, Files, Platform, shared, sql};

use crate::world::assert_nothing_to_do;

const TYPES: &str = include_str!("regression/types.sql");
const TABLES: &str = include_str!("regression/tables.sql");
const FUNCTIONS: &str = include_str!("regression/functions.sql");
const VIEWS: &str = include_str!("regression/views.sql");

fn schema() -> Files {
    Files::new()
        .file("types/all.pssql", TYPES)
        .file("tables/all.pssql", TABLES)
        .file("functions/all.pssql", FUNCTIONS)
        .file("views/all.pssql", VIEWS)
}

/// The same with one file for each statement: nothing but the names says in which order.
fn statement_by_statement() -> Files {
    let kinds = [("types", TYPES), ("tables", TABLES), ("functions", FUNCTIONS), ("views", VIEWS)];
    kinds.into_iter().fold(Files::new(), |files, (kind, text)| {
        statements(text).iter().enumerate().fold(files, |files, (number, statement)| {
            files.file(&format!("{kind}/s{number:03}.pssql"), format!("{statement}\n"))
        })
    })
}

/// Statements begin on lines of their own with a word in upper case.
fn statements(text: &str) -> Vec<String> {
    let begins =
        |line: &str| ["CREATE ", "ALTER ", "COMMENT ", "GRANT ", "REVOKE "].iter().any(|word| line.starts_with(word));
    let mut all: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("--")) {
        match all.last_mut() {
            Some(last) if !begins(line) => *last += &format!("\n{line}"),
            _ => all.push(line.to_owned()),
        }
    }
    all
}

#[track_caller]
fn assert_no_drift(cluster: &Cluster, platform: &Platform) {
    let drift = format!("SELECT to_jsonb(d)::text FROM stonescriptdb.\"check\"('{}') d", platform.name);
    assert_eq!(sql::texts(&mut cluster.control(), &drift), Vec::<String>::new());
}

/// Options of a table have no order.
fn in_order(line: &str) -> String {
    let mut options: Vec<&str> = line.trim_start_matches("WITH (").trim_end_matches(");").split(", ").collect();
    options.sort_unstable();
    options.join(", ")
}

/// A column without the name of its NOT NULL: from PostgreSQL 18 on these constraints have names, after the table where they were made,
/// which a deployment does not compare.
fn without_name(line: String) -> String {
    let (before, after) = line.split_once(" CONSTRAINT ").unwrap_or_default();
    match after.split_once(' ') {
        Some((_, rest)) if rest.starts_with("NOT NULL") => format!("{before} {rest}"),
        _ => line,
    }
}

/// Everything that pg_dump says of a database, in no order but for lines.
#[track_caller]
fn dumped(cluster: &Cluster, platform: &Platform) -> Vec<String> {
    let mut pg_dump = cluster.client_program("pg_dump");
    pg_dump.args(["--schema-only", "--no-owner"]).arg(platform.database());
    let text = String::from_utf8_lossy(&acceptance::server::run(pg_dump).stdout).into_owned();
    let mut lines: Vec<String> = text
        .replace(&platform.name, "P")
        .lines()
        .filter(|line| !line.contains("restrict ") && !line.is_empty())
        .map(|line| line.trim_end_matches(',').to_owned())
        .map(|line| if line.starts_with("WITH (") { in_order(&line) } else { without_name(line) })
        .collect();
    lines.sort();
    lines
}

#[test]
fn registered_it_is_nothing_to_do() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "regress", &schema());
    platform.register_tenant("second", &schema()).ok();
    assert_nothing_to_do(&cluster, &platform.name, &schema(), "registered");
    assert_no_drift(&cluster, &platform);
}

#[test]
fn a_plan_makes_the_same() {
    let cluster = shared();
    let registered = Platform::register(&cluster, "regmade", &schema());
    let planned =
        Platform::register(&cluster, "regplan", &Files::new().file("tables/one.pssql", "CREATE TABLE one (id int);\n"));
    let http = cluster.http();
    http.migrate(&planned.name, None, &schema().tar_gz(), &[("force", "true")]).ok().field("status", "completed");
    assert_nothing_to_do(&cluster, &planned.name, &schema(), "made by a plan");
    assert_no_drift(&cluster, &planned);
    let (planned, registered) = (dumped(&cluster, &planned), dumped(&cluster, &registered));
    let only =
        |of: &[String], not: &[String]| of.iter().filter(|line| !not.contains(line)).cloned().collect::<Vec<_>>();
    let (more, less) = (only(&planned, &registered), only(&registered, &planned));
    assert!(planned == registered, "by a plan: {more:#?}\nregistered: {less:#?}");
}

#[test]
fn everything_goes_again_and_comes_again() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "regback", &schema());
    let little = Files::new()
        .file("types/one.pssql", "CREATE TYPE one_type AS (a int);\n")
        .file("tables/one.pssql", "CREATE TABLE one (id int);\n")
        .file("functions/one.pssql", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n")
        .file("views/one.pssql", "CREATE VIEW v AS SELECT id FROM one;\n");
    let http = cluster.http();
    for files in [&little, &schema(), &little] {
        http.migrate(&platform.name, None, &files.tar_gz(), &[("force", "true")]).ok().field("status", "completed");
        assert_nothing_to_do(&cluster, &platform.name, files, "back and forth");
        assert_no_drift(&cluster, &platform);
    }
}

#[test]
fn the_order_of_statements_is_found() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "regorder", &statement_by_statement());
    assert_nothing_to_do(&cluster, &platform.name, &statement_by_statement(), "statement by statement");
    assert_nothing_to_do(&cluster, &platform.name, &schema(), "and in four files");
}
