//! A doorbell (eventfd) and the wait for it together with sockets.
//!
//! A thread that waits for sockets cannot wait for a channel; whoever puts something into its channel
//! rings. Waiting in `ppoll` also costs the waiter nothing, where a channel's own wait spins first.

use super::clock;
use crate::vocabulary::Instant;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

/// Something to ring from any thread; clones ring the same bell.
#[derive(Debug, Clone)]
pub struct Doorbell(Arc<EventFd>);

impl Doorbell {
    /// A new bell, silent.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Doorbell(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Wakes the waiter, or lets its next wait return at once. Never blocks.
    pub fn ring(&self) {
        // EAGAIN means 2^64 - 2 rings unheard: the waiter is woken by those.
        let _ = self.0.write(1);
    }

    /// Forgets the rings so far.
    pub fn hush(&self) {
        // EAGAIN means that nobody rang.
        let _ = self.0.read();
    }

    /// Waits until somebody rings, or until the instant; true if somebody rang (and hushes).
    pub fn wait_until(&self, until: Instant) -> bool {
        match wait(&[self.as_fd()], until) {
            Ok(ready) if ready & 1 != 0 => {
                self.hush();
                true
            }
            _ => false,
        }
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of the descriptors (at most 16) can be read, or has failed, or the instant has come.
/// Bit i of the answer: descriptor i. 0: the instant has come, or a signal did.
///
/// # Errors
/// What `ppoll` says, except EINTR.
pub fn wait(descriptors: &[BorrowedFd<'_>], until: Instant) -> io::Result<u16> {
    const MOST: usize = 16;
    assert!(descriptors.len() <= MOST, "no thread waits for more than {MOST} descriptors");
    let mut polled = [libc::pollfd { fd: -1, events: 0, revents: 0 }; MOST];
    for (slot, descriptor) in polled.iter_mut().zip(descriptors) {
        *slot = asked(descriptor);
    }
    poll(&mut polled[..descriptors.len()], until)?;
    let ready = polled.iter().enumerate().filter(|(_, slot)| slot.revents != 0);
    Ok(ready.fold(0, |bits, (index, _)| bits | 1 << index))
}

/// The same for any number of descriptors: which of them are ready. For threads that may allocate.
///
/// # Errors
/// As `wait`.
pub fn wait_any(descriptors: &[BorrowedFd<'_>], until: Instant) -> io::Result<Vec<bool>> {
    let mut polled: Vec<libc::pollfd> = descriptors.iter().map(asked).collect();
    poll(&mut polled, until)?;
    Ok(polled.iter().map(|slot| slot.revents != 0).collect())
}

fn asked(descriptor: &BorrowedFd<'_>) -> libc::pollfd {
    libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 }
}

/// Nothing is ready when the instant has come, or a signal did.
fn poll(polled: &mut [libc::pollfd], until: Instant) -> io::Result<()> {
    let timeout = clock::timespec(until.since(clock::now()));
    let timeout = if until == Instant::MAX { std::ptr::null() } else { &raw const timeout };
    // SAFETY: pointer and length are those of `polled`, `timeout` is null or points to a timespec that
    // lives until after the call, and a null mask leaves the signal mask alone.
    let result =
        unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout, std::ptr::null()) };
    if result >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.kind() != io::ErrorKind::Interrupted {
        return Err(error);
    }
    // What the answers hold after a call that failed is not said anywhere.
    for slot in polled {
        slot.revents = 0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_ring_before_the_wait_is_heard_once() {
        let bell = Doorbell::new().expect("eventfd");
        bell.ring();
        bell.clone().ring();
        assert!(bell.wait_until(Instant::MAX));
        let until = clock::now() + Duration::from_millis(5);
        assert!(!bell.wait_until(until));
        assert!(clock::now() >= until);
    }

    #[test]
    fn a_ring_wakes_the_waiter() {
        let bell = Doorbell::new().expect("eventfd");
        let ringer = bell.clone();
        let thread = std::thread::spawn(move || {
            clock::sleep_until(clock::now() + Duration::from_millis(10));
            ringer.ring();
        });
        assert!(bell.wait_until(clock::now() + Duration::from_secs(20)));
        thread.join().expect("the ringer ends");
    }
}
