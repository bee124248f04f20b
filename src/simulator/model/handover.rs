//! Rules H: one service that moves as planned between three nodes, while everything goes wrong.
//!
//! A move is prepared, offered, taken; or aborted at any moment, or cut short by a death (one in all, the
//! controller's too: another goes on from the committed phase). FAIL_BACK, TAKE_OVER and commits are heard
//! at any time later, again, or never. Leases are renewed at every instant until one day they are not. Commits are one step: that majorities agree is looked at elsewhere.
//! One node's clock is up to a tick wrong. Two may have the address only as the ends of an offered
//! handover, and not for longer than `until` and the clocks' error; three never.

use super::explore::{Model, Steps, bits};
use std::fmt::Write;

const NODES: usize = 3;
/// m.
const MARGIN: u8 = 1;
/// Lm.
const LEASE: u8 = 3;
/// H2: 2p.
const UNTIL: u8 = 2;

/// One broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// H2: the giver goes on beyond `until`.
    HandoverWithoutUntil,
    /// H2: each repetition of FAIL_BACK begins `until` anew.
    UntilFromRepetition,
    /// H2: FAIL_BACK at any epoch will do.
    AnyInvitation,
    /// H3: the taker does not wait for FAIL_BACK.
    TakeUninvited,
    /// H4: an abort gives the service back without waiting for the taker.
    AbortWithoutWaiting,
    /// H4: the taker acknowledges the abort and keeps the address.
    KeepAfterAbort,
    /// A reassignment out of a handover waits for the giver alone.
    ForgetTheTaker,
    /// A reassignment out of a handover waits for the taker alone.
    ForgetTheGiver,
    /// After a handover the service moves on before the giver's `until` is over.
    OnwardAtOnce,
    /// A new controller reassigns at once.
    NoWaitAfterWinning,
    /// L6: the address stays when the lease ends.
    KeepWithoutLease,
}

impl Mistake {
    /// So many versions after the first make it matter.
    pub fn versions(self) -> u8 {
        match self {
            Self::AbortWithoutWaiting | Self::KeepAfterAbort => 4,
            Self::OnwardAtOnce => 5,
            Self::AnyInvitation => 6,
            _ => 3,
        }
    }

    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::HandoverWithoutUntil,
        Self::UntilFromRepetition,
        Self::AnyInvitation,
        Self::TakeUninvited,
        Self::AbortWithoutWaiting,
        Self::KeepAfterAbort,
        Self::ForgetTheTaker,
        Self::ForgetTheGiver,
        Self::OnwardAtOnce,
        Self::NoWaitAfterWinning,
        Self::KeepWithoutLease,
    ];
}

/// The rules, or all but one.
#[derive(Debug)]
pub struct Handover {
    /// Versions after the first.
    pub versions: u8,
    /// The node whose clock is wrong.
    pub wrong_clock: usize,
    /// The rule that is broken.
    pub mistake: Option<Mistake>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Held,
    Prepare,
    Offered,
    Aborted,
}

/// What is committed. Held: by `taker`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Plan {
    version: u8,
    phase: Phase,
    giver: u8,
    taker: u8,
}

impl Plan {
    /// Whose address it is when nothing is under way.
    fn holder(self) -> u8 {
        if self.phase == Phase::Held { self.taker } else { self.giver }
    }
}

#[derive(Debug, Clone, Copy, Hash)]
struct Node {
    up: bool,
    known: Plan,
    lease: u8,
    alias: bool,
    /// What is left of `until` since it offered at the version it knows.
    until: Option<u8>,
}

/// All there is at one instant.
#[derive(Debug, Clone, Copy, Hash)]
pub struct State {
    nodes: [Node; NODES],
    controller: u8,
    committed: Plan,
    /// What may be left of the leases granted, margin included; and who gets none, revoked or cut off.
    granted: [u8; NODES],
    refused: u8,
    /// The last giver may have the address for so long.
    guard: u8,
    /// FAIL_BACK and TAKE_OVER under way, by versions.
    offers: u16,
    takes: u16,
    /// Ends of the last offer, and for how long two have had the address.
    ends: u8,
    both: u8,
    behind: u8,
}

impl State {
    fn holders(&self) -> u8 {
        self.nodes.iter().enumerate().map(|(number, node)| u8::from(node.alias) << number).sum()
    }
}

