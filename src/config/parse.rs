//! Sections → drafts → `Config`. Owns the order of the work; called by everybody who has a file's bytes;
//! ends with a `Config` or with every problem at once.
//!
//! A draft keeps with each value the place where it stands, so that `semantics` can name the line, and
//! holds what could be read of a section whose rest is wrong, so that one mistake is one message.

use super::addresses;
use super::agent::Agent;
use super::error::{Place, Problem, Report};
use super::options::{self, CheckOptions};
use super::semantics;
use super::text::{Kind, Section, sections};
use super::types::*;
use super::values::{self, Value};
use crate::vocabulary::{NodeId, ServiceId};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

mod notify;
mod part;
pub(super) use notify::NotifyDraft;
pub(super) use part::PartDraft;

/// Members of one cluster: its state fits one datagram and one controller serves them (protocol.md, size).
pub const MAX_NODES: usize = 64;
/// Services of one cluster: four for each node.
pub const MAX_SERVICES: usize = 256;
/// Addresses of one service: all are taken and announced in one batch.
pub const MAX_ADDRESSES: usize = 16;
/// Parts of one service: they are started one after the other.
pub const MAX_PARTS: usize = 16;
/// Checks of one cluster: four for each service.
pub const MAX_CHECKS: usize = 1024;

/// A file that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub config: Config,
    /// What is unwise in it, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// Reads a whole configuration. `file` is only its name, for the messages.
///
/// Errors: all problems of the file, in its order; there is at least one. Nothing was changed.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Parsed, Vec<Problem>> {
    let mut report = Report::new(file);
    let mut draft = Draft::default();
    for section in &sections(bytes, &mut report) {
        let before = (
            draft.nodes.len(),
            draft.services.len(),
            draft.checks.len(),
            draft.notify.len(),
            draft.parts.len(),
        );
        let mut fields = Fields { section, report: &mut report };
        match section.kind {
            Kind::Cluster => {
                let cluster = cluster(&mut fields);
                if !section.duplicate {
                    draft.cluster = cluster;
                    draft.cluster_place = Some(section.place());
                    draft.quorum_place = section.place_of("quorum");
                    draft.load_place = section.place_of("load");
                    draft.arbiter_place = section.place_of("arbiter");
                    draft.arbiter_given = section.entry("arbiter").is_some_and(|entry| entry.value != "none");
                }
            }
            Kind::Node => draft.nodes.push(node(&mut fields)),
            Kind::Service => draft.services.push(service(&mut fields)),
            Kind::Check => draft.checks.push(check(&mut fields)),
            Kind::Part => draft.parts.push(part::part(&mut fields)),
            Kind::Notify => draft.notify.push(notify::notify(&mut fields)),
        }
        if section.duplicate {
            draft.nodes.truncate(before.0);
            draft.services.truncate(before.1);
            draft.checks.truncate(before.2);
            draft.notify.truncate(before.3);
            draft.parts.truncate(before.4);
        }
    }
    semantics::check(&draft, &mut report);
    report.sort();
    if !report.problems.is_empty() {
        return Err(report.problems);
    }
    let config = draft.finish().expect("a draft without a problem is whole");
    Ok(Parsed { config, warnings: report.warnings })
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub value: T,
    pub place: Place,
}

/// What could be read so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub cluster: Option<Cluster>,
    pub cluster_place: Option<Place>,
    pub quorum_place: Place,
    pub load_place: Place,
    pub arbiter_place: Place,
    /// There was one, right or wrong.
    pub arbiter_given: bool,
    pub nodes: Vec<NodeDraft>,
    pub services: Vec<ServiceDraft>,
    pub checks: Vec<CheckDraft>,
    pub notify: Vec<NotifyDraft>,
    pub parts: Vec<PartDraft>,
}

#[derive(Debug)]
pub(super) struct NodeDraft {
    pub name: String,
    pub place: Place,
    pub priority: Option<Located<u16>>,
    /// `None`: present, but wrong.
    pub capacity: Option<f64>,
    pub internal: Option<Located<Interface>>,
    pub external: Option<Located<Interface>>,
}

#[derive(Debug)]
pub(super) struct ServiceDraft {
    pub name: String,
    pub place: Place,
    /// The node's name, or `any`.
    pub home: Option<Located<String>>,
    pub addresses: Option<Located<Vec<Prefixed<IpAddr>>>>,
    pub weight: f64,
    pub start: Option<String>,
    pub stop: Option<String>,
    pub status: Option<String>,
    pub route: Option<Located<Ipv4Addr>>,
}

#[derive(Debug)]
pub(super) struct CheckDraft {
    pub name: String,
    /// The service's name, or `node`.
    pub service: Option<Located<String>>,
    pub kind: Option<CheckKind>,
    pub target: Option<String>,
    pub interval: Duration,
    pub timeout: Option<Located<Duration>>,
    pub fail: u32,
    pub rise: u32,
    pub policy: Located<Vec<PolicyStep>>,
    pub options: CheckOptions,
}

