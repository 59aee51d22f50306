//! What is planned, allowed and chosen: dry runs by group of tenants, changes that lose data, some of the tenants only.

use acceptance::{Snapshot, refused, shared, sql};
use serde_json::{Value, json};

use crate::kit::{self, Fleet, bundle, deployment, in_state, wait_over};

/// The texts of an array, sorted.
fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().unwrap_or_else(|| panic!("an array expected: {value:#}"));
    let mut texts: Vec<String> = texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect();
    texts.sort();
    texts
}

#[test]
fn a_dry_run_gives_one_plan_for_all_tenants_in_the_same_state() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "groups", &bundle(1), 5);
    let ahead = ["t002", "t004"];
    // Two tenants have an index that the others do not have yet.
    let indexed =
        bundle(1).edit("tables/accounts.pssql", ");", ");\nCREATE INDEX accounts_by_email ON accounts (email);");
    sql::done(fleet.run(&indexed, "tenants => '{t002,t004}'"));
    let target = indexed.edit("functions/edition.pssql", "SELECT 1", "SELECT 2");
    let before: Vec<Snapshot> = fleet.databases().iter().map(|name| Snapshot::of(&cluster, name)).collect();

    let over_sql = sql::done(fleet.run(&target, "dry_run => true"));
    let over_http = cluster.http().migrate(&fleet.platform.name, None, &target.tar_gz(), &[("dry_run", "true")]).ok();
    for answer in [&over_sql, &over_http.json] {
        assert_eq!(answer["status"], "planned", "{answer:#}");
        assert_eq!(answer["databases_updated"], json!([]), "{answer:#}");
        let plans = answer["plans"].as_array().unwrap_or_else(|| panic!("plans expected: {answer:#}"));
        assert_eq!(plans.len(), 2, "{answer:#}");
        let of = |tenant: &str| {
            let plan = plans.iter().find(|plan| texts(&plan["tenants"]).iter().any(|name| name == tenant));
            plan.unwrap_or_else(|| panic!("{tenant} is in no plan: {answer:#}"))
        };
        let (behind, ahead_of) = (of("t001"), of("t002"));
        assert_eq!(texts(&behind["tenants"]), ["main", "t001", "t003", "t005"], "{answer:#}");
        assert_eq!(texts(&ahead_of["tenants"]), ahead, "{answer:#}");
        let databases: Vec<String> = ahead.iter().map(|tenant| fleet.database(tenant)).collect();
        assert_eq!(texts(&ahead_of["databases"]), databases, "{answer:#}");
        assert_eq!(behind["databases"].as_array().map(Vec::len), Some(4), "{answer:#}");

        let statements = |plan: &Value| plan["plan"].to_string();
        assert!(
            statements(behind).contains("accounts_by_email") && statements(behind).contains("edition"),
            "{behind:#}"
        );
        assert!(!statements(ahead_of).contains("accounts_by_email"), "it is there already: {ahead_of:#}");
        assert!(statements(ahead_of).contains("edition"), "{ahead_of:#}");
        for field in ["from_fingerprint", "to_fingerprint", "plan_fingerprint"] {
            assert!(behind[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {behind:#}");
        }
        assert_ne!(behind["plan_fingerprint"], ahead_of["plan_fingerprint"], "{answer:#}");
        assert_ne!(behind["from_fingerprint"], ahead_of["from_fingerprint"], "{answer:#}");
        assert_eq!(behind["to_fingerprint"], ahead_of["to_fingerprint"], "{answer:#}");
        assert!(behind["schema_validation"]["safe_changes"].is_array(), "{behind:#}");
    }
    for (name, before) in fleet.databases().iter().zip(&before) {
        before.assert_unchanged(&cluster, name, "it was a dry run");
    }
    let row = deployment(&cluster, over_sql["deployment_id"].as_str().expect("an id"));
    assert_eq!((&row["state"], &row["dry_run"]), (&json!("planned"), &json!(true)), "{row:#}");

    // Of one database the plan stands by itself, as it always did.
    let one = sql::done(fleet.run(&target, "dry_run => true, tenants => '{t001}'"));
    assert!(one["plan"].to_string().contains("accounts_by_email"), "{one:#}");
    // What was planned is what runs.
    let done = sql::done(fleet.run(&target, ""));
    assert_eq!((&done["status"], &done["succeeded"]), (&json!("completed"), &json!(6)), "{done:#}");
    let nothing = sql::done(fleet.run(&target, "dry_run => true"));
    let plans = nothing["plans"].as_array().unwrap_or_else(|| panic!("{nothing:#}"));
    assert!(plans.iter().all(|plan| plan["plan"] == json!([])), "{nothing:#}");
}

#[test]
fn a_change_that_loses_data_needs_to_be_allowed_for_all() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "loses", &bundle(1), 3);
    let without = bundle(2)
        .edit("tables/accounts.pssql", "id bigserial PRIMARY KEY,\n    email text", "id bigserial PRIMARY KEY")
        .edit(
            "functions/add_account.pssql",
            "INSERT INTO accounts (email) VALUES (p_email) RETURNING id",
            "INSERT INTO accounts DEFAULT VALUES RETURNING id",
        );
    refused(fleet.run(&without, "")).sqlstate("55000").says("schema_validation_failed");
    refused(fleet.run(&without, "allow => '{drop_table}', on_error => 'continue'")).says("schema_validation_failed");
    let answer = cluster.http().migrate(&fleet.platform.name, None, &without.tar_gz(), &[]);
    let answer = answer.error(409, "schema_validation_failed");
    assert!(answer.json["schema_validation"]["dataloss_changes"].to_string().contains("email"), "{answer}");
    for tenant in ["main", "t001", "t002", "t003"] {
        assert_eq!(fleet.edition(tenant), 1, "{tenant}");
    }
    let answer = sql::done(fleet.run(&without, "allow => '{drop_column}'"));
    assert_eq!((&answer["status"], &answer["succeeded"]), (&json!("completed"), &json!(4)), "{answer:#}");
    let row = deployment(&cluster, answer["deployment_id"].as_str().expect("an id"));
    assert_eq!((&row["allow"], &row["force"]), (&json!(["drop_column"]), &json!(false)), "{row:#}");

    let back = bundle(3).edit("tables/accounts.pssql", "email text", "email text, more text");
    sql::done(fleet.run(&back, ""));
    let answer = sql::done(fleet.run(&bundle(4), "force => true"));
    assert_eq!((&answer["status"], &answer["succeeded"]), (&json!("completed"), &json!(4)), "{answer:#}");
    assert_eq!(deployment(&cluster, answer["deployment_id"].as_str().expect("an id"))["force"], true);
    assert_eq!(fleet.edition("t002"), 4);
}

