//! Columns.

use petgraph::graph::NodeIndex;

use super::super::items::{Item, Verdict};
use super::super::sql::{aside, element, ident, list, literal, name, owner_name, qualified};
use super::super::types::{is_assignable, type_change};
use super::relation::change_options;
use super::types::options;
use super::{Writer, plain};
use crate::{Body, Column, Generated, Hazard, Identity, Key, Object, Safety, Step};

/// What [`Writer::definition`] makes of a column: all but the settings that need statements of their own.
pub(super) fn as_defined(column: &Column, with_default: bool) -> Column {
    let default = column.default.clone().filter(|_| with_default || column.generated.is_some());
    // It can be said of a NOT NULL that is added only.
    let not_null = column.not_null && !column.not_valid;
    Column {
        storage: None,
        statistics: None,
        options: Vec::new(),
        default,
        not_null,
        not_valid: false,
        ..column.clone()
    }
}

impl Writer<'_, '_> {
    /// The column as CREATE TABLE and ADD COLUMN take it.
    pub(super) fn definition(&self, key: &Key, column: &Column, with_default: bool) -> String {
        let mut sql = format!("{} {}", ident(&key.name), column.data_type);
        if let Some(compression) = &column.compression {
            sql.push_str(&format!(" COMPRESSION {}", ident(compression)));
        }
        if let Some(collation) = &column.collation {
            sql.push_str(&format!(" COLLATE {collation}"));
        }
        match (&column.default, column.generated) {
            (Some(expression), Some(generated)) => {
                let word = match generated {
                    Generated::Stored => "STORED",
                    Generated::Virtual => "VIRTUAL",
                };
                sql.push_str(&format!(" GENERATED ALWAYS AS ({expression}) {word}"));
            }
            (Some(expression), None) if with_default => sql.push_str(&format!(" DEFAULT {expression}")),
            _ => {}
        }
        if let Some(identity) = column.identity {
            sql.push_str(&format!(" GENERATED {} AS IDENTITY{}", word(identity), self.sequence_of(key)));
        }
        if column.not_null && !column.not_valid {
            sql.push_str(if column.no_inherit { " NOT NULL NO INHERIT" } else { " NOT NULL" });
        }
        sql
    }

    fn sequence_of(&self, column: &Key) -> String {
        match self.identities.get(column) {
            Some(Object { key, body: Body::Sequence(sequence), .. }) => {
                format!(" (SEQUENCE NAME {} {})", name(key), options(sequence))
            }
            _ => String::new(),
        }
    }

    pub(super) fn set_default(&self, key: &Key, default: &str) -> Step {
        let (table, column) = (owner_name(key), ident(&key.name));
        plain(key, format!("ALTER TABLE ONLY {table} ALTER COLUMN {column} SET DEFAULT {default}"))
    }

    pub(super) fn add_column(&self, node: NodeIndex, item: &Item<'_>, after: &Column) -> Vec<Step> {
        let key = item.key;
        if let Some(parent) = self.parent_column(node)
            && let Some(Object { body: Body::Column(parent), .. }) = parent.after
        {
            // It came with the uppermost parent's; what each of those in between has of its own (ONLY) did not come along.
            let identity = if self.identities.contains_key(key) { None } else { after.identity };
            let top = self.uppermost(node).after.map(|object| &object.body);
            let top = if let Some(Body::Column(top)) = top { top } else { parent };
            let (default, compression) = (top.default.clone(), top.compression.clone());
            let made = Column { default, compression, identity, ..as_defined(parent, false) };
            return self.settings(key, &made, after, false);
        }
        if let Some(steps) = self.add_numbered(node, key, after) {
            return steps;
        }
        let mut step =
            plain(key, format!("ALTER TABLE {} ADD COLUMN {}", owner_name(key), self.definition(key, after, true)));
        if let Some(table) = key.table() {
            let volatile = item.after.is_some_and(|object| object.notes.volatile) || after.identity.is_some();
            if volatile && after.default.is_some()
                || after.generated == Some(Generated::Stored)
                || after.identity.is_some()
            {
                step.hazards = self.on_rows(&table, &[Hazard::RewritesTable, Hazard::StrongLock]);
            }
            if needs_value(after) && item.verdict == Verdict::Create {
                step.safety = Safety::Dataloss;
            }
        }
        let persistence = after.identity.and_then(|_| self.persistence_of_identity(key));
        let settings = self.settings(key, &as_defined(after, true), after, false);
        std::iter::once(step).chain(persistence).chain(settings).collect()
    }

