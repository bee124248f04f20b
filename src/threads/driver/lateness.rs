//! How late this machine wakes its heartbeat: the worst of the last 10 s (protocol.md, L8), and whether it has paused (D5).

use crate::vocabulary::Instant;
use std::time::Duration;

/// One bucket a second.
const BUCKETS: usize = 10;
const BUCKET: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Lateness {
    worst: [Duration; BUCKETS],
    at: usize,
    bucket_end: Instant,
    told: Duration,
}

impl Lateness {
    pub(super) fn new(now: Instant) -> Self {
        Lateness { worst: [Duration::ZERO; BUCKETS], at: 0, bucket_end: now + BUCKET, told: Duration::ZERO }
    }

    /// The thread woke `by` later than it should have (zero: in time).
    pub(super) fn measure(&mut self, now: Instant, by: Duration) {
        for _ in 0..BUCKETS {
            if now < self.bucket_end {
                break;
            }
            self.bucket_end = self.bucket_end + BUCKET;
            self.at = (self.at + 1) % BUCKETS;
            self.worst[self.at] = Duration::ZERO;
        }
        if now >= self.bucket_end {
            // Slept longer than everything that is remembered.
            self.bucket_end = now + BUCKET;
        }
        self.worst[self.at] = self.worst[self.at].max(by);
    }

    /// The worst of the last 10 s, if it differs from what was told last by at least `step`.
    pub(super) fn changed(&mut self, step: Duration) -> Option<Duration> {
        let worst = self.worst.into_iter().max().unwrap_or(Duration::ZERO);
        if worst.abs_diff(self.told) < step {
            return None;
        }
        self.told = worst;
        Some(worst)
    }
}

/// Readings of the clock: what lies between two of them, beyond the sleep that was meant, was a pause, wherever the thread
/// was stopped.
#[derive(Debug)]
pub(super) struct Readings {
    last: Instant,
}

impl Readings {
    pub(super) fn new(now: Instant) -> Self {
        Readings { last: now }
    }

    /// It meant to sleep until `deadline`, and woke.
    pub(super) fn slept(&mut self, deadline: Instant, woke: Instant) {
        self.last = self.last.max(deadline.min(woke));
    }

    pub(super) fn behind(&self, now: Instant) -> Duration {
        now.since(self.last)
    }

    /// The next reading; how long the pause before it was, if longer than `patience`.
    pub(super) fn read(&mut self, now: Instant, patience: Duration) -> Option<Duration> {
        let by = self.behind(now);
        self.last = self.last.max(now);
        (by > patience).then_some(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_seen_wherever_it_was() {
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        let (ms, patience) = (Duration::from_millis, Duration::from_millis(12));
        let mut readings = Readings::new(at(0));
        // A message before the deadline, however long after the last reading.
        readings.slept(at(100), at(90));
        assert_eq!(readings.read(at(91), patience), None);
        // Stopped while it slept.
        readings.slept(at(100), at(2100));
        assert_eq!(
            (readings.behind(at(2100)), readings.read(at(2105), patience)),
            (ms(2000), Some(ms(2005)))
        );
        assert_eq!(readings.read(at(2106), patience), None, "told once");
        // Stopped while it worked; what waits for it then is there at once.
        readings.slept(at(2100), at(4200));
        assert_eq!(readings.read(at(4200), patience), Some(ms(2094)));
        assert_eq!(readings.read(at(4230), patience), Some(ms(30)));
    }

    #[test]
    fn the_worst_counts_for_ten_seconds() {
        let second = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        let (ms, step) = (Duration::from_millis, Duration::from_micros(100));
        let mut lateness = Lateness::new(second(0));
        assert_eq!(lateness.changed(step), None);
        lateness.measure(second(1), ms(3));
        lateness.measure(second(2), ms(1));
        assert_eq!(lateness.changed(step), Some(ms(3)));
        assert_eq!(lateness.changed(step), None);
        lateness.measure(second(10), Duration::ZERO);
        assert_eq!(lateness.changed(step), None);
        lateness.measure(second(11), Duration::ZERO);
        assert_eq!(lateness.changed(step), Some(ms(1)));
        lateness.measure(second(500), ms(7));
        assert_eq!(lateness.changed(step), Some(ms(7)));
    }
}
