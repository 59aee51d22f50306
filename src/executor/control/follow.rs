//! What was done to tenants' databases by other means, entered into the registry.

use pgrx::pg_sys;
use stonescriptdb_protocol::{Failure, LostDatabase, Restore, RestoredState};

use super::{execute, execute_once, roles, spi};
use crate::executor::restore;
use crate::postgres::{quote_identifier, transaction};
use crate::query;

/// Marks databases as changed: the next deployment looks into them.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn touched(oids: &[u32]) -> Result<(), Failure> {
    let oids: Vec<pg_sys::Oid> = oids.iter().map(|oid| pg_sys::Oid::from(*oid)).collect();
    transaction(|| {
        execute(
            "UPDATE stonescriptdb.database SET touched = true, touched_at = clock_timestamp(), touches = touches + 1 WHERE datid = ANY ($1)",
            &[oids.into()],
        )
    })
}

/// Notes how a database differed from its bundle, if no other deployment than that one has changed it since.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn checked(database: &str, drift: u32, deployed_by: Option<&str>) -> Result<(), Failure> {
    transaction(|| {
        // A note that a crash takes is made again by the next check.
        execute("SET LOCAL synchronous_commit = off", &[])?;
        execute(
            "UPDATE stonescriptdb.database SET drift = $2, checked_at = clock_timestamp()
             WHERE datid = (SELECT oid FROM pg_database WHERE datname = $1)
               AND deployment_id IS NOT DISTINCT FROM $3::uuid",
            &[database.into(), i32::try_from(drift).unwrap_or(i32::MAX).into(), deployed_by.into()],
        )
    })
}

/// Takes the names of databases over that were renamed, in what is recorded of them too: the record of a deployment is taken up by names.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn names() -> Result<(), Failure> {
    transaction(|| {
        execute_once(
            "WITH renamed AS (
                 UPDATE stonescriptdb.database d SET name = c.datname FROM pg_database c
                 WHERE c.oid = d.datid AND d.state = 'ready' AND c.datname <> d.name
                   AND NOT EXISTS (SELECT FROM stonescriptdb.database o WHERE o.name = c.datname)
                 RETURNING d.platform, d.schema_name, d.tenant_id, d.name)
             UPDATE stonescriptdb.deployment_database x SET database = n.name
             FROM renamed n JOIN stonescriptdb.deployment r ON r.platform = n.platform AND r.schema_name = n.schema_name
             WHERE x.deployment_id = r.id AND x.tenant_id = n.tenant_id",
            &[],
        )
    })
}

/// Whose a database may be that has the name of one that is gone.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn lost(database: &str, oid: u32) -> Result<Option<LostDatabase>, Failure> {
    transaction(|| {
        let (owner, call) = query::two::<String, String>(
            "SELECT l.owner_role, l.call_role FROM (SELECT 1) one LEFT JOIN (
                 SELECT p.owner_role::text, p.call_role::text FROM stonescriptdb.database d
                 JOIN stonescriptdb.platform p ON p.name = d.platform JOIN pg_database c ON c.datname = d.name AND c.oid = $2
                 WHERE d.name = $1 AND d.state = 'ready' AND NOT EXISTS (SELECT FROM pg_database x WHERE x.oid = d.datid)
                   AND NOT EXISTS (SELECT FROM stonescriptdb.database o WHERE o.datid = c.oid)) l ON true",
            &[database.into(), pg_sys::Oid::from(oid).into()],
        )
        .map_err(spi)?;
        let Some((owner_role, call_role)) = owner.zip(call) else { return Ok(None) };
        Ok(Some(LostDatabase { restore: restore::of(database, &owner_role)?, owner_role, call_role }))
    })
}

