//! C: everything at once, or only some, after a power cut.

use super::bench::{Bench, serves};
use super::settings::{MEMBER, node, service, settings};
use crate::config::Quorum;
use crate::controller::Event;
use std::time::Duration;

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
fn c1_own_services_first_those_of_others_after_startup_wait() {
    let mut bench = Bench::new(settings(3));
    bench.start(0);
    bench.start(1);
    let began = bench.now;
    let wait = bench.config.cluster.startup_wait;
    bench.wait("their own", 1800, |bench| serves(bench, 0, &[0]) && serves(bench, 1, &[1]));
    assert!(bench.now < began + wait);
    bench.wait("the third service", 3000, |bench| !bench.holders(service(2)).is_empty());
    assert!(bench.now >= began + wait, "only after {:?}", bench.now.since(began));
    assert!(bench.now <= began + wait + Duration::from_millis(400), "after {:?}", bench.now.since(began));
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
fn c1_less_than_a_majority_of_the_file_founds_nothing() {
    // (how many of three start, quorum, do they serve in the end?)
    for (count, quorum, serve) in [
        (1, Quorum::Majority, false),
        (2, Quorum::Majority, true),
        (1, Quorum::None, true),
        (1, Quorum::Auto, true),
    ] {
        let mut config = settings(3);
        config.cluster.quorum = quorum;
        let mut bench = Bench::new(config);
        (0..count).for_each(|at| bench.start(at));
        bench.run(6000);
        assert_eq!(serves(&bench, 0, &[0]), serve, "{count} of three under {quorum:?}");
    }
}

#[test]
fn c1_one_alone_that_may_serve_waits_startup_wait_first() {
    let mut config = settings(2);
    config.cluster.quorum = Quorum::None;
    let mut bench = Bench::new(config);
    bench.start(1);
    let began = bench.now;
    bench.wait("both services", 6000, |bench| serves(bench, 1, &[0, 1]));
    assert!(bench.now >= began + bench.config.cluster.startup_wait);
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

/// It would found, if only it heard anybody; its own word keeps those below it waiting.
#[test]
fn c1_a_deaf_node_of_higher_priority_is_not_waited_for_without_end() {
    let mut bench = Bench::new(settings(3));
    bench.cut(1, 0);
    bench.cut(2, 0);
    (0..3).for_each(|at| bench.start(at));
    let began = bench.now;
    bench.wait("a cluster of two", 8000, |bench| serves(bench, 1, &[1]) && serves(bench, 2, &[2]));
    assert!(bench.now > began + bench.config.cluster.startup_wait);
}
