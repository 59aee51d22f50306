//! Random histories: whatever happens in whatever order, the limits hold, nobody waits beside an idle executor, everybody is answered,
//! and nobody waits for ever. A failure names its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{MS, World, calls, limits, work};
use crate::{Limits, Target, Ticket};

/// A generator of its own (splitmix64): the tests need no other.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// Callers that each have one request under way, or none.
struct History {
    world: World,
    random: Random,
    targets: Vec<Arc<Target>>,
    next: u32,
    waiting: BTreeMap<u32, (Ticket, Duration, usize)>,
    /// Until when executors serve or start, since the beginning.
    busy: BTreeMap<u32, Duration>,
    attaching: BTreeMap<u64, Duration>,
    long: BTreeSet<u32>,
    /// Databases, and until when.
    held: Vec<(String, Duration)>,
    passed: Duration,
    next_tick: Duration,
    worst: Duration,
    answered: u64,
}

/// How long a request may take, and starting an executor.
const SERVICE: usize = 40;
const ATTACH: usize = 8;

impl History {
    fn new(seed: u64) -> History {
        let mut random = Random(seed);
        let total = 2 + random.below(12);
        let per_database = 1 + random.below(5);
        let mut limits = Limits { idle: 200 * MS, ..limits(total, per_database) };
        if random.one_in(2) {
            limits.age = (50 + random.below(500) as u32) * MS;
        }
        if random.one_in(2) {
            limits.served = 1 + random.below(50) as u64;
        }
        if random.one_in(3) {
            limits.queue = 1 + random.below(10);
            limits.queue_total = 1 + random.below(30);
        }
        let databases = 1 + random.below(3 * total);
        let mut targets: Vec<_> = (0..databases).map(|number| calls(&format!("t{number}"))).collect();
        targets.extend((0..databases / 3).map(|number| work(&format!("t{number}"))));
        History {
            world: World::new(limits),
            random,
            targets,
            next: 0,
            waiting: BTreeMap::new(),
            busy: BTreeMap::new(),
            attaching: BTreeMap::new(),
            long: BTreeSet::new(),
            held: Vec::new(),
            passed: Duration::ZERO,
            next_tick: Duration::ZERO,
            worst: Duration::ZERO,
            answered: 0,
        }
    }

    fn some_time(&mut self, most: usize) -> Duration {
        self.passed + Duration::from_micros(100 + self.random.below(most * 1000) as u64)
    }

    /// Takes note of what the world has said.
    fn listen(&mut self) {
        for id in self.world.starting.keys().copied().collect::<Vec<_>>() {
            if !self.attaching.contains_key(&id) {
                let until = self.some_time(ATTACH);
                self.attaching.insert(id, until);
            }
        }
        for who in self.world.given.keys().copied().collect::<Vec<_>>() {
            if !self.busy.contains_key(&who) {
                if let Some((_, since, _)) = self.waiting.remove(&who) {
                    self.worst = self.worst.max(self.passed - since);
                }
                self.answered += 1;
                let mut until = self.some_time(SERVICE);
                if self.random.one_in(20) {
                    let id = self.world.given[&who];
                    self.world.machine.lend_for_long(id, self.world.now);
                    self.long.insert(who);
                    until += 10_000 * MS;
                    self.busy.insert(who, until);
                    self.world.listen();
                    return self.listen();
                }
                self.busy.insert(who, until);
            }
        }
        for (who, _) in std::mem::take(&mut self.world.failed) {
            assert!(self.waiting.remove(&who).is_some(), "told of a failure, and did not wait");
            self.answered += 1;
        }
        // Who is asked for a long lease ends it soon.
        for id in std::mem::take(&mut self.world.asked_back) {
            let who = self.world.given.iter().find(|(_, of)| **of == id).map(|(who, _)| *who).expect("a long lease");
            assert!(self.long.remove(&who), "asked for a lease that is not long");
            let until = self.some_time(SERVICE);
            self.busy.insert(who, until);
        }
    }

