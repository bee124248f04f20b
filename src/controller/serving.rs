//! What this node does about the services that the state gives it: look, take, announce, hand over,
//! release (F, H; paper, the fake procedure). Nothing here decides who should hold what.
//!
//! ```text
//!   none ──named by the state──▶ looking ──nobody answers ∧ lease──▶ wanted ──alias up──▶ serving
//!    ▲                              │ answered: blocked (latched)                           │
//!    └──── released ◀───────── lease over, or the state says somebody else ─────────────────┘
//! ```

use super::*;
use crate::config::OnConflict;
use crate::wire::Phase;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::net::IpAddr;

mod announce;
mod answers;
mod conflict;
mod declining;
mod fresh;
mod handover;
mod look;
mod scripts;
mod services;

use conflict::Rival;
use declining::{Because, Declined};
use look::{Look, Takers};
pub(super) use services::Services;

/// One service on this node.
#[derive(Debug, Clone, Default)]
pub(super) struct Local {
    /// Its aliases shall be up.
    pub wanted: bool,
    /// Its aliases are up, says the faker.
    pub present: bool,
    /// `Wanted::number` that took it off the wanted set, until that is answered: nobody knows yet that it is not up.
    dropped: Option<u64>,
    /// Half or fewer took it from who may not know that: looked at until then (Q2).
    careful_until: Option<Instant>,
    /// Not before a newer version.
    declined: Option<Declined>,
    /// It is not in this node's file: declined if it is not there then either.
    file_by: Option<Instant>,
    /// The stranger who answers for its address.
    pub stranger: Option<[u8; 6]>,
    look: Option<Look>,
    /// What a take rests on that is not up yet, as far as this node knows.
    rests_on: Option<Look>,
    script: Script,
    handover: Option<Handover>,
    /// FAIL_BACK came, stamped with that epoch (H3).
    invited: Option<Epoch>,
    /// The aliases came up and nobody was told yet.
    to_announce: bool,
    announcements: VecDeque<Instant>,
    /// Addresses that a reload brought while it was served here: they come up when a look has found nobody there.
    fresh: Vec<IpAddr>,
    told: Instant,
    defended: Option<Instant>,
    /// A stranger who claims the address while it is served here.
    rival: Option<Rival>,
    /// When others' hands were at its addresses, within the last minute.
    tampered: VecDeque<Instant>,
    /// Who had it before: for people, who are told nothing of what was before this life.
    from: Option<NodeId>,
    /// Which other node the committed state names, and since when.
    named: Option<(NodeId, Instant)>,
    /// Whom the committed states let take it, as holder or by a handover, and the first epoch of those.
    heir: Option<(NodeId, Epoch)>,
    /// Who said last that it has it.
    taker: Option<NodeId>,
    /// This node prepared it and answered READY at that epoch.
    answered: Option<Epoch>,
}

/// Where its `start` and `stop` commands are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Script {
    #[default]
    Stopped,
    Starting(u64),
    Started,
    Stopping(u64),
}

/// H2, this node's side as the old holder.
#[derive(Debug, Clone, Copy)]
struct Handover {
    to: NodeId,
    nonce: u64,
    until: Instant,
    next_send: Instant,
    heard: bool,
    /// This node had the address when the hand-over began: only then it is its to give.
    had: bool,
}

/// What all services share.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    /// The wanted set that the faker was told last.
    sent: Wanted,
    /// `Wanted::number` that the faker answered last.
    pub answered: u64,
    /// When half or fewer began the lineage of which this node is a member (Q2).
    pub alone_since: Instant,
    /// When it was last asked what of the suspects may come here.
    pub looked_for: Instant,
    /// When the lease was lost last, and when it came back.
    lost_at: Instant,
    regained_at: Instant,
    /// It was lost for so long that everything is looked at until then (Q2).
    careful_until: Option<Instant>,
    /// Hearing nothing, this node gave up what it had at that epoch.
    given_up: Option<Epoch>,
    /// Who is no member any more, and said no goodbye: it may be a member elsewhere.
    lost: BTreeSet<NodeId>,
    /// What this node said of itself last.
    pub own_status: Option<Status>,
    /// When this node asks who else has what it serves.
    next_question: Instant,
}

/// What the committed state asks of this node for one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    None,
    Hold,
    Prepare,
    Give { to: NodeId },
    Receive { from: Option<NodeId> },
}

/// FAIL_BACK again, and how long the old holder goes on after it heard the new one (H2, H3).
const HAND_OVER_STEP: Duration = Duration::from_millis(2);
/// Probes after a goodbye.
const QUICK: Duration = Duration::from_millis(1);

impl Local {
    /// Assigned here, but somebody outside answers.
    pub fn is_blocked(&self) -> bool {
        !self.wanted && self.look.is_some_and(|look| look.blocked_until.is_some())
    }

