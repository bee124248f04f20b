//! L: promises, grants, and what a lost lease takes away.

use super::bench::{Bench, Sent, serves};
use super::settings::{MARGIN, MEMBER, P, PROMISE, T, X, node, service};
use crate::controller::{Destination, Effect, Event, Input};
use crate::vocabulary::{Epoch, Incarnation, Instant, Term};
use crate::wire::{Packet, Report};
use std::time::Duration;

/// What would ask node `to` for its vote, by node `from`, in a round far ahead.
fn candidacy(bench: &Bench, from: usize, ahead: u32) -> Packet {
    let round = bench.state(0).expect("formed").epoch.term.round + ahead;
    let term = Term { round, author: node(from), life: Incarnation(1) };
    Packet::Suspect {
        suspect: node(0),
        incarnation: Incarnation(1),
        candidacy: Some((term, 157_500)),
        nonce: 77,
    }
}

fn vote(sent: &Sent) -> bool {
    matches!(sent.packet, Packet::RollCall { vote: Some(_), .. })
}

/// (sending of the request, remaining) of every grant that node 0 sent to `member`.
fn grants(bench: &Bench, member: usize) -> Vec<(Instant, Duration)> {
    let requests: Vec<(u64, Instant)> = bench
        .sent
        .iter()
        .filter(|sent| sent.from == member)
        .filter_map(|sent| match sent.packet {
            Packet::BeatAck { nonce, .. } => Some((nonce, sent.at)),
            _ => None,
        })
        .collect();
    let granted =
        bench.sent.iter().filter(|sent| sent.from == 0 && sent.to == Destination::Node(node(member)));
    granted
        .filter_map(|sent| match sent.packet {
            Packet::Grant { nonce, remaining_us } => {
                let (_, asked) = requests.iter().find(|(asked, _)| *asked == nonce)?;
                Some((*asked, Duration::from_micros(u64::from(remaining_us))))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn l1_beats_come_every_t_and_again_every_p_until_a_majority_acknowledged() {
    let mut bench = Bench::formed(3);
    let is_beat = |packet: &Packet| matches!(packet, Packet::Beat { .. });
    bench.run(1000);
    assert_eq!(bench.count(0, is_beat), 10, "no beat is repeated that was acknowledged");
    bench.forget();
    bench.lose(|sent, to| to == 0 && matches!(sent.packet, Packet::BeatAck { .. }));
    bench.wait("a beat", 200, |bench| bench.count(0, is_beat) == 1);
    bench.run(90);
    assert!(bench.count(0, is_beat) >= 7, "{} beats", bench.count(0, is_beat));
}

/// Least time between a member's renewed lease and its end, less m, in a second.
fn least_left(bench: &mut Bench, member: usize) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..1000 {
        bench.run(1);
        least = least.min(bench.controller(member).view(bench.now).lease.expect("it holds one"));
    }
    least
}

#[test]
fn l8_where_margins_take_much_of_a_lease_beats_come_every_half_t() {
    let is_beat = |packet: &Packet| matches!(packet, Packet::Beat { .. });
    for late in [&[0][..], &[1], &[0, 1]] {
        let mut bench = Bench::formed(3);
        // Its last report is told with the next request.
        for &at in late {
            bench.input(at, Input::Lateness(T / 6));
        }
        bench.run(250);
        bench.forget();
        let left = least_left(&mut bench, 1);
        assert!(left > T * 2 / 3, "{left:?} left with {late:?} late");
        assert_eq!(bench.count(0, is_beat), 20, "with {late:?} late");
        for &at in late {
            bench.input(at, Input::Lateness(Duration::from_millis(1)));
        }
        bench.run(250);
        bench.forget();
        bench.run(1000);
        assert_eq!(bench.count(0, is_beat), 10, "it is over");
        // Who was late and has left slows nobody down.
        bench.input(2, Input::Lateness(T / 6));
        bench.run(250);
        bench.input(2, Input::Stop);
        bench.wait("it leaves", 5000, |bench| bench.members(0).len() == 2);
        bench.run(250);
        bench.forget();
        bench.run(1000);
        assert_eq!(bench.count(0, is_beat), 10, "it has left");
        assert!(bench.event(0, |event| matches!(event, Event::Suspected { .. })).is_none());
    }
}

#[test]
fn l2_a_promise_refuses_every_other_candidate_until_it_lapses() {
    let mut bench = Bench::formed(3);
    bench.wait("a beat", 200, |bench| {
        bench.packet(0, |packet| matches!(packet, Packet::Beat { .. })).is_some()
    });
    bench.run(0);
    // Nobody else gets in the way of this one candidacy.
    bench.lose(|sent, to| to == 1 || !matches!(sent.packet, Packet::RollCall { .. }));
    let promised = bench.controller(1).promise.until;
    assert_eq!(promised, bench.now + PROMISE);
    let ask = candidacy(&bench, 2, 1);
    let header = bench.header(2);
    let mut until = bench.now;
    while until + Duration::from_millis(10) < promised {
        bench.inject_with(1, header.clone(), ask.clone());
        bench.run(10);
        assert!(!bench.sent.iter().any(|sent| sent.from == 1 && vote(sent)), "voted under a promise");
        until = bench.now;
    }
    bench.inject_with(1, header, ask);
    bench.run(20);
    let voted = bench.sent.iter().find(|sent| sent.from == 1 && vote(sent)).expect("free to vote");
    assert_eq!(voted.at, promised, "the vote that waits is given when the promise lapses");
}

#[test]
fn l2_a_beat_of_an_older_term_is_refused() {
    let mut bench = Bench::formed(3);
    let mut header = bench.header(2);
    let beat = Packet::Beat { number: 5, members: 3, priority: 9 };
    let round = header.epoch.term.round - 1;
    header.epoch = Epoch { term: Term { round, author: node(2), ..header.epoch.term }, version: 99 };
    let before = bench.controller(1).promise.until;
    bench.inject_with(1, header, beat);
    assert_eq!(bench.controller(1).promise.until, before);
    let refusal = bench.packet(1, |packet| matches!(packet, Packet::Nack { known: None, .. }));
    assert_eq!(refusal.expect("NACK").to, Destination::Node(node(2)));
}

#[test]
fn l3_the_root_counts_from_the_sending_of_the_beat_that_a_majority_acknowledged() {
    let mut bench = Bench::formed(3);
    bench.delay = Duration::from_millis(3);
    bench.run(500);
    let root_end = bench.controller(0).office.as_ref().expect("controller").root_end;
    let beats = bench.sent.iter().filter(|sent| matches!(sent.packet, Packet::Beat { .. }));
    let sent: Vec<Instant> = beats.map(|sent| sent.at + PROMISE - MARGIN).collect();
    assert!(sent.contains(&root_end), "root_end − Lr is the sending of a beat");
    assert!(root_end > bench.now);
    // Without acknowledgements it ends, and so do the controller's own services.
    bench.lose(|_, to| to == 0);
    bench.wait("the end of the own service", 400, |bench| bench.holders(service(0)).is_empty());
    assert!(bench.now <= root_end + T + P, "no later than one more beat's worth");
    let office = bench.controller(0).office.as_ref().expect("still in office");
    assert_eq!(bench.now, office.root_end);
}

#[test]
fn l4_no_grant_for_a_beat_that_has_not_renewed_the_root() {
    let mut bench = Bench::formed(4);
    bench.run(300);
    bench.forget();
    // Node 1 alone acknowledges: two of four are no majority.
    bench.lose(|sent, to| to == 0 && sent.from != 1);
    bench.run(120);
    assert!(bench.count(1, |packet| matches!(packet, Packet::BeatAck { .. })) >= 1);
    assert_eq!(grants(&bench, 1), []);
}

#[test]
fn l4_no_grant_to_a_member_whose_services_are_being_given_away() {
    let mut bench = Bench::formed(3);
    let header = bench.header(2);
    let request = |nonce: u64| Packet::Forward {
        origin: node(2),
        incarnation: header.incarnation,
        epoch: header.epoch,
        to: node(0),
        packet: Box::new(Packet::BeatAck {
            number: 0,
            nonce,
            report: Report { external_ok: true, ..Report::default() },
        }),
    };
    let granted = |bench: &Bench, wanted: u64| {
        bench.packet(0, |packet| matches!(packet, Packet::Grant { nonce, .. } if *nonce == wanted)).is_some()
    };
    bench.inject(1, 0, request(1001));
    assert!(granted(&bench, 1001), "asked through a neighbour, it gets one");
    bench.kill(2);
    bench.wait("a proposal", 500, |bench| {
        bench.packet(0, |packet| matches!(packet, Packet::State { committed: false, .. })).is_some()
    });
    bench.inject(1, 0, request(1002));
    bench.run(5);
    assert!(!granted(&bench, 1002), "its services are on their way to somebody else");
}

#[test]
fn l5_a_lease_counts_from_the_own_sending_of_its_request() {
    let mut bench = Bench::formed(3);
    bench.delay = Duration::from_millis(6);
    bench.run(700);
    let ends: Vec<Instant> =
        grants(&bench, 1).iter().map(|(asked, left)| *asked + (*left).min(MEMBER)).collect();
    let lease = bench.controller(1).lease.end;
    assert!(ends.contains(&lease), "the end of the lease is the sending of a request and what was granted");
    assert!(lease + T > *ends.iter().max().expect("grants"));
    // With 6 ms each way the grant itself came 12 ms after that sending.
    let until = bench.controller(1).view(bench.now).lease.expect("it holds one");
    assert_eq!(bench.now + until, lease - MARGIN);
}

#[test]
fn l5_no_lease_is_longer_than_lm() {
    let mut bench = Bench::formed(3);
    bench.lose(|sent, to| to == 1 && matches!(sent.packet, Packet::Grant { .. }));
    bench.run(50);
    bench.forget();
    bench.wait("a request", 200, |bench| {
        bench.packet(1, |packet| matches!(packet, Packet::BeatAck { .. })).is_some()
    });
    let asked =
        bench.packet(1, |packet| matches!(packet, Packet::BeatAck { .. })).expect("waited for").clone();
    let Packet::BeatAck { nonce, .. } = asked.packet else { unreachable!("a BEAT_ACK") };
    bench.inject(0, 1, Packet::Grant { nonce, remaining_us: 60_000_000 });
    assert_eq!(bench.controller(1).lease.end, asked.at + MEMBER);
}

#[test]
fn l5_a_grant_that_was_not_asked_for_counts_for_nothing() {
    let mut bench = Bench::formed(3);
    let before = bench.controller(1).lease.end;
    bench.inject(0, 1, Packet::Grant { nonce: 4711, remaining_us: 190_000 });
    assert_eq!(bench.controller(1).lease.end, before);
}

#[test]
fn l5_a_cut_path_to_the_controller_is_bridged_by_the_neighbours() {
    let mut bench = Bench::formed(3);
    bench.cut(0, 1);
    bench.cut(1, 0);
    bench.always("service 1 on node 1", 3000, |bench| serves(bench, 1, &[1]));
    assert!(bench.count(2, |packet| matches!(packet, Packet::Forward { .. })) > 0);
}

#[test]
fn l6_without_renewal_the_aliases_go_a_margin_before_the_end_of_the_lease() {
    let mut bench = Bench::formed(3);
    bench.run(130);
    bench.isolate(1);
    let end = bench.controller(1).lease.end;
    bench.wait("the alias to go", 400, |bench| bench.holders(service(1)).is_empty());
    assert_eq!(bench.now, end - MARGIN);
}

#[test]
fn l6_the_aliases_go_before_anything_else_is_done() {
    let mut bench = Bench::formed(3);
    bench.isolate(1);
    let end = bench.controller(1).lease.end;
    bench.run_to(end - MARGIN - Duration::from_nanos(1));
    assert_eq!(bench.holders(service(1)), [1]);
    let controller = bench.machines[1].controller.as_mut().expect("it runs");
    controller.handle_timeout(end - MARGIN);
    let effects: Vec<Effect> = std::iter::from_fn(|| controller.next_effect()).collect();
    let first = effects.iter().find(|effect| !matches!(effect, Effect::Event(_)));
    let Some(Effect::Serve(wanted)) = first else { panic!("first of all: {first:?}") };
    assert!(wanted.services.is_empty());
    assert!(effects.contains(&Effect::Event(Event::LeaseLost)));
}

#[test]
fn l6_the_wanted_set_ends_with_the_lease_even_if_this_thread_sleeps() {
    let mut bench = Bench::formed(3);
    bench.run(250);
    let order = &bench.machines[1].order;
    assert_eq!(order.services, [service(1)]);
    assert_eq!(order.until, bench.controller(1).lease.end - MARGIN);
    assert!(order.until <= bench.now + MEMBER);
}

#[test]
fn l7_a_member_with_an_older_epoch_gets_the_state_and_no_grant() {
    let mut bench = Bench::formed(3);
    bench.run(200);
    // (how many versions behind, gets STATE, gets a grant)
    for (behind, state, grant) in [(1, true, false), (0, false, true)] {
        bench.forget();
        let mut header = bench.header(1);
        header.epoch.version -= behind;
        let report = Report { external_ok: true, ..Report::default() };
        bench.inject_with(0, header, Packet::BeatAck { number: 0, nonce: 88, report });
        let told = |wanted: fn(&Packet) -> bool| {
            bench
                .sent
                .iter()
                .any(|sent| sent.from == 0 && sent.to == Destination::Node(node(1)) && wanted(&sent.packet))
        };
        assert_eq!(told(|p| matches!(p, Packet::State { committed: true, .. })), state, "{behind} behind");
        assert_eq!(told(|p| matches!(p, Packet::Grant { nonce: 88, .. })), grant, "{behind} behind");
    }
}

#[test]
fn l7_a_lost_lease_comes_back_only_with_the_committed_state() {
    let mut bench = Bench::formed(3);
    bench.isolate(1);
    bench.wait("the removal", 800, |bench| bench.members(0).len() == 2);
    bench.forget();
    bench.heal();
    let taken = bench.wait("service 1 to come home", 8000, |bench| bench.holders(service(1)) == [1]);
    let adopted = bench.machines[1].states.first().expect("it adopted a state").0;
    assert!(adopted <= taken);
    assert_eq!(grants(&bench, 1).iter().filter(|(asked, _)| *asked < adopted).count(), 0);
}

#[test]
fn the_times_are_those_of_the_protocol() {
    let bench = Bench::formed(3);
    let timing = bench.controller(1).timing;
    assert_eq!((timing.t, timing.p, timing.x), (T, P, X));
    assert_eq!((timing.promise, timing.member), (PROMISE, MEMBER));
    assert_eq!(timing.margin(Duration::ZERO), MARGIN);
    assert_eq!(timing.margin(Duration::from_millis(4)), Duration::from_micros(8_195));
    assert_eq!(timing.root(Duration::ZERO), PROMISE - MARGIN);
}

/// Lp is 1.29 T there: a margin that T/8 bears ends every root before the next beat.
#[test]
fn l8_with_p_of_a_sixteenth_less_is_to_spare() {
    for late in [10_u64, 12, 15, 16] {
        let mut config = super::settings::settings(2);
        config.cluster.quorum = crate::config::Quorum::None;
        let mut bench = Bench::formed_of(config);
        assert_eq!(bench.controller(0).timing.p, T / 16);
        bench.input(0, Input::Lateness(Duration::from_millis(late)));
        bench.run(250);
        bench.forget();
        bench.run(2000);
        let lost = |event: &Event| *event == Event::LeaseLost;
        assert!((0..2).all(|at| bench.event(at, lost).is_none()), "{late} ms");
    }
}
