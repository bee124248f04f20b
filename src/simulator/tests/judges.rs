//! Chance, LANs and judges on their own.

use crate::config::Quorum;
use crate::controller::{Controller, Destination, Identity};
use crate::simulator::checkers::{Checker, Minorities};
use crate::simulator::clock::{Clock, MILLI, Nanos, SECOND};
use crate::simulator::host::{Alias, Host, Process};
use crate::simulator::network::{Network, Weather};
use crate::simulator::plan::{Class, Plan, node_id};
use crate::simulator::random::Random;
use crate::simulator::run::{BOUND, cold_start};
use crate::simulator::settle::{Patience, settle};
use crate::simulator::world::World;
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

/// The old holder's process was stopped, or died, 10 ms after its offer; some other node has the address since.
fn silenced(other: usize, asked: Nanos) -> usize {
    let mut checker = Checker::new(100 * MILLI, Minorities::Stop);
    let state = handover_state(4, 0, 1);
    checker.sent(0, 0, Destination::All, &Packet::State { committed: true, state });
    let offer = Packet::FailBack { service: SERVICE, nonce: 1 };
    checker.sent(SECOND, 0, Destination::Node(node_id(1)), &offer);
    let mut hosts = hosts_with_alias(3, &[0, other]);
    hosts[0].last_silenced = SECOND + 10 * MILLI;
    checker.one_holder(asked, SERVICE, &hosts, &Network::new(3));
    checker.violations.len()
}

#[test]
fn the_kernel_of_who_was_stopped_in_a_handover_is_excused_until_its_lifetime_is_over() {
    let end = SECOND + 10 * MILLI + 2_400 * MILLI;
    for other in [1, 2] {
        assert_eq!(silenced(other, end - 1), 0);
        assert_eq!(silenced(other, end), 1);
    }
}

/// Two holders where the LAN changed a second ago; the second one's address came up at that moment.
fn meeting(minorities: Minorities, came_up: Nanos, asked: Nanos) -> usize {
    let mut checker = Checker::new(100 * MILLI, minorities);
    checker.healed_at = SECOND;
    let mut hosts = hosts_with_alias(2, &[0, 1]);
    hosts[1].aliases[0].since = came_up;
    checker.one_holder(asked, SERVICE, &hosts, &Network::new(2));
    checker.violations.len()
}

#[test]
fn old_holders_that_meet_are_excused_for_three_seconds() {
    let (old, end) = (SECOND + 100 * MILLI, SECOND + 3_000 * MILLI);
    assert_eq!(meeting(Minorities::Meet, 0, end - 1), 0);
    assert_eq!(meeting(Minorities::Meet, 0, end), 1, "3 s are over");
    assert_eq!(meeting(Minorities::Meet, old, end - 1), 0, "its take was under way");
    assert_eq!(meeting(Minorities::Meet, old + 1, old + 1), 1, "it could have seen the other");
    for others in [Minorities::Stop, Minorities::Exclude] {
        assert_eq!(meeting(others, 0, SECOND), 1, "{others:?}");
    }
}

#[test]
fn a_lost_commit_is_excused_for_two_seconds_after_a_process_ended() {
    let lost = |at: Nanos| {
        let mut checker = Checker::new(100 * MILLI, Minorities::Stop);
        checker.forgets(0);
        for (round, version) in [(1, 9), (2, 9)] {
            let mut state = handover_state(version, 0, 1);
            state.epoch.term.round = round;
            checker.sent(at, 0, Destination::All, &Packet::State { committed: true, state });
        }
        checker.violations.len()
    };
    assert_eq!((lost(2_000 * MILLI), lost(2_000 * MILLI + 1)), (0, 1));
}

/// What stays broken, in words and in deed.
type Harm = (&'static str, fn(&mut World));

/// Three nodes, everything healed, and then something that is not.
fn after_the_heal(harm: impl Fn(&mut World)) -> World {
    let mut random = Random::new(3);
    let plan = Plan::quiet(3, &mut random);
    let mut world = World::new(plan, random, None);
    cold_start(&mut world);
    assert!(settle(&mut world, Patience::Bound(BOUND)).is_some(), "all is well");
    world.heal();
    harm(&mut world);
    world
}

#[test]
fn a_cluster_that_does_not_heal_breaks_the_promise() {
    let bound = 5 * SECOND;
    let harms: [Harm; 3] = [
        ("one port stays unplugged", |world| world.network.plug(LinkRole::External, 1, false, false)),
        ("one node hears nothing", |world| {
            for role in LinkRole::ALL {
                world.network.plug(role, 2, true, false);
            }
        }),
        ("one machine stays off", |world| world.power_cut(0)),
    ];
    for (harm, does) in harms {
        let mut world = after_the_heal(does);
        // It takes a moment until a lease ends, and something shows from outside.
        world.run_until(world.now + SECOND);
        let begin = world.now;
        let settled = settle(&mut world, Patience::Bound(bound));
        world.ended = true;
        assert_eq!(settled, None, "{harm}");
        let [violation] = &world.checker.violations[..] else { panic!("{harm}: one promise is broken") };
        assert_eq!(violation.promise, "P2, P5 all well in bounded time", "{harm}: {}", violation.what);
        let late = violation.at - begin - bound;
        assert!(late < SECOND, "{harm}: seen {} ms after the bound", late / MILLI);
    }
    let mut world = after_the_heal(|_| {});
    assert!(settle(&mut world, Patience::Bound(bound)).is_some(), "nothing stays broken");
    world.ended = true;
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
