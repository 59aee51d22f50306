//! Work in the control database: the first and the last step of every deployment, and the registry's housekeeping.
//!
//! Runs as superuser with a pinned search path. It parses what a bundle says and never runs it.

mod finish;
mod prepare;
mod registry;
mod roles;

use pgrx::Spi;
use stonescriptdb_protocol::{ControlRequest, DatabaseRow, Failure};

use super::answer;
use crate::postgres::{PgError, toplevel, transaction};

/// Carries out a request; gives the frame of the answer.
pub(super) fn run(request: ControlRequest) -> Vec<u8> {
    match request {
        ControlRequest::Identify { archive } => answer(prepare::identify(&archive)),
        ControlRequest::Prepare(request) => answer(prepare::run(request)),
        ControlRequest::Finish(request) => answer(finish::run(request)),
        ControlRequest::DropTenant { database } => answer(drop_tenant(&database)),
        ControlRequest::ListDatabases { platform } => answer(list(&platform)),
        ControlRequest::Reconcile => answer(finish::reconcile()),
    }
}

fn drop_tenant(database: &str) -> Result<(), Failure> {
    // By OID: the row keeps the name under which the database was made.
    let oid = transaction(|| registry::oid_of(database))?;
    toplevel::drop_database(database)?;
    transaction(|| execute("DELETE FROM stonescriptdb.database WHERE datid = $1", &[oid.into()]))
}

fn list(platform: &str) -> Result<Vec<DatabaseRow>, Failure> {
    transaction(|| {
        Spi::connect(|client| {
            let rows = client
                .select(
                    "SELECT c.datname::text, d.tenant_id, round(pg_database_size(c.oid) / 1048576.0, 2)::float8
                     FROM stonescriptdb.database d JOIN pg_database c ON c.oid = d.datid
                     WHERE d.platform = $1 AND d.state = 'ready' ORDER BY d.tenant_key <> 'main', d.tenant_key",
                    None,
                    &[platform.into()],
                )
                .map_err(spi)?;
            rows.map(|row| {
                Ok(DatabaseRow {
                    name: row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
                    tenant: row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
                    size_mb: row.get::<f64>(3).map_err(spi)?.unwrap_or_default(),
                })
            })
            .collect()
        })
    })
}

/// Runs a statement for its effect.
fn execute(sql: &str, arguments: &[pgrx::datum::DatumWithOid]) -> Result<(), Failure> {
    Spi::run_with_args(sql, arguments).map_err(|error| spi(error).into())
}

/// An error of pgrx's SPI layer itself: PostgreSQL's own errors arrive by another way.
fn spi(error: pgrx::spi::Error) -> PgError {
    PgError::new("XX000", error.to_string())
}
