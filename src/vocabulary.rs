//! The words that every module shares: time, identities, epochs. Pure values, no I/O.
//!
//! Everything here is a newtype so that an identity cannot be taken for a number, nor a time for a
//! duration.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point of local monotonic time that counts suspend (`CLOCK_BOOTTIME`), in nanoseconds.
///
/// Two instants of different machines can never be compared; nothing in the protocol does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The beginning of time: before everything that can happen.
    pub const ZERO: Instant = Instant(0);
    /// The end of time: after everything that can happen.
    pub const MAX: Instant = Instant(u64::MAX);

    /// The instant `nanos` nanoseconds after the machine's boot.
    pub const fn from_nanos(nanos: u64) -> Self {
        Instant(nanos)
    }

    /// Nanoseconds since the machine's boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Who a node is: its internal IPv4 address, as a number.
///
/// Unique by construction (the configuration refuses overlapping addresses), independent of the order
/// of the file, the same for a renamed node, and in the order in which people number their machines:
/// this is the order of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The identity of the node with this internal address.
    pub fn of(address: Ipv4Addr) -> Self {
        NodeId(u32::from(address))
    }

    /// The internal address of that node.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::from(self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

/// Which service: 32-bit FNV-1a of its name (the configuration refuses two names with one value).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

impl ServiceId {
    /// The identity of the service called `name`.
    pub fn of(name: &str) -> Self {
        let hash = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        ServiceId(hash)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Which life of a node: grows at every start (persisted) and whenever a living node learns that it
/// was declared down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One controller's time in office. Two candidates can never win the same term: it carries its author,
/// and the author's life, because a node that restarted may have forgotten the last term that it won.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// Grows with every election.
    pub round: u32,
    /// Who was elected.
    pub author: NodeId,
    /// In which of its lives.
    pub life: Incarnation,
}

/// When in the history of the cluster's state: ordered by term, then version (protocol.md, S).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// The term of the controller that wrote it.
    pub term: Term,
    /// Grows with every change of the state.
    pub version: u64,
}

impl Epoch {
    /// Before any state: a node that has never seen a cluster.
    pub const NONE: Epoch =
        Epoch { term: Term { round: 0, author: NodeId(0), life: Incarnation(0) }, version: 0 };
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term.round, self.version)
    }
}

/// One of a node's two kinds of network card (paper, figure 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkRole {
    /// The cluster's own LAN.
    Internal,
    /// The LAN of the clients, where the service addresses are.
    External,
}

impl LinkRole {
    /// Both.
    pub const ALL: [LinkRole; 2] = [LinkRole::Internal, LinkRole::External];
}

impl fmt::Display for LinkRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LinkRole::Internal => "internal",
            LinkRole::External => "external",
        })
    }
}
