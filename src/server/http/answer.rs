//! Answers: JSON, the error's shape, the request's id.

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use serde_json::Value;
use stonescriptdb_protocol::{ErrorCode, Failure};

use crate::error;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A request's id: taken over if it was sent and is fit for a header and a log, else made when it is first needed.
#[derive(Clone)]
pub(super) struct RequestId(HeaderValue);

static PROCESS_ID: LazyLock<u64> = LazyLock::new(|| uuid::Uuid::new_v4().as_u64_pair().0);
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The longest id that is taken over, in bytes.
const MAX_ID: usize = 128;

impl RequestId {
    pub(super) fn of(headers: &HeaderMap) -> RequestId {
        let sent = headers.get(&REQUEST_ID);
        match sent.filter(|id| !id.is_empty() && id.len() <= MAX_ID && id.as_bytes().iter().all(u8::is_ascii_graphic)) {
            Some(id) => RequestId(id.clone()),
            None => {
                // Unique, not secret: 64 random bits of this process and a counter. A random id per request would be a system call each.
                let number = NEXT_ID.fetch_add(1, Relaxed);
                let id = format!("{:016x}{number:016x}", *PROCESS_ID);
                RequestId(HeaderValue::from_maybe_shared(Bytes::from(id)).unwrap_or(HeaderValue::from_static("")))
            }
        }
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// JSON text as an answer.
pub(super) fn text(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A JSON value as an answer.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    text(status, Bytes::from(body.to_string()))
}

/// A failure on its way out of a handler. It becomes an answer in [`finish`], where the request's id is known.
pub(super) struct Failed(pub(super) Failure);

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Failed {
        Failed(failure)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(Box::new(self.0));
        response
    }
}

/// The last touch to every answer: an error's shape, and the request's id.
pub(super) fn finish(reply: Result<Response, Failed>, id: RequestId) -> Response {
    let mut response = match reply {
        Ok(mut response) => match response.extensions_mut().remove::<Box<Failure>>() {
            Some(found) => {
                let mut shaped = failure(&found, &id);
                // What the router said of the methods that the route does take.
                shaped.headers_mut().extend(response.headers_mut().remove(ALLOW).map(|methods| (ALLOW, methods)));
                shaped
            }
            None => response,
        },
        Err(Failed(found)) => failure(&found, &id),
    };
    response.headers_mut().insert(REQUEST_ID.clone(), id.0);
    response
}

/// The shape of every error.
fn failure(failure: &Failure, id: &RequestId) -> Response {
    let status = StatusCode::from_u16(error::status(failure)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &error::to_json(failure, Some(id.as_str())));
    if let Some(seconds) = error::retry_after(failure.code) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if failure.code == ErrorCode::Unauthorized {
        response.headers_mut().insert(hyper::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// What a connection over the limit is told, as bytes: it has no request yet.
pub(in crate::server) fn too_many_connections() -> String {
    let failure = Failure::new(ErrorCode::PoolExhausted, "too many connections")
        .hint("Raise stonescriptdb.max_http_connections.");
    let body = error::to_json(&failure, None).to_string();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
