//! Trying again for locks that others hold, with growing pauses.

use std::time::Duration;

use stonescriptdb_protocol::{ErrorCode, Failure};

use crate::postgres::wait;

/// Tries before a deployment gives up. Each waits stonescriptdb.deploy_lock_timeout per statement.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Runs `f` until it fails for another reason than locks (55P03) and deadlocks (40P01).
///
/// # Errors
/// `lock_timeout` with the holders when all attempts failed; any other failure as it is.
pub(super) fn with_retries<T>(f: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    with_retries_of(f, |failure| Some(failure))
}

/// As [`with_retries`], for errors that hold a failure, or do not.
///
/// # Errors
/// As [`with_retries`].
pub(super) fn with_retries_of<T, E: From<Failure>>(
    mut f: impl FnMut() -> Result<T, E>,
    failure_of: impl Fn(&E) -> Option<&Failure>,
) -> Result<T, E> {
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=ATTEMPTS {
        match f() {
            Err(error) if failure_of(&error).is_some_and(is_about_locks) => {
                if attempt == ATTEMPTS {
                    return Err(failure_of(&error).cloned().map_or(error, |failure| out_of_reach(failure).into()));
                }
                // Jitter, so that two that met once do not meet again: the low bits of the clock are random enough.
                let jitter = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap_or_default()
                    .subsec_nanos();
                wait::pause(pause + Duration::from_micros(u64::from(jitter % 50_000))).map_err(Failure::from)?;
                pause *= 2;
            }
            other => return other,
        }
    }
    Err(Failure::internal("a deployment was tried too often").into())
}

fn is_about_locks(failure: &Failure) -> bool {
    matches!(failure.sqlstate.as_deref(), Some("55P03" | "40P01"))
}

/// Who holds them, the server worker knows: it looks while this one waits.
fn out_of_reach(failure: Failure) -> Failure {
    Failure {
        code: ErrorCode::LockTimeout,
        message: "the locks that the deployment needs are held by others".to_owned(),
        cause: Some(failure.message),
        hint: Some("Try again when they are done, or end them.".to_owned()),
        ..failure
    }
}
