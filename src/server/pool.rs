//! The executors: who is idle, who waits, who has to go.
//!
//! A request borrows an executor, speaks to it over its own socket, and gives it back: nobody stands between. What is waited for is
//! an executor, never an answer in a queue.

mod lease;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use stonescriptdb_protocol::{ErrorCode, Failure, WorkerRow};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::launcher::{MainRequest, MainThread};
use crate::settings::Settings;
pub(crate) use lease::Lease;
use lease::{Hold, Recall};

/// How long an executor counts as alive without a look.
const FRESH: Duration = Duration::from_millis(5);
/// Requests that an executor may serve in a row while other targets have none.
const TURN: u64 = 64;

/// What an executor is attached to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Target {
    /// The database.
    pub(crate) database: Arc<str>,
    /// The role; `None` is the bootstrap superuser.
    pub(crate) role: Option<Arc<str>>,
    /// It is for calls, and not for deployments and the registry.
    pub(crate) calls: bool,
}

/// An executor that is connected.
pub(crate) struct Executor {
    pub(super) id: u64,
    pub(super) pid: i32,
    pub(super) target: Arc<Target>,
    pub(super) stream: UnixStream,
    started: Instant,
    idle_since: Instant,
    served: u64,
}

impl Executor {
    /// Whether it still waits for work. An executor says nothing unasked, so anything to read is its end.
    fn is_alive(&self) -> bool {
        // One that worked just now is asked for nothing: if it ended meanwhile, the write fails and another one is tried. The look is a
        // system call.
        self.idle_since.elapsed() < FRESH
            || matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// Executors of one target, and who waits for one.
#[derive(Default)]
struct Lane {
    /// The last one back is the first one out: its caches are warm, and the others can age.
    idle: Vec<Executor>,
    /// A lease on its way to somebody who has left meanwhile is dropped, and so gives its executor back.
    waiting: VecDeque<oneshot::Sender<Result<Lease, Failure>>>,
    /// Idle, lent out and starting.
    alive: usize,
    starting: usize,
}

struct Starting {
    target: Arc<Target>,
    since: Instant,
}

struct Lent {
    target: Arc<Target>,
    pid: i32,
    started: Instant,
    served: u64,
}

#[derive(Default)]
struct State {
    lanes: HashMap<Arc<Target>, Lane>,
    starting: HashMap<u64, Starting>,
    lent: HashMap<u64, Lent>,
    /// The leases that are meant to last, by executor.
    long: HashMap<u64, Arc<Recall>>,
    /// Databases that somebody needs for himself, and how many do.
    held: HashMap<String, usize>,
    next_id: u64,
    limits: Limits,
}

#[derive(Default, Clone, Copy)]
struct Limits {
    total: usize,
    /// Of them, those that are not for calls.
    work: usize,
    per_database: usize,
    queue: usize,
    idle: Duration,
}

/// All executors.
pub(crate) struct Pool {
    state: Mutex<State>,
    main: MainThread,
}

impl Pool {
    pub(super) fn new(main: MainThread, settings: Settings) -> Arc<Pool> {
        let pool = Pool { state: Mutex::default(), main };
        pool.reload(&settings);
        Arc::new(pool)
    }

    pub(super) fn reload(&self, settings: &Settings) {
        self.lock().limits = Limits {
            total: settings.max_workers,
            // Calls keep half of them. Two are needed at once: who is in a tenant may wait for the control database.
            work: (settings.max_workers / 2).max(2),
            per_database: settings.max_workers_per_database,
            queue: settings.max_queue,
            idle: settings.worker_idle_timeout,
        };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Borrows an executor of a target: an idle one, a new one, or the next that comes free.
    ///
    /// # Errors
    /// `pool_exhausted` when the queue is full or `wait` is over; `connection_failed` when none can be started.
    pub(crate) async fn acquire(self: &Arc<Self>, target: &Arc<Target>, wait: Duration) -> Result<Lease, Failure> {
        let waiting = {
            let mut state = self.lock();
            if let Some(executor) = state.take_idle(target) {
                return Ok(self.lease(&mut state, executor));
            }
            let limits = state.limits;
            let (sender, receiver) = oneshot::channel();
            let lane = state.lanes.entry(target.clone()).or_default();
            // Those who gave up leave their places to others.
            lane.waiting.retain(|waiter| !waiter.is_closed());
            if lane.waiting.len() >= limits.queue {
                return Err(exhausted(target, "its queue is full"));
            }
            lane.waiting.push_back(sender);
            state.start_if_needed(target, &self.main);
            receiver
        };
        match tokio::time::timeout(wait, waiting).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(exhausted(target, "the server worker is ending")),
            Err(_) => Err(exhausted(target, "no executor came free in time")),
        }
    }

    fn lease(self: &Arc<Self>, state: &mut State, executor: Executor) -> Lease {
        let lent = Lent {
            target: executor.target.clone(),
            pid: executor.pid,
            started: executor.started,
            served: executor.served,
        };
        state.lent.insert(executor.id, lent);
        Lease { executor: Some(executor), pool: self.clone(), midway: false, recall: None }
    }

    /// Notes that a lease is meant to last. Who waits already may have it asked back at once.
    fn lend_for_long(&self, id: u64, recall: Arc<Recall>) {
        let mut state = self.lock();
        state.long.insert(id, recall);
        let waiting: Vec<Arc<Target>> = state
            .lanes
            .iter()
            .filter(|(_, lane)| lane.waiting.iter().any(|waiter| !waiter.is_closed()))
            .map(|(target, _)| target.clone())
            .collect();
        waiting.iter().for_each(|target| state.start_if_needed(target, &self.main));
    }

    /// A started executor has said hello. `None`: it is not expected, and its connection is to be closed.
    pub(super) fn connected(self: &Arc<Self>, id: u64, pid: i32, stream: UnixStream) -> Option<()> {
        let mut state = self.lock();
        let starting = state.starting.remove(&id)?;
        if let Some(lane) = state.lanes.get_mut(&starting.target) {
            lane.starting = lane.starting.saturating_sub(1);
        }
        let executor = Executor {
            id,
            pid,
            target: starting.target,
            stream,
            started: starting.since,
            idle_since: Instant::now(),
            served: 0,
        };
        self.put_back(&mut state, executor);
        Some(())
    }

    /// The main thread saw an executor's process end. One that never said hello could not attach: its database or role is gone, or the
    /// server's log says why.
    pub(super) fn process_ended(&self, id: u64) {
        self.start_failed(id, |database| {
            Failure::new(
                ErrorCode::ConnectionFailed,
                format!("no executor could attach to the database \"{database}\""),
            )
            .hint("The server's log has the reason.")
        });
    }

    /// No background worker slot was to be had.
    pub(super) fn no_slot(&self, id: u64) {
        self.start_failed(id, |_| {
            Failure::new(ErrorCode::PoolExhausted, "no background worker slot is free for an executor")
                .hint("Raise max_worker_processes, or lower stonescriptdb.max_workers.")
        });
    }

    fn start_failed(&self, id: u64, failure: impl Fn(&str) -> Failure) {
        let mut state = self.lock();
        let Some(starting) = state.starting.remove(&id) else { return };
        let target = starting.target;
        let Some(lane) = state.lanes.get_mut(&target) else { return };
        lane.starting = lane.starting.saturating_sub(1);
        lane.alive = lane.alive.saturating_sub(1);
        if lane.alive == 0 {
            for waiter in lane.waiting.drain(..) {
                let _ = waiter.send(Err(failure(&target.database)));
            }
        }
        state.start_for_the_starving(&self.main);
    }

    /// Ends the idle executors of a target: it will not be asked for soon.
    pub(super) fn release(&self, target: &Target) {
        let mut state = self.lock();
        let Some((target, lane)) =
            state.lanes.get_key_value(target).map(|(target, lane)| (target.clone(), lane.idle.len()))
        else {
            return;
        };
        if lane > 0 {
            let gone = state.lanes.get_mut(&target).map(|lane| std::mem::take(&mut lane.idle)).unwrap_or_default();
            gone.iter().for_each(|executor| state.forget(&executor.target));
            state.start_for_the_starving(&self.main);
        }
    }

    /// Keeps a database free of executors until the guard is dropped; gives it once their processes are gone.
    pub(super) async fn hold(self: &Arc<Self>, database: &str) -> Hold {
        {
            let mut state = self.lock();
            *state.held.entry(database.to_owned()).or_default() += 1;
            let gone: Vec<Executor> = state
                .lanes
                .iter_mut()
                .filter(|(target, _)| &*target.database == database)
                .flat_map(|(_, lane)| std::mem::take(&mut lane.idle))
                .collect();
            gone.iter().for_each(|executor| state.forget(&executor.target));
        }
        let hold = Hold { pool: self.clone(), database: database.to_owned() };
        self.main.stop(database).await;
        hold
    }

    /// Ends executors that were idle for long, and forgets those that ended by themselves.
    pub(super) fn reap(&self) {
        let mut state = self.lock();
        let limit = state.limits.idle;
        let mut gone = Vec::new();
        for lane in state.lanes.values_mut() {
            let (old, kept) = std::mem::take(&mut lane.idle)
                .into_iter()
                .partition(|executor| executor.idle_since.elapsed() > limit || !executor.is_alive());
            lane.idle = kept;
            gone.extend::<Vec<Executor>>(old);
        }
        gone.iter().for_each(|executor| state.forget(&executor.target));
        state.lanes.retain(|_, lane| lane.alive > 0 || !lane.waiting.is_empty());
    }

    /// How many databases have executors, and how many executors there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        let databases: std::collections::HashSet<&str> =
            state.lanes.iter().filter(|(_, lane)| lane.alive > 0).map(|(target, _)| &*target.database).collect();
        (databases.len(), state.lanes.values().map(|lane| lane.alive).sum())
    }

    /// The rows of the view `workers`.
    pub(super) fn rows(&self) -> Vec<WorkerRow> {
        let state = self.lock();
        let row = |target: &Target, pid: Option<i32>, what: &str, served: u64, since: Instant| WorkerRow {
            pid,
            database: target.database.to_string(),
            role: target.role.as_deref().unwrap_or_default().to_owned(),
            state: what.to_owned(),
            served,
            age_ms: since.elapsed().as_millis() as u64,
        };
        let idle = state.lanes.values().flat_map(|lane| &lane.idle);
        let idle =
            idle.map(|executor| row(&executor.target, Some(executor.pid), "idle", executor.served, executor.started));
        let busy = state.lent.values().map(|lent| row(&lent.target, Some(lent.pid), "busy", lent.served, lent.started));
        let starting =
            state.starting.values().map(|starting| row(&starting.target, None, "starting", 0, starting.since));
        idle.chain(busy).chain(starting).collect()
    }

    fn give_back(self: &Arc<Self>, mut executor: Executor) {
        executor.idle_since = Instant::now();
        executor.served += 1;
        let mut state = self.lock();
        state.returned(executor.id);
        self.put_back(&mut state, executor);
    }

    /// An executor is free: the next who waits gets it, or somebody for whom there is none may have its slot, or it is idle.
    fn put_back(self: &Arc<Self>, state: &mut State, mut executor: Executor) {
        let target = executor.target.clone();
        if state.is_held(&target) {
            state.forget(&target);
            return;
        }
        let others_starve = state.others_starve(&target);
        // Under pressure a lane keeps its last executor, but only for a turn of calls.
        let wanted = state.lanes.get(&target).is_some_and(|lane| !lane.waiting.is_empty());
        let alone = state.lanes.get(&target).is_some_and(|lane| lane.alive == 1);
        if others_starve && !(alone && wanted && executor.served % TURN != TURN - 1) {
            state.forget(&target);
            state.start_for_the_starving(&self.main);
            state.start_if_needed(&target, &self.main);
            return;
        }
        while let Some(waiter) = state.lanes.get_mut(&target).and_then(|lane| lane.waiting.pop_front()) {
            match waiter.send(Ok(self.lease(state, executor))) {
                Ok(()) => return,
                // Nobody is there any more. The lease is taken apart, for dropping it would lock the pool again.
                Err(Ok(mut lease)) => match lease.executor.take() {
                    Some(back) => {
                        state.returned(back.id);
                        executor = back;
                    }
                    None => return,
                },
                Err(Err(_)) => return,
            }
        }
        if let Some(lane) = state.lanes.get_mut(&target) {
            lane.idle.push(executor);
        }
    }

    fn lost(&self, executor: &Executor) {
        let mut state = self.lock();
        state.returned(executor.id);
        state.forget(&executor.target);
        state.start_if_needed(&executor.target, &self.main);
        state.start_for_the_starving(&self.main);
    }
}

impl State {
    fn take_idle(&mut self, target: &Arc<Target>) -> Option<Executor> {
        if self.is_held(target) {
            return None;
        }
        loop {
            let executor = self.lanes.get_mut(target)?.idle.pop()?;
            if executor.is_alive() {
                return Some(executor);
            }
            self.forget(target);
        }
    }

