//! New executors: for whom, and at whose cost.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Instant;

use crate::machine::{Asked, Is, Lane, Record, Waiter};
use crate::{Action, Blocked, COLD, Machine, PATIENCE, RETRY_GROWTH, RETRY_REPLACEMENT, StartFailed};

/// How many lanes that want more executors are looked at when a slot may be free: the others have their turn the next time.
const LOOKS: usize = 4;

/// What came of trying to start an executor for a lane.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    Started,
    NotHungry,
    Blocked(Blocked),
}

/// For whom an idle executor of another lane is to end.
#[derive(Clone, Copy)]
pub(crate) struct Evict {
    for_lane: u64,
    /// The lane has executors.
    grows: bool,
    /// And they have not served who is first in it for a while.
    patiently: bool,
    whose: Whose,
}

/// Which executors help.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Any,
    /// Those of the same database; they are of no use to anybody else.
    OfDatabase,
    /// Those that are not for calls.
    OfWork,
}

impl<E, W> Machine<E, W> {
    /// What keeps a lane from having another executor, idle ones of others aside.
    pub(crate) fn blocked(&self, lane: &Lane<W>) -> Option<Blocked> {
        let base = self.base_of(lane)?;
        let alive = self.records.len();
        let room = self.limits.total.saturating_sub(alive) + self.idle;
        if base.held > 0 {
            Some(Blocked::Held)
        } else if base.alive >= self.limits.per_database && lane.alive() > 0 {
            Some(Blocked::Database)
        } else if !lane.target.calls && self.work >= self.limits.work {
            Some(Blocked::Work)
        } else if room == 0 {
            Some(Blocked::Total)
        } else if lane.target.calls && lane.alive() > 0 && base.calls >= room {
            Some(Blocked::Share)
        } else {
            None
        }
    }

    /// Starts an executor for a lane if it is hungry and may have one; if it may not, asks for a long lease that is in its way.
    pub(crate) fn start(&mut self, number: u64, now: Instant) -> Tried {
        let Some(lane) = self.lanes.get(&number) else { return Tried::NotHungry };
        let grows = lane.alive() > 0;
        if lane.unserved() == 0 {
            return Tried::NotHungry;
        }
        if grows && lane.quiet_until.is_some_and(|until| now < until) {
            self.ask_back(number, Blocked::Database);
            return Tried::NotHungry;
        }
        let asking = Evict { for_lane: number, grows, patiently: lane.waited(now) >= PATIENCE, whose: Whose::Any };
        let mut blocked = self.blocked(lane);
        // What is idle in another lane makes room, if it is of those that are too many.
        for (of, whose) in [(Blocked::Database, Whose::OfDatabase), (Blocked::Work, Whose::OfWork)] {
            if blocked == Some(of) && self.evict(Some(Evict { whose, ..asking }), now) {
                blocked = self.lanes.get(&number).and_then(|lane| self.blocked(lane));
            }
        }
        while blocked.is_none() && self.records.len() >= self.limits.total {
            if !self.evict(Some(asking), now) {
                blocked = Some(Blocked::Total);
            }
        }
        if let Some(blocked) = blocked {
            self.ask_back(number, blocked);
            return Tried::Blocked(blocked);
        }
        self.launch(number, false, now);
        self.move_back(number);
        Tried::Started
    }

    /// Has an executor started.
    pub(crate) fn launch(&mut self, number: u64, replaces: bool, now: Instant) {
        let id = self.number();
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        lane.starting += 1;
        lane.replacing += usize::from(replaces);
        let target = lane.target.clone();
        let is = Is::Starting { replaces };
        self.records.insert(id, Record { lane: number, pid: None, born: now, ready: now, served: 0, is });
        if !target.calls {
            self.work += 1;
        }
        if let Some(base) = self.bases.get_mut(&target.database) {
            base.alive += 1;
            base.calls += usize::from(target.calls);
        }
        self.update_base(&target.database);
        self.actions.push(Action::Start { id, target });
    }

    /// Starts executors for those who are hungry, in their order.
    pub(crate) fn feed(&mut self, now: Instant) {
        let mut after = (0, 0);
        while self.has_room()
            && let Some(next) = self.next_starving(after)
        {
            after = next;
            if self.start(next.1, now) == Tried::Blocked(Blocked::Total) {
                break;
            }
        }
        for _ in 0..LOOKS {
            if !self.has_room() {
                return;
            }
            let Some((_, lane)) = self.growing.first().copied() else { return };
            if self.start(lane, now) != Tried::Started {
                self.move_back(lane);
            }
        }
    }

    fn has_room(&self) -> bool {
        self.records.len() < self.limits.total || self.idle > 0
    }

    /// The lane that has been starving for longest, of those behind a place.
    fn next_starving(&self, after: (u64, u64)) -> Option<(u64, u64)> {
        let next = |lanes: &BTreeSet<(u64, u64)>| lanes.range((Excluded(after), Unbounded)).next().copied();
        [next(&self.starving_calls), next(&self.starving_work)].into_iter().flatten().min()
    }

    fn is_work(&self, record: &Record<E>) -> bool {
        self.lanes.get(&record.lane).is_some_and(|lane| !lane.target.calls)
    }

