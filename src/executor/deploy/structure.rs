//! Types, tables, functions and views, in the order that their needs dictate.

use std::collections::HashSet;

use stonescriptdb_bundle::Kind as FileKind;
use stonescriptdb_protocol::{ErrorCode, Failure};
use stonescriptdb_schema::{Class, ObjectName};

use super::sources::{self, Source, Sources, Unit};
use super::{Deployment, functions, relation_exists, tables, types, views};
use crate::postgres::session::with_settings_restored;
use crate::postgres::{Kind, ScriptError, Statement, subtransaction};

/// What is made before the pending migrations: on a fresh database everything that none of them makes and that does not need what they
/// make; on a grown one only new types, which migrations may want to use.
///
/// # Errors
/// Those of the statements.
pub(super) fn before_migrations(
    deployment: &mut Deployment,
    sources: &Sources,
    pending: &[usize],
) -> Result<(), Failure> {
    let made_by_migrations: HashSet<&ObjectName> = pending
        .iter()
        .filter_map(|index| sources.files.get(*index))
        .flat_map(|source| &source.script.statements)
        .filter(|statement| makes_structure(statement))
        .flat_map(|statement| &statement.facts.provides)
        .collect();
    let later: HashSet<(usize, usize)> = sources
        .later(|statement| {
            makes_structure(statement) && statement.facts.provides.iter().any(|name| made_by_migrations.contains(name))
        })
        .into_iter()
        .map(|unit| (unit.source, unit.statement))
        .collect();
    let fresh = deployment.request.fresh;
    let now: Vec<Unit> =
        sources.units.iter().filter(|unit| !later.contains(&(unit.source, unit.statement))).copied().collect();
    let now = if fresh || pending.is_empty() { now } else { new_types(sources, now)? };
    apply(deployment, sources, &now)
}

/// Of these, the types that are not there. One that is there may be what a migration is about to change.
fn new_types(sources: &Sources, units: Vec<Unit>) -> Result<Vec<Unit>, Failure> {
    let mut new = Vec::new();
    for unit in units {
        if let Some((_, Statement { kind: Kind::Type(name), .. })) = sources.get(unit)
            && !types::exists(name)?
        {
            new.push(unit);
        }
    }
    Ok(new)
}

/// A table, type, sequence or schema. An index touches a table: the one in tables/ comes with its table, and a migration that makes it too
/// finds it there.
fn makes_structure(statement: &Statement) -> bool {
    matches!(statement.kind, Kind::Table(_) | Kind::Type(_) | Kind::Ddl) && statement.facts.touches.is_none()
}

/// Everything else. A statement is never run twice: what the first part did is known.
///
/// # Errors
/// Those of the statements.
pub(super) fn after_migrations(deployment: &mut Deployment, sources: &Sources) -> Result<(), Failure> {
    let done = std::mem::take(&mut deployment.done);
    let rest: Vec<Unit> =
        sources.units.iter().filter(|unit| !done.contains(&(unit.source, unit.statement))).copied().collect();
    deployment.done = done;
    apply(deployment, sources, &rest)?;
    for source in sources.files.iter().filter(|source| is_tracked_by_file(source)) {
        if deployment.file_state(source) != FileState::Unchanged {
            deployment.tracked.new_files.push((source.path.clone(), source.checksum.clone()));
        }
    }
    Ok(())
}

fn is_tracked_by_file(source: &Source) -> bool {
    matches!(source.kind, FileKind::Type | FileKind::Table | FileKind::View | FileKind::Function)
}

/// Whether a file was deployed as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FileState {
    New,
    Changed,
    Unchanged,
}

impl Deployment<'_> {
    pub(super) fn file_state(&self, source: &Source) -> FileState {
        match self.tracked.files.get(&source.path) {
            None => FileState::New,
            Some(checksum) if *checksum == source.checksum => FileState::Unchanged,
            Some(_) => FileState::Changed,
        }
    }
}

fn apply(deployment: &mut Deployment, sources: &Sources, units: &[Unit]) -> Result<(), Failure> {
    let mut keys = tables::LaterKeys::default();
    for unit in units {
        let Some((source, statement)) = sources.get(*unit) else { continue };
        let settings: Vec<&Statement> =
            source.script.statements.iter().take(unit.statement).filter(|before| before.kind == Kind::Set).collect();
        if settings.is_empty() {
            one(deployment, sources, source, statement, &mut keys)?;
        } else {
            with_settings_restored(|| {
                settings
                    .iter()
                    .try_for_each(|set| source.script.run(set).map(drop).map_err(|error| failed(source, error)))?;
                one(deployment, sources, source, statement, &mut keys)
            })?;
        }
        deployment.done.insert((unit.source, unit.statement));
    }
    keys.add()
}

/// A sequence or materialized view that exists.
fn makes_what_is_there(statement: &Statement) -> Result<bool, Failure> {
    for name in statement.facts.provides.iter().filter(|name| name.class == Class::Relation) {
        if relation_exists(name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn one<'s>(
    deployment: &mut Deployment,
    sources: &'s Sources,
    source: &'s Source,
    statement: &'s Statement,
    keys: &mut tables::LaterKeys<'s>,
) -> Result<(), Failure> {
    match &statement.kind {
        Kind::Function => functions::deploy(deployment, source, statement),
        Kind::View(name) => views::deploy(deployment, sources, source, statement, name),
        Kind::Type(name) => types::deploy(deployment, source, statement, name),
        Kind::Table(name) => tables::deploy(deployment, source, statement, name, keys),
        // It runs before every statement behind it.
        Kind::Set => Ok(()),
        _ => other(deployment, source, statement),
    }
}

/// Statements beside the objects: indexes, triggers, comments, grants, constraints. They run when their file is new or changed; in a file
/// whose objects were there before, one whose object exists already is passed over with a warning, for it was not compared.
fn other(deployment: &mut Deployment, source: &Source, statement: &Statement) -> Result<(), Failure> {
    if deployment.file_state(source) == FileState::Unchanged && !deployment.touched_files.contains(&source.path) {
        return Ok(());
    }
    let is_there = statement.facts.touches.is_none() && makes_what_is_there(statement)?;
    if !is_there && !deployment.grown_files.contains(&source.path) {
        return source.script.run(statement).map(drop).map_err(|error| failed(source, error));
    }
    if matches!(statement.kind, Kind::Insert(_) | Kind::Other) {
        return Ok(());
    }
    match subtransaction(|| source.script.run(statement).map(drop)) {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.error.sqlstate.as_str(), "42P07" | "42710" | "42701" | "42P16") => {
            deployment.report.warnings.push(format!(
                "{}:{}: what this statement makes exists already and was left as it is",
                source.path, statement.line
            ));
            Ok(())
        }
        Err(error) => Err(failed(source, error)),
    }
}

/// A statement's failure under the code of its folder.
pub(super) fn failed(source: &Source, error: ScriptError) -> Failure {
    let code = match source.kind {
        FileKind::Function | FileKind::View => ErrorCode::FunctionDeployFailed,
        _ => ErrorCode::MigrationFailed,
    };
    sources::failure(code, error, &source.path)
}
