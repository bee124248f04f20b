//! The faults of a run as a script: written down as they are drawn, and played again with some of them left out.
//!
//! A seed is one story: without one of its faults everything after it would be drawn otherwise. So each cue keeps the chance
//! as it was when the fault was drawn, and is played with that, whatever has become of the rest. As long as nothing was left
//! out the story is the same to the last datagram. Written and played by the world; `shrink` chooses.

use super::clock::Nanos;
use super::plan::{Class, Plan};
use super::random::Random;
use std::collections::BTreeSet;
use std::rc::Rc;

/// A fault as it was drawn.
#[derive(Debug, Clone)]
pub struct Cue {
    /// In which phase of faults, from 1.
    pub round: u32,
    /// How long after that began.
    pub after: Nanos,
    /// What.
    pub class: Class,
    /// Chance when it was drawn.
    pub before: Random,
    /// And then, the pause to the next one of its class drawn as well.
    pub behind: Random,
}

/// A small ill that goes on all the time while faults are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ill {
    /// Of both LANs.
    Loss,
    /// Of both LANs.
    Duplication,
    /// Of both LANs.
    Reordering,
    /// Of both LANs.
    Delay,
    /// Alias calls that fail or report late.
    Alias,
    /// Records that fail or are slow.
    Disk,
    /// Commands that fail or are slow.
    Script,
    /// Timeouts that fire late.
    Busy,
    /// Garbled and replayed datagrams.
    Garbage,
    /// Clocks of different rate.
    Drift,
    /// ARP probes that leave late.
    SlowFaker,
}

impl Ill {
    /// All of them.
    pub const ALL: [Ill; 11] = [
        Ill::Loss,
        Ill::Duplication,
        Ill::Reordering,
        Ill::Delay,
        Ill::Alias,
        Ill::Disk,
        Ill::Script,
        Ill::Busy,
        Ill::Garbage,
        Ill::Drift,
        Ill::SlowFaker,
    ];

    /// On the command line.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    fn is_in(self, plan: &Plan) -> bool {
        let mut other = plan.clone();
        self.leave_out(&mut other);
        (other.weather, other.ills, other.drift_ppm) != (plan.weather, plan.ills, plan.drift_ppm)
    }

    fn leave_out(self, plan: &mut Plan) {
        let ills = &mut plan.ills;
        for weather in &mut plan.weather {
            match self {
                Ill::Loss => weather.loss = 0,
                Ill::Duplication => weather.duplication = 0,
                Ill::Reordering => weather.reordering = 0,
                Ill::Delay => weather.delay = 0,
                Ill::Alias => (ills.alias_fails, ills.alias_slow) = (0, 0),
                Ill::Disk => (ills.disk_fails, ills.disk_slow) = (0, 0),
                Ill::Script => (ills.script_fails, ills.script_slow) = (0, 0),
                Ill::Busy => ills.busy = 0,
                Ill::Garbage => (ills.garbled, ills.replayed) = (0, 0),
                Ill::Drift => plan.drift_ppm = 0,
                Ill::SlowFaker => ills.slow_faker = 0,
            }
        }
    }
}

/// What is played of a script.
#[derive(Debug, Clone)]
pub struct Script {
    /// All that was drawn.
    pub cues: Rc<[Cue]>,
    /// Those that are played, by number.
    pub only: BTreeSet<usize>,
    /// What is spared.
    pub without: Vec<Ill>,
    /// Where the story becomes another one, chance goes on by this; 0: as it was.
    pub chance: u64,
}

impl Script {
    /// All of it.
    pub fn whole(cues: Vec<Cue>) -> Self {
        Script { only: (0..cues.len()).collect(), cues: cues.into(), without: Vec::new(), chance: 0 }
    }

    /// The plan without what is spared.
    pub fn apply(&self, plan: &mut Plan) {
        self.without.iter().for_each(|ill| ill.leave_out(plan));
    }

    /// The ills of this plan that could still be spared.
    pub fn ills(&self, plan: &Plan) -> Vec<Ill> {
        Ill::ALL.into_iter().filter(|ill| !self.without.contains(ill) && ill.is_in(plan)).collect()
    }
}
