//! What is promised by one T counts until it is over, whatever T is in force meanwhile.

use super::bench::Bench;
use super::settings::{PROMISE, node};
use crate::config::Config;
use crate::controller::{Event, Input};
use crate::vocabulary::{Incarnation, Instant, Term};
use crate::wire::Packet;
use std::sync::Arc;
use std::time::Duration;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn formed_with(interval: Duration) -> Bench {
    let mut config: Config = (*Bench::formed(3).config).clone();
    config.cluster.hello_interval = interval;
    Bench::formed_of(config)
}

/// All read a file with another T.
fn retime(bench: &mut Bench, interval: Duration) {
    let mut config: Config = (*bench.config).clone();
    config.cluster.hello_interval = interval;
    let config = Arc::new(config);
    for at in 0..3 {
        bench.input(at, Input::Reload(Arc::clone(&config)));
    }
    bench.wait("the new T", 3000, |bench| (0..3).all(|at| bench.controller(at).timing.t == interval));
}

/// E5: by Lm of the T of 1 s before.
fn waits_after_a_restart_with_a_short_t(bench: &mut Bench) {
    bench.kill(2);
    let mut config: Config = (*bench.config).clone();
    config.cluster.hello_interval = ms(50);
    bench.config = Arc::new(config);
    bench.start(2);
    let wait = bench.controller(2).may_vote_at.since(bench.now);
    assert!(wait >= ms(1900), "{wait:?}");
}

fn root_end(bench: &Bench, at: usize) -> Instant {
    bench.controller(at).office.as_ref().expect("controller").root_end
}

#[test]
fn d2_nobody_is_late_by_a_t_that_is_new() {
    // Wherever in the old interval the change falls.
    for offset in 0..20 {
        let mut bench = formed_with(ms(1000));
        bench.run(50 * offset);
        bench.forget();
        retime(&mut bench, ms(50));
        bench.run(300);
        retime(&mut bench, ms(1000));
        bench.run(2500);
        for at in 0..3 {
            assert_eq!(bench.event(at, |event| matches!(event, Event::Suspected { .. })), None, "{offset}");
        }
    }
}

#[test]
fn e2_a_promise_lasts_as_long_as_the_candidate_s_t_wants_it() {
    let mut bench = Bench::formed(3);
    bench.run(200);
    bench.lose(|_, _| true);
    bench.run(400);
    let round = bench.controller(1).voted.round.max(bench.controller(1).promise.term.round) + 5;
    let term = Term { round, author: node(2), life: Incarnation(1) };
    let wish = |promise_us| Packet::Suspect {
        suspect: node(0),
        incarnation: Incarnation(1),
        candidacy: Some((term, promise_us)),
        nonce: 5,
    };
    let header = bench.header(2);
    bench.inject_with(1, header.clone(), wish(1_575_000));
    bench.wait("a vote", 400, |bench| bench.controller(1).voted == term);
    let promised = bench.controller(1).promise.until;
    assert!(promised > bench.now + ms(1000), "{promised:?} at {:?}", bench.now);
    // Asked again, for less: what was promised stays promised. For ever is not to be had.
    bench.inject_with(1, header.clone(), wish(1_000));
    assert_eq!(bench.controller(1).promise.until, promised);
    bench.inject_with(1, header, wish(u32::MAX));
    assert!(bench.controller(1).promise.until <= bench.now + Duration::from_secs(20));
}

#[test]
fn l3_a_root_counts_the_shorter_t_until_no_promise_by_it_is_left() {
    let mut bench = Bench::formed(3);
    bench.run(500);
    retime(&mut bench, ms(1000));
    let begun = bench.now;
    while bench.now < begun + PROMISE {
        assert!(root_end(&bench, 0) <= bench.now + PROMISE, "at {:?}", bench.now.since(begun));
        bench.run(5);
    }
    bench.wait("a root by the new T", 8000, |bench| root_end(bench, 0) > bench.now + ms(1000));
}

#[test]
fn e4_who_wins_waits_for_leases_by_a_longer_t() {
    let mut bench = formed_with(ms(1000));
    bench.run(1500);
    retime(&mut bench, ms(50));
    bench.isolate(0);
    bench.wait("a new controller", 8000, |bench| (1..3).any(|at| bench.controller(at).office.is_some()));
    let office = (1..3).find_map(|at| bench.controller(at).office.as_ref()).expect("waited for");
    // X = 3/8 T of the T before.
    assert!(office.not_before >= office.won_at + ms(375), "{:?}", office.not_before.since(office.won_at));
}

#[test]
fn e5_a_restarted_node_waits_as_long_as_it_may_have_promised() {
    let mut bench = formed_with(ms(1000));
    bench.run(1500);
    waits_after_a_restart_with_a_short_t(&mut bench);
}

#[test]
fn e5_a_longer_t_is_on_the_disk() {
    let mut bench = formed_with(ms(50));
    bench.run(500);
    retime(&mut bench, ms(1000));
    bench.run(100);
    waits_after_a_restart_with_a_short_t(&mut bench);
}

#[test]
fn the_longer_t_is_named_until_nothing_by_it_is_left() {
    let mut bench = formed_with(ms(400));
    bench.run(1000);
    retime(&mut bench, ms(100));
    let state = bench.state(0).expect("formed");
    assert_eq!((state.hello_interval, state.longest_interval), (ms(100), ms(400)));
    // Promises last by it meanwhile: who is elected again and again outlives the leases of the first.
    bench.wait("a beat", 200, |bench| bench.controller(1).promise.until > bench.now + ms(600));
    let changed = bench.now;
    bench.wait("the end", 3000, |bench| bench.state(1).is_some_and(|it| it.longest_interval == ms(100)));
    assert!(bench.now > changed + ms(780), "the longest lease");
    bench.run(1000);
    assert!(bench.controller(1).promise.until <= bench.now + PROMISE);
}

/// Roots count the shorter T's promises for a while: beats come as often as they ask for.
#[test]
fn a_longer_t_costs_nobody_a_lease() {
    for longer in [200, 400, 2_000] {
        let mut bench = formed_with(ms(100));
        bench.forget();
        retime(&mut bench, ms(longer));
        bench.run(6 * longer);
        let lost = |event: &Event| matches!(event, Event::LeaseLost | Event::QuorumLost);
        assert!((0..3).all(|at| bench.event(at, lost).is_none()), "T = {longer} ms");
    }
}
