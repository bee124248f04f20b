//! The packets, as values. Their bytes are in `codec`, their authentication in `seal`.

use super::aside::Aside;
use super::standing::{Moved, Remark};
use super::state::State;
use crate::vocabulary::{Epoch, Incarnation, LinkRole, NodeId, ServiceId, Term};

/// What every packet says before its own content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Who sends.
    pub from: NodeId,
    /// For whom; `None` for everybody.
    pub to: Option<NodeId>,
    /// The sender's life.
    pub incarnation: Incarnation,
    /// Grows with every packet of that life, over all links: for the replay window.
    pub sequence: u64,
    /// Over which of the sender's links this copy went.
    pub link: LinkRole,
    /// The sender's committed epoch.
    pub epoch: Epoch,
    /// The sender's lineage (protocol.md, M): differs after a minority went on alone. 0 before any state.
    pub lineage: u64,
}

/// One datagram: header and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// From whom, to whom, at which epoch.
    pub header: Header,
    /// What it says.
    pub packet: Packet,
}

/// All that nodes say to each other. Names are the paper's and protocol.md's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Left → right, every T on every link (D1).
    Hello {
        /// Repeated in the acknowledgement.
        nonce: u64,
    },
    /// Right → left.
    HelloAck {
        /// Of the HELLO.
        nonce: u64,
    },
    /// Controller → all (L1).
    Beat {
        /// Grows with every beat of a term; a repeated beat keeps its number.
        number: u64,
        /// How many members the controller's state has: decides a merge (M1).
        members: u16,
        /// The controller's priority: decides a merge (M1).
        priority: u16,
    },
    /// Member → controller (L2): acknowledges a beat and asks for a lease.
    BeatAck {
        /// The beat acknowledged; 0 if none was heard (only asking, L5).
        number: u64,
        /// Repeated in the grant.
        nonce: u64,
        /// What the member really does at this moment.
        report: Report,
    },
    /// Controller → member (L4).
    Grant {
        /// Of the BEAT_ACK that asked.
        nonce: u64,
        /// `min(Lm, root_end − now + X)`, in microseconds; counts from the *sending* of the request.
        remaining_us: u32,
    },
    /// Any → any: the whole state, proposed (S1) or committed (S2, anti-entropy).
    State {
        /// Has a majority stored it?
        committed: bool,
        /// The state.
        state: State,
    },
    /// Member → controller: stored (S1).
    StateAck {
        /// Epoch of the proposal.
        epoch: Epoch,
        /// Its digest: two proposals of one epoch cannot be mixed up.
        digest: u64,
    },
    /// «Not following you», or «you are down»: carries what the sender knows.
    Nack {
        /// The newest term that the sender follows or promised.
        term: Term,
        /// The highest incarnation of the receiver that the sender knows, if the receiver's is not
        /// (or no longer) a member: J3.
        known: Option<Incarnation>,
    },
    /// Watcher or candidate → all (D3), repeated with each probe.
    Suspect {
        /// Who is silent.
        suspect: NodeId,
        /// In which life.
        incarnation: Incarnation,
        /// Asks for a vote as well (E1), for this term, and for a promise of so many µs: the times of the two
        /// may differ.
        candidacy: Option<(Term, u32)>,
        /// Grows with each repetition, repeated in ROLL_CALL.
        nonce: u64,
    },
    /// All → watcher, controller, candidate (D4, E2).
    RollCall {
        /// About whom.
        suspect: NodeId,
        /// Of the SUSPECT that is answered.
        nonce: u64,
        /// How long ago the sender heard the suspect itself, in microseconds; `None`: not since it watches.
        heard_us: Option<u32>,
        /// The vote, if one was asked for and can be given.
        vote: Option<Vote>,
        /// The newest state that the sender has stored, if newer than the asking candidate's epoch,
        /// and whether it is known to be committed.
        newest: Option<(bool, State)>,
    },
    /// «Are you alive?», and the first word of a node that boots.
    IpCheck {
        /// Repeated in the answer.
        nonce: u64,
        /// The sender is no member and wants to be one (J1).
        boot: Option<Boot>,
    },
    /// The answer.
    IpCheckAck {
        /// Of the IP_CHECK.
        nonce: u64,
        /// The controller that the answering node follows, if any.
        controller: Option<NodeId>,
    },
    /// Watcher → all: that life of that node is down (D6).
    FailDown {
        /// Who.
        node: NodeId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// Controller → new holder: take this service (`prepare`: start it, no address yet; H1). A hint (S3).
    FailOver {
        /// Which.
        service: ServiceId,
        /// Only the first half of a planned move.
        prepare: bool,
    },
    /// New holder → controller: started and checked (H1), or could not.
    Ready {
        /// Which.
        service: ServiceId,
        /// Did it start?
        ok: bool,
    },
    /// Holder → all: I hold it now.
    TakeOver {
        /// Which.
        service: ServiceId,
    },
    /// Present holder → new holder: released to you (H2).
    FailBack {
        /// Which.
        service: ServiceId,
        /// Of this handover.
        nonce: u64,
    },
    /// Home → all: my service is mine again (H3).
    FailbackOk {
        /// Which.
        service: ServiceId,
    },
    /// New left neighbour → its right neighbour (algorithm 3).
    IAmLeft,
    /// New right neighbour → its left neighbour (algorithm 3).
    IAmRight,
    /// Each → all, every 2 s.
    Status(Status),
    /// Any → controller: an operator's request.
    Command {
        /// Unique at the sender's life.
        id: u64,
        /// What is wanted.
        command: Command,
    },
    /// Controller → asker.
    CommandAck {
        /// Of the COMMAND.
        id: u64,
        /// Accepted, or why not.
        result: Result<(), String>,
    },
    /// Controller → all: it gives up its office in favour of `to`; its promises are void.
    Resign {
        /// The candidate.
        to: NodeId,
    },
    /// The sender, or the life it speaks for, is gone and holds nothing (J2).
    Leave {
        /// The life that ended.
        incarnation: Incarnation,
    },
    /// Sent on by a ring neighbour to somebody whom the origin does not reach (L5). One hop only.
    Forward {
        /// Who said it.
        origin: NodeId,
        /// In which life.
        incarnation: Incarnation,
        /// The origin's committed epoch when it was said.
        epoch: Epoch,
        /// To whom.
        to: NodeId,
        /// What: never a FORWARD.
        packet: Box<Packet>,
    },
    /// Beside the protocol: events and receipts. The driver passes it by the controller.
    Aside(Aside),
}

