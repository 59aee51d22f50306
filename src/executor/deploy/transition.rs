//! From what a database is to what a bundle wants: one transaction, and what must come before and after it.

use std::collections::BTreeSet;

use pgrx::Spi;
use stonescriptdb_bundle::{Bundle, Kind as FileKind};
use stonescriptdb_protocol::{DeployReport, DeployRequest, ErrorCode, Failure, PlannedStep, Start};
use stonescriptdb_schema::{
    Key, Kind, Model, ObjectName, Rename, Stage, Step, Wanted, classify, drops_of_others, renames, steps,
};

use super::build::Done;
use super::migrations::{Ahead, wants_more};
use super::proof::{Migration, Places, Proof, keys_of};
use super::seeders::{self, Seed, Seeding};
use super::sources::{Source, Sources};
use super::values::{Added, Values, cannot_be_tried, run_alone, with_values};
use super::{
    Stop, afterwards, apply, catalog, check_deferred, deviations, early, locks, migrations, only, others,
    prepare_session, prove, refuse_other_plan, spi, tracking, validation,
};
use crate::executor::extensions;
use crate::postgres::{LastingMemory, subtransaction, transaction};
use crate::settings;

/// A plan is made anew from what is there after it ran, until nothing is left to do; more often than this it does not come to an end.
const ROUNDS: usize = 4;
/// So many differences are told.
const SHOWN: usize = 20;

/// What the transaction works with.
struct Transition<'a> {
    request: &'a DeployRequest,
    bundle: &'a Bundle,
    proof: &'a Proof,
    seeds: &'a [Seed],
    places: Places<'a>,
    /// Parsed: migrations, in an existing database; everything, where it is built from nothing.
    sources: &'a Sources,
    /// What may be made before the migrations.
    ahead: Ahead,
    /// What the migrations did that had to run before the transaction.
    early: DeployReport,
    /// New enum values that were committed before the transaction.
    values: Values,
}

/// Carries it out.
///
/// # Errors
/// The stage's own, with file and line; nothing is changed then but for enum values that were added, which the answer names.
pub(super) fn run(
    request: &DeployRequest,
    bundle: &Bundle,
    proof: &Proof,
    seeds: &[Seed],
) -> Result<DeployReport, Failure> {
    if request.start == Start::Existing && !request.options.dry_run && transaction(early::has_unfinished_migration)? {
        // Its statements come before whatever this bundle wants.
        let mut report = DeployReport::default();
        afterwards::run(&mut report)?;
        if report.unfinished {
            let what = report.warnings.join("; ");
            return Err(Failure::new(
                ErrorCode::MigrationFailed,
                "a migration of an earlier deployment does not come to its end",
            )
            .detail(what)
            .hint("Mend what stops it and deploy again."));
        }
    }
    let memory = LastingMemory::new();
    let kinds: &[FileKind] = if request.start == Start::Empty { &FileKind::ALL } else { &[FileKind::Migration] };
    let sources = memory.enter(|| Sources::read_kinds(bundle, kinds))?;
    let mut early = DeployReport::default();
    if request.start == Start::Empty {
        prove::build_from_nothing(&sources, bundle, &request.call_role, &memory)?;
    } else if !request.options.dry_run {
        early::run_early(request, proof, &sources, &mut early)?;
    }
    let mut transition = Transition {
        request,
        bundle,
        proof,
        seeds,
        places: Places::of(proof),
        sources: &sources,
        ahead: Ahead::Types,
        early,
        values: Values::Unknown,
    };
    let result = loop {
        match locks::with_retries_of(|| transaction(|| transition.run()), Stop::as_failure) {
            Ok(report) => break Ok(report),
            Err(Stop::Planned(report)) => return Ok(*report),
            Err(Stop::First(before, mut steps)) => {
                transition.refuse_other_plan_first()?;
                for place in 0..steps.len() {
                    let Some(step) = steps.get_mut(place) else { break };
                    let begun = std::time::Instant::now();
                    if let Err(failure) = run_alone(&step.sql) {
                        steps.truncate(place);
                        return Err(with_values(failure, &steps));
                    }
                    step.duration_ms = Some(begun.elapsed().as_secs_f64() * 1000.0);
                }
                transition.values = Values::Settled(Added { before: *before, steps });
            }
            // A migration names something that the declared files make.
            Err(Stop::Failed(failure)) if transition.ahead == Ahead::Types && wants_more(&failure) => {
                transition.ahead = Ahead::Everything;
                // The first error is the one to tell if this does not help.
                match locks::with_retries_of(|| transaction(|| transition.run()), Stop::as_failure) {
                    Ok(report) => break Ok(report),
                    Err(Stop::Planned(report)) => return Ok(*report),
                    Err(Stop::Failed(second)) if !wants_more(&second) => break Err(*second),
                    Err(_) => break Err(*failure),
                }
            }
            Err(Stop::Failed(failure)) => break Err(*failure),
        }
    };
    let mut report = result.map_err(|failure| match &transition.values {
        Values::Settled(added) => with_values(failure, &added.steps),
        Values::Unknown => failure,
    })?;
    if let Err(failure) = after_the_commit(request, proof, &mut report) {
        if request.options.dry_run {
            return Err(failure);
        }
        // What is committed is done, whatever becomes of the rest.
        report.unfinished = true;
        report.warnings.push(format!("what runs after the transaction is still to be done: {}", failure.message));
    }
    Ok(report)
}

