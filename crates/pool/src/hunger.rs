//! Which lanes want more executors, in the order in which they shall get them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::machine::{Base, Lane};
use crate::{Limits, Machine};

/// How badly a lane wants another executor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hunger {
    /// Calls wait, and the lane has no executor at all.
    StarvingCalls,
    /// The same of other work.
    StarvingWork,
    /// More wait than executors are starting.
    Growing,
}

impl Hunger {
    fn of<W>(lane: &Lane<W>, base: &Base, limits: &Limits) -> Option<Hunger> {
        let blocked = base.held > 0 || (base.alive >= limits.per_database && lane.alive() > 0);
        if blocked || lane.unserved() == 0 {
            None
        } else if lane.alive() > 0 {
            Some(Hunger::Growing)
        } else if lane.target.calls {
            Some(Hunger::StarvingCalls)
        } else {
            Some(Hunger::StarvingWork)
        }
    }
}

impl<E, W> Machine<E, W> {
    fn hungry(&mut self, hunger: Hunger) -> &mut BTreeSet<(u64, u64)> {
        match hunger {
            Hunger::StarvingCalls => &mut self.starving_calls,
            Hunger::StarvingWork => &mut self.starving_work,
            Hunger::Growing => &mut self.growing,
        }
    }

    /// Notes how hungry a lane is; after everything that may have changed that. A lane keeps its place while it stays hungry.
    pub(crate) fn update(&mut self, number: u64) {
        let Some(lane) = self.lanes.get(&number) else { return };
        let hunger = self.base_of(lane).and_then(|base| Hunger::of(lane, base, &self.limits));
        let was = lane.hunger;
        if hunger == was.map(|(hunger, _)| hunger) {
            return;
        }
        if let Some((was, place)) = was {
            self.hungry(was).remove(&(place, number));
        }
        let now = hunger.map(|hunger| {
            let place = was.map_or_else(|| self.number(), |(_, place)| place);
            self.hungry(hunger).insert((place, number));
            (hunger, place)
        });
        if let Some(lane) = self.lanes.get_mut(&number) {
            lane.hunger = now;
        }
    }

    /// The lanes of a database share its limit.
    pub(crate) fn update_base(&mut self, database: &Arc<str>) {
        let Some(base) = self.bases.get(database) else { return };
        if let [only] = base.lanes[..] {
            self.update(only);
        } else {
            base.lanes.clone().into_iter().for_each(|lane| self.update(lane));
        }
    }

    /// A lane has had its turn: others are before it now.
    pub(crate) fn move_back(&mut self, number: u64) {
        let Some((hunger, place)) = self.lanes.get(&number).and_then(|lane| lane.hunger) else { return };
        let last = self.number();
        let set = self.hungry(hunger);
        set.remove(&(place, number));
        set.insert((last, number));
        if let Some(lane) = self.lanes.get_mut(&number) {
            lane.hunger = Some((hunger, last));
        }
    }
}
