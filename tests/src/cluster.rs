//! A temporary PostgreSQL cluster.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls};
use rustix::process::Signal;

use crate::builder::Builder;
use crate::http::Http;
use crate::server;
use crate::wait::{PATIENCE, eventually};

/// The port in the name of the Unix socket. All clusters use the same: each has a socket directory of its own.
pub(crate) const SOCKET_PORT: u16 = 5432;

/// The process id of the server worker.
const SERVER_WORKER: &str = "SELECT pid::text FROM pg_stat_activity WHERE backend_type = 'stonescriptdb server'";

/// A server of one's own: its own data directory, Unix socket and HTTP port, no TCP for libpq, stonescriptdb preloaded and created in
/// the database `postgres`. It stops and its directory goes when this is dropped; if that is in a panic, the end of its log is printed.
pub struct Cluster {
    dir: PathBuf,
    /// Where `postgres` is.
    programs: PathBuf,
    port: u16,
    control_database: String,
    admin_token: Option<String>,
    /// Variables in the server's environment.
    environment: Vec<(String, String)>,
    /// Whether the extension is created, hence whether a start waits until the service is healthy.
    extension: Mutex<bool>,
    process: Mutex<Option<Child>>,
}

/// How a server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// SIGTERM: after the last client has gone.
    Smart,
    /// SIGINT: roll back and go.
    Fast,
    /// SIGQUIT: go at once, recover at the next start.
    Immediate,
}

impl Cluster {
    /// A running cluster with the extension, its service healthy.
    #[track_caller]
    pub fn start() -> Cluster {
        Cluster::builder().start()
    }

    /// What [`Cluster::start`] makes, to be changed.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts the server on a data directory that is there and not running, without the extension so far.
    pub(crate) fn launch(
        dir: PathBuf,
        programs: PathBuf,
        port: u16,
        control_database: String,
        admin_token: Option<String>,
        environment: Vec<(String, String)>,
    ) -> Result<Cluster, String> {
        let (extension, process) = (Mutex::new(false), Mutex::new(None));
        let cluster = Cluster { dir, programs, port, control_database, admin_token, environment, extension, process };
        cluster.try_launch()?;
        Ok(cluster)
    }

