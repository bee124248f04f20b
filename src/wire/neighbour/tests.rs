use super::*;
use proptest::prelude::*;

const MAC: [u8; 6] = [0x02, 0, 0, 0xaa, 0xbb, 0xcc];
const IP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x0012, 0x3456);

#[test]
fn an_advertisement_byte_by_byte() {
    let expected = [
        &[136, 0, 0, 0, 0x20, 0, 0, 0][..], // override
        &IP.octets(),
        &[2, 1], // target link-layer address
        &MAC,
    ]
    .concat();
    assert_eq!(unsolicited_advertisement(MAC, IP)[..], expected[..]);
    let read = NeighbourMessage::Advertisement {
        target: IP,
        target_mac: Some(MAC),
        solicited: false,
        replaces: true,
    };
    assert_eq!(NeighbourMessage::parse(&expected), Some(read));
}

#[test]
fn a_duplicate_probe_has_no_option() {
    let probe = duplicate_probe(IP);
    assert_eq!(probe[..8], [135, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        NeighbourMessage::parse(&probe),
        Some(NeighbourMessage::Solicitation { target: IP, source_mac: None })
    );
    assert_eq!(solicited_node(IP), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff12, 0x3456));
}

#[test]
fn broken_messages_are_none() {
    let good = unsolicited_advertisement(MAC, IP);
    for length in (0..good.len()).filter(|length| *length != FIXED_LENGTH) {
        assert_eq!(NeighbourMessage::parse(&good[..length]), None, "{length}");
    }
    let with = |at: usize, byte: u8| {
        let mut bad = good;
        bad[at] = byte;
        NeighbourMessage::parse(&bad)
    };
    assert_eq!(with(0, 134), None, "another type");
    assert_eq!(with(1, 1), None, "another code");
    assert_eq!(with(8, 0xff), None, "a multicast target");
    assert_eq!(with(25, 0), None, "an option without length");
    assert_eq!(with(25, 2), None, "an option beyond the end");
}

#[test]
fn unknown_options_are_passed_over() {
    let good = unsolicited_advertisement(MAC, IP);
    let message = [&good[..24], &[14, 1, 0, 0, 0, 0, 0, 0], &good[24..]].concat();
    let target_mac = Some(MAC);
    assert!(matches!(NeighbourMessage::parse(&message),
        Some(NeighbourMessage::Advertisement { target_mac: found, .. }) if found == target_mac));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(kind in 130_u8..140, rest in proptest::collection::vec(0_u8..4, 0..80)) {
        let bytes = [&[kind, 0][..], &rest].concat();
        if let Some(message) = NeighbourMessage::parse(&bytes) {
            let solicitation = matches!(message, NeighbourMessage::Solicitation { .. });
            prop_assert_eq!(kind, if solicitation { SOLICITATION } else { ADVERTISEMENT });
        }
    }
}
