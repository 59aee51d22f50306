//! New tables and their parts.

use super::make::{comment, fresh};
use super::model::{
    Column, Constraint, Default, Identity, Index, IndexKey, Name, PartitionBy, PartitionOf, Policy, RewriteRule, Role,
    Routine, Rule, Schema, Statistics, Table, Trigger,
};
use super::rng::Rng;
use super::types::{BRIN, BTREE, GIN, GIST, HASH, SPGIST, Type};

fn words(of: Vec<&str>) -> Vec<String> {
    of.into_iter().map(str::to_owned).collect()
}

/// What the names of a table's indexes and constraints begin with.
fn stem(table: &Name) -> String {
    // Two tables of one schema shall not come to the same.
    table.name.replace(' ', "_b").replace('"', "_q").replace('ä', "_a")
}

impl Schema {
    pub(super) fn add_table(&mut self, rng: &mut Rng) {
        let name = self.some_name(rng, "t");
        let mut table = Table {
            name,
            unlogged: rng.chance(8),
            columns: Vec::new(),
            inherits: None,
            partition_by: None,
            partition_of: None,
            of_type: None,
            constraints: Vec::new(),
            indexes: Vec::new(),
            triggers: Vec::new(),
            policies: Vec::new(),
            rules: Vec::new(),
            statistics: Vec::new(),
            row_security: rng.chance(15),
            force_row_security: rng.chance(6),
            replica_full: rng.chance(5),
            options: table_options(rng),
            grants: words(rng.some(&["SELECT", "INSERT", "UPDATE", "DELETE", "ALL"], 2)),
            comment: comment(rng),
        };
        if rng.chance(70) {
            table.grants.clear();
        }
        match rng.below(12) {
            0 => table.inherits = rng.one(&self.tables).map(|table| table.name.clone()),
            1 => table.of_type = rng.one(&self.composites).map(|composite| composite.name.clone()),
            2 | 3 => {
                let strategy = (*rng.pick(&["range", "list", "hash"])).to_owned();
                table.partition_by = Some(PartitionBy { strategy, column: String::new() });
            }
            _ => {}
        }
        for _ in 0..2 + rng.below(6) {
            table.columns.push(self.some_column(rng, &table));
        }
        if let Some(by) = &mut table.partition_by {
            by.column = rng.pick(&table.columns).name.clone();
        }
        for _ in 0..rng.below(4) {
            let constraint = self.some_constraint(rng, &table);
            table.constraints.extend(constraint);
        }
        self.add_parts(rng, &mut table);
        let partitions = if table.partition_by.is_some() { rng.below(4) } else { 0 };
        let parent = table.name.clone();
        self.tables.push(table);
        self.repair();
        for _ in 0..partitions {
            self.add_partition(rng, &parent);
        }
    }

    pub(super) fn add_partition(&mut self, rng: &mut Rng, parent: &Name) {
        let name = self.some_name(rng, "t");
        let Some(mut table) = self.table(parent).cloned() else { return };
        table.name = name;
        table.partition_by = None;
        table.partition_of = Some(PartitionOf { table: parent.clone(), bound: rng.below(8) as u8 });
        table.columns.clear();
        table.constraints.clear();
        table.indexes.clear();
        table.triggers.clear();
        table.policies.clear();
        table.rules.clear();
        table.statistics.clear();
        table.grants.clear();
        table.comment = comment(rng);
        if rng.chance(30) {
            self.add_parts(rng, &mut table);
        }
        self.tables.push(table);
    }

    fn add_parts(&self, rng: &mut Rng, table: &mut Table) {
        for _ in 0..rng.below(3) {
            table.indexes.extend(self.some_index(rng, &table.name, &self.columns_of(table), &table.indexes));
        }
        if rng.chance(30) {
            table.triggers.extend(self.some_trigger(rng, table));
        }
        if rng.chance(15) {
            table.policies.extend(self.some_policy(rng, table));
        }
        if rng.chance(6) {
            table.rules.extend(self.some_rule(rng, table));
        }
        if rng.chance(10) {
            table.statistics.extend(self.some_statistics(rng, table));
        }
    }

