//! Many tenants, three of which cannot follow: the rest is done, the three are named with the reason, and a retry after mending
//! finishes them.

use acceptance::{Cluster, sql};
use serde_json::{Value, json};

use crate::kit::{self, Fleet, Gate, LONG, bundle, by_hand, gated, part, parts, strict, wait_over, wait_state};

/// Three tenants of a fleet: one whose row makes NOT NULL impossible, one that a transaction keeps locked, one that is dropped.
struct Three {
    bad: String,
    locked: String,
    dropped: String,
}

#[test]
fn three_that_cannot_follow_are_named_and_the_rest_is_done() {
    let cluster = Cluster::builder().setting("stonescriptdb.deploy_lock_timeout", "100ms").start();
    let fleet = Fleet::new(&cluster, "many", &bundle(1), kit::setting("SSDB_FLEET", 40).max(8));
    let count = fleet.tenants.len();
    let database = |n: usize| fleet.database(&fleet.tenants[n]);
    let three = Three { bad: database(count / 4), locked: database(count / 2), dropped: database(3 * count / 4) };
    by_hand(&cluster, &three.bad, "INSERT INTO accounts (email) VALUES ('a'), (NULL)");
    let mut session = cluster.connect(&three.locked);
    let pid = sql::text(&mut session, "SELECT pg_backend_pid()");
    let mut held = sql::done(session.transaction());
    sql::done(held.batch_execute("LOCK TABLE accounts IN ACCESS SHARE MODE"));

    // The canary is held so that one can be dropped that was there when the deployment began.
    let files = gated(strict(), "900_gate");
    let gate = Gate::close(&cluster, &[database(0)]);
    let id = fleet.start(&files, "canary => '{t001}', on_error => 'continue', parallel => 4");
    wait_state(&cluster, &id, &database(0), "running");
    sql::done(cluster.control().batch_execute(&format!("DROP DATABASE {}", three.dropped)));
    gate.open_all();

    let row = wait_over(&cluster, &id);
    assert_eq!(row["state"], "partial", "{row:#}");
    let numbers = ["databases", "done", "succeeded", "unchanged", "failed", "skipped", "remaining"];
    let numbers = numbers.map(|name| kit::number(&row, name));
    let all = count as i64 + 1;
    assert_eq!(numbers, [all, all, all - 3, 0, 3, 0, 0], "{row:#}");
    check_named(&cluster, &id, &three, &pid);
    check_told_over_http(&cluster, &id, &three);

    let failed = [&three.bad, &three.locked, &three.dropped];
    for part in parts(&cluster, &id) {
        let expected = if failed.iter().any(|name| part["database"] == name.as_str()) { "failed" } else { "completed" };
        assert_eq!(part["state"], expected, "{part:#}");
    }
    // What is done is done, what failed is as it was.
    for (tenant, version, nullable) in [(&fleet.tenants[1], 2, "f"), (&fleet.tenants[count / 4], 1, "t")] {
        assert_eq!(fleet.edition(tenant), version, "{tenant}");
        assert_eq!(sql::text(&mut cluster.connect(&fleet.database(tenant)), NULLABLE), nullable, "{tenant}");
    }

    by_hand(&cluster, &three.bad, "UPDATE accounts SET email = 'b' WHERE email IS NULL");
    sql::done(held.rollback());
    drop(session);
    kit::create_tenant(&mut cluster.control(), &fleet.platform.name, &fleet.tenants[3 * count / 4]);
    let answer = sql::done(kit::verb(&cluster, "retry", &id));
    assert_eq!(answer["status"], "completed", "{answer:#}");
    assert_eq!(answer["deployment_id"], id.as_str(), "{answer:#}");
    kit::check_answer(&cluster, &answer);
    let row = wait_over(&cluster, &id);
    assert_eq!(row["state"], "completed", "{row:#}");
    assert_eq!((kit::number(&row, "failed"), kit::number(&row, "remaining")), (0, 0), "{row:#}");
    assert_eq!(kit::number(&row, "succeeded") + kit::number(&row, "unchanged"), all, "{row:#}");
    check_all_there(&fleet);
}

const NULLABLE: &str =
    "SELECT NOT attnotnull FROM pg_attribute WHERE attrelid = 'accounts'::regclass AND attname = 'email'";

