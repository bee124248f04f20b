//! The controller's own side of L and S: beats, the root lease, grants, proposals and their commit.

use super::*;
use crate::wire::{Header, Report};
use std::collections::BTreeSet;

/// What only the controller has.
#[derive(Debug, Clone)]
pub(super) struct Office {
    pub term: Term,
    /// E4: nobody else's service is reassigned before.
    pub not_before: Instant,
    /// E4's exception: this old controller's own services are free, its leases ended with its root.
    pub predecessor: Option<NodeId>,
    pub won_at: Instant,
    /// The newest term that somebody has stored or voted in who acknowledges nothing older.
    pub outbid: Term,
    /// L3, already less m.
    pub root_end: Instant,
    /// Numbers and sending times of the newest beats.
    beats: VecDeque<(u64, Instant)>,
    /// Sending time of the newest beat that a quorum acknowledged.
    backed: Instant,
    pub(super) next_beat: Instant,
    next_repeat: Instant,
    pub followers: BTreeMap<NodeId, Follower>,
    pub proposal: Option<Proposal>,
    /// Highest version used in this term.
    pub version: u64,
    /// What plan knows beside the state.
    pub notes: plan::Notes,
    quorum_lost: bool,
}

/// What the controller knows of one member.
#[derive(Debug, Clone, Default)]
pub(super) struct Follower {
    /// Sending time of the newest beat (or vote request) that it acknowledged.
    pub acked: Instant,
    /// When every lease granted to it in this term has run out, by this clock.
    pub lease_end: Instant,
    /// Asked before the beat was backed.
    pending: Option<Request>,
    /// Its last report, and the epoch at which it was true.
    pub report: Option<(Epoch, Report)>,
}

/// A member wants a lease.
#[derive(Debug, Clone, Copy)]
struct Request {
    nonce: u64,
    /// The beat that it acknowledged.
    number: u64,
    /// The link on which it came: the answer goes the same way.
    link: LinkRole,
    relay: Option<NodeId>,
}

/// A state on its way to a majority.
#[derive(Debug, Clone)]
pub(super) struct Proposal {
    pub state: State,
    digest: u64,
    acks: BTreeSet<NodeId>,
    /// S2: every lease in question has run out.
    pub not_before: Instant,
    /// Members whose services are reassigned, or who are removed: no grants (L4).
    pub revoked: BTreeSet<NodeId>,
    next_send: Instant,
    /// For the log, on commit.
    pub events: Vec<Event>,
}

/// Beats remembered: more than fit between the sending of one and the end of its use.
const BEATS: usize = 64;

impl Office {
    pub fn new(term: Term, now: Instant) -> Self {
        Office {
            term,
            not_before: now,
            predecessor: None,
            won_at: now,
            outbid: NO_TERM,
            root_end: Instant::ZERO,
            beats: VecDeque::new(),
            backed: Instant::ZERO,
            next_beat: Instant::MAX,
            next_repeat: Instant::MAX,
            followers: BTreeMap::new(),
            proposal: None,
            version: 0,
            notes: plan::Notes::default(),
            quorum_lost: false,
        }
    }

    /// A vote is an acknowledgement of the request's sending (E2).
    pub fn acknowledge(&mut self, node: NodeId, sent: Instant) {
        let follower = self.followers.entry(node).or_default();
        follower.acked = follower.acked.max(sent);
    }

    /// When the newest beat was sent.
    pub fn newest_beat(&self) -> Instant {
        self.beats.back().map_or(self.won_at, |&(_, sent)| sent)
    }

    /// It has, by itself, a beat that was sent then or later.
    pub fn has_acknowledged(&self, node: NodeId, sent: Instant) -> bool {
        self.followers.get(&node).is_some_and(|follower| follower.acked >= sent)
    }

    /// The report of a member, if it is about the committed state.
    pub fn report_at(&self, node: NodeId, epoch: Epoch) -> Option<&Report> {
        let (at, report) = self.followers.get(&node)?.report.as_ref()?;
        (*at == epoch).then_some(report)
    }
}

