//! The state, and what does not fit elsewhere.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::hunger::Hunger;
use crate::{Action, Limits, Load, Queue, Shown, Standing, Target};

/// The executors of one database and role, and who waits for one.
pub(crate) struct Lane<W> {
    pub(crate) target: Arc<Target>,
    /// By number. The last one back is the first one out: its caches are warm, and the others can age.
    pub(crate) idle: Vec<u64>,
    /// In the order of their numbers.
    pub(crate) waiting: VecDeque<Waiter<W>>,
    pub(crate) starting: usize,
    /// All that are lent.
    pub(crate) lent: usize,
    /// Of them, those that do not come back by themselves soon.
    pub(crate) long: usize,
    /// Long leases that were asked back for this lane's sake.
    pub(crate) asked: usize,
    /// Of those that start, those that are to replace an aged one.
    pub(crate) replacing: usize,
    /// Aged executors whose replacements are there.
    pub(crate) retiring: usize,
    /// No replacement is started before.
    pub(crate) quiet_until: Option<Instant>,
    /// Where it stands among the hungry.
    pub(crate) hunger: Option<(Hunger, u64)>,
}

pub(crate) struct Waiter<W> {
    pub(crate) number: u64,
    pub(crate) since: Instant,
    pub(crate) who: W,
}

impl<W> Lane<W> {
    pub(crate) fn alive(&self) -> usize {
        self.idle.len() + self.starting + self.lent
    }

    /// Executors that are there and will be free in a while, or are.
    pub(crate) fn active(&self) -> usize {
        (self.idle.len() + self.lent).saturating_sub(self.long)
    }

    /// How long the first in the queue has been waiting.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        self.waiting.front().map_or(Duration::ZERO, |first| now.saturating_duration_since(first.since))
    }

    /// How many wait whom no executor that is starting will serve.
    pub(crate) fn unserved(&self) -> usize {
        self.waiting.len().saturating_sub(self.starting)
    }
}

/// A database.
#[derive(Default)]
pub(crate) struct Base {
    pub(crate) lanes: Vec<u64>,
    pub(crate) alive: usize,
    /// Of them, those for calls.
    pub(crate) calls: usize,
    /// How many need it for themselves.
    pub(crate) held: usize,
}

/// An executor.
pub(crate) struct Record<E> {
    pub(crate) lane: u64,
    pub(crate) pid: Option<i32>,
    pub(crate) born: Instant,
    /// Since when it is connected.
    pub(crate) ready: Instant,
    pub(crate) served: u64,
    pub(crate) is: Is<E>,
}

pub(crate) enum Is<E> {
    Starting { replaces: bool },
    Idle { executor: E, since: Instant },
    Lent,
    Long { used: Instant, asked: Asked },
}

/// Whether a long lease was asked back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    No,
    /// For somebody of that lane.
    For(u64),
    /// It is aged.
    Aged,
}

/// All lanes and executors, and what is to be done about them. See the crate's documentation.
pub struct Machine<E, W> {
    pub(crate) limits: Limits,
    pub(crate) numbers: HashMap<Arc<Target>, u64>,
    pub(crate) lanes: HashMap<u64, Lane<W>>,
    pub(crate) bases: HashMap<Arc<str>, Base>,
    pub(crate) records: HashMap<u64, Record<E>>,
    /// Hungry lanes, those that are so for longest first.
    pub(crate) starving_calls: BTreeSet<(u64, u64)>,
    pub(crate) starving_work: BTreeSet<(u64, u64)>,
    pub(crate) growing: BTreeSet<(u64, u64)>,
    /// Executors that are not for calls.
    pub(crate) work: usize,
    /// Executors that are idle.
    pub(crate) idle: usize,
    pub(crate) waiting: usize,
    /// Long leases that nobody asked back yet.
    pub(crate) long: usize,
    next: u64,
    pub(crate) actions: Vec<Action<E, W>>,
}

