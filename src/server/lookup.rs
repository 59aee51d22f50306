//! The registry as it stands in memory: from what callers send to databases and roles.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use stonescriptdb_protocol::{ErrorCode, Failure, MAIN_TENANT, NameError, Named, is_main, is_uuid, sanitise};

use super::pool::Target;
use super::tokens::{Hash, Index, Token};
pub(crate) use stonescriptdb_tenants::{Entry, Oids, Tenant, Tenants};

/// Everything that a call needs of the registry.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Registry {
    /// The extension is created in the control database.
    pub(super) installed: bool,
    /// Its version there, if that is not this library's: nothing of it is used then.
    pub(super) outdated: Option<String>,
    /// By sanitised name: two platforms that sanitise alike cannot both be registered.
    pub(super) platforms: HashMap<String, Platform>,
    /// The OIDs of all databases.
    pub(super) oids: Oids,
    /// Tenants whose databases are gone while others of their names are there: dropped and restored, most likely.
    pub(super) lost: Vec<Lost>,
    /// A database has another name than its row.
    pub(super) renamed: bool,
    /// The tokens of all platforms.
    pub(super) tokens: Index,
}

/// A database that has the name of one that was dropped by other means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Deserialize)]
pub(crate) struct Lost {
    pub(super) database: String,
    pub(super) oid: u32,
}

/// A platform and its databases.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    /// As it was registered.
    pub(super) name: String,
    /// The role that owns its databases.
    pub(super) owner: Arc<str>,
    /// What register and migrate deploy, and what has been uploaded, by sanitised name; that of its own is empty.
    pub(super) schemas: HashMap<String, Schema>,
    /// The tokens that are not revoked.
    pub(super) tokens: Vec<Token>,
    /// From which requests may name it; none is all that the listener lets in.
    pub(super) networks: Option<Arc<[IpNet]>>,
    /// Requests a second, in place of what is set for all; 0 is no limit.
    pub(super) rate: Option<u32>,
    /// Requests at once with that rate.
    pub(super) burst: Option<u32>,
}

/// A schema of a platform.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Schema {
    /// As it was uploaded.
    pub(super) name: String,
    /// By sanitised tenant.
    pub(super) tenants: Tenants,
}

/// What a call goes to.
pub(crate) struct Called<'r> {
    /// The platform as registered.
    pub(super) platform: &'r str,
    /// The tenant as registered.
    pub(super) tenant: &'r str,
    pub(super) target: &'r Arc<Target>,
}

/// A database as its owner role sees it.
pub(super) struct Owned {
    /// The platform as registered.
    pub(super) platform: String,
    /// The stored schema as uploaded; empty is the platform's own.
    pub(super) schema: String,
    /// The tenant as registered.
    pub(super) tenant: String,
    pub(super) target: Arc<Target>,
}

impl Registry {
    /// Something in PostgreSQL has gone on without the tables of the registry.
    pub(crate) fn is_behind(&self) -> bool {
        self.renamed || !self.lost.is_empty()
    }

    /// That the extension's SQL objects are those of this library.
    ///
    /// # Errors
    /// `connection_failed`, with what is to be done.
    pub(super) fn require_current(&self) -> Result<(), Failure> {
        let Some(version) = &self.outdated else { return Ok(()) };
        let ours = env!("CARGO_PKG_VERSION");
        let failure = Failure::new(
            ErrorCode::ConnectionFailed,
            format!(
                "the extension stonescriptdb is at version {version} in the control database, its library is {ours}"
            ),
        );
        Err(Failure { sqlstate: Some("55000".to_owned()), ..failure }
            .hint("Run ALTER EXTENSION stonescriptdb UPDATE in the control database."))
    }

    /// The platform of that name, as it was written or sanitised.
    ///
    /// # Errors
    /// `platform_not_found`, `invalid_request` for a name of nothing, `connection_failed` for an extension of another version.
    pub(crate) fn platform(&self, name: &str) -> Result<&Platform, Failure> {
        // The common case: a name that is its own key.
        if let Some(platform) = self.platforms.get(name) {
            return Ok(platform);
        }
        self.require_current()?;
        let named = Named::new("platform", name).map_err(bad_name)?;
        self.platforms.get(&named.key).filter(|platform| platform.name == name).ok_or_else(|| {
            let failure = Failure::new(ErrorCode::PlatformNotFound, format!("there is no platform \"{name}\""));
            if self.installed {
                failure
            } else {
                failure.hint("CREATE EXTENSION stonescriptdb has not been run in the control database.")
            }
        })
    }

