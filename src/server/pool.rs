//! The executors: who is idle, who waits, who has to go.
//!
//! A request borrows an executor, speaks to it over its own socket, and gives it back: nobody stands between. What is waited for is
//! an executor, never an answer in a queue. What is decided, `crates/pool` decides; here it is carried out.

mod lease;
mod refused;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stonescriptdb_pool::{Action, Limits, Load, Machine, PATIENCE, Standing, StartFailed, Ticket};
use stonescriptdb_protocol::{Failure, WorkerRow};
use tokio::sync::oneshot;

use super::launcher::{MainRequest, MainThread};
use super::local::Local;
use crate::settings::Settings;
pub(super) use lease::CANCEL_PATIENCE;
pub(crate) use lease::Lease;
use lease::{Hold, Recall};
pub(crate) use stonescriptdb_pool::Target;

/// How long an executor counts as alive without a look.
const FRESH: Duration = Duration::from_millis(5);

/// How long a want of slots for background workers counts.
const WANT: Duration = Duration::from_secs(10);

/// An executor that is connected.
pub(crate) struct Executor {
    pub(super) id: u64,
    pub(super) pid: i32,
    pub(super) stream: Local,
    idle_since: Instant,
}

impl Executor {
    /// Whether it still waits for work. An executor says nothing unasked, so anything to read is its end.
    fn is_alive(&self, now: Instant) -> bool {
        // One that worked just now is asked for nothing: if it ended meanwhile, the write fails and another one is tried. The look is a
        // system call.
        now.saturating_duration_since(self.idle_since) < FRESH || self.stream.is_quiet()
    }
}

/// A lease on its way to somebody who has left meanwhile is dropped, and so gives its executor back.
type Waiter = oneshot::Sender<Result<Lease, Failure>>;

struct State {
    machine: Machine<Executor, Waiter>,
    /// The leases that are meant to last, by executor.
    long: HashMap<u64, Arc<Recall>>,
    /// When PostgreSQL had no slot for an executor, if none has started since.
    no_slot: Option<Instant>,
}

/// All executors.
pub(crate) struct Pool {
    state: Mutex<State>,
    main: MainThread,
}

impl Pool {
    pub(super) fn new(main: MainThread, settings: &Settings) -> Arc<Pool> {
        let machine = Machine::new(limits(settings));
        Arc::new(Pool { state: Mutex::new(State { machine, long: HashMap::new(), no_slot: None }), main })
    }

