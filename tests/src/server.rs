//! What is below a [`Cluster`](crate::Cluster): where the server's programs are, who runs them, the directories, and processes that
//! are cleaned up after however the test process ends.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// The names of the directories of test processes are this and the process id.
const PREFIX: &str = "ssdb_test_";

/// Where `postgres`, `initdb` and `pg_dump` are: what `$PG_CONFIG --bindir` says, else the newest of /usr/lib/postgresql/*/bin, else
/// what the `pg_config` on the path says.
pub fn bin_dir() -> &'static Path {
    static DIR: LazyLock<PathBuf> = LazyLock::new(|| {
        if let Some(pg_config) = std::env::var_os("PG_CONFIG") {
            return ask_pg_config(Path::new(&pg_config)).unwrap_or_else(|e| panic!("$PG_CONFIG: {e}"));
        }
        let majors = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let newest = majors
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
            .filter(|(_, bin)| bin.join("postgres").exists())
            .max();
        match newest {
            Some((_, bin)) => bin,
            None => ask_pg_config(Path::new("pg_config"))
                .unwrap_or_else(|e| panic!("no PostgreSQL server found (set PG_CONFIG): {e}")),
        }
    });
    &DIR
}

/// The server's major version.
pub fn major() -> u32 {
    static MAJOR: LazyLock<u32> = LazyLock::new(|| {
        let mut postgres = Command::new(bin_dir().join("postgres"));
        postgres.arg("--version");
        let text = String::from_utf8_lossy(&run(postgres).stdout).into_owned();
        let digits = text.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty());
        digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no version: {text}"))
    });
    *MAJOR
}

fn ask_pg_config(pg_config: &Path) -> Result<PathBuf, String> {
    let output =
        Command::new(pg_config).arg("--bindir").output().map_err(|e| format!("{}: {e}", pg_config.display()))?;
    let dir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if dir.join("postgres").exists() { Ok(dir) } else { Err(format!("no postgres in {}", dir.display())) }
}

/// The user who runs the server: PostgreSQL refuses root. `None`: whoever runs the tests.
pub fn run_as() -> Option<String> {
    geteuid().is_root().then(|| std::env::var("SSDB_TEST_USER").unwrap_or_else(|_| "postgres".into()))
}

/// A command that runs `program` as the server's user, with the working directory that the server may enter.
pub fn command(program: impl AsRef<Path>, dir: &Path) -> Command {
    wrapped(program.as_ref(), dir, &[])
}

/// A command as of [`command`] whose process gets SIGINT, the server's fast shutdown, when this process dies.
pub fn command_that_dies_with_us(program: impl AsRef<Path>, dir: &Path) -> Command {
    wrapped(program.as_ref(), dir, &["--pdeathsig", "INT"])
}

fn wrapped(program: &Path, dir: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(user) = run_as() {
        command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--init-groups");
    }
    command.args(options).arg("--").arg(program).current_dir(dir).env("LC_ALL", "C").stdin(Stdio::null());
    // A shell's own settings for libpq must not decide what the tests speak to.
    for variable in ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGOPTIONS", "PGDATA", "PGSERVICE"] {
        command.env_remove(variable);
    }
    command
}

/// Runs a command to its end.
///
/// # Panics
/// When it fails: with what it wrote.
#[track_caller]
pub fn run(mut command: Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        panic!("{command:?}: {}\n{out}\n{err}", output.status);
    }
    output
}

/// Starts a process from a thread that lives as long as this process does: a parent's-death signal is sent when the *thread* that made
/// the child ends, and a test's thread ends before the cluster that the tests share.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    // Ctrl-C is for us; we stop the children.
    command.process_group(0);
    let (reply, answer) = channel();
    SPAWNER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, reply))
        .map_err(|_| io::Error::other("the spawner thread is gone"))?;
    answer.recv().map_err(|_| io::Error::other("the spawner thread is gone"))?
}

/// This test process's directory, for all its clusters; made at the first call, which also removes those of dead processes.
pub fn base_dir() -> &'static Path {
    static DIR: LazyLock<PathBuf> = LazyLock::new(|| {
        let root = std::env::var_os("SSDB_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        fs::create_dir_all(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
        remove_stale(&root);
        let dir = root.join(format!("{PREFIX}{}", std::process::id()));
        make_dir(&dir);
        leave_a_janitor(&dir);
        dir
    });
    &DIR
}

/// Makes a directory of the server's user.
pub fn make_dir(dir: &Path) {
    fs::create_dir_all(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    if let Some(user) = run_as() {
        let mut chown = Command::new("chown");
        chown.arg(format!("{user}:")).arg(dir);
        run(chown);
    }
}

fn remove_stale(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            kill_processes_in(&entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A process that outlives us to stop our servers and remove our directory: no code of ours runs after `cargo test` is killed, nor
/// for the statics of a test binary at its end. It waits for the end of a pipe whose other end only we hold.
fn leave_a_janitor(dir: &Path) {
    // Kept for the end of the pipe that it holds.
    static JANITOR: OnceLock<Child> = OnceLock::new();
    const SCRIPT: &str = r#"
        trap '' INT TERM HUP
        cat >/dev/null
        servers() { for p in /proc/[0-9]*; do case "$(readlink "$p/cwd")" in "$0"/*) echo "${p#/proc/}" ;; esac; done; }
        for signal in QUIT KILL; do
            for p in $(servers); do kill -s $signal "$p"; done
            n=0
            while [ -n "$(servers)" ] && [ $n -lt 30 ]; do sleep 0.2; n=$((n + 1)); done
        done
        rm -rf -- "$0"
    "#;
    let mut janitor = Command::new("sh");
    janitor.arg("-c").arg(SCRIPT).arg(dir).current_dir("/");
    janitor.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = JANITOR.set(spawn(janitor).expect("sh starts"));
}

/// The processes whose working directory is `dir` or below: of a data directory, the server's.
pub fn processes_in(dir: &Path) -> Vec<Pid> {
    let pid_of = |path: PathBuf| {
        let cwd = fs::read_link(path.join("cwd")).ok()?;
        let pid = path.file_name()?.to_str()?.parse().ok()?;
        if cwd.starts_with(dir) { Pid::from_raw(pid) } else { None }
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| pid_of(entry.path())).collect()
}

/// Kills the processes of [`processes_in`] and waits until they are gone.
pub fn kill_processes_in(dir: &Path) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        let processes = processes_in(dir);
        if processes.is_empty() {
            return;
        }
        for pid in processes {
            let _ = kill_process(pid, Signal::KILL);
        }
        sleep(Duration::from_millis(50));
    }
}

/// Sends a signal to a process by its id, as `pg_stat_activity.pid` says it. It may be gone already.
pub fn signal(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process id is above zero");
    let _ = kill_process(pid, signal);
}

/// Memory that is a process's own, in kB; none when it is gone. Pages of PostgreSQL's shared memory are not in it: those that no other
/// process has looked at, or none any more, count as private elsewhere (Private_Dirty).
pub fn own_memory(pid: impl std::fmt::Display) -> Option<i64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// The last `lines` lines of a file, which may still be written to.
pub fn tail(path: &Path, lines: usize) -> String {
    let mut bytes = Vec::new();
    if let Err(e) = fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        return format!("{}: {e}", path.display());
    }
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Raises the limit of open files as far as this process may; the limit there is then.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(1_000_000)
}
