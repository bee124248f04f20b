//! Q2: half or fewer serve only while an arbiter, normally the gateway, answers ARP on the external link.
//!
//! ```text
//!   quiet ──half or fewer follow, or only suspicion lets it seem so──▶ asking ──answered──▶ again after T
//!     ▲                                                                  │  ▲  └─ not: again after p
//!     └──────────────── more than half again ────────────────────────────┘
//! ```
//! An arbiter promises nothing: it answers both sides of a cut that it is on. What it proves is that *this*
//! node's external link works, to the switch and back. So the root counts from the sending of the question,
//! as from the sending of a beat (L3), and whoever goes on with its help looks for longer (`look`).
//! An answer carries no number. It counts for the oldest question since that arbiter's answer before: never later
//! than the one that was answered.

use super::*;
use std::net::Ipv4Addr;

/// What this node's configuration makes of the quorum (Q1, Q2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// More than half, or nothing (`majority`).
    Majority,
    /// Half or fewer too (`none`; `auto` without an arbiter).
    Lenient,
    /// Half or fewer only with an arbiter's answer (`auto`).
    Arbitrated,
    /// However many: only with an arbiter's answer (`arbiter`).
    Arbiter,
}

/// Questions and answers.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    /// When the oldest question since its last answer was sent, for each arbiter that owes one.
    asked: BTreeMap<Ipv4Addr, Instant>,
    /// Questions since the last answer of any.
    unanswered: u32,
    /// Sending time of the newest question that counts as answered.
    answered: Instant,
    /// The next question.
    next: Instant,
}

/// So many questions go out every p; an arbiter that is silent for longer is asked every T.
const URGENT: u32 = 16;

impl Asking {
    pub fn new() -> Self {
        Asking { asked: BTreeMap::new(), unanswered: 0, answered: Instant::ZERO, next: Instant::ZERO }
    }
}

impl Controller {
    pub(super) fn rule(&self) -> Rule {
        let arbiters = !self.config.cluster.arbiter.is_empty();
        match self.config.cluster.quorum {
            Quorum::Majority => Rule::Majority,
            Quorum::None => Rule::Lenient,
            Quorum::Auto if arbiters => Rule::Arbitrated,
            Quorum::Auto => Rule::Lenient,
            Quorum::Arbiter => Rule::Arbiter,
        }
    }

    /// Half or fewer may go on at this moment, all others being known to be down.
    pub(super) fn may_go_alone(&self) -> bool {
        match self.rule() {
            Rule::Majority => false,
            Rule::Lenient => true,
            Rule::Arbitrated | Rule::Arbiter => {
                self.has_arbiter(self.clock) || self.planted(Planted::MinorityWithoutArbiter)
            }
        }
    }

    /// This configuration lets half or fewer go on under some condition.
    pub(super) fn knows_minorities(&self) -> bool {
        self.rule() != Rule::Majority
    }

    /// Two parts may have the same addresses, and meet.
    pub(super) fn minorities_may_meet(&self) -> bool {
        matches!(self.rule(), Rule::Lenient | Rule::Arbitrated)
    }

    /// An arbiter's answer stands behind this rule's minorities.
    pub(super) fn is_arbitrated(&self) -> bool {
        matches!(self.rule(), Rule::Arbitrated | Rule::Arbiter)
    }

    /// A question answered so lately that the root may rest on it.
    pub(super) fn has_arbiter(&self, now: Instant) -> bool {
        let answered = self.asking.answered;
        answered > Instant::ZERO && now < answered + self.root()
    }

    /// Under `arbiter`, of a node that this one finds down: the answer is to a question from after that, when both LANs were
    /// cut already, so that only this side of the cut has one. Both may have answers from before it.
    pub(super) fn arbiter_answered_since(&self, node: NodeId) -> bool {
        let verdict = self.suspicions.get(&node).and_then(|suspicion| suspicion.verdict);
        self.rule() != Rule::Arbiter
            || verdict.is_none_or(|at| self.asking.answered >= at)
            || self.planted(Planted::AnswerFromBeforeTheCut)
    }

    /// Somebody was found down since the question answered last: the next one goes out at once.
    fn owes_new_answer(&self) -> bool {
        self.suspicions.keys().any(|&node| !self.arbiter_answered_since(node))
    }

    /// This node found somebody down.
    pub(super) fn arbiter_after_verdict(&mut self, now: Instant) {
        if self.owes_new_answer() {
            self.asking.next = now;
        }
    }

