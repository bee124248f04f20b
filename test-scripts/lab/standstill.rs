//! Whether the machine itself stands still. The host of a virtual machine gives it no processor for a while, or the kernel does not let go
//! of one, and nobody who runs there can do anything about it. One thread a core, above all others, sees that by waking late.
//!
//! A lease that ended is excused by it. Two servers on one address (P1) are not: nothing excuses those.

use crate::namespace::Outcome;
use crate::realtime;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Above everybody's; one more is left.
const PRIORITY: i32 = 98;
/// How often each thread wakes.
const PERIOD: Duration = Duration::from_millis(2);
/// Shorter ones are everyday life.
const WORTH_NOTING: Duration = Duration::from_millis(10);

/// From when to when a core ran nothing that wanted to.
#[derive(Debug, Clone, Copy)]
pub struct Standstill {
    /// When its thread should have woken.
    pub from: Instant,
    /// When it did.
    pub until: Instant,
}

impl Standstill {
    /// How long.
    pub fn length(&self) -> Duration {
        self.until - self.from
    }
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    seen: Mutex<Vec<Standstill>>,
}

/// It measures until it is dropped. Without real-time scheduling it sees nothing, and so excuses nothing.
pub struct Meter {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Meter {
    /// Starts to measure.
    pub fn start() -> Outcome<Meter> {
        let cores = std::thread::available_parallelism().map_err(|error| format!("cores: {error}"))?.get();
        let mut meter = Meter { shared: Arc::default(), threads: Vec::new() };
        for core in 0..cores {
            let shared = Arc::clone(&meter.shared);
            let thread = std::thread::Builder::new().name(format!("standstill {core}"));
            let thread = thread.spawn(move || measure(core, &shared));
            meter.threads.push(thread.map_err(|error| format!("standstill: {error}"))?);
        }
        Ok(meter)
    }

    /// Those since then that can end a lease, where HELLO goes every `interval`: without lateness, at T/16, a lease lasts
    /// for at least that much longer than until its renewal is due.
    pub fn that_end_leases(&self, since: Instant, interval: Duration) -> Vec<Standstill> {
        self.since(since, interval * 2 / 5)
    }

    /// Those of at least this length that ended since then.
    pub fn since(&self, since: Instant, least: Duration) -> Vec<Standstill> {
        let seen = self.shared.seen.lock();
        seen.iter().filter(|one| one.until >= since && one.length() >= least).copied().collect()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It only sleeps and notes.
            let _ = thread.join();
        }
    }
}

fn measure(core: usize, shared: &Shared) {
    let mut cores = CpuSet::new();
    let pinned = cores.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores));
    if pinned.is_err() || !realtime::ask(PRIORITY) {
        return;
    }
    while !shared.stop.load(Ordering::Relaxed) {
        let from = Instant::now() + PERIOD;
        std::thread::sleep(PERIOD);
        let until = Instant::now();
        if until.saturating_duration_since(from) >= WORTH_NOTING {
            shared.seen.lock().push(Standstill { from, until });
        }
    }
}
