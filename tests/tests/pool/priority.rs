//! Deployments leave the processors to calls.

use std::fs;

use acceptance::{Cluster, fixtures};
use postgres::Client;

use super::with_tenants;

/// nice(2) of a process, and of its session where Linux shares the processors among sessions.
fn nice(pid: i32) -> (i32, Option<i32>) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    // proc(5): the 19th field; the second one is a name in brackets.
    let own = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(16)).expect("a field");
    let group = fs::read_to_string(format!("/proc/{pid}/autogroup")).ok();
    let group = group.as_deref().and_then(|text| text.trim().rsplit_once(' ')).map(|(_, nice)| nice.parse().unwrap());
    (own.parse().unwrap(), group)
}

/// The one executor that matches.
fn executor(control: &mut Client, database: &str, is_call: bool) -> i32 {
    let one = "SELECT pid FROM stonescriptdb.workers WHERE database = $1 AND (role LIKE '%\\_call') = $2";
    control.query_one(one, &[&database, &is_call]).expect("an executor").get(0)
}

#[test]
fn executors_that_deploy_have_less_of_a_processor_than_those_that_call() {
    let cluster = Cluster::start();
    let platform = with_tenants(&cluster, &[]);
    let mut control = cluster.control();
    let server = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'stonescriptdb server'";
    let (server, server_group) = nice(control.query_one(server, &[]).expect("the server worker").get(0));
    platform.call("f", serde_json::json!([])).ok();
    assert_eq!(nice(executor(&mut control, &platform.database(), true)), (server, server_group), "a call's");
    let (at_work, group) = nice(executor(&mut control, &platform.database(), false));
    assert_eq!(at_work, (server + 10).min(19), "a deployment's");
    // Linux refuses to change a session's more than ten times a second in the whole system, and other tests run beside this one.
    assert!(group == server_group.map(|_| 10) || group == server_group, "{group:?}");

    cluster.configure("stonescriptdb.deploy_nice", "0");
    cluster.reload();
    platform.register_tenant("other", &fixtures::tiny()).ok();
    let other = format!("{}_other", platform.name);
    assert_eq!(nice(executor(&mut control, &other, false)), (server, server_group), "as all others");
}
