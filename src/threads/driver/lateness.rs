//! How late this machine wakes its heartbeat: the worst of the last 10 s (protocol.md, L8).

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

#[cfg(test)]
mod tests {
    use super::*;

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
