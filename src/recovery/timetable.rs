//! When each check runs. PURE: the thread `checks` asks, and brings the chance.
//!
//! Checks of one interval share it evenly: each has a slot of its own, and a little chance inside the slot, so that
//! no two of them run together and none falls into step with something else on the machine.

use crate::config::Check;
use crate::vocabulary::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// A check that runs every hour shall not be unknown for an hour.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// One check's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timetable {
    interval: Duration,
    /// Its slot's beginning within the interval.
    phase: Duration,
    /// Its slot's length.
    slot: Duration,
}

/// The times of these checks, in their order.
pub fn timetables(checks: &[Check]) -> Vec<Timetable> {
    let mut sharing: BTreeMap<Duration, u32> = BTreeMap::new();
    for check in checks {
        *sharing.entry(check.interval).or_default() += 1;
    }
    let mut given: BTreeMap<Duration, u32> = BTreeMap::new();
    let slots = checks.iter().map(|check| {
        let slot = check.interval / sharing[&check.interval];
        let number = given.entry(check.interval).or_default();
        let phase = slot * *number;
        *number += 1;
        Timetable { interval: check.interval, phase, slot }
    });
    slots.collect()
}

impl Timetable {
    /// The first run of a check that begins now: within a second, and as far apart from the others.
    pub fn first(&self, now: Instant) -> Instant {
        let share = self.phase.as_secs_f64() / self.interval.as_secs_f64();
        now + FIRST_WITHIN.min(self.interval).mul_f64(share)
    }

    /// The run after one that was due at `due`. `chance` is any number.
    pub fn after(&self, due: Instant, chance: u64) -> Instant {
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        let phase = u64::try_from(self.phase.as_nanos()).unwrap_or(0);
        let half_a_slot = u64::try_from(self.slot.as_nanos() / 2).unwrap_or(0).max(1);
        let done = due.as_nanos().saturating_sub(phase) / interval;
        Instant::from_nanos((done + 1) * interval + phase + chance % half_a_slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CheckKind, CheckScope, PolicyStep};

    fn check(interval: Duration) -> Check {
        Check {
            name: "c".to_owned(),
            scope: CheckScope::Node,
            kind: CheckKind::Load,
            target: "8".to_owned(),
            interval,
            timeout: interval,
            fail: 3,
            rise: 2,
            policy: vec![PolicyStep::Alert],
            options: crate::config::CheckOptions::default(),
        }
    }

    #[test]
    fn no_two_of_one_interval_run_together() {
        let second = Duration::from_secs(1);
        let checks: Vec<Check> = (0..100).map(|_| check(second)).collect();
        let mut due: Vec<Instant> = timetables(&checks)
            .iter()
            .zip(0_u64..)
            .map(|(table, chance)| table.after(Instant::from_nanos(5_000_000_000), chance * 7_919_777))
            .collect();
        due.sort();
        assert!(due.windows(2).all(|pair| pair[1].since(pair[0]) >= second / 200), "half a slot apart");
        assert!(due[99].since(due[0]) < second);
    }

    #[test]
    fn runs_are_an_interval_apart_give_or_take_half_a_slot() {
        let checks =
            [check(Duration::from_secs(2)), check(Duration::from_secs(3600)), check(Duration::from_secs(2))];
        let tables = timetables(&checks);
        let mut due = Instant::from_nanos(77_000_000_123);
        for chance in [0, u64::MAX, 12_345, 999_999_999, 3, 0] {
            let next = tables[2].after(due, chance);
            let apart = next.since(due);
            assert!(next > due && apart <= Duration::from_millis(2_500), "{apart:?}");
            due = next;
        }
        let start = Instant::from_nanos(1);
        assert!(tables.iter().all(|table| table.first(start).since(start) < FIRST_WITHIN));
    }
}
