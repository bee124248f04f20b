//! Others' hands and own faults: aliases taken away on the machine, strangers and rivals on the LAN, sends that the
//! own packet filter refuses, a process that was stopped. `ip`, raw frames and the daemons' events are the judges.

use super::Test;
use super::edges::{announced, reload};
use crate::address_watch::AddressWatch;
use crate::interrupt::{pause, wait_until};
use crate::namespace::{Outcome, processes, run, run_with_input};
use crate::packet_socket::{ARP, EVERYTHING, PacketSocket};
use crate::stage::Stage;
use crate::world::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// With `on_conflict = wait`.
pub const WAITING: &[Test] = &[
    Test { name: "hands-alias-removed", run: alias_removed, least: 4 },
    Test { name: "hands-alias-given-up", run: alias_given_up, least: 4 },
    Test { name: "hands-external-link-down", run: external_link_down, least: 4 },
    Test { name: "hands-sends-refused", run: sends_refused, least: 4 },
    Test { name: "hands-thaw", run: thaw, least: 4 },
    Test { name: "hands-rival", run: rival, least: 4 },
    Test { name: "hands-stranger-orphans", run: stranger_orphans, least: 4 },
    Test { name: "hands-reload-meets-stranger", run: reload_meets_stranger, least: 4 },
];

/// With `on_conflict = force`.
pub const FORCING: &[Test] = &[Test { name: "hands-stranger-forced", run: stranger_forced, least: 4 }];

/// How long something that happens at once may take on a busy machine.
const SOON: Duration = Duration::from_secs(5);
/// The kernel's lifetime of an alias, a look, and time to spare.
const AFTER_THE_LATCH: Duration = Duration::from_secs(15);
/// The gateway plays the stranger: it is no member of the cluster.
const STRANGER: &str = "02:00:00:01:00:fe";

/// `ip addr del`: seen, put back at once, announced, told. (Another label or prefix, a flush: a test of the faker's.)
fn alias_removed(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    // The last announcement of the start comes 5 s after the first.
    pause(Duration::from_secs(6))?;
    let (node, address) = (2, World::service_address(2));
    let listener = PacketSocket::open(&stage.world.switch(), "ext", ARP)?;
    let commands = format!("addr del {address}/24 dev eth0\n");
    for times in 1..=3 {
        announced(&listener);
        let began = Instant::now();
        ip(stage, node, &commands)?;
        wait_until(&format!("{address} is back"), SOON, || {
            Ok(listed(stage, node)?.contains(&format!("inet {address}/24 ")))
        })?;
        let took = began.elapsed();
        if took > Duration::from_millis(200) {
            return Err(format!("{address} came back only after {took:?}"));
        }
        wait_until(&format!("{address} is announced"), SOON, || Ok(announced(&listener).contains(&address)))?;
        wait_until("an event says that it was removed", SOON, || {
            let told = events(stage, node, "tampered")?;
            let last = told.last().map(|event| event["how"] == "removed" && event["service"] == "www3");
            Ok(told.len() == times && last == Some(true))
        })?;
    }
    stage.settled()
}

/// Removed again and again: given up to another node, with an event that says why; home after `forget`.
fn alias_given_up(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let (node, address) = (1, World::service_address(1));
    let mut removals = 0;
    wait_until(&format!("web2 gives {address} up"), Duration::from_secs(20), || {
        if listed(stage, node)?.contains(&format!("inet {address}/24 ")) {
            // It may go between the two: then there is nothing to remove.
            removals += u32::from(ip(stage, node, &format!("addr del {address}/24 dev eth0\n")).is_ok());
        }
        Ok(!events(stage, node, "gave-up")?.is_empty())
    })?;
    if removals > 8 {
        return Err(format!("it was put back {removals} times"));
    }
    stage.served()?;
    let holders = stage.world.holders_by_ip()?;
    if holders[1].len() != 1 || holders[1][0] == node {
        return Err(format!("{address} is on {:?}", holders[1]));
    }
    let told = events(stage, 0, "assigned")?;
    if !told.iter().any(|event| event["service"] == "www2" && event["why"] == "tampered") {
        return Err(format!("the controller does not say why: {told:?}"));
    }
    // `settled` means: at home.
    stage.settled()
}

