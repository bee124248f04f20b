//! How long clients wait when nodes die: the table at the end of protocol.md, measured (P3), and how the
//! survivors share what the dead left (P4).

use super::clock::{MILLI, Nanos, SECOND};
use super::network::Weather;
use super::plan::{Plan, place};
use super::random::Random;
use super::run::{BOUND, CURRENT, cold_start};
use super::settle::{Patience, settle};
use super::world::World;
use crate::config::{ProbeInterval, Quorum};
use crate::vocabulary::ServiceId;

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victims {
    /// One that is not the controller.
    Plain,
    /// The controller.
    Controller,
    /// Any one.
    Any,
    /// So many neighbours in the ring, in the same instant.
    Neighbours(usize),
}

/// One death at a random moment.
#[derive(Debug, Clone, Copy)]
pub struct Deaths {
    /// All the chance there is.
    pub seed: u64,
    /// 2 to 64.
    pub nodes: usize,
    /// Who.
    pub victims: Victims,
    /// Datagrams lost on both LANs, in thousandths.
    pub loss: u64,
    /// p.
    pub probe: ProbeInterval,
    /// Print what happens from this moment on; `Nanos::MAX`: nothing.
    pub loud_from: Nanos,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outages {
    /// From the power cut to the address on another node, per service that had to move; nanoseconds.
    pub outages: Vec<Nanos>,
    /// Greatest difference of relative loads among the survivors after that.
    pub imbalance: f64,
    /// What went wrong, with what happened last.
    pub failure: Option<String>,
}

/// Kills once and looks.
pub fn deaths(deaths: &Deaths) -> Outages {
    CURRENT.set((deaths.seed, deaths.nodes));
    let mut random = Random::new(deaths.seed);
    let mut plan = Plan::quiet(deaths.nodes, &mut random);
    plan.config.cluster.probe_interval = deaths.probe;
    // As it is by default: half of them may go on.
    plan.config.cluster.quorum = Quorum::Auto;
    // No commands: how long they take is not the protocol's.
    for service in &mut plan.config.services {
        (service.start, service.stop) = (None, None);
    }
    plan.weather = [Weather { loss: deaths.loss, ..Weather::default() }; 2];
    let mut world = World::new(plan, random, None);
    world.trace.loud_from = deaths.loud_from;
    cold_start(&mut world);
    settle(&mut world, Patience::Bound(BOUND));
    world.storm();
    let moment = world.now + SECOND + world.random.below(SECOND);
    world.run_until(moment);
    let outages = if world.checker.violations.is_empty() {
        let victims = choose(&mut world, deaths.victims);
        kill(&mut world, &victims)
    } else {
        failed(&world, "before anybody died")
    };
    world.ended = true;
    outages
}

fn choose(world: &mut World, victims: Victims) -> Vec<usize> {
    let nodes = world.hosts.len();
    let state = world.checker.newest().expect("a settled cluster has a state");
    let controller = place(state.epoch.term.author);
    let any = world.random.below(nodes as u64) as usize;
    match victims {
        Victims::Any => vec![any],
        Victims::Controller => vec![controller],
        Victims::Plain => vec![if any == controller { (any + 1) % nodes } else { any }],
        Victims::Neighbours(count) => (any..any + count).map(|at| at % nodes).collect(),
    }
}

fn kill(world: &mut World, victims: &[usize]) -> Outages {
    let services = world.config.services.iter().map(|service| service.id);
    let mut open: Vec<ServiceId> =
        services.filter(|service| victims.iter().any(|victim| world.hosts[*victim].has(*service))).collect();
    for victim in victims {
        world.power_cut(*victim);
    }
    let crash = world.now;
    let mut outages = Outages::default();
    while !open.is_empty() && world.now < crash + 10 * SECOND && world.checker.violations.is_empty() {
        world.run_until(world.now + MILLI / 10);
        let now = world.now;
        open.retain(|service| {
            let held = world.hosts.iter().any(|host| host.has(*service));
            if held {
                outages.outages.push(now - crash);
            }
            !held
        });
    }
    if !open.is_empty() {
        return failed(world, &format!("10 s after n{victims:?} died, nobody has {open:?}"));
    }
    world.run_until(world.now + 3 * SECOND);
    if !world.checker.violations.is_empty() {
        return failed(world, "after the takeover");
    }
    outages.imbalance = imbalance(world, victims);
    outages
}

fn imbalance(world: &World, victims: &[usize]) -> f64 {
    let alive = (0..world.hosts.len()).filter(|at| !victims.contains(at));
    let loads: Vec<f64> = alive
        .map(|at| {
            let weight = |service: &&crate::config::Service| world.hosts[at].has(service.id);
            let held: f64 = world.config.services.iter().filter(weight).map(|service| service.weight).sum();
            held / world.config.nodes[at].capacity
        })
        .collect();
    let most = loads.iter().copied().fold(f64::MIN, f64::max);
    most - loads.iter().copied().fold(f64::MAX, f64::min)
}

fn failed(world: &World, when: &str) -> Outages {
    let mut text = format!("{when}: {:?}\n", world.checker.violations);
    for line in world.trace.lines() {
        text.push_str(&line);
        text.push('\n');
    }
    Outages { failure: Some(text), ..Outages::default() }
}
