//! Roles of a platform that log in by themselves, where `pg_hba.conf` lets them (the tests' clusters trust everybody), and what they may
//! there.

use std::fmt::Write;

use acceptance::{Cluster, fixtures, refused, sql};

use crate::world::World;

/// What the roles of a platform, in the control database and in `template1`, try to read and to change, and the SQLSTATE.
const ATTEMPTS: &[(&str, &str)] = &[
    ("TABLE stonescriptdb.platform", "42501"),
    ("TABLE stonescriptdb.bundle", "42501"),
    ("TABLE stonescriptdb.token", "42501"),
    ("TABLE stonescriptdb.deployment", "42501"),
    ("TABLE stonescriptdb.database", "42501"),
    ("TABLE stonescriptdb.platforms", "42501"),
    ("TABLE stonescriptdb.databases", "42501"),
    ("TABLE stonescriptdb.changelog", "42501"),
    ("TABLE stonescriptdb.workers", "42501"),
    ("SELECT stonescriptdb.call('{victim_name}', 'count_customers')", "42501"),
    ("SELECT stonescriptdb.register('\\x00', '{victim_name}')", "42501"),
    ("SELECT stonescriptdb.migrate('\\x00', '{victim_name}')", "42501"),
    ("SELECT stonescriptdb.create_token('{victim_name}')", "42501"),
    ("SELECT stonescriptdb.drop_tenant('{victim_name}', 'main', '{victim}')", "42501"),
    ("SELECT stonescriptdb.rename_tenant('{victim_name}', 'main', 'evil')", "42501"),
    ("UPDATE stonescriptdb.database SET suspended = 'evil'", "42501"),
    ("DELETE FROM stonescriptdb.token", "42501"),
    ("INSERT INTO stonescriptdb.database (name) VALUES ('evil')", "42501"),
    ("CREATE TABLE public.evil (id int)", "42501"),
    ("CREATE FUNCTION public.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'", "42501"),
    ("CREATE FUNCTION stonescriptdb.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'", "42501"),
    ("CREATE SCHEMA evil", "42501"),
    ("CREATE EXTENSION pgcrypto", "42501"),
    ("DROP EXTENSION stonescriptdb", "42501"),
    ("ALTER EXTENSION stonescriptdb UPDATE", "42501"),
    ("DROP DATABASE {victim}", "42501"),
    ("ALTER DATABASE {victim} ALLOW_CONNECTIONS false", "42501"),
    ("ALTER DATABASE {victim} SET search_path = evil", "42501"),
    ("ALTER DATABASE {victim} RENAME TO evil", "42501"),
    ("ALTER DATABASE {victim} OWNER TO {owner}", "42501"),
    ("ALTER DATABASE {template} ALLOW_CONNECTIONS true", "42501"),
    ("ALTER DATABASE {template} IS_TEMPLATE false", "42501"),
    ("DROP DATABASE {template}", "42501"),
    ("CREATE DATABASE evil TEMPLATE {template}", "42501"),
    ("CREATE DATABASE evil TEMPLATE {victim}", "42501"),
    ("ALTER ROLE {victim_owner} PASSWORD 'x'", "42501"),
    ("GRANT {victim_owner} TO {owner}", "42501"),
    ("GRANT stonescriptdb_admin TO {owner}", "42501"),
    ("SET ROLE {victim_owner}", "42501"),
    ("SET ROLE stonescriptdb_admin", "42501"),
    ("SET SESSION AUTHORIZATION {victim_owner}", "42501"),
    ("ALTER SYSTEM SET stonescriptdb.admin_token = 'known'", "42501"),
    ("ALTER SYSTEM RESET ALL", "42501"),
    ("SET stonescriptdb.admin_token = 'known'", "55P02"),
    ("SELECT pg_read_file('stonescriptdb/broker.sock')", "42501"),
    ("COPY (SELECT 1) TO PROGRAM 'touch {dir}/evil'", "42501"),
    ("SELECT pg_terminate_backend({server})", "42501"),
    ("LOAD 'stonescriptdb'", "42501"),
    ("CREATE FUNCTION pg_temp.evil(text) RETURNS int LANGUAGE c AS 'stonescriptdb', 'call_wrapper'", "42501"),
];

