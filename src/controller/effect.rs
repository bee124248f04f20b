//! All that the controller can ask of the world.

use super::input::{Action, LocalFault, Record, Tampering};
use crate::vocabulary::{Epoch, Incarnation, Instant, LinkRole, NodeId, ServiceId};
use crate::wire::Packet;
use std::net::IpAddr;
use std::time::Duration;

/// The wanted set of addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Another one whenever `services` changes: `Input::Present` says which one it answers. Equal sets are not
    /// enough to tell, because what came up between two of them may not be reported yet.
    pub number: u64,
    /// In the order of `ServiceId`.
    pub services: Vec<ServiceId>,
    /// End of the lease less its margin.
    pub until: Instant,
    /// Those of them that are being handed over, with the instant at which they go by themselves,
    /// even if this thread is late (H2).
    pub ending: Vec<(ServiceId, Instant)>,
    /// Those of them whose server runs already: announced the moment their addresses are up, before
    /// that is reported. TAKE_OVER must never overtake the announcement: the old holder goes on it.
    pub at_once: Vec<ServiceId>,
    /// Addresses of theirs that stay down yet: a reload brought them, and nobody has looked whether somebody has them (F1).
    pub withheld: Vec<IpAddr>,
}

impl Wanted {
    /// What of it should be up at this moment.
    pub fn at(&self, now: Instant) -> impl Iterator<Item = ServiceId> + Clone + '_ {
        lasting(&self.services, &self.ending, now).filter(move |_| now < self.until)
    }
}

/// Of these services, those that are not over yet.
pub fn lasting<'a>(
    services: &'a [ServiceId],
    ending: &'a [(ServiceId, Instant)],
    now: Instant,
) -> impl Iterator<Item = ServiceId> + Clone + 'a {
    let ended = move |service: &ServiceId| ending.iter().any(|(id, at)| id == service && *at <= now);
    services.iter().copied().filter(move |service| !ended(service))
}

/// Something that the world shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A datagram. A full channel drops it and counts: the protocol repeats what matters.
    Send {
        /// To whom.
        to: Destination,
        /// Over which links.
        links: Links,
        /// What.
        packet: Packet,
    },
    /// The wanted set of addresses: these services' aliases are up until then, all others of ours are
    /// not. The newest replaces all before. The faker drops them at `until` by itself (L6).
    Serve(Wanted),
    /// Gratuitous ARP, request and reply, once, for every address of this service, if it is still up.
    Announce {
        /// Which.
        service: ServiceId,
    },
    /// ARP-probe (RFC 5227) every address of this service once; answers come as `Input::Claimed`. If it leaves later than
    /// it may, the faker gives those their time before it puts one of these addresses up (F1).
    Probe {
        /// Which.
        service: ServiceId,
        /// So late it may leave.
        leeway: Duration,
    },
    /// Ask every arbiter once, by ARP on the external link; each answer comes as `Input::ArbiterAnswered`.
    AskArbiter,
    /// Run a command. The answer is `Input::Ran`; a service without that command answers `ok` at once.
    /// A bounded queue; a refusal is answered as failed.
    Run {
        /// Which service.
        service: ServiceId,
        /// Which command.
        action: Action,
        /// Repeated in the answer.
        token: u64,
    },
    /// Write to disk, with fsync. The answer is `Input::Stored`. The newest replaces those that wait
    /// (and answers for them).
    Store {
        /// What.
        record: Box<Record>,
        /// Repeated in the answer; grows.
        token: u64,
    },
    /// The answer to an operator's request on this node.
    Answer {
        /// Of the input.
        id: u64,
        /// Done (or begun), or why not.
        result: Result<(), String>,
    },
    /// Something that people should know: a line in the log.
    Event(Event),
    /// This node rejoins as a new life (J3): the world stamps this incarnation from now on and persists it.
    Reborn(Incarnation),
    /// The orderly leave is complete: nothing is held, everybody was told.
    Left,
}

/// To whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Unicast.
    Node(NodeId),
    /// Broadcast.
    All,
}

/// Over which links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// The internal one alone.
    Internal,
    /// The external one alone.
    External,
    /// Both.
    All,
}

impl Links {
    /// Each of them.
    pub fn roles(self) -> &'static [LinkRole] {
        match self {
            Links::Internal => &LinkRole::ALL[..1],
            Links::External => &LinkRole::ALL[1..],
            Links::All => &LinkRole::ALL,
        }
    }
}

/// What happened, for people. Each transition once, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Event {
    Booted { incarnation: Incarnation },
    Suspected { node: NodeId, why: Why },
    Cleared { node: NodeId, why: Why },
    Down { node: NodeId, incarnation: Incarnation, after: Duration },
    Elected { epoch: Epoch },
    Following { controller: NodeId, epoch: Epoch },
    Joined { node: NodeId, incarnation: Incarnation },
    Left { node: NodeId },
    Committed { epoch: Epoch },
    Taken { service: ServiceId, from: Option<NodeId> },
    Released { service: ServiceId, why: Why },
    MoveBegan { service: ServiceId, from: NodeId, to: NodeId, why: Why },
    MoveDone { service: ServiceId, to: NodeId },
    MoveAborted { service: ServiceId, to: NodeId, why: Why },
    Assigned { service: ServiceId, from: Option<NodeId>, to: Option<NodeId>, why: Why },
    Blocked { service: ServiceId, mac: [u8; 6] },
    Forced { service: ServiceId, mac: Option<[u8; 6]> },
    Rival { service: ServiceId, mac: [u8; 6] },
    RivalGone { service: ServiceId },
    Tampered { service: ServiceId, how: Tampering },
    GaveUp { service: ServiceId, how: Tampering, times: u32 },
    StartFailed { service: ServiceId },
    CheckSuspected { service: ServiceId, nodes: u32 },
    GatewaySuspected { nodes: u32 },
    LeaseLost,
    LeaseGained { epoch: Epoch },
    QuorumLost,
    WentAlone { lineage: u64 },
    Merged { winner: NodeId },
    Late { by: Duration },
    Link { role: crate::vocabulary::LinkRole, up: bool },
    SendsFail { role: crate::vocabulary::LinkRole, fault: LocalFault },
    SendsWork { role: crate::vocabulary::LinkRole },
    PathFault { node: NodeId },
    HearsNobody,
    Reborn { incarnation: Incarnation },
    StoreFailed,
    Reloaded,
    Leaving,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Why {
    HelloOverdue,
    HelloUnanswered,
    RollCallAbsent,
    FailDown,
    Heard,
    Witness,
    HolderDown,
    HolderReleased,
    LeaseEnded,
    StateChanged,
    HandedOver,
    Failback,
    Balance,
    Operator,
    Standby,
    Leaving,
    StartFailed,
    Tampered,
    CheckFailed,
    TimedOut,
    ExternalLink,
    ColdStart,
    Resigned,
    Reloaded,
}
