//! Rules S and E2, E3: what three nodes agree on, and that no commit is lost while the membership changes.
//!
//! Without time: promises and leases only forbid, so whatever holds without them holds with them. Any node
//! may ask for votes at any moment, also while others rule. A proposal may be stored, acknowledged and
//! committed at any time later or never, in any order, also after its author lost its office. A node that
//! dies keeps its record (assumption (c)) and loses its office; as it may be silent for as long as it likes, it
//! needs no rule of its own beyond that. Each proposal adds one change, and may change the membership to any that its author is in.

use super::explore::{Model, Steps, bits};
use std::fmt::Write;

const NODES: usize = 3;

/// One broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// S1: acknowledged without being stored.
    AcknowledgeWithoutStoring,
    /// S: states are ordered by version alone.
    OrderByVersionAlone,
    /// S1: acknowledged to an author for whom it does not vote any more.
    AcknowledgeToAnybody,
    /// E2: a second vote in one term's place: older terms get one, too.
    VoteForOlder,
    /// E2: the vote tells what is committed, not what is stored.
    VoteTellsCommitted,
    /// E3: a candidate goes on with its own state, whatever the votes tell.
    IgnoreVotes,
    /// E3: the majority is counted over the candidate's own committed members alone.
    WinByOwnMembers,
    /// E3: one vote, its own, is enough.
    WinAlone,
    /// S2: a commit counts the new members alone.
    CommitByNew,
    /// S2: a commit needs the author's own acknowledgement only.
    CommitAlone,
    /// S1: the next membership is proposed before the one before is committed.
    ProposeOnProposal,
    /// Assumption (c): a node that restarts has forgotten what it stored.
    ForgetAtRestart,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::AcknowledgeWithoutStoring,
        Self::OrderByVersionAlone,
        Self::AcknowledgeToAnybody,
        Self::VoteForOlder,
        Self::VoteTellsCommitted,
        Self::IgnoreVotes,
        Self::WinByOwnMembers,
        Self::WinAlone,
        Self::CommitByNew,
        Self::CommitAlone,
        Self::ProposeOnProposal,
        Self::ForgetAtRestart,
    ];
}

/// What one exploration of all the rules covers in a few seconds.
pub const USUAL: Bounds = Bounds { elections: 1, changes: 2, restarts: 0 };

impl Mistake {
    /// Bounds under which the rule matters.
    pub fn bounds(self) -> Bounds {
        match self {
            Self::OrderByVersionAlone => Bounds { elections: 2, ..USUAL },
            Self::WinByOwnMembers | Self::ProposeOnProposal => Bounds { changes: 3, ..USUAL },
            Self::ForgetAtRestart => Bounds { restarts: 1, ..USUAL },
            _ => USUAL,
        }
    }
}

/// How far an exploration goes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Rounds of elections after the first.
    pub elections: u8,
    /// Changes proposed in all, beside the first proposals of terms.
    pub changes: u8,
    /// Deaths with a restart, in all.
    pub restarts: u8,
}

/// The rules, or all but one.
#[derive(Debug)]
pub struct Agreement {
    /// How far.
    pub bounds: Bounds,
    /// The rule that is broken.
    pub mistake: Option<Mistake>,
}

/// A state of the cluster: ordered by (term, version). `changes`: which were ever made on the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Value {
    term: u8,
    version: u8,
    members: u8,
    changes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Member,
    Candidate,
    Controller,
}

#[derive(Debug, Clone, Copy, Hash)]
struct Node {
    voted: u8,
    stored: Value,
    committed: Value,
    role: Role,
    /// Votes for the candidate; acknowledgements for the controller's proposal.
    heard: u8,
    /// The newest state that votes told, and the newest committed one; then the proposal and its base.
    newest: Value,
    base: Value,
}

/// All there is at one instant.
#[derive(Debug, Clone, Copy, Hash)]
pub struct State {
    nodes: [Node; NODES],
    /// Everything ever committed, in the order of its epochs; the rest is zero.
    history: [Value; 6],
    lost: bool,
    two: bool,
    changed: u8,
    restarted: u8,
}

fn majority(of: u8, members: u8) -> bool {
    (of & members).count_ones() * 2 > members.count_ones()
}

