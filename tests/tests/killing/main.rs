//! Rounds of violence under load: processes of the server killed with -9, immediate shutdowns, stopped executors, while calls and a
//! deployment go on. After each round service is back by itself, no acknowledged call is lost, every tenant verifies, and no migration ran
//! twice. `SSDB_KILL_ROUNDS`: how many; `SSDB_RANDOM_SEED`: which.

#[allow(dead_code, reason = "another suite's tools, of which some are used")]
#[path = "../fleet/kit.rs"]
mod kit;
mod load;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use acceptance::generator::Rng;
use acceptance::wait::check;
use acceptance::{Cluster, Files, Shutdown, eventually_within, server, sql};
use rustix::process::Signal;
use serde_json::json;

use kit::{Fleet, LONG};
use load::Load;

const TENANTS: usize = 5;

/// What is deployed in a round: each migration so far adds one to the counter.
fn files(round: usize) -> Files {
    let files = Files::new()
        .file("tables/notes.pssql", "CREATE TABLE notes (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());\n")
        .file("tables/counter.pssql", "CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL);\n")
        .file("seeders/counter.pssql", "INSERT INTO counter (id, n) VALUES (1, 0);\n")
        .file(
            "functions/note.pssql",
            "CREATE FUNCTION note(id bigint) RETURNS bigint LANGUAGE sql AS $$ INSERT INTO notes (id) VALUES ($1) RETURNING id $$;\n",
        )
        .file(
            "functions/edition.pssql",
            format!("CREATE FUNCTION edition() RETURNS int LANGUAGE sql AS 'SELECT {round}';\n"),
        );
    (1..=round).fold(files, |files, n| {
        let path = format!("migrations/{n:03}_add.pssql");
        files.file(&path, "UPDATE counter SET n = n + 1;\nSELECT pg_sleep(count(*) * 0.01) FROM counter;\n")
    })
}

#[test]
fn nothing_acknowledged_is_lost() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let seed = kit::setting("SSDB_RANDOM_SEED", seed as usize) as u64;
    let rounds = kit::setting("SSDB_KILL_ROUNDS", 6);
    println!("SSDB_RANDOM_SEED={seed}");
    let mut rng = Rng::new(seed);
    let cluster = Cluster::builder().setting("synchronous_commit", "on").start();
    let fleet = Fleet::new(&cluster, "kill", &files(0), TENANTS);
    let load = Load::new(&fleet);
    for round in 1..=rounds {
        let how = How::any(&mut rng, round);
        let pause = rng.below(700);
        let what = format!("round {round}: {how:?} {pause} ms after the beginning; seed {seed}");
        std::thread::scope(|scope| {
            let stop = load.start(scope);
            // How it ends is asked when all is over.
            scope.spawn(|| {
                let Ok(mut control) = cluster.try_connect_as("postgres", "postgres") else { return };
                let _ =
                    kit::migrate_all(&mut control, &fleet.platform.name, None, Some(&files(round)), "parallel => 2");
            });
            std::thread::sleep(Duration::from_millis(pause as u64));
            how.strike(&cluster, &mut rng);
            wait_back(&fleet, &what);
            drop(stop);
        });
        let acknowledged = load.check(&what);
        check_deployed(&fleet, round, &what);
        println!("{what}: {acknowledged} calls acknowledged so far");
    }
    let calls = load.check("at the end");
    assert!(calls > rounds * 10, "{calls} calls in {rounds} rounds are no load");
}

/// What is done to the server.
#[derive(Clone, Copy, Debug)]
enum How {
    /// SIGKILL to some of the postmaster's children.
    KillChildren,
    /// SIGKILL to executors only, or to the server worker.
    KillOurs,
    /// SIGTERM to executors and the server worker: no crash for PostgreSQL.
    EndOurs,
    /// `pg_ctl stop -m immediate`, and a start.
    Immediate,
    /// `pg_ctl restart -m fast`.
    Fast,
    /// SIGKILL to everything, and a start.
    KillAll,
    /// SIGSTOP to executors, and SIGCONT after a while.
    StopExecutors,
    /// The same of the server worker.
    StopServer,
}

impl How {
    /// The first rounds have one of each kind, for the short run.
    fn any(rng: &mut Rng, round: usize) -> How {
        use How::{EndOurs, Fast, Immediate, KillAll, KillChildren, KillOurs, StopExecutors, StopServer};
        let first = [KillChildren, StopExecutors, Immediate, KillOurs, EndOurs, KillAll];
        let all = [KillChildren, KillOurs, EndOurs, Immediate, Fast, KillAll, StopExecutors, StopServer];
        first.get(round - 1).copied().unwrap_or_else(|| all[rng.below(all.len())])
    }