    fn is_held(&self, target: &Target) -> bool {
        !self.held.is_empty() && self.held.contains_key(&*target.database)
    }

    fn returned(&mut self, id: u64) {
        self.lent.remove(&id);
        self.long.remove(&id);
    }

    /// Asks for a long lease, that of least recent use, which somebody who waits for a target would be served by; for one more with
    /// every one who waits.
    fn ask_back(&self, target: &Arc<Target>, serves: impl Fn(&Target) -> bool) {
        let Some(lane) = self.lanes.get(target) else { return };
        let waiting = lane.waiting.iter().filter(|waiter| !waiter.is_closed()).count().saturating_sub(lane.starting);
        let of = |id: &u64| self.lent.get(id).is_some_and(|lent| serves(&lent.target));
        let long: Vec<&Arc<Recall>> = self.long.iter().filter(|(id, _)| of(id)).map(|(_, recall)| recall).collect();
        let asked = long.iter().filter(|recall| recall.is_asked()).count();
        if asked < waiting
            && let Some(recall) = long.iter().filter(|recall| !recall.is_asked()).min_by_key(|recall| recall.used())
        {
            recall.ask();
        }
    }

    /// An executor is gone or told to go.
    fn forget(&mut self, target: &Arc<Target>) {
        if let Some(lane) = self.lanes.get_mut(target) {
            lane.alive = lane.alive.saturating_sub(1);
        }
    }