impl<E, W> Machine<E, W> {
    /// No executors yet.
    pub fn new(limits: Limits) -> Machine<E, W> {
        Machine {
            limits,
            numbers: HashMap::new(),
            lanes: HashMap::new(),
            bases: HashMap::new(),
            records: HashMap::new(),
            starving_calls: BTreeSet::new(),
            starving_work: BTreeSet::new(),
            growing: BTreeSet::new(),
            work: 0,
            idle: 0,
            waiting: 0,
            long: 0,
            next: 0,
            actions: Vec::new(),
        }
    }

    /// What is to be done, in this order; after every event.
    pub fn take_actions(&mut self) -> Vec<Action<E, W>> {
        std::mem::take(&mut self.actions)
    }

    /// The limits as they are.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Other limits. What is over them ends as it comes back or has been idle.
    pub fn set_limits(&mut self, limits: Limits, now: Instant) {
        self.limits = limits;
        let lanes: Vec<u64> = self.lanes.keys().copied().collect();
        lanes.into_iter().for_each(|lane| self.update(lane));
        self.feed(now);
    }

    /// How many databases have executors, and how many executors there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.bases.values().filter(|base| base.alive > 0).count(), self.records.len())
    }

    /// What there is for calls, and for other work.
    pub fn load(&self, now: Instant) -> [Load; 2] {
        let mut loads = [Load::default(); 2];
        let [calls, work] = &mut loads;
        for lane in self.lanes.values() {
            let load = if lane.target.calls { &mut *calls } else { &mut *work };
            load.waiting += lane.waiting.len();
            load.longest = load.longest.max(lane.waited(now));
        }
        for shown in self.shown() {
            let load = if shown.target.calls { &mut *calls } else { &mut *work };
            match shown.standing {
                Standing::Starting => load.starting += 1,
                Standing::Idle => load.idle += 1,
                Standing::Lent => load.lent += 1,
                Standing::Long => load.long += 1,
            }
        }
        loads
    }

    /// All executors.
    pub fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        self.records.values().filter_map(|record| {
            let lane = self.lanes.get(&record.lane)?;
            let standing = match record.is {
                Is::Starting { .. } => Standing::Starting,
                Is::Idle { .. } => Standing::Idle,
                Is::Lent => Standing::Lent,
                Is::Long { .. } => Standing::Long,
            };
            Some(Shown { target: &lane.target, standing, pid: record.pid, served: record.served, born: record.born })
        })
    }

    /// The queues in which somebody waits.
    pub fn queues(&self, now: Instant) -> impl Iterator<Item = Queue<'_>> {
        let waited = self.lanes.values().filter(|lane| !lane.waiting.is_empty());
        waited.map(move |lane| Queue { target: &lane.target, waiting: lane.waiting.len(), longest: lane.waited(now) })
    }

    /// Keeps a database free of executors until `unhold`: the idle ones end, and no new ones start. Holds add up.
    pub fn hold(&mut self, database: &str) {
        let base = self.bases.entry(database.into()).or_default();
        base.held += 1;
        for lane in base.lanes.clone() {
            self.end_idle(lane);
            self.update(lane);
        }
    }

    /// The end of a `hold`.
    pub fn unhold(&mut self, database: &str, now: Instant) {
        let Some(base) = self.bases.get_mut(database) else { return };
        base.held = base.held.saturating_sub(1);
        for lane in base.lanes.clone() {
            self.update(lane);
        }
        self.feed(now);
    }

    /// Ends the idle executors of a target: it will not be asked for soon.
    pub fn release(&mut self, target: &Target, now: Instant) {
        if let Some(lane) = self.numbers.get(target).copied() {
            self.end_idle(lane);
            self.feed(now);
        }
    }

    /// To be told now and then: ends what has been idle for long, is not `alive` any more or is aged, and forgets empty lanes.
    pub fn tick(&mut self, now: Instant, mut alive: impl FnMut(&E) -> bool) {
        let limit = self.limits.idle;
        let over = |record: &Record<E>, alive: &mut dyn FnMut(&E) -> bool| match &record.is {
            Is::Idle { executor, since } => now.saturating_duration_since(*since) > limit || !alive(executor),
            _ => false,
        };
        let gone: Vec<u64> =
            self.records.iter().filter(|(_, record)| over(record, &mut alive)).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.end(id));
        // Of the executors that are over the limit since it was changed.
        while self.records.len() > self.limits.total && self.evict(None, now) {}
        self.renew(now);
        self.feed(now);
        self.ask_back_for_all(now);
        let empty: Vec<u64> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.alive() == 0 && lane.waiting.is_empty())
            .map(|(number, _)| *number)
            .collect();
        for number in empty {
            if let Some(lane) = self.lanes.remove(&number) {
                self.numbers.remove(&lane.target);
                if let Some(base) = self.bases.get_mut(&lane.target.database) {
                    base.lanes.retain(|other| *other != number);
                }
            }
        }
        self.bases.retain(|_, base| !base.lanes.is_empty() || base.held > 0);
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn base_of(&self, lane: &Lane<W>) -> Option<&Base> {
        self.bases.get(&lane.target.database)
    }

    pub(crate) fn lane_of(&mut self, target: &Arc<Target>) -> u64 {
        if let Some(number) = self.numbers.get(target) {
            return *number;
        }
        let number = self.number();
        self.numbers.insert(target.clone(), number);
        self.bases.entry(target.database.clone()).or_default().lanes.push(number);
        let lane = Lane {
            target: target.clone(),
            idle: Vec::new(),
            waiting: VecDeque::new(),
            starting: 0,
            lent: 0,
            long: 0,
            asked: 0,
            replacing: 0,
            retiring: 0,
            quiet_until: None,
            hunger: None,
        };
        self.lanes.insert(number, lane);
        number
    }

    fn end_idle(&mut self, lane: u64) {
        let idle = self.lanes.get(&lane).map(|lane| lane.idle.clone()).unwrap_or_default();
        idle.into_iter().for_each(|id| self.end(id));
    }

    /// Ends an idle executor.
    pub(crate) fn end(&mut self, id: u64) {
        if let Some(Is::Idle { executor, .. }) = self.forget(id).map(|record| record.is) {
            self.actions.push(Action::End { executor });
        }
    }

    /// An executor is gone, whatever it was doing.
    pub(crate) fn forget(&mut self, id: u64) -> Option<Record<E>> {
        let record = self.records.remove(&id)?;
        self.leave(id, record.lane, &record.is);
        let target = self.lanes.get(&record.lane).map(|lane| lane.target.clone())?;
        if !target.calls {
            self.work = self.work.saturating_sub(1);
        }
        if let Some(base) = self.bases.get_mut(&target.database) {
            base.alive = base.alive.saturating_sub(1);
            base.calls = base.calls.saturating_sub(usize::from(target.calls));
        }
        self.update_base(&target.database);
        Some(record)
    }

    /// Takes an executor out of its lane's counts.
    pub(crate) fn leave(&mut self, id: u64, number: u64, was: &Is<E>) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        match was {
            Is::Starting { replaces } => {
                lane.starting = lane.starting.saturating_sub(1);
                lane.replacing = lane.replacing.saturating_sub(usize::from(*replaces));
            }
            Is::Idle { .. } => {
                lane.idle.retain(|other| *other != id);
                self.idle = self.idle.saturating_sub(1);
            }
            Is::Lent => lane.lent = lane.lent.saturating_sub(1),
            Is::Long { asked, .. } => {
                lane.lent = lane.lent.saturating_sub(1);
                if *asked == Asked::No {
                    lane.long = lane.long.saturating_sub(1);
                    self.long = self.long.saturating_sub(1);
                } else if let Asked::For(wanting) = asked
                    && let Some(wanting) = self.lanes.get_mut(wanting)
                {
                    wanting.asked = wanting.asked.saturating_sub(1);
                }
            }
        }
    }
}
