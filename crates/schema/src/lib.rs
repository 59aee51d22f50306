//! What a bundle's statements make and need, and the order that follows from it.
//!
//! The model of a database's catalog, the diff, the plan and its hazards will stand beside this: pure data, without a server.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod facts;
mod order;

pub use facts::{Class, Facts, ObjectName};
pub use order::{Cycle, Graph};
