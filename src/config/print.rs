//! `Config` → text with every key, which parses to the same `Config`. Called by `diehardd -tv`,
//! `diehard config show|push` and for the digest that nodes compare in HELLO and STATUS; ends with a string.

use super::notify::{LEVEL, NOTIFY_WAY, Notify};
use super::options;
use super::types::*;
use super::values::{self, spelled, written};
use sha2::{Digest, Sha256};
use std::fmt::{Display, Write};

/// The effective configuration: every key, defaults included.
pub fn print(config: &Config) -> String {
    let mut out = Printer { text: String::new() };
    cluster(&mut out, &config.cluster);
    for node in &config.nodes {
        out.section(&format!("node {}", node.name));
        out.key("priority", node.priority);
        out.key("capacity", node.capacity);
        out.key("internal", interface(&node.internal));
        out.key("external", interface(&node.external));
    }
    for item in &config.services {
        service(&mut out, item, config);
    }
    for item in &config.checks {
        check(&mut out, item, config);
    }
    for item in &config.notify {
        notify(&mut out, item, config);
    }
    out.text
}

/// A number that differs where the effective configuration differs: the first 64 bits of the SHA-256 of the
/// printed text. Versions are told apart by it, so nobody may be able to make two that agree by accident or for fun.
///
/// The same on every machine and in every build that knows the same keys.
pub fn digest(config: &Config) -> u64 {
    let hash = Sha256::digest(print(config));
    let (first, _) = hash.split_first_chunk::<8>().expect("SHA-256 has 32 bytes");
    u64::from_be_bytes(*first)
}

pub(super) struct Printer {
    text: String,
}

impl Printer {
    fn section(&mut self, header: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        writeln!(self.text, "[{header}]").expect("a String takes everything");
    }

    pub fn key(&mut self, key: &str, value: impl Display) {
        writeln!(self.text, "{key:<14} = {value}").expect("a String takes everything");
    }
}

fn cluster(out: &mut Printer, cluster: &Cluster) {
    out.section("cluster");
    out.key("name", &cluster.name);
    out.key("key_file", cluster.key_file.display());
    out.key("port", cluster.port);
    out.key("hello_interval", written(cluster.hello_interval));
    out.key("hello_misses", cluster.hello_misses);
    out.key("probe_interval", spelled(values::PROBE_INTERVAL, &cluster.probe_interval));
    out.key("quorum", spelled(values::QUORUM, &cluster.quorum));
    out.key("arbiter", if cluster.arbiter.is_empty() { "none".to_owned() } else { list(&cluster.arbiter) });
    out.key("failback", spelled(values::FAILBACK, &cluster.failback));
    out.key("failback_delay", written(cluster.failback_delay));
    out.key("startup_wait", written(cluster.startup_wait));
    out.key("script_timeout", written(cluster.script_timeout));
    out.key("stop_timeout", written(cluster.stop_timeout));
    out.key("forget", written(cluster.forget));
    out.key("valid_lft", written(cluster.valid_lft));
    out.key("arp_refresh", written(cluster.arp_refresh));
    out.key("on_conflict", spelled(values::ON_CONFLICT, &cluster.on_conflict));
    out.key("force_interval", spelled(values::YES_NO, &cluster.force_interval));
    out.key("allow_reboot", spelled(values::YES_NO, &cluster.allow_reboot));
    out.key("load", spelled(values::LOAD, &cluster.load));
    out.key("load_script", cluster.load_script.as_deref().unwrap_or("none"));
    out.key("damping", written(cluster.damping));
    out.key("log_level", spelled(values::LOG_LEVEL, &cluster.log_level));
    out.key("notify", cluster.notify.as_deref().unwrap_or("none"));
}

fn service(out: &mut Printer, service: &Service, config: &Config) {
    let home = service.home.map(|id| config.node(id).expect("parse has found the home").name.as_str());
    let route = service.route.map(|gateway| format!("default via {gateway}"));
    let addresses: Vec<String> = service.addresses.iter().map(prefixed).collect();
    out.section(&format!("service {}", service.name));
    out.key("home", home.unwrap_or("any"));
    out.key("address", list(&addresses));
    out.key("weight", service.weight);
    out.key("start", service.start.as_deref().unwrap_or("none"));
    out.key("stop", service.stop.as_deref().unwrap_or("none"));
    out.key("status", service.status.as_deref().unwrap_or("none"));
    out.key("route", route.as_deref().unwrap_or("none"));
    for part in &service.parts {
        out.section(&format!("part {}", part.name));
        out.key("service", &service.name);
        out.key("start", &part.start);
        out.key("stop", part.stop.as_deref().unwrap_or("none"));
        out.key("status", part.status.as_deref().unwrap_or("none"));
    }
}

fn check(out: &mut Printer, check: &Check, config: &Config) {
    let service = match check.scope {
        CheckScope::Node => "node",
        CheckScope::Service(id) => &config.service(id).expect("parse has found the service").name,
    };
    let policy: Vec<String> = check.policy.iter().map(step).collect();
    out.section(&format!("check {}", check.name));
    out.key("service", service);
    out.key("type", spelled(values::CHECK_KIND, &check.kind));
    out.key("target", &check.target);
    out.key("interval", written(check.interval));
    out.key("timeout", written(check.timeout));
    out.key("fail", check.fail);
    out.key("rise", check.rise);
    out.key("policy", list(&policy));
    options::print(out, check);
}

fn notify(out: &mut Printer, notify: &Notify, config: &Config) {
    let name = |id| config.service(id).expect("parse has found the service").name.as_str();
    let services: Vec<&str> = notify.services.iter().map(|id| name(*id)).collect();
    let or_all = |words: &[&str]| if words.is_empty() { "all".to_owned() } else { list(words) };
    out.section(&format!("notify {}", notify.name));
    out.key("type", spelled(NOTIFY_WAY, &notify.way));
    out.key("target", &notify.target);
    out.key("events", or_all(&notify.events));
    out.key("services", or_all(&services));
    out.key("level", spelled(LEVEL, &notify.level));
    out.key("timeout", written(notify.timeout));
    out.key("retries", notify.retries);
    out.key("queue", notify.queue);
    out.key("sendmail", notify.sendmail.display());
    let signers = notify.ca_file.as_ref().map(|path| path.display().to_string());
    out.key("ca_file", signers.as_deref().unwrap_or("none"));
}

/// A step of a policy as the file has it.
pub fn step(step: &PolicyStep) -> String {
    match step {
        PolicyStep::Restart { times, window } => format!("restart:{times}/{}", written(*window)),
        PolicyStep::Alert | PolicyStep::Move | PolicyStep::Standby | PolicyStep::Reboot => {
            spelled(values::STEPS, step).to_owned()
        }
    }
}

fn interface(interface: &Interface) -> String {
    match &interface.address {
        None => interface.device.clone(),
        Some(address) => format!("{} {}", interface.device, prefixed(address)),
    }
}

fn prefixed<A: Display>(prefixed: &Prefixed<A>) -> String {
    format!("{}/{}", prefixed.address, prefixed.prefix)
}

fn list(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