/// The card is switched off by hand: the services move; switched on, they come home.
fn external_link_down(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let (node, address) = (3, World::service_address(3));
    ip(stage, node, "link set eth0 down\n")?;
    wait_until(&format!("{address} is elsewhere"), SOON, || {
        let holders = stage.world.holders_by_ip()?;
        Ok(holders[3].len() == 1 && holders[3][0] != node)
    })?;
    let gave_up = events(stage, node, "gave-up")?;
    ip(stage, node, "link set eth0 up\nroute add default via 203.0.113.1\n")?;
    if !gave_up.is_empty() {
        return Err(format!("it takes the link for somebody's hands: {gave_up:?}"));
    }
    stage.settled()
}

/// The own packet filter refuses what the daemon sends: a local fault, named so; it takes nothing from anybody.
fn sends_refused(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    let node = 2;
    let namespace = stage.world.nodes[node].namespace.clone();
    let filter = "table inet refuse {\n chain out {\n  type filter hook output priority 0;\n  udp dport 694 drop\n }\n}\n";
    run_with_input("ip", &["netns", "exec", &namespace, "nft", "-f", "-"], filter)?;
    let watched = refused_for_a_while(stage, node);
    run("ip", &["netns", "exec", &namespace, "nft", "delete", "table", "inet", "refuse"])?;
    watched?;
    stage.settled()
}

fn refused_for_a_while(stage: &Stage, node: usize) -> Outcome<()> {
    wait_until("an event names the local fault", SOON, || {
        let told = events(stage, node, "sends-fail")?;
        Ok(told.iter().any(|event| event["fault"] == "refused" && event["link"] == "internal"))
    })?;
    wait_until("its service is elsewhere", AFTER_THE_LATCH, || {
        let holders = stage.world.holders_by_ip()?;
        Ok(holders[node].len() == 1 && holders[node][0] != node)
    })?;
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        let holders = stage.world.holders_by_ip()?;
        if let Some(other) = (0..holders.len()).find(|&other| other != node && holders[other] != [other]) {
            return Err(format!("www{} is on {:?}", other + 1, holders[other]));
        }
        pause(Duration::from_millis(50))?;
    }
    match events(stage, node, "down")?.first() {
        Some(verdict) => Err(format!("who cannot send gives a verdict: {verdict}")),
        None => Ok(()),
    }
}

/// Stopped for longer than its lease and shorter than the kernel's lifetime: it releases before it says anything.
fn thaw(stage: &mut Stage) -> Outcome<()> {
    for round in 0..5 {
        stage.settled()?;
        let node = 1 + round % 3;
        let address = World::service_address(node);
        let daemons = daemons(&stage.world.nodes[node].namespace);
        let watch = AddressWatch::start(&stage.world.nodes[node].namespace)?;
        let ports = [("e", node), ("i", node)].map(|(port, node)| format!("{port}{}", node + 1));
        let [external, internal] =
            ports.map(|port| PacketSocket::open(&stage.world.switch(), &port, EVERYTHING));
        let (external, internal) = (external?, internal?);
        signal(&daemons, Signal::SIGSTOP)?;
        let stopped = pause(Duration::from_millis(700));
        // What it said before.
        while said(&external, node) || said(&internal, node) {}
        let gone_before = watch.removed();
        signal(&daemons, Signal::SIGCONT)?;
        stopped?;
        if gone_before.contains(&address) {
            return Err(format!("{address} went while the process was stopped: nothing to see"));
        }
        let end = Instant::now() + SOON;
        while !said(&external, node) && !said(&internal, node) {
            if Instant::now() > end {
                return Err(format!("{} says nothing after it was thawed", stage.world.nodes[node].name));
            }
        }
        // The kernel tells of a removal before the call that made it returns.
        if !watch.removed().contains(&address) {
            return Err(format!("{} spoke before it had let {address} go", stage.world.nodes[node].name));
        }
    }
    // For ten seconds they count on being as late as that again, and leases are short.
    wait_until("the lateness is forgotten", 6 * SOON, || {
        let status = stage.world.status(0)?;
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        Ok(nodes.iter().all(|node| node["lateness_ms"].as_f64().is_some_and(|late| late < 20.0)))
    })
}

