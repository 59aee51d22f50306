//! A short deployment that fails or is stopped leaves everything as it was.

use acceptance::wait::check;
use acceptance::{Cluster, Files, Shutdown, eventually, shared, sql};
use serde_json::json;

use crate::{assert_exact, assert_short, migrate, next, shop, two};

#[test]
fn one_of_two_bodies_is_wrong() {
    let cluster = shared();
    let platform = two(&cluster, "wrong");
    let before = platform.snapshot();
    for (path, from, to, line) in [
        ("functions/add_customer.pssql", "customers (name)", "customers (nope)", 2),
        ("functions/get_product.pssql", "RETURN QUERY", "RETURN QUARY", 4),
        ("functions/many.pssql", "a || a", "a || b", 3),
    ] {
        let files = next().edit(path, from, to);
        let answer = migrate(&cluster, &platform, "main", &files, &[]).error(422, "function_deploy_failed");
        assert_eq!(answer.str("file"), path, "{answer}");
        assert_eq!(answer.number("line"), line, "{answer}");
        platform.assert_unchanged(&before, path);
        let mended = next().edit(path, from, &format!("{from} "));
        migrate(&cluster, &platform, "main", &mended, &[("dry_run", "true")]).ok();
    }
    platform.migrate(&next()).ok();
    for tenant in ["main", "a"] {
        assert_exact(&cluster, &platform, tenant, &next());
    }
}

/// A lock in the tenant behind which the last statements of the transaction wait.
const LOCK: &str = "BEGIN; LOCK TABLE public._stonescriptdb_gateway_changelog IN SHARE MODE";

/// Waits until a deployment stands in the middle of its transaction.
#[track_caller]
fn wait_stopped(cluster: &Cluster, database: &str) {
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock' AND backend_type = 'stonescriptdb executor'"
    );
    eventually("the deployment to wait for the lock", || {
        let count = sql::text(&mut cluster.control(), &waiting);
        check(count == "1", format!("{count} wait"))
    });
}

/// How the end comes.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Immediate,
    Executor,
    Lock,
}

#[test]
fn stopped_in_the_middle_it_leaves_nothing() {
    let cluster = Cluster::builder().setting("stonescriptdb.deploy_lock_timeout", "1s").start();
    let platform = two(&cluster, "stop");
    let bundle = |n: usize| -> Files { shop().edit("functions/many.pssql", "a * 2", &format!("a * 2 + {n}")) };
    for (n, end) in [End::Lock, End::Executor, End::Kill, End::Immediate].into_iter().enumerate() {
        let files = bundle(n + 1);
        let before = platform.snapshot();
        let database = platform.database();
        let mut holder = cluster.connect(&database);
        sql::done(holder.batch_execute(LOCK));
        let archive = files.tar_gz();
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| {
                let fields = [("platform", platform.name.as_str()), ("tenant_id", "main")];
                cluster.http().multipart_status("/migrate", &fields, &archive)
            });
            wait_stopped(&cluster, &database);
            match end {
                End::Lock => {}
                End::Executor => {
                    let terminate = format!(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'"
                    );
                    sql::text(&mut cluster.control(), &terminate);
                }
                End::Kill => cluster.kill_postmaster_immediate(),
                End::Immediate => drop(cluster.stop(Shutdown::Immediate)),
            }
            let status = caller.join().expect("the caller");
            assert_ne!(status, Some(200), "{end:?}");
        });
        drop(holder);
        if matches!(end, End::Kill | End::Immediate) {
            cluster.start_again();
            cluster.wait_ready();
        }
        platform.assert_unchanged(&before, &format!("{end:?}"));
        assert_eq!(platform.call("count_customers", json!([])).value(), 0, "{end:?}: it is served");
        // The bundle is proved, and goes in by the same way.
        let answer = migrate(&cluster, &platform, "main", &files, &[]).ok().field("functions_updated", 1);
        assert_short(&cluster, &answer);
        assert_exact(&cluster, &platform, "main", &files);
        let other = migrate(&cluster, &platform, "a", &files, &[]).ok();
        assert_short(&cluster, &other);
    }
}

#[test]
fn killed_right_after_the_answer_it_is_there() {
    let cluster = Cluster::start();
    let platform = two(&cluster, "after");
    for n in 1..4 {
        let files = shop().edit("functions/count_customers.pssql", "count(*)", &format!("count(*) + {n}"));
        let answer = migrate(&cluster, &platform, "main", &files, &[]).ok();
        cluster.kill_postmaster_immediate();
        assert_short_after(&cluster, &answer);
        assert_eq!(platform.call("count_customers", json!([])).value(), n);
        assert_exact(&cluster, &platform, "main", &files);
        // The template too: a copy of it is as new.
        platform.register_tenant(&format!("n{n}"), &files).ok();
        assert_eq!(platform.call_tenant(&format!("n{n}"), "count_customers", json!([])).value(), n);
    }
}

/// The server is started again, and the deployment is on record.
#[track_caller]
fn assert_short_after(cluster: &Cluster, answer: &acceptance::Answer) {
    cluster.start_again();
    cluster.wait_ready();
    assert_short(cluster, answer);
}
