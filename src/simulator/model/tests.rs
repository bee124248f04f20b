//! The rules hold in everything that the models reach; each broken rule is missed; and what should be
//! possible is.

use super::agreement::{self, Agreement};
use super::explore::{Findings, Model, Steps, explore};
use super::handover::{self, Handover};
use super::lease::{self, Bounds, Lease, USUAL};
use super::{explorations, wide_agreements, wide_bounds};

/// More than any of these has.
const MOST: usize = 8_000_000;

fn whole(found: &Findings) {
    assert_eq!(found.broken, None);
    assert!(found.complete, "only {} states looked at", found.states);
}

#[test]
fn leases_keep_two_holders_apart() {
    let found = explore(&Lease { bounds: USUAL, mistake: None }, MOST);
    whole(&found);
    let with_deaths = ["a member serves in a later term while a node is dead", "a node starts again"];
    assert_eq!(found.missed, with_deaths, "there are no deaths within these bounds");
}

#[test]
fn a_restarted_node_breaks_no_promise() {
    let found = explore(&Lease { bounds: Bounds { crashes: 1, ..USUAL }, mistake: None }, MOST);
    whole(&found);
    assert_eq!(found.missed, [""; 0]);
}

#[test]
fn every_broken_rule_about_leases_is_missed() {
    for mistake in lease::Mistake::ALL {
        let found = explore(&Lease { bounds: mistake.bounds(), mistake: Some(mistake) }, MOST);
        assert!(found.broken.is_some(), "{mistake:?} does no harm in {} states", found.states);
    }
}

#[test]
fn no_commit_is_lost_while_the_membership_changes() {
    let found = explore(&Agreement { bounds: wide_agreements()[0], mistake: None }, MOST);
    whole(&found);
    assert_eq!(found.missed, [""; 0]);
}

#[test]
fn every_broken_rule_about_agreement_is_missed() {
    for mistake in agreement::Mistake::ALL {
        let found = explore(&Agreement { bounds: mistake.bounds(), mistake: Some(mistake) }, MOST);
        assert!(found.broken.is_some(), "{mistake:?} does no harm in {} states", found.states);
    }
}

#[test]
fn handovers_keep_to_their_two_ends_and_their_time() {
    let found = explore(&Handover { versions: 3, wrong_clock: 0, mistake: None }, MOST);
    whole(&found);
    assert_eq!(found.missed, [""; 0]);
}

#[test]
fn every_broken_rule_about_handovers_is_missed() {
    for mistake in handover::Mistake::ALL {
        let versions = mistake.versions();
        let found = explore(&Handover { versions, wrong_clock: 0, mistake: Some(mistake) }, MOST);
        assert!(found.broken.is_some(), "{mistake:?} does no harm in {} states", found.states);
    }
}

#[test]
#[ignore = "ten minutes and more: the same, wider"]
fn wider_bounds() {
    for bounds in wide_bounds() {
        whole(&explore(&Lease { bounds, mistake: None }, super::MOST));
    }
    for bounds in wide_agreements() {
        whole(&explore(&Agreement { bounds, mistake: None }, super::MOST));
    }
    for wrong_clock in 0..3 {
        whole(&explore(&Handover { versions: 4, wrong_clock, mistake: None }, super::MOST));
    }
}

#[test]
fn a_schedule_is_told_in_words() {
    let all = explorations("lease", Some("ServeOnProposal")).expect("both are known");
    let (text, fine) = all[0].tell();
    assert!(!fine && text.contains("BROKEN P1") && text.contains("proposes that"), "{text}");
    assert!(explorations("lease", Some("Nothing")).is_err_and(|error| error.contains("NoPromise")));
    assert!(explorations("nothing", None).is_err());
}

/// Three counters below ten: a thousand states, the farthest 27 steps away.
struct Counters;

impl Model for Counters {
    type State = [u8; 3];

    fn begin(&self) -> Vec<[u8; 3]> {
        vec![[0; 3]]
    }

    fn steps(&self, from: &[u8; 3], steps: &mut Steps<[u8; 3]>) {
        for counter in (0..3).filter(|counter| from[*counter] < 9) {
            let mut next = *from;
            next[counter] += 1;
            steps.push(|| format!("counter {counter}"), next);
        }
    }

    fn settle(&self, _: &mut [u8; 3]) {}

    fn broken(&self, state: &[u8; 3]) -> Option<&'static str> {
        (*state == [2, 0, 1]).then_some("found")
    }

    fn reached(&self, state: &[u8; 3]) -> u32 {
        u32::from(state[0] == 1) | u32::from(state[1] == 10) << 1
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &["one", "ten"]
    }

    fn picture(&self, state: &[u8; 3]) -> String {
        format!("{state:?}")
    }
}

/// The explorer itself: it leaves nothing out, and its schedules are the shortest.
#[test]
fn the_explorer_sees_every_state_once() {
    struct Unbroken;
    impl Model for Unbroken {
        type State = [u8; 3];
        fn begin(&self) -> Vec<[u8; 3]> {
            Counters.begin()
        }
        fn steps(&self, from: &[u8; 3], steps: &mut Steps<[u8; 3]>) {
            Counters.steps(from, steps);
        }
        fn settle(&self, _: &mut [u8; 3]) {}
        fn broken(&self, _: &[u8; 3]) -> Option<&'static str> {
            None
        }
        fn reached(&self, state: &[u8; 3]) -> u32 {
            Counters.reached(state)
        }
        fn landmarks(&self) -> &'static [&'static str] {
            Counters.landmarks()
        }
        fn picture(&self, state: &[u8; 3]) -> String {
            Counters.picture(state)
        }
    }
    let found = explore(&Unbroken, MOST);
    assert_eq!((found.states, found.depth, found.complete), (1000, 27, true));
    assert_eq!(found.missed, ["ten"]);
    assert!(!explore(&Unbroken, 100).complete);
    let broken = explore(&Counters, MOST).broken.expect("it is there");
    assert_eq!((broken.0, broken.1.len()), ("found", 4));
    assert!(broken.1[3].ends_with("[2, 0, 1]"), "{:?}", broken.1);
}
