//! What PostgreSQL's own instruments show of calls.

use acceptance::wait::check;
use acceptance::{Cluster, Files, Platform, eventually, fixtures, sql};
use serde_json::json;

use super::Line;

#[test]
fn executors_are_shown_with_the_function_that_they_run() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "shown", &fixtures::tiny());
    std::thread::scope(|scope| {
        let nap = scope.spawn(|| platform.call("nap", json!([600])));
        let busy = format!(
            "SELECT backend_type || '|' || application_name || '|' || query || '|' || state FROM pg_stat_activity WHERE datname = '{}' AND state = 'active'",
            platform.database()
        );
        eventually("it is shown", || {
            let seen = sql::texts(&mut cluster.control(), &busy);
            check(seen == ["stonescriptdb executor|stonescriptdb|nap|active"], format!("{seen:?}"))
        });
        eventually("it ends", || {
            let end = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'nap' AND state = 'active'";
            cluster.control().execute(end, &[]).expect("cancelled");
            check(nap.is_finished(), "it naps")
        });
    });
    let mut line = Line::direct(&cluster, &platform);
    line.call("f", json!([]), &[]).ok();
    // Whatever a call did to the name, the next one begins with ours.
    let idle = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE backend_type = 'stonescriptdb executor'";
    assert_eq!(sql::texts(&mut cluster.control(), idle), ["stonescriptdb"]);
}

#[test]
fn pg_stat_statements_and_auto_explain_know_calls() {
    let cluster = Cluster::builder()
        .setting("shared_preload_libraries", "pg_stat_statements, stonescriptdb, auto_explain")
        .setting("auto_explain.log_min_duration", "0")
        .setting("auto_explain.log_nested_statements", "on")
        .setting("auto_explain.log_analyze", "on")
        .setting("pg_stat_statements.track", "all")
        .start();
    cluster.control().batch_execute("CREATE EXTENSION pg_stat_statements").expect("it is in contrib");
    let files = fixtures::tiny()
        .file("tables/item.pssql", "CREATE TABLE item (id int PRIMARY KEY, name text);\n")
        .file(
            "functions/find.pssql",
            "CREATE FUNCTION find(p_name text) RETURNS SETOF item LANGUAGE plpgsql STABLE AS\n\
             $$ BEGIN RETURN QUERY SELECT * FROM item WHERE name = p_name; END $$;\n",
        )
        .file("functions/go.pssql", "CREATE PROCEDURE go() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;\n");
    let platform = Platform::register(&cluster, "watched", &files);
    let mut line = Line::direct(&cluster, &platform);
    for _ in 0..10 {
        line.call("find", json!(["a-secret-value"]), &[]).ok();
        platform.call("find", json!(["a-secret-value"])).ok();
    }
    platform.call("go", json!([])).ok();
    let statements = format!(
        "SELECT s.calls || ' ' || s.toplevel || ' ' || s.query FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid\n\
         WHERE d.datname = '{}' AND s.query ~ '(find|item|go\\(\\))' AND s.userid = 'stonescriptdb_{}_call'::regrole ORDER BY 1",
        platform.database(),
        platform.name
    );
    let seen = sql::texts(&mut cluster.control(), &statements);
    let has = |what: &str| seen.iter().any(|row| row.contains(what));
    assert!(has("20 true SELECT") && has("20 false SELECT * FROM item") && has("CALL"), "{seen:#?}");
    let log = cluster.log();
    let plans = log
        .split("duration: ")
        .filter(|part| part.contains("Function Scan on find") || part.contains("Seq Scan on item"));
    assert!(plans.count() >= 40, "{log}");
}

#[test]
fn a_call_cannot_hide_behind_another_name() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers_per_database", "1").start();
    let files = Files::new().file(
        "functions/rename.pssql",
        "CREATE FUNCTION rename() RETURNS text LANGUAGE sql AS $$ SELECT set_config('application_name', 'innocent', false) $$;\n",
    );
    let platform = Platform::register(&cluster, "hidden", &files);
    platform.call("rename", json!([])).ok();
    platform.call("nothing", json!([])).expect(404);
    let names = format!("SELECT application_name FROM pg_stat_activity WHERE datname = '{}'", platform.database());
    eventually("its name is ours again", || {
        let seen = sql::texts(&mut cluster.control(), &names);
        check(seen.iter().all(|name| name == "stonescriptdb"), format!("{seen:?}"))
    });
}
