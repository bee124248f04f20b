//! `lab bench`: outages and cost, measured; beside keepalived if wanted.

mod report;

use crate::checks;
use crate::cost::{self, Cost};
use crate::decision;
use crate::figures::{Chance, Sample};
use crate::http::Seen;
use crate::interrupt::pause;
use crate::namespace::Outcome;
use crate::stage::Stage;
use crate::world::{Plan, Scripts, System};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How much of each daemon's log explains a failure.
const LOG_LINES: usize = 15;
/// An outage of so many intervals is a riddle: the logs of that moment are printed.
const LONG: u32 = 4;

/// What to measure.
#[derive(Args)]
pub struct Options {
    /// How many servers.
    #[arg(long, default_value = "4", value_parser = crate::node_count)]
    nodes: usize,
    /// How often each scenario is run.
    #[arg(long, default_value = "20")]
    runs: u32,
    /// T; for keepalived: advert_int.
    #[arg(long, default_value = "100ms", value_parser = crate::duration)]
    hello_interval: Duration,
    /// Runs another system as well, at the same interval, and prints the ratio.
    #[arg(long)]
    against: Option<Rival>,
    /// Runs only that other system.
    #[arg(long, requires = "against")]
    only_against: bool,
    /// What happens.
    #[arg(long, value_enum, default_value = "all")]
    scenario: Vec<Scenario>,
    /// Chooses victims and moments; printed, so that a run can be repeated.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the quiet cluster is watched, in seconds.
    #[arg(long, default_value = "20")]
    idle_seconds: u64,
    /// Writes every figure to this file as well.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Rival {
    Keepalived,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Power cut of a random server.
    PowerCut,
    /// Power cut of the controller.
    Controller,
    /// Power cut of two neighbours at the same moment.
    Neighbours,
    /// Orderly stop of the daemon of a random server.
    Stop,
    /// Power returns: the services come home.
    Rejoin,
    /// Nothing happens.
    Idle,
    /// Everything.
    All,
}

impl Scenario {
    const OUTAGES: [Scenario; 5] =
        [Scenario::PowerCut, Scenario::Controller, Scenario::Neighbours, Scenario::Stop, Scenario::Rejoin];

    fn title(self) -> &'static str {
        match self {
            Scenario::PowerCut => "power cut",
            Scenario::Controller => "power cut of the controller",
            Scenario::Neighbours => "power cut of two neighbours",
            Scenario::Stop => "orderly stop",
            Scenario::Rejoin => "rejoin (fail-back)",
            Scenario::Idle => "idle",
            Scenario::All => "all",
        }
    }
}

/// What one scenario gave on one system.
struct Result {
    scenario: Scenario,
    system: System,
    outages: Sample,
    /// From the decision to the first answer, as far as the daemons tell when they decided.
    overheads: Sample,
    connections: u64,
    again: u64,
    failed: u64,
    first_failure: Option<String>,
}

impl Result {
    fn note_move(&mut self, outage: Duration, seen: Seen) {
        self.outages.add(outage);
        self.connections += seen.good + seen.failed;
        self.again += seen.again;
        self.failed += seen.failed;
        self.first_failure = self.first_failure.take().or(seen.first_failure);
    }
}

