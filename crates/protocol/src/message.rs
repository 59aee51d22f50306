//! The messages themselves, in the order of a worker's life: hello, calls, deployments, control work, and what backends ask.

use serde::{Deserialize, Serialize};

use crate::Failure;

/// An executor's first words.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The number the launcher gave this executor.
    pub executor: u64,
    /// Its process id, for cancelling.
    pub pid: i32,
}

/// One call of a function.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub struct CallRequest<'a> {
    /// The function's name as sent, perhaps with a schema.
    pub function: &'a str,
    /// JSON text: an array in order, an object by name, or nothing at all.
    pub params: &'a [u8],
    /// Milliseconds after which the statement is cancelled; 0 is no limit.
    pub timeout_ms: u32,
    /// The greatest result in bytes of JSON.
    pub max_result: u32,
}

/// The fixed part of a Rows frame; the JSON text `{"rows":[…],"row_count":n` (without the closing brace, so that the server adds
/// its own fields without copying) is the rest of the frame.
pub type RowsHeader = u64;

/// Everything but a call that an executor can be asked to do.
#[derive(Serialize, Deserialize, Debug)]
pub enum ExecutorRequest {
    /// Bring the connected database to a bundle's state. Answer: [`DeployReport`].
    Deploy(DeployRequest),
    /// Install extensions that only a superuser may install. Answer: the names that were not there before.
    InstallExtensions(Vec<ExtensionSpec>),
    /// Take back what `InstallExtensions` did. Answer: unit.
    DropExtensions(Vec<String>),
    /// Work in the control database.
    Control(ControlRequest),
}

/// An extension that a bundle wants.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct ExtensionSpec {
    /// Its name.
    pub name: String,
    /// The version, if the bundle pins one.
    pub version: Option<String>,
    /// The schema, if the bundle names one.
    pub schema: Option<String>,
}

/// Whether a deployment may create its database.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeployMode {
    /// Creates the database if it is not there; seeds empty tables.
    Register,
    /// The database must be there.
    Migrate,
}

/// What the caller allows a deployment to do.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct DeployOptions {
    /// Everything, data loss included.
    pub force: bool,
    /// Kinds of data loss by name.
    pub allow: Vec<String>,
    /// Show the plan, change nothing.
    pub dry_run: bool,
    /// Go on with the other databases after one has failed.
    pub continue_on_error: bool,
}

/// One deployment of one database.
#[derive(Serialize, Deserialize, Debug)]
pub struct DeployRequest {
    /// The bundle's bytes.
    pub archive: Vec<u8>,
    /// Register or migrate.
    pub mode: DeployMode,
    /// The database was created for this very deployment.
    pub fresh: bool,
    /// The role that calls run as, for the grants.
    pub call_role: String,
    /// What is allowed.
    pub options: DeployOptions,
    /// The deployment's id, for the changelog.
    pub deployment_id: String,
}

/// What a deployment did to one database.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct DeployReport {
    /// Migration files run.
    pub migrations_applied: u32,
    /// Extensions installed.
    pub extensions_installed: u32,
    /// Type files deployed.
    pub types_deployed: u32,
    /// Tables created.
    pub tables_created: u32,
    /// Functions that the database now has from the bundle.
    pub functions_deployed: u32,
    /// Functions created, replaced or dropped by this deployment.
    pub functions_updated: u32,
    /// Seeder by seeder.
    pub seeders: Vec<SeederRows>,
    /// Rows that seeders want against rows that are there.
    pub seeder_validations: Vec<SeederCheck>,
    /// The changes, by class.
    pub validation: Validation,
    /// What was checked afterwards.
    pub verification: Verification,
    /// What a person should know though it stopped nothing.
    pub warnings: Vec<String>,
}

/// What one seeder did.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct SeederRows {
    /// The table.
    pub table: String,
    /// Rows put in.
    pub inserted: u64,
    /// Rows found there, so that the seeder did not run.
    pub skipped: u64,
}

/// A seeder's rows, checked.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct SeederCheck {
    /// The table.
    pub table: String,
    /// Rows that the seeder makes.
    pub expected: u64,
    /// How many of them are there.
    pub found: u64,
}

/// `schema_validation` of the answers.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct Validation {
    /// Changes that cannot hurt.
    pub safe_changes: Vec<Change>,
    /// Changes that lose data.
    pub dataloss_changes: Vec<Change>,
    /// Changes that no cast can make.
    pub incompatible_changes: Vec<Change>,
}

/// One change of the schema, as the answers show it.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The table.
    pub table: String,
    /// `CreateTable`, `AddColumn`, …
    pub change_type: String,
    /// The column, where one is concerned.
    pub column: Option<String>,
    /// The type before.
    pub from_type: Option<String>,
    /// The type after.
    pub to_type: Option<String>,
    /// `safe`, `dataloss` or `incompatible`.
    pub compatibility: String,
    /// Why it is classed so.
    pub reason: String,
}

/// What was compared with the bundle after applying it, inside the transaction.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Everything is as the bundle says.
    pub passed: bool,
    /// Extensions found.
    pub extensions_verified: u32,
    /// Types found.
    pub types_verified: u32,
    /// Tables found.
    pub tables_verified: u32,
    /// Seeders whose rows are there.
    pub seeders_verified: u32,
    /// What was not as it should be.
    pub error_log: Vec<String>,
}

/// Who asked, for the record.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The database role, or `http`.
    pub by: String,
    /// The client's address, where there is one.
    pub from: Option<String>,
    /// The request's id.
    pub request_id: String,
}

