//! What a DBA calls: thin functions that hand their arguments to the broker and wait.

mod client;

use stonescriptdb_protocol::{Asked, BackendRequest, DeployMode, DeployOptions, ErrorCode, Failure, MissingRows};

use crate::postgres::{Arguments, Returned, hooks};

pub(crate) use client::{hold_database, release_databases, tell_registry_changed};

/// `register(schema, platform, tenant_id, force, allow)`.
pub(crate) fn register(arguments: &Arguments) -> Result<Returned, Failure> {
    deploy(arguments, DeployMode::Register)
}

/// `migrate(schema, platform, tenant_id, force, allow, dry_run)`.
pub(crate) fn migrate(arguments: &Arguments) -> Result<Returned, Failure> {
    deploy(arguments, DeployMode::Migrate)
}

/// `check(platform, tenant_id)` and the view `drift`, as a JSON array.
pub(crate) fn check(arguments: &Arguments) -> Result<Returned, Failure> {
    let (platform, tenant) = (arguments.text(0), arguments.text(1));
    if platform.is_none() && tenant.is_some() {
        return Err(missing("platform"));
    }
    json(&BackendRequest::Check { platform, tenant })
}

fn deploy(arguments: &Arguments, mode: DeployMode) -> Result<Returned, Failure> {
    let archive = arguments.bytes(0).ok_or_else(|| missing("schema"))?;
    let seeders = match arguments.text(7).as_deref() {
        None | Some("check") => MissingRows::Refuse,
        Some("insert_missing") => MissingRows::Insert,
        Some(other) => {
            let message = format!("the argument seeders is check or insert_missing, not \"{other}\"");
            return Err(Failure::new(ErrorCode::InvalidRequest, message));
        }
    };
    json(&BackendRequest::Deploy {
        mode,
        archive,
        platform: arguments.text(1),
        tenant: arguments.text(2),
        options: DeployOptions {
            force: arguments.boolean(3),
            allow: arguments.texts(4),
            dry_run: arguments.boolean(5),
            continue_on_error: false,
            verify: arguments.boolean(6),
            seeders,
            plan: arguments.text(8),
        },
        asked: asked(),
    })
}

/// `call(platform, function, params, tenant_id)`.
pub(crate) fn call(arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::Call {
        platform: arguments.text(0).ok_or_else(|| missing("platform"))?,
        function: arguments.text(1).ok_or_else(|| missing("function"))?,
        params: arguments.json(2).unwrap_or_default().into_bytes(),
        tenant: arguments.text(3),
        timeout_ms: crate::settings::call_timeout_ms(),
    })
}

/// `create_tenant(platform, tenant_id)`.
pub(crate) fn create_tenant(arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::CreateTenant {
        platform: arguments.text(0).ok_or_else(|| missing("platform"))?,
        tenant: arguments.text(1).ok_or_else(|| missing("tenant_id"))?,
        asked: asked(),
    })
}

/// `drop_tenant(platform, tenant_id, confirm)`.
pub(crate) fn drop_tenant(arguments: &Arguments) -> Result<Returned, Failure> {
    json(&BackendRequest::DropTenant {
        platform: arguments.text(0).ok_or_else(|| missing("platform"))?,
        tenant: arguments.text(1).unwrap_or_default(),
        confirm: arguments.text(2).ok_or_else(|| missing("confirm"))?,
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
    Failure::new(ErrorCode::InvalidRequest, format!("the argument {argument} must not be NULL"))
}
