//! What happens to a cluster in `lab chaos`: one word for each kind of fault, and what is promised of it.

use crate::world::{Direction, Lan, WireFault};
use std::fmt;
use std::time::Duration;

/// One fault. Servers and services are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Both switch ports of the server at one moment; it boots at the end.
    PowerCut(usize),
    /// SIGKILL of the worker; at the end the init system looks after it.
    KillWorker(usize),
    /// SIGKILL of the guardian.
    KillGuardian(usize),
    /// SIGKILL of all of the daemon's processes.
    KillWhole(usize),
    /// SIGSTOP of the worker, SIGCONT at the end.
    StopWorker(usize),
    /// SIGSTOP of all of the daemon's processes.
    StopWhole(usize),
    /// SIGSTOP of everything that runs on the server, the web server too.
    StopEverything(usize),
    /// The wire of a server, one LAN.
    Cut(usize, Lan, Direction),
    /// Both wires of a server.
    CutBoth(usize, Direction),
    /// The switch port of a server's external wire goes down: its card sees that.
    CarrierLost(usize),
    /// What goes between two servers, on both LANs (`None`) or one; the flag: in one direction only.
    Pair(usize, usize, Option<Lan>, bool),
    /// Packet loss on a server's wire, or on all of a LAN.
    Loss(Option<usize>, Lan, u8),
    /// So many processes for each core want the processor.
    Busy(usize),
    /// The server's firewall refuses what its daemon sends.
    SendsFail(usize),
    /// A service's address is deleted by hand where it is.
    AliasDeleted(usize),
    /// The daemon is stopped in order, and started at the end.
    Restart(usize),
    /// HUP.
    Reload(usize),
}

/// Faults of which the same is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Both ports closed.
    PowerCut,
    /// SIGKILL.
    Killed,
    /// SIGSTOP of the daemon.
    Stopped,
    /// SIGSTOP of daemon and web server.
    Frozen,
    /// A server hears no other and is heard by none.
    CutOff,
    /// A server is half of that: one direction, one LAN, UDP alone.
    HalfCut,
    /// The external wire, and the card does not see it.
    Unseen,
    /// The external wire, and the card sees it.
    Carrier,
    /// One path.
    Path,
    /// Packets lost.
    Loss,
    /// No processor left.
    Busy,
    /// Address deleted.
    Deleted,
    /// Orderly.
    Orderly,
    /// Nothing has happened.
    Nothing,
}

