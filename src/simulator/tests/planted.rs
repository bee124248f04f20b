//! Known mistakes, each built in and each caught by fixed seeds that the right rule survives: a weakened
//! rule or a blind judge shows here.
//!
//! A seed is a story about one version of the core: after a change there, `refresh_the_table` prints new
//! lines. Each mistake has a few seeds, so that small changes leave one that catches it.

use crate::controller::Planted;
use crate::simulator::clock::{Nanos, SECOND};
use crate::simulator::command::spread;
use crate::simulator::plan::Drill;
use crate::simulator::run::{Kind, Scenario, run, run_with};
use parking_lot::Mutex;

const ALL: [Planted; 26] = [
    Planted::KeepsWhatItCannotServe,
    Planted::NoWaitForLeases,
    Planted::NoPromise,
    Planted::NoWaitAfterWinning,
    Planted::LeaseFromReceipt,
    Planted::AcknowledgeWithoutStoring,
    Planted::OrderByVersionAlone,
    Planted::LookNotLatched,
    Planted::HandoverWithoutUntil,
    Planted::AbortWithoutWaiting,
    Planted::KeepWithoutLease,
    Planted::GrantWhileRevoking,
    Planted::MinorityWithoutArbiter,
    Planted::MinorityLooksShortly,
    Planted::HalfIsAQuorum,
    Planted::CommitAlone,
    Planted::VotersStatesForgotten,
    Planted::GrantBeyondRoot,
    Planted::NoMargin,
    Planted::TakeWithoutLook,
    Planted::LateAnswersIgnored,
    Planted::ActOnProposal,
    Planted::OwnTimesAlone,
    Planted::MovesBlindly,
    Planted::RivalsAreSilent,
    Planted::GrantToWhoIsBehind,
];

/// Drill and seeds that catch each mistake.
const CAUGHT: &[(Planted, Drill, &[u64])] = &[
    (Planted::KeepsWhatItCannotServe, Drill::Few, &[319, 1446]),
    (Planted::NoWaitForLeases, Drill::Isolation, &[0, 1, 2]),
    (Planted::NoPromise, Drill::Isolation, &[2, 24, 27]),
    (Planted::NoWaitAfterWinning, Drill::Isolation, &[7, 22, 35]),
    (Planted::LeaseFromReceipt, Drill::Isolation, &[2, 3, 5]),
    (Planted::AcknowledgeWithoutStoring, Drill::Moves, &[194, 282, 427]),
    (Planted::OrderByVersionAlone, Drill::Amnesia, &[0, 2, 4]),
    (Planted::LookNotLatched, Drill::Stopped, &[0, 1, 2]),
    (Planted::HandoverWithoutUntil, Drill::Moves, &[7, 64, 72]),
    (Planted::AbortWithoutWaiting, Drill::Moves, &[259, 362, 666]),
    (Planted::KeepWithoutLease, Drill::Isolation, &[0, 1, 2]),
    (Planted::GrantWhileRevoking, Drill::Moves, &[105, 227, 303]),
    (Planted::MinorityWithoutArbiter, Drill::Arbiter, &[14, 83, 125]),
    (Planted::MinorityLooksShortly, Drill::Arbiter, &[203]),
    (Planted::HalfIsAQuorum, Drill::Isolation, &[1, 5, 6]),
    (Planted::CommitAlone, Drill::Isolation, &[6, 43, 46]),
    (Planted::VotersStatesForgotten, Drill::Isolation, &[119, 237, 322]),
    (Planted::GrantBeyondRoot, Drill::Isolation, &[143, 147, 154]),
    (Planted::NoMargin, Drill::Isolation, &[23, 36, 52]),
    (Planted::TakeWithoutLook, Drill::Stopped, &[0, 1, 2]),
    (Planted::LateAnswersIgnored, Drill::Stalls, &[1, 5, 9]),
    (Planted::ActOnProposal, Drill::Isolation, &[2, 3, 4]),
    (Planted::OwnTimesAlone, Drill::Times, &[39, 62, 63]),
    (Planted::MovesBlindly, Drill::Parts, &[6, 13, 18]),
    (Planted::RivalsAreSilent, Drill::Parts, &[25, 75, 87]),
    (Planted::GrantToWhoIsBehind, Drill::Isolation, &[817, 1392]),
];

