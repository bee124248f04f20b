//! Some nodes are ill and more than half of them are well: then every address has a holder (P2).

use super::{Event, World};
use crate::controller::NodeState;
use crate::simulator::clock::{MILLI, Nanos};
use crate::simulator::plan::{Class, node_id};
use crate::vocabulary::LinkRole;

/// Between two looks at who has what.
const LOOK: Nanos = 5 * MILLI;

impl World {
    /// One of the ill gets something else as well; or one more is ill, if all others are well and in.
    pub(super) fn one_of_few_is_ill(&mut self) {
        self.forget_the_well();
        let nodes = self.hosts.len();
        let may_be_more = self.ill.len() < (nodes - 1) / 2 && self.others_are_in();
        let more = may_be_more && (self.ill.is_empty() || self.random.chance(500));
        let candidates: Vec<usize> = (0..nodes).filter(|node| self.ill.contains(node) != more).collect();
        if candidates.is_empty() {
            return;
        }
        let node = self.random.pick(&candidates);
        let class = self.random.pick(&self.plan.of_one.classes);
        // Of two cuts the first to end would mend a part of the other, and leave an external port silent that looks well. The end
        // of one may still come when all is healed.
        if matches!(class, Class::Link | Class::Cable) && self.cuts[node] > 0 {
            return;
        }
        self.ill.insert(node);
        self.befall_one(class, node);
    }

    /// Whoever is whole again, and a member for itself and for all that are well.
    fn forget_the_well(&mut self) {
        let is_in = |node: usize| {
            let mut judges =
                (0..self.hosts.len()).filter(|&judge| judge == node || !self.ill.contains(&judge));
            self.is_whole(node) && judges.all(|judge| self.takes_for_up(judge, &[node]))
        };
        let ill = self.ill.iter().copied().filter(|&node| !is_in(node)).collect();
        self.ill = ill;
    }

    fn is_whole(&self, node: usize) -> bool {
        let host = &self.hosts[node];
        self.is_plugged(node) && host.runs() && !host.leaving
    }

    fn is_plugged(&self, node: usize) -> bool {
        LinkRole::ALL.into_iter().all(|role| self.network.is_plugged(role, node))
    }

    fn others_are_in(&self) -> bool {
        let others: Vec<usize> = (0..self.hosts.len()).filter(|node| !self.ill.contains(node)).collect();
        others.iter().all(|&judge| self.takes_for_up(judge, &others))
    }

    /// The judge has a lease, and all those are members for it.
    fn takes_for_up(&self, judge: usize, nodes: &[usize]) -> bool {
        let host = &self.hosts[judge];
        let Some(process) = host.process.as_ref() else { return false };
        let view = process.controller.view(host.clock.local(self.now));
        let up = |id| view.nodes.iter().any(|node| node.id == id && node.state == NodeState::Up);
        view.quorum && nodes.iter().all(|&node| up(node_id(node)))
    }

    pub(super) fn judge_holders(&mut self) {
        if !self.stormy {
            return;
        }
        for service in &self.config.services {
            let when = (self.now, self.plan.of_one.nobody);
            let ago = self.checker.some_holder(when, service.id, &self.hosts, &self.network);
            self.statistics.nobody = self.statistics.nobody.max(ago);
        }
        self.schedule(LOOK, Event::JudgeHolders);
    }
}
