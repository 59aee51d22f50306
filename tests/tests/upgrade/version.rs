//! ALTER EXTENSION stonescriptdb UPDATE. To make a new version: docs/upgrading.md.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use acceptance::{Cluster, Platform, refused, server, sql};
use postgres::Client;
use serde_json::{Value, json};

use crate::{platform, works};

/// The versions from which there is a way to this one, oldest first.
const FROM: [&str; 1] = ["0.1.0"];

/// Everything that CREATE EXTENSION makes, a line each. The order of a table's columns is not in it: ALTER TABLE adds them at the end.
const CATALOG: &str = "
WITH member AS (
    SELECT classid, objid, objsubid FROM pg_depend WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
      AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'stonescriptdb')
), relation AS (
    SELECT c.* FROM pg_class c WHERE c.relnamespace = 'stonescriptdb'::regnamespace
)
SELECT 'member: ' || pg_describe_object(classid, objid, objsubid) FROM member
UNION ALL SELECT format('relation %s: kind %s, rights %s, options %s', oid::regclass, relkind, relacl::text, reloptions::text) FROM relation
UNION ALL SELECT format('column %s.%s: %s%s, default %s, storage %s, rights %s', a.attrelid::regclass, attname, format_type(atttypid, atttypmod),
                        CASE WHEN attnotnull THEN ' not null' ELSE '' END, pg_get_expr(adbin, adrelid), attstorage, attacl::text)
    FROM pg_attribute a JOIN relation r ON r.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attnum > 0 AND NOT attisdropped AND r.relkind IN ('r', 'v', 'p', 'm')
UNION ALL SELECT format('view %s: %s', oid::regclass, pg_get_viewdef(oid)) FROM relation WHERE relkind = 'v'
UNION ALL SELECT format('index %s: %s', oid::regclass, pg_get_indexdef(oid)) FROM relation WHERE relkind = 'i'
UNION ALL SELECT format('constraint %s of %s: %s', conname, conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE connamespace = 'stonescriptdb'::regnamespace
UNION ALL SELECT format('trigger %s', pg_get_triggerdef(t.oid)) FROM pg_trigger t JOIN relation r ON r.oid = tgrelid WHERE NOT tgisinternal
UNION ALL SELECT format('function %s: rights %s, %s', oid::regprocedure, proacl::text, pg_get_functiondef(oid)) FROM pg_proc
    WHERE pronamespace = 'stonescriptdb'::regnamespace
UNION ALL SELECT format('comment on %s: %s', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description) FROM pg_description d
    WHERE (d.classoid, d.objoid) IN (SELECT classid, objid FROM member)
       OR d.classoid = 'pg_trigger'::regclass AND d.objoid IN (SELECT t.oid FROM pg_trigger t JOIN relation r ON r.oid = tgrelid)
UNION ALL SELECT format('rows dumped of %s: %s', t::regclass, coalesce(nullif(c, ''), 'all'))
    FROM pg_extension, unnest(extconfig, extcondition) AS u(t, c) WHERE extname = 'stonescriptdb'
UNION ALL SELECT format('schema: rights %s', nspacl::text) FROM pg_namespace WHERE nspname = 'stonescriptdb'";

/// The extension's folder, with the script of an old version put into it: only the newest is installed.
#[track_caller]
fn offer(version: &str) {
    let name = format!("stonescriptdb--{version}.sql");
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql/versions").join(&name);
    let asked = Command::new(server::bin_dir().join("pg_config")).arg("--sharedir").output().expect("pg_config runs");
    let theirs = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim()).join("extension").join(&name);
    // Beside it first, so that nobody reads half of it.
    let half = theirs.with_extension(format!("{}.part", std::process::id()));
    std::fs::copy(&ours, &half).and_then(|_| std::fs::rename(&half, &theirs)).unwrap_or_else(|e| {
        panic!("{} to {}: {e}; run the tests as who may install", ours.display(), theirs.display())
    });
}

#[track_caller]
fn create(control: &mut Client, version: &str) {
    sql::done(control.batch_execute(&format!("CREATE EXTENSION stonescriptdb VERSION '{version}'")));
}

#[track_caller]
fn catalog(control: &mut Client) -> BTreeSet<String> {
    sql::texts(control, CATALOG).into_iter().filter(|line| !line.contains("stonescriptdb_test")).collect()
}