impl Controller {
    /// Has the quorum: more than half of `members` fulfil `does`; or, where half or fewer may serve, all
    /// others are known to be down (Q1, Q2).
    pub(super) fn enough(&self, members: &[NodeId], does: impl Fn(NodeId) -> bool) -> bool {
        let count = members.iter().filter(|&&member| does(member)).count();
        if 2 * count > members.len() || (2 * count == members.len() && self.planted(Planted::HalfIsAQuorum)) {
            return true;
        }
        self.may_go_alone()
            && count > 0
            && members
                .iter()
                .all(|&member| does(member) || (self.is_down(member) && self.arbiter_answered_since(member)))
    }

    /// The newest time that a quorum backs, of the times that `acked` gives (L3). Where half or fewer may
    /// serve, the silence of suspects does not end the root; an arbiter's does, if it needs one (Q2).
    fn backing(&self, members: &[NodeId], acked: impl Fn(NodeId) -> Instant) -> Instant {
        let mut times: Vec<Instant> = members.iter().map(|&member| acked(member)).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        let half = usize::from(self.planted(Planted::HalfIsAQuorum));
        let majority = times.get(times.len().saturating_sub(half) / 2).copied().unwrap_or(Instant::ZERO);
        if !self.knows_minorities() {
            return majority;
        }
        let calm = members
            .iter()
            .filter(|&&member| !self.suspicions.contains_key(&member) && !self.is_down(member))
            .map(|&member| acked(member))
            .min();
        let cut_off = members.iter().any(|&member| !self.arbiter_answered_since(member));
        self.arbitrate(majority, calm.filter(|_| !cut_off).unwrap_or(Instant::ZERO))
    }

    /// L3: root_end follows the acknowledgements.
    pub(super) fn renew_root(&mut self, now: Instant) {
        let Some(office) = &self.office else { return };
        // Before the first beat the requests for votes take its place; its own vote this node gives at any time.
        let newest = office.beats.back().map_or(now, |&(_, sent)| sent);
        let acked = |node: NodeId| {
            if node == self.me {
                return newest;
            }
            office.followers.get(&node).map_or(Instant::ZERO, |follower| follower.acked)
        };
        let backed = self.backing(&self.basis(), acked);
        let root = self.root();
        let office = self.office.as_mut().expect("looked at above");
        if backed > office.backed {
            office.backed = backed;
            office.root_end = office.root_end.max(backed + root);
            self.stirred = true;
            if office.quorum_lost && office.root_end > now {
                office.quorum_lost = false;
                self.dirty = true;
            }
        }
        let office = self.office.as_mut().expect("looked at above");
        if office.backed >= newest {
            office.next_repeat = Instant::MAX;
        }
    }

    /// L4: grants what was asked for before the beat was backed.
    pub(super) fn grant_pending(&mut self, now: Instant) {
        let epoch = self.epoch();
        let behind = self.planted(Planted::GrantToWhoIsBehind);
        let Some(office) = &self.office else { return };
        let backed_number = office
            .beats
            .iter()
            .rev()
            .find(|(_, sent)| *sent <= office.backed)
            .map_or(0, |(number, _)| *number);
        let ready: Vec<(NodeId, Request)> = office
            .followers
            .iter()
            .filter_map(|(&node, follower)| {
                let request = follower.pending?;
                // L7: who asked before the last commit may not know that it has lost a service by it.
                let up_to_date = behind || follower.report.as_ref().is_some_and(|(at, _)| *at == epoch);
                (up_to_date && request.number <= backed_number).then_some((node, request))
            })
            .collect();
        for (node, request) in ready {
            self.grant(now, node, request);
        }
    }

    fn grant(&mut self, now: Instant, node: NodeId, request: Request) {
        let x = self.timing.x;
        let longest = self.timing.member;
        let careless = self.planted(Planted::GrantWhileRevoking);
        let rootless = self.planted(Planted::GrantBeyondRoot);
        let term = self.epoch().term;
        let Some(office) = &mut self.office else { return };
        // E3: before this term's first proposal nobody knows yet who loses by it.
        let begun = office.term == term;
        let revoked = office.proposal.as_ref().map_or(!begun, |proposal| proposal.revoked.contains(&node));
        if (now >= office.root_end && !rootless) || (revoked && !careless) {
            return;
        }
        let remaining = if rootless { longest } else { (office.root_end.since(now) + x).min(longest) };
        let follower = office.followers.entry(node).or_default();
        follower.pending = None;
        follower.lease_end = follower.lease_end.max(now + remaining);
        let remaining_us = u32::try_from(remaining.as_micros()).unwrap_or(u32::MAX);
        let grant = Packet::Grant { nonce: request.nonce, remaining_us };
        match request.relay {
            None => self.tell_on(node, request.link, grant),
            Some(relay) => self.relay(relay, node, grant),
        }
    }