impl Handover {
    fn with(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn time(&self, from: &State, wrongly: u8, behind: u8) -> State {
        let mut next = *from;
        next.behind = behind;
        let spent = |node: usize| if node == self.wrong_clock { wrongly } else { 1 };
        let two = from.holders().count_ones() > 1;
        for (number, node) in next.nodes.iter_mut().enumerate() {
            node.lease = node.lease.saturating_sub(spent(number));
            if node.lease <= MARGIN {
                node.lease = 0;
                node.alias &= self.with(Mistake::KeepWithoutLease);
            }
            node.until = node.until.map(|until| until.saturating_sub(spent(number)));
            let over = node.until == Some(0) && !self.with(Mistake::HandoverWithoutUntil);
            node.alias &= !over;
        }
        let passed = spent(next.controller as usize);
        for timer in next.granted.iter_mut().chain([&mut next.guard]) {
            *timer = timer.saturating_sub(passed);
        }
        next.both = if two { (from.both + 1).min(UNTIL + 3) } else { 0 };
        next
    }

    fn node_steps(&self, from: &State, number: usize, steps: &mut Steps<State>) {
        let node = &from.nodes[number];
        if from.nodes.iter().all(|node| node.up) {
            let mut next = *from;
            next.nodes[number] = Node { up: false, lease: 0, alias: false, until: None, ..*node };
            if number == from.controller as usize {
                // Whoever goes on knows nothing of the leases granted.
                let waits = !self.with(Mistake::NoWaitAfterWinning);
                next.granted = [u8::from(waits) * (LEASE + MARGIN); NODES];
                next.guard = u8::from(waits) * (UNTIL + MARGIN);
                for successor in (0..NODES).filter(|successor| *successor != number) {
                    let mut next = next;
                    next.controller = successor as u8;
                    if next.nodes[successor].known != from.committed {
                        next.nodes[successor].known = from.committed;
                        next = self.heard(next, successor);
                    }
                    steps.push(|| format!("controller {number} dies, {successor} goes on"), next);
                }
            } else {
                steps.push(|| format!("node {number} dies"), next);
            }
        }
        if node.known.version < from.committed.version {
            let mut next = *from;
            next.nodes[number].known = from.committed;
            let next = self.heard(next, number);
            steps.push(|| format!("node {number} hears {}", said(from.committed)), next);
        }
        self.address_steps(from, number, steps);
    }

    /// What a newly heard plan ends at once.
    fn heard(&self, mut next: State, number: usize) -> State {
        let node = &mut next.nodes[number];
        let plan = node.known;
        let (giver, taker) = (plan.giver as usize == number, plan.taker as usize == number);
        node.alias &= match plan.phase {
            Phase::Held => taker,
            Phase::Prepare => giver,
            Phase::Offered => giver || taker,
            Phase::Aborted => giver || taker && self.with(Mistake::KeepAfterAbort),
        };
        // Who has offered stops at `until` unless a newer version gives it the address.
        let mine = plan.phase == Phase::Held && taker || plan.phase == Phase::Prepare && giver;
        if mine || plan.phase == Phase::Offered || !node.alias {
            node.until = None;
        }
        next
    }

    /// H2, H3: offering, taking, dropping.
    fn address_steps(&self, from: &State, number: usize, steps: &mut Steps<State>) {
        let node = &from.nodes[number];
        let plan = node.known;
        let bit = 1u16 << plan.version;
        let (giver, taker) = (plan.giver as usize == number, plan.taker as usize == number);
        let again = node.until.is_some();
        let repeats = !again || self.with(Mistake::UntilFromRepetition);
        if plan.phase == Phase::Offered && giver && node.alias && repeats {
            let mut next = *from;
            next.nodes[number].until = Some(UNTIL);
            next.offers |= bit;
            next.ends = 1 << plan.giver | 1 << plan.taker;
            let words = if again { "repeats FAIL_BACK" } else { "notes `until` and says FAIL_BACK" };
            steps.push(|| format!("node {number} {words}"), next);
        }
        let offered = from.offers & bit != 0 || from.offers != 0 && self.with(Mistake::AnyInvitation);
        let invited = plan.phase == Phase::Offered && taker && (offered || self.with(Mistake::TakeUninvited));
        let mine = plan.phase == Phase::Held && taker;
        if node.lease > MARGIN && !node.alias && (mine || invited) {
            let mut next = *from;
            next.nodes[number].alias = true;
            next.takes |= if invited { bit } else { 0 };
            steps.push(|| format!("node {number} takes the address"), next);
        }
        if plan.phase == Phase::Offered && giver && node.alias && from.takes & bit != 0 {
            let mut next = *from;
            next.nodes[number].alias = false;
            steps.push(|| format!("node {number} hears TAKE_OVER and drops the address"), next);
        }
    }

    fn controller_steps(&self, from: &State, steps: &mut Steps<State>) {
        let controller = from.controller;
        let renews = |number: usize| from.nodes[number].up && from.refused & (1 << number) == 0;
        for number in (0..NODES).filter(|number| renews(*number)) {
            let mut next = *from;
            next.refused |= 1 << number;
            steps.push(|| format!("node {number} gets no lease any more"), next);
        }
        if from.committed.version > self.versions {
            return;
        }
        let plan = from.committed;
        let mut commit = |phase, giver: usize, taker: usize, guard: u8| {
            let version = plan.version + 1;
            let mut next = *from;
            next.committed = Plan { version, phase, giver: giver as u8, taker: taker as u8 };
            next.nodes[controller as usize].known = next.committed;
            next.refused = 0;
            next.guard = next.guard.max(guard);
            let next = self.heard(next, controller as usize);
            steps.push(|| format!("controller {controller} commits {}", said(next.committed)), next);
        };
        let (giver, taker) = (plan.giver as usize, plan.taker as usize);
        let onward = from.guard == 0 || self.with(Mistake::OnwardAtOnce);
        match plan.phase {
            Phase::Held => {
                for other in (0..NODES).filter(|other| *other != taker && from.nodes[*other].up) {
                    commit(Phase::Prepare, taker, other, 0);
                }
            }
            Phase::Prepare => {
                commit(Phase::Held, giver, giver, 0);
                if onward {
                    commit(Phase::Offered, giver, taker, 0);
                }
            }
            Phase::Offered => {
                commit(Phase::Aborted, giver, taker, 0);
                if from.takes & (1 << plan.version) != 0 {
                    commit(Phase::Held, giver, taker, UNTIL + MARGIN);
                }
            }
            Phase::Aborted => (),
        }
        for other in
            (0..NODES).filter(|other| *other != plan.holder() as usize || plan.phase == Phase::Aborted)
        {
            if onward && self.nobody_else(from, other) {
                commit(Phase::Held, other, other, 0);
            }
        }
    }

    /// S2, H4: nobody but `next` can have the address any more, by lease or by its own word.
    fn nobody_else(&self, from: &State, next: usize) -> bool {
        let plan = from.committed;
        let moving = plan.phase == Phase::Offered || plan.phase == Phase::Aborted;
        let taker_too = moving && !self.with(Mistake::ForgetTheTaker);
        let giver_too = plan.phase != Phase::Held && !(moving && self.with(Mistake::ForgetTheGiver));
        let may_have = |number: usize| {
            plan.holder() as usize == number && plan.phase == Phase::Held
                || plan.giver as usize == number && giver_too
                || plan.taker as usize == number && taker_too
        };
        let taker = plan.taker as usize;
        let careless = |number: usize| {
            number == taker && plan.phase == Phase::Aborted && self.with(Mistake::AbortWithoutWaiting)
        };
        let over = |number: usize| {
            let node = &from.nodes[number];
            // Its own report at the abort's epoch, by which it cannot take it again.
            let keeps = self.with(Mistake::KeepAfterAbort) && number == taker;
            let says =
                plan.phase == Phase::Aborted && node.up && node.known == plan && (!node.alias || keeps);
            from.granted[number] == 0 || says || careless(number)
        };
        (0..NODES).filter(|number| *number != next && may_have(*number)).all(over)
    }
}

impl Model for Handover {
    type State = State;

