//! What happened lately: a bounded, numbered list that the driver writes and connections follow.
//!
//! The driver calls `EventLog::push` (a short lock, no I/O under it), the thread `chronicle` `push_of` with
//! what other nodes and earlier lives tell; each following connection waits in `EventLog::wait_after`;
//! `EventLog::close` at the daemon's end wakes them all for the last time.

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many entries are kept: days of a calm cluster, about 1 MB at most.
pub const ENTRIES_MAX: usize = 4096;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Grows by one with every entry of this daemon's life; the first is 1.
    pub sequence: u64,
    /// RFC 3339, UTC, milliseconds, by the answering node's clock: for people, nothing decides on it.
    pub time: String,
    /// On which node; empty for events of a daemon that did not say so yet.
    #[serde(default)]
    pub node: String,
    /// One line for people.
    pub text: String,
    /// The same for programs: `event` and what belongs to it.
    pub fields: Map<String, Value>,
}

/// Entries after a point.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Batch {
    /// Oldest first.
    pub events: Vec<Entry>,
    /// How many after that point were forgotten already.
    pub missed: u64,
}

/// One event as it is kept.
#[derive(Debug, Clone)]
struct Kept {
    entry: Arc<Entry>,
    time: SystemTime,
    /// It happened in this life of this node.
    own: bool,
}

/// The list.
pub struct EventLog {
    inner: Mutex<Inner>,
    changed: Condvar,
    capacity: usize,
    listener: OnceLock<Box<dyn Fn() + Send + Sync>>,
    tap: OnceLock<Tap>,
}

/// Given every own entry, in order, by whoever pushes it.
pub type Tap = Box<dyn Fn(&Entry) + Send + Sync>;

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Kept>,
    last: u64,
    closed: bool,
    me: String,
}

impl Default for EventLog {
    fn default() -> Self {
        Self::with_capacity(ENTRIES_MAX)
    }
}

impl EventLog {
    /// A list that keeps the newest `capacity` entries, at least one.
    pub fn with_capacity(capacity: usize) -> Self {
        let (inner, changed) = (Mutex::default(), Condvar::new());
        EventLog {
            inner,
            changed,
            capacity: capacity.max(1),
            listener: OnceLock::new(),
            tap: OnceLock::new(),
        }
    }

    /// Whose events `push` takes from now on.
    pub fn name(&self, me: &str) {
        me.clone_into(&mut self.inner.lock().me);
    }

    /// Called, without a lock, after every own event: must not block. The first one stays.
    pub fn listen(&self, listener: Box<dyn Fn() + Send + Sync>) {
        let _ = self.listener.set(listener);
    }

    /// Given every own entry under the lock, so that it has them in the order of their numbers: must not block, nor
    /// call back. The first one stays.
    pub fn tap(&self, tap: Tap) {
        let _ = self.tap.set(tap);
    }

    /// Adds an entry and wakes who follows; forgets the oldest of a full list. Returns its number.
    pub fn push(&self, now: SystemTime, text: String, fields: Map<String, Value>) -> u64 {
        let sequence = self.add(None, now, text, fields);
        if let Some(listener) = self.listener.get() {
            listener();
        }
        sequence
    }

    /// The same for what happened on another node, or in an earlier life.
    pub fn push_of(&self, node: &str, time: SystemTime, text: String, fields: Map<String, Value>) {
        self.add(Some(node), time, text, fields);
    }

    fn add(&self, of: Option<&str>, at: SystemTime, text: String, fields: Map<String, Value>) -> u64 {
        let time = rfc3339(at);
        let mut inner = self.inner.lock();
        inner.last += 1;
        let sequence = inner.last;
        if inner.entries.len() == self.capacity {
            inner.entries.pop_front();
        }
        let node = of.unwrap_or(&inner.me).to_owned();
        let entry = Arc::new(Entry { sequence, time, node, text, fields });
        if let (None, Some(tap)) = (of, self.tap.get()) {
            tap(&entry);
        }
        inner.entries.push_back(Kept { entry, time: at, own: of.is_none() });
        self.changed.notify_all();
        sequence
    }

    /// This life's own events after the entry number `since`, with their times, and the newest number.
    pub fn own_after(&self, since: u64) -> (Vec<(SystemTime, Arc<Entry>)>, u64) {
        let inner = self.inner.lock();
        let newer = inner.entries.iter().rev().take_while(|kept| kept.entry.sequence > since);
        let own = newer.filter(|kept| kept.own).map(|kept| (kept.time, kept.entry.clone()));
        let mut own: Vec<(SystemTime, Arc<Entry>)> = own.collect();
        own.reverse();
        (own, inner.last)
    }

    /// What came after the entry number `since` (0: everything); of more than `limit`, the newest.
    pub fn after(&self, since: u64, limit: usize) -> Batch {
        // Copied after the lock: the driver must not wait for it.
        let (entries, missed) = self.inner.lock().after(since, limit);
        Batch::of(&entries, missed)
    }

    /// Waits at most `patience` for an entry after `since`; an empty batch if none came, `None` once closed.
    pub fn wait_after(&self, since: u64, patience: Duration) -> Option<Batch> {
        let mut inner = self.inner.lock();
        if !inner.closed && inner.last <= since {
            self.changed.wait_for(&mut inner, patience);
        }
        let found = (!inner.closed).then(|| inner.after(since, usize::MAX));
        drop(inner);
        found.map(|(entries, missed)| Batch::of(&entries, missed))
    }

    /// The daemon ends: nobody waits any longer.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.changed.notify_all();
    }
}

impl Inner {
    fn after(&self, since: u64, limit: usize) -> (Vec<Arc<Entry>>, u64) {
        let wanted = self.last.saturating_sub(since);
        let kept = self.entries.len() as u64;
        let count = usize::try_from(wanted.min(kept)).unwrap_or(usize::MAX).min(limit);
        let newest = self.entries.iter().skip(self.entries.len() - count);
        (newest.map(|kept| kept.entry.clone()).collect(), wanted.saturating_sub(kept))
    }
}

impl Batch {
    fn of(entries: &[Arc<Entry>], missed: u64) -> Batch {
        Batch { events: entries.iter().map(|entry| Entry::clone(entry)).collect(), missed }
    }
}

/// `time` as `2026-01-31T12:00:00.000Z`; times before 1970 as 1970.
pub fn rfc3339(time: SystemTime) -> String {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since_1970.as_secs() / 86_400, since_1970.as_secs() % 86_400);
    // Days to civil date, counted in eras of 400 years from 1 March 0000 (Howard Hinnant's algorithm).
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let millis = since_1970.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{millis:03}Z", second % 60)
}

#[cfg(test)]
mod tests;
