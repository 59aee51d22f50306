//! Messages about platforms, their tokens, and the life of tenants beside deployments.

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use crate::AdoptRequest;

/// A tenant, as callers name it.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct TenantName {
    /// The platform.
    pub platform: String,
    /// The stored schema; `None` is the platform's own.
    pub schema: Option<String>,
    /// The tenant.
    pub tenant: String,
}

/// What is asked of the server about platforms and tenants, over SQL and over HTTP. Answer: JSON text.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub enum TenantVerb {
    /// A platform without databases yet.
    RegisterPlatform {
        /// Its name.
        platform: String,
    },
    /// Another name for a tenant and its database.
    Rename {
        /// Which.
        tenant: TenantName,
        /// Its new name.
        to: String,
    },
    /// A new tenant that is a copy of another.
    Copy {
        /// Of which.
        tenant: TenantName,
        /// The new one's name.
        to: String,
    },
    /// Has calls of a tenant refused.
    Suspend {
        /// Which.
        tenant: TenantName,
        /// What callers are told.
        reason: Option<String>,
    },
    /// Ends that.
    Resume {
        /// Which.
        tenant: TenantName,
    },
    /// Makes a database that exists a tenant's.
    Adopt {
        /// Whose it becomes.
        tenant: TenantName,
        /// The database.
        database: String,
        /// The role that asks and must own it; none where an administrator's token asks.
        by: Option<String>,
    },
}

/// Work in the control database about platforms and tenants.
#[derive(Serialize, Deserialize, Debug)]
pub enum TenantWork {
    /// Makes a platform's roles and its row. Answer: `String`, the platform as registered.
    RegisterPlatform {
        /// Its name.
        platform: String,
    },
    /// Gives a tenant and its database another name. Answer: `String`, the database's.
    Rename {
        /// The database as it is called now.
        database: String,
        /// The tenant's new name.
        to: String,
    },
    /// Makes a tenant whose database is a copy of another's. Answer: `String`, the new database's name.
    Copy {
        /// The database that is copied.
        database: String,
        /// The new tenant.
        to: String,
    },
    /// Has calls of a database's tenant refused, or not any more. Answer: unit.
    Suspend {
        /// The database.
        database: String,
        /// What callers are told; none ends it.
        reason: Option<String>,
    },
    /// Enters a database that exists as a tenant's that is being taken over. Answer: [`AdoptRequest`].
    BeginAdopt {
        /// Whose it becomes.
        tenant: TenantName,
        /// The database.
        database: String,
        /// The role that asks and must own it; none where nobody has to.
        by: Option<String>,
    },
    /// Ends that. Answer: unit.
    EndAdopt {
        /// The database.
        database: String,
        /// It is the tenant's now; otherwise its row goes.
        taken: bool,
    },
    /// Forgets a tenant whose database was dropped by other means. Answer: `Option<String>`, the name that its database had.
    ForgetMissing {
        /// Which.
        tenant: TenantName,
        /// That name, typed again.
        confirm: String,
    },
    /// Marks databases as changed by other means. Answer: unit.
    Touched {
        /// By OID.
        oids: Vec<u32>,
    },
    /// Notes how a database differed from its bundle. Answer: unit.
    Checked {
        /// The database.
        database: String,
        /// The number of differences.
        drift: u32,
        /// The deployment in whose state it was then: what another one has made of it since is another state.
        deployed_by: Option<String>,
    },
    /// Takes the names of databases over that were renamed by other means. Answer: unit.
    FollowNames,
    /// What is to be known of a database that has the name of one that is gone. Answer: `Option<LostDatabase>`; none while somebody works
    /// in it, or if it is not so any more.
    Lost {
        /// The name.
        database: String,
        /// Its OID.
        oid: u32,
    },
    /// Lets a role connect to a database. Answer: unit.
    LetIn {
        /// The database.
        database: String,
        /// The role.
        role: String,
    },
    /// Makes a database the tenant's whose database of that name is gone. Answer: `bool`; false if it is not so any more.
    Restored {
        /// The name.
        database: String,
        /// Its OID.
        oid: u32,
        /// What its tracking tables say.
        state: RestoredState,
    },
    /// The name of a tenant's database and its owner role. Answer: `Option<(String, String)>`; none while somebody works in it.
    Quiet {
        /// Its OID.
        oid: u32,
    },
    /// Notes of which bundle a database is that a dump was restored into. Answer: unit.
    StateOf {
        /// Its OID.
        oid: u32,
        /// What its tracking tables say.
        state: RestoredState,
    },
    /// A new token. Answer: `String`, the JSON text of the HTTP answer.
    IssueToken(TokenSpec),
    /// A token in place of another one. Answer: `String`, the JSON text of the HTTP answer.
    RotateToken {
        /// Its id.
        id: String,
        /// The only platform whose token it may be, as registered.
        of: Option<String>,
        /// Seconds for which the old one counts, unless it ends before.
        grace: f64,
        /// When the new one ends, as PostgreSQL reads it; otherwise it lives as long as the old one was to.
        expires_at: Option<String>,
        /// The same in seconds from now on.
        expires_in: Option<f64>,
        /// Who asked.
        by: String,
    },
    /// Makes a token useless. Answer: `bool`, whether there was one.
    RevokeToken {
        /// Its id.
        id: String,
        /// The only platform whose token it may be, as registered.
        of: Option<String>,
    },
    /// Notes when tokens were used last. Answer: unit.
    TokensUsed {
        /// Their ids.
        ids: Vec<String>,
    },
    /// A list. Answer: `String`, the JSON text of the HTTP answer.
    List(Listing),
    /// What an administrator looks at. Answer: `String`, the JSON text of the HTTP answer.
    Look(Overview),
}

