//! `lab calm`: a busy machine, then lossy wires. Nobody may be taken for dead, nothing may move (P6).
//!
//! Counted from the daemons' own events, and from the client: a holder that changes was a takeover. What follows from the machine's
//! standing still is told apart: leases end then everywhere for a moment, and who stands still for T is dead to others.

use crate::busy::Busy;
use crate::decision::{parse_time_of_day, time_of_day};
use crate::figures::table;
use crate::interrupt::pause;
use crate::namespace::Outcome;
use crate::stage::Stage;
use crate::standstill::{Meter, Standstill};
use crate::world::{Lan, Plan, Scripts, System, WireFault};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Busy processes for each core (design.md, P6).
const BUSY: usize = 10;
/// Of a hundred frames (P6).
const LOSS: u8 = 20;
/// How often events and lateness are read: `status` knows the worst of the last 10 s, and a daemon keeps
/// the last 4,096 events.
const LOOK: Duration = Duration::from_secs(5);
/// What may happen at the most: each is a failure.
const FORBIDDEN: [&str; 5] = ["down", "taken", "released", "elected", "lease-lost"];
/// Of these, what a standstill excuses that is shorter than T.
const EXCUSABLE: [&str; 3] = ["lease-lost", "released", "taken"];
/// How long it excuses them, and how long one of T or more excuses everything: until all is at home again. In milliseconds.
const AFTERMATH: [i128; 2] = [1_000, 10_000];
/// What is counted beside them, for the figures.
const COUNTED: [&str; 4] = ["suspected", "cleared", "late", "path-fault"];

/// What to measure.
#[derive(Args)]
pub struct Options {
    /// How long each part takes.
    #[arg(long, default_value = "10", value_parser = crate::minutes)]
    minutes: Duration,
    /// How many servers.
    #[arg(long, default_value = "5", value_parser = crate::node_count)]
    nodes: usize,
    /// T.
    #[arg(long, default_value = "100ms", value_parser = crate::duration)]
    hello_interval: Duration,
    /// Only this.
    #[arg(long, value_enum)]
    only: Option<Trouble>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Trouble {
    /// Ten busy processes for each core.
    Busy,
    /// 20 % loss on the internal LAN.
    Internal,
    /// 20 % loss on the external LAN.
    External,
}

impl Trouble {
    const ALL: [Trouble; 3] = [Trouble::Busy, Trouble::Internal, Trouble::External];