    /// An identity column of a table that has children. PostgreSQL does not add it in one statement: what is there is numbered by another
    /// sequence first, in the children too. None where it is to be added as any other.
    fn add_numbered(&self, node: NodeIndex, key: &Key, after: &Column) -> Option<Vec<Step>> {
        after.identity?;
        let Object { key: sequence, body: Body::Sequence(body), .. } = self.identities.get(key)? else { return None };
        let graph = &self.items.graph;
        let items = self.items;
        let mut children = items.nodes().filter(|child| {
            items.inherited_from(*child) == Some(node) || items.merged_with(*child).any(|column| column == node)
        });
        // From PostgreSQL 17 on partitions are identity columns themselves, and then it does.
        let is_there = |child: NodeIndex| {
            let table = self.items.relation(child).is_some_and(|table| !graph[table].comes());
            table
                && !matches!(
                    graph[child].after,
                    Some(Object { body: Body::Column(Column { identity: Some(_), .. }), .. })
                )
        };
        if !children.any(is_there) {
            return None;
        }
        let (table, column) = (owner_name(key), ident(&key.name));
        let numbers = qualified(&sequence.schema, &aside(&sequence.name));
        let default = format!("pg_catalog.nextval({})", literal(&numbers));
        let ordinary = Column { identity: None, default: Some(default), ..after.clone() };
        let add = plain(key, format!("ALTER TABLE {table} ADD COLUMN {}", self.definition(key, &ordinary, true)));
        let hazards = key.table().map(|table| self.on_rows(&table, &[Hazard::RewritesTable, Hazard::StrongLock]));
        let mut steps = vec![
            plain(key, format!("CREATE SEQUENCE {numbers} AS {} {}", body.data_type, options(body))),
            Step { hazards: hazards.unwrap_or_default(), ..add },
            plain(key, format!("ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT")),
        ];
        let made = Column { default: None, ..as_defined(&ordinary, false) };
        steps.extend(self.settings(key, &made, after, false));
        let sequence = literal(&name(sequence));
        steps.push(plain(key, format!("SELECT pg_catalog.setval({sequence}, last_value, is_called) FROM {numbers}")));
        steps.push(plain(key, format!("DROP SEQUENCE {numbers}")));
        Some(steps)
    }

    pub(super) fn alter_column(&self, node: NodeIndex, item: &Item<'_>, before: &Column, after: &Column) -> Vec<Step> {
        let key = item.key;
        let mut now = before.clone();
        let mut steps = Vec::new();
        if item.cut && before.generated.is_none() {
            now.default = None;
        }
        let above = self.items.inherited_from(node);
        let parent = above.map(|above| &self.items.graph[above]);
        let parent_after = match parent.and_then(|parent| parent.after).map(|object| &object.body) {
            Some(Body::Column(column)) => Some(column),
            _ => None,
        };
        let alter = |action: String| {
            plain(key, format!("ALTER TABLE {} ALTER COLUMN {} {action}", owner_name(key), ident(&key.name)))
        };
        if before.generated.is_some() && after.generated.is_none() {
            if parent.is_none() && !item.cut {
                steps.push(alter("DROP EXPRESSION".to_owned()));
            }
            (now.generated, now.default) = (None, None);
        }
        if parent.is_some() && !self.numbered.contains(key) {
            // What becomes of the parent's identity reaches it, and nothing else may.
            now.identity = after.identity;
        }
        if now.identity.is_some() && after.identity.is_none() {
            steps.push(alter("DROP IDENTITY".to_owned()));
            now.identity = None;
        }
        if item.retyped {
            match parent_after {
                // The statement of the uppermost parent reached it, with that one's default.
                Some(_) => {
                    let top = self.uppermost(node);
                    let default = |object: Option<&Object>| match object.map(|object| &object.body) {
                        Some(Body::Column(column)) => column.default.clone(),
                        _ => None,
                    };
                    if default(top.before).is_some() || default(top.after).is_some() {
                        now.default = default(top.after);
                    }
                }
                None => {
                    steps.push(self.retype(key, &now, before, after));
                    if now.generated.is_none()
                        && after.generated.is_none()
                        && (now.default.is_some() || after.default.is_some())
                    {
                        now.default = after.default.clone();
                    }
                }
            }
            (now.data_type, now.collation) = (after.data_type.clone(), after.collation.clone());
            // TYPE sets both back to what the new type has by itself.
            (now.storage, now.compression) = (None, None);
        }
        if let Some(parent) = parent
            && let (Some(Object { body: Body::Column(old), .. }), Some(Object { body: Body::Column(new), .. })) =
                (parent.before, parent.after)
            && (old.hands_down_not_null(), old.not_valid) != (new.hands_down_not_null(), new.not_valid)
            && parent.verdict == Verdict::Alter
            && !above.is_some_and(|above| self.is_nullable_alone(above))
        {
            now.not_null = new.hands_down_not_null();
            now.not_valid = now.not_null && new.not_valid;
        }
        if now.not_null && self.is_nullable_alone(node) {
            let (table, column) = (owner_name(key), ident(&key.name));
            steps.push(plain(key, format!("ALTER TABLE ONLY {table} ALTER COLUMN {column} DROP NOT NULL")));
            now.not_null = false;
        }
        steps.extend(self.settings(key, &now, after, false));
        steps
    }

