//! Where a service goes: a function of what is known, without memory. The core decides by it, and the forecast and
//! `why` ask the same function of the same ground, on every node: they cannot disagree with what would happen.

use super::ownership::{Loads, home, placement_order};
use crate::config::{Config, Quorum};
use crate::vocabulary::{NodeId, ServiceId};
use crate::wire::{Phase, Slot, State};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// All that a placement depends on, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Ground {
    /// The file.
    pub config: Arc<Config>,
    /// The agreed state.
    pub state: State,
    /// Who decides: idle, it comes first among equals (the paper's rule).
    pub controller: NodeId,
    /// Every member.
    pub nodes: BTreeMap<NodeId, NodeGround>,
    /// What is known of single places beside that; nothing: no entry.
    pub places: BTreeMap<(NodeId, ServiceId), PlaceGround>,
}

/// What is known of a node.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NodeGround {
    /// Why it may take nothing.
    pub obstacle: Option<Obstacle>,
    /// What `load` measures there, in thousandths.
    pub load_permille: Option<u32>,
    /// The gateway does not answer it.
    pub cut_off: bool,
    /// For coming and going.
    pub penalty: u32,
    /// It is damped, and will be used again after so long.
    pub reuse: Option<Duration>,
}

/// What is known of a service on a node.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PlaceGround {
    /// It could not be started there; that is forgotten after so long.
    pub failed: Option<Duration>,
    /// Its checks fail there.
    pub unfit: bool,
    /// For failing there.
    pub penalty: u32,
    /// It is damped there, and will be used again after so long.
    pub reuse: Option<Duration>,
}

/// Why a node may take nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Not in the cluster.
    NoMember,
    /// By an operator's wish.
    Standby,
    /// On its way out.
    Leaving,
    /// Silent, and not yet known to be dead.
    Suspect,
    /// Dead.
    Down,
    /// Too few are left: nobody may serve anything.
    NoQuorum,
    /// It was granted nothing for long.
    Idle,
    /// It never serves.
    NoCapacity,
    /// Its external link does not work.
    ExternalLink,
}

/// How good a candidate is; the better first. Within one, the load decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Nothing against it.
    Good,
    /// It comes and goes.
    Damped,
    /// Its checks fail.
    Unfit,
    /// Both.
    UnfitDamped,
}

/// What becomes of a service when its holder dies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fate {
    /// Which.
    pub service: ServiceId,
    /// Who gets it; `None`: nobody can.
    pub to: Option<NodeId>,
    /// The load of that node when everything has been placed.
    pub load: f64,
}

impl Ground {
    /// How much everybody has to do.
    pub(super) fn loads(&self) -> Loads {
        let measured = self.nodes.iter().filter_map(|(&id, node)| Some((id, node.load_permille?)));
        Loads::of(&self.state, &self.config).measured(&self.config, measured)
    }

