//! The short way and the long one come to the same.

use acceptance::{Answer, Cluster, Platform, Snapshot, shared, sql};
use serde_json::{Value, json};

use crate::{assert_exact, assert_long, assert_short, by_short_way, forget, migrate, next, shop, two};

/// An answer without what differs between any two.
fn told(answer: &Answer) -> Value {
    let mut body = answer.json.clone();
    for field in ["deployment_id", "execution_time_ms", "databases_updated", "databases"] {
        body.as_object_mut().expect("an object").remove(field);
    }
    body
}

/// The report of the one database of a deployment, without durations and the way.
#[track_caller]
fn report(cluster: &Cluster, answer: &Answer) -> Value {
    let query = "SELECT report FROM stonescriptdb.deployment_database WHERE deployment_id = $1::text::uuid";
    let mut report: Value =
        sql::done(cluster.control().query_one(query, &[&answer.str("deployment_id")])).get("report");
    report.as_object_mut().expect("an object").remove("short");
    for step in report["plan"].as_array_mut().expect("a plan") {
        let duration = step.as_object_mut().expect("a step").remove("duration_ms");
        assert!(duration.is_some_and(|duration| duration.is_number()), "each statement has its duration: {step}");
    }
    report
}

/// The rows of the tracking tables, without times and what only counts.
#[track_caller]
fn tracked(cluster: &Cluster, platform: &Platform<'_>, tenant: &str) -> Vec<String> {
    let mut client = cluster.connect(&platform.database_of(tenant));
    let mut rows = Vec::new();
    for (table, without) in [
        ("_stonescriptdb_gateway_functions", "{id,deployed_at}"),
        ("_stonescriptdb_gateway_migrations", "{id,applied_at}"),
        ("_stonescriptdb_gateway_tables", "{id,deployed_at}"),
        ("_stonescriptdb_state", "{deployed_at,deployment_id,stamp}"),
    ] {
        let query = format!("SELECT (to_jsonb(t) - '{without}'::text[])::text FROM public.{table} t ORDER BY 1");
        rows.extend(sql::texts(&mut client, &query));
    }
    rows.extend(sql::texts(
        &mut client,
        "SELECT concat_ws(' ', change_type, object_name, change_detail - 'duration_ms', forced)
         FROM public._stonescriptdb_gateway_changelog WHERE change_type <> 'database_created' ORDER BY id",
    ));
    rows
}

#[test]
fn both_ways_do_and_tell_the_same() {
    let cluster = shared();
    let platform = two(&cluster, "same");
    forget(&cluster, &platform, "a");
    let before = [platform.snapshot(), Snapshot::of(&cluster, &platform.database_of("a"))];
    let planned =
        ["main", "a"].map(|tenant| migrate(&cluster, &platform, tenant, &next(), &[("dry_run", "true")]).ok());
    assert_short(&cluster, &planned[0]);
    assert_long(&cluster, &planned[1]);
    assert_eq!(told(&planned[0]), told(&planned[1]), "the plan");
    assert_eq!(planned[0].array("plan").len(), 3, "{}", planned[0]);
    for (tenant, before) in ["main", "a"].iter().zip(&before) {
        before.assert_unchanged(&cluster, &platform.database_of(tenant), "it was only planned");
    }
    let done = ["main", "a"].map(|tenant| migrate(&cluster, &platform, tenant, &next(), &[]).ok());
    assert_short(&cluster, &done[0]);
    assert_long(&cluster, &done[1]);
    assert_eq!(told(&done[0]), told(&done[1]), "the answer");
    assert_eq!(report(&cluster, &done[0]), report(&cluster, &done[1]), "the record");
    assert_eq!(tracked(&cluster, &platform, "main"), tracked(&cluster, &platform, "a"), "the tracking tables");
    assert_eq!(done[0].number("functions_updated"), 3, "{}", done[0]);
    assert_eq!(done[0].str("plan_fingerprint"), planned[0].str("plan_fingerprint"), "the plan that was shown");
    assert_eq!(done[0].str("from_fingerprint"), planned[0].str("from_fingerprint"));
    assert_ne!(done[0].str("from_fingerprint"), done[0].str("to_fingerprint"));
    assert_eq!(done[0].json["verification"]["passed"], true, "{}", done[0]);
    for tenant in ["main", "a"] {
        assert_eq!(platform.call_tenant(tenant, "count_customers", json!([])).value(), 10, "{tenant}");
        assert_exact(&cluster, &platform, tenant, &next());
        let again = migrate(&cluster, &platform, tenant, &next(), &[]).ok().field("functions_updated", 0);
        assert_long(&cluster, &again);
    }
}

