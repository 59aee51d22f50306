//! Background workers: registering, starting, connecting, signals.

use std::ffi::CString;
use std::os::raw::c_char;

use pgrx::pg_sys;

use super::version;

unsafe extern "C-unwind" {
    // PostgreSQL's handlers themselves: pgrx's bindings wrap functions in code that no signal handler may run.
    fn die(signal: i32);
    fn StatementCancelHandler(signal: i32);
    fn SignalHandlerForConfigReload(signal: i32);
    fn SignalHandlerForShutdownRequest(signal: i32);
}

/// Seconds after which the postmaster restarts the server worker when it ended with an error.
const RESTART_SECONDS: i32 = 1;

/// The type of the server worker in `pg_stat_activity.backend_type`.
pub(crate) const SERVER_TYPE: &str = "stonescriptdb server";
/// The type of the executors.
pub(crate) const EXECUTOR_TYPE: &str = "stonescriptdb executor";

/// Registers the static server worker; only while `shared_preload_libraries` are loaded.
pub(crate) fn register_server_worker() {
    // SAFETY: a variable that is set before libraries are loaded.
    if unsafe { pg_sys::IsBinaryUpgrade } {
        // pg_upgrade's own servers: nobody may connect to their databases but pg_upgrade.
        return;
    }
    let mut worker = describe("stonescriptdb server", SERVER_TYPE, "stonescriptdb_server_main", RESTART_SECONDS);
    // SAFETY: the struct is copied by the postmaster.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) }
}

/// A dynamic worker that was asked for.
pub(crate) struct WorkerHandle(*mut pg_sys::BackgroundWorkerHandle);

/// Whether a dynamic worker runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WorkerState {
    /// The postmaster has not got round to it.
    NotYetStarted,
    Running,
    Stopped,
}

impl WorkerHandle {
    pub(crate) fn state(&self) -> WorkerState {
        let mut pid = 0;
        // SAFETY: the handle came from RegisterDynamicBackgroundWorker and lives in TopMemoryContext.
        match unsafe { pg_sys::GetBackgroundWorkerPid(self.0, &mut pid) } {
            pg_sys::BgwHandleStatus::BGWH_STARTED => WorkerState::Running,
            pg_sys::BgwHandleStatus::BGWH_NOT_YET_STARTED => WorkerState::NotYetStarted,
            _ => WorkerState::Stopped,
        }
    }

    /// Asks for its end: SIGTERM from the postmaster, or never started.
    pub(crate) fn terminate(&self) {
        // SAFETY: as above.
        unsafe { pg_sys::TerminateBackgroundWorker(self.0) }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        // SAFETY: palloc'd by RegisterDynamicBackgroundWorker, freed once.
        unsafe { pg_sys::pfree(self.0.cast()) }
    }
}

/// What an executor is told of itself with its start; one word of which the lowest bit is `calls`.
#[derive(Clone, Copy)]
pub(crate) struct Started {
    /// The launcher's number for it.
    pub(crate) id: u64,
    /// It is for calls, and not for deployments and the registry.
    pub(crate) calls: bool,
}

impl Started {
    fn to_word(self) -> u64 {
        self.id << 1 | u64::from(self.calls)
    }

    fn of_word(word: u64) -> Started {
        Started { id: word >> 1, calls: word & 1 == 1 }
    }
}

/// Starts an executor. `extra` (at most 127 bytes) reaches it as [`extra`]. `None`: no slot of `max_worker_processes` is free.
pub(crate) fn start_executor(name: &str, started: Started, extra: &str) -> Option<WorkerHandle> {
    let mut worker = describe(name, EXECUTOR_TYPE, "stonescriptdb_executor_main", pg_sys::BGW_NEVER_RESTART);
    copy_text(&mut worker.bgw_extra, extra);
    let mut handle = std::ptr::null_mut();
    // SAFETY: the handle is palloc'd in the current context: TopMemoryContext, so that it outlives the transaction. The
    // postmaster signals this process when the worker starts and stops.
    unsafe {
        worker.bgw_main_arg = pg_sys::Datum::from(started.to_word());
        worker.bgw_notify_pid = pg_sys::MyProcPid;
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let started = pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle);
        pg_sys::MemoryContextSwitchTo(before);
        // Made only if there is one: dropping a handle frees it.
        if started { Some(WorkerHandle(handle)) } else { None }
    }
}

fn describe(name: &str, kind: &str, function: &str, restart: i32) -> pg_sys::BackgroundWorker {
    let mut worker = pg_sys::BackgroundWorker {
        bgw_flags: (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as i32,
        // On a hot standby too, where calls that read are served.
        bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_ConsistentState,
        bgw_restart_time: restart,
        ..pg_sys::BackgroundWorker::default()
    };
    copy_text(&mut worker.bgw_name, name);
    copy_text(&mut worker.bgw_type, kind);
    copy_text(&mut worker.bgw_library_name, "stonescriptdb");
    copy_text(&mut worker.bgw_function_name, function);
    worker
}

/// Fills a fixed C string, leaving its last byte zero.
fn copy_text(target: &mut [c_char], text: &str) {
    let room = target.len().saturating_sub(1);
    for (to, from) in target.iter_mut().zip(text.bytes().take(room)) {
        *to = from as c_char;
    }
}

/// What [`start_executor`] was given.
pub(crate) fn extra() -> String {
    // SAFETY: set by the postmaster in every background worker; zero-terminated.
    unsafe { super::error::text((*pg_sys::MyBgworkerEntry).bgw_extra.as_ptr()) }.unwrap_or_default()
}

/// Attaches this worker to a database as a role (`None`: the bootstrap superuser). Ends the process with a FATAL if either is
/// not there: the error belongs into the server's log then.
pub(crate) fn connect(database: &str, role: Option<&str>) {
    let (Ok(database), Ok(role)) = (CString::new(database), role.map(CString::new).transpose()) else {
        return;
    };
    let role = role.as_ref().map_or(std::ptr::null(), |role| role.as_ptr());
    // SAFETY: called once, at the start of a worker, with strings that end in a zero.
    unsafe { pg_sys::BackgroundWorkerInitializeConnection(database.as_ptr(), role, version::CONNECT_FLAGS) }
}

/// Attaches this worker to no database: it sees what is the whole server's.
pub(crate) fn connect_to_none() {
    // SAFETY: called once, at the start of a worker; no name is no database.
    unsafe { pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), version::CONNECT_FLAGS) }
}

