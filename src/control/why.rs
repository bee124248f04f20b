//! The object of `diehard why SERVICE --json`: why it is where it is. PURE: a function of the controller's view, the
//! configuration and the board of checks; the daemon builds it, `diehard` prints it (`text`).

use super::checks::Line;
use super::event_words::{cause_text, cause_word, move_step_word};
use super::events::rfc3339;
use super::status::{Names, standing_word, status};
use crate::config::{CheckScope, Config};
use crate::controller::{Ground, Obstacle, Rank, View};
use crate::recovery::Standing;
use crate::vocabulary::{NodeId, ServiceId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

mod text;
pub use text::why_text;

/// Why a service is where it is, as one node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// Its name.
    pub service: String,
    /// Its home, or `any`; null where the answering node's configuration does not know it.
    pub home: Option<String>,
    /// Who has it; null: nobody.
    pub holder: Option<String>,
    /// `held`, `moving`, `stopped`, `failed`, `orphaned`.
    pub state: String,
    /// Why it is not at home, or not served.
    pub note: Option<String>,
    /// The node that answers.
    pub node: String,
    /// What moved it lately, oldest first.
    pub moves: Vec<Step>,
    /// Who would get it if its holder died now; null: nobody.
    pub next: Option<String>,
    /// Every member: first those that may hold it, in the order in which they would be taken.
    pub candidates: Vec<Candidate>,
    /// Its checks, as the answering node sees them.
    pub checks: Vec<Check>,
}

/// A step of its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// RFC 3339.
    pub time: String,
    /// `assigned`, `began`, `done`, `aborted`.
    pub step: String,
    /// Who had it; null: nobody, or not told.
    pub from: Option<String>,
    /// Who was to have it; null: nobody.
    pub to: Option<String>,
    /// One word, as in events.
    pub cause: String,
    /// One line for people.
    pub text: String,
}

/// A member as a place for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Who.
    pub node: String,
    /// It holds it.
    pub holds: bool,
    /// Its turn, from 1, if it had to be placed now; null: it may not hold it.
    pub turn: Option<usize>,
    /// `good`, `damped`, `unfit`, `unfit-damped`: the better go first, however loaded.
    pub rank: String,
    /// Without it.
    pub load: f64,
    /// With it.
    pub load_with: f64,
    /// Null where the answering node's configuration does not know it.
    pub capacity: Option<f64>,
    /// Why it may hold nothing.
    pub obstacle: Option<String>,
    /// It could not be started there: that is forgotten after so long.
    pub failed_ms: Option<f64>,
    /// Its checks fail there.
    pub unfit: bool,
    /// The gateway does not answer that node.
    pub cut_off: bool,
    /// For coming and going, of the node and of the service there.
    pub penalty: u32,
    /// It is damped, and used again after so long.
    pub reuse_ms: Option<f64>,
}

/// One of its checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// `unknown`, `ok`, `failing`.
    pub state: String,
    /// What its last result said.
    pub message: String,
    /// Since when it stands so.
    pub since: Option<String>,
    /// Bad results in a row since the last step.
    pub bad_in_a_row: u32,
    /// So many lead to a step.
    pub fail: u32,
    /// Steps that were taken and are not forgotten.
    pub tried: Vec<Tried>,
}

/// A step of a policy that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// As the file has it.
    pub step: String,
    /// How often.
    pub used: u32,
    /// How often it may be.
    pub of: u32,
    /// When the oldest is forgotten, RFC 3339.
    pub forgotten: String,
}

/// The answer; `None`: there is no such service. `now` is the wall clock, for the times of what happened.
pub fn why(
    view: &View,
    config: &Config,
    lines: &BTreeMap<String, Line>,
    service: ServiceId,
    now: SystemTime,
) -> Option<Why> {
    let seen = view.services.iter().find(|seen| seen.id == service)?;
    let names = Names { view, config, lines };
    let name = names.service(service);
    let told = status(view, config, lines).services.into_iter().find(|told| told.name == name)?;
    let ground = view.ground.as_ref();
    let next = ground.and_then(|ground| next_of(ground, service, seen.holder));
    Some(Why {
        service: name,
        home: told.home,
        holder: told.holder,
        state: told.state,
        note: told.note,
        node: names.node(view.me),
        moves: steps(&names, service, now),
        next: next.map(|next| names.node(next)),
        candidates: ground.map_or_else(Vec::new, |ground| candidates(ground, &names, service)),
        checks: checks(&names, service),
    })
}

