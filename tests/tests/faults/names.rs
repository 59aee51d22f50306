//! The longest names, names in other alphabets, and databases in other encodings.

use acceptance::wait::check;
use acceptance::{Cluster, Files, Platform, eventually, fixtures, server, shared, sql, unique};
use serde_json::json;

/// A database's name has 63 bytes at most: one that just fits works in every respect, the next is refused before anything is made.
#[test]
fn names_of_63_bytes_fit_and_those_of_64_are_refused() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "l", &fixtures::tiny());
    let room = 63 - platform.name.len() - 1;
    let longest = "t".repeat(room);
    platform.register_tenant(&longest, &fixtures::tiny()).ok();
    assert_eq!(platform.database_of(&longest).len(), 63);
    assert_eq!(platform.call_tenant(&longest, "f", json!([])).value(), 1);
    platform.migrate(&fixtures::tiny().edit("functions/f.pssql", "SELECT 1", "SELECT 2")).ok().field("failed", 0);
    assert_eq!(platform.call_tenant(&longest, "f", json!([])).value(), 2);
    let too_long = format!("{longest}t");
    let answer = platform.register_tenant(&too_long, &fixtures::tiny()).error(400, "invalid_request");
    assert!(answer.to_string().contains("63"), "it says what the limit is: {answer}");

    // A platform whose name leaves room for two letters; its roles' names are cut.
    let name = format!("{:p<60}", unique("platform"));
    let long = Platform { cluster: &cluster, name };
    long.register_tenant("ab", &fixtures::tiny()).ok();
    assert_eq!(long.call_tenant("ab", "f", json!([])).value(), 1);
    long.register_again(&fixtures::tiny()).error(400, "invalid_request");
}

/// 63 bytes cut in the middle of a character would be no text: PostgreSQL cuts names at a character.
#[test]
fn names_of_many_bytes() {
    let cluster = shared();
    let (function, column) = ("ü".repeat(31), "列".repeat(21));
    let files = Files::new()
        .file("tables/tabelle_äöü.pssql", format!("CREATE TABLE \"tabelle_äöü\" (id int PRIMARY KEY, \"{column}\" text NOT NULL);\n"))
        .file("seeders/tabelle_äöü.pssql", "INSERT INTO \"tabelle_äöü\" VALUES (1, 'wörter 言葉 🦀');\n")
        .file(
            "functions/über.pssql",
            format!(
                "CREATE FUNCTION \"{function}\"(\"größe\" int) RETURNS TABLE (\"{column}\" text) LANGUAGE sql STABLE AS\n\
                 $$ SELECT \"{column}\" FROM \"tabelle_äöü\" WHERE id = \"größe\" $$;\n"
            ),
        );
    let platform = Platform::register(&cluster, "mehr", &files);
    assert_eq!(column.len(), 63);
    let quoted = format!("\"{function}\"");
    let row = platform.call(&quoted, json!({"größe": 1})).row();
    assert_eq!(row[&column], "wörter 言葉 🦀", "{row}");
    platform.register_again(&files).ok();
    // A tenant in another alphabet keeps nothing of it in its database's name, and is refused for that.
    platform.register_tenant("客户", &files).error(400, "invalid_request");
    platform.register_tenant("Müller & Söhne", &files).ok();
    assert_eq!(platform.call_tenant("Müller & Söhne", &quoted, json!([1])).row()[&column], "wörter 言葉 🦀");
}

#[test]
fn a_database_in_another_encoding_is_refused_clearly() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "latin", &fixtures::shop());
    platform.register_tenant("acme", &fixtures::shop()).ok();
    let mut control = cluster.control();
    let latin =
        |name: &str| format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    sql::done(control.batch_execute(&latin("latin_legacy")));
    let adopted = control.query_one("SELECT stonescriptdb.adopt($1, 'latin_legacy', 'legacy')", &[&platform.name]);
    acceptance::refused(adopted).says("UTF8").says("encoding");
    // A tenant that was restored into one: it is not taken, and the log says why.
    let acme = platform.database_of("acme");
    let file = cluster.dir().join("acme.dump");
    let mut pg_dump = cluster.client_program("pg_dump");
    pg_dump.arg("-Fc").arg("-f").arg(&file).arg(&acme);
    server::run(pg_dump);
    sql::done(control.batch_execute(&format!("DROP DATABASE {acme}")));
    sql::done(control.batch_execute(&latin(&acme)));
    let mut pg_restore = cluster.client_program("pg_restore");
    pg_restore.args(["--exit-on-error", "-d", &acme]).arg(&file);
    server::run(pg_restore);
    eventually("the log to say it", || {
        let log = cluster.log();
        check(log.contains(&acme) && log.contains("UTF8"), cluster.log_tail())
    });
    platform.call_tenant("acme", "count_customers", json!([])).error(404, "database_not_found");
    platform.call("count_customers", json!([])).ok();
}
