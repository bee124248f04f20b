//! Rules L, E and S2 for one service and three nodes: who may serve, and when another may.
//!
//! Time is in ticks, timers are what is left. Everything may happen at any instant: beats, elections by
//! anybody whose promise is over (priority and verdict are not needed for safety), reassignments by whim.
//! Acknowledgements, grants and votes are under way for as long as they like, may be lost, come again and
//! overtake each other; a newer one of the same kind and member may replace an older one. Proposals and
//! commits can be heard at any time, even after their author died. A beat is heard at once or never: late, it
//! would only bind longer. One node's clock is up to a tick ahead of or behind the others', in any window.
//! Nobody looks (F): the leases alone keep two holders apart.

mod nodes;
mod packets;

use super::explore::{Model, Steps, bits};
use std::fmt::Write;

const NODES: usize = 3;
/// m.
const MARGIN: u8 = 1;
/// X.
const BEYOND: u8 = 2;

/// One broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// S2: a commit does not wait for the leases granted to the old holder.
    NoWaitForLeases,
    /// E2: a vote although a promise binds.
    NoPromise,
    /// E4: a new controller reassigns at once.
    NoWaitAfterWinning,
    /// E4: nor does it wait with a reassignment that it inherited uncommitted.
    NoWaitWithInherited,
    /// L5: a lease counts from the receipt of the grant.
    LeaseFromReceipt,
    /// L3: the root counts from the receipt of the acknowledgement.
    RootFromReceipt,
    /// L3, L8: the root is as long as the promise.
    NoMarginOfRoot,
    /// L6, L8: the aliases stay until the very end of the lease, and S2 waits no longer.
    NoMarginOfLease,
    /// E5: a restarted node votes and acknowledges at once.
    NoWaitAfterRestart,
    /// L4: grants go on to a holder whose service is being reassigned, and S2 knows only those before.
    GrantWhileRevoking,
    /// L7: who is behind gets a grant.
    GrantToWhoIsBehind,
    /// S3: a lease of any term will do.
    LeaseOfAnyTerm,
    /// S3: a node acts on what is only proposed.
    ServeOnProposal,
    /// E2: a controller with a root votes for another, and stays in office.
    VoteWithRoot,
    /// E3: votes count however long after the asking they come.
    LateWin,
    /// L6: the aliases stay when the lease ends.
    KeepWithoutLease,
}

/// What one exploration of all the rules covers in a few seconds.
pub const USUAL: Bounds = Bounds {
    elections: 1,
    candidates: 0b100,
    reassignments: 1,
    crashes: 0,
    packets: 1,
    promise: 2,
    wrong_clock: 1,
};

impl Mistake {
    /// Bounds under which the rule matters.
    pub fn bounds(self) -> Bounds {
        match self {
            Self::NoWaitAfterRestart => Bounds { crashes: 1, ..USUAL },
            Self::LateWin => Bounds { candidates: 0b110, ..USUAL },
            _ => USUAL,
        }
    }

    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::NoWaitForLeases,
        Self::NoPromise,
        Self::NoWaitAfterWinning,
        Self::NoWaitWithInherited,
        Self::LeaseFromReceipt,
        Self::RootFromReceipt,
        Self::NoMarginOfRoot,
        Self::NoMarginOfLease,
        Self::NoWaitAfterRestart,
        Self::GrantWhileRevoking,
        Self::GrantToWhoIsBehind,
        Self::LeaseOfAnyTerm,
        Self::ServeOnProposal,
        Self::VoteWithRoot,
        Self::LateWin,
        Self::KeepWithoutLease,
    ];
}

/// How far an exploration goes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Rounds of elections after the first controller's.
    pub elections: u8,
    /// Who may stand, as bits.
    pub candidates: u8,
    /// Reassignments proposed in all.
    pub reassignments: u8,
    /// Crashes in all, and as many restarts.
    pub crashes: u8,
    /// Packets under way at once.
    pub packets: u8,
    /// Lp in ticks.
    pub promise: u8,
    /// The node whose clock is wrong.
    pub wrong_clock: usize,
}

/// The rules, or all but one.
#[derive(Debug)]
pub struct Lease {
    /// How far.
    pub bounds: Bounds,
    /// The rule that is broken.
    pub mistake: Option<Mistake>,
}

/// Who holds the service, by whom and when: ordered by (term, version).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Table {
    term: u8,
    version: u8,
    holder: u8,
}

