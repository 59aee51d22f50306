//! Tables, without their parts.

use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::super::copies::switched;
use super::super::inherit::{to_be_added, to_be_dropped};
use super::super::items::{Item, Items};
use super::super::operations::default_waits;
use super::super::sql::{ident, list, name};
use super::relation::{change_options, with};
use super::{Writer, plain};
use crate::{Body, Hazard, Key, Kind, Object, Partition, RowSecurity, Step, Table};

const REWRITES: &[Hazard] = &[Hazard::RewritesTable, Hazard::StrongLock];

impl<'a> Writer<'a, '_> {
    pub(super) fn create_table(&self, node: NodeIndex, item: &Item<'_>, after: &Table) -> Vec<Step> {
        let key = item.key;
        let mut sql = format!("CREATE {}TABLE {}", if after.unlogged { "UNLOGGED " } else { "" }, name(key));
        let columns: Vec<String> = self
            .columns(node)
            .into_iter()
            .filter(|column| self.follows(*column).is_none())
            .filter_map(|column| {
                let object = self.items.graph[column].after?;
                let Body::Column(body) = &object.body else { return None };
                Some(self.definition(&object.key, body, !default_waits(self.items, column)))
            })
            .collect();
        match (&after.partition_of, &after.of_type) {
            (Some(partition), _) => sql.push_str(&format!(" PARTITION OF {} {}", name(&partition.of), partition.bound)),
            (None, Some(of_type)) => sql.push_str(&format!(" OF {of_type}")),
            (None, None) if columns.is_empty() => sql.push_str(" ()"),
            (None, None) => sql.push_str(&format!(" (\n    {}\n)", columns.join(",\n    "))),
        }
        if !after.inherits.is_empty() {
            sql.push_str(&format!(" INHERITS ({})", list(after.inherits.iter().map(name))));
        }
        if let Some(partition_key) = &after.partition_key {
            sql.push_str(&format!(" PARTITION BY {partition_key}"));
        }
        if let Some(method) = &after.access_method {
            sql.push_str(&format!(" USING {}", ident(method)));
        }
        sql.push_str(&with(&after.options));
        let mut steps = vec![plain(key, sql)];
        steps.extend(self.identity_and_security(key, None, after));
        steps
    }

    /// The columns that a table is to have, in order.
    pub(super) fn columns(&self, table: NodeIndex) -> Vec<NodeIndex> {
        let graph = &self.items.graph;
        let (key, incoming) = (graph[table].key, petgraph::Direction::Incoming);
        let mut columns: Vec<NodeIndex> = graph
            .edges_directed(table, incoming)
            .filter(|edge| !edge.weight().before)
            .map(|edge| edge.source())
            .filter(|column| graph[*column].key.kind == Kind::Column && graph[*column].key.parent == key.name)
            .filter(|column| graph[*column].key.schema == key.schema)
            .collect();
        columns.sort_by_key(|column| graph[*column].after.map(|object| object.notes.position));
        columns.dedup();
        columns
    }

    /// What CREATE TABLE cannot say of the columns, those that it takes from elsewhere included.
    pub(super) fn columns_of_created(&self, table: NodeIndex) -> Vec<Step> {
        let mut steps = Vec::new();
        for node in self.columns(table) {
            let item = &self.items.graph[node];
            let Some(Object { body: Body::Column(after), .. }) = item.after else { continue };
            let deferred = default_waits(self.items, node);
            let inherited = self.follows(node);
            let made = match &inherited {
                Some(column) => column.clone(),
                None => super::column::as_defined(after, !deferred),
            };
            steps.extend(made.identity.and_then(|_| self.persistence_of_identity(item.key)));
            steps.extend(self.settings(item.key, &made, after, deferred));
            steps.extend(self.comment(item, true));
            steps.extend(self.privileges(node, item, true));
        }
        steps
    }

    /// The column as CREATE TABLE makes it of a parent's or the type's, if its definition is not to be listed.
    pub(super) fn follows(&self, column: NodeIndex) -> Option<crate::Column> {
        let item = &self.items.graph[column];
        let Some(Object { body: Body::Column(own), .. }) = item.after else { return None };
        let table = self.items.get(&item.key.table()?)?;
        let Some(Object { body: Body::Table(body), .. }) = table.after else { return None };
        let bare = || crate::Column {
            not_null: false,
            not_valid: false,
            no_inherit: false,
            default: None,
            generated: None,
            identity: None,
            storage: None,
            compression: None,
            statistics: None,
            options: Vec::new(),
            ..own.clone()
        };
        if body.of_type.is_some() {
            return Some(bare());
        }
        let parent = self.items.inherited_from(column).and_then(|parent| self.items.graph[parent].after);
        let Some(Object { body: Body::Column(parent), .. }) = parent else { return None };
        // Before PostgreSQL 16 a child cannot say how a parent's column is computed, not even in the same way.
        let computed = own.generated.is_some() && (own.generated, &own.default) == (parent.generated, &parent.default);
        if own.is_local && body.partition_of.is_none() && !computed {
            return None;
        }
        // An identity is not inherited before PostgreSQL 17; then it comes without a sequence of its own.
        let identity = if self.identities.contains_key(item.key) { None } else { own.identity };
        let not_null = parent.hands_down_not_null();
        let not_valid = not_null && parent.not_valid;
        let parent = crate::Column { not_null, not_valid, no_inherit: false, ..parent.clone() };
        Some(crate::Column { statistics: None, options: Vec::new(), identity, ..parent })
    }

    pub(super) fn alter_table(&self, key: &Key, before: &Table, after: &Table) -> Vec<Step> {
        let alter = |action: &str| plain(key, format!("ALTER TABLE {} {action}", name(key)));
        let rewriting = |step: Step| Step { hazards: self.on_rows(key, REWRITES), ..step };
        let mut steps = Vec::new();
        if before.unlogged != after.unlogged {
            steps.push(rewriting(alter(if after.unlogged { "SET UNLOGGED" } else { "SET LOGGED" })));
            steps.extend(self.persistence_of_sequences(key, after));
        }
        if before.access_method != after.access_method && after.partition_key.is_none() {
            let method = after.access_method.as_deref().unwrap_or("heap");
            steps.push(rewriting(alter(&format!("SET ACCESS METHOD {}", ident(method)))));
        }
        // Those of the TOAST table can only be set when there is one, which a column may bring: see `finish_table`.
        let (old, new) = (options_of(before, false), options_of(after, false));
        steps.extend(change_options(&old, &new).iter().map(|action| alter(action)));
        steps.extend(self.identity_and_security(key, Some(before), after));
        steps
    }

    fn identity_and_security(&self, key: &Key, before: Option<&Table>, after: &Table) -> Vec<Step> {
        let alter = |action: String| plain(key, format!("ALTER TABLE {} {action}", name(key)));
        let mut steps = Vec::new();
        let identity = before.map_or("default", |before| before.replica_identity.as_str());
        if identity != after.replica_identity && !after.replica_identity.starts_with("index ") {
            steps.push(alter(format!("REPLICA IDENTITY {}", after.replica_identity.to_uppercase())));
        }
        let old = before.map_or(RowSecurity { enabled: false, forced: false }, |before| before.row_security);
        if old.enabled != after.row_security.enabled {
            let word = if after.row_security.enabled { "ENABLE" } else { "DISABLE" };
            steps.push(alter(format!("{word} ROW LEVEL SECURITY")));
        }
        if old.forced != after.row_security.forced {
            let word = if after.row_security.forced { "FORCE" } else { "NO FORCE" };
            steps.push(alter(format!("{word} ROW LEVEL SECURITY")));
        }
        steps
    }

    pub(super) fn detach(&self, key: &Key, partition: &Partition) -> Step {
        plain(key, format!("ALTER TABLE {} DETACH PARTITION {}", name(&partition.of), name(key)))
    }

    /// Leaves parents and types that it is not to have any more, or not in that place, or that change.
    pub(super) fn cut_table(&self, node: NodeIndex, item: &Item<'_>, before: &Table) -> Vec<Step> {
        let key = item.key;
        let Some(Object { body: Body::Table(after), .. }) = item.after else { return Vec::new() };
        let mut steps = Vec::new();
        if let Some(partition) = before.partition_of.as_ref().filter(|old| after.partition_of.as_ref() != Some(*old)) {
            steps.push(self.detach(key, partition));
        }
        if before.of_type.is_some() && (item.cut || before.of_type != after.of_type) {
            steps.push(plain(key, format!("ALTER TABLE {} NOT OF", name(key))));
        }
        for parent in before.inherits.iter().filter(|parent| item.cut || !after.inherits.contains(parent)) {
            steps.push(plain(key, format!("ALTER TABLE {} NO INHERIT {}", name(key), name(parent))));
        }
        let checks = to_be_dropped(self.items, node);
        steps.extend(checks.into_iter().map(|check| {
            let sql = format!("ALTER TABLE {} DROP CONSTRAINT {}", name(key), ident(check));
            plain(key, sql)
        }));
        steps
    }

    /// Joins the parents and types that it left or did not have, and names the index of its replica identity.
    pub(super) fn finish_table(&self, node: NodeIndex, item: &Item<'_>, after: &Table) -> Vec<Step> {
        let key = item.key;
        let mut steps = Vec::new();
        let before = match item.before.filter(|_| !item.comes()).map(|object| &object.body) {
            Some(Body::Table(before)) => Some(before),
            _ => None,
        };
        if let Some(before) = before {
            for (check, body) in to_be_added(self.items, node) {
                let unchecked = if body.validated { "" } else { " NOT VALID" };
                let add = format!("ADD CONSTRAINT {} {}{unchecked}", ident(check), body.definition);
                let scans = body.validated && body.is_enforced();
                let hazards: &[Hazard] = if scans { &[Hazard::ScansTable, Hazard::StrongLock] } else { &[] };
                let step = plain(key, format!("ALTER TABLE {} {add}", name(key)));
                steps.push(Step { hazards: self.on_rows(key, hazards), ..step });
            }
            if let Some(partition) =
                after.partition_of.as_ref().filter(|new| before.partition_of.as_ref() != Some(*new))
            {
                let sql =
                    format!("ALTER TABLE {} ATTACH PARTITION {} {}", name(&partition.of), name(key), partition.bound);
                let hazards = self.on_rows(key, &[Hazard::ScansTable, Hazard::StrongLock]);
                steps.push(Step { hazards, ..plain(key, sql) });
            }
            if let Some(of_type) = after.of_type.as_ref().filter(|_| item.cut || before.of_type != after.of_type) {
                steps.push(plain(key, format!("ALTER TABLE {} OF {of_type}", name(key))));
            }
            for parent in after.inherits.iter().filter(|parent| item.cut || !before.inherits.contains(parent)) {
                steps.push(plain(key, format!("ALTER TABLE {} INHERIT {}", name(key), name(parent))));
            }
        }
        if let Some(before) = before {
            let actions = change_options(&options_of(before, true), &options_of(after, true));
            steps.extend(actions.iter().map(|action| plain(key, format!("ALTER TABLE {} {action}", name(key)))));
        }
        let identity = before.map_or("default", |before| before.replica_identity.as_str());
        if let Some(index) =
            after.replica_identity.strip_prefix("index ").filter(|_| identity != after.replica_identity)
        {
            let sql = format!("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}", name(key), ident(index));
            steps.push(plain(key, sql));
        }
        for (trigger, enabled) in switched(self.items, node) {
            steps.push(self.switch(key, &Key::part(Kind::Trigger, &key.schema, &key.name, trigger), enabled));
        }
        steps
    }

    /// Whether a table is a child of another: what its parents' columns are, its own are too.
    pub(super) fn parent_column(&self, column: NodeIndex) -> Option<&Item<'a>> {
        let items: &Items<'a> = self.items;
        items.inherited_from(column).map(|parent| &items.graph[parent])
    }
}

/// The options of a table's TOAST table, or of the table itself.
pub(in super::super) fn options_of(table: &Table, toast: bool) -> Vec<String> {
    table.options.iter().filter(|option| option.starts_with("toast.") == toast).cloned().collect()
}
