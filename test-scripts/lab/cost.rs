//! What a quiet cluster costs: CPU, memory and packets of each server's daemon.

use crate::interrupt::pause;
use crate::namespace::{Outcome, processes, within};
use crate::world::World;
use std::fs;
use std::time::{Duration, Instant};

/// Per server, on average.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Milliseconds of CPU a second.
    pub cpu: f64,
    /// Resident MiB, all its processes together (shared pages count in each).
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
    let (start, before) = (Instant::now(), look()?);
    pause(length)?;
    let (seconds, after) = (start.elapsed().as_secs_f64(), look()?);
    let mut cost = Cost::default();
    let count = f64::from(u16::try_from(world.nodes.len()).unwrap_or(u16::MAX));
    for ((cpu_before, packets_before), (cpu_after, packets_after)) in before.iter().zip(&after) {
        let one = ((cpu_after - cpu_before) / seconds, (packets_after - packets_before) / seconds);
        cost.cpu += one.0 / count;
        cost.packets += one.1 / count;
        cost.busiest = (cost.busiest.0.max(one.0), cost.busiest.1.max(one.1));
    }
    for pids in &daemons {
        cost.processes += f64::from(u16::try_from(pids.len()).unwrap_or(u16::MAX)) / count;
        cost.resident += pids.iter().map(|pid| resident(*pid)).sum::<f64>() / count;
    }
    Ok(cost)
}

/// All but the web server.
fn daemon_processes(namespace: &str) -> Vec<i32> {
    let name = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    processes(namespace).into_iter().filter(|pid| name(pid).trim() != "nginx").collect()
}

/// Milliseconds of CPU that these processes have had, all threads (`schedstat` counts nanoseconds).
fn cpu(pids: &[i32]) -> Outcome<f64> {
    let mut total = 0.0;
    for pid in pids {
        let tasks =
            fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| format!("process {pid}: {error}"))?;
        for task in tasks.flatten() {
            // A thread that ended between the two looks has no more to add.
            let told = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            total += told.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
        }
    }
    Ok(total / 1e6)
}

fn resident(pid: i32) -> f64 {
    let told = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
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
