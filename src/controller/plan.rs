//! What the state should be next: the controller's only place for decisions (paper, algorithms 2 and 4).
//!
//! `plan` computes the next state from the committed one and from what is known now, as often as
//! something changes; a proposal under way that says the same stays, any other is replaced (S4). Fail-over,
//! fail-back, drain, standby, move, rebalance: desired holder ≠ present holder, all on one path.
//! Services of the dead come first and alone; they change the table only, so no disk is in their way.
//! Membership and planned moves follow in versions of their own.

use super::ownership::{Loads, capacity, home, imbalance, placement_order};
use super::*;
use crate::config::{Failback, LoadSource, ProbeInterval};
use crate::wire::{Member, Phase, Slot};
use std::collections::BTreeSet;

mod damping;
mod fitness;
mod ground;
mod moves;
mod roster;
mod steps;

use damping::Damping;
pub(super) use ground::Told;

/// What a proposal must wait for, and what its commit means.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    pub not_before: Instant,
    pub revoked: BTreeSet<NodeId>,
    pub events: Vec<Event>,
}

/// What the controller remembers between two plans, beside the state.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    /// The state that this term begins with, until it is committed.
    base: Option<State>,
    /// When `settle` ran last: deadlines up to then have been seen.
    pub looked_at: Instant,
    /// When time alone may change the plan.
    pub next_look: Instant,
    /// A start failed: not there before.
    failures: BTreeMap<(NodeId, ServiceId), Instant>,
    /// Since when a holder has given a service up.
    given_up: BTreeMap<(NodeId, ServiceId), Instant>,
    /// What is held against who comes and goes.
    damping: Damping,
    /// Whose checks failed, whose external link worked, when it was looked at last: changes are charged.
    unfit: BTreeSet<(NodeId, ServiceId)>,
    external: BTreeMap<NodeId, bool>,
    /// The gateway is silent for too many nodes: people were told.
    gateway_suspected: bool,
    /// Services whose check fails on too many nodes to be believed: people were told.
    suspected: BTreeSet<ServiceId>,
    /// Since when a node is fit to get services back.
    fit_since: BTreeMap<NodeId, Instant>,
    /// Since when a service is in its phase.
    phases: BTreeMap<ServiceId, (Phase, Instant)>,
    /// READY or TAKE_OVER for the present epoch.
    ready: BTreeMap<ServiceId, (Epoch, NodeId, bool)>,
    taken: BTreeMap<ServiceId, (Epoch, NodeId)>,
    /// Who gave the service away last may have it until then, if it has not heard that it was taken (H2).
    given: BTreeMap<ServiceId, Instant>,
    /// Operators' wishes, until the state shows them.
    moves: BTreeMap<ServiceId, (NodeId, bool)>,
    standby: BTreeMap<NodeId, bool>,
    frozen: Option<bool>,
    unpin: BTreeSet<ServiceId>,
    /// The lineage of a minority that goes on alone, made once for each lineage it leaves.
    alone: Option<(u64, u64)>,
    changed_at: Instant,
}

impl Default for Notes {
    fn default() -> Self {
        Notes {
            base: None,
            looked_at: Instant::ZERO,
            next_look: Instant::MAX,
            failures: BTreeMap::new(),
            given_up: BTreeMap::new(),
            damping: Damping::default(),
            unfit: BTreeSet::new(),
            external: BTreeMap::new(),
            gateway_suspected: false,
            suspected: BTreeSet::new(),
            fit_since: BTreeMap::new(),
            phases: BTreeMap::new(),
            ready: BTreeMap::new(),
            taken: BTreeMap::new(),
            given: BTreeMap::new(),
            moves: BTreeMap::new(),
            standby: BTreeMap::new(),
            frozen: None,
            unpin: BTreeSet::new(),
            alone: None,
            changed_at: Instant::ZERO,
        }
    }
}

