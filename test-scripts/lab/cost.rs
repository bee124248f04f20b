//! What a quiet cluster costs: CPU, memory and packets of each server's daemon.

use crate::interrupt::pause;
use crate::namespace::{Outcome, processes, within};
use crate::realtime;
use crate::world::World;
use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// Datagrams with which the price of a wake is found, and how far they are apart: about as a daemon's.
const BARE_WAKES: u32 = 300;
const BARE_PAUSE: Duration = Duration::from_millis(10);

/// Per server, on average.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Milliseconds of CPU a second.
    pub cpu: f64,
    /// Sleeps a second that ended, of all threads together.
    pub wakes: f64,
    /// What this machine takes for a wake (see `bare_wake`), in microseconds, if that was measured.
    pub bare_wake: f64,
    /// Resident MiB, all its processes together (the program, which they share, counts once).
    pub resident: f64,
    /// How many processes.
    pub processes: f64,
    /// Packets sent a second, on both cards.
    pub packets: f64,
    /// CPU and packets of the busiest server.
    pub busiest: (f64, f64),
}

/// Watches the servers for so long; the client must be silent meanwhile.
pub fn measure(world: &World, length: Duration) -> Outcome<Cost> {
    let daemons: Vec<Vec<i32>> = world.nodes.iter().map(|node| daemon_processes(&node.namespace)).collect();
    let look = || -> Outcome<Vec<(f64, f64)>> {
        let each = world.nodes.iter().zip(&daemons);
        each.map(|(node, pids)| Ok((cpu(pids)?, packets(&node.namespace)?))).collect()
    };
    let all_wakes = || -> Outcome<f64> { daemons.iter().map(|pids| wakes(pids)).sum() };
    let (start, before, woken) = (Instant::now(), look()?, all_wakes()?);
    pause(length)?;
    let (seconds, after, woken) = (start.elapsed().as_secs_f64(), look()?, all_wakes()? - woken);
    let mut cost = Cost::default();
    let count = f64::from(u16::try_from(world.nodes.len()).unwrap_or(u16::MAX));
    for ((cpu_before, packets_before), (cpu_after, packets_after)) in before.iter().zip(&after) {
        let one = ((cpu_after - cpu_before) / seconds, (packets_after - packets_before) / seconds);
        cost.cpu += one.0 / count;
        cost.packets += one.1 / count;
        cost.busiest = (cost.busiest.0.max(one.0), cost.busiest.1.max(one.1));
    }
    cost.wakes = woken / seconds / count;
    for pids in &daemons {
        cost.processes += f64::from(u16::try_from(pids.len()).unwrap_or(u16::MAX)) / count;
        cost.resident += resident(pids) / count;
    }
    Ok(cost)
}

/// All but the web server.
fn daemon_processes(namespace: &str) -> Vec<i32> {
    let name = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    processes(namespace).into_iter().filter(|pid| name(pid).trim() != "nginx").collect()
}

/// Milliseconds of CPU that these processes have had, all threads.
fn cpu(pids: &[i32]) -> Outcome<f64> {
    Ok(over_threads(pids, "schedstat", |told| run_time(&told))? / 1e6)
}

/// Sleeps that ended, all threads.
fn wakes(pids: &[i32]) -> Outcome<f64> {
    over_threads(pids, "status", |told| field(&told, "voluntary_ctxt_switches:"))
}

fn over_threads(pids: &[i32], file: &str, read: impl Fn(String) -> f64) -> Outcome<f64> {
    let mut total = 0.0;
    for pid in pids {
        let tasks =
            fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| format!("process {pid}: {error}"))?;
        // A thread that ended between the two looks has no more to add.
        total += tasks
            .flatten()
            .map(|task| read(fs::read_to_string(task.path().join(file)).unwrap_or_default()))
            .sum::<f64>();
    }
    Ok(total)
}

/// Nanoseconds on a CPU: the first word of `schedstat`.
fn run_time(told: &str) -> f64 {
    told.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// The number behind that name in a `status` of `/proc`.
fn field(told: &str, name: &str) -> f64 {
    let line = told.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// MiB. Guardian and worker are one program, whose pages are there once.
fn resident(pids: &[i32]) -> f64 {
    let told = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let all: Vec<String> = pids.iter().map(told).collect();
    let own = all.iter().map(|told| field(told, "RssAnon:") + field(told, "RssShmem:")).sum::<f64>();
    let program = all.iter().map(|told| field(told, "RssFile:")).fold(0.0, f64::max);
    (own + program) / 1024.0
}

/// Microseconds of CPU for one wake of a thread that receives a datagram and does nothing with it: what a daemon that
/// is woken so often pays at least on this machine.
pub fn bare_wake() -> Outcome<f64> {
    let failed = |error: std::io::Error| format!("the price of a wake: {error}");
    let receiver = UdpSocket::bind("127.0.0.1:0").map_err(failed)?;
    receiver.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
    let sender = UdpSocket::bind("127.0.0.1:0").map_err(failed)?;
    sender.connect(receiver.local_addr().map_err(failed)?).map_err(failed)?;
    let woken = std::thread::spawn(move || -> std::io::Result<f64> {
        realtime::prefer();
        let spent = || fs::read_to_string("/proc/thread-self/schedstat").map(|told| run_time(&told));
        let mut buffer = [0; 64];
        receiver.recv(&mut buffer)?;
        let before = spent()?;
        for _ in 0..BARE_WAKES {
            receiver.recv(&mut buffer)?;
        }
        Ok((spent()? - before) / f64::from(BARE_WAKES) / 1000.0)
    });
    for _ in 0..=BARE_WAKES {
        sender.send(b"wake").map_err(failed)?;
        pause(BARE_PAUSE)?;
    }
    woken.join().map_err(|_| "the price of a wake: its thread failed")?.map_err(failed)
}

/// Packets that the server has sent on both cards (`/proc/net/dev` is that of the thread's namespace).
fn packets(namespace: &str) -> Outcome<f64> {
    let table = within(namespace, || fs::read_to_string("/proc/thread-self/net/dev"))?
        .map_err(|error| format!("{namespace}: {error}"))?;
    let sent = |line: &str| -> Option<f64> {
        let (device, counters) = line.split_once(':')?;
        let counted = matches!(device.trim(), "eth0" | "eth1");
        counted.then(|| counters.split_whitespace().nth(9)?.parse().ok())?
    };
    Ok(table.lines().filter_map(sent).sum())
}
