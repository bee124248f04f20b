//! What the threads say to each other: a bounded channel whose receiver sleeps in the kernel.
//!
//! `crossbeam_channel` holds the messages; waiting is done by a `Sleeper`, because the channel's own wait spins
//! before it sleeps, which at 100 packets a second costs more than the packets do.
//! Many senders, one receiver. Dropping the last sender closes the mailbox.

use crate::os::alarm::Alarm;
use crate::os::clock;
use crate::os::sleeper::Sleeper;
use crate::vocabulary::Instant;
use crossbeam_channel::{TryRecvError, TrySendError};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;

/// The sending end.
#[derive(Debug)]
pub struct Sender<T> {
    // An option only for `drop`: the channel must be closed before the receiver wakes.
    channel: Option<crossbeam_channel::Sender<T>>,
    receiver: Arc<Sleeper>,
}

/// The receiving end.
#[derive(Debug)]
pub struct Mailbox<T> {
    channel: crossbeam_channel::Receiver<T>,
    sleeper: Arc<Sleeper>,
}

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// A message.
    Message(T),
    /// The instant came first, or the alarm.
    Nothing,
    /// Every sender is gone and every message was taken.
    Closed,
}

/// A mailbox for at most `capacity` messages.
pub fn mailbox<T>(capacity: usize) -> (Sender<T>, Mailbox<T>) {
    mailbox_of(capacity, Sleeper::default())
}

/// One whose receiver wakes for this alarm as well, as if the instant for which it waits had come.
///
/// # Errors
/// No descriptor left.
pub fn mailbox_by<T>(capacity: usize, alarm: Alarm) -> io::Result<(Sender<T>, Mailbox<T>)> {
    Ok(mailbox_of(capacity, Sleeper::by(alarm)?))
}

fn mailbox_of<T>(capacity: usize, sleeper: Sleeper) -> (Sender<T>, Mailbox<T>) {
    let (sender, channel) = crossbeam_channel::bounded(capacity);
    let sleeper = Arc::new(sleeper);
    (Sender { channel: Some(sender), receiver: sleeper.clone() }, Mailbox { channel, sleeper })
}

impl<T> Sender<T> {
    /// Puts a message in without blocking.
    ///
    /// # Errors
    /// Full, or nobody receives any more: the message comes back.
    pub fn offer(&self, message: T) -> Result<(), T> {
        self.channel().try_send(message).map_err(TrySendError::into_inner)?;
        self.receiver.wake();
        Ok(())
    }

    /// Puts a message in; waits while the mailbox is full. False: nobody receives any more.
    pub fn send(&self, message: T) -> bool {
        let Err(message) = self.offer(message) else { return true };
        let sent = self.channel().send(message).is_ok();
        self.receiver.wake();
        sent
    }

    fn channel(&self) -> &crossbeam_channel::Sender<T> {
        self.channel.as_ref().expect("there until it is dropped")
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { channel: self.channel.clone(), receiver: self.receiver.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.channel = None;
        self.receiver.wake();
    }
}

impl<T> Mailbox<T> {
    /// The next message; waits for it until the instant.
    pub fn receive_until(&self, until: Instant) -> Received<T> {
        loop {
            match self.take() {
                Received::Nothing => {}
                other => return other,
            }
            self.sleeper.lie_down();
            // Whoever put something in, or closed, before it could see that is seen here.
            let alarmed = match self.take() {
                Received::Nothing => self.sleeper.sleep_until(until),
                other => {
                    self.sleeper.stay_up();
                    return other;
                }
            };
            if alarmed || clock::now() >= until {
                return self.take();
            }
        }
    }

    /// The next message, if one is there.
    pub fn take(&self) -> Received<T> {
        match self.channel.try_recv() {
            Ok(message) => Received::Message(message),
            Err(TryRecvError::Empty) => Received::Nothing,
            Err(TryRecvError::Disconnected) => Received::Closed,
        }
    }
}

/// A place for one order that the next one replaces: for what only the newest counts of.
#[derive(Debug)]
pub struct Latest<T> {
    slot: Arc<Mutex<T>>,
    sender: Sender<()>,
}

/// The other end of `Latest`.
#[derive(Debug)]
pub struct LatestMailbox<T> {
    slot: Arc<Mutex<T>>,
    rung: Mailbox<()>,
}

/// A place and its reader. `T::default()` is «no order».
pub fn latest<T: Default>() -> (Latest<T>, LatestMailbox<T>) {
    // One ring says that there is something, however often it was replaced.
    let (sender, rung) = mailbox(1);
    let slot = Arc::new(Mutex::new(T::default()));
    (Latest { slot: slot.clone(), sender }, LatestMailbox { slot, rung })
}

impl<T> Latest<T> {
    /// Changes what waits. Never blocks beyond the copy of a value.
    pub fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.slot.lock());
        // Full: a ring is under way, and its reader will find the newest.
        let _ = self.sender.offer(());
    }
}

impl<T: Default> LatestMailbox<T> {
    /// What waits, as soon as something does; `None` when nobody can order any more.
    pub fn receive(&self) -> Option<T> {
        match self.rung.receive_until(Instant::MAX) {
            Received::Message(()) => Some(std::mem::take(&mut *self.slot.lock())),
            Received::Nothing | Received::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn nothing_is_lost_between_threads() {
        let (sender, mailbox) = mailbox(4);
        let senders: Vec<_> = (0..3_u32)
            .map(|thread| {
                let sender = sender.clone();
                std::thread::spawn(move || (0..2_000).all(|number| sender.send((thread, number))))
            })
            .collect();
        drop(sender);
        let mut next = [0; 3];
        loop {
            match mailbox.receive_until(clock::now() + Duration::from_secs(20)) {
                Received::Message((thread, number)) => {
                    assert_eq!(number, next[thread as usize], "in order");
                    next[thread as usize] += 1;
                }
                Received::Closed => break,
                Received::Nothing => panic!("a message was lost"),
            }
        }
        assert_eq!(next, [2_000; 3]);
        assert!(senders.into_iter().all(|thread| thread.join().expect("ends")));
    }

    #[test]
    fn a_full_mailbox_refuses_and_a_closed_one_says_so() {
        let (sender, mailbox) = mailbox(1);
        assert_eq!(sender.offer(1), Ok(()));
        assert_eq!(sender.offer(2), Err(2));
        assert_eq!(mailbox.receive_until(Instant::MAX), Received::Message(1));
        let until = clock::now() + Duration::from_millis(5);
        assert_eq!(mailbox.receive_until(until), Received::Nothing);
        assert!(clock::now() >= until);
        let closer = std::thread::spawn(move || drop(sender));
        assert_eq!(mailbox.receive_until(Instant::MAX), Received::Closed);
        closer.join().expect("ends");
    }

    #[test]
    fn the_newest_order_replaces_and_the_end_is_seen() {
        let (place, reader) = latest::<Option<u32>>();
        for number in 0..10 {
            place.change(|slot| *slot = Some(number));
        }
        assert_eq!(reader.receive(), Some(Some(9)));
        let writer = std::thread::spawn(move || place.change(|slot| *slot = Some(10)));
        assert_eq!(reader.receive(), Some(Some(10)));
        writer.join().expect("ends");
        assert_eq!(reader.receive(), None);
    }
}
