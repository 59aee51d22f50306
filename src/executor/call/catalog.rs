//! Functions of a name, as the catalog has them.

use pgrx::pg_sys;
use serde::Deserialize;
use stonescriptdb_protocol::{ErrorCode, Failure};

use crate::executor::deploy::{ARGUMENT_TYPES, TRACKED_NAME};
use crate::kept;
use crate::postgres::{identifiers, invalidation, session, with_new_snapshot};

/// A function or procedure.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// CALL rather than SELECT.
    pub(super) is_procedure: bool,
    /// A bundle deployed it.
    pub(super) deployed: bool,
    /// It returns `trigger` or `event_trigger`: PostgreSQL alone can call it.
    pub(super) is_trigger: bool,
    /// All parameters in order, OUT ones too.
    pub(super) parameters: Vec<Parameter>,
    /// How many of the last input parameters have defaults.
    pub(super) defaults: usize,
    /// The type of the elements if the last input parameter is VARIADIC.
    pub(super) variadic: Option<pg_sys::Oid>,
    /// It is VOLATILE: it may write.
    pub(super) is_volatile: bool,
    /// Its own statement_timeout in milliseconds, if it was given one by SET; 0 is no limit.
    pub(super) timeout_ms: Option<u32>,
    /// Why no answer can be made of what it returns.
    pub(super) unanswerable: Option<Unanswerable>,
    /// As a person writes it, for messages.
    pub(super) signature: String,
}

#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub(super) name: Option<String>,
    pub(super) type_oid: pg_sys::Oid,
    pub(super) is_input: bool,
}

/// A result that no answer can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswerable {
    /// A cursor: its rows can be had only within the transaction of the call.
    Cursor,
    /// `record`, without columns: SQL asks the caller for them.
    Record,
}

impl Function {
    pub(super) fn inputs(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|parameter| parameter.is_input)
    }
}

#[derive(Deserialize)]
struct Row {
    oid: u32,
    schema: String,
    name: String,
    kind: String,
    returns: String,
    types: Vec<u32>,
    all_types: Option<Vec<u32>>,
    modes: Option<Vec<String>>,
    names: Option<Vec<Option<String>>>,
    defaults: usize,
    variadic: u32,
    signature: String,
    volatility: String,
    timeout: Option<String>,
    relations: Vec<u32>,
    deployed: bool,
}

/// $1 name, $2 schema or NULL: then the search path decides, as it does for any unqualified name. The tracking table says which of them
/// a bundle deployed; types are compared by schema and name, which survive a restore where OIDs do not.
fn query() -> String {
    format!("
SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
    'oid', p.oid::pg_catalog.int8, 'schema', n.nspname, 'name', p.proname, 'kind', p.prokind,
    'returns', p.prorettype::pg_catalog.regtype, 'defaults', p.pronargdefaults, 'variadic', p.provariadic::pg_catalog.int8,
    'types', ARRAY(SELECT u::pg_catalog.int8 FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY AS a(u, i) ORDER BY i),
    'all_types', p.proallargtypes::pg_catalog.int8[], 'modes', p.proargmodes, 'names', p.proargnames,
    'relations', ARRAY(SELECT ty.typrelid::pg_catalog.int8 FROM pg_catalog.pg_type ty WHERE ty.typrelid <> 0
                       AND ty.oid = ANY (p.prorettype || p.proargtypes::pg_catalog.oid[])),
    'signature', p.proname || '(' || COALESCE(pg_catalog.pg_get_function_arguments(p.oid), '') || ')',
    'volatility', p.provolatile,
    'timeout', (SELECT pg_catalog.split_part(c, '=', 2) FROM pg_catalog.unnest(p.proconfig) c WHERE c LIKE 'statement\\_timeout=%'),
    'deployed', EXISTS (SELECT FROM public._stonescriptdb_gateway_functions t
                        WHERE t.function_name = {TRACKED_NAME}
                          AND t.argument_types = {ARGUMENT_TYPES}))
    ORDER BY p.oid)::pg_catalog.text
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.proname = $1 AND (n.nspname = $2 OR ($2 IS NULL AND n.nspname = ANY (pg_catalog.current_schemas(true))))")
}

