//! The status for people: cluster line, alarms, ring, nodes, services. PURE: text from a `Status`.

use super::status::{CheckView, NodeStatus, ServiceStatus, Status};
use serde::Serialize;
use std::fmt::Write;

mod forecast;
mod ring;
use ring::ring_text;

/// How the text may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// With ANSI colours: only on a terminal.
    pub colour: bool,
    /// The ring is broken into lines of at most so many columns.
    pub columns: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
    Alarm,
}

/// The word for a finding's level.
pub(super) fn finding_paint(look: Look, level: super::doctor::Level, word: &str) -> String {
    let paint = match level {
        super::doctor::Level::Ok => Paint::Green,
        super::doctor::Level::Warning => Paint::Yellow,
        super::doctor::Level::Failure => Paint::Alarm,
    };
    look.paint(paint, word)
}

impl Look {
    pub(super) fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Plain => return text.to_owned(),
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Green => "32",
            Paint::Yellow => "33",
            Paint::Red => "31",
            Paint::Alarm => "1;97;41",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// `diehard status`
pub fn status_text(status: &Status, look: Look) -> String {
    let mut text = cluster_line(status, look);
    for alarm in alarms(status) {
        let _ = writeln!(text, "{}", look.paint(Paint::Alarm, &format!(" {alarm} ")));
    }
    let _ = write!(text, "\n{}\n{}", ring_text(status, look), nodes_text(status, look));
    let _ = write!(text, "\n{}", services_text(status, look));
    if !status.forecast.is_empty() {
        let _ = write!(text, "\n{}", forecast::forecast_text(status, look));
    }
    text
}

fn cluster_line(status: &Status, look: Look) -> String {
    let quorum =
        if status.quorum { look.paint(Paint::Green, "quorum") } else { look.paint(Paint::Red, "no quorum") };
    let controller = match &status.controller {
        Some(name) => format!("controller {}", look.paint(Paint::Bold, name)),
        None => look.paint(Paint::Red, "no controller"),
    };
    let arbiter = status
        .arbiter
        .as_ref()
        .map_or_else(String::new, |state| format!(" · arbiter {}", state.replace('-', " ")));
    let lease = status.lease_ms.map_or_else(String::new, |lease| format!(" · lease {lease:.0} ms"));
    format!(
        "cluster {} · {quorum}{arbiter} · {controller} · epoch {} · hello {} ms{lease} · seen from {}\n",
        look.paint(Paint::Bold, &status.cluster),
        status.epoch,
        status.hello_interval_ms,
        status.node
    )
}

/// What nobody may overlook.
pub fn alarms(status: &Status) -> Vec<String> {
    let mut alarms = Vec::new();
    if !status.quorum {
        alarms.push(format!("NO QUORUM: {} serves nothing", status.node));
    }
    if status.arbiter.as_deref() == Some("silent") {
        alarms.push("NO ARBITER ANSWERS: half of the members or fewer may not serve".into());
    }
    if status.frozen {
        alarms.push("FROZEN: no automatic moves except from the dead; `diehard thaw` ends it".into());
    }
    for service in status.services.iter().filter(|service| service.holder.is_none()) {
        alarms.push(format!("NOT SERVED: {} ({})", service.name, service.addresses.join(", ")));
    }
    for service in status.services.iter().filter(|service| service.state == "held") {
        if let Some(stranger) = &service.stranger {
            alarms.push(format!("CONFLICT: {stranger} claims an address of {} too", service.name));
        }
    }
    for service in status.services.iter().filter(|service| service.state == "orphaned") {
        let stranger = service.stranger.as_deref().unwrap_or("somebody");
        alarms.push(format!("ORPHANED: {stranger}, outside the cluster, has an address of {}", service.name));
    }
    for OwnCheck { of, check } in own_checks(status).into_iter().filter(|it| it.check.state == "failing") {
        alarms.push(format!("CHECK FAILS on {}: {} of {of}: {}", status.node, check.name, check.message));
    }
    alarms.extend(forecast::no_spare(status));
    for node in &status.nodes {
        if let Some(left) = node.damped_ms {
            let left = duration_text(left);
            alarms.push(format!("DAMPED: {} comes and goes; it gets nothing back for {left}", node.name));
        }
    }
    if let Some(nodes) = &status.key_change_waits_for {
        let nodes = if nodes.is_empty() { "nobody".to_owned() } else { nodes.join(", ") };
        alarms.push(format!("KEYS ARE BEING CHANGED: both are accepted; waits for {nodes}"));
    }
    if let [first, ..] = status.config_drift.as_slice() {
        let (names, verb) = match status.config_drift.as_slice() {
            [_] => (first.clone(), "has"),
            all => (all.join(", "), "have"),
        };
        alarms.push(format!(
            "CONFIGURATIONS DIFFER: {names} {verb} another than the rest; `diehard config diff {first}` shows it"
        ));
    }
    alarms
}

/// From right neighbour to right neighbour, the first again at the end of a whole ring.
fn walk<'a>(members: &[&'a NodeStatus], first: &'a NodeStatus) -> Vec<&'a str> {
    let mut names = vec![first.name.as_str()];
    let mut at = first;
    while names.len() <= members.len() {
        let Some(right) = at.right.as_deref() else { break };
        names.push(right);
        match members.iter().find(|node| node.name == right) {
            Some(next) if next.name != first.name => at = next,
            _ => break,
        }
    }
    names
}

fn node_paint(state: &str) -> Paint {
    match state {
        "up" => Paint::Green,
        "down" => Paint::Red,
        _ => Paint::Yellow,
    }
}

