use super::*;
use crate::wire::samples::{CLUSTER, SECRET, any_datagram, datagram, key, one_of_each, state};
use crate::wire::{Packet, encode};
use proptest::prelude::*;

fn sealed(packet: Packet) -> Vec<u8> {
    let mut out = Vec::new();
    key().seal(&datagram(packet), &mut out);
    out
}

/// Sealed with the right key, whatever it is.
fn sealed_bytes(mut encoded: Vec<u8>) -> Vec<u8> {
    key().close(&mut encoded);
    encoded
}

#[test]
fn what_is_sealed_opens() {
    for (name, packet) in one_of_each() {
        assert_eq!(key().open(&sealed(packet.clone())), Ok(datagram(packet)), "{name}");
    }
}

#[test]
fn the_key_file_is_trimmed_and_must_be_long_enough() {
    let packet = sealed(Packet::IAmLeft);
    let spaced = [b"\r\n ", SECRET.trim_ascii(), b"\n\n"].concat();
    assert!(Key::new(&spaced, CLUSTER).expect("long enough").open(&packet).is_ok());
    assert_eq!(Key::new(b"  0123456789abcde \n", CLUSTER).err(), Some(KeyError::TooShort { bytes: 15 }));
    assert!(Key::new(b"  0123456789abcdef \n", CLUSTER).is_ok());
    assert_eq!(KeyError::TooShort { bytes: 0 }.to_string(), "the secret has 0 bytes, at least 16 are needed");
}

#[test]
fn another_key_and_another_cluster_are_told_apart() {
    let packet = sealed(Packet::IAmLeft);
    let open = |secret: &[u8], cluster| Key::new(secret, cluster).expect("long enough").open(&packet);
    assert_eq!(open(b"another secret of some length", CLUSTER), Err(Reject::Seal));
    assert_eq!(open(SECRET, "mail"), Err(Reject::Cluster));
    // The name is bound into the key as well: a forged label does not help.
    let other = Key::new(SECRET, "mail").expect("long enough");
    let mut forged = Vec::new();
    other.seal(&datagram(Packet::IAmLeft), &mut forged);
    let label = forged.len() - TRAILER_LENGTH;
    forged[label..label + CLUSTER_LENGTH].copy_from_slice(&key().cluster);
    assert_eq!(key().open(&forged), Err(Reject::Seal));
}

#[test]
fn every_flipped_bit_is_refused() {
    for (name, packet) in one_of_each() {
        let good = sealed(packet);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(key().open(&bad).is_err(), "{name}, bit {bit}");
        }
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    for (name, packet) in one_of_each() {
        let good = sealed(packet);
        for length in 0..good.len() {
            assert!(key().open(&good[..length]).is_err(), "{name} cut to {length}");
        }
        assert!(key().open(&[&good[..], &[0]].concat()).is_err(), "{name}");
    }
}

#[test]
fn the_cheap_checks_come_first() {
    let good = sealed(Packet::IAmLeft);
    let with = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 0x80;
        key().open(&bad)
    };
    assert_eq!(key().open(&[]), Err(Reject::Short));
    assert_eq!(key().open(&good[..good.len() - 1]), Err(Reject::Short));
    assert_eq!(key().open(&vec![0; MAX_DATAGRAM + 1]), Err(Reject::Long));
    assert_eq!(key().open(&vec![0; MAX_DATAGRAM]), Err(Reject::Magic));
    assert_eq!(with(0), Err(Reject::Magic));
    assert_eq!(with(2), Err(Reject::Version));
    assert_eq!(with(good.len() - TRAILER_LENGTH), Err(Reject::Cluster));
    assert_eq!(with(3), Err(Reject::Seal), "the type is not looked at before the seal");
    assert_eq!(with(good.len() - 1), Err(Reject::Seal));
}

#[test]
fn what_is_authentic_and_wrong_has_its_own_reason() {
    let encoded = |packet: Packet| {
        let mut out = Vec::new();
        encode(&datagram(packet), &mut out);
        out
    };
    let mut unknown = encoded(Packet::IAmLeft);
    unknown[3] = 200;
    assert_eq!(key().open(&sealed_bytes(unknown)), Err(Reject::Type));
    let mut longer = encoded(Packet::IAmLeft);
    longer.push(0);
    assert_eq!(key().open(&sealed_bytes(longer)), Err(Reject::Trailing));
    let mut shorter = encoded(Packet::Hello { nonce: 1 });
    shorter.pop();
    assert_eq!(key().open(&sealed_bytes(shorter)), Err(Reject::Truncated));
    let crowded = Packet::State { committed: true, state: state(65, 1) };
    assert_eq!(key().open(&sealed(crowded)), Err(Reject::TooMany));
}

#[test]
fn every_reason_has_its_place_and_its_own_name() {
    let names: std::collections::BTreeSet<_> = Reject::ALL.iter().map(|reject| reject.name()).collect();
    assert_eq!(names.len(), Reject::ALL.len());
    for (at, reject) in Reject::ALL.iter().enumerate() {
        assert_eq!(reject.index(), at);
    }
    assert_eq!(Reject::from(Stale::EndedLife).to_string(), "ended-life");
}

#[test]
fn a_key_does_not_print_itself() {
    assert_eq!(format!("{:?}", key()), "Key(secret)");
}

/// RFC 4231, test case 2: what we call HMAC-SHA256 is.
#[test]
fn the_mac_is_hmac_sha256() {
    let tag = super::keyed(b"Jefe").chain_update(b"what do ya want for nothing?").finalize().into_bytes();
    assert_eq!(tag[..4], [0x5b, 0xdc, 0xc1, 0x46]);
}

proptest! {
    #[test]
    fn random_bytes_never_open(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(key().open(&bytes).is_err());
    }

    #[test]
    fn whatever_is_sealed_opens(datagram in any_datagram()) {
        let mut out = Vec::new();
        key().seal(&datagram, &mut out);
        prop_assert_eq!(key().open(&out), Ok(datagram));
    }
}
