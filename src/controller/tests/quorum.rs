//! Q and M: who may serve when some are missing, and how those come together who went on alone.

use super::bench::{Bench, serves};
use super::settings::{node, service, settings};
use crate::config::{Config, Quorum};
use crate::controller::{Event, Input, Planted};
use crate::wire::{Command, Packet};
use std::net::Ipv4Addr;
use std::time::Duration;

fn under(nodes: usize, quorum: Quorum) -> Config {
    let mut config = settings(nodes);
    config.cluster.quorum = quorum;
    config
}

#[test]
fn q1_a_minority_serves_only_where_half_or_fewer_may() {
    // (nodes, quorum, with an arbiter, what the one that is cut off serves in the end)
    let all = [0, 1, 2];
    let table: [(usize, Quorum, bool, &[usize]); 8] = [
        (3, Quorum::Majority, false, &[]),
        (3, Quorum::None, false, &all),
        (3, Quorum::Auto, false, &all),
        (3, Quorum::Auto, true, &all),
        (3, Quorum::Arbiter, true, &all),
        (2, Quorum::Auto, true, &all[..2]),
        (2, Quorum::Majority, false, &[]),
        (2, Quorum::None, false, &all[..2]),
    ];
    for (nodes, quorum, arbiter, expected) in table {
        let mut config = under(nodes, quorum);
        if arbiter {
            config.cluster.arbiter.push(Ipv4Addr::new(10, 77, 1, 254));
        }
        let mut bench = Bench::formed_of(config);
        let last = nodes - 1;
        bench.isolate(last);
        bench.run(6000);
        let served: Vec<usize> =
            (0..nodes).filter(|&at| bench.machines[last].aliases.contains(&service(at))).collect();
        assert_eq!(served, expected, "{nodes} nodes, {quorum:?}, arbiter {arbiter}");
    }
}

#[test]
fn q1_half_is_no_quorum() {
    for (planted, double) in [(None, false), (Some(Planted::HalfIsAQuorum), true)] {
        let mut bench = Bench::formed(4);
        bench.plant(planted);
        for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
            bench.cut(a, b);
            bench.cut(b, a);
        }
        bench.run(3000);
        let twice = (0..4).any(|at| bench.holders(service(at)).len() > 1);
        assert_eq!(twice, double, "{planted:?}");
    }
}

#[test]
fn q1_the_majority_goes_on_with_everything() {
    let mut bench = Bench::formed(3);
    bench.isolate(0);
    bench.wait("the two others", 2000, |bench| {
        bench.holders(service(0)).len() == 1 && !serves(bench, 0, &[0])
    });
    assert!(serves(&bench, 1, &[1]) && serves(&bench, 2, &[2]));
    bench.wait("the removal", 300, |bench| bench.members(1) == [node(1), node(2)]);
}

#[test]
fn q3_two_down_to_one_under_majority_stops_service() {
    for (dead, left) in [(0, 1), (1, 0)] {
        let mut bench = Bench::formed_of(under(2, Quorum::Majority));
        bench.kill(dead);
        bench.wait("the end of service", 1000, |bench| bench.machines[left].aliases.is_empty());
        bench.always("silence", 3000, |bench| bench.machines[left].aliases.is_empty());
        bench.start(dead);
        bench.wait("both services", 9000, Bench::is_settled);
    }
}

#[test]
fn q2_two_nodes_where_one_may_serve_take_over_from_each_other() {
    for (dead, left) in [(0, 1), (1, 0)] {
        for quorum in [Quorum::Auto, Quorum::None] {
            let mut bench = Bench::formed_of(under(2, quorum));
            bench.kill(dead);
            bench.wait("both services on one", 1000, |bench| serves(bench, left, &[0, 1]));
            bench.start(dead);
            bench.wait("each at home", 9000, |bench| bench.is_settled() && serves(bench, dead, &[dead]));
        }
    }
}

