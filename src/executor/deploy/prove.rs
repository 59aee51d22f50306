//! Proving a bundle: it is built from nothing in a template database, whose catalog is then the model for every tenant.

use std::collections::HashMap;

use stonescriptdb_bundle::{Bundle, Kind as FileKind};
use stonescriptdb_protocol::{ErrorCode, Failure, ProveRequest, Proved};
use stonescriptdb_schema::{Class, Deviation, Key, Kind, Model, Rename, differences};

use super::build::{self, Built};
use super::proof::{Migration, Place, Proof, Statement, Tracked, keys_of};
use super::sources::{self, Source, Sources};
use super::{catalog, check_deferred, prepare_session, seeders, tracking};
use crate::executor::extensions;
use crate::postgres::{self, Kind as StatementKind, LastingMemory, PgError, subtransaction, transaction};
use crate::settings;

/// So many differences are told.
const SHOWN: usize = 20;

/// Builds a bundle in the connected database, which has nothing in it yet, and says what came of it.
///
/// # Errors
/// The first statement that fails, with file and line. The database is then of no use.
pub(crate) fn run(request: &ProveRequest) -> Result<Proved, Failure> {
    postgres::require_utf8()?;
    let bundle = sources::read_bundle(&request.archive)?;
    let memory = LastingMemory::new();
    let sources = memory.enter(|| Sources::read(&bundle))?;
    let (proof, clonable) = build_from_nothing(&sources, &bundle, &request.call_role, &memory)?;
    let seeds = seeders::learn(&sources)?;
    let fingerprint = proof.model.fingerprint();
    transaction(|| {
        tracking::write_objects(&proof)?;
        proof.migrations.iter().try_for_each(tracking::write_migration)?;
        tracking::write_state(&bundle.sha256, &proof.model.declared(), &catalog::stamp()?, Some(&fingerprint), None)
    })?;
    let plain = is_plain(&sources);
    Ok(Proved { clonable, plain, ..proved(&proof, fingerprint, &seeds)? })
}

/// Builds a bundle in the connected, empty database, but for its seeders; gives the proof, and whether a copy of the database is as good as
/// another one built so.
///
/// # Errors
/// As [`run`].
pub(super) fn build_from_nothing(
    sources: &Sources,
    bundle: &Bundle,
    call_role: &str,
    memory: &LastingMemory,
) -> Result<(Proof, bool), Failure> {
    let all: Vec<&Source> = sources.migrations().collect();
    let last = all.iter().rposition(|source| source.transactional).map_or(0, |place| place + 1);
    let (head, tail) = all.split_at(last);
    // Migrations outside a transaction cut the first part into several.
    let mut segments: Vec<Vec<&Source>> = vec![Vec::new()];
    let mut cuts: Vec<&Source> = Vec::new();
    for source in head {
        match segments.last_mut() {
            Some(segment) if source.transactional => segment.push(source),
            _ => {
                cuts.push(source);
                segments.push(Vec::new());
            }
        }
    }
    let mut built = Built::default();
    let mut declared = None;
    let mut proof = None;
    for (place, segment) in segments.iter().enumerate() {
        transaction(|| {
            prepare_session()?;
            if place == 0 {
                tracking::open(call_role)?;
                declared = declared_alone(sources)?;
                built = build::first(sources, bundle)?;
            }
            build::migrate(sources, segment)?;
            if place + 1 == segments.len() {
                build::rest(&mut built, sources)?;
                check_deferred(ErrorCode::MigrationFailed, None)?;
                let model = catalog::read()?;
                if let Some(declared) = &declared {
                    refuse_contradiction(&model, declared, sources)?;
                }
                proof = Some(self::proof(sources, bundle, model, &built));
            }
            Ok::<_, Failure>(())
        })?;
        if let Some(cut) = cuts.get(place) {
            run_outside(sources, cut, memory)?;
        }
    }
    let mut proof = proof.ok_or_else(|| Failure::internal("a bundle was built and not read"))?;
    let mut clonable = !has_rows(&proof.model);
    for source in tail {
        proof.before_untransacted.push(proof.model.clone());
        run_outside(sources, source, memory)?;
        proof.model = transaction(catalog::read)?;
        clonable &= !has_rows(&proof.model);
    }
    Ok((proof, clonable))
}

