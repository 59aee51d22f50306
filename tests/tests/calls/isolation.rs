//! Between two calls of one executor nothing is carried over, whatever the first did and however it ended.

use acceptance::{Answer, Cluster, Files, Platform};
use serde_json::{Value, json};

/// `leak…` leave something behind in their session; `look` tells what it finds.
fn leaking() -> Files {
    let leave = "PERFORM set_config('work_mem', '77MB', false);
                 PERFORM set_config('search_path', 'pg_temp, public', false);
                 PERFORM set_config('timezone', 'Asia/Kolkata', false);
                 PERFORM set_config('role', 'none', false);
                 PERFORM set_config('myapp.user_id', '42', false);
                 PERFORM set_config('default_transaction_read_only', 'on', false);
                 EXECUTE 'CREATE TEMP TABLE left_behind (secret text)';
                 EXECUTE 'CREATE TEMP TABLE kept (id int)';
                 EXECUTE 'INSERT INTO left_behind VALUES (''secret'')';
                 PERFORM pg_advisory_lock(4711);
                 PERFORM pg_advisory_lock_shared(4712);
                 EXECUTE 'PREPARE left_statement AS SELECT 1';
                 EXECUTE 'DECLARE left_cursor CURSOR WITH HOLD FOR SELECT 1';
                 PERFORM nextval('counter');";
    let function = |name: &str, before: &str, after: &str| {
        format!(
            "CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n{before}\n{leave}\n{after}\nEND $$;\n"
        )
    };
    Files::new()
        .file("tables/counter.pssql", "CREATE SEQUENCE counter;\nCREATE TABLE kept (id int PRIMARY KEY);\n")
        .file("functions/leak.pssql", function("leak", "", ""))
        .file("functions/leak_and_fail.pssql", function("leak_and_fail", "", "RAISE EXCEPTION 'no';"))
        .file("functions/leak_and_sleep.pssql", function("leak_and_sleep", "", "PERFORM pg_sleep(60);"))
        .file(
            "functions/look.pssql",
            "CREATE FUNCTION look() RETURNS TABLE (pid int, work_mem text, path text, zone text, read_only text, app text, temp_tables bigint,
                 locks bigint, statements bigint, cursors bigint, who text, session_who text, guc_sources bigint) LANGUAGE sql AS $$
                 SELECT pg_backend_pid(), current_setting('work_mem'), current_setting('search_path'), current_setting('timezone'),
                     current_setting('default_transaction_read_only'), coalesce(current_setting('myapp.user_id', true), ''),
                     (SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND pg_table_is_visible(oid)),
                     (SELECT count(*) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.pid = pg_backend_pid() AND l.objid IN (4711, 4712)),
                     (SELECT count(*) FROM pg_prepared_statements WHERE name = 'left_statement'),
                     (SELECT count(*) FROM pg_cursors WHERE name = 'left_cursor'),
                     current_user::text, session_user::text,
                     (SELECT count(*) FROM pg_settings WHERE name IN ('work_mem', 'timezone', 'default_transaction_read_only') AND source = 'session'
                          AND setting IN ('78848', 'Asia/Kolkata', 'on'))
             $$;\n",
        )
        .file(
            "functions/last_value.pssql",
            "CREATE FUNCTION last_value() RETURNS bigint LANGUAGE sql AS $$ SELECT lastval() $$;\n",
        )
        .file("functions/write.pssql", "CREATE FUNCTION write(i int) RETURNS int LANGUAGE sql AS 'INSERT INTO kept VALUES (i) RETURNING id';\n")
        .file(
            "functions/leave_local.pssql",
            "CREATE FUNCTION leave_local() RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET LOCAL work_mem = '66MB'; EXECUTE 'SET CONSTRAINTS ALL DEFERRED'; END $$;\n",
        )
}

/// An executor that all calls of a test share.
fn one_executor() -> Cluster {
    Cluster::builder()
        .setting("stonescriptdb.max_workers_per_database", "1")
        .setting("stonescriptdb.call_timeout", "2s")
        .start()
}

