//! The console: one page for DBAs, which speaks to the other routes with the admin token that is typed into it. Its files are in
//! `src/server/console/`, and part of this library.
//!
//! The page has its style within it, allowed by its hash, so that it is painted without a second request. Its scripts are modules of
//! their own: no inline script is allowed, and no script may make markup of a text (Trusted Types). They lie in a folder named after
//! their contents, so that a browser need not ask for them again, and never runs a page with the modules of another version. The page
//! itself is no secret, and needs no token.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::{Path, Request};
use axum::response::Response;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use sha2::{Digest, Sha256};

use super::Reply;
use super::no_route;

macro_rules! module {
    ($name:literal) => {
        ($name, include_str!(concat!("../console/", $name)))
    };
}

const PAGE: &str = include_str!("../console/index.html");
const STYLE: &str = include_str!("../console/style.css");
/// The page runs the first two: one as soon as it is there, the other, which needs all of them, when the page has been read.
const MODULES: [(&str, &str); 12] = [
    module!("early.js"),
    module!("main.js"),
    module!("api.js"),
    module!("call.js"),
    module!("deploy.js"),
    module!("deployments.js"),
    module!("dom.js"),
    module!("executors.js"),
    module!("grid.js"),
    module!("history.js"),
    module!("plan.js"),
    module!("tenants.js"),
];

/// What is sent.
struct Console {
    page: String,
    policy: HeaderValue,
    /// The folder of the modules: a checksum of all of them.
    version: String,
}

static CONSOLE: LazyLock<Console> = LazyLock::new(|| {
    let mut sum = Sha256::new();
    for (_, text) in MODULES {
        sum.update(text);
    }
    let version: String = sum.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    let mut modules = String::new();
    for (place, (name, _)) in MODULES.iter().enumerate() {
        // All of them are asked for at once, not each when the one before it is read.
        modules.push_str(&match place {
            0 => format!("<script type=\"module\" async src=\"/console/{version}/{name}\"></script>"),
            1 => format!("\n<script type=\"module\" src=\"/console/{version}/{name}\"></script>"),
            _ => format!("\n<link rel=\"modulepreload\" href=\"/console/{version}/{name}\">"),
        });
    }
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        base64(&Sha256::digest(STYLE))
    );
    Console {
        page: PAGE.replace("/*style*/", STYLE).replace("<!--modules-->", &modules),
        policy: HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
        version,
    }
});

/// `GET /console`.
pub(super) async fn page() -> Response {
    let mut response = file(&CONSOLE.page, "text/html; charset=utf-8", "no-store");
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, CONSOLE.policy.clone());
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    headers.insert(opener, HeaderValue::from_static("same-origin"));
    response
}

/// `GET /console/{version}/{file}`.
pub(super) async fn module(Path((version, name)): Path<(String, String)>, request: Request) -> Reply {
    let found = MODULES.iter().find(|(known, _)| *known == name && version == CONSOLE.version);
    match found {
        Some((_, text)) => Ok(file(text, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable")),
        None => Err(no_route(request).await),
    }
}

fn file(text: &'static str, kind: &'static str, keep: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// RFC 4648, section 4: as a policy writes a hash.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0_u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for place in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or_default();
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
