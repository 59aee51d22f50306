//! Platforms and tenants beside deployments: registered, renamed, copied, suspended, taken over, listed.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stonescriptdb_protocol::{Asked, ControlRequest, ExecutorRequest, Failure, Listing, TenantVerb, TenantWork};

use super::control_target;
use crate::server::{App, broker};

/// Carries out what SQL or HTTP asks.
///
/// # Errors
/// Those of the table of errors, and PostgreSQL's own.
pub(in crate::server) async fn tenant_verb(app: &Arc<App>, verb: TenantVerb) -> Result<Value, Failure> {
    match verb {
        TenantVerb::RegisterPlatform { platform } => register_platform(app, platform).await,
    }
}

async fn work<A: DeserializeOwned>(app: &App, work: TenantWork) -> Result<A, Failure> {
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

/// A token that is to be made.
pub(in crate::server) struct NewToken {
    /// The platform as sent.
    pub(in crate::server) platform: String,
    /// What it is for.
    pub(in crate::server) description: Option<String>,
    /// When it ends, as PostgreSQL reads it.
    pub(in crate::server) expires_at: Option<String>,
}

/// A new token of a platform, known to the server when this is over; JSON text.
///
/// # Errors
/// `platform_not_found`, `invalid_request`.
pub(in crate::server) async fn issue_token(app: &App, token: NewToken, asked: Asked) -> Result<String, Failure> {
    let platform = app.registry().platform(&token.platform)?.name.clone();
    let by = match asked.from {
        Some(from) => format!("{} {from}", asked.by),
        None => asked.by,
    };
    let issue = TenantWork::IssueToken {
        platform,
        description: token.description,
        expires_at: token.expires_at.filter(|time| !time.is_empty()),
        by,
    };
    let issued = work(app, issue).await?;
    app.main.read_registry().await;
    Ok(issued)
}

/// Makes a token useless; `false` if there is none of that id.
///
/// # Errors
/// PostgreSQL's own.
pub(in crate::server) async fn revoke_token(app: &App, id: &str) -> Result<bool, Failure> {
    let revoked = work(app, TenantWork::RevokeToken { id: id.to_owned() }).await?;
    app.main.read_registry().await;
    Ok(revoked)
}

/// A list, as JSON text.
///
/// # Errors
/// PostgreSQL's own.
pub(in crate::server) async fn list(app: &App, what: Listing) -> Result<String, Failure> {
    work(app, TenantWork::List(what)).await
}
