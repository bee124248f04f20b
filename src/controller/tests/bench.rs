//! A few real controllers on one virtual clock. What they send arrives after `delay` (none, unless a test
//! says otherwise), in order, unless the test cuts a path or loses that packet. Their world is tiny: the
//! kernel obeys at once and drops addresses at their end by itself; scripts and disks do what the test
//! wants. Everything is written down.

use super::settings::{mac, node, service, settings};
use crate::config::Config;
use crate::controller::{
    Action, Controller, Destination, Effect, Event, Identity, Input, Links, Planted, Record, Stamp, Wanted,
};
use crate::vocabulary::{Incarnation, Instant, LinkRole, NodeId, ServiceId};
use crate::wire::{Command, Header, Packet, Phase, State};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// Steps without progress of time: more is a controller that wakes itself for ever.
const STEPS: u32 = 20_000;

/// A worker of a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Worker {
    /// Does at once what it is asked.
    #[default]
    Works,
    /// Answers at once that it could not.
    Fails,
    /// Does not answer.
    Hangs,
}

/// A packet as it left.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Instant,
    pub from: usize,
    pub to: Destination,
    pub packet: Packet,
}

/// One machine.
#[derive(Default)]
pub struct Machine {
    pub controller: Option<Controller>,
    life: u32,
    incarnation: u64,
    sequence: u64,
    /// What survives.
    pub record: Option<Record>,
    /// In the kernel.
    pub aliases: Vec<ServiceId>,
    pub order: Wanted,
    pub scripts: Worker,
    pub disk: Worker,
    /// Obeys and tells, or hangs.
    pub faker: Worker,
    /// The command that hangs.
    running: Option<(ServiceId, Action, u64)>,
    /// The write that hangs.
    pub unwritten: Option<(Record, u64)>,
    pub events: Vec<(Instant, Event)>,
    pub answers: Vec<(u64, Result<(), String>)>,
    pub runs: Vec<(Instant, ServiceId, Action)>,
    pub probes: Vec<(Instant, ServiceId)>,
    pub asked: Vec<Instant>,
    pub announced: Vec<(Instant, ServiceId)>,
    /// Every state that it adopted.
    pub states: Vec<(Instant, State)>,
    pub left: Option<Instant>,
}

enum Happening {
    Deliver { to: usize, header: Header, packet: Packet },
    Input { to: usize, life: u32, input: Input },
}

type Loss = Box<dyn Fn(&Sent, usize) -> bool>;

pub struct Bench {
    pub now: Instant,
    pub config: Arc<Config>,
    pub machines: Vec<Machine>,
    pub delay: Duration,
    /// Everything that was sent since `forget`.
    pub sent: Vec<Sent>,
    cuts: BTreeSet<(usize, usize)>,
    lost: Option<Loss>,
    /// Somebody outside answers for this address until then.
    strangers: BTreeMap<ServiceId, (Instant, [u8; 6])>,
    /// Machines that do not reach that arbiter.
    pub without_arbiter: BTreeSet<(usize, Ipv4Addr)>,
    queue: BTreeMap<(Instant, u64), Happening>,
    order: u64,
    asked: u64,
}

impl Bench {
    /// Machines that are switched off.
    pub fn new(config: Config) -> Self {
        let machines = config.nodes.iter().map(|_| Machine::default()).collect();
        Bench {
            now: Instant::ZERO + Duration::from_secs(1000),
            config: Arc::new(config),
            machines,
            delay: Duration::ZERO,
            sent: Vec::new(),
            cuts: BTreeSet::new(),
            lost: None,
            strangers: BTreeMap::new(),
            without_arbiter: BTreeSet::new(),
            queue: BTreeMap::new(),
            order: 0,
            asked: 0,
        }
    }

    /// A cluster of so many, everything at home, node 0 its controller, nothing under way.
    pub fn formed(nodes: usize) -> Self {
        Bench::formed_of(settings(nodes))
    }

    pub fn formed_of(config: Config) -> Self {
        let mut bench = Bench::new(config);
        for at in 0..bench.machines.len() {
            bench.start(at);
        }
        bench.wait("the cluster to form", 8000, Bench::is_settled);
        // The first exchanges after the last commit are over as well.
        bench.run(500);
        bench.forget();
        bench
    }

