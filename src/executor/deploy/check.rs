//! How the connected database differs from its bundle, object by object.

use serde::Deserialize;
use stonescriptdb_protocol::{DriftRow, Failure};
use stonescriptdb_schema::{Address, Model, differences};

use super::{catalog, proof::Proof};
use crate::kept;
use crate::postgres::{self, transaction};

/// Compares everything; changes nothing.
///
/// # Errors
/// PostgreSQL's own.
pub(crate) fn run(proof: &str) -> Result<Vec<DriftRow>, Failure> {
    postgres::require_utf8()?;
    let proof = Proof::from_json(proof)?;
    let (present, strangers) = transaction(|| Ok::<_, Failure>((catalog::read()?, strangers()?)))?;
    let present = catalog::without_spelling(present, &proof.model);
    let mut rows: Vec<DriftRow> = differences(&present, &proof.model)
        .into_iter()
        .map(|difference| DriftRow {
            kind: difference.object.kind.word().to_owned(),
            object: difference.object.name_for_people(),
            deviation: difference.deviation.word().to_owned(),
            detail: difference.detail,
        })
        .collect();
    rows.extend(strangers.into_iter().filter_map(|stranger| stranger.row(&present, &proof.model)));
    Ok(rows)
}

/// An object that does not belong to the role that this process is, the platform's owner role.
///
/// Owners are in no model, for what a bundle makes has one owner wherever it is made; but somebody may have made or taken an object by hand,
/// as superuser. A deployment that has to change it fails then.
#[derive(Deserialize)]
struct Stranger {
    class: u32,
    object: u32,
    owner: String,
    wanted: String,
    /// Of a tracking table, its name: these are in no model either.
    tracking: Option<String>,
}

impl Stranger {
    /// What is told of it, if it is the bundle's.
    fn row(self, present: &Model, wanted: &Model) -> Option<DriftRow> {
        let address = Address { class: self.class, object: self.object, column: 0 };
        let (kind, object) = match present.at(address).filter(|object| wanted.get(&object.key).is_some()) {
            Some(object) => (object.key.kind.word().to_owned(), object.key.name_for_people()),
            None => ("table".to_owned(), self.tracking?),
        };
        let detail = format!("owner: {} → {}", self.owner, self.wanted);
        Some(DriftRow { kind, object, deviation: "changed".to_owned(), detail })
    }
}

fn strangers() -> Result<Vec<Stranger>, Failure> {
    let found = catalog::under_catalog_settings(|| Ok(kept::one::<String>(STRANGERS, &[])?))?;
    serde_json::from_str(&found.unwrap_or_default())
        .map_err(|error| Failure::internal(format!("the owners of objects do not read: {error}")))
}

/// Sequences of columns and row types have the owner of their table. What is below 16384 is the system's own.
const STRANGERS: &str = "
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'class', o.class::pg_catalog.oid::pg_catalog.int8, 'object', o.object::pg_catalog.int8, 'owner', r.rolname, 'wanted', CURRENT_USER,
    'tracking', o.tracking) ORDER BY o.class::pg_catalog.oid, o.object), '[]')::text
FROM (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS class, c.oid AS object, c.relowner AS owner,
           CASE WHEN pg_catalog.starts_with(c.relname, '_stonescriptdb_') AND n.nspname = 'public' THEN c.relname END AS tracking
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
       OR c.relkind = 'S' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
              AND d.objid = c.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i'))
    UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, proowner, NULL FROM pg_catalog.pg_proc
    UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid, typowner, NULL FROM pg_catalog.pg_type WHERE typtype IN ('c', 'd', 'e', 'r')
    UNION ALL SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid, nspowner, NULL FROM pg_catalog.pg_namespace
    UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, oid, stxowner, NULL FROM pg_catalog.pg_statistic_ext
    UNION ALL SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, oid, oprowner, NULL FROM pg_catalog.pg_operator
    UNION ALL SELECT 'pg_catalog.pg_opclass'::pg_catalog.regclass, oid, opcowner, NULL FROM pg_catalog.pg_opclass
    UNION ALL SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, oid, opfowner, NULL FROM pg_catalog.pg_opfamily
    UNION ALL SELECT 'pg_catalog.pg_collation'::pg_catalog.regclass, oid, collowner, NULL FROM pg_catalog.pg_collation
    UNION ALL SELECT 'pg_catalog.pg_conversion'::pg_catalog.regclass, oid, conowner, NULL FROM pg_catalog.pg_conversion
    UNION ALL SELECT 'pg_catalog.pg_ts_config'::pg_catalog.regclass, oid, cfgowner, NULL FROM pg_catalog.pg_ts_config
    UNION ALL SELECT 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, oid, dictowner, NULL FROM pg_catalog.pg_ts_dict
    UNION ALL SELECT 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, oid, srvowner, NULL FROM pg_catalog.pg_foreign_server
) o JOIN pg_catalog.pg_roles r ON r.oid = o.owner
WHERE r.rolname <> CURRENT_USER AND o.object >= 16384";
