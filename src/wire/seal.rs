//! Who may speak: every datagram carries a keyed MAC over all of it, and nothing behind the MAC is read
//! before it was found right (P7). Called by the receiving and sending threads and by the simulator; pure.
//!
//! ```text
//!      +---------------------------+-----------+------------------------------------------+
//!      |  datagram (see codec)     | cluster 4 | HMAC-SHA256 over all before, first 16    |
//!      +---------------------------+-----------+------------------------------------------+
//! ```
//!
//! `cluster` is a digest of the cluster's name: two clusters on one LAN are told apart, and counted apart
//! from attacks, without a hash. It proves nothing; the key does, into which the name is bound.

#[cfg(test)]
mod tests;

use super::codec::{self, DecodeError, HEADER_LENGTH, MAGIC, VERSION};
use super::{Datagram, Stale};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;

/// Longest sealed datagram in bytes. The largest packet (a forwarded roll call with a state of 64 members
/// and 256 services) has 4.8 kB; the rest is room for later versions. Receive buffers need one byte more,
/// so that a longer datagram is seen to be longer.
pub const MAX_DATAGRAM: usize = 8192;
/// Fewest bytes of secret in a key file: 128 bits, if they are random.
pub const MIN_SECRET: usize = 16;

const CLUSTER_LENGTH: usize = 4;
/// 128 bits: RFC 2104, section 5, wants at least half of the hash.
pub(super) const TAG_LENGTH: usize = 16;
const TRAILER_LENGTH: usize = CLUSTER_LENGTH + TAG_LENGTH;

/// The cluster's key, ready to use. Has no way to print what it holds.
#[derive(Clone)]
pub struct Key {
    /// HMAC that has taken in the key: cloning it saves two of four hash blocks for each packet.
    keyed: Hmac<Sha256>,
    cluster: [u8; CLUSTER_LENGTH],
}

/// Why a key file is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// Fewer than [`MIN_SECRET`] bytes remain after white space at both ends is cut off.
    TooShort {
        /// How many there are.
        bytes: usize,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyError::TooShort { bytes } = self;
        write!(f, "the secret has {bytes} bytes, at least {MIN_SECRET} are needed")
    }
}

impl std::error::Error for KeyError {}

impl Key {
    /// The key of the cluster called `cluster` from the content of its key file. White space at both ends
    /// does not count, so an editor's last newline makes no difference between nodes.
    ///
    /// # Errors
    /// If the secret is too short.
    pub fn new(file: &[u8], cluster: &str) -> Result<Key, KeyError> {
        let secret = file.trim_ascii();
        if secret.len() < MIN_SECRET {
            return Err(KeyError::TooShort { bytes: secret.len() });
        }
        // One key file copied to two clusters still makes two keys.
        let derived = keyed(secret)
            .chain_update(b"diehard v1")
            .chain_update(cluster.as_bytes())
            .finalize()
            .into_bytes();
        let name = Sha256::digest(cluster.as_bytes());
        Ok(Key { keyed: keyed(&derived), cluster: [name[0], name[1], name[2], name[3]] })
    }

    /// Write a sealed datagram into `out`, whose old content goes.
    pub fn seal(&self, datagram: &Datagram, out: &mut Vec<u8>) {
        codec::encode(datagram, out);
        self.close(out);
    }

    /// Read a sealed datagram: what costs least is checked first, the MAC in constant time, and only then
    /// the content.
    ///
    /// # Errors
    /// Why it was thrown away; replays are seen by [`super::ReplayWindows`].
    pub fn open(&self, sealed: &[u8]) -> Result<Datagram, Reject> {
        if sealed.len() > MAX_DATAGRAM {
            return Err(Reject::Long);
        }
        if sealed.len() < HEADER_LENGTH + TRAILER_LENGTH {
            return Err(Reject::Short);
        }
        if sealed[..2] != MAGIC.to_be_bytes() {
            return Err(Reject::Magic);
        }
        if sealed[2] != VERSION {
            return Err(Reject::Version);
        }
        let (covered, tag) = sealed.split_at(sealed.len() - TAG_LENGTH);
        let (encoded, cluster) = covered.split_at(covered.len() - CLUSTER_LENGTH);
        if cluster != self.cluster {
            return Err(Reject::Cluster);
        }
        let mac = self.keyed.clone().chain_update(covered);
        mac.verify_truncated_left(tag).map_err(|_| Reject::Seal)?;
        Ok(codec::decode(encoded)?)
    }

