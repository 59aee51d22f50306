//! CREATE EXTENSION: where it works, where it is refused and what it says then, and who may use what it makes.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use acceptance::wait::check;
use acceptance::{ADMIN_TOKEN, Cluster, Platform, eventually, fixtures, refused, server, shared, sql};
use postgres::Client;

/// Oid and readable name of every function of the schema.
const FUNCTIONS: &str =
    "SELECT oid, oid::regprocedure::text AS name FROM pg_proc WHERE pronamespace = 'stonescriptdb'::regnamespace";
/// Oid and name of every table and view of the schema.
const RELATIONS: &str = "SELECT oid, oid::regclass::text AS name FROM pg_class WHERE relnamespace = 'stonescriptdb'::regnamespace AND relkind IN ('r','v','m','f','p')";

fn extension_version(client: &mut Client) -> Vec<String> {
    sql::texts(client, "SELECT extversion FROM pg_extension WHERE extname = 'stonescriptdb'")
}

#[test]
fn create_extension_makes_the_documented_surface() {
    let cluster = shared();
    let mut control = cluster.control();
    assert_eq!(extension_version(&mut control).len(), 1);
    let schema = "SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'stonescriptdb'";
    assert_eq!(sql::text(&mut control, schema), "stonescriptdb");

    for (function, first_arguments) in [
        ("register", "schema bytea, platform text, tenant_id text, force boolean, allow text[]"),
        ("migrate", "schema bytea, platform text, tenant_id text, force boolean, allow text[], dry_run boolean"),
        ("call", "platform text, function text, params jsonb, tenant_id text"),
        ("call_rows", "platform text, function text, params jsonb, tenant_id text"),
        ("call_batch", "platform text, calls jsonb, tenant_id text, schema_name text"),
        ("create_tenant", "platform text, tenant_id text"),
        ("drop_tenant", "platform text, tenant_id text, confirm text"),
        ("health", ""),
    ] {
        let arguments = sql::text(
            &mut control,
            &format!(
                "SELECT pg_get_function_identity_arguments(oid) || ' -> ' || pg_get_function_result(oid) FROM pg_proc
                 WHERE proname = '{function}' AND pronamespace = 'stonescriptdb'::regnamespace"
            ),
        );
        let result = if function == "call_rows" { " -> SETOF jsonb" } else { " -> jsonb" };
        let right = arguments.replace('"', "").starts_with(first_arguments) && arguments.ends_with(result);
        assert!(right, "{function}({arguments}), expected ({first_arguments}){result}");
    }
    for (view, columns) in [
        ("platforms", "platform, owner_role, call_role"),
        ("databases", "platform, tenant_id, database, state"),
        ("workers", "*"),
    ] {
        sql::done(control.query(&format!("SELECT {columns} FROM stonescriptdb.{view}"), &[]));
    }
}

#[test]
fn every_object_has_a_comment() {
    let cluster = shared();
    let mut control = cluster.control();
    let functions =
        format!("SELECT name FROM ({FUNCTIONS}) f WHERE coalesce(obj_description(oid, 'pg_proc'), '') = ''");
    assert_eq!(sql::texts(&mut control, &functions), Vec::<String>::new(), "functions without a comment");
    let relations =
        format!("SELECT name FROM ({RELATIONS}) r WHERE coalesce(obj_description(oid, 'pg_class'), '') = ''");
    assert_eq!(sql::texts(&mut control, &relations), Vec::<String>::new(), "tables or views without a comment");
}

