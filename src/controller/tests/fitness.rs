//! What the nodes' checks say, and what is done about it: moves away from a failing server, never to nowhere.

use super::bench::{Bench, serves};
use super::settings::{node, service, settings};
use crate::config::{Check, CheckKind, CheckScope, Config, PolicyStep};
use crate::controller::{Event, Input, Why};
use crate::wire::Command;
use std::time::Duration;

fn unfit(at: usize) -> Input {
    Input::Unfit { services: vec![service(at)], given_up: vec![] }
}

fn given_up(at: usize) -> Input {
    Input::Unfit { services: vec![service(at)], given_up: vec![service(at)] }
}

fn fit() -> Input {
    Input::Unfit { services: vec![], given_up: vec![] }
}

/// With a check of service 1 that runs on every node.
fn looked_at_everywhere(nodes: usize) -> Config {
    let mut config = settings(nodes);
    config.checks.push(Check {
        name: "c".to_owned(),
        scope: CheckScope::Service(service(1)),
        kind: CheckKind::Script,
        target: "true".to_owned(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        fail: 3,
        rise: 2,
        policy: vec![PolicyStep::Move],
        options: crate::config::CheckOptions::default(),
    });
    config
}

#[test]
fn what_its_holder_gives_up_moves_without_a_gap_and_comes_home_when_it_is_well() {
    for at in [0, 1] {
        let mut bench = Bench::formed(3);
        bench.input(at, given_up(at));
        bench.wait("another holder", 1000, |bench| {
            assert!(!bench.holders(service(at)).is_empty(), "a gap");
            bench.holder(2, service(at)).is_some_and(|holder| holder != node(at))
        });
        let began = |event: &Event| matches!(event, Event::MoveBegan { why: Why::CheckFailed, .. });
        assert!(bench.event(0, began).is_some());
        // It does not hold it any more, and is a bad place for it still.
        bench.input(at, unfit(at));
        bench.always("it stays away", 8000, |bench| bench.holder(2, service(at)) != Some(node(at)));
        bench.input(at, fit());
        bench.wait("it is at home", 8000, |bench| serves(bench, at, &[at]));
    }
}

#[test]
fn a_holder_that_is_unfit_keeps_what_its_policy_did_not_give_up() {
    let mut bench = Bench::formed(3);
    bench.input(1, unfit(1));
    bench.always("nothing moves", 5000, |bench| serves(bench, 1, &[1]));
}

#[test]
fn an_unfit_node_is_not_chosen_while_another_is_there() {
    let mut bench = Bench::formed(3);
    // By the paper's rule it would be the controller.
    bench.input(0, unfit(2));
    bench.run(300);
    bench.kill(2);
    bench.wait("service 2 elsewhere", 1000, |bench| !bench.holders(service(2)).is_empty());
    assert_eq!(bench.holders(service(2)), [1]);
}

#[test]
fn the_dead_are_replaced_by_the_unfit_if_nobody_else_is_left() {
    let mut bench = Bench::formed(3);
    bench.input(0, unfit(2));
    bench.input(1, unfit(2));
    bench.run(300);
    bench.kill(2);
    bench.wait("service 2 is served", 1000, |bench| !bench.holders(service(2)).is_empty());
}

#[test]
fn with_no_fit_node_it_stays_where_it_is() {
    let mut bench = Bench::formed(2);
    bench.input(0, unfit(1));
    bench.input(1, given_up(1));
    bench.always("it stays", 5000, |bench| serves(bench, 1, &[1]));
    bench.input(0, fit());
    bench.wait("it moves as soon as somebody is", 1000, |bench| bench.holders(service(1)) == [0]);
}

#[test]
fn what_fails_on_half_of_the_nodes_moves_nowhere_and_is_told_once() {
    let mut bench = Bench::formed_of(looked_at_everywhere(4));
    bench.input(1, given_up(1));
    // The others see it a moment later, at their own times.
    bench.run(900);
    bench.input(3, unfit(1));
    bench.always("nothing moves", 6000, |bench| serves(bench, 1, &[1]));
    bench.input(0, unfit(1));
    bench.input(2, unfit(1));
    bench.always("nothing moves", 6000, |bench| serves(bench, 1, &[1]));
    let suspected = |event: &Event| matches!(event, Event::CheckSuspected { .. });
    let told = |bench: &Bench| bench.machines[0].events.iter().filter(|(_, event)| suspected(event)).count();
    assert_eq!(told(&bench), 1);
    for at in [0, 2, 3] {
        bench.input(at, fit());
    }
    bench.wait("it moves when the others are well", 3000, |bench| {
        bench.holder(0, service(1)) != Some(node(1))
    });
}

#[test]
fn a_frozen_cluster_moves_nothing_for_a_check() {
    let mut bench = Bench::formed(3);
    assert_eq!(bench.command(0, Command::Freeze), Ok(()));
    bench.run(300);
    bench.input(1, given_up(1));
    bench.always("nothing moves", 5000, |bench| serves(bench, 1, &[1]));
    assert_eq!(bench.command(0, Command::Thaw), Ok(()));
    bench.wait("it moves", 2000, |bench| bench.holder(0, service(1)) != Some(node(1)));
}

#[test]
fn an_operator_goes_before_a_check() {
    let mut bench = Bench::formed(3);
    bench.input(2, unfit(1));
    bench.run(300);
    assert_eq!(bench.command(0, Command::Move { service: service(1), to: node(2) }), Ok(()));
    bench.wait("it is there", 2000, |bench| bench.holders(service(1)) == [2]);
    bench.always("it stays there", 5000, |bench| bench.holders(service(1)) == [2]);
}

#[test]
fn the_next_controller_knows_as_well() {
    let mut bench = Bench::formed(3);
    bench.input(2, unfit(1));
    bench.run(300);
    bench.kill(0);
    bench.wait("another controller serves all", 3000, |bench| !bench.holders(service(0)).is_empty());
    bench.run(500);
    bench.input(1, given_up(1));
    bench.always("it stays: the other is unfit", 4000, |bench| bench.holders(service(1)) == [1]);
}

#[test]
fn who_is_given_it_back_keeps_it_whatever_its_checks_said_before() {
    let mut bench = Bench::formed(3);
    bench.input(1, given_up(1));
    bench.wait("another holder", 1000, |bench| bench.holders(service(1)) == [0]);
    // Nobody has told the node's controller yet that its checks look at another stay.
    assert_eq!(bench.command(0, Command::Move { service: service(1), to: node(1) }), Ok(()));
    bench.wait("it is back", 1000, |bench| bench.holders(service(1)) == [1]);
    bench.always("it stays there", 3000, |bench| bench.holders(service(1)) == [1]);
}

fn gateway(silent: bool) -> Input {
    Input::Gateway { silent }
}

/// Every node asks the gateway.
fn with_gateway(nodes: usize) -> Config {
    let mut config = looked_at_everywhere(nodes);
    config.checks[0].scope = CheckScope::Node;
    config.checks[0].kind = CheckKind::Gateway;
    config.checks[0].target = "10.77.1.254".to_owned();
    config
}

#[test]
fn whom_alone_the_gateway_does_not_answer_gives_all_away_without_a_gap_and_gets_it_back() {
    for (nodes, at) in [(2, 1), (3, 0), (4, 2)] {
        let mut bench = Bench::formed_of(with_gateway(nodes));
        bench.input(at, gateway(true));
        let other = usize::from(at == 0);
        bench.wait("its service elsewhere", 3000, |bench| {
            assert!(!bench.holders(service(at)).is_empty(), "a gap");
            bench.holder(other, service(at)) != Some(node(at)) && bench.machines[at].aliases.is_empty()
        });
        let began = |event: &Event| matches!(event, Event::MoveBegan { why: Why::ExternalLink, .. });
        assert!(bench.event(0, began).is_some());
        bench.always("it stays away", 6000, |bench| bench.machines[at].aliases.is_empty());
        bench.input(at, gateway(false));
        bench.wait("it is at home", 8000, |bench| serves(bench, at, &[at]));
    }
}

#[test]
fn a_gateway_that_answers_nobody_moves_nothing_and_is_told_once() {
    let mut bench = Bench::formed_of(with_gateway(4));
    bench.input(1, gateway(true));
    bench.run(900);
    bench.input(3, gateway(true));
    bench.run(100);
    bench.input(0, gateway(true));
    bench.input(2, gateway(true));
    bench.always("nothing moves", 6000, |bench| (0..4).all(|at| serves(bench, at, &[at])));
    // It comes back for one after the other: the last ones are alone then, for a moment.
    for at in 0..4 {
        bench.input(at, gateway(false));
        bench.run(400);
        assert!((0..4).all(|at| serves(&bench, at, &[at])), "nothing moves");
    }
    bench.always("nothing moves", 6000, |bench| (0..4).all(|at| serves(bench, at, &[at])));
    let told = bench.machines[0].events.iter().filter(|(_, event)| match event {
        Event::GatewaySuspected { .. } => true,
        Event::CheckSuspected { .. } => panic!("one word is enough"),
        _ => false,
    });
    assert_eq!(told.count(), 1);
}

#[test]
fn the_dead_are_replaced_by_who_misses_the_gateway_if_nobody_else_is_left() {
    let mut bench = Bench::formed_of(with_gateway(3));
    bench.input(0, gateway(true));
    bench.input(1, gateway(true));
    bench.run(300);
    bench.kill(2);
    bench.wait("service 2 is served", 1000, |bench| !bench.holders(service(2)).is_empty());
}
