//! What is to become of each object: first by itself, then because of what becomes of others.

use std::collections::VecDeque;

use petgraph::graph::NodeIndex;

use super::compare::{alike, is_same_statistics};
use super::inherit;
use super::items::{Items, Verdict};
use super::sql::names_type_of;
use crate::{Body, ConstraintType, Generated, Kind, Object, Routine, RoutineKind, View};

/// What happens to an object that others depend on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    /// It is dropped, perhaps to be created again.
    Gone,
    /// The values of a column get another type.
    Retyped,
    /// A composite type gets or loses attributes.
    Reshaped,
}

/// Gives every item its verdict.
pub(super) fn decide(items: &mut Items<'_>) {
    let mut open = VecDeque::new();
    for node in items.nodes() {
        let item = &items.graph[node];
        let (verdict, retyped) = match (item.before, item.after) {
            (None, _) => (Verdict::Create, false),
            (_, None) => (Verdict::Drop, false),
            (Some(before), Some(after)) => by_itself(before, after),
        };
        let item = &mut items.graph[node];
        (item.verdict, item.retyped) = (verdict, retyped);
        if item.goes() {
            open.push_back((node, Event::Gone));
        } else if retyped {
            open.push_back((node, Event::Retyped));
        } else if item.verdict == Verdict::Alter && item.key.kind == Kind::Composite {
            open.push_back((node, Event::Reshaped));
        }
    }
    for node in inherit::replaced(items) {
        open.extend(replace(items, node).map(|event| (node, event)));
    }
    while let Some((node, event)) = open.pop_front() {
        for dependent in items.dependents(node) {
            if let Some(event) = react(items, dependent, node, event) {
                open.push_back((dependent, event));
            }
        }
    }
    items.alone = inherit::dropped_alone(items);
}

/// The verdict on an object that is in both states; whether it is a column of another type.
fn by_itself(before: &Object, after: &Object) -> (Verdict, bool) {
    if alike(before, after) {
        return (Verdict::Keep, false);
    }
    let replace = match (&before.body, &after.body) {
        (Body::Enum(before), Body::Enum(after)) => !is_subsequence(&before.labels, &after.labels),
        (Body::Composite { attributes: before }, Body::Composite { attributes: after }) => {
            // New attributes only come at the end.
            let kept: Vec<_> = before.iter().filter(|old| after.iter().any(|new| new.name == old.name)).collect();
            !kept.iter().zip(after).all(|(old, new)| *old == new) || kept.len() > after.len()
        }
        (Body::Domain(before), Body::Domain(after)) => {
            before.data_type != after.data_type || before.collation != after.collation
        }
        (Body::Range(before), Body::Range(after)) => before != after,
        (Body::Table(before), Body::Table(after)) => before.partition_key != after.partition_key,
        (Body::Sequence(before), Body::Sequence(after)) => before.of_identity != after.of_identity,
        (Body::Column(before), Body::Column(after)) => {
            let retyped = before.data_type != after.data_type || before.collation != after.collation;
            let computed = match (before.generated, after.generated) {
                (None, Some(_)) => true,
                (Some(old), Some(new)) => old != new || before.default != after.default || retyped,
                // PostgreSQL refuses DROP EXPRESSION: there are no values to keep.
                (Some(Generated::Virtual), None) => true,
                // DROP EXPRESSION keeps the values.
                (Some(Generated::Stored), None) | (None, None) => false,
            };
            return (if computed { Verdict::Replace } else { Verdict::Alter }, retyped && !computed);
        }
        (Body::Routine(before), Body::Routine(after)) => before != after && !is_replaceable(before, after),
        (Body::View(before), Body::View(after)) => !is_extended(before, after),
        (Body::MaterializedView(before), Body::MaterializedView(after)) => {
            before.definition != after.definition || before.access_method != after.access_method
        }
        (Body::Constraint(before), Body::Constraint(after)) => {
            before.definition != after.definition || before.constraint_type != after.constraint_type
        }
        (Body::Index(before), Body::Index(after)) => {
            before.definition != after.definition || !before.valid && after.valid
        }
        (Body::Statistics(before), Body::Statistics(after)) => !is_same_statistics(before, after),
        (Body::Trigger(before), Body::Trigger(after)) | (Body::Rule(before), Body::Rule(after)) => {
            before.definition != after.definition
        }
        (Body::Policy(before), Body::Policy(after)) => before != after,
        _ => false,
    };
    (if replace { Verdict::Replace } else { Verdict::Alter }, false)
}

/// Whether the labels are all there, in the same order: new ones can then be put between them.
pub(super) fn is_subsequence(before: &[String], after: &[String]) -> bool {
    let mut after = after.iter();
    before.iter().all(|label| after.any(|other| other == label))
}

/// Whether CREATE OR REPLACE leads from one to the other.
fn is_replaceable(before: &Routine, after: &Routine) -> bool {
    before.kind == after.kind
        && after.kind != RoutineKind::Aggregate
        && before.result == after.result
        && before.parameters.len() == after.parameters.len()
        && before
            .parameters
            .iter()
            .zip(&after.parameters)
            .all(|(before, after)| is_replaceable_parameter(before, after))
        && before.defaults <= after.defaults
}