    /// Through a ring neighbour of the other side, and directly as well (L5).
    pub(super) fn relay(&mut self, relay: NodeId, to: NodeId, packet: Packet) {
        self.tell(to, packet.clone());
        let forward = Packet::Forward {
            origin: self.me,
            incarnation: self.incarnation,
            epoch: self.epoch(),
            to,
            packet: Box::new(packet),
        };
        self.tell(relay, forward);
    }

    /// L2's answer, L4, L7.
    pub(super) fn on_beat_ack(
        &mut self,
        now: Instant,
        header: &Header,
        number: u64,
        nonce: u64,
        report: Report,
        relay: Option<NodeId>,
    ) {
        if self.office.is_none() {
            return;
        }
        let (from, epoch) = (header.from, self.epoch());
        let life =
            self.committed.as_ref().and_then(|state| state.member(from)).map(|member| member.incarnation);
        if life != Some(header.incarnation) {
            return;
        }
        if header.epoch < epoch {
            return self.offer_state(now, from, relay);
        }
        if header.epoch > epoch {
            return;
        }
        let office = self.office.as_mut().expect("looked at above");
        let sent = office.beats.iter().find(|(beat, _)| *beat == number).map(|(_, sent)| *sent);
        let follower = office.followers.entry(from).or_default();
        // Asked through others, it has not necessarily heard the beat that it names: no promise.
        if let (Some(sent), None) = (sent, relay) {
            follower.acked = follower.acked.max(sent);
        }
        let changed = follower.report.as_ref().is_none_or(|(at, last)| *at != epoch || *last != report);
        follower.report = Some((epoch, report));
        let number = if relay.is_some() { 0 } else { number };
        follower.pending = Some(Request { nonce, number, link: header.link, relay });
        if let Some(proposal) = &office.proposal
            && !proposal.acks.contains(&from)
            && proposal.next_send > now + self.timing.p
        {
            office.proposal.as_mut().expect("looked at above").next_send = now + self.timing.p;
        }
        self.dirty |= changed;
        self.renew_root(now);
        self.grant_pending(now);
    }

    /// S1: the next version, to everybody concerned.
    pub(super) fn propose(&mut self, now: Instant, mut state: State, proposal: plan::Conditions) {
        let Some(office) = &mut self.office else { return };
        office.version += 1;
        state.epoch = Epoch { term: office.term, version: office.version };
        let digest = crate::wire::digest(&state);
        office.proposal = Some(Proposal {
            state: state.clone(),
            digest,
            acks: BTreeSet::new(),
            not_before: proposal.not_before,
            revoked: proposal.revoked,
            next_send: now,
            events: proposal.events,
        });
        self.keep_proposal(now, state);
        self.send_proposal(now);
    }

    /// The own acknowledgement, when it is stored.
    pub(super) fn own_ack(&mut self, epoch: Epoch) {
        let me = self.me;
        if let Some(proposal) = self.office.as_mut().and_then(|office| office.proposal.as_mut())
            && proposal.state.epoch == epoch
        {
            proposal.acks.insert(me);
        }
    }

    fn send_proposal(&mut self, now: Instant) {
        let p = self.timing.p;
        // The own disk refused it: it is tried again with every repetition.
        let unstored = self
            .office
            .as_ref()
            .and_then(|office| office.proposal.as_ref())
            .filter(|proposal| !proposal.acks.contains(&self.me) && self.storing.is_none())
            .map(|proposal| proposal.state.clone());
        if let Some(state) = unstored {
            self.keep_proposal(now, state);
        }
        let Some(proposal) = self.office.as_mut().and_then(|office| office.proposal.as_mut()) else { return };
        proposal.next_send = now + p;
        let packet = Packet::State { committed: false, state: proposal.state.clone() };
        let first = proposal.acks.len() <= 1;
        let missing: Vec<NodeId> = proposal
            .state
            .members
            .iter()
            .map(|member| member.id)
            .filter(|id| *id != self.me && !proposal.acks.contains(id))
            .collect();
        if first {
            self.tell_all(packet);
        } else {
            for node in missing {
                self.tell(node, packet.clone());
            }
        }
    }