/// Runs a migration that has no transaction, statement by statement. What is declared may have been made already.
fn run_outside(sources: &Sources, source: &Source, memory: &LastingMemory) -> Result<(), Failure> {
    for statement in &source.script.statements {
        let run = || source.script.run_at_top_level(statement, settings::deploy_statement_timeout_ms());
        match memory.enter(run) {
            Err(error) if !sources.units.is_empty() && build::finds_it_there(statement, &error) => {}
            result => result.map_err(|error| build::failed(source, error))?,
        }
    }
    Ok(())
}

/// What is kept of a proof whose model has this fingerprint, of a bundle that is clonable and plain.
pub(super) fn proved(proof: &Proof, fingerprint: String, seeds: &[seeders::Seed]) -> Result<Proved, Failure> {
    Ok(Proved {
        proof: proof.to_json()?,
        seeds: seeders::to_json(seeds)?,
        summary: proof.summary(),
        fingerprint,
        clonable: true,
        plain: true,
        bodies: None,
    })
}

/// Nothing that ran while it was built can have called a function of the bundle with an effect: the catalog does not depend on what
/// functions do.
fn is_plain(sources: &Sources) -> bool {
    let mut statements = sources
        .files
        .iter()
        .filter(|source| source.kind != FileKind::Seeder)
        .flat_map(|source| &source.script.statements);
    statements.all(|statement| {
        !matches!(statement.kind, StatementKind::Other | StatementKind::Insert(_) | StatementKind::Change)
    })
}

/// Rows in any table: a copy of them would have the template's numbers and times.
fn has_rows(model: &Model) -> bool {
    model.of_kind(Kind::Table).any(|table| table.notes.bytes > 0)
}

/// What the declared files mean by themselves, where there are migrations too: both must come to the same.
fn declared_alone(sources: &Sources) -> Result<Option<Model>, Failure> {
    enum Seen {
        Model(Box<Model>),
        Failed(Box<Failure>),
    }
    impl From<PgError> for Seen {
        fn from(error: PgError) -> Seen {
            Seen::Failed(Box::new(error.into()))
        }
    }
    if sources.units.is_empty() || sources.migrations().next().is_none() {
        return Ok(None);
    }
    let seen = subtransaction(|| -> Result<(), Seen> {
        let read = build::build_declared(sources).and_then(|()| catalog::read());
        // Always an Err, so that nothing of it stays.
        Err(read.map_or_else(|failure| Seen::Failed(Box::new(failure)), |model| Seen::Model(Box::new(model))))
    });
    match seen {
        Err(Seen::Model(model)) => Ok(Some(*model)),
        Err(Seen::Failed(failure)) => Err(*failure),
        Ok(()) => Ok(None),
    }
}

/// tables/ and the like are the wanted end state. If the migrations lead elsewhere, one of the two is wrong.
fn refuse_contradiction(model: &Model, declared: &Model, sources: &Sources) -> Result<(), Failure> {
    let model = catalog::without_spelling(model.clone(), declared);
    let wrong: Vec<_> = differences(&model, declared)
        .into_iter()
        .filter(|difference| difference.deviation != Deviation::Extra && is_declared(&difference.object))
        .collect();
    let Some(first) = wrong.first() else { return Ok(()) };
    let told: Vec<String> = wrong
        .iter()
        .take(SHOWN)
        .map(|difference| match difference.deviation {
            Deviation::Missing => format!("{} is not there", difference.object),
            _ => format!("{}: {}", difference.object, difference.detail),
        })
        .collect();
    let place =
        places(sources).into_iter().find(|(key, _)| *key == first.object || Some(key) == first.object.table().as_ref());
    let failure = Failure::new(
        ErrorCode::VerificationFailed,
        "the bundle's migrations lead to another state than its declared files say",
    )
    .detail(format!("After the migrations: {}", told.join("; ")))
    .hint("Change the declared file, or write a migration that leads to what it says.");
    Err(match place {
        Some((_, place)) => failure.at(place.path, Some(place.line)),
        None => failure,
    })
}

/// Rights and comments of the schema public come from elsewhere too.
fn is_declared(key: &Key) -> bool {
    key.kind != Kind::DefaultPrivileges && key.kind != Kind::Schema
}

