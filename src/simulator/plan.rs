//! What a run is like: the cluster and the ills that befall it, all drawn from the seed («swarm»: each
//! run has some classes of faults and not others, so that no fault hides behind another). Pure values.

use super::clock::{MILLI, Nanos, SECOND};
use super::network::Weather;
use super::random::Random;
use crate::config::{
    Cluster, Config, Failback, Interface, Node, OnConflict, Prefixed, ProbeInterval, Quorum, Service,
};
use crate::vocabulary::{NodeId, ServiceId};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// A kind of thing that happens now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// One node loses its power.
    Power,
    /// Several nodes lose their power at once.
    Several,
    /// A daemon dies: with its guardian, then the kernel goes on answering for its addresses until their lifetime
    /// ends; or the worker alone, then the guardian removes them, says LEAVE and starts another one.
    Daemon,
    /// A process stops for a while; the kernel goes on answering. Sometimes only the worker does, and its
    /// guardian ends it.
    Pause,
    /// A LAN, or both in the same way, falls apart into groups.
    Split,
    /// Both LANs fall apart in the same way; later the external one in another way, so that parts meet there.
    Crosswise,
    /// One node's port on one LAN is cut, in one direction or both, with loss of carrier or without.
    Port,
    /// One node's port on one LAN is cut, and who serves by it knows: an external port without carrier. (An external link
    /// that is silent and looks well is what `gateway` checks are for.)
    Link,
    /// Both ports of one node are cut, and it lives on.
    Cable,
    /// One pair of nodes cannot hear each other, or one of them not the other.
    Pair,
    /// Somebody types a command.
    Operator,
    /// An orderly stop.
    Stop,
    /// A changed configuration.
    Reload,
    /// Another `hello_interval`, everywhere.
    Retime,
    /// Groups of nodes cannot hear each other, or in one direction only, on the internal LAN or on both;
    /// clients reach all of them. The look is blind then: leases alone keep two holders apart.
    Isolation,
    /// An operator moves a service.
    Move,
    /// All but one lose their power, and with it the tables since the last change of the membership; the
    /// one is isolated until they are back. Nothing happens after that until everything heals.
    Amnesia,
    /// The arbiter is switched off for a while.
    Arbiter,
    /// The checks of a node say that it is unfit for some services, and gives up some of them.
    Checks,
    /// Somebody else on a living node takes an address of ours away, once or several times; sometimes its kernel does not
    /// take it back.
    Hands,
    /// A packet filter refuses all that a node's daemon sends on one LAN or both, or the queue there is full for a moment. It
    /// goes on hearing, and its kernel answers.
    Refused,
    /// A machine that is no member answers for a service's address.
    Stranger,
    /// One of a few nodes is ill, or one more; the others are well, and everybody of them is in.
    Few,
}

/// Those of a storm. Drills have `Isolation` and `Move` beside them: where fewer than a majority may
/// serve, only the look guards, and it must not be blinded.
pub const CLASSES: [Class; 12] = [
    Class::Power,
    Class::Several,
    Class::Daemon,
    Class::Pause,
    Class::Split,
    Class::Port,
    Class::Cable,
    Class::Pair,
    Class::Operator,
    Class::Stop,
    Class::Reload,
    Class::Checks,
];

/// What comes from outside: others' hands, packet filters, strangers.
pub const FOREIGN: [Class; 3] = [Class::Hands, Class::Refused, Class::Stranger];

/// Storms whose seed ends in one of these have some of that. All others tell the story that they told before there was any: a
/// seed that once broke a promise stays the proof that it does not any more.
const FOREIGN_DIGITS: [u64; 3] = [4, 5, 8];

/// Makes of the seed another source of chance than the storm's own.
const FOREIGN_CHANCE: u64 = 0x5bd1_e995_7f4a_7c15;

