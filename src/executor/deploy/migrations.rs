//! Migrations: run once each, in the order of their file names.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;

use stonescriptdb_protocol::{ErrorCode, Failure, PlannedStep};
use stonescriptdb_schema::{Body, Key, Kind, Model, Object, ObjectName};

use super::build::{self, Done};
use super::proof::{Migration, Proof, keys_of};
use super::sources::{Source, Sources};
use super::step_limits;
use crate::postgres::session::with_settings_restored;
use crate::postgres::{Kind as StatementKind, Statement};

/// The migrations that were not applied yet, in order.
///
/// # Errors
/// `migration_changed` if an applied one has other bytes now.
pub(super) fn pending<'p>(proof: &'p Proof, applied: &HashMap<String, String>) -> Result<Vec<&'p Migration>, Failure> {
    let mut pending = Vec::new();
    for migration in &proof.migrations {
        match applied.get(&migration.file_name) {
            None => pending.push(migration),
            Some(checksum) if *checksum == migration.checksum => {}
            Some(_) => {
                return Err(Failure::new(
                    ErrorCode::MigrationChanged,
                    format!("the migration \"{}\" was applied and has been changed since", migration.file_name),
                )
                .at(&migration.path, None)
                .hint("Put it back as it was, and write what is to change into a new migration."));
            }
        }
    }
    Ok(pending)
}

/// Runs a migration; gives its statements as steps of the plan.
///
/// # Errors
/// `migration_failed` with file and line.
pub(super) fn run(source: &Source, done: Done) -> Result<Vec<PlannedStep>, Failure> {
    with_settings_restored(|| {
        source
            .script
            .statements
            .iter()
            .map(|statement| {
                let begun = Instant::now();
                build::run_migration_statement(source, statement, done)?;
                let duration = begun.elapsed().as_secs_f64() * 1000.0;
                Ok(PlannedStep { duration_ms: Some(duration), ..planned(source, statement) })
            })
            .collect()
    })
}

/// A statement of a migration, as a plan shows it.
pub(super) fn planned(source: &Source, statement: &Statement) -> PlannedStep {
    let (lock_timeout, statement_timeout) = step_limits();
    PlannedStep {
        seq: 0,
        object: format!("migration {}", source.file_name),
        class: "safe".to_owned(),
        hazards: Vec::new(),
        sql: source.script.statement_text(statement).to_owned(),
        transactional: source.transactional,
        lock_timeout,
        statement_timeout,
        migration: Some(source.file_name.clone()),
        duration_ms: None,
    }
}

/// What is made before the pending migrations on a database that has grown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ahead {
    /// New types, which migrations may want to use.
    Types,
    /// All that is new and that no pending migration makes.
    Everything,
}

/// A migration that failed because something is not there: undefined column, table, function or object.
pub(super) fn wants_more(failure: &Failure) -> bool {
    failure.code == ErrorCode::MigrationFailed
        && matches!(failure.sqlstate.as_deref(), Some("42703" | "42P01" | "42883" | "42704"))
}

/// `present` with what is to be made before the migrations, taken from `wanted`.
pub(super) fn ahead(present: &Model, wanted: &Model, pending: &[&Source], which: Ahead) -> Model {
    let made: HashSet<&ObjectName> = pending
        .iter()
        .flat_map(|source| &source.script.statements)
        .filter(|statement| !matches!(statement.kind, StatementKind::Insert(_) | StatementKind::Set))
        .flat_map(|statement| &statement.facts.provides)
        .collect();
    let made_keys: HashSet<Key> = made.iter().flat_map(|name| keys_of(name)).collect();
    let made_functions: HashSet<(&str, &str)> =
        made.iter().map(|name| (name.schema.as_str(), name.name.as_str())).collect();
    let is_candidate = |object: &Object| {
        !present.has(&object.key)
            && !made_keys.contains(&object.key)
            && match object.key.kind {
                Kind::Schema | Kind::Enum | Kind::Composite | Kind::Domain | Kind::Range => true,
                _ if which == Ahead::Types => false,
                Kind::Routine => !made_functions.contains(&(object.key.schema.as_str(), object.key.name.as_str())),
                Kind::Column => is_easy_column(object, present),
                Kind::Table | Kind::Sequence | Kind::View | Kind::MaterializedView => true,
                // On a table that is there it may need what the migrations do to its rows.
                _ => object.key.table().is_none_or(|table| !present.has(&table)),
            }
    };
    let mut chosen: BTreeSet<&Key> =
        wanted.iter().filter(|object| is_candidate(object)).map(|object| &object.key).collect();
    // What needs something that is not there has to wait, and so has what needs that.
    loop {
        let waits: Vec<&Key> = chosen
            .iter()
            .copied()
            .filter(|key| {
                let needs = wanted.get(key).map(|object| &object.needs);
                needs.is_some_and(|needs| needs.iter().any(|need| !present.has(need) && !chosen.contains(need)))
            })
            .collect();
        if waits.is_empty() {
            break;
        }
        waits.into_iter().for_each(|key| {
            chosen.remove(key);
        });
    }
    let objects = present.iter().chain(chosen.into_iter().filter_map(|key| wanted.get(key)));
    objects.cloned().collect::<Vec<_>>().into()
}

/// A new column that rows can have without a migration's help; those of a new table come with it.
fn is_easy_column(object: &Object, present: &Model) -> bool {
    let on_new_table = object.key.table().is_some_and(|table| !present.has(&table));
    let Body::Column(column) = &object.body else { return false };
    on_new_table || !column.not_null || column.not_valid || column.default.is_some() || column.identity.is_some()
}

/// The sources of migrations, in the order of `wanted`.
pub(super) fn find<'s>(sources: &'s Sources, wanted: &[&Migration]) -> Result<Vec<&'s Source>, Failure> {
    wanted
        .iter()
        .map(|migration| {
            let found = sources.migrations().find(|source| source.file_name == migration.file_name);
            found.ok_or_else(|| Failure::internal("a migration of the proof is not in the bundle"))
        })
        .collect()
}
