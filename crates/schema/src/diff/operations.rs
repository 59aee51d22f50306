//! What is to be done to each object, and in which order.

use std::collections::{BTreeMap, HashMap, HashSet};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::copies;
use super::inherit;
use super::items::{Item, Items, Verdict};
use super::render::options_of;
use super::sorting;
use super::sql::names_type_of;
use crate::{Body, Key, Kind};

/// The parts of what can be done to an object, in the order in which they are done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Slot {
    /// Renamed, so that its successor can have the name while values still are of it.
    Aside,
    /// What ties it to others is undone.
    Cut,
    /// Dropped.
    Drop,
    /// Created or altered.
    Make,
    /// What has to wait for others that in turn wait for it: defaults that call functions, owners of sequences.
    Finish,
}

/// Something to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) node: NodeIndex,
    pub(super) slot: Slot,
}

/// How strictly one waits for another: a soft wait is given up where it stands in the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    Must,
    Should,
}

/// All operations, in an order in which they run.
pub(super) fn operations(items: &Items<'_>) -> Vec<Operation> {
    let mut plan = Plan { items, graph: DiGraph::new(), index: HashMap::new(), known: HashSet::new() };
    for node in items.nodes() {
        for slot in [Slot::Aside, Slot::Cut, Slot::Drop, Slot::Make, Slot::Finish] {
            if has(items, node, slot) {
                let operation = plan.graph.add_node(Operation { node, slot });
                plan.index.insert((node, slot), operation);
            }
        }
    }
    plan.connect();
    sorting::sort(items, &plan.graph)
}

/// Whether an object has something to be done of this kind.
fn has(items: &Items<'_>, node: NodeIndex, slot: Slot) -> bool {
    let item = &items.graph[node];
    match slot {
        Slot::Aside => needs_aside(items, node),
        Slot::Cut if item.goes() => default_holds(items, node),
        Slot::Cut => item.cut || leaves_parent(item),
        Slot::Drop => {
            item.goes() && carrier(items, node).is_none() && !matches!(item.key.kind, Kind::Extension | Kind::Other)
        }
        Slot::Make => (item.comes() || item.verdict == Verdict::Alter) && made_by(items, node).is_none(),
        Slot::Finish => finishes(items, node),
    }
}

/// A type whose values are still there when its successor is made; a sequence that goes on counting as another kind of sequence.
pub(super) fn needs_aside(items: &Items<'_>, node: NodeIndex) -> bool {
    let item = &items.graph[node];
    if carries_count(items, node) {
        return true;
    }
    // The functions that make values of a range keep its name, and nobody but a superuser can rename them.
    item.is_type()
        && item.key.kind != Kind::Range
        && (item.verdict == Verdict::Replace
            || item.verdict == Verdict::Drop
                && [Kind::Enum, Kind::Composite, Kind::Domain, Kind::Range, Kind::Table, Kind::View]
                    .iter()
                    .filter_map(|kind| items.get(&Key::new(*kind, &item.key.schema, &item.key.name)))
                    .any(|other| other.verdict == Verdict::Create))
}

/// A column of a range type that is replaced: its values are text for that time.
pub(super) fn by_text(items: &Items<'_>, node: NodeIndex) -> bool {
    let item = &items.graph[node];
    let Some(Body::Column(column)) = item.before.map(|object| &object.body) else { return false };
    item.retyped
        && item.cut
        && items.needs(node, true).map(|need| &items.graph[need]).any(|need| {
            need.key.kind == Kind::Range
                && need.goes()
                && need.before.is_some_and(|range| names_type_of(&column.data_type, range))
        })
}

/// A sequence that becomes the one of an identity column or ceases to be, while its column stays.
pub(super) fn carries_count(items: &Items<'_>, node: NodeIndex) -> bool {
    let item = &items.graph[node];
    let identity = |object: Option<&crate::Object>| match object.map(|object| &object.body) {
        Some(Body::Sequence(sequence)) => Some(sequence.of_identity),
        _ => None,
    };
    item.verdict == Verdict::Replace
        && identity(item.before) != identity(item.after)
        && items.container(node).is_none_or(|column| !items.graph[column].goes())
}

