//! Makes a failing pair small.

use serde_json::Value;

use super::{Pair, Schema};

/// The smallest pair found that still fails, with at most `tries` calls of `fails`.
///
/// Both schemas are taken as JSON: an element of a list is taken out of both, an edit is taken back by giving both the old one's, an
/// optional part is left out; whatever that breaks is repaired. So no kind of object needs code of its own here.
pub fn shrink(pair: &Pair, mut tries: usize, mut fails: impl FnMut(&Pair) -> bool) -> Pair {
    let mut best = pair.clone();
    let mut attempt = |candidate: Pair, best: &mut Pair| {
        let worth = tries > 0
            && (candidate.old != best.old || candidate.new != best.new || candidate.rows.len() < best.rows.len());
        if !worth {
            return false;
        }
        tries -= 1;
        let smaller = fails(&candidate);
        if smaller {
            *best = candidate;
        }
        smaller
    };
    attempt(Pair { rows: Vec::new(), ..best.clone() }, &mut best);
    loop {
        let mut progress = false;
        for edit in [Edit::Remove, Edit::TakeBack, Edit::Leave] {
            // From the end, so that the places of those before stay.
            let mut paths = paths(&best);
            paths.sort_by_key(|path| path.len());
            for path in paths {
                if let Some(candidate) = edited(&best, &path, edit) {
                    progress |= attempt(candidate, &mut best);
                }
            }
        }
        for place in (0..best.rows.len()).rev() {
            let mut candidate = best.clone();
            candidate.rows.remove(place);
            progress |= attempt(candidate, &mut best);
        }
        if !progress {
            return best;
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Edit {
    /// Out of both.
    Remove,
    /// The new one's becomes the old one's.
    TakeBack,
    /// None, false.
    Leave,
}

/// A step into a JSON value. Elements of lists are known by what they are, so that a path means the same in both schemas.
#[derive(Clone, PartialEq, Debug)]
enum Step {
    Field(String),
    Element(String),
}

/// What tells an element from its neighbours: its name where it has one.
fn label(element: &Value) -> String {
    match element.get("name") {
        Some(Value::Null) | None => element.to_string(),
        Some(name) => {
            let parameters = element.get("parameters").map(|p| p.to_string()).unwrap_or_default();
            format!("{name}{parameters}")
        }
    }
}

fn as_json(schema: &Schema) -> Value {
    serde_json::to_value(schema).expect("a schema is plain data")
}

fn paths(pair: &Pair) -> Vec<Vec<Step>> {
    let mut paths = Vec::new();
    for schema in [&pair.old, &pair.new] {
        collect(&as_json(schema), &mut Vec::new(), &mut paths);
    }
    let mut unique = Vec::new();
    for path in paths {
        if !unique.contains(&path) {
            unique.push(path);
        }
    }
    unique
}

fn collect(value: &Value, at: &mut Vec<Step>, paths: &mut Vec<Vec<Step>>) {
    let mut visit = |step: Step, inner: &Value| {
        at.push(step);
        paths.push(at.clone());
        collect(inner, at, paths);
        at.pop();
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, inner)| visit(Step::Field(name.clone()), inner)),
        Value::Array(elements) => elements.iter().for_each(|inner| visit(Step::Element(label(inner)), inner)),
        _ => {}
    }
}

fn find<'a>(value: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Field(name) => value.get_mut(name),
        Step::Element(wanted) => value.as_array_mut()?.iter_mut().find(|element| label(element) == *wanted),
    })
}

fn edited(pair: &Pair, path: &[Step], edit: Edit) -> Option<Pair> {
    let (mut old, mut new) = (as_json(&pair.old), as_json(&pair.new));
    let (last, above) = path.split_last()?;
    match edit {
        Edit::Remove => {
            let Step::Element(wanted) = last else { return None };
            for schema in [&mut old, &mut new] {
                if let Some(Value::Array(elements)) = find(schema, above) {
                    elements.retain(|element| label(element) != *wanted);
                }
            }
        }
        Edit::TakeBack => match (find(&mut old, path).cloned(), find(&mut new, path)) {
            (Some(before), Some(after)) => *after = before,
            (Some(before), None) => find(&mut new, above)?.as_array_mut()?.push(before),
            (None, Some(_)) => {
                let Step::Element(wanted) = last else { return None };
                find(&mut new, above)?.as_array_mut()?.retain(|element| label(element) != *wanted);
            }
            (None, None) => return None,
        },
        Edit::Leave => {
            for schema in [&mut old, &mut new] {
                if let Some(value) = find(schema, path) {
                    *value = match value {
                        Value::Bool(_) => Value::Bool(false),
                        Value::Object(_) | Value::String(_) => Value::Null,
                        Value::Array(_) => Value::Array(Vec::new()),
                        _ => return None,
                    };
                }
            }
        }
    }
    // Not every field may be left out.
    let mut candidate = Pair {
        old: serde_json::from_value(old).ok()?,
        new: serde_json::from_value(new).ok()?,
        rows: pair.rows.clone(),
    };
    candidate.old.repair();
    candidate.new.repair();
    Some(candidate)
}
