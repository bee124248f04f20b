//! The workers of the checks: grown on demand, at most `MOST_WORKERS`, all with small stacks.
//!
//! Owned by the thread `checks`. A worker that a hanging disk keeps is written off and replaced: it harms nobody, and
//! ends by itself when the disk lets it go. At the end who is idle or can be called off is joined, who hangs is left.

use super::kinds::{self, look};
use super::{ALLOWANCE, Order};
use crate::config::Check;
use crate::os::clock;
use crate::os::doorbell::Doorbell;
use crate::recovery::Finding;
use crate::threads::mailbox::Sender;
use crate::threads::{Urgency, start};
use crate::vocabulary::Instant;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Runs at a time. A run waits for somebody's answer most of its time: so many answer 1,000 checks a second that take
/// 16 ms each.
pub const MOST_WORKERS: usize = 16;
/// Workers that hang, at most: one for each check of a disk that hangs, and no node has more disks than that. Beyond
/// it nobody is replaced any more.
pub const MOST_HUNG: usize = 32;
/// How long the end waits for who was called off.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// One run.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which run.
    pub number: u64,
    /// Of what.
    pub check: Check,
    /// When a worker began it, in nanoseconds of the clock; 0: it waits.
    pub began: Arc<AtomicU64>,
    /// Name of the check's service, or `node`.
    pub service: String,
    /// The service's addresses, for scripts.
    pub addresses: String,
    /// The external card.
    pub device: String,
    /// The process whose end is the reason for this run.
    pub ended: Option<u32>,
    /// The kernel has told that the card has changed, which is the reason for this run.
    pub told: bool,
    /// Packets with errors up to the last run.
    pub errors_seen: Arc<AtomicU64>,
}

/// All workers.
pub struct Pool {
    shared: Arc<Shared>,
    orders: Sender<Order>,
    workers: Vec<Worker>,
    hung: Vec<Worker>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
    ended: bool,
}

struct Worker {
    thread: JoinHandle<()>,
    call_off: Doorbell,
    /// The run that it has in hand; 0: none.
    number: Arc<AtomicU64>,
    /// Written off: it ends with that run.
    retired: Arc<AtomicBool>,
}

impl Pool {
    /// Without a worker yet.
    pub fn new(orders: Sender<Order>) -> Self {
        Pool { shared: Arc::default(), orders, workers: Vec::new(), hung: Vec::new() }
    }

    /// Has it run, by a new worker if none is idle and there may be one more.
    pub fn run(&mut self, job: Job) {
        self.hung.retain(|worker| !worker.thread.is_finished());
        let mut queue = self.shared.queue.lock();
        queue.jobs.push_back(job);
        let more = queue.jobs.len() > queue.idle && self.workers.len() < MOST_WORKERS;
        drop(queue);
        self.shared.more.notify_one();
        if more {
            match self.worker() {
                Ok(worker) => self.workers.push(worker),
                // Those that there are will come to it.
                Err(error) => log::error!("cannot start a worker for checks: {error}"),
            }
        }
    }

    /// The worker of that run hangs: it is no worker any more. False: too many hang already.
    pub fn write_off(&mut self, number: u64) -> bool {
        if self.hung.len() >= MOST_HUNG {
            return false;
        }
        let at = self.workers.iter().position(|worker| worker.number.load(Ordering::SeqCst) == number);
        let Some(at) = at else { return false };
        let worker = self.workers.swap_remove(at);
        worker.retired.store(true, Ordering::SeqCst);
        self.hung.push(worker);
        true
    }

    fn worker(&self) -> io::Result<Worker> {
        let (number, retired) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let call_off = Doorbell::new()?;
        let hand = Hand {
            shared: self.shared.clone(),
            orders: self.orders.clone(),
            call_off: call_off.clone(),
            number: number.clone(),
            retired: retired.clone(),
        };
        let thread = start("check", Urgency::Ordinary, move || hand.work())?;
        Ok(Worker { thread, call_off, number, retired })
    }

    /// Ends them all; who hangs in the kernel is left to it.
    pub fn end(self) {
        let mut queue = self.shared.queue.lock();
        queue.ended = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.more.notify_all();
        let mut left = self.workers;
        left.extend(self.hung);
        for worker in &left {
            worker.call_off.ring();
        }
        let until = clock::now() + END_PATIENCE;
        while !left.is_empty() && clock::now() < until {
            let (done, others): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|worker| worker.thread.is_finished());
            left = others;
            for worker in done {
                // A panic has ended the process already.
                let _ = worker.thread.join();
            }
            if !left.is_empty() {
                clock::sleep_until(clock::now() + Duration::from_millis(5));
            }
        }
        if !left.is_empty() {
            log::warn!("{} workers of checks hang and are left to the kernel", left.len());
        }
    }
}

/// What a worker has.
struct Hand {
    shared: Arc<Shared>,
    orders: Sender<Order>,
    call_off: Doorbell,
    number: Arc<AtomicU64>,
    retired: Arc<AtomicBool>,
}

impl Hand {
    fn work(self) {
        while let Some(job) = self.next() {
            self.number.store(job.number, Ordering::SeqCst);
            // The clock began long before this process: it is never 0.
            let began = clock::now();
            job.began.store(began.as_nanos(), Ordering::SeqCst);
            let kinds::Result { finding, process } = look(&job, &self.call_off);
            let took = clock::now().since(began);
            self.number.store(0, Ordering::SeqCst);
            self.orders.send(Order::Found { number: job.number, finding, process, took });
            if self.retired.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.shared.queue.lock();
        queue.idle += 1;
        let job = loop {
            if queue.ended {
                break None;
            }
            if let Some(job) = queue.jobs.pop_front() {
                break Some(job);
            }
            self.shared.more.wait(&mut queue);
        };
        queue.idle -= 1;
        job
    }
}

/// A run that the scheduler waits for.
#[derive(Debug)]
pub struct Run {
    /// Which.
    pub number: u64,
    /// When a worker began it.
    pub began: Arc<AtomicU64>,
    /// Its result does not count any more: it was late, or is about what has been restarted since.
    pub settled: bool,
    /// Its worker was written off, or cannot be.
    pub written_off: bool,
}

impl Run {
    /// Since when a worker has it in hand.
    pub fn since(&self) -> Option<Instant> {
        let nanos = self.began.load(Ordering::SeqCst);
        (nanos > 0).then(|| Instant::from_nanos(nanos))
    }

    /// When its result is late; `None`: no worker has begun it.
    pub fn late_at(&self, timeout: Duration) -> Option<Instant> {
        self.since().map(|began| began + timeout + ALLOWANCE)
    }

    /// What is to be said of one that does not come back.
    pub fn overdue(&self, now: Instant, timeout: Duration) -> Finding {
        let since = self.since().map_or(Duration::ZERO, |began| now.since(began));
        if since > timeout * 4 && since > Duration::from_secs(2) {
            return Finding::bad(format!("no answer for {} s", since.as_secs()));
        }
        kinds::no_answer(timeout)
    }
}