impl Notes {
    /// A new term begins with this state. Every service may have been given away a moment ago.
    pub fn begin(&mut self, now: Instant, base: State, overlap: Duration) {
        self.given = base.table.iter().map(|slot| (slot.service, now + overlap)).collect();
        self.base = Some(base);
        self.changed_at = now;
    }

    /// It goes on with what the last controller held against places.
    pub fn inherit(&mut self, (damping, failures): (Damping, BTreeMap<(NodeId, ServiceId), Instant>)) {
        (self.damping, self.failures) = (damping, failures);
    }

    /// N says that it is prepared, or cannot be (H1).
    pub fn ready(&mut self, service: ServiceId, epoch: Epoch, node: NodeId, ok: bool) {
        self.ready.insert(service, (epoch, node, ok));
    }

    /// N says that it holds it (H3).
    pub fn taken(&mut self, service: ServiceId, epoch: Epoch, node: NodeId) {
        self.taken.insert(service, (epoch, node));
    }

    /// An operator's word also ends what a failed start left behind: the cause may be mended.
    pub fn wish_move(&mut self, service: ServiceId, to: NodeId, pinned: bool) {
        self.failures.remove(&(to, service));
        self.damping.forgive(to, Some(service));
        self.moves.insert(service, (to, pinned));
    }

    pub fn wish_unpin(&mut self, service: ServiceId) {
        self.unpin.insert(service);
    }

    pub fn wish_standby(&mut self, node: NodeId, standby: bool) {
        self.failures.retain(|(failed, _), _| *failed != node);
        if !standby {
            self.damping.forgive(node, None);
        }
        self.standby.insert(node, standby);
    }

    pub fn wish_frozen(&mut self, frozen: bool) {
        self.frozen = Some(frozen);
    }

    pub(super) fn look_again(&mut self, at: Instant) {
        self.next_look = self.next_look.min(at);
    }

    /// Wishes that the state shows are done; those that nothing can come of any more, too.
    fn forget_fulfilled(&mut self, state: &State) {
        self.frozen = self.frozen.filter(|frozen| *frozen != state.frozen);
        self.standby.retain(|node, standby| state.member(*node).is_some_and(|m| m.standby != *standby));
        self.unpin.retain(|service| state.slot(*service).is_some_and(|slot| slot.pinned));
        self.moves.retain(|service, (to, _)| {
            let slot = state.slot(*service);
            let waits = slot.is_some_and(|slot| slot.phase == Phase::Held && slot.holder != Some(*to));
            waits && state.member(*to).is_some()
        });
    }
}

/// How a holder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Fine,
    /// Down or no member: its leases must run out.
    Lost,
    /// It says that it does not serve it, and will not before a newer version.
    Declined,
}

impl Controller {
    pub(super) fn plan(&mut self, now: Instant) {
        let Some(office) = &mut self.office else { return };
        office.notes.next_look = Instant::MAX;
        if now >= office.root_end {
            // Nothing can be decided now; it is not forgotten.
            self.dirty = true;
            return;
        }
        if office.term == self.committed.as_ref().map_or(NO_TERM, |state| state.epoch.term) {
            office.notes.base = None;
        }
        let first = office.notes.base.is_some();
        let Some(current) = office.notes.base.clone().or_else(|| self.committed.clone()) else { return };
        self.take_notes(now, &current);
        let mut next = current.clone();
        let mut conditions = Conditions { not_before: now, revoked: BTreeSet::new(), events: Vec::new() };
        if first {
            self.inherit_waits(&current, &mut conditions);
        }
        self.plan_table(now, &mut next, &mut conditions);
        self.await_leases(now, &current, &next, &mut conditions);
        if next == current && !first {
            self.plan_members(now, &mut next, &mut conditions);
            self.plan_times(&mut next);
            self.plan_flags(&mut next);
            self.plan_moves(now, &mut next, &mut conditions);
        }
        self.choose_lineage(&current, &mut next);
        let office = self.office.as_mut().expect("looked at above");
        // S4: a proposal that is not wanted any more goes, and its revocations with it. But voters have stored it, and whoever
        // controls next would take it up (E3): the present state in a newer version takes its place there.
        if next == current && !first && office.proposal.is_none() {
            self.maybe_resign(now);
            return;
        }
        if !first {
            next.follow(current.ids());
        }
        let same = office
            .proposal
            .as_ref()
            .is_some_and(|proposal| State { epoch: next.epoch, ..proposal.state.clone() } == next);
        if !same {
            self.propose(now, next, conditions);
        }
    }

