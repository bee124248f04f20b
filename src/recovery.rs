//! The recovery manager's decisions (paper, chapter 3): what a check's results mean, and which step of its policy comes next.
//!
//! Pure like the protocol core: results, times and configuration come in, steps go out. The thread `checks` runs
//! the checks, owns their ladders, and has the steps taken; `timetable` says when each check runs.
//!
//! ```text
//!   result ──▶ in a row: `fail` bad ⇒ failing, `rise` good ⇒ well ──▶ ladder ──▶ step
//!                                                     alert · restart:N/WINDOW · move · standby · reboot
//! ```
//! Each time that `fail` results in a row are bad, one step is taken: the first of the policy that still has a
//! budget. Then the count begins anew, so that every step has the time to show whether it helped. A step that was
//! taken is not taken again before `forget` is over (a restart: before its window is). A node that does not hold the
//! service takes no step: its failing check makes it a bad place for the service, and nothing else.

use crate::config::{Check, PolicyStep};
use crate::vocabulary::Instant;
use std::collections::VecDeque;
use std::time::Duration;

mod timetable;
pub use timetable::{Timetable, timetables};

/// What one run of a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Is it well?
    pub well: bool,
    /// Why, for people: one line.
    pub message: String,
    /// No more evidence is needed: the process is gone, the carrier lost. Counts as `fail` results in a row.
    pub certain: bool,
    /// It is well, and somebody should look.
    pub warning: bool,
    /// What a plugin measured, as it wrote it (`time=0.1s;1;2`).
    pub performance: Option<String>,
}

impl Finding {
    /// It is well.
    pub fn well(message: impl Into<String>) -> Self {
        Finding { well: true, message: message.into(), certain: false, warning: false, performance: None }
    }

    /// It is well for now: somebody should look.
    pub fn warns(message: impl Into<String>) -> Self {
        Finding { warning: true, ..Finding::well(message) }
    }

    /// It is not, as far as one look can tell.
    pub fn bad(message: impl Into<String>) -> Self {
        Finding { well: false, ..Finding::well(message) }
    }

    /// It is not, beyond doubt.
    pub fn gone(message: impl Into<String>) -> Self {
        Finding { certain: true, ..Finding::bad(message) }
    }

    /// The same, with what was measured.
    pub fn measured(self, performance: Option<String>) -> Self {
        Finding { performance, ..self }
    }
}

/// How a check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// Not enough results yet.
    #[default]
    Unknown,
    /// The last word was `rise` good results in a row, or the first ones were good.
    Well,
    /// The last word was `fail` bad results in a row.
    Failing,
}

/// What comes out of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing new.
    Nothing,
    /// It is well again (or for the first time, after failing).
    Recovered,
    /// It fails; this step of its policy is due.
    Step(PolicyStep),
    /// It fails, and no step of its policy has a budget left. Said once for each failure.
    Exhausted,
}

/// What was counted and tried so far: for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Bad results in a row since the last step.
    pub bad_in_a_row: u32,
    /// The steps of the policy, in its order.
    pub steps: Vec<Tried>,
}

/// How much of a step's budget is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Which.
    pub step: PolicyStep,
    /// How often it was taken, as far as that is not forgotten.
    pub used: u32,
    /// How often it may be.
    pub of: u32,
    /// When the oldest of these is forgotten; `None`: there is none.
    pub forgotten: Option<Instant>,
}

/// One check's memory.
#[derive(Debug, Clone)]
pub struct Ladder {
    standing: Standing,
    bad_in_a_row: u32,
    good_in_a_row: u32,
    /// When restarts were begun, within the longest window of the policy.
    restarts: VecDeque<Instant>,
    /// When each step of the policy other than a restart was taken last.
    taken: Vec<Option<Instant>>,
    /// People know that nothing is left to try.
    exhausted: bool,
    /// What the last result said.
    message: String,
    /// Since when it stands as it does.
    since: Instant,
}

