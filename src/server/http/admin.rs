//! The admin routes: behind the admin token.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use hyper::{HeaderMap, StatusCode};
use serde::Deserialize;
use stonescriptdb_protocol::Listing;

use super::body::url_value;
use super::v1::missing;
use super::{Reply, Sender, access, answer, body, v2};
use crate::server::App;
use crate::server::deploy;

/// `GET /admin/databases?platform=`.
pub(super) async fn databases(State(app): State<Arc<App>>, request: Request) -> Reply {
    access::require_admin(&app.settings(), request.headers())?;
    let query = request.uri().query().unwrap_or_default();
    let platform = url_value(query, "platform").filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?;
    let platform = app.registry().platform(&platform)?.name.clone();
    v2::listed(deploy::list(&app, Listing::Sizes { platform }).await)
}

/// `GET /admin/platforms`.
pub(super) async fn platforms(State(app): State<Arc<App>>, request: Request) -> Reply {
    access::require_admin(&app.settings(), request.headers())?;
    v2::listed(deploy::list(&app, Listing::Platforms).await)
}

/// `POST /admin/database/create`.
pub(super) async fn create_database(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    headers: HeaderMap,
    request: Request,
) -> Reply {
    let request: v2::CreateDatabase = body::json(request, &app.settings(), "a new database").await?;
    access::require_platform_or_admin(&app, &headers, request.platform()?)?;
    v2::created(&app, request, &sender).await
}

#[derive(Deserialize)]
struct CreateTenant {
    platform: Option<String>,
    schema_name: Option<String>,
    tenant_id: Option<String>,
}

/// `POST /admin/create-tenant`.
pub(super) async fn create_tenant(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let settings = app.settings();
    access::require_admin(&settings, request.headers())?;
    let request: CreateTenant = body::json(request, &settings, "a new tenant").await?;
    let platform = request.platform.filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?;
    let tenant = request.tenant_id.filter(|name| !name.is_empty()).ok_or_else(|| missing("tenant_id"))?;
    let body = deploy::create_tenant(&app, platform, request.schema_name, Some(tenant), sender.asked()).await?;
    Ok(answer::json(StatusCode::CREATED, &body))
}

#[derive(Deserialize)]
struct NewToken {
    platform: Option<String>,
    description: Option<String>,
    expires_at: Option<String>,
}

/// `POST /admin/platform-token`: one more each time; older ones stay.
pub(super) async fn platform_token(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let settings = app.settings();
    access::require_admin(&settings, request.headers())?;
    let request: NewToken = body::json(request, &settings, "a new token").await?;
    let platform = request.platform.filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?;
    let token = deploy::NewToken { platform, description: request.description, expires_at: request.expires_at };
    v2::listed(deploy::issue_token(&app, token, sender.asked()).await)
}

/// `GET /admin/tokens?platform=`.
pub(super) async fn tokens(State(app): State<Arc<App>>, request: Request) -> Reply {
    access::require_admin(&app.settings(), request.headers())?;
    let query = request.uri().query().unwrap_or_default();
    let platform = match url_value(query, "platform").filter(|name| !name.is_empty()) {
        Some(name) => Some(app.registry().platform(&name)?.name.clone()),
        None => None,
    };
    v2::listed(deploy::list(&app, Listing::Tokens { platform }).await)
}

#[derive(Deserialize)]
struct RevokeToken {
    id: Option<String>,
}

/// `POST /admin/revoke-token`.
pub(super) async fn revoke_token(State(app): State<Arc<App>>, request: Request) -> Reply {
    let settings = app.settings();
    access::require_admin(&settings, request.headers())?;
    let request: RevokeToken = body::json(request, &settings, "a token to be revoked").await?;
    let id = request.id.filter(|id| !id.is_empty()).ok_or_else(|| missing("id"))?;
    let revoked = deploy::revoke_token(&app, &id).await?;
    Ok(answer::json(StatusCode::OK, &serde_json::json!({"id": id, "revoked": revoked})))
}
