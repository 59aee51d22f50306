//! A cancel that comes when a database's transaction has committed: the record says what became of it.

use acceptance::wait::check;
use acceptance::{Files, eventually, shared, sql};
use serde_json::json;

use crate::kit::{self, Fleet, Gate, bundle, deployment, parts, sha256, wait_over};

/// The second bundle, with a statement behind the transaction that waits at the gate of its database.
fn waiting() -> Files {
    kit::gated(bundle(2), "900_after").edit(
        "migrations/900_after.pssql",
        "DO $$ BEGIN",
        "-- stonescriptdb: no-transaction\nDO $$ BEGIN",
    )
}

#[test]
fn what_had_committed_is_recorded_as_done() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "late", &bundle(1), 2);
    let gate = Gate::close(&cluster, &fleet.databases());
    let files = waiting();
    let id = fleet.start(&files, "parallel => 1");
    let first = kit::wait_running(&cluster, &id);
    let edition = "SELECT edition()";
    eventually("its transaction to be committed", || {
        let seen = sql::text(&mut cluster.connect(&first), edition);
        check(seen == "2", seen)
    });
    sql::done(kit::verb(&cluster, "cancel", &id));
    let row = wait_over(&cluster, &id);
    gate.open_all();
    assert_eq!((&row["state"], &row["succeeded"]), (&json!("cancelled"), &json!(1)), "{row:#}");
    for part in parts(&cluster, &id) {
        let (state, edition) =
            if part["database"] == first.as_str() { ("completed_with_warnings", "2") } else { ("cancelled", "1") };
        assert_eq!(part["state"], state, "{part:#}");
        let database = part["database"].as_str().unwrap_or_default();
        assert_eq!(sql::text(&mut cluster.connect(database), "SELECT edition()"), edition, "{part:#}");
    }
    // The registry knows it too.
    let known = format!(
        "SELECT concat_ws(' ', bundle_sha256, unfinished) FROM stonescriptdb.databases WHERE database = '{first}'"
    );
    assert_eq!(sql::text(&mut cluster.control(), &known), format!("{} t", sha256(&cluster, &files)));
    // What was cut off is taken up again.
    sql::done(kit::verb(&cluster, "resume", &id));
    let row = deployment(&cluster, &id);
    assert_eq!((&row["state"], &row["succeeded"]), (&json!("completed_with_warnings"), &json!(3)), "{row:#}");
    fleet.run(&files, "").map(drop).unwrap_or_else(|error| panic!("{}", sql::describe(&error)));
    assert_eq!(sql::text(&mut cluster.control(), &known), format!("{} f", sha256(&cluster, &files)));
}