    pub(super) fn on_state_ack(&mut self, _now: Instant, from: NodeId, epoch: Epoch, digest: u64) {
        let Some(proposal) = self.office.as_mut().and_then(|office| office.proposal.as_mut()) else { return };
        if proposal.state.epoch == epoch && proposal.digest == digest {
            proposal.acks.insert(from);
        }
    }

    /// S2: majority of the old (also of those before a state that was taken over uncommitted) and of the new members ∧ root
    /// valid ∧ every lease in question is over.
    pub(super) fn can_commit(&self, now: Instant) -> bool {
        let Some(office) = &self.office else { return false };
        let Some(proposal) = &office.proposal else { return false };
        let alone = self.planted(Planted::CommitAlone);
        now < office.root_end
            && now >= proposal.not_before
            && proposal.revoked.iter().all(|&node| self.arbiter_answered_since(node))
            && proposal.acks.contains(&self.me)
            && [self.basis(), proposal.state.base_ids(), proposal.state.ids()]
                .iter()
                .all(|members| self.enough(members, |node| alone || proposal.acks.contains(&node)))
    }

    fn commit(&mut self, now: Instant) {
        let Some(office) = &mut self.office else { return };
        let Some(proposal) = office.proposal.take() else { return };
        office.next_beat = office.next_beat.min(now);
        let state = proposal.state.clone();
        self.note_moves(now, state.epoch, &proposal.events);
        for event in proposal.events {
            self.event(event);
        }
        let before = self.committed.clone();
        self.adopt(now, state.clone());
        self.charge_departed(now, before.as_ref(), &state);
        self.tell_all(Packet::State { committed: true, state: state.clone() });
        self.hint(before.as_ref(), &state);
        self.dirty = true;
    }

    /// FAIL_OVER to whoever got something to do: a hint (S3), and the paper's word for it.
    fn hint(&mut self, before: Option<&State>, state: &State) {
        use crate::wire::Phase;
        for slot in &state.table {
            let old = before.and_then(|before| before.slot(slot.service));
            if old.is_some_and(|old| old.phase == slot.phase && old.holder == slot.holder) {
                continue;
            }
            let hint = match (slot.phase, slot.holder) {
                (Phase::Prepare { to }, _) => Some((to, true)),
                (Phase::Held, Some(holder)) if old.and_then(|old| old.holder) != Some(holder) => {
                    Some((holder, false))
                }
                _ => None,
            };
            if let Some((to, prepare)) = hint {
                self.send(
                    Destination::Node(to),
                    Links::Internal,
                    Packet::FailOver { service: slot.service, prepare },
                );
            }
        }
    }

    pub(super) fn office_timeout(&self) -> Instant {
        let Some(office) = &self.office else { return Instant::MAX };
        let proposal = office.proposal.as_ref().map_or(Instant::MAX, |proposal| {
            let waits = Some(proposal.not_before).filter(|at| *at > office.notes.looked_at);
            proposal.next_send.min(waits.unwrap_or(Instant::MAX))
        });
        office.next_beat.min(office.next_repeat).min(proposal).min(office.notes.next_look)
    }

    pub(super) fn office_tick(&mut self, now: Instant) {
        let Some(office) = &self.office else { return };
        if now >= office.next_beat || now >= office.next_repeat {
            self.beat(now);
        }
        let Some(office) = &self.office else { return };
        if office.proposal.as_ref().is_some_and(|proposal| now >= proposal.next_send) {
            self.send_proposal(now);
        }
        let Some(office) = &mut self.office else { return };
        if now >= office.notes.next_look {
            self.dirty = true;
        }
        // Without a root for so long it leads nobody. A new election counts the votes of those too who
        // have restarted meanwhile and are members only in an earlier life.
        if office.root_end + self.timing.promise * 4 < now && office.won_at + self.timing.promise * 4 < now {
            return self.leave_office(now, now);
        }
        if !office.quorum_lost && office.root_end <= now && office.root_end > Instant::ZERO {
            office.quorum_lost = true;
            self.event(Event::QuorumLost);
        }
    }

