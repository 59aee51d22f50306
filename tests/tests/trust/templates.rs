//! The database in which a bundle was proved is kept closed, and new tenants are copies of it.

use acceptance::{Cluster, Files, Platform, Snapshot, eventually, fixtures, server, shared, sql, wait};
use serde_json::json;

use crate::{assert_exact, by_hand, migrate, templates};

/// Waits until a platform has so many templates: superseded ones go after the answer.
#[track_caller]
fn wait_templates(cluster: &Cluster, platform: &Platform<'_>, count: usize, why: &str) -> Vec<String> {
    eventually(&format!("{count} templates of {}, {why}", platform.name), || {
        let there = templates(cluster, &platform.name);
        wait::check(there.len() == count, format!("{there:?}")).map(|()| there)
    })
}

/// `pg_dump --schema-only` with owners and grants.
fn dump(cluster: &Cluster, database: &str) -> String {
    let mut pg_dump = cluster.client_program("pg_dump");
    pg_dump.arg("--schema-only").arg(database);
    let dump = String::from_utf8_lossy(&server::run(pg_dump).stdout).into_owned();
    dump.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn after_a_register_there_is_a_template_that_nobody_can_enter() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "tmpl", &fixtures::shop());
    let template = wait_templates(&cluster, &platform, 1, "one was proved").remove(0);
    let query = format!(
        "SELECT concat_ws(' ', datistemplate, datallowconn, datdba::regrole) FROM pg_database WHERE datname = '{template}'"
    );
    assert_eq!(sql::text(&mut cluster.control(), &query), format!("t f {}", platform.owner_role()));
    for role in ["postgres".to_owned(), platform.owner_role(), platform.call_role()] {
        let error = cluster.try_connect_as(&role, &template).err().unwrap_or_else(|| panic!("{role} got in"));
        assert_eq!(error.code().map(|code| code.code().to_owned()).as_deref(), Some("55000"), "{error}");
    }
    // It is no tenant.
    let listed = format!("SELECT database FROM stonescriptdb.databases WHERE platform = '{}'", platform.name);
    assert_eq!(sql::texts(&mut cluster.control(), &listed), [platform.database()]);
    platform.call_tenant(&template, "count_customers", json!([])).error(404, "database_not_found");
}

#[test]
fn a_further_tenant_is_a_copy_and_equals_the_first() {
    let cluster = shared();
    // Whoever runs this bundle's migration says so in the server's log.
    let files = fixtures::shop()
        .file(
            "migrations/001_said.pssql",
            "DO $$BEGIN RAISE LOG 'the migration of a copied tenant runs'; END$$;\n\
             CREATE TABLE IF NOT EXISTS by_migration (id serial PRIMARY KEY);\n",
        )
        .file("migrations/002_more.pssql", "COMMENT ON TABLE by_migration IS 'made by a migration';\n");
    let platform = Platform::register(&cluster, "copy", &files);
    let runs = || cluster.log().matches("the migration of a copied tenant runs").count();
    let before = runs();
    assert!(before > 0, "it ran in the template");
    let answer = platform.register_tenant("a", &files).ok().field("status", "ready");
    assert_eq!(answer.number("migrations_applied"), 2, "{answer}");
    assert_eq!(answer.number("tables_created"), 4, "{answer}");
    assert_eq!(answer.number("functions_deployed"), 4, "{answer}");
    cluster
        .http()
        .admin()
        .post_json("/admin/create-tenant", &json!({"platform": platform.name, "tenant_id": "b"}))
        .expect(201);
    assert_eq!(runs(), before, "its migrations ran again");
    let first = dump(&cluster, &platform.database());
    for tenant in ["a", "b"] {
        let database = platform.database_of(tenant);
        assert_eq!(dump(&cluster, &database), first, "{tenant}");
        assert_exact(&cluster, &platform, tenant, "it is a copy");
        let mut client = cluster.connect(&database);
        assert_eq!(crate::applied(&mut client), ["001_said.pssql", "002_more.pssql"]);
        assert_eq!(sql::text(&mut client, "SELECT count(*) FROM products"), "3", "it is seeded");
        let dated = "SELECT min(applied_at) > now() - interval '1 minute' AND count(*) = 2 FROM _stonescriptdb_gateway_migrations";
        assert_eq!(sql::text(&mut client, dated), "t");
        let same = format!("SELECT datdba::regrole::text FROM pg_database WHERE datname = '{database}'");
        assert_eq!(sql::text(&mut cluster.control(), &same), platform.owner_role());
        let flags =
            format!("SELECT concat_ws(' ', datistemplate, datallowconn) FROM pg_database WHERE datname = '{database}'");
        assert_eq!(sql::text(&mut cluster.control(), &flags), "f t");
    }
    // Copies have nothing to do with each other.
    platform.call_tenant("a", "add_customer", json!(["Ada"])).ok();
    assert_eq!(platform.call_tenant("b", "count_customers", json!([])).value(), 0);
}

