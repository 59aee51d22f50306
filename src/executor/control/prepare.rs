//! The first half of a deployment: everything that can be known or refused before a tenant is touched.

use pgrx::Spi;
use stonescriptdb_bundle::Bundle;
use stonescriptdb_protocol::{
    DeployMode, ErrorCode, ExtensionSpec, Failure, MAIN_TENANT, NameError, Named, Prepare, Prepared, PreparedDatabase,
    database_name, is_main,
};

use super::registry::{self, Platform};
use super::{execute, roles, spi};
use crate::executor::deploy::sources;
use crate::postgres::{toplevel, transaction};

/// The platform that a bundle's manifest names.
///
/// # Errors
/// `schema_extraction_failed`.
pub(super) fn identify(archive: &[u8]) -> Result<Option<String>, Failure> {
    let bundle = sources::read_bundle(archive)?;
    Ok(bundle.manifest.and_then(|manifest| manifest.platform))
}

/// A database that is to be created.
struct Wanted {
    tenant: Named,
    database: String,
}

/// Carries out the first half. Roles and registry rows commit first, in one transaction; then the database is created, which
/// PostgreSQL does in a transaction of its own; then it is closed to everybody else.
///
/// # Errors
/// Whatever of the bundle or of the names is wrong.
pub(super) fn run(request: Prepare) -> Result<Prepared, Failure> {
    let (mut prepared, wanted) = transaction(|| registered(&request))?;
    if let Some(wanted) = wanted {
        if let Err(failure) = create(&prepared, &wanted) {
            let finish = super::finish::failed(&request.deployment_id, &wanted.database, failure.clone());
            super::finish::run(finish)?;
            return Err(failure);
        }
        prepared.databases.push(PreparedDatabase { name: wanted.database, created: true });
    }
    Ok(prepared)
}

fn registered(request: &Prepare) -> Result<(Prepared, Option<Wanted>), Failure> {
    let stored_archive = match (&request.archive, &request.platform) {
        (None, Some(platform)) => newest_bundle(platform)?,
        _ => None,
    };
    let archive = request.archive.as_deref().or(stored_archive.as_deref());
    let bundle = archive.map(sources::read_bundle).transpose()?;
    if let Some(bundle) = &bundle {
        // Parses and orders everything: what cannot be right in any database is refused here.
        sources::Sources::read(bundle)?;
    }
    let elevated_extensions = bundle.as_ref().map(extensions).transpose()?.unwrap_or_default();
    let platform_name =
        request.platform.clone().or_else(|| bundle.as_ref()?.manifest.as_ref()?.platform.clone()).ok_or_else(|| {
            Failure::new(ErrorCode::InvalidRequest, "the field platform is missing")
                .hint("Send it, or put {\"platform\": \"…\"} into stonescript.json of the archive.")
        })?;
    let named = Named::new("platform", &platform_name).map_err(bad_name)?;
    // Two deployments of one new platform must not both make its roles.
    execute(
        "SELECT pg_advisory_xact_lock(hashtext('stonescriptdb platform'), hashtext($1))",
        &[named.key.as_str().into()],
    )?;
    let platform = platform(&named, request)?;
    let (databases, wanted) = databases(&named, &platform, request)?;
    let sha256 = bundle.as_ref().map(|bundle| bundle.sha256.clone());
    if let (Some(bundle), Some(archive)) = (&bundle, &request.archive) {
        let manifest = bundle.manifest.as_ref().and_then(|manifest| serde_json::to_string(manifest).ok());
        execute(
            "INSERT INTO stonescriptdb.bundle (platform, sha256, archive, manifest) VALUES ($1, $2, $3, $4::jsonb)
             ON CONFLICT DO NOTHING",
            &[platform.name.as_str().into(), bundle.sha256.as_str().into(), archive.as_slice().into(), manifest.into()],
        )?;
    }
    record(request, &platform.name, sha256.as_deref(), &databases, wanted.as_ref())?;
    let prepared = Prepared {
        platform: platform.name,
        owner_role: platform.owner_role,
        call_role: platform.call_role,
        stored_archive,
        bundle_sha256: sha256,
        databases,
        elevated_extensions,
        warnings: bundle.map(|bundle| bundle.warnings).unwrap_or_default(),
    };
    Ok((prepared, wanted))
}

