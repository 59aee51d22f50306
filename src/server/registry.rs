//! Reading the registry's tables, on the main thread.

use std::collections::HashMap;
use std::sync::Arc;

use pgrx::Spi;
use serde::Deserialize;

use super::lookup::{Platform, Registry, Tenant};
use super::pool::Target;
use crate::postgres::{PgError, transaction};

/// One query, one JSON text: a row of the registry per database that exists, joined by OID so that a renamed database is followed.
const QUERY: &str = "
SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
    'platform', p.name, 'key', p.key, 'role', p.call_role, 'owner', p.owner_role,
    'databases', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                      'database', c.datname, 'tenant', d.tenant_id, 'key', d.tenant_key, 'ready', d.state = 'ready')), '[]')
                  FROM stonescriptdb.database d JOIN pg_catalog.pg_database c ON c.oid = d.datid
                  WHERE d.platform = p.name)))::text
FROM stonescriptdb.platform p";

#[derive(Deserialize)]
struct PlatformRow {
    platform: String,
    key: String,
    role: String,
    owner: String,
    databases: Vec<DatabaseRow>,
}

#[derive(Deserialize)]
struct DatabaseRow {
    database: String,
    tenant: String,
    key: String,
    ready: bool,
}

/// Reads the whole registry. Without the extension it is empty.
pub(super) fn read() -> Result<Registry, PgError> {
    let text: Option<Option<String>> = transaction(|| {
        let spi = |error: pgrx::spi::Error| PgError::new("XX000", error.to_string());
        let there = Spi::get_one::<bool>(
            "SELECT pg_catalog.to_regclass('stonescriptdb.platform') IS NOT NULL AND pg_catalog.to_regclass('stonescriptdb.database') IS NOT NULL",
        )
        .map_err(spi)?;
        if there != Some(true) {
            return Ok(None);
        }
        Ok(Some(Spi::get_one::<String>(QUERY).map_err(spi)?))
    })?;
    let Some(text) = text else { return Ok(Registry::default()) };
    let rows: Vec<PlatformRow> = match text {
        Some(text) => serde_json::from_str(&text).map_err(|error| PgError::new("XX000", error.to_string()))?,
        None => Vec::new(),
    };
    let platforms = rows
        .into_iter()
        .map(|row| {
            let role: Arc<str> = row.role.into();
            let tenants: HashMap<String, Tenant> = row
                .databases
                .into_iter()
                .map(|database| {
                    let target = Arc::new(Target { database: database.database.into(), role: Some(role.clone()) });
                    (database.key, Tenant { written: database.tenant, target, ready: database.ready })
                })
                .collect();
            (row.key, Platform { name: row.platform, owner: row.owner.into(), tenants })
        })
        .collect();
    Ok(Registry { installed: true, platforms })
}
