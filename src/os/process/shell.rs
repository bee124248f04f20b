//! A shell as a child: begun, signalled with its whole group, waited for.
//!
//! Begun by `posix_spawn`, which is a `vfork`: a `fork` copies the tables of all of this process's locked memory, and keeps
//! the heartbeat's threads from their own pages meanwhile; with a few scripts a second on a busy machine they were 14 ms late.
//! Called by `run` and `ask`; ends by being waited for, or else is ended when it is dropped.

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

const SHELL: &std::ffi::CStr = c"/bin/sh";
/// What the leash is in the child: beyond the numbers that scripts use.
const LEASH: RawFd = 19;

/// A shell that is not yet waited for; the leader of a process group of its own.
pub(super) struct Shell {
    pid: Pid,
    waited: bool,
}

impl Shell {
    /// Runs `command` in `/`, with these as standard input, output and error, with this process's environment and `environment`, without real time, with no signal blocked.
    ///
    /// # Errors
    /// No process left; a NUL in what is given.
    pub fn spawn(
        command: &str,
        environment: &[(&str, &str)],
        standard: [BorrowedFd<'_>; 3],
        leash: Option<BorrowedFd<'_>>,
    ) -> io::Result<Self> {
        let mut descriptors = PosixSpawnFileActions::init()?;
        for (from, to) in standard.iter().zip(0..) {
            descriptors.add_dup2(from.as_raw_fd(), to)?;
        }
        if let Some(leash) = leash {
            descriptors.add_dup2(leash.as_raw_fd(), LEASH)?;
        }
        let mut attributes = PosixSpawnAttr::init()?;
        // The policy of attributes that nobody has set is SCHED_OTHER.
        let scheduler = PosixSpawnFlags::from_bits_retain(libc::POSIX_SPAWN_SETSCHEDULER);
        attributes.set_flags(
            PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
                | scheduler,
        )?;
        attributes.set_pgroup(Pid::from_raw(0))?;
        attributes.set_sigmask(&SigSet::empty())?;
        // Rust ignores the first, by which a pipe of commands ends; a command that starts others waits for them by the second.
        attributes.set_sigdefault(&SigSet::from_iter([Signal::SIGPIPE, Signal::SIGCHLD]))?;
        let words = [c"sh".to_owned(), c"-c".to_owned(), CString::new(format!("cd /\n{command}"))?];
        let pid = posix_spawn(SHELL, &descriptors, &attributes, &words, &merged(environment)?)?;
        Ok(Shell { pid, waited: false })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// To it and everybody in its group.
    pub fn signal(&self, signal: Signal) {
        // ESRCH: nobody of the group is left.
        let _ = killpg(self.pid, signal);
    }

    /// Waits for its end: exit code, or signal.
    ///
    /// # Errors
    /// Somebody else has waited for it.
    pub fn wait(&mut self) -> io::Result<Result<i32, i32>> {
        let ended = loop {
            match waitpid(self.pid, None) {
                Ok(WaitStatus::Exited(_, code)) => break Ok(Ok(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => break Ok(Err(signal as i32)),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => break Err(error.into()),
            }
        };
        self.waited = true;
        ended
    }
}

/// Whoever cannot watch over a command leaves none behind.
impl Drop for Shell {
    fn drop(&mut self) {
        if !self.waited {
            self.signal(Signal::SIGKILL);
            let _ = self.wait();
        }
    }
}

/// `NAME=VALUE`, ours in the place of what is there already.
fn merged(environment: &[(&str, &str)]) -> io::Result<Vec<CString>> {
    let ours = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let replaced = |name: &OsString| environment.iter().any(|(ours, _)| name == ours);
    let all = std::env::vars_os().filter(|(name, _)| !replaced(name)).chain(ours);
    let entries = all.map(|(name, value)| {
        let entry = [name.as_bytes(), b"=", value.as_bytes()].concat();
        Ok(CString::new(OsString::from_vec(entry).into_vec())?)
    });
    entries.collect()
}
