//! A configuration that is right by construction: only `parse` makes one.

use super::notify::Notify;
use super::options::CheckOptions;
use crate::vocabulary::{NodeId, ServiceId};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The whole of `/etc/diehard.conf`: the same on every node.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[node NAME]`, in the order of `NodeId`.
    pub nodes: Vec<Node>,
    /// `[service NAME]`, in the order of `ServiceId`.
    pub services: Vec<Service>,
    /// `[check NAME]`, in the order of the file.
    pub checks: Vec<Check>,
    /// `[notify NAME]`, in the order of the file.
    pub notify: Vec<Notify>,
}

/// `[cluster]`
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Bound into every packet's authentication. 1–32 characters of `[A-Za-z0-9._-]`.
    pub name: String,
    /// The cluster's secret; default `/etc/diehard.key`.
    pub key_file: PathBuf,
    /// UDP; default 694 (IANA ha-cluster).
    pub port: u16,
    /// T; default 100 ms, 10 ms to 10 s.
    pub hello_interval: Duration,
    /// «More than this many» unanswered; default 3, 1 to 20.
    pub hello_misses: u32,
    /// p; default auto.
    pub probe_interval: ProbeInterval,
    /// Who may serve; default auto.
    pub quorum: Quorum,
    /// Addresses on the external LAN that tell a cut from a death; default none.
    pub arbiter: Vec<Ipv4Addr>,
    /// Default auto.
    pub failback: Failback,
    /// How long a returned node must be stable; default 5 s.
    pub failback_delay: Duration,
    /// How long a cold start waits for others before it touches services that are not its own; default 10 s.
    pub startup_wait: Duration,
    /// Time limit of `start` and `stop`; default 30 s.
    pub script_timeout: Duration,
    /// How long a TERM waits for the hand-over before it leaves all the same; default 30 s.
    pub stop_timeout: Duration,
    /// How long a failed start keeps a node from that service; default 10 min.
    pub forget: Duration,
    /// The kernel drops an alias by itself after this; default 2 s, at least 1 s.
    pub valid_lft: Duration,
    /// Announce every held address again this often; default 60 s; 0 = never.
    pub arp_refresh: Duration,
    /// What to do where a stranger goes on answering; default wait.
    pub on_conflict: OnConflict,
    /// Run with a hello interval that this machine cannot keep safely (L8); default no.
    pub force_interval: bool,
    /// A check's policy may restart the machine; default no.
    pub allow_reboot: bool,
    /// What tells how much a node has to do, where a holder is chosen; default services.
    pub load: LoadSource,
    /// The command of `load = script`.
    pub load_script: Option<String>,
    /// Half-life of what is held against a node that comes and goes; default 5 min; 0 = nothing is.
    pub damping: Duration,
    /// How much goes into the log; default info.
    pub log_level: LogLevel,
    /// Run for every event; default none.
    pub notify: Option<String>,
}

impl Cluster {
    /// A cluster of this name by the defaults.
    pub fn named(name: impl Into<String>) -> Self {
        let seconds = Duration::from_secs;
        Cluster {
            name: name.into(),
            key_file: "/etc/diehard.key".into(),
            port: 694,
            hello_interval: Duration::from_millis(100),
            hello_misses: 3,
            probe_interval: ProbeInterval::Auto,
            quorum: Quorum::Auto,
            arbiter: Vec::new(),
            failback: Failback::Auto,
            failback_delay: seconds(5),
            startup_wait: seconds(10),
            script_timeout: seconds(30),
            stop_timeout: seconds(30),
            forget: seconds(600),
            valid_lft: seconds(2),
            arp_refresh: seconds(60),
            on_conflict: OnConflict::Wait,
            force_interval: false,
            allow_reboot: false,
            load: LoadSource::Services,
            load_script: None,
            damping: seconds(300),
            log_level: LogLevel::Info,
            notify: None,
        }
    }
}

/// `load`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadSource {
    /// The weights of the services held ÷ capacity.
    Services,
    /// The load average of the last minute ÷ processors.
    Loadavg,
    /// The share of the processors that is busy.
    Cpu,
    /// TCP connections ÷ 1000 ÷ capacity.
    Connections,
    /// The number that `load_script` prints: 1 is a full machine.
    Script,
}

/// `log_level`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What needs somebody now.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And each event.
    Info,
    /// And what helps to find a mistake in Diehard.
    Debug,
}

/// `probe_interval`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeInterval {
    /// T/8, down to T/16 where measured lateness allows it.
    Auto,
    /// T/8 always.
    Eighth,
    /// T/16 always.
    Sixteenth,
}

/// `quorum` (protocol.md, Q)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    /// More than half; half or fewer only with an arbiter's answer, or where none is configured.
    Auto,
    /// More than half or nothing.
    Majority,
    /// Whoever reaches an arbiter.
    Arbiter,
    /// Whoever lives.
    None,
}

/// `failback`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failback {
    /// A returned node gets its services back by itself.
    Auto,
    /// Only by `diehard failback`.
    Manual,
}

/// `on_conflict` (F2)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// Wait until the stranger stops.
    Wait,
    /// Take the address all the same, loudly.
    Force,
}

/// `[node NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// From the internal address.
    pub id: NodeId,
    /// 1–32 characters of `[A-Za-z0-9._-]`.
    pub name: String,
    /// Unique; the highest live one is the controller. 1 to 65535.
    pub priority: u16,
    /// Relative; default 1.0. 0: a member that never serves.
    pub capacity: f64,
    /// The cluster's own LAN: always with an address.
    pub internal: Interface,
    /// The LAN of the clients.
    pub external: Interface,
}

