//! Calls of databases that are named by schema and identifier.

use acceptance::{shared, sql};
use serde_json::json;

use crate::kit::bundle;
use crate::stored::Stored;

const DASHES: &str = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
const UNDERSCORES: &str = "3f2504e0_4f89_11d3_9a0c_0305e82c3301";

#[test]
fn a_uuid_is_found_with_dashes_and_with_underscores() {
    let cluster = shared();
    for (written, other) in [(DASHES, UNDERSCORES), (UNDERSCORES, DASHES)] {
        let stored = Stored::new(&cluster, "uuids");
        stored.upload("tenant", &bundle(1)).expect(201);
        let database = format!("{}_tenant_{UNDERSCORES}", stored.name);
        stored.create("tenant", written).expect(201).field("database_name", database.as_str());
        let created_again = stored.create("tenant", other);
        assert!(created_again.status == 409, "{created_again}");
        created_again.shaped();
        let add = json!({"platform": stored.name, "schema_name": "tenant", "uuid": written, "function": "add_account", "params": ["a"]});
        stored.http().post_json("/call", &add).ok();
        for id in [DASHES, UNDERSCORES] {
            for field in ["uuid", "database_id", "tenant_id"] {
                let body = json!({"platform": stored.name, "schema_name": "tenant", field: id, "function": "count_accounts", "params": []});
                assert_eq!(stored.http().post_json("/call", &body).value(), 1, "{field} {id}");
            }
        }
        stored.upload("tenant", &bundle(2)).expect(201);
        for id in [other, written] {
            let answer = stored.migrate("tenant", Some(id)).ok();
            assert_eq!(answer.array("databases").len(), 1, "{answer}");
        }
        assert_eq!(stored.call("tenant", Some(other), "edition").value(), 2);
        assert_eq!(stored.databases(), [database], "one database");
    }
}

#[test]
fn the_main_database_of_a_schema_has_no_identifier() {
    let cluster = shared();
    let stored = Stored::new(&cluster, "maindb");
    stored.upload("main", &bundle(1)).expect(201);
    stored.upload("tenant", &bundle(2)).expect(201);
    stored.create("main", "main").expect(201).field("database_name", format!("{}_main", stored.name));
    stored.create("tenant", "a").expect(201);
    // What the runtime client sends: null for the main database.
    let call = |schema: &str, id: serde_json::Value| {
        let body =
            json!({"platform": stored.name, "schema_name": schema, "uuid": id, "function": "edition", "params": []});
        stored.http().post_json("/call", &body)
    };
    assert_eq!(call("main", json!(null)).value(), 1);
    assert_eq!(call("main", json!("")).value(), 1);
    assert_eq!(call("main", json!("main")).value(), 1);
    assert_eq!(call("tenant", json!("a")).value(), 2);
    call("tenant", json!(null)).error(404, "database_not_found");
    call("main", json!("a")).error(404, "database_not_found");
    assert_eq!(call("nothing", json!("a")).shaped().status, 404);
    call("tenant", json!(7)).error(400, "invalid_request");
    // A schema that is named is not the platform's own.
    stored.http().call(&stored.name, Some("a"), "edition", json!([])).error(404, "database_not_found");
    stored.http().register(&stored.name, Some("own"), &bundle(3).tar_gz()).ok();
    assert_eq!(stored.http().call(&stored.name, Some("own"), "edition", json!([])).value(), 3);
    call("tenant", json!("own")).error(404, "database_not_found");
    // Both dialects by the same roles, from one platform.
    let roles =
        format!("SELECT count(DISTINCT datdba) FROM pg_database WHERE starts_with(datname, '{}_')", stored.name);
    assert_eq!(sql::text(&mut cluster.control(), &roles), "1");
}
