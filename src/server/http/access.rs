//! Who may come in: the admin token, the tokens of platforms and what they are good for.
//!
//! A request is looked at twice where its platform is named in its body: [`knock`] before the body is read, as far as that tells anything,
//! and one of the others when the platform is known.

use std::sync::atomic::Ordering::Relaxed;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use stonescriptdb_protocol::{ErrorCode, Failure};
use subtle::ConstantTimeEq;

use super::{Sender, address};
use crate::server::App;
use crate::server::calls::Whom;
use crate::server::lookup::{Platform, Registry};
use crate::server::tokens::{self, Hash, Scope, Token};
use crate::settings::Settings;

/// What a request presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Nothing,
    /// The admin token.
    Admin,
    /// Perhaps a platform's token; its hash.
    Token(Hash),
    /// Another scheme than Bearer, or no text.
    Other,
}

impl Proof {
    pub(super) fn of(settings: &Settings, headers: &HeaderMap) -> Proof {
        let Some(sent) = headers.get(AUTHORIZATION) else { return Proof::Nothing };
        let bearer = || {
            let (scheme, token) = sent.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        };
        match bearer() {
            None => Proof::Other,
            Some(token) if is_admin(settings, token) => Proof::Admin,
            Some(token) => Proof::Token(tokens::hash(token)),
        }
    }
}

fn is_admin(settings: &Settings, token: &str) -> bool {
    settings.admin_token.is_some_and(|wanted| bool::from(tokens::hash(token).ct_eq(&wanted)))
}

const SEND_IT: &str = "Send it as Authorization: Bearer …";

fn unauthorized(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::Unauthorized, message)
}

/// Who has been let in where somebody has to be somebody.
pub(super) enum Guest {
    Admin,
    /// The holder of a platform's token.
    Holder {
        /// The platform as registered.
        platform: String,
        /// The token's id.
        token: String,
    },
}

impl Guest {
    /// The only platform whose affairs are theirs.
    pub(super) fn platform(&self) -> Option<&str> {
        match self {
            Guest::Holder { platform, .. } => Some(platform),
            Guest::Admin => None,
        }
    }
}

/// Lets only the admin token pass.
///
/// # Errors
/// `admin_disabled` (503) while none is set, `unauthorized` (401) otherwise.
pub(super) fn require_admin(app: &App, sender: &Sender) -> Result<(), Failure> {
    if sender.proof == Proof::Admin { Ok(()) } else { Err(no_admin(&app.settings(), sender)) }
}

fn no_admin(settings: &Settings, sender: &Sender) -> Failure {
    if settings.admin_token.is_none() {
        return Failure::new(ErrorCode::AdminDisabled, "administration over HTTP is switched off")
            .hint("Set stonescriptdb.admin_token and reload.");
    }
    match sender.proof {
        Proof::Token(_) => unauthorized("the token is not the admin token"),
        _ => unauthorized("this route needs the admin token").hint(SEND_IT),
    }
}

/// Lets pass who may see the figures: everybody if they are public, else the admin token and the one that is for them.
///
/// # Errors
/// As [`require_admin`], where neither token is set.
pub(super) fn require_metrics(app: &App, sender: &Sender) -> Result<(), Failure> {
    let settings = app.settings();
    let is_own = |hash: &Hash| settings.metrics_token.is_some_and(|own| hash.ct_eq(&own).into());
    match &sender.proof {
        _ if settings.metrics_public => Ok(()),
        Proof::Admin => Ok(()),
        Proof::Token(hash) if is_own(hash) => Ok(()),
        _ if settings.metrics_token.is_none() && settings.admin_token.is_none() => {
            Err(Failure::new(ErrorCode::AdminDisabled, "the figures are shown to nobody")
                .hint("Set stonescriptdb.metrics_token, or stonescriptdb.metrics_public, and reload."))
        }
        Proof::Token(_) => Err(unauthorized("the token is neither that of the figures nor the admin's")),
        Proof::Nothing | Proof::Other => Err(unauthorized("this route needs a token").hint(SEND_IT)),
    }
}

