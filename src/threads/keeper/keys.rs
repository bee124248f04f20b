//! The cluster's keys change without a moment at which two nodes do not understand each other. Nobody
//! coordinates it: every node goes by what the others say of their keys in STATUS.
//!
//! ```text
//!   old ── offered by one, fetched by the others ──▶ old, next ── every node has it ──▶ new, last
//!                                                                                         │ every node
//!   new  ◀────────────────────────────────────────────────────────────────────────────────┘ seals with it
//! ```
//! «Every node» is every one of the configuration and every one that lives: one that is down is waited for, or
//! it could never come back. Each step is in the key file before it is in force.

use super::events::Happened;
use super::front::Front;
use super::talk::{self, Ask, Reply};
use super::{Keeper, Wish};
use crate::config::Config;
use crate::control::protocol::Answer;
use crate::controller::{NodeState, View};
use crate::os::clock;
use crate::os::replace::replace;
use crate::os::sched;
use crate::vocabulary::{Instant, NodeId};
use crate::wire::{Keyring, from_hex, hex};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

/// What was sealed with the old key is over when the last node said that it uses the new one; this is for what
/// lies in queues.
const GRACE: Duration = Duration::from_secs(3);
/// After a key could not be fetched or written.
const AGAIN: Duration = Duration::from_secs(5);
/// A new secret, before it is written as twice as many digits.
const SECRET_WORDS: usize = 4;

/// Where this node stands in a change.
#[derive(Debug, Default)]
pub struct Changing {
    /// All seal with the new key since.
    complete: Option<Instant>,
    /// What was told last of why it does not go on, and when it is tried again.
    stuck: Option<(String, Instant)>,
}

/// The keys of a node, as it says.
type Told = (NodeId, Option<(u64, u64)>);

impl Keeper {
    /// Accept it beside the one in use.
    pub(super) fn accept_key(&mut self, secret: &str) -> Result<(), Vec<String>> {
        let keys = self.published.keys();
        let cluster = self.published.config().cluster.name.clone();
        let wrong = |why: String| vec![why];
        let secret = from_hex(secret).ok_or_else(|| wrong("the new key is not hexadecimal".to_owned()))?;
        if keys.offered() == Some(&*secret) {
            return Ok(());
        }
        let offering = keys.offering(&secret, &cluster).map_err(|error| wrong(error.to_string()))?;
        let ((_, known), (_, new)) = (keys.fingerprints(), offering.fingerprints());
        // Two that were offered at one moment: the greater one, everywhere.
        if keys.has_last() || known > new {
            return Err(wrong("keys are being changed already".to_owned()));
        }
        self.change_keys(&offering).map_err(wrong)?;
        self.tell(&Happened::KeyOffered);
        Ok(())
    }

    /// First the file, then the daemon.
    fn change_keys(&mut self, keys: &Keyring) -> Result<(), String> {
        let file = self.published.config().cluster.key_file.clone();
        replace(&file, &keys.written(), 0o600).map_err(|error| error.to_string())?;
        (self.daemon)(Wish::Keys)
    }

    /// The next step, once all others have made it possible.
    pub(super) fn look_at_keys(&mut self, view: &View, config: &Config, now: Instant) {
        if self.changing.stuck.as_ref().is_some_and(|(_, until)| now < *until) {
            return;
        }
        let keys = self.published.keys();
        let (own, next) = keys.fingerprints();
        let others = told(view, config, self.me);
        let done = if let Some(node) = better_offer(view, self.me, own, next).filter(|_| !keys.has_last()) {
            self.fetch_key(node, config)
        } else if next != 0 && others.iter().all(|(_, told)| has(*told, own, next)) {
            self.change_keys(&keys.switched()).map(|()| self.tell(&Happened::KeySwitched))
        } else if keys.has_last() && others.iter().all(|(_, told)| told.is_some_and(|(key, _)| key == own)) {
            self.forget_last(&keys, now)
        } else {
            self.changing.complete = None;
            Ok(())
        };
        match done {
            Ok(()) => self.changing.stuck = None,
            Err(why) => {
                if self.changing.stuck.as_ref().is_none_or(|(told, _)| *told != why) {
                    self.tell(&Happened::KeyStuck { why: why.clone() });
                }
                self.changing.stuck = Some((why, clock::now() + AGAIN));
            }
        }
    }

