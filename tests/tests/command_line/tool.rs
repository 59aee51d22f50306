//! The program under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use acceptance::{ADMIN_TOKEN, Cluster, Files};
use serde_json::Value;

/// The folder of the program, built as these tests were.
pub fn folder() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "-q", "-p", "stonescriptdb-cli", "--message-format=json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let messages = String::from_utf8_lossy(&built.stdout).into_owned();
        let found = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|message| message["executable"].as_str().map(PathBuf::from));
        found.and_then(|program| Some(program.parent()?.to_owned())).expect("cargo names the program")
    });
    &FOLDER
}

/// A folder of a test's own, and a server.
pub struct Shell<'c> {
    cluster: &'c Cluster,
    dir: PathBuf,
}

/// What came of a command.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl<'c> Shell<'c> {
    pub fn new(cluster: &'c Cluster) -> Shell<'c> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ssdb_cli_{}_{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("a folder can be made");
        Shell { cluster, dir }
    }

    /// Where its commands run.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts an archive there.
    pub fn put(&self, name: &str, files: &Files) {
        fs::write(self.dir.join(name), files.tar_gz()).expect("a file can be written");
    }

    /// A command with the server's address and admin token in its environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut path = folder().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .env("PATH", path)
            .env("SSDB_URL", format!("http://127.0.0.1:{}", self.cluster.port()))
            .env("SSDB_ADMIN_TOKEN", ADMIN_TOKEN);
        for variable in
            ["SSDB_TOKEN", "SSDB_PLATFORM", "SSDB_CA_FILE", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"]
        {
            command.env_remove(variable);
        }
        command
    }

    /// The program with these arguments.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(folder().join("stonescriptdb")).args(arguments))
    }
}

impl Drop for Shell<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Ran {
    /// Runs a command to its end.
    #[track_caller]
    pub fn of(command: &mut Command) -> Ran {
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Asserts an exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "exit code {code} expected, but: {self}");
        self
    }

    /// Asserts that something is said, wherever.
    #[track_caller]
    pub fn says(self, fragment: &str) -> Ran {
        assert!(self.out.contains(fragment) || self.err.contains(fragment), "{fragment:?} expected, but: {self}");
        self
    }

    /// Standard output, which is to be JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("JSON expected ({e}), but: {self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}\n--- standard output\n{}\n--- standard error\n{}", self.code, self.out, self.err)
    }
}
