//! What is done for a dead worker, and when: first its addresses go, then the kernel is asked whether one is left, and
//! only if none is, all are told (P1). Without a clock, a card or a socket of its own.

use super::last_word::LastWord;
use crate::daemon::bond::Territory;
use crate::vocabulary::{Incarnation, Instant};
use std::net::IpAddr;
use std::time::Duration;

/// LEAVE is said at once and so long after it: loss in a row must not cost the takeover its speed.
const SAYINGS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(3), Duration::from_millis(15), Duration::from_millis(50)];
/// Copies each time.
const COPIES: u32 = 2;
/// Aliases that cannot be removed are tried again so often; the kernel drops them itself after `valid_lft`.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(20);

/// By whom it is done.
pub(super) trait LastRites {
    /// Removes every alias and route of ours. What was removed, once none is left; an error as long as one may be there.
    fn clear(&mut self, territory: &Territory) -> Result<Vec<IpAddr>, String>;
    /// That life is gone: to all. The next sequence that is free comes back.
    fn say(&mut self, life: Incarnation, sequence: u64) -> u64;
}

impl LastRites for LastWord {
    fn clear(&mut self, territory: &Territory) -> Result<Vec<IpAddr>, String> {
        LastWord::clear(self, territory)
    }

    fn say(&mut self, life: Incarnation, sequence: u64) -> u64 {
        LastWord::say(self, life, sequence)
    }
}

/// What is still to be done for a dead worker.
pub(super) struct Funeral {
    territory: Territory,
    /// The life to say goodbye for, and the next sequence.
    unsaid: Option<(Incarnation, u64)>,
    removed: usize,
    next_try: Instant,
    /// When the kernel showed that none is left: LEAVE is said from then on.
    clean_at: Option<Instant>,
    said: usize,
    trouble: Option<String>,
    told: bool,
}

impl Funeral {
    pub(super) fn new(now: Instant, territory: Territory, unsaid: Option<(Incarnation, u64)>) -> Self {
        Funeral {
            territory,
            unsaid,
            removed: 0,
            next_try: now,
            clean_at: None,
            said: 0,
            trouble: None,
            told: false,
        }
    }

    /// When there is something to do again.
    pub(super) fn next(&self) -> Option<Instant> {
        let Some(clean_at) = self.clean_at else { return Some(self.next_try) };
        self.unsaid?;
        SAYINGS.get(self.said).map(|&after| clean_at + after)
    }

    /// P1: first the aliases, then the kernel is asked again, and only then LEAVE.
    pub(super) fn go_on(&mut self, now: Instant, last_rites: &mut impl LastRites) {
        let clean_at = match self.clean_at {
            Some(clean_at) => clean_at,
            None => match last_rites.clear(&self.territory) {
                Ok(gone) => {
                    self.removed += gone.len();
                    *self.clean_at.insert(now)
                }
                Err(error) => {
                    self.trouble = Some(error);
                    self.next_try = now + TRY_AGAIN;
                    return;
                }
            },
        };
        let due = SAYINGS.get(self.said).is_some_and(|&after| now >= clean_at + after);
        if let (true, Some((life, mut sequence))) = (due, self.unsaid) {
            for _ in 0..COPIES {
                sequence = last_rites.say(life, sequence);
            }
            self.unsaid = Some((life, sequence));
            self.said += 1;
        }
    }

    /// Why the addresses are still there; told once.
    pub(super) fn news(&mut self) -> Option<String> {
        let error = self.trouble.take_if(|_| !self.told)?;
        self.told = true;
        Some(error)
    }

    pub(super) fn text(&self) -> String {
        let said = if self.said > 0 { ", LEAVE is said" } else { "" };
        if self.clean_at.is_some() {
            format!("{} service addresses are down{said}", self.removed)
        } else {
            "its service addresses could not all be removed".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was done, in order.
    #[derive(Debug, PartialEq)]
    enum Deed {
        Clear { all_gone: bool },
        Say(Incarnation, u64),
    }

    struct Witness {
        failures: u32,
        deeds: Vec<Deed>,
    }

    impl LastRites for Witness {
        fn clear(&mut self, territory: &Territory) -> Result<Vec<IpAddr>, String> {
            let all_gone = self.failures == 0;
            self.failures = self.failures.saturating_sub(1);
            self.deeds.push(Deed::Clear { all_gone });
            if all_gone { Ok(territory.addresses.clone()) } else { Err("one is left".to_owned()) }
        }

        fn say(&mut self, life: Incarnation, sequence: u64) -> u64 {
            self.deeds.push(Deed::Say(life, sequence));
            sequence + 2
        }
    }

    const LIFE: Incarnation = Incarnation(7);

    fn funeral(now: Instant, unsaid: Option<(Incarnation, u64)>, failures: u32) -> (Funeral, Witness) {
        let territory = Territory { addresses: vec![IpAddr::from([203, 0, 113, 21])], gateways: vec![] };
        (Funeral::new(now, territory, unsaid), Witness { failures, deeds: Vec::new() })
    }

    /// P1: whoever hears LEAVE takes the addresses without waiting for any lease.
    #[test]
    fn nothing_is_said_before_the_kernel_has_none_left() {
        let start = Instant::ZERO + Duration::from_secs(1);
        let (mut funeral, mut witness) = funeral(start, Some((LIFE, 100)), 2);
        for (tries, after) in [(1, 0), (2, 20), (3, 40)] {
            let at = start + Duration::from_millis(after);
            assert_eq!(funeral.next(), Some(at));
            assert_eq!(funeral.text(), "its service addresses could not all be removed");
            funeral.go_on(at, &mut witness);
            let cleared = witness.deeds.iter().filter(|deed| matches!(deed, Deed::Clear { .. })).count();
            assert_eq!(cleared, tries);
        }
        let (before, after) = witness.deeds.split_at(3);
        assert_eq!(before, [false, false, true].map(|all_gone| Deed::Clear { all_gone }));
        assert_eq!(after, [Deed::Say(LIFE, 100), Deed::Say(LIFE, 102)], "two copies at once");
        assert_eq!(funeral.news().as_deref(), Some("one is left"));
        assert_eq!(funeral.news(), None, "told once");
        assert_eq!(funeral.text(), "1 service addresses are down, LEAVE is said");
        // From the moment in which none was left, and each time with newer numbers.
        for (count, after) in [(4, 3), (6, 15), (8, 50)] {
            let at = start + Duration::from_millis(40 + after);
            assert_eq!(funeral.next(), Some(at));
            funeral.go_on(at - Duration::from_micros(1), &mut witness);
            assert_eq!(witness.deeds.len(), 3 + count - 2, "not before its time");
            funeral.go_on(at, &mut witness);
            assert_eq!(witness.deeds.len(), 3 + count);
        }
        assert_eq!(witness.deeds.last(), Some(&Deed::Say(LIFE, 114)));
        assert_eq!(funeral.next(), None);
        funeral.go_on(start + Duration::from_secs(9), &mut witness);
        assert_eq!(witness.deeds.len(), 11, "it is over");
    }

    #[test]
    fn who_has_said_goodbye_itself_is_only_cleared_away() {
        let (mut funeral, mut witness) = funeral(Instant::ZERO, None, 0);
        funeral.go_on(Instant::ZERO, &mut witness);
        assert_eq!(witness.deeds, [Deed::Clear { all_gone: true }]);
        assert_eq!(funeral.next(), None);
        assert_eq!(funeral.text(), "1 service addresses are down");
    }
}
