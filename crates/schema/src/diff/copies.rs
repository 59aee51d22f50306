//! Triggers of partitions. PostgreSQL copies them from the partitioned table with the state in which they are there, and passes later
//! changes of the state on; a copy can be switched by itself afterwards.

use petgraph::graph::NodeIndex;

use super::inherit::{joined, line};
use super::items::{Items, Verdict};
use super::operations::Slot;
use crate::{Body, InheritedTrigger, Key, Kind, Table};

fn body<'a>(items: &Items<'a>, table: NodeIndex, before: bool) -> Option<&'a Table> {
    let item = &items.graph[table];
    match &(if before { item.before } else { item.after })?.body {
        Body::Table(table) => Some(table),
        _ => None,
    }
}

/// The trigger that a partition's is copied from, at the uppermost of the tables above it.
fn source(items: &Items<'_>, table: NodeIndex, name: &str) -> Option<NodeIndex> {
    let above = line(items, items.graph[table].key, false).into_iter().skip(1);
    let mut triggers = above.filter_map(|table| {
        let key = items.graph[table].key;
        items.find(&Key::part(Kind::Trigger, &key.schema, &key.name, name))
    });
    triggers.find(|trigger| items.graph[*trigger].after.is_some())
}

/// When a trigger fires that a table of the line above a partition has, as it is to be.
fn enabled_above<'a>(items: &Items<'a>, table: NodeIndex, name: &str) -> Option<&'a str> {
    let above = line(items, items.graph[table].key, false).into_iter().skip(1);
    let copies = above.filter_map(|table| body(items, table, false)).flat_map(|table| &table.triggers);
    let copy = copies.filter(|copy| copy.name == name).map(|copy| copy.enabled.as_str()).next();
    let of_source = || match &items.graph[source(items, table, name)?].after?.body {
        Body::Trigger(switch) => Some(switch.enabled.as_str()),
        _ => None,
    };
    copy.or_else(of_source)
}

/// The copies of triggers that a table has to be told when to fire, and when.
pub(super) fn switched<'a>(items: &Items<'a>, table: NodeIndex) -> Vec<(&'a str, &'a str)> {
    let item = &items.graph[table];
    let Some(after) = body(items, table, false).filter(|table| table.partition_of.is_some()) else {
        return Vec::new();
    };
    let none: &[InheritedTrigger] = &[];
    let is_new = |table: NodeIndex| items.graph[table].comes() || !joined(items, table).is_empty();
    let before = body(items, table, true).filter(|_| !is_new(table)).map_or(none, |table| &table.triggers);
    if before.is_empty() && after.triggers.is_empty() {
        return Vec::new();
    }
    let changes = |table: NodeIndex| {
        is_new(table)
            || body(items, table, true).map(|table| &table.triggers)
                != body(items, table, false).map(|table| &table.triggers)
    };
    let stable = !line(items, item.key, false).into_iter().any(changes);
    let verdict = |name: &str| source(items, table, name).map(|trigger| items.graph[trigger].verdict);
    let told = after.triggers.iter().filter(|copy| !stable || verdict(&copy.name) != Some(Verdict::Keep));
    let gone = before.iter().filter(|old| !after.triggers.iter().any(|new| new.name == old.name));
    let gone = gone.filter(|old| verdict(&old.name) == Some(Verdict::Keep));
    told.map(|copy| (copy.name.as_str(), copy.enabled.as_str()))
        .chain(gone.filter_map(|old| Some((old.name.as_str(), enabled_above(items, table, &old.name)?))))
        .collect()
}

/// What has to wait for that: a copy is told after those above it.
pub(super) fn waits(items: &Items<'_>) -> Vec<((NodeIndex, Slot), (NodeIndex, Slot))> {
    let mut waits = Vec::new();
    for table in items.nodes().filter(|node| items.graph[*node].key.kind == Kind::Table) {
        for (name, _) in switched(items, table) {
            let above = line(items, items.graph[table].key, false).into_iter().skip(1);
            waits.extend(above.map(|above| ((above, Slot::Finish), (table, Slot::Finish))));
            let trigger = source(items, table, name);
            waits.extend(trigger.map(|trigger| ((trigger, Slot::Make), (table, Slot::Finish))));
        }
    }
    waits
}
