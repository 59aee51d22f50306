//! A hot standby: calls that read are served, deployments say where they belong, and after the promotion everything is.

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, fixtures, refused, sql};
use serde_json::json;

#[test]
fn a_standby_serves_what_reads_and_all_after_its_promotion() {
    let primary = Cluster::start();
    let platform = Platform::register(&primary, "standby", &fixtures::shop());
    platform.call("add_customer", json!(["Ada"])).ok();
    let standby = Cluster::builder().standby_of(&primary).start();
    standby.wait_ready();
    let there = Platform { cluster: &standby, name: platform.name.clone() };
    assert!(standby.log().contains("this server is a standby"), "{}", standby.log());
    standby.http().get("/health").ok().field("standby", true);

    // What reads.
    eventually("the row to be there", || {
        let answer = there.call("count_customers", json!([]));
        check(answer.status == 200 && answer.value() == 1, answer)
    });
    standby.http().get(&format!("/call/{}/list_products?p_limit=2", platform.name)).ok().field("row_count", 2);
    let over_sql =
        format!("SELECT stonescriptdb.call('{}', 'count_customers') #>> '{{rows,0,count_customers}}'", platform.name);
    assert_eq!(sql::text(&mut standby.control(), &over_sql), "1");
    // What writes is PostgreSQL's to refuse, and the executor goes on.
    there.call("add_customer", json!(["Bob"])).client_error().field("sqlstate", "25006");
    assert_eq!(there.call("count_customers", json!([])).value(), 1);
    // Deployments.
    let archive = fixtures::shop().tar_gz();
    for answer in [
        standby.http().register(&platform.name, None, &archive),
        standby.http().register(&platform.name, Some("acme"), &archive),
        standby.http().migrate(&platform.name, None, &archive, &[]),
        standby
            .http()
            .admin()
            .post_json("/admin/suspend-tenant", &json!({"platform": platform.name, "tenant_id": "main"})),
    ] {
        answer.error(503, "connection_failed").says("standby").says("primary").field("sqlstate", "25006");
    }
    let created = format!("SELECT stonescriptdb.create_tenant('{}', 'acme')", platform.name);
    refused(standby.control().query_one(&created, &[])).sqlstate("25006").says("standby");
    // What is done on the primary is seen here.
    platform.register_tenant("acme", &fixtures::shop()).ok();
    eventually("the new tenant to be served", || {
        let answer = there.call_tenant("acme", "count_customers", json!([]));
        check(answer.status == 200, answer)
    });

    primary.stop(acceptance::Shutdown::Immediate);
    sql::done(standby.control().query_one("SELECT pg_promote()", &[]));
    eventually("calls to write", || {
        let answer = there.call("add_customer", json!(["Cid"]));
        check(answer.status == 200, answer)
    });
    eventually("deployments to be taken", || {
        let answer = there.register_tenant("globex", &fixtures::shop());
        check(answer.status == 200, answer)
    });
    there
        .migrate(&fixtures::shop().edit("functions/count_customers.pssql", "SELECT count(*)", "SELECT 1000 + count(*)"))
        .ok();
    assert_eq!(there.call("count_customers", json!([])).value(), 1002);
    assert!(standby.http().get("/health").ok().json.get("standby").is_none());
}
