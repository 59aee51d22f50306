//! The routes of calls beside `POST /call`: those that only read, and batches. What all of them have in common.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, VARY};
use hyper::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use stonescriptdb_protocol::{Access, Failure, RowsHeader};

use super::answer::Failed;
use super::body::{self, invalid};
use super::v1::missing;
use super::{Reply, Sender, access, answer, lines, plain};
use crate::error;
use crate::postgres::seats;
use crate::server::App;
use crate::server::calls::{self, BatchCall, Call, How, Whom};
use crate::server::direct::Habit;
use crate::server::tokens::Scope;
use crate::settings::Settings;

static TIMEOUT: HeaderName = HeaderName::from_static("x-timeout-ms");

/// How a request over HTTP is to be carried out.
///
/// # Errors
/// `invalid_request` for a time limit that is none.
pub(super) fn how<'a>(
    settings: &Settings,
    sender: &'a Sender,
    method: &'a str,
    headers: &'a HeaderMap,
    retry: bool,
) -> Result<How<'a>, Failure> {
    let asked_ms = asked_ms(settings, headers)?;
    let (id, client) = (sender.id.as_str(), Some(sender.client));
    Ok(How { id, method, client, headers: Some(headers), role: "", asked_ms, retry })
}

/// The time limit that a request asks for, in milliseconds; 0 is none.
///
/// # Errors
/// `invalid_request` for one that is none.
pub(super) fn asked_ms(settings: &Settings, headers: &HeaderMap) -> Result<u32, Failure> {
    headers.get(&TIMEOUT).map_or(Ok(0), |asked| time_limit(asked, settings.max_call_timeout_ms))
}

/// Rows that have left cannot be taken back for a second attempt.
pub(super) fn no_retry() -> Failure {
    invalid("a call whose rows are asked for as lines is not tried again")
        .hint("Leave out retry, or ask for application/json.")
}

/// The milliseconds that a caller asks for, capped.
fn time_limit(asked: &HeaderValue, most: u32) -> Result<u32, Failure> {
    let digits = asked.as_bytes();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = digits
        .iter()
        .fold(0u32, |number, digit| number.saturating_mul(10).saturating_add(u32::from(digit.wrapping_sub(b'0'))));
    if !is_number || number == 0 {
        let shown = body::shortened(&String::from_utf8_lossy(digits));
        return Err(invalid(format!("the header X-Timeout-Ms is a number of milliseconds from 1 on, not \"{shown}\"")));
    }
    Ok(number.min(most))
}

#[derive(Deserialize)]
struct BatchBody<'a> {
    #[serde(borrow)]
    platform: Option<Cow<'a, str>>,
    #[serde(borrow)]
    schema_name: Option<Cow<'a, str>>,
    #[serde(borrow, alias = "uuid", alias = "database_id")]
    tenant_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    calls: Option<Vec<BatchCall<'a>>>,
    retry: Option<bool>,
}

/// `POST /call/batch`.
pub(super) async fn batch(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let settings = app.settings();
    body::require_json(request.headers())?;
    access::knock(&app, &sender, Scope::Call)?;
    let (head, body) = request.into_parts();
    let body = body::read(body, &settings).await?;
    body::check_depth(&body, &settings)?;
    let request: BatchBody = serde_json::from_slice(&body)
        .map_err(|error| invalid(format!("the body is not the JSON of a batch: {error}")))?;
    let platform = request.platform.as_deref().filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?;
    let calls = request.calls.as_deref().ok_or_else(|| missing("calls"))?;
    let whom = Whom { platform, schema: request.schema_name.as_deref(), tenant: request.tenant_id.as_deref() };
    access::require_to_call(&app, &sender, &whom)?;
    let how = how(&settings, &sender, head.method.as_str(), &head.headers, request.retry.unwrap_or(false))?;
    let body = calls::batch(&app, whom, how, calls).await?;
    Ok(answer::text(StatusCode::OK, body.freeze()))
}

/// What the query of a reading call says: the parameters, but for the names that say which database is meant.
#[derive(Default)]
struct Query {
    tenant: Option<String>,
    schema: Option<String>,
    /// JSON text.
    params: Vec<u8>,
}

impl Query {
    fn read(text: &str) -> Result<Query, Failure> {
        let mut query = Query::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let place = match &*name {
                "tenant_id" | "uuid" => &mut query.tenant,
                "schema_name" => &mut query.schema,
                _ => {
                    query.params.push(if query.params.is_empty() { b'{' } else { b',' });
                    for (text, after) in [(name, &b":"[..]), (value, b"")] {
                        serde_json::to_writer(&mut query.params, &text)
                            .map_err(|error| invalid(format!("the query does not read: {error}")))?;
                        query.params.extend_from_slice(after);
                    }
                    continue;
                }
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(invalid(format!("the query has two values of {name}")));
            }
        }
        if !query.params.is_empty() {
            query.params.push(b'}');
        }
        Ok(query)
    }
}

