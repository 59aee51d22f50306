//! What leads from one state of a database to another: statements, differences, and how dangerous each change is.
//!
//! [`steps`] works in three passes. Every object of the two models gets a verdict ([`verdict`]): kept, created, altered, replaced or
//! dropped, first by what it is and then by what becomes of the objects that it needs. The verdicts become operations with an order
//! ([`operations`]): drops go against the dependencies of the present state, everything else along those of the wanted one. Each operation
//! is then written as statements ([`render`]).

mod classify;
mod compare;
mod copies;
mod inherit;
mod items;
mod keywords;
mod operations;
mod others;
mod rename;
mod render;
mod sorting;
mod sql;
#[cfg(test)]
mod tests;
mod types;
mod verdict;

use std::collections::BTreeSet;

use crate::{Key, Model, Step};

pub use classify::classify;
pub use compare::differences;
pub use others::drops_of_others;
pub use rename::{Rename, renames};
pub use types::type_change;

/// What a database is to become.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The objects of the bundle.
    pub model: &'a Model,
    /// Keys that the bundle deployed before declared: what of them is not in `model` any more is dropped. Anything else that `model` does
    /// not know is left alone. Parts of a table that was renamed since are to be given by their new keys too; its constraints and sequences
    /// are recognised without.
    pub declared_before: &'a BTreeSet<Key>,
    /// Bytes from which on an existing table counts as big: its index builds and constraint validations run after the transaction.
    pub online_bytes: u64,
}

/// The statements that lead from `present` to `wanted`, in an order in which they run: those of [`Stage::Before`] first, those of
/// [`Stage::After`] last. They are to be run with an empty search_path and `check_function_bodies` off, by the role that owns the objects.
pub fn steps(present: &Model, wanted: &Wanted<'_>) -> Vec<Step> {
    if compare::is_reached(present, wanted) {
        return Vec::new();
    }
    let (present, mut steps) = rename::adopt(present, wanted);
    let present = present.as_ref();
    let mut items = items::Items::new(present, wanted);
    verdict::decide(&mut items);
    let operations = operations::operations(&items);
    let writer = render::Writer::new(&items, present, wanted);
    for operation in operations {
        steps.extend(writer.write(operation));
    }
    // Stable: within a stage the order stays.
    steps.sort_by_key(|step| step.stage);
    steps
}
