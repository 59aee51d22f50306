//! The registry's rows, as deployments read and write them.

use pgrx::{Spi, pg_sys};
use stonescriptdb_protocol::{ErrorCode, Failure, Named};

use super::{execute, spi};

/// A platform's row.
pub(super) struct Platform {
    pub(super) name: String,
    pub(super) owner_role: String,
    pub(super) call_role: String,
}

/// A database's row, and whether the database is there.
pub(super) struct Database {
    pub(super) name: String,
    pub(super) tenant: String,
    pub(super) ready: bool,
    pub(super) exists: bool,
}

/// Finds a platform by its sanitised name.
///
/// # Errors
/// `name_collision` if another platform sanitises to the same.
pub(super) fn platform(named: &Named) -> Result<Option<Platform>, Failure> {
    let found = Spi::connect(|client| {
        let mut rows = client
            .select(
                "SELECT name, owner_role::text, call_role::text FROM stonescriptdb.platform WHERE key = $1",
                Some(1),
                &[named.key.as_str().into()],
            )
            .map_err(spi)?;
        let Some(row) = rows.next() else { return Ok::<_, Failure>(None) };
        Ok(Some(Platform {
            name: row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
            owner_role: row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
            call_role: row.get::<String>(3).map_err(spi)?.unwrap_or_default(),
        }))
    })?;
    match found {
        Some(platform) if platform.name != named.written && named.key != named.written => Err(collision(format!(
            "the platforms \"{}\" and \"{}\" would both be \"{}\"",
            platform.name, named.written, named.key
        ))),
        other => Ok(other),
    }
}

/// The databases of a platform, its own first; one tenant's if `tenant` is given.
pub(super) fn databases(platform: &str, tenant: Option<&str>) -> Result<Vec<Database>, Failure> {
    Spi::connect(|client| {
        let rows = client
            .select(
                "SELECT coalesce(c.datname, d.name)::text, d.tenant_id, d.state = 'ready', c.oid IS NOT NULL
                 FROM stonescriptdb.database d LEFT JOIN pg_database c ON c.oid = d.datid
                 WHERE d.platform = $1 AND ($2 IS NULL OR d.tenant_key = $2)
                 ORDER BY d.tenant_key <> 'main', d.tenant_key",
                None,
                &[platform.into(), tenant.into()],
            )
            .map_err(spi)?;
        rows.map(|row| {
            Ok(Database {
                name: row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
                tenant: row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
                ready: row.get::<bool>(3).map_err(spi)?.unwrap_or_default(),
                exists: row.get::<bool>(4).map_err(spi)?.unwrap_or_default(),
            })
        })
        .collect()
    })
}

/// Notes that a database is about to be created, so that it is found and removed if that goes wrong.
///
/// # Errors
/// `name_collision` if the name is another tenant's, `database_already_exists` if a database that is not ours has it.
pub(super) fn claim(platform: &str, tenant: &Named, database: &str) -> Result<(), Failure> {
    let owner = Spi::get_one_with_args::<String>(
        "SELECT (SELECT platform || ', tenant ' || tenant_id FROM stonescriptdb.database WHERE name = $1)",
        &[database.into()],
    )
    .map_err(spi)?;
    if let Some(owner) = owner {
        return Err(
            collision(format!("the database \"{database}\" is that of the platform {owner}")).database(database)
        );
    }
    if oid_of(database)?.is_some() {
        return Err(Failure::new(
            ErrorCode::DatabaseAlreadyExists,
            format!("a database \"{database}\" exists that stonescriptdb did not create"),
        )
        .hint("Drop or rename it, or choose another name for the platform or the tenant.")
        .database(database));
    }
    execute(
        "INSERT INTO stonescriptdb.database (name, platform, tenant_id, tenant_key, state) VALUES ($1, $2, $3, $4, 'creating')",
        &[database.into(), platform.into(), tenant.written.as_str().into(), tenant.key.as_str().into()],
    )
}

/// The OID of a database by name.
pub(super) fn oid_of(database: &str) -> Result<Option<pg_sys::Oid>, Failure> {
    Spi::get_one_with_args::<pg_sys::Oid>("SELECT (SELECT oid FROM pg_database WHERE datname = $1)", &[database.into()])
        .map_err(|error| spi(error).into())
}

pub(super) fn collision(message: String) -> Failure {
    Failure::new(ErrorCode::NameCollision, message)
        .hint("Names are told apart by their lower-case letters, digits and underscores only; choose another.")
}
