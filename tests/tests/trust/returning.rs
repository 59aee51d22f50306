//! Back to the standalone gateway, by the commands of docs/moving.md.

use std::path::Path;

use acceptance::{Cluster, Platform, server, sql};
use postgres::Client;
use serde_json::{Value, json};

use crate::gateway::{self, ADD_CUSTOMER, COUNT, checksum};
use crate::{applied, assert_exact, by_hand};

/// The block behind a comment of docs/moving.md, with a tenant's names in the places of the document's.
fn commands(of: &str, database: &str, platform: &str, role: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/moving.md");
    let text = std::fs::read_to_string(path).expect("docs/moving.md");
    let (_, behind) = text.split_once(&format!("<!-- {of} -->\n")).unwrap_or_else(|| panic!("no comment {of}"));
    let lines = behind.lines().skip_while(|line| line.trim().is_empty());
    let block = lines.map_while(|line| line.strip_prefix("       ")).collect::<Vec<_>>().join("\n");
    assert!(!block.is_empty(), "no commands behind {of}");
    block
        .replace("platform=shop ", &format!("platform={platform} "))
        .replace("shop_main", database)
        .replace("stonescriptdb_shop_", &format!("stonescriptdb_{platform}_"))
        .replace("TO gateway;", &format!("TO {role};"))
}

/// Runs commands as somebody who is at the server; what they print.
#[track_caller]
fn run(cluster: &Cluster, commands: &str) -> String {
    let psql = cluster.client_program("psql");
    // Its environment is what reaches the server.
    let mut sh = server::command("sh", cluster.dir());
    sh.envs(psql.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let path = std::env::var("PATH").unwrap_or_default();
    sh.env("PATH", format!("{}:{path}", server::bin_dir().display()));
    sh.arg("-ec").arg(commands);
    String::from_utf8(server::run(sh).stdout).expect("text")
}

/// What belongs to whom, who may what, and what is written down: all that the gateway meets.
fn seen(client: &mut Client) -> Vec<String> {
    let mut all = sql::texts(
        client,
        "SELECT what FROM (
             SELECT format('%s of %s', c.oid::regclass, c.relowner::regrole) FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
             UNION ALL SELECT format('%s of %s', p.oid::regprocedure, p.proowner::regrole) FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
             UNION ALL SELECT format('%s of %s', t.oid::regtype, t.typowner::regrole) FROM pg_type t WHERE t.typnamespace = 'public'::regnamespace
             UNION ALL SELECT format('public of %s', n.nspowner::regrole) FROM pg_namespace n WHERE n.nspname = 'public'
             UNION ALL SELECT format('database of %s, PUBLIC may %s', d.datdba::regrole, string_agg(a.privilege_type, ' ' ORDER BY a.privilege_type))
                FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                WHERE d.datname = current_database() AND a.grantee = 0 GROUP BY d.datdba
             UNION ALL SELECT format('default %s', d.defaclacl) FROM pg_default_acl d) o(what) ORDER BY 1",
    );
    for (table, columns) in [
        ("migrations", "id, migration_file, checksum, applied_at"),
        ("types", "id, type_name, type_kind, checksum, source_file, deployed_at"),
        ("tables", "id, table_name, checksum, source_file, deployed_at"),
        (
            "functions",
            "id, function_name, signature, param_types, return_type, body_checksum, source_file, deployed_at",
        ),
        ("changelog", "id, change_type, object_name, change_detail, forced, executed_at"),
    ] {
        let query =
            format!("SELECT concat_ws(' ', '{table}', {columns}) FROM _stonescriptdb_gateway_{table} ORDER BY 1");
        all.extend(sql::texts(client, &query));
    }
    all
}

/// What the gateway deploys after that.
const CITY: &str = "ALTER TABLE customers ADD COLUMN IF NOT EXISTS city TEXT;\n";
const VISITS: &str = "CREATE TABLE visits (id SERIAL PRIMARY KEY, customer_id INT REFERENCES customers(id));\n";
const WITH_CITY: &str = "CREATE OR REPLACE FUNCTION add_customer(p_name VARCHAR, p_city TEXT) RETURNS INTEGER AS $$\n    \
    INSERT INTO customers (name, city) VALUES (p_name, p_city) RETURNING id $$ LANGUAGE sql;\n";

