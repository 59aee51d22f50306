//! The server worker: its main thread, which alone may call PostgreSQL, and what it hands to the threads.
//!
//! The main thread sleeps on its latch and on a pipe. The threads ask it, through [`MainThread`], for what only it can do: start and
//! stop executors, read the registry, write to the server's log. It does nothing that takes long.

pub(crate) mod apart;
mod api;
mod broker;
pub(crate) mod calls;
mod deploy;
mod direct;
mod doors;
mod front;
pub(crate) mod http;
mod launcher;
mod listener;
mod local;
mod log;
mod lookup;
mod outgoing;
mod parting;
mod pool;
mod rates;
mod refusals;
mod registry;
mod stats;
pub(crate) mod tally;
mod tls;
mod tokens;

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use stonescriptdb_protocol::{ErrorCode, Failure};
use tokio::sync::watch;

use crate::postgres::wait::{Waiter, check_for_interrupts, reload_settings_if_asked, shutdown_asked};
use crate::postgres::{give_back_freed, limit_heaps};
use crate::postgres::{seats, worker};
use crate::settings::{self, Settings};
use launcher::{Launcher, MainRequest, MainThread};
use lookup::Registry;

/// The broker's socket, relative to the data directory, which is every server process's working directory: always short enough for
/// a socket's address, wherever the data directory is.
pub(crate) const SOCKET_PATH: &str = "stonescriptdb/broker.sock";
/// The folder around it, for the server's own user only.
pub(crate) const SOCKET_FOLDER: &str = "stonescriptdb";

/// Where backends write down, each in a file named by its OID, the databases whose catalogs they change.
pub(crate) const TOUCHED_FOLDER: &str = "stonescriptdb/touched";
/// What the name of such a file ends with where the tracking tables were made anew.
pub(crate) const RESTORED: &str = ".restored";

/// The same on a standby, where nobody tells of anything, and its promotion is to be seen soon.
const TICK_OF_STANDBY: Duration = Duration::from_secs(1);
/// How long the main thread sleeps at most: what nobody told it of (rows of the registry changed past its trigger) is seen then.
const TICK: Duration = Duration::from_secs(5);
/// How long requests under way may take to end when the worker is to end.
const DRAIN: Duration = Duration::from_secs(5);
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// What every thread shares.
pub(crate) struct App {
    settings: RwLock<Arc<Settings>>,
    registry: RwLock<Arc<Registry>>,
    /// The last reading of the registry went well: PostgreSQL answers.
    registry_readable: AtomicBool,
    /// This server is a standby: nothing can be written.
    in_recovery: AtomicBool,
    /// The postmaster had no slot for an executor, within the last minute.
    short_of_slots: AtomicBool,
    /// A task that the worker cannot do without has panicked: it is to start anew.
    is_broken: AtomicBool,
    main: MainThread,
    pool: Arc<pool::Pool>,
    directs: direct::Directs,
    deployments: deploy::Gates,
    jobs: deploy::Jobs,
    follow: deploy::Follow,
    /// What is listened on, and whom that lets in.
    doors: RwLock<Arc<doors::Doors>>,
    /// Open HTTP connections.
    connections: AtomicUsize,
    used: tokens::Used,
    refusals: refusals::Refusals,
    rates: rates::Rates,
    started: Instant,
    /// Turns true once what an interrupted deployment had left is cleared away: deployments wait for it.
    reconciled: watch::Sender<bool>,
    /// Turns true once, when the worker is to end.
    stopping: watch::Sender<bool>,
    /// Counts reloads of the settings, for the listener.
    reloads: watch::Sender<u64>,
}

impl App {
    pub(crate) fn settings(&self) -> Arc<Settings> {
        read(&self.settings)
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        read(&self.registry)
    }

    fn doors(&self) -> Arc<doors::Doors> {
        read(&self.doors)
    }

    /// Listeners, or whom they let in, have changed. Executors that serve connections have it from before.
    fn set_doors(&self, doors: doors::Doors) {
        replace(&self.doors, doors);
        seats::next_epoch();
    }

    /// That something can be written here, by this version.
    ///
    /// # Errors
    /// `connection_failed`, with what is to be done.
    fn require_writable(&self) -> Result<(), Failure> {
        self.registry().require_current()?;
        if !self.in_recovery.load(Relaxed) {
            return Ok(());
        }
        let failure =
            Failure::new(ErrorCode::ConnectionFailed, "this server is a standby, on which nothing can be written");
        Err(Failure { sqlstate: Some("25006".to_owned()), ..failure }.hint("Send it to the primary server."))
    }

