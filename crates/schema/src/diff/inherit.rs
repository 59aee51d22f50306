//! What tables give to their partitions and children beside columns, CHECK constraints and indexes, and what becomes of it when a child
//! leaves or joins. A child that leaves keeps the constraints, as its own; one that joins must have them already.

use std::collections::HashSet;

use petgraph::Direction;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::items::{Items, Verdict, attached_to};
use super::operations::{Slot, carrier};
use crate::{Body, Constraint, ConstraintType, Index, Key, Kind, Object, Table};

/// The table before and after, if it stays.
fn stays<'a>(items: &Items<'a>, node: NodeIndex) -> Option<(&'a Table, &'a Table)> {
    let item = &items.graph[node];
    match (&item.before?.body, &item.after?.body) {
        (Body::Table(before), Body::Table(after)) if !item.comes() => Some((before, after)),
        _ => None,
    }
}

/// The parents that a table which stays leaves, be it for a while.
pub(super) fn left<'a>(items: &Items<'a>, node: NodeIndex) -> Vec<&'a Key> {
    let Some((before, after)) = stays(items, node) else { return Vec::new() };
    let cut = items.graph[node].cut;
    let partition = before.partition_of.iter().filter(|_| before.partition_of != after.partition_of);
    let inherits = before.inherits.iter().filter(|parent| cut || !after.inherits.contains(parent));
    partition.map(|partition| &partition.of).chain(inherits).collect()
}

/// The parents that a table which stays joins, be it again.
pub(super) fn joined<'a>(items: &Items<'a>, node: NodeIndex) -> Vec<&'a Key> {
    let Some((before, after)) = stays(items, node) else { return Vec::new() };
    let cut = items.graph[node].cut;
    let partition = after.partition_of.iter().filter(|_| before.partition_of != after.partition_of);
    let inherits = after.inherits.iter().filter(|parent| cut || !before.inherits.contains(parent));
    partition.map(|partition| &partition.of).chain(inherits).collect()
}

fn object<'a>(items: &Items<'a>, node: NodeIndex, before: bool) -> Option<&'a Object> {
    if before { items.graph[node].before } else { items.graph[node].after }
}

/// A table with those that it has parts from, as things are or as they are to be.
pub(super) fn line(items: &Items<'_>, table: &Key, before: bool) -> Vec<NodeIndex> {
    let (mut found, mut open): (Vec<NodeIndex>, Vec<NodeIndex>) = (Vec::new(), items.find(table).into_iter().collect());
    while let Some(node) = open.pop() {
        if !found.contains(&node) {
            found.push(node);
            open.extend(
                Items::parents(object(items, node, before)).into_iter().filter_map(|parent| items.find(parent)),
            );
        }
    }
    found
}

/// What needs a table in a state and is of a kind.
fn parts(items: &Items<'_>, table: NodeIndex, kind: Kind, before: bool) -> Vec<NodeIndex> {
    let edges = items.graph.edges_directed(table, Direction::Incoming);
    edges
        .filter(|edge| edge.weight().before == before)
        .map(|edge| edge.source())
        .filter(|node| items.graph[*node].key.kind == kind)
        .collect()
}

fn check<'a>(items: &Items<'a>, node: NodeIndex, before: bool) -> Option<&'a Constraint> {
    match &object(items, node, before)?.body {
        Body::Constraint(constraint) if constraint.constraint_type == ConstraintType::Check => Some(constraint),
        _ => None,
    }
}

/// The CHECK constraints that a table gives to those below it, those from above it included.
fn given(items: &Items<'_>, table: &Key, before: bool) -> Vec<NodeIndex> {
    let mut found = Vec::new();
    for table in line(items, table, before) {
        let key = items.graph[table].key;
        let own = parts(items, table, Kind::Constraint, before).into_iter().filter(|node| {
            let part = items.graph[*node].key;
            // A foreign key needs the table that it refers to as well.
            part.parent == key.name
                && part.schema == key.schema
                && check(items, *node, before).is_some_and(|check| !check.definition.ends_with(" NO INHERIT"))
        });
        found.extend(own);
    }
    found
}

