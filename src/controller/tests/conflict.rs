//! Rivals on the LAN, hands on the own machine, sends that fail: others' and own faults while serving.

use super::bench::{Bench, serves};
use super::settings::{T, service, settings};
use crate::config::Quorum;
use crate::controller::{Event, Input, LocalFault, Tampering, Why};
use crate::vocabulary::LinkRole;
use std::time::Duration;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

fn claimed(index: usize) -> Input {
    Input::Claimed { service: service(index), mac: MAC }
}

fn removed(index: usize) -> Input {
    Input::Tampered { service: service(index), how: Tampering::Removed }
}

fn stranger(bench: &Bench, at: usize, index: usize) -> Option<[u8; 6]> {
    let view = bench.controller(at).view(bench.now);
    view.services.iter().find(|seen| seen.id == service(index)).and_then(|seen| seen.stranger)
}

fn count(bench: &Bench, at: usize, wanted: impl Fn(&Event) -> bool) -> usize {
    bench.machines[at].events.iter().filter(|(_, event)| wanted(event)).count()
}

#[test]
fn a_rival_gets_one_announcement_in_ten_seconds_however_often_it_claims() {
    let mut bench = Bench::formed(3);
    bench.run(6000);
    bench.forget();
    let first = bench.now;
    for step in 0..19 {
        bench.run_to(first + Duration::from_millis(500) * step);
        bench.input(1, claimed(1));
    }
    let told: Vec<_> = bench.machines[1].announced.iter().map(|(when, _)| when.since(first)).collect();
    assert_eq!(told, [Duration::ZERO], "RFC 5227 2.4: at once, and one");
    bench.run_to(first + Duration::from_secs(10));
    bench.input(1, claimed(1));
    assert_eq!(bench.machines[1].announced.len(), 2);
}

#[test]
fn every_node_shows_the_rival_until_it_has_not_answered_for_long() {
    let mut bench = Bench::formed(3);
    bench.answer_for(service(1), Duration::from_secs(12));
    bench.input(1, claimed(1));
    assert_eq!(stranger(&bench, 1, 1), Some(MAC));
    bench.run(2500);
    assert!(stranger(&bench, 0, 1).is_some() && stranger(&bench, 2, 1).is_some(), "STATUS tells it");
    bench.always("the conflict", 20_000, |bench| stranger(bench, 1, 1).is_some());
    bench.wait("the end of the conflict", 12_000, |bench| stranger(bench, 1, 1).is_none());
    assert_eq!(count(&bench, 1, |event| *event == Event::RivalGone { service: service(1) }), 1);
    let back =
        bench.machines[1].announced.iter().any(|&(when, told)| when == bench.now && told == service(1));
    assert!(back, "whom the rival drew away comes back");
    bench.run(2500);
    assert_eq!(stranger(&bench, 0, 1), None);
    assert!(serves(&bench, 1, &[1]));
}

#[test]
fn who_does_not_hold_it_by_the_table_never_defends() {
    let mut bench = Bench::formed(3);
    bench.run(6000);
    bench.forget();
    bench.input(0, claimed(1));
    bench.input(2, claimed(1));
    bench.run(1000);
    for at in [0, 2] {
        assert!(bench.machines[at].announced.is_empty());
        assert_eq!(count(&bench, at, |event| matches!(event, Event::Rival { .. })), 0);
    }
}

#[test]
fn an_alias_that_others_take_is_put_back_five_times_and_then_given_up() {
    // A member, and the controller itself.
    for at in [1, 0] {
        let mut config = settings(3);
        config.cluster.forget = Duration::from_secs(20);
        let mut bench = Bench::formed_of(config);
        bench.run(6000);
        bench.forget();
        for times in 1..=5 {
            bench.input(at, removed(at));
            let told = count(&bench, at, |event| matches!(event, Event::Tampered { .. }));
            assert_eq!((told, bench.machines[at].announced.len()), (times, times));
            assert!(serves(&bench, at, &[at]));
        }
        bench.input(at, removed(at));
        let gave_up = Event::GaveUp { service: service(at), how: Tampering::Removed, times: 6 };
        assert_eq!(count(&bench, at, |event| *event == gave_up), 1);
        bench.wait("another holder", 1000, |bench| {
            bench.holders(service(at)).iter().any(|&other| other != at)
        });
        let why = |event: &Event| matches!(event, Event::Assigned { service: it, why: Why::Tampered, .. } if *it == service(at));
        assert!(bench.event(0, why).is_some(), "the controller says why");
        bench.always("a rest", 15_000, |bench| !bench.holders(service(at)).contains(&at));
        bench.wait("home after the rest", 15_000, |bench| serves(bench, at, &[at]));
    }
}

