//! A database that the standalone gateway deployed is taken over as it stands.

use acceptance::{Cluster, Platform, shared, sql};
use postgres::Client;
use serde_json::json;

use crate::gateway::{self, Whole};
use crate::{applied, assert_exact, by_hand, migrate};

/// The rows that were there before are there, and the migration was not run again.
#[track_caller]
fn assert_rows(client: &mut Client) {
    assert_eq!(sql::texts(client, "SELECT id || ' ' || name FROM customers ORDER BY id"), ["1 Ada", "3 Edsger"]);
    let orders = "SELECT concat_ws(' ', id, customer_id, status, total) FROM orders ORDER BY id";
    assert_eq!(sql::texts(client, orders), ["1 1 paid 12.50", "2 3 new"]);
    assert_eq!(
        sql::texts(client, "SELECT id || ' ' || note FROM ledger"),
        ["1 opening balance"],
        "the migration ran again"
    );
    assert_eq!(applied(client), ["001_first.pssql"]);
}

/// Objects that are not the owner role's: of tables, sequences, types, routines, schemas and the database itself.
const NOT_THE_OWNERS: &str = "
    SELECT kind || ' ' || name FROM (
        SELECT 'relation', c.oid::regclass::text, c.relowner FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
        UNION ALL SELECT 'routine', p.oid::regprocedure::text, p.proowner FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
        UNION ALL SELECT 'type', t.oid::regtype::text, t.typowner FROM pg_type t WHERE t.typnamespace = 'public'::regnamespace
        UNION ALL SELECT 'database', d.datname, d.datdba FROM pg_database d WHERE d.datname = current_database()
    ) o(kind, name, owner) WHERE owner <> '{owner}'::regrole ORDER BY 1";

#[track_caller]
fn assert_taken_over(cluster: &Cluster, platform: &Platform<'_>, tenant: &str) {
    let mut client = cluster.connect(&platform.database_of(tenant));
    let strangers = NOT_THE_OWNERS.replace("{owner}", &platform.owner_role());
    assert_eq!(sql::texts(&mut client, &strangers), Vec::<String>::new(), "not the owner role's");
    let public = sql::text(
        &mut client,
        "SELECT EXISTS (SELECT FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                        WHERE d.datname = current_database() AND a.grantee = 0)",
    );
    assert_eq!(public, "f", "anybody may connect");
    let state = format!(
        "SELECT state FROM stonescriptdb.databases WHERE platform = '{}' AND database = '{}'",
        platform.name,
        platform.database_of(tenant)
    );
    assert_eq!(sql::texts(&mut cluster.control(), &state), ["ready"]);
    assert_exact(cluster, platform, tenant, "it was taken over");
    // The call role may call and write, but not forge what is tracked.
    assert_eq!(platform.call_tenant(tenant, "count_customers", json!([])).value(), 2);
    assert_eq!(platform.call_tenant(tenant, "add_customer", json!(["Barbara"])).value(), 4, "the sequence goes on");
    let mut caller = cluster.connect_as(&platform.call_role(), &platform.database_of(tenant));
    by_hand(&mut caller, "UPDATE orders SET status = 'sent' WHERE id = 1; INSERT INTO ledger (note) VALUES ('x')");
    for table in ["migrations", "types", "tables", "functions", "changelog"] {
        let refused =
            acceptance::refused(caller.batch_execute(&format!("DELETE FROM public._stonescriptdb_gateway_{table}")));
        refused.sqlstate("42501");
    }
    acceptance::refused(caller.batch_execute("CREATE TABLE own (id int)")).sqlstate("42501");
}

#[test]
fn register_takes_a_gateways_database_over() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "adreg");
    let mut client = gateway::database(&cluster, &platform, "main");
    let answer = platform.register_again(&gateway::bundle()).ok().field("status", "ready");
    assert_eq!(answer.number("migrations_applied"), 0, "{answer}");
    assert_eq!(answer.number("tables_created"), 0, "{answer}");
    assert_eq!(answer.number("functions_deployed"), 3, "{answer}");
    assert_eq!(answer.str("database"), platform.database());
    assert_rows(&mut client);
    // What the gateway recorded is still there, and no function is recorded twice.
    assert_eq!(
        sql::text(
            &mut client,
            "SELECT count(*) FROM _stonescriptdb_gateway_changelog WHERE change_detail = '{\"a\": 1}'"
        ),
        "1"
    );
    let functions = "SELECT function_name FROM _stonescriptdb_gateway_functions ORDER BY 1";
    assert_eq!(sql::texts(&mut client, functions), ["add_customer", "count_customers", "old_one"]);
    drop(client);
    assert_taken_over(&cluster, &platform, "main");
    // And it is one like any other from now on.
    let before = platform.snapshot();
    platform.register_again(&gateway::bundle()).ok().field("migrations_applied", 0);
    platform.assert_unchanged(&before, "it is up to date");
}

