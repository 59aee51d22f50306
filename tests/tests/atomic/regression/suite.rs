//! The schema that PostgreSQL's own regression suite leaves behind, where its sources are: `SSDB_REGRESS_DIR` is `src/test/regress` of a
//! source tree of the server's release. Without it the test has nothing to do and says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use acceptance::{Cluster, Files, Platform, server, sql};

use super::{assert_no_drift, dumped};
use crate::world::assert_nothing_to_do;

/// Who the suite runs as: no superuser, for no bundle does either.
const OWNER: &str = "regress_owner";
const DATABASE: &str = "regression";

/// What a deployment refuses or cannot make the same: functions whose bodies do not hold any more what they name, and what a bundle says
/// nothing about.
const REPAIR: &str = "
DO $$
DECLARE f record;
BEGIN
    -- pg_dump breaks the circle of a view that leans on a primary key by making it twice.
    FOR f IN SELECT DISTINCT r.ev_class::regclass::text AS name FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass
             AND d.objid = r.oid AND d.refclassid = 'pg_constraint'::regclass
    LOOP
        EXECUTE format('DROP VIEW IF EXISTS %s CASCADE', f.name);
    END LOOP;
    SET LOCAL check_function_bodies = on;
    FOR f IN SELECT p.oid, pg_get_functiondef(p.oid) AS definition, p.oid::regprocedure::text AS name FROM pg_proc p
             WHERE p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) AND p.prokind IN ('f', 'p', 'w')
             AND p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'internal')
    LOOP
        BEGIN
            EXECUTE f.definition;
        EXCEPTION WHEN OTHERS THEN
            EXECUTE format('DROP ROUTINE IF EXISTS %s CASCADE', f.name);
        END;
    END LOOP;
END $$;";

fn sources() -> Option<PathBuf> {
    let dir = std::env::var_os("SSDB_REGRESS_DIR").map(PathBuf::from);
    if dir.is_none() {
        eprintln!("SSDB_REGRESS_DIR is not set: the regression suite is not looked at");
    }
    dir
}

/// Runs the suite, as far as it runs, and gives what pg_dump says of the database then.
fn left_behind(cluster: &Cluster, dir: &Path) -> String {
    let mut control = cluster.control();
    sql::done(control.batch_execute(&format!("CREATE ROLE {OWNER} LOGIN CREATEROLE")));
    sql::done(control.batch_execute(&format!("CREATE DATABASE {DATABASE} OWNER {OWNER} TEMPLATE template0")));
    sql::done(cluster.connect(DATABASE).batch_execute(&format!("ALTER SCHEMA public OWNER TO {OWNER}")));
    let schedule = fs::read_to_string(dir.join("parallel_schedule")).expect("a schedule");
    let tests = schedule.lines().filter_map(|line| line.strip_prefix("test:")).flat_map(str::split_whitespace);
    for test in tests {
        let mut psql = cluster.client_program("psql");
        psql.args(["-X", "-q", "-U", OWNER, "-d", DATABASE, "-f"]).arg(dir.join("sql").join(format!("{test}.sql")));
        psql.env("PG_ABS_SRCDIR", dir)
            .env("PG_LIBDIR", "/nonexistent")
            .env("PG_DLSUFFIX", ".so")
            .env("PG_ABS_BUILDDIR", cluster.dir());
        psql.env("PGOPTIONS", "-c statement_timeout=5s -c lock_timeout=2s").stdout(Stdio::null()).stderr(Stdio::null());
        // Much of it fails without the suite's library and its rows. What there is then is what counts.
        psql.status().expect("psql runs");
    }
    sql::done(cluster.connect(DATABASE).batch_execute(REPAIR));
    let mut pg_dump = cluster.client_program("pg_dump");
    pg_dump.args(["--schema-only", "--no-owner", "--no-privileges", "--no-publications", "--no-subscriptions"]);
    pg_dump.args(["--no-tablespaces", "--no-table-access-method", DATABASE]);
    String::from_utf8_lossy(&server::run(pg_dump).stdout).into_owned()
}

/// The dump as a bundle. Its statements are in an order in which they can run.
fn bundle(dump: &str) -> Files {
    let is_ours = |line: &&str| {
        let session = [
            "SET ",
            "SELECT pg_catalog.set_config(",
            "\\restrict",
            "\\unrestrict",
            "CREATE SCHEMA public;",
            "COMMENT ON SCHEMA public ",
        ];
        !session.iter().any(|start| line.starts_with(start))
    };
    let text: Vec<&str> = dump.lines().filter(is_ours).collect();
    Files::new().file("tables/regression.pssql", text.join("\n") + "\n")
}

#[test]
fn what_postgresqls_own_suite_leaves_is_nothing_to_do() {
    let Some(dir) = sources() else { return };
    let cluster = Cluster::builder().setting("autovacuum", "off").start();
    let files = bundle(&left_behind(&cluster, &dir));
    let registered = Platform::register(&cluster, "suite", &files);
    registered.register_tenant("second", &files).ok();
    assert_nothing_to_do(&cluster, &registered.name, &files, "registered");
    assert_no_drift(&cluster, &registered);
    let tables =
        sql::text(&mut registered.connect(), "SELECT count(*) > 300 FROM pg_class WHERE relkind IN ('r', 'p')");
    assert_eq!(tables, "t", "is that the regression suite?");

    let one = Files::new().file("tables/one.pssql", "CREATE TABLE one (id int);\n");
    let planned = Platform::register(&cluster, "suiteplan", &one);
    cluster
        .http()
        .migrate(&planned.name, None, &files.tar_gz(), &[("force", "true")])
        .ok()
        .field("status", "completed");
    assert_nothing_to_do(&cluster, &planned.name, &files, "made by a plan");
    assert_no_drift(&cluster, &planned);
    let (by_plan, copied) = (dumped(&cluster, &planned), dumped(&cluster, &registered));

    cluster
        .http()
        .migrate(&registered.name, None, &one.tar_gz(), &[("force", "true")])
        .ok()
        .field("status", "completed");
    assert_nothing_to_do(&cluster, &registered.name, &one, "all of it dropped");
    assert_no_drift(&cluster, &registered);

    let only =
        |of: &[String], not: &[String]| of.iter().filter(|line| !not.contains(line)).cloned().collect::<Vec<_>>();
    let (more, less) = (only(&by_plan, &copied), only(&copied, &by_plan));
    assert!(by_plan == copied, "by a plan: {more:#?}\nregistered: {less:#?}");
}
