//! Procedures that commit and roll back inside of their call.

use acceptance::{Answer, Cluster, Files, Platform, refused, shared, sql};
use serde_json::{Value, json};

use crate::{LINES, Streamed, check_log, pid};

fn files() -> Files {
    let procedures = [
        (
            "fill",
            "(n int, INOUT done int DEFAULT 0)",
            "FOR i IN 1..n LOOP INSERT INTO kept VALUES (i); done := done + 1; COMMIT; END LOOP;",
        ),
        // Every second row is taken back.
        (
            "half",
            "(n int)",
            "FOR i IN 1..n LOOP INSERT INTO kept VALUES (i); IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF; END LOOP;",
        ),
        // A row twice: an error, after n commits.
        (
            "fail_after",
            "(n int, code text)",
            "FOR i IN 1..n LOOP INSERT INTO kept VALUES (i); COMMIT; END LOOP;\n\
            INSERT INTO kept VALUES (1000); RAISE EXCEPTION 'enough' USING ERRCODE = code, DETAIL = 'The reason.';",
        ),
        (
            "flaky",
            "(times int, INOUT try bigint DEFAULT 0)",
            "try := nextval('tries'); ROLLBACK;\n\
            IF try <= times THEN RAISE EXCEPTION 'not yet' USING ERRCODE = '40001'; END IF; INSERT INTO kept VALUES (try); COMMIT;",
        ),
        // Arguments, variables and settings outlive a transaction.
        (
            "remember",
            "(a text, b int[], c kept, INOUT said text DEFAULT NULL)",
            "COMMIT; said := a || b[2] || c.id; ROLLBACK;\n\
            said := said || current_setting('request.method') || current_setting('request.tenant') || length(a) || a; COMMIT;",
        ),
        (
            "cursor",
            "(broken boolean)",
            "FOR row IN SELECT i FROM generate_series(1, 5) AS i LOOP INSERT INTO kept VALUES (row.i); COMMIT;\n\
            IF broken AND row.i = 3 THEN RAISE 'in the loop'; END IF; END LOOP;",
        ),
        ("caught", "()", "BEGIN INSERT INTO kept VALUES (1); COMMIT; EXCEPTION WHEN division_by_zero THEN NULL; END;"),
        ("late", "()", "INSERT INTO kept VALUES (7); COMMIT; INSERT INTO deferred VALUES (1), (1);"),
        ("late_inside", "()", "INSERT INTO kept VALUES (7); COMMIT; INSERT INTO deferred VALUES (1), (1); COMMIT;"),
        (
            "endless",
            "()",
            "LOOP PERFORM pg_sleep(0.01); INSERT INTO kept VALUES ((SELECT count(*) FROM kept)); COMMIT; END LOOP;",
        ),
        ("nested", "()", "CALL half(4); INSERT INTO kept VALUES (99); COMMIT;"),
        (
            "leave",
            "()",
            "CREATE TEMP TABLE rest (i int) ON COMMIT PRESERVE ROWS; COMMIT; PERFORM set_config('work_mem', '1MB', false);\n\
            PERFORM pg_advisory_lock(4711); COMMIT;",
        ),
        (
            "drops",
            "()",
            "CREATE TEMP TABLE gone (i int); INSERT INTO gone VALUES (1); COMMIT; DROP TABLE gone; COMMIT;",
        ),
    ];
    let files = Files::new()
        .file("tables/kept.pssql", "CREATE SEQUENCE tries;\nCREATE TABLE kept (id int PRIMARY KEY);\n")
        .file("tables/deferred.pssql", "CREATE TABLE deferred (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);\n")
        .file("functions/f.pssql", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n")
        .file("functions/definer.pssql", "CREATE PROCEDURE definer() LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN COMMIT; END $$;\n")
        .file("functions/wrap.pssql", "CREATE FUNCTION wrap() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL half(2); END $$;\n")
        .file("functions/left_over.pssql", "CREATE FUNCTION left_over() RETURNS text LANGUAGE sql AS\n\
            $$ SELECT concat_ws(',', to_regclass('rest'), to_regclass('gone'), current_setting('work_mem'),\n\
                                (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND pid = pg_backend_pid())) $$;\n");
    procedures.iter().fold(files, |files, (name, parameters, body)| {
        let declare = if *name == "cursor" { "DECLARE row record;\n" } else { "" };
        let sql =
            format!("CREATE PROCEDURE {name}{parameters} LANGUAGE plpgsql AS $$\n{declare}BEGIN\n{body}\nEND $$;\n");
        files.file(&format!("functions/{name}.pssql"), sql)
    })
}

fn platform<'a>(cluster: &'a Cluster, name: &str) -> Platform<'a> {
    Platform::register(cluster, name, &files())
}

/// What is kept, and starts anew.
fn kept(platform: &Platform) -> Vec<String> {
    sql::texts(&mut platform.connect(), "WITH gone AS (DELETE FROM kept RETURNING id) SELECT id FROM gone ORDER BY id")
}

fn retried(platform: &Platform, function: &str, params: Value) -> Answer {
    let body = json!({"platform": platform.name, "function": function, "params": params, "retry": true});
    platform.cluster.http().post_json("/call", &body)
}

