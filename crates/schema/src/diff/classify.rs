//! How dangerous each change is to the rows that are there.

use std::collections::{BTreeSet, HashMap};

use super::Wanted;
use super::compare::alike;
use super::types::type_change;
use crate::{Address, Body, Classified, Column, Generated, Key, Kind, Loss, Model, Object, Safety, Table};

/// Classification of the change from `before`, the tenant before the deployment, to `wanted`. `now` is the tenant after its pending
/// migrations ran (equal to `before` if there are none): what it has of the change already, a migration made.
///
/// Objects of `before` are found in `now` by [`Notes::address`](crate::Notes::address), so that a RENAME in a migration is a rename and
/// no loss; in `wanted` by the name that they have in `now`.
pub fn classify(before: &Model, now: &Model, wanted: &Wanted<'_>) -> Vec<Classified> {
    let mut names: HashMap<Address, &Object> = HashMap::new();
    for object in now.iter() {
        names.extend(object.notes.address.map(|address| (address, object)));
    }
    let mut judge = Judge { now, wanted, names, found: Vec::new() };
    // Everything of `before` by the key that it has now; what was there under another name is no addition.
    let mut origins: HashMap<&Key, &Object> = HashMap::new();
    let mut lost = Vec::new();
    for object in before.iter() {
        let after = match object.notes.address {
            Some(address) => judge.names.get(&address).copied().filter(|after| after.key.kind == object.key.kind),
            None => now.get(&object.key),
        };
        match after {
            Some(after) => {
                origins.insert(&after.key, object);
            }
            None => lost.push(object),
        }
    }
    for object in &lost {
        // A migration dropped it, or dropped it and made another of the name.
        judge.gone(object, true, before);
    }
    for (key, object) in &origins {
        match wanted.model.get(key) {
            Some(after) => judge.changed(object, now.get(key), after),
            None if wanted.declared_before.contains(*key) || judge.is_part_of_gone(key) => {
                judge.gone(object, false, before)
            }
            // Nobody declared it. A migration may have changed it all the same.
            None => {
                if let Some(after) = now.get(key) {
                    judge.changed(object, Some(after), after);
                }
            }
        }
    }
    for object in wanted.model.iter().filter(|object| !origins.contains_key(&object.key)) {
        judge.added(object, &origins);
    }
    judge.found.sort_by(|a, b| (&a.object, &a.change_type).cmp(&(&b.object, &b.change_type)));
    judge.found
}

struct Judge<'a, 'b> {
    now: &'b Model,
    /// Its objects by address.
    names: HashMap<Address, &'b Object>,
    wanted: &'b Wanted<'a>,
    found: Vec<Classified>,
}

/// A class without more to say.
fn class(key: &Key, change: &str) -> Classified {
    let table = key.table().unwrap_or_else(|| key.clone());
    Classified {
        table: if key.kind == Kind::Constraint || key.kind == Kind::Column {
            table.name_for_people()
        } else {
            key.name_for_people()
        },
        change_type: change.to_owned(),
        column: (key.kind == Kind::Column).then(|| key.name.clone()),
        object: Some(key.clone()),
        ..Classified::default()
    }
}

impl Judge<'_, '_> {
    fn push(&mut self, classified: Classified) {
        self.found.push(classified);
    }

    /// Whether it goes with a table that goes.
    fn is_part_of_gone(&self, key: &Key) -> bool {
        key.table().is_some_and(|table| !self.wanted.model.has(&table) && self.wanted.declared_before.contains(&table))
    }

    fn gone(&mut self, object: &Object, by_migration: bool, before: &Model) {
        let key = &object.key;
        let loss = |kind: &str, change: &str, allow: Loss, reason: &str| Classified {
            safety: Safety::Dataloss,
            allow: Some(allow),
            reason: format!("{kind} {} {reason}", key.name_for_people()),
            ..class(key, change)
        };
        match &object.body {
            Body::Table(_) => {
                self.push(loss("table", "DropTable", Loss::DropTable, "goes with all its rows"));
            }
            Body::Column(column) => {
                // With its table goes every column: one entry is enough.
                let table = key.table().and_then(|table| before.get(&table));
                let alone = table.is_some_and(|table| {
                    let now = match table.notes.address {
                        Some(address) => self.names.get(&address).copied(),
                        None => self.now.get(&table.key),
                    };
                    now.is_some_and(|now| {
                        self.wanted.model.has(&now.key) || !self.wanted.declared_before.contains(&now.key)
                    })
                });
                if !alone {
                    return;
                }
                let mut entry = loss("column", "DropColumn", Loss::DropColumn, "goes with its values");
                entry.from_type = Some(column.data_type.clone());
                if column.generated.is_some() {
                    (entry.safety, entry.allow) = (Safety::Safe, None);
                    entry.reason = "the values are computed from other columns".to_owned();
                }
                self.push(entry);
            }
            _ => {
                if let Some(change) = change_type(key.kind, "Drop") {
                    let reason = "no row is lost".to_owned();
                    self.push(Classified { by_migration, reason, ..class(key, &change) });
                }
            }
        }
    }

