//! What an operator sees and types: the story of all nodes, the receipt of a takeover, how fast `status` answers.

use super::Test;
use crate::interrupt::wait_until;
use crate::namespace::{Outcome, run};
use crate::stage::Stage;
use crate::world::World;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// With services that run anyway.
pub const TESTS: &[Test] = &[
    Test { name: "operators-receipt", run: receipt, least: 4 },
    Test { name: "operators-story", run: story, least: 4 },
    Test { name: "operators-status-is-fast", run: status_is_fast, least: 4 },
];

/// How long news may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A neighbour whose cache nothing corrects is found, named, asked again, and believed when it is right.
fn receipt(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let (victim, neighbour) = (2, 0);
    // Whoever takes the address asks some of these.
    let namespaces: Vec<(String, String)> = [0, 1, 3]
        .map(|index| &stage.world.nodes[index])
        .map(|node| (node.name.clone(), node.namespace.clone()))
        .into();
    let address = World::service_address(victim).to_string();
    let stale = format!("02:00:00:01:00:{:02x}", victim + 1);
    let begin = newest(stage, neighbour)?;
    // Permanent: no announcement changes it.
    for (_, namespace) in &namespaces {
        let entry = ["-n", namespace, "neigh", "replace", &address, "lladdr", &stale, "dev", "eth0"];
        run("ip", &[&entry[..], &["nud", "permanent"]].concat())?;
    }
    stage.world.cut_power(&[victim])?;
    let mut doubted = Value::Null;
    wait_until("an event names the stale cache", SOON, || {
        let found = told(stage, neighbour, begin, "doubted", "www3")?;
        doubted = found.first().cloned().unwrap_or_default();
        Ok(!found.is_empty())
    })?;
    let by = &doubted["fields"]["by"][0];
    if !namespaces.iter().any(|(name, _)| by["node"] == name.as_str()) || by["cached"] != stale.as_str() {
        return Err(format!("the doubt is {doubted}"));
    }
    for (_, namespace) in &namespaces {
        run("ip", &["-n", namespace, "neigh", "del", &address, "dev", "eth0"])?;
    }
    wait_until("the takeover is confirmed", SOON, || {
        Ok(!told(stage, neighbour, begin, "confirmed", "www3")?.is_empty())
    })?;
    let confirmed = told(stage, neighbour, begin, "confirmed", "www3")?.remove(0);
    let steps = ["detect_ms", "claim_ms", "confirm_ms"].map(|step| confirmed["fields"][step].as_f64());
    println!(
        "  {}: {}",
        confirmed["node"].as_str().unwrap_or_default(),
        confirmed["text"].as_str().unwrap_or_default()
    );
    if steps.iter().any(Option::is_none) {
        return Err(format!("a step is missing: {confirmed}"));
    }
    stage.world.restore_power(&[victim])?;
    stage.settled()
}

/// Each node tells the same story of all, that of one that is dead and of one that was restarted as well.
fn story(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let all: BTreeSet<String> = stage.world.nodes.iter().map(|node| node.name.clone()).collect();
    for asked in 0..all.len() {
        wait_until("it knows of every node's start", SOON, || {
            let booted =
                said(stage, asked, 0)?.into_iter().filter(|entry| entry["fields"]["event"] == "booted");
            Ok(booted
                .map(|entry| entry["node"].as_str().unwrap_or_default().to_owned())
                .collect::<BTreeSet<_>>()
                == all)
        })?;
    }
    let restarted = 1;
    let texts = |stage: &Stage| -> Outcome<BTreeSet<String>> {
        let entries = said(stage, restarted, 0)?;
        Ok(entries
            .iter()
            .map(|entry| format!("{} {} {}", entry["time"], entry["node"], entry["text"]))
            .collect())
    };
    let before = texts(stage)?;
    stage.world.stop_daemon(restarted)?;
    stage.world.start_daemon(restarted)?;
    wait_until("it answers again", SOON, || Ok(stage.world.status(restarted).is_ok()))?;
    let after = texts(stage)?;
    if let Some(lost) = before.difference(&after).next() {
        return Err(format!("after the restart it has forgotten {lost}"));
    }
    wait_until("it tells what the others saw meanwhile", SOON, || {
        let left = told(stage, restarted, 0, "left", "")?;
        Ok(left.iter().any(|entry| entry["fields"]["node"] == "web2"))
    })?;
    stage.settled()
}

/// `diehard status` as a process, from start to end.
fn status_is_fast(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        stage.world.diehard(0, &["status"])?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let (median, slow) = (times[50], times[95]);
    println!("  status: median {:.1} ms, 95th of a hundred {:.1} ms", ms(median), ms(slow));
    if median > Duration::from_millis(20) {
        return Err(format!("status needs {:.1} ms", ms(median)));
    }
    Ok(())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// All events that the node knows, after that number of its list.
fn said(stage: &Stage, index: usize, since: u64) -> Outcome<Vec<Value>> {
    let said = stage.world.diehard(index, &["--json", "events", "--since", &since.to_string()])?;
    said.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))).collect()
}

fn newest(stage: &Stage, index: usize) -> Outcome<u64> {
    Ok(said(stage, index, 0)?.iter().filter_map(|entry| entry["sequence"].as_u64()).max().unwrap_or(0))
}

/// Those of that name, and of that service if it is not empty.
fn told(stage: &Stage, index: usize, since: u64, event: &str, service: &str) -> Outcome<Vec<Value>> {
    let mut entries = said(stage, index, since)?;
    entries.retain(|entry| entry["fields"]["event"] == event);
    entries.retain(|entry| service.is_empty() || entry["fields"]["service"] == service);
    Ok(entries)
}
