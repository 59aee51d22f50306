//! Where two states differ.

use serde_json::Value;

use super::Wanted;
use crate::{Body, Deviation, Difference, Model, Object};

/// Object by object. Extra is what is present and not wanted, declared by an earlier bundle or not.
pub fn differences(present: &Model, wanted: &Model) -> Vec<Difference> {
    let mut found = Vec::new();
    for object in wanted.iter() {
        let difference = |deviation, detail| Difference { object: object.key.clone(), deviation, detail };
        match present.get(&object.key) {
            None => found.push(difference(Deviation::Missing, String::new())),
            Some(before) if !alike(before, object) => {
                found.push(difference(Deviation::Changed, detail(before, object)));
            }
            Some(_) => {}
        }
    }
    let extra = present.iter().filter(|object| !wanted.has(&object.key));
    found.extend(extra.map(|object| Difference {
        object: object.key.clone(),
        deviation: Deviation::Extra,
        detail: String::new(),
    }));
    found
}

/// Whether all that is wanted is there and nothing that was declared is left over: most databases at most deployments, and found much faster
/// than by a plan that turns out to be empty.
pub(super) fn is_reached(present: &Model, wanted: &Wanted<'_>) -> bool {
    wanted.model.iter().all(|object| present.get(&object.key).is_some_and(|before| alike(before, object)))
        && wanted.declared_before.iter().all(|key| wanted.model.has(key) || !present.has(key))
}

/// Whether nothing is to be done to lead from one to the other. Beyond what [`Object::is_same`] takes as equal: a column that a child
/// table had before its parent did, a materialized view that was filled since, a constraint that was validated since, an index of a
/// partitioned table that was completed since.
pub(super) fn alike(present: &Object, wanted: &Object) -> bool {
    present.comment == wanted.comment
        && present.grants == wanted.grants
        && (present.body == wanted.body
            || accepted(&present.body, &wanted.body).is_some_and(|body| body == wanted.body))
}

/// The present body with what no statement can or should change taken from the wanted one.
fn accepted(present: &Body, wanted: &Body) -> Option<Body> {
    match (present, wanted) {
        (Body::Column(present), Body::Column(wanted)) => {
            // One that is NOT VALID in the bundle may have been validated since.
            let not_valid = present.not_valid || present.not_null && wanted.not_valid;
            Some(Body::Column(crate::Column { is_local: wanted.is_local, not_valid, ..present.clone() }))
        }
        (Body::MaterializedView(present), Body::MaterializedView(wanted)) if present.populated => {
            let populated = wanted.populated;
            Some(Body::MaterializedView(crate::MaterializedView { populated, ..present.clone() }))
        }
        (Body::Constraint(present), Body::Constraint(wanted)) if present.validated => {
            let validated = wanted.validated;
            Some(Body::Constraint(crate::Constraint { validated, ..present.clone() }))
        }
        (Body::Index(present), Body::Index(wanted)) if present.valid => {
            Some(Body::Index(crate::Index { valid: wanted.valid, ..present.clone() }))
        }
        (Body::Domain(present), Body::Domain(wanted)) => {
            let mut domain = present.clone();
            for check in &mut domain.checks {
                let other = wanted.checks.iter().find(|other| other.name == check.name);
                check.validated &= other.is_none_or(|other| other.validated);
            }
            Some(Body::Domain(domain))
        }
        // PostgreSQL writes the columns in the order of the table, which has them as they came.
        (Body::Statistics(present), Body::Statistics(wanted))
            if sorted(&present.definition) == sorted(&wanted.definition) =>
        {
            let definition = wanted.definition.clone();
            Some(Body::Statistics(crate::Statistics { definition, ..present.clone() }))
        }
        _ => None,
    }
}

/// Statistics of the same things of the same table.
pub(super) fn is_same_statistics(present: &crate::Statistics, wanted: &crate::Statistics) -> bool {
    present.definition == wanted.definition || sorted(&present.definition) == sorted(&wanted.definition)
}

/// The parts of CREATE STATISTICS between ON and FROM, in an order that depends on nothing else.
fn sorted(definition: &str) -> Option<(&str, Vec<&str>, &str)> {
    let (head, rest) = definition.split_once(" ON ")?;
    let (columns, table) = rest.rsplit_once(" FROM ")?;
    let mut columns: Vec<&str> = columns.split(", ").collect();
    columns.sort_unstable();
    Some((head, columns, table))
}

/// `default: 0 → 1; not_null: false → true`.
fn detail(present: &Object, wanted: &Object) -> String {
    let mut parts = Vec::new();
    let (before, after) =
        (fields(&accepted(&present.body, &wanted.body).unwrap_or(present.body.clone())), fields(&wanted.body));
    for (name, value) in &after {
        let old = before.get(name).unwrap_or(&Value::Null);
        if old != value {
            parts.push(format!("{name}: {} → {}", short(old), short(value)));
        }
    }
    if present.comment != wanted.comment {
        let text = |comment: &Option<String>| comment.as_deref().map_or("none".to_owned(), |text| format!("{text:?}"));
        parts.push(format!("comment: {} → {}", text(&present.comment), text(&wanted.comment)));
    }
    if present.grants != wanted.grants {
        let missing = wanted.grants.iter().filter(|grant| !present.grants.contains(grant)).map(|grant| ("+", grant));
        let extra = present.grants.iter().filter(|grant| !wanted.grants.contains(grant)).map(|grant| ("-", grant));
        let all: Vec<String> = missing
            .chain(extra)
            .map(|(sign, grant)| {
                let grantee = if grant.grantee.is_empty() { "PUBLIC" } else { &grant.grantee };
                let option = if grant.grantable { " with grant option" } else { "" };
                format!("{sign}{} {grantee}{option}", grant.privilege)
            })
            .collect();
        parts.push(format!("grants: {}", all.join(", ")));
    }
    parts.join("; ")
}

fn fields(body: &Body) -> serde_json::Map<String, Value> {
    // A body is `"schema"`, or `{"table": {…}}`.
    match serde_json::to_value(body) {
        Ok(Value::Object(body)) => body.into_iter().next().and_then(|(_, fields)| match fields {
            Value::Object(fields) => Some(fields),
            _ => None,
        }),
        _ => None,
    }
    .unwrap_or_default()
}

/// A value as a line of text that a person can take in.
fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    if text.chars().count() <= 120 { text } else { text.chars().take(119).chain(['…']).collect() }
}