/// `GET /call/{platform}/{function}`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Reply {
    let Path((platform, function)) = path.map_err(|_| invalid("the path is not UTF-8"))?;
    let (head, _) = request.into_parts();
    let query = Query::read(head.uri.query().unwrap_or_default())?;
    let whom = Whom { platform: &platform, schema: query.schema.as_deref(), tenant: query.tenant.as_deref() };
    access::require_to_call(&app, &sender, &whom)?;
    let call = Call {
        whom,
        how: how(&app.settings(), &sender, head.method.as_str(), &head.headers, false)?,
        function: &function,
        params: &query.params,
    };
    let mut response = if stonescriptdb_http::wants_lines(&head.headers) {
        match calls::lines(&app, call, Access::Read).await {
            Ok(rows) => lines::answer(rows, &sender.id),
            Err(failure) => return Ok(perhaps_by_post(failure)),
        }
    } else {
        match calls::read(&app, call).await {
            Ok((fingerprint, body)) => tagged(&head.headers, fingerprint, body.freeze()),
            Err(failure) => return Ok(perhaps_by_post(failure)),
        }
    };
    let headers = response.headers_mut();
    // What a function gives may depend on any header, and may change at any time: a copy is good after asking.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// What the path and the query of `POST /call/{platform}/{function}` say.
pub(crate) struct Named {
    pub(super) platform: String,
    pub(super) function: String,
    pub(super) tenant: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) retry: bool,
}

impl Named {
    /// Reads a path with its query; `None` for another one, and for one that is not plain: names in which nothing is escaped.
    pub(super) fn of(path: &str) -> Option<Named> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (platform, function) = path.strip_prefix("/call/")?.split_once('/')?;
        let is_plain = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~'))
        };
        if !is_plain(platform) || !is_plain(function) {
            return None;
        }
        Named::new(platform.to_owned(), function.to_owned(), query).ok()
    }

    fn new(platform: String, function: String, query: &str) -> Result<Named, Failure> {
        let aside = Aside::read(query)?;
        let retry = aside.retry()?;
        Ok(Named { platform, function, tenant: aside.tenant, schema: aside.schema, retry })
    }
}

/// What the query may say; the parameters are in the body.
#[derive(Default)]
struct Aside {
    tenant: Option<String>,
    schema: Option<String>,
    retry: Option<String>,
}

impl Aside {
    fn read(text: &str) -> Result<Aside, Failure> {
        let mut aside = Aside::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let place = match &*name {
                "tenant_id" | "uuid" => &mut aside.tenant,
                "schema_name" => &mut aside.schema,
                "retry" => &mut aside.retry,
                _ => {
                    let shown = body::shortened(&name);
                    return Err(invalid(format!(
                        "the query may not have \"{shown}\": by POST, parameters are in the body"
                    )));
                }
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(invalid(format!("the query has two values of {name}")));
            }
        }
        Ok(aside)
    }

    fn retry(&self) -> Result<bool, Failure> {
        match self.retry.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(invalid("retry is true or false")),
        }
    }
}

/// Whether a request is one for [`write`], as far as can be seen: it then says itself whether it is one more call of its connection.
pub(super) fn is_write<B>(request: &hyper::Request<B>) -> bool {
    let path = request.uri().path();
    request.method() == hyper::Method::POST && path.strip_prefix("/call/").is_some_and(|rest| rest.contains('/'))
}

/// `POST /call/{platform}/{function}`: the body is the parameters.
pub(super) async fn write(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    Extension(habit): Extension<Habit>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Reply {
    let Path((platform, function)) = path.map_err(|_| invalid("the path is not UTF-8"))?;
    let settings = app.settings();
    body::require_json(request.headers())?;
    let (head, body) = request.into_parts();
    // As in `v1::call`.
    let epoch = seats::epoch();
    let named = Named::new(platform, function, head.uri.query().unwrap_or_default())?;
    let whom = Whom { platform: &named.platform, schema: named.schema.as_deref(), tenant: named.tenant.as_deref() };
    access::require_to_call(&app, &sender, &whom)?;
    let body = body::read(body, &settings).await?;
    let call = Call {
        whom,
        how: how(&settings, &sender, head.method.as_str(), &head.headers, named.retry)?,
        function: &named.function,
        params: calls::text_of(params(&body, &settings)?),
    };
    if stonescriptdb_http::wants_lines(&head.headers) {
        if call.how.retry {
            return Err(Failed(no_retry()));
        }
        return Ok(lines::answer(calls::lines(&app, call, Access::Write).await?, &sender.id));
    }
    let whom = call.whom;
    let body = calls::call(&app, call).await?;
    // One that is not plain an executor would give back at once.
    if settings.direct_connections && head.uri.path_and_query().is_some_and(|path| Named::of(path.as_str()).is_some()) {
        plain::offer(&app, &habit, whom, &head.headers, epoch);
    }
    Ok(answer::text(StatusCode::OK, body.freeze()))
}

/// A body that is the parameters; nothing is none.
///
/// # Errors
/// `invalid_request` for what is no JSON, or nested too deeply.
pub(super) fn params<'b>(body: &'b [u8], settings: &Settings) -> Result<Option<&'b RawValue>, Failure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    body::check_depth(body, settings)?;
    let params = serde_json::from_slice(body);
    params.map(Some).map_err(|error| invalid(format!("the body is not the JSON of parameters: {error}")))
}

/// An error; of a function that writes, with the method that may.
fn perhaps_by_post(failure: Failure) -> Response {
    let by_post = error::status(&failure) == StatusCode::METHOD_NOT_ALLOWED.as_u16();
    let mut response = Failed(failure).into_response();
    if by_post {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// The rows with their tag, or only the tag if the client has them.
fn tagged(asked: &HeaderMap, fingerprint: RowsHeader, body: Bytes) -> Response {
    let tag = format!("\"{fingerprint:016x}\"");
    let mut response = if is_known(asked, &tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        answer::text(StatusCode::OK, body)
    };
    response.headers_mut().extend(HeaderValue::try_from(tag).ok().map(|tag| (ETAG, tag)));
    response
}

/// Whether the client has what bears this tag; compared as RFC 9110 (13.1.2) wants it, without regard to weakness.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
