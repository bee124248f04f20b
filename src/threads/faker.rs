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
use crate::os::alias::{Card, Held};
use crate::os::packet_socket::{self, Hears, PacketSocket};
use crate::os::tcp::{self, Parted};
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

/// What the faker is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The wanted set, the lease or the kernel's addresses have changed.
    Compare,
    /// Gratuitous ARP for a service that is up here.
    Announce(ServiceId),
    /// Does anybody answer for this service's addresses?
    Probe(ServiceId),
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
    /// Our addresses that were on the card when it was read last.
    up: Vec<Held>,
    present: Vec<ServiceId>,
    /// Came up and was announced; not reported yet.
    announced: Vec<ServiceId>,
    /// The wanted set that was answered last.
    answered: u64,
    routes: BTreeSet<Ipv4Addr>,
    next_renewal: Instant,
    /// When all that is up was renewed last.
    renewed: Instant,
    /// The next service that goes before the lease does.
    next_ending: Instant,
    /// What could not be done and was said already, until it can.
    troubles: BTreeMap<IpAddr, String>,
}

impl Faker {
    /// Works until the driver is gone.
    pub fn run(self) {
        let mut work = Work {
            faker: self,
            frames: None,
            up: Vec::new(),
            present: Vec::new(),
            announced: Vec::new(),
            answered: 0,
            routes: BTreeSet::new(),
            next_renewal: Instant::ZERO,
            renewed: Instant::ZERO,
            next_ending: Instant::MAX,
            troubles: BTreeMap::new(),
        };
        loop {
            let next = work.next_wake();
            work.lives();
            work.faker.published.signs.sleeps(Watched::Faker, next);
            let received = work.faker.mailbox.receive_until(next);
            let now = clock::now();
            work.lives();
            if work.faker.published.lease.is_over(now) && !work.up.is_empty() {
                work.drop_all("the lease has ended");
            }
            match received {
                Received::Message(Order::Compare) => work.compare(),
                Received::Message(Order::Announce(service)) => {
                    work.announce(service);
                }
                Received::Message(Order::Probe(service)) => work.probe(service),
                Received::Message(Order::AskArbiters) => work.ask_arbiters(),
                Received::Nothing if now >= work.next_ending => work.compare(),
                Received::Nothing => {}
                Received::Closed => break,
            }
            // However many orders come: what nobody renews the kernel drops.
            work.renew_if_due(clock::now());
        }
        work.drop_all("the daemon ends");
        work.faker.published.signs.retires(Watched::Faker);
    }
}

impl Work {
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

    /// The next renewal, or service that goes; the lease's own end is the alarm's.
    fn next_wake(&self) -> Instant {
        let lease = &self.faker.published.lease;
        let end = lease.set_alarm(!self.up.is_empty());
        if self.up.is_empty() && (lease.services().is_empty() || clock::now() >= lease.until()) {
            return Instant::MAX;
        }
        end.min(self.next_renewal).min(self.next_ending)
    }

    /// L6: nothing else before.
    fn drop_all(&mut self, why: &str) {
        for held in std::mem::take(&mut self.up) {
            if let Err(error) = self.faker.card.remove(held.address) {
                log::error!("cannot remove {}: {error}", held.address);
            }
            self.lives();
        }
        log::info!("all service addresses are down: {why}");
        self.refresh();
        self.settle_routes(&BTreeSet::new());
        self.report(&self.faker.published.config(), true);
    }

