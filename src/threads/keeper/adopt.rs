//! A system is added by adding it: a machine with the cluster's key and only its own sections joins, and the
//! node that is the controller puts those sections into a new version for all. Looked at every second by the
//! keeper; the push runs in a thread of its own.

use super::events::{self, Happened};
use super::front::Front;
use super::push;
use super::talk::{Ask, Reply};
use crate::config::{self, CheckScope, Config};
use crate::controller::{NodeState, View};
use crate::threads::{Urgency, start};
use crate::vocabulary::NodeId;
use crate::wire::ConfigVersion;
use std::collections::BTreeMap;
use std::thread::JoinHandle;

/// Which machines were tried, and with which configuration of theirs: each once.
#[derive(Debug, Default)]
pub struct Adoption {
    tried: BTreeMap<NodeId, (u64, ConfigVersion)>,
    under_way: Option<JoinHandle<()>>,
}

impl Adoption {
    /// Is there one to be taken in? Only by the controller, so that one node does it; only one that was never
    /// given a version: whoever was, and is in none now, was taken out by an operator.
    pub fn look(&mut self, view: &View, config: &Config, front: &Front, agreed: ConfigVersion) {
        if self.under_way.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        self.under_way = None;
        if view.controller != Some(front.me) {
            return;
        }
        let strangers = view.nodes.iter().filter(|node| {
            config.node(node.id).is_none() && matches!(node.state, NodeState::Up | NodeState::Standby)
        });
        for stranger in strangers {
            let Some(status) = stranger.status.as_ref().filter(|status| status.version.number == 0) else {
                continue;
            };
            let tried = (status.config_digest, agreed);
            if self.tried.insert(stranger.id, tried) == Some(tried) {
                continue;
            }
            let (front, id, node) = (front.clone(), stranger.id, front.name(stranger.id));
            let started = start("keeper adopts", Urgency::Ordinary, move || {
                let published = front.published.clone();
                let happened = match adopt(&front, id) {
                    Ok(()) => Happened::Adopted { node },
                    Err(why) => Happened::NotAdopted { node, why },
                };
                events::tell(&happened, &published);
            });
            match started {
                Ok(thread) => self.under_way = Some(thread),
                Err(error) => log::warn!("cannot start a thread: {error}"),
            }
            return;
        }
    }
}

fn adopt(front: &Front, id: NodeId) -> Result<(), String> {
    let theirs = match front.ask(id, &Ask::Text)? {
        Reply::Text(text) => text,
        other => return Err(format!("it answers with {other:?}")),
    };
    let name = front.name(id);
    let shelf = front.shelf();
    let own = shelf.current().ok_or("this node's own file is not in its history")?;
    let text = merged(&own.text, &theirs, id)?;
    push::push(front, &format!("with the sections of {name}"), &text, format!("{name} was added"), None)?;
    Ok(())
}

/// The cluster's file with the new node's own sections behind it: its `[node]`, the services whose home it is,
/// and their checks. Everything else of its file is the cluster's business. Conflicts are the parser's.
fn merged(ours: &str, theirs: &str, id: NodeId) -> Result<String, String> {
    let told = |problems: Vec<config::Problem>| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let parsed = config::parse("its file", theirs.as_bytes()).map_err(told)?.config;
    let known = config::parse("our file", ours.as_bytes()).map_err(told)?.config;
    if parsed.cluster.name != known.cluster.name {
        return Err(format!("its cluster is {}, not {}", parsed.cluster.name, known.cluster.name));
    }
    let node = parsed.node(id).ok_or("its file has no section of its own")?;
    let mut wanted = vec![format!("[node {}]", node.name)];
    let services: Vec<_> = parsed.services.iter().filter(|service| service.home == Some(id)).collect();
    wanted.extend(services.iter().map(|service| format!("[service {}]", service.name)));
    let of = |scope| services.iter().any(|service| CheckScope::Service(service.id) == scope);
    wanted.extend(parsed.checks.iter().filter(|it| of(it.scope)).map(|it| format!("[check {}]", it.name)));
    let mut text = ours.trim_end().to_owned() + "\n";
    for section in config::print(&parsed).split("\n\n") {
        let header = section.lines().next().unwrap_or_default();
        if wanted.iter().any(|wanted| wanted == header) {
            text += &format!("\n{}\n", section.trim_end());
        }
    }
    config::parse("both files together", text.as_bytes()).map_err(told)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "; the cluster's file\n[cluster]\nname = www\narbiter = 203.0.113.1\n\
        [node web1]\npriority = 40\ninternal = eth1 192.168.10.1/24\nexternal = eth0\n\
        [service www1]\nhome = web1\naddress = 203.0.113.21/24\n";
    const THEIRS: &str = "[cluster]\nname = www\nfailback = manual\n\
        [node web9]\npriority = 9\ninternal = eth1 192.168.10.9/24\nexternal = eth0\n\
        [service www9]\nhome = web9\naddress = 203.0.113.29/24\n\
        [service spare]\nhome = any\naddress = 203.0.113.30/24\n\
        [check www9-tcp]\nservice = www9\ntype = tcp\ntarget = 203.0.113.29:80\n\
        [check load]\nservice = node\ntype = load\ntarget = 9\n";

    fn id() -> NodeId {
        config::parse("", THEIRS.as_bytes()).expect("right").config.nodes[0].id
    }

    #[test]
    fn the_new_nodes_own_sections_and_nothing_else_of_its_file() {
        let text = merged(OURS, THEIRS, id()).expect("no conflict");
        assert!(text.starts_with(OURS), "{text}");
        let config = config::parse("", text.as_bytes()).expect("right").config;
        let names = |all: Vec<&str>| all.join(" ");
        assert_eq!(names(config.nodes.iter().map(|it| it.name.as_str()).collect()), "web1 web9");
        assert!(config.service_named("www9").is_some() && config.service_named("spare").is_none());
        assert_eq!(names(config.checks.iter().map(|it| it.name.as_str()).collect()), "www9-tcp");
        assert_eq!(config.cluster.failback, config::Failback::Auto, "the cluster's own");
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let refused = |from: &str, to: &str| merged(OURS, &THEIRS.replace(from, to), id()).unwrap_err();
        assert!(refused("priority = 9", "priority = 40").contains("priority of its own"));
        assert!(refused("203.0.113.29/24", "203.0.113.21/24").contains("address of its own"));
        assert_eq!(refused("name = www\n", "name = other\n"), "its cluster is other, not www");
    }
}