    /// L3 with Q2: the time that backs the root, of the time of a majority and of the time at which everybody
    /// of whom nothing bad is known acknowledged.
    pub(super) fn arbitrate(&self, majority: Instant, calm: Instant) -> Instant {
        let answered = self.asking.answered;
        if self.planted(Planted::MinorityWithoutArbiter) {
            return majority.max(calm);
        }
        match self.rule() {
            Rule::Majority => majority,
            Rule::Lenient => majority.max(calm),
            Rule::Arbitrated => majority.max(calm.min(answered)),
            Rule::Arbiter => majority.max(calm).min(answered),
        }
    }

    /// Whether an arbiter's word matters now, or will if the present suspicions come true. A quiet majority
    /// asks nobody; under `arbiter` its controller alone does.
    fn wants_arbiter(&self, now: Instant) -> bool {
        if !self.is_arbitrated() || self.leaving.is_some() {
            return false;
        }
        if !self.is_member() {
            return now >= self.may_vote_at && !self.is_led(now);
        }
        let leads = self.office.is_some() || self.candidacy.is_some() || !self.suspicions.is_empty();
        if self.rule() == Rule::Arbiter && leads {
            return true;
        }
        // Asked with every packet: most are calm for certain in a big quiet cluster.
        let members = self.members().count();
        let doubtful = self.suspicions.len() + self.peers.values().filter(|peer| peer.may_be_over()).count();
        if members.saturating_sub(doubtful) > members / 2 {
            return false;
        }
        // Half or fewer are calm.
        self.members().filter(|&member| self.is_calm(member)).nth(members / 2).is_none()
    }

    pub(super) fn arbiter_view(&self, now: Instant) -> Option<ArbiterView> {
        self.is_arbitrated().then(|| match () {
            () if !self.wants_arbiter(now) => ArbiterView::NotAsked,
            () if self.has_arbiter(now) => ArbiterView::Answers,
            () => ArbiterView::Silent,
        })
    }

    pub(super) fn arbiter_timeout(&self) -> Instant {
        if self.wants_arbiter(self.clock) { self.asking.next } else { Instant::MAX }
    }

    /// After everything that happened: suspicion costs no time, because the question goes out with it.
    pub(super) fn settle_arbiter(&mut self, now: Instant) {
        if !self.wants_arbiter(now) {
            if self.asking.next > Instant::ZERO {
                self.asking = Asking { answered: self.asking.answered, ..Asking::new() };
            }
        } else if now >= self.asking.next {
            self.ask_arbiter(now);
        }
    }

    /// With a beat: so both count from the same moment, and no wake is needed for the question.
    pub(super) fn ask_arbiter_with_beat(&mut self, now: Instant) {
        if self.wants_arbiter(now) {
            self.ask_arbiter(now);
        }
    }

    fn ask_arbiter(&mut self, now: Instant) {
        let (t, p) = (self.timing.t, self.timing.p);
        let asking = &mut self.asking;
        for &arbiter in &self.config.cluster.arbiter {
            asking.asked.entry(arbiter).or_insert(now);
        }
        asking.unanswered = asking.unanswered.saturating_add(1);
        asking.next = now + if asking.unanswered > URGENT { t } else { p };
        self.effects.push_back(Effect::AskArbiter);
    }

    /// An arbiter answered: which question, nobody knows; not one before the oldest that it owes.
    pub(super) fn on_arbiter_answered(&mut self, now: Instant, arbiter: Ipv4Addr) {
        let (t, p) = (self.timing.t, self.timing.p);
        let Some(asked) = self.asking.asked.remove(&arbiter) else { return };
        let was_silent = self.asking.unanswered > 1 && now.since(asked) > p;
        if was_silent && !self.planted(Planted::LookCountsCutOff) {
            self.restart_looks(now);
        }
        self.asking.answered = self.asking.answered.max(asked);
        self.asking.unanswered = 0;
        // Counted from an old question it is worth nothing, and the next one is asked at once; else the beat
        // takes the next one with it, or, where there is none, its own time comes right after.
        self.asking.next = (asked + t + p / 8).max(now + p / 8);
        if !self.has_arbiter(now) || self.owes_new_answer() {
            self.asking.next = now;
        }
        self.dirty = true;
        self.renew_root(now);
        self.grant_pending(now);
    }
}