#[test]
fn an_updated_extension_is_as_a_new_one() {
    let cluster = Cluster::start();
    let mut control = cluster.control();
    let new = catalog(&mut control);
    for version in FROM {
        offer(version);
        sql::done(control.batch_execute("DROP EXTENSION stonescriptdb"));
        create(&mut control, version);
        sql::done(control.batch_execute("ALTER EXTENSION stonescriptdb UPDATE"));
        let updated = catalog(&mut control);
        let missing: Vec<_> = new.difference(&updated).collect();
        let extra: Vec<_> = updated.difference(&new).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "sql/stonescriptdb--{version}--*.sql does not lead to what sql/*.sql make.\nWhat it must still make:\n{missing:#?}\n\
             What it must drop or change:\n{extra:#?}"
        );
    }
}

/// Takes the rows of this version away and puts them, as far as it had their columns, into an old one.
#[track_caller]
fn downgrade(control: &mut Client, version: &str) {
    let tables = "SELECT relname FROM pg_extension, unnest(extconfig) AS u(t) JOIN pg_class c ON c.oid = t WHERE extname = 'stonescriptdb'";
    let known = sql::texts(control, tables);
    sql::done(control.batch_execute("CREATE SCHEMA kept"));
    for table in &known {
        sql::done(control.batch_execute(&format!("CREATE TABLE kept.{table} AS TABLE stonescriptdb.{table}")));
    }
    sql::done(control.batch_execute("DROP EXTENSION stonescriptdb"));
    // Nothing of today's in what an old version left.
    for database in sql::texts(
        control,
        "SELECT datname FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE 'stonescriptdb:%'",
    ) {
        sql::done(control.batch_execute(&format!("COMMENT ON DATABASE {database} IS NULL")));
    }
    create(control, version);
    for table in sql::texts(control, tables) {
        let columns = format!(
            "SELECT string_agg(quote_ident(a.attname), ', ') FROM pg_attribute a JOIN pg_attribute k ON k.attname = a.attname
             WHERE a.attrelid = 'stonescriptdb.{table}'::regclass AND k.attrelid = 'kept.{table}'::regclass AND a.attnum > 0
               AND NOT a.attisdropped AND a.attgenerated = ''"
        );
        let columns = sql::text(control, &columns);
        sql::done(control.batch_execute(&format!(
            "ALTER TABLE stonescriptdb.{table} DISABLE TRIGGER ALL; INSERT INTO stonescriptdb.{table} ({columns}) SELECT {columns} FROM kept.{table};
             ALTER TABLE stonescriptdb.{table} ENABLE TRIGGER ALL"
        )));
    }
}

#[test]
fn an_old_version_says_what_is_to_be_done_and_works_after_it() {
    for version in FROM {
        offer(version);
        let cluster = Cluster::start();
        let platform = platform(&cluster, "old");
        let mut control = cluster.control();
        downgrade(&mut control, version);
        // As after an update of the packages and a restart.
        drop(control);
        cluster.stop(acceptance::Shutdown::Fast);
        cluster.start_without_wait();
        says_what_is_to_be_done(&cluster, &platform, version);
        sql::done(cluster.control().batch_execute("ALTER EXTENSION stonescriptdb UPDATE"));
        cluster.wait_ready();
        works(&platform);
        // What was there before can be recovered too.
        sql::done(cluster.control().batch_execute("DROP EXTENSION stonescriptdb; CREATE EXTENSION stonescriptdb"));
        assert_eq!(sql::texts(&mut cluster.control(), "SELECT tenant_id FROM stonescriptdb.recover()").len(), 4);
    }
}

#[track_caller]
fn says_what_is_to_be_done(cluster: &Cluster, platform: &Platform, version: &str) {
    let hint = "ALTER EXTENSION stonescriptdb UPDATE";
    acceptance::eventually("the server worker to answer", || {
        let health = cluster.http().try_request("GET", "/health", &[], b"").map_err(|e| e.to_string())?;
        acceptance::wait::check(health.to_string().contains(hint), health)
    });
    for answer in [
        platform.call("kept", json!([])),
        cluster.http().register(&platform.name, None, &crate::next().tar_gz()),
        cluster.http().migrate(&platform.name, None, &crate::next().tar_gz(), &[]),
    ] {
        answer.error(503, "connection_failed").says(hint).says(version);
    }
    let mut control = cluster.control();
    let archive = crate::next().tar_gz();
    refused(control.query_one("SELECT stonescriptdb.call($1, 'kept')", &[&platform.name])).sqlstate("55000").says(hint);
    refused(control.query_one("SELECT stonescriptdb.migrate($1, $2)", &[&archive, &platform.name]))
        .sqlstate("55000")
        .says(hint);
    let health: Value = sql::done(control.query_one("SELECT stonescriptdb.health()", &[])).get(0);
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(cluster.log().contains(hint), "{}", cluster.log());
}
