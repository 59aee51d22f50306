//! What becomes of the others when one database fails: on_error, and what is tried again.

use acceptance::wait::check;
use acceptance::{Cluster, eventually, refused, shared, sql};
use serde_json::json;

use crate::kit::{self, Fleet, bundle, by_hand, in_state, part, parts, strict, wait_over};

/// A fleet of six tenants of which one has a row that the strict bundle cannot have.
fn fleet<'c>(cluster: &'c Cluster, bad: &str) -> Fleet<'c> {
    let fleet = Fleet::new(cluster, "failing", &bundle(1), 6);
    by_hand(cluster, &fleet.database(bad), "INSERT INTO accounts (email) VALUES (NULL)");
    fleet
}

#[test]
fn stop_is_the_default_and_skips_what_has_not_begun() {
    let cluster = shared();
    let fleet = fleet(&cluster, "t003");
    for options in ["parallel => 1", "parallel => 1, on_error => 'stop'"] {
        let answer = sql::done(fleet.run(&strict(), options));
        assert_eq!(
            (&answer["status"], &answer["error"]),
            (&json!("partial"), &json!("deployment_partial")),
            "{answer:#}"
        );
        assert!(answer["message"].is_string(), "{answer:#}");
        kit::check_answer(&cluster, &answer);
        // All before it are done, or were the first time, none behind it is begun.
        let rows = parts(&cluster, answer["deployment_id"].as_str().expect("an id"));
        let at = rows.iter().position(|part| part["state"] == "failed").unwrap_or_else(|| panic!("{rows:#?}"));
        assert_eq!(rows[at]["database"], fleet.database("t003"), "{rows:#?}");
        assert!(at > 0, "nobody was done before it: the test would show nothing: {rows:#?}");
        assert!(
            rows[..at].iter().all(|part| part["state"] == "completed" || part["state"] == "unchanged"),
            "{rows:#?}"
        );
        for part in &rows[at + 1..] {
            assert_eq!(part["state"], "skipped", "{part:#}");
            assert!(part["started_at"].is_null(), "it was not begun: {part:#}");
            let tenant = part["tenant_id"].as_str().expect("a tenant");
            assert_eq!(fleet.edition(tenant), 1, "{part:#}");
        }
    }
}

#[test]
fn continue_goes_on_with_the_others() {
    let cluster = shared();
    let fleet = fleet(&cluster, "t003");
    let answer = sql::done(fleet.run(&strict(), "on_error => 'continue'"));
    assert_eq!(answer["status"], "partial", "{answer:#}");
    kit::check_answer(&cluster, &answer);
    let numbers = ["total", "succeeded", "unchanged", "failed", "skipped"].map(|name| kit::number(&answer, name));
    assert_eq!(numbers, [7, 6, 0, 1, 0], "{answer:#}");

    let http = cluster.http();
    let options = [("on_error", "continue")];
    let again = http.migrate(&fleet.platform.name, None, &strict().tar_gz(), &options).error(422, "deployment_partial");
    let again = again.field("status", "partial").field("unchanged", 6).field("failed", 1);
    let told: Vec<_> = again.array("databases").iter().filter(|told| told["status"] == "failed").collect();
    assert_eq!(told.len(), 1, "{again}");
    assert_eq!(told[0]["database"], fleet.database("t003"), "{again}");
    assert_eq!(told[0]["error"]["sqlstate"], "23502", "{again}");
}

#[test]
fn with_stop_the_first_goes_alone() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "alone", &bundle(1), 6);
    // Whichever is first: it fails in all of them, and only one is tried.
    for database in fleet.databases() {
        by_hand(&cluster, &database, "INSERT INTO accounts (email) VALUES (NULL)");
    }
    refused(fleet.run(&strict(), "parallel => 4")).sqlstate("23502");
    let row = wait_over(&cluster, &fleet.last());
    assert_eq!((&row["state"], &row["failed"], &row["skipped"]), (&json!("failed"), &json!(1), &json!(6)), "{row:#}");
    assert_eq!(kit::begun(&cluster, &fleet.last()).len(), 1);
    // With continue all are tried, and still nobody is done.
    refused(fleet.run(&strict(), "parallel => 4, on_error => 'continue'")).sqlstate("23502");
    let row = wait_over(&cluster, &fleet.last());
    assert_eq!((&row["state"], &row["failed"], &row["skipped"]), (&json!("failed"), &json!(7), &json!(0)), "{row:#}");
}

#[test]
fn retry_does_only_what_failed_and_what_was_skipped_for_it() {
    let cluster = shared();
    let fleet = fleet(&cluster, "t003");
    let answer = sql::done(fleet.run(&kit::adding(strict()), "parallel => 1"));
    let id = answer["deployment_id"].as_str().expect("an id");
    let done = in_state(&cluster, id, "completed").len() as i64;
    // It still cannot: partial again, and the same numbers.
    let again = sql::done(kit::verb(&cluster, "retry", id));
    assert_eq!((&again["status"], &again["failed"]), (&json!("partial"), &json!(1)), "{again:#}");
    kit::check_answer(&cluster, &again);
    assert!(kit::number(&again, "succeeded") >= done, "{again:#}");
    by_hand(&cluster, &fleet.database("t003"), "UPDATE accounts SET email = 'x'");
    let answer = cluster.http().post_json(&format!("/deployments/{id}/retry"), &json!({})).ok();
    let answer = answer.field("status", "completed").field("total", 7).field("failed", 0).field("skipped", 0);
    assert_eq!(answer.number("succeeded") + answer.number("unchanged"), 7, "{answer}");
    assert_eq!(fleet.counters(), [1; 7], "each migration once");
    let row = wait_over(&cluster, id);
    assert_eq!((&row["state"], &row["first_error"]), (&json!("completed"), &json!(null)), "{row:#}");
}

