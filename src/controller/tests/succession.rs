//! E: who becomes controller when there is none.

use super::bench::{Bench, Sent};
use super::settings::{MARGIN, MEMBER, P, PROMISE, T, X, node, service, settings};
use crate::controller::{Event, Planted, Why};
use crate::vocabulary::{Incarnation, Instant, Term};
use crate::wire::{Command, Packet, State};
use std::time::Duration;

fn is_elected(event: &Event) -> bool {
    matches!(event, Event::Elected { .. })
}

fn votes(bench: &Bench, by: usize) -> Vec<(Instant, Term)> {
    let votes = bench.sent.iter().filter(|sent| sent.from == by).filter_map(|sent| match sent.packet {
        Packet::RollCall { vote: Some(vote), .. } => Some((sent.at, vote.term)),
        _ => None,
    });
    votes.collect()
}

fn candidacy(from: usize, round: u32) -> Packet {
    let term = Term { round, author: node(from), life: Incarnation(1) };
    Packet::Suspect {
        suspect: node(0),
        incarnation: Incarnation(1),
        candidacy: Some((term, 157_500)),
        nonce: 5,
    }
}

fn silent(_: &Sent, _: usize) -> bool {
    true
}

#[test]
fn e1_the_highest_priority_among_the_living_stands_and_wins() {
    for dead in [1, 2] {
        let mut bench = Bench::formed(5);
        (0..dead).for_each(|at| bench.kill(at));
        bench.wait("a new controller", 1000, |bench| bench.event(dead, is_elected).is_some());
        bench.run(1000);
        for other in dead + 1..5 {
            assert!(bench.event(other, is_elected).is_none(), "{other} after {dead} died");
            assert_eq!(bench.controller(other).view(bench.now).controller, Some(node(dead)));
        }
    }
}

#[test]
fn e1_who_is_cut_off_from_the_controller_alone_disturbs_nothing() {
    let mut bench = Bench::formed(3);
    let term = bench.state(0).expect("formed").epoch.term;
    bench.cut(0, 1);
    bench.cut(1, 0);
    bench.always("the first term", 5000, |bench| {
        (0..3).all(|at| bench.event(at, is_elected).is_none())
            && bench.state(2).is_some_and(|state| state.epoch.term == term)
    });
}

#[test]
fn e2_nobody_votes_before_the_own_promise_has_lapsed() {
    let mut bench = Bench::formed(3);
    for phase in [0, 20, 40, 60, 80] {
        bench.run(phase);
        bench.forget();
        let bound = bench.controller(2).promise.until;
        bench.kill(0);
        bench.wait("a new controller", 1000, |bench| bench.event(1, is_elected).is_some());
        let (at, _) = votes(&bench, 2)[0];
        assert!(at >= bound, "voted {:?} early", bound.since(at));
        bench.start(0);
        bench.wait("peace", 9000, Bench::is_settled);
    }
}

#[test]
fn e2_one_vote_in_each_round_and_never_for_an_older_term() {
    let mut bench = Bench::formed(3);
    let round = bench.state(0).expect("formed").epoch.term.round;
    let headers = [bench.header(0), bench.header(1), bench.header(2)];
    bench.lose(silent);
    let lapsed = bench.controller(1).promise.until;
    bench.run_to(lapsed);
    bench.forget();
    // (who asks, in which round, how long after the promise of the vote before has lapsed or not, vote?)
    let table = [
        (2, round - 1, false, "an older one than it follows"),
        (2, round + 9, true, "a newer one"),
        (2, round + 9, true, "the same again renews its promise"),
        (0, round + 10, false, "another one while the vote binds"),
        (0, round + 8, false, "an older one"),
    ];
    for (from, asked, expected, what) in table {
        let before = votes(&bench, 1).len();
        bench.inject_with(1, headers[from].clone(), candidacy(from, asked));
        assert_eq!(votes(&bench, 1).len() - before, usize::from(expected), "{what}");
    }
    assert_eq!(bench.controller(1).promise.until, bench.now + PROMISE, "a vote is a promise");
    assert_eq!(bench.controller(1).voted.round, round + 9);
}

/// Storm 40019 of the drill of times: two of three voters had restarted, and refused the only candidate that there was.
#[test]
fn e2_a_vote_outlives_its_giver() {
    let mut bench = Bench::formed(3);
    let round = bench.state(0).expect("formed").epoch.term.round;
    let headers = [bench.header(0), bench.header(2)];
    bench.lose(silent);
    let lapsed = bench.controller(1).promise.until;
    bench.run_to(lapsed);
    bench.inject_with(1, headers[1].clone(), candidacy(2, round + 9));
    bench.kill(1);
    bench.start(1);
    assert_eq!(bench.controller(1).voted.round, round + 9);
    bench.run(1000);
    // (who asks, in which round, vote?)
    for (header, from, asked, expected) in [(0, 0, round + 8, false), (1, 2, round + 9, true)] {
        bench.forget();
        bench.inject_with(1, headers[header].clone(), candidacy(from, asked));
        assert_eq!(votes(&bench, 1).len(), usize::from(expected), "in round {asked}");
    }
}