/// A deployment of the gateway, as the role that it connects as: what it asks, and what it does where something is otherwise.
#[track_caller]
fn gateway_deploys(client: &mut Client) {
    assert_eq!(applied(client), ["001_first.pssql"], "it asks which migrations are applied");
    by_hand(client, CITY);
    by_hand(client, VISITS);
    let migrated = "INSERT INTO _stonescriptdb_gateway_migrations (migration_file, checksum) VALUES ('002_city.pssql', encode(sha256($1), 'hex'))";
    sql::done(client.execute(migrated, &[&CITY.as_bytes()]));
    by_hand(
        client,
        "INSERT INTO _stonescriptdb_gateway_changelog (change_type, object_name) VALUES ('migration', '002_city.pssql')",
    );
    let known =
        "SELECT body_checksum FROM _stonescriptdb_gateway_functions WHERE function_name = $1 AND param_types = $2";
    for (name, types, text) in [("add_customer", vec!["VARCHAR"], ADD_CUSTOMER), ("count_customers", vec![], COUNT)] {
        let sum = checksum(client, text);
        let row = sql::done(client.query_opt(known, &[&name, &types]));
        assert_eq!(row.map(|row| row.get::<_, String>(0)), Some(sum), "{name} counts as unchanged");
    }
    by_hand(client, WITH_CITY);
    // Parameters are others: the old function goes, the new one comes.
    by_hand(
        client,
        "DROP FUNCTION IF EXISTS add_customer(VARCHAR);
         DELETE FROM _stonescriptdb_gateway_functions WHERE function_name = 'add_customer' AND param_types = '{VARCHAR}';
         INSERT INTO _stonescriptdb_gateway_functions (function_name, signature, param_types, return_type, body_checksum, source_file, deployed_at)
         VALUES ('add_customer', 'add_customer(VARCHAR, TEXT)', '{VARCHAR,TEXT}', 'INTEGER', 'sum', 'add_customer.pssql', NOW())
         ON CONFLICT (function_name, param_types) DO UPDATE SET body_checksum = EXCLUDED.body_checksum",
    );
    assert_eq!(sql::text(client, "SELECT add_customer('Alan', 'London')::text"), "5", "it calls as itself");
}

#[test]
fn a_database_goes_back_to_its_gateway() {
    // The extension is dropped on the way.
    let cluster = Cluster::start();
    let platform = Platform::unregistered(&cluster, "back");
    let name = platform.name.as_str();
    by_hand(&mut cluster.control(), "CREATE ROLE gateway_role LOGIN CREATEDB");
    let tenants = ["main", "acme"];
    let mut before = Vec::new();
    std::fs::write(cluster.dir().join("postgresql.tar.gz"), gateway::bundle().tar_gz()).expect("a bundle");
    for tenant in tenants {
        let database = platform.database_of(tenant);
        let mut client = gateway::database_of("gateway_role", &cluster, &platform, tenant);
        before.push(seen(&mut client));
        if tenant == "main" {
            let look = commands("looked at", &database, name, "gateway_role");
            let printed = run(&cluster, &look.replace("localhost:9001", &format!("127.0.0.1:{}", cluster.port())));
            let answer: Value = serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}"));
            assert_eq!((&answer["status"], &answer["plan"]), (&json!("planned"), &json!([])), "{answer:#}");
            assert_eq!(Some(&seen(&mut client)), before.last(), "it was given back");
        }
        drop(client);
        run(&cluster, &commands("kept", &database, name, "gateway_role"));
        platform.register_tenant(tenant, &gateway::bundle()).ok().field("migrations_applied", 0);
        assert_exact(&cluster, &platform, tenant, "it was taken over");
        assert_eq!(platform.call_tenant(tenant, "add_customer", json!(["Barbara"])).value(), 4);
        acceptance::refused(cluster.try_connect_as("gateway_role", &database).map(drop)).sqlstate("42501");
    }

    run(&cluster, &commands("let go", "", name, "gateway_role"));
    for tenant in tenants {
        run(&cluster, &commands("given back", &platform.database_of(tenant), name, "gateway_role"));
    }
    for (tenant, before) in tenants.into_iter().zip(before) {
        let mut client = cluster.connect_as("gateway_role", &platform.database_of(tenant));
        assert_eq!(seen(&mut client), before, "{tenant} is as the gateway left it");
        let names = sql::texts(&mut client, "SELECT name FROM customers ORDER BY id");
        assert_eq!(names, ["Ada", "Edsger", "Barbara"], "the rows are those of today");
        gateway_deploys(&mut client);
    }

    // And here again.
    cluster.create_extension();
    let files = gateway::bundle()
        .edit("tables/customers.pssql", "DEFAULT NOW()", "DEFAULT NOW(),\n    city TEXT")
        .file("tables/visits.pssql", VISITS)
        .file("migrations/002_city.pssql", CITY)
        .without("functions/add_customer.pssql")
        .file("functions/add_customer.pssql", WITH_CITY);
    for tenant in tenants {
        let answer = platform.register_tenant(tenant, &files).ok();
        assert_eq!((answer.number("migrations_applied"), answer.number("tables_created")), (0, 0), "{answer}");
        assert_exact(&cluster, &platform, tenant, "it was taken over again");
        assert_eq!(platform.call_tenant(tenant, "add_customer", json!(["Tony", "London"])).value(), 6);
    }
}
