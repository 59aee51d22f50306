//! A platform that has lived: two tenants with rows, brought to their state by two bundles; and all of it at one moment.

use acceptance::wait::check;
use acceptance::{Cluster, Files, Platform, Snapshot, eventually, sql};
use serde_json::Value;

/// The second tenant, beside main.
pub const OTHER: &str = "other";

/// The bundle that the tenants began with: a file of every kind.
fn young() -> Files {
    Files::new()
        .file("extensions/citext.sql", "-- mail addresses\n")
        .file("types/status.pssql", "CREATE TYPE status AS ENUM ('new', 'done');\n")
        .file("types/amount.pssql", "CREATE DOMAIN amount AS numeric(12,2);\n")
        .file(
            "tables/items.pssql",
            "CREATE TABLE items (\n    id bigserial PRIMARY KEY,\n    name text NOT NULL,\n    qty int,\n    code text,\n    \
             price amount,\n    st status NOT NULL DEFAULT 'new'\n);\n",
        )
        .file(
            "tables/notes.pssql",
            "CREATE TABLE notes (\n    id int PRIMARY KEY,\n    item bigint REFERENCES items (id) DEFERRABLE INITIALLY DEFERRED,\n    \
             body citext\n);\nCREATE INDEX notes_by_item ON notes (item);\n",
        )
        .file("tables/kinds.pssql", "CREATE TABLE kinds (id int PRIMARY KEY, name text NOT NULL);\n")
        .file("migrations/001_first.pssql", "UPDATE items SET qty = 0 WHERE qty IS NULL;\n")
        .file("functions/f.pssql", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n")
        .file(
            "functions/total.pssql",
            "CREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql STABLE AS $$\nBEGIN\n    \
             RETURN (SELECT sum(qty) FROM items);\nEND $$;\n",
        )
        .file("views/open_items.pssql", "CREATE VIEW open_items AS SELECT id, name FROM items WHERE st = 'new';\n")
        .file("seeders/kinds.pssql", "INSERT INTO kinds (id, name) VALUES (1, 'one'), (2, 'two');\n")
}

/// The bundle that the tenants are in the state of.
pub fn grown() -> Files {
    young()
        .edit("tables/kinds.pssql", "name text NOT NULL", "name text NOT NULL, added date DEFAULT CURRENT_DATE")
        .file("migrations/002_second.pssql", "UPDATE items SET code = 'c' || id WHERE code IS NULL;\n")
        .edit("functions/f.pssql", "SELECT 1", "SELECT 2")
}

/// Rows of the main tenant that not every change can live with.
const ROWS: &str = "
    INSERT INTO items (name, qty, code, price, st)
        VALUES ('pen', 1, 'x', 1.50, 'new'), ('ink', -1, 'x', 1234567.25, 'done'), ('pad', 0, NULL, 2, 'new');
    INSERT INTO notes VALUES (1, 1, 'Hello'), (2, NULL, 'twice'), (3, 2, NULL), (4, 3, 'twice')";

/// Rows that no change minds.
const EASY_ROWS: &str =
    "INSERT INTO items (name, qty, code, price) VALUES ('easy', 1, 'e', 1); INSERT INTO notes VALUES (1, 1, 'easy')";

/// The platform, on a cluster.
pub struct World<'a> {
    pub cluster: &'a Cluster,
    pub platform: Platform<'a>,
}