    fn title(self) -> String {
        match self {
            Trouble::Busy => format!("{BUSY} busy processes a core"),
            Trouble::Internal => format!("{LOSS} % loss, internal LAN"),
            Trouble::External => format!("{LOSS} % loss, external LAN"),
        }
    }
}

/// What was seen in one part.
#[derive(Default)]
struct Seen {
    events: BTreeMap<String, u64>,
    standstills: Vec<Standstill>,
    interval: Duration,
    excused: u64,
    first_forbidden: Vec<String>,
    worst_lateness: f64,
    changes: usize,
    longest_silence: Duration,
}

/// Runs it; true if nothing moved.
pub fn run(options: &Options) -> Outcome<bool> {
    let mut stage = Stage::build(Plan {
        system: System::Diehard,
        nodes: options.nodes,
        interval: options.hello_interval,
        failback_delay: Some(Duration::from_secs(1)),
        startup_wait: Some(Duration::from_secs(3)),
        scripts: Scripts::None,
        extra: "quorum = majority\n".to_owned(),
    })?;
    stage.cold_start().map_err(|error| stage.with_logs(&error, 15))?;
    // Each address every 10 ms: the client is not what the machine is busy with.
    stage.prober()?.watch(&[]);
    let meter = Meter::start()?;
    let mut lines = vec![heading()];
    let mut calm = true;
    for trouble in Trouble::ALL.into_iter().filter(|one| options.only.is_none_or(|only| only == *one)) {
        stage.settled().map_err(|error| stage.with_logs(&error, 15))?;
        let seen = watch(&stage, &meter, trouble, options)?;
        calm &= seen.is_calm();
        for line in seen.first_forbidden.iter().take(20) {
            println!("{}: {line}", trouble.title());
        }
        lines.push(seen.line(trouble, options.minutes));
    }
    println!("{} servers, hello every {:?}\n{}", options.nodes, options.hello_interval, table(&lines));
    println!("{}", if calm { "calm: no takeover, nobody was taken for dead" } else { "NOT calm" });
    Ok(calm)
}

fn watch(stage: &Stage, meter: &Meter, trouble: Trouble, options: &Options) -> Outcome<Seen> {
    let length = options.minutes;
    let mut seen = Seen { interval: options.hello_interval, ..Seen::default() };
    let mut last = read_events(stage, &vec![0; stage.world.nodes.len()], &mut Seen::default())?;
    let start = Instant::now();
    let loss = |lan| stage.world.set_wires(&[WireFault::Loss { node: None, lan, percent: LOSS }]);
    let busy = match trouble {
        // They would end by themselves if the lab died.
        Trouble::Busy => Some(Busy::start(BUSY, length + Duration::from_secs(60))?),
        Trouble::Internal => loss(Lan::Internal).map(|()| None)?,
        Trouble::External => loss(Lan::External).map(|()| None)?,
    };
    while start.elapsed() < length {
        pause(LOOK.min(length.saturating_sub(start.elapsed())))?;
        stage.world.daemons_live()?;
        seen.standstills = meter.that_end_leases(start, options.hello_interval);
        last = read_events(stage, &last, &mut seen)?;
        for index in 0..stage.world.nodes.len() {
            let lateness = stage.world.status(index)?["lateness_ms"].as_f64().unwrap_or(f64::NAN);
            seen.worst_lateness = seen.worst_lateness.max(lateness);
        }
    }
    drop(busy);
    stage.world.set_wires(&[])?;
    for service in 0..stage.world.nodes.len() {
        let changes = stage.prober()?.changes(service, start);
        let excused = changes.iter().filter(|(at, _)| seen.excuses(None, time_of_day(*at))).count();
        seen.excused += excused as u64;
        seen.changes += changes.len() - excused;
        seen.longest_silence = seen.longest_silence.max(stage.silence(service, start)?);
    }
    Ok(seen)
}

/// Counts the events after `last`, by their numbers; the newest number of each daemon.
fn read_events(stage: &Stage, last: &[u64], seen: &mut Seen) -> Outcome<Vec<u64>> {
    let mut newest = last.to_vec();
    for (index, node) in stage.world.nodes.iter().enumerate() {
        let told = stage.world.diehard(index, &["--json", "events", "--here"])?;
        for line in told.lines() {
            let entry: Value =
                serde_json::from_str(line).map_err(|error| format!("events: {error}: {line}"))?;
            let sequence = entry["sequence"].as_u64().ok_or_else(|| format!("events: {line}"))?;
            if sequence <= last[index] {
                continue;
            }
            newest[index] = newest[index].max(sequence);
            let event = entry["fields"]["event"].as_str().unwrap_or_default().to_owned();
            if FORBIDDEN.contains(&event.as_str()) {
                let time = entry["time"].as_str().and_then(parse_time_of_day);
                let time = time.ok_or_else(|| format!("events: {line}"))?;
                if seen.excuses(Some(&event), time) {
                    seen.excused += 1;
                    continue;
                }
                seen.first_forbidden.push(format!("{} {}: {}", entry["time"], node.name, entry["text"]));
            }
            *seen.events.entry(event).or_default() += 1;
        }
    }
    Ok(newest)
}

fn heading() -> Vec<String> {
    let counted = COUNTED.iter().chain(&FORBIDDEN);
    let mut cells = vec!["trouble".to_owned(), "minutes".to_owned()];
    cells.extend(counted.map(|word| (*word).to_owned()));
    cells.extend(
        ["machine stood still", "excused by it", "holder changes", "longest silence ms", "worst lateness ms"]
            .map(str::to_owned),
    );
    cells
}

impl Seen {
    /// Does the machine's standing still excuse this event, or else another holder, at that time of the day?
    fn excuses(&self, event: Option<&str>, time: i128) -> bool {
        self.standstills.iter().any(|one| {
            let long = one.length() >= self.interval;
            // Events have whole milliseconds, cut off.
            let excused = time_of_day(one.from) - 1..=time_of_day(one.until) + AFTERMATH[usize::from(long)];
            (long || event.is_some_and(|event| EXCUSABLE.contains(&event))) && excused.contains(&time)
        })
    }

    fn is_calm(&self) -> bool {
        self.changes == 0 && FORBIDDEN.iter().all(|event| !self.events.contains_key(*event))
    }

    fn line(&self, trouble: Trouble, length: Duration) -> Vec<String> {
        let count = |event: &&str| self.events.get(*event).copied().unwrap_or(0).to_string();
        let mut cells = vec![trouble.title(), format!("{:.1}", length.as_secs_f64() / 60.0)];
        cells.extend(COUNTED.iter().chain(&FORBIDDEN).map(count));
        cells.push(self.standstills.len().to_string());
        cells.push(self.excused.to_string());
        cells.push(self.changes.to_string());
        cells.push(format!("{:.0}", crate::systems::milliseconds(self.longest_silence)));
        cells.push(format!("{:.1}", self.worst_lateness));
        cells
    }
}
