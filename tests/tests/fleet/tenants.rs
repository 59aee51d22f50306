//! The life of a tenant: renamed, copied, suspended, dropped; over SQL and over HTTP alike.

use acceptance::{Answer, Cluster, Failure, Platform, Shutdown, refused, shared, sql};
use serde_json::{Value, json};

use crate::kit::{self, bundle, registered};
use crate::stored::Stored;

/// A verb over SQL, with arguments as SQL text.
fn ask(cluster: &Cluster, call: &str) -> Result<Value, postgres::Error> {
    cluster.control().query_one(&format!("SELECT stonescriptdb.{call}"), &[]).map(|row| row.get(0))
}

#[track_caller]
fn ask_refused(cluster: &Cluster, call: &str) -> Failure {
    refused(ask(cluster, call)).meant()
}

/// An administrator's route.
#[track_caller]
fn admin(cluster: &Cluster, verb: &str, body: Value) -> Answer {
    cluster.http().admin().post_json(&format!("/admin/{verb}"), &body)
}

/// A platform with tenants, each with one account.
#[track_caller]
fn platform<'c>(cluster: &'c Cluster, prefix: &str, tenants: &[&str]) -> Platform<'c> {
    let platform = Platform::register(cluster, prefix, &bundle(1));
    for tenant in tenants {
        platform.register_tenant(tenant, &bundle(1)).ok();
        platform.call_tenant(tenant, "add_account", json!([tenant])).ok();
    }
    platform
}

fn accounts(platform: &Platform<'_>, tenant: &str) -> Answer {
    platform.call_tenant(tenant, "count_accounts", json!([]))
}

#[test]
fn a_renamed_tenant_is_served_under_its_new_name() {
    let cluster = shared();
    let platform = platform(&cluster, "ren", &["a", "b", "c"]);
    let name = &platform.name;
    // Executors are attached to it, as it was called.
    let answer = sql::done(ask(&cluster, &format!("rename_tenant('{name}', 'a', 'New-1')")));
    let expected = json!({"status": "renamed", "database": platform.database_of("new_1"), "from_database": platform.database_of("a")});
    assert_eq!(answer, expected);
    let body = json!({"platform": name, "tenant_id": "b", "new_tenant_id": "d"});
    let answer = admin(&cluster, "rename-tenant", body.clone()).ok().field("status", "renamed");
    answer.field("database", platform.database_of("d")).field("from_database", platform.database_of("b"));
    for (old, new) in [("a", "New-1"), ("b", "d")] {
        accounts(&platform, old).error(404, "database_not_found");
        assert_eq!(accounts(&platform, new).value(), 1, "{new}");
        assert!(!sql::database_exists(&mut cluster.control(), &platform.database_of(old)), "{old}");
    }
    let row = registered(&cluster, &platform.database_of("new_1"));
    assert_eq!(
        (&row["tenant_id"], &row["state"], &row["touched"]),
        (&json!("New-1"), &json!("ready"), &json!(false)),
        "{row:#}"
    );
    // Its old name is free, and what was renamed is deployed to.
    platform.register_tenant("a", &bundle(1)).ok();
    assert_eq!(accounts(&platform, "a").value(), 0);
    platform.migrate(&bundle(2)).ok().field("total", 5);
    assert_eq!(platform.call_tenant("New-1", "edition", json!([])).value(), 2);

    admin(&cluster, "rename-tenant", body).error(404, "database_not_found");
    ask_refused(&cluster, &format!("rename_tenant('{name}', 'nobody', 'x')")).sqlstate("3D000");
    ask_refused(&cluster, &format!("rename_tenant('{name}', 'c', 'd')"))
        .sqlstate("42P04")
        .says("database_already_exists");
    let taken = json!({"platform": name, "tenant_id": "c", "new_tenant_id": "d"});
    admin(&cluster, "rename-tenant", taken).error(409, "database_already_exists");
    let alike = json!({"platform": name, "tenant_id": "c", "new_tenant_id": "new.1"});
    admin(&cluster, "rename-tenant", alike).error(409, "name_collision");
    for bad in [
        json!({"platform": name, "tenant_id": "c"}),
        json!({"platform": name, "tenant_id": "c", "new_tenant_id": "!!"}),
    ] {
        admin(&cluster, "rename-tenant", bad).error(400, "invalid_request");
    }
    ask_refused(&cluster, "rename_tenant('nobody', 'c', 'x')").sqlstate("42704");
    assert_eq!(accounts(&platform, "c").value(), 1, "what was refused did nothing");
    // A database that is there and nobody's is not taken over.
    kit::by_hand(&cluster, "postgres", &format!("CREATE DATABASE {}", platform.database_of("alien")));
    let alien = json!({"platform": name, "tenant_id": "c", "new_tenant_id": "alien"});
    admin(&cluster, "rename-tenant", alien).error(409, "database_already_exists");
    assert_eq!(accounts(&platform, "c").value(), 1);
}

