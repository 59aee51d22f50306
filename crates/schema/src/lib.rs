//! What a bundle's statements make and need, and the order that follows from it; the model of a database's catalog, the diff of two of
//! them, and the plan that leads from one to the other. Pure data, without a server.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod catalog;
mod diff;
mod facts;
mod model;
mod order;
mod plan;

pub use catalog::{CATALOG_SETTINGS, STAMP_SQL, catalog_queries};
pub use diff::{Rename, Wanted, classify, differences, drops_of_others, renames, steps, type_change};
pub use facts::{Class, Facts, ObjectName};
pub use model::*;
pub use order::{Cycle, Graph, Tangle};
pub use plan::{Classified, Deviation, Difference, Hazard, Loss, Safety, Stage, Step};
