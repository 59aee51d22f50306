//! A deployment that is stopped in the middle of a stage, in every way that there is.
//!
//! A stage is met by gates: statements of the bundle that wait as long as a role exists, or locks that the test holds. What is waited for
//! is seen in pg_stat_activity.

mod gates;
mod stop;

use std::sync::Mutex;

use acceptance::{Cluster, Platform, sql};

use crate::world::{OTHER, World};
use gates::Gate;
use stop::ALL;

/// The settings that let a lock be waited for as long as a test wants, and call every table big.
fn cluster() -> Cluster {
    Cluster::builder()
        .setting("stonescriptdb.deploy_lock_timeout", "300s")
        .setting("stonescriptdb.online_table_size", "8kB")
        .setting("stonescriptdb.call_timeout", "300s")
        .start()
}

/// Deploys one bundle after the other to a platform that is there, each stopped at the gate in one of the ways, and then again.
fn stop_at(gate: Gate, prefix: &str) {
    let cluster = cluster();
    let world = World::new(&cluster, prefix);
    let failures = Mutex::new(Vec::new());
    for (number, stop) in ALL.into_iter().enumerate() {
        let files = gates::bundle(number);
        let before = world.now();
        let why = format!("{gate:?}, {stop:?}");
        eprintln!("{why}");
        gate.close(&world);
        stop.stop(&world, "main", &files, &gate);
        gate.open(&world);
        if !cluster.is_running() {
            cluster.start_again();
        }
        cluster.wait_ready();
        world.wait_tidy();
        let state = world.last_state();
        if !stop.states(&gate).contains(&state.as_str()) {
            failures.lock().expect("not poisoned").push(format!("{why}: recorded as {state}"));
        }
        if gate.is_before_commit() {
            world.assert_unchanged_but_for_a_template(&before, &why);
        }
        world.assert_goes_in(&files, &why);
        gates::assert_complete(&world, number, &why);
    }
    let failures = failures.into_inner().expect("not poisoned");
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn while_the_template_is_created() {
    stop_at(Gate::CreateTemplate, "stmk");
}

#[test]
fn while_the_bundle_is_proved() {
    stop_at(Gate::Proof, "stpr");
}

#[test]
fn while_the_seeders_are_learned() {
    stop_at(Gate::Learning, "stle");
}

#[test]
fn while_a_migration_runs_in_the_tenant() {
    stop_at(Gate::Migration, "stmi");
}

#[test]
fn while_the_plan_runs_in_the_tenant() {
    stop_at(Gate::Plan, "stpl");
}

#[test]
fn while_a_seeder_runs_in_the_tenant() {
    stop_at(Gate::Seeder, "stse");
}

#[test]
fn while_an_index_is_built_after_the_commit() {
    stop_at(Gate::IndexAfterwards, "stix");
}

#[test]
fn while_a_migration_without_a_transaction_runs() {
    stop_at(Gate::MigrationAfterwards, "stun");
}

/// A new tenant: the copying of the template, and the seeders in the copy.
fn stop_new_tenant_at(gate: Gate, prefix: &str) {
    let cluster = cluster();
    let world = World::new(&cluster, prefix);
    let files = gates::bundle(0);
    world.assert_goes_in(&files, "the bundle, for its template");
    let before = world.now();
    for stop in ALL {
        let why = format!("{gate:?}, {stop:?}");
        eprintln!("{why}");
        gate.close(&world);
        stop.stop(&world, "third", &files, &gate);
        gate.open(&world);
        if !cluster.is_running() {
            cluster.start_again();
        }
        cluster.wait_ready();
        world.wait_tidy();
        world.assert_unchanged(&before, &why);
        let gone = !sql::database_exists(&mut cluster.control(), &world.platform.database_of("third"));
        assert!(gone, "the half-built database is left, {why}");
        assert!(stop.states(&gate).contains(&world.last_state().as_str()), "{why}: {}", world.last_state());
    }
    world.platform.register_tenant("third", &files).ok().field("status", "ready");
    assert_same(&world.platform, &cluster);
}

/// The third tenant is what the others are.
#[track_caller]
fn assert_same(platform: &Platform, cluster: &Cluster) {
    let schema = |tenant: &str| {
        let mut pg_dump = cluster.client_program("pg_dump");
        pg_dump.arg("--schema-only").arg(platform.database_of(tenant));
        let dump = String::from_utf8_lossy(&acceptance::server::run(pg_dump).stdout).into_owned();
        let mut lines: Vec<String> = dump
            .lines()
            .filter(|line| !line.contains("restrict "))
            .map(|line| line.trim_end_matches(',').to_owned())
            .collect();
        // The order of columns depends on the way.
        lines.sort();
        lines
    };
    assert_eq!(schema("third"), schema(OTHER));
}

#[test]
fn while_a_new_tenants_database_is_copied() {
    stop_new_tenant_at(Gate::Clone, "stcl");
}

#[test]
fn while_a_new_tenant_is_seeded() {
    stop_new_tenant_at(Gate::Seeder, "stns");
}
