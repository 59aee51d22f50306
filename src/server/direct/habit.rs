//! What a connection is used for: whether it is worth while to pass it on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use stonescriptdb_protocol::{Limit, SentNames};

use super::super::pool::Target;

/// Calls of one tenant in a row after which a connection is passed on.
const FIRST: u32 = 3;
/// It comes back at once: then more of them, up to so many.
const LAST: u32 = 4096;
/// The same where no executor was to be had: there may be one soon.
const SOON: u32 = 64;
/// So many answers are worth the way there and back.
const WORTH: u64 = 16;

/// All that an executor needs to know of a connection.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::server) struct Offer {
    pub(in crate::server) target: Arc<Target>,
    /// Who was called, as it was sent.
    pub(in crate::server) whom: SentNames,
    /// The platform as registered.
    pub(in crate::server) platform: String,
    /// The tenant as registered.
    pub(in crate::server) tenant: String,
    pub(in crate::server) authorization: Option<Vec<u8>>,
    /// The platform's networks.
    pub(in crate::server) networks: Option<Arc<[IpNet]>>,
    /// How many requests a second it may send.
    pub(in crate::server) limit: Option<Limit>,
    pub(in crate::server) until_ms: Option<u64>,
    pub(in crate::server) epoch: u64,
}

/// A connection's calls so far. What serves the connection and what answers its requests share it.
#[derive(Clone, Default)]
pub(in crate::server) struct Habit(Arc<Mutex<Calls>>);

struct Calls {
    last: Option<Box<Offer>>,
    in_a_row: u32,
    wanted: u32,
    offered: bool,
    stage: Stage,
    /// It is never passed on.
    settled: bool,
}

/// How far the answer to the last call is.
#[derive(PartialEq, Eq)]
enum Stage {
    Called,
    Written,
    /// All of it.
    Flushed,
}

impl Default for Calls {
    fn default() -> Calls {
        Calls { last: None, in_a_row: 0, wanted: FIRST, offered: false, stage: Stage::Called, settled: false }
    }
}

impl Habit {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of a connection that cannot be passed on.
    pub(in crate::server) fn of_settled() -> Habit {
        Habit(Arc::new(Mutex::new(Calls { settled: true, ..Calls::default() })))
    }

    /// A call went well.
    pub(in crate::server) fn called(&self, is_same: impl Fn(&Offer) -> bool, offer: impl FnOnce() -> Offer) {
        let mut calls = self.calls();
        if calls.settled {
            return;
        }
        if !calls.last.as_deref().is_some_and(is_same) {
            calls.last = Some(Box::new(offer()));
            calls.in_a_row = 0;
        }
        calls.in_a_row += 1;
        calls.stage = Stage::Called;
        calls.offered = calls.in_a_row >= calls.wanted;
    }

    /// A request begins: the connection cannot be taken before it is answered.
    pub(in crate::server) fn begun(&self) {
        self.calls().offered = false;
    }

    /// Something else than a call went on.
    pub(in crate::server) fn interrupted(&self) {
        let mut calls = self.calls();
        calls.in_a_row = 0;
        calls.offered = false;
    }

    /// Bytes were written.
    pub(in crate::server) fn wrote(&self) {
        self.calls().stage = Stage::Written;
    }

    /// Nothing is left to write.
    pub(in crate::server) fn flushed(&self) {
        let mut calls = self.calls();
        if calls.stage == Stage::Written {
            calls.stage = Stage::Flushed;
        }
    }

    /// The connection is between two requests, and is to be passed on.
    pub(in crate::server) fn is_due(&self) -> bool {
        let calls = self.calls();
        calls.offered && calls.stage == Stage::Flushed
    }

    /// What an executor needs to know.
    pub(in crate::server) fn offer(&self) -> Option<Box<Offer>> {
        let mut calls = self.calls();
        calls.offered = false;
        calls.in_a_row = 0;
        calls.last.take()
    }

    /// It came back after so many answers; `None`: nobody could have it.
    pub(in crate::server) fn back(&self, served: Option<u64>) {
        let mut calls = self.calls();
        calls.wanted = match served {
            Some(served) if served >= WORTH => FIRST,
            Some(_) => calls.wanted.saturating_mul(2).min(LAST),
            None => calls.wanted.saturating_mul(2).min(SOON),
        };
    }
}