/// The view names the three with SQLSTATE, message, file and line.
#[track_caller]
fn check_named(cluster: &Cluster, id: &str, three: &Three, pid: &str) {
    let bad = part(cluster, id, &three.bad);
    assert_eq!((&bad["error"]["error"], &bad["sqlstate"]), (&json!("migration_failed"), &json!("23502")), "{bad:#}");
    let locked = part(cluster, id, &three.locked);
    assert_eq!(
        (&locked["error"]["error"], &locked["sqlstate"]),
        (&json!("lock_timeout"), &json!("55P03")),
        "{locked:#}"
    );
    assert_eq!(locked["attempts"], 2, "one retry is the default: {locked:#}");
    assert!(locked["detail"].as_str().is_some_and(|detail| detail.contains(pid)), "the holder's pid {pid}: {locked:#}");
    for part in [&bad, &locked] {
        assert!(part["message"].as_str().is_some_and(|message| !message.is_empty()), "{part:#}");
        assert!(part["file"].as_str().is_some_and(|file| file.ends_with("migrations/001_strict.pssql")), "{part:#}");
        assert_eq!(part["line"], 2, "{part:#}");
    }
    assert_eq!(bad["attempts"], 1, "an error of the rows is not tried again: {bad:#}");
    let dropped = part(cluster, id, &three.dropped);
    assert_eq!(dropped["error"]["error"], "database_not_found", "{dropped:#}");
    assert!(dropped["message"].as_str().is_some_and(|text| text.contains(&three.dropped)), "{dropped:#}");
    let first = &kit::deployment(cluster, id)["first_error"];
    assert!(first["error"].is_string() && first["message"].is_string(), "{first:#}");
}

#[track_caller]
fn check_told_over_http(cluster: &Cluster, id: &str, three: &Three) {
    let answer = cluster.http().get(&format!("/deployments/{id}")).ok().field("state", "partial").field("failed", 3);
    for (database, code) in
        [(&three.bad, "migration_failed"), (&three.locked, "lock_timeout"), (&three.dropped, "database_not_found")]
    {
        let told = answer.array("databases").iter().find(|told| told["database"] == database.as_str());
        let told = told.unwrap_or_else(|| panic!("{database} expected in {answer}"));
        assert_eq!((&told["status"], &told["error"]["error"]), (&json!("failed"), &json!(code)), "{told:#}");
        assert!(told["error"]["message"].is_string(), "{told:#}");
    }
}

/// Every database of the registry is in the newest state, by the registry and in truth.
#[track_caller]
fn check_all_there(fleet: &Fleet<'_>) {
    let query = format!(
        "SELECT * FROM stonescriptdb.databases WHERE platform = '{}' AND (NOT is_current OR unfinished OR touched OR state <> 'ready')",
        fleet.platform.name
    );
    let left = kit::json_rows(&mut fleet.cluster.control(), &query);
    assert!(left.is_empty(), "not all are in the newest state: {left:#?}");
    for database in fleet.databases() {
        assert_eq!(sql::text(&mut fleet.cluster.connect(&database), NULLABLE), "f", "{database}");
    }
}

/// The answer of a request that waits, and again: what is there already is not touched.
#[test]
fn a_migrate_of_all_over_http_and_again() {
    let cluster = acceptance::shared();
    let fleet = Fleet::new(&cluster, "again", &bundle(1), 8);
    let http = cluster.http().timeout(LONG);
    let options = [("parallel", "3"), ("canary", "t002,t003"), ("on_error", "continue"), ("retries", "2")];
    let answer = http.migrate(&fleet.platform.name, None, &bundle(2).tar_gz(), &options).ok();
    let answer = answer.field("status", "completed").field("total", 9).field("succeeded", 9);
    let answer = answer.field("unchanged", 0).field("failed", 0).field("skipped", 0);
    kit::check_answer(&cluster, &without_request_id(&answer.json));
    let mut first = kit::begun(&cluster, answer.str("deployment_id"))[..2].to_vec();
    first.sort();
    assert_eq!(first, ["t002", "t003"].map(|tenant| fleet.database(tenant)), "canaries go first");

    let answer = http.migrate(&fleet.platform.name, None, &bundle(2).tar_gz(), &options).ok();
    let answer = answer.field("status", "completed").field("total", 9).field("succeeded", 0).field("unchanged", 9);
    assert!(answer.array("databases").iter().all(|told| told["status"] == "unchanged"), "{answer}");
    for tenant in &fleet.tenants {
        assert_eq!(fleet.edition(tenant), 2, "{tenant}");
    }
}

fn without_request_id(answer: &Value) -> Value {
    let mut answer = answer.clone();
    answer.as_object_mut().map(|object| object.remove("request_id"));
    answer
}
