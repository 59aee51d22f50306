//! The first half of a deployment: everything that can be known or refused before a tenant is touched.

use pgrx::Spi;
use stonescriptdb_bundle::{Bundle, Kind};
use stonescriptdb_protocol::{
    DeployMode, ErrorCode, ExtensionSpec, Failure, MAIN_TENANT, NameError, Named, Prepare, Prepared, PreparedBundle,
    PreparedDatabase, Refused, TemplateKey, database_name, is_main,
};

use super::registry::{self, Deployment, Platform};
use super::{execute, roles, spi};
use crate::executor::deploy::sources;
use crate::postgres::transaction;

/// The platform that a bundle's manifest names.
///
/// # Errors
/// `schema_extraction_failed`.
pub(super) fn identify(archive: &[u8]) -> Result<Option<String>, Failure> {
    let bundle = sources::read_bundle(archive)?;
    Ok(bundle.manifest.and_then(|manifest| manifest.platform))
}

/// Carries out the first half: roles and registry rows, in one transaction. Nothing of a tenant is touched.
///
/// # Errors
/// Whatever of the bundle or of the names is wrong; it leaves no trace.
pub(super) fn run(request: &Prepare) -> Result<Prepared, Failure> {
    transaction(|| {
        // What a crash takes of these rows, the next start finds missing in the tenant too.
        if request.archive.is_some() && request.mode == DeployMode::Migrate {
            execute("SET LOCAL synchronous_commit = off", &[])?;
        }
        registered(request)
    })
}

fn registered(request: &Prepare) -> Result<Prepared, Failure> {
    let sent = request.archive.as_deref().map(|archive| Sent { archive, sha256: sha256_hex(archive), bundle: None });
    let mut sent = sent;
    let platform_name = match &request.platform {
        Some(platform) => Some(platform.clone()),
        None => sent.as_mut().map(|sent| sent.manifest_platform()).transpose()?.flatten(),
    };
    let platform_name = platform_name.ok_or_else(|| {
        Failure::new(ErrorCode::InvalidRequest, "the field platform is missing")
            .hint("Send it, or put {\"platform\": \"…\"} into stonescript.json of the archive.")
    })?;
    let named = Named::new("platform", &platform_name).map_err(bad_name)?;
    if let Some(sent) = &mut sent
        && !is_proved(&named.key, &sent.sha256)?
    {
        // Parses and orders everything: what cannot be right in any database is refused before anything is made.
        sources::Sources::read(sent.bundle()?)?;
    }
    // Two deployments of one new platform must not both make its roles.
    execute(
        "SELECT pg_advisory_xact_lock(hashtext('stonescriptdb platform'), hashtext($1))",
        &[named.key.as_str().into()],
    )?;
    let platform = platform(&named, request)?;
    let chosen = databases(&named, &platform, request)?;
    let mut bundles: Vec<PreparedBundle> = Vec::new();
    let mut databases = Vec::new();
    for database in chosen {
        let key = match &mut sent {
            Some(sent) => Some(sent.complete(&platform.name, database.bundle_sha256.as_deref())?),
            None => registry::newest_bundle(&platform.name)?.map(|sha256| (sha256, None)),
        };
        let bundle = match key {
            None => None,
            Some((sha256, archive)) => {
                let known = bundles.iter().position(|bundle| bundle.key.sha256 == sha256);
                Some(match known {
                    Some(place) => place,
                    None => {
                        let base = database.bundle_sha256.as_deref();
                        bundles.push(self::bundle(&platform.name, sha256, archive, base, &mut sent)?);
                        bundles.len() - 1
                    }
                })
            }
        };
        databases.push(PreparedDatabase {
            name: database.name,
            created: database.start == Chosen::Created,
            adopted: database.start == Chosen::Adopted,
            bundle,
        });
    }
    record(request, &platform.name, &bundles, &databases)?;
    Ok(Prepared {
        platform: platform.name,
        owner_role: platform.owner_role,
        call_role: platform.call_role,
        bundles,
        databases,
        warnings: sent.and_then(|sent| sent.bundle).map(|bundle| bundle.warnings).unwrap_or_default(),
    })
}

/// The archive of the request. It is unpacked only if something asks what is in it.
struct Sent<'r> {
    archive: &'r [u8],
    sha256: String,
    bundle: Option<Bundle>,
}

