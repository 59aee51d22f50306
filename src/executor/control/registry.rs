//! The registry's rows, as deployments read and write them.

use pgrx::{Spi, pg_sys};
use stonescriptdb_bundle::{Bundle, Kind};
use stonescriptdb_protocol::{
    Asked, DeployMode, DeployOptions, ErrorCode, ExtensionSpec, Failure, Named, Proved, TemplateKey,
};

use super::{execute, spi};

/// A platform's row.
pub(super) struct Platform {
    pub(super) name: String,
    pub(super) owner_role: String,
    pub(super) call_role: String,
}

/// A database's row, and whether the database is there.
pub(super) struct Database {
    pub(super) name: String,
    pub(super) tenant: String,
    pub(super) ready: bool,
    pub(super) exists: bool,
    /// The bundle that it is in the state of.
    pub(super) bundle_sha256: Option<String>,
}

/// Finds a platform by its sanitised name.
///
/// # Errors
/// `name_collision` if another platform sanitises to the same.
pub(super) fn platform(named: &Named) -> Result<Option<Platform>, Failure> {
    let found = Spi::connect(|client| {
        let mut rows = client
            .select(
                "SELECT name, owner_role::text, call_role::text FROM stonescriptdb.platform WHERE key = $1",
                Some(1),
                &[named.key.as_str().into()],
            )
            .map_err(spi)?;
        let Some(row) = rows.next() else { return Ok::<_, Failure>(None) };
        Ok(Some(Platform {
            name: row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
            owner_role: row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
            call_role: row.get::<String>(3).map_err(spi)?.unwrap_or_default(),
        }))
    })?;
    match found {
        Some(platform) if platform.name != named.written && named.key != named.written => Err(collision(format!(
            "the platforms \"{}\" and \"{}\" would both be \"{}\"",
            platform.name, named.written, named.key
        ))),
        other => Ok(other),
    }
}

/// The databases of a platform, its own first; one tenant's if `tenant` is given.
pub(super) fn databases(platform: &str, tenant: Option<&str>) -> Result<Vec<Database>, Failure> {
    Spi::connect(|client| {
        let rows = client
            .select(
                "SELECT coalesce(c.datname, d.name)::text, d.tenant_id, d.state = 'ready', c.oid IS NOT NULL, d.bundle_sha256
                 FROM stonescriptdb.database d LEFT JOIN pg_database c ON c.oid = d.datid
                 WHERE d.platform = $1 AND ($2 IS NULL OR d.tenant_key = $2)
                 ORDER BY d.tenant_key <> 'main', d.tenant_key",
                None,
                &[platform.into(), tenant.into()],
            )
            .map_err(spi)?;
        rows.map(|row| {
            Ok(Database {
                name: row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
                tenant: row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
                ready: row.get::<bool>(3).map_err(spi)?.unwrap_or_default(),
                exists: row.get::<bool>(4).map_err(spi)?.unwrap_or_default(),
                bundle_sha256: row.get::<String>(5).map_err(spi)?,
            })
        })
        .collect()
    })
}

/// Notes that a database is about to be created, so that it is found and removed if that goes wrong.
///
/// # Errors
/// `name_collision` if the name is another tenant's, `database_already_exists` if a database that is not ours has it.
pub(super) fn claim(platform: &str, tenant: &Named, database: &str, adopt: bool) -> Result<(), Failure> {
    let owner = Spi::get_one_with_args::<String>(
        "SELECT (SELECT platform || ', tenant ' || tenant_id FROM stonescriptdb.database WHERE name = $1)",
        &[database.into()],
    )
    .map_err(spi)?;
    if let Some(owner) = owner {
        return Err(
            collision(format!("the database \"{database}\" is that of the platform {owner}")).database(database)
        );
    }
    let there = oid_of(database)?;
    if there.is_some() && !adopt {
        return Err(Failure::new(
            ErrorCode::DatabaseAlreadyExists,
            format!("a database \"{database}\" exists that stonescriptdb did not create"),
        )
        .hint("Drop or rename it, or choose another name for the platform or the tenant.")
        .database(database));
    }
    execute(
        "INSERT INTO stonescriptdb.database (name, platform, tenant_id, tenant_key, datid, state) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            database.into(),
            platform.into(),
            tenant.written.as_str().into(),
            tenant.key.as_str().into(),
            there.into(),
            if adopt { "adopting" } else { "creating" }.into(),
        ],
    )
}

/// A deployment as it is recorded.
pub(super) struct Deployment<'a> {
    pub(super) id: &'a str,
    pub(super) mode: DeployMode,
    pub(super) platform: &'a str,
    pub(super) tenant: Option<&'a str>,
    pub(super) options: &'a DeployOptions,
    pub(super) asked: &'a Asked,
}

