//! DROP EXTENSION, ALTER EXTENSION and a shutdown while deployments run: each tenant is before or after, and goes on from there.

use std::time::{Duration, Instant};

use acceptance::wait::check;
use acceptance::{Answer, Cluster, Files, Platform, Shutdown, eventually, fixtures, refused, sql};
use postgres::Client;
use serde_json::json;

const TENANTS: [&str; 3] = ["main", "acme", "globex"];

/// In `counter` is one row; its number is how many migrations have run.
fn bundle() -> Files {
    Files::new()
        .file("tables/counter.pssql", "CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL);\n")
        .file("tables/items.pssql", "CREATE TABLE items (id int PRIMARY KEY, code text NOT NULL);\n")
        .file("seeders/counter.pssql", "INSERT INTO counter (id, n) VALUES (1, 0);\n")
        .file("functions/f.pssql", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n")
}

/// What waits in a tenant whose gate is closed, in the middle of its transaction. The template has no gate.
fn next() -> Files {
    bundle()
        .edit("functions/f.pssql", "SELECT 1", "SELECT 2")
        .edit("tables/items.pssql", "code text", "more int, code text")
        .file("migrations/001_add.pssql", "UPDATE counter SET n = n + 1;\nSELECT pg_advisory_xact_lock(4711);\n")
}

/// A platform with three tenants in the state of [`bundle`].
fn platform<'c>(cluster: &'c Cluster, prefix: &str) -> Platform<'c> {
    let platform = Platform::register(cluster, prefix, &bundle());
    for tenant in ["acme", "globex"] {
        platform.register_tenant(tenant, &bundle()).ok();
    }
    platform
}

/// Closes the gates of all tenants.
fn close(platform: &Platform) -> Vec<Client> {
    let gate = |tenant: &&str| {
        let mut client = platform.cluster.connect(&platform.database_of(tenant));
        sql::done(client.batch_execute("SELECT pg_advisory_lock(4711)"));
        client
    };
    TENANTS.iter().map(gate).collect()
}

/// Waits until an executor waits for a lock of this kind.
#[track_caller]
fn wait_waiting(cluster: &Cluster, locktype: &str) {
    let query = format!("SELECT count(*)::text FROM pg_locks WHERE locktype = '{locktype}' AND NOT granted");
    eventually("the deployment to wait", || {
        let count = sql::text(&mut cluster.control(), &query);
        check(count != "0", count)
    });
}

#[track_caller]
fn drop_extension(cluster: &Cluster) {
    let started = Instant::now();
    sql::done(cluster.control().batch_execute("DROP EXTENSION stonescriptdb"));
    assert!(started.elapsed() < Duration::from_secs(25), "it took {:?}", started.elapsed());
}

/// CREATE EXTENSION, and the tenants entered again and served.
#[track_caller]
fn recover(platform: &Platform) {
    let cluster = platform.cluster;
    sql::done(cluster.control().batch_execute("CREATE EXTENSION stonescriptdb"));
    cluster.wait_ready();
    sql::done(cluster.control().query("SELECT * FROM stonescriptdb.recover(open => true)", &[]));
    eventually("the tenant to be served", || {
        let answer = platform.call("f", json!([]));
        check(answer.status == 200, &answer)
    });
}

/// What the function, the table and the migration of a tenant are: of one bundle or of the other.
fn state(platform: &Platform, tenant: &str) -> String {
    let query = "SELECT f() || ' ' || (SELECT n FROM counter) || ' '
                        || (SELECT count(*) FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'more')";
    sql::text(&mut platform.cluster.connect(&platform.database_of(tenant)), query)
}

const BEFORE: &str = "1 0 0";
const AFTER: &str = "2 1 1";

/// All tenants get there, each migration having run once.
#[track_caller]
fn goes_on(platform: &Platform) {
    platform.migrate(&next()).ok().field("total", 3).field("failed", 0);
    for tenant in TENANTS {
        assert_eq!(state(platform, tenant), AFTER, "{tenant}");
    }
    let drift = format!("SELECT drift::text FROM stonescriptdb.drift WHERE platform = '{}'", platform.name);
    assert_eq!(sql::texts(&mut platform.cluster.control(), &drift), Vec::<String>::new());
}

