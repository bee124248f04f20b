//! What is known of another node's events: which were heard, which are missing, and how its clock goes.
//! A function of what was heard and when; the thread `chronicle` owns one for each node.

use crate::vocabulary::Instant;
use crate::wire::Happening;
use std::collections::VecDeque;
use std::time::Duration;

/// Of a node that was never heard before, at most so many events of the past are asked for.
const PAST_MAX: u64 = 2_048;
/// So many comparisons of the clocks are kept: the one whose packet was fastest counts.
const SAMPLES: usize = 16;
/// The sender goes on by itself every 100 ms: only then is asked.
const ASK_AFTER: Duration = Duration::from_millis(350);
/// The next question after an answer.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Questions without an answer; then the node's next word is waited for.
const ASKED_MAX: u32 = 8;

/// One other node.
#[derive(Debug, Default)]
pub struct Other {
    log: u64,
    /// All up to this number are known, or will never be.
    seen: u64,
    newest: u64,
    /// Own clock less its clock at receipt, µs: never less than the true difference.
    offsets: VecDeque<i64>,
    ask_at: Option<Instant>,
    asked: u32,
}

impl Other {
    /// One whose events up to that number stand in the file.
    pub fn remembered(log: u64, seen: u64) -> Self {
        Other { log, seen, newest: seen, ..Other::default() }
    }

    /// Its clock was compared with the own one: both wall clocks in µs.
    pub fn compare_clocks(&mut self, own_us: u64, its_us: u64) {
        let difference = i128::from(own_us) - i128::from(its_us);
        let bounded = difference.clamp(i64::MIN.into(), i64::MAX.into());
        self.offsets.push_back(i64::try_from(bounded).expect("just bounded"));
        if self.offsets.len() > SAMPLES {
            self.offsets.pop_front();
        }
    }

    /// How far the own wall clock is ahead of its, in µs.
    pub fn offset_us(&self) -> i64 {
        self.offsets.iter().copied().min().unwrap_or(0)
    }

    /// Its time by the own clock.
    pub fn own_time_us(&self, its_us: u64) -> u64 {
        its_us.saturating_add_signed(self.offset_us())
    }

    /// These are all of its events after `after`, up to the last one, or up to `newest` if there are none.
    /// Returns what is new.
    pub fn hear(
        &mut self,
        now: Instant,
        (log, after, newest): (u64, u64, u64),
        events: Vec<Happening>,
    ) -> Vec<Happening> {
        if log != self.log {
            (self.log, self.seen) = (log, newest.saturating_sub(PAST_MAX));
        }
        self.newest = newest;
        let mut fresh = Vec::new();
        if after <= self.seen {
            let up_to = events.last().map_or(newest, |event| event.number);
            let seen = self.seen;
            fresh.extend(events.into_iter().filter(|event| event.number > seen));
            self.seen = self.seen.max(up_to);
        }
        let soon = if self.asked > 0 { ASK_AGAIN } else { ASK_AFTER };
        self.asked = 0;
        self.ask_at = (self.seen < newest).then(|| self.ask_at.unwrap_or(now + soon).min(now + soon));
        fresh
    }

    /// When it has to be asked; `None`: nothing is missing.
    pub fn due(&self) -> Option<Instant> {
        self.ask_at
    }

    /// What it has to be asked now: list and number.
    pub fn question(&mut self, now: Instant) -> Option<(u64, u64)> {
        self.ask_at.filter(|&at| now >= at)?;
        self.asked += 1;
        self.ask_at = (self.asked < ASKED_MAX).then_some(now + ASK_AFTER);
        Some((self.log, self.seen))
    }
}

#[cfg(test)]
mod tests;
