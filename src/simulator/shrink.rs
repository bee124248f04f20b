//! The shortest schedule that still breaks the promise: of a failing run, faults and small ills are left out as long as the same
//! promise is broken (delta debugging, Zeller and Hildebrandt 2002).
//!
//! What is left out changes the story from there on, so each try may be told by a few chances. The result is a script, which
//! `diehard simulate --only … --without … --chance …` and a test play again. Called by `simulate` on failure; bounded.

use super::run::{Outcome, Scenario, draw, play};
use super::script::{Ill, Script};
use crate::controller::Planted;
use std::collections::BTreeSet;

/// How often the rest of the story is told anew for each try.
const CHANCES: u64 = 3;

/// What was found.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The shortest script that breaks it.
    pub script: Script,
    /// What comes of it.
    pub outcome: Outcome,
    /// Runs that it took.
    pub tries: u32,
}

/// Shortens what breaks a promise in this run, by at most so many runs; `None`: nothing is broken in it.
pub fn shrink(scenario: &Scenario, planted: Option<Planted>, most: u32) -> Option<Shrunk> {
    let (outcome, cues) = play(scenario, planted, None);
    let promise = outcome.violations.first()?.promise;
    let mut search = Search {
        scenario,
        planted,
        promise,
        most,
        best: Shrunk { script: Script::whole(cues), outcome, tries: 0 },
    };
    loop {
        let before = (search.best.script.only.len(), search.best.script.without.len());
        search.leave_faults_out();
        search.leave_ills_out();
        let after = (search.best.script.only.len(), search.best.script.without.len());
        // Fewer ills may make fewer faults do.
        if after == before || search.best.tries >= most {
            return Some(search.best);
        }
    }
}

struct Search<'a> {
    scenario: &'a Scenario,
    planted: Option<Planted>,
    promise: &'static str,
    most: u32,
    best: Shrunk,
}

impl Search<'_> {
    /// Halves first, then ever smaller pieces, down to single faults.
    fn leave_faults_out(&mut self) {
        let mut piece = self.best.script.only.len().div_ceil(2);
        while piece > 0 {
            let all: Vec<usize> = self.best.script.only.iter().copied().collect();
            let mut shorter = false;
            // The last ones are the likeliest to matter: they are tried last.
            for numbers in all.chunks(piece) {
                let numbers: BTreeSet<usize> = numbers.iter().copied().collect();
                let only = self.best.script.only.difference(&numbers).copied().collect();
                shorter |= self.still_breaks(&Script { only, ..self.best.script.clone() });
            }
            if !shorter || piece == 1 {
                piece /= 2;
            }
        }
    }

    fn leave_ills_out(&mut self) {
        let plan = draw(self.scenario).0;
        let ills: Vec<Ill> = self.best.script.ills(&plan);
        for ill in ills {
            let mut without = self.best.script.without.clone();
            without.push(ill);
            self.still_breaks(&Script { without, ..self.best.script.clone() });
        }
    }

    /// Does this script, told by some chance, break the same promise? Then it is the best.
    fn still_breaks(&mut self, script: &Script) -> bool {
        for chance in
            [script.chance].into_iter().chain((0..CHANCES).filter(|chance| *chance != script.chance))
        {
            if self.best.tries >= self.most {
                return false;
            }
            self.best.tries += 1;
            let script = Script { chance, ..script.clone() };
            let (outcome, _) = play(self.scenario, self.planted, Some(&script));
            if outcome.violations.first().is_some_and(|violation| violation.promise == self.promise) {
                self.best = Shrunk { script, outcome, tries: self.best.tries };
                return true;
            }
        }
        false
    }
}