/// Lets the admin token pass, and tokens of platforms with the scope `admin`, whose own platform alone is then their affair.
///
/// # Errors
/// As [`require_admin`]; `insufficient_scope` (403).
pub(super) fn require_administrator(app: &App, sender: &Sender) -> Result<Guest, Failure> {
    let guest = require_somebody(app, sender, Scope::Admin)?;
    let registry = app.registry();
    if let Some(Ok(platform)) = guest.platform().map(|own| registry.platform(own)) {
        require_rate(app, platform, sender).map_err(|failure| of_platform(failure, platform))?;
    }
    Ok(guest)
}

/// The same, once the platform is known that the request is about.
///
/// # Errors
/// `platform_isolation_violation` (403) for another platform than the token's.
pub(super) fn require_own(app: &App, guest: &Guest, platform: &str) -> Result<(), Failure> {
    let Some(own) = guest.platform() else { return Ok(()) };
    let registry = app.registry();
    match registry.platform(platform) {
        Ok(named) if named.name == own => Ok(()),
        // Whether there is such a platform is not for them to know.
        _ => Err(of_another(platform)),
    }
}

/// Lets the admin token pass, and tokens of any platform with a scope.
fn require_somebody(app: &App, sender: &Sender, scope: Scope) -> Result<Guest, Failure> {
    if sender.proof == Proof::Admin {
        return Ok(Guest::Admin);
    }
    let registry = app.registry();
    match holder(&registry, sender) {
        Some((platform, token)) => {
            let entered = require_network(platform, sender).and_then(|()| require_scope(token, &[scope]));
            entered.map_err(|failure| of_platform(failure, platform))?;
            app.used.note(token);
            Ok(Guest::Holder { platform: platform.name.clone(), token: token.id.to_string() })
        }
        None => Err(no_admin(&app.settings(), sender)),
    }
}

/// Whose token was sent, if it is a good one.
fn holder<'r>(registry: &'r Registry, sender: &Sender) -> Option<(&'r Platform, &'r Token)> {
    let Proof::Token(hash) = &sender.proof else { return None };
    registry.token(hash).filter(|(_, token)| !token.is_over())
}

/// Before the body is read that names the platform: where every request needs a token, one without any that is good for this goes no
/// further.
///
/// # Errors
/// `unauthorized` (401), `insufficient_scope` (403).
pub(super) fn knock(app: &App, sender: &Sender, scope: Scope) -> Result<(), Failure> {
    if !app.settings().require_platform_token || sender.proof == Proof::Admin {
        return Ok(());
    }
    match holder(&app.registry(), sender) {
        Some((platform, token)) => require_scope(token, &[scope]).map_err(|failure| of_platform(failure, platform)),
        None => Err(match sender.proof {
            Proof::Nothing => unauthorized("every request needs a token of its platform").hint(SEND_IT),
            _ => unauthorized("the token is no platform's, or has expired"),
        }),
    }
}

/// The same where a token is needed in any case, that of a platform that has one or the admin's.
///
/// # Errors
/// As [`knock`]; `admin_disabled` (503).
pub(super) fn knock_to_create(app: &App, sender: &Sender) -> Result<(), Failure> {
    match require_somebody(app, sender, Scope::Deploy) {
        // Without an admin token, tokens of platforms count all the same.
        Err(failure) if failure.code == ErrorCode::AdminDisabled && app.registry().has_tokens() => {
            Err(unauthorized("this route needs a token of the platform").hint(SEND_IT))
        }
        result => result.map(drop),
    }
}

/// Lets pass who may call a tenant's functions: anybody while its platform has no token and none is required, else a token of it or the
/// admin's. One that has expired keeps its platform closed: a token that ends must not open what it guarded.
///
/// # Errors
/// `platform_not_found`; `unauthorized`, 401, and 403 for an address outside of the platform's networks; `insufficient_scope` (403);
/// `platform_isolation_violation` (403) for another platform's token, or another tenant's.
pub(super) fn require_to_call(app: &App, sender: &Sender, whom: &Whom<'_>) -> Result<(), Failure> {
    let registry = app.registry();
    let platform = named(app, &registry, sender, whom.platform)?;
    let Some(token) = enter(app, &registry, platform, sender, &[Scope::Call], Silence::MayPass)? else { return Ok(()) };
    match &token.only {
        // What is not there may be asked for: whether it is, is no secret to who may call nothing else.
        Some(only) if platform.database_called(whom.schema, whom.tenant) != Some(only) => {
            let message = format!("the token is for another tenant of \"{}\"", platform.name);
            Err(of_platform(Failure::new(ErrorCode::PlatformIsolationViolation, message), platform))
        }
        _ => Ok(()),
    }
}