#[test]
fn nothing_leaks_from_one_call_to_the_next() {
    let cluster = one_executor();
    let platform = Platform::register(&cluster, "leak", &leaking());
    let clean = platform.call("look", json!([])).row();
    assert_eq!((&clean["temp_tables"], &clean["locks"]), (&json!(0), &json!(0)), "{clean}");

    type Expected = fn(Answer) -> Answer;
    let turns: [(&str, Expected); 4] = [
        ("leak", Answer::ok),
        ("leak_and_fail", |answer| answer.error(400, "query_failed")),
        ("leak_and_sleep", |answer| answer.error(504, "query_failed")),
        ("leave_local", Answer::ok),
    ];
    let mut id = 0;
    for (leak, expected) in turns {
        // The second turn also shows that the first left nothing that is in the way: a temporary table, say.
        for turn in 1..=2 {
            expected(platform.call(leak, json!([])));
            let seen = platform.call("look", json!([])).row();
            assert_eq!(seen, clean, "after {leak}, turn {turn}");
            platform.call("last_value", json!([])).error(500, "query_failed").field("sqlstate", "55000");
            id += 1;
            assert_eq!(platform.call("write", json!([id])).value(), id, "after {leak}, turn {turn}");
        }
    }
}

#[test]
fn nothing_leaks_from_a_sql_caller_either() {
    let cluster = one_executor();
    let platform = Platform::register(&cluster, "leaksql", &leaking());
    let clean = platform.call("look", json!([])).row();
    let mut control = cluster.control();
    acceptance::sql::done(
        control.batch_execute("SET timezone = 'Europe/Paris'; SET work_mem = '55MB'; SET search_path = pg_catalog"),
    );
    acceptance::sql::done(acceptance::sql::call(&mut control, &platform.name, None, "leak", &json!([])));
    let seen = acceptance::sql::done(acceptance::sql::call(&mut control, &platform.name, None, "look", &json!([])));
    assert_eq!(seen["rows"][0], clean, "the caller's own settings are not the executor's");
}

#[test]
fn answers_are_not_mixed_up_between_many_callers() {
    let cluster = acceptance::shared();
    let files = Files::new().file(
        "functions/twice.pssql",
        "CREATE FUNCTION twice(i int, pad text) RETURNS TABLE (i2 int, pad2 text) LANGUAGE plpgsql AS $$\nBEGIN\n    \
         IF i % 7 = 0 THEN RAISE EXCEPTION 'seven %', i; END IF;\n    RETURN QUERY SELECT i * 2, pad;\nEND $$;\n",
    );
    let platform = Platform::register(&cluster, "mix", &files);
    std::thread::scope(|scope| {
        for caller in 0..16 {
            let platform = &platform;
            scope.spawn(move || {
                for turn in 0..40 {
                    let i = caller * 1000 + turn;
                    let pad = format!("{i}-").repeat(i as usize % 50 + 1);
                    let answer = platform.call("twice", json!([i, pad]));
                    if i % 7 == 0 {
                        answer.error(400, "query_failed").says(&format!("seven {i}"));
                    } else {
                        assert_eq!(answer.row(), json!({"i2": i * 2, "pad2": pad}), "{answer}");
                    }
                }
            });
        }
    });
}

#[test]
fn a_function_cannot_end_or_split_the_transaction_of_its_call() {
    let cluster = one_executor();
    let try_it = |name: &str, statement: &str| {
        (
            format!("functions/{name}.pssql"),
            format!(
                "CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n    INSERT INTO kept VALUES (1);\n    {statement};\nEND $$;\n"
            ),
        )
    };
    let mut files = Files::new().file("tables/kept.pssql", "CREATE TABLE kept (id int PRIMARY KEY);\n").file(
        "functions/count_kept.pssql",
        "CREATE FUNCTION count_kept() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM kept';\n",
    );
    let attempts = ["COMMIT", "ROLLBACK", "EXECUTE 'COMMIT'", "EXECUTE 'PREPARE TRANSACTION ''x'''"];
    for (i, statement) in attempts.iter().enumerate() {
        let (path, sql) = try_it(&format!("attempt{i}"), statement);
        files = files.file(&path, sql);
    }
    let platform = Platform::register(&cluster, "split", &files);
    for (i, statement) in attempts.iter().enumerate() {
        let answer = platform.call(&format!("attempt{i}"), json!([]));
        assert!(answer.status >= 400 && answer.code() == "query_failed", "{statement}: {answer}");
        assert_eq!(platform.call("count_kept", json!([])).value(), Value::from(0), "after {statement}");
    }
}
