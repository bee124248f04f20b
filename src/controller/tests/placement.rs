//! What the controller decides about services: fail-over, fail-back, standby, pins, freeze, failed starts.

use super::bench::{Bench, Worker, serves};
use super::settings::{T, configured_service, node, service, settings, with_scripts};
use crate::config::Failback;
use crate::controller::{Event, Input, Why};
use crate::vocabulary::LinkRole;
use crate::wire::{Command, Phase};
use std::sync::Arc;
use std::time::Duration;

fn run_to_peace(bench: &mut Bench) {
    bench.wait("peace", 12_000, Bench::is_settled);
}

#[test]
fn the_services_of_the_dead_are_spread() {
    let mut config = settings(4);
    // Three more at home on node 3.
    config.services.extend((4..6).map(|at| configured_service(at, Some(node(3)))));
    let mut bench = Bench::formed_of(config);
    bench.kill(3);
    bench.wait("all three elsewhere", 1000, |bench| {
        [3, 4, 5].iter().all(|&at| !bench.holders(service(at)).is_empty())
    });
    let mut takers: Vec<usize> = [3, 4, 5].iter().map(|&at| bench.holders(service(at))[0]).collect();
    takers.sort_unstable();
    assert_eq!(takers, [0, 1, 2], "one each");
}

#[test]
fn the_paper_s_rule_the_controller_takes_the_first() {
    let mut bench = Bench::formed(3);
    bench.kill(2);
    bench.wait("service 2 elsewhere", 1000, |bench| !bench.holders(service(2)).is_empty());
    assert_eq!(bench.holders(service(2)), [0], "as loaded as the other, and it fakes nothing");
}

#[test]
fn capacity_0_never_serves() {
    let mut config = settings(3);
    config.nodes[0].capacity = 0.0;
    config.services.remove(0);
    let mut bench = Bench::formed_of(config);
    bench.kill(1);
    bench.wait("service 1 elsewhere", 1000, |bench| serves(bench, 2, &[1, 2]));
    bench.kill(2);
    bench.run(2000);
    assert!(bench.machines[0].aliases.is_empty());
}

#[test]
fn failback_waits_until_the_returned_node_has_been_well_for_failback_delay() {
    for seconds in [1, 3] {
        let mut config = settings(3);
        config.cluster.failback_delay = Duration::from_secs(seconds);
        let mut bench = Bench::formed_of(config);
        // The others have been well for long.
        bench.run(5000);
        bench.kill(2);
        bench.wait("the removal", 1000, |bench| bench.members(0).len() == 2);
        bench.start(2);
        let joined = bench.wait("the join", 3000, |bench| bench.members(0).len() == 3);
        bench.wait("service 2 at home", 9000, |bench| serves(bench, 2, &[2]));
        let took = bench.now.since(joined);
        let delay = Duration::from_secs(seconds);
        assert!(took >= delay && took < delay + T * 2, "{took:?} for {delay:?}");
    }
}

#[test]
fn a_node_that_wavers_begins_its_delay_again() {
    let mut config = settings(3);
    config.cluster.failback_delay = Duration::from_secs(3);
    let mut bench = Bench::formed_of(config);
    bench.kill(2);
    bench.wait("the removal", 1000, |bench| bench.members(0).len() == 2);
    bench.start(2);
    bench.wait("the join", 3000, |bench| bench.members(0).len() == 3);
    bench.run(2000);
    bench.input(2, Input::Link { role: LinkRole::External, up: false });
    bench.run(200);
    bench.input(2, Input::Link { role: LinkRole::External, up: true });
    let well = bench.now;
    bench.wait("service 2 at home", 9000, |bench| serves(bench, 2, &[2]));
    assert!(bench.now >= well + Duration::from_secs(3), "after {:?}", bench.now.since(well));
}

#[test]
fn failback_by_hand_only_where_the_file_says_so() {
    let mut config = settings(3);
    config.cluster.failback = Failback::Manual;
    let mut bench = Bench::formed_of(config);
    bench.kill(2);
    bench.wait("service 2 elsewhere", 1000, |bench| !bench.holders(service(2)).is_empty());
    bench.start(2);
    bench.always("service 2 where it is", 6000, |bench| bench.holders(service(2)) == [0]);
    assert_eq!(bench.command(1, Command::Failback { service: Some(service(2)) }), Ok(()));
    bench.wait("service 2 at home", 1000, |bench| serves(bench, 2, &[2]));
}

#[test]
fn what_an_operator_moved_stays_until_failback() {
    let mut bench = Bench::formed(3);
    assert_eq!(bench.command(2, Command::Move { service: service(1), to: node(2) }), Ok(()));
    bench.wait("service 1 on node 2", 1000, |bench| serves(bench, 2, &[1]));
    bench.always("service 1 on node 2", 5000, |bench| serves(bench, 2, &[1]));
    assert!(bench.state(0).expect("formed").slot(service(1)).expect("a service").pinned);
    assert_eq!(bench.command(2, Command::Failback { service: None }), Ok(()));
    bench.wait("service 1 at home", 1000, |bench| serves(bench, 1, &[1]));
    bench.run(300);
    assert!(!bench.state(0).expect("formed").slot(service(1)).expect("a service").pinned);
}

