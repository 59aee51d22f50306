//! The tables in the tenant's database that say what was deployed: the standalone gateway's five, with more columns, and two of ours.

use std::collections::{BTreeSet, HashMap};

use pgrx::Spi;
use serde_json::json;
use stonescriptdb_protocol::{DeployReport, DeployRequest, Failure};
use stonescriptdb_schema::{Key, Kind};

use super::catalog::{self, Stamp};
use super::proof::{Migration, Proof, Tracked};
use super::spi;
use crate::kept;
use crate::postgres::quote_identifier;

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
CREATE TABLE IF NOT EXISTS public._stonescriptdb_state (
    single boolean PRIMARY KEY DEFAULT true CHECK (single), bundle_sha256 text NOT NULL, stamp text NOT NULL, declared jsonb NOT NULL,
    deployment_id uuid, deployed_at timestamptz NOT NULL DEFAULT now(), fingerprint text);
CREATE TABLE IF NOT EXISTS public._stonescriptdb_pending (
    id bigserial PRIMARY KEY, migration text, checksum text, sql text NOT NULL, object text NOT NULL, done_at timestamptz,
    error text, added_at timestamptz NOT NULL DEFAULT now());
ALTER TABLE public._stonescriptdb_gateway_functions ADD COLUMN IF NOT EXISTS argument_types text[];
ALTER TABLE public._stonescriptdb_gateway_changelog ADD COLUMN IF NOT EXISTS deployment_id uuid;
ALTER TABLE public._stonescriptdb_state ADD COLUMN IF NOT EXISTS fingerprint text;
COMMENT ON TABLE public._stonescriptdb_gateway_migrations IS 'stonescriptdb: migrations that were applied';
COMMENT ON TABLE public._stonescriptdb_gateway_types IS 'stonescriptdb: types that were deployed';
COMMENT ON TABLE public._stonescriptdb_gateway_tables IS 'stonescriptdb: tables that were deployed';
COMMENT ON TABLE public._stonescriptdb_gateway_functions IS 'stonescriptdb: functions that were deployed and can be called';
COMMENT ON TABLE public._stonescriptdb_gateway_changelog IS 'stonescriptdb: what deployments changed';
COMMENT ON TABLE public._stonescriptdb_state IS 'stonescriptdb: the bundle whose state the database is in, and the stamp of its catalog then';
COMMENT ON TABLE public._stonescriptdb_pending IS 'stonescriptdb: statements that run outside the deployment''s transaction and are not all done';";

const NAMES: [&str; 7] = [
    "_stonescriptdb_gateway_migrations",
    "_stonescriptdb_gateway_types",
    "_stonescriptdb_gateway_tables",
    "_stonescriptdb_gateway_functions",
    "_stonescriptdb_gateway_changelog",
    "_stonescriptdb_state",
    "_stonescriptdb_pending",
];

/// What the last deployment left.
pub(super) struct State {
    pub(super) bundle_sha256: String,
    pub(super) stamp: String,
    /// Of the catalog that the stamp is of, but for the spelling of routines; none if that is not known.
    pub(super) fingerprint: Option<String>,
    /// A statement outside the transaction is not done yet.
    pub(super) is_pending: bool,
}

/// A database that an earlier build deployed has no such column.
macro_rules! has_fingerprint {
    () => {
        "EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attname = 'fingerprint'
                 AND attrelid = pg_catalog.to_regclass('public._stonescriptdb_state'))"
    };
}

macro_rules! recorded {
    ($fingerprint:literal) => {
        concat!(
            "SELECT bundle_sha256, stamp, EXISTS (SELECT FROM public._stonescriptdb_pending), ",
            $fingerprint,
            " FROM public._stonescriptdb_state"
        )
    };
}

/// The recorded state; none in a database that has none yet.
pub(super) fn state() -> Result<Option<State>, Failure> {
    let there = kept::one::<bool>(
        concat!(
            "SELECT ",
            has_fingerprint!(),
            " WHERE pg_catalog.to_regclass('public._stonescriptdb_pending') IS NOT NULL"
        ),
        &[],
    );
    let query = match there? {
        Some(true) => recorded!("fingerprint"),
        Some(false) => recorded!("NULL::text"),
        None => return Ok(None),
    };
    kept::select(query, &[], |mut rows| {
        let Some(row) = rows.next() else { return Ok::<_, Failure>(None) };
        Ok(Some(State {
            bundle_sha256: row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
            stamp: row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
            is_pending: row.get::<bool>(3).map_err(spi)?.unwrap_or_default(),
            fingerprint: row.get::<String>(4).map_err(spi)?,
        }))
    })
}

