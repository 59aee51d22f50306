//! Who gets which executor, and which ones there are.
//!
//! [`Machine`] is a state machine without a clock, threads or sockets: it is told what happened and when, and says what is to be done
//! ([`Action`]). The server worker's pool carries that out. So every decision can be tested without a server, and is, on random
//! histories too (`src/tests/random.rs`).
//!
//! Executors that are attached to one database as one role are a *lane*. A lane is *hungry* while more wait in it than executors are
//! starting for it, and *starving* if it has none at all. What is fair:
//!
//! - Within a lane, first come, first served.
//! - A database has no more executors for calls than slots are left to others ([`Blocked::Share`]), so that a burst or a slow
//!   function of one cannot take them all: the last slots go to databases that have none. A lane's queue is limited in the same way.
//! - A free slot goes to who starves first, and of these to who does for longest.
//! - While others starve, a lane gives up an executor as soon as its request has ended: at once if it has more, and its last one
//!   after a turn ([`TURN`]).
//! - While others only want more, a lane gives up one if its database has two more than theirs.

mod ages;
mod hunger;
mod lending;
mod machine;
mod polling;
mod starting;
#[cfg(test)]
mod tests;
mod types;

pub use machine::Machine;
pub use polling::Polling;
pub use types::{Action, Blocked, Limits, Load, Queue, Refusal, Shown, Standing, StartFailed, Target, Ticket};

use std::time::Duration;

/// How long a lane keeps its last executor while others starve: long against the some milliseconds that starting one takes, so that
/// most of the time is spent on requests.
pub const TURN: Duration = Duration::from_millis(25);
/// A lane that has executors already takes nothing of others' before somebody has waited for so long. Where calls are short, two at once
/// would otherwise end an executor of another tenant each time, and start one, for a wait that is shorter than the start.
pub const PATIENCE: Duration = Duration::from_millis(10);
/// And then only what has been idle for this long, or what is of a database that has more.
pub const COLD: Duration = Duration::from_secs(1);
/// When an executor of a lane that has others could not be started, the next try is after this long.
pub const RETRY_GROWTH: Duration = Duration::from_secs(1);
/// When the replacement of an aged executor could not be started, the next try is after this long.
pub const RETRY_REPLACEMENT: Duration = Duration::from_secs(60);
