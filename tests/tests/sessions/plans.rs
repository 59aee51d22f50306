//! What an executor remembers of functions and plans is the same whatever search_path a caller set, and whatever it put in its way.

use acceptance::{Cluster, Files, Platform, sql};
use serde_json::{Value, json};

/// In two schemas: a table that functions name without one, and functions of the same name.
fn files() -> Files {
    Files::new()
        .file("tables/public.pssql", "CREATE TABLE marker (who text NOT NULL);\n")
        .file("seeders/marker.pssql", "INSERT INTO marker VALUES ('public');\n")
        .file("tables/other.pssql", "CREATE SCHEMA other;\nCREATE TABLE other.marker (who text NOT NULL);\n")
        .file("seeders/other.pssql", "INSERT INTO other.marker VALUES ('other');\n")
        .file(
            "functions/all.pssql",
            "CREATE FUNCTION path(p text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('search_path', p, false); END $$;
             CREATE FUNCTION in_the_way() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
                 CREATE TEMP TABLE marker AS SELECT 'temporary'::text AS who; END $$;
             CREATE FUNCTION planned() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT who FROM marker); END $$;
             CREATE FUNCTION inlined() RETURNS SETOF text STABLE LANGUAGE sql AS 'SELECT who FROM marker';
             CREATE FUNCTION nested() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT inlined()); END $$;
             CREATE FUNCTION which() RETURNS text LANGUAGE sql AS $$ SELECT 'public' $$;
             CREATE FUNCTION other.which() RETURNS text LANGUAGE sql AS $$ SELECT 'other' $$;
             CREATE FUNCTION other.only_there() RETURNS text LANGUAGE sql AS $$ SELECT 'other' $$;
            ",
        )
}

fn grant(platform: &Platform) {
    let role = platform.call_role();
    sql::done(platform.connect().batch_execute(&format!(
        "GRANT USAGE ON SCHEMA other TO {role}; GRANT SELECT ON other.marker TO {role}; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA other TO {role}"
    )));
}

const READERS: [&str; 3] = ["planned", "inlined", "nested"];

#[test]
fn a_search_path_of_one_call_is_not_in_the_plans_of_the_next() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers_per_database", "1").start();
    let platform = Platform::register(&cluster, "path", &files());
    grant(&platform);
    let read = |when: &str| {
        for reader in READERS {
            assert_eq!(platform.call(reader, json!([])).value(), "public", "{reader}, {when}");
        }
    };
    let batch = |calls: Value| {
        cluster.http().post_json("/call/batch", &json!({"platform": platform.name, "calls": calls})).ok()
    };
    let first = |answer: &acceptance::Answer, place: usize, column: &str| {
        answer.json["results"][place]["rows"][0][column].clone()
    };

    // The plans are made under a path that the caller chose, and used by the next one; and the other way round.
    for turn in 0..3 {
        for reader in READERS {
            let answer = batch(json!([{"function": "path", "params": ["other, public"]}, {"function": reader}]));
            assert_eq!(first(&answer, 1, reader), "other", "{reader}, turn {turn}: {answer}");
            let answer = batch(json!([{"function": "in_the_way"}, {"function": reader}]));
            assert_eq!(first(&answer, 1, reader), "temporary", "{reader}, turn {turn}: {answer}");
        }
        read(&format!("turn {turn}"));
    }
    for _ in 0..10 {
        platform.call("path", json!(["other, public"])).ok();
        platform.call("in_the_way", json!([])).ok();
        read("call by call");
    }
}

/// What an earlier call of a batch set decided what a name meant, and that was remembered for everybody.
#[test]
fn names_of_functions_do_not_depend_on_what_a_caller_set() {
    let cluster = Cluster::builder().setting("stonescriptdb.max_workers_per_database", "1").start();
    let platform = Platform::register(&cluster, "names", &files());
    grant(&platform);
    let calls = json!([{"function": "path", "params": ["other"]}, {"function": "which"}, {"function": "other.which"}]);
    for _ in 0..2 {
        let answer = cluster.http().post_json("/call/batch", &json!({"platform": platform.name, "calls": calls})).ok();
        let results = answer.array("results");
        assert_eq!(results[1]["rows"], json!([{"which": "public"}]), "{answer}");
        assert_eq!(results[2]["rows"], json!([{"which": "other"}]), "{answer}");
        assert_eq!(platform.call("which", json!([])).value(), "public");
        assert_eq!(platform.call("other.which", json!([])).value(), "other");
    }
    let calls = json!([{"function": "path", "params": ["other"]}, {"function": "only_there"}]);
    let answer = cluster.http().post_json("/call/batch", &json!({"platform": platform.name, "calls": calls}));
    answer.error(404, "function_not_found").field("failed_call", 1);
    platform.call("only_there", json!([])).error(404, "function_not_found");
}
