//! An OpenAPI 3.1 document from what a database's catalog says of its functions and their types.
//!
//! A path for each function, `POST /call/{platform}/{function}` with the parameters as a JSON object, because that is what generated
//! clients call with names and types. Overloads share a path, and their parameters are alternatives. Functions that only read have GET too.
//! Types that have a name are components, and so are the parameters and the rows of each function: generators name them after that.
//!
//! Knows no PostgreSQL: the catalog comes as JSON ([`Catalog`]).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod catalog;
mod document;
mod functions;
mod names;
mod schemas;
#[cfg(test)]
mod tests;

pub use catalog::{Argument, Catalog, Column, Function, Type};
pub use document::{About, document};
