//! A database under the name of a tenant that is gone is the tenant's only if nothing in it is a stranger's.

use acceptance::{Cluster, Platform, eventually, fixtures, shared, sql, unique, wait::check};
use serde_json::json;

#[track_caller]
fn run(cluster: &Cluster, sql: &str) {
    sql::done(cluster.control().batch_execute(sql));
}

#[track_caller]
fn assert_stranger(cluster: &Cluster, platform: &Platform, tenant: &str, says: &str) {
    let database = platform.database_of(tenant);
    let said = format!("the database \"{database}\" has the name of a tenant's, but is none: ");
    eventually("the log to say why it is not taken", || {
        let log = cluster.log();
        let line = log.lines().find(|line| line.contains(&said)).unwrap_or_default().to_owned();
        check(line.contains(says), format!("{says:?} expected in: {line:?}"))
    });
    platform.call_tenant(tenant, "count_customers", json!([])).error(404, "database_not_found");
}

/// A platform whose tenant acme was dropped by plain SQL, with the name of that one's database and of the platform's template.
fn dropped(cluster: &Cluster) -> (Platform<'_>, String, String) {
    let platform = Platform::register(cluster, "cpy", &fixtures::shop());
    platform.register_tenant("acme", &fixtures::shop()).ok();
    let database = platform.database_of("acme");
    run(cluster, &format!("DROP DATABASE {database}"));
    let like = format!(
        "SELECT datname FROM pg_database WHERE datname LIKE 'stonescriptdb\\_template\\_{}\\_%'",
        platform.name
    );
    let template = sql::text(&mut cluster.control(), &like);
    (platform, database, template)
}

#[test]
fn a_template_that_somebody_copied_is_not_a_tenant() {
    let cluster = shared();
    let (platform, database, template) = dropped(&cluster);
    let mallory = unique("mallory");
    run(&cluster, &format!("CREATE ROLE {mallory} LOGIN CREATEDB"));
    let mut theirs = cluster.connect_as(&mallory, "postgres");
    sql::done(theirs.batch_execute(&format!("CREATE DATABASE {database} TEMPLATE {template}")));
    // What comes first in the search path of calls, were it one.
    let caller = platform.call_role();
    sql::done(theirs.batch_execute(&format!("ALTER DATABASE {database} SET search_path = evil, public")));
    assert_stranger(&cluster, &platform, "acme", &mallory);
    let owner = format!("SELECT datdba::regrole FROM pg_database WHERE datname = '{database}'");
    assert_eq!(sql::text(&mut cluster.control(), &owner), mallory);
    let let_in = format!(
        "SELECT count(*) FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = '{database}' AND a.grantee = '{caller}'::regrole"
    );
    assert_eq!(sql::text(&mut cluster.control(), &let_in), "0");
    // Nor by the other door: the tenant is registered anew, and this looks like a gateway's database.
    platform
        .register_tenant("acme", &fixtures::shop())
        .error(409, "database_already_exists")
        .says("belongs to the role");
    assert_eq!(sql::text(&mut cluster.control(), &owner), mallory);
}

/// Tenants of one platform that were dropped by plain SQL, and copies of the template under the names of their databases. Each is
/// `changed` while it has another name: under this one it would be the tenant's at once.
fn copied<'a>(
    cluster: &'a Cluster,
    count: usize,
    changed: impl Fn(&Platform, usize, &str),
) -> (Platform<'a>, Vec<String>) {
    let platform = Platform::register(cluster, "cpy", &fixtures::shop());
    let like = format!(
        "SELECT datname FROM pg_database WHERE datname LIKE 'stonescriptdb\\_template\\_{}\\_%'",
        platform.name
    );
    let template = sql::text(&mut cluster.control(), &like);
    let tenants: Vec<String> = (0..count).map(|number| format!("t{number}")).collect();
    for (number, tenant) in tenants.iter().enumerate() {
        platform.register_tenant(tenant, &fixtures::shop()).ok();
        let (database, copy) = (platform.database_of(tenant), unique("copy"));
        run(cluster, &format!("DROP DATABASE {database}"));
        run(cluster, &format!("CREATE DATABASE {copy} TEMPLATE {template}"));
        changed(&platform, number, &copy);
        run(cluster, &format!("ALTER DATABASE {copy} RENAME TO {database}"));
    }
    (platform, tenants)
}

