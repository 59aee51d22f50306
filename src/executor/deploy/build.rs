//! Building a bundle from nothing: in a template, to prove it, and in a tenant's database where a copy of the template would not do.
//!
//! Every statement of the bundle runs as it stands in its file. What is there afterwards is what the bundle means.

use std::collections::HashSet;

use pgrx::Spi;
use stonescriptdb_bundle::{Bundle, Kind as FileKind};
use stonescriptdb_protocol::{ErrorCode, Failure};
use stonescriptdb_schema::{Class, ObjectName};

use super::sources::{self, Source, Sources, Unit};
use super::{functions, quoted, relation_exists, run_statement, type_exists};
use crate::executor::extensions;
use crate::postgres::session::with_settings_restored;
use crate::postgres::{Kind, ScriptError, Statement, subtransaction};

/// What was built.
#[derive(Default)]
pub(super) struct Built {
    /// Routines that a file declares: path, line, OID.
    pub(super) functions: Vec<(String, u32, u32)>,
    /// Statements that are dealt with.
    done: HashSet<(usize, usize)>,
    /// What a migration made is there already.
    after_migrations: bool,
}

/// The first part: extensions, and what is declared and no migration makes; inside a transaction, in an empty database.
///
/// # Errors
/// The statement's own, with file and line.
pub(super) fn first(sources: &Sources, bundle: &Bundle) -> Result<Built, Failure> {
    let mut built = Built::default();
    install_extensions(bundle)?;
    let made_by_migrations: HashSet<&ObjectName> = sources
        .migrations()
        .flat_map(|source| &source.script.statements)
        .filter(|statement| makes_structure(statement))
        .flat_map(|statement| &statement.facts.provides)
        .collect();
    let declared: HashSet<&ObjectName> = sources
        .units
        .iter()
        .filter_map(|unit| sources.get(*unit))
        .flat_map(|(_, statement)| &statement.facts.provides)
        .collect();
    let only_migrations_make = |name: &ObjectName| made_by_migrations.contains(name) && !declared.contains(name);
    let later: HashSet<(usize, usize)> = sources
        .later(|statement| {
            let facts = &statement.facts;
            makes_structure(statement) && facts.provides.iter().any(|name| made_by_migrations.contains(name))
                || facts.needs.iter().any(|name| {
                    // A table's row type too.
                    let row_type = ObjectName { class: Class::Relation, ..name.clone() };
                    only_migrations_make(name) || (name.class == Class::Type && only_migrations_make(&row_type))
                })
        })
        .into_iter()
        .map(|unit| (unit.source, unit.statement))
        .collect();
    let first: Vec<Unit> =
        sources.units.iter().filter(|unit| !later.contains(&(unit.source, unit.statement))).copied().collect();
    apply(&mut built, sources, &first)?;
    Ok(built)
}

/// Migrations, each after the other.
///
/// # Errors
/// `migration_failed` with file and line.
pub(super) fn migrate(sources: &Sources, migrations: &[&Source]) -> Result<(), Failure> {
    let done = if sources.units.is_empty() { Done::Nothing } else { Done::Everything };
    migrations.iter().try_for_each(|source| {
        with_settings_restored(|| {
            source.script.statements.iter().try_for_each(|statement| run_migration_statement(source, statement, done))
        })
    })
}

/// What is declared and had to wait for the migrations.
///
/// # Errors
/// The statement's own, with file and line.
pub(super) fn rest(built: &mut Built, sources: &Sources) -> Result<(), Failure> {
    built.after_migrations = true;
    let rest: Vec<Unit> =
        sources.units.iter().filter(|unit| !built.done.contains(&(unit.source, unit.statement))).copied().collect();
    apply(built, sources, &rest)?;
    functions::validate(sources, &built.functions)
}

/// Runs only what is declared, passing over what cannot stand without the migrations: to see what tables/ and the like say.
pub(super) fn build_declared(sources: &Sources) -> Result<(), Failure> {
    for unit in &sources.units {
        let Some((source, statement)) = sources.get(*unit) else { continue };
        if matches!(statement.kind, Kind::Set) {
            continue;
        }
        let result: Result<(), Failure> = subtransaction(|| {
            with_settings(source, unit.statement, || {
                run_statement(&source.script, statement).map_err(|error| failed(source, error))
            })
        });
        // What needs a migration says nothing here.
        drop(result);
    }
    Ok(())
}

