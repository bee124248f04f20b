use super::*;
use crate::vocabulary::{Incarnation, ServiceId};
use crate::wire::samples::{any_datagram, any_state, datagram, node, one_of_each, state};
use crate::wire::{LinkStatus, Report, Status, Vote};
use proptest::prelude::*;
use std::time::Duration;

fn bytes(packet: Packet) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&datagram(packet), &mut out);
    out
}

#[test]
fn every_packet_type_comes_back_as_it_went() {
    let kinds: std::collections::BTreeSet<u8> =
        one_of_each().into_iter().map(|(_, packet)| kind_of(&packet)).collect();
    assert_eq!(kinds, (kind::HELLO..=kind::ASIDE).collect(), "a sample for every type");
    for (name, packet) in one_of_each() {
        assert_eq!(decode(&bytes(packet.clone())), Ok(datagram(packet)), "{name}");
    }
}

#[test]
fn every_truncation_is_refused() {
    for (name, packet) in one_of_each() {
        let whole = bytes(packet);
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), Err(DecodeError::Truncated), "{name} cut to {length}");
        }
    }
}

#[test]
fn trailing_bytes_are_refused() {
    for (name, packet) in one_of_each() {
        let mut longer = bytes(packet);
        longer.push(0);
        assert_eq!(decode(&longer), Err(DecodeError::Trailing), "{name}");
    }
}

#[test]
fn the_header_is_checked() {
    let good = bytes(Packet::IAmLeft);
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        decode(&bad)
    };
    assert_eq!(good.len(), HEADER_LENGTH);
    assert_eq!(with(0, 0), Err(DecodeError::Magic));
    assert_eq!(with(2, VERSION + 1), Err(DecodeError::Version));
    assert_eq!(with(3, 0), Err(DecodeError::Type));
    assert_eq!(with(3, kind::ASIDE + 1), Err(DecodeError::Type));
    assert_eq!(with(12, 0b100), Err(DecodeError::Value), "unknown flag");
    assert_eq!(with(12, 0), Err(DecodeError::Value), "to all, and yet to somebody");
    assert_eq!(with(15, 1), Err(DecodeError::Value), "reserved");
}

#[test]
fn full_lists_pass_and_longer_ones_do_not() {
    let passes = |members, services| {
        decode(&bytes(Packet::State { committed: true, state: state(members, services) })).map(|_| ())
    };
    assert_eq!(passes(64, 256), Ok(()));
    assert_eq!(passes(65, 256), Err(DecodeError::TooMany));
    assert_eq!(passes(64, 257), Err(DecodeError::TooMany));
    let reports = |count| {
        let report = Report { blocked: vec![ServiceId(1); count], ..Report::default() };
        decode(&bytes(Packet::BeatAck { number: 1, nonce: 2, report })).map(|_| ())
    };
    assert_eq!((reports(256), reports(257)), (Ok(()), Err(DecodeError::TooMany)));
    let links = |count| {
        let link = LinkStatus {
            device: "e".into(),
            role: LinkRole::Internal,
            up: true,
            hears_left: true,
            hears_right: true,
        };
        decode(&bytes(Packet::Status(Status { links: vec![link; count], ..Status::default() }))).map(|_| ())
    };
    assert_eq!((links(16), links(17)), (Ok(()), Err(DecodeError::TooMany)));
}

#[test]
fn a_huge_count_in_a_short_datagram_reserves_nothing() {
    let mut bad = bytes(Packet::State { committed: true, state: state(0, 0) });
    let members = bad.len() - 6;
    bad[members..members + 2].copy_from_slice(&0xffff_u16.to_be_bytes());
    assert_eq!(decode(&bad), Err(DecodeError::TooMany));
    bad[members..members + 2].copy_from_slice(&64_u16.to_be_bytes());
    assert_eq!(decode(&bad), Err(DecodeError::Truncated));
}

