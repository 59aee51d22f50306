//! Where a database or a bundle is otherwise than the short way takes for granted.

use acceptance::{Cluster, Files, Platform, shared, sql};
use serde_json::json;

use crate::{assert_exact, assert_long, assert_short, migrate, next, shop, two};

/// Runs statements as superuser in a tenant's database.
#[track_caller]
fn by_hand(cluster: &Cluster, platform: &Platform<'_>, tenant: &str, statements: &str) {
    let mut client = cluster.connect(&platform.database_of(tenant));
    client.batch_execute(statements).unwrap_or_else(|e| panic!("{statements}: {}", sql::describe(&e)));
}

#[test]
fn a_database_that_somebody_changed_is_repaired() {
    let cluster = shared();
    for (what, change) in [
        ("fn", "DROP FUNCTION count_customers()"),
        ("other", "DROP FUNCTION get_product(bigint)"),
        (
            "body",
            "CREATE OR REPLACE FUNCTION count_customers() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 99::bigint'",
        ),
        ("vol", "ALTER FUNCTION count_customers() VOLATILE"),
        (
            "acl",
            "REVOKE EXECUTE ON FUNCTION twice(int) FROM PUBLIC; GRANT EXECUTE ON FUNCTION twice(int) TO pg_monitor",
        ),
        ("note", "COMMENT ON FUNCTION twice(text) IS 'by hand'"),
        ("index", "DROP INDEX bookings_by_customer"),
        ("column", "ALTER TABLE products ALTER name SET DEFAULT 'x'"),
    ] {
        let platform = two(&cluster, &format!("drift{what}"));
        by_hand(&cluster, &platform, "main", change);
        let answer = migrate(&cluster, &platform, "main", &next(), &[]).ok();
        assert_long(&cluster, &answer);
        assert_exact(&cluster, &platform, "main", &next());
        assert_eq!(platform.call("count_customers", json!([])).value(), 10, "{change}");
        // Its neighbour does not suffer from it, and neither does it the next time.
        assert_short(&cluster, &migrate(&cluster, &platform, "a", &next(), &[]).ok());
        let more = next().edit("functions/add_customer.pssql", "(p_name)", "(p_name || '!')");
        assert_short(&cluster, &migrate(&cluster, &platform, "main", &more, &[]).ok());
        assert_exact(&cluster, &platform, "main", &more);
    }
}

#[test]
fn what_nobody_declared_is_told_of_each_time() {
    let cluster = shared();
    let platform = two(&cluster, "extra");
    by_hand(&cluster, &platform, "main", "CREATE TABLE by_a_dba (id int)");
    for n in 1..4 {
        let files = shop().edit("functions/count_customers.pssql", "count(*)", &format!("count(*) + {n}"));
        let answer = migrate(&cluster, &platform, "main", &files, &[]).ok().says("by_a_dba");
        assert_long(&cluster, &answer);
        assert_eq!(platform.call("count_customers", json!([])).value(), n);
    }
}

#[test]
fn tracking_rows_that_somebody_deleted_are_written_again() {
    let cluster = shared();
    let platform = two(&cluster, "rows");
    by_hand(
        &cluster,
        &platform,
        "main",
        "DELETE FROM _stonescriptdb_gateway_functions WHERE function_name = 'get_product'",
    );
    platform.call("get_product", json!([1])).client_error();
    assert_long(&cluster, &migrate(&cluster, &platform, "main", &next(), &[]).ok());
    platform.call("get_product", json!([1])).ok();
    // Whoever deletes the row of a migration wants it to run again.
    by_hand(&cluster, &platform, "a", "DELETE FROM _stonescriptdb_gateway_migrations");
    let answer = migrate(&cluster, &platform, "a", &next(), &[]).ok().field("migrations_applied", 1);
    assert_long(&cluster, &answer);
    for tenant in ["main", "a"] {
        assert_exact(&cluster, &platform, tenant, &next());
    }
}

#[test]
fn a_database_that_an_earlier_build_deployed() {
    let cluster = shared();
    let platform = two(&cluster, "older");
    by_hand(&cluster, &platform, "main", "ALTER TABLE _stonescriptdb_state DROP COLUMN fingerprint");
    assert_long(&cluster, &migrate(&cluster, &platform, "main", &next(), &[]).ok());
    assert_exact(&cluster, &platform, "main", &next());
    let more = next().edit("functions/add_customer.pssql", "(p_name)", "(p_name || '!')");
    assert_short(&cluster, &migrate(&cluster, &platform, "main", &more, &[]).ok());
}

