//! Statements that take too long, locks that others hold, deadlocks.

use acceptance::wait::check;
use acceptance::{Answer, Cluster, Files, eventually, sql};
use postgres::Client;

use crate::world::{World, grown};

/// A cluster whose deployments give up soon on statements.
fn hasty() -> Cluster {
    Cluster::builder().setting("stonescriptdb.deploy_statement_timeout", "400ms").start()
}

#[track_caller]
fn check_timeout(answer: Answer, place: (&str, i64)) {
    let answer = answer.client_error().field("sqlstate", "57014");
    assert_eq!(answer.status, 422, "{answer}");
    assert!(answer.str("file").ends_with(place.0), "{answer}");
    assert_eq!(answer.number("line"), place.1, "{answer}");
}

/// Sleeps for as many minutes as there are notes: not at all in the template.
const NAP: &str = "SELECT pg_sleep(count(*) * 60) FROM notes;\n";

#[test]
fn a_migration_that_takes_too_long_in_the_tenant() {
    let cluster = hasty();
    let world = World::new(&cluster, "slowmig");
    let before = world.now();
    let files = grown().file("migrations/003_x.pssql", format!("UPDATE items SET name = 'x';\n{NAP}"));
    check_timeout(world.platform.migrate(&files), ("migrations/003_x.pssql", 2));
    assert_eq!(world.last_state(), "failed");
    world.assert_unchanged_but_for_a_template(&before, "a migration took too long");
    world.assert_goes_in(&grown().edit("functions/f.pssql", "SELECT 2", "SELECT 3"), "a good one");
}

#[test]
fn a_step_of_the_plan_that_takes_too_long_in_the_tenant() {
    let cluster = hasty();
    let world = World::new(&cluster, "slowplan");
    let before = world.now();
    let files = grown()
        .file(
            "functions/slow.pssql",
            "CREATE FUNCTION slow(a int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN true; END $$;\n",
        )
        .edit("tables/items.pssql", "qty int", "qty int CHECK (slow(qty))");
    check_timeout(world.platform.migrate(&files), ("tables/items.pssql", 1));
    world.assert_unchanged_but_for_a_template(&before, "a step took too long");
    world.assert_goes_in(&grown().edit("functions/f.pssql", "SELECT 2", "SELECT 3"), "a good one");
}

#[test]
fn a_seeder_that_takes_too_long_in_the_tenant() {
    let cluster = hasty();
    let world = World::new(&cluster, "slowseed");
    let before = world.now();
    let files = grown()
        .file("tables/tags.pssql", "CREATE TABLE tags (id bigint PRIMARY KEY);\n")
        .file("seeders/tags.pssql", format!("INSERT INTO tags VALUES (7);\n{NAP}"));
    check_timeout(world.platform.migrate(&files), ("seeders/tags.pssql", 2));
    world.assert_unchanged_but_for_a_template(&before, "a seeder took too long");
    world.assert_goes_in(&grown().edit("functions/f.pssql", "SELECT 2", "SELECT 3"), "a good one");
}

#[test]
fn a_statement_that_takes_too_long_in_the_proof() {
    let cluster = hasty();
    let world = World::new(&cluster, "slowprove");
    let before = world.now();
    for (path, text) in [
        ("migrations/003_x.pssql", "SELECT 1;\nSELECT pg_sleep(60);\n"),
        ("seeders/zz.pssql", "SELECT 1;\nSELECT pg_sleep(60);\n"),
        ("tables/zz.pssql", "CREATE TABLE zz (id int);\nDO $$ BEGIN PERFORM pg_sleep(60); END $$;\n"),
    ] {
        check_timeout(world.platform.migrate(&grown().file(path, text)), (path, 2));
        world.assert_unchanged(&before, path);
    }
    world.assert_goes_in(&grown().edit("functions/f.pssql", "SELECT 2", "SELECT 3"), "a good one");
}

