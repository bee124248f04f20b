//! S: what is stored, acknowledged, committed; and what an abandoned proposal leaves behind.

use super::bench::{Bench, Sent, Worker, serves};
use super::settings::{MARGIN, P, node, service, settings};
use crate::controller::{Event, Input};
use crate::vocabulary::Instant;
use crate::wire::{Command, Packet};
use std::time::Duration;

fn acknowledged(bench: &Bench, by: usize) -> usize {
    bench.count(by, |packet| matches!(packet, Packet::StateAck { .. }))
}

/// Nodes 0 and 1 are a cluster of two under `majority`; node 2 wants to come in. Every acknowledgement
/// counts: two of two, then two of three.
fn pair_with_a_third() -> Bench {
    let mut bench = Bench::new(settings(3));
    bench.start(0);
    bench.start(1);
    bench.wait("a cluster of two", 8000, Bench::is_settled);
    bench.run(500);
    bench.forget();
    bench
}

/// When every lease ever granted to `member` has run out by the clock of its granter, node 0.
fn last_lease_end(bench: &Bench, member: usize) -> Instant {
    let to = crate::controller::Destination::Node(node(member));
    let ends = bench.sent.iter().filter(|sent| sent.from == 0 && sent.to == to).filter_map(|sent| {
        let Packet::Grant { remaining_us, .. } = sent.packet else { return None };
        Some(sent.at + Duration::from_micros(u64::from(remaining_us)))
    });
    ends.max().expect("it was granted something")
}

#[test]
fn s1_a_change_of_members_is_acknowledged_only_when_it_is_on_the_disk() {
    let mut bench = pair_with_a_third();
    bench.machines[1].disk = Worker::Hangs;
    bench.start(2);
    bench.wait("the write", 3000, |bench| bench.machines[1].unwritten.is_some());
    bench.always("the old membership", 500, |bench| {
        acknowledged(bench, 1) == 0 && bench.members(0).len() == 2
    });
    let waiting = bench.machines[1].unwritten.clone().expect("it hangs").0;
    assert_eq!(waiting.proposed.expect("the proposal is in the record").members.len(), 3);
    bench.set_disk(1, Worker::Works);
    assert!(acknowledged(&bench, 1) >= 1);
    bench.wait("the new membership", 300, |bench| bench.members(0).len() == 3);
    let stored = bench.machines[1].record.as_ref().expect("written");
    assert_eq!(stored.committed.as_ref().expect("committed").members.len(), 3);
}

#[test]
fn s1_the_controller_counts_itself_only_when_its_own_record_is_on_the_disk() {
    let mut bench = pair_with_a_third();
    bench.machines[0].disk = Worker::Hangs;
    bench.start(2);
    bench.wait("the write", 3000, |bench| bench.machines[0].unwritten.is_some());
    bench.always("the old membership", 500, |bench| bench.members(0).len() == 2);
    assert!(acknowledged(&bench, 1) >= 1, "the other one is not what is missing");
    bench.set_disk(0, Worker::Works);
    bench.wait("the new membership", 300, |bench| bench.members(0).len() == 3);
}

#[test]
fn s1_what_could_not_be_written_is_not_acknowledged_and_tried_again() {
    let mut bench = pair_with_a_third();
    bench.machines[1].disk = Worker::Fails;
    bench.start(2);
    bench.wait("a failure", 3000, |bench| bench.event(1, |event| *event == Event::StoreFailed).is_some());
    bench.always("the old membership", 300, |bench| {
        acknowledged(bench, 1) == 0 && bench.members(0).len() == 2
    });
    assert!(bench.machines[1].events.iter().filter(|(_, event)| *event == Event::StoreFailed).count() > 1);
    bench.set_disk(1, Worker::Works);
    bench.wait("the new membership", 300, |bench| bench.members(0).len() == 3);
}

/// What it acknowledged before may be committed, and is in what it could not write: its vote tells it.
#[test]
fn s1_a_disk_that_fails_forgets_nothing_that_was_acknowledged() {
    let mut bench = pair_with_a_third();
    bench.machines[1].disk = Worker::Fails;
    bench.start(2);
    bench.wait("a failure", 3000, |bench| bench.event(1, |event| *event == Event::StoreFailed).is_some());
    let told = bench.controller(1).newest_known().map(|(committed, state)| (committed, state.members.len()));
    assert_eq!(told, Some((false, 3)));
}

#[test]
fn s1_no_disk_stands_in_the_way_of_a_service() {
    let mut bench = Bench::formed(3);
    (0..3).for_each(|at| bench.machines[at].disk = Worker::Hangs);
    bench.kill(2);
    bench.wait("service 2 elsewhere", 500, |bench| bench.holders(service(2)).len() == 1);
}

#[test]
fn s1_a_stranger_to_the_office_is_refused() {
    let mut bench = Bench::formed(3);
    let mut state = bench.state(1).expect("formed").clone();
    state.epoch.version += 1;
    state.table[0].holder = Some(node(2));
    // (who proposes a state of node 0's term, acknowledged?)
    for (from, acknowledges) in [(2, false), (0, true)] {
        bench.forget();
        bench.inject(from, 1, Packet::State { committed: false, state: state.clone() });
        assert_eq!(acknowledged(&bench, 1) > 0, acknowledges, "from {from}");
    }
    let mut older = state.clone();
    older.epoch.version -= 2;
    bench.forget();
    bench.inject(0, 1, Packet::State { committed: false, state: older });
    assert_eq!(acknowledged(&bench, 1), 0, "an old version");
}