    /// Node 0 has the service, node 2 the office; everybody has a lease.
    fn begin(&self) -> Vec<State> {
        let plan = Plan { version: 1, phase: Phase::Held, giver: 0, taker: 0 };
        let node = Node { up: true, known: plan, lease: LEASE, alias: false, until: None };
        let mut nodes = [node; NODES];
        nodes[0].alias = true;
        let state = State {
            nodes,
            controller: 2,
            committed: plan,
            granted: [LEASE + MARGIN; NODES],
            refused: 0,
            guard: 0,
            offers: 0,
            takes: 0,
            ends: 0,
            both: 0,
            behind: 0,
        };
        vec![state, State { behind: 1, ..state }]
    }

    fn steps(&self, from: &State, steps: &mut Steps<State>) {
        let wrong = self.wrong_clock;
        steps.push(|| "a tick passes".into(), self.time(from, 1, from.behind));
        if from.behind == 0 {
            steps.push(|| format!("a tick passes, node {wrong} does not see it"), self.time(from, 0, 1));
        } else {
            steps.push(|| format!("a tick passes, node {wrong} sees two"), self.time(from, 2, 0));
        }
        for number in (0..NODES).filter(|number| from.nodes[*number].up) {
            self.node_steps(from, number, steps);
        }
        self.controller_steps(from, steps);
    }

