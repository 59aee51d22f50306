//! What a platform tries over HTTP with its own token: another platform's tenants, deployments and bundles, and the routes of the
//! administrator.

use std::fmt::Write;

use acceptance::{Cluster, Platform, eventually, fixtures, sql, wait::check};
use serde_json::{Value, json};

use crate::world::World;

#[track_caller]
fn token(platform: &Platform) -> String {
    let answer =
        platform.cluster.http().admin().post_json("/admin/platform-token", &json!({"platform": platform.name})).ok();
    answer.str("token").to_owned()
}

/// Sends a request with a platform's token and notes it if it is not answered as it must be.
struct Attempts<'a> {
    http: acceptance::Http,
    wrong: &'a mut String,
    count: u32,
}

impl Attempts<'_> {
    fn expect(&mut self, what: &str, answer: acceptance::Answer, status: u16, code: &str) {
        self.count += 1;
        if answer.status != status || answer.code() != code {
            writeln!(self.wrong, "{what}: {status} {code} expected: {answer}\n").expect("memory");
        }
    }

    fn post(&mut self, path: &str, body: &Value, status: u16, code: &str) {
        let answer = self.http.post_json(path, body);
        self.expect(&format!("POST {path} {body}"), answer, status, code);
    }

    fn get(&mut self, path: &str, status: u16, code: &str) {
        let answer = self.http.get(path);
        self.expect(&format!("GET {path}"), answer, status, code);
    }

    fn upload(&mut self, path: &str, fields: &[(&str, &str)], file: (&str, &[u8]), status: u16, code: &str) {
        let answer = self.http.multipart(path, fields, Some(file));
        self.expect(&format!("POST {path} {fields:?}"), answer, status, code);
    }
}

const OTHERS: (u16, &str) = (403, "platform_isolation_violation");
const ADMINS: (u16, &str) = (401, "unauthorized");
/// To a platform's own administrator, whose scope the token lacks.
const SCOPE: (u16, &str) = (403, "insufficient_scope");

