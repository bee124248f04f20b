//! One file = one thread; together they are the world around the controller.
//!
//! ```text
//!   hello_receiver ─┐                                  ┌─▶ hello_sender ──▶ both links
//!   broadcast_list. ┤                                  ├─▶ faker ─────────▶ aliases, ARP and ND frames
//!   arp_listener ───┼─▶ driver ── the only owner of ───┼─▶ services ──────▶ start and stop commands
//!   link_monitor ───┤    ▲        the Controller       ├─▶ storage ───────▶ the record on the disk
//!   load ───────────┤    │                             │
//!   control ────────┘    └── answers of these four ◀───┘
//! ```
//! Channels are bounded; the reason stands beside each number. The driver never blocks, whoever waits for
//! it may. The threads on the right end when the driver has dropped its end of their channel, those on the
//! left when their bell rings; `daemon` joins them all. `mailbox`, `published` and `life_signs` are no threads:
//! what the threads say to each other, what they leave for each other to read, and what for the guardian.

use crate::controller::LocalFault;
use crate::os::sched;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

pub mod arp_listener;
pub mod broadcast_listener;
pub mod checks;
pub mod chronicle;
pub mod driver;
pub mod faker;
pub mod hello_receiver;
pub mod hello_sender;
pub mod http;
pub mod keeper;
pub mod life_signs;
pub mod link_monitor;
pub mod load;
pub mod log_writer;
pub mod mailbox;
pub mod notify;
pub mod published;
pub mod receipts;
pub mod services;
pub mod storage;

/// Stack of a thread in bytes: the deepest call (a snapshot for the control socket, an event in words)
/// needs less than a quarter.
const STACK: usize = 256 << 10;

/// How a thread is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// The faker drops aliases when the lease ends: nobody may keep it from that.
    Lease,
    /// Somebody's silence would be taken for death.
    Heartbeat,
    /// It may wait.
    Ordinary,
}

impl Urgency {
    /// SCHED_FIFO's priority: above ordinary daemons that use it (1), below the kernel's watchdogs (99).
    fn priority(self) -> Option<u8> {
        match self {
            Urgency::Lease => Some(52),
            Urgency::Heartbeat => Some(50),
            Urgency::Ordinary => None,
        }
    }
}

/// A failed send, as the controller knows it.
fn local_fault(error: &io::Error) -> LocalFault {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => LocalFault::Refused,
        Some(libc::ENETDOWN | libc::ENETUNREACH | libc::ENXIO | libc::ENODEV) => LocalFault::Down,
        Some(libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN) => LocalFault::Full,
        _ => LocalFault::Other,
    }
}

/// Starts a thread.
///
/// # Errors
/// No process or memory left.
pub fn start(
    name: &str,
    urgency: Urgency,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || {
        if let Some(priority) = urgency.priority() {
            sched::prefault_stack();
            let prepared = sched::exact_timers().and_then(|()| sched::realtime(priority));
            if let Err(error) = prepared {
                complain_once(&error);
            }
        }
        work();
    })
}

fn complain_once(error: &io::Error) {
    static COMPLAINED: AtomicBool = AtomicBool::new(false);
    if !COMPLAINED.swap(true, Ordering::Relaxed) {
        log::warn!("the heartbeat runs without real-time priority (SCHED_FIFO): {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_here_is_told_by_its_kind() {
        use LocalFault::{Down, Full, Other, Refused};
        for (fault, numbers) in [
            (Refused, &[libc::EPERM, libc::EACCES][..]),
            (Down, &[libc::ENETDOWN, libc::ENETUNREACH, libc::ENXIO, libc::ENODEV]),
            (Full, &[libc::ENOBUFS, libc::ENOMEM, libc::EAGAIN]),
            (Other, &[libc::EMFILE, libc::ENFILE, libc::EMSGSIZE, libc::EINVAL, libc::EIO]),
        ] {
            for &number in numbers {
                let error = io::Error::from_raw_os_error(number);
                assert_eq!(local_fault(&error), fault, "{error}");
            }
        }
        assert_eq!(local_fault(&io::Error::other("not the kernel's")), Other);
    }
}
