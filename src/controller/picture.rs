//! The view for people: what this node knows, without changing anything.

use super::*;
use crate::wire::Phase;
use std::collections::BTreeSet;

impl Controller {
    /// For people.
    pub fn view(&self, now: Instant) -> View {
        let until = self.serving_until();
        View {
            me: self.me,
            incarnation: self.incarnation,
            epoch: self.epoch(),
            lineage: self.lineage(),
            controller: self.controller(),
            quorum: self.is_member() && now < until,
            frozen: self.committed.as_ref().is_some_and(|state| state.frozen),
            lease: (now < until).then(|| until.since(now)),
            hello_interval: self.timing.t,
            probe_interval: self.timing.p,
            lateness: self.lateness,
            nodes: self.node_views(now),
            services: self.service_views(now),
            ground: self.committed.as_ref().filter(|_| self.is_member()).map(|state| self.ground(state)),
            moves: self.moves_known(now),
        }
    }

    fn node_views(&self, now: Instant) -> Vec<NodeView> {
        let configured = self.config.nodes.iter().map(|node| node.id);
        let ids: BTreeSet<NodeId> = configured.chain(self.members()).chain([self.me]).collect();
        let state = self.committed.as_ref().filter(|_| self.is_member());
        let loads = state.map(|state| self.loads(state));
        let recent = self.timing.t * 3;
        ids.into_iter()
            .map(|id| {
                let peer = self.peers.get(&id);
                let mine = id == self.me;
                NodeView {
                    id,
                    state: self.node_state(now, id),
                    incarnation: state.and_then(|state| state.member(id)).map(|member| member.incarnation),
                    left: state.and_then(|state| state.left_of(id)),
                    right: state.and_then(|state| state.right_of(id)),
                    load: loads.as_ref().map_or(0.0, |loads| loads.relative(&self.config, id)),
                    heard: peer.filter(|peer| peer.heard > Instant::ZERO).map(|peer| now.since(peer.heard)),
                    status: if mine {
                        Some(self.own_status(now))
                    } else {
                        peer.and_then(|p| p.status.clone())
                    },
                    round_trip: peer.filter(|_| self.ring.right == Some(id)).and_then(|peer| peer.round_trip),
                    heard_on: [LinkRole::Internal, LinkRole::External]
                        .into_iter()
                        .filter(|&role| {
                            peer.is_some_and(|peer| {
                                let heard = peer.heard_on[detector::link_index(role)];
                                heard > Instant::ZERO && now.since(heard) <= recent
                            })
                        })
                        .collect(),
                }
            })
            .collect()
    }

    fn node_state(&self, now: Instant, id: NodeId) -> NodeState {
        let member = self.committed.as_ref().filter(|_| self.is_member()).and_then(|state| state.member(id));
        match member {
            Some(_) if !self.is_calm(id) => NodeState::Suspect,
            Some(member) if member.leaving => NodeState::Leaving,
            Some(member) if member.standby => NodeState::Standby,
            Some(_) => NodeState::Up,
            None if id == self.me => NodeState::Joining,
            None => {
                let boots = self.peers.get(&id).and_then(|peer| peer.boot.as_ref());
                let talks = boots.is_some_and(|(at, _)| now.since(*at) <= self.timing.t * 5);
                if talks { NodeState::Joining } else { NodeState::Down }
            }
        }
    }

    fn service_views(&self, now: Instant) -> Vec<ServiceView> {
        let state = self.committed.as_ref().filter(|_| self.is_member());
        let table = state.iter().flat_map(|state| state.table.iter().map(|slot| slot.service));
        let ids: BTreeSet<ServiceId> =
            self.config.services.iter().map(|service| service.id).chain(table).collect();
        ids.into_iter()
            .map(|id| {
                let slot = state.and_then(|state| state.slot(id));
                let local = self.services.get(&id);
                ServiceView {
                    id,
                    holder: slot.and_then(|slot| slot.holder),
                    phase: slot.map(|slot| slot.phase),
                    state: self.service_state(now, slot),
                    here: local.is_some_and(|local| local.present),
                    stranger: local
                        .and_then(|local| local.stranger)
                        .or_else(|| self.stranger_at(slot?).map(|stranger| stranger.mac)),
                }
            })
            .collect()
    }

    /// Who else has the address, as its holder told.
    fn stranger_at(&self, slot: &crate::wire::Slot) -> Option<crate::wire::Stranger> {
        let holder = slot.holder.filter(|&holder| holder != self.me && self.is_calm(holder))?;
        let told = self.peers.get(&holder)?.status.as_ref()?;
        told.strangers.iter().find(|stranger| stranger.service == slot.service).copied()
    }

    fn service_state(&self, now: Instant, slot: Option<&crate::wire::Slot>) -> ServiceState {
        let Some(slot) = slot else { return ServiceState::Stopped };
        let blocked = |id: ServiceId, holder: NodeId| {
            let own = self.services.get(&id).is_some_and(|local| local.is_blocked());
            let told = self.office.as_ref().and_then(|office| office.report_at(holder, self.epoch()));
            // The controller knows by the report; the others learn it every two seconds.
            let said = self.office.is_none() && self.stranger_at(slot).is_some_and(|it| !it.served);
            (holder == self.me && own) || told.is_some_and(|report| report.blocked.contains(&id)) || said
        };
        match (slot.phase, slot.holder) {
            (Phase::Failed, _) => ServiceState::Failed,
            (Phase::Held, None) => ServiceState::Stopped,
            (Phase::Held, Some(holder)) if blocked(slot.service, holder) => ServiceState::Orphaned,
            (Phase::Held, Some(_)) if now >= self.serving_until() => ServiceState::Stopped,
            (Phase::Held, Some(_)) => ServiceState::Held,
            (Phase::Prepare { .. } | Phase::Handover { .. } | Phase::Abort { .. }, _) => ServiceState::Moving,
        }
    }
}
