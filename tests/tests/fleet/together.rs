//! How many databases are deployed to at once, and two deployments of one schema at the same time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use acceptance::wait::check;
use acceptance::{Cluster, eventually, refused, shared, sql};
use serde_json::{Value, json};

use crate::kit::{self, Fleet, Gate, bundle, gated, in_state, wait_over};

#[test]
fn so_many_run_at_once_and_never_more() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "par", &bundle(1), 8);
    let gate = Gate::close(&cluster, &fleet.databases());
    let id = fleet.start(&gated(bundle(2), "900_gate"), "parallel => 3, on_error => 'continue'");
    let (over, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(in_state(&cluster, &id, "running").len(), Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut left = fleet.databases().len();
            while left > 0 {
                let running = eventually("three to run, or all that are left", || {
                    let running = in_state(&cluster, &id, "running");
                    check(running.len() == left.min(3), format!("{running:?}")).map(|()| running)
                });
                gate.open(&running[0]);
                kit::wait_state(&cluster, &id, &running[0], "completed");
                left -= 1;
            }
        }));
        over.store(true, Ordering::Relaxed);
        opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(most.into_inner() <= 3, "more than three ran at once");
    assert_eq!(wait_over(&cluster, &id)["state"], "completed");
}

#[test]
fn two_by_default_and_the_first_alone() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "two", &bundle(1), 4);
    let gate = Gate::close(&cluster, &fleet.databases());
    let id = fleet.start(&gated(bundle(2), "900_gate"), "");
    let first = eventually("the first to run", || {
        let running = in_state(&cluster, &id, "running");
        check(running.len() == 1, format!("{running:?}")).map(|()| running[0].clone())
    });
    // It could go on by now if it did not wait: its own transaction is at the gate.
    wait_at_gate(&cluster, &first);
    assert_eq!(in_state(&cluster, &id, "pending").len(), 4, "the first goes alone");
    gate.open(&first);
    eventually("two to run", || {
        let running = in_state(&cluster, &id, "running");
        check(running.len() == 2, format!("{running:?}"))
    });
    gate.open_all();
    assert_eq!(wait_over(&cluster, &id)["state"], "completed");
}

/// Waits until a deployment sleeps in the migration that waits.
#[track_caller]
fn wait_at_gate(cluster: &Cluster, database: &str) {
    let query =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event = 'PgSleep'");
    eventually("the deployment to be at the gate", || {
        let count = sql::text(&mut cluster.control(), &query);
        check(count == "1", count)
    });
}

#[test]
fn a_second_migrate_of_the_same_schema_is_told_of_the_first() {
    let cluster = Cluster::start();
    let fleet = Fleet::new(&cluster, "second", &bundle(1), 3);
    kit::wait_shortly(&cluster);
    let gate = Gate::close(&cluster, &fleet.databases());
    let id = fleet.start(&gated(bundle(2), "900_gate"), "");
    wait_at_gate(&cluster, &fleet.databases()[0]);
    let answer = cluster.http().migrate(&fleet.platform.name, None, &bundle(3).tar_gz(), &[]);
    answer.error(409, "deployment_in_progress").field("deployment_id", id.as_str());
    refused(fleet.run(&bundle(3), "")).sqlstate("55006").says("deployment_in_progress").says(&id);
    // The one of a tenant that is not being deployed to right now goes its own way, or is told too; it never mixes in.
    assert_eq!(kit::deployment(&cluster, &id)["state"], "running");
    gate.open_all();
    let row = wait_over(&cluster, &id);
    assert_eq!((&row["state"], &row["succeeded"]), (&json!("completed"), &json!(4)), "{row:#}");
    for tenant in ["main", "t001", "t003"] {
        assert_eq!(fleet.edition(tenant), 2, "{tenant}: the refused one did nothing");
    }
    sql::done(fleet.run(&gated(bundle(3), "900_gate"), ""));
    assert_eq!(fleet.edition("t003"), 3);
}

/// The later dialect's route, which gives the job that runs; the platform's own schema is another one.
#[test]
fn a_second_job_of_a_stored_schema_is_told_of_the_first() {
    let cluster = Cluster::start();
    let fleet = Fleet::new(&cluster, "jobs", &bundle(1), 1);
    kit::wait_shortly(&cluster);
    let http = cluster.http();
    let platform = &fleet.platform.name;
    let upload = |schema: &str, edition: u32| {
        let archive = gated(bundle(edition), "900_gate").tar_gz();
        http.multipart(&format!("/platform/{platform}/schema"), &[("schema_name", schema)], Some(("schema", &archive)))
    };
    for schema in ["web", "app"] {
        upload(schema, 1).expect(201);
        let body = json!({"platform": platform, "schema_name": schema, "database_id": "one"});
        http.post_json("/database/create", &body).expect(201);
    }
    upload("web", 2).expect(201);
    let database = fleet.database("web_one");
    // The gate's migration has run when the database was created, so a new one holds it.
    let archive = gated(gated(bundle(3), "900_gate"), "901_gate").tar_gz();
    http.multipart(&format!("/platform/{platform}/schema"), &[("name", "web")], Some(("file", &archive))).expect(201);
    let gate = Gate::close(&cluster, std::slice::from_ref(&database));
    let body = json!({"platform": platform, "schema_name": "web"});
    let begun = http.post_json("/v2/migrate-all", &body).expect(202);
    let job = begun.str("job_id").to_owned();
    wait_at_gate(&cluster, &database);
    let second = http.post_json("/v2/migrate-all", &body).expect(409).field("job_id", job.as_str());
    assert_eq!(second.code(), "deployment_in_progress", "{second}");
    // Other schemas of the platform are not in its way.
    http.post_json("/v2/migrate", &json!({"platform": platform, "schema_name": "app"})).ok();
    sql::done(fleet.run(&bundle(4), ""));
    gate.open_all();
    let row = wait_over(&cluster, &job);
    assert_eq!((&row["state"], &row["schema_name"]), (&json!("completed"), &json!("web")), "{row:#}");
    let call = |schema: &str| {
        let body =
            json!({"platform": platform, "schema_name": schema, "uuid": "one", "function": "edition", "params": []});
        http.post_json("/call", &body).value()
    };
    let seen: [Value; 3] = [call("web"), call("app"), fleet.edition("t001")];
    assert_eq!(seen, [json!(3), json!(1), json!(4)]);
}
