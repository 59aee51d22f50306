//! Rows for a schema.

use super::model::{Schema, Table, ident};
use super::rng::Rng;

impl Schema {
    /// INSERTs for half of the tables, one row each statement. Keys, checks and rules may refuse some of them.
    pub fn rows(&self, rng: &mut Rng) -> Vec<String> {
        let mut rows = Vec::new();
        for table in &self.tables {
            if table.partition_of.is_some() || rng.chance(50) {
                continue;
            }
            for _ in 0..1 + rng.below(3) {
                rows.push(self.row(rng, table));
            }
        }
        rows
    }

    fn row(&self, rng: &mut Rng, table: &Table) -> String {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (name, of) in self.columns_of(table) {
            let own = table.columns.iter().find(|column| column.name == name);
            let given =
                own.is_some_and(|column| column.generated.is_some() || column.identity.is_some() || column.serial);
            if given || rng.chance(10) && own.is_some_and(|column| !column.not_null) {
                continue;
            }
            names.push(ident(&name));
            values.push(of.literal(self, rng.below(2) as u8));
        }
        if names.is_empty() {
            return format!("INSERT INTO {} DEFAULT VALUES", table.name.sql());
        }
        format!("INSERT INTO {} ({}) VALUES ({})", table.name.sql(), names.join(", "), values.join(", "))
    }
}