    fn forget_last(&mut self, keys: &Keyring, now: Instant) -> Result<(), String> {
        let since = *self.changing.complete.get_or_insert(now);
        if now.since(since) < GRACE {
            return Ok(());
        }
        self.changing.complete = None;
        self.change_keys(&keys.settled())?;
        self.tell(&Happened::KeyForgotten);
        Ok(())
    }

    fn fetch_key(&mut self, node: NodeId, config: &Config) -> Result<(), String> {
        let address = SocketAddr::from((node.address(), config.cluster.port));
        match talk::ask(address, &self.published.keys(), &Ask::Offered)? {
            Reply::Offered(Some(secret)) => self.accept_key(&secret).map_err(|reasons| reasons.join("; ")),
            _ => Err("the new key is not offered any more".to_owned()),
        }
    }
}

impl Front {
    /// A new key, offered to all.
    pub(super) fn rotate(&self) -> Answer {
        let view = self.picture()?;
        let config = self.published.config();
        let keys = self.published.keys();
        let (own, _) = keys.fingerprints();
        let others = told(&view, &config, self.me);
        let busy = |told: &Told| told.1.is_some_and(|(key, next)| next != 0 || key != own);
        if keys.is_changing() || others.iter().any(busy) {
            return Err("keys are being changed already; `diehard status` says for whom it waits".to_owned());
        }
        let mut secret = Vec::new();
        for _ in 0..SECRET_WORDS {
            let word = sched::random_u64().map_err(|error| format!("no random numbers: {error}"))?;
            secret.extend(word.to_be_bytes());
        }
        // As `diehard key new` writes it: the digits are the secret.
        let secret = hex(hex(&secret).as_bytes());
        match self.own(Ask::Accept { secret }) {
            Reply::Yes => {
                let away = others.iter().filter(|(id, told)| told.is_none() || !lives(&view, *id));
                let away: Vec<String> = away.map(|(id, _)| self.name(*id)).collect();
                Ok(json!({"waits_for_absent": away}))
            }
            Reply::No(reasons) => Err(reasons.join("\n")),
            _ => Err("the configuration keeper misunderstood".to_owned()),
        }
    }
}

/// Every other node that has to have a key, with what it said of its own.
fn told(view: &View, config: &Config, me: NodeId) -> Vec<Told> {
    let configured = |id: NodeId| config.node(id).is_some();
    let others = view.nodes.iter().filter(|node| node.id != me);
    let others = others.filter(|node| configured(node.id) || node.state != NodeState::Down);
    others.map(|node| (node.id, node.status.as_ref().map(|it| (it.key, it.next_key)))).collect()
}

/// It accepts the new key, or uses it.
fn has(told: Option<(u64, u64)>, own: u64, next: u64) -> bool {
    told.is_some_and(|(key, beside)| key == next || (key, beside) == (own, next))
}

/// A living node that offers a key beside ours, one greater than what is offered here.
fn better_offer(view: &View, me: NodeId, own: u64, next: u64) -> Option<NodeId> {
    let others = view.nodes.iter().filter(|node| node.id != me && node.state != NodeState::Down);
    let offers = others.filter_map(|node| Some((node.id, node.status.as_ref()?)));
    let mut offers = offers.filter(|(_, status)| status.key == own && status.next_key > next);
    offers.next().map(|(node, _)| node)
}

fn lives(view: &View, id: NodeId) -> bool {
    view.nodes.iter().any(|node| node.id == id && node.state != NodeState::Down)
}