/// Lets pass who may upload bundles to a platform; as [`require_to_call`].
///
/// # Errors
/// As [`require_to_call`].
pub(super) fn require_to_upload(app: &App, sender: &Sender, platform: &str) -> Result<(), Failure> {
    let registry = app.registry();
    enter(app, &registry, named(app, &registry, sender, platform)?, sender, &[Scope::Deploy], Silence::MayPass)
        .map(drop)
}

/// Lets pass who may see what a platform has; as [`require_to_call`].
///
/// # Errors
/// As [`require_to_call`].
pub(super) fn require_to_list(app: &App, sender: &Sender, platform: &str) -> Result<(), Failure> {
    let registry = app.registry();
    let scopes = [Scope::Deploy, Scope::Admin];
    enter(app, &registry, named(app, &registry, sender, platform)?, sender, &scopes, Silence::MayPass).map(drop)
}

/// As [`require_to_upload`], on the routes where every client of today sends a token if it has one.
///
/// # Errors
/// As [`require_to_call`].
pub(super) fn require_to_deploy(app: &App, sender: &Sender, platform: &str) -> Result<(), Failure> {
    let registry = app.registry();
    enter(app, &registry, named(app, &registry, sender, platform)?, sender, &[Scope::Deploy], Silence::IsAnswered)
        .map(drop)
}

/// Where tokens are not asked for on every route, who sends none is let in; one that is sent must be right all the same.
fn is_excused(settings: &Settings, sender: &Sender) -> bool {
    !settings.token_everywhere && !settings.require_platform_token && sender.proof == Proof::Nothing
}

/// As [`require_to_upload`], for a request that may make the platform: where tokens are required, only the admin's makes one.
///
/// # Errors
/// As [`require_to_call`], but for a platform that is not there.
pub(super) fn require_to_register(app: &App, sender: &Sender, platform: &str) -> Result<(), Failure> {
    knock_to_register(app, sender, platform)?;
    match app.registry().platform(platform) {
        Ok(platform) => require_rate(app, platform, sender).map_err(|failure| of_platform(failure, platform)),
        Err(_) => Ok(()),
    }
}

/// The same while the archive is still to come: it takes nothing of what the platform may send, which [`require_to_register`] does.
///
/// # Errors
/// As [`require_to_register`].
pub(super) fn knock_to_register(app: &App, sender: &Sender, platform: &str) -> Result<(), Failure> {
    let (registry, settings) = (app.registry(), app.settings());
    match registry.platform(platform) {
        Ok(platform) => admit(app, &registry, platform, sender, &[Scope::Deploy], Silence::MayPass).map(drop),
        Err(_) if settings.require_platform_token => match &sender.proof {
            Proof::Admin => Ok(()),
            Proof::Token(hash) if registry.token(hash).is_some() => Err(of_another(platform)),
            _ => Err(unauthorized("a new platform needs the admin token").hint(SEND_IT)),
        },
        Err(_) if app.registry_readable.load(Relaxed) => Ok(()),
        // Whether it has a token is not known.
        Err(_) => Err(Failure::new(ErrorCode::ConnectionFailed, "the registry cannot be read now")),
    }
}

/// Lets pass who may make a database of a platform where that is an admin's route: a token of the platform is enough if it has one.
///
/// # Errors
/// As [`require_to_call`] and [`require_admin`].
pub(super) fn require_to_create(app: &App, sender: &Sender, platform: &str) -> Result<(), Failure> {
    let registry = app.registry();
    match registry.platform(platform) {
        Ok(platform) if !platform.tokens.is_empty() => {
            enter(app, &registry, platform, sender, &[Scope::Deploy], Silence::IsAnswered).map(drop)
        }
        _ => require_admin(app, sender),
    }
}

/// The platform of a name. Where every request needs a token, whether there is one is the administrator's to know: to all others it is as
/// one of which they have no token.
///
/// # Errors
/// `platform_not_found`; `unauthorized` (401), `platform_isolation_violation` (403).
fn named<'r>(app: &App, registry: &'r Registry, sender: &Sender, name: &str) -> Result<&'r Platform, Failure> {
    match registry.platform(name) {
        Err(failure)
            if failure.code == ErrorCode::PlatformNotFound
                && app.settings().require_platform_token
                && sender.proof != Proof::Admin =>
        {
            Err(match &sender.proof {
                Proof::Token(hash) if registry.token(hash).is_some() => of_another(name),
                Proof::Token(_) => unauthorized(NO_TOKEN_OF_IT),
                _ => needs_its_token(name),
            })
        }
        found => found,
    }
}

