//! The daemon's process: what its driver does around the controller. Inputs in, effects out, the alarm
//! clock, sockets, start, and what follows after it was stopped for a while.

use super::{Event, World, new_clock};
use crate::controller::{Controller, Identity, Input};
use crate::simulator::clock::{MICRO, MILLI, Nanos, SECOND};
use crate::simulator::host::Process;
use crate::simulator::plan::node_id;
use crate::vocabulary::LinkRole;
use crate::wire::decode;
use std::time::Duration;

/// A wake-up later than this is told to the controller before its timeouts (D5).
const LATE: Duration = Duration::from_millis(5);
/// How long a worst lateness is remembered (L8).
const LATENESS_MEMORY: Nanos = 10 * SECOND;
/// The shortest sleep: a controller that wants to be called again at once gets the same instant only once.
const SHORTEST_SLEEP: Nanos = 10 * MICRO;
impl World {
    /// Something happened to this node's controller.
    pub fn feed(&mut self, node: usize, input: Input) {
        let now = self.hosts[node].clock.local(self.now);
        let Some(process) = self.hosts[node].process.as_mut() else { return };
        process.controller.handle(now, input);
        self.drain(node);
    }

    /// Everything that the controller wants done, then its alarm clock.
    pub(super) fn drain(&mut self, node: usize) {
        while let Some(process) = self.hosts[node].process.as_mut() {
            let Some(effect) = process.controller.next_effect() else { break };
            self.perform(node, effect);
        }
        self.check_epoch(node);
        self.arm(node);
    }

    fn check_epoch(&mut self, node: usize) {
        let Some(process) = self.hosts[node].process.as_mut() else { return };
        let stamp = process.controller.stamp();
        let (epoch, lineage) = process.epoch;
        if stamp.epoch == epoch && stamp.lineage == lineage {
            return;
        }
        process.epoch = (stamp.epoch, stamp.lineage);
        self.trace.mix(stamp.epoch.version ^ u64::from(stamp.epoch.term.round) << 32);
        if stamp.epoch < epoch && stamp.lineage == lineage {
            let what = format!("n{} went from epoch {epoch} back to {}", node + 1, stamp.epoch);
            self.checker.broken(self.now, "S epochs grow", what);
        }
    }

    pub(super) fn arm(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let Some(process) = host.process.as_mut() else { return };
        let Some(due) = host.clock.moment(process.controller.next_timeout()) else { return };
        if due >= process.timer.0 {
            return;
        }
        let due = due.max(self.now + SHORTEST_SLEEP);
        let token = process.timer.1.wrapping_add(1);
        process.timer = (due, token);
        let late = self.scheduler();
        self.schedule_at(due + late, Event::Timer { node, token, due });
    }

    /// How late a thread wakes this time.
    pub(super) fn scheduler(&mut self) -> Nanos {
        if self.random.chance(self.ills.busy) {
            self.random.between(MILLI, 6 * MILLI)
        } else if self.random.chance(100) {
            self.random.below(MILLI)
        } else {
            self.random.below(100 * MICRO)
        }
    }

    pub(super) fn timer(&mut self, node: usize, token: u32, due: Nanos) {
        let host = &mut self.hosts[node];
        let Some(process) = host.process.as_mut() else { return };
        if process.timer.1 != token || host.paused.is_some() {
            return;
        }
        process.timer.0 = Nanos::MAX;
        let now = host.clock.local(self.now);
        if process.controller.next_timeout() <= now {
            let late = Duration::from_nanos(self.now - due);
            if late > process.lateness.0 || self.now > process.lateness.1 + LATENESS_MEMORY {
                process.lateness = (late, self.now);
                process.controller.handle(now, Input::Lateness(late));
            }
            if late > LATE {
                process.controller.handle(now, Input::Late { by: late });
            }
            process.controller.handle_timeout(now);
        }
        self.drain(node);
    }

    pub(super) fn deliver(&mut self, to: usize, bytes: &[u8], garbled: bool) {
        let Some(process) = self.hosts[to].process.as_mut() else { return };
        if garbled {
            // Sealed with the real key and then damaged: the seal must see it (P7).
            self.statistics.refused += 1;
            if self.key.open(bytes).is_ok() {
                self.checker.broken(
                    self.now,
                    "P7 nothing foreign",
                    "a garbled datagram was believed".to_owned(),
                );
            }
            return;
        }
        let datagram = match decode(bytes) {
            Ok(datagram) => datagram,
            Err(error) => {
                let what = format!("own datagram does not decode: {error:?}");
                self.checker.broken(self.now, "P7 codec", what);
                return;
            }
        };
        let header = datagram.header;
        let mine = header.to.is_none_or(|addressee| addressee == node_id(to));
        let mut fresh = || process.windows.accept(header.from, header.incarnation, header.sequence).is_ok();
        if header.from == node_id(to) || !mine || !fresh() {
            self.statistics.refused += 1;
            return;
        }
        self.statistics.received += 1;
        self.trace.mix(self.now ^ (to as u64) << 56 ^ header.sequence);
        self.feed(to, Input::Packet { header, packet: datagram.packet });
    }

    pub(super) fn boot(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if host.process.is_some() {
            return;
        }
        if !host.powered {
            host.powered = true;
            host.clock = new_clock(&self.plan, &mut self.random);
        }
        host.leaving = false;
        host.life += 1;
        let life = host.life;
        let identity = Identity {
            id: node_id(node),
            incarnation: host.next_incarnation(),
            record: host.disk.record.clone(),
            seed: self.random.number(),
        };
        self.fault_told(node, "starts");
        // Leftovers of an earlier life go before the controller is asked anything (design.md, section 5).
        self.drop_aliases(node, "leftover");
        let now = self.hosts[node].clock.local(self.now);
        let mut controller = Controller::new(self.config.clone(), identity, now);
        if let Some(planted) = self.planted {
            controller.plant(planted);
        }
        self.hosts[node].process = Some(Process::new(controller));
        let renewal = self.valid_lft() / 8;
        self.schedule(renewal, Event::FakerRenews { node, life });
        for (role, up) in LinkRole::ALL.into_iter().zip(self.hosts[node].carrier) {
            if !up {
                self.schedule(MICRO, Event::Carrier { node, life, role });
            }
        }
        self.drain(node);
    }

    /// Say how late it is, then drain what has arrived, then what has expired (D5).
    pub(super) fn resume(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let Some(since) = host.paused.take() else { return };
        host.last_silenced = self.now;
        let held = std::mem::take(&mut host.held);
        self.fault_told(node, "goes on");
        self.feed(node, Input::Late { by: Duration::from_nanos(self.now - since) });
        for event in held {
            self.happen(event);
        }
        if let Some(process) = self.hosts[node].process.as_mut() {
            process.timer.0 = Nanos::MAX;
            process.faker.alarm = None;
            let life = self.hosts[node].life;
            let late = self.random.below(200 * MICRO);
            self.schedule(late, Event::FakerWakes { node, life });
        }
        self.arm(node);
    }
}
