//! What is known of the cluster, for everybody who shows it: written by the feed's two threads, read by one
//! thread a client. A short lock, no I/O under it; texts are made once and shared by all clients.

use super::story::{Outage, Story};
use crate::control::events::{Entry, rfc3339};
use crate::control::status::Status;
use crate::os::clock;
use crate::vocabulary::Instant;
use parking_lot::{Condvar, Mutex};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many events are kept: what a page shows, and more.
pub const EVENTS_MAX: usize = 500;
/// How often what changes all the time is told: ages, lease, lateness.
pub const PULSE: Duration = Duration::from_millis(500);

/// Fields of the status that change all the time: no news by themselves.
const RESTLESS: [&str; 3] = ["lease_ms", "lateness_ms", "traffic"];
const RESTLESS_OF_NODES: [&str; 4] = ["heard_ms", "lateness_ms", "round_trip_ms", "rejected"];

/// The one of a process.
pub struct Board {
    inner: Mutex<Inner>,
    changed: Condvar,
    viewers: AtomicUsize,
}

struct Inner {
    actions: bool,
    status: Option<Arc<Status>>,
    /// As the daemon said it, less what is restless.
    calm: Value,
    /// When it was answered last.
    answered: Option<Instant>,
    trouble: Option<String>,
    /// Since when it is as it is: reachable or not.
    since: String,
    story: Story,
    events: VecDeque<(String, Arc<Entry>)>,
    /// How many there ever were.
    events_end: u64,
    state: Told,
    pulse: Told,
    next_pulse: Instant,
}

/// A text and its number: who has a lower one has something to learn.
#[derive(Debug, Clone, Default)]
struct Told {
    number: u64,
    text: Arc<str>,
}

impl Told {
    fn replace(&mut self, text: String) {
        self.number += 1;
        self.text = text.into();
    }
}

/// What a client has been told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    state: u64,
    pulse: u64,
    events: u64,
}

/// What a client has not been told yet.
#[derive(Debug, Default)]
pub struct News {
    /// The whole picture as JSON.
    pub state: Option<Arc<str>>,
    /// What changes all the time, as JSON.
    pub pulse: Option<Arc<str>>,
    /// What happened, oldest first.
    pub events: Vec<Arc<Entry>>,
}

impl News {
    fn is_none(&self) -> bool {
        self.state.is_none() && self.pulse.is_none() && self.events.is_empty()
    }
}

/// For those who draw it themselves.
#[derive(Debug, Clone, Default)]
pub struct Glance {
    /// The last one; none: the daemon was never reached.
    pub status: Option<Arc<Status>>,
    /// Why there is none now.
    pub trouble: Option<String>,
    /// Since when it is reachable, or is not.
    pub since: String,
    /// The newest ones, oldest first.
    pub events: Vec<Arc<Entry>>,
    /// Those that last at the end.
    pub outages: Vec<Outage>,
}

impl Board {
    /// Nothing is known yet; `actions`: pages may offer them.
    pub fn new(actions: bool) -> Board {
        let inner = Inner {
            actions,
            status: None,
            calm: Value::Null,
            answered: None,
            trouble: Some("the daemon was not asked yet".to_owned()),
            since: rfc3339(clock::wall()),
            story: Story::default(),
            events: VecDeque::new(),
            events_end: 0,
            state: Told::default(),
            pulse: Told::default(),
            next_pulse: Instant::ZERO,
        };
        let board = Board { inner: Mutex::new(inner), changed: Condvar::new(), viewers: AtomicUsize::new(0) };
        board.inner.lock().tell();
        board
    }

    /// The daemon's status: `raw` is `status` as it was said, with what this program does not know of.
    pub fn answered(&self, status: Status, raw: Value) {
        let now = clock::now();
        let mut inner = self.inner.lock();
        let returned = inner.trouble.take().is_some();
        if returned {
            inner.since = rfc3339(clock::wall());
        }
        inner.story.look(now, &rfc3339(clock::wall()), &status);
        inner.answered = Some(now);
        let pulse_due = returned || now >= inner.next_pulse;
        if pulse_due {
            inner.next_pulse = now + PULSE;
            let text = pulse(&status);
            inner.pulse.replace(text);
        }
        let calm = without_the_restless(raw);
        let changed = returned || calm != inner.calm;
        inner.status = Some(Arc::new(status));
        if changed {
            inner.calm = calm;
            inner.tell();
        }
        if changed || pulse_due {
            self.changed.notify_all();
        }
    }

    /// The daemon did not answer.
    pub fn lost(&self, trouble: String) {
        let mut inner = self.inner.lock();
        if inner.trouble.as_ref() == Some(&trouble) {
            return;
        }
        if inner.trouble.is_none() {
            inner.since = rfc3339(clock::wall());
        }
        inner.trouble = Some(trouble);
        inner.story.forget();
        inner.tell();
        self.changed.notify_all();
    }

