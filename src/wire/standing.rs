//! What the controller tells everybody beside the agreed state: what it holds against places, and what it moved
//! lately and why. For people on every node, and for its successor, who goes on with it.

use crate::vocabulary::{Epoch, NodeId, ServiceId};

/// What the controller holds against a node, for one service or for all. Nothing to say: no remark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remark {
    /// Who.
    pub node: NodeId,
    /// For which service; `None`: for all of them.
    pub service: Option<ServiceId>,
    /// For coming and going; halves with every half-life.
    pub penalty: u32,
    /// It is no target of what can wait.
    pub damped: bool,
    /// It could not start the service; forgotten after so many milliseconds.
    pub failed_ms: Option<u32>,
    /// Its checks fail.
    pub unfit: bool,
}

/// A step of a service's way from node to node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Which.
    pub service: ServiceId,
    /// The version that decided it: no service has two steps in one.
    pub epoch: Epoch,
    /// Who had it.
    pub from: Option<NodeId>,
    /// Who was to have it.
    pub to: Option<NodeId>,
    /// Which step.
    pub step: MoveStep,
    /// Why.
    pub cause: Cause,
    /// How long ago, when it was said, in milliseconds; the greatest: that long or longer.
    pub ago_ms: u32,
}

/// The steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveStep {
    /// Given to another at once: whoever had it could not be asked.
    Assigned,
    /// A planned move began.
    Began,
    /// It succeeded.
    Done,
    /// It was given up.
    Aborted,
}

/// Why the controller moved something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Cause {
    HolderDown,
    ColdStart,
    StartFailed,
    Tampered,
    ExternalLink,
    CheckFailed,
    Operator,
    Standby,
    Leaving,
    Failback,
    Balance,
    TimedOut,
    /// The end of what began before.
    HandedOver,
}