    /// A MAC that has taken in the key.
    pub(super) fn keyed(&self) -> Hmac<Sha256> {
        self.keyed.clone()
    }

    /// Append the trailer.
    pub(super) fn close(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.cluster);
        let tag = self.keyed.clone().chain_update(&*out).finalize().into_bytes();
        out.extend_from_slice(&tag[..TAG_LENGTH]);
    }
}

fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes keys of every length")
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

/// Why a datagram was thrown away: one variant, one counter, one name for each reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Shorter than any of ours.
    Short,
    /// Longer than [`MAX_DATAGRAM`].
    Long,
    /// Not our protocol at all.
    Magic,
    /// Our protocol in a version that this program does not speak.
    Version,
    /// Another cluster's.
    Cluster,
    /// Not made with our key, or changed on the way.
    Seal,
    /// Authentic, of a type that this version does not know.
    Type,
    /// Authentic, but ends too early.
    Truncated,
    /// Authentic, but goes on too long.
    Trailing,
    /// Authentic, with too long a list.
    TooMany,
    /// Authentic, with too long a text.
    TooLong,
    /// Authentic, with text that is none.
    Text,
    /// Authentic, with a value that cannot be.
    Value,
    /// Authentic, with a list out of order.
    Order,
    /// Authentic, forwarded more than once.
    Nested,
    /// Seen before.
    Replayed,
    /// Too far behind to know whether it was seen before.
    Old,
    /// From a life of the sender that has ended.
    EndedLife,
    /// From more senders than a cluster can have.
    Crowd,
}

impl Reject {
    /// Every reason, in the order of [`Reject::index`]: for an array of counters.
    pub const ALL: [Reject; 19] = [
        Reject::Short,
        Reject::Long,
        Reject::Magic,
        Reject::Version,
        Reject::Cluster,
        Reject::Seal,
        Reject::Type,
        Reject::Truncated,
        Reject::Trailing,
        Reject::TooMany,
        Reject::TooLong,
        Reject::Text,
        Reject::Value,
        Reject::Order,
        Reject::Nested,
        Reject::Replayed,
        Reject::Old,
        Reject::EndedLife,
        Reject::Crowd,
    ];

    /// Its place in [`Reject::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in counters and logs: stays as it is from release to release.
    pub const fn name(self) -> &'static str {
        match self {
            Reject::Short => "short",
            Reject::Long => "long",
            Reject::Magic => "magic",
            Reject::Version => "version",
            Reject::Cluster => "cluster",
            Reject::Seal => "seal",
            Reject::Type => "type",
            Reject::Truncated => "truncated",
            Reject::Trailing => "trailing",
            Reject::TooMany => "too-many",
            Reject::TooLong => "too-long",
            Reject::Text => "text",
            Reject::Value => "value",
            Reject::Order => "order",
            Reject::Nested => "nested",
            Reject::Replayed => "replayed",
            Reject::Old => "old",
            Reject::EndedLife => "ended-life",
            Reject::Crowd => "crowd",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<DecodeError> for Reject {
    fn from(error: DecodeError) -> Reject {
        match error {
            DecodeError::Magic => Reject::Magic,
            DecodeError::Version => Reject::Version,
            DecodeError::Type => Reject::Type,
            DecodeError::Truncated => Reject::Truncated,
            DecodeError::Trailing => Reject::Trailing,
            DecodeError::TooMany => Reject::TooMany,
            DecodeError::TooLong => Reject::TooLong,
            DecodeError::Text => Reject::Text,
            DecodeError::Value => Reject::Value,
            DecodeError::Order => Reject::Order,
            DecodeError::Nested => Reject::Nested,
        }
    }
}

impl From<Stale> for Reject {
    fn from(stale: Stale) -> Reject {
        match stale {
            Stale::Replayed => Reject::Replayed,
            Stale::Old => Reject::Old,
            Stale::EndedLife => Reject::EndedLife,
            Stale::Crowd => Reject::Crowd,
        }
    }
}