impl<'a> World<'a> {
    /// Both tenants with rows, in the state of [`grown`].
    #[track_caller]
    pub fn new(cluster: &'a Cluster, prefix: &str) -> World<'a> {
        let platform = Platform::register(cluster, prefix, &young());
        platform.register_tenant(OTHER, &young()).ok();
        sql::done(platform.connect().batch_execute(ROWS));
        sql::done(cluster.connect(&platform.database_of(OTHER)).batch_execute(EASY_ROWS));
        platform.migrate(&grown()).ok();
        let world = World { cluster, platform };
        // The template of the young bundle is dropped behind the answer, when no tenant has that bundle any more.
        eventually("one template to be left", || {
            let templates = world.templates();
            check(templates.len() == 1, format!("{templates:?}"))
        });
        world
    }

    /// Everything, once nothing of an earlier deployment is being cleared away any more.
    #[track_caller]
    pub fn now(&self) -> Moment {
        self.wait_tidy();
        Moment {
            main: self.platform.snapshot(),
            other: Snapshot::of(self.cluster, &self.platform.database_of(OTHER)),
            server: self.server(),
            templates: self.templates(),
        }
    }

    /// Asserts that everything is as it was, templates too.
    #[track_caller]
    pub fn assert_unchanged(&self, before: &Moment, why: &str) {
        self.assert_unchanged_but_for_a_template(before, why);
        assert_eq!(self.templates(), before.templates, "templates, {why}");
    }

    /// Asserts that everything is as it was; the template of a bundle that was proved may have come.
    #[track_caller]
    pub fn assert_unchanged_but_for_a_template(&self, before: &Moment, why: &str) {
        self.wait_tidy();
        self.platform.assert_unchanged(&before.main, why);
        before.other.assert_unchanged(self.cluster, &self.platform.database_of(OTHER), why);
        assert_eq!(self.server(), before.server, "databases, roles or registry, {why}");
    }

    /// Waits until there is no half-built database or template: what a deployment left is cleared away behind its answer.
    #[track_caller]
    pub fn wait_tidy(&self) {
        let query = format!(
            "SELECT 'template ' || database || ' ' || state FROM stonescriptdb.template WHERE {ours} AND state <> 'ready'
             UNION ALL SELECT 'database ' || name || ' ' || state FROM stonescriptdb.database WHERE {ours} AND state <> 'ready'
             UNION ALL SELECT 'deployment ' || id || ' ' || state FROM stonescriptdb.deployment WHERE {ours} AND state = 'running'
             UNION ALL SELECT 'no template ' || datname FROM pg_database WHERE datname LIKE 'stonescriptdb\\_template\\_{key}\\_%'
                 AND (NOT datistemplate OR datallowconn OR datname NOT IN (SELECT database FROM stonescriptdb.template))
             UNION ALL SELECT 'no database ' || datname FROM pg_database WHERE datname LIKE '{key}\\_%'
                 AND datname NOT IN (SELECT name FROM stonescriptdb.database)",
            ours = format_args!("platform = '{}'", self.platform.name),
            key = self.platform.name.replace('_', "\\_"),
        );
        eventually("nothing half-built to be left", || {
            let left = sql::texts(&mut self.cluster.control(), &query);
            check(left.is_empty(), format!("{left:?}"))
        });
    }

    /// The bundles that have a template.
    #[track_caller]
    fn templates(&self) -> Vec<String> {
        let query =
            format!("SELECT sha256 FROM stonescriptdb.template WHERE platform = '{}' ORDER BY 1", self.platform.name);
        sql::texts(&mut self.cluster.control(), &query)
    }

    /// Databases, roles and the registry's rows of this platform.
    #[track_caller]
    fn server(&self) -> Vec<String> {
        let name = &self.platform.name;
        let query = format!(
            "SELECT 'database ' || (to_jsonb(d) - '{{datfrozenxid,datminmxid,datlastsysoid}}'::text[])::text FROM pg_database d
                 WHERE strpos(datname, '{name}_') = 1
             UNION ALL SELECT 'role ' || to_jsonb(r)::text FROM pg_roles r WHERE strpos(rolname, '_{name}_') > 0
             UNION ALL SELECT 'member ' || m.roleid::regrole || ' ' || m.member::regrole FROM pg_auth_members m
                 WHERE strpos(m.roleid::regrole::text || m.member::regrole, '_{name}_') > 0
             UNION ALL SELECT 'platform ' || to_jsonb(p)::text FROM stonescriptdb.platform p WHERE name = '{name}'
             UNION ALL SELECT 'registry ' || to_jsonb(d)::text FROM stonescriptdb.database d WHERE platform = '{name}'
             UNION ALL SELECT 'bundle ' || sha256 || deployed_at FROM stonescriptdb.bundle
                 WHERE platform = '{name}' AND deployed_at IS NOT NULL
             ORDER BY 1"
        );
        sql::texts(&mut self.cluster.control(), &query)
    }

    /// Asserts that a bundle goes in and that the tenants are then exactly in its state.
    #[track_caller]
    pub fn assert_goes_in(&self, files: &Files, why: &str) {
        let answer = self.platform.migrate(files);
        assert!(answer.status == 200 && answer.json["status"] == "completed", "{why}: {answer}");
        self.assert_settled(files, why);
    }

    /// Asserts that the tenants are in the state of a bundle: looked at in full there is nothing to do, and nothing drifts.
    #[track_caller]
    pub fn assert_settled(&self, files: &Files, why: &str) {
        assert_nothing_to_do(self.cluster, &self.platform.name, files, why);
        self.wait_tidy();
        for tenant in ["main", OTHER] {
            let query = format!(
                "SELECT to_jsonb(d)::text FROM stonescriptdb.\"check\"('{}', '{tenant}') d",
                self.platform.name
            );
            assert_eq!(
                sql::texts(&mut self.cluster.control(), &query),
                Vec::<String>::new(),
                "drift of {tenant}, {why}"
            );
        }
    }

    /// The state of the last deployment, once it is recorded as over.
    #[track_caller]
    pub fn last_state(&self) -> String {
        let query = format!(
            "SELECT state FROM stonescriptdb.deployments WHERE platform = '{}' ORDER BY started_at DESC LIMIT 1",
            self.platform.name
        );
        eventually("the deployment to be over", || {
            let state = sql::text(&mut self.cluster.control(), &query);
            check(state != "running", &state).map(|()| state)
        })
    }
}

/// All that a failure may not change.
pub struct Moment {
    pub main: Snapshot,
    other: Snapshot,
    server: Vec<String>,
    templates: Vec<String>,
}

/// Asserts that a platform has nothing to do for a bundle, however closely it looks.
#[track_caller]
pub fn assert_nothing_to_do(cluster: &Cluster, platform: &str, files: &Files, why: &str) {
    let migrate = |more: &[(&str, &str)]| cluster.http().migrate(platform, None, &files.tar_gz(), more);
    for more in [&[("dry_run", "true")][..], &[("dry_run", "true"), ("verify", "full")]] {
        let answer = migrate(more);
        assert!(answer.status == 200 && answer.json["status"] == "planned", "{why}: {answer}");
        assert_eq!(answer.json["plan"], Value::Array(Vec::new()), "the plan, {why}");
    }
    for more in [&[("verify", "full")][..], &[("verify", "true")], &[]] {
        let answer = migrate(more);
        assert!(answer.status == 200 && answer.json["status"] == "completed", "{why}: {answer}");
        assert_eq!(answer.json["functions_updated"], 0, "{why}: {answer}");
        assert_eq!(answer.json["migrations_applied"], 0, "{why}: {answer}");
        assert_eq!(answer.json["verification"]["passed"], true, "{why}: {answer}");
    }
}