    /// E3, E4: the inherited state may be a proposal that was never committed, with reassignments whose
    /// leases its author was still waiting for. Nor does this term grant any to who loses by it.
    fn inherit_waits(&self, base: &State, conditions: &mut Conditions) {
        let Some(office) = &self.office else { return };
        for slot in &base.table {
            let old = self.committed.as_ref().and_then(|state| state.slot(slot.service));
            let Some(old) = old.filter(|old| (old.holder, old.phase) != (slot.holder, slot.phase)) else {
                continue;
            };
            for node in possible_holders(old) {
                conditions.not_before = conditions.not_before.max(office.not_before);
                conditions.revoked.insert(node);
            }
        }
    }

    /// What has changed since the last plan, of the things that only time makes.
    fn take_notes(&mut self, now: Instant, current: &State) {
        let fit: Vec<(NodeId, bool)> = current
            .members
            .iter()
            .map(|member| {
                let fit = self.is_calm(member.id)
                    && !member.standby
                    && !member.leaving
                    && self.external_of(member.id);
                (member.id, fit)
            })
            .collect();
        let epoch = self.epoch();
        let forget = self.config.cluster.forget;
        let Some(office) = &mut self.office else { return };
        let notes = &mut office.notes;
        for (node, fit) in fit {
            if fit {
                notes.fit_since.entry(node).or_insert(now);
            } else {
                notes.fit_since.remove(&node);
            }
        }
        notes.fit_since.retain(|node, _| current.member(*node).is_some());
        notes.failures.retain(|_, failed| now.since(*failed) < forget);
        if let Some(first) = notes.failures.values().min() {
            notes.look_again(*first + forget);
        }
        for slot in &current.table {
            let known = notes.phases.get(&slot.service).map(|(phase, _)| *phase);
            if known != Some(slot.phase) {
                notes.phases.insert(slot.service, (slot.phase, now));
            }
        }
        notes.forget_fulfilled(current);
        let failed: Vec<(NodeId, ServiceId)> = office
            .followers
            .iter()
            .filter_map(|(&node, follower)| {
                let (at, report) = follower.report.as_ref()?;
                (*at == epoch && report.external_ok).then_some((node, &report.failed))
            })
            .flat_map(|(node, failed)| failed.iter().map(move |&service| (node, service)))
            .collect();
        for (node, service) in failed {
            self.remember_failure(now, node, service);
        }
        let own = if self.says_external_ok() { self.own_failures() } else { Vec::new() };
        for service in own {
            self.remember_failure(now, self.me, service);
        }
        self.note_fitness(now, current);
    }

    fn remember_failure(&mut self, now: Instant, node: NodeId, service: ServiceId) {
        if let Some(office) = &mut self.office
            && !office.notes.failures.contains_key(&(node, service))
        {
            office.notes.failures.insert((node, service), now);
            self.hold_against(now, node, service);
        }
    }

    /// The node's external link works, as far as it says.
    fn external_of(&self, node: NodeId) -> bool {
        if node == self.me {
            return self.says_external_ok();
        }
        let follower = self.office.as_ref().and_then(|office| office.followers.get(&node));
        if let Some((_, report)) = follower.and_then(|follower| follower.report.as_ref()) {
            return report.external_ok;
        }
        // Who has just won has no reports yet.
        let links = self.peers.get(&node).and_then(|peer| peer.status.as_ref()).map(|status| &status.links);
        links.is_none_or(|links| links.iter().all(|link| link.role != LinkRole::External || link.up))
    }

