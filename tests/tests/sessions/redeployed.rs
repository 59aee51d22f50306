//! Calls at full speed while what they call is deployed anew: every answer is of a version that was there, or a clear 404.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use acceptance::sql::texts;
use acceptance::wait::{check, eventually};
use acceptance::{Answer, Cluster, Files, Platform};
use serde_json::{Value, json};

/// Calls on `threads` connections until `deploy` is done. What is not `good` is told, each kind of answer once.
fn under_load(platform: &Platform, calls: &[(&str, Value)], good: fn(&str, &Answer) -> bool, deploy: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let wrong: Mutex<BTreeMap<String, (usize, String)>> = Mutex::new(BTreeMap::new());
    let seen: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());
    let http = platform.cluster.http();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (over, wrong, seen, http) = (&over, &wrong, &seen, &http);
            scope.spawn(move || {
                let mut wire = http.wire();
                for turn in thread.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let (function, params) = &calls[turn % calls.len()];
                    wire.send(&http.call_bytes(&platform.name, function, params)).expect("sent");
                    let answer = wire.read_answer("POST").expect("an answer");
                    let kind = match answer.status {
                        200 => format!("{function}: {}", answer.json["rows"]),
                        status => format!(
                            "{function}: {status} {} {} {}",
                            answer.code(),
                            answer.json["sqlstate"],
                            answer.json["message"]
                        ),
                    };
                    if !good(function, &answer) {
                        wrong.lock().expect("lock").entry(kind.clone()).or_insert_with(|| (0, answer.to_string())).0 +=
                            1;
                    }
                    *seen.lock().expect("lock").entry(kind).or_default() += 1;
                }
            });
        }
        // Also when a deployment fails, so that the threads end and the failure is seen.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&over);
        deploy();
    });
    let seen = seen.into_inner().expect("lock");
    println!("{} answers: {seen:#?}", seen.values().sum::<usize>());
    let wrong = wrong.into_inner().expect("lock");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Deploys one after the other, again and again for some seconds.
fn in_turns(platform: &Platform, versions: &[Files]) {
    let start = Instant::now();
    let mut turns = 0;
    while start.elapsed() < Duration::from_secs(4) || turns < 1 {
        for version in versions {
            let answer = platform.cluster.http().migrate(&platform.name, None, &version.tar_gz(), &[("force", "true")]);
            answer.ok();
        }
        turns += 1;
    }
    println!("{turns} turns of {} deployments in {:?}", versions.len(), start.elapsed());
}

fn not_found(answer: &Answer) -> bool {
    answer.status == 404 && answer.code() == "function_not_found"
}

fn functions(sql: &str) -> Files {
    Files::new().file("functions/all.pssql", sql).file("tables/t.pssql", "CREATE TABLE t (i int PRIMARY KEY);\n")
}

#[test]
fn a_function_redeployed_under_load() {
    let cluster = Cluster::start();
    let keep = "CREATE FUNCTION keep() RETURNS int LANGUAGE sql AS 'SELECT 1';\n";
    let helper = |n: i32| format!("CREATE FUNCTION helper(a{n} int) RETURNS int LANGUAGE sql AS 'SELECT {n}';\n");
    let version = |f: &str| functions(&format!("{keep}{f}"));
    let versions = [
        // The body alone changes, and that of what it calls.
        version(&format!(
            "{}CREATE FUNCTION f(a int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN helper(a1 => a); END $$;\n",
            helper(1)
        )),
        // A parameter of what it calls has another name, so both are dropped and made anew.
        version(&format!(
            "{}CREATE FUNCTION f(a int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN helper(a2 => a); END $$;\n",
            helper(2)
        )),
        // Another type is returned.
        version("CREATE FUNCTION f(a int) RETURNS TABLE (v text, w int) LANGUAGE sql AS $$ SELECT 'three', a $$;\n"),
        version(
            "CREATE FUNCTION f(a int) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN NEXT 'four'; END $$;\n",
        ),
        // It is gone.
        version(""),
        // Its parameter has another name, another type, a default.
        version("CREATE FUNCTION f(b int) RETURNS int LANGUAGE sql AS 'SELECT 6';\n"),
        version("CREATE FUNCTION f(a bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 7::bigint';\n"),
        version("CREATE FUNCTION f(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT 8';\n"),
        version("CREATE PROCEDURE f(a int, OUT f int) LANGUAGE plpgsql AS $$ BEGIN f := 9; END $$;\n"),
    ];
    let platform = Platform::register(&cluster, "redeployed", &versions[0]);
    let calls = [("f", json!([1])), ("f", json!({"a": 1})), ("f", json!({"b": 1})), ("keep", json!([]))];
    let good = |function: &str, answer: &Answer| {
        if function == "keep" {
            return answer.status == 200 && answer.json["rows"] == json!([{"keep": 1}]);
        }
        let known = [1, 2, 6, 7, 8, 9].map(|n| json!([{"f": n}]));
        let rows = &answer.json["rows"];
        not_found(answer)
            || answer.status == 200
                && (known.contains(rows) || *rows == json!([{"f": "four"}]) || *rows == json!([{"v": "three", "w": 1}]))
    };
    under_load(&platform, &calls, good, || in_turns(&platform, &versions));
}