fn install_extensions(bundle: &Bundle) -> Result<(), Failure> {
    for (path, spec) in extensions::wanted(bundle) {
        extensions::create(&spec).map_err(|failure| failure.at(path, None))?;
    }
    Ok(())
}

/// A table, type, sequence or schema. An index touches a table: the one in tables/ comes with its table, and a migration that makes it too
/// finds it there.
fn makes_structure(statement: &Statement) -> bool {
    matches!(statement.kind, Kind::Table(_) | Kind::Type(_) | Kind::Ddl) && statement.facts.touches.is_none()
}

fn apply(built: &mut Built, sources: &Sources, units: &[Unit]) -> Result<(), Failure> {
    let mut keys: Vec<(&Source, Statement)> = Vec::new();
    for unit in units {
        let Some((source, statement)) = sources.get(*unit) else { continue };
        with_settings(source, unit.statement, || one(built, source, statement, &mut keys))?;
        built.done.insert((unit.source, unit.statement));
    }
    // Foreign keys to tables that came later.
    keys.into_iter().try_for_each(|(source, key)| run(source, &key))
}

/// A SET in a file is for the statements behind it in that file.
fn with_settings(source: &Source, statement: usize, f: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let settings: Vec<&Statement> =
        source.script.statements.iter().take(statement).filter(|before| before.kind == Kind::Set).collect();
    if settings.is_empty() {
        return f();
    }
    with_settings_restored(|| {
        settings.iter().try_for_each(|set| run(source, set))?;
        f()
    })
}

fn one<'s>(
    built: &mut Built,
    source: &'s Source,
    statement: &'s Statement,
    keys: &mut Vec<(&'s Source, Statement)>,
) -> Result<(), Failure> {
    match &statement.kind {
        Kind::Function => {
            let oid = functions::create(source, statement)?;
            if built.functions.iter().any(|(.., known)| *known == oid) {
                let signature = functions::signature(oid)?;
                let message = format!("the function {signature} is defined twice in the bundle");
                return Err(
                    Failure::new(ErrorCode::FunctionDeployFailed, message).at(&source.path, Some(statement.line))
                );
            }
            built.functions.push((source.path.clone(), statement.line, oid));
            Ok(())
        }
        // It runs before every statement behind it.
        Kind::Set => Ok(()),
        // A migration made it; whether as declared, the comparison of the catalogs tells.
        Kind::Table(name) if built.after_migrations && relation_exists(name)? => Ok(()),
        Kind::Type(name) if built.after_migrations && type_exists(name)? => Ok(()),
        Kind::Table(name) => create_table(source, statement, name, keys),
        Kind::View(name) if built.after_migrations && relation_exists(name)? => replace_view(source, statement, name),
        Kind::View(_) | Kind::Type(_) => run(source, statement),
        _ if built.after_migrations => run_if_new(source, statement),
        _ => run(source, statement),
    }
}

fn create_table<'s>(
    source: &'s Source,
    statement: &Statement,
    name: &ObjectName,
    keys: &mut Vec<(&'s Source, Statement)>,
) -> Result<(), Failure> {
    let mut missing = HashSet::new();
    for table in statement.facts.foreign.iter().filter(|table| *table != name) {
        if !relation_exists(table)? {
            missing.insert(table.clone());
        }
    }
    if missing.is_empty() {
        return run(source, statement);
    }
    let (bare, later) = source.script.without_foreign_keys(statement, &missing)?;
    run(source, &bare)?;
    keys.extend(later.into_iter().map(|key| (source, key)));
    Ok(())
}

/// A view that a migration made in another form.
fn replace_view(source: &Source, statement: &Statement, name: &ObjectName) -> Result<(), Failure> {
    match subtransaction(|| run_statement(&source.script, statement)) {
        // Columns were renamed, retyped or removed.
        Err(error) if error.error.sqlstate == "42P16" => {
            Spi::run(&format!("DROP VIEW {}", quoted(name))).map_err(super::spi)?;
            run(source, statement)
        }
        result => result.map_err(|error| failed(source, error)),
    }
}

