//! Thread `link monitor`: carrier and switch of this node's two cards, their hardware addresses, cards that were replaced, and
//! addresses that others took away.
//!
//! Owns a netlink socket. Tells the driver of the links and the thread `checks` of cards that it looks at, wakes the faker to
//! compare when an address has gone from the external card, and has all announced again that is served on a card that got another
//! hardware address. A card of the same name with another index ends the worker (`Published::doom`): all its sockets belong to
//! the one before. Ends when its bell rings.

use super::checks;
use super::driver::Told;
use super::faker::Order;
use super::mailbox::Sender;
use crate::config::CheckKind;
use crate::controller::Input;
use crate::os::alias::index_of;
use crate::os::clock;
use crate::os::doorbell::Doorbell;
use crate::os::link::{LinkChange, LinkMonitor};
use crate::vocabulary::{Instant, LinkRole};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::published::Published;

/// The kernel's netlink does not fail for ever; until then this thread must not spin.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);
/// Somebody who deletes our addresses again and again keeps the faker busy at most every so often.
const COMPARE_INTERVAL: Duration = Duration::from_millis(5);
/// Announced at once by another hardware address, then more than a second apart: a switch may just be learning, and Linux
/// neighbours ignore what comes within a second of the last change (locktime).
const ANNOUNCE: [Duration; 3] = [Duration::ZERO, Duration::from_millis(1_100), Duration::from_millis(3_300)];

/// A card of this node.
#[derive(Debug)]
pub struct OwnCard {
    /// What it is for; both roles may have one card.
    pub role: LinkRole,
    /// Its name.
    pub device: String,
    /// Its index, read before anything was opened on it.
    pub index: u32,
}

impl OwnCard {
    /// The one that has this name now.
    ///
    /// # Errors
    /// ENODEV.
    pub fn named(role: LinkRole, device: &str) -> io::Result<Self> {
        Ok(OwnCard { role, device: device.to_owned(), index: index_of(device)? })
    }
}

/// The thread.
pub struct LinkWatch {
    /// The netlink socket, opened before the first link was asked for.
    pub monitor: LinkMonitor,
    /// Which are watched.
    pub cards: Vec<OwnCard>,
    /// Who is told of links.
    pub driver: Sender<Told>,
    /// Who is told of lost addresses.
    pub faker: Sender<Order>,
    /// Who is told of cards that checks look at.
    pub checks: Sender<checks::Order>,
    /// Is the daemon ending?
    pub published: Arc<Published>,
    /// Rung when the worker cannot go on.
    pub main: Doorbell,
    /// The end.
    pub bell: Doorbell,
}

/// What was passed on last, and what is to be ordered yet.
#[derive(Default)]
struct Known {
    roles: BTreeMap<LinkRole, bool>,
    cards: BTreeMap<String, bool>,
    /// Of the external card.
    mac: Option<[u8; 6]>,
    /// The faker has to compare.
    compare: bool,
    /// Not before.
    next_compare: Instant,
    /// When all that is served is announced.
    announcements: VecDeque<Instant>,
}

impl LinkWatch {
    /// Watches until the bell rings.
    pub fn run(mut self) {
        let mut known = Known::default();
        while !self.published.is_stopping() {
            match self.monitor.wait(&self.bell, known.next()) {
                Ok(changes) => self.pass_on(&changes, &mut known),
                Err(error) => {
                    log::error!("cannot watch the links: {error}");
                    clock::sleep_until(clock::now() + FAILURE_PAUSE);
                    if let Ok(monitor) = LinkMonitor::open() {
                        self.monitor = monitor;
                    }
                }
            }
            self.order_what_is_due(&mut known, clock::now());
        }
    }

    fn pass_on(&self, changes: &[LinkChange], known: &mut Known) {
        for change in changes {
            match change {
                LinkChange::Card { device, index, mac, up } => {
                    self.tell_checks(device, *up, known);
                    for card in self.cards.iter().filter(|card| card.device == *device) {
                        if card.index == *index {
                            self.see(card.role, *mac, *up, known);
                        } else if *up {
                            self.end_worker(card, *index);
                        }
                    }
                }
                LinkChange::AddressGone { index, .. } => known.compare |= self.is_external(*index),
                LinkChange::Overrun => known.compare = true,
            }
        }
    }

    fn see(&self, role: LinkRole, mac: Option<[u8; 6]>, up: bool, known: &mut Known) {
        if role == LinkRole::External
            && let Some(mac) = mac
        {
            self.published.told.lock().mac = mac;
            if known.mac.replace(mac).is_some_and(|before| before != mac) {
                let now = clock::now();
                known.announcements = ANNOUNCE.iter().map(|&after| now + after).collect();
            }
        }
        if known.roles.insert(role, up) != Some(up) {
            self.driver.send(Told::Happened(Box::new(Input::Link { role, up })));
            // IPv6 addresses go with the link and do not come back by themselves.
            known.compare |= up && role == LinkRole::External;
        }
    }

    /// Only for one that carries: as long as it does not, no socket on it would be of use, and a name that a card has only until
    /// it is renamed costs nothing.
    fn end_worker(&self, card: &OwnCard, index: u32) {
        let OwnCard { device, index: before, .. } = card;
        let why = format!("the card {device} is another one (index {before} before, {index} now)");
        // The first reason counts.
        let _ = self.published.doom.set(why);
        self.main.ring();
    }

    fn order_what_is_due(&self, known: &mut Known, now: Instant) {
        if known.compare && now >= known.next_compare {
            known.compare = false;
            known.next_compare = now + COMPARE_INTERVAL;
            // Full: the faker is busy and compares at its next tick.
            let _ = self.faker.offer(Order::Compare);
        }
        if known.announcements.front().is_some_and(|&due| now >= due) {
            known.announcements.pop_front();
            self.announce();
        }
    }

    /// But not what goes to another holder, who announces it himself.
    fn announce(&self) {
        let ending = self.published.lease.ending();
        let services = self.published.lease.services();
        for &service in services.iter().filter(|service| !ending.iter().any(|(id, _)| id == *service)) {
            // Full: it is announced again.
            let _ = self.faker.offer(Order::Announce(service));
        }
    }

    /// A carrier that comes or goes is looked at at once, not at the next run.
    fn tell_checks(&self, device: &str, up: bool, known: &mut Known) {
        let config = self.published.config();
        let looked_at =
            config.checks.iter().any(|check| check.kind == CheckKind::Link && check.target == device);
        // Cards of containers come and go by the thousand: only what is looked at is remembered.
        if looked_at && known.cards.insert(device.to_owned(), up) != Some(up) {
            // Full: the check's next run sees it.
            let _ = self.checks.offer(checks::Order::Card { device: device.to_owned() });
        }
    }

    fn is_external(&self, index: u32) -> bool {
        self.cards.iter().any(|card| card.role == LinkRole::External && card.index == index)
    }
}

impl Known {
    /// When there is something to order.
    fn next(&self) -> Instant {
        let compare = if self.compare { self.next_compare } else { Instant::MAX };
        self.announcements.front().map_or(compare, |&due| due.min(compare))
    }
}

#[cfg(test)]
mod tests;