    /// L8 takes time off both ends of a lease. Where it takes much, the next beat comes sooner: else a second
    /// delay, shorter than the first, ends every lease just before it is renewed.
    fn beat_interval(&self) -> Duration {
        let Some(office) = &self.office else { return self.timing.t };
        // Who has left is remembered, and late for ever.
        let reports = self.members().filter_map(|node| office.followers.get(&node)?.report.as_ref());
        let worst = reports.map(|(_, report)| report.lateness_us).max().unwrap_or(0);
        let members_margin = self.timing.margin(Duration::from_micros(u64::from(worst)));
        // Where T grows, roots count the shorter one's promises for a while.
        let t = self.times_in_force().map(|timing| timing.t).min().unwrap_or(self.timing.t);
        // What is to spare beyond a beat: less where p is T/16.
        let much = (self.timing.t / 3).min(self.timing.x);
        if self.margin() + members_margin > much { t / 2 } else { t }
    }

    /// L1: every T, again every p until a majority acknowledged; every T alone once the root is long lost.
    fn beat(&mut self, now: Instant) {
        let priority = self.priority(self.me);
        let members = self.committed.as_ref().map_or(0, |state| state.members.len());
        let alone = members <= 1;
        let living = self.living();
        // Who is missing may be on the other side of a cut, and lead as well: it must hear this (M1).
        let missing = members < self.config.nodes.len() || !self.suspicions.is_empty();
        let (t, p) = (self.timing.t, self.timing.p);
        let interval = self.beat_interval();
        let Some(office) = &mut self.office else { return };
        let regular = now >= office.next_beat;
        if regular {
            let next = office.next_beat + interval;
            office.next_beat = if next > now { next } else { now + interval };
        }
        let lost = office.root_end + t < now;
        office.next_repeat = if alone || lost { Instant::MAX } else { now + p };
        let number = office.beats.back().map_or(1, |(number, _)| number + 1);
        if office.beats.len() >= BEATS {
            office.beats.pop_front();
        }
        office.beats.push_back((number, now));
        // Without a root it leads nobody, whatever its state says (M1).
        let members = if now < office.root_end { living } else { 0 };
        let links = if regular && !lost && !missing { Links::Internal } else { Links::All };
        self.send(Destination::All, links, Packet::Beat { number, members, priority });
        if regular {
            self.hello_with_beat(now);
        }
        self.ask_arbiter_with_beat(now);
        self.renew_root(now);
        self.grant_pending(now);
    }

    /// After everything that happened: commit what can be committed, then plan what should be next.
    pub(super) fn settle_office(&mut self, now: Instant) {
        if self.office.is_none() {
            return;
        }
        if self.knows_minorities() && !self.suspicions.is_empty() {
            self.renew_root(now);
        }
        // A chain of steps, each one commit; bounded because every commit makes progress.
        for _ in 0..4 {
            if self.can_commit(now) {
                self.commit(now);
            }
            if !self.dirty {
                break;
            }
            self.dirty = false;
            self.plan(now);
            if !self.can_commit(now) {
                break;
            }
        }
        if let Some(office) = &mut self.office {
            office.notes.looked_at = now;
        }
    }

    /// Steps down: somebody else holds a newer term, or this node gives the office away.
    pub(super) fn leave_office(&mut self, now: Instant, until: Instant) {
        if self.office.is_some() {
            self.keep_remarks(now);
        }
        if let Some(office) = self.office.take() {
            self.lease.term = office.term;
            self.lease.end = self.lease.end.max(until + self.margin());
            self.lease.next_ask = now + self.timing.t;
            // Nobody leads until somebody is heard; from now on that is being waited for (E1).
            let following =
                lease::Following { term: office.term, beat_at: now, number: 0, living: 0, heir: None };
            self.following = Some(following);
            self.stirred = true;
            self.dirty = true;
        }
    }
}
