//! What a service's `start` and `stop` run: its own agent and then those of its parts, one after the other, and in the
//! reverse order to stop. Called by the runner threads, which it blocks.

use super::agent::{self, Call, Deed, Places};
use crate::config::{Agent, Service};
use crate::controller::Action;
use crate::os::clock;
use crate::os::doorbell::Doorbell;
use crate::os::process::{self, Outcome};
use std::time::Duration;

/// A stop is given so long at least, however many parts there are.
const LEAST: Duration = Duration::from_secs(1);

/// Why something failed.
enum Failure {
    Why(String),
    /// The daemon ends.
    CalledOff,
}

/// One run of one agent.
pub(super) struct Runs<'a> {
    pub service: &'a Service,
    pub places: &'a Places,
    pub call_off: &'a Doorbell,
    /// For the whole of it.
    pub limit: Duration,
}

/// The service itself, or one of its parts.
#[derive(Clone, Copy)]
struct Step<'a> {
    part: Option<&'a str>,
    start: Option<&'a str>,
    stop: Option<&'a str>,
}

impl Runs<'_> {
    /// True: it is done. A start whose part fails stops what it has started: it leaves nothing behind.
    pub fn run(&self, action: Action) -> bool {
        match action {
            Action::Start => self.start(),
            Action::Stop => self.stop(&self.steps()),
        }
    }

    fn start(&self) -> bool {
        let until = clock::now() + self.limit;
        let steps = self.steps();
        for (done, step) in steps.iter().enumerate() {
            let left = until.since(clock::now());
            match self.act(*step, Action::Start, left) {
                Ok(()) => {}
                // The last alone has failed: there is nothing before it.
                Err(Failure::CalledOff) => return false,
                Err(Failure::Why(_)) => {
                    self.stop(&steps[..done]);
                    return false;
                }
            }
        }
        true
    }

    /// Each its share of the time: one that hangs takes none from the others. One that fails is no reason to let the
    /// others run.
    fn stop(&self, steps: &[Step]) -> bool {
        let count = u32::try_from(steps.len().max(1)).unwrap_or(u32::MAX);
        let share = (self.limit / count).max(LEAST.min(self.limit));
        let mut good = true;
        for step in steps.iter().rev() {
            good &= self.act(*step, Action::Stop, share).is_ok();
        }
        good
    }

    fn steps(&self) -> Vec<Step<'_>> {
        let Service { start, stop, parts, .. } = self.service;
        let own = Step { part: None, start: start.as_deref(), stop: stop.as_deref() };
        let parts = parts.iter().map(|part| Step {
            part: Some(&part.name),
            start: Some(&part.start),
            stop: part.stop.as_deref(),
        });
        let all = std::iter::once(own).chain(parts);
        all.filter(|step| step.start.is_some() || step.stop.is_some()).collect()
    }

    /// Runs it to its end and tells the log.
    fn act(&self, step: Step, action: Action, limit: Duration) -> Result<(), Failure> {
        let (text, word) = match action {
            Action::Start => (step.start, "start"),
            Action::Stop => (step.stop, "stop"),
        };
        let Some(text) = text else { return Ok(()) };
        let service = &self.service.name;
        let name = step.part.map_or_else(|| service.clone(), |part| format!("{service}, {part}"));
        let began = clock::now();
        let done = self.ask(step, text, action, &format!("{name} {word}"), limit);
        let took = clock::now().since(began).as_millis();
        match &done {
            Ok(()) => log::info!("{name} {word}: done in {took} ms"),
            Err(Failure::Why(why)) => log::error!("{name} {word}: failed after {took} ms: {why}"),
            Err(Failure::CalledOff) => {
                log::warn!("{name} {word}: called off after {took} ms, the daemon ends");
            }
        }
        done
    }

    fn ask(
        &self,
        step: Step,
        text: &str,
        action: Action,
        label: &str,
        limit: Duration,
    ) -> Result<(), Failure> {
        let (deed, word) = match action {
            Action::Start => (Deed::Start, "start"),
            Action::Stop => (Deed::Stop, "stop"),
        };
        let name = &self.service.name;
        let agent = Agent::parse(text).map_err(Failure::Why)?;
        let instance = agent::instance(name, step.part);
        let Call { command, environment } = agent::call(&agent, deed, &instance, limit, self.places)
            .map_err(|why| Failure::Why(format!("{text}: {why}")))?;
        let addresses: Vec<String> =
            self.service.addresses.iter().map(|address| address.address.to_string()).collect();
        let addresses = addresses.join(" ");
        let own = [
            ("DIEHARD_SERVICE", name.as_str()),
            ("DIEHARD_PART", step.part.unwrap_or_default()),
            ("DIEHARD_ACTION", word),
            ("DIEHARD_ADDRESSES", &addresses),
        ];
        let told = environment.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let environment: Vec<(&str, &str)> = own.into_iter().chain(told).collect();
        let say = |line: &str| log::info!("{label}: {line}");
        match process::run(&command, &environment, limit, self.call_off, say) {
            Ok(Outcome::Done) => Ok(()),
            Ok(Outcome::Failed(code)) => agent::judge(&agent, deed, code).map_err(Failure::Why),
            Ok(Outcome::Killed(signal)) => Err(Failure::Why(format!("ended by signal {signal}"))),
            Ok(Outcome::TimedOut) => {
                Err(Failure::Why(format!("not done within {} ms, ended", limit.as_millis())))
            }
            Ok(Outcome::CalledOff) => Err(Failure::CalledOff),
            Err(error) => Err(Failure::Why(format!("cannot run {command:?}: {error}"))),
        }
    }
}