/// Faults chosen for one family of rules, harder than a storm may be. Always `majority`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drill {
    /// Isolations, both LANs lossy and slow by up to 60 ms, sometimes short power cuts: D, L, E, S.
    Isolation,
    /// Services moved all the time, between isolations and power cuts: H, S.
    Moves,
    /// Services moved all the time, until all but one forget that: the order of epochs (S).
    Amnesia,
    /// `hello_interval` changed all the time, between isolations and power cuts: promises and leases by times that are
    /// no longer in force.
    Times,
    /// Daemons that die or stop, on an external LAN that loses a little: F.
    Stopped,
    /// Daemons that die or stop, and fakers that stall: F1.
    Stalls,
    /// LANs that split crosswise where half or fewer may serve and no arbiter is asked: parts that meet, on one LAN or on
    /// both (M1).
    Parts,
    /// LANs that split, the arbiter now on this side and now on that: Q2. The one drill without `majority`.
    Arbiter,
    /// Fewer than half of the nodes are ill at any time, the others are well: every address has a holder all the time (P2).
    Few,
}

/// What befalls one node after another (`Class::Few`), and for how long nobody may have its addresses.
#[derive(Debug, Clone, Copy)]
pub struct OfOne {
    /// Each of one node.
    pub classes: [Class; 4],
    /// The longest time without a holder.
    pub nobody: Nanos,
}

/// Nodes that die, leave, or are cut off: their leases end, or they say goodbye.
pub const CUTS: OfOne =
    OfOne { classes: [Class::Power, Class::Link, Class::Cable, Class::Stop], nobody: SECOND };

/// Daemons that stop or die: who was seen to have an address, and is not reached then, may have it until its lifetime is over. A
/// look has to see that, so nothing is cut.
pub const STOPS: OfOne =
    OfOne { classes: [Class::Power, Class::Daemon, Class::Pause, Class::Stop], nobody: 3 * SECOND };

/// The arbiter of those clusters that ask one.
pub const ARBITER: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 254);

/// Everything that goes wrong in small, in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ills {
    /// Alias calls that fail.
    pub alias_fails: u64,
    /// Alias calls that report late, by up to 50 ms.
    pub alias_slow: u64,
    /// Records that cannot be written.
    pub disk_fails: u64,
    /// Records that take up to 300 ms.
    pub disk_slow: u64,
    /// Commands that fail.
    pub script_fails: u64,
    /// Commands that take up to a second.
    pub script_slow: u64,
    /// Timeouts that fire up to 6 ms late.
    pub busy: u64,
    /// Datagrams followed by a garbled copy.
    pub garbled: u64,
    /// Datagrams kept and sent again seconds later by somebody else.
    pub replayed: u64,
    /// Probes at which the faker stalls, for up to 80 ms: they leave late, and whatever it is asked for comes behind them.
    pub slow_faker: u64,
}

/// All that is drawn before a run begins.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What every node reads at its start.
    pub config: Config,
    /// Which classes are on, and how long from one of a class to the next on average.
    pub classes: Vec<(Class, Nanos)>,
    /// What those few have (`Class::Few`).
    pub of_one: OfOne,
    /// Both LANs while faults are on.
    pub weather: [Weather; 2],
    /// The small ills while faults are on.
    pub ills: Ills,
    /// Clocks differ in rate by up to this; parts in a million.
    pub drift_ppm: i64,
}

