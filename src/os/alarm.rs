//! A timer by which one thread sleeps, and which others move while it does (timerfd).
//!
//! It goes by the clock that counts suspend, so what has expired meanwhile is seen at once.

use crate::vocabulary::Instant;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

/// A timer; clones are the same one.
#[derive(Debug, Clone)]
pub struct Alarm(Arc<TimerFd>);

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Alarm(Arc::new(TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?)))
    }

    /// Goes off at that instant (`Instant::MAX`: never), at once if it has passed, and no more for what it was set to before.
    ///
    /// # Errors
    /// The kernel's; none is known for a right descriptor.
    pub fn set(&self, at: Instant) -> io::Result<()> {
        if at == Instant::MAX {
            return Ok(self.0.unset()?);
        }
        // Zero would unset it.
        let at = TimeSpec::from_duration(Duration::from_nanos(at.as_nanos().max(1)));
        Ok(self.0.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::{clock, doorbell};

    #[test]
    fn it_goes_off_when_it_was_last_told_to() {
        let ms = Duration::from_millis;
        let alarm = Alarm::new().expect("a descriptor");
        let goes_off =
            |within: Duration| matches!(doorbell::wait(&[alarm.as_fd()], clock::now() + within), Ok(1));
        let begin = clock::now();
        alarm.set(begin + ms(5)).expect("set");
        alarm.set(begin + ms(40)).expect("moved while it runs");
        assert!(goes_off(ms(20_000)));
        assert!(clock::now() >= begin + ms(40));
        assert!(goes_off(ms(0)), "until it is set anew");
        alarm.set(Instant::MAX).expect("unset");
        assert!(!goes_off(ms(5)));
        alarm.set(Instant::ZERO).expect("set");
        assert!(goes_off(ms(20_000)), "what has passed goes off at once");
    }
}