    /// Nothing is done about it here, and nothing remembered that could be in the way of the next time.
    fn rests(&self) -> bool {
        let looks = self.looks() || self.careful_until.is_some() || self.rival.is_some();
        let moves = self.handover.is_some() || self.invited.is_some() || self.answered.is_some();
        let serves = self.may_be_up() || self.script != Script::Stopped || !self.announcements.is_empty();
        !looks && !moves && !serves && self.declined.is_none()
    }

    /// Its aliases are up, or shall be, or nobody knows yet that they are not.
    pub fn may_be_up(&self) -> bool {
        self.wanted || self.present || self.dropped.is_some()
    }
}

impl Serving {
    pub fn new() -> Self {
        Serving {
            sent: Wanted::default(),
            answered: 0,
            alone_since: Instant::ZERO,
            looked_for: Instant::ZERO,
            lost_at: Instant::ZERO,
            regained_at: Instant::ZERO,
            careful_until: None,
            given_up: None,
            lost: BTreeSet::new(),
            own_status: None,
            next_question: Instant::ZERO,
        }
    }
}

impl Controller {
    fn duty(&self, service: ServiceId) -> Duty {
        if !self.is_member() || self.parting {
            return Duty::None;
        }
        let Some(slot) = self.acted_on().and_then(|state| state.slot(service)) else { return Duty::None };
        let mine = slot.holder == Some(self.me);
        match slot.phase {
            Phase::Held if mine => Duty::Hold,
            Phase::Prepare { .. } if mine => Duty::Hold,
            Phase::Prepare { to } if to == self.me => Duty::Prepare,
            Phase::Handover { to } if mine => Duty::Give { to },
            Phase::Handover { to } if to == self.me => Duty::Receive { from: slot.holder },
            _ => Duty::None,
        }
    }

    /// The state that this node does its part in.
    fn acted_on(&self) -> Option<&State> {
        let hasty = self.proposed.as_ref().filter(|_| self.planted(Planted::ActOnProposal));
        hasty.or(self.committed.as_ref())
    }

    pub(super) fn serving_timeout(&self) -> Instant {
        let next = if self.lease.held { self.serving_until() } else { Instant::MAX };
        next.min(self.next_question()).min(self.services.due(self.clock, |local| self.local_due(local)))
    }

    /// When something is due of one service.
    fn local_due(&self, local: &Local) -> Instant {
        let mut next = local.file_by.unwrap_or(Instant::MAX);
        if let Some(look) = &local.look {
            next = next.min(look.next);
            // The moment at which the last probe may count as unanswered.
            let ripe = look.last + self.look_patience(look);
            if ripe > self.clock {
                next = next.min(ripe);
            }
        }
        if let Some(handover) = &local.handover {
            let sends = !handover.heard && handover.had;
            next = next.min(handover.until).min(if sends { handover.next_send } else { Instant::MAX });
        }
        if let Some(rival) = &local.rival {
            next = next.min(rival.due());
        }
        if local.present
            && let Some(&due) = local.announcements.front()
        {
            next = next.min(due);
        }
        next
    }

    /// L6 first, then what is due.
    pub(super) fn serving_tick(&mut self, now: Instant) {
        self.check_lease(now);
        let active = self.services.iter().filter(|(_, local)| !local.rests());
        let ids: Vec<ServiceId> = active.map(|(&id, _)| id).collect();
        for id in ids {
            self.tick_look(now, id);
            self.tick_handover(now, id);
            self.tick_announcements(now, id);
            self.tick_rival(now, id);
        }
        self.ask_who_else(now);
    }

    /// L6: no lease ⇒ the aliases go. Sockets and services stay: they survive a blip.
    fn check_lease(&mut self, now: Instant) {
        let valid = now < self.serving_until();
        if !valid && self.lease.held {
            self.lease.held = false;
            self.lose_care(now);
            let mut lost = Vec::new();
            for (&id, local) in self.services.iter_mut() {
                if local.wanted {
                    local.wanted = false;
                    local.look = None;
                    lost.push(id);
                }
            }
            self.event(Event::LeaseLost);
            for service in lost {
                self.event(Event::Released { service, why: Why::LeaseEnded });
            }
            self.serve(now);
        } else if valid && !self.lease.held {
            self.lease.held = true;
            self.regain_care(now);
        }
    }

    /// The paper's words for «it is mine now», to all.
    fn tell_taken(&mut self, now: Instant, id: ServiceId) {
        let home = ownership::home(&self.config, id) == Some(self.me);
        if let Some(local) = self.services.get_mut(&id) {
            local.told = now;
        }
        self.tell_all(if home {
            Packet::FailbackOk { service: id }
        } else {
            Packet::TakeOver { service: id }
        });
        // The controller does not hear itself.
        let epoch = self.epoch();
        let me = self.me;
        if let Some(office) = &mut self.office {
            office.notes.taken(id, epoch, me);
            self.dirty = true;
        }
    }

