//! The registry's rows, as deployments read and write them.

use pgrx::pg_sys;
use pgrx::spi::SpiTupleTable;
use stonescriptdb_bundle::{Bundle, Kind};
use stonescriptdb_protocol::{ErrorCode, ExtensionSpec, Failure, Named, Proved, TemplateKey};

use super::{execute, spi};
use crate::kept;
use crate::postgres::MAJOR;
use crate::query;

/// A platform's row.
pub(super) struct Platform {
    pub(super) name: String,
    pub(super) owner_role: String,
    pub(super) call_role: String,
}

/// A database's row, and whether the database is there.
pub(super) struct Database {
    pub(super) name: String,
    pub(super) tenant: Named,
    pub(super) ready: bool,
    pub(super) exists: bool,
    /// The bundle that it is in the state of.
    pub(super) bundle_sha256: Option<String>,
    /// Something about it has to be looked at, whatever bundle it is in the state of.
    pub(super) unsettled: bool,
    /// The deployment that brought it to its state.
    pub(super) deployment_id: Option<String>,
}

/// Finds a platform by its sanitised name.
///
/// # Errors
/// `name_collision` if another platform sanitises to the same.
pub(super) fn platform(named: &Named) -> Result<Option<Platform>, Failure> {
    let found = kept::select(
        "SELECT name, owner_role::text, call_role::text FROM stonescriptdb.platform WHERE key = $1",
        &[named.key.as_str().into()],
        |mut rows| {
            let Some(row) = rows.next() else { return Ok::<_, Failure>(None) };
            Ok(Some(Platform {
                name: row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
                owner_role: row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
                call_role: row.get::<String>(3).map_err(spi)?.unwrap_or_default(),
            }))
        },
    )?;
    match found {
        Some(platform) if platform.name != named.written && named.key != named.written => Err(collision(format!(
            "the platforms \"{}\" and \"{}\" would both be \"{}\"",
            platform.name, named.written, named.key
        ))),
        other => Ok(other),
    }
}

macro_rules! databases {
    ($which:literal) => {
        concat!(
            "SELECT coalesce(c.datname, d.name)::text, d.tenant_id, d.tenant_key, d.state = 'ready', c.oid IS NOT NULL,
                    d.bundle_sha256, d.touched OR d.unfinished, d.deployment_id::text
             FROM stonescriptdb.database d LEFT JOIN pg_database c ON c.oid = d.datid
             WHERE d.platform = $1 AND d.schema_name = $2 ",
            $which,
            " ORDER BY d.tenant_key <> 'main', d.tenant_key"
        )
    };
}

/// The databases of a platform's schema, the one without an id first; one tenant's if `tenant_key` is given.
pub(super) fn databases(platform: &str, schema: &str, tenant_key: Option<&str>) -> Result<Vec<Database>, Failure> {
    let read = |rows: SpiTupleTable| {
        rows.map(|row| {
            Ok(Database {
                name: row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
                tenant: Named {
                    written: row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
                    key: row.get::<String>(3).map_err(spi)?.unwrap_or_default(),
                },
                ready: row.get::<bool>(4).map_err(spi)?.unwrap_or_default(),
                exists: row.get::<bool>(5).map_err(spi)?.unwrap_or_default(),
                bundle_sha256: row.get::<String>(6).map_err(spi)?,
                unsettled: row.get::<bool>(7).map_err(spi)?.unwrap_or_default(),
                deployment_id: row.get::<String>(8).map_err(spi)?,
            })
        })
        .collect()
    };
    match tenant_key {
        Some(key) => {
            kept::select(databases!("AND d.tenant_key = $3"), &[platform.into(), schema.into(), key.into()], read)
        }
        // All of them: how they are best joined depends on how many there are.
        None => query::select(databases!(""), &[platform.into(), schema.into()], read),
    }
}

/// A schema of a platform.
pub(super) struct Schema {
    /// As it was uploaded; empty is the platform's own.
    pub(super) name: String,
    /// Sanitised.
    pub(super) key: String,
    /// Its newest bundle.
    pub(super) bundle_sha256: Option<String>,
}

