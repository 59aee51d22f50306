//! The acceptance tests' harness: temporary PostgreSQL clusters with stonescriptdb in them, spoken to from outside as a DBA
//! (libpq) and a container (HTTP) do.
//!
//! The extension must be installed in the server that `$PG_CONFIG` names (else the newest under `/usr/lib/postgresql`); then
//! `cargo test -p acceptance` runs everything. The tests share nothing with other servers of the machine: every cluster has its own
//! directory, Unix socket and HTTP port, and is gone when the test process is, however that ended.
//!
//! * [`Cluster`] is a server of one's own, [`shared()`] the one that the tests of a process use together, each with platforms
//!   of names of its own ([`unique`]).
//! * [`Http`] and [`Answer`] are a client that shows everything, [`Wire`] one connection for requests no client would send.
//! * [`Files`] makes bundles, [`hostile`] archives that nobody should send.
//! * [`Platform`] is a registered bundle with shortcuts for the tests.
//! * [`generator`] makes random schemas, edits of them and rows, and shrinks what fails.
//! * [`Snapshot`] is all that a deployment may change in a database, as text, to compare before and after.
//!
//! Environment: `PG_CONFIG` (which server), `SSDB_TEST_DIR` (where the clusters live, default the system's temporary
//! directory), `SSDB_TEST_USER` (who runs the server when the tests run as root, default `postgres`).

pub mod builder;
pub mod bundle;
pub mod catalog;
pub mod cluster;
pub mod fixtures;
pub mod generator;
pub mod hostile;
pub mod http;
pub mod json;
pub mod platform;
pub mod ports;
pub mod server;
pub mod shared;
pub mod snapshot;
pub mod sql;
pub mod wait;
pub mod wire;

pub use builder::{ADMIN_TOKEN, Builder};
pub use bundle::Files;
pub use catalog::read_model;
pub use cluster::{Cluster, Shutdown};
pub use http::{Answer, Http};
pub use platform::Platform;
pub use shared::{Shared, shared, unique};
pub use snapshot::Snapshot;
pub use sql::{Failure, refused};
pub use wait::{eventually, eventually_within};
pub use wire::Wire;
