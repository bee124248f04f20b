//! ARP on the external LAN: kernels answer for what they have, whatever their daemon does.

use super::{Event, World};
use crate::controller::Input;
use crate::simulator::clock::{Nanos, SECOND};
use crate::simulator::plan::ARBITER;
use crate::vocabulary::{LinkRole, ServiceId};

/// Who probed an address so lately is interested in who announces it.
const INTEREST: Nanos = SECOND;

impl World {
    /// ARP request for this address, to everybody.
    pub(super) fn probe(&mut self, node: usize, service: ServiceId) {
        let now = self.now;
        if let Some(process) = self.hosts[node].process.as_mut() {
            process.looked.retain(|(looked, at)| *looked != service && *at + INTEREST > now);
            process.looked.push((service, now));
        }
        for other in (0..self.hosts.len()).filter(|other| *other != node) {
            self.frame(node, other, |node, by| Event::Asked { node, by, service });
        }
    }

    /// Gratuitous ARP, if the address is up.
    pub(super) fn announce(&mut self, node: usize, service: ServiceId) {
        if !self.hosts[node].has(service) {
            return;
        }
        for other in (0..self.hosts.len()).filter(|other| *other != node) {
            self.frame(node, other, |node, by| Event::Claimed { node, by, service });
        }
    }

    /// The kernel answers.
    pub(super) fn asked(&mut self, node: usize, by: usize, service: ServiceId) {
        if self.hosts[node].powered && self.hosts[node].has(service) {
            self.frame(node, by, |node, by| Event::Claimed { node, by, service });
        }
    }

    /// Heard by who has the address itself, or looked for it.
    pub(super) fn claimed(&mut self, node: usize, by: usize, service: ServiceId) {
        let now = self.now;
        let has = self.hosts[node].has(service);
        let Some(process) = self.hosts[node].process.as_ref() else { return };
        let looked = process.looked.iter().any(|(looked, at)| *looked == service && *at + INTEREST > now);
        if has || looked {
            let mac = mac(by);
            self.feed(node, Input::Claimed { service, mac });
        }
    }

    /// Q2: there and back, with the LAN's ills both times.
    pub(super) fn ask_arbiter(&mut self, node: usize) {
        if !self.network.has_arbiter(node) {
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

    fn frame(&mut self, from: usize, to: usize, event: impl Fn(usize, usize) -> Event) {
        if !self.network.path(LinkRole::External, from, to) {
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
