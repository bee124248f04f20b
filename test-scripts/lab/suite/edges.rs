//! What is tested in one size of cluster: neighbour caches, reload, foreign packets, scripts that fail.

use super::Test;
use crate::address_watch::AddressWatch;
use crate::figures::Chance;
use crate::foreign;
use crate::http;
use crate::interrupt::{pause, wait_until};
use crate::namespace::{Outcome, run, within};
use crate::packet_socket::{ARP, PacketSocket};
use crate::stage::Stage;
use crate::world::World;
use nix::sys::signal::Signal;
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// With services that run anyway.
pub const PLAIN: &[Test] = &[
    Test { name: "neighbour-cache", run: neighbour_cache, least: 4 },
    Test { name: "reload-wrong-file", run: reload_of_a_wrong_file, least: 4 },
    Test { name: "foreign-packets", run: foreign_packets, least: 4 },
];

/// With services that have a start and a stop command.
pub const WITH_SCRIPTS: &[Test] = &[
    Test { name: "scripts-run-once", run: scripts_run_once, least: 4 },
    Test { name: "reload-is-a-difference", run: reload_is_a_difference, least: 4 },
    Test { name: "start-fails", run: start_fails, least: 4 },
];

/// A service that only the second configuration of `reload_is_a_difference` has.
const ADDED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 200);

/// A client whose cache points at the dead server reaches the new holder with its next packet.
fn neighbour_cache(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    // Whoever asks all the time keeps the cache right by asking: here nobody does.
    stage.rest();
    stage.dismiss_witness();
    let (victim, client) = (2, stage.world.client());
    // The entry stays good for longer than the test takes: the kernel has no reason to ask again.
    within(&client, || fs::write("/proc/sys/net/ipv4/neigh/eth0/base_reachable_time_ms", "600000"))?
        .map_err(|error| format!("client: {error}"))?;
    let address = World::service_address(victim);
    let ask = || within(&client, || http::ask(address))?.map_err(|error| format!("{address}: {error}"));
    ask()?;
    if cached(&client, address)? != Some(hardware_address(victim)) {
        return Err(format!("the client has {:?} in its cache", cached(&client, address)?));
    }
    stage.world.cut_power(&[victim])?;
    let mut holder = None;
    wait_until("somebody takes the address", Duration::from_secs(10), || {
        holder = stage.world.holders()?[victim].first().copied();
        Ok(holder.is_some())
    })?;
    let holder = holder.ok_or("nobody took the address")?;
    wait_until("the client's cache points at the new holder", Duration::from_secs(1), || {
        Ok(cached(&client, address)? == Some(hardware_address(holder)))
    })?;
    let start = Instant::now();
    let server = ask()?;
    // The kernel sends a lost SYN again only after a second.
    if start.elapsed() > Duration::from_millis(400) || server != stage.world.nodes[holder].name {
        return Err(format!("the next packet was answered by {server} after {:?}", start.elapsed()));
    }
    stage.watch()?;
    stage.call_witness()?;
    stage.world.restore_power(&[victim])?;
    stage.settled()
}

/// HUP with a wrong file: the old configuration stays, the log says why.
fn reload_of_a_wrong_file(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let index = 1;
    let path = stage.world.node_directory(index).join("diehard.conf");
    let right = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let before = stage.world.status(index)?;
    let wrong = right.replace("failback_delay", "failback_dealy");
    fs::write(&path, wrong).map_err(|error| error.to_string())?;
    stage.world.signal_daemon(index, Signal::SIGHUP)?;
    wait_until("the log names the wrong key", Duration::from_secs(10), || {
        Ok(stage.world.log_tail(index, 50).contains("failback_dealy"))
    })?;
    pause(Duration::from_millis(500))?;
    let after = stage.world.status(index)?;
    fs::write(&path, right).map_err(|error| error.to_string())?;
    if before["epoch"] != after["epoch"] {
        return Err(format!("the epoch went from {} to {}", before["epoch"], after["epoch"]));
    }
    stage.settled()?;
    // The right file is taken by the same daemon afterwards.
    stage.world.signal_daemon(index, Signal::SIGHUP)?;
    stage.settled()
}

/// Random, truncated, altered and repeated packets change nothing (P7).
fn foreign_packets(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let before = stage.world.status(1)?;
    let sent = foreign::flood(&stage.world, &mut Chance(7), Duration::from_secs(4))?;
    let after = stage.world.status(1)?;
    if sent < 1000 {
        return Err(format!("only {sent} packets could be sent"));
    }
    if before["epoch"] != after["epoch"] {
        return Err(format!("{sent} packets: the epoch went from {} to {}", before["epoch"], after["epoch"]));
    }
    stage.settled()
}

