//! `script`: a plugin as Nagios has them, and as `mon` has its monitors: the exit code says how it is, the first line
//! why. When it has ended, so has everything that it started.

use super::super::pool::Job;
use super::no_answer;
use crate::config::Speaks;
use crate::os::doorbell::Doorbell;
use crate::os::errors::why;
use crate::os::process::{self, Outcome, Stream};
use crate::recovery::Finding;

/// As much of a plugin's first line as people read.
const LONGEST_MESSAGE: usize = 200;

pub(super) fn look(job: &Job, call_off: &Doorbell) -> Finding {
    let check = &job.check;
    let mon = check.options.speaks == Speaks::Mon;
    let mut environment = environment(job).to_vec();
    if mon {
        environment.extend([("MON_GROUP", job.service.as_str()), ("MON_SERVICE", &check.name)]);
    }
    let command = if mon { with_hosts(job) } else { check.target.clone() };
    // A plugin speaks on its standard output; what a library of its complains about counts only where it says nothing.
    let (mut first, mut complaint) = (None, None);
    let outcome = process::ask(&command, &environment, check.timeout, call_off, |from, line| {
        let kept = if from == Stream::Output { &mut first } else { &mut complaint };
        if kept.is_none() && !line.is_empty() {
            *kept = Some(line.to_owned());
        }
    });
    let line = first.or(complaint).unwrap_or_default();
    let (message, performance) = if mon { (message(&line), None) } else { parts(&line) };
    let said = |otherwise: String| if message.is_empty() { otherwise } else { message.clone() };
    let found = match outcome {
        Ok(Outcome::Done) => Finding::well(said("exit code 0".to_owned())),
        // WARNING: somebody should look, and the service serves.
        Ok(Outcome::Failed(1)) if !mon => Finding::warns(said("warning (exit code 1)".to_owned())),
        Ok(Outcome::Failed(code)) => Finding::bad(said(format!("exit code {code}"))),
        Ok(Outcome::Killed(signal)) => Finding::bad(format!("ended by signal {signal}")),
        Ok(Outcome::TimedOut) => no_answer(check.timeout),
        Ok(Outcome::CalledOff) => Finding::bad("called off"),
        Err(error) => Finding::bad(format!("cannot be run: {}", why(&error))),
    };
    found.measured(performance)
}

/// What every command of a check is told.
pub(super) fn environment(job: &Job) -> [(&str, &str); 3] {
    [
        ("DIEHARD_CHECK", &job.check.name),
        ("DIEHARD_SERVICE", &job.service),
        ("DIEHARD_ADDRESSES", &job.addresses),
    ]
}

/// As mon calls its monitors: the hosts are the last arguments.
fn with_hosts(job: &Job) -> String {
    let hosts = &job.check.options.hosts;
    // Names and addresses alone, so nothing of it means anything to the shell.
    let words = if hosts.is_empty() { job.addresses.clone() } else { hosts.join(" ") };
    format!("{} {words}", job.check.target)
}

/// `OK - fine | time=0.1s;1;2` → what people read, and what was measured.
pub(super) fn parts(line: &str) -> (String, Option<String>) {
    let (words, measured) = line.split_once('|').unwrap_or((line, ""));
    let measured = message(measured);
    (message(words), (!measured.is_empty()).then_some(measured))
}

/// As much of a line as people read.
pub(super) fn message(line: &str) -> String {
    line.trim().chars().filter(|letter| !letter.is_control()).take(LONGEST_MESSAGE).collect()
}
