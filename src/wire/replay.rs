//! What was heard before is not heard again: a sliding window over each sender's sequence numbers, within
//! its newest life (as in RFC 4303, section 3.4.3). Owned by a receiving thread or by the driver; pure.
//!
//! ```text
//!   older: refused        window of 1,024: once each         newer: moves the window
//!  ------------------|------------------------------------|--------------------------> sequence
//!                    newest − 1,023                 newest
//! ```
//!
//! A receiver that has just started knows no sequences: what it takes then is held off by nonces, terms
//! and promises (E5, J1), as the protocol takes no packet's word for *when* it was said.

#[cfg(test)]
mod tests;

use crate::vocabulary::{Incarnation, NodeId};
use std::collections::BTreeMap;

/// Width of a window in packets: more than a controller of 64 nodes sends in one T over two links, so
/// that packets that overtake each other are no replay.
pub const WINDOW: u64 = 1024;
/// Most senders that are remembered: four times as many as a ring has members, so that members can come,
/// go and be renumbered. Only holders of the key are counted here.
pub const MAX_SENDERS: usize = 256;

const WORDS: usize = (WINDOW / 64) as usize;

/// Why an authentic packet is not new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stale {
    /// This sequence was taken already.
    Replayed,
    /// Behind the window: nobody knows.
    Old,
    /// From a life before the newest that was heard.
    EndedLife,
    /// From a new sender when [`MAX_SENDERS`] are known.
    Crowd,
}

/// What was heard from one sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayWindow {
    incarnation: Incarnation,
    newest: u64,
    /// A ring of bits: sequence `s` has bit `s % WINDOW`, of the `WINDOW` numbers up to `newest`.
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// A window that has taken this packet, the first of its sender.
    pub fn new(incarnation: Incarnation, sequence: u64) -> Self {
        let mut window = ReplayWindow { incarnation, newest: sequence, seen: [0; WORDS] };
        window.mark(sequence);
        window
    }

    /// Take this packet if it is new. A higher incarnation begins anew, at any sequence.
    ///
    /// # Errors
    /// Why not; the window is then as it was.
    pub fn accept(&mut self, incarnation: Incarnation, sequence: u64) -> Result<(), Stale> {
        if incarnation < self.incarnation {
            return Err(Stale::EndedLife);
        }
        if incarnation > self.incarnation {
            *self = ReplayWindow::new(incarnation, sequence);
            return Ok(());
        }
        if sequence > self.newest {
            self.advance(sequence);
        } else if self.newest - sequence >= WINDOW {
            return Err(Stale::Old);
        } else if self.is_marked(sequence) {
            return Err(Stale::Replayed);
        }
        self.mark(sequence);
        Ok(())
    }

    /// Move the window's end to `newest` and clear the bits of what came between.
    fn advance(&mut self, newest: u64) {
        if newest - self.newest >= WINDOW {
            self.seen = [0; WORDS];
        } else {
            for sequence in self.newest + 1..=newest {
                let (word, bit) = place(sequence);
                self.seen[word] &= !bit;
            }
        }
        self.newest = newest;
    }

    fn mark(&mut self, sequence: u64) {
        let (word, bit) = place(sequence);
        self.seen[word] |= bit;
    }

    fn is_marked(&self, sequence: u64) -> bool {
        let (word, bit) = place(sequence);
        self.seen[word] & bit != 0
    }
}

/// Word and bit of a sequence number.
fn place(sequence: u64) -> (usize, u64) {
    let at = sequence % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

/// What was heard from everybody.
#[derive(Debug, Clone, Default)]
pub struct ReplayWindows {
    senders: BTreeMap<NodeId, ReplayWindow>,
}

impl ReplayWindows {
    /// Nothing heard from anybody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Take this packet if it is new. Only for packets whose seal was right: without the key nobody fills
    /// this table or moves a window.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn accept(&mut self, from: NodeId, incarnation: Incarnation, sequence: u64) -> Result<(), Stale> {
        if let Some(window) = self.senders.get_mut(&from) {
            return window.accept(incarnation, sequence);
        }
        if self.senders.len() >= MAX_SENDERS {
            return Err(Stale::Crowd);
        }
        self.senders.insert(from, ReplayWindow::new(incarnation, sequence));
        Ok(())
    }
}