/// Makes the tables if they are not there.
pub(super) fn open(call_role: &str) -> Result<(), Failure> {
    let there = kept::one::<bool>(
        concat!(
            "SELECT pg_catalog.to_regclass('public._stonescriptdb_pending') IS NOT NULL AND ",
            has_fingerprint!(),
            "
                AND EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attname = 'deployment_id'
                            AND attrelid = pg_catalog.to_regclass('public._stonescriptdb_gateway_changelog'))
                AND EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attname = 'argument_types'
                            AND attrelid = pg_catalog.to_regclass('public._stonescriptdb_gateway_functions'))"
        ),
        &[],
    );
    if there? == Some(true) { Ok(()) } else { make(call_role) }
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

/// Migration file name → SHA-256 of its bytes.
pub(super) fn applied_migrations() -> Result<HashMap<String, String>, Failure> {
    Spi::connect(|client| {
        let rows = client
            .select("SELECT migration_file, checksum FROM public._stonescriptdb_gateway_migrations", None, &[])
            .map_err(spi)?;
        rows.map(|row| {
            Ok((
                row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
                row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
            ))
        })
        .collect()
    })
}

/// What the bundle before declared: what of it the new one does not have is dropped. Where no state is recorded, as in a database that
/// a standalone gateway deployed, the tables and functions that it recorded.
pub(super) fn declared() -> Result<BTreeSet<Key>, Failure> {
    let text =
        Spi::get_one::<String>("SELECT (SELECT declared::text FROM public._stonescriptdb_state)").map_err(spi)?;
    if let Some(text) = text {
        return serde_json::from_str(&text).map_err(|error| Failure::internal(error.to_string()));
    }
    let text = Spi::get_one::<String>(&format!(
        "SELECT (SELECT pg_catalog.json_agg(key) FROM (
             SELECT pg_catalog.json_build_object('kind', 'routine', 'schema', n.nspname, 'name', p.proname, 'arguments',
                        pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.format_type(u, NULL)
                            FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY AS a(u, i) ORDER BY i), ', ')) AS key
             FROM public._stonescriptdb_gateway_functions t
             JOIN (pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace) ON t.function_name = {TRACKED_NAME}
             UNION ALL
             SELECT pg_catalog.json_build_object('kind', 'table', 'schema', n.nspname, 'name', c.relname)
             FROM public._stonescriptdb_gateway_tables t
             JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(t.table_name) AND c.relkind IN ('r', 'p')
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace) known)::text"
    ))
    .map_err(spi)?;
    text.map_or(Ok(BTreeSet::new()), |text| {
        serde_json::from_str(&text).map_err(|error| Failure::internal(error.to_string()))
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

/// Brings the rows about routines, tables and types to what the bundle has; inside the deployment's transaction.
pub(super) fn write_objects(proof: &Proof) -> Result<(), Failure> {
    let rows = rows(&proof.tracked);
    // With nothing on the search path the types of routines are written as in the keys.
    catalog::under_catalog_settings(|| {
        for sql in [WRITE_FUNCTIONS, FORGET_FUNCTIONS] {
            let sql = sql.replace("{TRACKED_NAME}", TRACKED_NAME).replace("{ARGUMENT_TYPES}", ARGUMENT_TYPES);
            Spi::run_with_args(&sql, &[rows.as_str().into()]).map_err(spi)?;
        }
        for (table, column, columns, values, of) in [
            ("types", "type_name", ", type_kind", ", w.kind", "NOT w.is_routine AND NOT w.is_table"),
            ("tables", "table_name", "", "", "w.is_table"),
        ] {
            Spi::run_with_args(
                &format!(
                    "INSERT INTO public._stonescriptdb_gateway_{table} AS t ({column}{columns}, checksum, source_file)
                     SELECT w.shown{values}, w.checksum, w.path FROM {WANTED} WHERE {of}
                     ON CONFLICT ({column}) DO UPDATE SET checksum = excluded.checksum, source_file = excluded.source_file,
                         deployed_at = pg_catalog.now()
                     WHERE (t.checksum, t.source_file) IS DISTINCT FROM (excluded.checksum, excluded.source_file)"
                ),
                &[rows.as_str().into()],
            )
            .map_err(spi)?;
            Spi::run_with_args(
                &format!(
                    "DELETE FROM public._stonescriptdb_gateway_{table} t
                     WHERE NOT EXISTS (SELECT FROM {WANTED} WHERE {of} AND w.shown = t.{column})"
                ),
                &[rows.as_str().into()],
            )
            .map_err(spi)?;
        }
        Ok(())
    })
}

/// Brings the rows of some routines to what the bundle has.
pub(super) fn write_functions(tracked: &[Tracked]) -> Result<(), Failure> {
    let sql = WRITE_FUNCTIONS.replace("{TRACKED_NAME}", TRACKED_NAME).replace("{ARGUMENT_TYPES}", ARGUMENT_TYPES);
    let rows = rows(tracked);
    catalog::under_catalog_settings(|| Spi::run_with_args(&sql, &[rows.into()]).map_err(spi))
}

fn rows(tracked: &[Tracked]) -> String {
    let rows = tracked.iter().map(|tracked| {
        json!({
            "kind": tracked.key.kind.word(), "schema": tracked.key.schema, "name": tracked.key.name,
            "arguments": tracked.key.arguments, "checksum": tracked.checksum, "path": tracked.path,
            "shown": tracked.key.name_for_people(), "is_routine": tracked.key.kind == Kind::Routine,
            "is_table": tracked.key.kind == Kind::Table,
        })
    });
    serde_json::Value::from_iter(rows).to_string()
}

const WANTED: &str = "pg_catalog.jsonb_to_recordset($1::text::pg_catalog.jsonb)
    AS w(kind text, schema text, name text, arguments text, checksum text, path text, shown text, is_routine boolean, is_table boolean)";

const WRITE_FUNCTIONS: &str = "
INSERT INTO public._stonescriptdb_gateway_functions AS t
    (function_name, signature, param_types, return_type, body_checksum, source_file, argument_types)
SELECT {TRACKED_NAME}, p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
       ARRAY(SELECT pg_catalog.format_type(u, NULL) FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY AS a(u, i) ORDER BY i),
       pg_catalog.pg_get_function_result(p.oid), w.checksum, w.path, {ARGUMENT_TYPES}
FROM pg_catalog.jsonb_to_recordset($1::text::pg_catalog.jsonb)
     AS w(schema text, name text, arguments text, checksum text, path text, is_routine boolean)
JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid AND p.proname = w.name
     AND w.arguments = pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.format_type(u, NULL)
         FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY AS a(u, i) ORDER BY i), ', ')
