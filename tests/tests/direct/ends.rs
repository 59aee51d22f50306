//! When something ends: clients, executors, databases, the server worker.

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures, server};
use rustix::process::Signal;
use serde_json::json;

use super::settled;

/// Terminates the executors that serve connections of a platform, and waits for their end.
#[track_caller]
fn terminate_those_that_serve(cluster: &Cluster, platform: &Platform) {
    let end = "SELECT pg_terminate_backend(pid) FROM stonescriptdb.workers WHERE database = $1 AND state = 'serving'";
    cluster.control().execute(end, &[&platform.database()]).expect("terminated");
    eventually("they have ended", || {
        let states = super::states(cluster, &platform.database());
        check(states.iter().all(|state| state != "serving"), format!("{states:?}"))
    });
}

fn naps(cluster: &Cluster, platform: &Platform) -> i64 {
    let count =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state = 'active' AND wait_event = 'PgSleep'";
    cluster.control().query_one(count, &[&platform.database()]).expect("activity").get(0)
}

#[test]
fn the_call_of_a_client_that_has_gone_is_cancelled() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "gone", &fixtures::tiny());
    for _ in 0..3 {
        let mut line = settled(&cluster, &platform);
        line.send("nap", &json!([600]));
        eventually("the nap has begun", || check(naps(&cluster, &platform) == 1, "not yet"));
        drop(line);
        eventually("it is cancelled", || check(naps(&cluster, &platform) == 0, "not yet"));
    }
    settled(&cluster, &platform).call("f", json!([])).ok();
}

#[test]
fn an_executor_that_is_terminated_at_work_is_told_of() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "killed", &fixtures::tiny());
    let mut line = settled(&cluster, &platform);
    line.send("nap", &json!([600]));
    eventually("the nap has begun", || check(naps(&cluster, &platform) == 1, "not yet"));
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'PgSleep'";
    cluster.control().execute(end, &[&platform.database()]).expect("terminated");
    line.read().error(503, "connection_failed").field("sqlstate", "57P01");
    assert!(line.wire.is_closed());
    settled(&cluster, &platform).call("f", json!([])).ok();
}

#[test]
fn an_executor_that_is_terminated_at_rest_is_not_noticed() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "rest", &fixtures::tiny());
    let mut line = settled(&cluster, &platform);
    for _ in 0..5 {
        terminate_those_that_serve(&cluster, &platform);
        line = line.settle();
    }
}

#[test]
fn a_connection_ends_though_an_executor_that_had_it_has_not_woken_up_since() {
    let cluster = Cluster::builder().setting("stonescriptdb.header_timeout", "500ms").start();
    let platform = Platform::register(&cluster, "kept", &fixtures::tiny());
    let mut line = settled(&cluster, &platform);
    let serving = "SELECT pid FROM stonescriptdb.workers WHERE database = $1 AND state = 'serving'";
    let pid: i32 = cluster.control().query_one(serving, &[&platform.database()]).expect("one").get(0);
    server::signal(pid, Signal::STOP);
    eventually("the server worker takes it back", || {
        let states = super::states(&cluster, &platform.database());
        check(states.iter().all(|state| state != "serving"), format!("{states:?}"))
    });
    line.wire.send(b"POST /call HTTP/1.1\r\n").expect("sent");
    let closed = line.wire.is_closed();
    server::signal(pid, Signal::CONT);
    assert!(closed, "a head that does not come is not cut off");
    settled(&cluster, &platform).call("f", json!([])).ok();
}

#[test]
fn a_database_that_is_dropped_is_gone() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "dropped", &fixtures::tiny());
    let mut line = settled(&cluster, &platform);
    cluster.control().batch_execute(&format!("DROP DATABASE {}", platform.database())).expect("dropped");
    line.call("f", json!([])).error(404, "database_not_found");
}

#[test]
fn a_function_that_is_deployed_anew_is_the_new_one() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "anew", &fixtures::tiny());
    let mut line = settled(&cluster, &platform);
    platform.migrate(&fixtures::tiny().edit("functions/f.pssql", "SELECT 1", "SELECT 2")).ok();
    assert_eq!(line.call("f", json!([])).ok().value(), json!(2));
}

#[test]
fn idle_connections_give_their_executor_back() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "idle", &fixtures::tiny());
    let mut line = settled(&cluster, &platform);
    eventually("no executor is lent any more", || {
        let states = super::states(&cluster, &platform.database());
        check(states.iter().all(|state| state != "serving"), format!("{states:?}"))
    });
    line.call("f", json!([])).ok();
}

#[test]
fn the_server_worker_ends_and_comes_back() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "again", &fixtures::tiny());
    let mut line = settled(&cluster, &platform);
    cluster.end_server_worker();
    assert!(line.wire.is_closed());
    cluster.wait_ready();
    settled(&cluster, &platform).call("f", json!([])).ok();
}

#[test]
fn an_executor_that_looks_for_the_next_request_hears_everything_else() {
    // The longest look there is, so that whatever is asked of it falls into one.
    let cluster = Cluster::builder().setting("stonescriptdb.busy_poll", "1000").start();
    let platform = Platform::register(&cluster, "eager", &fixtures::tiny());
    let mut line = settled(&cluster, &platform);
    for round in 0..5 {
        (0..100).for_each(|_| drop(line.call("f", json!([])).ok()));
        let mut control = cluster.control();
        // Every process has to take part in the end of a database.
        control.batch_execute("CREATE DATABASE passing").expect("created");
        control.batch_execute("DROP DATABASE passing").expect("dropped");
        cluster.configure("stonescriptdb.max_batch", &(10 + round).to_string());
        cluster.reload();
        line.call("f", json!([])).ok();
        terminate_those_that_serve(&cluster, &platform);
        line = line.settle();
    }
    cluster.configure("stonescriptdb.busy_poll", "0");
    cluster.reload();
    (0..100).for_each(|_| drop(line.call("f", json!([])).ok()));
}
