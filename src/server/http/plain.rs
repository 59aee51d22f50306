//! Calls over HTTP without hyper: what an executor reads and writes on a connection that it serves itself.
//!
//! It reads plain requests only, `POST /call` with a body of a known length, and says of all others that they are not its business: the
//! server worker gets them, as they are, and hyper answers them.

use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{StatusCode, Uri};
use ipnet::IpNet;
use stonescriptdb_protocol::Failure;

use super::answer::{RequestId, error_parts, write_head};
use super::calling::Named;
use super::{address, body, browsers, calling, v1};
use crate::server::App;
use crate::server::calls::{self, Whom};
use crate::server::direct::{Habit, Offer};
use crate::server::rates::Passing;
use crate::settings::Settings;

/// The head of a plain request.
pub(crate) struct PlainHead {
    /// Its own bytes.
    pub(crate) length: usize,
    /// Those of the body behind it.
    pub(crate) body: usize,
    /// The client's address, behind trusted proxies.
    pub(crate) client: IpAddr,
    /// The id that it brought.
    pub(crate) id: Option<RequestId>,
    /// The time limit that the caller asks for, in milliseconds; 0 is none.
    pub(crate) asked_ms: u32,
    /// What proves who the caller is, as it was sent.
    pub(crate) authorization: Option<Vec<u8>>,
    /// The headers for `request.headers`, a line each.
    pub(crate) lines: Vec<u8>,
    /// What is called, if the path says so: the body is the parameters then.
    pub(crate) named: Option<Named>,
}

/// What the first bytes of a request are.
pub(crate) enum Head {
    /// A plain one.
    Plain(Box<PlainHead>),
    /// The beginning of a head.
    Partial,
    /// Something else.
    Other,
}

/// Reads the head of a request from `peer`, to a listener that lets these networks in.
pub(crate) fn head(bytes: &[u8], peer: IpAddr, allowed: &[IpNet], settings: &Settings) -> Head {
    let limits = stonescriptdb_http::Limits {
        head: settings.max_header_size,
        headers: settings.max_headers,
        body: settings.max_request_body,
    };
    let mut named = None;
    let is_call = |path: &str| {
        named = Named::of(path);
        path == v1::CALL || named.is_some()
    };
    match stonescriptdb_http::head(bytes, "POST", &limits, is_call) {
        stonescriptdb_http::Head::Plain(plain) => called(&plain, peer, allowed, settings)
            .map_or(Head::Other, |head| Head::Plain(Box::new(PlainHead { named, ..head }))),
        stonescriptdb_http::Head::Partial => Head::Partial,
        stonescriptdb_http::Head::Other => Head::Other,
    }
}

/// `None` for what has to be looked at by the server worker, an error among it.
fn called(
    plain: &stonescriptdb_http::Plain,
    peer: IpAddr,
    allowed: &[IpNet],
    settings: &Settings,
) -> Option<PlainHead> {
    let headers = &plain.headers;
    // Rows as lines are the server worker's business.
    if stonescriptdb_http::wants_lines(headers) {
        return None;
    }
    body::require_json(headers).ok()?;
    let mut tokens = headers.get_all(AUTHORIZATION).iter();
    let authorization = tokens.next().map(|value| value.as_bytes().to_vec());
    if tokens.next().is_some() {
        return None;
    }
    // What a page sends is answered with more headers.
    if browsers::check(settings, headers, &Uri::default()).ok()?.is_some() {
        return None;
    }
    let client = address::client(settings, peer, headers).ok()?;
    address::require_allowed(allowed, client).ok()?;
    let mut lines = Vec::new();
    calls::append(&mut lines, headers);
    Some(PlainHead {
        length: plain.length,
        body: plain.body,
        client,
        id: RequestId::sent(headers),
        asked_ms: calling::asked_ms(settings, headers).ok()?,
        authorization,
        lines,
        named: None,
    })
}

/// The head of the answer to a call that went well, whose body has so many bytes.
pub(crate) fn success(out: &mut Vec<u8>, id: &RequestId, length: usize) {
    write_head(out, StatusCode::OK, &HeaderMap::new(), id, length);
}

/// The answer to a call that failed; gives the body.
pub(crate) fn failed(out: &mut Vec<u8>, id: &RequestId, failure: &Failure) -> String {
    let (status, headers, body) = error_parts(failure, id);
    write_head(out, status, &headers, id, body.len());
    body
}

/// A call has gone well: if more of them come on its connection, an executor may serve it.
pub(super) fn offer(app: &App, habit: &Habit, whom: Whom<'_>, headers: &HeaderMap, epoch: u64) {
    let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let is_same = |last: &Offer| {
        last.epoch == epoch && last.authorization.as_deref() == authorization && Whom::from(&last.whom) == whom
    };
    let registry = app.registry();
    let Ok(called) = registry.called(whom.platform, whom.schema, whom.tenant) else { return };
    let Ok(platform) = registry.platform(whom.platform) else { return };
    let limit = match app.rates.passing(app, platform) {
        Passing::Free => None,
        Passing::Limited(limit) => Some(limit),
        Passing::Not => return,
    };
    let until = platform.next_expiry();
    habit.called(is_same, || Offer {
        target: called.target.clone(),
        whom: whom.into(),
        platform: called.platform.to_owned(),
        tenant: called.tenant.to_owned(),
        authorization: authorization.map(<[u8]>::to_vec),
        networks: platform.networks.clone(),
        limit,
        until_ms: until.and_then(|end| u64::try_from(end.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()),
        epoch,
    });
}
