//! When an executor looks again and again for its next request instead of sleeping.
//!
//! To fall asleep and be woken takes a processor longer than a typical call does, on a virtual machine several times as long. A client that
//! sends its next request right after the answer is spared that: the executor goes on looking for as long as such a client needs at most.
//! It stops where that would take a processor from somebody: other processes that want to run, or a client that pauses.

use std::time::{Duration, Instant};

/// The longest time between an answer and the next request that is looked for.
const SOON: Duration = Duration::from_micros(100);
/// So many requests in a row must have come that soon.
const HABIT: u32 = 32;
/// Yielding gives the processor back within a microsecond, unless somebody else wants it.
const SOMEBODY_ELSE: Duration = Duration::from_micros(5);
/// So many requests are slept for after that.
const PAUSE: u32 = 2_000;

/// What a client has been seen to do.
#[derive(Default)]
pub(super) struct Eagerness {
    /// Requests in a row that came soon.
    soon: u32,
    /// Requests for which nothing is looked for.
    pause: u32,
}

impl Eagerness {
    /// Calls `look` until it says that something is there, as long as that is worth while; whether it did.
    pub(super) fn look(&mut self, mut look: impl FnMut() -> bool) -> bool {
        if self.soon < HABIT {
            return false;
        }
        let begun = Instant::now();
        let mut before = begun;
        loop {
            if look() {
                return true;
            }
            std::thread::yield_now();
            let now = Instant::now();
            if now - before > SOMEBODY_ELSE {
                *self = Eagerness { soon: 0, pause: PAUSE };
                return false;
            }
            if now - begun > SOON {
                *self = Eagerness::default();
                return false;
            }
            before = now;
        }
    }

    /// Something has come after it was waited for so long, asleep.
    pub(super) fn slept(&mut self, time: Duration) {
        self.pause = self.pause.saturating_sub(1);
        self.soon = if time <= SOON && self.pause == 0 { self.soon + 1 } else { 0 };
    }
}