/// A column that goes with its table, whose default calls a function that in turn needs the table: neither could go first.
fn default_holds(items: &Items<'_>, node: NodeIndex) -> bool {
    let item = &items.graph[node];
    let Some(Body::Column(column)) = item.before.map(|object| &object.body) else { return false };
    column.default.is_some()
        && column.generated.is_none()
        && carrier(items, node).is_some()
        && items.needs(node, true).filter(|need| items.graph[*need].key.kind == Kind::Routine).any(|routine| {
            items.graph[routine].goes()
                && items.needs(routine, true).any(|need| {
                    let need = items.graph[need].key;
                    need.schema == item.key.schema && [&need.parent, &need.name].contains(&&item.key.parent)
                })
        })
}

/// A table that stays and leaves a parent, or its place in it, or its type.
fn leaves_parent(item: &Item<'_>) -> bool {
    let (Some(Body::Table(before)), Some(Body::Table(after))) =
        (item.before.map(|o| &o.body), item.after.map(|o| &o.body))
    else {
        return false;
    };
    before.partition_of.is_some() && before.partition_of != after.partition_of
        || before.of_type.is_some() && before.of_type != after.of_type
        || before.inherits.iter().any(|parent| !after.inherits.contains(parent))
}

/// Who takes it away, if no statement of its own is needed.
pub(super) fn carrier(items: &Items<'_>, node: NodeIndex) -> Option<NodeIndex> {
    let item = &items.graph[node];
    let before = item.before?;
    let container = items.container(node);
    if let Some(container) = container.filter(|container| items.graph[*container].goes()) {
        let bound = matches!(item.key.kind, Kind::Constraint | Kind::Policy | Kind::Rule)
            && items.needs(node, true).any(|need| {
                let need = &items.graph[need];
                let own = need.key.schema == item.key.schema
                    && [&need.key.parent, &need.key.name].contains(&&item.key.parent);
                need.goes() && !own && !need.is_type() && !matches!(need.key.kind, Kind::Routine | Kind::Schema)
            });
        return (!bound && !inherit::holds_partitions(items, node)).then_some(container);
    }
    match &before.body {
        Body::Constraint(_) => inherit::whole(items, node).filter(|whole| items.graph[*whole].goes()),
        Body::Column(column) if !column.is_local => {
            items.inherited_from(node).filter(|parent| items.graph[*parent].goes() && !items.alone.contains(parent))
        }
        Body::Sequence(sequence) if sequence.of_identity && !carries_count(items, node) => container,
        Body::Sequence(sequence) if sequence.of_identity => container,
        _ => None,
    }
}

/// The table whose CREATE TABLE makes a column.
fn made_by(items: &Items<'_>, node: NodeIndex) -> Option<NodeIndex> {
    let item = &items.graph[node];
    let table = items.find(&item.key.table().filter(|_| item.key.kind == Kind::Column)?)?;
    (item.comes() && items.graph[table].comes()).then_some(table)
}

/// A column of a table that is created, whose default can wait until the functions that it calls are there.
pub(super) fn default_waits(items: &Items<'_>, node: NodeIndex) -> bool {
    let item = &items.graph[node];
    let Some(Body::Column(column)) = item.after.map(|object| &object.body) else { return false };
    made_by(items, node).is_some()
        && column.generated.is_none()
        && column.default.is_some()
        && items.needs(node, false).any(|need| items.graph[need].key.kind == Kind::Routine)
}

/// A domain whose default and checks come after the functions that they call.
pub(super) fn checks_wait(items: &Items<'_>, node: NodeIndex) -> bool {
    let item = &items.graph[node];
    item.key.kind == Kind::Domain
        && (item.cut
            || item.comes() && items.needs(node, false).any(|need| items.graph[need].key.kind == Kind::Routine))
}

