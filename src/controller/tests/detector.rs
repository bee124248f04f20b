//! D: what is found, by whom, and when.

use super::bench::{Bench, Sent};
use super::settings::{P, PATIENCE, T, node, settings};
use crate::controller::{Event, Input, Why};
use crate::vocabulary::{Incarnation, Instant, NodeId};
use crate::wire::Packet;
use std::time::Duration;

fn suspected(bench: &Bench, by: usize, whom: usize) -> Option<(Instant, Why)> {
    bench.machines[by].events.iter().find_map(|(when, event)| match event {
        Event::Suspected { node: suspect, why } if *suspect == node(whom) => Some((*when, *why)),
        _ => None,
    })
}

fn is_down(event: &Event) -> bool {
    matches!(event, Event::Down { .. })
}

#[test]
fn d1_left_neighbour_suspects_three_probe_intervals_after_an_unanswered_hello() {
    // 0 → 1 → 2 → 0: node 0 says HELLO to node 1, whose answers are lost.
    let mut bench = Bench::formed(3);
    bench.run(150);
    bench.forget();
    bench.cut(1, 0);
    bench.wait("a suspicion", 400, |bench| suspected(bench, 0, 1).is_some());
    let (when, why) = suspected(&bench, 0, 1).expect("waited for");
    assert_eq!(why, Why::HelloUnanswered);
    let hellos: Vec<Instant> = bench
        .sent
        .iter()
        .filter(|sent| sent.from == 0 && matches!(sent.packet, Packet::Hello { .. }))
        .map(|sent| sent.at)
        .collect();
    assert_eq!(hellos.len(), 3, "one HELLO and two resends");
    let first = hellos[0];
    assert_eq!(hellos, [first, first + P, first + P * 2]);
    assert_eq!(when, first + P * 3);
}

#[test]
fn d2_right_neighbour_suspects_after_t_and_grace_of_silence() {
    let mut bench = Bench::formed(3);
    bench.run(1000);
    let cut_at = bench.now;
    bench.cut(1, 2);
    bench.wait("a suspicion", 400, |bench| suspected(bench, 2, 1).is_some());
    let (when, why) = suspected(&bench, 2, 1).expect("waited for");
    assert_eq!(why, Why::HelloOverdue);
    let to_all_or_two = |sent: &&Sent| {
        sent.from == 1
            && sent.at <= cut_at
            && (sent.to == crate::controller::Destination::All
                || sent.to == crate::controller::Destination::Node(node(2)))
    };
    let heard = bench.sent.iter().filter(to_all_or_two).map(|sent| sent.at).max().expect("HELLO");
    assert_eq!(when, heard + PATIENCE);
}

#[test]
fn d2_being_put_on_watch_is_no_evidence_of_life() {
    // Node 2 says goodbye; node 3, who has not heard node 1 for long, watches it from then on.
    let mut bench = Bench::formed(4);
    bench.cut(1, 3);
    bench.run(500);
    bench.forget();
    bench.input(2, Input::Stop);
    bench.wait("the smaller ring", 3000, |bench| bench.members(3).len() == 3);
    let watched_since = bench.now;
    bench.wait("a suspicion", 400, |bench| suspected(bench, 3, 1).is_some());
    let (when, _) = suspected(&bench, 3, 1).expect("waited for");
    assert_eq!(when, watched_since + PATIENCE);
}

#[test]
fn d4_two_that_die_together_are_found_in_one_round() {
    let mut config = settings(5);
    config.cluster.failback_delay = Duration::from_secs(60);
    let mut bench = Bench::formed_of(config);
    bench.kill(2);
    bench.kill(3);
    let died = bench.now;
    bench.wait("both verdicts", 400, |bench| {
        [2, 3].iter().all(|&dead| {
            bench.event(0, |event| matches!(event, Event::Down { node: n, .. } if *n == node(dead))).is_some()
        })
    });
    assert!(bench.now.since(died) <= PATIENCE + P * 6, "found after {:?}", bench.now.since(died));
}

#[test]
fn d5_a_witness_clears_and_nobody_is_removed() {
    let mut bench = Bench::formed(3);
    bench.cut(1, 2);
    bench.wait("a suspicion", 400, |bench| suspected(bench, 2, 1).is_some());
    bench.wait("its end", 200, |bench| {
        let cleared = Event::Cleared { node: node(1), why: Why::Witness };
        bench.event(2, |event| *event == cleared).is_some()
    });
    assert!(bench.event(2, |event| matches!(event, Event::PathFault { .. })).is_some());
    bench.always("a cluster of three", 3000, |bench| {
        (0..3).all(|at| bench.members(at).len() == 3 && bench.event(at, is_down).is_none())
    });
}

#[test]
fn d5_only_a_receipt_after_the_suspicion_began_is_a_witness() {
    let age = |millis: u32| Some(millis * 1000);
    // (what node 0 says it heard of node 1 when node 2 suspects it since 20 ms, does it clear?)
    let table = [(None, false), (age(21), false), (age(300), false), (age(19), true), (age(0), true)];
    for (heard_us, clears) in table {
        let mut bench = Bench::formed(3);
        bench.cut(1, 2);
        bench.lose(|sent, to| to == 2 && matches!(sent.packet, Packet::RollCall { .. }));
        bench.wait("a suspicion", 400, |bench| suspected(bench, 2, 1).is_some());
        bench.run(20);
        let clearing = |event: &Event| matches!(event, Event::Cleared { node: n, .. } if *n == node(1));
        assert_eq!(bench.event(2, clearing), None);
        let told = Packet::RollCall { suspect: node(1), nonce: 1, heard_us, vote: None, newest: None };
        bench.inject(0, 2, told);
        let cleared = bench.event(2, clearing).is_some();
        assert_eq!(cleared, clears, "heard {heard_us:?} µs ago");
    }
}

