//! A bundle that differs from the one before in the bodies of functions only: what is to be done in a tenant is known from the proof.
//!
//! A database that is exactly in the state of the bundle before needs neither archive nor proof, and its catalog is not read. That it is
//! in that state the recorded fingerprint says, and the stamp, that nobody has touched it since. That nothing but these functions
//! has changed afterwards is seen from the two stamps. Everything that is otherwise is left to the long way.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use stonescriptdb_protocol::{DeployReport, DeployRequest, ErrorCode, Failure, PlannedStep, Validation};
use stonescriptdb_schema::{Body, Key, Kind, Model, Safety, Stage, Step, Wanted, classify, steps};

use super::proof::{Migration, Place, Places, Proof, Tracked};
use super::routines::{self, Row};
use super::seeders::{self, Seed, Seeding};
use super::tracking::{self, State};
use super::{apply, catalog, check_deferred, counted, only, refuse_other_plan, validation};
use crate::postgres::PgError;
use crate::settings;

/// Why something does not go by the short way.
pub(super) enum Stop {
    /// Only the long way can tell what is to be done.
    LongWay,
    Failed(Box<Failure>),
}

impl Stop {
    pub(super) fn as_failure(&self) -> Option<&Failure> {
        match self {
            Stop::LongWay => None,
            Stop::Failed(failure) => Some(failure),
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

/// What leads from one bundle to another.
#[derive(Serialize, Deserialize)]
pub(super) struct Bodies {
    /// SHA-256 of the bundle before, in hex.
    base: String,
    /// The fingerprint of its catalog.
    fingerprint: String,
    /// The plan.
    steps: Vec<Step>,
    /// The routines that it replaces, and where they are defined.
    routines: Vec<(Key, Place)>,
    /// SHA-256 of the definition of each, before and after.
    definitions: Vec<(String, String)>,
    /// How the plan is classified in answers.
    validation: Validation,
    /// Rows of the tracking tables that are different: those of the files that have changed.
    tracked: Vec<Tracked>,
    /// The migrations of both.
    migrations: Vec<Migration>,
}

impl Bodies {
    /// What leads from the bundle before, whose recorded state and model are given, to a proved one that differs in these files. `None` if
    /// it is more than new bodies.
    pub(super) fn between(state: &State, before: &Model, proof: &Proof, files: &BTreeSet<&str>) -> Option<Bodies> {
        let declared_before = before.declared();
        let wanted = Wanted {
            model: &proof.model,
            declared_before: &declared_before,
            online_bytes: settings::online_table_bytes(),
        };
        let steps = steps(before, &wanted);
        let is_plain = |step: &Step| {
            step.object.kind == Kind::Routine && step.safety == Safety::Safe && step.stage == Stage::Within
        };
        let changes = classify(before, before, &wanted);
        if !steps.iter().all(is_plain) || changes.iter().any(|change| change.safety != Safety::Safe) {
            return None;
        }
        let replaced: BTreeSet<&Key> = steps.iter().map(|step| &step.object).collect();
        let places = Places::of(proof);
        let routines: Vec<(Key, Place)> =
            replaced.iter().filter_map(|key| Some(((*key).clone(), places.find(key)?.clone()))).collect();
        let definitions: Vec<(String, String)> = replaced
            .iter()
            .filter_map(|key| Some((definition_of(before, key)?, definition_of(&proof.model, key)?)))
            .collect();
        if routines.len() != replaced.len() || definitions.len() != replaced.len() {
            return None;
        }
        Some(Bodies {
            base: state.bundle_sha256.clone(),
            fingerprint: state.fingerprint.clone()?,
            validation: validation::of(&changes),
            tracked: proof.tracked.iter().filter(|row| files.contains(row.path.as_str())).cloned().collect(),
            migrations: proof.migrations.clone(),
            steps,
            routines,
            definitions,
        })
    }

    pub(super) fn to_json(&self) -> Result<String, Failure> {
        serde_json::to_string(self).map_err(|error| Failure::internal(error.to_string()))
    }

    /// Reads what [`Bodies::to_json`] wrote.
    ///
    /// # Errors
    /// An internal one: it was written by this build or one before it.
    pub(super) fn from_json(text: &str) -> Result<Bodies, Failure> {
        serde_json::from_str(text).map_err(|error| Failure::internal(format!("new bodies do not read: {error}")))
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.routines.iter().map(|(key, _)| key)
    }

    /// The routines as they are in the database.
    fn read(&self) -> Result<Vec<Row>, Stop> {
        catalog::under_catalog_settings(|| routines::read(self.keys()))?.ok_or(Stop::LongWay)
    }
}

fn definition_of(model: &Model, key: &Key) -> Option<String> {
    match &model.get(key)?.body {
        Body::Routine(routine) => Some(hash(&routine.definition)),
        _ => None,
    }
}

fn hash(text: &str) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Replaces the bodies, inside the deployment's transaction, if the database is in the state for which that is all.
///
/// # Errors
/// [`Stop::LongWay`] if it is not, before or after anything was done; the transaction is to be rolled back.
pub(super) fn run(
    request: &DeployRequest,
    bodies: &Bodies,
    seeds: &[Seed],
    state: &State,
) -> Result<DeployReport, Stop> {
    if state.bundle_sha256 != bodies.base || state.fingerprint.as_ref() != Some(&bodies.fingerprint) {
        return Err(Stop::LongWay);
    }
    let before = catalog::stamp()?;
    let seeding = Seeding { request, seeds, created: &|_| false, bundle: None };
    if state.stamp != before.hash()
        || !tracking::is_complete(&bodies.migrations, request.summary.functions)?
        || seeders::would_run(&seeding)?
    {
        return Err(Stop::LongWay);
    }
    let old = bodies.read()?;
    // What is spelt otherwise made another fingerprint.
    if !old.iter().zip(&bodies.definitions).all(|(row, (before, _))| hash(&row.definition) == *before) {
        return Err(Stop::LongWay);
    }
    let mut report = counted(request);
    report.short = true;
    report.from_fingerprint.clone_from(&bodies.fingerprint);
    report.validation.clone_from(&bodies.validation);
    report.functions_updated = bodies.routines.len() as u32;
    report.plan = bodies.steps.iter().map(apply::planned).collect::<Vec<PlannedStep>>();
    report.plan_fingerprint = validation::fingerprint_of(&report.plan);
    if request.options.dry_run {
        return Ok(report);
    }
    refuse_other_plan(request, &report)?;
    // The record of the deployment is written after this, in the same log: with that this is on disk too.
    pgrx::Spi::run("SET LOCAL synchronous_commit = off").map_err(super::spi)?;
    let new = replace(bodies, &old, &mut report)?;
    let ran = seeders::run(&seeding, &mut report)?;
    check_deferred(ErrorCode::MigrationFailed, only(&ran))?;
    let stamp = catalog::stamp()?;
    if !before.leads_to(&stamp, routines::sum(&old), routines::sum(&new)) {
        return Err(Stop::LongWay);
    }
    report.verification.passed = true;
    tracking::write_functions(&bodies.tracked)?;
    tracking::write_changelog(request, &report)?;
    tracking::advance_state(&request.bundle_sha256, &stamp, &request.fingerprint, Some(&request.deployment_id))?;
    Ok(report)
}

/// Runs the plan and has the new bodies checked; gives the routines as they are then.
fn replace(bodies: &Bodies, old: &[Row], report: &mut DeployReport) -> Result<Vec<Row>, Stop> {
    let places = Places::at(&bodies.routines);
    report.plan = apply::run(&bodies.steps, &places)?;
    let new = bodies.read()?;
    let mut pairs = old.iter().zip(&new).zip(&bodies.definitions);
    if !pairs.all(|((old, new), (_, after))| hash(&new.definition) == *after && old.others == new.others) {
        return Err(Stop::LongWay);
    }
    let oids: Vec<(&Key, u32)> = bodies.keys().zip(new.iter().map(|row| row.oid)).collect();
    apply::validate_at(&oids, &places)?;
    Ok(new)
}
