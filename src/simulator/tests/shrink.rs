//! A failing run is shortened to what matters, and what is left can be played again.

use crate::controller::Planted;
use crate::simulator::clock::{Nanos, SECOND};
use crate::simulator::plan::Drill;
use crate::simulator::run::{Kind, Outcome, Scenario, play};
use crate::simulator::script::Script;
use crate::simulator::shrink::shrink;

fn scenario(kind: Kind, seed: u64, nodes: usize) -> Scenario {
    Scenario { seed, nodes, duration: 30 * SECOND, kind, garbage: kind == Kind::Storm, loud_from: Nanos::MAX }
}

#[test]
fn a_whole_script_is_the_same_story() {
    for seed in 0..6 {
        let scenario = scenario(Kind::Storm, seed, 2 + seed as usize);
        let (drawn, cues) = play(&scenario, None, None);
        assert!(cues.len() > 5, "there is something to play");
        let (played, again) = play(&scenario, None, Some(&Script::whole(cues)));
        let story = |outcome: &Outcome| (outcome.hash, outcome.state_digest, outcome.settled.clone());
        assert_eq!(story(&played), story(&drawn), "seed {seed}");
        assert!(again.is_empty(), "nothing was drawn");
    }
}

#[test]
fn a_mistake_is_shown_by_a_few_faults() {
    let mistakes = [
        (Planted::TakeWithoutLook, Drill::Stopped),
        (Planted::NoWaitForLeases, Drill::Isolation),
        (Planted::LeaseFromReceipt, Drill::Isolation),
    ];
    for (planted, drill) in mistakes {
        let breaks = |seed: u64| {
            let scenario = scenario(Kind::Drill(drill), seed, 3 + (seed % 4) as usize);
            let (outcome, cues) = play(&scenario, Some(planted), None);
            // One that is worth shortening.
            (cues.len() > 8 && !outcome.violations.is_empty()).then_some((scenario, outcome))
        };
        let (scenario, outcome) = (0..200).find_map(breaks).expect("one of the first seeds catches it");
        let broken = outcome.violations[0].promise;
        let shrunk = shrink(&scenario, Some(planted), 300).expect("the same run");
        let (left, all) = (shrunk.script.only.len(), shrunk.script.cues.len());
        // Five, or a quarter of a long story: whichever seed is the first to catch it.
        assert!(left * 4 <= all.max(20), "{planted:?}: {left} of {all} faults, {:?}", shrunk.script.without);
        let (again, _) = play(&scenario, Some(planted), Some(&shrunk.script));
        assert_eq!(again, shrunk.outcome, "{planted:?}: it is played again");
        assert_eq!(again.violations[0].promise, broken);
        let (right, _) = play(&scenario, None, Some(&shrunk.script));
        assert!(right.violations.is_empty(), "{planted:?}: the right rule survives {:?}", right.violations);
    }
}

#[test]
fn what_breaks_nothing_is_not_shortened() {
    assert!(shrink(&scenario(Kind::Storm, 1, 3), None, 10).is_none());
}
