//! Chance, LANs and judges on their own.

use crate::config::Quorum;
use crate::controller::{Controller, Destination, Identity};
use crate::simulator::checkers::{Checker, Minorities};
use crate::simulator::clock::{Clock, MILLI, Nanos, SECOND};
use crate::simulator::host::{Alias, Host, Process};
use crate::simulator::network::{Network, Weather};
use crate::simulator::plan::{Class, Plan, node_id};
use crate::simulator::random::Random;
use crate::vocabulary::{Epoch, Incarnation, LinkRole, ServiceId, Term};
use crate::wire::{Packet, Phase, Slot, State};
use std::sync::Arc;
use std::time::Duration;

const SERVICE: ServiceId = ServiceId(1);

fn hosts_with_alias(count: usize, holders: &[usize]) -> Vec<Host> {
    let mut hosts: Vec<Host> = (0..count).map(|_| Host::new(Clock::new(0, 0))).collect();
    for holder in holders {
        hosts[*holder].aliases.push(Alias { service: SERVICE, since: 0, ends: Nanos::MAX });
    }
    hosts
}

fn handover_state(version: u64, from: usize, to: usize) -> State {
    State {
        epoch: Epoch {
            term: Term { round: 1, author: node_id(0), life: crate::vocabulary::Incarnation(1) },
            version,
        },
        lineage: 7,
        hello_interval: Duration::from_millis(100),
        probe_divisor: 8,
        longest_interval: Duration::from_millis(100),
        coarsest_divisor: 8,
        frozen: false,
        members: Vec::new(),
        base: vec![],
        table: vec![Slot {
            service: SERVICE,
            holder: Some(node_id(from)),
            phase: Phase::Handover { to: node_id(to) },
            pinned: false,
        }],
    }
}

#[test]
fn chance_is_the_same_everywhere_and_fair() {
    let mut random = Random::new(1);
    assert_eq!(random.number(), 12_966_619_160_104_079_557);
    let hits = (0..100_000).filter(|_| random.chance(200)).count();
    assert!((19_000..21_000).contains(&hits), "{hits}");
    assert!((0..1000).all(|_| (3..=5).contains(&random.between(3, 5))));
}

#[test]
fn frames_go_where_ports_groups_and_pairs_let_them() {
    let mut network = Network::new(3);
    let role = LinkRole::External;
    network.plug(role, 0, true, false);
    assert!(network.path(role, 0, 1) && !network.path(role, 1, 0));
    assert_eq!(network.clients(0), None, "a client needs both directions");
    network.heal();
    network.split(role, &[0, 1, 1]);
    assert!(!network.path(role, 0, 1) && network.path(role, 1, 2) && network.path(LinkRole::Internal, 0, 1));
    assert_ne!(network.clients(0), network.clients(1));
    network.heal();
    network.cut_pair(role, 0, 2, true);
    assert!(!network.path(role, 0, 2) && network.path(role, 2, 0));
}

#[test]
fn loss_and_delay_are_as_bad_as_said() {
    let mut network = Network::new(2);
    let mut random = Random::new(3);
    network.weather[0] = Weather { loss: 200, duplication: 100, reordering: 50, delay: 50 };
    let sent: Vec<_> = (0..20_000).map(|_| network.copies(LinkRole::Internal, &mut random)).collect();
    let lost = sent.iter().filter(|copies| copies[0].is_none()).count();
    let twice = sent.iter().filter(|copies| copies[1].is_some()).count();
    let slow = sent.iter().filter(|copies| copies[0].is_some_and(|after| after > 10 * MILLI)).count();
    assert!((3_600..4_400).contains(&lost) && (1_400..1_800).contains(&twice), "{lost} {twice}");
    assert!((500..900).contains(&slow), "{slow}");
}

#[test]
fn two_holders_that_one_client_reaches_break_p1() {
    let network = Network::new(3);
    let mut checker = Checker::new(100 * MILLI, Minorities::Stop);
    assert_eq!(checker.one_holder(5, SERVICE, &hosts_with_alias(3, &[1]), &network), None);
    assert!(checker.violations.is_empty());
    checker.one_holder(5, SERVICE, &hosts_with_alias(3, &[0, 2]), &network);
    assert_eq!(checker.violations.len(), 1);
}

