//! A second, independent check of the rules: small models, looked at whole.
//!
//! Written from the rules of ARCHITECTURE.md, not from `controller`, of which nothing is used here: an error
//! that the code and its simulator have in common shows. Three nodes, time in ticks, every interleaving
//! within bounds (`explore`). Each rule can be broken on purpose, and must then be missed. Called by the
//! tests and by `diehard simulate --model`; ends when nothing new is left or a promise is broken.
//!
//! | model | rules | what is left out |
//! | --- | --- | --- |
//! | `lease` | L, E, S2: root, grants, promises, elections, E4, E5, reassignments | handovers, the look, changes of the membership |
//! | `agreement` | S, E2, E3: one value, no commit lost, while the membership changes | time: leases and promises only forbid |
//! | `handover` | H: prepare, offer, take, abort, deaths of both ends and of the controller | how commits come about (one step here) |

mod agreement;
mod explore;
mod handover;
mod lease;

#[cfg(test)]
mod tests;

use agreement::Agreement;
use explore::{Findings, Model, explore};
use handover::Handover;
use lease::{Bounds, Lease};

/// One exploration by hand.
pub struct Exploration {
    /// Which rules, and how far.
    pub name: String,
    run: Box<dyn Fn() -> Findings + Send + Sync>,
}

/// States after which an exploration by hand gives up.
const MOST: usize = 60_000_000;

impl Exploration {
    /// Explores, and tells what it found; whether all was well.
    pub fn tell(&self) -> (String, bool) {
        let found = (self.run)();
        let mut text = format!("{}: {} states, depth {}\n", self.name, found.states, found.depth);
        if let Some((promise, schedule)) = &found.broken {
            let lines = schedule.iter().enumerate().map(|(number, line)| format!("{number:4}. {line}\n"));
            text.extend([format!("BROKEN {promise}\n")].into_iter().chain(lines));
        } else if !found.complete {
            text.push_str("gave up: too many states\n");
        } else if !found.missed.is_empty() {
            text.extend(["never within these bounds: ", &found.missed.join("; "), "\n"]);
        }
        (text, found.complete)
    }
}

/// The explorations of one model, or of `all`; with a planted mistake those that look for it.
///
/// # Errors
///
/// No model or no mistake of that name; the known ones are named.
pub fn explorations(model: &str, planted: Option<&str>) -> Result<Vec<Exploration>, String> {
    let mut search = Search { model, planted, found: Vec::new(), known: Vec::new() };
    for mistake in lease::Mistake::ALL {
        let rules = Lease { bounds: mistake.bounds(), mistake: Some(mistake) };
        search.with_mistake("lease", format!("{mistake:?}"), rules);
    }
    for bounds in wide_bounds() {
        search.without("lease", format!("{bounds:?}"), Lease { bounds, mistake: None });
    }
    for mistake in agreement::Mistake::ALL {
        let rules = Agreement { bounds: mistake.bounds(), mistake: Some(mistake) };
        search.with_mistake("agreement", format!("{mistake:?}"), rules);
    }
    for bounds in wide_agreements() {
        search.without("agreement", format!("{bounds:?}"), Agreement { bounds, mistake: None });
    }
    for mistake in handover::Mistake::ALL {
        let rules = Handover { versions: mistake.versions(), wrong_clock: 0, mistake: Some(mistake) };
        search.with_mistake("handover", format!("{mistake:?}"), rules);
    }
    for wrong_clock in 0..3 {
        let rules = Handover { versions: 3, wrong_clock, mistake: None };
        search.without("handover", format!("to version 4, clock {wrong_clock} wrong"), rules);
    }
    let Search { found, known, .. } = search;
    match (known.is_empty(), found.is_empty()) {
        (true, _) => Err(format!("no model {model:?}: lease, agreement, handover, all")),
        (false, true) => Err(format!("no such mistake; known are {}", known.join(", "))),
        _ => Ok(found),
    }
}

/// What was asked for, and what of it there is.
struct Search<'a> {
    model: &'a str,
    planted: Option<&'a str>,
    found: Vec<Exploration>,
    /// The mistakes of the models that were asked for.
    known: Vec<String>,
}

impl Search<'_> {
    fn with_mistake(&mut self, of: &str, mistake: String, rules: impl Model + Send + Sync + 'static) {
        if self.is_asked_for(of) {
            if self.planted == Some(mistake.as_str()) {
                self.add(of, &mistake, rules);
            }
            self.known.push(mistake);
        }
    }

    fn without(&mut self, of: &str, bounds: String, rules: impl Model + Send + Sync + 'static) {
        if self.is_asked_for(of) && self.planted.is_none() {
            self.add(of, &bounds, rules);
        }
    }

    fn is_asked_for(&self, model: &str) -> bool {
        self.model == model || self.model == "all"
    }

    fn add(&mut self, of: &str, name: &str, rules: impl Model + Send + Sync + 'static) {
        let run = Box::new(move || explore(&rules, MOST));
        self.found.push(Exploration { name: format!("{of} {name}"), run });
    }
}

/// What a person with half an hour explores.
fn wide_bounds() -> Vec<Bounds> {
    let usual = lease::USUAL;
    let each_clock = (0..3).map(|wrong_clock| Bounds { wrong_clock, ..usual });
    let more = [
        Bounds { candidates: 0b110, ..usual },
        Bounds { crashes: 1, ..usual },
        Bounds { packets: 2, ..usual },
        Bounds { reassignments: 2, ..usual },
        Bounds { promise: 3, ..usual },
    ];
    each_clock.chain(more).collect()
}

/// The same for the agreement.
fn wide_agreements() -> Vec<agreement::Bounds> {
    let usual = agreement::Bounds { restarts: 1, ..agreement::USUAL };
    vec![usual, agreement::Bounds { changes: 3, ..usual }]
}
