//! `GET /openapi.json`: what can be called of a tenant.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue, VARY};
use stonescriptdb_protocol::{DescribeRequest, Described, ExecutorRequest, Failure};

use super::body::invalid;
use super::v1::missing;
use super::{Reply, Sender, access, answer, calling};
use crate::server::calls::Whom;
use crate::server::{App, broker};

#[derive(Default)]
struct Query {
    platform: Option<String>,
    schema: Option<String>,
    tenant: Option<String>,
}

impl Query {
    fn read(text: &str) -> Result<Query, Failure> {
        let mut query = Query::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let place = match &*name {
                "platform" => &mut query.platform,
                "schema_name" => &mut query.schema,
                "tenant_id" | "uuid" => &mut query.tenant,
                // What a proxy or a client adds against caches.
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(invalid(format!("the query has two values of {name}")));
            }
        }
        Ok(query)
    }
}

/// `GET /openapi.json?platform=&tenant_id=&schema_name=`.
pub(super) async fn document(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let (head, _) = request.into_parts();
    let query = Query::read(head.uri.query().unwrap_or_default())?;
    let platform = query.platform.as_deref().filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?;
    let schema = query.schema.filter(|name| !name.is_empty());
    let whom = Whom { platform, schema: schema.as_deref(), tenant: query.tenant.as_deref() };
    access::require_to_call(&app, &sender, &whom)?;
    let (target, request) = {
        let registry = app.registry();
        let called = registry.called(platform, schema.as_deref(), query.tenant.as_deref())?;
        let settings = app.settings();
        let has_token = registry.platform(platform).is_ok_and(|platform| !platform.tokens.is_empty());
        let request = DescribeRequest {
            platform: called.platform.to_owned(),
            tenant: called.tenant.to_owned(),
            needs_token: settings.require_platform_token || has_token && settings.token_everywhere,
            schema,
        };
        (called.target.clone(), request)
    };
    let request = ExecutorRequest::Describe(request);
    let Described { tag, document } = broker::request(&app, &target, &request)
        .await
        .map_err(|failure| Failure { database: Some(target.database.to_string()), ..failure })?;
    let tag = format!("\"{tag}\"");
    let mut response = if calling::is_known(&head.headers, &tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        answer::text(StatusCode::OK, Bytes::from(document))
    };
    let headers = response.headers_mut();
    headers.extend(HeaderValue::try_from(tag).ok().map(|tag| (ETAG, tag)));
    // The next deployment may change it: a copy is good after asking.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Authorization"));
    Ok(response)
}
