//! Thread `receipts`: after a takeover a few other nodes ask ARP for the address, and say whom they see. Whoever
//! still sees another machine is the reason for another announcement, a bounded number of times.
//!
//! ```text
//!   driver: taken ──▶ receipts ──WHO_HAS──▶ two neighbours and the controller ──SEES──▶ receipts ──▶ event
//!                        ▲                                                                 │
//!                        └───────────── announce again, ask again ◀──── somebody differs ──┘
//! ```
//! Owns the receipts under way, on both sides: here it asks, and for others it looks (`look`, at most 60 ms a
//! question). Decides nothing, and nobody waits for it. IPv4 alone: a neighbour cache of IPv6 follows an
//! override at once. Ends with `Order::End`.

use super::driver::Told;
use super::faker;
use super::mailbox::{Mailbox, Received, Sender};
use super::published::Published;
pub use crate::control::receipt_words::Steps;
use crate::control::receipt_words::{Doubt, Receipt, receipt_fields, receipt_text};
use crate::controller::{Destination, Links};
use crate::os::clock;
use crate::os::packet_socket::{Hears, PacketSocket};
use crate::vocabulary::{Instant, NodeId, ServiceId};
use crate::wire::{Aside, MAX_ASIDE, Packet, Sighting};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

mod look;

/// Orders that may wait: every service of a cluster at once, and what others ask meanwhile.
pub const ORDERS: usize = 1_024;
/// So many others are asked: the ring's neighbours and the controller sit on different ports of a switch.
pub const WITNESSES: usize = 3;
/// When it is asked again: a lost packet first; then Linux neighbours, which ignore what comes within a second
/// of the last change (locktime).
const AGAIN: [Duration; 7] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(1_100),
    Duration::from_millis(1_100),
    Duration::from_millis(2_200),
    Duration::from_millis(2_200),
    Duration::from_millis(5_000),
];

/// What the thread is told.
#[derive(Debug)]
pub enum Order {
    /// This node has just taken a service.
    Taken {
        /// Which.
        service: ServiceId,
        /// How long it took so far.
        steps: Steps,
        /// Who can be asked.
        witnesses: Vec<NodeId>,
        /// When its addresses were up.
        at: Instant,
    },
    /// Another node asks, or answers.
    Heard(NodeId, Aside),
    /// End now.
    End,
}

/// The thread.
pub struct Receipts {
    /// This node.
    pub me: NodeId,
    /// Its external card.
    pub device: String,
    /// Orders.
    pub mailbox: Mailbox<Order>,
    /// Who sends.
    pub driver: Sender<Told>,
    /// Who announces.
    pub faker: Sender<faker::Order>,
    /// Configuration, events, what is served here.
    pub published: Arc<Published>,
}

/// One takeover whose receipt is not complete.
#[derive(Debug)]
struct Pending {
    nonce: u64,
    at: Instant,
    steps: Steps,
    witnesses: Vec<NodeId>,
    answers: BTreeMap<NodeId, Vec<Sighting>>,
    /// How often was asked.
    asked: usize,
    next: Instant,
    /// A doubt was said.
    doubted: bool,
}

struct Work {
    thread: Receipts,
    pending: BTreeMap<ServiceId, Pending>,
    next_nonce: u64,
}

impl Receipts {
    /// Until the end.
    pub fn run(self) {
        let mut work = Work { thread: self, pending: BTreeMap::new(), next_nonce: 1 };
        loop {
            let due = work.pending.values().map(|pending| pending.next).min();
            match work.thread.mailbox.receive_until(due.unwrap_or(Instant::MAX)) {
                Received::Message(Order::Taken { service, steps, witnesses, at }) => {
                    work.begin(service, steps, witnesses, at);
                }
                Received::Message(Order::Heard(from, aside)) => work.hear(from, aside),
                Received::Nothing => {}
                Received::Message(Order::End) | Received::Closed => return,
            }
            work.act();
        }
    }
}

impl Work {
    fn begin(&mut self, service: ServiceId, steps: Steps, witnesses: Vec<NodeId>, at: Instant) {
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        if witnesses.is_empty() || self.addresses(service).is_empty() {
            return self.tell(service, steps, &Receipt::Confirmed { by: Vec::new(), after: Duration::ZERO });
        }
        let answers = BTreeMap::new();
        let pending = Pending { nonce, at, steps, witnesses, answers, asked: 0, next: at, doubted: false };
        self.pending.insert(service, pending);
    }

