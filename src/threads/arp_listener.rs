//! Thread `arp listener`: who else says on the external link that it has one of our service addresses?
//!
//! Answers to the faker's probes and announcements of others come here (RFC 5227; RFC 4861 for IPv6); each
//! becomes `Input::Claimed`. Owns two raw sockets and a third for the arbiters, which the kernel filters for our
//! addresses. A reload changes the filters of the sockets that are there: closing one takes tens of milliseconds on
//! some kernels, in which nobody would listen. Ends when its bell rings and the daemon is stopping.
//!
//! Whoever looks before it takes trusts silence. So while an answer may be missed (no socket, no card, a filter that
//! could not be set) the driver is told again and again, as of sends that fail: this node takes nothing then.

use super::driver::Told;
use super::mailbox::Sender;
use super::published::Published;
use crate::config::Config;
use crate::controller::{Input, LocalFault};
use crate::os::clock;
use crate::os::doorbell::{self, Doorbell};
use crate::os::frame;
use crate::os::packet_socket::{Hears, PacketSocket};
use crate::vocabulary::{Instant, LinkRole, NodeId, ServiceId};
use crate::wire::{ArpFrame, NeighbourMessage};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Frames taken from one socket before the other gets its turn.
const IN_A_ROW: u32 = 64;
/// A card that is missing, or down, is looked for again after this.
const RETRY: Duration = Duration::from_millis(100);
/// So often at most is a socket read that others have replaced: more than its buffer takes.
const LAST_LOOKS: u32 = 16;
/// That nothing is heard stands in the log this often at most.
const COMPLAINT: Duration = Duration::from_secs(10);

/// The thread.
pub struct ArpListener {
    /// Whose external card.
    pub me: NodeId,
    /// Who is told.
    pub driver: Sender<Told>,
    /// Configuration.
    pub published: Arc<Published>,
    /// The configuration changed, or the end.
    pub bell: Doorbell,
}

/// What one configuration makes of it.
struct Watch {
    device: String,
    arp: PacketSocket,
    /// Only where there is, or was, an IPv6 service address.
    neighbours: Option<PacketSocket>,
    /// Only where an arbiter is, or was, configured.
    arbiters: Option<Arbiters>,
    owners: BTreeMap<IpAddr, ServiceId>,
    /// Claims for one service are passed on this often at most: half the shortest probe interval of a look
    /// (p/2 at T/16), so that no answered probe is missed (F1).
    pause: Duration,
    passed: BTreeMap<ServiceId, Instant>,
}

/// What this thread remembers.
#[derive(Default)]
struct Ears {
    watch: Option<Watch>,
    /// The configuration changed: the sockets may hear what it was.
    stale: bool,
    /// A socket failed: another card of that name needs other sockets.
    broken: bool,
    /// Why answers may be missed now.
    deaf: Option<LocalFault>,
    next_try: Instant,
    next_word: Instant,
    next_complaint: Instant,
}

impl ArpListener {
    /// Listens until the end.
    pub fn run(self) {
        let mut ears = Ears { stale: true, ..Ears::default() };
        while !self.published.is_stopping() {
            let config = self.published.config();
            if ears.stale || ears.broken {
                self.prick(&mut ears, &config);
            }
            let mut until = Instant::MAX;
            if let Some(fault) = ears.deaf {
                self.tell_deaf(&mut ears, fault);
                until = ears.next_try.min(ears.next_word);
            }
            self.listen(&mut ears, until);
        }
    }

    /// Hears what this configuration asks for, if that is possible. What the sockets heard before is not lost.
    fn prick(&self, ears: &mut Ears, config: &Config) {
        let now = clock::now();
        if now < ears.next_try {
            return;
        }
        ears.next_try = now + RETRY;
        match ears.follow(config, self.me) {
            Ok(replaced) => {
                (ears.stale, ears.broken, ears.deaf) = (false, false, None);
                if let (Some(mut old), Some(new)) = (replaced, &mut ears.watch) {
                    // What came before the new ones were open. Each of the old ones may say once more that it failed.
                    let mut emptied =
                        |_: &u32| matches!(self.empty(&mut old, u16::MAX, &mut [0; 256]), Ok(false));
                    let _ = (0..LAST_LOOKS).find(&mut emptied);
                    new.passed = old.passed;
                }
            }
            Err(error) => {
                ears.deaf = Some(super::local_fault(&error));
                if now >= ears.next_complaint {
                    ears.next_complaint = now + COMPLAINT;
                    log::warn!("cannot listen for ARP on the external link: {error}");
                }
            }
        }
    }

