//! How long a takeover took, step by step, as the new holder can know it: from the last sign of life that anybody
//! had, through the verdict and the agreed state, to the address on the card. Only for people.

use crate::controller::{Event, Input};
use crate::threads::receipts::Steps;
use crate::vocabulary::{Instant, NodeId};
use crate::wire::Packet;
use std::collections::BTreeMap;
use std::time::Duration;

/// What it remembers of one node that may be dead.
#[derive(Debug, Clone, Copy)]
struct Silence {
    /// The last sign of life, as far as it is known.
    since: Instant,
    /// When it was declared down.
    verdict: Option<Instant>,
}

/// Kept by the driver.
#[derive(Debug, Default)]
pub struct Stopwatch {
    heard: BTreeMap<NodeId, Instant>,
    silent: BTreeMap<NodeId, Silence>,
    committed: Option<Instant>,
}

impl Stopwatch {
    /// Before the controller sees it. `overdue`: how long a node was silent when it is suspected (D2).
    pub fn sees(&mut self, now: Instant, overdue: Duration, input: &Input) {
        let Input::Packet { header, packet } = input else { return };
        match packet {
            Packet::Suspect { suspect, .. } => self.silent(now, overdue, *suspect),
            Packet::FailDown { node, .. } => {
                self.silent(now, overdue, *node);
                self.verdict(now, *node);
            }
            // It says itself that it is gone: nothing had to be found out.
            Packet::Leave { .. } => {
                self.silent.insert(header.from, Silence { since: now, verdict: Some(now) });
            }
            _ => {
                self.heard.insert(header.from, now);
                self.silent.remove(&header.from);
            }
        }
    }

    /// What the controller says of it.
    pub fn happened(&mut self, now: Instant, overdue: Duration, event: &Event) {
        match event {
            Event::Suspected { node, .. } => self.silent(now, overdue, *node),
            Event::Down { node, .. } => {
                self.silent(now, overdue, *node);
                self.verdict(now, *node);
            }
            Event::Committed { .. } => self.committed = Some(now),
            _ => {}
        }
    }

    /// The steps of a takeover that is complete now. Of a planned move from a living node only the last.
    pub fn steps(&self, now: Instant, from: Option<NodeId>) -> Steps {
        let silence = from.and_then(|from| self.silent.get(&from));
        let committed = self.committed.filter(|&at| at <= now);
        // Who learns the verdict by the state that follows from it has no time of its own for it.
        let verdict =
            silence.and_then(|silence| silence.verdict).filter(|at| committed.is_some_and(|end| *at <= end));
        let detect = silence.and_then(|silence| verdict.or(committed).map(|end| end.since(silence.since)));
        Steps {
            detect,
            decide: verdict.and_then(|verdict| committed.map(|end| end.since(verdict))),
            claim: committed.map(|begin| now.since(begin)),
        }
    }

    fn silent(&mut self, now: Instant, overdue: Duration, node: NodeId) {
        let told = Instant::from_nanos(
            now.as_nanos().saturating_sub(u64::try_from(overdue.as_nanos()).unwrap_or(u64::MAX)),
        );
        let since = self.heard.get(&node).copied().unwrap_or(Instant::ZERO).max(told);
        self.silent.entry(node).or_insert(Silence { since, verdict: None });
    }

    fn verdict(&mut self, now: Instant, node: NodeId) {
        if let Some(silence) = self.silent.get_mut(&node) {
            silence.verdict.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::Why;
    use crate::vocabulary::{Epoch, Incarnation, LinkRole};
    use crate::wire::Header;

    const DEAD: NodeId = NodeId(2);
    const OVERDUE: Duration = Duration::from_millis(120);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos((10_000 + millis) * 1_000_000)
    }

    fn packet(from: NodeId, packet: Packet) -> Input {
        let (incarnation, epoch) = (Incarnation(1), Epoch::NONE);
        let header =
            Header { from, to: None, incarnation, sequence: 1, link: LinkRole::Internal, epoch, lineage: 0 };
        Input::Packet { header, packet }
    }

    fn suspect() -> Packet {
        Packet::Suspect { suspect: DEAD, incarnation: Incarnation(1), candidacy: None, nonce: 1 }
    }

    #[test]
    fn the_steps_of_a_takeover_follow_each_other() {
        let mut watch = Stopwatch::default();
        watch.sees(at(0), OVERDUE, &packet(DEAD, Packet::Hello { nonce: 1 }));
        watch.sees(at(125), OVERDUE, &packet(NodeId(3), suspect()));
        watch.sees(
            at(180),
            OVERDUE,
            &packet(NodeId(3), Packet::FailDown { node: DEAD, incarnation: Incarnation(1) }),
        );
        watch.happened(at(200), OVERDUE, &Event::Committed { epoch: Epoch::NONE });
        let ms = Duration::from_millis;
        let expected = Steps { detect: Some(ms(175)), decide: Some(ms(20)), claim: Some(ms(4)) };
        assert_eq!(
            watch.steps(at(204), Some(DEAD)),
            expected,
            "the watcher had heard it after this node did"
        );
        watch.sees(at(300), OVERDUE, &packet(DEAD, Packet::Hello { nonce: 2 }));
        let planned = Steps { detect: None, decide: None, claim: Some(ms(120)) };
        assert_eq!(watch.steps(at(320), Some(DEAD)), planned, "it lives");
    }

    #[test]
    fn a_goodbye_needs_no_detection_and_an_own_suspicion_counts() {
        let mut watch = Stopwatch::default();
        watch.sees(at(10), OVERDUE, &packet(DEAD, Packet::Leave { incarnation: Incarnation(1) }));
        watch.happened(at(13), OVERDUE, &Event::Committed { epoch: Epoch::NONE });
        assert_eq!(watch.steps(at(14), Some(DEAD)).detect, Some(Duration::ZERO));
        let mut watch = Stopwatch::default();
        watch.happened(at(150), OVERDUE, &Event::Suspected { node: DEAD, why: Why::HelloOverdue });
        watch.happened(at(200), OVERDUE, &Event::Committed { epoch: Epoch::NONE });
        let steps = watch.steps(at(201), Some(DEAD));
        assert_eq!((steps.detect, steps.decide), (Some(Duration::from_millis(170)), None));
    }
}
