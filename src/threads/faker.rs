//! Thread `faker`: makes the external card have the addresses of the services that this node may serve,
//! and no others of ours; announces them and probes for them.
//!
//! Owns the aliases and a raw socket. The wanted set is compared with the kernel (a lost or repeated order
//! heals); when the lease ends, all aliases go before anything else (protocol.md, L6), without being told.
//! Ends, and takes every alias away, when the driver has dropped its end of the mailbox.

use super::driver::Told;
use super::life_signs::Watched;
use super::mailbox::{Mailbox, Received, Sender, mailbox_by};
use super::published::Published;
use crate::config::{Config, Prefixed};
use crate::controller::{Input, LocalFault, Tampering, lasting};
use crate::os::alarm::Alarm;
use crate::os::alias::{self, Card, Held};
use crate::os::packet_socket::{self, Hears, PacketSocket};
use crate::os::{clock, frame};
use crate::vocabulary::{Instant, LinkRole, NodeId, ServiceId};
use crate::wire::{self, ArpFrame};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Orders that may wait: a look at all services of a dead node probes each every p/2, and the faker does
/// hundreds in that time.
const ORDERS: usize = 1_024;
/// What could not be read or removed is tried again after that.
const RETRY: Duration = Duration::from_millis(10);
/// When the daemon ends, so often: whoever starts next looks as well.
const LAST_TRIES: u32 = 20;

mod frames;
mod parting;

/// What the faker is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The wanted set, the lease or the kernel's addresses have changed.
    Compare,
    /// Gratuitous ARP for a service that is up here.
    Announce(ServiceId),
    /// Does anybody answer for this service's addresses?
    Probe {
        /// Which service.
        service: ServiceId,
        /// When the controller asked for it.
        asked: Instant,
        /// So late it may leave.
        leeway: Duration,
    },
    /// Do the arbiters answer?
    AskArbiters,
}

/// How it is told: by orders, and by the end of the lease.
///
/// # Errors
/// No descriptor left.
pub fn orders(published: &Published) -> io::Result<(Sender<Order>, Mailbox<Order>)> {
    let alarm = Alarm::new()?;
    published.lease.goes_by(alarm.clone());
    mailbox_by(ORDERS, alarm)
}

/// The thread.
pub struct Faker {
    /// This node.
    pub me: NodeId,
    /// The external card.
    pub card: Card,
    /// Its name.
    pub device: String,
    /// Orders.
    pub mailbox: Mailbox<Order>,
    /// Who is told what is up.
    pub driver: Sender<Told>,
    /// Wanted set, lease, configuration.
    pub published: Arc<Published>,
}

/// What the faker remembers.
struct Work {
    faker: Faker,
    frames: Option<PacketSocket>,
    /// What was on the card when it was read last, ours and others'.
    on_card: Vec<Held>,
    /// Of these, ours.
    up: Vec<Held>,
    present: Vec<ServiceId>,
    /// Came up and was announced; not reported yet.
    announced: Vec<ServiceId>,
    /// The wanted set that was answered last.
    answered: u64,
    /// The newest order that was carried out (`Lease::revision`).
    seen: u64,
    /// When to do again what failed; `Instant::MAX`: nothing did.
    retry: Instant,
    /// All was to go, and did not: it is waited for that.
    stuck: bool,
    /// Services for which probes left late: no address of theirs comes up before answers have had their time.
    doubted: BTreeMap<ServiceId, Instant>,
    routes: BTreeSet<Ipv4Addr>,
    next_renewal: Instant,
    /// When all that is up was renewed last.
    renewed: Instant,
    /// The next service that goes before the lease does.
    next_ending: Instant,
    /// What could not be done and was said already, until it can.
    troubles: BTreeMap<IpAddr, String>,
    /// The same of reading the card.
    unread: Option<String>,
}

impl Faker {
    /// Works until the driver is gone.
    pub fn run(self) {
        let mut work = Work::new(self);
        while work.turn() {}
        work.end();
    }
}

impl Work {
    fn new(faker: Faker) -> Self {
        Work {
            faker,
            frames: None,
            on_card: Vec::new(),
            up: Vec::new(),
            present: Vec::new(),
            announced: Vec::new(),
            answered: 0,
            seen: 0,
            retry: Instant::MAX,
            stuck: false,
            doubted: BTreeMap::new(),
            routes: BTreeSet::new(),
            next_renewal: Instant::ZERO,
            renewed: Instant::ZERO,
            next_ending: Instant::MAX,
            troubles: BTreeMap::new(),
            unread: None,
        }
    }

