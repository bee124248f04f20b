//! A line that only a process's end can cut: its other end hears of a death as soon as no thread of it can act any more.
//!
//! A pidfd tells it later. A process is dead for its parent when the kernel has released everything that it had
//! open, and each packet socket alone takes a grace period of RCU (15 ms and more, one after the other). What a
//! dying process has open it lets go of when its last thread has left user space for good, the newest descriptor
//! first (task work runs last in, first out; the order is how it is fast, not why it is right).
//!
//! Owned by the guardian (`Lifeline`) and the worker (`Hold`). A program that the worker is just starting holds the
//! line too, until it is executed: whoever watches it watches the pidfd as well.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::pipe2;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The watching end.
#[derive(Debug)]
pub struct Lifeline(OwnedFd);

/// The other end, until it is held.
#[derive(Debug)]
pub struct Hold(OwnedFd);

/// Behind whatever the process will open: the table of descriptors does not grow beyond 8 KiB for it.
const HIGHEST: u64 = 1023;

/// Both ends. Each of two processes drops the one that is not its own.
///
/// # Errors
/// No descriptor left.
pub fn lifeline() -> io::Result<(Lifeline, Hold)> {
    let (watching, held) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((Lifeline(watching), Hold(held)))
}

impl Hold {
    /// Holds it until the process has ended: nothing in this program can let go of it again.
    pub fn for_ever(self) {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(HIGHEST, |(soft, _)| soft.saturating_sub(1));
        let number = i32::try_from(limit.min(HIGHEST)).unwrap_or(0);
        if fcntl(&self.0, FcntlArg::F_DUPFD_CLOEXEC(number)).is_err() {
            // The number that it has does as well, only later.
            std::mem::forget(self);
        }
    }
}

impl AsFd for Lifeline {
    /// Ready when nobody holds the other end any more.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::{clock, doorbell};
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork, getpid};
    use std::time::Duration;

    fn is_cut(line: &Lifeline, patience: Duration) -> bool {
        doorbell::wait(&[line.as_fd()], clock::now() + patience).expect("waited") == 1
    }

    #[test]
    fn only_the_end_of_the_process_cuts_it() {
        let (line, hold) = lifeline().expect("descriptors");
        // SAFETY: the copy makes system calls only.
        match unsafe { fork().expect("a process") } {
            ForkResult::Child => {
                drop(line);
                hold.for_ever();
                let _ = kill(getpid(), Signal::SIGSTOP);
                loop {
                    std::thread::park();
                }
            }
            ForkResult::Parent { child } => {
                drop(hold);
                let stopped = waitpid(child, Some(WaitPidFlag::WUNTRACED));
                let numbers = std::fs::read_dir(format!("/proc/{child}/fd")).map(|entries| -> Vec<u64> {
                    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
                });
                let cut_before = is_cut(&line, Duration::ZERO);
                // Before anything is judged: no failure leaves it behind.
                kill(child, Signal::SIGKILL).expect("killed");
                let cut_after = is_cut(&line, Duration::from_secs(60));
                waitpid(child, None).expect("ours");
                assert!(matches!(stopped, Ok(WaitStatus::Stopped(..))), "{stopped:?}");
                let numbers = numbers.expect("a process of ours");
                assert!(!cut_before, "it lives, held at one of {numbers:?}");
                assert!(cut_after, "it is dead");
                let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
                assert_eq!(
                    numbers.iter().max(),
                    Some(&HIGHEST.min(limit - 1)),
                    "the newest, so released first"
                );
            }
        }
    }

    #[test]
    fn whoever_only_drops_it_cuts_it() {
        let (line, hold) = lifeline().expect("descriptors");
        assert!(!is_cut(&line, Duration::ZERO));
        drop(hold);
        assert!(is_cut(&line, Duration::from_secs(60)));
    }
}
