//! The template of the bundle before, in which a bundle was to be proved by the short way: where that comes to nothing it is again what it was.

use acceptance::wait::check;
use acceptance::{Cluster, Files, Platform, eventually, shared, sql};

use crate::{assert_exact, migrate, next, shop, two};

/// The templates of a platform: name, bundle, state, whether it is marked as one, whether it lets anybody in.
fn templates(cluster: &Cluster, platform: &Platform<'_>) -> Vec<String> {
    let query = format!(
        "SELECT concat_ws(' ', t.database, t.sha256, t.state, d.datistemplate, d.datallowconn)
         FROM stonescriptdb.template t JOIN pg_database d ON d.oid = t.datid WHERE t.platform = '{}' ORDER BY 1",
        platform.name
    );
    sql::texts(&mut cluster.control(), &query)
}

/// Waits until the templates are these again.
#[track_caller]
fn wait_kept(cluster: &Cluster, platform: &Platform<'_>, kept: &[String], why: &str) {
    eventually(&format!("the template to be given back, {why}"), || {
        let there = templates(cluster, platform);
        check(there == kept, format!("{there:?} instead of {kept:?}"))
    });
}

/// A new tenant of the bundle before is a copy of the template, and right.
#[track_caller]
fn assert_of_use(cluster: &Cluster, platform: &Platform<'_>, tenant: &str, files: &Files) {
    platform.register_tenant(tenant, files).ok();
    assert_exact(cluster, platform, tenant, files);
}

#[test]
fn a_body_that_does_not_pass_costs_no_template() {
    let cluster = shared();
    let platform = two(&cluster, "keep");
    let kept = templates(&cluster, &platform);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let wrong = next().edit("functions/get_product.pssql", "RETURN QUERY", "RETURN QUARY");
    migrate(&cluster, &platform, "main", &wrong, &[]).error(422, "function_deploy_failed");
    wait_kept(&cluster, &platform, &kept, "a body is wrong");
    assert_of_use(&cluster, &platform, "b", &shop());
    assert_eq!(templates(&cluster, &platform), kept);
}

#[test]
fn a_bundle_that_has_to_be_built_from_nothing_leaves_the_template_to_the_other() {
    let cluster = shared();
    let platform = two(&cluster, "long");
    let kept = templates(&cluster, &platform);
    // Another volatility is more than another body.
    let files = shop().edit("functions/many.pssql", "IMMUTABLE AS 'SELECT a * 2'", "STABLE AS 'SELECT a * 2'");
    migrate(&cluster, &platform, "main", &files, &[]).ok();
    let there = templates(&cluster, &platform);
    assert_eq!(there.len(), 2, "{there:?}");
    assert!(there.contains(&kept[0]), "{there:?} without {kept:?}");
    assert_exact(&cluster, &platform, "main", &files);
    assert_of_use(&cluster, &platform, "b", &files);
}

/// A function that a seeder calls is committed before the seeders run.
#[test]
fn a_seeder_that_fails_with_the_new_bodies_costs_no_template() {
    let cluster = shared();
    let files = shop()
        .file(
            "functions/greeting.pssql",
            "CREATE FUNCTION greeting() RETURNS text LANGUAGE sql AS $$ SELECT 'hello' $$;\n",
        )
        .file("tables/greetings.pssql", "CREATE TABLE greetings (id int PRIMARY KEY, body text NOT NULL);\n")
        .file("seeders/greetings.pssql", "INSERT INTO greetings VALUES (1, greeting());\n");
    let platform = Platform::register(&cluster, "seed", &files);
    let kept = templates(&cluster, &platform);
    let wrong = files.clone().edit("functions/greeting.pssql", "'hello'", "NULL::text");
    platform.migrate(&wrong).expect(422);
    wait_kept(&cluster, &platform, &kept, "a seeder failed");
    assert_of_use(&cluster, &platform, "b", &files);
    let mut client = cluster.connect(&platform.database_of("b"));
    assert_eq!(sql::text(&mut client, "SELECT body FROM greetings"), "hello");
    // And it does for the next bundle.
    let right = files.clone().edit("functions/greeting.pssql", "'hello'", "'good day'");
    platform.migrate(&right).ok();
    assert_exact(&cluster, &platform, "b", &right);
    assert_eq!(templates(&cluster, &platform).len(), 1);
}
