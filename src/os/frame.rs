//! Ethernet frames that no socket of the kernel would make for us. Pure.
//!
//! Called by the sender (datagrams from a card without an address) and by the faker (neighbour discovery,
//! whose probe comes from the unspecified address).

use std::net::Ipv6Addr;

/// The longest content of `limited_broadcast` in bytes: one Ethernet frame, never a fragment.
pub const LONGEST_BROADCAST: usize = 1_500 - 28;

/// A UDP datagram from 0.0.0.0 to 255.255.255.255, as DHCP clients send it.
///
/// The kernel puts an address of *some* card into such a packet, and a receiver whose card has no address
/// drops it when `rp_filter` is set; source 0.0.0.0 passes everywhere. No UDP checksum (RFC 768: 0): the
/// content is authenticated.
pub fn limited_broadcast(from: [u8; 6], port: u16, content: &[u8]) -> Vec<u8> {
    let udp_length = u16::try_from(content.len() + 8).unwrap_or(u16::MAX);
    let total = udp_length.saturating_add(20).to_be_bytes();
    let (udp_length, port) = (udp_length.to_be_bytes(), port.to_be_bytes());
    // Version 4, header of 5 words, network control; no fragments; TTL 1; protocol 17.
    let mut header =
        [0x45, 0xc0, total[0], total[1], 0, 0, 0x40, 0, 1, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255];
    let checksum = internet_checksum(&[&header]).to_be_bytes();
    header[10..12].copy_from_slice(&checksum);
    let mut frame = Vec::with_capacity(42 + content.len());
    frame.extend([0xff; 6]);
    frame.extend(from);
    frame.extend([0x08, 0x00]);
    frame.extend(header);
    frame.extend([port[0], port[1], port[0], port[1], udp_length[0], udp_length[1], 0, 0]);
    frame.extend(content);
    frame
}

/// An ICMPv6 message (its checksum field zero) to a multicast address, hop limit 255 (RFC 4861, 7.1).
pub fn icmpv6_multicast(from: [u8; 6], source: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let (source, to) = (source.octets(), to.octets());
    let pseudo = [&[0, 0], &length.to_be_bytes()[..], &[0, 0, 0, 58]].concat();
    let checksum = internet_checksum(&[&source, &to, &pseudo, message]).to_be_bytes();
    let mut frame = Vec::with_capacity(54 + message.len());
    // RFC 2464, section 7: 33:33 and the last four bytes of the address.
    frame.extend([0x33, 0x33, to[12], to[13], to[14], to[15]]);
    frame.extend(from);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([58, 255]);
    frame.extend(source);
    frame.extend(to);
    frame.extend(&message[..2]);
    frame.extend(checksum);
    frame.extend(&message[4..]);
    frame
}

/// The ICMPv6 message in an Ethernet frame without extension headers, if its hop limit is 255: it was not
/// routed here from elsewhere.
pub fn icmpv6_of(frame: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes([*frame.get(18)?, *frame.get(19)?]));
    (frame[12..14] == [0x86, 0xdd] && *frame.get(20)? == 58 && *frame.get(21)? == 255)
        .then(|| frame.get(54..54 + length))?
}

/// The source address in an IPv6 Ethernet frame.
pub fn ipv6_source_of(frame: &[u8]) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(frame.get(22..38)?).ok()?))
}

/// The sender's hardware address in an Ethernet frame.
pub fn sender_of(frame: &[u8]) -> Option<[u8; 6]> {
    frame.get(6..12)?.try_into().ok()
}

/// RFC 1071 over the parts one after the other, each of even length but the last.
fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += (u32::from(pair[0]) << 8) + u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_rfc_1071s() {
        // The example of RFC 1071, section 3: the sum is ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(internet_checksum(&[&bytes]), !0xddf2);
        assert_eq!(internet_checksum(&[&bytes[..4], &bytes[4..]]), !0xddf2);
        assert_eq!(internet_checksum(&[&[0xff]]), !0xff00);
    }

    #[test]
    fn icmpv6_goes_round() {
        let message = [136, 0, 0, 0, 0x20, 0, 0, 0, 1];
        let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let frame = icmpv6_multicast([2; 6], Ipv6Addr::LOCALHOST, to, &message);
        let read = icmpv6_of(&frame).expect("ours");
        assert_eq!((read[0], &read[4..]), (136, &message[4..]));
        assert_eq!(sender_of(&frame), Some([2; 6]));
        let mut routed = frame;
        routed[21] = 64;
        assert_eq!(icmpv6_of(&routed), None);
        assert_eq!(icmpv6_of(&routed[..15]), None);
    }
}
