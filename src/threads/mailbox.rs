//! What the threads say to each other: a bounded queue whose receiver sleeps in the kernel.
//!
//! No channel of `crossbeam_channel`: its wait spins before it sleeps, which at 100 packets a second costs more than the packets
//! do; and its receiver spins for as long as a sender that has taken its place in the queue has not filled it. Where that one
//! is preempted, a heartbeat thread of SCHED_FIFO would spin on the very processor that it needs. So the queue has a mutex
//! that inherits priority, and waiting is done by a `Sleeper`.
//! Many senders, one receiver. Dropping the last sender closes the mailbox.

use crate::os::alarm::Alarm;
use crate::os::clock;
use crate::os::inheriting::Inheriting;
use crate::os::sleeper::Sleeper;
use crate::vocabulary::Instant;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Who has to wait for room looks so often: it is rare, and nobody in a hurry waits.
const ROOM_LOOK: Duration = Duration::from_millis(1);

/// The sending end.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The receiving end.
#[derive(Debug)]
pub struct Mailbox<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    queue: Inheriting<Queue<T>>,
    receiver: Sleeper,
}

struct Queue<T> {
    messages: VecDeque<T>,
    capacity: usize,
    senders: usize,
    received: bool,
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

fn mailbox_of<T>(capacity: usize, receiver: Sleeper) -> (Sender<T>, Mailbox<T>) {
    // All room at once: nobody allocates while others wait.
    let messages = VecDeque::with_capacity(capacity);
    let queue = Inheriting::new(Queue { messages, capacity, senders: 1, received: true });
    let shared = Arc::new(Shared { queue, receiver });
    (Sender { shared: shared.clone() }, Mailbox { shared })
}

impl<T> Sender<T> {
    /// Puts a message in without waiting for room.
    ///
    /// # Errors
    /// Full, or nobody receives any more: the message comes back.
    pub fn offer(&self, message: T) -> Result<(), T> {
        let mut queue = self.shared.queue.lock();
        if !queue.received || queue.messages.len() >= queue.capacity {
            return Err(message);
        }
        queue.messages.push_back(message);
        // Whoever is woken finds the lock free.
        drop(queue);
        self.shared.receiver.wake();
        Ok(())
    }

    /// Puts a message in; waits while the mailbox is full. False: nobody receives any more.
    pub fn send(&self, message: T) -> bool {
        let mut message = message;
        loop {
            match self.offer(message) {
                Ok(()) => return true,
                Err(back) => message = back,
            }
            if !self.shared.queue.lock().received {
                return false;
            }
            clock::sleep_until(clock::now() + ROOM_LOOK);
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.queue.lock().senders += 1;
        Sender { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.queue.lock().senders -= 1;
        self.shared.receiver.wake();
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
            self.shared.receiver.lie_down();
            // Whoever put something in, or closed, before it could see that is seen here.
            let alarmed = match self.take() {
                Received::Nothing => self.shared.receiver.sleep_until(until),
                other => {
                    self.shared.receiver.stay_up();
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
        let mut queue = self.shared.queue.lock();
        match queue.messages.pop_front() {
            Some(message) => Received::Message(message),
            None if queue.senders == 0 => Received::Closed,
            None => Received::Nothing,
        }
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.received = false;
        // Dropped behind the lock: they may hold senders of this very mailbox.
        let left = std::mem::take(&mut queue.messages);
        drop(queue);
        drop(left);
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
