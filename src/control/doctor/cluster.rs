//! What the daemon of this node knows of the cluster. PURE: findings from its status, vitals and events.

use super::{Finding, failure, warning, well};
use crate::control::events::Entry;
use crate::control::status::{NodeStatus, Status};
use crate::control::vitals::Vitals;

/// Of HELLO, in percent: more is a bad cable; the cluster stands twenty.
const LOSS_WARNING: f64 = 1.0;
const LOSS_FAILURE: f64 = 20.0;
/// Clocks that differ more make logs hard to read together.
const CLOCKS_MS: f64 = 500.0;

/// All of it.
pub fn findings(status: &Status, vitals: &Vitals, events: &[Entry]) -> Vec<Finding> {
    let mut findings = vec![quorum(status), frozen(status)];
    findings.extend(nodes(status));
    findings.extend(services(status));
    findings.extend(links(status));
    findings.extend(trips(status, vitals));
    findings.extend(receipts(status, events));
    findings.extend(clocks(vitals));
    findings.push(drift(status));
    findings.push(lateness(status));
    findings
}

fn quorum(status: &Status) -> Finding {
    match (&status.controller, status.quorum) {
        (Some(controller), true) => {
            well("quorum", format!("this node may serve; the controller is {controller}"))
        }
        _ => failure(
            "quorum",
            "this node has no quorum and serves nothing",
            "start more than half of the nodes, or mend the links below; `quorum` in diehard.conf(5) says who may go on",
        ),
    }
}

fn frozen(status: &Status) -> Finding {
    match status.frozen {
        false => well("freeze", "automatic moves are allowed"),
        true => warning("freeze", "FROZEN: nothing moves by itself except from the dead", "diehard thaw"),
    }
}

fn nodes(status: &Status) -> Vec<Finding> {
    let away: Vec<&NodeStatus> = status.nodes.iter().filter(|node| node.state != "up").collect();
    if away.is_empty() {
        return vec![well("nodes", format!("all {} are up", status.nodes.len()))];
    }
    let finding = |node: &&NodeStatus| {
        let message = format!("{} is {}", node.name, node.state);
        match node.state.as_str() {
            "standby" => warning("nodes", message, format!("diehard online {}", node.name)),
            "joining" | "leaving" => warning("nodes", message, "wait for it"),
            _ => failure(
                "nodes",
                message,
                format!("start diehardd on {}; its log says why it ended", node.name),
            ),
        }
    };
    away.iter().map(finding).collect()
}

fn services(status: &Status) -> Vec<Finding> {
    let bad = status.services.iter().filter(|service| !matches!(service.state.as_str(), "held" | "moving"));
    let mut findings: Vec<Finding> = bad
        .map(|service| {
            let note = service.note.clone().unwrap_or_else(|| service.state.clone());
            let remedy = "`diehard events` says what was tried; the service's own log says why it failed";
            failure("services", format!("{} is not served: {note}", service.name), remedy)
        })
        .collect();
    for service in status.services.iter().filter(|service| service.state == "held") {
        if let Some(stranger) = &service.stranger {
            let message = format!("{stranger} claims an address of {} too", service.name);
            findings.push(failure(
                "services",
                message,
                "find that machine by its hardware address and take the address away there",
            ));
        }
    }
    if findings.is_empty() {
        findings.push(well("services", format!("all {} have a holder", status.services.len())));
    }
    findings
}

/// Who hears whom in the ring, on each link, in both directions.
fn links(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut heard = 0;
    let alone = status.nodes.iter().filter(|node| node.incarnation.is_some()).count() < 2;
    for node in status.nodes.iter().filter(|node| matches!(node.state.as_str(), "up" | "standby")) {
        for link in &node.links {
            let place = format!("{} {} ({})", node.name, link.device, link.role);
            if link.state == "down" {
                findings.push(failure(
                    "links",
                    format!("{place} is down"),
                    "cable, switch port, `ip link set up`",
                ));
                continue;
            }
            let deaf = [(link.hears_left, &node.left), (link.hears_right, &node.right)];
            for (hears, neighbour) in deaf.into_iter().filter(|_| !alone) {
                let neighbour = neighbour.as_deref().unwrap_or("its neighbour");
                match hears {
                    Some(false) => findings.push(failure(
                        "links",
                        format!("{place} does not hear {neighbour}"),
                        format!(
                            "cable, switch, VLAN and packet filter between {} and {neighbour}",
                            node.name
                        ),
                    )),
                    Some(true) => heard += 1,
                    None => {}
                }
            }
        }
    }
    if findings.is_empty() {
        findings
            .push(well("links", format!("{heard} of {heard} directions between ring neighbours are heard")));
    }
    findings
}

