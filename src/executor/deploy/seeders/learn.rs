//! Learning what rows seeders make: they are run twice in the template, in transactions that are rolled back.
//!
//! Any SQL may stand in a seeder. So its rows are not read off its text: they are those that carry the transaction's own number when it
//! has run. A value that differs between the two runs comes from a sequence, a clock or a random number.

use std::collections::{HashMap, HashSet};

use pgrx::Spi;
use serde::Deserialize;
use stonescriptdb_protocol::{ErrorCode, Failure};

use super::{Seed, SeedTable, in_order, run_one};
use crate::executor::deploy::sources::{Source, Sources};
use crate::executor::deploy::{check_deferred, only, spi};
use crate::postgres::{Kind, PgError, quote_identifier, transaction};

/// A row that a seeder made.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    /// By its place among the seeders.
    seeder: usize,
    values: Vec<Option<String>>,
}

/// A table as it is before the seeders run.
#[derive(Deserialize, Clone, Debug)]
struct Table {
    oid: u32,
    schema: String,
    name: String,
    /// The template's.
    database: String,
    columns: Vec<Column>,
    /// Columns of each unique index without a predicate, the primary key first.
    keys: Vec<Vec<String>>,
}

#[derive(Deserialize, Clone, Debug)]
struct Column {
    name: String,
    data_type: String,
    generated: bool,
    has_default: bool,
    /// The default's expression, if evaluating it has no effect.
    default: Option<String>,
}

/// Finds out what each seeder makes. Nothing stays: rows are rolled back, sequences are put back.
///
/// # Errors
/// `seeder_failed` with file and line.
pub(in crate::executor::deploy) fn learn(sources: &Sources) -> Result<Vec<Seed>, Failure> {
    let seeders = in_order(sources);
    if seeders.is_empty() {
        return Ok(Vec::new());
    }
    let tables = transaction(tables)?;
    let sequences = transaction(sequences)?;
    let result = run_twice(&seeders, &tables);
    transaction(|| put_back(&sequences))?;
    let (first, second, defaults) = result?;
    let mut seeds: Vec<Seed> =
        seeders.iter().map(|source| Seed { path: source.path.clone(), tables: Vec::new() }).collect();
    for table in &tables {
        let (Some(once), Some(again)) = (first.get(&table.oid), second.get(&table.oid)) else { continue };
        for (number, (seed, source)) in seeds.iter_mut().zip(&seeders).enumerate() {
            let of_seeder = |rows: &[Row]| -> Vec<Vec<Option<String>>> {
                rows.iter().filter(|row| row.seeder == number).map(|row| row.values.clone()).collect()
            };
            let (once, again) = (of_seeder(once), of_seeder(again));
            if !once.is_empty() {
                seed.tables.push(seed_table(table, source, &once, &again, defaults.get(&table.oid)));
            }
        }
    }
    Ok(seeds)
}

/// A row's place in its table (ctid), and its values.
type PlacedRow = (String, Vec<Option<String>>);
type Rows = HashMap<u32, Vec<Row>>;
/// What each column's default gives, by table.
type Defaults = HashMap<u32, Vec<Option<String>>>;

fn run_twice(seeders: &[&Source], tables: &[Table]) -> Result<(Rows, Rows, Defaults), Failure> {
    let (first, defaults) = run_and_roll_back(seeders, tables)?;
    let (second, _) = run_and_roll_back(seeders, tables)?;
    Ok((first, second, defaults))
}

/// What a run gives; always by way of an error, so that it is rolled back.
enum Seen {
    Rows(Rows, Defaults),
    Failed(Box<Failure>),
}

impl From<PgError> for Seen {
    fn from(error: PgError) -> Seen {
        Seen::Failed(Box::new(error.into()))
    }
}

impl From<Failure> for Seen {
    fn from(failure: Failure) -> Seen {
        Seen::Failed(Box::new(failure))
    }
}

