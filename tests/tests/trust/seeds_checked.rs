//! On migrate every row that a seeder makes must be there, known by what the seeder itself gives.

use acceptance::{Answer, Files, Platform, shared, sql};
use serde_json::{Value, json};

use crate::seeding::bundle;
use crate::{assert_exact, by_hand, migrate, warnings};

/// A bundle with the same seeders and something new, so that there is something to roll back.
fn newer() -> Files {
    bundle().file("functions/new_one.pssql", "CREATE FUNCTION new_one() RETURNS int LANGUAGE sql AS 'SELECT 1';\n")
}

fn validation(answer: &Answer, table: &str) -> Option<(i64, i64)> {
    let row = answer.array("seeder_validations").iter().find(|row| row["table"] == table)?;
    Some((row["expected"].as_i64()?, row["found"].as_i64()?))
}

const TABLES: [(&str, i64); 6] =
    [("currencies", 2), ("settings", 2), ("slots", 3), ("log", 3), ("parents", 2), ("children", 4)];

#[test]
fn migrate_tells_of_every_table_what_it_found() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "cfound", &bundle());
    let answer = platform.migrate(&newer()).ok().field("status", "completed");
    for (table, rows) in TABLES {
        assert_eq!(validation(&answer, table), Some((rows, rows)), "{table}: {answer}");
    }
    assert_eq!(warnings(&answer), "", "{answer}");
    assert_eq!(answer.json["verification"]["seeders_verified"], 5, "{answer}");
}

/// A row that goes, the table, and what the answer must show of it.
const LOST: [(&str, &str, &str); 5] = [
    ("DELETE FROM currencies WHERE code = 'USD'", "currencies", "USD"),
    ("DELETE FROM settings WHERE name = 'theme'", "settings", "theme"),
    ("DELETE FROM slots WHERE name = 'slot 2'", "slots", "slot 2"),
    ("DELETE FROM log WHERE ctid = (SELECT min(ctid) FROM log WHERE what = 'twin')", "log", "twin"),
    ("DELETE FROM log WHERE n IS NULL", "log", "none"),
];

#[test]
fn a_missing_row_is_listed_and_everything_rolled_back() {
    let cluster = shared();
    for (loss, table, shown) in LOST {
        let platform = Platform::register(&cluster, "cmiss", &bundle());
        by_hand(&mut platform.connect(), loss);
        let before = platform.snapshot();
        let answer = platform.migrate(&newer()).error(422, "verification_failed");
        assert!(answer.str("detail").contains(shown), "{loss}: the row is listed: {answer}");
        assert!(answer.str("message").contains(table), "{loss}: {answer}");
        assert!(answer.str("file").starts_with("seeders/"), "{loss}: {answer}");
        platform.assert_unchanged(&before, loss);
        platform.call("new_one", json!([])).client_error();

        // A dry run tells it as well, one way or the other, and changes nothing.
        migrate(&cluster, &platform, "main", &newer(), &[("dry_run", "true")]);
        platform.assert_unchanged(&before, "a dry run");

        // Inserted when that is asked for, and only what is missing.
        let answer = migrate(&cluster, &platform, "main", &newer(), &[("seeders", "insert_missing")])
            .ok()
            .field("status", "completed");
        let rows = TABLES.iter().find(|(name, _)| *name == table).map_or(0, |(_, rows)| *rows);
        assert_eq!(validation(&answer, table), Some((rows, rows)), "{loss}: {answer}");
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(sql::text(&mut platform.connect(), &count), rows.to_string(), "{loss}");
        platform.call("new_one", json!([])).ok();
        assert_exact(&cluster, &platform, "main", "the row was inserted");
        platform.migrate(&newer()).ok().field("status", "completed");
    }
}

#[test]
fn force_goes_on_with_a_warning_that_names_the_rows() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "cforce", &bundle());
    by_hand(&mut platform.connect(), "DELETE FROM currencies WHERE code = 'USD'");
    let answer = migrate(&cluster, &platform, "main", &newer(), &[("force", "true")]).ok();
    assert!(warnings(&answer).contains("USD") && warnings(&answer).contains("currencies"), "{answer}");
    assert_eq!(validation(&answer, "currencies"), Some((2, 1)), "{answer}");
    assert_eq!(sql::texts(&mut platform.connect(), "SELECT code FROM currencies"), ["EUR"], "nothing was inserted");
    platform.call("new_one", json!([])).ok();
    // Without force it is missing as before, also where the bundle is the same.
    migrate(&cluster, &platform, "main", &newer(), &[]).error(422, "verification_failed");
}