#[test]
fn a_copy_is_a_tenant_of_its_own() {
    let cluster = shared();
    let platform = platform(&cluster, "cop", &["a"]);
    let name = &platform.name;
    let answer = sql::done(ask(&cluster, &format!("copy_tenant('{name}', 'a', 'b')")));
    let expected =
        json!({"status": "copied", "database": platform.database_of("b"), "from_database": platform.database_of("a")});
    assert_eq!(answer, expected);
    let body = json!({"platform": name, "tenant_id": "a", "new_tenant_id": "c"});
    admin(&cluster, "copy-tenant", body.clone())
        .ok()
        .field("status", "copied")
        .field("database", platform.database_of("c"));
    for tenant in ["a", "b", "c"] {
        assert_eq!(accounts(&platform, tenant).value(), 1, "the rows are there: {tenant}");
    }
    platform.call_tenant("b", "add_account", json!(["more"])).ok();
    platform.call_tenant("b", "add_account", json!(["and more"])).ok();
    platform.call_tenant("c", "add_account", json!(["one"])).ok();
    let seen = ["a", "b", "c"].map(|tenant| accounts(&platform, tenant).value());
    assert_eq!(seen, [json!(1), json!(3), json!(2)], "each has its own");
    let (row, copy) =
        (registered(&cluster, &platform.database_of("a")), registered(&cluster, &platform.database_of("b")));
    for field in ["state", "bundle_sha256", "is_current", "touched", "unfinished", "schema_name"] {
        assert_eq!(row[field], copy[field], "{field}: {row:#}\n{copy:#}");
    }
    // As closed as every tenant's.
    let open = format!("SELECT has_database_privilege('public', '{}', 'CONNECT')", platform.database_of("b"));
    assert_eq!(sql::text(&mut cluster.control(), &open), "f");
    let unchanged = sql::done(kit::migrate_all(&mut cluster.control(), name, None, Some(&bundle(1)), ""));
    assert_eq!((&unchanged["total"], &unchanged["unchanged"]), (&json!(4), &json!(4)), "{unchanged:#}");
    platform.migrate(&bundle(2)).ok().field("succeeded", 4);
    assert_eq!(platform.call_tenant("c", "edition", json!([])).value(), 2);

    admin(&cluster, "copy-tenant", body).error(409, "database_already_exists");
    let nobody = json!({"platform": name, "tenant_id": "nobody", "new_tenant_id": "x"});
    admin(&cluster, "copy-tenant", nobody).error(404, "database_not_found");
    ask_refused(&cluster, &format!("copy_tenant('{name}', 'a', 'a')")).sqlstate("42P04");
    // The main database can be what new tenants are like.
    platform.call("add_account", json!(["of main"])).ok();
    sql::done(ask(&cluster, &format!("copy_tenant('{name}', 'main', 'like_main')")));
    assert_eq!(accounts(&platform, "like_main").value(), 1);
}