    pub(super) fn reload(self: &Arc<Self>, settings: &Settings) {
        self.happened(|state| state.machine.set_limits(limits(settings), Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells the machine what happened, and does what it says.
    fn happened<T>(self: &Arc<Self>, event: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let outcome = event(&mut state);
        self.carry_out(&mut state);
        outcome
    }

    fn carry_out(self: &Arc<Self>, state: &mut State) {
        loop {
            let actions = state.machine.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.act(state, action);
            }
        }
    }

    fn act(self: &Arc<Self>, state: &mut State, action: Action<Executor, Waiter>) {
        match action {
            Action::Start { id, target } => {
                self.main.ask(MainRequest::Launch { id, target });
            }
            // Its process ends when its connection does.
            Action::End { executor } => drop(executor),
            Action::Give { executor, waiter, .. } => {
                // Nobody is there any more. The lease is taken apart, for dropping it would lock the pool again.
                if let Err(Ok(mut lease)) = waiter.send(Ok(self.lease(executor)))
                    && let Some(back) = lease.executor.take()
                {
                    state.machine.came_back(back.id, back, false, Instant::now());
                }
            }
            Action::Fail { waiter, target, why } => {
                let _ = waiter.send(Err(refused::not_started(&target, why)));
            }
            Action::AskBack { id } => {
                if let Some(recall) = state.long.get(&id) {
                    recall.ask();
                }
            }
        }
    }

    /// Borrows an executor of a target: an idle one, a new one, or the next that comes free.
    ///
    /// # Errors
    /// `pool_exhausted` when the queue is full or `wait` is over; `connection_failed` when none can be started.
    pub(crate) async fn acquire(self: &Arc<Self>, target: &Arc<Target>, wait: Duration) -> Result<Lease, Failure> {
        let (receiver, place) = {
            let mut state = self.lock();
            let now = Instant::now();
            while let Some((id, executor)) = state.machine.take(target) {
                if executor.is_alive(now) {
                    return Ok(self.lease(executor));
                }
                state.machine.lost(id, now);
                self.carry_out(&mut state);
            }
            let (sender, receiver) = oneshot::channel();
            let outcome = state.machine.wait(target, sender, now);
            self.carry_out(&mut state);
            let machine = &state.machine;
            let refuse = |why| refused::not_queued(target, why, machine.limits(), machine.waited(target, now));
            let ticket = outcome.map_err(refuse)?;
            (receiver, Place { pool: self.clone(), ticket })
        };
        let mut receiver = receiver;
        let answer = match tokio::time::timeout(PATIENCE.min(wait), &mut receiver).await {
            Err(_) if wait > PATIENCE => {
                self.happened(|state| state.machine.still_waits(place.ticket, Instant::now()));
                tokio::time::timeout(wait - PATIENCE, receiver).await
            }
            answer => answer,
        };
        match answer {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(refused::ending(target)),
            Err(_) => {
                let state = self.lock();
                Err(refused::not_in_time(target, wait, state.machine.why(place.ticket), state.machine.limits()))
            }
        }
    }

    fn lease(self: &Arc<Self>, executor: Executor) -> Lease {
        Lease { executor: Some(executor), pool: self.clone(), midway: false, recall: None }
    }

    /// Notes that a lease is meant to last. Who waits already may have it asked back at once.
    fn lend_for_long(self: &Arc<Self>, id: u64, recall: Arc<Recall>) {
        self.happened(|state| {
            state.long.insert(id, recall);
            state.machine.lend_for_long(id, Instant::now());
        });
    }

    fn touched(&self, id: u64) {
        self.lock().machine.touched(id, Instant::now());
    }

    /// A started executor has said hello. One that is not expected is let go.
    pub(super) fn connected(self: &Arc<Self>, id: u64, pid: i32, stream: Local) {
        let now = Instant::now();
        let executor = Executor { id, pid, stream, idle_since: now };
        self.happened(|state| {
            state.no_slot = None;
            drop(state.machine.started(id, pid, executor, now));
        });
    }

    /// The main thread saw an executor's process end. One that never said hello could not attach: its database or role is gone, or the
    /// server's log says why.
    pub(super) fn process_ended(self: &Arc<Self>, id: u64) {
        self.happened(|state| state.machine.start_failed(id, StartFailed::Attach, Instant::now()));
    }

    /// No background worker slot was to be had.
    pub(super) fn no_slot(self: &Arc<Self>, id: u64) {
        self.happened(|state| {
            state.no_slot = Some(Instant::now());
            state.machine.start_failed(id, StartFailed::NoSlot, Instant::now());
        });
    }

    /// Ends the idle executors of a target: it will not be asked for soon.
    pub(super) fn release(self: &Arc<Self>, target: &Target) {
        self.happened(|state| state.machine.release(target, Instant::now()));
    }

    /// Keeps a database free of executors until the guard is dropped; gives it once their processes are gone.
    pub(super) async fn hold(self: &Arc<Self>, database: &str) -> Hold {
        self.happened(|state| state.machine.hold(database));
        let hold = Hold { pool: self.clone(), database: database.to_owned() };
        self.main.stop(database).await;
        hold
    }

    /// Ends executors that were idle for long, replaces aged ones, and forgets those that ended by themselves.
    pub(super) fn look_after(self: &Arc<Self>) {
        let now = Instant::now();
        self.happened(|state| state.machine.tick(now, |executor| executor.is_alive(now)));
    }

    /// How many databases have executors, and how many executors there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        self.lock().machine.counts()
    }

    /// What there is for calls, and for other work.
    pub(super) fn load(&self) -> [Load; 2] {
        self.lock().machine.load(Instant::now())
    }

    /// Whether a slot for a background worker was in want just now, and none has been had since.
    pub(super) fn lacks_slots(&self) -> bool {
        self.lock().no_slot.is_some_and(|since| since.elapsed() < WANT)
    }

    /// The rows of the view `workers`.
    pub(super) fn rows(&self) -> Vec<WorkerRow> {
        let state = self.lock();
        let row = |shown: stonescriptdb_pool::Shown<'_>| WorkerRow {
            pid: shown.pid,
            database: shown.target.database.to_string(),
            role: shown.target.role.as_deref().unwrap_or_default().to_owned(),
            state: match shown.standing {
                Standing::Starting => "starting",
                Standing::Idle => "idle",
                Standing::Lent => "busy",
                Standing::Long => "serving",
            }
            .to_owned(),
            served: shown.served,
            age_ms: shown.born.elapsed().as_millis() as u64,
        };
        state.machine.shown().map(row).collect()
    }

    /// The queues in which somebody waits, as `GET /admin/workers` tells of them.
    pub(super) fn queues(&self) -> Vec<Value> {
        let state = self.lock();
        let queue = |queue: stonescriptdb_pool::Queue<'_>| {
            json!({"database": &*queue.target.database, "role": queue.target.role.as_deref().unwrap_or_default(),
                   "waiting": queue.waiting, "longest_ms": queue.longest.as_millis() as u64})
        };
        state.machine.queues(Instant::now()).map(queue).collect()
    }

    fn give_back(self: &Arc<Self>, mut executor: Executor, is_long: bool) {
        let now = Instant::now();
        executor.idle_since = now;
        self.happened(|state| {
            if is_long {
                state.long.remove(&executor.id);
            }
            state.machine.came_back(executor.id, executor, true, now);
        });
    }

    fn lost(self: &Arc<Self>, executor: &Executor) {
        self.happened(|state| {
            state.long.remove(&executor.id);
            state.machine.lost(executor.id, Instant::now());
        });
    }
}

/// A place in a queue, which is left whatever becomes of who waits.
struct Place {
    pool: Arc<Pool>,
    ticket: Ticket,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.lock().machine.gave_up(self.ticket);
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        total: settings.max_workers,
        // Calls keep half of them. Two are needed at once: who is in a tenant may wait for the control database.
        work: (settings.max_workers / 2).max(2),
        per_database: settings.max_workers_per_database,
        queue: settings.max_queue,
        queue_total: settings.max_queue_total,
        idle: settings.worker_idle_timeout,
        age: settings.worker_max_age,
        served: settings.worker_max_calls,
    }
}