#[test]
fn a_bundle_that_fails_in_the_proof_leaves_nothing() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "tbad", &fixtures::shop());
    platform.register_tenant("a", &fixtures::shop()).ok();
    let kept = wait_templates(&cluster, &platform, 1, "of the good bundle");
    let before: Vec<Snapshot> =
        ["main", "a"].iter().map(|tenant| Snapshot::of(&cluster, &platform.database_of(tenant))).collect();
    for (path, text) in [
        ("functions/bad.pssql", "CREATE FUNCTION bad() RETURNS int LANGUAGE sql AS 'SELECT nope';\n"),
        ("migrations/001_bad.pssql", "CREATE TABLE IF NOT EXISTS half (id int);\nSELECT 1 / 0;\n"),
        ("seeders/customers.pssql", "INSERT INTO customers (name) VALUES (NULL);\n"),
        ("tables/bad.pssql", "CREATE TABLE bad (id no_such_type);\n"),
    ] {
        let files = fixtures::shop().file(path, text);
        platform.migrate(&files).expect(422);
        platform.register_tenant("new", &files).expect(422);
        let fresh = Platform::unregistered(&cluster, "tbadnew");
        fresh.register_again(&files).expect(422);
        fresh.assert_absent(path);
        wait_templates(&cluster, &fresh, 0, path);
        assert_eq!(wait_templates(&cluster, &platform, 1, path), kept);
        assert!(!sql::database_exists(&mut cluster.control(), &platform.database_of("new")), "{path}");
        for (tenant, before) in ["main", "a"].iter().zip(&before) {
            before.assert_unchanged(&cluster, &platform.database_of(tenant), path);
        }
    }
    let rows = format!("SELECT state FROM stonescriptdb.template WHERE platform = '{}'", platform.name);
    assert_eq!(sql::texts(&mut cluster.control(), &rows), ["ready"]);
}

#[test]
fn superseded_templates_go_when_all_tenants_have_moved_on() {
    let cluster = shared();
    let bundle = |n: u32| {
        let files = fixtures::tiny().edit("functions/f.pssql", "SELECT 1", &format!("SELECT {n}"));
        files.file("views/v.pssql", format!("CREATE VIEW v AS SELECT {n} AS n;\n"))
    };
    let platform = Platform::register(&cluster, "super", &bundle(1));
    platform.register_tenant("a", &bundle(1)).ok();
    migrate(&cluster, &platform, "main", &bundle(2), &[]).ok();
    wait_templates(&cluster, &platform, 2, "one tenant is still in the first state");
    migrate(&cluster, &platform, "a", &bundle(2), &[]).ok();
    let second = wait_templates(&cluster, &platform, 1, "all have moved on");
    // Many bundles leave no pile.
    for n in 3..8 {
        platform.migrate(&bundle(n)).ok();
    }
    let last = wait_templates(&cluster, &platform, 1, "after many bundles");
    assert_ne!(last, second);
    // Bodies of functions alone change: not even then.
    for n in 3..6 {
        platform.migrate(&bundle(7).edit("functions/f.pssql", "SELECT 7", &format!("SELECT {n} + 1"))).ok();
        assert_eq!(platform.call("f", json!([])).value(), n + 1);
        platform
            .register_tenant(
                &format!("n{n}"),
                &bundle(7).edit("functions/f.pssql", "SELECT 7", &format!("SELECT {n} + 1")),
            )
            .ok();
        assert_eq!(platform.call_tenant(&format!("n{n}"), "f", json!([])).value(), n + 1);
    }
    wait_templates(&cluster, &platform, 1, "after many functions");
    // And back to an older one: it is proved again.
    platform.migrate(&bundle(1)).ok();
    platform.register_tenant("b", &bundle(1)).ok();
    for tenant in ["main", "a", "b"] {
        assert_eq!(platform.call_tenant(tenant, "f", json!([])).value(), 1, "{tenant}");
    }
    wait_templates(&cluster, &platform, 1, "back at the first bundle");
}

