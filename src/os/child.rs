//! A child process that is a copy of this one: made, watched, ended.
//!
//! Called by the guardian alone, before any thread of its own exists. A `Child` is a number and a
//! descriptor; dropping it leaves the process to itself.

use super::process;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{self, ForkResult, Pid};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Which process came out of `fork`.
#[derive(Debug)]
pub enum Side {
    /// The one that was there before.
    Parent(Child),
    /// The copy: the same memory, the same descriptors, SCHED_OTHER, no locked memory.
    Child,
}

/// A child that is not yet waited for.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    /// Readable when all its threads are gone.
    fd: OwnedFd,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exited(code) => write!(f, "exit code {code}"),
            Ending::Killed(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "signal {number}, {signal}"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// Makes a copy of this process.
///
/// # Errors
/// No process or descriptor left.
///
/// # Panics
/// If another thread exists: its locks would stay locked for ever in the copy.
pub fn fork() -> io::Result<Side> {
    assert_eq!(super::daemonise::threads()?, 1, "a process with threads is not copied");
    // SAFETY: this is the only thread, so the child may do everything.
    match unsafe { unistd::fork()? } {
        ForkResult::Child => Ok(Side::Child),
        ForkResult::Parent { child } => Child::adopt(child).map(Side::Parent),
    }
}

impl Child {
    /// A child of this process that nobody has waited for.
    fn adopt(pid: Pid) -> io::Result<Self> {
        let fd = process::watch(pid.as_raw().unsigned_abs())?;
        Ok(Child { pid, fd })
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Ends it, whatever it does.
    pub fn kill(&self) {
        // By the descriptor: it cannot be another process of that number.
        // SAFETY: takes numbers and a null pointer; ESRCH means that it has ended by itself.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                libc::SIGKILL,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
    }

    /// Waits until all its threads are gone: nothing that it did is still under way.
    ///
    /// # Errors
    /// Somebody else has waited for it.
    pub fn wait(self) -> io::Result<Ending> {
        loop {
            match waitpid(self.pid, None) {
                Ok(WaitStatus::Exited(_, code)) => return Ok(Ending::Exited(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Ending::Killed(signal as i32)),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Child {
    /// Readable when the child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::doorbell;
    use crate::vocabulary::Instant;
    use std::process::Command;

    #[allow(clippy::zombie_processes, reason = "waited for by number: that is what is tested")]
    fn shell(command: &str) -> Child {
        let child = Command::new("/bin/sh").args(["-c", command]).spawn().expect("sh runs");
        // Waited for by `Child` instead.
        Child::adopt(Pid::from_raw(i32::try_from(child.id()).expect("a pid"))).expect("a child of ours")
    }

    #[test]
    fn the_descriptor_tells_the_end_and_wait_tells_how() {
        let child = shell("exit 3");
        doorbell::wait(&[child.as_fd()], Instant::MAX).expect("waited");
        assert_eq!(child.wait().expect("ours"), Ending::Exited(3));
        let child = shell("exec sleep 1000");
        child.kill();
        doorbell::wait(&[child.as_fd()], Instant::MAX).expect("waited");
        child.kill();
        assert_eq!(child.wait().expect("ours"), Ending::Killed(libc::SIGKILL));
        assert_eq!(Ending::Killed(libc::SIGKILL).to_string(), "signal 9, SIGKILL");
    }

    #[test]
    #[should_panic(expected = "a process with threads is not copied")]
    fn a_process_with_threads_is_not_copied() {
        let _ = fork();
    }
}
