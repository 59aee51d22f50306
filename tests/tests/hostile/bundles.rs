//! Bundles that are archives as they should be, with statements that nobody would write.

use std::fmt::Write;

use acceptance::{Cluster, Files};

use crate::victim::Victim;

/// A file of so many statements.
fn statements(count: usize, one: impl Fn(usize, &mut String)) -> String {
    let mut text = String::new();
    for n in 0..count {
        one(n, &mut text);
    }
    text
}

macro_rules! each {
    ($count:expr, $($format:tt)*) => {
        statements($count, |n, text| writeln!(text, $($format)*, n = n).expect("written"))
    };
}

#[test]
fn statements_that_nobody_would_write() {
    let victim = Victim::new(Cluster::builder());
    // What no bundle may contain, behind the rest: all of it is read, and nothing of it run.
    let end = "COPY t FROM '/nowhere';\n";
    let circle = 40_000;
    let circle = statements(circle, |n, text| {
        writeln!(text, "CREATE VIEW v{n} AS SELECT * FROM v{};", (n + 1) % circle).expect("written");
    });
    let overloads = each!(2_100, "CREATE FUNCTION f(a{n} int) RETURNS int LANGUAGE sql AS 'SELECT {n}';");
    let users = each!(2_100, "CREATE VIEW u{n} AS SELECT f(1);");
    let renamed = "-- @renamed from=x\n".repeat(100_000);
    let bundles = [
        ("a circle of views", "views", circle, "and 39950 more"),
        ("names that mean too much", "functions", overloads + &users, "in more than"),
        ("rows", "seeders", each!(50_000, "INSERT INTO t VALUES ({n}, 'x');") + end, "COPY"),
        (
            "comments",
            "tables",
            format!("CREATE TABLE t (a text DEFAULT '{renamed}',\n{renamed} b int);\n{end}"),
            "COPY",
        ),
        ("columns", "tables", format!("CREATE TABLE t (x int {});\n{end}", each!(50_000, ", c{n} int")), "COPY"),
        ("a sum", "views", format!("CREATE VIEW v AS SELECT 1{};\n{end}", "+1".repeat(500_000)), ""),
        ("brackets", "views", format!("CREATE VIEW v AS SELECT {}1;\n{end}", "(".repeat(500_000)), ""),
        ("selections", "views", format!("CREATE VIEW v AS {}1;\n{end}", "SELECT 1 UNION ".repeat(100_000)), ""),
        (
            "a list in a list",
            "types",
            format!("CREATE DOMAIN d AS int DEFAULT {}1;\n{end}", "ARRAY[".repeat(200_000)),
            "",
        ),
        (
            "schemas",
            "tables",
            format!("CREATE SCHEMA s {};\n{end}", each!(50_000, "CREATE TABLE t{n} (a int)")),
            "COPY",
        ),
    ];
    let seen = victim.attack("statements that nobody would write", || {
        for (what, folder, text, says) in &bundles {
            let start = std::time::Instant::now();
            let files = Files::new().file(&format!("{folder}/all.pssql"), text.as_str());
            let http = victim.http().timeout(std::time::Duration::from_secs(300));
            let answer = http.register("statements", None, &files.tar_gz()).client_error();
            eprintln!("{what}: {:.1?}, {}", start.elapsed(), answer.code());
            assert!(answer.to_string().contains(says), "{what}: {answer}");
        }
    });
    assert!(seen.executor_kb < 1_000_000, "{seen:?}");
}
