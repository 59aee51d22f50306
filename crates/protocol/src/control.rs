//! Messages about the control database: the registry, roles, templates and records of deployments.

use serde::{Deserialize, Serialize};

use crate::{
    Archive, DeployMode, DeployOptions, ExtensionSpec, Failure, Finish, FleetOptions, Progress, Proved, Selection,
    TenantWork,
};

/// Who asked, for the record.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The database role, or `http`.
    pub by: String,
    /// The client's address, where there is one.
    pub from: Option<String>,
    /// The request's id; empty for one over SQL.
    pub request_id: String,
}

impl Asked {
    /// The database role, where one asked: over HTTP none did, and a role may be called `http`.
    pub fn role(&self) -> Option<&str> {
        self.request_id.is_empty().then_some(self.by.as_str())
    }
}

/// Work in the control database, done by a control executor as superuser. It never runs a platform's SQL.
#[derive(Serialize, Deserialize, Debug)]
#[allow(clippy::large_enum_variant, reason = "one of them is alive at a time")]
pub enum ControlRequest {
    /// The platform that a bundle's manifest names. Answer: `Option<String>`.
    Identify {
        /// The bundle.
        archive: Archive,
    },
    /// Reads and checks a bundle, settles names, makes roles and registry rows. Answer: [`Prepared`].
    Prepare(Deployment),
    /// Creates the empty database in which a bundle is proved, unless its template is there. Answer: [`Template`].
    EnsureTemplate(TemplateKey),
    /// Makes the template of one bundle that of another, and opens it. Answer: `Option<String>`, its name; none if there is no such template.
    ReuseTemplate {
        /// Whose it is.
        from: TemplateKey,
        /// Whose it becomes.
        to: TemplateKey,
    },
    /// Stores a proof and closes the template to everybody. Answer: unit.
    SealTemplate {
        /// Which.
        template: TemplateKey,
        /// What was proved in it.
        proved: Proved,
    },
    /// Makes a template again that of the bundle from which it was taken over, closed as it was. Answer: `false` if it is no more the one
    /// that was taken over.
    ReturnTemplate {
        /// Whose it was.
        from: TemplateKey,
        /// Whose it was to be.
        to: TemplateKey,
        /// Its database.
        database: String,
    },
    /// Drops a template that proved nothing or that nobody needs. Answer: unit.
    DropTemplate {
        /// Whose it is.
        key: TemplateKey,
        /// Its database, where that is known: the platform, and with it the row that knows, may be gone.
        database: Option<String>,
    },
    /// The templates of a platform that nobody needs any more. Answer: `Vec<TemplateKey>`.
    UnusedTemplates {
        /// The platform.
        platform: String,
    },
    /// The proof of a bundle, as JSON. Answer: `Option<String>`.
    LoadProof(TemplateKey),
    /// What was proved of a bundle, without the proof itself. Answer: `Option<Proved>`.
    LoadProved(TemplateKey),
    /// The proof of the bundle that a database is in the state of. Answer: `Option<ProofOf>`.
    LoadProofOf {
        /// The database.
        database: String,
    },
    /// Creates a tenant's database. Answer: unit.
    CreateDatabase {
        /// Its name.
        database: String,
        /// The template that it is a copy of; without one it is empty.
        template: Option<String>,
        /// The role that owns it.
        owner_role: String,
        /// The role that calls run as.
        call_role: String,
    },
    /// Makes a role the owner of a database that a standalone gateway deployed. Answer: `String`, the owner before.
    AdoptDatabase {
        /// Its name.
        database: String,
        /// The role that is to own it.
        owner_role: String,
    },
    /// Who holds the locks that deployments in a database wait for. Answer: `Option<String>`, for people.
    Blockers {
        /// The database.
        database: String,
        /// The role that deploys.
        role: String,
    },
    /// Records a deployment that was refused before any database was touched. Answer: unit.
    Refused(Refused),
    /// Opens a deployment again that came to no end. Answer: [`Prepared`].
    Reopen {
        /// Which.
        deployment_id: String,
        /// Those that failed, and those that were skipped because of them; otherwise all that are not done and did not fail.
        failed: bool,
    },
    /// Records how a deployment goes. Answer: unit.
    Progress(Progress),
    /// Records how a deployment ended; drops databases that were made for it and did not get anywhere. Answer: [`crate::Counts`].
    Finish(Finish),
    /// Drops a tenant's database and its registry row. Answer: unit.
    DropTenant {
        /// The database.
        database: String,
    },
    /// A deployment and its databases as recorded. Answer: `Option<String>`, JSON.
    Status {
        /// Which.
        deployment_id: String,
    },
    /// A stored schema as answers show it. Answer: `String`, JSON.
    StoredSchema {
        /// The platform as registered.
        platform: String,
        /// The schema as uploaded.
        schema: String,
    },
    /// Work about platforms and tenants. Answer: its own.
    Tenants(TenantWork),
    /// After a start: drops what an interrupted deployment left half built. Answer: the names dropped.
    Reconcile,
}