    /// It may hold that service.
    pub fn may_hold(&self, node: NodeId, service: ServiceId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.obstacle.is_none())
            && self.places.get(&(node, service)).is_none_or(|place| place.failed.is_none())
    }

    /// How good that node is for that service.
    pub fn rank(&self, node: NodeId, service: ServiceId) -> Rank {
        let place = self.places.get(&(node, service)).copied().unwrap_or_default();
        let node = self.nodes.get(&node).copied().unwrap_or_default();
        match (place.unfit || node.cut_off, place.reuse.is_some() || node.reuse.is_some()) {
            (false, false) => Rank::Good,
            (false, true) => Rank::Damped,
            (true, false) => Rank::Unfit,
            (true, true) => Rank::UnfitDamped,
        }
    }

    /// Who may hold the service, but `holder`.
    pub(super) fn candidates(&self, service: ServiceId, holder: Option<NodeId>) -> Vec<NodeId> {
        let nodes = self.nodes.keys().copied();
        nodes.filter(|&node| Some(node) != holder && self.may_hold(node, service)).collect()
    }

    /// The best place: of the candidates of the best rank its home, else the least loaded. Soft: somebody shall
    /// serve it, and from a rank that is not empty somebody always does.
    pub(super) fn best_of(&self, service: ServiceId, candidates: &[NodeId], loads: &Loads) -> Option<NodeId> {
        let best = candidates.iter().map(|&node| self.rank(node, service)).min()?;
        let equals: Vec<NodeId> =
            candidates.iter().copied().filter(|&node| self.rank(node, service) == best).collect();
        let own_home = home(&self.config, service).filter(|home| equals.contains(home));
        own_home.or_else(|| loads.ranking(&self.config, service, &equals, self.controller).first().copied())
    }

    /// Algorithm 2: each to the best node, heavy ones first; whoever had them has them no more. The loads are those
    /// when all are placed.
    pub(super) fn place(&self, services: &mut [ServiceId]) -> (Vec<(ServiceId, Option<NodeId>)>, Loads) {
        placement_order(&self.config, services);
        let mut loads = self.loads();
        for &service in services.iter() {
            if let Some(holder) = self.state.slot(service).and_then(|slot| slot.holder) {
                loads.remove(&self.config, service, holder);
            }
        }
        let mut placed = Vec::with_capacity(services.len());
        for &service in services.iter() {
            let to = self.best_of(service, &self.candidates(service, None), &loads);
            if let Some(node) = to {
                loads.add(&self.config, service, node);
            }
            placed.push((service, to));
        }
        (placed, loads)
    }

    /// When that node has died, enough are left to go on: more than half of the members, or fewer where the file
    /// allows it (with an arbiter: if it answers then).
    pub fn goes_on_without(&self, node: NodeId) -> bool {
        let silent =
            |obstacle| matches!(obstacle, Some(Obstacle::Down | Obstacle::NoMember | Obstacle::Suspect));
        let living =
            self.nodes.iter().filter(|(id, ground)| **id != node && !silent(ground.obstacle)).count();
        living > 0
            && (2 * living > self.state.members.len() || self.config.cluster.quorum != Quorum::Majority)
    }

    /// Where each service of that node goes when it dies now, as its successor in office decides if it leads.
    pub fn if_dies(&self, node: NodeId) -> Vec<Fate> {
        let mut after = self.clone();
        after.nodes.entry(node).or_default().obstacle = Some(Obstacle::Down);
        let goes_on = self.goes_on_without(node);
        if !goes_on {
            after.nodes.values_mut().for_each(|node| node.obstacle = Some(Obstacle::NoQuorum));
        }
        if self.controller == node {
            after.controller = self.successor(node);
        }
        let able = |to, service| goes_on && self.may_hold(to, service);
        let mut homeless: Vec<ServiceId> = Vec::new();
        let mut finished: Vec<(ServiceId, Option<NodeId>)> = Vec::new();
        for slot in &mut after.state.table {
            if slot.holder != Some(node) {
                // A move towards the dead is given up; its holder has it still.
                if matches!(slot.phase, Phase::Prepare { to } | Phase::Handover { to } if to == node) {
                    slot.phase = Phase::Held;
                }
                continue;
            }
            match slot.phase {
                Phase::Prepare { to } | Phase::Handover { to } if able(to, slot.service) => {
                    *slot = Slot { holder: Some(to), phase: Phase::Held, ..*slot };
                    finished.push((slot.service, Some(to)));
                }
                _ => {
                    slot.phase = Phase::Held;
                    homeless.push(slot.service);
                }
            }
        }
        let (placed, loads) = after.place(&mut homeless);
        let fates = finished.into_iter().chain(placed).map(|(service, to)| Fate {
            service,
            to,
            load: to.map_or(0.0, |to| loads.relative(&self.config, to)),
        });
        fates.collect()
    }

    /// The living member of highest priority but that one.
    fn successor(&self, node: NodeId) -> NodeId {
        let dead =
            |obstacle| matches!(obstacle, Some(Obstacle::Down | Obstacle::NoMember | Obstacle::Suspect));
        let living = self.nodes.iter().filter(|(id, ground)| **id != node && !dead(ground.obstacle));
        let best = living.max_by_key(|(id, _)| super::ownership::priority(&self.config, **id));
        best.map_or(node, |(&id, _)| id)
    }

    /// That node's load without that service, and with it.
    pub fn load_with(&self, node: NodeId, service: ServiceId) -> (f64, f64) {
        let mut loads = self.loads();
        if self.state.slot(service).and_then(|slot| slot.holder) == Some(node) {
            loads.remove(&self.config, service, node);
        }
        (loads.relative(&self.config, node), loads.after(&self.config, service, node))
    }

    /// Who may hold that service, in the order in which they would be taken if it had to be placed now.
    pub fn order(&self, service: ServiceId) -> Vec<NodeId> {
        let mut loads = self.loads();
        if let Some(holder) = self.state.slot(service).and_then(|slot| slot.holder) {
            loads.remove(&self.config, service, holder);
        }
        let mut candidates = self.candidates(service, None);
        let mut order = Vec::with_capacity(candidates.len());
        while let Some(best) = self.best_of(service, &candidates, &loads) {
            candidates.retain(|&node| node != best);
            order.push(best);
        }
        order
    }

    /// More than 1 is more than the node can carry: where a load is measured, or somebody wrote capacities down.
    /// Elsewhere weights and capacities are but relative to each other.
    pub fn knows_limits(&self) -> bool {
        self.nodes.values().any(|node| node.load_permille.is_some())
            || self.config.nodes.iter().any(|node| node.capacity != 1.0 && node.capacity != 0.0)
    }
}
