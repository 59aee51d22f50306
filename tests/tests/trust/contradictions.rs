//! tables/ and migrations that do not lead to the same are refused with the difference, before any tenant is touched.

use acceptance::{Files, Platform, shared};

use crate::ahead::{base, grown};

/// What the two say, and what the answer must name.
/// What it is, the bundle, and what the refusal names.
type Case = (&'static str, fn() -> Files, &'static str);

const CASES: &[Case] = &[
    (
        "another type",
        || {
            base()
                .edit("tables/items.pssql", "note text", "note text,\n    qty int")
                .file("migrations/001_x.pssql", "ALTER TABLE items ADD COLUMN qty bigint;\n")
        },
        "qty",
    ),
    (
        "a type changed by the migration only",
        || base().file("migrations/001_x.pssql", "ALTER TABLE items ALTER note TYPE varchar(10);\n"),
        "note",
    ),
    (
        "a column dropped by the migration only",
        || base().file("migrations/001_x.pssql", "ALTER TABLE items DROP COLUMN note;\n"),
        "note",
    ),
    (
        "a table of two forms",
        || {
            base()
                .file("tables/tags.pssql", "CREATE TABLE tags (id int PRIMARY KEY, tag text NOT NULL);\n")
                .file("migrations/001_x.pssql", "CREATE TABLE tags (id bigint PRIMARY KEY, tag text);\n")
        },
        "tags",
    ),
    (
        "a table dropped by the migration only",
        || {
            base()
                .file("tables/tags.pssql", "CREATE TABLE tags (id int PRIMARY KEY);\n")
                .file("migrations/001_x.pssql", "DROP TABLE IF EXISTS tags;\n")
        },
        "tags",
    ),
    (
        "another default",
        || base().file("migrations/001_x.pssql", "ALTER TABLE items ALTER status SET DEFAULT 'done';\n"),
        "status",
    ),
    (
        "a constraint dropped by the migration only",
        || {
            base()
                .edit("tables/items.pssql", "note text\n);", "note text,\n    CONSTRAINT named CHECK (name <> '')\n);")
                .file("migrations/001_x.pssql", "ALTER TABLE items DROP CONSTRAINT named;\n")
        },
        "named",
    ),
    (
        "a function that the migration makes otherwise",
        || {
            base().file("migrations/001_x.pssql", "DROP FUNCTION add_item(text);\nCREATE FUNCTION add_item(n text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';\n")
        },
        "",
    ),
];

#[test]
fn what_contradicts_itself_is_refused_with_the_difference() {
    let cluster = shared();
    let mut wrong = Vec::new();
    for (what, files, named) in CASES {
        let files = files();
        let platform = grown(&cluster, "contra");
        let before = platform.snapshot();
        let fresh = Platform::unregistered(&cluster, "contranew");
        let answers = [fresh.register_again(&files), platform.migrate(&files)];
        if named.is_empty() {
            // What is declared last is what counts for functions; the two must agree on it.
            if answers.iter().any(|answer| answer.status == 200) && answers.iter().any(|answer| answer.status != 200) {
                wrong.push(format!("{what}: {} {}", answers[0], answers[1]));
            }
            continue;
        }
        // In a new database it comes to what is declared all the same; on rows that are there it would hurt.
        let (first, answers) = if *what == "another type" { (1, answers) } else { (0, answers) };
        for answer in &answers[first..] {
            let said = answer.text.contains(named);
            if answer.status != 422 || answer.code() != "verification_failed" || !said {
                wrong.push(format!("{what}: 422 verification_failed naming {named} expected, but: {answer}"));
            }
        }
        let now = platform.snapshot();
        if now != before {
            wrong.push(format!("{what}: the tenant has changed"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What only seems to contradict: the migration comes to what is declared.
#[test]
fn ways_that_lead_to_what_is_declared_are_accepted() {
    let cluster = shared();
    for (what, files) in [
        ("added twice", base().edit("tables/items.pssql", "note text", "note text,\n    qty int").file("migrations/001_x.pssql", "ALTER TABLE items ADD COLUMN IF NOT EXISTS qty int;\n")),
        (
            "added and dropped again",
            base().file("migrations/001_x.pssql", "ALTER TABLE items ADD COLUMN temporary int;\nUPDATE items SET temporary = 1;\nALTER TABLE items DROP COLUMN temporary;\n"),
        ),
        (
            "a helper table",
            base().file("migrations/001_x.pssql", "CREATE TABLE helper AS SELECT id FROM items;\nUPDATE items SET note = 'x' WHERE id IN (SELECT id FROM helper);\nDROP TABLE helper;\n"),
        ),
        ("by another spelling", base().edit("tables/items.pssql", "note text", "note text,\n    qty int4 DEFAULT '1'").file("migrations/001_x.pssql", "ALTER TABLE items ADD COLUMN qty integer DEFAULT 1;\n")),
        ("a column that only the migration has", base().file("migrations/001_x.pssql", "ALTER TABLE items ADD COLUMN more text DEFAULT 'x';\n")),
        ("only rows", base().file("migrations/001_x.pssql", "UPDATE items SET note = name;\n")),
    ] {
        let platform = grown(&cluster, "agree");
        platform.migrate(&files).ok();
        platform.register_tenant("fresh", &files).ok();
        for tenant in ["main", "fresh"] {
            crate::assert_exact(&cluster, &platform, tenant, what);
        }
    }
}
