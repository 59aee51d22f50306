//! Seeders: what rows they make is learned in the template; they run into empty tables, and elsewhere their rows must be there.

mod learn;
mod rows;

use serde::{Deserialize, Serialize};
use stonescriptdb_bundle::{Bundle, Kind as FileKind};
use stonescriptdb_protocol::{
    DeployMode, DeployReport, DeployRequest, ErrorCode, Failure, MissingRows, SeederCheck, SeederRows, Start,
};
use stonescriptdb_schema::{Class, ObjectName};

use super::build::failed;
use super::run_statement;
use super::sources::{Source, Sources};
use crate::postgres::Kind;
use crate::postgres::session::with_settings_restored;

pub(super) use learn::learn;

/// What one seeder makes.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(super) struct Seed {
    pub(super) path: String,
    pub(super) tables: Vec<SeedTable>,
}

/// The rows that a seeder makes in one table.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(super) struct SeedTable {
    schema: String,
    name: String,
    /// Columns with their types, as `rows` has them: those whose values the seeder gives.
    columns: Vec<(String, String)>,
    /// By which of them a row is known, by place in `columns`; empty where none can be.
    identity: Vec<usize>,
    /// These are a primary key or unique constraint, and none of the values is null.
    by_key: bool,
    /// What `columns` leaves out comes from defaults: the rows can be made again without the seeder.
    is_complete: bool,
    /// Each value as text.
    rows: Vec<Vec<Option<String>>>,
}

impl SeedTable {
    fn object(&self) -> ObjectName {
        ObjectName::new(Class::Relation, Some(self.schema.clone()), self.name.clone())
    }
}

/// Reads what [`to_json`] wrote.
pub(super) fn from_json(text: &str) -> Result<Vec<Seed>, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::internal(format!("the seeds do not read: {error}")))
}

pub(super) fn to_json(seeds: &[Seed]) -> Result<String, Failure> {
    serde_json::to_string(seeds).map_err(|error| Failure::internal(error.to_string()))
}

/// The seeders, those first whose tables others refer to: in the order in which the tables are made, and by name where that says nothing.
pub(super) fn in_order(sources: &Sources) -> Vec<&Source> {
    let made = |table: &ObjectName| {
        sources
            .units
            .iter()
            .position(|unit| sources.get(*unit).is_some_and(|(_, s)| s.kind == Kind::Table(table.clone())))
    };
    let mut seeders: Vec<&Source> = sources.of_kind(FileKind::Seeder).collect();
    seeders.sort_by_cached_key(|source| targets(source).iter().map(made).max().flatten());
    seeders
}

/// The tables that a seeder's own statements insert into.
fn targets(source: &Source) -> Vec<ObjectName> {
    let named = source.script.statements.iter().filter_map(|statement| match &statement.kind {
        Kind::Insert(table) => Some(table.clone()),
        _ => None,
    });
    named.collect()
}

/// Runs one seeder, statement by statement.
///
/// # Errors
/// `seeder_failed` with file and line.
fn run_one(source: &Source) -> Result<(), Failure> {
    with_settings_restored(|| {
        source
            .script
            .statements
            .iter()
            .try_for_each(|statement| run_statement(&source.script, statement).map_err(|error| failed(source, error)))
    })
}

/// What a deployment knows when it comes to the seeders.
pub(super) struct Seeding<'a> {
    pub(super) request: &'a DeployRequest,
    pub(super) seeds: &'a [Seed],
    /// Tables that this deployment made.
    pub(super) created: &'a dyn Fn(&ObjectName) -> bool,
    /// The bundle, where it is at hand.
    pub(super) bundle: Option<&'a Bundle>,
}

