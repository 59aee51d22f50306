//! Lists for HTTP, each one query that gives the answer's JSON text.

use stonescriptdb_protocol::{Failure, Listing};

use super::{execute, spi};
use crate::postgres::transaction;
use crate::query;

/// Sizes that are older than this are measured again when they are listed, as far as [`MEASURE_FOR`] allows.
const STALE_AFTER: &str = "1 min";
/// Milliseconds for measuring: each database takes about half a one, and a listing must not take a second for 2,000 of them.
const MEASURE_FOR: &str = "30 ms";

/// The list as JSON text.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn run(what: &Listing) -> Result<String, Failure> {
    let (query, platform, schema) = match what {
        Listing::Platforms => (PLATFORMS, "", None),
        Listing::Schemas { platform } => (SCHEMAS, platform.as_str(), None),
        Listing::Databases { platform, schema } => (DATABASES, platform.as_str(), schema.as_deref()),
        Listing::Sizes { platform } => (SIZES, platform.as_str(), None),
        Listing::Tokens { platform } => (TOKENS, platform.as_deref().unwrap_or_default(), None),
    };
    if let Listing::Sizes { platform } = what {
        measure(Some(platform))?;
    }
    transaction(|| {
        let found = query::one::<String>(query, &[platform.into(), schema.into()]);
        Ok::<_, Failure>(found.map_err(spi)?.unwrap_or_default())
    })
}

/// Measures databases of a platform, or of all.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn measure(platform: Option<&str>) -> Result<(), Failure> {
    transaction(|| {
        // Sizes that a crash takes are measured again.
        execute("SET LOCAL synchronous_commit = off", &[])?;
        execute(
            "SELECT stonescriptdb.measure_stale($1, $2::interval, $3::interval)",
            &[platform.into(), STALE_AFTER.into(), MEASURE_FOR.into()],
        )
    })
}

const PLATFORMS: &str = "
SELECT json_build_object('platforms', coalesce(json_agg(json_build_object(
           'name', p.platform, 'schemas', p.schemas, 'databases', p.databases) ORDER BY p.platform), '[]'), 'count', count(*))::text
FROM stonescriptdb.platforms p WHERE $1 = '' AND $2::text IS NULL";

const SCHEMAS: &str = "
SELECT json_build_object('platform', $1, 'schemas', coalesce(json_agg(json_build_object(
           'name', s.schema_name, 'has_tables', s.has_tables, 'has_functions', s.has_functions, 'has_migrations', s.has_migrations,
           'has_seeders', s.has_seeders, 'checksum', s.bundle_sha256, 'versions', s.versions, 'databases', s.databases,
           'created_at', s.created_at, 'updated_at', s.updated_at) ORDER BY s.schema_name), '[]'), 'count', count(*))::text
FROM stonescriptdb.schemas s WHERE s.platform = $1 AND $2::text IS NULL";

const DATABASES: &str = "
SELECT json_build_object('platform', $1, 'databases', coalesce(json_agg(json_build_object(
           'id', d.tenant_id, 'database_name', d.database, 'schema_name', d.schema_name, 'state', d.state, 'created_at', d.created_at)
           ORDER BY d.schema_name NULLS FIRST, d.tenant_id <> 'main', d.tenant_id), '[]'), 'count', count(*))::text
FROM stonescriptdb.databases d
WHERE d.platform = $1 AND ($2 IS NULL OR d.schema_name = $2) AND d.state IN ('ready', 'suspended')";

const TOKENS: &str = "
SELECT json_build_object('tokens', coalesce(json_agg(json_build_object(
           'id', t.id, 'platform', t.platform, 'description', t.description, 'created_by', t.created_by, 'created_at', t.created_at,
           'expires_at', t.expires_at, 'revoked_at', t.revoked_at, 'name', t.name, 'scopes', t.scopes, 'tenant_id', t.tenant_id,
           'schema_name', t.schema_name, 'replaced_by', t.replaced_by, 'last_used_at', t.last_used_at) ORDER BY t.platform, t.created_at), '[]'), 'count', count(*))::text
FROM stonescriptdb.tokens t WHERE $1 IN ('', t.platform) AND $2::text IS NULL";

const SIZES: &str = "
SELECT json_build_object('platform', $1, 'databases', coalesce(json_agg(json_build_object(
           'name', d.database, 'type', CASE d.tenant_id WHEN 'main' THEN 'main' ELSE 'tenant' END,
           'size_mb', round(d.size_bytes / 1048576.0, 2), 'tenant_id', d.tenant_id, 'schema_name', d.schema_name)
           ORDER BY d.schema_name NULLS FIRST, d.tenant_id <> 'main', d.tenant_id), '[]'), 'count', count(*))::text
FROM stonescriptdb.databases d WHERE d.platform = $1 AND d.state IN ('ready', 'suspended') AND $2::text IS NULL";
