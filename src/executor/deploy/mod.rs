//! Bringing the connected database to a bundle's state, as the platform's owner role.
//!
//! | file | what it does |
//! |---|---|
//! | `sources` | the archive is read, parsed and ordered |
//! | `build`, `functions` | a bundle is built from nothing, its own statements as they stand |
//! | `prove`, `proof` | that is done in a template, and everything that deployments need to know of the bundle is kept |
//! | `reprove` | the same for a bundle of which only bodies of functions are new |
//! | `bodies`, `routines` | such a bundle in a tenant: single routines are replaced, and nothing else is read |
//! | `catalog` | the model of the database as it is |
//! | `early` | migrations that cannot wait for it, for one without a transaction comes behind them |
//! | `transition` | the deployment's transaction: migrations, the plan, seeders, verification, tracking rows |
//! | `migrations`, `apply`, `others`, `seeders` | its parts |
//! | `afterwards` | what runs after it |
//! | `tracking` | the tables that say what was deployed |
//! | `values` | new enum values, committed before it |
//! | `validation` | which changes are refused unless they are allowed |

mod adopt;
mod afterwards;
mod apply;
mod bodies;
mod build;
mod catalog;
mod check;
mod early;
mod functions;
mod locks;
mod migrations;
mod others;
mod proof;
mod prove;
mod reprove;
mod routines;
mod seeders;
pub(crate) mod sources;
mod tracking;
mod transition;
mod validation;
mod values;

use std::collections::BTreeSet;

use pgrx::Spi;
use stonescriptdb_protocol::{DeployAnswer, DeployReport, DeployRequest, ErrorCode, Failure, PlannedStep, Start};
use stonescriptdb_schema::{Class, Deviation, Difference, Key, Kind, Loss, Model, ObjectName, differences};

use crate::error::from_postgres;
use crate::kept;
use crate::postgres::{self, PgError, Script, ScriptError, Statement, catch, quote_identifier, session, transaction};
use crate::settings;
use bodies::Bodies;
use seeders::{Seed, Seeding};
use tracking::State;

pub(super) use adopt::{give_back, run as adopt};
pub(super) use check::run as check;
pub(super) use prove::run as prove;
pub(super) use reprove::run as reprove;
pub(crate) use tracking::{ARGUMENT_TYPES, TRACKED_NAME};

/// Carries out a deployment. Locks that are out of reach are tried for again.
///
/// # Errors
/// The stage's own, with file and line; nothing is changed then. `lock_timeout` names who holds the locks.
pub(super) fn run(request: &DeployRequest) -> Result<DeployAnswer, Failure> {
    postgres::require_utf8()?;
    let seeds = seeders::from_json(&request.seeds)?;
    if request.start == Start::Cloned {
        return clone_of_template(request, &seeds).map(done);
    }
    if request.start == Start::Existing
        && !request.options.full_verify
        && let Some(report) = at_once(request, &seeds)?
    {
        return Ok(done(report));
    }
    let (Some(archive), Some(proof)) = (&request.archive, &request.proof) else { return Ok(DeployAnswer::NeedsProof) };
    let bundle = sources::read_bundle(archive)?;
    let proof = proof::Proof::from_json(proof)?;
    transition::run(request, &bundle, &proof, &seeds).map(done)
}

fn done(mut report: DeployReport) -> DeployAnswer {
    report.plan.iter_mut().zip(1..).for_each(|(step, seq)| step.seq = seq);
    DeployAnswer::Done(Box::new(report))
}

/// What every transaction of a deployment starts with: its limits, and the lock that keeps others out of this database.
fn prepare_session() -> Result<(), Failure> {
    // Bodies are checked by the validators at the end, when all that they name is there.
    kept::update(
        "SELECT pg_catalog.set_config('check_function_bodies', 'off', true) || pg_catalog.set_config('lock_timeout', $1, true)",
        &[settings::deploy_lock_timeout_ms().to_string().into()],
        |_| Ok::<_, Failure>(()),
    )?;
    // Not as a query that changes nothing: what comes after the lock must see what was committed while it was waited for.
    kept::update(
        "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('stonescriptdb deployment'))",
        &[],
        |_| Ok(()),
    )
}