/// Node 1 votes for node 2 and hears node 0 again when that promise has lapsed. What node 2 may have proposed and others
/// stored by then is newer than all that node 0's old term could still commit (storm 9100241 with three nodes).
#[test]
fn s1_a_voter_stores_nothing_of_an_older_term_however_long_ago_it_voted() {
    for planted in [None, Some(Planted::AcknowledgeWhatIsOutvoted)] {
        let mut bench = Bench::formed(3);
        bench.plant(planted);
        let round = bench.state(0).expect("formed").epoch.term.round;
        let header = bench.header(2);
        bench.lose(silent);
        let lapsed = bench.controller(1).promise.until;
        bench.run_to(lapsed);
        bench.inject_with(1, header, candidacy(2, round + 1));
        bench.kill(2);
        bench.run_to(lapsed + PROMISE + P);
        bench.heal();
        bench.forget();
        bench.wait("the removal of node 2", 3000, |bench| bench.members(0).len() == 2);
        let term = bench.state(0).expect("a member").epoch.term;
        assert_eq!(term.author, node(0));
        assert_eq!(term.round > round + 1, planted.is_none(), "{term:?}");
        let old =
            |packet: &Packet| matches!(packet, Packet::StateAck { epoch, .. } if epoch.term.round <= round);
        assert_eq!(bench.count(1, old) == 0, planted.is_none());
    }
}

/// Node 0 leads on without a root and stores what node 2, elected meanwhile, proposes and commits with it. Node 1, whose promise to
/// node 2 lapses, brings node 0's root back: nothing of node 0's own may take the place of what it has stored.
#[test]
fn s1_who_stores_a_newer_term_leaves_its_office() {
    let mut bench = Bench::formed(3);
    let mut header = bench.header(2);
    let mut state = bench.state(2).expect("formed").clone();
    let round = state.epoch.term.round;
    state.epoch.term = Term { round: round + 2, author: node(2), life: Incarnation(1) };
    state.epoch.version += 1;
    header.epoch = state.epoch;
    bench.isolate(0);
    bench.kill(2);
    let rootless = bench.controller(0).promise.until.max(bench.now + PROMISE);
    bench.run_to(rootless);
    bench.inject_with(0, header, Packet::State { committed: false, state: state.clone() });
    assert_eq!(bench.count(0, |packet| matches!(packet, Packet::StateAck { .. })), 1);
    assert_eq!(bench.machines[0].record.as_ref().expect("written").voted, state.epoch.term);
    bench.heal();
    bench.wait("a controller", 3000, |bench| bench.members(1).len() == 2);
    let led = bench.state(1).expect("a member").epoch;
    assert!(led.term.round > round + 2 && led.version > state.epoch.version, "{led:?}");
}

/// It has won and cannot begin, because somebody has voted in a newer term: its voters are bound to it, and vote again at once.
#[test]
fn e3_a_term_that_cannot_begin_is_renewed_at_once() {
    let mut bench = Bench::formed(4);
    bench.kill(0);
    bench.lose(|sent, _| matches!(sent.packet, Packet::StateAck { .. } | Packet::State { .. }));
    let won = bench.wait("an election", 1000, |bench| bench.event(1, is_elected).is_some());
    let newer = Term { round: 90, author: node(3), life: Incarnation(1) };
    let header = bench.header(3);
    bench.heal();
    bench.forget();
    bench.inject_with(1, header, Packet::Nack { term: newer, known: None });
    bench.wait("the same in a newer term", 200, |bench| {
        bench.state(1).is_some_and(|state| state.epoch.term.round > 90 && state.epoch.term.author == node(1))
    });
    // What it had proposed itself is inherited, and waits as E4 says from the first time that it won.
    assert!(bench.now.since(won) <= X + MARGIN + P, "{:?}", bench.now.since(won));
}

#[test]
fn e2_a_vote_carries_the_newest_state_that_the_voter_has_stored() {
    let mut bench = Bench::formed(3);
    let state = bench.state(1).expect("formed").clone();
    let header = bench.header(2);
    bench.lose(silent);
    let lapsed = bench.controller(1).promise.until;
    bench.run_to(lapsed);
    bench.forget();
    let mut behind = header;
    behind.epoch.version -= 1;
    bench.inject_with(1, behind, candidacy(2, state.epoch.term.round + 5));
    let carried = bench.sent.iter().find_map(|sent| match &sent.packet {
        Packet::RollCall { vote: Some(_), newest, .. } => Some(newest.clone()),
        _ => None,
    });
    assert_eq!(carried.expect("a vote"), Some((true, state)));
}

