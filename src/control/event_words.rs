//! An event of the controller in words, for the log and `diehard events`, and as fields, for programs. PURE.
//!
//! The daemon calls it for every `Effect::Event`: once each, so that the log retells the incident.

use super::status::hardware_address;
use crate::config::Config;
use crate::controller::{Event, LocalFault, Tampering, Why};
use crate::vocabulary::{NodeId, ServiceId};
use crate::wire::{Cause, MoveStep, Moved};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// One line: what happened, from what to what, and why.
pub fn event_text(event: &Event, config: &Config) -> String {
    let node = |id: &NodeId| node_name(config, *id);
    let service = |id: &ServiceId| service_name(config, *id);
    match event {
        Event::Booted { incarnation } => format!("started as incarnation {incarnation}"),
        Event::Suspected { node: it, why } => format!("{} is suspect: {}", node(it), because(*why)),
        Event::Cleared { node: it, why } => {
            format!("{} is cleared of suspicion: {}", node(it), because(*why))
        }
        Event::Down { node: it, incarnation, after } => {
            let after = millis_text(*after);
            format!("{} is down (incarnation {incarnation}), {after} after the suspicion", node(it))
        }
        Event::Elected { epoch } => format!("this node is the controller now, epoch {epoch}"),
        Event::Following { controller, epoch } => {
            format!("following {} as the controller, epoch {epoch}", node(controller))
        }
        Event::Joined { node: it, incarnation } => {
            format!("{} joined the cluster (incarnation {incarnation})", node(it))
        }
        Event::Left { node: it } => format!("{} is no member of the cluster any more", node(it)),
        Event::Committed { epoch } => format!("a majority stored the state {epoch}"),
        Event::Taken { service: it, from: Some(from) } => {
            format!("{} is served here now, taken over from {}", service(it), node(from))
        }
        Event::Taken { service: it, from: None } => format!("{} is served here now", service(it)),
        Event::Released { service: it, why } => {
            format!("{} is no longer served here: {}", service(it), because(*why))
        }
        Event::MoveBegan { service: it, from, to, why } => {
            format!("{} begins to move from {} to {}: {}", service(it), node(from), node(to), because(*why))
        }
        Event::MoveDone { service: it, to } => format!("{} has moved to {}", service(it), node(to)),
        Event::MoveAborted { service: it, to, why } => {
            format!("the move of {} to {} was given up: {}", service(it), node(to), because(*why))
        }
        Event::Assigned { service: it, from, to, why } => {
            let from = from.as_ref().map_or_else(|| "nobody".into(), node);
            let to = to.as_ref().map_or_else(|| "nobody".into(), node);
            format!("{} is assigned to {to} instead of {from}: {}", service(it), because(*why))
        }
        Event::StoreFailed => "the state could not be written to disk: this node promises nothing".into(),
        Event::Reloaded => "the configuration was reloaded".into(),
        Event::Leaving => "leaving in order: services are handed over first".into(),
        Event::Blocked { .. }
        | Event::Forced { .. }
        | Event::Rival { .. }
        | Event::RivalGone { .. }
        | Event::Tampered { .. }
        | Event::GaveUp { .. }
        | Event::CheckSuspected { .. }
        | Event::StartFailed { .. } => service_trouble(event, config),
        Event::LeaseLost
        | Event::LeaseGained { .. }
        | Event::QuorumLost
        | Event::WentAlone { .. }
        | Event::Merged { .. }
        | Event::Late { .. }
        | Event::Link { .. }
        | Event::SendsFail { .. }
        | Event::SendsWork { .. }
        | Event::PathFault { .. }
        | Event::GatewaySuspected { .. }
        | Event::HearsNobody
        | Event::Reborn { .. } => own_trouble(event, config),
    }
}

