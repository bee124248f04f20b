//! The protocol's times, all derived from T and p (protocol.md, constants).

use super::{Controller, Planted};
use crate::vocabulary::Instant;
use crate::wire::State;
use std::time::Duration;

/// The durations that T and the probe divisor give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timing {
    /// T: HELLO and BEAT interval.
    pub t: Duration,
    /// p: probe and resend interval, T/8 or T/16.
    pub p: Duration,
    /// g = 1.6 p: grace before silence means something; room for one resend.
    pub g: Duration,
    /// Lp = T + g + 3p: how long a member follows nobody else after a BEAT.
    pub promise: Duration,
    /// X = 3p: how much longer a member lease may run than the root.
    pub x: Duration,
    /// Lm = Lp + X: the longest member lease.
    pub member: Duration,
}

impl Timing {
    /// `divisor` is 8 or 16.
    pub fn new(t: Duration, divisor: u8) -> Self {
        let p = t / u32::from(divisor.max(1));
        let g = p * 8 / 5;
        let promise = t + g + p * 3;
        let x = p * 3;
        Timing { t, p, g, promise, x, member: promise + x }
    }

    /// The times of a committed state.
    pub fn of(state: &State) -> Self {
        Timing::new(state.hello_interval, state.probe_divisor)
    }

    /// The longest times by which something may still be in force in a committed state.
    pub fn longest_of(state: &State) -> Self {
        Timing::new(state.longest_interval, state.coarsest_divisor)
    }

    /// By the coarsest divisor: what a new controller waits for, whatever its predecessor used (E4).
    pub fn coarse(&self) -> Self {
        Timing::new(self.t, 8)
    }

    /// m: what the own scheduler may cost, and the drift of two clocks (up to 1000 ppm) over a lease.
    pub fn margin(&self, lateness: Duration) -> Duration {
        (lateness * 2).max(Duration::from_millis(2)) + self.member / 1000
    }

    /// Lr = Lp − m: how long a beat that a majority acknowledged lets its sender decide.
    pub fn root(&self, lateness: Duration) -> Duration {
        self.promise.saturating_sub(self.margin(lateness))
    }
}

impl Controller {
    /// Other times. Promises and leases by the old ones go on: who rests on what others promised counts the shorter times,
    /// who promises, or waits for the end of something, the longer ones, until nothing by the old ones is left.
    pub(super) fn retime(&mut self, now: Instant, timing: Timing, longest: Timing) {
        self.longest = if self.planted(Planted::OwnTimesAlone) { timing } else { longest };
        if timing == self.timing {
            return;
        }
        let old = std::mem::replace(&mut self.timing, timing);
        self.retimed_at = now;
        self.services.forget_due();
        self.former.retain(|&(_, until)| now < until);
        if !self.planted(Planted::OwnTimesAlone) {
            self.former.push((old, now + old.member.max(timing.member)));
        }
        if old.t != timing.t {
            self.restart_intervals(now);
        }
    }

    /// Lr (L3): of the times that voters and followers may have promised by.
    pub(super) fn root(&self) -> Duration {
        self.times_in_force().map(|timing| timing.root(self.lateness)).min().unwrap_or_default()
    }

    /// The own ones, and those by which something may have been promised before they changed.
    pub(super) fn times_in_force(&self) -> impl Iterator<Item = &Timing> {
        let former = self.former.iter().filter(|&&(_, until)| self.clock < until).map(|(timing, _)| timing);
        former.chain([&self.timing])
    }
}
