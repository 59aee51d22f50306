//! Older clients: the command line before platform tokens, and the runtime client of the first dialect.

use acceptance::{Platform, shared, unique};
use serde_json::json;

use crate::bundle;

/// It names the main database by `main` and presents the admin token.
#[test]
fn the_command_line_before_platform_tokens() {
    let cluster = shared();
    let (http, admin, name) = (cluster.http(), cluster.http().admin(), unique("older"));
    let upload = |edition: u32| {
        let path = format!("/platform/{name}/schema");
        http.multipart(&path, &[("schema_name", "v1_0")], Some(("schema", &bundle("main", edition).tar_gz())))
    };
    for turn in 0..2 {
        let status = http.post_json("/platform/register", &json!({"platform": name})).status;
        assert_eq!(status, if turn == 0 { 201 } else { 409 });
        upload(1).expect(201);
        let body = json!({"platform": name, "schema_name": "v1_0", "database_id": "main"});
        let status = admin.post_json("/admin/database/create", &body).status;
        assert_eq!(status, if turn == 0 { 201 } else { 409 });
    }
    upload(2).expect(201);
    let body = json!({"platform": name, "schema_name": "v1_0", "database_id": "main", "force": false, "allow": [], "skip_verification": false});
    let answer = admin.post_json("/v2/migrate", &body).ok().field("status", "completed");
    assert_eq!(answer.array("databases_updated"), [json!(format!("{name}_v1_0"))], "{answer}");
    // Its migrate-all sends and reads the same.
    let begun = admin
        .post_json("/v2/migrate-all", &json!({"platform": name, "schema_name": "v1_0", "force": false, "allow": []}));
    let job = begun.expect(202).str("job_id").to_owned();
    acceptance::eventually("the job to be over", || {
        let answer = admin.get(&format!("/v2/migrate-all/{job}")).ok();
        acceptance::wait::check(answer.str("status") == "completed", &answer)
    });
    let call = json!({"platform": name, "schema_name": "v1_0", "uuid": null, "function": "edition", "params": []});
    assert_eq!(http.post_json("/call", &call).value(), "main 2");
}

/// It sends `tenant_id: null` for the main database, and parameters in order only.
#[test]
fn the_runtime_client_of_the_first_dialect() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "first", &bundle("main", 1));
    platform.register_tenant("acme", &bundle("tenant", 1)).ok();
    for (tenant, expected) in [(json!(null), "main 1"), (json!("acme"), "tenant 1")] {
        let body = json!({"platform": platform.name, "tenant_id": tenant, "function": "edition", "params": []});
        assert_eq!(cluster.http().post_json("/call", &body).value(), expected);
        let body = json!({"platform": platform.name, "tenant_id": tenant, "function": "add_note", "params": ["x"]});
        assert_eq!(cluster.http().post_json("/call", &body).row(), json!({"o_id": 1, "o_body": "x"}));
    }
}
