//! Thread `link monitor`: carrier and switch of this node's two cards, and addresses that others took away.
//!
//! Owns a netlink socket. Tells the driver of the links and the thread `checks` of cards that it looks at, and wakes the faker to compare when an address
//! has gone from the external card. Ends when its bell rings.

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
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::published::Published;

/// The kernel's netlink does not fail for ever; until then this thread must not spin.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);
/// Somebody who deletes our addresses again and again keeps this thread and the faker busy at most every
/// so often.
const COMPARE_INTERVAL: Duration = Duration::from_millis(5);

/// The thread.
pub struct LinkWatch {
    /// The netlink socket, opened before the first link was asked for.
    pub monitor: LinkMonitor,
    /// Which card is for what; both roles may have one card.
    pub roles: Vec<(LinkRole, String)>,
    /// Who is told of links.
    pub driver: Sender<Told>,
    /// Who is told of lost addresses.
    pub faker: Sender<Order>,
    /// Who is told of cards that checks look at.
    pub checks: Sender<checks::Order>,
    /// Is the daemon ending?
    pub published: Arc<Published>,
    /// The end.
    pub bell: Doorbell,
}

/// What was passed on last.
#[derive(Default)]
struct Known {
    roles: BTreeMap<LinkRole, bool>,
    cards: BTreeMap<String, bool>,
}

impl LinkWatch {
    /// Watches until the bell rings.
    pub fn run(mut self) {
        let mut known = Known::default();
        while !self.published.is_stopping() {
            match self.monitor.wait(&self.bell, Instant::MAX) {
                Ok(changes) => self.pass_on(&changes, &mut known),
                Err(error) => {
                    log::error!("cannot watch the links: {error}");
                    clock::sleep_until(clock::now() + FAILURE_PAUSE);
                    if let Ok(monitor) = LinkMonitor::open() {
                        self.monitor = monitor;
                    }
                }
            }
        }
    }

    fn pass_on(&self, changes: &[LinkChange], known: &mut Known) {
        let mut compare = false;
        for change in changes {
            match change {
                LinkChange::Card { device, up } => {
                    self.tell_checks(device, *up, known);
                    for (role, _) in self.roles.iter().filter(|(_, name)| name == device) {
                        if known.roles.insert(*role, *up) != Some(*up) {
                            self.driver.send(Told::Happened(Box::new(Input::Link { role: *role, up: *up })));
                            // IPv6 addresses go with the link and do not come back by themselves.
                            compare |= *up && *role == LinkRole::External;
                        }
                    }
                }
                LinkChange::AddressGone { index, .. } => compare |= self.is_external(*index),
                LinkChange::Overrun => compare = true,
            }
        }
        if compare {
            // Full: the faker is busy and compares at its next tick.
            let _ = self.faker.offer(Order::Compare);
            clock::sleep_until(clock::now() + COMPARE_INTERVAL);
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
        let external = self.roles.iter().find(|(role, _)| *role == LinkRole::External);
        external.is_some_and(|(_, device)| index_of(device).is_ok_and(|own| own == index))
    }
}
