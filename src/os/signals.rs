//! Signals as something to wait for: they stay blocked, and a descriptor tells which came.
//!
//! Owned by the guardian. What it forks inherits the mask, so the worker never sees them: the guardian
//! alone decides what a signal means. Commands of services get an empty mask (`process`).

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Whoever started this process may ignore SIGCHLD, which is inherited: the kernel would keep no child until it is waited for, and
/// nobody would learn how one ended. Called before anything else.
pub fn wait_for_children() {
    // SAFETY: the default action is no function of ours.
    let set = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
    debug_assert!(set.is_ok(), "SIGCHLD may be set");
}

/// The blocked signals.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks these in the calling thread and all that it starts, from now on.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn block(signals: &[Signal]) -> io::Result<Self> {
        let set: SigSet = signals.iter().copied().collect();
        set.thread_block()?;
        Ok(Signals(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next one that came, if any.
    pub fn next(&self) -> Option<Signal> {
        let told = self.0.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(told.ssi_signo).ok()?).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::doorbell;
    use crate::vocabulary::Instant;
    use nix::sys::signal::raise;

    #[test]
    fn a_blocked_signal_can_be_waited_for() {
        let signals = Signals::block(&[Signal::SIGUSR1, Signal::SIGHUP]).expect("a descriptor");
        assert_eq!(signals.next(), None);
        raise(Signal::SIGUSR1).expect("raised");
        raise(Signal::SIGUSR1).expect("raised");
        doorbell::wait(&[signals.as_fd()], Instant::MAX).expect("waited");
        assert_eq!(signals.next(), Some(Signal::SIGUSR1));
        assert_eq!(signals.next(), None, "one of a kind waits at most");
        raise(Signal::SIGHUP).expect("raised");
        assert_eq!(signals.next(), Some(Signal::SIGHUP));
    }
}