#[test]
fn a_platforms_roles_enter_their_own_databases_only() {
    let cluster = Cluster::start();
    let world = World::new(&cluster, |_| fixtures::tiny());
    for role in [world.spy.owner_role(), world.spy.call_role()] {
        for (database, state) in [
            (world.victim.database(), "42501"),
            // The right is looked at before whether it lets anybody in.
            (world.template.clone(), "55000"),
            ("template0".to_owned(), "55000"),
        ] {
            refused(cluster.try_connect_as(&role, &database).map(|_| ())).sqlstate(state);
        }
        for own in [world.spy.database(), world.spy.database_of("acme")] {
            drop(cluster.connect_as(&role, &own));
        }
    }
    // Nor where a template lets in, as it does while a bundle is proved in it.
    let template = &world.template;
    sql::done(cluster.control().batch_execute(&format!("ALTER DATABASE {template} ALLOW_CONNECTIONS true")));
    for role in [world.spy.owner_role(), world.spy.call_role()] {
        refused(cluster.try_connect_as(&role, template).map(|_| ())).sqlstate("42501");
    }
    sql::done(cluster.control().batch_execute(&format!("ALTER DATABASE {template} ALLOW_CONNECTIONS false")));
    world.assert_untouched();
}

#[test]
fn a_platforms_roles_may_nothing_in_the_databases_of_all() {
    let cluster = Cluster::start();
    let world = World::new(&cluster, |_| fixtures::tiny());
    let mut wrong = String::new();
    for role in [world.spy.owner_role(), world.spy.call_role()] {
        for database in ["postgres", "template1"] {
            let mut client = cluster.connect_as(&role, database);
            for (attempt, state) in ATTEMPTS {
                if database == "template1"
                    && attempt.contains("stonescriptdb.")
                    && !attempt.starts_with("ALTER SYSTEM")
                    && !attempt.starts_with("SET")
                    && !attempt.contains("pg_read_file")
                {
                    continue;
                }
                let attempt = world.fill(attempt).replace("{victim_name}", &world.victim.name);
                match client.batch_execute(&attempt) {
                    Ok(()) => writeln!(wrong, "{role} in {database}: it worked: {attempt}").expect("memory"),
                    Err(error) => {
                        let seen = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
                        let is_absent =
                            database == "template1" && seen == "42704" && attempt.contains("EXTENSION stonescriptdb");
                        if seen != *state && !is_absent {
                            writeln!(wrong, "{role} in {database}: {attempt}: {state} expected: {error:?}")
                                .expect("memory");
                        }
                    }
                }
            }
            let shown = client.query("SELECT current_setting('stonescriptdb.admin_token', true)", &[]);
            refused(shown).sqlstate("42501");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    world.assert_untouched();
}

/// What the owner role may with a direct login, as the owner of its databases, the next deployment takes back.
#[test]
fn who_was_let_in_by_a_direct_login_is_shut_out_by_the_next_deployment() {
    let cluster = Cluster::start();
    let world = World::new(&cluster, |_| fixtures::tiny());
    let database = world.spy.database();
    let mut owner = cluster.connect_as(&world.spy.owner_role(), &database);
    sql::done(owner.batch_execute(&format!("GRANT CONNECT ON DATABASE {database} TO {}", world.victim.call_role())));
    world
        .spy
        .register_again(
            &fixtures::tiny()
                .file("functions/g.pssql", "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 2';\n"),
        )
        .ok();
    refused(cluster.try_connect_as(&world.victim.call_role(), &database).map(|_| ())).sqlstate("42501");
}
