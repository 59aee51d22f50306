//! Takes out of a schema what its server would refuse: references that lead nowhere, and combinations that PostgreSQL does not have.
//! An edit may then do one thing and leave the rest to this.

use super::model::{Column, Condition, Constraint, Default, Index, Name, Role, Rule, Schema, Table, Trigger, View};
use super::render_table::generated_type;
use super::types::{BRIN, BTREE, GIN, GIST, HASH, SPGIST, Type};

type Columns = Vec<(String, Type)>;

impl Schema {
    /// Makes the schema valid. What is valid already stays as it is.
    pub fn repair(&mut self) {
        let spaces: Vec<String> = self.namespaces.iter().map(|space| space.name.clone()).collect();
        let there = |name: &Name| name.schema == "public" || spaces.contains(&name.schema);
        self.enums.retain(|x| there(&x.name));
        self.composites.retain(|x| there(&x.name) && !x.attributes.is_empty());
        self.domains.retain(|x| there(&x.name));
        self.ranges.retain(|x| there(&x.name));
        self.routines.retain(|x| there(&x.name));
        self.sequences.retain(|x| there(&x.name));
        self.tables.retain(|x| there(&x.name));
        self.views.retain(|x| there(&x.name));
        self.repair_types();
        self.repair_routines();
        for place in 0..self.tables.len() {
            self.repair_table(place);
        }
        self.tables
            .retain(|table| !table.columns.is_empty() || table.partition_of.is_some() || table.of_type.is_some());
        // What depended on those that are gone, and keys on keys that are gone, until nothing changes.
        loop {
            let before = self.tables.clone();
            for place in 0..self.tables.len() {
                self.repair_table(place);
            }
            if self.tables == before {
                break;
            }
        }
        self.repair_sequences();
        for place in 0..self.views.len() {
            self.repair_view(place);
        }
        let gone = |name: &Name| name.name.is_empty();
        self.views.retain(|view| !gone(&view.name));
        for place in 0..self.routines.len() {
            self.repair_late_routine(place);
        }
        self.routines.retain(|routine| !gone(&routine.name));
    }

    pub(super) fn has_type(&self, of: &Type) -> bool {
        match of {
            Type::Builtin(_) => true,
            Type::Enum(name) => self.enums.iter().any(|x| x.name == *name),
            Type::Composite(name) => self.composites.iter().any(|x| x.name == *name),
            Type::Domain(name) => self.domains.iter().any(|x| x.name == *name),
            Type::Range(name) => self.ranges.iter().any(|x| x.name == *name),
            Type::Array(of) => self.has_type(of),
        }
    }

    fn repair_types(&mut self) {
        for e in &mut self.enums {
            if e.labels.is_empty() {
                e.labels.push("only".to_owned());
            }
        }
        let copy = self.clone();
        for attribute in self.composites.iter_mut().flat_map(|composite| &mut composite.attributes) {
            if !copy.has_type(&attribute.data_type) {
                attribute.data_type = Type::builtin("text");
            }
        }
        for domain in &mut self.domains {
            if !copy.has_type(&domain.base)
                || matches!(domain.base, Type::Domain(_) | Type::Composite(_) | Type::Range(_))
            {
                domain.base = Type::builtin("text");
            }
        }
    }

    fn routine_for(&self, name: &Name, role: Role, of: &Type) -> bool {
        self.routine(name).is_some_and(|r| r.role == role && r.parameters.first().is_none_or(|p| p.data_type == *of))
    }

    fn repair_condition(&self, condition: &mut Condition, columns: &Columns) -> bool {
        let Some((_, of)) = columns.iter().find(|(name, _)| *name == condition.column) else { return false };
        condition.predicate.take_if(|name| !self.routine_for(name, Role::Predicate, of));
        true
    }

