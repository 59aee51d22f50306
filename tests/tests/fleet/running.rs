//! A deployment that nobody waits for: watched, cancelled in the middle, resumed, and overtaken by a later one.

use std::process::Stdio;

use acceptance::wait::check;
use acceptance::{Cluster, eventually, refused, shared, sql};
use serde_json::{Value, json};

use crate::kit::{self, Fleet, Gate, LONG, adding, bundle, deployment, gated, in_state, parts, wait_over, wait_state};

#[test]
fn without_waiting_it_goes_on_by_itself() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "nowait", &bundle(1), 3);
    let gate = Gate::close(&cluster, &fleet.databases());
    // The connection that asked for it is gone at once.
    let id = fleet.start(&gated(bundle(2), "900_gate"), "");
    let row = deployment(&cluster, &id);
    assert_eq!((&row["state"], &row["databases"], &row["done"]), (&json!("running"), &json!(4), &json!(0)), "{row:#}");
    assert!(row["finished_at"].is_null(), "{row:#}");
    gate.open_all();
    let row = wait_over(&cluster, &id);
    assert_eq!((&row["state"], &row["succeeded"]), (&json!("completed"), &json!(4)), "{row:#}");

    let fields = [("wait", "false"), ("parallel", "2")];
    let answer = cluster.http().migrate(&fleet.platform.name, None, &gated(bundle(3), "900_gate").tar_gz(), &fields);
    let answer = answer.expect(202).field("status", "running").field("total_databases", 4);
    assert_eq!(wait_over(&cluster, answer.str("deployment_id"))["state"], "completed");
    assert_eq!(fleet.edition("t003"), 3);
    // A bad archive is refused at once, or fails as a deployment that can be asked for: never silently.
    let answer = cluster.http().migrate(&fleet.platform.name, None, b"no archive", &[("wait", "false")]);
    if answer.status == 202 {
        assert_eq!(wait_over(&cluster, answer.str("deployment_id"))["state"], "failed", "{answer}");
    } else {
        answer.error(400, "schema_extraction_failed");
    }
}

/// What psql prints while it watches: a notice for each database that ends, and lines of progress.
#[test]
fn psql_watches_a_deployment() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "watch", &bundle(1), 5);
    let databases = fleet.databases();
    let gate = Gate::close(&cluster, &databases);
    let id = fleet.start(&gated(bundle(2), "900_gate"), "");
    let mut psql = cluster.client_program("psql");
    psql.args(["-X", "-A", "-t", "-d", "postgres", "-c", &format!("SELECT stonescriptdb.watch('{id}')")]);
    let watcher = psql.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("psql starts");
    let query = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'psql' AND state = 'active' AND query LIKE '%watch%{id}%'"
    );
    eventually("psql to watch", || {
        let count = sql::text(&mut cluster.control(), &query);
        check(count == "1", count)
    });
    gate.open_all();
    let output = watcher.wait_with_output().expect("psql ends");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert_eq!(out.trim(), "completed", "the final state: {out}\n{err}");
    let notices: Vec<&str> = err.lines().filter(|line| line.contains("NOTICE:")).collect();
    for database in &databases {
        assert!(notices.iter().any(|line| line.contains(database.as_str())), "a notice of {database}: {err}");
    }
    assert!(notices.len() > databases.len(), "a line of progress too: {err}");

    // Of one that is over it gives the state at once; of an unknown one it says so.
    let watched = format!("SELECT stonescriptdb.watch('{id}')");
    assert_eq!(sql::text(&mut cluster.control(), &watched), "completed");
    let unknown = "SELECT stonescriptdb.watch('00000000-0000-0000-0000-000000000000')";
    refused(cluster.control().query_one(unknown, &[]).map(|row| row.get::<_, String>(0))).sqlstate("42704");
}

/// Who watches can stop watching, and leaves the deployment alone.
#[test]
fn a_watcher_that_is_cancelled_cancels_nothing() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "unwatch", &bundle(1), 2);
    let gate = Gate::close(&cluster, &fleet.databases());
    let id = fleet.start(&gated(bundle(2), "900_gate"), "");
    let mut session = cluster.control();
    sql::done(session.batch_execute("SET statement_timeout = '300ms'"));
    let watched = session.query_one(&format!("SELECT stonescriptdb.watch('{id}')"), &[]);
    refused(watched.map(|row| row.get::<_, String>(0))).sqlstate("57014");
    assert_eq!(deployment(&cluster, &id)["state"], "running");
    gate.open_all();
    assert_eq!(wait_over(&cluster, &id)["state"], "completed");
}

/// A deployment of seven databases that is cancelled while its third is at the gate; its id.
#[track_caller]
fn cancelled(fleet: &Fleet<'_>, files: &acceptance::Files, over_http: bool) -> String {
    let cluster = fleet.cluster;
    // Which one is third is known only when it has begun, so all are held.
    let gate = Gate::close(cluster, &fleet.databases());
    let id = fleet.start(files, "parallel => 1");
    let mut done = Vec::new();
    for _ in 0..2 {
        let database = kit::wait_running(cluster, &id);
        gate.open(&database);
        wait_state(cluster, &id, &database, "completed");
        done.push(database);
    }
    let third = kit::wait_running(cluster, &id);
    let answer = if over_http {
        cluster.http().post_json(&format!("/deployments/{id}/cancel"), &json!({})).ok().json
    } else {
        sql::done(kit::verb(cluster, "cancel", &id))
    };
    assert_eq!(answer["deployment_id"], id.as_str(), "{answer:#}");
    assert!(answer["status"].is_string(), "{answer:#}");
    gate.open_all();
    let row = wait_over(cluster, &id);
    assert_eq!(row["state"], "cancelled", "{row:#}");
    // The one that ran may have ended either way; behind it nothing was begun.
    for part in parts(cluster, &id) {
        let right = match part["database"].as_str().unwrap_or_default() {
            name if done.iter().any(|done| done == name) => part["state"] == "completed",
            name if name == third => part["state"] == "completed" || part["state"] == "cancelled",
            _ => part["state"] == "cancelled" && part["started_at"].is_null(),
        };
        assert!(right, "{part:#}");
    }
    id
}

