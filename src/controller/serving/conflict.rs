//! Others at our addresses while they are served here: rivals on the LAN (RFC 5227, 2.4), and hands on this
//! machine that take an alias away.

use super::*;
use crate::controller::input::Tampering;
use crate::wire::Stranger;

/// RFC 5227, 1.1 and 2.4: one defending announcement in that time.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// A rival who keeps quiet is asked whether he still has the address.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// Gone after four questions without an answer: two in a row may be lost on a bad LAN.
const RIVAL_GONE: Duration = Duration::from_secs(20);
/// So often within a minute an address is put back; then the service is given up to another node. A
/// network manager that restarts costs one or two, one that fights goes on for ever.
const MOST_TAMPERINGS: usize = 5;
const TAMPERING_WINDOW: Duration = Duration::from_secs(60);

/// A part of the cluster asks in so many T who else has what it serves.
const APART_ASKS: u32 = 5;

/// Somebody who claims what is served here.
#[derive(Debug, Clone, Copy)]
pub(in crate::controller) struct Rival {
    heard: Instant,
    next_question: Instant,
}

impl Rival {
    pub(super) fn due(&self) -> Instant {
        self.next_question.min(self.heard + RIVAL_GONE)
    }
}

impl Controller {
    /// RFC 5227, 2.4 (c): defend, and at once, but not again within ten seconds. This node holds it by the
    /// table: whoever does not, hears nothing here to defend.
    pub(super) fn on_rival(&mut self, now: Instant, id: ServiceId, mac: [u8; 6]) {
        let Some(local) = self.services.get_mut(&id) else { return };
        local.stranger = Some(mac);
        let next_question = local.rival.map_or(now + ASK_INTERVAL, |rival| rival.next_question);
        local.rival = Some(Rival { heard: now, next_question });
        self.confront(now, id);
        let local = self.services.get_mut(&id).expect("looked at above");
        if local.defended.is_some_and(|at| now.since(at) < DEFEND_INTERVAL) {
            return;
        }
        local.defended = Some(now);
        self.event(Event::Rival { service: id, mac });
        self.effects.push_back(Effect::Announce { service: id });
    }

    /// M1: another part of the cluster may have it as well, whose ARP is all that comes from there. On the link on which
    /// that came this comes too; then the weaker one hears what the stronger one weighs.
    fn confront(&mut self, now: Instant, id: ServiceId) {
        let t = self.timing.t;
        let Some(local) = self.services.get_mut(&id).filter(|local| now.since(local.told) >= t) else {
            return;
        };
        local.told = now;
        if self.minorities_may_meet() && !self.planted(Planted::RivalsAreSilent) {
            self.send(Destination::All, Links::All, Packet::TakeOver { service: id });
        }
    }

    /// Half of the configured nodes or fewer: another part may have the same addresses.
    fn is_apart(&self) -> bool {
        let members = self.committed.as_ref().map_or(0, |state| state.members.len());
        self.minorities_may_meet() && 2 * members <= self.config.nodes.len() && self.lease.held
    }

    /// When a part of the cluster asks again who else has what it serves.
    pub(super) fn next_question(&self) -> Instant {
        let serves = || self.services.values().any(|local| local.wanted && local.present);
        if self.is_apart() && serves() { self.serving.next_question } else { Instant::MAX }
    }

    pub(super) fn ask_who_else(&mut self, now: Instant) {
        if now < self.next_question() {
            return;
        }
        self.serving.next_question = now + self.timing.t * APART_ASKS;
        let held = self.services.iter().filter(|(_, local)| local.wanted && local.present);
        for (&service, _) in held {
            self.effects.push_back(Effect::Probe { service, leeway: Duration::MAX });
        }
    }

    pub(super) fn tick_rival(&mut self, now: Instant, id: ServiceId) {
        let Some(local) = self.services.get_mut(&id) else { return };
        let Some(rival) = &mut local.rival else { return };
        if !local.wanted {
            local.rival = None;
            local.stranger = None;
        } else if now >= rival.heard + RIVAL_GONE {
            local.rival = None;
            local.stranger = None;
            self.event(Event::RivalGone { service: id });
            // Neighbours that it drew away come back.
            self.announce(now, id);
        } else if now >= rival.next_question {
            rival.next_question = now + ASK_INTERVAL;
            self.effects.push_back(Effect::Probe { service: id, leeway: Duration::MAX });
        }
    }

    /// For STATUS: so that every node can show it.
    pub(in crate::controller) fn strangers(&self) -> Vec<Stranger> {
        let with = self.services.iter().filter_map(|(&service, local)| {
            let mac = local.stranger?;
            let served = local.wanted && local.rival.is_some();
            (served || local.is_blocked()).then_some(Stranger { service, mac, served })
        });
        with.collect()
    }

    /// Put back a bounded number of times, then given up (peers: networkd, NetworkManager, `ip addr del`).
    pub(in crate::controller) fn on_tampered(&mut self, now: Instant, id: ServiceId, how: Tampering) {
        let duty = self.duty(id);
        // With the external link goes what hangs on it (IPv6 addresses), and the services move anyway.
        let alone = self.external_ok() && now < self.serving_until();
        let Some(local) = self.services.get_mut(&id) else { return };
        if !local.wanted || !alone {
            return;
        }
        local.tampered.retain(|&at| now.since(at) < TAMPERING_WINDOW);
        local.tampered.push_back(now);
        let times = local.tampered.len();
        if times <= MOST_TAMPERINGS || duty != Duty::Hold {
            // Never more are remembered than decide.
            while local.tampered.len() > MOST_TAMPERINGS {
                local.tampered.pop_front();
            }
            self.event(Event::Tampered { service: id, how });
            if how != Tampering::Refused {
                self.announce(now, id);
            }
            return;
        }
        local.tampered.clear();
        self.event(Event::GaveUp { service: id, how, times: u32::try_from(times).unwrap_or(u32::MAX) });
        self.decline(now, id, Because::Tampered);
    }
}