    fn holder_is(&self, state: &State, node: NodeId, service: ServiceId) -> Holder {
        if node == self.me {
            let declined = self.services.get(&service).is_some_and(|local| local.has_declined(self.epoch()));
            return if declined { Holder::Declined } else { Holder::Fine };
        }
        if state.member(node).is_none() || self.is_down(node) || self.clock >= self.idle_at(node) {
            return Holder::Lost;
        }
        let report = self.office.as_ref().and_then(|office| office.report_at(node, self.epoch()));
        if report.is_some_and(|report| report.failed.contains(&service)) {
            Holder::Declined
        } else {
            Holder::Fine
        }
    }

    /// From when on a member that was granted nothing counts as lost: it may be heard, and hear nothing itself.
    fn idle_at(&self, node: NodeId) -> Instant {
        let Some(office) = self.office.as_ref().filter(|_| node != self.me) else { return Instant::MAX };
        let granted = office.followers.get(&node).map_or(Instant::ZERO, |follower| follower.lease_end);
        granted.max(office.won_at) + lease::DEAF
    }

    /// When everything that was granted to `node` has run out (S2, E4).
    fn free_at(&self, now: Instant, node: NodeId) -> Instant {
        let Some(office) = &self.office else { return Instant::MAX };
        let life =
            self.committed.as_ref().and_then(|state| state.member(node)).map(|member| member.incarnation);
        let left = life.is_some_and(|life| self.is_over(node, life));
        let granted = office.followers.get(&node).map_or(Instant::ZERO, |follower| follower.lease_end);
        // The old controller is free only as long as it has not come back as a member of this term.
        let ended = office.predecessor == Some(node) && granted == Instant::ZERO;
        if ended || left || self.planted(Planted::NoWaitForLeases) {
            return now;
        }
        (granted + self.margin()).max(office.not_before)
    }

    fn may_hold(&self, state: &State, node: NodeId, service: ServiceId) -> bool {
        let failed =
            self.office.as_ref().is_some_and(|office| office.notes.failures.contains_key(&(node, service)));
        !failed && self.obstacle(state, node).is_none()
    }

    /// Why that node may hold nothing.
    fn obstacle(&self, state: &State, node: NodeId) -> Option<Obstacle> {
        let Some(member) = state.member(node) else { return Some(Obstacle::NoMember) };
        let obstacles = [
            (member.leaving, Obstacle::Leaving),
            (member.standby, Obstacle::Standby),
            (self.is_down(node), Obstacle::Down),
            (!self.is_calm(node), Obstacle::Suspect),
            (self.clock >= self.idle_at(node), Obstacle::Idle),
            (capacity(&self.config, node) <= 0.0, Obstacle::NoCapacity),
            (!self.external_of(node), Obstacle::ExternalLink),
        ];
        obstacles.into_iter().find(|(there, _)| *there).map(|(_, obstacle)| obstacle)
    }

    /// Urgent: services without a living holder, and the steps of moves under way.
    fn plan_table(&mut self, now: Instant, next: &mut State, conditions: &mut Conditions) {
        let mut homeless: Vec<ServiceId> = Vec::new();
        for at in 0..next.table.len() {
            let slot = next.table[at];
            let planned = match slot.phase {
                Phase::Held => self.plan_held(now, next, &slot),
                Phase::Failed => self.plan_failed(now, next, &slot),
                Phase::Prepare { to } => self.plan_prepare(now, next, &slot, to, conditions),
                Phase::Handover { to } => self.plan_handover(now, next, &slot, to, conditions),
                Phase::Abort { to } => self.plan_abort(now, next, &slot, to, conditions),
            };
            match planned {
                Step::Stay => {}
                Step::Become(slot) => next.table[at] = slot,
                Step::Place => homeless.push(slot.service),
            }
        }
        self.place(next, &mut homeless, conditions);
    }