#[test]
fn d5_a_late_thread_starts_its_timers_again() {
    let mut bench = Bench::formed(3);
    bench.cut(1, 2);
    let heard = bench.controller(2).heard(node(1));
    bench.run_to(heard + PATIENCE - Duration::from_millis(5));
    assert!(suspected(&bench, 2, 1).is_none());
    bench.input(2, Input::Late { by: Duration::from_millis(20) });
    let late = bench.now;
    bench.wait("a suspicion", 400, |bench| suspected(bench, 2, 1).is_some());
    assert_eq!(suspected(&bench, 2, 1).expect("waited for").0, late + PATIENCE);
}

#[test]
fn d5_a_late_thread_counts_its_probes_again() {
    let mut bench = Bench::formed(3);
    bench.kill(1);
    bench.wait("a suspicion", 400, |bench| suspected(bench, 0, 1).is_some());
    bench.run(30);
    bench.input(0, Input::Late { by: Duration::from_millis(20) });
    let late = bench.now;
    bench.wait("the verdict", 400, |bench| bench.event(0, is_down).is_some());
    assert!(bench.now >= late + P * 4, "after {:?}", bench.now.since(late));
}

#[test]
fn d6_the_verdict_takes_more_than_hello_misses_unanswered_probes() {
    for misses in [1_u32, 3, 5] {
        let mut config = settings(3);
        config.cluster.hello_misses = misses;
        let mut bench = Bench::formed_of(config);
        bench.forget();
        bench.kill(2);
        bench.wait("the verdict", 500, |bench| bench.event(0, is_down).is_some());
        let (began, _) = suspected(&bench, 0, 2).expect("before the verdict");
        assert_eq!(bench.now.since(began), P * (misses + 1), "{misses} misses");
        let probes = |sent: &&Sent| sent.from == 0 && matches!(sent.packet, Packet::IpCheck { .. });
        let asked = bench.sent.iter().filter(probes).count();
        assert!(asked as u32 > misses, "{asked} probes for {misses} misses");
        assert!(bench.packet(0, |packet| matches!(packet, Packet::FailDown { .. })).is_some());
    }
}

#[test]
fn d6_fail_down_of_another_life_counts_for_nothing() {
    let mut bench = Bench::formed(3);
    let old = Incarnation(bench.state(0).expect("formed").members[2].incarnation.0 + 1);
    bench.lose(|sent, _| sent.from == 2);
    bench.run(10);
    bench.inject(1, 0, Packet::FailDown { node: node(2), incarnation: old });
    assert!(suspected(&bench, 0, 2).is_none());
}

/// Half a cluster is cut off for good, and nobody may remove it. Each node has a verdict on dozens.
#[test]
fn d6_what_is_long_known_is_repeated_in_turns() {
    let mut bench = Bench::formed(9);
    (4..9).for_each(|at| bench.kill(at));
    bench.wait("every verdict", 3000, |bench| {
        bench.machines[0].events.iter().filter(|(_, event)| is_down(event)).count() == 5
    });
    // The quick rounds, and then some.
    bench.run(2000);
    bench.forget();
    // Two turns of two T each name all five.
    bench.run_to(bench.now + T * 4);
    let mut named: Vec<NodeId> = Vec::new();
    for sent in bench.sent.iter().filter(|sent| sent.from == 0) {
        named.extend(match sent.packet {
            Packet::FailDown { node, .. } => Some(node),
            _ => None,
        });
    }
    assert!((5..=7).contains(&named.len()), "{} FAIL_DOWN", named.len());
    named.sort();
    named.dedup();
    assert_eq!(named.len(), 5, "nobody is forgotten");
}

#[test]
fn d7_the_controller_needs_its_own_verdict_and_one_other() {
    let mut bench = Bench::formed(3);
    // Nobody tells the controller of a verdict.
    bench.lose(|sent, to| to == 0 && matches!(sent.packet, Packet::FailDown { .. }));
    bench.kill(2);
    bench.wait("its own verdict", 500, |bench| bench.event(0, is_down).is_some());
    bench.always("a cluster of three", 2000, |bench| bench.members(0).len() == 3);
    bench.heal();
    bench.wait("the removal", 500, |bench| bench.members(0).len() == 2);
}

#[test]
fn d7_the_verdict_of_another_alone_removes_nobody() {
    let mut bench = Bench::formed(3);
    let life = bench.state(0).expect("formed").members[2].incarnation;
    for _ in 0..40 {
        bench.inject(1, 0, Packet::FailDown { node: node(2), incarnation: life });
        bench.run(25);
    }
    assert_eq!(bench.members(0).len(), 3);
    assert!(bench.event(0, is_down).is_none());
}

#[test]
fn detection_of_one_node_and_of_the_controller_is_within_what_is_promised() {
    // protocol.md, what to expect: at worst 187 ms until somebody else serves; found well before.
    for victim in [0, 1, 2] {
        for phase in [0, 13, 26, 39, 52, 65, 78, 91] {
            let mut bench = Bench::formed(3);
            bench.run(phase);
            bench.kill(victim);
            let died = bench.now;
            let found = bench.wait("a verdict", 500, |bench| {
                (0..3).any(|at| at != victim && bench.event(at, is_down).is_some())
            });
            assert!(found.since(died) <= PATIENCE + P * 4, "{victim} at {phase}: {:?}", found.since(died));
            assert!(found.since(died) >= P * 4, "no verdict before the probes are out");
        }
    }
}
