//! The registry outlives its server: dumped and restored, upgraded, of an older version, dropped and recovered.

mod dumped;
mod older;
mod recovered;
mod upgraded;
mod version;

use acceptance::wait::check;
use acceptance::{Answer, Cluster, Files, Platform, eventually, server, sql};
use serde_json::json;

/// `keep(text)` keeps a text, `kept()` counts them, `edition()` gives `edition`. In `counter` is one row, zero.
fn bundle(edition: u32) -> Files {
    Files::new()
        .file("tables/kept.pssql", "CREATE TABLE kept (id bigserial PRIMARY KEY, what text NOT NULL);\n")
        .file("tables/counter.pssql", "CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL);\n")
        .file("seeders/counter.pssql", "INSERT INTO counter (id, n) VALUES (1, 0);\n")
        .file(
            "functions/keep.pssql",
            "CREATE FUNCTION keep(what text) RETURNS bigint LANGUAGE sql AS $$ INSERT INTO kept (what) VALUES ($1) RETURNING id $$;\n",
        )
        .file(
            "functions/kept.pssql",
            "CREATE FUNCTION kept() RETURNS text LANGUAGE sql STABLE AS\n\
             $$ SELECT coalesce(string_agg(what, ',' ORDER BY id), '') FROM kept $$;\n",
        )
        .file(
            "functions/edition.pssql",
            format!("CREATE FUNCTION edition() RETURNS int LANGUAGE sql AS 'SELECT {edition}';\n"),
        )
}

/// A bundle that has to change tables, with a migration that shows how often it ran.
fn next() -> Files {
    bundle(2)
        .edit("tables/kept.pssql", "what text", "at timestamptz, what text")
        .file("migrations/001_add.pssql", "UPDATE counter SET n = n + 1;\n")
}

/// A platform with the tenants main, acme and globex, each of which has kept its own name.
fn platform<'c>(cluster: &'c Cluster, prefix: &str) -> Platform<'c> {
    let platform = Platform::register(cluster, prefix, &bundle(1));
    for tenant in ["acme", "globex"] {
        platform.register_tenant(tenant, &bundle(1)).ok();
    }
    for tenant in TENANTS {
        platform.call_tenant(tenant, "keep", json!([tenant])).ok();
    }
    platform
}

const TENANTS: [&str; 3] = ["main", "acme", "globex"];

/// Waits until a tenant is served again.
#[track_caller]
fn wait_kept(platform: &Platform, tenant: &str) -> Answer {
    eventually(&format!("{tenant} to be served"), || {
        let answer = platform.call_tenant(tenant, "kept", json!([]));
        check(answer.status == 200, &answer).map(|()| answer)
    })
}

/// Asserts that every tenant has what it kept, that a deployment reaches all of them, that no migration runs twice, and that new tenants
/// can be made.
#[track_caller]
fn works(platform: &Platform) {
    for tenant in TENANTS {
        assert_eq!(wait_kept(platform, tenant).value(), tenant);
        platform.call_tenant(tenant, "keep", json!(["more"])).ok();
    }
    platform.migrate(&next()).ok().field("total", 3).field("failed", 0);
    platform.register_tenant("initech", &next()).ok();
    for (tenant, n) in [("main", 1), ("acme", 1), ("globex", 1), ("initech", 0)] {
        assert_eq!(platform.call_tenant(tenant, "edition", json!([])).value(), 2);
        let counted = sql::text(&mut platform.cluster.connect(&platform.database_of(tenant)), "SELECT n FROM counter");
        assert_eq!(counted, n.to_string(), "the migration once in {tenant}, before its seeder in a new one");
    }
    let drift = format!("SELECT drift::text FROM stonescriptdb.drift WHERE platform = '{}'", platform.name);
    assert_eq!(sql::texts(&mut platform.cluster.control(), &drift), Vec::<String>::new());
    let databases = format!(
        "SELECT tenant_id FROM stonescriptdb.databases WHERE platform = '{}' AND state = 'ready' AND is_current ORDER BY 1",
        platform.name
    );
    assert_eq!(sql::texts(&mut platform.cluster.control(), &databases), ["acme", "globex", "initech", "main"]);
}

/// The same platform, on another cluster.
fn there<'c>(platform: &Platform, cluster: &'c Cluster) -> Platform<'c> {
    Platform { cluster, name: platform.name.clone() }
}

/// A program of PostgreSQL that writes to a file of the cluster's folder; the file.
#[track_caller]
fn dump(cluster: &Cluster, program: &str, arguments: &[&str]) -> std::path::PathBuf {
    let file = cluster.dir().join(format!("{program}.out"));
    let mut command = cluster.client_program(program);
    command.args(arguments).arg("-f").arg(&file);
    server::run(command);
    file
}
