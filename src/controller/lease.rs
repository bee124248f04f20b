//! L, the member's side: promise to the controller, ask for a lease, count it from the own sending.

use super::*;
use crate::wire::{Header, Report};

/// The controller that this node follows.
#[derive(Debug, Clone)]
pub(super) struct Following {
    pub term: Term,
    /// When its last BEAT came.
    pub beat_at: Instant,
    /// Number of that beat.
    pub number: u64,
    /// How many of its members it says live: its weight in a merge (M1).
    pub living: u16,
    /// It resigned in favour of this node.
    pub heir: Option<NodeId>,
}

/// This node's right to serve.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    /// Of the controller that granted it.
    pub term: Term,
    /// L5. The aliases go `m` earlier (L6).
    pub end: Instant,
    /// When it was renewed last.
    renewed: Instant,
    /// When to ask again unless it is renewed before.
    pub next_ask: Instant,
    /// Nonces of requests that may still be answered, with the times of their sending.
    requests: VecDeque<(u64, Instant)>,
    /// Was it valid when last looked at? For the log.
    pub held: bool,
}

/// A member that has heard nothing from its controller for so long, and has no lease, gives its services up: the
/// others may well hear it, and would wait for ever.
pub(super) const DEAF: Duration = Duration::from_secs(5);
/// Requests under way at most: one every p, each useful for less than Lm = 24 p.
const REQUESTS: usize = 32;

impl Lease {
    pub fn none() -> Self {
        Lease {
            term: NO_TERM,
            end: Instant::ZERO,
            renewed: Instant::ZERO,
            next_ask: Instant::MAX,
            requests: VecDeque::new(),
            held: false,
        }
    }

    /// No grant that is still under way can renew it.
    pub fn cancel(&mut self) {
        *self = Lease { held: self.held, ..Lease::none() };
    }
}

impl Controller {
    /// Until when this node may serve: the root itself for the controller, else the lease less m (L6).
    pub(super) fn serving_until(&self) -> Instant {
        if self.planted(Planted::KeepWithoutLease) && self.is_member() {
            return Instant::MAX;
        }
        match &self.office {
            Some(office) => office.root_end,
            None => self.lease.end - self.margin(),
        }
    }

    /// The lease comes from the controller of the committed state (S3): what a *new* take needs.
    pub(super) fn lease_is_current(&self, now: Instant) -> bool {
        let term = self.epoch().term;
        match &self.office {
            Some(office) => office.term == term && now < office.root_end,
            None => self.lease.term == term && now < self.serving_until(),
        }
    }

    pub(super) fn lease_timeout(&self) -> Instant {
        if self.office.is_some() || !self.is_member() { Instant::MAX } else { self.lease.next_ask }
    }

    /// L5: not renewed by T + p ⇒ ask every p, also through the two ring neighbours.
    pub(super) fn lease_tick(&mut self, now: Instant) {
        if self.office.is_some() || !self.is_member() || now < self.lease.next_ask {
            return;
        }
        let Some(following) = &self.following else {
            self.lease.next_ask = Instant::MAX;
            return;
        };
        let (controller, number) = (following.term.author, following.number);
        let stale = now.since(following.beat_at) > self.timing.promise;
        self.lease.next_ask = now + if stale { self.timing.t } else { self.timing.p };
        if self.is_deaf(now) {
            self.decline_all();
        }
        let nonce = self.request(now);
        let report = self.report(now);
        let packet = Packet::BeatAck { number, nonce, report };
        self.tell(controller, packet.clone());
        let state = self.committed.as_ref();
        let neighbours = state.map(|state| [state.left_of(self.me), state.right_of(self.me)]);
        let mut relays: Vec<NodeId> = neighbours.into_iter().flatten().flatten().collect();
        relays.dedup();
        for relay in relays.into_iter().filter(|&relay| relay != controller) {
            let forward = Packet::Forward {
                origin: self.me,
                incarnation: self.incarnation,
                epoch: self.epoch(),
                to: controller,
                packet: Box::new(packet.clone()),
            };
            self.tell(relay, forward);
        }
    }

    fn is_deaf(&self, now: Instant) -> bool {
        // Who has only just learnt from another whom it follows has not waited for that one yet.
        let Some(following) = &self.following else { return false };
        let heard = self.heard(following.term.author).max(following.beat_at);
        now >= self.lease.end.max(heard) + DEAF
    }

    fn request(&mut self, now: Instant) -> u64 {
        let nonce = self.nonce();
        if self.lease.requests.len() >= REQUESTS {
            self.lease.requests.pop_front();
        }
        self.lease.requests.push_back((nonce, now));
        nonce
    }

