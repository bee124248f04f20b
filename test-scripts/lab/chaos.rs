//! `lab chaos`: random faults from a seed on real daemons, and a judge of what the clients saw.
//!
//! `schedule` says what happens when, `deeds` does it, `report` says what came of it; `judge` decides.
//! The seed is printed first. The schedule depends on seed, size and length alone, never on what happens.

mod deeds;
mod report;
mod schedule;

use self::deeds::Stagehand;
use crate::checks;
use crate::interrupt;
use crate::judge::{Double, History};
use crate::namespace::Outcome;
use crate::recorder::Recorder;
use crate::witness::{Sighting, Witness};
use crate::world::{Plan, Scripts, System, World};
use clap::Args;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// After the last fault everything is to be at home within this (five servers on two cores; it takes two to five).
const HOME: Duration = Duration::from_secs(30);
/// How long the cluster is watched after that: nothing may move any more.
const REST: Duration = Duration::from_secs(1);

/// What to do to the cluster.
#[derive(Args)]
pub struct Options {
    /// How long faults happen.
    #[arg(long, default_value = "5", value_parser = crate::minutes)]
    minutes: Duration,
    /// What happens when; without: another one each time. Printed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many servers.
    #[arg(long, default_value = "5", value_parser = at_least_three)]
    nodes: usize,
    /// T.
    #[arg(long, default_value = "100ms", value_parser = crate::duration)]
    hello_interval: Duration,
    /// Prints what would happen, and does nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Two have no majority without each other: nobody could be asked to serve.
fn at_least_three(text: &str) -> Result<usize, String> {
    crate::node_count(text).ok().filter(|count| *count >= 3).ok_or_else(|| "3 to 32".to_owned())
}

/// Runs it; true if no promise was broken.
pub fn run(options: &Options) -> Outcome<bool> {
    let seed = options.seed.unwrap_or_else(crate::clock_seed);
    println!("seed {seed}");
    let planned = schedule::schedule(seed, options.nodes, options.minutes);
    if options.dry_run {
        for planned in &planned {
            println!("{}", report::planned_line(planned));
        }
        return Ok(true);
    }
    let mut world = World::build(plan(options))?;
    for index in 0..world.nodes.len() {
        world.start_node(index)?;
    }
    let servers: Vec<String> = world.nodes.iter().map(|node| node.namespace.clone()).collect();
    let recorder = Recorder::start(&world.client(), &servers, &world.service_addresses())?;
    let witness = Witness::start(&world.client(), &world.service_addresses())?;
    checks::settled(&world, &recorder, crate::stage::PATIENCE)
        .map_err(|error| format!("the cluster did not start: {error}"))?;
    let from = recorder.now();
    let mut hand = Stagehand::new(world, recorder);
    let done = hand.perform(&planned).and_then(|()| come_home(&mut hand));
    if let Err(error) = &done
        && error.ends_with(interrupt::INTERRUPTED)
    {
        return Err(interrupt::INTERRUPTED.to_owned());
    }
    if let Err(error) = done {
        hand.complaints.push(error);
    }
    let history = history(&hand, &witness, from, options.hello_interval);
    drop(witness);
    let verdict = history.judge();
    hand.say(&report::figures(&history, &verdict, hand.home));
    if verdict.violations.is_empty() && hand.complaints.is_empty() {
        hand.say(&format!("seed {seed}: no promise was broken in {} faults", history.deeds.len()));
        return Ok(true);
    }
    hand.say(&report::broken(&hand, &history, &verdict));
    let again = format!(
        "seed {seed}: {} broken; again: test-scripts/chaos --seed {seed} --nodes {} --minutes {} --hello-interval {}ms",
        verdict.violations.len() + hand.complaints.len(),
        options.nodes,
        options.minutes.as_secs_f64() / 60.0,
        options.hello_interval.as_millis()
    );
    hand.say(&again);
    let place = free_place(seed);
    hand.keep_files(&place)?;
    println!("logs, configuration, records and this text: {}", place.display());
    Ok(false)
}

/// All faults are over: everything goes home, and stays there.
fn come_home(hand: &mut Stagehand) -> Outcome<()> {
    let start = Instant::now();
    checks::settled(&hand.world, &hand.recorder, HOME)
        .map_err(|error| format!("after the last fault: {error}"))?;
    hand.home = Some(start.elapsed());
    interrupt::pause(REST)?;
    checks::all_right(&hand.world, &hand.recorder, true).map_err(|error| format!("at rest: {error}"))
}

fn history(hand: &Stagehand, witness: &Witness, from: Duration, interval: Duration) -> History {
    let doubles = witness.sightings();
    History {
        stretches: hand.recorder.stretches(),
        doubles: doubles.iter().map(|sighting| double(sighting, hand.recorder.began())).collect(),
        deeds: hand.deeds.clone(),
        watched: (from, hand.recorder.now()),
        interval,
    }
}

/// The last byte of a server's hardware address is its number (`world::lans`); the first is 1.
fn double(sighting: &Sighting, began: Instant) -> Double {
    Double {
        address: sighting.address,
        servers: sighting.stations.iter().map(|station| usize::from(station[5]).saturating_sub(1)).collect(),
        first: sighting.first.saturating_duration_since(began),
        last: sighting.last.saturating_duration_since(began),
    }
}

fn plan(options: &Options) -> Plan {
    Plan {
        system: System::Diehard,
        nodes: options.nodes,
        interval: options.hello_interval,
        failback_delay: Some(Duration::from_secs(1)),
        startup_wait: Some(Duration::from_secs(3)),
        scripts: Scripts::None,
        // Without a majority nothing is promised of a partition.
        extra: "quorum = majority\n".to_owned(),
    }
}

/// An earlier failure of the same seed stays.
fn free_place(seed: u64) -> PathBuf {
    let place = |number: u32| std::env::temp_dir().join(format!("diehard-chaos-{seed}-{number}"));
    (1..).map(place).find(|place| !place.exists()).expect("some number is free")
}