    fn strike(self, cluster: &Cluster, rng: &mut Rng) {
        match self {
            How::KillChildren => {
                let all = children(cluster, "");
                some(&all, rng).for_each(|pid| server::signal(pid, Signal::KILL));
            }
            How::KillOurs => {
                let all = children(cluster, "stonescriptdb");
                some(&all, rng).for_each(|pid| server::signal(pid, Signal::KILL));
            }
            How::EndOurs => {
                for _ in 0..3 {
                    let all = children(cluster, "stonescriptdb");
                    some(&all, rng).for_each(|pid| server::signal(pid, Signal::TERM));
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            How::Immediate => restart(cluster, Shutdown::Immediate),
            How::Fast => restart(cluster, Shutdown::Fast),
            How::KillAll => {
                server::signal(cluster.postmaster_pid(), Signal::KILL);
                children(cluster, "").into_iter().for_each(|pid| server::signal(pid, Signal::KILL));
                cluster.kill_postmaster_immediate();
                cluster.start_again();
            }
            How::StopExecutors => pause(&children(cluster, "stonescriptdb executor"), rng),
            How::StopServer => pause(&children(cluster, "stonescriptdb server"), rng),
        }
    }
}

fn restart(cluster: &Cluster, how: Shutdown) {
    cluster.stop(how);
    cluster.start_again();
}

fn pause(pids: &[i32], rng: &mut Rng) {
    pids.iter().for_each(|pid| server::signal(*pid, Signal::STOP));
    std::thread::sleep(Duration::from_millis(100 + rng.below(1500) as u64));
    pids.iter().for_each(|pid| server::signal(*pid, Signal::CONT));
}

/// One to three of them.
fn some<'p>(pids: &'p [i32], rng: &mut Rng) -> impl Iterator<Item = i32> + 'p {
    let (start, count) = (rng.below(pids.len().max(1)), 1 + rng.below(3));
    pids.iter().cycle().skip(start).take(count.min(pids.len())).copied()
}

/// The server's processes but the postmaster whose titles have a text in them.
fn children(cluster: &Cluster, title: &str) -> Vec<i32> {
    let postmaster = cluster.postmaster_pid();
    let pids = server::processes_in(&cluster.data_dir()).into_iter().map(|pid| pid.as_raw_nonzero().get());
    pids.filter(|pid| {
        let shown = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != postmaster && String::from_utf8_lossy(&shown).contains(title)
    })
    .collect()
}

/// Every tenant can be called and written to, without anybody's help.
#[track_caller]
fn wait_back(fleet: &Fleet<'_>, what: &str) {
    for tenant in fleet.tenants.iter().map(String::as_str).chain(["main"]) {
        eventually_within(LONG, &format!("{what}: {tenant} to be served again"), || {
            let answer = fleet.cluster.http().try_call(&fleet.platform.name, Some(tenant), "edition", json!([]));
            let answer = answer.map_err(|e| e.to_string())?;
            check(answer.status == 200, answer)
        });
    }
}

/// The round's bundle reaches all that it has not reached, no migration runs twice, and everything verifies.
#[track_caller]
fn check_deployed(fleet: &Fleet<'_>, round: usize, what: &str) {
    let answer = eventually_within(LONG, &format!("{what}: the deployment to be over"), || {
        // What the killed one left may still be told as running for a moment.
        let answer = fleet.run(&files(round), "parallel => 2").map_err(|e| sql::describe(&e))?;
        check(answer["status"] == "completed", &answer).map(|()| answer)
    });
    assert_eq!(answer["total"], TENANTS + 1, "{what}: {answer:#}");
    assert_eq!(fleet.counters(), [round as i32].repeat(TENANTS + 1), "{what}: each migration once");
    let answer = sql::done(fleet.run(&files(round), "verify => true, parallel => 2"));
    assert_eq!(answer["verification"]["passed"], true, "{what}: {answer:#}");
    assert_eq!(answer["migrations_applied"], 0, "{what}: {answer:#}");
    assert_eq!(fleet.counters(), [round as i32].repeat(TENANTS + 1), "{what}: after the verification");
    let drift = format!("SELECT * FROM stonescriptdb.drift WHERE platform = '{}'", fleet.platform.name);
    let drift = kit::json_rows(&mut fleet.cluster.control(), &drift);
    assert!(drift.is_empty(), "{what}: {drift:#?}");
}
