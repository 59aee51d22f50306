//! What the model knows by name only.

use std::collections::BTreeSet;

use super::Wanted;
use super::render::plain;
use crate::{Key, Kind, Model, Step};

/// Drops what is known by name only, was declared by the bundle before and is not wanted any more: what needs another (a text search
/// configuration its dictionaries) before that one.
pub fn drops_of_others(present: &Model, wanted: &Wanted<'_>) -> Vec<Step> {
    let others = present.of_kind(Kind::Other).map(|object| &object.key);
    let mut open: BTreeSet<&Key> =
        others.filter(|key| wanted.declared_before.contains(*key) && !wanted.model.has(key)).collect();
    let mut steps = Vec::new();
    while let Some(first) = open.first().copied() {
        let is_needed = |key: &&&Key| {
            let others = open.iter().filter(|other| *other != *key);
            others.filter_map(|other| present.get(other)).any(|other| other.needs.contains(**key))
        };
        // Where all need each other, PostgreSQL says what it thinks of it.
        let key = open.iter().find(|key| !is_needed(key)).copied().unwrap_or(first);
        open.remove(key);
        // Both are pg_identify_object's words, which DROP understands.
        steps.push(plain(key, format!("DROP {} {}", key.arguments.to_uppercase(), key.name)));
    }
    steps
}
