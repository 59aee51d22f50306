//! One executor for all calls; each caller leaves something, ends well, with an error or by its time limit, and the next one looks around.

use acceptance::{Answer, Cluster, Files, Platform};
use serde_json::{Value, json};

/// What a caller does: a name, and statements that a function EXECUTEs.
const DEEDS: &[(&str, &[&str])] = &[
    (
        "plain SET",
        &[
            "SET work_mem = '77MB'",
            "SET enable_seqscan = off",
            "SET statement_timeout = '1ms'",
            "SET lock_timeout = '1ms'",
        ],
    ),
    (
        "SET LOCAL",
        &["SET LOCAL work_mem = '77MB'", "SET LOCAL search_path = other", "SET LOCAL timezone = 'Asia/Kolkata'"],
    ),
    (
        "set_config",
        &[
            "SELECT set_config('search_path', 'other, pg_temp', false)",
            "SELECT set_config('app.user', 'mallory', false)",
        ],
    ),
    (
        "settings of the session",
        &[
            "SET timezone = 'Asia/Kolkata'",
            "SET datestyle = 'SQL, DMY'",
            "SET intervalstyle = 'iso_8601'",
            "SET bytea_output = 'escape'",
            "SET extra_float_digits = -15",
            "SET client_encoding = 'LATIN1'",
            "SET plan_cache_mode = force_generic_plan",
            "SET row_security = off",
            "SET default_text_search_config = 'pg_catalog.german'",
            "SET xmloption = document",
            "SET application_name = 'mallory'",
            "SET client_min_messages = debug5",
            "SET quote_all_identifiers = on",
            "SET check_function_bodies = off",
            "SET array_nulls = off",
            "SET transform_null_equals = on",
            "SET lc_monetary = 'C'",
            "SET default_toast_compression = 'pglz'",
            "SET geqo_seed = 0.7",
            "SET jit = off",
            "SET constraint_exclusion = off",
            "SET idle_in_transaction_session_timeout = '1ms'",
            "SET idle_session_timeout = '1ms'",
            "SET synchronous_commit = off",
            "SET temp_buffers = '2MB'",
            "SET gin_fuzzy_search_limit = 1",
            "SET backslash_quote = off",
            "SET escape_string_warning = off",
        ],
    ),
    (
        "settings of transactions",
        &[
            "SET default_transaction_read_only = on",
            "SET default_transaction_isolation = 'serializable'",
            "SET default_transaction_deferrable = on",
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        ],
    ),
    (
        "itself as a role",
        &["SET ROLE NONE", "SET SESSION AUTHORIZATION DEFAULT", "SELECT set_config('role', session_user, false)"],
    ),
    (
        "temporary things",
        &[
            "CREATE TEMP TABLE marker AS SELECT 'temporary'::text AS who",
            "CREATE TEMP TABLE kept (i serial) ON COMMIT PRESERVE ROWS",
            "INSERT INTO kept DEFAULT VALUES",
            "CREATE TEMP TABLE emptied (i int) ON COMMIT DELETE ROWS",
            "CREATE TEMP VIEW v AS SELECT 1",
            "CREATE TEMP SEQUENCE counter",
            "SELECT nextval('pg_temp.counter')",
            "CREATE TYPE pg_temp.t AS ENUM ('a')",
            "CREATE FUNCTION pg_temp.hidden() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE TYPE pg_temp.pair AS (a int)",
        ],
    ),
    (
        "locks",
        &[
            "SELECT pg_advisory_lock(1)",
            "SELECT pg_advisory_lock(1)",
            "SELECT pg_advisory_lock_shared(2)",
            "SELECT pg_advisory_lock(3, 4)",
            "SELECT pg_try_advisory_lock(5)",
            "SELECT pg_advisory_xact_lock(6)",
            "LOCK TABLE public.marker IN ROW EXCLUSIVE MODE",
        ],
    ),
    ("statements", &["PREPARE a AS SELECT 1", "PREPARE b (int) AS SELECT $1", "EXECUTE b(1)", "DEALLOCATE a"]),
    (
        "cursors",
        &[
            "DECLARE held CURSOR WITH HOLD FOR SELECT * FROM public.marker",
            "DECLARE scrolled SCROLL CURSOR WITH HOLD FOR SELECT 1",
            "DECLARE plain CURSOR FOR SELECT 1",
            "DECLARE again BINARY CURSOR WITH HOLD FOR SELECT generate_series(1, 1000)",
        ],
    ),
    ("sequences", &["SELECT nextval('public.counter')", "SELECT setval('public.counter', 1000)"]),
    ("large objects", &["SELECT lo_open(lo_create(0), 393216)", "SELECT lo_open(lo_create(0), 393216)"]),
    ("a snapshot", &["SELECT pg_export_snapshot()"]),
    ("constraints", &["SET CONSTRAINTS ALL DEFERRED"]),
    ("a notification", &["NOTIFY things, 'payload'", "UNLISTEN *"]),
];

