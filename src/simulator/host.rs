//! One simulated machine: its kernel, its disk, its clock, and the daemon's process that comes and goes.
//! Owned by the world, which moves time.

use super::clock::{Clock, Nanos};
use super::world::Event;
use crate::controller::{Controller, LocalFault, Record, Wanted};
use crate::vocabulary::{Epoch, Incarnation, ServiceId};
use crate::wire::ReplayWindows;
use std::collections::VecDeque;
use std::time::Duration;

/// Datagrams that wait in the sockets of a stopped process; the kernel drops those that come later.
pub const SOCKET_BUFFER: usize = 600;

/// A machine.
pub struct Host {
    /// Its clock in this boot.
    pub clock: Clock,
    /// Off: no kernel, no process.
    pub powered: bool,
    /// Addresses in the kernel, in the order of `ServiceId`.
    pub aliases: Vec<Alias>,
    /// What survives.
    pub disk: Disk,
    /// The daemon, while it lives.
    pub process: Option<Process>,
    /// Grows with every start of the daemon: events of an earlier life are void.
    pub life: u32,
    /// Since when the process is stopped (SIGSTOP, hypervisor).
    pub paused: Option<Nanos>,
    /// When the process was last stopped, or died, with its addresses up.
    pub last_silenced: Nanos,
    /// What waits for a stopped process.
    pub held: VecDeque<Event>,
    /// Carrier of both links, as the process would read it at its start.
    pub carrier: [bool; 2],
    /// It was told to leave and comes back later.
    pub leaving: bool,
    /// What its daemon sends on each link fails, and why.
    pub refuses: [Option<LocalFault>; 2],
    /// Its kernel does not take this address until then.
    pub no_room: Option<(ServiceId, Nanos)>,
}

/// One service's address in the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Alias {
    /// Which.
    pub service: ServiceId,
    /// When it came up.
    pub since: Nanos,
    /// When the kernel drops it by itself.
    pub ends: Nanos,
}

/// What survives a power cut.
#[derive(Debug, Default)]
pub struct Disk {
    /// The newest record that was written.
    pub record: Option<Record>,
    /// The newest life.
    pub incarnation: u64,
}

/// The daemon: the controller and what its worker threads have in hand.
pub struct Process {
    /// The real one.
    pub controller: Controller,
    /// The real ones.
    pub windows: ReplayWindows,
    /// Of the last datagram.
    pub sequence: u64,
    /// The life in which it was sent.
    pub spoken: Option<Incarnation>,
    /// When the armed timer fires, and its token: an older timer is void.
    pub timer: (Nanos, u32),
    /// The faker thread.
    pub faker: Faker,
    /// The writer: at work, and what waits.
    pub writing: Option<(Record, u64)>,
    /// The newest record that waits for the one at work.
    pub waiting: Option<(Record, u64)>,
    /// The newest committed epoch and its lineage, to see that it only grows.
    pub epoch: (Epoch, u64),
    /// Worst lateness reported, and when it was seen.
    pub lateness: (Duration, Nanos),
    /// Addresses probed lately: their announcements are of interest.
    pub looked: Vec<Looked>,
}

/// Probes for one address, one soon after the other.
#[derive(Debug, Clone, Copy)]
pub struct Looked {
    /// Whose.
    pub service: ServiceId,
    /// The first of them.
    pub since: Nanos,
    /// The newest.
    pub last: Nanos,
    /// When the controller heard last that a stranger has it.
    pub answered: Option<Nanos>,
}

/// The wanted set of addresses and the kernel's: the faker makes one the other.
#[derive(Debug, Default)]
pub struct Faker {
    /// What should be up.
    pub wanted: Wanted,
    /// What was announced as it came up, since the last report.
    pub announced: Vec<ServiceId>,
    /// A system call is under way.
    pub busy: bool,
    /// It does nothing that it is asked for before. (What has to go goes all the same: a machine that is late for that is
    /// what the margin of L8 is for.)
    pub stalled_until: Nanos,
    /// Probes for these left late: none comes up before.
    pub doubted: Vec<(ServiceId, Nanos)>,
    /// Not up yet, and when they were ordered.
    pub coming: Vec<(ServiceId, Nanos)>,
    /// After a call that failed: no other attempt before.
    pub retry_at: Nanos,
    /// The kernel does not take this one: no other attempt before.
    pub later: Option<(ServiceId, Nanos)>,
    /// Reports keep their order, however slow one is.
    pub last_report: Nanos,
    /// A wake-up for `until` is in the queue, for this moment.
    pub alarm: Option<Nanos>,
    /// Others' hands took these away, and it has not looked since.
    pub tampered: Vec<ServiceId>,
    /// Since when it had what those took away: put back, it has it as before.
    pub had_since: Vec<(ServiceId, Nanos)>,
}

impl Host {
    /// A machine that was never switched on.
    pub fn new(clock: Clock) -> Self {
        Host {
            clock,
            powered: true,
            aliases: Vec::new(),
            disk: Disk::default(),
            process: None,
            life: 0,
            paused: None,
            last_silenced: 0,
            held: VecDeque::new(),
            carrier: [true; 2],
            leaving: false,
            refuses: [None; 2],
            no_room: None,
        }
    }

    /// Does the kernel answer for this address?
    pub fn has(&self, service: ServiceId) -> bool {
        self.alias(service).is_some()
    }

    /// Its address, if the kernel has it.
    pub fn alias(&self, service: ServiceId) -> Option<&Alias> {
        self.aliases.iter().find(|alias| alias.service == service)
    }

    /// Is the process there and running?
    pub fn runs(&self) -> bool {
        self.process.is_some() && self.paused.is_none()
    }

    /// The next life's number, written before it begins.
    pub fn next_incarnation(&mut self) -> Incarnation {
        self.disk.incarnation += 1;
        Incarnation(self.disk.incarnation)
    }
}

impl Process {
    /// A daemon that has just started.
    pub fn new(controller: Controller) -> Self {
        Process {
            controller,
            windows: ReplayWindows::new(),
            sequence: 0,
            spoken: None,
            timer: (Nanos::MAX, 0),
            faker: Faker::default(),
            writing: None,
            waiting: None,
            epoch: (Epoch::NONE, 0),
            lateness: (Duration::ZERO, 0),
            looked: Vec::new(),
        }
    }
}