fn run_and_roll_back(seeders: &[&Source], tables: &[Table]) -> Result<(Rows, Defaults), Failure> {
    let seen = transaction(|| -> Result<(), Seen> {
        // From here on the transaction has a number, by which its rows are known.
        Spi::run("SELECT pg_catalog.pg_current_xact_id()").map_err(spi)?;
        let mut makers: HashMap<(u32, String), usize> = HashMap::new();
        let mut last = HashMap::new();
        for (number, source) in seeders.iter().enumerate() {
            run_one(source)?;
            last = HashMap::new();
            for table in tables {
                let rows = made_rows(table)?;
                for (place, _) in &rows {
                    makers.entry((table.oid, place.clone())).or_insert(number);
                }
                if !rows.is_empty() {
                    last.insert(table.oid, rows);
                }
            }
        }
        let paths: Vec<String> = seeders.iter().map(|source| source.path.clone()).collect();
        check_deferred(ErrorCode::SeederFailed, only(&paths))?;
        let defaults = last
            .keys()
            .filter_map(|oid| tables.iter().find(|table| table.oid == *oid))
            .map(|table| Ok((table.oid, default_values(table)?)))
            .collect::<Result<Defaults, Failure>>()?;
        let rows = last
            .into_iter()
            .map(|(oid, rows)| {
                let owned = rows.into_iter().map(|(place, values)| Row {
                    seeder: makers.get(&(oid, place)).copied().unwrap_or_default(),
                    values,
                });
                (oid, owned.collect())
            })
            .collect();
        Err(Seen::Rows(rows, defaults))
    });
    match seen {
        Err(Seen::Rows(rows, defaults)) => Ok((rows, defaults)),
        Err(Seen::Failed(failure)) => Err(*failure),
        Ok(()) => Ok(Default::default()),
    }
}

fn tables() -> Result<Vec<Table>, Failure> {
    json(
        "SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('oid', c.oid::pg_catalog.int8, 'schema', n.nspname,
                'name', c.relname, 'database', pg_catalog.current_database(),
                'columns', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname,
                                'data_type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'generated', a.attgenerated <> '',
                                'has_default', a.atthasdef OR a.attidentity <> '',
                                'default', CASE WHEN d.oid IS NOT NULL AND a.attgenerated = '' AND NOT EXISTS (
                                        SELECT FROM pg_catalog.regexp_matches(d.adbin::text, ':(?:op)?funcid (\\d+)', 'g') m
                                        JOIN pg_catalog.pg_proc p ON p.oid = m[1]::pg_catalog.oid WHERE p.provolatile = 'v')
                                    THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END) ORDER BY a.attnum), '[]')
                            FROM pg_catalog.pg_attribute a
                            LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
                'keys', ARRAY(SELECT pg_catalog.to_json(ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[])
                                      WITH ORDINALITY AS k(attnum, place)
                                  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                                  WHERE k.place <= i.indnkeyatts))
                              FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL
                                AND 0 <> ALL (i.indkey::pg_catalog.int2[]) ORDER BY i.indisprimary DESC, i.indexrelid)) ORDER BY c.oid), '[]')::text
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
           AND NOT (n.nspname = 'public' AND c.relname ~ '^_stonescriptdb_')",
    )
}

/// The rows that carry this transaction's number or a subtransaction's, in the order in which they lie, each with its place.
fn made_rows(table: &Table) -> Result<Vec<PlacedRow>, Failure> {
    let values: Vec<String> =
        table.columns.iter().map(|column| format!("({})::text", quote_identifier(&column.name))).collect();
    json(&format!(
        "SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(ctid::text, ARRAY[{}]::text[]) ORDER BY ctid), '[]')::text
         FROM ONLY {}.{} WHERE pg_catalog.age(xmin) <= 0",
        values.join(", "),
        quote_identifier(&table.schema),
        quote_identifier(&table.name)
    ))
}

fn default_values(table: &Table) -> Result<Vec<Option<String>>, Failure> {
    let values: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let default = column.default.as_deref().unwrap_or("NULL");
            format!("(({default})::{})::text", column.data_type)
        })
        .collect();
    json(&format!("SELECT pg_catalog.to_json(ARRAY[{}]::text[])::text", values.join(", ")))
}

