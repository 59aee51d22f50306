//! Platforms and tenants beside deployments: registered, renamed, copied, suspended, taken over, listed.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stonescriptdb_protocol::{
    AdoptRequest, ControlRequest, ExecutorRequest, Failure, Listing, MAIN_TENANT, Overview, TenantName, TenantVerb,
    TenantWork, TokenSpec, is_main,
};

use super::control_target;
use super::gate::{Pass, enter};
use super::one::Adopted;
use crate::server::pool::Target;
use crate::server::{App, broker};

/// Carries out what SQL or HTTP asks.
///
/// # Errors
/// Those of the table of errors, and PostgreSQL's own.
pub(in crate::server) async fn tenant_verb(app: &Arc<App>, verb: TenantVerb) -> Result<Value, Failure> {
    match verb {
        TenantVerb::RegisterPlatform { platform } => register_platform(app, platform).await,
        TenantVerb::Rename { tenant, to } => rename(app, &tenant, to).await,
        TenantVerb::Copy { tenant, to } => copy(app, &tenant, to).await,
        TenantVerb::Suspend { tenant, reason } => suspend(app, &tenant, Some(reason.unwrap_or_default())).await,
        TenantVerb::Resume { tenant } => suspend(app, &tenant, None).await,
        TenantVerb::Adopt { tenant, database, by } => {
            // Not left halfway if who asked leaves.
            let app = app.clone();
            let task = tokio::spawn(async move { adopt(&app, tenant, database, by).await });
            task.await.map_err(|_| Failure::internal("the takeover of a database came to no end"))?
        }
    }
}

/// The database of a tenant as it is called now: a rename of a moment ago is known.
async fn database_of(app: &App, tenant: &TenantName) -> Result<String, Failure> {
    app.main.read_registry().await;
    let registry = app.registry();
    let found = registry.tenant(&tenant.platform, tenant.schema.as_deref(), Some(&tenant.tenant))?;
    Ok(found.database().to_owned())
}

