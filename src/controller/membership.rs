//! J, M, C and the orderly leave: how a node comes in and goes out; what operators ask; the small news.

use super::arbiter::Rule;
use super::*;
use crate::wire::{Command, ConfigVersion, Header, LinkStatus};

mod merge;
mod operators;

/// A node that is no member.
#[derive(Debug, Clone)]
pub(super) struct Booting {
    next_check: Instant,
    /// Somebody leads: (when heard, who).
    pub controller_seen: Option<(Instant, NodeId)>,
    /// The highest round heard of.
    pub round_seen: u32,
    /// The stranger lineage that outranks the own one (M1): its controller, when.
    pub outranked: Option<(NodeId, Instant)>,
    /// When another lineage was heard last.
    pub foreign_heard: Instant,
    /// The last state that named this node had it on standby.
    pub standby: bool,
    /// It came into a cluster that another node led.
    pub led: bool,
}

/// An operator's request on its way to the controller.
#[derive(Debug, Clone)]
pub(super) struct Forwarded {
    id: u64,
    command: Command,
    since: Instant,
    next_send: Instant,
}

const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// An operator waits no longer for a controller that does not answer.
const COMMAND_LIMIT: Duration = Duration::from_secs(2);
/// Requests of operators under way on one node.
const COMMANDS: usize = 32;

impl Booting {
    pub fn new(now: Instant) -> Self {
        Booting {
            next_check: now,
            controller_seen: None,
            round_seen: 0,
            outranked: None,
            foreign_heard: Instant::ZERO,
            standby: false,
            led: false,
        }
    }
}

impl Controller {
    /// Over whom the quorum counts: the last committed members; at a cold start those remembered, or
    /// those of the file (Q1, C1).
    pub(super) fn basis(&self) -> Vec<NodeId> {
        match self.committed.as_ref().or(self.remembered.as_ref()) {
            Some(state) => state.members.iter().map(|member| member.id).collect(),
            None => self.config.nodes.iter().map(|node| node.id).collect(),
        }
    }

    pub(super) fn membership_timeout(&self) -> Instant {
        let mut next = self.next_status;
        if !self.is_member() && self.leaving.is_none() {
            next = next.min(self.boot.next_check);
        }
        if let Some(since) = self.leaving {
            for at in [since + LEAVE_PATIENCE, since + self.config.cluster.stop_timeout] {
                if at > self.clock {
                    next = next.min(at);
                }
            }
        }
        let healing =
            self.links.values().filter_map(|link| link.failing).map(|since| since + self.timing.t * 3);
        let commands = self.commands.iter().map(|command| command.next_send);
        healing.chain(commands).min().map_or(next, |at| next.min(at))
    }

    pub(super) fn membership_tick(&mut self, now: Instant) {
        if !self.is_member() && self.leaving.is_none() && now >= self.boot.next_check {
            self.boot.next_check = now + self.timing.t;
            // J1, M1: released first, then the first word.
            if self.holds_nothing() {
                let nonce = self.nonce();
                let boot = Some(self.boot_word(now));
                self.tell_all(Packet::IpCheck { nonce, boot });
            }
        }
        if now >= self.next_status {
            self.next_status = now + STATUS_INTERVAL;
            let status = self.own_status(now);
            if let Some(before) = self.serving.own_status.replace(status.clone()) {
                self.hear_of_the_external_lan(now, &before, &status);
            }
            self.send(Destination::All, Links::Internal, Packet::Status(status));
        }
        for role in LinkRole::ALL {
            let patience = self.timing.t * 3;
            let link = self.links.get_mut(&role).expect("both links are always there");
            if link.failing.is_some_and(|since| now >= since + patience) {
                link.failing = None;
                self.event(Event::SendsWork { role });
                self.link_works_again(now, role);
                self.dirty = true;
            }
        }
        self.tick_commands(now);
    }

    fn boot_word(&self, now: Instant) -> Boot {
        let remembers = epoch_of(self.newest_known().map(|(_, state)| state));
        let standby = self.own_standby();
        Boot { remembers, priority: self.priority(self.me), may_vote: now >= self.may_vote_at, standby }
    }

    /// An operator's wish for this node, which outlives a merge that is lost and a removal.
    pub(super) fn own_standby(&self) -> bool {
        let states = [&self.committed, &self.remembered].into_iter().flatten();
        let newest = states.filter_map(|state| Some((state.epoch, state.member(self.me)?.standby))).max();
        newest.map_or(self.boot.standby, |(_, standby)| standby)
    }

