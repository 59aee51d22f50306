//! The stage of extensions: trusted ones and those that the administrator allows.

use acceptance::{Cluster, Files, Platform, fixtures, shared, sql};
use serde_json::json;

fn installed(platform: &Platform) -> Vec<String> {
    sql::texts(&mut platform.connect(), "SELECT extname::text FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1")
}

#[test]
fn trusted_extensions_are_installed_before_anything_uses_them() {
    let cluster = shared();
    let files = Files::new()
        .file("extensions/citext.sql", "-- case-insensitive mail addresses\n")
        .file("extensions/uuid-ossp.txt", "-- version: 1.1\n")
        .file("extensions/pgcrypto.sql", "")
        .file("types/mail.pssql", "CREATE DOMAIN mail AS citext CHECK (VALUE LIKE '%@%');\n")
        .file("tables/people.pssql", "CREATE TABLE people (id uuid PRIMARY KEY DEFAULT uuid_generate_v4(), mail mail UNIQUE);\n")
        .file(
            "functions/add_person.pssql",
            "CREATE FUNCTION add_person(p_mail text) RETURNS text LANGUAGE sql AS\n\
             $$ INSERT INTO people (mail) VALUES (p_mail::mail) RETURNING encode(digest(mail::text, 'sha256'), 'hex') $$;\n",
        );
    let platform = Platform::unregistered(&cluster, "ext");
    platform.register_again(&files).ok().field("extensions_installed", 3);
    assert_eq!(installed(&platform), ["citext", "pgcrypto", "uuid-ossp"]);
    platform.call("add_person", json!(["A@b"])).ok();
    platform.call("add_person", json!(["a@B"])).error(409, "query_failed");
    let before = platform.snapshot();
    platform.register_again(&files).ok();
    platform.assert_unchanged(&before, "nothing is new");
}

#[test]
fn an_extensions_schema_is_as_its_file_says() {
    let cluster = shared();
    let files = fixtures::tiny().file("extensions/hstore.sql", "-- schema: ext\n-- version: 1.8\n");
    let platform = Platform::register(&cluster, "extschema", &files);
    let place = "SELECT nspname || ' ' || extversion FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'hstore'";
    assert_eq!(sql::text(&mut platform.connect(), place), "ext 1.8");
}

#[test]
fn an_extension_that_is_unknown_or_not_allowed_is_refused() {
    let cluster = shared();
    for name in ["no_such_extension", "dblink", "file_fdw", "adminpack", "stonescriptdb", "x; DROP TABLE y"] {
        let platform = Platform::unregistered(&cluster, "noext");
        let path = format!("extensions/{name}.sql");
        let answer = platform.register_again(&fixtures::tiny().file(&path, "-- please\n"));
        answer.error(400, "extension_not_available").says(name);
        platform.assert_absent(name);
    }
    // An existing database stays without it.
    let platform = Platform::register(&cluster, "noext", &fixtures::tiny());
    let before = platform.snapshot();
    let files = fixtures::tiny().file("extensions/citext.sql", "").file("extensions/dblink.sql", "");
    platform.migrate(&files).error(400, "extension_not_available");
    platform.assert_unchanged(&before, "one of the extensions is not allowed");
}

#[test]
fn an_extension_that_the_administrator_allows_is_installed() {
    let cluster = Cluster::builder().setting("stonescriptdb.allowed_extensions", "dblink, pg_buffercache").start();
    let files = fixtures::tiny().file("extensions/dblink.sql", "");
    let platform = Platform::unregistered(&cluster, "allowed");
    platform.register_again(&files).ok().field("extensions_installed", 1);
    assert_eq!(installed(&platform), ["dblink"]);
    let other = Platform::unregistered(&cluster, "allowed");
    other.register_again(&fixtures::tiny().file("extensions/file_fdw.sql", "")).error(400, "extension_not_available");
    other.assert_absent("it is not on the list");
}

#[test]
fn an_extension_is_taken_back_when_the_deployment_fails() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "takeback", &fixtures::tiny());
    let before = platform.snapshot();
    let files = fixtures::tiny()
        .file("extensions/citext.sql", "")
        .file("functions/bad.pssql", "CREATE FUNCTION bad(a no_such_type) RETURNS int LANGUAGE sql AS 'SELECT 1';\n");
    platform.migrate(&files).error(422, "function_deploy_failed");
    platform.assert_unchanged(&before, "the deployment failed after its extension was installed");
}

#[test]
fn an_extensions_functions_are_not_the_bundles() {
    let cluster = shared();
    let files = fixtures::tiny().file("extensions/pgcrypto.sql", "");
    let platform = Platform::unregistered(&cluster, "notours");
    let answer = platform.register_again(&files).ok();
    assert_eq!(answer.number("functions_deployed"), fixtures::tiny().count("functions") as i64, "{answer}");
    let tracked = "SELECT string_agg(function_name, ' ' ORDER BY function_name) FROM _stonescriptdb_gateway_functions";
    assert_eq!(sql::text(&mut platform.connect(), tracked), "f nap pid");
    // A second deployment does not take them for orphans.
    platform.migrate(&files).ok();
    assert_eq!(installed(&platform), ["pgcrypto"]);
}