    /// Something happened; what is known already is left out. Returns whether anything was new.
    pub fn happened(&self, entries: Vec<Entry>, count: bool) -> bool {
        let mut inner = self.inner.lock();
        let before = inner.events_end;
        for entry in entries {
            let identity = identity(&entry);
            if inner.events.iter().any(|(known, _)| *known == identity) {
                continue;
            }
            if count {
                inner.story.happened(&entry);
            }
            inner.events.push_back((identity, Arc::new(entry)));
            inner.events_end += 1;
            if inner.events.len() > EVENTS_MAX {
                inner.events.pop_front();
            }
        }
        let new = inner.events_end > before;
        if new {
            self.changed.notify_all();
        }
        new
    }

    /// What a client does not know yet; waits for it, at most `patience`. Never a backlog: who is slow
    /// misses pictures, and gets the newest.
    pub fn news(&self, seen: &mut Seen, patience: Duration) -> News {
        let mut inner = self.inner.lock();
        let mut news = inner.news(seen);
        if news.is_none() {
            self.changed.wait_for(&mut inner, patience);
            news = inner.news(seen);
        }
        news
    }

    /// Everything, now.
    pub fn glance(&self) -> Glance {
        let inner = self.inner.lock();
        Glance {
            status: inner.status.clone(),
            trouble: inner.trouble.clone(),
            since: inner.since.clone(),
            events: inner.events.iter().map(|(_, entry)| entry.clone()).collect(),
            outages: inner.story.outages(clock::now()),
        }
    }

    /// The picture as JSON, as clients get it.
    pub fn state(&self) -> Arc<str> {
        self.inner.lock().state.text.clone()
    }

    /// `read` sees what was counted, and the status if there is one now.
    pub fn measured<T>(&self, read: impl FnOnce(Option<&Status>, &Story) -> T) -> T {
        let inner = self.inner.lock();
        let status = inner.status.as_deref().filter(|_| inner.trouble.is_none());
        read(status, &inner.story)
    }

    /// Somebody looks, until the guard is dropped.
    pub fn look(self: &Arc<Self>) -> Viewer {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        Viewer(self.clone())
    }

    /// How many look.
    pub fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }
}

/// Somebody who looks.
pub struct Viewer(Arc<Board>);

impl Drop for Viewer {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inner {
    fn tell(&mut self) {
        let picture = json!({
            "monitor": {"version": env!("CARGO_PKG_VERSION"), "actions": self.actions},
            "reachable": self.trouble.is_none(),
            "trouble": self.trouble,
            "since": self.since,
            "status": self.calm,
            "outages": self.story.outages(clock::now()),
        });
        self.state.replace(picture.to_string());
    }

    fn news(&self, seen: &mut Seen) -> News {
        let new = usize::try_from(self.events_end - seen.events).unwrap_or(usize::MAX);
        let skip = self.events.len().saturating_sub(new);
        let news = News {
            state: (self.state.number > seen.state).then(|| self.state.text.clone()),
            pulse: (self.pulse.number > seen.pulse).then(|| self.pulse.text.clone()),
            events: self.events.iter().skip(skip).map(|(_, entry)| entry.clone()).collect(),
        };
        *seen = Seen { state: self.state.number, pulse: self.pulse.number, events: self.events_end };
        news
    }
}

/// Everything about an event but its number: a daemon that was started anew counts anew.
fn identity(entry: &Entry) -> String {
    let mut fields = serde_json::to_value(entry).expect("an entry has string keys only");
    fields["sequence"] = Value::Null;
    fields.to_string()
}

fn without_the_restless(mut status: Value) -> Value {
    let remove = |fields: &mut Map<String, Value>, names: &[&str]| {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    };
    if let Some(fields) = status.as_object_mut() {
        remove(fields, &RESTLESS);
    }
    for node in status["nodes"].as_array_mut().into_iter().flatten() {
        if let Some(fields) = node.as_object_mut() {
            remove(fields, &RESTLESS_OF_NODES);
        }
    }
    status
}

fn pulse(status: &Status) -> String {
    let nodes = status.nodes.iter().map(|node| {
        let ages = json!({
            "heard_ms": node.heard_ms, "lateness_ms": node.lateness_ms,
            "round_trip_ms": node.round_trip_ms, "rejected": node.rejected,
        });
        (node.name.clone(), ages)
    });
    let nodes: Map<String, Value> = nodes.collect();
    json!({"lease_ms": status.lease_ms, "lateness_ms": status.lateness_ms, "nodes": nodes}).to_string()
}

#[cfg(test)]
mod tests;
