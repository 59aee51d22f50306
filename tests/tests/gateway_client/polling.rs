//! gateway:migrate-all-tenants: a job that is begun, attached to, polled, and survives a restart.

use std::sync::mpsc::channel;
use std::time::Duration;

use acceptance::wait::check;
use acceptance::{Cluster, eventually, shared, sql, unique};
use serde_json::json;

use crate::client::{CommandLine, Presents};
use crate::{bundle, gated, strict};

/// A platform with so many tenants of the schema `tenant`.
#[track_caller]
fn platform(cluster: &Cluster, prefix: &str, tenants: usize) -> CommandLine {
    let mut stone = CommandLine::new(cluster, &unique(prefix), Presents::Everywhere);
    stone.register_main("main", &bundle("main", 1)).expect("gateway:register-main");
    stone.register_tenant("tenant", &bundle("tenant", 1)).expect("gateway:register-tenant");
    for n in 0..tenants {
        stone.create_database("tenant", Some(&format!("0000-{n}"))).expect("a tenant's database");
    }
    stone
}

/// The database of a tenant of [`platform`].
fn database(stone: &CommandLine, n: usize) -> String {
    format!("{}_tenant_0000_{n}", stone.platform)
}

#[track_caller]
fn by_hand(cluster: &Cluster, database: &str, statement: &str) {
    sql::done(cluster.connect(database).batch_execute(statement));
}

/// Roles that hold the deployments of databases, until this is dropped.
struct Gate<'c>(&'c Cluster, Vec<String>);

