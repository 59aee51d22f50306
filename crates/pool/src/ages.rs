//! Replacing executors before what they keep in memory (the catalog's caches, plans) has grown for too long.
//!
//! The replacement is started first, and the aged one works until it is there. Only where there is no slot for both does the aged one
//! end first: at a moment when nobody waits, or when it is twice as old as it should become.

use std::time::{Duration, Instant};

use crate::machine::{Asked, Is, Record};
use crate::{Limits, Machine};

/// How many times its age an executor may become while the slots for replacing it are taken.
const OVERDUE: u32 = 2;

/// Whether an executor is `times` as old as it should become. Some become up to a quarter older than others, so that those which were
/// started together are not replaced together.
fn is_aged<E>(id: u64, record: &Record<E>, limits: &Limits, times: u32, now: Instant) -> bool {
    let more = u32::try_from(id % 16).unwrap_or(0);
    let age = limits.age.saturating_mul(times);
    let served = limits.served.saturating_mul(u64::from(times));
    (limits.age > Duration::ZERO && now.saturating_duration_since(record.born) >= age.saturating_add(age / 64 * more))
        || (limits.served > 0 && record.served >= served.saturating_add(served / 64 * u64::from(more)))
}

impl<E, W> Machine<E, W> {
    /// Whether an executor that has become free ends because of its age.
    pub(crate) fn retires(&mut self, id: u64, number: u64, wanted: bool, now: Instant) -> bool {
        let Some(record) = self.records.get(&id) else { return false };
        if !is_aged(id, record, &self.limits, 1, now) {
            return false;
        }
        let overdue = is_aged(id, record, &self.limits, OVERDUE, now);
        let Some(lane) = self.lanes.get_mut(&number) else { return false };
        if lane.retiring > 0 {
            lane.retiring -= 1;
            return true;
        }
        if lane.replacing > 0 || lane.quiet_until.is_some_and(|until| now < until) {
            return false;
        }
        let is_work = !lane.target.calls;
        let has_others = lane.idle.len() > 1;
        if self.records.len() < self.limits.total && !(is_work && self.work >= self.limits.work) {
            // It may be one more than the limit of the database for some milliseconds.
            self.launch(number, true, now);
            return false;
        }
        (!wanted && has_others) || overdue
    }

    /// A replacement is there: the oldest aged executor of the lane ends, now or when one comes back.
    pub(crate) fn replaced(&mut self, number: u64, now: Instant) {
        let aged = self
            .records
            .iter()
            .filter(|(id, record)| record.lane == number && is_aged(**id, record, &self.limits, 1, now));
        let oldest = aged
            .min_by_key(|(id, record)| (record.born, **id))
            .map(|(id, record)| (*id, matches!(record.is, Is::Idle { .. })));
        match oldest {
            Some((id, true)) => self.end(id),
            Some((_, false)) => {
                if let Some(lane) = self.lanes.get_mut(&number) {
                    lane.retiring += 1;
                }
            }
            None => {}
        }
    }

    /// Looks after aged executors that are idle or lent for long.
    pub(crate) fn renew(&mut self, now: Instant) {
        let aged: Vec<(u64, u64, bool)> = self
            .records
            .iter()
            .filter(|(id, record)| is_aged(**id, record, &self.limits, 1, now))
            .filter_map(|(id, record)| match record.is {
                Is::Idle { .. } => Some((*id, record.lane, false)),
                Is::Long { asked: Asked::No, .. } => Some((*id, record.lane, true)),
                _ => None,
            })
            .collect();
        for (id, lane, long) in aged {
            if long {
                self.recall(id, lane, Asked::Aged);
            } else if self.retires(id, lane, false, now) {
                self.end(id);
            }
        }
    }
}
