//! Two servers and an arbiter, the external LAN's gateway (`quorum = auto`, Q2): which half goes on is decided by who
//! reaches it, and nobody goes on without.

use super::Test;
use super::partitions::own_services;
use crate::interrupt::{pause, wait_until};
use crate::namespace::Outcome;
use crate::stage::{PATIENCE, Stage};
use crate::world::{Direction, Lan, WireFault};
use std::time::{Duration, Instant};

/// With two servers.
pub const TESTS: &[Test] = &[
    Test { name: "arbiter-power-cut", run: power_cut, least: 2 },
    Test { name: "arbiter-cut-off", run: cut_off, least: 2 },
    Test { name: "arbiter-silent", run: silent, least: 2 },
];

/// How long a state that shall not change is looked at: several leases, and the careful look (2.4 s).
const LASTS: Duration = Duration::from_secs(4);

/// One dies, the other reaches the arbiter: it has everything, after the careful look.
fn power_cut(stage: &mut Stage) -> Outcome<()> {
    for victim in [0, 1] {
        stage.settled()?;
        stage.call_witness()?;
        arbiter_is(stage, 1 - victim, "not-asked")?;
        let start = Instant::now();
        stage.world.cut_power(&[victim])?;
        wait_until("the other serves both", PATIENCE, || Ok(serves(stage, 1 - victim)? == 2))?;
        println!("  both with one after {} ms", start.elapsed().as_millis());
        // Nobody asks any more: alone in the state that it then agreed on, it is all of the cluster.
        arbiter_is(stage, 1 - victim, "not-asked")?;
        stage.world.restore_power(&[victim])?;
        stage.settled()?;
        stage.saw_no_double()?;
    }
    Ok(())
}

/// One is cut off from everything: it lets go, the other goes on. Who hears neither the other nor the arbiter cannot
/// know who died.
fn cut_off(stage: &mut Stage) -> Outcome<()> {
    for victim in [0, 1] {
        stage.settled()?;
        stage.call_witness()?;
        let direction = Direction::Both;
        stage.world.set_wires(&Lan::ALL.map(|lan| WireFault::Port { node: victim, lan, direction }))?;
        wait_until("who is cut off lets go", PATIENCE, || Ok(serves(stage, victim)? == 0))?;
        wait_until("the other serves both", PATIENCE, || Ok(serves(stage, 1 - victim)? == 2))?;
        arbiter_is(stage, victim, "silent")?;
        stays(stage, "who is cut off serves nothing", |stage| Ok(serves(stage, victim)? == 0))?;
        stage.world.set_wires(&[])?;
        stage.settled()?;
        stage.saw_no_double()?;
    }
    Ok(())
}

/// One dies while the other does not reach the arbiter: nobody serves, until it does.
fn silent(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    stage.world.set_wires(&[WireFault::Gateway { node: 0 }])?;
    stays(stage, "a quiet majority needs no arbiter", |stage| Ok(serves(stage, 0)? == 1))?;
    stage.world.cut_power(&[1])?;
    wait_until("it lets go", PATIENCE, || Ok(serves(stage, 0)? == 0))?;
    arbiter_is(stage, 0, "silent")?;
    stays(stage, "half without an arbiter serves nothing", |stage| Ok(serves(stage, 0)? == 0))?;
    stage.world.set_wires(&[])?;
    wait_until("it serves both", PATIENCE, || Ok(serves(stage, 0)? == 2))?;
    stage.world.restore_power(&[1])?;
    stage.settled()
}

/// How many service addresses its own kernel has.
fn serves(stage: &Stage, index: usize) -> Outcome<usize> {
    Ok(own_services(&stage.world, index)?.len())
}

fn stays(stage: &Stage, what: &str, holds: impl Fn(&Stage) -> Outcome<bool>) -> Outcome<()> {
    let until = Instant::now() + LASTS;
    while Instant::now() < until {
        if !holds(stage)? {
            return Err(format!("it should stay so, and does not: {what}"));
        }
        pause(Duration::from_millis(50))?;
    }
    Ok(())
}

/// `diehard status` on that server says so.
fn arbiter_is(stage: &Stage, index: usize, wanted: &str) -> Outcome<()> {
    wait_until(&format!("web{} says that the arbiter is {wanted}", index + 1), PATIENCE, || {
        Ok(stage.world.status(index)?["arbiter"] == wanted)
    })
}
