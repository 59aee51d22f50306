//! Migrations: run once each, in the order of their file names.

use stonescriptdb_bundle::Kind as FileKind;
use stonescriptdb_protocol::{ErrorCode, Failure};

use super::sources::{self, Source, Sources};
use super::{Deployment, tracking};
use crate::postgres::session::with_settings_restored;
use crate::postgres::{Kind, ScriptError, Statement, subtransaction};

/// The migrations that were not applied yet, by their place in [`Sources::files`], in order.
///
/// # Errors
/// `migration_changed` if an applied one has other bytes now.
pub(super) fn pending(deployment: &Deployment, sources: &Sources) -> Result<Vec<usize>, Failure> {
    let mut pending = Vec::new();
    for (index, source) in sources.files.iter().enumerate().filter(|(_, source)| source.kind == FileKind::Migration) {
        match deployment.tracked.migrations.get(&source.file_name) {
            None => pending.push(index),
            Some(applied) if *applied == source.raw_checksum => {}
            Some(_) => {
                return Err(Failure::new(
                    ErrorCode::MigrationChanged,
                    format!("the migration \"{}\" was applied and has been changed since", source.file_name),
                )
                .at(&source.path, None)
                .hint("Put it back as it was, and write what is to change into a new migration."));
            }
        }
    }
    pending.sort_by(|a, b| name(sources, *a).cmp(&name(sources, *b)));
    Ok(pending)
}

fn name(sources: &Sources, index: usize) -> Option<&str> {
    sources.files.get(index).map(|source| source.file_name.as_str())
}

/// Runs them. On a fresh database what is declared has been made already, in the form that the migrations lead to: a statement that finds its
/// work done counts as satisfied.
///
/// # Errors
/// `migration_failed` with file and line.
pub(super) fn run(deployment: &mut Deployment, sources: &Sources, pending: &[usize]) -> Result<(), Failure> {
    let lenient = deployment.request.fresh && !sources.units.is_empty();
    for source in pending.iter().filter_map(|index| sources.files.get(*index)) {
        let satisfied = with_settings_restored(|| run_file(source, lenient))?;
        tracking::write_migration(&source.file_name, &source.raw_checksum)?;
        deployment.report.migrations_applied += 1;
        let detail = serde_json::json!({"file": source.path, "statements": source.script.statements.len(), "satisfied": satisfied});
        deployment.log("migration_applied", &source.file_name, detail);
    }
    Ok(())
}

/// Gives the number of statements that found their work done.
fn run_file(source: &Source, lenient: bool) -> Result<u32, Failure> {
    let mut satisfied = 0;
    for statement in &source.script.statements {
        // A setting is undone with the subtransaction that it is made in only if that fails.
        let result = if lenient {
            subtransaction(|| source.script.run(statement).map(drop))
        } else {
            source.script.run(statement).map(drop)
        };
        match result {
            Ok(()) => {}
            Err(error) if lenient && is_satisfied(statement, &error) => satisfied += 1,
            Err(error) => return Err(failed(source, error)),
        }
    }
    Ok(satisfied)
}

/// Whether an error says no more than that the wanted form is there: an object that is to be added exists, one that is to be removed or
/// renamed does not.
fn is_satisfied(statement: &Statement, error: &ScriptError) -> bool {
    let sqlstate = error.error.sqlstate.as_str();
    let exists = matches!(sqlstate, "42701" | "42P07" | "42710" | "42P06" | "42723" | "42P16");
    let is_gone = matches!(sqlstate, "42703" | "42P01" | "42704" | "42883");
    match statement.kind {
        Kind::Removal => is_gone || exists,
        Kind::Insert(_) | Kind::Other | Kind::Set => false,
        _ => exists,
    }
}

fn failed(source: &Source, error: ScriptError) -> Failure {
    sources::failure(ErrorCode::MigrationFailed, error, &source.path)
}
