//! Who a platform's SQL runs as, in calls and in deployments, and that PostgreSQL itself refuses what it must not do.

use std::fmt::Write;

use acceptance::wait::check;
use acceptance::{ADMIN_TOKEN, Cluster, Files, Platform, eventually, fixtures, refused, shared, sql, unique};
use serde_json::json;

/// Name of a function and the statements in it, which get a text `p`. None of them may work, not even with RESET ROLE before it.
const ATTEMPTS: &[(&str, &str)] = &[
    ("become_postgres", "SET SESSION AUTHORIZATION postgres"),
    ("become_default", "RESET SESSION AUTHORIZATION; CREATE ROLE evil SUPERUSER"),
    ("role_postgres", "SET ROLE postgres"),
    ("role_given", "EXECUTE format('SET ROLE %I', p)"),
    ("role_by_config", "PERFORM set_config('role', p, false); PERFORM set_config('session_authorization', p, false)"),
    ("make_superuser", "CREATE ROLE evil SUPERUSER"),
    ("alter_self", "EXECUTE format('ALTER ROLE %I SUPERUSER', current_user)"),
    ("alter_postgres", "ALTER ROLE postgres PASSWORD 'x'"),
    ("grant_postgres", "EXECUTE format('GRANT postgres TO %I', current_user)"),
    ("grant_files", "EXECUTE format('GRANT pg_read_server_files TO %I', current_user)"),
    ("read_file", "PERFORM pg_read_file('PG_VERSION')"),
    ("read_binary_file", "PERFORM pg_read_binary_file('postgresql.conf')"),
    ("list_directory", "PERFORM pg_ls_dir('.')"),
    ("stat_file", "PERFORM pg_stat_file('PG_VERSION')"),
    ("import_file", "PERFORM lo_import('/etc/passwd')"),
    ("copy_from_file", "CREATE TEMP TABLE lines (line text); COPY lines FROM '/etc/passwd'"),
    ("copy_to_file", "COPY (SELECT 1) TO '/tmp/stonescriptdb_evil'"),
    ("copy_to_program", "COPY (SELECT 1) TO PROGRAM 'cat >/tmp/stonescriptdb_evil'"),
    ("read_passwords", "PERFORM rolpassword FROM pg_authid"),
    ("alter_system", "ALTER SYSTEM SET work_mem = '1GB'"),
    ("reload", "PERFORM pg_reload_conf()"),
    ("terminate", "PERFORM pg_terminate_backend(p::int)"),
    ("cancel", "PERFORM pg_cancel_backend(p::int)"),
    ("load", "LOAD '/tmp/stonescriptdb_evil.so'"),
    ("replication_role", "SET session_replication_role = replica"),
    ("admin_token", "PERFORM current_setting('stonescriptdb.admin_token')"),
    ("set_networks", "SET stonescriptdb.allowed_networks = '0.0.0.0/0'"),
    ("create_table", "CREATE TABLE public.evil (a int)"),
    ("create_in_catalog", "CREATE TABLE pg_catalog.evil (a int)"),
    ("create_schema", "CREATE SCHEMA evil"),
    ("create_function", "CREATE FUNCTION public.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    ("create_extension", "CREATE EXTENSION hstore"),
    ("create_database", "CREATE DATABASE evil"),
    ("create_index", "CREATE INDEX ON customers (joined)"),
    (
        "create_trigger",
        "CREATE TRIGGER evil BEFORE INSERT ON customers EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ),
    ("create_event_trigger", "CREATE EVENT TRIGGER evil ON ddl_command_end EXECUTE FUNCTION f()"),
    ("alter_table", "ALTER TABLE customers ADD COLUMN evil int"),
    ("drop_table", "DROP TABLE bookings"),
    ("drop_function", "DROP FUNCTION get_product(bigint)"),
    (
        "replace_function",
        "CREATE OR REPLACE FUNCTION count_customers() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
    ),
    ("comment", "COMMENT ON TABLE customers IS 'evil'"),
    (
        "grant_table",
        "GRANT ALL ON customers TO PUBLIC; IF has_table_privilege('public', 'customers', 'SELECT') IS NOT TRUE THEN RAISE 'no' USING ERRCODE = '42501'; END IF",
    ),
    ("alter_database", "EXECUTE format('ALTER DATABASE %I SET work_mem = ''1GB''', current_database())"),
    ("drop_own_database", "EXECUTE format('DROP DATABASE %I', current_database())"),
    ("other_database", "EXECUTE format('SELECT count(*) FROM %I.public.customers', p)"),
    ("insert_tracking", "INSERT INTO _stonescriptdb_gateway_functions (function_name) VALUES ('pg_sleep')"),
    ("update_tracking", "UPDATE _stonescriptdb_gateway_functions SET function_name = 'pg_sleep'"),
    ("delete_tracking", "DELETE FROM _stonescriptdb_gateway_migrations"),
    ("delete_tables", "DELETE FROM _stonescriptdb_gateway_tables"),
    ("delete_types", "DELETE FROM _stonescriptdb_gateway_types"),
    ("truncate_changelog", "TRUNCATE _stonescriptdb_gateway_changelog"),
    ("insert_changelog", "INSERT INTO _stonescriptdb_gateway_changelog (change_type) VALUES ('evil')"),
];

/// The attempts as functions, each also after RESET ROLE.
fn attempts() -> Files {
    let mut functions = String::new();
    for (name, body) in ATTEMPTS {
        for (prefix, before) in [("try", ""), ("reset", "RESET ROLE;")] {
            writeln!(
                functions,
                "CREATE FUNCTION {prefix}_{name}(p text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $f$ BEGIN {before} {body}; RETURN 'it worked'; END $f$;"
            )
            .expect("memory");
        }
    }
    let who = "RETURNS TABLE (who text, session_who text, super text, in_super boolean) LANGUAGE plpgsql";
    let look = "RETURN QUERY SELECT current_user::text, session_user::text, current_setting('is_superuser'), \
                bool_or(rolsuper) FROM pg_roles WHERE rolname IN (current_user, session_user);";
    fixtures::shop().and(fixtures::tiny()).file("functions/attempts.pssql", functions).file(
        "functions/who.pssql",
        format!(
            "CREATE FUNCTION who() {who} AS $$ BEGIN {look} END $$;\n\
             CREATE FUNCTION who_after_reset() {who} AS $$ BEGIN RESET ROLE; RESET SESSION AUTHORIZATION; {look} END $$;\n\
             CREATE FUNCTION who_definer() {who} SECURITY DEFINER AS $$ BEGIN {look} END $$;\n"
        ),
    )
}

#[test]
fn calls_run_as_the_call_role_which_is_nobody_special() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "who", &attempts());
    let (owner, caller) = (platform.owner_role(), platform.call_role());
    assert_ne!(owner, caller);
    for function in ["who", "who_after_reset"] {
        let seen = platform.call(function, json!([])).row();
        assert_eq!(
            seen,
            json!({"who": caller, "session_who": caller, "super": "off", "in_super": false}),
            "{function}"
        );
    }
    let seen = platform.call("who_definer", json!([])).row();
    assert_eq!(
        (&seen["who"], &seen["in_super"]),
        (&json!(owner), &json!(false)),
        "SECURITY DEFINER is the owner role: {seen}"
    );
    assert_eq!(platform.call("who", json!([])).row()["who"], json!(caller), "and the next call is the call role again");
}