    /// The column whose statements reach this one.
    fn uppermost(&self, node: NodeIndex) -> &Item<'_> {
        let (mut top, mut next) = (node, self.items.inherited_from(node));
        while let Some(above) = next {
            (top, next) = (above, self.items.inherited_from(above));
        }
        &self.items.graph[top]
    }

    /// Whether a column loses its NOT NULL and one below it keeps its own, which is perhaps of a primary key. PostgreSQL has no ONLY for that
    /// where the tables below are partitions.
    fn is_nullable_alone(&self, node: NodeIndex) -> bool {
        let not_null = |object: Option<&Object>| match object.map(|object| &object.body) {
            Some(Body::Column(column)) => Some(column.not_null),
            _ => None,
        };
        let is = |node: NodeIndex, before: bool, after: bool| {
            let item = &self.items.graph[node];
            not_null(item.before) == Some(before) && not_null(item.after) == Some(after)
        };
        let table = self.items.relation(node).and_then(|table| self.items.graph[table].after);
        let is_partitioned =
            matches!(table.map(|table| &table.body), Some(Body::Table(table)) if table.partition_key.is_some());
        is(node, true, false)
            && !is_partitioned
            && self.items.nodes().filter(|below| is(*below, true, true)).any(|below| {
                let mut above =
                    std::iter::successors(self.items.inherited_from(below), |n| self.items.inherited_from(*n));
                above.any(|above| above == node)
            })
    }

    /// The values as text, as long as their type is not there.
    pub(super) fn to_text(&self, node: NodeIndex, item: &Item<'_>, before: &Column) -> Vec<Step> {
        // A parent's statement reaches its children.
        if self.items.inherited_from(node).is_some() {
            return Vec::new();
        }
        let (key, column) = (item.key, ident(&item.key.name));
        let text = if before.data_type.ends_with("[]") { "text[]" } else { "text" };
        let mut actions = Vec::new();
        if before.default.is_some() {
            actions.push(format!("ALTER COLUMN {column} DROP DEFAULT"));
        }
        actions.push(format!("ALTER COLUMN {column} TYPE {text} USING {column}::{text}"));
        let step = plain(key, format!("ALTER TABLE {} {}", owner_name(key), list(actions)));
        let hazards = [Hazard::RewritesTable, Hazard::StrongLock];
        vec![Step { hazards: key.table().map(|table| self.on_rows(&table, &hazards)).unwrap_or_default(), ..step }]
    }

    /// The type's change, with a default that need not fit both.
    fn retype(&self, key: &Key, now: &Column, before: &Column, after: &Column) -> Step {
        let column = ident(&key.name);
        let mut actions = Vec::new();
        if now.default.is_some() {
            actions.push(format!("ALTER COLUMN {column} DROP DEFAULT"));
        }
        let collation = after.collation.as_ref().map(|name| format!(" COLLATE {name}")).unwrap_or_default();
        let (from, to) = (before.data_type.as_str(), after.data_type.as_str());
        let (safety, rewrites) = type_change(from, to);
        let user = |data_type: &str| data_type.contains('.');
        let using = if from == to && !user(from) || is_assignable(from, to) {
            String::new()
        } else if user(from) && user(to) || from.ends_with("[]") != to.ends_with("[]") {
            // By its text: the two know nothing of each other.
            let array = if from.ends_with("[]") && to.ends_with("[]") { "[]" } else { "" };
            format!(" USING {column}::text{array}::{to}")
        } else {
            format!(" USING {column}::{to}")
        };
        actions.push(format!("ALTER COLUMN {column} TYPE {to}{collation}{using}"));
        if let Some(default) = &after.default {
            actions.push(format!("ALTER COLUMN {column} SET DEFAULT {default}"));
        }
        let table = key.table();
        let renewed = from == to && user(element(from));
        let hazards = match &table {
            Some(table) if rewrites || renewed || before.collation != after.collation => {
                self.on_rows(table, &[Hazard::RewritesTable, Hazard::StrongLock])
            }
            _ => Vec::new(),
        };
        Step { safety, hazards, ..plain(key, format!("ALTER TABLE {} {}", owner_name(key), list(actions))) }
    }

    /// Everything but the type and the expression of a generated column.
    pub(super) fn settings(&self, key: &Key, before: &Column, after: &Column, deferred: bool) -> Vec<Step> {
        let column = ident(&key.name);
        let alter =
            |action: String| plain(key, format!("ALTER TABLE {} ALTER COLUMN {column} {action}", owner_name(key)));
        let only =
            |action: String| plain(key, format!("ALTER TABLE ONLY {} ALTER COLUMN {column} {action}", owner_name(key)));
        let mut steps = Vec::new();
        if after.generated.is_none() && before.default != after.default && !deferred {
            steps.push(match &after.default {
                Some(default) => self.set_default(key, default),
                None => only("DROP DEFAULT".to_owned()),
            });
        }
        self.set_not_null(key, before, after, &mut steps);
        match (before.identity, after.identity) {
            (None, Some(identity)) => {
                steps.push(alter(format!("ADD GENERATED {} AS IDENTITY{}", word(identity), self.sequence_of(key))));
                steps.extend(self.persistence_of_identity(key));
            }
            (Some(old), Some(new)) if old != new => steps.push(alter(format!("SET GENERATED {}", word(new)))),
            (Some(_), None) => steps.push(alter("DROP IDENTITY".to_owned())),
            _ => {}
        }
        if before.storage != after.storage {
            let storage = after.storage.as_deref().unwrap_or_else(|| storage_of(&after.data_type));
            steps.push(only(format!("SET STORAGE {}", storage.to_uppercase())));
        }
        if before.compression != after.compression {
            let compression = after.compression.as_deref().map_or("DEFAULT".to_owned(), ident);
            steps.push(only(format!("SET COMPRESSION {compression}")));
        }
        if before.statistics != after.statistics {
            steps.push(only(format!("SET STATISTICS {}", after.statistics.unwrap_or(-1))));
        }
        steps.extend(change_options(&before.options, &after.options).into_iter().map(only));
        steps
    }
}

