//! How a deployment goes, seen while it goes: the views, `GET /deployments/{id}`, its events, and notifications.

use std::collections::BTreeMap;
use std::time::Duration;

use acceptance::wait::check;
use acceptance::{Cluster, eventually, shared, sql};
use postgres::fallible_iterator::FallibleIterator;
use serde_json::{Value, json};

use crate::events::{Event, Events};
use crate::kit::{self, Fleet, Gate, bundle, by_hand, check_sums, deployment, gated, number, parts, strict, wait_over};

const COUNTS: [&str; 6] = ["done", "succeeded", "unchanged", "failed", "skipped", "remaining"];

/// Asserts that a later look at the same deployment is not behind an earlier one.
#[track_caller]
fn check_onward(before: &Value, after: &Value) {
    for name in ["done", "succeeded", "failed"] {
        assert!(number(before, name) <= number(after, name), "{name} went back: {before:#}\n{after:#}");
    }
    assert!(number(before, "remaining") >= number(after, "remaining"), "{before:#}\n{after:#}");
}

/// How far a database of a deployment is.
fn stage(state: &Value) -> i32 {
    match state.as_str().unwrap_or_default() {
        "pending" => 0,
        "running" => 1,
        _ => 2,
    }
}

#[test]
fn the_views_move_while_it_runs() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "views", &bundle(1), 7);
    let gate = Gate::close(&cluster, &fleet.databases());
    let id = fleet.start(&gated(bundle(2), "900_gate"), "on_error => 'continue'");
    let mut before = deployment(&cluster, &id);
    assert_eq!((&before["state"], &before["kind"]), (&json!("running"), &json!("migrate")), "{before:#}");
    assert_eq!(before["platform"], fleet.platform.name, "{before:#}");
    assert_eq!((number(&before, "databases"), number(&before, "remaining")), (8, 8), "{before:#}");
    let mut stages: BTreeMap<String, i32> = BTreeMap::new();
    for opened in 1..=8 {
        let running = kit::wait_running(&cluster, &id);
        gate.open(&running);
        let after = eventually("it to be counted", || {
            let row = deployment(&cluster, &id);
            check_sums(&row);
            check(number(&row, "done") >= opened, &row).map(|()| row)
        });
        assert_eq!(number(&after, "done"), opened, "only what was let through is done: {after:#}");
        check_onward(&before, &after);
        if opened < 8 {
            assert_eq!(after["state"], "running", "{after:#}");
            assert!(after["rate"].as_f64().is_some_and(|rate| rate > 0.0), "databases per second: {after:#}");
            let later = format!(
                "SELECT '{}'::timestamptz > '{}'::timestamptz",
                after["expected_end"].as_str().unwrap_or("?"),
                after["started_at"].as_str().unwrap_or("?")
            );
            assert_eq!(sql::text(&mut cluster.control(), &later), "t", "{after:#}");
        }
        for part in parts(&cluster, &id) {
            let database = part["database"].as_str().unwrap_or_default().to_owned();
            let now = stage(&part["state"]);
            let was = stages.insert(database, now).unwrap_or(0);
            assert!(now >= was, "it went back: {part:#}");
            assert_eq!(part["started_at"].is_null(), now == 0, "{part:#}");
            assert_eq!(part["finished_at"].is_null(), now < 2, "{part:#}");
        }
        before = after;
    }
    let row = wait_over(&cluster, &id);
    assert_eq!(
        (&row["state"], number(&row, "done"), number(&row, "remaining")),
        (&json!("completed"), 8, 0),
        "{row:#}"
    );
    assert!(!row["finished_at"].is_null(), "{row:#}");
    for part in parts(&cluster, &id) {
        assert_eq!((&part["state"], &part["attempts"]), (&json!("completed"), &json!(1)), "{part:#}");
        assert!(part["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{part:#}");
        assert_eq!((number(&part, "migrations_applied"), &part["error"]), (1, &json!(null)), "{part:#}");
        assert!(number(&part, "functions_updated") >= 1, "{part:#}");
        assert_eq!(part["schema_name"], json!(null), "the platform's own schema has no name: {part:#}");
    }
}

