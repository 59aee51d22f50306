//! What concerns platforms and tenants beside deployments.

use stonescriptdb_protocol::{ErrorCode, Failure, Named, TenantWork};

use super::super::answer;
use super::{listing, prepare, registry};
use crate::postgres::transaction;

/// Carries out a request; gives the frame of the answer.
pub(super) fn run(work: &TenantWork) -> Vec<u8> {
    match work {
        TenantWork::RegisterPlatform { platform } => answer(register_platform(platform)),
        TenantWork::List(what) => answer(listing::run(what)),
    }
}

/// A platform without databases.
///
/// # Errors
/// `platform_already_registered`; `name_collision` if another one sanitises to the same, or has its roles' names.
fn register_platform(name: &str) -> Result<String, Failure> {
    let named = Named::new("platform", name).map_err(prepare::bad_name)?;
    transaction(|| {
        prepare::lock_platform(&named.key)?;
        if let Some(platform) = registry::platform(&named)? {
            return Err(Failure::new(
                ErrorCode::PlatformAlreadyRegistered,
                format!("the platform \"{}\" is registered already", platform.name),
            ));
        }
        Ok(prepare::create_platform(&named, None)?.name)
    })
}
