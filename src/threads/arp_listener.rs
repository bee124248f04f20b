//! Thread `arp listener`: who else says on the external link that it has one of our service addresses?
//!
//! Answers to the faker's probes and announcements of others come here (RFC 5227; RFC 4861 for IPv6); each
//! becomes `Input::Claimed`. Owns two raw sockets, which the kernel filters for our addresses, and opens
//! them again when the configuration changed. Ends when its bell rings and the daemon is stopping.

use super::driver::Told;
use super::mailbox::Sender;
use super::published::Published;
use crate::config::Config;
use crate::controller::Input;
use crate::os::clock;
use crate::os::doorbell::{self, Doorbell};
use crate::os::frame;
use crate::os::packet_socket::{Hears, PacketSocket};
use crate::vocabulary::{Instant, NodeId, ServiceId};
use crate::wire::{ArpFrame, NeighbourMessage};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Frames taken from one socket before the other gets its turn.
const IN_A_ROW: u32 = 64;
/// A card that is missing is looked for again after this.
const RETRY: Duration = Duration::from_secs(1);

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
    arp: PacketSocket,
    /// Only where there is an IPv6 service address.
    neighbours: Option<PacketSocket>,
    /// Only where an arbiter is configured.
    arbiters: Option<Arbiters>,
    owners: BTreeMap<IpAddr, ServiceId>,
    /// Claims for one service are passed on this often at most: half the shortest probe interval of a look
    /// (p/2 at T/16), so that no answered probe is missed (F1).
    pause: Duration,
    passed: BTreeMap<ServiceId, Instant>,
}

impl ArpListener {
    /// Listens until the end.
    pub fn run(self) {
        while !self.published.is_stopping() {
            match Watch::open(&self.published.config(), self.me) {
                Ok(watch) => self.listen(watch),
                Err(error) => {
                    log::warn!("cannot listen for ARP on the external link: {error}");
                    self.bell.wait_until(clock::now() + RETRY);
                }
            }
        }
    }

    /// Until the bell rings or the card is gone.
    fn listen(&self, mut watch: Watch) {
        let mut buffer = [0; 256];
        loop {
            let neighbours = watch.neighbours.as_ref().unwrap_or(&watch.arp);
            let arbiters = watch.arbiters.as_ref().map_or(&watch.arp, |arbiters| &arbiters.replies);
            let descriptors = [self.bell.as_fd(), watch.arp.as_fd(), neighbours.as_fd(), arbiters.as_fd()];
            let Ok(ready) = doorbell::wait(&descriptors, Instant::MAX) else { return };
            if ready & 1 != 0 {
                self.bell.hush();
                return;
            }
            if let Err(error) = self.empty(&mut watch, ready, &mut buffer) {
                // ENETDOWN comes once, when the link goes down; the socket works again when it is up.
                log::debug!("listening for ARP: {error}");
                self.bell.wait_until(clock::now() + RETRY / 10);
                return;
            }
        }
    }

    /// Q2: what the arbiters answered.
    fn hear_arbiters(&self, arbiters: &Arbiters, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..IN_A_ROW {
            let Some(length) = arbiters.replies.receive(buffer)? else { return Ok(()) };
            if let Some(arbiter) = arbiters.answer(&buffer[..length]) {
                // Full: the driver is stuck; the next question is answered again.
                let _ = self.driver.offer(Told::Happened(Box::new(Input::ArbiterAnswered { arbiter })));
            }
        }
        Ok(())
    }

    fn empty(&self, watch: &mut Watch, ready: u16, buffer: &mut [u8]) -> io::Result<()> {
        if let Some(arbiters) = watch.arbiters.as_ref().filter(|_| ready & 8 != 0) {
            self.hear_arbiters(arbiters, buffer)?;
        }
        for _ in 0..IN_A_ROW {
            let heard = match (watch.arp.receive(buffer)?, &watch.neighbours) {
                (Some(length), _) => arp_claim(&buffer[..length]),
                (None, Some(neighbours)) if ready & 4 != 0 => match neighbours.receive(buffer)? {
                    Some(length) => neighbour_claim(&buffer[..length]),
                    None => return Ok(()),
                },
                (None, _) => return Ok(()),
            };
            if let Some((address, mac)) = heard
                && let Some(input) = watch.judge(address, mac)
            {
                // Full: the driver is stuck; the next probe is answered again.
                let _ = self.driver.offer(Told::Happened(Box::new(input)));
            }
        }
        Ok(())
    }
}

impl Watch {
    fn open(config: &Config, me: NodeId) -> io::Result<Self> {
        let node =
            config.node(me).ok_or_else(|| io::Error::other("this node is not in the configuration"))?;
        let device = &node.external.device;
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
        let arp = PacketSocket::open(device, Hears::Arp(&v4))?;
        let neighbours = if v4.len() < owners.len() {
            Some(PacketSocket::open(device, Hears::NeighbourDiscovery)?)
        } else {
            None
        };
        let pause = config.cluster.hello_interval / 32;
        let arbiters = Arbiters::open(device, &config.cluster.arbiter)?;
        Ok(Watch { arp, neighbours, arbiters, owners, pause, passed: BTreeMap::new() })
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
mod tests {
    use super::*;

    #[test]
    fn only_claims_are_claims() {
        let ip = Ipv4Addr::new(203, 0, 113, 21);
        let mac = [2, 0, 0, 0, 0, 1];
        let claim = Some((IpAddr::V4(ip), mac));
        assert_eq!(arp_claim(&ArpFrame::announcement_request(mac, ip).to_bytes()), claim);
        assert_eq!(arp_claim(&ArpFrame::announcement_reply(mac, ip).to_bytes()), claim);
        assert_eq!(arp_claim(&ArpFrame::probe(mac, ip).to_bytes()), None);
        let target = "2001:db8::21".parse().expect("an address");
        let to = crate::wire::ALL_NODES;
        let says = |message: &[u8]| neighbour_claim(&frame::icmpv6_multicast(mac, target, to, message));
        let claim = Some((IpAddr::V6(target), mac));
        assert_eq!(says(&crate::wire::unsolicited_advertisement(mac, target)), claim);
        assert_eq!(says(&crate::wire::duplicate_probe("2001:db8::99".parse().expect("one"))), claim);
        let nobody = std::net::Ipv6Addr::UNSPECIFIED;
        let probe = frame::icmpv6_multicast(mac, nobody, to, &crate::wire::duplicate_probe(target));
        assert_eq!(neighbour_claim(&probe), None);
    }
}
