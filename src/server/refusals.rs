//! Who was refused at the door, written to the server's log: once for each address and reason in a minute, and no more lines than are set.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::{Method, Uri};
use stonescriptdb_protocol::{ErrorCode, Failure};

use super::App;
use crate::error;

/// The time for which lines are counted.
const MINUTE: Duration = Duration::from_secs(60);
/// How often it is looked whether that is over.
const LOOK_EVERY: Duration = Duration::from_secs(5);
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
    /// Those that were written, and how many more like each there were. No more of them than lines may be written.
    written: HashMap<(IpAddr, ErrorCode), u64>,
    /// Others, of which nothing was written.
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
        let mut minute = self.minute();
        if minute.is_over() {
            minute.end(app);
        }
        minute.began.get_or_insert_with(Instant::now);
        let room = minute.written.len() < settings.log_refusals_per_minute;
        match minute.written.get_mut(&(address, failure.code)) {
            Some(more) => *more += 1,
            None if room => {
                minute.written.insert((address, failure.code), 0);
                app.main.log(line(address, method, uri, failure));
            }
            None => minute.others += 1,
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
        let total = more.iter().map(|(_, more)| more).sum::<u64>() + minute.others;
        if total == 0 {
            return;
        }
        let named = more.iter().take(NAMED);
        let named: Vec<String> = named
            .map(|((address, code), more)| format!("{more} from {address} ({})", error::outside(*code).name))
            .collect();
        let rest = more.iter().skip(NAMED).map(|(_, more)| more).sum::<u64>() + minute.others;
        let rest =
            if rest > 0 { format!("{}{rest} others", if named.is_empty() { "" } else { ", " }) } else { String::new() };
        app.main.log(format!("refused {total} more requests in {seconds} s: {}{rest}", named.join(", ")));
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

/// Says at the end of each minute, and when settings are read again, how many refusals were not written; until the worker ends.
pub(super) async fn sum_up(app: Arc<App>) {
    let mut reloads = app.reloads.subscribe();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        let reloaded = tokio::select! {
            _ = looks.tick() => false,
            changed = reloads.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
        };
        let mut minute = app.refusals.minute();
        if reloaded || minute.is_over() {
            minute.end(&app);
        }
    }
}