/// A table's own constraint of a name.
fn own(items: &Items<'_>, table: NodeIndex, name: &str) -> Option<NodeIndex> {
    let key = items.graph[table].key;
    items.find(&Key::part(Kind::Constraint, &key.schema, &key.name, name))
}

/// A statement of its own takes it away, from the children too.
fn is_dropped(items: &Items<'_>, node: NodeIndex) -> bool {
    items.graph[node].goes() && carrier(items, node).is_none()
}

/// Whether a child that leaves one parent can keep its constraint for another, or for the same in another place.
fn is_kept(items: &Items<'_>, from: NodeIndex, to: NodeIndex) -> bool {
    let (Some(old), Some(new)) = (check(items, from, true), check(items, to, false)) else { return false };
    items.graph[from].key.name == items.graph[to].key.name
        && old.definition == new.definition
        && old.validated == new.validated
        && !is_dropped(items, from)
        && !items.graph[to].comes()
}

/// The names of the CHECK constraints that a table has from parents which it leaves, and which have to go from it.
pub(super) fn to_be_dropped<'a>(items: &Items<'a>, node: NodeIndex) -> Vec<&'a str> {
    let left = left(items, node);
    let wanted: Vec<NodeIndex> = joined(items, node).iter().flat_map(|parent| given(items, parent, false)).collect();
    let others = Items::parents(items.graph[node].before);
    let others: Vec<&str> = others
        .into_iter()
        .filter(|parent| !left.contains(parent))
        .flat_map(|parent| given(items, parent, true))
        .map(|node| items.graph[node].key.name.as_str())
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for from in left.iter().flat_map(|parent| given(items, parent, true)) {
        let name = items.graph[from].key.name.as_str();
        // What it has of its own is an object that is looked after by itself.
        let is_own = own(items, node, name).is_some_and(|own| items.graph[own].before.is_some());
        let stays = is_own || others.contains(&name) || wanted.iter().any(|to| is_kept(items, from, *to));
        if !stays && !is_dropped(items, from) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The CHECK constraints of parents that a table must get before it can join them.
pub(super) fn to_be_added<'a>(items: &Items<'a>, node: NodeIndex) -> Vec<(&'a str, &'a Constraint)> {
    let had: Vec<NodeIndex> = left(items, node).iter().flat_map(|parent| given(items, parent, true)).collect();
    let mut found: Vec<(&str, &Constraint)> = Vec::new();
    for to in joined(items, node).iter().flat_map(|parent| given(items, parent, false)) {
        let name = items.graph[to].key.name.as_str();
        let has = own(items, node, name).is_some_and(|own| items.graph[own].after.is_some())
            || had.iter().any(|from| is_kept(items, *from, to))
            || found.iter().any(|(other, _)| *other == name);
        // One that is made later comes to the children with the parent.
        if !has && !items.graph[to].comes() {
            found.extend(check(items, to, false).map(|check| (name, check)));
        }
    }
    found
}

/// The checks of the tables above a check's own that have its name, which are one with it.
fn same_above(items: &Items<'_>, node: NodeIndex, before: bool) -> Vec<NodeIndex> {
    let Some(table) = items.graph[node].key.table().filter(|_| check(items, node, before).is_some()) else {
        return Vec::new();
    };
    let above = line(items, &table, before).into_iter().skip(1);
    let same = above.filter_map(|table| own(items, table, &items.graph[node].key.name));
    same.filter(|same| check(items, *same, before).is_some()).collect()
}

/// The indexes of partitioned tables that a constraint's index is a part of.
fn wholes(items: &Items<'_>, node: NodeIndex, before: bool) -> Vec<NodeIndex> {
    let object = object(items, node, before);
    object.into_iter().flat_map(attached_to).filter_map(|index| items.find(index)).collect()
}

/// The index of a partitioned table that takes a partition's constraint along: neither goes without the other, as long as the partition
/// is one.
pub(super) fn whole(items: &Items<'_>, node: NodeIndex) -> Option<NodeIndex> {
    let table = items.relation(node).filter(|table| !items.graph[*table].goes() && left(items, *table).is_empty())?;
    let wholes = wholes(items, node, true).into_iter();
    wholes.filter(|_| items.graph[table].before.is_some()).find(|whole| {
        let goes = |table: NodeIndex| items.graph[table].goes();
        !items.container(*whole).is_some_and(goes)
    })
}