#[test]
fn more_than_a_body_goes_the_long_way() {
    let cluster = shared();
    let count = "functions/count_customers.pssql";
    let bundles: [(&str, Files); 10] = [
        ("another parameter", shop().edit(count, "count_customers()", "count_customers(more int DEFAULT 1)")),
        ("another result", shop().edit(count, "RETURNS bigint", "RETURNS numeric")),
        ("another volatility", shop().edit(count, "STABLE", "VOLATILE")),
        ("another cost", shop().edit(count, "STABLE", "STABLE COST 5")),
        ("a setting", shop().edit(count, "STABLE", "STABLE SET work_mem = '5MB'")),
        ("rights of the owner", shop().edit(count, "STABLE", "STABLE SECURITY DEFINER")),
        (
            "another language",
            shop().edit(count, "sql STABLE AS $$ SELECT", "plpgsql STABLE AS $$ BEGIN RETURN").edit(
                count,
                "FROM customers",
                "FROM customers; END",
            ),
        ),
        (
            "a body that is parsed",
            shop().edit(count, "AS $$ SELECT", "BEGIN ATOMIC SELECT").edit(count, "customers $$", "customers; END"),
        ),
        ("a default", shop().edit("functions/list_products.pssql", "DEFAULT 10", "DEFAULT 20")),
        (
            "one function more",
            shop().edit(
                "functions/many.pssql",
                "CREATE PROCEDURE",
                "CREATE FUNCTION one_more() RETURNS int LANGUAGE sql AS 'SELECT 1';\nCREATE PROCEDURE",
            ),
        ),
    ];
    for (what, files) in bundles {
        let platform = two(&cluster, "more");
        let answer = migrate(&cluster, &platform, "main", &files, &[]).ok();
        assert_long(&cluster, &answer);
        assert!(answer.number("functions_updated") > 0, "{what}: {answer}");
        assert_exact(&cluster, &platform, "main", &files);
        // And from there on it is short again, where the body is a text.
        if what != "a body that is parsed" {
            let more = files.edit("functions/add_customer.pssql", "(p_name)", "(p_name || '!')");
            assert_short(&cluster, &migrate(&cluster, &platform, "main", &more, &[]).ok());
            assert_exact(&cluster, &platform, "main", &more);
        }
    }
}

#[test]
fn something_else_beside_a_body_goes_the_long_way() {
    let cluster = shared();
    let platform = two(&cluster, "beside");
    let files = next().edit("views/product_names.pssql", "upper(name)", "lower(name)");
    assert_long(&cluster, &migrate(&cluster, &platform, "main", &files, &[]).ok());
    assert_exact(&cluster, &platform, "main", &files);
    let moved = files.without("functions/add_customer.pssql").file(
        "functions/more/add_customer.pssql",
        "CREATE FUNCTION add_customer(p_name text) RETURNS bigint LANGUAGE sql AS\n$$ INSERT INTO customers (name) VALUES (p_name || '?') RETURNING id $$;\n",
    );
    assert_long(&cluster, &migrate(&cluster, &platform, "main", &moved, &[]).ok());
    assert_exact(&cluster, &platform, "main", &moved);
}

#[test]
fn a_database_that_is_behind_a_migration_without_a_transaction() {
    let cluster = shared();
    let platform = two(&cluster, "behind");
    let index =
        "-- stonescriptdb: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS by_name ON products (name);\n";
    let with_index = |files: Files| files.file("migrations/002_index.pssql", index);
    migrate(&cluster, &platform, "a", &with_index(shop()), &[]).ok();
    assert_short(&cluster, &migrate(&cluster, &platform, "a", &with_index(next()), &[]).ok());
    let answer = migrate(&cluster, &platform, "main", &with_index(next()), &[]).ok().field("status", "completed");
    assert_long(&cluster, &answer);
    for tenant in ["main", "a"] {
        assert_eq!(platform.call_tenant(tenant, "count_customers", json!([])).value(), 10, "{tenant}");
        assert_exact(&cluster, &platform, tenant, &with_index(next()));
    }
}

#[test]
fn what_a_dbas_event_trigger_does_is_seen() {
    let cluster = shared();
    let platform = two(&cluster, "event");
    by_hand(
        &cluster,
        &platform,
        "main",
        "CREATE FUNCTION meddle() RETURNS event_trigger LANGUAGE plpgsql AS $$
             BEGIN EXECUTE 'COMMENT ON TABLE public.products IS ' || quote_literal(clock_timestamp()); END $$;
         CREATE EVENT TRIGGER meddle ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION') EXECUTE FUNCTION meddle()",
    );
    // The state with the trigger is recorded, and it is said that this is the bundle's own: only what the trigger does can tell.
    migrate(&cluster, &platform, "main", &shop(), &[("verify", "full")]).ok();
    let sha256 = sql::text(&mut platform.connect(), "SELECT bundle_sha256 FROM _stonescriptdb_state");
    let fingerprint = sql::text(
        &mut cluster.control(),
        &format!(
            "SELECT fingerprint FROM stonescriptdb.bundle WHERE sha256 = '{sha256}' AND platform = '{}'",
            platform.name
        ),
    );
    by_hand(&cluster, &platform, "main", &format!("UPDATE _stonescriptdb_state SET fingerprint = '{fingerprint}'"));
    assert_short(&cluster, &migrate(&cluster, &platform, "main", &next(), &[("dry_run", "true")]).ok());
    let answer = migrate(&cluster, &platform, "main", &next(), &[]).ok();
    assert_long(&cluster, &answer);
    assert_eq!(platform.call("count_customers", json!([])).value(), 10);
    let comment = "SELECT coalesce(obj_description('products'::regclass), 'none')";
    assert_eq!(sql::text(&mut platform.connect(), comment), "none", "the long way put it right");
    // One that forbids it is heard.
    by_hand(
        &cluster,
        &platform,
        "a",
        "CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
         CREATE EVENT TRIGGER forbid ON ddl_command_start WHEN TAG IN ('CREATE FUNCTION') EXECUTE FUNCTION forbid()",
    );
    migrate(&cluster, &platform, "a", &next(), &[]).error(422, "function_deploy_failed").says("not today");
    assert_eq!(platform.call_tenant("a", "count_customers", json!([])).value(), 0);
}
