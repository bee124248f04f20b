//! The guardian of a daemon: what it does when its worker is dead, or hangs. It outlives every worker, and
//! ends with the machine's power or with all processes at once (then the kernel's lifetimes are all there is).

use super::{Event, World};
use crate::simulator::clock::{MICRO, MILLI, Nanos};
use crate::simulator::network::lan;
use crate::simulator::plan::node_id;
use crate::vocabulary::{Epoch, Incarnation, LinkRole};
use crate::wire::{Datagram, Header, Packet, WINDOW, encode};
use std::rc::Rc;

/// LEAVE again so long after the one before.
const AGAIN: [Nanos; 3] = [3 * MILLI, 12 * MILLI, 35 * MILLI];
const COPIES: u32 = 2;
/// An alias that cannot be removed is tried again after this.
const TRY_AGAIN: Nanos = 20 * MILLI;
/// The first pause before another worker.
const PAUSE: Nanos = 100 * MILLI;

/// For whom the last word is said.
#[derive(Debug, Clone, Copy)]
pub struct Dead {
    /// The life that spoke last.
    pub incarnation: Incarnation,
    /// The next sequence to be used.
    pub sequence: u64,
    /// How often it was said.
    pub said: usize,
}

impl World {
    /// The worker alone dies; its guardian acts within milliseconds, and starts another one.
    pub(super) fn worker_dies(&mut self, node: usize) {
        let Some(process) = self.hosts[node].process.as_ref() else { return };
        // Beyond everything that is still under way, which nobody believes from then on.
        let sequence = process.sequence + WINDOW;
        let dead = process.spoken.map(|incarnation| Dead { incarnation, sequence, said: 0 });
        self.fault_told(node, "worker dies");
        self.end_process(node);
        let prompt = self.random.chance(900);
        let after = self.random.between(200 * MICRO, if prompt { 5 * MILLI } else { 60 * MILLI });
        let life = self.hosts[node].life;
        self.schedule(after, Event::GuardianActs { node, life, dead });
        let pause = PAUSE + self.lasts();
        self.schedule(after + pause, Event::Boot { node });
    }

    /// The worker alone is stopped, and its guardian sees that it hangs.
    pub(super) fn worker_hangs(&mut self, node: usize) {
        let life = self.hosts[node].life;
        let since = self.now;
        let found = self.random.between(500, 850) * MILLI;
        self.schedule(found, Event::GuardianKills { node, life, since });
    }

    pub(super) fn guardian_kills(&mut self, node: usize, life: u32, since: Nanos) {
        let host = &self.hosts[node];
        if host.life == life && host.process.is_some() && host.paused == Some(since) {
            self.worker_dies(node);
        }
    }

    /// P1: first the aliases, then the word.
    pub(super) fn guardian_acts(&mut self, node: usize, life: u32, dead: Option<Dead>) {
        let host = &self.hosts[node];
        if host.life != life || !host.powered {
            return;
        }
        if dead.is_none_or(|dead| dead.said == 0) {
            if self.random.chance(self.ills.alias_fails) {
                return self.schedule(TRY_AGAIN, Event::GuardianActs { node, life, dead });
            }
            self.drop_aliases(node, "guardian");
        }
        let Some(mut dead) = dead else { return };
        for _ in 0..COPIES {
            for link in LinkRole::ALL {
                self.goodbye(node, &dead, link);
                dead.sequence += 1;
            }
        }
        if let Some(&after) = AGAIN.get(dead.said) {
            dead.said += 1;
            self.schedule(after, Event::GuardianActs { node, life, dead: Some(dead) });
        }
    }

    fn goodbye(&mut self, node: usize, dead: &Dead, link: LinkRole) {
        if self.hosts[node].refuses[lan(link)].is_some() {
            return;
        }
        let Dead { incarnation, sequence, .. } = *dead;
        let from = node_id(node);
        let header = Header { from, to: None, incarnation, sequence, link, epoch: Epoch::NONE, lineage: 0 };
        encode(&Datagram { header, packet: Packet::Leave { incarnation } }, &mut self.buffer);
        let bytes: Rc<[u8]> = Rc::from(self.buffer.as_slice());
        self.statistics.sent += 1;
        for other in (0..self.hosts.len()).filter(|other| *other != node) {
            self.transmit(node, other, link, &bytes);
        }
    }
}