#[test]
fn over_sql_it_is_the_argument_seeders() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "csql", &bundle());
    by_hand(&mut platform.connect(), "DELETE FROM currencies WHERE code = 'USD'");
    let mut control = cluster.control();
    let plain = "SELECT stonescriptdb.migrate($1, $2)";
    acceptance::refused(control.query(plain, &[&newer().tar_gz(), &platform.name])).meant().says("USD");
    let wrong = "SELECT stonescriptdb.migrate($1, $2, seeders => 'perhaps')";
    acceptance::refused(control.query(wrong, &[&newer().tar_gz(), &platform.name])).meant().says("insert_missing");
    let insert = "SELECT stonescriptdb.migrate($1, $2, seeders => 'insert_missing')";
    let answer: Value = sql::done(control.query_one(insert, &[&newer().tar_gz(), &platform.name])).get(0);
    assert_eq!(answer["status"], "completed", "{answer}");
    assert_eq!(sql::texts(&mut platform.connect(), "SELECT code FROM currencies ORDER BY 1"), ["EUR", "USD"]);
}

#[test]
fn what_users_may_change_does_not_hide_a_row() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "cuser", &bundle());
    by_hand(
        &mut platform.connect(),
        // Ids, times and defaults; what is no key; more rows; another order.
        "UPDATE settings SET id = gen_random_uuid(), made_at = now() - interval '1 year', made_on = '2001-01-01', value = '\"mine\"';
         UPDATE currencies SET rate = 7, name = 'renamed'; INSERT INTO currencies VALUES ('GBP', 'pound', 2);
         UPDATE slots SET id = id + 100; INSERT INTO log VALUES ('theirs', 5); INSERT INTO children VALUES (1, 7)",
    );
    let answer = platform.migrate(&newer()).ok().field("status", "completed");
    for (table, rows) in TABLES {
        assert_eq!(validation(&answer, table), Some((rows, rows)), "{table}: {answer}");
    }
    let values = "SELECT name || value FROM settings ORDER BY name";
    assert_eq!(
        sql::texts(&mut platform.connect(), values),
        ["language\"mine\"", "theme\"mine\""],
        "nothing was put back"
    );
}

#[test]
fn parents_that_got_other_ids_are_still_found_by_name() {
    let cluster = shared();
    let files = Files::new()
        .file("tables/parents.pssql", "CREATE TABLE parents (id serial PRIMARY KEY, name text NOT NULL UNIQUE);\n")
        .file("seeders/parents.pssql", "INSERT INTO parents (name) VALUES ('Ada'), ('Bob');\n");
    let platform = Platform::register(&cluster, "cids", &files);
    by_hand(&mut platform.connect(), "DELETE FROM parents; INSERT INTO parents (name) VALUES ('Bob'), ('Ada')");
    migrate(&cluster, &platform, "main", &files, &[("verify", "true")]).ok().field("status", "completed");
}

