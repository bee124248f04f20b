//! The bench's figures as tables and as JSON.

use super::{Options, Result};
use crate::cost::Cost;
use crate::figures::{Sample, table};
use crate::systems::milliseconds;
use crate::world::System;
use serde_json::{Value, json};

pub(super) fn print_outages(options: &Options, results: &[Result]) {
    if results.is_empty() {
        return;
    }
    let heading = [
        "outage in ms",
        "system",
        "runs",
        "least",
        "median",
        "worst",
        "median/T",
        "decision to answer",
        "failed/reset/connects",
        "ratio",
    ];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    let interval = milliseconds(options.hello_interval);
    for result in results {
        let sample = &result.outages;
        let rival =
            results.iter().find(|other| other.scenario == result.scenario && other.system != result.system);
        let ratio = rival
            .filter(|_| result.system == System::Diehard)
            .map(|rival| sample.median() / rival.outages.median());
        lines.push(vec![
            result.scenario.title().to_owned(),
            result.system.name().to_owned(),
            sample.count().to_string(),
            format!("{:.0}", sample.least()),
            format!("{:.0}", sample.median()),
            format!("{:.0}", sample.worst()),
            format!("{:.2}", sample.median() / interval),
            overhead(&result.overheads),
            if result.connections == 0 {
                "-".to_owned()
            } else {
                format!("{}/{}/{}", result.failed, result.again, result.connections)
            },
            ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    println!("\n{} servers, {} ms\n{}", options.nodes, interval, table(&lines));
    for result in results {
        if let Some(failure) = &result.first_failure {
            println!(
                "{}, {}: first failed connect: {failure}",
                result.system.name(),
                result.scenario.title()
            );
        }
    }
}

/// Median and worst.
fn overhead(sample: &Sample) -> String {
    if sample.count() == 0 { "-".to_owned() } else { format!("{:.1}/{:.1}", sample.median(), sample.worst()) }
}

pub(super) fn print_costs(costs: &[(System, Cost)]) {
    if costs.is_empty() {
        return;
    }
    let heading = [
        "quiet, per server",
        "CPU ms/s",
        "busiest",
        "wakes/s",
        "a bare wake us",
        "MiB",
        "processes",
        "packets/s",
        "busiest",
    ];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    for (system, cost) in costs {
        let figures = [
            cost.cpu,
            cost.busiest.0,
            cost.wakes,
            cost.bare_wake,
            cost.resident,
            cost.processes,
            cost.packets,
            cost.busiest.1,
        ];
        let cells = figures.iter().map(|figure| format!("{figure:.1}"));
        lines.push([system.name().to_owned()].into_iter().chain(cells).collect());
    }
    println!("\n{}", table(&lines));
}

pub(super) fn as_json(options: &Options, seed: u64, results: &[Result], costs: &[(System, Cost)]) -> Value {
    let outages = results.iter().map(|result| {
        json!({
            "scenario": result.scenario.title(), "system": result.system.name(),
            "median_ms": result.outages.median(), "worst_ms": result.outages.worst(),
            "outages_ms": result.outages.values(), "decision_to_answer_ms": result.overheads.values(),
            "connects": result.connections, "failed_connects": result.failed, "reset_connects": result.again,
        })
    });
    let costs = costs.iter().map(|(system, cost)| {
        json!({
            "system": system.name(), "cpu_ms_per_s": cost.cpu, "cpu_busiest_ms_per_s": cost.busiest.0,
            "wakes_per_s": cost.wakes, "bare_wake_us": cost.bare_wake,
            "resident_mib": cost.resident, "processes": cost.processes,
            "packets_per_s": cost.packets, "packets_busiest_per_s": cost.busiest.1,
        })
    });
    json!({
        "seed": seed, "nodes": options.nodes, "hello_interval_ms": milliseconds(options.hello_interval),
        "outages": outages.collect::<Vec<_>>(), "idle": costs.collect::<Vec<_>>(),
    })
}