#[test]
fn e3_without_a_majority_nobody_wins() {
    let mut bench = Bench::formed(3);
    bench.kill(0);
    bench.isolate(1);
    bench.always("the lack of a controller", 5000, |bench| {
        bench.event(1, is_elected).is_none() && bench.event(2, is_elected).is_none()
    });
}

#[test]
fn e3_a_membership_that_was_never_committed_does_not_count_alone() {
    for (planted, second) in [(None, false), (Some(Planted::BaseForgotten), true)] {
        let mut bench = Bench::formed(7);
        let joiners = [0, 1, 2, 3];
        for at in joiners {
            bench.kill(at);
            bench.wait("its removal", 3000, |bench| bench.members(6).len() == 6 - at);
            bench.machines[at].record = None;
        }
        bench.lose(|sent, to| {
            let grows = |state: &State| state.members.len() > 3;
            matches!(&sent.packet, Packet::State { state, .. } if grows(state)) && [5, 6].contains(&to)
        });
        joiners.into_iter().for_each(|at| bench.start(at));
        bench.plant(planted);
        let stored =
            |bench: &Bench, at| bench.controller(at).proposed.as_ref().map(|state| state.members.len());
        bench.wait("a proposal at the joiners", 9000, |bench| {
            joiners.into_iter().all(|at| stored(bench, at) == Some(7))
        });
        assert_eq!(bench.members(4).len(), 3, "not committed");
        for (one, other) in (0..5).flat_map(|one| [(one, 5), (one, 6)]) {
            bench.cut(one, other);
            bench.cut(other, one);
        }
        bench.forget();
        bench.run(5000);
        let elected = |nodes: &[usize]| nodes.iter().any(|&at| bench.event(at, is_elected).is_some());
        assert!(elected(&[5, 6]), "two of three go on");
        assert_eq!(elected(&[0, 1, 2, 3, 4]), second, "five of seven that nobody agreed to");
    }
}

#[test]
fn e3_holders_keep_what_they_hold() {
    let mut bench = Bench::formed(4);
    bench.kill(0);
    bench
        .always("services 1 to 3 at home", 3000, |bench| (1..4).all(|at| bench.holders(service(at)) == [at]));
    assert!(bench.event(1, is_elected).is_some());
}

#[test]
fn e4_reassigns_nothing_of_others_before_x_and_m_after_winning() {
    for phase in [0, 30, 60, 90] {
        let mut config = settings(5);
        config.cluster.failback_delay = Duration::from_secs(60);
        let mut bench = Bench::formed_of(config);
        bench.run(phase);
        bench.kill(0);
        bench.kill(4);
        let elected = |bench: &Bench| bench.event(1, is_elected);
        bench.wait("a new controller", 1000, |bench| elected(bench).is_some());
        let won = elected(&bench).expect("waited for");
        assert_eq!(bench.controller(1).office.as_ref().expect("won").not_before, won + X + MARGIN);
        bench.wait("both services", 1000, |bench| {
            [0, 4].iter().all(|&at| !bench.holders(service(at)).is_empty())
        });
        let assigned = |index: usize| {
            bench
                .event(1, |event| matches!(event, Event::Assigned { service: s, .. } if *s == service(index)))
        };
        let others = assigned(4).expect("reassigned");
        assert!(others >= won + X + MARGIN, "only {:?} after winning", others.since(won));
        let own = assigned(0).expect("reassigned");
        assert!(own <= others, "the old controller's leases ended with its root");
    }
}

/// The old controller's root may be fresh, and with it the leases that it granted.
#[test]
fn e4_a_resignation_that_the_voters_heard_and_the_candidate_did_not_is_waited_for() {
    for (planted, waits) in [(None, true), (Some(Planted::ReleaseUntold), false)] {
        let mut bench = Bench::formed(4);
        bench.plant(planted);
        for voter in [2, 3] {
            // In favour of somebody who does not come.
            bench.inject(0, voter, Packet::Resign { to: node(4) });
        }
        bench.kill(0);
        bench.wait("a new controller", 1000, |bench| bench.event(1, is_elected).is_some());
        let won = bench.now;
        bench.wait("a new holder", 1000, |bench| !bench.holders(service(0)).is_empty());
        let waited = bench.now.since(won);
        assert_eq!(waited >= MEMBER + MARGIN, waits, "{planted:?}: taken after {waited:?}");
    }
}

