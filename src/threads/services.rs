//! Thread `services`: the `start` and `stop` commands of services, one after the other for each service, and for those that share
//! a server.
//!
//! Each running command has a runner thread of its own; the answer goes from there to the driver. Ends
//! when it is told: what still runs is called off, what waits is forgotten.

use super::checks;
use super::driver::Told;
use super::mailbox::{Mailbox, Received, Sender};
use super::published::Published;
use crate::config::{Config, Service};
use crate::controller::{Action, Input};
use crate::os::clock;
use crate::os::doorbell::Doorbell;
use crate::vocabulary::{Instant, ServiceId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub mod agent;
mod sequence;
use agent::Places;
use sequence::Runs;

/// Orders that may wait: one for every service that a cluster may have, and as many answers.
pub const ORDERS: usize = 1_024;
/// Commands at a time: a node that takes over many services must not start them all at once, nor one by
/// one.
const RUNNERS: usize = 8;
/// How long the shell that called off its command is waited for at the end.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// What this thread is told.
#[derive(Debug)]
pub enum Order {
    /// Run it after all that was ordered for that service before.
    Run(Job),
    /// The same for a `stop` and a `start` in one, if the service is still served here then.
    Restart(Restart),
    /// A runner has ended.
    Ended(ServiceId),
    /// Call off what runs, forget what waits, end.
    End,
}

/// One command to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose.
    pub service: ServiceId,
    /// Which.
    pub action: Action,
    /// Repeated in the answer.
    pub token: u64,
}

/// A restart that a check wants.
#[derive(Debug, Clone)]
pub struct Restart {
    /// Whose.
    pub service: ServiceId,
    /// The check, repeated in the answer.
    pub check: String,
    /// Who gets the answer.
    pub reply: Sender<checks::Order>,
}

/// How a restart went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restarted {
    /// Its `start` has succeeded.
    Done,
    /// Its `start` has not, or it has none.
    Failed,
    /// It is not served here any more: nothing was done.
    NotHere,
}

/// What waits for its turn.
#[derive(Debug, Clone)]
enum Task {
    Job(Job),
    Restart(Restart),
}

/// In the order in which it was ordered.
type Waiting = VecDeque<Task>;

/// The thread.
pub struct Services {
    /// Orders.
    pub mailbox: Mailbox<Order>,
    /// The other end of it, for the runners.
    pub orders: Sender<Order>,
    /// Who gets the answers.
    pub driver: Sender<Told>,
    /// Configuration.
    pub published: Arc<Published>,
    /// Where agents are.
    pub places: Arc<Places>,
}

struct Runner {
    task: Task,
    thread: JoinHandle<()>,
    call_off: Doorbell,
}

impl Services {
    /// Works until it is told to end.
    pub fn run(self) {
        let mut waiting = Waiting::new();
        let mut running: BTreeMap<ServiceId, Runner> = BTreeMap::new();
        let mut known: Option<Arc<Config>> = None;
        loop {
            self.warn_of_missing(&mut known);
            match self.mailbox.receive_until(Instant::MAX) {
                Received::Message(Order::Run(job)) => waiting.push_back(Task::Job(job)),
                Received::Message(Order::Restart(restart)) => waiting.push_back(Task::Restart(restart)),
                Received::Message(Order::Ended(service)) => {
                    let ended = running.remove(&service).map(|runner| runner.thread.join());
                    debug_assert!(ended.is_some_and(|joined| joined.is_ok()));
                }
                Received::Message(Order::End) | Received::Nothing | Received::Closed => break,
            }
            self.begin(&mut waiting, &mut running);
            self.publish_busy(&waiting, &running);
        }
        self.end(running);
    }

