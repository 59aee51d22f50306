//! Aged executors are replaced, and nobody waits for that.

use std::time::Duration;

use super::{MS, World, calls, limits};
use crate::{Limits, RETRY_REPLACEMENT};

fn aging(total: usize, per_database: usize) -> World {
    World::new(Limits { age: Duration::from_secs(100), ..limits(total, per_database) })
}

const OLD: Duration = Duration::from_secs(126);

#[test]
fn the_replacement_is_there_before_the_aged_one_ends() {
    let mut world = aging(4, 1);
    let old = world.get(&calls("a"), 1);
    world.pass(OLD);
    assert!(world.ended.is_empty(), "not in the middle of a request");
    world.back(1);
    assert!(world.ended.is_empty() && world.starting.len() == 1);
    // It works on while the other one is on its way.
    assert_eq!(world.get(&calls("a"), 2), old);
    world.back(2);
    assert!(world.ended.contains(&old));
    assert_ne!(world.get(&calls("a"), 3), old);
    world.back(3);
    assert_eq!(world.started, 2);
}

#[test]
fn an_idle_one_is_replaced_too() {
    let mut world = aging(4, 1);
    let old = world.get(&calls("a"), 1);
    world.back(1);
    world.pass(OLD);
    world.tick();
    assert!(world.ended.is_empty());
    world.start_all();
    assert!(world.ended.contains(&old));
    assert_eq!(world.machine.counts(), (1, 1));
}

#[test]
fn so_is_one_that_has_served_much() {
    let mut world = World::new(Limits { served: 64, ..limits(4, 1) });
    let mut seen = std::collections::BTreeSet::new();
    for who in 0..800 {
        seen.insert(world.get(&calls("a"), who));
        world.back(who);
    }
    assert!((8..=13).contains(&seen.len()), "{seen:?}");
}

#[test]
fn without_a_free_slot_it_ends_when_nobody_waits() {
    let mut world = aging(2, 2);
    world.get(&calls("a"), 1);
    world.get(&calls("b"), 2);
    world.pass(OLD);
    assert!(world.ask(&calls("a"), 3).is_ok());
    world.back(1);
    assert!(world.ended.is_empty(), "its work goes on");
    world.back(3);
    assert!(world.ended.is_empty(), "the next one would wait for another one to start");
    world.pass(OLD);
    world.tick();
    assert_eq!(world.ended.len(), 1, "it is overdue");
}

#[test]
fn a_replacement_that_fails_is_tried_again_later() {
    let mut world = aging(4, 1);
    let old = world.get(&calls("a"), 1);
    world.pass(OLD);
    world.back(1);
    let id = *world.starting.keys().next().expect("the replacement");
    world.fail(id);
    world.tick();
    assert!(world.starting.is_empty());
    assert_eq!(world.get(&calls("a"), 2), old);
    world.back(2);
    world.pass(RETRY_REPLACEMENT + MS);
    world.tick();
    assert_eq!(world.starting.len(), 1);
}

#[test]
fn those_of_a_lane_are_replaced_one_after_the_other() {
    let mut world = aging(8, 4);
    for who in 0..4 {
        world.get(&calls("a"), who);
    }
    for who in 0..4 {
        world.back(who);
    }
    world.pass(OLD);
    for done in 1..=4 {
        world.tick();
        assert_eq!(world.starting.len(), 1);
        world.start_all();
        assert_eq!(world.ended.len(), done);
    }
    world.tick();
    assert!(world.starting.is_empty());
}

#[test]
fn a_long_lease_of_an_aged_one_is_asked_back() {
    let mut world = aging(4, 2);
    let old = world.get(&calls("a"), 1);
    world.machine.lend_for_long(old, world.now);
    world.pass(OLD);
    world.tick();
    world.tick();
    assert_eq!(world.asked_back, [old]);
    world.back(1);
    world.start_all();
    assert!(world.ended.contains(&old));
}