/// What is replaced only because of how PostgreSQL hands things down: checks of a parent that a child begins to inherit from (added to the
/// child first they would be its own for ever), and indexes of partitions that a new index of their parent would take for its part.
pub(super) fn replaced(items: &Items<'_>) -> Vec<NodeIndex> {
    let mut found = Vec::new();
    for node in items.nodes() {
        let item = &items.graph[node];
        if let Some(whole) = whole(items, node) {
            let (part, goes) = (item.goes(), items.graph[whole].goes());
            found.extend((part != goes).then_some(if part { whole } else { node }));
        }
        let stays = |table: NodeIndex| !items.graph[table].goes() && left(items, table).is_empty();
        if item.verdict == Verdict::Drop && items.relation(node).is_some_and(stays) {
            // A check that is its parent's too goes from the child alone only while the parent has none.
            found.extend(
                same_above(items, node, true).into_iter().filter(|above| check(items, *above, false).is_some()),
            );
        }
        match item.after.map(|object| &object.body) {
            Some(Body::Table(table)) if item.before.is_some() && !table.inherits.is_empty() => {
                for check in joined(items, node).iter().flat_map(|parent| given(items, parent, false)) {
                    let is_own = own(items, node, &items.graph[check].key.name)
                        .is_some_and(|own| items.graph[own].after.is_some());
                    if !is_own && !items.graph[check].comes() {
                        found.push(check);
                    }
                }
            }
            Some(Body::Index(index)) if item.before.is_some() && item.verdict == Verdict::Keep => {
                let twins = twins(items, index);
                let moves = || items.find(&index.on).is_some_and(|table| !joined(items, table).is_empty());
                if twins.iter().any(|twin| items.graph[*twin].comes()) || !twins.is_empty() && moves() {
                    found.push(node);
                }
            }
            _ => {}
        }
    }
    found
}

/// The indexes of a partition's parents that are made in the same way as its own.
fn twins(items: &Items<'_>, index: &Index) -> Vec<NodeIndex> {
    let how = |index: &Index| index.definition.split_once(" USING ").map(|(_, how)| how.to_owned());
    let is_partition = items
        .get(&index.on)
        .and_then(|table| table.after)
        .is_some_and(|table| matches!(&table.body, Body::Table(table) if table.partition_of.is_some()));
    if !is_partition {
        return Vec::new();
    }
    let above = line(items, &index.on, false).into_iter().skip(1);
    above
        .flat_map(|table| parts(items, table, Kind::Index, false))
        .filter(|other| match items.graph[*other].after.map(|object| &object.body) {
            Some(Body::Index(other)) => other.unique == index.unique && how(other) == how(index),
            _ => false,
        })
        .collect()
}

/// An operation, by what it is done to.
type Place = (NodeIndex, Slot);

/// What has to wait because of all this: the second for the first.
pub(super) fn waits(items: &Items<'_>) -> Vec<(Place, Place)> {
    let mut waits = Vec::new();
    for node in items.nodes() {
        let item = &items.graph[node];
        for above in same_above(items, node, true) {
            waits.push(((above, Slot::Drop), (node, Slot::Drop)));
            waits.extend(items.relation(node).map(|table| ((table, Slot::Cut), (node, Slot::Drop))));
        }
        if !wholes(items, node, true).is_empty() {
            waits.extend(items.relation(node).map(|table| ((table, Slot::Cut), (node, Slot::Drop))));
        }
        waits.extend(wholes(items, node, false).into_iter().map(|whole| ((node, Slot::Make), (whole, Slot::Make))));
        // A child's own can be valid where its parent's is not, if it is there first.
        waits.extend(same_above(items, node, false).into_iter().map(|above| ((node, Slot::Make), (above, Slot::Make))));
        match item.after.map(|object| &object.body) {
            Some(Body::Table(_)) => {
                for parent in left(items, node) {
                    // The lowest first: what those above drop would reach them.
                    let above = line(items, parent, true).into_iter();
                    waits.extend(above.map(|above| ((node, Slot::Cut), (above, Slot::Cut))));
                    let checks = given(items, parent, true).into_iter();
                    waits.extend(checks.map(|check| ((check, Slot::Drop), (node, Slot::Cut))));
                }
                for check in joined(items, node).iter().flat_map(|parent| given(items, parent, false)) {
                    waits.push(((node, Slot::Finish), (check, Slot::Make)));
                    if let Some(own) = own(items, node, &items.graph[check].key.name) {
                        waits.push(((own, Slot::Drop), (node, Slot::Finish)));
                        waits.push(((own, Slot::Make), (node, Slot::Finish)));
                    }
                }
            }
            Some(Body::Index(index)) if item.verdict != Verdict::Keep => {
                let table = items.find(&index.on);
                for twin in twins(items, index) {
                    waits.push(((node, Slot::Drop), (twin, Slot::Make)));
                    waits.push(((twin, Slot::Make), (node, Slot::Make)));
                    waits.extend(table.map(|table| ((node, Slot::Drop), (table, Slot::Finish))));
                    waits.extend(table.map(|table| ((table, Slot::Finish), (node, Slot::Make))));
                }
            }
            _ => {}
        }
    }
    waits
}

