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

/// One service on this node.
#[derive(Debug, Clone, Default)]
pub(super) struct Local {
    /// Its aliases shall be up.
    pub wanted: bool,
    /// Its aliases are up, says the faker.
    pub present: bool,
    /// Not before a newer version: the start failed at that epoch.
    pub declined: Option<Epoch>,
    /// The stranger who answers for its address.
    pub stranger: Option<[u8; 6]>,
    look: Option<Look>,
    script: Script,
    handover: Option<Handover>,
    /// FAIL_BACK came, stamped with that epoch (H3).
    invited: Option<Epoch>,
    /// The aliases came up and nobody was told yet.
    to_announce: bool,
    announcements: VecDeque<Instant>,
    told: Instant,
    defended: Option<Instant>,
    from: Option<NodeId>,
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

/// F1: is somebody outside answering for the address?
#[derive(Debug, Clone, Copy)]
struct Look {
    since: Instant,
    /// The present holder said goodbye: three quick probes suffice.
    quick: bool,
    sent: u32,
    last: Instant,
    next: Instant,
    /// Of the last 16 probes, which were answered (bit 0: the newest).
    answered: u16,
    /// Latched: one answer, ever, blocks at least until then.
    blocked_until: Option<Instant>,
    /// People know that it is blocked.
    told: bool,
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
    sent: Order,
    /// The wanted set that the faker answered last.
    answered: Vec<ServiceId>,
}

/// The wanted set that the faker was told last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Order {
    services: Vec<ServiceId>,
    until: Instant,
    ending: Vec<(ServiceId, Instant)>,
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

/// Announced at once, then more than a second apart: Linux neighbours ignore a burst (locktime 1 s).
const ANNOUNCE_AGAIN: [Duration; 3] =
    [Duration::from_millis(1100), Duration::from_millis(2200), Duration::from_millis(5000)];
/// FAIL_BACK again, and how long the old holder goes on after it heard the new one (H2, H3).
const HAND_OVER_STEP: Duration = Duration::from_millis(2);
/// Probes after a goodbye.
const QUICK: Duration = Duration::from_millis(1);
/// The kernel's own timer runs out up to this much later than told.
const KERNEL_GRACE: Duration = Duration::from_millis(100);

impl Local {
    /// Started for a planned move, or in need of no start.
    pub fn is_ready(&self) -> bool {
        self.script == Script::Started && !self.wanted && self.declined.is_none()
    }

    /// Assigned here, but somebody outside answers.
    pub fn is_blocked(&self) -> bool {
        !self.wanted && self.look.is_some_and(|look| look.blocked_until.is_some())
    }