/// Bytes of a schema and a function, both quoted, every byte a doubled quote.
const MAX_NAME: usize = 2 * (2 * 63 + 2) + 1;

/// The functions that a name can mean, deployed or not.
///
/// # Errors
/// `invalid_request` for what is no name.
pub(super) fn functions(name: &str) -> Result<Vec<Function>, Failure> {
    if name.len() > MAX_NAME {
        return Err(no_name(name));
    }
    let mut parts = identifiers(name).map_err(|_| no_name(name))?;
    let function = parts.pop().ok_or_else(|| no_name(name))?;
    let schema = parts.pop();
    if !parts.is_empty() {
        return Err(no_name(name));
    }
    let tracked = kept::look::<bool>(
        "SELECT pg_catalog.to_regclass('public._stonescriptdb_gateway_functions') IS NOT NULL",
        &[],
    )?;
    if tracked != Some(true) {
        return Ok(Vec::new());
    }
    // An earlier call of a batch may have set another search_path; what is found is remembered for others.
    let text = session::with_own_search_path(|| {
        with_new_snapshot(|| kept::look::<String>(&query(), &[function.into(), schema.into()]))
    })?;
    let rows: Vec<Row> = match text {
        Some(text) => {
            serde_json::from_str(&text).map_err(|_| Failure::internal("the catalog of functions does not read"))?
        }
        None => Vec::new(),
    };
    rows.iter()
        .flat_map(|row| &row.relations)
        .for_each(|relation| invalidation::watch_relation(pg_sys::Oid::from(*relation)));
    Ok(rows.into_iter().map(function_of).collect())
}

fn no_name(name: &str) -> Failure {
    Failure::new(
        ErrorCode::InvalidRequest,
        format!("\"{}\" is not the name of a function", name.chars().take(64).collect::<String>()),
    )
}

fn function_of(row: Row) -> Function {
    let unanswerable = unanswerable(&row);
    let Row { types, all_types, modes, names, .. } = row;
    let types = all_types.unwrap_or(types);
    let names = names.unwrap_or_default();
    let parameters = types
        .iter()
        .enumerate()
        .map(|(index, type_oid)| Parameter {
            name: names.get(index).cloned().flatten().filter(|name| !name.is_empty()),
            type_oid: pg_sys::Oid::from(*type_oid),
            is_input: modes
                .as_ref()
                .is_none_or(|modes| modes.get(index).is_none_or(|mode| matches!(mode.as_str(), "i" | "b" | "v"))),
        })
        .collect();
    Function {
        oid: row.oid,
        schema: row.schema,
        name: row.name,
        is_procedure: row.kind == "p",
        deployed: row.deployed && matches!(row.kind.as_str(), "f" | "p"),
        is_trigger: matches!(row.returns.as_str(), "trigger" | "event_trigger"),
        parameters,
        defaults: row.defaults,
        variadic: (row.variadic != 0).then(|| pg_sys::Oid::from(row.variadic)),
        is_volatile: row.volatility == "v" || row.kind == "p",
        timeout_ms: row.timeout.as_deref().and_then(session::milliseconds_of),
        unanswerable,
        signature: row.signature,
    }
}

fn unanswerable(row: &Row) -> Option<Unanswerable> {
    let modes = row.modes.iter().flatten();
    let outputs: Vec<u32> = row
        .all_types
        .iter()
        .flatten()
        .zip(modes)
        .filter_map(|(type_oid, mode)| matches!(mode.as_str(), "o" | "b" | "t").then_some(*type_oid))
        .collect();
    if row.returns.trim_end_matches("[]") == "refcursor" || outputs.contains(&pg_sys::REFCURSOROID.to_u32()) {
        return Some(Unanswerable::Cursor);
    }
    // A procedure's result is always a record, of its OUT parameters.
    (row.kind == "f" && row.returns == "record" && outputs.len() < 2).then_some(Unanswerable::Record)
}
