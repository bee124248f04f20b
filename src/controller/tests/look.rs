//! F: look before you take.

use super::bench::{Bench, Worker, serves};
use super::settings::{P, T, node, service, settings};
use crate::config::OnConflict;
use crate::controller::{Event, Input, LocalFault, Planted, ServiceState};
use crate::vocabulary::{Instant, LinkRole};
use crate::wire::{Header, Packet};
use std::time::Duration;

const GRACE: Duration = Duration::from_millis(150);
const VALID_LFT: Duration = Duration::from_secs(2);

/// A cluster whose node 2 has just died, and the last moment at which node 0 heard it.
fn bereaved(on_conflict: OnConflict) -> (Bench, Instant) {
    let mut config = settings(3);
    config.cluster.on_conflict = on_conflict;
    config.cluster.failback_delay = Duration::from_secs(60);
    let mut bench = Bench::formed_of(config);
    bench.run(200);
    bench.kill(2);
    let heard = [0, 1].map(|at| bench.controller(at).heard(node(2)));
    (bench, heard[0].max(heard[1]))
}

fn probes(bench: &Bench, at: usize, index: usize) -> Vec<Instant> {
    let probes = bench.machines[at].probes.iter().filter(|(_, probed)| *probed == service(index));
    probes.map(|(when, _)| *when).collect()
}

#[test]
fn f1_nobody_takes_before_the_probes_are_out_and_unanswered() {
    let (mut bench, _) = bereaved(OnConflict::Wait);
    bench.wait("service 2 elsewhere", 800, |bench| !bench.holders(service(2)).is_empty());
    let taker = bench.holders(service(2))[0];
    let before: Vec<Instant> = probes(&bench, taker, 2);
    assert!(before.len() >= 8, "{} probes", before.len());
    assert!(before.windows(2).all(|pair| pair[1].since(pair[0]) == P / 2), "every p/2");
}

#[test]
fn f1_the_look_starts_with_the_suspicion() {
    let (mut bench, _) = bereaved(OnConflict::Wait);
    bench.wait("service 2 elsewhere", 800, |bench| !bench.holders(service(2)).is_empty());
    let taker = bench.holders(service(2))[0];
    let doubted = [0, 1].map(|at| {
        bench.event(at, |event| matches!(event, Event::Suspected { .. })).expect("both suspect it")
    });
    let first = probes(&bench, taker, 2)[0];
    assert!(first <= doubted[0].max(doubted[1]), "it costs no time of its own");
}

/// Equals stand back behind the controller; when it dies, behind its successor, which is not among the three that would have
/// got the service from the old one.
#[test]
fn f1_the_successor_of_a_dead_controller_looks_from_the_suspicion_on() {
    let mut bench = Bench::formed(8);
    bench.run(200);
    bench.kill(0);
    bench.wait("service 0 elsewhere", 800, |bench| !bench.holders(service(0)).is_empty());
    assert_eq!(bench.holders(service(0)), vec![1]);
    let doubted = bench.event(1, |event| matches!(event, Event::Suspected { .. })).expect("waited for");
    assert!(probes(&bench, 1, 0)[0] <= doubted, "it costs no time of its own");
}

#[test]
fn f1_one_answer_latches_until_the_old_kernel_must_have_dropped_the_address() {
    let (mut bench, heard) = bereaved(OnConflict::Wait);
    // One answer, or two: then silence.
    bench.wait("the first probe", 400, |bench| (0..2).any(|at| !probes(bench, at, 2).is_empty()));
    bench.answer_for(service(2), P);
    let end = heard + VALID_LFT + GRACE;
    let millis = end.since(bench.now).as_millis() as u64 - 1;
    bench.always("the latch", millis, |bench| bench.holders(service(2)).is_empty());
    bench.wait("service 2 elsewhere", 500, |bench| !bench.holders(service(2)).is_empty());
    assert!(bench.now >= end, "{:?} too early", end.since(bench.now));
    assert!(bench.now <= end + P * 10, "and {:?} late", bench.now.since(end));
}

#[test]
fn f1_then_sixteen_probes_in_a_row_must_be_unanswered() {
    let (mut bench, _) = bereaved(OnConflict::Wait);
    bench.answer_for(service(2), Duration::from_millis(3500));
    let silent_since = bench.now + Duration::from_millis(3500);
    bench.wait("service 2 elsewhere", 5000, |bench| !bench.holders(service(2)).is_empty());
    let taker = bench.holders(service(2))[0];
    let unanswered = probes(&bench, taker, 2).into_iter().filter(|at| *at >= silent_since).count();
    assert!((16..=18).contains(&unanswered), "{unanswered} probes");
}