    /// J1: «are you alive?», and the first word of a node that boots.
    pub(super) fn on_ip_check(&mut self, now: Instant, header: &Header, nonce: u64, boot: Option<Boot>) {
        let from = header.from;
        if let Some(boot) = boot {
            let member = self.committed.as_ref().and_then(|state| state.member(from));
            if self.is_member() && member.is_some_and(|member| member.incarnation == header.incarnation) {
                return self.offer_state(now, from, None);
            }
            let news = self.peers.get_mut(&from).is_some_and(|peer| peer.boot.replace((now, boot)).is_none());
            if news {
                // It has cleared what its last life left before it said a word.
                self.look_anew(now, from);
            }
            self.dirty = true;
        }
        let controller = if self.is_member() { self.controller() } else { None };
        self.tell(from, Packet::IpCheckAck { nonce, controller });
    }

    pub(super) fn on_ip_check_ack(&mut self, now: Instant, from: NodeId, controller: Option<NodeId>) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.follows = controller;
        }
        if let Some(controller) = controller
            && !self.is_member()
        {
            self.boot.controller_seen = Some((now, controller));
        }
    }

    /// C1: nobody leads; this node has the highest priority of those that talk, or those above it had their time (who hears
    /// nobody, or misses more nodes by its own memory, never founds); and a majority of the remembered (or configured) nodes
    /// talks, or where fewer may serve the others had their time.
    pub(super) fn may_found(&self, now: Instant) -> bool {
        let quiet = self.timing.t * 5;
        if self.is_led(now) || self.leaving.is_some() || now < self.started + quiet {
            return false;
        }
        let me = (self.priority(self.me), self.me);
        let mut present = vec![self.me];
        let mut above = 0;
        for (&id, peer) in &self.peers {
            if let Some((at, boot)) = &peer.boot
                && now.since(*at) <= self.timing.t * 3
            {
                above += u32::from((boot.priority, id) > me);
                present.push(id);
            }
        }
        if above > 0 && now < self.waits_until(above) {
            return false;
        }
        let basis = self.basis();
        let count = basis.iter().filter(|id| present.contains(id)).count();
        let waited = now >= self.waits_until(0);
        let all = count == basis.len();
        match self.rule() {
            Rule::Majority => 2 * count > basis.len(),
            // C2: whoever is missing may have gone on alone after those who are here; it gets time to say so.
            Rule::Lenient => all || waited,
            Rule::Arbitrated => all || (waited && self.has_arbiter(now)),
            Rule::Arbiter => (all || waited) && self.has_arbiter(now),
        }
    }

    /// Somebody leads: there is nothing to found.
    pub(super) fn is_led(&self, now: Instant) -> bool {
        self.boot.controller_seen.is_some_and(|(at, _)| now.since(at) < self.timing.t * 5)
    }

    /// So long it waits for whoever is missing, and then gives way to so many of higher priority, each of whom gives way to
    /// those above it.
    fn waits_until(&self, above: u32) -> Instant {
        self.started + self.config.cluster.startup_wait + self.timing.promise * (3 * above.min(64))
    }

    /// When a founding may become possible by time alone.
    pub(super) fn found_at(&self) -> Instant {
        let quiet = self.timing.t * 5;
        let led = self.boot.controller_seen.map_or(Instant::ZERO, |(at, _)| at + quiet);
        let times = [self.may_vote_at, self.started + quiet, led, self.promise.until];
        let waits = (0..=self.config.nodes.len() as u32).map(|above| self.waits_until(above));
        times.into_iter().chain(waits).filter(|at| *at > self.clock).min().unwrap_or(Instant::MAX)
    }

    /// J3: told that this life is down: everything goes, then it comes back as a new one.
    pub(super) fn rejoin(&mut self, now: Instant, known: Option<Incarnation>) {
        self.release_all(now, Why::StateChanged);
        let standby = self.own_standby();
        let newest = known.unwrap_or(self.incarnation).max(self.incarnation);
        self.incarnation = Incarnation(newest.0 + 1);
        self.event(Event::Reborn { incarnation: self.incarnation });
        self.effects.push_back(Effect::Reborn(self.incarnation));
        let seen = self.epoch().term.round.max(self.boot.round_seen);
        // What the old life stored may be the only trace of a commit: the new one's vote tells it (E3).
        let known = [self.committed.take(), self.remembered.take()];
        self.remembered = known.into_iter().flatten().max_by_key(|state| state.epoch);
        let newest = epoch_of(self.remembered.as_ref());
        self.proposed = self.proposed.take().filter(|state| state.epoch > newest);
        self.storing = None;
        self.office = None;
        self.candidacy = None;
        self.ballot = None;
        self.following = None;
        self.lease.cancel();
        self.suspicions.clear();
        self.roll_calls.clear();
        self.ring = detector::Ring::new();
        self.boot = Booting::new(now);
        (self.boot.round_seen, self.boot.standby) = (seen, standby);
        self.started = now;
        self.store();
        self.serving_lineage = 0;
        self.serving.alone_since = Instant::ZERO;
        self.dirty = true;
        self.stirred = true;
    }

    pub(super) fn on_nack(&mut self, now: Instant, header: &Header, term: Term, known: Option<Incarnation>) {
        self.boot.round_seen = self.boot.round_seen.max(term.round);
        if self.office.is_none() && self.candidacy.as_ref().is_some_and(|candidacy| candidacy.term < term) {
            self.candidacy = None;
        }
        self.outbid(now, header, term);
        let Some(known) = known else { return };
        if known < self.incarnation {
            return;
        }
        if !self.is_member() {
            // The clock or the disk lost an earlier life: take a number that nobody has seen.
            if known > self.incarnation {
                self.rejoin(now, Some(known));
            }
            return;
        }
        // Who leads this node, or has its vote, may have begun a lineage of its own meanwhile (M).
        let term = header.epoch.term;
        let led = header.lineage == self.lineage() || term == self.promise.term || term == self.epoch().term;
        if led && header.epoch > self.epoch() {
            self.rejoin(now, Some(known));
        }
    }

    // ── leaving ─────────────────────────────────────────────────────────────────────────────────────

    /// J2: first the services, then the word.
    pub(super) fn on_stop(&mut self, now: Instant) {
        if self.leaving.is_none() {
            self.leaving = Some(now);
            self.event(Event::Leaving);
            self.dirty = true;
            if self.office.is_none() && self.is_member() {
                self.ask(now);
            }
        }
    }

    pub(super) fn settle_leaving(&mut self, now: Instant) {
        let Some(since) = self.leaving else { return };
        if self.gone {
            return;
        }
        let named = self
            .committed
            .as_ref()
            .is_some_and(|state| self.is_member() && state.table.iter().any(|slot| self.concerns_me(slot)));
        if named && !self.parting {
            let company = self.members().any(|node| node != self.me && self.is_calm(node));
            let waited = now.since(since);
            let moving = self.committed.as_ref().is_some_and(|state| {
                state
                    .table
                    .iter()
                    .any(|slot| self.concerns_me(slot) && slot.phase != crate::wire::Phase::Held)
            });
            let hopeless = waited >= LEAVE_PATIENCE && !moving;
            // A lease of an older term lasts as long: its successor's comes with the next request.
            let serves = now < self.serving_until();
            if company && !hopeless && waited < self.config.cluster.stop_timeout && serves {
                return;
            }
            self.parting = true;
            self.release_all(now, Why::Leaving);
        }
        self.parting = true;
        self.stirred = true;
        self.settle_serving(now);
        let waited = now.since(since) >= self.config.cluster.stop_timeout;
        if !self.holds_nothing() || (self.scripts_run() && !waited) {
            return;
        }
        for _ in 0..3 {
            self.tell_all(Packet::Leave { incarnation: self.incarnation });
        }
        self.office = None;
        self.effects.push_back(Effect::Left);
        self.gone = true;
    }

    fn concerns_me(&self, slot: &crate::wire::Slot) -> bool {
        use crate::wire::Phase;
        slot.holder == Some(self.me)
            || matches!(slot.phase, Phase::Prepare { to } | Phase::Handover { to } | Phase::Abort { to } if to == self.me)
    }

    /// Somebody said goodbye, or its guardian did: it holds nothing; no lease is waited for, no probe is sent.
    pub(super) fn on_leave(&mut self, now: Instant, header: &Header, incarnation: Incarnation) {
        if incarnation != header.incarnation {
            return;
        }
        let from = header.from;
        let mut news = false;
        if let Some(peer) = self.peers.get_mut(&from) {
            news = peer.left.replace(incarnation) != Some(incarnation);
            peer.in_order = if news { header.epoch > Epoch::NONE } else { peer.in_order };
            peer.boot = None;
        }
        if let Some(following) = &self.following
            && following.term.author == from
            && following.term.life <= incarnation
            && self.promise.term == following.term
        {
            self.promise.release(now);
        }
        if !news {
            // Said more than once: what it set going shall not begin again.
            return;
        }
        self.look_anew(now, from);
        self.look_for_suspects(now);
        self.dirty = true;
        self.stirred = true;
    }

    // ── small news ──────────────────────────────────────────────────────────────────────────────────

    pub(super) fn on_link(&mut self, now: Instant, role: LinkRole, up: bool) {
        let link = self.links.get_mut(&role).expect("both links are always there");
        if link.carrier != up {
            link.carrier = up;
            self.event(Event::Link { role, up });
            if up {
                self.link_works_again(now, role);
            }
            self.report_soon(now);
        }
    }

    /// Probes that never left were not answered either (F1).
    fn link_works_again(&mut self, now: Instant, role: LinkRole) {
        if role == LinkRole::External && !self.planted(Planted::LookCountsCutOff) {
            self.restart_looks(now);
        }
    }

    /// Own fault, no silence of others.
    pub(super) fn on_send_failed(&mut self, now: Instant, role: LinkRole, fault: LocalFault) {
        if role == LinkRole::External {
            self.retract_all();
        }
        let link = self.links.get_mut(&role).expect("both links are always there");
        if link.failing.replace(now).is_none() {
            self.event(Event::SendsFail { role, fault });
            self.report_soon(now);
        }
    }

    /// On no link can anything be said: what is not answered then is nobody's silence but the own.
    pub(super) fn is_mute(&self) -> bool {
        let failing = |link: &LinkHealth| link.failing.is_some();
        self.links.values().any(failing) && self.links.values().all(|link| failing(link) || !link.carrier)
    }

    pub(super) fn report_soon(&mut self, now: Instant) {
        self.dirty = true;
        if self.office.is_none() && self.is_member() {
            self.ask(now);
        }
    }

    pub(super) fn on_reload(&mut self, now: Instant, config: Arc<Config>) {
        let old = std::mem::replace(&mut self.config, config);
        let changed: Vec<ServiceId> = self
            .services
            .iter()
            .filter(|(_, local)| local.present && local.wanted)
            .map(|(&id, _)| id)
            .filter(|&id| {
                let addresses = |config: &Config| config.service(id).map(|service| service.addresses.clone());
                addresses(&old) != addresses(&self.config)
            })
            .collect();
        for id in changed {
            self.announce(now, id);
        }
        self.see_addresses(now, &old);
        self.config_digest = crate::config::digest(&self.config);
        if self.committed.is_none() {
            let timing = Timing::new(self.config.cluster.hello_interval, 8);
            self.retime(now, timing, timing);
        }
        self.event(Event::Reloaded);
        self.dirty = true;
    }

    /// What this node tells of itself every two seconds.
    pub(super) fn own_status(&self, now: Instant) -> Status {
        let Some(node) = self.config.node(self.me) else { return Status::default() };
        let recent = self.timing.t * 3;
        let link = |role: LinkRole, device: &str| {
            let hears = |neighbour: Option<NodeId>| {
                neighbour
                    .and_then(|id| self.peers.get(&id))
                    .is_some_and(|peer| now.since(peer.heard_on[detector::link_index(role)]) <= recent)
            };
            LinkStatus {
                device: device.to_owned(),
                role,
                up: self.links[&role].carrier && self.links[&role].failing.is_none(),
                hears_left: hears(self.ring.left),
                hears_right: hears(self.ring.right),
            }
        };
        let measured = self.measured_load(self.me);
        let counted = || {
            let load = self.committed.as_ref().map_or(0.0, |state| {
                ownership::Loads::of(state, &self.config).relative(&self.config, self.me)
            });
            (load.min(4_000_000.0) * 1000.0) as u32
        };
        Status {
            name: node.name.clone(),
            load_permille: measured.unwrap_or_else(counted),
            config_digest: self.config_digest,
            links: vec![
                link(LinkRole::Internal, &node.internal.device),
                link(LinkRole::External, &node.external.device),
            ],
            lateness_us: u32::try_from(self.lateness.as_micros()).unwrap_or(u32::MAX),
            rejected: 0,
            strangers: self.strangers(),
            measured: measured.is_some(),
            remarks: self.told_remarks(now),
            moves: self.told_moves(now),
            // The world fills these in.
            mac: [0; 6],
            version: ConfigVersion::default(),
            key: 0,
            next_key: 0,
        }
    }
}

/// A leaving node waits so long for a first sign that its services are being moved.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