    /// All that run are members of one state, led by the first of them, every service is held by exactly
    /// the one that the table names and nothing is under way.
    pub fn is_settled(&self) -> bool {
        let running: Vec<usize> =
            (0..self.machines.len()).filter(|&at| self.machines[at].controller.is_some()).collect();
        let Some(&first) = running.first() else { return true };
        let Some(state) = self.state(first) else { return false };
        let ids: Vec<NodeId> = state.members.iter().map(|member| member.id).collect();
        ids == running.iter().map(|&at| node(at)).collect::<Vec<_>>()
            && running.iter().all(|&at| {
                let view = self.controller(at).view(self.now);
                self.state(at) == Some(state) && view.controller == Some(node(first)) && view.quorum
            })
            && state.table.iter().all(|slot| {
                let holders = self.holders(slot.service);
                let serves = holders.iter().map(|&at| Some(node(at))).collect::<Vec<_>>() == [slot.holder];
                let cannot = slot.holder.is_none() && holders.is_empty();
                slot.phase == Phase::Held && (serves || cannot)
            })
    }

    // ── what a test asks ────────────────────────────────────────────────────────────────────────────

    pub fn controller(&self, at: usize) -> &Controller {
        self.machines[at].controller.as_ref().expect("it runs")
    }

    /// What that node takes for the cluster's state.
    pub fn state(&self, at: usize) -> Option<&State> {
        self.machines[at].controller.as_ref()?.committed.as_ref()
    }

    /// The nodes whose kernel answers for this address.
    pub fn holders(&self, service: ServiceId) -> Vec<usize> {
        (0..self.machines.len()).filter(|&at| self.machines[at].aliases.contains(&service)).collect()
    }

    /// Who holds it, by the state that node `at` knows.
    pub fn holder(&self, at: usize, service: ServiceId) -> Option<NodeId> {
        self.state(at)?.slot(service)?.holder
    }

    pub fn phase(&self, at: usize, service: ServiceId) -> Phase {
        self.state(at).and_then(|state| state.slot(service)).expect("a service of the table").phase
    }

    /// The members by the state that node `at` knows.
    pub fn members(&self, at: usize) -> Vec<NodeId> {
        self.state(at).map(|state| state.members.iter().map(|member| member.id).collect()).unwrap_or_default()
    }

    /// The first such event on that node since `forget`.
    pub fn event(&self, at: usize, wanted: impl Fn(&Event) -> bool) -> Option<Instant> {
        self.machines[at].events.iter().find(|(_, event)| wanted(event)).map(|(when, _)| *when)
    }

    /// The first such packet since `forget`.
    pub fn packet(&self, from: usize, wanted: impl Fn(&Packet) -> bool) -> Option<&Sent> {
        self.sent.iter().find(|sent| sent.from == from && wanted(&sent.packet))
    }

    pub fn count(&self, from: usize, wanted: impl Fn(&Packet) -> bool) -> usize {
        self.sent.iter().filter(|sent| sent.from == from && wanted(&sent.packet)).count()
    }

    /// The phases of this service in the states that node `at` adopted since `forget`.
    pub fn phases(&self, at: usize, service: ServiceId) -> Vec<Phase> {
        let states = self.machines[at].states.iter();
        let mut phases: Vec<Phase> =
            states.filter_map(|(_, state)| state.slot(service)).map(|slot| slot.phase).collect();
        phases.dedup();
        phases
    }

    // ── what a test does ────────────────────────────────────────────────────────────────────────────

    /// Switches it on: a new life that reads what the last one wrote.
    pub fn start(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.life += 1;
        machine.incarnation += 1;
        machine.order = Wanted::default();
        machine.left = None;
        let identity = Identity {
            id: node(at),
            incarnation: Incarnation(machine.incarnation),
            record: machine.record.clone(),
            seed: 0x5eed_0000 + at as u64,
        };
        machine.controller = Some(Controller::new(Arc::clone(&self.config), identity, self.now));
        self.call(at, |_, _| {});
    }

    /// Its power fails.
    pub fn kill(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.controller = None;
        machine.aliases.clear();
        machine.order = Wanted::default();
    }

    pub fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    /// Nobody hears it, and it hears nobody, on either LAN.
    pub fn isolate(&mut self, at: usize) {
        for other in (0..self.machines.len()).filter(|&other| other != at) {
            self.cut(at, other);
            self.cut(other, at);
        }
    }

