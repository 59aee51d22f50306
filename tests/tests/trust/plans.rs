//! A plan is data: what a dry run and `stonescriptdb.plan` show is what runs and what is recorded, and it is good for one state only.

use acceptance::{Cluster, Files, Platform, Snapshot, fixtures, shared, sql};
use serde_json::Value;

use crate::history::{changelog, of_deployment};
use crate::{assert_exact, by_hand, migrate};

/// A bundle that changes something of most kinds, with a migration between.
fn grown() -> Files {
    fixtures::shop()
        .edit("types/order_status.pssql", "'sent'", "'sent', 'returned'")
        .edit(
            "tables/products.pssql",
            "price numeric(12,2) NOT NULL",
            "price numeric(14,2) NOT NULL,\n    sku text,\n    CONSTRAINT price_positive CHECK (price > 0)",
        )
        .edit(
            "tables/bookings.pssql",
            "CREATE INDEX bookings_by_customer ON bookings (customer_id)",
            "CREATE INDEX bookings_by_status ON bookings (status)",
        )
        .file(
            "tables/coupons.pssql",
            "CREATE TABLE coupons (code text PRIMARY KEY, used boolean NOT NULL DEFAULT false);\n",
        )
        .file(
            "migrations/001_sku.pssql",
            "ALTER TABLE products ADD COLUMN sku text;\n\nUPDATE products\nSET sku = 'S' || id;\n",
        )
        .edit("functions/count_customers.pssql", "count(*)", "count(*) + 1")
        .without("functions/add_customer.pssql")
}

fn fleet<'a>(cluster: &'a Cluster, prefix: &str) -> Platform<'a> {
    let platform = Platform::register(cluster, prefix, &fixtures::shop());
    platform.register_tenant("a", &fixtures::shop()).ok();
    platform.register_tenant("b", &fixtures::shop()).ok();
    platform
}

type PlanRow = (i32, String, String, Vec<String>, String, bool, bool, bool);

#[track_caller]
fn plan(cluster: &Cluster, platform: &str, tenant: &str, files: &Files) -> Vec<PlanRow> {
    let query = "SELECT seq, object, class, hazards, sql, transactional, lock_timeout >= interval '0', statement_timeout >= interval '0'
                 FROM stonescriptdb.plan($1, $2, $3)";
    let rows = sql::done(cluster.control().query(query, &[&files.tar_gz(), &platform, &tenant]));
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5), row.get(6), row.get(7)))
        .collect()
}

fn statements(rows: &[Value]) -> Vec<(String, String, String)> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.iter().map(|row| (text(row, "object"), text(row, "class"), text(row, "sql"))).collect()
}

#[test]
fn plan_dry_run_deed_and_record_are_the_same() {
    let cluster = shared();
    let platform = fleet(&cluster, "plan");
    let before = Snapshot::of(&cluster, &platform.database_of("a"));
    let shown = plan(&cluster, &platform.name, "a", &grown());
    let dry = migrate(&cluster, &platform, "a", &grown(), &[("dry_run", "true")]).ok().field("status", "planned");
    before.assert_unchanged(&cluster, &platform.database_of("a"), "it was only planned");
    let of_plan: Vec<(String, String, String)> =
        shown.iter().map(|row| (row.1.clone(), row.2.clone(), row.4.clone())).collect();
    let of_dry = statements(dry.array("plan"));
    assert_eq!(of_plan, of_dry, "plan() and a dry run");
    let numbers: Vec<i32> = shown.iter().map(|row| row.0).collect();
    assert_eq!(numbers, (1..=shown.len() as i32).collect::<Vec<_>>());
    assert!(shown.iter().all(|row| ["safe", "dataloss", "incompatible"].contains(&row.2.as_str())), "{shown:#?}");
    assert!(shown.iter().all(|row| row.6 && row.7), "every statement has its timeouts: {shown:#?}");
    for wanted in [
        "'returned'",
        "S' || id",
        "price_positive",
        "bookings_by_status",
        "bookings_by_customer",
        "coupons",
        "count_customers",
        "add_customer",
    ] {
        assert!(shown.iter().any(|row| row.4.contains(wanted)), "{wanted} in {shown:#?}");
    }
    let value = shown.iter().find(|row| row.4.contains("'returned'")).expect("found above");
    assert!(!value.5, "a new enum value is committed before the transaction: {value:?}");
    let index =
        shown.iter().find(|row| row.4.contains("INDEX") && row.4.contains("bookings_by_status")).expect("found above");
    assert!(index.5, "a small table's index is built inside: {index:?}");

    let done = migrate(&cluster, &platform, "a", &grown(), &[]).ok();
    let recorded = statements(&of_deployment(&changelog(&cluster, &platform.name, "a"), &done));
    assert_eq!(recorded, of_dry, "the dry run and the record of the deed");
    assert_eq!(done.str("plan_fingerprint"), dry.str("plan_fingerprint"));
    assert_exact(&cluster, &platform, "a", "the plan ran");
    // Done, there is nothing left to plan.
    assert_eq!(plan(&cluster, &platform.name, "a", &grown()), []);
    let mut client = cluster.connect(&platform.database_of("a"));
    assert_eq!(sql::texts(&mut client, "SELECT sku FROM products ORDER BY id"), ["S1", "S2", "S3"]);
}

