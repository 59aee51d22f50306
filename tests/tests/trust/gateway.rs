//! A database as the standalone gateway leaves it, made by hand: its tables and functions owned by the role that it connects as, and
//! its five tracking tables with its own checksums.

use acceptance::{Cluster, Files, Platform, sql};
use postgres::Client;

/// The gateway's own tables, word for word.
const TRACKING: &str = "
CREATE TABLE _stonescriptdb_gateway_migrations (
    id SERIAL PRIMARY KEY, migration_file TEXT NOT NULL UNIQUE, checksum TEXT NOT NULL, applied_at TIMESTAMPTZ DEFAULT NOW());
CREATE TABLE _stonescriptdb_gateway_types (
    id SERIAL PRIMARY KEY, type_name TEXT NOT NULL UNIQUE, type_kind TEXT NOT NULL, checksum TEXT NOT NULL, source_file TEXT,
    deployed_at TIMESTAMPTZ DEFAULT NOW());
CREATE TABLE _stonescriptdb_gateway_tables (
    id SERIAL PRIMARY KEY, table_name TEXT NOT NULL UNIQUE, checksum TEXT NOT NULL, source_file TEXT NOT NULL,
    deployed_at TIMESTAMPTZ DEFAULT NOW());
CREATE TABLE _stonescriptdb_gateway_functions (
    id SERIAL PRIMARY KEY, function_name TEXT NOT NULL, signature TEXT NOT NULL, param_types TEXT[] NOT NULL, return_type TEXT NOT NULL,
    body_checksum TEXT NOT NULL, source_file TEXT NOT NULL, deployed_at TIMESTAMPTZ DEFAULT NOW(), UNIQUE (function_name, param_types));
CREATE TABLE _stonescriptdb_gateway_changelog (
    id SERIAL PRIMARY KEY, change_type TEXT NOT NULL, object_name TEXT NOT NULL, change_detail JSONB, forced BOOLEAN DEFAULT FALSE,
    executed_at TIMESTAMPTZ DEFAULT NOW());
";

pub const STATUS: &str = "-- How far an order is.\nCREATE TYPE order_status AS ENUM ('new', 'paid', 'sent');\n";
pub const CUSTOMERS: &str = "CREATE TABLE customers (\n    id SERIAL PRIMARY KEY, -- a number\n    name VARCHAR(255) NOT NULL UNIQUE,\n    \
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW()\n);\n";
pub const ORDERS: &str = "CREATE TABLE IF NOT EXISTS orders (\n    id BIGSERIAL PRIMARY KEY,\n    \
    customer_id INT NOT NULL REFERENCES customers(id) ON DELETE CASCADE,\n    status order_status NOT NULL DEFAULT 'new',\n    \
    total NUMERIC(12,2) CHECK (total >= 0)\n);\nCREATE INDEX IF NOT EXISTS orders_by_customer ON orders (customer_id);\n";
/// Not to be run twice: it makes a row and is no error the second time.
pub const MIGRATION: &str = "-- The first.\nCREATE TABLE IF NOT EXISTS ledger (id SERIAL PRIMARY KEY, note TEXT NOT NULL);\n\
    INSERT INTO ledger (note) VALUES ('opening balance');\n";
pub const ADD_CUSTOMER: &str = "CREATE OR REPLACE FUNCTION add_customer(p_name VARCHAR)\nRETURNS INTEGER AS $$\nDECLARE v_id INTEGER;\nBEGIN\n    \
    INSERT INTO customers (name) VALUES (p_name) RETURNING id INTO v_id; -- the new one\n    RETURN v_id;\nEND;\n$$ LANGUAGE plpgsql;\n";
pub const COUNT: &str = "CREATE OR REPLACE FUNCTION count_customers() RETURNS BIGINT AS $$\n    SELECT COUNT(*) FROM customers;\n$$ LANGUAGE sql STABLE;\n";
pub const OLD: &str = "CREATE OR REPLACE FUNCTION old_one(a INT) RETURNS INT AS $$ SELECT a $$ LANGUAGE sql;\n";

/// The bundle that the gateway deployed.
pub fn bundle() -> Files {
    Files::new()
        .file("types/order_status.pssql", STATUS)
        .file("tables/customers.pssql", CUSTOMERS)
        .file("tables/orders.pssql", ORDERS)
        .file("tables/ledger.pssql", "CREATE TABLE ledger (id SERIAL PRIMARY KEY, note TEXT NOT NULL);\n")
        .file("migrations/001_first.pssql", MIGRATION)
        .file("functions/add_customer.pssql", ADD_CUSTOMER)
        .file("functions/count_customers.pssql", COUNT)
        .file("functions/old_one.pssql", OLD)
}

/// Makes the database of a tenant as the gateway left it, with customers, an order and what the migration made; owned by postgres.
#[track_caller]
pub fn database(cluster: &Cluster, platform: &Platform<'_>, tenant: &str) -> Client {
    database_of("postgres", cluster, platform, tenant)
}