/// A token that is to be made.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct TokenSpec {
    /// The platform as registered.
    pub platform: String,
    /// What it is called.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What it may; the default is what tokens without scopes may.
    pub scopes: Option<Vec<String>>,
    /// The only tenant that it is for.
    pub tenant: Option<String>,
    /// The stored schema of that tenant's database.
    pub schema: Option<String>,
    /// When it ends, as PostgreSQL reads it.
    pub expires_at: Option<String>,
    /// The same in seconds from now on.
    pub expires_in: Option<f64>,
    /// Who asked.
    pub by: String,
}

/// Whether a dump is being restored into a database.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restore {
    /// No session that could do it has done anything for a moment.
    None,
    /// One has just done something: the restore is over, or its next statement comes.
    Pauses,
    /// One is at work.
    GoesOn,
}

/// Whose a database may be that has the name of one that is gone.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct LostDatabase {
    /// A restore is left alone.
    pub restore: Restore,
    /// The platform's owner role.
    pub owner_role: String,
    /// The platform's call role.
    pub call_role: String,
}

/// What a database turned out to be.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub enum Recognised {
    /// It has no tracking tables, or not all, or a dump is being restored into it.
    NotYet,
    /// It is somebody else's, and why.
    Stranger(String),
    /// It holds a dump of a tenant.
    Tenant {
        /// The platform's owner role owns the tracking tables; otherwise a superuser does.
        of_owner: bool,
    },
}

/// What the tracking tables of a database say of its state.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct RestoredState {
    /// The bundle.
    pub bundle_sha256: String,
    /// Statements behind the transaction of its deployment were still to be done.
    pub unfinished: bool,
}

/// What an administrator looks at.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub enum Overview {
    /// Tenants with their state.
    Tenants {
        /// Those of one platform, as registered.
        platform: Option<String>,
    },
    /// The newest deployments.
    Deployments {
        /// Those of one platform, as registered.
        platform: Option<String>,
        /// So many.
        limit: u32,
    },
    /// What the newest deployments did.
    Changelog {
        /// The platform as registered.
        platform: String,
        /// In one database only.
        database: Option<String>,
        /// Of so many deployments.
        limit: u32,
    },
    /// The functions that can be called in a database.
    Functions {
        /// The database.
        database: String,
    },
}

/// What is listed.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// All platforms.
    Platforms,
    /// The stored schemas of a platform.
    Schemas {
        /// As registered.
        platform: String,
    },
    /// The databases of a platform.
    Databases {
        /// As registered.
        platform: String,
        /// Those of one stored schema, as uploaded.
        schema: Option<String>,
    },
    /// Tokens, without the tokens themselves.
    Tokens {
        /// Those of one platform, as registered.
        platform: Option<String>,
    },
    /// The databases of a platform with their sizes.
    Sizes {
        /// As registered.
        platform: String,
    },
}
