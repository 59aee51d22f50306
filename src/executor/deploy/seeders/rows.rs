//! Rows of seeders in a tenant's tables.

use pgrx::Spi;
use stonescriptdb_protocol::Failure;
use stonescriptdb_schema::ObjectName;

use super::SeedTable;
use crate::executor::deploy::{quoted, relation_exists, spi};
use crate::postgres::{PgError, catch, quote_identifier};

/// So many missing rows are shown.
const SHOWN: usize = 20;

pub(super) fn has_any(table: &ObjectName) -> Result<bool, Failure> {
    if !relation_exists(table)? {
        return Ok(false);
    }
    let any = Spi::get_one::<bool>(&format!("SELECT EXISTS (SELECT FROM {})", quoted(table))).map_err(spi)?;
    Ok(any == Some(true))
}

pub(super) fn count(table: &ObjectName) -> Result<u64, Failure> {
    if !relation_exists(table)? {
        return Ok(0);
    }
    let rows = Spi::get_one::<i64>(&format!("SELECT pg_catalog.count(*) FROM {}", quoted(table))).map_err(spi)?;
    Ok(u64::try_from(rows.unwrap_or(0)).unwrap_or(0))
}

/// The rows of a seeder that are not there, by their places. Two rows that are alike want two.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn missing(table: &SeedTable) -> Result<Vec<usize>, Failure> {
    let columns: Vec<&(String, String)> = table.identity.iter().filter_map(|place| table.columns.get(*place)).collect();
    let wanted: Vec<Vec<&Option<String>>> =
        table.rows.iter().map(|row| table.identity.iter().filter_map(|place| row.get(*place)).collect()).collect();
    let json = serde_json::to_string(&wanted).map_err(|error| Failure::internal(error.to_string()))?;
    let target = quoted(&table.object());
    let list = |part: &dyn Fn(usize, &str, &str) -> String, separator: &str| {
        let parts: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(place, (name, data_type))| part(place, &quote_identifier(name), data_type))
            .collect();
        parts.join(separator)
    };
    let not_there = if table.by_key {
        // By the key's index, however many rows there are.
        let same = list(&|place, name, data_type| format!("r.{name} = (w.row ->> {place})::{data_type}"), " AND ");
        format!("FROM wanted w WHERE NOT EXISTS (SELECT FROM {target} r WHERE {same})")
    } else {
        // One pass over the table, in which each value counts as its text: not every type has an equality.
        let have = list(&|_, name, _| format!("(r.{name})::text"), ", ");
        let want = list(&|place, _, _| format!("w.row ->> {place}"), ", ");
        format!(
            "FROM wanted w LEFT JOIN (SELECT ARRAY[{have}] AS row, pg_catalog.count(*) AS rows FROM {target} r GROUP BY 1) have
             ON have.row = ARRAY[{want}] WHERE coalesce(have.rows, 0) < w.twin"
        )
    };
    let sql = format!(
        "WITH wanted AS (SELECT row, place, pg_catalog.row_number() OVER (PARTITION BY row ORDER BY place) AS twin
                         FROM pg_catalog.jsonb_array_elements($1::text::pg_catalog.jsonb) WITH ORDINALITY AS w(row, place))
         SELECT ARRAY(SELECT w.place {not_there} ORDER BY w.place)"
    );
    let places = Spi::get_one_with_args::<Vec<Option<i64>>>(&sql, &[json.into()]).map_err(spi)?.unwrap_or_default();
    Ok(places.into_iter().flatten().filter_map(|place| usize::try_from(place - 1).ok()).collect())
}

/// Inserts rows with the values that the seeder gives; all others are the columns' defaults.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn insert(table: &SeedTable, rows: &[usize]) -> Result<(), PgError> {
    let names: Vec<String> = table.columns.iter().map(|(name, _)| quote_identifier(name)).collect();
    let values: Vec<String> = table
        .columns
        .iter()
        .enumerate()
        .map(|(place, (_, data_type))| format!("(w.row ->> {place})::{data_type}"))
        .collect();
    let wanted: Vec<&Vec<Option<String>>> = rows.iter().filter_map(|row| table.rows.get(*row)).collect();
    let json = serde_json::to_string(&wanted).map_err(|error| PgError::new("XX000", error.to_string()))?;
    let sql = format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {}
         FROM pg_catalog.jsonb_array_elements($1::text::pg_catalog.jsonb) WITH ORDINALITY AS w(row, place) ORDER BY w.place",
        quoted(&table.object()),
        names.join(", "),
        values.join(", ")
    );
    catch(|| Spi::run_with_args(&sql, &[json.into()]))?.map_err(|error| PgError::new("XX000", error.to_string()))
}

/// Rows for people: `(1, EUR), (2, null)`.
pub(super) fn shown(table: &SeedTable, rows: &[usize]) -> String {
    let mut list: Vec<String> = rows
        .iter()
        .take(SHOWN)
        .filter_map(|row| table.rows.get(*row))
        .map(|row| {
            let values: Vec<&str> = row.iter().map(|value| value.as_deref().unwrap_or("null")).collect();
            format!("({})", values.join(","))
        })
        .collect();
    if rows.len() > SHOWN {
        list.push(format!("and {} more", rows.len() - SHOWN));
    }
    list.join(", ")
}