/// Bundles that need a strong lock on items, each at another stage.
fn needing_a_lock() -> [(&'static str, Files); 3] {
    [
        ("the plan", grown().edit("tables/items.pssql", "qty int", "qty int, more int")),
        (
            "a migration",
            grown().file(
                "migrations/003_x.pssql",
                "ALTER TABLE items ALTER COLUMN qty SET DEFAULT 7;\nALTER TABLE items ALTER COLUMN qty DROP DEFAULT;\n",
            ),
        ),
        (
            "a seeder",
            grown()
                .file("tables/tags.pssql", "CREATE TABLE tags (id bigint PRIMARY KEY);\n")
                .file("seeders/tags.pssql", "INSERT INTO tags SELECT 7 WHERE (SELECT count(*) >= 0 FROM items);\n"),
        ),
    ]
}

#[track_caller]
fn hold<'c>(client: &'c mut Client, statement: &str) -> (postgres::Transaction<'c>, String) {
    let pid = sql::text(client, "SELECT pg_backend_pid()");
    let mut transaction = sql::done(client.transaction());
    sql::done(transaction.batch_execute(statement));
    (transaction, pid)
}

#[test]
fn a_lock_that_stays_out_of_reach_names_its_holder_and_can_be_tried_again() {
    let cluster = Cluster::builder().setting("stonescriptdb.deploy_lock_timeout", "100ms").start();
    for (what, files) in needing_a_lock() {
        let world = World::new(&cluster, "locked");
        let before = world.now();
        let mut session = world.platform.connect();
        let (held, pid) = hold(&mut session, "LOCK TABLE items IN ACCESS EXCLUSIVE MODE");
        for _ in 0..2 {
            let answer = world.platform.migrate(&files).error(503, "lock_timeout").field("sqlstate", "55P03");
            assert!(answer.header("retry-after").is_some(), "{what}: {answer}");
            answer.says(&format!("pid {pid}"));
            assert_eq!(world.last_state(), "failed", "{what}");
        }
        sql::done(held.rollback());
        drop(session);
        world.assert_unchanged_but_for_a_template(&before, what);
        world.assert_goes_in(&files, what);
    }
}

#[test]
fn only_those_who_hold_a_lock_in_the_way_are_named() {
    let cluster = Cluster::builder().setting("stonescriptdb.deploy_lock_timeout", "100ms").start();
    let world = World::new(&cluster, "holders");
    let (mut first, mut second) = (world.platform.connect(), world.platform.connect());
    let (_held, holder) = hold(&mut first, "LOCK TABLE items IN ACCESS SHARE MODE");
    let (_other, bystander) = hold(&mut second, "LOCK TABLE kinds IN ACCESS SHARE MODE");
    let files = grown().edit("tables/items.pssql", "qty int", "qty int, more int");
    let answer = world.platform.migrate(&files).error(503, "lock_timeout").says(&format!("pid {holder} "));
    assert!(!answer.text.contains(&format!("pid {bystander} ")), "that session holds nothing that is needed: {answer}");
}

/// The lock comes free between two attempts: the deployment goes through by itself.
#[test]
fn a_lock_that_comes_free_in_time_is_waited_for() {
    let cluster = Cluster::builder().setting("stonescriptdb.deploy_lock_timeout", "2s").start();
    let world = World::new(&cluster, "patient");
    let mut session = world.platform.connect();
    let (held, _) = hold(&mut session, "LOCK TABLE items IN ACCESS EXCLUSIVE MODE");
    let files = grown().edit("tables/items.pssql", "qty int", "qty int, more int");
    std::thread::scope(|scope| {
        let deployment = scope.spawn(|| world.platform.migrate(&files));
        let mut control = cluster.control();
        let mut attempt = || {
            sql::texts(
                &mut control,
                "SELECT xact_start FROM pg_stat_activity
                                      WHERE backend_type = 'stonescriptdb executor' AND wait_event_type = 'Lock'",
            )
            .pop()
        };
        let first = eventually("an attempt", || attempt().ok_or_else(|| "none".to_owned()));
        eventually("a second attempt", || {
            let now = attempt();
            check(now.as_ref().is_some_and(|start| *start != first), format!("{now:?}"))
        });
        sql::done(held.rollback());
        deployment.join().expect("the deployment").ok();
    });
    world.assert_settled(&files, "the lock came free");
}