#[test]
fn a_template_that_a_dba_dropped_is_made_again() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "tgone", &fixtures::shop());
    let template = wait_templates(&cluster, &platform, 1, "one was proved").remove(0);
    let mut control = cluster.control();
    by_hand(&mut control, &format!("ALTER DATABASE {template} IS_TEMPLATE false"));
    by_hand(&mut control, &format!("DROP DATABASE {template}"));
    platform.register_again(&fixtures::shop()).ok();
    platform.register_tenant("a", &fixtures::shop()).ok();
    assert_eq!(dump(&cluster, &platform.database_of("a")), dump(&cluster, &platform.database()));
    assert_exact(&cluster, &platform, "a", "its template was made again");
    wait_templates(&cluster, &platform, 1, "made again");
}

#[test]
fn a_platforms_templates_go_with_its_last_tenant() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "tlast", &fixtures::tiny());
    platform.register_tenant("a", &fixtures::tiny()).ok();
    let drop = "SELECT stonescriptdb.drop_tenant($1, $2, $3)";
    sql::done(cluster.control().query_one(drop, &[&platform.name, &"a", &platform.database_of("a")]));
    // The last bundle's template stays, for new tenants.
    cluster
        .http()
        .admin()
        .post_json("/admin/create-tenant", &json!({"platform": platform.name, "tenant_id": "b"}))
        .expect(201);
    assert_eq!(platform.call_tenant("b", "f", json!([])).value(), 1);
    wait_templates(&cluster, &platform, 1, "for the next tenant");
}

#[test]
fn migrations_that_insert_rows_give_every_tenant_its_own() {
    let cluster = shared();
    let files = Files::new()
        .file("tables/plans.pssql", "CREATE TABLE plans (id serial PRIMARY KEY, name text NOT NULL, token uuid NOT NULL DEFAULT gen_random_uuid(), made_at timestamptz NOT NULL);\n")
        .file("migrations/001_plans.pssql", "INSERT INTO plans (name, made_at) VALUES ('free', clock_timestamp()), ('paid', clock_timestamp());\n")
        .file("migrations/002_where.pssql", "CREATE TABLE IF NOT EXISTS place (db text);\nINSERT INTO place VALUES (current_database());\n")
        .file("functions/add_plan.pssql", "CREATE FUNCTION add_plan(n text) RETURNS int LANGUAGE sql AS $$ INSERT INTO plans (name, made_at) VALUES (n, now()) RETURNING id $$;\n");
    let platform = Platform::register(&cluster, "rows", &files);
    let mut tokens = Vec::new();
    for tenant in ["main", "a", "b"] {
        let begun = sql::text(&mut cluster.control(), "SELECT clock_timestamp()");
        if tenant != "main" {
            platform.register_tenant(tenant, &files).ok().field("migrations_applied", 2);
        }
        let mut client = cluster.connect(&platform.database_of(tenant));
        assert_eq!(sql::texts(&mut client, "SELECT id || name FROM plans ORDER BY id"), ["1free", "2paid"], "{tenant}");
        assert_eq!(
            sql::texts(&mut client, "SELECT db FROM place"),
            [platform.database_of(tenant)],
            "{tenant}: of its own database"
        );
        if tenant != "main" {
            let own = format!("SELECT min(made_at) >= '{begun}' FROM plans");
            assert_eq!(sql::text(&mut client, &own), "t", "{tenant}: times of the proof");
        }
        tokens.extend(sql::texts(&mut client, "SELECT token FROM plans"));
        assert_eq!(platform.call_tenant(tenant, "add_plan", json!(["x"])).value(), 3, "{tenant}");
        assert_exact(&cluster, &platform, tenant, "it is new");
    }
    let all = tokens.len();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), all, "no two tenants have the same: {tokens:?}");
    let owners = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE tableowner LIKE 'stonescriptdb%' AND tablename NOT LIKE '\\_stonescriptdb%' ORDER BY 1";
    assert_eq!(sql::texts(&mut platform.connect(), owners), ["public.place", "public.plans"]);
}
