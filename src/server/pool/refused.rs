//! What those are told who get no executor: which limit is in the way, and which setting it is.

use std::time::Duration;

use stonescriptdb_pool::{Blocked, Limits, Refusal, StartFailed, Target};
use stonescriptdb_protocol::{ErrorCode, Failure};

use crate::postgres::counters::{self, Refusal as Counted};

/// Whoever is sent away for longer than this gives up.
const LONGEST_RETRY: f64 = 30.0;

/// What somebody is told to wait who would have had to wait for so long: for that time.
fn after(waited: Duration) -> Option<u32> {
    Some(waited.as_secs_f64().ceil().clamp(1.0, LONGEST_RETRY) as u32)
}

fn exhausted(target: &Target, why: &str) -> Failure {
    let message = format!("no executor for the database \"{}\": {why}", target.database);
    Failure::new(ErrorCode::PoolExhausted, message).database(&*target.database)
}

/// The queue is full. `waited`: how long its first has been waiting.
pub(super) fn not_queued(target: &Target, why: Refusal, limits: &Limits, waited: Duration) -> Failure {
    let failure = match why {
        Refusal::LaneQueue => {
            counters::refusal(Counted::Queue);
            let waiting = limits.queue;
            exhausted(target, &format!("its queue is full, {waiting} requests wait already"))
                .hint("Try again in a moment. The limit is stonescriptdb.max_queue.")
        }
        Refusal::TotalQueue => {
            counters::refusal(Counted::QueueTotal);
            exhausted(target, "the queues of all databases are full, and its own is one of the longest")
                .hint("Try again in a moment. The limit is stonescriptdb.max_queue_total.")
        }
    };
    Failure { retry_after: after(waited), ..failure }
}

/// It waited for as long as it may.
pub(super) fn not_in_time(target: &Target, wait: Duration, blocked: Option<Blocked>, limits: &Limits) -> Failure {
    counters::refusal(Counted::QueueTimeout);
    let (why, setting) = match blocked {
        Some(Blocked::Held) => ("the database is being dropped, renamed or copied".to_owned(), None),
        Some(Blocked::Database) => (
            format!("the {} that it may have are all at work", limits.per_database),
            Some("stonescriptdb.max_workers_per_database"),
        ),
        Some(Blocked::Share) => (
            "those that it has are all at work, and what is left of all is kept for other databases".to_owned(),
            Some("stonescriptdb.max_workers"),
        ),
        Some(Blocked::Work) => (
            format!("the {} that are for other work than calls are all at work", limits.work),
            Some("stonescriptdb.max_workers, of which they are half"),
        ),
        Some(Blocked::Total) => {
            (format!("all {} executors are at work", limits.total), Some("stonescriptdb.max_workers"))
        }
        None => ("none started or came free".to_owned(), None),
    };
    let failure = exhausted(target, &format!("{why}, and none came free in {} ms", wait.as_millis()));
    let failure = Failure { retry_after: after(wait), ..failure };
    let patience = "The time is stonescriptdb.queue_timeout.";
    match setting {
        Some(setting) => failure.hint(format!("Try again in a moment. The limit is {setting}. {patience}")),
        None => failure.hint(format!("Try again in a moment. {patience}")),
    }
}

/// The server worker ends.
pub(super) fn ending(target: &Target) -> Failure {
    counters::refusal(Counted::Ending);
    exhausted(target, "the server worker is ending").hint("Try again in a moment.")
}

/// None could be started.
pub(super) fn not_started(target: &Target, why: StartFailed) -> Failure {
    match why {
        StartFailed::Attach => {
            counters::refusal(Counted::NoExecutor);
            let message = format!("no executor could attach to the database \"{}\"", target.database);
            Failure::new(ErrorCode::ConnectionFailed, message).hint("The server's log has the reason.")
        }
        StartFailed::NoSlot => {
            counters::refusal(Counted::NoSlot);
            Failure::new(ErrorCode::PoolExhausted, "no background worker slot is free for an executor")
                .hint("Raise max_worker_processes, or lower stonescriptdb.max_workers.")
        }
    }
}
