//! Liveness: after everything is healed, all must be well within a bound, and say so from outside.

use super::clock::{MILLI, Nanos, SECOND};
use super::plan::{node_id, place};
use super::world::World;
use crate::config::Failback;
use crate::controller::NodeState;
use crate::wire::{Command, Phase};

/// Between two looks.
const LOOK: Nanos = 100 * MILLI;
/// The operator says again what he wants.
const AGAIN: Nanos = 2 * SECOND;
/// What is not at home by then was put there by hand.
const PINNED: Nanos = 10 * SECOND;
/// For so many looks in a row all was well.
const STEADY: u32 = 5;

/// What happens when the time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A promise is broken.
    Bound(Nanos),
}

/// Runs until all is well; says how long it took. The operator undoes what operators did before.
pub fn settle(world: &mut World, Patience::Bound(bound): Patience) -> Option<Nanos> {
    let begin = world.now;
    let mut steady = 0;
    let mut typed = begin;
    while world.checker.violations.is_empty() {
        world.run_until(world.now + LOOK);
        match unwell(world) {
            None => steady += 1,
            Some(why) if world.now > begin + bound => {
                let what = format!("{} s after everything was healed: {why}", bound / SECOND);
                world.checker.broken(world.now, "P2, P5 all well in bounded time", what);
            }
            Some(_) => steady = 0,
        }
        if steady == STEADY {
            return Some(world.now - begin);
        }
        if steady == 0 && world.now >= typed + AGAIN {
            typed = world.now;
            // A service that was moved by hand looks like one that comes home by itself: that one gets time.
            undo_commands(world, world.now > begin + PINNED);
        }
    }
    None
}

/// What an operator left behind, as any node shows it: frozen, standby, services moved by hand.
fn undo_commands(world: &mut World, failback: bool) {
    let node = world.random.below(world.hosts.len() as u64) as usize;
    let host = &world.hosts[node];
    let Some(process) = host.process.as_ref() else { return };
    let view = process.controller.view(host.clock.local(world.now));
    if view.frozen {
        world.command(node, Command::Thaw);
    }
    for standby in view.nodes.iter().filter(|node| node.state == NodeState::Standby) {
        world.command(node, Command::Online { node: standby.id });
    }
    let away = view.services.iter().any(|service| {
        let home = world.config.service(service.id).and_then(|service| service.home);
        home.is_some() && service.holder != home
    });
    if away && (failback || world.config.cluster.failback == Failback::Manual) {
        world.command(node, Command::Failback { service: None });
    }
}

/// The first thing that is not as it should be; `None`: all is well.
fn unwell(world: &World) -> Option<String> {
    let mut epoch = None;
    for (at, host) in world.hosts.iter().enumerate() {
        let Some(process) = host.process.as_ref() else { return Some(format!("n{} is not running", at + 1)) };
        let stamp = process.controller.stamp();
        if *epoch.get_or_insert((stamp.epoch, stamp.lineage)) != (stamp.epoch, stamp.lineage) {
            return Some(format!("n{} is at another epoch", at + 1));
        }
    }
    services_unwell(world).or_else(|| minds_unwell(world))
}

/// Seen from outside: every address on exactly one machine, where clients reach it, and at home.
fn services_unwell(world: &World) -> Option<String> {
    for service in &world.config.services {
        let mut holders = (0..world.hosts.len()).filter(|at| world.hosts[*at].has(service.id));
        let Some(holder) = holders.next() else {
            return Some(format!("nobody has service {}", service.id.0));
        };
        if let Some(other) = holders.next() {
            return Some(format!("n{} and n{} have service {}", holder + 1, other + 1, service.id.0));
        }
        if world.network.clients(holder) != Some(0) {
            return Some(format!("clients do not reach service {} on n{}", service.id.0, holder + 1));
        }
        if service.home.is_some_and(|home| home != node_id(holder)) {
            return Some(format!("service {} is on n{}, not at home", service.id.0, holder + 1));
        }
    }
    None
}

/// Seen from inside: everybody is a member, follows the same controller, has a lease, and knows the table.
fn minds_unwell(world: &World) -> Option<String> {
    let mut controllers = Vec::new();
    for (at, host) in world.hosts.iter().enumerate() {
        let process = host.process.as_ref()?;
        let view = process.controller.view(host.clock.local(world.now));
        let says = |what: String| Some(format!("n{}: {what}", at + 1));
        if !view.quorum {
            return says("no lease".to_owned());
        }
        controllers.push(view.controller);
        if controllers[0] != view.controller || view.controller.is_none() {
            return says(format!("follows {:?}, n1 follows {:?}", view.controller, controllers[0]));
        }
        if let Some(node) = view.nodes.iter().find(|node| node.state != NodeState::Up) {
            return says(format!("n{} is {:?}", place(node.id) + 1, node.state));
        }
        for service in &view.services {
            let held = service.holder.is_some_and(|holder| world.hosts[place(holder)].has(service.id));
            if !held || service.phase != Some(Phase::Held) {
                return says(format!("service {}: {:?} {:?}", service.id.0, service.holder, service.phase));
            }
        }
    }
    None
}