/// The same, or one that has no name (`IN "" integer`) and now gets one.
fn is_replaceable_parameter(before: &str, after: &str) -> bool {
    let unnamed = || {
        let (mode, data_type) = before.split_once(" \"\" ")?;
        Some(
            (mode == "IN" || mode == "INOUT" || mode == "VARIADIC")
                && after.starts_with(&format!("{mode} "))
                && after.ends_with(&format!(" {data_type}")),
        )
    };
    before == after || unnamed().unwrap_or(false)
}

/// Whether CREATE OR REPLACE VIEW leads from one to the other.
fn is_extended(before: &View, after: &View) -> bool {
    before.columns.len() <= after.columns.len()
        && before
            .columns
            .iter()
            .zip(&after.columns)
            .all(|(before, after)| before.name == after.name && before.data_type == after.data_type)
}

/// What becomes of an object because something happens to what it needs. The answer is what in turn happens to those who need it.
fn react(items: &mut Items<'_>, node: NodeIndex, cause: NodeIndex, event: Event) -> Option<Event> {
    let (item, what) = (&items.graph[node], &items.graph[cause]);
    let (Some(before), Some(after)) = (item.before, item.after) else { return None };
    if item.goes() {
        return None;
    }
    if event == Event::Reshaped {
        // A typed table leaves its type for that time, and its columns change by themselves.
        if matches!(&before.body, Body::Table(table) if table.of_type.is_some()) {
            alter_cut(items, node);
        }
        return None;
    }
    let (gone, contained) = (event == Event::Gone, items.container(node) == Some(cause));
    if gone && item.undeclared && what.after.is_none() && !contained {
        // It was made by hand on something that goes for good. What PostgreSQL drops with it is dropped here, so that the order is
        // right; over anything else it will refuse, and it should.
        if matches!(item.key.kind, Kind::Constraint | Kind::Index | Kind::Statistics) {
            let item = &mut items.graph[node];
            (item.after, item.verdict) = (None, Verdict::Drop);
            return Some(Event::Gone);
        }
        return None;
    }
    match (&before.body, &after.body) {
        (Body::Column(_), _) if contained => replace(items, node),
        (Body::Column(before), Body::Column(column)) => {
            let of_type = what.is_type()
                || matches!(what.key.kind, Kind::Table | Kind::View | Kind::MaterializedView | Kind::Other);
            let mentioned = of_type && what.before.is_some_and(|what| names_type_of(&before.data_type, what));
            let by_text = what.key.kind == Kind::Range;
            if before.generated.is_some() {
                // Its expression needs what goes or changes. One that is to be an ordinary column keeps its values.
                if column.generated.is_some() {
                    return replace(items, node);
                }
                alter_cut(items, node);
                if !mentioned {
                    return None;
                }
            }
            if !gone {
                return None;
            }
            let item = &mut items.graph[node];
            item.verdict = Verdict::Alter;
            if !mentioned {
                item.cut = true;
                return None;
            }
            let first = !std::mem::replace(&mut item.retyped, true);
            if by_text {
                // Neither its indexes nor its constraints are made for text.
                item.cut = true;
                return Some(Event::Gone);
            }
            first.then_some(Event::Retyped)
        }
        (Body::Sequence(sequence), _) if contained && sequence.of_identity => {
            gone.then(|| replace(items, node)).flatten()
        }
        (Body::Sequence(_), _) => {
            if gone && contained {
                alter_cut(items, node);
            }
            None
        }
        (Body::Domain(domain), _) if gone => {
            if what.is_type() && what.before.is_some_and(|what| names_type_of(&domain.data_type, what)) {
                replace(items, node)
            } else {
                alter_cut(items, node);
                None
            }
        }
        (Body::Table(_), Body::Table(table)) if gone => {
            let partition = table.partition_of.as_ref().is_some_and(|partition| partition.of == *what.key);
            if partition {
                return replace(items, node);
            }
            alter_cut(items, node);
            None
        }
        (Body::Constraint(constraint), _) => {
            // PostgreSQL rebuilds the others itself when a column's type changes. A foreign key may compare two columns that both
            // change, and between the two statements nothing would fit.
            let rebuilt = event == Event::Retyped && constraint.constraint_type != ConstraintType::ForeignKey;
            if rebuilt { Some(Event::Retyped) } else { replace(items, node) }
        }
        // For what needs them, a foreign key above all, those that are rebuilt go.
        (Body::Index(_), _) if !gone => Some(Event::Retyped),
        (Body::Statistics(_), _) if !gone => None,
        (Body::Enum(_) | Body::Schema | Body::Extension(_) | Body::DefaultPrivileges(_) | Body::Other, _) => None,
        (Body::Composite { .. } | Body::Range(_) | Body::Table(_), _) if !gone => None,
        (Body::Domain(_), _) => None,
        _ => replace(items, node),
    }
}

fn replace(items: &mut Items<'_>, node: NodeIndex) -> Option<Event> {
    if let Some(item) = items.graph.node_weight_mut(node) {
        item.verdict = Verdict::Replace;
    }
    Some(Event::Gone)
}

fn alter_cut(items: &mut Items<'_>, node: NodeIndex) {
    if let Some(item) = items.graph.node_weight_mut(node) {
        (item.verdict, item.cut) = (Verdict::Alter, true);
    }
}