/// A deployment as it is asked for.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct Deployment {
    /// Register or migrate.
    pub mode: DeployMode,
    /// The bundle; `None` takes the schema's newest one, if there is one.
    pub archive: Option<Archive>,
    /// The platform; `None` is what the bundle's manifest says.
    pub platform: Option<String>,
    /// The stored schema as sent; `None` is the platform's own.
    pub schema: Option<String>,
    /// Which databases.
    pub selection: Selection,
    /// The database must not exist yet.
    pub must_be_new: bool,
    /// What is allowed.
    pub options: DeployOptions,
    /// What is for several databases.
    pub fleet: FleetOptions,
    /// Who asked.
    pub asked: Asked,
    /// Its id: the server's choice, whatever is sent.
    pub deployment_id: String,
}

/// What is known after the first half.
#[derive(Serialize, Deserialize, Debug)]
pub struct Prepared {
    /// Register or migrate.
    pub mode: DeployMode,
    /// What is allowed.
    pub options: DeployOptions,
    /// What is for several databases.
    pub fleet: FleetOptions,
    /// It is for one database by its nature, and not for as many as there are.
    pub is_single: bool,
    /// The platform as it was registered.
    pub platform: String,
    /// The stored schema as it was uploaded; empty is the platform's own.
    pub schema: String,
    /// The role that owns its databases.
    pub owner_role: String,
    /// The role that calls run as.
    pub call_role: String,
    /// The database role that asked, which must own what is taken over; none where nobody has to.
    pub by: Option<String>,
    /// The bundles to deploy: more than one where the request's leaves out kinds of files that its databases have from different others.
    pub bundles: Vec<PreparedBundle>,
    /// The databases to deploy to, in order.
    pub databases: Vec<PreparedDatabase>,
    /// Remarks on the bundle.
    pub warnings: Vec<String>,
}

/// A bundle, by platform and content.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct TemplateKey {
    /// The platform as it was registered.
    pub platform: String,
    /// SHA-256 of the bundle's bytes, in hex.
    pub sha256: String,
}

/// A bundle's template.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The database.
    pub database: String,
    /// Its bundle was proved in it.
    pub is_ready: bool,
}

/// A bundle of a deployment.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct PreparedBundle {
    /// Which.
    pub key: TemplateKey,
    /// Its bytes, where they are not those of the request.
    pub archive: Option<Archive>,
    /// The kinds (folders) of files that the request's archive has none of, and that are those of the bundle before.
    pub inherited: Vec<String>,
    /// What was proved of it, if it was; without the proof itself.
    pub proved: Option<Proved>,
    /// A proved bundle from which it differs in files of functions only, and which of these.
    pub alike: Option<(TemplateKey, Vec<String>)>,
    /// Extensions that only a superuser may install, and that are allowed.
    pub elevated_extensions: Vec<ExtensionSpec>,
}

/// One database of a deployment.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct PreparedDatabase {
    /// Its place in the record of the deployment.
    pub position: u32,
    /// Its name.
    pub name: String,
    /// The tenant as registered.
    pub tenant: String,
    /// It goes first.
    pub canary: bool,
    /// What is known of its outcome without looking: it is in the bundle's state already, or a later deployment has left that behind.
    pub settled: Option<Settled>,
    /// It is to be created for this deployment.
    pub created: bool,
    /// It is there, and a standalone gateway deployed it.
    pub adopted: bool,
    /// Its bundle, by its place in [`Prepared::bundles`]; none where there is nothing to deploy.
    pub bundle: Option<usize>,
}

/// Why a database of a deployment needs nothing.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is in the state of the bundle.
    Unchanged,
    /// A later deployment has brought it to another bundle.
    Superseded,
}

/// A deployment that was refused.
#[derive(Serialize, Deserialize, Debug)]
pub struct Refused {
    /// What was asked, without its bundle.
    pub asked_for: Deployment,
    /// Why.
    pub failure: Failure,
}

/// The proof of the bundle that a database is in the state of.
#[derive(Serialize, Deserialize, Debug)]
pub struct ProofOf {
    /// The proof.
    pub shown: Shown,
    /// The deployment that brought it there.
    pub deployed_by: Option<String>,
}

/// Whether there is a proof.
#[derive(Serialize, Deserialize, Debug)]
pub enum Shown {
    /// This is it.
    Proof(String),
    /// There is one of another major version of the server only; with this the bundle can be proved anew. It is for no database.
    ToProve(Box<Prepared>),
}
