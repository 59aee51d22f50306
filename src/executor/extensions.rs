//! Extensions that a bundle asks for: which, and installing those that only a superuser can.

use pgrx::Spi;
use stonescriptdb_bundle::{Bundle, Kind};
use stonescriptdb_protocol::{ErrorCode, ExtensionSpec, Failure};

use crate::error::from_postgres;
use crate::postgres::{PgError, catch, quote_identifier, transaction};

/// What a bundle asks for, each with its file.
pub(super) fn wanted(bundle: &Bundle) -> Vec<(String, ExtensionSpec)> {
    bundle
        .of_kind(Kind::Extension)
        .filter_map(|file| {
            let request = file.extension_request()?;
            Some((
                file.path.clone(),
                ExtensionSpec { name: request.name, version: request.version, schema: request.schema },
            ))
        })
        .collect()
}

/// Installs the extensions that are not there; gives their names. This worker does nothing else in its database. Its search path is pinned,
/// but CREATE EXTENSION puts the target schema in front of it: an extension belongs on the allowed list only if its scripts are written
/// with care, as PostgreSQL asks of all of them.
///
/// # Errors
/// `extension_not_available`; nothing is installed then.
pub(super) fn install(specs: &[ExtensionSpec]) -> Result<Vec<String>, Failure> {
    transaction(|| {
        let mut installed = Vec::new();
        for spec in specs {
            if create(spec)? {
                installed.push(spec.name.clone());
            }
            if let Some(schema) = &spec.schema {
                // Nobody but the platform's roles may connect.
                Spi::run(&format!("GRANT USAGE ON SCHEMA {} TO PUBLIC", quote_identifier(schema)))
                    .map_err(|error| PgError::new("XX000", error.to_string()))?;
            }
        }
        Ok(installed)
    })
}

/// Drops what [`install`] installed. RESTRICT: if something uses it by now, it stays.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn drop_again(names: &[String]) -> Result<(), Failure> {
    transaction(|| {
        for name in names.iter().rev() {
            let sql = format!("DROP EXTENSION IF EXISTS {}", quote_identifier(name));
            Spi::run(&sql).map_err(|error| PgError::new("XX000", error.to_string()))?;
        }
        Ok(())
    })
}

/// Installs one extension in the current transaction, if it is not there; `true` if it was not.
///
/// # Errors
/// `extension_not_available` with PostgreSQL's reason.
pub(super) fn create(spec: &ExtensionSpec) -> Result<bool, Failure> {
    let spi = |error: pgrx::spi::Error| PgError::new("XX000", error.to_string());
    let there = Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = $1)",
        &[spec.name.as_str().into()],
    )
    .map_err(spi)?;
    if there == Some(true) {
        return Ok(false);
    }
    let mut sql = format!("CREATE EXTENSION {}", quote_identifier(&spec.name));
    if let Some(schema) = &spec.schema {
        let make = format!("CREATE SCHEMA IF NOT EXISTS {}", quote_identifier(schema));
        catch(|| Spi::run(&make))
            .map_err(|error| from_postgres(ErrorCode::ExtensionNotAvailable, error))?
            .map_err(|error| Failure::from(spi(error)))?;
        sql.push_str(&format!(" SCHEMA {}", quote_identifier(schema)));
    } else if !has_its_own_schema(&spec.name)? {
        // The search path may be pinned: where tenants look for it must be said.
        sql.push_str(" SCHEMA public");
    }
    if let Some(version) = &spec.version {
        sql.push_str(&format!(" VERSION {}", quote_identifier(version)));
    }
    catch(|| Spi::run(&sql))
        .map_err(|error| from_postgres(ErrorCode::ExtensionNotAvailable, error))?
        .map_err(|error| Failure::from(spi(error)))?;
    Ok(true)
}

/// Whether an extension's control file fixes the schema: then it refuses any other.
fn has_its_own_schema(extension: &str) -> Result<bool, Failure> {
    let schema = Spi::get_one_with_args::<String>(
        "SELECT (SELECT schema::text FROM pg_catalog.pg_available_extension_versions WHERE name = $1 AND schema IS NOT NULL LIMIT 1)",
        &[extension.into()],
    );
    Ok(schema.map_err(|error| PgError::new("XX000", error.to_string()))?.is_some())
}
