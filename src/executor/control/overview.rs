//! What the console and the command line show, each one query that gives the answer's JSON text. What is not known is left out.

use stonescriptdb_protocol::{Failure, Overview};

use super::{listing, spi};
use crate::postgres::transaction;
use crate::query;

/// The answer as JSON text.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn run(what: &Overview) -> Result<String, Failure> {
    let (query, platform, database, limit) = match what {
        Overview::Tenants { platform } => (TENANTS, platform.as_deref(), None, 0),
        Overview::Deployments { platform, limit } => (DEPLOYMENTS, platform.as_deref(), None, *limit),
        Overview::Changelog { platform, database, limit } => {
            (CHANGELOG, Some(platform.as_str()), database.as_deref(), *limit)
        }
        Overview::Functions { database } => (FUNCTIONS, None, Some(database.as_str()), 0),
    };
    if let Overview::Tenants { platform } = what {
        listing::measure(platform.as_deref())?;
    }
    transaction(|| {
        let arguments = [platform.into(), database.into(), i64::from(limit).into()];
        let found = query::one::<String>(query, &arguments);
        Ok::<_, Failure>(found.map_err(spi)?.unwrap_or_default())
    })
}

/// Rows become JSON as they are, and NULLs are left out of all of them at once: for thousands, json_build_object and json_strip_nulls for
/// each row take three times as long.
const TENANTS: &str = "
SELECT json_strip_nulls(json_build_object('tenants', coalesce(json_agg(t), '[]'), 'count', count(*)))::text
FROM (SELECT d.platform, d.schema_name, d.tenant_id, d.database, d.state, d.suspended_because, d.size_bytes, d.bundle_sha256,
             d.is_current, d.touched, d.unfinished, d.drift, d.checked_at, d.connections, d.deployment_id, d.deployed_at
      FROM stonescriptdb.databases d WHERE $1 IS NULL OR d.platform = $1
      ORDER BY d.platform, d.schema_name NULLS FIRST, d.tenant_id <> 'main', d.tenant_id) t";

/// Which ones is decided first: the counts of the others are not asked for.
const DEPLOYMENTS: &str = "
SELECT json_build_object('deployments', coalesce(json_agg(json_strip_nulls(json_build_object(
           'deployment_id', d.id, 'kind', d.kind, 'platform', d.platform, 'schema_name', d.schema_name, 'state', d.state,
           'bundle_sha256', d.bundle_sha256, 'dry_run', d.dry_run, 'force', d.force, 'requested_by', d.requested_by,
           'client_address', d.client_address, 'started_at', d.started_at, 'finished_at', d.finished_at, 'total', d.databases,
           'done', d.done, 'succeeded', d.succeeded, 'unchanged', d.unchanged, 'failed', d.failed, 'skipped', d.skipped,
           'message', d.first_error ->> 'message', 'file', d.first_error ->> 'file', 'line', d.first_error -> 'line'))
           ORDER BY d.started_at DESC, d.id), '[]'), 'count', count(*))::text
FROM stonescriptdb.deployments d
WHERE d.id = ANY (ARRAY(SELECT x.id FROM stonescriptdb.deployment x WHERE $1 IS NULL OR x.platform = $1
                        ORDER BY x.started_at DESC, x.id LIMIT $3))";

/// Of what was refused before any database was touched, that which named the tenant.
const CHANGELOG: &str = "
WITH it AS (SELECT d.name, d.schema_name, d.tenant_id, d.tenant_key FROM stonescriptdb.database d
            WHERE d.datid = (SELECT c.oid FROM pg_database c WHERE c.datname = $2))
SELECT json_build_object('changelog', coalesce(json_agg(json_strip_nulls(json_build_object(
           'deployment_id', c.deployment_id, 'kind', c.kind, 'database', c.database, 'state', c.state, 'requested_by', c.requested_by,
           'client_address', c.client_address, 'started_at', c.started_at, 'bundle_sha256', c.bundle_sha256, 'seq', c.seq,
           'object', c.object, 'class', c.class, 'sql', c.sql, 'migration', c.migration, 'duration_ms', c.duration_ms,
           'message', c.error ->> 'message', 'file', c.error ->> 'file', 'line', c.error -> 'line'))
           ORDER BY c.started_at DESC, c.deployment_id, c.database, c.seq), '[]'), 'count', count(*))::text
FROM stonescriptdb.changelog c
WHERE c.deployment_id = ANY (ARRAY(
          SELECT x.id FROM stonescriptdb.deployment x
          WHERE x.platform = $1 AND NOT x.dry_run
            AND ($2 IS NULL
                 OR EXISTS (SELECT FROM stonescriptdb.deployment_database y, it WHERE y.deployment_id = x.id AND y.database = it.name)
                 OR x.error IS NOT NULL AND EXISTS (SELECT FROM it WHERE x.schema_name = it.schema_name
                        AND coalesce(nullif(x.tenant_id, ''), 'main') IN (it.tenant_id, it.tenant_key)))
          ORDER BY x.started_at DESC, x.id LIMIT $3))
  AND ($2 IS NULL OR c.database IS NULL OR c.database = (SELECT it.name FROM it))";

/// From what was proved of the database's bundle: nobody connects to it for this.
const FUNCTIONS: &str = "
WITH proof AS (
    SELECT b.proof::json AS proof FROM stonescriptdb.database d
    JOIN stonescriptdb.bundle b ON b.platform = d.platform AND b.sha256 = d.bundle_sha256
    WHERE d.datid = (SELECT c.oid FROM pg_database c WHERE c.datname = $2))
SELECT json_build_object('functions', coalesce(json_agg(json_strip_nulls(json_build_object(
           'schema', o -> 'key' ->> 'schema', 'name', o -> 'key' ->> 'name', 'kind', r -> 'kind', 'parameters', r -> 'parameters',
           'defaults', r -> 'defaults', 'result', r -> 'result', 'comment', o -> 'comment'))
           ORDER BY o -> 'key' ->> 'schema', o -> 'key' ->> 'name', o -> 'key' ->> 'arguments'), '[]'), 'count', count(*))::text
FROM proof, json_array_elements(proof -> 'model') AS o, LATERAL (SELECT o -> 'body' -> 'routine') AS b(r)
WHERE r ->> 'kind' IN ('function', 'procedure') AND coalesce(r ->> 'result', '') NOT IN ('trigger', 'event_trigger')
  AND (o ->> 'key') IN (SELECT t ->> 'key' FROM json_array_elements(proof -> 'tracked') AS t)";
