//! pg_upgrade, from PostgreSQL to itself: what it does with OIDs and files is the same. `older` is about other versions.

use acceptance::{Cluster, Shutdown, refused, server, sql};

use crate::{platform, there, works};

/// A new cluster with all that is in another one, which is stopped for it.
#[track_caller]
pub fn upgraded(from: &Cluster) -> Cluster {
    from.stop(Shutdown::Fast);
    // What initdb made, with our settings.
    let to = Cluster::builder().without_extension().start();
    to.stop(Shutdown::Fast);
    let mut pg_upgrade = server::command(to.programs().join("pg_upgrade"), to.dir());
    pg_upgrade.arg("-b").arg(from.programs()).arg("-B").arg(to.programs());
    pg_upgrade.arg("-d").arg(from.data_dir()).arg("-D").arg(to.data_dir());
    pg_upgrade.args(["-U", "postgres", "-p", "50432", "-P", "50433", "-s"]).arg(to.dir());
    server::run(pg_upgrade);
    to.start_again();
    to.wait_ready();
    to
}

#[test]
fn a_cluster_is_upgraded_by_pg_upgrade() {
    let from = Cluster::start();
    let platform = platform(&from, "upgraded");
    let templates = "SELECT count(*)::text FROM pg_database WHERE NOT datallowconn AND datname <> 'template0'";
    assert_ne!(sql::text(&mut from.control(), templates), "0");
    assert_ne!(sql::text(&mut from.control(), "SELECT stonescriptdb.prepare_upgrade()::text"), "0");
    assert_eq!(sql::text(&mut from.control(), templates), "0", "pg_upgrade refuses databases that admit nobody");
    let to = upgraded(&from);
    works(&there(&platform, &to));
    let left =
        "SELECT count(*)::text FROM pg_database WHERE datistemplate AND datallowconn AND datname LIKE 'stonescriptdb%'";
    assert_eq!(sql::text(&mut to.control(), left), "0", "none is left open");
}

#[test]
fn only_a_superuser_gives_the_templates_up() {
    let cluster = Cluster::start();
    sql::done(cluster.control().batch_execute("CREATE ROLE dba LOGIN; GRANT stonescriptdb_admin TO dba"));
    refused(cluster.connect_as("dba", "postgres").query_one("SELECT stonescriptdb.prepare_upgrade()", &[]))
        .sqlstate("42501");
}
