//! How many requests a second: a bucket of tokens, in one word that processes share.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A rate with its burst. The bucket is kept as the generic cell rate algorithm does (ITU-T I.371): the word is the time at which a request
/// would come that keeps exactly to the rate, and the burst is how far ahead of now that may be. One compare-and-swap takes a token.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub struct Rate {
    /// Nanoseconds from one request to the next.
    interval: u64,
    /// How far the word may be ahead, in nanoseconds.
    slack: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Rate {
    /// So many requests a second, and so many at once if none came for a while; a burst of 0 is what comes in a second. `None` for a rate
    /// of 0, which is no limit.
    pub fn new(per_second: u32, burst: u32) -> Option<Rate> {
        let interval = SECOND.checked_div(u64::from(per_second))?;
        let burst = if burst == 0 { per_second } else { burst };
        Some(Rate { interval, slack: interval * u64::from(burst.saturating_sub(1)) })
    }

    /// Takes a token; `now` is in nanoseconds, of a clock that does not jump and is the same for all who share the word.
    ///
    /// # Errors
    /// There is none; the time after which there will be one.
    pub fn take(self, word: &AtomicU64, now: u64) -> Result<(), Duration> {
        let mut seen = word.load(Acquire);
        loop {
            let last = now.saturating_add(self.slack);
            // A word that is further ahead than it could come to be is from a time when the rate was another one: it is a bucket with one left.
            let next = if seen > last.saturating_add(self.interval) { last } else { seen.max(now) };
            let early = next.saturating_sub(last);
            if early > 0 {
                return Err(Duration::from_nanos(early));
            }
            match word.compare_exchange_weak(seen, next.saturating_add(self.interval), AcqRel, Acquire) {
                Ok(_) => return Ok(()),
                Err(other) => seen = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 77 * SECOND;

    /// How many of these requests get a token, each at its time in milliseconds.
    fn passed(rate: Rate, word: &AtomicU64, times: impl IntoIterator<Item = u64>) -> usize {
        times.into_iter().filter(|ms| rate.take(word, START + ms * 1_000_000).is_ok()).count()
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit() {
        assert_eq!(Rate::new(0, 5), None);
    }

    #[test]
    fn the_burst_passes_at_once_and_the_rest_at_the_rate() {
        let (rate, word) = (Rate::new(10, 5).unwrap(), AtomicU64::new(0));
        assert_eq!(passed(rate, &word, [0; 100]), 5);
        assert_eq!(passed(rate, &word, [50; 10]), 0);
        assert_eq!(passed(rate, &word, [100; 10]), 1);
        // Ten seconds of a request each millisecond.
        assert_eq!(passed(rate, &word, 101..10_101), 100);
        // After a pause the burst is there again, and no more than that.
        assert_eq!(passed(rate, &word, [60_000; 100]), 5);
    }

    #[test]
    fn without_a_burst_it_is_what_comes_in_a_second() {
        assert_eq!(passed(Rate::new(30, 0).unwrap(), &AtomicU64::new(0), [0; 100]), 30);
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_again() {
        let (rate, word) = (Rate::new(4, 1).unwrap(), AtomicU64::new(0));
        rate.take(&word, START).unwrap();
        let wait = rate.take(&word, START).unwrap_err();
        assert_eq!(wait, Duration::from_millis(250));
        assert_eq!(rate.take(&word, START + 250_000_000 - 1).unwrap_err(), Duration::from_nanos(1));
        rate.take(&word, START + 250_000_000).unwrap();
    }

    #[test]
    fn another_rate_does_not_wait_for_what_the_one_before_had_given() {
        let word = AtomicU64::new(0);
        assert_eq!(passed(Rate::new(1, 1000).unwrap(), &word, [0; 2000]), 1000);
        let faster = Rate::new(1000, 1000).unwrap();
        assert_eq!(passed(faster, &word, [2; 10]), 1);
        assert_eq!(passed(faster, &word, [12; 100]), 10);
    }

    #[test]
    fn several_take_no_more_than_one_would() {
        let (rate, word) = (Rate::new(1, 5000).unwrap(), AtomicU64::new(0));
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| passed(rate, &word, [0; 4000]))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 5000);
    }
}