    /// The databases of all platforms.
    pub(super) fn tenants(&self) -> impl Iterator<Item = Tenant<'_>> {
        let schemas = self.platforms.values().flat_map(|platform| platform.schemas.values());
        schemas.flat_map(|schema| schema.tenants.iter())
    }

    /// The token with this hash, expired or not, and whose it is.
    pub(super) fn token(&self, hash: &Hash) -> Option<(&Platform, &Token)> {
        let of = self.tokens.platforms(hash).filter_map(|key| self.platforms.get(key));
        of.filter_map(|platform| Some((platform, platform.token(hash)?))).next()
    }

    /// Whether any platform has a token.
    pub(super) fn has_tokens(&self) -> bool {
        self.platforms.values().any(|platform| !platform.tokens.is_empty())
    }

    /// Databases as their owner role sees them: all, those of one platform or of one of its stored schemas, or that of one tenant. Without a
    /// schema a tenant is that of the platform's own.
    ///
    /// # Errors
    /// As [`Registry::tenant`].
    pub(super) fn owned(
        &self,
        platform: Option<&str>,
        schema: Option<&str>,
        tenant: Option<&str>,
    ) -> Result<Vec<Owned>, Failure> {
        let one = match (platform, tenant) {
            (Some(platform), Some(tenant)) => Some(self.tenant(platform, schema, Some(tenant))?.database()),
            _ => None,
        };
        let of = match (platform, schema) {
            (Some(platform), Some(schema)) => Some(self.platform(platform)?.schema(schema)?),
            _ => None,
        };
        let platforms: Vec<&Platform> = match platform {
            Some(name) => vec![self.platform(name)?],
            None => self.platforms.values().collect(),
        };
        let mut found = Vec::new();
        for platform in platforms {
            for schema in platform.schemas.values().filter(|schema| of.is_none_or(|of| std::ptr::eq(of, *schema))) {
                for tenant in schema.tenants.iter().filter(|tenant| tenant.ready()) {
                    let database = tenant.database();
                    if one.is_none_or(|one| one == database) {
                        let owner =
                            Target { database: database.into(), role: Some(platform.owner.clone()), calls: false };
                        found.push(Owned {
                            platform: platform.name.clone(),
                            schema: schema.name.clone(),
                            tenant: tenant.written().to_owned(),
                            target: Arc::new(owner),
                        });
                    }
                }
            }
        }
        found.sort_by(|a, b| (&a.platform, &a.schema, &a.tenant).cmp(&(&b.platform, &b.schema, &b.tenant)));
        Ok(found)
    }

    /// The database of a platform's tenant, in its own schema or a stored one.
    ///
    /// # Errors
    /// `platform_not_found`, `schema_not_found`, `database_not_found`, `invalid_request`.
    pub(crate) fn tenant(
        &self,
        platform: &str,
        schema: Option<&str>,
        tenant: Option<&str>,
    ) -> Result<Tenant<'_>, Failure> {
        self.platform(platform)?.tenant(schema, tenant)
    }

    /// The database and call role of a platform's tenant, for a call.
    ///
    /// # Errors
    /// As [`Registry::tenant`]; `connection_failed` for one that is suspended.
    pub(crate) fn called(
        &self,
        platform: &str,
        schema: Option<&str>,
        tenant: Option<&str>,
    ) -> Result<Called<'_>, Failure> {
        let platform = self.platform(platform)?;
        let found = platform.callable(schema, tenant)?;
        match found.suspended() {
            None => Ok(Called { platform: &platform.name, tenant: found.written(), target: found.target() }),
            Some(reason) => {
                let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                let name = tenant.filter(|_| !is_main(tenant)).unwrap_or(MAIN_TENANT);
                let failure =
                    Failure::new(ErrorCode::TenantSuspended, format!("the tenant \"{name}\" is suspended{because}"));
                Err(Failure { sqlstate: Some("57P03".to_owned()), ..failure }.database(found.database()))
            }
        }
    }
}

