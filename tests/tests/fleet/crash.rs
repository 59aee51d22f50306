//! `kill -9` of all the server's processes in the middle of a deployment of fifty tenants, again and again: after the restart it is
//! interrupted, every tenant is before or after, and resuming finishes it without running a migration twice.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use acceptance::generator::Rng;
use acceptance::wait::check;
use acceptance::{Cluster, Files, eventually, eventually_within, server, sql};
use rustix::process::Signal;

use crate::kit::{self, Fleet, Gate, LONG, bundle, deployment, gated, parts};

const TENANTS: usize = 50;

/// What is deployed in a round: each migration so far adds one to the counter, and the last ones take long enough to be killed in.
fn files(round: usize) -> Files {
    let files = bundle(100 + round as u32);
    let files = (1..=round).fold(files, |files, n| {
        let path = format!("migrations/{n:03}_add.pssql");
        files.file(&path, "UPDATE counter SET n = n + 1;\nSELECT pg_sleep(count(*) * 0.02) FROM counter;\n")
    });
    (1..=round).fold(files, |files, n| gated(files, &format!("{n:03}_gate")))
}

/// SIGKILL to the postmaster and everything that it started, all at once.
fn kill_all(cluster: &Cluster) {
    server::signal(cluster.postmaster_pid(), Signal::KILL);
    for pid in server::processes_in(&cluster.data_dir()) {
        server::signal(pid.as_raw_nonzero().get(), Signal::KILL);
    }
    cluster.kill_postmaster_immediate();
}

#[test]
fn a_killed_cluster_resumes_and_runs_no_migration_twice() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let seed = kit::setting("SSDB_RANDOM_SEED", seed as usize) as u64;
    println!("SSDB_RANDOM_SEED={seed}");
    let mut rng = Rng::new(seed);
    let cluster = Cluster::start();
    let fleet = Fleet::new(&cluster, "crash", &bundle(1), TENANTS);
    for round in 1..=kit::setting("SSDB_CRASHES", 2).max(1) {
        let done = rng.below(TENANTS * 4 / 5);
        let pause = rng.below(200);
        // In every other round one database waits inside its transaction, so that the deployment cannot be over; the rest goes on.
        let held = (round % 2 == 1).then(|| fleet.database(&fleet.tenants[rng.below(TENANTS)]));
        let what = format!("round {round}: killed {pause} ms after {done} were done, {held:?} held; seed {seed}");
        println!("{what}");
        let gate = Gate::close(&cluster, held.as_slice());
        let id = fleet.start(&files(round), "parallel => 3");
        eventually_within(LONG, &what, || {
            let row = deployment(&cluster, &id);
            // The first goes alone: if it is held, nothing more will be done.
            let stuck = held.as_ref().is_some_and(|held| {
                kit::begun(&cluster, &id) == [held.as_str()]
                    && kit::in_state(&cluster, &id, "running") == [held.as_str()]
            });
            check(stuck || kit::number(&row, "done") >= done as i64, row)
        });
        std::thread::sleep(Duration::from_millis(pause as u64));
        kill_all(&cluster);
        cluster.start_again();
        drop(gate);
        check_interrupted(&fleet, &id, round, held.is_some(), &what);
        check_resumed(&fleet, &id, round, &what);
    }
}

/// After the restart: nothing runs, and every tenant is either before or after.
#[track_caller]
fn check_interrupted(fleet: &Fleet<'_>, id: &str, round: usize, must: bool, what: &str) {
    let row = eventually("the deployment to be interrupted", || {
        let row = deployment(fleet.cluster, id);
        check(row["state"] != "running", &row).map(|()| row)
    });
    // It may have ended before it was killed, unless something was held.
    let over = row["state"] == "completed" && !must;
    assert!(over || row["state"] == "interrupted", "{what}: {row:#}");
    kit::check_sums(&row);
    for part in parts(fleet.cluster, id) {
        let state = part["state"].as_str().unwrap_or_default();
        assert!(["pending", "interrupted", "completed"].contains(&state), "{what}: {part:#}");
    }
    let recorded = "SELECT (SELECT n FROM counter) || ' ' || (SELECT count(*) FROM _stonescriptdb_gateway_migrations WHERE migration_file LIKE '%\\_add.pssql')
                || ' ' || edition()::text";
    for database in fleet.databases() {
        let seen = sql::text(&mut fleet.cluster.connect(&database), recorded);
        let before = match round {
            1 => "0 0 1".to_owned(),
            _ => format!("{0} {0} {1}", round - 1, 99 + round),
        };
        let after = format!("{round} {round} {}", 100 + round);
        assert!(seen == before || seen == after, "{what}: {database} is between: {seen}");
    }
}

#[track_caller]
fn check_resumed(fleet: &Fleet<'_>, id: &str, round: usize, what: &str) {
    if deployment(fleet.cluster, id)["state"] == "interrupted" {
        let answer = sql::done(kit::verb(fleet.cluster, "resume", id));
        assert_eq!(answer["status"], "completed", "{what}: {answer:#}");
        kit::check_answer(fleet.cluster, &answer);
    }
    let row = kit::wait_over(fleet.cluster, id);
    assert_eq!(row["state"], "completed", "{what}: {row:#}");
    assert_eq!(kit::number(&row, "done"), TENANTS as i64 + 1, "{what}: {row:#}");
    assert_eq!(kit::number(&row, "remaining"), 0, "{what}: {row:#}");
    assert_eq!(fleet.counters(), [round as i32].repeat(TENANTS + 1), "{what}: each migration once");

    let answer = sql::done(fleet.run(&files(round), "verify => true, parallel => 3"));
    assert_eq!(answer["status"], "completed", "{what}: {answer:#}");
    assert_eq!(answer["verification"]["passed"], true, "{what}: {answer:#}");
    assert_eq!((&answer["failed"], &answer["migrations_applied"]), (&0.into(), &0.into()), "{what}: {answer:#}");
    assert_eq!(fleet.counters(), [round as i32].repeat(TENANTS + 1), "{what}: after the verification");
    let drift = format!("SELECT * FROM stonescriptdb.drift WHERE platform = '{}'", fleet.platform.name);
    let drift = kit::json_rows(&mut fleet.cluster.control(), &drift);
    assert!(drift.is_empty(), "{what}: {drift:#?}");
}
