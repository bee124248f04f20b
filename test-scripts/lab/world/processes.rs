//! The daemon's processes on a server: a guardian, whose number the lab knows, and its worker; or one
//! process that is both.

use super::World;
use crate::interrupt::wait_until;
use crate::namespace::{self, Outcome};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;

/// How long a worker may outlive its guardian: it has connections to close and no more to say.
const ORPHAN: Duration = Duration::from_secs(5);

/// Which of the daemon's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The child, or the only process.
    Worker,
    /// The parent, or the only process.
    Guardian,
    /// All of them.
    Whole,
}

impl World {
    /// The daemon's processes on a server, the first one first; none if it does not run.
    pub fn daemon_processes(&self, index: usize) -> Vec<i32> {
        let first = self.nodes[index].daemon.as_ref().and_then(|child| i32::try_from(child.id()).ok());
        let mut found: Vec<i32> = namespace::processes(&self.nodes[index].namespace)
            .into_iter()
            .filter(|pid| has_name(*pid, "diehardd"))
            .collect();
        found.sort_by_key(|pid| (Some(*pid) != first, *pid));
        found
    }

    /// Sends a signal to a part of the daemon, all processes of it in one go; which ones got it.
    pub fn signal_part(&self, index: usize, part: Part, what: Signal) -> Outcome<Vec<i32>> {
        let all = self.daemon_processes(index);
        let chosen: &[i32] = match part {
            Part::Whole => &all,
            Part::Guardian => &all[..all.len().min(1)],
            Part::Worker => all.get(1..).filter(|workers| !workers.is_empty()).unwrap_or(&all),
        };
        for pid in chosen {
            send(*pid, what)?;
        }
        Ok(chosen.to_vec())
    }

    /// The same for everything that runs on the server, its web server too.
    pub fn signal_everything(&self, index: usize, what: Signal) -> Outcome<Vec<i32>> {
        let all = namespace::processes(&self.nodes[index].namespace);
        for pid in &all {
            send(*pid, what)?;
        }
        Ok(all)
    }

    /// Asks the daemon to stop in order, and does not wait for it.
    pub fn ask_to_stop(&self, index: usize) -> Outcome<()> {
        self.signal_part(index, Part::Guardian, Signal::SIGTERM).map(drop)
    }

    /// As an init system does: a daemon that has ended is started again, one that lives is left alone.
    /// Fails if a worker goes on without its guardian.
    pub fn revive(&mut self, index: usize) -> Outcome<bool> {
        let node = &mut self.nodes[index];
        if let Some(child) = node.daemon.as_mut() {
            if child.try_wait().map_err(|error| format!("{}: {error}", node.name))?.is_none() {
                return Ok(false);
            }
            node.daemon = None;
        }
        let name = self.nodes[index].name.clone();
        wait_until(&format!("the worker of {name} ends after its guardian"), ORPHAN, || {
            Ok(self.daemon_processes(index).is_empty())
        })?;
        self.start_daemon(index)?;
        Ok(true)
    }

    /// Waits until a daemon that was asked to stop has ended.
    pub fn wait_for_end(&mut self, index: usize, limit: Duration) -> Outcome<()> {
        let node = &mut self.nodes[index];
        let Some(child) = node.daemon.as_mut() else { return Ok(()) };
        wait_until(&format!("the daemon of {} stops", node.name), limit, || {
            Ok(child.try_wait().map_err(|error| error.to_string())?.is_some())
        })
    }
}

/// Gone in the meantime is no failure: somebody else was quicker.
fn send(pid: i32, what: Signal) -> Outcome<()> {
    match kill(Pid::from_raw(pid), what) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(format!("{what} to {pid}: {error}")),
    }
}

fn has_name(pid: i32, name: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim().starts_with(name))
}