    fn added(&mut self, object: &Object, origins: &HashMap<&Key, &Object>) {
        let key = &object.key;
        let by_migration = self.now.has(key);
        match &object.body {
            Body::Column(column) => {
                let Some(table) = key.table() else { return };
                // Columns of a new table are part of it.
                if !origins.contains_key(&table) {
                    return;
                }
                let mut entry = class(key, "AddColumn");
                entry.to_type = Some(column.data_type.clone());
                entry.by_migration = by_migration;
                if column.not_null
                    && !column.not_valid
                    && column.default.is_none()
                    && column.identity.is_none()
                    && column.generated.is_none()
                    && !self.is_numbered(key)
                {
                    entry.allow = Some(Loss::AddNotNullColumn);
                    entry.safety = Safety::Dataloss;
                    entry.reason = "rows that are there have no value for it".to_owned();
                    if by_migration {
                        (entry.safety, entry.allow) = (Safety::Safe, None);
                        entry.reason = "a pending migration gives the rows their values".to_owned();
                    }
                } else {
                    entry.reason = "rows that are there get its default".to_owned();
                }
                self.push(entry);
            }
            Body::Constraint(_) if key.table().is_some_and(|table| !origins.contains_key(&table)) => {}
            _ => {
                let verb = if matches!(key.kind, Kind::Constraint) { "Add" } else { "Create" };
                if let Some(change) = change_type(key.kind, verb) {
                    let reason = "nothing is taken away".to_owned();
                    self.push(Classified { by_migration, reason, ..class(key, &change) });
                }
            }
        }
    }

    /// Whether a new column of a table that is a child gets its values with the identity column that a table above it gets.
    fn is_numbered(&self, key: &Key) -> bool {
        let (mut open, mut seen): (Vec<Key>, BTreeSet<Key>) = (key.table().into_iter().collect(), BTreeSet::new());
        while let Some(table) = open.pop() {
            let column = Key::part(Kind::Column, &table.schema, &table.name, &key.name);
            let wanted = self.wanted.model.get(&column).map(|object| &object.body);
            if matches!(wanted, Some(Body::Column(column)) if column.identity.is_some()) {
                return !self.now.has(&column);
            }
            // One that moves meanwhile gets the column by itself.
            let now = places(self.now, &table);
            let kept = places(self.wanted.model, &table).into_iter().filter(|parent| now.contains(parent));
            open.extend(kept.map(|(parent, _)| parent.clone()).filter(|parent| seen.insert(parent.clone())));
        }
        false
    }