/// What a member really does, in every BEAT_ACK: heals lost hints within one T.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Services whose addresses are up on this node.
    pub holding: Vec<ServiceId>,
    /// Services that are started here for a planned move (H1: ready).
    pub ready: Vec<ServiceId>,
    /// Services that this node cannot run: it holds none of them and will not, before a newer version.
    pub failed: Vec<ServiceId>,
    /// Those of `failed` whose addresses others on that machine take away again and again.
    pub ousted: Vec<ServiceId>,
    /// Services that are assigned to this node but blocked: somebody outside answers for the address (F2).
    pub blocked: Vec<ServiceId>,
    /// Services for which this node is a bad place, as its checks say.
    pub unfit: Vec<ServiceId>,
    /// Those of `unfit` that it holds, and that shall go to a fit node.
    pub given_up: Vec<ServiceId>,
    /// The external link works (carrier, sends).
    pub external_ok: bool,
    /// The node wants to leave: give its services to others first (J2).
    pub leaving: bool,
    /// Worst own lateness in the last 10 s, microseconds (L8).
    pub lateness_us: u32,
    /// What `load` measures here, in thousandths; `None`: services are counted.
    pub load_permille: Option<u32>,
    /// The gateway does not answer it, says its own check: clients beyond that do not reach it.
    pub cut_off: bool,
}

/// E2: the sender follows nobody else before its promise has lapsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// For whom.
    pub term: Term,
    /// The controller before gave the sender's promise back (LEAVE, RESIGN): leases of it may last longer than a
    /// promise that lapsed says (E4).
    pub released: bool,
}

/// What a booting node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The epoch of the newest state that it remembers.
    pub remembers: Epoch,
    /// Its priority: the highest living one elects itself.
    pub priority: u16,
    /// It has waited out its forgotten promises (E5) and may vote.
    pub may_vote: bool,
    /// An operator had put it on standby: it stays so.
    pub standby: bool,
}

/// What the GUI and `diehard status` show of a node beside the agreed state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The node's name in its own configuration.
    pub name: String,
    /// Relative load in thousandths: held weight ÷ capacity, or what `load` measures.
    pub load_permille: u32,
    /// Digest of the node's configuration.
    pub config_digest: u64,
    /// Its links.
    pub links: Vec<LinkStatus>,
    /// Worst own lateness in the last 10 s, microseconds.
    pub lateness_us: u32,
    /// Datagrams thrown away by this node since its start: not authentic, old, garbled.
    pub rejected: u64,
    /// Hardware address of its external link, from which its addresses answer; zeroes: not known.
    pub mac: [u8; 6],
    /// Who else has an address of a service that this node holds, or should take.
    pub strangers: Vec<Stranger>,
    /// `load_permille` is measured; else it is held weight ÷ capacity.
    pub measured: bool,
    /// Of the controller: what it holds against places. The worst first.
    pub remarks: Vec<Remark>,
    /// Of the controller: its newest moves, the newest last.
    pub moves: Vec<Moved>,
    /// The version of the configuration that the cluster gave it last.
    pub version: ConfigVersion,
    /// Fingerprint of the key with which it seals; 0: not told.
    pub key: u64,
    /// Fingerprint of the key that it accepts beside that one while keys are changed; 0: none.
    pub next_key: u64,
}

/// A configuration that was agreed on: the greater one wins. 0 is «none was ever agreed on».
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ConfigVersion {
    /// Grows by one with each.
    pub number: u64,
    /// Of the effective configuration: tells two apart that two parts of a cluster gave one number.
    pub digest: u64,
}

/// Somebody outside the cluster who has a service's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stranger {
    /// Whose address.
    pub service: ServiceId,
    /// The stranger's hardware address.
    pub mac: [u8; 6],
    /// The node serves it all the same; else it waits for the stranger to stop (F2).
    pub served: bool,
}

/// One link of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// Device name, at most 15 bytes.
    pub device: String,
    /// What for.
    pub role: LinkRole,
    /// Carrier and administrative state.
    pub up: bool,
    /// HELLO of the left neighbour arrives on it.
    pub hears_left: bool,
    /// HELLO_ACK of the right neighbour arrives on it.
    pub hears_right: bool,
}

/// An operator's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Move a service to a node.
    Move {
        /// Which.
        service: ServiceId,
        /// Where to.
        to: NodeId,
    },
    /// Bring a service home; all of them without a name.
    Failback {
        /// Which.
        service: Option<ServiceId>,
    },
    /// Take a node out of service: its services go elsewhere, it goes on voting.
    Standby {
        /// Which.
        node: NodeId,
    },
    /// The opposite.
    Online {
        /// Which.
        node: NodeId,
    },
    /// No automatic moves from now on (except from the dead).
    Freeze,
    /// The opposite.
    Thaw,
}
