//! Indexes of big tables are built, and constraints validated, without blocking who uses them.

use std::sync::LazyLock;

use acceptance::{Answer, Cluster, Files, Platform, shared, sql};
use serde_json::json;

use crate::{assert_exact, by_hand, check, migrate, warnings};

/// A cluster for which every table with more than a page is big.
fn online() -> &'static Cluster {
    static CLUSTER: LazyLock<Cluster> =
        LazyLock::new(|| Cluster::builder().setting("stonescriptdb.online_table_size", "8kB").start());
    &CLUSTER
}

fn base() -> Files {
    Files::new()
        .file("tables/makers.pssql", "CREATE TABLE makers (id int PRIMARY KEY, name text);\n")
        .file("tables/small.pssql", "CREATE TABLE small (id int PRIMARY KEY, code text);\n")
        .file(
            "tables/items.pssql",
            "CREATE TABLE items (id int PRIMARY KEY, code text NOT NULL, qty int NOT NULL, maker int);\n",
        )
        .file(
            "functions/count_items.pssql",
            "CREATE FUNCTION count_items() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM items';\n",
        )
}

/// Each kind of thing that reads a whole table: what is added to items, the object, and rows that refuse it with how to mend them.
struct Addition {
    sql: &'static str,
    kind: &'static str,
    object: &'static str,
    violation: &'static str,
    mend: &'static str,
}

const ADDITIONS: &[Addition] = &[
    Addition {
        sql: "CREATE UNIQUE INDEX items_code ON items (code);",
        kind: "index",
        object: "items_code",
        violation: "UPDATE items SET code = 'c1' WHERE id = 2",
        mend: "UPDATE items SET code = 'c2' WHERE id = 2",
    },
    Addition {
        sql: "ALTER TABLE items ADD CONSTRAINT items_code_key UNIQUE (code);",
        kind: "constraint",
        object: "items.items_code_key",
        violation: "UPDATE items SET code = 'c1' WHERE id = 2",
        mend: "UPDATE items SET code = 'c2' WHERE id = 2",
    },
    Addition {
        sql: "ALTER TABLE items ADD CONSTRAINT qty_positive CHECK (qty > 0);",
        kind: "constraint",
        object: "items.qty_positive",
        violation: "UPDATE items SET qty = -1 WHERE id = 2",
        mend: "UPDATE items SET qty = 2 WHERE id = 2",
    },
    Addition {
        sql: "ALTER TABLE items ADD CONSTRAINT items_maker FOREIGN KEY (maker) REFERENCES makers (id);",
        kind: "constraint",
        object: "items.items_maker",
        violation: "UPDATE items SET maker = 99 WHERE id = 2",
        mend: "UPDATE items SET maker = 1 WHERE id = 2",
    },
];

fn with(addition: &str) -> Files {
    base().edit("tables/items.pssql", "maker int);", &format!("maker int);\n{addition}"))
}

fn fill(platform: &Platform<'_>) {
    by_hand(
        &mut platform.connect(),
        "INSERT INTO makers VALUES (1, 'm');
         INSERT INTO items SELECT g, 'c' || g, g, 1 FROM generate_series(1, 5000) g; ANALYZE",
    );
}

#[track_caller]
fn plan_of(cluster: &Cluster, platform: &Platform<'_>, files: &Files) -> Answer {
    migrate(cluster, platform, "main", files, &[("dry_run", "true")]).ok()
}

fn transactional(answer: &Answer) -> Vec<bool> {
    answer.array("plan").iter().map(|step| step["transactional"] == json!(true)).collect()
}

const UNFINISHED: &str = "
    SELECT 'index ' || indexrelid::regclass FROM pg_index WHERE NOT (indisvalid AND indisready)
    UNION ALL SELECT 'constraint ' || conname FROM pg_constraint WHERE NOT convalidated";

#[track_caller]
fn assert_finished(cluster: &Cluster, platform: &Platform<'_>, why: &str) {
    let mut client = platform.connect();
    assert_eq!(sql::texts(&mut client, UNFINISHED), Vec::<String>::new(), "{why}");
    assert_eq!(sql::text(&mut client, "SELECT count(*) FROM _stonescriptdb_pending"), "0", "{why}");
    drop(client);
    assert_exact(cluster, platform, "main", why);
}

#[test]
fn what_reads_a_big_table_is_done_without_blocking_it() {
    let cluster = online();
    for addition in ADDITIONS {
        let platform = Platform::register(cluster, "online", &base());
        fill(&platform);
        let files = with(addition.sql);
        let planned = plan_of(cluster, &platform, &files);
        let steps = planned.array("plan");
        assert!(transactional(&planned).contains(&false), "{}: {planned}", addition.sql);
        let word =
            if addition.sql.contains("UNIQUE") || addition.sql.contains("INDEX") { "CONCURRENTLY" } else { "VALIDATE" };
        let outside = steps.iter().find(|step| step["sql"].as_str().is_some_and(|sql| sql.contains(word)));
        assert_eq!(outside.map(|step| &step["transactional"]), Some(&json!(false)), "{}: {planned}", addition.sql);
        platform.migrate(&files).ok().field("status", "completed");
        assert_finished(cluster, &platform, addition.sql);
        // And there it is: nothing to do, and it is enforced.
        assert!(plan_of(cluster, &platform, &files).array("plan").is_empty(), "{}", addition.sql);
        acceptance::refused(platform.connect().batch_execute(addition.violation)).sqlstate("23*");
    }
}

