//! Where services go: a lost carrier, a gateway that one server does not reach, or nobody; the forecast and what then
//! happens; measured loads; a server that comes and goes. And that `why` on any server tells it.

use super::Test;
use super::hands::events;
use crate::interrupt::{pause, wait_until};
use crate::namespace::Outcome;
use crate::stage::{PATIENCE, Stage};
use crate::world::{Lan, WireFault};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// With a check of the gateway, and a load that a script tells.
pub const MEASURED: &[Test] = &[
    Test { name: "placed-carrier", run: carrier, least: 4 },
    Test { name: "placed-gateway-of-one", run: gateway_of_one, least: 4 },
    Test { name: "placed-gateway-of-all", run: gateway_of_all, least: 4 },
    Test { name: "placed-forecast", run: forecast, least: 4 },
    Test { name: "placed-load-script", run: load_script, least: 4 },
];

/// With a half-life in which three deaths are too many.
pub const DAMPED: &[Test] = &[Test { name: "placed-damped", run: damped, least: 4 }];

/// What every server's script reads: its internal address and its load, a line for each.
const LOADS: &str = "/run/dh-lab-loads";
/// Far more than a carrier's loss costs on a machine that does a dozen other things.
const CARRIER_BOUND: Duration = Duration::from_millis(150);

/// Of `MEASURED`.
pub fn configuration() -> String {
    format!(
        "load = script\n\
         load_script = awk -v me=\"$(ip -4 -o addr show dev eth1 | awk '{{print $4; exit}}')\" \
         '$1 == me {{print $2; found = 1}} END {{exit !found}}' {LOADS}\n\
         \n[check gateway]\nservice = node\ntype = gateway\ntarget = 203.0.113.1\n\
         interval = 200ms\ntimeout = 150ms\nfail = 2\npolicy = alert\n"
    )
}

/// The loads of all servers, as long as the test runs.
struct Loads;