    pub fn heal(&mut self) {
        self.cuts.clear();
        self.lost = None;
    }

    /// Packets to that place for which this says so are lost from now on.
    pub fn lose(&mut self, loss: impl Fn(&Sent, usize) -> bool + 'static) {
        self.lost = Some(Box::new(loss));
    }

    /// Somebody outside answers probes for this address, so long.
    pub fn answer_for(&mut self, service: ServiceId, duration: Duration) {
        self.strangers.insert(service, (self.now + duration, [2, 0, 0, 0, 0, 99]));
    }

    /// Nobody outside answers any more.
    pub fn strangers_fall_silent(&mut self) {
        self.strangers.clear();
    }

    /// The kernel of this place answers probes for this address, so long, whatever became of its daemon.
    pub fn kernel_answers(&mut self, at: usize, service: ServiceId, duration: Duration) {
        self.strangers.insert(service, (self.now + duration, mac(at)));
    }

    /// Everything written down so far is of no interest.
    pub fn forget(&mut self) {
        self.sent.clear();
        for machine in &mut self.machines {
            machine.events.clear();
            machine.answers.clear();
            machine.runs.clear();
            machine.probes.clear();
            machine.asked.clear();
            machine.announced.clear();
            machine.states.clear();
        }
    }

    /// Whatever hung before is answered now, as the worker does from now on.
    pub fn set_disk(&mut self, at: usize, disk: Worker) {
        self.machines[at].disk = disk;
        if let Some((record, token)) = self.machines[at].unwritten.take() {
            self.write(at, record, token);
            self.run(0);
        }
    }

    /// What it was told meanwhile it does now.
    pub fn set_faker(&mut self, at: usize, faker: Worker) {
        self.machines[at].faker = faker;
        self.obey(at);
        self.run(0);
    }

    /// The command that hung ends now, as all from now on.
    pub fn set_scripts(&mut self, at: usize, scripts: Worker) {
        self.machines[at].scripts = scripts;
        self.end_command(at);
        self.run(0);
    }

    pub fn input(&mut self, at: usize, input: Input) {
        self.call(at, |controller, now| controller.handle(now, input));
        self.run(0);
    }

    /// As if `from` had said it, at its present epoch.
    pub fn inject(&mut self, from: usize, to: usize, packet: Packet) {
        let header = self.header(from);
        self.inject_with(to, header, packet);
    }

    pub fn inject_with(&mut self, to: usize, header: Header, packet: Packet) {
        self.input(to, Input::Packet { header, packet });
    }

    /// All controllers make this mistake from now on.
    pub fn plant(&mut self, planted: Option<Planted>) {
        for controller in self.machines.iter_mut().filter_map(|machine| machine.controller.as_mut()) {
            controller.planted = planted;
        }
    }

    /// What `from` writes above its packets now.
    pub fn header(&mut self, from: usize) -> Header {
        let stamp = self.controller(from).stamp();
        self.stamped(from, stamp, None)
    }

    /// Types a command on that node and waits for the answer.
    pub fn command(&mut self, at: usize, command: Command) -> Result<(), String> {
        self.asked += 1;
        let id = self.asked;
        self.input(at, Input::Command { id, command });
        self.wait("an answer", 3000, |bench| bench.answer(at, id).is_some());
        self.answer(at, id).expect("waited for")
    }

    fn answer(&self, at: usize, id: u64) -> Option<Result<(), String>> {
        self.machines[at].answers.iter().find(|(asked, _)| *asked == id).map(|(_, answer)| answer.clone())
    }