#[test]
fn public_may_nothing() {
    let cluster = shared();
    let mut control = cluster.control();
    let functions = format!("SELECT name FROM ({FUNCTIONS}) f WHERE has_function_privilege('public', oid, 'EXECUTE')");
    assert_eq!(sql::texts(&mut control, &functions), Vec::<String>::new(), "functions that PUBLIC may execute");
    let relations = format!(
        "SELECT name FROM ({RELATIONS}) r
         WHERE has_table_privilege('public', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')"
    );
    assert_eq!(
        sql::texts(&mut control, &relations),
        Vec::<String>::new(),
        "tables or views that PUBLIC has a right to"
    );
    let schema = "SELECT has_schema_privilege('public', 'stonescriptdb', 'USAGE, CREATE')";
    assert_eq!(sql::text(&mut control, schema), "f", "PUBLIC has a right to the schema");
}

#[test]
fn an_ordinary_role_is_refused_and_a_member_of_the_group_is_not() {
    let cluster = shared();
    let mut control = cluster.control();
    let group =
        "SELECT rolsuper || ',' || rolcanlogin || ',' || rolcreaterole || ',' || rolcreatedb || ',' || rolbypassrls
                 FROM pg_roles WHERE rolname = 'stonescriptdb_admin'";
    assert_eq!(sql::text(&mut control, group), "false,false,false,false,false");
    sql::done(control.batch_execute(
        "CREATE ROLE ordinary_person LOGIN; CREATE ROLE admin_person LOGIN; GRANT stonescriptdb_admin TO admin_person",
    ));

    let mut ordinary = cluster.connect_as("ordinary_person", "postgres");
    for statement in [
        "SELECT stonescriptdb.health()",
        "SELECT stonescriptdb.call('x', 'f')",
        "SELECT * FROM stonescriptdb.call_rows('x', 'f')",
        "SELECT stonescriptdb.call_batch('x', '[]')",
        "SELECT stonescriptdb.register('x'::bytea, 'x')",
        "SELECT stonescriptdb.migrate('x'::bytea, 'x')",
        "SELECT stonescriptdb.create_tenant('x', 'y')",
        "SELECT stonescriptdb.drop_tenant('x', 'y', 'x_y')",
        "TABLE stonescriptdb.platforms",
        "TABLE stonescriptdb.databases",
        "TABLE stonescriptdb.workers",
    ] {
        refused(ordinary.simple_query(statement)).sqlstate("42501");
    }

    // The group's member does the whole job without being a superuser.
    let mut admin = cluster.connect_as("admin_person", "postgres");
    let platform = Platform::unregistered(&cluster, "by_admin");
    sql::done(sql::register(&mut admin, &fixtures::tiny().tar_gz(), Some(&platform.name), None));
    let answer = sql::done(sql::call(&mut admin, &platform.name, None, "f", &serde_json::json!([])));
    assert_eq!(answer["rows"][0]["f"], 1, "{answer}");
    for statement in [
        "SELECT stonescriptdb.health()",
        "TABLE stonescriptdb.platforms",
        "TABLE stonescriptdb.databases",
        "TABLE stonescriptdb.workers",
    ] {
        sql::done(admin.simple_query(statement));
    }
}

#[test]
fn the_admin_token_is_never_shown() {
    let cluster = shared();
    let mut control = cluster.control();
    sql::done(control.batch_execute("CREATE ROLE curious LOGIN; GRANT stonescriptdb_admin TO curious"));
    let mut curious = cluster.connect_as("curious", "postgres");
    refused(curious.simple_query("SHOW stonescriptdb.admin_token")).sqlstate("42501");
    refused(curious.simple_query("SET stonescriptdb.admin_token = 'mine'")).meant();
    let settings = "SELECT coalesce(string_agg(concat_ws(' ', setting, reset_val, boot_val), ' '), '')
                    FROM pg_settings WHERE name LIKE 'stonescriptdb.%'";
    let seen = sql::text(&mut curious, settings);
    assert!(!seen.contains(ADMIN_TOKEN), "{seen}");
    let seen = sql::text(&mut control, "SHOW stonescriptdb.admin_token");
    assert!(!seen.contains(ADMIN_TOKEN), "a superuser is shown the token: {seen}");
    assert!(!cluster.log().contains(ADMIN_TOKEN), "the token is in the log");
}

#[test]
fn settings_have_the_documented_defaults() {
    let cluster = Cluster::builder().without_extension().start();
    let mut client = cluster.connect("postgres");
    for (name, default) in [
        ("database", "postgres"),
        ("listen_addresses", "127.0.0.1"),
        ("call_timeout", "30s"),
        ("max_call_timeout", "5min"),
        ("max_batch", "100"),
        ("max_call_retries", "3"),
        ("deploy_wait", "30s"),
        ("max_request_body", "2MB"),
        ("max_archive_size", "64MB"),
        ("max_bundle_size", "256MB"),
        ("max_archive_entries", "20000"),
        ("keepalive_timeout", "75s"),
        ("max_header_size", "64kB"),
        ("max_headers", "100"),
        ("max_http_connections_per_address", "2500"),
        ("max_body_memory", "256MB"),
        ("max_uploads", "64"),
        ("max_json_depth", "1000"),
        ("max_deployments", "200"),
        ("log_rate", "10"),
        ("log_burst", "100"),
        ("listener_networks", ""),
        ("tls", "off"),
        ("tls_cert_file", "server.crt"),
        ("tls_key_file", "server.key"),
        ("tls_min_protocol_version", "TLSv1.2"),
    ] {
        assert_eq!(sql::text(&mut client, &format!("SHOW stonescriptdb.{name}")), default, "stonescriptdb.{name}");
    }
    let known = sql::texts(&mut client, "SELECT name FROM pg_settings WHERE name LIKE 'stonescriptdb.%'");
    for name in [
        "port",
        "allowed_networks",
        "trusted_proxies",
        "max_workers",
        "max_workers_per_database",
        "worker_idle_timeout",
        "allowed_extensions",
        "deploy_lock_timeout",
    ] {
        assert!(known.contains(&format!("stonescriptdb.{name}")), "no stonescriptdb.{name} among {known:?}");
    }
    // It may be kept out of lists, but it is there.
    sql::done(client.simple_query("SHOW stonescriptdb.admin_token"));
    let port = "SELECT boot_val FROM pg_settings WHERE name = 'stonescriptdb.port'";
    assert_eq!(sql::text(&mut client, port), "9000");
    let undocumented =
        "SELECT name FROM pg_settings WHERE name LIKE 'stonescriptdb.%' AND coalesce(short_desc, '') = ''";
    assert_eq!(sql::texts(&mut client, undocumented), Vec::<String>::new());
    refused(client.simple_query("SET stonescriptdb.no_such_setting = 1")).sqlstate("42602");
}

#[test]
fn a_second_create_extension_is_an_error_and_drop_and_create_works() {
    let cluster = Cluster::start();
    let mut control = cluster.control();
    refused(control.batch_execute("CREATE EXTENSION stonescriptdb")).sqlstate("42710");
    sql::done(control.batch_execute("CREATE EXTENSION IF NOT EXISTS stonescriptdb"));

    // The group role outlives the extension, as roles do.
    sql::done(control.batch_execute("SET statement_timeout = '20s'; DROP EXTENSION stonescriptdb"));
    sql::done(control.batch_execute("CREATE EXTENSION stonescriptdb"));
    cluster.wait_ready();
    let platform = Platform::register(&cluster, "after_drop", &fixtures::tiny());
    assert_eq!(platform.call("f", serde_json::json!([])).value(), 1);
}

#[test]
fn create_extension_outside_the_control_database_is_refused() {
    let cluster = shared();
    sql::done(cluster.control().batch_execute("CREATE DATABASE elsewhere"));
    let mut client = cluster.connect("elsewhere");
    let failure = refused(client.batch_execute("CREATE EXTENSION stonescriptdb")).meant();
    assert!(!failure.hint.is_empty(), "a hint expected: {failure:#?}");
    failure.says("stonescriptdb.database").says("postgres");
    assert_eq!(extension_version(&mut client), Vec::<String>::new());
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname = 'stonescriptdb'";
    assert_eq!(sql::text(&mut client, left), "0");
}

#[test]
fn the_control_database_may_be_another_one() {
    let cluster = Cluster::builder().control_database("control").start();
    let mut client = cluster.connect("postgres");
    refused(client.batch_execute("CREATE EXTENSION stonescriptdb")).meant().says("stonescriptdb.database");
    sql::done(client.batch_execute("CREATE DATABASE control"));
    cluster.create_extension();
    let platform = Platform::register(&cluster, "elsewhere", &fixtures::tiny());
    assert_eq!(platform.call("f", serde_json::json!([])).value(), 1);
}

#[test]
fn without_preloading_the_error_names_the_line_to_add() {
    let cluster = Cluster::builder().without_preload().start();
    let mut client = cluster.connect("postgres");
    for statement in ["CREATE EXTENSION stonescriptdb", "LOAD 'stonescriptdb'"] {
        let failure = refused(client.batch_execute(statement)).meant();
        failure.says("shared_preload_libraries").says("stonescriptdb");
    }
    assert_eq!(sql::text(&mut client, "SELECT 1"), "1", "the session lives on");
    assert_eq!(extension_version(&mut client), Vec::<String>::new());
}

#[test]
fn before_create_extension_the_server_runs_and_waits() {
    let cluster = Cluster::builder().without_extension().start();
    let mut client = cluster.connect("postgres");
    // Preloading alone must not disturb anybody, and the service is not healthy yet, if it answers at all.
    if let Ok(answer) = cluster.http().try_request("GET", "/health", &[], b"") {
        assert_ne!(answer.json["status"], "healthy", "{answer}");
    }
    sql::done(client.batch_execute("CREATE DATABASE scratch"));
    sql::done(client.batch_execute("DROP DATABASE scratch"));
    cluster.create_extension();
}

#[test]
fn the_server_worker_is_seen_in_pg_stat_activity() {
    let cluster = shared();
    let mut control = cluster.control();
    let workers = "SELECT datname FROM pg_stat_activity WHERE backend_type = 'stonescriptdb server'";
    eventually("one server worker in the control database", || {
        let seen = sql::texts(&mut control, workers);
        check(seen == ["postgres"], format!("{seen:?}"))
    });
}

#[test]
fn the_brokers_socket_is_in_a_private_directory() {
    let cluster = shared();
    let sockets = sockets_in(&cluster.data_dir());
    assert!(!sockets.is_empty(), "no socket below the data directory");
    for socket in sockets {
        let parent = socket.parent().expect("it is in a directory");
        assert_ne!(parent, cluster.data_dir(), "the socket lies in the data directory itself");
        let mode = std::fs::metadata(parent).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{} is {mode:o}", parent.display());
    }
}

fn sockets_in(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(sockets_in(&entry.path()));
        } else if kind.is_socket() {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn pg_dump_of_the_control_database_has_the_registry() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "dumped", &fixtures::tiny());
    let mut control = cluster.control();
    let missing = "SELECT c.oid::regclass::text FROM pg_class c
                   WHERE relnamespace = 'stonescriptdb'::regnamespace AND relkind = 'r'
                     AND NOT c.oid = ANY (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'stonescriptdb')";
    assert_eq!(sql::texts(&mut control, missing), Vec::<String>::new(), "tables that are no configuration tables");

    let mut pg_dump = cluster.client_program("pg_dump");
    pg_dump.args(["--data-only", "postgres"]);
    let dump = String::from_utf8_lossy(&server::run(pg_dump).stdout).into_owned();
    assert!(dump.contains(&platform.database()), "no {} in {dump}", platform.database());
}