    /// Ends the executor that has been idle for longest, of those that a lane may take.
    pub(crate) fn evict(&mut self, asking: Option<Evict>, now: Instant) -> bool {
        if self.idle == 0 {
            return false;
        }
        let alive = |lane: u64| self.lanes.get(&lane).and_then(|lane| self.base_of(lane)).map_or(0, |base| base.alive);
        let own = asking.map_or(0, |asking| alive(asking.for_lane));
        let database = |lane: u64| self.lanes.get(&lane).map(|lane| &lane.target.database);
        let may = |record: &Record<E>, since: Instant| {
            asking.is_none_or(|asking| {
                let helps = match asking.whose {
                    Whose::Any => true,
                    Whose::OfDatabase => database(record.lane) == database(asking.for_lane),
                    Whose::OfWork => self.is_work(record),
                };
                record.lane != asking.for_lane
                    && helps
                    // It does not take what others will need again soon.
                    && (!asking.grows || asking.whose == Whose::OfDatabase || asking.patiently &&( now.saturating_duration_since(since) >= COLD || alive(record.lane) > own))
            })
        };
        let idle = self.records.iter().filter_map(|(id, record)| match record.is {
            Is::Idle { since, .. } if may(record, since) => Some((since, *id)),
            _ => None,
        });
        let Some((_, id)) = idle.min() else { return false };
        self.end(id);
        true
    }

    /// Asks for the long lease of least recent use whose end would serve a lane in which all wait in vain. Where an executor is there that
    /// serves one after the other, long leases stay: they do more work than the ends of them would.
    fn ask_back(&mut self, number: u64, blocked: Blocked) {
        let Some(lane) = self.lanes.get(&number) else { return };
        if self.long == 0 || lane.active() > 0 || lane.asked >= lane.unserved() {
            return;
        }
        let serves = |record: &Record<E>| {
            let Some(other) = self.lanes.get(&record.lane) else { return false };
            match blocked {
                Blocked::Held => false,
                Blocked::Database => other.target.database == lane.target.database,
                Blocked::Work => !other.target.calls,
                Blocked::Share | Blocked::Total => true,
            }
        };
        let long = self.records.iter().filter_map(|(id, record)| match record.is {
            Is::Long { used, asked: Asked::No } if serves(record) => {
                Some((record.lane != number, used, *id, record.lane))
            }
            _ => None,
        });
        let Some((_, _, id, of)) = long.min() else { return };
        if let Some(lane) = self.lanes.get_mut(&number) {
            lane.asked += 1;
        }
        self.recall(id, of, Asked::For(number));
    }

    /// Asks for a long lease. Its executor counts as one that comes back from now on.
    pub(crate) fn recall(&mut self, id: u64, of: u64, why: Asked) {
        if let Some(Record { is: Is::Long { asked, .. }, .. }) = self.records.get_mut(&id) {
            *asked = why;
        }
        if let Some(lane) = self.lanes.get_mut(&of) {
            lane.long = lane.long.saturating_sub(1);
            self.long = self.long.saturating_sub(1);
        }
        self.actions.push(Action::AskBack { id });
    }

    /// A started executor has said hello.
    ///
    /// # Errors
    /// It is not expected; it is given back, to be ended.
    pub fn started(&mut self, id: u64, pid: i32, executor: E, now: Instant) -> Result<(), E> {
        let Some(record) = self.records.get_mut(&id) else { return Err(executor) };
        if !matches!(record.is, Is::Starting { .. }) {
            return Err(executor);
        }
        record.pid = Some(pid);
        record.ready = now;
        let number = record.lane;
        let was = std::mem::replace(&mut record.is, Is::Idle { executor, since: now });
        self.leave(id, number, &was);
        if matches!(was, Is::Starting { replaces: true }) {
            self.replaced(number, now);
        }
        self.free(id, number, now);
        Ok(())
    }

    /// An executor could not be started. If the lane has no other, those who wait in it are told.
    pub fn start_failed(&mut self, id: u64, why: StartFailed, now: Instant) {
        let Some(record) = self.records.get(&id) else { return };
        let Is::Starting { replaces } = record.is else { return };
        let number = record.lane;
        self.forget(id);
        let held = self.base_is_held(number);
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        lane.quiet_until = Some(now + if replaces { RETRY_REPLACEMENT } else { RETRY_GROWTH });
        // What is idle elsewhere has the slot that the server lacks.
        let asking = Evict { for_lane: number, grows: false, patiently: true, whose: Whose::Any };
        if why == StartFailed::NoSlot && lane.alive() == 0 && !held && self.evict(Some(asking), now) {
            self.launch(number, false, now);
            return;
        }
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        // Who needs the database for himself may have ended it.
        if lane.alive() == 0 && !held {
            let waiting = std::mem::take(&mut lane.waiting);
            self.waiting = self.waiting.saturating_sub(waiting.len());
            let target = lane.target.clone();
            let fail = |waiter: Waiter<W>| Action::Fail { waiter: waiter.who, target: target.clone(), why };
            self.actions.extend(waiting.into_iter().map(fail));
        }
        self.update(number);
        self.feed(now);
    }
}