#[test]
fn two_holders_that_no_client_reaches_both_are_none() {
    let hosts = hosts_with_alias(2, &[0, 1]);
    let mut network = Network::new(2);
    let mut checker = Checker::new(100 * MILLI, Minorities::Stop);
    network.split(LinkRole::External, &[0, 1]);
    checker.one_holder(5, SERVICE, &hosts, &network);
    network.heal();
    network.plug(LinkRole::External, 1, false, true);
    checker.one_holder(5, SERVICE, &hosts, &network);
    assert!(checker.violations.is_empty());
    network.heal();
    checker.one_holder(5, SERVICE, &hosts, &network);
    assert_eq!(checker.violations.len(), 1);
}

/// The judge is asked again and again while both have the address; the process of both runs.
fn handover(committed: bool, offer_nonces: &[(Nanos, u64)], asked: Nanos) -> usize {
    let network = Network::new(2);
    let mut checker = Checker::new(100 * MILLI, Minorities::Stop);
    if committed {
        let state = handover_state(4, 0, 1);
        checker.sent(0, 0, Destination::All, &Packet::State { committed: true, state });
    }
    for (at, nonce) in offer_nonces {
        let offer = Packet::FailBack { service: SERVICE, nonce: *nonce };
        checker.sent(*at, 0, Destination::Node(node_id(1)), &offer);
    }
    let mut hosts = hosts_with_alias(2, &[0, 1]);
    for host in &mut hosts {
        host.process = Some(idle_process());
    }
    checker.one_holder(asked, SERVICE, &hosts, &network);
    checker.violations.len()
}

#[test]
fn a_planned_handover_excuses_both_ends_for_a_moment() {
    let begin = SECOND;
    assert_eq!(handover(true, &[(begin, 1)], begin + 49 * MILLI), 0);
    assert_eq!(handover(true, &[(begin, 1)], begin + 50 * MILLI), 1, "4 p is the end");
    assert_eq!(handover(false, &[(begin, 1)], begin + MILLI), 1, "nobody agreed");
    assert_eq!(handover(true, &[], begin), 1, "nobody offered");
    let repeated = [(begin, 1), (begin + 30 * MILLI, 1)];
    assert_eq!(handover(true, &repeated, begin + 60 * MILLI), 1, "a repeated offer is no new one");
    let again = [(begin, 1), (begin + 30 * MILLI, 2)];
    assert_eq!(handover(true, &again, begin + 60 * MILLI), 0);
}

#[test]
fn one_epoch_with_two_values_is_seen() {
    let mut checker = Checker::new(100 * MILLI, Minorities::Stop);
    for to in [1, 1, 0] {
        let state = handover_state(4, 0, to);
        checker.sent(0, 0, Destination::All, &Packet::State { committed: true, state });
    }
    assert_eq!(checker.violations.len(), 1);
    assert_eq!(checker.violations[0].promise, "S one value an epoch");
}

/// A daemon that does nothing.
fn idle_process() -> Process {
    let mut random = Random::new(1);
    let plan = Plan::quiet(2, &mut random);
    let config = Arc::new(plan.config);
    let identity = Identity { id: node_id(0), incarnation: Incarnation(1), record: None, seed: 1 };
    Process::new(Controller::new(config, identity, Clock::new(0, 0).local(0)))
}

#[test]
fn the_judge_asks_for_the_look_to_be_honest() {
    let mut stopping = 0;
    for seed in 0..500 {
        let plan = Plan::storm(5, &mut Random::new(seed));
        assert!(!plan.classes.is_empty());
        let stops = |class: &Class| matches!(class, Class::Daemon | Class::Pause);
        if plan.classes.iter().any(|(class, _)| stops(class)) {
            stopping += 1;
            assert!(plan.weather[1].loss <= 50 && plan.weather[1].delay == 0);
        }
        let asks = matches!(plan.config.cluster.quorum, Quorum::Arbiter);
        assert!(!asks || !plan.config.cluster.arbiter.is_empty());
    }
    assert!(stopping > 50, "{stopping}");
}