    fn repair_column(&self, column: &mut Column, table: &Table) {
        if !self.has_type(&column.data_type) {
            column.data_type = Type::builtin("text");
        }
        let fixed = table.partition_by.as_ref().is_some_and(|by| by.column == column.name);
        if let Some((from, key)) = &mut column.generated {
            let source = self.columns_of(table).into_iter().find(|(name, _)| name == from);
            let computed = self.is_computed(table, from);
            match source {
                Some((name, of)) if name != column.name && !computed && !fixed => {
                    key.take_if(|name| !self.routine_for(name, Role::Key, &of));
                    column.data_type = generated_type(&of, key);
                    column.default = None;
                    column.identity = None;
                    column.serial = false;
                }
                _ => column.generated = None,
            }
        }
        if !column.data_type.is_integer() {
            column.identity = None;
        }
        column.serial &=
            column.data_type.is(&["integer", "bigint"]) && column.identity.is_none() && column.generated.is_none();
        if column.serial || column.identity.is_some() {
            column.default = None;
        }
        if column.identity.is_some() {
            column.not_null = true;
        }
        match &column.default {
            Some(Default::NextVal(name)) => {
                let fine = self.sequences.iter().any(|s| s.name == *name) && column.data_type.is_integer();
                column.default.take_if(|_| !fine);
            }
            Some(Default::Maker(name)) => {
                let fine = self.routine(name).is_some_and(|r| r.role == Role::Maker && r.returns == column.data_type);
                column.default.take_if(|_| !fine);
            }
            Some(Default::Now) if !column.data_type.is(&["timestamp with time zone", "date"]) => column.default = None,
            _ => {}
        }
        if !column.data_type.is_text() {
            column.collation = None;
        }
        let toasted = column.data_type.is_text() || column.data_type.is(&["jsonb", "bytea", "json"]);
        column.storage.take_if(|_| !toasted);
        column.compression.take_if(|_| !toasted);
    }

    fn repair_table(&mut self, place: usize) {
        let mut table = self.tables[place].clone();
        let earlier = |name: &Name| self.tables[..place].iter().find(|t| t.name == *name);
        if let Some(of) = &table.partition_of {
            let same = |t: &Table| t.partition_of.as_ref() == Some(of);
            let alone = !self.tables[..place].iter().any(same);
            if !alone || earlier(&of.table).is_none_or(|parent| parent.partition_by.is_none()) {
                table.partition_of = None;
            }
        }
        let inherits = |parent: &Table| parent.partition_by.is_none() && parent.partition_of.is_none();
        table.inherits.take_if(|name| table.partition_of.is_some() || !earlier(name).is_some_and(inherits));
        table.of_type.take_if(|name| !self.composites.iter().any(|c| c.name == *name));
        if table.partition_of.is_some() || table.inherits.is_some() {
            table.of_type = None;
            table.partition_by = None;
        }
        if table.of_type.is_some() {
            table.partition_by = None;
        }
        if table.partition_of.is_some() || table.of_type.is_some() {
            table.columns.clear();
        }
        let above = table.inherits.as_ref().and_then(earlier).map(|parent| self.columns_of(parent)).unwrap_or_default();
        table.columns.retain(|column| !above.iter().any(|(name, _)| *name == column.name));
        if let Some(by) = &mut table.partition_by {
            match table.columns.iter_mut().find(|column| column.name == by.column) {
                None => table.partition_by = None,
                Some(column) => {
                    let allowed: &[&str] = match &*by.strategy {
                        "range" => &["integer", "bigint", "date"],
                        "list" => &["integer", "text", "character varying(255)"],
                        _ => &["integer", "bigint", "text", "uuid", "date"],
                    };
                    if !column.data_type.is(allowed) {
                        column.data_type = Type::builtin("integer");
                    }
                    column.generated = None;
                }
            }
        }
        let copy = table.clone();
        for column in &mut table.columns {
            self.repair_column(column, &copy);
        }
        if table.partition_by.is_some() || table.partition_of.is_some() {
            table.unlogged = false;
        }
        if table.partition_by.is_some() {
            table.options.clear();
            for column in &mut table.columns {
                // Partitions have no identity of their own on PostgreSQL 15 and 16.
                column.identity = None;
            }
        }
        self.tables[place] = table.clone();
        let columns = self.columns_of(&table);
        let mut kept: Vec<Constraint> = Vec::new();
        for mut constraint in table.constraints.drain(..).collect::<Vec<_>>() {
            let named_twice = constraint.name.is_some() && kept.iter().any(|other| other.name == constraint.name);
            if !named_twice && self.repair_constraint(&mut constraint, place, &columns, &kept) {
                kept.push(constraint);
            }
        }
        // A key's column may have had to take the type of the one it refers to.
        table.columns.clone_from(&self.tables[place].columns);
        table.constraints = kept;
        let columns = self.columns_of(&self.tables[place]);
        let partitioned = table.partition_by.is_some();
        table.indexes.retain_mut(|index| self.repair_index(index, &columns, partitioned));
        let copy = table.clone();
        table.triggers.retain_mut(|trigger| self.repair_trigger(trigger, &copy, &columns));
        table.policies.retain_mut(|policy| {
            policy.check.take_if(|check| !self.repair_condition(check, &columns));
            self.repair_condition(&mut policy.using, &columns)
        });
        table.rules.retain_mut(|rule| {
            rule.condition.take_if(|condition| !self.repair_condition(condition, &columns));
            true
        });
        table.statistics.retain_mut(|statistics| {
            statistics.columns.retain(|c| columns.iter().any(|(name, of)| name == c && of.can(self) & BTREE != 0));
            statistics.columns.sort();
            statistics.columns.dedup();
            statistics.columns.len() >= 2
        });
        self.tables[place] = table;
    }

