//! Renames: those that are asked for, and those that follow from what belongs together.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Wanted;
use super::render::plain;
use super::sql::{clause, ident, owner_name};
use crate::{Body, Key, Kind, Model, Object, Step};

/// `-- @renamed from=old` above a table or column.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rename {
    /// What it was called: a key of kind table or column.
    pub from: Key,
    /// What it is called now, of the same kind. A table may change its schema too.
    pub to: Key,
}

/// Renames asked for by annotations: those that apply to `present`, as steps. One applies if the old name is there and the new one is not.
/// Tables come first; a column's `from` may name its table by the old name or the new one.
pub fn renames(present: &Model, renames: &[Rename]) -> Vec<Step> {
    let mut steps = Vec::new();
    // New names of tables, by old ones, and the other way round.
    let (mut new_names, mut old_names): (BTreeMap<Key, Key>, BTreeMap<Key, Key>) = Default::default();
    for Rename { from, to } in renames.iter().filter(|rename| rename.from.kind == Kind::Table) {
        if !present.has(from) || present.has(to) || to.kind != Kind::Table || old_names.contains_key(to) {
            continue;
        }
        if from.schema != to.schema {
            let sql = format!("ALTER TABLE {} SET SCHEMA {}", super::sql::name(from), ident(&to.schema));
            steps.push(plain(to, sql));
        }
        if from.name != to.name {
            let moved = super::sql::qualified(&to.schema, &from.name);
            steps.push(plain(to, format!("ALTER TABLE {moved} RENAME TO {}", ident(&to.name))));
        }
        new_names.insert(from.clone(), to.clone());
        old_names.insert(to.clone(), from.clone());
    }
    for Rename { from, to } in renames.iter().filter(|rename| rename.from.kind == Kind::Column) {
        let Some(table) = to.table().filter(|_| to.kind == Kind::Column) else { continue };
        let Some(from_table) = from.table() else { continue };
        if new_names.get(&from_table).unwrap_or(&from_table) != &table {
            continue;
        }
        // The table as `present` knows it.
        let known = old_names.get(&table).unwrap_or(&table);
        let column = |name: &str| Key::part(Kind::Column, &known.schema, &known.name, name);
        if present.has(&column(&from.name)) && !present.has(&column(&to.name)) {
            let sql =
                format!("ALTER TABLE {} RENAME COLUMN {} TO {}", owner_name(to), ident(&from.name), ident(&to.name));
            steps.push(plain(to, sql));
        }
    }
    steps
}

/// What a renamed table leaves behind: constraints, and the sequences of its columns, keep names that PostgreSQL once made of the table's.
/// Dropping and adding them would build indexes anew and make sequences start again. A constraint is taken for renamed if the same
/// table has one of the same definition before and after, a sequence if the same column owns it.
pub(super) fn adopt<'a>(present: &'a Model, wanted: &Wanted<'_>) -> (Cow<'a, Model>, Vec<Step>) {
    let mut gone: BTreeMap<String, Vec<&Object>> = BTreeMap::new();
    let moved = moved(present, wanted);
    for object in present.iter().filter(|object| !wanted.model.has(&object.key)) {
        let declared = || {
            wanted.declared_before.contains(&object.key) || moved.contains(&(object.key.kind, object.key.name.as_str()))
        };
        if let Some(identity) = identity(object).filter(|_| declared()) {
            gone.entry(identity).or_default().push(object);
        }
    }
    if gone.is_empty() {
        return (Cow::Borrowed(present), Vec::new());
    }
    let (mut names, mut steps): (BTreeMap<&Key, &Key>, Vec<Step>) = Default::default();
    for object in wanted.model.iter().filter(|object| !present.has(&object.key)) {
        let old = identity(object).and_then(|identity| gone.get_mut(&identity)).and_then(Vec::pop);
        let Some((old, statement)) = old.and_then(|old| rename(old, &object.key).map(|statement| (old, statement)))
        else {
            continue;
        };
        names.insert(&old.key, &object.key);
        steps.push(plain(&object.key, statement));
    }
    if names.is_empty() {
        return (Cow::Borrowed(present), Vec::new());
    }
    let mut objects = Vec::from(present.clone());
    let new_name = |key: &Key| names.get(key).map_or_else(|| key.clone(), |name| (*name).clone());
    for object in &mut objects {
        object.key = new_name(&object.key);
        object.needs = object.needs.iter().map(new_name).collect();
    }
    (Cow::Owned(Model::from(objects)), steps)
}

/// Kinds and names of what was declared as part of a table, or in a schema, that is not there any more: the table was renamed meanwhile, and
/// its parts have other keys than those that were declared.
fn moved<'a>(present: &Model, wanted: &Wanted<'a>) -> BTreeSet<(Kind, &'a str)> {
    let is_gone = |key: &Key| !present.has(&key.table().unwrap_or_else(|| key.clone()));
    let of_kind = wanted.declared_before.iter().filter(|key| matches!(key.kind, Kind::Constraint | Kind::Sequence));
    of_kind.filter(|key| is_gone(key)).map(|key| (key.kind, key.name.as_str())).collect()
}

/// What stays of an object when its name changes.
fn identity(object: &Object) -> Option<String> {
    match &object.body {
        Body::Constraint(constraint) => {
            let owner = (&object.key.schema, &object.key.parent);
            Some(format!("{owner:?} {:?} {}", constraint.constraint_type, constraint.definition))
        }
        Body::Sequence(sequence) => {
            let owner = sequence.owned_by.as_ref().filter(|owner| owner.schema == object.key.schema)?;
            Some(format!("{owner:?} {}", sequence.of_identity))
        }
        _ => None,
    }
}

fn rename(object: &Object, to: &Key) -> Option<String> {
    let name = ident(&to.name);
    match object.body {
        Body::Constraint(_) => {
            let key = &object.key;
            Some(format!("ALTER TABLE {} RENAME CONSTRAINT {} TO {name}", owner_name(key), ident(&key.name)))
        }
        _ => clause(object).map(|clause| format!("ALTER {clause} RENAME TO {name}")),
    }
}
