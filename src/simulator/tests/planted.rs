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

const ALL: [Planted; 12] = [
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
    Planted::VoteAtOnce,
];

/// Seeds that catch each mistake.
const CAUGHT: &[(Planted, &[u64])] = &[
    (Planted::NoWaitForLeases, &[1, 2, 4]),
    (Planted::NoPromise, &[0, 2, 3]),
    (Planted::NoWaitAfterWinning, &[2, 6, 11]),
    (Planted::LeaseFromReceipt, &[1, 2, 5]),
    (Planted::AcknowledgeWithoutStoring, &[13, 15, 52]),
    (Planted::OrderByVersionAlone, &[46]),
    (Planted::LookNotLatched, &[0, 1, 2]),
    (Planted::HandoverWithoutUntil, &[6, 12, 15]),
    (Planted::AbortWithoutWaiting, &[3]),
    (Planted::KeepWithoutLease, &[0, 1, 2]),
    (Planted::GrantWhileRevoking, &[6]),
    (Planted::VoteAtOnce, &[123, 124, 134]),
];

/// The faults under which the broken rule matters.
fn faults(planted: Planted) -> Drill {
    match planted {
        Planted::NoWaitForLeases
        | Planted::NoPromise
        | Planted::NoWaitAfterWinning
        | Planted::LeaseFromReceipt
        | Planted::AcknowledgeWithoutStoring
        | Planted::KeepWithoutLease
        | Planted::VoteAtOnce => Drill::Isolation,
        Planted::OrderByVersionAlone
        | Planted::HandoverWithoutUntil
        | Planted::AbortWithoutWaiting
        | Planted::GrantWhileRevoking => Drill::Moves,
        Planted::LookNotLatched => Drill::Stopped,
    }
}

fn hunt(drill: Drill, seed: u64) -> Scenario {
    Scenario {
        seed,
        nodes: 3 + (seed % 4) as usize,
        duration: 30 * SECOND,
        kind: Kind::Drill(drill),
        garbage: false,
        loud_from: Nanos::MAX,
    }
}

#[test]
#[ignore = "the table of seeds has to be refreshed after the last changes of the core"]
fn every_mistake_is_caught() {
    for planted in ALL {
        let seeds = CAUGHT.iter().find(|(caught, _)| *caught == planted).map_or(&[][..], |(_, seeds)| seeds);
        let mut caught = false;
        for seed in seeds {
            let scenario = hunt(faults(planted), *seed);
            caught |= !run_with(&scenario, Some(planted)).violations.is_empty();
            let right = run(&scenario);
            assert!(right.violations.is_empty(), "without a mistake: {scenario:?} {:?}", right.violations);
        }
        assert!(caught, "nobody sees {planted:?} in {seeds:?}: see refresh_the_table");
    }
}

/// Prints the lines of `CAUGHT`; `PLANTED=part of a name` and `SEEDS=how many` narrow the search:
/// `cargo test --release refresh_the_table -- --ignored --nocapture`.
#[test]
#[ignore = "a search, not a test"]
fn refresh_the_table() {
    let only = std::env::var("PLANTED").unwrap_or_default();
    let last: u64 = std::env::var("SEEDS").ok().and_then(|last| last.parse().ok()).unwrap_or(1000);
    for planted in ALL.into_iter().filter(|planted| format!("{planted:?}").contains(&only)) {
        let found = Mutex::new(Vec::new());
        spread(last, |seed| {
            let scenario = hunt(faults(planted), seed);
            let outcome = run_with(&scenario, Some(planted));
            let Some(violation) = outcome.violations.first() else { return true };
            let right = run(&scenario);
            if let Some(broken) = right.violations.first() {
                println!("// seed {seed} without a mistake: {} {}", broken.promise, broken.what);
                return true;
            }
            println!("// {planted:?} seed {seed}: {} {}", violation.promise, violation.what);
            found.lock().push(seed);
            found.lock().len() < 3
        });
        println!("    (Planted::{planted:?}, &{:?}),", found.into_inner());
    }
}