/// `DEVICE [ADDRESS/PREFIX]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// 1–15 bytes.
    pub device: String,
    /// The node's own fixed address there.
    pub address: Option<Prefixed<Ipv4Addr>>,
}

/// `ADDRESS/PREFIX`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixed<A> {
    /// The host's address.
    pub address: A,
    /// Length of the network part in bits.
    pub prefix: u8,
}

/// `[service NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// From the name.
    pub id: ServiceId,
    /// 1–32 characters of `[A-Za-z0-9._-]`.
    pub name: String,
    /// Where it belongs; `None`: `any`.
    pub home: Option<NodeId>,
    /// At least one; no two services share one.
    pub addresses: Vec<Prefixed<IpAddr>>,
    /// Relative; default 1.0, more than 0.
    pub weight: f64,
    /// What `Agent` reads; `None`: the server runs anyway.
    pub start: Option<String>,
    /// What `Agent` reads.
    pub stop: Option<String>,
    /// What `Agent` reads; a check of type `service` asks it.
    pub status: Option<String>,
    /// Started after it and stopped before it, in this order and its reverse.
    pub parts: Vec<Part>,
    /// `default via GATEWAY`: a route that comes and goes with the address.
    pub route: Option<Ipv4Addr>,
}

/// `[part NAME]`: one of several servers that are one service, with one holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// 1–32 characters of `[A-Za-z0-9._-]`.
    pub name: String,
    /// What `Agent` reads.
    pub start: String,
    /// What `Agent` reads.
    pub stop: Option<String>,
    /// What `Agent` reads.
    pub status: Option<String>,
}

/// `[check NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// 1–32 characters of `[A-Za-z0-9._-]`.
    pub name: String,
    /// What a failure concerns.
    pub scope: CheckScope,
    /// What it looks at.
    pub kind: CheckKind,
    /// URL, address, path or command, as the kind wants it.
    pub target: String,
    /// Default 1 s.
    pub interval: Duration,
    /// Default 500 ms, less than the interval or equal.
    pub timeout: Duration,
    /// Failures in a row before it counts as failed; default 3.
    pub fail: u32,
    /// Successes in a row before it counts as well again; default 2.
    pub rise: u32,
    /// Steps, in order; default `alert`.
    pub policy: Vec<PolicyStep>,
    /// What its type has beside these.
    pub options: CheckOptions,
}

