//! Platforms and tenants beside deployments: registered, renamed, copied, suspended, taken over, listed.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stonescriptdb_protocol::{ControlRequest, ExecutorRequest, Failure, Listing, TenantVerb, TenantWork};

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

/// A list, as JSON text.
///
/// # Errors
/// PostgreSQL's own.
pub(in crate::server) async fn list(app: &App, what: Listing) -> Result<String, Failure> {
    work(app, TenantWork::List(what)).await
}
