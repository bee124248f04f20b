//! Thread `notify`: hands every event to the targets that want it. Each target is a thread of its own with an ordered,
//! bounded queue (`queue`), so that one that is slow or dead delays nobody else.
//!
//! ```text
//!   driver, checks ─▶ event log ─▶ mailbox ─▶ notify ─▶ queue ─▶ notifier ─▶ command, sendmail, HTTP POST
//! ```
//! Nobody who reports an event waits for this: what finds the mailbox full is counted, and each target is told with its
//! next notification how many it lacks. Ends when it is told; the targets then have a little time for what waits.

use self::notice::Notice;
use self::queue::Queue;
use super::mailbox::{Mailbox, Received, Sender};
use super::published::Published;
use crate::config::{self, Config};
use crate::control::events::Entry;
use crate::os::clock;
use crate::os::doorbell::Doorbell;
use crate::vocabulary::{Instant, NodeId, ServiceId};
use parking_lot::Mutex;
use serde_json::Value;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

mod notice;
mod notifier;
mod queue;
mod ways;

/// Events that may wait: what a cluster of 64 says when half of it dies, many times over.
pub const ORDERS: usize = 4_096;
/// What a failed attempt waits for at first.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long the end waits for what is still to be told.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// And then for who was called off: longer than a process has between TERM and KILL.
const CALLED_OFF: Duration = Duration::from_secs(3);

/// What this thread is told.
#[derive(Debug)]
pub enum Order {
    /// Something happened.
    Happened(Box<Entry>),
    /// End now.
    End,
}

/// The thread.
pub struct Notify {
    /// This node.
    pub me: NodeId,
    /// All that happens.
    pub mailbox: Mailbox<Order>,
    /// Configuration.
    pub published: Arc<Published>,
    /// Events that found the mailbox full.
    pub missed: Arc<AtomicU64>,
    /// What a failed attempt waits for at first; doubled with each.
    pub patience: Duration,
}

/// One who is told.
struct Target {
    settings: Arc<Mutex<config::Notify>>,
    queue: Arc<Queue>,
    call_off: Doorbell,
    thread: JoinHandle<()>,
    /// How many it was to be told of.
    number: u64,
}

struct Work {
    thread: Notify,
    config: Arc<Config>,
    targets: Vec<Target>,
    /// No longer in the configuration: they end.
    leaving: Vec<Target>,
}

/// What the event log gives every own entry: never waits.
pub fn tap(orders: Sender<Order>, missed: Arc<AtomicU64>) -> crate::control::events::Tap {
    Box::new(move |entry| {
        if orders.offer(Order::Happened(Box::new(entry.clone()))).is_err() {
            missed.fetch_add(1, Ordering::Relaxed);
        }
    })
}

impl Notify {
    /// Works until it is told to end.
    pub fn run(self) {
        let config = self.published.config();
        let mut work =
            Work { config: config.clone(), targets: Vec::new(), leaving: Vec::new(), thread: self };
        work.adopt(config);
        while let Received::Message(Order::Happened(entry)) = work.thread.mailbox.receive_until(Instant::MAX)
        {
            // A reload is an event, so that the new targets hear of it.
            let config = work.thread.published.config();
            if !Arc::ptr_eq(&config, &work.config) {
                work.adopt(config);
            }
            work.hand_out(&entry);
        }
        work.end();
    }
}

impl Work {
    /// Targets that the configuration names still go on with what waits for them.
    fn adopt(&mut self, config: Arc<Config>) {
        self.leaving.retain(|target| !target.thread.is_finished());
        let mut old = std::mem::take(&mut self.targets);
        for wanted in config.targets() {
            let known = old.iter().position(|target| target.settings.lock().name == wanted.name);
            if let Some(at) = known {
                let target = old.swap_remove(at);
                target.queue.bound(wanted.queue as usize);
                *target.settings.lock() = wanted;
                self.targets.push(target);
                continue;
            }
            match self.target(wanted) {
                Ok(target) => self.targets.push(target),
                Err(error) => {
                    log::error!("cannot start a thread for [notify]: nobody is told by it: {error}")
                }
            }
        }
        for gone in old {
            gone.call_off();
            self.leaving.push(gone);
        }
        self.config = config;
    }

    fn target(&self, settings: config::Notify) -> io::Result<Target> {
        let queue = Arc::new(Queue::new(settings.queue as usize));
        let call_off = Doorbell::new()?;
        let settings = Arc::new(Mutex::new(settings));
        let notifier = notifier::Notifier {
            settings: settings.clone(),
            queue: queue.clone(),
            call_off: call_off.clone(),
            patience: self.thread.patience,
        };
        let thread = super::start("notifier", super::Urgency::Ordinary, move || notifier.run())?;
        Ok(Target { settings, queue, call_off, thread, number: 0 })
    }

    fn hand_out(&mut self, entry: &Entry) {
        let missed = self.thread.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            log::warn!("{missed} events found no room on their way to the notifiers: nobody is told of them");
        }
        let word = entry.fields.get("event").and_then(Value::as_str).unwrap_or_default();
        let severity = config::severity(word);
        let named = entry.fields.get("service").and_then(Value::as_str).map(ServiceId::of);
        for target in &mut self.targets {
            target.queue.lost(missed);
            target.number += missed;
            let settings = target.settings.lock();
            if settings.wants(word, severity, named) {
                target.number += 1;
                let node = self.config.node(self.thread.me).map_or("", |node| &node.name);
                let (cluster, target_name) = (&self.config.cluster.name, &settings.name);
                let notice = Notice::new(entry, severity, cluster, node, target_name, target.number);
                let name = settings.name.clone();
                drop(settings);
                if target.queue.push(notice) {
                    log::warn!("notify {name}: too many events wait, from now on some are lost");
                }
            }
        }
    }

    fn end(mut self) {
        let until = clock::now() + LAST_WORDS;
        for target in &self.targets {
            target.queue.end();
        }
        self.targets.append(&mut self.leaving);
        let left = join_until(self.targets, until);
        for target in &left {
            target.call_off();
        }
        let left = join_until(left, clock::now() + CALLED_OFF);
        for target in left {
            // It waits for somebody's answer, with a limit of its own, and has no process.
            log::warn!("notify {}: not waited for any longer", target.settings.lock().name);
        }
    }
}

impl Target {
    fn call_off(&self) {
        self.queue.call_off();
        self.call_off.ring();
    }
}

/// Those that have not ended by then.
fn join_until(mut targets: Vec<Target>, until: Instant) -> Vec<Target> {
    loop {
        let (done, left): (Vec<_>, Vec<_>) =
            targets.into_iter().partition(|target| target.thread.is_finished());
        for target in done {
            // A panic has ended the process already.
            let _ = target.thread.join();
        }
        targets = left;
        let now = clock::now();
        if targets.is_empty() || now >= until {
            return targets;
        }
        clock::sleep_until(until.min(now + Duration::from_millis(5)));
    }
}

#[cfg(test)]
mod tests;