/// Writes a deployment's row.
pub(super) fn record_deployment(
    deployment: &Deployment<'_>,
    state: &str,
    sha256: Option<&str>,
    error: Option<&str>,
) -> Result<(), Failure> {
    let kind = match deployment.mode {
        DeployMode::Register => "register",
        DeployMode::Migrate => "migrate",
    };
    execute(
        "INSERT INTO stonescriptdb.deployment
             (id, kind, platform, bundle_sha256, state, requested_by, client_address, request_id, force, allow, dry_run, tenant_id, error,
              finished_at)
         VALUES ($1::uuid, $2, $3, $4, $5, $6, $7, nullif($8, ''), $9, $10, $11, $12, $13::jsonb,
                 CASE WHEN $5 <> 'running' THEN now() END)",
        &[
            deployment.id.into(),
            kind.into(),
            deployment.platform.into(),
            sha256.into(),
            state.into(),
            deployment.asked.by.as_str().into(),
            deployment.asked.from.as_deref().into(),
            deployment.asked.request_id.as_str().into(),
            deployment.options.force.into(),
            deployment.options.allow.clone().into(),
            deployment.options.dry_run.into(),
            deployment.tenant.into(),
            error.into(),
        ],
    )
}

/// A platform's owner role and call role.
pub(super) fn roles_of(platform: &str) -> Result<(String, String), Failure> {
    Spi::connect(|client| {
        let mut rows = client
            .select(
                "SELECT owner_role::text, call_role::text FROM stonescriptdb.platform WHERE name = $1",
                Some(1),
                &[platform.into()],
            )
            .map_err(spi)?;
        let row = rows.next().ok_or_else(|| Failure::new(ErrorCode::PlatformNotFound, "the platform is gone"))?;
        Ok((
            row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
            row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
        ))
    })
}

/// The bundle of a platform that was deployed last.
pub(super) fn newest_bundle(platform: &str) -> Result<Option<String>, Failure> {
    Spi::get_one_with_args::<String>(
        "SELECT (SELECT sha256 FROM stonescriptdb.bundle WHERE platform = $1 AND deployed_at IS NOT NULL
                 ORDER BY deployed_at DESC LIMIT 1)",
        &[platform.into()],
    )
    .map_err(|error| spi(error).into())
}

/// A stored bundle's bytes.
pub(super) fn archive(platform: &str, sha256: &str) -> Result<Option<Vec<u8>>, Failure> {
    Spi::get_one_with_args::<Vec<u8>>(
        "SELECT (SELECT archive FROM stonescriptdb.bundle WHERE platform = $1 AND sha256 = $2)",
        &[platform.into(), sha256.into()],
    )
    .map_err(|error| spi(error).into())
}

/// The folders of the kinds of files that a stored bundle has.
pub(super) fn kinds(platform: &str, sha256: &str) -> Result<Vec<String>, Failure> {
    let kinds = Spi::get_one_with_args::<Vec<Option<String>>>(
        "SELECT (SELECT kinds FROM stonescriptdb.bundle WHERE platform = $1 AND sha256 = $2)",
        &[platform.into(), sha256.into()],
    );
    Ok(kinds.map_err(spi)?.unwrap_or_default().into_iter().flatten().collect())
}

/// What was proved of a bundle, without the proof itself, and its extensions that only a superuser can install.
pub(super) fn proved(key: &TemplateKey) -> Result<Option<(Proved, Vec<ExtensionSpec>)>, Failure> {
    Spi::connect(|client| {
        let mut rows = client
            .select(
                "SELECT seeds, summary::text, clonable, elevated::text, fingerprint, plain FROM stonescriptdb.bundle
                 WHERE platform = $1 AND sha256 = $2 AND proved_at IS NOT NULL",
                Some(1),
                &[key.platform.as_str().into(), key.sha256.as_str().into()],
            )
            .map_err(spi)?;
        let Some(row) = rows.next() else { return Ok(None) };
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
        };
        Ok(Some((proved, serde_json::from_str(&elevated).map_err(unreadable)?)))
    })
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
    Spi::get_one_with_args::<pg_sys::Oid>("SELECT (SELECT oid FROM pg_database WHERE datname = $1)", &[database.into()])
        .map_err(|error| spi(error).into())
}

pub(super) fn collision(message: String) -> Failure {
    Failure::new(ErrorCode::NameCollision, message)
        .hint("Names are told apart by their lower-case letters, digits and underscores only; choose another.")
}
