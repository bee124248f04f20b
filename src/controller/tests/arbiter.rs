//! Q2: half or fewer, and the arbiter.

use super::bench::{Bench, serves};
use super::settings::{T, node, service, settings};
use crate::config::{Config, Quorum};
use crate::controller::{Event, Input, Planted};
use crate::vocabulary::Instant;
use std::net::Ipv4Addr;
use std::time::Duration;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 254);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 253);
/// The kernel's lifetime of an address and what goes before it: nobody without a majority takes sooner.
const STAY: Duration = Duration::from_millis(2000);

fn under(nodes: usize, quorum: Quorum) -> Config {
    let mut config = settings(nodes);
    config.cluster.quorum = quorum;
    config.cluster.arbiter = vec![GATEWAY];
    config
}

fn without(bench: &mut Bench, at: usize, arbiter: Ipv4Addr) {
    bench.without_arbiter.insert((at, arbiter));
}

fn silent(bench: &Bench, at: usize) -> bool {
    bench.machines[at].aliases.is_empty()
}

#[test]
fn q2_half_that_reaches_the_arbiter_goes_on_and_the_other_stops() {
    for quorum in [Quorum::Auto, Quorum::Arbiter] {
        for (with, cut_off) in [(0, 1), (1, 0)] {
            let mut bench = Bench::formed_of(under(2, quorum));
            bench.isolate(cut_off);
            without(&mut bench, cut_off, GATEWAY);
            let cut = bench.now;
            bench.wait("the end of service there", 400, |bench| silent(bench, cut_off));
            bench.wait("both services here", 4000, |bench| serves(bench, with, &[0, 1]));
            assert!(bench.now.since(cut) > STAY, "taken after {:?}", bench.now.since(cut));
            bench.always("silence there", 3000, |bench| silent(bench, cut_off));
            bench.without_arbiter.clear();
            bench.heal();
            bench.wait("each at home", 9000, |bench| bench.is_settled() && serves(bench, 1, &[1]));
        }
    }
}

#[test]
fn q2_the_half_with_the_arbiter_never_lets_its_own_service_go() {
    for quorum in [Quorum::Auto, Quorum::Arbiter] {
        for (with, dead) in [(0, 1), (1, 0)] {
            let mut bench = Bench::formed_of(under(2, quorum));
            bench.kill(dead);
            if with == 0 {
                // The controller's root goes over from the majority to the arbiter; another node is elected.
                bench.always("its own", 4000, |bench| bench.holders(service(0)) == [0]);
            } else {
                bench.wait("its own again", 1000, |bench| {
                    bench.state(1).is_some_and(|state| state.members.len() == 1)
                });
                bench.always("its own", 3000, |bench| bench.holders(service(1)) == [1]);
            }
            assert!(serves(&bench, with, &[0, 1]));
        }
    }
}

#[test]
fn q2_without_its_answer_half_stops_and_a_majority_only_under_arbiter() {
    // (nodes, who is cut off, rule, do the others serve without the arbiter?)
    let table = [
        (2, Quorum::Auto, false),
        (2, Quorum::Arbiter, false),
        (3, Quorum::Auto, true),
        (3, Quorum::Arbiter, false),
    ];
    for (nodes, quorum, serve) in table {
        let mut bench = Bench::formed_of(under(nodes, quorum));
        for at in 0..nodes {
            without(&mut bench, at, GATEWAY);
        }
        bench.isolate(nodes - 1);
        bench.run(6000);
        assert!(silent(&bench, nodes - 1));
        assert_eq!(!silent(&bench, 0), serve, "{nodes} nodes under {quorum:?}");
    }
}

#[test]
fn q2_any_of_several_arbiters_is_enough() {
    let mut config = under(2, Quorum::Auto);
    config.cluster.arbiter.push(OTHER);
    for dead in [GATEWAY, OTHER] {
        let mut bench = Bench::formed_of(config.clone());
        without(&mut bench, 0, dead);
        bench.kill(1);
        bench.always("its own", 1000, |bench| bench.holders(service(0)) == [0]);
        bench.wait("both", 4000, |bench| serves(bench, 0, &[0, 1]));
    }
}

