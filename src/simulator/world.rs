//! Virtual time: one queue of events, the machines, the LANs, and the judges. `run` moves it.
//!
//! The way of a packet is that of the daemon: the controller's effect, header, encoder, LAN, decoder,
//! replay window, the controller's input. Every worker (faker, writer, runner) takes its time and
//! reports back as an input.

use super::checkers::{Checker, Minorities};
use super::clock::{Clock, Nanos, SECOND};
use super::host::{Host, SOCKET_BUFFER};
use super::network::{Network, lan};
use super::plan::{Class, Ills, Plan, pause_before};
use super::random::Random;
use super::run::CURRENT;
use super::script::{Cue, Script};
use super::trace::{Happening, Trace};
use crate::config::Config;
use crate::controller::{Input, Planted, Record};
use crate::vocabulary::ServiceId;
use crate::wire::Key;
use std::collections::{BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

mod disturbances;
mod effects;
mod event;
mod faker;
mod few;
mod foreign;
mod guardian;
mod neighbours;
mod process;

use event::Entry;
pub use event::{Event, Mend};
use foreign::Stranger;

/// Datagrams that an eavesdropper keeps to send them again.
const EAVESDROPPED: usize = 64;

/// What a run counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Events of the queue.
    pub events: u64,
    /// Datagrams handed to a LAN, a broadcast as one.
    pub sent: u64,
    /// Datagrams handed to a controller.
    pub received: u64,
    /// Datagrams refused: garbled, replayed.
    pub refused: u64,
    /// Faults.
    pub faults: u64,
    /// Services that a controller took.
    pub taken: u64,
    /// FAIL_DOWNs that a controller believed.
    pub downs: u64,
    /// So long, in nanoseconds, clients reached no holder of a service while most nodes were well (drill few).
    pub nobody: Nanos,
}

/// Everything there is in a run.
pub struct World {
    /// Virtual time.
    pub now: Nanos,
    queue: BinaryHeap<Entry>,
    order: u64,
    /// The machines.
    pub hosts: Vec<Host>,
    /// The LANs.
    pub network: Network,
    /// Chance for everything but garbage.
    pub random: Random,
    /// Chance for garbage: a run with it and a run without are otherwise the same (P7).
    garbage: Random,
    eavesdropped: Vec<Rc<[u8]>>,
    /// What was drawn.
    pub plan: Plan,
    /// The configuration that a starting node reads.
    pub config: Arc<Config>,
    /// T before any was changed, and again at the end.
    first_interval: std::time::Duration,
    /// The small ills at this moment.
    pub ills: Ills,
    /// Faults happen.
    pub stormy: bool,
    /// The judges.
    pub checker: Checker,
    /// What happened last.
    pub trace: Trace,
    /// What was counted.
    pub statistics: Statistics,
    /// What a process that just ended had not yet written.
    unwritten: Option<(Record, u64)>,
    /// The run came to its end: a world dropped before was dropped by a panic.
    pub ended: bool,
    key: Key,
    buffer: Vec<u8>,
    /// The mistake in every controller, if a test wants one.
    planted: Option<Planted>,
    /// Phases of faults so far, and when the newest began.
    round: u32,
    round_began: Nanos,
    /// The faults so far, as they were drawn.
    pub drawn: Vec<Cue>,
    /// Played instead of drawing.
    pub script: Option<Rc<Script>>,
    /// Addresses that a machine has which is no node.
    strangers: Vec<Stranger>,
    /// Who is ill, or was until lately (`Class::Few`).
    ill: BTreeSet<usize>,
    /// Ends of cuts that are to come, for each node's ports.
    cuts: Vec<u32>,
}

