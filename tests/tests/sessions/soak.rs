//! What bench/soak does for an hour, for some seconds (`SSDB_SOAK_SECONDS`): calls at full speed with deployments, and no growth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use acceptance::{Cluster, Files, Platform, server, sql};
use postgres::Client;
use serde_json::json;

/// Between two looks at the memory.
const PAUSE: Duration = Duration::from_millis(250);

/// How often the memory is looked at. A third of it is the warm-up.
fn looks() -> usize {
    let seconds = std::env::var("SSDB_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    seconds.unwrap_or(12) * 4
}

/// Deployments at least: beside calls that take all processors each takes seconds.
const DEPLOYMENTS: usize = 4;

/// What a process may be larger at the end, in kB.
const GROWTH: i64 = 512;

fn version(number: usize) -> Files {
    let beside = if number.is_multiple_of(2) {
        "CREATE FUNCTION beside() RETURNS int LANGUAGE sql AS 'SELECT 1';\n"
    } else {
        ""
    };
    Files::new()
        .file("tables/item.pssql", "CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL, tags text[] NOT NULL DEFAULT '{}');\n")
        .file("types/pair.pssql", "CREATE TYPE pair AS (a int, b text);\n")
        .file(
            "functions/all.pssql",
            format!(
                "CREATE FUNCTION get_item(p_id int) RETURNS TABLE (id int, name text, tags text[]) LANGUAGE plpgsql STABLE AS $$ BEGIN
                     RETURN QUERY SELECT i.id, i.name, i.tags FROM item i WHERE i.id = p_id AND {number} > 0; END $$;
                 CREATE FUNCTION put_item(p_id int, p_name text, p_tags text[]) RETURNS int LANGUAGE sql AS $$
                     INSERT INTO item VALUES (p_id, p_name, p_tags) ON CONFLICT (id) DO UPDATE SET name = p_name RETURNING {number} $$;
                 CREATE FUNCTION echo(p pair, l jsonb[]) RETURNS TABLE (p2 pair, l2 jsonb[]) LANGUAGE sql AS 'SELECT p, l';
                 CREATE FUNCTION temporary() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
                     CREATE TEMP TABLE of_{number} AS SELECT 1; SET work_mem = '5MB'; END $$;
                 CREATE FUNCTION fail(p text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', p; END $$;
                 {beside}"
            ),
        )
}

/// Processes of one kind have done the same after a while, however often.
type Sizes = BTreeMap<i64, (String, i64)>;

/// kB of memory of their own, and of what kind, of the server worker and of each executor that stays, by pid: those that call, and those of
/// the control database.
fn memory(client: &mut Client) -> Sizes {
    let staying = "SELECT concat_ws(' ', pid, backend_type, usename) FROM pg_stat_activity
                   WHERE backend_type LIKE 'stonescriptdb%' AND (usename LIKE '%\\_call' OR datname = current_database())";
    let of = |process: &String| {
        let (pid, kind) = process.split_once(' ')?;
        Some((pid.parse().ok()?, (kind.to_owned(), server::own_memory(pid)?)))
    };
    sql::texts(client, staying).iter().filter_map(of).collect()
}

#[test]
fn full_load_and_deployments_leave_no_error_and_no_growth() {
    // PostgreSQL keeps the buffers of temporary tables; so they are all in use after the warm-up.
    let cluster = Cluster::builder().setting("temp_buffers", "800kB").start();
    let platform = Platform::register(&cluster, "soak", &version(1));
    let mut client = cluster.control();
    let calls = [
        ("put_item", json!([1, "pen", ["a", null]]), 200),
        ("get_item", json!([1]), 200),
        ("get_item", json!({"p_id": 1}), 200),
        ("echo", json!([{"a": 1, "b": "x"}, [{"k": [1.50]}, null]]), 200),
        ("get_item", json!([2]), 200),
        ("temporary", json!([]), 200),
        ("fail", json!(["no"]), 400),
        ("get_item", json!([1]), 200),
        ("get_item", json!(["x"]), 422),
        ("nobody", json!([]), 404),
    ];
    let (over, done, sampled) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let samples = std::thread::scope(|scope| {
        let load = |first: usize| {
            let (over, done, calls, platform) = (&over, &done, &calls, &platform);
            move || {
                let http = platform.cluster.http();
                let mut wire = http.wire();
                for turn in first.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let (function, params, status) = &calls[turn % calls.len()];
                    wire.send(&http.call_bytes(&platform.name, function, params)).expect("sent");
                    let answer = wire.read_answer("POST").expect("an answer");
                    if answer.status != *status {
                        over.store(true, Ordering::Relaxed);
                        panic!("{function}({params}): {status} expected, but {answer}");
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        for first in 0..4 {
            scope.spawn(load(first));
        }
        let sampler = scope.spawn(|| {
            let mut samples: Vec<Sizes> = Vec::new();
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(PAUSE);
                samples.push(memory(&mut client));
                sampled.store(samples.len(), Ordering::Relaxed);
            }
            samples
        });
        let mut number = 1;
        let enough = |number| number > DEPLOYMENTS && sampled.load(Ordering::Relaxed) >= looks();
        while !enough(number) && !sampler.is_finished() && !over.load(Ordering::Relaxed) {
            number += 1;
            let answer = platform.cluster.http().migrate(&platform.name, None, &version(number).tar_gz(), &[]);
            if answer.status != 200 {
                over.store(true, Ordering::Relaxed);
            }
            answer.ok();
        }
        over.store(true, Ordering::Relaxed);
        sampler.join().expect("samples")
    });
    // Of each process that was there at both times the mean of the second third of the samples, and of the last one. Some have little to do
    // for long and warm up late: then to what others of their kind had become.
    let third = samples.len() / 3;
    let mean = |pid: i64, from: usize, to: usize| {
        let seen: Vec<i64> = samples[from..to].iter().filter_map(|sample| Some(sample.get(&pid)?.1)).collect();
        (seen.len() > 2).then(|| seen.iter().sum::<i64>() / seen.len() as i64)
    };
    let both = |(pid, (kind, _)): (&i64, &(String, i64))| {
        Some((*pid, kind.clone(), mean(*pid, third, 2 * third)?, mean(*pid, 2 * third, samples.len())?))
    };
    let compared: Vec<_> = samples.last().into_iter().flatten().filter_map(both).collect();
    for (pid, kind, middle, last) in &compared {
        println!("{kind}, process {pid}: {middle} kB, and then {last} kB");
        let like = compared.iter().filter(|other| other.1 == *kind).map(|other| other.2).max().unwrap_or(*middle);
        assert!(
            last - like < GROWTH,
            "process {pid} grew from {middle} to {last} kB in {third} looks, of its kind there were {like}"
        );
    }
    let kinds: BTreeSet<_> = compared.iter().map(|(_, kind, ..)| kind).collect();
    println!("{} calls", done.load(Ordering::Relaxed));
    assert_eq!(
        kinds.len(),
        3,
        "the server worker, an executor that calls and one of the control database: {samples:?}"
    );
}
