//! Two phases over all living nodes, coordinated by the node where the command was given. Runs in the thread
//! that asks for it.
//!
//! ```text
//!   Prepare ──▶ every living node of the new configuration, at the same time
//!      one says no, or nothing  ──▶ Forget: nothing has changed anywhere
//!      all say yes              ──▶ Apply: one other node first, then all at the same time, this one among them
//! ```
//! The first to apply is not this node: if it dies at that instant, whoever has the version is alive and spreads
//! it (`Keeper::fetch`); if nobody has it, nobody ever will, because what is ready is forgotten.

use super::front::Front;
use super::talk::{Ask, Parcel, Pusher, Reply};
use crate::config::{self, Config};
use crate::controller::{NodeState, View};
use crate::vocabulary::NodeId;
use serde_json::{Value, json};
use std::thread;

/// How a push went.
#[derive(Debug, Default)]
pub struct Pushed {
    number: u64,
    /// Have it.
    nodes: Vec<String>,
    /// Were ready and then did not answer any more: they fetch it.
    late: Vec<(String, String)>,
    /// Do not run: they fetch it when they join.
    away: Vec<String>,
    confirm_s: Option<u64>,
}

impl Pushed {
    /// For the control socket.
    pub fn json(&self) -> Value {
        let late: Vec<Value> =
            self.late.iter().map(|(node, why)| json!({"node": node, "why": why})).collect();
        json!({
            "version": self.number.to_string(),
            "nodes": self.nodes,
            "late": late,
            "away": self.away,
            "confirm_ms": self.confirm_s.map(|seconds| seconds * 1000),
        })
    }
}

/// Everybody who must agree, and who is away.
struct Roll {
    asked: Vec<NodeId>,
    away: Vec<NodeId>,
}

/// Pushes the text to all nodes.
///
/// # Errors
/// Why nobody has it: every reason, a line each.
pub fn push(
    front: &Front,
    name: &str,
    text: &str,
    origin: String,
    confirm_s: Option<u64>,
) -> Result<Pushed, String> {
    let Some(_pushing) = front.pushing.try_lock() else {
        return Err("another push is under way on this node".to_owned());
    };
    let new = match config::parse(name, text.as_bytes()) {
        Ok(parsed) => parsed.config,
        Err(problems) => return Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    };
    let view = front.picture()?;
    let roll = call_the_roll(front, &view, &new)?;
    let shelf = front.shelf();
    let before = shelf.current().map(|version| version.text.clone()).unwrap_or_default();
    let told = view.nodes.iter().filter_map(|node| Some(node.status.as_ref()?.version.number));
    let own = shelf.agreed.as_ref().map_or(0, |version| version.mark.number);
    let number = told.max().unwrap_or(0).max(own) + 1;
    let digest = config::digest(&new);
    let unconfirmed = confirm_s.map(|seconds| (seconds, before));
    let parcel = Parcel { number, digest, text: text.to_owned(), origin, unconfirmed };

    let by = Pusher { node: front.me.0, life: view.incarnation.0 };
    let answers = ask_all(front, &roll.asked, &Ask::Prepare(parcel, by));
    let reasons: Vec<String> =
        answers.iter().filter_map(|(node, answer)| reason(front, *node, answer)).collect();
    if !reasons.is_empty() {
        ask_all(front, &roll.asked, &Ask::Forget { number, digest });
        return Err(format!("nothing was changed on any node:\n{}", reasons.join("\n")));
    }
    let mut pushed = apply(front, &roll.asked, number, digest)?;
    pushed.away = roll.away.iter().map(|&node| name_in(&new, node)).collect();
    pushed.confirm_s = confirm_s;
    Ok(pushed)
}

fn call_the_roll(front: &Front, view: &View, new: &Config) -> Result<Roll, String> {
    let old = front.published.config();
    let lives = |id: NodeId| {
        id == front.me || view.nodes.iter().any(|node| node.id == id && node.state != NodeState::Down)
    };
    let gone = old.nodes.iter().filter(|node| new.node(node.id).is_none() && lives(node.id));
    let gone: Vec<&str> = gone.map(|node| node.name.as_str()).collect();
    if !gone.is_empty() {
        let names = gone.join(", ");
        return Err(format!("{names}: not in it, but still running: end the daemon there first"));
    }
    let (asked, away) = new.nodes.iter().map(|node| node.id).partition(|&id| lives(id));
    Ok(Roll { asked, away })
}

/// One other first: then there is no way back.
fn apply(front: &Front, asked: &[NodeId], number: u64, digest: u64) -> Result<Pushed, String> {
    let word = Ask::Apply { number, digest };
    let mut answers: Vec<(NodeId, Result<Reply, String>)> = Vec::new();
    for &node in asked.iter().filter(|node| **node != front.me) {
        let answer = front.ask(node, &word);
        let decided = matches!(answer, Ok(Reply::Yes));
        // A no is known to have changed nothing; silence may mean anything, and is no reason to stop.
        if let Ok(Reply::No(reasons)) = &answer
            && answers.is_empty()
        {
            ask_all(front, asked, &Ask::Forget { number, digest });
            let reasons = reasons.join("\n");
            return Err(format!("nothing was changed on any node:\n{}: {reasons}", front.name(node)));
        }
        answers.push((node, answer));
        if decided {
            break;
        }
    }
    let known: Vec<NodeId> = answers.iter().map(|(node, _)| *node).collect();
    let rest: Vec<NodeId> = asked.iter().copied().filter(|node| !known.contains(node)).collect();
    answers.extend(ask_all(front, &rest, &word));
    answers.sort_by_key(|(node, _)| *node);
    let mut pushed = Pushed { number, ..Pushed::default() };
    for (node, answer) in answers {
        match reason(front, node, &answer) {
            None => pushed.nodes.push(front.name(node)),
            Some(why) => pushed.late.push((front.name(node), why)),
        }
    }
    Ok(pushed)
}

/// At the same time; in the order of the nodes.
fn ask_all(front: &Front, nodes: &[NodeId], ask: &Ask) -> Vec<(NodeId, Result<Reply, String>)> {
    thread::scope(|scope| {
        let asking: Vec<_> =
            nodes.iter().map(|&node| (node, scope.spawn(move || front.ask(node, ask)))).collect();
        let answers = asking.into_iter().map(|(node, thread)| {
            // A panic has ended the process already.
            (node, thread.join().unwrap_or_else(|_| Err("its thread ended".to_owned())))
        });
        answers.collect()
    })
}

/// Why this is no yes.
fn reason(front: &Front, node: NodeId, answer: &Result<Reply, String>) -> Option<String> {
    let name = front.name(node);
    match answer {
        Ok(Reply::Yes) => None,
        Ok(Reply::No(reasons)) => {
            Some(reasons.iter().map(|reason| format!("{name}: {reason}")).collect::<Vec<_>>().join("\n"))
        }
        Ok(_) => Some(format!("{name}: its answer is none to the question")),
        Err(error) => Some(format!("{name}: {error}")),
    }
}

fn name_in(new: &Config, node: NodeId) -> String {
    new.node(node).map_or_else(|| node.to_string(), |node| node.name.clone())
}
