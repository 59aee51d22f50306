//! Runs the in-server tests: every function of the schema `stonescriptdb_test`, which the feature `pg_test` of the extension installs.

use acceptance::{shared, sql};

#[test]
fn all_of_them() {
    let cluster = shared();
    let mut client = cluster.control();
    // Of tests that go by chance: more rounds, and others.
    for (variable, setting) in [("SSDB_LEXER_ROUNDS", "rounds"), ("SSDB_LEXER_SEED", "seed")] {
        if let Ok(value) = std::env::var(variable) {
            client.batch_execute(&format!("SET stonescriptdb_test.{setting} = '{value}'")).expect("set");
        }
    }
    let names = sql::texts(
        &mut client,
        "SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname = 'stonescriptdb_test' ORDER BY 1",
    );
    assert!(
        !names.is_empty(),
        "the extension was installed without its in-server tests; install it with --features pg_test"
    );
    let mut failed = Vec::new();
    for name in &names {
        match client.batch_execute(&format!("SELECT stonescriptdb_test.{name}()")) {
            Ok(()) => println!("in-server test {name} ... ok"),
            Err(error) => {
                println!("in-server test {name} ... FAILED");
                failed.push(format!(
                    "{name}: {}",
                    error.as_db_error().map_or(error.to_string(), |e| e.message().to_owned())
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{} of {} in-server tests failed:\n{}", failed.len(), names.len(), failed.join("\n"));
}