#[test]
fn migrate_takes_a_gateways_database_over() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "admig");
    let mut client = gateway::database(&cluster, &platform, "main");
    let answer = platform.migrate(&gateway::bundle()).ok().field("status", "completed").field("migrations_applied", 0);
    assert_eq!(answer.array("databases_updated"), [json!(platform.database())], "{answer}");
    assert_rows(&mut client);
    drop(client);
    assert_taken_over(&cluster, &platform, "main");
}

#[test]
fn what_is_new_in_the_bundle_is_applied_while_it_is_taken_over() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "adnew");
    let mut client = gateway::database(&cluster, &platform, "main");
    let files = gateway::bundle()
        .without("functions/old_one.pssql")
        .edit("functions/count_customers.pssql", "COUNT(*)", "COUNT(*) + 100")
        .edit(
            "tables/customers.pssql",
            "name VARCHAR(255) NOT NULL UNIQUE,",
            "name VARCHAR(255) NOT NULL UNIQUE,\n    city TEXT,",
        )
        .file("migrations/002_second.pssql", "INSERT INTO ledger (note) SELECT name FROM customers ORDER BY id;\n")
        .file("tables/notes.pssql", "CREATE TABLE notes (id int PRIMARY KEY, text text);\n")
        .file("seeders/notes.pssql", "INSERT INTO notes (id, text) VALUES (1, 'hello');\n");
    platform.register_again(&files).ok().field("migrations_applied", 1);
    let notes = sql::texts(&mut client, "SELECT note FROM ledger ORDER BY id");
    assert_eq!(notes, ["opening balance", "Ada", "Edsger"], "the old one once, the new one once");
    assert_eq!(applied(&mut client), ["001_first.pssql", "002_second.pssql"]);
    assert_eq!(sql::texts(&mut client, "SELECT text FROM notes"), ["hello"]);
    assert_eq!(
        sql::texts(&mut client, "SELECT name || coalesce(city, '-') FROM customers ORDER BY id"),
        ["Ada-", "Edsger-"]
    );
    assert_eq!(platform.call("count_customers", json!([])).value(), 102);
    platform.call("old_one", json!([1])).error(404, "function_not_found");
    assert_eq!(
        sql::text(&mut client, "SELECT to_regproc('old_one') IS NULL"),
        "t",
        "the gateway deployed it, the bundle has it no more"
    );
    assert_exact(&cluster, &platform, "main", "it was taken over");
}

#[test]
fn a_gateways_tenants_are_taken_over_one_by_one() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "adten");
    for tenant in ["main", "acme", "globex"] {
        drop(gateway::database(&cluster, &platform, tenant));
    }
    platform.register_again(&gateway::bundle()).ok();
    let globex = Whole::of(&cluster, &platform.database_of("globex"));
    platform.register_tenant("acme", &gateway::bundle()).ok().field("migrations_applied", 0);
    assert_taken_over(&cluster, &platform, "acme");
    globex.assert_same(&cluster, &platform.database_of("globex"), "nobody named it");
    migrate(&cluster, &platform, "globex", &gateway::bundle(), &[]).ok();
    assert_taken_over(&cluster, &platform, "globex");
}

#[test]
fn what_a_dba_made_beside_the_bundle_stays() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "adown");
    let mut client = gateway::database(&cluster, &platform, "main");
    by_hand(
        &mut client,
        "CREATE EXTENSION pgcrypto; CREATE SCHEMA reports; CREATE TABLE reports.monthly (n int); INSERT INTO reports.monthly VALUES (7);
         CREATE TABLE old_import (a text); INSERT INTO old_import VALUES ('x'); CREATE VIEW dba_view AS SELECT count(*) AS n FROM orders;
         CREATE FUNCTION dba_tool() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
    let answer = platform.register_again(&gateway::bundle()).ok();
    assert!(crate::warnings(&answer).contains("old_import"), "a table that nobody declared is reported: {answer}");
    assert_eq!(sql::text(&mut client, "SELECT n FROM reports.monthly"), "7");
    assert_eq!(sql::text(&mut client, "SELECT a FROM old_import"), "x");
    assert_eq!(sql::text(&mut client, "SELECT n FROM dba_view"), "2");
    assert_eq!(sql::text(&mut client, "SELECT dba_tool()"), "1", "the gateway did not deploy it");
    assert_eq!(sql::text(&mut client, "SELECT digest('a', 'sha256') IS NOT NULL"), "t");
    platform.call("dba_tool", json!([])).error(403, "unauthorized_function");
    assert_rows(&mut client);
}

