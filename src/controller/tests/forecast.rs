//! What is foretold of a death is what happens then; what is told of a move is what happened.

use super::bench::{Bench, Worker};
use super::settings::{configured_service, node, service, settings, with_scripts};
use crate::config::{Config, LoadSource};
use crate::controller::{Fate, Input, Obstacle, Rank};
use crate::vocabulary::{LinkRole, NodeId};
use crate::wire::{Cause, Command, MoveStep, Moved};
use std::time::Duration;

/// What node `at` foretells of the death of `dies`.
fn foretold(bench: &Bench, at: usize, dies: usize) -> Vec<Fate> {
    let view = bench.controller(at).view(bench.now);
    let mut fates = view.ground.expect("a member").if_dies(node(dies));
    fates.sort_by_key(|fate| fate.service);
    fates
}

/// Kills it, and compares; STATUS has told everybody what there is to tell.
fn dies_as_foretold(mut bench: Bench, dies: usize) -> Vec<Fate> {
    bench.run(2500);
    let asked = if dies == 0 { 1 } else { 0 };
    let fates = foretold(&bench, asked, dies);
    for other in (0..bench.machines.len()).filter(|&other| other != dies) {
        assert_eq!(foretold(&bench, other, dies), fates, "node {other} does not foresee the same");
    }
    bench.kill(dies);
    bench.wait("the dead's services elsewhere", 3000, |bench| {
        let table = &bench.state(asked).expect("a member").table;
        table.iter().all(|slot| slot.holder != Some(node(dies)))
    });
    // Whatever balance does later is another decision: the first word counts.
    let first = bench.machines[asked]
        .states
        .iter()
        .map(|(_, state)| state)
        .find(|state| state.table.iter().all(|slot| slot.holder != Some(node(dies))));
    let first = first.expect("adopted since `forget`");
    for fate in &fates {
        let holder = first.slot(fate.service).and_then(|slot| slot.holder);
        assert_eq!(holder, fate.to, "service {}", fate.service);
    }
    fates
}

/// Five nodes of different capacities, several services each, some at home nowhere.
fn crowded() -> Config {
    let mut config = settings(5);
    for (at, capacity) in [1.0, 2.0, 1.0, 4.0, 0.5].into_iter().enumerate() {
        config.nodes[at].capacity = capacity;
    }
    for at in 5..14 {
        let mut more = configured_service(at, (at % 2 == 0).then(|| node(at % 5)));
        more.weight = [1.0, 0.5, 2.0][at % 3];
        config.services.push(more);
    }
    config
}

#[test]
fn whoever_dies_its_services_go_where_every_node_foretold() {
    for dies in 0..5 {
        let mut bench = Bench::formed_of(crowded());
        bench.forget();
        let fates = dies_as_foretold(bench, dies);
        assert!(!fates.is_empty());
        assert!(fates.iter().all(|fate| fate.to.is_some() && fate.load > 0.0), "{fates:?}");
    }
}

#[test]
fn standby_failed_starts_unfit_nodes_and_lost_links_are_foreseen() {
    let mut config = settings(5);
    with_scripts(&mut config, 4);
    let mut bench = Bench::formed_of(config);
    bench.command(1, Command::Standby { node: node(1) }).expect("accepted");
    // Service 4 is no use on node 2, and cannot be started on node 0.
    bench.input(2, Input::Unfit { services: vec![service(4)], given_up: vec![] });
    bench.set_scripts(0, Worker::Fails);
    bench.command(1, Command::Move { service: service(4), to: node(0) }).expect("accepted");
    bench.run(4000);
    bench.set_scripts(0, Worker::Works);
    assert_eq!(bench.holder(3, service(4)), Some(node(4)), "it could not be moved");
    bench.forget();
    let ground = |bench: &Bench, at: usize| bench.controller(at).view(bench.now).ground.expect("a member");
    bench.run(2500);
    for at in 0..5 {
        let ground = ground(&bench, at);
        assert_eq!(ground.nodes[&node(1)].obstacle, Some(Obstacle::Standby));
        assert!(!ground.may_hold(node(0), service(4)) && ground.may_hold(node(2), service(4)));
        assert_eq!(ground.rank(node(2), service(4)), Rank::Unfit);
    }
    let fates = dies_as_foretold(bench, 4);
    assert_eq!(fates.iter().map(|fate| fate.to).collect::<Vec<_>>(), [Some(node(3))]);
}