    pub fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.step(end) {}
    }

    pub fn run_to(&mut self, end: Instant) {
        while self.step(end) {}
    }

    /// Runs until it is so; the moment at which it became so.
    pub fn wait(&mut self, what: &str, millis: u64, is_so: impl Fn(&Bench) -> bool) -> Instant {
        let end = self.now + Duration::from_millis(millis);
        while !is_so(self) {
            assert!(self.step(end), "waited {millis} ms in vain for {what}:\n{}", self.story());
        }
        self.now
    }

    /// Fails at the first moment at which it is not so.
    pub fn always(&mut self, what: &str, millis: u64, is_so: impl Fn(&Bench) -> bool) {
        let end = self.now + Duration::from_millis(millis);
        loop {
            assert!(is_so(self), "{what} ended:\n{}", self.story());
            if !self.step(end) {
                return;
            }
        }
    }

    fn story(&self) -> String {
        let mut lines: Vec<(Instant, String)> = Vec::new();
        for (at, machine) in self.machines.iter().enumerate() {
            let told = machine.events.iter().rev().take(30);
            lines.extend(told.map(|(when, event)| (*when, format!("n{at} {event:?}"))));
        }
        lines.sort();
        let ended = format!("now {:?}", self.now);
        let lines = lines.into_iter().map(|(when, line)| format!("{} {line}", when.as_nanos() / 1000));
        lines.chain([ended]).collect::<Vec<_>>().join("\n")
    }

    // ── how the world goes ──────────────────────────────────────────────────────────────────────────

    /// The next thing that happens until `end`; false if nothing does, and then it is `end`.
    fn step(&mut self, end: Instant) -> bool {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let timers = self.machines.iter().filter_map(|machine| {
            let due = machine.controller.as_ref()?.next_timeout();
            Some(due.min(machine.next_drop(self.now)))
        });
        let next = queued.into_iter().chain(timers).min().unwrap_or(Instant::MAX).max(self.now);
        if next > end {
            self.now = end;
            return false;
        }
        if next > self.now {
            self.order &= !0xffff_ffff;
            self.order += 1 << 32;
        }
        self.order += 1;
        assert!(self.order as u32 <= STEPS, "nothing ends at {next:?}:\n{}", self.story());
        self.now = next;
        // What has arrived comes before what has expired.
        if queued == Some(next) {
            let (_, happening) = self.queue.pop_first().expect("just seen");
            match happening {
                Happening::Deliver { to, header, packet } => {
                    self.call(to, |controller, now| controller.handle(now, Input::Packet { header, packet }));
                }
                Happening::Input { to, life, input } if self.machines[to].life == life => {
                    self.call(to, |controller, now| controller.handle(now, input));
                }
                Happening::Input { .. } => {}
            }
            return true;
        }
        for at in 0..self.machines.len() {
            if self.machines[at].next_drop(self.now) <= self.now {
                self.obey(at);
            }
            let due = self.machines[at].controller.as_ref().map(Controller::next_timeout);
            if due.is_some_and(|due| due <= self.now) {
                self.call(at, Controller::handle_timeout);
            }
        }
        true
    }

    fn later(&mut self, after: Duration, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), happening);
    }

    fn report(&mut self, to: usize, input: Input) {
        let life = self.machines[to].life;
        self.later(Duration::ZERO, Happening::Input { to, life, input });
    }

    fn call(&mut self, at: usize, act: impl FnOnce(&mut Controller, Instant)) {
        let now = self.now;
        let before = self.state(at).map(|state| (state.epoch, state.lineage));
        let Some(controller) = &mut self.machines[at].controller else { return };
        act(controller, now);
        while let Some(effect) = self.machines[at].controller.as_mut().and_then(Controller::next_effect) {
            self.execute(at, effect);
        }
        let after = self.state(at).filter(|state| before != Some((state.epoch, state.lineage))).cloned();
        if let Some(state) = after {
            self.machines[at].states.push((now, state));
        }
    }

    fn execute(&mut self, at: usize, effect: Effect) {
        let now = self.now;
        let machine = &mut self.machines[at];
        match effect {
            Effect::Send { to, links, packet } => self.send(at, to, links, packet),
            Effect::Serve(wanted) => {
                machine.order = wanted;
                self.obey(at);
            }
            Effect::Announce { service } => machine.announced.push((now, service)),
            Effect::Probe { service, .. } => {
                machine.probes.push((now, service));
                let hears = |holder: usize| {
                    holder != at && ![(at, holder), (holder, at)].iter().any(|path| self.cuts.contains(path))
                };
                let mut answer: Vec<[u8; 6]> =
                    self.holders(service).into_iter().filter(|&holder| hears(holder)).map(mac).collect();
                answer.extend(
                    self.strangers.get(&service).filter(|(until, _)| now < *until).map(|(_, mac)| *mac),
                );
                answer.into_iter().for_each(|mac| self.report(at, Input::Claimed { service, mac }));
            }
            Effect::AskArbiter => {
                machine.asked.push(now);
                let mut answering = self.config.cluster.arbiter.clone();
                answering.retain(|&arbiter| !self.without_arbiter.contains(&(at, arbiter)));
                answering.into_iter().for_each(|arbiter| self.report(at, Input::ArbiterAnswered { arbiter }));
            }
            Effect::Run { service, action, token } => {
                machine.runs.push((now, service, action));
                machine.running = Some((service, action, token));
                self.end_command(at);
            }
            Effect::Store { record, token } => self.write(at, *record, token),
            Effect::Answer { id, result } => machine.answers.push((id, result)),
            Effect::Event(event) => machine.events.push((now, event)),
            Effect::Reborn(incarnation) => machine.incarnation = incarnation.0,
            Effect::Left => {
                machine.left = Some(now);
                machine.controller = None;
                machine.life += 1;
            }
        }
    }

    fn end_command(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let ok = machine.scripts == Worker::Works;
        if machine.scripts != Worker::Hangs
            && let Some((service, action, token)) = machine.running.take()
        {
            self.report(at, Input::Ran { service, action, token, ok });
        }
    }

    fn write(&mut self, at: usize, record: Record, token: u64) {
        let machine = &mut self.machines[at];
        match machine.disk {
            Worker::Works => {
                machine.record = Some(record);
                self.report(at, Input::Stored { token, ok: true });
            }
            Worker::Fails => self.report(at, Input::Stored { token, ok: false }),
            Worker::Hangs => machine.unwritten = Some((record, token)),
        }
    }

    /// The kernel's addresses become what is wanted at this moment.
    fn obey(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if machine.faker == Worker::Hangs {
            return;
        }
        let before = std::mem::replace(&mut machine.aliases, machine.order.at(self.now).collect());
        let (answers, up) = (machine.order.number, machine.aliases.clone());
        let at_once = &machine.order.at_once;
        let came_up = up.iter().filter(|service| !before.contains(service) && at_once.contains(service));
        let announced: Vec<ServiceId> = came_up.copied().collect();
        machine.announced.extend(announced.iter().map(|&service| (self.now, service)));
        self.report(at, Input::Present { answers, up, announced });
    }

    fn send(&mut self, from: usize, to: Destination, links: Links, mut packet: Packet) {
        if let Packet::Status(status) = &mut packet {
            status.mac = mac(from);
        }
        let stamp = self.controller(from).stamp();
        let sent = Sent { at: self.now, from, to, packet };
        let receivers = (0..self.machines.len()).filter(|&at| at != from);
        let receivers: Vec<usize> = receivers
            .filter(|&at| to == Destination::All || to == Destination::Node(node(at)))
            .filter(|&at| !self.cuts.contains(&(from, at)))
            .filter(|&at| !self.lost.as_ref().is_some_and(|lost| lost(&sent, at)))
            .collect();
        let link = if links == Links::External { LinkRole::External } else { LinkRole::Internal };
        for at in receivers {
            let header = Header { link, ..self.stamped(from, stamp, Some(node(at))) };
            self.later(self.delay, Happening::Deliver { to: at, header, packet: sent.packet.clone() });
        }
        self.sent.push(sent);
    }

    fn stamped(&mut self, from: usize, stamp: Stamp, to: Option<NodeId>) -> Header {
        let machine = &mut self.machines[from];
        machine.sequence += 1;
        Header {
            from: node(from),
            to,
            incarnation: stamp.incarnation,
            sequence: machine.sequence,
            link: LinkRole::Internal,
            epoch: stamp.epoch,
            lineage: stamp.lineage,
        }
    }
}

impl Machine {
    /// When the kernel drops the next address by itself.
    fn next_drop(&self, now: Instant) -> Instant {
        let up = |service: &ServiceId| self.aliases.contains(service);
        let ending = self.order.ending.iter().filter(|(service, _)| up(service)).map(|(_, at)| *at);
        let all = self.order.services.iter().any(up).then_some(self.order.until);
        ending.chain(all).min().map_or(Instant::MAX, |at| at.max(now))
    }
}

/// Every service at the node at this place, by the table and in the kernels.
pub fn serves(bench: &Bench, at: usize, services: &[usize]) -> bool {
    services.iter().all(|&index| bench.holders(service(index)) == [at])
}