/// One section whose keys are being read.
pub(super) struct Fields<'a> {
    pub section: &'a Section,
    pub report: &'a mut Report,
}

impl Fields<'_> {
    /// The value, if it is there and right; if it is there and wrong, a problem.
    fn optional<T>(&mut self, key: &str, parse: impl Fn(&str) -> Value<T>) -> Option<Located<T>> {
        let entry = self.section.entry(key)?;
        let place = self.section.place_of(key);
        match parse(&entry.value) {
            Ok(value) => Some(Located { value, place }),
            Err(message) => {
                self.report.problem(&place, message);
                None
            }
        }
    }

    /// A problem too if it is not there.
    fn required<T>(&mut self, key: &str, parse: impl Fn(&str) -> Value<T>) -> Option<Located<T>> {
        if self.section.entry(key).is_none() && !self.section.duplicate {
            let message = parse("").err().unwrap_or_default();
            self.report.problem(&self.section.place_of(key), format!("this key is missing: {message}"));
        }
        self.optional(key, parse)
    }

    /// The value, or else the default; after a problem nobody will see it.
    pub fn or<T>(&mut self, key: &str, default: T, parse: impl Fn(&str) -> Value<T>) -> T {
        self.optional(key, parse).map_or(default, |located| located.value)
    }

    /// The section's own name, which must be one and must not mean something else.
    fn name(&mut self, taken: &[(&str, &str)]) -> String {
        let name = &self.section.name;
        if let Err(message) = values::name(name) {
            self.report.problem(&self.section.place(), message);
        }
        if let Some((_, meaning)) = taken.iter().find(|(word, _)| word == name) {
            let message = format!("expected another name: `{name}` means {meaning}");
            self.report.problem(&self.section.place(), message);
        }
        name.clone()
    }
}

const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

const SECOND: Duration = ms(1_000);
const HOUR: Duration = ms(3_600_000);
const DAY: Duration = ms(86_400_000);

/// `[cluster]`: the ranges of every key.
fn cluster(fields: &mut Fields) -> Option<Cluster> {
    use values::{duration, duration_or_zero, number, word};
    let name = fields.required("name", values::name);
    let usual = Cluster::named("");
    Some(Cluster {
        key_file: fields.or("key_file", usual.key_file, values::path),
        port: fields.or("port", usual.port, values::number16),
        hello_interval: fields.or("hello_interval", usual.hello_interval, duration(ms(10), ms(10_000))),
        hello_misses: fields.or("hello_misses", usual.hello_misses, number(1, 20)),
        probe_interval: fields.or("probe_interval", usual.probe_interval, word(values::PROBE_INTERVAL)),
        quorum: fields.or("quorum", usual.quorum, word(values::QUORUM)),
        arbiter: fields
            .or("arbiter", None, values::or_none(values::list(MAX_ADDRESSES, addresses::host4)))
            .unwrap_or(usual.arbiter),
        failback: fields.or("failback", usual.failback, word(values::FAILBACK)),
        failback_delay: fields.or("failback_delay", usual.failback_delay, duration_or_zero(ms(1), HOUR)),
        startup_wait: fields.or("startup_wait", usual.startup_wait, duration_or_zero(ms(1), HOUR)),
        script_timeout: fields.or("script_timeout", usual.script_timeout, duration(ms(100), HOUR)),
        stop_timeout: fields.or("stop_timeout", usual.stop_timeout, duration_or_zero(ms(1), HOUR)),
        forget: fields.or("forget", usual.forget, duration_or_zero(SECOND, DAY)),
        valid_lft: fields.or("valid_lft", usual.valid_lft, values::lifetime),
        arp_refresh: fields.or("arp_refresh", usual.arp_refresh, duration_or_zero(SECOND, HOUR)),
        on_conflict: fields.or("on_conflict", usual.on_conflict, word(values::ON_CONFLICT)),
        force_interval: fields.or("force_interval", usual.force_interval, word(values::YES_NO)),
        allow_reboot: fields.or("allow_reboot", usual.allow_reboot, word(values::YES_NO)),
        load: fields.or("load", usual.load, word(values::LOAD)),
        load_script: fields.or("load_script", usual.load_script, values::or_none(values::command)),
        damping: fields.or("damping", usual.damping, duration_or_zero(SECOND, DAY)),
        log_level: fields.or("log_level", usual.log_level, word(values::LOG_LEVEL)),
        notify: fields.or("notify", usual.notify, values::or_none(values::command)),
        // Last, so that the other keys of a nameless cluster are checked as well.
        name: name?.value,
    })
}

fn node(fields: &mut Fields) -> NodeDraft {
    NodeDraft {
        name: fields.name(&[("any", "every node, in `home = any`")]),
        place: fields.section.place(),
        priority: fields.required("priority", values::number16),
        capacity: match fields.section.entry("capacity") {
            None => Some(1.0),
            Some(_) => fields.optional("capacity", values::capacity).map(|located| located.value),
        },
        internal: fields.required("internal", addresses::internal),
        external: fields.required("external", addresses::external),
    }
}