/// A migration that locks items, waits until the role is gone, and locks notes.
fn two_locks(role: &str) -> Files {
    grown().file(
        "migrations/003_x.pssql",
        format!(
            "SELECT nextval('items_id_seq');\nUPDATE items SET name = name || '!';\nLOCK TABLE items;\n\
             DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}')\n    \
             AND current_database() NOT LIKE 'stonescriptdb%' LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;\nLOCK TABLE notes;\n"
        ),
    )
}

#[test]
fn a_deadlock_is_lost_by_the_deployment_and_tried_again() {
    let cluster = Cluster::builder()
        .setting("deadlock_timeout", "50ms")
        .setting("stonescriptdb.deploy_lock_timeout", "20s")
        .start();
    let world = World::new(&cluster, "deadlock");
    let mut control = cluster.control();
    sql::done(control.batch_execute("CREATE ROLE deadlock_gate"));
    let files = two_locks("deadlock_gate");
    std::thread::scope(|scope| {
        let deployment = scope.spawn(|| world.platform.migrate(&files));
        wait_for(
            &mut control,
            "the migration to wait",
            "backend_type = 'stonescriptdb executor' AND wait_event = 'PgSleep'",
        );
        let tenant = scope.spawn(|| {
            let mut session = world.platform.connect();
            // The deployment shall be the one that notices.
            sql::done(session.batch_execute("SET deadlock_timeout = '1h'; SET application_name = 'the tenant'"));
            let mut transaction = sql::done(session.transaction());
            sql::done(transaction.batch_execute("LOCK TABLE notes; LOCK TABLE items"));
            sql::done(transaction.batch_execute("UPDATE items SET code = 'tenant' WHERE code IS NOT NULL"));
            sql::done(transaction.commit());
        });
        wait_for(&mut control, "the tenant to wait", "application_name = 'the tenant' AND wait_event_type = 'Lock'");
        sql::done(control.batch_execute("DROP ROLE deadlock_gate"));
        tenant.join().expect("the tenant's own transaction is not the victim");
        deployment.join().expect("the deployment").ok();
    });
    // Nobody is told of an error that the executor deals with, but no rollback takes back what a sequence has given.
    let attempts = sql::text(&mut world.platform.connect(), "SELECT last_value - 3 FROM items_id_seq");
    assert_eq!(attempts, "2", "attempts: was there a deadlock?");
    let names = "SELECT string_agg(name || ' ' || coalesce(code, ''), ',' ORDER BY id) FROM items";
    assert_eq!(sql::text(&mut world.platform.connect(), names), "pen! tenant,ink! tenant,pad! tenant", "once each");
    world.assert_settled(&files, "after the deadlock");
}

#[test]
fn deadlocks_without_end_are_lock_timeouts() {
    let cluster = Cluster::builder().setting("stonescriptdb.deploy_lock_timeout", "100ms").start();
    let world = World::new(&cluster, "deadlocks");
    let before = world.now();
    let files = grown().file(
        "migrations/003_x.pssql",
        "DO $$ BEGIN IF EXISTS (SELECT FROM notes) THEN\n    RAISE EXCEPTION 'as if' USING ERRCODE = '40P01';\nEND IF; END $$;\n",
    );
    world.platform.migrate(&files).error(503, "lock_timeout").field("sqlstate", "40P01");
    world.assert_unchanged_but_for_a_template(&before, "a deadlock at every attempt");
}

#[track_caller]
fn wait_for(control: &mut Client, what: &str, condition: &str) {
    let query = format!("SELECT count(*) FROM pg_stat_activity WHERE {condition}");
    eventually(what, || {
        let count = sql::text(control, &query);
        check(count != "0", "nobody")
    });
}