#[test]
fn postgresql_refuses_what_a_call_must_not_do() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "attempt", &attempts());
    let other = Platform::register(&cluster, "victim", &fixtures::shop());
    let mut control = cluster.control();
    let server_pid = cluster.server_worker();
    let before = platform.snapshot();
    let mut wrong = String::new();
    for (name, _) in ATTEMPTS {
        let params: Vec<String> = match *name {
            "role_given" => vec![
                platform.owner_role(),
                other.call_role(),
                other.owner_role(),
                "stonescriptdb_admin".into(),
                "pg_read_all_data".into(),
            ],
            "role_by_config" => vec![platform.owner_role(), "postgres".into()],
            "terminate" | "cancel" => vec![server_pid.clone(), cluster.postmaster_pid().to_string()],
            "other_database" => vec![other.database(), "postgres".into()],
            _ => vec![String::new()],
        };
        for param in params {
            for function in [format!("try_{name}"), format!("reset_{name}")] {
                let answer = platform.call(&function, json!([param]));
                // pg_terminate_backend of what is no backend is a warning and false.
                let no_backend = (*name == "terminate" || *name == "cancel") && param != server_pid;
                let refused = answer.status >= 400 && answer.code() == "query_failed" || no_backend;
                if !refused || answer.text.contains(ADMIN_TOKEN) {
                    writeln!(wrong, "{function}({param}) was not refused: {answer}\n").expect("memory");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    platform.assert_unchanged(&before, "no attempt may work");
    let roles = "SELECT count(*) FROM pg_roles WHERE rolname = 'evil'";
    assert_eq!(sql::text(&mut control, roles), "0");
    assert!(!std::path::Path::new("/tmp/stonescriptdb_evil").exists());
    assert_eq!(cluster.server_worker(), server_pid, "the server worker was ended");
    assert_eq!(platform.call("f", json!([])).value(), 1);
    assert_eq!(other.call("count_customers", json!([])).value(), 0);
}

#[test]
fn a_refusal_is_403_with_postgresqls_words() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "refusal", &attempts());
    for name in
        ["try_read_file", "reset_make_superuser", "try_create_table", "try_delete_tracking", "try_become_postgres"]
    {
        platform.call(name, json!([])).error(403, "query_failed").field("sqlstate", "42501");
    }
}

#[test]
fn a_call_cannot_change_its_role_for_later_calls() {
    let cluster = shared();
    let files = fixtures::tiny().file(
        "functions/change_self.pssql",
        "CREATE FUNCTION change_self(what text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('ALTER ROLE %I ', current_user) || what; END $$;\n\
         CREATE FUNCTION seen() RETURNS TABLE (mem text, path text) LANGUAGE sql AS\n\
         $$ SELECT current_setting('work_mem'), current_setting('search_path') $$;\n",
    );
    let platform = Platform::register(&cluster, "self", &files);
    let clean = platform.call("seen", json!([])).row();
    // A role may change its own defaults and password; if the server lets a call do so, no later executor may start with them.
    for change in
        ["SET work_mem = '77MB'", "SET search_path = pg_temp", "PASSWORD 'known'", "SET statement_timeout = 0"]
    {
        platform.call("change_self", json!([change]));
    }
    let mut control = cluster.control();
    let executors = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor' AND datname = '{}'",
        platform.database()
    );
    sql::texts(&mut control, &executors);
    let seen = eventually("a call by a new executor", || {
        let answer = platform.call("seen", json!([]));
        check(answer.status == 200, &answer).map(|()| answer.row())
    });
    assert_eq!(seen, clean, "a call changed the settings that later calls start with");
    let password = "SELECT count(*) FROM pg_authid WHERE rolname = $1 AND rolpassword IS NOT NULL";
    let count: i64 = sql::done(control.query_one(password, &[&platform.call_role()])).get(0);
    assert_eq!(count, 0, "a call gave its role a password");
}

