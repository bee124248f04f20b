//! Does the worker hang, and when is a dead one started again? Decisions without a clock of their own.

use crate::vocabulary::Instant;
use std::time::Duration;

/// The guardian looks no more often than this.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Overdue is looked at once more after this: the worker may be about to run.
const SECOND_LOOK: Duration = Duration::from_millis(50);
/// The shortest silence that is a hang: longer than any load has kept a real-time thread from running here.
const SHORTEST_BOUND: Duration = Duration::from_millis(500);

/// First pause, doubled with every death.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A worker that lived so long was well: its death is the first again.
const WELL: Duration = Duration::from_secs(60);

/// Judges the worker by when its threads were to be awake again.
#[derive(Debug)]
pub(super) struct Watch {
    bound: Duration,
    next_look: Instant,
    /// No verdict before: the guardian itself was late.
    lenient_until: Instant,
    /// Overdue at the last look: which threads, and when each was due.
    suspects: Vec<(&'static str, Instant)>,
}

impl Watch {
    /// For a cluster with this T.
    pub(super) fn new(hello_interval: Duration, now: Instant) -> Self {
        let bound = SHORTEST_BOUND.max(hello_interval * 2);
        Watch { bound, next_look: now + bound, lenient_until: now, suspects: Vec::new() }
    }

    /// When to look.
    pub(super) fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Looks: `dues` are the threads that are to be awake at a known time. The name of the one that hangs.
    pub(super) fn look(&mut self, now: Instant, dues: &[(&'static str, Instant)]) -> Option<&'static str> {
        if now < self.next_look {
            return None;
        }
        // Who was late itself has seen a machine that runs nobody: the worker gets its time again.
        if now.since(self.next_look) > self.bound / 4 {
            self.lenient_until = now + self.bound;
        }
        let overdue = dues.iter().filter(|(_, due)| *due + self.bound <= now).copied().collect();
        let before = std::mem::replace(&mut self.suspects, overdue);
        let soonest = dues.iter().map(|(_, due)| *due + self.bound).min().unwrap_or(Instant::MAX);
        self.next_look = if self.suspects.is_empty() {
            // A worker that sleeps for good still is looked at: it may wake.
            soonest.clamp(now + LOOK_INTERVAL, now + self.bound * 2)
        } else {
            (now + SECOND_LOOK).max(self.lenient_until)
        };
        if now < self.lenient_until {
            return None;
        }
        self.suspects.iter().find(|suspect| before.contains(suspect)).map(|(name, _)| *name)
    }
}

/// How long to wait before the next start.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// A worker has died after so long a life: the pause before the next.
    pub(super) fn after(&mut self, life: Duration) -> Duration {
        if life >= WELL {
            self.deaths = 0;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.deaths.min(16));
        self.deaths = self.deaths.saturating_add(1);
        pause.min(LONGEST_PAUSE)
    }

    /// How many died in a row.
    pub(super) fn deaths(&self) -> u32 {
        self.deaths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const T: Duration = Duration::from_millis(100);

    fn at(ms: u32) -> Instant {
        Instant::from_nanos(1_000_000_000_000) + MS * ms
    }

    /// Looks whenever it wants to until `end`; the thread's word at each moment. When it is found to hang.
    fn verdict(watch: &mut Watch, end: Instant, due: impl Fn(Instant) -> Instant) -> Option<Instant> {
        loop {
            let now = watch.next_look();
            if now > end {
                return None;
            }
            if watch.look(now, &[("faker", due(now))]).is_some() {
                return Some(now);
            }
        }
    }

    #[test]
    fn who_keeps_its_word_lives_and_is_seldom_looked_at() {
        let mut watch = Watch::new(T, at(0));
        let mut looks = 0;
        while watch.next_look() < at(10_000) {
            let now = watch.next_look();
            assert_eq!(watch.look(now, &[("controller", now + MS * 20), ("faker", now + MS * 60)]), None);
            looks += 1;
        }
        assert!(looks <= 40, "{looks} looks in 10 s");
    }

    #[test]
    fn who_is_silent_for_longer_than_the_bound_hangs() {
        let mut watch = Watch::new(T, at(0));
        let found = verdict(&mut watch, at(20_000), |now| now.min(at(3_000)));
        let found = found.expect("it is silent since second 3");
        assert!(found >= at(3_500) && found <= at(4_200), "{:?} after", found.since(at(3_000)));
    }

    #[test]
    fn a_slow_cluster_is_given_more_time() {
        let mut watch = Watch::new(T * 20, at(0));
        let found = verdict(&mut watch, at(20_000), |now| now.min(at(3_000))).expect("it is silent");
        assert!(found >= at(7_000), "{:?} after", found.since(at(3_000)));
    }

    #[test]
    fn one_late_look_is_no_verdict_and_a_worker_that_goes_on_lives() {
        let mut watch = Watch::new(T, at(0));
        // The whole machine, or the whole daemon, was stopped for ten seconds.
        assert_eq!(watch.look(at(10_500), &[("controller", at(490))]), None);
        assert!(watch.next_look() >= at(11_000), "it gets its time again");
        // It ran meanwhile.
        let next = watch.next_look();
        assert_eq!(watch.look(next, &[("controller", next)]), None);
        // Stopped again, and this time the worker does not come back.
        assert_eq!(watch.look(next + MS * 9_000, &[("controller", next)]), None);
        let found = verdict(&mut watch, next + MS * 20_000, |_| next).expect("it never came back");
        assert!(found >= next + MS * 9_500, "{:?}", found.since(next));
    }

    #[test]
    fn another_delay_than_before_is_no_hang() {
        let mut watch = Watch::new(T, at(0));
        // Always late by more than the bound, yet always moving.
        assert_eq!(verdict(&mut watch, at(60_000), |now| now - MS * 600), None);
    }

    #[test]
    fn nobody_is_due() {
        let mut watch = Watch::new(T, at(0));
        assert_eq!(watch.look(at(500), &[]), None);
        assert!(watch.next_look() <= at(2_000));
    }

    #[test]
    fn pauses_double_up_to_half_a_minute_and_begin_again_after_a_good_life() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..12).map(|_| backoff.after(MS * 300).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000, 30_000]);
        assert_eq!(backoff.deaths(), 12);
        for _ in 0..100 {
            assert_eq!(backoff.after(MS), LONGEST_PAUSE);
        }
        assert_eq!(backoff.after(WELL), FIRST_PAUSE);
        assert_eq!(backoff.deaths(), 1);
    }
}
