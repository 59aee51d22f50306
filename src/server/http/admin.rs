//! The admin routes: behind the admin token.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use hyper::{HeaderMap, StatusCode};
use serde::Deserialize;
use stonescriptdb_protocol::{Failure, Listing, TenantName, TenantVerb};

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
    if uuid::Uuid::parse_str(&id).is_err() {
        return Err(body::invalid("the field id is the UUID of a token").into());
    }
    let revoked = deploy::revoke_token(&app, &id).await?;
    Ok(answer::json(StatusCode::OK, &serde_json::json!({"id": id, "revoked": revoked})))
}

/// What the routes of a tenant's life take.
#[derive(Deserialize)]
struct TenantBody {
    platform: Option<String>,
    schema_name: Option<String>,
    #[serde(alias = "uuid", alias = "database_id")]
    tenant_id: Option<String>,
    new_tenant_id: Option<String>,
    reason: Option<String>,
    confirm: Option<String>,
    database: Option<String>,
}

impl TenantBody {
    async fn read(app: &App, request: Request) -> Result<TenantBody, Failure> {
        let settings = app.settings();
        access::require_admin(&settings, request.headers())?;
        body::json(request, &settings, "a request about a tenant").await
    }

    fn tenant(&self) -> Result<TenantName, Failure> {
        Ok(TenantName {
            platform: needed(&self.platform, "platform")?,
            schema: self.schema_name.clone(),
            tenant: needed(&self.tenant_id, "tenant_id")?,
        })
    }
}

fn needed(field: &Option<String>, name: &str) -> Result<String, Failure> {
    field.clone().filter(|text| !text.is_empty()).ok_or_else(|| missing(name))
}

async fn done(app: &Arc<App>, verb: TenantVerb) -> Reply {
    Ok(answer::json(StatusCode::OK, &deploy::tenant_verb(app, verb).await?))
}

/// `POST /admin/rename-tenant`.
pub(super) async fn rename_tenant(State(app): State<Arc<App>>, request: Request) -> Reply {
    let body = TenantBody::read(&app, request).await?;
    done(&app, TenantVerb::Rename { tenant: body.tenant()?, to: needed(&body.new_tenant_id, "new_tenant_id")? }).await
}

/// `POST /admin/copy-tenant`.
pub(super) async fn copy_tenant(State(app): State<Arc<App>>, request: Request) -> Reply {
    let body = TenantBody::read(&app, request).await?;
    done(&app, TenantVerb::Copy { tenant: body.tenant()?, to: needed(&body.new_tenant_id, "new_tenant_id")? }).await
}

/// `POST /admin/suspend-tenant`.
pub(super) async fn suspend_tenant(State(app): State<Arc<App>>, request: Request) -> Reply {
    let body = TenantBody::read(&app, request).await?;
    done(&app, TenantVerb::Suspend { tenant: body.tenant()?, reason: body.reason }).await
}

/// `POST /admin/resume-tenant`.
pub(super) async fn resume_tenant(State(app): State<Arc<App>>, request: Request) -> Reply {
    let body = TenantBody::read(&app, request).await?;
    done(&app, TenantVerb::Resume { tenant: body.tenant()? }).await
}

/// `POST /admin/drop-tenant`.
pub(super) async fn drop_tenant(State(app): State<Arc<App>>, request: Request) -> Reply {
    let body = TenantBody::read(&app, request).await?;
    let tenant = body.tenant()?;
    let confirm = needed(&body.confirm, "confirm")?;
    let dropped =
        deploy::drop_tenant(&app, &tenant.platform, tenant.schema.as_deref(), &tenant.tenant, &confirm).await?;
    Ok(answer::json(StatusCode::OK, &dropped))
}

/// `POST /admin/adopt`.
pub(super) async fn adopt(State(app): State<Arc<App>>, request: Request) -> Reply {
    let body = TenantBody::read(&app, request).await?;
    let database = needed(&body.database, "database")?;
    done(&app, TenantVerb::Adopt { tenant: body.tenant()?, database, by: None }).await
}
