//! D: HELLO round the ring, suspicion, probes, verdict (paper, algorithms 1 and 3).
//!
//! ```text
//!            silent for T + g, or three HELLO unanswered,       more than hello_misses
//!            or absent from a roll call, or told                rounds of probes unanswered
//!   calm ───────────────────────────────────────▶ suspect ──────────────────────────▶ FAIL_DOWN
//!     ▲                                              │
//!     └── heard first-hand, or a witness heard it ───┘
//! ```

use super::*;
use crate::wire::Header;
use std::collections::BTreeSet;

mod roll_call;

/// So many FAIL_DOWN a node repeats in one p (in two T, once a suspect is asked every T only).
const REPEATED_AT_ONCE: usize = 4;

/// The two neighbours and what is due to them.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    pub left: Option<NodeId>,
    pub right: Option<NodeId>,
    next_hello: Instant,
    /// The HELLO that waits for its acknowledgement: when it was sent first.
    hello_sent: Option<Instant>,
    /// The newest HELLO: its nonce, and when it was sent. For people alone.
    hello_timed: Option<(u64, Instant)>,
    next_resend: Instant,
    resends: u32,
    /// D2: being put on watch is no evidence of life.
    watch_since: Instant,
    /// This node hears nobody, and has said so: it suspects itself.
    cut_off: bool,
}

/// A member that is silent.
#[derive(Debug, Clone)]
pub(super) struct Suspicion {
    pub incarnation: Incarnation,
    pub since: Instant,
    /// This node asks it (watcher, controller, deputies: D3).
    probing: bool,
    probes: u32,
    next_probe: Instant,
    /// D6: when this node came to its own verdict.
    pub verdict: Option<Instant>,
    /// Others with a verdict (D7).
    pub others: BTreeSet<NodeId>,
    /// Of the SUSPECT sent last.
    nonce: u64,
    /// Who answered the roll call since this suspicion began.
    present: BTreeSet<NodeId>,
    /// This node raised it: it repeats SUSPECT.
    raised: bool,
    /// When it called the roll first.
    asked: Option<Instant>,
}

/// D4: an answer that waits for its turn.
#[derive(Debug, Clone)]
pub(super) struct PendingRollCall {
    due: Instant,
    to: NodeId,
    suspect: NodeId,
    nonce: u64,
}

impl Ring {
    pub fn new() -> Self {
        Ring {
            left: None,
            right: None,
            next_hello: Instant::MAX,
            hello_sent: None,
            hello_timed: None,
            next_resend: Instant::MAX,
            resends: 0,
            watch_since: Instant::ZERO,
            cut_off: false,
        }
    }
}

impl Controller {
    /// A node that has heard nobody since then suspects itself: the others may all be well. It declares nobody
    /// down, and its lease fences it. Where half or fewer may go on, nobody else may be left.
    fn hears_nobody(&self, since: Instant) -> bool {
        let heard = |node: NodeId| node != self.me && self.heard(node) >= since;
        !self.may_go_alone() && !self.members().any(heard)
    }

    /// Known to be down: it said goodbye, or this node has the verdict and (where others live who can see
    /// it too) one other has it as well (D7).
    pub(super) fn is_down(&self, node: NodeId) -> bool {
        // Before the first state it is no member, and yet alive: else who founds alone never has a root.
        if node == self.me {
            return false;
        }
        let Some(member) = self.committed.as_ref().and_then(|state| state.member(node)) else {
            return !self.is_present(node);
        };
        if self.is_over(node, member.incarnation) {
            return true;
        }
        let Some(suspicion) = self.suspicions.get(&node) else { return false };
        suspicion.verdict.is_some() && (!suspicion.others.is_empty() || !self.has_second_observer(node))
    }

    /// Somebody besides this node and the suspect lives and could see it too.
    fn has_second_observer(&self, suspect: NodeId) -> bool {
        self.members().any(|node| {
            node != self.me && node != suspect && !self.suspicions.contains_key(&node) && !self.has_gone(node)
        })
    }

    fn has_gone(&self, node: NodeId) -> bool {
        let member = self.committed.as_ref().and_then(|state| state.member(node));
        member.is_some_and(|member| self.is_over(node, member.incarnation))
    }

