//! Calls are counted and, if they fail, told to the log: by whoever answers them, the server worker or an executor.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use stonescriptdb_protocol::{ErrorCode, Failure, Rate, one_traceparent};

use crate::error;
use crate::postgres::counters::{self, Line, Outcome, Platform};

/// A call that runs. Dropped before its end is told, its caller has left.
pub(crate) struct Tally {
    /// `None`: there is no such platform.
    platform: Option<Platform>,
    pub(crate) started: Instant,
    /// Bytes of the parameters.
    received: usize,
    is_open: bool,
}

impl Tally {
    pub(crate) fn begin(platform: Option<Platform>, received: usize) -> Tally {
        Tally { platform, started: Instant::now(), received, is_open: true }
    }

    /// It went well, in that time and with an answer of so many bytes.
    pub(crate) fn ok(&mut self, took: Duration, sent: usize) {
        self.count(Outcome::Ok, took, sent);
    }

    /// It failed; gives the time that it took.
    pub(crate) fn failed(&mut self, failure: &Failure) -> Duration {
        let took = self.started.elapsed();
        self.count(outcome_of(failure), took, 0);
        took
    }

    fn count(&mut self, outcome: Outcome, took: Duration, sent: usize) {
        self.is_open = false;
        if let Some(platform) = self.platform {
            platform.count(outcome, took, self.received, sent);
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if self.is_open {
            self.count(Outcome::Cancelled, self.started.elapsed(), 0);
        }
    }
}

fn outcome_of(failure: &Failure) -> Outcome {
    match failure.code {
        ErrorCode::QueryFailed if failure.sqlstate.as_deref() == Some("57014") => Outcome::Timeout,
        ErrorCode::QueryFailed | ErrorCode::InternalError => match error::status(failure) {
            503 => Outcome::Unavailable,
            500.. => Outcome::Error,
            _ => Outcome::Failed,
        },
        ErrorCode::ConnectionFailed | ErrorCode::TenantSuspended | ErrorCode::PoolExhausted => Outcome::Unavailable,
        _ => Outcome::Refused,
    }
}

/// A call that failed, for the log: who was called, and nothing of what was sent along.
#[derive(Clone, Copy)]
pub(crate) struct Failed<'a> {
    pub(crate) platform: &'a str,
    pub(crate) tenant: &'a str,
    /// As it was sent.
    pub(crate) function: &'a str,
    /// The request's id.
    pub(crate) id: &'a str,
    /// As it was sent, if it is one.
    pub(crate) traceparent: Option<&'a str>,
}

impl Failed<'_> {
    /// The line for the log; `None` if none is wanted of it, or there are too many. PostgreSQL's message is not in it: it may quote values.
    pub(crate) fn line(&self, failure: &Failure, took: Duration, least: u16, limit: Option<Rate>) -> Option<String> {
        let status = error::status(failure);
        if status < least {
            return None;
        }
        if !counters::may_log(Line::Call, limit) {
            return None;
        }
        let left_out = counters::left_out(Line::Call);
        let mut line = format!("event=call_failed status={status} error={}", error::outside(failure.code).name);
        let mut field = |name: &str, value: &str| {
            if !value.is_empty() {
                line.push_str(&format!(" {name}={}", quoted(value)));
            }
        };
        field("sqlstate", failure.sqlstate.as_deref().unwrap_or_default());
        field("platform", self.platform);
        field("tenant", self.tenant);
        field("function", self.function);
        field("database", failure.database.as_deref().unwrap_or_default());
        field("duration_ms", &took.as_millis().to_string());
        field("request_id", self.id);
        field("traceparent", self.traceparent.unwrap_or_default());
        if left_out > 0 {
            field("left_out", &left_out.to_string());
        }
        Some(line)
    }
}

/// Characters of a value that was sent, in the log.
const SHOWN: usize = 128;

/// A value as logfmt has it: as it is, or quoted as in JSON. It cannot end the line or begin another field.
fn quoted(value: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
    if value.len() <= SHOWN && value.bytes().all(is_plain) {
        return value.into();
    }
    let cut: String = value.chars().take(SHOWN).collect();
    // Control characters beyond ASCII's are not escaped by JSON.
    let cut: String = cut.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    serde_json::to_string(&cut).unwrap_or_default().into()
}

/// The traceparent of a request, if it has one that is valid.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    one_traceparent(headers.get_all("traceparent").iter().map(|value| value.as_bytes()))
}