#[test]
fn a_pin_ends_with_its_holder() {
    let mut bench = Bench::formed(3);
    assert_eq!(bench.command(0, Command::Move { service: service(1), to: node(2) }), Ok(()));
    bench.wait("service 1 on node 2", 1000, |bench| serves(bench, 2, &[1]));
    bench.run(500);
    bench.kill(2);
    bench.wait("service 1 at home", 1000, |bench| serves(bench, 1, &[1]));
    assert!(!bench.state(0).expect("formed").slot(service(1)).expect("a service").pinned);
}

#[test]
fn standby_drains_and_online_brings_back() {
    for at in [0, 2] {
        let mut bench = Bench::formed(3);
        assert_eq!(bench.command(1, Command::Standby { node: node(at) }), Ok(()));
        bench.wait("an empty node", 2000, |bench| {
            assert!(!bench.holders(service(at)).is_empty(), "a gap");
            bench.machines[at].aliases.is_empty()
        });
        bench.always("an empty member", 4000, |bench| {
            bench.machines[at].aliases.is_empty() && bench.members(1).len() == 3
        });
        assert_eq!(bench.command(1, Command::Online { node: node(at) }), Ok(()));
        bench.wait("its service", 4000, |bench| serves(bench, at, &[at]));
    }
}

#[test]
fn a_dead_holder_s_services_do_not_go_to_a_node_on_standby() {
    let mut bench = Bench::formed(3);
    assert_eq!(bench.command(0, Command::Standby { node: node(0) }), Ok(()));
    bench.wait("an empty node", 2000, |bench| bench.machines[0].aliases.is_empty());
    bench.run(500);
    bench.kill(2);
    bench.wait("all on node 1", 1000, |bench| serves(bench, 1, &[0, 1, 2]));
}

#[test]
fn freeze_stops_automatic_moves_but_not_those_from_the_dead() {
    let mut bench = Bench::formed(3);
    assert_eq!(bench.command(0, Command::Freeze), Ok(()));
    bench.run(200);
    assert!((0..3).all(|at| bench.controller(at).view(bench.now).frozen));
    bench.kill(2);
    bench.wait("service 2 elsewhere", 1000, |bench| serves(bench, 0, &[2]));
    bench.start(2);
    bench.always("service 2 where it is", 6000, |bench| serves(bench, 0, &[2]));
    assert_eq!(bench.members(0).len(), 3);
    assert_eq!(bench.command(0, Command::Thaw), Ok(()));
    bench.wait("service 2 at home", 1000, |bench| serves(bench, 2, &[2]));
}

#[test]
fn a_failed_start_sends_the_service_elsewhere_and_keeps_it_away() {
    let mut config = settings(3);
    with_scripts(&mut config, 2);
    let mut bench = Bench::formed_of(config);
    bench.machines[0].scripts = Worker::Hangs;
    bench.kill(2);
    bench.wait("the removal", 1000, |bench| bench.members(0).len() == 2 && serves(bench, 0, &[2]));
    bench.set_scripts(0, Worker::Fails);
    bench.wait("service 2 on node 1", 2000, |bench| {
        serves(bench, 1, &[2]) && bench.phase(0, service(2)) == Phase::Held
    });
    // Node 0 was tried first, by the paper's rule; what failed there is not tried there again.
    assert!(bench.event(0, |event| *event == Event::StartFailed { service: service(2) }).is_some());
    bench.always("service 2 on node 1", 3000, |bench| serves(bench, 1, &[2]));
    assert_eq!(bench.machines[0].runs.len(), 1);
    let why = |event: &Event| matches!(event, Event::Assigned { service: s, why: Why::StartFailed, .. } if *s == service(2));
    assert!(bench.event(0, why).is_some());
}

#[test]
fn what_failed_everywhere_rests_until_it_is_forgotten() {
    let mut config = settings(3);
    config.cluster.forget = Duration::from_secs(20);
    with_scripts(&mut config, 2);
    let mut bench = Bench::formed_of(config);
    bench.machines[0].scripts = Worker::Hangs;
    bench.machines[1].scripts = Worker::Fails;
    bench.kill(2);
    bench.wait("the removal", 1000, |bench| bench.members(0).len() == 2 && serves(bench, 0, &[2]));
    bench.set_scripts(0, Worker::Fails);
    let failed = bench.wait("failure everywhere", 4000, |bench| bench.phase(0, service(2)) == Phase::Failed);
    bench.always("rest", 15_000, |bench| bench.holders(service(2)).is_empty());
    let tried = bench.machines[0].runs.len() + bench.machines[1].runs.len();
    assert_eq!(tried, 2, "once on each");
    bench.machines[0].scripts = Worker::Works;
    bench.machines[1].scripts = Worker::Works;
    bench.wait("another try", 9000, |bench| bench.holders(service(2)).len() == 1);
    assert!(bench.now.since(failed) >= Duration::from_secs(18), "after {:?}", bench.now.since(failed));
}