/// What becomes of a request without a token where `token_everywhere` is off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// Clients of today send none here.
    MayPass,
    /// They send one if they have one.
    IsAnswered,
}

/// Lets a request in to a platform: from its networks, with its token where one is needed; gives the token.
fn enter<'r>(
    app: &App,
    registry: &Registry,
    platform: &'r Platform,
    sender: &Sender,
    scopes: &[Scope],
    silence: Silence,
) -> Result<Option<&'r Token>, Failure> {
    let token = admit(app, registry, platform, sender, scopes, silence)?;
    // Whoever is not let in takes nothing of what the platform may send.
    require_rate(app, platform, sender).map_err(|failure| of_platform(failure, platform))?;
    Ok(token)
}

/// As [`enter`], whatever the platform has sent before.
fn admit<'r>(
    app: &App,
    registry: &Registry,
    platform: &'r Platform,
    sender: &Sender,
    scopes: &[Scope],
    silence: Silence,
) -> Result<Option<&'r Token>, Failure> {
    let admitted = || {
        require_network(platform, sender)?;
        let settings = app.settings();
        let is_excused = silence == Silence::MayPass && is_excused(&settings, sender);
        if is_excused { Ok(None) } else { may_name(app, &settings, registry, platform, sender, scopes) }
    };
    admitted().map_err(|failure| of_platform(failure, platform))
}

/// A refusal with the platform that it is about, for the log.
fn of_platform(failure: Failure, platform: &Platform) -> Failure {
    Failure { platform: Some(platform.name.clone()), ..failure }
}

/// Lets no more requests of a platform pass than it may send; the administrator's are not the platform's.
fn require_rate(app: &App, platform: &Platform, sender: &Sender) -> Result<(), Failure> {
    if sender.proof == Proof::Admin { Ok(()) } else { app.rates.take(app, platform) }
}

/// Lets only the networks of a platform pass.
fn require_network(platform: &Platform, sender: &Sender) -> Result<(), Failure> {
    match &platform.networks {
        Some(networks) if !address::contains(networks, sender.client) => Err(address::refused(format!(
            "requests from this address for the platform \"{}\" are not allowed",
            platform.name
        ))),
        _ => Ok(()),
    }
}

/// The token that was sent, which is the platform's and has one of the scopes; none where none is needed.
fn may_name<'r>(
    app: &App,
    settings: &Settings,
    registry: &Registry,
    platform: &'r Platform,
    sender: &Sender,
    scopes: &[Scope],
) -> Result<Option<&'r Token>, Failure> {
    if sender.proof == Proof::Admin || platform.tokens.is_empty() && !settings.require_platform_token {
        return Ok(None);
    }
    let Proof::Token(hash) = &sender.proof else {
        return Err(needs_its_token(&platform.name));
    };
    match platform.token(hash) {
        Some(token) if !token.is_over() => {
            require_scope(token, scopes)?;
            app.used.note(token);
            Ok(Some(token))
        }
        None if registry.token(hash).is_some() => Err(of_another(&platform.name)),
        _ => Err(unauthorized(NO_TOKEN_OF_IT)),
    }
}

fn require_scope(token: &Token, scopes: &[Scope]) -> Result<(), Failure> {
    if scopes.iter().any(|scope| token.scopes.has(*scope)) {
        return Ok(());
    }
    let needed: Vec<String> = scopes.iter().map(|scope| format!("\"{}\"", scope.name())).collect();
    Err(Failure::new(ErrorCode::InsufficientScope, format!("the token lacks the scope {}", needed.join(" or ")))
        .detail(format!("It has: {}.", token.scopes.names().join(", "))))
}

const NO_TOKEN_OF_IT: &str = "the token is none of this platform, or has expired";

fn needs_its_token(platform: &str) -> Failure {
    unauthorized(format!("the platform \"{platform}\" needs its token")).hint(SEND_IT)
}

fn of_another(platform: &str) -> Failure {
    Failure::new(
        ErrorCode::PlatformIsolationViolation,
        format!("the token is another platform's, not one of \"{platform}\""),
    )
}