/// A stranger takes an address that is held and announces it: one defence in ten seconds, and everybody sees it.
fn rival(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    pause(Duration::from_secs(6))?;
    // The stranger answers as well: that is the point.
    stage.dismiss_witness();
    let (node, address) = (1, World::service_address(1));
    let listener = PacketSocket::open(&stage.world.switch(), "ext", ARP)?;
    stranger(stage, &format!("addr add {address}/24 dev eth0\n"))?;
    let shown = defended(stage, &listener, node, address);
    stranger(stage, &format!("addr del {address}/24 dev eth0\n"))?;
    shown?;
    wait_until("the conflict is over", Duration::from_secs(40), || {
        Ok(!events(stage, node, "rival-gone")?.is_empty() && service(stage, 0, "www2")?["stranger"].is_null())
    })?;
    stage.call_witness()?;
    stage.settled()
}

fn defended(stage: &Stage, listener: &PacketSocket, node: usize, address: Ipv4Addr) -> Outcome<()> {
    let claims = PacketSocket::open(&gateway(stage), "eth0", ARP)?;
    let began = Instant::now();
    for _ in 0..16 {
        claims.send(&claim(address)).map_err(|error| format!("a claim: {error}"))?;
        pause(Duration::from_millis(500))?;
    }
    let mut defences = announcers(listener, address);
    defences.retain(|mac| *mac == own_mac(node));
    // One request and one reply in every ten seconds that have begun.
    let most = 2 * (1 + began.elapsed().as_secs() as usize / 10);
    if !(2..=most).contains(&defences.len()) {
        return Err(format!("{} frames of defence, not 2 to {most}", defences.len()));
    }
    for asked in [node, 0, 3] {
        wait_until("status shows the stranger", SOON, || {
            Ok(service(stage, asked, "www2")?["stranger"] == STRANGER)
        })?;
    }
    let told = events(stage, node, "rival")?;
    if told.first().is_none_or(|event| event["mac"] != STRANGER) {
        return Err(format!("no event names {STRANGER}: {told:?}"));
    }
    let holders = stage.world.holders_by_ip()?;
    if holders[1] == [node] { Ok(()) } else { Err(format!("{address} is on {:?}", holders[1])) }
}

/// The stranger has the address of a dead node: nobody takes it, and everybody says who has it. He goes: taken.
fn stranger_orphans(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    stage.dismiss_witness();
    let (victim, address) = (3, World::service_address(3));
    stage.world.cut_power(&[victim])?;
    stranger(stage, &format!("addr add {address}/24 dev eth0\n"))?;
    let kept_off = orphaned(stage, victim);
    stranger(stage, &format!("addr del {address}/24 dev eth0\n"))?;
    kept_off?;
    stage.call_witness()?;
    stage.served()?;
    stage.world.restore_power(&[victim])?;
    stage.settled()
}

