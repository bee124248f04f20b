//! Partition and merge on real daemons where fewer than a majority may serve: `quorum = arbiter` (whoever reaches it) and
//! `quorum = none` (everybody). A switch is cut in two: one part keeps the clients and the gateway, which is the arbiter,
//! the other has neither.

use super::Test;
use super::partitions::{LASTS, between, own_services};
use crate::interrupt::{pause, wait_until};
use crate::namespace::Outcome;
use crate::stage::{PATIENCE, Stage};
use crate::world::{Lan, WireFault};

/// With five servers and `quorum = arbiter`.
pub const ARBITER: &[Test] = &[Test { name: "quorum-arbiter", run: arbiter, least: 5 }];

/// With five servers and `quorum = none`.
pub const NONE: &[Test] = &[Test { name: "quorum-none", run: none, least: 5 }];

/// Which servers stay with clients and gateway, and which do not: fewer of them, and more.
const CUTS: [(&[usize], &[usize]); 2] = [(&[0, 1], &[2, 3, 4]), (&[1, 2, 3], &[4, 0])];

/// The part with the arbiter serves everything, be it the smaller one; the other lets go. Never do two answer.
fn arbiter(stage: &mut Stage) -> Outcome<()> {
    for (with, without) in CUTS {
        stage.settled()?;
        stage.call_witness()?;
        cut(stage, with, without)?;
        wait_until("the part without the arbiter lets go", PATIENCE, || {
            Ok(served_by(stage, without)?.is_empty())
        })?;
        wait_until("the part with the arbiter serves everything", PATIENCE, || serves_all(stage, with))?;
        pause(LASTS)?;
        let held = served_by(stage, without)?;
        if !held.is_empty() || !serves_all(stage, with)? {
            return Err(format!("it does not stay so: {without:?} have {held:?}"));
        }
        stage.world.set_wires(&[])?;
        stage.settled()?;
        stage.saw_no_double()?;
    }
    Ok(())
}

/// Each part serves everything to whom it reaches, with one holder each; when they meet again one is left.
fn none(stage: &mut Stage) -> Outcome<()> {
    for (with, without) in CUTS {
        stage.settled()?;
        stage.call_witness()?;
        cut(stage, with, without)?;
        for part in [with, without] {
            wait_until(&format!("the part {part:?} serves everything"), PATIENCE, || {
                serves_all(stage, part)
            })?;
        }
        pause(LASTS)?;
        if !serves_all(stage, with)? || !serves_all(stage, without)? {
            return Err("a part that is alone does not go on serving".to_owned());
        }
        stage.saw_no_double()?;
        // Both are heard at once now, until they have heard each other: nothing but the merge can end that.
        stage.dismiss_witness();
        stage.world.set_wires(&[])?;
        stage.settled()?;
        stage.call_witness()?;
        pause(LASTS)?;
        stage.saw_no_double()?;
    }
    Ok(())
}

fn cut(stage: &Stage, with: &[usize], without: &[usize]) -> Outcome<()> {
    let mut cut = between(with, without, &Lan::ALL, true);
    cut.extend(without.iter().map(|&node| WireFault::Outside { node }));
    stage.world.set_wires(&cut)
}

/// All addresses that these have in their kernels, sorted.
fn served_by(stage: &Stage, part: &[usize]) -> Outcome<Vec<String>> {
    let mut all = Vec::new();
    for &index in part {
        all.extend(own_services(&stage.world, index)?);
    }
    all.sort();
    Ok(all)
}

/// Each address is with exactly one of these.
fn serves_all(stage: &Stage, part: &[usize]) -> Outcome<bool> {
    let mut every: Vec<String> = stage.world.service_addresses().iter().map(ToString::to_string).collect();
    every.sort();
    Ok(served_by(stage, part)? == every)
}