/// Each start command ran exactly once, at home, and nothing was stopped.
fn scripts_run_once(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    for index in 0..stage.world.nodes.len() {
        let (calls, expected) = (script_calls(stage, index), format!("start www{}\n", index + 1));
        if calls != expected {
            return Err(format!("{} called {calls:?}", stage.world.nodes[index].name));
        }
    }
    Ok(())
}

/// A service that did not change sees no alias call, no ARP and no script; one that is new is served.
fn reload_is_a_difference(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    // The last announcement of the start comes 5 s after the first (design.md, section 6).
    pause(Duration::from_secs(6))?;
    let count = stage.world.nodes.len();
    let calls: Vec<String> = (0..count).map(|index| script_calls(stage, index)).collect();
    let announcements = PacketSocket::open(&stage.world.switch(), "ext", ARP)?;
    let watches: Vec<AddressWatch> =
        stage.world.nodes.iter().map(|node| AddressWatch::start(&node.namespace)).collect::<Outcome<_>>()?;
    let old = stage.world.diehard_conf();
    let new = format!("{old}\n[service added]\nhome = web2\naddress = {ADDED}/24\n");
    reload(stage, &new)?;
    wait_until("the added service is served", Duration::from_secs(20), || holds(stage, 1, ADDED))?;
    pause(Duration::from_secs(1))?;
    reload(stage, &old)?;
    wait_until("the removed service is gone", Duration::from_secs(20), || Ok(!holds(stage, 1, ADDED)?))?;
    stage.settled()?;
    for (node, watch) in stage.world.nodes.iter().zip(&watches) {
        if let Some(address) = watch.removed().into_iter().find(|address| *address != ADDED) {
            return Err(format!("{} removed {address}", node.name));
        }
    }
    if let Some(address) = announced(&announcements).into_iter().find(|address| *address != ADDED) {
        return Err(format!("{address} was announced again"));
    }
    let later: Vec<String> = (0..count).map(|index| script_calls(stage, index)).collect();
    if later == calls { Ok(()) } else { Err(format!("scripts ran: {calls:?} before, {later:?} after")) }
}

/// A start that fails makes the node ineligible, and the service is placed where it works.
fn start_fails(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let (victim, works) = (3, 1);
    let refusals: Vec<_> = [0, 2]
        .map(|index| stage.world.node_directory(index).join(format!("refuse-www{}", victim + 1)))
        .into();
    for path in &refusals {
        fs::write(path, "").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    stage.world.cut_power(&[victim])?;
    stage.served()?;
    let holder = stage.prober()?.holder(victim, Duration::from_secs(1));
    for path in &refusals {
        fs::remove_file(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if holder != Some(works) {
        return Err(format!("the service is on {:?}, not where it starts", holder));
    }
    stage.world.restore_power(&[victim])?;
    stage.settled()
}

/// Every server reads that file.
pub fn reload(stage: &Stage, text: &str) -> Outcome<()> {
    for index in 0..stage.world.nodes.len() {
        let path = stage.world.node_directory(index).join("diehard.conf");
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        stage.world.signal_daemon(index, Signal::SIGHUP)?;
    }
    Ok(())
}

fn holds(stage: &Stage, index: usize, address: Ipv4Addr) -> Outcome<bool> {
    let listed =
        run("ip", &["-n", &stage.world.nodes[index].namespace, "-o", "-4", "addr", "show", "dev", "eth0"])?;
    Ok(listed.contains(&format!("inet {address}/")))
}

fn script_calls(stage: &Stage, index: usize) -> String {
    // No file: no call yet.
    fs::read_to_string(stage.world.node_directory(index).join("scripts.log")).unwrap_or_default()
}

/// Service addresses announced by gratuitous ARP: sender and target are the same.
pub fn announced(socket: &PacketSocket) -> Vec<Ipv4Addr> {
    let (mut buffer, mut found) = ([0; 128], Vec::new());
    while let Some(frame) = socket.receive(&mut buffer) {
        if let (Some(sender), Some(target)) = (frame.get(28..32), frame.get(38..42))
            && sender == target
        {
            found.push(Ipv4Addr::new(sender[0], sender[1], sender[2], sender[3]));
        }
    }
    found
}

fn cached(namespace: &str, address: Ipv4Addr) -> Outcome<Option<String>> {
    let listed = run("ip", &["-n", namespace, "neigh", "show", &address.to_string()])?;
    let mut words = listed.split_whitespace().skip_while(|word| *word != "lladdr");
    Ok(words.nth(1).map(str::to_owned))
}

fn hardware_address(index: usize) -> String {
    format!("02:00:00:01:00:{:02x}", index + 1)
}
