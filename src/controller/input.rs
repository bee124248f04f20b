//! All that can happen to the controller.

use crate::config::Config;
use crate::vocabulary::{Incarnation, LinkRole, NodeId, ServiceId};
use crate::wire::{Command, Header, Packet, State};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// Something that happened in the world.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all of them are packets: a box would cost each an allocation"
)]
pub enum Input {
    /// An authentic packet of this cluster, past the replay window, not from this node.
    Packet {
        /// Its header. `header.link` is the sender's link; packets never cross from one LAN to the other.
        header: Header,
        /// Its content.
        packet: Packet,
    },
    /// The aliases that are up after the faker compared the wanted set with the kernel. Sent after every
    /// change, whoever made it, and after every new wanted set, even if nothing had to be done.
    Present {
        /// `Wanted::number` of the set that was compared: the answer to that `Effect::Serve`.
        answers: u64,
        /// What is up.
        up: Vec<ServiceId>,
        /// What has come up and was announced since the last report (`at_once` of that effect).
        announced: Vec<ServiceId>,
    },
    /// Somebody outside answered a probe for one of this service's addresses, or announced it.
    Claimed {
        /// Whose address.
        service: ServiceId,
        /// The stranger's hardware address.
        mac: [u8; 6],
    },
    /// An arbiter answered an ARP request of this node on the external link (Q2). Unauthenticated, as all ARP
    /// is: it proves a working link, and decides nothing alone.
    ArbiterAnswered {
        /// Which.
        arbiter: Ipv4Addr,
    },
    /// A `start` or `stop` command ended.
    Ran {
        /// Which service.
        service: ServiceId,
        /// Which command.
        action: Action,
        /// Of the effect.
        token: u64,
        /// Exit 0 in time.
        ok: bool,
    },
    /// A record is on the disk, or could not be written.
    Stored {
        /// Of the effect.
        token: u64,
        /// Was it?
        ok: bool,
    },
    /// Carrier or administrative state of a link changed.
    Link {
        /// Which.
        role: LinkRole,
        /// Does it carry?
        up: bool,
    },
    /// A send failed for a local reason (EPERM, ENETDOWN, ENOBUFS): own fault, no silence of others.
    SendFailed {
        /// On which link.
        role: LinkRole,
        /// Why.
        fault: LocalFault,
    },
    /// Others' hands: somebody or something outside changed an address of a service that shall be up here.
    /// The faker has put it back already, or could not.
    Tampered {
        /// Which service.
        service: ServiceId,
        /// What was done to it.
        how: Tampering,
    },
    /// What this node's checks say of its services: the whole sets, which replace those before.
    Unfit {
        /// This node is a bad place for these.
        services: Vec<ServiceId>,
        /// Those of them that it holds and that shall go elsewhere, where a fit node is.
        given_up: Vec<ServiceId>,
    },
    /// The gateway does not answer this node, says its own check; or it does again.
    Gateway {
        /// It does not.
        silent: bool,
    },
    /// What `load` measures of this machine, in thousandths of a full one; `None`: nothing. Steady: sent when it has
    /// changed by a step.
    Load(Option<u32>),
    /// The owner of the clock woke later than it should have, or was stopped (D5). Handed in before anything else: what
    /// arrived meanwhile comes next, then what expired.
    Late {
        /// By how much.
        by: Duration,
    },
    /// Measured lateness of this machine's heartbeat thread, worst of the last 10 s (L8).
    Lateness(Duration),
    /// An operator on this node wants something.
    Command {
        /// Unique in this life; repeated in the answer.
        id: u64,
        /// What.
        command: Command,
    },
    /// The configuration changed.
    Reload(Arc<Config>),
    /// Leave in order: services handed over first (J2). Ends with `Effect::Left`.
    Stop,
}

/// Why this machine could not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalFault {
    /// EPERM, EACCES: a packet filter's rule.
    Refused,
    /// ENETDOWN, ENETUNREACH, ENXIO, ENODEV: the card is switched off or gone.
    Down,
    /// ENOBUFS, ENOMEM, EAGAIN: its queue is full.
    Full,
    /// Anything else.
    Other,
}

/// What became of an address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// It was removed, and is back.
    Removed,
    /// It was made anew with another prefix or label, and is ours again.
    Changed,
    /// The kernel does not take it: the machine has it by itself, or has no room for it.
    Refused,
}

/// Which of a service's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// `start`
    Start,
    /// `stop`
    Stop,
}

/// What a node must not forget when it dies (S1, Q1, E5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The life that wrote it.
    pub incarnation: Incarnation,
    /// The newest term voted for.
    pub voted: crate::vocabulary::Term,
    /// The newest committed state.
    pub committed: Option<State>,
    /// The newest proposal stored, if newer than that.
    pub proposed: Option<State>,
}

/// Who a controller is at its start.
#[derive(Debug, Clone)]
pub struct Identity {
    /// This node.
    pub id: NodeId,
    /// This life.
    pub incarnation: Incarnation,
    /// What an earlier life left.
    pub record: Option<Record>,
    /// For lineages, nonces and jitter: all the randomness that the controller gets.
    pub seed: u64,
}