    /// That life of that node has ended by its own word: a goodbye, or the first word of its next life
    /// (which comes only when nothing of the old one is left, J1).
    pub(super) fn is_over(&self, node: NodeId, incarnation: Incarnation) -> bool {
        let next =
            self.peers.get(&node).is_some_and(|peer| peer.incarnation > incarnation && peer.boot.is_some());
        next || self.has_left(node, incarnation)
    }

    /// Not a member, but talking.
    pub(super) fn is_present(&self, node: NodeId) -> bool {
        let boot = self.peers.get(&node).and_then(|peer| peer.boot.as_ref());
        boot.is_some_and(|(at, _)| self.clock.since(*at) <= self.timing.t * 5)
    }

    /// A member of whom nothing bad is known.
    pub(super) fn is_calm(&self, node: NodeId) -> bool {
        node == self.me || (!self.suspicions.contains_key(&node) && !self.has_gone(node))
    }

    /// Silent as far as this node knows, or as others said within the last rounds of probes: reason enough
    /// to look whether its addresses are still answered for.
    pub(super) fn is_doubtful(&self, node: NodeId) -> bool {
        let told = self.rumours.get(&node).is_some_and(|at| self.clock.since(*at) <= self.timing.p * 4);
        told || !self.is_calm(node)
    }

    pub(super) fn detector_timeout(&self) -> Instant {
        let mut next = Instant::MAX;
        if self.ring.right.is_some() {
            next = next.min(self.ring.next_hello).min(self.ring.next_resend);
        }
        if let Some(left) = self.ring.left
            && self.is_calm(left)
        {
            next = next.min(self.left_due(left));
        }
        for suspicion in self.suspicions.values() {
            next = next.min(suspicion.next_probe);
        }
        self.roll_calls.iter().map(|call| call.due).min().map_or(next, |due| next.min(due))
    }

    /// D2: silent for more than T + g since max(first-hand receipt, watch_since).
    fn left_due(&self, left: NodeId) -> Instant {
        let quiet = self.timing.t + self.timing.g;
        let patience = if self.peers.get(&left).is_some_and(|peer| peer.path_fault) {
            quiet + self.timing.t
        } else {
            quiet
        };
        self.heard(left).max(self.ring.watch_since) + patience
    }

    pub(super) fn detector_tick(&mut self, now: Instant) {
        self.answer_roll_calls(now);
        if !self.is_member() {
            return;
        }
        if let Some(right) = self.ring.right {
            if now >= self.ring.next_hello {
                let late = now.since(self.ring.next_hello) > self.timing.t;
                self.ring.next_hello = if late { now } else { self.ring.next_hello } + self.timing.t;
                self.hello(now, right, true);
            } else if now >= self.ring.next_resend {
                self.resend_hello(now, right);
            }
        }
        if let Some(left) = self.ring.left
            && self.is_calm(left)
            && now >= self.left_due(left)
        {
            self.suspect(now, left, Why::HelloOverdue);
        }
        let due: Vec<NodeId> = self
            .suspicions
            .iter()
            .filter(|(_, suspicion)| now >= suspicion.next_probe)
            .map(|(&node, _)| node)
            .collect();
        for node in due {
            self.probe(now, node);
        }
    }

    fn hello(&mut self, now: Instant, right: NodeId, first: bool) {
        let nonce = self.nonce();
        if first {
            self.ring.hello_sent = Some(now);
            self.ring.resends = 0;
        }
        self.ring.next_resend = if self.is_calm(right) { now + self.timing.p } else { Instant::MAX };
        self.ring.hello_timed = Some((nonce, now));
        self.tell(right, Packet::Hello { nonce });
    }

