//! One check: when it runs next, how it stands, and what keeps its results from counting.
//!
//! Owned by the thread `checks`; no thread of its own.

use super::HANGS;
use super::kinds::NOT_SEEN;
use super::pool::Run;
use crate::config::{Check, CheckKind, CheckScope};
use crate::recovery::{Finding, Ladder, Standing, Timetable};
use crate::vocabulary::{Instant, ServiceId};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

/// A move is seen on its way within this; a check that fails every 10 ms shall not skip it.
const MOVE_PATIENCE: Duration = Duration::from_secs(3);

pub(super) struct Subject {
    pub check: Check,
    pub table: Timetable,
    /// It runs only where its service is held.
    pub only_held: bool,
    pub ladder: Ladder,
    /// When its next run begins.
    pub due: Instant,
    pub run: Option<Run>,
    /// The process that it watched has ended.
    pub ended: Option<u32>,
    /// Its service is served here: the number of its stay.
    stay: Option<u64>,
    /// A command of its service runs or waits.
    busy: bool,
    /// The kernel has told that its card has changed.
    pub told: bool,
    /// Packets with errors up to the last run.
    pub errors_seen: Arc<AtomicU64>,
    /// For people: the last result was a warning; so many in a row said otherwise than what people were told.
    pub last_warns: bool,
    warned: bool,
    otherwise: u32,
    /// For people: what the last result measured, and how long it took.
    pub performance: Option<String>,
    pub took: Option<Duration>,
    /// It was due again before its run had come back.
    pub again: bool,
    /// A restart was ordered, by it or by another check of its service.
    pub restarting: bool,
    /// Bad results do not count before, unless a good one comes: the service is being started.
    grace: Option<Instant>,
    /// Bad results do not count before: a step needs its time.
    settling: Option<Instant>,
    /// The service is on its way to another node.
    moving: bool,
    /// Its policy came to `move` then, and it has not been well since.
    gave_up: Option<Instant>,
    /// `move` was tried, and people were told nothing of it yet.
    leaving: bool,
    /// For people: what was shown, and since when.
    pub shown: Option<Standing>,
    pub since: SystemTime,
}

impl Subject {
    pub fn new(check: Check, table: Timetable, only_held: bool, now: Instant) -> Self {
        let mut ladder = Ladder::new(&check, now);
        ladder.overhear(if only_held { ELSEWHERE } else { NOT_YET });
        Subject {
            due: table.first(now),
            table,
            only_held,
            ladder,
            run: None,
            ended: None,
            stay: None,
            busy: false,
            told: false,
            errors_seen: Arc::new(AtomicU64::new(NOT_SEEN)),
            last_warns: false,
            warned: false,
            otherwise: 0,
            performance: None,
            took: None,
            again: false,
            restarting: false,
            grace: None,
            settling: None,
            moving: false,
            gave_up: None,
            leaving: false,
            shown: None,
            since: SystemTime::UNIX_EPOCH,
            check,
        }
    }

    /// The same in another configuration.
    pub fn planned(self, table: Timetable, only_held: bool) -> Self {
        Subject { table, only_held, ..self }
    }

    pub fn service(&self) -> Option<ServiceId> {
        match self.check.scope {
            CheckScope::Service(id) => Some(id),
            CheckScope::Node => None,
        }
    }

    /// Its run has not come back in time.
    pub fn is_late(&self, now: Instant) -> bool {
        let late_at = self.run.as_ref().and_then(|run| run.late_at(self.check.timeout));
        late_at.is_some_and(|late_at| now >= late_at)
    }

    pub fn runs(&self, number: u64) -> bool {
        self.run.as_ref().is_some_and(|run| run.number == number)
    }

    fn is_held(&self) -> bool {
        self.stay.is_some()
    }

    /// Keeps what a result shows to people.
    pub fn note(&mut self, finding: &Finding) {
        self.last_warns = finding.warning;
        self.performance.clone_from(&finding.performance);
    }

    /// True or false when warnings have begun or ended: `fail` of them in a row, `rise` good results without one.
    pub fn change_of_warning(&mut self, finding: &Finding) -> Option<bool> {
        if !finding.well || finding.warning == self.warned {
            self.otherwise = 0;
            return None;
        }
        self.otherwise += 1;
        let enough = if finding.warning { self.check.fail } else { self.check.rise };
        if self.otherwise < enough {
            return None;
        }
        self.otherwise = 0;
        self.warned = finding.warning;
        Some(self.warned)
    }

    /// That card is what it looks at.
    pub fn looks_at_card(&self, device: &str) -> bool {
        self.check.kind == CheckKind::Link && self.check.target == device
    }

    /// It is this node's business.
    pub fn may_run(&self) -> bool {
        self.is_held() || !self.only_held
    }

    /// Steps are this node's to take.
    pub fn may_act(&self) -> bool {
        self.is_held() || self.check.scope == CheckScope::Node
    }