impl Ladder {
    /// Of a check that was never run.
    pub fn new(check: &Check, now: Instant) -> Self {
        Ladder {
            standing: Standing::Unknown,
            bad_in_a_row: 0,
            good_in_a_row: 0,
            restarts: VecDeque::new(),
            taken: vec![None; check.policy.len()],
            exhausted: false,
            message: String::new(),
            since: now,
        }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Since when.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What the last result said.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Bad results in a row since the last step.
    pub fn bad_in_a_row(&self) -> u32 {
        self.bad_in_a_row
    }

    /// What was counted, and how much of each step's budget is used.
    pub fn tally(&self, check: &Check, forget: Duration, now: Instant) -> Tally {
        let steps = check.policy.iter().zip(&self.taken).map(|(&step, taken)| {
            if let PolicyStep::Restart { times, window } = step {
                let mut recent = self.restarts.iter().filter(|&&at| now.since(at) < window).peekable();
                let forgotten = recent.peek().map(|&&oldest| oldest + window);
                let used = u32::try_from(recent.count()).unwrap_or(u32::MAX);
                return Tried { step, used, of: times, forgotten };
            }
            let forgotten = taken.map(|at| at + forget).filter(|&at| at > now);
            Tried { step, used: u32::from(forgotten.is_some()), of: 1, forgotten }
        });
        Tally { bad_in_a_row: self.bad_in_a_row, steps: steps.collect() }
    }

    /// Forgets how it stood, not what was done about it: the service came here, or went, and what the check
    /// said before is about something else. `message` says what people shall read until the next result.
    pub fn begin_anew(&mut self, now: Instant, message: impl Into<String>) {
        self.standing = Standing::Unknown;
        self.since = now;
        self.message = message.into();
        self.forgive();
    }

    /// What was counted was about a server that has been restarted since.
    pub fn forgive(&mut self) {
        self.bad_in_a_row = 0;
        self.good_in_a_row = 0;
    }

    /// A result that counts for nothing: the service is being started, or a step needs its time.
    pub fn overhear(&mut self, message: impl Into<String>) {
        self.message = message.into();
    }

    /// Takes a result in; says what is to be done. `may_act`: steps are this node's to take.
    pub fn take(
        &mut self,
        check: &Check,
        forget: Duration,
        now: Instant,
        finding: Finding,
        may_act: bool,
    ) -> Outcome {
        self.message = finding.message;
        if finding.well {
            return self.good(check, now);
        }
        self.good_in_a_row = 0;
        self.bad_in_a_row = if finding.certain { check.fail } else { self.bad_in_a_row + 1 };
        if self.bad_in_a_row < check.fail {
            return Outcome::Nothing;
        }
        self.bad_in_a_row = 0;
        if self.standing != Standing::Failing {
            self.standing = Standing::Failing;
            self.since = now;
        }
        if may_act { self.next_step(check, forget, now) } else { Outcome::Nothing }
    }

    fn good(&mut self, check: &Check, now: Instant) -> Outcome {
        self.bad_in_a_row = 0;
        self.good_in_a_row = self.good_in_a_row.saturating_add(1);
        match self.standing {
            Standing::Unknown => {
                self.standing = Standing::Well;
                self.since = now;
                Outcome::Nothing
            }
            Standing::Failing if self.good_in_a_row >= check.rise => {
                self.standing = Standing::Well;
                self.since = now;
                self.exhausted = false;
                Outcome::Recovered
            }
            Standing::Well | Standing::Failing => Outcome::Nothing,
        }
    }

    /// The first step with a budget.
    fn next_step(&mut self, check: &Check, forget: Duration, now: Instant) -> Outcome {
        for (step, taken) in check.policy.iter().zip(&mut self.taken) {
            if let PolicyStep::Restart { times, window } = *step {
                let recent = self.restarts.iter().filter(|&&at| now.since(at) < window).count();
                if recent < times as usize {
                    self.restarts.push_back(now);
                    // More than the budget of any window is never asked for.
                    while self.restarts.len() > MOST_RESTARTS {
                        self.restarts.pop_front();
                    }
                    return Outcome::Step(*step);
                }
            } else if taken.is_none_or(|at| now.since(at) >= forget) {
                *taken = Some(now);
                return Outcome::Step(*step);
            }
        }
        if std::mem::replace(&mut self.exhausted, true) { Outcome::Nothing } else { Outcome::Exhausted }
    }
}

/// As many as a policy may ask for in one window.
const MOST_RESTARTS: usize = 1_000;

#[cfg(test)]
mod tests;
