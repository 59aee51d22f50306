//! The tables in the tenant's database that say what was deployed: the standalone gateway's five, with more columns, and one of ours.

use std::collections::{HashMap, HashSet};

use pgrx::Spi;
use serde_json::json;
use stonescriptdb_protocol::Failure;

use super::{Deployment, spi};
use crate::postgres::quote_identifier;

/// What was deployed before.
#[derive(Default)]
pub(super) struct Tracked {
    /// Migration file name → SHA-256 of its bytes.
    pub(super) migrations: HashMap<String, String>,
    /// Path → checksum, of files of types/, tables/ and views/.
    pub(super) files: HashMap<String, String>,
    /// Functions by OID.
    pub(super) functions: Vec<TrackedFunction>,
    /// What this deployment adds.
    pub(super) new_files: Vec<(String, String)>,
    pub(super) new_types: Vec<(String, &'static str, String, String)>,
    pub(super) new_tables: Vec<(String, String, String)>,
    /// Functions that are as the bundle has them, by OID, with checksum and path.
    pub(super) current_functions: Vec<(u32, String, String)>,
    /// Those of them that were created or replaced just now.
    pub(super) changed_functions: HashSet<u32>,
}

/// A function of the tracking table that is still there.
pub(super) struct TrackedFunction {
    pub(super) id: i32,
    /// 0: dropped by hand.
    pub(super) oid: u32,
    pub(super) checksum: String,
    /// Its definition is the one that was deployed.
    pub(super) untouched: bool,
    pub(super) source_file: String,
    pub(super) signature: String,
}

/// The standalone gateway's tables as it makes them; our columns are added to them, so that a database that it made is taken as it is.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS public._stonescriptdb_gateway_migrations (
    id serial PRIMARY KEY, migration_file text NOT NULL UNIQUE, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS public._stonescriptdb_gateway_types (
    id serial PRIMARY KEY, type_name text NOT NULL UNIQUE, type_kind text NOT NULL, checksum text NOT NULL, source_file text NOT NULL,
    deployed_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS public._stonescriptdb_gateway_tables (
    id serial PRIMARY KEY, table_name text NOT NULL UNIQUE, checksum text NOT NULL, source_file text NOT NULL,
    deployed_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS public._stonescriptdb_gateway_functions (
    id serial PRIMARY KEY, function_name text NOT NULL, signature text NOT NULL, param_types text[] NOT NULL, return_type text,
    body_checksum text NOT NULL, source_file text NOT NULL, deployed_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (function_name, param_types));
CREATE TABLE IF NOT EXISTS public._stonescriptdb_gateway_changelog (
    id serial PRIMARY KEY, change_type text NOT NULL, object_name text NOT NULL, change_detail jsonb, forced boolean NOT NULL DEFAULT false,
    executed_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS public._stonescriptdb_files (
    path text PRIMARY KEY, checksum text NOT NULL, deployed_at timestamptz NOT NULL DEFAULT now());
ALTER TABLE public._stonescriptdb_gateway_functions
    ADD COLUMN IF NOT EXISTS argument_types text[],
    ADD COLUMN IF NOT EXISTS definition text;
ALTER TABLE public._stonescriptdb_gateway_changelog ADD COLUMN IF NOT EXISTS deployment_id uuid;
COMMENT ON TABLE public._stonescriptdb_gateway_migrations IS 'stonescriptdb: migrations that were applied';
COMMENT ON TABLE public._stonescriptdb_gateway_types IS 'stonescriptdb: types that were deployed';
COMMENT ON TABLE public._stonescriptdb_gateway_tables IS 'stonescriptdb: tables that were deployed';
COMMENT ON TABLE public._stonescriptdb_gateway_functions IS 'stonescriptdb: functions that were deployed and can be called';
COMMENT ON TABLE public._stonescriptdb_gateway_changelog IS 'stonescriptdb: what deployments changed';
COMMENT ON TABLE public._stonescriptdb_files IS 'stonescriptdb: files of the bundle that were deployed';";

const NAMES: [&str; 6] = [
    "_stonescriptdb_gateway_migrations",
    "_stonescriptdb_gateway_types",
    "_stonescriptdb_gateway_tables",
    "_stonescriptdb_gateway_functions",
    "_stonescriptdb_gateway_changelog",
    "_stonescriptdb_files",
];

/// Makes the tables if they are not there, and reads them.
pub(super) fn open(call_role: &str) -> Result<Tracked, Failure> {
    let there = Spi::get_one::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass('public._stonescriptdb_gateway_changelog')
                        AND attname = 'deployment_id')
                AND pg_catalog.to_regclass('public._stonescriptdb_files') IS NOT NULL",
    )
    .map_err(spi)?;
    if there != Some(true) {
        make(call_role)?;
    }
    Ok(Tracked {
        migrations: pairs("SELECT migration_file, checksum FROM public._stonescriptdb_gateway_migrations")?,
        files: pairs("SELECT path, checksum FROM public._stonescriptdb_files")?,
        functions: functions()?,
        ..Tracked::default()
    })
}

/// Before anything else is created: what the owner role creates from now on in this database, the call role may use.
fn make(call_role: &str) -> Result<(), Failure> {
    let role = quote_identifier(call_role);
    for rights in [
        "SELECT, INSERT, UPDATE, DELETE ON TABLES",
        "USAGE, SELECT, UPDATE ON SEQUENCES",
        "EXECUTE ON ROUTINES",
        "USAGE ON SCHEMAS",
        "USAGE ON TYPES",
    ] {
        Spi::run(&format!("ALTER DEFAULT PRIVILEGES GRANT {rights} TO {role}")).map_err(spi)?;
    }
    Spi::run(TABLES).map_err(spi)?;
    for name in NAMES {
        Spi::run(&format!("REVOKE ALL ON public.{name} FROM {role}")).map_err(spi)?;
    }
    // Calls look up here what was deployed.
    Spi::run(&format!("GRANT SELECT ON public._stonescriptdb_gateway_functions TO {role}")).map_err(spi)
}

fn pairs(sql: &str) -> Result<HashMap<String, String>, Failure> {
    Spi::connect(|client| {
        let rows = client.select(sql, None, &[]).map_err(spi)?;
        rows.map(|row| {
            Ok((
                row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
                row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
            ))
        })
        .collect()
    })
}

/// A function's name in the tracking table: with its schema, unless that is public. The standalone gateway's unique constraint knows no
/// schemas.
pub(crate) const TRACKED_NAME: &str =
    "CASE n.nspname WHEN 'public' THEN p.proname::text ELSE n.nspname || '.' || p.proname END";

/// The schema and name of each input type of `p`: what survives a restore, where OIDs do not.
pub(crate) const ARGUMENT_TYPES: &str = "ARRAY(
    SELECT tn.nspname || '.' || ty.typname FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY AS a(u, i)
    JOIN pg_catalog.pg_type ty ON ty.oid = a.u JOIN pg_catalog.pg_namespace tn ON tn.oid = ty.typnamespace ORDER BY a.i)";

fn functions() -> Result<Vec<TrackedFunction>, Failure> {
    Spi::connect(|client| {
        let rows = client
            .select(
                &format!(
                    "SELECT t.id, coalesce(p.oid, 0)::pg_catalog.int8, t.body_checksum, t.source_file, t.signature,
                            coalesce(t.definition = pg_catalog.md5(pg_catalog.pg_get_functiondef(p.oid)), false)
                     FROM public._stonescriptdb_gateway_functions t
                     LEFT JOIN (pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace)
                       ON t.function_name = {TRACKED_NAME} AND t.argument_types = {ARGUMENT_TYPES}
                     ORDER BY t.id"
                ),
                None,
                &[],
            )
            .map_err(spi)?;
        rows.map(|row| {
            Ok(TrackedFunction {
                id: row.get::<i32>(1).map_err(spi)?.unwrap_or_default(),
                oid: u32::try_from(row.get::<i64>(2).map_err(spi)?.unwrap_or_default()).unwrap_or_default(),
                checksum: row.get::<String>(3).map_err(spi)?.unwrap_or_default(),
                source_file: row.get::<String>(4).map_err(spi)?.unwrap_or_default(),
                signature: row.get::<String>(5).map_err(spi)?.unwrap_or_default(),
                untouched: row.get::<bool>(6).map_err(spi)?.unwrap_or_default(),
            })
        })
        .collect()
    })
}

/// Writes the rows of this deployment, in its own transaction.
pub(super) fn write(deployment: &Deployment) -> Result<(), Failure> {
    let tracked = &deployment.tracked;
    let run = |sql: &str, arguments: &[pgrx::datum::DatumWithOid]| Spi::run_with_args(sql, arguments).map_err(spi);
    for (path, checksum) in &tracked.new_files {
        run(
            "INSERT INTO public._stonescriptdb_files (path, checksum) VALUES ($1, $2)
             ON CONFLICT (path) DO UPDATE SET checksum = excluded.checksum, deployed_at = pg_catalog.now()",
            &[path.as_str().into(), checksum.as_str().into()],
        )?;
    }
    for (name, kind, checksum, path) in &tracked.new_types {
        run(
            "INSERT INTO public._stonescriptdb_gateway_types (type_name, type_kind, checksum, source_file) VALUES ($1, $2, $3, $4)
             ON CONFLICT (type_name) DO UPDATE SET type_kind = excluded.type_kind, checksum = excluded.checksum,
                 source_file = excluded.source_file, deployed_at = pg_catalog.now()",
            &[name.as_str().into(), (*kind).into(), checksum.as_str().into(), path.as_str().into()],
        )?;
    }
    for (name, checksum, path) in &tracked.new_tables {
        run(
            "INSERT INTO public._stonescriptdb_gateway_tables (table_name, checksum, source_file) VALUES ($1, $2, $3)
             ON CONFLICT (table_name) DO UPDATE SET checksum = excluded.checksum, source_file = excluded.source_file,
                 deployed_at = pg_catalog.now()",
            &[name.as_str().into(), checksum.as_str().into(), path.as_str().into()],
        )?;
    }
    for (oid, checksum, path) in
        tracked.current_functions.iter().filter(|(oid, ..)| tracked.changed_functions.contains(oid))
    {
        write_function(*oid, checksum, path)?;
    }
    for change in &deployment.changes {
        run(
            "INSERT INTO public._stonescriptdb_gateway_changelog (change_type, object_name, change_detail, forced, deployment_id)
             VALUES ($1, $2, $3::pg_catalog.jsonb, $4, $5::pg_catalog.uuid)",
            &[
                change.kind.into(),
                change.object.as_str().into(),
                change.detail.to_string().into(),
                deployment.request.options.force.into(),
                deployment.request.deployment_id.as_str().into(),
            ],
        )?;
    }
    Ok(())
}

fn write_function(oid: u32, checksum: &str, path: &str) -> Result<(), Failure> {
    Spi::run_with_args(
        &format!(
            "INSERT INTO public._stonescriptdb_gateway_functions AS t
                 (function_name, signature, param_types, return_type, body_checksum, source_file, argument_types, definition)
             SELECT {TRACKED_NAME}, p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
                    ARRAY(SELECT pg_catalog.format_type(u, NULL)
                          FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY AS a(u, i) ORDER BY i),
                    pg_catalog.pg_get_function_result(p.oid), $2, $3, {ARGUMENT_TYPES},
                    pg_catalog.md5(pg_catalog.pg_get_functiondef(p.oid))
             FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = $1::pg_catalog.oid
             ON CONFLICT (function_name, param_types) DO UPDATE SET signature = excluded.signature, return_type = excluded.return_type,
                 body_checksum = excluded.body_checksum, source_file = excluded.source_file, deployed_at = pg_catalog.now(),
                 argument_types = excluded.argument_types, definition = excluded.definition"
        ),
        &[i64::from(oid).into(), checksum.into(), path.into()],
    )
    .map_err(spi)
}

/// A migration counts as applied from the moment its statements ran, in the same transaction.
pub(super) fn write_migration(file_name: &str, checksum: &str) -> Result<(), Failure> {
    Spi::run_with_args(
        "INSERT INTO public._stonescriptdb_gateway_migrations (migration_file, checksum) VALUES ($1, $2)",
        &[file_name.into(), checksum.into()],
    )
    .map_err(spi)
}

/// Takes a function's row out.
pub(super) fn forget_function(id: i32) -> Result<(), Failure> {
    Spi::run_with_args("DELETE FROM public._stonescriptdb_gateway_functions WHERE id = $1", &[id.into()]).map_err(spi)
}

/// For the changelog: where something came from.
pub(super) fn from_file(path: &str) -> serde_json::Value {
    json!({"file": path})
}