impl Plan {
    /// A storm for so many nodes.
    pub fn storm(nodes: usize, random: &mut Random) -> Plan {
        let mut config = config(nodes, random);
        (config.cluster.quorum, config.cluster.arbiter) = match random.below(10) {
            0 => (Quorum::Auto, Vec::new()),
            1 => (Quorum::Auto, vec![ARBITER]),
            2 => (Quorum::None, Vec::new()),
            3 => (Quorum::Arbiter, vec![ARBITER]),
            _ => (Quorum::Majority, Vec::new()),
        };
        config.cluster.failback = if random.chance(800) { Failback::Auto } else { Failback::Manual };
        config.cluster.failback_delay = Duration::from_millis(random.between(200, 3000));
        let mut plan = Plan {
            config,
            classes: Vec::new(),
            of_one: CUTS,
            weather: [weather(random), weather(random)],
            ills: ills(random),
            drift_ppm: if random.chance(700) { 300 } else { 0 },
        };
        plan.draw_classes(random);
        if !plan.config.cluster.arbiter.is_empty() && random.chance(500) {
            plan.classes.push((Class::Arbiter, random.between(1_000, 12_000) * MILLI));
        }
        plan.keep_the_look_honest(random);
        plan
    }

    /// What comes from outside into the storm of this seed, if anything: drawn apart from all the rest.
    pub fn draw_foreign(&mut self, seed: u64) {
        if !FOREIGN_DIGITS.contains(&(seed % 10)) {
            return;
        }
        let random = &mut Random::new(seed ^ FOREIGN_CHANCE);
        let known = self.classes.len();
        while self.classes.len() == known {
            for class in FOREIGN {
                if random.chance(500) {
                    self.classes.push((class, random.between(1_000, 12_000) * MILLI));
                }
            }
        }
        if random.chance(250) {
            self.ills.slow_faker = random.pick(&[20, 200]);
        }
        if random.chance(150) {
            self.config.cluster.on_conflict = OnConflict::Force;
        }
    }

    /// This class is on.
    pub fn has(&self, class: Class) -> bool {
        self.classes.iter().any(|(on, _)| *on == class)
    }

    /// A drill for so many nodes.
    pub fn drill(drill: Drill, nodes: usize, random: &mut Random) -> Plan {
        let mut plan = Plan { config: config(nodes, random), ..Plan::quiet(nodes, random) };
        plan.config.cluster.quorum = Quorum::Majority;
        plan.config.cluster.failback_delay = Duration::from_millis(random.between(200, 1000));
        let internal = Weather {
            loss: random.pick(&[0, 50, 200]),
            delay: random.pick(&[0, 50, 200]),
            ..Weather::default()
        };
        let mut every = |least: u64, most: u64| random.between(least, most) * MILLI;
        plan.classes = match drill {
            Drill::Isolation => {
                vec![(Class::Isolation, every(150, 2_000)), (Class::Power, every(300, 6_000))]
            }
            Drill::Moves => vec![(Class::Isolation, every(300, 2_000)), (Class::Move, every(100, 800))],
            Drill::Amnesia => vec![(Class::Move, every(50, 150)), (Class::Amnesia, every(6_000, 15_000))],
            Drill::Times => vec![
                (Class::Isolation, every(150, 2_000)),
                (Class::Retime, every(100, 1_500)),
                (Class::Power, every(300, 6_000)),
            ],
            Drill::Stopped | Drill::Stalls => {
                vec![(Class::Daemon, every(1_000, 5_000)), (Class::Pause, every(500, 4_000))]
            }
            Drill::Parts => vec![
                (Class::Crosswise, every(8_000, 14_000)),
                (Class::Move, every(100, 800)),
                (Class::Power, every(1_000, 8_000)),
            ],
            Drill::Arbiter => vec![(Class::Split, every(300, 4_000)), (Class::Arbiter, every(2_000, 8_000))],
            Drill::Few => vec![(Class::Few, every(300, 2_000))],
        };
        match drill {
            Drill::Isolation if random.chance(400) => plan.classes.truncate(1),
            Drill::Moves if random.chance(600) => {
                let every = random.between(1_000, 6_000) * MILLI;
                plan.classes.push((random.pick(&[Class::Power, Class::Several]), every));
            }
            Drill::Arbiter => plan.draw_minorities(nodes, random),
            Drill::Parts => plan.config.cluster.quorum = random.pick(&[Quorum::None, Quorum::Auto]),
            Drill::Isolation | Drill::Moves | Drill::Amnesia | Drill::Times | Drill::Stopped => {}
            Drill::Few => {
                plan.of_one = random.pick(&[CUTS, STOPS]);
            }
            Drill::Stalls => plan.ills.slow_faker = 100,
        }
        plan.weather = match drill {
            Drill::Isolation | Drill::Moves | Drill::Times | Drill::Arbiter => [internal; 2],
            Drill::Parts => [Weather { loss: 0, ..internal }; 2],
            Drill::Amnesia | Drill::Stalls | Drill::Few => [Weather::default(); 2],
            Drill::Stopped => [internal, Weather { loss: 50, ..Weather::default() }],
        };
        if random.chance(300) {
            plan.ills.disk_slow = 200;
        }
        if drill == Drill::Moves && random.chance(400) {
            // The new holder is up and says so too late: moves are aborted while it serves (H4).
            plan.ills.alias_slow = 300;
        }
        plan
    }

