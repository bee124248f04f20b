//! The object of `diehard status --json` (its field names are an interface). PURE: a function of the
//! controller's view and the configuration; the daemon builds it, `diehard` prints it.

use super::checks::Line;
use super::drift;
use super::events::rfc3339;
use crate::config::{CheckKind, CheckScope, Config};
use crate::controller::{NodeState, NodeView, ServiceState, ServiceView, View};
use crate::recovery::Standing;
use crate::vocabulary::{LinkRole, NodeId, ServiceId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

mod forecast;
mod keys;
mod notes;
pub use forecast::{Fate, Forecast};

/// The cluster as one node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// The node that answers.
    pub node: String,
    /// `TERM.VERSION` of the committed state.
    pub epoch: String,
    /// The controller that the node follows (or is).
    pub controller: Option<String>,
    /// The node has a lease or the root: it may serve.
    pub quorum: bool,
    /// No automatic moves.
    pub frozen: bool,
    /// Every configured node and every member, in the order of their internal addresses.
    pub nodes: Vec<NodeStatus>,
    /// Every service of the table and of the configuration, in the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// The answering node's life.
    pub incarnation: u64,
    /// 16 hexadecimal digits: differs where a minority went on alone.
    pub lineage: String,
    /// How long the answering node may still serve without being granted more; null: it may not.
    pub lease_ms: Option<f64>,
    /// T in force.
    pub hello_interval_ms: f64,
    /// p in force.
    pub probe_interval_ms: f64,
    /// Worst lateness of the answering node's heartbeat in the last 10 s.
    pub lateness_ms: f64,
    /// What happens when a node dies: for each that holds something.
    pub forecast: Vec<Forecast>,
    /// Living nodes whose configuration differs from what most have.
    pub config_drift: Vec<String>,
    /// While keys are being changed: nodes that do not have the new one, or do not use it yet; else null.
    pub key_change_waits_for: Option<Vec<String>>,
    /// What the answering node's network threads counted.
    #[serde(default)]
    pub traffic: Traffic,
}

/// What the answering node counted since its start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Datagrams thrown away, by reason; every reason is there.
    pub rejected: BTreeMap<String, u64>,
    /// Announcements of an address that went out (gratuitous ARP, neighbour advertisements).
    pub announcements: u64,
    /// Datagrams that found the driver too busy.
    pub unheard: u64,
    /// Datagrams and frames that waited too long, or in vain, to be sent.
    pub unsent: u64,
    /// Sends that the own machine refused.
    pub send_failures: u64,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// From the configuration, else as it calls itself, else its internal address.
    pub name: String,
    /// `up`, `suspect`, `down`, `joining`, `standby`, `leaving`.
    pub state: String,
    /// The life that is a member; null: none is.
    pub incarnation: Option<u64>,
    /// Null where the answering node's configuration does not know it.
    pub priority: Option<u16>,
    /// Neighbour in the ring.
    pub left: Option<String>,
    /// Neighbour in the ring.
    pub right: Option<String>,
    /// Held weight ÷ capacity, or what `load` measures.
    pub load: f64,
    /// It comes and goes, and is used again by what can wait after so long.
    pub damped_ms: Option<f64>,
    /// Null where the answering node's configuration does not know it.
    pub capacity: Option<f64>,
    /// Its cards.
    pub links: Vec<LinkView>,
    /// 16 hexadecimal digits, the same on every node of a well-kept cluster; null: not heard yet.
    pub config_digest: Option<String>,
    /// The version that was agreed on last, as far as the node knows; 0: none was; null: not heard yet.
    pub config_version: Option<u64>,
    /// Its internal address.
    pub address: String,
    /// How long ago the answering node heard it; null for itself and for one never heard.
    pub heard_ms: Option<f64>,
    /// Over which of its links the answering node hears it.
    pub heard_on: Vec<String>,
    /// How long its last acknowledgement of the answering node's HELLO took; of the right neighbour alone.
    #[serde(default)]
    pub round_trip_ms: Option<f64>,
    /// Worst lateness of its heartbeat in the last 10 s, as it says.
    pub lateness_ms: Option<f64>,
    /// Datagrams that it threw away since its start.
    pub rejected: Option<u64>,
    /// What is looked at of the node itself; told of the answering node alone.
    pub checks: Vec<CheckView>,
}

