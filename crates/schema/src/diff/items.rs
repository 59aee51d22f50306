//! The objects of both states in one graph: what needs what, before and after.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::Wanted;
use crate::{Body, ConstraintType, Key, Kind, Model, Object};

/// What is to become of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    Create,
    /// Changed where it stands.
    Alter,
    /// Dropped and created again.
    Replace,
    Drop,
}

/// An object.
pub(super) struct Item<'a> {
    pub(super) key: &'a Key,
    /// As it is.
    pub(super) before: Option<&'a Object>,
    /// As it is to be; for what the bundle does not know, as it was.
    pub(super) after: Option<&'a Object>,
    pub(super) verdict: Verdict,
    /// A column whose values get another type, even if its name stays.
    pub(super) retyped: bool,
    /// What ties it to something that goes is undone first and done again at the end: a default, a domain's checks, a place among
    /// partitions, the owner of a sequence.
    pub(super) cut: bool,
    /// The bundle does not know it.
    pub(super) undeclared: bool,
}

impl Item<'_> {
    /// It goes, for good or to come again.
    pub(super) fn goes(&self) -> bool {
        matches!(self.verdict, Verdict::Drop | Verdict::Replace)
    }

    /// It comes, for the first time or again.
    pub(super) fn comes(&self) -> bool {
        matches!(self.verdict, Verdict::Create | Verdict::Replace)
    }

    /// Its type is one that values have.
    pub(super) fn is_type(&self) -> bool {
        matches!(self.key.kind, Kind::Enum | Kind::Composite | Kind::Domain | Kind::Range)
    }
}

/// An edge from an object to what it needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Need {
    /// In the state as it is, not in the one to come.
    pub(super) before: bool,
    /// From a sequence to the column that owns it, which in turn needs the sequence for its default: no order follows from it.
    pub(super) owned: bool,
}

/// All objects.
pub(super) struct Items<'a> {
    pub(super) graph: DiGraph<Item<'a>, Need>,
    index: HashMap<&'a Key, NodeIndex>,
    /// Columns that go from their table, but not from all of its children; known when the verdicts are.
    pub(super) alone: HashSet<NodeIndex>,
    /// Bytes of existing tables, those of their partitions and children added.
    bytes: BTreeMap<&'a Key, u64>,
}