#[test]
fn get_says_what_the_views_say() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "getdep", &bundle(1), 3);
    by_hand(&cluster, &fleet.database("t002"), "INSERT INTO accounts (email) VALUES (NULL)");
    let gate = Gate::close(&cluster, &fleet.databases());
    let id = fleet.start(&gated(strict(), "900_gate"), "on_error => 'continue', parallel => 2");
    let path = format!("/deployments/{id}");
    let answer = cluster.http().get(&path).ok().field("state", "running").field("total", 4).field("dry_run", false);
    assert_eq!(answer.array("databases").len(), 4, "{answer}");
    gate.open_all();
    let row = wait_over(&cluster, &id);
    let answer = cluster.http().get(&path).ok().field("deployment_id", id.as_str()).field("state", "partial");
    assert_eq!(answer.json["total"], row["databases"], "{answer}");
    for name in COUNTS.into_iter().chain(["kind", "platform", "bundle_sha256", "dry_run"]) {
        assert_eq!(answer.json[name], row[name], "{name}: {answer}\n{row:#}");
    }
    for name in ["started_at", "finished_at"] {
        let same = format!(
            "SELECT '{}'::timestamptz = '{}'::timestamptz",
            answer.str(name),
            row[name].as_str().unwrap_or("?")
        );
        assert_eq!(sql::text(&mut cluster.control(), &same), "t", "{name}: {answer}\n{row:#}");
    }
    for part in parts(&cluster, &id) {
        let told = answer.array("databases").iter().find(|told| told["database"] == part["database"]);
        let told = told.unwrap_or_else(|| panic!("{part:#} is not in {answer}"));
        assert_eq!(told["status"], part["state"], "{told:#}");
        for name in ["tenant_id", "migrations_applied", "functions_updated"] {
            assert_eq!(told[name], part[name], "{name}: {told:#}\n{part:#}");
        }
        assert_eq!(told["error"]["sqlstate"], part["sqlstate"], "{told:#}\n{part:#}");
        assert_eq!(told["error"].is_null(), part["state"] != "failed", "{told:#}");
    }
    for unknown in ["00000000-0000-0000-0000-000000000000", "01a1fc84-4e27-725f-8239-6c3e521e0401"] {
        cluster.http().get(&format!("/deployments/{unknown}")).error(404, "deployment_not_found");
        cluster.http().get(&format!("/deployments/{unknown}/events")).error(404, "deployment_not_found");
        for verb in ["cancel", "resume", "retry"] {
            let path = format!("/deployments/{unknown}/{verb}");
            cluster.http().post_json(&path, &json!({})).error(404, "deployment_not_found");
        }
    }
    cluster.http().get("/deployments/not-an-id").client_error();
    cluster.http().post_json(&path, &json!({})).error(405, "method_not_allowed");
}

/// Asserts that the data of an event has the counts, and that they add up.
#[track_caller]
fn check_event_counts(event: &Event) {
    let of = |name: &str| event.data[name].as_i64().unwrap_or_else(|| panic!("a number {name} expected: {event:#?}"));
    assert_eq!(of("done") + of("remaining"), of("total"), "{event:#?}");
    assert!(of("succeeded") + of("unchanged") + of("failed") <= of("done"), "{event:#?}");
}

#[test]
fn events_come_while_it_runs_and_end_with_it() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "events", &bundle(1), 4);
    by_hand(&cluster, &fleet.database("t003"), "INSERT INTO accounts (email) VALUES (NULL)");
    let databases = fleet.databases();
    let gate = Gate::close(&cluster, &databases);
    let id = fleet.start(&gated(strict(), "900_gate"), "on_error => 'continue', parallel => 1, canary => '{main}'");
    let mut stream = Events::open(&cluster, &id, &[]);
    assert!(stream.head.starts_with("HTTP/1.1 200"), "{}", stream.head);
    assert!(stream.head.to_lowercase().contains("content-type: text/event-stream"), "{}", stream.head);
    let first = stream.next().expect("an event while nothing is done");
    assert_eq!(first.name, "progress", "where it stands is told at once: {first:#?}");
    check_event_counts(&first);
    assert_eq!((&first.data["done"], &first.data["total"]), (&json!(0), &json!(5)), "{first:#?}");

    // One is let through: its event comes while the others are still held.
    gate.open(&databases[0]);
    let mut seen = vec![first];
    while !seen.iter().any(|event| event.name == "database" && event.data["status"] == "completed") {
        seen.push(stream.next().expect("the event of the first database"));
    }
    assert_eq!(deployment(&cluster, &id)["state"], "running");
    gate.open_all();
    seen.extend(stream.rest());

    let last = seen.last().expect("an event");
    assert_eq!((last.name.as_str(), &last.data["state"]), ("end", &json!("partial")), "{seen:#?}");
    assert_eq!(seen.iter().filter(|event| event.name == "end").count(), 1, "{seen:#?}");
    for pair in seen.iter().filter(|event| event.name != "database").collect::<Vec<_>>().windows(2) {
        check_event_counts(pair[1]);
        assert!(number(&pair[0].data, "done") <= number(&pair[1].data, "done"), "{seen:#?}");
    }
    assert_eq!((number(&last.data, "succeeded"), number(&last.data, "failed")), (4, 1), "{seen:#?}");
    for database in &databases {
        let of_it: Vec<&Event> = seen
            .iter()
            .filter(|event| event.name == "database" && event.data["database"] == database.as_str())
            .collect();
        let end = of_it.last().unwrap_or_else(|| panic!("no event of {database}: {seen:#?}"));
        let failed = *database == fleet.database("t003");
        assert_eq!(end.data["status"], if failed { "failed" } else { "completed" }, "{of_it:#?}");
        assert_eq!(end.data["error"].is_null(), !failed, "{of_it:#?}");
        assert!(end.data["tenant_id"].is_string(), "{of_it:#?}");
        if failed {
            assert_eq!(end.data["error"]["sqlstate"], "23502", "{of_it:#?}");
        }
    }
    assert!(seen.iter().all(|event| ["progress", "database", "end"].contains(&event.name.as_str())), "{seen:#?}");
}

