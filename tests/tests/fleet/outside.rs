//! What a DBA does to a tenant's database by plain SQL is noticed, and the registry follows.

use std::time::Duration;

use acceptance::wait::check;
use acceptance::{Answer, Cluster, Platform, eventually, eventually_within, shared, sql};
use serde_json::{Value, json};

use crate::kit::{self, Fleet, bundle, by_hand, json_rows};

/// What the registry says of a tenant: nothing or one row.
#[track_caller]
pub fn registry(cluster: &Cluster, platform: &str, tenant: &str) -> Option<Value> {
    let query =
        format!("SELECT * FROM stonescriptdb.databases WHERE platform = '{platform}' AND tenant_id = '{tenant}'");
    let mut rows = json_rows(&mut cluster.control(), &query);
    assert!(rows.len() < 2, "{rows:#?}");
    rows.pop()
}

/// Waits until a call is answered by 200.
#[track_caller]
pub fn wait_served(platform: &Platform<'_>, tenant: &str) -> Answer {
    eventually(&format!("{tenant} to be served"), || {
        let answer = platform.call_tenant(tenant, "count_accounts", json!([]));
        check(answer.status == 200, &answer).map(|()| answer)
    })
}

#[test]
fn a_database_renamed_by_sql_is_followed() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "sqlren", &bundle(1));
    platform.register_tenant("acme", &bundle(1)).ok();
    platform.call_tenant("acme", "add_account", json!(["x"])).ok();
    let (old, new) = (platform.database_of("acme"), platform.database_of("elsewhere"));
    by_hand(&cluster, "postgres", &format!("ALTER DATABASE {old} RENAME TO {new}"));
    assert_eq!(wait_served(&platform, "acme").value(), 1, "the tenant is who it was");
    let row = registry(&cluster, &platform.name, "acme").expect("a row");
    assert_eq!((&row["database"], &row["state"]), (&json!(new), &json!("ready")), "{row:#}");
    platform.call_tenant("elsewhere", "edition", json!([])).error(404, "database_not_found");
    let answer = platform.migrate(&bundle(2)).ok().field("total", 2);
    assert!(answer.array("databases_updated").contains(&json!(new)), "{answer}");
    assert_eq!(platform.call_tenant("acme", "edition", json!([])).value(), 2);
    // The old name is nobody's: a database that gets it is no tenant.
    by_hand(&cluster, "postgres", &format!("CREATE DATABASE {old}"));
    assert_eq!(platform.call_tenant("acme", "count_accounts", json!([])).value(), 1);
    by_hand(&cluster, "postgres", &format!("DROP DATABASE {old}"));
    by_hand(&cluster, "postgres", &format!("ALTER DATABASE {new} RENAME TO {old}"));
    assert_eq!(wait_served(&platform, "acme").value(), 1);
    assert_eq!(registry(&cluster, &platform.name, "acme").expect("a row")["database"], json!(old));
}

#[test]
fn a_database_dropped_by_sql_is_missing_and_can_come_again() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "sqldrop", &bundle(1), 3);
    let database = fleet.database("t002");
    by_hand(&cluster, "postgres", &format!("DROP DATABASE {database}"));
    fleet.platform.call_tenant("t002", "edition", json!([])).error(404, "database_not_found");
    let row = registry(&cluster, &fleet.platform.name, "t002");
    assert!(row.as_ref().is_none_or(|row| row["state"] == "missing"), "{row:#?}");
    // A deployment of all does not break on it: either it is no part of it, or it is named.
    let answer = sql::done(fleet.run(&bundle(2), "on_error => 'continue'"));
    kit::check_answer(&cluster, &answer);
    assert_eq!(answer["succeeded"], 3, "{answer:#}");
    let told: Vec<&Value> = answer["databases"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|told| told["database"] == database.as_str())
        .collect();
    assert!(
        told.iter().all(|told| told["status"] == "failed" && told["error"]["error"] == "database_not_found"),
        "{answer:#}"
    );
    kit::create_tenant(&mut cluster.control(), &fleet.platform.name, "t002");
    assert_eq!(fleet.edition("t002"), 2);
    let row = registry(&cluster, &fleet.platform.name, "t002").expect("a row");
    assert_eq!((&row["state"], &row["is_current"]), (&json!("ready"), &json!(true)), "{row:#}");
}

/// An empty database of its name is not the tenant with its functions, and nothing is lost by looking at it.
#[test]
fn an_empty_database_in_place_of_a_tenants() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "sqlempty", &bundle(1));
    platform.register_tenant("acme", &bundle(1)).ok();
    let database = platform.database_of("acme");
    by_hand(&cluster, "postgres", &format!("DROP DATABASE {database}"));
    by_hand(&cluster, "postgres", &format!("CREATE DATABASE {database}"));
    by_hand(&cluster, &database, "CREATE TABLE mine (id int); INSERT INTO mine VALUES (1)");
    let answer = platform.call_tenant("acme", "edition", json!([]));
    assert_eq!(answer.status, 404, "{answer}");
    answer.shaped();
    let row = registry(&cluster, &platform.name, "acme");
    let missing = row.as_ref().is_none_or(|row| row["state"] == "missing" || row["is_current"] != true);
    assert!(missing, "it has no bundle: {row:#?}");
    // Whatever a deployment makes of it (it may take it as the tenant's, or refuse it), the rows in it stay.
    let answer = platform.migrate(&bundle(1));
    answer.json.as_object().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(sql::text(&mut cluster.connect(&database), "SELECT count(*) FROM mine"), "1", "{answer}");
}

/// Size and connections of a tenant, as measured; drift as the last check found it.
#[test]
fn the_view_has_sizes_connections_and_drift() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "measured", &bundle(1));
    let session = platform.connect();
    let row = eventually_within(Duration::from_secs(120), "the size to be measured", || {
        let row = registry(&cluster, &platform.name, "main").ok_or_else(|| "no row".to_owned())?;
        let measured =
            row["size_bytes"].as_i64().is_some_and(|size| size > 1_000_000) && row["measured_at"].is_string();
        check(measured, &row).map(|()| row)
    });
    assert!(row["connections"].as_i64().is_some_and(|count| count >= 1), "ours at least: {row:#}");
    drop(session);
    by_hand(&cluster, &platform.database(), "DROP FUNCTION count_accounts()");
    let checked = format!("SELECT count(*) FROM stonescriptdb.check('{}')", platform.name);
    assert_eq!(sql::text(&mut cluster.control(), &checked), "1");
    let row = registry(&cluster, &platform.name, "main").expect("a row");
    assert_eq!(row["drift"], 1, "{row:#}");
    let now =
        format!("SELECT now() - '{}'::timestamptz < interval '10 min'", row["checked_at"].as_str().unwrap_or("?"));
    assert_eq!(sql::text(&mut cluster.control(), &now), "t", "{row:#}");
    platform.migrate(&bundle(1)).ok();
    assert_eq!(sql::text(&mut cluster.control(), &checked), "0");
    assert_eq!(registry(&cluster, &platform.name, "main").expect("a row")["drift"], 0);
}
