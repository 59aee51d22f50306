//! The disk is full in the middle of a deployment. The data directory is on a small file system of its own, which takes root to mount.

use std::process::Command;

use acceptance::{Cluster, Platform, Shutdown, fixtures, server, sql};
use serde_json::json;

/// A running cluster whose data directory has so many megabytes left; none where nothing can be mounted. The log of transactions is
/// elsewhere: PostgreSQL itself does not survive its disk being full.
fn small_disk(megabytes: u64) -> Option<(Cluster, Mounted)> {
    let cluster = Cluster::start();
    cluster.stop(Shutdown::Fast);
    let (data, aside, wal) = (cluster.data_dir(), cluster.dir().join("aside"), cluster.dir().join("wal"));
    let shell = |script: &str| {
        let mut sh = Command::new("sh");
        sh.arg("-ec").arg(script).arg(&data).arg(&aside).arg(&wal);
        sh.status().expect("sh starts").success()
    };
    if !shell("mv \"$0\" \"$1\"; mv \"$1/pg_wal\" \"$2\"; ln -s \"$2\" \"$1/pg_wal\"; mkdir \"$0\"") {
        panic!("the data directory cannot be moved");
    }
    let used = server::run({
        let mut du = Command::new("du");
        du.arg("-sm").arg(&aside);
        du
    });
    let used: u64 = String::from_utf8_lossy(&used.stdout)
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .expect("megabytes");
    let size = used + megabytes;
    let mounted = shell(&format!(
        "mount -t tmpfs -o size={size}m,mode=0700 none \"$0\"; cp -a \"$1/.\" \"$0\"; chown --reference=\"$1\" \"$0\""
    ));
    if !mounted {
        shell("rmdir \"$0\"; mv \"$1\" \"$0\"");
        return None;
    }
    let mount = Mounted(data);
    cluster.start_again();
    Some((cluster, mount))
}

/// Taken off after the cluster is gone.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_fails_the_deployment_and_leaves_nothing() {
    let Some((cluster, mount)) = small_disk(70) else {
        println!("no file system can be mounted here: not tested");
        return;
    };
    let platform = Platform::register(&cluster, "full", &fixtures::shop());
    platform.call("add_customer", json!(["Ada"])).ok();
    let before = platform.snapshot();
    let fills = fixtures::shop().file(
        "migrations/001_fill.pssql",
        "CREATE TABLE IF NOT EXISTS filler (a text);\nALTER TABLE customers ADD COLUMN note text;\n\
         INSERT INTO filler SELECT md5(i::text) || md5((i + 1)::text) FROM generate_series(1, 1500000) i;\n",
    );
    let fills = fills
        .edit("tables/customers.pssql", "joined", "note text, joined")
        .file("tables/filler.pssql", "CREATE TABLE filler (a text);\n");
    // First where it is proved, in the template: the tenant is not even begun.
    let answer = platform.migrate(&fills);
    assert!(answer.status >= 400, "{answer}");
    answer.shaped().field("sqlstate", "53100").field("line", 3);
    platform.assert_unchanged(&before, "a full disk");
    // What was half built is gone, and so is what it took.
    let left = "SELECT count(*)::text FROM stonescriptdb.template WHERE state = 'building'";
    assert_eq!(sql::text(&mut cluster.control(), left), "0");
    assert_eq!(platform.call("count_customers", json!([])).value(), 1);
    platform.call("add_customer", json!(["Bob"])).ok();
    // A new database does not fit either; then nothing of it is left.
    let filler = "CREATE TABLE filler (a text); INSERT INTO filler SELECT md5(i::text) || md5((i + 1)::text) FROM generate_series(1, 1500000) i";
    acceptance::refused(cluster.connect("postgres").batch_execute(filler)).sqlstate("53100");
    sql::done(cluster.connect("postgres").batch_execute("DROP TABLE IF EXISTS filler"));
    platform
        .migrate(&fixtures::shop().edit("functions/count_customers.pssql", "SELECT count(*)", "SELECT 100 + count(*)"))
        .ok();
    assert_eq!(platform.call("count_customers", json!([])).value(), 102);
    drop(cluster);
    drop(mount);
}