/// The faults under which the broken rule matters, the most telling first.
fn faults(planted: Planted) -> &'static [Drill] {
    match planted {
        Planted::NoWaitForLeases
        | Planted::NoPromise
        | Planted::NoWaitAfterWinning
        | Planted::LeaseFromReceipt
        | Planted::KeepWithoutLease => &[Drill::Isolation],
        Planted::AcknowledgeWithoutStoring | Planted::GrantWhileRevoking => &[Drill::Moves, Drill::Isolation],
        Planted::HandoverWithoutUntil | Planted::AbortWithoutWaiting => &[Drill::Moves],
        Planted::OrderByVersionAlone | Planted::AcknowledgeWhatIsOutvoted => &[Drill::Amnesia, Drill::Moves],
        Planted::OwnTimesAlone => &[Drill::Times],
        Planted::MovesBlindly | Planted::RivalsAreSilent => &[Drill::Parts],
        Planted::LateAnswersIgnored => &[Drill::Stalls],
        Planted::KeepsWhatItCannotServe => &[Drill::Few],
        Planted::LookCountsCutOff => &[Drill::Arbiter],
        Planted::ReleaseUntold | Planted::BaseForgotten => &[Drill::Isolation],
        Planted::LookNotLatched | Planted::TakeWithoutLook | Planted::QuickWithoutProof => &[Drill::Stopped],
        Planted::HalfIsAQuorum
        | Planted::CommitAlone
        | Planted::GrantBeyondRoot
        | Planted::NoMargin
        | Planted::ActOnProposal
        | Planted::GrantToWhoIsBehind => &[Drill::Isolation, Drill::Moves],
        Planted::VotersStatesForgotten => &[Drill::Isolation, Drill::Amnesia, Drill::Moves],
        Planted::MinorityWithoutArbiter | Planted::MinorityLooksShortly | Planted::AnswerFromBeforeTheCut => {
            &[Drill::Arbiter]
        }
    }
}

fn hunt(drill: Drill, seed: u64) -> Scenario {
    Scenario {
        seed,
        nodes: match drill {
            Drill::Arbiter => 2,
            Drill::Parts => 4,
            _ => 3,
        } + (seed % 4) as usize,
        duration: 30 * SECOND,
        kind: Kind::Drill(drill),
        garbage: false,
        loud_from: Nanos::MAX,
    }
}

#[test]
fn every_mistake_is_caught() {
    let mut missed = Vec::new();
    for planted in ALL {
        let mut caught = false;
        for &(_, drill, seeds) in CAUGHT.iter().filter(|(known, ..)| *known == planted) {
            for seed in seeds {
                let scenario = hunt(drill, *seed);
                caught |= !run_with(&scenario, Some(planted)).violations.is_empty();
                let right = run(&scenario);
                assert!(
                    right.violations.is_empty(),
                    "without a mistake: {scenario:?} {:?}",
                    right.violations
                );
            }
        }
        if !caught {
            missed.push(planted);
        }
    }
    assert!(missed.is_empty(), "nobody sees {missed:?}: see refresh_the_table");
}

/// Prints the lines of `CAUGHT`; `PLANTED=part of a name` and `SEEDS=how many` narrow the search:
/// `cargo test --release refresh_the_table -- --ignored --nocapture`.
#[test]
#[ignore = "a search, not a test"]
fn refresh_the_table() {
    let only = std::env::var("PLANTED").unwrap_or_default();
    let last: u64 = std::env::var("SEEDS").ok().and_then(|last| last.parse().ok()).unwrap_or(1000);
    for planted in ALL.into_iter().filter(|planted| format!("{planted:?}").contains(&only)) {
        for &drill in faults(planted) {
            let seeds = seeds_that_catch(planted, drill, last);
            if !seeds.is_empty() {
                println!("    (Planted::{planted:?}, Drill::{drill:?}, &{seeds:?}),");
                break;
            }
            println!("// {planted:?}: nothing in {last} seeds of {drill:?}");
        }
    }
}

/// The first three, in order.
fn seeds_that_catch(planted: Planted, drill: Drill, last: u64) -> Vec<u64> {
    let found = Mutex::new(Vec::new());
    spread(last, |seed| {
        let scenario = hunt(drill, seed);
        let outcome = run_with(&scenario, Some(planted));
        let Some(violation) = outcome.violations.first() else { return true };
        if let Some(broken) = run(&scenario).violations.first() {
            println!("// {drill:?} seed {seed} without a mistake: {} {}", broken.promise, broken.what);
            return true;
        }
        println!("// {planted:?} seed {seed}: {} {}", violation.promise, violation.what);
        found.lock().push(seed);
        found.lock().len() < 3
    });
    let mut seeds = found.into_inner();
    seeds.sort_unstable();
    seeds.truncate(3);
    seeds
}