/// Milliseconds that a statement waits for a lock, and that it may take.
fn step_limits() -> (u32, u32) {
    (settings::deploy_lock_timeout_ms(), settings::deploy_statement_timeout_ms())
}

/// Whether the database is recorded as in the state of this bundle, and nothing of its catalog has changed since.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn is_as_recorded(bundle_sha256: &str) -> Result<bool, Failure> {
    transaction(|| {
        let Some(state) = tracking::state()? else { return Ok(false) };
        Ok(state.bundle_sha256 == bundle_sha256 && !state.is_pending && state.stamp == catalog::stamp()?.hash())
    })
}

/// Runs a statement within the time that one may take.
///
/// # Errors
/// As [`Script::run`].
fn run_statement(script: &Script, statement: &Statement) -> Result<(), ScriptError> {
    session::with_timeout(settings::deploy_statement_timeout_ms(), || script.run(statement)).map(drop)
}

/// Has deferred constraints checked now.
///
/// # Errors
/// Under the code, and at the file, of what ran before: that made the rows.
fn check_deferred(code: ErrorCode, file: Option<&str>) -> Result<(), Failure> {
    let checked = catch(|| Spi::run("SET CONSTRAINTS ALL IMMEDIATE"));
    let failed = |error: PgError| {
        let failure = from_postgres(code, PgError { context: None, ..error });
        match file {
            Some(file) => failure.at(file, None),
            None => failure,
        }
    };
    checked.map_err(failed)?.map_err(spi)
}

/// What needs neither archive nor proof: where nothing is to be done, or new bodies of functions are all that is. None otherwise.
fn at_once(request: &DeployRequest, seeds: &[Seed]) -> Result<Option<DeployReport>, Failure> {
    let in_transaction = || {
        prepare_session()?;
        let Some(state) = tracking::state()?.filter(|state| !state.is_pending) else {
            return Err(bodies::Stop::LongWay);
        };
        if state.bundle_sha256 == request.bundle_sha256 {
            return unchanged(request, seeds, &state);
        }
        let Some(bodies) = &request.bodies else { return Err(bodies::Stop::LongWay) };
        bodies::run(request, &Bodies::from_json(bodies)?, seeds, &state)
    };
    match locks::with_retries_of(|| transaction(in_transaction), bodies::Stop::as_failure) {
        Ok(report) => Ok(Some(report)),
        Err(bodies::Stop::LongWay) => Ok(None),
        Err(bodies::Stop::Failed(failure)) => Err(*failure),
    }
}

/// The report of a database whose recorded state is that of the bundle and whose catalog nobody has touched since.
fn unchanged(request: &DeployRequest, seeds: &[Seed], state: &State) -> Result<DeployReport, bodies::Stop> {
    let seeding = Seeding { request, seeds, created: &|_| false, bundle: None };
    if state.stamp != catalog::stamp()?.hash() || seeders::would_run(&seeding)? {
        return Err(bodies::Stop::LongWay);
    }
    let mut report = counted(request);
    report.from_fingerprint.clone_from(&request.fingerprint);
    report.plan_fingerprint = validation::fingerprint_of(&[]);
    refuse_other_plan(request, &report)?;
    seeders::run(&seeding, &mut report)?;
    report.verification.passed = true;
    Ok(report)
}

/// A new database that is a copy of the template: its rows are missing, and nothing else.
fn clone_of_template(request: &DeployRequest, seeds: &[Seed]) -> Result<DeployReport, Failure> {
    let Some(archive) = &request.archive else {
        return Err(Failure::internal("a copy is to be seeded without a bundle"));
    };
    let bundle = sources::read_bundle(archive)?;
    transaction(|| {
        prepare_session()?;
        let state = tracking::state()?;
        if state.is_none_or(|state| state.bundle_sha256 != request.bundle_sha256) {
            return Err(Failure::internal("a copy of a template is not in the state of its bundle"));
        }
        let mut report = counted(request);
        report.tables_created = request.summary.tables;
        report.types_deployed = request.summary.types;
        report.extensions_installed = request.summary.extensions;
        report.migrations_applied = request.summary.migrations;
        report.functions_updated = request.summary.functions;
        let seeding = Seeding { request, seeds, created: &|_| true, bundle: Some(&bundle) };
        let ran = seeders::run(&seeding, &mut report)?;
        check_deferred(ErrorCode::SeederFailed, only(&ran))?;
        tracking::date_anew(request)?;
        report.verification.passed = true;
        Ok(report)
    })
}

