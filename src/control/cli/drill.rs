//! `diehard drill`: lets a service or a whole node fail on purpose, in the planned way, and puts everything back.
//!
//! ```text
//!   refused? ──▶ away: standby NODE, or move SERVICE ──▶ measured ──▶ back: online, or failback ──▶ measured
//!                  └── Ctrl-C, TERM, or anything that fails on the way ──▶ back all the same
//! ```
//! The outage is what the nodes themselves saw: from the old holder's release to the new holder's address on its
//! card, by their events, which stand in one clock.

use super::{End, Session, known_node, known_service, refused, wait};
use crate::control::client::Client;
use crate::control::events::{Batch, Entry};
use crate::control::protocol::Question;
use crate::control::status::{ServiceStatus, Status};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Events of the other nodes come within a tenth of a second; two seconds are looked for them.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const LOOKS: u32 = 20;
/// How long it may take to bring everything back before the command gives up waiting for it.
const BACK_S: u32 = 300;

/// What one service went through.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Passage {
    service: String,
    from: String,
    to: String,
    /// 0: the new holder had it before the old one let go; null: not told.
    outage_ms: Option<f64>,
    back_outage_ms: Option<f64>,
}

impl Session<'_> {
    pub(super) fn drill(&mut self, what: &str, timeout_s: u32) -> Result<(), End> {
        let mut client = self.connect()?;
        let status = client.status()?;
        let is_node = status.nodes.iter().any(|node| node.name == what);
        if !is_node && status.services.iter().all(|service| service.name != what) {
            known_service(&status, what).or_else(|_| known_node(&status, what))?;
        }
        let moved = allowed(&status, what, is_node).map_err(refused)?;
        let interrupted = interruptible()?;
        let begin = newest(&mut client)?;
        // Whatever fails from here on, everything is put back first.
        let away = self.away(&mut client, &moved, what, is_node, timeout_s, &interrupted);
        let gone = away.and_then(|()| Ok((entries(&mut client, begin, &moved)?, client.status()?)));
        // A connection of its own: the one before may be what failed.
        let mut client = self.connect().map_err(|why| not_put_back(why, what, is_node))?;
        let middle = newest(&mut client);
        self.back(&mut client, &moved, what, is_node).map_err(|why| not_put_back(why, what, is_node))?;
        let (there, at) = gone?;
        let again = entries(&mut client, middle?, &moved)?;
        let passages: Vec<Passage> = moved
            .iter()
            .map(|service| Passage {
                service: service.name.clone(),
                from: service.holder.clone().unwrap_or_default(),
                to: holder(&at, &service.name),
                outage_ms: outage_ms(&there, &service.name),
                back_outage_ms: outage_ms(&again, &service.name),
            })
            .collect();
        self.say(&serde_json::json!({"ok": true, "services": passages}), &told(what, &passages))
    }

    /// The planned failure.
    fn away(
        &mut self,
        client: &mut Client,
        moved: &[ServiceStatus],
        what: &str,
        is_node: bool,
        timeout_s: u32,
        interrupted: &AtomicBool,
    ) -> Result<(), End> {
        let stopped = |progress| match interrupted.load(Ordering::Relaxed) {
            true => wait::Progress::Failed("interrupted: everything was put back".to_owned()),
            false => progress,
        };
        if is_node {
            client.ask(&Question::Standby { node: what.to_owned() })?;
            self.wait(client, timeout_s, |status| stopped(wait::on_standby(status, what)))?;
            return Ok(());
        }
        for service in moved {
            let status = client.status()?;
            let to = next_holder(&status, service)
                .ok_or_else(|| refused(format!("nobody can take {what} any more")))?;
            client.ask(&Question::Move { service: service.name.clone(), node: to.clone() })?;
            let mut seen = false;
            self.wait(client, timeout_s, |status| {
                stopped(wait::moved(status, &service.name, &to, &mut seen))
            })?;
        }
        Ok(())
    }

    /// Everything as it was, whatever happened.
    fn back(
        &mut self,
        client: &mut Client,
        moved: &[ServiceStatus],
        what: &str,
        is_node: bool,
    ) -> Result<(), End> {
        if is_node {
            client.ask(&Question::Online { node: what.to_owned() })?;
            self.wait(client, BACK_S, |status| wait::in_service(status, what))?;
        }
        for service in moved {
            client.ask(&Question::Failback { service: Some(service.name.clone()) })?;
        }
        for service in moved {
            self.wait(client, BACK_S, |status| wait::at_home(status, Some(&service.name)))?;
        }
        Ok(())
    }
}

/// Loudly, with what to type.
fn not_put_back(why: End, what: &str, is_node: bool) -> End {
    let by_hand = match is_node {
        true => format!("diehard online {what}; diehard failback all"),
        false => format!("diehard failback {what}"),
    };
    match why {
        End::Trouble(trouble) => refused(format!("NOT PUT BACK: {trouble}; {by_hand}")),
        other => other,
    }
}