    /// Runs a task that the worker cannot do without: if it panics, the worker ends, and the postmaster starts it anew.
    async fn essential(self: Arc<App>, name: &'static str, task: impl Future<Output = ()>) {
        if std::panic::AssertUnwindSafe(task).catch_unwind().await.is_err() {
            self.main
                .log(format!("the task \"{name}\" panicked, a fault of stonescriptdb: the server worker starts anew"));
            self.is_broken.store(true, Relaxed);
            // The log's line has woken the main thread, which may have looked too early.
            self.main.log("ending");
        }
    }
}

/// A lock that a panicking holder left is taken all the same: what is behind it is replaced whole, never half.
fn read<T>(lock: &RwLock<Arc<T>>) -> Arc<T> {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

fn replace<T>(lock: &RwLock<Arc<T>>, value: T) {
    *lock.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(value);
}

/// The server worker's whole life. Ends with exit code 1, so that the postmaster starts it again unless it is itself ending.
pub(crate) fn main() -> ! {
    worker::server_signals();
    let first = settings::current();
    if seats::note_attaching(true) {
        // The last try has written into the log why it failed.
        wait_for_database(&first.database);
    }
    worker::connect(&first.database, None);
    seats::note_attaching(false);
    // An extension of the wrong side must not hide ours.
    let _ = crate::postgres::session::set_default(c"search_path", c"pg_catalog, pg_temp");
    let _ = crate::postgres::session::set_default(c"application_name", c"stonescriptdb");
    worker::report_idle();
    let Ok((pipe, waker)) = UnixStream::pair() else { worker::exit(1) };
    if pipe.set_nonblocking(true).is_err() || waker.set_nonblocking(true).is_err() {
        worker::exit(1);
    }
    limit_heaps(first.io_threads);
    let (main, requests) = MainThread::new(waker, &first);
    let app = Arc::new(App {
        pool: pool::Pool::new(main.clone(), &first),
        settings: RwLock::new(Arc::new(first)),
        directs: direct::Directs::default(),
        registry: RwLock::new(Arc::new(Registry::default())),
        registry_readable: AtomicBool::new(false),
        in_recovery: AtomicBool::new(worker::in_recovery()),
        short_of_slots: AtomicBool::new(false),
        is_broken: AtomicBool::new(false),
        main,
        deployments: deploy::Gates::default(),
        jobs: deploy::Jobs::default(),
        follow: deploy::Follow::default(),
        doors: RwLock::default(),
        connections: AtomicUsize::new(0),
        used: tokens::Used::default(),
        refusals: refusals::Refusals::default(),
        rates: rates::Rates::default(),
        started: Instant::now(),
        reconciled: watch::Sender::new(false),
        stopping: watch::Sender::new(false),
        reloads: watch::Sender::new(0),
    });
    refresh_registry(&app);
    let mut threads = match worker::with_signals_blocked(|| listener::start(app.clone())) {
        Ok(threads) => threads,
        Err(error) => {
            pgrx::log!("stonescriptdb: the server worker cannot start: {error}");
            worker::exit(1);
        }
    };
    let mut launcher = Launcher::default();
    let waiter = Waiter::new(pipe.as_raw_fd());
    let mut last_refresh = Instant::now();
    let mut last_tidied = Instant::now();
    if app.in_recovery.load(Relaxed) {
        pgrx::log!("stonescriptdb: this server is a standby: calls that only read are served, deployments are not");
    }
    while !shutdown_asked() && !app.is_broken.load(Relaxed) {
        let tick = if app.in_recovery.load(Relaxed) { TICK_OF_STANDBY } else { TICK };
        waiter.wait(launcher.next_wake(tick).as_millis() as i64);
        drain(&pipe);
        check_for_interrupts();
        if reload_settings_if_asked() {
            let settings = settings::current();
            app.pool.reload(&settings);
            app.main.limit_log(settings.log_limit);
            tell_new_token(&app.settings(), &settings);
            replace(&app.settings, settings);
            seats::next_epoch();
            app.reloads.send_modify(|count| *count += 1);
        }
        if serve(&app, &requests, &mut launcher) {
            last_refresh = Instant::now();
        } else if last_refresh.elapsed() >= tick {
            refresh_registry(&app);
            last_refresh = Instant::now();
        }
        if last_tidied.elapsed() >= TICK {
            // Archives and proofs of deployments, and each reading of the registry, leave pages behind that would stay the process's own.
            give_back_freed();
            last_tidied = Instant::now();
        }
    }
    app.stopping.send_replace(true);
    // Requests under way may still need executors, and the server may need this process to absorb barriers.
    let deadline = Instant::now() + DRAIN;
    while !threads.is_drained() && Instant::now() < deadline {
        waiter.wait(DRAIN_STEP.as_millis() as i64);
        drain(&pipe);
        check_for_interrupts();
        serve(&app, &requests, &mut launcher);
    }
    threads.stop();
    worker::exit(1)
}

/// PostgreSQL says of every setting that it has changed, and to what; of the admin token it says nothing.
fn tell_new_token(before: &Settings, now: &Settings) {
    let what = match (before.admin_token, now.admin_token) {
        (None, Some(_)) => "was set",
        (Some(_), None) => "was taken away",
        (Some(before), Some(now)) if before != now => "has changed",
        _ => return,
    };
    pgrx::log!("stonescriptdb: the admin token {what}");
}

/// Does what the threads ask for; `true` if the registry was read.
fn serve(app: &App, requests: &std::sync::mpsc::Receiver<MainRequest>, launcher: &mut Launcher) -> bool {
    let mut told = Vec::new();
    for request in requests.try_iter() {
        match request {
            MainRequest::Launch { id, target } => launcher.launch(id, target),
            MainRequest::Stop { database, done } => launcher.stop(&database, done),
            MainRequest::ReadRegistry { done } => told.push(done),
            MainRequest::Probe { done } => {
                // Who asked may have left.
                let _ = done.send(registry::probe().map_err(|error| error.message));
            }
            MainRequest::Log(message) => pgrx::log!("stonescriptdb: {message}"),
        }
    }
    launcher.look_after(&app.pool);
    app.short_of_slots.store(launcher.is_short(), Relaxed);
    if told.is_empty() {
        return false;
    }
    // One reading answers all who asked before it.
    refresh_registry(app);
    for done in told {
        // Who asked may have left.
        let _ = done.send(());
    }
    true
}

/// Waits until there is a database of that name, and ends: a process attaches once in its life, and the postmaster starts the next.
fn wait_for_database(name: &str) -> ! {
    worker::connect_to_none();
    seats::note_attaching(false);
    worker::report_idle();
    let Ok((pipe, _other)) = UnixStream::pair() else { worker::exit(1) };
    let waiter = Waiter::new(pipe.as_raw_fd());
    let mut told = false;
    while !shutdown_asked() && matches!(worker::database_exists(name), Ok(false)) {
        if !std::mem::replace(&mut told, true) {
            pgrx::log!(
                "stonescriptdb: waiting for the control database \"{name}\", which does not exist; create it, or set stonescriptdb.database and restart the server"
            );
        }
        waiter.wait(TICK_OF_STANDBY.as_millis() as i64);
        check_for_interrupts();
    }
    worker::exit(1)
}

fn refresh_registry(app: &App) {
    let in_recovery = worker::in_recovery();
    if app.in_recovery.swap(in_recovery, Relaxed) && !in_recovery {
        pgrx::log!("stonescriptdb: this server is a standby no more: deployments are served");
    }
    let found = registry::read(&app.registry());
    app.registry_readable.store(found.is_ok(), Relaxed);
    match found {
        Ok(found) => {
            if found.outdated.is_some()
                && found.outdated != app.registry().outdated
                && let Err(failure) = found.require_current()
            {
                pgrx::log!("stonescriptdb: {}. {}", failure.message, failure.hint.unwrap_or_default());
            }
            if app.registry().installed && !found.installed && found.outdated.is_none() {
                // Dropped in a way that nobody told of: what deployments do now is recorded nowhere.
                app.jobs.cancel_all();
            }
            let is_behind = found.is_behind();
            // Mostly nothing has changed: then what was read goes, and not what is there, which would move through the heap with each
            // reading and leave it in pieces.
            if found != *app.registry() {
                replace(&app.registry, found);
                // Executors that serve connections have it from before who may call whom.
                seats::next_epoch();
            }
            if is_behind {
                app.follow.wake();
            }
        }
        Err(error) => pgrx::log!("stonescriptdb: the registry cannot be read: {}", error.message),
    }
}

fn drain(mut pipe: &UnixStream) {
    let mut bytes = [0; 64];
    while matches!(pipe.read(&mut bytes), Ok(read) if read > 0) {}
}