impl Class {
    /// The order of tables.
    pub const ALL: [Class; 14] = [
        Class::PowerCut,
        Class::Killed,
        Class::Stopped,
        Class::Frozen,
        Class::CutOff,
        Class::HalfCut,
        Class::Unseen,
        Class::Carrier,
        Class::Path,
        Class::Loss,
        Class::Busy,
        Class::Deleted,
        Class::Orderly,
        Class::Nothing,
    ];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Class::PowerCut => "power cut",
            Class::Killed => "SIGKILL of the daemon",
            Class::Stopped => "SIGSTOP of the daemon",
            Class::Frozen => "SIGSTOP of the server",
            Class::CutOff => "both wires cut",
            Class::HalfCut => "half cut, sends refused",
            Class::Unseen => "external wire cut unseen",
            Class::Carrier => "external carrier lost",
            Class::Path => "one path cut",
            Class::Loss => "packet loss",
            Class::Busy => "cores saturated",
            Class::Deleted => "address deleted",
            Class::Orderly => "stop, start, reload",
            Class::Nothing => "(no fault)",
        }
    }

    /// How long a client may get no answer because of such a fault that lasts `length`, without `NOISE`.
    /// T is `interval`.
    pub fn promised(self, interval: Duration, length: Duration) -> Duration {
        match self {
            // P3: noticed and taken over within 2.2 T, the controller's death included.
            Class::PowerCut | Class::CutOff => interval * 11 / 5,
            // The old kernel answers until its lifetime is over, the new holder takes 0.1 s after that,
            // and wants its last 16 probes (p/2 apart) unanswered: 600 ms in all.
            Class::Stopped => Duration::from_millis(600),
            // Started again before that, it clears what its earlier life left; whoever looks is latched for a
            // lifetime from when it heard the new life.
            Class::Killed if length > Duration::ZERO && length < VALID_LFT => {
                VALID_LFT + Duration::from_millis(600)
            }
            Class::Killed => Duration::from_millis(600),
            // The kernel answers the look, the web server answers nobody: the lifetime on top.
            Class::Frozen => VALID_LFT + Duration::from_millis(600),
            // Its leases run out and the others take over (2.2 T); if it had the office, it is first
            // noticed that it leads nobody (three promises, and one for each that stands before: 1.6 T each).
            // A member that is heard and hears nothing declines its services after 5 s.
            Class::HalfCut => Duration::from_secs(5) + interval * 11 / 5 + interval * 13,
            // Its card is up, its neighbours hear it on the internal LAN: nothing tells it that clients do not.
            Class::Unseen => length,
            // Told by the kernel: 10 ms (P3).
            Class::Carrier => Duration::from_millis(10),
            // A root that needs relays is given up, and a lease is asked for by way of others.
            Class::Path => interval * 11 / 5,
            // The client's own questions are lost as well; a takeover by loss alone is P6's affair.
            Class::Loss => interval,
            // The daemons have real-time priority, the kernel's work for the packets has not.
            Class::Busy => interval,
            // Seen by netlink, put back by the next comparison (T).
            Class::Deleted => interval * 2,
            // P5: nothing is lost. A stopped daemon hands over first.
            Class::Orderly | Class::Nothing => Duration::ZERO,
        }
    }

    /// How long after its end a fault of the class may still cost an outage of its own: what it began goes
    /// on (a kernel's lifetime, a look, a boot), what follows is planned and loses nothing (P5).
    pub fn aftermath(self) -> Duration {
        match self {
            Class::Killed | Class::Stopped | Class::Frozen => VALID_LFT + Duration::from_secs(1),
            Class::PowerCut | Class::CutOff | Class::HalfCut => Duration::from_secs(1),
            _ => Duration::from_millis(500),
        }
    }
}

/// The kernel's lifetime of an alias, as configured by default.
pub const VALID_LFT: Duration = Duration::from_secs(2);
/// What the lab's machine may add to any outage: five servers, their clients and the faults share two cores.
pub const NOISE: Duration = Duration::from_millis(300);

impl Fault {
    /// What is promised of it.
    pub fn class(&self) -> Class {
        match self {
            Fault::PowerCut(_) => Class::PowerCut,
            Fault::KillWorker(_) | Fault::KillGuardian(_) | Fault::KillWhole(_) => Class::Killed,
            Fault::StopWorker(_) | Fault::StopWhole(_) => Class::Stopped,
            Fault::StopEverything(_) => Class::Frozen,
            Fault::Cut(_, Lan::External, _) => Class::Unseen,
            Fault::CutBoth(_, Direction::Both) => Class::CutOff,
            Fault::Cut(..) | Fault::CutBoth(..) | Fault::SendsFail(_) => Class::HalfCut,
            Fault::CarrierLost(_) => Class::Carrier,
            Fault::Pair(..) => Class::Path,
            Fault::Loss(..) => Class::Loss,
            Fault::Busy(_) => Class::Busy,
            Fault::AliasDeleted(_) => Class::Deleted,
            Fault::Restart(_) | Fault::Reload(_) => Class::Orderly,
        }
    }

    /// The server that it happens to, if it happens to one.
    pub fn node(&self) -> Option<usize> {
        match *self {
            Fault::PowerCut(node)
            | Fault::KillWorker(node)
            | Fault::KillGuardian(node)
            | Fault::KillWhole(node)
            | Fault::StopWorker(node)
            | Fault::StopWhole(node)
            | Fault::StopEverything(node)
            | Fault::Cut(node, ..)
            | Fault::CutBoth(node, _)
            | Fault::CarrierLost(node)
            | Fault::Pair(node, ..)
            | Fault::SendsFail(node)
            | Fault::Restart(node)
            | Fault::Reload(node) => Some(node),
            Fault::Loss(node, ..) => node,
            Fault::Busy(_) | Fault::AliasDeleted(_) => None,
        }
    }

