//! Small bundles, a platform with many tenants, gates that hold a deployment in a database, and what the views say of deployments.

use std::sync::Mutex;
use std::time::Duration;

use acceptance::wait::check;
use acceptance::{Cluster, Files, Platform, eventually, eventually_within, sql};
use postgres::Client;
use serde_json::{Value, json};

/// Far above what a deployment of the largest fleet takes.
pub const LONG: Duration = Duration::from_secs(400);

/// Two tables, three functions; `edition()` gives `edition`. Every tenant has one row in `counter`, which is zero.
pub fn bundle(edition: u32) -> Files {
    Files::new()
        .file("tables/accounts.pssql", "CREATE TABLE accounts (\n    id bigserial PRIMARY KEY,\n    email text\n);\n")
        .file("tables/counter.pssql", "CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL);\n")
        .file("seeders/counter.pssql", "INSERT INTO counter (id, n) VALUES (1, 0);\n")
        .file(
            "functions/add_account.pssql",
            "CREATE FUNCTION add_account(p_email text) RETURNS bigint LANGUAGE sql AS\n\
             $$ INSERT INTO accounts (email) VALUES (p_email) RETURNING id $$;\n",
        )
        .file(
            "functions/count_accounts.pssql",
            "CREATE FUNCTION count_accounts() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT count(*) FROM accounts $$;\n",
        )
        .file(
            "functions/edition.pssql",
            format!("CREATE FUNCTION edition() RETURNS int LANGUAGE sql AS 'SELECT {edition}';\n"),
        )
}

/// [`bundle`] 2, in which every account must have an address; the migration says so in its second line.
pub fn strict() -> Files {
    bundle(2).edit("tables/accounts.pssql", "email text", "email text NOT NULL").file(
        "migrations/001_strict.pssql",
        "-- All have one now.\nALTER TABLE accounts ALTER COLUMN email SET NOT NULL;\n",
    )
}

/// A bundle whose migration adds one to every counter: how often it ran can be seen.
pub fn adding(files: Files) -> Files {
    files.file("migrations/500_add.pssql", "UPDATE counter SET n = n + 1;\n")
}

/// A bundle with a migration, the last, that waits while the [`Gate`] of its database is closed. It has a name, because a migration
/// runs once: a bundle that follows another through the same database needs another name.
pub fn gated(files: Files, name: &str) -> Files {
    files.file(
        &format!("migrations/{name}.pssql"),
        "DO $$ BEGIN\n    WHILE EXISTS (SELECT FROM pg_roles WHERE rolname = 'gate_' || current_database()) LOOP\n        \
         PERFORM pg_sleep(0.01);\n    END LOOP;\nEND $$;\n",
    )
}

/// Holds deployments of [`gated`] bundles in some databases: a role per database, which every database can see. What is still closed
/// is opened at the end, also of a test that fails.
pub struct Gate<'c> {
    cluster: &'c Cluster,
    closed: Mutex<Vec<String>>,
}

impl<'c> Gate<'c> {
    #[track_caller]
    pub fn close(cluster: &'c Cluster, databases: &[String]) -> Gate<'c> {
        for database in databases {
            sql::done(cluster.control().batch_execute(&format!("CREATE ROLE gate_{database}")));
        }
        Gate { cluster, closed: Mutex::new(databases.to_vec()) }
    }

    #[track_caller]
    pub fn open(&self, database: &str) {
        self.closed.lock().expect("no test panics with it").retain(|closed| closed != database);
        sql::done(self.cluster.control().batch_execute(&format!("DROP ROLE gate_{database}")));
    }

    /// Opens all.
    pub fn open_all(self) {}
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        let closed = self.closed.lock().map(|closed| closed.clone()).unwrap_or_default();
        if let Ok(mut control) = self.cluster.try_connect_as("postgres", "postgres") {
            for database in closed {
                let _ = control.batch_execute(&format!("DROP ROLE IF EXISTS gate_{database}"));
            }
        }
    }
}