WHERE w.is_routine
ON CONFLICT (function_name, param_types) DO UPDATE SET signature = excluded.signature, return_type = excluded.return_type,
    body_checksum = excluded.body_checksum, source_file = excluded.source_file, deployed_at = pg_catalog.now(),
    argument_types = excluded.argument_types
WHERE (t.signature, t.return_type, t.body_checksum, t.source_file, t.argument_types)
      IS DISTINCT FROM (excluded.signature, excluded.return_type, excluded.body_checksum, excluded.source_file, excluded.argument_types)";

const FORGET_FUNCTIONS: &str = "
DELETE FROM public._stonescriptdb_gateway_functions t
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.jsonb_to_recordset($1::text::pg_catalog.jsonb) AS w(schema text, name text, arguments text, is_routine boolean)
    WHERE w.is_routine AND t.function_name = CASE w.schema WHEN 'public' THEN w.name ELSE w.schema || '.' || w.name END
      AND pg_catalog.array_to_string(t.param_types, ', ') = w.arguments)";

/// A migration counts as applied from the moment its statements ran, in the same transaction.
pub(super) fn write_migration(migration: &Migration) -> Result<(), Failure> {
    Spi::run_with_args(
        "INSERT INTO public._stonescriptdb_gateway_migrations (migration_file, checksum) VALUES ($1, $2)",
        &[migration.file_name.as_str().into(), migration.checksum.as_str().into()],
    )
    .map_err(spi)
}

/// Records the state that the database is in now, the last thing of a deployment's transaction: the bundle, what it declares, the stamp of
/// the catalog, and the catalog's fingerprint where it is known.
pub(super) fn write_state(
    bundle_sha256: &str,
    declared: &BTreeSet<Key>,
    stamp: &Stamp,
    fingerprint: Option<&str>,
    deployment_id: Option<&str>,
) -> Result<(), Failure> {
    let declared = serde_json::to_string(declared).map_err(|error| Failure::internal(error.to_string()))?;
    Spi::run_with_args(
        "INSERT INTO public._stonescriptdb_state (bundle_sha256, stamp, declared, deployment_id, fingerprint)
         VALUES ($1, $2, $3::pg_catalog.jsonb, $4::pg_catalog.uuid, $5)
         ON CONFLICT (single) DO UPDATE SET bundle_sha256 = excluded.bundle_sha256, stamp = excluded.stamp, declared = excluded.declared,
             deployment_id = excluded.deployment_id, fingerprint = excluded.fingerprint, deployed_at = pg_catalog.now()",
        &[bundle_sha256.into(), stamp.hash().into(), declared.into(), deployment_id.into(), fingerprint.into()],
    )
    .map_err(spi)
}

