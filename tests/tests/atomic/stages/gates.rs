//! Places at which a deployment waits.

use std::cell::RefCell;

use acceptance::wait::check;
use acceptance::{Files, eventually, sql};
use postgres::Client;

use crate::world::{World, grown};

/// Where a deployment is to wait.
#[derive(Debug)]
pub enum Gate {
    CreateTemplate,
    Proof,
    Learning,
    Clone,
    Migration,
    Plan,
    Seeder,
    IndexAfterwards,
    MigrationAfterwards,
}

thread_local! {
    /// The session that holds the lock which is the gate.
    static HOLDER: RefCell<Option<Client>> = const { RefCell::new(None) };
}

/// A loop that runs as long as the role exists, in templates or in tenants.
fn wait_while(role: &str, in_template: bool) -> String {
    let not = if in_template { "" } else { "NOT " };
    format!(
        "DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') AND current_database() {not}LIKE 'stonescriptdb%'\n    \
         LOOP PERFORM pg_sleep(0.05); END LOOP; END $$;\n"
    )
}

/// Bundle number `number`: newer than those before it, with all gates.
pub fn bundle(number: usize) -> Files {
    let mut files = grown().edit("functions/f.pssql", "SELECT 2", &format!("SELECT {}", number + 3));
    for n in 0..=number {
        let (proof, migration, learning, seeder) = (
            wait_while("gate_proof", true),
            wait_while("gate_migration", false),
            wait_while("gate_learning", true),
            wait_while("gate_seeder", false),
        );
        let afterwards = wait_while("gate_afterwards", false);
        files = files
            .file(&format!("tables/extra{n}.pssql"), format!("CREATE TABLE extra{n} (id int PRIMARY KEY, a int);\n"))
            .file(
                &format!("migrations/1{n}0_within.pssql"),
                format!("UPDATE items SET name = name || '{n}';\n{proof}{migration}INSERT INTO notes SELECT {n}00 + 10, NULL, 'm' FROM notes WHERE id = 1;\n"),
            )
            .file(
                &format!("migrations/1{n}1_without.pssql"),
                format!(
                    "-- stonescriptdb: no-transaction\nUPDATE items SET code = coalesce(code, '') || '{n}';\n{afterwards}\
                     INSERT INTO notes SELECT {n}00 + 11, NULL, 'u' FROM notes WHERE id = 1;\n"
                ),
            )
            .file(&format!("seeders/extra{n}.pssql"), format!("INSERT INTO extra{n} VALUES (1, 1);\n{learning}{seeder}INSERT INTO extra{n} VALUES (2, 2);\n"))
            .edit("tables/items.pssql", "qty int", &format!("qty int, more{n} int"))
            .edit("tables/notes.pssql", "CREATE INDEX notes_by", &format!("CREATE INDEX items_extra{n} ON items (qty, id);\nCREATE INDEX notes_by"));
    }
    files
}

