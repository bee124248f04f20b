//! What two nodes say to each other in one connection: frames that nobody else can read, make, change, repeat
//! or reorder. Used by the threads that speak TCP; pure.
//!
//! ```text
//!   caller                                             door
//!   magic 4, version 1, caller's nonce 16 ───────────▶
//!             ◀─────────────────────────── door's nonce 16
//!   frame 0 ─────────────────────────────────────────▶     from here on both know that the other has the key
//!             ◀──────────────────────────────── frame 0
//!
//!   frame:  length of the rest 4 | content, masked | HMAC-SHA256 over number 8, length 4, masked; first 16
//! ```
//! The keys of a connection are made from the cluster's key and both nonces, another pair for each direction:
//! a frame of another connection, direction or place is none. The mask is HMAC-SHA256 over number and block,
//! as a stream: a key that is handed over (`diehard key rotate`) cannot be read from the wire.

use super::seal::{Key, TAG_LENGTH};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a caller says first.
pub const GREETING: [u8; 5] = *b"DHcf\x01";
/// Drawn anew by each side of each connection.
pub const NONCE_LENGTH: usize = 16;
/// Longest rest of a frame in bytes: the longest configuration, as JSON, twice.
pub const MAX_FRAME: usize = 2 << 20;

/// A side's random number.
pub type Nonce = [u8; NONCE_LENGTH];

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The one that connected.
    Caller,
    /// The one that accepted.
    Door,
}

/// The frames of one connection, seen from one end.
pub struct Session {
    said: Direction,
    heard: Direction,
}

struct Direction {
    proof: Hmac<Sha256>,
    mask: Hmac<Sha256>,
    number: u64,
}

impl Session {
    /// Between the nonces' owners, with this key.
    pub fn new(key: &Key, caller: &Nonce, door: &Nonce, end: End) -> Session {
        let direction = |from: &[u8]| Direction {
            proof: key.derived(&[b"frame proof", from, caller, door]),
            mask: key.derived(&[b"frame mask", from, caller, door]),
            number: 0,
        };
        let (by_caller, by_door) = (direction(b"c"), direction(b"d"));
        match end {
            End::Caller => Session { said: by_caller, heard: by_door },
            End::Door => Session { said: by_door, heard: by_caller },
        }
    }

    /// The next frame to send, length included; `None`: longer than a frame can be.
    pub fn seal(&mut self, content: &[u8]) -> Option<Vec<u8>> {
        let length = content.len().checked_add(TAG_LENGTH).filter(|length| *length <= MAX_FRAME)?;
        let length = u32::try_from(length).ok()?.to_be_bytes();
        let mut frame = length.to_vec();
        frame.extend_from_slice(content);
        self.said.masked(&mut frame[4..]);
        let tag = self.said.tag(&frame[..4], &frame[4..]).finalize().into_bytes();
        frame.extend_from_slice(&tag[..TAG_LENGTH]);
        self.said.number += 1;
        Some(frame)
    }

    /// The content of the next frame that arrived, from what followed its length; `None`: not made by the
    /// other end of this connection as its next frame. Nothing has changed then.
    pub fn open(&mut self, rest: &[u8]) -> Option<Vec<u8>> {
        let (masked, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_LENGTH)?)?;
        let length = u32::try_from(rest.len()).ok()?.to_be_bytes();
        self.heard.tag(&length, masked).verify_truncated_left(tag).ok()?;
        let mut content = masked.to_vec();
        self.heard.masked(&mut content);
        self.heard.number += 1;
        Some(content)
    }
}

impl Direction {
    fn tag(&self, length: &[u8], masked: &[u8]) -> Hmac<Sha256> {
        self.proof.clone().chain_update(self.number.to_be_bytes()).chain_update(length).chain_update(masked)
    }

    /// Masks, and unmasks what was masked.
    fn masked(&self, bytes: &mut [u8]) {
        let numbered = self.mask.clone().chain_update(self.number.to_be_bytes());
        for (block, bytes) in (0_u64..).zip(bytes.chunks_mut(32)) {
            let stream = numbered.clone().chain_update(block.to_be_bytes()).finalize().into_bytes();
            bytes.iter_mut().zip(stream).for_each(|(byte, mask)| *byte ^= mask);
        }
    }
}

impl Key {
    /// A key for one purpose; each part's length goes in as well, so that no two lists are one text.
    fn derived(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.keyed();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Hmac::new_from_slice(&mac.finalize().into_bytes()).expect("HMAC takes keys of every length")
    }

    /// Tells keys apart, and tells nothing of them.
    pub fn fingerprint(&self) -> u64 {
        let hash = self.derived(&[b"fingerprint"]).finalize().into_bytes();
        let (first, _) = hash.split_first_chunk::<8>().expect("SHA-256 has 32 bytes");
        // 0 means that there is none.
        u64::from_be_bytes(*first).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;

    fn pair(caller: Nonce, door: Nonce) -> (Session, Session) {
        let key = samples::key();
        (Session::new(&key, &caller, &door, End::Caller), Session::new(&key, &caller, &door, End::Door))
    }

    #[test]
    fn frames_arrive_as_they_were_said_in_both_directions() {
        let (mut caller, mut door) = pair([1; 16], [2; 16]);
        for length in [0, 1, 31, 32, 33, 5_000] {
            let said: Vec<u8> = (0..length).map(|at: usize| at.to_le_bytes()[0]).collect();
            let frame = caller.seal(&said).expect("fits");
            assert_eq!(u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
            assert!(length < 31 || !frame.windows(31).any(|window| window == &said[..31]), "readable");
            assert_eq!(door.open(&frame[4..]).as_ref(), Some(&said));
            let answer = door.seal(&said).expect("fits");
            assert_ne!(answer, frame, "another direction has other keys");
            assert_eq!(caller.open(&answer[4..]), Some(said));
        }
        assert!(caller.seal(&vec![0; MAX_FRAME]).is_none());
        assert!(caller.seal(&vec![0; MAX_FRAME - TAG_LENGTH]).is_some());
    }

    #[test]
    fn nothing_else_is_a_frame() {
        let (mut caller, mut door) = pair([1; 16], [2; 16]);
        let first = caller.seal(b"first").expect("fits");
        let second = caller.seal(b"second").expect("fits");
        for at in 4..first.len() {
            let mut garbled = first.clone();
            garbled[at] ^= 1;
            assert_eq!(door.open(&garbled[4..]), None, "byte {at}");
            assert_eq!(door.open(&first[4..at]), None, "cut at {at}");
        }
        assert_eq!(door.open(&second[4..]), None, "out of order");
        assert_eq!(caller.open(&first[4..]), None, "reflected");
        assert!(door.open(&first[4..]).is_some());
        assert_eq!(door.open(&first[4..]), None, "repeated");
        assert!(door.open(&second[4..]).is_some());
        let (_, mut elsewhere) = pair([1; 16], [3; 16]);
        assert_eq!(elsewhere.open(&first[4..]), None, "of another connection");
        let stranger = Key::new(&[8; 32], samples::CLUSTER).expect("long enough");
        let mut stranger = Session::new(&stranger, &[1; 16], &[2; 16], End::Door);
        assert_eq!(stranger.open(&first[4..]), None, "another key");
    }

    #[test]
    fn fingerprints_tell_keys_and_clusters_apart() {
        let key = |secret: u8, cluster: &str| Key::new(&[secret; 32], cluster).expect("long").fingerprint();
        assert_eq!(key(1, "a"), key(1, "a"));
        assert_ne!(key(1, "a"), key(2, "a"));
        assert_ne!(key(1, "a"), key(1, "b"));
    }
}