#[test]
fn a_node_without_its_external_link_gets_nothing_and_nobody_foretells_it() {
    let mut bench = Bench::formed(4);
    bench.input(1, Input::Link { role: LinkRole::External, up: false });
    bench.wait("its service elsewhere", 3000, |bench| bench.holder(0, service(1)) != Some(node(1)));
    bench.run(3000);
    bench.forget();
    let fates = dies_as_foretold(bench, 3);
    assert!(fates.iter().all(|fate| fate.to.is_some_and(|to| to != node(1))), "{fates:?}");
}

#[test]
fn with_nobody_left_that_is_foretold_too() {
    let mut bench = Bench::formed(3);
    for at in [0, 1] {
        bench.command(2, Command::Standby { node: node(at) }).expect("accepted");
    }
    bench.wait("all on one", 8000, |bench| bench.machines[2].aliases.len() == 3);
    bench.run(2500);
    let fates = foretold(&bench, 0, 2);
    assert_eq!(fates.len(), 3);
    assert!(fates.iter().all(|fate| fate.to.is_none()));
}

fn load(permille: u32) -> Input {
    Input::Load(Some(permille))
}

fn measured(nodes: usize) -> Config {
    let mut config = settings(nodes);
    config.cluster.load = LoadSource::Cpu;
    config
}

#[test]
fn a_measured_load_decides_where_it_goes_and_moves_nothing_by_itself() {
    let mut bench = Bench::formed_of(measured(4));
    for (at, permille) in [700, 650, 100, 300].into_iter().enumerate() {
        bench.input(at, load(permille));
    }
    bench.forget();
    // Whatever the loads do, everything stays where it is.
    for round in 0..12_u32 {
        for at in 0..4_u32 {
            bench.input(at as usize, load((round * 350 + at * 210) % 1000));
        }
        bench.run(700);
    }
    assert_eq!(bench.machines[0].states.len(), 0, "nothing was decided");
    for (at, permille) in [700, 650, 100, 300].into_iter().enumerate() {
        bench.input(at, load(permille));
    }
    let fates = dies_as_foretold(bench, 3);
    assert_eq!(fates[0].to, Some(node(2)), "the idlest, not the controller");
    assert!(fates[0].load > 0.1 && fates[0].load < 1.0, "{fates:?}");
}

#[test]
fn services_of_one_dead_node_are_spread_by_measured_loads_too() {
    let mut config = measured(4);
    config.services.extend((4..7).map(|at| configured_service(at, Some(node(3)))));
    let mut bench = Bench::formed_of(config);
    for at in 0..4 {
        bench.input(at, load(400));
    }
    bench.forget();
    let fates = dies_as_foretold(bench, 3);
    for at in 0..3 {
        let gets = fates.iter().filter(|fate| fate.to == Some(node(at))).count();
        assert!((1..=2).contains(&gets), "node {at} gets {gets} of four");
    }
}

/// What `at` knows of the way of a service, without its age.
fn way(bench: &Bench, at: usize, of: usize) -> Vec<(Option<NodeId>, MoveStep, Cause)> {
    let moves = bench.controller(at).view(bench.now).moves;
    let of_it = moves.iter().filter(|moved: &&Moved| moved.service == service(of));
    of_it.map(|moved| (moved.to, moved.step, moved.cause)).collect()
}

#[test]
fn every_node_knows_what_moved_and_why_also_under_the_next_controller() {
    let mut bench = Bench::formed(4);
    bench.command(2, Command::Move { service: service(3), to: node(1) }).expect("accepted");
    bench.wait("moved", 3000, |bench| bench.holder(2, service(3)) == Some(node(1)));
    bench.run(3000);
    let before = way(&bench, 0, 3);
    let expected = [
        (Some(node(1)), MoveStep::Began, Cause::Operator),
        (Some(node(1)), MoveStep::Done, Cause::HandedOver),
    ];
    assert_eq!(before[before.len() - 2..], expected);
    for at in 1..4 {
        assert_eq!(way(&bench, at, 3), before, "node {at}");
    }
    // The controller dies; another one goes on with what it knew, and a node that comes back hears it.
    bench.kill(0);
    bench.wait("its service elsewhere", 3000, |bench| {
        bench.holder(2, service(0)).is_some_and(|it| it != node(0))
    });
    let last = (bench.holder(2, service(0)), MoveStep::Assigned, Cause::HolderDown);
    bench.run(3000);
    for at in 1..4 {
        assert_eq!(way(&bench, at, 3), before, "node {at}");
        assert_eq!(way(&bench, at, 0).last(), Some(&last), "node {at}");
    }
    bench.start(0);
    bench.wait("it is back", 12_000, Bench::is_settled);
    bench.run(3000);
    assert_eq!(way(&bench, 0, 3), before);
    let age = bench.controller(0).view(bench.now).moves.iter().map(|moved| moved.ago_ms).max();
    assert!(age.is_some_and(|age| age >= 6000), "told as old as it is: {age:?}");
}