#[test]
fn q2_an_answer_counts_from_the_sending_of_the_question() {
    let mut bench = Bench::formed_of(under(2, Quorum::Arbiter));
    // What is asked from now on is never answered; an answer to an older question has no time left.
    without(&mut bench, 0, GATEWAY);
    let asked = *bench.machines[0].asked.last().unwrap_or(&bench.now);
    bench
        .wait("the next question", 300, |bench| bench.machines[0].asked.last().is_some_and(|&at| at > asked));
    let oldest = *bench.machines[0].asked.iter().find(|&&at| at > asked).expect("waited for");
    bench.run_to(oldest + Duration::from_millis(20));
    bench.input(0, Input::ArbiterAnswered { arbiter: GATEWAY });
    let ends = bench.wait("the end of service", 400, |bench| silent(bench, 0));
    assert!(ends < oldest + T * 3 / 2, "served until {:?} after the question", ends.since(oldest));
    assert!(ends > oldest + T, "served for {:?} only", ends.since(oldest));
    // Nobody asked this one.
    bench.input(0, Input::ArbiterAnswered { arbiter: OTHER });
    bench.always("silence", 300, |bench| silent(bench, 0));
}

#[test]
fn q2_a_quiet_majority_asks_nobody() {
    let mut bench = Bench::formed_of(under(3, Quorum::Auto));
    bench.run(5000);
    assert!((0..3).all(|at| bench.machines[at].asked.is_empty()));
    // One of three dies: two are more than half, even if they come to suspect it.
    bench.kill(2);
    bench.run(3000);
    assert!((0..2).all(|at| bench.machines[at].asked.is_empty()));
    assert!(bench.holders(service(2)).len() == 1);
    // One of two is half.
    bench.kill(1);
    bench.wait("all on one", 4000, |bench| serves(bench, 0, &[0, 1, 2]));
    assert!(!bench.machines[0].asked.is_empty());
    // Alone in the state it is more than half again.
    bench.forget();
    bench.run(3000);
    assert!(bench.machines[0].asked.is_empty());
}

#[test]
fn q2_under_arbiter_the_controller_asks_once_a_t() {
    let mut bench = Bench::formed_of(under(3, Quorum::Arbiter));
    bench.run(5000);
    assert!((49..=52).contains(&bench.machines[0].asked.len()), "{}", bench.machines[0].asked.len());
    assert!((1..3).all(|at| bench.machines[at].asked.is_empty()));
}

#[test]
fn q2_an_arbiter_that_is_back_lets_the_cluster_serve_again() {
    for (nodes, quorum) in [(2, Quorum::Arbiter), (3, Quorum::Arbiter)] {
        let mut bench = Bench::formed_of(under(nodes, quorum));
        for at in 0..nodes {
            without(&mut bench, at, GATEWAY);
        }
        bench.wait("silence", 600, |bench| (0..nodes).all(|at| silent(bench, at)));
        bench.run(10_000);
        bench.without_arbiter.clear();
        bench.wait("everything at home", 6000, Bench::is_settled);
    }
}

#[test]
fn q2_a_short_silence_of_the_arbiter_costs_no_careful_look() {
    let mut bench = Bench::formed_of(under(3, Quorum::Arbiter));
    for at in 0..3 {
        without(&mut bench, at, GATEWAY);
    }
    bench.wait("silence", 600, |bench| (0..3).all(|at| silent(bench, at)));
    bench.without_arbiter.clear();
    bench.wait("everything at home", 600, Bench::is_settled);
}

/// Cut off from the arbiter it is cut off from whoever answers as well: nobody answered, and that says nothing.
#[test]
fn q2_what_was_looked_at_without_the_arbiter_does_not_count() {
    for (planted, taken) in [(None, false), (Some(Planted::LookCountsCutOff), true)] {
        let mut bench = Bench::formed_of(under(3, Quorum::Arbiter));
        bench.plant(planted);
        bench.isolate(0);
        without(&mut bench, 0, GATEWAY);
        bench.wait("the end of service there", 400, |bench| silent(bench, 0));
        bench.run(80);
        let asked = bench.machines[0].asked.len();
        bench.wait("the next question", 300, |bench| bench.machines[0].asked.len() > asked);
        bench.without_arbiter.clear();
        bench.answer_for(service(0), Duration::from_secs(4));
        bench.input(0, Input::ArbiterAnswered { arbiter: GATEWAY });
        bench.run(1000);
        assert_eq!(!silent(&bench, 0), taken, "{planted:?}");
    }
}