/// A lock that somebody holds is tried again behind the others.
#[test]
fn a_lock_timeout_is_tried_again_behind_the_others() {
    let cluster = Cluster::builder().setting("stonescriptdb.deploy_lock_timeout", "100ms").start();
    let fleet = Fleet::new(&cluster, "locked", &bundle(1), 5);
    let locked = fleet.database("t002");
    let mut session = cluster.connect(&locked);
    let mut held = sql::done(session.transaction());
    sql::done(held.batch_execute("LOCK TABLE accounts IN ACCESS SHARE MODE"));
    let id = fleet.start(&strict(), "parallel => 1, retries => 20");
    eventually("a second attempt", || {
        let part = part(&cluster, &id, &locked);
        check(part["attempts"].as_i64() >= Some(2), &part)
    });
    assert_eq!(in_state(&cluster, &id, "completed").len(), 5, "the others are done before it is tried again");
    sql::done(held.rollback());
    let row = wait_over(&cluster, &id);
    assert_eq!((&row["state"], &row["failed"]), (&json!("completed"), &json!(0)), "{row:#}");
    let rows = parts(&cluster, &id);
    for part in &rows {
        let right = if part["database"] == locked.as_str() {
            kit::number(part, "attempts") >= 2
        } else {
            part["attempts"] == 1
        };
        assert!(right && part["error"].is_null(), "{part:#}");
    }
}

#[test]
fn retries_are_counted_and_can_be_none() {
    let cluster = Cluster::builder().setting("stonescriptdb.deploy_lock_timeout", "50ms").start();
    let fleet = Fleet::new(&cluster, "stubborn", &bundle(1), 3);
    let locked = fleet.database("t002");
    let mut session = cluster.connect(&locked);
    let mut held = sql::done(session.transaction());
    sql::done(held.batch_execute("LOCK TABLE accounts IN ACCESS SHARE MODE"));
    for (options, attempts) in [("retries => 0", 1), ("retries => 2", 3), ("retries => 1", 2)] {
        // Even with stop the others are done, or were: it is tried again behind them.
        let answer = sql::done(fleet.run(&strict(), &format!("{options}, on_error => 'continue'")));
        assert_eq!((&answer["status"], &answer["failed"]), (&json!("partial"), &json!(1)), "{options}: {answer:#}");
        let part = part(&cluster, answer["deployment_id"].as_str().expect("an id"), &locked);
        assert_eq!((&part["state"], &part["attempts"]), (&json!("failed"), &json!(attempts)), "{options}: {part:#}");
        assert_eq!(
            (&part["error"]["error"], &part["sqlstate"]),
            (&json!("lock_timeout"), &json!("55P03")),
            "{options}: {part:#}"
        );
    }
    sql::done(held.rollback());
    let answer = sql::done(kit::verb(&cluster, "retry", &fleet.last()));
    assert_eq!(answer["status"], "completed", "{answer:#}");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "sense", &bundle(1), 1);
    for options in [
        "parallel => 0",
        "parallel => -1",
        "retries => -1",
        "on_error => 'perhaps'",
        "seeders => 'perhaps'",
        "allow => '{drop_table,drop_tables}'",
    ] {
        let result = fleet.run(&bundle(2), options);
        assert!(result.is_err(), "{options} was accepted: {result:?}");
        refused(result).sqlstate("22023");
    }
    for field in [
        ("parallel", "0"),
        ("parallel", "many"),
        ("retries", "-1"),
        ("allow", "drop_table,drop_tables"),
        ("on_error", "perhaps"),
        ("verify", "perhaps"),
        ("wait", "perhaps"),
    ] {
        let answer = cluster.http().migrate(&fleet.platform.name, None, &bundle(2).tar_gz(), &[field]);
        answer.error(400, "invalid_request");
    }
    refused(kit::migrate_all(&mut cluster.control(), "nobody", None, Some(&bundle(2)), "")).sqlstate("42704");
    refused(fleet.run(&bundle(2), "tenants => '{t001,nobody}'")).meant().says("nobody");
    let stored = kit::migrate_all(&mut cluster.control(), &fleet.platform.name, Some("nothing"), None, "");
    refused(stored).meant().says("nothing");
    for unknown in ["cancel", "resume", "retry"] {
        refused(kit::verb(&cluster, unknown, "00000000-0000-0000-0000-000000000000"))
            .meant()
            .says("deployment_not_found");
    }
    assert_eq!((fleet.edition("main"), fleet.edition("t001")), (json!(1), json!(1)));
}