    /// The directory of the cluster: `data`, `sock` and `log` are in it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The directory of the Unix socket: libpq's `host`.
    pub fn socket_dir(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// The port of the HTTP service on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An HTTP client of this cluster.
    pub fn http(&self) -> Http {
        Http::new(self.port, self.admin_token.as_deref())
    }

    /// A superuser's connection to a database.
    #[track_caller]
    pub fn connect(&self, database: &str) -> Client {
        self.connect_as("postgres", database)
    }

    /// A superuser's connection to the control database.
    #[track_caller]
    pub fn control(&self) -> Client {
        self.connect(&self.control_database)
    }

    /// A connection of some role to a database.
    #[track_caller]
    pub fn connect_as(&self, role: &str, database: &str) -> Client {
        self.try_connect_as(role, database)
            .unwrap_or_else(|e| panic!("connecting to {database} as {role}: {}", crate::sql::describe(&e)))
    }

    /// A connection of some role to a database, if the server lets it.
    pub fn try_connect_as(&self, role: &str, database: &str) -> Result<Client, postgres::Error> {
        Config::new()
            .host_path(self.socket_dir())
            .port(SOCKET_PORT)
            .user(role)
            .dbname(database)
            .application_name("acceptance")
            .connect_timeout(Duration::from_secs(10))
            .connect(NoTls)
    }

    /// The folder of this cluster's programs: what [`Builder::programs`](crate::Builder::programs) was given.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// A command like `pg_dump` or `psql` that speaks to this cluster as superuser.
    pub fn client_program(&self, program: &str) -> std::process::Command {
        let mut command = server::command(self.programs.join(program), &self.dir);
        command.env("PGHOST", self.socket_dir()).env("PGPORT", SOCKET_PORT.to_string()).env("PGUSER", "postgres");
        command
    }

    /// CREATE EXTENSION in the control database, and wait until the service is healthy.
    #[track_caller]
    pub fn create_extension(&self) {
        self.try_create_extension(true).unwrap_or_else(|e| panic!("{e}"));
    }

    pub(crate) fn try_create_extension(&self, wait: bool) -> Result<(), String> {
        let created = self.control().batch_execute("CREATE EXTENSION stonescriptdb");
        created.map_err(|e| {
            format!("CREATE EXTENSION stonescriptdb: {}\n{}", crate::sql::describe(&e), self.log_tail())
        })?;
        *self.extension() = wait;
        if wait { self.try_wait_ready() } else { Ok(()) }
    }

    /// Waits until `GET /health` answers that the service is healthy.
    #[track_caller]
    pub fn wait_ready(&self) {
        self.try_wait_ready().unwrap_or_else(|e| panic!("{e}"));
    }

    fn try_wait_ready(&self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let seen = match self.http().try_request("GET", "/health", &[], b"") {
                Ok(answer) if answer.status == 200 && answer.json["status"] == "healthy" => return Ok(()),
                Ok(answer) => answer.to_string(),
                Err(e) => e.to_string(),
            };
            if start.elapsed() > PATIENCE {
                return Err(format!("GET /health is not healthy after {PATIENCE:?}: {seen}\n{}", self.log_tail()));
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// The process id of the server worker.
    #[track_caller]
    pub fn server_worker(&self) -> String {
        crate::sql::text(&mut self.control(), SERVER_WORKER)
    }

    /// Ends the server worker alone, as an administrator would, and waits until it is gone: from then on a healthy service is that of
    /// the next one, which PostgreSQL starts five seconds later.
    #[track_caller]
    pub fn end_server_worker(&self) {
        let mut control = self.control();
        let before = crate::sql::text(&mut control, SERVER_WORKER);
        crate::sql::done(control.query(&format!("SELECT pg_terminate_backend({before})"), &[]));
        crate::eventually("the server worker to end", || {
            let now = crate::sql::texts(&mut control, SERVER_WORKER);
            crate::wait::check(!now.contains(&before), format!("{now:?}"))
        });
    }

    /// All that the server has logged so far.
    pub fn log(&self) -> String {
        server::tail(&self.log_path(), usize::MAX)
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        format!("--- the server's log, its end:\n{}\n---", server::tail(&self.log_path(), 60))
    }

    /// Prints the last lines of the log to the test's output.
    pub fn print_log_tail(&self) {
        eprintln!("{}", self.log_tail());
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Adds a line to postgresql.conf. It counts after [`Cluster::reload`] or a restart.
    #[track_caller]
    pub fn configure(&self, name: &str, value: &str) {
        crate::builder::add_setting(&self.data_dir(), name, value).unwrap_or_else(|e| panic!("postgresql.conf: {e}"));
    }

    /// Has the server read its settings again: SIGHUP to the postmaster.
    pub fn reload(&self) {
        server::signal(self.postmaster_pid(), Signal::HUP);
    }

    /// The process id of the postmaster.
    ///
    /// # Panics
    /// When the server is stopped.
    pub fn postmaster_pid(&self) -> i32 {
        self.process().as_ref().expect("the server runs").id() as i32
    }

    /// Whether the postmaster runs.
    pub fn is_running(&self) -> bool {
        self.process().as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Stops the server and waits for its end, for at most 30 s; how the postmaster ended.
    ///
    /// # Panics
    /// When it is still there then.
    #[track_caller]
    pub fn stop(&self, how: Shutdown) -> ExitStatus {
        let signal = match how {
            Shutdown::Smart => Signal::TERM,
            Shutdown::Fast => Signal::INT,
            Shutdown::Immediate => Signal::QUIT,
        };
        self.end(signal, Duration::from_secs(30))
            .unwrap_or_else(|| panic!("the server still runs 30 s after a {how:?} shutdown was asked for"))
    }

    /// Kills the postmaster outright and waits until its children have noticed and are gone.
    #[track_caller]
    pub fn kill_postmaster_immediate(&self) {
        self.end(Signal::KILL, Duration::from_secs(10));
        eventually("the end of the server's processes", || {
            let left = server::processes_in(&self.data_dir());
            crate::wait::check(left.is_empty(), format!("{left:?}"))
        });
    }

    /// Starts the stopped server again, on the same data; waits until the service is healthy if the extension is there.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start_again(&self) {
        let started = self.try_launch().and_then(|()| if *self.extension() { self.try_wait_ready() } else { Ok(()) });
        started.unwrap_or_else(|e| panic!("{e}"));
    }

    /// Starts the stopped server again without waiting for its service, which will not be healthy.
    ///
    /// # Panics
    /// When it lets nobody in.
    #[track_caller]
    pub fn start_without_wait(&self) {
        self.try_launch().unwrap_or_else(|e| panic!("{e}"));
    }

    fn end(&self, signal: Signal, limit: Duration) -> Option<ExitStatus> {
        let mut process = self.process();
        let child = process.as_mut()?;
        server::signal(child.id() as i32, signal);
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                *process = None;
                return Some(status);
            }
            if start.elapsed() > limit {
                return None;
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Starts the postmaster as our child and waits until it lets clients in.
    fn try_launch(&self) -> Result<(), String> {
        let mut process = self.process();
        assert!(process.is_none(), "the server runs already");
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).map_err(|e| e.to_string())?;
        // By env, so that what is to be loaded into the server is not loaded into what runs as root before it.
        let mut command = server::command_that_dies_with_us("env", &self.dir);
        command.args(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(self.programs.join("postgres")).arg("-D").arg(self.data_dir());
        command.stdout(log.try_clone().map_err(|e| e.to_string())?).stderr(log);
        let child = process.insert(server::spawn(command).map_err(|e| format!("postgres: {e}"))?);

        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
                *process = None;
                return Err(format!("the server ended ({status}); is the extension installed?\n{}", self.log_tail()));
            }
            let Err(e) = self.try_connect_as("postgres", "postgres") else { return Ok(()) };
            if start.elapsed() > Duration::from_secs(60) {
                return Err(format!("the server lets nobody in after 60 s: {e}\n{}", self.log_tail()));
            }
            sleep(Duration::from_millis(20));
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extension(&self) -> MutexGuard<'_, bool> {
        self.extension.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_log_tail();
        }
        if self.process().is_some() && self.end(Signal::QUIT, Duration::from_secs(10)).is_none() {
            eprintln!("the server did not end within 10 s of SIGQUIT; its processes are killed");
            if let Some(mut child) = self.process().take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        server::kill_processes_in(&self.data_dir());
        if let Err(e) = fs::remove_dir_all(&self.dir) {
            eprintln!("{}: {e}", self.dir.display());
        }
    }
}
