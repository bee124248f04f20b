//! The functions of `ownership`: tables of cases, no time.

use super::settings::{configured_service, node, service, settings};
use crate::config::Config;
use crate::controller::ownership::{Loads, imbalance, placement_order};
use crate::vocabulary::{Epoch, NodeId, ServiceId};
use crate::wire::{Phase, Slot, State};
use std::time::Duration;

/// A state in which service `i` is held by `holders[i]`.
fn state(holders: &[Option<usize>]) -> State {
    State {
        epoch: Epoch::NONE,
        lineage: 1,
        hello_interval: Duration::from_millis(100),
        probe_divisor: 8,
        longest_interval: Duration::from_millis(100),
        coarsest_divisor: 8,
        frozen: false,
        members: Vec::new(),
        base: vec![],
        table: holders
            .iter()
            .enumerate()
            .map(|(at, holder)| Slot {
                service: service(at),
                holder: holder.map(node),
                phase: Phase::Held,
                pinned: false,
            })
            .collect(),
    }
}

/// Four nodes with a service each, and two that are at home nowhere.
fn config() -> Config {
    let mut config = settings(4);
    config.services.push(configured_service(4, None));
    config.services.push(configured_service(5, None));
    config
}

fn best(
    config: &Config,
    state: &State,
    wanted: usize,
    candidates: &[usize],
    controller: usize,
) -> Vec<NodeId> {
    let candidates: Vec<NodeId> = candidates.iter().map(|&at| node(at)).collect();
    Loads::of(state, config).ranking(config, service(wanted), &candidates, node(controller))
}

#[test]
fn the_lowest_load_after_the_move_comes_first() {
    let config = config();
    let state = state(&[Some(0), Some(1), Some(2), None, Some(0), Some(1)]);
    assert_eq!(best(&config, &state, 3, &[0, 1, 2], 0), [node(2), node(1), node(0)]);
}

#[test]
fn ties_go_to_the_controller_if_it_fakes_nothing_then_to_the_lowest_priority() {
    let config = config();
    let even = state(&[Some(0), Some(1), Some(2), None, None, None]);
    // Priorities fall with the number of the node.
    for (controller, expected) in [(0, [0, 2, 1]), (1, [1, 2, 0]), (2, [2, 1, 0])] {
        assert_eq!(best(&config, &even, 3, &[0, 1, 2], controller), expected.map(node), "{controller}");
    }
    // As loaded as the others, but with somebody else's service: the paper's «faking».
    let faking = state(&[None, Some(1), Some(2), None, Some(0), None]);
    assert_eq!(best(&config, &faking, 3, &[0, 1, 2], 0), [2, 1, 0].map(node));
}

#[test]
fn capacity_counts_and_none_means_never() {
    let mut config = config();
    config.nodes[0].capacity = 4.0;
    config.nodes[2].capacity = 0.0;
    let state = state(&[Some(0), Some(1), None, None, Some(0), None]);
    // 3/4 on node 0, 2/1 on node 1.
    assert_eq!(best(&config, &state, 3, &[0, 1, 2], 1), [node(0), node(1)]);
    assert_eq!(best(&config, &state, 3, &[2], 2), []);
}

#[test]
fn heavy_services_are_placed_first() {
    let mut config = config();
    config.services[4].weight = 3.0;
    config.services[1].weight = 2.0;
    let mut order: Vec<ServiceId> = (0..6).map(service).collect();
    placement_order(&config, &mut order);
    assert_eq!(order, [4, 1, 0, 2, 3, 5].map(service));
}