fn newest_bundle(platform: &str) -> Result<Option<Vec<u8>>, Failure> {
    let named = Named::new("platform", platform).map_err(bad_name)?;
    Spi::get_one_with_args::<Vec<u8>>(
        "SELECT (SELECT b.archive FROM stonescriptdb.bundle b JOIN stonescriptdb.platform p ON p.name = b.platform
                 WHERE p.key = $1 AND b.deployed_at IS NOT NULL ORDER BY b.deployed_at DESC LIMIT 1)",
        &[named.key.as_str().into()],
    )
    .map_err(|error| spi(error).into())
}

fn platform(named: &Named, request: &Prepare) -> Result<Platform, Failure> {
    match registry::platform(named)? {
        Some(platform) => return Ok(platform),
        None if request.mode == DeployMode::Migrate || request.archive.is_none() => {
            return Err(Failure::new(
                ErrorCode::PlatformNotFound,
                format!("there is no platform \"{}\"", named.written),
            )
            .hint("Register it first."));
        }
        None => {}
    }
    let (owner_role, call_role) = roles::names(&named.key);
    roles::ensure(&owner_role, &format!("stonescriptdb: owns the databases of the platform {}", named.key))?;
    roles::ensure(&call_role, &format!("stonescriptdb: calls functions of the platform {}", named.key))?;
    execute(
        "INSERT INTO stonescriptdb.platform (name, key, owner_role, call_role, created_by) VALUES ($1, $2, $3, $4, $5::uuid)",
        &[
            named.written.as_str().into(),
            named.key.as_str().into(),
            owner_role.as_str().into(),
            call_role.as_str().into(),
            request.deployment_id.as_str().into(),
        ],
    )?;
    Ok(Platform { name: named.written.clone(), owner_role, call_role })
}

/// The databases to deploy to, and the one to create.
fn databases(
    named: &Named,
    platform: &Platform,
    request: &Prepare,
) -> Result<(Vec<PreparedDatabase>, Option<Wanted>), Failure> {
    let tenant = request.tenant.as_deref();
    if request.mode == DeployMode::Migrate && tenant.is_none_or(str::is_empty) {
        let all = registry::databases(&platform.name, None)?;
        let there = all.into_iter().filter(|database| database.ready && database.exists);
        return Ok((there.map(|database| PreparedDatabase { name: database.name, created: false }).collect(), None));
    }
    let tenant = if is_main(tenant) { MAIN_TENANT } else { tenant.unwrap_or(MAIN_TENANT) };
    let tenant = Named::new("tenant", tenant).map_err(bad_name)?;
    let database = database_name(&named.key, &tenant.key).map_err(bad_name)?;
    let known = registry::databases(&platform.name, Some(&tenant.key))?.pop();
    if let Some(known) = known {
        if known.tenant != tenant.written && tenant.key != tenant.written {
            return Err(registry::collision(format!(
                "the tenants \"{}\" and \"{}\" would both be \"{database}\"",
                known.tenant, tenant.written
            ))
            .database(database));
        }
        if known.ready && known.exists {
            if request.must_be_new {
                return Err(Failure::new(
                    ErrorCode::DatabaseAlreadyExists,
                    format!("the database \"{}\" exists already", known.name),
                )
                .database(known.name));
            }
            return Ok((vec![PreparedDatabase { name: known.name, created: false }], None));
        }
        // Dropped by other means, or never finished: whatever is left goes, and it starts anew.
        if request.mode == DeployMode::Register {
            super::finish::forget(&known.name)?;
        }
    }
    if request.mode == DeployMode::Migrate {
        return Err(Failure::new(ErrorCode::DatabaseNotFound, format!("there is no database \"{database}\""))
            .hint("Register the tenant first.")
            .database(database));
    }
    registry::claim(&platform.name, &tenant, &database)?;
    Ok((Vec::new(), Some(Wanted { tenant, database })))
}