#[test]
fn a_network_manager_that_restarts_now_and_then_costs_nothing() {
    let mut bench = Bench::formed(3);
    for _ in 0..12 {
        bench.input(1, removed(1));
        bench.run(13_000);
    }
    assert_eq!(count(&bench, 1, |event| matches!(event, Event::GaveUp { .. })), 0);
    assert!(serves(&bench, 1, &[1]));
}

#[test]
fn what_goes_with_the_link_is_nobody_s_hand() {
    let mut bench = Bench::formed(3);
    bench.input(1, Input::Link { role: LinkRole::External, up: false });
    for _ in 0..8 {
        bench.input(1, removed(1));
    }
    assert_eq!(count(&bench, 1, |event| matches!(event, Event::Tampered { .. } | Event::GaveUp { .. })), 0);
}

#[test]
fn only_a_pause_in_which_others_may_have_taken_over_is_followed_by_announcements() {
    let mut bench = Bench::formed(3);
    bench.run(6000);
    bench.forget();
    bench.input(1, Input::Late { by: T / 2 });
    assert!(bench.machines[1].announced.is_empty());
    bench.input(1, Input::Late { by: T * 2 });
    assert_eq!(bench.machines[1].announced.len(), 1);
}

#[test]
fn who_cannot_send_takes_nobody_s_silence_for_death() {
    // Two nodes: nobody else could contradict the verdict. Three: the mute one is a plain member.
    for (nodes, mute) in [(2, 0), (2, 1), (3, 2)] {
        let mut config = settings(nodes);
        config.cluster.quorum = Quorum::None;
        let mut bench = Bench::formed_of(config);
        bench.lose(move |sent, _| sent.from == mute);
        for _ in 0..100 {
            for role in [LinkRole::Internal, LinkRole::External] {
                bench.input(mute, Input::SendFailed { role, fault: LocalFault::Refused });
            }
            bench.run(10);
        }
        assert_eq!(count(&bench, mute, |event| matches!(event, Event::Down { .. })), 0, "{nodes} nodes");
        let told = |event: &Event| {
            *event == Event::SendsFail { role: LinkRole::Internal, fault: LocalFault::Refused }
        };
        assert_eq!(count(&bench, mute, told), 1, "named once");
        let others = (0..nodes).filter(|&at| at != mute);
        assert!(others.clone().all(|at| !bench.holders(service(at)).contains(&mute)), "{nodes} nodes");
        assert!(others.clone().all(|at| bench.holders(service(at)) == [at]), "each keeps its own");
        bench.heal();
        bench.wait("peace", 20_000, Bench::is_settled);
        let works = |event: &Event| matches!(event, Event::SendsWork { .. });
        bench.wait("its sends work", 1_000, |bench| count(bench, mute, works) > 0);
    }
}

#[test]
fn a_report_of_the_faker_s_that_comes_after_the_lease_is_no_taking() {
    let mut bench = Bench::formed(3);
    bench.run(500);
    let until = bench.machines[1].order.until;
    bench.isolate(1);
    bench.run_to(until);
    bench.run(1);
    bench.forget();
    // The faker's word from before the pause.
    let answers = bench.controller(1).serving.answered;
    bench.input(1, Input::Present { answers, up: vec![], announced: vec![] });
    bench.input(1, Input::Present { answers, up: vec![service(1)], announced: vec![] });
    let said = |packet: &crate::wire::Packet| {
        use crate::wire::Packet::{FailbackOk, TakeOver};
        matches!(packet, TakeOver { .. } | FailbackOk { .. })
    };
    assert_eq!(bench.count(1, said), 0);
    assert!(bench.machines[1].announced.is_empty());
}
