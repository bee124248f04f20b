//! Was it right what the clients saw? PURE: a function of the history, knows no daemon and no clock.
//!
//! The evidence is the client's alone: which server answered each question when (`Stretch`), and moments
//! at which two servers answered one ARP question (`Double`). Beside it stands what was done to the
//! cluster (`Deed`). All times count from the beginning of the history.
//!
//! *Safety* is judged strictly: lateness of the machine makes no second holder, it only makes a moment
//! longer by itself. *Availability* has the declared bounds of `faults::Class`; faults that overlap may cost
//! the sum of theirs.

#[cfg(test)]
mod tests;

use crate::faults::{Class, Fault, NOISE, VALID_LFT};
use crate::figures::Sample;
use crate::recorder::SILENCE;
use std::collections::BTreeMap;
use std::time::Duration;

/// Answers of one server for one address, one after the other, without a silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Who answered.
    pub server: usize,
    /// When the question was sent that was answered first.
    pub first_sent: Duration,
    /// When that answer came.
    pub first_received: Duration,
    /// When the newest answered question was sent.
    pub sent: Duration,
    /// When the last answer came.
    pub received: Duration,
    /// How many.
    pub answers: u64,
}

/// Two servers answered one question, several times in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Double {
    /// The number of the address.
    pub address: usize,
    /// The servers.
    pub servers: Vec<usize>,
    /// The first such question.
    pub first: Duration,
    /// The last one.
    pub last: Duration,
}

/// A fault, and when it really began and ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Deed {
    /// What.
    pub fault: Fault,
    /// The moment before it was done.
    pub begin: Duration,
    /// The moment after it was undone.
    pub end: Duration,
}

/// All that is known.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Of each address, by arrival.
    pub stretches: Vec<Vec<Stretch>>,
    /// By time.
    pub doubles: Vec<Double>,
    /// By time.
    pub deeds: Vec<Deed>,
    /// When the client began to expect answers, and when it stopped.
    pub watched: (Duration, Duration),
    /// T.
    pub interval: Duration,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which address.
    pub address: usize,
    /// When it was broken first.
    pub from: Duration,
    /// When it was kept again.
    pub to: Duration,
    /// In words.
    pub what: String,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Verdict {
    /// By time.
    pub violations: Vec<Violation>,
    /// Of each class: how many faults, and the outages that they made.
    pub figures: BTreeMap<Class, (u64, Sample)>,
    /// How long two answered in handovers.
    pub handovers: Sample,
    /// Doubles that a stop or a kill in the middle of a handover explains.
    pub excused: u64,
}

/// What a measured moment may be longer than the true one: a round of the witness, a tick of the client.
const MARGIN: Duration = Duration::from_millis(15);
/// Nobody comes to an address, loses it and gets it again faster: a lease has to run out first, or a
/// returned server to be stable for `failback_delay`.
const RETURN: Duration = Duration::from_millis(100);
/// How long before its fault an outage may seem to begin: the last answer is older than the fault.
const BEFORE: Duration = Duration::from_millis(30);
/// Handover and stop are the same moment if they are so close (a handover is over or given up after 4p).
const SAME_MOMENT: Duration = Duration::from_millis(100);

impl History {
    /// Both ends of a planned handover may answer for 2p (p = T/8); longer is a second holder.
    pub fn handover_bound(&self) -> Duration {
        self.interval / 4 + MARGIN
    }

    /// Judges it.
    pub fn judge(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for deed in &self.deeds {
            verdict.figures.entry(deed.fault.class()).or_default().0 += 1;
        }
        self.judge_doubles(&mut verdict);
        for (address, stretches) in self.stretches.iter().enumerate() {
            self.judge_returns(address, stretches, &mut verdict);
            self.judge_silences(address, stretches, &mut verdict);
        }
        verdict.violations.sort_by_key(|violation| violation.from);
        verdict
    }

    fn judge_doubles(&self, verdict: &mut Verdict) {
        for double in &self.doubles {
            let length = double.last - double.first;
            if length <= self.handover_bound() {
                verdict.handovers.add(length);
            } else if self.stopped_in_a_handover(double) {
                verdict.excused += 1;
            } else {
                let names: Vec<String> =
                    double.servers.iter().map(|server| format!("web{}", server + 1)).collect();
                verdict.violations.push(Violation {
                    address: double.address,
                    from: double.first,
                    to: double.last,
                    what: format!("{} answered at the same time for {length:.0?}", names.join(" and ")),
                });
            }
        }
    }

