//! A thread's sleep that others end: a futex without a descriptor, or a doorbell beside an alarm that others may move.
//!
//! The word says whether its thread sleeps or is about to, so whoever wakes it knows whether there is anything to do. The
//! futex is one call less for both than a doorbell, and the cheaper one; it cannot wait for anything else.

use super::alarm::Alarm;
use super::clock;
use super::doorbell::{self, Doorbell};
use crate::vocabulary::Instant;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// The sleep of one thread.
#[derive(Debug, Default)]
pub struct Sleeper {
    word: AtomicU32,
    beside: Option<(Doorbell, Alarm)>,
}

impl Sleeper {
    /// A sleep that this alarm ends as well.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn by(alarm: Alarm) -> io::Result<Self> {
        Ok(Sleeper { word: AtomicU32::new(AWAKE), beside: Some((Doorbell::new()?, alarm)) })
    }

    /// Its thread is about to sleep: from now on `wake` is heard. It looks once more at what it sleeps for, and then
    /// either sleeps or stays up.
    pub fn lie_down(&self) {
        self.word.store(ASLEEP, Ordering::SeqCst);
    }

    /// It found something to do.
    pub fn stay_up(&self) {
        self.word.store(AWAKE, Ordering::SeqCst);
    }

    /// Sleeps until it is woken (not at all if it was since `lie_down`), or until the instant, or for no reason. True: the
    /// alarm went off.
    pub fn sleep_until(&self, until: Instant) -> bool {
        let alarmed = match &self.beside {
            None => {
                // The kernel's clock for this does not count suspend: who was suspended sleeps on for what was left.
                let left = (until != Instant::MAX).then(|| clock::monotonic() + until.since(clock::now()));
                self.wait(left);
                false
            }
            Some((bell, alarm)) => {
                let ready = doorbell::wait(&[bell.as_fd(), alarm.as_fd()], until).unwrap_or(0);
                bell.hush();
                ready & 2 != 0
            }
        };
        self.stay_up();
        alarmed
    }

    fn wait(&self, until: Option<Duration>) {
        let time = until.map(clock::timespec);
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the word lives as long as `self`; `time` is null or points to a timespec that outlives the call. The
        // call fails harmlessly: the word has changed, the time has come, a signal did.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
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
        if self.word.swap(AWAKE, Ordering::SeqCst) == AWAKE {
            return;
        }
        if let Some((bell, _)) = &self.beside {
            return bell.ring();
        }
        // SAFETY: the word lives as long as `self`; nothing else is read or written.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                1,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn both() -> [Arc<Sleeper>; 2] {
        let alarm = Alarm::new().expect("a descriptor");
        [Arc::default(), Arc::new(Sleeper::by(alarm).expect("a descriptor"))]
    }

    #[test]
    fn who_is_woken_before_it_sleeps_does_not_sleep() {
        for sleeper in both() {
            sleeper.lie_down();
            sleeper.wake();
            assert!(!sleeper.sleep_until(Instant::MAX));
        }
    }

    #[test]
    fn it_sleeps_until_it_is_woken_or_the_instant_comes() {
        for sleeper in both() {
            let until = clock::now() + Duration::from_millis(5);
            while clock::now() < until {
                sleeper.lie_down();
                assert!(!sleeper.sleep_until(until));
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

    #[test]
    fn an_alarm_ends_it_that_others_move() {
        let alarm = Alarm::new().expect("a descriptor");
        let sleeper = Sleeper::by(alarm.clone()).expect("a descriptor");
        let begin = clock::now();
        let late = begin + Duration::from_millis(60);
        alarm.set(begin + Duration::from_millis(30)).expect("set");
        let mover = std::thread::spawn(move || alarm.set(late));
        mover.join().expect("ends").expect("moved");
        sleeper.lie_down();
        assert!(sleeper.sleep_until(Instant::MAX));
        assert!(clock::now() >= late);
    }
}