impl World {
    /// The machines of a plan, switched off; `planted` breaks a rule in their controllers.
    pub fn new(plan: Plan, mut random: Random, planted: Option<Planted>) -> Self {
        let nodes = plan.config.nodes.len();
        let cluster = &plan.config.cluster;
        let minorities = Minorities::of(cluster);
        let hello_interval = cluster.hello_interval.as_nanos() as Nanos;
        let key =
            Key::new(b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", &cluster.name)
                .expect("a key of full length");
        let garbage = random.fork();
        let hosts = (0..nodes).map(|_| Host::new(new_clock(&plan, &mut random))).collect();
        World {
            now: 0,
            queue: BinaryHeap::with_capacity(4096),
            order: 0,
            hosts,
            network: Network::new(nodes),
            random,
            garbage,
            eavesdropped: Vec::new(),
            config: Arc::new(plan.config.clone()),
            first_interval: cluster.hello_interval,
            ills: Ills::default(),
            stormy: false,
            checker: Checker::new(hello_interval, minorities),
            trace: Trace::new(),
            statistics: Statistics::default(),
            unwritten: None,
            ended: false,
            key,
            buffer: Vec::with_capacity(2048),
            planted,
            plan,
            round: 0,
            round_began: 0,
            drawn: Vec::new(),
            script: None,
            strangers: Vec::new(),
            ill: BTreeSet::new(),
            cuts: vec![0; nodes],
        }
    }

    /// Something will happen in `after`.
    pub fn schedule(&mut self, after: Nanos, event: Event) {
        self.schedule_at(self.now + after, event);
    }

    /// Something will happen at that moment.
    pub fn schedule_at(&mut self, at: Nanos, event: Event) {
        self.order += 1;
        self.queue.push(Entry { at: at.max(self.now), order: self.order, event });
    }

    /// Until that moment, or until a promise is broken.
    pub fn run_until(&mut self, end: Nanos) {
        while self.checker.violations.is_empty() {
            match self.queue.peek() {
                Some(entry) if entry.at <= end => {}
                _ => {
                    self.now = end;
                    return;
                }
            }
            let Some(entry) = self.queue.pop() else { return };
            self.now = entry.at;
            self.statistics.events += 1;
            self.happen(entry.event);
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some(node) = self.held_back(&event) {
            // The socket's buffer overflows; what the workers of the process report does not.
            let held = &mut self.hosts[node].held;
            if held.len() < SOCKET_BUFFER || !matches!(event, Event::Deliver { .. }) {
                held.push_back(event);
            }
            return;
        }
        match event {
            Event::Deliver { to, bytes, garbled } => self.deliver(to, &bytes, garbled),
            Event::Timer { node, token, due } => self.timer(node, token, due),
            Event::FakerDone { node, life } => self.alive(node, life, Self::faker_done),
            Event::FakerWakes { node, life } => self.alive(node, life, Self::faker_wakes),
            Event::FakerRenews { node, life } => self.alive(node, life, Self::faker_renews),
            Event::Written { node, life } => self.alive(node, life, Self::written),
            Event::Present { node, life, answers, services, announced } => {
                self.input(node, life, Input::Present { answers, up: services, announced });
            }
            Event::KernelDrops { node } => self.kernel_drops(node),
            Event::Ran { node, life, service, action, token, ok } => {
                self.input(node, life, Input::Ran { service, action, token, ok });
            }
            Event::Asked { node, by, service } => self.asked(node, by, service),
            Event::Claimed { node, by, service } => self.claimed(node, by, service),
            Event::ArbiterAnswers { node, life } => self.arbiter_answers(node, life),
            Event::Carrier { node, life, role } => {
                // A kernel tells of changes in their order, however close they were: the last word is how it is.
                let up = self.hosts[node].carrier[lan(role)];
                self.input(node, life, Input::Link { role, up });
            }
            Event::SendFailed { node, life, role, fault } => {
                self.input(node, life, Input::SendFailed { role, fault });
            }
            Event::ProbeLeaves { node, life, probe } => self.probe_leaves(node, life, probe),
            Event::Tampered { node, life, service, how } => {
                self.input(node, life, Input::Tampered { service, how });
            }
            Event::Hands { node, service, more, every } => self.take_away(node, service, more, every),
            Event::Boot { node } => self.boot(node),
            Event::Resume { node } => self.resume(node),
            Event::GuardianActs { node, life, dead } => self.guardian_acts(node, life, dead),
            Event::GuardianKills { node, life, since } => self.guardian_kills(node, life, since),
            Event::Judge { service } => self.judge(service),
            Event::JudgeHolders => self.judge_holders(),
            Event::Fault { class, every } => self.fault(class, every),
            Event::Cue { number } => self.cue(number),
            Event::Mend(mend) => self.mend(mend),
        }
    }

    /// The stopped process that this event has to wait for, if any.
    fn held_back(&self, event: &Event) -> Option<usize> {
        let node = match event {
            Event::Deliver { to, .. } => *to,
            Event::FakerDone { node, .. }
            | Event::FakerWakes { node, .. }
            | Event::FakerRenews { node, .. }
            | Event::Present { node, .. }
            | Event::Written { node, .. }
            | Event::Ran { node, .. }
            | Event::ArbiterAnswers { node, .. }
            | Event::Carrier { node, .. }
            | Event::ProbeLeaves { node, .. }
            | Event::Tampered { node, .. }
            | Event::SendFailed { node, .. } => *node,
            // A machine that is no node never stops.
            Event::Claimed { node, .. } if *node >= self.hosts.len() => return None,
            Event::Claimed { node, .. } => *node,
            Event::Timer { .. }
            | Event::KernelDrops { .. }
            | Event::Asked { .. }
            | Event::Hands { .. }
            | Event::Boot { .. }
            | Event::Resume { .. }
            | Event::GuardianActs { .. }
            | Event::GuardianKills { .. }
            | Event::Judge { .. }
            | Event::JudgeHolders
            | Event::Fault { .. }
            | Event::Cue { .. }
            | Event::Mend(_) => return None,
        };
        self.hosts[node].paused.is_some().then_some(node)
    }

    fn alive(&mut self, node: usize, life: u32, act: fn(&mut Self, usize)) {
        if self.hosts[node].process.is_some() && self.hosts[node].life == life {
            act(self, node);
        }
    }

    fn input(&mut self, node: usize, life: u32, input: Input) {
        if self.hosts[node].life == life {
            self.feed(node, input);
        }
    }

    /// P1 for this service, now and when an excuse ends.
    fn judge(&mut self, service: ServiceId) {
        if let Some(until) = self.checker.one_holder(self.now, service, &self.hosts, &self.network) {
            self.schedule_at(until, Event::Judge { service });
        }
    }

    /// P1 for every service: what the clients reach has changed.
    fn judge_all(&mut self) {
        self.checker.healed_at = self.now;
        for at in 0..self.config.services.len() {
            self.judge(self.config.services[at].id);
        }
    }

    fn valid_lft(&self) -> Nanos {
        self.config.cluster.valid_lft.as_nanos() as Nanos
    }

    /// For the trace.
    pub fn fault_told(&mut self, node: usize, what: &str) {
        self.trace.mix(self.now ^ what.len() as u64);
        self.trace.tell(self.now, node, Happening::Fault(what.to_owned()));
    }

    /// Faults from now on.
    pub fn storm(&mut self) {
        self.stormy = true;
        self.ills = self.plan.ills;
        self.network.weather = self.plan.weather;
        (self.round, self.round_began) = (self.round + 1, self.now);
        if self.plan.has(Class::Few) {
            self.checker.reached.clear();
            self.schedule(0, Event::JudgeHolders);
        }
        if let Some(script) = self.script.clone() {
            let round = self.round;
            let cues = script.cues.iter().enumerate().filter(|(_, cue)| cue.round == round);
            cues.for_each(|(number, cue)| self.schedule(cue.after, Event::Cue { number }));
        }
        for (class, every) in self.plan.classes.clone() {
            let after = pause_before(every, &mut self.random);
            self.schedule(after, Event::Fault { class, every });
        }
    }
}

fn new_clock(plan: &Plan, random: &mut Random) -> Clock {
    let range = plan.drift_ppm as u64 * 2;
    // Machines have been up for anything from a second to a week.
    Clock::new(random.between(SECOND, 600_000 * SECOND), random.below(range + 1) as i64 - plan.drift_ppm)
}

/// A panic is a broken promise too: what happened before it.
impl Drop for World {
    fn drop(&mut self) {
        if !self.ended {
            let (seed, nodes) = CURRENT.get();
            eprintln!("{}\npanic in seed {seed} with {nodes} nodes", self.trace.lines().join("\n"));
        }
    }
}
