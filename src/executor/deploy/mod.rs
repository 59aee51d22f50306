//! Bringing the connected database to a bundle's state, as the platform's owner role, in one transaction.
//!
//! The stages, one file each, in the order in which they run:
//!
//! 1. `sources`: the archive is read, parsed and ordered.
//! 2. `tracking`: the tables that say what was deployed before.
//! 3. extensions that PostgreSQL trusts (the others were installed before, by an elevated executor).
//! 4. `structure`: types, tables, functions and views. What a pending migration makes comes after the migrations; the rest on a fresh
//!    database before them, on a grown one after them.
//! 5. `migrations`.
//! 6. `functions`: bodies are validated once everything they may name is there; functions that left the bundle are dropped.
//! 7. `seeders`.
//! 8. `verify`, and the tracking rows.
//!
//! The model of the catalog, the diff against it and the plan will take the place of `tables` (docs/architecture.md).

mod functions;
mod locks;
mod migrations;
mod seeders;
pub(crate) mod sources;
mod structure;
mod tables;
mod tracking;
mod types;
mod verify;
mod views;

use std::collections::HashSet;

use pgrx::Spi;
use stonescriptdb_bundle::Bundle;
use stonescriptdb_protocol::{DeployReport, DeployRequest, ErrorCode, Failure};

use stonescriptdb_schema::ObjectName;

use super::extensions;
use crate::postgres::{self, PgError, quote_identifier, transaction};
use crate::settings;
use sources::Sources;
use tracking::Tracked;

pub(crate) use tracking::{ARGUMENT_TYPES, TRACKED_NAME};

/// What the stages share.
struct Deployment<'r> {
    request: &'r DeployRequest,
    report: DeployReport,
    tracked: Tracked,
    /// Tables that were made by this deployment: they are to be seeded.
    created_tables: Vec<String>,
    /// Statements that are dealt with, by file and place.
    done: HashSet<(usize, usize)>,
    /// Files of which an object was made or replaced just now.
    touched_files: HashSet<String>,
    /// Files of which an object was there before.
    grown_files: HashSet<String>,
    /// Functions whose bodies are to be checked: file, line of the statement, OID.
    to_validate: Vec<(String, u32, u32)>,
    /// What is written to the changelog, in order.
    changes: Vec<LoggedChange>,
}

/// A row of the changelog.
struct LoggedChange {
    kind: &'static str,
    object: String,
    detail: serde_json::Value,
}

impl Deployment<'_> {
    fn log(&mut self, kind: &'static str, object: impl Into<String>, detail: serde_json::Value) {
        self.changes.push(LoggedChange { kind, object: object.into(), detail });
    }
}

/// Why the transaction is rolled back.
enum Stop {
    Failed(Box<Failure>),
    /// It was a dry run: this is what would have been done.
    Planned(Box<DeployReport>),
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

/// Carries out a deployment. Locks that are out of reach are tried for again.
///
/// # Errors
/// The stage's own, with file and line; nothing is changed then. `lock_timeout` names who holds the locks.
pub(super) fn run(request: DeployRequest) -> Result<DeployReport, Failure> {
    postgres::require_utf8()?;
    let bundle = sources::read_bundle(&request.archive)?;
    locks::with_retries(|| match transaction(|| deploy(&request, &bundle)) {
        Ok(report) => Ok(report),
        Err(Stop::Planned(report)) => Ok(*report),
        Err(Stop::Failed(failure)) => Err(*failure),
    })
}

fn deploy(request: &DeployRequest, bundle: &Bundle) -> Result<DeployReport, Stop> {
    let run = |sql: &str| Spi::run(sql).map_err(|error| PgError::new("XX000", error.to_string()));
    run(&format!("SET LOCAL lock_timeout = {}", settings::deploy_lock_timeout_ms()))?;
    // Bodies are checked by the validators at the end, when all that they name is there.
    run("SET LOCAL check_function_bodies = off")?;
    run("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('stonescriptdb deployment'))")?;
    let sources = Sources::read(bundle)?;
    let mut deployment = Deployment {
        request,
        report: DeployReport::default(),
        tracked: tracking::open(&request.call_role)?,
        created_tables: Vec::new(),
        done: HashSet::new(),
        touched_files: HashSet::new(),
        grown_files: HashSet::new(),
        to_validate: Vec::new(),
        changes: Vec::new(),
    };
    for (path, spec) in extensions::wanted(bundle) {
        if extensions::create(&spec).map_err(|failure| failure.at(path, None))? {
            deployment.report.extensions_installed += 1;
            deployment.log("extension_installed", spec.name, serde_json::json!({}));
        }
    }
    let pending = migrations::pending(&deployment, &sources)?;
    structure::before_migrations(&mut deployment, &sources, &pending)?;
    migrations::run(&mut deployment, &sources, &pending)?;
    structure::after_migrations(&mut deployment, &sources)?;
    functions::validate(&mut deployment, &sources)?;
    functions::drop_orphans(&mut deployment, &sources)?;
    seeders::run(&mut deployment, &sources)?;
    run("SET CONSTRAINTS ALL IMMEDIATE")?;
    verify::run(&mut deployment, &sources, bundle)?;
    tracking::write(&deployment)?;
    let Deployment { report, .. } = deployment;
    if request.options.dry_run { Err(Stop::Planned(Box::new(report))) } else { Ok(report) }
}

/// `allow` or `force` covers a kind of change.
fn is_allowed(request: &DeployRequest, kind: &str) -> bool {
    request.options.force || request.options.allow.iter().any(|allowed| allowed == kind)
}

/// Whether a table, view or sequence of that name is there.
fn relation_exists(name: &ObjectName) -> Result<bool, Failure> {
    let there = Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                        WHERE c.relname = $1 AND n.nspname = $2)",
        &[name.name.as_str().into(), name.schema.as_str().into()],
    );
    Ok(there.map_err(spi)? == Some(true))
}

/// A name as SQL writes it.
fn quoted(name: &ObjectName) -> String {
    format!("{}.{}", quote_identifier(&name.schema), quote_identifier(&name.name))
}

/// An error of pgrx's SPI layer itself.
fn spi(error: pgrx::spi::Error) -> Failure {
    Failure::new(ErrorCode::InternalError, error.to_string())
}