    /// Sleeps, and does what there is to do; false: the driver is gone.
    fn turn(&mut self) -> bool {
        let next = self.next_wake();
        self.lives();
        self.faker.published.signs.sleeps(Watched::Faker, next);
        let (slept, end) = (clock::now(), self.end_of_lease());
        let received = self.faker.mailbox.receive_until(next);
        let now = clock::now();
        self.lives();
        // An end that was put off meanwhile is not due, and one that was put forward not since then.
        let by = late(slept, &[next, end.max(self.end_of_lease())], now);
        self.faker.published.faker_lateness.note(by);
        if self.faker.published.lease.is_over(now) && self.may_hold() {
            self.drop_all("the lease has ended");
        }
        match received {
            Received::Message(Order::Compare) => self.compare(),
            Received::Message(Order::Announce(service)) => {
                self.announce(service);
            }
            Received::Message(Order::Probe { service, asked, leeway }) => {
                self.probe(service);
                self.see_when_it_left(service, asked, leeway);
            }
            Received::Message(Order::AskArbiters) => self.ask_arbiters(),
            Received::Nothing => {}
            Received::Closed => return false,
        }
        // However many orders wait, and whichever of them was dropped.
        let now = clock::now();
        let revision = self.faker.published.lease.revision();
        let is_behind = revision != self.seen && self.unread.is_none();
        if now >= self.next_ending || now >= self.retry || is_behind {
            self.compare();
        }
        // However many orders come: what nobody renews the kernel drops.
        self.renew_if_due(clock::now());
        true
    }

    fn end(&mut self) {
        for _ in 0..LAST_TRIES {
            self.retry = Instant::MAX;
            self.drop_all("the daemon ends");
            if !self.may_hold() {
                break;
            }
            clock::sleep_until(self.retry);
        }
        self.faker.published.signs.retires(Watched::Faker);
    }

    /// Are aliases of ours up, or does nobody know?
    fn may_hold(&self) -> bool {
        !self.up.is_empty() || self.retry != Instant::MAX
    }

    /// As far as it matters here.
    fn end_of_lease(&self) -> Instant {
        if self.up.is_empty() { Instant::MAX } else { self.faker.published.lease.until() }
    }

    fn try_again(&mut self) {
        self.retry = clock::now() + RETRY;
    }

    /// For the guardian: before and after every sleep, and between the calls of a long piece of work.
    fn lives(&self) {
        self.faker.published.signs.works(Watched::Faker, clock::now());
    }

    /// Each eighth of the lifetime, and not where the kernel would round its end up: some renewals may fail before it takes
    /// the address away.
    fn plan_renewal(&mut self, now: Instant) {
        let interval = self.faker.published.config().cluster.valid_lft / 8;
        self.next_renewal = now + self.faker.card.next_renewal(interval);
    }

    fn renew_if_due(&mut self, now: Instant) {
        let idle = self.up.is_empty() && self.faker.published.lease.services().is_empty();
        if now < self.next_renewal || idle {
            return;
        }
        let lifetime = self.faker.published.config().cluster.valid_lft;
        match postponed(now, self.faker.card.punctual_in(), self.renewed, lifetime) {
            Some(later) => self.next_renewal = later,
            None => self.renew(now),
        }
    }

    /// The next renewal, or service that goes, or try; the lease's own end is the alarm's.
    fn next_wake(&self) -> Instant {
        let lease = &self.faker.published.lease;
        let over = clock::now() >= lease.until();
        // What did not go at the end is tried again, not all the time.
        let stuck = self.stuck && over;
        let end = lease.set_alarm(!self.up.is_empty() && !stuck);
        if stuck || self.up.is_empty() && (over || lease.services().is_empty()) {
            return self.retry;
        }
        end.min(self.next_renewal).min(self.next_ending).min(self.retry)
    }