/// One card of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkView {
    /// Its name there.
    pub device: String,
    /// `internal` or `external`.
    pub role: String,
    /// `up`, `down`, or `unknown` before the node told.
    pub state: String,
    /// The left neighbour's HELLO arrives on it; null: unknown.
    pub hears_left: Option<bool>,
    /// The right neighbour's answers arrive on it; null: unknown.
    pub hears_right: Option<bool>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// From the configuration, else its number.
    pub name: String,
    /// The node's name, or `any`; null where the answering node's configuration does not know it.
    pub home: Option<String>,
    /// Who has it by the table.
    pub holder: Option<String>,
    /// `held`, `moving`, `stopped`, `failed`, `orphaned`.
    pub state: String,
    /// `ADDRESS/PREFIX`.
    pub addresses: Vec<String>,
    /// What is looked at.
    pub checks: Vec<CheckView>,
    /// Where it is going, while it moves.
    pub to: Option<String>,
    /// Relative; null where the answering node's configuration does not know it.
    pub weight: Option<f64>,
    /// Its addresses are up on the answering node.
    pub here: bool,
    /// Hardware address of the stranger who has its address: instead of its holder (`orphaned`), or beside
    /// it (`held`).
    pub stranger: Option<String>,
    /// Why it is not at home, or not served: one phrase for people.
    pub note: Option<String>,
}

/// One check, as the answering node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckView {
    /// From the configuration.
    pub name: String,
    /// `type` of the configuration.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it looks at.
    pub target: String,
    /// `unknown` (not enough results, or another node's business), `ok`, `failing`.
    pub state: String,
    /// What its last result said: why.
    pub message: String,
    /// Since when it stands so, RFC 3339; null: it was never looked at.
    pub since: Option<String>,
    /// Its last result was well, and somebody should look.
    #[serde(default)]
    pub warning: bool,
    /// What its last result measured, as a plugin wrote it.
    #[serde(default)]
    pub performance: Option<String>,
    /// How long its last run took.
    #[serde(default)]
    pub took_ms: Option<f64>,
}

/// The status, from what the controller sees and the configuration says; `traffic` is for the server to fill in.
pub fn status(view: &View, config: &Config, lines: &BTreeMap<String, Line>) -> Status {
    let names = Names { view, config, lines };
    Status {
        cluster: config.cluster.name.clone(),
        node: names.node(view.me),
        epoch: view.epoch.to_string(),
        controller: view.controller.map(|id| names.node(id)),
        quorum: view.quorum,
        frozen: view.frozen,
        nodes: view.nodes.iter().map(|node| node_status(node, &names)).collect(),
        services: in_order(view, config).map(|service| service_status(service, &names)).collect(),
        incarnation: view.incarnation.0,
        lineage: format!("{:016x}", view.lineage),
        lease_ms: view.lease.map(millis),
        hello_interval_ms: millis(view.hello_interval),
        probe_interval_ms: millis(view.probe_interval),
        lateness_ms: millis(view.lateness),
        forecast: view.ground.as_ref().map_or_else(Vec::new, |ground| forecast::forecast(ground, &names)),
        config_drift: config_drift(view, config),
        key_change_waits_for: keys::change_waits_for(&names),
        traffic: Traffic::default(),
    }
}

/// Names of living nodes whose configuration differs from what most have.
pub fn config_drift(view: &View, config: &Config) -> Vec<String> {
    let names = Names { view, config, lines: &BTreeMap::new() };
    let living = view.nodes.iter().filter(|node| node.state != NodeState::Down);
    let told: Vec<(String, u64)> =
        living.filter_map(|node| Some((names.node(node.id), node.status.as_ref()?.config_digest))).collect();
    let told: Vec<(&str, u64)> = told.iter().map(|(name, digest)| (name.as_str(), *digest)).collect();
    drift::differing(&told).into_iter().map(str::to_owned).collect()
}

/// What people call things.
pub(super) struct Names<'a> {
    pub view: &'a View,
    pub config: &'a Config,
    pub lines: &'a BTreeMap<String, Line>,
}

impl Names<'_> {
    pub fn node(&self, id: NodeId) -> String {
        if let Some(node) = self.config.node(id) {
            return node.name.clone();
        }
        let told = self.view.nodes.iter().find(|node| node.id == id).and_then(|node| node.status.as_ref());
        told.filter(|status| !status.name.is_empty())
            .map_or_else(|| id.to_string(), |status| status.name.clone())
    }

    pub fn service(&self, id: ServiceId) -> String {
        self.config.service(id).map_or_else(|| id.to_string(), |service| service.name.clone())
    }
}

impl Names<'_> {
    fn damped(&self, node: NodeId) -> Option<f64> {
        let known = self.view.ground.as_ref()?.nodes.get(&node)?;
        known.reuse.map(|reuse| reuse.as_millis() as f64)
    }
}

/// People look for services by name: numbers made from names would stand in no order at all.
fn in_order<'a>(view: &'a View, config: &Config) -> impl Iterator<Item = &'a ServiceView> {
    let mut services: Vec<_> = view.services.iter().collect();
    let name = |id| config.service(id).map(|service| &service.name);
    services.sort_by_key(|service| (name(service.id).is_none(), name(service.id).cloned(), service.id));
    services.into_iter()
}

/// Milliseconds to the microsecond: more digits than that say nothing.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// The word for a node's state.
pub fn node_state_word(state: NodeState) -> &'static str {
    match state {
        NodeState::Up => "up",
        NodeState::Suspect => "suspect",
        NodeState::Down => "down",
        NodeState::Joining => "joining",
        NodeState::Standby => "standby",
        NodeState::Leaving => "leaving",
    }
}