fn databases(cluster: &Cluster) -> Vec<String> {
    sql::texts(&mut cluster.control(), "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1")
}

/// Runs a deployment that waits at its gate, does something meanwhile, and gives the deployment's answer.
#[track_caller]
fn meanwhile(
    platform: &Platform,
    files: &Files,
    fields: &[(&str, &str)],
    locktype: &str,
    act: impl FnOnce(),
) -> Answer {
    std::thread::scope(|scope| {
        let archive = files.tar_gz();
        let deployment = scope.spawn(move || platform.cluster.http().migrate(&platform.name, None, &archive, fields));
        wait_waiting(platform.cluster, locktype);
        act();
        deployment.join().expect("the deployment's client")
    })
}

#[test]
fn drop_extension_while_all_tenants_are_migrated() {
    let cluster = Cluster::start();
    let platform = platform(&cluster, "uproot");
    let before = databases(&cluster);
    let gates = close(&platform);
    let answer = meanwhile(&platform, &next(), &[], "advisory", || drop_extension(&cluster));
    assert!(answer.status >= 400, "{answer}");
    // Nothing works on, although the gates are closed still.
    for tenant in TENANTS {
        assert_eq!(state(&platform, tenant), BEFORE, "{tenant}");
    }
    assert_eq!(databases(&cluster), before);
    drop(gates);
    recover(&platform);
    goes_on(&platform);
    // And as it was before, once more.
    platform.register_tenant("initech", &next()).ok();
}

#[test]
fn drop_extension_while_a_platform_is_registered() {
    let cluster = Cluster::start();
    let platform = Platform::unregistered(&cluster, "unborn");
    let slow = bundle().file("migrations/001_slow.pssql", "SELECT pg_sleep(120);\n");
    let like = format!("SELECT datname FROM pg_database WHERE datname LIKE '%{}%'", platform.name);
    std::thread::scope(|scope| {
        let deployment = scope.spawn(|| platform.register_again(&slow));
        eventually("the proof to run", || {
            let query = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            let count = sql::text(&mut cluster.control(), query);
            check(count != "0", count)
        });
        drop_extension(&cluster);
        let answer = deployment.join().expect("the client");
        assert!(answer.status >= 400, "{answer}");
    });
    assert_eq!(sql::texts(&mut cluster.control(), &like), Vec::<String>::new(), "half-built databases are left");
    sql::done(cluster.control().batch_execute("CREATE EXTENSION stonescriptdb"));
    cluster.wait_ready();
    platform.register_again(&bundle()).ok();
    assert_eq!(platform.call("f", json!([])).value(), 1);
}

#[test]
fn drop_extension_while_an_index_is_built_online() {
    let cluster = Cluster::builder().setting("stonescriptdb.online_table_size", "8kB").start();
    let platform = Platform::register(&cluster, "online", &bundle());
    let mut client = platform.connect();
    sql::done(client.batch_execute("INSERT INTO items SELECT g, 'c' || g FROM generate_series(1, 5000) g; ANALYZE"));
    let indexed =
        bundle().edit("tables/items.pssql", "NOT NULL);", "NOT NULL);\nCREATE INDEX items_code ON items (code);");
    // The build waits for whoever changes the table.
    sql::done(client.batch_execute("BEGIN; UPDATE items SET code = 'x' WHERE id = 1"));
    meanwhile(&platform, &indexed, &[], "virtualxid", || drop_extension(&cluster));
    let building = "SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor' AND query = 'deploy' AND state = 'active'";
    assert_eq!(sql::text(&mut cluster.control(), building), "0", "something works on");
    sql::done(client.batch_execute("COMMIT"));
    recover(&platform);
    platform.migrate(&indexed).ok();
    let unfinished = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT (indisvalid AND indisready)
                      UNION ALL SELECT 'pending' FROM _stonescriptdb_pending";
    assert_eq!(sql::texts(&mut client, unfinished), Vec::<String>::new());
    assert_eq!(sql::text(&mut client, "SELECT count(*) FROM pg_class WHERE relname LIKE 'items_code%'"), "1");
}

