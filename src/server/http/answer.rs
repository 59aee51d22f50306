//! Answers: JSON, the error's shape, the request's id.

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};
use serde_json::Value;
use stonescriptdb_protocol::{ErrorCode, Failure};

use crate::error;
use crate::postgres::counters::{self, Refusal};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A request's id: taken over if it was sent and is fit for a header and a log, else made when it is first needed.
#[derive(Clone)]
pub(crate) struct RequestId(HeaderValue);

static PROCESS_ID: LazyLock<u64> = LazyLock::new(|| uuid::Uuid::new_v4().as_u64_pair().0);
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The longest id that is taken over, in bytes.
const MAX_ID: usize = 128;

impl RequestId {
    pub(super) fn of(headers: &HeaderMap) -> RequestId {
        RequestId::sent(headers).unwrap_or_else(RequestId::made)
    }

    /// The id that came with a request.
    pub(super) fn sent(headers: &HeaderMap) -> Option<RequestId> {
        let sent = headers.get(&REQUEST_ID);
        sent.filter(|id| !id.is_empty() && id.len() <= MAX_ID && id.as_bytes().iter().all(u8::is_ascii_graphic))
            .map(|id| RequestId(id.clone()))
    }

    /// A new id: unique, not secret. It is 64 random bits of this process and a counter; a random one would be a system call each.
    pub(crate) fn made() -> RequestId {
        let number = NEXT_ID.fetch_add(1, Relaxed);
        let id = format!("{:016x}{number:016x}", *PROCESS_ID);
        RequestId(HeaderValue::from_maybe_shared(Bytes::from(id)).unwrap_or(HeaderValue::from_static("")))
    }

    pub(crate) fn as_str(&self) -> &str {
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

/// The failure that an answer is going to be.
pub(super) fn failure_of(reply: &Result<Response, Failed>) -> Option<&Failure> {
    match reply {
        Ok(response) => response.extensions().get::<Box<Failure>>().map(|failure| &**failure),
        Err(Failed(failure)) => Some(failure),
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
    let (status, headers, body) = error_parts(failure, id);
    let mut response = text(status, Bytes::from(body));
    response.headers_mut().extend(headers);
    response
}

/// An error's status, the headers that are its own, and its body.
pub(super) fn error_parts(failure: &Failure, id: &RequestId) -> (StatusCode, HeaderMap, String) {
    counters::error(failure.code as usize);
    let status = StatusCode::from_u16(error::status(failure)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut headers = HeaderMap::new();
    if let Some(seconds) = error::retry_after(failure) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    // RFC 6750, 3.
    let challenge = match failure.code {
        ErrorCode::Unauthorized => Some("Bearer"),
        ErrorCode::InsufficientScope => Some("Bearer error=\"insufficient_scope\""),
        _ => None,
    };
    headers.extend(challenge.map(|text| (WWW_AUTHENTICATE, HeaderValue::from_static(text))));
    (status, headers, error::to_json(failure, Some(id.as_str())).to_string())
}

/// What a client is told as bytes where there is no request that hyper answers; the connection is closed behind it.
pub(in crate::server) fn last_words(failure: &Failure) -> Vec<u8> {
    let id = RequestId::made();
    let (status, mut headers, body) = error_parts(failure, &id);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let mut answer = Vec::new();
    write_head(&mut answer, status, &headers, &id, body.len());
    answer.extend_from_slice(body.as_bytes());
    answer
}

/// Writes the head of an answer of JSON, as hyper would.
pub(super) fn write_head(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap, id: &RequestId, length: usize) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("Unknown").as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut header = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    };
    header(b"content-type", JSON.as_bytes());
    headers.iter().for_each(|(name, value)| header(name.as_str().as_bytes(), value.as_bytes()));
    header(REQUEST_ID.as_str().as_bytes(), id.0.as_bytes());
    header(b"content-length", itoa::Buffer::new().format(length).as_bytes());
    header(b"date", httpdate::fmt_http_date(std::time::SystemTime::now()).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// What a connection over the limit is told: it has no request yet.
pub(in crate::server) fn too_many_connections() -> Vec<u8> {
    counters::refusal(Refusal::Connections);
    last_words(
        &Failure::new(ErrorCode::PoolExhausted, "too many connections")
            .hint("Raise stonescriptdb.max_http_connections."),
    )
}

/// What an address over its limit is told.
pub(in crate::server) fn too_many_of_address() -> Vec<u8> {
    last_words(&Failure::new(ErrorCode::PoolExhausted, "too many connections of this address").hint(
        "Raise stonescriptdb.max_http_connections_per_address, or name a proxy in stonescriptdb.trusted_proxies.",
    ))
}

/// What a client is told that speaks HTTP where TLS is spoken.
pub(in crate::server) fn plain_on_tls() -> Vec<u8> {
    last_words(
        &Failure::new(ErrorCode::InvalidRequest, "plain HTTP was sent to a port that speaks TLS")
            .hint("Use https:// in the URL."),
    )
}
