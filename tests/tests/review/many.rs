//! Deployments of several databases, and of the same at the same time.

use acceptance::{Answer, Cluster, Files, Platform, shared, sql};
use serde_json::{Value, json};

use crate::wait_asleep;

/// A table of notes that may be empty; then it must not, which one tenant's row makes fail.
fn notes(strict: bool) -> Files {
    let files = Files::new();
    if strict {
        files
            .file("tables/notes.pssql", "CREATE TABLE notes (id int PRIMARY KEY, body text NOT NULL);\n")
            .file("migrations/001_strict.pssql", "ALTER TABLE notes ALTER COLUMN body SET NOT NULL;\n")
    } else {
        files.file("tables/notes.pssql", "CREATE TABLE notes (id int PRIMARY KEY, body text);\n")
    }
}

/// A platform with `main`, `bad`, in which the strict notes cannot be, and `rest`.
#[track_caller]
fn half_bad(cluster: &Cluster) -> Platform<'_> {
    let platform = Platform::register(cluster, "half", &notes(false));
    for tenant in ["bad", "rest"] {
        platform.register_tenant(tenant, &notes(false)).ok();
    }
    let mut bad = cluster.connect(&platform.database_of("bad"));
    sql::done(bad.batch_execute("INSERT INTO notes VALUES (1, NULL)"));
    platform
}

#[track_caller]
fn check_partial(platform: &Platform, body: &Value) {
    assert_eq!((&body["status"], &body["error"]), (&json!("partial"), &json!("deployment_partial")), "{body}");
    assert!(body["message"].is_string() && body["deployment_id"].is_string(), "{body}");
    assert_eq!(body["databases_updated"], json!([platform.database()]), "{body}");
    let databases = body["databases"].as_array().expect("an array");
    let seen: Vec<_> = databases.iter().map(|one| (one["database"].clone(), one["status"].clone())).collect();
    let wanted = [("main", "completed"), ("bad", "failed"), ("rest", "skipped")];
    assert_eq!(seen, wanted.map(|(tenant, status)| (json!(platform.database_of(tenant)), json!(status))), "{body}");
    let error = databases[1]["error"].to_string();
    assert!(error.contains("23502") && error.contains("001_strict"), "the tenant's own error expected: {body}");
    assert!(databases[0]["error"].is_null() && databases[2]["error"].is_null(), "{body}");
}

#[test]
fn a_partial_migrate_says_so_over_http() {
    let cluster = shared();
    let platform = half_bad(&cluster);
    let answer = platform.migrate(&notes(true)).error(422, "deployment_partial");
    check_partial(&platform, &answer.json);
    let state = format!("SELECT state FROM stonescriptdb.deployments WHERE id = '{}'", answer.str("deployment_id"));
    assert_eq!(sql::text(&mut cluster.control(), &state), "partial");
}

#[test]
fn a_partial_migrate_says_so_over_sql() {
    let cluster = shared();
    let platform = half_bad(&cluster);
    let body = sql::done(sql::migrate(&mut cluster.control(), &notes(true).tar_gz(), Some(&platform.name), None));
    check_partial(&platform, &body);
    assert!(body["request_id"].is_null(), "only HTTP has requests with an id: {body}");
}

/// What is deployed before.
fn start() -> Files {
    Files::new().file("tables/first.pssql", "CREATE TABLE first (id int PRIMARY KEY);\n")
}

/// A bundle whose deployment takes three seconds in the tenant `acme`, and one that has a table more.
fn slow() -> (Files, Files) {
    let nap = "SELECT pg_sleep(CASE WHEN current_database() LIKE '%acme' THEN 3 ELSE 0 END);\n";
    let slow = start()
        .file("tables/notes.pssql", "CREATE TABLE notes (id int PRIMARY KEY);\n")
        .file("migrations/001_slow.pssql", nap);
    let more = slow.clone().file("tables/more.pssql", "CREATE TABLE more (id int PRIMARY KEY);\n");
    (slow, more)
}

/// A migrate of the whole platform while one of its tenant `acme` runs, which must succeed.
#[track_caller]
fn during_a_tenants(cluster: &Cluster, platform: &Platform) -> Answer {
    let (slow, more) = slow();
    std::thread::scope(|scope| {
        let one = scope.spawn(|| cluster.http().migrate(&platform.name, Some("acme"), &slow.tar_gz(), &[]));
        wait_asleep(cluster);
        let answer = platform.migrate(&more);
        one.join().expect("the caller").ok().field("status", "completed");
        answer
    })
}

#[test]
fn a_migrate_of_all_waits_for_the_deployment_of_one() {
    let cluster = Cluster::builder().setting("stonescriptdb.deploy_lock_timeout", "50ms").start();
    let platform = Platform::register(&cluster, "waits", &start());
    platform.register_tenant("acme", &start()).ok();
    let answer = during_a_tenants(&cluster, &platform).ok().field("status", "completed");
    assert_eq!(answer.array("databases_updated").len(), 2, "{answer}");
    for tenant in ["main", "acme"] {
        let there = "SELECT to_regclass('public.more') IS NOT NULL";
        assert_eq!(sql::text(&mut cluster.connect(&platform.database_of(tenant)), there), "t", "{tenant}");
    }
}

#[test]
fn a_migrate_of_all_does_not_wait_for_longer_than_deploy_wait() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.deploy_lock_timeout", "50ms")
        .setting("stonescriptdb.deploy_wait", "500ms")
        .start();
    let files = start();
    let alone = Platform::unregistered(&cluster, "alone");
    alone.register_tenant("acme", &files).ok();
    during_a_tenants(&cluster, &alone).error(409, "deployment_in_progress");

    // With a database that is done before, it is that tenant's error.
    let platform = Platform::register(&cluster, "impatient", &files);
    platform.register_tenant("acme", &files).ok();
    let answer = during_a_tenants(&cluster, &platform).error(422, "deployment_partial");
    let acme = &answer.array("databases")[1];
    assert_eq!(
        (&acme["status"], &acme["error"]["error"]),
        (&json!("failed"), &json!("deployment_in_progress")),
        "{answer}"
    );
}
