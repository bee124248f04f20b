//! H: planned moves, step by step, and what happens if one of the three dies in the middle.

use super::bench::{Bench, Worker, serves};
use super::settings::{P, node, service, settings, with_scripts};
use crate::controller::{Event, Why};
use crate::vocabulary::Instant;
use crate::wire::{Command, Packet, Phase};
use std::time::Duration;

/// Service 1 is at node 1 (O), shall go to node 2 (N); node 0 is the controller. It has a server to start.
fn ready_to_move() -> Bench {
    let mut config = settings(3);
    with_scripts(&mut config, 1);
    let mut bench = Bench::formed_of(config);
    assert!(serves(&bench, 1, &[1]));
    // So that one step comes after the other.
    bench.delay = Duration::from_micros(200);
    bench
}

fn begin(bench: &mut Bench) {
    assert_eq!(bench.command(0, Command::Move { service: service(1), to: node(2) }), Ok(()));
}

fn reaches(bench: &mut Bench, phase: Phase) -> Instant {
    bench.wait("a phase", 1000, |bench| bench.phase(1, service(1)) == phase)
}

const PREPARE: fn() -> Phase = || Phase::Prepare { to: node(2) };
const HANDOVER: fn() -> Phase = || Phase::Handover { to: node(2) };

#[test]
fn h1_until_the_hand_over_the_old_holder_serves() {
    let mut bench = ready_to_move();
    bench.machines[2].scripts = Worker::Hangs;
    begin(&mut bench);
    reaches(&mut bench, PREPARE());
    bench.always("service 1 on node 1", 3000, |bench| serves(bench, 1, &[1]));
    assert_eq!(bench.machines[2].runs.len(), 1);
}

#[test]
fn h1_a_failed_start_leaves_everything_as_it_was() {
    let mut bench = ready_to_move();
    bench.machines[2].scripts = Worker::Fails;
    begin(&mut bench);
    let aborted = Event::MoveAborted { service: service(1), to: node(2), why: Why::StartFailed };
    bench.always("service 1 on node 1", 2000, |bench| serves(bench, 1, &[1]));
    assert!(bench.event(0, |event| *event == aborted).is_some());
    assert_eq!(bench.phases(0, service(1)), [PREPARE(), Phase::Held]);
}

#[test]
fn h2_the_old_holder_never_serves_beyond_two_probe_intervals() {
    let mut bench = ready_to_move();
    // It hears neither the new holder nor the controller.
    begin_deaf(&mut bench);
    let given = bench.packet(1, |packet| matches!(packet, Packet::FailBack { .. })).expect("H2").at;
    bench.wait("the old holder's end", 500, |bench| !bench.machines[1].aliases.contains(&service(1)));
    assert_eq!(bench.now, given + P * 2);
}

/// Node 1 begins to hand over and hears nobody from then on.
fn begin_deaf(bench: &mut Bench) {
    begin(bench);
    bench.wait("FAIL_BACK", 1000, |bench| {
        bench.packet(1, |packet| matches!(packet, Packet::FailBack { .. })).is_some()
    });
    bench.lose(|sent, to| to == 1 || matches!(sent.packet, Packet::FailBack { .. }));
}

#[test]
fn h2_fail_back_is_repeated_every_two_milliseconds() {
    let mut bench = ready_to_move();
    begin_deaf(&mut bench);
    bench.run(12);
    let told = bench.sent.iter().filter(|sent| matches!(sent.packet, Packet::FailBack { .. }));
    let told: Vec<Instant> = told.map(|sent| sent.at).collect();
    assert!(told.len() >= 6, "{} times", told.len());
    assert!(told.windows(2).all(|pair| pair[1].since(pair[0]) == Duration::from_millis(2)));
}

#[test]
fn h2_the_kernel_was_told_the_end_before_fail_back_was_sent() {
    let mut bench = ready_to_move();
    begin(&mut bench);
    bench.lose(|sent, _| matches!(sent.packet, Packet::FailBack { .. }));
    bench.wait("FAIL_BACK", 1000, |bench| {
        bench.packet(1, |packet| matches!(packet, Packet::FailBack { .. })).is_some()
    });
    assert_eq!(bench.machines[1].order.ending, [(service(1), bench.now + P * 2)]);
}

#[test]
fn h5_the_old_holder_dies_after_fail_back_and_the_new_one_has_it() {
    let mut bench = ready_to_move();
    begin(&mut bench);
    bench.wait("the new holder", 1000, |bench| bench.machines[2].aliases.contains(&service(1)));
    bench.kill(1);
    bench.always("service 1 on node 2", 2000, |bench| serves(bench, 2, &[1]));
    assert_eq!(bench.holder(0, service(1)), Some(node(2)));
}

#[test]
fn h5_the_old_holder_dies_while_the_new_one_prepares() {
    let mut bench = ready_to_move();
    bench.machines[2].scripts = Worker::Hangs;
    begin(&mut bench);
    reaches(&mut bench, PREPARE());
    bench.kill(1);
    bench.wait("service 1 on another", 1000, |bench| bench.holders(service(1)).iter().any(|&at| at != 1));
}

#[test]
fn h5_the_controller_dies_in_the_middle_and_the_next_one_goes_on() {
    for step in [PREPARE(), HANDOVER()] {
        let mut config = settings(4);
        with_scripts(&mut config, 1);
        // Among nodes 1 to 3: from 3 to 2, while 1 becomes controller.
        config.services[1].home = Some(node(3));
        let mut bench = Bench::formed_of(config);
        bench.machines[2].scripts = Worker::Hangs;
        if step == HANDOVER() {
            bench.machines[2].scripts = Worker::Works;
            bench.lose(|sent, _| matches!(sent.packet, Packet::FailBack { .. }));
        }
        begin(&mut bench);
        bench.wait("a phase", 1000, |bench| bench.phase(1, service(1)) == step);
        bench.kill(0);
        bench.heal();
        bench.machines[2].scripts = Worker::Works;
        let over = bench.wait("the end of the move", 9000, |bench| {
            bench.members(1).len() == 3
                && bench.phase(1, service(1)) == Phase::Held
                && bench.holders(service(1)).len() == 1
        });
        assert!(bench.holder(1, service(1)).is_some(), "{over:?}");
    }
}
