//! Who served what, and since when nobody did. PURE: statuses and events in, outages and counts out.
//!
//! The board tells it every status and every event. An outage is what *this* node saw: from the last word of
//! the holder that fell silent to the status in which another one serves.

use crate::control::events::Entry;
use crate::control::status::{NodeStatus, ServiceStatus, Status};
use crate::vocabulary::Instant;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How many outages are remembered.
pub const OUTAGES_MAX: usize = 200;
/// Upper bounds in seconds; T is 0.1 s, and a takeover is promised within 2.2 T.
pub const BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// A time in which nobody served a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outage {
    /// Whose.
    pub service: String,
    /// Who served it before; none: nobody had since the monitor looks.
    pub from: Option<String>,
    /// Who serves it now; none: it is not over.
    pub to: Option<String>,
    /// How long it was; while it lasts, how long it was when it was seen.
    pub outage_ms: f64,
    /// When it was seen to begin or, once over, to end: RFC 3339.
    pub time: String,
}

/// How often each length was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lengths {
    /// One more than there are bounds: the last is beyond all.
    pub counts: [u64; BOUNDS.len() + 1],
    /// Of all, in seconds.
    pub sum: f64,
}

impl Lengths {
    fn add(&mut self, seconds: f64) {
        let slot = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.counts[slot] += 1;
        self.sum += seconds;
    }

    /// Of all.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What was counted since the monitor started.
#[derive(Debug, Default)]
pub struct Counts {
    /// By cause: `failure` (its holder fell silent or lost it), `planned` (it moved while it was served).
    pub takeovers: BTreeMap<&'static str, u64>,
    /// By name.
    pub events: BTreeMap<String, u64>,
    /// What the controller decided, by its reason.
    pub decisions: BTreeMap<String, u64>,
    /// From suspicion to verdict.
    pub detections: Lengths,
    /// Of services.
    pub outages: Lengths,
    /// Of takeovers, where events tell them: `detect`, `decide`, `claim`, `confirm`.
    pub phases: BTreeMap<&'static str, Lengths>,
}

/// The phases of a takeover, and the fields of events that tell how long each took.
const PHASES: [(&str, &str); 4] =
    [("detect", "detect_ms"), ("decide", "decide_ms"), ("claim", "claim_ms"), ("confirm", "confirm_ms")];

/// What is remembered.
#[derive(Debug, Default)]
pub struct Story {
    services: BTreeMap<String, Service>,
    /// Oldest first; those that last are not among them.
    over: VecDeque<Outage>,
    counts: Counts,
}

#[derive(Debug, Clone, Default)]
struct Service {
    /// Who served it last.
    server: Option<String>,
    /// Since when nobody does, and when that was seen.
    unserved: Option<(Instant, String)>,
    moving: bool,
}

impl Story {
    /// Another status, seen at `now`, which is `time` for people.
    pub fn look(&mut self, now: Instant, time: &str, status: &Status) {
        if !status.quorum {
            // A node without quorum knows about itself alone.
            return self.forget();
        }
        for service in &status.services {
            let server = server_of(service, status);
            let Some(known) = self.services.get_mut(&service.name) else {
                let unserved = server.is_none().then(|| (now, time.to_owned()));
                let server = server.map(|node| node.name.clone());
                self.services.insert(service.name.clone(), Service { server, unserved, moving: false });
                continue;
            };
            let planned = known.moving && known.unserved.is_none();
            known.moving = service.state == "moving";
            match (server, known.server.clone()) {
                (None, from) => {
                    if known.unserved.is_none() {
                        let silent = from.as_ref().and_then(|from| silence(status, from));
                        known.unserved = Some((before(now, silent), time.to_owned()));
                    }
                }
                (Some(node), Some(from)) if node.name == from => {
                    // It was only suspected; or it stood still and goes on where it was.
                    known.unserved = None;
                }
                (Some(node), from) => {
                    let silent = from.as_ref().and_then(|from| silence(status, from));
                    known.server = Some(node.name.clone());
                    let began = known.unserved.take().map(|(began, _)| began);
                    if planned && began.is_none() {
                        *self.counts.takeovers.entry("planned").or_default() += 1;
                        continue;
                    }
                    let began = began.unwrap_or_else(|| before(now, silent));
                    let outage = Outage {
                        service: service.name.clone(),
                        to: Some(node.name.clone()),
                        outage_ms: millis(now.since(began)),
                        time: time.to_owned(),
                        from,
                    };
                    self.end(outage);
                }
            }
        }
    }

    fn end(&mut self, outage: Outage) {
        if outage.from.is_some() {
            *self.counts.takeovers.entry("failure").or_default() += 1;
        }
        self.counts.outages.add(outage.outage_ms / 1000.0);
        self.over.push_back(outage);
        if self.over.len() > OUTAGES_MAX {
            self.over.pop_front();
        }
    }

    /// Nothing is known for a while: what was unserved then is no outage that anybody measured.
    pub fn forget(&mut self) {
        self.services.clear();
    }

    /// Something happened. What happened before the monitor looked is told, and not counted.
    pub fn happened(&mut self, entry: &Entry) {
        let name = word(&entry.fields, "event").unwrap_or("unknown");
        *self.counts.events.entry(name.to_owned()).or_default() += 1;
        if let ("assigned" | "move-began", Some(why)) = (name, word(&entry.fields, "why")) {
            *self.counts.decisions.entry(why.to_owned()).or_default() += 1;
        }
        let length = |field: &str| entry.fields.get(field).and_then(Value::as_f64).map(|ms| ms / 1000.0);
        if let ("down", Some(after)) = (name, length("after_ms")) {
            self.counts.detections.add(after);
        }
        for (phase, field) in PHASES {
            if let Some(seconds) = length(field) {
                self.counts.phases.entry(phase).or_default().add(seconds);
            }
        }
    }

    /// All that are remembered, oldest first, those that last at the end.
    pub fn outages(&self, now: Instant) -> Vec<Outage> {
        let lasting = self.services.iter().filter_map(|(name, service)| {
            let (began, time) = service.unserved.as_ref()?;
            Some(Outage {
                service: name.clone(),
                from: service.server.clone(),
                to: None,
                outage_ms: millis(now.since(*began)),
                time: time.clone(),
            })
        });
        self.over.iter().cloned().chain(lasting).collect()
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// Who serves it, as far as can be told: by the table, and not silent.
fn server_of<'a>(service: &ServiceStatus, status: &'a Status) -> Option<&'a NodeStatus> {
    let served = matches!(service.state.as_str(), "held" | "moving");
    let holder = service.holder.as_ref().filter(|_| served)?;
    let node = status.nodes.iter().find(|node| node.name == *holder)?;
    (!matches!(node.state.as_str(), "suspect" | "down")).then_some(node)
}

/// How long nothing was heard of a node.
fn silence(status: &Status, name: &str) -> Option<Duration> {
    let heard_ms = status.nodes.iter().find(|node| node.name == name)?.heard_ms?;
    Duration::try_from_secs_f64(heard_ms / 1000.0).ok()
}

fn before(now: Instant, by: Option<Duration>) -> Instant {
    let by = u64::try_from(by.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(now.as_nanos().saturating_sub(by))
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn word<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