fn record(
    request: &Prepare,
    platform: &str,
    sha256: Option<&str>,
    databases: &[PreparedDatabase],
    wanted: Option<&Wanted>,
) -> Result<(), Failure> {
    let kind = match request.mode {
        DeployMode::Register => "register",
        DeployMode::Migrate => "migrate",
    };
    execute(
        "INSERT INTO stonescriptdb.deployment
             (id, kind, platform, bundle_sha256, state, requested_by, client_address, request_id, force, allow, dry_run)
         VALUES ($1::uuid, $2, $3, $4, 'running', $5, $6, nullif($7, ''), $8, $9, $10)",
        &[
            request.deployment_id.as_str().into(),
            kind.into(),
            platform.into(),
            sha256.into(),
            request.asked.by.as_str().into(),
            request.asked.from.as_deref().into(),
            request.asked.request_id.as_str().into(),
            request.options.force.into(),
            request.options.allow.clone().into(),
            request.options.dry_run.into(),
        ],
    )?;
    let names =
        databases.iter().map(|database| database.name.as_str()).chain(wanted.map(|wanted| wanted.database.as_str()));
    for (position, name) in names.enumerate() {
        execute(
            "INSERT INTO stonescriptdb.deployment_database (deployment_id, position, database, state) VALUES ($1::uuid, $2, $3, 'running')",
            &[request.deployment_id.as_str().into(), (position as i32).into(), name.into()],
        )?;
    }
    Ok(())
}

fn create(prepared: &Prepared, wanted: &Wanted) -> Result<(), Failure> {
    // template0 has no connections and nothing of a DBA's own in it: a tenant is what its bundle says and nothing else.
    toplevel::create_database(&wanted.database, &prepared.owner_role, "template0")?;
    transaction(|| {
        execute(
            "UPDATE stonescriptdb.database SET datid = (SELECT oid FROM pg_database WHERE datname = $1) WHERE name = $1",
            &[wanted.database.as_str().into()],
        )?;
        roles::close_database(&wanted.database, &prepared.owner_role, &prepared.call_role)
    })
    .map_err(|failure: Failure| failure.detail(format!("while creating the database of the tenant {}", wanted.tenant.written)))
}

/// Checks a bundle's extensions against what the server has; gives those that only a superuser can install and that are allowed.
fn extensions(bundle: &Bundle) -> Result<Vec<ExtensionSpec>, Failure> {
    let allowed = crate::settings::allowed_extensions();
    let mut elevated = Vec::new();
    for spec in crate::executor::extensions::wanted(bundle) {
        let trusted = Spi::get_one_with_args::<bool>(
            "SELECT bool_or(trusted OR NOT superuser) FROM pg_available_extension_versions WHERE name = $1 AND ($2 IS NULL OR version = $2)",
            &[spec.1.name.as_str().into(), spec.1.version.as_deref().into()],
        )
        .map_err(spi)?;
        let refused =
            |message: String| Failure::new(ErrorCode::ExtensionNotAvailable, message).at(spec.0.clone(), None);
        match trusted {
            Some(true) => {}
            Some(false) if allowed.contains(&spec.1.name) => elevated.push(spec.1.clone()),
            Some(false) => {
                return Err(refused(format!("the extension \"{}\" is not allowed", spec.1.name))
                    .hint("PostgreSQL does not trust it; a DBA can add it to stonescriptdb.allowed_extensions."));
            }
            None => {
                let version =
                    spec.1.version.as_ref().map(|version| format!(" in version {version}")).unwrap_or_default();
                return Err(refused(format!("the server has no extension \"{}\"{version}", spec.1.name))
                    .hint("Install its package on the server; pg_available_extension_versions lists what is there."));
            }
        }
    }
    Ok(elevated)
}

fn bad_name(error: NameError) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, error.to_string())
}