fn finishes(items: &Items<'_>, node: NodeIndex) -> bool {
    let item = &items.graph[node];
    let before = item.before.filter(|_| !item.comes()).map(|object| &object.body);
    let after = item.after.map(|object| &object.body);
    if item.verdict == Verdict::Drop {
        return false;
    }
    match (before, after) {
        (_, Some(Body::Column(_))) => default_waits(items, node),
        (_, Some(Body::Domain(_))) => checks_wait(items, node),
        (before, Some(Body::Sequence(after))) => {
            let owner = match before {
                Some(Body::Sequence(before)) if !item.cut => before.owned_by.as_ref(),
                _ => None,
            };
            !after.of_identity && item.verdict != Verdict::Keep && owner != after.owned_by.as_ref()
        }
        (before, Some(Body::Table(after))) => {
            let identity = match before {
                Some(Body::Table(before)) => before.replica_identity.as_str(),
                _ => "default",
            };
            let joins = match before {
                Some(Body::Table(before)) => {
                    options_of(before, true) != options_of(after, true)
                        || after.partition_of.is_some() && before.partition_of != after.partition_of
                        || after.of_type.is_some() && (before.of_type != after.of_type || item.cut)
                        || after.inherits.iter().any(|parent| item.cut || !before.inherits.contains(parent))
                }
                _ => false,
            };
            joins
                || !copies::switched(items, node).is_empty()
                || item.verdict != Verdict::Keep
                    && after.replica_identity.starts_with("index ")
                    && identity != after.replica_identity
        }
        _ => false,
    }
}

struct Plan<'a, 'b> {
    items: &'b Items<'a>,
    graph: DiGraph<Operation, Wait>,
    index: HashMap<(NodeIndex, Slot), NodeIndex>,
    known: HashSet<(NodeIndex, NodeIndex)>,
}

impl Plan<'_, '_> {
    fn of(&self, node: NodeIndex, slot: Slot) -> Option<NodeIndex> {
        self.index.get(&(node, slot)).copied()
    }

    /// What makes it.
    fn make(&self, node: NodeIndex) -> Option<NodeIndex> {
        self.of(node, Slot::Make).or_else(|| made_by(self.items, node).and_then(|table| self.of(table, Slot::Make)))
    }

    /// What takes it away.
    fn drop(&self, node: NodeIndex) -> Option<NodeIndex> {
        let (mut node, mut seen) = (node, 0);
        while self.items.graph[node].goes() && seen < 5 {
            match self.of(node, Slot::Drop) {
                Some(operation) => return Some(operation),
                None => node = carrier(self.items, node)?,
            }
            seen += 1;
        }
        // The sequence of an identity column goes when the column loses its identity.
        if seen > 0 { self.make(node) } else { None }
    }

    fn wait(&mut self, first: Option<NodeIndex>, then: Option<NodeIndex>, wait: Wait) {
        if let (Some(first), Some(then)) = (first, then)
            && first != then
            && self.known.insert((first, then))
        {
            self.graph.add_edge(first, then, wait);
        }
    }

    fn connect(&mut self) {
        let items = self.items;
        for node in items.nodes() {
            let slots = [Slot::Aside, Slot::Cut, Slot::Drop, Slot::Make, Slot::Finish];
            let own: Vec<NodeIndex> = slots
                .into_iter()
                .filter(|slot| !(*slot == Slot::Drop && self.of(node, Slot::Aside).is_some()))
                .filter_map(|slot| self.of(node, slot))
                .collect();
            for (first, then) in own.iter().zip(own.iter().skip(1)) {
                self.wait(Some(*first), Some(*then), Wait::Must);
            }
            if carries_count(items, node) {
                self.wait(self.of(node, Slot::Make), self.of(node, Slot::Drop), Wait::Must);
                let (aside, column) = (self.of(node, Slot::Aside), items.container(node));
                self.wait(aside, column.and_then(|column| self.make(column)), Wait::Must);
            }
            self.wait(
                made_by(items, node).and_then(|table| self.of(table, Slot::Make)),
                self.of(node, Slot::Finish),
                Wait::Must,
            );
            // CREATE of what is replaced follows the DROP that carried it away.
            if items.graph[node].verdict == Verdict::Replace && self.of(node, Slot::Aside).is_none() {
                self.wait(self.drop(node), self.make(node), Wait::Must);
            }
            self.inheritance(node);
            self.wait(self.of(node, Slot::Cut).filter(|_| items.graph[node].goes()), self.drop(node), Wait::Must);
        }
        self.departures();
        for ((first, slot), (then, later)) in inherit::waits(items).into_iter().chain(copies::waits(items)) {
            self.wait(self.of(first, slot), self.of(then, later), Wait::Must);
        }
        // Musts first: of two waits between the same operations the first is kept.
        let edges: Vec<_> =
            items.graph.edge_references().map(|edge| (edge.source(), edge.target(), *edge.weight())).collect();
        for (node, need, weight) in edges.iter().filter(|(_, _, weight)| weight.before) {
            self.before(*node, *need, weight.owned);
        }
        for (node, need, weight) in edges.iter().filter(|(_, _, weight)| !weight.before) {
            self.after(*node, *need, weight.owned);
        }
        for (node, need, _) in edges.iter().filter(|(_, _, weight)| !weight.before && !weight.owned) {
            let (finish, made) = (self.of(*need, Slot::Finish), self.make(*node));
            self.wait(finish, made, Wait::Should);
        }
        self.names();
    }

