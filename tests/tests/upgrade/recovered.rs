//! DROP EXTENSION and CREATE EXTENSION again: the databases and roles are still there, and the registry is filled from them.

use acceptance::{Cluster, Platform, sql};
use serde_json::json;

use crate::{bundle, platform, wait_kept, works};

fn drop_and_create(cluster: &Cluster) {
    sql::done(cluster.control().batch_execute("DROP EXTENSION stonescriptdb"));
    sql::done(cluster.control().batch_execute("CREATE EXTENSION stonescriptdb"));
    cluster.wait_ready();
}

#[test]
fn what_was_dropped_is_recovered() {
    let cluster = Cluster::start();
    let platform = platform(&cluster, "again");
    // Names that say less than they are written as, and a database of a stored schema.
    let odd = Platform { cluster: &cluster, name: format!("Odd-{}", platform.name) };
    cluster.http().register(&odd.name, Some("The Tenant"), &bundle(1).tar_gz()).ok();
    odd.call_tenant("The Tenant", "keep", json!(["odd"])).ok();
    let mut control = cluster.control();
    let archive = bundle(1).tar_gz();
    sql::done(
        control.query_one("SELECT stonescriptdb.upload_schema($1, 'Stored One', $2)", &[&platform.name, &archive]),
    );
    sql::done(control.query_one("SELECT stonescriptdb.create_database($1, 'Stored One', 'x-1')", &[&platform.name]));
    // Renamed by hand: only its comment knows.
    let acme = platform.database_of("acme");
    sql::done(control.batch_execute(&format!("ALTER DATABASE {acme} RENAME TO renamed_by_hand")));
    let before = listed(&mut control);
    drop_and_create(&cluster);

    assert_eq!(listed(&mut control), Vec::<String>::new());
    sql::done(control.query("SELECT * FROM stonescriptdb.recover(open => true)", &[]));
    for tenant in crate::TENANTS {
        assert_eq!(wait_kept(&platform, tenant).value(), tenant);
    }
    assert_eq!(wait_kept(&odd, "The Tenant").value(), "odd");
    assert_eq!(listed(&mut control), before);
    assert_eq!(
        sql::texts(&mut control, "SELECT tenant_id FROM stonescriptdb.recover()"),
        Vec::<String>::new(),
        "all are known"
    );
    sql::done(control.batch_execute(&format!("ALTER DATABASE renamed_by_hand RENAME TO {acme}")));
    works(&platform);
}

/// Platform, schema and tenant of every database, as they were written.
fn listed(control: &mut postgres::Client) -> Vec<String> {
    let query =
        "SELECT concat_ws('/', platform, schema_name, tenant_id, database) FROM stonescriptdb.databases ORDER BY 1";
    sql::texts(control, query)
}

/// The tokens are gone with the registry: nobody gets in because of that.
#[test]
fn a_recovered_platform_is_closed_until_it_has_a_token() {
    let cluster = Cluster::start();
    let platform = platform(&cluster, "closed");
    drop_and_create(&cluster);
    let mut control = cluster.control();
    sql::done(control.query("SELECT * FROM stonescriptdb.recover()", &[]));
    acceptance::eventually("the platform to be there, and closed", || {
        let answer = platform.call("kept", json!([]));
        acceptance::wait::check(answer.status == 401, answer)
    });
    acceptance::eventually("the tenant to be served over SQL", || {
        let called = control.query_one("SELECT stonescriptdb.call($1, 'kept') #>> '{rows,0,kept}'", &[&platform.name]);
        let kept: String = called.map_err(|e| sql::describe(&e))?.get(0);
        acceptance::wait::check(kept == "main", kept)
    });
}

/// What an owner role writes into a comment reaches no further than its platform.
#[test]
fn a_comment_claims_nothing_of_another_platform() {
    let cluster = Cluster::start();
    let victim = platform(&cluster, "victim");
    let other = Platform::register(&cluster, "other", &bundle(1));
    let mut control = cluster.control();
    for (database, comment) in [
        (other.database(), format!(r#"stonescriptdb: {{"platform": "{}", "tenant": "acme"}}"#, victim.name)),
        (victim.database_of("globex"), "stonescriptdb: {not JSON".to_owned()),
    ] {
        sql::done(control.batch_execute(&format!("COMMENT ON DATABASE {database} IS '{comment}'")));
    }
    drop_and_create(&cluster);
    sql::done(control.query("SELECT * FROM stonescriptdb.recover(open => true)", &[]));
    for tenant in crate::TENANTS {
        assert_eq!(wait_kept(&victim, tenant).value(), tenant, "by its comment, or else by its name");
    }
    let query = format!("SELECT platform FROM stonescriptdb.databases WHERE database = '{}'", other.database());
    assert_ne!(sql::texts(&mut control, &query), [victim.name.as_str()]);
}
