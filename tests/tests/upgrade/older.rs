//! From an older major version, which writes its catalogs in another way: by pg_upgrade, and by a dump of all. `SSDB_OLD_BINDIR` is the
//! folder of its programs; this build of the extension is installed there too. Without it these tests have nothing to do and say so.

use std::path::{Path, PathBuf};

use acceptance::wait::check;
use acceptance::{Cluster, Files, Platform, eventually, refused, server, sql};
use serde_json::json;

use crate::dumped::{restore_all, restored_into};
use crate::upgraded::upgraded;
use crate::{TENANTS, bundle, there, wait_kept};

/// It fails in the tenant that has kept `globex` and nothing else.
const ONCE: (&str, &str) = (
    "migrations/000_once.pssql",
    "DO $$ BEGIN IF (SELECT string_agg(what, ',') FROM kept) = 'globex' THEN RAISE 'not here'; END IF; END $$;\n",
);

const ATTRIBUTE_VERSION: &[u8] = b"pg_attver";

fn old_programs() -> Option<PathBuf> {
    let folder = std::env::var_os("SSDB_OLD_BINDIR").map(PathBuf::from);
    let Some(folder) = folder else {
        println!("left out: SSDB_OLD_BINDIR names no folder with the programs of an older PostgreSQL");
        return None;
    };
    // Late minor releases of the older branches write it into pg_attribute.attoptions, and PostgreSQL's own pg_upgrade and pg_dump of a
    // release that does not know it write it into statements that fail (docs/upgrading.md).
    let knows = |programs: &Path| {
        let program =
            std::fs::read(programs.join("postgres")).unwrap_or_else(|e| panic!("{}: {e}", programs.display()));
        program.windows(ATTRIBUTE_VERSION.len()).any(|bytes| bytes == ATTRIBUTE_VERSION)
    };
    if knows(&folder) && !knows(server::bin_dir()) {
        println!(
            "left out: the PostgreSQL of SSDB_OLD_BINDIR is of a later minor release than the one under test knows of (pg_attver)"
        );
        return None;
    }
    Some(folder)
}

/// The bundle of the other tests, and one object of every sort.
fn wide(edition: u32) -> Files {
    bundle(edition)
        .file("types/all.pssql", include_str!("../atomic/regression/types.sql"))
        .file("tables/all.pssql", include_str!("../atomic/regression/tables.sql"))
        .file("functions/all.pssql", include_str!("../atomic/regression/functions.sql"))
        .file("views/all.pssql", include_str!("../atomic/regression/views.sql"))
        .file("types/spelled.pssql", include_str!("spelled/types.sql"))
        .file("tables/spelled.pssql", include_str!("spelled/tables.sql"))
        .file("functions/spelled.pssql", include_str!("spelled/functions.sql"))
        .file("views/spelled.pssql", include_str!("spelled/views.sql"))
}

/// What `main` and `acme` are in the state of, and `globex` is not.
fn partly() -> Files {
    wide(1).file(ONCE.0, ONCE.1)
}

/// An old cluster: three tenants, one of which the last deployment failed for, and a platform with a token and a suspended tenant.
struct Old {
    cluster: Cluster,
    wide: String,
    closed: String,
    token: String,
}

fn old(programs: &Path) -> Old {
    let cluster = Cluster::builder().programs(programs).start();
    let platform = Platform::register(&cluster, "wide", &wide(1));
    for tenant in ["acme", "globex"] {
        platform.register_tenant(tenant, &wide(1)).ok();
    }
    for tenant in TENANTS {
        platform.call_tenant(tenant, "keep", json!([tenant])).ok();
    }
    platform.migrate(&partly()).error(422, "deployment_partial");
    let closed = Platform::register(&cluster, "closed", &bundle(1));
    closed.register_tenant("late", &bundle(1)).ok();
    let mut control = cluster.control();
    sql::done(
        control.batch_execute(&format!("SELECT stonescriptdb.suspend_tenant('{}', 'late', 'unpaid')", closed.name)),
    );
    let token = sql::text(&mut control, &format!("SELECT stonescriptdb.create_token('{}', 'kept')", closed.name));
    let (wide, closed) = (platform.name.clone(), closed.name.clone());
    Old { cluster, wide, closed, token }
}

