//! The only unsafe code: everything that touches PostgreSQL's memory and functions, behind safe names.
#![allow(unsafe_code, reason = "PostgreSQL's internals are C; every block here says why it is sound")]

pub(crate) mod counters;
mod ddl;
mod error;
mod execute;
mod facts;
mod foreign_keys;
pub(crate) mod hooks;
mod json_out;
pub(crate) mod lexer;
pub(crate) mod limit;
mod lines;
mod memory;
mod meta_command;
mod nodes;
mod parser;
mod plan;
mod procedure;
mod refused;
mod renamed;
pub(crate) mod request;
#[cfg(feature = "pg_test")]
pub(crate) mod same_trees;
pub(crate) mod seats;
pub(crate) mod secret;
pub(crate) mod session;
mod sql_function;
pub(crate) mod toplevel;
mod transaction;
mod version;
pub(crate) mod wait;
pub(crate) mod worker;

pub(crate) use error::{PgError, catch};
pub(crate) use json_out::{Rows, require_utf8};
pub(crate) use memory::{LastingMemory, give_back_freed, limit_heaps};
pub(crate) use parser::{FunctionIdentity, Kind, Script, ScriptError, Statement};
pub(crate) use plan::{Input, Plan, Shape, Value, identifiers, invalidation, quote_identifier, shape, type_name};
pub(crate) use procedure::TopLevelCall;
pub(crate) use sql_function::{Arguments, Returned};
pub(crate) use transaction::{
    commits, in_transaction, read_only_transaction, subtransaction, transaction, with_new_snapshot,
};
pub(crate) use version::MAJOR;
