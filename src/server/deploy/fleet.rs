//! A deployment's way through its databases: canaries first, the others some at a time, what failed for a passing reason once more.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use stonescriptdb_protocol::{
    ControlRequest, DatabaseOutcome, ErrorCode, ExecutorRequest, Failure, Outcome, Prepared, PreparedDatabase,
    Progress, Settled,
};

use super::control_target;
use super::gate::enter;
use super::job::Job;
use super::one::OneDatabase;
use super::template::Bundles;
use crate::server::pool::Target;
use crate::server::{App, broker};

/// What was tried in vain waits this long before it is tried again, times the number of attempts.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A deployment on its way.
pub(super) struct Fleet<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) job: &'a Job,
    pub(super) prepared: &'a Prepared,
    pub(super) bundles: &'a Bundles<'a>,
    /// The gate that is passed already.
    pub(super) gate: &'a str,
    /// The states, and plans for them, that a dry run has met.
    pub(super) plans: Mutex<HashSet<(String, String)>>,
}

/// A turn of a database.
#[derive(Clone, Copy)]
struct Turn<'a> {
    database: &'a PreparedDatabase,
    /// From 1.
    attempt: u32,
}

impl<'a> Fleet<'a> {
    /// Has each database its turn; gives what came of all of them, in order. Of several, each outcome is recorded when it is known.
    pub(super) async fn run(&self) -> Vec<DatabaseOutcome> {
        let databases = &self.prepared.databases;
        self.job.begin(databases.len());
        let mut outcomes: Vec<DatabaseOutcome> = Vec::with_capacity(databases.len());
        for database in databases {
            let result = match database.settled {
                Some(Settled::Unchanged) => Outcome::Unchanged,
                Some(Settled::Superseded) => Outcome::Superseded,
                None => continue,
            };
            let outcome = self.outcome(database, result, 0, 0.0);
            self.job.ended(&outcome);
            outcomes.push(outcome);
        }
        let open = || databases.iter().filter(|database| database.settled.is_none());
        let has_canaries = open().any(|database| database.canary);
        if let Err(failure) = self.prove().await {
            outcomes.extend(self.refuse(failure).await);
            outcomes.sort_by_key(|outcome| outcome.position);
            return outcomes;
        }
        // Without canaries the first one is it where an error stops the rest: nothing runs beside it.
        let stops = !self.prepared.options.continue_on_error;
        let first = if has_canaries || !stops { None } else { open().next().map(|database| database.position) };
        let is_ahead = |database: &&PreparedDatabase| database.canary || Some(database.position) == first;
        let mut stopped = false;
        for ahead in [true, false] {
            let turns = open().filter(|database| is_ahead(database) == ahead);
            let turns: VecDeque<Turn<'a>> = turns.map(|database| Turn { database, attempt: 1 }).collect();
            let done = self.wave(turns, stopped, ahead || stops).await;
            // The rest follows canaries only if all of them have succeeded.
            stopped |= done.iter().any(|outcome| !outcome.result.is_success()) && (ahead || stops);
            outcomes.extend(done);
        }
        outcomes.sort_by_key(|outcome| outcome.position);
        outcomes
    }

    /// What is wrong with a bundle is known before any of several databases is touched, and once.
    async fn prove(&self) -> Result<(), Failure> {
        if self.prepared.is_single {
            return Ok(());
        }
        let open = self.prepared.databases.iter().filter(|database| database.settled.is_none());
        for place in open.filter_map(|database| database.bundle).collect::<BTreeSet<usize>>() {
            let proved = async { self.bundles.proved(place).await.map(drop) };
            self.job.unless_cancelled(proved).await?;
        }
        Ok(())
    }

    /// No bundle, no deployment: the first database is told why, and the others are left out.
    async fn refuse(&self, failure: Failure) -> Vec<DatabaseOutcome> {
        let mut failure = Some(failure);
        let open = self.prepared.databases.iter().filter(|database| database.settled.is_none());
        let outcomes: Vec<DatabaseOutcome> = open
            .map(|database| {
                let result = match failure.take() {
                    _ if self.job.is_cancelled() => Outcome::Cancelled,
                    Some(failure) => Outcome::Failed(failure),
                    None => Outcome::Skipped,
                };
                self.outcome(database, result, 0, 0.0)
            })
            .collect();
        self.end_all(outcomes.iter()).await;
        outcomes
    }