#[test]
fn f2_a_stranger_who_goes_on_answering_is_never_forced_by_default() {
    let (mut bench, _) = bereaved(OnConflict::Wait);
    bench.answer_for(service(2), Duration::from_secs(3600));
    bench.always("the stranger's address", 20_000, |bench| bench.holders(service(2)).is_empty());
    let blocked =
        (0..2).filter(|&at| bench.event(at, |event| matches!(event, Event::Blocked { .. })).is_some());
    assert_eq!(blocked.count(), 1, "whom it was assigned to says so");
    let view = bench.controller(0).view(bench.now);
    let seen = view.services.iter().find(|seen| seen.id == service(2)).expect("of the table");
    assert_eq!(seen.state, ServiceState::Orphaned);
    assert!(serves(&bench, 0, &[0]) && serves(&bench, 1, &[1]));
}

#[test]
fn f2_on_conflict_force_takes_it_after_the_latch() {
    let (mut bench, heard) = bereaved(OnConflict::Force);
    bench.answer_for(service(2), Duration::from_secs(3600));
    bench.wait("service 2 elsewhere", 4000, |bench| !bench.holders(service(2)).is_empty());
    assert!(bench.now >= heard + VALID_LFT);
    let forced = |event: &Event| matches!(event, Event::Forced { mac: Some(_), .. });
    assert!((0..2).any(|at| bench.event(at, forced).is_some()), "loudly");
}

#[test]
fn a_rival_is_answered_at_most_every_ten_seconds() {
    let mut bench = Bench::formed(3);
    let claimed = || crate::controller::Input::Claimed { service: service(1), mac: [2, 0, 0, 0, 0, 7] };
    let first = bench.now;
    // (seconds after the first claim, announced until then)
    for (second, expected) in [(0, 1), (4, 1), (9, 1), (11, 2)] {
        bench.run_to(first + Duration::from_secs(second));
        bench.input(1, claimed());
        let events = bench.machines[1].events.iter();
        let rivals = events.filter(|(_, event)| matches!(event, Event::Rival { .. })).count();
        assert_eq!(rivals, expected, "{second} s");
    }
    assert!(serves(&bench, 1, &[1]), "RFC 5227 2.4: it defends, it does not yield");
}

#[test]
fn what_is_taken_is_announced_at_once_and_again_after_more_than_a_second() {
    let (mut bench, _) = bereaved(OnConflict::Wait);
    bench.wait("service 2 elsewhere", 800, |bench| !bench.holders(service(2)).is_empty());
    let taken = bench.now;
    let taker = bench.holders(service(2))[0];
    bench.run(6000);
    let told = bench.machines[taker].announced.iter().filter(|(_, told)| *told == service(2));
    let after: Vec<u128> = told.map(|(when, _)| when.since(taken).as_millis()).collect();
    assert_eq!(after, [0, 1100, 2200, 5000]);
}

/// Whoever lost this node in its sleep may have the address by now.
#[test]
fn d5_what_was_asked_before_a_pause_does_not_count() {
    let blocked = || {
        let (mut bench, _) = bereaved(OnConflict::Wait);
        bench.answer_for(service(2), Duration::from_millis(500));
        bench.run(1000);
        bench
    };
    let mut undisturbed = blocked();
    let taken = undisturbed.wait("the takeover", 3000, |bench| !bench.holders(service(2)).is_empty());
    let taker = undisturbed.holders(service(2))[0];
    for (by, later) in [(T / 2, false), (T * 2, true)] {
        let mut bench = blocked();
        bench.run_to(taken - Duration::from_millis(20));
        bench.input(taker, Input::Late { by });
        let late = bench.now;
        let then = bench.wait("the takeover", 800, |bench| !bench.holders(service(2)).is_empty());
        assert_eq!(then > taken, later, "{:?} after a pause of {by:?}", then.since(late));
        let asked = probes(&bench, taker, 2).into_iter().filter(|&probe| probe >= late).count();
        assert!(!later || asked >= 16, "{asked} probes");
    }
}

