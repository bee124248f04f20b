//! Whom a change of keys waits for, as the nodes' STATUS tells. PURE.

use super::Names;
use crate::controller::NodeState;

/// Nodes without the new key, or that do not use it yet; `None`: no keys are being changed.
pub(super) fn change_waits_for(names: &Names) -> Option<Vec<String>> {
    let view = names.view;
    let own = view.nodes.iter().find(|node| node.id == view.me)?.status.as_ref()?;
    let needed = |id| names.config.node(id).is_some();
    let others = view.nodes.iter().filter(|node| node.id != view.me);
    let others = others.filter(|node| needed(node.id) || node.state != NodeState::Down);
    let told = others.map(|node| (node.id, node.status.as_ref().map(|it| (it.key, it.next_key))));
    let told: Vec<_> = told.collect();
    let (key, next) = (own.key, own.next_key);
    let has = |told: Option<(u64, u64)>| match next {
        // This one uses the new key, or knows of none.
        0 => told.is_none_or(|(its, _)| its == key),
        _ => told.is_some_and(|(its, beside)| its == next || (its, beside) == (key, next)),
    };
    let waiting = told.iter().filter(|(_, told)| !has(*told)).map(|(id, _)| names.node(*id));
    let waiting: Vec<String> = waiting.collect();
    let offered = told.iter().any(|(_, told)| told.is_some_and(|(its, beside)| its == key && beside != 0));
    match (next, offered) {
        (0, true) => Some(vec![names.node(view.me)]),
        (0, false) if waiting.is_empty() => None,
        _ => Some(waiting),
    }
}