/// Dies and comes back so many times, quickly.
fn flap(bench: &mut Bench, at: usize, times: u32) {
    for _ in 0..times {
        bench.kill(at);
        bench.wait("it is taken for dead", 3000, |bench| {
            let other = usize::from(at == 0);
            bench.members(other).iter().all(|&member| member != node(at))
        });
        bench.start(at);
        bench.wait("it is a member again", 5000, |bench| bench.members(at).contains(&node(at)));
    }
}

#[test]
fn who_comes_and_goes_gets_nothing_back_until_it_has_been_calm_and_the_next_controller_knows_it() {
    let mut config = settings(4);
    config.cluster.damping = Duration::from_secs(60);
    let mut bench = Bench::formed_of(config);
    flap(&mut bench, 2, 2);
    bench.wait("two deaths are no habit", 12_000, |bench| bench.holders(service(2)) == [2]);
    flap(&mut bench, 2, 1);
    bench.always("it stays away", 10_000, |bench| bench.holder(1, service(2)) != Some(node(2)));
    let reuse = |bench: &Bench, at: usize| {
        bench.controller(at).view(bench.now).ground.expect("a member").nodes[&node(2)].reuse
    };
    let known = reuse(&bench, 0).expect("damped");
    assert!(reuse(&bench, 3).is_some_and(|told| told.abs_diff(known) < Duration::from_millis(500)));
    // The controller dies. Its successor gives nothing to who comes and goes, and takes over without delay.
    bench.kill(0);
    bench.wait("taken over", 1000, |bench| !bench.holders(service(0)).is_empty());
    assert_ne!(bench.holders(service(0)), [2]);
    bench.always("it stays away", 10_000, |bench| bench.holder(1, service(2)) != Some(node(2)));
    let left = reuse(&bench, 1).expect("still damped").as_millis();
    let enough = u64::try_from(left).expect("not so long") + 5000;
    bench.wait("at home again", enough, |bench| bench.holders(service(2)) == [2]);
}

#[test]
fn the_damped_take_over_from_the_dead_at_once_where_nobody_else_is_left_and_an_operator_forgives() {
    let mut bench = Bench::formed(3);
    flap(&mut bench, 2, 3);
    bench.run(3000);
    assert_ne!(bench.holder(0, service(2)), Some(node(2)));
    bench.command(1, Command::Standby { node: node(1) }).expect("accepted");
    bench.wait("nothing on node 1", 5000, |bench| bench.machines[1].aliases.is_empty());
    assert_eq!(bench.machines[2].aliases.len(), 0, "as long as another is there");
    bench.kill(0);
    bench.wait("the damped node serves", 1000, |bench| bench.machines[2].aliases.len() == 3);
    bench.start(0);
    bench.wait("home again", 12_000, |bench| bench.holders(service(0)) == [0]);
    bench.command(0, Command::Move { service: service(2), to: node(0) }).expect("accepted");
    bench.wait("moved", 5000, |bench| bench.holders(service(2)) == [0]);
    bench.command(0, Command::Failback { service: Some(service(2)) }).expect("accepted");
    bench.wait("an operator's word is enough", 5000, |bench| bench.holders(service(2)) == [2]);
}

#[test]
fn who_leaves_in_order_is_charged_nothing_however_often() {
    let mut bench = Bench::formed(3);
    for _ in 0..4 {
        bench.input(2, Input::Stop);
        bench.wait("it has left", 10_000, |bench| bench.machines[2].left.is_some());
        bench.kill(2);
        bench.wait("it is no member", 3000, |bench| !bench.members(0).contains(&node(2)));
        bench.start(2);
        bench.wait("it is a member again", 5000, |bench| bench.members(2).contains(&node(2)));
    }
    let ground = bench.controller(0).view(bench.now).ground.expect("a member");
    assert_eq!(ground.nodes[&node(2)].penalty, 0);
    bench.wait("at home", 12_000, |bench| bench.holders(service(2)) == [2]);
}
