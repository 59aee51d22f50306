//! Operations as statements.

mod column;
mod index;
mod privileges;
mod relation;
mod table;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::NodeIndex;

use super::Wanted;
use super::inherit::is_referred_to;
use super::items::{Item, Items, Verdict};
use super::operations::{Operation, Slot, by_text};
use super::sql::{clause, ident, literal, owner_name};
use crate::{Body, Hazard, Key, Kind, Model, Object, Safety, Stage, Step};

pub(super) use table::options_of;

/// A statement without anything special about it.
pub(super) fn plain(key: &Key, sql: String) -> Step {
    Step {
        sql,
        object: key.clone(),
        safety: Safety::Safe,
        hazards: Vec::new(),
        stage: Stage::Within,
        at_top_level: false,
    }
}

/// Writes operations.
pub(super) struct Writer<'a, 'b> {
    items: &'b Items<'a>,
    wanted: &'b Wanted<'a>,
    /// The role that owns the objects, if the models tell.
    owner: Option<&'a str>,
    /// Whether the server has the right MAINTAIN.
    knows_maintain: bool,
    /// The default privileges that hold when objects are created.
    defaults: Vec<&'a Object>,
    /// The sequences of identity columns that are to be, by column.
    identities: BTreeMap<&'a Key, &'a Object>,
    /// The columns that have or had an identity of their own, with a sequence. From PostgreSQL 17 on those of partitions have their parent's.
    numbered: BTreeSet<&'a Key>,
    /// The tables that are to be clustered on some index.
    clustered: BTreeSet<Key>,
}

impl<'a, 'b> Writer<'a, 'b> {
    pub(super) fn new(items: &'b Items<'a>, present: &'a Model, wanted: &'b Wanted<'a>) -> Writer<'a, 'b> {
        let mut writer = Writer {
            items,
            wanted,
            owner: privileges::owner(present, wanted.model),
            knows_maintain: privileges::knows_maintain(present, wanted.model),
            defaults: Vec::new(),
            identities: BTreeMap::new(),
            numbered: BTreeSet::new(),
            clustered: BTreeSet::new(),
        };
        for object in items.nodes().flat_map(|node| [items.graph[node].before, items.graph[node].after]).flatten() {
            if let Body::Sequence(sequence) = &object.body
                && sequence.of_identity
            {
                writer.numbered.extend(sequence.owned_by.as_ref());
            }
        }
        for object in items.nodes().filter_map(|node| items.graph[node].after) {
            match &object.body {
                Body::DefaultPrivileges(_) => writer.defaults.push(object),
                Body::Sequence(sequence) if sequence.of_identity => {
                    writer.identities.extend(sequence.owned_by.as_ref().map(|column| (column, object)));
                }
                Body::Index(index) if index.clustered => {
                    writer.clustered.insert(index.on.clone());
                }
                Body::Constraint(constraint) if constraint.clustered => writer.clustered.extend(object.key.table()),
                _ => {}
            }
        }
        writer
    }

    /// The statements of one operation.
    pub(super) fn write(&self, operation: Operation) -> Vec<Step> {
        let Operation { node, slot } = operation;
        let item = &self.items.graph[node];
        match slot {
            Slot::Aside => self.aside(item),
            Slot::Cut => self.cut(node, item),
            Slot::Drop => self.drop(node, item),
            Slot::Make => {
                let created = item.comes();
                let mut steps = self.make(node, item);
                // What belongs to an object runs when the object is there.
                let stage = steps.last().map_or(Stage::Within, |step| step.stage);
                let stage = if item.key.kind == Kind::Enum { Stage::Within } else { stage };
                let mut rest: Vec<Step> = self.comment(item, created).into_iter().collect();
                rest.extend(self.privileges(node, item, created));
                steps.extend(rest.into_iter().map(|step| Step { stage, ..step }));
                if created && item.key.kind == Kind::Table {
                    steps.extend(self.columns_of_created(node));
                }
                steps
            }
            Slot::Finish => self.finish(node, item),
        }
    }

