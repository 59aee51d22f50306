//! The first half of a deployment: everything that can be known or refused before a tenant is touched.

use stonescriptdb_protocol::{
    DeployMode, Deployment, ErrorCode, Failure, MAIN_TENANT, MissingRows, NameError, Named, Prepared, PreparedDatabase,
    Selection, Settled, database_name, is_main, is_uuid, stored_database_name,
};

use super::bundles::{Chosen, Sent};
use super::registry::{self, Platform, Schema};
use super::{execute, life, record, roles};
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
pub(super) fn run(request: &Deployment) -> Result<Prepared, Failure> {
    transaction(|| {
        // What a crash takes of these rows, the next start finds missing in the tenant too.
        if request.archive.is_some() && request.mode == DeployMode::Migrate {
            execute("SET LOCAL synchronous_commit = off", &[])?;
        }
        registered(request)
    })
}

fn registered(request: &Deployment) -> Result<Prepared, Failure> {
    let mut sent = request.archive.as_deref().map(Sent::new);
    let platform_name = match &request.platform {
        Some(platform) => Some(platform.clone()),
        None => sent.as_mut().map(Sent::manifest_platform).transpose()?.flatten(),
    };
    let platform_name = platform_name.ok_or_else(|| {
        Failure::new(ErrorCode::InvalidRequest, "the field platform is missing")
            .hint("Send it, or put {\"platform\": \"…\"} into stonescript.json of the archive.")
    })?;
    let named = Named::new("platform", &platform_name).map_err(bad_name)?;
    if let Some(sent) = &mut sent {
        sent.check(&named.key)?;
    }
    lock_platform(&named.key)?;
    let schema_named = schema_named(request)?;
    let platform = platform(&named, request)?;
    let schema = schema(&platform, schema_named.as_ref(), request)?;
    let (chosen, missing) = databases(&named, &platform, &schema, request)?;
    let mut bundles = Chosen::new(&platform.name, sent);
    if request.selection == Selection::Nothing {
        bundles.place_for(schema.bundle_sha256.as_deref(), None)?;
    }
    let canaries = canaries(&chosen, &request.fleet.canary)?;
    let is_single = matches!(request.selection, Selection::Tenant(_) | Selection::Nothing);
    let mut databases = Vec::new();
    for (database, position) in chosen.into_iter().zip(0..) {
        let bundle = bundles.place_for(database.bundle_sha256.as_deref(), schema.bundle_sha256.as_deref())?;
        let target = bundle.and_then(|place| bundles.sha256_at(place));
        let known = !is_single
            && !database.unsettled
            && database.start == Start::Existing
            && looks_at_nothing_else(request)
            && target.is_some()
            && target == database.bundle_sha256.as_deref();
        databases.push(PreparedDatabase {
            position,
            canary: canaries.contains(&database.tenant),
            settled: known.then_some(Settled::Unchanged),
            name: database.name,
            tenant: database.tenant,
            created: database.start == Start::Created,
            adopted: database.start == Start::Adopted,
            bundle,
        });
    }
    let (bundles, mut warnings) = bundles.into_parts();
    warnings.extend(missing);
    record::begin(request, &platform.name, &schema.name, &bundles, &databases)?;
    Ok(Prepared {
        mode: request.mode,
        options: request.options.clone(),
        fleet: request.fleet.clone(),
        is_single,
        platform: platform.name,
        schema: schema.name,
        owner_role: platform.owner_role,
        call_role: platform.call_role,
        by: request.asked.role().map(str::to_owned),
        bundles,
        databases,
        warnings,
    })
}

/// Two deployments of one new platform must not both make its roles, nor two claim one name.
pub(super) fn lock_platform(key: &str) -> Result<(), Failure> {
    execute("SELECT pg_advisory_xact_lock(hashtext('stonescriptdb platform'), hashtext($1))", &[key.into()])
}

/// What the registry knows of a database's bundle is all that is asked for.
fn looks_at_nothing_else(request: &Deployment) -> bool {
    let options = &request.options;
    !options.verify && !options.dry_run && options.plan.is_none() && options.seeders == MissingRows::Refuse
}