    fn plan_held(&mut self, now: Instant, next: &State, slot: &Slot) -> Step {
        // When others may be placed, and when who was never heard counts as lost (C1).
        self.look_again(self.cold_until());
        let Some(holder) = slot.holder else {
            // No longer in the file: `plan_flags` took it from its holder, and nobody gets it again.
            let known = self.config.service(slot.service).is_some();
            let free = known && self.may_place(now, next, slot.service);
            return if free && self.nobody_has(now, next, slot.service) { Step::Place } else { Step::Stay };
        };
        match self.holder_is(next, holder, slot.service) {
            Holder::Fine => {
                self.look_again(self.idle_at(holder));
                Step::Stay
            }
            Holder::Lost if self.never_heard(now, holder) => Step::Stay,
            Holder::Lost | Holder::Declined => Step::Place,
        }
    }

    /// S2: a service goes to another node only after whoever could have it by the state before has said that
    /// it has not, or after its leases.
    fn await_leases(&self, now: Instant, current: &State, next: &State, conditions: &mut Conditions) {
        for slot in &next.table {
            let Some(old) = current.slot(slot.service) else { continue };
            let heir = if slot.phase == Phase::Held { slot.holder } else { None };
            let stays = old.phase == Phase::Held && old.holder == heir;
            // Both ends agreed: N has it, and O serves no longer than its `until` (H2, H3).
            let handed_over = matches!(old.phase, Phase::Handover { to } if Some(to) == heir);
            if heir.is_none() || stays || handed_over {
                continue;
            }
            for node in possible_holders(old) {
                let careless = self.planted(Planted::AbortWithoutWaiting) && Some(node) != old.holder;
                if Some(node) != heir && !careless && !self.has_released(old, node) {
                    conditions.not_before = conditions.not_before.max(self.free_at(now, node));
                    conditions.revoked.insert(node);
                }
            }
        }
    }

    fn given_until(&self, service: ServiceId) -> Option<Instant> {
        self.office.as_ref().and_then(|office| office.notes.given.get(&service)).copied()
    }

    /// How long the old holder goes on at most after the new one has said that it has the address (H2).
    pub(super) fn overlap(&self) -> Duration {
        self.timing.p * 2 + self.margin()
    }

    /// By its own word that node does not have the address, and will not by this slot of the committed state.
    fn has_released(&self, slot: &Slot, node: NodeId) -> bool {
        if self.committed.as_ref().and_then(|state| state.slot(slot.service)) != Some(slot) {
            return false;
        }
        // Who gives never takes; in an abort neither does.
        let only_loses = match slot.phase {
            Phase::Abort { .. } => true,
            Phase::Handover { to } => node != to,
            Phase::Held | Phase::Failed | Phase::Prepare { .. } => false,
        };
        let epoch = self.epoch();
        if node == self.me {
            let local = self.services.get(&slot.service);
            return local.is_none_or(|local| local.has_declined(epoch) || (only_loses && !local.may_be_up()));
        }
        let report = self.office.as_ref().and_then(|office| office.report_at(node, epoch));
        report.is_some_and(|report| {
            report.failed.contains(&slot.service) || (only_loses && !report.holding.contains(&slot.service))
        })
    }

    /// Nobody has the address of a service that the state gives to nobody: every member says so, or is lost
    /// and its leases are over.
    fn nobody_has(&mut self, now: Instant, state: &State, service: ServiceId) -> bool {
        let epoch = self.epoch();
        let members: Vec<NodeId> = state.members.iter().map(|member| member.id).collect();
        members.into_iter().all(|node| {
            if node == self.me {
                return self.services.get(&service).is_none_or(|local| !local.may_be_up());
            }
            let report = self.office.as_ref().and_then(|office| office.report_at(node, epoch));
            if let Some(report) = report {
                return !report.holding.contains(&service);
            }
            let (free, idle) = (self.free_at(now, node), self.idle_at(node));
            self.look_again(free);
            self.look_again(idle);
            now >= free && (self.is_down(node) || self.never_heard(now, node) || now >= idle)
        })
    }

