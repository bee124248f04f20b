//! Thread `services`: the `start` and `stop` commands of services, one after the other for each service.
//!
//! Each running command has a runner thread of its own; the answer goes from there to the driver. Ends
//! when it is told: what still runs is called off, what waits is forgotten.

use super::driver::Told;
use super::mailbox::{Mailbox, Received, Sender};
use super::published::Published;
use crate::config::Service;
use crate::controller::{Action, Input};
use crate::os::clock;
use crate::os::doorbell::Doorbell;
use crate::os::process::{self, Outcome};
use crate::vocabulary::{Instant, ServiceId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

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
}

struct Runner {
    thread: JoinHandle<()>,
    call_off: Doorbell,
}

impl Services {
    /// Works until it is told to end.
    pub fn run(self) {
        let mut waiting: BTreeMap<ServiceId, VecDeque<Job>> = BTreeMap::new();
        let mut running: BTreeMap<ServiceId, Runner> = BTreeMap::new();
        loop {
            match self.mailbox.receive_until(Instant::MAX) {
                Received::Message(Order::Run(job)) => waiting.entry(job.service).or_default().push_back(job),
                Received::Message(Order::Ended(service)) => {
                    let ended = running.remove(&service).map(|runner| runner.thread.join());
                    debug_assert!(ended.is_some_and(|joined| joined.is_ok()));
                }
                Received::Message(Order::End) | Received::Nothing | Received::Closed => break,
            }
            self.begin(&mut waiting, &mut running);
        }
        self.end(running);
    }

    fn begin(
        &self,
        waiting: &mut BTreeMap<ServiceId, VecDeque<Job>>,
        running: &mut BTreeMap<ServiceId, Runner>,
    ) {
        for (service, jobs) in &mut *waiting {
            if running.len() >= RUNNERS || running.contains_key(service) {
                continue;
            }
            let Some(job) = jobs.pop_front() else { continue };
            match self.runner(&job) {
                Ok(runner) => {
                    running.insert(*service, runner);
                }
                Err(error) => {
                    log::error!("cannot run a command: {error}");
                    answer(&self.driver, &job, false);
                }
            }
        }
        waiting.retain(|_, jobs| !jobs.is_empty());
    }

    fn runner(&self, job: &Job) -> std::io::Result<Runner> {
        let config = self.published.config();
        let service = config.service(job.service).cloned();
        let limit = config.cluster.script_timeout;
        let call_off = Doorbell::new()?;
        let (driver, orders) = (self.driver.clone(), self.orders.clone());
        let (bell, job) = (call_off.clone(), job.clone());
        let thread = super::start("runner", super::Urgency::Ordinary, move || {
            // A service that a reload has removed meanwhile has no command any more.
            let ok = service.is_none_or(|service| execute(&service, job.action, limit, &bell));
            answer(&driver, &job, ok);
            orders.send(Order::Ended(job.service));
        })?;
        Ok(Runner { thread, call_off })
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

fn answer(driver: &Sender<Told>, job: &Job, ok: bool) {
    let Job { service, action, token } = *job;
    driver.send(Told::Happened(Box::new(Input::Ran { service, action, token, ok })));
}

/// The command line of that action, if the service has one.
pub fn command_of(service: &Service, action: Action) -> Option<&str> {
    match action {
        Action::Start => service.start.as_deref(),
        Action::Stop => service.stop.as_deref(),
    }
}

fn execute(service: &Service, action: Action, limit: Duration, call_off: &Doorbell) -> bool {
    let Some(command) = command_of(service, action) else { return true };
    let (name, word) = (service.name.as_str(), word(action));
    let addresses: Vec<String> =
        service.addresses.iter().map(|address| address.address.to_string()).collect();
    let addresses = addresses.join(" ");
    let environment =
        [("DIEHARD_SERVICE", name), ("DIEHARD_ACTION", word), ("DIEHARD_ADDRESSES", &addresses)];
    let began = clock::now();
    let outcome =
        process::run(command, &environment, limit, call_off, |line| log::info!("{name} {word}: {line}"));
    let took = clock::now().since(began).as_millis();
    match outcome {
        Ok(Outcome::Done) => {
            log::info!("{name} {word}: done in {took} ms");
            return true;
        }
        Ok(Outcome::Failed(code)) => {
            log::error!("{name} {word}: failed with exit code {code} after {took} ms")
        }
        Ok(Outcome::Killed(signal)) => log::error!("{name} {word}: ended by signal {signal} after {took} ms"),
        Ok(Outcome::TimedOut) => {
            log::error!("{name} {word}: not done within {} ms, ended", limit.as_millis())
        }
        Ok(Outcome::CalledOff) => log::warn!("{name} {word}: called off after {took} ms, the daemon ends"),
        Err(error) => log::error!("{name} {word}: cannot run {command:?}: {error}"),
    }
    false
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Start => "start",
        Action::Stop => "stop",
    }
}

#[cfg(test)]
mod tests;
