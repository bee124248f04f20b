//! What the controller asks for, done: sends, writes, commands. Called by the world's `drain`.

use super::{EAVESDROPPED, Event, World};
use crate::controller::{Action, Destination, Effect, Input, Links, LocalFault, Record};
use crate::simulator::clock::{MICRO, MILLI, Nanos};
use crate::simulator::network::lan;
use crate::simulator::plan::{node_id, place};
use crate::simulator::trace::{Happening, is_story};
use crate::vocabulary::{LinkRole, ServiceId};
use crate::wire::{Datagram, Packet, encode};
use std::rc::Rc;

impl World {
    pub(super) fn perform(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Send { to, links, packet } => self.send(node, to, links, packet),
            Effect::Serve(wanted) => self.serve(node, wanted),
            Effect::Announce { service } => {
                self.announce(node, service);
            }
            Effect::Probe { service, leeway } => self.probe(node, service, leeway),
            Effect::AskArbiter => self.ask_arbiter(node),
            Effect::Run { service, action, token } => self.run_command(node, service, action, token),
            Effect::Store { record, token } => self.store(node, *record, token),
            Effect::Answer { .. } => {}
            Effect::Event(event) => {
                match event {
                    crate::controller::Event::Taken { .. } => self.statistics.taken += 1,
                    crate::controller::Event::Down { .. } => self.statistics.downs += 1,
                    _ => {}
                }
                self.trace.tell(self.now, node, Happening::Event(event));
            }
            Effect::Reborn(incarnation) => {
                let disk = &mut self.hosts[node].disk;
                disk.incarnation = disk.incarnation.max(incarnation.0);
            }
            Effect::Left => self.left(node),
        }
    }

    fn send(&mut self, node: usize, to: Destination, links: Links, mut packet: Packet) {
        if let Packet::Status(status) = &mut packet {
            status.mac = super::neighbours::mac(node);
        }
        self.checker.sent(self.now, node, to, &packet);
        if is_story(&packet) {
            self.trace.tell(self.now, node, Happening::Sent(to, packet.clone()));
        }
        let Some(process) = self.hosts[node].process.as_ref() else { return };
        let stamp = process.controller.stamp();
        let mut datagram = Datagram { header: stamp.header(node_id(node), to), packet };
        for &role in links.roles() {
            self.send_over(node, to, role, &mut datagram);
        }
    }

    fn send_over(&mut self, node: usize, to: Destination, role: LinkRole, datagram: &mut Datagram) {
        let life = self.hosts[node].life;
        let fault = if self.hosts[node].carrier[lan(role)] {
            self.hosts[node].refuses[lan(role)]
        } else {
            Some(LocalFault::Down)
        };
        if let Some(fault) = fault {
            self.schedule(MICRO, Event::SendFailed { node, life, role, fault });
            return;
        }
        let Some(process) = self.hosts[node].process.as_mut() else { return };
        process.sequence += 1;
        process.spoken = Some(datagram.header.incarnation);
        datagram.header.sequence = process.sequence;
        datagram.header.link = role;
        encode(datagram, &mut self.buffer);
        let bytes: Rc<[u8]> = Rc::from(self.buffer.as_slice());
        self.statistics.sent += 1;
        match to {
            Destination::Node(addressee) => self.transmit(node, place(addressee), role, &bytes),
            Destination::All => {
                for other in (0..self.hosts.len()).filter(|other| *other != node) {
                    self.transmit(node, other, role, &bytes);
                }
            }
        }
        if self.garbage.chance(self.ills.garbled) {
            self.garble(datagram);
        }
        if self.garbage.chance(self.ills.replayed) {
            self.replay(bytes);
        }
    }

    pub(super) fn transmit(&mut self, from: usize, to: usize, role: LinkRole, bytes: &Rc<[u8]>) {
        if to >= self.hosts.len() || !self.network.path(role, from, to) {
            return;
        }
        for after in self.network.copies(role, &mut self.random).into_iter().flatten() {
            self.schedule(after, Event::Deliver { to, bytes: bytes.clone(), garbled: false });
        }
    }

    /// The same datagram, sealed and damaged, to anybody.
    fn garble(&mut self, datagram: &Datagram) {
        self.key.seal(datagram, &mut self.buffer);
        let damage = self.garbage.between(1, 3);
        for _ in 0..damage {
            let at = self.garbage.below(self.buffer.len() as u64) as usize;
            if self.garbage.chance(200) {
                self.buffer.truncate(at.max(1));
            } else {
                self.buffer[at] ^= self.garbage.between(1, 255) as u8;
            }
        }
        let mut whole = Vec::with_capacity(self.buffer.len());
        self.key.seal(datagram, &mut whole);
        if whole == self.buffer {
            return;
        }
        let to = self.garbage.below(self.hosts.len() as u64) as usize;
        let after = self.garbage.below(MILLI);
        let bytes = Rc::from(self.buffer.as_slice());
        self.schedule(after, Event::Deliver { to, bytes, garbled: true });
    }

    /// Somebody keeps this one, and sends an older one again.
    fn replay(&mut self, bytes: Rc<[u8]>) {
        if self.eavesdropped.len() < EAVESDROPPED {
            self.eavesdropped.push(bytes);
            return;
        }
        let at = self.garbage.below(EAVESDROPPED as u64) as usize;
        let old = std::mem::replace(&mut self.eavesdropped[at], bytes);
        let to = self.garbage.below(self.hosts.len() as u64) as usize;
        let after = self.garbage.below(MILLI);
        self.schedule(after, Event::Deliver { to, bytes: old, garbled: false });
    }

    fn run_command(&mut self, node: usize, service: ServiceId, action: Action, token: u64) {
        let life = self.hosts[node].life;
        let command = self.config.service(service).and_then(|service| match action {
            Action::Start => service.starts().next(),
            Action::Stop => service.stops().next(),
        });
        let (after, ok) = if command.is_none() {
            (5 * MICRO, true)
        } else if self.random.chance(self.ills.script_slow) {
            (self.random.below(1_000 * MILLI), !self.random.chance(self.ills.script_fails))
        } else {
            (self.random.between(MILLI, 60 * MILLI), !self.random.chance(self.ills.script_fails))
        };
        self.schedule(after, Event::Ran { node, life, service, action, token, ok });
    }

    fn store(&mut self, node: usize, record: Record, token: u64) {
        let Some(process) = self.hosts[node].process.as_mut() else { return };
        if process.writing.is_some() {
            process.waiting = Some((record, token));
            return;
        }
        process.writing = Some((record, token));
        let life = self.hosts[node].life;
        let after = self.write_time();
        self.schedule(after, Event::Written { node, life });
    }

    fn write_time(&mut self) -> Nanos {
        if self.random.chance(self.ills.disk_slow) {
            self.random.below(300 * MILLI)
        } else {
            self.random.between(200 * MICRO, 5 * MILLI)
        }
    }

    pub(super) fn written(&mut self, node: usize) {
        let fails = self.random.chance(self.ills.disk_fails);
        let after = self.write_time();
        let host = &mut self.hosts[node];
        let Some(process) = host.process.as_mut() else { return };
        let Some((record, token)) = process.writing.take() else { return };
        if !fails {
            host.disk.record = Some(record);
        }
        process.writing = process.waiting.take();
        if process.writing.is_some() {
            let life = host.life;
            self.schedule(after, Event::Written { node, life });
        }
        self.feed(node, Input::Stored { token, ok: !fails });
    }

    /// The orderly leave is complete: the process ends, and comes back later.
    fn left(&mut self, node: usize) {
        if !self.hosts[node].aliases.is_empty() {
            let what = format!("n{} left with addresses up", node + 1);
            self.checker.broken(self.now, "J2 orderly leave", what);
        }
        self.fault_told(node, "has left");
        self.end_process(node);
        let after = self.random.between(100, 3_000) * MILLI;
        self.schedule(after, Event::Boot { node });
    }
}