    /// Twice in T: what the controller does not hear again for 3 T is over.
    fn tell_deaf(&self, ears: &mut Ears, fault: LocalFault) {
        let now = clock::now();
        if now < ears.next_word {
            return;
        }
        ears.next_word = now + self.published.config().cluster.hello_interval / 2;
        // Full: the next one tells the same.
        let role = LinkRole::External;
        let _ = self.driver.offer(Told::Happened(Box::new(Input::SendFailed { role, fault })));
    }

    /// Until something was heard, the bell rings, or the instant has come.
    fn listen(&self, ears: &mut Ears, until: Instant) {
        let Some(watch) = &mut ears.watch else {
            if self.bell.wait_until(until) {
                (ears.stale, ears.next_try) = (true, Instant::ZERO);
            }
            return;
        };
        let neighbours = watch.neighbours.as_ref().unwrap_or(&watch.arp);
        let arbiters = watch.arbiters.as_ref().map_or(&watch.arp, |arbiters| &arbiters.replies);
        let descriptors = [self.bell.as_fd(), watch.arp.as_fd(), neighbours.as_fd(), arbiters.as_fd()];
        // For want of memory, which passes.
        let Ok(ready) = doorbell::wait(&descriptors, until) else {
            return clock::sleep_until(clock::now() + RETRY / 10);
        };
        if ready & 1 != 0 {
            self.bell.hush();
            (ears.stale, ears.next_try) = (true, Instant::ZERO);
        }
        if let Err(error) = self.empty(watch, ready, &mut [0; 256]) {
            // ENETDOWN comes once, when the link goes down or the card is taken away. In the first case the socket works
            // again when the link is up, in the second never: others are opened, and it goes only when they work.
            log::debug!("listening for ARP: {error}");
            ears.broken = true;
            let fault = super::local_fault(&error);
            ears.deaf = Some(fault);
            self.tell_deaf(ears, fault);
        }
    }

    /// Q2: what the arbiters answered. True: there may be more.
    fn hear_arbiters(&self, arbiters: &Arbiters, buffer: &mut [u8]) -> io::Result<bool> {
        for _ in 0..IN_A_ROW {
            let Some(length) = arbiters.replies.receive(buffer)? else { return Ok(false) };
            if let Some(arbiter) = arbiters.answer(&buffer[..length]) {
                // Full: the driver is stuck; the next question is answered again.
                let _ = self.driver.offer(Told::Happened(Box::new(Input::ArbiterAnswered { arbiter })));
            }
        }
        Ok(true)
    }

    /// What waits in these sockets, or the first of it. True: there may be more.
    fn empty(&self, watch: &mut Watch, ready: u16, buffer: &mut [u8]) -> io::Result<bool> {
        let mut more = false;
        if let Some(arbiters) = watch.arbiters.as_ref().filter(|_| ready & 8 != 0) {
            more = self.hear_arbiters(arbiters, buffer)?;
        }
        for _ in 0..IN_A_ROW {
            let heard = match (watch.arp.receive(buffer)?, &watch.neighbours) {
                (Some(length), _) => arp_claim(&buffer[..length]),
                (None, Some(neighbours)) if ready & 4 != 0 => match neighbours.receive(buffer)? {
                    Some(length) => neighbour_claim(&buffer[..length]),
                    None => return Ok(more),
                },
                (None, _) => return Ok(more),
            };
            if let Some((address, mac)) = heard
                && let Some(input) = watch.judge(address, mac)
            {
                // Full: the driver is stuck; the next probe is answered again.
                let _ = self.driver.offer(Told::Happened(Box::new(input)));
            }
        }
        Ok(true)
    }
}

impl Ears {
    /// By this configuration from now on: with the sockets that there are, unless one of them failed or another card
    /// is meant; then the ones that were replaced come back.
    fn follow(&mut self, config: &Config, me: NodeId) -> io::Result<Option<Watch>> {
        let node =
            config.node(me).ok_or_else(|| io::Error::other("this node is not in the configuration"))?;
        match &mut self.watch {
            Some(watch) if !self.broken && watch.device == node.external.device => {
                watch.follow(config).map(|()| None)
            }
            watch => {
                let new = Watch::open(&node.external.device, config)?;
                Ok(watch.replace(new))
            }
        }
    }
}

