//! Thread `hello sender`: the only one that sends datagrams. It writes the header, seals, and sends a copy
//! on each link.
//!
//! Owns the sequence numbers and the raw socket; shares the UDP sockets with the receivers. Ends when the
//! driver has dropped its end of the mailbox.
//!
//! | to | internal | external |
//! | --- | --- | --- |
//! | a node | its internal address | its external address, if both have one; else the limited broadcast |
//! | all | the subnet's broadcast | the limited broadcast, from 0.0.0.0 |

use super::driver::Told;
use super::mailbox::{Mailbox, Received, Sender};
use super::published::Published;
use crate::config::Config;
use crate::controller::{Destination, Input, Links, Stamp};
use crate::os::packet_socket::{self, Hears, PacketSocket};
use crate::os::udp::UdpSocket;
use crate::os::{clock, frame};
use crate::vocabulary::{Instant, LinkRole, NodeId};
use crate::wire::{Datagram, Packet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Batches that may wait: the driver makes one each time it wakes. A sender that is so far behind has not
/// run for seconds, and what waits is too old to be sent.
pub const BATCHES: usize = 256;
/// The faker, at a higher priority, takes the aliases of a lease that is over away within this; if it
/// cannot, nothing is said in their name.
const RELEASE_PATIENCE: Duration = Duration::from_millis(10);
/// How often is looked meanwhile.
const RELEASE_LOOK: Duration = Duration::from_micros(200);
/// A failing link is reported this often at most: each failed send would be a message otherwise.
const REPORT_INTERVAL: Duration = Duration::from_millis(5);

/// One datagram of the controller's.
#[derive(Debug)]
pub struct Outgoing {
    /// To whom.
    pub to: Destination,
    /// Over which links.
    pub links: Links,
    /// What.
    pub packet: Packet,
    /// For the header, read when the effect was taken.
    pub stamp: Stamp,
    /// When the driver took it.
    pub taken: Instant,
}

/// The sending ends of both links.
#[derive(Debug)]
pub struct Egress {
    /// Bound to the own internal address.
    pub internal: Arc<UdpSocket>,
    /// The internal subnet's broadcast address.
    pub internal_broadcast: Ipv4Addr,
    /// Bound to the own external address, if there is one.
    pub external: Option<Arc<UdpSocket>>,
    /// The external card's name: its raw socket is opened again when the card was.
    pub external_device: String,
    /// Raw frames on the external card; `None` when it could not be opened.
    pub external_frames: Option<PacketSocket>,
    /// UDP port of the cluster.
    pub port: u16,
}

/// The thread.
pub struct HelloSender {
    /// Who sends.
    pub me: NodeId,
    /// From where.
    pub egress: Egress,
    /// What to send.
    pub mailbox: Mailbox<Vec<Outgoing>>,
    /// Who is told of failures.
    pub driver: Sender<Told>,
    /// Configuration and counters.
    pub published: Arc<Published>,
}

impl HelloSender {
    /// Sends until the driver is gone.
    pub fn run(mut self) {
        let mut sequence = 0;
        let mut sealed = Vec::with_capacity(2_048);
        let mut reported = [Instant::ZERO; 2];
        while let Received::Message(batch) = self.mailbox.receive_until(Instant::MAX) {
            let config = self.published.config();
            for outgoing in batch {
                // What this thread, or the whole process, slept over must not be said any more.
                // Nor anything by who has not let go yet of what its lease no longer covers (L6): after a
                // pause this thread may be awake before the faker is.
                let old = clock::now().since(outgoing.taken) > config.cluster.hello_interval;
                if old || !self.has_let_go() {
                    self.published.counters.unsent.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                self.send(&config, outgoing, &mut sequence, &mut sealed, &mut reported);
            }
        }
    }

    /// Waits, if the lease is over, until the aliases are gone; false: they are still there.
    fn has_let_go(&self) -> bool {
        let patience = clock::now() + RELEASE_PATIENCE;
        loop {
            let now = clock::now();
            if self.published.lease.may_speak(now) {
                return true;
            }
            if now >= patience {
                return false;
            }
            clock::sleep_until(now + RELEASE_LOOK);
        }
    }

    fn send(
        &mut self,
        config: &Config,
        outgoing: Outgoing,
        sequence: &mut u64,
        sealed: &mut Vec<u8>,
        reported: &mut [Instant; 2],
    ) {
        let Outgoing { to, links, packet, stamp, .. } = outgoing;
        let mut datagram = Datagram { header: stamp.header(self.me, to), packet };
        let addressee = datagram.header.to;
        for &role in links.roles() {
            *sequence += 1;
            datagram.header.sequence = *sequence;
            datagram.header.link = role;
            // Before it is said: the guardian's last word comes after everything that was.
            self.published.signs.says(datagram.header.incarnation, *sequence);
            self.published.keys.read().seal(&datagram, sealed);
            let sent = match role {
                LinkRole::Internal => self.egress.send_internal(addressee, sealed),
                LinkRole::External => self.egress.send_external(config, addressee, sealed),
            };
            if let Err(error) = sent {
                self.report(role, &error, &mut reported[role as usize]);
            }
        }
        if matches!(datagram.packet, Packet::Leave { .. }) {
            self.published.signs.says_goodbye();
        }
    }

    /// A failing send is no silence of the other side: the controller has to know.
    fn report(&self, role: LinkRole, error: &io::Error, last: &mut Instant) {
        self.published.counters.failed.fetch_add(1, Ordering::Relaxed);
        let now = clock::now();
        if now.since(*last) < REPORT_INTERVAL {
            return;
        }
        if now.since(*last) > Duration::from_secs(10) {
            log::warn!("cannot send on the {role} link: {error}");
        }
        *last = now;
        // Full: the next failure tells the same.
        let _ = self
            .driver
            .offer(Told::Happened(Box::new(Input::SendFailed { role, fault: super::local_fault(error) })));
    }
}

impl Egress {
    /// One sealed datagram to everybody on this link.
    ///
    /// # Errors
    /// Local reasons (EPERM, ENETDOWN, ENOBUFS, ENETUNREACH, EAGAIN).
    pub fn send_to_all(&mut self, config: &Config, role: LinkRole, sealed: &[u8]) -> io::Result<()> {
        match role {
            LinkRole::Internal => self.send_internal(None, sealed),
            LinkRole::External => self.send_external(config, None, sealed),
        }
    }

    fn send_internal(&self, to: Option<NodeId>, sealed: &[u8]) -> io::Result<()> {
        let address = to.map_or(self.internal_broadcast, NodeId::address);
        self.internal.send_to(sealed, SocketAddrV4::new(address, self.port))
    }

    fn send_external(&mut self, config: &Config, to: Option<NodeId>, sealed: &[u8]) -> io::Result<()> {
        let theirs = to.and_then(|node| config.node(node)).and_then(|node| node.external.address);
        match (&self.external, theirs) {
            (Some(socket), Some(theirs)) => {
                socket.send_to(sealed, SocketAddrV4::new(theirs.address, self.port))
            }
            // A frame cannot be fragmented; a state that does not fit goes by the kernel, or else by the
            // internal link alone.
            (Some(socket), None) if sealed.len() > frame::LONGEST_BROADCAST => {
                socket.send_to(sealed, SocketAddrV4::new(Ipv4Addr::BROADCAST, self.port))
            }
            _ if sealed.len() > frame::LONGEST_BROADCAST => Ok(()),
            _ => self.send_frame(sealed),
        }
    }

    fn send_frame(&mut self, sealed: &[u8]) -> io::Result<()> {
        if self.external_frames.is_none() {
            self.external_frames = Some(PacketSocket::open(&self.external_device, Hears::Nothing)?);
        }
        let Some(frames) = &self.external_frames else { return Ok(()) };
        let sent = frames.send(&frame::limited_broadcast(frames.mac(), self.port, sealed));
        if let Err(error) = &sent
            && packet_socket::card_is_gone(error)
        {
            // The card was taken away: another one of that name needs another socket.
            self.external_frames = None;
        }
        sent
    }
}

#[cfg(test)]
mod tests;