/// Calls that come while it is copied are served before or after; a copy needs the database to itself for a moment.
#[test]
fn a_tenant_is_copied_while_it_is_called() {
    let cluster = shared();
    let platform = platform(&cluster, "copbusy", &["a"]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let answered = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let answer = accounts(&platform, "a");
                    assert!(answer.status == 200 || answer.status == 503, "{answer}");
                    answered.fetch_add(usize::from(answer.status == 200), std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
        let copied: Vec<_> = ["x", "y"]
            .iter()
            .map(|tenant| ask(&cluster, &format!("copy_tenant('{}', 'a', '{tenant}')", platform.name)))
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for answer in copied {
            assert_eq!(sql::done(answer)["status"], "copied");
        }
    });
    assert!(answered.into_inner() > 0, "not one call was answered");
    assert_eq!((accounts(&platform, "x").value(), accounts(&platform, "y").value()), (json!(1), json!(1)));
}

#[track_caller]
fn check_suspended(platform: &Platform<'_>, cluster: &Cluster, tenant: &str, reason: &str) {
    let answer = accounts(platform, tenant).error(503, "connection_failed").field("sqlstate", "57P03");
    assert!(answer.str("message").contains(reason), "{answer}");
    assert!(answer.header("retry-after").is_some(), "{answer}");
    let call = sql::call(&mut cluster.control(), &platform.name, Some(tenant), "count_accounts", &json!([]));
    refused(call).sqlstate("57P03").says(reason);
}

#[test]
fn a_suspended_tenant_answers_503_with_the_reason_until_it_is_resumed() {
    let cluster = Cluster::start();
    let platform = platform(&cluster, "sus", &["a", "b"]);
    let name = &platform.name;
    let answer = sql::done(ask(&cluster, &format!("suspend_tenant('{name}', 'a', 'unpaid since March')")));
    assert_eq!(answer, json!({"status": "suspended", "database": platform.database_of("a")}));
    check_suspended(&platform, &cluster, "a", "unpaid since March");
    let row = registered(&cluster, &platform.database_of("a"));
    assert_eq!(
        (&row["state"], &row["suspended_because"]),
        (&json!("suspended"), &json!("unpaid since March")),
        "{row:#}"
    );
    assert_eq!(
        (accounts(&platform, "b").value(), accounts(&platform, "main").value()),
        (json!(1), json!(0)),
        "the others serve"
    );

    // Deployments go on: it is where the others are when it comes back.
    let answer = platform.migrate(&bundle(2)).ok().field("total", 3).field("succeeded", 3);
    assert_eq!(answer.json["failed"], 0, "{answer}");
    platform.register_tenant("a", &bundle(2)).ok();
    check_suspended(&platform, &cluster, "a", "unpaid since March");
    assert_eq!(registered(&cluster, &platform.database_of("a"))["is_current"], true);
    // Also after a restart and a crash.
    for how in [Shutdown::Fast, Shutdown::Immediate] {
        cluster.stop(how);
        cluster.start_again();
        check_suspended(&platform, &cluster, "a", "unpaid since March");
    }
    let answer = sql::done(ask(&cluster, &format!("resume_tenant('{name}', 'a')")));
    assert_eq!(answer, json!({"status": "resumed", "database": platform.database_of("a")}));
    assert_eq!(accounts(&platform, "a").value(), 1);
    assert_eq!(platform.call_tenant("a", "edition", json!([])).value(), 2);
    let row = registered(&cluster, &platform.database_of("a"));
    assert_eq!((&row["state"], &row["suspended_because"]), (&json!("ready"), &json!(null)), "{row:#}");

    // Over HTTP, with another reason and with none.
    for reason in [json!("moving house"), json!(null)] {
        let mut body = json!({"platform": name, "tenant_id": "b"});
        if !reason.is_null() {
            body["reason"] = reason.clone();
        }
        admin(&cluster, "suspend-tenant", body)
            .ok()
            .field("status", "suspended")
            .field("database", platform.database_of("b"));
        check_suspended(&platform, &cluster, "b", reason.as_str().unwrap_or_default());
        let body = json!({"platform": name, "tenant_id": "b"});
        admin(&cluster, "resume-tenant", body)
            .ok()
            .field("status", "resumed")
            .field("database", platform.database_of("b"));
        assert_eq!(accounts(&platform, "b").value(), 1);
    }
    let nobody = json!({"platform": name, "tenant_id": "nobody"});
    admin(&cluster, "suspend-tenant", nobody.clone()).error(404, "database_not_found");
    admin(&cluster, "resume-tenant", nobody).error(404, "database_not_found");
}

