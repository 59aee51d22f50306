//! Which changes of a deployment are refused unless they are allowed, and how the answers tell them.

use std::collections::BTreeSet;

use stonescriptdb_protocol::{Change, DeployRequest, ErrorCode, Failure, Validation};
use stonescriptdb_schema::{Classified, Safety};

use super::is_allowed;
use super::proof::Places;

/// The changes by class, as `schema_validation` of the answer.
pub(super) fn of(changes: &[Classified]) -> Validation {
    let class = |safety: Safety| changes.iter().filter(|change| change.safety == safety).map(told).collect();
    Validation {
        safe_changes: class(Safety::Safe),
        dataloss_changes: class(Safety::Dataloss),
        incompatible_changes: class(Safety::Incompatible),
    }
}

fn told(change: &Classified) -> Change {
    Change {
        table: change.table.clone(),
        change_type: change.change_type.clone(),
        column: change.column.clone(),
        from_type: change.from_type.clone(),
        to_type: change.to_type.clone(),
        compatibility: change.safety.word().to_owned(),
        reason: change.reason.clone(),
    }
}

/// Refuses changes that are not safe and not allowed.
///
/// # Errors
/// `schema_validation_failed` with all changes, at the place of the first that is refused.
pub(super) fn refuse(request: &DeployRequest, changes: &[Classified], places: &Places<'_>) -> Result<(), Failure> {
    let blocked: Vec<&Classified> = changes
        .iter()
        .filter(|change| change.safety != Safety::Safe)
        .filter(|change| !is_allowed(request, change.allow.as_deref().unwrap_or("everything")))
        .collect();
    let Some(first) = blocked.first() else { return Ok(()) };
    let reasons: Vec<String> = blocked.iter().map(|change| format!("{}: {}", change.table, change.reason)).collect();
    let kinds: BTreeSet<&str> = blocked.iter().filter_map(|change| change.allow.as_deref()).collect();
    let kinds: Vec<&str> = kinds.into_iter().collect();
    let lost = blocked.iter().any(|change| change.safety == Safety::Dataloss);
    let message = match (blocked.len(), lost) {
        (1, true) => format!("a change of {} would lose data", first.table),
        (1, false) => format!("a change of {} keeps no value", first.table),
        (count, _) => format!("{count} changes would lose data"),
    };
    let hint = if kinds.is_empty() {
        "Write a migration that takes care of the rows, or force the deployment.".to_owned()
    } else {
        format!("Write a migration that takes care of the rows, or allow {}.", kinds.join(", "))
    };
    let failure = Failure {
        validation: serde_json::to_string(&of(changes)).ok(),
        ..Failure::new(ErrorCode::SchemaValidationFailed, message).detail(reasons.join("; ")).hint(hint)
    };
    Err(match first.object.as_ref().and_then(|key| places.find(key)) {
        Some(place) => failure.at(&place.path, Some(place.line)),
        None => failure,
    })
}