#[test]
fn the_plan_of_a_blocked_deployment_can_be_seen_with_its_hazards() {
    let cluster = shared();
    let platform = fleet(&cluster, "hazard");
    let files = fixtures::shop()
        .edit("tables/products.pssql", "price numeric(12,2) NOT NULL", "price numeric(14,4) NOT NULL")
        .edit("tables/customers.pssql", ", joined timestamptz NOT NULL DEFAULT now()", "")
        .edit(
            "tables/products.pssql",
            "id bigint PRIMARY KEY",
            "id bigint PRIMARY KEY, made uuid NOT NULL DEFAULT gen_random_uuid()",
        );
    migrate(&cluster, &platform, "a", &files, &[]).error(409, "schema_validation_failed").says("joined");
    let shown = plan(&cluster, &platform.name, "a", &files);
    let dropped = shown.iter().find(|row| row.4.contains("DROP COLUMN")).unwrap_or_else(|| panic!("{shown:#?}"));
    assert_eq!(dropped.2, "dataloss", "{dropped:?}");
    assert!(dropped.3.contains(&"deletes_data".to_owned()), "{dropped:?}");
    let rewriting =
        |part: &str| shown.iter().any(|row| row.4.contains(part) && row.3.contains(&"rewrites_table".to_owned()));
    assert!(rewriting("numeric(14,4)"), "{shown:#?}");
    assert!(rewriting("gen_random_uuid"), "{shown:#?}");
    // The default is the platform's own database.
    let query = "SELECT count(*) FROM stonescriptdb.plan($1, $2)";
    let count: i64 = sql::done(cluster.control().query_one(query, &[&files.tar_gz(), &platform.name])).get(0);
    assert_eq!(count, shown.len() as i64);
}