/// Whether there is a database of that name.
///
/// # Errors
/// PostgreSQL's own.
pub(crate) fn database_exists(name: &str) -> Result<bool, super::PgError> {
    let Ok(name) = CString::new(name) else { return Ok(false) };
    super::transaction(|| {
        // SAFETY: inside a transaction; the name ends in a zero, and one that is not there is no error.
        Ok(unsafe { pg_sys::get_database_oid(name.as_ptr(), true) } != pg_sys::InvalidOid)
    })
}

/// Whether this server is a standby (or restores an archive): nothing can be written.
pub(crate) fn in_recovery() -> bool {
    // SAFETY: reads a flag of shared memory.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Signals of an executor: those of an ordinary backend. TERM ends it, INT cancels its statement, HUP is noted. USR2 is ours: it cancels
/// too, but only for a client that is gone.
pub(crate) fn executor_signals() {
    // SAFETY: the handlers are PostgreSQL's own and async-signal-safe.
    unsafe {
        version::handle_signal(libc::SIGTERM, die);
        version::handle_signal(libc::SIGINT, StatementCancelHandler);
        version::handle_signal(libc::SIGHUP, SignalHandlerForConfigReload);
        version::handle_signal(libc::SIGUSR2, super::seats::cancel_if_gone);
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// What SIGINT does to an executor.
///
/// # Safety
/// Only for a signal handler of an executor.
pub(super) unsafe fn cancel_handler(signal: i32) {
    // SAFETY: PostgreSQL's own, async-signal-safe.
    unsafe { StatementCancelHandler(signal) }
}

/// Signals of the server worker: TERM is noted, so that it can drain.
pub(crate) fn server_signals() {
    // SAFETY: as above.
    unsafe {
        version::handle_signal(libc::SIGTERM, SignalHandlerForShutdownRequest);
        version::handle_signal(libc::SIGHUP, SignalHandlerForConfigReload);
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Runs `f` (which starts threads) with every signal blocked, and so in the threads for ever: PostgreSQL's handlers may run on
/// the main thread only.
pub(crate) fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: signal sets are plain data; the mask of this thread is put back.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = f();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        result
    }
}

/// Raises this process's limit of open descriptors as far as it may; gives what it is then. Debian's services start with 1,024 and may
/// have many more: one for each connection.
pub(crate) fn raise_descriptor_limit() -> usize {
    // SAFETY: plain structs; the limits are this process's own.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return 0;
        }
        let before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
            limit.rlim_cur = before;
        }
        usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
    }
}

/// Cancels the statement that an executor runs. Safe on any thread; `false` if the process is gone.
pub(crate) fn cancel(pid: i32) -> bool {
    // SAFETY: kill(2) has no memory to get wrong; the pid was told by our own executor over the private socket.
    pid > 0 && unsafe { libc::kill(pid, libc::SIGINT) } == 0
}

/// Cancels what an executor does for a connection that was marked as cancelled. Safe on any thread.
pub(crate) fn cancel_for_gone(pid: i32) {
    if pid > 0 {
        // SAFETY: as in `cancel`.
        unsafe { libc::kill(pid, libc::SIGUSR2) };
    }
}

/// Ends this process. Exit code 0 tells the postmaster to forget the worker, 1 to start it again if it has a restart time.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: called on the main thread outside of any transaction.
    unsafe { super::version::proc_exit(code) }
}

/// This process's id.
pub(crate) fn my_pid() -> i32 {
    // SAFETY: set at start, never changed.
    unsafe { pg_sys::MyProcPid }
}

/// Says in `pg_stat_activity` and in the process title what this worker does.
pub(crate) fn report_idle() {
    // SAFETY: both take plain values; the shared-memory entry is this process's own.
    unsafe {
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null());
        pg_sys::pgstat_report_stat(false);
    }
}

/// As [`report_idle`], for work that begins.
pub(crate) fn report_running(what: &str) {
    if let Ok(what) = CString::new(what) {
        // SAFETY: the text is copied into the shared-memory entry.
        unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, what.as_ptr()) }
    }
}

/// Writes a line to the server's log; on a main thread, outside of a transaction.
pub(crate) fn log(line: &str) {
    pgrx::log!("stonescriptdb: {line}");
}

/// Ends an executor that does not answer a cancel. Safe on any thread.
pub(crate) fn terminate(pid: i32) {
    if pid > 0 {
        // SAFETY: as in `cancel`.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
}

/// Where the postmaster starts the server worker.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub(crate) extern "C-unwind" fn stonescriptdb_server_main(_argument: pg_sys::Datum) {
    crate::server::main()
}

/// Where the postmaster starts an executor.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub(crate) extern "C-unwind" fn stonescriptdb_executor_main(argument: pg_sys::Datum) {
    crate::executor::main(Started::of_word(argument.value() as u64))
}
