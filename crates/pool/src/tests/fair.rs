//! Who gets what when there is not enough for all.

use super::{MS, World, calls, limits, work};
use crate::{Blocked, COLD, PATIENCE, TURN};

#[test]
fn a_tenant_whose_calls_sleep_leaves_slots_to_others() {
    let mut world = World::new(limits(8, 8));
    let [slow, second, third] = ["slow", "second", "third"].map(calls);
    for who in 0..50 {
        assert!(world.ask(&slow, who).is_ok());
        world.start_all();
    }
    let has = world.given.len();
    assert_eq!(has, 4, "half, which is as many as are left");
    // None of them ever comes back.
    for round in 0..100 {
        world.get(&second, 1000 + round);
        world.get(&third, 2000 + round);
        world.back(1000 + round);
        world.back(2000 + round);
    }
    assert_eq!(world.given.len(), has);
    assert_eq!(world.started, 6, "one executor each for the others, which they keep");
}

#[test]
fn when_all_sleep_the_last_slots_are_for_who_has_none() {
    let mut world = World::new(limits(8, 8));
    let tenants: Vec<_> = (0..8).map(|number| calls(&format!("t{number}"))).collect();
    for (number, tenant) in tenants.iter().enumerate() {
        for call in 0..20 {
            assert!(world.ask(tenant, number as u32 * 100 + call).is_ok());
            world.start_all();
        }
        assert!(
            world.given.keys().any(|who| who / 100 == number as u32),
            "tenant {number} has nothing: {:?}",
            world.given
        );
        if world.machine.counts().1 == 8 {
            return;
        }
    }
    panic!("slots are left");
}

#[test]
fn idle_executors_of_others_end_by_least_recent_use() {
    let mut world = World::new(limits(3, 3));
    for (who, database) in ["a", "b", "c"].into_iter().enumerate() {
        world.get(&calls(database), who as u32);
        world.pass(MS);
    }
    let ids = world.given.clone();
    // a comes back last.
    for who in [1, 2, 0] {
        world.back(who);
        world.pass(MS);
    }
    world.get(&calls("d"), 3);
    assert_eq!(world.ended.iter().copied().collect::<Vec<_>>(), [ids[&1]]);
    world.get(&calls("e"), 4);
    assert!(world.ended.contains(&ids[&2]));
}

#[test]
fn who_only_wants_more_does_not_take_what_others_need_again_soon() {
    let mut world = World::new(limits(3, 3));
    world.get(&calls("a"), 1);
    world.get(&calls("b"), 2);
    world.get(&calls("c"), 3);
    world.back(2);
    world.back(3);
    let ticket = world.ask(&calls("a"), 4).expect("a place in the queue");
    assert!(world.starting.is_empty() && world.ended.is_empty());
    // Not blocked: it may have one when somebody's has been idle for long.
    assert_eq!(world.machine.why(ticket), None);
    world.pass(PATIENCE);
    world.machine.still_waits(ticket, world.now);
    world.listen();
    assert!(world.ended.is_empty());
    world.pass(COLD);
    world.machine.still_waits(ticket, world.now);
    world.listen();
    assert_eq!((world.ended.len(), world.starting.len()), (1, 1));
}

#[test]
fn slots_go_round_among_more_tenants_than_slots() {
    let mut world = World::new(limits(2, 2));
    let tenants: Vec<_> = (0..6).map(|number| calls(&format!("t{number}"))).collect();
    // Each always has a queue; who gets an executor keeps it for a turn.
    for (number, tenant) in tenants.iter().enumerate() {
        for call in 0..200 {
            assert!(world.ask(tenant, number as u32 * 1000 + call).is_ok());
        }
    }
    world.start_all();
    let mut served = [0; 6];
    let mut order = Vec::new();
    for _ in 0..1200 {
        world.pass(TURN / 5);
        for who in world.given.keys().copied().collect::<Vec<_>>() {
            let tenant = who as usize / 1000;
            served[tenant] += 1;
            if order.last() != Some(&tenant) {
                order.push(tenant);
            }
            world.back(who);
        }
        world.start_all();
        if served.iter().all(|served| *served >= 10) {
            break;
        }
    }
    let (least, most) = (served.iter().min().copied().unwrap(), served.iter().max().copied().unwrap());
    assert!(least >= 10 && most <= 3 * least, "{served:?}");
}

