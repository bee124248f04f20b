//! What came of it, in words and tables; where a promise was broken, all that is known of that moment.

use super::deeds::Stagehand;
use super::schedule::Planned;
use crate::decision::parse_time_of_day;
use crate::faults::{Class, NOISE};
use crate::figures::table;
use crate::judge::{History, Verdict, Violation};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Of so many violations everything is printed; more are named.
const IN_FULL: usize = 4;
/// What is printed around a violation.
const AROUND: Duration = Duration::from_secs(2);
/// Lines of one daemon around one violation.
const LINES: usize = 40;

/// A line of `--dry-run`.
pub fn planned_line(planned: &Planned) -> String {
    let length = (planned.end - planned.begin).as_secs_f64();
    format!("{:9.3}  {:6.3} s  {}", planned.begin.as_secs_f64(), length, planned.fault)
}

/// The table of outages by class, and what else was measured.
pub fn figures(history: &History, verdict: &Verdict, home: Option<Duration>) -> String {
    let heading = ["fault", "count", "outages", "median ms", "worst ms", "declared ms"];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    let figure = |value: f64| if value.is_nan() { "-".to_owned() } else { format!("{value:.0}") };
    for class in Class::ALL {
        let Some((count, sample)) = verdict.figures.get(&class) else { continue };
        lines.push(vec![
            class.name().to_owned(),
            count.to_string(),
            sample.count().to_string(),
            figure(sample.median()),
            figure(sample.worst()),
            declared(class, history.interval),
        ]);
    }
    let answers: u64 = history.stretches.iter().flatten().map(|stretch| stretch.answers).sum();
    let home = home.map_or("never".to_owned(), |time| format!("after {:.1} s", time.as_secs_f64()));
    format!(
        "\n{}(declared for one fault alone, and {} ms for this machine)\n{answers} answers in {:.0} s; {} moments with two answers, the longest {} ms (handovers: at most {} ms), {} \
         explained by a stop in a handover; all at home {home}",
        table(&lines),
        NOISE.as_millis(),
        (history.watched.1 - history.watched.0).as_secs_f64(),
        history.doubles.len(),
        figure(verdict.handovers.worst()),
        history.handover_bound().as_millis(),
        verdict.excused,
    )
}

/// Without `NOISE`.
fn declared(class: Class, interval: Duration) -> String {
    match class {
        Class::Unseen => "its length".to_owned(),
        _ => class.promised(interval, Duration::ZERO).as_millis().to_string(),
    }
}

/// What was broken, and all that is known of those moments.
pub fn broken(hand: &Stagehand, history: &History, verdict: &Verdict) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for complaint in &hand.complaints {
        let _ = writeln!(text, "BROKEN {complaint}");
    }
    for (number, violation) in verdict.violations.iter().enumerate() {
        let _ = writeln!(
            text,
            "BROKEN {:.3} to {:.3}: www{}: {}",
            violation.from.as_secs_f64(),
            violation.to.as_secs_f64(),
            violation.address + 1,
            violation.what
        );
        if number < IN_FULL {
            moment(&mut text, hand, history, violation);
        }
    }
    text
}

fn moment(text: &mut String, hand: &Stagehand, history: &History, violation: &Violation) {
    let (from, to) = (violation.from.saturating_sub(AROUND), violation.to + AROUND);
    for deed in
        history.deeds.iter().filter(|deed| deed.begin <= to && deed.end.saturating_add(AROUND * 3) >= from)
    {
        let end = if deed.end == Duration::MAX {
            "…".to_owned()
        } else {
            format!("{:.3}", deed.end.as_secs_f64())
        };
        let _ = writeln!(text, "  fault {:.3} to {end}: {}", deed.begin.as_secs_f64(), deed.fault);
    }
    for stretch in history.stretches[violation.address].iter() {
        if stretch.received >= from && stretch.first_sent <= to {
            let _ = writeln!(
                text,
                "  answers {:.4} to {:.4}: web{} ({})",
                stretch.first_received.as_secs_f64(),
                stretch.received.as_secs_f64(),
                stretch.server + 1,
                stretch.answers
            );
        }
    }
    for double in history.doubles.iter().filter(|double| double.address == violation.address) {
        if double.last >= from && double.first <= to {
            let _ = writeln!(
                text,
                "  two answered {:.4} to {:.4}: {:?}",
                double.first.as_secs_f64(),
                double.last.as_secs_f64(),
                double.servers.iter().map(|server| server + 1).collect::<Vec<_>>()
            );
        }
    }
    snapshots(text, hand, violation);
    for index in 0..hand.world.nodes.len() {
        daemon_lines(text, hand, index, from, to);
    }
}

/// What each daemon said last before it, and first after it.
fn snapshots(text: &mut String, hand: &Stagehand, violation: &Violation) {
    for node in &hand.world.nodes {
        let own = || hand.snapshots.iter().filter(|(_, said)| said.starts_with(&format!("{} ", node.name)));
        let before = own().rev().find(|(time, _)| *time <= violation.from);
        let after = own().find(|(time, _)| *time > violation.from);
        for (time, said) in before.into_iter().chain(after) {
            let _ = writeln!(text, "  status {:.3}: {}", time.as_secs_f64(), in_short(said));
        }
    }
}

/// Who leads and who has what, of `NAME JSON`; what is no status is said as it is.
fn in_short(said: &str) -> String {
    let (name, told) = said.split_once(' ').unwrap_or((said, ""));
    let Ok(status) = serde_json::from_str::<Value>(told) else { return said.to_owned() };
    let services = status["services"].as_array().into_iter().flatten().map(|service| {
        let word = |key: &str| service[key].as_str().unwrap_or("nobody").to_owned();
        format!("{} {} {}", word("name"), word("holder"), word("state"))
    });
    format!(
        "{name}: epoch {}, controller {}, quorum {}, lease {} ms, {}",
        status["epoch"],
        status["controller"],
        status["quorum"],
        status["lease_ms"],
        services.collect::<Vec<_>>().join(", ")
    )
}

/// The daemon's log of that time, in the history's time.
fn daemon_lines(text: &mut String, hand: &Stagehand, index: usize, from: Duration, to: Duration) {
    let began = SystemTime::now() - hand.recorder.now();
    let began = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let began = i128::try_from(began).unwrap_or_default();
    let log = fs::read(hand.world.node_directory(index).join("daemon.log")).unwrap_or_default();
    let mut shown = 0;
    for line in String::from_utf8_lossy(&log).lines() {
        let Some(of_day) = line.split_whitespace().find_map(parse_time_of_day) else { continue };
        let passed = (of_day - began).rem_euclid(DAY);
        let time = Duration::from_millis(u64::try_from(passed).unwrap_or_default());
        if time >= from && time <= to {
            shown += 1;
            if shown <= LINES {
                let said = line.split_once("Z ").map_or(line, |(_, said)| said);
                let name = &hand.world.nodes[index].name;
                let _ = writeln!(text, "  {:9.3} {name}: {}", time.as_secs_f64(), said.trim_start());
            }
        }
    }
    if shown > LINES {
        let _ = writeln!(text, "  and {} more lines of {}", shown - LINES, hand.world.nodes[index].name);
    }
}

const DAY: i128 = 86_400_000;