fn service_trouble(event: &Event, config: &Config) -> String {
    match event {
        Event::Blocked { service, mac } => format!(
            "{} is not taken: {} still answers for its address",
            service_name(config, *service),
            hardware_address(*mac)
        ),
        Event::Rival { service, mac } => format!(
            "{} is claimed by {} too, while it is served here",
            service_name(config, *service),
            hardware_address(*mac)
        ),
        Event::Forced { service, mac } => format!(
            "{} is TAKEN BY FORCE (on_conflict = force) although {} still answers for its address: \
             two machines may have it now",
            service_name(config, *service),
            mac.map_or_else(|| "somebody".to_owned(), hardware_address)
        ),
        Event::RivalGone { service } => {
            format!("{} is claimed by nobody else any more", service_name(config, *service))
        }
        Event::Tampered { service, how } => {
            let name = service_name(config, *service);
            match how {
                Tampering::Removed => {
                    format!("somebody removed an address of {name} from this node: put back")
                }
                Tampering::Changed => format!("somebody changed an address of {name} on this node: put back"),
                Tampering::Refused => {
                    format!("an address of {name} cannot be set on this node: trying again")
                }
            }
        }
        Event::GaveUp { service, how, times } => {
            let what = match how {
                Tampering::Removed => "somebody goes on removing its addresses from this node",
                Tampering::Changed => "somebody goes on changing its addresses on this node",
                Tampering::Refused => "its addresses cannot be set on this node",
            };
            let name = service_name(config, *service);
            format!("{name} is given up, another node shall have it: {what} ({times} times within a minute)")
        }
        Event::CheckSuspected { service, nodes } => format!(
            "ALERT: checks of {} fail on {nodes} nodes at once: they are suspected, or what stands behind them; \
             nothing is moved",
            service_name(config, *service)
        ),
        Event::StartFailed { service } => {
            format!(
                "{} could not be started here: another node shall have it",
                service_name(config, *service)
            )
        }
        other => unreachable!("{other:?} is no trouble of a service"),
    }
}

fn own_trouble(event: &Event, config: &Config) -> String {
    match event {
        Event::LeaseLost => "the lease ran out: nothing is served here".into(),
        Event::LeaseGained { epoch } => format!("a lease was granted at epoch {epoch}: this node may serve"),
        Event::QuorumLost => "quorum is lost: nothing is served here".into(),
        Event::WentAlone { lineage } => {
            format!("going on without a majority, as the quorum rule allows (lineage {lineage:016x})")
        }
        Event::Merged { winner } => {
            format!("two parts of the cluster met again, {} leads", node_name(config, *winner))
        }
        Event::Late { by } => {
            format!("this machine woke {} late: silence in that time counts for nothing", millis_text(*by))
        }
        Event::Link { role, up: true } => format!("the {role} link is up"),
        Event::Link { role, up: false } => format!("the {role} link is down"),
        Event::SendsFail { role, fault } => {
            let why = match fault {
                LocalFault::Refused => "a packet filter refuses it",
                LocalFault::Down => "its card is off or gone",
                LocalFault::Full => "its queue is full",
                LocalFault::Other => "the kernel refuses it",
            };
            format!(
                "this machine cannot send on the {role} link: {why}; a fault of its own, no silence of the others"
            )
        }
        Event::SendsWork { role } => format!("sending on the {role} link works again"),
        Event::PathFault { node } => {
            let name = node_name(config, *node);
            format!("the path to {name} is cut, but others hear it: no takeover")
        }
        Event::GatewaySuspected { nodes } => format!(
            "ALERT: the gateway does not answer {nodes} nodes at once: it is suspected itself; nothing is moved"
        ),
        Event::HearsNobody => {
            "this node hears nobody: it takes itself for cut off, and nobody for dead".into()
        }
        Event::Reborn { incarnation } => {
            format!("the others took this node for dead: it released everything and rejoins as {incarnation}")
        }
        other => unreachable!("{other:?} is no trouble of this node"),
    }
}

