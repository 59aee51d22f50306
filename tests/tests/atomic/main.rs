//! A deployment that does not come to its end leaves everything as it was; one that has nothing to do does nothing.
//!
//! What is compared are whole databases (`pg_dump` and every row), the list of databases, templates and roles, and the registry.

mod deferring;
mod literals;
mod noop;
mod regression;
mod rows;
mod spelling;
mod stages;
mod statements;
mod waiting;
mod world;
