//! F: is somebody outside answering for the address?

use super::*;
use crate::wire::{Remark, Slot};
use std::cell::OnceCell;

/// F1: is somebody outside answering for the address?
#[derive(Debug, Clone, Copy)]
pub(in crate::controller) struct Look {
    pub(super) since: Instant,
    /// The present holder said goodbye: three quick probes suffice.
    pub(super) quick: bool,
    /// For a planned move: the old holder's answers are as they should be, and do not count (H1).
    pub(super) beside: bool,
    /// Somebody answered an earlier look: they do not.
    pub(super) thorough: bool,
    pub(super) sent: u32,
    pub(super) last: Instant,
    pub(super) next: Instant,
    /// Of the last 32 probes, which were answered (bit 0: the newest).
    pub(super) answered: u32,
    /// Latched: one answer, ever, blocks at least until then.
    pub(super) blocked_until: Option<Instant>,
    /// Whose answers those were.
    pub(super) answerer: Answerer,
    /// Of a holder that said goodbye, and may never have had it: sixteen probes, as after a latch.
    unproved: bool,
    /// At that epoch it began anew, because a holder that answered had adopted it.
    pub(super) relieved: Option<Epoch>,
    /// People know that it is blocked.
    pub(super) told: bool,
}

impl Local {
    /// It looks, or has seen a stranger.
    pub(super) fn looks(&self) -> bool {
        self.look.is_some() || self.stranger.is_some()
    }

    fn named_to(&self) -> Option<NodeId> {
        self.named.map(|(node, _)| node)
    }

    /// A state was committed.
    pub(super) fn see_named(&mut self, now: Instant, me: NodeId, epoch: Epoch, slot: &Slot) {
        let heir = match slot.phase {
            Phase::Handover { to } => Some(to),
            _ => slot.holder,
        };
        if heir != self.heir.map(|(node, _)| node) {
            self.heir = heir.map(|node| (node, epoch));
        }
        let named = slot.holder.filter(|&holder| holder != me);
        if named != self.named_to() {
            self.named = named.map(|node| (node, now));
            self.taker = self.taker.filter(|&taker| Some(taker) == named);
        }
    }

    /// TAKE_OVER or FAILBACK_OK of that epoch. It may come behind the state that took note of it: by another thread, or
    /// because a report of its sender told the controller first.
    pub(super) fn see_taken(&mut self, from: NodeId, epoch: Epoch, committed: Epoch) {
        if epoch >= committed || self.heir.is_some_and(|(heir, since)| heir == from && epoch >= since) {
            self.taker = Some(from);
        }
    }
}

/// Among whom the next holder of a doubtful one's services will be chosen, as far as this node knows.
pub(super) struct Takers {
    candidates: Vec<NodeId>,
    loads: ownership::Loads,
    controller: NodeId,
    remarks: Vec<Remark>,
}

/// So many of the likeliest takers look at an address before it is decided who gets it.
const LIKELIEST: usize = 3;

