//! Web pages: which of them may send requests, and what a browser is told of that (CORS, as the Fetch standard has it).
//!
//! A browser on an allowed address sends what any page that its user looks at wants. It says so by headers that the page cannot take away,
//! and clients that are no browsers are known by not having them. So these rules stop pages, and nobody else.

use std::net::Ipv6Addr;

use axum::body::Body;
use axum::response::Response;
use hyper::header::{
    ACCEPT_LANGUAGE, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN, USER_AGENT, VARY,
};
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, StatusCode, Uri};
use stonescriptdb_protocol::{ErrorCode, Failure};

use super::body::shortened;
use crate::settings::Settings;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Top-level names under which nobody can register: a page that is served under such a name comes from one's own network.
const OWN_NETWORKS: [&str; 12] = [
    "arpa",
    "corp",
    "docker",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "private",
    "test",
];

/// Looks at where a request comes from, by what a browser says; gives what it is told where a page may send it. Of what is no page's, as
/// far as can be told, there is nothing to say.
///
/// # Errors
/// `origin_not_allowed`, `host_not_allowed` (403).
pub(super) fn check(settings: &Settings, headers: &HeaderMap, uri: &Uri) -> Result<Option<HeaderValue>, Failure> {
    let any = settings.allowed_origins.iter().any(|origin| origin == "*");
    let mut page = None;
    for origin in headers.get_all(ORIGIN) {
        if is_same_origin(settings, headers, origin) {
            continue;
        }
        if any {
            page = Some(HeaderValue::from_static("*"));
            continue;
        }
        let known = |allowed: &String| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
        if !settings.allowed_origins.iter().any(known) {
            let shown = shortened(&String::from_utf8_lossy(origin.as_bytes()));
            return Err(foreign(format!("web pages of the origin \"{shown}\" are not allowed")));
        }
        page = Some(origin.clone());
    }
    let is_page = page.is_some();
    // What needs no leave of ours to be sent, an image or a link of another site, comes without an origin.
    let elsewhere = |site: &HeaderValue| matches!(site.as_bytes(), b"cross-site" | b"same-site");
    if !any && !is_page && headers.get(&SEC_FETCH_SITE).is_some_and(elsewhere) {
        return Err(foreign("a web page of another site has the browser send this".to_owned()));
    }
    let strict = !settings.allowed_hosts.is_empty();
    if !strict && (any || is_page || !is_of_browser(headers)) {
        return Ok(page);
    }
    let named_by_uri = uri.authority().map(|authority| host(authority.as_str()));
    let named = headers.get_all(HOST).iter().map(|name| host(&String::from_utf8_lossy(name.as_bytes())));
    for name in named_by_uri.into_iter().chain(named) {
        if !is_own(settings, &name) && (strict || is_public(&name)) {
            return Err(Failure::new(
                ErrorCode::HostNotAllowed,
                format!("requests to a host of the name \"{}\" are not allowed", shortened(&name)),
            )
            .hint("Add the name to stonescriptdb.allowed_hosts, or use the address."));
        }
    }
    Ok(page)
}

/// A page that this server itself has served, which is the console: under an address, or a name that nobody else can have lead here.
fn is_same_origin(settings: &Settings, headers: &HeaderMap, origin: &HeaderValue) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(sent), None) = (hosts.next(), hosts.next()) else { return false };
    let Some((_, authority)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    let name = host(authority);
    authority.as_bytes().eq_ignore_ascii_case(sent.as_bytes())
        && !authority.is_empty()
        && (is_own(settings, &name) || !is_public(&name))
}

fn foreign(message: String) -> Failure {
    Failure::new(ErrorCode::OriginNotAllowed, message).hint("Add its origin to stonescriptdb.allowed_origins.")
}

/// The name of a host without its port, in lower case.
fn host(text: &str) -> String {
    let host = text.trim().parse::<Authority>().map_or_else(|_| text.trim().to_owned(), |name| name.host().to_owned());
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// A name that no page can be served under that comes from elsewhere: it is an address, of this machine, or known.
fn is_own(settings: &Settings, name: &str) -> bool {
    let bracketed = || name.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let allowed = |allowed: &String| allowed == "*" || allowed == name;
    let of_origin = |origin: &String| origin.split_once("://").is_some_and(|(_, authority)| host(authority) == name);
    name.is_empty()
        || name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok()
        || bracketed().is_some()
        || settings.allowed_hosts.iter().any(allowed)
        || settings.allowed_origins.iter().any(of_origin)
}

/// Anybody could have registered the name, and have it lead here for the pages that are served under it.
fn is_public(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, top)| !OWN_NETWORKS.contains(&top))
}

/// Whether a request without an origin may be a page's. Over plain HTTP to a name, browsers send no Sec-Fetch headers, and a page reads
/// what it gets from the host that it came from itself, as which it can have its own name lead here. What all browsers send and a page can
/// change but not take away is Accept-Language; Node.js sends it too, but with a Sec-Fetch-Mode beside it and no Sec-Fetch-Site. A token
/// is what such a page has not.
fn is_of_browser(headers: &HeaderMap) -> bool {
    let by_language = headers.contains_key(ACCEPT_LANGUAGE) && !headers.contains_key(&SEC_FETCH_MODE);
    let by_name = headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
    !headers.contains_key(AUTHORIZATION) && (by_language || by_name || headers.contains_key(&SEC_FETCH_SITE))
}

/// Whether a browser asks if a page may send a request that it has ready.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// That it may. Whether there is such a route, and whether a token is needed, the request itself is told.
pub(super) fn preflight(asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let names = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let names = names.unwrap_or(HeaderValue::from_static("authorization, content-type"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

/// Lets the page read an answer.
pub(super) fn allow(response: &mut Response, page: HeaderValue) {
    let headers = response.headers_mut();
    if page != "*" {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, page);
    let read = HeaderValue::from_static("ETag, Retry-After, WWW-Authenticate, X-Request-Id");
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, read);
}
