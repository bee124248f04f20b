//! Why a service is not at home, or not served: one phrase for people. PURE.

use super::{Names, hardware_address};
use crate::config::Failback;
use crate::control::table::duration_text;
use crate::controller::{NodeState, NodeView, ServiceState, ServiceView};
use crate::vocabulary::{LinkRole, NodeId, ServiceId};
use crate::wire::Phase;
use std::time::Duration;

/// Why a service is not as it should be; `None`: it is at home, or has none.
pub(super) fn note(service: &ServiceView, names: &Names) -> Option<String> {
    match service.state {
        ServiceState::Held => match service.stranger {
            Some(mac) => Some(format!("CONFLICT: {} claims its address too", hardware_address(mac))),
            None => away(service, names),
        },
        ServiceState::Moving => match (service.phase, destination(service)) {
            (Some(Phase::Abort { to }), _) => Some(format!("the move to {} was given up", names.node(to))),
            (_, Some(to)) => Some(format!("on its way to {}", names.node(to))),
            (_, None) => Some(service.holder.map_or_else(
                || "being placed".to_owned(),
                |holder| format!("being taken by {}", names.node(holder)),
            )),
        },
        ServiceState::Stopped if !names.view.quorum => Some("no quorum: nothing is served from here".into()),
        ServiceState::Stopped => Some("no node may serve it".into()),
        ServiceState::Failed => Some("failed on every node that may serve it".into()),
        ServiceState::Orphaned => Some(match service.stranger {
            Some(mac) => format!("a stranger, {}, answers for its address", hardware_address(mac)),
            None => "a stranger answers for its address".into(),
        }),
    }
}

fn away(service: &ServiceView, names: &Names) -> Option<String> {
    let home = names.config.service(service.id)?.home?;
    if service.holder == Some(home) {
        return None;
    }
    let name = names.node(home);
    let node = names.view.nodes.iter().find(|node| node.id == home);
    let reason = match node.map_or(NodeState::Down, |node| node.state) {
        NodeState::Down => format!("{name} is down"),
        NodeState::Suspect => format!("{name} is silent"),
        NodeState::Joining => format!("{name} is joining"),
        NodeState::Standby => format!("{name} is on standby"),
        NodeState::Leaving => format!("{name} is leaving"),
        NodeState::Up if external_down(node) => format!("{name} has no working external link"),
        NodeState::Up if names.view.frozen => "the cluster is frozen".into(),
        NodeState::Up => {
            against(home, service.id, names).unwrap_or_else(|| match names.config.cluster.failback {
                Failback::Manual => "failback is manual".into(),
                Failback::Auto => {
                    format!("{name} is up: it was moved by hand, or waits until {name} is stable and able")
                }
            })
        }
    };
    Some(format!("away from home: {reason}"))
}

/// What the controller holds against its home.
fn against(home: NodeId, service: ServiceId, names: &Names) -> Option<String> {
    let ground = names.view.ground.as_ref()?;
    let node = ground.nodes.get(&home).copied().unwrap_or_default();
    let place = ground.places.get(&(home, service)).copied().unwrap_or_default();
    let name = names.node(home);
    let left = |left: Duration| duration_text(left.as_millis() as f64);
    if let Some(failed) = place.failed {
        return Some(format!("it could not be started on {name}, which is forgotten in {}", left(failed)));
    }
    if node.cut_off {
        return Some(format!("the gateway does not answer {name}"));
    }
    if place.unfit {
        return Some(format!("its check fails on {name}"));
    }
    node.reuse
        .max(place.reuse)
        .map(|reuse| format!("{name} comes and goes, and is used again in {}", left(reuse)))
}

fn external_down(node: Option<&NodeView>) -> bool {
    let links = node.and_then(|node| node.status.as_ref()).map_or(&[][..], |status| &status.links);
    links.iter().any(|link| link.role == LinkRole::External && !link.up)
}

/// Where a service is going, while it moves.
pub(super) fn destination(service: &ServiceView) -> Option<NodeId> {
    match service.phase? {
        Phase::Prepare { to } | Phase::Handover { to } => Some(to),
        Phase::Held | Phase::Abort { .. } | Phase::Failed => None,
    }
}
