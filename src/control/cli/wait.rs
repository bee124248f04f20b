//! `--wait`: asks for the status again and again until it shows what was wanted.

use super::{End, refused};
use crate::control::client::Client;
use crate::control::status::{NodeStatus, ServiceStatus, Status};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

/// A planned move takes some milliseconds; a person does not notice 20 of them, nor does the daemon.
const POLL: Duration = Duration::from_millis(20);

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// As wanted.
    Done,
    /// Not yet: what is missing.
    Going(String),
    /// It will not come.
    Failed(String),
}

/// Waits for the goal; returns how long that took.
#[allow(clippy::disallowed_methods, reason = "a person waits, not the protocol")]
pub fn until(
    client: &mut Client,
    timeout_s: u32,
    mut goal: impl FnMut(&Status) -> Progress,
    mut person: Option<&mut dyn Write>,
) -> Result<Duration, End> {
    let start = Instant::now();
    let mut shown = 0;
    loop {
        let progress = goal(&client.status()?);
        let waited = start.elapsed();
        let ends = !matches!(progress, Progress::Going(_)) || waited >= Duration::from_secs(timeout_s.into());
        if let Some(person) = &mut person {
            shown = show(*person, shown, waited.as_secs(), ends, &progress);
        }
        match progress {
            Progress::Done => return Ok(waited),
            Progress::Failed(why) => return Err(refused(why)),
            Progress::Going(missing) if waited >= Duration::from_secs(timeout_s.into()) => {
                return Err(refused(format!("not done after {timeout_s} s: {missing}")));
            }
            Progress::Going(_) => thread::park_timeout(POLL),
        }
    }
}

/// One line that is written over each second, and wiped out at the end. Returns the second that it shows.
fn show(person: &mut dyn Write, shown: u64, second: u64, ends: bool, progress: &Progress) -> u64 {
    // Where nobody can read it, the goal is waited for all the same.
    let _ = match progress {
        _ if ends && shown > 0 => write!(person, "\r\x1b[K").and_then(|()| person.flush()),
        Progress::Going(missing) if second > shown && !ends => {
            write!(person, "\r\x1b[K{second} s: {missing}").and_then(|()| person.flush())
        }
        _ => return shown,
    };
    second
}

/// Has the service arrived? Back at its old holder after it was on its way: given up.
pub fn moved(status: &Status, service: &str, node: &str, seen_moving: &mut bool) -> Progress {
    let Some(it) = find_service(status, service) else { return gone("service", service) };
    let holder = it.holder.as_deref().unwrap_or("nobody");
    match it.state.as_str() {
        "held" if holder == node => Progress::Done,
        "held" if *seen_moving => Progress::Failed(format!(
            "the move of {service} to {node} was given up, it is at {holder}; see `diehard events`"
        )),
        "moving" => {
            *seen_moving = true;
            Progress::Going(format!("{service} is on its way from {holder}"))
        }
        "failed" => Progress::Failed(format!("{service} failed on every node that may serve it")),
        state => Progress::Going(format!("{service} is {state} at {holder}")),
    }
}

/// Is the service (or every one that has a home) at home?
pub fn at_home(status: &Status, service: Option<&str>) -> Progress {
    let away = |it: &&ServiceStatus| {
        let home = it.home.as_deref().filter(|home| *home != "any");
        home.is_some() && (it.holder.as_deref() != home || it.state != "held")
    };
    let missing: Vec<String> = match service {
        Some(name) => match find_service(status, name) {
            None => return gone("service", name),
            Some(it) => Some(it).filter(away).into_iter().map(place).collect(),
        },
        None => status.services.iter().filter(away).map(place).collect(),
    };
    done_unless(&missing)
}

/// Is the node on standby and free of services?
pub fn on_standby(status: &Status, node: &str) -> Progress {
    let Some(it) = find_node(status, node) else { return gone("node", node) };
    if it.state != "standby" {
        return Progress::Going(format!("{node} is {}", it.state));
    }
    let held = status.services.iter().filter(|service| service.holder.as_deref() == Some(node));
    done_unless(&held.map(place).collect::<Vec<_>>())
}

/// Is the node up?
pub fn in_service(status: &Status, node: &str) -> Progress {
    match find_node(status, node) {
        None => gone("node", node),
        Some(it) if it.state == "up" => Progress::Done,
        Some(it) => Progress::Going(format!("{node} is {}", it.state)),
    }
}

/// Do all nodes use one key, and accept no other?
pub fn one_key(status: &Status) -> Progress {
    match &status.key_change_waits_for {
        None => Progress::Done,
        Some(names) if names.is_empty() => Progress::Going("all have the new key".to_owned()),
        Some(names) => Progress::Going(format!("waits for {}", names.join(", "))),
    }
}

fn done_unless(missing: &[String]) -> Progress {
    if missing.is_empty() { Progress::Done } else { Progress::Going(missing.join(", ")) }
}

fn place(service: &ServiceStatus) -> String {
    let holder = service.holder.as_deref().unwrap_or("nobody");
    format!("{} is {} at {holder}", service.name, service.state)
}

fn gone(what: &str, name: &str) -> Progress {
    Progress::Failed(format!("the {what} {name} is gone from the configuration"))
}

fn find_service<'a>(status: &'a Status, name: &str) -> Option<&'a ServiceStatus> {
    status.services.iter().find(|service| service.name == name)
}

fn find_node<'a>(status: &'a Status, name: &str) -> Option<&'a NodeStatus> {
    status.nodes.iter().find(|node| node.name == name)
}

#[cfg(test)]
mod tests;
