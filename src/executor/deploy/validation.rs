//! Which changes of a deployment are refused unless they are allowed, and how the answers tell them.

use std::collections::BTreeSet;

use stonescriptdb_protocol::{Change, DeployRequest, ErrorCode, Failure, PlannedStep, Validation};
use stonescriptdb_schema::{Classified, Key, Kind, Loss, Model, Rename, Safety, Step, Wanted};

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
        allow: change.allow.map(|loss| loss.word().to_owned()),
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
        .filter(|change| !is_allowed(request, change.allow))
        .collect();
    let Some(first) = blocked.first() else { return Ok(()) };
    let reasons: Vec<String> = blocked.iter().map(|change| format!("{}: {}", change.table, change.reason)).collect();
    let kinds: BTreeSet<&str> = blocked.iter().filter_map(|change| change.allow).map(Loss::word).collect();
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

/// A migration of this deployment made something in a form that the declared files do not want, and to mend it would hurt.
pub(super) fn refuse_other_form(before: &Model, planned: &[Step], places: &Places<'_>) -> Result<(), Failure> {
    let wrong = planned.iter().find(|step| step.safety != Safety::Safe && !before.has(&step.object));
    match wrong {
        Some(step) => {
            let failure = Failure::new(
                ErrorCode::VerificationFailed,
                format!("a pending migration makes {} in another form than the declared files say", step.object),
            )
            .detail(format!("To bring it to the declared form would take: {}", step.sql))
            .hint("Change the migration or the declared file, so that both say the same.");
            Err(match places.find(&step.object) {
                Some(place) => failure.at(&place.path, Some(place.line)),
                None => failure,
            })
        }
        None => Ok(()),
    }
}

/// What was declared of a table that is renamed now was declared of it under its new name too.
pub(super) fn with_renamed(key: Key, renames: &[&Rename]) -> Vec<Key> {
    let mut keys = vec![key.clone()];
    for rename in renames {
        let to = match rename.from.kind {
            Kind::Table if key == rename.from => rename.to.clone(),
            Kind::Table if key.table().as_ref() == Some(&rename.from) => {
                Key { parent: rename.to.name.clone(), ..key.clone() }
            }
            Kind::Column if key == rename.from => rename.to.clone(),
            _ => continue,
        };
        keys.push(to);
    }
    keys
}

/// Tables, and columns of the bundle's tables, that no bundle declared.
pub(super) fn undeclared(present: &Model, wanted: &Wanted<'_>) -> Vec<String> {
    let is_strange = |object: &&stonescriptdb_schema::Object| match object.key.kind {
        Kind::Table => !wanted.model.has(&object.key),
        Kind::Column => {
            !wanted.model.has(&object.key) && object.key.table().is_some_and(|table| wanted.model.has(&table))
        }
        _ => false,
    };
    present
        .iter()
        .filter(is_strange)
        .map(|object| format!("the {} is not the bundle's and was left alone", object.key))
        .collect()
}

/// By what a plan is known: its statements, and which of them run in the transaction.
pub(super) fn fingerprint_of(plan: &[PlannedStep]) -> String {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    for step in plan {
        hash.update(step.sql.as_bytes());
        hash.update([0, u8::from(step.transactional)]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