#[test]
fn one_bundle_after_the_other() {
    let cluster = shared();
    let platform = two(&cluster, "chain");
    for n in 1..6 {
        let files = shop().edit("functions/count_customers.pssql", "count(*)", &format!("count(*) + {n}"));
        let answer = migrate(&cluster, &platform, "main", &files, &[]).ok().field("functions_updated", 1);
        assert_short(&cluster, &answer);
        assert_eq!(platform.call("count_customers", json!([])).value(), n);
        // A new tenant is a copy of the template that was changed, and from then on like any other.
        let tenant = format!("n{n}");
        platform.register_tenant(&tenant, &files).ok();
        assert_eq!(platform.call_tenant(&tenant, "count_customers", json!([])).value(), n);
    }
    // Behind by more than one.
    let last = shop().edit("functions/count_customers.pssql", "count(*)", "count(*) + 9");
    let answer = platform.migrate(&last).ok();
    assert_eq!(answer.array("databases_updated").len(), 7, "{answer}");
    assert_eq!(by_short_way(&cluster, &answer), 2, "main and the tenant that is as new: {answer}");
    for tenant in ["main", "a", "n1", "n2", "n3", "n4", "n5"] {
        assert_eq!(platform.call_tenant(tenant, "count_customers", json!([])).value(), 9, "{tenant}");
        assert_exact(&cluster, &platform, tenant, &last);
    }
}

#[test]
fn a_plan_that_was_looked_at() {
    let cluster = shared();
    let platform = two(&cluster, "look");
    let plan =
        migrate(&cluster, &platform, "main", &next(), &[("dry_run", "true")]).ok().str("plan_fingerprint").to_owned();
    let before = platform.snapshot();
    migrate(&cluster, &platform, "main", &next(), &[("plan", "0123")]).error(409, "schema_validation_failed");
    platform.assert_unchanged(&before, "another plan was asked for");
    assert_short(&cluster, &migrate(&cluster, &platform, "main", &next(), &[("plan", &plan)]).ok());
    assert_exact(&cluster, &platform, "main", &next());
}

#[test]
fn another_spelling_is_no_change() {
    let cluster = shared();
    let platform = two(&cluster, "spell");
    let respelt = next()
        .edit("functions/add_customer.pssql", "INSERT INTO customers", "insert  into /* who */ customers")
        .edit("functions/get_product.pssql", "BEGIN\n", "BEGIN\n    -- one\n");
    let source = |tenant: &str| {
        let body = "SELECT prosrc FROM pg_proc WHERE proname = 'add_customer'";
        sql::text(&mut cluster.connect(&platform.database_of(tenant)), body)
    };
    let before = source("main");
    let answer = migrate(&cluster, &platform, "main", &respelt, &[]).ok().field("functions_updated", 3);
    assert_short(&cluster, &answer);
    assert_eq!(source("main"), before, "it was left as it is");
    assert_exact(&cluster, &platform, "main", &respelt);
    // The proof has it as the tenants have.
    forget(&cluster, &platform, "a");
    let long = migrate(&cluster, &platform, "a", &respelt, &[]).ok();
    assert_eq!(told(&answer), told(&long));
    assert_eq!(tracked(&cluster, &platform, "main"), tracked(&cluster, &platform, "a"));
    platform.register_tenant("b", &respelt).ok();
    // Nothing but spelling; and then one that was spelt anew is changed.
    let more = respelt.clone().edit("functions/many.pssql", "AS 'SELECT", "AS 'select");
    assert_short(&cluster, &migrate(&cluster, &platform, "main", &more, &[]).ok().field("functions_updated", 0));
    let real = more.edit("functions/add_customer.pssql", "(p_name)", "(p_name || '!')");
    for tenant in ["main", "b"] {
        migrate(&cluster, &platform, tenant, &real, &[]).ok();
        assert_exact(&cluster, &platform, tenant, &real);
        platform.call_tenant(tenant, "add_customer", json!(["Ada"])).ok();
        let mut client = cluster.connect(&platform.database_of(tenant));
        assert_eq!(sql::texts(&mut client, "SELECT name FROM customers"), ["Ada!"], "{tenant}");
    }
}

