//! Virtual time, and the drifting local clocks that the controllers see instead. Pure values.

use crate::vocabulary::Instant;

/// Virtual time since the beginning of a run, in nanoseconds.
pub type Nanos = u64;
/// In nanoseconds.
pub const MICRO: Nanos = 1_000;
/// In nanoseconds.
pub const MILLI: Nanos = 1_000_000;
/// In nanoseconds.
pub const SECOND: Nanos = 1_000_000_000;

/// A machine's monotonic clock: begins anywhere and runs a little fast or slow.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    offset: u64,
    rate_ppm: i64,
}

impl Clock {
    /// A clock that shows `offset` nanoseconds at virtual 0 and gains `rate_ppm` microseconds a second.
    pub fn new(offset: u64, rate_ppm: i64) -> Self {
        Clock { offset, rate_ppm }
    }

    /// What it shows.
    pub fn local(&self, at: Nanos) -> Instant {
        let gained = i128::from(at) * i128::from(self.rate_ppm) / 1_000_000;
        Instant::from_nanos((i128::from(self.offset) + i128::from(at) + gained) as u64)
    }

    /// The first virtual moment at which it shows `local` or more; `None`: never.
    pub fn moment(&self, local: Instant) -> Option<Nanos> {
        if local == Instant::MAX {
            return None;
        }
        let elapsed = i128::from(local.as_nanos()) - i128::from(self.offset);
        let estimate = elapsed * 1_000_000 / (1_000_000 + i128::from(self.rate_ppm));
        let mut at = u64::try_from(estimate.max(0)).unwrap_or(u64::MAX);
        // The division rounds down, and so does `local`: two steps at most.
        while self.local(at) < local {
            at += 1;
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_first_at_which_the_clock_shows_it() {
        for rate_ppm in [-300, -1, 0, 7, 300] {
            let clock = Clock::new(5 * SECOND, rate_ppm);
            for at in [0, 1, 999, 12_345_678, 3_600 * SECOND] {
                let moment = clock.moment(clock.local(at)).expect("a time that comes");
                assert!(moment <= at && clock.local(moment) == clock.local(at));
                assert!(moment == 0 || clock.local(moment - 1) < clock.local(at) || moment == at);
            }
        }
        assert_eq!(Clock::new(0, 0).moment(Instant::MAX), None);
    }
}