#[test]
fn drop_extension_while_a_plan_is_made() {
    let cluster = Cluster::start();
    let platform = platform(&cluster, "planned");
    let gates = close(&platform);
    let before = platform.snapshot();
    let answer = meanwhile(&platform, &next(), &[("dry_run", "true")], "advisory", || drop_extension(&cluster));
    assert!(answer.status >= 400, "{answer}");
    drop(gates);
    before.assert_unchanged(&cluster, &platform.database(), "only a plan was asked for");
    recover(&platform);
    goes_on(&platform);
}

#[test]
fn a_drop_that_is_rolled_back_has_cancelled_what_ran() {
    let cluster = Cluster::start();
    let platform = platform(&cluster, "kept");
    let gates = close(&platform);
    let mut control = cluster.control();
    let mut dropping = cluster.control();
    let answer = meanwhile(&platform, &next(), &[], "advisory", || {
        sql::done(dropping.batch_execute("BEGIN; DROP EXTENSION stonescriptdb"));
        platform.register_again(&bundle()).error(503, "connection_failed").says("being dropped");
        sql::done(dropping.batch_execute("ROLLBACK"));
    });
    assert!(answer.status >= 400, "{answer}");
    let last = format!(
        "SELECT state FROM stonescriptdb.deployments WHERE platform = '{}' ORDER BY started_at DESC LIMIT 1",
        platform.name
    );
    assert_eq!(sql::text(&mut control, &last), "cancelled");
    drop(gates);
    eventually("deployments to begin again", || {
        let answer = platform.migrate(&next());
        check(answer.status == 200, &answer)
    });
    goes_on(&platform);
}

#[test]
fn who_may_not_drop_the_extension_ends_no_deployment() {
    let cluster = Cluster::start();
    let platform = platform(&cluster, "others");
    sql::done(cluster.control().batch_execute("CREATE ROLE outsider LOGIN"));
    let gates = close(&platform);
    let answer = meanwhile(&platform, &next(), &[], "advisory", || {
        let mut outsider = cluster.connect_as("outsider", "postgres");
        refused(outsider.batch_execute("DROP EXTENSION stonescriptdb")).sqlstate("42501");
        // Nor does an update of what is up to date, or a drop of something else.
        sql::done(
            cluster.control().batch_execute("ALTER EXTENSION stonescriptdb UPDATE; DROP EXTENSION IF EXISTS hstore"),
        );
        drop(gates);
    });
    answer.ok().field("failed", 0);
    goes_on(&platform);
}

#[test]
fn a_fast_shutdown_ends_a_deployment() {
    let cluster = Cluster::start();
    let platform = platform(&cluster, "stopped");
    let gates = close(&platform);
    std::thread::scope(|scope| {
        let archive = next().tar_gz();
        // As a session's statement: cancelled and told so, or the connection ends.
        let (cluster, name) = (&cluster, platform.name.as_str());
        let client = scope.spawn(move || {
            let body = acceptance::http::multipart_body(&[("platform", name)], Some(("schema", &archive)));
            let kind = acceptance::http::multipart_type();
            cluster.http().try_request("POST", "/migrate", &[("Content-Type", &kind)], &body)
        });
        wait_waiting(cluster, "advisory");
        let started = Instant::now();
        cluster.stop(Shutdown::Fast);
        assert!(started.elapsed() < Duration::from_secs(25), "it took {:?}", started.elapsed());
        if let Ok(answer) = client.join().expect("the client") {
            assert!(answer.status >= 400, "{answer}");
        }
    });
    drop(gates);
    cluster.start_again();
    for tenant in TENANTS {
        assert_eq!(state(&platform, tenant), BEFORE, "{tenant}");
    }
    let query = format!(
        "SELECT state FROM stonescriptdb.deployments WHERE platform = '{}' AND state = 'running'",
        platform.name
    );
    eventually("nothing to be running by its record", || {
        let running = sql::texts(&mut cluster.control(), &query);
        check(running.is_empty(), format!("{running:?}"))
    });
    goes_on(&platform);
    assert_eq!(Platform::register(&cluster, "later", &fixtures::tiny()).call("f", json!([])).value(), 1);
}
