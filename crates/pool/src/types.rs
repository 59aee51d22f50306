//! What goes into the machine and what comes out.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an executor is attached to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Target {
    /// The database.
    pub database: Arc<str>,
    /// The role; `None` is the bootstrap superuser.
    pub role: Option<Arc<str>>,
    /// It is for calls, and not for deployments and the registry.
    pub calls: bool,
}

/// What the settings allow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Executors in all.
    pub total: usize,
    /// Of them, those that are not for calls.
    pub work: usize,
    /// Executors of one database. The first one of a lane is let in over it, so that deployments do not starve behind calls.
    pub per_database: usize,
    /// Who may wait in one lane.
    pub queue: usize,
    /// Who may wait in all.
    pub queue_total: usize,
    /// How long an executor may be idle.
    pub idle: Duration,
    /// How old an executor becomes before it is replaced; zero is no limit.
    pub age: Duration,
    /// How many requests an executor serves before it is replaced; zero is no limit.
    pub served: u64,
}

impl Default for Limits {
    /// None at all, but for one executor.
    fn default() -> Limits {
        Limits {
            total: 1,
            work: 1,
            per_database: 1,
            queue: usize::MAX,
            queue_total: usize::MAX,
            idle: Duration::MAX,
            age: Duration::ZERO,
            served: 0,
        }
    }
}

/// What is to be done. `E` is an executor's connection, `W` somebody who waits.
#[derive(Debug)]
pub enum Action<E, W> {
    /// Start an executor; how it went is told by `started` or `start_failed`.
    Start {
        /// Its number.
        id: u64,
        /// What it is for.
        target: Arc<Target>,
    },
    /// End an executor, by closing its connection.
    End {
        /// Its connection.
        executor: E,
    },
    /// Somebody's waiting is over: the executor is lent to him. If he has left, it is told by `came_back`.
    Give {
        /// Its number.
        id: u64,
        /// Its connection.
        executor: E,
        /// Who waited.
        waiter: W,
    },
    /// Somebody's waiting is over: no executor of his lane can be started.
    Fail {
        /// Who waited.
        waiter: W,
        /// Of what.
        target: Arc<Target>,
        /// Why.
        why: StartFailed,
    },
    /// A lease that is meant to last is wanted back: its end serves somebody who waits, or its executor is aged.
    AskBack {
        /// The executor's number.
        id: u64,
    },
}

/// A place in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    pub(crate) lane: u64,
    pub(crate) number: u64,
}

/// Why somebody may not even wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// As many as may wait in one lane.
    LaneQueue,
    /// His lane's queue would be longer than the room that is left for others'.
    TotalQueue,
}

/// Why no executor can be started for a lane now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocked {
    /// Somebody needs the database for himself.
    Held,
    /// The database has as many as it may.
    Database,
    /// The database has as many as are left to all others.
    Share,
    /// All that may be at other work than calls are.
    Work,
    /// There are as many as may be.
    Total,
}

/// Why an executor did not start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartFailed {
    /// It could not attach.
    Attach,
    /// The server has no slot for its process.
    NoSlot,
}

/// What an executor is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It has not said hello yet.
    Starting,
    /// It waits for work.
    Idle,
    /// It is lent to somebody.
    Lent,
    /// It is lent for longer than one request.
    Long,
}

/// A queue of requests that wait for an executor.
#[derive(Debug)]
pub struct Queue<'a> {
    /// What they wait for.
    pub target: &'a Target,
    /// How many they are.
    pub waiting: usize,
    /// How long the first of them has been waiting.
    pub longest: Duration,
}

/// An executor as the view `workers` shows it.
#[derive(Debug)]
pub struct Shown<'a> {
    /// What it is attached to.
    pub target: &'a Target,
    /// What it is doing.
    pub standing: Standing,
    /// Its process, once that is known.
    pub pid: Option<i32>,
    /// Requests that it has served.
    pub served: u64,
    /// When it was asked for.
    pub born: Instant,
}

/// What there is of executors and who waits, of calls or of other work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Executors that have not said hello yet.
    pub starting: usize,
    /// Those that wait for work.
    pub idle: usize,
    /// Those that are lent for one request.
    pub lent: usize,
    /// Those that are lent for more.
    pub long: usize,
    /// Who waits.
    pub waiting: usize,
    /// How long the first of them has been waiting.
    pub longest: Duration,
}