impl Sent<'_> {
    fn bundle(&mut self) -> Result<&Bundle, Failure> {
        let bundle = match self.bundle.take() {
            Some(bundle) => bundle,
            None => sources::read_bundle(self.archive)?,
        };
        Ok(self.bundle.insert(bundle))
    }

    fn manifest_platform(&mut self) -> Result<Option<String>, Failure> {
        Ok(self.bundle()?.manifest.as_ref().and_then(|manifest| manifest.platform.clone()))
    }

    /// The bundle for a database that is in the state of another: kinds of files of which this one has none are taken from there.
    /// Gives its SHA-256, and its bytes if they are not those that were sent.
    fn complete(&mut self, platform: &str, base: Option<&str>) -> Result<(String, Option<Vec<u8>>), Failure> {
        let own = (self.sha256.clone(), None);
        let Some(base) = base.filter(|base| *base != self.sha256) else { return Ok(own) };
        let base_kinds = registry::kinds(platform, base)?;
        let bundle = self.bundle()?;
        if base_kinds.iter().all(|kind| Kind::of_folder(kind).is_none_or(|kind| bundle.has(kind))) {
            return Ok(own);
        }
        let Some(archive) = registry::archive(platform, base)? else { return Ok(own) };
        let base = sources::read_bundle(&archive)?;
        if bundle.unsaid(&base).is_empty() {
            return Ok(own);
        }
        let whole = bundle.completed_with(&base).map_err(|error| Failure::internal(error.to_string()))?;
        Ok((sha256_hex(&whole), Some(whole)))
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_proved(platform_key: &str, sha256: &str) -> Result<bool, Failure> {
    let proved = Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM stonescriptdb.bundle b JOIN stonescriptdb.platform p ON p.name = b.platform
                        WHERE p.key = $1 AND b.sha256 = $2 AND b.proved_at IS NOT NULL)",
        &[platform_key.into(), sha256.into()],
    );
    Ok(proved.map_err(spi)? == Some(true))
}

/// A bundle of the deployment: as the registry knows it, or stored now.
fn bundle(
    platform: &str,
    sha256: String,
    archive: Option<Vec<u8>>,
    base: Option<&str>,
    sent: &mut Option<Sent<'_>>,
) -> Result<PreparedBundle, Failure> {
    let key = TemplateKey { platform: platform.to_owned(), sha256 };
    let inherited = match (&archive, sent.as_mut()) {
        (Some(whole), Some(sent)) => {
            let whole = sources::read_bundle(whole)?;
            sent.bundle()?.unsaid(&whole).into_iter().map(|kind| kind.folder().to_owned()).collect()
        }
        _ => Vec::new(),
    };
    if let Some((proved, elevated)) = registry::proved(&key)? {
        let allowed = crate::settings::allowed_extensions();
        if let Some(spec) = elevated.iter().find(|spec| !allowed.contains(&spec.name)) {
            return Err(not_allowed(&spec.name));
        }
        let archive = match (archive, &sent) {
            (None, Some(_)) => None,
            (Some(archive), _) => Some(archive),
            (None, None) => registry::archive(platform, &key.sha256)?,
        };
        return Ok(PreparedBundle {
            key,
            archive,
            inherited,
            proved: Some(proved),
            alike: None,
            elevated_extensions: elevated,
        });
    }
    let stored = match (&archive, &sent) {
        (None, None) => registry::archive(platform, &key.sha256)?,
        _ => archive,
    };
    let read;
    let (bundle, bytes) = match (&stored, sent) {
        (Some(bytes), _) => {
            read = sources::read_bundle(bytes)?;
            (&read, bytes.as_slice())
        }
        (None, Some(sent)) => {
            let bytes = sent.archive;
            (sent.bundle()?, bytes)
        }
        (None, None) => return Err(Failure::internal("a bundle is known and not stored")),
    };
    let elevated = extensions(bundle)?;
    registry::store_bundle(&key, bytes, bundle, &elevated)?;
    let alike = base.map(|base| alike(platform, base, bundle)).transpose()?.flatten();
    Ok(PreparedBundle { key, archive: stored, inherited, proved: None, alike, elevated_extensions: elevated })
}

/// The bundle of a database, if it is proved and the new one has the same files, but for the text of some of functions/.
fn alike(platform: &str, base: &str, bundle: &Bundle) -> Result<Option<(TemplateKey, Vec<String>)>, Failure> {
    let key = TemplateKey { platform: platform.to_owned(), sha256: base.to_owned() };
    if !registry::proved(&key)?.is_some_and(|(proved, _)| proved.plain && proved.clonable) {
        return Ok(None);
    }
    let Some(archive) = registry::archive(platform, base)? else { return Ok(None) };
    let base = sources::read_bundle(&archive)?;
    let same_files = base.files.len() == bundle.files.len()
        && base.files.iter().zip(&bundle.files).all(|(old, new)| {
            old.kind == new.kind && old.path == new.path && (old.sha256 == new.sha256 || old.kind == Kind::Function)
        });
    if !same_files {
        return Ok(None);
    }
    let changed = base.files.iter().zip(&bundle.files).filter(|(old, new)| old.sha256 != new.sha256);
    Ok(Some((key, changed.map(|(_, new)| new.path.clone()).collect())))
}