#[test]
fn some_of_the_tenants_only() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "subset", &bundle(1), 4);
    // Its identifier as it was written, not as it was made a name.
    sql::done(cluster.control().execute("SELECT stonescriptdb.create_tenant($1, 'Acme-1')", &[&fleet.platform.name]));
    let answer = sql::done(fleet.run(&bundle(2), "tenants => '{t003,Acme-1}'"));
    kit::check_answer(&cluster, &answer);
    let numbers = ["total", "succeeded", "unchanged", "failed", "skipped"].map(|name| kit::number(&answer, name));
    assert_eq!(numbers, [2, 2, 0, 0, 0], "{answer:#}");
    assert_eq!(texts(&answer["databases_updated"]), [fleet.database("acme_1"), fleet.database("t003")]);
    let told: Vec<&Value> =
        answer["databases"].as_array().into_iter().flatten().map(|told| &told["tenant_id"]).collect();
    assert!(told.contains(&&json!("Acme-1")), "{answer:#}");
    for (tenant, edition) in [("main", 1), ("t001", 1), ("t003", 2), ("Acme-1", 2)] {
        assert_eq!(fleet.edition(tenant), edition, "{tenant}");
    }
    let answer = sql::done(fleet.run(&bundle(2), "tenants => '{main}'"));
    assert_eq!(answer["databases_updated"], json!([fleet.platform.database()]), "{answer:#}");
    // The rest, by the newest version: no archive is sent.
    let answer = sql::done(kit::migrate_all(&mut cluster.control(), &fleet.platform.name, None, None, ""));
    let numbers = ["total", "succeeded", "unchanged"].map(|name| kit::number(&answer, name));
    assert_eq!(numbers, [6, 3, 3], "{answer:#}");
    assert_eq!(fleet.edition("t004"), 2);
}

/// `migrate` without a tenant is the platform's own schema, all of it, as migrate_all is.
#[test]
fn migrate_without_a_tenant_is_a_deployment_of_all() {
    let cluster = shared();
    let fleet = Fleet::new(&cluster, "plainall", &bundle(1), 3);
    let answer = sql::done(sql::migrate(&mut cluster.control(), &bundle(2).tar_gz(), Some(&fleet.platform.name), None));
    assert_eq!(answer["status"], "completed", "{answer:#}");
    assert_eq!(answer["databases_updated"].as_array().map(Vec::len), Some(4), "{answer:#}");
    let id = answer["deployment_id"].as_str().expect("an id");
    assert_eq!(wait_over(&cluster, id)["state"], "completed");
    assert_eq!(in_state(&cluster, id, "completed").len(), 4);
    let functions: i64 = kit::parts(&cluster, id).iter().map(|part| kit::number(part, "functions_updated")).sum();
    assert_eq!(answer["functions_updated"], functions, "the sum over the databases: {answer:#}");
}

/// A platform without databases: nothing to do is no error.
#[test]
fn a_schema_without_databases() {
    let cluster = shared();
    let platform = acceptance::unique("empty");
    let http = cluster.http();
    http.post_json("/platform/register", &json!({"platform": platform})).expect(201);
    let upload = format!("/platform/{platform}/schema");
    http.multipart(&upload, &[("schema_name", "web")], Some(("schema", &bundle(1).tar_gz()))).expect(201);
    let answer = sql::done(kit::migrate_all(&mut cluster.control(), &platform, Some("web"), None, ""));
    assert_eq!((&answer["total"], &answer["databases"]), (&json!(0), &json!([])), "{answer:#}");
    let body = json!({"platform": platform, "schema_name": "web"});
    let answer = http.post_json("/v2/migrate", &body).ok();
    assert_eq!(answer.array("databases_updated"), &[] as &[Value], "{answer}");
    let answer = http.post_json("/v2/migrate-all", &body).expect(204);
    assert_eq!(answer.text, "", "204 has no body");
    http.migrate(&platform, None, &bundle(1).tar_gz(), &[]).ok().field("databases_updated", json!([]));
}
