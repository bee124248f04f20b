//! Who should hold what: functions of the state, no memory (paper, algorithm 2; promises P4 and P5).

use crate::config::Config;
use crate::vocabulary::{NodeId, ServiceId};
use crate::wire::{Phase, State};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Weight of a service; 1 for one that is not in this node's file.
pub(super) fn weight(config: &Config, service: ServiceId) -> f64 {
    config.service(service).map_or(1.0, |service| service.weight)
}

/// Capacity of a node; 1 for one that is not in this node's file.
pub(super) fn capacity(config: &Config, node: NodeId) -> f64 {
    config.node(node).map_or(1.0, |node| node.capacity)
}

/// Priority of a node; 0 for one that is not in this node's file.
pub(super) fn priority(config: &Config, node: NodeId) -> u16 {
    config.node(node).map_or(0, |node| node.priority)
}

/// Where a service belongs; `None` for `any`.
pub(super) fn home(config: &Config, service: ServiceId) -> Option<NodeId> {
    config.service(service).and_then(|service| service.home)
}

/// Who has a service after the move that is under way.
fn future_holder(slot: &crate::wire::Slot) -> Option<NodeId> {
    match slot.phase {
        Phase::Held | Phase::Abort { .. } => slot.holder,
        Phase::Prepare { to } | Phase::Handover { to } => Some(to),
        Phase::Failed => None,
    }
}

/// Held weight of every node, counting moves under way as done; or what `load` measures, and the weight that came
/// and went since, valued at what a weight costs on the average.
pub(super) struct Loads {
    held: BTreeMap<NodeId, f64>,
    foreign: BTreeMap<NodeId, u32>,
    /// The load of a node, and the weight that made it.
    measured: BTreeMap<NodeId, (f64, f64)>,
    /// Load × capacity of one weight.
    price: f64,
}

/// The least price: several services of one dead node shall be spread even while nobody has anything to do.
const LEAST_PRICE: f64 = 0.05;

impl Loads {
    /// Of this state.
    pub fn of(state: &State, config: &Config) -> Self {
        let mut loads =
            Loads { held: BTreeMap::new(), foreign: BTreeMap::new(), measured: BTreeMap::new(), price: 1.0 };
        for slot in &state.table {
            if let Some(holder) = future_holder(slot) {
                loads.add(config, slot.service, holder);
            }
        }
        loads
    }

    /// With what nodes measure, in thousandths. Who cannot measure is counted by the weights at the same price.
    pub fn measured(mut self, config: &Config, loads: impl Iterator<Item = (NodeId, u32)>) -> Self {
        for (node, permille) in loads {
            let held = self.held.get(&node).copied().unwrap_or(0.0);
            self.measured.insert(node, (f64::from(permille) / 1000.0, held));
        }
        let work: f64 = self.measured.iter().map(|(&node, (load, _))| load * capacity(config, node)).sum();
        let weight: f64 = self.measured.values().map(|(_, held)| held).sum();
        if weight > 0.0 {
            self.price = (work / weight).max(LEAST_PRICE);
        }
        self
    }

    /// `node` holds `service` as well.
    pub fn add(&mut self, config: &Config, service: ServiceId, node: NodeId) {
        *self.held.entry(node).or_default() += weight(config, service);
        if home(config, service) != Some(node) {
            *self.foreign.entry(node).or_default() += 1;
        }
    }

    /// `node` no longer holds `service`.
    pub fn remove(&mut self, config: &Config, service: ServiceId, node: NodeId) {
        *self.held.entry(node).or_default() -= weight(config, service);
        if home(config, service) != Some(node) {
            let foreign = self.foreign.entry(node).or_default();
            *foreign = foreign.saturating_sub(1);
        }
    }

    /// Held weight ÷ capacity; or the measured load, and what came since.
    pub fn relative(&self, config: &Config, node: NodeId) -> f64 {
        self.with(config, node, 0.0)
    }

    /// Relative load with `service` on top.
    pub fn after(&self, config: &Config, service: ServiceId, node: NodeId) -> f64 {
        self.with(config, node, weight(config, service))
    }

