//! What the author of a function tries: as the call role, and as the owner role in a function with SECURITY DEFINER.

use std::fmt::Write;

use acceptance::{ADMIN_TOKEN, Cluster, fixtures};
use serde_json::json;

use crate::world::World;

/// Statements of PL/pgSQL, and the SQLSTATE with which they fail: in a plain function and in one with SECURITY DEFINER.
const ATTEMPTS: &[(&str, &str, &str)] = &[
    // Databases of other tenants, which the owner role owns.
    ("GRANT CONNECT ON DATABASE {sibling} TO {victim_call}", "42501", "42501"),
    ("GRANT ALL ON DATABASE {sibling} TO PUBLIC", "42501", "42501"),
    ("GRANT CONNECT ON DATABASE {db} TO PUBLIC", "42501", "42501"),
    ("REVOKE CONNECT ON DATABASE {sibling} FROM {call}", "42501", "42501"),
    ("DO $d$ BEGIN GRANT CONNECT ON DATABASE {sibling} TO PUBLIC; END $d$", "42501", "42501"),
    ("EXECUTE 'gRaNt TEMP on dataBASE {sibling} to public'", "42501", "42501"),
    ("CREATE SCHEMA evil GRANT CONNECT ON DATABASE {sibling} TO PUBLIC", "42501", "42501"),
    ("ALTER DATABASE {sibling} CONNECTION LIMIT 0", "42501", "42501"),
    ("ALTER DATABASE {sibling} ALLOW_CONNECTIONS false", "42501", "42501"),
    ("ALTER DATABASE {sibling} IS_TEMPLATE true", "42501", "42501"),
    ("ALTER DATABASE {sibling} SET search_path = evil", "42501", "42501"),
    ("ALTER DATABASE {sibling} RESET ALL", "42501", "42501"),
    ("ALTER DATABASE {sibling} RENAME TO evil", "42501", "42501"),
    ("ALTER DATABASE {sibling} OWNER TO {victim_owner}", "42501", "42501"),
    ("ALTER DATABASE {sibling} OWNER TO {call}", "42501", "42501"),
    ("ALTER DATABASE {sibling} REFRESH COLLATION VERSION", "42501", "42501"),
    ("COMMENT ON DATABASE {sibling} IS 'evil'", "42501", "42501"),
    ("DROP DATABASE {sibling}", "25001", "25001"),
    ("CREATE DATABASE evil TEMPLATE {template}", "25001", "25001"),
    ("PERFORM 1 FROM {victim}.public.customers", "0A000", "0A000"),
    // Roles.
    ("GRANT {call} TO {victim_call}", "42501", "42501"),
    ("GRANT {owner} TO {victim_owner}", "42501", "42501"),
    ("GRANT {victim_owner} TO {owner}", "42501", "42501"),
    ("GRANT pg_read_server_files TO {owner}", "42501", "42501"),
    ("GRANT stonescriptdb_admin TO {call}", "42501", "42501"),
    ("REVOKE {call} FROM {owner}", "42501", "42501"),
    ("DROP OWNED BY {call}", "42501", "42501"),
    ("DROP OWNED BY {owner}", "42501", "42501"),
    ("REASSIGN OWNED BY {owner} TO {call}", "42501", "42501"),
    ("ALTER ROLE {call} PASSWORD 'known'", "42501", "42501"),
    ("ALTER ROLE {owner} SUPERUSER", "42501", "42501"),
    ("ALTER ROLE {call} SET search_path = evil", "42501", "42501"),
    ("ALTER ROLE {call} IN DATABASE {sibling} SET search_path = evil", "42501", "42501"),
    ("ALTER ROLE {call} VALID UNTIL 'yesterday'", "42501", "42501"),
    ("CREATE ROLE evil SUPERUSER", "42501", "42501"),
    ("SET ROLE {victim_owner}", "42501", "42501"),
    ("SET SESSION AUTHORIZATION postgres", "42501", "42501"),
    ("PERFORM set_config('role', '{victim_call}', false)", "42501", "42501"),
    ("RESET ROLE; CREATE ROLE evil", "42501", "42501"),
    ("RESET SESSION AUTHORIZATION; CREATE ROLE evil", "42501", "42501"),
    ("CREATE SCHEMA evil AUTHORIZATION {victim_owner}", "42501", "42501"),
    ("ALTER DEFAULT PRIVILEGES FOR ROLE {victim_owner} GRANT ALL ON TABLES TO PUBLIC", "42501", "42501"),
    ("ALTER FUNCTION f() OWNER TO {victim_owner}", "42501", "42501"),
    ("COMMENT ON ROLE {victim_owner} IS 'evil'", "42501", "42501"),
    // Catalogs, which no right opens.
    ("UPDATE pg_database SET datdba = 10 WHERE datname = '{victim}'", "42501", "42501"),
    ("UPDATE pg_authid SET rolsuper = true", "42501", "42501"),
    ("UPDATE pg_language SET lanpltrusted = true", "42501", "42501"),
    ("UPDATE pg_proc SET prosecdef = true", "42501", "42501"),
    ("CREATE OR REPLACE FUNCTION pg_catalog.lower(text) RETURNS text LANGUAGE sql AS 'SELECT $1'", "42501", "42501"),
    ("CREATE TABLE pg_catalog.evil (a int)", "42501", "42501"),
    ("PERFORM rolpassword FROM pg_authid", "42501", "42501"),
    ("PERFORM 1 FROM pg_hba_file_rules", "42501", "42501"),
    ("PERFORM 1 FROM pg_file_settings", "42501", "42501"),
    ("PERFORM 1 FROM pg_statistic", "42501", "42501"),
    // Files and programs.
    ("PERFORM pg_read_file('postgresql.conf')", "42501", "42501"),
    ("PERFORM pg_read_file('stonescriptdb/broker.sock')", "42501", "42501"),
    ("PERFORM pg_ls_dir('stonescriptdb')", "42501", "42501"),
    ("PERFORM pg_ls_logdir()", "42501", "42501"),
    ("PERFORM lo_import('/etc/passwd')", "42501", "42501"),
    ("PERFORM lo_export(lo_create(0), '{dir}/evil')", "42501", "42501"),
    ("CREATE TEMP TABLE t (line text); COPY t FROM '/etc/passwd'", "42501", "42501"),
    ("COPY (SELECT 1) TO '{dir}/evil'", "42501", "42501"),
    ("COPY (SELECT 1) TO PROGRAM 'touch {dir}/evil'", "42501", "42501"),
    ("LOAD '{dir}/evil.so'", "42501", "42501"),
    // Code that runs as the server.
    ("CREATE FUNCTION evil(text) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'", "42501", "42501"),
    ("CREATE FUNCTION evil() RETURNS int LANGUAGE internal AS 'pg_backend_pid'", "42501", "42501"),
    ("CREATE EXTENSION dblink", "42501", "42501"),
    ("CREATE EXTENSION file_fdw", "42501", "42501"),
    ("CREATE EVENT TRIGGER evil ON ddl_command_end EXECUTE FUNCTION f()", "42501", "42501"),
    ("CREATE FOREIGN DATA WRAPPER evil", "42501", "42501"),
    ("CREATE SUBSCRIPTION evil CONNECTION 'dbname={victim}' PUBLICATION x WITH (connect = false)", "42501", "42501"),
    ("CREATE ACCESS METHOD evil TYPE INDEX HANDLER bthandler", "42501", "42501"),
    ("CREATE TYPE evil (INPUT = int4in, OUTPUT = int4out)", "42501", "42501"),
    ("ALTER SYSTEM SET work_mem = '1GB'", "25001", "25001"),
    ("SET session_replication_role = replica", "42501", "42501"),
    ("SET stonescriptdb.allowed_networks = '0.0.0.0/0'", "55P02", "55P02"),
    ("PERFORM set_config('stonescriptdb.admin_token', 'known', false)", "55P02", "55P02"),
    ("CREATE TABLESPACE evil LOCATION '{dir}'", "25001", "25001"),
    // Other processes.
    ("PERFORM pg_terminate_backend({server})", "42501", "42501"),
    ("PERFORM pg_cancel_backend({server})", "42501", "42501"),
    ("PERFORM pg_log_backend_memory_contexts({server})", "42501", "42501"),
    ("PERFORM pg_reload_conf()", "42501", "42501"),
    ("PERFORM pg_create_physical_replication_slot('evil')", "42501", "42501"),
    ("LISTEN stonescriptdb_deployment", "0A000", "0A000"),
];

