//! Who may come in: the admin token, the tokens of platforms.

use std::sync::atomic::Ordering::Relaxed;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use stonescriptdb_protocol::{ErrorCode, Failure};
use subtle::ConstantTimeEq;

use crate::server::App;
use crate::server::lookup::{Platform, Registry};
use crate::settings::Settings;

/// Lets only the admin token pass.
///
/// # Errors
/// `admin_disabled` (503) while none is set, `unauthorized` (401) otherwise.
pub(super) fn require_admin(settings: &Settings, headers: &HeaderMap) -> Result<(), Failure> {
    if settings.admin_token.is_empty() {
        return Err(Failure::new(ErrorCode::AdminDisabled, "administration over HTTP is switched off")
            .hint("Set stonescriptdb.admin_token and reload."));
    }
    match bearer(headers) {
        Some(token) if is_admin(settings, token) => Ok(()),
        Some(_) => Err(Failure::new(ErrorCode::Unauthorized, "the token is not the admin token")),
        None => Err(Failure::new(ErrorCode::Unauthorized, "this route needs the admin token").hint(SEND_IT)),
    }
}

/// Lets pass who may see the figures: everybody if they are public, else the admin token and the one that is for them.
///
/// # Errors
/// As [`require_admin`], where neither token is set.
pub(super) fn require_metrics(settings: &Settings, headers: &HeaderMap) -> Result<(), Failure> {
    let own = &settings.metrics_token;
    let is_own = |token: &str| !own.is_empty() && bool::from(token.as_bytes().ct_eq(own.as_bytes()));
    match bearer(headers) {
        _ if settings.metrics_public => Ok(()),
        Some(token) if is_own(token) || is_admin(settings, token) => Ok(()),
        _ if own.is_empty() && settings.admin_token.is_empty() => {
            Err(Failure::new(ErrorCode::AdminDisabled, "the figures are shown to nobody")
                .hint("Set stonescriptdb.metrics_token, or stonescriptdb.metrics_public, and reload."))
        }
        Some(_) => {
            Err(Failure::new(ErrorCode::Unauthorized, "the token is neither that of the figures nor the admin's"))
        }
        None => Err(Failure::new(ErrorCode::Unauthorized, "this route needs a token").hint(SEND_IT)),
    }
}

const SEND_IT: &str = "Send it as Authorization: Bearer …";

/// The token that was sent.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn is_admin(settings: &Settings, token: &str) -> bool {
    !settings.admin_token.is_empty() && bool::from(token.as_bytes().ct_eq(settings.admin_token.as_bytes()))
}

/// Lets pass who may name a platform: anybody while it has no token and none is required, else a token of it or the admin's. One that has
/// expired keeps its platform closed: a token that ends must not open what it guarded.
///
/// # Errors
/// `platform_not_found`; `unauthorized` (401); `platform_isolation_violation` (403) for another platform's token.
pub(super) fn require_platform(app: &App, headers: &HeaderMap, platform: &str) -> Result<(), Failure> {
    let registry = app.registry();
    let settings = app.settings();
    let platform = registry.platform(platform)?;
    if is_excused(&settings, headers) {
        return Ok(());
    }
    may_name(&settings, &registry, platform, headers)
}

/// As [`require_platform`], on the routes where every client of today sends a token if it has one.
///
/// # Errors
/// As [`require_platform`].
pub(super) fn require_platform_to_deploy(app: &App, headers: &HeaderMap, platform: &str) -> Result<(), Failure> {
    let registry = app.registry();
    let settings = app.settings();
    may_name(&settings, &registry, registry.platform(platform)?, headers)
}

/// Where tokens are not asked for on every route, who sends none is let in; one that is sent must be right all the same.
fn is_excused(settings: &Settings, headers: &HeaderMap) -> bool {
    !settings.token_everywhere && !settings.require_platform_token && !headers.contains_key(AUTHORIZATION)
}

/// As [`require_platform`], for a request that may make the platform: where tokens are required, only the admin's makes one.
///
/// # Errors
/// As [`require_platform`], but for a platform that is not there.
pub(super) fn require_platform_or_new(app: &App, headers: &HeaderMap, platform: &str) -> Result<(), Failure> {
    let registry = app.registry();
    let settings = app.settings();
    match registry.platform(platform) {
        Ok(_) if is_excused(&settings, headers) => Ok(()),
        Ok(platform) => may_name(&settings, &registry, platform, headers),
        Err(_) if settings.require_platform_token => match bearer(headers) {
            Some(token) if is_admin(&settings, token) => Ok(()),
            Some(token) if registry.knows_token(&hash(token)) => Err(of_another(platform)),
            _ => Err(Failure::new(ErrorCode::Unauthorized, "a new platform needs the admin token").hint(SEND_IT)),
        },
        Err(_) if app.registry_readable.load(Relaxed) => Ok(()),
        // Whether it has a token is not known.
        Err(_) => Err(Failure::new(ErrorCode::ConnectionFailed, "the registry cannot be read now")),
    }
}

/// Lets pass who may make a database of a platform where that is an admin's route: a token of the platform is enough if it has one.
///
/// # Errors
/// As [`require_platform`] and [`require_admin`].
pub(super) fn require_platform_or_admin(app: &App, headers: &HeaderMap, platform: &str) -> Result<(), Failure> {
    let registry = app.registry();
    let settings = app.settings();
    match registry.platform(platform) {
        Ok(platform) if !platform.tokens.is_empty() => may_name(&settings, &registry, platform, headers),
        _ => require_admin(&settings, headers),
    }
}

fn may_name(settings: &Settings, registry: &Registry, platform: &Platform, headers: &HeaderMap) -> Result<(), Failure> {
    if platform.tokens.is_empty() && !settings.require_platform_token {
        return Ok(());
    }
    let Some(token) = bearer(headers) else {
        return Err(Failure::new(
            ErrorCode::Unauthorized,
            format!("the platform \"{}\" needs its token", platform.name),
        )
        .hint(SEND_IT));
    };
    if is_admin(settings, token) {
        return Ok(());
    }
    let hash = hash(token);
    if platform.has_token(&hash) {
        return Ok(());
    }
    if registry.knows_token(&hash) && !platform.has_had_token(&hash) {
        return Err(of_another(&platform.name));
    }
    Err(Failure::new(ErrorCode::Unauthorized, "the token is none of this platform, or has expired"))
}

fn of_another(platform: &str) -> Failure {
    Failure::new(
        ErrorCode::PlatformIsolationViolation,
        format!("the token is another platform's, not one of \"{platform}\""),
    )
}

/// What is compared: with a hash, the time of a comparison says nothing of the token, wherever it ends.
fn hash(token: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(token).into()
}