#[test]
fn a_routine_that_is_spelt_otherwise_in_the_tenant() {
    let cluster = shared();
    let platform = two(&cluster, "other");
    // Built from nothing, for there is more: the proof has the new spelling, the tenants keep the old one.
    let grown = shop()
        .edit("functions/add_customer.pssql", "INSERT INTO", "insert\n into")
        .file("tables/more.pssql", "CREATE TABLE more (id int);\n");
    for tenant in ["main", "a"] {
        assert_long(&cluster, &migrate(&cluster, &platform, tenant, &grown, &[]).ok().field("functions_updated", 0));
    }
    forget(&cluster, &platform, "a");
    // It is left alone, then changed, then changed again.
    let first = grown.clone().edit("functions/count_customers.pssql", "count(*)", "count(*) + 3");
    let second = first.clone().edit("functions/add_customer.pssql", "(p_name)", "(p_name || '!')");
    let third = second.clone().edit("functions/add_customer.pssql", "'!'", "'?'");
    for (files, is_short) in [(&first, true), (&second, false), (&third, true)] {
        let dry = ["main", "a"].map(|tenant| migrate(&cluster, &platform, tenant, files, &[("dry_run", "true")]).ok());
        let done = ["main", "a"].map(|tenant| migrate(&cluster, &platform, tenant, files, &[]).ok());
        for pair in [&dry, &done] {
            assert_eq!(by_short_way(&cluster, &pair[0]) == 1, is_short, "{}", pair[0]);
            assert_long(&cluster, &pair[1]);
            assert_eq!(told(&pair[0]), told(&pair[1]));
        }
        assert_eq!(tracked(&cluster, &platform, "main"), tracked(&cluster, &platform, "a"));
        assert_exact(&cluster, &platform, "main", files);
        forget(&cluster, &platform, "a");
    }
}

#[test]
fn rows_of_seeders_are_looked_for() {
    let cluster = shared();
    let platform = two(&cluster, "seeds");
    sql::done(platform.connect().batch_execute("DELETE FROM products WHERE id = 2"));
    sql::done(cluster.connect(&platform.database_of("a")).batch_execute("DELETE FROM products WHERE id = 2"));
    forget(&cluster, &platform, "a");
    let before = platform.snapshot();
    let refused = ["main", "a"].map(|tenant| {
        migrate(&cluster, &platform, tenant, &next(), &[])
            .error(422, "verification_failed")
            .says("seeders/products.pssql")
    });
    assert_eq!(refused[0].json["message"], refused[1].json["message"]);
    platform.assert_unchanged(&before, "a row of a seeder is missing");
    for (field, value) in [("force", "true"), ("seeders", "insert_missing")] {
        // With force nothing is mended, so it is missing the next time too.
        let files = next().edit("functions/add_customer.pssql", "(p_name)", &format!("(p_name || '{field}')"));
        let main = migrate(&cluster, &platform, "main", &files, &[(field, value)]).ok();
        let other = migrate(&cluster, &platform, "a", &files, &[(field, value)]).ok();
        assert_eq!(told(&main), told(&other), "{field}");
        forget(&cluster, &platform, "a");
    }
    assert_eq!(sql::text(&mut platform.connect(), "SELECT count(*) FROM products"), "3");
    // A bundle that was proved after another one keeps what leads from that: one that is new is proved after the present one.
    let last = next().edit("functions/add_customer.pssql", "(p_name)", "(p_name || 'last')");
    assert_short(&cluster, &migrate(&cluster, &platform, "main", &last, &[]).ok());
    assert_exact(&cluster, &platform, "main", &last);
}

#[test]
fn a_seeder_that_calls_what_has_changed() {
    let cluster = shared();
    let bundle = |rate: u32| {
        shop()
            .file(
                "functions/rate.pssql",
                format!("CREATE FUNCTION rate() RETURNS int LANGUAGE sql AS 'SELECT {rate}';\n"),
            )
            .file("tables/rates.pssql", "CREATE TABLE rates (id int PRIMARY KEY, rate int NOT NULL);\n")
            .file("seeders/rates.pssql", "INSERT INTO rates SELECT rate(), 5 * rate();\n")
    };
    let platform = Platform::register(&cluster, "rates", &bundle(1));
    // The row that the seeder makes now is another one.
    let refused = migrate(&cluster, &platform, "main", &bundle(2), &[]).error(422, "verification_failed").says("(2");
    assert_eq!(refused.str("file"), "seeders/rates.pssql", "{refused}");
    let answer = migrate(&cluster, &platform, "main", &bundle(2), &[("seeders", "insert_missing")]).ok();
    assert_short(&cluster, &answer);
    assert_eq!(sql::texts(&mut platform.connect(), "SELECT rate FROM rates ORDER BY 1"), ["5", "10"]);
    platform.register_tenant("new", &bundle(2)).ok();
    let mut new = cluster.connect(&platform.database_of("new"));
    assert_eq!(sql::texts(&mut new, "SELECT rate FROM rates"), ["10"]);
}