#[test]
fn what_functions_try_is_refused() {
    let cluster = Cluster::start();
    assert!(ATTEMPTS.len() >= 40);
    let world = World::new(&cluster, |world| {
        let mut functions = String::new();
        for (number, (attempt, ..)) in ATTEMPTS.iter().enumerate() {
            for (how, clause) in [("plain", ""), ("definer", "SECURITY DEFINER")] {
                let attempt = world.fill(attempt);
                writeln!(
                    functions,
                    "CREATE FUNCTION {how}_{number}() RETURNS text LANGUAGE plpgsql {clause} AS $f$ BEGIN {attempt}; RETURN 'it worked'; END $f$;"
                )
                .expect("memory");
            }
        }
        fixtures::tiny().file("functions/attempts.pssql", functions)
    });
    let mut wrong = String::new();
    for (number, (attempt, plain, definer)) in ATTEMPTS.iter().enumerate() {
        for (how, state) in [("plain", plain), ("definer", definer)] {
            let answer = world.spy.call(&format!("{how}_{number}"), json!([]));
            let seen = answer.json["sqlstate"].as_str().unwrap_or_default();
            let status = if *state == "42501" { 403 } else { 500 };
            let right = answer.code() == "query_failed" && answer.status == status && seen == *state;
            if !right || answer.text.contains(ADMIN_TOKEN) {
                writeln!(wrong, "{how}: {attempt}: {state} expected: {answer}\n").expect("memory");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    world.assert_untouched();
    assert_eq!(world.spy.call("f", json!([])).value(), 1);
    assert_eq!(world.victim.call("count_customers", json!([])).value(), 1);
}