#[test]
fn m1_two_that_went_on_alone_come_together() {
    let mut bench = Bench::formed_of(under(2, Quorum::None));
    let before = bench.state(0).expect("formed").lineage;
    bench.isolate(1);
    bench.wait("both alone", 3000, |bench| (0..2).all(|at| bench.members(at) == [node(at)]));
    let lineages = [0, 1].map(|at| bench.state(at).expect("alone").lineage);
    assert!(lineages[0] != lineages[1], "each goes its own way");
    assert!(lineages.iter().all(|&lineage| lineage != before));
    bench.run(2000);
    assert!((0..2).all(|at| bench.machines[at].aliases == [service(0), service(1)]));
    bench.forget();
    bench.heal();
    bench.wait("one cluster", 9000, Bench::is_settled);
    // Both had one member: the higher priority wins, the other releases and comes back as a new life.
    assert_eq!(bench.state(0).expect("merged").lineage, lineages[0]);
    assert!(bench.event(1, |event| *event == Event::Merged { winner: node(0) }).is_some());
    assert!(bench.event(1, |event| matches!(event, Event::Reborn { .. })).is_some());
    assert!(bench.event(0, |event| matches!(event, Event::Reborn { .. })).is_none());
}

#[test]
fn m1_the_loser_releases_before_it_joins_and_the_winner_never_stops() {
    let mut bench = Bench::formed_of(under(2, Quorum::None));
    bench.isolate(1);
    bench.run(6000);
    bench.forget();
    bench.heal();
    bench.wait("the release", 3000, |bench| bench.machines[1].aliases.is_empty());
    let joins = bench.wait("the join", 3000, |bench| bench.members(1).len() == 2);
    let reborn = bench.event(1, |event| matches!(event, Event::Reborn { .. })).expect("it lost");
    assert!(reborn <= joins);
    bench.always("service 0 at the winner", 4000, |bench| bench.holders(service(0)) == [0]);
}

#[test]
fn m1_more_members_win_over_priority() {
    let mut bench = Bench::formed_of(under(3, Quorum::None));
    bench.isolate(0);
    bench.wait("two clusters", 3000, |bench| bench.members(0).len() == 1 && bench.members(1).len() == 2);
    bench.run(5000);
    let winner = bench.state(1).expect("two").lineage;
    bench.forget();
    bench.heal();
    bench.wait("one cluster", 9000, |bench| (0..3).all(|at| bench.members(at).len() == 3));
    assert_eq!(bench.state(0).expect("merged").lineage, winner);
    assert!(bench.event(0, |event| matches!(event, Event::Reborn { .. })).is_some());
    assert!(bench.event(1, |event| matches!(event, Event::Reborn { .. })).is_none());
    bench.wait("peace", 9000, Bench::is_settled);
}

#[test]
fn m1_parts_that_meet_by_arp_alone_do_not_both_go_on() {
    let mut bench = Bench::formed_of(under(3, Quorum::None));
    bench.isolate(0);
    bench.wait("two clusters", 3000, |bench| bench.members(0).len() == 1 && bench.members(1).len() == 2);
    bench.run(5000);
    assert!(bench.holders(service(1)).len() == 2, "each part serves everything");
    // A piece of the external LAN that they share: ARP, and what is said on that link.
    bench.heal();
    bench.lose(|sent, to| {
        let said = matches!(sent.packet, Packet::TakeOver { .. } | Packet::Forward { .. });
        (sent.from == 0) != (to == 0) && !said
    });
    let all = || (0..3).map(service);
    bench.wait("the weaker one's release", 1000, |bench| all().all(|id| bench.holders(id).len() == 1));
    bench.always("one holder", 5000, |bench| all().all(|id| bench.holders(id).len() == 1));
    assert!(bench.machines[0].aliases.is_empty(), "one member is less than two");
}

#[test]
fn h1_nothing_moves_to_where_somebody_answers_beside_the_holder() {
    let mut bench = Bench::formed_of(under(3, Quorum::None));
    bench.run(3000);
    // The holder's own answer is no hindrance.
    let moved = Command::Move { service: service(1), to: node(2) };
    assert_eq!(bench.command(0, moved), Ok(()));
    bench.wait("the move", 1000, |bench| bench.holders(service(1)) == [2]);
    let back = Command::Move { service: service(1), to: node(0) };
    bench.answer_for(service(1), Duration::from_secs(2));
    assert_eq!(bench.command(0, back), Ok(()));
    bench.always("the holder", 2000, |bench| bench.holders(service(1)) == [2]);
}

#[test]
fn a_leave_needs_no_quorum_of_the_one_that_stays() {
    // Under `majority` as well: the one that leaves in order takes part in its own removal.
    let mut bench = Bench::formed_of(under(2, Quorum::None));
    bench.input(1, Input::Stop);
    bench.wait("the goodbye", 3000, |bench| bench.machines[1].left.is_some());
    bench.wait("both services on one", 500, |bench| serves(bench, 0, &[0, 1]));
}
