//! Exact values: every type that the server has, in and out, against what PostgreSQL itself says of the same value; and the calls that
//! are hard to get right: overloads, polymorphic arguments, procedures, JSON that is passed through.

mod odd;
mod polymorphic;
mod refused;
mod routines;
mod samples;
mod types;
