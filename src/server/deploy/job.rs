//! Deployments that run: known by their ids, watched and cancelled from elsewhere.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use stonescriptdb_protocol::{Counts, DatabaseOutcome, ErrorCode, Failure, Outcome};
use tokio::sync::{broadcast, watch};

use crate::error;
use crate::postgres::counters;
use crate::server::App;
use crate::server::http::Room;

/// So many events may wait for a slow reader; it is told the counts when it has missed some.
const EVENTS: usize = 256;
/// Seconds after which a client may try again that found too many.
const RETRY_AFTER: u32 = 5;
/// So long cancelled deployments are waited for. What an executor does not end of itself it is made to end after 5 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether they have ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A deployment that runs.
pub(in crate::server) struct Job {
    pub(in crate::server) id: String,
    cancelled: watch::Sender<bool>,
    counts: watch::Sender<Counts>,
    events: broadcast::Sender<Event>,
    /// It goes on when whoever asked for it leaves.
    detached: AtomicBool,
    /// The gate that it has passed or waits at.
    gate: OnceLock<String>,
    /// Of its archive.
    room: OnceLock<Room>,
}

/// What happens in a deployment, for those who watch.
#[derive(Clone, Debug)]
pub(in crate::server) enum Event {
    /// A database has ended: its name, tenant, state, error.
    Database(Arc<Value>),
    /// The counts are others.
    Progress(Counts),
    /// It has ended.
    End(Counts),
}

impl Job {
    fn new(id: String) -> Job {
        let counts = Counts { state: "running".to_owned(), ..Counts::default() };
        Job {
            id,
            cancelled: watch::Sender::new(false),
            counts: watch::Sender::new(counts),
            events: broadcast::Sender::new(EVENTS),
            detached: AtomicBool::new(false),
            gate: OnceLock::new(),
            room: OnceLock::new(),
        }
    }

    /// Has it end as soon as it can.
    pub(in crate::server) fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Resolves when it is to end.
    pub(super) async fn cancelled(&self) {
        // The sender is this job's own: it cannot be gone.
        let _ = self.cancelled.subscribe().wait_for(|cancelled| *cancelled).await;
    }

    /// Runs `work`, unless it is cancelled before its end.
    ///
    /// # Errors
    /// The work's own.
    pub(super) async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.cancelled() => Err(was_cancelled()),
            result = work => result,
        }
    }

    pub(in crate::server) fn detach(&self) {
        self.detached.store(true, Relaxed);
    }

    /// Keeps the room of its archive until it has ended.
    pub(in crate::server) fn keep(&self, room: Room) {
        // It has one archive.
        let _ = self.room.set(room);
    }

    /// The counts as they are now, and everything that comes after them.
    pub(in crate::server) fn watch(&self) -> (Counts, broadcast::Receiver<Event>) {
        let events = self.events.subscribe();
        (self.counts(), events)
    }

    pub(in crate::server) fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    pub(super) fn is_at(&self, gate: &str) {
        // It has one gate in its life.
        let _ = self.gate.set(gate.to_owned());
    }

    pub(super) fn begin(&self, total: usize) {
        self.counts.send_modify(|counts| counts.total = u32::try_from(total).unwrap_or(u32::MAX));
    }

    /// A database has ended.
    pub(super) fn ended(&self, outcome: &DatabaseOutcome) {
        counters::deployed(place_of(outcome.result.word()));
        self.counts.send_modify(|counts| match &outcome.result {
            Outcome::Done(_) => counts.succeeded += 1,
            Outcome::Unchanged | Outcome::Superseded => counts.unchanged += 1,
            Outcome::Failed(_) => counts.failed += 1,
            Outcome::Skipped => counts.skipped += 1,
            Outcome::Cancelled => {}
        });
        // Nobody may be listening.
        if self.events.receiver_count() > 0 {
            let _ = self.events.send(Event::Database(Arc::new(event(outcome))));
            let _ = self.events.send(Event::Progress(self.counts()));
        }
    }

    fn end(&self, counts: Counts) {
        self.counts.send_replace(counts.clone());
        let _ = self.events.send(Event::End(counts));
    }
}

fn event(outcome: &DatabaseOutcome) -> Value {
    let mut row = json!({"database": outcome.database, "tenant_id": outcome.tenant, "status": outcome.result.word()});
    if let (Outcome::Failed(failure), Some(row)) = (&outcome.result, row.as_object_mut()) {
        row.insert("error".to_owned(), error::to_json(failure, None));
    }
    row
}

/// Why a deployment that was cancelled has no result.
pub(in crate::server) fn was_cancelled() -> Failure {
    Failure {
        sqlstate: Some("57014".to_owned()),
        ..Failure::new(ErrorCode::QueryFailed, "the deployment was cancelled")
    }
}

