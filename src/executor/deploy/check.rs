//! How the connected database differs from its bundle, object by object.

use stonescriptdb_protocol::{DriftRow, Failure};
use stonescriptdb_schema::differences;

use super::{catalog, proof::Proof};
use crate::postgres::{self, transaction};

/// Compares everything; changes nothing.
///
/// # Errors
/// PostgreSQL's own.
pub(crate) fn run(proof: &str) -> Result<Vec<DriftRow>, Failure> {
    postgres::require_utf8()?;
    let proof = Proof::from_json(proof)?;
    let present = catalog::without_spelling(transaction(catalog::read)?, &proof.model);
    Ok(differences(&present, &proof.model)
        .into_iter()
        .map(|difference| DriftRow {
            kind: difference.object.kind.word().to_owned(),
            object: difference.object.name_for_people(),
            deviation: difference.deviation.word().to_owned(),
            detail: difference.detail,
        })
        .collect())
}