impl<'a> Items<'a> {
    pub(super) fn new(present: &'a Model, wanted: &Wanted<'a>) -> Items<'a> {
        let (graph, index, alone) = (DiGraph::new(), HashMap::new(), HashSet::new());
        let mut items = Items { graph, index, alone, bytes: bytes(present) };
        let keep = Kept { present, wanted };
        for object in present.iter() {
            let declared = wanted.model.get(&object.key);
            let after = declared.or_else(|| keep.keeps(object).then_some(object));
            items.add(Some(object), after, declared.is_none());
        }
        for object in wanted.model.iter().filter(|object| !present.has(&object.key)) {
            items.add(None, Some(object), false);
        }
        items.connect();
        items
    }

    fn add(&mut self, before: Option<&'a Object>, after: Option<&'a Object>, undeclared: bool) {
        if let Some(key) = before.or(after).map(|object| &object.key) {
            let (verdict, retyped, cut) = (Verdict::Keep, false, false);
            let node = self.graph.add_node(Item { key, before, after, verdict, retyped, cut, undeclared });
            self.index.insert(key, node);
        }
    }

    fn connect(&mut self) {
        for node in self.graph.node_indices() {
            let states = [(self.graph[node].before, true), (self.graph[node].after, false)];
            for (object, before) in states.into_iter().filter_map(|(object, before)| object.map(|o| (o, before))) {
                let attached: Vec<&Key> = attached_to(object).collect();
                let needs: BTreeSet<NodeIndex> = (object.needs.iter().chain(&implied(object)))
                    .filter(|need| !attached.contains(need))
                    .filter_map(|need| self.find(need))
                    .filter(|need| *need != node)
                    .filter(|need| {
                        let need = &self.graph[*need];
                        if before { need.before.is_some() } else { need.after.is_some() }
                    })
                    .collect();
                for need in needs {
                    let owned = self.graph[node].key.kind == Kind::Sequence
                        && matches!(self.graph[need].key.kind, Kind::Column | Kind::Table);
                    self.graph.add_edge(node, need, Need { before, owned });
                }
            }
        }
    }

    pub(super) fn find(&self, key: &Key) -> Option<NodeIndex> {
        self.index.get(key).copied()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Item<'a>> {
        self.find(key).map(|node| &self.graph[node])
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeIndex> + use<'a> {
        self.graph.node_indices()
    }

    /// What it needs as it is, or as it is to be.
    pub(super) fn needs(&self, node: NodeIndex, before: bool) -> impl Iterator<Item = NodeIndex> + '_ {
        self.graph.edges(node).filter(move |edge| edge.weight().before == before).map(|edge| edge.target())
    }

    /// What needs it in the state as it is.
    pub(super) fn dependents(&self, node: NodeIndex) -> Vec<NodeIndex> {
        let edges = self.graph.edges_directed(node, Direction::Incoming);
        edges.filter(|edge| edge.weight().before).map(|edge| edge.source()).collect()
    }

    /// The table, view or column that it goes with when that is dropped.
    pub(super) fn container(&self, node: NodeIndex) -> Option<NodeIndex> {
        let object = self.graph[node].before.or(self.graph[node].after)?;
        match &object.body {
            Body::Index(index) => self.find(&index.on),
            Body::Statistics(statistics) => self.find(&statistics.on),
            Body::Sequence(sequence) => sequence.owned_by.as_ref().and_then(|column| self.find(column)),
            _ => self.relation(node),
        }
    }

    /// The table or view of a part.
    pub(super) fn relation(&self, node: NodeIndex) -> Option<NodeIndex> {
        let key = self.graph[node].key;
        key.table()?;
        // A table may give way to a view of its name: a part that is there belongs to what is there.
        let before = self.graph[node].before.is_some();
        relations(key).into_iter().filter_map(|key| self.find(&key)).find(|node| {
            let item = &self.graph[*node];
            if before { item.before.is_some() } else { item.after.is_some() }
        })
    }

    /// The parents of a table: what it is a partition of or inherits from.
    pub(super) fn parents(object: Option<&'a Object>) -> Vec<&'a Key> {
        match object.map(|object| &object.body) {
            Some(Body::Table(table)) => {
                table.partition_of.iter().map(|partition| &partition.of).chain(&table.inherits).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The column of a parent that this column follows in all that ALTER TABLE passes on to children, as long as the statements run.
    pub(super) fn inherited_from(&self, node: NodeIndex) -> Option<NodeIndex> {
        let item = &self.graph[node];
        self.above(node).find(|column| {
            let column = &self.graph[*column];
            (column.after.is_some() || item.after.is_none()) && !merges(column, item)
        })
    }

    /// The columns of parents that come while this column is there already: it must be like them before.
    pub(super) fn merged_with(&self, node: NodeIndex) -> impl Iterator<Item = NodeIndex> + '_ {
        self.above(node).filter(move |column| merges(&self.graph[*column], &self.graph[node]))
    }

    /// The columns of this name of the parents that its table has as long as the statements run.
    fn above(&self, node: NodeIndex) -> impl Iterator<Item = NodeIndex> + '_ {
        let item = &self.graph[node];
        let table = item.key.table().filter(|_| item.key.kind == Kind::Column).and_then(|table| self.get(&table));
        let parents = table.map(|table| {
            let now = if table.comes() || table.cut { Vec::new() } else { Self::parents(table.before) };
            // A partition that gets other bounds leaves its parent for that time.
            let moves = match (table.before.map(|object| &object.body), table.after.map(|object| &object.body)) {
                (Some(Body::Table(before)), Some(Body::Table(after))) => before.partition_of != after.partition_of,
                _ => false,
            };
            let mut then = Self::parents(table.after);
            then.retain(|parent| table.comes() || now.contains(parent) && !moves);
            then
        });
        let columns = parents.into_iter().flatten();
        columns.filter_map(|parent| self.find(&Key::part(Kind::Column, &parent.schema, &parent.name, &item.key.name)))
    }

    /// Bytes of a table that is there and stays; 0 if it is created.
    pub(super) fn bytes(&self, table: &Key) -> u64 {
        match self.get(table) {
            Some(item) if !item.comes() => self.bytes.get(item.key).copied().unwrap_or_default(),
            _ => 0,
        }
    }

    /// Bytes of a table that is there.
    pub(super) fn bytes_before(&self, table: &Key) -> u64 {
        self.bytes.get(table).copied().unwrap_or_default()
    }
}

/// Whether a parent's column comes and finds one of a child.
fn merges(parent: &Item<'_>, child: &Item<'_>) -> bool {
    parent.comes() && child.before.is_some() && child.after.is_some() && !child.comes()
}

/// The relations that a part can belong to.
pub(super) fn relations(part: &Key) -> [Key; 3] {
    [Kind::Table, Kind::View, Kind::MaterializedView].map(|kind| Key::new(kind, &part.schema, &part.parent))
}

/// The indexes of a partitioned table that the index of a partition's constraint is a part of. pg_depend has it as a need, but the part
/// comes before the whole and goes after it.
pub(super) fn attached_to(object: &Object) -> impl Iterator<Item = &Key> {
    let key = matches!(&object.body, Body::Constraint(constraint) if constraint.constraint_type != ConstraintType::ForeignKey);
    object.needs.iter().filter(move |need| key && need.kind == Kind::Index)
}

/// What an object needs by what it is, whether pg_depend says so or not.
fn implied(object: &Object) -> Vec<Key> {
    let key = &object.key;
    let mut needs = Vec::new();
    if !key.schema.is_empty() {
        needs.push(Key::new(Kind::Schema, "", &key.schema));
    }
    if key.table().is_some() {
        needs.extend(relations(key));
    }
    match &object.body {
        Body::Index(index) => needs.push(index.on.clone()),
        Body::Statistics(statistics) => needs.push(statistics.on.clone()),
        Body::Sequence(sequence) => needs.extend(sequence.owned_by.clone()),
        Body::Table(_) => needs.extend(Items::parents(Some(object)).into_iter().cloned()),
        _ => {}
    }
    needs
}

/// Bytes of every table with those of its partitions and children.
pub(super) fn bytes(model: &Model) -> BTreeMap<&Key, u64> {
    let mut bytes: BTreeMap<&Key, u64> = BTreeMap::new();
    for object in model.iter().filter(|object| object.notes.bytes > 0) {
        let (mut open, mut seen) = (vec![&object.key], BTreeSet::new());
        while let Some(key) = open.pop() {
            if seen.insert(key) {
                *bytes.entry(key).or_default() += object.notes.bytes;
                open.extend(Items::parents(model.get(key)));
            }
        }
    }
    bytes
}

/// What of the present state stays although the bundle does not know it.
struct Kept<'a, 'b> {
    present: &'a Model,
    wanted: &'b Wanted<'a>,
}

impl Kept<'_, '_> {
    /// For objects that are not in the wanted model.
    fn keeps(&self, object: &Object) -> bool {
        let key = &object.key;
        match &object.body {
            // Extensions may be shared with other software of the database; `public` is everybody's.
            Body::Extension(_) | Body::Other => return true,
            Body::Schema => return key.name == "public" || !self.is_declared(key) || self.is_used(&key.name),
            _ => {}
        }
        !self.is_declared(key) && self.containers(object).is_none_or(|stays| stays)
    }

    fn is_declared(&self, key: &Key) -> bool {
        self.wanted.declared_before.contains(key)
    }

    /// Whether what it belongs to stays; None if it belongs to nothing.
    fn containers(&self, object: &Object) -> Option<bool> {
        let owner = match &object.body {
            Body::Index(index) => Some(&index.on),
            Body::Statistics(statistics) => Some(&statistics.on),
            Body::Sequence(sequence) => sequence.owned_by.as_ref(),
            _ => None,
        };
        let relations = relations(&object.key);
        let owner = match owner {
            Some(owner) => owner,
            None if object.key.table().is_some() => relations.iter().find(|key| self.present.has(key))?,
            None => return None,
        };
        let (now, then) = (self.present.get(owner)?, self.wanted.model.get(owner));
        if matches!(&object.body, Body::Sequence(sequence) if sequence.of_identity) {
            let body = &then.unwrap_or(now).body;
            if !matches!(body, Body::Column(column) if column.identity.is_some()) {
                return Some(false);
            }
        }
        Some(then.is_some() || self.keeps(now))
    }

    fn is_used(&self, schema: &str) -> bool {
        self.present
            .iter()
            .any(|object| object.key.schema == schema && (self.wanted.model.has(&object.key) || self.keeps(object)))
            || self.wanted.model.iter().any(|object| object.key.schema == schema)
    }
}