#[test]
fn a_cut_external_card_gives_the_services_away() {
    for at in [0, 2] {
        let mut bench = Bench::formed(3);
        bench.input(at, Input::Link { role: LinkRole::External, up: false });
        bench.wait("its service elsewhere", 2000, |bench| {
            bench.holders(service(at)).iter().any(|&holder| holder != at)
        });
        assert_eq!(bench.members(0).len(), 3, "it goes on voting");
        bench.wait("it to be empty", 300, |bench| bench.machines[at].aliases.is_empty());
        bench.input(at, Input::Link { role: LinkRole::External, up: true });
        bench.wait("its service at home", 4000, |bench| serves(bench, at, &[at]));
    }
}

#[test]
fn homeless_services_are_balanced_after_a_node_came_back() {
    let mut config = settings(3);
    config.services = (0..6).map(|at| configured_service(at, None)).collect();
    let mut bench = Bench::formed_of(config);
    bench.wait("an even load", 9000, |bench| (0..3).all(|at| bench.machines[at].aliases.len() == 2));
    bench.kill(2);
    bench.wait("three each", 2000, |bench| (0..2).all(|at| bench.machines[at].aliases.len() == 3));
    bench.start(2);
    bench.wait("an even load again", 9000, |bench| (0..3).all(|at| bench.machines[at].aliases.len() == 2));
    run_to_peace(&mut bench);
}

#[test]
fn a_reload_adds_and_removes_services() {
    let mut bench = Bench::formed(3);
    bench.run(3000);
    let mut config = (*bench.config).clone();
    config.services.remove(2);
    config.services.push(configured_service(4, Some(node(2))));
    config.cluster.hello_interval = Duration::from_millis(200);
    let config = Arc::new(config);
    for at in 0..3 {
        bench.input(at, Input::Reload(Arc::clone(&config)));
    }
    bench.wait("the new service", 6000, |bench| {
        serves(bench, 2, &[4]) && bench.holders(service(2)).is_empty()
    });
    bench.wait("the new table", 3000, |bench| {
        bench.state(1).is_some_and(|state| state.table.len() == 3 && state.slot(service(2)).is_none())
    });
    assert_eq!(bench.controller(1).timing.t, Duration::from_millis(200));
    assert!(serves(&bench, 0, &[0]) && serves(&bench, 1, &[1]));
    // One that stands between others in the order of the table.
    let mut config = (*config).clone();
    config.services.insert(2, configured_service(2, Some(node(2))));
    let config = Arc::new(config);
    for at in 0..3 {
        bench.input(at, Input::Reload(Arc::clone(&config)));
    }
    bench.wait("both", 6000, |bench| serves(bench, 2, &[2, 4]));
    assert_eq!(bench.state(0).map(|state| state.table.len()), Some(4), "each once");
}

/// It is heard, and hears nobody: its leases are over, and whatever it had is not there any more.
#[test]
fn a_deaf_member_keeps_no_service_from_who_comes() {
    let mut config = settings(5);
    for at in [0, 3, 4] {
        config.nodes[at].capacity = 0.0;
    }
    let mut bench = Bench::formed_of(config);
    bench.kill(2);
    bench.wait("node 1 alone serves", 5000, |bench| bench.machines[1].aliases.len() == 5);
    (0..5).filter(|&at| at != 1).for_each(|from| bench.cut(from, 1));
    bench.wait("nobody has service 1", 9000, |bench| bench.holder(0, service(1)).is_none());
    bench.start(2);
    bench.wait("node 2 serves", 9000, |bench| bench.holder(0, service(1)) == Some(node(2)));
}

/// C1 is for cold starts. A controller that came into a living cluster a moment ago never heard who dies now; others did.
#[test]
fn a_controller_that_has_just_come_waits_for_nobody_whom_it_never_heard() {
    let mut config = settings(4);
    config.cluster.startup_wait = Duration::from_secs(60);
    let mut bench = Bench::formed_of(config);
    bench.kill(0);
    bench.wait("three", 3000, |bench| bench.members(1).len() == 3);
    bench.cut(2, 0);
    bench.start(0);
    bench.wait("the office", 9000, |bench| {
        bench.event(0, |event| matches!(event, Event::Elected { .. })).is_some()
    });
    bench.run(500);
    bench.kill(2);
    bench.wait("service 2 elsewhere", 2000, |bench| bench.holders(service(2)).iter().any(|&at| at != 2));
}