    /// L6: nothing else before.
    fn drop_all(&mut self, why: &str) {
        let before = self.up.len();
        match self.faker.card.drop_all(&self.on_card) {
            Ok(left) => self.has_read(left),
            Err(error) => {
                self.stuck = true;
                return self.cannot_read(&error);
            }
        }
        self.lives();
        match self.up.first() {
            None => log::info!("all service addresses are down: {why}"),
            Some(&Held { address, .. }) => {
                self.stuck = true;
                self.note_removal(address);
            }
        }
        self.settle_routes(&BTreeSet::new());
        let nothing_went = !self.up.is_empty() && self.up.len() == before;
        self.report(&self.faker.published.config(), !nothing_went);
    }

    /// Wanted against present: what is too much goes first, then what is missing comes, in one batch.
    fn compare(&mut self) {
        let config = self.faker.published.config();
        let lease = &self.faker.published.lease;
        let revision = lease.revision();
        let (number, ordered) = lease.wanted();
        let (now, ending) = (clock::now(), lease.ending());
        self.next_ending =
            ending.iter().map(|&(_, at)| at).filter(|&at| at > now).min().unwrap_or(Instant::MAX);
        let wanted = self.wanted(&config, &ordered);
        let before = self.up.clone();
        self.retry = Instant::MAX;
        self.refresh();
        let tampered = self.tampered(&before, &wanted);
        let mut changed = self.take_down(&config, &wanted);
        let mut troubles = Vec::new();
        // Not where nobody knows what is up.
        if self.unread.is_none() {
            changed |= self.put_up(&config, &wanted, &tampered, &mut troubles);
            if changed {
                self.refresh();
            }
        }
        if before.is_empty() {
            self.plan_renewal(clock::now());
        }
        if self.unread.is_none() {
            self.seen = revision;
            self.announce_what_came_up(&config);
            let gateways = self.gateways(&config);
            self.settle_routes(&gateways);
            // Every new wanted set is answered, even if the kernel has it already.
            changed |= std::mem::replace(&mut self.answered, number) != number;
            self.report(&config, changed);
        }
        self.tell_troubles(&config, &troubles);
    }

    /// What is up and not wanted goes, in one pass, before it what goes at once. True: something went.
    fn take_down(&mut self, config: &Config, wanted: &BTreeMap<IpAddr, u8>) -> bool {
        let too_much: Vec<IpAddr> =
            self.up.iter().map(|held| held.address).filter(|address| !wanted.contains_key(address)).collect();
        let (moving, limit) = self.moving(config, &too_much);
        let at_once: Vec<IpAddr> =
            too_much.iter().copied().filter(|address| !moving.contains(address)).collect();
        self.remove(&at_once);
        if !moving.is_empty() {
            self.end_connections(config, &moving, limit);
            self.remove(&moving);
        }
        too_much.iter().any(|address| !self.up.iter().any(|held| held.address == *address))
    }