/// As [`write_state`], where the bundle declares what the one before did.
pub(super) fn advance_state(
    bundle_sha256: &str,
    stamp: &Stamp,
    fingerprint: &str,
    deployment_id: Option<&str>,
) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE public._stonescriptdb_state SET bundle_sha256 = $1, stamp = $2, fingerprint = $3, deployment_id = $4::pg_catalog.uuid,
             deployed_at = pg_catalog.now()",
        &[bundle_sha256.into(), stamp.hash().into(), fingerprint.into(), deployment_id.into()],
    )
    .map_err(spi)
}

/// Whether these migrations are recorded as applied, and so many functions as deployed.
pub(super) fn is_complete(migrations: &[Migration], functions: u32) -> Result<bool, Failure> {
    let wanted: Vec<_> = migrations.iter().map(|m| json!({"file_name": m.file_name, "checksum": m.checksum})).collect();
    let complete = Spi::get_one_with_args::<bool>(
        "SELECT (SELECT pg_catalog.count(*) FROM public._stonescriptdb_gateway_functions) = $2
                AND NOT EXISTS (SELECT FROM pg_catalog.jsonb_to_recordset($1::text::pg_catalog.jsonb) AS w(file_name text, checksum text)
                    WHERE NOT EXISTS (SELECT FROM public._stonescriptdb_gateway_migrations m
                                      WHERE m.migration_file = w.file_name AND m.checksum = w.checksum))",
        &[serde_json::Value::from(wanted).to_string().into(), i64::from(functions).into()],
    );
    Ok(complete.map_err(spi)? == Some(true))
}

/// In a copy of a template: what it records as deployed was deployed now, by this deployment.
pub(super) fn date_anew(request: &DeployRequest) -> Result<(), Failure> {
    for (table, column) in [
        ("_stonescriptdb_gateway_migrations", "applied_at"),
        ("_stonescriptdb_gateway_types", "deployed_at"),
        ("_stonescriptdb_gateway_tables", "deployed_at"),
        ("_stonescriptdb_gateway_functions", "deployed_at"),
    ] {
        Spi::run(&format!("UPDATE public.{table} SET {column} = pg_catalog.now()")).map_err(spi)?;
    }
    Spi::run_with_args(
        "UPDATE public._stonescriptdb_state SET deployed_at = pg_catalog.now(), deployment_id = $1::pg_catalog.uuid",
        &[request.deployment_id.as_str().into()],
    )
    .map_err(spi)?;
    Spi::run_with_args(
        "INSERT INTO public._stonescriptdb_gateway_changelog (change_type, object_name, change_detail, forced, deployment_id)
         VALUES ('database_created', pg_catalog.current_database(), pg_catalog.jsonb_build_object('bundle_sha256', $1), $2, $3::pg_catalog.uuid)",
        &[
            request.bundle_sha256.as_str().into(),
            request.options.force.into(),
            request.deployment_id.as_str().into(),
        ],
    )
    .map_err(spi)
}

/// Writes what was done to the changelog, a row per statement.
pub(super) fn write_changelog(request: &DeployRequest, report: &DeployReport) -> Result<(), Failure> {
    let steps = serde_json::to_string(&report.plan).map_err(|error| Failure::internal(error.to_string()))?;
    Spi::run_with_args(
        "INSERT INTO public._stonescriptdb_gateway_changelog (change_type, object_name, change_detail, forced, deployment_id)
         SELECT CASE WHEN step ->> 'migration' IS NULL THEN 'schema_change' ELSE 'migration_applied' END,
                step ->> 'object', step - 'seq' - 'object', $2, $3::pg_catalog.uuid
         FROM pg_catalog.jsonb_array_elements($1::text::pg_catalog.jsonb) WITH ORDINALITY AS s(step, place) ORDER BY place",
        &[steps.into(), request.options.force.into(), request.deployment_id.as_str().into()],
    )
    .map_err(spi)
}
