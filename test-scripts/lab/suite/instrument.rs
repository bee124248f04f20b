//! Does the laboratory itself see what it is to see? Addresses are moved by hand, no daemon runs.

use super::edges::announced;
use crate::address_watch::AddressWatch;
use crate::busy::Busy;
use crate::figures::Chance;
use crate::foreign;
use crate::interrupt::{pause, wait_until};
use crate::namespace::{Outcome, run, within};
use crate::packet_socket::{ARP, PacketSocket};
use crate::realtime;
use crate::stage::Stage;
use crate::standstill::Meter;
use crate::systems::milliseconds;
use crate::world::{Plan, Scripts, System, World};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A test that builds its own lab.
type Named = (&'static str, fn() -> Outcome<()>);

/// What is known of the lab's own instruments.
pub const TESTS: &[Named] = &[
    ("lab-measures-an-outage", measures_an_outage),
    ("lab-measures-a-swift-takeover", measures_a_swift_takeover),
    ("lab-hears-two-holders", hears_two_holders),
    ("lab-cuts-power-silently", cuts_power_silently),
    ("lab-sees-address-and-announcement", sees_address_and_announcement),
    ("lab-forges-packets", forges_packets),
    ("lab-notes-standstills", notes_standstills),
    ("lab-ends-its-busy-processes", ends_busy_processes),
];

/// A power cut, and the address on another server a known time later: that is what the client sees.
fn measures_an_outage() -> Outcome<()> {
    let mut stage = bare()?;
    give(&stage, 0)?;
    pause(Duration::from_millis(300))?;
    let known = Duration::from_millis(150);
    let (start, cut) = stage.world.cut_power(&[0])?;
    pause(known.saturating_sub(cut.elapsed()))?;
    give(&stage, 1)?;
    let gap = stage.taken_over(0, start)?;
    // Until the announcement of the second server is out: two programs have to start.
    let bound = known + cut.duration_since(start) + Duration::from_millis(80);
    if gap.then != 1 || gap.length() < known - Duration::from_millis(2) || gap.length() > bound {
        return Err(format!("measured {:.1} ms, server {}", milliseconds(gap.length()), gap.then));
    }
    Ok(())
}

/// The server pauses before its address moves on, for longer than the move takes: that is no outage of the move.
fn measures_a_swift_takeover() -> Outcome<()> {
    let stage = bare()?;
    give(&stage, 0)?;
    pause(Duration::from_millis(300))?;
    stage.prober()?.holder(0, Duration::from_millis(60)).ok_or("no answer before the pause")?;
    let start = Instant::now();
    take(&stage, 0)?;
    let paused = Duration::from_millis(400);
    pause(paused)?;
    give(&stage, 0)?;
    pause(Duration::from_millis(100))?;
    take(&stage, 0)?;
    give(&stage, 1)?;
    let gap = stage.taken_over(0, start)?;
    if gap.then != 1 || gap.length() >= paused || stage.silence(0, start)? < paused {
        return Err(format!("measured {:.1} ms, server {}", milliseconds(gap.length()), gap.then));
    }
    Ok(())
}

/// The same address on two servers is noticed, on one it is not.
fn hears_two_holders() -> Outcome<()> {
    let mut stage = bare()?;
    stage.call_witness()?;
    give(&stage, 0)?;
    pause(Duration::from_millis(300))?;
    stage.saw_no_double()?;
    give(&stage, 1)?;
    pause(Duration::from_millis(300))?;
    match stage.saw_no_double() {
        Err(_) => Ok(()),
        Ok(()) => Err("two servers held one address and nobody noticed".to_owned()),
    }
}

/// A host whose power is cut has carrier on both cards until the end, and nothing passes.
fn cuts_power_silently() -> Outcome<()> {
    let mut stage = bare()?;
    give(&stage, 0)?;
    pause(Duration::from_millis(300))?;
    stage.prober()?.holder(0, Duration::from_millis(60)).ok_or("no answer before the cut")?;
    stage.world.cut_power(&[0])?;
    pause(Duration::from_millis(200))?;
    if let Some(who) = stage.prober()?.holder(0, Duration::from_millis(100)) {
        return Err(format!("server {who} answers without power"));
    }
    let listed = run("ip", &["-n", &stage.world.nodes[0].namespace, "-o", "link", "show"])?;
    let carriers = listed.lines().filter(|line| line.contains("eth") && line.contains("LOWER_UP")).count();
    if carriers == 2 { Ok(()) } else { Err(format!("the host sees that its links went down: {listed}")) }
}

/// A core that somebody keeps to himself stands still for all others; processes that only want it do not.
fn notes_standstills() -> Outcome<()> {
    let meter = Meter::start()?;
    let length = Duration::from_millis(60);
    let noted = |since| meter.since(since, length / 2).len();
    let mut rounds = Vec::new();
    // The machine may stand still by itself just then.
    for _ in 0..5 {
        let start = Instant::now();
        let busy = Busy::start(2, Duration::from_secs(60))?;
        pause(Duration::from_millis(500))?;
        drop(busy);
        let (shared, start) = (noted(start), Instant::now());
        let selfish = std::thread::spawn(move || {
            let allowed = realtime::ask(99);
            while start.elapsed() < length {}
            allowed
        });
        if !selfish.join().map_err(|_| "the selfish thread panicked")? {
            return Err("SCHED_FIFO is refused: nothing can be measured here".to_owned());
        }
        pause(Duration::from_millis(20))?;
        rounds.push((shared, noted(start)));
        if let Some((0, 1..)) = rounds.last() {
            return Ok(());
        }
    }
    Err(format!("noted (while cores were shared, while one was not): {rounds:?}"))
}

/// However early they are ended.
fn ends_busy_processes() -> Outcome<()> {
    let mut groups = Vec::new();
    for round in 0..40 {
        let busy = Busy::start(2, Duration::from_secs(60))?;
        groups.extend(busy.groups());
        pause(Duration::from_micros(100 * round))?;
    }
    let group_of = |stat: &str| stat.rsplit(')').next()?.split_whitespace().nth(2)?.parse::<u32>().ok();
    wait_until("none of them is left", Duration::from_secs(20), || {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let stats = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        Ok(!stats.filter_map(|stat| group_of(&stat)).any(|group| groups.contains(&group)))
    })
}

/// An address that goes, and one that is announced, are noticed; one that only comes is not.
fn sees_address_and_announcement() -> Outcome<()> {
    let stage = bare()?;
    let announcements = PacketSocket::open(&stage.world.switch(), "ext", ARP)?;
    let namespace = &stage.world.nodes[0].namespace;
    let watch = AddressWatch::start(namespace)?;
    let address = World::service_address(0);
    give(&stage, 0)?;
    if !watch.removed().is_empty() || announced(&announcements) != [address] {
        return Err("the coming of an address was not seen as what it is".to_owned());
    }
    run("ip", &["-n", namespace, "addr", "del", &format!("{address}/24"), "dev", "eth0"])?;
    if watch.removed() == [address] { Ok(()) } else { Err("the loss of an address was not seen".to_owned()) }
}

/// Forged packets reach the socket that they are for: a good one again, and others.
fn forges_packets() -> Outcome<()> {
    let stage = bare()?;
    let bind = |index: usize, address: Ipv4Addr| {
        let bound =
            within(&stage.world.nodes[index].namespace, || UdpSocket::bind((address, foreign::PORT)))?;
        bound.map_err(|error| format!("{address}: {error}"))
    };
    let receiver = bind(1, Ipv4Addr::UNSPECIFIED)?;
    receiver.set_nonblocking(true).map_err(|error| error.to_string())?;
    let sender = bind(0, World::internal_address(0))?;
    let (original, over) = ([0x5a; 64], AtomicBool::new(false));
    let (mut same, mut other) = (0_u32, 0_u32);
    let sent = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // One that is lost is sent again at once.
                let _ = sender.send_to(&original, (World::internal_address(1), foreign::PORT));
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let flooding = scope.spawn(|| foreign::flood(&stage.world, &mut Chance(1), Duration::from_secs(1)));
        let mut buffer = [0; 2048];
        while !flooding.is_finished() {
            while let Ok(length) = receiver.recv(&mut buffer) {
                if buffer[..length] == original { same += 1 } else { other += 1 }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        over.store(true, Ordering::Relaxed);
        flooding.join().map_err(|_| "the flood panicked".to_owned())?
    })?;
    // A quarter of the forged ones are the original again; the true ones are about 40.
    if sent > 1000 && same > sent / 8 + 60 && other > sent / 2 {
        return Ok(());
    }
    Err(format!("{sent} forged, {same} as the original and {other} others arrived"))
}

fn bare() -> Outcome<Stage> {
    Stage::build(Plan {
        system: System::Diehard,
        nodes: 2,
        interval: Duration::from_millis(100),
        failback_delay: None,
        startup_wait: None,
        scripts: Scripts::None,
        extra: String::new(),
    })
}

/// Takes the first service address from this server.
fn take(stage: &Stage, index: usize) -> Outcome<()> {
    let namespace = &stage.world.nodes[index].namespace;
    let address = World::service_address(0).to_string();
    run("ip", &["-n", namespace, "addr", "del", &format!("{address}/24"), "dev", "eth0"]).map(drop)
}

/// Puts the first service address on this server, and announces it.
fn give(stage: &Stage, index: usize) -> Outcome<()> {
    let namespace = &stage.world.nodes[index].namespace;
    let address = World::service_address(0).to_string();
    run("ip", &["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
    let words = ["netns", "exec", namespace, "arping", "-c", "1", "-U", "-I", "eth0", "-w", "1", &address];
    // It reports failure where nobody answered, which nobody does.
    let _ = run("ip", &words);
    Ok(())
}
