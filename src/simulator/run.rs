//! One run from one seed, and what came of it.

use super::checkers::Violation;
use super::clock::{MILLI, Nanos, SECOND};
use super::network::Weather;
use super::plan::{Drill, Plan};
use super::random::Random;
use super::script::{Cue, Script};
use super::settle::{Patience, settle};
use super::world::{Event, Statistics, World};
use crate::controller::Planted;
use crate::vocabulary::LinkRole;
use crate::wire::digest;
use std::cell::Cell;
use std::rc::Rc;

/// Faults last this long before everything is healed once.
const ROUND: Nanos = 40 * SECOND;
/// Within this time after everything was healed, all is well: 2 s for the kernels to drop what dead
/// daemons had, 2 s `startup_wait`, up to 3 s `failback_delay` and `forget`, then one move at a time,
/// with commands that take up to a second.
pub const BOUND: Nanos = 30 * SECOND;

/// What a run is to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All classes of faults; P1 at every instant, P2 and P5 after each heal.
    Storm,
    /// Faults for one family of rules, harder than a storm's: the same promises.
    Drill(Drill),
    /// A fifth of all datagrams of one LAN lost, and nothing else: nobody moves (P6).
    Calm(LinkRole),
}

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// All the chance there is.
    pub seed: u64,
    /// 2 to 64.
    pub nodes: usize,
    /// Virtual time in nanoseconds.
    pub duration: Nanos,
    /// What it is to show.
    pub kind: Kind,
    /// With garbled and replayed datagrams between the others: everything else stays the same (P7).
    pub garbage: bool,
    /// Print what happens from this moment on; `Nanos::MAX`: only on failure.
    pub loud_from: Nanos,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Of the scenario.
    pub seed: u64,
    /// Broken promises; none is what everybody wants.
    pub violations: Vec<Violation>,
    /// What happened last, if a promise was broken.
    pub trace: Vec<String>,
    /// Over everything that happened: equal for equal seeds.
    pub hash: u64,
    /// Of the last committed state.
    pub state_digest: u64,
    /// What was counted.
    pub statistics: Statistics,
    /// How long each healed phase took to settle, in nanoseconds.
    pub settled: Vec<Nanos>,
}

thread_local! {
    /// Seed and nodes of the run on this thread, for whoever has to tell of a panic.
    pub static CURRENT: Cell<(u64, usize)> = const { Cell::new((0, 0)) };
}

/// Runs the real controller.
pub fn run(scenario: &Scenario) -> Outcome {
    run_with(scenario, None)
}

/// Runs controllers with a mistake built in.
pub fn run_with(scenario: &Scenario, planted: Option<Planted>) -> Outcome {
    play(scenario, planted, None).0
}

/// The plan that the seed draws, and the chance that is left.
pub fn draw(scenario: &Scenario) -> (Plan, Random) {
    let mut random = Random::new(scenario.seed);
    let plan = match scenario.kind {
        Kind::Storm => {
            let mut plan = Plan::storm(scenario.nodes, &mut random);
            plan.draw_foreign(scenario.seed);
            plan
        }
        Kind::Drill(drill) => Plan::drill(drill, scenario.nodes, &mut random),
        Kind::Calm(_) => Plan::quiet(scenario.nodes, &mut random),
    };
    (plan, random)
}

/// The same, with the faults as they were drawn; or, instead of drawing any, those of a script.
pub fn play(scenario: &Scenario, planted: Option<Planted>, script: Option<&Script>) -> (Outcome, Vec<Cue>) {
    CURRENT.set((scenario.seed, scenario.nodes));
    let (mut plan, random) = draw(scenario);
    if let Some(script) = script {
        script.apply(&mut plan);
    }
    let mut world = World::new(plan, random, planted);
    world.script = script.cloned().map(Rc::new);
    world.trace.loud_from = scenario.loud_from;
    if !scenario.garbage {
        world.plan.ills.garbled = 0;
        world.plan.ills.replayed = 0;
    } else if matches!(scenario.kind, Kind::Calm(_)) {
        world.plan.ills.garbled = 50;
    }
    let mut settled = Vec::new();
    cold_start(&mut world);
    match scenario.kind {
        Kind::Storm | Kind::Drill(_) => storm(&mut world, scenario.duration, &mut settled),
        Kind::Calm(role) => calm(&mut world, role, scenario.duration),
    }
    let drawn = std::mem::take(&mut world.drawn);
    (outcome(scenario.seed, world, settled), drawn)
}

/// Switches everybody on within a moment.
pub fn cold_start(world: &mut World) {
    for node in 0..world.hosts.len() {
        let after = world.random.below(300 * MILLI);
        world.schedule(after, Event::Boot { node });
    }
}

fn storm(world: &mut World, duration: Nanos, settled: &mut Vec<Nanos>) {
    // Half of the runs have their faults from the cold start on.
    if world.random.chance(500) {
        settled.extend(settle(world, Patience::Bound(BOUND)));
    }
    while world.now < duration && world.checker.violations.is_empty() {
        world.storm();
        world.run_until(world.now + ROUND.min(duration));
        if world.checker.violations.is_empty() {
            world.heal();
            settled.extend(settle(world, Patience::Bound(BOUND)));
        }
    }
}

fn calm(world: &mut World, role: LinkRole, duration: Nanos) {
    settle(world, Patience::Bound(BOUND));
    let (downs, taken) = (world.statistics.downs, world.statistics.taken);
    world.plan.weather[super::network::lan(role)] = Weather { loss: 200, ..Weather::default() };
    world.storm();
    world.run_until(duration);
    let statistics = world.statistics;
    if statistics.downs != downs || statistics.taken != taken {
        let what = format!(
            "{} FAIL_DOWN and {} takeovers without a fault",
            statistics.downs - downs,
            statistics.taken - taken
        );
        world.checker.broken(world.now, "P6 calm", what);
    }
}

fn outcome(seed: u64, mut world: World, settled: Vec<Nanos>) -> Outcome {
    world.ended = true;
    let broken = !world.checker.violations.is_empty();
    Outcome {
        seed,
        hash: world.trace.hash(),
        state_digest: world.checker.newest().map_or(0, digest),
        trace: if broken { world.trace.lines() } else { Vec::new() },
        violations: std::mem::take(&mut world.checker.violations),
        statistics: world.statistics,
        settled,
    }
}