/// Work in the control database, done by a control executor as superuser. It never runs a platform's SQL.
#[derive(Serialize, Deserialize, Debug)]
pub enum ControlRequest {
    /// The platform that a bundle's manifest names. Answer: `Option<String>`.
    Identify {
        /// The bundle.
        archive: Vec<u8>,
    },
    /// Reads and checks a bundle, settles names, makes roles and databases. Answer: [`Prepared`].
    Prepare(Prepare),
    /// Records how a deployment ended; drops databases that were made for it and did not get anywhere. Answer: unit.
    Finish(Finish),
    /// Drops a tenant's database and its registry row. Answer: unit.
    DropTenant {
        /// The database.
        database: String,
    },
    /// The databases of a platform. Answer: `Vec<DatabaseRow>`.
    ListDatabases {
        /// The platform as registered.
        platform: String,
    },
    /// After a start: drops what an interrupted deployment left half built. Answer: the names dropped.
    Reconcile,
}

/// A database of a platform.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct DatabaseRow {
    /// Its name.
    pub name: String,
    /// The tenant as registered.
    pub tenant: String,
    /// Its size on disk, in megabytes (2^20 bytes).
    pub size_mb: f64,
}

/// The first half of a deployment.
#[derive(Serialize, Deserialize, Debug)]
pub struct Prepare {
    /// Register or migrate.
    pub mode: DeployMode,
    /// The bundle; `None` takes the platform's newest one, if there is one.
    pub archive: Option<Vec<u8>>,
    /// The platform; `None` is what the bundle's manifest says.
    pub platform: Option<String>,
    /// The tenant as sent.
    pub tenant: Option<String>,
    /// The database must not exist yet.
    pub must_be_new: bool,
    /// What is allowed.
    pub options: DeployOptions,
    /// Who asked.
    pub asked: Asked,
    /// The deployment's id, chosen by the server.
    pub deployment_id: String,
}

/// What is known after the first half.
#[derive(Serialize, Deserialize, Debug)]
pub struct Prepared {
    /// The platform as it was registered.
    pub platform: String,
    /// The role that owns its databases.
    pub owner_role: String,
    /// The role that calls run as.
    pub call_role: String,
    /// The bundle, where the request had none and one is stored.
    pub stored_archive: Option<Vec<u8>>,
    /// SHA-256 of the bundle, in hex; `None` without a bundle.
    pub bundle_sha256: Option<String>,
    /// The databases to deploy to, in order.
    pub databases: Vec<PreparedDatabase>,
    /// Extensions of the bundle that only a superuser may install, and that are allowed.
    pub elevated_extensions: Vec<ExtensionSpec>,
    /// Remarks on the bundle.
    pub warnings: Vec<String>,
}

/// One database of a deployment.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct PreparedDatabase {
    /// Its name.
    pub name: String,
    /// It was created for this deployment.
    pub created: bool,
}

/// The second half of a deployment: the record of it.
#[derive(Serialize, Deserialize, Debug)]
pub struct Finish {
    /// Which.
    pub deployment_id: String,
    /// `completed`, `failed`, …
    pub state: String,
    /// The bundle that the successful databases have now.
    pub bundle_sha256: Option<String>,
    /// Database by database.
    pub outcomes: Vec<DatabaseOutcome>,
}

/// How it went in one database.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct DatabaseOutcome {
    /// The database.
    pub database: String,
    /// It was created for this deployment.
    pub created: bool,
    /// `None` is a database that was left alone because an earlier one failed.
    pub result: Option<Result<DeployReport, Failure>>,
    /// Milliseconds it took.
    pub duration_ms: f64,
}

/// What an ordinary backend asks of the broker.
#[derive(Serialize, Deserialize, Debug)]
pub enum BackendRequest {
    /// A function call. Answer: a Rows frame.
    Call {
        /// The platform.
        platform: String,
        /// The tenant as sent.
        tenant: Option<String>,
        /// The function.
        function: String,
        /// JSON text of the parameters.
        params: Vec<u8>,
        /// Milliseconds; 0 is no limit.
        timeout_ms: u32,
    },
    /// Register or migrate. Answer: JSON text, the same as over HTTP.
    Deploy {
        /// Which of the two.
        mode: DeployMode,
        /// The bundle.
        archive: Vec<u8>,
        /// The platform, else the manifest's.
        platform: Option<String>,
        /// The tenant as sent.
        tenant: Option<String>,
        /// What is allowed.
        options: DeployOptions,
        /// Who asked.
        asked: Asked,
    },
    /// A tenant from the platform's newest bundle. Answer: JSON text.
    CreateTenant {
        /// The platform.
        platform: String,
        /// The tenant.
        tenant: String,
        /// Who asked.
        asked: Asked,
    },
    /// The end of a tenant. Answer: JSON text.
    DropTenant {
        /// The platform.
        platform: String,
        /// The tenant.
        tenant: String,
        /// The database's name, typed again.
        confirm: String,
    },
    /// State of the server worker. Answer: JSON text.
    Health,
    /// The executors. Answer: `Vec<WorkerRow>`.
    Workers,
    /// Rows of the registry have changed. Answer: unit, once they are read.
    RegistryChanged,
    /// A database is about to be dropped, renamed or copied: stop its executors, start none until this connection closes. Answer:
    /// unit, once they are gone.
    Hold {
        /// The database.
        database: String,
    },
}

/// A row of the view `workers`.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct WorkerRow {
    /// Process id; `None` while it starts.
    pub pid: Option<i32>,
    /// The database it is attached to.
    pub database: String,
    /// The role it is.
    pub role: String,
    /// `starting`, `idle`, `busy`.
    pub state: String,
    /// Requests served.
    pub served: u64,
    /// Milliseconds since it began to start.
    pub age_ms: u64,
}