#[test]
fn a_move_under_way_counts_as_done() {
    let config = config();
    let mut state = state(&[Some(0), Some(1), None, None, None, None]);
    let loads = |state: &State| [0, 1].map(|at| Loads::of(state, &config).relative(&config, node(at)));
    // (phase of the service of node 0, loads of nodes 0 and 1)
    for (phase, expected) in [
        (Phase::Held, [1.0, 1.0]),
        (Phase::Prepare { to: node(1) }, [0.0, 2.0]),
        (Phase::Handover { to: node(1) }, [0.0, 2.0]),
        (Phase::Abort { to: node(1) }, [1.0, 1.0]),
        (Phase::Failed, [0.0, 1.0]),
    ] {
        state.table[0].phase = phase;
        assert_eq!(loads(&state), expected, "{phase:?}");
    }
}

#[test]
fn weight_is_divided_by_capacity() {
    let mut config = config();
    config.services[0].weight = 3.0;
    config.nodes[0].capacity = 2.0;
    let state = state(&[Some(0), None, None, None, Some(0), None]);
    assert!((Loads::of(&state, &config).relative(&config, node(0)) - 2.0).abs() < 1e-12);
}

#[test]
fn imbalance_moves_one_service_where_something_is_gained() {
    let config = config();
    let all: Vec<NodeId> = (0..4).map(node).collect();
    let own = [Some(0), Some(1), Some(2), Some(3)];
    let with = |a: Option<usize>, b: Option<usize>| [own[0], own[1], own[2], own[3], a, b];
    // (holders, what moves where)
    let table = [
        (with(None, None), None),
        (with(Some(0), Some(1)), None),
        (with(Some(0), Some(0)), Some((service(4), node(1)))),
        (with(Some(3), Some(3)), Some((service(4), node(0)))),
        // Those at home stay, whatever the loads.
        ([Some(0), Some(1), Some(2), None, Some(3), None], None),
        ([Some(0), Some(1), None, Some(2), None, None], None),
        ([Some(0), Some(1), Some(0), None, None, None], Some((service(2), node(2)))),
    ];
    for (holders, expected) in table {
        let found = imbalance(&state(&holders), &config, &all, |_, _| true);
        assert_eq!(found, expected, "{holders:?}");
    }
}

#[test]
fn imbalance_moves_nothing_that_is_pinned_moving_or_forbidden() {
    let config = config();
    let all: Vec<NodeId> = (0..4).map(node).collect();
    let uneven = state(&[Some(0), Some(1), Some(2), Some(3), Some(0), Some(0)]);
    assert!(imbalance(&uneven, &config, &all, |_, _| true).is_some());
    assert_eq!(imbalance(&uneven, &config, &all, |_, _| false), None);
    let mut pinned = uneven.clone();
    pinned.table[4].pinned = true;
    pinned.table[5].pinned = true;
    assert_eq!(imbalance(&pinned, &config, &all, |_, _| true), None);
    let mut failed = uneven;
    failed.table[4].phase = Phase::Failed;
    failed.table[5].phase = Phase::Failed;
    assert_eq!(imbalance(&failed, &config, &all, |_, _| true), None);
}

#[test]
fn imbalance_ends() {
    // Move after move, from all on one node: it comes to an end, and then loads differ by at most one.
    let mut config = settings(4);
    config.services = (0..11).map(|at| configured_service(at, None)).collect();
    let all: Vec<NodeId> = (0..4).map(node).collect();
    let mut state = state(&[Some(0); 11]);
    let mut moves = 0;
    while let Some((moved, to)) = imbalance(&state, &config, &all, |_, _| true) {
        moves += 1;
        assert!(moves <= 11, "for ever");
        let slot = state.table.iter_mut().find(|slot| slot.service == moved).expect("of the table");
        slot.holder = Some(to);
    }
    let loads = Loads::of(&state, &config);
    let loads: Vec<f64> = all.iter().map(|&node| loads.relative(&config, node)).collect();
    let most = loads.iter().copied().fold(0.0, f64::max);
    let least = loads.iter().copied().fold(f64::MAX, f64::min);
    assert!(most - least <= 1.0, "{loads:?}");
    assert_eq!(moves, 8, "three stay, eight go");
}