/// Asserts that what bundle `number` does to rows was done, and once.
#[track_caller]
pub fn assert_complete(world: &World, number: usize, why: &str) {
    let mut main = world.platform.connect();
    let marks: String = (0..=number).map(|n| n.to_string()).collect();
    let names = sql::texts(&mut main, "SELECT name || ' ' || coalesce(code, '') FROM items WHERE id < 3 ORDER BY id");
    assert_eq!(names, [format!("pen{marks} x{marks}"), format!("ink{marks} x{marks}")], "{why}");
    for n in 0..=number {
        assert_eq!(sql::text(&mut main, &format!("SELECT count(*) FROM extra{n}")), "2", "{why}");
    }
    assert_eq!(
        sql::text(&mut main, "SELECT count(*) FROM notes WHERE body IN ('m', 'u')"),
        (2 * (number + 1)).to_string(),
        "{why}"
    );
    let invalid = sql::texts(&mut main, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid");
    assert!(invalid.is_empty(), "{invalid:?}, {why}");
    assert_eq!(sql::text(&mut main, "SELECT count(*) FROM _stonescriptdb_pending"), "0", "{why}");
}

impl Gate {
    pub fn is_before_commit(&self) -> bool {
        !matches!(self, Gate::IndexAfterwards | Gate::MigrationAfterwards)
    }

    fn role(&self) -> Option<&'static str> {
        match self {
            Gate::Proof => Some("gate_proof"),
            Gate::Learning => Some("gate_learning"),
            Gate::Migration => Some("gate_migration"),
            Gate::Seeder => Some("gate_seeder"),
            Gate::MigrationAfterwards => Some("gate_afterwards"),
            Gate::CreateTemplate | Gate::Clone | Gate::Plan | Gate::IndexAfterwards => None,
        }
    }

    /// Closes it, before the deployment begins.
    #[track_caller]
    pub fn close(&self, world: &World) {
        if let Some(role) = self.role() {
            sql::done(world.cluster.control().batch_execute(&format!("CREATE ROLE {role}")));
            return;
        }
        let (mut client, begin) = match self {
            // What a copy of a database needs is a lock on the one that is copied.
            Gate::CreateTemplate => {
                (world.cluster.control(), "BEGIN; COMMENT ON DATABASE template0 IS 'locked'".to_owned())
            }
            Gate::Clone => {
                let locked = format!("BEGIN; COMMENT ON DATABASE \"{}\" IS 'locked'", template(world));
                (world.cluster.control(), locked)
            }
            // A new column needs a lock that a reader is in the way of.
            Gate::Plan => (world.platform.connect(), "BEGIN; LOCK TABLE items IN ACCESS SHARE MODE".to_owned()),
            // A concurrent build waits for every snapshot that is older than it is.
            _ => (
                world.platform.connect(),
                "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM kinds".to_owned(),
            ),
        };
        sql::done(client.batch_execute(&begin));
        HOLDER.with(|holder| *holder.borrow_mut() = Some(client));
    }

    /// Opens it. The server need not run.
    #[track_caller]
    pub fn open(&self, world: &World) {
        HOLDER.with(|holder| holder.borrow_mut().take());
        let Some(role) = self.role() else { return };
        if !world.cluster.is_running() {
            world.cluster.start_again();
        }
        eventually("the gate to open", || {
            let mut client = world.cluster.try_connect_as("postgres", "postgres").map_err(|e| e.to_string())?;
            client.batch_execute(&format!("DROP ROLE IF EXISTS {role}")).map_err(|e| e.to_string())
        });
    }

    /// Waits until the deployment waits at the gate; the process that does.
    #[track_caller]
    pub fn reached(&self, world: &World) -> i32 {
        let waits = match self {
            Gate::CreateTemplate | Gate::Clone => "wait_event_type = 'Lock' AND wait_event = 'object'",
            Gate::Plan => "wait_event_type = 'Lock' AND wait_event = 'relation'",
            Gate::IndexAfterwards => "wait_event_type = 'Lock' AND wait_event = 'virtualxid'",
            _ => "wait_event = 'PgSleep'",
        };
        let query =
            format!("SELECT pid FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor' AND {waits}");
        eventually(&format!("the deployment to wait at {self:?}"), || {
            let pids = sql::texts(&mut world.cluster.control(), &query);
            check(pids.len() == 1, format!("{pids:?}")).map(|()| pids[0].parse().expect("a process id"))
        })
    }
}

/// The template of the newest bundle that was proved.
#[track_caller]
fn template(world: &World) -> String {
    let query = format!(
        "SELECT t.database::text FROM stonescriptdb.template t JOIN stonescriptdb.bundle b USING (platform, sha256)
         WHERE platform = '{}' ORDER BY b.proved_at DESC LIMIT 1",
        world.platform.name
    );
    sql::text(&mut world.cluster.control(), &query)
}
