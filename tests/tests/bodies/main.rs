//! New bodies of functions go into a tenant by a short way, which reads nothing of the catalog but them. What comes of it, and what is
//! told of it, is what the long way does and tells; and wherever it could be otherwise, the long way is taken.

mod alike;
mod given_back;
mod otherwise;
mod spelled;
mod stopped;

use acceptance::{Answer, Cluster, Files, Platform, fixtures, sql};

/// The shop with a file of several functions, one of them with everything that a function can have beside its body.
fn shop() -> Files {
    fixtures::shop()
        .file("migrations/001_note.pssql", "ALTER TABLE customers ADD COLUMN IF NOT EXISTS note text;\n")
        .edit("tables/customers.pssql", "joined timestamptz", "note text, joined timestamptz")
        .file(
            "functions/many.pssql",
            "CREATE FUNCTION twice(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a * 2';\n\n\
             CREATE FUNCTION twice(a text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT a || a $$;\n\n\
             CREATE PROCEDURE rename(p_id bigint, INOUT p_name text)\nLANGUAGE plpgsql AS $$\nBEGIN\n    \
             UPDATE products SET name = p_name WHERE id = p_id;\nEND $$;\n\n\
             CREATE FUNCTION \"Odd \"\"one\"\"\"(VARIADIC p numeric(5,2)[] DEFAULT ARRAY[1, 2], OUT total numeric, OUT st order_status)\n\
             LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER PARALLEL SAFE COST 7 SET work_mem = '8MB' AS $$\nBEGIN\n    \
             total := (SELECT sum(x) FROM unnest(p) x);\n    st := 'new';\nEND $$;\n",
        )
}

/// The shop with other bodies in two files.
fn next() -> Files {
    shop()
        .edit("functions/count_customers.pssql", "count(*)", "count(*) + 10")
        .edit("functions/many.pssql", "a * 2", "a + a")
        .edit("functions/many.pssql", "sum(x)", "sum(x) + 1")
}

/// A platform with the tenants main and `a`, both in the state of [`shop`].
fn two<'a>(cluster: &'a Cluster, prefix: &str) -> Platform<'a> {
    let platform = Platform::register(cluster, prefix, &shop());
    platform.register_tenant("a", &shop()).ok();
    platform
}

/// `POST /migrate` of one tenant, with more fields.
#[track_caller]
fn migrate(cluster: &Cluster, platform: &Platform<'_>, tenant: &str, files: &Files, more: &[(&str, &str)]) -> Answer {
    cluster.http().migrate(&platform.name, Some(tenant), &files.tar_gz(), more)
}

/// How many databases a deployment brought to its state by the short way.
#[track_caller]
fn by_short_way(cluster: &Cluster, answer: &Answer) -> i64 {
    let query = "SELECT count(*) FROM stonescriptdb.deployment_database WHERE deployment_id = $1::text::uuid AND (report ->> 'short')::boolean";
    sql::done(cluster.control().query_one(query, &[&answer.str("deployment_id")])).get(0)
}

/// Asserts that a deployment of one tenant took the short way.
#[track_caller]
fn assert_short(cluster: &Cluster, answer: &Answer) {
    assert_eq!(by_short_way(cluster, answer), 1, "the long way: {answer}");
}

/// Asserts that a deployment took the long way.
#[track_caller]
fn assert_long(cluster: &Cluster, answer: &Answer) {
    assert_eq!(by_short_way(cluster, answer), 0, "the short way: {answer}");
}

/// Has the next deployment of a tenant take the long way: it cannot know that the catalog is the bundle's to the letter.
#[track_caller]
fn forget(cluster: &Cluster, platform: &Platform<'_>, tenant: &str) {
    let forget = "UPDATE public._stonescriptdb_state SET fingerprint = NULL";
    sql::done(cluster.connect(&platform.database_of(tenant)).batch_execute(forget));
}

/// Asserts that a tenant is exactly as its bundle says, by reading everything: there is nothing to do, nothing is different, and the
/// catalog that was recorded is the one that is there.
#[track_caller]
fn assert_exact(cluster: &Cluster, platform: &Platform<'_>, tenant: &str, files: &Files) {
    let mut client = cluster.connect(&platform.database_of(tenant));
    let state = "SELECT concat_ws(' ', bundle_sha256, stamp, fingerprint) FROM public._stonescriptdb_state";
    let recorded = sql::text(&mut client, state);
    let answer = migrate(cluster, platform, tenant, files, &[("verify", "full")]).ok().field("functions_updated", 0);
    assert_eq!(answer.str("from_fingerprint"), answer.str("to_fingerprint"), "{answer}");
    assert_long(cluster, &answer);
    assert_eq!(sql::text(&mut client, state), recorded, "what was recorded before is what is there");
    let drift = "SELECT concat_ws(' | ', kind, object, deviation, detail) FROM stonescriptdb.check($1, $2)";
    let rows = sql::done(cluster.control().query(drift, &[&platform.name, &tenant]));
    let drift: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(drift.is_empty(), "{drift:#?}");
}