fn not_allowed(extension: &str) -> Failure {
    Failure::new(ErrorCode::ExtensionNotAvailable, format!("the extension \"{extension}\" is not allowed"))
        .hint("PostgreSQL does not trust it; a DBA can add it to stonescriptdb.allowed_extensions.")
}

fn platform(named: &Named, request: &Prepare) -> Result<Platform, Failure> {
    match registry::platform(named)? {
        Some(platform) => return Ok(platform),
        None if request.archive.is_none() || (request.mode == DeployMode::Migrate && !may_adopt(named, request)?) => {
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

/// Whether the database that a request names is there without being in the registry, so that it may be the standalone gateway's.
fn may_adopt(named: &Named, request: &Prepare) -> Result<bool, Failure> {
    let (_, database) = tenant_and_database(named, request)?;
    Ok(crate::settings::adopt_gateway_databases() && registry::oid_of(&database)?.is_some())
}

fn tenant_and_database(named: &Named, request: &Prepare) -> Result<(Named, String), Failure> {
    let tenant = request.tenant.as_deref();
    let tenant = if is_main(tenant) { MAIN_TENANT } else { tenant.unwrap_or(MAIN_TENANT) };
    let tenant = Named::new("tenant", tenant).map_err(bad_name)?;
    let database = database_name(&named.key, &tenant.key).map_err(bad_name)?;
    Ok((tenant, database))
}

/// How a database comes to be deployed to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chosen {
    Existing,
    Created,
    Adopted,
}

/// A database to deploy to.
struct Database {
    name: String,
    start: Chosen,
    /// The bundle that it is in the state of.
    bundle_sha256: Option<String>,
}

fn databases(named: &Named, platform: &Platform, request: &Prepare) -> Result<Vec<Database>, Failure> {
    let existing = |database: registry::Database| Database {
        name: database.name,
        start: Chosen::Existing,
        bundle_sha256: database.bundle_sha256,
    };
    if request.mode == DeployMode::Migrate && request.tenant.as_deref().is_none_or(str::is_empty) {
        let all = registry::databases(&platform.name, None)?;
        let there: Vec<Database> =
            all.into_iter().filter(|database| database.ready && database.exists).map(existing).collect();
        if !there.is_empty() || !may_adopt(named, request)? {
            return Ok(there);
        }
    }
    let (tenant, database) = tenant_and_database(named, request)?;
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
            return Ok(vec![existing(known)]);
        }
        // Dropped by other means, or never finished: whatever is left goes, and it starts anew.
        if request.mode == DeployMode::Register {
            super::finish::forget(&known.name)?;
        }
    }
    let may_adopt = !request.must_be_new && may_adopt(named, request)?;
    if request.mode == DeployMode::Migrate && !may_adopt {
        return Err(Failure::new(ErrorCode::DatabaseNotFound, format!("there is no database \"{database}\""))
            .hint("Register the tenant first.")
            .database(database));
    }
    registry::claim(&platform.name, &tenant, &database, may_adopt)?;
    let start = if may_adopt { Chosen::Adopted } else { Chosen::Created };
    Ok(vec![Database { name: database, start, bundle_sha256: None }])
}

fn record(
    request: &Prepare,
    platform: &str,
    bundles: &[PreparedBundle],
    databases: &[PreparedDatabase],
) -> Result<(), Failure> {
    let sha256_of = |place: Option<usize>| bundles.get(place?).map(|bundle| bundle.key.sha256.as_str());
    let asked = Deployment {
        id: &request.deployment_id,
        mode: request.mode,
        platform,
        tenant: request.tenant.as_deref(),
        options: &request.options,
        asked: &request.asked,
    };
    registry::record_deployment(&asked, "running", bundles.first().map(|bundle| bundle.key.sha256.as_str()), None)?;
    let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
    let sums: Vec<Option<&str>> = databases.iter().map(|database| sha256_of(database.bundle)).collect();
    execute(
        "INSERT INTO stonescriptdb.deployment_database (deployment_id, position, database, state, bundle_sha256)
         SELECT $1::uuid, place - 1, name, 'running', sha256
         FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS d(name, sha256, place)",
        &[request.deployment_id.as_str().into(), names.into(), sums.into()],
    )
}

/// Records a deployment that was refused before any database was touched.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn refused(refused: &Refused) -> Result<(), Failure> {
    let asked = Deployment {
        id: &refused.deployment_id,
        mode: refused.mode,
        platform: &refused.platform,
        tenant: refused.tenant.as_deref(),
        options: &refused.options,
        asked: &refused.asked,
    };
    let error = crate::error::to_json(&refused.failure, None).to_string();
    transaction(|| registry::record_deployment(&asked, "failed", None, Some(&error)))
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
            Some(false) => return Err(not_allowed(&spec.1.name).at(spec.0.clone(), None)),
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