    fn addresses(&self, service: ServiceId) -> Vec<Ipv4Addr> {
        let config = self.thread.published.config();
        let addresses = config.service(service).into_iter().flat_map(|service| &service.addresses);
        let v4 = addresses.filter_map(|address| match address.address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        });
        v4.take(MAX_ASIDE).collect()
    }

    fn hear(&mut self, from: NodeId, aside: Aside) {
        match aside {
            Aside::WhoHas { service, nonce } => self.look_for(from, service, nonce),
            Aside::Sees { service, nonce, sightings } => {
                if let Some(pending) = self.pending.get_mut(&service).filter(|pending| pending.nonce == nonce)
                    && pending.witnesses.contains(&from)
                {
                    pending.answers.insert(from, sightings);
                    self.judge(service);
                }
            }
            Aside::Events { .. } | Aside::More { .. } => {}
        }
    }

    /// The other side: who has it, as this machine sees it.
    fn look_for(&mut self, from: NodeId, service: ServiceId, nonce: u64) {
        let addresses = self.addresses(service);
        let config = self.thread.published.config();
        let own = config.node(self.thread.me).and_then(|node| node.external.address);
        let own = own.map_or(Ipv4Addr::UNSPECIFIED, |own| own.address);
        match look::look(&self.thread.device, own, &addresses) {
            Ok(sightings) if !sightings.is_empty() => {
                self.say(from, Aside::Sees { service, nonce, sightings });
            }
            // A witness that cannot see is none.
            Ok(_) => {}
            Err(error) => log::debug!("cannot look who has {service}: {error}"),
        }
    }

    fn act(&mut self) {
        let now = clock::now();
        let due: Vec<ServiceId> =
            self.pending.iter().filter(|(_, pending)| now >= pending.next).map(|(&id, _)| id).collect();
        for service in due {
            if !self.thread.published.lease.services().contains(&service) {
                // It went elsewhere: its next holder asks for itself.
                self.pending.remove(&service);
                continue;
            }
            self.ask(now, service);
        }
    }

    fn ask(&mut self, now: Instant, service: ServiceId) {
        let mine = self.mac();
        let Some(pending) = self.pending.get_mut(&service) else { return };
        let Some(&pause) = AGAIN.get(pending.asked) else { return self.give_up(service) };
        if pending.answers.values().any(|sightings| differs(sightings, mine)) {
            // Full: the controller announces by itself as well.
            let _ = self.thread.faker.offer(faker::Order::Announce(service));
        }
        let Some(pending) = self.pending.get_mut(&service) else { return };
        pending.asked += 1;
        pending.next = now + pause;
        let nonce = pending.nonce;
        let unsure = |node: &&NodeId| pending.answers.get(node).is_none_or(|seen| differs(seen, mine));
        let asked: Vec<NodeId> = pending.witnesses.iter().filter(unsure).copied().collect();
        for node in asked {
            self.say(node, Aside::WhoHas { service, nonce });
        }
    }

    /// After an answer.
    fn judge(&mut self, service: ServiceId) {
        let mine = self.mac();
        let Some(pending) = self.pending.get_mut(&service) else { return };
        let doubts = doubts(pending, mine);
        let now = clock::now();
        if doubts.is_empty() && pending.answers.len() == pending.witnesses.len() {
            let pending = self.pending.remove(&service).expect("just seen");
            let by = pending.answers.keys().map(|&id| self.name(id)).collect();
            self.tell(service, pending.steps, &Receipt::Confirmed { by, after: now.since(pending.at) });
        } else if !doubts.is_empty() && !std::mem::replace(&mut pending.doubted, true) {
            let steps = pending.steps;
            let _ = self.thread.faker.offer(faker::Order::Announce(service));
            let by = self.named(doubts);
            self.tell(service, steps, &Receipt::Doubted { by, given_up: false });
        }
    }

    /// Everything was tried: who never answered is no doubt.
    fn give_up(&mut self, service: ServiceId) {
        let mine = self.mac();
        let Some(pending) = self.pending.remove(&service) else { return };
        let doubts = doubts(&pending, mine);
        let receipt = if doubts.is_empty() {
            let by: Vec<String> = pending.answers.keys().map(|&id| self.name(id)).collect();
            Receipt::Confirmed { by, after: clock::now().since(pending.at) }
        } else {
            Receipt::Doubted { by: self.named(doubts), given_up: true }
        };
        self.tell(service, pending.steps, &receipt);
    }

    fn named(&self, doubts: Vec<(NodeId, Sighting)>) -> Vec<Doubt> {
        let mine = self.mac();
        let named = doubts.into_iter().map(|(id, seen)| Doubt {
            node: self.name(id),
            answers: seen.answers,
            cached: seen.cached.filter(|&mac| Some(mac) != mine),
        });
        named.collect()
    }

    fn name(&self, id: NodeId) -> String {
        let config = self.thread.published.config();
        config.node(id).map_or_else(|| id.to_string(), |node| node.name.clone())
    }

    /// Read each time: a card may be replaced.
    fn mac(&self) -> Option<[u8; 6]> {
        PacketSocket::open(&self.thread.device, Hears::Nothing).ok().map(|socket| socket.mac())
    }

    fn say(&self, to: NodeId, aside: Aside) {
        // Full: it is asked again.
        let _ = self.thread.driver.offer(Told::Say(Destination::Node(to), Links::All, Packet::Aside(aside)));
    }

    fn tell(&self, service: ServiceId, steps: Steps, receipt: &Receipt) {
        let config = self.thread.published.config();
        let name = config.service(service).map_or_else(|| service.to_string(), |it| it.name.clone());
        let text = receipt_text(&name, steps, receipt);
        match receipt {
            Receipt::Confirmed { .. } => log::info!("{text}"),
            Receipt::Doubted { .. } => log::warn!("{text}"),
        }
        let fields = receipt_fields(&name, steps, receipt);
        self.thread.published.events.push(clock::wall(), text, fields);
    }
}

/// It sees another machine, or none at all.
fn differs(sightings: &[Sighting], mine: Option<[u8; 6]>) -> bool {
    sightings.iter().any(|seen| doubtful(seen, mine))
}

fn doubtful(seen: &Sighting, mine: Option<[u8; 6]>) -> bool {
    seen.answers != mine || seen.cached.is_some_and(|mac| Some(mac) != mine)
}

/// The first doubtful address of each node that has one.
fn doubts(pending: &Pending, mine: Option<[u8; 6]>) -> Vec<(NodeId, Sighting)> {
    let of = |(&id, seen): (&NodeId, &Vec<Sighting>)| {
        seen.iter().find(|seen| doubtful(seen, mine)).map(|seen| (id, *seen))
    };
    pending.answers.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests;