/// A reload gives a service a second address, which a stranger has: it stays down, and the first stays up. He goes: it comes.
fn reload_meets_stranger(stage: &mut Stage) -> Outcome<()> {
    const FRESH: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 201);
    stage.settled()?;
    let (node, address) = (1, World::service_address(1));
    let old = stage.world.diehard_conf();
    let line = format!("address = {address}/24");
    let new = old.replacen(&line, &format!("{line}, {FRESH}/24"), 1);
    if new == old {
        return Err(format!("no «{line}» in the configuration"));
    }
    let has_it = || Ok(listed(stage, node)?.contains(&format!("inet {FRESH}/24 ")));
    let watch = AddressWatch::start(&stage.world.nodes[node].namespace)?;
    stranger(stage, &format!("addr add {FRESH}/24 dev eth0\n"))?;
    let kept_off = reload(stage, &new).and_then(|()| {
        wait_until("an event names the stranger", SOON, || {
            Ok(events(stage, node, "blocked")?.iter().any(|event| event["mac"] == STRANGER))
        })?;
        pause(Duration::from_secs(1))?;
        if has_it()? { Err(format!("{FRESH} was taken from the stranger")) } else { Ok(()) }
    });
    stranger(stage, &format!("addr del {FRESH}/24 dev eth0\n"))?;
    kept_off?;
    wait_until(&format!("{FRESH} comes up"), AFTER_THE_LATCH, has_it)?;
    reload(stage, &old)?;
    wait_until(&format!("{FRESH} goes again"), SOON, || Ok(!has_it()?))?;
    if watch.removed().contains(&address) {
        return Err(format!("{address} was down meanwhile"));
    }
    stage.settled()
}

fn orphaned(stage: &Stage, victim: usize) -> Outcome<()> {
    let name = format!("www{}", victim + 1);
    for asked in 0..3 {
        wait_until(
            &format!("web{} says that {name} is orphaned, and by whom", asked + 1),
            AFTER_THE_LATCH,
            || {
                let entry = service(stage, asked, &name)?;
                Ok(entry["state"] == "orphaned" && entry["stranger"] == STRANGER)
            },
        )?;
    }
    let mut told = Vec::new();
    for asked in 0..3 {
        told.extend(events(stage, asked, "blocked")?);
    }
    if !told.iter().any(|event| event["mac"] == STRANGER && event["service"] == *name) {
        return Err(format!("no event names {STRANGER}: {told:?}"));
    }
    // Longer than any latch.
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        let holders = stage.world.holders_by_ip()?;
        if !holders[victim].is_empty() {
            return Err(format!("{name} was taken by {:?} from the stranger", holders[victim]));
        }
        pause(Duration::from_millis(50))?;
    }
    Ok(())
}

/// The same with `on_conflict = force`: taken all the same, and loudly.
fn stranger_forced(stage: &mut Stage) -> Outcome<()> {
    stage.settled()?;
    stage.dismiss_witness();
    let (victim, address) = (3, World::service_address(3));
    stage.world.cut_power(&[victim])?;
    let began = Instant::now();
    stranger(stage, &format!("addr add {address}/24 dev eth0\n"))?;
    let forced = forced(stage, victim);
    let took = began.elapsed();
    stranger(stage, &format!("addr del {address}/24 dev eth0\n"))?;
    forced?;
    if took < Duration::from_secs(2) {
        return Err(format!("it was forced after {took:?}, before the dead node's kernel must have let go"));
    }
    stage.call_witness()?;
    stage.served()?;
    stage.world.restore_power(&[victim])?;
    stage.settled()
}

fn forced(stage: &Stage, victim: usize) -> Outcome<()> {
    let mut holder = None;
    wait_until("it is taken by force", AFTER_THE_LATCH, || {
        holder = stage.world.holders_by_ip()?[victim].first().copied();
        Ok(holder.is_some())
    })?;
    let told = events(stage, holder.ok_or("nobody")?, "forced")?;
    if told.iter().any(|event| event["mac"] == STRANGER) {
        Ok(())
    } else {
        Err(format!("not loudly: {told:?}"))
    }
}

fn ip(stage: &Stage, index: usize, commands: &str) -> Outcome<String> {
    run_with_input("ip", &["-n", &stage.world.nodes[index].namespace, "-batch", "-"], commands)
}

fn listed(stage: &Stage, index: usize) -> Outcome<String> {
    run("ip", &["-n", &stage.world.nodes[index].namespace, "-o", "-4", "addr", "show", "dev", "eth0"])
}

fn gateway(stage: &Stage) -> String {
    stage.world.client().replace("client", "gateway")
}

