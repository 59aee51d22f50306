//! The admin routes: behind the admin token.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use hyper::StatusCode;
use serde::Deserialize;

use super::v1::missing;
use super::{Reply, Sender, access, answer, body};
use crate::server::App;
use crate::server::deploy;

/// `GET /admin/databases?platform=`.
pub(super) async fn databases(State(app): State<Arc<App>>, request: Request) -> Reply {
    access::require_admin(&app.settings(), request.headers())?;
    let query = request.uri().query().unwrap_or_default();
    let platform = url_value(query, "platform").filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?;
    let body = deploy::list_databases(&app, &platform).await?;
    Ok(answer::json(StatusCode::OK, &body))
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
    body::require_json(request.headers())?;
    let bytes = body::read(request.into_body(), settings.max_request_body, settings.body_timeout).await?;
    let request: CreateTenant = serde_json::from_slice(&bytes)
        .map_err(|error| body::invalid(format!("the body is not the JSON of a new tenant: {error}")))?;
    let platform = request.platform.filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?;
    let tenant = request.tenant_id.filter(|name| !name.is_empty()).ok_or_else(|| missing("tenant_id"))?;
    let body = deploy::create_tenant(&app, platform, request.schema_name, Some(tenant), sender.asked()).await?;
    Ok(answer::json(StatusCode::CREATED, &body))
}

/// A value of a query string, decoded.
fn url_value(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