/// [`database`], made by a role that the gateway connects as. So does the client.
#[track_caller]
pub fn database_of(role: &str, cluster: &Cluster, platform: &Platform<'_>, tenant: &str) -> Client {
    let name = platform.database_of(tenant);
    sql::done(cluster.control().batch_execute(&format!("CREATE DATABASE {name} OWNER {role}")));
    let mut client = cluster.connect_as(role, &name);
    for statements in [TRACKING, STATUS, CUSTOMERS, ORDERS, MIGRATION, ADD_CUSTOMER, COUNT, OLD] {
        sql::done(client.batch_execute(statements));
    }
    sql::done(client.batch_execute(
        "INSERT INTO customers (name) VALUES ('Ada'), ('Grace'), ('Edsger'); DELETE FROM customers WHERE name = 'Grace';
         INSERT INTO orders (customer_id, status, total) VALUES (1, 'paid', 12.50), (3, 'new', NULL);
         INSERT INTO _stonescriptdb_gateway_changelog (change_type, object_name, change_detail) VALUES ('migration', '001_first.pssql', '{\"a\": 1}')",
    ));
    let migration = "INSERT INTO _stonescriptdb_gateway_migrations (migration_file, checksum) VALUES ($1, encode(sha256($2), 'hex'))";
    sql::done(client.execute(migration, &[&"001_first.pssql", &MIGRATION.as_bytes()]));
    let kind = "INSERT INTO _stonescriptdb_gateway_types (type_name, type_kind, checksum, source_file) VALUES ('order_status', 'enum', $1, 'order_status.pssql')";
    let sum = checksum(&mut client, STATUS);
    sql::done(client.execute(kind, &[&sum]));
    let ledger = "CREATE TABLE ledger (id SERIAL PRIMARY KEY, note TEXT NOT NULL);\n";
    for (table, text) in [("customers", CUSTOMERS), ("orders", ORDERS), ("ledger", ledger)] {
        let insert = "INSERT INTO _stonescriptdb_gateway_tables (table_name, checksum, source_file) VALUES ($1, $2, $1 || '.pssql')";
        let sum = checksum(&mut client, text);
        sql::done(client.execute(insert, &[&table, &sum]));
    }
    // Types as they are written in the file: that is what the gateway knows of them.
    for (function, types, result, text) in [
        ("add_customer", vec!["VARCHAR"], "INTEGER", ADD_CUSTOMER),
        ("count_customers", vec![], "BIGINT", COUNT),
        ("old_one", vec!["INT"], "INT", OLD),
    ] {
        let signature =
            if types.is_empty() { function.to_owned() } else { format!("{function}({})", types.join(", ")) };
        let insert = "INSERT INTO _stonescriptdb_gateway_functions (function_name, signature, param_types, return_type, body_checksum, source_file)
                      VALUES ($1, $2, $3, $4, $5, $1 || '.pssql')";
        let sum = checksum(&mut client, text);
        sql::done(client.execute(insert, &[&function, &signature, &types, &result, &sum]));
    }
    client
}

/// The gateway's checksum of a function, table or type file (crates/bundle/src/gateway.rs has the same).
pub fn checksum(client: &mut Client, text: &str) -> String {
    let query = "SELECT encode(sha256(convert_to(lower(trim(regexp_replace(regexp_replace(regexp_replace($1,
                     '--[^\\n]*', '', 'g'), '/\\*.*?\\*/', '', 'g'), '\\s+', ' ', 'g'))), 'UTF8')), 'hex')";
    sql::done(client.query_one(query, &[&text])).get(0)
}

/// All that adopting must leave alone when it refuses: the dump with its owners and grants, all rows, and who owns the database and may
/// connect to it.
#[derive(PartialEq, Debug)]
pub struct Whole(String);

impl Whole {
    #[track_caller]
    pub fn of(cluster: &Cluster, database: &str) -> Whole {
        let mut pg_dump = cluster.client_program("pg_dump");
        pg_dump.arg("--create").arg(database);
        let dump = String::from_utf8_lossy(&acceptance::server::run(pg_dump).stdout).into_owned();
        let lines: Vec<&str> =
            dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")).collect();
        Whole(lines.join("\n"))
    }

    #[track_caller]
    pub fn assert_same(&self, cluster: &Cluster, database: &str, why: &str) {
        let now = Whole::of(cluster, database);
        // Enough to see what it is.
        let only = |a: &str, b: &str, mark: &str| {
            let there: std::collections::HashSet<&str> = b.lines().collect();
            let lines = a.lines().filter(|line| !there.contains(line) && !line.starts_with("--")).take(8);
            lines.map(|line| format!("{mark} {line}\n")).collect::<String>()
        };
        assert!(
            *self == now,
            "{database} has changed, {why}:\n{}{}",
            only(&self.0, &now.0, "-"),
            only(&now.0, &self.0, "+")
        );
    }
}