#[test]
fn types_of_every_spelling_are_found_again() {
    let cluster = shared();
    let files = Files::new()
        .file("types/mood.pssql", "CREATE TYPE mood AS ENUM ('sad', 'happy');\n")
        .file("types/pair.pssql", "CREATE TYPE pair AS (a int, b text);\n")
        .file(
            "tables/odd.pssql",
            "CREATE TABLE odd (at timestamptz, day date, took interval, n numeric, f float8, r real, b bytea, j json, jb jsonb, u uuid, i inet, m mood, p pair,\n    \
             a int[][], t tsrange, c char(5), v varchar(9), x xml, pt point, bits bit(3), money money, flag boolean);\n",
        )
        .file(
            "seeders/odd.pssql",
            "INSERT INTO odd VALUES ('2024-02-29 23:59:59.123456+05:30', '2024-02-29', '1 mon -3 days 04:05', 1.50, 0.1, 0.1, '\\xdeadbeef', '{\"b\":1, \"a\":2}', '{\"b\":1}',\n    \
             'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.0.0.1/8', 'happy', ROW(1, 'x,\"y'), '{{1,2},{3,NULL}}', '[2024-01-01,2024-02-01)', 'ab', 'a b', '<a/>', '(1,2)', B'101', '12.34', true);\n",
        );
    let platform = Platform::register(&cluster, "ctypes", &files);
    // As another client's settings would show them: what is compared is the value.
    by_hand(
        &mut cluster.control(),
        &format!("ALTER DATABASE {0} SET DateStyle = 'German, DMY'; ALTER DATABASE {0} SET TimeZone = 'Asia/Kolkata'; ALTER DATABASE {0} SET IntervalStyle = 'sql_standard';
                  ALTER DATABASE {0} SET bytea_output = 'escape'; ALTER DATABASE {0} SET extra_float_digits = -5", platform.database()),
    );
    let answer = migrate(&cluster, &platform, "main", &files, &[("verify", "true")]).ok();
    assert_eq!(validation(&answer, "odd"), Some((1, 1)), "{answer}");
    by_hand(&mut platform.connect(), "DELETE FROM odd");
    migrate(&cluster, &platform, "main", &files, &[("verify", "true")]).error(422, "verification_failed");
    migrate(&cluster, &platform, "main", &files, &[("seeders", "insert_missing")]).ok();
    let answer = migrate(&cluster, &platform, "main", &files, &[("verify", "true")]).ok();
    assert_eq!(validation(&answer, "odd"), Some((1, 1)), "what was inserted is what the seeder makes: {answer}");
}

/// The parent's id comes from a sequence: the row is known by the rest, and nobody can say whose it was.
#[test]
fn a_row_below_a_generated_id_is_known_by_what_is_given() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "cchild", &bundle());
    by_hand(&mut platform.connect(), "DELETE FROM children WHERE no = 2 AND parent = 1");
    let before = platform.snapshot();
    let answer = platform.migrate(&newer()).error(422, "verification_failed");
    assert!(answer.str("detail").contains("Ada") && answer.str("message").contains("1 of the 4"), "{answer}");
    // It cannot be inserted by guessing: nothing is changed, and the answer says which seeder it is.
    let answer =
        migrate(&cluster, &platform, "main", &newer(), &[("seeders", "insert_missing")]).error(422, "seeder_failed");
    assert!(answer.str("file").ends_with("seeders/family.pssql"), "{answer}");
    platform.assert_unchanged(&before, "a row could not be inserted");
    migrate(&cluster, &platform, "main", &newer(), &[("force", "true")]).ok();
}

/// A time that the seeder itself gives differs each time: it is not what the row is known by, but an inserted row needs one.
#[test]
fn a_missing_row_with_a_volatile_value_is_inserted_or_refused_with_a_hint() {
    let cluster = shared();
    let files = Files::new()
        .file("tables/jobs.pssql", "CREATE TABLE jobs (name text PRIMARY KEY, made_at timestamptz, token uuid);\n")
        .file(
            "seeders/jobs.pssql",
            "INSERT INTO jobs VALUES ('clean', now(), gen_random_uuid()), ('send', now(), gen_random_uuid());\n",
        );
    for required in ["", " NOT NULL"] {
        let files = files.clone().edit("tables/jobs.pssql", "timestamptz", &format!("timestamptz{required}")).edit(
            "tables/jobs.pssql",
            "uuid",
            &format!("uuid{required}"),
        );
        let platform = Platform::register(&cluster, "cvol", &files);
        by_hand(&mut platform.connect(), "DELETE FROM jobs WHERE name = 'send'");
        migrate(&cluster, &platform, "main", &files, &[]).error(422, "verification_failed").says("send");
        let answer = migrate(&cluster, &platform, "main", &files, &[("seeders", "insert_missing")]);
        let rows = sql::texts(
            &mut platform.connect(),
            "SELECT name || (made_at IS NOT NULL) || (token IS NOT NULL) FROM jobs ORDER BY name",
        );
        if answer.status == 200 {
            assert_eq!(rows, ["cleantruetrue", "sendtruetrue"], "a row without what the seeder gives: {answer}");
        } else {
            let answer = answer.error(422, "seeder_failed");
            assert!(!answer.json["hint"].is_null(), "what to do instead: {answer}");
            assert_eq!(rows, ["cleantruetrue"]);
        }
    }
}