/// Runs or checks every seeder; gives the paths of those that ran.
///
/// # Errors
/// `seeder_failed` with file and line; `verification_failed` with the missing rows on migrate, unless forced.
pub(super) fn run(seeding: &Seeding<'_>, report: &mut DeployReport) -> Result<Vec<String>, Failure> {
    let mut wanted = Vec::new();
    for seed in seeding.seeds {
        if must_run(seeding, seed)? {
            wanted.push(seed);
        } else {
            look(seeding, seed, report)?;
        }
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let ran = wanted.iter().map(|seed| seed.path.clone()).collect();
    let Some(bundle) = seeding.bundle else { return Err(Failure::internal("seeders are to run without a bundle")) };
    let sources = Sources::read_kinds(bundle, &[FileKind::Seeder])?;
    for seed in wanted {
        let source = sources.files.iter().find(|source| source.path == seed.path);
        let source = source.ok_or_else(|| Failure::internal("a seeder of the proof is not in the bundle"))?;
        run_one(source)?;
        for table in &seed.tables {
            report.seeders.push(SeederRows {
                table: table.object().display(),
                inserted: table.rows.len() as u64,
                skipped: 0,
            });
        }
        report.verification.seeders_verified += 1;
    }
    Ok(ran)
}

/// Whether any seeder would run: then the bundle is needed.
pub(super) fn would_run(seeding: &Seeding<'_>) -> Result<bool, Failure> {
    for seed in seeding.seeds {
        if must_run(seeding, seed)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// In a new database always; on register where its tables are empty; on migrate only where one of them was made just now.
fn must_run(seeding: &Seeding<'_>, seed: &Seed) -> Result<bool, Failure> {
    if seeding.request.start != Start::Existing {
        return Ok(true);
    }
    if seed.tables.is_empty() {
        return Ok(false);
    }
    let made_now = seed.tables.iter().any(|table| (seeding.created)(&table.object()));
    if seeding.request.mode == DeployMode::Migrate && !made_now {
        return Ok(false);
    }
    for table in &seed.tables {
        if rows::has_any(&table.object())? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Looks for the rows of a seeder that does not run.
fn look(seeding: &Seeding<'_>, seed: &Seed, report: &mut DeployReport) -> Result<(), Failure> {
    let mut complete = true;
    for table in &seed.tables {
        if seeding.request.mode == DeployMode::Register {
            let skipped = rows::count(&table.object())?;
            report.seeders.push(SeederRows { table: table.object().display(), inserted: 0, skipped });
            continue;
        }
        if table.identity.is_empty() {
            report.warnings.push(format!(
                "{}: no value that it gives in {} is the same each time, and its rows were not looked for",
                seed.path,
                table.object().display()
            ));
            continue;
        }
        let missing = rows::missing(table)?;
        let expected = table.rows.len() as u64;
        let found = expected.saturating_sub(missing.len() as u64);
        let check = SeederCheck { table: table.object().display(), expected, found };
        if missing.is_empty() {
            report.seeder_validations.push(check);
            continue;
        }
        let message = format!(
            "{} of the {expected} rows that {} makes are missing in {}",
            missing.len(),
            seed.path,
            table.object().display()
        );
        if seeding.request.options.seeders == MissingRows::Insert && seeding.request.options.dry_run {
            report.warnings.push(format!("{message}: they would be inserted"));
            report.seeder_validations.push(check);
            continue;
        }
        if seeding.request.options.seeders == MissingRows::Insert {
            if !table.is_complete {
                return Err(Failure::new(ErrorCode::SeederFailed, format!("{message}, and cannot be inserted"))
                    .detail("The seeder gives values that are different each time, in columns that have no default.")
                    .hint("Insert them with a migration.")
                    .at(&seed.path, None));
            }
            rows::insert(table, &missing)
                .map_err(|error| crate::error::from_postgres(ErrorCode::SeederFailed, error).at(&seed.path, None))?;
            report.seeders.push(SeederRows {
                table: check.table.clone(),
                inserted: missing.len() as u64,
                skipped: found,
            });
            report.seeder_validations.push(SeederCheck { found: expected, ..check });
            continue;
        }
        complete = false;
        let list = rows::shown(table, &missing);
        report.seeder_validations.push(check);
        if !seeding.request.options.force {
            return Err(Failure::new(ErrorCode::VerificationFailed, message)
                .detail(format!("Missing: {list}"))
                .hint("Insert them with a migration, ask for seeders=insert_missing, or force the deployment.")
                .at(&seed.path, None));
        }
        report.warnings.push(format!("{message}: {list}"));
    }
    if complete {
        report.verification.seeders_verified += 1;
    }
    Ok(())
}