#[test]
fn the_roles_have_no_rights_but_on_their_own_platform() {
    let cluster = shared();
    let (one, other) =
        (Platform::register(&cluster, "ra", &fixtures::shop()), Platform::register(&cluster, "rb", &fixtures::shop()));
    one.register_tenant("acme", &fixtures::shop()).ok();
    let mut control = cluster.control();
    for platform in [&one, &other] {
        let roles = [platform.owner_role(), platform.call_role()];
        for role in &roles {
            let rights = format!(
                "SELECT concat_ws(',', rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolpassword IS NOT NULL)
                 FROM pg_authid WHERE rolname = '{role}'"
            );
            assert_eq!(sql::text(&mut control, &rights), "f,f,f,f,f,f", "{role}");
            let memberships =
                format!("SELECT roleid::regrole::text FROM pg_auth_members WHERE member = '\"{role}\"'::regrole");
            for group in sql::texts(&mut control, &memberships) {
                let group = group.trim_matches('"').to_owned();
                assert!(roles.contains(&group) && *role != platform.call_role(), "{role} is a member of {group}");
            }
        }
    }
    let may = |control: &mut postgres::Client, role: &str, database: &str| {
        sql::text(control, &format!("SELECT has_database_privilege('{role}', '{database}', 'CONNECT')")) == "t"
    };
    for role in [one.owner_role(), one.call_role()] {
        assert!(
            may(&mut control, &role, &one.database()) && may(&mut control, &role, &one.database_of("acme")),
            "{role}"
        );
        assert!(!may(&mut control, &role, &other.database()), "{role} may connect to {}", other.database());
        refused(cluster.try_connect_as(&role, &other.database()).map(|_| ())).sqlstate("*").meant();
    }
    for database in [one.database(), one.database_of("acme"), other.database()] {
        assert!(!may(&mut control, "public", &database), "everybody may connect to {database}");
        let owner = format!("SELECT datdba::regrole::text FROM pg_database WHERE datname = '{database}'");
        let wanted = if database == other.database() { other.owner_role() } else { one.owner_role() };
        assert_eq!(sql::text(&mut control, &owner).trim_matches('"'), wanted, "the owner of {database}");
    }
    let ordinary = unique("ordinary");
    sql::done(control.batch_execute(&format!("CREATE ROLE {ordinary} LOGIN")));
    refused(cluster.try_connect_as(&ordinary, &one.database()).map(|_| ())).sqlstate("42501");
}