    fn with(&self, config: &Config, node: NodeId, more: f64) -> f64 {
        let (load, base) = self.measured.get(&node).copied().unwrap_or((0.0, 0.0));
        let capacity = capacity(config, node);
        let held = self.held.get(&node).copied().unwrap_or(0.0) - base + more;
        let held =
            if capacity > 0.0 { held * self.price / capacity } else { held.max(0.0) * f64::MAX.sqrt() };
        (load + held).max(0.0)
    }

    /// Nothing is held there.
    pub fn is_empty(&self, node: NodeId) -> bool {
        self.held.get(&node).is_none_or(|held| *held <= 1e-9)
    }

    /// Nothing but that service is held there.
    pub fn is_alone(&self, config: &Config, service: ServiceId, node: NodeId) -> bool {
        self.held.get(&node).is_none_or(|held| *held <= weight(config, service) + 1e-9)
    }

    /// Is it serving for somebody else (the paper's «faking»)?
    fn faking(&self, node: NodeId) -> bool {
        self.foreign.get(&node).copied().unwrap_or(0) > 0
    }

    /// How good a place for that service the node is; `None`: its capacity is 0.
    pub fn standing(
        &self,
        config: &Config,
        service: ServiceId,
        node: NodeId,
        controller: NodeId,
    ) -> Option<Standing> {
        let idle = node == controller && !self.faking(node);
        let rest = (!idle, priority(config, node), node);
        (capacity(config, node) > 0.0).then(|| Standing { load: self.after(config, service, node), rest })
    }

    /// The candidates, best first.
    pub fn ranking(
        &self,
        config: &Config,
        service: ServiceId,
        candidates: &[NodeId],
        controller: NodeId,
    ) -> Vec<NodeId> {
        let standing = |&node: &NodeId| self.standing(config, service, node, controller);
        let mut ranked: Vec<Standing> = candidates.iter().filter_map(standing).collect();
        ranked.sort_by(Standing::order);
        ranked.into_iter().map(|Standing { rest: (.., node), .. }| node).collect()
    }
}

/// The place of a candidate: lowest relative load after the move; ties: the controller if it fakes nothing (the
/// paper's rule), then the lowest priority.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    load: f64,
    rest: (bool, u16, NodeId),
}

impl Standing {
    /// The best first.
    pub fn order(&self, other: &Self) -> Ordering {
        let load = self.load.partial_cmp(&other.load).unwrap_or(Ordering::Equal);
        load.then_with(|| self.rest.cmp(&other.rest))
    }
}

/// The services in the order in which they are placed: heavy ones first, then by identity.
pub(super) fn placement_order(config: &Config, services: &mut [ServiceId]) {
    services.sort_by(|&a, &b| {
        weight(config, b).partial_cmp(&weight(config, a)).unwrap_or(Ordering::Equal).then(a.cmp(&b))
    });
}

/// One service that should move so that loads differ by less than its weight (P4): from the most to the
/// least loaded of `nodes`; never one that is at home, never where nothing is gained.
pub(super) fn imbalance(
    state: &State,
    config: &Config,
    nodes: &[NodeId],
    may_move: impl Fn(ServiceId, NodeId) -> bool,
) -> Option<(ServiceId, NodeId)> {
    let loads = Loads::of(state, config);
    let mut best: Option<(f64, ServiceId, NodeId)> = None;
    for slot in &state.table {
        let Some(holder) = slot.holder else { continue };
        if slot.phase != Phase::Held || slot.pinned || home(config, slot.service) == Some(holder) {
            continue;
        }
        for &node in nodes {
            if node == holder || capacity(config, node) <= 0.0 || !may_move(slot.service, node) {
                continue;
            }
            let gain = loads.relative(config, holder) - loads.after(config, slot.service, node);
            if gain > 1e-9 && best.is_none_or(|(most, ..)| gain > most + 1e-9) {
                best = Some((gain, slot.service, node));
            }
        }
    }
    best.map(|(_, service, node)| (service, node))
}
