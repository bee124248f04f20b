//! What can happen, and the order of the queue: earliest first, then as scheduled. Pure values.

use super::guardian::Dead;
use super::neighbours::Probe;
use crate::controller::{Action, LocalFault, Tampering};
use crate::simulator::clock::Nanos;
use crate::simulator::plan::Class;
use crate::vocabulary::{LinkRole, ServiceId};
use std::cmp::Ordering;
use std::rc::Rc;

/// Something that will happen at a moment. A number after the node is the life it belongs to.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Event {
    /// A datagram arrives.
    Deliver { to: usize, bytes: Rc<[u8]>, garbled: bool },
    /// The controller wants to be called.
    Timer { node: usize, token: u32, due: Nanos },
    /// The faker's system call returns.
    FakerDone { node: usize, life: u32 },
    /// The faker wakes: the lease ends, or a call is tried again.
    FakerWakes { node: usize, life: u32 },
    /// The faker renews the lifetimes in the kernel (F1).
    FakerRenews { node: usize, life: u32 },
    /// The faker's report arrives.
    Present { node: usize, life: u32, answers: u64, services: Vec<ServiceId>, announced: Vec<ServiceId> },
    /// A lifetime in the kernel may have ended.
    KernelDrops { node: usize },
    /// The writer is done with what it has in hand.
    Written { node: usize, life: u32 },
    /// A command ended.
    Ran { node: usize, life: u32, service: ServiceId, action: Action, token: u64, ok: bool },
    /// An ARP probe arrives.
    Asked { node: usize, by: usize, service: ServiceId },
    /// An ARP answer or announcement arrives.
    Claimed { node: usize, by: usize, service: ServiceId },
    /// The arbiter's answer arrives.
    ArbiterAnswers { node: usize, life: u32 },
    /// A link's carrier has changed: the process is told how it is now.
    Carrier { node: usize, life: u32, role: LinkRole },
    /// A send failed on this machine.
    SendFailed { node: usize, life: u32, role: LinkRole, fault: LocalFault },
    /// A probe leaves late.
    ProbeLeaves { node: usize, life: u32, probe: Probe },
    /// The faker found that others' hands were at an address: told behind its report.
    Tampered { node: usize, life: u32, service: ServiceId, how: Tampering },
    /// Others' hands take an address away, this time and so many more times.
    Hands { node: usize, service: ServiceId, more: u64, every: Nanos },
    /// A machine is switched on, or its daemon started.
    Boot { node: usize },
    /// A stopped process goes on.
    Resume { node: usize },
    /// The guardian sees to a dead worker's aliases, and says goodbye for it.
    GuardianActs { node: usize, life: u32, dead: Option<Dead> },
    /// The guardian ends a worker that has been stopped since then.
    GuardianKills { node: usize, life: u32, since: Nanos },
    /// P1 again: an excuse has run out.
    Judge { service: ServiceId },
    /// P2 again, every few milliseconds.
    JudgeHolders,
    /// The next fault of a class.
    Fault { class: Class, every: Nanos },
    /// A fault of the script that is played.
    Cue { number: usize },
    /// The end of a fault.
    Mend(Mend),
}

/// What ends a fault.
#[derive(Debug, Clone)]
pub enum Mend {
    /// All in one group again.
    Whole(LinkRole),
    /// In these groups from now on.
    Apart(LinkRole, Rc<[u8]>),
    /// This port is good again.
    Port(LinkRole, usize),
    /// The checks of this node are well again.
    Checks(usize),
    /// The arbiter is back, on the side of a cut where it was.
    Arbiter,
    /// This pair hears each other again.
    Pair(LinkRole, usize, usize),
    /// These groups hear each other again.
    Isolation(LinkRole, Rc<[u8]>),
    /// What this node sends there leaves again.
    Sends(LinkRole, usize),
    /// The stranger gives this address up.
    Stranger(ServiceId),
}

/// An event in the queue.
pub struct Entry {
    /// When.
    pub at: Nanos,
    /// Among those of one moment, in the order in which they were scheduled.
    pub order: u64,
    /// What.
    pub event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The earliest is the greatest: the heap gives it first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}
