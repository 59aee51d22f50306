//! Proving a bundle that differs from a proved one in the bodies of functions only: in that one's template, which becomes its own.
//!
//! Building everything anew would come to the same catalog but for these functions, so only they are replaced. Whatever could make a
//! difference elsewhere sends the bundle to the long way, from nothing.

use std::collections::BTreeSet;

use pgrx::Spi;
use stonescriptdb_bundle::{Bundle, Kind as FileKind};
use stonescriptdb_protocol::{Failure, Proved, Reuse};
use stonescriptdb_schema::{Body, Key, Model, Object};

use super::bodies::{Bodies, Stop};
use super::proof::{Place, Proof, Tracked};
use super::routines::{self, Row};
use super::sources::{Source, Sources};
use super::tracking::State;
use super::{apply, catalog, functions, prepare_session, prove, seeders, sources, spi, tracking};
use crate::postgres::{self, Kind as StatementKind, LastingMemory, subtransaction, transaction};

/// Replaces the functions of the changed files in the connected template. `None`: the bundle is to be built from nothing.
///
/// # Errors
/// `function_deploy_failed` with file and line.
pub(crate) fn run(archive: &[u8], reuse: &Reuse) -> Result<Option<Proved>, Failure> {
    postgres::require_utf8()?;
    let bundle = sources::read_bundle(archive)?;
    let mut proof = Proof::from_json(&reuse.proof)?;
    let memory = LastingMemory::new();
    let changed = memory.enter(|| read(&bundle, &reuse.changed))?;
    if !changed.files.iter().all(|source| source.script.statements.iter().all(|s| s.kind == StatementKind::Function)) {
        return Ok(None);
    }
    match reprove(&bundle, &mut proof, &changed, &memory) {
        Ok(proved) => Ok(Some(proved)),
        Err(Stop::LongWay) => Ok(None),
        Err(Stop::Failed(failure)) => Err(*failure),
    }
}

fn read(bundle: &Bundle, changed: &[String]) -> Result<Sources, Failure> {
    Sources::read_files(bundle, |file| file.kind == FileKind::Function && changed.contains(&file.path))
}

fn reprove(bundle: &Bundle, proof: &mut Proof, changed: &Sources, memory: &LastingMemory) -> Result<Proved, Stop> {
    let has_seeders = bundle.has(FileKind::Seeder);
    let (replaced, fingerprint) = transaction(|| {
        let replaced = replace(proof, changed)?;
        let fingerprint = proof.model.fingerprint();
        if !has_seeders {
            record(bundle, proof, changed, &fingerprint)?;
        }
        Ok::<_, Stop>((replaced, fingerprint))
    })?;
    let mut seeds = Vec::new();
    if has_seeders {
        // They may call what is new.
        let seeding = memory.enter(|| Sources::read_kinds(bundle, &[FileKind::Seeder, FileKind::Table]))?;
        seeds = match seeders::learn(&seeding) {
            Ok(seeds) => seeds,
            Err(failure) => {
                put_back(&replaced)?;
                return Err(failure.into());
            }
        };
        transaction(|| record(bundle, proof, changed, &fingerprint))?;
    }
    let bodies = replaced.bodies.map(|bodies| bodies.to_json()).transpose()?;
    Ok(Proved { bodies, ..prove::proved(proof, fingerprint, &seeds)? })
}

/// Writes what the template is now. When it is sealed the log is written, and with that this is on disk too.
fn record(bundle: &Bundle, proof: &Proof, changed: &Sources, fingerprint: &str) -> Result<(), Failure> {
    Spi::run("SET LOCAL synchronous_commit = off").map_err(spi)?;
    let files = paths(changed);
    let rows: Vec<Tracked> = proof.tracked.iter().filter(|row| files.contains(row.path.as_str())).cloned().collect();
    tracking::write_functions(&rows)?;
    tracking::advance_state(&bundle.sha256, &catalog::stamp()?, fingerprint, None)
}

fn paths(changed: &Sources) -> BTreeSet<&str> {
    changed.files.iter().map(|source| source.path.as_str()).collect()
}

/// A routine of a changed file.
struct Made<'s> {
    source: &'s Source,
    line: u32,
    oid: u32,
    key: Key,
}

/// What was done to the template.
struct Replaced {
    /// What it was before.
    state: State,
    /// The routines as they were.
    old: Vec<Row>,
    /// What leads there from the bundle before.
    bodies: Option<Bodies>,
}

/// Makes the template again what it was: the new routines are committed when the seeders run, and these have failed.
fn put_back(replaced: &Replaced) -> Result<(), Failure> {
    transaction(|| {
        Spi::run("SET LOCAL synchronous_commit = off").map_err(spi)?;
        prepare_session()?;
        catalog::under_catalog_settings(|| {
            Ok(replaced.old.iter().try_for_each(|row| apply::run_one(&row.definition))?)
        })?;
        let State { bundle_sha256, fingerprint, .. } = &replaced.state;
        tracking::advance_state(bundle_sha256, &catalog::stamp()?, fingerprint.as_deref().unwrap_or_default(), None)
    })
}

