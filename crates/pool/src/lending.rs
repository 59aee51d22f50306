//! Executors on their way to who needs one, and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::machine::{Asked, Is, Waiter};
use crate::{Action, Blocked, Machine, Refusal, TURN, Target, Ticket};

impl<E, W> Machine<E, W> {
    /// Somebody asks: an idle executor of his lane, if there is one. He has it then, as with [`Action::Give`].
    pub fn take(&mut self, target: &Target) -> Option<(u64, E)> {
        let lane = self.lanes.get_mut(self.numbers.get(target)?)?;
        let id = lane.idle.pop()?;
        lane.lent += 1;
        self.idle = self.idle.saturating_sub(1);
        match std::mem::replace(&mut self.records.get_mut(&id)?.is, Is::Lent) {
            Is::Idle { executor, .. } => Some((id, executor)),
            _ => None,
        }
    }

    /// Somebody waits for an executor of a target, after `take` gave none.
    ///
    /// # Errors
    /// Too many do.
    pub fn wait(&mut self, target: &Arc<Target>, who: W, now: Instant) -> Result<Ticket, Refusal> {
        let number = self.number();
        let (queue, room) = (self.limits.queue, self.limits.queue_total.saturating_sub(self.waiting));
        let lane_number = self.lane_of(target);
        let ticket = Ticket { lane: lane_number, number };
        let Some(lane) = self.lanes.get_mut(&lane_number) else { return Err(Refusal::LaneQueue) };
        if lane.waiting.len() >= queue {
            return Err(Refusal::LaneQueue);
        }
        if lane.waiting.len() >= room {
            return Err(Refusal::TotalQueue);
        }
        lane.waiting.push_back(Waiter { number, since: now, who });
        self.waiting += 1;
        self.update(lane_number);
        self.start(lane_number, now);
        Ok(ticket)
    }

    /// Somebody has been waiting for [`crate::PATIENCE`]: now his lane may have what is idle elsewhere.
    pub fn still_waits(&mut self, ticket: Ticket, now: Instant) {
        self.start(ticket.lane, now);
    }

    /// Somebody does not wait any longer. `false`: he had his answer already.
    pub fn gave_up(&mut self, ticket: Ticket) -> bool {
        let Some(lane) = self.lanes.get_mut(&ticket.lane) else { return false };
        let Ok(place) = lane.waiting.binary_search_by_key(&ticket.number, |waiter| waiter.number) else { return false };
        lane.waiting.remove(place);
        self.waiting = self.waiting.saturating_sub(1);
        self.update(ticket.lane);
        true
    }

    /// Why no executor is starting for somebody who waits; `None`: one is, or could be.
    pub fn why(&self, ticket: Ticket) -> Option<Blocked> {
        self.lanes.get(&ticket.lane).and_then(|lane| self.blocked(lane))
    }

    /// How long the first in a target's queue has been waiting: about what another one would have to.
    pub fn waited(&self, target: &Target, now: Instant) -> Duration {
        let lane = self.numbers.get(target).and_then(|lane| self.lanes.get(lane));
        lane.map_or(Duration::ZERO, |lane| lane.waited(now))
    }

    /// A lent executor comes back. `worked`: it has served a request.
    pub fn came_back(&mut self, id: u64, executor: E, worked: bool, now: Instant) {
        let Some(record) = self.records.get_mut(&id) else {
            self.actions.push(Action::End { executor });
            return;
        };
        record.served += u64::from(worked);
        let number = record.lane;
        let was = std::mem::replace(&mut record.is, Is::Idle { executor, since: now });
        self.leave(id, number, &was);
        self.free(id, number, now);
        self.ask_anew(&was, now);
    }

    /// A long lease has ended. If another one got it than for whom it was asked back, another lease is asked back.
    fn ask_anew(&mut self, was: &Is<E>, now: Instant) {
        if let Is::Long { asked: Asked::For(wanting), .. } = was {
            self.start(*wanting, now);
        }
    }

    /// An executor of a lane has become free. It is noted as idle, but is not in the lane's list.
    pub(crate) fn free(&mut self, id: u64, number: u64, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        lane.idle.push(id);
        self.idle += 1;
        let wanted = !lane.waiting.is_empty();
        if self.base_is_held(number)
            // The limit was lowered.
            || self.records.len() > self.limits.total
            || self.retires(id, number, wanted, now)
            || (wanted && self.yields(id, number, now))
        {
            self.end(id);
            self.feed(now);
            // The lane may have given up what those who wait in it need.
            self.start(number, now);
        } else if wanted {
            self.give(number);
            self.update(number);
        } else {
            if self.anybody_is_hungry() {
                self.feed(now);
            }
            self.serve_database(number, now);
        }
    }