#[test]
fn a_platforms_token_opens_nothing_of_others() {
    let cluster = Cluster::start();
    let mut world = World::new(&cluster, |_| fixtures::tiny());
    let (victim, spy) = (world.victim.name.clone(), world.spy.name.clone());
    let (theirs, own) = (token(&world.victim), token(&world.spy));
    eventually("the tokens to count", || {
        let open = cluster.http().call(&victim, None, "count_customers", json!([]));
        check(open.status == 401, open)
    });
    let deployment = {
        let query = format!(
            "SELECT id::text FROM stonescriptdb.deployment WHERE platform = '{victim}' ORDER BY id DESC LIMIT 1"
        );
        sql::text(&mut cluster.control(), &query)
    };
    world.look();
    let bundle = fixtures::tiny().tar_gz();
    let manifest = fixtures::tiny().file("stonescript.json", json!({"platform": victim}).to_string()).tar_gz();
    let mut wrong = String::new();
    let mut attempts = Attempts { http: cluster.http().bearer(&own), wrong: &mut wrong, count: 0 };

    // Calls.
    let call = json!({"platform": victim, "function": "count_customers", "params": []});
    attempts.post("/call", &call, OTHERS.0, OTHERS.1);
    attempts.post(
        "/call",
        &json!({"platform": victim, "function": "add_customer", "params": ["Eve"]}),
        OTHERS.0,
        OTHERS.1,
    );
    let batch = json!({"platform": victim, "calls": [{"function": "count_customers"}]});
    attempts.post("/call/batch", &batch, OTHERS.0, OTHERS.1);
    attempts.get(&format!("/call/{victim}/count_customers"), OTHERS.0, OTHERS.1);
    // Another tenant's database by names: a tenant is one of the platform's own.
    for tenant in [
        world.victim.database(),
        world.template.clone(),
        "postgres".to_owned(),
        "template1".to_owned(),
        format!("../{victim}"),
        format!("main/../../{victim}_main"),
        "main' OR '1'='1".to_owned(),
        "%".to_owned(),
        "acme\u{0}main".to_owned(),
    ] {
        let call = json!({"platform": spy, "tenant_id": tenant, "function": "f", "params": []});
        attempts.post("/call", &call, 404, "database_not_found");
    }
    // Functions that are the server's.
    for function in [
        "pg_read_file",
        "pg_catalog.pg_read_file",
        "set_config",
        "pg_terminate_backend",
        "lo_import",
        "stonescriptdb.call",
    ] {
        let call = json!({"platform": spy, "function": function, "params": ["a"]});
        let answer = attempts.http.post_json("/call", &call);
        let right =
            matches!((answer.status, answer.code()), (403, "unauthorized_function") | (404, "function_not_found"));
        attempts.count += 1;
        if !right {
            writeln!(attempts.wrong, "{function}: {answer}").expect("memory");
        }
    }
    // Deployments.
    for path in ["/register", "/migrate"] {
        attempts.upload(path, &[("platform", &victim)], ("schema", &bundle), OTHERS.0, OTHERS.1);
        attempts.upload(path, &[("platform", &victim), ("tenant_id", "evil")], ("schema", &bundle), OTHERS.0, OTHERS.1);
    }
    for path in ["/register", "/migrate"] {
        attempts.upload(path, &[], ("schema", &manifest), OTHERS.0, OTHERS.1);
    }
    attempts.upload(&format!("/platform/{victim}/schema"), &[("name", "s")], ("file", &bundle), OTHERS.0, OTHERS.1);
    attempts.post("/v2/migrate", &json!({"platform": victim, "schema_name": "s", "uuid": "1"}), OTHERS.0, OTHERS.1);
    attempts.post("/v2/migrate-all", &json!({"platform": victim, "schema_name": "s"}), OTHERS.0, OTHERS.1);
    attempts.post(
        "/database/create",
        &json!({"platform": victim, "schema_name": "s", "uuid": "1"}),
        OTHERS.0,
        OTHERS.1,
    );
    attempts.post(
        "/admin/database/create",
        &json!({"platform": victim, "schema_name": "s", "uuid": "1"}),
        OTHERS.0,
        OTHERS.1,
    );
    attempts.post("/platform/register", &json!({"platform": victim}), OTHERS.0, OTHERS.1);
    attempts.get(&format!("/platform/{victim}/schemas"), OTHERS.0, OTHERS.1);
    attempts.get(&format!("/platform/{victim}/databases"), OTHERS.0, OTHERS.1);
    // What is known of the other's deployments.
    attempts.get(&format!("/deployments/{deployment}"), OTHERS.0, OTHERS.1);
    attempts.get(&format!("/deployments/{deployment}/events"), OTHERS.0, OTHERS.1);
    for verb in ["cancel", "resume", "retry"] {
        attempts.post(&format!("/deployments/{deployment}/{verb}"), &json!({}), OTHERS.0, OTHERS.1);
    }
    attempts.get(&format!("/v2/migrate-all/{deployment}"), OTHERS.0, OTHERS.1);
    // The administrator's routes: a platform's token is none, for its own platform neither.
    for platform in [&victim, &spy] {
        let tenant = json!({"platform": platform, "tenant_id": "acme", "to": "evil", "confirm": "x", "database": "postgres", "reason": "x"});
        for path in [
            "/admin/create-tenant",
            "/admin/rename-tenant",
            "/admin/copy-tenant",
            "/admin/suspend-tenant",
            "/admin/resume-tenant",
            "/admin/drop-tenant",
            "/admin/platform-token",
        ] {
            attempts.post(path, &tenant, SCOPE.0, SCOPE.1);
        }
        attempts.post("/admin/adopt", &tenant, ADMINS.0, ADMINS.1);
        attempts.get(&format!("/admin/databases?platform={platform}"), SCOPE.0, SCOPE.1);
        attempts.get(&format!("/admin/tokens?platform={platform}"), SCOPE.0, SCOPE.1);
        for list in ["tenants", "deployments", "changelog", "functions", "drift", "workers"] {
            attempts.get(&format!("/admin/{list}?platform={platform}"), ADMINS.0, ADMINS.1);
        }
    }
    attempts.post("/admin/revoke-token", &json!({"id": deployment}), SCOPE.0, SCOPE.1);
    attempts.post("/admin/rotate-token", &json!({"id": deployment}), SCOPE.0, SCOPE.1);
    attempts.get("/admin/platforms", ADMINS.0, ADMINS.1);
    // The other's token with something of one's own, no token, and what is nearly one.
    let nearly = [
        String::new(),
        own.to_uppercase(),
        format!("{own}x"),
        own[..own.len() - 1].to_owned(),
        format!("{own} {theirs}"),
    ];
    for sent in nearly {
        attempts.http = cluster.http().bearer(&sent);
        attempts.post("/call", &json!({"platform": spy, "function": "f", "params": []}), ADMINS.0, ADMINS.1);
        attempts.post("/call", &call, ADMINS.0, ADMINS.1);
    }
    attempts.http = cluster.http().bearer(&theirs);
    attempts.post("/call", &json!({"platform": spy, "function": "f", "params": []}), OTHERS.0, OTHERS.1);
    let count = attempts.count;
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(count >= 40, "{count}");
    world.assert_untouched();
    let rows = cluster.http().bearer(&theirs).call(&victim, None, "count_customers", json!([]));
    assert_eq!(rows.value(), 1);
}
