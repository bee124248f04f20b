//! The standing forecast: for each node, where its services would go if it died now. PURE; the core's own placement
//! decides it (`controller::Ground`).

use super::Names;
use crate::controller::Ground;
use serde::{Deserialize, Serialize};

/// What happens when a node dies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// That node; only nodes that hold something are told.
    pub node: String,
    /// Enough nodes are left to go on.
    pub quorum: bool,
    /// What becomes of its services.
    pub services: Vec<Fate>,
}

/// What becomes of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fate {
    /// Its name.
    pub service: String,
    /// Who gets it; null: nobody can.
    pub to: Option<String>,
    /// That node's load when everything has been placed; null: nobody can.
    pub load: Option<f64>,
    /// That is more than it can carry, as far as capacities say.
    pub overloaded: bool,
}

/// Rounding is no overload.
const FULL: f64 = 1.0 + 1e-9;

pub(super) fn forecast(ground: &Ground, names: &Names) -> Vec<Forecast> {
    let limited = ground.knows_limits();
    let of_node = |&node: &_| {
        let fates = ground.if_dies(node).into_iter().map(|fate| Fate {
            service: names.service(fate.service),
            to: fate.to.map(|to| names.node(to)),
            load: fate.to.map(|_| (fate.load * 1000.0).round() / 1000.0),
            overloaded: limited && fate.to.is_some() && fate.load > FULL,
        });
        let mut services: Vec<Fate> = fates.collect();
        services.sort_by(|a, b| a.service.cmp(&b.service));
        Forecast { node: names.node(node), quorum: ground.goes_on_without(node), services }
    };
    ground.nodes.keys().map(of_node).filter(|forecast| !forecast.services.is_empty()).collect()
}