/// `event` (its name) and everything that belongs to it: names as in `status --json`, durations in
/// milliseconds.
pub fn event_fields(event: &Event, config: &Config) -> Map<String, Value> {
    let node = |id: NodeId| json!(node_name(config, id));
    let service = |id: ServiceId| json!(service_name(config, id));
    let maybe = |id: &Option<NodeId>| id.map_or(Value::Null, node);
    let millis = |duration: Duration| json!(duration.as_micros() as f64 / 1000.0);
    let fields = match event {
        Event::Booted { incarnation } => json!({"event": "booted", "incarnation": incarnation.0}),
        Event::Suspected { node: it, why } => {
            json!({"event": "suspected", "node": node(*it), "why": word(*why)})
        }
        Event::Cleared { node: it, why } => json!({"event": "cleared", "node": node(*it), "why": word(*why)}),
        Event::Down { node: it, incarnation, after } => json!({
            "event": "down", "node": node(*it), "incarnation": incarnation.0, "after_ms": millis(*after)
        }),
        Event::Elected { epoch } => json!({"event": "elected", "epoch": epoch.to_string()}),
        Event::Following { controller, epoch } => json!({
            "event": "following", "controller": node(*controller), "epoch": epoch.to_string()
        }),
        Event::Joined { node: it, incarnation } => json!({
            "event": "joined", "node": node(*it), "incarnation": incarnation.0
        }),
        Event::Left { node: it } => json!({"event": "left", "node": node(*it)}),
        Event::Committed { epoch } => json!({"event": "committed", "epoch": epoch.to_string()}),
        Event::Taken { service: it, from } => {
            json!({"event": "taken", "service": service(*it), "from": maybe(from)})
        }
        Event::Released { service: it, why } => {
            json!({"event": "released", "service": service(*it), "why": word(*why)})
        }
        Event::MoveBegan { service: it, from, to, why } => json!({
            "event": "move-began", "service": service(*it), "from": node(*from), "to": node(*to), "why": word(*why)
        }),
        Event::MoveDone { service: it, to } => {
            json!({"event": "move-done", "service": service(*it), "to": node(*to)})
        }
        Event::MoveAborted { service: it, to, why } => json!({
            "event": "move-aborted", "service": service(*it), "to": node(*to), "why": word(*why)
        }),
        Event::Assigned { service: it, from, to, why } => json!({
            "event": "assigned", "service": service(*it), "from": maybe(from), "to": maybe(to), "why": word(*why)
        }),
        Event::Blocked { .. }
        | Event::Forced { .. }
        | Event::Rival { .. }
        | Event::RivalGone { .. }
        | Event::Tampered { .. }
        | Event::GaveUp { .. }
        | Event::CheckSuspected { .. }
        | Event::StartFailed { .. } => service_trouble_fields(event, config),
        Event::LeaseLost => json!({"event": "lease-lost"}),
        Event::LeaseGained { epoch } => json!({"event": "lease-gained", "epoch": epoch.to_string()}),
        Event::QuorumLost => json!({"event": "quorum-lost"}),
        Event::WentAlone { lineage } => json!({"event": "went-alone", "lineage": format!("{lineage:016x}")}),
        Event::Merged { winner } => json!({"event": "merged", "winner": node(*winner)}),
        Event::Late { by } => json!({"event": "late", "by_ms": millis(*by)}),
        Event::Link { role, up } => json!({"event": "link", "role": role.to_string(), "up": up}),
        Event::SendsFail { .. } | Event::SendsWork { .. } | Event::HearsNobody => sending_fields(event),
        Event::GatewaySuspected { nodes } => json!({"event": "gateway-suspected", "nodes": nodes}),
        Event::PathFault { node: it } => json!({"event": "path-fault", "node": node(*it)}),
        Event::Reborn { incarnation } => json!({"event": "reborn", "incarnation": incarnation.0}),
        Event::StoreFailed => json!({"event": "store-failed"}),
        Event::Reloaded => json!({"event": "reloaded"}),
        Event::Leaving => json!({"event": "leaving"}),
    };
    object(fields)
}

pub(super) fn object(fields: Value) -> Map<String, Value> {
    match fields {
        Value::Object(fields) => fields,
        other => unreachable!("{other} is no object"),
    }
}

fn sending_fields(event: &Event) -> Value {
    match event {
        Event::HearsNobody => json!({"event": "hears-nobody"}),
        Event::SendsFail { role, fault } => {
            json!({"event": "sends-fail", "link": role.to_string(), "fault": fault_word(*fault)})
        }
        Event::SendsWork { role } => json!({"event": "sends-work", "link": role.to_string()}),
        other => unreachable!("{other:?} is not about sending"),
    }
}

fn service_trouble_fields(event: &Event, config: &Config) -> Value {
    let service = |id: ServiceId| json!(service_name(config, id));
    match event {
        Event::Blocked { service: it, mac } => {
            json!({"event": "blocked", "service": service(*it), "mac": hardware_address(*mac)})
        }
        Event::Rival { service: it, mac } => {
            json!({"event": "rival", "service": service(*it), "mac": hardware_address(*mac)})
        }
        Event::Forced { service: it, mac } => {
            json!({"event": "forced", "service": service(*it), "mac": mac.map(hardware_address)})
        }
        Event::RivalGone { service: it } => json!({"event": "rival-gone", "service": service(*it)}),
        Event::Tampered { service: it, how } => {
            json!({"event": "tampered", "service": service(*it), "how": tampering_word(*how)})
        }
        Event::GaveUp { service: it, how, times } => json!({
            "event": "gave-up", "service": service(*it), "how": tampering_word(*how), "times": times
        }),
        Event::CheckSuspected { service: it, nodes } => {
            json!({"event": "check-suspected", "service": service(*it), "nodes": nodes})
        }
        Event::StartFailed { service: it } => json!({"event": "start-failed", "service": service(*it)}),
        other => unreachable!("{other:?} is no trouble of a service"),
    }
}

fn tampering_word(how: Tampering) -> &'static str {
    match how {
        Tampering::Removed => "removed",
        Tampering::Changed => "changed",
        Tampering::Refused => "refused",
    }
}

fn fault_word(fault: LocalFault) -> &'static str {
    match fault {
        LocalFault::Refused => "refused",
        LocalFault::Down => "down",
        LocalFault::Full => "full",
        LocalFault::Other => "other",
    }
}

