//! Neighbour discovery for IPv6 (RFC 4861): what ARP says for IPv4, as ICMPv6 payloads. The kernel puts
//! the checksum in (raw ICMPv6 socket, RFC 3542, section 3.1); the sender sets hop limit 255, without
//! which every receiver throws it away (RFC 4861, section 7.1). Built for the faker and its listener; pure.
//!
//! ```text
//!   0  type | code 0 | checksum 2 | flags 4 (advertisement: R, S, O in the highest bits)
//!   8  target 16
//!  24  options, each: type 1, length in units of eight bytes 1, content
//! ```

#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;

/// `ff02::1`: to whom unsolicited advertisements go.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// Type to target.
const FIXED_LENGTH: usize = 24;
/// A link-layer address option for Ethernet.
const OPTION_LENGTH: usize = 8;

/// A message of neighbour discovery that is of use to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NeighbourMessage {
    /// Who has this address?
    Solicitation {
        /// The address asked for.
        target: Ipv6Addr,
        /// The asker's MAC; none in a probe for duplicates.
        source_mac: Option<[u8; 6]>,
    },
    /// I have this address.
    Advertisement {
        /// The address.
        target: Ipv6Addr,
        /// Its owner's MAC.
        target_mac: Option<[u8; 6]>,
        /// It answers a question.
        solicited: bool,
        /// It replaces what the receiver knows.
        replaces: bool,
    },
}

/// «I have `target` now» (RFC 4861, section 7.2.6), to [`ALL_NODES`]. The override flag is what makes a
/// Linux neighbour change its entry.
pub fn unsolicited_advertisement(mac: [u8; 6], target: Ipv6Addr) -> [u8; FIXED_LENGTH + OPTION_LENGTH] {
    let mut payload = [0; FIXED_LENGTH + OPTION_LENGTH];
    payload[0] = ADVERTISEMENT;
    payload[4] = OVERRIDE;
    payload[8..24].copy_from_slice(&target.octets());
    payload[24..26].copy_from_slice(&[TARGET_LINK_LAYER, 1]);
    payload[26..].copy_from_slice(&mac);
    payload
}

/// «Has anybody `target`?» in the form of duplicate address detection (RFC 4862, section 5.4.2): no
/// source link-layer address, so that nobody's table changes. Goes to [`solicited_node`] of the target;
/// from the unspecified address the owner answers to everybody.
pub fn duplicate_probe(target: Ipv6Addr) -> [u8; FIXED_LENGTH] {
    let mut payload = [0; FIXED_LENGTH];
    payload[0] = SOLICITATION;
    payload[8..].copy_from_slice(&target.octets());
    payload
}

/// The multicast address on which the owner of `address` listens for questions (RFC 4291, section 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

impl NeighbourMessage {
    /// Read an ICMPv6 payload. `None` for whatever is no valid solicitation or advertisement
    /// (RFC 4861, sections 7.1.1 and 7.1.2; hop limit and checksum are the socket's to check).
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (fixed, options) = payload.split_first_chunk::<FIXED_LENGTH>()?;
        let octets: [u8; 16] = std::array::from_fn(|byte| fixed[8 + byte]);
        let target = Ipv6Addr::from(octets);
        if fixed[1] != 0 || target.is_multicast() {
            return None;
        }
        match fixed[0] {
            SOLICITATION => {
                let source_mac = link_layer_address(options, SOURCE_LINK_LAYER)?;
                Some(NeighbourMessage::Solicitation { target, source_mac })
            }
            ADVERTISEMENT => Some(NeighbourMessage::Advertisement {
                target,
                target_mac: link_layer_address(options, TARGET_LINK_LAYER)?,
                solicited: fixed[4] & SOLICITED != 0,
                replaces: fixed[4] & OVERRIDE != 0,
            }),
            _ => None,
        }
    }
}

/// The first link-layer address option of that type; the outer `None` if the options are broken (a length
/// of zero or beyond the end makes the whole message invalid).
fn link_layer_address(mut options: &[u8], wanted: u8) -> Option<Option<[u8; 6]>> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * 8;
        let option = options.get(..length).filter(|_| length > 0)?;
        if kind == wanted && length == OPTION_LENGTH && found.is_none() {
            found = Some(std::array::from_fn(|byte| option[2 + byte]));
        }
        options = &options[length..];
    }
    options.is_empty().then_some(found)
}