    /// The one thing that no lease covers: the giver is stopped or killed between its last word and the
    /// moment at which it would have let go. Its kernel does, at the end of the lifetime.
    fn stopped_in_a_handover(&self, double: &Double) -> bool {
        self.deeds.iter().any(|deed| {
            let one_of_them = deed.fault.node().is_some_and(|node| double.servers.contains(&node));
            deed.fault.leaves_a_kernel()
                && one_of_them
                && double.first.abs_diff(deed.begin) <= SAME_MOMENT
                && double.last <= deed.begin + VALID_LFT + SAME_MOMENT
        })
    }

    /// A, then B, then A again, so fast that A never stopped: two holders, between which the client's
    /// cache was torn. Returns that follow each other are one story.
    fn judge_returns(&self, address: usize, stretches: &[Stretch], verdict: &mut Verdict) {
        let mut stories: Vec<(Duration, Duration)> = Vec::new();
        for (index, back) in stretches.iter().enumerate() {
            let earlier = || stretches[..index].iter().rev();
            let Some(before) = earlier().find(|stretch| stretch.server == back.server) else { continue };
            // The first answer of another since then.
            let Some(other) = earlier().take_while(|stretch| stretch.server != back.server).last() else {
                continue;
            };
            let overtaken = back.first_sent <= other.first_received;
            if overtaken || back.first_sent.saturating_sub(before.received) > RETURN {
                continue;
            }
            match stories.last_mut() {
                Some((_, to)) if other.first_received.saturating_sub(*to) <= RETURN => *to = back.first_sent,
                _ => stories.push((other.first_received, back.first_sent)),
            }
        }
        for (from, to) in stories.into_iter().filter(|(from, to)| *to - *from > self.handover_bound()) {
            let what = format!("two servers answered in turns for {:.0?}", to - from);
            verdict.violations.push(Violation { address, from, to, what });
        }
    }

    fn judge_silences(&self, address: usize, stretches: &[Stretch], verdict: &mut Verdict) {
        let (start, end) = self.watched;
        let mut last = start;
        for stretch in stretches.iter().filter(|stretch| stretch.received >= start) {
            self.judge_silence(address, last, stretch.first_received, verdict);
            last = last.max(stretch.received);
        }
        self.judge_silence(address, last, end, verdict);
    }

    fn judge_silence(&self, address: usize, from: Duration, to: Duration, verdict: &mut Verdict) {
        let length = to.saturating_sub(from);
        if length <= SILENCE {
            return;
        }
        let class = self.class_of(from);
        verdict.figures.entry(class).or_default().1.add(length);
        let bound = self.bound(from, to);
        if length > bound {
            verdict.violations.push(Violation {
                address,
                from,
                to,
                what: format!("nobody answered for {length:.0?}, more than {bound:.0?} ({})", class.name()),
            });
        }
    }

    /// Whose figure it is: that of what began or ended last before it.
    fn class_of(&self, from: Duration) -> Class {
        let edges = self.deeds.iter().flat_map(|deed| [(deed.begin, deed), (deed.end, deed)]);
        let before = edges.filter(|(edge, deed)| {
            *edge <= from + BEFORE && edge.saturating_add(deed.fault.class().aftermath()) >= from
                || deed.begin <= from + BEFORE && deed.end >= from
        });
        let latest = before.filter(|(edge, _)| *edge <= from + BEFORE).max_by_key(|(edge, _)| *edge);
        latest.map_or(Class::Nothing, |(_, deed)| deed.fault.class())
    }

    /// What all that was going on may cost together.
    fn bound(&self, from: Duration, to: Duration) -> Duration {
        let matters = |deed: &&Deed| {
            deed.begin <= to && deed.end.saturating_add(deed.fault.class().aftermath()) >= from
        };
        // Who is to take it was stopped or killed as well: the next one's look is latched for the whole
        // lifetime of that kernel too, counted from its last word (F1).
        let kernels = self.deeds.iter().filter(matters).filter(|deed| deed.fault.leaves_a_kernel()).count();
        // An address that is deleted by hand from such a kernel is put back by nobody, and who has heard it waits.
        let deleted = self.deeds.iter().filter(matters).any(|deed| deed.fault.class() == Class::Deleted);
        let waits = if deleted { kernels } else { kernels.saturating_sub(1) };
        let latched = VALID_LFT * u32::try_from(waits).unwrap_or(u32::MAX);
        let each = self.deeds.iter().filter(matters).map(|deed| {
            let length = deed.end.min(to).saturating_sub(deed.begin);
            deed.fault.class().promised(self.interval, length)
        });
        each.sum::<Duration>() + latched + NOISE
    }
}
