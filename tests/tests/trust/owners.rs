//! Objects of the bundle that somebody gave to another role, which no deployment can change then, are named by check.

use acceptance::{Cluster, Files, Platform, shared, sql};

use crate::{assert_exact, by_hand};

fn bundle() -> Files {
    Files::new()
        .file("types/mood.pssql", "CREATE TYPE mood AS ENUM ('sad', 'happy');\nCREATE TYPE pair AS (a int, b int);\n")
        .file(
            "tables/items.pssql",
            "CREATE TABLE items (id bigserial PRIMARY KEY, mood mood);\nCREATE SEQUENCE numbers;\n",
        )
        .file(
            "functions/total.pssql",
            "CREATE FUNCTION total() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT count(*) FROM items $$;\n",
        )
        .file("views/stock.pssql", "CREATE VIEW stock AS SELECT id FROM items;\n")
}

#[track_caller]
fn told(cluster: &Cluster, platform: &Platform<'_>) -> Vec<String> {
    let query = format!(
        "SELECT concat_ws(' ', kind, object, deviation, nullif(detail, '')) FROM stonescriptdb.check('{}') ORDER BY 1",
        platform.name
    );
    sql::texts(&mut cluster.control(), &query)
}

#[test]
fn each_object_of_another_owner_is_named() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "owned", &bundle());
    let mut client = platform.connect();
    let owner = platform.owner_role();
    for (what, line) in [
        ("TABLE items", "table items"),
        ("SEQUENCE numbers", "sequence numbers"),
        ("FUNCTION total()", "routine total()"),
        ("VIEW stock", "view stock"),
        ("TYPE mood", "enum mood"),
        ("TYPE pair", "composite type pair"),
        ("TABLE _stonescriptdb_state", "table _stonescriptdb_state"),
    ] {
        by_hand(&mut client, &format!("ALTER {what} OWNER TO postgres"));
        let found = told(&cluster, &platform);
        let line = format!("{line} changed owner: postgres → {owner}");
        // Rights that the owner has as such are another's then, too.
        assert!(found.contains(&line), "{what}: {found:#?}");
        assert!(found.iter().all(|other| *other == line || other.contains(" changed grants: ")), "{what}: {found:#?}");
        by_hand(&mut client, &format!("ALTER {what} OWNER TO {owner}"));
        assert_eq!(told(&cluster, &platform), [""; 0], "{what}");
    }
    // What nobody declared may be whose it likes.
    by_hand(&mut client, "CREATE TABLE by_hand (id int)");
    assert_eq!(told(&cluster, &platform), ["column by_hand.id extra", "table by_hand extra"]);
    by_hand(&mut client, "DROP TABLE by_hand");
    assert_exact(&cluster, &platform, "main", "all is the owner's again");
}

/// The next deployment that has to change it fails, and says for want of what; given back, it goes in.
#[test]
fn a_deployment_that_meets_such_an_object_changes_nothing() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "taken", &bundle());
    let mut client = platform.connect();
    by_hand(&mut client, "ALTER TABLE items OWNER TO postgres");
    let next = bundle().edit("tables/items.pssql", "mood mood", "mood mood, note text");
    let answer = platform.migrate(&next).expect(422);
    answer.field("sqlstate", "42501").says("stonescriptdb.check names");
    assert!(told(&cluster, &platform).iter().any(|line| line.starts_with("table items changed owner: ")));
    by_hand(&mut client, &format!("ALTER TABLE items OWNER TO {}", platform.owner_role()));
    platform.migrate(&next).ok();
    assert_exact(&cluster, &platform, "main", "it has been given back");
}
