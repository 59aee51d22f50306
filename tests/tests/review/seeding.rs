//! Seeders of a table whose ids come from a sequence.

use acceptance::{Files, Platform, shared, sql};

/// Three tables with an id that the seeder leaves to the server, each in another way.
fn seeded() -> Files {
    let mut files = Files::new().file("tables/own_ids.pssql", "CREATE SEQUENCE own_ids;\n");
    for (table, id) in [
        ("by_serial", "id serial PRIMARY KEY"),
        ("by_identity", "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
        ("by_default", "id bigint NOT NULL DEFAULT nextval('own_ids') PRIMARY KEY"),
    ] {
        files = files
            .file(
                &format!("tables/{table}.pssql"),
                format!("CREATE TABLE {table} ({id}, name text NOT NULL UNIQUE);\n"),
            )
            .file(
                &format!("seeders/{table}.pssql"),
                format!("INSERT INTO {table} (name) VALUES ('a'), ('b');\nINSERT INTO {table} (name) VALUES ('c');\n"),
            );
    }
    files
}

#[test]
fn a_migrate_that_compares_seeded_rows_moves_no_sequence() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "seq", &seeded());
    let sequences = || {
        let query = "SELECT sequencename || ' ' || coalesce(last_value, 0) FROM pg_sequences
                     WHERE sequencename !~ '^_' ORDER BY 1";
        sql::texts(&mut platform.connect(), query)
    };
    let before = sequences();
    assert_eq!(before, ["by_identity_id_seq 3", "by_serial_id_seq 3", "own_ids 3"]);
    let answer = cluster.http().migrate(&platform.name, None, &seeded().tar_gz(), &[("dry_run", "true")]).ok();
    assert_eq!(sequences(), before, "after a dry run: {answer}");
    assert_eq!(answer.array("seeder_validations").len(), 3, "the seeders were not compared: {answer}");
    for validation in answer.array("seeder_validations") {
        assert_eq!((validation["expected"].as_i64(), validation["found"].as_i64()), (Some(3), Some(3)), "{answer}");
    }
    let answer = platform.migrate(&seeded()).ok();
    assert_eq!(sequences(), before, "after a migrate: {answer}");
    // A seeder with another row, which is compared and not inserted.
    let more = seeded().edit("seeders/by_serial.pssql", "('c')", "('c'), ('d')");
    let answer = cluster.http().migrate(&platform.name, None, &more.tar_gz(), &[("force", "true")]);
    assert_eq!(sequences(), before, "after a migrate with a row that is not there: {answer}");
}
