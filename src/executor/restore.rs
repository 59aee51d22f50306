//! Whether a dump is being restored into a database.

use pgrx::Spi;
use stonescriptdb_protocol::{Failure, Restore};

use crate::postgres::PgError;

/// Looks at the sessions in a database of those who could restore a tenant of a platform there: superusers, and who may be its owner role.
/// Others call functions, and may do so all the time.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn of(database: &str, owner_role: &str) -> Result<Restore, Failure> {
    let busiest = Spi::get_one_with_args::<i32>(
        "SELECT (SELECT pg_catalog.max(CASE a.state WHEN 'idle' THEN 1 ELSE 2 END) FROM pg_catalog.pg_stat_activity a
                 WHERE a.datname = $1 AND a.backend_type = 'client backend'
                   AND (a.state <> 'idle' OR a.application_name = 'pg_restore'
                        OR a.state_change > pg_catalog.clock_timestamp() - interval '500 ms')
                   AND pg_catalog.pg_has_role(a.usesysid, (SELECT o.oid FROM pg_catalog.pg_roles o WHERE o.rolname = $2), 'MEMBER'))",
        &[database.into(), owner_role.into()],
    );
    Ok(match busiest.map_err(|error| PgError::new("XX000", error.to_string()))? {
        None => Restore::None,
        Some(1) => Restore::Pauses,
        Some(_) => Restore::GoesOn,
    })
}
