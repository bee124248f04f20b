use super::*;
use proptest::prelude::*;

const MAC: [u8; 6] = [0x02, 0, 0, 0xaa, 0xbb, 0xcc];
const IP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 21);

#[test]
fn a_gratuitous_request_byte_by_byte() {
    let frame = ArpFrame::announcement_request(MAC, IP).to_bytes();
    let expected = [
        &[0xff; 6][..], // to everybody
        &MAC,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], // ARP, Ethernet, IPv4, request
        &MAC,
        &[203, 0, 113, 21],
        &[0; 6], // tha
        &[203, 0, 113, 21],
        &[0; 18], // padding
    ]
    .concat();
    assert_eq!(frame[..], expected[..]);
}

#[test]
fn a_gratuitous_reply_repeats_the_sender_as_target() {
    let frame = ArpFrame::announcement_reply(MAC, IP).to_bytes();
    assert_eq!(frame[20..22], [0, 2]);
    assert_eq!(frame[32..38], MAC);
    assert_eq!((&frame[28..32], &frame[38..42]), (&IP.octets()[..], &IP.octets()[..]));
}

#[test]
fn a_probe_claims_nothing() {
    let probe = ArpFrame::probe(MAC, IP);
    let frame = probe.to_bytes();
    assert_eq!(frame[20..22], [0, 1]);
    assert_eq!(frame[28..38], [0; 10], "spa and tha");
    assert!(!probe.claims(IP) && !probe.claims(Ipv4Addr::UNSPECIFIED));
    assert!(ArpFrame::announcement_request(MAC, IP).claims(IP));
}

#[test]
fn what_is_no_arp_for_ipv4_on_ethernet_is_none() {
    let good = ArpFrame::announcement_reply(MAC, IP).to_bytes();
    for length in 0..CONTENT_LENGTH {
        assert_eq!(ArpFrame::parse(&good[..length]), None, "{length}");
    }
    assert!(ArpFrame::parse(&good[..CONTENT_LENGTH]).is_some(), "padding may be missing");
    for at in 12..22 {
        let mut bad = good;
        bad[at] ^= 0x10;
        assert_eq!(ArpFrame::parse(&bad), None, "byte {at}");
    }
}

proptest! {
    #[test]
    fn roundtrip(reply in any::<bool>(), macs in any::<[[u8; 6]; 2]>(), ips in any::<[u32; 2]>()) {
        let frame = ArpFrame {
            operation: if reply { ArpOperation::Reply } else { ArpOperation::Request },
            sender_mac: macs[0],
            sender_ip: ips[0].into(),
            target_mac: macs[1],
            target_ip: ips[1].into(),
        };
        prop_assert_eq!(ArpFrame::parse(&frame.to_bytes()), Some(frame));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Some(frame) = ArpFrame::parse(&bytes) {
            prop_assert_eq!(&frame.to_bytes()[12..42], &bytes[12..42]);
        }
    }
}
