//! Thread `hello receiver`: datagrams to this node alone, on both links.
//!
//! `Ears` is what it shares with the broadcast listener: bytes → authentic → for this node → driver. The
//! replay windows stand behind, in the driver, because one sender's packets come through both threads.
//! Ends when its bell rings.

use super::driver::Told;
use super::mailbox::Sender;
use super::published::Published;
use crate::os::clock;
use crate::os::doorbell::Doorbell;
use crate::os::readiness::Readiness;
use crate::os::udp::UdpSocket;
use crate::vocabulary::{Instant, NodeId};
use crate::wire::{MAX_DATAGRAM, Reject};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a rejected datagram is worth a line in the log.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
/// A socket that fails is left alone so long: its failure would wake this thread without end.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// A receiving thread.
pub struct Ears {
    /// Who listens.
    pub me: NodeId,
    /// Where.
    pub sockets: Vec<Arc<UdpSocket>>,
    /// Who is told.
    pub driver: Sender<Told>,
    /// Counters.
    pub published: Arc<Published>,
    /// The end: it is the first that `readiness` tells of, before the sockets.
    pub bell: Doorbell,
    /// When.
    pub readiness: Readiness,
}

impl Ears {
    /// What `readiness` has to be made of.
    pub fn descriptors<'a>(bell: &'a Doorbell, sockets: &'a [Arc<UdpSocket>]) -> Vec<BorrowedFd<'a>> {
        [bell.as_fd()].into_iter().chain(sockets.iter().map(|socket| socket.as_fd())).collect()
    }

    /// Listens until the bell rings.
    pub fn run(self) {
        let mut buffer = vec![0; MAX_DATAGRAM + 1];
        let mut complained = Instant::ZERO;
        loop {
            let ready = match self.readiness.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    log::error!("cannot wait for datagrams: {error}");
                    clock::sleep_until(clock::now() + FAILURE_PAUSE);
                    continue;
                }
            };
            if ready & 1 != 0 {
                return;
            }
            for (index, socket) in self.sockets.iter().enumerate() {
                if ready & (2 << index) != 0 {
                    self.take_one(socket, &mut buffer, &mut complained);
                }
            }
        }
    }

    /// One datagram, then the wait again: it says of all sockets at once whether there is more, where
    /// asking this one again would mostly find nothing.
    fn take_one(&self, socket: &UdpSocket, buffer: &mut [u8], complained: &mut Instant) {
        let (length, from) = match socket.receive(buffer) {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(error) => {
                log::debug!("a socket failed: {error}");
                return clock::sleep_until(clock::now() + FAILURE_PAUSE);
            }
        };
        let Err(reject) = self.hear(&buffer[..length]) else { return };
        let counters = &self.published.counters;
        counters.reject(reject);
        let now = clock::now();
        if now.since(*complained) > COMPLAINT_INTERVAL {
            *complained = now;
            let so_far = counters.text();
            log::warn!("threw away a datagram from {from}: {reject}; thrown away so far: {so_far}");
        }
    }

    fn hear(&self, sealed: &[u8]) -> Result<(), Reject> {
        let datagram = self.published.keys.read().open(sealed)?;
        let header = &datagram.header;
        // Own broadcasts come back; where a card has no address, unicast goes by broadcast.
        if header.from == self.me || header.to.is_some_and(|to| to != self.me) {
            return Ok(());
        }
        // Full: the driver is stuck or flooded; the protocol repeats what matters.
        if self.driver.offer(Told::Heard(Box::new(datagram))).is_err() {
            self.published.counters.unheard.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
