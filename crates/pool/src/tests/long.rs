//! Leases that last.

use super::{MS, World, calls, limits, work};

#[test]
fn a_long_lease_is_asked_back_for_who_waits_in_its_lane() {
    let mut world = World::new(limits(16, 2));
    let first = world.get(&calls("a"), 1);
    let second = world.get(&calls("a"), 2);
    for id in [first, second] {
        world.machine.lend_for_long(id, world.now);
        world.pass(MS);
    }
    world.machine.touched(first, world.now);
    assert!(world.asked_back.is_empty());
    assert!(world.ask(&calls("a"), 3).is_ok());
    world.listen();
    assert_eq!(world.asked_back, [second], "the one of least recent use");
    assert!(world.ask(&calls("a"), 4).is_ok());
    assert_eq!(world.asked_back, [second], "it serves both, one after the other");
    world.back(2);
    assert!(world.given.contains_key(&3));
}

#[test]
fn and_for_who_has_no_slot() {
    let mut world = World::new(limits(2, 2));
    for (who, database) in ["a", "b"].into_iter().enumerate() {
        let id = world.get(&calls(database), who as u32);
        world.machine.lend_for_long(id, world.now);
        world.pass(MS);
    }
    assert!(world.ask(&calls("c"), 5).is_ok());
    assert!(world.ask(&calls("c"), 6).is_ok());
    assert_eq!(world.asked_back.len(), 2);
    world.back(0);
    world.start_all();
    assert!(world.given.contains_key(&5), "the slot is c's");
}

#[test]
fn a_lease_that_becomes_long_while_somebody_waits_is_asked_back_at_once() {
    let mut world = World::new(limits(2, 1));
    let id = world.get(&calls("a"), 1);
    assert!(world.ask(&calls("a"), 2).is_ok());
    world.machine.lend_for_long(id, world.now);
    world.listen();
    assert_eq!(world.asked_back, [id]);
}

#[test]
fn it_is_left_alone_while_nobody_waits() {
    let mut world = World::new(limits(4, 4));
    let id = world.get(&calls("a"), 1);
    world.machine.lend_for_long(id, world.now);
    world.get(&calls("b"), 2);
    world.get(&work("a"), 3);
    world.back(2);
    world.tick();
    assert!(world.asked_back.is_empty());
}
