//! A registered bundle, with shortcuts for tests.

use postgres::Client;
use serde_json::{Value, json};

use crate::{Answer, Cluster, Files, Snapshot, sql, unique};

/// A platform that a test registered, with a name no other test uses.
pub struct Platform<'a> {
    /// The server that it is on.
    pub cluster: &'a Cluster,
    /// Its name, which is a valid identifier.
    pub name: String,
}

impl<'a> Platform<'a> {
    /// Registers the main database of a new platform over HTTP.
    ///
    /// # Panics
    /// When that is not answered by 200.
    #[track_caller]
    pub fn register(cluster: &'a Cluster, prefix: &str, files: &Files) -> Platform<'a> {
        let platform = Platform::unregistered(cluster, prefix);
        platform.register_again(files).ok();
        platform
    }

    /// The name only, for what must fail.
    pub fn unregistered(cluster: &'a Cluster, prefix: &str) -> Platform<'a> {
        Platform { cluster, name: unique(prefix) }
    }

    /// `POST /register` of the main database.
    #[track_caller]
    pub fn register_again(&self, files: &Files) -> Answer {
        self.cluster.http().register(&self.name, None, &files.tar_gz())
    }

    /// `POST /register` of a tenant.
    #[track_caller]
    pub fn register_tenant(&self, tenant: &str, files: &Files) -> Answer {
        self.cluster.http().register(&self.name, Some(tenant), &files.tar_gz())
    }

    /// `POST /migrate` of the whole platform.
    #[track_caller]
    pub fn migrate(&self, files: &Files) -> Answer {
        self.cluster.http().migrate(&self.name, None, &files.tar_gz(), &[])
    }

    /// `POST /call` on the main database.
    #[track_caller]
    pub fn call(&self, function: &str, params: Value) -> Answer {
        self.cluster.http().call(&self.name, None, function, params)
    }

    /// `POST /call` on a tenant.
    #[track_caller]
    pub fn call_tenant(&self, tenant: &str, function: &str, params: Value) -> Answer {
        self.cluster.http().call(&self.name, Some(tenant), function, params)
    }

    /// `POST /call` with parameters as JSON text, for what [`Value`] cannot hold.
    #[track_caller]
    pub fn call_text(&self, function: &str, params: &str) -> Answer {
        let (platform, function) = (json!(self.name), json!(function));
        let body = format!(r#"{{"platform":{platform},"function":{function},"params":{params}}}"#);
        self.cluster.http().post_text("/call", &body)
    }

    /// The name of the main database.
    pub fn database(&self) -> String {
        self.database_of("main")
    }

    /// The name of a tenant's database.
    pub fn database_of(&self, tenant: &str) -> String {
        format!("{}_{tenant}", self.name)
    }

    /// Whether the main database exists.
    #[track_caller]
    pub fn exists(&self) -> bool {
        sql::database_exists(&mut self.cluster.control(), &self.database())
    }

    /// A superuser's connection to the main database.
    #[track_caller]
    pub fn connect(&self) -> Client {
        self.cluster.connect(&self.database())
    }

    /// A snapshot of the main database.
    #[track_caller]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.cluster, &self.database())
    }

    /// Asserts that the main database is as it was.
    #[track_caller]
    pub fn assert_unchanged(&self, before: &Snapshot, why: &str) {
        before.assert_unchanged(self.cluster, &self.database(), why);
    }

    /// Asserts that nothing of the platform is there: no database of its name, none in the registry, and `/call` finds none.
    #[track_caller]
    pub fn assert_absent(&self, why: &str) {
        let mut control = self.cluster.control();
        let like =
            format!("SELECT datname FROM pg_database WHERE datname LIKE '{}\\_%'", self.name.replace('_', "\\_"));
        assert_eq!(sql::texts(&mut control, &like), Vec::<String>::new(), "a database is left, {why}");
        let rows = sql::done(
            control.query("SELECT database::text FROM stonescriptdb.databases WHERE platform = $1", &[&self.name]),
        );
        let left: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(left.is_empty(), "the registry still has {left:?}, {why}");
        let answer = self.call("f", json!([]));
        let code = answer.code().to_owned();
        let absent = answer.status == 404 && (code == "platform_not_found" || code == "database_not_found");
        assert!(absent, "404 expected, {why}, but: {answer}");
    }

    /// The role that owns the platform's databases.
    #[track_caller]
    pub fn owner_role(&self) -> String {
        self.role("owner_role")
    }

    /// The role that calls run as.
    #[track_caller]
    pub fn call_role(&self) -> String {
        self.role("call_role")
    }

    #[track_caller]
    fn role(&self, column: &str) -> String {
        let query = format!("SELECT {column}::text FROM stonescriptdb.platforms WHERE platform = '{}'", self.name);
        sql::text(&mut self.cluster.control(), &query)
    }
}