fn next_of(ground: &Ground, service: ServiceId, holder: Option<NodeId>) -> Option<NodeId> {
    match holder {
        Some(holder) => ground.if_dies(holder).into_iter().find(|fate| fate.service == service)?.to,
        None => ground.order(service).first().copied(),
    }
}

fn steps(names: &Names, service: ServiceId, now: SystemTime) -> Vec<Step> {
    let moves = names.view.moves.iter().filter(|moved| moved.service == service);
    let steps = moves.map(|moved| {
        let ago = Duration::from_millis(u64::from(moved.ago_ms));
        let node = |id: Option<NodeId>| id.map(|id| names.node(id));
        Step {
            time: rfc3339(now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)),
            step: move_step_word(moved.step).into(),
            from: node(moved.from),
            to: node(moved.to),
            cause: cause_word(moved.cause).into(),
            text: cause_text(moved, |id| names.node(id)),
        }
    });
    steps.collect()
}

fn candidates(ground: &Ground, names: &Names, service: ServiceId) -> Vec<Candidate> {
    let order = ground.order(service);
    let holder = ground.state.slot(service).and_then(|slot| slot.holder);
    let rest = ground.nodes.keys().copied().filter(|node| !order.contains(node));
    let all = order.iter().copied().chain(rest);
    let one = |node: NodeId| {
        let known = ground.nodes.get(&node).copied().unwrap_or_default();
        let place = ground.places.get(&(node, service)).copied().unwrap_or_default();
        let (load, load_with) = ground.load_with(node, service);
        let finite = |load: f64| if load.is_finite() && load < 1e9 { load } else { 0.0 };
        Candidate {
            node: names.node(node),
            holds: holder == Some(node),
            turn: order.iter().position(|&taken| taken == node).map(|at| at + 1),
            rank: rank_word(ground.rank(node, service)).into(),
            load: finite(load),
            load_with: finite(load_with),
            capacity: names.config.node(node).map(|node| node.capacity),
            obstacle: known.obstacle.map(|obstacle| obstacle_word(obstacle).into()),
            failed_ms: place.failed.map(|left| left.as_millis() as f64),
            unfit: place.unfit,
            cut_off: known.cut_off,
            penalty: known.penalty.max(place.penalty),
            reuse_ms: known.reuse.max(place.reuse).map(|left| left.as_millis() as f64),
        }
    };
    all.map(one).collect()
}

fn checks(names: &Names, service: ServiceId) -> Vec<Check> {
    let checks = names.config.checks.iter().filter(|check| check.scope == CheckScope::Service(service));
    let views = checks.map(|check| {
        let line = names.lines.get(&check.name);
        let tried = line.map_or(&[][..], |line| &line.tried).iter().map(|tried| Tried {
            step: tried.step.clone(),
            used: tried.used,
            of: tried.of,
            forgotten: rfc3339(tried.forgotten),
        });
        Check {
            name: check.name.clone(),
            state: standing_word(line.map_or(Standing::Unknown, |line| line.standing)).into(),
            message: line.map_or_else(String::new, |line| line.message.clone()),
            since: line.map(|line| rfc3339(line.since)),
            bad_in_a_row: line.map_or(0, |line| line.bad_in_a_row),
            fail: check.fail,
            tried: tried.collect(),
        }
    });
    views.collect()
}

fn rank_word(rank: Rank) -> &'static str {
    match rank {
        Rank::Good => "good",
        Rank::Damped => "damped",
        Rank::Unfit => "unfit",
        Rank::UnfitDamped => "unfit-damped",
    }
}

fn obstacle_word(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::NoMember => "not in the cluster",
        Obstacle::Standby => "on standby",
        Obstacle::Leaving => "leaving",
        Obstacle::Suspect => "silent",
        Obstacle::Down => "down",
        Obstacle::NoQuorum => "no quorum",
        Obstacle::Idle => "hears nothing of the controller",
        Obstacle::NoCapacity => "capacity 0",
        Obstacle::ExternalLink => "no working external link",
    }
}

#[cfg(test)]
mod tests;
