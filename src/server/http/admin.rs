//! The admin routes: behind the admin token, or for what is one platform's affair a token of it with the scope `admin`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use hyper::StatusCode;
use serde::Deserialize;
use stonescriptdb_protocol::{Failure, Listing, TenantName, TenantVerb};

use super::body::url_value;
use super::v1::missing;
use super::{Reply, Sender, access, answer, body, v2};
use crate::server::App;
use crate::server::deploy;

/// `GET /admin/databases?platform=`.
pub(super) async fn databases(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let guest = access::require_administrator(&app, &sender)?;
    let query = request.uri().query().unwrap_or_default();
    let platform = url_value(query, "platform").filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?;
    access::require_own(&app, &guest, &platform)?;
    let platform = app.registry().platform(&platform)?.name.clone();
    v2::listed(deploy::list(&app, Listing::Sizes { platform }).await)
}

/// `GET /admin/platforms`.
pub(super) async fn platforms(State(app): State<Arc<App>>, Extension(sender): Extension<Sender>) -> Reply {
    access::require_admin(&app, &sender)?;
    v2::listed(deploy::list(&app, Listing::Platforms).await)
}

/// `POST /admin/database/create`.
pub(super) async fn create_database(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    access::knock_to_create(&app, &sender)?;
    let request: v2::CreateDatabase = body::json(request, &app.settings(), "a new database").await?;
    access::require_to_create(&app, &sender, request.platform()?)?;
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
    let guest = access::require_administrator(&app, &sender)?;
    let request: CreateTenant = body::json(request, &app.settings(), "a new tenant").await?;
    let platform = request.platform.filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?;
    access::require_own(&app, &guest, &platform)?;
    let tenant = request.tenant_id.filter(|name| !name.is_empty()).ok_or_else(|| missing("tenant_id"))?;
    let body = deploy::create_tenant(&app, platform, request.schema_name, Some(tenant), sender.asked()).await?;
    Ok(answer::json(StatusCode::CREATED, &body))
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
    async fn read(app: &App, sender: &Sender, request: Request) -> Result<TenantBody, Failure> {
        let guest = access::require_administrator(app, sender)?;
        let body: TenantBody = body::json(request, &app.settings(), "a request about a tenant").await?;
        access::require_own(app, &guest, &needed(&body.platform, "platform")?)?;
        Ok(body)
    }

    fn tenant(&self) -> Result<TenantName, Failure> {
        Ok(TenantName {
            platform: needed(&self.platform, "platform")?,
            schema: self.schema_name.clone(),
            tenant: needed(&self.tenant_id, "tenant_id")?,
        })
    }
}

pub(super) fn needed(field: &Option<String>, name: &str) -> Result<String, Failure> {
    field.clone().filter(|text| !text.is_empty()).ok_or_else(|| missing(name))
}

async fn done(app: &Arc<App>, verb: TenantVerb) -> Reply {
    Ok(answer::json(StatusCode::OK, &deploy::tenant_verb(app, verb).await?))
}

/// `POST /admin/rename-tenant`.
pub(super) async fn rename_tenant(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let body = TenantBody::read(&app, &sender, request).await?;
    done(&app, TenantVerb::Rename { tenant: body.tenant()?, to: needed(&body.new_tenant_id, "new_tenant_id")? }).await
}

/// `POST /admin/copy-tenant`.
pub(super) async fn copy_tenant(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let body = TenantBody::read(&app, &sender, request).await?;
    done(&app, TenantVerb::Copy { tenant: body.tenant()?, to: needed(&body.new_tenant_id, "new_tenant_id")? }).await
}

/// `POST /admin/suspend-tenant`.
pub(super) async fn suspend_tenant(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let body = TenantBody::read(&app, &sender, request).await?;
    done(&app, TenantVerb::Suspend { tenant: body.tenant()?, reason: body.reason }).await
}

/// `POST /admin/resume-tenant`.
pub(super) async fn resume_tenant(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let body = TenantBody::read(&app, &sender, request).await?;
    done(&app, TenantVerb::Resume { tenant: body.tenant()? }).await
}

/// `POST /admin/drop-tenant`.
pub(super) async fn drop_tenant(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let body = TenantBody::read(&app, &sender, request).await?;
    let tenant = body.tenant()?;
    let confirm = needed(&body.confirm, "confirm")?;
    let dropped =
        deploy::drop_tenant(&app, &tenant.platform, tenant.schema.as_deref(), &tenant.tenant, &confirm).await?;
    Ok(answer::json(StatusCode::OK, &dropped))
}

/// `POST /admin/adopt`: any database of the cluster, so it is no platform's affair.
pub(super) async fn adopt(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    access::require_admin(&app, &sender)?;
    let body = TenantBody::read(&app, &sender, request).await?;
    let database = needed(&body.database, "database")?;
    done(&app, TenantVerb::Adopt { tenant: body.tenant()?, database, by: None }).await
}
