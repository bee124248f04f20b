//! What is held against nodes that come and go (after RFC 2439): a penalty for each time, which halves with every
//! half-life; above one limit the node is no target of what can wait, below a lower one it is again.
//!
//! A preference of the controller's, not part of the agreed state: it makes one living node better than another, and
//! no promise rests on it. Everybody hears it with STATUS, so that the next controller goes on with it.

use crate::vocabulary::{Instant, NodeId, ServiceId};
use std::collections::BTreeMap;
use std::time::Duration;

/// For each time.
const PENALTY: f64 = 1000.0;
/// Above, it is damped: the third time within about a half-life.
const SUPPRESS: f64 = 2000.0;
/// Below, it is used again.
const REUSE: f64 = 750.0;
/// At most: whatever happened, four half-lives are enough.
const CEILING: f64 = 12_000.0;
/// Less is not worth a word, and forgotten.
const TRIFLE: f64 = 50.0;

#[derive(Debug, Clone, Copy)]
struct Score {
    value: f64,
    at: Instant,
    damped: bool,
}

/// A node, for one service or for all.
pub(in crate::controller) type Place = (NodeId, Option<ServiceId>);

#[derive(Debug, Clone, Default)]
pub(in crate::controller) struct Damping {
    scores: BTreeMap<Place, Score>,
}

impl Damping {
    /// It came and went once more. A half-life of zero: nothing is held against anybody.
    pub fn charge(&mut self, now: Instant, place: Place, half_life: Duration) {
        if half_life.is_zero() {
            return;
        }
        let score = self.scores.get(&place).map_or(0.0, |score| score.value_at(now, half_life));
        let was = self.scores.get(&place).is_some_and(|score| score.damped) && score >= REUSE;
        let value = (score + PENALTY).min(CEILING);
        self.scores.insert(place, Score { value, at: now, damped: was || value > SUPPRESS });
    }

    /// As a predecessor in office left it.
    pub fn inherit(&mut self, now: Instant, place: Place, penalty: u32, damped: bool) {
        let value = f64::from(penalty).min(CEILING);
        self.scores.insert(place, Score { value, at: now, damped });
    }

    /// An operator's word: the cause is mended. Without a service: all that there is against the node.
    pub fn forgive(&mut self, node: NodeId, service: Option<ServiceId>) {
        self.scores.retain(|(other, of), _| {
            *other != node || service.is_some_and(|service| of.is_some_and(|of| of != service))
        });
    }

    /// For how long that node is still no target, if it is none.
    pub fn reuse_in(&self, now: Instant, place: Place, half_life: Duration) -> Option<Duration> {
        let score = self.scores.get(&place).filter(|_| !half_life.is_zero())?;
        let value = score.value_at(now, half_life);
        (score.damped && value >= REUSE).then(|| until_reuse(value, half_life))
    }

    /// When the first of all that are damped is used again.
    pub fn soonest_reuse(&self, now: Instant, half_life: Duration) -> Option<Duration> {
        self.scores.keys().filter_map(|&place| self.reuse_in(now, place, half_life)).min()
    }

    /// Everything that is worth a word: the place, the penalty, is it damped.
    pub fn all(&self, now: Instant, half_life: Duration) -> impl Iterator<Item = (Place, u32, bool)> + '_ {
        let scores = self.scores.iter().filter(move |_| !half_life.is_zero());
        scores.filter_map(move |(&place, score)| {
            let value = score.value_at(now, half_life);
            (value >= TRIFLE).then_some((place, value as u32, score.damped && value >= REUSE))
        })
    }

    /// Forgets trifles and places that are no more.
    pub fn tidy(&mut self, now: Instant, half_life: Duration) {
        self.scores.retain(|_, score| !half_life.is_zero() && score.value_at(now, half_life) >= TRIFLE);
    }
}

impl Score {
    fn value_at(&self, now: Instant, half_life: Duration) -> f64 {
        self.value * (-now.since(self.at).as_secs_f64() / half_life.as_secs_f64()).exp2()
    }
}

/// How long that much takes to be so little that the place is used again.
pub(in crate::controller) fn until_reuse(penalty: f64, half_life: Duration) -> Duration {
    // A millisecond more: at that moment it is below, whatever rounding did.
    half_life.mul_f64((penalty / REUSE).max(1.0).log2()) + Duration::from_millis(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_third_time_within_a_half_life_is_too_much_and_is_forgiven_by_time() {
        let place = (NodeId(1), None);
        let mut damping = Damping::default();
        for second in [1000, 1010] {
            damping.charge(at(second), place, HALF);
            assert_eq!(damping.reuse_in(at(second), place, HALF), None, "not for so little");
        }
        damping.charge(at(1020), place, HALF);
        let reuse = damping.reuse_in(at(1020), place, HALF).expect("damped");
        assert!(reuse > HALF && reuse < HALF * 2, "{reuse:?}");
        let shortly_before = at(1020) + reuse - Duration::from_secs(1);
        assert!(
            damping.reuse_in(shortly_before, place, HALF).is_some(),
            "below the first limit, above the second"
        );
        assert_eq!(damping.reuse_in(at(1020) + reuse, place, HALF), None);
    }

    #[test]
    fn once_a_half_life_is_never_too_much() {
        let place = (NodeId(1), Some(ServiceId(7)));
        let mut damping = Damping::default();
        for times in 0..100 {
            damping.charge(at(times * 61), place, HALF);
            assert_eq!(damping.reuse_in(at(times * 61), place, HALF), None);
        }
    }

    #[test]
    fn however_often_four_half_lives_are_enough() {
        let place = (NodeId(1), None);
        let mut damping = Damping::default();
        for _ in 0..1000 {
            damping.charge(at(5), place, HALF);
        }
        assert!(
            damping
                .reuse_in(at(5), place, HALF)
                .is_some_and(|reuse| reuse <= HALF * 4 + Duration::from_millis(1))
        );
        damping.tidy(at(5) + HALF * 9, HALF);
        assert_eq!(damping.all(at(5), HALF).count(), 0);
    }

    #[test]
    fn an_operator_forgives_a_node_all_or_for_one_service_what_keeps_it_from_that() {
        let (node, other) = (NodeId(1), NodeId(2));
        let places = [(node, None), (node, Some(ServiceId(1))), (node, Some(ServiceId(2))), (other, None)];
        let full = || {
            let mut damping = Damping::default();
            places.iter().for_each(|&place| damping.charge(at(1), place, HALF));
            damping
        };
        let left = |damping: &Damping| damping.all(at(1), HALF).map(|(place, ..)| place).collect::<Vec<_>>();
        let mut damping = full();
        damping.forgive(node, None);
        assert_eq!(left(&damping), [(other, None)]);
        let mut damping = full();
        damping.forgive(node, Some(ServiceId(1)));
        assert_eq!(left(&damping), [(node, Some(ServiceId(2))), (other, None)]);
    }

    #[test]
    fn a_half_life_of_zero_holds_nothing_against_anybody() {
        let mut damping = Damping::default();
        for _ in 0..9 {
            damping.charge(at(1), (NodeId(1), None), Duration::ZERO);
        }
        assert_eq!(damping.all(at(1), Duration::ZERO).count(), 0);
    }
}