/// What a check's failure concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckScope {
    /// `service = NAME`
    Service(ServiceId),
    /// `service = node`
    Node,
}

/// `type`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CheckKind {
    Http,
    Tcp,
    Process,
    Script,
    Link,
    Gateway,
    Disk,
    Memory,
    Load,
    Fd,
    Clock,
    Dns,
    Service,
}

/// One step of `policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyStep {
    /// Say so.
    Alert,
    /// `restart:TIMES/WINDOW`: here, at most so often in that time.
    Restart {
        /// How often.
        times: u32,
        /// In which time.
        window: Duration,
    },
    /// This service to the best other node.
    Move,
    /// The whole node gives everything away.
    Standby,
    /// Restart the machine.
    Reboot,
}

impl Service {
    /// All that is started where it is taken, in this order; nothing: the server runs anyway.
    pub fn starts(&self) -> impl Iterator<Item = &str> {
        self.start.as_deref().into_iter().chain(self.parts.iter().map(|part| part.start.as_str()))
    }

    /// All that is stopped where it was given away, in this order.
    pub fn stops(&self) -> impl Iterator<Item = &str> {
        let parts = self.parts.iter().rev().filter_map(|part| part.stop.as_deref());
        parts.chain(self.stop.as_deref())
    }

    /// All that can be asked whether it runs, each with the name of its part.
    pub fn statuses(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let parts =
            self.parts.iter().filter_map(|part| Some((Some(part.name.as_str()), part.status.as_deref()?)));
        self.status.as_deref().map(|status| (None, status)).into_iter().chain(parts)
    }
}

impl Check {
    /// The address that it asks, where its target names one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.kind {
            CheckKind::Http => {
                let rest =
                    self.target.strip_prefix("http://").or_else(|| self.target.strip_prefix("https://"))?;
                let host = rest.split(['/', '?', '#']).next()?;
                if let Some(inner) = host.strip_prefix('[') {
                    return inner.split(']').next()?.parse().ok();
                }
                host.split(':').next()?.parse().ok()
            }
            CheckKind::Tcp => self.target.parse::<SocketAddr>().ok().map(|target| target.ip()),
            CheckKind::Dns => {
                let (_, server) = self.target.rsplit_once('@')?;
                server.parse().ok().or_else(|| server.parse::<SocketAddr>().ok().map(|server| server.ip()))
            }
            _ => None,
        }
    }
}

impl Config {
    /// Can it be well only where its service is held? It asks the service's own address; or it looks at a server
    /// that the service's `start` command starts, which runs nowhere else. All other checks run on every node,
    /// so that a node is known to be fit before it is chosen.
    pub fn runs_only_where_held(&self, check: &Check) -> bool {
        let CheckScope::Service(id) = check.scope else { return false };
        let Some(service) = self.service(id) else { return false };
        let own = |address| service.addresses.iter().any(|it| it.address == address);
        let server = match check.kind {
            CheckKind::Http
            | CheckKind::Tcp
            | CheckKind::Process
            | CheckKind::Script
            | CheckKind::Service => true,
            CheckKind::Fd => !check.target.starts_with("system "),
            CheckKind::Link
            | CheckKind::Gateway
            | CheckKind::Disk
            | CheckKind::Memory
            | CheckKind::Load
            | CheckKind::Clock
            | CheckKind::Dns => false,
        };
        check.address().is_some_and(own) || (server && service.starts().next().is_some())
    }

    /// Everybody who is told what happens: `notify` of the cluster first.
    pub fn targets(&self) -> impl Iterator<Item = Notify> + '_ {
        self.cluster.notify.as_deref().map(Notify::plain).into_iter().chain(self.notify.iter().cloned())
    }

    /// The node with this identity.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        let at = self.nodes.binary_search_by_key(&id, |node| node.id).ok()?;
        self.nodes.get(at)
    }

    /// The node with this name.
    pub fn node_named(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The service with this identity.
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        let at = self.services.binary_search_by_key(&id, |service| service.id).ok()?;
        self.services.get(at)
    }

    /// The service with this name.
    pub fn service_named(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }
}