    pub(super) fn some_column(&self, rng: &mut Rng, table: &Table) -> Column {
        let prefix = if table.inherits.is_some() && rng.chance(80) { "k" } else { "c" };
        let name = fresh(rng, prefix, |name| table.columns.iter().any(|column| column.name == name));
        let reserved = rng.chance(3) && !table.columns.iter().any(|column| column.name == "order");
        let name = if reserved { "order".to_owned() } else { name };
        let mut column = Column {
            name,
            data_type: Type::any(rng, self),
            not_null: rng.chance(30),
            default: None,
            generated: None,
            identity: None,
            serial: false,
            collation: rng.perhaps(8, |rng| (*rng.pick(&["C", "POSIX"])).to_owned()),
            storage: rng.perhaps(5, |rng| (*rng.pick(&["EXTERNAL", "MAIN", "EXTENDED", "PLAIN"])).to_owned()),
            compression: rng.perhaps(5, |rng| (*rng.pick(&["pglz", "lz4"])).to_owned()),
            statistics: rng.perhaps(5, |rng| 10 + rng.below(3) as u16 * 100),
            options: words(if rng.chance(4) { vec!["n_distinct=5"] } else { Vec::new() }),
            comment: comment(rng),
            granted: rng.chance(5),
        };
        match rng.below(20) {
            0 | 1 => {
                column.data_type = Type::builtin(rng.pick::<&str>(&["smallint", "integer", "bigint"]));
                column.identity = Some(self.some_identity(rng));
            }
            2 => {
                column.data_type = Type::builtin(rng.pick::<&str>(&["integer", "bigint"]));
                column.serial = true;
            }
            3 | 4 => column.generated = self.some_generation(rng, table),
            5..=11 => column.default = Some(self.some_default(rng, &column)),
            _ => {}
        }
        column
    }

    pub(super) fn some_identity(&self, rng: &mut Rng) -> Identity {
        Identity { always: rng.chance(50), options: Schema::sequence_options(rng) }
    }

    pub(super) fn some_generation(&self, rng: &mut Rng, table: &Table) -> Option<(String, Option<Name>)> {
        let from = rng.one(&self.columns_of(table)).cloned()?;
        Some((from.0, self.a_key(rng, &from.1)))
    }

    fn a_key(&self, rng: &mut Rng, of: &Type) -> Option<Name> {
        let fitting = |routine: &&Routine| {
            routine.role == Role::Key && routine.parameters.first().is_some_and(|p| p.data_type == *of)
        };
        let keys: Vec<&Routine> = self.routines.iter().filter(fitting).collect();
        rng.one(&keys).map(|routine| routine.name.clone())
    }

    pub(super) fn some_default(&self, rng: &mut Rng, column: &Column) -> Default {
        let makers: Vec<&Routine> =
            self.routines.iter().filter(|r| r.role == Role::Maker && r.returns == column.data_type).collect();
        if let Some(maker) = rng.one(&makers) {
            return Default::Maker(maker.name.clone());
        }
        match rng.one(&self.sequences) {
            Some(sequence) if column.data_type.is_integer() && rng.chance(50) => {
                Default::NextVal(sequence.name.clone())
            }
            _ if column.data_type.is(&["timestamp with time zone", "date"]) && rng.chance(60) => Default::Now,
            _ => Default::Sample(rng.below(2) as u8),
        }
    }

    pub(super) fn some_constraint(&self, rng: &mut Rng, table: &Table) -> Option<Constraint> {
        let columns = self.columns_of(table);
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let stem = stem(&table.name);
        let own =
            fresh(rng, &format!("{stem}_k"), |name| table.constraints.iter().any(|c| c.name.as_deref() == Some(name)));
        let mut name = Some(own).filter(|_| rng.chance(60));
        let include = if rng.chance(15) { rng.some(&names, 1) } else { Vec::new() };
        let rule = match rng.below(10) {
            0..=2 => Rule::Primary { columns: rng.some(&names, 2), include, deferrable: rng.chance(5) },
            3 => Rule::Unique {
                columns: rng.some(&names, 2),
                include,
                deferrable: rng.chance(10),
                nulls_not_distinct: rng.chance(15),
            },
            4 | 5 => {
                let condition = self.some_condition(rng, &columns)?;
                Rule::Check { condition, no_inherit: rng.chance(10), not_valid: rng.chance(10) }
            }
            6 => {
                name = name.or_else(|| Some(format!("{stem}_x")));
                let condition = if rng.chance(30) { self.some_condition(rng, &columns) } else { None };
                Rule::Exclude { column: rng.one(&names)?.clone(), condition, deferrable: rng.chance(15) }
            }
            _ => Rule::Foreign {
                column: rng.one(&names)?.clone(),
                table: rng.one(&self.tables).map_or_else(|| table.name.clone(), |t| t.name.clone()),
                referenced: rng.perhaps(50, |_| String::new()),
                actions: (*rng.pick(&[
                    "",
                    "",
                    " ON DELETE CASCADE",
                    " ON DELETE SET NULL ON UPDATE CASCADE",
                    " ON DELETE RESTRICT",
                ]))
                .to_owned(),
                deferrable: if rng.chance(20) { 1 + rng.below(2) as u8 } else { 0 },
                not_valid: rng.chance(10),
            },
        };
        Some(Constraint { name, rule, comment: comment(rng) })
    }

