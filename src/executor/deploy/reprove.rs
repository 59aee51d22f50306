//! Proving a bundle that differs from a proved one in the bodies of functions only: in that one's template, which becomes its own.
//!
//! Building everything anew would come to the same catalog but for these functions, so only they are replaced. Whatever could make a
//! difference elsewhere sends the bundle to the long way, from nothing.

use std::collections::BTreeSet;

use pgrx::Spi;
use stonescriptdb_bundle::{Bundle, Kind as FileKind};
use stonescriptdb_protocol::{Failure, Proved, Reuse};
use stonescriptdb_schema::{Key, Kind};

use super::proof::{Place, Proof, Tracked};
use super::sources::{Source, Sources};
use super::{catalog, functions, prepare_session, prove, seeders, sources, spi, tracking};
use crate::postgres::{self, Kind as StatementKind, LastingMemory, PgError, transaction};

/// Why the long way is needed, or what is wrong.
enum Stop {
    LongWay,
    Failed(Box<Failure>),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(Box::new(failure))
    }
}

impl From<PgError> for Stop {
    fn from(error: PgError) -> Stop {
        Failure::from(error).into()
    }
}

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
    match transaction(|| replace(&mut proof, &changed)) {
        Ok(()) => {}
        Err(Stop::LongWay) => return Ok(None),
        Err(Stop::Failed(failure)) => return Err(*failure),
    }
    let seeding = memory.enter(|| Sources::read_kinds(&bundle, &[FileKind::Seeder, FileKind::Table]))?;
    let seeds = seeders::learn(&seeding)?;
    transaction(|| {
        tracking::write_objects(&proof)?;
        tracking::write_state(&bundle.sha256, &proof.model.declared(), None)
    })?;
    prove::proved(&proof, &seeds, true, true).map(Some)
}

fn read(bundle: &Bundle, changed: &[String]) -> Result<Sources, Failure> {
    let files = bundle.files.iter().filter(|file| file.kind == FileKind::Function && changed.contains(&file.path));
    Sources::read_files(files)
}

fn replace(proof: &mut Proof, changed: &Sources) -> Result<(), Stop> {
    prepare_session()?;
    let mut made: Vec<(String, u32, u32)> = Vec::new();
    let mut properties = Vec::new();
    for source in &changed.files {
        for statement in &source.script.statements {
            let Some(oid) = functions::find(source, statement)? else { return Err(Stop::LongWay) };
            let before = unchanging(oid)?;
            let after = functions::create(source, statement)?;
            if after != oid {
                return Err(Stop::LongWay);
            }
            properties.push((oid, before));
            made.push((source.path.clone(), statement.line, oid));
        }
    }
    // What other objects may rely on: volatility, result, and so on.
    for (oid, before) in properties {
        if unchanging(oid)? != before {
            return Err(Stop::LongWay);
        }
    }
    functions::validate(changed, &made)?;
    let model = catalog::read()?;
    let paths: BTreeSet<&str> = changed.files.iter().map(|source| source.path.as_str()).collect();
    let key_of = |oid: u32| {
        let routine = |object: &&stonescriptdb_schema::Object| object.notes.address.is_some_and(|a| a.object == oid);
        model.of_kind(Kind::Routine).find(routine).map(|object| object.key.clone())
    };
    let keys: Vec<(Key, &str, u32)> =
        made.iter().filter_map(|(path, line, oid)| Some((key_of(*oid)?, path.as_str(), *line))).collect();
    // The same functions as before, in the same files: none has come, none has gone.
    let now: BTreeSet<&Key> = keys.iter().map(|(key, ..)| key).collect();
    let before: BTreeSet<&Key> =
        proof.tracked.iter().filter(|t| paths.contains(t.path.as_str())).map(|tracked| &tracked.key).collect();
    if now != before || now.len() != made.len() || !model.keys().eq(proof.model.keys()) {
        return Err(Stop::LongWay);
    }
    let checksum = |path: &str| -> Option<&Source> { changed.files.iter().find(|source| source.path == path) };
    for Tracked { checksum: known, path, .. } in &mut proof.tracked {
        if let Some(source) = checksum(path) {
            known.clone_from(&source.checksum);
        }
    }
    for (key, path, line) in &keys {
        for (known, place) in &mut proof.places {
            if known == key {
                *place = Place { path: (*path).to_owned(), line: *line };
            }
        }
    }
    proof.model = model;
    Ok(())
}

/// Everything of a function but its body and its dependencies.
fn unchanging(oid: u32) -> Result<Option<String>, Failure> {
    Spi::get_one_with_args::<String>(
        "SELECT (SELECT pg_catalog.row_to_json(f)::text FROM (
             SELECT proname, pronamespace, proowner, prolang, procost, prorows, provariadic, prosupport::text, prokind, prosecdef, proleakproof,
                    proisstrict, proretset, provolatile, proparallel, prorettype, proargtypes::text, proallargtypes, proargmodes, proargnames,
                    pg_catalog.pg_get_function_arguments(oid) AS arguments, protrftypes, prosqlbody IS NULL AS is_text, proconfig, proacl::text
             FROM pg_catalog.pg_proc WHERE oid = $1::pg_catalog.oid) f)",
        &[i64::from(oid).into()],
    )
    .map_err(spi)
}
