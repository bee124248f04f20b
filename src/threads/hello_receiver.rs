//! Thread `hello receiver`: datagrams to this node alone, on both links.
//!
//! `Ears` is what it shares with the broadcast listener: bytes → authentic → for this node → driver. The
//! replay windows stand behind, in the driver, because one sender's packets come through both threads.
//! Ends when its bell rings.

use super::driver::Told;
use super::mailbox::Sender;
use super::published::Published;
use crate::os::clock;
use crate::os::doorbell::{self, Doorbell};
use crate::os::udp::UdpSocket;
use crate::vocabulary::{Instant, NodeId};
use crate::wire::{Key, MAX_DATAGRAM, Reject};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Datagrams taken from one socket before the others get their turn.
const IN_A_ROW: u32 = 64;
/// How often a rejected datagram is worth a line in the log.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
/// A socket that fails is left alone so long: its failure would wake this thread without end.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// A receiving thread.
pub struct Ears {
    /// Who listens.
    pub me: NodeId,
    /// With what the others seal.
    pub key: Key,
    /// Where.
    pub sockets: Vec<Arc<UdpSocket>>,
    /// Who is told.
    pub driver: Sender<Told>,
    /// Counters.
    pub published: Arc<Published>,
    /// The end.
    pub bell: Doorbell,
}

impl Ears {
    /// Listens until the bell rings.
    pub fn run(self) {
        let mut buffer = vec![0; MAX_DATAGRAM + 1];
        let mut complained = Instant::ZERO;
        let mut descriptors: Vec<BorrowedFd<'_>> = vec![self.bell.as_fd()];
        descriptors.extend(self.sockets.iter().map(|socket| socket.as_fd()));
        loop {
            let ready = match doorbell::wait(&descriptors, Instant::MAX) {
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
                    self.empty(socket, &mut buffer, &mut complained);
                }
            }
        }
    }

    fn empty(&self, socket: &UdpSocket, buffer: &mut [u8], complained: &mut Instant) {
        for _ in 0..IN_A_ROW {
            match socket.receive(buffer) {
                Ok(Some((length, from))) => {
                    if let Err(reject) = self.hear(&buffer[..length]) {
                        self.published.counters.reject(reject);
                        let now = clock::now();
                        if now.since(*complained) > COMPLAINT_INTERVAL {
                            *complained = now;
                            log::warn!(
                                "threw away a datagram from {from}: {reject}; thrown away so far: {}",
                                self.published.counters.text()
                            );
                        }
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    log::debug!("a socket failed: {error}");
                    clock::sleep_until(clock::now() + FAILURE_PAUSE);
                    return;
                }
            }
        }
    }

    fn hear(&self, sealed: &[u8]) -> Result<(), Reject> {
        let datagram = self.key.open(sealed)?;
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