    fn repair_constraint(
        &mut self,
        constraint: &mut Constraint,
        place: usize,
        columns: &Columns,
        kept: &[Constraint],
    ) -> bool {
        let table = self.tables[place].clone();
        let of = |name: &String| columns.iter().find(|(n, _)| n == name).map(|(_, of)| of);
        let partitioned = table.partition_by.as_ref().map(|by| &by.column);
        if table.partition_of.is_some() && !matches!(constraint.rule, Rule::Check { .. }) {
            return false;
        }
        // Of two keys on the same columns in one CREATE TABLE the server makes one.
        let taken = |keys: &[String]| {
            kept.iter().any(|other| match &other.rule {
                Rule::Primary { columns, .. } | Rule::Unique { columns, .. } => columns == keys,
                _ => false,
            })
        };
        match &mut constraint.rule {
            Rule::Primary { columns: keys, include, deferrable: _ } => {
                keys.retain(|key| of(key).is_some_and(|of| of.can(self) & BTREE != 0));
                keep_first(keys);
                keys.extend(partitioned.filter(|key| !keys.contains(key)).cloned().into_iter().collect::<Vec<_>>());
                include.retain(|key| of(key).is_some() && !keys.contains(key));
                !keys.is_empty() && !taken(keys) && !kept.iter().any(|c| matches!(c.rule, Rule::Primary { .. }))
            }
            Rule::Unique { columns: keys, include, .. } => {
                keys.retain(|key| of(key).is_some_and(|of| of.can(self) & BTREE != 0));
                keep_first(keys);
                keys.extend(partitioned.filter(|key| !keys.contains(key)).cloned().into_iter().collect::<Vec<_>>());
                include.retain(|key| of(key).is_some() && !keys.contains(key));
                !keys.is_empty() && !taken(keys)
            }
            Rule::Check { condition, no_inherit, not_valid } => {
                *no_inherit &= partitioned.is_none();
                *not_valid &= constraint.name.is_some();
                self.repair_condition(condition, columns)
            }
            Rule::Exclude { column, condition, .. } => {
                condition.take_if(|condition| !self.repair_condition(condition, columns));
                let fits = of(column).is_some_and(|of| of.can(self) & BTREE != 0);
                let twice =
                    kept.iter().any(|c| matches!(&c.rule, Rule::Exclude { column: other, .. } if other == column));
                fits && !twice && partitioned.is_none()
            }
            Rule::Foreign { column, table: to, referenced, not_valid, .. } => {
                let Some(target) = self.table(to) else { return false };
                let Some((key, key_type, primary)) = self.unique_column(target) else { return false };
                *not_valid &= partitioned.is_none();
                let own = table.columns.iter().any(|c| c.name == *column && c.generated.is_none());
                if !own || target.unlogged && !table.unlogged || *to == table.name && key == *column {
                    return false;
                }
                if referenced.is_some() || !primary {
                    *referenced = Some(key);
                }
                let by_key = partitioned == Some(column);
                match self.tables[place].columns.iter_mut().find(|c| c.name == *column) {
                    Some(c) if c.data_type == key_type => true,
                    Some(c) if !by_key && c.identity.is_none() && !c.serial && *to != table.name => {
                        c.data_type = key_type;
                        c.default = None;
                        c.collation = None;
                        true
                    }
                    _ => false,
                }
            }
        }
    }

    /// A column that alone is a key that others can refer to, its type, whether it is the primary one.
    fn unique_column(&self, table: &Table) -> Option<(String, Type, bool)> {
        let alone = |rule: &Rule| match rule {
            Rule::Primary { columns, deferrable: false, .. } => {
                <[String; 1]>::try_from(columns.clone()).ok().map(|[c]| (c, true))
            }
            Rule::Unique { columns, deferrable: false, .. } => {
                <[String; 1]>::try_from(columns.clone()).ok().map(|[c]| (c, false))
            }
            _ => None,
        };
        let (column, primary) = table.constraints.iter().find_map(|constraint| alone(&constraint.rule))?;
        let of = self.columns_of(table).into_iter().find(|(name, _)| *name == column)?.1;
        let plain = table.columns.iter().any(|c| c.name == column && c.generated.is_none() && c.collation.is_none());
        plain.then_some((column, of, primary))
    }