#[test]
fn a_tenant_is_dropped_when_its_databases_name_is_typed_again() {
    let cluster = shared();
    let platform = platform(&cluster, "drp", &["a", "b", "c"]);
    let body =
        |tenant: &str, confirm: &str| json!({"platform": platform.name, "tenant_id": tenant, "confirm": confirm});
    for wrong in ["a", "", &platform.database_of("b"), &platform.database_of("a").to_uppercase()] {
        admin(&cluster, "drop-tenant", body("a", wrong)).error(400, "invalid_request");
    }
    admin(&cluster, "drop-tenant", json!({"platform": platform.name, "tenant_id": "a"})).error(400, "invalid_request");
    assert_eq!(accounts(&platform, "a").value(), 1, "a wrong confirmation drops nothing");
    admin(&cluster, "drop-tenant", body("a", &platform.database_of("a"))).ok();
    accounts(&platform, "a").error(404, "database_not_found");
    assert!(!sql::database_exists(&mut cluster.control(), &platform.database_of("a")));
    admin(&cluster, "drop-tenant", body("a", &platform.database_of("a"))).error(404, "database_not_found");
    // A suspended one too.
    sql::done(ask(&cluster, &format!("suspend_tenant('{}', 'b')", platform.name)));
    sql::done(ask(&cluster, &format!("drop_tenant('{}', 'b', '{}')", platform.name, platform.database_of("b"))));
    accounts(&platform, "b").error(404, "database_not_found");
    platform.migrate(&bundle(2)).ok().field("total", 2);
    // The name is free.
    platform.register_tenant("a", &bundle(2)).ok();
    assert_eq!(accounts(&platform, "a").value(), 0);
}

/// All of it for databases of a stored schema.
#[test]
fn databases_of_a_stored_schema_live_the_same() {
    let cluster = shared();
    let stored = Stored::new(&cluster, "vtwo");
    stored.upload("web", &bundle(1)).expect(201);
    stored.create("web", "a").expect(201);
    let (name, web) = (&stored.name, ", schema_name => 'web'");
    let count = |id: &str| stored.call("web", Some(id), "count_accounts");
    let database = |id: &str| json!(format!("{name}_web_{id}"));

    let answer = sql::done(ask(&cluster, &format!("rename_tenant('{name}', 'a', 'b'{web})")));
    assert_eq!((&answer["database"], &answer["from_database"]), (&database("b"), &database("a")), "{answer:#}");
    count("a").error(404, "database_not_found");
    assert_eq!(count("b").value(), 0);
    let body = json!({"platform": name, "tenant_id": "b", "new_tenant_id": "c", "schema_name": "web"});
    admin(&cluster, "copy-tenant", body).ok().field("database", database("c"));
    sql::done(ask(&cluster, &format!("suspend_tenant('{name}', 'c', 'why not'{web})")));
    count("c").error(503, "connection_failed").says("why not");
    assert_eq!(count("b").value(), 0);
    admin(&cluster, "resume-tenant", json!({"platform": name, "tenant_id": "c", "schema_name": "web"})).ok();
    assert_eq!(count("c").value(), 0);
    // Without the schema's name another database is meant, which is not there.
    for call in [
        format!("rename_tenant('{name}', 'b', 'x')"),
        format!("copy_tenant('{name}', 'b', 'x')"),
        format!("suspend_tenant('{name}', 'b')"),
        format!("drop_tenant('{name}', 'b', '{name}_b')"),
        format!("drop_tenant('{name}', 'b', '{name}_web_b')"),
    ] {
        ask_refused(&cluster, &call).sqlstate("3D000");
    }
    let body = json!({"platform": name, "tenant_id": "b", "confirm": database("b"), "schema_name": "web"});
    admin(&cluster, "drop-tenant", body).ok();
    assert_eq!(stored.databases(), [format!("{name}_web_c")]);
    stored.upload("web", &bundle(2)).expect(201);
    stored.migrate("web", None).ok().field("total", 1);
}