fn proof(sources: &Sources, bundle: &Bundle, model: Model, built: &Built) -> Proof {
    let mut places = places(sources);
    let routines: HashMap<u32, &Key> =
        model.of_kind(Kind::Routine).filter_map(|object| Some((object.notes.address?.object, &object.key))).collect();
    let checksum_of = |path: &str| {
        sources
            .files
            .iter()
            .find(|source| source.path == path)
            .map(|source| source.checksum.clone())
            .unwrap_or_default()
    };
    for (path, line, oid) in &built.functions {
        if let Some(key) = routines.get(oid) {
            places.push(((*key).clone(), Place { path: path.clone(), line: *line }));
        }
    }
    let known: HashMap<&Key, &Place> = places.iter().map(|(key, place)| (key, place)).collect();
    let by_name = functions_by_name(sources);
    let tracked = model
        .iter()
        .filter(|object| {
            matches!(
                object.key.kind,
                Kind::Table | Kind::Routine | Kind::Enum | Kind::Composite | Kind::Domain | Kind::Range
            )
        })
        .map(|object| {
            let key = object.key.clone();
            let place = known
                .get(&key)
                .copied()
                .or_else(|| by_name.get(&(key.schema.clone(), key.name.clone())))
                .map(|place| place.path.clone())
                .unwrap_or_default();
            Tracked { checksum: checksum_of(&place), path: place, key }
        })
        .collect();
    Proof {
        model: model.clone(),
        before_untransacted: Vec::new(),
        extensions: extensions::wanted(bundle),
        migrations: sources.migrations().map(migration).collect(),
        tracked,
        others: sources.files.iter().filter(|source| source.kind != FileKind::Seeder).flat_map(others).collect(),
        renames: sources.files.iter().flat_map(renames).collect(),
        places,
    }
}

fn migration(source: &Source) -> Migration {
    Migration {
        file_name: source.file_name.clone(),
        path: source.path.clone(),
        checksum: source.raw_checksum.clone(),
        transactional: source.transactional,
    }
}

/// The statements that make what is known by name only.
fn others(source: &Source) -> Vec<Statement> {
    let makers = source.script.statements.iter().filter(|statement| source.script.is_known_by_name(statement));
    makers
        .map(|statement| Statement {
            sql: source.script.statement_text(statement).to_owned(),
            object: format!("{}:{}", source.path, statement.line),
            place: Place { path: source.path.clone(), line: statement.line },
        })
        .collect()
}

/// Where each object is made: in a declared file before a migration.
fn places(sources: &Sources) -> Vec<(Key, Place)> {
    let mut places = Vec::new();
    let (migrations, declared): (Vec<&Source>, Vec<&Source>) =
        sources.files.iter().partition(|source| source.kind == FileKind::Migration);
    for source in migrations.into_iter().chain(declared) {
        for statement in &source.script.statements {
            let place = Place { path: source.path.clone(), line: statement.line };
            for name in &statement.facts.provides {
                places.extend(keys_of(name).into_iter().map(|key| (key, place.clone())));
            }
        }
    }
    places
}

/// Routines that no declared file makes, by schema and name.
fn functions_by_name(sources: &Sources) -> HashMap<(String, String), Place> {
    let mut found = HashMap::new();
    for source in &sources.files {
        for statement in source
            .script
            .statements
            .iter()
            .filter(|s| s.kind == StatementKind::Function || s.kind == StatementKind::Ddl)
        {
            for name in statement.facts.provides.iter().filter(|name| name.class == Class::Function) {
                let place = Place { path: source.path.clone(), line: statement.line };
                found.insert((name.schema.clone(), name.name.clone()), place);
            }
        }
    }
    found
}

/// `-- @renamed from=old` above a table or a column.
fn renames(source: &Source) -> Vec<Rename> {
    if source.kind != FileKind::Table {
        return Vec::new();
    }
    let mut found = Vec::new();
    for renamed in source.script.renames() {
        // They are in the order of their lines.
        let statements = &source.script.statements;
        let behind = statements.partition_point(|statement| statement.line <= renamed.line);
        let statement = behind.checked_sub(1).and_then(|last| statements.get(last));
        let Some(StatementKind::Table(table)) = statement.map(|statement| &statement.kind) else { continue };
        let is_table = statement.is_some_and(|statement| statement.line == renamed.line && renamed.begins_statement);
        let rename = if is_table {
            let key = |name: &str| Key::new(Kind::Table, &table.schema, name);
            Some(Rename { from: key(&renamed.from), to: key(&table.name) })
        } else {
            renamed.identifier.map(|column| {
                let key = |name: &str| Key::part(Kind::Column, &table.schema, &table.name, name);
                Rename { from: key(&renamed.from), to: key(&column) }
            })
        };
        found.extend(rename);
    }
    found
}