/// Two of three lost the third, and a moment later the arbiter: they lead on with an answer from that moment, the third with
/// one from after it.
#[test]
fn q2_an_answer_from_before_the_verdict_does_not_count_against_the_other_side() {
    let ever_twice = |planted| {
        (0..50).any(|cut_at| {
            let mut bench = Bench::formed_of(under(3, Quorum::Arbiter));
            bench.plant(planted);
            bench.run(200 + 2 * cut_at);
            bench.isolate(2);
            bench.run(30);
            without(&mut bench, 0, GATEWAY);
            without(&mut bench, 1, GATEWAY);
            (0..300).any(|_| {
                bench.run(1);
                (0..3).any(|number| bench.holders(service(number)).len() > 1)
            })
        })
    };
    assert!(ever_twice(Some(Planted::AnswerFromBeforeTheCut)));
    assert!(!ever_twice(None));
}

#[test]
fn q2_who_still_answers_is_never_taken_from() {
    // The daemons do not hear each other, but ARP goes through and both reach the gateway: orphaned, not taken.
    let mut bench = Bench::formed_of(under(2, Quorum::Auto));
    bench.lose(|_, _| true);
    bench.always("each its own", 10_000, |bench| {
        bench.holders(service(0)) == [0] && bench.holders(service(1)) == [1]
    });
    assert!(bench.event(0, |event| matches!(event, Event::Blocked { .. })).is_some());
    bench.heal();
    bench.wait("one cluster", 9000, Bench::is_settled);
}

#[test]
fn q2_a_goodbye_is_no_cut() {
    let mut bench = Bench::formed_of(under(2, Quorum::Auto));
    bench.input(1, Input::Stop);
    bench.wait("the goodbye", 3000, |bench| bench.machines[1].left.is_some());
    bench.wait("both services on one", 500, |bench| serves(bench, 0, &[0, 1]));
}

#[test]
fn m1_a_half_that_went_on_with_the_arbiter_and_one_that_stopped_come_together() {
    for quorum in [Quorum::Auto, Quorum::Arbiter] {
        for winner in [0, 1] {
            let mut bench = Bench::formed_of(under(2, quorum));
            let loser = 1 - winner;
            bench.isolate(loser);
            without(&mut bench, loser, GATEWAY);
            bench.wait("all on one", 5000, |bench| serves(bench, winner, &[0, 1]));
            bench.without_arbiter.clear();
            bench.forget();
            bench.heal();
            // Who served goes on serving until it hands over; nobody else has it before.
            bench.wait("one cluster", 9000, |bench| {
                assert!((0..2).all(|at| bench.holders(service(at)).len() <= 2));
                bench.is_settled()
            });
            let reborn = |at: usize| bench.event(at, |event| matches!(event, Event::Reborn { .. })).is_some();
            assert!(!reborn(winner), "{quorum:?}: node {winner} served all the time");
        }
    }
}

#[test]
fn c2_who_returns_in_number_waits_for_the_last_one_or_the_arbiter() {
    // Node 0 went on alone and died later; 1 and 2 remember all three, and are more than half of them.
    for (quorum, arbiter, serve) in [
        (Quorum::Majority, false, true),
        (Quorum::Auto, false, false),
        (Quorum::Auto, true, true),
        (Quorum::Arbiter, false, false),
        (Quorum::Arbiter, true, true),
    ] {
        let mut bench = Bench::formed_of(under(3, quorum));
        (0..3).for_each(|at| bench.kill(at));
        bench.run(1000);
        if !arbiter {
            [1, 2].iter().for_each(|&at| without(&mut bench, at, GATEWAY));
        }
        let began = bench.now;
        bench.start(1);
        bench.start(2);
        bench.run(8000);
        assert_eq!(serves(&bench, 1, &[1]), serve, "{quorum:?}, arbiter {arbiter}");
        if serve && quorum != Quorum::Majority {
            let first = bench.machines[1].states.first().map(|(when, _)| *when).expect("elected");
            assert!(first >= began + bench.config.cluster.startup_wait, "they wait for node 0");
            assert!(took(&bench, 1) >= first + STAY, "they look for long");
        }
        // The missing one is heard: everything goes on as always.
        bench.start(0);
        bench.wait("one cluster", 9000, Bench::is_settled);
        assert_eq!(bench.members(0), [node(0), node(1), node(2)]);
    }
}

fn took(bench: &Bench, at: usize) -> Instant {
    bench.event(at, |event| matches!(event, Event::Taken { .. })).expect("it took something")
}