/// What a caller must not get away with, and what it is told.
const REFUSED: &[(&str, &str)] = &[
    ("LISTEN things", "0A000"),
    ("SET ROLE postgres", "42501"),
    ("SET SESSION AUTHORIZATION postgres", "42501"),
    ("SELECT set_config('role', 'postgres', false)", "42501"),
    ("SELECT set_config('session_authorization', 'postgres', false)", "42501"),
    ("SET session_replication_role = replica", "42501"),
    ("SET log_statement = 'none'", "42501"),
    ("SET zero_damaged_pages = on", "42501"),
    ("SET stonescriptdb.call_timeout = 0", "55P02"),
    ("ALTER SYSTEM SET work_mem = '1GB'", "25001"),
    ("ALTER ROLE CURRENT_USER SET work_mem = '1GB'", "42501"),
    ("DISCARD ALL", "25001"),
    ("CREATE TABLE public.mine (i int)", "42501"),
];

fn files() -> Files {
    Files::new()
        .file(
            "tables/all.pssql",
            "CREATE TABLE marker (who text NOT NULL);\nCREATE SEQUENCE counter;\n\
             CREATE TABLE parent (id int PRIMARY KEY);\n\
             CREATE TABLE child (parent int REFERENCES parent (id) DEFERRABLE);\n",
        )
        .file("seeders/marker.pssql", "INSERT INTO marker VALUES ('public');\n")
        .file(
            "functions/all.pssql",
            "CREATE FUNCTION act(statements text[], finally text) RETURNS int LANGUAGE plpgsql AS $$
             DECLARE s text;
             BEGIN
                 FOREACH s IN ARRAY statements LOOP EXECUTE s; END LOOP;
                 IF finally = 'error' THEN RAISE EXCEPTION 'in the middle'; END IF;
                 IF finally = 'sleep' THEN PERFORM set_config('statement_timeout', '0', true), pg_sleep(20); END IF;
                 RETURN pg_backend_pid();
             END $$;

             CREATE FUNCTION state_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
             DECLARE answer text;
             BEGIN EXECUTE statement INTO answer; RETURN answer;
             EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$;

             CREATE FUNCTION look() RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object(
                 'settings', (SELECT jsonb_object_agg(name, jsonb_build_array(setting, source)) FROM pg_settings),
                 'of my own', coalesce(current_setting('app.user', true), ''),
                 'roles', jsonb_build_array(current_user, session_user, current_setting('role')),
                 'temporary', (SELECT jsonb_agg(relname) FROM pg_class WHERE relnamespace = pg_my_temp_schema()),
                 'functions', (SELECT jsonb_agg(proname) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()),
                 'types', (SELECT jsonb_agg(typname) FROM pg_type WHERE typnamespace = pg_my_temp_schema()),
                 'locks', (SELECT jsonb_agg(objid) FROM pg_locks WHERE locktype = 'advisory'),
                 'statements', (SELECT jsonb_agg(name) FROM pg_prepared_statements),
                 'cursors', (SELECT jsonb_agg(name) FROM pg_cursors WHERE is_holdable),
                 'channels', (SELECT jsonb_agg(c) FROM pg_listening_channels() c),
                 'lastval', state_of('SELECT lastval()'), 'currval', state_of($s$SELECT currval('public.counter')$s$),
                 'descriptor', state_of('SELECT lo_tell(0)'),
                 'marker', state_of('SELECT who FROM marker'), 'named statement', state_of('EXECUTE b(1)'),
                 'fetched', state_of('FETCH held'), 'writes', state_of('INSERT INTO public.marker SELECT FROM marker WHERE false'),
                 'instant', state_of($s$SELECT timestamptz '2024-01-01 00:00+00'$s$), 'isolation', current_setting('transaction_isolation'),
                 'only reads', current_setting('transaction_read_only'), 'temp_buffers', state_of($s$SET LOCAL temp_buffers = '8MB'$s$)) $$;

             CREATE FUNCTION chance() RETURNS float8 LANGUAGE sql AS 'SELECT random()';
             CREATE FUNCTION chance_after(seed float8) RETURNS float8 LANGUAGE sql AS 'SELECT random() FROM setseed(seed)';
            ",
        )
}