#[test]
fn a_plain_index_on_a_big_table_too() {
    let cluster = online();
    let platform = Platform::register(cluster, "plainidx", &base());
    fill(&platform);
    let files = with(
        "CREATE INDEX items_lower ON items (lower(code)) INCLUDE (qty) WHERE qty > 3;\nCOMMENT ON INDEX items_lower IS 'for looking up';",
    );
    assert!(transactional(&plan_of(cluster, &platform, &files)).contains(&false));
    platform.migrate(&files).ok().field("status", "completed");
    assert_finished(cluster, &platform, "a partial expression index with a comment");
    // Dropped again.
    platform.migrate(&base()).ok().field("status", "completed");
    assert_finished(cluster, &platform, "the index left the bundle");
    assert_eq!(sql::text(&mut platform.connect(), "SELECT to_regclass('items_lower') IS NULL"), "t");
}

#[test]
fn what_is_small_empty_or_new_is_done_in_the_transaction() {
    let small = |files: Files| {
        files
            .edit(
                "tables/small.pssql",
                "code text);",
                "code text, CONSTRAINT c CHECK (code <> ''));\nCREATE UNIQUE INDEX small_code ON small (code);",
            )
            .file(
                "tables/fresh.pssql",
                "CREATE TABLE fresh (id int PRIMARY KEY, a text UNIQUE);\nCREATE INDEX fresh_a ON fresh (lower(a));\n",
            )
    };
    // An empty table, where every page counts.
    let platform = Platform::register(online(), "empty", &base());
    fill(&platform);
    let planned = plan_of(online(), &platform, &small(base()));
    assert!(transactional(&planned).iter().all(|within| *within), "{planned}");
    platform.migrate(&small(base())).ok().field("status", "completed");
    assert_finished(online(), &platform, "an empty table");
    // A table with rows that is below the default.
    let cluster = shared();
    for addition in ADDITIONS {
        let platform = Platform::register(&cluster, "below", &base());
        fill(&platform);
        let planned = plan_of(&cluster, &platform, &with(addition.sql));
        assert!(transactional(&planned).iter().all(|within| *within), "{}: {planned}", addition.sql);
        // All or nothing: rows that refuse it roll it all back.
        by_hand(&mut platform.connect(), addition.violation);
        let before = platform.snapshot();
        platform.migrate(&with(addition.sql)).expect(422).says("23");
        platform.assert_unchanged(&before, addition.sql);
        by_hand(&mut platform.connect(), addition.mend);
        platform.migrate(&with(addition.sql)).ok().field("status", "completed");
        assert_finished(&cluster, &platform, addition.sql);
    }
}

#[test]
fn rows_that_refuse_leave_a_warning_and_the_next_deployment_finishes() {
    let cluster = online();
    for addition in ADDITIONS {
        let platform = Platform::register(cluster, "refuse", &base());
        fill(&platform);
        by_hand(&mut platform.connect(), addition.violation);
        let files = with(addition.sql).edit("functions/count_items.pssql", "count(*)", "count(*) + 1");
        let answer = platform.migrate(&files).ok().field("status", "completed_with_warnings");
        assert!(warnings(&answer).contains("23"), "PostgreSQL's own SQLSTATE: {}: {answer}", addition.sql);
        // The rest of the deployment is done, and everything goes on.
        assert_eq!(platform.call("count_items", json!([])).value(), 5001, "{}", addition.sql);
        // What is open is drift.
        let drift = check(cluster, &platform.name, "main");
        let open = drift.iter().any(|(kind, object, _)| kind == addition.kind && object == addition.object);
        assert!(open, "{}: {drift:?}", addition.sql);
        // Deployed again before anything is mended: still a warning, no failure, nothing piles up.
        let again = platform.migrate(&files).ok().field("status", "completed_with_warnings");
        assert!(!warnings(&again).is_empty(), "{again}");

        by_hand(&mut platform.connect(), addition.mend);
        platform.migrate(&files).ok().field("status", "completed");
        assert_finished(cluster, &platform, addition.sql);
        acceptance::refused(platform.connect().batch_execute(addition.violation)).sqlstate("23*");
        assert!(plan_of(cluster, &platform, &files).array("plan").is_empty(), "{}", addition.sql);
    }
}

#[test]
fn going_back_after_rows_refused_leaves_nothing_half_done() {
    let cluster = online();
    for addition in ADDITIONS {
        let platform = Platform::register(cluster, "back", &base());
        fill(&platform);
        by_hand(&mut platform.connect(), addition.violation);
        platform.migrate(&with(addition.sql)).ok().field("status", "completed_with_warnings");
        platform.migrate(&base()).ok().field("status", "completed");
        assert_finished(cluster, &platform, &format!("back from {}", addition.sql));
    }
}

#[test]
fn an_index_that_changes_on_a_big_table_is_replaced() {
    let cluster = online();
    let first = with("CREATE INDEX items_code ON items (code);");
    let platform = Platform::register(cluster, "replace", &first);
    fill(&platform);
    let second = with("CREATE INDEX items_code ON items (code, qty);");
    platform.migrate(&second).ok().field("status", "completed");
    assert_finished(cluster, &platform, "another definition under the same name");
    let definition = sql::text(&mut platform.connect(), "SELECT pg_get_indexdef('items_code'::regclass)");
    assert!(definition.contains("(code, qty)"), "{definition}");
}