fn seed_table(
    table: &Table,
    source: &Source,
    once: &[Vec<Option<String>>],
    again: &[Vec<Option<String>>],
    defaults: Option<&Vec<Option<String>>>,
) -> SeedTable {
    let named = named_columns(table, source);
    let is_given = |place: usize, column: &Column| {
        let same = once.len() == again.len() && once.iter().zip(again).all(|(a, b)| a.get(place) == b.get(place));
        let default = column.default.as_ref().and(defaults).and_then(|defaults| defaults.get(place));
        let from_default = default.is_some_and(|default| once.iter().all(|row| row.get(place) == Some(default)));
        // The name of the template is not that of a tenant's database.
        let names_it = |row: &Vec<Option<String>>| {
            row.get(place).and_then(Option::as_ref).is_some_and(|value| value.contains(&table.database))
        };
        same && !once.iter().any(names_it) && !column.generated && (named.contains(&column.name) || !from_default)
    };
    let is_complete = table.columns.iter().enumerate().all(|(place, column)| {
        let is_null = || once.iter().all(|row| row.get(place).is_none_or(Option::is_none));
        is_given(place, column) || column.generated || column.has_default || is_null()
    });
    let given: Vec<usize> = table
        .columns
        .iter()
        .enumerate()
        .filter(|(place, column)| is_given(*place, column))
        .map(|(place, _)| place)
        .collect();
    let columns: Vec<(String, String)> = given
        .iter()
        .filter_map(|place| table.columns.get(*place))
        .map(|column| (column.name.clone(), column.data_type.clone()))
        .collect();
    let place_of = |name: &String| columns.iter().position(|(known, _)| known == name);
    let key = table.keys.iter().find_map(|key| key.iter().map(place_of).collect::<Option<Vec<usize>>>());
    let rows: Vec<Vec<Option<String>>> =
        once.iter().map(|row| given.iter().map(|place| row.get(*place).cloned().flatten()).collect()).collect();
    let is_full = |key: &Vec<usize>| {
        !key.is_empty() && rows.iter().all(|row| key.iter().all(|place| row.get(*place).is_some_and(Option::is_some)))
    };
    let key = key.filter(is_full);
    let by_key = key.is_some();
    let identity = key.unwrap_or_else(|| (0..columns.len()).collect());
    SeedTable { schema: table.schema.clone(), name: table.name.clone(), columns, identity, by_key, is_complete, rows }
}

/// The columns that the seeder's INSERTs into a table name.
fn named_columns(table: &Table, source: &Source) -> HashSet<String> {
    let inserts = source.script.statements.iter().filter(|statement| {
        matches!(&statement.kind, Kind::Insert(name) if name.schema == table.schema && name.name == table.name)
    });
    inserts.flat_map(|insert| source.script.inserted_columns(insert)).collect()
}

#[derive(Deserialize)]
struct SequenceState {
    name: String,
    last_value: i64,
    is_called: bool,
}

fn sequences() -> Result<Vec<SequenceState>, Failure> {
    let names: Vec<String> = json(
        "SELECT coalesce(pg_catalog.json_agg(pg_catalog.format('%I.%I', n.nspname, c.relname)), '[]')::text
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
           AND NOT (n.nspname = 'public' AND c.relname ~ '^_stonescriptdb_')
           AND CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'UPDATE') END",
    )?;
    names
        .iter()
        .map(|name| {
            json(&format!(
                "SELECT pg_catalog.json_build_object('name', {}, 'last_value', last_value, 'is_called', is_called)::text FROM {name}",
                pgrx::spi::quote_literal(name)
            ))
        })
        .collect()
}

/// Sequences do not roll back.
fn put_back(states: &[SequenceState]) -> Result<(), Failure> {
    for state in states {
        Spi::run_with_args(
            "SELECT pg_catalog.setval($1::text::pg_catalog.regclass, $2, $3)",
            &[state.name.as_str().into(), state.last_value.into(), state.is_called.into()],
        )
        .map_err(spi)?;
    }
    Ok(())
}

fn json<T: serde::de::DeserializeOwned>(sql: &str) -> Result<T, Failure> {
    let text = Spi::get_one::<String>(sql).map_err(spi)?.unwrap_or_default();
    serde_json::from_str(&text).map_err(|error| Failure::internal(format!("the rows of a seeder do not read: {error}")))
}