    /// What it would see is a service that is being stopped or started.
    pub fn is_paused(&self) -> bool {
        self.busy || self.restarting
    }

    pub fn begin(&mut self, number: u64) -> Arc<AtomicU64> {
        let began = Arc::new(AtomicU64::new(0));
        self.run = Some(Run { number, began: began.clone(), settled: false, written_off: false });
        began
    }

    pub fn next_wake(&self) -> Instant {
        let Some(run) = &self.run else { return self.due };
        let late = run.late_at(self.check.timeout).unwrap_or(Instant::MAX);
        let hangs = late + HANGS;
        match (run.settled, run.written_off) {
            (false, _) => self.due.min(late),
            (true, false) => self.due.min(hangs),
            (true, true) => self.due,
        }
    }

    /// The time that a service may take until it answers.
    fn start_grace(&self) -> Duration {
        self.check.options.start_grace.unwrap_or(self.check.interval * self.check.fail)
    }

    /// True if what people see has changed.
    pub fn note_stay(&mut self, now: Instant, stay: Option<u64>) -> bool {
        if stay == self.stay {
            return false;
        }
        self.stay = stay;
        let held = self.is_held();
        self.moving = false;
        self.leaving = false;
        self.settling = None;
        if held {
            self.gave_up = None;
            self.grace = Some(now + self.start_grace());
        }
        if self.only_held {
            self.ladder.begin_anew(now, if held { NOT_YET } else { ELSEWHERE });
            (self.last_warns, self.warned, self.otherwise) = (false, false, 0);
            (self.performance, self.took) = (None, None);
            self.drop_run();
            self.due = now;
        }
        true
    }

    pub fn note_busy(&mut self, now: Instant, busy: bool) {
        if std::mem::replace(&mut self.busy, busy) && !busy {
            self.begin_grace(now);
        } else if busy {
            self.drop_run();
        }
    }

    /// True if what people see has changed.
    pub fn note_moving(&mut self, now: Instant, moving: bool) -> bool {
        if moving && self.leaving {
            self.settling = Some(now + MOVE_PATIENCE);
        }
        std::mem::replace(&mut self.moving, moving) != moving
    }

    /// The service was started: it may need its time, and is looked at at once.
    pub fn begin_grace(&mut self, now: Instant) {
        self.restarting = false;
        self.ladder.forgive();
        self.drop_run();
        self.ended = None;
        self.grace = Some(now + self.start_grace());
        self.due = now;
    }

    /// It was not started after all.
    pub fn end_grace(&mut self) {
        self.grace = None;
    }

    /// What is under way is about a server that is no more.
    pub fn drop_run(&mut self) {
        if let Some(run) = &mut self.run {
            run.settled = true;
        }
    }

    /// Does a result count now? A good one does, and ends the time that a start may take.
    pub fn counts(&mut self, now: Instant, well: bool) -> bool {
        if self.is_paused() {
            return false;
        }
        if well {
            self.grace = None;
            return true;
        }
        let over = |until: Option<Instant>| until.is_none_or(|until| now >= until);
        over(self.grace) && over(self.settling)
    }

    /// Its policy came to `move`.
    pub fn give_up(&mut self, now: Instant) {
        self.gave_up = Some(now);
        self.leaving = true;
        self.settle(now);
    }

    /// A step that concerns other nodes needs its time.
    pub fn settle(&mut self, now: Instant) {
        self.settling = Some(now + MOVE_PATIENCE.max(self.start_grace()));
    }

    /// True once, when the time in which it could have moved is over.
    pub fn stays(&mut self, now: Instant) -> bool {
        let over = self.settling.is_none_or(|until| now >= until);
        self.leaving && self.is_held() && !self.moving && over && std::mem::replace(&mut self.leaving, false)
    }

    pub fn recovered(&mut self) {
        self.gave_up = None;
        self.leaving = false;
        self.settling = None;
    }

    /// This node is a bad place for its service. A holder is not, before its policy says so; who held it and gave
    /// it up is, until the check is well here again or that is forgotten.
    pub fn is_unfit(&self, now: Instant, forget: Duration) -> bool {
        let gave_up = self.gave_up.is_some_and(|at| now.since(at) < forget);
        let fails = !self.is_held() && self.ladder.standing() == Standing::Failing;
        gave_up || fails || self.gives_up()
    }

    /// The gateway does not answer this node.
    pub fn misses_gateway(&self) -> bool {
        let looks = self.check.scope == CheckScope::Node && self.check.kind == CheckKind::Gateway;
        looks && self.ladder.standing() == Standing::Failing
    }

    /// The service shall go, if it can.
    pub fn gives_up(&self) -> bool {
        self.is_held() && self.gave_up.is_some()
    }
}

const NOT_YET: &str = "not looked at yet";
const ELSEWHERE: &str = "looked at by the node that holds the service";