fn after_the_commit(request: &DeployRequest, proof: &Proof, report: &mut DeployReport) -> Result<(), Failure> {
    // A cancel that came too late for the transaction meets the next one: it is over with the first attempt.
    if transaction(has_pending).or_else(|_| transaction(has_pending))? {
        afterwards::run(report)?;
        if !report.unfinished {
            afterwards::settle(proof, &request.bundle_sha256, &request.deployment_id, report)?;
        }
    }
    Ok(())
}

fn has_pending() -> Result<bool, Failure> {
    Ok(tracking::state()?.is_some_and(|state| state.is_pending))
}

/// The migrations that are to run.
struct Pending<'s> {
    within: Vec<&'s Source>,
    /// Outside the transaction.
    after: Vec<&'s Source>,
}

impl Pending<'_> {
    fn planned_after(&self) -> Vec<PlannedStep> {
        let statements = self.after.iter().flat_map(|source| source.script.statements.iter().map(move |s| (source, s)));
        statements.map(|(source, statement)| migrations::planned(source, statement)).collect()
    }

    /// What the migrations outside the transaction make.
    fn made_after(&self) -> BTreeSet<Key> {
        let statements = self.after.iter().flat_map(|source| &source.script.statements);
        statements.flat_map(|statement| &statement.facts.provides).flat_map(keys_of).collect()
    }
}