    /// Somebody of another target waits, has no executor at all, and no slot is left to start one.
    fn others_starve(&self, target: &Arc<Target>) -> bool {
        let is_full = self.total() >= self.limits.total;
        let work_is_full = !target.calls && self.work() >= self.limits.work;
        (is_full || work_is_full)
            && self.lanes.iter().any(|(other, lane)| {
                other != target
                    && (is_full || !other.calls)
                    && lane.alive == 0
                    && lane.waiting.iter().any(|waiter| !waiter.is_closed())
            })
    }

    /// Executors that are not for calls.
    fn work(&self) -> usize {
        self.lanes.iter().filter(|(target, _)| !target.calls).map(|(_, lane)| lane.alive).sum()
    }

    fn total(&self) -> usize {
        self.lanes.values().map(|lane| lane.alive).sum()
    }

    /// Starts an executor for a target if more wait than are starting and the limits allow it, at the price of one that is idle
    /// elsewhere.
    fn start_if_needed(&mut self, target: &Arc<Target>, main: &MainThread) {
        let held = self.is_held(target);
        let Some(lane) = self.lanes.get(target) else { return };
        if held || lane.waiting.len() <= lane.starting {
            return;
        }
        let of_database: usize =
            self.lanes.iter().filter(|(other, _)| other.database == target.database).map(|(_, lane)| lane.alive).sum();
        // Deployments and control work must not starve behind calls: their roles' first executor is let in over the limit of a database.
        if of_database >= self.limits.per_database && lane.alive > 0 {
            // The slot of another lane of the database would do as well.
            self.ask_back(target, |lent| lent.database == target.database);
            return;
        }
        if !target.calls && self.work() >= self.limits.work && !self.evict(target, |other| !other.calls) {
            self.ask_back(target, |lent| !lent.calls);
            return;
        }
        if self.total() >= self.limits.total && !self.evict(target, |_| true) {
            self.ask_back(target, |_| true);
            return;
        }
        self.next_id += 1;
        let id = self.next_id;
        if let Some(lane) = self.lanes.get_mut(target) {
            lane.alive += 1;
            lane.starting += 1;
        }
        self.starting.insert(id, Starting { target: target.clone(), since: Instant::now() });
        main.ask(MainRequest::Launch { id, database: target.database.clone(), role: target.role.clone() });
    }