    /// What is idle in one lane of a database counts against its other lanes: it gives way to who waits there.
    fn serve_database(&mut self, number: u64, now: Instant) {
        let Some(base) = self.lanes.get(&number).and_then(|lane| self.base_of(lane)) else { return };
        if base.lanes.len() > 1 {
            for lane in base.lanes.clone() {
                self.start(lane, now);
            }
        }
    }

    /// The lane's free executor goes to who waits in it for longest.
    fn give(&mut self, number: u64) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let Some(waiter) = lane.waiting.pop_front() else { return };
        self.waiting = self.waiting.saturating_sub(1);
        let Some(id) = lane.idle.pop() else { return };
        lane.lent += 1;
        self.idle = self.idle.saturating_sub(1);
        let Some(record) = self.records.get_mut(&id) else { return };
        if let Is::Idle { executor, .. } = std::mem::replace(&mut record.is, Is::Lent) {
            self.actions.push(Action::Give { id, executor, waiter: waiter.who });
        }
    }

    /// Whether a lane whose executor is free, and wanted in it, gives it up for another lane.
    fn yields(&mut self, id: u64, number: u64, now: Instant) -> bool {
        if !self.anybody_is_hungry() {
            return false;
        }
        let (Some(lane), Some(record)) = (self.lanes.get(&number), self.records.get(&id)) else { return false };
        let Some(own) = self.base_of(lane).map(|base| base.alive) else { return false };
        let work_helps = !lane.target.calls || self.work < self.limits.work;
        if !self.starving_calls.is_empty() || (work_helps && !self.starving_work.is_empty()) {
            return lane.active() > 1 || now.saturating_duration_since(record.ready) >= TURN;
        }
        let Some((_, other)) = self.growing.first().copied() else { return false };
        let theirs = self.lanes.get(&other).filter(|other| work_helps || other.target.calls);
        let theirs = theirs.and_then(|other| self.base_of(other)).map(|base| base.alive);
        if theirs.is_some_and(|theirs| theirs + 1 < own) {
            return true;
        }
        // It is another lane's turn to be looked at.
        if self.growing.len() > 1 {
            self.move_back(other);
        }
        false
    }

    fn anybody_is_hungry(&self) -> bool {
        !(self.starving_calls.is_empty() && self.starving_work.is_empty() && self.growing.is_empty())
    }

    /// An executor that was lent or idle has ended by itself, or is of no more use.
    pub fn lost(&mut self, id: u64, now: Instant) {
        if let Some(record) = self.forget(id) {
            self.feed(now);
            self.start(record.lane, now);
            self.ask_anew(&record.is, now);
        }
    }

    /// A lease is meant to last. It is asked back ([`Action::AskBack`]) when its end would serve somebody.
    pub fn lend_for_long(&mut self, id: u64, now: Instant) {
        let Some(record) = self.records.get_mut(&id) else { return };
        let number = record.lane;
        if !matches!(record.is, Is::Lent) {
            return;
        }
        record.is = Is::Long { used: now, asked: Asked::No };
        if let Some(lane) = self.lanes.get_mut(&number) {
            lane.long += 1;
            self.long += 1;
        }
        self.ask_back_for_all(now);
    }

    /// Whoever waits in vain, whatever he waits for: it may be a long lease by now.
    pub(crate) fn ask_back_for_all(&mut self, now: Instant) {
        if self.long == 0 {
            return;
        }
        let hungry: Vec<u64> =
            self.lanes.iter().filter(|(_, lane)| lane.unserved() > 0).map(|(number, _)| *number).collect();
        for lane in hungry {
            self.start(lane, now);
        }
    }

    /// A long lease was used just now: those that were not for longest are asked back first.
    pub fn touched(&mut self, id: u64, now: Instant) {
        if let Some(record) = self.records.get_mut(&id)
            && let Is::Long { used, .. } = &mut record.is
        {
            *used = now;
            record.served += 1;
        }
    }

    pub(crate) fn base_is_held(&self, number: u64) -> bool {
        self.lanes.get(&number).and_then(|lane| self.base_of(lane)).is_some_and(|base| base.held > 0)
    }
}