#[test]
fn a_type_changed_under_load() {
    let cluster = Cluster::start();
    let version = |pair: &str, moods: &str, body: &str| {
        Files::new()
            .file("types/mood.pssql", format!("CREATE TYPE mood AS ENUM ({moods});\nCREATE TYPE pair AS ({pair});\n"))
            .file("tables/t.pssql", "CREATE TABLE t (i int PRIMARY KEY);\n")
            .file("functions/all.pssql", body)
    };
    let echoes = "CREATE FUNCTION feel(m mood) RETURNS mood LANGUAGE plpgsql AS $$ BEGIN RETURN m; END $$;
         CREATE FUNCTION moods() RETURNS SETOF mood LANGUAGE sql AS 'SELECT unnest(enum_range(NULL::mood))';
         CREATE FUNCTION echo(p pair) RETURNS pair LANGUAGE plpgsql AS $$ BEGIN RETURN p; END $$;
         CREATE FUNCTION list(p pair[]) RETURNS SETOF pair LANGUAGE sql AS 'SELECT * FROM unnest(p)';\n";
    let versions = [
        version("a int, b text", "'a', 'b'", echoes),
        version("a int, b text, c numeric", "'a', 'b', 'c'", echoes),
        version(
            "a bigint, b text, c numeric",
            "'a', 'b', 'c', 'd'",
            &echoes.replace("RETURN m;", "RETURN coalesce(m, 'a');"),
        ),
        version("a bigint, c numeric", "'a', 'b', 'c', 'd', 'e'", echoes),
    ];
    let platform = Platform::register(&cluster, "retyped", &versions[0]);
    let calls = [
        ("feel", json!(["a"])),
        ("feel", json!(["c"])),
        ("moods", json!([])),
        ("echo", json!([{"a": 1}])),
        ("list", json!([[{"a": 1}, null]])),
    ];
    let good = |function: &str, answer: &Answer| {
        let rows = &answer.json["rows"];
        let pairs = [json!({"a": 1, "b": null}), json!({"a": 1, "b": null, "c": null}), json!({"a": 1, "c": null})];
        match function {
            // Before there is such a value, it is none.
            "feel" if answer.status == 422 => answer.json["sqlstate"] == "22P02" && answer.text.contains("\\\"c\\\""),
            "feel" => [json!([{"feel": "a"}]), json!([{"feel": "c"}])].contains(rows),
            "moods" => rows.as_array().is_some_and(|rows| (2..=5).contains(&rows.len())),
            _ => rows.as_array().is_some_and(|rows| pairs.contains(&rows[0])),
        }
    };
    under_load(&platform, &calls, good, || {
        for version in &versions {
            platform.cluster.http().migrate(&platform.name, None, &version.tar_gz(), &[("force", "true")]).ok();
            std::thread::sleep(Duration::from_millis(300));
        }
    });
}

/// A call that is under way when what its body is about to use becomes another one is begun anew, with the new body.
#[test]
fn a_deployment_in_the_middle_of_a_call() {
    let cluster = Cluster::start();
    // The old body waits until the new catalog is there, and then uses what is gone.
    let waiting = |function: &str, until: &str, then: &str| {
        format!(
            "CREATE FUNCTION {function}() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_advisory_xact_lock(4711);
                 WHILE NOT EXISTS ({until}) LOOP PERFORM pg_sleep(0.01); END LOOP;
                 RETURN ({then});
             END $$;\n"
        )
    };
    let renamed = "SELECT FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'newer'";
    let parameter = "SELECT FROM pg_proc WHERE proname = 'helper' AND proargnames = '{b}'";
    let old = Files::new().file("tables/t.pssql", "CREATE TABLE t (older int);\n").file(
        "functions/all.pssql",
        "CREATE FUNCTION helper(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';\n".to_owned()
            + &waiting("by_function", parameter, "SELECT helper(a => 1)")
            + &waiting("by_column", renamed, "SELECT count(older) FROM t"),
    );
    let new =
        Files::new().file("tables/t.pssql", "CREATE TABLE t (\n    -- @renamed from=older\n    newer int\n);\n").file(
            "functions/all.pssql",
            "CREATE FUNCTION helper(b int) RETURNS int LANGUAGE sql AS 'SELECT 2';
         CREATE FUNCTION by_function() RETURNS int LANGUAGE sql AS 'SELECT helper(b => 1)';
         CREATE FUNCTION by_column() RETURNS int LANGUAGE sql AS 'SELECT 2 + count(newer)::int FROM t';\n",
        );
    for function in ["by_function", "by_column"] {
        for batch in [false, true] {
            let platform = Platform::register(&cluster, "midst", &old);
            std::thread::scope(|scope| {
                let call = scope.spawn(|| match batch {
                    false => platform.call(function, json!([])).value(),
                    true => {
                        let body = json!({"platform": platform.name, "calls": [{"function": function}]});
                        let answer = cluster.http().post_json("/call/batch", &body).ok();
                        answer.json["results"][0]["rows"][0][function].clone()
                    }
                });
                let mut client = platform.connect();
                eventually("the call", || {
                    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711
                                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
                    let held = texts(&mut client, locks);
                    check(held == ["1"], format!("{held:?}"))
                });
                platform.migrate(&new).ok();
                assert_eq!(call.join().expect("no panic"), 2, "{function}, batch: {batch}");
            });
        }
    }
}