    /// From `before` to `after`; `now` is what a migration made of it.
    fn changed(&mut self, before: &Object, now: Option<&Object>, after: &Object) {
        let key = &after.key;
        let made = now.is_some_and(|now| now.body == after.body);
        match (&before.body, &after.body) {
            (Body::Column(old), Body::Column(new)) => {
                let now = match now.map(|now| &now.body) {
                    Some(Body::Column(now)) => now,
                    _ => old,
                };
                self.column(key, old, now, new);
            }
            (Body::Table(old), Body::Table(new)) if old.partition_key != new.partition_key => self.push(Classified {
                safety: Safety::Dataloss,
                allow: Some(Loss::DropTable),
                reason: "a table can only be partitioned otherwise by dropping it and creating it again".to_owned(),
                ..class(key, "DropTable")
            }),
            (Body::Table(old), Body::Table(new)) if old != new => {
                let reason = "no row changes".to_owned();
                self.push(Classified { by_migration: made, reason, ..class(key, "ModifyTable") });
            }
            (Body::Enum(old), Body::Enum(new)) if old != new => {
                let missing: Vec<&str> =
                    old.labels.iter().filter(|label| !new.labels.contains(label)).map(String::as_str).collect();
                let mut entry = Classified { by_migration: made, ..class(key, "ModifyEnum") };
                if missing.is_empty() {
                    entry.reason = "no value goes".to_owned();
                } else {
                    entry.change_type = "DropEnumValue".to_owned();
                    (entry.safety, entry.allow, entry.by_migration) =
                        (Safety::Dataloss, Some(Loss::DropEnumValue), false);
                    entry.reason = format!("rows with {} cannot stay", missing.join(", "));
                }
                self.push(entry);
            }
            (Body::Domain(old), Body::Domain(new)) if old != new => {
                let mut entry = Classified { by_migration: made, ..class(key, "ModifyType") };
                if old.data_type != new.data_type {
                    (entry.from_type, entry.to_type) = (Some(old.data_type.clone()), Some(new.data_type.clone()));
                    self.retyped(&mut entry, &old.data_type, &new.data_type, made);
                } else {
                    entry.reason = "the type of the values stays".to_owned();
                }
                self.push(entry);
            }
            (Body::Composite { attributes: old }, Body::Composite { attributes: new }) if old != new => {
                let mut entry = Classified { by_migration: made, ..class(key, "ModifyType") };
                let gone = old.iter().find(|old| !new.iter().any(|new| new.name == old.name));
                match gone {
                    Some(gone) => {
                        (entry.safety, entry.allow) = (Safety::Dataloss, Some(Loss::ModifyColumnType));
                        entry.by_migration = false;
                        entry.reason = format!("values of the attribute {} go", gone.name);
                    }
                    None => entry.reason = "no attribute goes".to_owned(),
                }
                self.push(entry);
            }
            (Body::Constraint(old), Body::Constraint(new))
                if (&old.definition, old.validated) != (&new.definition, new.validated) =>
            {
                let reason = "rows that are there are checked anew".to_owned();
                self.push(Classified { by_migration: made, reason, ..class(key, "ModifyConstraint") });
            }
            _ if !alike(before, after) && before.body != after.body => {
                let verb = if key.kind == Kind::View { "Replace" } else { "Modify" };
                if let Some(change) = change_type(key.kind, verb) {
                    let reason = "no row changes".to_owned();
                    self.push(Classified { by_migration: made, reason, ..class(key, &change) });
                }
            }
            _ => {}
        }
    }

    fn column(&mut self, key: &Key, old: &Column, now: &Column, new: &Column) {
        if old.data_type != new.data_type || old.collation != new.collation {
            let made = now.data_type == new.data_type && now.collation == new.collation;
            let mut entry = Classified {
                from_type: Some(old.data_type.clone()),
                to_type: Some(new.data_type.clone()),
                by_migration: made,
                ..class(key, "ModifyColumnType")
            };
            if new.generated.is_some() && old.generated.is_some() {
                entry.reason = "the values are computed from other columns".to_owned();
            } else {
                self.retyped(&mut entry, &old.data_type, &new.data_type, made);
            }
            if !made && self.is_partitioned_by(key) {
                // PostgreSQL refuses any other type for it.
                (entry.safety, entry.allow) = (Safety::Incompatible, Some(Loss::ModifyColumnType));
                entry.reason =
                    "the table is partitioned by it: only a migration that makes the table anew can change its type"
                        .to_owned();
            }
            self.push(entry);
        }
        let demands = |column: &Column| column.not_null && !column.not_valid;
        if old.not_null != new.not_null || demands(new) && !demands(old) {
            let made = now.not_null == new.not_null && (demands(now) || !demands(new));
            let mut entry = Classified { by_migration: made, ..class(key, "ModifyColumnNullable") };
            if !demands(new) {
                entry.reason = "no row is refused".to_owned();
            } else if entry.by_migration {
                entry.reason = "a pending migration gives the rows their values".to_owned();
            } else {
                entry.safety = Safety::Dataloss;
                entry.allow = Some(Loss::SetNotNull);
                entry.reason = "rows without a value refuse it".to_owned();
            }
            self.push(entry);
        }
        if old.generated.is_none() && new.generated.is_some() {
            self.push(Classified {
                safety: Safety::Dataloss,
                allow: Some(Loss::DropColumn),
                reason: "the values give way to computed ones".to_owned(),
                from_type: Some(old.data_type.clone()),
                ..class(key, "DropColumn")
            });
        } else if old.generated == Some(Generated::Virtual) && new.generated.is_none() && now.generated.is_some() {
            let reason = "its values are computed whenever they are read and stored nowhere: a migration can keep them in another column";
            self.push(Classified {
                safety: Safety::Dataloss,
                allow: Some(Loss::DropColumn),
                reason: reason.to_owned(),
                from_type: Some(old.data_type.clone()),
                ..class(key, "DropColumn")
            });
        } else if old.default != new.default || old.identity != new.identity || old.generated != new.generated {
            let made = now.default == new.default && now.identity == new.identity && now.generated == new.generated;
            let reason = "rows that are there keep their values".to_owned();
            self.push(Classified { by_migration: made, reason, ..class(key, "ModifyColumnDefault") });
        }
    }

