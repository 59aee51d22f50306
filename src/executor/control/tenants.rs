//! What concerns platforms and tenants beside deployments.

use pgrx::Spi;
use stonescriptdb_protocol::{ErrorCode, Failure, Named, TenantWork};

use super::super::answer;
use super::{follow, life, listing, prepare, registry, spi};
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
        TenantWork::Checked { database, drift, elapsed_ms } => answer(follow::checked(database, *drift, *elapsed_ms)),
        TenantWork::FollowNames => answer(follow::names()),
        TenantWork::Lost { database, oid } => answer(follow::lost(database, *oid)),
        TenantWork::LetIn { database, role } => answer(follow::let_in(database, role)),
        TenantWork::Restored { database, oid, state } => answer(follow::restored(database, *oid, state)),
        TenantWork::IssueToken { platform, description, expires_at, by } => {
            answer(issue_token(platform, description.as_deref(), expires_at.as_deref(), by))
        }
        TenantWork::RevokeToken { id } => answer(revoke_token(id)),
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

/// A new token, which is in no text of a query: the function makes it.
///
/// # Errors
/// `invalid_request` for a time that is none.
fn issue_token(
    platform: &str,
    description: Option<&str>,
    expires_at: Option<&str>,
    by: &str,
) -> Result<String, Failure> {
    transaction(|| {
        let issued = Spi::get_one_with_args::<String>(
            "SELECT json_build_object('token', t.token, 'id', t.id, 'platform', $1)::text
             FROM stonescriptdb.issue_token($1, $2, $3::text::timestamptz, $4) t",
            &[platform.into(), description.into(), expires_at.into(), by.into()],
        );
        Ok::<_, Failure>(issued.map_err(spi)?.unwrap_or_default())
    })
    .map_err(|failure| match failure.sqlstate.as_deref() {
        // No such time, or one that no calendar has.
        Some("22007" | "22008") => Failure { code: ErrorCode::InvalidRequest, ..failure },
        _ => failure,
    })
}

fn revoke_token(id: &str) -> Result<bool, Failure> {
    // What is no UUID is no token's id.
    let Ok(id) = uuid::Uuid::parse_str(id) else { return Ok(false) };
    transaction(|| {
        let revoked =
            Spi::get_one_with_args::<bool>("SELECT stonescriptdb.revoke_token($1::uuid)", &[id.to_string().into()]);
        Ok::<_, Failure>(revoked.map_err(spi)? == Some(true))
    })
}
