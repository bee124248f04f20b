//! Ethernet frames of ARP (RFC 826): «I have this address» and «has anybody this address?». Built for the
//! faker, read for its listener; pure. What they do to a Linux neighbour stands beside each.
//!
//! ```text
//!   0  destination 6 | source 6 | type 0x0806
//!  14  hardware 1 (2) | protocol 0x0800 (2) | lengths 6, 4 | operation 2
//!  22  sender's MAC 6 | sender's IP 4 | target's MAC 6 | target's IP 4
//!  42  zeros up to 60: the shortest Ethernet frame
//! ```

#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

/// Length of the frames that we build, in bytes, without the checksum that the card adds.
pub const ARP_FRAME_LENGTH: usize = 60;

const BROADCAST: [u8; 6] = [0xff; 6];
const NOBODY: [u8; 6] = [0; 6];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
/// Hardware Ethernet, protocol IPv4, their lengths.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
/// Where the last field ends.
const CONTENT_LENGTH: usize = 42;

/// What an ARP frame wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArpOperation {
    /// Who has the target's address?
    Request,
    /// The sender has.
    Reply,
}

/// An ARP frame for IPv4 on Ethernet. MACs are six bytes in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArpFrame {
    /// Question or answer.
    pub operation: ArpOperation,
    /// `sha`
    pub sender_mac: [u8; 6],
    /// `spa`; unspecified in a probe.
    pub sender_ip: Ipv4Addr,
    /// `tha`
    pub target_mac: [u8; 6],
    /// `tpa`
    pub target_ip: Ipv4Addr,
}

impl ArpFrame {
    /// «I have `ip` now», as a request (RFC 5227, section 2.3, ARP Announcement; RFC 5944, section 4.6):
    /// a Linux neighbour that knows the address changes its entry at once.
    pub fn announcement_request(mac: [u8; 6], ip: Ipv4Addr) -> Self {
        let operation = ArpOperation::Request;
        ArpFrame { operation, sender_mac: mac, sender_ip: ip, target_mac: NOBODY, target_ip: ip }
    }

    /// The same as a reply (RFC 5944, section 4.6), for those that ignore requests. `tha` = `sha`: with
    /// any other, Linux ignores it for a second after another update.
    pub fn announcement_reply(mac: [u8; 6], ip: Ipv4Addr) -> Self {
        let operation = ArpOperation::Reply;
        ArpFrame { operation, sender_mac: mac, sender_ip: ip, target_mac: mac, target_ip: ip }
    }

    /// «Has anybody `ip`?» (RFC 5227, section 2.1.1, ARP Probe): `spa` is unspecified, so that no
    /// neighbour's table changes.
    pub fn probe(mac: [u8; 6], ip: Ipv4Addr) -> Self {
        let (operation, sender_ip) = (ArpOperation::Request, Ipv4Addr::UNSPECIFIED);
        ArpFrame { operation, sender_mac: mac, sender_ip, target_mac: NOBODY, target_ip: ip }
    }

    /// «Who has `ip`? Tell `own`» (RFC 826). With `own` unspecified it is a probe.
    pub fn question(mac: [u8; 6], own: Ipv4Addr, ip: Ipv4Addr) -> Self {
        let operation = ArpOperation::Request;
        ArpFrame { operation, sender_mac: mac, sender_ip: own, target_mac: NOBODY, target_ip: ip }
    }

    /// Is this an answer of `ip` to the card with this address?
    pub fn answers(&self, mac: [u8; 6], ip: Ipv4Addr) -> bool {
        self.operation == ArpOperation::Reply && self.target_mac == mac && self.claims(ip)
    }

    /// Does the sender say of itself that it has `ip`? Probes and others' questions for `ip` do not.
    pub fn claims(&self, ip: Ipv4Addr) -> bool {
        self.sender_ip == ip && !ip.is_unspecified()
    }

    /// The frame, to everybody on the LAN.
    pub fn to_bytes(&self) -> [u8; ARP_FRAME_LENGTH] {
        let mut frame = [0; ARP_FRAME_LENGTH];
        frame[..6].copy_from_slice(&BROADCAST);
        frame[6..12].copy_from_slice(&self.sender_mac);
        frame[12..14].copy_from_slice(&ETHERTYPE_ARP);
        frame[14..20].copy_from_slice(&ETHERNET_IPV4);
        frame[21] = match self.operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
        };
        frame[22..28].copy_from_slice(&self.sender_mac);
        frame[28..32].copy_from_slice(&self.sender_ip.octets());
        frame[32..38].copy_from_slice(&self.target_mac);
        frame[38..42].copy_from_slice(&self.target_ip.octets());
        frame
    }

    /// Read a frame as a raw socket delivers it. `None` for whatever is no ARP request or reply for IPv4
    /// on Ethernet; padding may be missing, as between virtual machines.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let frame: &[u8; CONTENT_LENGTH] = frame.first_chunk()?;
        if frame[12..14] != ETHERTYPE_ARP || frame[14..20] != ETHERNET_IPV4 {
            return None;
        }
        let operation = match frame[20..22] {
            [0, 1] => ArpOperation::Request,
            [0, 2] => ArpOperation::Reply,
            _ => return None,
        };
        let mac = |at: usize| std::array::from_fn(|byte| frame[at + byte]);
        let ip = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
        Some(ArpFrame {
            operation,
            sender_mac: mac(22),
            sender_ip: ip(28),
            target_mac: mac(32),
            target_ip: ip(38),
        })
    }
}
