//! When gratuitous ARP is said for what is served here: when it comes up, again later, now and then, and whenever neighbours
//! may have learnt something else meanwhile.

use super::*;
use crate::wire::Status;

/// Announced at once, then more than a second apart: Linux neighbours ignore a burst (locktime 1 s).
const ANNOUNCE_AGAIN: [Duration; 3] =
    [Duration::from_millis(1100), Duration::from_millis(2200), Duration::from_millis(5000)];

impl Controller {
    pub(super) fn tick_announcements(&mut self, now: Instant, id: ServiceId) {
        let refresh = self.config.cluster.arp_refresh;
        let due = |local: &Local| local.present && local.announcements.front().is_some_and(|&due| now >= due);
        if !self.services.get(&id).is_some_and(due) {
            return;
        }
        let jitter = self.nonce() % 200;
        let local = self.services.get_mut(&id).expect("looked at above");
        local.announcements.pop_front();
        if local.announcements.is_empty() && !refresh.is_zero() {
            let jittered = refresh * u32::try_from(900 + jitter).unwrap_or(1000) / 1000;
            local.announcements.push_back(now + jittered);
        }
        self.effects.push_back(Effect::Announce { service: id });
    }

    /// At once, and again later.
    pub(in crate::controller) fn announce(&mut self, now: Instant, id: ServiceId) {
        self.announce_again(now, id);
        self.effects.push_back(Effect::Announce { service: id });
    }

    /// Later, after what was said just now.
    pub(super) fn announce_again(&mut self, now: Instant, id: ServiceId) {
        let Some(local) = self.services.get_mut(&id) else { return };
        local.to_announce = false;
        local.announcements = ANNOUNCE_AGAIN.iter().map(|&after| now + after).collect();
    }

    /// Everything that is served here.
    pub(super) fn announce_held(&mut self, now: Instant) {
        let held = self.services.iter().filter(|(_, local)| local.present && local.wanted);
        let held: Vec<ServiceId> = held.map(|(&id, _)| id).collect();
        for id in held {
            self.announce(now, id);
        }
    }

    /// M1: pieces of the LAN have come together. Whoever was in the other piece may know an address by the card of its holder
    /// there, which has let go before it joins.
    pub(super) fn announce_to_who_comes_back(&mut self, now: Instant, old: Option<&State>, new: &State) {
        let before = self.serving.lost.len();
        self.serving.lost.retain(|&lost| new.member(lost).is_none());
        let back = self.serving.lost.len() < before;
        let gone = old.iter().flat_map(|old| &old.members).filter(|gone| new.member(gone.id).is_none());
        let lost: Vec<NodeId> =
            gone.filter(|gone| !self.has_left(gone.id, gone.incarnation)).map(|gone| gone.id).collect();
        self.serving.lost.extend(lost);
        if back {
            self.announce_held(now);
        }
    }

    /// The external LAN alone was cut, and somebody hears his neighbour there again, as his STATUS says.
    pub(in crate::controller) fn hear_of_the_external_lan(
        &mut self,
        now: Instant,
        before: &Status,
        after: &Status,
    ) {
        let hears = |status: &Status| {
            let link = status.links.iter().find(|link| link.role == LinkRole::External);
            link.is_some_and(|link| link.up && link.hears_left)
        };
        if !hears(before) && hears(after) {
            self.announce_held(now);
        }
    }
}
