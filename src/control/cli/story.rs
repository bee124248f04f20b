//! The events of all nodes as one story: in the order in which they happened, each told once. PURE.

use crate::control::events::Entry;
use serde_json::{Map, Value};

/// What several nodes saw within this time is told once, in milliseconds: an election and its news need less.
const TOGETHER_MS: u64 = 2_000;

/// One line of it: an event and all the nodes that told it, the first one first.
#[derive(Debug, Clone, PartialEq)]
pub struct Told<'a> {
    /// As the first one told it.
    pub entry: &'a Entry,
    /// Who told it.
    pub nodes: Vec<&'a str>,
}

/// By time, those of one node in their order; the same event of several nodes once.
pub fn story<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Told<'a>> {
    let mut entries: Vec<&Entry> = entries.collect();
    // The sort is stable: what one node told within a millisecond stays in its order.
    entries.sort_by(|a, b| a.time.cmp(&b.time));
    let mut told: Vec<(Told<'a>, Map<String, Value>)> = Vec::new();
    for entry in entries {
        let meaning = meaning(entry);
        let recent = told.iter_mut().rev().take_while(|(other, _)| close(&other.entry.time, &entry.time));
        let mut same = recent.filter(|(other, known)| {
            *known == meaning && !known.is_empty() && !other.nodes.contains(&entry.node.as_str())
        });
        match same.next() {
            Some((other, _)) => other.nodes.push(&entry.node),
            None => told.push((Told { entry, nodes: vec![&entry.node] }, meaning)),
        }
    }
    told.into_iter().map(|(told, _)| told).collect()
}

/// The fields without what each node measures for itself. Events that concern only the node that tells them
/// have no other meaning than their own.
fn meaning(entry: &Entry) -> Map<String, Value> {
    const OF_THE_CLUSTER: [&str; 8] =
        ["suspected", "cleared", "down", "following", "joined", "left", "committed", "merged"];
    let name = entry.fields.get("event").and_then(Value::as_str).unwrap_or_default();
    if !OF_THE_CLUSTER.contains(&name) {
        return Map::new();
    }
    let measured = |key: &str| key.ends_with("_ms");
    entry
        .fields
        .iter()
        .filter(|(key, _)| !measured(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn close(earlier: &str, later: &str) -> bool {
    match (millis(earlier), millis(later)) {
        (Some(earlier), Some(later)) => later.saturating_sub(earlier) <= TOGETHER_MS,
        _ => false,
    }
}

/// Milliseconds within the day: across midnight nothing is told together, which harms nobody.
pub(super) fn millis(time: &str) -> Option<u64> {
    let (_, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let (clock, millis) = clock.split_once('.')?;
    let mut parts = clock.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    Some(((hour * 60 + minute) * 60 + second) * 1000 + millis.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u64, millis: u64, node: &str, fields: Value) -> Entry {
        let Value::Object(fields) = fields else { panic!("an object") };
        let time = format!("2026-01-31T12:00:{:02}.{:03}Z", millis / 1000, millis % 1000);
        Entry { sequence, time, node: node.into(), text: format!("{sequence}"), fields }
    }

    fn shown(entries: &[Entry]) -> Vec<String> {
        let line = |told: Told| format!("{} {}", told.nodes.join(","), told.entry.text);
        story(entries.iter()).into_iter().map(line).collect()
    }

    #[test]
    fn what_all_saw_is_told_once_and_in_order() {
        let down = |ms: f64| serde_json::json!({"event": "down", "node": "web2", "after_ms": ms});
        let taken = || serde_json::json!({"event": "taken", "service": "www2"});
        let entries = [
            entry(1, 500, "web1", taken()),
            entry(2, 120, "web3", down(37.5)),
            entry(3, 100, "web1", down(36.0)),
            entry(4, 501, "web3", taken()),
            entry(5, 2_300, "web4", down(36.0)),
        ];
        assert_eq!(shown(&entries), ["web1,web3 3", "web1 1", "web3 4", "web4 5"]);
    }

    #[test]
    fn twice_by_one_node_is_two_events() {
        let joined = || serde_json::json!({"event": "joined", "node": "web2"});
        let entries = [entry(1, 100, "web1", joined()), entry(2, 200, "web1", joined())];
        assert_eq!(shown(&entries), ["web1 1", "web1 2"]);
    }
}