/// The stored schema of a request, sanitised.
fn schema_named(request: &Deployment) -> Result<Option<Named>, Failure> {
    let sent = request.schema.as_deref().filter(|name| !name.is_empty());
    sent.map(|name| Named::new("schema", name)).transpose().map_err(bad_name)
}

fn schema(platform: &Platform, named: Option<&Named>, request: &Deployment) -> Result<Schema, Failure> {
    match (registry::schema(&platform.name, named)?, named) {
        (Some(schema), _) => Ok(schema),
        (None, Some(named)) if request.selection == Selection::Nothing => {
            Ok(Schema { name: named.written.clone(), key: named.key.clone(), bundle_sha256: None })
        }
        (None, named) => Err(no_schema(&platform.name, named.map_or("", |named| named.written.as_str()))),
    }
}

pub(super) fn no_schema(platform: &str, schema: &str) -> Failure {
    Failure::new(ErrorCode::SchemaNotFound, format!("the platform \"{platform}\" has no stored schema \"{schema}\""))
        .hint("Upload it first.")
}

fn platform(named: &Named, request: &Deployment) -> Result<Platform, Failure> {
    match registry::platform(named)? {
        Some(platform) => return Ok(platform),
        None if request.archive.is_none()
            || request.schema.is_some()
            || (request.mode == DeployMode::Migrate && !may_adopt(named, request)?) =>
        {
            return Err(no_platform(&named.written).hint("Register it first."));
        }
        None => {}
    }
    create_platform(named, Some(&request.deployment_id))
}

pub(super) fn no_platform(name: &str) -> Failure {
    Failure::new(ErrorCode::PlatformNotFound, format!("there is no platform \"{name}\""))
}

/// Makes a platform's roles and its row.
///
/// # Errors
/// `name_collision` for roles that are somebody else's.
pub(super) fn create_platform(named: &Named, deployment_id: Option<&str>) -> Result<Platform, Failure> {
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
            deployment_id.into(),
        ],
    )?;
    Ok(Platform { name: named.written.clone(), owner_role, call_role })
}

/// Whether the database that a request names is there without being in the registry, so that it may be the standalone gateway's.
fn may_adopt(named: &Named, request: &Deployment) -> Result<bool, Failure> {
    if request.schema.is_some() {
        return Ok(false);
    }
    let (_, database) = tenant_and_database(&named.key, "", sent_tenant(request))?;
    Ok(crate::settings::adopt_gateway_databases() && registry::oid_of(&database)?.is_some())
}

fn sent_tenant(request: &Deployment) -> Option<&str> {
    match &request.selection {
        Selection::Tenant(tenant) => tenant.as_deref(),
        _ => None,
    }
}

/// A tenant as sent, and the name that its database gets.
///
/// # Errors
/// `invalid_request` for a name of nothing, or one that is too long.
pub(super) fn tenant_and_database(
    platform_key: &str,
    schema_key: &str,
    tenant: Option<&str>,
) -> Result<(Named, String), Failure> {
    let tenant = if is_main(tenant) { MAIN_TENANT } else { tenant.unwrap_or(MAIN_TENANT) };
    let tenant = Named::new("tenant", tenant).map_err(bad_name)?;
    let database = match schema_key {
        "" => database_name(platform_key, &tenant.key),
        schema => stored_database_name(platform_key, schema, &tenant.key),
    };
    Ok((tenant, database.map_err(bad_name)?))
}

/// How a database comes to be deployed to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Existing,
    Created,
    Adopted,
}

/// A database to deploy to.
struct Database {
    name: String,
    tenant: String,
    start: Start,
    /// The bundle that it is in the state of.
    bundle_sha256: Option<String>,
    /// It has to be looked into, whatever the registry says.
    unsettled: bool,
}

fn existing(database: registry::Database) -> Database {
    Database {
        name: database.name,
        tenant: database.tenant.written,
        start: Start::Existing,
        bundle_sha256: database.bundle_sha256,
        unsettled: database.unsettled,
    }
}

