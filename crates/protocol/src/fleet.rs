//! Messages about deployments of several databases: which, how, and what came of each.

use serde::{Deserialize, Serialize};

use crate::{DeployReport, Failure};

/// The databases that a deployment is for.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// That of one tenant, as sent.
    Tenant(Option<String>),
    /// All of the schema.
    All,
    /// Those of these tenants, as sent.
    Only(Vec<String>),
    /// None: a bundle is stored.
    Nothing,
}

/// How a deployment goes about several databases.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct FleetOptions {
    /// The tenants that go first; the others follow only if these succeed.
    pub canary: Vec<String>,
    /// So many databases at a time.
    pub parallel: u32,
    /// How often what failed for a passing reason is tried again.
    pub retries: u32,
}

impl Default for FleetOptions {
    fn default() -> FleetOptions {
        FleetOptions { canary: Vec::new(), parallel: 2, retries: 1 }
    }
}

/// The second half of a deployment: the record of it.
#[derive(Serialize, Deserialize, Debug)]
pub struct Finish {
    /// Which.
    pub deployment_id: String,
    /// It was for show.
    pub dry_run: bool,
    /// It was cancelled.
    pub cancelled: bool,
    /// Why it came to nothing, where no database was touched.
    pub refused: Option<Failure>,
    /// Databases whose outcomes are not recorded yet.
    pub outcomes: Vec<DatabaseOutcome>,
}

/// The state of a deployment, and how its databases are counted.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// `running`, `completed`, `completed_with_warnings`, `planned`, `partial`, `failed`, `cancelled` or `interrupted`.
    pub state: String,
    /// All.
    pub total: u32,
    /// Brought to the bundle's state.
    pub succeeded: u32,
    /// In that state before, or beyond it.
    pub unchanged: u32,
    /// As they were, for something is wrong.
    pub failed: u32,
    /// Left out because another one failed.
    pub skipped: u32,
}

/// How databases of a deployment that goes on have ended.
#[derive(Serialize, Deserialize, Debug)]
pub struct Progress {
    /// Which.
    pub deployment_id: String,
    /// It is for show.
    pub dry_run: bool,
    /// The positions of databases whose turn it is now.
    pub begun: Vec<u32>,
    /// Databases that have ended.
    pub outcomes: Vec<DatabaseOutcome>,
}

/// How it went in one database.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct DatabaseOutcome {
    /// Its place in the record.
    pub position: u32,
    /// The database.
    pub database: String,
    /// The tenant as registered.
    pub tenant: String,
    /// It was created for this deployment.
    pub created: bool,
    /// The bundle that it was to get.
    pub bundle_sha256: Option<String>,
    /// What came of it.
    pub result: Outcome,
    /// How often it was tried.
    pub attempts: u32,
    /// Milliseconds it took.
    pub duration_ms: f64,
}

/// What came of a deployment in one database.
#[derive(Serialize, Deserialize, Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "nearly all are the large one")]
pub enum Outcome {
    /// It is in the bundle's state.
    Done(DeployReport),
    /// It is as it was.
    Failed(Failure),
    /// It was in the bundle's state before, as the registry knows.
    Unchanged,
    /// A later deployment has brought it to another bundle, and it was left alone.
    Superseded,
    /// Its turn did not come, because another one failed.
    Skipped,
    /// The deployment was cancelled before or while it was its turn.
    Cancelled,
}

impl Outcome {
    /// It is in the state that was asked for, or beyond.
    pub fn is_success(&self) -> bool {
        matches!(self, Outcome::Done(_) | Outcome::Unchanged | Outcome::Superseded)
    }

    /// The report of a database that was looked into.
    pub fn report(&self) -> Option<&DeployReport> {
        match self {
            Outcome::Done(report) => Some(report),
            _ => None,
        }
    }

    /// The word for it in the registry and in answers.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Done(report) if report.unfinished => "completed_with_warnings",
            Outcome::Done(_) => "completed",
            Outcome::Failed(_) => "failed",
            Outcome::Unchanged => "unchanged",
            Outcome::Superseded => "superseded",
            Outcome::Skipped => "skipped",
            Outcome::Cancelled => "cancelled",
        }
    }
}
