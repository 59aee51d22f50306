//! The connected database's catalog as a model, and the stamp by which a change of it is noticed cheaply.

use std::collections::BTreeMap;

use pgrx::Spi;
use stonescriptdb_protocol::Failure;
use stonescriptdb_schema::{Body, CATALOG_SETTINGS, Key, Model, Routine, STAMP_SQL, catalog_queries};

use super::spi;
use crate::kept;
use crate::postgres::session::with_settings_restored;
use crate::postgres::{PgError, catch, lexer};

/// Runs `f` under the settings in which the server writes, and reads, every definition in the same way: with nothing on the search path,
/// for one.
pub(super) fn under_catalog_settings<T>(f: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    with_settings_restored(|| {
        let (names, values): (Vec<&str>, Vec<&str>) = CATALOG_SETTINGS.iter().copied().unzip();
        Spi::run_with_args(
            "SELECT pg_catalog.set_config(name, value, true) FROM unnest($1::text[], $2::text[]) AS s(name, value)",
            &[names.into(), values.into()],
        )
        .map_err(spi)?;
        f()
    })
}

/// Reads the whole catalog; inside a transaction.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn read() -> Result<Model, Failure> {
    let queries = || catalog_queries().iter().map(|query| text(query)).collect::<Result<Vec<String>, Failure>>();
    // Where it fails (for a lock, mostly), nobody is helped by the text of these queries. The caller aborts the transaction.
    let answers = catch(|| under_catalog_settings(queries)).map_err(|error| PgError { context: None, ..error })??;
    Model::from_catalog(&answers).map_err(|error| Failure::internal(error.to_string()))
}

/// A stamp of the catalog; inside a transaction.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn stamp() -> Result<Stamp, Failure> {
    text(STAMP_SQL).map(Stamp)
}

/// What changes with every change of the catalog: a line for each part of it, with the number of its rows and the sum of their hashes.
pub(super) struct Stamp(String);

/// The part of [`Stamp`] with the routines.
const ROUTINES: &str = "pg_proc";

impl Stamp {
    /// As it is recorded: SHA-256, in hex.
    pub(super) fn hash(&self) -> String {
        use sha2::Digest;
        sha2::Sha256::digest(&self.0).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether nothing else has become of the catalog than that routines whose rows had hashes of this sum have rows of that one now.
    pub(super) fn leads_to(&self, after: &Stamp, sum_before: i128, sum_after: i128) -> bool {
        let (mut before, mut after) = (self.parts(), after.parts());
        let routines = (before.remove(ROUTINES).and_then(counted), after.remove(ROUTINES).and_then(counted));
        let (Some((count_before, all_before)), Some((count_after, all_after))) = routines else { return false };
        before == after && count_before == count_after && all_before - sum_before == all_after - sum_after
    }

    fn parts(&self) -> BTreeMap<&str, &str> {
        self.0.lines().filter_map(|line| line.split_once(' ')).collect()
    }
}

fn counted(part: &str) -> Option<(u64, i128)> {
    let (count, sum) = part.split_once(' ')?;
    Some((count.parse().ok()?, sum.parse().ok()?))
}

/// The one text that a query gives. Planning these queries takes longer than running them on a small database.
fn text(query: &'static str) -> Result<String, Failure> {
    Ok(kept::one::<String>(query, &[])?.unwrap_or_default())
}

/// `present` with every routine that differs from the wanted one in white space, comments, the case of keywords or line ends only taken
/// as the wanted one: such a difference is none.
pub(super) fn without_spelling(present: Model, wanted: &Model) -> Model {
    let mut respelt: BTreeMap<Key, Routine> = BTreeMap::new();
    for object in present.iter() {
        if let (Body::Routine(is), Some(Body::Routine(shall))) =
            (&object.body, wanted.get(&object.key).map(|o| &o.body))
            && is.definition != shall.definition
            && is_same_text(&is.definition, &shall.definition)
        {
            respelt.insert(object.key.clone(), Routine { definition: shall.definition.clone(), ..is.clone() });
        }
    }
    if respelt.is_empty() {
        return present;
    }
    let mut objects: Vec<_> = present.into();
    for object in &mut objects {
        if let Some(routine) = respelt.remove(&object.key) {
            object.body = Body::Routine(routine);
        }
    }
    objects.into()
}

/// Whether two texts differ in white space, comments, the case of keywords or line ends at most.
pub(super) fn is_same_text(a: &str, b: &str) -> bool {
    matches!((lexer::checksum(a), lexer::checksum(b)), (Ok(a), Ok(b)) if a == b)
}
