//! What concerns platforms and tenants beside deployments.

use stonescriptdb_protocol::{ErrorCode, Failure, Named, TenantWork};

use super::super::answer;
use super::{follow, life, listing, overview, prepare, registry, tokens};
use crate::postgres::transaction;

/// Carries out a request; gives the frame of the answer.
pub(super) fn run(work: &TenantWork) -> Vec<u8> {
    match work {
        TenantWork::RegisterPlatform { platform } => answer(register_platform(platform)),
        TenantWork::Rename { database, to } => answer(life::rename(database, to)),
        TenantWork::Copy { database, to } => answer(life::copy(database, to)),
        TenantWork::Suspend { database, reason } => answer(life::suspend(database, reason.as_deref())),
        TenantWork::BeginAdopt { tenant, database, by } => answer(life::begin_adopt(tenant, database, by.as_deref())),
        TenantWork::EndAdopt { database, taken } => answer(life::end_adopt(database, *taken)),
        TenantWork::ForgetMissing { tenant, confirm } => answer(life::forget_missing(tenant, confirm)),
        TenantWork::Touched { oids } => answer(follow::touched(oids)),
        TenantWork::Checked { database, drift, deployed_by } => {
            answer(follow::checked(database, *drift, deployed_by.as_deref()))
        }
        TenantWork::FollowNames => answer(follow::names()),
        TenantWork::Lost { database, oid } => answer(follow::lost(database, *oid)),
        TenantWork::LetIn { database, role } => answer(follow::let_in(database, role)),
        TenantWork::Restored { database, oid, state } => answer(follow::restored(database, *oid, state)),
        TenantWork::Quiet { oid } => answer(follow::quiet(*oid)),
        TenantWork::StateOf { oid, state } => answer(follow::state_of(*oid, state)),
        TenantWork::IssueToken(token) => answer(tokens::issue(token)),
        TenantWork::RotateToken { id, of, grace, expires_at, expires_in, by } => {
            let end = tokens::End { at: expires_at.as_deref(), seconds: *expires_in };
            answer(tokens::rotate(id, of.as_deref(), *grace, end, by))
        }
        TenantWork::RevokeToken { id, of } => answer(tokens::revoke(id, of.as_deref())),
        TenantWork::TokensUsed { ids } => answer(tokens::used(ids)),
        TenantWork::List(what) => answer(listing::run(what)),
        TenantWork::Look(what) => answer(overview::run(what)),
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