#[test]
fn the_largest_packets_fit_one_datagram() {
    let typical = bytes(Packet::State { committed: true, state: state(64, 128) }).len();
    assert_eq!(typical, 3_122, "64 members, 128 services");
    let newest = Some((true, state(64, 256)));
    let vote = Some(Vote { term: state(1, 1).epoch.term, released: true });
    let inner = Packet::RollCall { suspect: node(1), nonce: 1, heard_us: Some(1), vote, newest };
    let largest = bytes(Packet::Forward {
        origin: node(1),
        incarnation: Incarnation(1),
        epoch: state(1, 1).epoch,
        to: node(2),
        packet: Box::new(inner),
    })
    .len();
    assert_eq!(largest, 5_119, "a forwarded roll call with 64 members, 256 services");
    assert!(largest + 20 <= crate::wire::MAX_DATAGRAM);
    let small = bytes(Packet::State { committed: true, state: state(16, 32) }).len();
    assert!(small < 1_400, "16 members with two services each go in one Ethernet frame: {small}");
}

#[test]
fn a_forward_inside_a_forward_is_refused() {
    let wrap = |packet| Packet::Forward {
        origin: node(1),
        incarnation: Incarnation(1),
        epoch: state(1, 1).epoch,
        to: node(2),
        packet: Box::new(packet),
    };
    assert!(decode(&bytes(wrap(Packet::IAmLeft))).is_ok());
    assert_eq!(decode(&bytes(wrap(wrap(Packet::IAmLeft)))), Err(DecodeError::Nested));
}

#[test]
fn a_state_out_of_order_or_with_wrong_numbers_is_refused() {
    let with = |change: fn(&mut State)| {
        let mut state = state(3, 3);
        change(&mut state);
        decode(&bytes(Packet::State { committed: false, state })).map(|_| ())
    };
    assert_eq!(with(|_| {}), Ok(()));
    assert_eq!(with(|state| state.members.swap(0, 1)), Err(DecodeError::Order));
    assert_eq!(with(|state| state.members[1] = state.members[0]), Err(DecodeError::Order));
    assert_eq!(with(|state| state.base.swap(0, 1)), Err(DecodeError::Order));
    assert_eq!(with(|state| state.base[1] = state.base[0]), Err(DecodeError::Order));
    assert_eq!(with(|state| state.base = state.ids()), Err(DecodeError::Value), "said twice");
    assert_eq!(with(|state| state.base.clear()), Ok(()));
    assert_eq!(with(|state| state.table.swap(1, 2)), Err(DecodeError::Order));
    assert_eq!(with(|state| state.table[1] = state.table[2]), Err(DecodeError::Order));
    assert_eq!(with(|state| state.probe_divisor = 0), Err(DecodeError::Value));
    assert_eq!(with(|state| state.probe_divisor = 12), Err(DecodeError::Value));
    assert_eq!(with(|state| state.hello_interval = Duration::ZERO), Err(DecodeError::Value));
    assert_eq!(with(|state| state.hello_interval = Duration::from_secs(4000)), Err(DecodeError::Value));
    assert_eq!(with(|state| state.longest_interval = Duration::from_millis(99)), Err(DecodeError::Value));
    assert_eq!(with(|state| state.longest_interval = Duration::from_secs(61)), Err(DecodeError::Value));
    assert_eq!(with(|state| state.coarsest_divisor = 16), Err(DecodeError::Value));
    assert_eq!(with(|state| state.coarsest_divisor = 0), Err(DecodeError::Value));
}