fn service(fields: &mut Fields) -> ServiceDraft {
    let taken = [
        ("node", "the whole node, in `service = node`"),
        ("all", "every service, in `diehard failback all`"),
    ];
    let several = values::list(MAX_ADDRESSES, addresses::service_address);
    let start = fields.or("start", None, values::or_none(values::agent));
    let whole = part::whole(start.as_deref());
    let route = fields.optional("route", values::or_none(addresses::route));
    ServiceDraft {
        name: fields.name(&taken),
        place: fields.section.place(),
        home: fields.required("home", values::reference("the name of a [node] or `any`")),
        addresses: fields.required("address", several),
        weight: fields.or("weight", 1.0, values::weight),
        stop: fields.or("stop", whole.clone(), values::or_none(values::agent)),
        status: fields.or("status", whole, values::or_none(values::agent)),
        start,
        route: route.and_then(|Located { value, place }| value.map(|value| Located { value, place })),
    }
}

fn check(fields: &mut Fields) -> CheckDraft {
    use values::{duration, number};
    let kind = fields.required("type", values::word(values::CHECK_KIND)).map(|kind| kind.value);
    let target = match kind {
        // Most agents have one depth alone.
        Some(CheckKind::Service) if fields.section.entry("target").is_none() => {
            Some(Located { value: "0".to_owned(), place: fields.section.place_of("target") })
        }
        Some(kind) => fields.required("target", |text| values::target(kind, text)),
        None => fields.optional("target", |text| Ok(text.to_owned())),
    };
    let interval = fields.or("interval", SECOND, duration(ms(10), HOUR));
    let policy = fields.optional("policy", values::list(8, values::step));
    CheckDraft {
        options: options::read(fields, kind),
        name: fields.name(&[]),
        service: fields.required("service", values::reference("the name of a [service] or `node`")),
        kind,
        target: target.map(|target| target.value),
        interval,
        timeout: fields.optional("timeout", duration(ms(1), HOUR)),
        fail: fields.or("fail", 3, number(1, 100)),
        rise: fields.or("rise", 2, number(1, 100)),
        policy: policy.unwrap_or_else(|| Located {
            value: vec![PolicyStep::Alert],
            place: fields.section.place_of("policy"),
        }),
    }
}

impl Draft {
    /// The configuration; `None` if a part is missing, which is a problem that was reported.
    fn finish(self) -> Option<Config> {
        let mut nodes: Vec<Node> = self.nodes.into_iter().map(NodeDraft::finish).collect::<Option<_>>()?;
        nodes.sort_by_key(|node| node.id);
        let homes: HashMap<String, NodeId> = nodes.iter().map(|node| (node.name.clone(), node.id)).collect();
        let mut services: Vec<Service> =
            self.services.into_iter().map(|draft| draft.finish(&homes)).collect::<Option<_>>()?;
        services.sort_by_key(|service| service.id);
        for part in self.parts {
            let (name, part) = part.finish()?;
            services.iter_mut().find(|service| service.name == name)?.parts.push(part);
        }
        let checks = self.checks.into_iter().map(CheckDraft::finish).collect::<Option<_>>()?;
        let notify = self.notify.into_iter().map(NotifyDraft::finish).collect::<Option<_>>()?;
        Some(Config { cluster: self.cluster?, nodes, services, checks, notify })
    }
}

impl NodeDraft {
    fn finish(self) -> Option<Node> {
        let internal = self.internal?.value;
        Some(Node {
            id: NodeId::of(internal.address?.address),
            name: self.name,
            priority: self.priority?.value,
            capacity: self.capacity?,
            internal,
            external: self.external?.value,
        })
    }
}

impl ServiceDraft {
    fn finish(self, homes: &HashMap<String, NodeId>) -> Option<Service> {
        let home = self.home?.value;
        Some(Service {
            id: ServiceId::of(&self.name),
            name: self.name,
            home: if home == "any" { None } else { Some(*homes.get(&home)?) },
            addresses: self.addresses?.value,
            weight: self.weight,
            start: self.start,
            stop: self.stop,
            status: self.status,
            parts: Vec::new(),
            route: self.route.map(|route| route.value),
        })
    }
}

impl CheckDraft {
    fn finish(self) -> Option<Check> {
        let service = self.service?.value;
        Some(Check {
            name: self.name,
            scope: match service.as_str() {
                "node" => CheckScope::Node,
                name => CheckScope::Service(ServiceId::of(name)),
            },
            kind: self.kind?,
            target: self.target?,
            interval: self.interval,
            // A check that is asked for every 100 ms shall not fail because of a default.
            timeout: self.timeout.map_or(ms(500).min(self.interval), |timeout| timeout.value),
            fail: self.fail,
            rise: self.rise,
            policy: self.policy.value,
            options: self.options,
        })
    }
}
