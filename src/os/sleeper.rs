//! A thread's sleep that others end: one futex, no descriptor.
//!
//! The word says whether its thread sleeps or is about to, so whoever wakes it knows whether there is anything to do; on
//! two idle cores a wake costs its sender more than it costs the one that wakes, and a doorbell half as much again.

use super::clock;
use crate::vocabulary::Instant;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// The sleep of one thread.
#[derive(Debug, Default)]
pub struct Sleeper(AtomicU32);

impl Sleeper {
    /// Its thread is about to sleep: from now on `wake` is heard. It looks once more at what it sleeps for, and then
    /// either sleeps or stays up.
    pub fn lie_down(&self) {
        self.0.store(ASLEEP, Ordering::SeqCst);
    }

    /// It found something to do.
    pub fn stay_up(&self) {
        self.0.store(AWAKE, Ordering::SeqCst);
    }

    /// Sleeps until it is woken (not at all if it was since `lie_down`), or until the instant, or for no reason.
    pub fn sleep_until(&self, until: Instant) {
        if until == Instant::MAX {
            self.wait(None);
        } else {
            // The kernel's clock for this does not count suspend: who was suspended sleeps on for what was left.
            self.wait(Some(clock::monotonic() + until.since(clock::now())));
        }
        self.stay_up();
    }

    fn wait(&self, until: Option<Duration>) {
        let time = until.map(clock::timespec);
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the word lives as long as `self`; `time` is null or points to a timespec that outlives the call. The
        // call fails harmlessly: the word has changed, the time has come, a signal did.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.0.as_ptr(),
                libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
                ASLEEP,
                time,
                std::ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            );
        }
    }

    /// Wakes its thread if it sleeps or is about to. Never blocks.
    pub fn wake(&self) {
        if self.0.swap(AWAKE, Ordering::SeqCst) == AWAKE {
            return;
        }
        // SAFETY: the word lives as long as `self`; nothing else is read or written.
        unsafe {
            libc::syscall(libc::SYS_futex, self.0.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn who_is_woken_before_it_sleeps_does_not_sleep() {
        let sleeper = Sleeper::default();
        sleeper.lie_down();
        sleeper.wake();
        sleeper.sleep_until(Instant::MAX);
    }

    #[test]
    fn it_sleeps_until_it_is_woken_or_the_instant_comes() {
        let sleeper = Arc::new(Sleeper::default());
        let until = clock::now() + Duration::from_millis(5);
        while clock::now() < until {
            sleeper.lie_down();
            sleeper.sleep_until(until);
        }
        let waker = sleeper.clone();
        sleeper.lie_down();
        let thread = std::thread::spawn(move || {
            clock::sleep_until(clock::now() + Duration::from_millis(10));
            waker.wake();
        });
        sleeper.sleep_until(clock::now() + Duration::from_secs(600));
        assert!(clock::now() < until + Duration::from_secs(300));
        thread.join().expect("the waker ends");
    }
}