/// A platform with its main database and tenants `t001`, `t002`, …
pub struct Fleet<'c> {
    pub cluster: &'c Cluster,
    pub platform: Platform<'c>,
    pub tenants: Vec<String>,
}

impl<'c> Fleet<'c> {
    /// Registers the platform and creates the tenants, four at a time.
    #[track_caller]
    pub fn new(cluster: &'c Cluster, prefix: &str, files: &Files, tenants: usize) -> Fleet<'c> {
        let platform = Platform::register(cluster, prefix, files);
        let tenants: Vec<String> = (1..=tenants).map(|n| format!("t{n:03}")).collect();
        std::thread::scope(|scope| {
            for part in tenants.chunks(tenants.len().div_ceil(4).max(1)) {
                let (platform, mut control) = (&platform, cluster.control());
                scope.spawn(move || {
                    for tenant in part {
                        create_tenant(&mut control, &platform.name, tenant);
                    }
                });
            }
        });
        Fleet { cluster, platform, tenants }
    }

    /// The name of a tenant's database.
    pub fn database(&self, tenant: &str) -> String {
        self.platform.database_of(tenant)
    }

    /// The databases' names, the main one's first.
    pub fn databases(&self) -> Vec<String> {
        let tenants = self.tenants.iter().map(|tenant| self.database(tenant));
        std::iter::once(self.platform.database()).chain(tenants).collect()
    }

    /// `stonescriptdb.migrate_all` with options as SQL text, such as `parallel => 1, on_error => 'continue'`.
    pub fn run(&self, files: &Files, options: &str) -> Result<Value, postgres::Error> {
        migrate_all(&mut self.cluster.control(), &self.platform.name, None, Some(files), options)
    }

    /// Begins a deployment that nobody waits for; its id.
    #[track_caller]
    pub fn start(&self, files: &Files, options: &str) -> String {
        let options = if options.is_empty() { "wait => false".into() } else { format!("{options}, wait => false") };
        let begun = sql::done(self.run(files, &options));
        assert_eq!(begun["status"], "running", "{begun}");
        assert!(begun["total_databases"].is_u64(), "{begun}");
        begun["deployment_id"].as_str().unwrap_or_else(|| panic!("no deployment_id: {begun}")).to_owned()
    }

    /// What `edition()` gives in a tenant's database.
    #[track_caller]
    pub fn edition(&self, tenant: &str) -> Value {
        self.platform.call_tenant(tenant, "edition", json!([])).value()
    }

    /// The counters of all databases, main first.
    #[track_caller]
    pub fn counters(&self) -> Vec<i32> {
        let count = |database: &String| {
            sql::done(self.cluster.connect(database).query_one("SELECT n FROM counter", &[])).get(0)
        };
        self.databases().iter().map(count).collect()
    }

    /// The id of the platform's newest deployment.
    #[track_caller]
    pub fn last(&self) -> String {
        let query = format!(
            "SELECT id FROM stonescriptdb.deployments WHERE platform = '{}' ORDER BY started_at DESC, id DESC LIMIT 1",
            self.platform.name
        );
        sql::text(&mut self.cluster.control(), &query)
    }
}

/// `stonescriptdb.create_tenant`.
#[track_caller]
pub fn create_tenant(control: &mut Client, platform: &str, tenant: &str) {
    let answer: Value =
        sql::done(control.query_one("SELECT stonescriptdb.create_tenant($1, $2)", &[&platform, &tenant])).get(0);
    assert_eq!(answer["status"], "created", "{answer}");
}

/// `stonescriptdb.migrate_all`, with options as SQL text.
pub fn migrate_all(
    control: &mut Client,
    platform: &str,
    schema_name: Option<&str>,
    files: Option<&Files>,
    options: &str,
) -> Result<Value, postgres::Error> {
    let options = if options.is_empty() { String::new() } else { format!(", {options}") };
    let query =
        format!("SELECT stonescriptdb.migrate_all($1::text, schema_name => $2::text, schema => $3::bytea{options})");
    let archive = files.map(Files::tar_gz);
    control.query_one(&query, &[&platform, &schema_name, &archive]).map(|row| row.get(0))
}

/// `resume_deployment`, `retry_deployment` or `cancel_deployment`.
pub fn verb(cluster: &Cluster, verb: &str, deployment: &str) -> Result<Value, postgres::Error> {
    let query = format!("SELECT stonescriptdb.{verb}_deployment('{deployment}')");
    cluster.control().query_one(&query, &[]).map(|row| row.get(0))
}

/// The rows of a query as JSON.
#[track_caller]
pub fn json_rows(client: &mut Client, query: &str) -> Vec<Value> {
    let rows = client.query(&format!("SELECT to_jsonb(q) FROM ({query}) q"), &[]);
    rows.unwrap_or_else(|e| panic!("{query}: {}", sql::describe(&e))).iter().map(|row| row.get(0)).collect()
}

/// The one row of a query as JSON.
#[track_caller]
pub fn json_row(client: &mut Client, query: &str) -> Value {
    let mut rows = json_rows(client, query);
    assert_eq!(rows.len(), 1, "one row expected of {query}: {rows:#?}");
    rows.remove(0)
}

/// The row of the view `deployments`.
#[track_caller]
pub fn deployment(cluster: &Cluster, id: &str) -> Value {
    json_row(&mut cluster.control(), &format!("SELECT * FROM stonescriptdb.deployments WHERE id = '{id}'"))
}

/// The rows of the view `deployment_databases`, in the order of their positions.
#[track_caller]
pub fn parts(cluster: &Cluster, id: &str) -> Vec<Value> {
    let query =
        format!("SELECT * FROM stonescriptdb.deployment_databases WHERE deployment_id = '{id}' ORDER BY position");
    json_rows(&mut cluster.control(), &query)
}

/// The row of one database in a deployment.
#[track_caller]
pub fn part(cluster: &Cluster, id: &str, database: &str) -> Value {
    let query = format!(
        "SELECT * FROM stonescriptdb.deployment_databases WHERE deployment_id = '{id}' AND database = '{database}'"
    );
    json_row(&mut cluster.control(), &query)
}

/// The databases of a deployment that are in a state, in the order of their positions.
#[track_caller]
pub fn in_state(cluster: &Cluster, id: &str, state: &str) -> Vec<String> {
    let parts = parts(cluster, id);
    let there = parts.iter().filter(|part| part["state"] == state);
    there.map(|part| part["database"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The databases of a deployment that have begun, in the order in which they did.
#[track_caller]
pub fn begun(cluster: &Cluster, id: &str) -> Vec<String> {
    let query = format!(
        "SELECT database FROM stonescriptdb.deployment_databases WHERE deployment_id = '{id}' AND started_at IS NOT NULL ORDER BY started_at"
    );
    sql::texts(&mut cluster.control(), &query)
}

/// Waits until one database of a deployment runs; its name.
#[track_caller]
pub fn wait_running(cluster: &Cluster, id: &str) -> String {
    eventually("one to run", || in_state(cluster, id, "running").into_iter().next().ok_or_else(|| "none".to_owned()))
}

/// Has a running cluster's deployments wait no longer than that for each other.
pub fn wait_shortly(cluster: &Cluster) {
    cluster.configure("stonescriptdb.deploy_wait", "300ms");
    cluster.reload();
}

/// Waits until a database of a deployment is in a state.
#[track_caller]
pub fn wait_state(cluster: &Cluster, id: &str, database: &str, state: &str) -> Value {
    eventually(&format!("{database} to be {state}"), || {
        let part = part(cluster, id, database);
        check(part["state"] == state, &part).map(|()| part)
    })
}

/// Waits until a deployment runs no more, checks that its counts add up, and gives its row.
#[track_caller]
pub fn wait_over(cluster: &Cluster, id: &str) -> Value {
    let row = eventually_within(LONG, "the end of the deployment", || {
        let row = deployment(cluster, id);
        check(row["state"] != "running", &row).map(|()| row)
    });
    check_counts(&row, &parts(cluster, id));
    row
}

/// A number of a row.
#[track_caller]
pub fn number(row: &Value, name: &str) -> i64 {
    row[name].as_i64().unwrap_or_else(|| panic!("a number {name} expected in {row:#}"))
}

/// Asserts that the numbers of a deployment that is over are those of its databases, and add up.
#[track_caller]
pub fn check_counts(row: &Value, parts: &[Value]) {
    let count = |states: &[&str]| parts.iter().filter(|part| states.iter().any(|s| part["state"] == *s)).count() as i64;
    let shown = || format!("{row:#}\n{parts:#?}");
    assert_eq!(number(row, "databases"), parts.len() as i64, "databases: {}", shown());
    assert_eq!(number(row, "succeeded"), count(&["completed", "completed_with_warnings"]), "succeeded: {}", shown());
    for name in ["unchanged", "failed", "skipped"] {
        assert_eq!(number(row, name), count(&[name]), "{name}: {}", shown());
    }
    check_sums(row);
}

/// Asserts that the numbers of a deployment add up among themselves: holds at every moment.
#[track_caller]
pub fn check_sums(row: &Value) {
    let ended = number(row, "succeeded") + number(row, "unchanged") + number(row, "failed");
    let superseded = number(row, "done") - ended;
    assert!(superseded >= 0, "done is less than what has ended: {row:#}");
    assert_eq!(number(row, "done") + number(row, "remaining"), number(row, "databases"), "done + remaining: {row:#}");
    assert!(number(row, "skipped") <= number(row, "remaining"), "what was skipped is not done: {row:#}");
}

/// Asserts that an answer of migrate_all, resume or retry says the same numbers as the views.
#[track_caller]
pub fn check_answer(cluster: &Cluster, answer: &Value) {
    let id = answer["deployment_id"].as_str().unwrap_or_else(|| panic!("no deployment_id: {answer:#}"));
    let row = deployment(cluster, id);
    for (ours, theirs) in [
        ("total", "databases"),
        ("succeeded", "succeeded"),
        ("unchanged", "unchanged"),
        ("failed", "failed"),
        ("skipped", "skipped"),
    ] {
        assert_eq!(answer[ours], row[theirs], "{ours}: {answer:#}\nagainst {row:#}");
    }
    assert_eq!(answer["platform"], row["platform"], "{answer:#}");
    assert_eq!(answer["schema_name"], row["schema_name"], "{answer:#}");
    let parts = parts(cluster, id);
    check_counts(&row, &parts);
    let databases = answer["databases"].as_array().unwrap_or_else(|| panic!("no databases: {answer:#}"));
    assert_eq!(databases.len(), parts.len(), "every database is told: {answer:#}");
    for part in &parts {
        let told = databases.iter().find(|told| told["database"] == part["database"]);
        let told = told.unwrap_or_else(|| panic!("{part:#} is not in {answer:#}"));
        assert_eq!(told["status"], part["state"], "{told:#} against {part:#}");
        assert_eq!(told["tenant_id"], part["tenant_id"], "{told:#} against {part:#}");
    }
}

/// The row of the view `databases` of a database.
#[track_caller]
pub fn registered(cluster: &Cluster, database: &str) -> Value {
    json_row(&mut cluster.control(), &format!("SELECT * FROM stonescriptdb.databases WHERE database = '{database}'"))
}

/// SHA-256 as hexadecimal text, of a bundle's archive.
#[track_caller]
pub fn sha256(cluster: &Cluster, files: &Files) -> String {
    sql::done(cluster.control().query_one("SELECT encode(sha256($1), 'hex')", &[&files.tar_gz()])).get(0)
}

/// A number from the environment, or the default.
pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Runs statements in a database as superuser.
#[track_caller]
pub fn by_hand(cluster: &Cluster, database: &str, statements: &str) {
    let mut client = cluster.connect(database);
    client.batch_execute(statements).unwrap_or_else(|e| panic!("{statements}: {}", sql::describe(&e)));
}
