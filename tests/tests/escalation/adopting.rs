//! A database that looks like a standalone gateway's is taken over only if whose it is has made it so.

use acceptance::{Cluster, Platform, eventually, fixtures, refused, shared, sql, unique, wait::check};

/// What a standalone gateway's database is known by.
const MARKS: &str = "
    CREATE TABLE _stonescriptdb_gateway_migrations (id serial PRIMARY KEY, migration_file text NOT NULL UNIQUE, checksum text NOT NULL,
        applied_at timestamptz DEFAULT now());
    CREATE TABLE _stonescriptdb_gateway_functions (id serial PRIMARY KEY, function_name text NOT NULL, signature text NOT NULL,
        param_types text[] NOT NULL, return_type text NOT NULL, body_checksum text NOT NULL, source_file text NOT NULL,
        deployed_at timestamptz DEFAULT now(), UNIQUE (function_name, param_types));
    CREATE TABLE accounts (id int PRIMARY KEY); INSERT INTO accounts VALUES (7)";

#[track_caller]
fn run(cluster: &Cluster, sql: &str) {
    sql::done(cluster.control().batch_execute(sql));
}

/// Who owns a database and its tables.
#[track_caller]
fn owners(cluster: &Cluster, database: &str) -> Vec<String> {
    let query = "SELECT d.datdba::regrole::text FROM pg_database d WHERE d.datname = current_database()
                 UNION ALL (SELECT c.relname || ' ' || c.relowner::regrole::text FROM pg_class c
                            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY 1)";
    sql::texts(&mut cluster.connect(database), query)
}

#[track_caller]
fn assert_left_alone(cluster: &Cluster, platform: &Platform, database: &str, before: &[String]) {
    assert_eq!(owners(cluster, database), before, "{database} was taken");
    let listed = format!("SELECT database FROM stonescriptdb.databases WHERE platform = '{}'", platform.name);
    assert_eq!(sql::texts(&mut cluster.control(), &listed), Vec::<String>::new());
}

#[test]
fn who_may_only_create_tables_gives_nobody_the_database() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "gwm");
    let (database, mallory) = (platform.database(), unique("mallory"));
    run(&cluster, &format!("CREATE ROLE {mallory} LOGIN"));
    run(&cluster, &format!("CREATE DATABASE {database}"));
    let mut owner = cluster.connect(&database);
    sql::done(
        owner.batch_execute(&format!("CREATE TABLE customers (id int); GRANT CREATE ON SCHEMA public TO {mallory}")),
    );
    drop(owner);
    sql::done(cluster.connect_as(&mallory, &database).batch_execute(MARKS));
    let before = owners(&cluster, &database);
    let answer = platform.register_again(&fixtures::tiny()).error(409, "database_already_exists");
    assert!(answer.text.contains(&mallory), "it says whose the tables are: {answer}");
    platform.migrate(&fixtures::tiny()).client_error();
    assert_left_alone(&cluster, &platform, &database, &before);
    // Once they are whose the database is, it is a gateway's.
    sql::done(cluster.connect(&database).batch_execute(&format!("REASSIGN OWNED BY {mallory} TO postgres")));
    platform.register_again(&fixtures::tiny()).ok();
}

#[test]
fn a_gateways_own_role_that_owns_its_database_gives_it() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "gwo");
    let (database, gateway) = (platform.database(), unique("gateway"));
    run(&cluster, &format!("CREATE ROLE {gateway} LOGIN"));
    run(&cluster, &format!("CREATE DATABASE {database} OWNER {gateway}"));
    sql::done(cluster.connect_as(&gateway, &database).batch_execute(MARKS));
    platform.register_again(&fixtures::tiny()).ok();
    assert!(owners(&cluster, &database).iter().all(|line| line.ends_with(&platform.owner_role())));
}

#[test]
fn over_sql_a_gateways_database_is_its_owners_to_give() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "gws");
    let (database, alice) = (platform.database(), unique("alice"));
    run(&cluster, &format!("CREATE ROLE {alice} LOGIN; GRANT stonescriptdb_admin TO {alice}"));
    run(&cluster, &format!("CREATE DATABASE {database}"));
    sql::done(cluster.connect(&database).batch_execute(MARKS));
    let before = owners(&cluster, &database);
    let bundle = fixtures::tiny().tar_gz();
    let mut member = cluster.connect_as(&alice, "postgres");
    let name = Some(platform.name.as_str());
    refused(sql::register(&mut member, &bundle, name, None)).sqlstate("42501").says(&database);
    refused(sql::migrate(&mut member, &bundle, name, None)).sqlstate("42501").says(&database);
    assert_left_alone(&cluster, &platform, &database, &before);
    // The database alone is not enough: what is in it must be hers too.
    run(&cluster, &format!("ALTER DATABASE {database} OWNER TO {alice}"));
    refused(sql::register(&mut member, &bundle, name, None)).sqlstate("42501").says("must be owner of");
    sql::done(cluster.connect(&database).batch_execute(&format!(
        "ALTER TABLE accounts OWNER TO {alice}; ALTER TABLE _stonescriptdb_gateway_migrations OWNER TO {alice};
         ALTER TABLE _stonescriptdb_gateway_functions OWNER TO {alice}"
    )));
    sql::done(sql::register(&mut member, &bundle, name, None));
    assert!(owners(&cluster, &database).iter().all(|line| line.ends_with(&platform.owner_role())));
}

/// Nor does a role whose name is what HTTP is recorded as pass for HTTP.
#[test]
fn a_role_that_is_called_http_is_asked_too() {
    let cluster = Cluster::start();
    run(&cluster, "CREATE ROLE http LOGIN; GRANT stonescriptdb_admin TO http");
    run(&cluster, "CREATE DATABASE gwh_main");
    sql::done(cluster.connect("gwh_main").batch_execute(MARKS));
    let mut member = cluster.connect_as("http", "postgres");
    let bundle = fixtures::tiny().tar_gz();
    refused(sql::register(&mut member, &bundle, Some("gwh"), None)).sqlstate("42501");
}

/// A template's name is a name like any other to who registers, and it has all that a gateway's database has.
#[test]
fn a_template_is_no_gateways_database() {
    let cluster = shared();
    let victim = Platform::register(&cluster, "gwt", &fixtures::shop());
    let name =
        format!("SELECT datname FROM pg_database WHERE datname LIKE 'stonescriptdb\\_template\\_{}\\_%'", victim.name);
    let template = sql::text(&mut cluster.control(), &name);
    let tenant = template.strip_prefix("stonescriptdb_").expect("it was asked for");
    // For a moment of an upload a template lets in; a DBA may too.
    run(&cluster, &format!("ALTER DATABASE {template} ALLOW_CONNECTIONS true"));
    let before = owners(&cluster, &template);
    let answer = cluster.http().register("stonescriptdb", Some(tenant), &fixtures::tiny().tar_gz());
    assert!((400..500).contains(&answer.status), "{answer}");
    assert_eq!(owners(&cluster, &template), before);
    run(&cluster, &format!("ALTER DATABASE {template} ALLOW_CONNECTIONS false"));
    eventually("the victim to answer", || {
        let answer = victim.call("count_customers", serde_json::json!([]));
        check(answer.status == 200, answer)
    });
}
