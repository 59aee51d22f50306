//! Whether the connected database holds a dump of a tenant.

use pgrx::Spi;
use stonescriptdb_protocol::{Failure, Recognised, RestoredState};

use crate::postgres::{self, PgError, transaction};

/// Looks at whose the tracking tables are. Runs as superuser in a database of which nothing is known, so it reads catalogs only: the plan
/// of a query of one of its tables could run a function of its own.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn run(owner_role: &str) -> Result<Recognised, Failure> {
    postgres::require_utf8()?;
    transaction(|| {
        let owners = [owner_of("_stonescriptdb_state")?, owner_of("_stonescriptdb_gateway_functions")?];
        let mut of_owner = true;
        for owner in owners {
            match owner {
                None => return Ok(Recognised::NotYet),
                Some((role, _)) if role == owner_role => {}
                Some((_, true)) => of_owner = false,
                Some((role, false)) => {
                    return Ok(Recognised::Stranger(format!("its tracking tables belong to the role \"{role}\"")));
                }
            }
        }
        Ok(Recognised::Tenant { of_owner })
    })
}

/// Who owns a table, and whether that is a superuser.
fn owner_of(table: &str) -> Result<Option<(String, bool)>, Failure> {
    let (owner, is_super) = Spi::get_two_with_args::<String, bool>(
        "SELECT r.rolname::text, r.rolsuper FROM (SELECT 1) one
         LEFT JOIN (pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
                    JOIN pg_catalog.pg_roles r ON r.oid = c.relowner) ON c.relname = $1 AND c.relkind = 'r'",
        &[table.into()],
    )
    .map_err(spi)?;
    Ok(owner.zip(is_super))
}

/// What the tracking tables say; none while they say nothing. Runs as the tables' owner.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn state() -> Result<Option<RestoredState>, Failure> {
    transaction(|| {
        let bundle = Spi::get_one::<String>("SELECT (SELECT bundle_sha256 FROM public._stonescriptdb_state LIMIT 1)");
        let Some(bundle_sha256) = bundle.map_err(spi)? else { return Ok(None) };
        let has_pending =
            Spi::get_one::<bool>("SELECT pg_catalog.to_regclass('public._stonescriptdb_pending') IS NOT NULL");
        let unfinished = match has_pending.map_err(spi)? {
            Some(true) => Spi::get_one("SELECT EXISTS (SELECT FROM public._stonescriptdb_pending)").map_err(spi)?,
            _ => Some(false),
        };
        Ok(Some(RestoredState { bundle_sha256, unfinished: unfinished == Some(true) }))
    })
}

fn spi(error: pgrx::spi::Error) -> PgError {
    PgError::new("XX000", error.to_string())
}