    fn make(&self, node: NodeIndex, item: &Item<'_>) -> Vec<Step> {
        let Some(after) = item.after else { return Vec::new() };
        let before = item.before.filter(|_| !item.comes()).map(|object| &object.body);
        let key = item.key;
        match (before, &after.body) {
            (_, Body::DefaultPrivileges(_) | Body::Other) => Vec::new(),
            (Some(Body::Extension(before)), Body::Extension(after)) if before.schema != after.schema => {
                vec![plain(key, format!("ALTER EXTENSION {} SET SCHEMA {}", ident(&key.name), ident(&after.schema)))]
            }
            // Creating extensions is a step of its own in a deployment.
            (_, Body::Extension(_)) => Vec::new(),
            (None, Body::Schema) => vec![plain(key, format!("CREATE SCHEMA {}", ident(&key.name)))],
            (Some(_), Body::Schema) => Vec::new(),
            (before, Body::Enum(after)) => self.make_enum(key, item, before, after),
            (before, Body::Composite { attributes }) => self.make_composite(key, before, attributes),
            (before, Body::Domain(after)) => self.make_domain(node, item, before, after),
            (before, Body::Range(after)) => self.make_range(key, before, after),
            (before, Body::Sequence(after)) => self.make_sequence(node, item, before, after),
            (None, Body::Table(after)) => self.create_table(node, item, after),
            (Some(Body::Table(before)), Body::Table(after)) => self.alter_table(key, before, after),
            (None, Body::Column(after)) => self.add_column(node, item, after),
            (Some(Body::Column(before)), Body::Column(after)) => self.alter_column(node, item, before, after),
            (before, Body::Routine(after)) => self.make_routine(key, before, after),
            (before, Body::View(after)) => self.make_view(key, before, after),
            (before, Body::MaterializedView(after)) => self.make_materialized_view(key, before, after),
            (before, Body::Constraint(after)) => self.make_constraint(node, item, before, after),
            (before, Body::Index(after)) => self.make_index(node, item, before, after),
            (before, Body::Statistics(after)) => self.make_statistics(key, before, after),
            (before, Body::Trigger(after) | Body::Rule(after)) => self.make_switch(key, before, after),
            (None, Body::Policy(after)) => self.create_policy(key, after),
            (Some(_), Body::Table(_) | Body::Column(_) | Body::Policy(_)) => Vec::new(),
        }
    }

    fn drop(&self, node: NodeIndex, item: &Item<'_>) -> Vec<Step> {
        let Some(before) = item.before else { return Vec::new() };
        let key = item.key;
        let lost = |sql: String, bytes: u64| {
            let hazards =
                if bytes > 0 { vec![Hazard::StrongLock, Hazard::DeletesData] } else { vec![Hazard::DeletesData] };
            vec![Step { safety: Safety::Dataloss, hazards, ..plain(key, sql) }]
        };
        match &before.body {
            Body::DefaultPrivileges(_) => self.privileges(node, item, false),
            Body::Enum(_) | Body::Composite { .. } | Body::Domain(_) | Body::Range(_) => self.drop_type(node, item),
            Body::Sequence(_) => self.drop_sequence(node, item),
            Body::Table(table) => {
                let of = table.partition_of.as_ref().filter(|_| is_referred_to(self.items, node));
                let detach = of.map(|partition| self.detach(key, partition)).into_iter();
                let drop = lost(format!("DROP TABLE {}", super::sql::name(key)), self.items.bytes_before(key));
                detach.chain(drop).collect()
            }
            Body::Column(column) => {
                let (table, name) = (owner_name(key), ident(&key.name));
                let alone = self.items.alone.contains(&node);
                let only = if alone { "ONLY " } else { "" };
                // From PostgreSQL 18 on a NOT NULL that goes with its column alone stays in the children as one that they inherit, though
                // from nobody: they could never lose it.
                let mut first = String::new();
                if alone && column.identity.is_some() {
                    first += &format!("ALTER COLUMN {name} DROP IDENTITY, ");
                }
                if alone && column.not_null {
                    first += &format!("ALTER COLUMN {name} DROP NOT NULL, ");
                }
                let sql = format!("ALTER TABLE {only}{table} {first}DROP COLUMN {name}");
                // A generated column's values are made again from the others.
                let stored = matches!(item.after.map(|object| &object.body), Some(Body::Column(after)) if after.generated.is_none());
                if column.generated.is_some() && !stored {
                    vec![plain(key, sql)]
                } else {
                    lost(sql, key.table().map_or(0, |table| self.items.bytes_before(&table)))
                }
            }
            Body::Constraint(_) => {
                vec![plain(key, format!("ALTER TABLE {} DROP CONSTRAINT {}", owner_name(key), ident(&key.name)))]
            }
            Body::Index(index) => self.drop_index(node, item, index),
            _ => clause(before).map(|name| vec![plain(key, format!("DROP {name}"))]).unwrap_or_default(),
        }
    }