    /// The round trip, for people: from the sending of a HELLO to the first of its acknowledgements. Nothing decides on it.
    pub(super) fn on_hello_ack(&mut self, now: Instant, from: NodeId, nonce: u64) {
        let Some((_, sent)) = self.ring.hello_timed.take_if(|(asked, _)| *asked == nonce) else { return };
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.round_trip = Some(now.since(sent));
        }
    }

    /// The beat is there, or goes out: HELLO goes with it, in the same wake. Nobody is a quarter of T early for
    /// it twice in a row; a beat that is late or lost leaves HELLO to its own deadline, p/8 after it.
    pub(super) fn hello_with_beat(&mut self, now: Instant) {
        let Some(right) = self.ring.right else { return };
        let quarter = self.timing.t / 4;
        if self.ring.hello_sent.is_some_and(|sent| now.since(sent) < quarter) {
            // Out of step: it is in step by the beat after the next.
            self.ring.next_hello = self.ring.next_hello.min(now + quarter * 2);
            return;
        }
        self.ring.next_hello = now + self.timing.t + self.timing.p / 8;
        self.hello(now, right, true);
    }

    /// D1: resent every p; after two resends the left side suspects as well.
    fn resend_hello(&mut self, now: Instant, right: NodeId) {
        let sent = self.ring.hello_sent.unwrap_or(now);
        if self.heard(right) >= sent {
            self.ring.next_resend = Instant::MAX;
            return;
        }
        if self.ring.resends >= 2 {
            self.ring.next_resend = Instant::MAX;
            let known = self.peers.get(&right).is_some_and(|peer| peer.path_fault) || self.is_mute();
            if self.is_calm(right) && self.heard(right).max(self.ring.watch_since) < sent && !known {
                self.suspect(now, right, Why::HelloUnanswered);
            }
            return;
        }
        self.ring.resends += 1;
        self.hello(now, right, false);
    }

    /// Raises a suspicion: everything that follows happens at once, so that no step waits for another.
    pub(super) fn suspect(&mut self, now: Instant, node: NodeId, why: Why) {
        let Some(member) = self.committed.as_ref().and_then(|state| state.member(node)).copied() else {
            return;
        };
        if node == self.me || !self.is_member() {
            return;
        }
        if let Some(known) = self.suspicions.get_mut(&node) {
            if !known.raised && why != Why::FailDown {
                known.raised = true;
            }
            return;
        }
        let told = matches!(why, Why::FailDown | Why::Witness);
        let suspicion = Suspicion {
            incarnation: member.incarnation,
            since: now,
            probing: true,
            probes: 0,
            next_probe: now,
            verdict: None,
            others: BTreeSet::new(),
            nonce: 0,
            present: BTreeSet::new(),
            raised: !told,
            asked: None,
        };
        self.suspicions.insert(node, suspicion);
        self.event(Event::Suspected { node, why });
        self.dirty = true;
        self.stirred = true;
        self.look_for_suspects(now);
        self.probe(now, node);
    }

    /// D3, D6: one round: SUSPECT to all, IP_CHECK to the suspect, every p/2 on all links. A round of p is
    /// unanswered when both its probes are.
    fn probe(&mut self, now: Instant, node: NodeId) {
        let half = self.timing.p / 2;
        let misses = self.config.cluster.hello_misses;
        let nonce = self.nonce();
        let Some(since) = self.suspicions.get(&node).map(|suspicion| suspicion.since) else { return };
        let (cut_off, mute) = (self.hears_nobody(since), self.is_mute());
        let (place, turns) = self.turn_of(node);
        let Some(suspicion) = self.suspicions.get_mut(&node) else { return };
        if mute && suspicion.verdict.is_none() {
            // An own fault is no silence of the other side.
            suspicion.since = now;
            suspicion.probes = 0;
        }
        let incarnation = suspicion.incarnation;
        let enough = suspicion.probes >= 2 * (misses + 1)
            && now.since(suspicion.since) >= self.timing.p * (misses + 1);
        let mut fresh = false;
        let doubts_itself = enough && cut_off && suspicion.verdict.is_none();
        if enough && suspicion.verdict.is_none() && !cut_off {
            suspicion.verdict = Some(now);
            fresh = true;
            let after = now.since(suspicion.since);
            self.effects.push_back(Effect::Event(Event::Down { node, incarnation, after }));
            self.dirty = true;
        }
        suspicion.probes = suspicion.probes.saturating_add(1);
        // The first rounds are quick; a suspect that nobody may remove is asked every T for ever.
        let settled = suspicion.probes > 16 * (misses + 1) || doubts_itself;
        suspicion.next_probe = now + if settled { self.timing.t } else { half };
        let again =
            suspicion.probes % 2 == 1 && (suspicion.probes as usize / 2 + place).is_multiple_of(turns);
        let verdict = suspicion.verdict.is_some();
        let raised = suspicion.raised;
        suspicion.nonce = nonce;
        if suspicion.probing {
            self.tell(node, Packet::IpCheck { nonce, boot: None });
        }
        if doubts_itself && !std::mem::replace(&mut self.ring.cut_off, true) {
            self.event(Event::HearsNobody);
        }
        if raised && !verdict && !doubts_itself {
            let packet = Packet::Suspect { suspect: node, incarnation, candidacy: None, nonce };
            self.spread_suspicion(now, node, packet);
        }
        if fresh {
            self.arbiter_after_verdict(now);
        }
        if verdict && (again || fresh) {
            self.tell_all(Packet::FailDown { node, incarnation });
        }
        self.roll_call_absent(now, node);
    }

    /// FAIL_DOWN is repeated every p for a few. Where half a cluster is cut off each node has a verdict on dozens, and
    /// some for good: they take turns, and the LAN does not drown in what is long known.
    fn turn_of(&self, node: NodeId) -> (usize, usize) {
        let down = self.suspicions.iter().filter(|(_, suspicion)| suspicion.verdict.is_some());
        let (before, all) = down
            .fold((0, 0_usize), |(before, all), (&other, _)| (before + usize::from(other < node), all + 1));
        (before, all.div_ceil(REPEATED_AT_ONCE).max(1))
    }

    /// D6: somebody has the verdict. It implies SUSPECT for who missed that.
    pub(super) fn on_fail_down(&mut self, now: Instant, from: NodeId, node: NodeId, life: Incarnation) {
        let known = self.committed.as_ref().and_then(|state| state.member(node));
        if node == self.me || known.is_none_or(|member| member.incarnation != life) {
            return;
        }
        if !self.suspicions.contains_key(&node) {
            // Who hears it itself is a witness and says so.
            if now.since(self.heard(node)) <= self.timing.p {
                return self.roll_call(now, from, node, 0, Duration::ZERO);
            }
            if self.is_observer(node) {
                self.suspect(now, node, Why::FailDown);
            }
        }
        if let Some(suspicion) = self.suspicions.get_mut(&node)
            && suspicion.others.insert(from)
        {
            self.dirty = true;
        }
    }

    /// First-hand receipt: the only real evidence of life.
    pub(super) fn heard_from(&mut self, now: Instant, header: &Header) {
        let peer = self.peers.entry(header.from).or_insert_with(|| Peer::unknown(header.incarnation));
        if header.incarnation > peer.incarnation {
            peer.incarnation = header.incarnation;
            peer.boot = None;
            peer.left = None;
            peer.state_sent = Instant::ZERO;
        }
        peer.heard = now;
        self.ring.cut_off = false;
        self.rumours.remove(&header.from);
        peer.path_fault = false;
        peer.heard_on[link_index(header.link)] = now;
        if self.ring.right == Some(header.from) {
            // D1: it has answered, or spoken: no resend to wake up for.
            self.ring.next_resend = Instant::MAX;
        }
        if self.suspicions.contains_key(&header.from) {
            self.clear(now, header.from, header.incarnation, Why::Heard);
        }
    }

    fn clear(&mut self, now: Instant, node: NodeId, life: Incarnation, why: Why) {
        let Some(suspicion) = self.suspicions.get(&node) else { return };
        if life < suspicion.incarnation {
            return;
        }
        self.suspicions.remove(&node);
        if self.ring.left == Some(node) {
            self.ring.watch_since = now;
        }
        self.dirty = true;
        self.stirred = true;
        self.event(Event::Cleared { node, why });
    }

    /// D5: this node slept. Silence in that time counts for nothing: every timer starts again.
    pub(super) fn on_late(&mut self, now: Instant, by: Duration) {
        self.event(Event::Late { by });
        self.ring.watch_since = now;
        self.ring.hello_sent = None;
        self.ring.next_resend = Instant::MAX;
        for suspicion in self.suspicions.values_mut().filter(|suspicion| suspicion.verdict.is_none()) {
            suspicion.since = now;
            suspicion.probes = 0;
            suspicion.present.clear();
        }
        if by > self.timing.promise {
            for suspicion in self.suspicions.values_mut() {
                suspicion.since = now;
                suspicion.probes = 0;
                suspicion.verdict = None;
                suspicion.others.clear();
            }
        }
        self.serving_late(now, by);
    }

    /// Another T: no neighbour is late by it that was not by the one before.
    pub(super) fn restart_intervals(&mut self, now: Instant) {
        self.ring.watch_since = now;
        if self.ring.right.is_some() {
            self.ring.next_hello = self.ring.next_hello.min(now + self.timing.t);
        }
    }

    /// Algorithm 3: the ring of the new state; I_AM_LEFT / I_AM_RIGHT to new neighbours.
    pub(super) fn ring_changed(&mut self, now: Instant, old: Option<&State>) {
        let Some(state) = self.committed.clone() else { return };
        self.suspicions.retain(|&node, suspicion| {
            state.member(node).is_some_and(|member| member.incarnation == suspicion.incarnation)
        });
        for member in &state.members {
            let before = old.and_then(|old| old.member(member.id));
            if before.is_none_or(|before| before.incarnation != member.incarnation) && member.id != self.me {
                self.event(Event::Joined { node: member.id, incarnation: member.incarnation });
                // It learns at once what only STATUS says (F1: the hardware address); not from all at the same moment.
                let soon = now + self.timing.p * (self.nonce() % 256) as u32 / 256;
                self.next_status = self.next_status.min(soon);
            }
        }
        for member in &state.members {
            if let Some(peer) = self.peers.get_mut(&member.id)
                && peer.incarnation <= member.incarnation
            {
                peer.boot = None;
            }
        }
        for gone in old.iter().flat_map(|old| &old.members).filter(|gone| state.member(gone.id).is_none()) {
            self.event(Event::Left { node: gone.id });
            if let Some(peer) = self.peers.get_mut(&gone.id) {
                peer.path_fault = false;
                peer.status = None;
            }
        }
        let (left, right) =
            if self.is_member() { (state.left_of(self.me), state.right_of(self.me)) } else { (None, None) };
        if left != self.ring.left {
            self.ring.left = left;
            self.ring.watch_since = now;
            if let Some(left) = left {
                self.tell(left, Packet::IAmRight);
            }
        }
        if right != self.ring.right {
            self.ring.right = right;
            self.ring.hello_sent = None;
            self.ring.next_resend = Instant::MAX;
            if let Some(right) = right {
                self.tell(right, Packet::IAmLeft);
                // Within T of the last HELLO, whoever it went to: the new neighbour waits no longer than that.
                if self.ring.next_hello > now + self.timing.t {
                    self.ring.next_hello = now;
                }
            } else {
                self.ring.next_hello = Instant::MAX;
            }
        }
    }

    /// I_AM_LEFT, I_AM_RIGHT: the neighbour is new to its place, and knows nothing yet.
    pub(super) fn on_neighbour(&mut self, now: Instant, from: NodeId) {
        if self.ring.left == Some(from) {
            self.ring.watch_since = now;
        }
    }
}

impl Peer {
    /// Without a goodbye or the first word of another life none of its lives is over by its own word.
    pub fn may_be_over(&self) -> bool {
        self.left.is_some() || self.boot.is_some()
    }

    pub fn unknown(incarnation: Incarnation) -> Self {
        Peer {
            incarnation,
            heard: Instant::ZERO,
            heard_on: [Instant::ZERO; 2],
            round_trip: None,
            status: None,
            mac: None,
            boot: None,
            left: None,
            let_go: Instant::ZERO,
            answers: false,
            in_order: false,
            follows: None,
            state_sent: Instant::ZERO,
            nack_sent: [Instant::ZERO; 2],
            path_fault: false,
        }
    }
}

pub(super) fn link_index(role: LinkRole) -> usize {
    match role {
        LinkRole::Internal => 0,
        LinkRole::External => 1,
    }
}
