//! What an operator sees and types: the story of all nodes, the receipt of a takeover, how fast `status` answers.

use super::Test;
use crate::interrupt::wait_until;
use crate::namespace::{Outcome, command_in, run, run_with_input};
use crate::stage::Stage;
use crate::systems::binary;
use crate::world::World;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

/// With services that run anyway.
pub const TESTS: &[Test] = &[
    Test { name: "operators-receipt", run: receipt, least: 4 },
    Test { name: "operators-story", run: story, least: 4 },
    Test { name: "operators-status-is-fast", run: status_is_fast, least: 4 },
    Test { name: "operators-doctor", run: doctor, least: 4 },
    Test { name: "operators-drill", run: drill, least: 4 },
    Test { name: "operators-log-level", run: log_level, least: 4 },
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

/// The doctor finds nothing on a sound server, and each of five faults by its name, with a remedy that helps.
fn doctor(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let (node, odd) = (1, 2);
    let namespace = stage.world.nodes[node].namespace.clone();
    wait_until("a sound server", SOON, || Ok(bad(stage, node)?.is_empty()))?;
    // On the external link alone, which the heartbeat can do without.
    let filter = "table inet ill {\n chain in {\n  type filter hook input priority 0;\n  iifname eth0 udp dport 694 drop\n }\n}\n";
    run_with_input("ip", &["netns", "exec", &namespace, "nft", "-f", "-"], filter)?;
    let theirs = stage.world.nodes[odd].namespace.clone();
    let closed =
        "table inet ill {\n chain in {\n  type filter hook input priority 0;\n  tcp dport 694 drop\n }\n}\n";
    run_with_input("ip", &["netns", "exec", &theirs, "nft", "-f", "-"], closed)?;
    let sysctl = |word: &str| run("ip", &["netns", "exec", &namespace, "sysctl", "-q", "-w", word]);
    sysctl("net.ipv4.conf.eth0.drop_gratuitous_arp=1")?;
    let file = stage.world.node_directory(odd).join("diehard.conf");
    let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    fs::write(&file, text.clone() + "weight = 7\n").map_err(|error| error.to_string())?;
    stage.world.signal_daemon(odd, Signal::SIGHUP)?;
    stage.world.cut_power(&[3])?;
    let expected: BTreeSet<String> =
        ["drift", "firewall", "nodes", "push", "sysctl"].map(str::to_owned).into();
    wait_until("it names every fault", SOON, || {
        let found = bad(stage, node)?;
        let remedies = found.iter().all(|finding| finding["remedy"].is_string());
        let named: BTreeSet<String> =
            found.iter().filter_map(|finding| Some(finding["check"].as_str()?.to_owned())).collect();
        Ok(remedies && named.is_superset(&expected))
    })?;
    for finding in bad(stage, node)? {
        let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        println!("  {}: {} -> {}", word("check"), word("message"), word("remedy"));
    }
    for filtered in [&namespace, &theirs] {
        run("ip", &["netns", "exec", filtered, "nft", "delete", "table", "inet", "ill"])?;
    }
    sysctl("net.ipv4.conf.eth0.drop_gratuitous_arp=0")?;
    fs::write(&file, text).map_err(|error| error.to_string())?;
    stage.world.signal_daemon(odd, Signal::SIGHUP)?;
    stage.world.restore_power(&[3])?;
    stage.settled()?;
    wait_until("it is sound again", SOON * 2, || Ok(bad(stage, node)?.is_empty()))
}

/// What the doctor finds fault with, asked on the machine itself, by somebody who ignores SIGCHLD; relative paths are the daemon's.
fn bad(stage: &Stage, index: usize) -> Outcome<Vec<Value>> {
    let directory = stage.world.node_directory(index);
    let mut command = command_in(&stage.world.nodes[index].namespace, "sh");
    command.args(["-c", "trap '' CHLD; exec \"$@\"", "sh", &binary("diehard")]).arg("-s");
    command.current_dir(&directory).arg(directory.join("run/control.sock"));
    let output = command.args(["--json", "doctor"]).output().map_err(|error| error.to_string())?;
    let said: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let findings = said["findings"].as_array().cloned().unwrap_or_default();
    Ok(findings.into_iter().filter(|finding| finding["level"] != "ok").collect())
}

/// A service, then a whole node, fails as planned and comes back; a client loses nothing by it. Refused where the rest
/// cannot carry it, and where something fails in earnest.
fn drill(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let visitor = stage.visitor(2)?;
    for what in ["www3", "web3"] {
        let said = stage.world.diehard(0, &["--json", "drill", what])?;
        let said: Value = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
        let passage = &said["services"][0];
        let outages = ["outage_ms", "back_outage_ms"].map(|way| passage[way].as_f64());
        let right = passage["service"] == "www3" && passage["from"] == "web3" && passage["to"] != "web3";
        if !right || outages.iter().any(Option::is_none) {
            return Err(format!("the drill of {what} tells {said}"));
        }
        println!("  drill of {what}: to {}, outages there and back {outages:?} ms", passage["to"]);
        stage.settled()?;
    }
    let seen = visitor.finish()?;
    println!("  its client: longest silence {:.1} ms, {} failed connects", ms(seen.longest), seen.failed);
    stage.world.cut_power(&[3])?;
    wait_until("a dead node is no time for a drill", SOON, || {
        let refused = stage.world.diehard(0, &["drill", "www2"]).err().unwrap_or_default();
        Ok(refused.contains("web4 is down: no drill while something fails in earnest"))
    })?;
    stage.world.restore_power(&[3])?;
    stage.settled()
}

/// `log_level` changes with a reload: less is written, then more again.
fn log_level(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let node = 1;
    let directory = stage.world.node_directory(node);
    let (file, log) = (directory.join("diehard.conf"), directory.join("daemon.log"));
    let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let written = || fs::read_to_string(&log).map_err(|error| error.to_string());
    let reload = |stage: &Stage, text: &str| -> Outcome<()> {
        fs::write(&file, text).map_err(|error| error.to_string())?;
        let begin = newest(stage, node)?;
        stage.world.signal_daemon(node, Signal::SIGHUP)?;
        wait_until("it has read it", SOON, || Ok(!told(stage, node, begin, "reloaded", "")?.is_empty()))
    };
    let move_there_and_back = |stage: &mut Stage| -> Outcome<()> {
        stage.world.diehard(0, &["move", "www2", "web3", "--wait"])?;
        stage.world.diehard(0, &["failback", "www2", "--wait"])?;
        stage.settled()
    };
    reload(stage, &text.replacen("[cluster]\n", "[cluster]\nlog_level = error\n", 1))?;
    let before = written()?.len();
    move_there_and_back(stage)?;
    let quiet = written()?[before..].to_owned();
    if quiet.contains(" INFO ") || quiet.contains(" WARN ") {
        return Err(format!("at log_level = error it wrote {quiet}"));
    }
    reload(stage, &text)?;
    move_there_and_back(stage)?;
    wait_until("it writes again", SOON, || Ok(written()?[before..].contains(" INFO ")))
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
