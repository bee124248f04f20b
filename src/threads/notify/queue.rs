//! What waits for one target: in order, and bounded. The thread `notify` puts in, the target's own takes out; a full
//! queue keeps what came first, because that is where an incident begins, and counts what it refuses.

use super::notice::Notice;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Duration;

/// The queue.
#[derive(Debug)]
pub struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inner {
    waiting: VecDeque<Notice>,
    bound: usize,
    /// Refused since the last one that was taken in.
    lost: u64,
    ended: bool,
    called_off: bool,
}

impl Queue {
    /// An empty one for at most so many.
    pub fn new(bound: usize) -> Self {
        let inner = Inner { waiting: VecDeque::new(), bound, lost: 0, ended: false, called_off: false };
        Queue { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    /// Another bound; what waits stays.
    pub fn bound(&self, bound: usize) {
        self.inner.lock().bound = bound;
    }

    /// So many more never came.
    pub fn lost(&self, count: u64) {
        self.inner.lock().lost += count;
    }

    /// Puts it behind the others. True: there was no room, for the first time since there was some.
    pub fn push(&self, mut notice: Notice) -> bool {
        let mut inner = self.inner.lock();
        if inner.waiting.len() >= inner.bound {
            inner.lost += 1;
            return inner.lost == 1;
        }
        notice.lost += std::mem::take(&mut inner.lost);
        inner.waiting.push_back(notice);
        self.changed.notify_all();
        false
    }

    /// The next one; waits for it. `None`: the end, and nothing waits.
    pub fn next(&self) -> Option<Notice> {
        let mut inner = self.inner.lock();
        loop {
            if let Some(notice) = inner.waiting.pop_front() {
                return Some(notice);
            }
            if inner.ended {
                return None;
            }
            self.changed.wait(&mut inner);
        }
    }

    /// Waits for that long, or until the end.
    pub fn pause(&self, patience: Duration) {
        self.changed.wait_while_for(&mut self.inner.lock(), |inner| !inner.ended, patience);
    }

    /// Nothing is put in any more: what waits may still be told.
    pub fn end(&self) {
        self.inner.lock().ended = true;
        self.changed.notify_all();
    }

    /// Nor that.
    pub fn call_off(&self) {
        let mut inner = self.inner.lock();
        (inner.ended, inner.called_off) = (true, true);
        drop(inner);
        self.changed.notify_all();
    }

    /// Has the end come?
    pub fn is_ended(&self) -> bool {
        self.inner.lock().ended
    }

    /// Is nothing more to be told?
    pub fn is_called_off(&self) -> bool {
        self.inner.lock().called_off
    }

    /// Gives up what waits: how many, with those that were refused behind them.
    pub fn give_up(&self) -> u64 {
        let mut inner = self.inner.lock();
        let waiting = std::mem::take(&mut inner.waiting);
        let before: u64 = waiting.iter().map(|notice| notice.lost).sum();
        waiting.len() as u64 + before + std::mem::take(&mut inner.lost)
    }
}
