//! All that a deployment may change in a database, as text.

use postgres::Client;

use crate::{Cluster, server, sql};

/// The tracking tables (DESIGN.md §5).
pub const TRACKING: [&str; 5] = [
    "_stonescriptdb_gateway_migrations",
    "_stonescriptdb_gateway_types",
    "_stonescriptdb_gateway_tables",
    "_stonescriptdb_gateway_functions",
    "_stonescriptdb_gateway_changelog",
];

/// A database at one moment: what `pg_dump --schema-only` says of it, all rows of the tracking tables, and of every other table
/// how many rows it has and a digest of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot(String);

impl Snapshot {
    /// Looks at a database. It leaves no connection to it behind.
    #[track_caller]
    pub fn of(cluster: &Cluster, database: &str) -> Snapshot {
        let mut pg_dump = cluster.client_program("pg_dump");
        pg_dump.arg("--schema-only").arg(database);
        let dump = String::from_utf8_lossy(&server::run(pg_dump).stdout).into_owned();
        // Newer releases put a random word into these two lines.
        let dump = dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
        let mut lines: Vec<String> = dump.map(str::to_owned).collect();

        let mut client = cluster.connect(database);
        for table in tables(&mut client) {
            lines.push(format!("-- rows of {table}"));
            if TRACKING.iter().any(|name| table == format!("public.{name}")) {
                lines.extend(sql::texts(&mut client, &format!("SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1")));
            } else if table == "public._stonescriptdb_state" {
                // The same state is reached by more than one archive and at any time.
                lines.push(sql::text(
                    &mut client,
                    &format!("SELECT coalesce(max(declared::text || stamp), '') FROM {table}"),
                ));
            } else {
                lines.push(sql::text(
                    &mut client,
                    &format!("SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') FROM {table} t"),
                ));
            }
        }
        Snapshot(lines.join("\n"))
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Asserts that nothing has changed since.
    ///
    /// # Panics
    /// With the lines that differ, and `why` nothing should have changed.
    #[track_caller]
    pub fn assert_unchanged(&self, cluster: &Cluster, database: &str, why: &str) {
        let now = Snapshot::of(cluster, database);
        assert!(*self == now, "{database} has changed, {why}:\n{}", self.difference(&now));
    }

    /// The lines that only one of the two has.
    pub fn difference(&self, other: &Snapshot) -> String {
        let only = |a: &Snapshot, b: &Snapshot, mark: &str| {
            let there: std::collections::HashSet<&str> = b.0.lines().collect();
            a.0.lines().filter(|line| !there.contains(line)).map(|line| format!("{mark} {line}\n")).collect::<String>()
        };
        let lines = only(self, other, "-") + &only(other, self, "+");
        if lines.is_empty() { "the same lines in another order or number".into() } else { lines }
    }
}

/// Every table of the database's own schemas, quoted, sorted.
fn tables(client: &mut Client) -> Vec<String> {
    sql::texts(
        client,
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
         ORDER BY 1",
    )
}