impl Agreement {
    fn with(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn newer(&self, left: Value, right: Value) -> bool {
        if self.with(Mistake::OrderByVersionAlone) {
            left.version > right.version
        } else {
            (left.term, left.version) > (right.term, right.version)
        }
    }

    fn max(&self, left: Value, right: Value) -> Value {
        if self.newer(right, left) { right } else { left }
    }

    /// E1, E2: it votes for itself.
    fn stand(&self, from: &State, number: usize, steps: &mut Steps<State>) {
        let node = &from.nodes[number];
        let round = node.voted / 4 + 1;
        if round > self.bounds.elections + 1 {
            return;
        }
        let mut next = *from;
        next.nodes[number] = Node {
            voted: round * 4 + number as u8,
            role: Role::Candidate,
            heard: 1 << number,
            newest: node.stored,
            base: node.committed,
            ..*node
        };
        steps.push(|| format!("node {number} asks for votes"), next);
    }

    /// E2: a vote for a newer term than any voted for; it tells the newest state stored.
    fn vote(&self, from: &State, number: usize, candidate: usize, steps: &mut Steps<State>) {
        let (node, asks) = (&from.nodes[number], &from.nodes[candidate]);
        let again = self.with(Mistake::VoteForOlder) && node.voted > asks.voted;
        if asks.role != Role::Candidate
            || asks.heard & (1 << number) != 0
            || node.voted >= asks.voted && !again
        {
            return;
        }
        let told = if self.with(Mistake::VoteTellsCommitted) { node.committed } else { node.stored };
        let mut next = *from;
        let voter = &mut next.nodes[number];
        (voter.voted, voter.role, voter.heard) = (asks.voted, Role::Member, 0);
        steps.push(|| format!("node {number} votes for {candidate}, which is lost"), next);
        let asks = &mut next.nodes[candidate];
        asks.heard |= 1 << number;
        asks.base = self.max(asks.base, node.committed);
        if !self.with(Mistake::IgnoreVotes) {
            asks.newest = self.max(asks.newest, told);
        }
        steps.push(|| format!("node {number} votes for {candidate}"), next);
    }

    /// E3: a majority of the newest state's members and of the own committed ones.
    fn win(&self, from: &State, number: usize, steps: &mut Steps<State>) {
        let node = &from.nodes[number];
        let own = majority(node.heard, node.committed.members);
        let newest = majority(node.heard, node.newest.members) || self.with(Mistake::WinByOwnMembers);
        let won = own && newest || self.with(Mistake::WinAlone);
        if node.role != Role::Candidate || !won {
            return;
        }
        let version = node.newest.version + 1;
        let proposal = Value { term: node.voted, version, ..node.newest };
        let mut next = *from;
        next.nodes[number] =
            Node { role: Role::Controller, stored: proposal, newest: proposal, heard: 1 << number, ..*node };
        steps.push(|| format!("node {number} wins and proposes {}", said(proposal)), next);
    }

    /// S1: the next version, when the one before is committed.
    fn propose(&self, from: &State, number: usize, steps: &mut Steps<State>) {
        let node = &from.nodes[number];
        let settled = node.newest == node.committed || self.with(Mistake::ProposeOnProposal);
        if node.role != Role::Controller || !settled || from.changed >= self.bounds.changes {
            return;
        }
        for members in (1..1 << NODES).filter(|members| members & (1 << number) != 0) {
            let changes = node.newest.changes | 1 << from.changed;
            let proposal = Value { version: node.newest.version + 1, members, changes, ..node.newest };
            let base = if settled { node.newest } else { node.base };
            let mut next = *from;
            next.nodes[number] =
                Node { stored: proposal, newest: proposal, base, heard: 1 << number, ..*node };
            next.changed += 1;
            steps.push(|| format!("node {number} proposes {}", said(proposal)), next);
        }
    }

    /// S1: stored, then acknowledged, by who follows its author.
    fn store(&self, from: &State, number: usize, author: usize, steps: &mut Steps<State>) {
        let (node, proposes) = (&from.nodes[number], &from.nodes[author]);
        let proposal = proposes.newest;
        let pending = proposes.role == Role::Controller && proposal != proposes.committed;
        let follows = node.voted <= proposal.term || self.with(Mistake::AcknowledgeToAnybody);
        let acknowledged = proposes.heard & (1 << number) != 0;
        if !pending || !follows || acknowledged || self.newer(node.stored, proposal) {
            return;
        }
        let mut next = *from;
        if !self.with(Mistake::AcknowledgeWithoutStoring) {
            next.nodes[number].stored = proposal;
        }
        if node.voted < proposal.term {
            let this = &mut next.nodes[number];
            (this.voted, this.role, this.heard) = (proposal.term, Role::Member, 0);
        }
        steps.push(|| format!("node {number} stores {}, unheard", said(proposal)), next);
        next.nodes[author].heard |= 1 << number;
        steps.push(|| format!("node {number} stores {} and acknowledges", said(proposal)), next);
    }

    /// S2: a majority of the old and of the new members.
    fn commit(&self, from: &State, number: usize, steps: &mut Steps<State>) {
        let node = &from.nodes[number];
        let old = majority(node.heard, node.base.members) || self.with(Mistake::CommitByNew);
        let new = majority(node.heard, node.newest.members);
        let enough = old && new || self.with(Mistake::CommitAlone);
        if node.role != Role::Controller || node.newest == node.committed || !enough {
            return;
        }
        let mut next = *from;
        let value = node.newest;
        next.nodes[number].committed = value;
        self.note(&mut next, value);
        steps.push(|| format!("node {number} commits {}", said(value)), next);
    }

    /// One epoch has one value; what an earlier epoch committed is in every later one.
    fn note(&self, next: &mut State, value: Value) {
        for known in next.history.iter().filter(|known| known.term > 0) {
            let order = (known.term, known.version).cmp(&(value.term, value.version));
            next.two |= order.is_eq() && *known != value;
            let (older, newer) = if order.is_lt() { (*known, value) } else { (value, *known) };
            next.lost |= older.changes & !newer.changes != 0;
        }
        if !next.history.contains(&value)
            && let Some(place) = next.history.iter_mut().find(|known| known.term == 0)
        {
            *place = value;
            next.history.sort_unstable_by_key(|known| (known.term == 0, *known));
        }
    }

    /// S5: the committed state is passed on by whoever has it.
    fn learn(&self, from: &State, number: usize, other: usize, steps: &mut Steps<State>) {
        let (node, committed) = (&from.nodes[number], from.nodes[other].committed);
        let rules = node.role == Role::Controller && committed.term <= node.voted;
        if !self.newer(committed, node.committed) || rules {
            return;
        }
        let mut next = *from;
        let this = &mut next.nodes[number];
        this.committed = committed;
        this.stored = self.max(node.stored, committed);
        if committed.term > node.voted {
            (this.voted, this.role, this.heard) = (committed.term, Role::Member, 0);
        } else if node.role == Role::Candidate {
            this.newest = self.max(node.newest, committed);
            this.base = self.max(node.base, committed);
        }
        steps.push(|| format!("node {number} hears that {} is committed", said(committed)), next);
    }

    /// Its record is all that a restarted node has.
    fn restart(&self, from: &State, number: usize, steps: &mut Steps<State>) {
        let node = &from.nodes[number];
        if from.restarted >= self.bounds.restarts {
            return;
        }
        let mut next = *from;
        let stored = if self.with(Mistake::ForgetAtRestart) { node.committed } else { node.stored };
        next.nodes[number] = Node { role: Role::Member, heard: 0, stored, ..*node };
        next.restarted += 1;
        steps.push(|| format!("node {number} dies and starts again"), next);
    }
}

impl Model for Agreement {
    type State = State;

