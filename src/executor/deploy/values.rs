//! New enum values. Nobody can use one before it is committed, so they are added before the deployment's transaction; and PostgreSQL
//! cannot take one back.

use stonescriptdb_protocol::{Failure, PlannedStep};
use stonescriptdb_schema::Model;

use super::{apply, prepare_session};
use crate::postgres::transaction;

/// New enum values, which nobody can use before they are committed.
pub(super) enum Values {
    /// Whether there are any is not known yet.
    Unknown,
    /// They are there.
    Settled(Added),
}

/// Enum values that were added, and the catalog before that.
pub(super) struct Added {
    pub(super) before: Model,
    pub(super) steps: Vec<PlannedStep>,
}

pub(super) fn run_alone(sql: &str) -> Result<(), Failure> {
    transaction(|| {
        prepare_session()?;
        apply::run_text(sql)
    })
}

/// PostgreSQL cannot take an enum value back.
pub(super) fn with_values(failure: Failure, added: &[PlannedStep]) -> Failure {
    if added.is_empty() {
        return failure;
    }
    let statements: Vec<&str> = added.iter().map(|step| step.sql.as_str()).collect();
    let stays = format!("New enum values were added and stay: {}", statements.join("; "));
    let detail = failure.detail.as_ref().map_or_else(|| stays.clone(), |detail| format!("{detail} {stays}"));
    failure.detail(detail)
}

/// A new enum value that is not committed cannot be used (unsafe_new_enum_value_usage).
pub(super) fn cannot_be_tried(failure: &Failure) -> bool {
    failure.sqlstate.as_deref() == Some("55P04")
}