impl Transition<'_> {
    fn run(&self) -> Result<DeployReport, Stop> {
        let mut report = super::counted(self.request);
        report.plan.clone_from(&self.early.plan);
        report.migrations_applied = self.early.migrations_applied;
        match self.carry_out(&mut report) {
            Ok(()) if self.request.options.dry_run => Err(Stop::Planned(Box::new(report))),
            Ok(()) => Ok(report),
            Err(Stop::Failed(failure)) if self.request.options.dry_run && cannot_be_tried(&failure) => {
                report.warnings.push(format!(
                    "what comes after this could not be tried, for nothing is committed: {}",
                    failure.message
                ));
                Err(Stop::Planned(Box::new(report)))
            }
            Err(stop) => Err(stop),
        }
    }

    fn carry_out(&self, report: &mut DeployReport) -> Result<(), Stop> {
        prepare_session()?;
        tracking::open(&self.request.call_role)?;
        if self.request.start == Start::Empty {
            self.proof.migrations.iter().try_for_each(tracking::write_migration)?;
            report.migrations_applied = self.request.summary.migrations;
        }
        let applied = tracking::applied_migrations()?;
        let pending = self.pending(migrations::pending(self.proof, &applied)?)?;
        let last_ones = self.proof.before_untransacted.len();
        let wanted_model = self.proof.within(last_ones.saturating_sub(pending.after.len()));
        let mut declared_before = tracking::declared()?;
        let present = catalog::without_spelling(catalog::read()?, wanted_model);
        let mut before = &present;
        match &self.values {
            Values::Unknown => {
                let first = self.new_enum_values(&present, wanted_model, &pending);
                if !first.is_empty() && !self.request.options.dry_run {
                    self.refuse_before_anything(&present, wanted_model, &declared_before, &pending, &first)?;
                    return Err(Stop::First(Box::new(present), first));
                }
                // A dry run adds them in its own transaction, which is rolled back.
                for step in &first {
                    apply::run_text(&step.sql)?;
                }
                report.plan.extend(first);
            }
            Values::Settled(added) => {
                before = &added.before;
                report.plan.extend(added.steps.iter().cloned());
            }
        }
        let now;
        let present = if report.plan.is_empty() {
            &present
        } else {
            now = catalog::without_spelling(catalog::read()?, wanted_model);
            &now
        };
        report.from_fingerprint = before.fingerprint();
        for (path, spec) in &self.proof.extensions {
            let create = || extensions::create(spec).map_err(|failure| failure.at(path, None));
            let result = if self.request.options.dry_run { subtransaction(create) } else { create() };
            match result {
                Ok(true) => report.extensions_installed += 1,
                Ok(false) => {}
                // Another worker installs it, with more rights, when it is meant.
                Err(failure) if self.request.options.dry_run => report.warnings.push(format!(
                    "the extension {} could not be tried, nor what needs it: {}",
                    spec.name, failure.message
                )),
                Err(failure) => return Err(failure.into()),
            }
        }
        let renamed: Vec<&Rename> =
            self.proof.renames.iter().filter(|rename| present.has(&rename.from) && !present.has(&rename.to)).collect();
        declared_before = declared_before.into_iter().flat_map(|key| validation::with_renamed(key, &renamed)).collect();
        let wanted = Wanted {
            model: wanted_model,
            declared_before: &declared_before,
            online_bytes: settings::online_table_bytes(),
        };
        let now = self.migrate(present, wanted_model, &pending, report)?;
        let now = now.map_or_else(|| present.clone(), |now| catalog::without_spelling(now, wanted_model));
        let changes = classify(before, &now, &wanted);
        report.validation = validation::of(&changes);
        let planned = self.plan(&now, &wanted, &pending);
        if !pending.within.is_empty() {
            validation::refuse_other_form(before, &planned, &self.places)?;
        }
        let is_plain = pending.within.is_empty() && report.extensions_installed == 0;
        if self.request.options.dry_run && is_plain {
            // Nothing has to run to know what would.
            report.plan.extend(others::planned_missing(&now, wanted_model, self.proof));
            report.plan.extend(planned.iter().map(apply::planned));
            report.plan.extend(pending.planned_after());
            self.count(before, wanted_model, &planned, report);
            report.plan_fingerprint = validation::fingerprint_of(&report.plan);
            return Ok(());
        }
        if !self.request.options.dry_run {
            validation::refuse(self.request, &changes, &self.places)?;
        }
        let after = self.apply(now, planned, &wanted, &pending, report)?;
        self.count(before, wanted_model, &after.steps, report);
        apply::validate(&after.steps, &after.model, &self.places)?;
        afterwards::note(&after.steps, &pending.after, report)?;
        // Seeders may do anything.
        let stamp = if self.seeds.is_empty() { None } else { Some(catalog::stamp()?.hash()) };
        let created = |name: &ObjectName| {
            keys_of(name).iter().any(|key| key.kind == Kind::Table && after.model.has(key) && !before.has(key))
        };
        let seeding =
            Seeding { request: self.request, seeds: self.seeds, created: &created, bundle: Some(self.bundle) };
        let ran = seeders::run(&seeding, report)?;
        let code = if ran.is_empty() { ErrorCode::MigrationFailed } else { ErrorCode::SeederFailed };
        check_deferred(code, only(&ran))?;
        self.verify(&after, &wanted, &pending)?;
        report.verification.passed = true;
        report.plan_fingerprint = validation::fingerprint_of(&report.plan);
        refuse_other_plan(self.request, report)?;
        tracking::write_objects(self.proof)?;
        tracking::write_changelog(self.request, report)?;
        let now = catalog::stamp()?;
        let as_read = stamp.is_none_or(|stamp| stamp == now.hash());
        let fingerprint = as_read.then(|| after.model.fingerprint());
        tracking::write_state(
            &self.request.bundle_sha256,
            &self.proof.model.declared(),
            &now,
            fingerprint.as_deref(),
            Some(&self.request.deployment_id),
        )?;
        report.warnings.extend(validation::undeclared(&after.model, &wanted));
        Ok(())
    }

    /// With migrations, only trying tells what the plan is: that is done before an enum value is committed for one that is not the approved one.
    fn refuse_other_plan_first(&self) -> Result<(), Failure> {
        if self.request.options.plan.is_none() {
            return Ok(());
        }
        let mut request = self.request.clone();
        let plan = request.options.plan.take();
        request.options.dry_run = true;
        let rehearsal = Transition {
            request: &request,
            places: Places::of(self.proof),
            early: DeployReport::default(),
            values: Values::Unknown,
            ..*self
        };
        match locks::with_retries_of(|| transaction(|| rehearsal.run()), Stop::as_failure) {
            Err(Stop::Planned(report)) if plan.as_deref() != Some(&report.plan_fingerprint) => {
                refuse_other_plan(self.request, &report)
            }
            Err(Stop::Failed(failure)) => Err(*failure),
            _ => Ok(()),
        }
    }

    /// What is refused is refused before an enum value is committed, as far as it is known without running the migrations.
    fn refuse_before_anything(
        &self,
        present: &Model,
        wanted: &Model,
        declared_before: &BTreeSet<Key>,
        pending: &Pending<'_>,
        first: &[PlannedStep],
    ) -> Result<(), Failure> {
        if !pending.within.is_empty() || !renames(present, &self.proof.renames).is_empty() {
            return Ok(());
        }
        let wanted = Wanted { model: wanted, declared_before, online_bytes: settings::online_table_bytes() };
        validation::refuse(self.request, &classify(present, present, &wanted), &self.places)?;
        let mut report = DeployReport::default();
        report.plan.extend(first.iter().cloned());
        let planned = self.plan(present, &wanted, pending);
        report.plan.extend(planned.iter().filter(|step| step.stage != Stage::Before).map(apply::planned));
        report.plan.extend(pending.planned_after());
        report.plan_fingerprint = validation::fingerprint_of(&report.plan);
        refuse_other_plan(self.request, &report)
    }

    fn pending(&self, pending: Vec<&Migration>) -> Result<Pending<'_>, Failure> {
        let (within, after): (Vec<&Migration>, Vec<&Migration>) =
            pending.into_iter().partition(|migration| migration.transactional);
        Ok(Pending { within: migrations::find(self.sources, &within)?, after: migrations::find(self.sources, &after)? })
    }

    /// New values of enums that are there: of the wanted types, and of pending migrations. Nobody can use them before they are committed.
    fn new_enum_values(&self, before: &Model, wanted: &Model, pending: &Pending<'_>) -> Vec<PlannedStep> {
        let mut found = Vec::new();
        for source in &pending.within {
            for statement in &source.script.statements {
                if let Some(name) = source.script.enum_with_new_value(statement)
                    && keys_of(&name).iter().any(|key| key.kind == Kind::Enum && before.has(key))
                {
                    found.push(PlannedStep { transactional: false, ..migrations::planned(source, statement) });
                }
            }
        }
        let none = BTreeSet::new();
        let whole = Wanted { model: wanted, declared_before: &none, online_bytes: u64::MAX };
        let declared = steps(before, &whole).into_iter().filter(|step| step.stage == Stage::Before);
        found.extend(declared.map(|step| apply::planned(&step)));
        found
    }

    /// Runs what comes before the plan: renames, what the migrations may want to use, and they. Gives the catalog after it, if anything ran.
    fn migrate(
        &self,
        before: &Model,
        wanted: &Model,
        pending: &Pending<'_>,
        report: &mut DeployReport,
    ) -> Result<Option<Model>, Failure> {
        let renamed = renames(before, &self.proof.renames);
        report.plan.extend(apply::run(&renamed, &self.places)?);
        if pending.within.is_empty() {
            return if renamed.is_empty() { Ok(None) } else { catalog::read().map(Some) };
        }
        let before = if renamed.is_empty() { before.clone() } else { catalog::read()? };
        let first = migrations::ahead(&before, wanted, &pending.within, self.ahead);
        let none = BTreeSet::new();
        let ahead = steps(&before, &Wanted { model: &first, declared_before: &none, online_bytes: u64::MAX });
        report.plan.extend(apply::run(&ahead, &self.places)?);
        let done = if self.ahead == Ahead::Everything { Done::Additions } else { Done::Nothing };
        for source in &pending.within {
            report.plan.extend(migrations::run(source, done)?);
            early::record(self.proof, source)?;
            report.migrations_applied += 1;
        }
        // Rows that the migrations made; whatever comes after them may defer again.
        let paths: Vec<String> = pending.within.iter().map(|source| source.path.clone()).collect();
        check_deferred(ErrorCode::MigrationFailed, only(&paths))?;
        Spi::run("SET CONSTRAINTS ALL DEFERRED").map_err(spi)?;
        catalog::read().map(Some)
    }

    /// The statements from a catalog to the wanted one. What a migration makes after the transaction is left to it.
    fn plan(&self, now: &Model, wanted: &Wanted<'_>, pending: &Pending<'_>) -> Vec<Step> {
        let left = pending.made_after();
        // First, for few things that the model has a definition of need what is known by name only; that needs routines and types.
        let mut planned = drops_of_others(now, wanted);
        planned.extend(steps(now, wanted).into_iter().filter(|step| !left.contains(&step.object)));
        planned
    }

    /// Runs the plan. What is left after it, because a statement took more with it than the plan knew, is planned again.
    fn apply(
        &self,
        mut model: Model,
        mut planned: Vec<Step>,
        wanted: &Wanted<'_>,
        pending: &Pending<'_>,
        report: &mut DeployReport,
    ) -> Result<Applied, Failure> {
        let mut all: Vec<Step> = Vec::new();
        let made = others::make_missing(&model, wanted.model, self.proof)?;
        if !made.is_empty() {
            report.plan.extend(made);
            model = catalog::without_spelling(catalog::read()?, wanted.model);
            planned = self.plan(&model, wanted, pending);
        }
        for _ in 0..ROUNDS {
            let within = planned.iter().any(|step| step.stage == Stage::Within);
            report.plan.extend(apply::run(&planned, &self.places)?);
            all.extend(planned);
            if !within {
                break;
            }
            model = catalog::without_spelling(catalog::read()?, wanted.model);
            let later: BTreeSet<&String> =
                all.iter().filter(|step| step.stage == Stage::After).map(|step| &step.sql).collect();
            planned =
                self.plan(&model, wanted, pending).into_iter().filter(|step| !later.contains(&step.sql)).collect();
            if planned.is_empty() {
                break;
            }
        }
        Ok(Applied { model, steps: all })
    }

    /// The catalog equals the model, but for what is to be done after the transaction.
    fn verify(&self, applied: &Applied, wanted: &Wanted<'_>, pending: &Pending<'_>) -> Result<(), Failure> {
        let left = pending.made_after();
        let after = applied.steps.iter().filter(|step| step.stage == Stage::After).map(|step| &step.object);
        let later: BTreeSet<&Key> = after.chain(&left).collect();
        let open: Vec<String> = deviations(&applied.model, wanted.model, wanted.declared_before)
            .into_iter()
            .filter(|difference| !later.contains(&difference.object))
            .map(|difference| match difference.detail.is_empty() {
                true => format!("{}: {}", difference.object, difference.deviation.word()),
                false => format!("{}: {}", difference.object, difference.detail),
            })
            .collect();
        let Some(_) = open.first() else { return Ok(()) };
        let more = if open.len() > SHOWN { format!("; and {} more", open.len() - SHOWN) } else { String::new() };
        let told: Vec<String> = open.into_iter().take(SHOWN).collect();
        Err(Failure::new(ErrorCode::VerificationFailed, "the database is not as the bundle says after applying it")
            .detail(format!("{}{more}", told.join("; "))))
    }

    fn count(&self, before: &Model, wanted: &Model, done: &[Step], report: &mut DeployReport) {
        for object in wanted.iter().filter(|object| !before.has(&object.key)) {
            match object.key.kind {
                Kind::Table => report.tables_created += 1,
                Kind::Enum | Kind::Composite | Kind::Domain | Kind::Range => report.types_deployed += 1,
                _ => {}
            }
        }
        let routines: BTreeSet<&Key> =
            done.iter().map(|step| &step.object).filter(|key| key.kind == Kind::Routine).collect();
        report.functions_updated = routines.len() as u32;
        if self.request.start == Start::Empty {
            report.functions_updated = self.request.summary.functions;
        }
    }
}

/// A plan after it ran, and what is there then.
struct Applied {
    model: Model,
    steps: Vec<Step>,
}
