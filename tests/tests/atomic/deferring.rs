//! What PostgreSQL checks only at the end of a transaction.

use acceptance::shared;

use crate::world::{World, grown};

#[test]
fn a_deferred_key_that_a_migration_breaks_only_where_there_are_rows() {
    let cluster = shared();
    let world = World::new(&cluster, "defer");
    let before = world.now();
    let files = grown()
        .file("migrations/003_x.pssql", "INSERT INTO notes SELECT 100 + id, 4711, 'to nowhere' FROM notes;\n")
        .edit("functions/f.pssql", "SELECT 2", "SELECT 3");
    let answer = world.platform.migrate(&files).client_error().field("sqlstate", "23503").says("4711");
    assert_eq!(answer.status, 422, "the bundle's own statement is at fault: {answer}");
    world.assert_unchanged_but_for_a_template(&before, "a deferred key was broken");
    world.assert_goes_in(&grown().edit("functions/f.pssql", "SELECT 2", "SELECT 3"), "a good one");
}

#[test]
fn a_deferred_trigger_that_raises_only_where_there_are_rows() {
    let cluster = shared();
    let world = World::new(&cluster, "defertrg");
    let with_trigger = grown()
        .file(
            "functions/late.pssql",
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n    \
             RAISE EXCEPTION 'too late for %', NEW.id USING ERRCODE = 'ZX002';\nEND $$;\n",
        )
        .edit(
            "tables/notes.pssql",
            "CREATE INDEX",
            "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON notes DEFERRABLE INITIALLY DEFERRED\n    \
             FOR EACH ROW EXECUTE FUNCTION late();\nCREATE INDEX",
        );
    world.assert_goes_in(&with_trigger, "the trigger");
    let before = world.now();
    let files = with_trigger.file("migrations/003_x.pssql", "UPDATE notes SET body = body || '!';\n");
    let answer = world.platform.migrate(&files).client_error().field("sqlstate", "ZX002").says("too late");
    assert_eq!(answer.status, 422, "the bundle's own statement is at fault: {answer}");
    world.assert_unchanged_but_for_a_template(&before, "a deferred trigger raised");
}
