//! The forecast for people: a line for each node that holds something.

use super::{Look, Paint};
use crate::control::status::{Fate, Forecast, Status};
use std::fmt::Write;

/// `if web2 dies  www2 → web4, load then 0.61`
pub(super) fn forecast_text(status: &Status, look: Look) -> String {
    let width = status.forecast.iter().map(|forecast| forecast.node.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for forecast in &status.forecast {
        let padding = " ".repeat(width - forecast.node.chars().count());
        let _ = write!(text, "if {} dies{padding}  ", look.paint(Paint::Bold, &forecast.node));
        let parts: Vec<String> = grouped(forecast).iter().map(|group| group_text(group, look)).collect();
        let parts = match forecast.quorum {
            true => parts.join("; "),
            false => look.paint(Paint::Red, "NO QUORUM is left: nothing is served any more"),
        };
        let _ = writeln!(text, "{parts}");
    }
    text
}

/// What goes to the same node stands together.
fn grouped(forecast: &Forecast) -> Vec<Vec<&Fate>> {
    let mut groups: Vec<Vec<&Fate>> = Vec::new();
    for fate in &forecast.services {
        match groups.iter_mut().find(|group| group[0].to == fate.to) {
            Some(group) => group.push(fate),
            None => groups.push(vec![fate]),
        }
    }
    groups
}

fn group_text(group: &[&Fate], look: Look) -> String {
    let services = group.iter().map(|fate| fate.service.as_str()).collect::<Vec<_>>().join(", ");
    let (Some(to), Some(load)) = (&group[0].to, group[0].load) else {
        return look.paint(Paint::Red, &format!("{services} → NOBODY can take it"));
    };
    let then = format!("load then {load:.2}");
    let then = match group[0].overloaded {
        true => look.paint(Paint::Red, &format!("{then}, MORE THAN IT CAN CARRY")),
        false => look.paint(Paint::Dim, &then),
    };
    format!("{services} → {to}, {then}")
}

/// At the top, because a spare is missing before anybody has died.
pub(super) fn no_spare(status: &Status) -> Vec<String> {
    let lost =
        status.forecast.iter().filter(|forecast| forecast.services.iter().any(|fate| fate.to.is_none()));
    let nodes: Vec<&str> = lost.map(|forecast| forecast.node.as_str()).collect();
    match nodes.as_slice() {
        [] => Vec::new(),
        nodes => {
            vec![format!("NO SPARE: if {} dies, services are lost; see the forecast", nodes.join(" or "))]
        }
    }
}
