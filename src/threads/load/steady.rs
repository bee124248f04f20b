//! Samples → a number that changes seldom: smoothed, then told in steps, and another step only when it is well past
//! the last one. A load that trembles between two steps stays where it is.

use crate::vocabulary::Instant;

/// Time constant of the smoothing in seconds.
const SMOOTHED_OVER: f64 = 10.0;
/// In thousandths.
const STEP: f64 = 50.0;
/// So far from what was told, in steps, before another is told: more than half, so that noise at the border of two
/// steps is not passed on.
const HYSTERESIS: f64 = 0.75;
/// No load is told as greater, in thousandths.
const MOST: f64 = 1_000_000.0;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Steady {
    last: Option<(Instant, f64)>,
    told: Option<f64>,
}

impl Steady {
    /// A sample, 1 being a full machine; the answer is in thousandths.
    pub fn take(&mut self, now: Instant, sample: f64) -> u32 {
        let sample = (sample * 1000.0).clamp(0.0, MOST);
        let smooth = match self.last {
            None => sample,
            Some((at, smooth)) => {
                let share = 1.0 - (-now.since(at).as_secs_f64() / SMOOTHED_OVER).exp();
                smooth + (sample - smooth) * share
            }
        };
        self.last = Some((now, smooth));
        let far = |told: f64| (smooth - told).abs() >= STEP * HYSTERESIS;
        let told = match self.told {
            Some(told) if !far(told) => told,
            _ => (smooth / STEP).round() * STEP,
        };
        self.told = Some(told);
        told as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_sample_counts_and_a_peak_does_not() {
        let mut steady = Steady::default();
        assert_eq!(steady.take(at(100), 0.31), 300);
        assert_eq!(steady.take(at(101), 0.5), 300, "one second of ten");
        assert_eq!(steady.take(at(102), 0.3), 300);
    }

    #[test]
    fn what_lasts_is_told_in_a_few_steps() {
        let mut steady = Steady::default();
        steady.take(at(0), 0.2);
        let mut told: Vec<u32> = (1..=60).map(|second| steady.take(at(second), 0.8)).collect();
        assert_eq!(told.last(), Some(&800));
        told.dedup();
        assert!(told.is_sorted() && told.len() <= 13, "{told:?}");
    }

    #[test]
    fn trembling_at_the_border_of_two_steps_is_not_told() {
        let mut steady = Steady::default();
        let first = steady.take(at(0), 0.524);
        for second in 1..200 {
            let sample = if second % 2 == 0 { 0.52 } else { 0.53 };
            assert_eq!(steady.take(at(second), sample), first);
        }
    }

    #[test]
    fn nonsense_is_bounded() {
        let mut steady = Steady::default();
        assert_eq!(steady.take(at(0), -3.0), 0);
        let mut steady = Steady::default();
        assert_eq!(steady.take(at(0), f64::MAX), 1_000_000);
    }
}
