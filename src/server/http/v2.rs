//! The routes of the gateway's second API that are no deployments: platforms, stored schemas, databases.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use serde::Deserialize;
use stonescriptdb_protocol::{Failure, Listing, TenantVerb};

use super::body::{invalid, url_value};
use super::v1::missing;
use super::{Reply, Sender, access, answer, body};
use crate::server::App;
use crate::server::deploy;
use crate::server::tokens::Scope;

/// A platform's name in the path, decoded.
pub(super) type PlatformPath = Result<Path<String>, PathRejection>;

fn platform_of(path: PlatformPath) -> Result<String, Failure> {
    path.map(|Path(name)| name).map_err(|_| invalid("the platform's name in the path is not UTF-8"))
}

#[derive(Deserialize)]
struct RegisterPlatform {
    platform: Option<String>,
}

/// `POST /platform/register`.
pub(super) async fn register_platform(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    access::knock(&app, &sender, Scope::Deploy)?;
    let request: RegisterPlatform = body::json(request, &app.settings(), "a new platform").await?;
    let platform = request.platform.filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?;
    access::require_to_register(&app, &sender, &platform)?;
    let body = deploy::tenant_verb(&app, TenantVerb::RegisterPlatform { platform }).await?;
    Ok(answer::json(StatusCode::CREATED, &body))
}

/// `POST /platform/{platform}/schema`.
pub(super) async fn upload_schema(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    path: PlatformPath,
    request: Request,
) -> Reply {
    let platform = platform_of(path)?;
    access::require_to_upload(&app, &sender, &platform)?;
    let settings = app.settings();
    let mut form = body::form(request, &settings, |_| Ok(())).await?;
    let archive = form.archive();
    let schema = form.text("schema_name").or_else(|| form.text("name")).ok_or_else(|| missing("schema_name"))?;
    let archive = archive.ok_or_else(|| missing("schema"))?;
    let body = deploy::upload(&app, platform, schema.to_owned(), archive, sender.asked()).await?;
    Ok(answer::json(StatusCode::CREATED, &body))
}

/// `GET /platform/{platform}/schemas`.
pub(super) async fn schemas(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    path: PlatformPath,
) -> Reply {
    let platform = platform_of(path)?;
    access::require_to_list(&app, &sender, &platform)?;
    let platform = app.registry().platform(&platform)?.name.clone();
    listed(deploy::list(&app, Listing::Schemas { platform }).await)
}

/// `GET /platform/{platform}/databases?schema=`.
pub(super) async fn databases(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    path: PlatformPath,
    request: Request,
) -> Reply {
    let name = platform_of(path)?;
    access::require_to_list(&app, &sender, &name)?;
    let registry = app.registry();
    let platform = registry.platform(&name)?;
    let query = request.uri().query().unwrap_or_default();
    // Of a schema that is not there, there are none: who asks so wants to know whether a database is there.
    let schema = url_value(query, "schema").filter(|name| !name.is_empty());
    let schema = schema.map(|name| platform.schema(&name).map_or(name, |schema| schema.name.clone()));
    listed(deploy::list(&app, Listing::Databases { platform: platform.name.clone(), schema }).await)
}

/// `GET /platforms`.
pub(super) async fn platforms(State(app): State<Arc<App>>, Extension(sender): Extension<Sender>) -> Reply {
    if app.settings().require_platform_token {
        access::require_admin(&app, &sender)?;
    }
    listed(deploy::list(&app, Listing::Platforms).await)
}

/// A list as an answer.
pub(super) fn listed(text: Result<String, Failure>) -> Reply {
    let answer: Response = answer::text(StatusCode::OK, Bytes::from(text?));
    Ok(answer)
}

/// A database of a stored schema. Its id has three names: clients of the gateway, of its later dialect, and of v1 each have one.
#[derive(Deserialize)]
pub(super) struct CreateDatabase {
    platform: Option<String>,
    schema_name: Option<String>,
    database_id: Option<String>,
    uuid: Option<String>,
    tenant_id: Option<String>,
}

impl CreateDatabase {
    pub(super) fn platform(&self) -> Result<&str, Failure> {
        self.platform.as_deref().filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))
    }
}

/// `POST /database/create`.
pub(super) async fn create_database(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    access::knock(&app, &sender, Scope::Deploy)?;
    let request: CreateDatabase = body::json(request, &app.settings(), "a new database").await?;
    access::require_to_deploy(&app, &sender, request.platform()?)?;
    created(&app, request, &sender).await
}

/// Creates the database that was asked for.
pub(super) async fn created(app: &Arc<App>, request: CreateDatabase, sender: &Sender) -> Reply {
    let platform = request.platform()?.to_owned();
    let schema = request.schema_name.filter(|name| !name.is_empty()).ok_or_else(|| missing("schema_name"))?;
    let id = request.database_id.or(request.uuid).or(request.tenant_id);
    let body = deploy::create_tenant(app, platform, Some(schema), id, sender.asked()).await?;
    Ok(answer::json(StatusCode::CREATED, &body))
}