impl Loads {
    fn set(loads: &[f64]) -> Outcome<Loads> {
        let lines = loads.iter().enumerate();
        let text: String = lines
            .map(|(index, load)| format!("{}/24 {load}\n", crate::world::World::internal_address(index)))
            .collect();
        // Whole or not at all: a script may read at any moment.
        let new = format!("{LOADS}.new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, LOADS))
            .map_err(|error| format!("{LOADS}: {error}"))?;
        Ok(Loads)
    }
}

impl Drop for Loads {
    fn drop(&mut self) {
        let _ = fs::remove_file(LOADS);
    }
}

/// The external carrier of a server is lost, which the kernel says at once: clients hardly notice.
fn carrier(stage: &mut Stage) -> Outcome<()> {
    let mut gaps = Vec::new();
    for _ in 0..5 {
        stage.settled()?;
        let began = Instant::now();
        stage.world.set_carrier(2, Lan::External, false)?;
        let taken = stage.taken_over(2, began);
        let told = told_everywhere(stage, "www3", "external-link", &[0, 1, 3]);
        stage.world.set_carrier(2, Lan::External, true)?;
        gaps.push(taken?.length());
        told?;
    }
    gaps.sort_unstable();
    let shown: Vec<String> = gaps.iter().map(|gap| format!("{:.1}", gap.as_secs_f64() * 1000.0)).collect();
    println!("  external carrier lost, nobody answers for {} ms", shown.join(", "));
    let middle = gaps[gaps.len() / 2];
    if middle > CARRIER_BOUND {
        return Err(format!("a lost carrier costs {middle:?}"));
    }
    Ok(())
}

/// `why` on each of these servers has this as the cause of the service's last move.
fn told_everywhere(stage: &Stage, service: &str, cause: &str, servers: &[usize]) -> Outcome<()> {
    for &index in servers {
        wait_until(&format!("{} tells why", stage.world.nodes[index].name), PATIENCE, || {
            let why = why(stage, index, service)?;
            let moves = why["moves"].as_array().cloned().unwrap_or_default();
            let decided =
                moves.iter().rev().find(|step| step["step"] == "began" || step["step"] == "assigned");
            Ok(decided.is_some_and(|step| step["cause"] == cause))
        })?;
    }
    Ok(())
}

fn why(stage: &Stage, index: usize, service: &str) -> Outcome<Value> {
    let said = stage.world.diehard(index, &["--json", "why", service])?;
    serde_json::from_str(&said).map_err(|error| format!("why {service}: {error}"))
}

/// Clients and gateway are cut off from one server, beyond its card: it gives everything away.
fn gateway_of_one(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let began = Instant::now();
    stage.world.set_wires(&[WireFault::Outside { node: 1 }])?;
    let taken = stage.taken_over(1, began);
    let told = told_everywhere(stage, "www2", "external-link", &[0, 2, 3]);
    stage.world.set_wires(&[])?;
    println!(
        "  cut off from the gateway, nobody answers for {:.0} ms",
        taken?.length().as_secs_f64() * 1000.0
    );
    told?;
    stage.settled()
}

/// The gateway answers nobody: that is no server's fault.
fn gateway_of_all(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let moves = |stage: &Stage| Ok::<usize, String>(events(stage, 0, "move-began")?.len());
    let (before, told) = (moves(stage)?, events(stage, 0, "gateway-suspected")?.len());
    let gateway = stage.world.gateway();
    let switched = |word| crate::namespace::run("ip", &["-n", &gateway, "link", "set", "eth0", word]);
    switched("down")?;
    let seen = wait_until("it is suspected", PATIENCE, || {
        Ok(events(stage, 0, "gateway-suspected")?.len() == told + 1)
    })
    .and_then(|()| pause(Duration::from_secs(3)));
    switched("up")?;
    seen?;
    wait_until("all servers reach it again", PATIENCE, || {
        for index in 0..stage.world.nodes.len() {
            let checks = stage.world.status(index)?["nodes"][index]["checks"].clone();
            if checks[0]["state"] != "ok" {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    let (after, told_after) = (moves(stage)?, events(stage, 0, "gateway-suspected")?.len());
    if after != before || told_after != told + 1 {
        return Err(format!("{} moves, {} alerts", after - before, told_after - told));
    }
    stage.settled()
}

/// What is foretold of a server's death on that server: service → new holder.
fn foretold(stage: &Stage, index: usize, dies: &str) -> Outcome<BTreeMap<String, Value>> {
    let status = stage.world.status(index)?;
    let all = status["forecast"].as_array().cloned().unwrap_or_default();
    let one = all.into_iter().find(|forecast| forecast["node"] == dies);
    let services = one.and_then(|one| one["services"].as_array().cloned()).unwrap_or_default();
    Ok(services.into_iter().map(|fate| (fate["service"].as_str().unwrap_or_default().into(), fate)).collect())
}

/// Every server foretells the same of a death, and then it happens.
fn forecast(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    // web1 has two services: what it leaves is spread.
    stage.world.diehard(0, &["move", "www2", "web1", "--wait"])?;
    stage.served()?;
    let mut first = BTreeMap::new();
    wait_until("all foretell the same", PATIENCE, || {
        first = foretold(stage, 0, "web1")?;
        for index in 1..stage.world.nodes.len() {
            if foretold(stage, index, "web1")? != first {
                return Ok(false);
            }
        }
        Ok(first.len() == 2)
    })?;
    let (cut, _) = stage.world.cut_power(&[0])?;
    stage.taken_over(0, cut)?;
    for service in [0, 1] {
        let mut holders = Vec::new();
        wait_until("the dead server's services elsewhere", PATIENCE, || {
            holders = stage.world.holders_by_ip()?[service].clone();
            Ok(holders.len() == 1)
        })?;
        let (name, taker) = (format!("www{}", service + 1), &stage.world.nodes[holders[0]].name);
        if first[&name]["to"] != *taker {
            return Err(format!("{name}: {} was foretold, {taker} has it", first[&name]));
        }
        println!("  {name} → {taker}, as foretold: load then {}", first[&name]["load"]);
    }
    stage.world.restore_power(&[0])?;
    stage.world.diehard(1, &["failback", "all", "--wait"])?;
    stage.settled()
}

/// The idlest server gets what has to go somewhere; a script that fails is told, and harms nothing.
fn load_script(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let loads = Loads::set(&[0.9, 0.8, 0.1, 0.5])?;
    let shown = |stage: &Stage, wanted: &[f64]| {
        wait_until("every server shows every load", PATIENCE, || {
            for index in 0..stage.world.nodes.len() {
                let status = stage.world.status(index)?;
                let shown = wanted.iter().enumerate();
                if shown.clone().any(|(of, load)| {
                    status["nodes"][of]["load"].as_f64().is_none_or(|shown| (shown - load).abs() > 0.06)
                }) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    };
    shown(stage, &[0.9, 0.8, 0.1, 0.5])?;
    let (cut, _) = stage.world.cut_power(&[3])?;
    let taken = stage.taken_over(3, cut)?;
    stage.world.restore_power(&[3])?;
    if taken.then != 2 {
        return Err(format!("{} got it, and web3 has least to do", stage.world.nodes[taken.then].name));
    }
    let told = |stage: &Stage, index| Ok::<usize, String>(events(stage, index, "load-unmeasured")?.len());
    let servers = 0..stage.world.nodes.len();
    // One of them has begun anew, and told nothing yet.
    let before = servers.clone().map(|index| told(stage, index)).collect::<Outcome<Vec<_>>>()?;
    drop(loads);
    wait_until("every server says that it cannot measure", PATIENCE, || {
        for index in servers.clone() {
            if told(stage, index)? != before[index] + 1 {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    shown(stage, &[1.0, 1.0, 1.0, 1.0])?;
    stage.settled()
}

/// A server dies three times: the third time it gets its service back only on an operator's word.
fn damped(stage: &mut Stage) -> Outcome<()> {
    for times in 1..=3 {
        stage.settled()?;
        let (cut, _) = stage.world.cut_power(&[2])?;
        stage.taken_over(2, cut)?;
        stage.world.restore_power(&[2])?;
        wait_until("it is up again", PATIENCE, || Ok(stage.world.status(0)?["nodes"][2]["state"] == "up"))?;
        let damped = !stage.world.status(0)?["nodes"][2]["damped_ms"].is_null();
        if damped != (times == 3) {
            return Err(format!("damped is {damped} after {times} deaths"));
        }
    }
    wait_until("every server knows it", PATIENCE, || {
        for index in 0..stage.world.nodes.len() {
            if stage.world.status(index)?["nodes"][2]["damped_ms"].is_null() {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    stage.served()?;
    pause(Duration::from_secs(4))?;
    if stage.world.holders_by_ip()?[2] == [2] {
        return Err("web3 has its service back, though it comes and goes".to_owned());
    }
    println!("{}", indented(&stage.world.diehard(1, &["why", "www3"])?));
    stage.world.diehard(1, &["failback", "www3", "--wait"])?;
    stage.settled()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