impl<'c> Gate<'c> {
    #[track_caller]
    fn close(cluster: &'c Cluster, databases: Vec<String>) -> Gate<'c> {
        for database in &databases {
            by_hand(cluster, "postgres", &format!("CREATE ROLE gate_{database}"));
        }
        Gate(cluster, databases)
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        for database in &self.1 {
            if let Ok(mut control) = self.0.try_connect_as("postgres", "postgres") {
                let _ = control.batch_execute(&format!("DROP ROLE gate_{database}"));
            }
        }
    }
}

/// Waits until the deployment of a tenant waits in its migration.
#[track_caller]
fn wait_at_gate(cluster: &Cluster, database: &str) {
    let query =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event = 'PgSleep'");
    eventually("the deployment to be at the gate", || {
        let count = sql::text(&mut cluster.control(), &query);
        check(count == "1", count)
    });
}

#[test]
fn without_tenants_there_is_nothing_to_do() {
    let cluster = shared();
    let mut stone = platform(&cluster, "nobody", 0);
    let done = stone.migrate_all_tenants("tenant", &bundle("tenant", 2)).expect("gateway:migrate-all-tenants");
    assert!(done.is_none(), "{done:?}");
}

#[test]
fn a_job_tells_of_every_database() {
    let cluster = shared();
    let mut stone = platform(&cluster, "job", 4);
    let done = stone.migrate_all_tenants("tenant", &strict(2)).expect("gateway:migrate-all-tenants").expect("tenants");
    assert_eq!(
        (&done.job["status"], &done.job["succeeded"], &done.job["failed"]),
        (&json!("completed"), &json!(4), &json!(0)),
        "{done:#?}"
    );
    assert_eq!(done.job["job_id"], json!(done.jobs[0]), "{done:#?}");
    let results = done.job["results"].as_array().expect("results");
    let mut databases: Vec<&str> = results.iter().filter_map(|result| result["database"].as_str()).collect();
    databases.sort();
    assert_eq!(databases, [0, 1, 2, 3].map(|n| database(&stone, n)));
    for result in results {
        assert_eq!((&result["status"], &result["migrations_applied"]), (&json!("completed"), &json!(1)), "{result:#}");
        assert!(result["functions_updated"].as_i64() >= Some(1), "{result:#}");
    }
    // Nothing to do is a success of all.
    let again = stone.migrate_all_tenants("tenant", &strict(2)).expect("gateway:migrate-all-tenants").expect("tenants");
    assert_eq!((&again.job["succeeded"], &again.job["failed"]), (&json!(4), &json!(0)), "{again:#?}");
    assert_ne!(again.jobs, done.jobs);
    let unknown = cluster.http().admin().get("/v2/migrate-all/00000000-0000-0000-0000-000000000000");
    assert_eq!(unknown.shaped().status, 404);
}

#[test]
fn a_tenant_that_fails_is_named() {
    let cluster = shared();
    let mut stone = platform(&cluster, "jobbad", 4);
    let bad = database(&stone, 2);
    by_hand(&cluster, &bad, "INSERT INTO notes (body) VALUES (NULL)");
    let refused = stone.migrate_all_tenants("tenant", &strict(2)).expect_err("gateway:migrate-all-tenants").0;
    assert!(refused.contains("partial") && refused.contains(&format!("{bad}: ")), "{refused}");
    assert!(refused.to_lowercase().contains("null"), "with the reason: {refused}");
    by_hand(&cluster, &bad, "DELETE FROM notes");
    stone.migrate_all_tenants("tenant", &strict(2)).expect("gateway:migrate-all-tenants").expect("tenants");
    let runtime = stone.runtime("main", "tenant");
    for n in 0..4 {
        let rows = runtime.call(Some(&format!("0000-{n}")), "edition", json!([])).expect("rows");
        assert_eq!(rows, [json!({"edition": "tenant 2"})], "{n}");
    }
    // Where it fails in all, the job has failed.
    for n in 0..4 {
        by_hand(
            &cluster,
            &database(&stone, n),
            "CREATE TABLE IF NOT EXISTS mine (id int); INSERT INTO mine VALUES (NULL)",
        );
    }
    let impossible = strict(3)
        .file("tables/mine.pssql", "CREATE TABLE mine (id int NOT NULL);\n")
        .file("migrations/002_mine.pssql", "ALTER TABLE mine ALTER COLUMN id SET NOT NULL;\n");
    let refused = stone.migrate_all_tenants("tenant", &impossible).expect_err("gateway:migrate-all-tenants").0;
    assert!(refused.contains("failed"), "{refused}");
    let rows = runtime.call(Some("0000-3"), "edition", json!([])).expect("rows");
    assert_eq!(rows, [json!({"edition": "tenant 2"})], "as it was");
}

#[test]
fn a_second_command_attaches_to_the_job_that_runs() {
    let cluster = Cluster::start();
    let mut stone = platform(&cluster, "attach", 2);
    cluster.configure("stonescriptdb.deploy_wait", "300ms");
    cluster.reload();
    let held = [0, 1].map(|n| database(&stone, n)).to_vec();
    stone.provision_token().expect("gateway:provision-token");
    let mut other = CommandLine::new(&cluster, &stone.platform, Presents::Everywhere);
    other.platform_token = stone.platform_token.clone();
    let files = gated(bundle("tenant", 2), "900_gate");
    let (told, begun) = channel();
    (stone.initiated, other.initiated) = (Some(told.clone()), Some(told));
    let (first, second) = std::thread::scope(|scope| {
        let gate = Gate::close(&cluster, held);
        let first = scope.spawn(|| stone.migrate_all_tenants("tenant", &files));
        assert_eq!(begun.recv(), Ok(202));
        let second = scope.spawn(|| other.migrate_all_tenants("tenant", &files));
        let told = begun.recv_timeout(Duration::from_secs(60));
        drop(gate);
        let second = second.join().expect("the second");
        assert_eq!(told, Ok(409), "the second is told of the first's job: {second:?}");
        (first.join().expect("the first"), second)
    });
    let first = first.expect("gateway:migrate-all-tenants").expect("tenants");
    let second = second.expect("gateway:migrate-all-tenants").expect("tenants");
    assert_eq!(first.job["succeeded"], 2, "{first:#?}");
    assert_eq!(second.jobs, first.jobs, "the same job");
}

/// The server dies in the middle: polling goes on, hears that the job was interrupted, and begins again.
#[test]
fn a_restart_interrupts_the_job_and_the_command_line_goes_on() {
    let cluster = Cluster::start();
    let mut stone = platform(&cluster, "killed", 5);
    let held = database(&stone, 3);
    let name = stone.platform.clone();
    let files = gated(bundle("tenant", 2), "900_gate");
    let done = std::thread::scope(|scope| {
        let gate = Gate::close(&cluster, vec![held.clone()]);
        let command = scope.spawn(|| stone.migrate_all_tenants("tenant", &files));
        wait_at_gate(&cluster, &held);
        cluster.kill_postmaster_immediate();
        cluster.start_again();
        drop(gate);
        command.join().expect("the command")
    });
    let done = done.expect("gateway:migrate-all-tenants").expect("tenants");
    assert_eq!(done.jobs.len(), 2, "interrupted once, begun again: {done:#?}");
    assert_eq!((&done.job["total_databases"], &done.job["succeeded"]), (&json!(5), &json!(5)), "{done:#?}");
    let current = format!(
        "SELECT count(*) FROM stonescriptdb.databases WHERE platform = '{name}' AND is_current AND schema_name = 'tenant'"
    );
    assert_eq!(sql::text(&mut cluster.control(), &current), "5");
}