#[test]
fn events_of_one_that_is_over_end_at_once() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "overev", &bundle(1), 2);
    let id = fleet.start(&bundle(2), "");
    wait_over(&cluster, &id);
    let events = Events::open(&cluster, &id, &[]).rest();
    let last = events.last().unwrap_or_else(|| panic!("no event"));
    assert_eq!(
        (last.name.as_str(), &last.data["state"], number(&last.data, "done")),
        ("end", &json!("completed"), 3),
        "{events:#?}"
    );
    // Many who look and leave in the middle take nothing from anybody.
    let gate = Gate::close(&cluster, &fleet.databases());
    let id = fleet.start(&gated(bundle(3), "900_gate"), "");
    for _ in 0..20 {
        let mut stream = Events::open(&cluster, &id, &[]);
        assert!(stream.next().is_some());
    }
    gate.open_all();
    assert_eq!(wait_over(&cluster, &id)["state"], "completed");
    cluster.http().get("/health").ok();
}

/// The notifications of a deployment until its last, as JSON.
#[track_caller]
fn notifications(listener: &mut postgres::Client, id: &str) -> Vec<Value> {
    let mut seen = Vec::new();
    let mut notifications = listener.notifications();
    let mut coming = notifications.timeout_iter(Duration::from_secs(60));
    loop {
        let one = coming.next().unwrap_or_else(|e| panic!("the connection is lost: {e}"));
        let one = one.unwrap_or_else(|| panic!("no more notifications for 60 s, after {seen:#?}"));
        assert_eq!(one.channel(), "stonescriptdb_deployment");
        let payload: Value = serde_json::from_str(one.payload()).unwrap_or_else(|e| panic!("{e}: {}", one.payload()));
        if payload["deployment_id"] == id {
            let over = payload["state"] != "running";
            seen.push(payload);
            if over {
                return seen;
            }
        }
    }
}

#[test]
fn notifications_reach_a_listener() {
    let cluster: Cluster = Cluster::start();
    let fleet = Fleet::new(&cluster, "notify", &bundle(1), 4);
    by_hand(&cluster, &fleet.database("t003"), "INSERT INTO accounts (email) VALUES (NULL)");
    let mut listener = cluster.control();
    sql::done(listener.batch_execute("LISTEN stonescriptdb_deployment"));
    let id = fleet.start(&strict(), "on_error => 'continue'");
    let seen = notifications(&mut listener, &id);
    for one in &seen {
        assert_eq!((&one["platform"], number(one, "total")), (&json!(fleet.platform.name), 5), "{one:#}");
        assert!((0..=5).contains(&number(one, "done")), "{one:#}");
    }
    let last = seen.last().expect("one at least");
    assert_eq!((&last["state"], number(last, "done")), (&json!("partial"), 5), "{seen:#?}");
    for database in fleet.databases() {
        let state = if database == fleet.database("t003") { "failed" } else { "completed" };
        let told = seen.iter().any(|one| one["database"] == database.as_str() && one["database_state"] == state);
        assert!(told, "that {database} is {state}: {seen:#?}");
    }
    // When the last has come, the views say the same.
    assert_eq!(deployment(&cluster, &id)["state"], "partial");
}
