//! Reading the registry's tables, on the main thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pgrx::Spi;
use serde::Deserialize;

use super::lookup::{Lost, Platform, Registry, Schema, Tenant, Token};
use super::pool::Target;
use crate::postgres::{PgError, transaction};

/// One query, one JSON text: a row of the registry per database that exists, joined by OID so that a renamed database is followed.
const QUERY: &str = "
SELECT pg_catalog.json_build_object('platforms', coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
    'platform', p.name, 'key', p.key, 'role', p.call_role, 'owner', p.owner_role,
    'schemas', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('name', s.name, 'key', s.key)), '[]')
                FROM stonescriptdb.stored_schema s WHERE s.platform = p.name),
    'tokens', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                          'hash', pg_catalog.encode(t.hash, 'hex'), 'expires', CASE WHEN isfinite(t.expires_at) THEN extract(epoch FROM t.expires_at) END)), '[]')
               FROM stonescriptdb.token t
               WHERE t.platform = p.name AND t.revoked_at IS NULL AND t.expires_at IS DISTINCT FROM '-infinity'),
    'databases', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                      'database', c.datname, 'oid', c.oid::bigint, 'schema', d.schema_name, 'tenant', nullif(d.tenant_id, d.tenant_key), 'key', d.tenant_key,
                      'ready', d.state = 'ready', 'suspended', d.suspended)), '[]')
                  FROM stonescriptdb.database d JOIN pg_catalog.pg_database c ON c.oid = d.datid
                  WHERE d.platform = p.name)))
    FROM stonescriptdb.platform p), '[]'),
    'lost', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('database', d.name, 'oid', c.oid::bigint)), '[]')
             FROM stonescriptdb.database d JOIN pg_catalog.pg_database c ON c.datname = d.name AND c.datallowconn AND NOT c.datistemplate
             WHERE d.state = 'ready' AND NOT EXISTS (SELECT FROM pg_catalog.pg_database x WHERE x.oid = d.datid)
               AND NOT EXISTS (SELECT FROM stonescriptdb.database o WHERE o.datid = c.oid)),
    'renamed', EXISTS (SELECT FROM stonescriptdb.database d JOIN pg_catalog.pg_database c ON c.oid = d.datid
                       WHERE d.state = 'ready' AND c.datname <> d.name
                         AND NOT EXISTS (SELECT FROM stonescriptdb.database o WHERE o.name = c.datname)))::text";

#[derive(Deserialize)]
struct Everything {
    platforms: Vec<PlatformRow>,
    lost: Vec<Lost>,
    renamed: bool,
}

#[derive(Deserialize)]
struct PlatformRow {
    platform: String,
    key: String,
    role: String,
    owner: String,
    schemas: Vec<SchemaRow>,
    tokens: Vec<TokenRow>,
    databases: Vec<DatabaseRow>,
}

#[derive(Deserialize)]
struct SchemaRow {
    name: String,
    key: String,
}

#[derive(Deserialize)]
struct TokenRow {
    hash: String,
    /// Seconds since 1970.
    expires: Option<f64>,
}

#[derive(Deserialize)]
struct DatabaseRow {
    database: String,
    oid: u32,
    schema: String,
    tenant: Option<String>,
    key: String,
    ready: bool,
    suspended: Option<String>,
}

/// Reads the whole registry. Without the extension it is empty.
pub(super) fn read() -> Result<Registry, PgError> {
    let text: Option<Option<String>> = transaction(|| {
        let spi = |error: pgrx::spi::Error| PgError::new("XX000", error.to_string());
        let there = Spi::get_one::<bool>(
            "SELECT pg_catalog.to_regclass('stonescriptdb.platform') IS NOT NULL AND pg_catalog.to_regclass('stonescriptdb.token') IS NOT NULL",
        )
        .map_err(spi)?;
        if there != Some(true) {
            return Ok(None);
        }
        Ok(Some(Spi::get_one::<String>(QUERY).map_err(spi)?))
    })?;
    let Some(text) = text.flatten() else { return Ok(Registry::default()) };
    let found: Everything = serde_json::from_str(&text).map_err(|error| PgError::new("XX000", error.to_string()))?;
    let oids = found.platforms.iter().flat_map(|row| row.databases.iter().map(|database| database.oid)).collect();
    let platforms = found.platforms.into_iter().map(|row| (row.key.clone(), platform(row))).collect();
    Ok(Registry { installed: true, platforms, oids, lost: found.lost, renamed: found.renamed })
}

fn platform(row: PlatformRow) -> Platform {
    let role: Arc<str> = row.role.into();
    let mut schemas: HashMap<String, Schema> = row
        .schemas
        .into_iter()
        .map(|schema| (schema.key, Schema { name: schema.name, tenants: HashMap::new() }))
        .collect();
    for database in row.databases {
        let target = Arc::new(Target { database: database.database.into(), role: Some(role.clone()), calls: true });
        let tenant = Tenant {
            written: database.tenant.map(String::into_boxed_str),
            target,
            ready: database.ready,
            suspended: database.suspended.map(String::into_boxed_str),
        };
        // The platform's own schema may have no row yet.
        let schema = schemas.entry(stonescriptdb_protocol::sanitise(&database.schema)).or_default();
        schema.tenants.insert(database.key.into_boxed_str(), tenant);
    }
    let tokens = row.tokens.iter().filter_map(token).collect();
    Platform { name: row.platform, owner: row.owner.into(), schemas, tokens }
}

fn token(row: &TokenRow) -> Option<Token> {
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(row.hash.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    let at = |seconds: f64| {
        let since = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
        SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    Some(Token { hash, expires: row.expires.map(at) })
}
