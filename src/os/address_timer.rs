//! When the kernel ends an address's lifetime on time.
//!
//! Linux looks at lifetimes by one timer, and rounds its time up to the next whole second of its tick counter where that is
//! less than a quarter of a second away (`check_lifetime` in net/ipv4/devinet.c, `addrconf_verify_rtnl` in
//! net/ipv6/addrconf.c): of all addresses a quarter outlive their time by up to half a second. Whoever renews in the other
//! three quarters of each second is dropped within some hundredths of one (the timer wheel).
//!
//! Pure, but for the tick's length, which the kernel is asked for once; owned by a `Card`, which learns from every
//! address that it makes where the kernel's seconds begin.

use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
/// IFA_CACHEINFO counts in these: 10 ms.
const STAMP: u64 = SECOND / 100;
/// What the stamp leaves open, the way of a renewal into the kernel, and that another processor may do it.
const MARGIN: u64 = 25_000_000;
/// Who wakes for a moment just before the bad part wakes late.
const BEFORE: Duration = Duration::from_millis(10);
/// A stamp that was so long on its way teaches nothing.
const LONGEST_WAY: Duration = Duration::from_millis(5);

/// Where the kernel's seconds begin on CLOCK_MONOTONIC, as far as it is known.
#[derive(Debug, Clone)]
pub struct AddressTimer {
    /// Ticks in a second: HZ.
    hz: u64,
    /// In nanoseconds, less than a second; the tick counter is then a multiple of HZ.
    pub(super) second: Option<u64>,
}

impl AddressTimer {
    /// Which knows nothing yet, of a kernel with `hz` ticks a second.
    pub fn new(hz: u64) -> Self {
        AddressTimer { hz: hz.clamp(1, 10_000), second: None }
    }

    /// Has it learnt anything?
    pub fn knows(&self) -> bool {
        self.second.is_some()
    }

    /// An address was written between these two readings of CLOCK_MONOTONIC, and `updated` (1/100 s, of IFA_CACHEINFO) is
    /// when, by the kernel.
    pub fn learn(&mut self, updated: u32, before: Duration, after: Duration) {
        if after.saturating_sub(before) > LONGEST_WAY {
            return;
        }
        // The counter begins at 2^32 - 300 HZ (INITIAL_JIFFIES), and the stamp's count there at 0.
        let begin = (1 << 32) % self.hz * SECOND / self.hz;
        let stamp = u64::from(updated % 100) * STAMP + STAMP / 2;
        let written = nanos(before) + nanos(after.saturating_sub(before)) / 2;
        self.second = Some((written % SECOND + 2 * SECOND - (begin + stamp) % SECOND) % SECOND);
    }

    /// How long after `now` (CLOCK_MONOTONIC) to renew by this processor what shall be renewed each `interval`, so that it
    /// is ended on time: just before the bad part of a second if there is some time until then, or else just after it.
    pub fn next(&self, now: Duration, interval: Duration, processor: usize) -> Duration {
        let wait = self.wait(now + interval, processor);
        if wait.is_zero() {
            return interval;
        }
        let bad = Duration::from_nanos(SECOND / 4 + 2 * MARGIN);
        let before = interval.saturating_sub(bad - wait + BEFORE);
        if before >= interval / 4 { before } else { interval + wait }
    }

    /// How long a renewal at `now` would have to wait to be ended on time: as a rule not at all, never more than a third of a
    /// second.
    pub fn wait(&self, now: Duration, processor: usize) -> Duration {
        let Some(second) = self.second else { return Duration::ZERO };
        // Each processor's whole seconds are three ticks before those of the one before it (round_jiffies).
        let skew = 3 * processor as u64 * SECOND / self.hz;
        let phase = (nanos(now) + SECOND - second + skew) % SECOND;
        let (from, to) = (SECOND * 3 / 4 - MARGIN, SECOND + MARGIN);
        let wait = match phase {
            _ if phase >= from => to - phase,
            _ if phase + SECOND < to => to - SECOND - phase,
            _ => 0,
        };
        Duration::from_nanos(wait)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// As measured at 250 Hz on two processors: written at 0.56 to 0.77 of a second by the stamp, an address outlived its
    /// time by 0.05 to 0.41 s; at any other moment by 0.03 s at most.
    #[test]
    fn the_bad_quarter_is_the_one_that_was_measured() {
        let mut timer = AddressTimer::new(250);
        assert_eq!(timer.wait(ms(660), 0), Duration::ZERO, "it knows nothing yet");
        // The stamp and the clock agree: 5 ms is the middle of stamp 0.
        timer.learn(12_300, ms(5_004), ms(5_006));
        for stamp in 0..100 {
            let waits = timer.wait(ms(stamp * 10 + 5), 0) > Duration::ZERO;
            assert_eq!(waits, (54..84).contains(&stamp), "{stamp}");
        }
        assert_eq!(timer.wait(ms(7_600), 0), ms(241));
        assert_eq!(timer.wait(ms(7_600) + timer.wait(ms(7_600), 0), 0), Duration::ZERO);
    }

    #[test]
    fn renewals_keep_out_of_the_bad_part_and_close_to_their_interval() {
        let mut timer = AddressTimer::new(250);
        timer.learn(0, ms(4), ms(6));
        let mut now = ms(3);
        let mut longest = Duration::ZERO;
        for round in 0..100 {
            let next = timer.next(now, ms(250), 0);
            now += next + ms(round % 7);
            longest = longest.max(next);
            assert!(next >= ms(62), "{next:?}");
            assert!(timer.wait(now, 0).is_zero(), "{now:?}");
        }
        assert!(longest <= ms(365), "{longest:?}");
    }

    #[test]
    fn each_processor_has_its_own_seconds() {
        let mut timer = AddressTimer::new(100);
        // 2^32 is 96 ticks more than a multiple of 100: the stamps' seconds begin 40 ms before the counter's.
        timer.learn(0, ms(4), ms(6));
        let waits =
            |processor| (0..100).filter(|at| !timer.wait(ms(at * 10 + 5), processor).is_zero()).collect();
        let first: Vec<u64> = waits(0);
        let third: Vec<u64> = waits(2);
        assert_eq!((first.first(), first.last(), first.len()), (Some(&0), Some(&99), 30));
        assert_eq!(
            first.iter().map(|at| (at + 94) % 100).collect::<std::collections::BTreeSet<_>>(),
            third.into_iter().collect()
        );
    }

    #[test]
    fn who_was_held_up_learns_nothing() {
        let mut timer = AddressTimer::new(1000);
        timer.learn(0, ms(0), ms(6));
        assert!((0..100).all(|at| timer.wait(ms(at * 10), 0).is_zero()));
    }
}
