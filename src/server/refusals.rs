//! Who was refused at the door, written to the server's log: once for each address and reason in a minute, as long as `log_rate` allows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hyper::{Method, Uri};
use stonescriptdb_protocol::{ErrorCode, Failure};

use super::App;
use super::log::MINUTE;
use crate::error;
use crate::postgres::counters::{self, Line};

/// So many of those that were written are remembered, so that memory does not grow with the number of addresses.
const REMEMBERED: usize = 10_000;
/// So many of those that were not written are named in the sum.
const NAMED: usize = 5;
/// Characters of a path that are written.
const LONGEST_PATH: usize = 200;

/// Whether a failure is a refusal at the door, and no answer of what is behind it.
pub(super) fn is_one(failure: &Failure) -> bool {
    use ErrorCode::*;
    matches!(
        failure.code,
        Unauthorized
            | AddressNotAllowed
            | PlatformIsolationViolation
            | InsufficientScope
            | OriginNotAllowed
            | HostNotAllowed
            | TooManyRequests
            | AdminDisabled
    )
}

/// Refusals of the minute that runs.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Minute>);

#[derive(Default)]
struct Minute {
    began: Option<Instant>,
    /// Those that were written, and how many more like each there were.
    written: HashMap<(IpAddr, ErrorCode), u64>,
    /// More than can be remembered.
    others: u64,
}

impl Refusals {
    fn minute(&self) -> MutexGuard<'_, Minute> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a refusal; what was sent to prove who it is from never comes here.
    pub(super) fn note(&self, app: &App, address: IpAddr, method: &Method, uri: &Uri, failure: &Failure) {
        let settings = app.settings();
        if !settings.log_refusals {
            return;
        }
        let mut minute = self.begun(app);
        let room = minute.written.len() < REMEMBERED;
        match minute.written.get_mut(&(address, failure.code)) {
            Some(more) => *more += 1,
            None if room => {
                if app.main.log_as(Line::Refusal, line(address, method, uri, failure)) {
                    minute.written.insert((address, failure.code), 0);
                }
            }
            None => minute.others += 1,
        }
    }

    /// Notes a connection with which there was nothing to be agreed on.
    pub(super) fn note_connection(&self, app: &App, address: IpAddr, reason: &str) {
        let _counted = self.begun(app);
        app.main.log_as(Line::Refusal, format!("no TLS connection with {address} came about: {reason}"));
    }

    /// The minute that runs.
    fn begun(&self, app: &App) -> MutexGuard<'_, Minute> {
        let mut minute = self.minute();
        if minute.is_over() {
            minute.end(app);
        }
        minute.began.get_or_insert_with(Instant::now);
        minute
    }

    /// Says what was not written, if the minute is over or is to be.
    pub(super) fn sum_up(&self, app: &App, now: bool) {
        let mut minute = self.minute();
        if now || minute.is_over() {
            minute.end(app);
        }
    }
}

impl Minute {
    fn is_over(&self) -> bool {
        self.began.is_some_and(|began| began.elapsed() >= MINUTE)
    }

    /// Says how many were not written, and begins anew.
    fn end(&mut self, app: &App) {
        let minute = std::mem::take(self);
        let seconds = minute.began.map_or(0, |began| began.elapsed().as_secs());
        let mut more: Vec<_> = minute.written.into_iter().filter(|(_, more)| *more > 0).collect();
        more.sort_unstable_by_key(|(_, more)| std::cmp::Reverse(*more));
        let others = minute.others + counters::left_out(Line::Refusal);
        let total = more.iter().map(|(_, more)| more).sum::<u64>() + others;
        if total == 0 {
            return;
        }
        let named = more.iter().take(NAMED);
        let named: Vec<String> = named
            .map(|((address, code), more)| format!("{more} from {address} ({})", error::outside(*code).name))
            .collect();
        let rest = more.iter().skip(NAMED).map(|(_, more)| more).sum::<u64>() + others;
        let rest =
            if rest > 0 { format!("{}{rest} others", if named.is_empty() { "" } else { ", " }) } else { String::new() };
        app.main.tell(format!("refused {total} more requests in {seconds} s: {}{rest}", named.join(", ")));
    }
}

/// The path without its query, which may have values of a call. Names and origins are others' texts: nothing in them makes a new line.
fn line(address: IpAddr, method: &Method, uri: &Uri, failure: &Failure) -> String {
    let path: String = uri.path().chars().take(LONGEST_PATH).flat_map(char::escape_default).collect();
    let of = failure.platform.as_ref().map(|platform| format!(" for the platform \"{platform}\"")).unwrap_or_default();
    let (status, name) = (error::status(failure), error::outside(failure.code).name);
    let line = format!("refused {method} {path} from {address}{of}: {status} {name}: {}", failure.message);
    line.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}