#[test]
fn an_approved_plan_runs_and_no_other() {
    let cluster = shared();
    let platform = fleet(&cluster, "approve");
    let dry = migrate(&cluster, &platform, "a", &grown(), &[("dry_run", "true")]).ok();
    let approved = dry.str("plan_fingerprint").to_owned();
    assert_eq!(approved.len(), 64, "{dry}");
    // The state changes after the approval: an index is there already, a column by hand.
    let mut client = cluster.connect(&platform.database_of("a"));
    by_hand(&mut client, "DROP INDEX bookings_by_customer");
    let before = Snapshot::of(&cluster, &platform.database_of("a"));
    let answer = migrate(&cluster, &platform, "a", &grown(), &[("plan", &approved)]);
    assert_eq!(answer.status, 409, "{answer}");
    answer.shaped();
    // A new enum value may have been committed before the plan was found to be another; nothing else.
    let now = Snapshot::of(&cluster, &platform.database_of("a"));
    assert!(before == now, "a stale plan changed something:\n{}", before.difference(&now));
    // Another bundle is another plan too.
    let other = grown().file("tables/more.pssql", "CREATE TABLE more (id int PRIMARY KEY);\n");
    assert_eq!(migrate(&cluster, &platform, "b", &other, &[("plan", &approved)]).status, 409);
    // In the tenants that are still in that state, it runs: one approval serves them all.
    for tenant in ["b", "main"] {
        migrate(&cluster, &platform, tenant, &grown(), &[("plan", &approved)]).ok().field("status", "completed");
        assert_exact(&cluster, &platform, tenant, "the approved plan ran");
    }
    // And over SQL, with a new look.
    let query = "SELECT stonescriptdb.migrate($1, $2, 'a', dry_run => true) ->> 'plan_fingerprint'";
    let fresh: String = sql::done(cluster.control().query_one(query, &[&grown().tar_gz(), &platform.name])).get(0);
    assert_ne!(fresh, approved);
    let query = "SELECT stonescriptdb.migrate($1, $2, 'a', plan => $3)";
    let refused = acceptance::refused(cluster.control().query(query, &[&grown().tar_gz(), &platform.name, &approved]));
    refused.meant();
    sql::done(cluster.control().query(query, &[&grown().tar_gz(), &platform.name, &fresh]));
    assert_exact(&cluster, &platform, "a", "the newly approved plan ran");
}

#[test]
fn an_approved_plan_of_a_bundle_that_changes_nothing_more_is_stale() {
    let cluster = shared();
    let platform = fleet(&cluster, "stale");
    let dry = migrate(&cluster, &platform, "a", &grown(), &[("dry_run", "true")]).ok();
    let approved = dry.str("plan_fingerprint").to_owned();
    migrate(&cluster, &platform, "a", &grown(), &[]).ok();
    // It has run already: the state it was made for is gone.
    assert_eq!(migrate(&cluster, &platform, "a", &grown(), &[("plan", &approved)]).status, 409);
}

#[test]
fn one_state_has_one_fingerprint_however_a_tenant_came_there() {
    let cluster = shared();
    let platform = fleet(&cluster, "finger");
    let look = |tenant: &str, files: &Files| {
        let dry = migrate(&cluster, &platform, tenant, files, &[("dry_run", "true")]).ok();
        let text = |name: &str| dry.str(name).to_owned();
        (text("from_fingerprint"), text("to_fingerprint"), text("plan_fingerprint"))
    };
    let seen: Vec<_> = ["main", "a", "b"].iter().map(|tenant| look(tenant, &grown())).collect();
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
    let (from, to, _) = seen[0].clone();
    assert_ne!(from, to);
    // Rows do not matter.
    platform.call_tenant("a", "add_customer", serde_json::json!(["Ada"])).ok();
    assert_eq!(look("a", &grown()), seen[0]);
    // One was changed by a plan, another is built anew, a third came over another bundle.
    migrate(&cluster, &platform, "a", &grown(), &[]).ok();
    platform.register_tenant("fresh", &grown()).ok();
    migrate(
        &cluster,
        &platform,
        "b",
        &fixtures::shop().file("views/v.pssql", "CREATE VIEW v AS SELECT 1 AS a;\n"),
        &[],
    )
    .ok();
    migrate(&cluster, &platform, "b", &grown(), &[]).ok();
    let next = grown().edit("functions/count_customers.pssql", "+ 1", "+ 2");
    let after: Vec<_> = ["a", "fresh", "b"].iter().map(|tenant| look(tenant, &next)).collect();
    assert!(after.iter().all(|one| *one == after[0]), "{after:#?}");
    assert_eq!(after[0].0, to, "where the first plan led is where the next begins");
    // What somebody does by hand is another state.
    by_hand(&mut cluster.connect(&platform.database_of("b")), "CREATE INDEX own ON products (name)");
    assert_ne!(look("b", &next).0, to);
}