/// An executor that all calls of a test share.
fn one_executor() -> Cluster {
    Cluster::builder().setting("stonescriptdb.max_workers_per_database", "1").start()
}

#[test]
fn the_next_caller_sees_none_of_it() {
    let cluster = one_executor();
    let platform = Platform::register(&cluster, "hostile", &files());
    let pid = |answer: Answer| answer.ok().value();
    let mine = pid(platform.call("act", json!([[], "go"])));
    let clean = platform.call("look", json!([])).value();
    let mut wrong = Vec::new();
    for (name, statements) in DEEDS {
        for finally in ["go", "error", "sleep"] {
            let body = json!({"platform": platform.name, "function": "act", "params": [statements, finally]});
            let answer = match finally {
                "sleep" => {
                    cluster.http().header("X-Timeout-Ms", "200").post_json("/call", &body).error(504, "query_failed")
                }
                "error" => cluster.http().post_json("/call", &body).error(400, "query_failed").says("in the middle"),
                _ => cluster.http().post_json("/call", &body).ok(),
            };
            let seen = platform.call("look", json!([])).value();
            for (what, value) in differences(&clean, &seen) {
                wrong.push(format!("after {name} ({finally}), {what} is {value}\n{}", answer.status));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(pid(platform.call("act", json!([[], "go"]))), mine, "it was one session all the time");
}

fn differences(clean: &Value, seen: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (what, value) in seen.as_object().into_iter().flatten() {
        if what == "settings" {
            let both = value.as_object().into_iter().flatten();
            let other = both.filter(|(name, value)| clean["settings"][*name] != **value);
            found.extend(other.map(|(name, value)| (name.clone(), value.clone())));
        } else if clean[what] != *value {
            found.push((what.clone(), value.clone()));
        }
    }
    found
}

#[test]
fn what_reaches_out_of_the_session_is_refused() {
    let cluster = one_executor();
    let platform = Platform::register(&cluster, "reach", &files());
    let clean = platform.call("look", json!([])).value();
    for (statement, sqlstate) in REFUSED {
        let answer = platform.call("act", json!([[statement], "go"]));
        assert!(answer.status >= 400 && answer.str("sqlstate") == *sqlstate, "{statement}: {sqlstate}, but {answer}");
        let seen = platform.call("look", json!([])).value();
        assert_eq!(differences(&clean, &seen), [], "after {statement}");
    }
}

#[test]
fn a_seed_is_not_left_to_the_next_caller() {
    let cluster = one_executor();
    let platform = Platform::register(&cluster, "seed", &files());
    let number = |function: &str, params: Value| platform.call(function, params).value().as_f64().expect("a number");
    // With its own seed a caller gets what it asks for.
    let first = number("chance_after", json!([0.25]));
    let mut after = vec![number("chance", json!([]))];
    assert_eq!(number("chance_after", json!([0.25])), first);
    after.push(number("chance", json!([])));
    platform.call("act", json!([["SET seed = 0.25", "SELECT setseed(0.25)"], "go"])).ok();
    after.push(number("chance", json!([])));
    platform.call("act", json!([["SELECT setseed(0.25)"], "error"])).error(400, "query_failed");
    after.push(number("chance", json!([])));
    assert!(
        !after.contains(&first) && after[0] != after[1] && after[1] != after[2] && after[2] != after[3],
        "{after:?}"
    );
}

#[test]
fn nothing_is_left_of_a_batch_or_of_an_attempt_that_is_repeated() {
    let cluster = one_executor();
    let platform = Platform::register(&cluster, "left", &files());
    let clean = platform.call("look", json!([])).value();
    for (name, statements) in DEEDS {
        for last in ["go", "error"] {
            let calls = json!([
                {"function": "act", "params": [statements, "go"]}, {"function": "look"}, {"function": "act", "params": [[], last]}]);
            let answer = cluster
                .http()
                .post_json("/call/batch", &json!({"platform": platform.name, "calls": calls, "retry": true}));
            // What a caller set holds in its own batch: that all this comes to an end there is none of its right.
            assert!(answer.status < 500 || answer.json["failed_call"] == 1, "{name}: {answer}");
            assert_eq!(differences(&clean, &platform.call("look", json!([])).value()), [], "after {name} ({last})");
        }
    }
}
