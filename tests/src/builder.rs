//! What a temporary cluster shall be like, and how it is made.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cluster::{Cluster, SOCKET_PORT};
use crate::server;

/// The admin token of a cluster that sets no other.
pub const ADMIN_TOKEN: &str = "acceptance-admin-token-8f1c2d";

/// What a cluster shall be like, from [`Cluster::builder`].
pub struct Builder {
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    admin_token: Option<String>,
    control_database: String,
    port: Option<u16>,
    preload: bool,
    extension: bool,
    wait: bool,
    primary: Option<PathBuf>,
    programs: PathBuf,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            settings: Vec::new(),
            environment: Vec::new(),
            admin_token: Some(ADMIN_TOKEN.into()),
            control_database: "postgres".into(),
            port: None,
            preload: true,
            extension: true,
            wait: true,
            primary: None,
            programs: server::bin_dir().to_owned(),
        }
    }
}

impl Builder {
    /// A line of postgresql.conf; of several for one name the last counts.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// A variable in the server's environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Another admin token; without one, admin routes are off.
    pub fn admin_token(mut self, token: Option<&str>) -> Self {
        self.admin_token = token.map(str::to_owned);
        self
    }

    /// Another control database than `postgres`. The cluster is started without it and the extension; make both.
    pub fn control_database(mut self, name: &str) -> Self {
        self.control_database = name.into();
        self.without_extension()
    }

    /// This HTTP port instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Without stonescriptdb in shared_preload_libraries; nor is the extension created.
    pub fn without_preload(mut self) -> Self {
        self.preload = false;
        self.without_extension()
    }

    /// Without CREATE EXTENSION; [`Cluster::create_extension`] makes up for it.
    pub fn without_extension(mut self) -> Self {
        self.extension = false;
        self
    }

    /// Without waiting for `GET /health`: for settings with which it is not answered.
    pub fn without_wait(mut self) -> Self {
        self.wait = false;
        self
    }

    /// Of another PostgreSQL, whose programs are in this folder: an older one, from which pg_upgrade shall lead to that of the tests.
    pub fn programs(mut self, folder: &Path) -> Self {
        self.programs = folder.to_owned();
        self
    }

    /// A hot standby of another cluster, by pg_basebackup. The extension is the primary's.
    pub fn standby_of(mut self, primary: &Cluster) -> Self {
        self.primary = Some(primary.socket_dir());
        self.without_extension()
    }

    /// Makes and starts the cluster.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(self) -> Cluster {
        self.try_start().unwrap_or_else(|e| panic!("{e}"))
    }

    /// Makes and starts the cluster; the error says why it did not start, with the end of its log.
    pub fn try_start(self) -> Result<Cluster, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = server::base_dir().join(format!("c{}", COUNT.fetch_add(1, Ordering::Relaxed) + 1));
        for dir in [&dir, &dir.join("sock")] {
            server::make_dir(dir);
        }
        let copy = match &self.primary {
            None if self.programs != server::bin_dir() => {
                // What newer ones do by themselves: pg_upgrade wants it to be the same.
                let checksums: &[&str] = if server::major() >= 18 { &["--data-checksums"] } else { &[] };
                let mut initdb = initdb(&self.programs, &dir.join("data"));
                initdb.args(checksums);
                initdb
            }
            None => {
                let mut copy = server::command("cp", &dir);
                copy.arg("-a").arg(template()).arg(dir.join("data"));
                copy
            }
            Some(socket) => {
                let mut copy = server::command(server::bin_dir().join("pg_basebackup"), &dir);
                copy.arg("-h").arg(socket).args([
                    "-p",
                    &SOCKET_PORT.to_string(),
                    "-U",
                    "postgres",
                    "-R",
                    "-c",
                    "fast",
                    "-D",
                ]);
                copy.arg(dir.join("data"));
                copy
            }
        };
        server::run(copy);

        let port = self.port.unwrap_or_else(crate::ports::free);
        for (name, value) in self.all_settings(&dir, port) {
            add_setting(&dir.join("data"), &name, &value).map_err(|e| format!("postgresql.conf: {e}"))?;
        }
        let cluster =
            Cluster::launch(dir, self.programs, port, self.control_database, self.admin_token, self.environment)?;
        if self.extension {
            cluster.try_create_extension(self.wait)?;
        }
        Ok(cluster)
    }

    fn all_settings(&self, dir: &Path, port: u16) -> Vec<(String, String)> {
        let mut settings = vec![
            ("listen_addresses", String::new()),
            ("port", SOCKET_PORT.to_string()),
            ("unix_socket_directories", dir.join("sock").display().to_string()),
            ("fsync", "off".into()),
            ("max_connections", "100".into()),
            ("max_worker_processes", "32".into()),
            ("shared_buffers", "32MB".into()),
            ("log_line_prefix", "%m [%p] %b %q%u@%d ".into()),
        ];
        if self.preload {
            settings.push(("shared_preload_libraries", "stonescriptdb".into()));
            settings.push(("stonescriptdb.port", port.to_string()));
            settings.push(("stonescriptdb.database", self.control_database.clone()));
            settings.extend(self.admin_token.clone().map(|token| ("stonescriptdb.admin_token", token)));
        }
        let ours = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
        ours.chain(self.settings.iter().cloned()).collect()
    }
}

/// Adds a line to the postgresql.conf of a data directory.
pub(crate) fn add_setting(data_dir: &Path, name: &str, value: &str) -> io::Result<()> {
    let mut conf = OpenOptions::new().append(true).open(data_dir.join("postgresql.conf"))?;
    writeln!(conf, "{name} = '{}'", value.replace('\'', "''"))
}

/// A data directory fresh from initdb, made once per test process, for clusters to copy.
fn template() -> &'static Path {
    static TEMPLATE: LazyLock<PathBuf> = LazyLock::new(|| {
        let dir = server::base_dir().join("template");
        server::run(initdb(server::bin_dir(), &dir));
        dir
    });
    &TEMPLATE
}

fn initdb(programs: &Path, data_dir: &Path) -> std::process::Command {
    let mut initdb = server::command(programs.join("initdb"), server::base_dir());
    initdb
        .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
        .arg(data_dir);
    initdb
}
