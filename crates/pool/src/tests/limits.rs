//! Limits, queues, and what goes wrong.

use super::{MS, World, calls, limits};
use crate::{Blocked, Limits, RETRY_GROWTH, Refusal, StartFailed};

#[test]
fn executors_are_started_for_as_many_as_wait() {
    let mut world = World::new(limits(16, 4));
    for who in 0..3 {
        assert!(world.ask(&calls("a"), who).is_ok());
    }
    assert_eq!(world.starting.len(), 3);
    for who in 3..9 {
        assert!(world.ask(&calls("a"), who).is_ok());
    }
    assert_eq!(world.starting.len(), 4, "the limit of the database");
}

#[test]
fn queues_have_an_end() {
    let mut world = World::new(Limits { queue: 3, ..limits(1, 1) });
    world.get(&calls("a"), 0);
    for who in 1..4 {
        assert!(world.ask(&calls("a"), who).is_ok());
    }
    assert_eq!(world.ask(&calls("a"), 4), Err(Refusal::LaneQueue));
    assert!(world.ask(&calls("b"), 5).is_ok());
}

#[test]
fn a_queue_leaves_room_for_those_of_others() {
    let mut world = World::new(Limits { queue: 100, queue_total: 10, ..limits(1, 1) });
    world.get(&calls("a"), 0);
    let waiting = (1..100).take_while(|who| world.ask(&calls("a"), *who).is_ok()).count();
    assert_eq!(waiting, 5);
    assert_eq!(world.ask(&calls("a"), 200), Err(Refusal::TotalQueue));
    for (who, database) in ["b", "c", "d", "e"].into_iter().enumerate() {
        assert!(world.ask(&calls(database), 300 + who as u32).is_ok());
    }
}

#[test]
fn queues_are_shown_as_long_as_somebody_waits() {
    let mut world = World::new(limits(1, 1));
    world.get(&calls("a"), 0);
    assert_eq!(world.machine.queues(world.now).count(), 0);
    assert!(world.ask(&calls("a"), 1).is_ok());
    world.pass(5 * MS);
    assert!(world.ask(&calls("a"), 2).is_ok());
    let shown: Vec<_> = world.machine.queues(world.now).map(|queue| (queue.waiting, queue.longest)).collect();
    assert_eq!(shown, [(2, 5 * MS)]);
    world.back(0);
    world.back(1);
    assert_eq!(world.machine.queues(world.now).count(), 0);
}

#[test]
fn who_gives_up_leaves_his_place() {
    let mut world = World::new(Limits { queue: 2, ..limits(1, 1) });
    world.get(&calls("a"), 0);
    let first = world.ask(&calls("a"), 1).expect("a place");
    assert!(world.ask(&calls("a"), 2).is_ok());
    assert!(world.machine.gave_up(first));
    assert!(!world.machine.gave_up(first));
    assert!(world.ask(&calls("a"), 3).is_ok());
    world.back(0);
    assert!(world.given.contains_key(&2));
    assert!(!world.given.contains_key(&1));
}

#[test]
fn who_waits_is_told_if_no_executor_can_be_started() {
    let mut world = World::new(limits(4, 4));
    assert!(world.ask(&calls("gone"), 1).is_ok());
    assert!(world.ask(&calls("gone"), 2).is_ok());
    let ids: Vec<u64> = world.starting.keys().copied().collect();
    world.fail(ids[0]);
    assert!(world.failed.is_empty(), "another one is starting");
    world.fail(ids[1]);
    assert_eq!(world.failed.values().copied().collect::<Vec<_>>(), [StartFailed::Attach; 2]);
    assert_eq!(world.machine.counts(), (0, 0));
}

#[test]
fn a_lane_that_cannot_grow_tries_again_only_after_a_while() {
    let mut world = World::new(limits(4, 4));
    world.get(&calls("a"), 1);
    assert!(world.ask(&calls("a"), 2).is_ok());
    let id = *world.starting.keys().next().expect("a second executor");
    world.fail(id);
    assert!(world.ask(&calls("a"), 3).is_ok());
    assert!(world.starting.is_empty() && world.failed.is_empty());
    world.pass(RETRY_GROWTH);
    world.tick();
    assert_eq!(world.starting.len(), 1);
}

#[test]
fn a_lost_executor_is_replaced_if_somebody_waits() {
    let mut world = World::new(limits(1, 1));
    let id = world.get(&calls("a"), 1);
    assert!(world.ask(&calls("a"), 2).is_ok());
    world.given.remove(&1);
    world.machine.lost(id, world.now);
    world.listen();
    world.start_all();
    assert!(world.given.contains_key(&2));
}

#[test]
fn idle_executors_end_after_a_while() {
    let mut world = World::new(Limits { idle: 100 * MS, ..limits(4, 4) });
    let id = world.get(&calls("a"), 1);
    world.back(1);
    world.pass(100 * MS);
    world.tick();
    assert!(world.ended.is_empty());
    world.pass(MS);
    world.tick();
    assert!(world.ended.contains(&id));
    assert!(world.machine.lanes.is_empty() && world.machine.bases.is_empty());
}

#[test]
fn a_held_database_has_no_executors() {
    let mut world = World::new(limits(4, 4));
    let idle = world.get(&calls("a"), 1);
    let busy = world.get(&calls("a"), 2);
    world.back(1);
    world.machine.hold("a");
    world.listen();
    assert!(world.ended.contains(&idle));
    let ticket = world.ask(&calls("a"), 3).expect("a place in the queue");
    assert!(world.starting.is_empty());
    assert_eq!(world.machine.why(ticket), Some(Blocked::Held));
    world.back(2);
    assert!(world.ended.contains(&busy));
    world.machine.unhold("a", world.now);
    world.listen();
    world.start_all();
    assert!(world.given.contains_key(&3));
}

#[test]
fn what_ends_while_its_database_is_held_fails_nobody() {
    let mut world = World::new(limits(4, 4));
    assert!(world.ask(&calls("a"), 1).is_ok());
    world.machine.hold("a");
    let id = *world.starting.keys().next().expect("an executor");
    world.fail(id);
    assert!(world.failed.is_empty());
    world.machine.unhold("a", world.now);
    world.listen();
    world.start_all();
    assert!(world.given.contains_key(&1));
}

#[test]
fn lower_limits_end_what_is_over_them() {
    let mut world = World::new(limits(6, 6));
    for who in 0..3 {
        world.get(&calls(&format!("t{who}")), who);
    }
    world.back(0);
    // The check of all limits holds again only at the end.
    world.machine.set_limits(limits(1, 1), world.now);
    world.machine.tick(world.now, |_| true);
    let busy: Vec<u64> = [1, 2].iter().map(|who| world.given[who]).collect();
    world.machine.came_back(busy[0], busy[0], true, world.now);
    world.listen();
    assert!(world.ended.contains(&busy[0]));
    assert_eq!(world.machine.counts(), (1, 1));
}

#[test]
fn where_the_server_has_no_slot_idle_executors_make_one() {
    let mut world = World::new(limits(4, 4));
    let idle = world.get(&calls("a"), 1);
    world.back(1);
    assert!(world.ask(&calls("b"), 2).is_ok());
    let (id, _) = world.starting.pop_first().expect("an executor");
    world.machine.start_failed(id, StartFailed::NoSlot, world.now);
    world.listen();
    assert!(world.ended.contains(&idle) && world.failed.is_empty());
    let (id, _) = world.starting.pop_first().expect("another try");
    world.machine.start_failed(id, StartFailed::NoSlot, world.now);
    world.listen();
    assert_eq!(world.failed.get(&2), Some(&StartFailed::NoSlot));
}
