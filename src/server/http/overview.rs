//! What an administrator looks at: the routes that the console and the command line read.

use std::sync::Arc;

use axum::extract::{Request, State};
use hyper::StatusCode;
use serde_json::json;
use stonescriptdb_protocol::{Failure, Overview};

use super::body::{invalid, shortened, url_value};
use super::v1::missing;
use super::{Reply, Sender, access, answer, v2};
use crate::server::App;
use crate::server::deploy;

/// So many deployments are shown if nobody says how many.
const DEPLOYMENTS: u32 = 100;
/// Of the history, of so many deployments.
const HISTORY: u32 = 20;
/// And never more.
const MOST: u32 = 1_000;

/// What the query of a request says.
struct Query<'r> {
    app: &'r App,
    text: &'r str,
}

impl<'r> Query<'r> {
    /// # Errors
    /// As [`access::require_admin`].
    fn of(app: &'r App, request: &'r Request) -> Result<Query<'r>, Failure> {
        let sender = request.extensions().get::<Sender>();
        access::require_admin(app, sender.ok_or_else(|| Failure::internal("nobody has sent the request"))?)?;
        Ok(Query { app, text: request.uri().query().unwrap_or_default() })
    }

    fn value(&self, name: &str) -> Option<String> {
        url_value(self.text, name).filter(|value| !value.is_empty())
    }

    /// The platform as it was registered, if one is named.
    fn platform(&self) -> Result<Option<String>, Failure> {
        self.value("platform").map(|name| Ok(self.app.registry().platform(&name)?.name.clone())).transpose()
    }

    /// The database of a tenant as it is called now.
    fn database(&self, tenant: Option<&str>) -> Result<String, Failure> {
        let platform = self.value("platform").ok_or_else(|| missing("platform"))?;
        let registry = self.app.registry();
        let found = registry.tenant(&platform, self.value("schema_name").as_deref(), tenant)?;
        Ok(found.database().to_owned())
    }

    fn limit(&self, default: u32) -> Result<u32, Failure> {
        let Some(text) = self.value("limit") else { return Ok(default) };
        text.parse().ok().filter(|number| (1..=MOST).contains(number)).ok_or_else(|| {
            invalid(format!("the field limit is a number from 1 to {MOST}, not \"{}\"", shortened(&text)))
        })
    }
}

/// `GET /admin/tenants?platform=`.
pub(super) async fn tenants(State(app): State<Arc<App>>, request: Request) -> Reply {
    let platform = Query::of(&app, &request)?.platform()?;
    v2::listed(deploy::look(&app, Overview::Tenants { platform }).await)
}

/// `GET /admin/deployments?platform=&limit=`.
pub(super) async fn deployments(State(app): State<Arc<App>>, request: Request) -> Reply {
    let query = Query::of(&app, &request)?;
    let what = Overview::Deployments { platform: query.platform()?, limit: query.limit(DEPLOYMENTS)? };
    v2::listed(deploy::look(&app, what).await)
}

/// `GET /admin/changelog?platform=&schema_name=&tenant_id=&limit=`.
pub(super) async fn changelog(State(app): State<Arc<App>>, request: Request) -> Reply {
    let query = Query::of(&app, &request)?;
    let what = Overview::Changelog {
        platform: query.platform()?.ok_or_else(|| missing("platform"))?,
        database: query.value("tenant_id").map(|tenant| query.database(Some(&tenant))).transpose()?,
        limit: query.limit(HISTORY)?,
    };
    v2::listed(deploy::look(&app, what).await)
}

/// `GET /admin/functions?platform=&schema_name=&tenant_id=`.
pub(super) async fn functions(State(app): State<Arc<App>>, request: Request) -> Reply {
    let query = Query::of(&app, &request)?;
    let database = query.database(query.value("tenant_id").as_deref())?;
    v2::listed(deploy::look(&app, Overview::Functions { database }).await)
}

/// `GET /admin/drift?platform=&schema_name=&tenant_id=`: looks into the databases.
pub(super) async fn drift(State(app): State<Arc<App>>, request: Request) -> Reply {
    let query = Query::of(&app, &request)?;
    let platform = query.platform()?;
    let (schema, tenant) = (query.value("schema_name"), query.value("tenant_id"));
    if platform.is_none() && (schema.is_some() || tenant.is_some()) {
        return Err(missing("platform").into());
    }
    let rows = deploy::check(&app, platform.as_deref(), schema.as_deref(), tenant.as_deref()).await?;
    let count = rows.as_array().map_or(0, Vec::len);
    Ok(answer::json(StatusCode::OK, &json!({"drift": rows, "count": count})))
}

/// `GET /admin/workers`.
pub(super) async fn workers(State(app): State<Arc<App>>, request: Request) -> Reply {
    Query::of(&app, &request)?;
    let settings = app.settings();
    let rows = app.pool.rows();
    let body = json!({
        "count": rows.len(), "workers": rows, "queues": app.pool.queues(), "max_workers": settings.max_workers,
        "max_workers_per_database": settings.max_workers_per_database,
    });
    Ok(answer::json(StatusCode::OK, &body))
}