#[test]
fn a_changed_migration_is_named_and_the_database_left_to_its_gateway() {
    let cluster = shared();
    let edited = gateway::bundle().edit("migrations/001_first.pssql", "opening balance", "opening  balance");
    for how in ["register", "migrate"] {
        let platform = Platform::unregistered(&cluster, "adedit");
        let mut client = gateway::database(&cluster, &platform, "main");
        let answer = if how == "register" { platform.register_again(&edited) } else { platform.migrate(&edited) };
        answer.error(409, "migration_changed").says("001_first.pssql");
        assert_rows(&mut client);
        // With the right file it goes in.
        platform.register_again(&gateway::bundle()).ok().field("migrations_applied", 0);
        assert_rows(&mut client);
        drop(client);
        assert_taken_over(&cluster, &platform, "main");
    }
}

/// The gateway may still serve it: a failed deployment leaves a database exactly as it was, its owners and rights too.
#[test]
fn a_failure_leaves_a_gateways_database_exactly_as_it_was() {
    let cluster = shared();
    for (files, status, code) in [
        (gateway::bundle().edit("migrations/001_first.pssql", "opening", "closing"), 409, "migration_changed"),
        (
            gateway::bundle().edit("tables/orders.pssql", "NUMERIC(12,2)", "NUMERIC(8,2)"),
            409,
            "schema_validation_failed",
        ),
        (
            gateway::bundle().file(
                "migrations/002_bad.pssql",
                "UPDATE customers SET id = id / (SELECT count(*) - 2 FROM customers);\n",
            ),
            422,
            "migration_failed",
        ),
    ] {
        let platform = Platform::unregistered(&cluster, "adfail");
        drop(gateway::database(&cluster, &platform, "main"));
        let before = Whole::of(&cluster, &platform.database());
        platform.register_again(&files).error(status, code);
        before.assert_same(&cluster, &platform.database(), code);
        platform.call("count_customers", json!([])).client_error();
        platform.register_again(&gateway::bundle()).ok();
    }
}

#[test]
fn a_dry_run_on_a_gateways_database_changes_nothing() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "addry");
    drop(gateway::database(&cluster, &platform, "main"));
    let before = Whole::of(&cluster, &platform.database());
    let answer = migrate(&cluster, &platform, "main", &gateway::bundle(), &[("dry_run", "true")]);
    before.assert_same(&cluster, &platform.database(), &format!("it was a dry run: {answer}"));
    platform.register_again(&gateway::bundle()).ok().field("migrations_applied", 0);
}

#[test]
fn with_adoption_off_the_name_is_taken() {
    let cluster = Cluster::builder().setting("stonescriptdb.adopt_gateway_databases", "off").start();
    let platform = Platform::unregistered(&cluster, "adoff");
    drop(gateway::database(&cluster, &platform, "main"));
    let before = Whole::of(&cluster, &platform.database());
    let answer = platform.register_again(&gateway::bundle()).error(409, "database_already_exists");
    assert!(!answer.str("hint").is_empty(), "{answer}");
    before.assert_same(&cluster, &platform.database(), "adoption is off");
    platform.migrate(&gateway::bundle()).client_error();
    before.assert_same(&cluster, &platform.database(), "adoption is off");
    let listed = format!("SELECT database FROM stonescriptdb.databases WHERE platform = '{}'", platform.name);
    assert_eq!(sql::texts(&mut cluster.control(), &listed), Vec::<String>::new());
    // Switched on, it is taken over.
    cluster.configure("stonescriptdb.adopt_gateway_databases", "on");
    cluster.reload();
    acceptance::eventually("the setting to count", || {
        let answer = platform.register_again(&gateway::bundle());
        acceptance::wait::check(answer.status == 200, &answer)
    });
    assert_taken_over(&cluster, &platform, "main");
}

#[test]
fn a_database_that_is_nobodys_gateway_is_not_touched() {
    let cluster = shared();
    for extra in [
        "",
        "CREATE TABLE _stonescriptdb_gateway_migrations (id int); CREATE TABLE _stonescriptdb_gateway_functions (id int);",
    ] {
        let platform = Platform::unregistered(&cluster, "adnone");
        sql::done(cluster.control().batch_execute(&format!("CREATE DATABASE {}", platform.database())));
        let mut client = platform.connect();
        by_hand(&mut client, "CREATE TABLE customers (id int); INSERT INTO customers VALUES (1);");
        by_hand(&mut client, extra);
        drop(client);
        let before = Whole::of(&cluster, &platform.database());
        let answer = platform.register_again(&gateway::bundle()).client_error();
        before.assert_same(&cluster, &platform.database(), &format!("it is not the gateway's ({extra}): {answer}"));
        platform.migrate(&gateway::bundle()).client_error();
        before.assert_same(&cluster, &platform.database(), &format!("it is not the gateway's ({extra})"));
        if extra.is_empty() {
            assert_eq!((answer.status, answer.code()), (409, "database_already_exists"), "{answer}");
        }
        let listed = format!("SELECT database FROM stonescriptdb.databases WHERE platform = '{}'", platform.name);
        assert_eq!(sql::texts(&mut cluster.control(), &listed), Vec::<String>::new());
    }
}
