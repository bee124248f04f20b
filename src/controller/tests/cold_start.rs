//! C: everything at once, or only some, after a power cut.

use super::bench::{Bench, serves};
use super::settings::{MEMBER, node, service, settings};
use crate::controller::Event;

#[test]
fn c1_all_start_together() {
    let mut bench = Bench::new(settings(4));
    (0..4).for_each(|at| bench.start(at));
    let began = bench.now;
    bench.wait("everything at home", 3000, |bench| (0..4).all(|at| serves(bench, at, &[at])));
    assert!(bench.now >= began + MEMBER);
    let elected =
        (0..4).filter(|&at| bench.event(at, |event| matches!(event, Event::Elected { .. })).is_some());
    assert_eq!(elected.collect::<Vec<_>>(), [0], "the highest priority, once");
}

#[test]
fn c1_a_home_that_comes_in_time_gets_its_service_itself() {
    let mut bench = Bench::new(settings(3));
    bench.start(0);
    bench.start(1);
    bench.run(900);
    bench.start(2);
    bench.wait("the third service", 3000, |bench| !bench.holders(service(2)).is_empty());
    assert!(serves(&bench, 2, &[2]));
}

#[test]
fn c1_the_persisted_members_count_and_not_the_file_alone() {
    // {0, 1, 2} of four shrank to a cluster of three before the lights went out: two of them suffice,
    // though two are half of the file.
    let mut bench = Bench::formed(4);
    bench.kill(3);
    bench.wait("the removal", 1000, |bench| bench.members(0).len() == 3);
    bench.run(200);
    (0..3).for_each(|at| bench.kill(at));
    bench.start(1);
    bench.start(2);
    bench.wait("the two", 9000, |bench| serves(bench, 1, &[1]) && serves(bench, 2, &[2]));
    assert!(bench.members(1).contains(&node(2)));
}

#[test]
fn c2_a_minority_of_what_was_remembered_waits() {
    let mut bench = Bench::formed(3);
    (0..3).for_each(|at| bench.kill(at));
    bench.start(2);
    bench.always("nothing served", 6000, |bench| bench.machines[2].aliases.is_empty());
    bench.start(1);
    bench.wait("the two", 9000, |bench| serves(bench, 1, &[1]) && serves(bench, 2, &[2]));
}

#[test]
fn c1_the_state_that_was_committed_last_is_remembered() {
    let mut bench = Bench::formed(3);
    let freeze = crate::wire::Command::Standby { node: node(2) };
    assert_eq!(bench.command(0, freeze), Ok(()));
    bench.wait("standby", 3000, |bench| {
        bench.state(0).and_then(|state| state.member(node(2))).is_some_and(|member| member.standby)
            && bench.holder(0, service(2)) != Some(node(2))
    });
    bench.run(500);
    (0..3).for_each(|at| bench.kill(at));
    bench.run(100);
    (0..3).for_each(|at| bench.start(at));
    bench.wait("a cluster", 9000, |bench| bench.members(0).len() == 3);
    bench.run(4000);
    assert!(bench.state(0).expect("formed").member(node(2)).expect("a member").standby);
    assert!(bench.machines[2].aliases.is_empty(), "an operator had put it on standby");
}