/// A term is (round, author).
fn term(round: u8, author: usize) -> u8 {
    round * 4 + author as u8
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Member,
    /// Asked for votes; `root` is what would be left of the root if it won now.
    Candidate,
    Controller,
}

#[derive(Debug, Clone, Copy, Hash)]
struct Office {
    role: Role,
    term: u8,
    root: u8,
    /// E4.
    wait: u8,
    /// What may be left of the leases it granted, margin included.
    granted: [u8; NODES],
    /// Who has stored the pending proposal.
    stored_by: u8,
    /// The holder of what it took over, if that was its author: its services ended with the root.
    predecessors: bool,
    /// What it took over was committed, as far as it knows.
    proved: bool,
}

const NO_OFFICE: Office = Office {
    role: Role::Member,
    term: 0,
    root: 0,
    wait: 0,
    granted: [0; NODES],
    stored_by: 0,
    predecessors: false,
    proved: false,
};

#[derive(Debug, Clone, Copy, Hash)]
struct Node {
    up: bool,
    /// E5.
    wait: u8,
    /// The newest term it votes for or follows.
    voted: u8,
    promise: u8,
    stored: Table,
    committed: Table,
    lease: u8,
    lease_term: u8,
    office: Office,
}

/// The acknowledgement of a beat and the request for a lease: ages on the controller's and on the member's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ack {
    term: u8,
    epoch: (u8, u8),
    beat: u8,
    asked: u8,
}

/// `left` of the lease, seen from the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Grant {
    term: u8,
    left: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Vote {
    term: u8,
    stored: Table,
    committed: Table,
}

/// All there is at one instant.
#[derive(Debug, Clone, Copy, Hash)]
pub struct State {
    nodes: [Node; NODES],
    /// Under way from each member, to each member, to each candidate.
    acks: [Option<Ack>; NODES],
    grants: [Option<Grant>; NODES],
    votes: [Option<Vote>; NODES],
    /// Ticks by which the wrong clock is behind: 0 or 1.
    behind: u8,
    reassigned: u8,
    crashed: u8,
}

impl State {
    fn under_way(&self) -> usize {
        let acks = self.acks.iter().flatten().count();
        acks + self.grants.iter().flatten().count() + self.votes.iter().flatten().count()
    }
}

impl Lease {
    fn with(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Lr.
    fn root_length(&self) -> u8 {
        let margin = if self.with(Mistake::NoMarginOfRoot) { 0 } else { MARGIN };
        self.bounds.promise - margin
    }

    /// Lm.
    fn lease_length(&self) -> u8 {
        self.bounds.promise + BEYOND
    }

    fn lease_margin(&self) -> u8 {
        if self.with(Mistake::NoMarginOfLease) { 0 } else { MARGIN }
    }

    /// S3: the service's address is up there.
    fn serves(&self, node: &Node, number: usize) -> bool {
        let table = if self.with(Mistake::ServeOnProposal) { node.stored } else { node.committed };
        let office = &node.office;
        let of_term = |term: u8| term == table.term || self.with(Mistake::LeaseOfAnyTerm);
        let controller = office.role == Role::Controller;
        let root = controller && office.term == table.term && office.root > 0;
        let kept = node.lease > self.lease_margin() || self.with(Mistake::KeepWithoutLease);
        let leased = !controller && node.lease_term > 0 && of_term(node.lease_term) && kept;
        node.up && table.holder as usize == number && (root || leased)
    }
}

impl Model for Lease {
    type State = State;

    /// The first controller, 0, is in office; its root has just ended. Nodes 0 or 1 hold the service.
    fn begin(&self) -> Vec<State> {
        let begin = |holder: u8, behind: u8| {
            let table = Table { term: term(1, 0), version: 1, holder };
            let node = Node {
                up: true,
                wait: 0,
                voted: table.term,
                promise: 0,
                stored: table,
                committed: table,
                lease: 0,
                lease_term: 0,
                office: NO_OFFICE,
            };
            let mut nodes = [node; NODES];
            nodes[0].office =
                Office { role: Role::Controller, term: table.term, stored_by: 1, proved: true, ..NO_OFFICE };
            let (acks, grants, votes) = ([None; NODES], [None; NODES], [None; NODES]);
            State { nodes, acks, grants, votes, behind, reassigned: 0, crashed: 0 }
        };
        [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(holder, behind)| begin(holder, behind)).to_vec()
    }