fn node_name(config: &Config, id: NodeId) -> String {
    config.node(id).map_or_else(|| id.to_string(), |node| node.name.clone())
}

pub(super) fn service_name(config: &Config, id: ServiceId) -> String {
    config.service(id).map_or_else(|| format!("service {id}"), |service| service.name.clone())
}

/// Whole milliseconds from ten on, tenths below.
fn millis_text(duration: Duration) -> String {
    let millis = duration.as_micros() as f64 / 1000.0;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

/// A step of a service's way in words.
pub fn cause_text(moved: &Moved, node: impl Fn(NodeId) -> String) -> String {
    let name = |id: Option<NodeId>| id.map_or_else(|| "nobody".to_owned(), &node);
    let (from, to) = (name(moved.from), name(moved.to));
    let why = because(why_of(moved.cause));
    match moved.step {
        MoveStep::Assigned => format!("assigned to {to} instead of {from}: {why}"),
        MoveStep::Began => format!("began to move from {from} to {to}: {why}"),
        MoveStep::Done => format!("moved to {to}"),
        MoveStep::Aborted => format!("the move to {to} was given up: {why}"),
    }
}

/// The cause of a move in one word, as in events.
pub fn cause_word(cause: Cause) -> &'static str {
    word(why_of(cause))
}

/// The step of a move in one word.
pub fn move_step_word(step: MoveStep) -> &'static str {
    match step {
        MoveStep::Assigned => "assigned",
        MoveStep::Began => "began",
        MoveStep::Done => "done",
        MoveStep::Aborted => "aborted",
    }
}

fn why_of(cause: Cause) -> Why {
    match cause {
        Cause::HolderDown => Why::HolderDown,
        Cause::ColdStart => Why::ColdStart,
        Cause::StartFailed => Why::StartFailed,
        Cause::Tampered => Why::Tampered,
        Cause::ExternalLink => Why::ExternalLink,
        Cause::CheckFailed => Why::CheckFailed,
        Cause::Operator => Why::Operator,
        Cause::Standby => Why::Standby,
        Cause::Leaving => Why::Leaving,
        Cause::Failback => Why::Failback,
        Cause::Balance => Why::Balance,
        Cause::TimedOut => Why::TimedOut,
        Cause::HandedOver => Why::HandedOver,
    }
}

/// A reason as a phrase.
pub fn because(why: Why) -> &'static str {
    match why {
        Why::HelloOverdue => "its HELLO is overdue on all links",
        Why::HelloUnanswered => "it does not acknowledge HELLO on any link",
        Why::RollCallAbsent => "it did not answer the roll call",
        Why::FailDown => "another node declared it down",
        Why::Heard => "it was heard",
        Why::Witness => "another node heard it",
        Why::HolderDown => "its holder is down",
        Why::HolderReleased => "its holder released it",
        Why::LeaseEnded => "the lease ended",
        Why::Reloaded => "a reload gave it other addresses",
        Why::StateChanged => "the agreed state gives it to another node",
        Why::HandedOver => "it was handed over",
        Why::Failback => "it goes back home",
        Why::Balance => "to balance the load",
        Why::Operator => "the operator asked for it",
        Why::Standby => "the node is on standby",
        Why::Leaving => "the node is leaving",
        Why::StartFailed => "it could not be started",
        Why::Tampered => "its holder cannot keep its addresses: others take them away there",
        Why::CheckFailed => "its check fails there",
        Why::TimedOut => "it took too long",
        Why::ExternalLink => "the external link does not work",
        Why::ColdStart => "the cluster starts",
        Why::Resigned => "the controller resigned",
    }
}

fn word(why: Why) -> &'static str {
    match why {
        Why::HelloOverdue => "hello-overdue",
        Why::HelloUnanswered => "hello-unanswered",
        Why::RollCallAbsent => "roll-call-absent",
        Why::FailDown => "fail-down",
        Why::Heard => "heard",
        Why::Witness => "witness",
        Why::HolderDown => "holder-down",
        Why::HolderReleased => "holder-released",
        Why::LeaseEnded => "lease-ended",
        Why::Reloaded => "reloaded",
        Why::StateChanged => "state-changed",
        Why::HandedOver => "handed-over",
        Why::Failback => "failback",
        Why::Balance => "balance",
        Why::Operator => "operator",
        Why::Standby => "standby",
        Why::Leaving => "leaving",
        Why::StartFailed => "start-failed",
        Why::Tampered => "tampered",
        Why::CheckFailed => "check-failed",
        Why::TimedOut => "timed-out",
        Why::ExternalLink => "external-link",
        Why::ColdStart => "cold-start",
        Why::Resigned => "resigned",
    }
}

#[cfg(test)]
mod tests;