/// The name of a tenant's database and its owner role, unless a restore goes on in it.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn quiet(oid: u32) -> Result<Option<(String, String)>, Failure> {
    transaction(|| {
        let (database, owner) = query::two::<String, String>(
            "SELECT l.database, l.owner_role FROM (SELECT 1) one LEFT JOIN (
                 SELECT c.datname::text AS database, p.owner_role::text FROM stonescriptdb.database d
                 JOIN stonescriptdb.platform p ON p.name = d.platform JOIN pg_database c ON c.oid = d.datid
                 WHERE d.datid = $1 AND d.state = 'ready') l ON true",
            &[pg_sys::Oid::from(oid).into()],
        )
        .map_err(spi)?;
        let Some((database, owner)) = database.zip(owner) else { return Ok(None) };
        let restore = restore::of(&database, &owner)?;
        Ok((restore == Restore::None).then_some((database, owner)))
    })
}

/// Notes of which bundle a database is now that was restored as it stands. It is touched, so the next deployment looks.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn state_of(oid: u32, state: &RestoredState) -> Result<(), Failure> {
    transaction(|| {
        execute(
            "UPDATE stonescriptdb.database d SET unfinished = $3, drift = NULL, checked_at = NULL,
                 bundle_sha256 = (SELECT b.sha256 FROM stonescriptdb.bundle b WHERE b.platform = d.platform AND b.sha256 = $2)
             WHERE d.datid = $1 AND d.state = 'ready'",
            &[pg_sys::Oid::from(oid).into(), state.bundle_sha256.as_str().into(), state.unfinished.into()],
        )
    })
}

/// Lets a role connect to a database.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn let_in(database: &str, role: &str) -> Result<(), Failure> {
    let (database, role) = (quote_identifier(database), quote_identifier(role));
    transaction(|| execute_once(&format!("GRANT CONNECT ON DATABASE {database} TO {role}"), &[]))
}

/// Makes a database the tenant's whose database of that name is gone. What is in it was made by other means: the next deployment looks.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn restored(database: &str, oid: u32, state: &RestoredState) -> Result<bool, Failure> {
    transaction(|| {
        let Some((owner_role, call_role)) = still_lost(database, oid)? else { return Ok(false) };
        let (name, owner) = (quote_identifier(database), quote_identifier(&owner_role));
        execute_once(&format!("ALTER DATABASE {name} OWNER TO {owner}"), &[])?;
        roles::close_database(database, &owner_role, &call_role)?;
        execute(
            "UPDATE stonescriptdb.database d SET datid = $2, touched = true, touched_at = clock_timestamp(), touches = d.touches + 1,
                 unfinished = $4, drift = NULL,
                 checked_at = NULL, size_bytes = pg_database_size($2), measured_at = clock_timestamp(),
                 bundle_sha256 = (SELECT b.sha256 FROM stonescriptdb.bundle b WHERE b.platform = d.platform AND b.sha256 = $3)
             WHERE d.name = $1",
            &[
                database.into(),
                pg_sys::Oid::from(oid).into(),
                state.bundle_sha256.as_str().into(),
                state.unfinished.into(),
            ],
        )?;
        Ok(true)
    })
}

/// As [`lost`], with the row locked: the owner role and the call role. Whoever works in it does not matter any more.
fn still_lost(database: &str, oid: u32) -> Result<Option<(String, String)>, Failure> {
    query::update("SELECT p.owner_role::text, p.call_role::text FROM stonescriptdb.database d
                 JOIN stonescriptdb.platform p ON p.name = d.platform
                 WHERE d.name = $1 AND d.state = 'ready' AND NOT EXISTS (SELECT FROM pg_database x WHERE x.oid = d.datid)
                   AND EXISTS (SELECT FROM pg_database c WHERE c.oid = $2 AND c.datname = $1)
                 FOR UPDATE OF d", &[database.into(), pg_sys::Oid::from(oid).into()], |mut rows| {
        let Some(row) = rows.next() else { return Ok(None) };
        let text = |place: usize| Ok::<_, Failure>(row.get::<String>(place).map_err(spi)?.unwrap_or_default());
        Ok(Some((text(1)?, text(2)?)))
    })
}