/// Loss and round trip, as this daemon counts them.
fn trips(status: &Status, vitals: &Vitals) -> Vec<Finding> {
    let finding = |trip: &crate::control::vitals::Trip| {
        let (to, loss) = (trip.to.as_deref()?, trip.loss_percent()?);
        let took = trip.round_trip_ms.map_or_else(String::new, |took| format!(", round trip {took:.2} ms"));
        let message = format!("{} link to {to}: {loss:.1} % of {} lost{took}", trip.role, trip.sent);
        let remedy = "errors of the card (`ip -s link`), duplex, cable, a busy switch";
        Some(match loss {
            loss if loss >= LOSS_FAILURE => failure("loss", message, remedy),
            loss if loss >= LOSS_WARNING => warning("loss", message, remedy),
            _ if trip.round_trip_ms.is_some_and(|took| took > status.probe_interval_ms) => warning(
                "loss",
                message,
                "the round trip is longer than a probe interval: take a longer hello_interval",
            ),
            _ => well("loss", message),
        })
    };
    vitals.trips.iter().filter_map(finding).collect()
}

/// Whether switch and neighbours learn gratuitous ARP: what the last takeover of each service showed.
fn receipts(status: &Status, events: &[Entry]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = 0;
    for service in &status.services {
        let of_it = |entry: &&Entry| {
            matches!(entry.fields["event"].as_str(), Some("confirmed" | "doubted"))
                && entry.fields["service"] == service.name.as_str()
        };
        let last = events
            .iter()
            .filter(|entry| entry.fields.contains_key("event"))
            .filter(of_it)
            .max_by_key(|entry| &entry.time);
        match last {
            Some(entry) if entry.fields["event"] == "doubted" => {
                let remedy =
                    "static ARP entries, a switch's ARP inspection or port security, drop_gratuitous_arp";
                findings.push(failure("arp", format!("{} ({})", entry.text, entry.time), remedy));
            }
            Some(entry) => {
                seen += usize::from(entry.fields["seen_by"].as_array().is_some_and(|by| !by.is_empty()))
            }
            None => {}
        }
    }
    if findings.is_empty() {
        findings.push(match seen {
            0 => warning(
                "arp",
                "no takeover was watched by another node yet: not known whether the switch learns announcements",
                "diehard drill SERVICE, at a quiet hour",
            ),
            seen => well("arp", format!("the last takeovers of {seen} services were seen by other nodes")),
        });
    }
    findings
}

fn clocks(vitals: &Vitals) -> Vec<Finding> {
    let wrong = vitals.clocks_ms.iter().filter(|(_, ahead)| ahead.abs() > CLOCKS_MS);
    let mut findings: Vec<Finding> = wrong
        .map(|(node, ahead)| {
            let how = if *ahead > 0.0 { "behind" } else { "ahead of" };
            let message = format!("the clock of {node} is {:.1} s {how} this one", ahead.abs() / 1000.0);
            warning("clocks", message, "run chrony or ntpd on all nodes: leases do not need it, people do")
        })
        .collect();
    if findings.is_empty() {
        findings.push(well(
            "clocks",
            format!("{} other nodes' clocks agree with this one", vitals.clocks_ms.len()),
        ));
    }
    findings
}

fn drift(status: &Status) -> Finding {
    let own =
        status.nodes.iter().find(|node| node.name == status.node).and_then(|node| node.config_digest.clone());
    let differs =
        |node: &&NodeStatus| node.config_digest.is_some() && own.is_some() && node.config_digest != own;
    let names: Vec<&str> = status.nodes.iter().filter(differs).map(|node| node.name.as_str()).collect();
    match names.as_slice() {
        [] => well("drift", "all nodes that talk have the same configuration"),
        names => failure(
            "drift",
            format!("{} and {} have different configurations", status.node, names.join(", ")),
            "the same /etc/diehard.conf on every node, then `kill -HUP` or /etc/init.d/diehard reload",
        ),
    }
}

/// Whether each node's keeper could be reached by TCP, and why not: without it nothing can be pushed.
pub fn doors(asked: &[(String, Result<(), String>)]) -> Finding {
    let closed: Vec<String> = asked
        .iter()
        .filter_map(|(node, answer)| answer.as_ref().err().map(|why| format!("{node}: {why}")))
        .collect();
    if closed.is_empty() {
        return well(
            "push",
            format!("{} can be reached by TCP on the internal link", super::counted(asked.len(), "node")),
        );
    }
    failure(
        "push",
        format!("no connection by TCP on the internal link to {}", closed.join("; ")),
        "let TCP through on the cluster's port; no configuration or key can be pushed meanwhile",
    )
}

fn lateness(status: &Status) -> Finding {
    let message = format!("the heartbeat woke at most {:.1} ms late in the last 10 s", status.lateness_ms);
    if status.lateness_ms > status.probe_interval_ms {
        let remedy = "real-time priority (below), fewer interrupts on the heartbeat's processor, no overcommitted virtual machine";
        return warning("lateness", message, remedy);
    }
    well("lateness", message)
}

#[cfg(test)]
mod tests;
