//! The messages themselves, in the order of a worker's life: hello, calls, deployments, control work, and what backends ask.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::archive::run;
use crate::{
    AdoptRequest, Archive, Asked, ControlRequest, DeployRequest, Deployment, ExtensionSpec, ProveRequest, TenantVerb,
};

#[cfg(doc)]
use crate::Recognised;

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
    #[serde(serialize_with = "run::serialize")]
    pub params: &'a [u8],
    /// How it is carried out.
    pub rules: Rules,
    /// Who asks.
    #[serde(borrow)]
    pub context: RequestContext<'a>,
}

/// Several calls in one transaction: all or none.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone)]
pub struct BatchRequest<'a> {
    /// In order.
    #[serde(borrow)]
    pub calls: Vec<OneCall<'a>>,
    /// How they are carried out, all together.
    pub rules: Rules,
    /// Who asks.
    #[serde(borrow)]
    pub context: RequestContext<'a>,
}

/// A call of a batch.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub struct OneCall<'a> {
    /// As in [`CallRequest`].
    pub function: &'a str,
    /// As in [`CallRequest`].
    #[serde(serialize_with = "run::serialize")]
    pub params: &'a [u8],
}

/// How a call or a batch is carried out.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub struct Rules {
    /// Milliseconds after which it is cancelled, unless the function or the platform has a limit of its own; 0 is no limit.
    pub timeout_ms: u32,
    /// The limit that the caller asks for, in milliseconds: it comes before the default, and may lower a function's own. 0: none.
    pub asked_ms: u32,
    /// The greatest result in bytes of JSON, of a batch all results together. Of rows as lines: the greatest row.
    pub max_result: u32,
    /// How often it may be tried again after a serialization failure or a deadlock, if the caller asks for that.
    pub retries: Option<u8>,
    /// What it may do.
    pub access: Access,
    /// How its rows are wanted.
    pub form: Form,
}

/// How the rows of a call are given.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub enum Form {
    /// In one answer, when the transaction has committed.
    Whole,
    /// A line each, while it runs: `Lines` frames, and behind them the `Rows` frame with the last lines when the transaction has committed.
    /// Batches cannot.
    Lines,
}

/// What a call may do.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub enum Access {
    /// Whatever the function does.
    Write,
    /// Functions that are STABLE or IMMUTABLE, in a transaction that only reads.
    Read,
}

/// What functions can know of the request, as the settings `request.…`. What is not known is empty.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy, Default)]
pub struct RequestContext<'a> {
    /// The request's id.
    pub id: &'a str,
    /// The platform as it was registered.
    pub platform: &'a str,
    /// The tenant as it was registered.
    pub tenant: &'a str,
    /// The role that is logged in, of a caller over SQL.
    pub role: &'a str,
    /// The method, of a caller over HTTP.
    pub method: &'a str,
    /// The client's address, of a caller over HTTP.
    pub client: Option<IpAddr>,
}

/// The fixed part of a Rows frame: the number of rows, or a fingerprint of the text for a call that only reads. The JSON text `{"rows":[…],"row_count":n` (without the closing brace, so that the server adds
/// its own fields without copying) is the rest of the frame. Where lines are asked for it is the last of them.
pub type RowsHeader = u64;

/// Everything but a call that an executor can be asked to do.
#[derive(Serialize, Deserialize, Debug)]
#[allow(clippy::large_enum_variant, reason = "one of them is alive at a time")]
pub enum ExecutorRequest {
    /// Bring the connected database to a bundle's state. Answer: [`DeployAnswer`].
    Deploy(DeployRequest),
    /// Build a bundle from nothing in the connected database, a template. Answer: `Option<Proved>`; none where the template of another
    /// bundle does not do.
    Prove(ProveRequest),
    /// Look whether the connected database is recorded as in the state of a bundle, and its catalog is the recorded one. Answer: `bool`.
    IsAsRecorded {
        /// The bundle's SHA-256.
        bundle_sha256: String,
    },
    /// Compare the connected database with a bundle. Answer: `Vec<DriftRow>`.
    Check {
        /// What the bundle's proof says of it.
        proof: String,
    },
    /// Make what a standalone gateway deployed in the connected database the platform's. Answer: `Vec<String>`, the statements that take
    /// it back.
    Adopt(AdoptRequest),
    /// Take back what `Adopt` did, by its answer. Answer: unit.
    GiveBack(Vec<String>),
    /// Install extensions that only a superuser may install. Answer: the names that were not there before.
    InstallExtensions(Vec<ExtensionSpec>),
    /// Take back what `InstallExtensions` did. Answer: unit.
    DropExtensions(Vec<String>),
    /// Tell whether the connected database holds a dump of a tenant whose platform has these roles. Answer: [`Recognised`].
    Recognise {
        /// The role that owns.
        owner_role: String,
        /// The role that calls.
        call_role: String,
    },
    /// Tell what the tracking tables of such a database say. Answer: `Option<RestoredState>`; none while they say nothing.
    RestoredState,
    /// Describe the functions of the connected database that may be called. Answer: [`Described`].
    Describe(DescribeRequest),
    /// Work in the control database.
    Control(ControlRequest),
}