impl Writer<'_, '_> {
    fn set_not_null(&self, key: &Key, before: &Column, after: &Column, steps: &mut Vec<Step>) {
        let (table, column) = (owner_name(key), ident(&key.name));
        let alter = |action: String| plain(key, format!("ALTER TABLE {table} {action}"));
        let drop = || alter(format!("ALTER COLUMN {column} DROP NOT NULL"));
        if before.not_null && !after.not_null {
            steps.push(drop());
            return;
        }
        let reaches = before.no_inherit != after.no_inherit;
        let is_to_be_checked = before.not_valid && !after.not_valid;
        if !after.not_null || before.not_null && !reaches && !is_to_be_checked {
            return;
        }
        if before.not_null && reaches {
            // ALTER CONSTRAINT … [NO] INHERIT wants a name, and it is the server that made it.
            steps.push(drop());
        }
        let inherit = if after.no_inherit { " NO INHERIT" } else { "" };
        if after.not_valid {
            steps.push(alter(format!("ADD NOT NULL {column}{inherit} NOT VALID")));
            return;
        }
        let set = match inherit {
            "" => alter(format!("ALTER COLUMN {column} SET NOT NULL")),
            _ => alter(format!("ADD NOT NULL {column}{inherit}")),
        };
        let hazards = key.table().map(|table| self.on_rows(&table, &[Hazard::ScansTable, Hazard::StrongLock]));
        let created = key.table().and_then(|table| self.items.get(&table)).is_some_and(|table| table.comes());
        let has_values = before.not_null && !before.not_valid;
        let safety = if created || has_values { Safety::Safe } else { Safety::Dataloss };
        steps.push(Step { hazards: hazards.unwrap_or_default(), safety, ..set });
    }
}

/// A column that rows which are there can have no value for.
pub(super) fn needs_value(column: &Column) -> bool {
    column.not_null
        && !column.not_valid
        && column.default.is_none()
        && column.identity.is_none()
        && column.generated.is_none()
}

fn word(identity: Identity) -> &'static str {
    match identity {
        Identity::Always => "ALWAYS",
        Identity::ByDefault => "BY DEFAULT",
    }
}

/// How PostgreSQL stores a type's values unless told otherwise (SET STORAGE DEFAULT is known from 16 on only).
fn storage_of(data_type: &str) -> &'static str {
    match data_type.split('(').next().unwrap_or_default() {
        _ if data_type.ends_with("[]") => "extended",
        "smallint"
        | "integer"
        | "bigint"
        | "boolean"
        | "real"
        | "double precision"
        | "date"
        | "uuid"
        | "timestamp"
        | "timestamp with time zone"
        | "timestamp without time zone"
        | "interval"
        | "oid" => "plain",
        "numeric" | "inet" | "cidr" => "main",
        _ => "extended",
    }
}