    /// After everything that happened: every service does what the state asks, as far as it may.
    pub(super) fn settle_serving(&mut self, now: Instant) {
        self.check_lease(now);
        if self.services.is_empty() || !std::mem::take(&mut self.stirred) {
            return;
        }
        let ids = self.stirring();
        let takers = OnceCell::new();
        for id in ids {
            match self.duty(id) {
                Duty::None => self.settle_none(now, id, &takers),
                Duty::Hold => self.settle_hold(now, id),
                Duty::Prepare => self.settle_prepare(now, id),
                Duty::Give { to } => self.settle_give(now, id, to),
                Duty::Receive { .. } => self.settle_receive(now, id),
            }
        }
        self.serve(now);
    }

    fn settle_none(&mut self, now: Instant, id: ServiceId, takers: &OnceCell<Takers>) {
        // Where it may go is asked only if there is something to drop: with many services it costs most.
        let drop_look = self.services.get(&id).is_some_and(Local::looks) && !self.may_come_here(id, takers);
        let slot =
            self.committed.as_ref().filter(|_| self.is_member()).and_then(|state| state.slot(id)).copied();
        let settled = slot.filter(|slot| slot.phase == Phase::Held);
        let Some(local) = self.services.get_mut(&id) else { return };
        // H3: the new holder was heard, and the state that says so is here sooner than the 2 ms are over
        // in which what was already under way to this node is answered.
        if let Some(handover) = &local.handover
            && handover.heard
            && now < handover.until
            && settled.is_some_and(|slot| slot.holder == Some(handover.to))
        {
            return;
        }
        local.handover = None;
        local.invited = None;
        local.declined = None;
        local.answered = None;
        (local.careful_until, local.file_by) = (None, None);
        if drop_look {
            local.look = None;
            local.stranger = None;
        }
        local.rival = None;
        if local.wanted {
            local.wanted = false;
            self.event(Event::Released { service: id, why: Why::StateChanged });
        }
        // An aborted move: it comes back as a rule.
        let comes_back = slot
            .is_some_and(|slot| matches!(slot.phase, Phase::Abort { .. }) && slot.holder == Some(self.me));
        if !comes_back {
            self.stop_if_idle(now, id);
        }
    }

    fn settle_hold(&mut self, now: Instant, id: ServiceId) {
        // M1: it will have to let go of it.
        let current = self.lease_is_current(now) && !self.is_outranked(now);
        let external = self.external_ok();
        let force = self.config.cluster.on_conflict == OnConflict::Force;
        let keeps = self.planted(Planted::KeepsWhatItCannotServe);
        let known = self.knows_addresses(id);
        let epoch = self.epoch();
        let Some(local) = self.services.get_mut(&id) else { return };
        local.handover = None;
        local.invited = None;
        local.answered = None;
        local.forget_what_was_declined(epoch);
        if local.wanted && !local.fresh.is_empty() && external {
            return self.look_for_fresh(now, id);
        }
        if local.wanted || local.declined.is_some() {
            return;
        }
        if !known {
            return self.await_file(now, id);
        }
        local.file_by = None;
        if !external {
            // What is up goes by a planned move. A controller that is new does not know of the link yet.
            if !local.may_be_up() && !keeps {
                local.look = None;
                self.give_up(now, id);
            }
            return;
        }
        if local.look.is_none_or(|look| look.beside) {
            self.look(now, id, false);
        }
        let Some((look, careful)) =
            self.services.get(&id).and_then(|local| Some((local.look?, local.careful_until)))
        else {
            return;
        };
        let careful = careful.max(self.serving.careful_until.filter(|&until| now < until));
        let forced = force && look.blocked_until.is_some_and(|until| now >= until);
        let negative = self.look_is_negative(now, &look, careful);
        if current && (forced || negative) {
            if !negative {
                let mac = self.services.get(&id).and_then(|local| local.stranger);
                self.event(Event::Forced { service: id, mac });
            }
            self.take(now, id);
        }
    }

    fn take(&mut self, _now: Instant, id: ServiceId) {
        let Some(local) = self.services.get_mut(&id) else { return };
        local.wanted = true;
        local.rests_on = local.look.take();
        local.fresh.clear();
        // Whatever its checks said was about an earlier stay.
        self.unfit.retain(|&unfit| unfit != id);
        self.given_up.retain(|&given_up| given_up != id);
        local.stranger = None;
        local.to_announce = true;
        local.defended = None;
        local.rival = None;
    }