/// Runs the changed files and brings the proof to what is there then.
fn replace(proof: &mut Proof, changed: &Sources) -> Result<Replaced, Stop> {
    Spi::run("SET LOCAL synchronous_commit = off").map_err(spi)?;
    prepare_session()?;
    let before = catalog::stamp()?;
    // It is the template that the proof speaks of, and nobody has touched it.
    let state = tracking::state()?.ok_or(Stop::LongWay)?;
    if state.stamp != before.hash() || state.fingerprint != Some(proof.model.fingerprint()) {
        return Err(Stop::LongWay);
    }
    let made = find(&proof.model, changed)?;
    let keys: BTreeSet<&Key> = made.iter().map(|routine| &routine.key).collect();
    let files = paths(changed);
    // The same functions as before, in the same files: none has come, none has gone.
    let known: BTreeSet<&Key> =
        proof.tracked.iter().filter(|row| files.contains(row.path.as_str())).map(|row| &row.key).collect();
    if keys != known || keys.len() != made.len() {
        return Err(Stop::LongWay);
    }
    let old = read_rows(&made)?;
    create(&made, changed)?;
    let new = keep_spelling(&made, &old, read_rows(&made)?)?;
    // What other objects may rely on: volatility, result, and so on.
    if old.iter().zip(&new).any(|(old, new)| old.others != new.others) {
        return Err(Stop::LongWay);
    }
    let oids: Vec<(String, u32, u32)> =
        made.iter().map(|routine| (routine.source.path.clone(), routine.line, routine.oid)).collect();
    functions::validate(changed, &oids)?;
    if !before.leads_to(&catalog::stamp()?, routines::sum(&old), routines::sum(&new)) {
        return Err(Stop::LongWay);
    }
    let definitions: Vec<(&Key, &Row)> = made.iter().map(|routine| &routine.key).zip(&new).collect();
    let model = with_definitions(&proof.model, &definitions);
    let base = std::mem::replace(&mut proof.model, model);
    for model in &mut proof.before_untransacted {
        *model = with_definitions(model, &definitions);
    }
    for row in &mut proof.tracked {
        if let Some(source) = changed.files.iter().find(|source| source.path == row.path) {
            row.checksum.clone_from(&source.checksum);
        }
    }
    for (key, place) in &mut proof.places {
        if let Some(routine) = made.iter().find(|routine| routine.key == *key) {
            *place = Place { path: routine.source.path.clone(), line: routine.line };
        }
    }
    let bodies = Bodies::between(&state, &base, proof, &files);
    Ok(Replaced { state, old, bodies })
}

/// The routines that the changed files replace.
fn find<'s>(model: &Model, changed: &'s Sources) -> Result<Vec<Made<'s>>, Stop> {
    let mut made = Vec::new();
    for source in &changed.files {
        for statement in &source.script.statements {
            let Some(oid) = functions::find(source, statement)? else { return Err(Stop::LongWay) };
            let is_it = |object: &&Object| object.notes.address.is_some_and(|address| address.object == oid);
            let known = model.of_kind(stonescriptdb_schema::Kind::Routine).find(is_it);
            let key = known.ok_or(Stop::LongWay)?.key.clone();
            made.push(Made { source, line: statement.line, oid, key });
        }
    }
    Ok(made)
}

fn read_rows(made: &[Made<'_>]) -> Result<Vec<Row>, Stop> {
    let rows = catalog::under_catalog_settings(|| routines::read(made.iter().map(|routine| &routine.key)))?;
    let rows = rows.ok_or(Stop::LongWay)?;
    if rows.iter().zip(made).any(|(row, routine)| row.oid != routine.oid) {
        return Err(Stop::LongWay);
    }
    Ok(rows)
}

/// What cannot be put in the place of what is there (another kind or result, which something depends on) may well be made anew, and what
/// cannot be made at all is said the same way there: bodies are looked at later.
fn create(made: &[Made<'_>], changed: &Sources) -> Result<(), Stop> {
    let statements = changed
        .files
        .iter()
        .flat_map(|source| source.script.statements.iter().map(move |statement| (source, statement)));
    for ((source, statement), routine) in statements.zip(made) {
        match subtransaction(|| functions::create(source, statement)) {
            Ok(oid) if oid == routine.oid => {}
            // Cancelled, or out of time.
            Err(failure) if failure.sqlstate.as_deref().is_some_and(|sqlstate| sqlstate.starts_with("57")) => {
                return Err(failure.into());
            }
            Ok(_) | Err(_) => return Err(Stop::LongWay),
        }
    }
    Ok(())
}

/// In a tenant a routine that is new in its spelling only is left as it is. So it is here: the two stay alike to the letter.
fn keep_spelling(made: &[Made<'_>], old: &[Row], new: Vec<Row>) -> Result<Vec<Row>, Stop> {
    let respelt: Vec<&Row> = old
        .iter()
        .zip(&new)
        .filter(|(old, new)| {
            old.definition != new.definition && catalog::is_same_text(&old.definition, &new.definition)
        })
        .map(|(old, _)| old)
        .collect();
    if respelt.is_empty() {
        return Ok(new);
    }
    catalog::under_catalog_settings(|| respelt.iter().try_for_each(|row| Ok(apply::run_one(&row.definition)?)))?;
    read_rows(made)
}

/// The model with new definitions of some routines. All else of these is as it was.
fn with_definitions(model: &Model, definitions: &[(&Key, &Row)]) -> Model {
    let mut objects: Vec<Object> = model.clone().into();
    for (key, row) in definitions {
        let found = objects.iter_mut().find(|object| object.key == **key);
        if let Some(Object { body: Body::Routine(body), .. }) = found {
            body.definition.clone_from(&row.definition);
        }
    }
    objects.into()
}