fn stranger(stage: &Stage, commands: &str) -> Outcome<String> {
    run_with_input("ip", &["-n", &gateway(stage), "-batch", "-"], commands)
}

/// The events of that name on that server, oldest first: their fields.
pub fn events(stage: &Stage, index: usize, name: &str) -> Outcome<Vec<Value>> {
    Ok(entries(stage, index, name)?.iter().map(|entry| entry["fields"].clone()).collect())
}

/// The same with times and numbers. What is old is pushed out by what is new: who counts has to compare.
pub fn entries(stage: &Stage, index: usize, name: &str) -> Outcome<Vec<Value>> {
    let said = stage.world.diehard(index, &["--json", "events", "--here"])?;
    let entries = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(entries.filter(|entry| entry["fields"]["event"] == name).collect())
}

/// Those that are not in `before`, the entries of then.
pub fn entries_since(stage: &Stage, index: usize, name: &str, before: &[Value]) -> Outcome<Vec<Value>> {
    let mut since = entries(stage, index, name)?;
    since.retain(|entry| !before.contains(entry));
    Ok(since)
}

/// Nobody was suspected since `before`, the entries of then.
pub fn nobody_suspected(stage: &Stage, index: usize, before: &[Value]) -> Outcome<()> {
    let since = entries_since(stage, index, "suspected", before)?;
    if since.is_empty() { Ok(()) } else { Err(format!("suspected meanwhile: {since:?}")) }
}

/// What `status` of that server says of a service.
pub fn service(stage: &Stage, index: usize, name: &str) -> Outcome<Value> {
    let status = stage.world.status(index)?;
    let all = status["services"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|entry| entry["name"] == name).ok_or_else(|| format!("status knows no {name}"))
}

/// The processes of the daemon in that namespace.
fn daemons(namespace: &str) -> Vec<i32> {
    // The guardian and its worker, `diehardd-worker`.
    let is_ours = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with("diehardd"))
    };
    processes(namespace).into_iter().filter(is_ours).collect()
}

fn signal(pids: &[i32], what: Signal) -> Outcome<()> {
    if pids.is_empty() {
        return Err("no daemon to stop".to_owned());
    }
    pids.iter().try_for_each(|pid| {
        kill(Pid::from_raw(*pid), what).map_err(|error| format!("{what} to {pid}: {error}"))
    })
}

/// A datagram of that server's daemon waits: it, and what waits before it, is taken.
fn said(socket: &PacketSocket, index: usize) -> bool {
    let mut buffer = [0; 2048];
    let number = u8::try_from(index + 1).expect("a few servers");
    while let Some(frame) = socket.receive(&mut buffer) {
        let from = frame.get(6..9) == Some(&[2, 0, 0]);
        let datagram = frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&17);
        let port = frame.get(36..38) == Some(&crate::foreign::PORT.to_be_bytes());
        if from && frame.get(11) == Some(&number) && datagram && port {
            return true;
        }
    }
    false
}

/// Who announced that address: the senders of gratuitous ARP since the last call.
fn announcers(socket: &PacketSocket, address: Ipv4Addr) -> Vec<[u8; 6]> {
    let (mut buffer, mut found) = ([0; 128], Vec::new());
    let octets = address.octets();
    while let Some(frame) = socket.receive(&mut buffer) {
        if frame.get(28..32) == Some(&octets) && frame.get(38..42) == Some(&octets) {
            found.extend(frame.get(22..28).and_then(|mac| <[u8; 6]>::try_from(mac).ok()));
        }
    }
    found
}

fn own_mac(index: usize) -> [u8; 6] {
    [2, 0, 0, 1, 0, u8::try_from(index + 1).expect("a few servers")]
}

/// The gateway's gratuitous ARP.
fn claim(address: Ipv4Addr) -> Vec<u8> {
    let (mac, octets) = ([2, 0, 0, 1, 0, 0xfe], address.octets());
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(octets);
    frame.extend([0; 6]);
    frame.extend(octets);
    frame.resize(60, 0);
    frame
}