fn service_paint(service: &ServiceStatus) -> Paint {
    match service.state.as_str() {
        "held" if service.note.is_some() => Paint::Yellow,
        "held" => Paint::Green,
        "moving" => Paint::Yellow,
        _ => Paint::Red,
    }
}

/// `diehard nodes`
pub fn nodes_text(status: &Status, look: Look) -> String {
    let mut rows = vec![header(&["NODE", "STATE", "PRIORITY", "LOAD", "CAPACITY", "LINKS", "HEARD", "LATE"])];
    for node in &status.nodes {
        let controls = status.controller.as_deref() == Some(node.name.as_str());
        let dash = || "-".to_owned();
        let late = node.lateness_ms.map_or_else(dash, |late| format!("{late:.1} ms"));
        let heard = if node.name == status.node {
            "here".into()
        } else {
            node.heard_ms.map_or_else(dash, |heard| format!("{} ago", duration_text(heard)))
        };
        rows.push(vec![
            (Paint::Bold, format!("{}{}", node.name, if controls { " *" } else { "" })),
            (node_paint(&node.state), node.state.clone()),
            (Paint::Plain, node.priority.map_or_else(dash, |priority| priority.to_string())),
            (Paint::Plain, format!("{:.2}", node.load)),
            (Paint::Plain, node.capacity.map_or_else(dash, |capacity| format!("{capacity}"))),
            links_cell(node),
            (Paint::Dim, heard),
            (Paint::Dim, late),
        ]);
    }
    let mut text = table(&rows, look);
    if status.nodes.iter().any(|node| status.controller.as_ref() == Some(&node.name)) {
        let _ = writeln!(text, "{}", look.paint(Paint::Dim, "* the controller"));
    }
    text
}

fn links_cell(node: &NodeStatus) -> (Paint, String) {
    let link = |link: &super::status::LinkView| format!("{} {}", link.device, link.state);
    let down = node.links.iter().any(|link| link.state == "down");
    let unknown = node.links.iter().any(|link| link.state == "unknown");
    let paint = match (down, unknown) {
        (true, _) => Paint::Red,
        (false, true) => Paint::Dim,
        (false, false) => Paint::Plain,
    };
    (paint, node.links.iter().map(link).collect::<Vec<_>>().join(", "))
}

pub(super) fn duration_text(millis: f64) -> String {
    match millis {
        millis if millis < 10_000.0 => format!("{millis:.0} ms"),
        millis if millis < 600_000.0 => format!("{:.0} s", millis / 1000.0),
        millis => format!("{:.0} min", millis / 60_000.0),
    }
}

/// `diehard services`
pub fn services_text(status: &Status, look: Look) -> String {
    let mut rows = vec![header(&["SERVICE", "HOME", "HOLDER", "STATE", "ADDRESSES", "NOTE"])];
    for service in &status.services {
        let or_dash = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".into());
        rows.push(vec![
            (Paint::Bold, service.name.clone()),
            (Paint::Plain, or_dash(&service.home)),
            (Paint::Plain, service.holder.clone().unwrap_or_else(|| "nobody".into())),
            (service_paint(service), service.state.clone()),
            (Paint::Plain, service.addresses.join(", ")),
            (Paint::Dim, service.note.clone().unwrap_or_default()),
        ]);
    }
    table(&rows, look)
}

/// One check and whom it concerns: a service, or the answering node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OwnCheck<'a> {
    /// Name of the service or node.
    pub of: &'a str,
    /// The rest.
    #[serde(flatten)]
    pub check: &'a CheckView,
}

/// All checks as the answering node sees them: its own first, then those of the services.
pub fn own_checks(status: &Status) -> Vec<OwnCheck<'_>> {
    let own = status.nodes.iter().filter(|node| node.name == status.node);
    let own = own.map(|node| (node.name.as_str(), &node.checks));
    let services = status.services.iter().map(|service| (service.name.as_str(), &service.checks));
    own.chain(services)
        .flat_map(|(of, checks)| checks.iter().map(move |check| OwnCheck { of, check }))
        .collect()
}

/// `diehard checks`
pub fn checks_text(status: &Status, look: Look) -> String {
    let checks = own_checks(status);
    if checks.is_empty() {
        return "no check is configured\n".to_owned();
    }
    let mut rows = vec![header(&["CHECK", "OF", "TYPE", "STATE", "SINCE", "MESSAGE"])];
    for OwnCheck { of, check } in checks {
        let (paint, state) = match check.state.as_str() {
            "ok" if check.warning => (Paint::Yellow, "warning"),
            "ok" => (Paint::Green, "ok"),
            "failing" => (Paint::Red, "failing"),
            state => (Paint::Dim, state),
        };
        rows.push(vec![
            (Paint::Bold, check.name.clone()),
            (Paint::Plain, of.to_owned()),
            (Paint::Plain, check.kind.clone()),
            (paint, state.to_owned()),
            (Paint::Dim, check.since.clone().unwrap_or_else(|| "-".to_owned())),
            (Paint::Plain, check.message.clone()),
        ]);
    }
    table(&rows, look)
}

pub(super) type Row = Vec<(Paint, String)>;

pub(super) fn header(titles: &[&str]) -> Row {
    titles.iter().map(|title| (Paint::Dim, (*title).to_owned())).collect()
}

/// Columns as wide as their widest cell, two spaces apart; painted after padding, so that codes take no room.
pub(super) fn table(rows: &[Row], look: Look) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().map(|row| row[column].1.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let used = row.iter().rposition(|(_, cell)| !cell.is_empty()).map_or(0, |last| last + 1);
        for (column, (paint, cell)) in row[..used].iter().enumerate() {
            text.push_str(&look.paint(*paint, cell));
            if column + 1 < used {
                let padding = widths[column] - cell.chars().count() + 2;
                text.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
