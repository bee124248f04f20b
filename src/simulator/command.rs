//! `diehard simulate`: runs by hand, in numbers, on two threads. The seed is printed first.

use super::clock::{MILLI, Nanos, SECOND};
use super::experiment::{Deaths, Victims, deaths};
use super::model;
use super::plan::Drill;
use super::run::{CURRENT, Kind, Outcome, Scenario, play, run};
use super::script::{Ill, Script};
use super::shrink::{Shrunk, shrink};
use crate::config::ProbeInterval;
use crate::vocabulary::LinkRole;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// How it is used.
pub const USAGE: &str = "\
usage: diehard simulate [--seed S] [--nodes N] [--hours H | --runs R [--minutes M | --seconds S]] [--trace-from SECONDS]
       diehard simulate --drill isolation|moves|amnesia|times|stopped|stalls|parts|arbiter|few [--seed S] [--nodes N] [--runs R] [--seconds S]
       diehard simulate --seed S --nodes N … --only FAULTS|none [--without ILLS] [--chance C]
       diehard simulate --calm internal|external [--seed S] [--nodes N] [--runs R]
       diehard simulate --experiment power-cut [--victims any|plain|controller|two|three] [--nodes N]
                        [--runs R] [--loss PERCENT] [--divisor 8|16] [--seed S] [--trace-from SECONDS]
       diehard simulate --model lease|agreement|handover|all [--planted MISTAKE]
Without --nodes each run has 2 to 9. What breaks a promise is shortened: the fewest faults and small ills that still break
it, with the line that plays them again. ILLS: loss, duplication, reordering, delay, alias, disk, script, busy, garbage, drift,
slowfaker. Seeds that end in 4, 5 or 8 have foreign causes too: others' hands, packet filters, strangers. Exit 0: no promise broken; 1: one was; 2: usage.
";

/// Runs that may be made to shorten a schedule: about a minute.
const TRIES: u32 = 400;
/// Runs on as many threads as the smallest machine that builds this has cores.
const THREADS: u64 = 2;

#[derive(Debug, Clone)]
struct Options {
    seed: u64,
    nodes: Option<usize>,
    duration: Nanos,
    runs: u64,
    loud_from: Nanos,
    kind: Kind,
    experiment: bool,
    victims: Victims,
    loss: u64,
    probe: ProbeInterval,
    /// The models instead of runs, and the mistake that is planted in them.
    model: Option<String>,
    planted: Option<String>,
    /// Of the faults that the seed draws, these alone, by number.
    only: Option<BTreeSet<usize>>,
    without: Vec<Ill>,
    chance: u64,
}

/// Runs what the arguments say and returns the exit code.
pub fn command(arguments: &[String]) -> i32 {
    let options = match parse(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprint!("diehard simulate: {error}\n{USAGE}");
            return 2;
        }
    };
    if let Some(model) = &options.model {
        return explorations(model, options.planted.as_deref());
    }
    println!("seed {}", options.seed);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let (seed, nodes) = CURRENT.get();
        println!("panic in seed {seed} with {nodes} nodes");
        usual(panic);
    }));
    match &options.only {
        Some(only) => replay(&options, only),
        None if options.experiment => experiment(&options),
        None => runs(&options),
    }
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options {
        seed: wall().as_nanos() as u64 % 1_000_000_000,
        nodes: None,
        duration: 120 * SECOND,
        runs: 1,
        loud_from: Nanos::MAX,
        kind: Kind::Storm,
        experiment: false,
        victims: Victims::Any,
        loss: 0,
        probe: ProbeInterval::Eighth,
        model: None,
        planted: None,
        only: None,
        without: Vec::new(),
        chance: 0,
    };
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{name} wants a value"))?;
        option(&mut options, name, value)?;
    }
    let most = super::network::MAX_NODES;
    if options.nodes.is_some_and(|nodes| !(2..=most).contains(&nodes)) {
        return Err(format!("--nodes: 2 to {most}"));
    }
    Ok(options)
}

