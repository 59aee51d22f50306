//! Whether an executor looks for the next request of its client for a moment before it goes to sleep.

use std::time::Duration;

/// A look in vain costs as many requests that came soon.
const PRICE: u8 = 4;
/// What can be saved up: so many looks in vain, and no more, after the last request of a client that had sent many.
const MOST: u8 = 2 * PRICE;
/// A request came soon if it came within so many times the time of a look: it may have been that late only because the executor slept.
const SOON: u32 = 4;

/// The account of one executor. To go to sleep and to be woken takes longer than a short call does, and while the executor looks, it is
/// spared; but a look in vain is processor time for nothing. So looks are paid for with requests that came soon, as KVM does for processors
/// that halt (`halt_poll_ns`).
#[derive(Debug, Default)]
pub struct Polling {
    credit: u8,
}

impl Polling {
    /// Whether to look before going to sleep.
    pub fn is_worth_it(&self) -> bool {
        self.credit >= PRICE
    }

    /// A request came during the look.
    pub fn succeeded(&mut self) {
        self.credit = self.credit.saturating_add(1).min(MOST);
    }

    /// None came, or too many others look for theirs.
    pub fn failed(&mut self) {
        self.credit = self.credit.saturating_sub(PRICE);
    }

    /// Without a look the executor slept so long. `look` is how long it would have looked.
    pub fn slept(&mut self, time: Duration, look: Duration) {
        if time < look * SOON {
            self.succeeded();
        } else {
            self.credit = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_micros(50);

    /// What a client costs that sends so many requests, each that long after the last answer: looks in vain, and requests that were waited
    /// for asleep.
    fn cost(polling: &mut Polling, pauses: impl IntoIterator<Item = u64>) -> (usize, usize) {
        let (mut vain, mut asleep) = (0, 0);
        for pause in pauses.into_iter().map(Duration::from_micros) {
            if !polling.is_worth_it() {
                asleep += 1;
                // Being woken takes its time.
                polling.slept(pause + Duration::from_micros(30), LOOK);
            } else if pause < LOOK {
                polling.succeeded();
            } else {
                (vain, asleep) = (vain + 1, asleep + 1);
                polling.failed();
            }
        }
        (vain, asleep)
    }

    fn always(pause: u64) -> impl Iterator<Item = u64> {
        std::iter::repeat_n(pause, 1000)
    }

    #[test]
    fn who_calls_in_quick_succession_is_looked_for() {
        assert_eq!(cost(&mut Polling::default(), always(20)), (0, 4), "only the first ones find it asleep");
    }

    #[test]
    fn who_calls_now_and_then_is_not() {
        assert_eq!(cost(&mut Polling::default(), always(1_000)), (0, 1000));
    }

    #[test]
    fn after_the_last_of_many_requests_there_are_two_looks_in_vain() {
        let mut polling = Polling::default();
        cost(&mut polling, always(20));
        assert_eq!(cost(&mut polling, always(1_000)).0, 2);
    }

    #[test]
    fn who_is_always_a_little_late_costs_a_look_in_five_requests() {
        assert_eq!(cost(&mut Polling::default(), always(100)), (200, 1000));
    }

    #[test]
    fn single_requests_that_come_soon_count_for_nothing_among_others() {
        let (vain, _) = cost(&mut Polling::default(), [20, 20, 20, 1_000].into_iter().cycle().take(1000));
        assert_eq!(vain, 0);
    }
}