/// A report with what the bundle has.
fn counted(request: &DeployRequest) -> DeployReport {
    let mut report = DeployReport {
        functions_deployed: request.summary.functions,
        to_fingerprint: request.fingerprint.clone(),
        ..DeployReport::default()
    };
    report.verification.extensions_verified = request.summary.extensions;
    report.verification.types_verified = request.summary.types;
    report.verification.tables_verified = request.summary.tables;
    report
}

/// A plan that was looked at is for the state that it was made for.
fn refuse_other_plan(request: &DeployRequest, report: &DeployReport) -> Result<(), Failure> {
    match &request.options.plan {
        Some(plan) if *plan != report.plan_fingerprint => {
            Err(Failure::new(ErrorCode::SchemaValidationFailed, "the plan was made for another state of the database")
                .detail(format!(
                    "The plan for its state now is {}, the one asked for was {plan}.",
                    report.plan_fingerprint
                ))
                .hint("Look at the plan again with a dry run."))
        }
        _ => Ok(()),
    }
}

/// How the database deviates from what the bundle says: what is missing or changed, and what a bundle before declared and is still
/// there. What nobody declared is not the deployment's business.
fn deviations(present: &Model, wanted: &Model, declared_before: &BTreeSet<Key>) -> Vec<Difference> {
    differences(present, wanted)
        .into_iter()
        .filter(|difference| {
            // Extensions and schemas are never dropped: others may have put something into them.
            let stays = matches!(difference.object.kind, Kind::Extension | Kind::Schema);
            difference.deviation != Deviation::Extra || (!stays && declared_before.contains(&difference.object))
        })
        .collect()
}

/// The one of several, if there is one only.
fn only(paths: &[String]) -> Option<&str> {
    match paths {
        [path] => Some(path),
        _ => None,
    }
}

/// `allow` or `force` covers a kind of change; what has no kind is covered by `force` only.
fn is_allowed(request: &DeployRequest, loss: Option<Loss>) -> bool {
    let options = &request.options;
    options.force || loss.is_some_and(|loss| options.allow.iter().any(|allowed| allowed == loss.word()))
}

/// Whether a table, view or sequence of that name is there.
fn relation_exists(name: &ObjectName) -> Result<bool, Failure> {
    exists("pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname", name)
}

/// Whether a type of that name is there.
fn type_exists(name: &ObjectName) -> Result<bool, Failure> {
    exists("pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.typname", name)
}

fn exists(catalog: &'static str, name: &ObjectName) -> Result<bool, Failure> {
    let there = Spi::get_one_with_args::<bool>(
        &format!("SELECT EXISTS (SELECT FROM pg_catalog.{catalog} = $1 AND n.nspname = $2)"),
        &[name.name.as_str().into(), name.schema.as_str().into()],
    );
    Ok(there.map_err(spi)? == Some(true))
}

/// A name as SQL writes it.
fn quoted(name: &ObjectName) -> String {
    debug_assert!(name.class != Class::Function);
    format!("{}.{}", quote_identifier(&name.schema), quote_identifier(&name.name))
}

/// An error of pgrx's SPI layer itself.
fn spi(error: pgrx::spi::Error) -> Failure {
    Failure::new(ErrorCode::InternalError, error.to_string())
}

/// Why a transaction is rolled back.
enum Stop {
    Failed(Box<Failure>),
    /// It was a dry run: this is what would have been done.
    Planned(Box<DeployReport>),
    /// These statements must be committed first; what the catalog was before them.
    First(Box<Model>, Vec<PlannedStep>),
}

impl Stop {
    fn as_failure(&self) -> Option<&Failure> {
        match self {
            Stop::Failed(failure) => Some(failure),
            Stop::Planned(_) | Stop::First(..) => None,
        }
    }
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
