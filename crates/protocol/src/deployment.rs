//! Messages about one database's deployment: what is asked of the executor in it, and its report.

use serde::{Deserialize, Serialize};

use crate::Archive;

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
    /// Look into the database, even where the registry says that nothing is to be done.
    pub verify: bool,
    /// And compare its catalog object by object, even where the versions of its rows are those of the last comparison.
    #[serde(default)]
    pub full_verify: bool,
    /// What to do about rows of seeders that are missing in a database that is migrated.
    pub seeders: MissingRows,
    /// The fingerprint of the only plan that may run.
    pub plan: Option<String>,
}

/// What becomes of rows that a seeder makes and that are not there.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingRows {
    /// The deployment is rolled back, and they are listed.
    #[default]
    Refuse,
    /// They are inserted.
    Insert,
}

/// What a database is before a deployment.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It was there.
    Existing,
    /// It was made for this deployment, as a copy of the bundle's template.
    Cloned,
    /// It was made for this deployment and has nothing in it.
    Empty,
}

/// One deployment of one database.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct DeployRequest {
    /// The bundle, by the SHA-256 of its bytes.
    pub bundle_sha256: String,
    /// The bundle's bytes; not sent while it may turn out that there is nothing to do.
    pub archive: Option<Archive>,
    /// What its proof says of it, as JSON; likewise.
    pub proof: Option<String>,
    /// The rows that its seeders make, as JSON.
    pub seeds: String,
    /// What leads to it from the bundle before, where that is bodies of functions only: [`Proved::bodies`].
    pub bodies: Option<String>,
    /// What it has, in numbers.
    pub summary: Summary,
    /// The fingerprint of the catalog that it leads to.
    pub fingerprint: String,
    /// Register or migrate.
    pub mode: DeployMode,
    /// What the database is.
    pub start: Start,
    /// The role that calls run as, for the grants.
    pub call_role: String,
    /// What is allowed.
    pub options: DeployOptions,
    /// The deployment's id, for the changelog.
    pub deployment_id: String,
}

/// What came of a [`DeployRequest`].
#[derive(Serialize, Deserialize, Debug)]
pub enum DeployAnswer {
    /// It is done.
    Done(Box<DeployReport>),
    /// There is something to do: ask again, with archive and proof.
    NeedsProof,
}

/// A bundle to be built from nothing.
#[derive(Serialize, Deserialize, Debug)]
pub struct ProveRequest {
    /// The bundle's bytes.
    pub archive: Archive,
    /// The role that calls run as, for the grants.
    pub call_role: String,
    /// The connected database is the template of another bundle, from which this one differs in the bodies of functions only.
    pub reuse: Option<Reuse>,
}

/// A proved bundle whose template another one takes over.
#[derive(Serialize, Deserialize, Debug)]
pub struct Reuse {
    /// Its proof, as JSON.
    pub proof: String,
    /// The files, of functions, that are different.
    pub changed: Vec<String>,
}

/// What building a bundle from nothing has shown.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct Proved {
    /// The model and all that deployments need to know, as JSON.
    pub proof: String,
    /// The rows that its seeders make, as JSON.
    pub seeds: String,
    /// What it has, in numbers.
    pub summary: Summary,
    /// The fingerprint of the catalog that it leads to.
    pub fingerprint: String,
    /// Its migrations leave no rows, so that a copy of the template is as good as a database built from nothing.
    pub clonable: bool,
    /// Nothing in it runs a function while it is built, but perhaps its seeders.
    pub plain: bool,
    /// What leads to it from another bundle from which it differs in the bodies of functions only, as JSON.
    pub bodies: Option<String>,
}

/// What a bundle has, in numbers.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Extensions.
    pub extensions: u32,
    /// Types and domains.
    pub types: u32,
    /// Tables.
    pub tables: u32,
    /// Routines.
    pub functions: u32,
    /// Migrations.
    pub migrations: u32,
}

/// A database that is there, to be taken over.
#[derive(Serialize, Deserialize, Debug)]
pub struct AdoptRequest {
    /// It must carry the tables of a standalone gateway: nobody said that this database is meant.
    pub of_gateway: bool,
    /// Who asks must own what is taken over; none where nobody has to.
    pub by: Option<String>,
    /// The role that is to own everything in it.
    pub owner_role: String,
    /// The role that calls run as.
    pub call_role: String,
}

/// An object that differs from its bundle.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct DriftRow {
    /// The kind of object, in PostgreSQL's words.
    pub kind: String,
    /// Its name.
    pub object: String,
    /// `missing`, `changed` or `extra`.
    pub deviation: String,
    /// What is different.
    pub detail: String,
}

/// What a deployment did to one database.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
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
    /// The statements, in the order in which they run or ran.
    pub plan: Vec<PlannedStep>,
    /// The fingerprint of these statements.
    pub plan_fingerprint: String,
    /// The fingerprint of the catalog before.
    pub from_fingerprint: String,
    /// The fingerprint of the catalog after.
    pub to_fingerprint: String,
    /// A statement that runs after the transaction is still to be done.
    pub unfinished: bool,
    /// The recorded state and the stamp of the catalog told that new bodies of functions are all that is to be done; the catalog was not
    /// read.
    #[serde(default)]
    pub short: bool,
}

/// A statement of a plan, as dry runs show it and the changelog keeps it.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct PlannedStep {
    /// From 1.
    pub seq: u32,
    /// The kind and name of the object that it is about.
    pub object: String,
    /// `safe`, `dataloss` or `incompatible`.
    pub class: String,
    /// What it can do to others.
    pub hazards: Vec<String>,
    /// The statement.
    pub sql: String,
    /// It runs inside the deployment's transaction.
    pub transactional: bool,
    /// Milliseconds that it waits for a lock.
    pub lock_timeout: u32,
    /// Milliseconds that it may take; 0 is no limit.
    pub statement_timeout: u32,
    /// The migration that it stands in.
    pub migration: Option<String>,
    /// Milliseconds that it took.
    pub duration_ms: Option<f64>,
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
    /// The kind that allows it, where it is refused otherwise.
    pub allow: Option<String>,
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