#[test]
fn every_object_belongs_to_the_owner_role() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "owned", &fixtures::shop());
    let mut client = platform.connect();
    let owner = platform.owner_role();
    // The tracking tables are the extension's affair.
    let strangers = format!(
        "SELECT name FROM (
             SELECT relname::text AS name, relowner AS owner FROM pg_class WHERE relnamespace = 'public'::regnamespace
             UNION ALL SELECT proname, proowner FROM pg_proc WHERE pronamespace = 'public'::regnamespace
             UNION ALL SELECT typname, typowner FROM pg_type WHERE typnamespace = 'public'::regnamespace
         ) o WHERE owner <> '\"{owner}\"'::regrole AND name !~ '_stonescriptdb_gateway_'"
    );
    assert_eq!(sql::texts(&mut client, &strangers), Vec::<String>::new());
}

#[test]
fn a_superusers_dblink_does_not_open_other_databases_to_calls() {
    let cluster = shared();
    let other = Platform::register(&cluster, "linked", &fixtures::shop());
    let files = fixtures::tiny().file(
        "functions/peek.pssql",
        "CREATE FUNCTION peek(target text) RETURNS bigint LANGUAGE plpgsql AS $$\nDECLARE n bigint;\nBEGIN\n    \
         EXECUTE 'SELECT n FROM dblink($1, ''SELECT count(*) FROM customers'') AS t (n bigint)' INTO n USING target;\n    RETURN n;\nEND $$;\n",
    );
    let platform = Platform::register(&cluster, "linking", &files);
    sql::done(platform.connect().batch_execute("CREATE EXTENSION dblink"));
    for user in ["postgres".to_owned(), other.owner_role(), other.call_role()] {
        let target =
            format!("host={} port=5432 dbname={} user={user}", cluster.socket_dir().display(), other.database());
        let answer = platform.call("peek", json!([target]));
        assert!(answer.status >= 400 && answer.code() == "query_failed", "{user}: {answer}");
    }
}

#[test]
fn deployments_run_as_the_owner_role_which_is_no_superuser() {
    let cluster = shared();
    let marker = cluster.dir().join("made_by_a_bundle");
    let program = format!("COPY (SELECT 1) TO PROGRAM 'touch {}'", marker.display());
    let attempts = [
        "CREATE ROLE deployed_evil SUPERUSER",
        "RESET ROLE; CREATE ROLE deployed_evil SUPERUSER",
        "RESET SESSION AUTHORIZATION; CREATE ROLE deployed_evil SUPERUSER",
        "SET SESSION AUTHORIZATION postgres; CREATE ROLE deployed_evil SUPERUSER",
        "DO $$ BEGIN RESET ROLE; CREATE ROLE deployed_evil SUPERUSER; END $$",
        "DO $$ BEGIN PERFORM set_config('role', 'none', false); ALTER ROLE CURRENT_USER SUPERUSER; END $$",
        "SELECT pg_read_file('PG_VERSION')",
        "DO $$ BEGIN PERFORM pg_ls_dir('.'); END $$",
        program.as_str(),
        "ALTER SYSTEM SET work_mem = '1GB'",
        "CREATE FUNCTION evil(text) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'",
        "CREATE FUNCTION evil() RETURNS int LANGUAGE internal AS 'pg_backend_pid'",
        "CREATE EVENT TRIGGER evil ON ddl_command_end EXECUTE FUNCTION f()",
        "ALTER DATABASE postgres SET work_mem = '1GB'",
        "DROP DATABASE postgres",
        "GRANT stonescriptdb_admin TO PUBLIC",
    ];
    let mut control = cluster.control();
    for attempt in attempts {
        for kind in ["migrations", "seeders"] {
            let platform = Platform::unregistered(&cluster, "deployevil");
            let files = fixtures::tiny()
                .file("tables/products.pssql", "CREATE TABLE products (id int PRIMARY KEY);\n")
                .file(&format!("{kind}/products.pssql"), format!("{attempt};\n"));
            let answer = platform.register_again(&files).client_error();
            platform.assert_absent(&format!("{kind}: {attempt}: {answer}"));
        }
    }
    let roles = "SELECT count(*) FROM pg_roles WHERE rolname = 'deployed_evil'";
    assert_eq!(sql::text(&mut control, roles), "0");
    assert!(!marker.exists(), "a program was run");
}

#[test]
fn executors_are_logged_in_as_the_platforms_roles() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "login", &fixtures::tiny());
    platform.call("f", json!([])).ok();
    let mut control = cluster.control();
    let users = format!(
        "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor' AND datname = '{}'",
        platform.database()
    );
    let (owner, caller) = (platform.owner_role(), platform.call_role());
    eventually("an executor as the call role, none as anybody else", || {
        platform.call("f", json!([])).ok();
        let users = sql::texts(&mut control, &users);
        check(
            users.contains(&caller) && users.iter().all(|user| *user == caller || *user == owner),
            format!("{users:?}"),
        )
    });
}