fn option(options: &mut Options, name: &str, value: &str) -> Result<(), String> {
    let number = || value.parse::<u64>().map_err(|_| format!("{name}: {value:?} is no number"));
    match (name, value) {
        ("--seed", _) => options.seed = number()?,
        ("--nodes", _) => options.nodes = Some(number()? as usize),
        ("--runs", _) => options.runs = number()?,
        ("--hours", _) => options.duration = number()? * 3600 * SECOND,
        ("--minutes", _) => options.duration = number()? * 60 * SECOND,
        ("--seconds", _) => options.duration = number()? * SECOND,
        ("--loss", _) => options.loss = number()? * 10,
        ("--trace-from", _) => options.loud_from = number()? * SECOND,
        ("--calm", "internal") => options.kind = Kind::Calm(LinkRole::Internal),
        ("--calm", "external") => options.kind = Kind::Calm(LinkRole::External),
        ("--drill", "isolation") => options.kind = Kind::Drill(Drill::Isolation),
        ("--drill", "moves") => options.kind = Kind::Drill(Drill::Moves),
        ("--drill", "amnesia") => options.kind = Kind::Drill(Drill::Amnesia),
        ("--drill", "times") => options.kind = Kind::Drill(Drill::Times),
        ("--drill", "stopped") => options.kind = Kind::Drill(Drill::Stopped),
        ("--drill", "stalls") => options.kind = Kind::Drill(Drill::Stalls),
        ("--drill", "parts") => options.kind = Kind::Drill(Drill::Parts),
        ("--drill", "arbiter") => options.kind = Kind::Drill(Drill::Arbiter),
        ("--drill", "few") => options.kind = Kind::Drill(Drill::Few),
        ("--model", _) => options.model = Some(value.to_string()),
        ("--planted", _) => options.planted = Some(value.to_string()),
        ("--only", "none") => options.only = Some(BTreeSet::new()),
        ("--only", _) => {
            let numbers = value.split(',').map(|number| number.parse().map_err(|_| number));
            let numbers = numbers.collect::<Result<_, _>>();
            options.only = Some(numbers.map_err(|wrong| format!("{name}: {wrong:?} is no number"))?);
        }
        ("--without", _) => {
            let ill = |word: &str| Ill::ALL.into_iter().find(|ill| ill.name() == word).ok_or(word.to_owned());
            let ills = value.split(',').map(ill).collect::<Result<_, _>>();
            options.without = ills.map_err(|wrong| format!("{name}: there is no ill {wrong:?}"))?;
        }
        ("--chance", _) => options.chance = number()?,
        ("--experiment", "power-cut") => options.experiment = true,
        ("--victims", "any") => options.victims = Victims::Any,
        ("--victims", "plain") => options.victims = Victims::Plain,
        ("--victims", "controller") => options.victims = Victims::Controller,
        ("--victims", "two") => options.victims = Victims::Neighbours(2),
        ("--victims", "three") => options.victims = Victims::Neighbours(3),
        ("--divisor", "8") => options.probe = ProbeInterval::Eighth,
        ("--divisor", "16") => options.probe = ProbeInterval::Sixteenth,
        _ => return Err(format!("{name} {value}: no such option or value")),
    }
    Ok(())
}

