//! ARP on the external LAN: kernels answer for what they have, whatever their daemon does.

use super::foreign::STRANGER;
use super::{Event, World};
use crate::controller::Input;
use crate::simulator::clock::{MICRO, MILLI, Nanos, SECOND};
use crate::simulator::host::Looked;
use crate::simulator::network::lan;
use crate::simulator::plan::ARBITER;
use crate::vocabulary::{LinkRole, ServiceId};
use std::time::Duration;

/// Who probed an address so lately is interested in who announces it.
const INTEREST: Nanos = SECOND;
/// A faker that stalls does so for up to this.
const STALL: Nanos = 80 * MILLI;

/// One that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    service: ServiceId,
    asked: Nanos,
    leeway: Duration,
}

impl World {
    /// ARP request for this address, to everybody.
    pub(super) fn probe(&mut self, node: usize, service: ServiceId, leeway: Duration) {
        let (now, gap) = (self.now, self.one_look());
        if let Some(process) = self.hosts[node].process.as_mut() {
            let before = process.looked.iter().find(|look| look.service == service).copied();
            let new = Looked { service, since: now, last: now, answered: None };
            let look = before.filter(|look| look.last + gap > now).unwrap_or(new);
            process.looked.retain(|look| look.service != service && look.last + INTEREST > now);
            process.looked.push(Looked { last: now, ..look });
        }
        if self.random.chance(self.ills.slow_faker) {
            let stall = self.random.below(STALL);
            self.faker_stalls(node, now + stall);
        }
        let life = self.hosts[node].life;
        let probe = Probe { service, asked: now, leeway };
        match self.hosts[node].process.as_ref().map(|process| process.faker.stalled_until) {
            Some(until) if until > now => self.schedule_at(until, Event::ProbeLeaves { node, life, probe }),
            _ => self.probe_leaves(node, life, probe),
        }
    }

    /// So close to each other are probes of one look.
    fn one_look(&self) -> Nanos {
        self.config.cluster.hello_interval.as_nanos() as Nanos / 4
    }

    pub(super) fn probe_leaves(&mut self, node: usize, life: u32, probe: Probe) {
        let Probe { service, asked, leeway } = probe;
        if self.hosts[node].life != life {
            return;
        }
        if u128::from(self.now - asked) > leeway.as_nanos() {
            self.faker_doubts(node, service);
        }
        if self.refused(node) {
            return;
        }
        for other in (0..self.hosts.len()).filter(|other| *other != node) {
            self.frame(node, other, |node, by| Event::Asked { node, by, service });
        }
        if self.is_strangers(service) {
            self.frame(node, STRANGER, |node, by| Event::Asked { node, by, service });
        }
    }

    /// Gratuitous ARP, if the address is up. True: it left.
    pub(super) fn announce(&mut self, node: usize, service: ServiceId) -> bool {
        if !self.hosts[node].has(service) || self.refused(node) {
            return false;
        }
        for other in (0..self.hosts.len()).filter(|other| *other != node) {
            self.frame(node, other, |node, by| Event::Claimed { node, by, service });
        }
        if self.is_strangers(service) {
            self.frame(node, STRANGER, |node, by| Event::Claimed { node, by, service });
        }
        true
    }

    /// A packet filter, or a full queue: the controller hears of it.
    fn refused(&mut self, node: usize) -> bool {
        let (role, life) = (LinkRole::External, self.hosts[node].life);
        let Some(fault) = self.hosts[node].refuses[lan(role)] else { return false };
        self.schedule(MICRO, Event::SendFailed { node, life, role, fault });
        true
    }

    /// The kernel answers.
    pub(super) fn asked(&mut self, node: usize, by: usize, service: ServiceId) {
        if node == STRANGER {
            if self.is_strangers(service) {
                self.frame(STRANGER, by, |node, by| Event::Claimed { node, by, service });
            }
            return;
        }
        if self.hosts[node].powered && self.hosts[node].has(service) {
            self.frame(node, by, |node, by| Event::Claimed { node, by, service });
        }
    }

    /// Heard by who has the address itself, or looked for it.
    pub(super) fn claimed(&mut self, node: usize, by: usize, service: ServiceId) {
        if node == STRANGER {
            return self.stranger_hears(service);
        }
        let now = self.now;
        let has = self.hosts[node].has(service);
        let Some(process) = self.hosts[node].process.as_mut() else { return };
        let mut looks = process.looked.iter_mut();
        let look = looks.find(|look| look.service == service && look.last + INTEREST > now);
        let looked = look.is_some();
        if let Some(look) = look
            && by == STRANGER
        {
            look.answered = Some(now);
        }
        if has || looked {
            let mac = mac(by);
            self.feed(node, Input::Claimed { service, mac });
        }
    }

    /// Q2: there and back, with the LAN's ills both times.
    pub(super) fn ask_arbiter(&mut self, node: usize) {
        if self.refused(node) || !self.network.has_arbiter(node) {
            return;
        }
        let life = self.hosts[node].life;
        for there in self.network.copies(LinkRole::External, &mut self.random).into_iter().flatten() {
            for back in self.network.copies(LinkRole::External, &mut self.random).into_iter().flatten() {
                self.schedule(there + back, Event::ArbiterAnswers { node, life });
            }
        }
    }

    pub(super) fn arbiter_answers(&mut self, node: usize, life: u32) {
        if self.network.has_arbiter(node) {
            self.input(node, life, Input::ArbiterAnswered { arbiter: ARBITER });
        }
    }

    /// Between two nodes, or one and the stranger.
    pub(super) fn frame(&mut self, from: usize, to: usize, event: impl Fn(usize, usize) -> Event) {
        let path = match (from, to) {
            (STRANGER, node) => self.network.hears_stranger(node),
            (node, STRANGER) => self.network.reaches_stranger(node),
            (from, to) => self.network.path(LinkRole::External, from, to),
        };
        if !path {
            return;
        }
        for after in self.network.copies(LinkRole::External, &mut self.random).into_iter().flatten() {
            self.schedule(after, event(to, from));
        }
    }
}

/// Of the external card of that machine.
pub(super) fn mac(node: usize) -> [u8; 6] {
    [2, 0xd1, 0xe4, 0, 0, node as u8 + 1]
}