/// What an ordinary backend asks of the broker.
#[derive(Serialize, Deserialize, Debug)]
#[allow(clippy::large_enum_variant, reason = "one of them is alive at a time")]
pub enum BackendRequest {
    /// A function call. Answer: a Rows frame.
    Call {
        /// The platform.
        platform: String,
        /// The stored schema; `None` is the platform's own.
        schema: Option<String>,
        /// The tenant as sent.
        tenant: Option<String>,
        /// The function.
        function: String,
        /// JSON text of the parameters.
        #[serde(with = "run")]
        params: Vec<u8>,
        /// The role that asks.
        role: String,
    },
    /// Several calls in one transaction. Answer: JSON text, the same as over HTTP.
    Batch {
        /// The platform.
        platform: String,
        /// The stored schema; `None` is the platform's own.
        schema: Option<String>,
        /// The tenant as sent.
        tenant: Option<String>,
        /// JSON text: an array of `{"function","params"}`.
        #[serde(with = "run")]
        calls: Vec<u8>,
        /// The role that asks.
        role: String,
    },
    /// A deployment. Answer: JSON text, the same as over HTTP.
    Deploy {
        /// What is asked.
        deployment: Deployment,
        /// Its end is waited for.
        wait: bool,
    },
    /// A tenant, or a database of a stored schema, from the newest bundle. Answer: JSON text.
    Create {
        /// The platform.
        platform: String,
        /// The stored schema; `None` is the platform's own.
        schema: Option<String>,
        /// The tenant, or the database's id.
        tenant: Option<String>,
        /// Who asked.
        asked: Asked,
    },
    /// A bundle for a stored schema. Answer: JSON text.
    Upload {
        /// The platform.
        platform: String,
        /// The schema.
        schema: String,
        /// The bundle.
        archive: Archive,
        /// Who asked.
        asked: Asked,
    },
    /// The end of a running deployment. Answer: JSON text.
    Cancel {
        /// Which.
        deployment_id: String,
    },
    /// A deployment taken up again. Answer: JSON text.
    Again {
        /// Which.
        deployment_id: String,
        /// The databases that failed; otherwise those that are not done.
        failed: bool,
        /// Its end is waited for.
        wait: bool,
    },
    /// The end of a tenant. Answer: JSON text.
    DropTenant {
        /// The platform.
        platform: String,
        /// The stored schema; `None` is the platform's own.
        schema: Option<String>,
        /// The tenant.
        tenant: String,
        /// The database's name, typed again.
        confirm: String,
    },
    /// How databases differ from their bundles. Answer: JSON text, an array with a row per difference.
    Check {
        /// The platform; all of them if there is none.
        platform: Option<String>,
        /// The stored schema. Without one a tenant is that of the platform's own, and databases are those of all schemas.
        schema: Option<String>,
        /// The tenant; all of them if there is none.
        tenant: Option<String>,
    },
    /// What concerns platforms and tenants beside deployments. Answer: JSON text.
    Tenants(TenantVerb),
    /// State of the server worker. Answer: JSON text.
    Health,
    /// The executors. Answer: `Vec<WorkerRow>`.
    Workers,
    /// The figures. Answer: JSON text, an array with a row per figure.
    Stats,
    /// Rows of the registry have changed. Answer: unit, once they are read.
    RegistryChanged,
    /// A transaction that is written down as changing a database's catalog has committed. No answer.
    Touched,
    /// A database is about to be dropped, renamed or copied: stop its executors, start none until this connection closes. Answer:
    /// unit, once they are gone.
    Hold {
        /// The database.
        database: String,
    },
    /// The extension is about to be dropped: cancel all deployments, begin none until this connection closes. Answer: unit, once they have
    /// ended.
    HoldDeployments,
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
    /// `starting`, `idle`, `busy`, `serving` (connections, for more than one request).
    pub state: String,
    /// Requests served.
    pub served: u64,
    /// Milliseconds since it began to start.
    pub age_ms: u64,
}

/// Whose functions are described.
#[derive(Serialize, Deserialize, Debug)]
pub struct DescribeRequest {
    /// The platform as registered.
    pub platform: String,
    /// The stored schema; `None` is the platform's own.
    pub schema: Option<String>,
    /// The tenant as registered.
    pub tenant: String,
    /// Calls need a token.
    pub needs_token: bool,
}

/// A description of functions.
#[derive(Serialize, Deserialize, Debug)]
pub struct Described {
    /// Another one for every other document.
    pub tag: String,
    /// The OpenAPI document.
    pub document: String,
}