#[test]
fn a_procedure_commits_and_rolls_back() {
    let cluster = shared();
    let platform = platform(&cluster, "commits");
    let before = pid(&platform);
    for _ in 0..2 {
        assert_eq!(platform.call("fill", json!([3])).row(), json!({"done": 3}));
        assert_eq!(kept(&platform), ["1", "2", "3"]);
        assert_eq!(platform.call("half", json!({"n": 4})).rows(), Vec::<Value>::new());
        assert_eq!(kept(&platform), ["2", "4"]);
    }
    platform.call("nested", json!([])).ok();
    assert_eq!(kept(&platform), ["2", "4", "99"]);
    platform.call("cursor", json!([false])).ok();
    assert_eq!(kept(&platform), ["1", "2", "3", "4", "5"]);
    platform.call("drops", json!([])).ok();
    // Over SQL it is the same; the caller's own transaction is another matter.
    let mut control = cluster.control();
    let answer = sql::call(&mut control, &platform.name, None, "fill", &json!([2])).expect("the call");
    assert_eq!(answer["rows"], json!([{"done": 2}]));
    assert_eq!(kept(&platform), ["1", "2"]);
    assert_eq!(Streamed::of(&platform, "fill", json!([2])).rows(), [json!({"done": 2})]);
    assert_eq!(kept(&platform), ["1", "2"]);
    assert_eq!(pid(&platform), before, "it was one executor all the time");
    check_log(&cluster);
}

#[test]
fn arguments_and_the_request_outlive_a_transaction() {
    let cluster = shared();
    let platform = platform(&cluster, "remembers");
    for length in [1, 5_000, 500_000] {
        let a = "a".repeat(length);
        let answer = platform.call("remember", json!([a, [7, 8], {"id": 9}])).row();
        assert_eq!(answer["said"], format!("{a}89POSTmain{length}{a}"));
    }
    check_log(&cluster);
}

#[test]
fn what_was_committed_stays_when_the_rest_fails() {
    let cluster = shared();
    let platform = platform(&cluster, "partly");
    let before = pid(&platform);
    let answer = platform.call("fail_after", json!([2, "P0001"])).error(400, "query_failed");
    answer.says("The reason.\\nThe procedure had committed 2 times before: that stays.");
    assert_eq!(kept(&platform), ["1", "2"]);
    let answer =
        platform.call("fail_after", json!([0, "P0001"])).error(400, "query_failed").field("detail", "The reason.");
    assert!(!answer.text.contains("stays"), "{answer}");
    assert_eq!(kept(&platform), Vec::<String>::new());
    platform.call("cursor", json!([true])).error(400, "query_failed").says("committed 3 times");
    assert_eq!(kept(&platform), ["1", "2", "3"]);
    for late in ["late", "late_inside"] {
        let answer = platform.call(late, json!([])).error(409, "query_failed").field("sqlstate", "23505");
        answer.says("committed once before: that stays");
        assert_eq!(kept(&platform), ["7"]);
    }
    assert_eq!(pid(&platform), before);
    check_log(&cluster);
}

#[test]
fn it_is_tried_again_only_if_nothing_was_committed() {
    let cluster = shared();
    let platform = platform(&cluster, "again");
    let answer = retried(&platform, "flaky", json!([2])).ok().field("retries", 2);
    assert_eq!(answer.row()["try"], 3);
    assert_eq!(kept(&platform), ["3"]);
    let answer = retried(&platform, "fail_after", json!([1, "40001"])).error(409, "query_failed");
    answer.field("sqlstate", "40001").says("committed once");
    // A second attempt would have failed otherwise: the row is there.
    assert_eq!(kept(&platform), ["1"]);
    check_log(&cluster);
}

#[test]
fn where_the_transaction_is_not_its_own_it_cannot_end_it() {
    let cluster = shared();
    let platform = platform(&cluster, "notown");
    let no = |answer: Answer| drop(answer.error(500, "query_failed").field("sqlstate", "2D000"));
    let calls = json!([{"function": "f"}, {"function": "fill", "params": [2]}]);
    no(cluster
        .http()
        .post_json("/call/batch", &json!({"platform": platform.name, "calls": calls}))
        .field("failed_call", 1));
    no(platform.call("wrap", json!([])));
    // As in PostgreSQL: not from a procedure with rights of its own, and not inside of an exception's block.
    no(platform.call("definer", json!([])));
    no(platform.call("caught", json!([])));
    let get = cluster.http().header("Accept", LINES).get(&format!("/call/{}/fill?n=2", platform.name));
    get.error(405, "method_not_allowed");
    assert_eq!(kept(&platform), Vec::<String>::new());
    let mut control = cluster.control();
    refused(sql::call(&mut control, &platform.name, None, "caught", &json!([]))).sqlstate("2D000");
    check_log(&cluster);
}

#[test]
fn its_time_goes_on_through_its_transactions() {
    let cluster = shared();
    let platform = platform(&cluster, "time");
    let before = pid(&platform);
    let http = cluster.http().header("X-Timeout-Ms", "400");
    let answer =
        http.call(&platform.name, None, "endless", json!([])).error(504, "query_failed").field("sqlstate", "57014");
    answer.says("that stays");
    assert!(!kept(&platform).is_empty());
    assert_eq!(pid(&platform), before);
    check_log(&cluster);
}

#[test]
fn nothing_is_left_for_the_next_call() {
    let cluster = shared();
    let platform = platform(&cluster, "leaves");
    let clean = platform.call("left_over", json!([])).value();
    platform.call("leave", json!([])).ok();
    assert_eq!(platform.call("left_over", json!([])).value(), clean);
    check_log(&cluster);
}