    /// L2.
    pub(super) fn on_beat(&mut self, now: Instant, header: &Header, number: u64, living: u16) {
        let term = header.epoch.term;
        if term.author != header.from {
            return;
        }
        if !self.is_member() {
            self.boot.controller_seen = Some((now, header.from));
            return;
        }
        let bound = now < self.promise.until && self.promise.term > term;
        if bound || term < self.epoch().term {
            let newest = self.promise.term.max(self.epoch().term);
            return self.nack(now, header.from, newest, None);
        }
        self.commit_if_proved(now, header.epoch);
        if header.epoch < self.epoch() {
            return;
        }
        if header.epoch == self.epoch() {
            if self.office.is_some() {
                return;
            }
            if !self.planted(Planted::NoPromise) {
                let until = (now + self.longest.promise).max(self.promise.until);
                self.promise = Promise { term, until, released: false };
            }
            self.follow(now, header.epoch);
            self.following = Some(Following { term, beat_at: now, number, living, heir: None });
        }
        // Behind: ask all the same; the answer is the state (L7).
        let nonce = self.request(now);
        let report = self.report(now);
        let answer = Packet::BeatAck { number, nonce, report };
        self.tell_on(header.from, header.link, answer);
        if self.has_outvoted(term) {
            // It follows, but stores nothing of that term: the controller shall learn it now, in peace, not when somebody dies.
            let newest = self.voted;
            self.nack(now, header.from, newest, None);
        }
        self.lease.next_ask = self.lease.next_ask.min(now + self.timing.p);
        self.hello_with_beat(now);
    }

    /// L5: the lease counts from the own sending of the request that is granted, never from receipt.
    pub(super) fn on_grant(
        &mut self,
        now: Instant,
        from: NodeId,
        epoch: Epoch,
        nonce: u64,
        remaining: Duration,
    ) {
        let sent = self.lease.requests.iter().find(|(asked, _)| *asked == nonce).map(|(_, sent)| *sent);
        let Some(sent) = sent else { return };
        self.commit_if_proved(now, epoch);
        let ours = self.following.as_ref().is_some_and(|following| following.term.author == from);
        if !ours || epoch.term != self.epoch().term || self.office.is_some() {
            return;
        }
        let from_when = if self.planted(Planted::LeaseFromReceipt) { now } else { sent };
        self.lease.requests.retain(|(_, asked)| *asked >= sent);
        self.stirred = true;
        self.lease.end = self.lease.end.max(from_when + remaining.min(self.timing.member));
        self.lease.term = epoch.term;
        self.lease.renewed = now;
        // A grant late in the root's life is short: time for four more tries is left in any case.
        let (t, p) = (self.timing.t, self.timing.p);
        let latest = self.serving_until() - p * 4;
        self.lease.next_ask = (sent + t + p).min(latest).max(now + p);
        if !self.lease.held && self.serving_until() > now {
            self.lease.held = true;
            self.regain_care(now);
            self.hears_its_controller();
            self.event(Event::LeaseGained { epoch });
        }
    }

    /// What this node really does: goes with every request for a lease, and heals lost hints.
    pub(super) fn report(&self, now: Instant) -> Report {
        let mut report = Report {
            external_ok: self.says_external_ok(),
            leaving: self.leaving.is_some(),
            lateness_us: u32::try_from(self.lateness.as_micros()).unwrap_or(u32::MAX),
            cut_off: self.cut_off,
            load_permille: self.measured_load(self.me),
            unfit: self.unfit.clone(),
            given_up: self.given_up.clone(),
            ..Report::default()
        };
        for (&id, local) in self.services.iter() {
            if local.may_be_up() {
                report.holding.push(id);
            } else if local.has_declined(self.epoch()) {
                report.failed.push(id);
                if local.is_ousted() {
                    report.ousted.push(id);
                }
            }
            if self.is_ready(now, id) {
                report.ready.push(id);
            }
            if local.is_blocked() {
                report.blocked.push(id);
            }
        }
        report
    }

    /// What its reports say: a node that has given up at this very epoch is no place for anything, and what it declined is
    /// no failure of a service.
    pub(super) fn says_external_ok(&self) -> bool {
        self.external_ok() && !self.has_given_up()
    }

    /// The external link can carry clients' traffic, as far as this node knows.
    pub(super) fn external_ok(&self) -> bool {
        let external = &self.links[&LinkRole::External];
        external.carrier && external.failing.is_none()
    }

    /// The author of the committed state is the controller from now on.
    pub(super) fn follow(&mut self, now: Instant, epoch: Epoch) {
        let term = epoch.term;
        if self.following.as_ref().is_none_or(|following| following.term != term) {
            self.following = Some(Following { term, beat_at: now, number: 0, living: 0, heir: None });
            self.event(Event::Following { controller: term.author, epoch });
        }
    }

    /// Asks the controller for a lease at this epoch, and reports: after every new state.
    pub(super) fn ask(&mut self, now: Instant) {
        let Some(following) = &self.following else { return };
        let (controller, number) = (following.term.author, following.number);
        let nonce = self.request(now);
        let report = self.report(now);
        self.send(Destination::Node(controller), Links::Internal, Packet::BeatAck { number, nonce, report });
        self.lease.next_ask = self.lease.next_ask.min(now + self.timing.p);
    }
}
