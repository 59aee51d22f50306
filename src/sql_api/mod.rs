//! What a DBA calls: thin functions that hand their arguments to the broker and wait.

mod client;
pub(crate) mod tenants;

use stonescriptdb_protocol::{
    Asked, BackendRequest, DeployMode, DeployOptions, Deployment, ErrorCode, Failure, FleetOptions, MissingRows,
    Selection,
};

use crate::postgres::session::login_role;
use crate::postgres::{Arguments, Returned, hooks};

pub(crate) use client::{
    hold_database, hold_deployments, note_restored, note_touched, release_databases, tell_registry_changed,
    tell_touched,
};

/// `register(schema, platform, tenant_id, force, allow)`.
pub(crate) fn register(arguments: &Arguments) -> Result<Returned, Failure> {
    deploy(arguments, DeployMode::Register)
}

/// `migrate(schema, platform, tenant_id, force, allow, dry_run)`.
pub(crate) fn migrate(arguments: &Arguments) -> Result<Returned, Failure> {
    deploy(arguments, DeployMode::Migrate)
}

/// `check(platform, tenant_id, schema_name)` and the view `drift`, as a JSON array.
pub(crate) fn check(arguments: &Arguments) -> Result<Returned, Failure> {
    let (platform, tenant) = (arguments.text(0), arguments.text(1));
    let schema = arguments.text(2).filter(|name| !name.is_empty());
    if platform.is_none() && (schema.is_some() || tenant.is_some()) {
        return Err(missing("platform"));
    }
    json(&BackendRequest::Check { platform, schema, tenant })
}

fn deploy(arguments: &Arguments, mode: DeployMode) -> Result<Returned, Failure> {
    let tenant = arguments.text(2).filter(|tenant| !tenant.is_empty());
    let deployment = Deployment {
        mode,
        archive: Some(arguments.bytes(0).ok_or_else(|| missing("schema"))?.into()),
        platform: arguments.text(1),
        schema: None,
        selection: match (mode, tenant) {
            (DeployMode::Migrate, None) => Selection::All,
            (_, tenant) => Selection::Tenant(tenant),
        },
        options: DeployOptions {
            force: arguments.boolean(3),
            allow: arguments.texts(4),
            dry_run: arguments.boolean(5),
            continue_on_error: false,
            verify: arguments.boolean(6) || arguments.boolean(9),
            full_verify: arguments.boolean(9),
            seeders: missing_rows(arguments.text(7))?,
            plan: arguments.text(8),
        },
        // In order, and at once: as over HTTP.
        fleet: FleetOptions { parallel: 1, retries: 0, ..FleetOptions::default() },
        asked: asked(),
        must_be_new: false,
        deployment_id: String::new(),
    };
    json(&BackendRequest::Deploy { deployment, wait: true })
}

/// `migrate_all(platform, schema_name, schema, tenants, canary, parallel, on_error, retries, force, allow, dry_run, verify, seeders, wait,
/// full_verify)`.
pub(crate) fn migrate_all(arguments: &Arguments) -> Result<Returned, Failure> {
    let continue_on_error = match arguments.text(6).as_deref() {
        None | Some("stop") => false,
        Some("continue") => true,
        Some(other) => return Err(invalid(format!("the argument on_error is stop or continue, not \"{other}\""))),
    };
    let number = |place: usize, name: &str, least: u32, default: u32| match arguments.integer(place) {
        None => Ok(default),
        Some(number) => u32::try_from(number)
            .ok()
            .filter(|number| *number >= least)
            .ok_or_else(|| invalid(format!("the argument {name} must be at least {least}, not {number}"))),
    };
    let defaults = FleetOptions::default();
    let deployment = Deployment {
        mode: DeployMode::Migrate,
        archive: arguments.bytes(2).map(Into::into),
        platform: Some(arguments.text(0).ok_or_else(|| missing("platform"))?),
        schema: arguments.text(1).filter(|name| !name.is_empty()),
        selection: if arguments.is_null(3) { Selection::All } else { Selection::Only(arguments.texts(3)) },
        options: DeployOptions {
            force: arguments.boolean(8),
            allow: arguments.texts(9),
            dry_run: arguments.boolean(10),
            continue_on_error,
            verify: arguments.boolean(11) || arguments.boolean(14),
            full_verify: arguments.boolean(14),
            seeders: missing_rows(arguments.text(12))?,
            plan: None,
        },
        fleet: FleetOptions {
            canary: arguments.texts(4),
            parallel: number(5, "parallel", 1, defaults.parallel)?,
            retries: number(7, "retries", 0, defaults.retries)?,
        },
        asked: asked(),
        must_be_new: false,
        deployment_id: String::new(),
    };
    json(&BackendRequest::Deploy { deployment, wait: arguments.is_null(13) || arguments.boolean(13) })
}