    pub(super) fn some_index(
        &self,
        rng: &mut Rng,
        on: &Name,
        columns: &[(String, Type)],
        there: &[Index],
    ) -> Option<Index> {
        let name = fresh(rng, &format!("{}_i", stem(on)), |name| there.iter().any(|index| index.name == name));
        let (method, needed) = *rng.pick(&[
            ("btree", BTREE),
            ("btree", BTREE),
            ("btree", BTREE),
            ("hash", HASH),
            ("gin", GIN),
            ("gist", GIST),
            ("brin", BRIN),
            ("spgist", SPGIST),
        ]);
        let fitting: Vec<(String, Type)> =
            columns.iter().filter(|(_, of)| of.can(self) & needed != 0).cloned().collect();
        let keys: Vec<IndexKey> = rng
            .some(&fitting, 2)
            .into_iter()
            .map(|(column, of)| IndexKey {
                shape: u8::from(method == "btree" && rng.chance(20)),
                key: self.a_key(rng, &of),
                collation: rng.perhaps(10, |rng| (*rng.pick(&["C", "POSIX"])).to_owned()),
                pattern_ops: rng.chance(10),
                order: (*rng.pick(&["", "", "", "DESC", "NULLS FIRST", "DESC NULLS LAST"])).to_owned(),
                column,
            })
            .collect();
        if keys.is_empty() {
            return None;
        }
        Some(Index {
            name,
            method: method.to_owned(),
            keys,
            include: if rng.chance(15) {
                rng.some(columns, 1).into_iter().map(|(name, _)| name).collect()
            } else {
                Vec::new()
            },
            unique: rng.chance(15),
            fillfactor: rng.perhaps(8, |rng| 50 + 10 * rng.below(4) as u8),
            condition: if rng.chance(25) { self.some_condition(rng, columns) } else { None },
            comment: comment(rng),
            statistics: rng.perhaps(10, |_| 50),
        })
    }

    pub(super) fn some_trigger(&self, rng: &mut Rng, table: &Table) -> Option<Trigger> {
        let columns = self.columns_of(table);
        let prefix = format!("{}_g", stem(&table.name));
        let mut events = words(rng.some(&["INSERT", "UPDATE", "DELETE", "TRUNCATE"], 2));
        if events.is_empty() {
            events.push("UPDATE".to_owned());
        }
        Some(Trigger {
            name: fresh(rng, &prefix, |name| table.triggers.iter().any(|trigger| trigger.name == name)),
            before: rng.chance(50),
            events,
            update_of: if rng.chance(25) {
                rng.some(&columns, 2).into_iter().map(|(name, _)| name).collect()
            } else {
                Vec::new()
            },
            row: rng.chance(70),
            condition: if rng.chance(25) { self.some_condition(rng, &columns) } else { None },
            function: self.a_trigger_function(rng)?,
            arguments: words(if rng.chance(20) { vec!["x", "it's"] } else { Vec::new() }),
            transition: rng.chance(15),
            constraint: if rng.chance(10) { 1 + rng.below(2) as u8 } else { 0 },
            disabled: rng.chance(8),
            comment: comment(rng),
        })
    }

    pub(super) fn some_policy(&self, rng: &mut Rng, table: &Table) -> Option<Policy> {
        let columns = self.columns_of(table);
        Some(Policy {
            name: fresh(rng, "p", |name| table.policies.iter().any(|policy| policy.name == name)),
            restrictive: rng.chance(25),
            command: (*rng.pick(&["ALL", "SELECT", "INSERT", "UPDATE", "DELETE"])).to_owned(),
            using: self.some_condition(rng, &columns)?,
            check: if rng.chance(40) { self.some_condition(rng, &columns) } else { None },
            comment: comment(rng),
        })
    }

    pub(super) fn some_rule(&self, rng: &mut Rng, table: &Table) -> Option<RewriteRule> {
        let columns = self.columns_of(table);
        Some(RewriteRule {
            name: fresh(rng, "w", |name| table.rules.iter().any(|rule| rule.name == name)),
            event: (*rng.pick(&["INSERT", "UPDATE", "DELETE"])).to_owned(),
            instead: rng.chance(50),
            condition: if rng.chance(70) { self.some_condition(rng, &columns) } else { None },
            disabled: rng.chance(15),
            comment: comment(rng),
        })
    }

    pub(super) fn some_statistics(&self, rng: &mut Rng, table: &Table) -> Option<Statistics> {
        let columns: Vec<(String, Type)> =
            self.columns_of(table).into_iter().filter(|(_, of)| of.can(self) & BTREE != 0).collect();
        let columns: Vec<String> = rng.some(&columns, 4).into_iter().map(|(name, _)| name).collect();
        if columns.len() < 2 {
            return None;
        }
        let prefix = format!("{}_s", stem(&table.name));
        Some(Statistics {
            name: fresh(rng, &prefix, |name| table.statistics.iter().any(|s| s.name == name)),
            kinds: words(rng.some(&["ndistinct", "dependencies", "mcv"], 2)),
            columns,
            comment: comment(rng),
        })
    }
}

pub(super) fn table_options(rng: &mut Rng) -> Vec<String> {
    const OPTIONS: &[&str] =
        &["fillfactor=70", "autovacuum_enabled=false", "toast.autovacuum_enabled=false", "parallel_workers=2"];
    words(if rng.chance(10) { rng.some(OPTIONS, 2) } else { Vec::new() })
}
