//! The order of operations.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::items::Items;
use super::operations::{Operation, Slot, Wait};
use crate::{Body, ConstraintType, Key, Kind};

/// Each after what it waits for; of those that are ready, drops first, then as the kinds go. Where operations wait for each other
/// the one that waits for least is done, and PostgreSQL says what it thinks of it.
pub(super) fn sort(items: &Items<'_>, graph: &DiGraph<Operation, Wait>) -> Vec<Operation> {
    let count = |operation, wait| {
        let edges = graph.edges_directed(operation, Direction::Incoming);
        edges.filter(|edge| *edge.weight() == wait).count()
    };
    let mut waits: HashMap<NodeIndex, (usize, usize)> =
        graph.node_indices().map(|n| (n, (count(n, Wait::Must), count(n, Wait::Should)))).collect();
    let ranks: HashMap<NodeIndex, Rank<'_>> = graph.node_indices().map(|n| (n, rank(items, graph[n]))).collect();
    let mut open: BTreeSet<(usize, usize, &Rank<'_>, NodeIndex)> = waits
        .iter()
        .filter_map(|(n, (musts, shoulds))| ranks.get(n).map(|rank| (*musts, usize::from(*shoulds > 0), rank, *n)))
        .collect();
    let mut sorted = Vec::with_capacity(open.len());
    while let Some((_, _, _, operation)) = open.pop_first() {
        sorted.push(graph[operation]);
        waits.remove(&operation);
        for edge in graph.edges(operation) {
            let target = edge.target();
            let (Some((musts, shoulds)), Some(rank)) = (waits.get_mut(&target), ranks.get(&target)) else {
                continue;
            };
            open.remove(&(*musts, usize::from(*shoulds > 0), rank, target));
            match edge.weight() {
                Wait::Must => *musts -= 1,
                Wait::Should => *shoulds -= 1,
            }
            open.insert((*musts, usize::from(*shoulds > 0), rank, target));
        }
    }
    sorted
}

fn rank<'a>(items: &Items<'a>, operation: Operation) -> Rank<'a> {
    let Operation { node, slot } = operation;
    let item = &items.graph[node];
    let foreign = |object: Option<&crate::Object>| {
        matches!(object.map(|object| &object.body),
                Some(Body::Constraint(constraint)) if constraint.constraint_type == ConstraintType::ForeignKey)
    };
    let (first, last) = if slot < Slot::Make {
        (if foreign(item.before) { 0 } else { 1 }, Some(Reverse(item.key.kind)))
    } else {
        (if foreign(item.after) { 3 } else { 2 }, None)
    };
    let position = item.after.map_or(0, |object| object.notes.position);
    Rank {
        first,
        last,
        kind: item.key.kind,
        schema: &item.key.schema,
        parent: &item.key.parent,
        position,
        key: item.key,
    }
}

/// What decides among operations that wait for nothing, in this order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    first: u8,
    last: Option<Reverse<Kind>>,
    kind: Kind,
    schema: &'a str,
    parent: &'a str,
    position: i32,
    key: &'a Key,
}
