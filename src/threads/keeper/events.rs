//! What the keeper tells people: a line in the log and an event, in the same words.

use super::history::Mark;
use crate::os::clock;
use crate::threads::published::Published;
use crate::vocabulary::Instant;
use crate::wire::ConfigVersion;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Nodes that differ for a shorter time are on their way: STATUS comes every 2 s.
const SETTLED: Duration = Duration::from_secs(5);

/// Something that people should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// A version of the cluster's is in force here.
    Taken {
        /// Which.
        mark: Mark,
        /// Where it came from.
        origin: String,
        /// The number of the one before.
        instead: u64,
        /// What had been edited here, and was kept under this mark.
        edit: Option<Mark>,
        /// Seconds until it goes again unless it is confirmed.
        confirm: Option<u64>,
    },
    /// A version cannot be taken.
    NotTaken {
        /// Which.
        version: ConfigVersion,
        /// Why not.
        why: String,
    },
    /// The file was edited on this machine.
    Edited {
        /// Under what it is in the history.
        mark: Mark,
    },
    /// These nodes have another configuration than most.
    Differ {
        /// Their names.
        nodes: Vec<String>,
    },
    /// All have the same again.
    Agree,
    /// A key is accepted beside the one in use.
    KeyOffered,
    /// Every node has it: this one seals with it.
    KeySwitched,
    /// Every node seals with it: the old one is nobody's any more.
    KeyForgotten,
    /// The change of keys does not go on.
    KeyStuck {
        /// Why not.
        why: String,
    },
    /// A machine brought its own sections with it.
    Adopted {
        /// Its name.
        node: String,
    },
    /// It did, and cannot be taken in.
    NotAdopted {
        /// Its name.
        node: String,
        /// Why not.
        why: String,
    },
}

/// What is said, as text and as fields.
pub fn words(happened: &Happened) -> (String, Value) {
    match happened {
        Happened::Taken { mark, origin, instead, edit, confirm } => {
            let mut text = format!("configuration version {mark} is in force instead of {instead}: {origin}");
            if let Some(edit) = edit {
                text += &format!("; what was edited here is kept as {edit}");
            }
            if let Some(seconds) = confirm {
                text += &format!("; it goes again in {seconds} s unless `diehard config confirm` comes");
            }
            let edit = edit.map(|edit| edit.to_string());
            let fields = json!({"event": "config-taken", "version": mark.to_string(), "origin": origin,
                "kept": edit, "confirm_ms": confirm.map(|seconds| seconds * 1000)});
            (text, fields)
        }
        Happened::NotTaken { version, why } => (
            format!("configuration version {} is not taken: {why}", version.number),
            json!({"event": "config-not-taken", "version": version.number.to_string(), "why": why}),
        ),
        Happened::Edited { mark } => (
            format!("the configuration was edited on this machine: it is in the history as {mark}"),
            json!({"event": "config-edited", "version": mark.to_string()}),
        ),
        Happened::Differ { nodes } => (
            format!("configurations differ: {} from the rest", nodes.join(", ")),
            json!({"event": "config-differs", "nodes": nodes}),
        ),
        Happened::Agree => {
            ("all nodes have the same configuration again".to_owned(), json!({"event": "config-agrees"}))
        }
        Happened::KeyOffered => {
            ("a new key is accepted beside the old one".to_owned(), json!({"event": "key-offered"}))
        }
        Happened::KeySwitched => {
            ("every node has the new key: it is in use".to_owned(), json!({"event": "key-switched"}))
        }
        Happened::KeyForgotten => (
            "every node uses the new key: the old one is not accepted any more".to_owned(),
            json!({"event": "key-forgotten"}),
        ),
        Happened::KeyStuck { why } => {
            (format!("the change of keys does not go on: {why}"), json!({"event": "key-stuck", "why": why}))
        }
        Happened::Adopted { node } => (
            format!("{node} brought its own sections with it: all nodes have them now"),
            json!({"event": "node-adopted", "node": node}),
        ),
        Happened::NotAdopted { node, why } => (
            format!("{node} is in nobody's file, and its own sections do not fit: {why}"),
            json!({"event": "node-not-adopted", "node": node, "why": why}),
        ),
    }
}

/// Into the log and the list of events.
pub fn tell(happened: &Happened, published: &Published) {
    let (text, fields) = words(happened);
    match happened {
        Happened::NotTaken { .. }
        | Happened::Differ { .. }
        | Happened::KeyStuck { .. }
        | Happened::NotAdopted { .. } => log::warn!("{text}"),
        _ => log::info!("{text}"),
    }
    let fields = match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    published.events.push(clock::wall(), text, fields);
}

/// Who differs, and since when: told once for each change that lasts.
#[derive(Debug, Default)]
pub struct Drift {
    told: Vec<String>,
    seen: Option<(Vec<String>, Instant)>,
}

impl Drift {
    /// These differ now; what is to be told, if anything.
    pub fn seen(&mut self, nodes: Vec<String>, now: Instant) -> Option<Happened> {
        if nodes == self.told {
            self.seen = None;
            return None;
        }
        match &self.seen {
            Some((known, since)) if *known == nodes => {
                if now.since(*since) < SETTLED {
                    return None;
                }
            }
            _ => {
                self.seen = Some((nodes, now));
                return None;
            }
        }
        self.seen = None;
        self.told.clone_from(&nodes);
        Some(if nodes.is_empty() { Happened::Agree } else { Happened::Differ { nodes } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_once_when_it_lasts() {
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let (nobody, web3) = (Vec::new(), vec!["web3".to_owned()]);
        let mut drift = Drift::default();
        assert_eq!(drift.seen(nobody.clone(), at(0)), None);
        assert_eq!(drift.seen(web3.clone(), at(1)), None);
        assert_eq!(drift.seen(nobody.clone(), at(2)), None, "it was on its way");
        assert_eq!(drift.seen(web3.clone(), at(3)), None);
        assert_eq!(drift.seen(web3.clone(), at(7)), None);
        assert_eq!(drift.seen(web3.clone(), at(8)), Some(Happened::Differ { nodes: web3.clone() }));
        assert_eq!(drift.seen(web3, at(20)), None);
        assert_eq!(drift.seen(nobody.clone(), at(21)), None);
        assert_eq!(drift.seen(nobody, at(26)), Some(Happened::Agree));
    }

    #[test]
    fn a_taken_version_says_all_that_matters() {
        let mark = Mark { number: 3, edit: 0 };
        let origin = "pushed from web1".to_owned();
        let happened = Happened::Taken {
            mark,
            origin,
            instead: 2,
            edit: Some(Mark { number: 2, edit: 1 }),
            confirm: Some(60),
        };
        assert_eq!(
            words(&happened).0,
            "configuration version 3 is in force instead of 2: pushed from web1; what was edited here is kept \
             as 2.1; it goes again in 60 s unless `diehard config confirm` comes"
        );
    }
}