/// The word for a service's state.
pub fn service_state_word(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Held => "held",
        ServiceState::Moving => "moving",
        ServiceState::Stopped => "stopped",
        ServiceState::Failed => "failed",
        ServiceState::Orphaned => "orphaned",
    }
}

/// The word of `type`.
pub fn check_word(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Http => "http",
        CheckKind::Tcp => "tcp",
        CheckKind::Process => "process",
        CheckKind::Script => "script",
        CheckKind::Link => "link",
        CheckKind::Gateway => "gateway",
        CheckKind::Disk => "disk",
        CheckKind::Memory => "memory",
        CheckKind::Load => "load",
        CheckKind::Fd => "fd",
        CheckKind::Clock => "clock",
        CheckKind::Dns => "dns",
    }
}

fn node_status(node: &NodeView, names: &Names) -> NodeStatus {
    let configured = names.config.node(node.id);
    let told = node.status.as_ref();
    NodeStatus {
        name: names.node(node.id),
        state: node_state_word(node.state).into(),
        incarnation: node.incarnation.map(|incarnation| incarnation.0),
        priority: configured.map(|node| node.priority),
        left: node.left.map(|id| names.node(id)),
        right: node.right.map(|id| names.node(id)),
        // A node of no capacity that holds something has no finite load, and JSON no infinity.
        load: if node.load.is_finite() { node.load } else { 0.0 },
        damped_ms: names.damped(node.id),
        capacity: configured.map(|node| node.capacity),
        links: links(node, names.config),
        config_digest: told.map(|status| format!("{:016x}", status.config_digest)),
        config_version: told.map(|status| status.version.number),
        address: node.id.to_string(),
        heard_ms: node.heard.map(millis),
        heard_on: node.heard_on.iter().map(LinkRole::to_string).collect(),
        round_trip_ms: node.round_trip.map(millis),
        lateness_ms: told.map(|status| f64::from(status.lateness_us) / 1000.0),
        rejected: told.map(|status| status.rejected),
        checks: match node.id == names.view.me {
            true => check_views(CheckScope::Node, names),
            false => Vec::new(),
        },
    }
}

fn links(node: &NodeView, config: &Config) -> Vec<LinkView> {
    if let Some(status) = &node.status {
        let told = status.links.iter().map(|link| LinkView {
            device: link.device.clone(),
            role: link.role.to_string(),
            state: if link.up { "up" } else { "down" }.into(),
            hears_left: Some(link.hears_left),
            hears_right: Some(link.hears_right),
        });
        return told.collect();
    }
    let Some(configured) = config.node(node.id) else { return Vec::new() };
    let cards = [(LinkRole::Internal, &configured.internal), (LinkRole::External, &configured.external)];
    let unknown = cards.into_iter().map(|(role, card)| LinkView {
        device: card.device.clone(),
        role: role.to_string(),
        state: "unknown".into(),
        hears_left: None,
        hears_right: None,
    });
    unknown.collect()
}

fn service_status(service: &ServiceView, names: &Names) -> ServiceStatus {
    let config = names.config;
    let configured = config.service(service.id);
    ServiceStatus {
        name: names.service(service.id),
        home: configured.map(|service| service.home.map_or_else(|| "any".into(), |home| names.node(home))),
        holder: service.holder.map(|holder| names.node(holder)),
        state: service_state_word(service.state).into(),
        addresses: configured.map_or_else(Vec::new, |service| {
            service.addresses.iter().map(|it| format!("{}/{}", it.address, it.prefix)).collect()
        }),
        checks: check_views(CheckScope::Service(service.id), names),
        to: notes::destination(service).map(|to| names.node(to)),
        weight: configured.map(|service| service.weight),
        here: service.here,
        stranger: service.stranger.map(hardware_address),
        note: notes::note(service, names),
    }
}

fn check_views(scope: CheckScope, names: &Names) -> Vec<CheckView> {
    let checks = names.config.checks.iter().filter(|check| check.scope == scope);
    let views = checks.map(|check| {
        let line = names.lines.get(&check.name);
        CheckView {
            name: check.name.clone(),
            kind: check_word(check.kind).into(),
            target: check.target.clone(),
            state: standing_word(line.map_or(Standing::Unknown, |line| line.standing)).into(),
            message: line.map_or_else(String::new, |line| line.message.clone()),
            since: line.map(|line| rfc3339(line.since)),
            warning: line.is_some_and(|line| line.warning),
            performance: line.and_then(|line| line.performance.clone()),
            took_ms: line.and_then(|line| line.took).map(|took| took.as_secs_f64() * 1000.0),
        }
    });
    views.collect()
}

/// The word for how a check stands.
pub fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Unknown => "unknown",
        Standing::Well => "ok",
        Standing::Failing => "failing",
    }
}

/// `00:16:3e:00:00:01`
pub fn hardware_address(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