/// Finds a schema by its sanitised name; the platform's own has none and is always there.
///
/// # Errors
/// `name_collision` if another one sanitises to the same.
pub(super) fn schema(platform: &str, named: Option<&Named>) -> Result<Option<Schema>, Failure> {
    let key = named.map_or("", |named| named.key.as_str());
    let found = kept::select(
        "SELECT name, bundle_sha256 FROM stonescriptdb.stored_schema WHERE platform = $1 AND key = $2",
        &[platform.into(), key.into()],
        |mut rows| {
            let Some(row) = rows.next() else { return Ok::<_, Failure>(None) };
            Ok(Some(Schema {
                name: row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
                key: key.to_owned(),
                bundle_sha256: row.get::<String>(2).map_err(spi)?,
            }))
        },
    )?;
    match (found, named) {
        (Some(schema), Some(named)) if schema.name != named.written && named.key != named.written => {
            Err(collision(format!(
                "the schemas \"{}\" and \"{}\" of the platform \"{platform}\" would both be \"{}\"",
                schema.name, named.written, named.key
            )))
        }
        (None, None) => Ok(Some(Schema { name: String::new(), key: String::new(), bundle_sha256: None })),
        (found, _) => Ok(found),
    }
}

/// Makes a bundle a schema's newest: new databases are made of it.
pub(super) fn set_schema(platform: &str, schema: &str, sha256: &str) -> Result<(), Failure> {
    let key = stonescriptdb_protocol::sanitise(schema);
    execute(
        "INSERT INTO stonescriptdb.stored_schema AS s (platform, name, key, bundle_sha256) VALUES ($1, $2, $3, $4)
         ON CONFLICT (platform, name) DO UPDATE SET bundle_sha256 = excluded.bundle_sha256, updated_at = now()
         WHERE s.bundle_sha256 IS DISTINCT FROM excluded.bundle_sha256",
        &[platform.into(), schema.into(), key.as_str().into(), sha256.into()],
    )?;
    execute(
        "INSERT INTO stonescriptdb.schema_version (platform, schema_name, sha256) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        &[platform.into(), schema.into(), sha256.into()],
    )
}

/// No row of the registry has the name, but for that of one database.
fn require_unclaimed(database: &str, but_for: Option<&str>) -> Result<(), Failure> {
    let taken = kept::one::<bool>(
        "SELECT EXISTS (SELECT FROM stonescriptdb.database d
                        WHERE (name = $1 OR datid = (SELECT oid FROM pg_database WHERE datname = $1))
                          AND ($2 IS NULL OR datid IS DISTINCT FROM (SELECT oid FROM pg_database WHERE datname = $2)))",
        &[database.into(), but_for.into()],
    )?;
    if taken == Some(true) {
        // Whose it is may not be for whoever asks to know.
        return Err(collision(format!("the database \"{database}\" is another tenant's")).database(database));
    }
    Ok(())
}

fn require_absent(database: &str) -> Result<(), Failure> {
    match oid_of(database)? {
        None => Ok(()),
        Some(_) => Err(Failure::new(
            ErrorCode::DatabaseAlreadyExists,
            format!("a database \"{database}\" exists that stonescriptdb did not create"),
        )
        .hint("Drop or rename it, or choose another name for the platform or the tenant.")
        .database(database)),
    }
}

/// A database's name must be nobody's, so that another database can have it.
///
/// # Errors
/// `name_collision` if it is another tenant's, `database_already_exists` if a database that is not ours has it.
pub(super) fn require_free(database: &str, but_for: &str) -> Result<(), Failure> {
    require_unclaimed(database, Some(but_for))?;
    require_absent(database)
}

/// Notes that a database is about to be created, so that it is found and removed if that goes wrong.
///
/// # Errors
/// `name_collision` if the name is another tenant's, `database_already_exists` if a database that is not ours has it.
pub(super) fn claim(platform: &str, schema: &str, tenant: &Named, database: &str, adopt: bool) -> Result<(), Failure> {
    require_unclaimed(database, None)?;
    let there = oid_of(database)?;
    if !adopt {
        require_absent(database)?;
    }
    execute(
        "INSERT INTO stonescriptdb.database (name, platform, schema_name, tenant_id, tenant_key, datid, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            database.into(),
            platform.into(),
            schema.into(),
            tenant.written.as_str().into(),
            tenant.key.as_str().into(),
            there.into(),
            if adopt { "adopting" } else { "creating" }.into(),
        ],
    )
}