    fn remove(&mut self, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            return;
        }
        let lease = &self.faker.published.lease;
        let goes = |held: &Held| held.ours && addresses.contains(&held.address);
        // Nothing of ours comes back without a lease.
        let returns = |held: &Held| !held.ours || !lease.is_over(clock::now());
        match self.faker.card.remove_all(&self.on_card, goes, returns) {
            Ok(left) => self.has_read(left),
            Err(error) => self.cannot_read(&error),
        }
        self.lives();
        if self.unread.is_none() {
            addresses.iter().for_each(|&address| self.note_removal(address));
        }
    }

    fn note_removal(&mut self, address: IpAddr) {
        let removed = if self.up.iter().any(|held| held.address == address) {
            self.try_again();
            Err(io::Error::other("it is still there after its removal"))
        } else {
            Ok(())
        };
        self.note(address, "remove", removed);
    }

    /// What is wanted and not up comes. True: there was something.
    fn put_up(
        &mut self,
        config: &Config,
        wanted: &BTreeMap<IpAddr, u8>,
        tampered: &BTreeSet<IpAddr>,
        troubles: &mut Vec<(IpAddr, Tampering)>,
    ) -> bool {
        let mut changed = false;
        let doubted = self.doubted_addresses(config);
        for (&address, &prefix) in wanted {
            let back = tampered.contains(&address);
            if self.up.iter().any(|held| held.address == address && held.prefix == prefix) {
                // A renewal has put it back before anybody looked.
                troubles.extend(back.then_some((address, Tampering::Removed)));
            } else if let Some(&until) = doubted.get(&address).filter(|_| !back) {
                self.retry = self.retry.min(until);
            } else {
                changed = true;
                troubles.extend(self.make(address, prefix, config.cluster.valid_lft, back));
                self.lives();
            }
        }
        changed
    }

    /// What was ours, is wanted and yet is gone, or another one: nobody here took it away.
    fn tampered(&self, before: &[Held], wanted: &BTreeMap<IpAddr, u8>) -> BTreeSet<IpAddr> {
        let is_up = |held: &Held| self.up.iter().any(|other| other.is_same(held));
        let gone =
            before.iter().filter(|held| wanted.get(&held.address) == Some(&held.prefix) && !is_up(held));
        gone.map(|held| held.address).collect()
    }

    /// Makes an alias; `back`: again, because others' hands were at it.
    fn make(
        &mut self,
        address: IpAddr,
        prefix: u8,
        life: Duration,
        back: bool,
    ) -> Option<(IpAddr, Tampering)> {
        let lease = &self.faker.published.lease;
        // Before each, and around the kernel's call: this thread may have been stopped since it saw what is wanted.
        let may = || !lease.is_over(clock::now());
        if !may() {
            return None;
        }
        lease.note_holding(true);
        let added = if back {
            self.faker.card.retake(address, prefix, life, &may)
        } else {
            self.faker.card.add(address, prefix, life, &may).map(|held| held.map(|held| (held, false)))
        };
        let trouble = match added {
            // No failure: all of ours goes next, before anything is tried again.
            Ok(None) => return None,
            Ok(Some((held, changed))) => {
                // It is up, even if the card cannot be read any more.
                self.on_card.push(held.clone());
                self.up.push(held);
                self.note(address, "add", Ok(()));
                back.then_some(if changed { Tampering::Changed } else { Tampering::Removed })
            }
            Err(error) => {
                self.note(address, "add", Err(error));
                Some(Tampering::Refused)
            }
        };
        trouble.map(|trouble| (address, trouble))
    }

    /// Each service once, after it was told what is up.
    fn tell_troubles(&self, config: &Config, troubles: &[(IpAddr, Tampering)]) {
        for service in &config.services {
            let has = |address: &IpAddr| service.addresses.iter().any(|own| own.address == *address);
            if let Some(&(_, how)) = troubles.iter().find(|(address, _)| has(address)) {
                let input = Input::Tampered { service: service.id, how };
                self.faker.driver.send(Told::Happened(Box::new(input)));
            }
        }
    }

    /// Before anybody is told: the old holder of an address goes on the first word of the new one (H3),
    /// and by then the neighbours' caches must point here.
    fn announce_what_came_up(&mut self, config: &Config) {
        let at_once = self.faker.published.lease.at_once();
        for service in self.present_services(config) {
            let came_up = !self.present.contains(&service);
            if came_up && at_once.contains(&service) && self.announce(service) {
                self.announced.push(service);
            }
        }
    }

    /// The addresses that shall be up now, with their prefixes.
    fn wanted(&self, config: &Config, services: &[ServiceId]) -> BTreeMap<IpAddr, u8> {
        let now = clock::now();
        if self.faker.published.lease.is_over(now) {
            return BTreeMap::new();
        }
        let ending = self.faker.published.lease.ending();
        let withheld = self.faker.published.lease.withheld();
        let services = lasting(services, &ending, now).filter_map(|service| config.service(service));
        let addresses = services.flat_map(|service| &service.addresses);
        let addresses = addresses.filter(|it| !withheld.contains(&it.address));
        addresses.map(|&Prefixed { address, prefix }| (address, prefix)).collect()
    }

    fn refresh(&mut self) {
        match self.faker.card.addresses() {
            Ok(held) => self.has_read(held),
            // And its addresses with it.
            Err(error) if alias::card_is_gone(&error) => self.has_read(Vec::new()),
            Err(error) => self.cannot_read(&error),
        }
    }

    fn has_read(&mut self, held: Vec<Held>) {
        if self.unread.take().is_some() {
            log::info!("the addresses of {} can be read again", self.faker.device);
        }
        self.stuck = false;
        self.up = held.iter().filter(|held| held.ours).cloned().collect();
        self.on_card = held;
        self.faker.published.lease.note_holding(!self.up.is_empty());
    }

    /// What was up counts as up: who took it for gone would say so to those who may take it then.
    fn cannot_read(&mut self, error: &io::Error) {
        let text = error.to_string();
        if self.unread.as_ref() != Some(&text) {
            log::error!("cannot read the addresses of {}: {text}", self.faker.device);
            self.unread = Some(text);
        }
        self.try_again();
    }

    /// The kernel's dead man's switch is wound up again; whatever is missing comes back.
    fn renew(&mut self, now: Instant) {
        let config = self.faker.published.config();
        self.plan_renewal(now);
        let ordered = self.faker.published.lease.services();
        let wanted = self.wanted(&config, &ordered);
        let mut failed = wanted.len() != self.up.len();
        for held in &self.up {
            let begin = clock::now();
            // A renewal makes the address where it has just gone: not what is to go, and not without a lease, however late.
            failed |= wanted.get(&held.address) != Some(&held.prefix)
                || self.faker.published.lease.is_over(begin)
                || self.faker.card.renew(held, config.cluster.valid_lft).is_err();
            self.lives();
            self.faker.published.faker_lateness.note(clock::now().since(begin));
        }
        if failed {
            self.compare();
        } else {
            self.renewed = now;
        }
    }

    fn gateways(&self, config: &Config) -> BTreeSet<Ipv4Addr> {
        let present = self.present_services(config);
        present.iter().filter_map(|&service| config.service(service)?.route).collect()
    }

    fn settle_routes(&mut self, wanted: &BTreeSet<Ipv4Addr>) {
        for &gateway in self.routes.difference(wanted) {
            if let Err(error) = self.faker.card.remove_default_route(gateway) {
                log::warn!("cannot remove the default route via {gateway}: {error}");
            }
        }
        for &gateway in wanted {
            // Always: the kernel may have dropped it together with an address.
            let added = self.faker.card.add_default_route(gateway);
            let new = !self.routes.contains(&gateway);
            match added {
                Ok(false) if new => {
                    log::info!("the machine has a default route: none via {gateway} is added")
                }
                Err(error) if new => log::warn!("cannot add the default route via {gateway}: {error}"),
                _ => {}
            }
        }
        self.routes.clone_from(wanted);
    }

    /// Services all of whose addresses are up.
    fn present_services(&self, config: &Config) -> Vec<ServiceId> {
        let withheld = self.faker.published.lease.withheld();
        let is_up = |address: &IpAddr| {
            self.up.iter().any(|held| held.address == *address) || withheld.contains(address)
        };
        let services = config.services.iter();
        services
            .filter(|service| service.addresses.iter().all(|address| is_up(&address.address)))
            .map(|service| service.id)
            .collect()
    }

    fn report(&mut self, config: &Config, changed: bool) {
        let present = self.present_services(config);
        if changed || present != self.present {
            self.present.clone_from(&present);
            self.faker.driver.send(Told::Happened(Box::new(Input::Present {
                answers: self.answered,
                up: present,
                announced: std::mem::take(&mut self.announced),
            })));
        }
    }

    /// Says once what failed, and once that it is over.
    fn note(&mut self, address: IpAddr, what: &str, result: io::Result<()>) {
        match result {
            Ok(()) => {
                if self.troubles.remove(&address).is_some() {
                    log::info!("{address}: {what} works again");
                }
            }
            Err(error) => {
                let text = format!("cannot {what} {address} on {}: {error}", self.faker.device);
                if self.troubles.get(&address) != Some(&text) {
                    log::error!("{text}");
                    self.troubles.insert(address, text);
                }
            }
        }
    }
}

/// When to renew instead of now, by a thread that woke late, where the kernel would round the end up: what would be written, a
/// second less, ends before what runs.
fn postponed(now: Instant, punctual_in: Duration, renewed: Instant, lifetime: Duration) -> Option<Instant> {
    (!punctual_in.is_zero() && now + punctual_in < renewed + lifetime / 2).then(|| now + punctual_in)
}

/// How late a thread woke that slept from `slept` until the first of these: what was over before is no reason to wake.
fn late(slept: Instant, due: &[Instant], woke: Instant) -> Duration {
    let due = due.iter().copied().filter(|&due| due > slept).min();
    due.map_or(Duration::ZERO, |due| woke.since(due))
}

#[cfg(test)]
mod tests;
