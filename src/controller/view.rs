//! What a controller knows, for people: a snapshot that the control thread turns into words and JSON.

use super::placement::Ground;
use crate::vocabulary::{Epoch, Incarnation, LinkRole, NodeId, ServiceId};
use crate::wire::{Moved, Phase, Status};
use std::time::Duration;

/// The whole picture as this node sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// This node.
    pub me: NodeId,
    /// This life.
    pub incarnation: Incarnation,
    /// The committed epoch.
    pub epoch: Epoch,
    /// The lineage of the committed state.
    pub lineage: u64,
    /// The controller that this node follows (or is).
    pub controller: Option<NodeId>,
    /// This node has a lease, or the root: it may serve.
    pub quorum: bool,
    /// No automatic moves.
    pub frozen: bool,
    /// How long this node's lease still runs.
    pub lease: Option<Duration>,
    /// T of the committed state, or of the file before any.
    pub hello_interval: Duration,
    /// p.
    pub probe_interval: Duration,
    /// Worst own lateness in the last 10 s.
    pub lateness: Duration,
    /// Every configured node and every member, in the order of `NodeId`.
    pub nodes: Vec<NodeView>,
    /// Every service of the table and of the configuration, in the order of `ServiceId`.
    pub services: Vec<ServiceView>,
    /// What a placement depends on; `None`: not in the cluster.
    pub ground: Option<Ground>,
    /// What moved lately, as far as this node knows; of each service the oldest first.
    pub moves: Vec<Moved>,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeView {
    /// Who.
    pub id: NodeId,
    /// How it is.
    pub state: NodeState,
    /// The life that is a member, if one is.
    pub incarnation: Option<Incarnation>,
    /// Neighbours in the ring.
    pub left: Option<NodeId>,
    /// Neighbours in the ring.
    pub right: Option<NodeId>,
    /// Held weight ÷ capacity by the table.
    pub load: f64,
    /// When this node last heard it itself.
    pub heard: Option<Duration>,
    /// Its last STATUS (for this node itself: the driver fills it in).
    pub status: Option<Status>,
    /// Links over which this node heard it within the last 3 T.
    pub heard_on: Vec<LinkRole>,
    /// How long its last acknowledgement of this node's HELLO took; only of the right neighbour.
    pub round_trip: Option<Duration>,
}

/// `state` of a node in `status --json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// A member that lives.
    Up,
    /// A member that is silent.
    Suspect,
    /// Not a member.
    Down,
    /// Not yet a member, but talking.
    Joining,
    /// A member that takes no services.
    Standby,
    /// A member on its way out.
    Leaving,
}

/// One service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceView {
    /// Which.
    pub id: ServiceId,
    /// Who holds it by the table.
    pub holder: Option<NodeId>,
    /// Where it stands.
    pub phase: Option<Phase>,
    /// For people.
    pub state: ServiceState,
    /// The alias is up on this node.
    pub here: bool,
    /// The stranger who answers for its address, if this node heard one.
    pub stranger: Option<[u8; 6]>,
}

/// `state` of a service in `status --json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// Served by its holder.
    Held,
    /// On its way from one to another.
    Moving,
    /// Nobody serves it, on purpose or for want of quorum.
    Stopped,
    /// Failed on every node that may serve it.
    Failed,
    /// Assigned, but somebody outside answers for the address.
    Orphaned,
}
