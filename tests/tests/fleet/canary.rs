//! Canaries: databases that go first, and without which nothing goes on.

use acceptance::wait::check;
use acceptance::{Cluster, eventually, refused, shared, sql};
use serde_json::json;

use crate::kit::{
    self, Fleet, Gate, bundle, by_hand, deployment, gated, in_state, parts, strict, wait_over, wait_state,
};

/// A fleet of six tenants, in some of which the strict bundle cannot be.
fn fleet<'c>(cluster: &'c Cluster, bad: &[&str]) -> Fleet<'c> {
    let fleet = Fleet::new(cluster, "canary", &bundle(1), 6);
    for tenant in bad {
        by_hand(cluster, &fleet.database(tenant), "INSERT INTO accounts (email) VALUES (NULL)");
    }
    fleet
}

#[test]
fn a_canary_that_fails_stops_everything_even_with_continue() {
    let cluster = shared();
    let fleet = fleet(&cluster, &["t004"]);
    let options = "canary => '{t004}', on_error => 'continue', parallel => 4";
    // Nobody is done, so the error is raised as it is.
    refused(fleet.run(&strict(), options)).sqlstate("23502").says("migration_failed");
    let row = wait_over(&cluster, &fleet.last());
    assert_eq!(row["state"], "failed", "{row:#}");
    assert_eq!((kit::number(&row, "failed"), kit::number(&row, "skipped")), (1, 6), "{row:#}");
    assert_eq!(in_state(&cluster, &fleet.last(), "failed"), [fleet.database("t004")]);
    for tenant in ["main", "t001", "t006"] {
        assert_eq!(fleet.edition(tenant), 1, "{tenant}");
    }

    // Over HTTP: its own status and code.
    let http = [("canary", "t004"), ("on_error", "continue")];
    let answer = cluster.http().migrate(&fleet.platform.name, None, &strict().tar_gz(), &http);
    answer.error(422, "migration_failed").field("sqlstate", "23502").field("database", fleet.database("t004"));
}

#[test]
fn one_canary_that_fails_skips_the_rest_though_another_is_done() {
    let cluster = shared();
    let fleet = fleet(&cluster, &["t005"]);
    let answer = sql::done(fleet.run(&strict(), "canary => '{t002,t005}', on_error => 'continue', parallel => 1"));
    assert_eq!((&answer["status"], &answer["error"]), (&json!("partial"), &json!("deployment_partial")), "{answer:#}");
    kit::check_answer(&cluster, &answer);
    let id = answer["deployment_id"].as_str().expect("an id");
    assert_eq!(in_state(&cluster, id, "completed"), [fleet.database("t002")], "{answer:#}");
    assert_eq!(in_state(&cluster, id, "failed"), [fleet.database("t005")], "{answer:#}");
    assert_eq!(in_state(&cluster, id, "skipped").len(), 5, "{answer:#}");

    // What was skipped because of it goes on with the retry.
    by_hand(&cluster, &fleet.database("t005"), "DELETE FROM accounts");
    let answer = sql::done(kit::verb(&cluster, "retry", id));
    assert_eq!((&answer["status"], &answer["succeeded"]), (&json!("completed"), &json!(7)), "{answer:#}");
    kit::check_answer(&cluster, &answer);
    assert_eq!(fleet.edition("main"), 2);
}

#[test]
fn nothing_begins_before_all_canaries_are_done() {
    let cluster = shared();
    let fleet = fleet(&cluster, &[]);
    let canaries = ["t003", "t006"].map(|tenant| fleet.database(tenant));
    let gate = Gate::close(&cluster, &canaries);
    let id =
        fleet.start(&gated(bundle(2), "900_gate"), "canary => '{t003,t006}', on_error => 'continue', parallel => 6");
    wait_state(&cluster, &id, &canaries[0], "running");
    check_rest_pending(&cluster, &id, &canaries);
    gate.open(&canaries[0]);
    wait_state(&cluster, &id, &canaries[0], "completed");
    wait_state(&cluster, &id, &canaries[1], "running");
    check_rest_pending(&cluster, &id, &canaries);
    gate.open_all();
    let row = wait_over(&cluster, &id);
    assert_eq!((&row["state"], &row["succeeded"]), (&json!("completed"), &json!(7)), "{row:#}");
    // The moments tell the same.
    let rows = parts(&cluster, &id);
    let query = format!(
        "SELECT max(finished_at) FILTER (WHERE tenant_id IN ('t003', 't006')) <= min(started_at) FILTER (WHERE tenant_id NOT IN ('t003', 't006'))
         FROM stonescriptdb.deployment_databases WHERE deployment_id = '{id}'"
    );
    assert_eq!(sql::text(&mut cluster.control(), &query), "t", "{rows:#?}");
}

#[track_caller]
fn check_rest_pending(cluster: &Cluster, id: &str, canaries: &[String]) {
    for part in parts(cluster, id) {
        let canary = canaries.iter().any(|name| part["database"] == name.as_str());
        assert!(canary || part["state"] == "pending", "it began before the canaries were done: {part:#}");
    }
}

#[test]
fn canaries_of_the_subset_and_unknown_ones() {
    let cluster = shared();
    let fleet = fleet(&cluster, &[]);
    let before = fleet.last();
    for options in ["canary => '{nobody}'", "canary => '{t001,nobody}'", "tenants => '{t001,t002}', canary => '{t003}'"]
    {
        refused(fleet.run(&bundle(2), options)).sqlstate("22023").says("invalid_request");
        let http = cluster.http();
        let canary = options.split("canary => '{").nth(1).and_then(|rest| rest.split('}').next()).expect("a canary");
        if !options.contains("tenants") {
            let answer = http.migrate(&fleet.platform.name, None, &bundle(2).tar_gz(), &[("canary", canary)]);
            answer.error(400, "invalid_request").says(if canary.contains("nobody") { "nobody" } else { canary });
        }
    }
    for tenant in ["main", "t001", "t002"] {
        assert_eq!(fleet.edition(tenant), 1, "{tenant}: a refused request did something");
    }
    let last = deployment(&cluster, &fleet.last());
    assert!(last["id"] == before.as_str() || last["state"] == "failed", "{last:#}");

    let answer = sql::done(fleet.run(&bundle(2), "tenants => '{t001,t002}', canary => '{t002}'"));
    assert_eq!((&answer["total"], &answer["succeeded"]), (&json!(2), &json!(2)), "{answer:#}");
    let order = kit::begun(&cluster, answer["deployment_id"].as_str().expect("an id"));
    assert_eq!(order, ["t002", "t001"].map(|tenant| fleet.database(tenant)));
}

/// The main database may be one.
#[test]
fn main_is_a_canary_by_its_name() {
    let cluster = shared();
    let fleet = fleet(&cluster, &["main"]);
    refused(fleet.run(&strict(), "canary => '{main}', on_error => 'continue'")).sqlstate("23502");
    eventually("the rest to be skipped", || {
        let row = deployment(&cluster, &fleet.last());
        check(row["skipped"] == 6, &row)
    });
    assert_eq!(in_state(&cluster, &fleet.last(), "failed"), [fleet.platform.database()]);
}
