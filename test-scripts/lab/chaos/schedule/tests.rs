//! What every schedule keeps, over many seeds.

use super::*;
use crate::faults::{Class, VALID_LFT};
use std::collections::{BTreeSet, HashSet};

const LENGTH: Duration = Duration::from_secs(300);

fn overlap(one: &Planned, other: &Planned, room: Duration) -> bool {
    one.begin <= other.end + room && other.begin <= one.end + room
}

#[test]
fn a_seed_gives_one_schedule_and_another_seed_another() {
    assert_eq!(schedule(7, 5, LENGTH), schedule(7, 5, LENGTH));
    assert_ne!(schedule(7, 5, LENGTH), schedule(8, 5, LENGTH));
}

#[test]
fn a_longer_run_begins_as_the_shorter_one() {
    let (short, long) = (schedule(3, 5, LENGTH), schedule(3, 5, LENGTH * 2));
    assert!(long.len() > short.len());
    assert_eq!(long[..short.len()], short);
}

#[test]
fn no_kernel_answers_for_a_dead_daemon_where_nobody_can_hear_it() {
    for seed in 0..200 {
        let planned = schedule(seed, 5, LENGTH);
        for stopped in planned.iter().filter(|planned| planned.fault.leaves_a_kernel()) {
            for blind in planned.iter().filter(|planned| planned.fault.blinds_the_look()) {
                assert!(!overlap(stopped, blind, VALID_LFT), "seed {seed}: {stopped:?}, {blind:?}");
            }
        }
    }
}

#[test]
fn a_majority_is_left_alone_at_any_moment() {
    for nodes in 3..=8 {
        for seed in 0..100 {
            let planned = schedule(seed, nodes, LENGTH);
            for one in planned.iter().filter(|planned| planned.fault.disables()) {
                // All that are disabled at its beginning.
                let at_once = planned.iter().filter(|other| {
                    other.fault.disables() && other.begin <= one.begin && one.begin <= other.end + RECOVERY
                });
                assert!(at_once.count() <= (nodes - 1) / 2, "{nodes} servers, seed {seed}, {one:?}");
            }
        }
    }
}

#[test]
fn one_fault_a_server_at_a_time() {
    for seed in 0..100 {
        let planned = schedule(seed, 5, LENGTH);
        for (index, one) in planned.iter().enumerate() {
            for other in &planned[index + 1..] {
                let same = touched(&one.fault).iter().any(|node| touched(&other.fault).contains(node));
                assert!(!(same && overlap(one, other, RECOVERY)), "seed {seed}: {one:?}, {other:?}");
            }
        }
    }
}

#[test]
fn every_kind_of_fault_comes_up_and_ends_in_time() {
    let (mut classes, mut kinds) = (BTreeSet::new(), HashSet::new());
    for seed in 0..50 {
        for planned in schedule(seed, 5, LENGTH) {
            assert!(planned.begin <= planned.end && planned.end <= LENGTH, "seed {seed}: {planned:?}");
            classes.insert(planned.fault.class());
            kinds.insert(std::mem::discriminant(&planned.fault));
        }
    }
    assert_eq!(classes.len(), Class::ALL.len() - 1, "all but Nothing: {classes:?}");
    assert_eq!(kinds.len(), 17);
}

#[test]
fn even_the_shortest_run_has_an_act() {
    assert!(!schedule(1, 3, Duration::from_secs(1)).is_empty());
}
