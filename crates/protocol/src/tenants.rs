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
    /// A new token. Answer: `String`, the JSON text of the HTTP answer.
    IssueToken {
        /// The platform as registered.
        platform: String,
        /// What it is for.
        description: Option<String>,
        /// When it ends, as PostgreSQL reads it.
        expires_at: Option<String>,
        /// Who asked.
        by: String,
    },
    /// Makes a token useless. Answer: `bool`, whether there was one.
    RevokeToken {
        /// Its id.
        id: String,
    },
    /// A list. Answer: `String`, the JSON text of the HTTP answer.
    List(Listing),
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