/// What will move, or why not and what would allow it.
fn allowed(status: &Status, what: &str, is_node: bool) -> Result<Vec<ServiceStatus>, String> {
    if !status.quorum {
        return Err("this node has no quorum: no drill before `diehard status` shows quorum".into());
    }
    if status.frozen {
        return Err("the cluster is frozen: `diehard thaw` allows it".into());
    }
    if let Some(node) = status.nodes.iter().find(|node| !matches!(node.state.as_str(), "up" | "standby")) {
        return Err(format!(
            "{} is {}: no drill while something fails in earnest; start it first",
            node.name, node.state
        ));
    }
    if let Some(node) = status.nodes.iter().find(|node| is_node && node.name == what && node.state != "up") {
        return Err(format!("{what} is {} already: `diehard online {what}` first", node.state));
    }
    let concerned = |service: &&ServiceStatus| match is_node {
        true => service.holder.as_deref() == Some(what),
        false => service.name == what,
    };
    let moved: Vec<ServiceStatus> = status.services.iter().filter(concerned).cloned().collect();
    if moved.is_empty() {
        return Err(format!("{what} serves nothing: there is nothing to drill"));
    }
    for service in &moved {
        let (name, home) = (&service.name, service.home.as_deref());
        if service.state != "held" {
            return Err(format!("{name} is {}: wait until it is held", service.state));
        }
        if home != service.holder.as_deref() {
            return Err(format!(
                "{name} is not at its home: `diehard failback {name}` first (a service without a home cannot be brought back)"
            ));
        }
        next_fits(status, service)?;
    }
    Ok(moved)
}

fn fate<'a>(status: &'a Status, service: &ServiceStatus) -> Option<&'a crate::control::status::Fate> {
    let of_holder =
        status.forecast.iter().find(|forecast| Some(&forecast.node) == service.holder.as_ref())?;
    of_holder.services.iter().find(|fate| fate.service == service.name)
}

fn next_holder(status: &Status, service: &ServiceStatus) -> Option<String> {
    fate(status, service)?.to.clone()
}

fn next_fits(status: &Status, service: &ServiceStatus) -> Result<(), String> {
    let name = &service.name;
    let Some(fate) = fate(status, service) else {
        return Err(format!(
            "there is no forecast for {name} here: ask again in a second, or on the controller"
        ));
    };
    match &fate.to {
        None => {
            Err(format!("nobody could take {name}: another node has to be up, in service and fit for it"))
        }
        Some(to) if fate.overloaded => Err(format!(
            "{to} would carry {name} at a load of {:.2}, more than it can: add a node, or raise its capacity if it can do more",
            fate.load.unwrap_or_default()
        )),
        Some(_) => Ok(()),
    }
}

/// Ctrl-C and TERM do not end the command: it puts everything back first.
fn interruptible() -> Result<Arc<AtomicBool>, End> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        let kept = signal_hook::flag::register(signal, flag.clone());
        kept.map_err(|error| {
            refused(format!("signals cannot be caught, so nothing could be put back: {error}"))
        })?;
    }
    Ok(flag)
}

fn batch(client: &mut Client, since: u64) -> Result<Vec<Entry>, End> {
    events(client, Some(since), None)
}

fn events(client: &mut Client, since: Option<u64>, limit: Option<usize>) -> Result<Vec<Entry>, End> {
    let value = client.ask(&Question::Events { follow: false, since, limit })?;
    let batch: Batch = serde_json::from_value(value)
        .map_err(|error| refused(format!("the daemon's events are not understood: {error}")))?;
    Ok(batch.events)
}

fn newest(client: &mut Client) -> Result<u64, End> {
    Ok(events(client, None, Some(1))?.last().map_or(0, |entry| entry.sequence))
}

/// What happened since, as soon as both ends of every move have told it; or what is known by then.
fn entries(client: &mut Client, since: u64, moved: &[ServiceStatus]) -> Result<Vec<Entry>, End> {
    let mut found = Vec::new();
    for _ in 0..LOOKS {
        found = batch(client, since)?;
        if moved.iter().all(|service| outage_ms(&found, &service.name).is_some()) {
            break;
        }
        thread::park_timeout(LOOK_INTERVAL);
    }
    Ok(found)
}

/// From the last release to the last taking, by the events' times; none if it was taken first.
fn outage_ms(entries: &[Entry], service: &str) -> Option<f64> {
    let last = |event: &str| {
        let of_it = |entry: &&Entry| {
            entry.fields.get("event").is_some_and(|it| it == event)
                && entry.fields.get("service").is_some_and(|it| it == service)
        };
        entries.iter().filter(of_it).filter_map(|entry| super::story::millis(&entry.time)).max()
    };
    let (released, taken) = (last("released")?, last("taken")?);
    Some(taken.saturating_sub(released) as f64)
}

fn holder(status: &Status, service: &str) -> String {
    let found = status.services.iter().find(|it| it.name == service);
    found.and_then(|it| it.holder.clone()).unwrap_or_else(|| "nobody".into())
}

fn told(what: &str, passages: &[Passage]) -> String {
    let ms = |outage: Option<f64>| outage.map_or_else(|| "not told".to_owned(), |ms| format!("{ms:.0} ms"));
    let line = |it: &Passage| {
        let (there, back) = (ms(it.outage_ms), ms(it.back_outage_ms));
        format!("{}: {} -> {}: outage {there}; back: outage {back}", it.service, it.from, it.to)
    };
    let lines: Vec<String> = passages.iter().map(line).collect();
    format!("drill of {what} done, everything is back\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests;
