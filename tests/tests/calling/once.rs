//! A call that fails by itself is run once: what of it no rollback takes back, the numbers of a sequence, is not done three times.

use acceptance::{Cluster, Files, Platform, sql};
use serde_json::json;

#[test]
fn a_function_with_a_temporary_table_that_fails_for_a_missing_object_runs_once() {
    // Alone: what others change at the same time may be why a call fails.
    let cluster = Cluster::builder().setting("autovacuum", "off").start();
    let files = Files::new()
        .file("tables/runs.pssql", "CREATE SEQUENCE runs;\n")
        .file(
            "functions/scratch.pssql",
            "CREATE FUNCTION scratch() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n    PERFORM nextval('runs');\n    \
             CREATE TEMP TABLE scratch_rows (id int) ON COMMIT DROP;\n    EXECUTE 'SELECT nope FROM scratch_rows';\n    RETURN 1;\nEND $$;\n",
        );
    let platform = Platform::register(&cluster, "once", &files);
    for calls in 1..=3 {
        platform.call("scratch", json!([])).error(500, "query_failed").field("sqlstate", "42703");
        let runs = sql::text(&mut platform.connect(), "SELECT last_value FROM runs");
        assert_eq!(runs, calls.to_string(), "the function ran once for each call");
    }
}
