//! The catalog's reader on a real server: what is read, what is not, and what the stamp sees.

mod kinds;
mod same;
mod speed;
mod stamp;

use acceptance::Cluster;
use acceptance::sql::done;
use postgres::Client;

/// The role that owns the databases here: an ordinary one.
const OWNER: &str = "reader_owner";

/// A server without the extension, with the roles of these tests.
fn cluster() -> Cluster {
    let cluster = Cluster::builder().without_preload().setting("max_locks_per_transaction", "512").start();
    let roles = format!("CREATE ROLE {OWNER} LOGIN; CREATE ROLE reader_call");
    done(cluster.control().batch_execute(&roles));
    cluster
}

/// A new database, and its owner's connection to it.
#[track_caller]
fn database(cluster: &Cluster, name: &str) -> Client {
    done(cluster.control().batch_execute(&format!("CREATE DATABASE {name} OWNER {OWNER}")));
    cluster.connect_as(OWNER, name)
}

/// A database with at least one object of every kind.
#[track_caller]
fn database_of_all_kinds(cluster: &Cluster, name: &str) -> Client {
    let mut client = database(cluster, name);
    done(client.batch_execute(include_str!("kinds.sql")));
    done(cluster.connect(name).batch_execute(include_str!("superuser.sql")));
    client
}