/// How deployments end, as a whole and in one database, in the order in which they are counted. What is none of them is the last one.
pub(in crate::server) const ENDS: [&str; 8] =
    ["completed", "completed_with_warnings", "unchanged", "superseded", "partial", "skipped", "cancelled", "failed"];

fn place_of(end: &str) -> usize {
    ENDS.iter().position(|known| *known == end).unwrap_or(ENDS.len() - 1)
}

/// The deployments that run.
#[derive(Default)]
pub(crate) struct Jobs {
    running: Mutex<HashMap<String, Arc<Job>>>,
    /// How many have asked that none begins.
    closed: AtomicUsize,
    /// How many [`Behind`] there are.
    behind: AtomicUsize,
}

/// Something that is left of a deployment and needs the registry: the extension is not dropped while this lives.
pub(super) struct Behind(Arc<App>);

impl Behind {
    pub(super) fn of(app: &Arc<App>) -> Behind {
        app.jobs.behind.fetch_add(1, Relaxed);
        Behind(app.clone())
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.0.jobs.behind.fetch_sub(1, Relaxed);
    }
}

/// Has a task of its own do what is left of a deployment when nobody waits for it any more: to undo what came to no end, to drop what is
/// not needed. Without a runtime everything ends, and the next start does it.
pub(super) fn behind(app: &Arc<App>, work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let behind = Behind::of(app);
        runtime.spawn(async move {
            work.await;
            drop(behind);
        });
    }
}

/// No deployment begins while this lives.
pub(in crate::server) struct Closed(Arc<App>);

impl Closed {
    /// Has all deployments end, and waits for it, but not for ever: the cancelled ones undo what they did, and write their records.
    pub(in crate::server) async fn of(app: &Arc<App>) -> Closed {
        {
            let running = app.jobs.lock();
            app.jobs.closed.fetch_add(1, Relaxed);
            running.values().for_each(|job| job.cancel());
        }
        let closed = Closed(app.clone());
        let ended = async {
            // In this order: what a deployment leaves to be done is counted before it has ended.
            while app.jobs.count() > 0 || app.jobs.behind.load(Relaxed) > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if tokio::time::timeout(PATIENCE, ended).await.is_err() {
            app.main.log("deployments have not ended, although they were cancelled because the extension is dropped");
        }
        closed
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        let _running = self.0.jobs.lock();
        self.0.jobs.closed.fetch_sub(1, Relaxed);
    }
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Job>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a deployment; none if it runs already.
    ///
    /// # Errors
    /// `pool_exhausted` if there are `most`.
    pub(super) fn enter(&self, id: &str, most: usize) -> Result<Option<Arc<Job>>, Failure> {
        let mut running = self.lock();
        if self.closed.load(Relaxed) > 0 {
            return Err(Failure::new(ErrorCode::ConnectionFailed, "the extension stonescriptdb is being dropped")
                .hint("The deployment was not begun."));
        }
        if running.contains_key(id) {
            return Ok(None);
        }
        if running.len() >= most {
            let failure = Failure::new(ErrorCode::PoolExhausted, format!("{most} deployments run or wait already"))
                .hint("Try again later, or raise stonescriptdb.max_deployments.");
            return Err(Failure { retry_after: Some(RETRY_AFTER), ..failure });
        }
        let job = Arc::new(Job::new(id.to_owned()));
        running.insert(id.to_owned(), job.clone());
        Ok(Some(job))
    }

    /// Has all of them end as soon as they can.
    pub(in crate::server) fn cancel_all(&self) {
        self.lock().values().for_each(|job| job.cancel());
    }

    pub(in crate::server) fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.lock().get(id).cloned()
    }

    /// The deployment that has passed a gate or waits at it.
    pub(super) fn at(&self, gate: &str) -> Option<Arc<Job>> {
        self.lock().values().find(|job| job.gate.get().is_some_and(|at| at == gate)).cloned()
    }

    /// Takes a deployment out that has ended, and tells those who watch it.
    pub(super) fn leave(&self, job: &Job, counts: Counts) {
        self.lock().remove(&job.id);
        counters::deployment(place_of(&counts.state));
        job.end(counts);
    }

    /// How many run.
    pub(in crate::server) fn count(&self) -> usize {
        self.lock().len()
    }
}

/// Whoever waits for a deployment. Gone before its end (a cancelled statement, a client that left), the deployment is cancelled, unless
/// it was left to itself.
pub(super) struct Waiting(pub(super) Arc<Job>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.0.detached.load(Relaxed) {
            // Of one that has ended nobody looks at it any more.
            self.0.cancel();
        }
    }
}