fn is_foreign_key(items: &Items<'_>, node: NodeIndex) -> bool {
    matches!(items.graph[node].before.map(|object| &object.body),
        Some(Body::Constraint(constraint)) if constraint.constraint_type == ConstraintType::ForeignKey)
}

/// Whether a foreign key as it is refers to a table: it needs columns or keys of that, and of its own table.
fn refers_to(items: &Items<'_>, key: NodeIndex, table: &Key) -> bool {
    let own = items.graph[key].key.table();
    let mut tables = items.needs(key, true).filter_map(|need| items.graph[need].key.table());
    if own.as_ref() == Some(table) { tables.all(|other| other == *table) } else { tables.any(|other| other == *table) }
}

/// Whether a foreign key that stays refers to a table above this partition. PostgreSQL keeps a copy of it for each partition, and lets
/// go of one only if it is detached.
pub(super) fn is_referred_to(items: &Items<'_>, partition: NodeIndex) -> bool {
    let above = line(items, items.graph[partition].key, true);
    let above: Vec<&Key> = above.into_iter().skip(1).map(|table| items.graph[table].key).collect();
    let mut stays = items.nodes().filter(|node| is_foreign_key(items, *node) && !items.graph[*node].goes());
    !above.is_empty() && stays.any(|key| above.iter().any(|table| refers_to(items, key, table)))
}

/// Whether a constraint is a foreign key of a partitioned table onto that table: no partition of it can go before.
pub(super) fn holds_partitions(items: &Items<'_>, node: NodeIndex) -> bool {
    let table = items.relation(node).map(|table| &items.graph[table]).filter(|_| is_foreign_key(items, node));
    let is_partitioned = |object: &Object| matches!(&object.body, Body::Table(table) if table.partition_key.is_some());
    table.is_some_and(|table| table.before.is_some_and(is_partitioned) && refers_to(items, node, table.key))
}

/// The columns that are to be dropped from their table alone, because a child keeps them: as its own from then on, with their values.
pub(super) fn dropped_alone(items: &Items<'_>) -> HashSet<NodeIndex> {
    items.nodes().filter(|node| drops_alone(items, *node)).collect()
}

fn drops_alone(items: &Items<'_>, column: NodeIndex) -> bool {
    let item = &items.graph[column];
    if item.verdict != Verdict::Drop || item.key.kind != Kind::Column {
        return false;
    }
    let Some(table) = items.relation(column).filter(|table| !items.graph[*table].goes()) else { return false };
    let mut open = vec![table];
    // No table twice: it may have two parents that have a parent in common.
    let mut seen = HashSet::from([table]);
    while let Some(table) = open.pop() {
        for child in parts(items, table, Kind::Table, true) {
            let key = items.graph[child].key;
            let follows = Items::parents(items.graph[child].before).contains(&items.graph[table].key)
                && stays(items, child).is_some()
                && !left(items, child).contains(&items.graph[table].key);
            let same = items.get(&Key::part(Kind::Column, &key.schema, &key.name, &item.key.name));
            match same.filter(|same| follows && same.before.is_some()) {
                Some(same) if !same.goes() => return true,
                Some(_) if seen.insert(child) => open.push(child),
                _ => {}
            }
        }
    }
    false
}