/// The databases of a deployment, and a remark on each that should be there and is not.
fn databases(
    named: &Named,
    platform: &Platform,
    schema: &Schema,
    request: &Deployment,
) -> Result<(Vec<Database>, Vec<String>), Failure> {
    let only = |databases| Ok((databases, Vec::new()));
    match &request.selection {
        Selection::Nothing => only(Vec::new()),
        Selection::Tenant(tenant) => only(vec![one(named, platform, schema, tenant.as_deref(), request)?]),
        Selection::All => {
            let all = registry::databases(&platform.name, &schema.name, None)?;
            let (there, missing): (Vec<_>, Vec<_>) =
                all.into_iter().filter(|database| database.ready).partition(|database| database.exists);
            if there.is_empty() && may_adopt(named, request)? {
                return only(vec![one(named, platform, schema, None, request)?]);
            }
            let remark = |database: registry::Database| {
                format!("the database \"{}\" is left out: it was dropped by other means", database.name)
            };
            Ok((there.into_iter().map(existing).collect(), missing.into_iter().map(remark).collect()))
        }
        Selection::Only(tenants) => {
            let all = registry::databases(&platform.name, &schema.name, None)?;
            let mut found = Vec::new();
            for tenant in tenants {
                let (tenant, database) = tenant_and_database(&named.key, &schema.key, Some(tenant))?;
                let known = all.iter().any(|known| known.tenant.key == tenant.key && known.ready && known.exists);
                if !known {
                    return Err(no_database(&database));
                }
                found.push(tenant.key);
            }
            let wanted = |database: &registry::Database| found.contains(&database.tenant.key);
            only(all.into_iter().filter(wanted).map(existing).collect())
        }
    }
}

fn no_database(database: &str) -> Failure {
    Failure::new(ErrorCode::DatabaseNotFound, format!("there is no database \"{database}\""))
        .hint("Register the tenant first.")
        .database(database)
}

/// The database of one tenant; it is claimed if it is to be made.
fn one(
    named: &Named,
    platform: &Platform,
    schema: &Schema,
    tenant: Option<&str>,
    request: &Deployment,
) -> Result<Database, Failure> {
    let (tenant, database) = tenant_and_database(&named.key, &schema.key, tenant)?;
    let known = registry::databases(&platform.name, &schema.name, Some(&tenant.key))?.pop();
    if let Some(known) = known {
        // An id that was sent sanitised finds the one that is meant; two that are written differently are not one.
        if known.tenant.written != tenant.written && tenant.key != tenant.written && !is_uuid(&tenant.written) {
            return Err(registry::collision(format!(
                "the tenants \"{}\" and \"{}\" would both be \"{database}\"",
                known.tenant.written, tenant.written
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
            return Ok(existing(known));
        }
        // Dropped by other means, or never finished: whatever is left goes, and it starts anew.
        if request.mode == DeployMode::Register {
            super::finish::forget(&known.name)?;
        }
    }
    let may_adopt = !request.must_be_new && may_adopt(named, request)?;
    if request.mode == DeployMode::Migrate && !may_adopt {
        return Err(no_database(&database));
    }
    if request.archive.is_none() && schema.bundle_sha256.is_none() {
        return Err(Failure::new(
            ErrorCode::SchemaNotFound,
            format!("the platform \"{}\" has no bundle that the database could be made of", platform.name),
        )
        .hint("Register or upload one first."));
    }
    if may_adopt {
        life::require_adoptable(&database)?;
        if let Some(by) = request.asked.role() {
            life::require_owner(&database, by)?;
        }
    }
    registry::claim(&platform.name, &schema.name, &tenant, &database, may_adopt)?;
    let start = if may_adopt { Start::Adopted } else { Start::Created };
    Ok(Database { name: database, tenant: tenant.written, start, bundle_sha256: None, unsettled: false })
}

/// The canaries among the databases, by their tenants as registered.
fn canaries(chosen: &[Database], asked: &[String]) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for canary in asked {
        let key = if is_main(Some(canary)) { MAIN_TENANT.to_owned() } else { stonescriptdb_protocol::sanitise(canary) };
        let known = chosen
            .iter()
            .find(|database| database.tenant == *canary || stonescriptdb_protocol::sanitise(&database.tenant) == key);
        match known {
            Some(database) => found.push(database.tenant.clone()),
            None => {
                return Err(Failure::new(
                    ErrorCode::InvalidRequest,
                    format!("the canary \"{canary}\" is none of the databases of this deployment"),
                ));
            }
        }
    }
    Ok(found)
}

pub(super) fn bad_name(error: NameError) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, error.to_string())
}