#[test]
fn e5_a_restarted_node_votes_only_when_its_forgotten_promises_have_run_out() {
    let mut bench = Bench::formed(3);
    let round = bench.state(0).expect("formed").epoch.term.round;
    let header = bench.header(2);
    bench.kill(1);
    bench.lose(silent);
    bench.start(1);
    let started = bench.now;
    bench.forget();
    while bench.now < started + Duration::from_millis(300) {
        bench.inject_with(1, header.clone(), candidacy(2, round + 3));
        bench.run(5);
    }
    let (at, _) = *votes(&bench, 1).first().expect("it may vote at last");
    assert!(at >= started + MEMBER + MARGIN, "voted after {:?}", at.since(started));
    assert!(at <= started + MEMBER + MARGIN + P, "and no later than it must");
}

#[test]
fn e5_a_restarted_node_acknowledges_no_beat_before_it_is_a_member_again() {
    let mut bench = Bench::formed(3);
    bench.kill(1);
    bench.start(1);
    let started = bench.now;
    bench.forget();
    bench.wait("it to be a member", 3000, |bench| bench.members(1).len() == 3);
    assert!(bench.now >= started + MEMBER + MARGIN);
    let early = bench.sent.iter().any(|sent| {
        sent.from == 1 && sent.at < started + MEMBER + MARGIN && matches!(sent.packet, Packet::BeatAck { .. })
    });
    assert!(!early);
}

#[test]
fn the_office_goes_back_to_the_highest_priority_once_that_is_stable() {
    let mut bench = Bench::formed(3);
    bench.kill(0);
    bench.wait("a new controller", 1000, |bench| bench.event(1, is_elected).is_some());
    bench.run(500);
    bench.forget();
    bench.start(0);
    bench.wait("the join", 3000, |bench| bench.members(1).len() == 3);
    let joined = bench.now;
    bench.wait("the old controller in office", 5000, |bench| bench.event(0, is_elected).is_some());
    assert!(bench.now >= joined + bench.config.cluster.failback_delay);
    // Resigned, so without a suspicion of anybody.
    for at in 0..3 {
        let bad = bench.event(at, |event| {
            matches!(event, Event::Suspected { why: Why::HelloOverdue | Why::HelloUnanswered, .. })
        });
        assert!(bad.is_none(), "node {at}");
    }
}

/// Three that are led by node 1, and node 0 about to get the office; it holds nothing, so no move home comes before that.
fn with_an_heir() -> Bench {
    let mut bench = Bench::formed(4);
    bench.command(1, Command::Standby { node: node(0) }).expect("accepted");
    bench.wait("its service elsewhere", 2000, |bench| bench.holders(service(0)).iter().any(|&at| at != 0));
    bench.kill(0);
    bench.wait("a new controller", 1000, |bench| bench.event(1, is_elected).is_some());
    bench.run(500);
    bench.start(0);
    bench.wait("the join", 3000, |bench| bench.members(1).len() == 4);
    bench
}

/// Whoever is offered the office may have died a moment before, or dies a moment after.
#[test]
fn an_heir_that_dies_leaves_nobody_without_a_controller_for_long() {
    let mut bench = with_an_heir();
    bench.wait("its office", 3000, |bench| bench.event(0, is_elected).is_some());
    let due = bench.now;
    let mut slowest = Duration::ZERO;
    for millis in (0..250).step_by(2) {
        let mut bench = with_an_heir();
        bench.run_to(due + Duration::from_millis(millis) - T * 6 / 5);
        bench.kill(0);
        let died = bench.now;
        let led = |bench: &Bench| bench.members(1).len() == 3 && bench.controller(1).view(bench.now).quorum;
        bench.wait("a controller", 3000, led);
        slowest = slowest.max(bench.now.since(died));
    }
    // Its death is seen after 1.6 T; then two promises lapse, and whole leases (E4).
    assert!(slowest < T * 6, "{slowest:?}");
}

/// Its votes go to nobody who could use them: it must not bind their givers for ever.
#[test]
fn e1_a_controller_that_hears_nobody_lets_another_have_the_office() {
    let mut bench = Bench::formed(5);
    for other in 1..5 {
        bench.cut(other, 0);
    }
    let led = |bench: &Bench| (1..5).any(|at| bench.event(at, is_elected).is_some());
    bench.wait("another controller", 3000, led);
}

/// Two of five are heard and hear none of the other three: they do not take turns in asking.
#[test]
fn e1_a_deaf_minority_lets_the_others_have_the_office() {
    let mut bench = Bench::formed(5);
    for (other, deaf) in [2, 3, 4].into_iter().flat_map(|other| [(other, 0), (other, 1)]) {
        bench.cut(other, deaf);
    }
    let led = |bench: &Bench| (2..5).any(|at| bench.event(at, is_elected).is_some());
    bench.wait("a controller of the majority", 6000, led);
    bench.always("its office", 3000, |bench| (2..5).any(|at| bench.controller(at).view(bench.now).quorum));
}
