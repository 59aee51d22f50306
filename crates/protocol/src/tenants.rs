//! Messages about platforms, their tokens, and the life of tenants beside deployments.

use serde::{Deserialize, Serialize};

/// What is asked of the server about platforms and tenants, over SQL and over HTTP. Answer: JSON text.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub enum TenantVerb {
    /// A platform without databases yet.
    RegisterPlatform {
        /// Its name.
        platform: String,
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
