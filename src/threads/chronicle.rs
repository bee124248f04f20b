//! Thread `chronicle`: keeps what happened. Writes events to the disk, tells them to the other nodes, and
//! takes theirs, so that every node can tell the whole story, that of a dead one's last second too.
//!
//! ```text
//!   driver ──push──▶ EventLog ──own──▶ chronicle ──▶ file
//!                       ▲                 │  ▲
//!                       └──others' events─┘  └── ASIDE events, through the driver, both ways
//! ```
//! Owns the file and what is known of the others' lists. Nobody waits for it: it reads the event log by
//! itself, and a full mailbox or driver costs only a repetition. It says at most ten packets a second, and
//! answers at most a hundred questions. Ends with `Order::End`.

use super::driver::Told;
use super::mailbox::{Mailbox, Received, Sender};
use super::published::Published;
use crate::controller::{Destination, Links};
use crate::os::clock;
use crate::vocabulary::{Instant, NodeId};
use crate::wire::{Aside, Happening, MAX_ASIDE, MAX_EVENT_FIELDS, MAX_EVENT_TEXT, Packet};
use file::{ChronicleFile, Line};
use others::Other;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

mod file;
mod others;

/// Orders that may wait: what 64 nodes say in a second.
pub const ORDERS: usize = 1_024;
/// Own events that can still be sent to who missed them.
const KEPT: usize = 1_024;
/// Between two packets with own events.
const SAY_INTERVAL: Duration = Duration::from_millis(100);
/// Between two answers, whoever asks.
const ANSWER_INTERVAL: Duration = Duration::from_millis(10);
/// How often the newest number is said though nothing happened: who missed the last word learns it then.
const REMIND_INTERVAL: Duration = Duration::from_secs(10);
/// Text of a packet's events in bytes: it fits into a frame.
const PACKET_BYTES: usize = 1_000;
/// Numbers that a crash may have told to others before they were on the disk.
const NUMBERS_SKIPPED: u64 = 1_024;

/// What the thread is told.
#[derive(Debug)]
pub enum Order {
    /// Something happened here.
    Look,
    /// Another node says something about events.
    Heard(NodeId, Aside),
    /// End now.
    End,
}

/// The thread.
pub struct Chronicle {
    /// This node.
    pub me: NodeId,
    /// Orders.
    pub mailbox: Mailbox<Order>,
    /// Who sends.
    pub driver: Sender<Told>,
    /// Events, configuration, clocks.
    pub published: Arc<Published>,
    /// What was kept.
    pub past: Past,
}

/// What earlier lives left, and where this one goes on.
#[derive(Debug)]
pub struct Past {
    file: ChronicleFile,
    log: u64,
    number: u64,
    /// Own events that can still be sent.
    own: VecDeque<Happening>,
    others: BTreeMap<NodeId, Other>,
}

impl Past {
    /// Reads the file in the state directory and fills the event log with it.
    pub fn read(directory: &Path, me: NodeId, published: &Published) -> Past {
        let (file, lines) = ChronicleFile::open(directory, file::SIZE_MAX);
        let log = micros(clock::wall());
        let mut past = Past { file, log, number: 0, own: VecDeque::new(), others: BTreeMap::new() };
        let mut seen: BTreeMap<NodeId, (u64, u64)> = BTreeMap::new();
        for line in &lines {
            let (log, number) = seen.entry(NodeId(line.id)).or_default();
            (*log, *number) =
                (line.log, if line.log == *log { line.number.max(*number) } else { line.number });
        }
        for (id, (log, number)) in seen {
            if id == me {
                (past.log, past.number) = (log, number.saturating_add(NUMBERS_SKIPPED));
            } else {
                past.others.insert(id, Other::remembered(log, number));
            }
        }
        for line in lines {
            if NodeId(line.id) == me && line.log == past.log {
                past.keep_own(&line);
            }
            let time = line.time();
            published.events.push_of(&line.node, time, line.text, line.fields);
        }
        past
    }

    fn keep_own(&mut self, line: &Line) {
        let fields = Value::Object(line.fields.clone()).to_string();
        let fields = if fields.len() <= MAX_EVENT_FIELDS { fields } else { "{}".to_owned() };
        if self.own.len() == KEPT {
            self.own.pop_front();
        }
        let (number, time_us, text) = (line.number, line.time_us, cut(&line.text, MAX_EVENT_TEXT));
        self.own.push_back(Happening { number, time_us, text, fields });
    }
}

/// What the thread remembers.
struct Work {
    thread: Chronicle,
    /// The last entry of the event log that was looked at.
    looked: u64,
    /// The last own number that was said to all.
    said: u64,
    next_say: Instant,
    next_reminder: Instant,
    next_answer: Instant,
}

