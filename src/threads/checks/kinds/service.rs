//! `service`: what the service itself has for that: its `status` command, the `status` of an init script, the `monitor`
//! of an OCF agent, the state of a unit. When it has ended, so has everything that it started.

use super::super::pool::Job;
use super::{no_answer, script};
use crate::config::Agent;
use crate::os::clock;
use crate::os::doorbell::Doorbell;
use crate::os::errors::why;
use crate::os::process::{self, Outcome};
use crate::recovery::Finding;
use crate::threads::services::agent::{self, Call, Deed};
use std::time::Duration;

/// How OCF agents mark what went wrong.
const REASON: &str = "ocf-exit-reason:";

pub(super) fn look(job: &Job, call_off: &Doorbell) -> Finding {
    // A reload may have taken them away; then this check is about to go as well.
    let mut last = Finding::bad("the service has no status");
    let until = clock::now() + job.check.timeout;
    for (part, text) in &job.statuses {
        let left = until.since(clock::now());
        last = ask(job, part.as_deref(), text, left, call_off);
        if let Some(part) = part {
            last.message = format!("{part}: {}", last.message);
        }
        if !last.well {
            return last;
        }
    }
    if last.well && job.statuses.len() > 1 {
        return Finding::well(format!("all {} run", job.statuses.len()));
    }
    last
}

fn ask(job: &Job, part: Option<&str>, text: &str, limit: Duration, call_off: &Doorbell) -> Finding {
    let check = &job.check;
    let deed = Deed::Look { level: check.target.parse().unwrap_or(0), interval: check.interval };
    let agent = Agent::parse(text);
    let instance = agent::instance(&job.service, part);
    let call = agent.and_then(|agent| Ok((agent::call(&agent, deed, &instance, limit, &job.places)?, agent)));
    let (Call { command, environment: told }, agent) = match call {
        Ok(call) => call,
        Err(why) => return Finding::bad(why),
    };
    let told = told.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let environment: Vec<(&str, &str)> = script::environment(job).into_iter().chain(told).collect();
    let (mut first, mut reason) = (None, None);
    let outcome = process::ask(&command, &environment, limit, call_off, |_, line| {
        if let Some(words) = line.strip_prefix(REASON) {
            reason.get_or_insert_with(|| words.to_owned());
        } else if !line.is_empty() {
            first.get_or_insert_with(|| line.to_owned());
        }
    });
    // What else such an agent prints are notes of its own for its log, with a date before each.
    let first = first.filter(|_| !matches!(agent, Agent::Ocf { .. }));
    let said = reason.or(first).map(|line| script::parts(&line).0).filter(|said| !said.is_empty());
    match outcome {
        Ok(Outcome::Done) => Finding::well(said.unwrap_or_else(|| "running".to_owned())),
        Ok(Outcome::Failed(code)) => match (agent::judge(&agent, deed, code), said) {
            (Ok(()), said) => Finding::well(said.unwrap_or_else(|| format!("running (exit code {code})"))),
            (Err(words), Some(said)) => Finding::bad(format!("{words}: {said}")),
            (Err(words), None) => Finding::bad(words),
        },
        Ok(Outcome::Killed(signal)) => Finding::bad(format!("ended by signal {signal}")),
        Ok(Outcome::TimedOut) => no_answer(check.timeout),
        Ok(Outcome::CalledOff) => Finding::bad("called off"),
        Err(error) => Finding::bad(format!("cannot be run: {}", why(&error))),
    }
}