    fn repair_index(&self, index: &mut Index, columns: &Columns, partitioned: bool) -> bool {
        let needed = match &*index.method {
            "hash" => HASH,
            "gin" => GIN,
            "gist" => GIST,
            "brin" => BRIN,
            "spgist" => SPGIST,
            _ => BTREE,
        };
        index.keys.retain_mut(|key| {
            let Some((_, of)) = columns.iter().find(|(name, _)| *name == key.column) else { return false };
            if needed != BTREE {
                key.shape = 0;
                key.collation = None;
            }
            key.key.take_if(|name| !self.routine_for(name, Role::Key, of));
            key.shape == 1 || of.can(self) & needed != 0
        });
        if matches!(needed, HASH | SPGIST) {
            index.keys.truncate(1);
        }
        index.include.retain(|name| columns.iter().any(|(column, _)| column == name));
        if !matches!(needed, BTREE | GIST) {
            index.include.clear();
        }
        if matches!(needed, GIN | BRIN) {
            index.fillfactor = None;
        }
        index.unique &= needed == BTREE && !partitioned;
        index.condition.take_if(|condition| !self.repair_condition(condition, columns));
        !index.keys.is_empty()
    }

    fn repair_trigger(&self, trigger: &mut Trigger, table: &Table, columns: &Columns) -> bool {
        if trigger.events.is_empty() || !self.routine(&trigger.function).is_some_and(|r| r.role == Role::Trigger) {
            return false;
        }
        let truncates = trigger.events.iter().any(|event| event == "TRUNCATE");
        trigger.row &= !truncates;
        let plain = table.partition_by.is_none() && table.partition_of.is_none();
        if trigger.before || !trigger.row || !plain {
            trigger.constraint = 0;
        }
        trigger.update_of.retain(|name| columns.iter().any(|(column, _)| column == name));
        if !trigger.events.iter().any(|event| event == "UPDATE") {
            trigger.update_of.clear();
        }
        trigger.transition &=
            !trigger.before && !trigger.row && trigger.events.len() == 1 && !truncates && trigger.update_of.is_empty();
        let new_row = trigger.row && trigger.events.iter().all(|event| event == "INSERT" || event == "UPDATE");
        let computed = |name: &str| self.is_computed(table, name);
        trigger.condition.take_if(|condition| {
            !self.repair_condition(condition, columns) || !new_row || trigger.before && computed(&condition.column)
        });
        true
    }

    /// Whether a column is a generated one, of the table itself or of its parent.
    fn is_computed(&self, table: &Table, name: &str) -> bool {
        let above =
            table.inherits.as_ref().or(table.partition_of.as_ref().map(|p| &p.table)).and_then(|name| self.table(name));
        table.columns.iter().any(|c| c.name == name && c.generated.is_some())
            || above.is_some_and(|parent| self.is_computed(parent, name))
    }

    fn repair_sequences(&mut self) {
        let tables = self.tables.clone();
        for sequence in &mut self.sequences {
            sequence.owned_by.take_if(|(name, column)| {
                let owner = tables.iter().find(|t| t.name == *name && t.name.schema == sequence.name.schema);
                !owner.is_some_and(|t| !t.unlogged && t.columns.iter().any(|c| c.name == *column))
            });
        }
    }

    fn repair_view(&mut self, place: usize) {
        let mut view: View = self.views[place].clone();
        let earlier = |name: &Name| self.views[..place].iter().any(|v| v.name == *name);
        if self.table(&view.source).is_none() && !earlier(&view.source) {
            view.name.name.clear();
            self.views[place] = view;
            return;
        }
        let source = self.relation(&view.source);
        let mut seen: Vec<String> = Vec::new();
        view.columns.retain(|column| {
            let new = !seen.contains(&column.name);
            seen.push(column.name.clone());
            new && source.iter().any(|(name, _)| *name == column.of)
        });
        view.condition.take_if(|condition| !self.repair_condition(condition, &source));
        view.trigger.take_if(|name| view.materialized || !self.routine(name).is_some_and(|r| r.role == Role::Trigger));
        if view.materialized {
            view.options.clear();
            view.grants.retain(|grant| grant == "SELECT");
        } else {
            view.indexes.clear();
        }
        let updatable = self.table(&view.source).is_some() && (view.star || view.columns.iter().any(|c| c.shape == 0));
        view.options.retain(|option| !option.starts_with("check_option") || updatable && view.trigger.is_none());
        self.views[place] = view.clone();
        let columns = self.relation(&view.name);
        view.indexes.retain_mut(|index| self.repair_index(index, &columns, false));
        self.views[place] = view;
    }
}

/// Without repetitions.
fn keep_first(names: &mut Vec<String>) {
    let mut seen = Vec::new();
    names.retain(|name| {
        let new = !seen.contains(name);
        seen.push(name.clone());
        new
    });
}