    fn ask(&mut self) {
        // A few are asked for much more than the others.
        let count = self.targets.len();
        let index = if self.random.one_in(2) { self.random.below(count) } else { self.random.below(count.min(2)) };
        let (who, target) = (self.next, self.targets[index].clone());
        self.next += 1;
        if let Ok(ticket) = self.world.ask(&target, who)
            && !self.world.given.contains_key(&who)
        {
            self.waiting.insert(who, (ticket, self.passed, index));
        }
        self.listen();
    }

    fn step(&mut self, callers: usize) {
        let chance = self.random.below(100);
        if self.waiting.len() + self.busy.len() < callers && chance < 60 {
            return self.ask();
        }
        match chance {
            60 => {
                if let Some((&who, &(ticket, ..))) = self.waiting.first_key_value() {
                    assert!(self.world.machine.gave_up(ticket));
                    self.waiting.remove(&who);
                }
            }
            61 => self.world.tick(),
            62 => {
                // An executor ends at work.
                if let Some((&who, _)) = self.busy.last_key_value() {
                    self.busy.remove(&who);
                    self.long.remove(&who);
                    let id = self.world.given.remove(&who).expect("an executor at work");
                    self.world.machine.lost(id, self.world.now);
                    self.world.listen();
                }
            }
            63 => {
                if let Some((&id, _)) = self.attaching.first_key_value() {
                    self.attaching.remove(&id);
                    self.world.fail(id);
                }
            }
            64 if self.held.len() < 2 => {
                let index = self.random.below(self.targets.len());
                let database = self.targets[index].database.to_string();
                self.world.machine.hold(&database);
                self.world.listen();
                let until = self.some_time(SERVICE);
                self.held.push((database, until));
            }
            65 | 66 => self.unhold(),
            _ => self.pass(),
        }
        self.listen();
    }

    fn unhold(&mut self) {
        if let Some((database, _)) = self.held.pop() {
            self.world.machine.unhold(&database, self.world.now);
            self.world.listen();
        }
    }

    /// Time goes on, to the next end of something.
    fn pass(&mut self) {
        let next = self.busy.values().chain(self.attaching.values()).min().copied();
        let next = next.unwrap_or(self.passed + 10 * MS).min(self.passed + 50 * MS).max(self.passed);
        self.world.pass(next - self.passed);
        self.passed = next;
        if self.passed >= self.next_tick {
            self.next_tick = self.passed + 200 * MS;
            self.world.tick();
        }
        while self.held.last().is_some_and(|(_, until)| *until <= self.passed) {
            self.unhold();
        }
        for (id, until) in self.attaching.clone() {
            if until <= self.passed {
                self.attaching.remove(&id);
                self.world.starting.remove(&id);
                self.world.machine.started(id, 1, id, self.world.now).expect("it was asked for");
                self.world.listen();
            }
        }
        for (who, until) in self.busy.clone() {
            if until <= self.passed {
                self.busy.remove(&who);
                self.long.remove(&who);
                self.world.back(who);
            }
        }
    }

    /// Nobody asks any more: everybody is answered.
    fn end(&mut self) {
        while !self.held.is_empty() {
            self.unhold();
        }
        for _ in 0..10_000 {
            if self.waiting.is_empty() && self.busy.is_empty() {
                break;
            }
            self.listen();
            self.pass();
            self.listen();
        }
        assert!(self.waiting.is_empty(), "left waiting: {:?}", self.waiting);
        assert!(self.busy.is_empty());
    }
}

#[test]
fn whatever_happens_everybody_is_answered() {
    for seed in 0..60 {
        let outcome = std::panic::catch_unwind(|| {
            let mut history = History::new(seed);
            let callers = 1 + history.random.below(60);
            for _ in 0..1500 {
                history.step(callers);
            }
            history.end();
            // Sixty callers at forty milliseconds each over two executors, with turns and starts, is a second.
            assert!(history.worst < Duration::from_secs(2), "somebody waited {:?}", history.worst);
            assert!(history.answered > 0);
        });
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
