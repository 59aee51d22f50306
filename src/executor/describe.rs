//! What can be called of the connected database, as an OpenAPI document. It is made here and not in the server worker, where it would hold up
//! others.

use stonescriptdb_openapi::{About, Catalog, document};
use stonescriptdb_protocol::{DescribeRequest, Described, ErrorCode, Failure};

use super::deploy::{ARGUMENT_TYPES, TRACKED_NAME};
use crate::error;
use crate::postgres::{PgError, read_only_transaction, session};

/// Functions that a bundle deployed and that this role may run, with every type that they use.
const QUERY: &str = "
WITH RECURSIVE functions AS MATERIALIZED (
    SELECT p.*, n.nspname,
           CASE WHEN pg_catalog.pg_function_is_visible(p.oid) THEN '' ELSE pg_catalog.quote_ident(n.nspname) || '.' END
           || pg_catalog.quote_ident(p.proname) AS called
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE p.prokind IN ('f', 'p') AND p.prorettype NOT IN ('trigger'::pg_catalog.regtype, 'event_trigger'::pg_catalog.regtype)
      AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
      AND EXISTS (SELECT FROM public._stonescriptdb_gateway_functions t
                  WHERE t.function_name = {TRACKED_NAME} AND t.argument_types = {ARGUMENT_TYPES})),
used (oid) AS (
    SELECT pg_catalog.unnest(f.prorettype || coalesce(f.proallargtypes, f.proargtypes::pg_catalog.oid[])) FROM functions f
    UNION
    SELECT x.oid FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid, LATERAL (
        SELECT t.typbasetype WHERE t.typtype = 'd'
        UNION ALL SELECT t.typelem WHERE t.typcategory = 'A' AND t.typelem <> 0
        UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
                  WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) x(oid))
SELECT pg_catalog.json_build_object(
    'functions', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'schema', f.nspname, 'name', f.proname, 'called', f.called,
        'signature', f.called || '(' || pg_catalog.pg_get_function_arguments(f.oid) || ')', 'is_procedure', f.prokind = 'p',
        'only_reads', f.prokind = 'f' AND f.provolatile <> 'v', 'is_strict', f.proisstrict, 'returns_set', f.proretset,
        'returns', f.prorettype::pg_catalog.int8, 'is_variadic', f.provariadic <> 0,
        'comment', pg_catalog.obj_description(f.oid, 'pg_proc'),
        'arguments', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                'name', f.proargnames[a.place], 'type', a.type::pg_catalog.int8, 'mode', a.mode,
                'has_default', d.sql IS NOT NULL, 'default', d.sql) ORDER BY a.place), '[]')
            FROM (SELECT u.type, u.place::pg_catalog.int4, coalesce(f.proargmodes[u.place], 'i') AS mode
                  FROM pg_catalog.unnest(coalesce(f.proallargtypes, f.proargtypes::pg_catalog.oid[])) WITH ORDINALITY u(type, place)) a,
                 LATERAL (SELECT pg_catalog.pg_get_function_arg_default(f.oid, a.place) AS sql) d))
        ORDER BY f.called, f.oid), '[]') FROM functions f),
    'types', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'oid', t.oid::pg_catalog.int8, 'schema', n.nspname, 'name', t.typname, 'written', pg_catalog.format_type(t.oid, NULL), 'kind', t.typtype,
        'element', CASE WHEN t.typtype = 'b' AND t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem::pg_catalog.int8 END,
        'base', CASE WHEN t.typtype = 'd' THEN t.typbasetype::pg_catalog.int8 END,
        'modifier', CASE WHEN t.typtype = 'd' THEN t.typtypmod END, 'is_not_null', t.typnotnull,
        'checks', (SELECT pg_catalog.json_agg(pg_catalog.pg_get_constraintdef(c.oid) ORDER BY c.conname)
                   FROM pg_catalog.pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c'),
        'labels', (SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
        'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname, 'type', a.atttypid::pg_catalog.int8,
                           'modifier', a.atttypmod,
                           -- From PostgreSQL 18 on one that is NOT VALID is in attnotnull, too.
                           'is_not_null', a.attnotnull AND NOT EXISTS (
                               SELECT FROM pg_catalog.pg_constraint k
                               WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated),
                           'comment', pg_catalog.col_description(a.attrelid, a.attnum)) ORDER BY a.attnum)
                    FROM pg_catalog.pg_attribute a
                    WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
        'casts_to_json', t.oid >= 16384 AND EXISTS (SELECT FROM pg_catalog.pg_cast c WHERE c.castsource = t.oid
                                                    AND c.casttarget = 'json'::pg_catalog.regtype AND c.castmethod = 'f'),
        'comment', coalesce(pg_catalog.obj_description(t.oid, 'pg_type'), pg_catalog.obj_description(nullif(t.typrelid, 0), 'pg_class')))
        ORDER BY t.oid), '[]')
        FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.oid IN (SELECT u.oid FROM used u)))::text
";

/// Describes the connected database.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn run(request: &DescribeRequest) -> Result<Described, Failure> {
    let spi = |error: pgrx::spi::Error| PgError::new("XX000", error.to_string());
    let query = QUERY.replace("{TRACKED_NAME}", TRACKED_NAME).replace("{ARGUMENT_TYPES}", ARGUMENT_TYPES);
    let tracked = "SELECT pg_catalog.to_regclass('public._stonescriptdb_gateway_functions') IS NOT NULL";
    let text = read_only_transaction(|| {
        if pgrx::Spi::get_one::<bool>(tracked).map_err(spi)? != Some(true) {
            return Ok(None);
        }
        // Which functions need their schema in front of them, the search path decides.
        session::with_own_search_path(|| pgrx::Spi::get_one::<String>(&query).map_err(spi))
    })
    .map_err(|error: PgError| Failure::from(error))?;
    let catalog: Catalog = match text {
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| Failure::internal(format!("the catalog of functions does not read: {error}")))?,
        None => Catalog::default(),
    };
    let mut errors: Vec<&str> = ErrorCode::ALL.iter().map(|code| error::outside(*code).name).collect();
    errors.sort_unstable();
    errors.dedup();
    let about = About {
        platform: &request.platform,
        schema: request.schema.as_deref(),
        tenant: &request.tenant,
        version: "",
        needs_token: request.needs_token,
        errors: &errors,
    };
    let tag = fingerprint(&document(&catalog, &about).to_string());
    // The next deployment that changes something gives it another one.
    let document = document(&catalog, &About { version: &tag, ..about }).to_string();
    Ok(Described { tag, document })
}

fn fingerprint(text: &str) -> String {
    use sha2::Digest;
    let hash: [u8; 32] = sha2::Sha256::digest(text).into();
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