    /// It does not serve it and will not at this epoch.
    pub fn has_declined(&self, epoch: Epoch) -> bool {
        self.declined == Some(epoch) && !self.wanted && !self.present
    }
}

impl Serving {
    pub fn new() -> Self {
        Serving { sent: Order::default(), answered: Vec::new() }
    }
}

impl Controller {
    fn duty(&self, service: ServiceId) -> Duty {
        if !self.is_member() || self.parting {
            return Duty::None;
        }
        let Some(slot) = self.committed.as_ref().and_then(|state| state.slot(service)) else {
            return Duty::None;
        };
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

    pub(super) fn serving_timeout(&self) -> Instant {
        let mut next = if self.lease.held { self.serving_until() } else { Instant::MAX };
        for local in self.services.values() {
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
            if local.present
                && let Some(&due) = local.announcements.front()
            {
                next = next.min(due);
            }
        }
        next
    }

    fn look_patience(&self, look: &Look) -> Duration {
        if look.quick { QUICK } else { self.timing.p / 2 }
    }

    /// L6 first, then what is due.
    pub(super) fn serving_tick(&mut self, now: Instant) {
        self.check_lease(now);
        let ids: Vec<ServiceId> = self.services.keys().copied().collect();
        for id in ids {
            self.tick_look(now, id);
            self.tick_handover(now, id);
            self.tick_announcements(now, id);
        }
    }

    /// L6: no lease ⇒ the aliases go. Sockets and services stay: they survive a blip.
    fn check_lease(&mut self, now: Instant) {
        let valid = now < self.serving_until();
        if !valid && self.lease.held {
            self.lease.held = false;
            let mut lost = Vec::new();
            for (&id, local) in &mut self.services {
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
        }
    }

    fn tick_look(&mut self, now: Instant, id: ServiceId) {
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
        self.effects.push_back(Effect::Probe { service: id });
    }

    /// F1: negative? Latched: once answered, blocked until the old kernel must have dropped the address,
    /// and then for as long as any of the last 16 probes was answered.
    fn look_is_negative(&self, now: Instant, look: &Look) -> bool {
        let misses = self.config.cluster.hello_misses;
        let needed = if look.quick { 3 } else { 2 * (misses + 1) };
        // Every probe but the last has had its time; the last one when its patience is over.
        let settled = look.sent - u32::from(look.sent > 0 && now < look.last + self.look_patience(look));
        if self.planted(Planted::LookNotLatched) {
            return settled > 0 && look.answered & 3 == 0;
        }
        match look.blocked_until {
            None => settled >= needed,
            Some(until) => now >= until && look.answered == 0 && settled >= 16,
        }
    }

    fn tick_handover(&mut self, now: Instant, id: ServiceId) {
        let Some(local) = self.services.get_mut(&id) else { return };
        let Some(handover) = &mut local.handover else { return };
        if now >= handover.next_send && !handover.heard && handover.had {
            handover.next_send = now + HAND_OVER_STEP;
            let (to, nonce) = (handover.to, handover.nonce);
            self.tell(to, Packet::FailBack { service: id, nonce });
        }
    }

    fn tick_announcements(&mut self, now: Instant, id: ServiceId) {
        let refresh = self.config.cluster.arp_refresh;
        let jitter = self.nonce() % 200;
        let Some(local) = self.services.get_mut(&id) else { return };
        if !local.present || local.announcements.front().is_none_or(|&due| now < due) {
            return;
        }
        local.announcements.pop_front();
        if local.announcements.is_empty() && !refresh.is_zero() {
            let jittered = refresh * u32::try_from(900 + jitter).unwrap_or(1000) / 1000;
            local.announcements.push_back(now + jittered);
        }
        self.effects.push_back(Effect::Announce { service: id });
    }

    /// At once, and again later.
    pub(super) fn announce(&mut self, now: Instant, id: ServiceId) {
        let Some(local) = self.services.get_mut(&id) else { return };
        local.to_announce = false;
        local.announcements = ANNOUNCE_AGAIN.iter().map(|&after| now + after).collect();
        self.effects.push_back(Effect::Announce { service: id });
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
        let ids: Vec<ServiceId> = self.services.keys().copied().collect();
        for id in ids {
            match self.duty(id) {
                Duty::None => self.settle_none(now, id),
                Duty::Hold => self.settle_hold(now, id),
                Duty::Prepare => self.settle_prepare(now, id),
                Duty::Give { to } => self.settle_give(now, id, to),
                Duty::Receive { .. } => self.settle_receive(now, id),
            }
        }
        self.serve(now);
    }

    fn settle_none(&mut self, now: Instant, id: ServiceId) {
        let keep_look = self.may_come_here(id);
        let slot = self.committed.as_ref().and_then(|state| state.slot(id)).copied();
        let settled = slot.filter(|slot| self.is_member() && slot.phase == Phase::Held);
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
        if !keep_look {
            local.look = None;
            local.stranger = None;
        }
        if local.wanted {
            local.wanted = false;
            self.event(Event::Released { service: id, why: Why::StateChanged });
        }
        self.stop_if_idle(now, id);
    }

    fn settle_hold(&mut self, now: Instant, id: ServiceId) {
        let current = self.lease_is_current(now);
        let external = self.external_ok();
        let force = self.config.cluster.on_conflict == OnConflict::Force;
        let epoch = self.epoch();
        let Some(local) = self.services.get_mut(&id) else { return };
        local.handover = None;
        local.invited = None;
        local.answered = None;
        // A newer version names this node again: it may try again.
        if local.declined.is_some_and(|at| at != epoch) {
            local.declined = None;
        }
        if local.wanted || local.declined.is_some() || !external {
            return;
        }
        if local.look.is_none() {
            self.look(now, id, false);
        }
        let Some(look) = self.services.get(&id).and_then(|local| local.look) else { return };
        let forced = force && look.blocked_until.is_some_and(|until| now >= until);
        if current && (forced || self.look_is_negative(now, &look)) {
            self.take(now, id);
        }
    }

    fn take(&mut self, _now: Instant, id: ServiceId) {
        let Some(local) = self.services.get_mut(&id) else { return };
        local.wanted = true;
        local.look = None;
        local.stranger = None;
        local.to_announce = true;
        local.defended = None;
    }

    /// H1: start and check, no address yet.
    fn settle_prepare(&mut self, now: Instant, id: ServiceId) {
        let epoch = self.epoch();
        let Some(local) = self.services.get_mut(&id) else { return };
        if local.declined.is_some_and(|at| at != epoch) {
            local.declined = None;
        }
        if local.wanted {
            local.wanted = false;
        }
        if local.declined.is_some() {
            return;
        }
        match local.script {
            Script::Stopped => self.start(now, id),
            Script::Started if local.answered != Some(epoch) => {
                local.answered = Some(epoch);
                self.answer_ready(id, true);
            }
            Script::Started | Script::Starting(_) | Script::Stopping(_) => {}
        }
    }

    fn answer_ready(&mut self, id: ServiceId, ok: bool) {
        let epoch = self.epoch();
        let me = self.me;
        if let Some(office) = &mut self.office {
            office.notes.ready(id, epoch, me, ok);
            self.dirty = true;
        } else if let Some(controller) = self.controller() {
            self.tell(controller, Packet::Ready { service: id, ok });
        }
    }

    /// H2: note `until` before the first FAIL_BACK; from then on never beyond it.
    fn settle_give(&mut self, now: Instant, id: ServiceId, to: NodeId) {
        let nonce = self.nonce();
        let limit = self.timing.p * 2;
        let endless = self.planted(Planted::HandoverWithoutUntil);
        let Some(local) = self.services.get_mut(&id) else { return };
        local.look = None;
        let had = local.present && local.wanted;
        let handover = *local.handover.get_or_insert(Handover {
            to,
            nonce,
            until: now + limit,
            next_send: now,
            heard: false,
            had,
        });
        if now >= handover.until && (handover.heard || !endless) {
            if let Some(handover) = &mut local.handover {
                handover.until = Instant::MAX;
                handover.next_send =
                    if handover.heard || !handover.had { Instant::MAX } else { now + HAND_OVER_STEP };
            }
            if local.wanted {
                local.wanted = false;
                self.event(Event::Released { service: id, why: Why::HandedOver });
            }
        }
        self.tick_handover(now, id);
    }

    /// H3: FAIL_BACK and an own lease; the old holder's word replaces the look.
    fn settle_receive(&mut self, now: Instant, id: ServiceId) {
        let current = self.lease_is_current(now);
        let external = self.external_ok();
        let p = self.timing.p;
        let epoch = self.epoch();
        let Some(local) = self.services.get_mut(&id) else { return };
        local.handover = None;
        local.look = None;
        if local.wanted {
            if local.present && now.since(local.told) >= p {
                self.tell_taken(now, id);
            }
            return;
        }
        if local.invited == Some(epoch) && current && external {
            self.take(now, id);
        }
    }

    /// The wanted set, if it differs from what was said last.
    fn serve(&mut self, _now: Instant) {
        let endless = self.planted(Planted::HandoverWithoutUntil);
        let wanted = self.services.iter().filter(|(_, local)| local.wanted);
        let mut order = Order { until: self.serving_until(), ..Order::default() };
        for (&id, local) in wanted {
            order.services.push(id);
            if let Some(handover) = &local.handover
                && !endless
            {
                order.ending.push((id, handover.until));
            }
        }
        if order.services.is_empty() {
            order.until = Instant::ZERO;
        }
        if self.serving.sent != order {
            self.serving.sent = order.clone();
            let Order { services, until, ending } = order;
            self.effects.push_back(Effect::Serve { services, until, ending });
        }
    }

    /// The faker compared the wanted set with the kernel.
    pub(super) fn on_present(&mut self, now: Instant, wanted: Vec<ServiceId>, present: &[ServiceId]) {
        self.serving.answered = wanted;
        for &id in present {
            self.services.entry(id).or_default();
        }
        let ids: Vec<ServiceId> = self.services.keys().copied().collect();
        for id in ids {
            let Some(local) = self.services.get_mut(&id) else { continue };
            let was = std::mem::replace(&mut local.present, present.contains(&id));
            if local.present && local.wanted && (local.to_announce || !was) {
                self.came_up(now, id);
            } else if was && !self.services[&id].present {
                self.services.get_mut(&id).expect("just seen").announcements.clear();
                self.dirty = true;
            }
        }
    }

    /// Announced at once where the server runs already; after its start where it does not.
    fn came_up(&mut self, now: Instant, id: ServiceId) {
        let from = self.services.get(&id).and_then(|local| local.from);
        self.event(Event::Taken { service: id, from });
        let needs_start = self.config.service(id).is_some_and(|service| service.start.is_some());
        let script = self.services.get(&id).map(|local| local.script);
        let started = script == Some(Script::Started);
        if !needs_start || started || self.runs_already(id) {
            self.announce(now, id);
        }
        if !started {
            self.start(now, id);
        }
        self.tell_taken(now, id);
        self.dirty = true;
    }

    /// Another service of this node with the same start command has been started.
    fn runs_already(&self, id: ServiceId) -> bool {
        let Some(start) = self.config.service(id).and_then(|service| service.start.as_ref()) else {
            return false;
        };
        self.services.iter().any(|(&other, local)| {
            other != id
                && local.script == Script::Started
                && self.config.service(other).and_then(|service| service.start.as_ref()) == Some(start)
        })
    }

    fn start(&mut self, _now: Instant, id: ServiceId) {
        let wanted = self.config.service(id).is_some_and(|service| service.start.is_some());
        let token = self.next_token;
        let Some(local) = self.services.get_mut(&id) else { return };
        if !wanted {
            local.script = Script::Started;
            self.dirty = true;
            return self.settle_started(id);
        }
        if local.script == Script::Stopped {
            self.next_token += 1;
            local.script = Script::Starting(token);
            self.effects.push_back(Effect::Run { service: id, action: Action::Start, token });
        }
    }

    fn settle_started(&mut self, id: ServiceId) {
        let epoch = self.epoch();
        if self.duty(id) == Duty::Prepare
            && let Some(local) = self.services.get_mut(&id)
            && local.answered != Some(epoch)
        {
            local.answered = Some(epoch);
            self.answer_ready(id, true);
        }
    }

    /// `stop`, once the address is gone; not while another service here lives by the same command.
    fn stop_if_idle(&mut self, _now: Instant, id: ServiceId) {
        let Some(local) = self.services.get(&id) else { return };
        if local.script != Script::Started || local.present || local.wanted {
            return;
        }
        let stop = self.config.service(id).and_then(|service| service.stop.clone());
        let shared = stop.is_some()
            && self.services.iter().any(|(&other, local)| {
                other != id
                    && local.script != Script::Stopped
                    && self.config.service(other).and_then(|service| service.stop.clone()) == stop
            });
        let token = self.next_token;
        let local = self.services.get_mut(&id).expect("looked at above");
        if stop.is_none() || shared {
            local.script = Script::Stopped;
            return;
        }
        self.next_token += 1;
        local.script = Script::Stopping(token);
        self.effects.push_back(Effect::Run { service: id, action: Action::Stop, token });
    }

    pub(super) fn on_ran(&mut self, now: Instant, id: ServiceId, action: Action, token: u64, ok: bool) {
        let epoch = self.epoch();
        let duty = self.duty(id);
        let Some(local) = self.services.get_mut(&id) else { return };
        match (action, local.script) {
            (Action::Start, Script::Starting(expected)) if expected == token => {}
            (Action::Stop, Script::Stopping(expected)) if expected == token => {
                local.script = Script::Stopped;
                return;
            }
            _ => return,
        }
        if ok {
            local.script = Script::Started;
            let announce = local.present && local.wanted && local.to_announce;
            if announce {
                self.announce(now, id);
            }
            self.settle_started(id);
            return;
        }
        // It cannot run here: the address goes, and the controller places it elsewhere.
        local.script = Script::Stopped;
        local.wanted = false;
        local.declined = Some(epoch);
        self.event(Event::StartFailed { service: id });
        if duty == Duty::Prepare {
            self.answer_ready(id, false);
        }
        self.dirty = true;
        self.serve(now);
        if self.office.is_none() {
            self.ask(now);
        }
    }

    /// Commands that still run, for the orderly leave.
    pub(super) fn scripts_run(&self) -> bool {
        self.services.values().any(|local| matches!(local.script, Script::Starting(_) | Script::Stopping(_)))
    }

    /// Nothing of ours is up any more.
    pub(super) fn holds_nothing(&self) -> bool {
        let settled = self.serving.answered == self.serving.sent.services;
        settled && self.services.values().all(|local| !local.wanted && !local.present)
    }

    /// Services that this node declined at the committed epoch.
    pub(super) fn own_failures(&self) -> Vec<ServiceId> {
        let epoch = self.epoch();
        self.services.iter().filter(|(_, local)| local.has_declined(epoch)).map(|(&id, _)| id).collect()
    }

    // ── looking ─────────────────────────────────────────────────────────────────────────────────────

    fn look(&mut self, now: Instant, id: ServiceId, quick: bool) {
        let local = self.services.entry(id).or_default();
        if local.wanted || local.present {
            return;
        }
        match &mut local.look {
            Some(look) => look.quick |= quick,
            None => {
                local.look = Some(Look {
                    since: now,
                    quick,
                    sent: 0,
                    last: now,
                    next: now,
                    answered: 0,
                    blocked_until: None,
                    told: false,
                });
            }
        }
        self.tick_look(now, id);
    }

    /// This node is among the three likeliest to get one of the suspects' services (so that the look is
    /// over when the decision falls), or a stored proposal names it.
    fn may_come_here(&self, id: ServiceId) -> bool {
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
        let controller = self.controller().unwrap_or(self.me);
        let candidates: Vec<NodeId> = state
            .members
            .iter()
            .filter(|member| !self.is_doubtful(member.id) && !member.standby && !member.leaving)
            .map(|member| member.id)
            .collect();
        if ownership::home(&self.config, id) == Some(self.me) {
            return true;
        }
        let loads = ownership::Loads::of(state, &self.config);
        loads.ranking(&self.config, id, &candidates, controller).iter().take(3).any(|&node| node == self.me)
    }

    /// D3: the look starts with the suspicion, so it costs no time.
    pub(super) fn look_for_suspects(&mut self, now: Instant) {
        let Some(state) = &self.committed else { return };
        let ids: Vec<ServiceId> = state
            .table
            .iter()
            .filter(|slot| slot.holder.is_some_and(|holder| holder != self.me && self.is_doubtful(holder)))
            .map(|slot| slot.service)
            .collect();
        for id in ids {
            if self.may_come_here(id) {
                self.look(now, id, false);
            }
        }
    }

    /// A proposal names this node for a service: the look begins before it is committed.
    pub(super) fn look_at_proposal(&mut self, now: Instant) {
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
    fn holder_left(&self, id: ServiceId) -> bool {
        let Some(state) = &self.committed else { return false };
        let Some(slot) = state.slot(id) else { return false };
        let Some(holder) = slot.holder else { return false };
        state.member(holder).is_some_and(|member| self.has_left(holder, member.incarnation))
    }

    pub(super) fn on_claimed(&mut self, now: Instant, id: ServiceId, mac: [u8; 6]) {
        let life = self.config.cluster.valid_lft;
        let duty = self.duty(id);
        let holder = self.committed.as_ref().and_then(|state| state.slot(id)).and_then(|slot| slot.holder);
        let contact =
            holder.filter(|&holder| holder != self.me).map_or(Instant::ZERO, |holder| self.heard(holder));
        let Some(local) = self.services.get_mut(&id) else { return };
        if let Some(look) = &mut local.look {
            look.answered |= 1;
            let until = look.since.max(contact) + life + KERNEL_GRACE;
            look.blocked_until = Some(look.blocked_until.unwrap_or(until).max(until));
            local.stranger = Some(mac);
            // Told when it is this node's to hold, even if the look began before (F2).
            if duty == Duty::Hold && !std::mem::replace(&mut look.told, true) {
                self.event(Event::Blocked { service: id, mac });
            }
            return;
        }
        // RFC 5227, 2.4: defend, but not more often than every ten seconds; announce at most every second.
        if local.present && duty == Duty::Hold {
            local.stranger = Some(mac);
            let quiet = local.defended.is_none_or(|at| now.since(at) >= Duration::from_secs(10));
            if quiet {
                local.defended = Some(now);
                self.event(Event::Rival { service: id, mac });
                self.announce(now, id);
            }
        }
    }

    // ── hints and news from others ──────────────────────────────────────────────────────────────────

    /// FAIL_BACK: released to this node (H2). Counts only at exactly the epoch that both have.
    pub(super) fn on_fail_back(&mut self, now: Instant, from: NodeId, epoch: Epoch, id: ServiceId) {
        self.commit_if_proved(now, epoch);
        if let Duty::Receive { from: holder } = self.duty(id)
            && holder == Some(from)
            && epoch == self.epoch()
            && let Some(local) = self.services.get_mut(&id)
        {
            local.invited = Some(epoch);
            self.stirred = true;
        }
    }

    /// TAKE_OVER or FAILBACK_OK: `from` holds it now.
    pub(super) fn on_taken(&mut self, now: Instant, from: NodeId, epoch: Epoch, id: ServiceId) {
        if epoch < self.epoch() {
            return;
        }
        if let Some(office) = &mut self.office {
            office.notes.taken(id, epoch, from);
            self.dirty = true;
        }
        if let Some(handover) = self.services.get_mut(&id).and_then(|local| local.handover.as_mut())
            && handover.to == from
            && !handover.heard
        {
            handover.heard = true;
            self.stirred = true;
            handover.until = handover.until.min(now + HAND_OVER_STEP);
        }
    }

    /// The committed state changed.
    pub(super) fn serving_adopted(&mut self, now: Instant) {
        let Some(state) = self.committed.clone() else { return };
        for slot in &state.table {
            let new = !self.services.contains_key(&slot.service);
            let local = self.services.entry(slot.service).or_default();
            if slot.holder != Some(self.me) && slot.phase == Phase::Held {
                local.from = slot.holder;
            }
            if new {
                local.from = None;
            }
        }
        let held: Vec<ServiceId> = self
            .services
            .iter()
            .filter(|(_, local)| local.present && local.wanted)
            .map(|(&id, _)| id)
            .collect();
        if self.serving_lineage != state.lineage {
            self.serving_lineage = state.lineage;
            for id in held {
                self.announce(now, id);
            }
        }
    }

    /// After an own pause somebody else may have announced meanwhile.
    pub(super) fn serving_late(&mut self, now: Instant) {
        self.check_lease(now);
        let held: Vec<ServiceId> = self
            .services
            .iter()
            .filter(|(_, local)| local.present && local.wanted)
            .map(|(&id, _)| id)
            .collect();
        for id in held {
            self.announce(now, id);
        }
    }

    /// Everything goes, at once (J3).
    pub(super) fn release_all(&mut self, now: Instant, why: Why) {
        let mut released = Vec::new();
        for (&id, local) in &mut self.services {
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
