//! The server that is attacked: its processes, their memory, and the ordinary calls that go on meanwhile.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use acceptance::{Builder, Cluster, Files, Http, fixtures, server, sql};
use serde_json::json;

/// A server with a platform `victim`, and the process that must stay.
pub struct Victim {
    pub cluster: Cluster,
    worker: String,
    /// Attacks come one after the other: each measures time and memory.
    turn: Mutex<()>,
    /// The platform's, where it needs one.
    token: String,
}

/// What was seen during an attack.
#[derive(Debug)]
pub struct Seen {
    pub calls: usize,
    pub slowest: Duration,
    /// Time of a core that the server worker took.
    #[allow(dead_code, reason = "it is shown")]
    pub worker_cpu: Duration,
    /// Kilobytes of the server worker: before, at most, and now.
    pub worker_kb: [u64; 3],
    /// The most that any executor had.
    pub executor_kb: u64,
}

impl Victim {
    pub fn new(builder: Builder) -> Victim {
        let cluster = builder.start();
        cluster.http().register("victim", None, &files().tar_gz()).ok();
        let worker = pid(&cluster);
        Victim { cluster, worker, turn: Mutex::new(()), token: String::new() }
    }

    /// With a token, and new platforms for the admin only: a name with damage shall not be a new database.
    pub fn with_token(self) -> Victim {
        let issue = "SELECT stonescriptdb.create_token('victim')";
        let token = sql::text(&mut self.cluster.control(), issue);
        self.cluster.configure("stonescriptdb.require_platform_token", "on");
        self.cluster.reload();
        acceptance::eventually("tokens", || {
            let answer = self.cluster.http().call("victim", None, "f", json!([]));
            acceptance::wait::check(answer.status == 401, answer)
        });
        Victim { token, ..self }
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn http(&self) -> Http {
        if self.token.is_empty() { self.cluster.http() } else { self.cluster.http().bearer(&self.token) }
    }

    /// Attacks while ordinary calls go on, and asserts that these are answered and that nothing was restarted.
    #[track_caller]
    pub fn attack(&self, what: &str, attack: impl FnOnce() + Send) -> Seen {
        let _turn = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let over = AtomicBool::new(false);
        let before = memory(&self.worker);
        let cpu_before = cpu(&self.worker);
        let start = Instant::now();
        let (calls, worker_kb, executor_kb) = std::thread::scope(|scope| {
            let calls = scope.spawn(|| self.call_until(&over));
            let watch = scope.spawn(|| self.watch_until(&over));
            let attacker = scope.spawn(attack).join();
            over.store(true, Relaxed);
            let (calls, watch) = (calls.join(), watch.join());
            if let Err(panic) = attacker {
                std::panic::resume_unwind(panic);
            }
            let (most, executor) = watch.expect("the one who watches memory");
            (calls.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), most, executor)
        });
        let took = start.elapsed();
        let worker_cpu = cpu(&self.worker).saturating_sub(cpu_before);
        // What was freed is given back every 5 s.
        std::thread::sleep(Duration::from_secs(6));
        let seen = Seen {
            calls: calls.len(),
            slowest: calls.iter().max().copied().unwrap_or_default(),
            worker_cpu,
            worker_kb: [before, worker_kb, memory(&self.worker)],
            executor_kb,
        };
        eprintln!("{what}: {took:.1?}, {seen:?}");
        self.check();
        assert!(seen.calls > 0, "{what}: no ordinary call was answered");
        assert!(seen.slowest < Duration::from_secs(30), "{what}: an ordinary call took {:?}", seen.slowest);
        seen
    }

    /// Asserts that the service answers and that nothing was restarted.
    #[track_caller]
    pub fn check(&self) {
        assert_eq!(self.http().call("victim", None, "add", json!([1, 2])).value(), 3);
        self.http().get("/health").ok().field("status", "healthy");
        assert_eq!(pid(&self.cluster), self.worker, "the server worker was restarted");
        let log = self.cluster.log();
        for trouble in
            ["PANIC", "panicked", "was terminated by signal", "terminating any other active server processes"]
        {
            assert!(!log.contains(trouble), "{trouble:?} in the log: {}", self.cluster.log_tail());
        }
    }

    /// Kilobytes that the server worker has.
    pub fn memory(&self) -> u64 {
        memory(&self.worker)
    }

    /// One call after the other on a connection that stays; how long each took.
    fn call_until(&self, over: &AtomicBool) -> Vec<Duration> {
        let request = self.http().call_bytes("victim", "add", &json!([1, 2]));
        let mut wire = self.http().wire();
        let mut took = Vec::new();
        while !over.load(Relaxed) {
            let start = Instant::now();
            wire.send(&request).expect("an ordinary call is sent");
            let answer = wire.read_answer("POST").expect("an ordinary call is answered");
            assert_eq!(answer.value(), 3);
            took.push(start.elapsed());
            // A client, not an attack.
            std::thread::sleep(Duration::from_millis(2));
            // New ones are served as well.
            if took.len() % 50 == 0 {
                wire = self.http().wire();
            }
        }
        took
    }

    fn watch_until(&self, over: &AtomicBool) -> (u64, u64) {
        let (mut worker, mut executor) = (0, 0);
        while !over.load(Relaxed) {
            worker = worker.max(memory(&self.worker));
            executor = executor.max(self.executors().into_iter().map(|pid| memory(&pid)).max().unwrap_or(0));
            std::thread::sleep(Duration::from_millis(20));
        }
        (worker, executor)
    }

    fn executors(&self) -> Vec<String> {
        let pids =
            server::processes_in(&self.cluster.data_dir()).into_iter().map(|pid| pid.as_raw_nonzero().to_string());
        pids.filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("stonescriptdb executor"))
        })
        .collect()
    }
}

/// The victim's bundle.
pub fn files() -> Files {
    fixtures::tiny().and(
        Files::new()
            .file(
                "functions/same.pssql",
                "CREATE FUNCTION same(v jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT v $$;\n",
            )
            .file(
                "functions/add.pssql",
                "CREATE FUNCTION add(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql STABLE AS $$ SELECT a + b $$;\n",
            )
            .file(
                "functions/many.pssql",
                "CREATE FUNCTION many(n int) RETURNS SETOF int LANGUAGE sql AS $$ SELECT generate_series(1, least(n, 50)) $$;\n",
            ),
    )
}

fn pid(cluster: &Cluster) -> String {
    cluster.server_worker()
}

/// Kilobytes that are a process's own.
fn memory(pid: &str) -> u64 {
    server::own_memory(pid).and_then(|kb| u64::try_from(kb).ok()).unwrap_or(0)
}

/// Time of a core that a process has taken, in itself and in the kernel.
fn cpu(pid: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // proc(5): behind the name, which may have anything in it, utime and stime are the twelfth and the thirteenth field, in hundredths.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
