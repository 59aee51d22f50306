//! Single routines as the catalog has them, without the rest of it.

use pgrx::Spi;
use serde::Deserialize;
use serde_json::json;
use stonescriptdb_protocol::Failure;
use stonescriptdb_schema::{Key, routine_definition};

use super::spi;

/// A function or procedure whose body is a text.
#[derive(Deserialize)]
pub(super) struct Row {
    place: usize,
    pub(super) oid: u32,
    /// As a model has it.
    pub(super) definition: String,
    /// All else that its row says and what it depends on, as one text.
    pub(super) others: String,
    /// What the row adds to the stamp of the catalog.
    hash: i64,
}

/// Reads the routines with these keys, in their order; inside a transaction and under the catalog's settings. `None`: one of them is not
/// there, or has no body of text.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn read<'k>(keys: impl Iterator<Item = &'k Key>) -> Result<Option<Vec<Row>>, Failure> {
    let wanted: Vec<_> = keys
        .enumerate()
        .map(|(place, key)| json!({"place": place, "schema": key.schema, "name": key.name, "arguments": key.arguments}))
        .collect();
    let count = wanted.len();
    let wanted = serde_json::Value::from(wanted).to_string();
    let found = Spi::get_one_with_args::<String>(ROWS, &[wanted.into()]).map_err(spi)?.unwrap_or_default();
    let mut rows: Vec<Row> =
        serde_json::from_str(&found).map_err(|error| Failure::internal(format!("a routine does not read: {error}")))?;
    rows.sort_unstable_by_key(|row| row.place);
    rows.iter_mut().for_each(|row| row.definition = routine_definition(std::mem::take(&mut row.definition)));
    Ok((rows.len() == count).then_some(rows))
}

/// What the rows add to the stamp.
pub(super) fn sum(rows: &[Row]) -> i128 {
    rows.iter().map(|row| i128::from(row.hash)).sum()
}

/// The parse tree of defaults holds places in the statement that made them, so of them the text counts.
const ROWS: &str = "
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'place', w.place, 'oid', p.oid::pg_catalog.int8, 'definition', pg_catalog.pg_get_functiondef(p.oid),
    'others', pg_catalog.concat_ws(E'\\n',
        pg_catalog.to_jsonb(p) - 'prosrc'::text - 'proargdefaults'::text,
        pg_catalog.pg_get_function_arguments(p.oid),
        (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', d.refclassid, d.refobjid, d.refobjsubid, d.deptype), ','
                    ORDER BY d.refclassid, d.refobjid, d.refobjsubid, d.deptype)
         FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid)),
    'hash', pg_catalog.hash_record_extended(ROW(p.oid, p.xmin), 0))), '[]')::text
FROM pg_catalog.jsonb_to_recordset($1::text::pg_catalog.jsonb) AS w(place int, schema name, name name, arguments text)
JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid AND p.proname = w.name AND pg_catalog.oidvectortypes(p.proargtypes) = w.arguments
WHERE p.prokind <> 'a' AND p.prosqlbody IS NULL";
