//! `script`: a plugin as Nagios has them, and as `mon` has its monitors: the exit code says how it is, the first line
//! why. When it has ended, so has everything that it started.

use super::super::pool::Job;
use super::{no_answer, why};
use crate::os::doorbell::Doorbell;
use crate::os::process::{self, Outcome};
use crate::recovery::Finding;

/// As much of a plugin's first line as people read.
const LONGEST_MESSAGE: usize = 200;

pub(super) fn look(job: &Job, call_off: &Doorbell) -> Finding {
    let check = &job.check;
    let mut first = None;
    let outcome = process::ask(&check.target, &environment(job), check.timeout, call_off, |line| {
        if first.is_none() && !line.is_empty() {
            first = Some(line.to_owned());
        }
    });
    let message = first.as_deref().map(message).unwrap_or_default();
    let said = |otherwise: String| if message.is_empty() { otherwise } else { message.clone() };
    match outcome {
        Ok(Outcome::Done) => Finding::well(said("exit code 0".to_owned())),
        // WARNING: somebody should look, and the service serves.
        Ok(Outcome::Failed(1)) => Finding::well(said("warning (exit code 1)".to_owned())),
        Ok(Outcome::Failed(code)) => Finding::bad(said(format!("exit code {code}"))),
        Ok(Outcome::Killed(signal)) => Finding::bad(format!("ended by signal {signal}")),
        Ok(Outcome::TimedOut) => no_answer(check.timeout),
        Ok(Outcome::CalledOff) => Finding::bad("called off"),
        Err(error) => Finding::bad(format!("cannot be run: {}", why(&error))),
    }
}

/// What every command of a check is told.
pub(super) fn environment(job: &Job) -> [(&str, &str); 3] {
    [
        ("DIEHARD_CHECK", &job.check.name),
        ("DIEHARD_SERVICE", &job.service),
        ("DIEHARD_ADDRESSES", &job.addresses),
    ]
}

/// The first line without performance data (`OK - fine | time=0.1s`).
pub(super) fn message(line: &str) -> String {
    let words = line.split('|').next().unwrap_or_default().trim();
    words.chars().filter(|letter| !letter.is_control()).take(LONGEST_MESSAGE).collect()
}