#[test]
fn cancelled_in_the_middle_the_rest_is_done_by_resuming() {
    let cluster = shared();
    for over_http in [false, true] {
        let fleet = Fleet::new(&cluster, "cancel", &bundle(1), 6);
        let files = gated(adding(bundle(2)), "900_gate");
        let id = cancelled(&fleet, &files, over_http);
        let n: Vec<i32> = fleet.counters();
        let done = in_state(&cluster, &id, "completed").len() as i32;
        assert_eq!(n.iter().sum::<i32>(), done, "before or after, never between: {n:?}");
        // Cancelled again: nothing to cancel is no reason to break.
        let _ = kit::verb(&cluster, "cancel", &id);
        assert_eq!(deployment(&cluster, &id)["state"], "cancelled");

        let answer = if over_http {
            cluster.http().timeout(LONG).post_json(&format!("/deployments/{id}/resume"), &json!({})).ok().json
        } else {
            sql::done(kit::verb(&cluster, "resume", &id))
        };
        let mut answer = answer;
        answer.as_object_mut().map(|object| object.remove("request_id"));
        assert_eq!((&answer["status"], &answer["succeeded"]), (&json!("completed"), &json!(7)), "{answer:#}");
        kit::check_answer(&cluster, &answer);
        assert_eq!(fleet.counters(), [1; 7]);
        let row = wait_over(&cluster, &id);
        assert_eq!((&row["state"], &row["remaining"]), (&json!("completed"), &json!(0)), "{row:#}");
    }
}

#[test]
fn resumed_without_waiting() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "resnow", &bundle(1), 6);
    let id = cancelled(&fleet, &gated(bundle(2), "900_gate"), false);
    let answer = cluster.http().post_json(&format!("/deployments/{id}/resume?wait=false"), &json!({})).expect(202);
    answer.field("deployment_id", id.as_str()).field("status", "running");
    let row = wait_over(&cluster, &id);
    assert_eq!((&row["state"], &row["succeeded"]), (&json!("completed"), &json!(7)), "{row:#}");
    let query = format!("SELECT stonescriptdb.retry_deployment('{id}', wait => false)");
    let again: Value = sql::done(cluster.control().query_one(&query, &[])).get(0);
    assert_eq!(again["deployment_id"], id.as_str(), "{again:#}");
    assert_eq!(wait_over(&cluster, &id)["state"], "completed", "nothing had failed: nothing to do");
}

/// What a later deployment has brought to another bundle is left alone.
#[test]
fn what_was_overtaken_is_left_alone() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "later", &bundle(1), 6);
    let files = gated(adding(bundle(2)), "900_gate");
    let id = cancelled(&fleet, &files, false);
    let left: Vec<String> = in_state(&cluster, &id, "cancelled");
    // Some of those that are left, and one that is done.
    let tenants: Vec<String> =
        left.iter().rev().take(2).map(|name| name.rsplit('_').next().unwrap_or_default().into()).collect();
    let options = format!("tenants => '{{{},{}}}'", tenants[0], tenants[1]);
    let later = files.edit("functions/edition.pssql", "SELECT 2", "SELECT 9");
    sql::done(fleet.run(&later, &options));

    let answer = sql::done(kit::verb(&cluster, "resume", &id));
    assert_eq!(answer["failed"], 0, "{answer:#}");
    let superseded = in_state(&cluster, &id, "superseded");
    let mut expected: Vec<String> = left.iter().rev().take(2).cloned().collect();
    expected.sort();
    let mut seen = superseded;
    seen.sort();
    assert_eq!(seen, expected, "{answer:#}");
    assert_eq!(in_state(&cluster, &id, "completed").len(), 5, "{answer:#}");
    for tenant in &tenants {
        assert_eq!(fleet.edition(tenant), 9, "{tenant} was set back");
    }
    let row = deployment(&cluster, &id);
    kit::check_sums(&row);
    assert!(row["state"] != "running" && row["state"] != "failed", "{row:#}");
    assert_eq!(fleet.counters(), [1; 7], "each migration once");
}

/// While it runs nobody can resume or retry it.
#[test]
fn one_that_runs_is_not_resumed() {
    let cluster = Cluster::start();
    let fleet = Fleet::new(&cluster, "runs", &bundle(1), 2);
    kit::wait_shortly(&cluster);
    let gate = Gate::close(&cluster, &fleet.databases());
    let id = fleet.start(&gated(adding(bundle(2)), "900_gate"), "");
    for verb in ["resume", "retry"] {
        refused(kit::verb(&cluster, verb, &id)).meant();
        let answer = cluster.http().post_json(&format!("/deployments/{id}/{verb}"), &json!({}));
        answer.error(409, "deployment_in_progress").field("deployment_id", id.as_str());
    }
    gate.open_all();
    assert_eq!(wait_over(&cluster, &id)["state"], "completed");
    assert_eq!(fleet.counters(), [1; 3]);
}
