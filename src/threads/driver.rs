//! Thread `controller`: drives the pure `Controller`. The only owner of it, and the only reader of the
//! clock for it.
//!
//! ```text
//!   mailbox ──▶ (late? let what has arrived come first) ──▶ handle … handle ──▶ handle_timeout
//!                                                              │ after each: effects
//!     hello sender ◀── datagrams ──┬── wanted set ──▶ faker    ▼
//!     services ◀───── commands ────┴── record ──────▶ storage
//! ```
//! It never blocks. A full channel: datagram ⇒ dropped and counted; wanted set, record ⇒ the newest
//! replaces; command ⇒ refused, which is answered as failed. Ends when it is told (`Told::End`).

use super::checks;
use super::chronicle;
use super::faker;
use super::hello_sender::Outgoing;
use super::life_signs::Watched;
use super::mailbox::{Latest, Mailbox, Received, Sender};
use super::published::Published;
use super::receipts;
use super::services::{self, Job};
use super::storage;
use crate::config::{self, Config, Severity};
use crate::control::event_words::{event_fields, event_text};
use crate::control::server::Request;
use crate::control::status::status;
use crate::controller::{
    Controller, Destination, Effect, Event, Input, Links, NodeState, ServiceState, ServiceView, View,
};
use crate::os::clock;
use crate::os::doorbell::Doorbell;
use crate::vocabulary::{Instant, LinkRole, NodeId, ServiceId};
use crate::wire::{Aside, Datagram, Packet, ReplayWindows, Status};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mod lateness;
mod refusals;
mod stopwatch;
pub mod trips;
use lateness::{Lateness, Readings};
use refusals::Refusals;
use stopwatch::Stopwatch;

/// Messages that may wait: over a second of everything that a cluster of 64 nodes says to its controller.
pub const MESSAGES: usize = 2_048;
/// Inputs handled before time is looked at again: a flood must not keep timeouts waiting for long.
const IN_A_ROW: usize = 256;
/// After a pause, receivers get so long to bring what has arrived meanwhile (protocol.md, D5).
const SETTLE: Duration = Duration::from_millis(2);
/// Datagrams of one wake, as a rule at most.
const USUAL_BATCH: usize = 8;
/// How often the measured lateness and p are looked at.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// A lateness that has changed less than this is not worth an input.
const LATENESS_STEP: Duration = Duration::from_micros(100);
/// Answers to operators that may be outstanding: more than connections the control socket takes.
const MOST_ASKERS: usize = 64;

/// What the driver is told.
#[derive(Debug)]
pub enum Told {
    /// An authentic datagram of another node for this one.
    Heard(Box<Datagram>),
    /// Anything else that happened.
    Happened(Box<Input>),
    /// The control socket asks.
    Asked(Request),
    /// Another thread of this node says something beside the protocol.
    Say(Destination, Links, Packet),
    /// A new configuration, checked.
    Reload(Arc<Config>),
    /// The whole picture into the log (USR1).
    Dump,
    /// End now, whatever is held.
    End,
}

/// How the driver tells `daemon` that the orderly leave is complete.
#[derive(Debug, Clone)]
pub struct Farewell {
    /// Set first.
    pub left: Arc<AtomicBool>,
    /// Rung then.
    pub bell: Doorbell,
}

/// The thread.
pub struct Driver {
    /// The protocol core.
    pub controller: Controller,
    /// This node.
    pub me: NodeId,
    /// All that happens.
    pub mailbox: Mailbox<Told>,
    /// Datagrams, in batches.
    pub sender: Sender<Vec<Outgoing>>,
    /// The wanted set, announcements and probes.
    pub faker: Sender<faker::Order>,
    /// Commands.
    pub services: Sender<services::Order>,
    /// Told the end.
    pub checks: Sender<checks::Order>,
    /// Told what other nodes say of events, and the end.
    pub chronicle: Sender<chronicle::Order>,
    /// Told of takeovers, of what other nodes say of them, and the end.
    pub receipts: Sender<receipts::Order>,
    /// Records.
    pub storage: Latest<storage::Order>,
    /// Rung when the configuration changed: the ARP listener opens its sockets again, the load is measured otherwise.
    pub reload_bells: [Doorbell; 2],
    /// What others read.
    pub published: Arc<Published>,
    /// Who is told of `Effect::Left`.
    pub farewell: Farewell,
}

/// What the driver remembers.
struct Work {
    driver: Driver,
    config: Arc<Config>,
    digest: u64,
    replay: ReplayWindows,
    askers: BTreeMap<u64, crossbeam_channel::Sender<Result<(), String>>>,
    next_asker: u64,
    /// Answers that the driver itself gives to the controller.
    own: VecDeque<Input>,
    outgoing: Vec<Outgoing>,
    lateness: Lateness,
    readings: Readings,
    /// When the controller wants to be called next.
    deadline: Instant,
    stopwatch: Stopwatch,
    refusals: Refusals,
    /// Who can be asked whom they see.
    witnesses: Vec<NodeId>,
    /// The members may have changed since they were looked for.
    other_members: bool,
    /// p, as the controller sees it.
    probe_interval: Duration,
    next_measure: Instant,
}