/// Runs it; true if all could be measured.
pub fn run(options: &Options) -> Outcome<bool> {
    let seed = options.seed.unwrap_or_else(crate::clock_seed);
    println!("seed {seed}");
    let mut systems = Vec::new();
    if !options.only_against {
        systems.push(System::Diehard);
    }
    match options.against {
        Some(Rival::Keepalived) => systems.push(System::Keepalived),
        None => {}
    }
    let mut results = Vec::new();
    let mut costs = Vec::new();
    for system in systems {
        measure(options, system, seed, &mut results, &mut costs)?;
    }
    report::print_outages(options, &results);
    report::print_costs(&costs);
    if crate::realtime::was_refused() {
        println!("SCHED_FIFO was refused to the client: its own lateness is in the figures.");
    }
    if let Some(path) = &options.json {
        let text = report::as_json(options, seed, &results, &costs).to_string();
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(true)
}

fn measure(
    options: &Options,
    system: System,
    seed: u64,
    results: &mut Vec<Result>,
    costs: &mut Vec<(System, Cost)>,
) -> Outcome<()> {
    let chosen = |scenario: &Scenario| {
        options.scenario.contains(scenario) || options.scenario.contains(&Scenario::All)
    };
    let mut stage = Stage::build(Plan {
        system,
        nodes: options.nodes,
        interval: options.hello_interval,
        failback_delay: Some(Duration::from_secs(1)),
        startup_wait: Some(Duration::from_secs(3)),
        scripts: Scripts::None,
        extra: String::new(),
    })?;
    println!("{}: {} servers start", system.name(), options.nodes);
    stage.cold_start().map_err(|error| stage.with_logs(&error, LOG_LINES))?;
    if chosen(&Scenario::Idle) {
        stage.rest();
        pause(Duration::from_secs(2))?;
        let cost = cost::measure(&stage.world, Duration::from_secs(options.idle_seconds))?;
        costs.push((system, Cost { bare_wake: cost::bare_wake()?, ..cost }));
        stage.watch()?;
    }
    for scenario in Scenario::OUTAGES.into_iter().filter(chosen) {
        // Every scenario has chances of its own, so that the same seed means the same moments for both systems.
        let mut chance = Chance(seed ^ scenario as u64);
        let mut result = Result {
            scenario,
            system,
            outages: Sample::default(),
            overheads: Sample::default(),
            connections: 0,
            again: 0,
            failed: 0,
            first_failure: None,
        };
        for number in 1..=options.runs {
            once(&mut stage, &mut chance, &mut result).map_err(|error| {
                stage.with_logs(&format!("{}, run {number}: {error}", scenario.title()), LOG_LINES)
            })?;
        }
        println!("{}: {}: {:.0?}", system.name(), scenario.title(), result.outages.values());
        results.push(result);
    }
    Ok(())
}

/// One run: from a settled cluster to a cluster that is on its way to rest.
fn once(stage: &mut Stage, chance: &mut Chance, result: &mut Result) -> Outcome<()> {
    stage.settled()?;
    let count = stage.world.nodes.len();
    let first = match result.scenario {
        Scenario::Controller if stage.world.plan.system == System::Diehard => {
            checks::controller(&stage.world)?
        }
        _ => chance.index(count),
    };
    let mut victims = vec![first];
    if result.scenario == Scenario::Neighbours && count > 2 {
        victims.push((first + 1) % count);
    }
    stage.prober()?.watch(&victims);
    // Any moment of the interval, after the cluster has been quiet for some of them.
    let interval = stage.world.plan.interval;
    pause(interval * 5 + chance.time(interval * 4))?;
    match result.scenario {
        Scenario::Stop => stop(stage, first, result),
        Scenario::Rejoin => rejoin(stage, first, result),
        _ => {
            let (start, _) = stage.world.cut_power(&victims)?;
            for victim in &victims {
                let gap = stage.taken_over(*victim, start)?;
                result.outages.add(gap.length());
                if gap.length() > LONG * interval && result.system == System::Diehard {
                    let title = result.scenario.title();
                    let what =
                        format!("{title}: {} took {:?}", stage.world.nodes[*victim].name, gap.length());
                    println!("{}", stage.with_logs(&what, 3 * LOG_LINES));
                }
                if result.system == System::Diehard
                    && let Some(overhead) = decision::to_answer(stage, gap.to)?
                {
                    result.overheads.add(overhead);
                }
            }
            stage.served()?;
            stage.world.restore_power(&victims)
        }
    }
}

fn rejoin(stage: &mut Stage, victim: usize, result: &mut Result) -> Outcome<()> {
    stage.world.cut_power(&[victim])?;
    stage.served()?;
    let visitor = stage.visitor(victim)?;
    let start = Instant::now();
    stage.world.restore_power(&[victim])?;
    stage.settled()?;
    result.note_move(stage.silence(victim, start)?, visitor.finish()?);
    Ok(())
}

fn stop(stage: &mut Stage, victim: usize, result: &mut Result) -> Outcome<()> {
    let visitor = stage.visitor(victim)?;
    pause(Duration::from_millis(50))?;
    let start = Instant::now();
    stage.world.stop_daemon(victim)?;
    stage.served()?;
    result.note_move(stage.silence(victim, start)?, visitor.finish()?);
    stage.world.start_daemon(victim)
}
