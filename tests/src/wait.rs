//! Waiting for something that happens soon: bounded polling, so that no test depends on how fast the machine is.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// The limit of [`eventually`]. Far above what is expected, because it is only ever reached when something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `probe` again and again until it gives `Ok`, for at most [`PATIENCE`]; the value of the `Ok`.
///
/// # Panics
/// When the time is over: with `what` was waited for and the last `Err`.
#[track_caller]
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(PATIENCE, what, probe)
}

/// As [`eventually`], with a limit of one's own.
#[track_caller]
pub fn eventually_within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        let last = match probe() {
            Ok(value) => return value,
            Err(last) => last,
        };
        if start.elapsed() > limit {
            panic!("waited {:.1} s in vain for: {what}; at last: {last}", start.elapsed().as_secs_f64());
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// `Ok` if the condition holds, else `Err` with what was seen: for [`eventually`].
pub fn check(holds: bool, seen: impl std::fmt::Display) -> Result<(), String> {
    if holds { Ok(()) } else { Err(seen.to_string()) }
}