/// An index, trigger, constraint, sequence: a migration may have made it.
fn run_if_new(source: &Source, statement: &Statement) -> Result<(), Failure> {
    match subtransaction(|| run_statement(&source.script, statement)) {
        Err(error) if exists_already(&error.error.sqlstate) && statement.makes_something() => Ok(()),
        result => result.map_err(|error| failed(source, error)),
    }
}

fn run(source: &Source, statement: &Statement) -> Result<(), Failure> {
    run_statement(&source.script, statement).map_err(|error| failed(source, error))
}

/// What a statement of a migration may find done already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Nothing,
    /// What it adds: it was made from the declared files just before.
    Additions,
    /// Everything: the database is new, and what is declared has the form that the migrations lead to.
    Everything,
}

/// Runs a statement of a migration; one that finds its work done counts as satisfied.
///
/// # Errors
/// `migration_failed` with file and line.
pub(super) fn run_migration_statement(source: &Source, statement: &Statement, done: Done) -> Result<(), Failure> {
    if done == Done::Nothing {
        return run(source, statement);
    }
    // A setting is undone with the subtransaction that it is made in only if that fails.
    match subtransaction(|| run_statement(&source.script, statement)) {
        Err(error) if done == Done::Everything && is_satisfied(source, statement, &error) => Ok(()),
        Err(error) if done == Done::Additions && finds_it_there(statement, &error) => Ok(()),
        result => result.map_err(|error| failed(source, error)),
    }
}

/// A statement that makes something failed because it is there.
pub(super) fn finds_it_there(statement: &Statement, error: &ScriptError) -> bool {
    !matches!(statement.kind, Kind::Insert(_) | Kind::Change | Kind::Other | Kind::Set | Kind::Removal)
        && exists_already(&error.error.sqlstate)
}

/// Whether an error says no more than that the wanted form is there: an object that is to be added exists, one that is to be removed,
/// renamed or changed does not, or has the type that it is to get. A change of rows that names what is gone has no rows to change. If more
/// was wrong than that, the catalog does not come to what is declared, and the bundle is refused with the difference.
fn is_satisfied(source: &Source, statement: &Statement, error: &ScriptError) -> bool {
    let sqlstate = error.error.sqlstate.as_str();
    let is_of_form = sqlstate.starts_with("42") && !matches!(sqlstate, "42501" | "42601");
    match &statement.kind {
        Kind::Removal | Kind::Change => is_of_form,
        Kind::Ddl if statement.facts.touches.is_some() => {
            // From PostgreSQL 18 on a NOT NULL that is there under another name is an object that is not in the state for it (55000).
            (is_of_form || sqlstate == "55000")
                && statement.facts.touches.as_ref().is_some_and(|table| relation_exists(table).unwrap_or(false))
        }
        Kind::Other => is_gone(sqlstate),
        // Rows that a query finds in a new database are none; rows that are written out would be missing.
        Kind::Insert(_) => source.script.is_insert_of_query(statement) && is_gone(sqlstate),
        Kind::Set => false,
        _ => exists_already(sqlstate),
    }
}

fn exists_already(sqlstate: &str) -> bool {
    matches!(sqlstate, "42701" | "42P07" | "42710" | "42P06" | "42723" | "42P16")
}

fn is_gone(sqlstate: &str) -> bool {
    matches!(sqlstate, "42703" | "42P01" | "42704" | "42883")
}

/// The names of relations that a statement makes.
impl Statement {
    fn makes_something(&self) -> bool {
        matches!(self.kind, Kind::Ddl) || self.facts.provides.iter().any(|name| name.class == Class::Relation)
    }
}

/// A statement's failure under the code of its folder.
pub(super) fn failed(source: &Source, error: ScriptError) -> Failure {
    let code = match source.kind {
        FileKind::Function | FileKind::View => ErrorCode::FunctionDeployFailed,
        FileKind::Seeder => ErrorCode::SeederFailed,
        _ => ErrorCode::MigrationFailed,
    };
    // active_sql_transaction: VACUUM, REINDEX CONCURRENTLY and their like.
    let needs_none = source.kind == FileKind::Migration && error.error.sqlstate == "25001";
    let failure = sources::failure(code, error, &source.path);
    if needs_none { failure.hint(sources::no_transaction_hint()) } else { failure }
}
