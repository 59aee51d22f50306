//! The commands of a platform's life, in their order.

use acceptance::{Cluster, shared, sql, unique};
use serde_json::json;

use crate::bundle;
use crate::client::{CommandLine, Presents, Runtime};

const ACME: &str = "6f1c2b3a-0d4e-4f5a-8b6c-7d8e9f0a1b2c";
const GLOBEX: &str = "a1b2c3d4-e5f6-4789-8abc-def012345678";

/// The command line writes UUIDs with underscores.
fn underscores(uuid: &str) -> String {
    uuid.replace('-', "_")
}

#[track_caller]
fn edition(runtime: &Runtime, uuid: Option<&str>) -> String {
    let rows = runtime.call(uuid, "edition", json!([])).unwrap_or_else(|e| panic!("{uuid:?}: {e}"));
    rows[0]["edition"].as_str().unwrap_or_default().to_owned()
}

/// From nothing to the second version, and every command a second time: containers start again.
#[track_caller]
fn whole_life(cluster: &Cluster, presents: Presents) {
    let mut stone = CommandLine::new(cluster, &unique("stone"), presents);
    let name = stone.platform.clone();
    for _ in 0..2 {
        stone.register_main("main", &bundle("main", 1)).expect("gateway:register-main");
        stone.register_tenant("tenant", &bundle("tenant", 1)).expect("gateway:register-tenant");
    }
    // As its provisioner creates tenants at sign-up.
    for uuid in [ACME, GLOBEX, ACME] {
        stone.create_database("tenant", Some(uuid)).expect("a tenant's database");
    }
    let runtime = stone.runtime("main", "tenant");
    assert_eq!(edition(&runtime, None), "main 1");
    assert_eq!(edition(&runtime, Some(ACME)), "tenant 1");
    let rows = runtime.call(Some(ACME), "add_note", json!(["hello"])).expect("a row");
    assert_eq!(rows, [json!({"o_id": 1, "o_body": "hello"})]);
    let rows = runtime.call(Some(&underscores(ACME)), "add_note", json!(["again"])).expect("a row");
    assert_eq!(rows[0]["o_id"], 2, "the same database");
    assert_eq!(runtime.call(Some(GLOBEX), "add_note", json!(["x"])).expect("a row")[0]["o_id"], 1);
    let error = runtime.call(Some("ffffffff-0000-4000-8000-000000000000"), "edition", json!([])).expect_err("nobody");
    assert!(error.contains("404") && error.contains("database_not_found"), "{error}");
    let error = runtime.call(None, "nothing", json!([])).expect_err("no function");
    assert!(error.contains("function_not_found"), "{error}");

    assert_eq!(stone.list_schemas().expect("gateway:list-schemas"), ["main", "tenant"]);
    let databases =
        ["main".to_owned(), format!("tenant_{}", underscores(ACME)), format!("tenant_{}", underscores(GLOBEX))];
    let databases = databases.map(|database| format!("{name}_{database}"));
    assert_eq!(stone.list_databases(None).expect("gateway:list-databases"), databases);
    assert_eq!(stone.list_databases(Some("tenant")).expect("gateway:list-databases --schema"), databases[1..]);

    for turn in 0..2 {
        let answer = stone.migrate_main("main", &bundle("main", 2), &[]).expect("gateway:migrate-main");
        assert_eq!(answer.json["status"], "completed", "{answer}");
        assert_eq!(edition(&runtime, None), "main 2");
        assert_eq!(edition(&runtime, Some(ACME)), if turn == 0 { "tenant 1" } else { "tenant 2" });
        let answer =
            stone.migrate_tenant("tenant", &bundle("tenant", 2), &underscores(ACME)).expect("gateway:migrate-tenant");
        assert_eq!(answer.array("databases").len(), 1, "one only: {answer}");
        assert_eq!(edition(&runtime, Some(GLOBEX)), if turn == 0 { "tenant 1" } else { "tenant 2" });
        let done = stone.migrate_all_tenants("tenant", &bundle("tenant", 2)).expect("gateway:migrate-all-tenants");
        let done = done.expect("there are tenants");
        assert_eq!(done.job["total_databases"], 2, "the main database is another schema's: {done:#?}");
        assert_eq!(edition(&runtime, Some(GLOBEX)), "tenant 2");
    }
    // A token of its own, the older one goes on.
    let runtime_before = stone.runtime("main", "tenant");
    stone.provision_token().expect("gateway:provision-token");
    assert_eq!(edition(&runtime_before, None), "main 2");
    assert_eq!(edition(&stone.runtime("main", "tenant"), Some(GLOBEX)), "tenant 2");
    assert_eq!(
        runtime.call(Some(ACME), "add_note", json!(["third"])).expect("a row")[0]["o_id"],
        3,
        "the rows are there"
    );
    let rows = format!("SELECT count(*) FROM stonescriptdb.databases WHERE platform = '{name}' AND is_current");
    assert_eq!(sql::text(&mut cluster.control(), &rows), "3");
}

#[test]
fn the_command_line_and_the_runtime_client() {
    whole_life(&shared(), Presents::Everywhere);
}

/// It presents its token only where databases are created and migrated; a setting is for it.
#[test]
fn the_command_line_as_released() {
    let cluster = Cluster::builder().setting("stonescriptdb.token_everywhere", "off").start();
    whole_life(&cluster, Presents::WhereReleased);
}

#[test]
fn changes_that_lose_data_need_their_flag() {
    let cluster = shared();
    let mut stone = CommandLine::new(&cluster, &unique("flags"), Presents::Everywhere);
    stone.register_main("main", &bundle("main", 1)).expect("gateway:register-main");
    let without =
        bundle("main", 2).edit("tables/notes.pssql", "    body TEXT,\n", "").without("functions/add_note.pssql");
    let refused = stone.migrate_main("main", &without, &[]).expect_err("gateway:migrate-main");
    assert!(refused.0.contains("409") && refused.0.contains("schema_validation_failed"), "{refused:?}");
    let runtime = stone.runtime("main", "tenant");
    assert_eq!(edition(&runtime, None), "main 1");
    stone.migrate_main("main", &without, &["drop_column"]).expect("gateway:migrate-main --allow-drop-column");
    assert_eq!(edition(&runtime, None), "main 2");
}

#[test]
fn a_bad_schema_ends_the_command_and_harms_nothing() {
    let cluster = shared();
    let mut stone = CommandLine::new(&cluster, &unique("badup"), Presents::Everywhere);
    stone.register_main("main", &bundle("main", 1)).expect("gateway:register-main");
    let broken = bundle("main", 2)
        .file("functions/broken.pssql", "CREATE FUNCTION b() RETURNS int LANGUAGE sql AS 'SELECT nope';\n");
    for _ in 0..2 {
        let refused = stone.migrate_main("main", &broken, &[]).expect_err("gateway:migrate-main");
        assert!(refused.0.contains("functions/broken.pssql"), "the place is in what it prints: {refused:?}");
    }
    // The next start of the container with the old files.
    stone.register_main("main", &bundle("main", 1)).expect("gateway:register-main");
    assert_eq!(edition(&stone.runtime("main", "tenant"), None), "main 1");
    let unknown = CommandLine::new(&cluster, &unique("unknown"), Presents::Everywhere);
    let refused = unknown.list_schemas().expect_err("gateway:list-schemas");
    assert!(refused.0.contains("404"), "{refused:?}");
}
