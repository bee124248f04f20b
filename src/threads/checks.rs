//! Thread `checks`: the SPOF monitor and the recovery manager (paper, chapters 2 and 3).
//!
//! ```text
//!   timetable ──▶ pool of workers ──▶ finding ──▶ ladder ──▶ step ──▶ services (restart) · driver (unfit, standby)
//!                 process watch ────▶ «it has ended» ──▶ a run at once
//! ```
//! Owns every check's ladder and the schedule. An ordinary thread: nothing of the heartbeat waits for it, and it waits
//! for no check. What the node is unfit for is told to the driver as a whole set, whenever it changes. Ends when it is
//! told, or when nobody is left who could tell; workers that hang in the kernel are left behind.

use self::kinds::Process;
use self::pool::{Job, Pool};
use self::subject::Subject;
use self::watch::Watch;
use super::driver::Told;
use super::mailbox::{Mailbox, Received, Sender};
use super::published::Published;
use super::services;
use crate::config::{CheckScope, Config, MAX_CHECKS, step};
use crate::control::check_words::{CheckEvent, check_fields, check_text, is_warning};
use crate::control::checks::{Line, RunOrder, Tried};
use crate::controller::Input;
use crate::os::clock;
use crate::os::doorbell::Doorbell;
use crate::recovery::{Finding, timetables};
use crate::vocabulary::{Instant, NodeId, ServiceId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

mod kinds;
mod on_demand;
mod pool;
mod steps;
mod subject;
mod watch;

/// Orders that may wait: a result and an end for every check there may be, and the answers to steps.
pub const ORDERS: usize = 2 * MAX_CHECKS + 64;
/// How often is looked at what others publish: the configuration, what is held here.
const LOOK: Duration = Duration::from_millis(100);
/// The same while somebody waits for an answer.
const ON_DEMAND_LOOK: Duration = Duration::from_millis(20);
/// A result may come so much later than the check's timeout: the worker's own limit says more than ours.
const ALLOWANCE: Duration = Duration::from_millis(100);
/// A run that is late by so much has a worker that hangs.
const HANGS: Duration = Duration::from_secs(5);

/// What this thread is told.
#[derive(Debug)]
pub enum Order {
    /// A run has ended.
    Found {
        /// Which.
        number: u64,
        /// What it found.
        finding: Finding,
        /// The process that it looked at.
        process: Option<Process>,
        /// How long it took.
        took: Duration,
    },
    /// Another configuration is in force.
    Reloaded,
    /// A card that a check looks at has got or lost its carrier, or was switched.
    Card {
        /// Its name.
        device: String,
    },
    /// Somebody wants to know now.
    Asked(RunOrder),
    /// A process that was watched has ended.
    Ended {
        /// The check that looks at it.
        check: String,
        /// Which it was.
        pid: u32,
    },
    /// A restart is over.
    Restarted {
        /// The check that wanted it.
        check: String,
        /// How.
        outcome: services::Restarted,
    },
    /// End now.
    End,
}

/// The thread.
pub struct Checks {
    /// This node.
    pub me: NodeId,
    /// All that happens.
    pub mailbox: Mailbox<Order>,
    /// The other end of it, for workers.
    pub orders: Sender<Order>,
    /// Who is told what this node is unfit for.
    pub driver: Sender<Told>,
    /// Who restarts services.
    pub services: Sender<services::Order>,
    /// Configuration, lease, events, board.
    pub published: Arc<Published>,
    /// The command that restarts the machine.
    pub reboot: String,
    /// Where agents are.
    pub places: Arc<services::agent::Places>,
    /// For the little chance in the schedule.
    pub seed: u64,
}

/// What the thread remembers.
struct Work {
    thread: Checks,
    config: Arc<Config>,
    subjects: Vec<Subject>,
    pool: Pool,
    watch: Watch,
    next_run: u64,
    chance: u64,
    told: (Vec<ServiceId>, Vec<ServiceId>),
    /// The gateway is silent, as the driver was told.
    cut_off: bool,
    /// Answers to operators' commands that steps became.
    asked: Vec<steps::Asked>,
    /// Runs that people asked for.
    on_demand: Vec<on_demand::OnDemand>,
    rebooting: Option<(JoinHandle<()>, Doorbell)>,
}

impl Checks {
    /// Works until it is told to end.
    pub fn run(self) {
        let watch = match Watch::begin(self.orders.clone()) {
            Ok(watch) => watch,
            Err(error) => {
                // No process or descriptor left when the daemon starts: nothing can be run at all.
                log::error!("cannot start the process watch: checks do not run: {error}");
                return;
            }
        };
        let mut work = Work {
            config: self.published.config(),
            subjects: Vec::new(),
            pool: Pool::new(self.orders.clone()),
            watch,
            next_run: 1,
            chance: self.seed,
            told: Default::default(),
            cut_off: false,
            asked: Vec::new(),
            on_demand: Vec::new(),
            rebooting: None,
            thread: self,
        };
        work.adopt(work.config.clone());
        while work.turn() {}
        work.end();
    }
}

impl Work {
    /// Waits, takes what there is, does what is due; false: the end.
    fn turn(&mut self) -> bool {
        let mut received = self.thread.mailbox.receive_until(self.next_wake());
        loop {
            match received {
                Received::Message(Order::End) | Received::Closed => return false,
                Received::Message(order) => self.take(order),
                Received::Nothing => break,
            }
            received = self.thread.mailbox.take();
        }
        let config = self.thread.published.config();
        if !Arc::ptr_eq(&config, &self.config) {
            self.adopt(config);
        }
        let now = clock::now();
        self.look_around(now);
        self.judge_the_late(now);
        self.look_after_on_demand(now);
        self.begin_what_is_due(now);
        self.hear_answers();
        self.tell_unfit(now);
        true
    }

    fn next_wake(&self) -> Instant {
        let idle = self.subjects.is_empty() && self.asked.is_empty() && self.rebooting.is_none();
        let look = if idle { Duration::MAX } else { LOOK };
        let times = self.subjects.iter().map(Subject::next_wake);
        let look = if self.on_demand.is_empty() { look } else { ON_DEMAND_LOOK };
        times.min().unwrap_or(Instant::MAX).min(clock::now() + look)
    }

    /// Another configuration: checks that are the same go on as they are.
    fn adopt(&mut self, config: Arc<Config>) {
        let now = clock::now();
        let mut old = std::mem::take(&mut self.subjects);
        for (check, table) in config.checks.iter().zip(timetables(&config.checks)) {
            let only_held = config.runs_only_where_held(check);
            let known = old.iter().position(|subject| subject.check == *check);
            let subject = match known.map(|at| old.swap_remove(at)) {
                Some(known) => known.planned(table, only_held),
                None => Subject::new(check.clone(), table, only_held, now),
            };
            self.subjects.push(subject);
        }
        for gone in old {
            self.watch.forget(&gone.check.name);
        }
        self.config = config;
        let names: BTreeSet<&str> = self.subjects.iter().map(|subject| subject.check.name.as_str()).collect();
        self.thread.published.checks.keep(|name| names.contains(name));
        self.look_around(now);
        for at in 0..self.subjects.len() {
            self.show(at);
        }
    }

    fn take(&mut self, order: Order) {
        let now = clock::now();
        match order {
            Order::Found { number, finding, process, took } => {
                self.found(now, number, finding, process, took)
            }
            Order::Card { device } => {
                for subject in self.subjects.iter_mut().filter(|subject| subject.looks_at_card(&device)) {
                    subject.told = true;
                    subject.due = now;
                }
            }
            Order::Asked(order) => self.asked_to_run(order),
            Order::Ended { check, pid } => {
                let Some(at) = self.subject_named(&check) else { return };
                self.subjects[at].ended = Some(pid);
                self.subjects[at].due = now;
            }
            Order::Restarted { check, outcome } => self.restarted(now, &check, outcome),
            Order::Reloaded | Order::End => {}
        }
    }

    fn found(
        &mut self,
        now: Instant,
        number: u64,
        finding: Finding,
        process: Option<Process>,
        took: Duration,
    ) {
        let Some(at) = self.subjects.iter().position(|subject| subject.runs(number)) else {
            return self.answer_on_demand(number, finding, took);
        };
        let subject = &mut self.subjects[at];
        let settled = subject.run.take().is_none_or(|run| run.settled);
        if std::mem::take(&mut subject.again) {
            subject.due = now;
        }
        if let Some(process) = process.filter(|_| subject.may_run()) {
            self.watch.see(&subject.check.name, process);
        }
        if !settled {
            subject.took = Some(took);
            self.judge(now, at, finding);
        }
    }

    fn subject_named(&self, name: &str) -> Option<usize> {
        self.subjects.iter().position(|subject| subject.check.name == name)
    }

    /// What is held here, whose commands run, what is on its way out.
    fn look_around(&mut self, now: Instant) {
        let published = &self.thread.published;
        let (stays, busy, moving) =
            (published.lease.stays(), published.busy.lock().clone(), published.moving.lock().clone());
        for at in 0..self.subjects.len() {
            let subject = &mut self.subjects[at];
            let CheckScope::Service(id) = subject.check.scope else { continue };
            let stay = stays.iter().find(|(service, _)| *service == id).map(|(_, number)| *number);
            let mut changed = subject.note_stay(now, stay);
            subject.note_busy(now, busy.contains(&id));
            changed |= subject.note_moving(now, moving.contains(&id));
            if !subject.may_run() {
                self.watch.forget(&subject.check.name);
            }
            if self.subjects[at].stays(now) {
                self.tell(at, &CheckEvent::Stays);
            }
            if changed {
                self.show(at);
            }
        }
    }

    fn judge_the_late(&mut self, now: Instant) {
        for at in 0..self.subjects.len() {
            let subject = &mut self.subjects[at];
            let timeout = subject.check.timeout;
            let Some(run) = &mut subject.run else { continue };
            let Some(began) = run.since() else { continue };
            if !run.written_off && now >= began + timeout + HANGS {
                run.written_off = true;
                let number = run.number;
                if self.pool.write_off(number) {
                    self.tell(at, &CheckEvent::Hangs);
                }
            } else if !run.settled && now >= began + timeout + ALLOWANCE {
                run.settled = true;
                let finding = run.overdue(now, timeout);
                self.judge(now, at, finding);
            }
        }
    }

    fn begin_what_is_due(&mut self, now: Instant) {
        for at in 0..self.subjects.len() {
            if now < self.subjects[at].due {
                continue;
            }
            self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x9e37_79b9);
            let chance = self.chance >> 20;
            let subject = &mut self.subjects[at];
            subject.due = subject.table.after(now, chance);
            if !subject.may_run() || subject.is_paused() {
                continue;
            }
            if let Some(run) = &subject.run {
                if subject.is_late(now) && run.settled {
                    // It has not come back since, and is as bad as it was.
                    let finding = run.overdue(now, subject.check.timeout);
                    self.judge(now, at, finding);
                } else {
                    subject.again = true;
                }
                continue;
            }
            let job = self.job(at);
            self.pool.run(job);
        }
    }

    fn job(&mut self, at: usize) -> Job {
        let number = self.next_run;
        self.next_run += 1;
        let mut job = self.plain_job(number, at);
        let subject = &mut self.subjects[at];
        job.began = subject.begin(number);
        job.ended = subject.ended.take();
        job.told = std::mem::take(&mut subject.told);
        job.errors_seen = subject.errors_seen.clone();
        job
    }

    /// A run that the check's memory knows nothing of.
    fn plain_job(&self, number: u64, at: usize) -> Job {
        let subject = &self.subjects[at];
        let service = match subject.check.scope {
            CheckScope::Service(id) => self.config.service(id),
            CheckScope::Node => None,
        };
        let addresses = service.iter().flat_map(|service| &service.addresses);
        let addresses: Vec<String> = addresses.map(|address| address.address.to_string()).collect();
        let errors = subject.errors_seen.load(Ordering::SeqCst);
        Job {
            number,
            began: Arc::default(),
            service: service.map_or_else(|| "node".to_owned(), |service| service.name.clone()),
            addresses: addresses.join(" "),
            device: self
                .config
                .node(self.thread.me)
                .map_or_else(String::new, |me| me.external.device.clone()),
            ended: None,
            told: false,
            errors_seen: Arc::new(AtomicU64::new(errors)),
            statuses: service
                .iter()
                .flat_map(|service| service.statuses())
                .map(|(part, status)| (part.map(str::to_owned), status.to_owned()))
                .collect(),
            places: self.thread.places.clone(),
            check: subject.check.clone(),
        }
    }

    /// For people: the board that `diehard status` and `diehard checks` show.
    fn show(&mut self, at: usize) {
        let subject = &mut self.subjects[at];
        let standing = subject.ladder.standing();
        if subject.shown != Some(standing) {
            subject.shown = Some(standing);
            subject.since = clock::wall();
        }
        let (now, wall) = (clock::now(), clock::wall());
        let tally = subject.ladder.tally(&subject.check, self.config.cluster.forget, now);
        let tried = tally.steps.iter().filter_map(|tried| {
            let forgotten = wall + tried.forgotten?.since(now);
            Some(Tried { step: step(&tried.step), used: tried.used, of: tried.of, forgotten })
        });
        let line = Line {
            standing,
            message: subject.ladder.message().to_owned(),
            since: subject.since,
            bad_in_a_row: tally.bad_in_a_row,
            tried: tried.collect(),
            warning: subject.last_warns,
            performance: subject.performance.clone(),
            took: subject.took,
        };
        self.thread.published.checks.write(&subject.check.name, line);
    }

    fn tell(&self, at: usize, event: &CheckEvent) {
        let subject = &self.subjects[at];
        let message = subject.ladder.message();
        let text = check_text(&self.config, &subject.check, event, message);
        let level = if is_warning(event) { log::Level::Warn } else { log::Level::Info };
        log::log!(level, "{text}");
        let fields = check_fields(&self.config, &subject.check, event, message);
        self.thread.published.events.push(clock::wall(), text, fields);
    }

    /// The whole set, when it has changed.
    fn tell_unfit(&mut self, now: Instant) {
        let forget = self.config.cluster.forget;
        let of = |is: &dyn Fn(&Subject) -> bool| -> Vec<ServiceId> {
            let services = self.subjects.iter().filter(|subject| is(subject)).filter_map(Subject::service);
            services.collect::<BTreeSet<_>>().into_iter().collect()
        };
        let unfit = of(&|subject| subject.is_unfit(now, forget));
        let given_up = of(&Subject::gives_up);
        let silent = self.subjects.iter().any(Subject::misses_gateway);
        if std::mem::replace(&mut self.cut_off, silent) != silent {
            self.thread.driver.send(Told::Happened(Box::new(Input::Gateway { silent })));
        }
        let told = (unfit, given_up);
        if told != self.told {
            self.told = told.clone();
            let (services, given_up) = told;
            self.thread.driver.send(Told::Happened(Box::new(Input::Unfit { services, given_up })));
        }
    }

    fn end(self) {
        self.watch.end();
        self.pool.end();
        if let Some((thread, call_off)) = self.rebooting {
            call_off.ring();
            // A panic has ended the process already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
