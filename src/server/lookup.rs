//! The registry as it stands in memory: from what callers send to databases and roles.

use std::collections::HashMap;
use std::sync::Arc;

use stonescriptdb_protocol::{ErrorCode, Failure, MAIN_TENANT, NameError, Named, database_name, is_main};

use super::pool::Target;

/// Everything that a call needs of the registry.
#[derive(Default, Debug)]
pub(crate) struct Registry {
    /// The extension is created in the control database.
    pub(super) installed: bool,
    /// By sanitised name: two platforms that sanitise alike cannot both be registered.
    pub(super) platforms: HashMap<String, Platform>,
}

/// A platform and its databases.
#[derive(Debug)]
pub(crate) struct Platform {
    /// As it was registered.
    pub(super) name: String,
    /// The role that owns its databases.
    pub(super) owner: Arc<str>,
    /// By sanitised tenant.
    pub(super) tenants: HashMap<String, Tenant>,
}

/// One database.
#[derive(Debug)]
pub(crate) struct Tenant {
    /// The tenant as it was registered.
    pub(super) written: String,
    /// The database and the call role.
    pub(super) target: Arc<Target>,
    /// Deployments made it, and it can be called.
    pub(super) ready: bool,
}

impl Registry {
    /// The platform of that name, as it was written or sanitised.
    ///
    /// # Errors
    /// `platform_not_found`, `invalid_request` for a name of nothing.
    pub(crate) fn platform(&self, name: &str) -> Result<&Platform, Failure> {
        // The common case: a name that is its own key.
        if let Some(platform) = self.platforms.get(name) {
            return Ok(platform);
        }
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

    /// Databases as their owner role sees them, with platform and tenant: all, those of one platform, or that of one tenant.
    ///
    /// # Errors
    /// As [`Registry::target`].
    pub(crate) fn owned(
        &self,
        platform: Option<&str>,
        tenant: Option<&str>,
    ) -> Result<Vec<(String, String, Arc<Target>)>, Failure> {
        let one = match (platform, tenant) {
            (Some(platform), Some(tenant)) => Some(self.target(platform, Some(tenant))?.database.clone()),
            _ => None,
        };
        let platforms: Vec<&Platform> = match platform {
            Some(name) => vec![self.platform(name)?],
            None => self.platforms.values().collect(),
        };
        let mut found = Vec::new();
        for platform in platforms {
            for tenant in platform.tenants.values().filter(|tenant| tenant.ready) {
                let database = &tenant.target.database;
                if one.as_ref().is_none_or(|one| one == database) {
                    let owner = Target { database: database.clone(), role: Some(platform.owner.clone()) };
                    found.push((platform.name.clone(), tenant.written.clone(), Arc::new(owner)));
                }
            }
        }
        found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        Ok(found)
    }

    /// The database and call role of a platform's tenant.
    ///
    /// # Errors
    /// `platform_not_found`, `database_not_found`, `invalid_request`.
    pub(crate) fn target(&self, platform: &str, tenant: Option<&str>) -> Result<&Arc<Target>, Failure> {
        let platform = self.platform(platform)?;
        let tenant = if is_main(tenant) { MAIN_TENANT } else { tenant.unwrap_or(MAIN_TENANT) };
        let found = match platform.tenants.get(tenant) {
            Some(found) => Some(found),
            None => {
                let named = Named::new("tenant", tenant).map_err(bad_name)?;
                platform.tenants.get(&named.key).filter(|found| found.written == tenant)
            }
        };
        match found {
            Some(found) if found.ready => Ok(&found.target),
            _ => {
                let failure = Failure::new(
                    ErrorCode::DatabaseNotFound,
                    format!("the platform \"{}\" has no database for the tenant \"{tenant}\"", platform.name),
                );
                let name = Named::new("tenant", tenant).ok().and_then(|tenant| {
                    let platform = Named::new("platform", &platform.name).ok()?;
                    database_name(&platform.key, &tenant.key).ok()
                });
                Err(Failure { database: name, ..failure })
            }
        }
    }
}

pub(crate) fn bad_name(error: NameError) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, error.to_string())
}