    /// The wanted set, if it differs from what was said last.
    fn serve(&mut self, _now: Instant) {
        let endless = self.planted(Planted::HandoverWithoutUntil);
        let wanted = self.services.iter().filter(|(_, local)| local.wanted);
        let mut order =
            Wanted { number: self.serving.sent.number, until: self.serving_until(), ..Wanted::default() };
        for (&id, local) in wanted {
            order.services.push(id);
            order.withheld.extend(&local.fresh);
            if self.server_runs(id) {
                order.at_once.push(id);
            }
            if let Some(handover) = &local.handover
                && !endless
            {
                order.ending.push((id, handover.until));
            }
        }
        if order.services.is_empty() {
            order.until = Instant::ZERO;
        }
        if self.serving.sent.services != order.services {
            order.number += 1;
            for id in self.serving.sent.services.iter().filter(|id| !order.services.contains(id)) {
                if let Some(local) = self.services.get_mut(id) {
                    local.dropped = Some(order.number);
                }
            }
        }
        if self.serving.sent != order {
            self.serving.sent = order.clone();
            self.effects.push_back(Effect::Serve(order));
        }
    }

    /// The faker compared the wanted set with the kernel.
    pub(super) fn on_present(
        &mut self,
        now: Instant,
        answers: u64,
        present: &[ServiceId],
        announced: &[ServiceId],
    ) {
        // L6: what the lease took away is not taken any more, however late this report comes.
        self.check_lease(now);
        // What this node says of itself may have changed.
        self.dirty |= std::mem::replace(&mut self.serving.answered, answers) != answers;
        for local in self.services.values_mut() {
            local.dropped = local.dropped.filter(|&number| number > answers);
        }
        for &id in present {
            self.services.entry(id).or_default();
        }
        let ids: Vec<ServiceId> = self.services.keys().copied().collect();
        for id in ids {
            let Some(local) = self.services.get_mut(&id) else { continue };
            let was = std::mem::replace(&mut local.present, present.contains(&id));
            if local.present && local.wanted && (local.to_announce || !was) {
                (local.rests_on, local.careful_until) = (None, None);
                self.came_up(now, id, announced.contains(&id));
            } else if was && !self.services[&id].present {
                self.services.get_mut(&id).expect("just seen").announcements.clear();
                self.dirty = true;
            }
        }
    }

    /// Announced at once where the server runs already; after its start where it does not.
    fn came_up(&mut self, now: Instant, id: ServiceId, announced: bool) {
        let from = self.services.get(&id).and_then(|local| local.from);
        self.event(Event::Taken { service: id, from });
        if announced {
            self.announce_again(now, id);
        } else if self.server_runs(id) {
            self.announce(now, id);
        }
        if self.services.get(&id).is_some_and(|local| local.script != Script::Started) {
            self.start(now, id);
        }
        self.tell_taken(now, id);
        self.dirty = true;
    }

    /// Nothing of ours is up any more.
    pub(super) fn holds_nothing(&self) -> bool {
        let told = self.serving.answered == self.serving.sent.number;
        told && self.services.values().all(|local| !local.may_be_up())
    }

    /// The committed state changed.
    pub(super) fn serving_adopted(&mut self, now: Instant, old: Option<&State>) {
        let Some(state) = self.committed.clone() else { return };
        self.take_care(now, old, &state);
        let other_lineage = self.serving_lineage != state.lineage;
        for slot in &state.table {
            let new = !self.services.contains_key(&slot.service);
            let local = self.services.entry(slot.service).or_default();
            if slot.holder != Some(self.me) && slot.phase == Phase::Held {
                local.from = slot.holder;
            }
            if new {
                local.from = None;
            }
            // Epochs of two lineages tell nothing of what came first.
            local.heir = local.heir.filter(|_| !other_lineage);
            local.see_named(now, self.me, state.epoch, slot);
        }
        if other_lineage {
            self.serving_lineage = state.lineage;
            self.announce_held(now);
        }
        self.announce_to_who_comes_back(now, old, &state);
    }

    /// After an own pause somebody else may have what is served or looked for here; in less than T nobody can have
    /// taken over, and a busy machine that is late again and again shall not fill the LAN.
    pub(super) fn serving_late(&mut self, now: Instant, by: Duration) {
        self.check_lease(now);
        if by >= self.timing.t {
            self.restart_looks(now);
            self.announce_held(now);
        }
    }

    /// Everything goes, at once (J3).
    pub(super) fn release_all(&mut self, now: Instant, why: Why) {
        let mut released = Vec::new();
        for (&id, local) in self.services.iter_mut() {
            local.look = None;
            local.handover = None;
            local.invited = None;
            if local.wanted {
                local.wanted = false;
                released.push(id);
            }
        }
        for service in released {
            self.event(Event::Released { service, why });
        }
        self.serve(now);
    }
}