    fn aside(&self, item: &Item<'_>) -> Vec<Step> {
        let name = item.before.and_then(clause).unwrap_or_default();
        vec![plain(item.key, format!("ALTER {name} RENAME TO {}", ident(&super::sql::aside(&item.key.name))))]
    }

    fn cut(&self, node: NodeIndex, item: &Item<'_>) -> Vec<Step> {
        let Some(before) = item.before else { return Vec::new() };
        let key = item.key;
        match &before.body {
            Body::Column(column) if column.generated.is_some() => {
                let (table, column) = (owner_name(key), ident(&key.name));
                // A parent's statement reaches its children.
                if self.items.inherited_from(node).is_some() {
                    return Vec::new();
                }
                vec![plain(key, format!("ALTER TABLE {table} ALTER COLUMN {column} DROP EXPRESSION"))]
            }
            Body::Column(column) if by_text(self.items, node) => self.to_text(node, item, column),
            Body::Column(column) if column.default.is_some() => {
                let (table, column) = (owner_name(key), ident(&key.name));
                vec![plain(key, format!("ALTER TABLE ONLY {table} ALTER COLUMN {column} DROP DEFAULT"))]
            }
            Body::Sequence(_) => vec![plain(key, format!("ALTER SEQUENCE {} OWNED BY NONE", super::sql::name(key)))],
            Body::Domain(domain) => self.cut_domain(key, domain),
            Body::Table(table) => self.cut_table(node, item, table),
            _ => Vec::new(),
        }
    }

    fn finish(&self, node: NodeIndex, item: &Item<'_>) -> Vec<Step> {
        let Some(after) = item.after else { return Vec::new() };
        let key = item.key;
        match &after.body {
            Body::Column(column) => column.default.iter().map(|default| self.set_default(key, default)).collect(),
            Body::Domain(domain) => self.finish_domain(item, domain),
            Body::Sequence(sequence) => {
                let owner = sequence
                    .owned_by
                    .as_ref()
                    .map_or("NONE".to_owned(), |column| format!("{}.{}", owner_name(column), ident(&column.name)));
                vec![plain(key, format!("ALTER SEQUENCE {} OWNED BY {owner}", super::sql::name(key)))]
            }
            Body::Table(table) => self.finish_table(node, item, table),
            _ => Vec::new(),
        }
    }

    /// COMMENT ON, where it differs.
    fn comment(&self, item: &Item<'_>, created: bool) -> Option<Step> {
        let after = item.after?;
        let before = item.before.filter(|_| !created).and_then(|before| before.comment.as_ref());
        if before == after.comment.as_ref() {
            return None;
        }
        self.comment_on(item.key, &clause(after)?, after.comment.as_deref())
    }

    fn comment_on(&self, key: &Key, clause: &str, text: Option<&str>) -> Option<Step> {
        Some(plain(key, format!("COMMENT ON {clause} IS {}", text.map_or("NULL".to_owned(), literal))))
    }

    /// Whether the table is big enough for work on it to wait until the transaction is over.
    fn is_big(&self, table: &Key) -> bool {
        let bytes = self.items.bytes(table);
        let partitioned = matches!(
            self.items.get(table).and_then(|item| item.after).map(|object| &object.body),
            Some(Body::Table(table)) if table.partition_key.is_some()
        );
        bytes > 0 && bytes >= self.wanted.online_bytes && !partitioned
    }

    /// Hazards, if the table is there and has rows.
    fn on_rows(&self, table: &Key, hazards: &[Hazard]) -> Vec<Hazard> {
        if self.items.bytes(table) > 0 { hazards.to_vec() } else { Vec::new() }
    }

    /// Whether anything that this plan makes needs it.
    fn is_awaited(&self, node: NodeIndex) -> bool {
        let graph = &self.items.graph;
        graph
            .neighbors_directed(node, petgraph::Direction::Incoming)
            .any(|other| graph[other].after.is_some() && graph[other].verdict != Verdict::Keep)
    }
}
