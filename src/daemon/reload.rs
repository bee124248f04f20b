//! HUP: the new file is checked; wrong ⇒ the old configuration stays and the log says why. What cannot
//! change in a running daemon stays as it was until a restart, and the log says that too.

use super::bond::{Bond, Territory, Word};
use super::wiring::Running;
use super::{Plan, read};
use crate::config::Config;
use crate::threads::driver::Told;
use crate::threads::log_writer;
use crate::vocabulary::NodeId;
use std::sync::Arc;

/// HUP. What is wrong is in the log.
pub(super) fn on_request(plan: &Plan, bond: &Bond, running: &Running) {
    match reload(plan, bond, running) {
        Ok(()) => running.keeping().file_was_read(),
        Err(why) => {
            for line in why.lines() {
                log::error!("{line}");
            }
            log::error!("the configuration stays as it was");
        }
    }
    if let Err(why) = keys(bond, running) {
        log::error!("{why}: the keys stay as they were");
    }
}

/// Reads the file, and goes by it.
pub(super) fn reload(plan: &Plan, bond: &Bond, running: &Running) -> Result<(), String> {
    log::info!("reloading {}", plan.arguments.config.display());
    let (new, warnings) = read(&plan.arguments.config).map_err(|refusal| refusal.text)?;
    for warning in warnings {
        log::warn!("{warning}");
    }
    super::worker::may_be_fast(&new).map_err(|refusal| refusal.text)?;
    let (config, later) = merge(&running.config(), new, plan.me)?;
    for what in later {
        log::warn!("{what}: takes effect after a restart");
    }
    let (before, now) = (running.config(), &config);
    if let (Some(before), Some(now)) = (before.node(plan.me), now.node(plan.me))
        && before.name != now.name
    {
        log::warn!("this node is called {} from now on: start diehardd with -n {}", now.name, now.name);
    }
    log_writer::set_level(log_writer::level(&config, plan.arguments.verbose));
    bond.tell(&Word::Territory(Territory::of(&config)));
    running.tell(Told::Reload(Arc::new(config)));
    Ok(())
}

/// Reads the key file, and goes by it.
pub(super) fn keys(bond: &Bond, running: &Running) -> Result<(), String> {
    let keys = super::keys(&running.config())?;
    // Its last word must be understood, too.
    let content = keys.settled().written();
    if content.len() < crate::os::pair::LONGEST {
        bond.tell(&Word::Keys(content));
    } else {
        log::warn!("the key is too long for the guardian, which goes on with the one before");
    }
    running.set_keys(keys);
    Ok(())
}

/// The file as it is now, for a worker that takes a dead one's place: what the guardian read may be older than
/// the last reload. A wrong file is no reason to stay away.
pub(super) fn again(plan: &Plan) -> Arc<Config> {
    let read = read(&plan.arguments.config).map_err(|refusal| refusal.text);
    match read.and_then(|(new, _)| merge(&plan.config, new, plan.me)) {
        Ok((config, _)) => Arc::new(config),
        Err(why) => {
            log::error!("{why}: going on with the configuration of the daemon's start");
            plan.config.clone()
        }
    }
}

/// The new configuration as far as a running daemon can follow it, and what it cannot follow.
/// A node is who its internal address says; it may have another name.
pub(super) fn merge(old: &Config, mut new: Config, me: NodeId) -> Result<(Config, Vec<String>), String> {
    let before = old.node(me).ok_or("this node was not in the configuration")?;
    if new.node(me).is_none() && new.node_named(&before.name).is_some() {
        return Err(format!("[node {}] has another internal address: this needs a restart", before.name));
    }
    let Some(now) = new.nodes.iter_mut().find(|node| node.id == me) else {
        return Err(format!(
            "[node {}], this node, is gone from the file: end the daemon instead",
            before.name
        ));
    };
    let mut later = Vec::new();
    let section = format!("[node {}]", now.name);
    keep(&before.internal, &mut now.internal, format!("{section} internal"), &mut later);
    keep(&before.external, &mut now.external, format!("{section} external"), &mut later);
    let cluster = &mut new.cluster;
    keep(&old.cluster.name, &mut cluster.name, "[cluster] name".into(), &mut later);
    keep(&old.cluster.port, &mut cluster.port, "[cluster] port".into(), &mut later);
    keep(&old.cluster.key_file, &mut cluster.key_file, "[cluster] key_file".into(), &mut later);
    Ok((new, later))
}

fn keep<T: Clone + PartialEq>(old: &T, new: &mut T, what: String, later: &mut Vec<String>) {
    if old != new {
        new.clone_from(old);
        later.push(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const TEXT: &str = "
[cluster]
name = test
port = 700
[node a]
priority = 2
internal = eth1 192.168.10.1/24
external = eth0
[node b]
priority = 1
internal = eth1 192.168.10.2/24
external = eth0
";

    fn config(change: &[(&str, &str)]) -> Config {
        let text = change.iter().fold(TEXT.to_owned(), |text, (from, to)| text.replace(from, to));
        parse("test", text.as_bytes()).expect("a right configuration").config
    }

    #[test]
    fn what_can_change_changes_and_the_rest_waits() {
        let old = config(&[]);
        let a = old.node_named("a").expect("there").id;
        let new = config(&[("700", "701"), ("priority = 2", "priority = 3"), ("eth0", "eth9")]);
        let (merged, later) = merge(&old, new, a).expect("fine");
        assert_eq!(later, ["[node a] external", "[cluster] port"]);
        assert_eq!(merged.cluster.port, 700);
        assert_eq!(merged.node(a).map(|node| node.priority), Some(3));
        assert_eq!(merged.node(a).map(|node| node.external.device.as_str()), Some("eth0"));
        let b = merged.node_named("b").expect("there");
        assert_eq!(b.external.device, "eth9");
        assert_eq!(merge(&old, config(&[]), a), Ok((config(&[]), vec![])));
    }

    #[test]
    fn a_node_stays_who_it_is() {
        let old = config(&[]);
        let a = old.node_named("a").expect("there").id;
        assert!(merge(&old, config(&[("10.1/", "10.9/")]), a).is_err());
        let (renamed, later) = merge(&old, config(&[("[node a]", "[node c]")]), a).expect("only its name");
        assert_eq!((renamed.node(a).map(|node| node.name.as_str()), later), (Some("c"), vec![]));
        let gone =
            TEXT.replace("[node a]\npriority = 2\ninternal = eth1 192.168.10.1/24\nexternal = eth0\n", "");
        let gone = parse("test", gone.as_bytes()).expect("right").config;
        assert!(merge(&old, gone, a).unwrap_err().contains("is gone from the file"));
    }
}