/// `upload_schema(platform, schema_name, schema)`.
pub(crate) fn upload_schema(arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::Upload {
        platform: arguments.text(0).ok_or_else(|| missing("platform"))?,
        schema: arguments.text(1).filter(|name| !name.is_empty()).ok_or_else(|| missing("schema_name"))?,
        archive: arguments.bytes(2).ok_or_else(|| missing("schema"))?.into(),
        asked: asked(),
    })
}

/// `create_database(platform, schema_name, database_id)`.
pub(crate) fn create_database(arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::Create {
        platform: arguments.text(0).ok_or_else(|| missing("platform"))?,
        schema: Some(arguments.text(1).filter(|name| !name.is_empty()).ok_or_else(|| missing("schema_name"))?),
        tenant: arguments.text(2),
        asked: asked(),
    })
}

/// `cancel_deployment(deployment)`.
pub(crate) fn cancel_deployment(arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::Cancel { deployment_id: arguments.uuid(0).ok_or_else(|| missing("deployment"))? })
}

/// `resume_deployment(deployment, wait)`.
pub(crate) fn resume_deployment(arguments: &Arguments) -> Result<Returned, Failure> {
    again(arguments, false)
}

/// `retry_deployment(deployment, wait)`.
pub(crate) fn retry_deployment(arguments: &Arguments) -> Result<Returned, Failure> {
    again(arguments, true)
}

fn again(arguments: &Arguments, failed: bool) -> Result<Returned, Failure> {
    let deployment_id = arguments.uuid(0).ok_or_else(|| missing("deployment"))?;
    json(&BackendRequest::Again { deployment_id, failed, wait: arguments.boolean(1) })
}

fn missing_rows(value: Option<String>) -> Result<MissingRows, Failure> {
    match value.as_deref() {
        None | Some("check") => Ok(MissingRows::Refuse),
        Some("insert_missing") => Ok(MissingRows::Insert),
        Some(other) => Err(invalid(format!("the argument seeders is check or insert_missing, not \"{other}\""))),
    }
}

/// `call(platform, function, params, tenant_id, schema_name)`.
pub(crate) fn call(arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::Call {
        platform: arguments.text(0).ok_or_else(|| missing("platform"))?,
        function: arguments.text(1).ok_or_else(|| missing("function"))?,
        params: arguments.json(2).unwrap_or_default().into_bytes(),
        tenant: arguments.text(3),
        schema: arguments.text(4),
        role: login_role(),
    })
}

/// `call_batch(platform, calls, tenant_id, schema_name)`.
pub(crate) fn call_batch(arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::Batch {
        platform: arguments.text(0).ok_or_else(|| missing("platform"))?,
        calls: arguments.json(1).ok_or_else(|| missing("calls"))?.into_bytes(),
        tenant: arguments.text(2),
        schema: arguments.text(3),
        role: login_role(),
    })
}

/// `create_tenant(platform, tenant_id)`.
pub(crate) fn create_tenant(arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::Create {
        platform: arguments.text(0).ok_or_else(|| missing("platform"))?,
        schema: None,
        tenant: Some(arguments.text(1).ok_or_else(|| missing("tenant_id"))?),
        asked: asked(),
    })
}

/// `drop_tenant(platform, tenant_id, confirm, schema_name)`.
pub(crate) fn drop_tenant(arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::DropTenant {
        platform: arguments.text(0).ok_or_else(|| missing("platform"))?,
        tenant: arguments.text(1).unwrap_or_default(),
        confirm: arguments.text(2).ok_or_else(|| missing("confirm"))?,
        schema: arguments.text(3),
    })
}

/// `health()`.
pub(crate) fn health(_arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::Health)
}

/// The rows of the view `workers`, as a JSON array.
pub(crate) fn workers(_arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::Workers)
}

/// The rows of the view `stats`, as a JSON array.
pub(crate) fn stats(_arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::Stats)
}

/// Trigger on the registry's tables: the server worker rereads them after the commit.
pub(crate) fn registry_changed(_arguments: &Arguments) -> Result<Returned, Failure> {
    hooks::note_registry_change();
    Ok(Returned::Void)
}

fn json(request: &BackendRequest) -> Result<Returned, Failure> {
    client::ask(request).map(Returned::Jsonb)
}

fn asked() -> Asked {
    let (by, from) = crate::postgres::session::who();
    Asked { by, from, request_id: String::new() }
}

fn missing(argument: &str) -> Failure {
    invalid(format!("the argument {argument} must not be NULL"))
}

fn invalid(message: String) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, message)
}