#[track_caller]
fn assert_answers(platform: &Platform, tenant: &str) {
    eventually("the tenant to answer", || {
        let answer = platform.call_tenant(tenant, "count_customers", json!([]));
        check(answer.status == 200, answer)
    });
}

#[test]
fn a_copy_with_a_strangers_objects_is_not_a_tenant() {
    const PLANTED: [&str; 6] = [
        "CREATE SCHEMA {caller}; CREATE FUNCTION {caller}.count_customers() RETURNS bigint LANGUAGE sql AS 'SELECT 666::bigint'",
        "CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT ''evil'''",
        "CREATE TYPE public.evil AS ENUM ('a')",
        "SELECT lo_create(0)",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC",
        "CREATE PUBLICATION evil",
    ];
    let cluster = shared();
    let mallory = unique("mallory");
    run(&cluster, &format!("CREATE ROLE {mallory} LOGIN"));
    let (platform, tenants) = copied(&cluster, PLANTED.len(), |platform, number, copy| {
        run(&cluster, &format!("GRANT CREATE, CONNECT ON DATABASE {copy} TO {mallory}"));
        sql::done(cluster.connect(copy).batch_execute(&format!("GRANT CREATE ON SCHEMA public TO {mallory}")));
        let planted = PLANTED[number].replace("{caller}", &platform.call_role());
        sql::done(cluster.connect_as(&mallory, copy).batch_execute(&planted));
    });
    for tenant in &tenants {
        assert_stranger(&cluster, &platform, tenant, &mallory);
        // When it is gone, the tenant is there.
        let database = platform.database_of(tenant);
        sql::done(cluster.connect(&database).batch_execute(&format!("DROP OWNED BY {mallory}")));
    }
    tenants.iter().for_each(|tenant| assert_answers(&platform, tenant));
}

#[test]
fn a_copy_with_settings_of_its_own_is_not_a_tenant() {
    const SETTINGS: [&str; 3] = ["search_path = evil", "role = pg_monitor", "local_preload_libraries = 'evil'"];
    let cluster = shared();
    let (platform, tenants) = copied(&cluster, SETTINGS.len(), |_, number, copy| {
        run(&cluster, &format!("ALTER DATABASE {copy} SET {}", SETTINGS[number]));
    });
    for (tenant, setting) in tenants.iter().zip(SETTINGS) {
        assert_stranger(&cluster, &platform, tenant, setting.split(' ').next().unwrap_or_default());
        let database = platform.database_of(tenant);
        // One that decides nothing may stay.
        run(&cluster, &format!("ALTER DATABASE {database} RESET ALL"));
        run(&cluster, &format!("ALTER DATABASE {database} SET work_mem = '8MB'"));
    }
    tenants.iter().for_each(|tenant| assert_answers(&platform, tenant));
}

/// A DBA who may be the owner role restores what is the owner role's.
#[test]
fn who_may_be_the_owner_role_is_no_stranger() {
    let cluster = shared();
    let dba = unique("dba");
    run(&cluster, &format!("CREATE ROLE {dba} LOGIN"));
    let (platform, tenants) = copied(&cluster, 1, |platform, _, copy| {
        run(&cluster, &format!("GRANT {} TO {dba}", platform.owner_role()));
        run(&cluster, &format!("ALTER DATABASE {copy} OWNER TO {dba}"));
        let notes = "CREATE TABLE public.notes_of_the_dba (id int)";
        sql::done(cluster.connect_as(&dba, copy).batch_execute(notes));
    });
    assert_answers(&platform, &tenants[0]);
}
