//! Objects that the model knows by name only: operators, casts, collations, text search objects and the like. There is no definition of
//! them to compare or to write, so the bundle's own statements make them, and PostgreSQL's own identity drops them.

use stonescriptdb_protocol::{ErrorCode, Failure, PlannedStep};
use stonescriptdb_schema::{Key, Kind, Model, Safety, Stage, Step};

use super::proof::{Proof, Statement};
use super::{apply, run_statement, sources};
use crate::postgres::{Script, subtransaction};

/// Runs what makes those that are missing. The statements of the others find their work done.
///
/// # Errors
/// `migration_failed` with file and line.
pub(super) fn make_missing(present: &Model, wanted: &Model, proof: &Proof) -> Result<Vec<PlannedStep>, Failure> {
    if wanted.of_kind(Kind::Other).all(|object| present.has(&object.key)) {
        return Ok(Vec::new());
    }
    let mut done = Vec::new();
    for statement in &proof.others {
        let script = Script::parse(&statement.sql)
            .map_err(|error| sources::failure(ErrorCode::MigrationFailed, error, &statement.place.path))?;
        let result = subtransaction(|| script.statements.iter().try_for_each(|one| run_statement(&script, one)));
        match result {
            Ok(()) => done.push(PlannedStep { object: statement.object.clone(), ..planned(statement) }),
            Err(error) if is_there(&error.error.sqlstate) => {}
            Err(error) => {
                let failure = crate::error::from_postgres(ErrorCode::MigrationFailed, error.error);
                return Err(failure.at(&statement.place.path, Some(statement.place.line)));
            }
        }
    }
    Ok(done)
}

/// The plan's lines for them, where nothing is run.
pub(super) fn planned_missing(present: &Model, wanted: &Model, proof: &Proof) -> Vec<PlannedStep> {
    if wanted.of_kind(Kind::Other).all(|object| present.has(&object.key)) {
        return Vec::new();
    }
    proof.others.iter().map(planned).collect()
}

fn planned(statement: &Statement) -> PlannedStep {
    apply::planned(&Step {
        sql: statement.sql.clone(),
        object: Key { arguments: "statement".to_owned(), ..Key::new(Kind::Other, "", &statement.object) },
        safety: Safety::Safe,
        hazards: Vec::new(),
        stage: Stage::Within,
        at_top_level: false,
    })
}

fn is_there(sqlstate: &str) -> bool {
    matches!(sqlstate, "42710" | "42723" | "42P07")
}