impl Takers {
    /// Whom the controller thinks less of comes later, as it told: unfit, damped, and only then by load.
    fn places_among_the_first(&self, config: &Config, id: ServiceId, me: NodeId) -> bool {
        let against = |node: NodeId| {
            let about =
                self.remarks.iter().filter(|it| it.node == node && it.service.is_none_or(|of| of == id));
            about.fold((false, false), |(unfit, damped), it| (unfit || it.unfit, damped || it.damped))
        };
        let place = |node: NodeId| {
            let standing = self.loads.standing(config, id, node, self.controller)?;
            Some((against(node), standing))
        };
        let Some((mine, my_standing)) = self.candidates.contains(&me).then(|| place(me)).flatten() else {
            return false;
        };
        // It ends at the third that is better: a ranking of all for each service was most of the work where dozens died.
        let better = self.candidates.iter().filter(|&&node| {
            place(node).is_some_and(|(other, standing)| {
                other.cmp(&mine).then_with(|| standing.order(&my_standing)).is_lt()
            })
        });
        better.take(LIKELIEST).count() < LIKELIEST
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answerer {
    Nobody,
    One([u8; 6]),
    /// More than one hardware address, or nobody knows which.
    Unclear,
}

/// Probes that must be unanswered where somebody has answered, or may have.
pub(super) const AFTER_A_LATCH: u32 = 16;

/// The kernel ends a lifetime up to this much later than told: its timers have steps, of an eighth of their time at most,
/// and of 0.08 s where two seconds are left (at 100, 250 and 1000 ticks a second). The rest is for a kernel thread that is
/// late; and sixteen probes must be unanswered besides. A lifetime of one second begins when it must, and its end may be
/// rounded up; with a longer one the faker keeps out of that (`os/address_timer`).
pub(super) fn kernel_grace(valid_lft: Duration) -> Duration {
    match valid_lft.cmp(&Duration::from_secs(2)) {
        Ordering::Less => Duration::from_millis(300),
        Ordering::Equal => Duration::from_millis(150),
        Ordering::Greater => valid_lft / 8 + Duration::from_millis(50),
    }
}

impl Look {
    /// The holder has let go: three probes suffice, unless somebody answered before.
    pub(super) fn hasten(&mut self, now: Instant) {
        if !self.quick && !self.thorough && self.blocked_until.is_none() {
            self.quick = true;
            self.next = self.next.min(now + QUICK);
        }
    }

    /// Whoever answered has let go. The next probe when it is due: an answer calls for no other question.
    pub(super) fn begin_anew(&mut self, now: Instant, quick: bool) {
        let next = if quick { self.next.min(now + QUICK) } else { self.next };
        *self = Look {
            thorough: !quick,
            unproved: self.unproved,
            relieved: self.relieved,
            next,
            ..Look::begin(now, quick)
        };
    }

    pub(super) fn begin_beside(now: Instant) -> Self {
        Look { beside: true, ..Look::begin(now, false) }
    }

    pub(super) fn begin(now: Instant, quick: bool) -> Self {
        Look {
            since: now,
            quick,
            beside: false,
            thorough: false,
            sent: 0,
            last: now,
            next: now,
            answered: 0,
            blocked_until: None,
            answerer: Answerer::Nobody,
            unproved: false,
            relieved: None,
            told: false,
        }
    }
}

impl Controller {
    pub(in crate::controller) fn look_patience(&self, look: &Look) -> Duration {
        if look.quick { QUICK } else { self.timing.p / 2 }
    }

    pub(in crate::controller) fn tick_look(&mut self, now: Instant, id: ServiceId) {
        let half = self.timing.p / 2;
        let quick_need = 3;
        let Some(look) = self.services.get_mut(&id).and_then(|local| local.look.as_mut()) else { return };
        if now < look.next {
            return;
        }
        look.sent = look.sent.saturating_add(1);
        look.last = now;
        look.answered <<= 1;
        let quick = look.quick && look.sent < quick_need && look.blocked_until.is_none();
        look.next = now + if quick { QUICK } else { half };
        let look = *look;
        // The other half is for the answer.
        let leeway = self.look_patience(&look) / 2;
        self.effects.push_back(Effect::Probe { service: id, leeway });
    }

    /// F1: negative? Latched: once answered, blocked until the old kernel must have dropped the address,
    /// and then for as long as any of the last 16 probes was answered.
    ///
    /// Q2: half or fewer look until `careful`, whatever was heard.
    pub(in crate::controller) fn look_is_negative(
        &self,
        now: Instant,
        look: &Look,
        careful: Option<Instant>,
    ) -> bool {
        let misses = self.config.cluster.hello_misses;
        let apart = self.apart(look);
        let needed = match (look.quick, look.unproved) {
            (true, _) => 3,
            (false, true) => AFTER_A_LATCH + apart,
            (false, false) => 2 * (misses + 1) + apart,
        };
        // Every probe but the last has had its time; the last one when its patience is over.
        let settled = look.sent - u32::from(look.sent > 0 && now < look.last + self.look_patience(look));
        if self.planted(Planted::LookNotLatched) {
            return settled > 0 && look.answered & 3 == 0;
        }
        if self.planted(Planted::TakeWithoutLook) {
            return true;
        }
        match look.blocked_until.max(careful) {
            None => settled >= needed,
            Some(until) => {
                let needed = AFTER_A_LATCH + apart;
                now >= until && look.answered << (32 - needed) == 0 && settled >= needed
            }
        }
    }

    /// Two parts of a cluster that wait for the same kernel to fall silent, or hear the same goodbye, would count from the
    /// same moment and take at the same moment, both unseen. So each node counts further than another: the second hears
    /// the first. Where only a majority may serve there is no other part.
    fn apart(&self, look: &Look) -> u32 {
        let synchronous = look.thorough || look.blocked_until.is_some();
        if !self.minorities_may_meet() || !synchronous {
            return 0;
        }
        let before = self.config.nodes.iter().filter(|node| node.id < self.me).count();
        2 * (before % 8) as u32
    }

    /// Q2: an arbiter's answer excludes nobody at once. What half or fewer take from a node that was not heard
    /// since they went on alone (or since this node started, C2), they look at for as long as its lease and
    /// then its kernel may have it, whether its daemon lives or not: whoever had the arbiter until now has
    /// lost it meanwhile. Not where it has said goodbye.
    pub(in crate::controller) fn take_care(&mut self, now: Instant, old: Option<&State>, new: &State) {
        if !self.is_arbitrated() || self.planted(Planted::MinorityLooksShortly) {
            return;
        }
        if old.is_some_and(|old| old.lineage != new.lineage) {
            self.serving.alone_since = now;
        }
        let until = now + self.longest_stay();
        for slot in &new.table {
            let before = old.and_then(|old| old.slot(slot.service)).and_then(|slot| slot.holder);
            if slot.holder != Some(self.me) || slot.phase != Phase::Held || before == Some(self.me) {
                continue;
            }
            let alone_since = self.serving.alone_since;
            let known = match before {
                Some(holder) => {
                    let reached = self.heard(holder) > alone_since && self.kept_the_arbiter(holder);
                    reached || self.has_parted(old, holder)
                }
                None => alone_since == Instant::ZERO && self.everybody_heard(new),
            };
            if !known {
                self.services.entry(slot.service).or_default().careful_until = Some(until);
            }
        }
    }

    /// Under `arbiter` a majority that lost it does not know whether fewer had it meanwhile: that node among them.
    fn kept_the_arbiter(&self, since_heard: NodeId) -> bool {
        let ever = self.lease.held && self.heard(since_heard) > self.serving.regained_at;
        self.rule() != arbiter::Rule::Arbiter || ever
    }

    /// The lease is over: from now on others may come to what an arbiter lets them have (Q2).
    pub(in crate::controller) fn lose_care(&mut self, now: Instant) {
        self.serving.lost_at = now;
    }

    /// The lease is back. In a shorter time nobody else has come to anything; after a longer one this node
    /// looks as carefully as they did (Q2).
    pub(in crate::controller) fn regain_care(&mut self, now: Instant) {
        self.serving.regained_at = now;
        if !self.is_arbitrated() || self.planted(Planted::MinorityLooksShortly) {
            return;
        }
        let stay = self.longest_stay();
        for local in self.services.values_mut().filter(|local| local.careful_until.is_some()) {
            local.careful_until = Some(now + stay);
        }
        let depends = self.rule() == arbiter::Rule::Arbiter || self.serving.alone_since > Instant::ZERO;
        let lost_at = self.serving.lost_at;
        if depends && lost_at > Instant::ZERO && now.since(lost_at) > stay / 2 {
            self.serving.careful_until = Some(now + stay);
        }
    }

    /// How long an address may stay where an arbiter was reached last: until the lease is over, and the
    /// kernel's lifetime after that.
    fn longest_stay(&self) -> Duration {
        let lease = self.longest.coarse().member;
        let life = self.config.cluster.valid_lft;
        lease + life + kernel_grace(life)
    }

    fn has_parted(&self, state: Option<&State>, node: NodeId) -> bool {
        let member = state.and_then(|state| state.member(node));
        member.is_some_and(|member| self.is_over(node, member.incarnation))
    }

    /// Every member and every node of the file has been heard in this life.
    fn everybody_heard(&self, state: &State) -> bool {
        let members = state.members.iter().map(|member| member.id);
        let mut all = members.chain(self.config.nodes.iter().map(|node| node.id));
        all.all(|node| node == self.me || self.heard(node) > Instant::ZERO)
    }

    // ── looking ─────────────────────────────────────────────────────────────────────────────────────

    pub(in crate::controller) fn look(&mut self, now: Instant, id: ServiceId, quick: bool) {
        let unproved = self.holder_parted(id) && !self.had_it(id);
        let unknown = !self.knows_addresses(id);
        let local = self.services.entry(id).or_default();
        if unknown || local.wanted || local.present {
            return;
        }
        match &mut local.look {
            Some(look) if look.beside => *look = Look::begin(now, quick),
            Some(look) if quick => look.hasten(now),
            Some(_) => {}
            None => local.look = Some(Look::begin(now, quick)),
        }
        if let Some(look) = &mut local.look {
            look.unproved |= unproved;
        }
        self.tick_look(now, id);
    }

    /// What was asked until now does not count, an answer that was heard does. Q2: an arbiter that was silent answers again;
    /// whoever has an address may be where it is, and it was asked into nothing. D5: this node slept, and others did not.
    pub(in crate::controller) fn restart_looks(&mut self, now: Instant) {
        for look in self.services.values_mut().filter_map(|local| local.look.as_mut()) {
            (look.sent, look.last, look.next, look.quick) = (0, now, now, false);
        }
        self.stirred = true;
    }

    /// H1: the old holder's word replaces the look of a planned move (H3). It says nothing of another part of the cluster
    /// that may have the address as well where half or fewer may serve: their ARP may be all that comes from there.
    pub(in crate::controller) fn look_beside_the_holder(&mut self, now: Instant, id: ServiceId) {
        let holder = self.holder(id);
        let known = holder.is_none() || self.holders_mac(id).is_some();
        // Whoever is suspected is looked at like anybody else.
        let suspected = holder.is_some_and(|holder| self.suspicions.contains_key(&holder));
        if !self.minorities_may_meet() || !known || suspected {
            return;
        }
        let local = self.services.entry(id).or_default();
        if !local.look.is_some_and(|look| look.beside) {
            local.look = Some(Look::begin_beside(now));
        }
        self.tick_look(now, id);
    }

    pub(in crate::controller) fn sees_the_holder_alone(&self, now: Instant, id: ServiceId) -> bool {
        if !self.minorities_may_meet() || self.planted(Planted::MovesBlindly) {
            return true;
        }
        let look = self.services.get(&id).and_then(|local| local.look.as_ref());
        look.is_some_and(|look| self.look_is_negative(now, look, None))
    }

    pub(super) fn holder(&self, id: ServiceId) -> Option<NodeId> {
        self.committed.as_ref()?.slot(id)?.holder
    }

    pub(super) fn holders_mac(&self, id: ServiceId) -> Option<[u8; 6]> {
        self.mac_of(self.holder(id)?)
    }

    /// As it told itself, in this life or an earlier one.
    pub(super) fn mac_of(&self, node: NodeId) -> Option<[u8; 6]> {
        self.peers.get(&node)?.mac
    }

    /// This node is among the likeliest to get one of the suspects' services (so that the look is over when the
    /// decision falls), or a stored proposal names it. What is the same for many services is found out once, if at all.
    pub(super) fn may_come_here(&self, id: ServiceId, takers: &OnceCell<Takers>) -> bool {
        let named = self
            .proposed
            .as_ref()
            .and_then(|state| state.slot(id))
            .is_some_and(|slot| slot.phase == Phase::Held && slot.holder == Some(self.me));
        if named {
            return true;
        }
        let Some(state) = &self.committed else { return false };
        let Some(holder) = state.slot(id).and_then(|slot| slot.holder) else { return false };
        if !self.is_doubtful(holder) || !self.is_member() || !self.external_ok() {
            return false;
        }
        if ownership::home(&self.config, id) == Some(self.me) {
            return true;
        }
        let takers = takers.get_or_init(|| self.takers(state));
        takers.places_among_the_first(&self.config, id, self.me)
    }

    fn takers(&self, state: &State) -> Takers {
        let fit = state
            .members
            .iter()
            .filter(|member| !self.is_doubtful(member.id) && !member.standby && !member.leaving);
        Takers {
            candidates: fit.map(|member| member.id).collect(),
            loads: self.loads(state),
            controller: self.who_will_decide(),
            remarks: self.remarks(self.clock),
        }
    }

    /// The controller, or who will be: equals stand back behind it (the paper's tie rule).
    fn who_will_decide(&self) -> NodeId {
        let controller = self.controller().unwrap_or(self.me);
        if !self.is_doubtful(controller) {
            return controller;
        }
        let living = self.members().filter(|&node| !self.is_doubtful(node));
        living.max_by_key(|&node| self.priority(node)).unwrap_or(self.me)
    }

    /// D3: the look starts with the suspicion, so it costs no time.
    pub(in crate::controller) fn look_for_suspects(&mut self, now: Instant) {
        self.serving.looked_for = now;
        let Some(state) = &self.committed else { return };
        let ids: Vec<ServiceId> = state
            .table
            .iter()
            .filter(|slot| slot.holder.is_some_and(|holder| holder != self.me && self.is_doubtful(holder)))
            .map(|slot| slot.service)
            .collect();
        // A look begun changes nothing about who the likeliest takers are.
        let takers = OnceCell::new();
        for id in ids {
            if self.may_come_here(id, &takers) {
                let quick = self.holder_left(id);
                self.look(now, id, quick);
            }
        }
    }

    /// A proposal names this node for a service: the look begins before it is committed.
    pub(in crate::controller) fn look_at_proposal(&mut self, now: Instant) {
        let Some(state) = &self.proposed else { return };
        let ids: Vec<ServiceId> = state
            .table
            .iter()
            .filter(|slot| slot.holder == Some(self.me) && slot.phase == Phase::Held)
            .map(|slot| slot.service)
            .collect();
        for id in ids {
            if self.duty(id) == Duty::None {
                let quick = self.holder_left(id);
                self.look(now, id, quick);
            }
        }
    }

    /// The present holder said goodbye, or gave the service up: it has released it.
    pub(in crate::controller) fn holder_left(&self, id: ServiceId) -> bool {
        self.holder_parted(id) && self.had_it(id)
    }

    fn holder_parted(&self, id: ServiceId) -> bool {
        let Some(state) = &self.committed else { return false };
        let Some(holder) = state.slot(id).and_then(|slot| slot.holder) else { return false };
        state.member(holder).is_some_and(|member| self.has_left(holder, member.incarnation))
    }

    /// The present holder has had it, as it said. Else its word says nothing of the kernel of the one before.
    fn had_it(&self, id: ServiceId) -> bool {
        let local = self.services.get(&id);
        let said = local.is_some_and(|local| local.taker.is_some() && local.taker == local.named_to());
        said || self.planted(Planted::QuickWithoutProof)
    }

    /// STATUS of who was named for longer than the kernel of the one before can have kept an address, and tells of nobody
    /// else who has it: as good as TAKE_OVER, which this node may have missed.
    pub(in crate::controller) fn hear_who_holds(&mut self, now: Instant, from: NodeId, status: &Status) {
        let stay = self.longest_stay();
        for (&id, local) in self.services.iter_mut() {
            let long = local.named.is_some_and(|(node, since)| node == from && now.since(since) >= stay);
            if long && !status.strangers.iter().any(|it| it.service == id && !it.served) {
                local.taker = Some(from);
            }
        }
    }
}
