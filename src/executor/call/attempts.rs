//! How often and how long: the time limit of a call, new attempts after a serialization failure or a deadlock, and calls that are begun
//! anew because a deployment came in between.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stonescriptdb_protocol::{Failure, Rules};

use crate::postgres::{self, PgError, invalidation, session, wait};

/// The pause before the second attempt; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often a call is begun anew because of deployments. More do not come within one call; a function that changes the catalog itself, by a
/// temporary table, and fails while others change it too looks the same.
const MOST_RESTARTS: u8 = 2;

/// What a time limit is for.
#[derive(Clone, Copy)]
pub(crate) enum Span {
    /// One call: what its function says counts.
    Call,
    /// All calls of a batch together, since then: what a function says may only shorten it, for its own call.
    Batch(Instant),
}

impl Span {
    /// A batch that begins now.
    pub(crate) fn batch() -> Span {
        Span::Batch(Instant::now())
    }
}

/// One attempt to carry out a request.
pub(crate) struct Attempt {
    span: Span,
    /// Milliseconds that are armed for the whole; 0 is no limit.
    whole: u32,
    /// The caller's limit is in `whole`, and not the default.
    asked: bool,
    /// The limit of the function that runs, which is armed now.
    own: Option<u32>,
    /// How often it was tried before; `None` if nobody asked for that.
    pub(super) retries: Option<u8>,
    /// Rows of it have been sent.
    pub(super) sent: bool,
    /// The catalog when the first function was about to be looked up.
    seen: Option<invalidation::Seen>,
}

/// Carries out a request within its time, and again if its rules allow that.
///
/// # Errors
/// Those of the last attempt.
pub(crate) fn carry_out(
    rules: &Rules,
    span: Span,
    mut work: impl FnMut(&mut Attempt) -> Result<Vec<u8>, Failure>,
) -> Result<Vec<u8>, Failure> {
    let asked = rules.asked_ms > 0;
    let whole = if asked { rules.asked_ms } else { session::own_timeout().unwrap_or(rules.timeout_ms) };
    let retries = rules.retries.map(|_| 0);
    let mut attempt = Attempt { span, whole, asked, own: None, retries, sent: false, seen: None };
    session::arm_timeout(whole);
    let mut pause = FIRST_PAUSE;
    let mut restarts = 0;
    let result = loop {
        attempt.seen = None;
        let commits = postgres::commits();
        let result = work(&mut attempt);
        let lasting = postgres::commits().wrapping_sub(commits);
        let is_new = lasting == 0 && !attempt.sent;
        if let Err(failure) = &result
            && is_new
            && restarts < MOST_RESTARTS
            && attempt.is_outdated(failure)
            && session::reset().is_ok()
        {
            restarts += 1;
            continue;
        }
        match (result, &mut attempt.retries) {
            (Err(failure), _) if lasting > 0 => break Err(partly_done(failure, lasting)),
            (Err(failure), Some(done)) if is_new && *done < rules.retries.unwrap_or(0) && is_transient(&failure) => {
                *done += 1;
                // What a failed attempt leaves in the session (an advisory lock) is not for the next one.
                if session::reset().is_err() {
                    break Err(failure);
                }
                if let Err(error) = wait::pause(pause + jitter(pause)) {
                    break Err(error.into());
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            (result, _) => break result,
        }
    };
    session::disarm_timeout();
    result
}

impl Attempt {
    /// Whether a procedure may end the transaction: in a batch it is not its own.
    pub(super) fn may_commit(&self) -> bool {
        matches!(self.span, Span::Call)
    }

    /// The first function of the attempt is looked up at this state of the catalog.
    pub(super) fn sees(&mut self, catalog: invalidation::Seen) {
        self.seen.get_or_insert(catalog);
    }

    /// Whether a failure may come from a deployment that committed after the attempt had begun: what was called, or what its body calls,
    /// is of the version before, and the rest of the version after. Nobody has seen anything of the attempt, as it is rolled back.
    fn is_outdated(&self, failure: &Failure) -> bool {
        let Some(seen) = self.seen else { return false };
        let of_definitions = failure.sqlstate.as_deref().is_some_and(|sqlstate| match sqlstate {
            // Rights do change with deployments, but a refusal is not to be tried again and again.
            "42501" => false,
            // "cache lookup failed for function"; "cached plan must not change result type".
            "XX000" | "0A000" => true,
            // A function, a column, a type that is not there or is another one.
            other => other.starts_with("42"),
        });
        // A transaction begins with reading what others have changed.
        of_definitions && postgres::transaction(|| Ok::<_, PgError>(())).is_ok() && seen.is_outdated()
    }

    /// The function that runs next has this limit of its own, in milliseconds; 0 is none.
    pub(super) fn begin_function(&mut self, own: Option<u32>) {
        match self.span {
            _ if own.is_none() && self.own.is_none() => return,
            // It runs already, for an earlier attempt: the time is for all of them.
            Span::Call if own == self.own => return,
            Span::Call if self.asked => session::rearm_timeout(shorter(self.whole, own.unwrap_or(0))),
            Span::Call => session::rearm_timeout(own.unwrap_or(self.whole)),
            Span::Batch(since) => {
                let gone = u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX);
                let left = if self.whole == 0 { 0 } else { self.whole.saturating_sub(gone).max(1) };
                session::rearm_timeout(shorter(left, own.unwrap_or(0)));
            }
        }
        self.own = own;
    }
}

/// The shorter of two limits, where 0 is none.
fn shorter(one: u32, other: u32) -> u32 {
    match (one, other) {
        (0, limit) | (limit, 0) => limit,
        (one, other) => one.min(other),
    }
}

/// The failure of a procedure that had committed something before.
fn partly_done(failure: Failure, commits: u64) -> Failure {
    let times = if commits == 1 { "once".to_owned() } else { format!("{commits} times") };
    let stays = format!("The procedure had committed {times} before: that stays.");
    let detail = match failure.detail {
        Some(detail) => format!("{detail}\n{stays}"),
        None => stays,
    };
    Failure { detail: Some(detail), ..failure }
}

fn is_transient(failure: &Failure) -> bool {
    matches!(failure.sqlstate.as_deref(), Some("40001" | "40P01"))
}

/// Up to as long again, so that two that met once do not meet again: the low bits of the clock are random enough.
fn jitter(pause: Duration) -> Duration {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    pause * (clock / 1000 % 1000) / 1000
}
