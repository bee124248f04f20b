//! What comes from outside: others' hands on a machine's addresses, packet filters, a machine that is no member.
//! Called by the disturbances; all of it is over when everything heals.

use super::{Event, Mend, World};
use crate::config::OnConflict;
use crate::controller::{LocalFault, Tampering};
use crate::simulator::checkers::Take;
use crate::simulator::clock::{MICRO, MILLI, Nanos, SECOND};
use crate::simulator::host::Looked;
use crate::simulator::network::{MAX_NODES, lan};
use crate::simulator::plan::Class;
use crate::vocabulary::{LinkRole, ServiceId};

/// The place of the machine that is no node, behind all that may be nodes.
pub(super) const STRANGER: usize = MAX_NODES;

/// A stranger defends its address once in this time.
const DEFENDS: Nanos = SECOND;

/// An address of a service that a stranger has.
#[derive(Debug)]
pub(super) struct Stranger {
    service: ServiceId,
    since: Nanos,
    /// It claims the address again when somebody announces it.
    defends: bool,
    /// When it did so last.
    spoke: Nanos,
}

impl World {
    // ── hands ───────────────────────────────────────────────────────────────────────────────────────

    /// A network manager that restarts takes an address away once; one that fights goes on.
    pub(super) fn hands(&mut self) {
        let node = self.some_node();
        let held: Vec<ServiceId> = self.hosts[node].aliases.iter().map(|alias| alias.service).collect();
        if !self.hosts[node].runs() || held.is_empty() {
            return;
        }
        let service = self.random.pick(&held);
        let more = if self.random.chance(500) { 0 } else { self.random.between(1, 9) };
        let every = self.random.between(20, 1_500) * MILLI;
        if self.random.chance(250) {
            let until = self.now + self.lasts();
            self.hosts[node].no_room = Some((service, until));
        }
        self.take_away(node, service, more, every);
    }

    /// Others' hands take it away, and so many more times if it comes back.
    pub fn take_away(&mut self, node: usize, service: ServiceId, more: u64, every: Nanos) {
        if !self.stormy {
            return;
        }
        if more > 0 {
            self.schedule(every, Event::Hands { node, service, more: more - 1, every });
        }
        if !self.hosts[node].runs() || !self.hosts[node].has(service) {
            return;
        }
        let refused = self.has_no_room(node, service);
        self.fault_told(node, &format!("hands at service {}, {more} more, refused {refused}", service.0));
        let since = self.hosts[node].alias(service).map_or(self.now, |alias| alias.since);
        self.drop_alias(node, service, "others' hands");
        let life = self.hosts[node].life;
        if let Some(process) = self.hosts[node].process.as_mut() {
            process.faker.tampered.push(service);
            process.faker.had_since.push((service, since));
        }
        // The kernel tells the link monitor, that one the driver, and the driver the faker.
        let after = self.random.between(50 * MICRO, 3 * MILLI);
        self.schedule(after, Event::FakerWakes { node, life });
    }

    pub(super) fn has_no_room(&self, node: usize, service: ServiceId) -> bool {
        self.hosts[node].no_room.is_some_and(|(refused, until)| refused == service && self.now < until)
    }

    /// What is not wanted any more was nobody's to take away. It was reported as up: it is not.
    pub(super) fn forget_the_unwanted(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let local = host.clock.local(self.now);
        let Some(faker) = host.process.as_mut().map(|process| &mut process.faker) else { return };
        let (wanted, known) = (&faker.wanted, faker.tampered.len());
        faker.tampered.retain(|service| wanted.at(local).any(|wanted| wanted == *service));
        faker.had_since.retain(|(service, _)| wanted.at(local).any(|wanted| wanted == *service));
        if faker.tampered.len() < known {
            self.faker_reports(node);
        }
    }

    /// The faker comes to this address: did others' hands take it away?
    pub(super) fn finds_tampered(&mut self, node: usize, service: ServiceId) -> bool {
        let Some(process) = self.hosts[node].process.as_mut() else { return false };
        let tampered = &mut process.faker.tampered;
        let known = tampered.len();
        tampered.retain(|found| *found != service);
        tampered.len() < known
    }

    /// As the faker does, behind its report. It tells of every address that the kernel does not take; storms without hands
    /// were drawn before it did.
    pub(super) fn tell_tampering(&mut self, node: usize, service: ServiceId, back: bool, failed: bool) {
        let refused = failed && self.plan.has(Class::Hands);
        let how = if refused { Tampering::Refused } else { Tampering::Removed };
        let life = self.hosts[node].life;
        let Some(process) = self.hosts[node].process.as_ref() else { return };
        if back || refused {
            let at = process.faker.last_report;
            self.schedule_at(at, Event::Tampered { node, life, service, how });
        }
    }