    /// What ALTER TABLE passes on to children is done to the parents first.
    fn inheritance(&mut self, node: NodeIndex) {
        let items = self.items;
        if let Some(parent) = items.inherited_from(node) {
            self.wait(self.make(parent), self.make(node), Wait::Must);
            if self.drop(node) != self.drop(parent) {
                self.wait(self.drop(parent), self.of(node, Slot::Drop), Wait::Must);
            }
        }
        for parent in items.merged_with(node) {
            self.wait(self.drop(parent), self.make(node), Wait::Must);
            self.wait(self.make(node), self.make(parent), Wait::Must);
        }
        // A child attached at the end has all its columns before, and so has its parent.
        if items.graph[node].key.kind == Kind::Column
            && let Some(table) = items.relation(node)
        {
            let finish = self.of(table, Slot::Finish);
            self.wait(self.make(node), finish, Wait::Must);
            self.wait(self.drop(node).filter(|_| !items.graph[table].goes()), finish, Wait::Must);
            self.wait(self.of(table, Slot::Cut), self.of(node, Slot::Make), Wait::Must);
            self.wait(self.of(table, Slot::Cut), self.of(node, Slot::Drop), Wait::Must);
            self.wait(self.of(table, Slot::Cut), self.of(node, Slot::Cut), Wait::Must);
        }
    }

    /// A child that leaves its parent does so before anything is done to the parent's columns, which would reach it.
    fn departures(&mut self) {
        let items = self.items;
        let mut leaving: HashMap<&Key, Vec<NodeIndex>> = HashMap::new();
        for node in items.nodes().filter(|node| items.graph[*node].key.kind == Kind::Table) {
            if let Some(cut) = self.of(node, Slot::Cut) {
                for parent in Items::parents(items.graph[node].before) {
                    leaving.entry(parent).or_default().push(cut);
                }
            }
        }
        for node in items.nodes().filter(|node| items.graph[*node].key.kind == Kind::Column && !leaving.is_empty()) {
            let cuts = items.graph[node].key.table().and_then(|table| leaving.get(&table)).cloned().unwrap_or_default();
            for cut in cuts {
                self.wait(Some(cut), self.of(node, Slot::Make), Wait::Must);
                self.wait(Some(cut), self.of(node, Slot::Drop), Wait::Must);
                self.wait(Some(cut), self.of(node, Slot::Cut), Wait::Must);
            }
        }
    }

