//! The catalog's reader on random schemas, on a plain cluster: what is the same in two databases reads as the same, also after a dump
//! and a restore.

use std::io::Write;
use std::process::Stdio;

use acceptance::generator::{Pair, Schema};
use acceptance::{Cluster, read_model, server, sql};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn made(cluster: &Cluster, database: &str, script: &str) -> postgres::Client {
    sql::done(cluster.control().batch_execute(&format!("DROP DATABASE IF EXISTS {database}")));
    sql::done(cluster.control().batch_execute(&format!("CREATE DATABASE {database}")));
    let mut client = cluster.connect(database);
    sql::done(client.batch_execute(script));
    client
}

/// The objects in which two models differ, as JSON, one a line.
fn difference(one: &stonescriptdb_schema::Model, other: &stonescriptdb_schema::Model) -> String {
    let lines = |model: &stonescriptdb_schema::Model, other: &stonescriptdb_schema::Model| {
        let differs =
            |object: &&stonescriptdb_schema::Object| !other.get(&object.key).is_some_and(|o| o.is_same(object));
        let text = |object| serde_json::to_string(object).expect("plain data");
        model.iter().filter(differs).map(|object| format!("{}\n", text(object))).collect::<String>()
    };
    format!("--- one:\n{}--- other:\n{}", lines(one, other), lines(other, one))
}

fn restored(cluster: &Cluster, from: &str, to: &str) -> postgres::Client {
    let mut dump = cluster.client_program("pg_dump");
    dump.args(["--schema-only", from]);
    let dump = server::run(dump).stdout;
    let client = made(cluster, to, "");
    let mut psql = cluster.client_program("psql");
    psql.args(["-qX", "-v", "ON_ERROR_STOP=1", "-d", to]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = psql.spawn().expect("psql starts");
    child.stdin.take().expect("it is piped").write_all(&dump).expect("psql reads");
    assert!(child.wait().expect("psql ends").success(), "{}", String::from_utf8_lossy(&dump));
    client
}

#[test]
fn what_is_the_same_reads_as_the_same() {
    let cluster = Cluster::builder().without_preload().start();
    let first = number("SSDB_RANDOM_SEED", 1);
    let mut failures = Vec::new();
    for seed in first..first + number("SSDB_RANDOM_SCHEMAS", 25) {
        let pair = Pair::of(seed);
        let schema: &Schema = &pair.new;
        let one = read_model(&mut made(&cluster, "one", &schema.script()));
        let mut more = made(&cluster, "more", &pair.old.script());
        sql::done(more.batch_execute(
            "DO $$ DECLARE s text; BEGIN FOR s IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
             LOOP EXECUTE format('DROP SCHEMA %I CASCADE', s); END LOOP; END $$;
             CREATE SCHEMA public AUTHORIZATION pg_database_owner; GRANT USAGE ON SCHEMA public TO PUBLIC;
             COMMENT ON SCHEMA public IS 'standard public schema'",
        ));
        sql::done(more.batch_execute(&schema.script()));
        let again = read_model(&mut more);
        if one.fingerprint() != again.fingerprint() {
            failures.push(format!("seed {seed}, in two databases:\n{}", difference(&one, &again)));
        }
        // The first time, materialized views come back empty, and `IN (…)` on a varchar as a text that is the same thing written in
        // another way; the second time nothing changes any more.
        let first = read_model(&mut restored(&cluster, "one", "first"));
        let second = read_model(&mut restored(&cluster, "first", "second"));
        if !one.keys().eq(first.keys()) || first.fingerprint() != second.fingerprint() {
            let difference = format!("{}\n{}", difference(&one, &first), difference(&first, &second));
            failures.push(format!("seed {seed}, dumped and restored:\n{difference}"));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