    /// C1: at a cold start others' services wait for their homes.
    fn may_place(&self, now: Instant, next: &State, service: ServiceId) -> bool {
        let home_fits = home(&self.config, service).is_some_and(|home| self.may_hold(next, home, service));
        home_fits || now >= self.cold_until()
    }

    /// A cold start is over. Who came into a cluster that was led has none: whom it never heard others did.
    pub(super) fn cold_until(&self) -> Instant {
        let wait = if self.boot.led { Duration::ZERO } else { self.config.cluster.startup_wait };
        self.started + wait
    }

    /// A member of an earlier time that has not yet appeared since this node started (C1).
    fn never_heard(&self, now: Instant, node: NodeId) -> bool {
        now < self.cold_until() && !self.peers.contains_key(&node)
    }

    fn plan_failed(&mut self, now: Instant, next: &State, slot: &Slot) -> Step {
        let some = next.members.iter().any(|member| self.may_hold(next, member.id, slot.service));
        if some && self.nobody_has(now, next, slot.service) { Step::Place } else { Step::Stay }
    }

    /// What is due already has just been looked at: to look again at once would never end.
    fn look_again(&mut self, at: Instant) {
        let now = self.clock;
        if let Some(office) = self.office.as_mut().filter(|_| at > now) {
            office.notes.look_again(at);
        }
    }

    /// Algorithm 2: each to the best node; home before all others.
    fn place(&mut self, next: &mut State, services: &mut [ServiceId], conditions: &mut Conditions) {
        if services.is_empty() {
            return;
        }
        let (placed, _) = self.ground(next).place(services);
        for (service, to) in placed {
            let Some(old) = next.slot(service).copied() else { continue };
            let slot = match to {
                Some(node) => Slot { service, holder: Some(node), phase: Phase::Held, pinned: false },
                None => self.nowhere(next, &old),
            };
            if slot != old {
                let why = self.why_placed(next, &old);
                conditions.events.push(Event::Assigned { service, from: old.holder, to: slot.holder, why });
                if let Some(at) = next.table.iter().position(|slot| slot.service == service) {
                    next.table[at] = slot;
                }
            }
        }
    }

    fn why_placed(&self, next: &State, old: &Slot) -> Why {
        match old.holder {
            None => Why::ColdStart,
            Some(holder) if self.holder_is(next, holder, old.service) == Holder::Declined => {
                match self.external_of(holder) {
                    false => Why::ExternalLink,
                    true if self.was_ousted(holder, old.service) => Why::Tampered,
                    true => Why::StartFailed,
                }
            }
            Some(_) => Why::HolderDown,
        }
    }

    /// Others on that machine take its addresses away, says the holder.
    fn was_ousted(&self, holder: NodeId, service: ServiceId) -> bool {
        if holder == self.me {
            return self.services.get(&service).is_some_and(|local| local.is_ousted());
        }
        let report = self.office.as_ref().and_then(|office| office.report_at(holder, self.epoch()));
        report.is_some_and(|report| report.ousted.contains(&service))
    }

    /// Nobody may have it. It failed everywhere; or all that could are away, then it waits for them.
    fn nowhere(&self, next: &State, old: &Slot) -> Slot {
        let failed = self.office.as_ref().is_some_and(|office| {
            next.members.iter().any(|member| office.notes.failures.contains_key(&(member.id, old.service)))
        });
        let phase = if failed { Phase::Failed } else { Phase::Held };
        Slot { holder: None, phase, pinned: false, service: old.service }
    }
}

/// Who may have the address by this slot.
fn possible_holders(slot: &Slot) -> impl Iterator<Item = NodeId> {
    let receiver = match slot.phase {
        Phase::Handover { to } | Phase::Abort { to } => Some(to),
        Phase::Held | Phase::Failed | Phase::Prepare { .. } => None,
    };
    [slot.holder, receiver].into_iter().flatten()
}

/// What happens to one slot.
pub(in crate::controller) enum Step {
    Stay,
    Become(Slot),
    Place,
}