    /// The server may be no help to the others meanwhile.
    pub fn disables(&self) -> bool {
        !matches!(self, Fault::Loss(..) | Fault::Busy(_) | Fault::AliasDeleted(_) | Fault::Reload(_))
    }

    /// It leaves a kernel that answers for an address whose daemon cannot take it away.
    pub fn leaves_a_kernel(&self) -> bool {
        matches!(self.class(), Class::Killed | Class::Stopped | Class::Frozen)
    }

    /// It keeps somebody's look from hearing all that answer on the external LAN.
    pub fn blinds_the_look(&self) -> bool {
        match self {
            Fault::Cut(_, lan, _) | Fault::Loss(_, lan, _) => *lan == Lan::External,
            Fault::Pair(_, _, lan, _) => *lan != Some(Lan::Internal),
            Fault::CutBoth(..) | Fault::CarrierLost(_) => true,
            _ => false,
        }
    }

    /// What the switches drop while it lasts.
    pub fn wires(&self) -> Vec<WireFault> {
        match *self {
            Fault::Cut(node, lan, direction) => vec![WireFault::Port { node, lan, direction }],
            Fault::CutBoth(node, direction) => {
                Lan::ALL.map(|lan| WireFault::Port { node, lan, direction }).to_vec()
            }
            Fault::Pair(one, other, lan, one_way) => {
                let lans = lan.map_or(Lan::ALL.to_vec(), |lan| vec![lan]);
                let there = lans.iter().map(|lan| WireFault::Path { from: one, to: other, lan: *lan });
                let back = lans.iter().map(|lan| WireFault::Path { from: other, to: one, lan: *lan });
                there.chain(back.filter(|_| !one_way)).collect()
            }
            Fault::Loss(node, lan, percent) => vec![WireFault::Loss { node, lan, percent }],
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let web = |node: usize| format!("web{}", node + 1);
        let way = |direction: Direction| match direction {
            Direction::Both => "",
            Direction::In => ", incoming",
            Direction::Out => ", outgoing",
        };
        let text = match *self {
            Fault::PowerCut(node) => format!("power cut of {}", web(node)),
            Fault::KillWorker(node) => format!("SIGKILL of the worker on {}", web(node)),
            Fault::KillGuardian(node) => format!("SIGKILL of the guardian on {}", web(node)),
            Fault::KillWhole(node) => format!("SIGKILL of all of diehardd on {}", web(node)),
            Fault::StopWorker(node) => format!("SIGSTOP of the worker on {}", web(node)),
            Fault::StopWhole(node) => format!("SIGSTOP of all of diehardd on {}", web(node)),
            Fault::StopEverything(node) => format!("SIGSTOP of everything on {}", web(node)),
            Fault::Cut(node, lan, direction) => format!("{lan} wire of {} cut{}", web(node), way(direction)),
            Fault::CutBoth(node, direction) => format!("both wires of {} cut{}", web(node), way(direction)),
            Fault::CarrierLost(node) => format!("external carrier of {} lost", web(node)),
            Fault::Pair(one, other, lan, one_way) => {
                let lan = lan.map_or("both LANs".to_owned(), |lan| format!("the {lan} LAN"));
                let arrow = if one_way { "to" } else { "and" };
                format!("path cut between {} {arrow} {} on {lan}", web(one), web(other))
            }
            Fault::Loss(node, lan, percent) => {
                let whose = node.map_or("everybody".to_owned(), web);
                format!("{percent} % loss on the {lan} LAN for {whose}")
            }
            Fault::Busy(count) => format!("{count} busy processes on each core"),
            Fault::SendsFail(node) => format!("the firewall of {} refuses what its daemon sends", web(node)),
            Fault::AliasDeleted(service) => format!("the address of www{} is deleted by hand", service + 1),
            Fault::Restart(node) => format!("orderly stop of {}", web(node)),
            Fault::Reload(node) => format!("reload on {}", web(node)),
        };
        formatter.write_str(&text)
    }
}
