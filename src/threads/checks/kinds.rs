//! What one run of a check does, one file a kind. Called by a worker, which it blocks for the check's timeout at
//! most, unless the disk hangs; ends with a finding that says why.

use super::pool::Job;
use crate::config::CheckKind;
use crate::os::doorbell::Doorbell;
use crate::recovery::Finding;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

mod clock_kept;
mod descriptors;
mod disk;
mod dns;
mod gateway;
mod http;
mod link;
mod machine;
mod process;
mod script;
mod service;
mod tcp;

pub use link::NOT_SEEN;

/// What a run brings.
#[derive(Debug)]
pub struct Result {
    /// Is it well?
    pub finding: Finding,
    /// The process that was found, so that its end is seen at once.
    pub process: Option<Process>,
}

/// A process that a check looks at.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Readable when it has ended.
    pub end: Arc<OwnedFd>,
}

/// Runs it.
pub fn look(job: &Job, call_off: &Doorbell) -> Result {
    let check = &job.check;
    let finding = match check.kind {
        CheckKind::Http => http::look(check),
        CheckKind::Tcp => tcp::look(check),
        CheckKind::Process => return process::look(&check.target, job.ended),
        CheckKind::Script => script::look(job, call_off),
        CheckKind::Link => link::look(check, &job.errors_seen, job.told),
        CheckKind::Gateway => gateway::look(&check.target, &job.device, check.timeout),
        CheckKind::Disk => disk::look(&check.target, &check.name),
        CheckKind::Memory => machine::memory(&check.target),
        CheckKind::Load => machine::load(&check.target),
        CheckKind::Fd => descriptors::look(&check.target),
        CheckKind::Clock => clock_kept::look(&check.target),
        CheckKind::Dns => dns::look(check),
        CheckKind::Service => service::look(job, call_off),
    };
    Result { finding, process: None }
}

/// «no answer within 500 ms»
pub(super) fn no_answer(within: Duration) -> Finding {
    Finding::bad(format!("no answer within {} ms", within.as_millis()))
}

#[cfg(test)]
mod tests;