    // ── packet filters ──────────────────────────────────────────────────────────────────────────────

    /// The filter is for what the daemon sends: kernels answer ARP, and clients are served.
    pub(super) fn sends_refused(&mut self) {
        let node = self.some_node();
        let role = self.random.pick(&LinkRole::ALL);
        let roles = if self.random.chance(400) { LinkRole::ALL.to_vec() } else { vec![role] };
        let (fault, lasts) = if self.random.chance(300) {
            (LocalFault::Full, self.random.between(1, 60) * MILLI)
        } else {
            (LocalFault::Refused, self.lasts())
        };
        self.fault_told(node, &format!("all that it sends on {roles:?} fails: {fault:?}"));
        for role in roles {
            self.hosts[node].refuses[lan(role)] = Some(fault);
            self.schedule(lasts, Event::Mend(Mend::Sends(role, node)));
        }
    }

    pub(super) fn sends_leave(&mut self, role: LinkRole, node: usize) {
        self.fault_told(node, &format!("what it sends on the {role} LAN leaves again"));
        self.hosts[node].refuses[lan(role)] = None;
    }

    // ── a stranger ──────────────────────────────────────────────────────────────────────────────────

    pub(super) fn stranger_comes(&mut self) {
        let service = self.random.pick(&self.config.services.iter().map(|s| s.id).collect::<Vec<_>>());
        let longest = self.random.pick(&[1_000, 3_000, 8_000]);
        let lasts = self.random.between(100, longest) * MILLI;
        let (defends, announces) = (self.random.chance(500), self.random.chance(700));
        if self.stranger_takes(service, defends, announces) {
            self.schedule(lasts, Event::Mend(Mend::Stranger(service)));
        }
    }

    /// False: it had it already.
    pub fn stranger_takes(&mut self, service: ServiceId, defends: bool, announces: bool) -> bool {
        if self.is_strangers(service) {
            return false;
        }
        self.fault_told(0, &format!("a stranger has service {}, defends it {defends}", service.0));
        self.strangers.push(Stranger { service, since: self.now, defends, spoke: self.now });
        if announces {
            self.stranger_announces(service);
        }
        true
    }

    fn stranger_announces(&mut self, service: ServiceId) {
        for node in 0..self.hosts.len() {
            self.frame(STRANGER, node, |node, by| Event::Claimed { node, by, service });
        }
    }

    /// Somebody announced it.
    pub(super) fn stranger_hears(&mut self, service: ServiceId) {
        let now = self.now;
        let mut strangers = self.strangers.iter_mut();
        let Some(stranger) = strangers.find(|stranger| stranger.service == service) else { return };
        if stranger.defends && now >= stranger.spoke + DEFENDS {
            stranger.spoke = now;
            self.stranger_announces(service);
        }
    }

    pub(super) fn stranger_goes(&mut self, service: ServiceId) {
        if self.is_strangers(service) {
            self.fault_told(0, &format!("the stranger gives service {} up", service.0));
            self.strangers.retain(|stranger| stranger.service != service);
        }
    }

    pub(super) fn is_strangers(&self, service: ServiceId) -> bool {
        self.strangers.iter().any(|stranger| stranger.service == service)
    }

    /// F2: of an address that comes up, and is not put back.
    pub(super) fn judge_take(&mut self, node: usize, service: ServiceId) {
        let Some(process) = self.hosts[node].process.as_mut() else { return };
        let coming = &mut process.faker.coming;
        let Some(at) = coming.iter().position(|&(coming, _)| coming == service) else { return };
        let (_, ordered) = coming.swap_remove(at);
        if self.strangers.is_empty() || self.config.cluster.on_conflict == OnConflict::Force {
            return;
        }
        let now = self.now;
        let Some(process) = self.hosts[node].process.as_ref() else { return };
        let weather = &self.network.weather[lan(LinkRole::External)];
        let surely = (weather.loss, weather.delay) == (0, 0);
        let reached = self.network.reaches_stranger(node) && self.network.hears_stranger(node);
        let Some(stranger) = self.strangers.iter().find(|stranger| stranger.service == service) else {
            return;
        };
        let unseen = Looked { service, since: ordered, last: ordered, answered: None };
        let look = process.looked.iter().find(|look| look.service == service).unwrap_or(&unseen);
        let (looks_since, answered, stranger_since) = (look.since, look.answered, stranger.since);
        let take = Take { node, service, ordered, looks_since, answered, stranger_since, reached, surely };
        self.checker.taken(now, &take);
    }

    /// Everything heals: a stranger is gone before anybody looks, and no hands come again.
    pub(super) fn foreign_ends(&mut self) {
        self.strangers.clear();
        for host in &mut self.hosts {
            host.refuses = [None; 2];
            host.no_room = None;
        }
    }
}