    /// Ends the executor that has been idle for longest, of another target.
    fn evict(&mut self, for_target: &Arc<Target>, of: fn(&Target) -> bool) -> bool {
        let oldest = self
            .lanes
            .iter()
            .filter(|(target, _)| *target != for_target && of(target))
            .filter_map(|(target, lane)| lane.idle.first().map(|executor| (executor.idle_since, target.clone())))
            .min_by_key(|(since, _)| *since);
        let Some((_, target)) = oldest else { return false };
        if let Some(lane) = self.lanes.get_mut(&target) {
            lane.idle.remove(0);
            lane.alive = lane.alive.saturating_sub(1);
        }
        true
    }

    /// Targets for which somebody waits and nobody works.
    fn start_for_the_starving(&mut self, main: &MainThread) {
        let starving: Vec<Arc<Target>> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.alive == 0 && lane.waiting.iter().any(|waiter| !waiter.is_closed()))
            .map(|(target, _)| target.clone())
            .collect();
        starving.iter().for_each(|target| self.start_if_needed(target, main));
    }
}

fn exhausted(target: &Target, why: &str) -> Failure {
    Failure::new(ErrorCode::PoolExhausted, format!("no executor for the database \"{}\": {why}", target.database))
        .hint("Try again in a moment.")
        .database(&*target.database)
}