impl Chronicle {
    /// Keeps until the end.
    pub fn run(self) {
        let now = clock::now();
        let mut work = Work {
            said: self.past.number,
            thread: self,
            looked: 0,
            next_say: now,
            next_reminder: now,
            next_answer: now,
        };
        loop {
            let received = work.thread.mailbox.receive_until(work.due());
            work.look();
            match received {
                Received::Message(Order::Look) | Received::Nothing => {}
                Received::Message(Order::Heard(from, aside)) => work.hear(from, aside),
                Received::Message(Order::End) | Received::Closed => break,
            }
            work.act();
        }
        work.thread.past.file.sync();
    }
}

impl Work {
    fn newest(&self) -> u64 {
        self.thread.past.number
    }

    fn due(&self) -> Instant {
        let say = if self.said < self.newest() { self.next_say } else { Instant::MAX };
        let questions = self.thread.past.others.values().filter_map(Other::due).min();
        say.min(self.next_reminder).min(questions.unwrap_or(Instant::MAX))
    }

    /// What happened here since the last look: to the disk first.
    fn look(&mut self) {
        let (entries, looked) = self.thread.published.events.own_after(self.looked);
        self.looked = looked;
        for (time, entry) in entries {
            let past = &mut self.thread.past;
            past.number += 1;
            let line = Line {
                id: self.thread.me.0,
                node: entry.node.clone(),
                log: past.log,
                number: past.number,
                time_us: micros(time),
                text: entry.text.clone(),
                fields: entry.fields.clone(),
            };
            past.file.append(&line);
            past.keep_own(&line);
        }
    }

    fn act(&mut self) {
        let now = clock::now();
        if self.said < self.newest() && now >= self.next_say {
            self.next_say = now + SAY_INTERVAL;
            let packet = self.events_after(self.said);
            let up_to = packet.1;
            if self.say(Destination::All, Links::Internal, packet.0) {
                self.said = up_to;
            }
        }
        if now >= self.next_reminder {
            self.next_reminder = now + REMIND_INTERVAL;
            self.thread.past.file.sync();
            let (log, after, newest) = (self.thread.past.log, self.said, self.said);
            let reminder =
                Aside::Events { log, now_us: micros(clock::wall()), after, newest, events: Vec::new() };
            self.say(Destination::All, Links::Internal, reminder);
        }
        let questions: Vec<_> = self
            .thread
            .past
            .others
            .iter_mut()
            .filter_map(|(&id, other)| Some((id, other.question(now)?)))
            .collect();
        for (id, (log, after)) in questions {
            self.say(Destination::Node(id), Links::All, Aside::More { log, after });
        }
    }

    /// As many as a packet holds, and the number of the last of them.
    fn events_after(&self, after: u64) -> (Aside, u64) {
        let mut room = PACKET_BYTES;
        let mut events = Vec::new();
        for event in self.thread.past.own.iter().filter(|event| event.number > after) {
            let size = event.text.len() + event.fields.len();
            if events.len() == MAX_ASIDE || (!events.is_empty() && size > room) {
                break;
            }
            room = room.saturating_sub(size);
            events.push(event.clone());
        }
        let up_to = events.last().map_or(self.newest(), |event| event.number);
        let (log, now_us) = (self.thread.past.log, micros(clock::wall()));
        (Aside::Events { log, now_us, after, newest: self.newest().max(after), events }, up_to)
    }

    /// False: the driver has no room; what matters is said again.
    fn say(&self, to: Destination, links: Links, aside: Aside) -> bool {
        self.thread.driver.offer(Told::Say(to, links, Packet::Aside(aside))).is_ok()
    }

    fn hear(&mut self, from: NodeId, aside: Aside) {
        let now = clock::now();
        match aside {
            Aside::Events { log, now_us, after, newest, events } => {
                let other = self.thread.past.others.entry(from).or_default();
                other.compare_clocks(micros(clock::wall()), now_us);
                let offset = other.offset_us();
                let fresh = other.hear(now, (log, after, newest), events);
                self.thread.published.clocks.lock().insert(from, offset);
                for event in fresh {
                    self.keep(from, log, event);
                }
            }
            Aside::More { log, after } if log == self.thread.past.log && now >= self.next_answer => {
                self.next_answer = now + ANSWER_INTERVAL;
                let (answer, _) = self.events_after(after);
                self.say(Destination::Node(from), Links::All, answer);
            }
            Aside::More { .. } | Aside::WhoHas { .. } | Aside::Sees { .. } => {}
        }
    }

    /// Another node's event.
    fn keep(&mut self, from: NodeId, log: u64, event: Happening) {
        let config = self.thread.published.config();
        let node = config.node(from).map_or_else(|| from.to_string(), |node| node.name.clone());
        let past = &mut self.thread.past;
        let time_us = past.others.get(&from).map_or(event.time_us, |other| other.own_time_us(event.time_us));
        let fields: Map<String, Value> = serde_json::from_str(&event.fields).unwrap_or_default();
        let line = Line { id: from.0, node, log, number: event.number, time_us, text: event.text, fields };
        past.file.append(&line);
        let time = line.time();
        self.thread.published.events.push_of(&line.node, time, line.text, line.fields);
    }
}

fn micros(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
}

fn cut(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests;
