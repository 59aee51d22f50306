//! Who may call is asked at each call.

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures};
use serde_json::json;

use super::{Line, settled};

#[test]
fn a_tenant_that_is_suspended_answers_no_more() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "held", &fixtures::tiny());
    let mut line = settled(&cluster, &platform);
    cluster
        .control()
        .execute("SELECT stonescriptdb.suspend_tenant($1, 'main', 'moving')", &[&platform.name])
        .expect("suspended");
    line.call("f", json!([])).error(503, "connection_failed");
    cluster.control().execute("SELECT stonescriptdb.resume_tenant($1, 'main')", &[&platform.name]).expect("resumed");
    line.call("f", json!([])).ok();
}

#[test]
fn a_token_that_is_revoked_is_good_for_nothing_more() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "key", &fixtures::tiny());
    let issue = || cluster.http().admin().post_json("/admin/platform-token", &json!({"platform": platform.name})).ok();
    let (first, second) = (issue().str("token").to_owned(), issue().str("token").to_owned());
    let mut line = Line::new(cluster.http().bearer(&first), &platform.name, None).settle();
    // Another one's request on the same connection.
    let anonymous = Line::new(cluster.http(), &platform.name, None).request("f", &json!([]), &[]);
    line.wire.send(&anonymous).expect("sent");
    line.read().error(401, "unauthorized");
    let mut line = Line::new(cluster.http().bearer(&first), &platform.name, None).settle();
    let tokens = cluster.http().admin().get(&format!("/admin/tokens?platform={}", platform.name)).ok();
    let oldest = tokens.array("tokens").iter().min_by_key(|token| token["created_at"].to_string()).expect("a token");
    cluster
        .http()
        .admin()
        .post_json("/admin/revoke-token", &json!({"platform": platform.name, "id": oldest["id"]}))
        .ok();
    line.call("f", json!([])).error(401, "unauthorized");
    Line::new(cluster.http().bearer(&second), &platform.name, None).call("f", json!([])).ok();
}

#[test]
fn an_address_that_is_allowed_no_more_is_refused() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "fence", &fixtures::tiny());
    let mut line = settled(&cluster, &platform);
    cluster.configure("stonescriptdb.allowed_networks", "10.0.0.0/8");
    cluster.reload();
    eventually("the address is refused", || {
        let answer = line.call("f", json!([]));
        check(answer.status == 403, answer.status)
    });
}

#[test]
fn without_the_setting_no_executor_serves_connections() {
    let cluster = Cluster::builder().setting("stonescriptdb.direct_connections", "off").start();
    let platform = Platform::register(&cluster, "plain", &fixtures::tiny());
    let mut line = Line::new(cluster.http(), &platform.name, None);
    for _ in 0..100 {
        line.call("f", json!([])).ok();
    }
    assert!(super::states(&cluster, &platform.database()).iter().all(|state| state != "serving"));
}