impl Watch {
    fn open(device: &str, config: &Config) -> io::Result<Self> {
        let mut watch = Watch {
            device: device.to_owned(),
            arp: PacketSocket::open(device, Hears::Arp(&[]))?,
            neighbours: None,
            arbiters: None,
            owners: BTreeMap::new(),
            pause: Duration::ZERO,
            passed: BTreeMap::new(),
        };
        watch.arp.trouble()?;
        watch.follow(config)?;
        Ok(watch)
    }

    /// Nothing that was heard and is still asked for is lost. Nothing is closed: what is not needed any more is deaf.
    fn follow(&mut self, config: &Config) -> io::Result<()> {
        let owners: BTreeMap<IpAddr, ServiceId> = config
            .services
            .iter()
            .flat_map(|service| service.addresses.iter().map(|address| (address.address, service.id)))
            .collect();
        let v4: Vec<Ipv4Addr> = owners
            .keys()
            .filter_map(|address| match address {
                IpAddr::V4(v4) => Some(*v4),
                IpAddr::V6(_) => None,
            })
            .collect();
        self.arp.hear(Hears::Arp(&v4))?;
        let some_v6 = v4.len() < owners.len();
        match &mut self.neighbours {
            Some(neighbours) if some_v6 => neighbours.hear(Hears::NeighbourDiscovery)?,
            Some(neighbours) => neighbours.hear(Hears::Nothing)?,
            None if some_v6 => {
                self.neighbours = Some(PacketSocket::open(&self.device, Hears::NeighbourDiscovery)?);
            }
            None => {}
        }
        let addresses = &config.cluster.arbiter;
        match &mut self.arbiters {
            Some(arbiters) => arbiters.follow(addresses)?,
            None => self.arbiters = Arbiters::open(&self.device, addresses)?,
        }
        self.owners = owners;
        self.pause = config.cluster.hello_interval / 32;
        Ok(())
    }

    fn judge(&mut self, address: IpAddr, mac: [u8; 6]) -> Option<Input> {
        let service = *self.owners.get(&address)?;
        if mac == self.arp.mac() {
            return None;
        }
        let now = clock::now();
        let passed = self.passed.entry(service).or_insert(Instant::ZERO);
        if now.since(*passed) < self.pause {
            return None;
        }
        *passed = now;
        Some(Input::Claimed { service, mac })
    }
}

/// Whose answers make a quorum of half or fewer (Q2). A socket of their own: a gateway's own questions go to
/// everybody, all day, and wake nobody here.
struct Arbiters {
    replies: PacketSocket,
    addresses: Vec<Ipv4Addr>,
}

impl Arbiters {
    fn open(device: &str, addresses: &[Ipv4Addr]) -> io::Result<Option<Self>> {
        if addresses.is_empty() {
            return Ok(None);
        }
        let replies = PacketSocket::open(device, Hears::ArpReplies(addresses))?;
        Ok(Some(Arbiters { replies, addresses: addresses.to_vec() }))
    }

    fn follow(&mut self, addresses: &[Ipv4Addr]) -> io::Result<()> {
        self.replies.hear(Hears::ArpReplies(addresses))?;
        self.addresses = addresses.to_vec();
        Ok(())
    }

    /// The arbiter that answers this card in this frame: both directions work.
    fn answer(&self, frame: &[u8]) -> Option<Ipv4Addr> {
        let arp = ArpFrame::parse(frame)?;
        let known = self.addresses.contains(&arp.sender_ip);
        (known && arp.answers(self.replies.mac(), arp.sender_ip)).then_some(arp.sender_ip)
    }
}

/// Who claims which address in this frame.
fn arp_claim(frame: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    let arp = ArpFrame::parse(frame)?;
    arp.claims(arp.sender_ip).then_some((IpAddr::V4(arp.sender_ip), arp.sender_mac))
}

fn neighbour_claim(bytes: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    match NeighbourMessage::parse(frame::icmpv6_of(bytes)?)? {
        NeighbourMessage::Advertisement { target, target_mac, .. } => {
            Some((IpAddr::V6(target), target_mac.or_else(|| frame::sender_of(bytes))?))
        }
        // Who asks for somebody from an address of ours has it. (A probe comes from the unspecified one.)
        NeighbourMessage::Solicitation { .. } => {
            let source = frame::ipv6_source_of(bytes)?;
            (!source.is_unspecified()).then_some((IpAddr::V6(source), frame::sender_of(bytes)?))
        }
    }
}

#[cfg(test)]
mod tests;