    fn settle(&self, state: &mut State) {
        let newest = 1u16 << state.committed.version;
        let oldest = state.nodes.iter().filter(|node| node.up).map(|node| node.known.version).min();
        // An old TAKE_OVER counts only at its own version.
        let live = !((1u16 << oldest.unwrap_or_default()) - 1) | newest;
        state.takes &= live;
        if !self.with(Mistake::AnyInvitation) {
            state.offers &= live;
        }
        for (number, node) in state.nodes.iter_mut().enumerate() {
            // L7: who is behind gets none. A fresh lease is the worst that there can be.
            if node.up && node.known == state.committed && state.refused & (1 << number) == 0 {
                node.lease = LEASE;
                state.granted[number] = LEASE + MARGIN;
            }
        }
        if state.holders().count_ones() < 2 {
            state.both = 0;
        }
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let holders = state.holders();
        match holders.count_ones() {
            0 | 1 => None,
            3 => Some("P1: three nodes have the address"),
            2 if state.nodes.iter().all(|node| node.until.is_none()) => {
                Some("P1: two have the address and nobody noted `until`")
            }
            _ if holders != state.ends => Some("P1: two have the address that agreed on no handover"),
            _ => (state.both > UNTIL + 1).then_some("P1: a handover keeps two for too long"),
        }
    }

    fn reached(&self, state: &State) -> u32 {
        let (plan, holders) = (state.committed, state.holders());
        let alone = |node: u8| plan.phase == Phase::Held && plan.taker == node && holders == 1 << node;
        let marks = [
            holders == 0b011 && plan.phase == Phase::Offered,
            alone(1) && plan.giver == 0,
            plan.phase == Phase::Aborted,
            alone(0) && plan.version > 3,
            alone(2),
            state.controller != 2 && alone(1) && plan.giver == 0,
            !state.nodes[0].up && alone(1),
        ];
        bits(&marks)
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &[
            "both ends have the address for a moment",
            "a handover is completed",
            "a handover is aborted",
            "the old holder has it again after an abort",
            "a third has it in the end",
            "a second controller completes the handover",
            "the taker has it after the giver's death",
        ]
    }

    fn picture(&self, state: &State) -> String {
        let mut text = format!("{}, controller {} ", said(state.committed), state.controller);
        for (number, node) in state.nodes.iter().enumerate() {
            let alive = if node.up { "" } else { " dead" };
            let alias = if node.alias { " HAS IT" } else { "" };
            let (known, lease) = (node.known.version, node.lease);
            let _ = write!(text, "[{number}{alive}{alias}: version {known}, lease {lease}");
            if let Some(until) = node.until {
                let _ = write!(text, ", until {until}");
            }
            text.push_str("] ");
        }
        text
    }
}

fn said(plan: Plan) -> String {
    let Plan { version, phase, giver, taker } = plan;
    match phase {
        Phase::Held => format!("«{version}: held by {taker}»"),
        Phase::Prepare => format!("«{version}: prepare {giver} → {taker}»"),
        Phase::Offered => format!("«{version}: handover {giver} → {taker}»"),
        Phase::Aborted => format!("«{version}: abort {giver} → {taker}»"),
    }
}