impl Platform {
    /// The tenant that a call means, suspended or not.
    fn callable(&self, schema: Option<&str>, tenant: Option<&str>) -> Result<Tenant<'_>, Failure> {
        match self.tenant(schema, tenant) {
            Err(failure) if failure.code == ErrorCode::DatabaseNotFound => {
                let of_stored = self.by_database_name(tenant.unwrap_or(MAIN_TENANT));
                of_stored.filter(|tenant| tenant.ready() && schema.is_none_or(str::is_empty)).ok_or(failure)
            }
            result => result,
        }
    }

    /// The database that a call means, if there is one.
    pub(super) fn database_called(&self, schema: Option<&str>, tenant: Option<&str>) -> Option<&str> {
        self.callable(schema, tenant).ok().map(Tenant::database)
    }

    /// A tenant, in the platform's own schema or a stored one.
    fn tenant(&self, schema: Option<&str>, tenant: Option<&str>) -> Result<Tenant<'_>, Failure> {
        let tenant = if is_main(tenant) { MAIN_TENANT } else { tenant.unwrap_or(MAIN_TENANT) };
        let found = match schema.filter(|name| !name.is_empty()) {
            None => self.schemas.get("").and_then(|own| own.find(tenant)),
            Some(name) => self.schema(name)?.find(tenant),
        };
        found.filter(|tenant| tenant.ready()).ok_or_else(|| {
            let of = schema
                .filter(|name| !name.is_empty())
                .map(|name| format!(" in the schema \"{name}\""))
                .unwrap_or_default();
            Failure {
                database: self.database_name(schema, tenant),
                ..Failure::new(
                    ErrorCode::DatabaseNotFound,
                    format!("the platform \"{}\" has no database for the tenant \"{tenant}\"{of}", self.name),
                )
            }
        })
    }

    /// Its token with this hash, expired or not.
    pub(super) fn token(&self, hash: &Hash) -> Option<&Token> {
        // All of them are compared, so that the time tells nothing of which one it was.
        let mut found = None;
        for token in &self.tokens {
            if token.is(hash) {
                found = Some(token);
            }
        }
        found
    }

    /// When the next of its tokens expires.
    pub(super) fn next_expiry(&self) -> Option<SystemTime> {
        let now = SystemTime::now();
        self.tokens.iter().filter_map(|token| token.expires).filter(|end| now < *end).min()
    }

    /// A stored schema, as it was written or sanitised.
    ///
    /// # Errors
    /// `schema_not_found`, `invalid_request` for a name of nothing.
    pub(super) fn schema(&self, name: &str) -> Result<&Schema, Failure> {
        let named = Named::new("schema", name).map_err(bad_name)?;
        self.schemas.get(&named.key).filter(|schema| schema.name == name || named.key == name).ok_or_else(|| {
            Failure::new(
                ErrorCode::SchemaNotFound,
                format!("the platform \"{}\" has no stored schema \"{name}\"", self.name),
            )
        })
    }

    /// A tenant of a stored schema, by what follows the platform in its database's name: clients of the gateway's first API call it so.
    fn by_database_name(&self, tenant: &str) -> Option<Tenant<'_>> {
        let name = format!("{}_{}", sanitise(&self.name), sanitise(tenant));
        let mut stored =
            self.schemas.iter().filter(|(key, _)| !key.is_empty()).flat_map(|(_, schema)| schema.tenants.iter());
        stored.find(|tenant| tenant.database() == name)
    }

    /// The name that a tenant's database gets; none if it would be too long.
    pub(super) fn database_name(&self, schema: Option<&str>, tenant: &str) -> Option<String> {
        let (platform, tenant) = (sanitise(&self.name), sanitise(tenant));
        match schema.filter(|name| !name.is_empty()) {
            None => stonescriptdb_protocol::database_name(&platform, &tenant),
            Some(schema) => stonescriptdb_protocol::stored_database_name(&platform, &sanitise(schema), &tenant),
        }
        .ok()
    }
}

impl Schema {
    /// A tenant, as it was written, or sanitised.
    fn find(&self, tenant: &str) -> Option<Tenant<'_>> {
        self.tenants.get(tenant).or_else(|| {
            let found = self.tenants.get(&sanitise(tenant));
            found.filter(|found| found.written() == tenant || is_uuid(tenant))
        })
    }
}

pub(crate) fn bad_name(error: NameError) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, error.to_string())
}
