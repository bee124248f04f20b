//! Known mistakes, each built in and each caught by a fixed seed that the right rule survives: a weakened
//! rule or a blind judge shows here.

use crate::controller::Planted;
use crate::simulator::clock::{Nanos, SECOND};
use crate::simulator::run::{Kind, Scenario, run, run_with};

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

fn hunt(seed: u64) -> Scenario {
    Scenario {
        seed,
        nodes: 2 + (seed % 6) as usize,
        duration: 60 * SECOND,
        kind: Kind::Storm,
        garbage: false,
        loud_from: Nanos::MAX,
    }
}

/// Finds seeds for the table: `cargo test --release search_for_seeds -- --ignored --nocapture`.
#[test]
#[ignore = "a search, not a test"]
fn search_for_seeds() {
    let only = std::env::var("PLANTED").unwrap_or_default();
    let last: u64 = std::env::var("SEEDS").ok().and_then(|last| last.parse().ok()).unwrap_or(300);
    for planted in ALL.into_iter().filter(|planted| format!("{planted:?}").contains(&only)) {
        let mut caught = 0;
        for seed in 0..last {
            let outcome = run_with(&hunt(seed), Some(planted));
            if let Some(violation) = outcome.violations.first()
                && run(&hunt(seed)).violations.is_empty()
            {
                println!("{planted:?} seed {seed}: {} {}", violation.promise, violation.what);
                caught += 1;
                if caught == 3 {
                    break;
                }
            }
        }
        println!("{planted:?}: caught by {caught} of the seeds below {last}");
    }
}