    /// Node 0 is in office; all three are members, and have the first state.
    fn begin(&self) -> Vec<State> {
        let first = Value { term: 4, version: 1, members: 0b111, changes: 0 };
        let none = Value { term: 0, version: 0, members: 0, changes: 0 };
        let node = Node {
            voted: 4,
            stored: first,
            committed: first,
            role: Role::Member,
            heard: 0,
            newest: first,
            base: first,
        };
        let mut nodes = [node; NODES];
        (nodes[0].role, nodes[0].heard) = (Role::Controller, 1);
        let history = [first, none, none, none, none, none];
        vec![State { nodes, history, lost: false, two: false, changed: 0, restarted: 0 }]
    }

    fn steps(&self, from: &State, steps: &mut Steps<State>) {
        for number in 0..NODES {
            self.stand(from, number, steps);
            self.win(from, number, steps);
            self.propose(from, number, steps);
            self.commit(from, number, steps);
            self.restart(from, number, steps);
            for other in (0..NODES).filter(|other| *other != number) {
                self.vote(from, number, other, steps);
                self.store(from, number, other, steps);
                self.learn(from, number, other, steps);
            }
        }
    }

    fn settle(&self, state: &mut State) {
        for node in &mut state.nodes {
            if node.role == Role::Member {
                (node.newest, node.base) = (node.committed, node.committed);
            } else if node.role == Role::Controller && node.newest == node.committed {
                (node.base, node.heard) = (node.committed, 0);
            }
        }
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        if state.two {
            Some("S: one epoch has two committed values")
        } else {
            state.lost.then_some("S: a committed change is lost")
        }
    }

    fn reached(&self, state: &State) -> u32 {
        let history = || state.history.iter().filter(|value| value.term > 0);
        let marks = [
            history().any(|value| value.term == 4 && value.members != 0b111),
            history().any(|value| value.term > 4 && value.changes != 0),
            history().any(|value| value.members.count_ones() == 1),
            history().any(|value| value.term > 4 && value.members != 0b111),
        ];
        bits(&marks)
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &[
            "the membership changes in the first term",
            "a later term goes on with a change",
            "one node is left alone",
            "a later term has another membership",
        ]
    }

    fn picture(&self, state: &State) -> String {
        let mut text = String::new();
        for (number, node) in state.nodes.iter().enumerate() {
            let (voted, role, stored) = (named(node.voted), node.role, said(node.stored));
            let _ =
                write!(text, "[{number} {role:?} of {voted}: {}, stored {stored}] ", said(node.committed));
        }
        text
    }
}

fn named(term: u8) -> String {
    format!("{}.{}", term / 4, term % 4)
}

fn said(value: Value) -> String {
    let members: String =
        (0..NODES).filter(|node| value.members & (1 << node) != 0).map(|node| node.to_string()).collect();
    format!("«{}/{}: members {members}, changes {:b}»", named(value.term), value.version, value.changes)
}
