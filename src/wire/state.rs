//! The cluster's state: one small value, written by the controller alone (design.md, section 4).

use crate::vocabulary::{Epoch, Incarnation, NodeId, ServiceId};
use std::time::Duration;

/// What a majority agreed on. The paper's *table of state of fake* is `table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Orders all states of a lineage.
    pub epoch: Epoch,
    /// Changes when a minority goes on alone (M); 0 only before any state.
    pub lineage: u64,
    /// T of the whole cluster; the file's value takes effect through a new version.
    pub hello_interval: Duration,
    /// p = T ÷ this: 8 or 16.
    pub probe_divisor: u8,
    /// The longest T by which a promise or a lease may still be in force: this one, as a rule.
    pub longest_interval: Duration,
    /// The same of p.
    pub coarsest_divisor: u8,
    /// No automatic moves.
    pub frozen: bool,
    /// In the order of `NodeId`: the ring.
    pub members: Vec<Member>,
    /// The members of the committed state that this one was proposed to follow, in the same order, if they are others:
    /// until it is committed itself, a majority of those counts as well (E3).
    pub base: Vec<NodeId>,
    /// In the order of `ServiceId`.
    pub table: Vec<Slot>,
}

/// A node that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub id: NodeId,
    /// Which life.
    pub incarnation: Incarnation,
    /// Takes no services: the operator said so.
    pub standby: bool,
    /// Takes no services: it is on its way out.
    pub leaving: bool,
}

/// Who serves one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Which.
    pub service: ServiceId,
    /// Who; `None`: nobody can.
    pub holder: Option<NodeId>,
    /// Where it stands.
    pub phase: Phase,
    /// An operator put it there: it stays until `failback`, or until its holder is gone.
    pub pinned: bool,
}

/// The step of a service's move (protocol.md, H).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// At its holder.
    Held,
    /// The holder serves; `to` starts it (H1).
    Prepare {
        /// The new holder.
        to: NodeId,
    },
    /// The holder hands over to `to` (H2, H3).
    Handover {
        /// The new holder.
        to: NodeId,
    },
    /// A handover was given up: nobody new serves before `to` has acknowledged (H4).
    Abort {
        /// Who was to have it.
        to: NodeId,
    },
    /// Failed on every node that may serve it: nobody tries before `forget` has passed.
    Failed,
}

impl State {
    /// The member with this identity.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        debug_assert!(self.members.is_sorted_by_key(|member| member.id));
        let at = self.members.binary_search_by_key(&id, |member| member.id).ok()?;
        self.members.get(at)
    }

    /// All members' identities.
    pub fn ids(&self) -> Vec<NodeId> {
        self.members.iter().map(|member| member.id).collect()
    }

    /// The members before it, who may be the same.
    pub fn base_ids(&self) -> Vec<NodeId> {
        if self.base.is_empty() { self.ids() } else { self.base.clone() }
    }

    /// Sets the members before it.
    pub fn follow(&mut self, base: Vec<NodeId>) {
        self.base = if base == self.ids() { Vec::new() } else { base };
    }

    /// The slot of this service.
    pub fn slot(&self, service: ServiceId) -> Option<&Slot> {
        debug_assert!(self.table.is_sorted_by_key(|slot| slot.service));
        let at = self.table.binary_search_by_key(&service, |slot| slot.service).ok()?;
        self.table.get(at)
    }

    /// The neighbour after `id` in the ring; `None` if `id` is no member or alone.
    pub fn right_of(&self, id: NodeId) -> Option<NodeId> {
        let at = self.members.iter().position(|member| member.id == id)?;
        let right = self.members[(at + 1) % self.members.len()].id;
        (right != id).then_some(right)
    }

    /// The neighbour before `id` in the ring; `None` if `id` is no member or alone.
    pub fn left_of(&self, id: NodeId) -> Option<NodeId> {
        let at = self.members.iter().position(|member| member.id == id)?;
        let left = self.members[(at + self.members.len() - 1) % self.members.len()].id;
        (left != id).then_some(left)
    }
}
