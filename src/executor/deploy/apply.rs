//! Carrying out a plan's statements inside the deployment's transaction.

use std::collections::BTreeSet;
use std::time::Instant;

use pgrx::Spi;
use stonescriptdb_protocol::{ErrorCode, Failure, PlannedStep};
use stonescriptdb_schema::{Hazard, Key, Kind, Model, Stage, Step};

use super::proof::Places;
use super::{catalog, functions, run_statement, spi, step_limits};
use crate::error::from_postgres;
use crate::postgres::{PgError, Script, ScriptError};

/// Runs the steps of the transaction, in order; gives them as they are recorded.
///
/// # Errors
/// `migration_failed` or, for routines and views, `function_deploy_failed`, with the place where the object is defined.
pub(super) fn run(steps: &[Step], places: &Places<'_>) -> Result<Vec<PlannedStep>, Failure> {
    catalog::under_catalog_settings(|| {
        steps
            .iter()
            .filter(|step| step.stage == Stage::Within)
            .map(|step| {
                let begun = Instant::now();
                run_one(&step.sql).map_err(|error| failed(step, error, places))?;
                Ok(PlannedStep { duration_ms: Some(begun.elapsed().as_secs_f64() * 1000.0), ..planned(step) })
            })
            .collect()
    })
}

/// Runs the text of a step.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn run_one(sql: &str) -> Result<(), PgError> {
    let script = Script::parse(sql).map_err(|error: ScriptError| error.error)?;
    script.statements.iter().try_for_each(|statement| run_statement(&script, statement).map_err(|error| error.error))
}

/// Runs a statement that adds an enum value, unless it is there.
///
/// # Errors
/// `migration_failed`.
pub(super) fn run_text(sql: &str) -> Result<(), Failure> {
    let run = || {
        let mut script = Script::parse(sql)?;
        script.make_replace();
        script.statements.iter().try_for_each(|statement| run_statement(&script, statement))
    };
    run().map_err(|error: ScriptError| from_postgres(ErrorCode::MigrationFailed, error.error))
}

/// A step's failure, with the place where its object is defined and the statement that was run.
pub(super) fn failed(step: &Step, error: PgError, places: &Places<'_>) -> Failure {
    let code = match step.object.kind {
        Kind::Routine | Kind::View | Kind::MaterializedView => ErrorCode::FunctionDeployFailed,
        _ => ErrorCode::MigrationFailed,
    };
    let statement = format!("statement of the plan: {}", step.sql);
    let context = match error.context.clone() {
        Some(context) => format!("{context}\n{statement}"),
        None => statement,
    };
    let may_be_anothers = error.sqlstate == "42501" && error.hint.is_none();
    let failure = Failure { context: Some(context), ..from_postgres(code, error) };
    let failure = match may_be_anothers {
        true => failure.hint("The object may belong to another role: stonescriptdb.check names those that do."),
        false => failure,
    };
    match places.find(&step.object) {
        Some(place) => failure.at(&place.path, Some(place.line)),
        None => failure,
    }
}

/// A step as a plan shows it.
pub(super) fn planned(step: &Step) -> PlannedStep {
    let (lock_timeout, statement_timeout) = step_limits();
    PlannedStep {
        seq: 0,
        object: step.object.to_string(),
        class: step.safety.word().to_owned(),
        hazards: step.hazards.iter().map(|hazard: &Hazard| hazard.word().to_owned()).collect(),
        sql: step.sql.clone(),
        transactional: step.stage == Stage::Within,
        lock_timeout,
        statement_timeout,
        migration: None,
        duration_ms: None,
    }
}

/// Has the bodies of the routines that were made just now checked, as CREATE FUNCTION would have done had everything been there that
/// they name.
///
/// # Errors
/// `function_deploy_failed` with file and line.
pub(super) fn validate(steps: &[Step], model: &Model, places: &Places<'_>) -> Result<(), Failure> {
    let made: BTreeSet<&Key> = steps.iter().map(|step| &step.object).filter(|key| key.kind == Kind::Routine).collect();
    let oids: Vec<(&Key, u32)> =
        made.into_iter().filter_map(|key| Some((key, model.get(key)?.notes.address?.object))).collect();
    validate_at(&oids, places)
}

/// As [`validate`], of routines with these OIDs.
///
/// # Errors
/// As [`validate`].
pub(super) fn validate_at(oids: &[(&Key, u32)], places: &Places<'_>) -> Result<(), Failure> {
    if oids.is_empty() {
        return Ok(());
    }
    Spi::run("SET LOCAL check_function_bodies = on").map_err(spi)?;
    let numbers: Vec<i64> = oids.iter().map(|(_, oid)| i64::from(*oid)).collect();
    for ((key, oid), validator) in oids.iter().zip(functions::validators(&numbers)?) {
        let Some(validator) = validator else { continue };
        functions::call_validator(&validator, *oid).map_err(|error| {
            let failure = from_postgres(ErrorCode::FunctionDeployFailed, error);
            match places.find(key) {
                Some(place) => failure.at(&place.path, Some(place.line)),
                None => failure,
            }
        })?;
    }
    Spi::run("SET LOCAL check_function_bodies = off").map_err(spi)
}