#[test]
fn of_two_executors_one_goes_at_once_to_who_has_none() {
    let mut world = World::new(limits(4, 4));
    world.get(&calls("a"), 1);
    world.get(&calls("a"), 2);
    world.get(&calls("b"), 3);
    world.get(&calls("c"), 4);
    // All are busy, with queues.
    for who in 5..9 {
        assert!(world.ask(&calls("a"), who).is_ok());
    }
    assert!(world.ask(&calls("d"), 10).is_ok());
    assert!(world.starting.is_empty());
    world.back(1);
    world.start_all();
    assert!(world.given.contains_key(&10), "d waits for no turn, for a has two");
}

#[test]
fn slots_are_levelled_among_who_wants_more() {
    let mut world = World::new(limits(12, 12));
    for who in 0..30 {
        assert!(world.ask(&calls("first"), who).is_ok());
        world.start_all();
    }
    for who in 100..130 {
        assert!(world.ask(&calls("second"), who).is_ok());
        world.start_all();
    }
    let has = |world: &World, from: u32| world.given.keys().filter(|who| **who >= from && **who < from + 100).count();
    assert!(has(&world, 0) > has(&world, 100));
    for _ in 0..20 {
        world.pass(TURN);
        let who = *world.given.keys().next().expect("calls");
        world.back(who);
        world.start_all();
    }
    assert!(has(&world, 0).abs_diff(has(&world, 100)) <= 1, "{:?}", world.given);
}

#[test]
fn calls_and_deployments_do_not_starve_each_other() {
    let mut world = World::new(limits(4, 4));
    for number in 0..4 {
        assert!(world.ask(&work(&format!("w{number}")), number).is_ok());
    }
    world.start_all();
    assert_eq!(world.given.len(), 2, "half are for calls");
    world.get(&calls("a"), 10);
    world.get(&calls("b"), 11);
    assert!(world.ask(&calls("a"), 12).is_ok());
    // a waits for the end of its own call: work keeps its share of the slots.
    world.back(0);
    world.start_all();
    assert!(world.given.contains_key(&2), "{:?}", world.given);
    // And calls that never end do not keep work out.
    world.back(1);
    world.start_all();
    assert!(world.given.contains_key(&3));
    assert!(!world.given.contains_key(&12));
}

#[test]
fn a_deployment_is_let_in_over_the_limit_of_its_database() {
    let mut world = World::new(limits(16, 1));
    world.get(&calls("a"), 1);
    let ticket = world.ask(&calls("a"), 2).expect("a place in the queue");
    assert!(world.starting.is_empty());
    assert_eq!(world.machine.why(ticket), Some(Blocked::Database));
    world.get(&work("a"), 3);
}

#[test]
fn within_a_lane_first_come_first_served() {
    let mut world = World::new(limits(16, 1));
    for who in 0..10 {
        assert!(world.ask(&calls("a"), who).is_ok());
    }
    world.start_all();
    for who in 0..10 {
        assert_eq!(world.given.keys().copied().collect::<Vec<_>>(), [who]);
        world.back(who);
    }
    assert_eq!(world.started, 1);
}

#[test]
fn what_a_deployment_left_idle_does_not_count_against_calls() {
    let mut world = World::new(limits(16, 2));
    let owner = world.get(&work("a"), 1);
    world.back(1);
    world.get(&calls("a"), 2);
    world.get(&calls("a"), 3);
    assert!(world.ended.contains(&owner));
    // And if it becomes idle only now:
    let owner = world.get(&work("a"), 4);
    world.back(2);
    world.get(&calls("a"), 2);
    let id = world.given.remove(&3).expect("an executor");
    world.machine.lost(id, world.now);
    world.listen();
    assert!(world.ask(&calls("a"), 5).is_ok());
    assert!(world.starting.is_empty());
    world.back(4);
    assert!(world.ended.contains(&owner));
    assert_eq!(world.starting.len(), 1);
}

#[test]
fn two_short_calls_at_once_end_nothing_of_others() {
    let mut world = World::new(limits(3, 3));
    world.get(&calls("a"), 1);
    world.get(&calls("a"), 2);
    world.get(&calls("b"), 3);
    world.back(1);
    world.back(2);
    // b has one and a has two, of which one has been idle for long.
    world.pass(COLD);
    let ticket = world.ask(&calls("b"), 4).expect("a place in the queue");
    assert!(world.ended.is_empty());
    world.pass(PATIENCE);
    world.machine.still_waits(ticket, world.now);
    world.listen();
    assert_eq!(world.ended.len(), 1, "they are not short");
}