    /// Once for each configuration: who is told before the service comes here can still do something.
    fn warn_of_missing(&self, known: &mut Option<Arc<Config>>) {
        let config = self.published.config();
        if !known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &config)) {
            for line in agent::missing(&config, &self.places) {
                log::warn!("{line}: it cannot be served here");
            }
            *known = Some(config);
        }
    }

    /// Checks do not look at a service that is being started or stopped.
    fn publish_busy(&self, waiting: &Waiting, running: &BTreeMap<ServiceId, Runner>) {
        let busy: BTreeSet<ServiceId> =
            waiting.iter().map(Task::service).chain(running.keys().copied()).collect();
        let mut published = self.published.busy.lock();
        if !published.iter().eq(busy.iter()) {
            *published = busy.into_iter().collect();
        }
    }

    fn begin(&self, waiting: &mut Waiting, running: &mut BTreeMap<ServiceId, Runner>) {
        let config = self.published.config();
        let mut passed_over: Vec<Task> = Vec::new();
        while let Some(task) = waiting.pop_front() {
            let before = running.values().map(|runner| &runner.task).chain(&passed_over);
            if running.len() >= RUNNERS || before.into_iter().any(|other| task.waits_for(other, &config)) {
                passed_over.push(task);
                continue;
            }
            match self.runner(task.clone()) {
                Ok(runner) => {
                    running.insert(task.service(), runner);
                }
                Err(error) => {
                    log::error!("cannot run a command: {error}");
                    match task {
                        Task::Job(job) => answer(&self.driver, &job, false),
                        Task::Restart(restart) => restart.answer(Restarted::Failed),
                    }
                }
            }
        }
        waiting.extend(passed_over);
    }

    fn runner(&self, task: Task) -> std::io::Result<Runner> {
        let (id, at_work) = (task.service(), task.clone());
        let config = self.published.config();
        let service = config.service(id).cloned();
        let limit = config.cluster.script_timeout;
        let call_off = Doorbell::new()?;
        let (driver, orders) = (self.driver.clone(), self.orders.clone());
        let (bell, published, places) = (call_off.clone(), self.published.clone(), self.places.clone());
        let thread = super::start("runner", super::Urgency::Ordinary, move || {
            let runs = |service| Runs { service, places: &places, call_off: &bell, limit };
            match task {
                Task::Job(job) => {
                    // A service that a reload has removed meanwhile has no command any more.
                    let ok = service.as_ref().is_none_or(|service| runs(service).run(job.action));
                    answer(&driver, &job, ok);
                }
                Task::Restart(order) => {
                    // Whoever lost it has its `stop` ordered behind this: nothing is started that nobody stops.
                    let here = published.lease.services().contains(&id);
                    let outcome = match service.as_ref().filter(|_| here) {
                        None => Restarted::NotHere,
                        Some(service) => restart(&runs(service)),
                    };
                    order.answer(outcome);
                }
            }
            orders.send(Order::Ended(id));
        })?;
        Ok(Runner { task: at_work, thread, call_off })
    }

    fn end(&self, mut running: BTreeMap<ServiceId, Runner>) {
        let until = clock::now() + END_PATIENCE;
        for runner in running.values() {
            runner.call_off.ring();
        }
        while !running.is_empty() && clock::now() < until {
            if let Received::Message(Order::Ended(service)) = self.mailbox.receive_until(until)
                && let Some(runner) = running.remove(&service)
            {
                let _ = runner.thread.join();
            }
        }
    }
}

impl Task {
    fn service(&self) -> ServiceId {
        match self {
            Task::Job(job) => job.service,
            Task::Restart(restart) => restart.service,
        }
    }

    /// A restart is both.
    fn action(&self) -> Option<Action> {
        match self {
            Task::Job(job) => Some(job.action),
            Task::Restart(_) => None,
        }
    }

    /// What was ordered before for the same service; and for another one that lives by the same command, if that is to stop what
    /// this starts, or the other way round: a `stop` of the shared server that still runs would end it again.
    fn waits_for(&self, other: &Task, config: &Config) -> bool {
        if self.service() == other.service() {
            return true;
        }
        let opposite = self.action().is_none() || self.action() != other.action();
        opposite && share_a_command(config, self.service(), other.service())
    }
}

fn share_a_command(config: &Config, one: ServiceId, other: ServiceId) -> bool {
    let (Some(one), Some(other)) = (config.service(one), config.service(other)) else { return false };
    let starts = one.starts().next().is_some() && one.starts().eq(other.starts());
    let stops = one.stops().next().is_some() && one.stops().eq(other.stops());
    starts || stops
}

impl Restart {
    fn answer(&self, outcome: Restarted) {
        self.reply.send(checks::Order::Restarted { check: self.check.clone(), outcome });
    }
}

/// A `stop` that fails is no reason not to start: often there is nothing left to stop.
fn restart(runs: &Runs) -> Restarted {
    if !has_command(runs.service, Action::Start) {
        return Restarted::Failed;
    }
    runs.run(Action::Stop);
    if runs.run(Action::Start) { Restarted::Done } else { Restarted::Failed }
}

fn answer(driver: &Sender<Told>, job: &Job, ok: bool) {
    let Job { service, action, token } = *job;
    driver.send(Told::Happened(Box::new(Input::Ran { service, action, token, ok })));
}

/// Is there anything to run?
pub fn has_command(service: &Service, action: Action) -> bool {
    match action {
        Action::Start => service.starts().next().is_some(),
        Action::Stop => service.stops().next().is_some(),
    }
}

#[cfg(test)]
mod tests;
