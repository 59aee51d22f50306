//! The main thread's side of the executors: starting them, seeing them end, stopping those of a database.

use std::collections::HashMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use stonescriptdb_protocol::Rate;
use tokio::sync::oneshot;

use super::log;
use super::pool::{Pool, Target};
use crate::postgres::counters::{self, Line};
use crate::postgres::worker::{self, Started, WorkerHandle, WorkerState};
use crate::settings::Settings;

/// What only the main thread can do.
pub(super) enum MainRequest {
    /// Start an executor; how it went is told to the pool.
    Launch { id: u64, target: Arc<Target> },
    /// End the executors of a database; answered when their processes are gone.
    Stop { database: String, done: oneshot::Sender<()> },
    /// Read the registry; answered when what was committed before is seen.
    ReadRegistry { done: oneshot::Sender<()> },
    /// Ask the control database something; answered with whether the extension is in it.
    Probe { done: oneshot::Sender<Result<bool, String>> },
    /// A line for the server's log.
    Log(String),
}

/// A thread's way to the main thread.
#[derive(Clone)]
pub(crate) struct MainThread {
    requests: mpsc::Sender<MainRequest>,
    waker: Arc<UnixStream>,
    log_limit: Arc<RwLock<Option<Rate>>>,
}

impl MainThread {
    pub(super) fn new(waker: UnixStream, settings: &Settings) -> (MainThread, mpsc::Receiver<MainRequest>) {
        let (sender, receiver) = mpsc::channel();
        let log_limit = Arc::new(RwLock::new(settings.log_limit));
        (MainThread { requests: sender, waker: Arc::new(waker), log_limit }, receiver)
    }

    /// The settings have changed.
    pub(super) fn limit_log(&self, limit: Option<Rate>) {
        *self.log_limit.write().unwrap_or_else(PoisonError::into_inner) = limit;
    }

    pub(super) fn ask(&self, request: MainRequest) {
        // Both fail only when the process ends; a full pipe is a wake-up already.
        let _ = self.requests.send(request);
        let _ = (&*self.waker).write(&[1]);
    }

    /// Writes a line to the server's log, unless there were too many.
    pub(crate) fn log(&self, message: impl Into<String>) {
        self.log_as(Line::Message, message);
    }

    /// The same of a line of another kind; whether it is written.
    pub(super) fn log_as(&self, line: Line, message: impl Into<String>) -> bool {
        let limit = *self.log_limit.read().unwrap_or_else(PoisonError::into_inner);
        let may = counters::may_log(line, limit);
        if may {
            self.tell(message);
        }
        may
    }

    /// Writes a line to the server's log whose number is limited otherwise.
    pub(super) fn tell(&self, message: impl Into<String>) {
        self.ask(MainRequest::Log(log::shortened(message.into())));
    }

    /// Waits until the registry in memory has everything that was committed before.
    pub(crate) async fn read_registry(&self) {
        let (done, seen) = oneshot::channel();
        self.ask(MainRequest::ReadRegistry { done });
        let _ = seen.await;
    }

    /// Whether the control database answers, and has the extension.
    ///
    /// # Errors
    /// What it says instead.
    pub(super) async fn probe(&self) -> Result<bool, String> {
        let (done, seen) = oneshot::channel();
        self.ask(MainRequest::Probe { done });
        seen.await.unwrap_or_else(|_| Err("the server worker is ending".to_owned()))
    }

    /// Ends a database's executors and waits for their end.
    pub(super) async fn stop(&self, database: &str) {
        let (done, ended) = oneshot::channel();
        self.ask(MainRequest::Stop { database: database.to_owned(), done });
        let _ = ended.await;
    }
}

/// How long a free slot of max_worker_processes is waited for: an executor that was just told to end needs some milliseconds.
const SLOT_WAIT: Duration = Duration::from_secs(2);
/// The same once it is known that there are too few: then somebody's idle one has to go, and the sooner the better.
const SLOT_WAIT_WHEN_SHORT: Duration = Duration::from_millis(200);
const SLOT_RETRY: Duration = Duration::from_millis(5);
/// The log is told at most this often that slots are short.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

struct Waiting {
    id: u64,
    target: Arc<Target>,
    since: Instant,
}

/// The executors' processes.
#[derive(Default)]
pub(super) struct Launcher {
    running: HashMap<u64, (Arc<str>, WorkerHandle)>,
    /// No slot was free.
    waiting: Vec<Waiting>,
    stopping: Vec<(String, oneshot::Sender<()>)>,
    complained: Option<Instant>,
}

impl Launcher {
    pub(super) fn launch(&mut self, id: u64, target: Arc<Target>) {
        self.waiting.push(Waiting { id, target, since: Instant::now() });
    }

    pub(super) fn stop(&mut self, database: &str, done: oneshot::Sender<()>) {
        self.running.values().filter(|(of, _)| &**of == database).for_each(|(_, handle)| handle.terminate());
        self.stopping.push((database.to_owned(), done));
    }

    /// When to look again at the latest.
    pub(super) fn next_wake(&self, idle: Duration) -> Duration {
        if !self.waiting.is_empty() || !self.stopping.is_empty() { SLOT_RETRY } else { idle }
    }

    /// Starts what waits for a slot, notices what ended, answers who waits for an end.
    pub(super) fn look_after(&mut self, pool: &Arc<Pool>) {
        self.running.retain(|id, (_, handle)| {
            let alive = handle.state() != WorkerState::Stopped;
            if !alive {
                pool.process_ended(*id);
            }
            alive
        });
        let patience = if self.is_short() { SLOT_WAIT_WHEN_SHORT } else { SLOT_WAIT };
        for request in std::mem::take(&mut self.waiting) {
            if let Some(handle) = start(&request) {
                self.running.insert(request.id, (request.target.database.clone(), handle));
            } else if request.since.elapsed() < patience {
                self.waiting.push(request);
            } else {
                self.complain();
                pool.no_slot(request.id);
            }
        }
        for (database, done) in std::mem::take(&mut self.stopping) {
            if self.running.values().any(|(of, _)| **of == *database) {
                self.stopping.push((database, done));
            } else {
                let _ = done.send(());
            }
        }
    }

    /// Whether slots have been short within the last minute.
    pub(super) fn is_short(&self) -> bool {
        self.complained.is_some_and(|last| last.elapsed() < COMPLAIN_EVERY)
    }

    fn complain(&mut self) {
        if self.complained.is_none_or(|last| last.elapsed() > COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            pgrx::log!(
                "stonescriptdb: no background worker slot is free for an executor; raise max_worker_processes (or lower stonescriptdb.max_workers)"
            );
        }
    }
}

fn start(request: &Waiting) -> Option<WorkerHandle> {
    let Target { database, role, calls } = &*request.target;
    let role = role.as_deref().unwrap_or("");
    // A database's name has at most 63 bytes and a role's too: with the tab they just fit into the 127 of a worker's extra data.
    worker::start_executor(
        &format!("stonescriptdb executor {database}"),
        Started { id: request.id, calls: *calls },
        &format!("{database}\t{role}"),
    )
}
