//! Operators get an answer: begun, or why not.

use super::bench::{Bench, serves};
use super::settings::{node, service, settings};
use crate::controller::Input;
use crate::vocabulary::{NodeId, ServiceId};
use crate::wire::{Command, Packet};
use std::time::Duration;

/// Four nodes: 1 on standby, 3 without capacity, and another address that is none of them.
fn bench() -> Bench {
    let mut config = settings(4);
    config.nodes[3].capacity = 0.0;
    config.services.pop();
    config.services[1].home = None;
    let mut bench = Bench::formed_of(config);
    assert_eq!(bench.command(0, Command::Standby { node: node(1) }), Ok(()));
    bench.wait("standby", 3000, |bench| bench.machines[1].aliases.is_empty());
    bench.run(500);
    bench
}

#[test]
fn commands_are_answered_with_reasons() {
    let stranger = NodeId(4711);
    let unknown = ServiceId(4711);
    // (command, part of the reason, or none where it is accepted)
    let table = [
        (Command::Move { service: service(2), to: stranger }, Some("not in the cluster")),
        (Command::Move { service: unknown, to: node(0) }, Some("no service")),
        (Command::Move { service: service(2), to: node(1) }, Some("standby")),
        (Command::Move { service: service(2), to: node(3) }, Some("capacity 0")),
        (Command::Move { service: service(2), to: node(2) }, None),
        (Command::Failback { service: Some(service(1)) }, Some("no home")),
        (Command::Failback { service: Some(unknown) }, Some("no home")),
        (Command::Failback { service: None }, None),
        (Command::Standby { node: stranger }, Some("not in the cluster")),
        (Command::Online { node: stranger }, Some("not in the cluster")),
        (Command::Online { node: node(1) }, None),
        (Command::Freeze, None),
        (Command::Thaw, None),
    ];
    // Typed on the controller and on a member alike.
    for at in [0, 2] {
        let mut bench = bench();
        for (command, reason) in &table {
            let answer = bench.command(at, *command);
            match reason {
                None => assert_eq!(answer, Ok(()), "{command:?} on node {at}"),
                Some(reason) => {
                    let why = answer.expect_err("a refusal");
                    assert!(why.contains(reason), "{command:?} on node {at}: {why}");
                }
            }
        }
    }
}

#[test]
fn a_silent_node_gets_nothing() {
    let mut bench = Bench::formed(3);
    bench.kill(2);
    bench.wait("a suspicion", 400, |bench| !bench.controller(0).is_calm(node(2)));
    let answer = bench.command(0, Command::Move { service: service(1), to: node(2) });
    assert!(answer.expect_err("a refusal").contains("silent"));
}

#[test]
fn a_service_that_moves_is_left_alone() {
    let mut bench = Bench::formed(3);
    bench.lose(|sent, _| matches!(sent.packet, Packet::FailBack { .. }));
    assert_eq!(bench.command(0, Command::Move { service: service(1), to: node(2) }), Ok(()));
    bench.wait("the move", 300, |bench| !matches!(bench.phase(0, service(1)), crate::wire::Phase::Held));
    let answer = bench.command(0, Command::Move { service: service(1), to: node(0) });
    assert!(answer.expect_err("a refusal").contains("being moved"));
}

#[test]
fn without_a_controller_the_answer_says_so() {
    let mut bench = Bench::formed(3);
    bench.kill(0);
    bench.kill(1);
    bench.run(3000);
    let began = bench.now;
    let answer = bench.command(2, Command::Freeze).expect_err("a refusal");
    assert!(answer.contains("controller"), "{answer}");
    assert!(bench.now.since(began) <= Duration::from_secs(2));
}

#[test]
fn a_lost_request_is_repeated_and_asking_twice_is_asking_once() {
    let mut bench = Bench::formed(3);
    bench.lose(|sent, to| to == 0 && matches!(sent.packet, Packet::Command { .. }));
    bench.input(2, Input::Command { id: 700, command: Command::Move { service: service(1), to: node(2) } });
    bench.run(300);
    assert!(bench.count(2, |packet| matches!(packet, Packet::Command { .. })) > 3);
    bench.heal();
    // Now the answers are lost for a while.
    bench.lose(|sent, to| to == 2 && matches!(sent.packet, Packet::CommandAck { .. }));
    bench.run(300);
    bench.heal();
    bench.wait("the answer", 300, |bench| !bench.machines[2].answers.is_empty());
    assert_eq!(bench.machines[2].answers, [(700, Ok(()))]);
    bench.run(500);
    assert!(serves(&bench, 2, &[1]));
    assert_eq!(bench.phases(0, service(1)).len(), 3, "one move");
}

#[test]
fn a_controller_that_does_not_answer_is_waited_for_two_seconds() {
    let mut bench = Bench::formed(3);
    bench.lose(|sent, _| matches!(sent.packet, Packet::Command { .. }));
    let began = bench.now;
    let answer = bench.command(2, Command::Freeze).expect_err("a refusal");
    assert!(answer.contains("does not answer"), "{answer}");
    assert_eq!(bench.now.since(began), Duration::from_secs(2));
}
