//! The paper's four algorithms, in clusters of every size: who holds what by `ip addr`, by the client
//! and by the daemons, and the ring, after each fault.

use super::Test;
use crate::checks;
use crate::http::Visitor;
use crate::namespace::Outcome;
use crate::stage::{Stage, nothing_lost};
use crate::systems::milliseconds;
use std::time::{Duration, Instant};

/// In this order, each beginning with a settled cluster.
pub const TESTS: &[Test] = &[
    Test { name: "cold-start", run: cold_start, least: 2 },
    Test { name: "power-cut", run: power_cut_of_a_plain_node, least: 2 },
    Test { name: "power-cut-controller", run: power_cut_of_the_controller, least: 2 },
    Test { name: "power-cut-neighbours", run: power_cut_of_two_neighbours, least: 4 },
    Test { name: "power-cut-all-but-one", run: power_cut_of_all_but_one, least: 2 },
    Test { name: "power-cut-all", run: power_cut_of_all, least: 2 },
    Test { name: "orderly-stop", run: orderly_stop_of_a_plain_node, least: 2 },
    Test { name: "orderly-stop-controller", run: orderly_stop_of_the_controller, least: 2 },
    Test { name: "return-loses-nothing", run: return_loses_nothing, least: 2 },
];

/// Everybody home, the highest priority in control, nobody twice.
fn cold_start(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let controller = checks::controller(&stage.world)?;
    if controller == 0 { Ok(()) } else { Err(format!("{} controls", stage.world.nodes[controller].name)) }
}

fn power_cut_of_a_plain_node(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let plain = other_than(checks::controller(&stage.world)?, stage);
    cut_and_return(stage, &[plain])
}

fn power_cut_of_the_controller(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let controller = checks::controller(&stage.world)?;
    cut_and_return(stage, &[controller])
}

/// One of them the controller: the harder case; then two plain ones.
fn power_cut_of_two_neighbours(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let (controller, count) = (checks::controller(&stage.world)?, stage.world.nodes.len());
    cut_and_return(stage, &[controller, (controller + 1) % count])?;
    stage.settled()?;
    let controller = checks::controller(&stage.world)?;
    cut_and_return(stage, &[(controller + 1) % count, (controller + 2) % count])
}

fn power_cut_of_all_but_one(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let last = stage.world.nodes.len() - 1;
    cut_and_return(stage, &(0..last).collect::<Vec<_>>())
}

/// The whole rack goes dark and comes back: what was persisted must not be in the way.
fn power_cut_of_all(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let all: Vec<usize> = (0..stage.world.nodes.len()).collect();
    stage.world.cut_power(&all)?;
    stage.world.restore_power(&all)?;
    stage.settled()
}

fn orderly_stop_of_a_plain_node(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let plain = other_than(checks::controller(&stage.world)?, stage);
    stop_and_start(stage, plain)
}

fn orderly_stop_of_the_controller(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let controller = checks::controller(&stage.world)?;
    stop_and_start(stage, controller)
}

/// The services of a returned node come home without one lost request.
fn return_loses_nothing(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let victim = stage.world.nodes.len() - 1;
    stage.world.cut_power(&[victim])?;
    stage.served()?;
    let visitor = stage.visitor(victim)?;
    stage.world.restore_power(&[victim])?;
    stage.settled()?;
    let seen = visitor.finish()?;
    nothing_lost(&seen, 1)?;
    if seen.servers.len() == 2 {
        Ok(())
    } else {
        Err(format!("the visitor was served by {:?}", seen.servers))
    }
}

/// The survivors take over in time, spread what they take, and give it back.
fn cut_and_return(stage: &mut Stage, victims: &[usize]) -> Outcome<()> {
    stage.prober()?.watch(victims);
    let (start, _) = stage.world.cut_power(victims)?;
    for victim in victims {
        in_time(stage, stage.taken_over(*victim, start)?.length())?;
    }
    stage.served()?;
    spread(stage)?;
    for victim in victims {
        // Taken once, and by one: a service that wanders or has two holders changes more often.
        let changes = stage.prober()?.changes(*victim, start);
        if changes.len() != 1 {
            return Err(format!("www{} changed hands {} times", victim + 1, changes.len()));
        }
    }
    stage.world.restore_power(victims)?;
    stage.settled()
}

fn stop_and_start(stage: &mut Stage, index: usize) -> Outcome<()> {
    let visitors: Vec<Visitor> = vec![stage.visitor(index)?];
    crate::interrupt::pause(Duration::from_millis(100))?;
    let start = Instant::now();
    stage.world.stop_daemon(index)?;
    stage.served()?;
    spread(stage)?;
    for visitor in visitors {
        nothing_lost(&visitor.finish()?, 1)?;
    }
    // A test machine is not quiet: the bench holds the real figure.
    let silence = stage.silence(index, start)?;
    if silence > Duration::from_millis(50) {
        return Err(format!("the client got no answer for {:.1} ms", milliseconds(silence)));
    }
    stage.world.start_daemon(index)?;
    stage.settled()
}

/// P3, with room for a machine that has other work: the bench holds the real figure.
fn in_time(stage: &Stage, outage: Duration) -> Outcome<()> {
    let bound = stage.world.plan.interval * 3 + Duration::from_millis(50);
    if outage <= bound {
        return Ok(());
    }
    Err(format!("taken over after {:.0} ms, more than {:.0} ms", milliseconds(outage), milliseconds(bound)))
}

/// P4: loads of the living differ by at most one service.
fn spread(stage: &Stage) -> Outcome<()> {
    let holders = checks::one_holder_each(&stage.world, stage.prober()?, false)?;
    let load = |index: &usize| holders.iter().filter(|holder| *holder == index).count();
    let loads: Vec<usize> = stage.world.living().iter().map(load).collect();
    let (least, most) = (loads.iter().min().copied(), loads.iter().max().copied());
    if most.unwrap_or(0) - least.unwrap_or(0) <= 1 { Ok(()) } else { Err(format!("loads {loads:?}")) }
}

fn other_than(index: usize, stage: &Stage) -> usize {
    (index + stage.world.nodes.len() / 2) % stage.world.nodes.len()
}