    /// Wanted against present: what is too much goes first, then what is missing comes, in one batch.
    fn compare(&mut self) {
        let config = self.faker.published.config();
        let (number, ordered) = self.faker.published.lease.wanted();
        let wanted = self.wanted(&config, &ordered);
        let before = std::mem::take(&mut self.up);
        self.refresh();
        let tampered = self.tampered(&before, &wanted);
        let mut changed = false;
        let mut troubles = Vec::new();
        let too_much: Vec<IpAddr> =
            self.up.iter().map(|held| held.address).filter(|address| !wanted.contains_key(address)).collect();
        self.end_connections(&config, &too_much);
        for address in too_much {
            changed = true;
            let removed = self.faker.card.remove(address);
            self.note(address, "remove", removed);
            self.lives();
        }
        for (&address, &prefix) in &wanted {
            let back = tampered.contains(&address);
            if self.up.iter().any(|held| held.address == address && held.prefix == prefix) {
                // A renewal has put it back before anybody looked.
                troubles.extend(back.then_some((address, Tampering::Removed)));
            } else {
                changed = true;
                self.faker.published.lease.note_holding(true);
                troubles.extend(self.put_up(address, prefix, config.cluster.valid_lft, back));
                self.lives();
            }
        }
        if changed {
            self.refresh();
            self.announce_what_came_up(&config);
        }
        let gateways = self.gateways(&config);
        self.settle_routes(&gateways);
        let now = clock::now();
        if before.is_empty() {
            self.plan_renewal(now);
        }
        let ending = self.faker.published.lease.ending();
        self.next_ending =
            ending.iter().map(|&(_, at)| at).filter(|&at| at > now).min().unwrap_or(Instant::MAX);
        // Every new wanted set is answered, even if the kernel has it already.
        changed |= std::mem::replace(&mut self.answered, number) != number;
        self.report(&config, changed);
        self.tell_troubles(&config, &troubles);
    }

    /// What was ours, is wanted and yet is gone, or another one: nobody here took it away.
    fn tampered(&self, before: &[Held], wanted: &BTreeMap<IpAddr, u8>) -> BTreeSet<IpAddr> {
        let is_up = |held: &Held| self.up.iter().any(|other| other.is_same(held));
        let gone =
            before.iter().filter(|held| wanted.get(&held.address) == Some(&held.prefix) && !is_up(held));
        gone.map(|held| held.address).collect()
    }