/// A platform's owner role and call role.
pub(super) fn roles_of(platform: &str) -> Result<(String, String), Failure> {
    kept::select(
        "SELECT owner_role::text, call_role::text FROM stonescriptdb.platform WHERE name = $1",
        &[platform.into()],
        |mut rows| {
            let row = rows.next().ok_or_else(|| Failure::new(ErrorCode::PlatformNotFound, "the platform is gone"))?;
            Ok((
                row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
                row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
            ))
        },
    )
}

/// A stored bundle's bytes.
pub(super) fn archive(platform: &str, sha256: &str) -> Result<Option<Vec<u8>>, Failure> {
    kept::one::<Vec<u8>>(
        "SELECT (SELECT archive FROM stonescriptdb.bundle WHERE platform = $1 AND sha256 = $2)",
        &[platform.into(), sha256.into()],
    )
    .map_err(Failure::from)
}

/// The folders of the kinds of files that a stored bundle has.
pub(super) fn kinds(platform: &str, sha256: &str) -> Result<Vec<String>, Failure> {
    let kinds = kept::one::<Vec<Option<String>>>(
        "SELECT (SELECT kinds FROM stonescriptdb.bundle WHERE platform = $1 AND sha256 = $2)",
        &[platform.into(), sha256.into()],
    );
    Ok(kinds?.unwrap_or_default().into_iter().flatten().collect())
}

/// What this major version of the server has proved of a bundle, without the proof itself, and its extensions that only a superuser can
/// install.
pub(super) fn proved(key: &TemplateKey) -> Result<Option<(Proved, Vec<ExtensionSpec>)>, Failure> {
    kept::select(
        "SELECT seeds, summary::text, clonable, elevated::text, fingerprint, plain, bodies FROM stonescriptdb.bundle
                 WHERE platform = $1 AND sha256 = $2 AND proved_on = $3",
        &[key.platform.as_str().into(), key.sha256.as_str().into(), MAJOR.into()],
        |mut rows| {
            let Some(row) = rows.next() else { return Ok::<_, Failure>(None) };
            let unreadable = |error: serde_json::Error| Failure::internal(error.to_string());
            let summary = row.get::<String>(2).map_err(spi)?.unwrap_or_default();
            let elevated = row.get::<String>(4).map_err(spi)?.unwrap_or_else(|| "[]".to_owned());
            let proved = Proved {
                proof: String::new(),
                seeds: row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
                summary: serde_json::from_str(&summary).map_err(unreadable)?,
                clonable: row.get::<bool>(3).map_err(spi)?.unwrap_or_default(),
                fingerprint: row.get::<String>(5).map_err(spi)?.unwrap_or_default(),
                plain: row.get::<bool>(6).map_err(spi)?.unwrap_or_default(),
                bodies: row.get::<String>(7).map_err(spi)?,
            };
            Ok(Some((proved, serde_json::from_str(&elevated).map_err(unreadable)?)))
        },
    )
}

/// Stores a bundle that is not stored yet.
pub(super) fn store_bundle(
    key: &TemplateKey,
    archive: &[u8],
    bundle: &Bundle,
    elevated: &[ExtensionSpec],
) -> Result<(), Failure> {
    let manifest = bundle.manifest.as_ref().and_then(|manifest| serde_json::to_string(manifest).ok());
    let kinds: Vec<&str> = Kind::ALL.into_iter().filter(|kind| bundle.has(*kind)).map(Kind::folder).collect();
    let elevated = serde_json::to_string(elevated).map_err(|error| Failure::internal(error.to_string()))?;
    execute(
        "INSERT INTO stonescriptdb.bundle (platform, sha256, archive, manifest, kinds, elevated) VALUES ($1, $2, $3, $4::jsonb, $5, $6::jsonb)
         ON CONFLICT DO NOTHING",
        &[
            key.platform.as_str().into(),
            key.sha256.as_str().into(),
            archive.into(),
            manifest.into(),
            kinds.into(),
            elevated.into(),
        ],
    )
}

/// The OID of a database by name.
pub(super) fn oid_of(database: &str) -> Result<Option<pg_sys::Oid>, Failure> {
    kept::one::<pg_sys::Oid>("SELECT (SELECT oid FROM pg_database WHERE datname = $1)", &[database.into()])
        .map_err(Failure::from)
}

pub(super) fn collision(message: String) -> Failure {
    Failure::new(ErrorCode::NameCollision, message)
        .hint("Names are told apart by their lower-case letters, digits and underscores only; choose another.")
}