#[test]
fn s_states_are_ordered_by_term_before_version() {
    // (rounds ahead, versions ahead, adopted?)
    for (rounds, versions, adopted) in [(0, 0, false), (0, 1, true), (-1, 50, false), (1, -1, true)] {
        let mut bench = Bench::formed(3);
        let mut state = bench.state(1).expect("formed").clone();
        state.epoch.term.round = state.epoch.term.round.checked_add_signed(rounds).expect("a few rounds");
        state.epoch.version = state.epoch.version.checked_add_signed(versions).expect("a few versions");
        state.frozen = true;
        bench.inject(0, 1, Packet::State { committed: true, state });
        assert_eq!(bench.state(1).expect("formed").frozen, adopted, "{rounds} rounds, {versions} versions");
    }
}

#[test]
fn s2_the_successor_waits_for_every_lease_of_the_one_that_is_cut_off() {
    for phase in [0, 17, 34, 51, 68, 85] {
        let mut bench = Bench::formed(3);
        bench.run(200 + phase);
        bench.isolate(2);
        let mut dropped = None;
        bench.wait("service 2 elsewhere", 800, |bench| {
            let holders = bench.holders(service(2));
            assert!(holders.len() <= 1, "two holders");
            holders.first().is_some_and(|&at| at != 2)
        });
        let taken = bench.now;
        let lost = bench.event(2, |event| *event == Event::LeaseLost);
        dropped = dropped.or(lost);
        assert!(dropped.expect("its lease ended") < taken);
        assert!(taken >= last_lease_end(&bench, 2) + MARGIN, "at {phase}");
        assert!(taken <= last_lease_end(&bench, 2) + MARGIN + P, "and not much longer");
    }
}

#[test]
fn s2_a_removal_waits_for_the_leases_too() {
    let mut config = settings(3);
    config.services.pop();
    let mut bench = Bench::formed_of(config);
    bench.run(250);
    bench.isolate(2);
    let removed = bench.wait("the removal", 800, |bench| bench.members(0).len() == 2);
    assert!(removed >= last_lease_end(&bench, 2) + MARGIN);
}

#[test]
fn s2_nothing_is_committed_without_a_valid_root() {
    let mut bench = Bench::formed(3);
    let version = bench.state(0).expect("formed").epoch;
    // Acknowledgements of states arrive, those of beats do not.
    bench.lose(|sent, to| to == 0 && matches!(sent.packet, Packet::BeatAck { .. }));
    bench.run(400);
    bench.input(0, Input::Command { id: 900, command: Command::Freeze });
    bench.run(300);
    assert_eq!(bench.state(0).expect("formed").epoch, version);
    let answer = bench.machines[0].answers.iter().find(|(id, _)| *id == 900).expect("answered").1.clone();
    assert!(answer.expect_err("refused").contains("no quorum"));
}

#[test]
fn s3_hints_move_nothing() {
    let mut bench = Bench::formed(3);
    for packet in [
        Packet::FailOver { service: service(1), prepare: false },
        Packet::TakeOver { service: service(1) },
        Packet::FailbackOk { service: service(1) },
        Packet::FailBack { service: service(1), nonce: 3 },
    ] {
        for to in [1, 2] {
            bench.inject(0, to, packet.clone());
        }
        bench.run(300);
        assert!(serves(&bench, 1, &[1]), "{packet:?}");
    }
}

#[test]
fn s4_an_abandoned_proposal_undoes_its_revocations() {
    let mut bench = Bench::formed(3);
    bench.run(250);
    bench.isolate(2);
    let proposes = |sent: &Sent| {
        matches!(&sent.packet, Packet::State { committed: false, state }
            if state.slot(service(2)).is_some_and(|slot| slot.holder != Some(node(2))))
    };
    bench.wait("a proposal", 500, |bench| bench.sent.iter().any(proposes));
    assert_eq!(bench.holder(0, service(2)), Some(node(2)), "not committed: its leases still run");
    bench.heal();
    bench.forget();
    bench.always("node 2 as the holder", 2000, |bench| bench.holder(0, service(2)) == Some(node(2)));
    assert!(serves(&bench, 2, &[2]));
    let to = crate::controller::Destination::Node(node(2));
    let granted = |sent: &Sent| sent.to == to && matches!(sent.packet, Packet::Grant { .. });
    assert!(bench.sent.iter().any(granted), "it is granted leases again");
    assert!(bench.controller(0).office.as_ref().expect("controller").proposal.is_none());
    // What the voters had stored of it does not come back with another controller (E3).
    bench.kill(0);
    bench.wait("another controller", 1000, |bench| {
        bench.state(1).is_some_and(|state| state.epoch.term.author == node(1))
    });
    bench.always("node 2 as the holder", 2000, |bench| bench.holder(1, service(2)) == Some(node(2)));
}

#[test]
fn s5_every_version_has_an_acknowledgement_by_a_majority_of_the_members_before() {
    let mut bench = Bench::formed(4);
    let version = bench.state(0).expect("formed").epoch;
    // Two of four may not go on, whatever is asked of them.
    bench.lose(|sent, _| matches!(sent.packet, Packet::StateAck { .. }) && sent.from != 1);
    assert_eq!(bench.command(0, Command::Freeze), Ok(()));
    bench.always("the version before", 1000, |bench| bench.state(0).is_some_and(|s| s.epoch == version));
    bench.heal();
    bench.wait("the next one", 200, |bench| bench.state(0).is_some_and(|state| state.frozen));
    assert!(bench.state(0).expect("formed").epoch > version);
}