impl Driver {
    /// Drives until `Told::End`.
    pub fn run(self) {
        let config = self.published.config();
        let now = clock::now();
        let mut work = Work {
            digest: config::digest(&config),
            probe_interval: config.cluster.hello_interval / 8,
            config,
            replay: ReplayWindows::new(),
            askers: BTreeMap::new(),
            next_asker: 1,
            own: VecDeque::new(),
            outgoing: Vec::with_capacity(USUAL_BATCH),
            lateness: Lateness::new(now),
            readings: Readings::new(now),
            deadline: now,
            stopwatch: Stopwatch::default(),
            refusals: Refusals::default(),
            witnesses: Vec::new(),
            other_members: true,
            next_measure: now + MEASURE_INTERVAL,
            driver: self,
        };
        work.take_effects(now);
        work.post();
        work.deadline = work.driver.controller.next_timeout();
        while work.turn() {}
        work.driver.published.signs.retires(Watched::Driver);
        // Whose steps would be orders to services that end.
        work.driver.checks.send(checks::Order::End);
        work.driver.services.send(services::Order::End);
        work.driver.receipts.send(receipts::Order::End);
        work.driver.chronicle.send(chronicle::Order::End);
    }
}

impl Work {
    /// Waits, and handles what there is; false: the end.
    fn turn(&mut self) -> bool {
        let slept = clock::now();
        let deadline = self.deadline;
        let signs = &self.driver.published.signs;
        signs.works(Watched::Driver, slept);
        signs.sleeps(Watched::Driver, deadline);
        let mut received = self.driver.mailbox.receive_until(deadline);
        let woke = clock::now();
        signs.works(Watched::Driver, woke);
        let by = woke.since(deadline.max(slept));
        // Longer is a pause, of which `Input::Late` tells: as a margin it would cost the lease itself. A lease ends at
        // best Lp + X = 1.95 T after the beat, less twice this for the controller and twice for its holder (L8): it has
        // to last until the next beat is there.
        self.lateness.measure(woke, by.min(self.config.cluster.hello_interval / 6));
        self.readings.slept(deadline, woke);
        let late = self.readings.behind(woke) > self.probe_interval;
        if late {
            // Receivers that slept with us bring what has arrived before anything expires.
            clock::sleep_until(woke + SETTLE.min(self.probe_interval / 2));
            self.now();
        }
        let most = if late { MESSAGES } else { IN_A_ROW };
        for _ in 0..most {
            match received {
                Received::Message(Told::End) | Received::Closed => return false,
                Received::Message(told) => self.take(told),
                Received::Nothing => break,
            }
            received = self.driver.mailbox.take();
        }
        if let Received::Message(told) = received {
            // The last one taken, beyond the limit.
            if matches!(told, Told::End) {
                return false;
            }
            self.take(told);
        }
        self.measure();
        let now = self.now();
        self.deadline = self.driver.controller.next_timeout();
        if now >= self.deadline {
            self.driver.controller.handle_timeout(now);
            self.take_effects(now);
            self.deadline = self.driver.controller.next_timeout();
        }
        self.post();
        true
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Heard(datagram) => self.hear(*datagram),
            Told::Happened(input) => self.handle(*input),
            Told::Say(to, links, packet) => {
                let stamp = self.driver.controller.stamp();
                self.outgoing.push(Outgoing { to, links, packet, stamp, taken: clock::now() });
            }
            Told::Asked(request) => self.answer(request),
            Told::Reload(config) => self.reload(config),
            Told::Dump => self.dump(),
            Told::End => {}
        }
    }

    fn hear(&mut self, Datagram { header, packet }: Datagram) {
        match self.replay.accept(header.from, header.incarnation, header.sequence) {
            Ok(()) => match packet {
                Packet::Aside(aside) => self.pass_on(header.from, aside),
                packet => self.handle(Input::Packet { header, packet }),
            },
            Err(stale) => self.driver.published.counters.reject(stale.into()),
        }
    }

    /// Beside the protocol. Full: it is said again.
    fn pass_on(&self, from: NodeId, aside: Aside) {
        let _ = match aside {
            Aside::Events { .. } | Aside::More { .. } => {
                self.driver.chronicle.offer(chronicle::Order::Heard(from, aside)).is_ok()
            }
            Aside::WhoHas { .. } | Aside::Sees { .. } => {
                self.driver.receipts.offer(receipts::Order::Heard(from, aside)).is_ok()
            }
        };
    }

    /// For the controller, which hears of a pause before anything else: where it stood before that, nothing stands (D5).
    fn now(&mut self) -> Instant {
        let now = clock::now();
        if let Some(by) = self.readings.read(now, self.probe_interval) {
            self.driver.controller.handle(now, Input::Late { by });
            self.take_effects(now);
        }
        now
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        self.stopwatch.sees(now, self.overdue(), &input);
        if let Input::Packet { header, packet: Packet::HelloAck { nonce } } = &input
            && let Some(mut trips) = self.driver.published.trips.try_lock()
        {
            trips.answered(now, header.from, header.link, *nonce);
        }
        self.driver.controller.handle(now, input);
        self.take_effects(now);
    }

    /// Until there are none: after each call, because the stamp belongs to the moment.
    fn take_effects(&mut self, now: Instant) {
        loop {
            while let Some(effect) = self.driver.controller.next_effect() {
                self.apply(now, effect);
            }
            // A service without a command answers at once; a refused command too.
            let Some(answer) = self.own.pop_front() else { return };
            self.driver.controller.handle(now, answer);
        }
    }

    fn apply(&mut self, now: Instant, effect: Effect) {
        let driver = &self.driver;
        match effect {
            Effect::Send { to, links, mut packet } => {
                if let Packet::Status(status) = &mut packet {
                    complete(status, driver, &self.config, self.digest);
                }
                if let (Packet::Hello { nonce }, Destination::Node(right)) = (&packet, to) {
                    // Who reads it may be held up: then this one is not counted.
                    if let Some(mut trips) = driver.published.trips.try_lock() {
                        trips.sent(now, right, links, *nonce);
                    }
                }
                let stamp = driver.controller.stamp();
                self.outgoing.push(Outgoing { to, links, packet, stamp, taken: now });
            }
            Effect::Serve(wanted) => {
                if driver.published.lease.replace(&wanted) {
                    // Full: the faker has enough to do, and compares at its next tick.
                    let _ = driver.faker.offer(faker::Order::Compare);
                }
            }
            Effect::Announce { service } => self.order(now, faker::Order::Announce(service)),
            Effect::Probe { service, leeway } => {
                self.order(now, faker::Order::Probe { service, asked: now, leeway });
            }
            Effect::AskArbiter => self.order(now, faker::Order::AskArbiters),
            Effect::Run { service, action, token } => self.run(Job { service, action, token }),
            Effect::Store { record, token } => {
                driver.storage.change(|order| order.record = Some((record, token)));
            }
            Effect::Answer { id, result } => {
                if let Some(asker) = self.askers.remove(&id) {
                    // The asker may have gone.
                    let _ = asker.try_send(result);
                }
            }
            Effect::Event(event) => self.tell(now, &event),
            Effect::Reborn(incarnation) => {
                driver.storage.change(|order| order.incarnation = Some(incarnation));
            }
            Effect::Left => {
                driver.farewell.left.store(true, Ordering::Release);
                driver.farewell.bell.ring();
            }
        }
    }

    fn order(&mut self, now: Instant, order: faker::Order) {
        if let Err(order) = self.driver.faker.offer(order) {
            self.driver.published.counters.unsent.fetch_add(1, Ordering::Relaxed);
            let fault = self.refusals.refused(now, self.config.cluster.hello_interval, &order);
            self.own.extend(fault.map(|fault| Input::SendFailed { role: LinkRole::External, fault }));
        }
    }

    fn run(&mut self, job: Job) {
        let Job { service, action, token } = job;
        let configured = self.config.service(service);
        let ok = !configured.is_some_and(|service| services::has_command(service, action));
        if ok || self.driver.services.offer(services::Order::Run(job)).is_err() {
            if !ok {
                log::error!("the command queue is full: a command of {service} is refused");
            }
            self.own.push_back(Input::Ran { service, action, token, ok });
        }
    }

    /// D2: T + g.
    fn overdue(&self) -> Duration {
        self.config.cluster.hello_interval + self.probe_interval * 8 / 5
    }

    fn tell(&mut self, now: Instant, event: &Event) {
        self.stopwatch.happened(now, self.overdue(), event);
        self.other_members |= matches!(
            event,
            Event::Committed { .. } | Event::Suspected { .. } | Event::Cleared { .. } | Event::Down { .. }
        );
        if let &Event::Taken { service, from } = event {
            if std::mem::take(&mut self.other_members) {
                self.witnesses = witnesses(&self.driver.controller.view(now));
            }
            let steps = self.stopwatch.steps(now, from);
            let witnesses = self.witnesses.iter().copied().filter(|&node| Some(node) != from);
            let order = receipts::Order::Taken { service, steps, witnesses: witnesses.collect(), at: now };
            // Full: a takeover without a receipt.
            let _ = self.driver.receipts.offer(order);
        }
        let text = event_text(event, &self.config);
        let fields = event_fields(event, &self.config);
        match config::severity(fields.get("event").and_then(Value::as_str).unwrap_or_default()) {
            Severity::Info => log::info!("{text}"),
            Severity::Warning => log::warn!("{text}"),
            Severity::Error => log::error!("{text}"),
        }
        self.driver.published.events.push(clock::wall(), text, fields);
    }

    /// One batch, one wake of the sender.
    fn post(&mut self) {
        if self.outgoing.is_empty() {
            return;
        }
        let batch = std::mem::replace(&mut self.outgoing, Vec::with_capacity(USUAL_BATCH));
        let unsent = batch.len() as u64;
        if self.driver.sender.offer(batch).is_err() {
            self.driver.published.counters.unsent.fetch_add(unsent, Ordering::Relaxed);
        }
    }

    fn measure(&mut self) {
        let now = clock::now();
        if now < self.next_measure {
            return;
        }
        self.next_measure = now + MEASURE_INTERVAL;
        // What the aliases wait for when a lease ends, as far as it can be known: capped like the own (`turn`).
        let faker = self.driver.published.faker_lateness.take();
        self.lateness.measure(now, faker.min(self.config.cluster.hello_interval / 6));
        let view = self.driver.controller.view(now);
        self.probe_interval = view.probe_interval;
        let moves = |service: &&ServiceView| {
            service.state == ServiceState::Moving && service.holder == Some(self.driver.me)
        };
        let moving: Vec<ServiceId> = view.services.iter().filter(moves).map(|service| service.id).collect();
        *self.driver.published.moving.lock() = moving.into();
        *self.driver.published.view.lock() = Some(Arc::new(self.completed(view)));
        if let Some(worst) = self.lateness.changed(LATENESS_STEP) {
            self.handle(Input::Lateness(worst));
        }
    }

    fn view(&self) -> View {
        self.completed(self.driver.controller.view(clock::now()))
    }

    /// With this node's own STATUS.
    fn completed(&self, mut view: View) -> View {
        let me = self.driver.me;
        if let Some(own) = view.nodes.iter_mut().find(|node| node.id == me) {
            complete(own.status.get_or_insert_default(), &self.driver, &self.config, self.digest);
        }
        view
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::View(asker) => {
                // The asker may have gone.
                let _ = asker.try_send(Box::new(self.view()));
            }
            Request::Command { command, answer } => {
                if self.askers.len() >= MOST_ASKERS {
                    // Those who ask wait for a bounded time: the oldest has gone.
                    self.askers.pop_first();
                }
                let id = self.next_asker;
                self.next_asker += 1;
                self.askers.insert(id, answer);
                self.handle(Input::Command { id, command });
            }
        }
    }

    fn reload(&mut self, config: Arc<Config>) {
        self.digest = config::digest(&config);
        self.config = config.clone();
        // What the core withholds of it yet is told first: who reads the new file knows that as well. And no question of a
        // look goes out before there are ears for its answer: they go with the next timeout.
        self.handle(Input::Reload(config.clone()));
        *self.driver.published.config.write() = config;
        self.driver.reload_bells.iter().for_each(Doorbell::ring);
        let _ = self.driver.checks.offer(checks::Order::Reloaded);
        let _ = self.driver.faker.offer(faker::Order::Compare);
    }

    fn dump(&self) {
        match serde_json::to_string(&status(&self.view(), &self.config, &self.driver.published.checks.read()))
        {
            Ok(text) => log::info!("status: {text}"),
            Err(error) => log::error!("cannot write the status: {error}"),
        }
        log::info!("thrown away so far: {}", self.driver.published.counters.text());
    }
}

/// Both neighbours and the controller, as far as they live.
fn witnesses(view: &View) -> Vec<NodeId> {
    let own = view.nodes.iter().find(|node| node.id == view.me);
    let near = own.into_iter().flat_map(|own| [own.left, own.right]).chain([view.controller]).flatten();
    let lives = |id: &NodeId| {
        let found = view.nodes.iter().find(|node| node.id == *id);
        found
            .is_some_and(|node| matches!(node.state, NodeState::Up | NodeState::Standby | NodeState::Leaving))
    };
    let mut ids: Vec<NodeId> = near.filter(|&id| id != view.me).filter(lives).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(receipts::WITNESSES);
    ids
}

/// What the controller cannot know of its own node.
fn complete(status: &mut Status, driver: &Driver, config: &Config, digest: u64) {
    if let Some(node) = config.node(driver.me) {
        status.name.clone_from(&node.name);
    }
    status.config_digest = digest;
    status.rejected = driver.published.counters.rejected();
    let told = *driver.published.told.lock();
    (status.version, status.key, status.next_key) = (told.version, told.key, told.next_key);
    status.mac = told.mac;
}