    /// `node` needs `need` as things are.
    fn before(&mut self, node: NodeIndex, need: NodeIndex, owned: bool) {
        let (item, other) = (&self.items.graph[node], &self.items.graph[need]);
        let (gone, cut) = (self.drop(node), self.of(node, Slot::Cut));
        if let Some(end) = self.drop(need) {
            // A column whose default is dropped first may go with its table when it will.
            if owned || gone.is_some() && cut.is_some() && other.key.kind == Kind::Routine {
                self.wait(cut, Some(end), Wait::Must);
            } else if gone.is_some() {
                self.wait(gone, Some(end), Wait::Must);
            } else {
                self.wait(cut, Some(end), Wait::Must);
                let stays = self.items.needs(node, false).any(|other| other == need);
                let by_text = by_text(self.items, node) && other.key.kind == Kind::Range;
                if !by_text
                    && item.verdict == Verdict::Alter
                    && (other.is_type() || !stays)
                    && (cut.is_none() || other.is_type())
                {
                    self.wait(self.of(node, Slot::Make), Some(end), Wait::Must);
                }
            }
        }
        if !owned && other.verdict == Verdict::Alter {
            // A type that was put aside is there until no value is of it, which may take what it needs.
            let aside = self.of(node, Slot::Aside).is_some();
            self.wait(gone, self.of(need, Slot::Make), if aside { Wait::Should } else { Wait::Must });
            self.wait(cut, self.of(need, Slot::Make), Wait::Must);
            if other.retyped && matches!(item.key.kind, Kind::Constraint | Kind::Index) {
                for key in self.items.dependents(node) {
                    self.wait(self.drop(key), self.of(need, Slot::Make), Wait::Must);
                    self.wait(self.of(need, Slot::Make), self.of(key, Slot::Make), Wait::Must);
                }
            }
            let text = self.of(need, Slot::Cut).filter(|_| other.key.kind == Kind::Column);
            self.wait(gone, text, Wait::Must);
        }
    }

    /// `node` will need `need`.
    fn after(&mut self, node: NodeIndex, need: NodeIndex, owned: bool) {
        let items = self.items;
        let (made, finish, other) = (self.make(node), self.of(node, Slot::Finish), self.make(need));
        let routine = items.graph[need].key.kind == Kind::Routine;
        let later =
            owned && !is_identity(items, node) || routine && (default_waits(items, node) || checks_wait(items, node));
        self.wait(other, finish, Wait::Must);
        if !later {
            self.wait(other, made, Wait::Must);
        }
        // A child table is made when its parent has its final columns.
        let kinds = (items.graph[node].key.kind, items.graph[need].key.kind);
        if kinds == (Kind::Table, Kind::Table) && (items.graph[node].comes() || finish.is_some()) {
            let columns: Vec<NodeIndex> = items
                .graph
                .edges_directed(need, Direction::Incoming)
                .filter(|edge| !edge.weight().before)
                .map(|edge| edge.source())
                .filter(|column| items.graph[*column].key.kind == Kind::Column)
                .filter(|column| items.graph[*column].key.parent == items.graph[need].key.name)
                .collect();
            for column in columns {
                let (column, then) = (self.make(column), if items.graph[node].comes() { made } else { finish });
                self.wait(column, then, Wait::Must);
            }
        }
    }

    /// A name is free when its bearer is gone or renamed.
    fn names(&mut self) {
        let items = self.items;
        let mut leaving: BTreeMap<(bool, &str, &str), Vec<NodeIndex>> = BTreeMap::new();
        for node in items.nodes().filter(|node| items.graph[*node].goes()) {
            let free = self.of(node, Slot::Aside).or_else(|| self.drop(node));
            for space in namespaces(&items.graph[node]) {
                let key = items.graph[node].key;
                leaving.entry((space, &key.schema, &key.name)).or_default().extend(free);
            }
        }
        for node in items.nodes().filter(|node| items.graph[*node].comes()) {
            let key = items.graph[node].key;
            let made = self.make(node);
            for space in namespaces(&items.graph[node]) {
                for free in leaving.get(&(space, &key.schema, &key.name)).cloned().unwrap_or_default() {
                    self.wait(Some(free), made, Wait::Must);
                }
            }
        }
    }
}

fn is_identity(items: &Items<'_>, node: NodeIndex) -> bool {
    let after = items.graph[node].after.map(|object| &object.body);
    matches!(after, Some(Body::Sequence(sequence)) if sequence.of_identity)
}

/// The name spaces of a schema that an object's name is taken in: of relations (true) and of types (false).
fn namespaces(item: &Item<'_>) -> Vec<bool> {
    match item.key.kind {
        Kind::Enum | Kind::Domain | Kind::Range => vec![false],
        Kind::Table | Kind::View | Kind::MaterializedView | Kind::Composite => vec![true, false],
        Kind::Sequence | Kind::Index | Kind::Constraint => vec![true],
        _ => Vec::new(),
    }
}