    /// Whether a column is part of its table's partition key.
    fn is_partitioned_by(&self, column: &Key) -> bool {
        let table = column.table().and_then(|table| self.now.get(&table));
        matches!(
            table.map(|table| &table.body),
            Some(Body::Table(Table { partition_key: Some(key), .. })) if mentions(key, &column.name)
        )
    }

    fn retyped(&self, entry: &mut Classified, from: &str, to: &str, made: bool) {
        let (safety, _) = type_change(from, to);
        entry.safety = safety;
        match safety {
            Safety::Safe => entry.reason = "every value fits".to_owned(),
            Safety::Dataloss => {
                // Whoever makes it, parts of the values are gone.
                entry.by_migration = false;
                entry.reason = match (from.split(['(', ' ']).next(), to.split(['(', ' ']).next()) {
                    (Some("timestamp"), Some("timestamp")) if from.contains(" with ") != to.contains(" with ") => {
                        "which instants the values are depends on the time zone of the session".to_owned()
                    }
                    (Some("boolean"), Some("integer")) | (Some("integer"), Some("boolean")) => {
                        format!("{from} and {to} do not mean the same")
                    }
                    _ => format!("not every value of {from} fits into {to}"),
                };
            }
            Safety::Incompatible if made => {
                entry.safety = Safety::Safe;
                entry.reason = "a pending migration converts the values".to_owned();
            }
            Safety::Incompatible => entry.reason = format!("no cast from {from} to {to} keeps the values"),
        }
        if entry.safety != Safety::Safe {
            entry.allow = Some(Loss::ModifyColumnType);
        }
    }
}

/// The tables that a table is a partition of or inherits from, and its place there.
fn places<'a>(model: &'a Model, table: &Key) -> Vec<(&'a Key, &'a str)> {
    match model.get(table).map(|object| &object.body) {
        Some(Body::Table(table)) => {
            let partition = table.partition_of.iter().map(|partition| (&partition.of, partition.bound.as_str()));
            partition.chain(table.inherits.iter().map(|parent| (parent, ""))).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a column stands in the parentheses of a partition key: `RANGE (lower(a), "B" text_pattern_ops)`.
fn mentions(partition_key: &str, column: &str) -> bool {
    let Some((_, inside)) = partition_key.split_once('(') else { return false };
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    let quoted = format!("\"{}\"", column.replace('"', "\"\""));
    inside.contains(&quoted) || inside.split(|c| !is_part(c)).any(|word| word == column)
}

/// `CreateView`, `DropIndex`; None for kinds that are not classified.
fn change_type(kind: Kind, verb: &str) -> Option<String> {
    let noun = match kind {
        Kind::Table => "Table",
        Kind::Enum | Kind::Composite | Kind::Domain | Kind::Range => "Type",
        Kind::View => "View",
        Kind::MaterializedView => "MaterializedView",
        Kind::Constraint => "Constraint",
        Kind::Index => "Index",
        Kind::Trigger => "Trigger",
        Kind::Policy => "Policy",
        Kind::Rule => "Rule",
        Kind::Schema => "Schema",
        Kind::Statistics => "Statistics",
        Kind::Sequence | Kind::Extension | Kind::DefaultPrivileges | Kind::Column | Kind::Routine | Kind::Other => {
            return None;
        }
    };
    Some(format!("{verb}{noun}"))
}
