//! Bundles that could not be deployed, and what a deployment did not say or left open.

use acceptance::{Files, Platform, fixtures, shared, sql};
use serde_json::json;

#[test]
fn an_enum_is_extended_by_a_migration() {
    let cluster = shared();
    let (kind, labels) = ("types/mood.pssql", "SELECT enum_range(NULL::mood)::text");
    let v1 = Files::new()
        .file(kind, "CREATE TYPE mood AS ENUM ('sad', 'fine');\n")
        .file("functions/echo.pssql", "CREATE FUNCTION echo(m mood) RETURNS mood LANGUAGE sql AS 'SELECT m';\n");
    let v2 = v1
        .clone()
        .edit(kind, "'fine'", "'fine', 'glad'")
        .file("migrations/001_glad.pssql", "ALTER TYPE mood ADD VALUE 'glad';\n");
    let platform = Platform::register(&cluster, "mood", &v1);
    platform.call("echo", json!(["glad"])).client_error();
    platform.migrate(&v2).ok().field("migrations_applied", 1);
    assert_eq!(sql::text(&mut platform.connect(), labels), "{sad,fine,glad}");
    assert_eq!(platform.call("echo", json!(["glad"])).value(), "glad");
    platform.migrate(&v2).ok().field("migrations_applied", 0);
    platform.register_again(&v2).ok();

    // On a fresh database types/ has made it as it shall be; there are no tables/.
    let fresh = Platform::register(&cluster, "freshmood", &v2);
    assert_eq!(sql::text(&mut fresh.connect(), labels), "{sad,fine,glad}");
    assert_eq!(fresh.call("echo", json!(["glad"])).value(), "glad");
    let alone = Platform::register(&cluster, "alonemood", &v2.clone().without("functions/echo.pssql"));
    assert_eq!(sql::text(&mut alone.connect(), labels), "{sad,fine,glad}");

    // A value that no migration adds is added all the same; one that goes is data loss.
    platform.migrate(&v2.clone().edit(kind, "'glad'", "'glad', 'wild'")).ok();
    assert_eq!(sql::text(&mut platform.connect(), labels), "{sad,fine,glad,wild}");
    let before = platform.snapshot();
    platform.migrate(&v2.edit(kind, "'sad', ", "")).error(409, "schema_validation_failed").says("mood");
    platform.assert_unchanged(&before, "an enum value would go");
}

#[test]
fn a_file_with_only_a_sequence_can_be_changed() {
    let cluster = shared();
    let path = "tables/ticket_no.pssql";
    let v1 = Files::new().file(path, "CREATE SEQUENCE ticket_no;\n");
    let v2 = v1.clone().replace(path, "CREATE SEQUENCE ticket_no;\nCOMMENT ON SEQUENCE ticket_no IS 'of tickets';\n");
    let platform = Platform::register(&cluster, "seqonly", &v1);
    platform.migrate(&v2).ok();
    let comment = "SELECT obj_description('ticket_no'::regclass)";
    assert_eq!(sql::text(&mut platform.connect(), comment), "of tickets");
    platform.register_again(&v2).ok();
}

#[test]
fn a_file_with_only_a_materialized_view_can_be_changed() {
    let cluster = shared();
    let path = "views/numbers.pssql";
    let v1 = Files::new().file(path, "CREATE MATERIALIZED VIEW numbers AS SELECT 1 AS a;\n");
    let v2 = v1.clone().edit(path, "AS a;\n", "AS a;\nCOMMENT ON MATERIALIZED VIEW numbers IS 'of one';\n");
    let platform = Platform::register(&cluster, "matonly", &v1);
    platform.migrate(&v2).ok();
    let comment = "SELECT obj_description('numbers'::regclass)";
    assert_eq!(sql::text(&mut platform.connect(), comment), "of one");
    assert_eq!(sql::text(&mut platform.connect(), "SELECT a FROM numbers"), "1");
    platform.register_again(&v2).ok();
}

#[test]
fn a_changed_default_or_check_is_made() {
    let cluster = shared();
    let path = "tables/things.pssql";
    let v1 = Files::new().file(path, "CREATE TABLE things (id int PRIMARY KEY, n int DEFAULT 1 CHECK (n > 0));\n");
    let platform = Platform::register(&cluster, "silent", &v1);
    let answer = platform.migrate(&v1).ok();
    assert_eq!(answer.array("warnings").len(), 0, "nothing has changed: {answer}");
    let v2 = v1.edit(path, "DEFAULT 1", "DEFAULT 2");
    platform.migrate(&v2).ok();
    let v3 = v2.edit(path, "n > 0", "n > 1");
    platform.register_again(&v3).ok();
    let mut client = platform.connect();
    let default = "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'things'::regclass";
    assert_eq!(sql::text(&mut client, default), "2");
    let check =
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'things'::regclass AND contype = 'c'";
    assert_eq!(sql::text(&mut client, check), "CHECK ((n > 1))");
}

#[test]
fn a_bundle_cannot_open_its_database_to_everybody() {
    let cluster = shared();
    let grant = |to: &str| {
        format!(
            "DO $$ BEGIN EXECUTE 'GRANT CONNECT ON DATABASE ' || quote_ident(current_database()) || ' TO {to}'; END $$;\n"
        )
    };
    let mut control = cluster.control();
    sql::done(control.batch_execute("CREATE ROLE review_guest LOGIN"));
    let platform = Platform::register(&cluster, "opened", &fixtures::tiny());
    for to in ["PUBLIC", "review_guest"] {
        let files = fixtures::tiny().file("migrations/001_open.pssql", grant(to));
        platform.migrate(&files).error(422, "migration_failed").field("sqlstate", "42501");
        // Whoever did it by other means, the next deployment takes it back.
        sql::done(control.batch_execute(&format!("GRANT CONNECT ON DATABASE {} TO {to}", platform.database())));
    }
    let more = "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 2';\n";
    platform.migrate(&fixtures::tiny().file("functions/more.pssql", more)).ok();
    for role in ["public", "review_guest"] {
        let query = format!("SELECT has_database_privilege('{role}', '{}', 'CONNECT')", platform.database());
        assert_eq!(sql::text(&mut control, &query), "f", "{role} may connect");
    }
    acceptance::refused(cluster.try_connect_as("review_guest", &platform.database()).map(drop)).sqlstate("42501");
    assert_eq!(platform.call("f", json!([])).value(), 1, "the platform's own roles may");
}
