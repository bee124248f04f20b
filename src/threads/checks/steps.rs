//! What results lead to: the ladder's word, and who takes its steps.

use super::Work;
use crate::config::{CheckScope, PolicyStep};
use crate::control::check_words::CheckEvent;
use crate::control::server::Request;
use crate::os::doorbell::Doorbell;
use crate::os::process;
use crate::recovery::{Finding, Outcome, Standing};
use crate::threads::driver::Told;
use crate::threads::services::{self, Restarted};
use crate::threads::{Urgency, start};
use crate::vocabulary::{Instant, ServiceId};
use crate::wire::Command;
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use std::time::Duration;

/// The command that restarts the machine returns at once; init does the rest.
const REBOOT_LIMIT: Duration = Duration::from_secs(60);

/// A step that became an operator's command, whose answer has not come yet.
pub(super) struct Asked {
    check: String,
    step: PolicyStep,
    answer: Receiver<Result<(), String>>,
}

impl Work {
    /// A result.
    pub(super) fn judge(&mut self, now: Instant, at: usize, finding: Finding) {
        let forget = self.config.cluster.forget;
        let subject = &mut self.subjects[at];
        if !subject.may_run() {
            return;
        }
        subject.note(&finding);
        if !subject.counts(now, finding.well) {
            subject.ladder.overhear(finding.message);
            return self.show(at);
        }
        let before = subject.ladder.standing();
        let warning = subject.change_of_warning(&finding);
        let may_act = subject.may_act();
        let outcome = subject.ladder.take(&subject.check, forget, now, finding, may_act);
        let after = subject.ladder.standing();
        self.show(at);
        if before != Standing::Failing && after == Standing::Failing {
            self.tell(at, &CheckEvent::Failing);
        }
        match warning {
            Some(true) => self.tell(at, &CheckEvent::Warns),
            Some(false) => self.tell(at, &CheckEvent::WarnsNoMore),
            None => {}
        }
        match outcome {
            Outcome::Nothing => {}
            Outcome::Recovered => {
                self.subjects[at].recovered();
                self.tell(at, &CheckEvent::Recovered);
            }
            Outcome::Step(step) => {
                self.tell(at, &CheckEvent::Step(step));
                self.step(now, at, step);
            }
            Outcome::Exhausted => self.tell(at, &CheckEvent::Exhausted),
        }
    }

    fn step(&mut self, now: Instant, at: usize, step: PolicyStep) {
        match step {
            // Said already.
            PolicyStep::Alert => {}
            PolicyStep::Restart { .. } => {
                if let CheckScope::Service(service) = self.subjects[at].check.scope {
                    self.restart(now, at, service);
                }
            }
            PolicyStep::Move => self.subjects[at].give_up(now),
            PolicyStep::Standby => {
                self.subjects[at].settle(now);
                self.standby(at);
            }
            PolicyStep::Reboot => {
                self.subjects[at].settle(now);
                self.reboot(at);
            }
        }
    }

    /// Stop, then start; every check of that service waits for it.
    fn restart(&mut self, now: Instant, at: usize, service: ServiceId) {
        for subject in self.subjects.iter_mut().filter(|subject| subject.service() == Some(service)) {
            subject.restarting = true;
            subject.drop_run();
        }
        let check = self.subjects[at].check.name.clone();
        let order = services::Restart { service, check: check.clone(), reply: self.thread.orders.clone() };
        if self.thread.services.offer(services::Order::Restart(order)).is_err() {
            self.restarted(now, &check, Restarted::Failed);
        }
    }

    pub(super) fn restarted(&mut self, now: Instant, check: &str, outcome: Restarted) {
        let Some(at) = self.subject_named(check) else { return };
        let service = self.subjects[at].service();
        for subject in self.subjects.iter_mut().filter(|subject| subject.service() == service) {
            subject.begin_grace(now);
        }
        match outcome {
            // It went meanwhile, by another way.
            Restarted::NotHere => {}
            Restarted::Done => self.tell(at, &CheckEvent::Restarted),
            Restarted::Failed => {
                self.tell(at, &CheckEvent::RestartFailed);
                self.subjects[at].end_grace();
                self.judge(now, at, Finding::gone("it could not be restarted"));
            }
        }
    }

    /// As `diehard standby` of this node.
    fn standby(&mut self, at: usize) {
        let (sender, answer) = bounded(1);
        let command = Command::Standby { node: self.thread.me };
        let asked = self.thread.driver.offer(Told::Asked(Request::Command { command, answer: sender }));
        if asked.is_err() {
            let why = "this node is too busy".to_owned();
            return self.tell(at, &CheckEvent::Refused(PolicyStep::Standby, why));
        }
        let check = self.subjects[at].check.name.clone();
        self.asked.push(Asked { check, step: PolicyStep::Standby, answer });
    }

    pub(super) fn hear_answers(&mut self) {
        let mut refused = Vec::new();
        self.asked.retain(|asked| match asked.answer.try_recv() {
            Err(TryRecvError::Empty) => true,
            Ok(Err(why)) => {
                refused.push((asked.check.clone(), asked.step, why));
                false
            }
            Ok(Ok(())) | Err(TryRecvError::Disconnected) => false,
        });
        for (check, step, why) in refused {
            if let Some(at) = self.subject_named(&check) {
                self.tell(at, &CheckEvent::Refused(step, why));
            }
        }
    }

    /// The configuration allows it, or it would not be in the policy.
    fn reboot(&mut self, at: usize) {
        if self.rebooting.as_ref().is_some_and(|(thread, _)| !thread.is_finished()) {
            return;
        }
        let command = self.thread.reboot.clone();
        let begun = Doorbell::new().and_then(|bell| {
            let call_off = bell.clone();
            let thread = start("reboot", Urgency::Ordinary, move || {
                let outcome = process::run(&command, &[], REBOOT_LIMIT, &bell, |line| log::info!("{line}"));
                match outcome {
                    Ok(process::Outcome::Done) => log::warn!("{command}: the machine restarts"),
                    other => log::error!("{command}: {other:?}"),
                }
            })?;
            Ok((thread, call_off))
        });
        match begun {
            Ok(begun) => self.rebooting = Some(begun),
            Err(error) => {
                self.tell(at, &CheckEvent::Refused(PolicyStep::Reboot, error.to_string()));
            }
        }
    }
}