    /// Who may serve, and what else goes wrong. Daemons stop only where the careful look of a half is all
    /// that takes (`arbiter` with two nodes): more than half look shortly, and cuts blind that.
    fn draw_minorities(&mut self, nodes: usize, random: &mut Random) {
        let cluster = &mut self.config.cluster;
        cluster.arbiter = vec![ARBITER];
        cluster.quorum = random.pick(&[Quorum::Auto, Quorum::Arbiter]);
        let stops = cluster.quorum == Quorum::Arbiter && nodes == 2;
        let more: &[Class] = if stops && random.chance(700) {
            &[Class::Daemon, Class::Pause]
        } else {
            &[Class::Power, Class::Cable, Class::Port, Class::Several, Class::Stop]
        };
        for &class in more {
            if random.chance(500) {
                self.classes.push((class, random.between(1_000, 8_000) * MILLI));
            }
        }
    }

    /// Nothing goes wrong by itself.
    pub fn quiet(nodes: usize, random: &mut Random) -> Plan {
        let mut plan = Plan {
            config: config(nodes, random),
            classes: Vec::new(),
            of_one: CUTS,
            weather: [Weather::default(); 2],
            ills: Ills::default(),
            drift_ppm: 300,
        };
        for node in &mut plan.config.nodes {
            node.capacity = 1.0;
        }
        // Two nodes under `majority` stop together by definition (Q3).
        plan.config.cluster.quorum = if nodes == 2 { Quorum::Auto } else { Quorum::Majority };
        plan
    }

    fn draw_classes(&mut self, random: &mut Random) {
        while self.classes.is_empty() {
            for class in CLASSES {
                if random.chance(350) {
                    let every = random.between(1_000, 12_000) * MILLI;
                    self.classes.push((class, every));
                }
            }
        }
    }

    /// A stopped daemon cannot drop its addresses: until its kernel does, the look alone keeps others
    /// from them (F1), and a look needs an external LAN that carries it. So a run has either stopped
    /// daemons or an external LAN that is cut or very bad: two faults at once inside `valid_lft`.
    fn keep_the_look_honest(&mut self, random: &mut Random) {
        let stops = |class: &Class| matches!(class, Class::Daemon | Class::Pause);
        let cuts = |class: &Class| matches!(class, Class::Split | Class::Port | Class::Cable | Class::Pair);
        let stopping = self.classes.iter().any(|(class, _)| stops(class)) || self.ills.busy > 0;
        if !stopping {
            return;
        }
        if random.chance(500) {
            self.classes.retain(|(class, _)| !cuts(class));
            self.weather[1].loss = self.weather[1].loss.min(50);
            self.weather[1].delay = 0;
        } else {
            self.classes.retain(|(class, _)| !stops(class));
            self.ills.busy = 0;
        }
        if self.classes.is_empty() {
            self.classes.push((Class::Power, 5 * SECOND));
        }
    }
}