/// What is left of it in the new cluster is all of it, and deployments go on from there.
#[track_caller]
fn goes_on(old: &Old, to: &Cluster) {
    let platform = Platform { cluster: to, name: old.wide.clone() };
    for tenant in TENANTS {
        assert_eq!(wait_kept(&platform, tenant).value(), tenant);
    }
    eventually("the token to be good", || {
        let answer = to.http().bearer(&old.token).call(&old.closed, None, "kept", json!([]));
        check(answer.status == 200, answer)
    });
    to.http().bearer("another").call(&old.closed, None, "kept", json!([])).error(401, "unauthorized");
    let mut control = to.control();
    refused(control.query_one("SELECT stonescriptdb.call($1, 'kept', tenant_id => 'late')", &[&old.closed]))
        .sqlstate("57P03")
        .says("unpaid");

    // Compared with bundles that are proved on this server.
    let none = Vec::<String>::new();
    assert_eq!(sql::texts(&mut control, "SELECT drift::text FROM stonescriptdb.drift"), none);
    let trusted = "SELECT DISTINCT proved_on::text FROM stonescriptdb.bundle b WHERE EXISTS
         (SELECT FROM stonescriptdb.database d WHERE (d.platform, d.bundle_sha256) = (b.platform, b.sha256))";
    assert_eq!(sql::texts(&mut control, trusted), [server::major().to_string()]);

    // Nothing to do where the bundle is the same; what had failed is made up for.
    platform.call_tenant("globex", "keep", json!(["mended"])).ok();
    for verify in ["true", "full"] {
        let options = [("dry_run", "true"), ("verify", verify)];
        let answer = to.http().migrate(&platform.name, Some("acme"), &partly().tar_gz(), &options).ok();
        assert_eq!(answer.json["plan"], json!([]), "{answer}");
    }
    platform.migrate(&partly()).ok().field("total", 3).field("failed", 0);
    let next = wide(2)
        .file(ONCE.0, ONCE.1)
        .edit("tables/kept.pssql", "what text", "at timestamptz, what text")
        .edit(
            "tables/all.pssql",
            "CREATE TABLE int2_tbl (f1 int2)",
            "CREATE TABLE int2_tbl (f1 int2, f2 text NOT NULL DEFAULT 'x')",
        )
        .file("migrations/001_add.pssql", "UPDATE counter SET n = n + 1;\n");
    platform.migrate(&next).ok().field("total", 3).field("failed", 0);
    platform.register_tenant("initech", &next).ok();
    for (tenant, kept) in [("main", "main"), ("acme", "acme"), ("globex", "globex,mended"), ("initech", "")] {
        assert_eq!(platform.call_tenant(tenant, "kept", json!([])).value(), kept);
        assert_eq!(platform.call_tenant(tenant, "edition", json!([])).value(), 2);
    }
    sql::done(control.batch_execute(&format!("SELECT stonescriptdb.resume_tenant('{}', 'late')", old.closed)));
    assert_eq!(sql::texts(&mut control, "SELECT drift::text FROM stonescriptdb.drift"), none);
}

#[test]
fn a_cluster_of_an_older_version_is_upgraded_by_pg_upgrade() {
    let Some(programs) = old_programs() else { return };
    let old = old(&programs);
    sql::done(old.cluster.control().query_one("SELECT stonescriptdb.prepare_upgrade()", &[]));
    let to = upgraded(&old.cluster);
    goes_on(&old, &to);
}

/// The dump is made by the new version's program, as PostgreSQL's documentation advises.
#[test]
fn a_dump_of_an_older_version_is_restored() {
    let Some(programs) = old_programs() else { return };
    let old = old(&programs);
    let to = restored_into();
    let file = to.dir().join("all.sql");
    let mut pg_dumpall = to.client_program("pg_dumpall");
    pg_dumpall.env("PGHOST", old.cluster.socket_dir()).arg("-f").arg(&file);
    server::run(pg_dumpall);
    restore_all(&to, &file);
    to.wait_ready();
    goes_on(&old, &to);
    // The same platform on the old server is as it was.
    let before = there(&Platform { cluster: &to, name: old.wide.clone() }, &old.cluster);
    assert_eq!(before.call("kept", json!([])).value(), "main");
}