/// The switch is off for a moment: what was asked meanwhile went nowhere, whether its sends failed or not.
#[test]
fn f1_what_was_asked_while_the_external_link_was_down_does_not_count() {
    let (mut bench, _) = bereaved(OnConflict::Wait);
    bench.answer_for(service(2), Duration::from_secs(4));
    bench.run(3500);
    assert!(bench.holders(service(2)).is_empty(), "a stranger has it");
    let link = |up: bool| Input::Link { role: LinkRole::External, up };
    bench.strangers_fall_silent();
    (0..2).for_each(|at| bench.input(at, link(false)));
    bench.run(300);
    bench.answer_for(service(2), Duration::from_secs(1));
    (0..2).for_each(|at| bench.input(at, link(true)));
    bench.always("the stranger's", 1000, |bench| bench.holders(service(2)).is_empty());
    bench.wait("service 2", 3000, |bench| bench.holders(service(2)).len() == 1);
}

/// The next holder of service 2, whose faker stalls when it is asked to take it.
fn asked_to_take(on_conflict: OnConflict) -> (Bench, usize) {
    let (mut bench, _) = bereaved(on_conflict);
    for at in [0, 1] {
        bench.set_faker(at, Worker::Hangs);
    }
    let wants = |bench: &Bench, at: usize| bench.machines[at].order.services.contains(&service(2));
    bench.wait("the order to take it", 800, |bench| (0..2).any(|at| wants(bench, at)));
    let taker = (0..2).find(|&at| wants(&bench, at)).expect("waited for");
    (bench, taker)
}

#[test]
fn f1_an_answer_before_the_address_is_up_stops_the_take() {
    use {OnConflict::Force, OnConflict::Wait, Planted::LateAnswersIgnored};
    for (on_conflict, planted, taken) in
        [(Wait, None, false), (Wait, Some(LateAnswersIgnored), true), (Force, None, false)]
    {
        let (mut bench, taker) = asked_to_take(on_conflict);
        bench.plant(planted);
        bench.input(taker, Input::Claimed { service: service(2), mac: [2, 0, 0, 0, 0, 9] });
        bench.set_faker(taker, Worker::Works);
        assert_eq!(bench.holders(service(2)).contains(&taker), taken, "{on_conflict:?} {planted:?}");
        if !taken {
            bench.always("the latch", 1_500, |bench| bench.holders(service(2)).is_empty());
            bench.wait("service 2 elsewhere", 2_000, |bench| bench.holders(service(2)) == [taker]);
        }
    }
}

/// It answers before and after the latch, and while the take by force is under way.
#[test]
fn f2_a_take_by_force_is_stopped_by_no_answer() {
    let (mut bench, taker) = asked_to_take(OnConflict::Force);
    let claimed = Input::Claimed { service: service(2), mac: [2, 0, 0, 0, 0, 9] };
    bench.input(taker, claimed.clone());
    let wants = |bench: &Bench| bench.machines[taker].order.services.contains(&service(2));
    assert!(!wants(&bench));
    bench.answer_for(service(2), Duration::from_secs(60));
    bench.wait("the take by force", 4_000, wants);
    bench.input(taker, claimed);
    assert!(wants(&bench));
}

/// A faker that stalled sends what it was asked for at last, and a packet filter refuses it.
#[test]
fn f1_a_probe_that_could_not_leave_stops_the_take() {
    let (mut bench, taker) = asked_to_take(OnConflict::Wait);
    let refused = Input::SendFailed { role: LinkRole::External, fault: LocalFault::Refused };
    bench.input(taker, refused);
    assert!(!bench.machines[taker].order.services.contains(&service(2)));
    (0..2).for_each(|at| bench.set_faker(at, Worker::Works));
    bench.wait("service 2 elsewhere", 3_000, |bench| bench.holders(service(2)).len() == 1);
}

/// Two parts that went on alone met; the member of the weaker one was about to take what its controller gave it before they
/// did, and one of the stronger part looked at the same time. (Storm 3500195 with 64 nodes.)
#[test]
fn m1_who_hears_a_stronger_part_takes_nothing_any_more() {
    let (mut bench, taker) = asked_to_take(OnConflict::Wait);
    let header = bench.header(1 - taker);
    let mut epoch = header.epoch;
    epoch.term.round += 1;
    let stronger = Header { lineage: 77, epoch, ..header };
    let hears = |bench: &mut Bench| {
        bench.inject_with(taker, stronger.clone(), Packet::Beat { number: 1, members: 9, priority: 1 });
    };
    hears(&mut bench);
    assert!(!bench.machines[taker].order.services.contains(&service(2)), "it was not up yet");
    (0..2).for_each(|at| bench.set_faker(at, Worker::Works));
    for _ in 0..10 {
        bench.run(100);
        assert!(bench.holders(service(2)).is_empty(), "it is theirs");
        hears(&mut bench);
    }
    bench
        .wait("service 2 when nothing is heard of them", 3_000, |bench| bench.holders(service(2)) == [taker]);
}