    fn steps(&self, from: &State, steps: &mut Steps<State>) {
        self.time(from, steps);
        for node in 0..NODES {
            self.deliver(from, node, steps);
            self.node_steps(from, node, steps);
        }
    }

    fn settle(&self, state: &mut State) {
        let last_candidate = 7 - self.bounds.candidates.leading_zeros().min(7) as usize;
        let last = term(self.bounds.elections + 1, last_candidate);
        let moves = state.reassigned < self.bounds.reassignments;
        for (number, node) in state.nodes.iter_mut().enumerate() {
            let office = &mut node.office;
            if node.voted >= last {
                node.promise = 0;
            }
            if office.role == Role::Controller && !moves {
                let pending = node.stored != node.committed;
                for (member, granted) in office.granted.iter_mut().enumerate() {
                    *granted *= u8::from(pending && member == node.committed.holder as usize);
                }
                office.wait *= u8::from(pending);
            }
            if state.votes[number]
                .is_some_and(|vote| office.role != Role::Candidate || office.term != vote.term)
            {
                state.votes[number] = None;
            }
            state.grants[number] = state.grants[number].filter(|grant| node.up && node.voted == grant.term);
        }
        for number in 0..NODES {
            let heard = |ack: &Ack| {
                let controller = &state.nodes[ack.term as usize % 4];
                controller.up
                    && controller.office.role == Role::Controller
                    && controller.office.term == ack.term
            };
            state.acks[number] = state.acks[number].filter(heard);
        }
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let nodes = || state.nodes.iter().enumerate();
        let holders = nodes().filter(|(number, node)| self.serves(node, *number)).count();
        let rules = |node: &Node| node.up && node.office.role == Role::Controller && node.office.root > 0;
        let rulers = nodes().filter(|(_, node)| rules(node)).count();
        if holders > 1 {
            Some("P1: two nodes serve")
        } else if rulers > 1 {
            Some("L3: two controllers have a root")
        } else {
            None
        }
    }

    fn reached(&self, state: &State) -> u32 {
        let nodes = || state.nodes.iter().enumerate();
        let serving = nodes().find(|(number, node)| self.serves(node, *number)).map(|(_, node)| node);
        let member = |node: &Node| node.office.role != Role::Controller;
        let later = |node: &Node| node.committed.term > 4;
        let marks = [
            serving.is_some_and(|node| member(node) && node.committed.version == 1),
            serving.is_some_and(|node| node.committed.term == 4 && node.committed.version > 1),
            serving.is_some_and(later),
            serving
                .is_some_and(|node| member(node) && later(node) && state.nodes.iter().any(|node| !node.up)),
            nodes().any(|(_, node)| node.up && state.crashed > 0 && node.wait > 0),
        ];
        bits(&marks)
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &[
            "a member serves on its lease",
            "a service was reassigned in one term",
            "a service is served in a later term",
            "a member serves in a later term while a node is dead",
            "a node starts again",
        ]
    }

    fn picture(&self, state: &State) -> String {
        let mut text = String::new();
        for (number, node) in state.nodes.iter().enumerate() {
            let holds = if self.serves(node, number) { " SERVES" } else { "" };
            let office = match node.office.role {
                _ if !node.up => " dead".to_string(),
                Role::Member => String::new(),
                Role::Candidate => format!(" candidate of {}", named(node.office.term)),
                Role::Controller => {
                    let office = &node.office;
                    let (term, granted) = (named(office.term), office.granted);
                    format!(
                        " controller of {term} root {} wait {} granted {granted:?}",
                        office.root, office.wait
                    )
                }
            };
            let (committed, stored) = (said(node.committed), said(node.stored));
            let _ = write!(text, "[{number}{holds}{office}: {committed}");
            if stored != committed {
                let _ = write!(text, ", stored {stored}");
            }
            let _ = write!(text, ", promise {} to {}, lease {}", node.promise, named(node.voted), node.lease);
            text.push_str(if node.wait > 0 { ", waits] " } else { "] " });
        }
        text
    }
}

fn named(term: u8) -> String {
    format!("{}.{}", term / 4, term % 4)
}

fn said(table: Table) -> String {
    format!("«{}/{}: held by {}»", named(table.term), table.version, table.holder)
}
