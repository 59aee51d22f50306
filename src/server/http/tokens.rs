//! The routes of platforms' tokens.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use hyper::StatusCode;
use serde::Deserialize;
use stonescriptdb_protocol::{Failure, Listing, TenantWork, TokenSpec};

use super::access::Guest;
use super::admin::needed;
use super::body::{invalid, url_value};
use super::{Reply, Sender, access, answer, body, v2};
use crate::server::App;
use crate::server::deploy;

/// For how long a token that is replaced goes on counting if nothing else is asked for, in seconds.
const GRACE: f64 = 24.0 * 60.0 * 60.0;
/// The longest that can be asked for, in seconds: a hundred years.
const LONGEST: f64 = 100.0 * 366.0 * 24.0 * 60.0 * 60.0;

#[derive(Deserialize)]
struct NewToken {
    platform: Option<String>,
    name: Option<String>,
    description: Option<String>,
    scopes: Option<Vec<String>>,
    tenant_id: Option<String>,
    schema_name: Option<String>,
    expires_at: Option<String>,
    expires_in: Option<f64>,
}

/// `POST /admin/platform-token`: one more each time; older ones stay.
pub(super) async fn issue(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let guest = access::require_administrator(&app, &sender)?;
    let request: NewToken = body::json(request, &app.settings(), "a new token").await?;
    let platform = needed(&request.platform, "platform")?;
    access::require_own(&app, &guest, &platform)?;
    let token = TokenSpec {
        platform: app.registry().platform(&platform)?.name.clone(),
        name: request.name,
        description: request.description,
        scopes: request.scopes,
        tenant: request.tenant_id.filter(|id| !id.is_empty()),
        schema: request.schema_name.filter(|name| !name.is_empty()),
        expires_at: time(request.expires_at, request.expires_in)?,
        expires_in: seconds(request.expires_in, "expires_in")?,
        by: by(&guest, &sender),
    };
    v2::listed(deploy::issue_token(&app, token).await)
}

#[derive(Deserialize)]
struct RotateToken {
    id: Option<String>,
    grace: Option<f64>,
    expires_at: Option<String>,
    expires_in: Option<f64>,
}

/// `POST /admin/rotate-token`: a new one with all that the old one has, which goes on counting for a while.
pub(super) async fn rotate(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let guest = access::require_administrator(&app, &sender)?;
    let request: RotateToken = body::json(request, &app.settings(), "a token to be replaced").await?;
    let rotate = TenantWork::RotateToken {
        id: id(&request.id)?,
        of: guest.platform().map(str::to_owned),
        grace: seconds(request.grace, "grace")?.unwrap_or(GRACE),
        expires_at: time(request.expires_at, request.expires_in)?,
        expires_in: seconds(request.expires_in, "expires_in")?,
        by: by(&guest, &sender),
    };
    v2::listed(deploy::rotate_token(&app, rotate).await)
}

/// `GET /admin/tokens?platform=`: without one, all that are the asker's affair.
pub(super) async fn list(State(app): State<Arc<App>>, Extension(sender): Extension<Sender>, request: Request) -> Reply {
    let guest = access::require_administrator(&app, &sender)?;
    let query = request.uri().query().unwrap_or_default();
    let platform = match url_value(query, "platform").filter(|name| !name.is_empty()) {
        Some(name) => {
            access::require_own(&app, &guest, &name)?;
            Some(app.registry().platform(&name)?.name.clone())
        }
        None => guest.platform().map(str::to_owned),
    };
    v2::listed(deploy::list(&app, Listing::Tokens { platform }).await)
}

#[derive(Deserialize)]
struct RevokeToken {
    id: Option<String>,
}

/// `POST /admin/revoke-token`.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let guest = access::require_administrator(&app, &sender)?;
    let request: RevokeToken = body::json(request, &app.settings(), "a token to be revoked").await?;
    let id = id(&request.id)?;
    let revoked = deploy::revoke_token(&app, &id, guest.platform().map(str::to_owned)).await?;
    Ok(answer::json(StatusCode::OK, &serde_json::json!({"id": id, "revoked": revoked})))
}

fn id(sent: &Option<String>) -> Result<String, Failure> {
    let id = needed(sent, "id")?;
    match uuid::Uuid::parse_str(&id) {
        Ok(_) => Ok(id),
        Err(_) => Err(invalid("the field id is the UUID of a token")),
    }
}

fn time(at: Option<String>, within: Option<f64>) -> Result<Option<String>, Failure> {
    let at = at.filter(|time| !time.is_empty());
    if at.is_some() && within.is_some() {
        return Err(invalid("either expires_at or expires_in, not both"));
    }
    Ok(at)
}

fn seconds(sent: Option<f64>, name: &str) -> Result<Option<f64>, Failure> {
    match sent {
        Some(seconds) if !(0.0..=LONGEST).contains(&seconds) => {
            Err(invalid(format!("the field {name} is a number of seconds from 0 to a hundred years")))
        }
        sent => Ok(sent),
    }
}

/// Who a token is made by, for its record.
fn by(guest: &Guest, sender: &Sender) -> String {
    match guest {
        Guest::Holder { token, .. } => format!("http {} with the token {token}", sender.client),
        Guest::Admin => format!("http {}", sender.client),
    }
}