/// The gates of two databases, always in the same order: two who want both do not wait for each other.
async fn enter_both(app: &App, one: &str, other: Option<String>, what: &str) -> Result<Vec<Pass>, Failure> {
    let mut names: Vec<&str> = std::iter::once(one).chain(other.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    let mut passes = Vec::new();
    for name in names {
        passes.push(enter(app, name, what).await?);
    }
    Ok(passes)
}

/// The name that a tenant's database gets.
fn name_for(app: &App, tenant: &TenantName, to: &str) -> Option<String> {
    let registry = app.registry();
    let to = if is_main(Some(to)) { MAIN_TENANT } else { to };
    registry.platform(&tenant.platform).ok()?.database_name(tenant.schema.as_deref(), to)
}

async fn rename(app: &Arc<App>, tenant: &TenantName, to: String) -> Result<Value, Failure> {
    let database = database_of(app, tenant).await?;
    let _passes = enter_both(app, &database, name_for(app, tenant, &to), "rename_tenant").await?;
    let hold = app.pool.hold(&database).await;
    let result: Result<String, Failure> = work(app, TenantWork::Rename { database: database.clone(), to }).await;
    // Whoever waits for an executor of the old name finds the new one.
    app.main.read_registry().await;
    drop(hold);
    Ok(json!({"status": "renamed", "database": result?, "from_database": database}))
}

async fn copy(app: &Arc<App>, tenant: &TenantName, to: String) -> Result<Value, Failure> {
    let database = database_of(app, tenant).await?;
    let _passes = enter_both(app, &database, name_for(app, tenant, &to), "copy_tenant").await?;
    let hold = app.pool.hold(&database).await;
    let result: Result<String, Failure> = work(app, TenantWork::Copy { database: database.clone(), to }).await;
    drop(hold);
    app.main.read_registry().await;
    Ok(json!({"status": "copied", "database": result?, "from_database": database}))
}

/// Not through the gate: whoever suspends a tenant must not wait for its deployment, which goes on anyway.
async fn suspend(app: &Arc<App>, tenant: &TenantName, reason: Option<String>) -> Result<Value, Failure> {
    let database = database_of(app, tenant).await?;
    let status = if reason.is_some() { "suspended" } else { "resumed" };
    work::<()>(app, TenantWork::Suspend { database: database.clone(), reason }).await?;
    app.main.read_registry().await;
    Ok(json!({"status": status, "database": database}))
}

async fn adopt(app: &Arc<App>, tenant: TenantName, database: String, by: Option<String>) -> Result<Value, Failure> {
    let _passes = enter_both(app, &database, name_for(app, &tenant, &tenant.tenant), "adopt").await?;
    let begin = TenantWork::BeginAdopt { tenant, database: database.clone(), by };
    let request: AdoptRequest = work(app, begin).await?;
    let result = match Adopted::take(app, &database, request).await {
        Ok(mut adopted) => {
            let taken = work::<()>(app, TenantWork::EndAdopt { database: database.clone(), taken: true }).await;
            adopted.kept = taken.is_ok();
            adopted.end().await;
            taken
        }
        Err(failure) => Err(failure.database(&*database)),
    };
    // Nobody deploys as superuser: that executor is of no more use.
    app.pool.release(&Target { database: database.as_str().into(), role: None, calls: false });
    if result.is_err() {
        work::<()>(app, TenantWork::EndAdopt { database: database.clone(), taken: false }).await?;
    }
    app.main.read_registry().await;
    result.map(|()| json!({"status": "adopted", "database": database}))
}

/// Has a control executor do something.
pub(super) async fn work<A: DeserializeOwned>(app: &App, work: TenantWork) -> Result<A, Failure> {
    broker::request(app, &control_target(app), &ExecutorRequest::Control(ControlRequest::Tenants(work))).await
}

async fn register_platform(app: &App, platform: String) -> Result<Value, Failure> {
    let name: String = work(app, TenantWork::RegisterPlatform { platform }).await?;
    app.main.read_registry().await;
    Ok(json!({
        "status": "registered", "platform": name, "message": format!("the platform \"{name}\" is registered"),
        // Each platform has roles of its own; what a client sends as db_user and db_password is not needed.
        "has_dedicated_credentials": true,
    }))
}

/// A new token of a platform, known to the server when this is over; JSON text.
///
/// # Errors
/// `invalid_request`, `database_not_found`.
pub(in crate::server) async fn issue_token(app: &App, token: TokenSpec) -> Result<String, Failure> {
    changed(app, TenantWork::IssueToken(token)).await
}

/// A token in place of another one; JSON text.
///
/// # Errors
/// `token_not_found`, `invalid_request`.
pub(in crate::server) async fn rotate_token(app: &App, rotate: TenantWork) -> Result<String, Failure> {
    changed(app, rotate).await
}

/// Makes a token useless; `false` if there is none of that id, or not of that platform.
///
/// # Errors
/// PostgreSQL's own.
pub(in crate::server) async fn revoke_token(app: &App, id: &str, of: Option<String>) -> Result<bool, Failure> {
    changed(app, TenantWork::RevokeToken { id: id.to_owned(), of }).await
}

/// Changes tokens; when it is over, the server knows them as they are now.
async fn changed<A: DeserializeOwned>(app: &App, change: TenantWork) -> Result<A, Failure> {
    let answer = work(app, change).await?;
    app.main.read_registry().await;
    Ok(answer)
}

/// Writes down that tokens were used.
///
/// # Errors
/// PostgreSQL's own.
pub(in crate::server) async fn note_tokens_used(app: &App, ids: Vec<String>) -> Result<(), Failure> {
    work(app, TenantWork::TokensUsed { ids }).await
}

/// What an administrator looks at, as JSON text.
///
/// # Errors
/// PostgreSQL's own.
pub(in crate::server) async fn look(app: &Arc<App>, what: Overview) -> Result<String, Failure> {
    work(app, TenantWork::Look(what)).await
}

/// A list, as JSON text.
///
/// # Errors
/// PostgreSQL's own.
pub(in crate::server) async fn list(app: &App, what: Listing) -> Result<String, Failure> {
    work(app, TenantWork::List(what)).await
}