    /// Databases of which some at a time have their turn. After a failure none is begun if one `stops` the others.
    async fn wave(&self, mut turns: VecDeque<Turn<'a>>, mut stopped: bool, stops: bool) -> Vec<DatabaseOutcome> {
        let parallel = self.parallel();
        let mut outcomes = Vec::with_capacity(turns.len());
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < parallel
                && !stopped
                && !self.job.is_cancelled()
                && let Some(turn) = turns.pop_front()
            {
                running.push(self.turn(turn));
            }
            let Some((turn, outcome)) = running.next().await else { break };
            if matches!(outcome.result, Outcome::Cancelled) {
                // Told below, with those that were not begun.
                outcomes.push(outcome);
                continue;
            }
            if is_passing(&outcome.result) && !self.job.is_cancelled() && turn.attempt <= self.retries() {
                turns.push_back(Turn { attempt: turn.attempt + 1, ..turn });
                continue;
            }
            stopped |= stops && !outcome.result.is_success();
            outcomes.push(self.end(outcome).await);
        }
        let cancelled = self.job.is_cancelled();
        for turn in turns {
            let result = if cancelled { Outcome::Cancelled } else { Outcome::Skipped };
            let outcome = self.outcome(turn.database, result, turn.attempt - 1, 0.0);
            outcomes.push(outcome);
        }
        self.end_all(outcomes.iter().filter(|o| matches!(o.result, Outcome::Skipped | Outcome::Cancelled))).await;
        outcomes
    }

    /// Executors are for calls first: a deployment leaves at least half of them.
    fn parallel(&self) -> usize {
        let most = (self.app.settings().max_workers / 4).max(1);
        (self.prepared.fleet.parallel as usize).clamp(1, most)
    }

    fn retries(&self) -> u32 {
        // Of one database its own attempts at locks are enough.
        if self.prepared.is_single { 0 } else { self.prepared.fleet.retries }
    }

    /// A database's turn. Cancelled, it ends at once where it waits for something, and with the executor's word on what came of it where
    /// that is at work: it may just have committed.
    async fn turn(&self, turn: Turn<'a>) -> (Turn<'a>, DatabaseOutcome) {
        let begun = Instant::now();
        let at_work = AtomicBool::new(false);
        let work = self.work(turn, &at_work);
        tokio::pin!(work);
        let result = tokio::select! {
            biased;
            () = self.job.cancelled() => match at_work.load(Relaxed) {
                true => work.await,
                // Dropped, what was begun of it is cancelled.
                false => Outcome::Cancelled,
            },
            result = &mut work => result,
        };
        let result = match result {
            Outcome::Failed(_) if self.job.is_cancelled() => Outcome::Cancelled,
            result => result,
        };
        let outcome = match result {
            Outcome::Cancelled => self.outcome(turn.database, result, turn.attempt - 1, 0.0),
            result => self.outcome(turn.database, result, turn.attempt, begun.elapsed().as_secs_f64() * 1000.0),
        };
        (turn, outcome)
    }

    async fn work(&self, turn: Turn<'a>, at_work: &AtomicBool) -> Outcome {
        if turn.attempt > 1 {
            tokio::time::sleep(RETRY_AFTER * (turn.attempt - 1)).await;
        }
        let _slot = self.app.deployments.slot(self.app.settings().max_workers).await;
        let note = async {
            if !self.prepared.is_single {
                self.record(vec![turn.database.position], Vec::new()).await;
            }
        };
        let ((), result) = tokio::join!(note, self.deploy(turn.database, at_work));
        let result = match result {
            Ok(report) => Outcome::Done(report),
            Err(failure) => Outcome::Failed(Failure { database: Some(turn.database.name.clone()), ..failure }),
        };
        if !self.prepared.is_single {
            // It will not be asked for again soon, and its slot is for others.
            let owner = Some(self.prepared.owner_role.as_str().into());
            self.app.pool.release(&Target { database: turn.database.name.as_str().into(), role: owner, calls: false });
        }
        result
    }

    async fn deploy(
        &self,
        database: &PreparedDatabase,
        at_work: &AtomicBool,
    ) -> Result<stonescriptdb_protocol::DeployReport, Failure> {
        // The gate that the deployment has passed is open to it already.
        let _pass = match database.name == self.gate {
            true => None,
            false => Some(enter(self.app, &database.name, &self.job.id).await?),
        };
        let task = OneDatabase {
            app: self.app,
            prepared: self.prepared,
            bundles: self.bundles,
            database,
            mode: self.prepared.mode,
            options: &self.prepared.options,
            job: self.job,
            at_work,
        };
        let result = task.run().await;
        match result {
            Err(failure) if failure.code == ErrorCode::ConnectionFailed && !database.created => {
                Err(self.why_unreachable(database, failure).await)
            }
            result => result,
        }
    }

    /// A database that no executor can attach to may be gone, or have another name.
    async fn why_unreachable(&self, database: &PreparedDatabase, failure: Failure) -> Failure {
        self.app.main.read_registry().await;
        let schema = Some(self.prepared.schema.as_str());
        match self.app.registry().tenant(&self.prepared.platform, schema, Some(&database.tenant)) {
            Ok(found) if found.database() == database.name => failure,
            Ok(found) => Failure::new(
                ErrorCode::DatabaseNotFound,
                format!("the database \"{}\" has been renamed to \"{}\"", database.name, found.database()),
            ),
            Err(_) => Failure::new(
                ErrorCode::DatabaseNotFound,
                format!("the database \"{}\" is gone: it was dropped by other means", database.name),
            ),
        }
    }

    fn outcome(
        &self,
        database: &PreparedDatabase,
        result: Outcome,
        attempts: u32,
        duration_ms: f64,
    ) -> DatabaseOutcome {
        let bundle = database.bundle.and_then(|place| self.prepared.bundles.get(place));
        DatabaseOutcome {
            position: database.position,
            database: database.name.clone(),
            tenant: database.tenant.clone(),
            created: database.created,
            bundle_sha256: bundle.map(|bundle| bundle.key.sha256.clone()),
            result,
            attempts,
            duration_ms,
        }
    }

    /// Records an outcome. Of several databases nobody needs the statements any more, but those of a dry run: one plan for all that are in
    /// the same state.
    async fn end(&self, mut outcome: DatabaseOutcome) -> DatabaseOutcome {
        let dry_run = self.prepared.options.dry_run;
        if let (true, false, Outcome::Done(report)) = (dry_run, self.prepared.is_single, &mut outcome.result) {
            let state = (report.from_fingerprint.clone(), report.plan_fingerprint.clone());
            if !self.plans.lock().unwrap_or_else(PoisonError::into_inner).insert(state) {
                report.plan.clear();
            }
        }
        self.end_all(std::iter::once(&outcome)).await;
        if let (false, false, Outcome::Done(report)) = (dry_run, self.prepared.is_single, &mut outcome.result) {
            report.plan = Vec::new();
        }
        outcome
    }

    async fn end_all(&self, outcomes: impl Iterator<Item = &DatabaseOutcome>) {
        let outcomes: Vec<DatabaseOutcome> = outcomes.cloned().collect();
        if outcomes.is_empty() {
            return;
        }
        outcomes.iter().for_each(|outcome| self.job.ended(outcome));
        if !self.prepared.is_single {
            self.record(Vec::new(), outcomes).await;
        }
    }

    /// What cannot be recorded now is told to the log: the databases know their own state, and a resumed deployment finds out.
    async fn record(&self, begun: Vec<u32>, outcomes: Vec<DatabaseOutcome>) {
        let progress =
            Progress { deployment_id: self.job.id.clone(), dry_run: self.prepared.options.dry_run, begun, outcomes };
        let request = ExecutorRequest::Control(ControlRequest::Progress(progress));
        if let Err(failure) = broker::request::<()>(self.app, &control_target(self.app), &request).await {
            self.app.main.log(format!("the progress of a deployment could not be recorded: {}", failure.message));
        }
    }
}

/// A failure that may be gone the next time.
fn is_passing(result: &Outcome) -> bool {
    let Outcome::Failed(failure) = result else { return false };
    // Somebody has ended it on purpose.
    if failure.sqlstate.as_deref() == Some("57P01") {
        return false;
    }
    matches!(failure.code, ErrorCode::ConnectionFailed | ErrorCode::PoolExhausted | ErrorCode::LockTimeout)
        || matches!(failure.sqlstate.as_deref(), Some("40001" | "40P01" | "55P03"))
}
