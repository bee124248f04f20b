//! The clocks: `CLOCK_BOOTTIME` for everything that decides, the wall clock for what people read.
//!
//! Called by the driver, the faker and whoever sleeps or logs.

use crate::vocabulary::Instant;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, on the local monotonic clock that counts suspend.
pub fn now() -> Instant {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the duration of the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    assert_eq!(result, 0, "CLOCK_BOOTTIME exists since Linux 2.6.39");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant::from_nanos(seconds * 1_000_000_000 + nanos)
}

/// Now, on the clock that the kernel's own timers go by: it does not count suspend.
pub fn monotonic() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the duration of the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(result, 0, "CLOCK_MONOTONIC always exists");
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How often the kernel's tick counter counts in a second (HZ): its coarse clocks go by it.
pub fn ticks() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the duration of the call.
    let result = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    let tick = u64::try_from(time.tv_nsec).unwrap_or(0).max(1);
    // Rounded: 3,333,333 ns are 300 a second.
    if result == 0 && time.tv_sec == 0 { (1_000_000_000 + tick / 2) / tick } else { 250 }
}

/// The processor on which this thread runs just now.
pub fn processor() -> usize {
    // SAFETY: no arguments; it fails only where the kernel has no such call.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

/// Sleeps until the absolute instant, whatever signals arrive; returns at once if it has passed.
pub fn sleep_until(instant: Instant) {
    let time = timespec(Duration::from_nanos(instant.as_nanos()));
    loop {
        // SAFETY: `time` is a valid timespec; with TIMER_ABSTIME the remainder pointer may be null.
        let result = unsafe {
            libc::clock_nanosleep(
                libc::CLOCK_BOOTTIME,
                libc::TIMER_ABSTIME,
                &raw const time,
                std::ptr::null_mut(),
            )
        };
        if result != libc::EINTR {
            return;
        }
    }
}

/// The wall clock: for the log and for incarnations, never for a decision.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Whole seconds of the wall clock since 1970; 0 before.
pub fn wall_seconds() -> u64 {
    wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(i32::try_from(duration.subsec_nanos()).unwrap_or(999_999_999)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_until_reaches_the_instant_and_not_much_more() {
        let until = now() + Duration::from_millis(20);
        sleep_until(until);
        let woke = now();
        assert!(woke >= until);
        assert!(woke.since(until) < Duration::from_secs(1));
        sleep_until(until);
    }
}
