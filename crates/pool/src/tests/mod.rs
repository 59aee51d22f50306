//! The machine in a world of its own: time goes on when a test says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // A test may.

mod ages;
mod fair;
mod limits;
mod long;
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::machine::Is;
use crate::{Action, Limits, Machine, Refusal, StartFailed, Target, Ticket};

pub(super) const MS: Duration = Duration::from_millis(1);

/// A machine whose executors' connections are their numbers, and what it has said.
pub(super) struct World {
    pub(super) machine: Machine<u64, u32>,
    pub(super) now: Instant,
    /// Asked for and not there yet.
    pub(super) starting: BTreeMap<u64, Arc<Target>>,
    /// Whoever waited has got this executor.
    pub(super) given: BTreeMap<u32, u64>,
    pub(super) failed: BTreeMap<u32, StartFailed>,
    pub(super) ended: BTreeSet<u64>,
    pub(super) asked_back: Vec<u64>,
    pub(super) started: usize,
}

pub(super) fn limits(total: usize, per_database: usize) -> Limits {
    Limits { total, work: (total / 2).max(2), per_database, ..Limits::default() }
}

/// The calls of a database.
pub(super) fn calls(database: &str) -> Arc<Target> {
    Arc::new(Target { database: database.into(), role: Some("call".into()), calls: true })
}

/// Deployments of a database.
pub(super) fn work(database: &str) -> Arc<Target> {
    Arc::new(Target { database: database.into(), role: Some("owner".into()), calls: false })
}

impl World {
    pub(super) fn new(limits: Limits) -> World {
        World {
            machine: Machine::new(limits),
            now: Instant::now(),
            starting: BTreeMap::new(),
            given: BTreeMap::new(),
            failed: BTreeMap::new(),
            ended: BTreeSet::new(),
            asked_back: Vec::new(),
            started: 0,
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Somebody asks: an executor, or a place in the queue.
    pub(super) fn ask(&mut self, target: &Arc<Target>, who: u32) -> Result<Ticket, Refusal> {
        if let Some((id, executor)) = self.machine.take(target) {
            assert_eq!(id, executor);
            self.given.insert(who, id);
            return Ok(Ticket { lane: 0, number: 0 });
        }
        let ticket = self.machine.wait(target, who, self.now);
        self.listen();
        ticket
    }

    /// Asks, and has the executor come that is started for it.
    pub(super) fn get(&mut self, target: &Arc<Target>, who: u32) -> u64 {
        assert!(self.ask(target, who).is_ok());
        self.start_all();
        self.given[&who]
    }

    /// Everything that is starting says hello.
    pub(super) fn start_all(&mut self) {
        while let Some((id, _)) = self.starting.pop_first() {
            self.started += 1;
            self.machine.started(id, 1, id, self.now).expect("an executor that was asked for");
            self.listen();
        }
    }

    pub(super) fn fail(&mut self, id: u64) {
        self.starting.remove(&id);
        self.machine.start_failed(id, StartFailed::Attach, self.now);
        self.listen();
    }

    /// A request ends.
    pub(super) fn back(&mut self, who: u32) {
        let id = self.given.remove(&who).expect("somebody who has an executor");
        self.machine.came_back(id, id, true, self.now);
        self.listen();
    }

    pub(super) fn tick(&mut self) {
        self.machine.tick(self.now, |_| true);
        self.listen();
    }

    pub(super) fn listen(&mut self) {
        for action in self.machine.take_actions() {
            match action {
                Action::Start { id, target } => assert!(self.starting.insert(id, target).is_none()),
                Action::End { executor } => assert!(self.ended.insert(executor), "ended twice"),
                Action::Give { id, executor, waiter } => {
                    assert_eq!(id, executor);
                    assert!(self.given.insert(waiter, id).is_none());
                }
                Action::Fail { waiter, why, .. } => assert!(self.failed.insert(waiter, why).is_none()),
                Action::AskBack { id } => self.asked_back.push(id),
            }
        }
        self.check();
    }

    /// What is always so.
    pub(super) fn check(&self) {
        let machine = &self.machine;
        let limits = machine.limits();
        assert!(machine.records.len() <= limits.total, "more than max_workers");
        assert!(machine.work <= limits.work, "more than the limit of work");
        let (mut idle, mut waiting, mut alive, mut work, mut long) = (0, 0, 0, 0, 0);
        for (number, lane) in &machine.lanes {
            assert_eq!(machine.numbers.get(&lane.target), Some(number));
            assert!(lane.idle.is_empty() || lane.waiting.is_empty(), "somebody waits beside an idle executor");
            let of_lane = |is: fn(&Is<u64>) -> bool| {
                machine.records.values().filter(|record| record.lane == *number && is(&record.is)).count()
            };
            assert_eq!(lane.idle.len(), of_lane(|is| matches!(is, Is::Idle { .. })));
            assert_eq!(lane.starting, of_lane(|is| matches!(is, Is::Starting { .. })));
            assert_eq!(lane.replacing, of_lane(|is| matches!(is, Is::Starting { replaces: true })));
            assert_eq!(lane.lent, of_lane(|is| matches!(is, Is::Lent | Is::Long { .. })));
            assert_eq!(
                lane.long,
                of_lane(|is| matches!(is, Is::Long { asked, .. } if *asked == crate::machine::Asked::No))
            );
            assert!(
                lane.alive() <= limits.per_database + lane.replacing.max(lane.retiring).max(1),
                "too many in a lane"
            );
            idle += lane.idle.len();
            waiting += lane.waiting.len();
            alive += lane.alive();
            long += lane.long;
            work += if lane.target.calls { 0 } else { lane.alive() };
            assert!(lane.waiting.len() <= limits.queue);
            if let Some((_, place)) = lane.hunger {
                let sets = [&machine.starving_calls, &machine.starving_work, &machine.growing];
                assert_eq!(sets.iter().filter(|set| set.contains(&(place, *number))).count(), 1);
            }
        }
        assert_eq!((idle, waiting, alive), (machine.idle, machine.waiting, machine.records.len()));
        assert_eq!((work, long), (machine.work, machine.long));
        let hungry = machine.lanes.values().filter(|lane| lane.hunger.is_some()).count();
        assert_eq!(hungry, machine.starving_calls.len() + machine.starving_work.len() + machine.growing.len());
        // Who starves is let in as soon as there is a slot.
        assert!(machine.starving_calls.is_empty() || (alive == limits.total && idle == 0), "a slot for who starves");
        for (name, base) in &machine.bases {
            let of_base = |lane: &&u64| machine.lanes[*lane].target.database == *name;
            assert!(base.lanes.iter().all(|lane| of_base(&lane)));
            assert_eq!(base.alive, base.lanes.iter().map(|lane| machine.lanes[lane].alive()).sum::<usize>());
            assert!(base.held == 0 || base.lanes.iter().all(|lane| machine.lanes[lane].idle.is_empty()));
        }
    }
}