/// Real time, for a first seed and for the rate; the worlds never see it.
fn wall() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// Calls `work` for every number below `count`, on all threads, until one says stop.
pub(super) fn spread(count: u64, work: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(count) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if !work(number) {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

fn explorations(model: &str, planted: Option<&str>) -> i32 {
    let all = match model::explorations(model, planted) {
        Ok(all) => all,
        Err(error) => {
            eprint!("diehard simulate: {error}\n{USAGE}");
            return 2;
        }
    };
    let begin = wall();
    let broken = AtomicBool::new(false);
    spread(all.len() as u64, |number| {
        let (text, fine) = all[number as usize].tell();
        print!("{text}");
        broken.fetch_or(!fine, Ordering::Relaxed);
        true
    });
    println!("{:.1} s", wall().saturating_sub(begin).as_secs_f64());
    i32::from(broken.load(Ordering::Relaxed))
}

impl Options {
    fn scenario(&self, number: u64) -> Scenario {
        let seed = self.seed + number;
        Scenario {
            seed,
            nodes: self.nodes.unwrap_or(2 + (seed % 8) as usize),
            duration: self.duration,
            kind: self.kind,
            garbage: true,
            loud_from: self.loud_from,
        }
    }
}

/// One run with a part of its faults.
fn replay(options: &Options, only: &BTreeSet<usize>) -> i32 {
    let scenario = options.scenario(0);
    let (_, cues) = play(&Scenario { loud_from: Nanos::MAX, ..scenario }, None, None);
    let (without, chance) = (options.without.clone(), options.chance);
    let script = Script { cues: cues.into(), only: only.clone(), without, chance };
    let (outcome, _) = play(&scenario, None, Some(&script));
    tell(&scenario, &outcome, Some(&script));
    if outcome.violations.is_empty() {
        println!("no promise is broken");
    }
    i32::from(!outcome.violations.is_empty())
}

fn runs(options: &Options) -> i32 {
    let begin = wall();
    let broken = parking_lot::Mutex::new(None);
    let virtual_millis = AtomicU64::new(0);
    let received = AtomicU64::new(0);
    let slowest = AtomicU64::new(0);
    let nobody = AtomicU64::new(0);
    spread(options.runs, |number| {
        let scenario = options.scenario(number);
        let outcome = run(&scenario);
        virtual_millis.fetch_add(options.duration / MILLI, Ordering::Relaxed);
        received.fetch_add(outcome.statistics.received, Ordering::Relaxed);
        slowest.fetch_max(outcome.settled.iter().copied().max().unwrap_or(0) / MILLI, Ordering::Relaxed);
        nobody.fetch_max(outcome.statistics.nobody / MILLI, Ordering::Relaxed);
        if outcome.violations.is_empty() {
            return true;
        }
        // The other thread may have failed as well: one story is enough.
        broken.lock().get_or_insert((scenario, outcome));
        false
    });
    let broken = broken.into_inner();
    if let Some((scenario, outcome)) = &broken {
        tell(scenario, outcome, None);
        let quiet = Scenario { loud_from: Nanos::MAX, ..*scenario };
        if let Some(Shrunk { script, outcome, tries }) = shrink(&quiet, None, TRIES) {
            let (left, all) = (script.only.len(), script.cues.len());
            println!(
                "\nthe shortest schedule that breaks it, {left} of {all} faults, found in {tries} runs:"
            );
            tell(scenario, &outcome, Some(&script));
        }
    }
    let spent = wall().saturating_sub(begin).as_secs_f64();
    let seconds = virtual_millis.load(Ordering::Relaxed) as f64 / 1e3;
    println!(
        "{seconds:.0} virtual seconds in {spent:.1} s: {:.0} a second; {} datagrams handled; slowest recovery {} ms{}",
        seconds / spent.max(1e-9),
        received.load(Ordering::Relaxed),
        slowest.load(Ordering::Relaxed),
        match nobody.into_inner() {
            0 => String::new(),
            millis => format!("; longest without a holder {millis} ms"),
        },
    );
    i32::from(broken.is_some())
}

fn tell(scenario: &Scenario, outcome: &Outcome, script: Option<&Script>) {
    for line in &outcome.trace {
        println!("{line}");
    }
    for violation in &outcome.violations {
        println!(
            "BROKEN {} at {:.6} s: {}",
            violation.promise,
            violation.at as f64 / SECOND as f64,
            violation.what
        );
    }
    let kind = match scenario.kind {
        Kind::Storm => String::new(),
        Kind::Drill(drill) => format!(" --drill {drill:?}").to_lowercase(),
        Kind::Calm(role) => format!(" --calm {role}").to_lowercase(),
    };
    let (seed, nodes, seconds) = (scenario.seed, scenario.nodes, scenario.duration / SECOND);
    let script = script.map(arguments).unwrap_or_default();
    println!("again: diehard simulate --seed {seed} --nodes {nodes} --seconds {seconds}{kind}{script}");
}

/// What plays this script.
fn arguments(script: &Script) -> String {
    let list = |words: Vec<String>| if words.is_empty() { "none".to_owned() } else { words.join(",") };
    let mut text = format!(" --only {}", list(script.only.iter().map(ToString::to_string).collect()));
    if !script.without.is_empty() {
        text += &format!(" --without {}", list(script.without.iter().map(|ill| ill.name()).collect()));
    }
    if script.chance > 0 {
        text += &format!(" --chance {}", script.chance);
    }
    text
}

fn experiment(options: &Options) -> i32 {
    let results = parking_lot::Mutex::new(Vec::new());
    let failure = parking_lot::Mutex::new(None);
    spread(options.runs, |number| {
        let seed = options.seed + number;
        let result = deaths(&Deaths {
            seed,
            nodes: options.nodes.unwrap_or(4),
            victims: options.victims,
            loss: options.loss,
            probe: options.probe,
            loud_from: options.loud_from,
        });
        let fine = result.failure.is_none();
        results.lock().extend(result.outages.iter().map(|outage| (*outage, seed)));
        if let Some(text) = result.failure {
            *failure.lock() = Some((seed, text));
        }
        fine
    });
    if let Some((seed, text)) = failure.into_inner() {
        println!("{text}seed {seed}");
        return 1;
    }
    let mut outages = results.into_inner();
    outages.sort_unstable();
    let Some((worst, seed)) = outages.last().copied() else { return 1 };
    let millis = |nanos: Nanos| nanos as f64 / MILLI as f64;
    println!(
        "{} services moved; outage in ms: median {:.1}, 99 % {:.1}, worst {:.1} (seed {seed})",
        outages.len(),
        millis(outages[outages.len() / 2].0),
        millis(outages[outages.len() * 99 / 100].0),
        millis(worst),
    );
    0
}
