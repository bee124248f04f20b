//! What happens when: a function of the seed, the number of servers and the length. PURE.
//!
//! *Acts* of overlapping faults with calm between them. An act has either processes that stop or die
//! while their kernel goes on answering, or an external LAN that is cut or loses packets, never both: then
//! nobody could see that kernel (ARCHITECTURE, "Why two leases cannot overlap", last but one line of its
//! table). And never so many servers at once that the rest is no majority: so somebody can serve at any time.

use crate::faults::Fault;
use crate::figures::Chance;
use crate::world::{Direction, Lan};
use std::time::Duration;

/// A fault, and when it is to begin and to end.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// What.
    pub fault: Fault,
    /// From the beginning of the schedule.
    pub begin: Duration,
    /// The same as `begin` for what only happens once.
    pub end: Duration,
}

/// What an act is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Processes,
    Wires,
}

/// A server is counted as no help for so long after its fault: it boots, waits out its promises (E5), joins.
/// Longer than `faults::VALID_LFT`: no kernel's lifetime reaches into what follows.
const RECOVERY: Duration = Duration::from_secs(3);
/// So many draws for one moment: an act that has no room for a fault goes on without.
const ATTEMPTS: u32 = 20;

/// The schedule: by beginning.
pub fn schedule(seed: u64, nodes: usize, length: Duration) -> Vec<Planned> {
    let mut draw = Draw { chance: Chance(seed), nodes, planned: Vec::new() };
    // The first moment shows a quiet cluster.
    let mut time = Duration::from_secs(1);
    loop {
        let act = if draw.chance.below(2) == 0 { Act::Processes } else { Act::Wires };
        let end = time + draw.between(10_000, 18_000);
        if end > length && !draw.planned.is_empty() {
            break;
        }
        while time < end {
            draw.add(act, time, end);
            time += draw.between(200, 3_500);
        }
        // Everything goes home, and no kernel's lifetime reaches into the next act.
        time = end + draw.between(4_000, 7_000);
    }
    draw.planned
}

struct Draw {
    chance: Chance,
    nodes: usize,
    planned: Vec<Planned>,
}

impl Draw {
    fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.chance.below(most - least))
    }

    /// One more fault that begins now and ends before the act does, if there is room.
    fn add(&mut self, act: Act, begin: Duration, act_end: Duration) {
        for _ in 0..ATTEMPTS {
            let (fault, length) = self.fault(act);
            let planned = Planned { fault, begin, end: (begin + length).min(act_end) };
            if self.has_room(&planned) {
                self.planned.push(planned);
                return;
            }
        }
    }

    fn fault(&mut self, act: Act) -> (Fault, Duration) {
        let node = self.chance.index(self.nodes);
        let other = (node + 1 + self.chance.index(self.nodes - 1)) % self.nodes;
        let direction =
            [Direction::Both, Direction::Both, Direction::In, Direction::Out][self.chance.index(4)];
        let one_way = self.chance.below(2) == 0;
        let lan = Lan::ALL[self.chance.index(2)];
        // In an act of processes the external LAN is whole.
        let lan = if act == Act::Processes { Lan::Internal } else { lan };
        let everybody = self.chance.below(3) == 0;
        let percent = u8::try_from(5 + self.chance.below(16)).expect("below 21");
        let (short, long) = (self.between(500, 4_000), self.between(1_000, 12_000));
        match (self.chance.below(20), act) {
            (0..=2, _) => (Fault::PowerCut(node), short),
            (3, _) => (Fault::Restart(node), short),
            (4, _) => (Fault::Reload(node), Duration::ZERO),
            (5, _) => (Fault::AliasDeleted(node), Duration::ZERO),
            (6, _) => (Fault::Busy(usize::try_from(self.chance.below(9)).expect("below 9") + 2), short),
            (7, _) => (Fault::SendsFail(node), short),
            (8, _) => (Fault::Loss((!everybody).then_some(node), lan, percent), short),
            (9..=10, Act::Processes) => (Fault::Cut(node, lan, direction), short),
            (11, Act::Processes) => (Fault::Pair(node, other, Some(lan), one_way), short),
            (12..=13, Act::Processes) => (Fault::KillWorker(node), short),
            (14, Act::Processes) => (Fault::KillGuardian(node), short),
            (15, Act::Processes) => (Fault::KillWhole(node), short),
            (16, Act::Processes) => (Fault::StopWorker(node), long),
            (17..=18, Act::Processes) => (Fault::StopWhole(node), long),
            (_, Act::Processes) => (Fault::StopEverything(node), long),
            (9..=12, Act::Wires) => (Fault::Cut(node, lan, direction), short),
            (13..=15, Act::Wires) => (Fault::CutBoth(node, direction), short),
            (16..=18, Act::Wires) => {
                let lan = [None, Some(Lan::External), Some(Lan::Internal)][self.chance.index(3)];
                (Fault::Pair(node, other, lan, one_way), short)
            }
            (_, Act::Wires) => (Fault::CarrierLost(node), short),
        }
    }

    /// One fault a server at a time, one of a kind for everybody, and a majority that nothing happens to.
    fn has_room(&self, new: &Planned) -> bool {
        let near: Vec<&Planned> = self
            .planned
            .iter()
            .filter(|old| old.begin <= new.end + RECOVERY && new.begin <= old.end + RECOVERY)
            .collect();
        let mine = touched(&new.fault);
        if near.iter().any(|old| touched(&old.fault).iter().any(|node| mine.contains(node))) {
            return false;
        }
        let unseen = |one: &Fault, other: &Fault| one.leaves_a_kernel() && other.blinds_the_look();
        if near.iter().any(|old| unseen(&old.fault, &new.fault) || unseen(&new.fault, &old.fault)) {
            return false;
        }
        let for_all = |planned: &Planned| mine.is_empty() && touched(&planned.fault).is_empty();
        if near.iter().any(|old| for_all(old) && old.fault.class() == new.fault.class()) {
            return false;
        }
        let disabled = near.iter().filter(|old| old.fault.disables()).count();
        !new.fault.disables() || disabled < (self.nodes - 1) / 2
    }
}

/// The servers that it concerns.
fn touched(fault: &Fault) -> Vec<usize> {
    match *fault {
        Fault::Pair(one, other, ..) => vec![one, other],
        _ => fault.node().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests;