fn weather(random: &mut Random) -> Weather {
    Weather {
        loss: random.pick(&[0, 0, 50, 200]),
        duplication: random.pick(&[0, 0, 10, 100]),
        reordering: random.pick(&[0, 0, 50]),
        delay: random.pick(&[0, 0, 0, 5, 50]),
    }
}

fn ills(random: &mut Random) -> Ills {
    let mut rate =
        |permille: u64, rates: &[u64]| if random.chance(permille) { random.pick(rates) } else { 0 };
    Ills {
        alias_fails: rate(250, &[20, 200]),
        alias_slow: rate(250, &[20, 200]),
        disk_fails: rate(200, &[20, 200]),
        disk_slow: rate(250, &[20, 200]),
        script_fails: rate(250, &[50, 300]),
        script_slow: rate(250, &[50, 300]),
        busy: rate(200, &[10, 100]),
        garbled: rate(300, &[2, 20]),
        replayed: rate(200, &[1, 5]),
        slow_faker: 0,
    }
}

/// A cluster of `nodes`, each with a service of its own; some with more to serve or to start.
fn config(nodes: usize, random: &mut Random) -> Config {
    let mut priorities: Vec<u16> = (1..=nodes as u16).map(|rank| rank * 10).collect();
    random.shuffle(&mut priorities);
    let homeless = random.below(3) as usize;
    let services = (0..nodes + homeless).map(|at| service(at, (at < nodes).then_some(at), random)).collect();
    Config {
        cluster: cluster(),
        nodes: (0..nodes).map(|at| node(at, priorities[at], random)).collect(),
        services,
        checks: Vec::new(),
        notify: Vec::new(),
    }
}

/// The identity of the node at this place.
pub fn node_id(at: usize) -> NodeId {
    NodeId::of(Ipv4Addr::new(10, 77, 0, at as u8 + 1))
}

/// The place of the node with this identity.
pub fn place(id: NodeId) -> usize {
    (id.0 & 0xff) as usize - 1
}

fn cluster() -> Cluster {
    Cluster {
        probe_interval: ProbeInterval::Eighth,
        quorum: Quorum::Majority,
        failback_delay: Duration::from_secs(1),
        startup_wait: Duration::from_secs(2),
        script_timeout: Duration::from_secs(5),
        stop_timeout: Duration::from_secs(5),
        forget: Duration::from_secs(3),
        damping: Duration::from_secs(2),
        ..Cluster::named("simulated")
    }
}

fn node(at: usize, priority: u16, random: &mut Random) -> Node {
    let fixed =
        |third: u8| Some(Prefixed { address: Ipv4Addr::new(10, 77, third, at as u8 + 1), prefix: 24 });
    Node {
        id: node_id(at),
        name: format!("n{}", at + 1),
        priority,
        capacity: random.pick(&[1.0, 1.0, 1.0, 2.0]),
        internal: Interface { device: "eth1".to_owned(), address: fixed(0) },
        external: Interface { device: "eth0".to_owned(), address: fixed(1) },
    }
}

fn service(at: usize, home: Option<usize>, random: &mut Random) -> Service {
    let name = format!("s{}", at + 1);
    let command = random.chance(400);
    Service {
        // Not the hash of the name: numbers in the order of the table make a trace readable.
        id: ServiceId(at as u32 + 1),
        home: home.map(node_id),
        addresses: vec![Prefixed { address: IpAddr::V4(Ipv4Addr::new(10, 77, 2, at as u8 + 1)), prefix: 24 }],
        weight: 1.0,
        start: command.then(|| format!("start {name}")),
        stop: command.then(|| format!("stop {name}")),
        status: None,
        parts: Vec::new(),
        route: None,
        name,
    }
}

/// How long until the next fault of a class that comes every `mean` on average.
pub fn pause_before(mean: Nanos, random: &mut Random) -> Nanos {
    (mean / 4 + random.below(mean * 3 / 2)).clamp(10 * MILLI, 60 * SECOND)
}