#[test]
fn numbers_that_name_nothing_are_refused() {
    let last = |packet: Packet, byte: u8| {
        let mut bad = bytes(packet);
        *bad.last_mut().expect("not empty") = byte;
        decode(&bad).map(|_| ())
    };
    let service = ServiceId(1);
    assert_eq!(last(Packet::Ready { service, ok: true }, 2), Err(DecodeError::Value), "bool");
    assert_eq!(last(Packet::IpCheck { nonce: 1, boot: None }, 2), Err(DecodeError::Value), "option");
    let freeze = Packet::Command { id: 1, command: crate::wire::Command::Freeze };
    assert_eq!(last(freeze.clone(), 0), Err(DecodeError::Value), "command");
    assert_eq!(last(freeze, 7), Err(DecodeError::Value), "command");
    let mut held = state(0, 1);
    held.table[0].phase = crate::wire::Phase::Held;
    let packet = Packet::State { committed: true, state: held };
    assert_eq!(last(packet.clone(), 4), Ok(()), "the last phase");
    assert_eq!(last(packet, 5), Err(DecodeError::Value), "phase");
    let mut alone = state(1, 0);
    alone.base.clear();
    let mut members = bytes(Packet::State { committed: true, state: alone });
    // Before the two counts of what is not there.
    let flags = members.len() - 5;
    members[flags] = 4;
    assert_eq!(decode(&members), Err(DecodeError::Value), "member flags");
}

#[test]
fn text_is_cut_to_its_bound_and_cleaned_by_the_sender() {
    let comes_back =
        |reason: &str| match decode(&bytes(Packet::CommandAck { id: 1, result: Err(reason.into()) }))
            .expect("valid")
            .packet
        {
            Packet::CommandAck { result: Err(reason), .. } => reason,
            other => panic!("{other:?}"),
        };
    assert_eq!(comes_back(&"x".repeat(600)).len(), MAX_REASON);
    assert_eq!(comes_back(&"€".repeat(300)), "€".repeat(MAX_REASON / 3), "never half a letter");
    assert_eq!(comes_back("two\nlines \x1b[31m"), "two lines  [31m");
}

#[test]
fn text_that_is_none_is_refused() {
    let status = |name: &str| Packet::Status(Status { name: name.into(), ..Status::default() });
    let with = |at: usize, byte: u8| {
        let mut bad = bytes(status("web"));
        bad[HEADER_LENGTH + at] = byte;
        decode(&bad).map(|_| ())
    };
    assert_eq!(with(2, 0xff), Err(DecodeError::Text), "not UTF-8");
    assert_eq!(with(2, 0x1b), Err(DecodeError::Text), "escape");
    assert_eq!(with(1, 33), Err(DecodeError::TooLong));
    assert_eq!(with(0, 0xff), Err(DecodeError::TooLong));
}

#[test]
fn the_digest_tells_states_apart() {
    let one = state(3, 3);
    let mut other = one.clone();
    other.table[2].holder = None;
    assert_eq!(digest(&one), digest(&one.clone()));
    assert_ne!(digest(&one), digest(&other));
    // Fixed for good: nodes of different releases compare it.
    assert_eq!(format!("{:016x}", digest(&one)), "4fcae88ea9c23478");
}

proptest! {
    #[test]
    fn roundtrip(datagram in any_datagram()) {
        let mut out = vec![1, 2, 3];
        encode(&datagram, &mut out);
        prop_assert!(out.len() <= crate::wire::MAX_DATAGRAM - 20);
        prop_assert_eq!(decode(&out), Ok(datagram));
    }

    #[test]
    fn equal_digest_only_for_equal_states(a in any_state(), b in any_state()) {
        prop_assert_eq!(digest(&a) == digest(&b), a == b);
    }

    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assume!(!bytes.starts_with(&MAGIC.to_be_bytes()));
        prop_assert!(decode(&bytes).is_err());
    }

    /// Behind a right header everything may come: what decodes encodes to the same bytes again.
    #[test]
    fn one_encoding_for_each_value(kind in 0_u8..30, content in proptest::collection::vec(0_u8..6, 0..120)) {
        let mut bytes = bytes(Packet::IAmLeft);
        bytes[3] = kind;
        bytes.extend(content);
        if let Ok(datagram) = decode(&bytes) {
            let mut again = Vec::new();
            encode(&datagram, &mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_or_another_value(datagram in any_datagram(), at in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        encode(&datagram, &mut bytes);
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = decode(&bytes) {
            prop_assert_ne!(&other, &datagram);
            let mut again = Vec::new();
            encode(&other, &mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}
