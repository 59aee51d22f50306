//! Tokens of platforms: made, replaced, revoked. The tokens themselves are in no text of a query: functions make them.

use stonescriptdb_protocol::{ErrorCode, Failure, TokenSpec};

use super::{execute, spi};
use crate::postgres::transaction;
use crate::query::{self, Argument};

/// When a token ends: neither is never.
pub(super) struct End<'a> {
    /// As PostgreSQL reads it.
    pub(super) at: Option<&'a str>,
    /// Seconds from now on.
    pub(super) seconds: Option<f64>,
}

/// A new token; JSON text.
///
/// # Errors
/// `invalid_request` for a time or a scope that is none, `database_not_found`.
pub(super) fn issue(token: &TokenSpec) -> Result<String, Failure> {
    let TokenSpec { platform, name, description, scopes, tenant, schema, expires_at, expires_in, by } = token;
    json(
        "SELECT json_build_object('token', i.token, 'id', i.id, 'platform', $1, 'name', $2, 'scopes', i.granted, 'tenant_id', $5,
                                  'expires_at', e.at)::text
         FROM (SELECT coalesce($7::text::timestamptz, now() + make_interval(secs => $8)) AS at) e,
              stonescriptdb.issue_token($1, $2, $3, $4, $5, $6, e.at, $9) i",
        &[
                platform.as_str().into(),
                name.as_deref().into(),
                description.as_deref().into(),
                scopes.clone().into(),
                tenant.as_deref().into(),
                schema.as_deref().into(),
                expires_at.as_deref().into(),
                (*expires_in).into(),
                by.as_str().into(),
            ],
        ErrorCode::DatabaseNotFound,
    )
}

/// A token in place of another one; JSON text.
///
/// # Errors
/// `token_not_found`; `invalid_request` for a time that is none, and for a token that is no good any more.
pub(super) fn rotate(id: &str, of: Option<&str>, grace: f64, end: End<'_>, by: &str) -> Result<String, Failure> {
    json(
        "SELECT json_build_object('token', r.token, 'id', r.id, 'platform', r.platform, 'expires_at', r.new_expires_at,
                                  'replaces', $2, 'old_expires_at', r.old_expires_at)::text
         FROM stonescriptdb.replace_token($1, $2::text::uuid, make_interval(secs => $3),
                  coalesce($4::text::timestamptz, now() + make_interval(secs => $5)), $6) r",
        &[of.into(), id.into(), grace.into(), end.at.into(), end.seconds.into(), by.into()],
        ErrorCode::TokenNotFound,
    )
}

/// Makes one useless; `false` if there is none.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn revoke(id: &str, of: Option<&str>) -> Result<bool, Failure> {
    // What is no UUID is no token's id.
    let Ok(id) = uuid::Uuid::parse_str(id) else { return Ok(false) };
    transaction(|| {
        let arguments = [of.into(), id.to_string().into()];
        let revoked = query::one::<bool>("SELECT stonescriptdb.end_token($1, $2::uuid)", &arguments);
        Ok::<_, Failure>(revoked.map_err(spi)? == Some(true))
    })
}

/// Notes that tokens were used.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn used(ids: &[String]) -> Result<(), Failure> {
    transaction(|| {
        // A crash may take it: it is coarse anyway.
        execute("SET LOCAL synchronous_commit = off", &[])?;
        execute("SELECT stonescriptdb.note_tokens_used($1::text[]::uuid[])", &[ids.to_vec().into()])
    })
}

fn json(statement: &str, arguments: &[Argument], unknown: ErrorCode) -> Result<String, Failure> {
    transaction(|| {
        let found = query::one::<String>(statement, arguments);
        Ok::<_, Failure>(found.map_err(spi)?.unwrap_or_default())
    })
    .map_err(|failure| match failure.sqlstate.as_deref() {
        // No such time, or one that no calendar has; no such scope; a token that has had its time.
        Some("22007" | "22008" | "22023" | "55000") => Failure { code: ErrorCode::InvalidRequest, ..failure },
        Some("42704") => Failure { code: unknown, ..failure },
        _ => failure,
    })
}