    /// Makes an alias; `back`: again, because others' hands were at it.
    fn put_up(
        &mut self,
        address: IpAddr,
        prefix: u8,
        life: Duration,
        back: bool,
    ) -> Option<(IpAddr, Tampering)> {
        let (added, trouble) = if back {
            let retaken = self.faker.card.retake(address, prefix, life);
            let changed = matches!(retaken, Ok(true));
            (retaken.map(drop), Some(if changed { Tampering::Changed } else { Tampering::Removed }))
        } else {
            (self.faker.card.add(address, prefix, life), None)
        };
        let trouble = if added.is_err() { Some(Tampering::Refused) } else { trouble };
        self.note(address, "add", added);
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

    /// H3: whoever is still connected to an address that moves away shall connect again, to its new
    /// holder, instead of waiting for an answer that can no longer be sent. Until then there are two holders: so for 2p,
    /// and not when the lease is over, before which nothing comes (L6). To whom it does not come, the new holder says it
    /// when it hears from him.
    fn end_connections(&self, config: &Config, addresses: &[IpAddr]) {
        let lease = &self.faker.published.lease;
        let until = clock::now() + config.cluster.hello_interval / 4;
        let has_time = || !lease.is_over(clock::now()) && clock::now() < until;
        if !has_time() {
            return;
        }
        match tcp::reset_connections(addresses, has_time) {
            Ok(parted) => {
                for (address, Parted { reset, left }) in addresses.iter().zip(parted) {
                    match (reset, left) {
                        (0, 0) => {}
                        (_, 0) => log::info!("{address} moves away: {reset} connections were reset"),
                        (_, _) => log::warn!(
                            "{address} moves away: {reset} connections were reset, for {left} there was no time"
                        ),
                    }
                }
            }
            Err(error) => log::debug!("cannot reset the connections of {addresses:?}: {error}"),
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
            Ok(held) => self.up = held.into_iter().filter(|held| held.ours).collect(),
            Err(error) => {
                self.up.clear();
                log::debug!("cannot read the addresses of {}: {error}", self.faker.device);
            }
        }
        self.faker.published.lease.note_holding(!self.up.is_empty());
    }

    /// The kernel's dead man's switch is wound up again; whatever is missing comes back.
    fn renew(&mut self, now: Instant) {
        let config = self.faker.published.config();
        self.plan_renewal(now);
        let ordered = self.faker.published.lease.services();
        let mut failed = self.wanted(&config, &ordered).len() != self.up.len();
        for held in &self.up {
            // A renewal makes the address where it has just gone: not without a lease, however late.
            failed |= self.faker.published.lease.is_over(clock::now())
                || self.faker.card.renew(held, config.cluster.valid_lft).is_err();
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

    /// Request, then reply: some neighbours listen only to one of them. True: all of it went out.
    fn announce(&mut self, service: ServiceId) -> bool {
        let config = self.faker.published.config();
        let Some(service) = config.service(service) else { return false };
        let mut complete = true;
        for Prefixed { address, .. } in &service.addresses {
            let is_up = self.up.iter().any(|held| held.address == *address);
            // The lease again, at the last moment: a late announcement would draw clients here.
            if !is_up || self.faker.published.lease.is_over(clock::now()) {
                complete = false;
                continue;
            }
            let sent = self.send_frames(|mac| match address {
                IpAddr::V4(v4) => vec![
                    ArpFrame::announcement_request(mac, *v4).to_bytes().to_vec(),
                    ArpFrame::announcement_reply(mac, *v4).to_bytes().to_vec(),
                ],
                IpAddr::V6(v6) => {
                    let message = wire::unsolicited_advertisement(mac, *v6);
                    vec![frame::icmpv6_multicast(mac, *v6, wire::ALL_NODES, &message)]
                }
            });
            if sent {
                self.faker.published.counters.announced.fetch_add(1, Ordering::Relaxed);
            }
            complete &= sent;
        }
        complete
    }

    fn probe(&mut self, service: ServiceId) {
        let config = self.faker.published.config();
        let Some(service) = config.service(service) else { return };
        for Prefixed { address, .. } in &service.addresses {
            self.send_frames(|mac| match address {
                IpAddr::V4(v4) => vec![ArpFrame::probe(mac, *v4).to_bytes().to_vec()],
                IpAddr::V6(v6) => {
                    let message = wire::duplicate_probe(*v6);
                    let to = wire::solicited_node(*v6);
                    vec![frame::icmpv6_multicast(mac, Ipv6Addr::UNSPECIFIED, to, &message)]
                }
            });
        }
    }

    /// Q2. As itself where the card has an address of its own; else as a probe (RFC 5227), which a Linux or
    /// BSD gateway answers as well.
    fn ask_arbiters(&mut self) {
        let config = self.faker.published.config();
        let own = config.node(self.faker.me).and_then(|node| node.external.address);
        let own = own.map_or(Ipv4Addr::UNSPECIFIED, |own| own.address);
        for &arbiter in &config.cluster.arbiter {
            self.send_frames(|mac| vec![ArpFrame::question(mac, own, arbiter).to_bytes().to_vec()]);
        }
    }

    /// True: all of them went out.
    fn send_frames(&mut self, frames: impl FnOnce([u8; 6]) -> Vec<Vec<u8>>) -> bool {
        if self.frames.is_none() {
            self.frames = PacketSocket::open(&self.faker.device, Hears::Nothing).ok();
        }
        let Some(socket) = &self.frames else {
            self.send_failed(LocalFault::Down);
            return false;
        };
        self.faker.published.told.lock().mac = socket.mac();
        for frame in frames(socket.mac()) {
            if let Err(error) = socket.send(&frame) {
                if packet_socket::card_is_gone(&error) {
                    self.frames = None;
                }
                self.send_failed(super::local_fault(&error));
                return false;
            }
        }
        true
    }

    fn send_failed(&self, fault: LocalFault) {
        self.faker.published.counters.failed.fetch_add(1, Ordering::Relaxed);
        // Full: the next failure tells the same.
        let role = LinkRole::External;
        let _ = self.faker.driver.offer(Told::Happened(Box::new(Input::SendFailed { role, fault })));
    }
}

/// When to renew instead of now, by a thread that woke late, where the kernel would round the end up: what would be written, a
/// second less, ends before what runs.
fn postponed(now: Instant, punctual_in: Duration, renewed: Instant, lifetime: Duration) -> Option<Instant> {
    (!punctual_in.is_zero() && now + punctual_in < renewed + lifetime / 2).then(|| now + punctual_in)
}

#[cfg(test)]
mod tests;
